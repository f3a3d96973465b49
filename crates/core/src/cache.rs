//! Keys and values of past tokens, in pages, under one [`KvType`].
//!
//! Pages of [`PAGE`] positions are allocated as the text grows, so a long context costs memory only when
//! it is used, and never moves. The page is also the unit of attention arithmetic (see
//! [`crate::model`]'s attention), which is why its size is part of the numeric specification. Inside a
//! page, keys lie so that one load serves [`TILE`] positions, values so that it serves `TILE` elements:
//!
//! ```text
//! keys    (head, PAGE / TILE, dim, TILE positions)      dim padded to a multiple of TILE
//! values  (head, dim / TILE, PAGE, TILE elements)
//! I8: keys (head, PAGE / TILE, dim / 2, TILE positions, 2), values (head, dim / TILE, PAGE / 2, TILE elements, 2)
//!     scales (head, 2, PAGE) f32: keys', values'
//! ```
//! Int8 codes lie in pairs, because integer dot products take them so ([`crate::simd::Pairs`]).
//!
//! Invariant: positions `0..len` of every slot are written; what lies beyond is finite and is replaced by
//! the next write, so rewinding is setting `len`.

use alloc::vec::Vec;

use crate::{
    Result, bail,
    math::{f32_to_f16, finite_f16_to_f32},
    simd::{HALVES, Halves},
};

/// Positions per page.
pub const PAGE: usize = 256;
/// Positions (of keys) or elements (of values) that lie side by side.
pub const TILE: usize = 16;

/// How cached keys and values are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum KvType {
    /// 4 bytes a value: the reference.
    F32,
    /// 2 bytes a value, rounded to nearest even.
    #[default]
    F16,
    /// 1 byte a value and one f32 scale (absmax / 127) per row of a head.
    I8,
}

impl KvType {
    /// Every type.
    pub const ALL: [Self; 3] = [Self::F32, Self::F16, Self::I8];

    /// The name users see: `f32`, `f16`, `i8`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::I8 => "i8",
        }
    }

    /// The inverse of [`KvType::name`].
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kv| kv.name() == name)
    }

    /// Bytes of a stored value.
    pub const fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
            Self::I8 => 1,
        }
    }

    /// How many elements (of keys) or positions (of values) lie side by side in a lane.
    const fn together(self) -> usize {
        match self {
            Self::F32 | Self::F16 => 1,
            Self::I8 => 2,
        }
    }

    /// Where in a run of rows of [`TILE`] lanes (row, lane) lies.
    const fn place(self, row: usize, lane: usize) -> usize {
        let n = self.together();
        (row - row % n) * TILE + lane * n + row % n
    }

    /// Bytes that one row of a head of `dim` values costs, padding and scale included.
    pub const fn row_bytes(self, dim: usize) -> usize {
        let scale = if matches!(self, Self::I8) { 4 } else { 0 };
        dim.next_multiple_of(TILE) * self.bytes() + scale
    }
}

/// What a caller asks of the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum KvChoice {
    /// The codes that the model was trained to cache, where it has some; else the caller's usual type.
    #[default]
    Auto,
    /// Those codes, by the name of the models that have them: BitNet a4.8.
    A48,
    /// This type, and no codes of the model's own.
    Type(KvType),
}

impl KvChoice {
    /// The inverse of the names of [`KvType`], and `a48`.
    pub fn from_name(name: &str) -> Option<Self> {
        if name == "a48" { Some(Self::A48) } else { KvType::from_name(name).map(Self::Type) }
    }
}

impl From<KvType> for KvChoice {
    fn from(kv: KvType) -> Self {
        Self::Type(kv)
    }
}

/// A stored value that is read as a float: f32 or f16 bits.
pub trait Stored {
    /// Bytes of one.
    const BYTES: usize;

    /// Reads `N` neighbours; `bytes` must hold them.
    fn load<const N: usize>(bytes: &[u8]) -> [f32; N];
}

/// [`KvType::F32`].
#[derive(Clone, Copy)]
pub struct F32;
/// [`KvType::F16`], converted by `H`.
pub struct F16<H>(core::marker::PhantomData<H>);

