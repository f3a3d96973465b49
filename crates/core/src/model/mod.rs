//! A model is data plus one forward pass.
//!
//! [`Spec`] says what a model computes, [`Model`] holds its packed weights, [`Decoder`] runs them.
//! An architecture ([`arch`]) only maps metadata to a `Spec`; there is no per-model forward code, no
//! tensor type and no op graph.

pub mod arch;
mod attention;
mod attention_page;
mod attention_spec;
mod bytes;
mod decoder;
mod experts;
mod experts_spec;
mod layers;
mod linear;
mod looped;
mod program;
mod relative;
mod retention;
mod retention_spec;
mod roles;
pub mod rope;
mod screened_head;
pub mod small_floats;
mod sparsity;
pub mod spec;
pub mod tensor_names;

use alloc::{string::String, sync::Arc, vec::Vec};

pub use decoder::{Decoder, DecoderOptions, Want};
pub use experts::{Choice, CosineRouter, ExpertSet, ExpertsWeights, FfnWeights, choose};
pub use looped::{LoopKv, LoopOptions, LoopWeights};
pub use retention::RetentionWeights;
pub use screened_head::{EXACT, Screen};
pub use sparsity::{Sparsity, Zeros};
pub use spec::Spec;

use crate::{
    Result, bail,
    cache::{KvChoice, KvType},
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
    /// What each pass of a loop adds ([`spec::Lora`]); most models: nothing.
    pub lora: Vec<LoraWeights>,
}

/// The matrices of a low-rank addition, `B·(A·x)`.
pub struct LoraWeights {
    /// `(rank, in)`.
    pub a: Matrix,
    /// `(out, rank)`.
    pub b: Matrix,
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
    pub mixer: BranchWeights<MixerWeights>,
    pub ffn: BranchWeights<FfnWeights>,
}

/// The weights of [`spec::Mixer`].
#[allow(missing_docs, reason = "the names are those of the spec")]
#[allow(clippy::large_enum_variant, reason = "there is one for each block")]
pub enum MixerWeights {
    Attention(AttentionWeights),
    Retention(RetentionWeights),
}

impl MixerWeights {
    /// One of its linear layers, if it has that one.
    pub fn linear(&self, linear: LinearRole) -> Option<&LinearWeights> {
        match (self, linear) {
            (Self::Attention(attention), LinearRole::Q) => Some(&attention.q),
            (Self::Attention(attention), LinearRole::K) => Some(&attention.k),
            (Self::Attention(attention), LinearRole::V) => Some(&attention.v),
            (Self::Attention(attention), LinearRole::O) => Some(&attention.o),
            (Self::Retention(retention), LinearRole::Q) => Some(&retention.q),
            (Self::Retention(retention), LinearRole::K) => Some(&retention.k),
            (Self::Retention(retention), LinearRole::V) => Some(&retention.v),
            (Self::Retention(retention), LinearRole::MixerGate) => Some(&retention.gate),
            (Self::Retention(retention), LinearRole::O) => Some(&retention.o),
            _ => None,
        }
    }
}

impl BlockWeights {
    /// One of its linear layers, if it has that one; `None` for those of experts.
    pub fn linear(&self, linear: LinearRole) -> Option<&LinearWeights> {
        let mlp = match &self.ffn.body {
            FfnWeights::Dense(mlp) => Some(mlp),
            FfnWeights::Experts(_) => None,
        };
        match linear {
            LinearRole::Gate => mlp.map(|mlp| &mlp.gate),
            LinearRole::Up => mlp.and_then(|mlp| mlp.up.as_ref()),
            LinearRole::Down => mlp.map(|mlp| &mlp.down),
            of_mixer => self.mixer.body.linear(of_mixer),
        }
    }

    /// One of its norms; empty if it does not have that one.
    pub fn norm(&self, norm: BlockNorm) -> &NormWeights {
        let attention = match &self.mixer.body {
            MixerWeights::Attention(attention) => Some(attention),
            MixerWeights::Retention(_) => None,
        };
        let of_attention =
            |norm: fn(&AttentionWeights) -> &NormWeights| attention.map_or(NormWeights::none(), norm);
        match norm {
            BlockNorm::MixerPre => &self.mixer.pre,
            BlockNorm::MixerPost => &self.mixer.post,
            BlockNorm::MixerAfter => &self.mixer.after,
            BlockNorm::Query => of_attention(|attention| &attention.query_norm),
            BlockNorm::Key => of_attention(|attention| &attention.key_norm),
            BlockNorm::MixerSub => of_attention(|attention| &attention.sub_norm),
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
    /// What every attention adds to its scores, `(heads, distances)`; empty for most. The last distance stands for all
    /// longer ones.
    pub relative_bias: Vec<f32>,
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
    /// What belongs to the loop and to none of its blocks.
    pub looped: LoopWeights,
    /// Every matrix, in file order.
    pub tensors: Vec<TensorSummary>,
}

impl Model {
    /// The matrix that makes logits.
    pub fn head(&self) -> &Matrix {
        self.head.as_ref().unwrap_or(&self.embedding)
    }

    /// Settles how keys and values are cached: `usual` is the type where neither the caller nor the model says. Models
    /// with codes of their own lose them where the caller chooses a type.
    ///
    /// # Errors
    /// `bad-option` where the model has no codes of its own, and they were asked for.
    pub fn choose_kv(&mut self, choice: KvChoice, usual: KvType) -> Result<KvType> {
        match choice {
            KvChoice::Auto => Ok(usual),
            KvChoice::A48 if self.spec.cache_codes.is_some() => Ok(usual),
            KvChoice::A48 => {
                bail!(BadOption, "kv 'a48': this model was not trained to quantise its cache")
            }
            KvChoice::Type(kv) => {
                self.spec.cache_codes = None;
                Ok(kv)
            }
        }
    }

    /// Bytes of all packed matrices.
    pub fn packed_bytes(&self) -> usize {
        let own = self.tensors.iter().filter(|t| t.same_as.is_none());
        own.map(|t| t.bytes).sum::<usize>() + self.screen.as_ref().map_or(0, Screen::bytes)
    }

    /// Bytes that packed matrices would take that are the same as earlier ones.
    pub fn shared_bytes(&self) -> usize {
        self.tensors.iter().filter(|t| t.same_as.is_some()).map(|t| t.bytes).sum()
    }

    /// Weights in matrices.
    pub fn parameters(&self) -> u64 {
        self.tensors.iter().map(|t| t.rows as u64 * t.cols as u64).sum()
    }
}

/// Gives a buffer `len` values; new ones are 0.
fn resize(buffer: &mut Vec<f32>, len: usize) -> Result<()> {
    buffer.try_reserve(len.saturating_sub(buffer.len()))?;
    buffer.resize(len, 0.0);
    Ok(())
}
