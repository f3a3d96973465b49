//! How an engine is set up, what a session continues, and how.
//!
//! With the feature `js` these are also what JavaScript gives: each option is declared here and nowhere else,
//! TypeScript's declarations are derived from it, names become camelCase.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, de};
use serde_json::Value;
use ternlight_core::{
    Error, ErrorKind, Result,
    cache::KvChoice,
    container::Overrides,
    load::HeadPrecision,
    model::{LoopKv, LoopOptions},
};

use crate::text::template::{ChatOptions, Message};

/// How an engine is set up.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[cfg_attr(feature = "js", derive(tsify::Tsify))]
pub struct EngineOptions {
    /// The instruction set of the kernels, as `scalar`. Default: `auto`, the fastest.
    pub kernel: String,
    /// Threads that compute. Default: 0, as many as the machine runs at once. In a browser 1 unless the page
    /// is cross-origin isolated.
    pub threads: usize,
    /// Tokens that the context window holds. Default: the model's own limit, at most 4096.
    #[cfg_attr(feature = "js", tsify(optional))]
    pub context: Option<u32>,
    /// How keys and values of past tokens are stored; `a48` are the codes that BitNet a4.8 was trained with, any other
    /// type turns them off. Default: the model's own codes, else `f16`.
    #[serde(deserialize_with = "kv")]
    #[cfg_attr(feature = "js", tsify(type = r#""f32" | "f16" | "i8" | "a48""#))]
    pub kv: KvChoice,
    /// How a float embedding and output head are stored: as in the file, or as 8-bit rows with 14-bit
    /// activations. `exact` is as in the file for the 64 best tokens of each step, and faster than
    /// `native`. Default: `auto`, 8-bit rows from 16.8 million weights on.
    #[serde(deserialize_with = "head")]
    #[cfg_attr(feature = "js", tsify(type = r#""auto" | "native" | "int8" | "exact""#))]
    pub head: HeadPrecision,
    /// Names of metadata keys and tensors to pass by although they are not understood, and may change what the
    /// model computes. Default: none.
    #[cfg_attr(feature = "js", tsify(type = "readonly string[]"))]
    pub allow_unknown: Vec<String>,
    /// Keys of the model's configuration (dotted paths into nested objects) or GGUF metadata that get other values, for
    /// experiments; `null` removes one. Default: none.
    #[cfg_attr(feature = "js", tsify(type = "Readonly<Record<string, unknown>>"))]
    pub set: BTreeMap<String, Value>,
    /// How many experts a token is given to: a number for all layers that have experts, or a list with one for each.
    /// Default: as the model says.
    #[serde(deserialize_with = "experts")]
    #[cfg_attr(feature = "js", tsify(type = "number | readonly number[]"))]
    pub experts: Vec<usize>,
    /// Weights in FP4 meet activations that stay floats, as in reference implementations, not their codes of 16 bits (FP8
    /// always meets floats): slower. For comparisons.
    pub exact_inputs: bool,
    /// Prompt tokens computed at once; an abort is honoured between blocks. Default: 64.
    pub block: usize,
}

impl EngineOptions {
    /// The context window unless asked otherwise: models claim up to 131 072, whose cache no tab has room
    /// for.
    pub const USUAL_CONTEXT: u32 = 4096;
    /// More threads than any machine has use for; each takes a stack and more.
    pub const MAX_THREADS: usize = 256;
    /// A block of this many tokens is as fast as a longer one, whose activations take more memory.
    pub const MAX_BLOCK: usize = 4096;

    /// # Errors
    /// `bad-option`, naming the option whose value makes no sense.
    pub fn check(&self) -> Result<()> {
        let Self {
            kernel: _,
            threads,
            context,
            kv: _,
            head: _,
            allow_unknown: _,
            set: _,
            experts: _,
            exact_inputs: _,
            block,
        } = self;
        let rules = [
            ("context", "1 or more", context.is_none_or(|context| context > 0)),
            ("block", "1 to 4096", (1..=Self::MAX_BLOCK).contains(block)),
            ("threads", "256 at most", *threads <= Self::MAX_THREADS),
        ];
        match rules.into_iter().find(|(.., holds)| !holds) {
            Some((name, rule, _)) => Err(Error::new(ErrorKind::BadOption, format!("{name} must be {rule}"))),
            None => Ok(()),
        }
    }
}

