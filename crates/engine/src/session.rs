//! One sequence of tokens with its cache: prompts go in, pieces of text come out.
//!
//! [`Session::start`] keeps the longest beginning of the new prompt that is still in the cache, so the
//! second turn of a conversation computes only what is new. [`Session::next`] does one bounded step.
//!
//! Invariants: the cache always holds exactly `cached`; text that was returned is never taken back (see
//! [`crate::stop`] and [`crate::text::Decoder`]).

use std::ops::Range;

use ternlight_core::{
    Error, ErrorKind, Result,
    model::{Decoder, Want},
    sample::{SampleOptions, Sampler},
};
use web_time::Instant;

use crate::{
    engine::Engine,
    options::{GenerateOptions, Prompt},
    overflow::{Limits, Window, prompt_tokens},
    reply::{Alternative, FinishReason, Piece, Prefill, Step, Summary, Timings, Token},
    speculation::Drafts,
    stop::StopStrings,
    text::{self, template::Message},
};

/// One sequence. Made by [`Engine::session`].
pub struct Session {
    engine: Engine,
    decoder: Decoder,
    /// The tokens whose keys and values are in the cache.
    cached: Vec<u32>,
    /// The prompt and the answer so far, as far as they are in the window.
    tokens: Vec<u32>,
    /// Messages that fell out of the window of the last prompt, for the next to be cut at the same place.
    dropped: Vec<Message>,
    /// How many experts each layer gave the cached tokens to.
    active: Vec<usize>,
    answer: Option<Answer>,
}

/// An answer in progress.
struct Answer {
    prompt_tokens: usize,
    cached_tokens: usize,
    /// Positions that are computed block by block: the prompt, or all that is left after the window slid.
    prefill: Range<usize>,
    window: Window,
    sampler: Sampler,
    max_tokens: usize,
    top: usize,
    ignore_stop_tokens: bool,
    experts: Vec<usize>,
    drafts: Drafts,
    logits: Vec<f32>,
    text: text::Decoder,
    stop: StopStrings,
    generated: usize,
    timings: Timings,
    /// The end, once known; given to the caller after the last text.
    end: Option<(FinishReason, Option<String>)>,
}

impl Engine {
    /// A new sequence with an empty cache.
    ///
    /// # Errors
    /// `out-of-memory`.
    pub fn session(&self) -> Result<Session> {
        Session::new(self.clone())
    }
}

impl Session {
    fn new(engine: Engine) -> Result<Self> {
        let decoder = engine.decoder(engine.context())?;
        Ok(Self {
            engine,
            decoder,
            cached: Vec::new(),
            tokens: Vec::new(),
            dropped: Vec::new(),
            active: Vec::new(),
            answer: None,
        })
    }

    /// The tokens of a prompt.
    ///
    /// # Errors
    /// `tokenizer`, `template`.
    pub fn prompt_tokens(&self, prompt: &Prompt) -> Result<Vec<u32>> {
        Ok(prompt_tokens(&self.engine, prompt)?.0)
    }

    /// Begins an answer to `prompt`; an answer in progress ends.
    ///
    /// # Errors
    /// `bad-option` for an empty prompt, a token outside the vocabulary, or options that make no sense;
    /// `context-full` when the prompt alone does not fit, or its last turn where [`Overflow::Slide`] is
    /// chosen; those of [`Session::prompt_tokens`].
    ///
    /// [`Overflow::Slide`]: crate::Overflow::Slide
    pub fn start(&mut self, prompt: &Prompt, options: &GenerateOptions) -> Result<()> {
        self.answer = None;
        let loops = options.loop_options();
        let (mut answer, tokens) = self.prepare(prompt, options.clone())?;
        let bad = |detail: String| Err(Error::new(ErrorKind::BadOption, detail));
        if tokens.is_empty() {
            return bad("the prompt has no tokens".into());
        }
        let vocab = self.decoder.model().spec.vocab;
        if let Some(token) = tokens.iter().find(|&&t| t as usize >= vocab) {
            return bad(format!("token {token} is outside the vocabulary of {vocab}"));
        }
        self.decoder.set_loops(loops)?;
        // Other loops make other keys and values.
        self.cached.truncate(self.decoder.position());
        self.use_experts(&answer.experts)?;
        self.decoder.record_experts(options.report_experts);
        answer.prefill = self.replace_tokens(tokens);
        answer.prompt_tokens = answer.prefill.end;
        answer.cached_tokens = answer.prefill.start;
        self.dropped = answer.window.dropped().to_vec();
        self.answer = Some(answer);
        Ok(())
    }

