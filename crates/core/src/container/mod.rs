//! Containers: the bytes of a file's beginning → a checked [`Index`] of its metadata and tensors.
//!
//! Parsing is a pure function of a prefix ([`probe`]): it says how many bytes it needs, or returns an
//! index. Invariant: in an [`Index`] every tensor lies inside the file's data part, no two overlap,
//! `bytes` is exactly what `encoding` and `shape` need, and every count is capped.

use alloc::{
    string::{String, ToString},
    vec::Vec,
};

use crate::{Error, Result, bail, format::Encoding};

mod config;
pub mod gguf;
mod meta;
mod overrides;
pub mod safetensors;
mod types;
pub mod write;

pub use config::{MAX_CONFIG, config};
pub use overrides::Overrides;

/// Longest header of a file that is accepted, in bytes (the limit of the safetensors format).
pub const MAX_HEADER: u64 = 100_000_000;
/// Longest name of a tensor or metadata key that is accepted, in bytes.
pub const MAX_NAME: u64 = 1024;

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
    /// More is needed: come back with this many bytes from the start of the file, or with all of a file
    /// that is shorter (if the answer is `Need` again, that file is truncated). Always more than what was
    /// given; for GGUF, whose header does not tell its length, it may be more than the header has.
    Need(u64),
    /// The header is complete.
    Ready(Index),
}

/// Reads the header of a GGUF or safetensors file from a prefix of it.
///
/// All calls with growing prefixes together take time linear in the header's length, when each brings what
/// [`Probe::Need`] asked for.
///
/// ```
/// use ternlight_core::{ErrorKind, container::{Probe, probe}};
///
/// // The first bytes of a GGUF file: more are needed.
/// assert!(matches!(probe(b"GGUF\x03\0\0\0")?, Probe::Need(bytes) if bytes > 8));
/// assert_eq!(probe(b"{ \"not\": \"a model\" }").unwrap_err().kind, ErrorKind::BadMagic);
/// # Ok::<(), ternlight_core::Error>(())
/// ```
///
/// # Errors
/// `bad-magic`, `bad-header`, `too-large`, `unsupported-format`; the detail names key or tensor.
pub fn probe(prefix: &[u8]) -> Result<Probe> {
    let known = prefix.len().min(gguf::MAGIC.len());
    if prefix[..known] == gguf::MAGIC[..known] {
        return gguf::probe(prefix);
    }
    match prefix.first_chunk::<9>() {
        None => Ok(Probe::Need(9)),
        Some(start) if safetensors::looks_like(start) => safetensors::probe(prefix, start),
        Some(_) => bail!(BadMagic, "neither a GGUF nor a safetensors file"),
    }
}

/// Checks that `tensors`, sorted by offset, do not overlap; returns where the last one ends.
fn check_layout(tensors: &[TensorInfo], data_start: u64) -> Result<u64> {
    let mut end = data_start;
    let mut last = "the header";
    for tensor in tensors {
        if tensor.offset < end {
            bail!(BadHeader, "tensor {:?} overlaps {last:?}", tensor.name);
        }
        let Some(next) = tensor.offset.checked_add(tensor.bytes) else {
            bail!(TooLarge, "tensor {:?} ends beyond 2^64", tensor.name)
        };
        end = next;
        last = &tensor.name;
    }
    let mut names = Vec::new();
    names.try_reserve_exact(tensors.len())?;
    names.extend(tensors.iter().map(|t| t.name.as_str()));
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        bail!(BadHeader, "tensor {:?} appears twice", pair[0]);
    }
    Ok(end)
}

/// Puts the tensor's name before an error about it.
fn about(name: &str, error: Error) -> Error {
    Error::new(error.kind, alloc::format!("tensor {name:?}: {}", error.detail))
}

/// What a parser says, or a text of the file itself, cut to a length that can be shown: it may quote megabytes.
fn brief(message: impl ToString) -> String {
    let mut text = message.to_string();
    if let Some((end, _)) = text.char_indices().nth(200) {
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests;
