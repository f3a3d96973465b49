//! GGUF versions 2 and 3 (ggml `docs/gguf.md`): header, key/values, tensor list → [`Index`].
//!
//! Hostile until checked. Invariant: memory used is bounded by a small multiple of the bytes *present*,
//! never by a number that the file claims: a count is believed only after the bytes that it needs at least
//! were seen.

use alloc::{string::String, vec::Vec};

use super::{Container, Index, MAX_HEADER, MAX_NAME, Meta, Probe, TensorInfo, Value, check_layout};
use crate::{Error, ErrorKind, Result, bail, format::Encoding};

/// First four bytes of a file.
pub const MAGIC: [u8; 4] = *b"GGUF";
/// Most key/value pairs that are accepted.
pub const MAX_KEYS: u64 = 1 << 16;
/// Most tensors that are accepted.
pub const MAX_TENSORS: u64 = 1 << 17;
/// Most elements of one metadata array that are accepted (vocabularies have some 10⁵).
pub const MAX_ARRAY: u64 = 1 << 22;
/// Largest accepted `general.alignment`.
pub const MAX_ALIGNMENT: u64 = 1 << 20;

/// Bytes that metadata may take in memory, beside one for each byte of the header: some types are wider here than
/// in a file (a list of bytes eight times).
const MAX_WIDENED: u64 = 32 << 20;

/// The shortest key/value: key length, one byte of key, type, one byte of value.
const KEY_MIN: u64 = 8 + 1 + 4 + 1;
/// The shortest tensor entry: name length, one byte of name, dimension count, one dimension, type, offset.
const TENSOR_MIN: u64 = 8 + 1 + 4 + 8 + 4 + 8;

/// Why parsing stopped.
enum Stop {
    /// The prefix must reach at least this far.
    Need(u64),
    Bad(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Bad(error)
    }
}

impl From<alloc::collections::TryReserveError> for Stop {
    fn from(error: alloc::collections::TryReserveError) -> Self {
        Self::Bad(error.into())
    }
}

type Parse<T> = core::result::Result<T, Stop>;

/// See [`super::probe`].
pub(super) fn probe(prefix: &[u8]) -> Result<Probe> {
    let left = prefix.len() as u64 + MAX_WIDENED;
    match parse(&mut Reader { bytes: prefix, at: 0, left }) {
        Ok(index) => Ok(Probe::Ready(index)),
        Err(Stop::Bad(error)) => Err(error),
        Err(Stop::Need(least)) if least > MAX_HEADER => {
            bail!(TooLarge, "GGUF header needs more than the accepted {MAX_HEADER} bytes")
        }
        // Doubling keeps the work of all probes together linear in the header's length.
        Err(Stop::Need(least)) => {
            Ok(Probe::Need(least.max((prefix.len() as u64 * 2).clamp(1 << 16, MAX_HEADER))))
        }
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Bytes of memory that metadata may still take.
    left: u64,
}

impl<'a> Reader<'a> {
    /// Makes sure that `n` more bytes are there before anything is sized by them.
    fn want(&self, n: u64) -> Parse<()> {
        let end = (self.at as u64).saturating_add(n);
        if end > self.bytes.len() as u64 { Err(Stop::Need(end)) } else { Ok(()) }
    }

    /// Room for `count` values, if the header is long enough to justify it.
    fn room<T>(&mut self, key: &str, count: u64) -> Parse<Vec<T>> {
        let Some(left) = self.left.checked_sub(count.saturating_mul(size_of::<T>() as u64)) else {
            let detail = alloc::format!(
                "metadata key {key:?}: the metadata would take too much memory for its length"
            );
            return Err(Error::new(ErrorKind::TooLarge, detail).into());
        };
        self.left = left;
        let mut out = Vec::new();
        out.try_reserve_exact(count as usize)?;
        Ok(out)
    }

    fn take(&mut self, n: u64) -> Parse<&'a [u8]> {
        self.want(n)?;
        let part = &self.bytes[self.at..self.at + n as usize];
        self.at += n as usize;
        Ok(part)
    }

    fn array<const N: usize>(&mut self) -> Parse<[u8; N]> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N as u64)?);
        Ok(out)
    }

    fn u32(&mut self) -> Parse<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Parse<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A name: short, not empty, UTF-8.
    fn name(&mut self, what: &str) -> Parse<&'a str> {
        let len = self.u64()?;
        if len == 0 || len > MAX_NAME {
            return Err(Error::new(
                ErrorKind::BadHeader,
                alloc::format!(
                    "{what} at byte {} has a name of {len} bytes, accepted are 1 to {MAX_NAME}",
                    self.at
                ),
            )
            .into());
        }
        let at = self.at;
        core::str::from_utf8(self.take(len)?).map_err(|_| {
            Error::new(
                ErrorKind::BadHeader,
                alloc::format!("{what} at byte {at} has a name that is not UTF-8"),
            )
            .into()
        })
    }

    fn text(&mut self, key: &str) -> Parse<String> {
        let len = self.u64()?;
        let bytes = self.take(len)?;
        let text = core::str::from_utf8(bytes)
            .map_err(|_| Error::new(ErrorKind::BadHeader, alloc::format!("text in {key:?} is not UTF-8")))?;
        let mut out = String::new();
        out.try_reserve_exact(text.len())?;
        out.push_str(text);
        Ok(out)
    }
}