impl EngineOptions {
    /// What [`EngineOptions::set`] says, for the loader.
    pub(crate) fn overrides(&self) -> Overrides {
        let mut overrides = Overrides::default();
        self.set.iter().for_each(|(key, value)| overrides.set(key, &value.to_string()));
        overrides
    }
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            kernel: "auto".into(),
            threads: 0,
            context: None,
            kv: KvChoice::default(),
            head: HeadPrecision::default(),
            allow_unknown: Vec::new(),
            set: BTreeMap::new(),
            experts: Vec::new(),
            exact_inputs: false,
            block: 64,
        }
    }
}

fn kv<'de, D: Deserializer<'de>>(from: D) -> Result<KvChoice, D::Error> {
    let name = String::deserialize(from)?;
    KvChoice::from_name(&name)
        .ok_or_else(|| de::Error::custom(format_args!("{name:?} is not f32, f16, i8 or a48")))
}

/// A number, or a list of them; the loader knows which make sense.
fn experts<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<usize>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "not a whole number, or a list of them")]
    enum Numbers {
        One(usize),
        Each(Vec<usize>),
    }
    Ok(match Numbers::deserialize(from)? {
        Numbers::One(number) => vec![number],
        Numbers::Each(list) => list,
    })
}

fn head<'de, D: Deserializer<'de>>(from: D) -> Result<HeadPrecision, D::Error> {
    Ok(match String::deserialize(from)?.as_str() {
        "auto" => HeadPrecision::Auto,
        "native" => HeadPrecision::Native,
        "int8" => HeadPrecision::Int8,
        "exact" => HeadPrecision::Exact,
        name => {
            return Err(de::Error::custom(format_args!("{name:?} is not auto, native, int8 or exact")));
        }
    })
}

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

/// How one reply is generated. The order in which the steps apply: bias and bans, penalties, temperature,
/// top-k, top-p, min-p, typical.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[cfg_attr(feature = "js", derive(tsify::Tsify))]
pub struct GenerateOptions {
    /// Stop after this many tokens. Default: when the model stops or the context is full; where the context
    /// slides, after as many as it holds.
    pub max_tokens: usize,
    /// Texts that end the reply and are not part of it.
    #[cfg_attr(feature = "js", tsify(type = "readonly string[]"))]
    pub stop: Vec<String>,
    /// Go on after the model's own stop tokens, for measurements.
    pub ignore_stop_tokens: bool,
    /// What happens when prompt and reply outgrow the context. Default: `error`.
    pub overflow: Overflow,
    /// How many tokens at the beginning of a text or token prompt stay when the context slides. The tokens
    /// that the model wants before a text, and the system prompt of a conversation, stay anyway.
    pub keep_tokens: usize,
    /// How many of the likeliest tokens to report with each token.
    pub top_logprobs: usize,
    /// Added to the logits of these token ids.
    #[serde(deserialize_with = "logit_bias")]
    #[cfg_attr(feature = "js", tsify(type = "Readonly<Record<number, number>>"))]
    pub logit_bias: Vec<(u32, f32)>,
    /// Tokens that are never sampled.
    #[cfg_attr(feature = "js", tsify(type = "readonly number[]"))]
    pub banned_tokens: Vec<u32>,
    /// Divides positive and multiplies negative logits of tokens seen in the window; 1 is off. Default: what
    /// the model's authors suggest, else 1.
    #[cfg_attr(feature = "js", tsify(optional))]
    pub repetition_penalty: Option<f32>,
    /// Subtracted once for each occurrence in the window; 0 is off.
    pub frequency_penalty: f32,
    /// Subtracted once for tokens in the window; 0 is off.
    pub presence_penalty: f32,
    /// How many of the last tokens the penalties look at; 0: all.
    pub penalty_window: usize,
    /// 0 takes the likeliest token. Default: what the model's authors suggest (as for the next three), else 1.
    #[cfg_attr(feature = "js", tsify(optional))]
    pub temperature: Option<f32>,
    /// Keep the k likeliest tokens; 0 is off.
    #[cfg_attr(feature = "js", tsify(optional))]
    pub top_k: Option<usize>,
    /// Keep the likeliest tokens that reach this mass together; 1 is off.
    #[cfg_attr(feature = "js", tsify(optional))]
    pub top_p: Option<f32>,
    /// Keep tokens at least this likely in relation to the likeliest; 0 is off.
    #[cfg_attr(feature = "js", tsify(optional))]
    pub min_p: Option<f32>,
    /// Keep the tokens nearest to the expected surprise, up to this mass; 1 is off.
    pub typical_p: f32,
    /// The same seed gives the same text on every platform. Default: a new one each time.
    #[cfg_attr(feature = "js", tsify(optional))]
    pub seed: Option<u64>,
    /// Passes through the loop of a looped model; the steps of Huginn. Default: as many as the model says.
    #[cfg_attr(feature = "js", tsify(optional))]
    pub loops: Option<usize>,
    /// A token leaves the loop after the first pass whose cumulative exit probability reaches this, 0 to 1; for
    /// models with an exit gate. Default: as the model says, mostly after the last pass.
    #[cfg_attr(feature = "js", tsify(optional))]
    pub exit_threshold: Option<f32>,
    /// Passes after a token's exit are not computed; later tokens see the keys and values of its last pass in their
    /// place. Without it all passes are computed, and the exit chooses among their results.
    pub early_exit: bool,
    /// Which keys and values of earlier tokens a pass through a loop sees: those of the same pass (`each`), or of the last
    /// one (`last`: less memory, prompts are slow; experimental). Default: `each`.
    #[serde(deserialize_with = "loop_kv")]
    #[cfg_attr(feature = "js", tsify(type = r#""each" | "last""#))]
    pub loop_kv: LoopKv,
    /// How many experts a token is given to in this reply, prompt included: as [`EngineOptions::experts`]. Default: as
    /// the engine was set up.
    #[serde(deserialize_with = "experts")]
    #[cfg_attr(feature = "js", tsify(type = "number | readonly number[]"))]
    pub experts: Vec<usize>,
    /// Report with each token which experts it was given to, for models that have them. Default: false.
    pub report_experts: bool,
    /// For models with experts: draft up to so many tokens with one expert a layer and check them together with all of
    /// this reply's. The text is the same; [`Summary`](crate::Summary) says what was gained. It ends by itself where
    /// it costs more than it saves. Default: 0, off.
    pub speculate: usize,
}

