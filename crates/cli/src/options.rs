//! Options that several commands share.

use std::{path::PathBuf, sync::Arc};

use clap::{Args, ValueEnum};
use ternlight_core::{
    cache::{KvChoice, KvType},
    container::Overrides,
    kernel::{MAX_STREAMS, ReadOrder},
    load::{HeadPrecision, LoadOptions, SparseLayouts},
    model::{LoopKv, LoopOptions},
    pool::Pool,
    tune::Forced,
};
use ternlight_engine::Threads;

use crate::{
    Result,
    console::Console,
    failure::{Failure, IO},
    fetch, hardware,
    model_ref::{Cache, ModelRef, default_model},
};

/// The model, for commands that are about nothing else: their argument, or `--model`.
#[derive(Args, Clone, Debug)]
pub struct ModelOptions {
    /// The model: GGUF file, Hugging Face folder, URL, hf:owner/repo/file or hf:owner/repo (fetched once, then
    /// cached; @revision may follow the repo) [default: see --model]
    #[arg(value_name = "MODEL", id = "model_argument", conflicts_with = "model")]
    argument: Option<ModelRef>,

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
    #[arg(help_heading = "Model", long, short, value_name = "MODEL")]
    model: Option<ModelRef>,

    #[command(flatten)]
    cache: CacheOptions,
}

/// Where fetched models are stored.
#[derive(Args, Clone, Debug)]
pub struct CacheOptions {
    /// Folder for fetched models [default: the user's cache folder]
    #[arg(help_heading = "Model", long, value_name = "DIR", env = "TERNLIGHT_CACHE", hide_env_values = true)]
    pub cache_dir: Option<PathBuf>,

    /// Server that hf: references are fetched from
    #[arg(
        help_heading = "Model",
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
    pub fn locate(&self, argument: Option<&ModelRef>, console: &Console) -> Result<PathBuf> {
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
    pub fn locate(&self, reference: &ModelRef, console: &Console) -> Result<PathBuf> {
        match reference {
            ModelRef::Path(path) if !path.exists() => {
                let failure = Failure::new(IO, format!("{}: no such file or folder", path.display()));
                let looks_hf = path.components().count() == 2 && path.extension().is_none();
                let hint = if looks_hf {
                    format!("for Hugging Face say hf:{}", path.display())
                } else {
                    String::new()
                };
                Err(if hint.is_empty() { failure } else { failure.hint(hint) })
            }
            ModelRef::Path(path) => Ok(path.clone()),
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
    /// Kernels: auto, scalar, or another instruction set that `ternlight bench --kernels` names
    #[arg(help_heading = "Computation", long, value_name = "NAME", default_value = "auto")]
    pub kernel: String,

    /// Threads; 0 means one per core
    #[arg(help_heading = "Computation", long, short, value_name = "N", default_value_t = 0, value_parser = threads)]
    pub threads: usize,

    /// How one token reads the weights, instead of measuring which order is the fastest: STREAMS:PREFETCH, as
    /// 1:4096 or 8:4096 (streams side by side, bytes ahead)
    #[arg(long, value_name = "ORDER", value_parser = read_order, hide_short_help = true)]
    pub order: Option<ReadOrder>,

    /// Tasks that a product is cut into, instead of measuring how many are the fastest
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..), hide_short_help = true)]
    pub tasks: Option<u16>,

    /// Embedding and output head in memory
    #[arg(help_heading = "Computation", long, value_enum, default_value = "auto")]
    pub head: HeadChoice,

    /// Which matrices lie so that what meets zeros is not read (the output is the same)
    #[arg(long, value_enum, default_value = "auto", hide_short_help = true)]
    pub sparse: Sparse,

    /// Ignore an unknown metadata key or tensor, although it may change what the model computes
    #[arg(help_heading = "Computation", long, value_name = "NAME")]
    pub allow_unknown: Vec<String>,

    /// Give a key of the model's configuration (dotted path) or GGUF metadata another value, for experiments: JSON,
    /// else text; null removes it; may be repeated
    #[arg(help_heading = "Computation", long, value_name = "KEY=VALUE", value_parser = override_of)]
    pub set: Vec<Override>,