impl Stored for F32 {
    const BYTES: usize = 4;

    #[inline(always)]
    fn load<const N: usize>(bytes: &[u8]) -> [f32; N] {
        let chunks = &bytes.as_chunks::<4>().0[..N];
        core::array::from_fn(|i| f32::from_le_bytes(chunks[i]))
    }
}

impl<H: Halves> Stored for F16<H> {
    const BYTES: usize = 2;

    #[inline(always)]
    fn load<const N: usize>(bytes: &[u8]) -> [f32; N] {
        // Only finite values are stored.
        if N == HALVES {
            let all = H::load(bytes);
            return core::array::from_fn(|i| all[i]);
        }
        let chunks = &bytes.as_chunks::<2>().0[..N];
        core::array::from_fn(|i| finite_f16_to_f32(u16::from_le_bytes(chunks[i])))
    }
}

/// One head of one page. See the module for the layout.
#[derive(Clone, Copy)]
pub struct HeadPage<'a> {
    /// `(PAGE / TILE, dim, TILE)`; int8 `(PAGE / TILE, dim / 2, TILE, 2)`.
    pub keys: &'a [u8],
    /// `(dim / TILE, PAGE, TILE)`; int8 `(dim / TILE, PAGE / 2, TILE, 2)`.
    pub values: &'a [u8],
    /// `(PAGE)` each, for [`KvType::I8`]; else empty.
    pub scales: [&'a [f32]; 2],
}

/// One slot's part of a page.
struct Page {
    bytes: Vec<u8>,
    scales: Vec<f32>,
}

/// The key/value heads of one slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeadShape {
    /// How many.
    pub heads: usize,
    /// Values of each.
    pub dim: usize,
}

impl HeadShape {
    /// Values of a head with padding.
    pub fn padded(self) -> usize {
        self.dim.next_multiple_of(TILE)
    }

    fn head_values(self) -> usize {
        PAGE * self.padded()
    }

    fn page_bytes(self, kv: KvType) -> usize {
        2 * self.heads * self.head_values() * kv.bytes()
    }

    fn page_scales(self, kv: KvType) -> usize {
        if kv == KvType::I8 { 2 * self.heads * PAGE } else { 0 }
    }
}

/// The cache of one sequence: a slot for each state of the model's program.
pub struct KvCache {
    kv: KvType,
    capacity: usize,
    len: usize,
    slots: Vec<HeadShape>,
    /// `pages[page][slot]`.
    pages: Vec<Vec<Page>>,
}

impl KvCache {
    /// An empty cache that will hold at most `capacity` positions.
    pub fn new(kv: KvType, slots: Vec<HeadShape>, capacity: usize) -> Self {
        Self { kv, capacity, len: 0, slots, pages: Vec::new() }
    }

    /// Positions written so far.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Positions there can be.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// How values are stored.
    pub fn kv(&self) -> KvType {
        self.kv
    }

    /// Bytes held by pages now.
    pub fn bytes(&self) -> usize {
        let page = self.slots.iter().map(|slot| slot.page_bytes(self.kv) + 4 * slot.page_scales(self.kv));
        self.pages.len() * page.sum::<usize>()
    }

    /// Forgets everything from `position` on.
    pub fn rewind(&mut self, position: usize) {
        self.len = self.len.min(position);
    }

    /// Makes room for `n` more positions.
    ///
    /// # Errors
    /// `context-full` beyond the capacity, `out-of-memory` when pages cannot be had.
    pub fn reserve(&mut self, n: usize) -> Result<()> {
        let want = self.len.saturating_add(n);
        if want > self.capacity {
            bail!(ContextFull, "{want} tokens do not fit a context of {}", self.capacity);
        }
        // Where nothing is kept by position, nothing grows.
        let keeps = self.slots.iter().any(|slot| slot.heads > 0);
        while keeps && self.pages.len() * PAGE < want {
            let mut page = Vec::new();
            page.try_reserve_exact(self.slots.len())?;
            for slot in &self.slots {
                let (bytes, scales) = (zeros(slot.page_bytes(self.kv))?, zeros(slot.page_scales(self.kv))?);
                page.push(Page { bytes, scales });
            }
            self.pages.push(page);
        }
        Ok(())
    }

