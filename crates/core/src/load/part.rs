//! A part of a stored tensor, and what it becomes.

use alloc::string::String;

use crate::{
    format::{Encoding, Form},
    kernel::Skips,
    model::{spec::Shape, tensor_names::TensorRole},
};

/// A part of a stored tensor that plays one role: all of it, or some of its rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// The tensor's name in the file.
    pub name: String,
    /// What it is for.
    pub role: TensorRole,
    /// Its logical shape.
    pub shape: Shape,
    /// How it is stored.
    pub encoding: Encoding,
    /// Where it begins, from the start of the file.
    pub offset: u64,
    /// Stored bytes.
    pub bytes: u64,
    /// What it becomes in memory.
    pub becomes: Becomes,
}

/// What a part becomes in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Becomes {
    /// f32 values: a norm, a bias, a scale.
    Vector,
    /// Bytes as stored, of which matrices are made once all of their parts are there.
    Raw,
    /// A packed matrix.
    Matrix {
        /// Its form.
        form: Form,
        /// Its form if the bytes rule out the first.
        otherwise: Option<Form>,
        /// Latent weights, and what they become once all have arrived.
        latent: Option<Latent>,
        /// What its kernel leaves unread.
        skips: Skips,
    },
}

/// What latent weights become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Latent {
    /// −1, 0, +1 by absmean (BitNet b1.58, arXiv 2402.17764).
    Ternary,
    /// −1 and +1: the signs of what is left when the mean is taken off; 0 becomes −1 (BitNet, arXiv 2310.11453).
    Binary,
}