    /// Gives the tokens of the next answer to so many experts. What is cached was computed with other numbers or not at
    /// all: an answer does not depend on the ones before it.
    fn use_experts(&mut self, experts: &[usize]) -> Result<()> {
        self.decoder.set_experts(experts)?;
        if self.decoder.active_experts() != self.active {
            self.active = self.decoder.active_experts().to_vec();
            self.cached.clear();
            self.decoder.rewind(0);
        }
        Ok(())
    }

    /// Checks that drafts with fewer experts make sense.
    fn drafts(&self, most: usize, experts: &[usize]) -> Result<Drafts> {
        let bad = |detail: &str| Err(Error::new(ErrorKind::BadOption, format!("speculate: {detail}")));
        let model = self.engine.model();
        if most > GenerateOptions::MAX_SPECULATE {
            return bad(&format!("{most} tokens, {} at most", GenerateOptions::MAX_SPECULATE));
        }
        if most > 0 {
            let active = model.spec.active_experts(experts)?;
            match active.iter().max() {
                None | Some(0) => return bad("this model has no experts"),
                Some(1) => {
                    return bad("every layer gives a token to one expert: there are no fewer to draft with");
                }
                Some(_) if model.screen.is_some() => {
                    return bad(
                        "not with the head 'exact', whose logits depend on how many tokens are computed",
                    );
                }
                Some(_) => {}
            }
        }
        Ok(Drafts::new(most, experts.to_vec()))
    }

    /// An answer with `options`, and the tokens of its prompt that fit the window. Every option is read here.
    fn prepare(&self, prompt: &Prompt, options: GenerateOptions) -> Result<(Answer, Vec<u32>)> {
        let GenerateOptions {
            max_tokens,
            stop,
            ignore_stop_tokens,
            overflow,
            keep_tokens,
            top_logprobs,
            logit_bias,
            banned_tokens,
            repetition_penalty,
            frequency_penalty,
            presence_penalty,
            penalty_window,
            temperature,
            top_k,
            top_p,
            min_p,
            typical_p,
            seed,
            // Read by `loop_options`.
            loops: _,
            exit_threshold: _,
            early_exit: _,
            loop_kv: _,
            experts,
            // Read by `start`.
            report_experts: _,
            speculate,
        } = options;
        let suggested = self.engine.sampling();
        let neutral = SampleOptions::default();
        let sample = SampleOptions {
            temperature: temperature.or(suggested.temperature).unwrap_or(neutral.temperature),
            top_k: top_k.or(suggested.top_k.map(|k| k as usize)).unwrap_or(neutral.top_k),
            top_p: top_p.or(suggested.top_p).unwrap_or(neutral.top_p),
            min_p: min_p.or(suggested.min_p).unwrap_or(neutral.min_p),
            typical_p,
            repetition_penalty: repetition_penalty
                .or(suggested.repetition_penalty)
                .unwrap_or(neutral.repetition_penalty),
            frequency_penalty,
            presence_penalty,
            penalty_window,
            logit_bias,
            banned_tokens,
            seed: seed.unwrap_or_else(fresh_seed),
        };
        let sampler = Sampler::new(sample, self.engine.model().isa)?;
        let capacity = self.decoder.capacity();
        let limits = Limits { capacity, max_tokens, overflow, keep_tokens };
        let (window, tokens) = Window::new(&self.engine, limits, prompt, &self.dropped)?;
        let text = match self.engine.tokenizer() {
            Ok(tokenizer) => tokenizer.decoder(tokens.last().copied()),
            Err(_) => text::Decoder::default(),
        };
        let answer = Answer {
            prompt_tokens: 0,
            cached_tokens: 0,
            prefill: 0..0,
            max_tokens: if max_tokens == usize::MAX && window.slides() { capacity } else { max_tokens },
            window,
            sampler,
            top: top_logprobs,
            ignore_stop_tokens,
            drafts: self.drafts(speculate, &experts)?,
            experts,
            logits: Vec::new(),
            text,
            stop: StopStrings::new(&stop),
            generated: 0,
            timings: Timings::default(),
            end: None,
        };
        Ok((answer, tokens))
    }

