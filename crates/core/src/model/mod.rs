//! A model is data plus one forward pass.
//!
//! [`Spec`] says what a model computes, [`Model`] holds its packed weights, [`Decoder`] runs them.
//! An architecture ([`arch`]) only maps metadata to a `Spec`; there is no per-model forward code, no
//! tensor type and no op graph.

pub mod arch;
mod attention;
mod decoder;
mod linear;
pub mod rope;
mod screened_head;
pub mod spec;
pub mod tensor_names;

use alloc::{string::String, vec::Vec};

pub use decoder::{Decoder, DecoderOptions, Want};
pub use screened_head::{EXACT, Screen};
pub use spec::Spec;

use crate::{
    container::Meta,
    format::{Encoding, Form},
    matrix::Matrix,
    simd::Isa,
};
use tensor_names::{BlockNorm, LinearRole};

/// The weights of a linear layer.
pub struct LinearWeights {
    /// `(out, in)`.
    pub matrix: Matrix,
    /// Gain `(in)` of the RMSNorm over this layer's own input.
    pub norm: Option<Vec<f32>>,
    /// `(out)`, added last.
    pub bias: Option<Vec<f32>>,
}

/// The weights of a norm; both are empty where there is nothing to multiply by or to add.
#[derive(Clone, Debug, Default)]
pub struct NormWeights {
    /// Multiplies.
    pub gain: Vec<f32>,
    /// Is added ([`spec::NormKind::Layer`]).
    pub bias: Vec<f32>,
}

/// The weights of a residual branch; the fields are those of [`spec::Branch`].
#[allow(missing_docs, reason = "the names are those of the spec")]
pub struct BranchWeights<T> {
    pub pre: NormWeights,
    pub body: T,
    pub post: NormWeights,
    pub after: NormWeights,
}

/// The weights of [`spec::Attention`].
#[allow(missing_docs, reason = "the names are those of the spec")]
pub struct AttentionWeights {
    pub q: LinearWeights,
    pub k: LinearWeights,
    pub v: LinearWeights,
    pub query_norm: NormWeights,
    pub key_norm: NormWeights,
    pub sub_norm: NormWeights,
    pub o: LinearWeights,
}

/// The weights of [`spec::Mlp`].
#[allow(missing_docs, reason = "the names are those of the spec")]
pub struct MlpWeights {
    pub gate: LinearWeights,
    pub up: Option<LinearWeights>,
    pub sub_norm: NormWeights,
    pub down: LinearWeights,
}

/// The weights of one block.
#[allow(missing_docs, reason = "the names are those of the spec")]
pub struct BlockWeights {
    pub mixer: BranchWeights<AttentionWeights>,
    pub ffn: BranchWeights<MlpWeights>,
}

impl BlockWeights {
    /// One of its linear layers, if it has that one.
    pub fn linear(&self, linear: LinearRole) -> Option<&LinearWeights> {
        let (attention, mlp) = (&self.mixer.body, &self.ffn.body);
        Some(match linear {
            LinearRole::Q => &attention.q,
            LinearRole::K => &attention.k,
            LinearRole::V => &attention.v,
            LinearRole::O => &attention.o,
            LinearRole::Gate => &mlp.gate,
            LinearRole::Up => return mlp.up.as_ref(),
            LinearRole::Down => &mlp.down,
        })
    }

    /// One of its norms; empty if it does not have that one.
    pub fn norm(&self, norm: BlockNorm) -> &NormWeights {
        match norm {
            BlockNorm::MixerPre => &self.mixer.pre,
            BlockNorm::MixerPost => &self.mixer.post,
            BlockNorm::MixerAfter => &self.mixer.after,
            BlockNorm::Query => &self.mixer.body.query_norm,
            BlockNorm::Key => &self.mixer.body.key_norm,
            BlockNorm::MixerSub => &self.mixer.body.sub_norm,
            BlockNorm::FfnPre => &self.ffn.pre,
            BlockNorm::FfnPost => &self.ffn.post,
            BlockNorm::FfnAfter => &self.ffn.after,
            BlockNorm::FfnSub => &self.ffn.body.sub_norm,
        }
    }
}

/// What became of one matrix of the file; for `inspect` and the "about this model" view.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorSummary {
    /// The name in the file.
    pub name: String,
    /// Rows (outputs).
    pub rows: usize,
    /// Columns (inputs).
    pub cols: usize,
    /// How the file stores it.
    pub encoding: Encoding,
    /// How it lies in memory.
    pub form: Form,
    /// The kernel that multiplies it.
    pub kernel: &'static str,
    /// Packed bytes.
    pub bytes: usize,
    /// How many weights are −1, 0 and +1, for ternary matrices.
    pub trits: Option<[u64; 3]>,
}

/// A loaded model. Immutable; any number of [`Decoder`]s may share it.
pub struct Model {
    /// The instruction set level that computes it.
    pub isa: Isa,
    /// What it computes.
    pub spec: Spec,
    /// The file's metadata (GGUF keys, or the flattened `config.json`).
    pub meta: Meta,
    /// `(vocab, hidden)`.
    pub embedding: Matrix,
    /// `(rows, hidden)`, where positions are learned.
    pub positions: Option<Matrix>,
    /// The norm on the embedding.
    pub embedding_norm: NormWeights,
    /// `(vocab, hidden)`; `None` when the embedding serves as head.
    pub head: Option<Matrix>,
    /// The int8 copy that screens the head, where an exact one was asked for.
    pub screen: Option<Screen>,
    /// The last norm.
    pub norm: NormWeights,
    /// As many as [`Spec::blocks`].
    pub blocks: Vec<BlockWeights>,
    /// Every matrix, in file order.
    pub tensors: Vec<TensorSummary>,
}

impl Model {
    /// The matrix that makes logits.
    pub fn head(&self) -> &Matrix {
        self.head.as_ref().unwrap_or(&self.embedding)
    }

    /// Bytes of all packed matrices.
    pub fn packed_bytes(&self) -> usize {
        self.tensors.iter().map(|t| t.bytes).sum::<usize>() + self.screen.as_ref().map_or(0, Screen::bytes)
    }

    /// Bytes that are read to decode one token (every matrix but the embedding rows that are not looked up).
    pub fn bytes_per_token(&self) -> usize {
        let looked_up = if self.head.is_some() { self.embedding.bytes() } else { 0 };
        let screened = if self.screen.is_some() { self.head().bytes() } else { 0 };
        self.packed_bytes() - looked_up - screened
    }

    /// Weights in matrices.
    pub fn parameters(&self) -> u64 {
        self.tensors.iter().map(|t| t.rows as u64 * t.cols as u64).sum()
    }
}
