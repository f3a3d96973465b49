//! What a decoder-only model computes, as data: blocks, and a program that says in which order they run.
//!
//! A [`Spec`] says nothing about files: names are in [`tensor_names`](super::tensor_names), encodings and
//! packed forms in the loading plan ([`crate::load::plan`]). An architecture ([`super::arch`]) maps metadata to it,
//! and [`Spec::tensors`] lists every tensor that the forward pass will read.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use crate::{
    minifloat::Rounding,
    quantiser::{CacheCodes, Quantiser},
};

pub use super::experts_spec::{Experts, Ffn, SharedExpert};
use super::{
    rope::Rope,
    small_floats::SmallFloats,
    tensor_names::{BlockNorm, Field, LinearRole, NormRole, TensorRole},
};

/// What a model computes.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// The architecture's name in its metadata (`bitnet-b1.58`, `llama`, `gemma3`, …).
    pub arch: String,
    /// Vocabulary size: rows of the embedding.
    pub vocab: usize,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Longest context the model was trained for, in tokens.
    pub context: usize,
    /// How token ids become the residual stream.
    pub embed: Embed,
    /// Rotary embeddings that blocks refer to by index. Most models have one, Gemma 3 has two.
    pub ropes: Vec<Rope>,
    /// One for each set of weights.
    pub blocks: Vec<Block>,
    /// Which blocks run, in which order, on which state.
    pub program: Program,
    /// The norm after the last block.
    pub norm: Norm,
    /// How the last hidden state becomes logits.
    pub output: Output,
    /// The rotation that linear layers, embedding and head refer to.
    pub rotation: Option<Rotation>,
    /// How the model was trained to cache keys and values.
    pub cache_codes: Option<CacheCodes>,
    /// How the file at hand writes the weights down.
    pub checkpoint: Checkpoint,
}

/// A block-diagonal Walsh–Hadamard rotation of activations, after a change of signs: `x ← H (s ⊙ x)`.
///
/// Weights that were multiplied by its inverse have fewer outliers, so they keep more of their values in few bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Elements of a diagonal block; a power of two.
    pub block: usize,
    /// The signs of each input width; none: all are +1.
    pub signs: BTreeMap<usize, Vec<i8>>,
}

/// Token embedding.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Embed {
    /// Multiplies the embedding (Gemma: √hidden; Granite, MiniCPM: a key); 1 for most.
    pub scale: f32,
    /// The rows are stored rotated ([`Spec::rotation`]).
    pub rotated: bool,
    /// A learned vector for each position is added.
    pub positions: Option<LearnedPositions>,
    /// On the sum (TorchScale's `layernorm_embedding`).
    pub norm: Option<Norm>,
}

/// A table of position embeddings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LearnedPositions {
    /// Its rows.
    pub rows: usize,
    /// The row of position 0 (fairseq: 2).
    pub first: usize,
}

/// Output head.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Output {
    /// The head is the embedding matrix.
    pub tied: bool,
    /// Multiplies the logits (Granite: 1 / `logits_scaling`); 1 for most.
    pub scale: f32,
    /// The head takes its input rotated ([`Spec::rotation`]).
    pub rotated: bool,
}

/// The order in which blocks run.
///
/// Weights and state are apart, so a looped transformer may run one block several times on a state each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The runs, first to last.
    pub runs: Vec<Run>,
}

/// One pass through one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Index into [`Spec::blocks`].
    pub block: usize,
    /// Which state (keys and values of past tokens) it reads and extends.
    pub state: usize,
}

impl Program {
    /// Every block once, each with a state of its own.
    pub fn sequential(blocks: usize) -> Self {
        Self { runs: (0..blocks).map(|i| Run { block: i, state: i }).collect() }
    }

    /// How many states it uses.
    pub fn states(&self) -> usize {
        self.runs.iter().map(|run| run.state + 1).max().unwrap_or(0)
    }
}

/// One transformer block: a mixer over the sequence, then a feed-forward network over each token.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// Mixes tokens.
    pub mixer: Branch<Attention>,
    /// Transforms each token.
    pub ffn: Branch<Ffn>,
}

