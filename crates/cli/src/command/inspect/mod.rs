//! `ternlight inspect`: what a model file holds, what becomes of it, what it would cost, and what would run it.
//!
//! Invariant: reads headers, and a few bytes of each matrix; all of those only that look the same, or that `--weights`
//! asks to be counted.

mod aliases;
mod print;
mod report;

use clap::Args;

use self::report::Report;
use crate::{
    Result,
    console::Console,
    options::{ModelOptions, Override, override_of},
};

/// Show what a model file holds, what memory it needs, and which kernels would run it.
#[derive(Args)]
pub struct Inspect {
    #[command(flatten)]
    model: ModelOptions,

    /// List every tensor, and what becomes of it in memory
    #[arg(long)]
    tensors: bool,

    /// List every metadata key, with long values in full
    #[arg(long)]
    metadata: bool,

    /// Load the weights and count how many are −1, 0 and +1
    #[arg(long)]
    weights: bool,

    /// Context for the memory estimate [default: the model's own]
    #[arg(long, value_name = "TOKENS")]
    context: Option<usize>,

    /// Kernels: auto, or an instruction set
    #[arg(long, value_name = "NAME", default_value = "auto")]
    kernel: String,

    /// Pass by a metadata key or tensor that is not known, although it may change what the model computes
    #[arg(long, value_name = "NAME")]
    allow_unknown: Vec<String>,

    /// Look at the model with another value of a metadata key, as other commands would run it: JSON, else text; null
    /// removes it
    #[arg(long, value_name = "KEY=VALUE", value_parser = override_of)]
    set: Vec<Override>,

    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

impl Inspect {
    pub fn execute(self, console: &Console) -> Result<()> {
        let path = self.model.locate(console)?;
        let report = Report::new(&self, path, console)?;
        console.result(&report, || self.print(&report));
        Ok(())
    }
}
