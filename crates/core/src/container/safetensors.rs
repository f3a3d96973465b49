//! HF safetensors: 8 bytes of length, a JSON header, data → [`Index`].
//!
//! Invariant (the format's own): the tensors cover the data part exactly, without overlaps and holes,
//! and each is as long as its type and shape say.

use alloc::{collections::BTreeMap, string::String, vec::Vec};
use core::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, SeqAccess, Visitor},
};

use super::{Container, Index, MAX_HEADER, MAX_NAME, Meta, Probe, TensorInfo, Value, check_layout};
use crate::{Result, bail, format::Encoding};

/// Most tensors that are accepted.
pub const MAX_TENSORS: usize = 1 << 17;
/// Most dimensions of one tensor that are accepted.
pub const MAX_DIMS: usize = 8;
/// Most pairs of free-form metadata that are accepted.
const MAX_PAIRS: usize = 1 << 14;
/// The header's key for free-form metadata.
const METADATA: &str = "__metadata__";

/// Whether a file that begins like this can be safetensors: an acceptable length, then an object.
pub(super) fn looks_like(start: &[u8; 9]) -> bool {
    header_len(start) <= MAX_HEADER && start[8] == b'{'
}

fn header_len(start: &[u8; 9]) -> u64 {
    let [a, b, c, d, e, f, g, h, _] = *start;
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// See [`super::probe`]. `start` is the beginning of `prefix` and has passed [`looks_like`].
pub(super) fn probe(prefix: &[u8], start: &[u8; 9]) -> Result<Probe> {
    let data_start = 8 + header_len(start);
    if (prefix.len() as u64) < data_start {
        return Ok(Probe::Need(data_start));
    }
    let header = &prefix[8..data_start as usize];
    let entries = match serde_json::from_slice::<Header>(header) {
        Ok(header) => header.0,
        Err(error) => bail!(BadHeader, "safetensors header: {}", super::brief(error)),
    };
    index(entries, data_start).map(Probe::Ready)
}

/// The header in the order of the file; `serde_json`'s own maps would drop duplicate names silently.
struct Header(Vec<(String, Entry)>);

enum Entry {
    Tensor(Stored),
    Metadata(Pairs),
}

#[derive(Deserialize)]
struct Stored {
    dtype: String,
    shape: Shape,
    data_offsets: (u64, u64),
}

/// Extents, counted while they are read: a header may list millions.
struct Shape(Vec<u64>);

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> core::result::Result<Self, D::Error> {
        struct Extents;
        impl<'de> Visitor<'de> for Extents {
            type Value = Shape;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of extents")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> core::result::Result<Shape, A::Error> {
                let mut out = Vec::new();
                while let Some(extent) = seq.next_element()? {
                    if out.len() == MAX_DIMS {
                        return Err(A::Error::custom(format_args!("more than {MAX_DIMS} dimensions")));
                    }
                    out.push(extent);
                }
                Ok(Shape(out))
            }
        }
        deserializer.deserialize_seq(Extents)
    }
}

