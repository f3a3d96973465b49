//! One sequence of tokens with its cache: prompts go in, pieces of text come out.
//!
//! [`Session::start`] keeps the longest beginning of the new prompt that is still in the cache, so the
//! second turn of a conversation computes only what is new. [`Session::next`] does one bounded step.
//!
//! Invariants: the cache always holds exactly `cached`; text that was returned is never taken back (see
//! [`crate::stop`] and [`crate::text::Decoder`]).

use serde::Serialize;
use ternlight_core::{
    Error, ErrorKind, Result,
    model::{Decoder, Want},
    sample::{SampleOptions, Sampler},
};
use web_time::Instant;

use crate::{ChatOptions, Engine, Message, stop::StopStrings, text};

/// What a session continues.
#[derive(Clone, Debug)]
pub enum Prompt {
    /// Token ids, as they are.
    Tokens(Vec<u32>),
    /// Text.
    Text {
        /// The text.
        text: String,
        /// Whether spellings of control tokens in it are those tokens.
        special: bool,
        /// Whether to put the tokens before it that the model wants there (once; most models: BOS, or none).
        add_bos: bool,
    },
    /// A conversation, for models with a chat template.
    Chat(Vec<Message>, ChatOptions),
}

/// How one answer is generated.
#[derive(Clone, Debug)]
pub struct GenerateOptions {
    /// Ends the answer after this many tokens.
    pub max_tokens: usize,
    /// How tokens are chosen. Default: greedy.
    pub sample: SampleOptions,
    /// Texts that end the answer and are not part of it.
    pub stop: Vec<String>,
    /// How many of the likeliest tokens to report with each token.
    pub top_logprobs: usize,
    /// Go on after the model's own stop tokens (for measurements).
    pub ignore_stop_tokens: bool,
}

impl Default for GenerateOptions {
    fn default() -> Self {
        Self {
            max_tokens: usize::MAX,
            sample: SampleOptions { temperature: 0.0, ..SampleOptions::default() },
            stop: Vec::new(),
            top_logprobs: 0,
            ignore_stop_tokens: false,
        }
    }
}

/// What one call of [`Session::next`] did.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// A block of the prompt was computed.
    Prefill {
        /// Prompt tokens computed so far.
        done: usize,
        /// Prompt tokens to compute in all; those in the cache do not count.
        total: usize,
    },
    /// A token was generated, or text that was held back became certain.
    Piece(Piece),
    /// The answer has ended.
    Done(Summary),
}

/// The next certain text of an answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Piece {
    /// The text: whole characters, no part of a stop string; may be empty.
    pub text: String,
    /// The tokens generated since the last piece.
    pub tokens: Vec<TokenInfo>,
}

/// A generated token.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TokenInfo {
    /// Its id.
    pub id: u32,
    /// Its text, with U+FFFD for bytes that are no character on their own.
    pub text: String,
    /// The natural logarithm of its probability in the model's own distribution.
    pub logprob: f32,
    /// The likeliest tokens of that distribution, best first.
    pub top: Vec<Alternative>,
}

/// A token that might have come.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Alternative {
    /// Its id.
    pub id: u32,
    /// Its text.
    pub text: String,
    /// The natural logarithm of its probability.
    pub logprob: f32,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FinishReason {
    /// The model ended it.
    Stop,
    /// `max_tokens`.
    Length,
    /// A stop string.
    StopString,
    /// No room is left in the context window.
    ContextFull,
    /// [`Session::cancel`].
    Cancelled,
}

impl FinishReason {
    /// The name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::StopString => "stop-string",
            Self::ContextFull => "context-full",
            Self::Cancelled => "cancelled",
        }
    }
}

/// How an answer ended and what it cost.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Tokens in the prompt.
    pub prompt_tokens: usize,
    /// Those of them that were in the cache.
    pub cached_tokens: usize,
    /// Tokens generated, without a stop token.
    pub tokens: usize,
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// The stop string that ended it.
    pub stop_string: Option<String>,
    /// How long it took.
    pub timings: Timings,
}

