//! `ternlight embed`: texts to vectors of length 1.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde_json::json;
use ternlight_core::{
    container::{
        Meta,
        write::{TensorSpec, safetensors_header},
    },
    format::{Encoding, pack_f32},
};
use ternlight_engine::Pooling;

use crate::{
    Result,
    answer::{self, ContextOptions, Opened},
    console::{Console, DIM, STRONG},
    failure::Failure,
    interrupt,
    options::{ComputeOptions, NamedModel},
};

/// Turn texts into vectors; similar texts have a cosine near 1.
#[derive(Args)]
#[command(after_help = "Every argument is a text, so the model is given by --model.\n\n\
    With --out the vectors are the F32 tensor `embedding` of a safetensors file: (width), or (texts, width).")]
pub struct Embed {
    #[command(flatten)]
    model: NamedModel,

    /// One or more texts
    #[arg(value_name = "TEXT", required_unless_present = "tokens", conflicts_with = "tokens")]
    texts: Vec<String>,

    /// Token ids instead of a text, taken as they are
    #[arg(long, value_name = "ID,ID,…", value_delimiter = ',')]
    tokens: Vec<u32>,

    /// How the states of all tokens become one vector
    #[arg(long, value_enum, default_value = "last")]
    pooling: PoolingChoice,

    /// Safetensors file to write the vectors to
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,

    #[command(flatten)]
    context: ContextOptions,

    #[command(flatten)]
    compute: ComputeOptions,

    /// Print the vectors as JSON
    #[arg(long)]
    pub json: bool,
}

/// [`Pooling`] as an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PoolingChoice {
    /// The state of the last token
    Last,
    /// The mean of all states
    Mean,
}

impl From<PoolingChoice> for Pooling {
    fn from(choice: PoolingChoice) -> Self {
        match choice {
            PoolingChoice::Last => Self::Last,
            PoolingChoice::Mean => Self::Mean,
        }
    }
}

impl Embed {
    pub fn execute(mut self, console: &Console) -> Result<()> {
        let path = self.model.locate(None, console)?;
        let Opened { engine, .. } = answer::open(&path, &self.compute, &self.context, console)?;
        let mut vectors: Vec<Vec<f32>> = Vec::new();
        if !self.tokens.is_empty() {
            vectors.push(engine.embed_tokens(&self.tokens, self.pooling.into())?);
            self.texts.push(format!("{} tokens", self.tokens.len()));
        } else {
            for text in &self.texts {
                interrupt::check()?;
                vectors.push(engine.embed(text, self.pooling.into())?);
            }
        }
        if let Some(out) = &self.out {
            write(out, &vectors)?;
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

/// Writes the vectors as a safetensors file.
fn write(path: &Path, vectors: &[Vec<f32>]) -> Result<()> {
    let width = vectors.first().map_or(0, Vec::len) as u64;
    let shape = if vectors.len() == 1 { vec![width] } else { vec![vectors.len() as u64, width] };
    let spec = TensorSpec { name: "embedding".to_owned(), shape, encoding: Encoding::F32 };
    let header = safetensors_header(&Meta::default(), &[spec])?;
    let mut bytes = header.bytes;
    vectors.iter().for_each(|vector| pack_f32(vector, &mut bytes));
    std::fs::write(path, bytes).map_err(|e| Failure::io(path, &e))
}
