//! Model files: headers and weights read; ternary models written, from one description and one source of
//! rows to a GGUF file or an HF folder.
//!
//! `synth` and `convert` differ only in their [`Rows`]. Invariant: a target is either complete under its
//! name or absent; codes and scales arrive in it unchanged, or the write fails.

mod describe;
mod load;
mod read;
mod regexes;
mod vocabulary;
mod write;

pub use describe::{Activation, Config, hf_config};
pub use load::{config, files, header, load, parts};
pub use read::Source;
pub use vocabulary::Vocabulary;
pub use write::{stream_gguf, write};

use clap::ValueEnum;
use ternlight_core::{
    format::Encoding,
    model::role::{Linear, Norm},
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

/// A tensor of the model, whatever its name in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tensor {
    /// Token embedding `(vocab, hidden)`.
    Embedding,
    /// Output head `(vocab, hidden)`, when it is not the embedding.
    Head,
    /// Gain of the last norm.
    FinalNorm,
    /// A norm of a block.
    Norm(usize, Norm),
    /// A ternary matrix of a block.
    Linear(usize, Linear),
}

/// A tensor to be written.
#[derive(Clone, Debug)]
pub struct Item {
    /// Which.
    pub tensor: Tensor,
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

impl Tensor {
    /// The name in GGUF files.
    pub fn gguf(self) -> String {
        let norm = |norm| match norm {
            Norm::Attn => "attn_norm",
            Norm::Q => "attn_q_norm",
            Norm::K => "attn_k_norm",
            Norm::AttnSub => "attn_sub_norm",
            Norm::Ffn => "ffn_norm",
            Norm::FfnSub => "ffn_sub_norm",
        };
        let linear = |linear| match linear {
            Linear::Q => "attn_q",
            Linear::K => "attn_k",
            Linear::V => "attn_v",
            Linear::O => "attn_output",
            Linear::Gate => "ffn_gate",
            Linear::Up => "ffn_up",
            Linear::Down => "ffn_down",
        };
        match self {
            Self::Embedding => "token_embd.weight".to_owned(),
            Self::Head => "output.weight".to_owned(),
            Self::FinalNorm => "output_norm.weight".to_owned(),
            Self::Norm(layer, n) => format!("blk.{layer}.{}.weight", norm(n)),
            Self::Linear(layer, l) => format!("blk.{layer}.{}.weight", linear(l)),
        }
    }

    /// The name in HF safetensors.
    pub fn hf(self) -> String {
        let norm = |norm| match norm {
            Norm::Attn => "input_layernorm",
            Norm::Q => "self_attn.q_norm",
            Norm::K => "self_attn.k_norm",
            Norm::AttnSub => "self_attn.attn_sub_norm",
            Norm::Ffn => "post_attention_layernorm",
            Norm::FfnSub => "mlp.ffn_sub_norm",
        };
        let linear = |linear| match linear {
            Linear::Q => "self_attn.q_proj",
            Linear::K => "self_attn.k_proj",
            Linear::V => "self_attn.v_proj",
            Linear::O => "self_attn.o_proj",
            Linear::Gate => "mlp.gate_proj",
            Linear::Up => "mlp.up_proj",
            Linear::Down => "mlp.down_proj",
        };
        match self {
            Self::Embedding => "model.embed_tokens.weight".to_owned(),
            Self::Head => "lm_head.weight".to_owned(),
            Self::FinalNorm => "model.norm.weight".to_owned(),
            Self::Norm(layer, n) => format!("model.layers.{layer}.{}.weight", norm(n)),
            Self::Linear(layer, l) => format!("model.layers.{layer}.{}.weight", linear(l)),
        }
    }
}

#[cfg(test)]
mod tests {
    use ternlight_core::{
        container::Container,
        model::role::{Field, Role, role},
    };

    use super::*;

    #[test]
    fn names_are_those_the_loader_knows() {
        for linear in Linear::ALL {
            let tensor = Tensor::Linear(3, linear);
            let want = Some(Role::Linear(3, linear, Field::Weight));
            assert_eq!(role(Container::Gguf, &tensor.gguf()), want);
            assert_eq!(role(Container::Safetensors, &tensor.hf()), want);
        }
        for norm in [Norm::Attn, Norm::Q, Norm::K, Norm::AttnSub, Norm::Ffn, Norm::FfnSub] {
            let tensor = Tensor::Norm(3, norm);
            assert_eq!(role(Container::Gguf, &tensor.gguf()), Some(Role::Norm(3, norm)));
            assert_eq!(role(Container::Safetensors, &tensor.hf()), Some(Role::Norm(3, norm)));
        }
        for (tensor, want) in [
            (Tensor::Embedding, Role::Embedding),
            (Tensor::Head, Role::Head),
            (Tensor::FinalNorm, Role::FinalNorm),
        ] {
            assert_eq!(role(Container::Gguf, &tensor.gguf()), Some(want));
            assert_eq!(role(Container::Safetensors, &tensor.hf()), Some(want));
        }
    }
}