    /// Writes the key and value (heads · dim) of `position`, for which room was [reserved](Self::reserve).
    ///
    /// # Errors
    /// `bad-data` for NaN, of a model gone wrong: not every type could store it, and it must not get lost.
    pub fn write(&mut self, slot: usize, position: usize, key: &[f32], value: &[f32]) -> Result<()> {
        if key.iter().chain(value).any(|x| x.is_nan()) {
            bail!(BadData, "the attention's keys or values at position {position} are not numbers");
        }
        let (kv, shape) = (self.kv, self.slots[slot]);
        let (dim, padded, size) = (shape.dim, shape.padded(), shape.head_values());
        let page = &mut self.pages[position / PAGE][slot];
        let at = position % PAGE;
        let (keys, values) = page.bytes.split_at_mut(shape.heads * size * kv.bytes());
        for head in 0..shape.heads {
            let first = head * size;
            let key = &key[head * dim..][..dim];
            let place = |d: usize| first + at / TILE * padded * TILE + kv.place(d, at % TILE);
            let scale = put(kv, key, keys, place);
            let value = &value[head * dim..][..dim];
            let place = |d: usize| first + d / TILE * PAGE * TILE + kv.place(at, d % TILE);
            let scales = [scale, put(kv, value, values, place)];
            if kv == KvType::I8 {
                for (i, scale) in scales.into_iter().enumerate() {
                    page.scales[(head * 2 + i) * PAGE + at] = scale;
                }
            }
        }
        Ok(())
    }

    /// Copies the key and value of `position` from one slot to another of the same shape.
    ///
    /// # Panics
    /// If the shapes differ.
    pub fn copy(&mut self, from: usize, to: usize, position: usize) {
        let (kv, shape) = (self.kv, self.slots[from]);
        assert_eq!(shape, self.slots[to]);
        let (padded, size) = (shape.padded(), shape.head_values());
        let (page, at) = (&mut self.pages[position / PAGE], position % PAGE);
        let Ok([from, to]) = page.get_disjoint_mut([from, to]) else { return };
        for head in 0..shape.heads {
            for d in 0..shape.dim {
                let key = head * size + at / TILE * padded * TILE + kv.place(d, at % TILE);
                let value = (shape.heads + head) * size + d / TILE * PAGE * TILE + kv.place(at, d % TILE);
                for place in [key, value] {
                    let bytes = place * kv.bytes()..(place + 1) * kv.bytes();
                    to.bytes[bytes.clone()].copy_from_slice(&from.bytes[bytes]);
                }
            }
            if kv == KvType::I8 {
                for i in [0, 1] {
                    let scale = (head * 2 + i) * PAGE + at;
                    to.scales[scale] = from.scales[scale];
                }
            }
        }
    }

    /// Counts `n` written positions as past.
    pub fn advance(&mut self, n: usize) {
        self.len += n;
    }

    /// One head of one page of a slot.
    pub fn head(&self, slot: usize, page: usize, head: usize) -> HeadPage<'_> {
        let (page, shape) = (&self.pages[page][slot], self.slots[slot]);
        let bytes = shape.head_values() * self.kv.bytes();
        let (keys, values) = page.bytes.split_at(shape.heads * bytes);
        let scales = |i: usize| match self.kv {
            KvType::I8 => &page.scales[(head * 2 + i) * PAGE..][..PAGE],
            _ => &[],
        };
        HeadPage {
            keys: &keys[head * bytes..][..bytes],
            values: &values[head * bytes..][..bytes],
            scales: [scales(0), scales(1)],
        }
    }
}