/// Durations of an answer. Time between calls of [`Session::next`] does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Timings {
    /// Milliseconds for the prompt.
    pub prefill_ms: f64,
    /// Prompt tokens computed.
    pub prefill_tokens: usize,
    /// Prompt tokens per second.
    pub prefill_tok_s: f64,
    /// Milliseconds for the answer.
    pub decode_ms: f64,
    /// Tokens computed for the answer: all but the first, whose logits the prompt gave.
    pub decode_tokens: usize,
    /// Those per second.
    pub decode_tok_s: f64,
}

/// One sequence. Made by [`Engine::session`].
pub struct Session {
    engine: Engine,
    decoder: Decoder,
    /// The tokens whose keys and values are in the cache.
    cached: Vec<u32>,
    /// The prompt and the answer so far.
    tokens: Vec<u32>,
    answer: Option<Answer>,
}

/// An answer in progress.
struct Answer {
    prompt_tokens: usize,
    cached_tokens: usize,
    sampler: Sampler,
    max_tokens: usize,
    top: usize,
    ignore_stop_tokens: bool,
    logits: Vec<f32>,
    text: text::Decoder,
    stop: StopStrings,
    generated: usize,
    timings: Timings,
    /// The end, once known; given to the caller after the last text.
    end: Option<(FinishReason, Option<String>)>,
}

impl Session {
    pub(crate) fn new(engine: Engine) -> Result<Self> {
        let decoder = engine.decoder(engine.context())?;
        Ok(Self { engine, decoder, cached: Vec::new(), tokens: Vec::new(), answer: None })
    }

    /// The tokens of a prompt.
    ///
    /// # Errors
    /// `tokenizer`, `template`.
    pub fn prompt_tokens(&self, prompt: &Prompt) -> Result<Vec<u32>> {
        match prompt {
            Prompt::Tokens(tokens) => Ok(tokens.clone()),
            Prompt::Text { text, special, add_bos } => {
                let tokenizer = self.engine.tokenizer()?;
                let tokens = tokenizer.encode(text, *special)?;
                Ok(if *add_bos { tokenizer.add_bos(tokens) } else { tokens })
            }
            Prompt::Chat(messages, options) => self.engine.chat_tokens(messages, options),
        }
    }

    /// Begins an answer to `prompt`; an answer in progress ends.
    ///
    /// # Errors
    /// `bad-option` for an empty prompt, a token outside the vocabulary, or options that make no sense;
    /// `context-full` when the prompt alone does not fit; those of [`Session::prompt_tokens`].
    pub fn start(&mut self, prompt: &Prompt, options: &GenerateOptions) -> Result<()> {
        self.answer = None;
        let tokens = self.prompt_tokens(prompt)?;
        let bad = |detail: String| Err(Error::new(ErrorKind::BadOption, detail));
        if tokens.is_empty() {
            return bad("the prompt has no tokens".into());
        }
        let vocab = self.decoder.model().spec.vocab;
        if let Some(token) = tokens.iter().find(|&&t| t as usize >= vocab) {
            return bad(format!("token {token} is outside the vocabulary of {vocab}"));
        }
        if tokens.len() > self.decoder.capacity() {
            let detail = format!(
                "the prompt of {} tokens does not fit a context of {}",
                tokens.len(),
                self.decoder.capacity()
            );
            return Err(Error::new(ErrorKind::ContextFull, detail));
        }
        let sampler = Sampler::new(options.sample.clone())?;
        let text = match self.engine.tokenizer() {
            Ok(tokenizer) => tokenizer.decoder(tokens.last().copied()),
            Err(_) => text::Decoder::default(),
        };

        // The last token is computed again even if it is cached: its logits are not kept.
        let common =
            self.cached.iter().zip(&tokens).take_while(|(a, b)| a == b).count().min(tokens.len() - 1);
        self.decoder.rewind(common);
        self.cached.truncate(common);
        self.answer = Some(Answer {
            prompt_tokens: tokens.len(),
            cached_tokens: common,
            sampler,
            max_tokens: options.max_tokens,
            top: options.top_logprobs,
            ignore_stop_tokens: options.ignore_stop_tokens,
            logits: Vec::new(),
            text,
            stop: StopStrings::new(&options.stop),
            generated: 0,
            timings: Timings::default(),
            end: None,
        });
        self.tokens = tokens;
        Ok(())
    }

