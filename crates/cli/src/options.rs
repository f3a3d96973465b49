//! Options that several commands share.

use std::{path::PathBuf, sync::Arc};

use clap::{Args, ValueEnum};
use ternlight_core::{
    cache::KvType,
    load::{HeadPrecision, LoadOptions},
    pool::{Pool, Serial},
};
use ternlight_engine::Threads;

use crate::{
    Result,
    console::Console,
    failure::{Failure, IO},
    fetch, machine,
    place::{Cache, Reference, default_model},
};

/// The model, for commands that are about nothing else: their argument, or `--model`.
#[derive(Args, Clone, Debug)]
pub struct ModelOptions {
    /// The model: GGUF file, Hugging Face folder, URL, hf:owner/repo/file or hf:owner/repo (fetched once, then
    /// cached; @revision may follow the repo) [default: see --model]
    #[arg(value_name = "MODEL", id = "model_argument", conflicts_with = "model")]
    argument: Option<Reference>,

    #[command(flatten)]
    named: NamedModel,
}

impl ModelOptions {
    /// See [`NamedModel::locate`].
    pub fn locate(&self, console: &Console) -> Result<PathBuf> {
        self.named.locate(self.argument.as_ref(), console)
    }
}

/// The model, for commands that take something else as their argument.
#[derive(Args, Clone, Debug)]
pub struct NamedModel {
    /// The model by name: file, folder, URL or hf: reference [default: TERNLIGHT_MODEL, else Tern,
    /// which is part of the program]
    #[arg(long, short, value_name = "MODEL")]
    model: Option<Reference>,

    #[command(flatten)]
    cache: CacheOptions,
}

/// Where fetched models lie.
#[derive(Args, Clone, Debug)]
pub struct CacheOptions {
    /// Folder for fetched models [default: the user's cache folder]
    #[arg(long, value_name = "DIR", env = "TERNLIGHT_CACHE", hide_env_values = true)]
    pub cache_dir: Option<PathBuf>,

    /// Server that hf: references are fetched from
    #[arg(
        long,
        value_name = "URL",
        env = "HF_ENDPOINT",
        default_value = "https://huggingface.co",
        hide = true
    )]
    pub hf_endpoint: String,
}

impl NamedModel {
    /// Whether `--model` names one.
    pub fn is_given(&self) -> bool {
        self.model.is_some()
    }

    /// The model as a file or folder on this machine: `argument`, else `--model`, else the default.
    ///
    /// # Errors
    /// `io` where there is no such file, and those of fetching it.
    pub fn locate(&self, argument: Option<&Reference>, console: &Console) -> Result<PathBuf> {
        match argument.or(self.model.as_ref()) {
            Some(reference) => self.cache.locate(reference, console),
            None => {
                let default = default_model(&Cache::new(self.cache.cache_dir.clone())?)?;
                self.cache.locate(&default, console)
            }
        }
    }
}

impl CacheOptions {
    /// What `reference` names, as a file or folder on this machine; fetches it if that is needed.
    ///
    /// # Errors
    /// `io` where there is no such file, and those of fetching it.
    pub fn locate(&self, reference: &Reference, console: &Console) -> Result<PathBuf> {
        match reference {
            Reference::Path(path) if !path.exists() => {
                let failure = Failure::new(IO, format!("{}: no such file or folder", path.display()));
                let looks_hf = path.components().count() == 2 && path.extension().is_none();
                let hint = if looks_hf {
                    format!("for Hugging Face say hf:{}", path.display())
                } else {
                    String::new()
                };
                Err(if hint.is_empty() { failure } else { failure.hint(hint) })
            }
            Reference::Path(path) => Ok(path.clone()),
            reference => {
                let cache = Cache::new(self.cache_dir.clone())?;
                let request = fetch::Request::new(&self.hf_endpoint);
                Ok(fetch::get(reference, &cache, &request, console)?.path)
            }
        }
    }
}

/// How to compute.
#[derive(Args, Clone, Debug)]
pub struct ComputeOptions {
    /// Kernels: auto, or an instruction set named by `ternlight inspect --kernels`
    #[arg(long, value_name = "NAME", default_value = "auto")]
    pub kernel: String,

    /// Threads; 0 means one per core
    #[arg(long, short, value_name = "N", default_value_t = 0)]
    pub threads: usize,

    /// Embedding and output head in memory
    #[arg(long, value_enum, default_value = "auto")]
    pub head: HeadChoice,

    /// Pass by a metadata key or tensor that is not known, although it may change what the model computes
    #[arg(long, value_name = "NAME")]
    pub allow_unknown: Vec<String>,
}

impl ComputeOptions {
    /// For commands that are about a model's exact numbers: the head as in the file, unless asked otherwise.
    pub fn exact(mut self) -> Self {
        if self.head == HeadChoice::Auto {
            self.head = HeadChoice::Native;
        }
        self
    }

    /// How to load.
    pub fn load(&self) -> LoadOptions {
        LoadOptions {
            kernel: self.kernel.clone(),
            head: self.head.into(),
            allow_unknown: self.allow_unknown.clone(),
            exact_inputs: false,
        }
    }

    /// The threads.
    pub fn pool(&self) -> Arc<dyn Pool> {
        match machine::threads(self.threads) {
            1 => Arc::new(Serial),
            n => Arc::new(Threads::new(n)),
        }
    }
}

/// How the cache stores keys and values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kv {
    /// Exact
    F32,
    /// Half the memory
    F16,
    /// A quarter
    I8,
}

impl From<Kv> for KvType {
    fn from(kv: Kv) -> Self {
        match kv {
            Kv::F32 => Self::F32,
            Kv::F16 => Self::F16,
            Kv::I8 => Self::I8,
        }
    }
}

/// How a float embedding or head is stored in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum HeadChoice {
    /// Int8 where it is large; `logits` and `perplexity` take it as in the file
    Auto,
    /// As in the file
    Native,
    /// Int8 rows: half the bytes of f16, and faster
    Int8,
    /// As in the file for the 64 best tokens of each step, screened by int8 rows: faster, more memory
    Exact,
}

impl From<HeadChoice> for HeadPrecision {
    fn from(head: HeadChoice) -> Self {
        match head {
            HeadChoice::Auto => Self::Auto,
            HeadChoice::Native => Self::Native,
            HeadChoice::Int8 => Self::Int8,
            HeadChoice::Exact => Self::Exact,
        }
    }
}
