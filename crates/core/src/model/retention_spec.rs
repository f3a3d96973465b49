//! Retention as a word of the spec ([`retention`](super::retention) computes it).

use alloc::vec::Vec;

use super::{
    layers::{Linear, TensorList},
    roles::{LinearRole, RetentionTable, TensorRole},
    rope::Rope,
};
use crate::recurrent::RecurrentShape;

/// Multi-scale retention: heads that forget at different speeds, and a gate on what they give.
#[derive(Clone, Debug, PartialEq)]
pub struct Retention {
    /// Heads; head h multiplies what it knows by γ = 1 − 2^(−5 − h) at each step.
    pub heads: usize,
    /// Width of a head's queries and keys; even.
    pub key_dim: usize,
    /// Width of a head's values.
    pub value_dim: usize,
    /// Multiplies the keys; 1 / √key_dim for most.
    pub scale: f32,
    /// Index into [`Spec::ropes`](super::Spec::ropes).
    pub rope: usize,
    /// Of the RMSNorm without gain over what each head gives.
    pub eps: f32,
    /// Query projection (heads · key_dim, hidden).
    pub q: Linear,
    /// Key projection (heads · key_dim, hidden).
    pub k: Linear,
    /// Value projection (heads · value_dim, hidden).
    pub v: Linear,
    /// The gate (heads · value_dim, hidden): x·σ(x) of it multiplies what the heads give.
    pub gate: Linear,
    /// Output projection (hidden, heads · value_dim).
    pub o: Linear,
}

impl Retention {
    /// Width of all queries or keys.
    pub fn key_width(&self) -> usize {
        self.heads * self.key_dim
    }

    /// Width of all values.
    pub fn value_width(&self) -> usize {
        self.heads * self.value_dim
    }

    /// γ of each head, as f32 has it.
    pub fn decays(&self) -> Vec<f32> {
        (0..self.heads).map(|head| 1.0 - libm::ldexpf(1.0, -5 - head as i32)).collect()
    }

    /// What a file's table holds, if it is of these dimensions.
    pub fn table(&self, table: RetentionTable, rope: &Rope) -> Vec<f32> {
        match table {
            // Those of a pair are the same.
            RetentionTable::Angles => {
                rope.frequencies(0).0.into_iter().flat_map(|angle| [angle; 2]).collect()
            }
            RetentionTable::Decays => {
                self.decays().into_iter().map(|decay| libm::log(f64::from(decay)) as f32).collect()
            }
        }
    }

    /// What one run keeps of past tokens.
    pub fn state(&self) -> RecurrentShape {
        RecurrentShape { key_dim: self.key_dim, value_dim: self.value_dim, decays: self.decays() }
    }

    pub(super) fn linear(&self, linear: LinearRole) -> Option<&Linear> {
        match linear {
            LinearRole::Q => Some(&self.q),
            LinearRole::K => Some(&self.k),
            LinearRole::V => Some(&self.v),
            LinearRole::MixerGate => Some(&self.gate),
            LinearRole::O => Some(&self.o),
            _ => None,
        }
    }

    pub(super) fn linear_mut(&mut self, linear: LinearRole) -> Option<&mut Linear> {
        match linear {
            LinearRole::Q => Some(&mut self.q),
            LinearRole::K => Some(&mut self.k),
            LinearRole::V => Some(&mut self.v),
            LinearRole::MixerGate => Some(&mut self.gate),
            LinearRole::O => Some(&mut self.o),
            _ => None,
        }
    }

    /// Lists the tensors of block `i`.
    pub(super) fn tensors(&self, i: usize, hidden: usize, list: &mut TensorList) {
        let linear = |linear| move |field| TensorRole::Linear(i, linear, field);
        let (keys, values) = (self.key_width(), self.value_width());
        list.linear(linear(LinearRole::Q), self.q, keys, hidden);
        list.linear(linear(LinearRole::K), self.k, keys, hidden);
        list.linear(linear(LinearRole::V), self.v, values, hidden);
        list.linear(linear(LinearRole::MixerGate), self.gate, values, hidden);
        list.linear(linear(LinearRole::O), self.o, hidden, values);
    }
}
