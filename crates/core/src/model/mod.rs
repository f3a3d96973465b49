//! A model is data plus one forward pass.
//!
//! [`Spec`] says what a model computes, [`Model`] holds its packed weights, [`Decoder`] runs them.
//! An architecture ([`arch`]) only maps metadata to a `Spec`; there is no per-model forward code, no
//! tensor type and no op graph.

pub mod arch;
mod attention;
mod decoder;
mod experts;
mod experts_spec;
mod linear;
pub mod rope;
mod screened_head;
mod sparsity;
pub mod spec;
pub mod tensor_names;

use alloc::{string::String, sync::Arc, vec::Vec};

pub use decoder::{Decoder, DecoderOptions, Want};
pub use experts::{Choice, ExpertSet, ExpertsWeights, FfnWeights, choose};
pub use screened_head::{EXACT, Screen};
pub use sparsity::{Sparsity, Zeros};
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
    /// Equal matrices of several layers are one in memory.
    pub matrix: Arc<Matrix>,
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

impl NormWeights {
    /// Of no norm.
    pub fn none() -> &'static Self {
        static NONE: NormWeights = NormWeights { gain: Vec::new(), bias: Vec::new() };
        &NONE
    }
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
    pub sinks: Option<Vec<f32>>,
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
    pub ffn: BranchWeights<FfnWeights>,
}

impl BlockWeights {
    /// One of its linear layers, if it has that one; `None` for those of experts.
    pub fn linear(&self, linear: LinearRole) -> Option<&LinearWeights> {
        let attention = &self.mixer.body;
        let mlp = match &self.ffn.body {
            FfnWeights::Dense(mlp) => Some(mlp),
            FfnWeights::Experts(_) => None,
        };
        match linear {
            LinearRole::Q => Some(&attention.q),
            LinearRole::K => Some(&attention.k),
            LinearRole::V => Some(&attention.v),
            LinearRole::O => Some(&attention.o),
            LinearRole::Gate => mlp.map(|mlp| &mlp.gate),
            LinearRole::Up => mlp.and_then(|mlp| mlp.up.as_ref()),
            LinearRole::Down => mlp.map(|mlp| &mlp.down),
        }
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
            BlockNorm::FfnSub => match &self.ffn.body {
                FfnWeights::Dense(mlp) => &mlp.sub_norm,
                FfnWeights::Experts(_) => NormWeights::none(),
            },
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
    /// The earlier tensor that holds the same: both are one in memory.
    pub same_as: Option<String>,
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
        let own = self.tensors.iter().filter(|t| t.same_as.is_none());
        own.map(|t| t.bytes).sum::<usize>() + self.screen.as_ref().map_or(0, Screen::bytes)
    }

    /// Bytes that are read to decode one token: every block that runs, of its experts those that are active, and
    /// the head.
    pub fn bytes_per_token(&self) -> usize {
        let of_mlp = |mlp: &MlpWeights| {
            [Some(&mlp.gate), mlp.up.as_ref(), Some(&mlp.down)]
                .into_iter()
                .flatten()
                .map(|l| l.matrix.bytes())
                .sum::<usize>()
        };
        let of_block = |run: &spec::Run| {
            let (spec, block) = (&self.spec.blocks[run.block], &self.blocks[run.block]);
            let attention = &block.mixer.body;
            let attention = [&attention.q, &attention.k, &attention.v, &attention.o];
            let ffn = match &block.ffn.body {
                FfnWeights::Dense(mlp) => of_mlp(mlp),
                FfnWeights::Experts(weights) => {
                    let active = spec.ffn.body.experts().map_or(0, |experts| experts.active);
                    weights.router.matrix.bytes()
                        + weights.shared.as_ref().map_or(0, of_mlp)
                        + active * weights.experts.iter().map(of_mlp).sum::<usize>() / weights.experts.count()
                }
            };
            attention.iter().map(|linear| linear.matrix.bytes()).sum::<usize>() + ffn
        };
        let blocks: usize = self.spec.program.runs.iter().map(of_block).sum();
        blocks + self.screen.as_ref().map_or(self.head().bytes(), Screen::bytes)
    }

    /// Weights in matrices.
    pub fn parameters(&self) -> u64 {
        self.tensors.iter().map(|t| t.rows as u64 * t.cols as u64).sum()
    }
}

/// Gives a buffer `len` values; new ones are 0.
fn resize(buffer: &mut Vec<f32>, len: usize) -> crate::Result<()> {
    buffer.try_reserve(len.saturating_sub(buffer.len()))?;
    buffer.resize(len, 0.0);
    Ok(())
}
