//! What crosses the border: each struct declared once, for Rust (serde) and for TypeScript.
//!
//! `wire!` expands to a serde struct and to a `typescript_custom_section`, so the interface lands,
//! comments included, in the generated `.d.ts`, and TypeScript never restates it. Values cross as JSON:
//! they are small, `serde_json` is in the module anyway (tokenizers, templates), and it rejects unknown
//! keys, so a misspelt option is an error instead of silence.
//!
//! Invariant: a field exists on both sides, under one name and one type, or on neither.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use ternlight_core::{Error, ErrorKind};
use ternlight_engine::{self as engine, Message};
use wasm_bindgen::prelude::*;

/// Declares a struct that crosses. `options` come from JavaScript (every field may be left out, unknown
/// keys are refused), `record`s go to it (every field is there).
macro_rules! wire {
    ($(#[doc = $doc:literal])* options $name:ident { $($(#[doc = $fdoc:literal])* $field:ident / $js:literal : $ty:ty => $ts:literal,)* }) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug, Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name { $($(#[doc = $fdoc])* #[serde(rename = $js)] pub $field: Option<$ty>,)* }
        wire!(@ts $name [$($doc)*] { $([$($fdoc)*] $js "?" $ts,)* });
    };
    ($(#[doc = $doc:literal])* record $name:ident { $($(#[doc = $fdoc:literal])* $field:ident / $js:literal : $ty:ty => $ts:literal,)* }) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name { $($(#[doc = $fdoc])* #[serde(rename = $js)] pub $field: $ty,)* }
        wire!(@ts $name [$($doc)*] { $([$($fdoc)*] $js "" $ts,)* });
    };
    (@ts $name:ident [$($doc:literal)*] { $([$($fdoc:literal)*] $js:literal $opt:literal $ts:literal,)* }) => {
        const _: () = {
            #[wasm_bindgen(typescript_custom_section)]
            const TS: &'static str = concat!(
                "/**", $($doc,)* " */\nexport interface ", stringify!($name), " {\n",
                $("  /**", $($fdoc,)* " */\n  ", $js, $opt, ": ", $ts, ";\n",)*
                "}\n"
            );
        };
    };
}

wire! {
    /// How an engine is set up.
    options EngineOptions {
        /// Kernels to use: `"auto"` (default), or the name of one instruction set, as `"scalar"`.
        kernel / "kernel": String => "string",
        /// Threads to compute with; 0 or left out: as many as the machine has. 1 unless the page is cross-origin isolated.
        threads / "threads": u32 => "number",
        /// Tokens that the context window holds. Default: the model's own limit, at most 4096.
        context / "context": u32 => "number",
        /// How keys and values of past tokens are stored. Default: `"f16"`.
        kv / "kv": String => "\"f32\" | \"f16\" | \"i8\"",
        /// How a float embedding and output head are stored: as in the file, or as 8-bit rows with 14-bit
        /// activations. `exact` is as in the file for the 64 best tokens of each step, and faster than
        /// `native`. Default: `auto`, 8-bit rows from 16.8 million weights on.
        head / "head": String => "\"auto\" | \"native\" | \"int8\" | \"exact\"",
        /// Prompt tokens computed at once; an abort is honoured within one block.
        block / "block": u32 => "number",
    }
}

wire! {
    /// How one reply is generated. The order in which the steps apply: bias and bans, penalties, temperature,
    /// top-k, top-p, min-p, typical.
    options GenerateOptions {
        /// Stop after this many tokens. Default: until the model stops or the context is full; when it
        /// slides, as many as it holds.
        max_tokens / "maxTokens": u32 => "number",
        /// Text that ends the reply; it is not part of it.
        stop / "stop": Vec<String> => "readonly string[]",
        /// Go on after the model's own stop tokens, for measurements.
        ignore_stop_tokens / "ignoreStopTokens": bool => "boolean",
        /// What happens when prompt and reply outgrow the context: `error` (default) refuses the prompt or
        /// ends the reply; with `slide` the oldest turns of a conversation, or the oldest tokens, fall out.
        overflow / "overflow": String => "\"error\" | \"slide\"",
        /// How many tokens at the beginning of a text or token prompt stay when the context slides. The
        /// system prompt of a conversation stays anyway.
        keep_tokens / "keepTokens": u32 => "number",
        /// How many alternatives to report with each token.
        top_logprobs / "topLogprobs": u32 => "number",
        /// Added to the logits of these token ids.
        logit_bias / "logitBias": BTreeMap<u32, f32> => "Readonly<Record<number, number>>",
        /// Tokens that are never sampled.
        banned_tokens / "bannedTokens": Vec<u32> => "readonly number[]",
        /// Divides positive and multiplies negative logits of tokens seen in the window; 1 is off.
        repetition_penalty / "repetitionPenalty": f32 => "number",
        /// Subtracted once for each occurrence in the window; 0 is off.
        frequency_penalty / "frequencyPenalty": f32 => "number",
        /// Subtracted once for tokens in the window; 0 is off.
        presence_penalty / "presencePenalty": f32 => "number",
        /// How many of the last tokens the penalties look at; 0: all.
        penalty_window / "penaltyWindow": u32 => "number",
        /// 0 takes the likeliest token. Default: what the model's authors suggest (as for the next three), else 1.
        temperature / "temperature": f32 => "number",
        /// Keep the k likeliest tokens; 0 is off.
        top_k / "topK": u32 => "number",
        /// Keep the likeliest tokens that reach this mass together; 1 is off.
        top_p / "topP": f32 => "number",
        /// Keep tokens at least this likely in relation to the likeliest; 0 is off.
        min_p / "minP": f32 => "number",
        /// Keep the tokens nearest to the expected surprise, up to this mass; 1 is off.
        typical_p / "typicalP": f32 => "number",
        /// The same seed gives the same text on every platform. Default: a new one each time.
        seed / "seed": u64 => "number",
    }
}

#[wasm_bindgen(typescript_custom_section)]
const MESSAGE: &str = "/** One message of a conversation. */
export interface Message {
  /** Who speaks: `system`, `user`, `assistant`, `tool`, or what else the model's template knows. */
  readonly role: string;
  /** What was said. It is text: control tokens spelt in it stay text. */
  readonly content: string;
  /** Further fields that the template may use (`tool_calls`, `name`, …). */
  readonly [field: string]: unknown;
}
";

wire! {
    /// How messages are put into the model's chat template.
    options TemplateOptions {
        /// End with the header of an assistant message, so that the model answers. Default: true.
        add_generation_prompt / "addGenerationPrompt": bool => "boolean",
        /// Tool descriptions for templates that take them.
        tools / "tools": serde_json::Value => "unknown",
        /// More variables for the template (`enable_thinking`, …).
        variables / "variables": BTreeMap<String, serde_json::Value> => "Readonly<Record<string, unknown>>",
    }
}

wire! {
    /// What to continue: exactly one of `tokens`, `text` and `messages`.
    options Prompt {
        /// Token ids, taken as they are.
        tokens / "tokens": Vec<u32> => "readonly number[]",
        /// Text to continue.
        text / "text": String => "string",
        /// Read control tokens spelt in `text` as such. Default: false.
        special / "special": bool => "boolean",
        /// Put the model's first token before `text` if it has one. Default: true.
        add_bos / "addBos": bool => "boolean",
        /// A conversation, for models with a chat template.
        messages / "messages": Vec<Message> => "readonly Message[]",
        /// How the conversation is put into the template.
        template / "template": TemplateOptions => "TemplateOptions",
    }
}

wire! {
    /// A token that might have come instead.
    record Alternative {
        /// Token id.
        id / "id": u32 => "number",
        /// Its text, with broken characters replaced.
        text / "text": String => "string",
        /// Natural logarithm of its probability.
        logprob / "logprob": f32 => "number",
    }
}

wire! {
    /// A generated token.
    record Token {
        /// Token id.
        id / "id": u32 => "number",
        /// Its text, with broken characters replaced.
        text / "text": String => "string",
        /// Natural logarithm of its probability before any sampler.
        logprob / "logprob": f32 => "number",
        /// The likeliest tokens, best first, as many as `topLogprobs` asked for.
        top / "top": Vec<Alternative> => "Alternative[]",
    }
}

wire! {
    /// The next certain text of a reply: whole characters, no part of a stop string.
    record Piece {
        /// The text; may be empty.
        text / "text": String => "string",
        /// The tokens that it came from.
        tokens / "tokens": Vec<Token> => "Token[]",
    }
}

wire! {
    /// Progress through the prompt, in tokens; also in mid-reply, when the context has slid.
    record Prefill {
        /// Computed so far.
        done / "done": u32 => "number",
        /// To compute in all.
        total / "total": u32 => "number",
        /// Messages after the system prompt that the model no longer sees.
        dropped_messages / "droppedMessages": u32 => "number",
        /// Tokens of prompt and reply that the model no longer sees.
        dropped_tokens / "droppedTokens": u32 => "number",
    }
}

wire! {
    /// How long the parts of a reply took.
    record Timings {
        /// Milliseconds from the start to the first logits.
        prefill_ms / "prefillMs": f64 => "number",
        /// Prompt tokens that were computed (the others were in the cache).
        prefill_tokens / "prefillTokens": u32 => "number",
        /// Prompt tokens per second.
        prefill_rate / "prefillTokensPerSecond": f64 => "number",
        /// Milliseconds of generating.
        decode_ms / "decodeMs": f64 => "number",
        /// Tokens generated after the first.
        decode_tokens / "decodeTokens": u32 => "number",
        /// Generated tokens per second.
        decode_rate / "decodeTokensPerSecond": f64 => "number",
    }
}

wire! {
    /// How a reply ended, and what it cost.
    record Summary {
        /// Tokens in the prompt.
        prompt_tokens / "promptTokens": u32 => "number",
        /// Of these, how many were still in the cache.
        cached_tokens / "cachedTokens": u32 => "number",
        /// Tokens generated.
        tokens / "tokens": u32 => "number",
        /// Why it ended.
        finish_reason / "finishReason": String => "\"stop\" | \"length\" | \"stop-string\" | \"context-full\" | \"cancelled\"",
        /// The stop string that ended it.
        stop_string / "stopString": Option<String> => "string | null",
        /// Messages after the system prompt that the model no longer sees, the oldest ones.
        dropped_messages / "droppedMessages": u32 => "number",
        /// Tokens of prompt and reply that the model no longer sees.
        dropped_tokens / "droppedTokens": u32 => "number",
        /// How long it took.
        timings / "timings": Timings => "Timings",
    }
}

wire! {
    /// A weight of the model.
    record TensorSummary {
        /// Name in the file.
        name / "name": String => "string",
        /// Output features.
        rows / "rows": u64 => "number",
        /// Input features.
        cols / "cols": u64 => "number",
        /// Encoding in the file.
        encoding / "encoding": String => "string",
        /// Form in memory.
        form / "form": String => "string",
        /// The kernel that multiplies it.
        kernel / "kernel": String => "string",
        /// Bytes in memory.
        bytes / "bytes": u64 => "number",
        /// How many weights are −1, 0 and +1, if the tensor is ternary.
        counts / "counts": Option<[u64; 3]> => "[minus: number, zero: number, plus: number] | null",
    }
}

wire! {
    /// What a loaded model is.
    record ModelInfo {
        /// The model's own name for itself, else the file's.
        name / "name": String => "string",
        /// Architecture, as `bitnet` or `llama`.
        arch / "arch": String => "string",
        /// Parameters, counted.
        params / "params": u64 => "number",
        /// Tokens of context in use.
        context / "context": u32 => "number",
        /// Tokens of context that the model was trained for.
        trained_context / "trainedContext": u32 => "number",
        /// Size of the vocabulary.
        vocab / "vocab": u32 => "number",
        /// Layers.
        layers / "layers": u32 => "number",
        /// Width of the residual stream.
        hidden / "hidden": u32 => "number",
        /// Width of the feed-forward layers.
        feed_forward / "feedForward": u32 => "number",
        /// Attention heads.
        heads / "heads": u32 => "number",
        /// Heads of keys and values.
        kv_heads / "kvHeads": u32 => "number",
        /// Width of a head.
        head_dim / "headDim": u32 => "number",
        /// Bytes of the model's files.
        file_bytes / "fileBytes": u64 => "number",
        /// Bytes of the weights in memory.
        packed_bytes / "packedBytes": u64 => "number",
        /// Bytes of weights read to generate one token.
        bytes_per_token / "bytesPerToken": u64 => "number",
        /// The kernels that compute it.
        kernels / "kernels": Vec<String> => "string[]",
        /// Threads that compute it.
        threads / "threads": u32 => "number",
        /// How keys and values of past tokens are stored.
        kv / "kv": String => "string",
        /// Its weights, in file order.
        tensors / "tensors": Vec<TensorSummary> => "TensorSummary[]",
        /// Whether it brings a tokenizer that is understood; without, only token ids can be given.
        tokenizer / "tokenizer": bool => "boolean",
        /// Whether it brings a chat template.
        chat / "chat": bool => "boolean",
        /// Its licence, if it says so.
        license / "license": Option<String> => "string | null",
        /// The sampling that its authors suggest.
        sampling / "sampling": Sampling => "Sampling",
    }
}

wire! {
    /// Sampling that a model's authors suggest; null where they say nothing.
    record Sampling {
        /// Temperature.
        temperature / "temperature": Option<f32> => "number | null",
        /// Top-k.
        top_k / "topK": Option<u32> => "number | null",
        /// Top-p.
        top_p / "topP": Option<f32> => "number | null",
        /// Min-p.
        min_p / "minP": Option<f32> => "number | null",
        /// Repetition penalty.
        repetition_penalty / "repetitionPenalty": Option<f32> => "number | null",
    }
}

/// What `Session.next` gives.
#[derive(Serialize)]
#[serde(tag = "kind", content = "value", rename_all = "lowercase")]
pub enum Step {
    /// A block of the prompt was computed.
    Prefill(Prefill),
    /// Text.
    Piece(Piece),
    /// The reply has ended.
    Done(Summary),
}

#[wasm_bindgen(typescript_custom_section)]
const STEP: &str = "/** What `Session.next` gives. */
export type Step =
  | { kind: \"prefill\"; value: Prefill }
  | { kind: \"piece\"; value: Piece }
  | { kind: \"done\"; value: Summary };
";

impl From<engine::Step> for Step {
    fn from(step: engine::Step) -> Self {
        match step {
            engine::Step::Prefill(engine::Prefill { done, total, dropped_messages, dropped_tokens }) => {
                Self::Prefill(Prefill {
                    done: count(done),
                    total: count(total),
                    dropped_messages: count(dropped_messages),
                    dropped_tokens: count(dropped_tokens),
                })
            }
            engine::Step::Piece(piece) => Self::Piece(piece.into()),
            engine::Step::Done(summary) => Self::Done(summary.into()),
        }
    }
}

impl From<engine::Piece> for Piece {
    fn from(engine::Piece { text, tokens }: engine::Piece) -> Self {
        let alternative =
            |engine::Alternative { id, text, logprob }| Alternative { id, text, logprob: finite(logprob) };
        let token = |engine::TokenInfo { id, text, logprob, top }| Token {
            id,
            text,
            logprob: finite(logprob),
            top: top.into_iter().map(alternative).collect(),
        };
        Self { text, tokens: tokens.into_iter().map(token).collect() }
    }
}

impl From<engine::Summary> for Summary {
    fn from(summary: engine::Summary) -> Self {
        let timings = summary.timings;
        Self {
            prompt_tokens: count(summary.prompt_tokens),
            cached_tokens: count(summary.cached_tokens),
            tokens: count(summary.tokens),
            finish_reason: summary.finish_reason.name().into(),
            stop_string: summary.stop_string,
            dropped_messages: count(summary.dropped_messages),
            dropped_tokens: count(summary.dropped_tokens),
            timings: Timings {
                prefill_ms: timings.prefill_ms,
                prefill_tokens: count(timings.prefill_tokens),
                prefill_rate: timings.prefill_tok_s,
                decode_ms: timings.decode_ms,
                decode_tokens: count(timings.decode_tokens),
                decode_rate: timings.decode_tok_s,
            },
        }
    }
}

impl From<engine::ModelInfo> for ModelInfo {
    fn from(info: engine::ModelInfo) -> Self {
        let tensor = |tensor: engine::TensorInfo| TensorSummary {
            name: tensor.name,
            rows: tensor.rows as u64,
            cols: tensor.cols as u64,
            encoding: tensor.encoding,
            form: tensor.form,
            kernel: tensor.kernel,
            bytes: tensor.bytes as u64,
            counts: tensor.counts,
        };
        let engine::Sampling { temperature, top_k, top_p, min_p, repetition_penalty } = info.sampling;
        Self {
            name: info.name,
            arch: info.arch,
            params: info.params,
            context: count(info.context),
            trained_context: count(info.trained_context),
            vocab: count(info.vocab),
            layers: count(info.layers),
            hidden: count(info.hidden),
            feed_forward: count(info.ffn),
            heads: count(info.heads),
            kv_heads: count(info.kv_heads),
            head_dim: count(info.head_dim),
            file_bytes: info.file_bytes,
            packed_bytes: info.packed_bytes,
            bytes_per_token: info.bytes_per_token,
            kernels: info.kernels,
            threads: count(info.threads),
            kv: info.kv,
            tensors: info.tensors.into_iter().map(tensor).collect(),
            tokenizer: info.tokenizer,
            chat: info.chat,
            license: info.license,
            sampling: Sampling { temperature, top_k, top_p, min_p, repetition_penalty },
        }
    }
}

/// Counts of tokens, rows and layers are far below 2³².
fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// JSON has no infinity: the logarithm of a probability that is 0 becomes the least number.
fn finite(logprob: f32) -> f32 {
    logprob.max(f32::MIN)
}

/// `"bad-magic" | "truncated" | …` from [`ErrorKind::ALL`], put together by the compiler.
#[allow(dead_code, reason = "the section that holds it is made by a macro")]
const CODES: &str = {
    const PARTS: (usize, [u8; 2048]) = {
        let head = b"/** Stable codes of the engine's errors. */\nexport type EngineErrorCode =";
        let (mut out, mut n, mut i) = ([0u8; 2048], 0, 0);
        while i < head.len() {
            out[n] = head[i];
            (n, i) = (n + 1, i + 1);
        }
        let mut kind = 0;
        while kind < ErrorKind::ALL.len() {
            let mut part = 0;
            while part < 3 {
                let bytes: &[u8] = match part {
                    0 => b" | \"",
                    1 => ErrorKind::ALL[kind].code().as_bytes(),
                    _ => b"\"",
                };
                let mut j = 0;
                while j < bytes.len() {
                    out[n] = bytes[j];
                    (n, j) = (n + 1, j + 1);
                }
                part += 1;
            }
            kind += 1;
        }
        out[n] = b';';
        (n + 1, out)
    };
    match core::str::from_utf8(PARTS.1.split_at(PARTS.0).0) {
        Ok(text) => text,
        Err(_) => panic!("codes are ASCII"),
    }
};

#[wasm_bindgen(typescript_custom_section)]
const ERROR_CODES: &str = CODES;

#[wasm_bindgen]
extern "C" {
    /// An [`EngineOptions`] from JavaScript.
    #[wasm_bindgen(typescript_type = "EngineOptions")]
    pub type JsEngineOptions;
    /// A [`GenerateOptions`] from JavaScript.
    #[wasm_bindgen(typescript_type = "GenerateOptions")]
    pub type JsGenerateOptions;
    /// A [`Prompt`] from JavaScript.
    #[wasm_bindgen(typescript_type = "Prompt")]
    pub type JsPrompt;
    /// A [`Step`] for JavaScript.
    #[wasm_bindgen(typescript_type = "Step")]
    pub type JsStep;
    /// A [`ModelInfo`] for JavaScript.
    #[wasm_bindgen(typescript_type = "ModelInfo")]
    pub type JsModelInfo;
}

/// Reads an options struct out of a JavaScript value.
///
/// # Errors
/// `bad-option` for unknown keys, wrong types and values that are not JSON; the detail names the key.
pub fn from_js<T: DeserializeOwned>(what: &str, value: &JsValue) -> Result<T, Error> {
    let bad = |detail: String| Error::new(ErrorKind::BadOption, format!("{what}: {detail}"));
    let json = js_sys::JSON::stringify(value).map_err(|_| bad("not a plain object".into()))?;
    // `stringify` gives undefined for functions and symbols, which is not a string whatever its type says.
    let json = JsValue::from(json).as_string().ok_or_else(|| bad("not a plain object".into()))?;
    serde_json::from_str(&json).map_err(|error| bad(error.to_string()))
}

/// Gives a record to JavaScript as a plain object.
///
/// # Errors
/// None in practice: every record is JSON.
pub fn to_js<T: Serialize, J: JsCast>(value: &T) -> Result<J, Error> {
    let broken = || Error::new(ErrorKind::BadData, "a record is not JSON");
    let json = serde_json::to_string(value).map_err(|_| broken())?;
    js_sys::JSON::parse(&json).map(JsCast::unchecked_into).map_err(|_| broken())
}
