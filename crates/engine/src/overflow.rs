//! What falls out of the context window when prompt and answer outgrow it.
//!
//! Of a conversation whole turns fall out, oldest first: the system prompt and the last turn stay, and the
//! rest is rendered again, so that the model sees a well-formed conversation. Of other prompts the tokens
//! after the kept beginning fall out. What remains is computed anew from where it differs, hence equals a
//! prompt of just these tokens bit for bit.
//!
//! When something must go, about half of the window is emptied, not a single turn: each slide costs the
//! computation of everything after the system prompt, so slides should be rare. The next prompt of the same
//! conversation is cut at the same turn if it fits, which lets it reuse the cache.

use ternlight_core::{Error, ErrorKind, Result};

use crate::{
    engine::Engine,
    options::{Overflow, Prompt},
    text::template::{ChatOptions, Message},
};

/// A prompt that may lose its oldest part.
pub(crate) struct Window {
    source: Source,
    capacity: usize,
    /// Messages after the system prompt that have fallen out.
    pub dropped_messages: usize,
    /// Tokens that have fallen out.
    pub dropped_tokens: usize,
}

enum Source {
    /// The prompt as it is; nothing falls out.
    Whole,
    /// The first `keep` tokens stay.
    Tokens {
        keep: usize,
    },
    Chat(Conversation),
}

struct Conversation {
    messages: Vec<Message>,
    options: ChatOptions,
    /// Messages at the beginning that stay.
    system: usize,
    /// Where the conversation may begin after the system prompt, ascending: at questions.
    turns: Vec<usize>,
    /// Tokens of the rendered conversation in the window.
    tokens: usize,
}

/// What a prompt and its answer must fit.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    /// Tokens that the context holds.
    pub capacity: usize,
    /// Tokens that the answer may have.
    pub max_tokens: usize,
    /// What happens when they do not fit.
    pub overflow: Overflow,
    /// Tokens at the beginning that stay.
    pub keep_tokens: usize,
}

impl Window {
    /// The tokens of `prompt` that fit. `dropped` are the messages that fell
    /// out of the previous prompt.
    ///
    /// # Errors
    /// `context-full` when even the last turn, or a prompt that must not lose anything, does not fit;
    /// `bad-option` when the tokens to keep leave no room; those of [`Engine::chat_tokens`].
    pub fn new(
        engine: &Engine,
        limits: Limits,
        prompt: &Prompt,
        dropped: &[Message],
    ) -> Result<(Self, Vec<u32>)> {
        let Limits { capacity, max_tokens, overflow, keep_tokens } = limits;
        let (tokens, opening) = prompt_tokens(engine, prompt)?;
        let source = match (overflow, prompt) {
            (Overflow::Error, _) => Source::Whole,
            (Overflow::Slide, Prompt::Chat(messages, options)) => {
                Source::Chat(Conversation::new(messages.clone(), options.clone(), tokens.len()))
            }
            (Overflow::Slide, _) => {
                let keep = keep_tokens.max(opening);
                if keep > capacity / 2 {
                    let detail = format!("keepTokens is {keep}, more than half of the context of {capacity}");
                    return Err(Error::new(ErrorKind::BadOption, detail));
                }
                Source::Tokens { keep }
            }
        };
        let mut window = Self { source, capacity, dropped_messages: 0, dropped_tokens: 0 };
        let room = capacity - (capacity / 4).min(max_tokens);
        let limit = if matches!(window.source, Source::Whole) { capacity } else { room };
        let tokens =
            if tokens.len() <= limit { tokens } else { window.shorten(engine, tokens, room, dropped)? };
        if tokens.len() > capacity {
            let what = if window.dropped_messages > 0 { "last turn" } else { "prompt" };
            let detail =
                format!("the {what} of {} tokens does not fit a context of {capacity}", tokens.len());
            return Err(Error::new(ErrorKind::ContextFull, detail));
        }
        Ok((window, tokens))
    }

    /// Whether anything may fall out.
    pub fn slides(&self) -> bool {
        !matches!(self.source, Source::Whole)
    }

    /// The messages that have fallen out.
    pub fn dropped(&self) -> &[Message] {
        match &self.source {
            Source::Chat(chat) => &chat.messages[chat.system..][..self.dropped_messages],
            _ => &[],
        }
    }

