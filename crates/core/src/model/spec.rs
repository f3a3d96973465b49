//! What a decoder-only model computes, as data: blocks, and a program that says in which order they run.
//!
//! A [`Spec`] says nothing about files: names are in [`tensor_names`](super::tensor_names), encodings and
//! packed forms in the loading plan ([`crate::load::plan`]). An architecture ([`super::arch`]) maps metadata to it,
//! and [`Spec::tensors`] lists every tensor that the forward pass will read.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use crate::quantiser::CacheCodes;

pub(super) use super::layers::TensorList;
pub use super::{
    attention_spec::{Attention, Mask, QkNorm},
    experts_spec::{Experts, Ffn, SharedExpert},
    layers::{Activation, InputSemantics, Linear, Mlp, Norm, NormKind},
    program::{Exit, Loop, LoopNorm, Lora, MAX_LOOPS, Program, Run},
    relative::RelativeBias,
    retention_spec::Retention,
    roles::{NeededTensor, Shape},
};
use super::{
    roles::{BlockNorm, LinearRole, NormRole, RetentionTable, TensorRole},
    rope::Rope,
    small_floats::SmallFloats,
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
    /// What every attention adds to its scores (T5).
    pub relative_bias: Option<RelativeBias>,
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

/// One transformer block: a mixer over the sequence, then a feed-forward network over each token.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// Mixes tokens.
    pub mixer: Branch<Mixer>,
    /// Transforms each token.
    pub ffn: Branch<Ffn>,
}

impl Block {
    /// One of its linear layers, to be changed.
    pub fn linear_mut(&mut self, linear: LinearRole) -> Option<&mut Linear> {
        let mlp = self.ffn.body.mlp_mut();
        match linear {
            LinearRole::Gate => Some(&mut mlp.gate),
            LinearRole::Up => mlp.up.as_mut(),
            LinearRole::Down => Some(&mut mlp.down),
            of_mixer => match &mut self.mixer.body {
                Mixer::Attention(attention) => attention.linear_mut(of_mixer),
                Mixer::Retention(retention) => retention.linear_mut(of_mixer),
            },
        }
    }

    /// (outputs, inputs) of one of its linear layers outside retention and experts, if it has that one.
    pub fn linear_shape(&self, linear: LinearRole, hidden: usize) -> Option<(usize, usize)> {
        let (attention, mlp) = (self.mixer.body.attention()?, self.ffn.body.mlp());
        Some(match linear {
            LinearRole::Q => (attention.q_width(), hidden),
            LinearRole::K | LinearRole::V => (attention.kv_width(), hidden),
            LinearRole::O => (hidden, attention.q_width()),
            _ if self.ffn.body.experts().is_some() => return None,
            LinearRole::MixerGate => return None,
            LinearRole::Up if mlp.up.is_none() => return None,
            LinearRole::Gate | LinearRole::Up => (mlp.width, hidden),
            LinearRole::Down => (hidden, mlp.width),
        })
    }

    /// One of its linear layers, if it has that one; all experts of a block have the same.
    pub fn linear(&self, linear: LinearRole) -> Option<&Linear> {
        match linear {
            LinearRole::Gate | LinearRole::Up | LinearRole::Down => self.ffn.body.mlp().linear(linear),
            of_mixer => match &self.mixer.body {
                Mixer::Attention(attention) => attention.linear(of_mixer),
                Mixer::Retention(retention) => retention.linear(of_mixer),
            },
        }
    }
}

/// What mixes the tokens of a sequence.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "there is one for each block, and none is copied in a loop")]
pub enum Mixer {
    /// Softmax attention, on keys and values of all tokens.
    Attention(Attention),
    /// Retention, on a state of fixed size.
    Retention(Retention),
}

impl Mixer {
    /// The attention, if it is one.
    pub fn attention(&self) -> Option<&Attention> {
        match self {
            Self::Attention(attention) => Some(attention),
            Self::Retention(_) => None,
        }
    }

    /// Its heads, for a look at the model: query heads, key/value heads, width of a head.
    pub fn heads(&self) -> (usize, usize, usize) {
        match self {
            Self::Attention(attention) => (attention.heads, attention.kv_heads, attention.head_dim),
            Self::Retention(retention) => (retention.heads, retention.heads, retention.key_dim),
        }
    }

