//! `ternlight convert`: ternary models between HF packed, I2_S, TQ1_0 and TQ2_0, without loss; `convert grow`.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::{
    Result,
    console::{self, Console, STRONG},
    failure::{Failure, USAGE},
    model_file::{self, Format, Growth, Source},
    options::ModelOptions,
};

/// Convert a ternary model to another format, without loss.
#[derive(Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Reads GGUF files (I2_S, TQ1_0, TQ2_0) and Hugging Face folders (packed, or master weights\n\
    that a BitNet config marks as `online`). Codes and scales are kept exactly: where a format cannot hold a\n\
    scale, it goes into a tensor beside the matrix.\n\n\
    Example: ternlight convert bitnet-folder --format i2_s --out bitnet.gguf"
)]
pub struct Convert {
    #[command(subcommand)]
    action: Option<Action>,

    #[command(flatten)]
    model: ModelOptions,

    /// How to store the result
    #[arg(long, value_enum, required = true)]
    format: Option<Format>,

    /// File to write, or folder for hf-packed
    #[arg(long, short, value_name = "PATH", required = true)]
    out: Option<PathBuf>,

    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// What else than another format.
#[derive(Subcommand)]
enum Action {
    Grow(Grow),
}

/// Grow a model with experts: repeat its layers, its experts, or both; tensors are copied as they stand.
#[derive(Args)]
#[command(
    after_help = "Layers are repeated in place (0, 0, 1, 1, …), experts after one another, with their rows of the router\n\
    and so many times as many active. Wider computes the same as before; identical layers take memory once when\n\
    the result is loaded (`ternlight inspect` says what that saves). Source: arXiv 2510.08008, without noise.\n\n\
    Example: ternlight convert grow folder --depth 2 --experts 2 --out grown"
)]
struct Grow {
    #[command(flatten)]
    model: ModelOptions,

    /// Times as many layers
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    depth: u16,

    /// Times as many experts, all in all and active
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    experts: u16,

    /// Folder to write
    #[arg(long, short, value_name = "DIR")]
    out: PathBuf,

    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    path: PathBuf,
    bytes: u64,
    tensors: usize,
}

impl Report {
    fn show(self, console: &Console) {
        console.result(&self, || {
            crate::say!("{STRONG}{}{STRONG:#}", self.path.display());
            crate::say!("{}, {} tensors", console::bytes(self.bytes), self.tensors);
        });
    }
}

impl Convert {
    /// Whether the result is wanted as JSON.
    pub fn json(&self) -> bool {
        match &self.action {
            Some(Action::Grow(grow)) => grow.json,
            None => self.json,
        }
    }

    pub fn execute(self, console: &Console) -> Result<()> {
        let (format, out) = match (self.action, self.format, self.out) {
            (Some(Action::Grow(grow)), ..) => return grow.execute(console),
            (None, Some(format), Some(out)) => (format, out),
            (None, ..) => return Err(Failure::new(USAGE, "--format and --out are needed")),
        };
        let input = self.model.locate(console)?;
        check_apart(&input, &out)?;
        let (mut source, config, vocabulary) = Source::open(&input, format, console)?;
        let items = source.items();
        let bytes =
            model_file::write(&config, vocabulary.as_ref(), &items, &mut source, format, &out, console)?;
        Report { path: out, bytes, tensors: items.len() }.show(console);
        Ok(())
    }
}

impl Grow {
    fn execute(self, console: &Console) -> Result<()> {
        let input = self.model.locate(console)?;
        check_apart(&input, &self.out)?;
        let growth = Growth { depth: self.depth.into(), experts: self.experts.into() };
        let (bytes, tensors) = model_file::grow(&input, growth, &self.out, console)?;
        Report { path: self.out, bytes, tensors }.show(console);
        Ok(())
    }
}

/// Refuses to write where the model is read from.
fn check_apart(input: &Path, out: &Path) -> Result<()> {
    match (input.canonicalize(), out.canonicalize()) {
        (Ok(a), Ok(b)) if a == b => {
            Err(Failure::new(USAGE, "the result would overwrite the model").hint("give another --out."))
        }
        _ => Ok(()),
    }
}
