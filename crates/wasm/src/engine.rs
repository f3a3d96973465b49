//! `EngineLoader`, `Engine` and `Session` for JavaScript: the engine's own, behind names, options and
//! errors of the other side.

use ternlight_core::{Error, ErrorKind, cache::KvType, load::Head};
use ternlight_engine as engine;
use wasm_bindgen::prelude::*;

use crate::{
    digest::Chunk,
    error::to_js_error,
    threads,
    wire::{
        self, EngineOptions, GenerateOptions, JsEngineOptions, JsGenerateOptions, JsModelInfo, JsPrompt,
        JsStep, Prompt, TemplateOptions, from_js, to_js,
    },
};

fn bad_option(detail: impl Into<String>) -> Error {
    Error::new(ErrorKind::BadOption, detail)
}

/// Builds an engine from the bytes of its files.
#[wasm_bindgen]
pub struct EngineLoader(engine::EngineLoader);

#[wasm_bindgen]
impl EngineLoader {
    /// # Errors
    /// `bad-option`.
    #[wasm_bindgen(constructor)]
    pub fn new(options: &JsEngineOptions) -> Result<EngineLoader, JsValue> {
        let options = from_js::<EngineOptions>("options", options).and_then(|o| engine_options(&o));
        Ok(Self(engine::EngineLoader::new(options.map_err(to_js_error)?, Some(threads::pool()))))
    }

    /// Announces the next file and, if known, its length.
    ///
    /// # Errors
    /// `source` for a file out of turn, `bad-option` for an unknown name.
    #[wasm_bindgen(js_name = beginFile)]
    pub fn begin_file(&mut self, name: &str, length: Option<f64>) -> Result<(), JsValue> {
        self.0.begin_file(name, length.map(|bytes| bytes as u64)).map_err(to_js_error)
    }

    /// Takes in bytes `from..to` of `chunk`.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn push(&mut self, chunk: &Chunk, from: usize, to: usize) -> Result<(), JsValue> {
        self.0.push(chunk.get(from, to)).map_err(to_js_error)
    }

    /// Ends the current file.
    ///
    /// # Errors
    /// `truncated`, and what is wrong with the file.
    #[wasm_bindgen(js_name = endFile)]
    pub fn end_file(&mut self) -> Result<(), JsValue> {
        self.0.end_file().map_err(to_js_error)
    }

    /// Makes the engine out of all files.
    ///
    /// # Errors
    /// `missing-tensor`, `missing-key`, `tokenizer`, `out-of-memory`.
    pub fn finish(self) -> Result<Engine, JsValue> {
        self.0.finish().map(Engine).map_err(to_js_error)
    }
}

/// A loaded model.
#[wasm_bindgen]
pub struct Engine(engine::Engine);

#[wasm_bindgen]
impl Engine {
    /// What it is.
    ///
    /// # Errors
    /// None in practice.
    pub fn info(&self) -> Result<JsModelInfo, JsValue> {
        to_js(&wire::ModelInfo::from(self.0.info())).map_err(to_js_error)
    }

    /// Token ids of `text`, with nothing added.
    ///
    /// # Errors
    /// `tokenizer`, `missing-key`.
    pub fn tokenize(&self, text: &str, special: bool) -> Result<Vec<u32>, JsValue> {
        self.0.tokenize(text, special).map_err(to_js_error)
    }

    /// Text of token ids.
    ///
    /// # Errors
    /// `tokenizer`, `missing-key`.
    pub fn detokenize(&self, tokens: &[u32]) -> Result<String, JsValue> {
        self.0.detokenize(tokens).map_err(to_js_error)
    }

    /// Token ids of a conversation: the `messages` and `template` of a prompt.
    ///
    /// # Errors
    /// `template`, `tokenizer`, `bad-option`.
    #[wasm_bindgen(js_name = chatTokens)]
    pub fn chat_tokens(&self, prompt: &JsPrompt) -> Result<Vec<u32>, JsValue> {
        from_js("prompt", prompt)
            .and_then(|prompt: Prompt| {
                let messages = prompt.messages.ok_or_else(|| bad_option("prompt: no messages"))?;
                self.0.chat_tokens(&messages, &chat_options(prompt.template.unwrap_or_default()))
            })
            .map_err(to_js_error)
    }

    /// The embedding of `text`: pooled, of length 1.
    ///
    /// # Errors
    /// `tokenizer`, `context-full`, `out-of-memory`.
    pub fn embed(&self, text: &str) -> Result<Vec<f32>, JsValue> {
        self.0.embed(text).map_err(to_js_error)
    }

    /// A sequence with an empty cache.
    ///
    /// # Errors
    /// `out-of-memory`.
    pub fn session(&self) -> Result<Session, JsValue> {
        self.0.session().map(Session).map_err(to_js_error)
    }
}

/// One sequence: prompts go in, pieces come out, the cache stays for the next prompt.
#[wasm_bindgen]
pub struct Session(engine::Session);

#[wasm_bindgen]
impl Session {
    /// Begins a reply.
    ///
    /// # Errors
    /// `bad-option`, `context-full`, `template`, `tokenizer`.
    pub fn start(&mut self, prompt: &JsPrompt, options: &JsGenerateOptions) -> Result<(), JsValue> {
        self.begin(prompt, options).map_err(to_js_error)
    }