/// Stores element `d` of a row at `place(d)`, and returns what codes are to be multiplied by.
fn put(kv: KvType, row: &[f32], out: &mut [u8], place: impl Fn(usize) -> usize) -> f32 {
    let row_places = row.iter().enumerate().map(|(d, &x)| (place(d), x));
    match kv {
        KvType::F32 => {
            for (i, x) in row_places {
                out.as_chunks_mut::<4>().0[i] = x.to_le_bytes();
            }
        }
        KvType::F16 => {
            for (i, x) in row_places {
                // Saturated, so that what is stored stays finite.
                out.as_chunks_mut::<2>().0[i] = f32_to_f16(x.clamp(-65504.0, 65504.0)).to_le_bytes();
            }
        }
        KvType::I8 => {
            let top = row.iter().fold(0.0f32, |m, x| if x.abs() > m { x.abs() } else { m });
            let inverse = if top > 0.0 { 127.0 / top } else { 0.0 };
            for (i, x) in row_places {
                out[i] = libm::rintf(x * inverse) as i8 as u8;
            }
            return top / 127.0;
        }
    }
    1.0
}

fn zeros<T: Clone + Default>(len: usize) -> Result<Vec<T>> {
    let mut zeros = Vec::new();
    zeros.try_reserve_exact(len)?;
    zeros.resize(len, T::default());
    Ok(zeros)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::PortableHalves as Portable;

    #[test]
    fn a_row_lies_where_the_layout_says() {
        let row: Vec<f32> = (0..40).map(|i| (i as f32 - 19.5) * 0.37).collect();
        for (kv, tolerance) in [(KvType::F32, 0.0), (KvType::F16, 0.01), (KvType::I8, 0.05)] {
            let mut cache = KvCache::new(kv, [HeadShape { heads: 1, dim: 40 }; 2].into(), 600);
            cache.reserve(300).unwrap();
            cache.write(1, 299, &row, &row).unwrap();
            let error = cache.write(1, 298, &row, &[f32::NAN; 40]).unwrap_err();
            assert_eq!(error.kind, crate::ErrorKind::BadData);
            cache.advance(300);
            let head = cache.head(1, 1, 0);
            let at = 299 - PAGE;
            let one = |bytes: &[u8], i: usize| match kv {
                KvType::F32 => F32::load::<1>(&bytes[i * 4..])[0],
                KvType::F16 => F16::<Portable>::load::<1>(&bytes[i * 2..])[0],
                KvType::I8 => f32::from(bytes[i] as i8),
            };
            for (d, want) in row.iter().enumerate() {
                let scale = |i: usize| head.scales[i].get(at).copied().unwrap_or(1.0);
                let key = one(head.keys, at / TILE * 48 * TILE + kv.place(d, at % TILE)) * scale(0);
                let value = one(head.values, d / TILE * PAGE * TILE + kv.place(at, d % TILE)) * scale(1);
                assert!((key - want).abs() <= tolerance, "{kv:?}: {key} {want}");
                assert!((value - want).abs() <= tolerance, "{kv:?}: {value} {want}");
            }
        }
    }

    #[test]
    fn a_copy_is_what_was_written() {
        let shape = HeadShape { heads: 2, dim: 20 };
        let row = |seed: usize| (0..40).map(|i| ((i * 37 + seed) % 41) as f32 - 20.0).collect::<Vec<_>>();
        for kv in KvType::ALL {
            let mut cache = KvCache::new(kv, [shape; 3].into(), 300);
            cache.reserve(300).unwrap();
            for position in [0, 17, 255, 299] {
                let (key, value) = (row(position), row(position + 5));
                cache.write(0, position, &key, &value).unwrap();
                cache.write(2, position, &key, &value).unwrap();
                cache.copy(0, 1, position);
            }
            for page in &cache.pages {
                assert!(page[1].bytes == page[2].bytes && page[1].scales == page[2].scales, "{kv:?}");
            }
        }
    }

    #[test]
    fn a_full_context_is_an_error_and_rewinding_makes_room() {
        let mut cache = KvCache::new(KvType::F16, [HeadShape { heads: 1, dim: 16 }].into(), 300);
        cache.reserve(300).unwrap();
        cache.advance(300);
        let error = cache.reserve(1).unwrap_err();
        assert_eq!(error.kind, crate::ErrorKind::ContextFull);
        cache.rewind(10);
        assert_eq!(cache.len(), 10);
        cache.reserve(290).unwrap();
    }
}
