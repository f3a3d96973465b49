//! Writers of GGUF version 3 and safetensors headers, for `synth` and `convert`.
//!
//! A header is made first and tells where each tensor goes ([`Header::tensors`], in the order given); the
//! caller then appends [`Header::bytes`] and, per tensor, its data and [`Header::padding`]. Invariant: what is
//! written is read back by [`super::probe`] as the same metadata and tensors.

use alloc::{string::String, vec::Vec};

use super::{MAX_NAME, Meta, TensorInfo, Value, about, check_layout, gguf};
use crate::{Result, bail, format::Encoding};

/// A tensor to be written: name, shape (outermost first) and encoding.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorSpec {
    /// Name in the file.
    pub name: String,
    /// Outermost first; stored shape for packed tensors.
    pub shape: Vec<u64>,
    /// How the data is going to be stored.
    pub encoding: Encoding,
}

/// The beginning of a file and the places of its tensors.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    /// To be written first; the first tensor follows at once.
    pub bytes: Vec<u8>,
    /// In the order given, which is the order in the file.
    pub tensors: Vec<TensorInfo>,
    alignment: u64,
}

impl Header {
    /// Zero bytes to write after the data of `tensor`.
    pub fn padding(&self, tensor: &TensorInfo) -> usize {
        (tensor.bytes.next_multiple_of(self.alignment) - tensor.bytes) as usize
    }

    /// The length of the finished file.
    pub fn file_len(&self) -> u64 {
        self.tensors
            .last()
            .map_or(self.bytes.len() as u64, |t| t.offset + t.bytes.next_multiple_of(self.alignment))
    }
}

/// Makes the header of a GGUF v3 file. Integers are written as `u32` where they fit, else `i32`, else 64 bits
/// wide; arrays of integers as `i32` where they fit; floats as `f32` where that is exact.
///
/// # Errors
/// `shape`, `too-large`, `bad-header` (duplicate or overlong names), `unsupported-format` (an encoding that GGUF
/// does not have), `bad-option` (`general.alignment` that is not a power of two).
pub fn gguf_header(meta: &Meta, tensors: &[TensorSpec]) -> Result<Header> {
    let alignment = match meta.opt_int("general.alignment")? {
        None => 32,
        Some(a) if a > 0 && a as u64 <= gguf::MAX_ALIGNMENT && (a as u64).is_power_of_two() => a as u64,
        Some(a) => bail!(BadOption, "general.alignment is {a}"),
    };
    let mut out = Vec::from(gguf::MAGIC);
    out.extend(3u32.to_le_bytes());
    out.extend((tensors.len() as u64).to_le_bytes());
    out.extend((meta.0.len() as u64).to_le_bytes());
    for (key, value) in &meta.0 {
        text(&mut out, key);
        write_value(&mut out, value);
    }
    let mut places = Vec::new();
    let mut at = 0u64;
    for spec in tensors {
        let info = place(spec, at)?;
        let Some(id) = spec.encoding.gguf_type() else {
            bail!(UnsupportedFormat, "tensor {:?}: GGUF has no {}", spec.name, spec.encoding.name())
        };
        if spec.shape.is_empty() || spec.shape.len() > 4 {
            bail!(Shape, "tensor {:?} has {} dimensions, GGUF has 1 to 4", spec.name, spec.shape.len());
        }
        text(&mut out, &spec.name);
        out.extend((spec.shape.len() as u32).to_le_bytes());
        for extent in spec.shape.iter().rev() {
            out.extend(extent.to_le_bytes());
        }
        out.extend(id.to_le_bytes());
        out.extend(at.to_le_bytes());
        let end = info.bytes.checked_next_multiple_of(alignment).and_then(|n| n.checked_add(at));
        let Some(end) = end else { bail!(TooLarge, "the file would have more than 2^64 bytes") };
        at = end;
        places.push(info);
    }
    if !tensors.is_empty() {
        out.resize(out.len().next_multiple_of(alignment as usize), 0);
    }
    finish(out, places, alignment)
}

