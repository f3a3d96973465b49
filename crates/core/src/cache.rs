//! Keys and values of past tokens, in pages, under one [`KvType`].
//!
//! Pages of [`PAGE`] positions are allocated as the text grows, so a long context costs memory only when
//! it is used, and never moves. The page is also the unit of attention arithmetic (see
//! [`crate::model`]'s attention), which is why its size is part of the numeric specification.
//!
//! Invariant: positions `0..len` of every slot are written; rows at and beyond `len` are garbage that
//! the next write replaces, so rewinding is setting `len`.

use alloc::vec::Vec;

use crate::{
    Result, bail,
    math::{f16_to_f32, f32_to_f16},
};

/// Positions per page.
pub const PAGE: usize = 256;

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
        [Self::F32, Self::F16, Self::I8].into_iter().find(|kv| kv.name() == name)
    }

    /// Bytes of one row of `dim` values.
    pub const fn row_bytes(self, dim: usize) -> usize {
        match self {
            Self::F32 => 4 * dim,
            Self::F16 => 2 * dim,
            Self::I8 => dim + 4,
        }
    }

    /// Stores `row` (dim) into `out` ([`KvType::row_bytes`]).
    fn write(self, row: &[f32], out: &mut [u8]) {
        match self {
            Self::F32 => {
                for (o, x) in out.as_chunks_mut::<4>().0.iter_mut().zip(row) {
                    *o = x.to_le_bytes();
                }
            }
            Self::F16 => {
                for (o, &x) in out.as_chunks_mut::<2>().0.iter_mut().zip(row) {
                    *o = f32_to_f16(x).to_le_bytes();
                }
            }
            Self::I8 => {
                let top = row.iter().fold(0.0f32, |m, x| if x.abs() > m { x.abs() } else { m });
                let inverse = if top > 0.0 { 127.0 / top } else { 0.0 };
                let (scale, codes) = out.split_at_mut(4);
                scale.copy_from_slice(&(top / 127.0).to_le_bytes());
                for (o, &x) in codes.iter_mut().zip(row) {
                    *o = libm::rintf(x * inverse) as i8 as u8;
                }
            }
        }
    }

    /// Reads a row back as f32.
    #[inline(always)]
    pub fn read(self, bytes: &[u8], row: &mut [f32]) {
        match self {
            Self::F32 => {
                for (x, b) in row.iter_mut().zip(bytes.as_chunks::<4>().0) {
                    *x = f32::from_le_bytes(*b);
                }
            }
            Self::F16 => {
                for (x, b) in row.iter_mut().zip(bytes.as_chunks::<2>().0) {
                    *x = f16_to_f32(u16::from_le_bytes(*b));
                }
            }
            Self::I8 => {
                let scale = f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
                for (x, &b) in row.iter_mut().zip(&bytes[4..]) {
                    *x = (b as i8) as f32 * scale;
                }
            }
        }
    }
}

/// The cache of one sequence: `slots` layers of `heads` key/value heads of `dim` values.
pub struct KvCache {
    kv: KvType,
    heads: usize,
    dim: usize,
    capacity: usize,
    len: usize,
    /// `pages[page][slot]`: keys then values, each `(heads, PAGE, row)`.
    pages: Vec<Vec<Vec<u8>>>,
    slots: usize,
}

impl KvCache {
    /// An empty cache that will hold at most `capacity` positions.
    pub fn new(kv: KvType, slots: usize, heads: usize, dim: usize, capacity: usize) -> Self {
        Self { kv, heads, dim, capacity, len: 0, pages: Vec::new(), slots }
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

    /// How rows are stored.
    pub fn kv(&self) -> KvType {
        self.kv
    }

    /// Bytes held by pages now.
    pub fn bytes(&self) -> usize {
        self.pages.len() * self.slots * self.page_bytes()
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
        let want = self.len + n;
        if want > self.capacity {
            bail!(ContextFull, "{want} tokens do not fit a context of {}", self.capacity);
        }
        while self.pages.len() * PAGE < want {
            let mut page = Vec::new();
            page.try_reserve_exact(self.slots)?;
            for _ in 0..self.slots {
                let mut bytes = Vec::new();
                bytes.try_reserve_exact(self.page_bytes())?;
                bytes.resize(self.page_bytes(), 0);
                page.push(bytes);
            }
            self.pages.push(page);
        }
        Ok(())
    }

    /// Writes the key and value (heads · dim) of `position`, for which room was [reserved](Self::reserve).
    pub fn write(&mut self, slot: usize, position: usize, key: &[f32], value: &[f32]) {
        let row_bytes = self.kv.row_bytes(self.dim);
        let (kv, dim, heads) = (self.kv, self.dim, self.heads);
        let page = &mut self.pages[position / PAGE][slot];
        let (keys, values) = page.split_at_mut(heads * PAGE * row_bytes);
        for head in 0..heads {
            let at = (head * PAGE + position % PAGE) * row_bytes;
            kv.write(&key[head * dim..][..dim], &mut keys[at..at + row_bytes]);
            kv.write(&value[head * dim..][..dim], &mut values[at..at + row_bytes]);
        }
    }

    /// Counts `n` written positions as past.
    pub fn advance(&mut self, n: usize) {
        self.len += n;
    }

    /// The stored keys and values of one head in one page: `(PAGE, row_bytes)` each.
    pub fn page(&self, slot: usize, page: usize, head: usize) -> (&[u8], &[u8]) {
        let bytes = PAGE * self.kv.row_bytes(self.dim);
        let (keys, values) = self.pages[page][slot].split_at(self.heads * bytes);
        (&keys[head * bytes..][..bytes], &values[head * bytes..][..bytes])
    }

    fn page_bytes(&self) -> usize {
        2 * self.heads * PAGE * self.kv.row_bytes(self.dim)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_within_the_type_s_precision() {
        let row: Vec<f32> = (0..64).map(|i| (i as f32 - 31.5) * 0.37).collect();
        for (kv, tolerance) in [(KvType::F32, 0.0), (KvType::F16, 0.01), (KvType::I8, 0.05)] {
            let mut cache = KvCache::new(kv, 2, 1, 64, 600);
            cache.reserve(300).unwrap();
            cache.write(1, 299, &row, &row);
            cache.advance(300);
            let (keys, values) = cache.page(1, 1, 0);
            let at = 43 * kv.row_bytes(64);
            let mut back = [0.0; 64];
            for bytes in [keys, values] {
                kv.read(&bytes[at..], &mut back);
                for (a, b) in row.iter().zip(&back) {
                    assert!((a - b).abs() <= tolerance, "{kv:?}: {a} {b}");
                }
            }
        }
    }

    #[test]
    fn a_full_context_is_an_error_and_rewinding_makes_room() {
        let mut cache = KvCache::new(KvType::F16, 1, 1, 16, 300);
        cache.reserve(300).unwrap();
        cache.advance(300);
        let error = cache.reserve(1).unwrap_err();
        assert_eq!(error.kind, crate::ErrorKind::ContextFull);
        cache.rewind(10);
        assert_eq!(cache.len(), 10);
        cache.reserve(290).unwrap();
    }
}