/// Scalar types of GGUF values by their id.
#[derive(Clone, Copy, PartialEq)]
enum Scalar {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    U64,
    I64,
    F64,
}

const TEXT: u32 = 8;
const ARRAY: u32 = 9;

impl Scalar {
    fn from_id(id: u32) -> Option<Self> {
        Some(match id {
            0 => Self::U8,
            1 => Self::I8,
            2 => Self::U16,
            3 => Self::I16,
            4 => Self::U32,
            5 => Self::I32,
            6 => Self::F32,
            7 => Self::Bool,
            10 => Self::U64,
            11 => Self::I64,
            12 => Self::F64,
            _ => return None,
        })
    }

    fn bytes(self) -> usize {
        match self {
            Self::U8 | Self::I8 | Self::Bool => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }

    fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F64)
    }

    /// `bytes` has exactly [`Self::bytes`] bytes. Booleans count as 0 and 1.
    fn int(self, bytes: &[u8], key: &str) -> Result<i64> {
        let mut wide = [0; 8];
        wide[..bytes.len()].copy_from_slice(bytes);
        let value = u64::from_le_bytes(wide);
        Ok(match self {
            Self::I8 => i64::from(value as u8 as i8),
            Self::I16 => i64::from(value as u16 as i16),
            Self::I32 => i64::from(value as u32 as i32),
            Self::U64 => match i64::try_from(value) {
                Ok(value) => value,
                Err(_) => bail!(
                    TooLarge,
                    "metadata key {key:?} has the integer {value}, accepted is up to 2^63 - 1"
                ),
            },
            Self::Bool if value > 1 => {
                bail!(BadHeader, "metadata key {key:?} has a boolean of {value}")
            }
            _ => value as i64,
        })
    }

    fn float(self, bytes: &[u8]) -> f64 {
        let mut wide = [0; 8];
        wide[..bytes.len()].copy_from_slice(bytes);
        match self {
            Self::F32 => f64::from(f32::from_bits(u64::from_le_bytes(wide) as u32)),
            _ => f64::from_le_bytes(wide),
        }
    }
}

fn unknown_type(key: &str, id: u32) -> Stop {
    Error::new(ErrorKind::BadHeader, alloc::format!("metadata key {key:?} has the unknown value type {id}"))
        .into()
}

fn value(r: &mut Reader<'_>, key: &str) -> Parse<Value> {
    let id = r.u32()?;
    if id == TEXT {
        return r.text(key).map(Value::Str);
    }
    if id == ARRAY {
        return array(r, key);
    }
    let scalar = Scalar::from_id(id).ok_or_else(|| unknown_type(key, id))?;
    let bytes = r.take(scalar.bytes() as u64)?;
    Ok(match scalar {
        Scalar::Bool => Value::Bool(scalar.int(bytes, key)? == 1),
        s if s.is_float() => Value::Float(s.float(bytes)),
        s => Value::Int(s.int(bytes, key)?),
    })
}

fn array(r: &mut Reader<'_>, key: &str) -> Parse<Value> {
    let id = r.u32()?;
    let count = r.u64()?;
    if count > MAX_ARRAY {
        return Err(Error::new(
            ErrorKind::TooLarge,
            alloc::format!("metadata key {key:?} has {count} elements, accepted are {MAX_ARRAY}"),
        )
        .into());
    }
    if id == TEXT {
        // Each text has at least its length: this bounds what is reserved by what is there.
        r.want(count * 8)?;
        let mut out = r.room::<String>(key, count)?;
        for _ in 0..count {
            out.push(r.text(key)?);
        }
        return Ok(Value::Strs(out));
    }
    if id == ARRAY {
        return Err(Error::new(
            ErrorKind::UnsupportedFormat,
            alloc::format!("metadata key {key:?} has an array of arrays"),
        )
        .into());
    }
    let scalar = Scalar::from_id(id).ok_or_else(|| unknown_type(key, id))?;
    let elements = r.take(count * scalar.bytes() as u64)?.chunks_exact(scalar.bytes());
    if scalar.is_float() {
        let mut out = r.room::<f32>(key, count)?;
        out.extend(elements.map(|bytes| scalar.float(bytes) as f32));
        Ok(Value::Floats(out))
    } else {
        let mut out = r.room::<i64>(key, count)?;
        for bytes in elements {
            out.push(scalar.int(bytes, key)?);
        }
        Ok(Value::Ints(out))
    }
}

/// A tensor entry as the file has it: what type id means is settled when all are known.
struct Entry<'a> {
    name: &'a str,
    /// Innermost first, as stored.
    extents: Vec<u64>,
    elements: u64,
    type_id: u32,
    /// From the start of the data.
    offset: u64,
}

