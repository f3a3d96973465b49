//! The codes of activations, one type for each of the formats that have any.

use alloc::vec::Vec;

use super::nonzero::{Nonzero, NonzeroLists};
use crate::{
    Result,
    math::{amax, clamp, round},
    simd::{Buffer, Plain},
};

/// Columns are padded to a multiple of this: the widest step of any kernel.
pub const ALIGN: usize = 128;

/// Whether planes of 16-bit copies are kept: for instruction sets that multiply nothing narrower.
pub(super) const WIDE: bool = cfg!(target_family = "wasm");

/// Codes of [`ActFormat::Token8`](super::ActFormat::Token8).
#[derive(Clone, Debug, Default)]
pub struct Token8 {
    stride: usize,
    codes: Buffer<i8>,
    wide: Buffer<i16>,
    scales: Vec<f32>,
    sums: Vec<i32>,
    nonzero: NonzeroLists,
}

impl Token8 {
    /// The codes of token `t`, −127…127 or a model's own (stride).
    pub fn codes(&self, t: usize) -> &[i8] {
        &self.codes[t * self.stride..][..self.stride]
    }

    /// The same as 16-bit numbers; empty where no kernel wants them.
    pub fn wide(&self, t: usize) -> &[i16] {
        &self.wide[t * self.stride..][..self.stride]
    }

    /// What token `t` was multiplied by: `127 / max(amax, 1e-5)`, unless a [`Quantiser`](crate::quantiser::Quantiser) chose it.
    pub fn scale(&self, t: usize) -> f32 {
        self.scales[t]
    }

    /// The sum of the codes of token `t`.
    pub fn sum(&self, t: usize) -> i32 {
        self.sums[t]
    }

    /// The codes of token `t` that are not 0; stale unless [`ActFormat::Nonzero8`](super::ActFormat::Nonzero8) is prepared.
    pub fn nonzero(&self, t: usize) -> Nonzero<'_> {
        self.nonzero.of(t)
    }

    /// Lists the codes that are not 0, of `cols` columns.
    pub(super) fn list_nonzero(&mut self, cols: usize) -> Result<()> {
        self.nonzero.fill(&self.codes, self.stride, cols)
    }

    /// `quantise` writes a token's codes, zeros after them, and returns what it multiplied by and the codes' sum.
    #[inline(always)]
    pub(super) fn fill(
        &mut self,
        n: usize,
        cols: usize,
        x: &[f32],
        quantise: impl Fn(&[f32], &mut [i8]) -> (f32, i32),
    ) -> Result<()> {
        self.stride = cols.next_multiple_of(ALIGN);
        self.codes.resize(n * self.stride)?;
        self.scales.clear();
        self.sums.clear();
        self.scales.try_reserve(n)?;
        self.sums.try_reserve(n)?;
        for (x, codes) in x.chunks_exact(cols).zip(self.codes.chunks_exact_mut(self.stride)) {
            let (scale, sum) = quantise(x, codes);
            self.scales.push(scale);
            self.sums.push(sum);
        }
        widen(&self.codes, &mut self.wide)
    }
}

/// Codes of [`ActFormat::Block32`](super::ActFormat::Block32), `q = rint(x · 8191 / amax) = 128 · high + low`, or of [`ActFormat::Fine32`](super::ActFormat::Fine32),
/// `q = rint(x · 32512 / amax) = 255 · high + low`.
#[derive(Clone, Debug, Default)]
pub struct Block32 {
    stride: usize,
    high: Buffer<i8>,
    low: Buffer<i8>,
    wide: Buffer<i16>,
    scales: Buffer<f32>,
    sums16: Buffer<f32>,
    sums32: Buffer<f32>,
}

impl Block32 {
    /// What the upper plane counts for.
    pub const BASE: i32 = 128;
    /// The same of fine codes. It is odd, so that both planes are symmetric: −128 has no negative of 8 bits.
    pub const FINE_BASE: i32 = 255;

    /// The upper bits of the codes of token `t`, −64…63, or −127…127 of fine ones (stride).
    pub fn high(&self, t: usize) -> &[i8] {
        &self.high[t * self.stride..][..self.stride]
    }

    /// The rest of the codes of token `t`, 0…127, or −127…127 of fine ones (stride).
    pub fn low(&self, t: usize) -> &[i8] {
        &self.low[t * self.stride..][..self.stride]
    }

    /// The whole codes of token `t`; empty where no kernel wants them.
    pub fn wide(&self, t: usize) -> &[i16] {
        &self.wide[t * self.stride..][..self.stride]
    }

    /// What the codes of token `t` are to be multiplied by: `amax` over the largest code (stride / 32).
    pub fn scales(&self, t: usize) -> &[f32] {
        let len = self.stride / 32;
        &self.scales[t * len..][..len]
    }

    /// The sums of each 16 codes of token `t`, integers (stride / 16).
    pub fn sums16(&self, t: usize) -> &[f32] {
        let len = self.stride / 16;
        &self.sums16[t * len..][..len]
    }

    /// The sums of each 32 codes of token `t`, integers (stride / 32).
    pub fn sums32(&self, t: usize) -> &[f32] {
        let len = self.stride / 32;
        &self.sums32[t * len..][..len]
    }

    /// The sums of each `width` codes of token `t`.
    ///
    /// # Panics
    /// If `width` is neither 16 nor 32.
    pub fn sums(&self, width: usize, t: usize) -> &[f32] {
        match width {
            16 => self.sums16(t),
            32 => self.sums32(t),
            _ => panic!("no sums of {width} codes"),
        }
    }

