//! Bytes in chunks, file after file → an [`Engine`].
//!
//! Weights are packed as they arrive; only the small text files of a Hugging Face folder are collected.
//! Invariant: the result does not depend on how the bytes were cut, nor on the order of files, except
//! that `config.json` comes before safetensors.

#[cfg(not(target_arch = "wasm32"))]
mod files;

use std::{collections::BTreeMap, sync::Arc};

use ternlight_core::{
    Error, ErrorKind, Result,
    cache::KvType,
    container::{self, Meta, Value},
    load::{LoadOptions, Loader, SparseLayouts},
    model::Model,
    pool::Pool,
    tune::Forced,
};

use crate::{
    deferred::Deferred,
    engine::{Engine, Inner},
    info::Sampling,
    options::EngineOptions,
    text::{
        Config, Tokenizer,
        template::{BITNET, Template},
    },
};

/// The longest text file that is collected; a tokenizer.json of 260 k entries has 33 MB.
const MAX_TEXT: usize = 256 << 20;

// The large keys of a GGUF tokenizer: only it has them, since they take tens of megabytes.
const TOKENS: &str = "tokenizer.ggml.tokens";
const SCORES: &str = "tokenizer.ggml.scores";
const TYPES: &str = "tokenizer.ggml.token_type";
const MERGES: &str = "tokenizer.ggml.merges";

/// Text files that mean something; others are read and forgotten.
const TEXTS: [&str; 5] = [
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "generation_config.json",
    "chat_template.jinja",
];

/// How the index of a folder's shards ends; it comes before the shards.
const SHARD_INDEX: &str = "safetensors.index.json";

/// Builds an [`Engine`] from files pushed in chunks. See the module.
pub struct EngineLoader {
    options: EngineOptions,
    pool: Arc<dyn Pool>,
    loader: Loader,
    open: Option<Open>,
    /// Being made while weights arrive, which have more work for the threads than the reading gives them.
    tokenizer: Option<Deferred<Result<Tokenizer>>>,
    texts: BTreeMap<&'static str, String>,
    weights_name: Option<String>,
    bytes: u64,
}

enum Open {
    Weights,
    Text { name: &'static str, bytes: Vec<u8> },
    Ignored,
}

impl EngineLoader {
    /// A loader for `options`; without a `pool` the engine makes its own (natively) or computes on the
    /// caller's thread (in wasm).
    pub fn new(options: EngineOptions, pool: Option<Arc<dyn Pool>>) -> Self {
        let pool = pool.unwrap_or_else(|| own_pool(options.threads));
        // A kernel that was asked for is not swapped for one that reads the same layout faster.
        pool.force(Forced { kernel: options.kernel != "auto", ..Forced::default() });
        let loader = Loader::new(LoadOptions {
            kernel: options.kernel.clone(),
            head: options.head,
            allow_unknown: options.allow_unknown.clone(),
            exact_inputs: options.exact_inputs,
            set: options.overrides(),
            experts: options.experts.clone(),
            sparse: SparseLayouts::default(),
        });
        let loader = loader.with_pool(pool.clone());
        let (open, tokenizer, weights_name) = (None, None, None);
        Self { options, pool, loader, open, tokenizer, texts: BTreeMap::new(), weights_name, bytes: 0 }
    }

    /// Announces a file: a GGUF or safetensors file, or one of the JSON files of a Hugging Face folder,
    /// told apart by name (folders before it do not matter). `len` is its length where known.
    ///
    /// # Errors
    /// `bad-option` while another file is open.
    pub fn begin_file(&mut self, name: &str, len: Option<u64>) -> Result<()> {
        if self.open.is_some() {
            return Err(Error::new(ErrorKind::BadOption, "another file is still open"));
        }
        let name = name.rsplit(['/', '\\']).next().unwrap_or(name);
        self.open = Some(if let Some(&text) = TEXTS.iter().find(|t| **t == name) {
            Open::Text { name: text, bytes: Vec::new() }
        } else if name.ends_with(SHARD_INDEX) {
            Open::Text { name: SHARD_INDEX, bytes: Vec::new() }
        } else if [".json", ".jinja", ".txt", ".md", ".model"].iter().any(|end| name.ends_with(end)) {
            Open::Ignored
        } else {
            self.loader.begin_file(name, len)?;
            self.weights_name.get_or_insert_with(|| name.to_owned());
            self.start_json_tokenizer();
            Open::Weights
        });
        Ok(())
    }