/// Free-form metadata, counted while it is read.
struct Pairs(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> core::result::Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> core::result::Result<Pairs, A::Error> {
                let mut out = BTreeMap::new();
                while let Some((key, value)) = map.next_entry()? {
                    if out.len() == MAX_PAIRS {
                        return Err(A::Error::custom(format_args!(
                            "more than {MAX_PAIRS} pairs of metadata"
                        )));
                    }
                    out.insert(key, value);
                }
                Ok(Pairs(out))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> core::result::Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Header;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> core::result::Result<Header, A::Error> {
                let mut out = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    let entry = match name.as_str() {
                        METADATA => Entry::Metadata(map.next_value()?),
                        _ => Entry::Tensor(map.next_value()?),
                    };
                    // One more is the metadata.
                    if out.len() > MAX_TENSORS {
                        return Err(A::Error::custom(format_args!("more than {MAX_TENSORS} tensors")));
                    }
                    out.push((name, entry));
                }
                Ok(Header(out))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// Bits per element of each type, and the encoding where it can hold weights.
fn dtype(name: &str) -> Option<(Encoding, u64)> {
    Some(match name {
        "F32" => (Encoding::F32, 32),
        "F16" => (Encoding::F16, 16),
        "BF16" => (Encoding::BF16, 16),
        "U8" => (Encoding::U8, 8),
        "F8_E4M3" => (Encoding::F8_E4M3, 8),
        "F8_E5M2" => (Encoding::F8_E5M2, 8),
        "BOOL" | "I8" | "F8_E8M0" => (Encoding::Other, 8),
        "I16" | "U16" => (Encoding::Other, 16),
        "I32" | "U32" => (Encoding::Other, 32),
        "I64" | "U64" | "F64" | "C64" => (Encoding::Other, 64),
        _ => return None,
    })
}

fn index(entries: Vec<(String, Entry)>, data_start: u64) -> Result<Index> {
    let mut meta = None;
    let mut tensors = Vec::new();
    for (name, entry) in entries {
        let stored = match entry {
            Entry::Tensor(stored) => stored,
            Entry::Metadata(pairs) => {
                let pairs = pairs.0.into_iter().map(|(key, value)| (key, Value::Str(value)));
                if meta.replace(Meta(pairs.collect())).is_some() {
                    bail!(BadHeader, "{METADATA} appears twice");
                }
                continue;
            }
        };
        if name.is_empty() || name.len() as u64 > MAX_NAME {
            bail!(BadHeader, "a tensor has a name of {} bytes, accepted are 1 to {MAX_NAME}", name.len());
        }
        tensors.push(tensor(name, stored, data_start)?);
    }
    // Overlapping or empty ranges are refused below, so equal offsets never matter.
    tensors.sort_by_key(|t| t.offset);
    let file_len = check_layout(&tensors, data_start)?;
    let covered = tensors.iter().map(|t| t.bytes).sum::<u64>();
    if data_start + covered != file_len {
        bail!(BadHeader, "{} bytes of data belong to no tensor", file_len - data_start - covered);
    }
    Ok(Index {
        container: Container::Safetensors,
        meta: meta.unwrap_or_default(),
        tensors,
        data_start,
        file_len,
    })
}

fn tensor(name: String, stored: Stored, data_start: u64) -> Result<TensorInfo> {
    let Stored { dtype: type_name, shape: Shape(shape), data_offsets: (begin, end) } = stored;
    let Some((encoding, bits)) = dtype(&type_name) else {
        bail!(UnsupportedFormat, "tensor {name:?} has the unsupported type {:?}", super::brief(type_name))
    };
    if shape.contains(&0) {
        bail!(BadHeader, "tensor {name:?} has an extent of 0");
    }
    let Some(bytes) =
        shape.iter().try_fold(1u64, |n, extent| n.checked_mul(*extent)).and_then(|n| n.checked_mul(bits / 8))
    else {
        bail!(TooLarge, "tensor {name:?} has more than 2^64 bytes")
    };
    if end.checked_sub(begin) != Some(bytes) {
        bail!(
            BadHeader,
            "tensor {name:?} of type {type_name} and shape {shape:?} needs {bytes} bytes, has {begin}..{end}"
        );
    }
    let Some(offset) = data_start.checked_add(begin) else {
        bail!(TooLarge, "tensor {name:?} begins beyond 2^64")
    };
    Ok(TensorInfo { name, shape, encoding, offset, bytes })
}

impl Encoding {
    /// The type name in safetensors files, for [`super::write`].
    pub(super) const fn safetensors_type(self) -> Option<&'static str> {
        match self {
            Self::F32 => Some("F32"),
            Self::F16 => Some("F16"),
            Self::BF16 => Some("BF16"),
            Self::U8 => Some("U8"),
            Self::F8_E4M3 => Some("F8_E4M3"),
            Self::F8_E5M2 => Some("F8_E5M2"),
            _ => None,
        }
    }
}
