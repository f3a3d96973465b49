//! The commands: one file each, one variant each.

mod bench;
mod completions;
mod convert;
mod fetch;
mod inspect;
mod logits;
mod serve_demo;
mod synth;

use clap::Subcommand;

use crate::{Result, console::Console};

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    Fetch(fetch::Fetch),
    Inspect(inspect::Inspect),
    Logits(logits::Logits),
    Bench(bench::Bench),
    Synth(synth::Synth),
    Convert(convert::Convert),
    ServeDemo(serve_demo::ServeDemo),
    Completions(completions::Completions),
}

impl Command {
    /// Whether the result is wanted as JSON.
    pub fn json(&self) -> bool {
        match self {
            Self::Fetch(c) => c.json,
            Self::Inspect(c) => c.json,
            Self::Logits(c) => c.json,
            Self::Bench(c) => c.json,
            Self::Synth(c) => c.json,
            Self::Convert(c) => c.json,
            Self::ServeDemo(_) | Self::Completions(_) => false,
        }
    }

    /// Does it.
    pub fn execute(self, console: &Console) -> Result<()> {
        match self {
            Self::Fetch(c) => c.execute(console),
            Self::Inspect(c) => c.execute(console),
            Self::Logits(c) => c.execute(console),
            Self::Bench(c) => c.execute(console),
            Self::Synth(c) => c.execute(console),
            Self::Convert(c) => c.execute(console),
            Self::ServeDemo(c) => c.execute(console),
            Self::Completions(c) => c.execute(),
        }
    }
}
