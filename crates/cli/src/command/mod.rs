//! The commands: one file each, one variant each.

mod bench;
mod chat;
mod completions;
mod convert;
mod embed;
mod families;
mod fetch;
mod fingerprint;
mod inspect;
mod list;
mod logits;
mod perplexity;
mod plan;
mod random_weights;
mod run;
mod serve_demo;
mod shapes;
mod sparse_weights;
mod synth;
mod tokenize;

use clap::Subcommand;

use crate::{Result, console::Console};

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    Run(run::Run),
    Chat(chat::Chat),
    List(list::List),
    Fetch(fetch::Fetch),
    Inspect(inspect::Inspect),
    Tokenize(tokenize::Tokenize),
    Embed(embed::Embed),
    Logits(logits::Logits),
    Fingerprint(fingerprint::Fingerprint),
    Perplexity(perplexity::Perplexity),
    Bench(bench::Bench),
    Plan(plan::Plan),
    Synth(synth::Synth),
    Convert(convert::Convert),
    ServeDemo(serve_demo::ServeDemo),
    Completions(completions::Completions),
}

impl Command {
    /// Whether the result is wanted as JSON.
    pub fn json(&self) -> bool {
        match self {
            Self::Run(c) => c.json,
            Self::List(c) => c.json,
            Self::Fetch(c) => c.json,
            Self::Inspect(c) => c.json,
            Self::Tokenize(c) => c.json,
            Self::Embed(c) => c.json,
            Self::Logits(c) => c.json,
            Self::Fingerprint(c) => c.json,
            Self::Perplexity(c) => c.json,
            Self::Bench(c) => c.json,
            Self::Plan(c) => c.json,
            Self::Synth(c) => c.json,
            Self::Convert(c) => c.json(),
            Self::Chat(_) | Self::ServeDemo(_) | Self::Completions(_) => false,
        }
    }

    /// Does it.
    pub fn execute(self, console: &Console) -> Result<()> {
        match self {
            Self::Run(c) => c.execute(console),
            Self::Chat(c) => c.execute(console),
            Self::List(c) => c.execute(console),
            Self::Fetch(c) => c.execute(console),
            Self::Inspect(c) => c.execute(console),
            Self::Tokenize(c) => c.execute(console),
            Self::Embed(c) => c.execute(console),
            Self::Logits(c) => c.execute(console),
            Self::Fingerprint(c) => c.execute(console),
            Self::Perplexity(c) => c.execute(console),
            Self::Bench(c) => c.execute(console),
            Self::Plan(c) => c.execute(console),
            Self::Synth(c) => c.execute(console),
            Self::Convert(c) => c.execute(console),
            Self::ServeDemo(c) => c.execute(console),
            Self::Completions(c) => c.execute(),
        }
    }
}