/// Makes the header of a safetensors file. Only the texts of `meta` are written.
///
/// # Errors
/// As [`gguf_header`].
pub fn safetensors_header(meta: &Meta, tensors: &[TensorSpec]) -> Result<Header> {
    let quote = |text: &str| serde_json::to_string(text).expect("a string is always JSON");
    let mut json = Vec::new();
    let texts = meta.0.iter().filter_map(|(key, value)| match value {
        Value::Str(text) => Some(alloc::format!("{}:{}", quote(key), quote(text))),
        _ => None,
    });
    let texts = Vec::from_iter(texts);
    if !texts.is_empty() {
        json.push(alloc::format!("\"__metadata__\":{{{}}}", texts.join(",")));
    }
    let mut places = Vec::new();
    let mut at = 0u64;
    for spec in tensors {
        let info = place(spec, at)?;
        let Some(dtype) = spec.encoding.safetensors_type() else {
            bail!(UnsupportedFormat, "tensor {:?}: safetensors has no {}", spec.name, spec.encoding.name())
        };
        let Some(end) = at.checked_add(info.bytes) else {
            bail!(TooLarge, "the file would have more than 2^64 bytes")
        };
        json.push(alloc::format!(
            "{}:{{\"dtype\":\"{dtype}\",\"shape\":{:?},\"data_offsets\":[{at},{end}]}}",
            quote(&spec.name),
            spec.shape
        ));
        at = end;
        places.push(info);
    }
    let mut json = alloc::format!("{{{}}}", json.join(",")).into_bytes();
    json.resize(json.len().next_multiple_of(8), b' ');
    let mut out = Vec::from((json.len() as u64).to_le_bytes());
    out.extend(json);
    finish(out, places, 1)
}

/// The tensor at `offset` of the data part.
fn place(spec: &TensorSpec, offset: u64) -> Result<TensorInfo> {
    if spec.name.is_empty() || spec.name.len() as u64 > MAX_NAME {
        bail!(BadHeader, "a tensor has a name of {} bytes, accepted are 1 to {MAX_NAME}", spec.name.len());
    }
    let cols = spec.shape.last().copied().unwrap_or(1);
    let rows = spec.shape.iter().rev().skip(1).try_fold(1u64, |n, extent| n.checked_mul(*extent));
    let Some(rows) = rows else { bail!(TooLarge, "tensor {:?} has more than 2^64 elements", spec.name) };
    if rows == 0 || cols == 0 {
        bail!(Shape, "tensor {:?} has an extent of 0", spec.name);
    }
    let bytes = spec.encoding.tensor_bytes(rows, cols).map_err(|e| about(&spec.name, e))?;
    Ok(TensorInfo {
        name: spec.name.clone(),
        shape: spec.shape.clone(),
        encoding: spec.encoding,
        offset,
        bytes,
    })
}

fn finish(bytes: Vec<u8>, mut tensors: Vec<TensorInfo>, alignment: u64) -> Result<Header> {
    for tensor in &mut tensors {
        let Some(offset) = tensor.offset.checked_add(bytes.len() as u64) else {
            bail!(TooLarge, "the file would have more than 2^64 bytes")
        };
        tensor.offset = offset;
    }
    check_layout(&tensors, bytes.len() as u64)?;
    Ok(Header { bytes, tensors, alignment })
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

fn write_value(out: &mut Vec<u8>, value: &Value) {
    let id = |out: &mut Vec<u8>, id: u32| out.extend(id.to_le_bytes());
    let array = |out: &mut Vec<u8>, element: u32, len: usize| {
        id(out, 9);
        id(out, element);
        out.extend((len as u64).to_le_bytes());
    };
    match value {
        Value::Int(i) => {
            if let Ok(i) = u32::try_from(*i) {
                id(out, 4);
                out.extend(i.to_le_bytes());
            } else if let Ok(i) = i32::try_from(*i) {
                id(out, 5);
                out.extend(i.to_le_bytes());
            } else {
                id(out, 11);
                out.extend(i.to_le_bytes());
            }
        }
        // A NaN is not equal to itself and takes the wide form, which keeps its bits.
        Value::Float(f) if f64::from(*f as f32) == *f => {
            id(out, 6);
            out.extend((*f as f32).to_le_bytes());
        }
        Value::Float(f) => {
            id(out, 12);
            out.extend(f.to_le_bytes());
        }
        Value::Bool(b) => {
            id(out, 7);
            out.push(u8::from(*b));
        }
        Value::Str(s) => {
            id(out, 8);
            text(out, s);
        }
        Value::Ints(v) => {
            if v.iter().all(|i| i32::try_from(*i).is_ok()) {
                array(out, 5, v.len());
                v.iter().for_each(|i| out.extend((*i as i32).to_le_bytes()));
            } else {
                array(out, 11, v.len());
                v.iter().for_each(|i| out.extend(i.to_le_bytes()));
            }
        }
        Value::Floats(v) => {
            array(out, 6, v.len());
            v.iter().for_each(|f| out.extend(f.to_le_bytes()));
        }
        Value::Strs(v) => {
            array(out, 8, v.len());
            v.iter().for_each(|s| text(out, s));
        }
    }
}
