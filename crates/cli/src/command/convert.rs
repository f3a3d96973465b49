//! `ternlight convert`: ternary models between HF packed, I2_S, TQ1_0 and TQ2_0, without loss.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::{
    Result,
    console::{self, Console, STRONG},
    failure::{Failure, USAGE},
    model_file::{self, Format, Source},
    options::ModelOptions,
};

/// Convert a ternary model to another format, without loss.
#[derive(Args)]
#[command(
    after_help = "Reads GGUF files (I2_S, TQ1_0, TQ2_0) and Hugging Face folders (packed, or master weights\n\
    that a BitNet config marks as `online`). Codes and scales are kept exactly: where a format cannot hold a\n\
    scale, it goes into a tensor beside the matrix.\n\n\
    Example: ternlight convert bitnet-folder --format i2_s --out bitnet.gguf"
)]
pub struct Convert {
    #[command(flatten)]
    model: ModelOptions,

    /// How to store the result
    #[arg(long, value_enum)]
    format: Format,

    /// File to write, or folder for hf-packed
    #[arg(long, short, value_name = "PATH")]
    out: PathBuf,

    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
struct Report {
    path: PathBuf,
    bytes: u64,
    tensors: usize,
}

impl Convert {
    pub fn execute(self, console: &Console) -> Result<()> {
        let input = self.model.locate(console)?;
        let same = |a: &PathBuf, b: &PathBuf| matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b);
        if same(&input, &self.out) {
            return Err(
                Failure::new(USAGE, "the result would overwrite the model").hint("give another --out.")
            );
        }
        let (mut source, config, vocabulary) = Source::open(&input, self.format, console)?;
        let items = source.items();
        let bytes = model_file::write(
            &config,
            vocabulary.as_ref(),
            &items,
            &mut source,
            self.format,
            &self.out,
            console,
        )?;
        let report = Report { path: self.out, bytes, tensors: items.len() };
        console.result(&report, || {
            crate::say!("{STRONG}{}{STRONG:#}", report.path.display());
            crate::say!("{}, {} tensors", console::bytes(report.bytes), report.tensors);
        });
        Ok(())
    }
}