    #[inline(always)]
    pub(super) fn fill<const FINE: bool>(&mut self, n: usize, cols: usize, x: &[f32]) -> Result<()> {
        let most = if FINE { 32512.0 } else { 8191.0 };
        self.stride = cols.next_multiple_of(ALIGN);
        self.high.resize(n * self.stride)?;
        self.low.resize(n * self.stride)?;
        self.wide.resize(if WIDE { n * self.stride } else { 0 })?;
        self.scales.resize(n * self.stride / 32)?;
        self.sums16.resize(n * self.stride / 16)?;
        self.sums32.resize(n * self.stride / 32)?;
        for (t, x) in x.chunks_exact(cols).enumerate() {
            let (whole, rest) = x.as_chunks::<32>();
            let mut last = [0.0; 32];
            last[..rest.len()].copy_from_slice(rest);
            let padding = core::iter::once(&last).chain(core::iter::repeat(&[0.0; 32]));
            let blocks = t * self.stride / 32..(t + 1) * self.stride / 32;
            for (i, x) in blocks.zip(whole.iter().chain(padding)) {
                let amax = amax(x);
                let inverse = if amax == 0.0 { 0.0 } else { most / amax };
                self.scales[i] = amax / most;
                let codes = x.map(|x| round(clamp(x * inverse, most)));
                let (high, low) = (&mut self.high[32 * i..][..32], &mut self.low[32 * i..][..32]);
                for ((&code, high), low) in codes.iter().zip(high).zip(low) {
                    // Exact: nothing is half way between two multiples of an odd number.
                    let upper = if FINE { round(code as f32 * (1.0 / 255.0)) } else { code >> 7 };
                    *high = upper as i8;
                    *low = (code - upper * if FINE { Self::FINE_BASE } else { Self::BASE }) as i8;
                }
                if WIDE {
                    let wide = &mut self.wide[32 * i..][..32];
                    wide.iter_mut().zip(&codes).for_each(|(wide, &code)| *wide = code as i16);
                }
                let halves = [&codes[..16], &codes[16..]].map(|half| half.iter().sum::<i32>());
                self.sums32[i] = (halves[0] + halves[1]) as f32;
                self.sums16[2 * i] = halves[0] as f32;
                self.sums16[2 * i + 1] = halves[1] as f32;
            }
        }
        Ok(())
    }
}

/// Codes of [`ActFormat::Token14`](super::ActFormat::Token14): `u = rint(x * scale) + 8192 = 128 * high + low`.
#[derive(Clone, Debug, Default)]
pub struct Token14 {
    stride: usize,
    high: Buffer<u8>,
    low: Buffer<u8>,
    wide: Buffer<i16>,
    scales: Vec<f32>,
}

impl Token14 {
    /// The upper seven bits of the codes of token `t`, 0…127 (stride).
    pub fn high(&self, t: usize) -> &[u8] {
        &self.high[t * self.stride..][..self.stride]
    }

    /// The lower seven bits of the codes of token `t`, 0…127 (stride).
    pub fn low(&self, t: usize) -> &[u8] {
        &self.low[t * self.stride..][..self.stride]
    }

    /// `u - 8192` of token `t`, −8191…8191; empty where no kernel wants them.
    pub fn wide(&self, t: usize) -> &[i16] {
        &self.wide[t * self.stride..][..self.stride]
    }

    /// What token `t` was multiplied by: `8191 / max(amax, 1e-5)`.
    pub fn scale(&self, t: usize) -> f32 {
        self.scales[t]
    }

    #[inline(always)]
    pub(super) fn fill(&mut self, n: usize, cols: usize, x: &[f32]) -> Result<()> {
        self.stride = cols.next_multiple_of(ALIGN);
        self.high.resize(n * self.stride)?;
        self.low.resize(n * self.stride)?;
        self.scales.clear();
        self.scales.try_reserve(n)?;
        let planes = self.high.chunks_exact_mut(self.stride).zip(self.low.chunks_exact_mut(self.stride));
        for (x, (high, low)) in x.chunks_exact(cols).zip(planes) {
            let amax = amax(x);
            let scale = 8191.0 / if amax < 1e-5 { 1e-5 } else { amax };
            self.scales.push(scale);
            for ((&x, high), low) in x.iter().zip(&mut *high).zip(&mut *low) {
                let u = (round(clamp(x * scale, 8191.0)) + 8192) as u16;
                *high = (u >> 7) as u8;
                *low = (u & 127) as u8;
            }
            high[cols..].fill(64);
            low[cols..].fill(0);
        }
        if WIDE {
            self.wide.resize(self.high.len())?;
            for ((wide, &high), &low) in self.wide.iter_mut().zip(&*self.high).zip(&*self.low) {
                *wide = (i16::from(high) - 64) * 128 + i16::from(low);
            }
        }
        Ok(())
    }
}

/// Copies to 16 bits, where they are kept.
#[inline(always)]
fn widen<T: Plain + Into<i16>>(codes: &[T], wide: &mut Buffer<i16>) -> Result<()> {
    if WIDE {
        wide.resize(codes.len())?;
        wide.iter_mut().zip(codes).for_each(|(wide, &code)| *wide = code.into());
    }
    Ok(())
}

/// Writes the codes of `x` and zeros the rest of `codes`; returns what `x` was multiplied by, and the sum of all codes.
#[inline(always)]
pub(super) fn absmax8(x: &[f32], codes: &mut [i8]) -> (f32, i32) {
    let amax = amax(x);
    let scale = 127.0 / if amax < 1e-5 { 1e-5 } else { amax };
    let mut sum = 0;
    let (own, rest) = codes.split_at_mut(x.len());
    for (&x, code) in x.iter().zip(own) {
        let q = round(clamp(x * scale, 127.0));
        sum += q;
        *code = q as i8;
    }
    rest.fill(0);
    (scale, sum)
}
