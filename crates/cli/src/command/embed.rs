//! `ternlight embed`: texts to vectors of length 1.

use clap::Args;
use serde_json::json;

use crate::{
    Result,
    console::{Console, DIM, STRONG},
    generate::{self, ContextOptions, Opened},
    interrupt,
    options::{ComputeOptions, NamedModel},
};

/// Turn texts into vectors; similar texts have a cosine near 1.
#[derive(Args)]
#[command(after_help = "Every argument is a text, so the model is given by --model.")]
pub struct Embed {
    #[command(flatten)]
    model: NamedModel,

    /// One or more texts
    #[arg(value_name = "TEXT", required = true)]
    texts: Vec<String>,

    #[command(flatten)]
    context: ContextOptions,

    #[command(flatten)]
    compute: ComputeOptions,

    /// Print the vectors as JSON
    #[arg(long)]
    pub json: bool,
}

impl Embed {
    pub fn execute(self, console: &Console) -> Result<()> {
        let path = self.model.locate(None, console)?;
        let Opened { engine, .. } = generate::open(&path, &self.compute, &self.context, console)?;
        let mut vectors: Vec<Vec<f32>> = Vec::new();
        for text in &self.texts {
            interrupt::check()?;
            vectors.push(engine.embed(text)?);
        }
        let dimensions = vectors.first().map_or(0, Vec::len);
        console.result(&json!({ "dimensions": dimensions, "embeddings": vectors }), || {
            for (i, (text, vector)) in self.texts.iter().zip(&vectors).enumerate() {
                crate::say!("{STRONG}{}{STRONG:#} {text}", i + 1);
                let start: Vec<_> = vector.iter().take(6).map(|x| format!("{x:.4}")).collect();
                crate::say!("  {DIM}[{}, … {dimensions}]{DIM:#}", start.join(", "));
                // The lengths are 1, so the dot product is the cosine.
                let cosine = |other: &[f32]| vector.iter().zip(other).map(|(a, b)| a * b).sum::<f32>();
                let cosines: Vec<_> = vectors.iter().map(|other| format!("{:6.3}", cosine(other))).collect();
                if vectors.len() > 1 {
                    crate::say!("  cosines {}", cosines.join(" "));
                }
            }
        });
        Ok(())
    }
}