    /// Takes the next bytes of the open file.
    ///
    /// # Errors
    /// Anything that can be wrong with a file. The loader is useless afterwards.
    pub fn push(&mut self, chunk: &[u8]) -> Result<()> {
        match &mut self.open {
            None => return Err(Error::new(ErrorKind::BadOption, "no file is open")),
            Some(Open::Ignored) => {}
            Some(Open::Weights) => {
                self.loader.push(chunk)?;
                self.bytes += chunk.len() as u64;
                self.start_gguf_tokenizer();
            }
            Some(Open::Text { name, bytes }) => {
                if bytes.len() + chunk.len() > MAX_TEXT {
                    let detail = format!("{name} is longer than {MAX_TEXT} bytes");
                    return Err(Error::new(ErrorKind::TooLarge, detail));
                }
                bytes.try_reserve(chunk.len())?;
                bytes.extend_from_slice(chunk);
            }
        }
        Ok(())
    }

    /// Begins the tokenizer of a folder, if both of its files came before the weights.
    fn start_json_tokenizer(&mut self) {
        if let Some(config) = self.texts.get("tokenizer_config.json").cloned()
            && let Some(json) = self.texts.remove("tokenizer.json")
        {
            let make = move || Tokenizer::from_json(&json, Some(&config));
            self.tokenizer = Some(Deferred::new(&*self.pool, make));
        }
    }

    /// Begins the tokenizer of a GGUF file, once its metadata is there, unless the folder has one.
    fn start_gguf_tokenizer(&mut self) {
        if !self.loader.meta().has(TOKENS) {
            return;
        }
        let mut meta = self.loader.take_meta(&[TOKENS, SCORES, TYPES, MERGES]);
        if self.tokenizer.is_none() {
            let rest = self.loader.meta().0.iter().filter(|(key, _)| key.starts_with("tokenizer.ggml."));
            meta.0.extend(rest.map(|(key, value)| (key.clone(), value.clone())));
            self.tokenizer = Some(Deferred::new(&*self.pool, move || Tokenizer::from_meta(&meta)));
        }
    }

    /// Says that the open file has ended.
    ///
    /// # Errors
    /// `truncated`; `bad-header` for text that is not UTF-8 or a config that is not valid.
    pub fn end_file(&mut self) -> Result<()> {
        match self.open.take() {
            None => Err(Error::new(ErrorKind::BadOption, "no file is open")),
            Some(Open::Ignored) => Ok(()),
            Some(Open::Weights) => self.loader.end_file(),
            Some(Open::Text { name, bytes }) => {
                let text = String::from_utf8(bytes)
                    .map_err(|_| Error::new(ErrorKind::BadHeader, format!("{name} is not UTF-8")))?;
                match name {
                    "config.json" => self.loader.config(&text)?,
                    SHARD_INDEX => self.announce_shards(&text)?,
                    _ => {}
                }
                self.texts.insert(name, text);
                Ok(())
            }
        }
    }

    /// Takes the names of all tensors from an index of shards: what one shard holds may change what another means.
    fn announce_shards(&mut self, json: &str) -> Result<()> {
        #[derive(serde::Deserialize)]
        struct Index {
            weight_map: BTreeMap<String, String>,
        }
        let index: Index = serde_json::from_str(json)
            .map_err(|e| Error::new(ErrorKind::BadHeader, format!("{SHARD_INDEX}: {e}")))?;
        self.loader.announce(index.weight_map.into_keys().map(|name| (name, None)));
        Ok(())
    }

    /// Tells the tensors of weight files before they come: see [`Loader::announce`].
    pub fn announce(&mut self, tensors: impl IntoIterator<Item = (String, Option<container::TensorInfo>)>) {
        self.loader.announce(tensors);
    }

    /// Bytes of weights taken so far.
    pub fn pushed(&self) -> u64 {
        self.bytes
    }