impl Block {
    /// One of its linear layers, to be changed.
    pub fn linear_mut(&mut self, linear: LinearRole) -> Option<&mut Linear> {
        let (attention, mlp) = (&mut self.mixer.body, self.ffn.body.mlp_mut());
        Some(match linear {
            LinearRole::Q => &mut attention.q,
            LinearRole::K => &mut attention.k,
            LinearRole::V => &mut attention.v,
            LinearRole::O => &mut attention.o,
            LinearRole::Gate => &mut mlp.gate,
            LinearRole::Up => return mlp.up.as_mut(),
            LinearRole::Down => &mut mlp.down,
        })
    }

    /// One of its linear layers, if it has that one; all experts of a block have the same.
    pub fn linear(&self, linear: LinearRole) -> Option<&Linear> {
        let attention = &self.mixer.body;
        match linear {
            LinearRole::Q => Some(&attention.q),
            LinearRole::K => Some(&attention.k),
            LinearRole::V => Some(&attention.v),
            LinearRole::O => Some(&attention.o),
            LinearRole::Gate | LinearRole::Up | LinearRole::Down => self.ffn.body.mlp().linear(linear),
        }
    }
}

/// A residual branch: `x ← after(residual · x + scale · post(body(pre(x))))`.
///
/// Pre-LN has `pre`, sandwich norms have `post` too; post-LN has `after` and no `pre`.
#[derive(Clone, Debug, PartialEq)]
pub struct Branch<T> {
    /// On the branch's input (pre-LN).
    pub pre: Norm,
    /// What the branch computes.
    pub body: T,
    /// On the branch's output, before it is added (sandwich norms of Gemma).
    pub post: Option<Norm>,
    /// Multiplies what is added (Granite's residual multiplier); 1 for most.
    pub scale: f32,
    /// Multiplies the stream that the branch is added to (DeepNorm's α); 1 for most.
    pub residual: f32,
    /// On the sum (post-LN; Huginn).
    pub after: Option<Norm>,
}

impl<T> Branch<T> {
    /// `x ← x + body(pre(x))`.
    pub const fn pre_norm(pre: Norm, body: T) -> Self {
        Self { pre, body, post: None, scale: 1.0, residual: 1.0, after: None }
    }
}

/// A norm over the elements of a token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Norm {
    /// Which.
    pub kind: NormKind,
    /// Keeps the root away from 0.
    pub eps: f32,
}

impl Norm {
    /// An RMSNorm.
    pub const fn rms(eps: f32) -> Self {
        Self { kind: NormKind::Rms, eps }
    }

    /// Values as they are.
    pub const fn identity(self) -> Self {
        Self { kind: NormKind::Identity, ..self }
    }
}

/// What a norm computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormKind {
    /// RMSNorm (Zhang & Sennrich 2019): `x / sqrt(mean(x²) + eps) · gain`.
    Rms,
    /// LayerNorm (Ba et al. 2016): `(x − mean(x)) / sqrt(var(x) + eps) · gain + bias`.
    Layer,
    /// Nothing: post-LN has no norm before a branch, nor after the last block.
    Identity,
}

/// Causal attention with grouped queries (Ainslie et al. 2023).
#[derive(Clone, Debug, PartialEq)]
pub struct Attention {
    /// Query heads.
    pub heads: usize,
    /// Key/value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of a head; not always `hidden / heads`.
    pub head_dim: usize,
    /// Multiplies the scores; 1 / √head_dim for most.
    pub scale: f32,
    /// Which positions a query sees.
    pub mask: Mask,
    /// Index into [`Spec::ropes`]; `None`: no position embedding in this block (NoPE).
    pub rope: Option<usize>,
    /// RMSNorm over each head of queries and keys.
    pub qk_norm: Option<QkNorm>,
    /// Queries, keys and values are clamped to ± this before they are rotated (OLMoE).
    pub clip: Option<f32>,
    /// A learned score per head that takes part in the softmax and mixes nothing (gpt-oss).
    pub sinks: bool,
    /// Norm before the output projection (Magneto's sub-LN, BitNet).
    pub sub_norm: Option<Norm>,
    /// Query projection (heads · head_dim, hidden).
    pub q: Linear,
    /// Key projection (kv_heads · head_dim, hidden).
    pub k: Linear,
    /// Value projection (kv_heads · head_dim, hidden).
    pub v: Linear,
    /// Output projection (hidden, heads · head_dim).
    pub o: Linear,
}

