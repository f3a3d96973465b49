//! What a session gives back: steps, pieces, and the summary of a reply.
//!
//! With the feature `js` these are also what JavaScript is given; names become camelCase.

use serde::Serialize;

/// What one call of [`Session::next`](crate::Session::next) did.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", content = "value", rename_all = "lowercase")]
#[cfg_attr(feature = "js", derive(tsify::Tsify))]
pub enum Step {
    /// A block of the prompt was computed.
    Prefill(Prefill),
    /// A token was generated, or text that was held back became certain.
    Piece(Piece),
    /// The answer has ended.
    Done(Summary),
}

/// Progress through the prompt; also in mid-answer, when the window has slid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "js", derive(tsify::Tsify))]
pub struct Prefill {
    /// Tokens computed so far.
    pub done: usize,
    /// Tokens to compute in all; those in the cache do not count.
    pub total: usize,
    /// Messages after the system prompt that the model no longer sees.
    pub dropped_messages: usize,
    /// Tokens of prompt and answer that the model no longer sees.
    pub dropped_tokens: usize,
}

/// The next certain text of an answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "js", derive(tsify::Tsify))]
pub struct Piece {
    /// The text: whole characters, no part of a stop string; may be empty.
    pub text: String,
    /// The tokens generated since the last piece.
    pub tokens: Vec<Token>,
}

/// A generated token.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "js", derive(tsify::Tsify))]
pub struct Token {
    /// Its id.
    pub id: u32,
    /// Its text, with U+FFFD for bytes that are no character on their own.
    pub text: String,
    /// The natural logarithm of its probability in the model's own distribution.
    pub logprob: f32,
    /// The likeliest tokens of that distribution, best first.
    pub top: Vec<Alternative>,
    /// How many passes through the model's loop made that distribution; nothing for a model without a loop.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "js", tsify(optional))]
    pub loops: Option<usize>,
    /// Which experts made that distribution, where that was asked for: for each layer that has experts, in order (in a
    /// loop: each pass through it), their numbers, the most probable first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "js", tsify(optional, type = "readonly (readonly number[])[]"))]
    pub experts: Option<Vec<Vec<u16>>>,
}

/// A token that might have come.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "js", derive(tsify::Tsify))]
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
#[cfg_attr(feature = "js", derive(tsify::Tsify))]
pub enum FinishReason {
    /// The model ended it.
    Stop,
    /// `max_tokens`.
    Length,
    /// A stop string.
    StopString,
    /// No room is left in the context window.
    ContextFull,
    /// [`Session::cancel`](crate::Session::cancel).
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
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "js", derive(tsify::Tsify), tsify(missing_as_null))]
pub struct Summary {
    /// Tokens in the prompt, as far as the model saw it at the beginning.
    pub prompt_tokens: usize,
    /// Those of them that were in the cache.
    pub cached_tokens: usize,
    /// Tokens generated, without a stop token.
    pub tokens: usize,
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// The stop string that ended it.
    pub stop_string: Option<String>,
    /// Messages after the system prompt that the model no longer sees, the oldest ones.
    pub dropped_messages: usize,
    /// Tokens of prompt and answer that the model no longer sees.
    pub dropped_tokens: usize,
    /// What drafting with fewer experts gained, where it was asked for.
    pub speculation: Option<Speculation>,
    /// How long it took.
    pub timings: Timings,
}

/// Tokens that were drafted with one expert a layer and checked with all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "js", derive(tsify::Tsify))]
pub struct Speculation {
    /// Tokens drafted.
    pub drafted: usize,
    /// Those of them that are the reply's.
    pub accepted: usize,
    /// Milliseconds per token without drafts, as measured in this reply, by those with drafts; 0 where too few tokens
    /// were generated to tell.
    pub speedup: f64,
    /// Whether drafting ended because it cost more than it saved.
    pub ended: bool,
}

/// Durations of an answer. Time between two steps does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "js", derive(tsify::Tsify))]
pub struct Timings {
    /// Milliseconds for the prompt.
    pub prefill_ms: f64,
    /// Prompt tokens computed.
    pub prefill_tokens: usize,
    /// Prompt tokens per second.
    #[serde(rename = "prefillTokensPerSecond")]
    pub prefill_tok_s: f64,
    /// Milliseconds for the answer.
    pub decode_ms: f64,
    /// Tokens computed for the answer: all but the first, whose logits the prompt gave.
    pub decode_tokens: usize,
    /// Those per second.
    #[serde(rename = "decodeTokensPerSecond")]
    pub decode_tok_s: f64,
}