    /// The engine, once every file has ended.
    ///
    /// # Errors
    /// `truncated`, `missing-tensor`, `bad-data`; `bad-option` for options that make no sense. A tokenizer
    /// that is missing or cannot be built is no error here but in the calls that need it.
    pub fn finish(self) -> Result<Engine> {
        if self.open.is_some() {
            return Err(Error::new(ErrorKind::Truncated, "a file is not complete"));
        }
        self.options.check()?;
        let mut model = self.loader.finish()?;
        let kv = model.choose_kv(self.options.kv, KvType::F16)?;
        let text = |name: &str| self.texts.get(name).map(String::as_str);
        let config = text("tokenizer_config.json").and_then(|t| Config::read(t).ok()).unwrap_or_default();

        let mut tokenizer = match (text("tokenizer.json"), self.tokenizer) {
            (Some(json), _) => Tokenizer::from_json(json, text("tokenizer_config.json")),
            (None, Some(tokenizer)) => tokenizer.get(&*self.pool),
            (None, None) => Tokenizer::from_meta(&model.meta),
        };
        let generation =
            text("generation_config.json").and_then(|t| container::config(t).ok()).unwrap_or_default();
        if let Ok(tokenizer) = &mut tokenizer {
            tokenizer.add_stops(eos_ids(&generation).into_iter().chain(eos_ids(&model.meta)));
        }
        let template = template(&self.texts, &config, &model, tokenizer.as_ref().ok());
        if let (Ok(tokenizer), Some(template)) = (&mut tokenizer, &template) {
            tokenizer.guard_tokens_of(&template.literals());
        }
        let sampling = if self.texts.contains_key("generation_config.json") {
            Sampling::from_meta(&generation)
        } else {
            Sampling::from_meta(&model.meta)
        };
        let name = ["general.name", "_name_or_path"].iter().find_map(|key| model.meta.opt_str(key).ok()?);
        let name = match name.filter(|name| !name.is_empty()) {
            Some(name) => name.to_owned(),
            None => self.weights_name.clone().unwrap_or_default(),
        };
        Ok(Engine {
            inner: Arc::new(Inner {
                model: Arc::new(model),
                pool: self.pool,
                options: self.options,
                kv,
                tokenizer,
                template,
                sampling,
                name,
                file_bytes: self.bytes,
            }),
        })
    }
}

/// The chat template with the spellings of the tokens it may print, from wherever the model has it.
fn template(
    texts: &BTreeMap<&'static str, String>,
    config: &Config,
    model: &Model,
    tokenizer: Option<&Tokenizer>,
) -> Option<Template> {
    let own = |source: &str| (!source.trim().is_empty()).then(|| source.to_owned());
    let source = texts
        .get("chat_template.jinja")
        .and_then(|source| own(source))
        .or_else(|| own(config.chat_template.as_deref()?))
        .or_else(|| own(model.meta.opt_str("tokenizer.chat_template").ok()??))
        .or_else(|| {
            let bitnet = model.spec.arch.starts_with("bitnet") && tokenizer?.control("<|eot_id|>").is_some();
            bitnet.then(|| BITNET.to_owned())
        })?;
    let spelling = |configured: &Option<String>, id: Option<u32>| {
        let token = || Some(String::from_utf8_lossy(tokenizer?.token_bytes(id?)).into_owned());
        configured.clone().or_else(token).unwrap_or_default()
    };
    Some(Template {
        source,
        bos: spelling(&config.bos, tokenizer.and_then(Tokenizer::bos)),
        eos: spelling(&config.eos, tokenizer.and_then(Tokenizer::eos)),
    })
}

/// The ids that end an answer, in a flattened `generation_config.json` or `config.json`.
fn eos_ids(meta: &Meta) -> Vec<u32> {
    match meta.get("eos_token_id") {
        Some(Value::Int(id)) => u32::try_from(*id).into_iter().collect(),
        Some(Value::Ints(ids)) => ids.iter().filter_map(|&id| u32::try_from(id).ok()).collect(),
        _ => Vec::new(),
    }
}

#[cfg(not(target_arch = "wasm32"))]
fn own_pool(threads: usize) -> Arc<dyn Pool> {
    Arc::new(crate::threads::Threads::new(threads))
}

#[cfg(target_arch = "wasm32")]
fn own_pool(_threads: usize) -> Arc<dyn Pool> {
    Arc::new(ternlight_core::pool::Serial)
}