    /// Does one bounded piece of work: a block of the prompt, or a token.
    ///
    /// # Errors
    /// `bad-option` when no reply is in progress, `out-of-memory`, `bad-data`.
    #[expect(clippy::should_implement_trait, reason = "JavaScript has no such trait")]
    pub fn next(&mut self) -> Result<JsStep, JsValue> {
        self.0.next().and_then(|step| to_js(&wire::Step::from(step))).map_err(to_js_error)
    }

    /// Ends the reply where it is.
    ///
    /// # Errors
    /// `bad-option` when no reply is in progress.
    pub fn cancel(&mut self) -> Result<JsStep, JsValue> {
        let summary = self.0.cancel().ok_or_else(|| bad_option("no reply is in progress"));
        summary.and_then(|summary| to_js(&wire::Step::Done(summary.into()))).map_err(to_js_error)
    }
}

impl Session {
    fn begin(&mut self, prompt: &JsPrompt, options: &JsGenerateOptions) -> Result<(), Error> {
        let prompt = engine_prompt(from_js("prompt", prompt)?)?;
        let options = self.generate_options(from_js("options", options)?);
        self.0.start(&prompt, &options)
    }

    /// What the caller asks for, over what the model's authors suggest.
    fn generate_options(&self, options: GenerateOptions) -> engine::GenerateOptions {
        let mut sample = engine::SampleOptions::default();
        self.0.engine().sampling().apply(&mut sample);
        let set = |field: &mut f32, value: Option<f32>| *field = value.unwrap_or(*field);
        set(&mut sample.temperature, options.temperature);
        set(&mut sample.top_p, options.top_p);
        set(&mut sample.min_p, options.min_p);
        set(&mut sample.typical_p, options.typical_p);
        set(&mut sample.repetition_penalty, options.repetition_penalty);
        set(&mut sample.frequency_penalty, options.frequency_penalty);
        set(&mut sample.presence_penalty, options.presence_penalty);
        sample.top_k = options.top_k.map_or(sample.top_k, |k| k as usize);
        sample.penalty_window = options.penalty_window.map_or(sample.penalty_window, |n| n as usize);
        sample.logit_bias = options.logit_bias.unwrap_or_default().into_iter().collect();
        sample.banned_tokens = options.banned_tokens.unwrap_or_default();
        // 53 random bits, as many as a JavaScript number can hold.
        sample.seed =
            options.seed.unwrap_or_else(|| (js_sys::Math::random() * 9_007_199_254_740_992.0) as u64);
        engine::GenerateOptions {
            max_tokens: options.max_tokens.map_or(usize::MAX, |n| n as usize),
            sample,
            stop: options.stop.unwrap_or_default(),
            top_logprobs: options.top_logprobs.unwrap_or(0) as usize,
            ignore_stop_tokens: options.ignore_stop_tokens.unwrap_or(false),
        }
    }
}

fn engine_options(options: &EngineOptions) -> Result<engine::EngineOptions, Error> {
    let mut out = engine::EngineOptions::default();
    out.kernel = options.kernel.clone().unwrap_or(out.kernel);
    if options.context == Some(0) || options.block == Some(0) {
        return Err(bad_option("options: context and block are at least 1"));
    }
    out.context = options.context;
    out.block = options.block.map_or(out.block, |block| block as usize);
    if let Some(kv) = &options.kv {
        out.kv = KvType::from_name(kv).ok_or_else(|| bad_option(format!("kv {kv:?}: not f32, f16 or i8")))?;
    }
    out.head = match options.head.as_deref() {
        None | Some("auto") => Head::Auto,
        Some("native") => Head::Native,
        Some("int8") => Head::Int8,
        Some("exact") => Head::Exact,
        Some(head) => return Err(bad_option(format!("head {head:?}: not auto, native, int8 or exact"))),
    };
    Ok(out)
}

fn engine_prompt(prompt: Prompt) -> Result<engine::Prompt, Error> {
    match prompt {
        Prompt { tokens: Some(tokens), text: None, messages: None, .. } => Ok(engine::Prompt::Tokens(tokens)),
        Prompt { text: Some(text), tokens: None, messages: None, special, add_bos, .. } => {
            Ok(engine::Prompt::Text {
                text,
                special: special.unwrap_or(false),
                add_bos: add_bos.unwrap_or(true),
            })
        }
        Prompt { messages: Some(messages), tokens: None, text: None, template, .. } => {
            Ok(engine::Prompt::Chat(messages, chat_options(template.unwrap_or_default())))
        }
        _ => Err(bad_option("prompt: exactly one of tokens, text and messages is needed")),
    }
}

fn chat_options(options: TemplateOptions) -> engine::ChatOptions {
    let mut out = engine::ChatOptions::default();
    out.add_generation_prompt = options.add_generation_prompt.unwrap_or(out.add_generation_prompt);
    out.vars.extend(options.variables.unwrap_or_default());
    if let Some(tools) = options.tools {
        out.vars.insert("tools".into(), tools);
    }
    out
}
