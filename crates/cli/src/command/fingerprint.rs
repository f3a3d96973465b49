//! `ternlight fingerprint`: one short text that says whether two machines compute the same.

use clap::Args;
use serde_json::json;

use crate::{
    Result,
    answer::{self, ContextOptions, Opened},
    console::Console,
    options::{ComputeOptions, Kv, ModelOptions},
};

/// Print a hash of the logits of a fixed prompt, equal on every machine that computes the same.
#[derive(Args)]
#[command(
    after_help = "It depends on the weights and on --head alone. The chat page shows the same text for the same model."
)]
pub struct Fingerprint {
    #[command(flatten)]
    model: ModelOptions,

    #[command(flatten)]
    compute: ComputeOptions,

    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

impl Fingerprint {
    pub fn execute(self, console: &Console) -> Result<()> {
        let path = self.model.locate(console)?;
        let context = ContextOptions { context: None, kv: Some(Kv::F32) };
        let Opened { engine, .. } = answer::open(&path, &self.compute, &context, console)?;
        let fingerprint = engine.fingerprint()?;
        console.result(&json!({ "fingerprint": fingerprint }), || crate::say!("{fingerprint}"));
        Ok(())
    }
}