    /// Puts `tokens` into the window; returns the positions that are to be computed. The last token is
    /// computed again even if it is cached: its logits are not kept.
    fn replace_tokens(&mut self, tokens: Vec<u32>) -> Range<usize> {
        let same = self.cached.iter().zip(&tokens).take_while(|(a, b)| a == b).count();
        self.rewind(same.min(tokens.len() - 1));
        self.tokens = tokens;
        self.cached.len()..self.tokens.len()
    }

    /// Forgets the cached tokens from `position` on, and those before that the decoder must compute again.
    fn rewind(&mut self, position: usize) {
        let left = self.decoder.rewind(position);
        self.cached.truncate(left);
    }

    /// Does one bounded step of the answer.
    ///
    /// # Errors
    /// `bad-option` when no answer is in progress; `out-of-memory`; `bad-data` when the model's output is
    /// not finite. The answer is over then, the session can be used again.
    #[allow(clippy::should_implement_trait, reason = "a step may fail, and the caller decides when to go on")]
    pub fn next(&mut self) -> Result<Step> {
        let Some(mut answer) = self.answer.take() else {
            return Err(Error::new(ErrorKind::BadOption, "no answer is in progress"));
        };
        let result = self.step(&mut answer);
        if matches!(result, Err(_) | Ok(Step::Done(_))) {
            // After an error nothing is known about a block that was being computed.
            self.rewind(self.cached.len());
        } else {
            self.answer = Some(answer);
        }
        result
    }

    fn step(&mut self, answer: &mut Answer) -> Result<Step> {
        if let Some((reason, string)) = answer.end.take() {
            return Ok(Step::Done(answer.summary(reason, string)));
        }
        let since = Instant::now();
        let ms = |since: Instant| since.elapsed().as_secs_f64() * 1e3;
        if self.cached.len() >= answer.prefill.end {
            if answer.generated >= answer.max_tokens {
                return Ok(answer.finish(FinishReason::Length));
            }
            if self.tokens.len() > self.decoder.capacity() && !self.slide(answer)? {
                return Ok(answer.finish(FinishReason::ContextFull));
            }
        }
        if self.cached.len() < answer.prefill.end {
            let computed = self.prefill(answer)?;
            if answer.generated == 0 {
                answer.timings.prefill_tokens += computed;
                answer.timings.prefill_ms += ms(since);
            } else {
                answer.timings.decode_ms += ms(since);
            }
            return Ok(Step::Prefill(answer.progress(self.cached.len())));
        }
        let step = self.decode(answer)?;
        answer.timings.decode_ms += ms(since);
        Ok(match step {
            Some(piece) => Step::Piece(piece),
            None => answer.finish(FinishReason::Stop),
        })
    }

    /// Makes room in a full window; false if nothing may fall out.
    fn slide(&mut self, answer: &mut Answer) -> Result<bool> {
        let Some(kept) = answer.window.slide(&self.engine, &self.tokens)? else { return Ok(false) };
        answer.drafts.clear();
        answer.prefill = self.replace_tokens(kept);
        self.dropped = answer.window.dropped().to_vec();
        Ok(true)
    }

    /// Computes the next block of what must be computed before the next token; returns its length.
    fn prefill(&mut self, answer: &mut Answer) -> Result<usize> {
        let done = self.cached.len();
        let end = (done + self.decoder.block()).min(answer.prefill.end);
        let want = if end == answer.prefill.end { Want::Last } else { Want::Nothing };
        let logits = self.decoder.forward(&self.tokens[done..end], want)?;
        answer.logits.clear();
        answer.logits.extend_from_slice(logits);
        self.cached.extend_from_slice(&self.tokens[done..end]);
        Ok(end - done)
    }

