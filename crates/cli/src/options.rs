//! Options that several commands share.

use std::path::PathBuf;

use clap::Args;

use crate::{
    Result,
    console::Console,
    failure::{Failure, IO},
    fetch,
    place::{Cache, Reference, default_model},
};

/// Which model.
#[derive(Args, Clone, Debug)]
pub struct ModelOptions {
    /// GGUF file, Hugging Face folder, URL, or hf:owner/repo[@revision][/file] (fetched once, then cached)
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
        match &self.model {
            None => default_model(&cache),
            Some(Reference::Path(path)) if !path.exists() => {
                let failure = Failure::new(IO, format!("{}: no such file or folder", path.display()));
                let looks_hf = path.components().count() == 2 && path.extension().is_none();
                let hint = if looks_hf {
                    format!("for Hugging Face say hf:{}", path.display())
                } else {
                    String::new()
                };
                Err(if hint.is_empty() { failure } else { failure.hint(hint) })
            }
            Some(Reference::Path(path)) => Ok(path.clone()),
            Some(reference) => {
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
}