    /// Widths of its input to the output projection, of its keys or values, and of its gate.
    fn widths(&self) -> (usize, usize, usize) {
        match self {
            Self::Attention(attention) => (attention.q_width(), attention.kv_width(), 0),
            Self::Retention(retention) => {
                let widest = retention.key_width().max(retention.value_width());
                (widest, widest, retention.value_width())
            }
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

/// How a file writes down the weights that a [`Spec`] asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Checkpoint {
    /// Float matrices of linear layers are latent weights, to be ternarised by absmean when loaded
    /// (`quantization_mode: online`; float weights of a BitNet).
    pub latent: bool,
    /// Latent weights become −1 and +1 alone.
    pub binary: bool,
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
        binary: false,
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

impl Spec {
    /// Every tensor that the model reads, in the order of the forward pass.
    pub fn tensors(&self) -> Vec<NeededTensor> {
        let mut list = TensorList(Vec::new(), self.checkpoint.small_floats);
        list.matrix(TensorRole::Embedding, self.vocab, self.hidden);
        if let Some(positions) = self.embed.positions {
            list.matrix(TensorRole::Positions, positions.rows, self.hidden);
        }
        list.norm(NormRole::Embedding, self.embed.norm, self.hidden);
        if let Some(bias) = self.relative_bias {
            list.vector(TensorRole::RelativeBias, bias.buckets * bias.heads);
        }
        if let Some(retention) = self.retention() {
            // What a file stores of them is compared.
            let role = TensorRole::RetentionTable;
            list.push(role(RetentionTable::Angles), Shape::Vector(retention.key_dim), true);
            list.push(role(RetentionTable::Decays), Shape::Vector(retention.heads), true);
        }
        for rope in &self.ropes {
            for role in rope.scaling.tensors() {
                list.vector(role, rope.dims / 2);
            }
        }
        for (i, block) in self.blocks.iter().enumerate() {
            self.block_tensors(i, block, &mut list);
        }
        self.program.tensors(self.hidden, &mut list);
        list.norm(NormRole::Final, Some(self.norm), self.hidden);
        if !self.output.tied {
            list.matrix(TensorRole::Head, self.vocab, self.hidden);
        }
        list.0
    }

    /// Lists what block `i` reads.
    fn block_tensors(&self, i: usize, block: &Block, list: &mut TensorList) {
        let hidden = self.hidden;
        let linear = |linear| move |field| TensorRole::Linear(i, linear, field);
        let norm = |norm| NormRole::Block(i, norm);
        list.norm(norm(BlockNorm::MixerPre), Some(block.mixer.pre), hidden);
        match &block.mixer.body {
            Mixer::Attention(attention) => attention.tensors(i, hidden, list),
            Mixer::Retention(retention) => retention.tensors(i, hidden, list),
        }
        list.norm(norm(BlockNorm::MixerPost), block.mixer.post, hidden);
        list.norm(norm(BlockNorm::MixerAfter), block.mixer.after, hidden);
        list.norm(norm(BlockNorm::FfnPre), Some(block.ffn.pre), hidden);
        match &block.ffn.body {
            Ffn::Dense(mlp) => {
                list.mlp(&linear, mlp, hidden, |list| {
                    list.norm(norm(BlockNorm::FfnSub), mlp.sub_norm, mlp.width);
                });
            }
            Ffn::Experts(experts) => experts.tensors(i, hidden, self.checkpoint.packed_experts, list),
        }
        list.norm(norm(BlockNorm::FfnPost), block.ffn.post, hidden);
        list.norm(norm(BlockNorm::FfnAfter), block.ffn.after, hidden);
        for role in LinearRole::ALL {
            if let Some((rows, cols)) = block.linear_shape(role, hidden) {
                self.program.lora_tensors((i, role), rows, cols, list);
            }
        }
    }

    /// The attention of every block that has one, to be changed.
    pub fn attentions_mut(&mut self) -> impl Iterator<Item = &mut Attention> {
        self.blocks.iter_mut().filter_map(|block| match &mut block.mixer.body {
            Mixer::Attention(attention) => Some(attention),
            Mixer::Retention(_) => None,
        })
    }

    /// The retention of the first block that has one; those of all blocks have the same heads.
    pub(crate) fn retention(&self) -> Option<&Retention> {
        self.blocks.iter().find_map(|block| match &block.mixer.body {
            Mixer::Retention(retention) => Some(retention),
            Mixer::Attention(_) => None,
        })
    }

    /// The norm before the head: none where the last pass of a loop has applied it.
    pub fn head_norm(&self) -> Norm {
        match &self.program.body {
            Some(body) if body.norm == LoopNorm::EachPass => self.norm.identity(),
            _ => self.norm,
        }
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
            let (own_q, own_kv, own_gate) = block.mixer.body.widths();
            (q.max(own_q), kv.max(own_kv), ffn.max(own_gate).max(block.ffn.body.widest()))
        })
    }
}