    /// Cuts a prompt that leaves no room for an answer.
    fn shorten(
        &mut self,
        engine: &Engine,
        mut tokens: Vec<u32>,
        room: usize,
        dropped: &[Message],
    ) -> Result<Vec<u32>> {
        let whole = tokens.len();
        match &mut self.source {
            Source::Whole => return Ok(tokens),
            Source::Tokens { keep } => _ = tokens.drain(*keep..*keep + whole - room),
            Source::Chat(chat) => {
                let same = chat.messages[chat.system..].starts_with(dropped);
                let again = (!dropped.is_empty() && same).then_some(chat.system + dropped.len());
                let again = again.filter(|begin| chat.turns.contains(begin));
                let again = match again {
                    Some(begin) => Some((begin, chat.render(engine, begin)?)),
                    None => None,
                };
                let (begin, rendered) = match again.filter(|(_, tokens)| tokens.len() <= room) {
                    Some(same) => same,
                    None => {
                        let begin = chat.first_that_fits(engine, self.capacity / 2)?;
                        (begin, chat.render(engine, begin)?)
                    }
                };
                tokens = rendered;
                self.dropped_messages = begin - chat.system;
                chat.tokens = tokens.len();
            }
        }
        self.dropped_tokens = whole.saturating_sub(tokens.len());
        Ok(tokens)
    }

    /// Makes room in mid-answer: `context` is all that is in the window, prompt and answer. None when too
    /// little can fall out for the answer to make sense.
    pub fn slide(&mut self, engine: &Engine, context: &[u32]) -> Result<Option<Vec<u32>>> {
        let half = self.capacity / 2;
        let kept = match &mut self.source {
            Source::Whole => return Ok(None),
            Source::Tokens { keep } => {
                let drop = (context.len() - *keep).div_ceil(2);
                [&context[..*keep], &context[*keep + drop..]].concat()
            }
            Source::Chat(chat) => {
                let answer = &context[chat.tokens..];
                let begin = chat.first_that_fits(engine, half.saturating_sub(answer.len()))?;
                let begin = begin.max(chat.system + self.dropped_messages);
                let mut kept = chat.render(engine, begin)?;
                let room = self.capacity.saturating_sub(kept.len());
                if room < (self.capacity / 4).max(2) {
                    return Ok(None);
                }
                self.dropped_messages = begin - chat.system;
                chat.tokens = kept.len();
                // Where the last turn alone is not enough, the beginning of the answer follows.
                let fits = if answer.len() + self.capacity / 4 <= room { answer.len() } else { room / 2 };
                kept.extend(&answer[answer.len() - fits.min(answer.len())..]);
                kept
            }
        };
        self.dropped_tokens += context.len().saturating_sub(kept.len());
        Ok(Some(kept))
    }
}

impl Conversation {
    fn new(messages: Vec<Message>, options: ChatOptions, tokens: usize) -> Self {
        let is_system = |message: &&Message| matches!(message.role.as_str(), "system" | "developer");
        let system = messages.iter().take_while(is_system).count();
        let mut turns: Vec<usize> =
            (system..messages.len()).filter(|&index| messages[index].role == "user").collect();
        if turns.is_empty() {
            turns.push(system);
        }
        Self { messages, options, system, turns, tokens }
    }

    /// The system prompt and everything from message `begin` on.
    fn render(&self, engine: &Engine, begin: usize) -> Result<Vec<u32>> {
        let kept = [&self.messages[..self.system], &self.messages[begin..]].concat();
        engine.chat_tokens(&kept, &self.options)
    }

    /// The earliest turn to begin with so that the conversation takes `room` tokens at most; the last turn
    /// where none does.
    fn first_that_fits(&self, engine: &Engine, room: usize) -> Result<usize> {
        let (mut low, mut high) = (0, self.turns.len() - 1);
        while low < high {
            let middle = (low + high) / 2;
            if self.render(engine, self.turns[middle])?.len() <= room {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        Ok(self.turns[low])
    }
}

/// The tokens of a prompt, and how many of them the model wants before any text.
pub(crate) fn prompt_tokens(engine: &Engine, prompt: &Prompt) -> Result<(Vec<u32>, usize)> {
    match prompt {
        Prompt::Tokens(tokens) => Ok((tokens.clone(), 0)),
        Prompt::Text { text, special, add_bos } => {
            let tokenizer = engine.tokenizer()?;
            let tokens = tokenizer.encode(text, *special)?;
            let bare = tokens.len();
            let tokens = if *add_bos { tokenizer.add_bos(tokens) } else { tokens };
            let opening = tokens.len() - bare;
            Ok((tokens, opening))
        }
        Prompt::Chat(messages, options) => Ok((engine.chat_tokens(messages, options)?, 0)),
    }
}