impl Attention {
    /// Width of all query heads.
    pub fn q_width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Width of all key (or value) heads.
    pub fn kv_width(&self) -> usize {
        self.kv_heads * self.head_dim
    }
}

/// Which positions a query at position `p` sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mask {
    /// `0..=p`.
    Causal,
    /// The last so many: `p − n + 1..=p`.
    Window(usize),
}

impl Mask {
    /// The first position that a query at `position` sees.
    pub fn first_visible(self, position: usize) -> usize {
        match self {
            Self::Causal => 0,
            Self::Window(n) => (position + 1).saturating_sub(n),
        }
    }
}

/// RMSNorm of queries and keys, and where it stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QkNorm {
    /// The norm.
    pub norm: Norm,
    /// After the rotary embedding (Hunyuan), not before it (Qwen3, Gemma 3).
    pub after_rope: bool,
    /// Over all heads together (OLMoE), not over each.
    pub whole: bool,
}

/// Feed-forward network: `down(sub_norm(activation(gate(x)) · up(x)))`, or without `up(x)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Mlp {
    /// Width of gate and up.
    pub width: usize,
    /// The gate's non-linearity.
    pub activation: Activation,
    /// Gates are cut above this and ups beyond ± this (Maple, gpt-oss).
    pub clamp: Option<f32>,
    /// The gate multiplies up + 1 (gpt-oss).
    pub up_plus_one: bool,
    /// Norm before the down projection (Magneto's sub-LN, BitNet).
    pub sub_norm: Option<Norm>,
    /// Gate projection (width, hidden); the only one of a network without gates (`fc1`).
    pub gate: Linear,
    /// Up projection (width, hidden), where the network is gated.
    pub up: Option<Linear>,
    /// Down projection (hidden, width).
    pub down: Linear,
}

impl Mlp {
    /// One of its linear layers, if it has that one.
    pub fn linear(&self, linear: LinearRole) -> Option<&Linear> {
        match linear {
            LinearRole::Gate => Some(&self.gate),
            LinearRole::Up => self.up.as_ref(),
            LinearRole::Down => Some(&self.down),
            LinearRole::Q | LinearRole::K | LinearRole::V | LinearRole::O => None,
        }
    }
}

/// The gate's non-linearity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// x·σ(x) (LLaMA, Qwen, 1bitLLM).
    Silu,
    /// max(x, 0)² (BitNet b1.58 2B4T).
    Relu2,
    /// GELU in its tanh approximation (Gemma).
    GeluTanh,
    /// GELU, exact (TorchScale).
    Gelu,
    /// max(x, 0).
    Relu,
    /// x·σ(1.702·x) (gpt-oss).
    QuickGelu,
}

impl Activation {
    /// The name in a `config.json`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Silu => "silu",
            Self::Relu2 => "relu2",
            Self::GeluTanh => "gelu_pytorch_tanh",
            Self::Gelu => "gelu",
            Self::Relu => "relu",
            Self::QuickGelu => "quick_gelu",
        }
    }
}

/// A linear layer: what surrounds its matrix, and what its input means.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Linear {
    /// Adds a bias.
    pub bias: bool,
    /// RMSNorm over this layer's own input (BitNet embedding models).
    pub norm: Option<Norm>,
    /// What the model was trained to multiply by.
    pub input: InputSemantics,
    /// The matrix was stored rotated: its input is, too ([`Spec::rotation`]).
    pub rotated: bool,
}

/// What a linear layer's input means to the model. How exact inputs are realised (f32 or 14-bit codes) follows
/// from the packed form and is the loading plan's choice.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum InputSemantics {
    /// The values themselves.
    Float,
    /// 8-bit codes with one absmax scale per token: the activation quantiser of BitNet b1.58.
    Int8,
    /// Codes of another quantiser (Q-Sparse, BitNet a4.8); for ternary matrices.
    Quantised(Quantiser),
    /// Floats of 8 or 4 bits; for matrices of such.
    Rounded(Rounding),
}

