//! Containers: the bytes of a file's beginning → a checked [`Index`] of its metadata and tensors.
//!
//! Parsing is a pure function of a prefix ([`probe`]): it says how many bytes it needs, or returns an
//! index. Invariant: in an [`Index`] every tensor lies inside the file's data part, no two overlap,
//! `bytes` is exactly what `encoding` and `shape` need, and every count is capped.

use alloc::{string::String, vec::Vec};

use crate::{Result, format::Encoding};

/// A metadata value of either container (GGUF key/value, flattened JSON config).
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Any integer type (GGUF u8…i64, JSON integers).
    Int(i64),
    /// Any float type.
    Float(f64),
    /// A boolean.
    Bool(bool),
    /// UTF-8 text.
    Str(String),
    /// Integers (GGUF arrays of any integer or boolean type; JSON arrays of integers).
    Ints(Vec<i64>),
    /// Floats.
    Floats(Vec<f32>),
    /// Texts.
    Strs(Vec<String>),
}

/// Metadata by key, sorted. HF `config.json` is flattened with dots (`quantization_config.linear_class`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Meta(pub alloc::collections::BTreeMap<String, Value>);

/// One tensor of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorInfo {
    /// The name in the file.
    pub name: String,
    /// Row-major, outermost first: a matrix is `[rows, cols]` (GGUF's `ne` reversed). HF packed ternary
    /// is listed with its *stored* shape `[rows / 4, cols]`.
    pub shape: Vec<u64>,
    /// How its values are stored.
    pub encoding: Encoding,
    /// Where it begins, from the start of the file.
    pub offset: u64,
    /// How long it is.
    pub bytes: u64,
}

/// Which container a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    /// GGUF version 2 or 3.
    Gguf,
    /// HF safetensors.
    Safetensors,
}

/// What a file holds and where. See the module's invariant.
#[derive(Clone, Debug, PartialEq)]
pub struct Index {
    /// Which container.
    pub container: Container,
    /// GGUF metadata, or safetensors' `__metadata__`.
    pub meta: Meta,
    /// Sorted by offset.
    pub tensors: Vec<TensorInfo>,
    /// Where the first byte of tensor data may lie, from the start of the file.
    pub data_start: u64,
    /// The length the whole file must have at least.
    pub file_len: u64,
}

/// The answer of [`probe`].
#[derive(Clone, Debug, PartialEq)]
pub enum Probe {
    /// At least this many bytes from the start of the file are needed.
    Need(u64),
    /// The header is complete.
    Ready(Index),
}

/// Reads the header of a GGUF or safetensors file from a prefix of it.
///
/// # Errors
/// `bad-magic`, `bad-header`, `too-large`, `unsupported-format`; the detail names key or tensor.
pub fn probe(_prefix: &[u8]) -> Result<Probe> {
    crate::bail!(BadMagic, "no container reader yet")
}
