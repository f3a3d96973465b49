//! What a session continues, and how.

use ternlight_core::sample::SampleOptions;

use crate::{ChatOptions, Message};

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
    /// Ends the answer after this many tokens. `usize::MAX` means no limit, or as many tokens as the context
    /// holds where the window slides.
    pub max_tokens: usize,
    /// How tokens are chosen. Default: greedy.
    pub sample: SampleOptions,
    /// Texts that end the answer and are not part of it.
    pub stop: Vec<String>,
    /// How many of the likeliest tokens to report with each token.
    pub top_logprobs: usize,
    /// Go on after the model's own stop tokens (for measurements).
    pub ignore_stop_tokens: bool,
    /// What happens when prompt and answer outgrow the context window.
    pub overflow: Overflow,
    /// How many tokens at the beginning of a text or token prompt stay when the window slides; the tokens
    /// that the model wants before a text stay anyway, and of a conversation the system prompt.
    pub keep_tokens: usize,
}

impl Default for GenerateOptions {
    fn default() -> Self {
        Self {
            max_tokens: usize::MAX,
            sample: SampleOptions { temperature: 0.0, ..SampleOptions::default() },
            stop: Vec::new(),
            top_logprobs: 0,
            ignore_stop_tokens: false,
            overflow: Overflow::default(),
            keep_tokens: 0,
        }
    }
}

/// What happens when prompt and answer outgrow the context window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// A prompt that does not fit is an error, and an answer ends with [`FinishReason::ContextFull`].
    ///
    /// [`FinishReason::ContextFull`]: crate::FinishReason::ContextFull
    #[default]
    Error,
    /// The oldest turns of a conversation, or the oldest tokens of other prompts, fall out of the window.
    /// [`Prefill`](crate::Prefill) and [`Summary`](crate::Summary) say how much the model no longer sees.
    Slide,
}

impl Overflow {
    /// The name in options.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Slide => "slide",
        }
    }

    /// The variant called `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Error, Self::Slide].into_iter().find(|overflow| overflow.name() == name)
    }
}