    /// Does one bounded step of the answer.
    ///
    /// # Errors
    /// `bad-option` when no answer is in progress; `out-of-memory`; `bad-data` when the model's output is
    /// not finite. The answer is over then, the session can be used again.
    #[allow(clippy::should_implement_trait, reason = "a step may fail, and the caller decides when to go on")]
    pub fn next(&mut self) -> Result<Step> {
        let result = self.step();
        if matches!(result, Err(_) | Ok(Step::Done(_))) {
            self.answer = None;
            // After an error nothing is known about a block that was being computed.
            self.decoder.rewind(self.cached.len());
        }
        result
    }

    fn step(&mut self) -> Result<Step> {
        let Some(answer) = &mut self.answer else {
            return Err(Error::new(ErrorKind::BadOption, "no answer is in progress"));
        };
        let since = Instant::now();
        if let Some((reason, string)) = answer.end.take() {
            return Ok(Step::Done(answer.summary(reason, string)));
        }
        let ms = |since: Instant| since.elapsed().as_secs_f64() * 1e3;

        let done = self.cached.len();
        if done < answer.prompt_tokens {
            let end = (done + self.decoder.block()).min(answer.prompt_tokens);
            let want = if end == answer.prompt_tokens { Want::Last } else { Want::Nothing };
            let logits = self.decoder.forward(&self.tokens[done..end], want)?;
            answer.logits.clear();
            answer.logits.extend_from_slice(logits);
            self.cached.extend_from_slice(&self.tokens[done..end]);
            answer.timings.prefill_ms += ms(since);
            answer.timings.prefill_tokens += end - done;
            let total = answer.prompt_tokens - answer.cached_tokens;
            return Ok(Step::Prefill { done: end - answer.cached_tokens, total });
        }

        if answer.generated >= answer.max_tokens {
            return Ok(answer.finish(FinishReason::Length));
        }
        if done < self.tokens.len() {
            if done == self.decoder.capacity() {
                return Ok(answer.finish(FinishReason::ContextFull));
            }
            let logits = self.decoder.forward(&self.tokens[done..], Want::Last)?;
            answer.logits.clear();
            answer.logits.extend_from_slice(logits);
            self.cached.extend_from_slice(&self.tokens[done..]);
            answer.timings.decode_tokens += 1;
        }
        let sampled = answer.sampler.sample(&mut answer.logits, &self.tokens, answer.top)?;
        let token = sampled.token;
        let tokenizer = self.engine.tokenizer().ok();
        let stops = tokenizer.is_some_and(|t| t.stops().binary_search(&token).is_ok());
        if stops && !answer.ignore_stop_tokens {
            answer.timings.decode_ms += ms(since);
            return Ok(answer.finish(FinishReason::Stop));
        }
        self.tokens.push(token);
        answer.generated += 1;

        let text_of = |id: u32| {
            tokenizer.map_or_else(String::new, |t| String::from_utf8_lossy(t.token_bytes(id)).into_owned())
        };
        let top =
            sampled.top.iter().map(|&(id, logprob)| Alternative { id, text: text_of(id), logprob }).collect();
        let info = TokenInfo { id: token, text: text_of(token), logprob: sampled.logprob, top };
        let (mut decoded, mut text) = (String::new(), String::new());
        if let Some(tokenizer) = tokenizer {
            answer.text.push(tokenizer, token, &mut decoded);
        }
        let stop = answer.stop.push(&decoded, &mut text);
        answer.timings.decode_ms += ms(since);
        if let Some(string) = stop {
            answer.end = Some((FinishReason::StopString, Some(string)));
        }
        Ok(Step::Piece(Piece { text, tokens: vec![info] }))
    }

    /// Ends the answer in progress and tells what it cost so far; none when there is no answer.
    pub fn cancel(&mut self) -> Option<Summary> {
        self.answer.take().map(|answer| answer.summary(FinishReason::Cancelled, None))
    }

    /// The tokens of prompt and answer so far.
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
        self.cached.clear();
        self.decoder.rewind(0);
    }

    /// The engine that this session belongs to.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }
}

impl Answer {
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
            timings,
        }
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("cached", &self.cached.len()).finish_non_exhaustive()
    }
}
