//! Options that several commands share.

use std::{path::PathBuf, sync::Arc};

use clap::{Args, ValueEnum};
use ternlight_core::{
    cache::KvType,
    kernel::{MAX_STREAMS, ReadOrder},
    load::Head,
    pool::Pool,
    tune::Forced,
};
use ternlight_engine::Threads;

use crate::{
    Result,
    console::Console,
    failure::{Failure, IO},
    fetch, machine,
    place::{Cache, Reference, default_model},
};

/// Which model.
#[derive(Args, Clone, Debug)]
pub struct ModelOptions {
    /// GGUF file, Hugging Face folder, URL, or hf:owner/repo[@revision][/file] (fetched once, then cached)
    /// [default: TERNLIGHT_MODEL, else Tern, which is part of the program]
    #[arg(long, short, value_name = "PATH|REF")]
    pub model: Option<Reference>,

    #[command(flatten)]
    pub cache: CacheOptions,
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

impl ModelOptions {
    /// The model as a file or folder on this machine; fetches it if that is needed.
    pub fn locate(&self, console: &Console) -> Result<PathBuf> {
        let cache = Cache::new(self.cache.cache_dir.clone())?;
        let reference = match &self.model {
            None => default_model(&cache)?,
            Some(reference) => reference.clone(),
        };
        match &reference {
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
                let request = fetch::Request { sha256: None, ..fetch::Request::new(&self.cache.hf_endpoint) };
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

    /// How one token reads the weights, instead of measuring which order is the fastest: STREAMS:PREFETCH, as
    /// 1:4096 or 8:4096 (streams side by side, bytes ahead)
    #[arg(long, value_name = "ORDER", value_parser = read_order, hide_short_help = true)]
    pub order: Option<ReadOrder>,

    /// Tasks that a product is cut into, instead of measuring how many are the fastest
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..), hide_short_help = true)]
    pub tasks: Option<u16>,

    /// Embedding and output head in memory
    #[arg(long, value_enum, default_value = "auto")]
    pub head: HeadChoice,
}

impl ComputeOptions {
    /// For commands that are about a model's exact numbers: the head as in the file, unless asked otherwise.
    pub fn exact(mut self) -> Self {
        if self.head == HeadChoice::Auto {
            self.head = HeadChoice::Native;
        }
        self
    }

    /// The threads.
    pub fn pool(&self) -> Arc<dyn Pool> {
        let pool = Threads::new(machine::threads(self.threads));
        pool.force(Forced {
            kernel: self.kernel != "auto",
            order: self.order,
            tasks: self.tasks.map(usize::from),
        });
        Arc::new(pool)
    }
}

fn read_order(text: &str) -> std::result::Result<ReadOrder, String> {
    let order = text.split_once(':').and_then(|(streams, prefetch)| {
        Some(ReadOrder {
            streams: streams.parse().ok()?,
            prefetch: prefetch.parse().ok()?,
            ..ReadOrder::DEFAULT
        })
    });
    order
        .filter(|order| (1..=MAX_STREAMS).contains(&order.streams))
        .ok_or_else(|| format!("not STREAMS:PREFETCH with 1 to {MAX_STREAMS} streams"))
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

impl From<HeadChoice> for Head {
    fn from(head: HeadChoice) -> Self {
        match head {
            HeadChoice::Auto => Self::Auto,
            HeadChoice::Native => Self::Native,
            HeadChoice::Int8 => Self::Int8,
            HeadChoice::Exact => Self::Exact,
        }
    }
}
