//! `EngineLoader`, `Engine` and `Session` for JavaScript: the engine's own, behind names, options and
//! errors of the other side.

use ternlight_core::{Error, ErrorKind};
use ternlight_engine::{self as engine, EngineOptions, GenerateOptions, ModelInfo, Step};
use wasm_bindgen::prelude::*;

use crate::{
    digest::Chunk,
    error::to_js_error,
    threads,
    wire::{Js, Prompt, engine_options, from_js, to_js},
};

fn bad_option(detail: &str) -> Error {
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
    pub fn new(options: &Js<EngineOptions>) -> Result<EngineLoader, JsValue> {
        let options = engine_options(options).map_err(to_js_error)?;
        Ok(Self(engine::EngineLoader::new(options, Some(threads::pool()))))
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
    pub fn info(&self) -> Result<Js<ModelInfo>, JsValue> {
        to_js(&self.0.info()).map_err(to_js_error)
    }

    /// Token ids of `text`, with nothing added.
    ///
    /// # Errors
    /// `tokenizer`, `missing-key`, `bad-option`.
    pub fn tokenize(
        &self,
        #[wasm_bindgen(unchecked_param_type = "string")] text: &JsValue,
        #[wasm_bindgen(unchecked_param_type = "boolean")] special: &JsValue,
    ) -> Result<Vec<u32>, JsValue> {
        let tokens = from_js::<String>("text", text)
            .and_then(|text| self.0.tokenize(&text, from_js("special", special)?));
        tokens.map_err(to_js_error)
    }

    /// Text of token ids.
    ///
    /// # Errors
    /// `tokenizer`, `missing-key`, `bad-option`.
    pub fn detokenize(
        &self,
        #[wasm_bindgen(unchecked_param_type = "readonly number[]")] tokens: &JsValue,
    ) -> Result<String, JsValue> {
        from_js::<Vec<u32>>("tokens", tokens)
            .and_then(|tokens| self.0.detokenize(&tokens))
            .map_err(to_js_error)
    }

    /// Token ids of a conversation: the `messages` and `template` of a prompt.
    ///
    /// # Errors
    /// `template`, `tokenizer`, `bad-option`.
    #[wasm_bindgen(js_name = chatTokens)]
    pub fn chat_tokens(&self, prompt: &Js<Prompt>) -> Result<Vec<u32>, JsValue> {
        let tokens = from_js::<Prompt>("prompt", prompt).and_then(Prompt::into_engine).and_then(|prompt| {
            let engine::Prompt::Chat(messages, options) = prompt else {
                return Err(bad_option("prompt: no messages"));
            };
            self.0.chat_tokens(&messages, &options)
        });
        tokens.map_err(to_js_error)
    }

    /// The embedding of a text, or of token ids as they are: pooled, of length 1.
    ///
    /// # Errors
    /// `tokenizer`, `context-full`, `out-of-memory`, `bad-option`.
    pub fn embed(
        &self,
        #[wasm_bindgen(unchecked_param_type = "string | readonly number[]")] text: &JsValue,
    ) -> Result<Vec<f32>, JsValue> {
        let pooling = engine::Pooling::Last;
        let embedding = match js_sys::Array::is_array(text) {
            true => from_js::<Vec<u32>>("tokens", text).and_then(|ids| self.0.embed_tokens(&ids, pooling)),
            false => from_js::<String>("text", text).and_then(|text| self.0.embed(&text, pooling)),
        };
        embedding.map_err(to_js_error)
    }

    /// The logits of every token of a sequence, row by row.
    ///
    /// # Errors
    /// `context-full`, `out-of-memory`, `bad-option`.
    pub fn logits(
        &self,
        #[wasm_bindgen(unchecked_param_type = "readonly number[]")] tokens: &JsValue,
    ) -> Result<Vec<f32>, JsValue> {
        from_js::<Vec<u32>>("tokens", tokens).and_then(|tokens| self.0.logits(&tokens)).map_err(to_js_error)
    }

    /// SHA-256, in hex, of the logits of a fixed prompt: the same on every machine.
    ///
    /// # Errors
    /// `out-of-memory`.
    pub fn fingerprint(&self) -> Result<String, JsValue> {
        self.0.fingerprint().map_err(to_js_error)
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
    pub fn start(&mut self, prompt: &Js<Prompt>, options: &Js<GenerateOptions>) -> Result<(), JsValue> {
        self.begin(prompt, options).map_err(to_js_error)
    }

    /// Does one bounded piece of work: a block of the prompt, or a token.
    ///
    /// # Errors
    /// `bad-option` when no reply is in progress, `out-of-memory`, `bad-data`.
    #[expect(clippy::should_implement_trait, reason = "JavaScript has no such trait")]
    pub fn next(&mut self) -> Result<Js<Step>, JsValue> {
        self.0.next().and_then(|step| to_js(&step)).map_err(to_js_error)
    }

    /// Ends the reply where it is.
    ///
    /// # Errors
    /// `bad-option` when no reply is in progress.
    pub fn cancel(&mut self) -> Result<Js<Step>, JsValue> {
        let summary = self.0.cancel().ok_or_else(|| bad_option("no reply is in progress"));
        summary.and_then(|summary| to_js(&Step::Done(summary))).map_err(to_js_error)
    }
}

impl Session {
    fn begin(&mut self, prompt: &JsValue, options: &JsValue) -> Result<(), Error> {
        let prompt = from_js::<Prompt>("prompt", prompt)?.into_engine()?;
        let mut options = from_js::<GenerateOptions>("options", options)?;
        // 53 random bits, as many as a JavaScript number can hold.
        options.seed.get_or_insert_with(|| (js_sys::Math::random() * 9_007_199_254_740_992.0) as u64);
        self.0.start(&prompt, &options)
    }
}
