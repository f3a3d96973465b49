//! Words of the spec for what blocks are made of: norms, linear layers, gated networks; and the list of their tensors.

use alloc::vec::Vec;

use super::{
    roles::{Field, LinearRole, NeededTensor, NormRole, Shape, TensorRole},
    small_floats::SmallFloats,
};
use crate::{minifloat::Rounding, quantiser::Quantiser};

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
            _ => None,
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
    /// The matrix was stored rotated: its input is, too ([`Spec::rotation`](super::Spec::rotation)).
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

/// The tensors, and how matrices of linear layers are stored.
pub(super) struct TensorList(pub Vec<NeededTensor>, pub Option<SmallFloats>);

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
            Some(stored) => {
                // Float matrices lack them.
                for (field, shape) in stored.scale_tensors([rows, cols]) {
                    self.push(role(field), shape, true);
                }
            }
            // One number beside a matrix whose encoding has no scale of its own.
            None => self.push(role(Field::Scale), Shape::Vector(1), true),
        }
        if layer.bias {
            self.vector(role(Field::Bias), rows);
        }
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