fn entry<'a>(r: &mut Reader<'a>) -> Parse<Entry<'a>> {
    let name = r.name("tensor")?;
    let dims = r.u32()?;
    if !(1..=4).contains(&dims) {
        return Err(Error::new(
            ErrorKind::BadHeader,
            alloc::format!("tensor {name:?} has {dims} dimensions, accepted are 1 to 4"),
        )
        .into());
    }
    let mut extents = Vec::with_capacity(dims as usize);
    let mut elements = 1u64;
    for _ in 0..dims {
        let extent = r.u64()?;
        if extent == 0 {
            return Err(Error::new(
                ErrorKind::BadHeader,
                alloc::format!("tensor {name:?} has an extent of 0"),
            )
            .into());
        }
        elements = elements.checked_mul(extent).ok_or_else(|| {
            Error::new(ErrorKind::TooLarge, alloc::format!("tensor {name:?} has more than 2^64 elements"))
        })?;
        extents.push(extent);
    }
    Ok(Entry { name, extents, elements, type_id: r.u32()?, offset: r.u64()? })
}

fn parse(r: &mut Reader<'_>) -> Parse<Index> {
    let magic: [u8; 4] = r.array()?;
    if magic != MAGIC {
        return Err(Error::new(ErrorKind::BadMagic, "not a GGUF file").into());
    }
    let version = r.u32()?;
    if !(2..=3).contains(&version) {
        let hint = if version.swap_bytes() <= 3 { " (a big-endian file)" } else { "" };
        return Err(Error::new(
            ErrorKind::UnsupportedFormat,
            alloc::format!("GGUF version {version}{hint}, supported are 2 and 3"),
        )
        .into());
    }
    let tensors = r.u64()?;
    let keys = r.u64()?;
    if tensors > MAX_TENSORS || keys > MAX_KEYS {
        return Err(Error::new(
            ErrorKind::TooLarge,
            alloc::format!(
                "GGUF header with {tensors} tensors and {keys} keys, accepted are {MAX_TENSORS} and {MAX_KEYS}"
            ),
        )
        .into());
    }
    r.want(keys * KEY_MIN + tensors * TENSOR_MIN)?;

    let mut meta = Meta::default();
    for _ in 0..keys {
        let key = r.name("metadata key")?;
        let value = value(r, key)?;
        meta.insert(key.into(), value)?;
    }
    let mut entries = Vec::new();
    entries.try_reserve_exact(tensors as usize)?;
    for _ in 0..tensors {
        entries.push(entry(r)?);
    }
    Ok(index(meta, entries, r.at as u64)?)
}

fn index(meta: Meta, mut entries: Vec<Entry<'_>>, header_end: u64) -> Result<Index> {
    let alignment = match meta.opt_int("general.alignment")? {
        None => 32,
        Some(a) if a > 0 && a as u64 <= MAX_ALIGNMENT && (a as u64).is_power_of_two() => a as u64,
        Some(a) => {
            bail!(BadHeader, "general.alignment is {a}, accepted are powers of two up to {MAX_ALIGNMENT}")
        }
    };
    if entries.is_empty() {
        // Without tensors (vocabulary-only files) nothing needs the padding, and it may be missing.
        return Ok(Index {
            container: Container::Gguf,
            meta,
            tensors: Vec::new(),
            data_start: header_end,
            file_len: header_end,
        });
    }
    let data_start = header_end.next_multiple_of(alignment);
    for e in &entries {
        if e.offset % alignment != 0 {
            bail!(BadHeader, "tensor {:?} begins at {}, not a multiple of {alignment}", e.name, e.offset);
        }
    }
    entries.sort_by_key(|e| e.offset);
    let types = super::types::resolve(
        &meta,
        alignment,
        &Vec::from_iter(entries.iter().enumerate().map(|(i, e)| super::types::Stored {
            name: e.name,
            type_id: e.type_id,
            cols: e.extents[0],
            rows: e.elements / e.extents[0],
            distance: entries.get(i + 1).map(|next| next.offset - e.offset),
        })),
    )?;
    let mut tensors = Vec::new();
    tensors.try_reserve_exact(entries.len())?;
    for (e, (encoding, bytes)) in entries.into_iter().zip(types) {
        let Some(offset) = data_start.checked_add(e.offset) else {
            bail!(TooLarge, "tensor {:?} begins beyond 2^64", e.name)
        };
        let mut shape = e.extents;
        shape.reverse();
        tensors.push(TensorInfo { name: e.name.into(), shape, encoding, offset, bytes });
    }
    let file_len = check_layout(&tensors, data_start)?;
    Ok(Index { container: Container::Gguf, meta, tensors, data_start, file_len })
}

impl Encoding {
    /// The type id in GGUF files, for [`super::write`].
    pub(super) fn gguf_type(self) -> Option<u32> {
        super::types::KNOWN.iter().find(|(_, e)| *e == self).map(|(id, _)| *id)
    }
}