/// How a file writes down the weights that a [`Spec`] asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Checkpoint {
    /// Float matrices of linear layers are latent weights, to be ternarised by absmean when loaded
    /// (`quantization_mode: online`; float weights of a BitNet).
    pub latent: bool,
    /// What the scale beside a packed ternary matrix does; `None` where the metadata names no such packing.
    pub packed_scale: Option<PackedScale>,
    /// Norm gains are stored as `gain − 1` (Gemma in Hugging Face files; own norms of a projection excepted).
    pub gain_minus_one: bool,
    /// The gates and ups of all experts of a block are one tensor of alternating rows, in MXFP4 whose scales are a
    /// tensor of their own (gpt-oss in Hugging Face files).
    pub packed_experts: bool,
    /// Matrices of linear layers are floats of 8 or 4 bits with scales beside them.
    pub small_floats: Option<SmallFloats>,
}

impl Checkpoint {
    /// Weights as they stand.
    pub const PLAIN: Self = Self {
        latent: false,
        packed_scale: None,
        gain_minus_one: false,
        packed_experts: false,
        small_floats: None,
    };
}

/// What the `weight_scale` of a packed ternary matrix does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackedScale {
    /// Multiplies (`linear_class: autobitlinear`).
    Multiplies,
    /// Divides (`linear_class: bitlinear`, the default).
    Divides,
}

/// A tensor that the forward pass reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeededTensor {
    /// What it is for.
    pub role: TensorRole,
    /// Its shape.
    pub shape: Shape,
    /// A file without it is complete too: its absence means a neutral value.
    pub optional: bool,
}

/// The logical shape of a tensor, whatever its encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// So many values.
    Vector(usize),
    /// (rows, cols): outputs, inputs.
    Matrix(usize, usize),
}

impl Spec {
    /// Every tensor that the model reads, in the order of the forward pass.
    pub fn tensors(&self) -> Vec<NeededTensor> {
        let mut list = TensorList(Vec::new(), self.checkpoint.small_floats);
        list.matrix(TensorRole::Embedding, self.vocab, self.hidden);
        if let Some(positions) = self.embed.positions {
            list.matrix(TensorRole::Positions, positions.rows, self.hidden);
        }
        list.norm(NormRole::Embedding, self.embed.norm, self.hidden);
        for rope in &self.ropes {
            for role in rope.scaling.tensors() {
                list.vector(role, rope.dims / 2);
            }
        }
        for (i, block) in self.blocks.iter().enumerate() {
            list.block(i, block, self);
        }
        list.norm(NormRole::Final, Some(self.norm), self.hidden);
        if !self.output.tied {
            list.matrix(TensorRole::Head, self.vocab, self.hidden);
        }
        list.0
    }

    /// Gives every linear layer of every block the same input semantics.
    pub(super) fn set_input(&mut self, input: InputSemantics) {
        for block in &mut self.blocks {
            for linear in LinearRole::ALL {
                if let Some(layer) = block.linear_mut(linear) {
                    layer.input = input;
                }
            }
            if let Ffn::Experts(Experts { shared: Some(shared), .. }) = &mut block.ffn.body {
                let mlp = &mut shared.mlp;
                let linears = [Some(&mut mlp.gate), mlp.up.as_mut(), Some(&mut mlp.down)];
                linears.into_iter().flatten().for_each(|linear| linear.input = input);
            }
        }
    }

    /// The widest buffers that any block needs: (query, key or value, feed-forward).
    pub fn widths(&self) -> (usize, usize, usize) {
        self.blocks.iter().fold((0, 0, 0), |(q, kv, ffn), block| {
            let attention = &block.mixer.body;
            (q.max(attention.q_width()), kv.max(attention.kv_width()), ffn.max(block.ffn.body.widest()))
        })
    }
}

/// The tensors, and how matrices of linear layers are stored.
pub(super) struct TensorList(Vec<NeededTensor>, Option<SmallFloats>);

impl TensorList {
    pub fn push(&mut self, role: TensorRole, shape: Shape, optional: bool) {
        self.0.push(NeededTensor { role, shape, optional });
    }

    pub fn vector(&mut self, role: TensorRole, len: usize) {
        self.push(role, Shape::Vector(len), false);
    }