    /// Experts that a token is given to, in all layers or as a list for each layer that has experts [default: as the
    /// model says]
    #[arg(help_heading = "Computation", long, value_name = "K,…", value_delimiter = ',')]
    pub experts: Vec<usize>,
}

/// A metadata key and its new value.
pub type Override = (String, serde_json::Value);

/// `KEY=VALUE`, where the value is JSON, else text.
pub fn override_of(text: &str) -> Result<Override, String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => {
            let json = serde_json::from_str(value).unwrap_or_else(|_| value.into());
            Ok((key.to_owned(), json))
        }
        _ => Err("not KEY=VALUE".to_owned()),
    }
}

/// What the loader is told to change.
pub fn overrides(set: &[Override]) -> Overrides {
    let mut overrides = Overrides::default();
    set.iter().for_each(|(key, value)| overrides.set(key, &value.to_string()));
    overrides
}

/// A limit above the cores of any machine catches typing errors.
fn threads(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(threads) if threads <= 1024 => Ok(threads),
        _ => Err("not a number from 0 to 1024".to_owned()),
    }
}

impl ComputeOptions {
    /// For commands that report exact numbers: keeps the head as in the file unless told otherwise.
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
            set: overrides(&self.set),
            experts: self.experts.clone(),
            sparse: self.sparse.into(),
        }
    }

    /// The threads.
    pub fn pool(&self) -> Arc<dyn Pool> {
        let pool = Threads::new(hardware::threads(self.threads));
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
    /// The codes that BitNet a4.8 was trained with, for models that have them
    A48,
}

impl Kv {
    /// What `--kv` says, if it is given.
    pub fn choice(given: Option<Self>) -> KvChoice {
        match given {
            None => KvChoice::Auto,
            Some(Self::F32) => KvType::F32.into(),
            Some(Self::F16) => KvType::F16.into(),
            Some(Self::I8) => KvType::I8.into(),
            Some(Self::A48) => KvChoice::A48,
        }
    }
}

/// How a looped model loops.
#[derive(Args, Clone, Copy, Debug)]
pub struct LoopArgs {
    /// Passes through the loop of a looped model, the steps of Huginn [default: as many as the model says]
    #[arg(help_heading = "Computation", long, value_name = "N")]
    loops: Option<usize>,

    /// A token leaves the loop after the first pass whose cumulative exit probability reaches Q, 0 to 1
    /// [default: as the model says, mostly after the last pass]
    #[arg(help_heading = "Computation", long, value_name = "Q")]
    exit_threshold: Option<f32>,

    /// Do not compute the passes after a token's exit; without this all are computed, and the exit chooses among
    /// their results
    #[arg(help_heading = "Computation", long)]
    early_exit: bool,

    /// Whose keys and values of earlier tokens a pass sees (last is experimental)
    #[arg(help_heading = "Computation", long, value_enum, default_value = "each")]
    loop_kv: LoopKvChoice,
}

impl LoopArgs {
    /// For a decoder.
    pub fn options(self) -> LoopOptions {
        let Self { loops, exit_threshold, early_exit, loop_kv } = self;
        let kv = match loop_kv {
            LoopKvChoice::Each => LoopKv::Each,
            LoopKvChoice::Last => LoopKv::Last,
        };
        LoopOptions { loops, exit_threshold, early_exit, kv }
    }
}

/// Which keys and values of earlier tokens a pass through a loop sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LoopKvChoice {
    /// Those of the same pass
    Each,
    /// Those of the last pass: less memory, slow prompts
    Last,
}

/// Which matrices lie so that what meets zeros is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Sparse {
    /// Those of models that were trained with sparse inputs (Q-Sparse, BitNet a4.8)
    Auto,
    /// None
    Never,
    /// Also those behind ReLU² in other models
    Always,
}

impl From<Sparse> for SparseLayouts {
    fn from(sparse: Sparse) -> Self {
        match sparse {
            Sparse::Auto => Self::Auto,
            Sparse::Never => Self::Never,
            Sparse::Always => Self::Always,
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