    /// Generates a token; none if it is one that ends the answer.
    fn decode(&mut self, answer: &mut Answer) -> Result<Option<Piece>> {
        let done = self.cached.len();
        if done < self.tokens.len() {
            let token = self.tokens[done];
            answer.drafts.logits(&mut self.decoder, &self.cached, token, &mut answer.logits)?;
            self.cached.push(token);
            answer.timings.decode_tokens += 1;
        }
        let sampled = answer.sampler.sample(&mut answer.logits, &self.tokens, answer.top)?;
        let token = sampled.token;
        let tokenizer = self.engine.tokenizer().ok();
        let stops = tokenizer.is_some_and(|t| t.stops().binary_search(&token).is_ok());
        if stops && !answer.ignore_stop_tokens {
            return Ok(None);
        }
        self.tokens.push(token);
        answer.generated += 1;

        let text_of = |id: u32| {
            tokenizer.map_or_else(String::new, |t| String::from_utf8_lossy(t.token_bytes(id)).into_owned())
        };
        let alternative =
            |&(id, logprob): &(u32, f32)| Alternative { id, text: text_of(id), logprob: finite(logprob) };
        let top = sampled.top.iter().map(alternative).collect();
        // Drafts may be computed beyond it.
        let last = self.cached.len() - 1;
        let loops = self.decoder.loops_taken().get(last).map(|&passes| passes.into());
        let experts: Vec<_> = self.decoder.experts_chosen(last).map(<[u16]>::to_vec).collect();
        let experts = (!experts.is_empty()).then_some(experts);
        let info =
            Token { id: token, text: text_of(token), logprob: finite(sampled.logprob), top, loops, experts };
        let (mut decoded, mut text) = (String::new(), String::new());
        if let Some(tokenizer) = tokenizer {
            answer.text.push(tokenizer, token, &mut decoded);
        }
        if let Some(string) = answer.stop.push(&decoded, &mut text) {
            answer.end = Some((FinishReason::StopString, Some(string)));
        }
        Ok(Some(Piece { text, tokens: vec![info] }))
    }

    /// Ends the answer in progress and tells what it cost so far; none when there is no answer.
    pub fn cancel(&mut self) -> Option<Summary> {
        self.answer.take().map(|answer| answer.summary(FinishReason::Cancelled, None))
    }

    /// The tokens of prompt and answer so far, as far as they are in the window.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Tokens in the cache.
    pub fn cached(&self) -> usize {
        self.cached.len()
    }

    /// Bytes that the cache takes now.
    pub fn cache_bytes(&self) -> usize {
        self.decoder.cache_bytes()
    }

    /// Forgets everything; the memory of the cache stays for reuse.
    pub fn clear(&mut self) {
        self.answer = None;
        self.tokens.clear();
        self.dropped.clear();
        self.rewind(0);
    }

    /// The engine that this session belongs to.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }
}

/// Another seed each time. In a browser the hasher is always the same: there the caller gives one.
fn fresh_seed() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish()
}

/// JSON has no infinity: the logarithm of a probability of 0 becomes the least number.
fn finite(logprob: f32) -> f32 {
    logprob.max(f32::MIN)
}

impl Answer {
    /// How far the prompt is, with `cached` tokens in the cache.
    fn progress(&self, cached: usize) -> Prefill {
        Prefill {
            done: cached - self.prefill.start,
            total: self.prefill.len(),
            dropped_messages: self.window.dropped_messages,
            dropped_tokens: self.window.dropped_tokens,
        }
    }

    /// Ends the answer: the text that was held back first, if there is any.
    fn finish(&mut self, reason: FinishReason) -> Step {
        let (mut decoded, mut text) = (String::new(), String::new());
        self.text.finish(&mut decoded);
        // What was held back may still complete a stop string.
        let found = self.stop.push(&decoded, &mut text);
        if found.is_none() {
            self.stop.finish(&mut text);
        }
        let reason = if found.is_some() { FinishReason::StopString } else { reason };
        if text.is_empty() {
            return Step::Done(self.summary(reason, found));
        }
        self.end = Some((reason, found));
        Step::Piece(Piece { text, tokens: Vec::new() })
    }

    fn summary(&self, finish_reason: FinishReason, stop_string: Option<String>) -> Summary {
        let mut timings = self.timings;
        let rate = |tokens: usize, ms: f64| if ms > 0.0 { tokens as f64 * 1e3 / ms } else { 0.0 };
        timings.prefill_tok_s = rate(timings.prefill_tokens, timings.prefill_ms);
        timings.decode_tok_s = rate(timings.decode_tokens, timings.decode_ms);
        Summary {
            prompt_tokens: self.prompt_tokens,
            cached_tokens: self.cached_tokens,
            tokens: self.generated,
            finish_reason,
            stop_string,
            dropped_messages: self.window.dropped_messages,
            dropped_tokens: self.window.dropped_tokens,
            speculation: self.drafts.summary(),
            timings,
        }
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("cached", &self.cached.len()).finish_non_exhaustive()
    }
}