    pub fn matrix(&mut self, role: TensorRole, rows: usize, cols: usize) {
        self.push(role, Shape::Matrix(rows, cols), false);
    }

    /// What a norm reads, if it is there.
    pub fn norm(&mut self, role: NormRole, norm: Option<Norm>, len: usize) {
        match norm.map(|norm| norm.kind) {
            None | Some(NormKind::Identity) => {}
            Some(NormKind::Rms) => self.vector(TensorRole::Norm(role, Field::Weight), len),
            Some(NormKind::Layer) => {
                self.vector(TensorRole::Norm(role, Field::Weight), len);
                self.vector(TensorRole::Norm(role, Field::Bias), len);
            }
        }
    }

    /// The tensors of a linear layer, whose `role` is known for each field.
    pub fn linear(&mut self, role: impl Fn(Field) -> TensorRole, layer: Linear, rows: usize, cols: usize) {
        if layer.norm.is_some() {
            self.vector(role(Field::Norm), cols);
        }
        self.matrix(role(Field::Weight), rows, cols);
        match self.1 {
            Some(stored) => stored.list_scales(&role, [rows, cols], self),
            // One number beside a matrix whose encoding has no scale of its own.
            None => self.push(role(Field::Scale), Shape::Vector(1), true),
        }
        if layer.bias {
            self.vector(role(Field::Bias), rows);
        }
    }

    fn block(&mut self, i: usize, block: &Block, spec: &Spec) {
        let hidden = spec.hidden;
        let linear = |linear| move |field| TensorRole::Linear(i, linear, field);
        let norm = |norm| NormRole::Block(i, norm);
        let attention = &block.mixer.body;
        let (q, kv) = (attention.q_width(), attention.kv_width());
        self.norm(norm(BlockNorm::MixerPre), Some(block.mixer.pre), hidden);
        self.linear(linear(LinearRole::Q), attention.q, q, hidden);
        self.linear(linear(LinearRole::K), attention.k, kv, hidden);
        self.linear(linear(LinearRole::V), attention.v, kv, hidden);
        if let Some(qk_norm) = attention.qk_norm {
            let (query, key) = if qk_norm.whole { (q, kv) } else { (attention.head_dim, attention.head_dim) };
            self.norm(norm(BlockNorm::Query), Some(qk_norm.norm), query);
            self.norm(norm(BlockNorm::Key), Some(qk_norm.norm), key);
        }
        if attention.sinks {
            self.vector(TensorRole::Sinks(i), attention.heads);
        }
        self.norm(norm(BlockNorm::MixerSub), attention.sub_norm, q);
        self.linear(linear(LinearRole::O), attention.o, hidden, q);
        self.norm(norm(BlockNorm::MixerPost), block.mixer.post, hidden);
        self.norm(norm(BlockNorm::MixerAfter), block.mixer.after, hidden);
        self.norm(norm(BlockNorm::FfnPre), Some(block.ffn.pre), hidden);
        match &block.ffn.body {
            Ffn::Dense(mlp) => {
                self.mlp(&linear, mlp, hidden, |list| {
                    list.norm(norm(BlockNorm::FfnSub), mlp.sub_norm, mlp.width);
                });
            }
            Ffn::Experts(experts) => experts.tensors(i, spec, self),
        }
        self.norm(norm(BlockNorm::FfnPost), block.ffn.post, hidden);
        self.norm(norm(BlockNorm::FfnAfter), block.ffn.after, hidden);
    }

    /// The tensors of a feed-forward network; `linear` makes the roles of a layer's fields, `sub_norm` lists the norm.
    pub fn mlp<F: Fn(Field) -> TensorRole>(
        &mut self,
        linear: &impl Fn(LinearRole) -> F,
        mlp: &Mlp,
        hidden: usize,
        sub_norm: impl FnOnce(&mut Self),
    ) {
        self.linear(linear(LinearRole::Gate), mlp.gate, mlp.width, hidden);
        if let Some(up) = mlp.up {
            self.linear(linear(LinearRole::Up), up, mlp.width, hidden);
        }
        sub_norm(self);
        self.linear(linear(LinearRole::Down), mlp.down, hidden, mlp.width);
    }
}
