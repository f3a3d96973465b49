//! `ternlight fetch`: a model from the web into the cache, resumably.

use std::path::PathBuf;

use clap::Args;

use crate::{
    Result,
    console::{self, Console, STRONG},
    fetch::{self, Request},
    model_ref::{Cache, ModelRef},
    options::CacheOptions,
};

/// Fetch a model into the cache; an interrupted fetch continues where it stopped.
#[derive(Args)]
#[command(after_help = "Examples:\n\
    \x20 ternlight fetch hf:microsoft/bitnet-b1.58-2B-4T-gguf/ggml-model-i2_s.gguf\n\
    \x20 ternlight fetch hf:microsoft/bitnet-b1.58-2B-4T          (the whole folder)\n\
    \x20 ternlight fetch https://example.org/model.gguf --sha256 HEX --out model.gguf\n\n\
    Afterwards --model (or TERNLIGHT_MODEL) takes the same reference. SHA-256 is verified when given, or when Hugging Face tells it.")]
pub struct Fetch {
    /// URL, hf:owner/repo/file, or hf:owner/repo for a whole folder; @revision may follow the repo
    #[arg(value_name = "REF")]
    reference: ModelRef,

    /// Expected SHA-256 of the file
    #[arg(long, value_name = "HEX", value_parser = sha256)]
    sha256: Option<String>,

    /// Write here instead of into the cache
    #[arg(long, short, value_name = "PATH")]
    out: Option<PathBuf>,

    /// Fetch even if it is there already
    #[arg(long)]
    force: bool,

    /// Attempts in a row that may bring nothing new
    #[arg(long, value_name = "N", default_value_t = 5)]
    retries: u32,

    /// Seconds without a byte before an attempt is given up
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,

    #[command(flatten)]
    cache: CacheOptions,

    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

fn sha256(text: &str) -> Result<String, String> {
    let text = text.to_ascii_lowercase();
    if text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
        Ok(text)
    } else {
        Err("a SHA-256 is 64 hexadecimal digits".to_owned())
    }
}

impl Fetch {
    pub fn execute(self, console: &Console) -> Result<()> {
        let cache = Cache::new(self.cache.cache_dir)?;
        let request = Request {
            sha256: self.sha256,
            out: self.out,
            force: self.force,
            retries: self.retries,
            timeout: self.timeout,
            ..Request::new(&self.cache.hf_endpoint)
        };
        let fetched = fetch::get(&self.reference, &cache, &request, console)?;
        console.result(&fetched, || {
            let size = console::bytes(fetched.bytes);
            let how = if fetched.cached { "already there" } else { "fetched" };
            crate::say!("{STRONG}{}{STRONG:#}", fetched.path.display());
            match &fetched.sha256 {
                Some(sum) => crate::say!("{how}, {size}, sha256 {sum}"),
                None => crate::say!("{how}, {size}"),
            }
        });
        Ok(())
    }
}