impl GenerateOptions {
    /// More drafted tokens than are ever accepted together.
    pub const MAX_SPECULATE: usize = 64;

    /// The likeliest token each time.
    pub fn greedy() -> Self {
        Self { temperature: Some(0.0), ..Self::default() }
    }

    /// How a looped model loops.
    pub fn loop_options(&self) -> LoopOptions {
        let &Self { loops, exit_threshold, early_exit, loop_kv: kv, .. } = self;
        LoopOptions { loops, exit_threshold, early_exit, kv }
    }
}

impl Default for GenerateOptions {
    fn default() -> Self {
        Self {
            max_tokens: usize::MAX,
            stop: Vec::new(),
            ignore_stop_tokens: false,
            overflow: Overflow::default(),
            keep_tokens: 0,
            top_logprobs: 0,
            logit_bias: Vec::new(),
            banned_tokens: Vec::new(),
            repetition_penalty: None,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            penalty_window: 0,
            temperature: None,
            top_k: None,
            top_p: None,
            min_p: None,
            typical_p: 1.0,
            seed: None,
            loops: None,
            exit_threshold: None,
            early_exit: false,
            loop_kv: LoopKv::default(),
            experts: Vec::new(),
            report_experts: false,
            speculate: 0,
        }
    }
}

fn loop_kv<'de, D: Deserializer<'de>>(from: D) -> Result<LoopKv, D::Error> {
    let name = String::deserialize(from)?;
    LoopKv::from_name(&name).ok_or_else(|| de::Error::custom(format_args!("{name:?} is not each or last")))
}

/// An object of numbers, whose keys are text in JavaScript.
fn logit_bias<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(u32, f32)>, D::Error> {
    let map = std::collections::BTreeMap::<String, f32>::deserialize(from)?;
    let pairs = map.into_iter().map(|(id, bias)| match id.parse() {
        Ok(id) => Ok((id, bias)),
        Err(_) => Err(de::Error::custom(format_args!("{id:?} is not a token id"))),
    });
    pairs.collect()
}

/// What happens when prompt and reply outgrow the context: `error` refuses the prompt, or ends the reply;
/// with `slide` the oldest turns of a conversation, or the oldest tokens of other prompts, fall out.
/// `Prefill` and `Summary` say how much the model no longer sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "js", derive(tsify::Tsify))]
pub enum Overflow {
    /// A prompt that does not fit is an error, and a reply ends as
    /// [`ContextFull`](crate::FinishReason::ContextFull).
    #[default]
    Error,
    /// The oldest turns or tokens fall out of the window.
    Slide,
}
