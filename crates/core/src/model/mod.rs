//! A model is data plus one forward pass.
//!
//! [`Spec`] says what a model computes, [`Model`] holds its packed weights, [`Decoder`] runs them.
//! An architecture ([`arch`]) only maps metadata to a `Spec`; there is no per-model forward code, no
//! tensor type and no op graph.

pub mod arch;
mod attention;
mod decoder;
pub mod role;
mod rope;
mod screen;

use alloc::{string::String, vec::Vec};

use attention::MAX_HEAD_DIM;
pub use decoder::{Decoder, DecoderOptions, Want};
pub use rope::{Rope, RopeScaling, RopeStyle};
pub use screen::{EXACT, Screen};

use crate::{
    container::Meta,
    format::{Encoding, Form},
    matrix::Matrix,
    simd::Isa,
};

/// The gate's non-linearity in the gated feed-forward network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// x·σ(x) (LLaMA, Qwen, 1bitLLM).
    Silu,
    /// max(x, 0)² (BitNet b1.58 2B4T).
    Relu2,
}

/// How the weights of the projections in a float file are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weights {
    /// As they stand.
    Plain,
    /// Latent weights of a BitNet: ternarised by absmean when loaded (`quantization_mode: online`).
    Online,
    /// Packed ternary whose `weight_scale` multiplies (`linear_class: autobitlinear`).
    Multiply,
    /// Packed ternary whose `weight_scale` divides (`linear_class: bitlinear`, the default).
    Divide,
}

/// One step of the forward pass: which layer's weights, which slot of the cache.
///
/// Looped transformers run one layer's weights in several steps, each with its own slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Index into [`Model::layers`].
    pub weights: usize,
    /// Index of the key/value slot.
    pub slot: usize,
}

/// What a decoder-only model computes.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The architecture's name in its metadata (`bitnet-b1.58`, `llama`, `qwen3`…).
    pub arch: String,
    /// Vocabulary size; 0 until the embedding's shape is known.
    pub vocab: usize,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Width of the feed-forward network.
    pub ffn: usize,
    /// Layers of weights.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key/value heads; divides `heads` (grouped-query attention, Ainslie et al. 2023).
    pub kv_heads: usize,
    /// Width of a head; not always `hidden / heads`.
    pub head_dim: usize,
    /// Longest context the model was made for.
    pub context: usize,
    /// ε of every RMSNorm.
    pub norm_eps: f32,
    /// RMSNorm before the attention output and before the down projection (Magneto's sub-LN).
    pub sub_norms: bool,
    /// RMSNorm over each head of queries and keys before RoPE (Qwen3).
    pub qk_norm: bool,
    /// The gate's non-linearity.
    pub activation: Activation,
    /// Rotary position embedding.
    pub rope: Rope,
    /// How projection weights are stored.
    pub weights: Weights,
    /// The head is the embedding; decided by the file where metadata does not say.
    pub tied: Option<bool>,
    /// The layers in the order they run.
    pub steps: Vec<Step>,
}

impl Spec {
    /// Width of all query heads.
    pub fn q_width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Width of all key (or value) heads.
    pub fn kv_width(&self) -> usize {
        self.kv_heads * self.head_dim
    }
}

/// A linear layer: weights, and what some families put around them.
pub struct Projection {
    /// `(out, in)`.
    pub matrix: Matrix,
    /// Gain `(in)` of an RMSNorm over this projection's own input (BitNet embedding models).
    pub norm: Option<Vec<f32>>,
    /// `(out)`, added last.
    pub bias: Option<Vec<f32>>,
}

/// The weights of one transformer block.
#[allow(missing_docs, reason = "the names are the field's own")]
pub struct Layer {
    pub attn_norm: Vec<f32>,
    pub q: Projection,
    pub k: Projection,
    pub v: Projection,
    pub q_norm: Option<Vec<f32>>,
    pub k_norm: Option<Vec<f32>>,
    pub attn_sub_norm: Option<Vec<f32>>,
    pub o: Projection,
    pub ffn_norm: Vec<f32>,
    pub gate: Projection,
    pub up: Projection,
    pub ffn_sub_norm: Option<Vec<f32>>,
    pub down: Projection,
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
    /// `(vocab, hidden)`; `None` when the embedding serves as head.
    pub head: Option<Matrix>,
    /// The int8 copy that screens the head, where an exact one was asked for.
    pub screen: Option<Screen>,
    /// Gain of the last RMSNorm.
    pub final_norm: Vec<f32>,
    /// The blocks.
    pub layers: Vec<Layer>,
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
