//! Model files: headers and weights read; ternary models written, from one description and one source of
//! rows to a GGUF file or an HF folder.
//!
//! `synth` and `convert` differ only in their [`Rows`]. Invariant: a target is either complete under its
//! name or absent; codes and scales arrive in it unchanged, or the write fails.

mod describe;
mod family;
mod grow;
mod load;
mod read;
mod regexes;
mod vocabulary;
mod write;

pub use describe::{Config, hf_config};
pub use family::{Family, FamilyConfig, Weights, stream_family, write_family};
pub use grow::{Growth, grow};
pub use load::{config, files, header, load, parts};
pub use read::Source;
pub use vocabulary::Vocabulary;
pub use write::{stream_model, write};

use clap::ValueEnum;
use ternlight_core::{
    format::Encoding,
    model::{
        Spec,
        spec::{NeededTensor, Shape},
        tensor_names::{Field, TensorRole},
    },
};

use crate::Result;

/// How a ternary model is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Format {
    /// GGUF of bitnet.cpp: 2 bits a weight, one f32 scale a tensor
    #[value(name = "i2_s")]
    I2S,
    /// GGUF of llama.cpp: 1.69 bits a weight
    #[value(name = "tq1_0")]
    Tq1,
    /// GGUF of llama.cpp: 2.06 bits a weight
    #[value(name = "tq2_0")]
    Tq2,
    /// Hugging Face folder with packed safetensors: 2 bits a weight
    #[value(name = "hf-packed")]
    HfPacked,
}

impl Format {
    /// The encoding of its ternary matrices.
    pub fn encoding(self) -> Encoding {
        match self {
            Self::I2S => Encoding::I2_S,
            Self::Tq1 => Encoding::TQ1_0,
            Self::Tq2 => Encoding::TQ2_0,
            Self::HfPacked => Encoding::U8,
        }
    }
}

/// A tensor to be written.
#[derive(Clone, Debug)]
pub struct Item {
    /// Which.
    pub role: TensorRole,
    /// 1 for vectors.
    pub rows: usize,
    /// Width.
    pub cols: usize,
    /// For float tensors: F32, F16 or BF16, as the values are exact in it.
    pub float: Encoding,
}

/// Where weights come from, row by row in any order.
pub trait Rows {
    /// The codes of one output row of a linear layer, −1, 0 or +1, into `codes` (cleared first).
    fn codes(&mut self, item: usize, row: usize, codes: &mut Vec<i8>) -> Result<()>;
    /// The scale of a linear layer (weight = code × scale).
    fn scale(&mut self, item: usize) -> Result<f32>;
    /// The values of one row of a float tensor, into `values` (cleared first).
    fn floats(&mut self, item: usize, row: usize, values: &mut Vec<f32>) -> Result<()>;
}

/// The tensors of `spec` in the order they are written. `float` says how values that are not ternary codes are kept.
pub fn items(spec: &Spec, float: impl Fn(TensorRole) -> Encoding) -> Vec<Item> {
    let written = spec.tensors().into_iter().filter(|tensor| !tensor.optional);
    written
        .map(|NeededTensor { role, shape, .. }| {
            let (rows, cols) = match shape {
                Shape::Vector(len) => (1, len),
                Shape::Matrix(rows, cols) => (rows, cols),
            };
            Item { role, rows, cols, float: float(role) }
        })
        .collect()
}

/// Whether a tensor is written as ternary codes.
pub fn is_ternary(role: TensorRole) -> bool {
    matches!(role, TensorRole::Linear(_, _, Field::Weight))
}
