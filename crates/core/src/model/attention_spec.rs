//! Attention as a word of the spec ([`attention`](super::attention) computes it).

use super::{
    layers::{Linear, Norm, TensorList},
    roles::{BlockNorm, LinearRole, NormRole, TensorRole},
};

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
    /// Index into [`Spec::ropes`](super::Spec::ropes); `None`: no position embedding in this block (NoPE).
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

    pub(super) fn linear(&self, linear: LinearRole) -> Option<&Linear> {
        match linear {
            LinearRole::Q => Some(&self.q),
            LinearRole::K => Some(&self.k),
            LinearRole::V => Some(&self.v),
            LinearRole::O => Some(&self.o),
            _ => None,
        }
    }

    pub(super) fn linear_mut(&mut self, linear: LinearRole) -> Option<&mut Linear> {
        match linear {
            LinearRole::Q => Some(&mut self.q),
            LinearRole::K => Some(&mut self.k),
            LinearRole::V => Some(&mut self.v),
            LinearRole::O => Some(&mut self.o),
            _ => None,
        }
    }

    /// Lists the tensors of block `i`.
    pub(super) fn tensors(&self, i: usize, hidden: usize, list: &mut TensorList) {
        let linear = |linear| move |field| TensorRole::Linear(i, linear, field);
        let norm = |norm| NormRole::Block(i, norm);
        let (q, kv) = (self.q_width(), self.kv_width());
        list.linear(linear(LinearRole::Q), self.q, q, hidden);
        list.linear(linear(LinearRole::K), self.k, kv, hidden);
        list.linear(linear(LinearRole::V), self.v, kv, hidden);
        if let Some(qk_norm) = self.qk_norm {
            let (query, key) = if qk_norm.whole { (q, kv) } else { (self.head_dim, self.head_dim) };
            list.norm(norm(BlockNorm::Query), Some(qk_norm.norm), query);
            list.norm(norm(BlockNorm::Key), Some(qk_norm.norm), key);
        }
        if self.sinks {
            list.vector(TensorRole::Sinks(i), self.heads);
        }
        list.norm(norm(BlockNorm::MixerSub), self.sub_norm, q);
        list.linear(linear(LinearRole::O), self.o, hidden, q);
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
