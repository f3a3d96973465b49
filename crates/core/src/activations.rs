//! Activations: rows of f32, and the integer codes that kernels multiply by.
//!
//! [`Activations`] holds the activations of a block of tokens. They are quantised once per [`ActFormat`] and
//! shared by every matrix that reads them (q/k/v, gate/up). There is one quantiser per input and it
//! is portable code, so all kernels see the same codes.
//!
//! Invariant: columns beyond `cols`, up to the stride, have code 0 (14-bit: the code of 0.0).

mod nonzero;

use alloc::vec::Vec;

pub use nonzero::Nonzero;
use nonzero::NonzeroLists;

use crate::{
    Result,
    format::Form,
    math::{amax, clamp, round},
    minifloat::Rounding,
    quantiser::Quantiser,
    simd::{Buffer, Isa, Plain, vectorised},
};

/// Columns are padded to a multiple of this: the widest step of any kernel.
pub const ALIGN: usize = 128;

/// Whether planes of 16-bit copies are kept: for instruction sets that multiply nothing narrower.
const WIDE: bool = cfg!(target_family = "wasm");

/// How a form wants its activations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ActFormat {
    /// 8-bit codes with one scale per token (BitNet b1.58's absmax quantiser).
    Token8,
    /// 14-bit codes with one scale per 32 columns, in two planes. (llama.cpp's Q8_1 has the same blocks
    /// and 8 bits, whose error in SmolLM2's logits changes one greedy token in thirty.)
    Block32,
    /// 16-bit codes with one scale per 32 columns, in two planes of 8 bits. (E2M1 is exact, so that inputs are all that
    /// is rounded: 14 bits move a logit of a small model by up to 1e-2, 16 by less than 1e-3.)
    Fine32,
    /// 14-bit codes with one scale per token, in two 7-bit planes.
    Token14,
    /// Unchanged.
    F32,
    /// [`ActFormat::Token8`], and a list of the codes that are not 0.
    Nonzero8,
}

impl ActFormat {
    /// The input of a form's kernels.
    pub const fn of(form: Form) -> Self {
        match form {
            Form::Ternary => Self::Token8,
            Form::Q2 | Form::Q4 | Form::Q8 | Form::Q8x16 => Self::Block32,
            Form::Mxfp4 | Form::Nvfp4 => Self::Fine32,
            Form::I8 => Self::Token14,
            Form::Mxfp4Exact | Form::Nvfp4Exact | Form::E4m3 | Form::E5m2 => Self::F32,
            Form::F16 | Form::BF16 | Form::F32 => Self::F32,
        }
    }
}

/// Codes of [`ActFormat::Token8`].
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

    /// What token `t` was multiplied by: `127 / max(amax, 1e-5)`, unless a [`Quantiser`] chose it.
    pub fn scale(&self, t: usize) -> f32 {
        self.scales[t]
    }

    /// The sum of the codes of token `t`.
    pub fn sum(&self, t: usize) -> i32 {
        self.sums[t]
    }

    /// The codes of token `t` that are not 0; stale unless [`ActFormat::Nonzero8`] is prepared.
    pub fn nonzero(&self, t: usize) -> Nonzero<'_> {
        self.nonzero.of(t)
    }

    /// `quantise` writes a token's codes, zeros after them, and returns what it multiplied by and the codes' sum.
    #[inline(always)]
    fn fill(
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

/// Codes of [`ActFormat::Block32`], `q = rint(x · 8191 / amax) = 128 · high + low`, or of [`ActFormat::Fine32`],
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
    fn fill<const FINE: bool>(&mut self, n: usize, cols: usize, x: &[f32]) -> Result<()> {
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

/// Codes of [`ActFormat::Token14`]: `u = rint(x * scale) + 8192 = 128 * high + low`.
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
    fn fill(&mut self, n: usize, cols: usize, x: &[f32]) -> Result<()> {
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

/// The activations of `n` tokens, each `cols` wide, and their codes.
#[derive(Clone, Debug)]
pub struct Activations {
    isa: Isa,
    n: usize,
    cols: usize,
    x: Vec<f32>,
    padded: Buffer<f32>,
    token8: Token8,
    block32: Block32,
    fine32: Block32,
    token14: Token14,
    ready: [bool; 6],
    /// What made the codes of `token8`, if it was not absmax.
    quantiser: Option<Quantiser>,
    /// What rounded `padded`, if anything did.
    rounding: Option<Rounding>,
}

impl Activations {
    /// No rows; `isa` computes their codes, which are the same on every level.
    pub fn new(isa: Isa) -> Self {
        Self {
            isa,
            n: 0,
            cols: 0,
            x: Vec::new(),
            padded: Buffer::new(),
            token8: Token8::default(),
            block32: Block32::default(),
            fine32: Block32::default(),
            token14: Token14::default(),
            ready: [false; 6],
            quantiser: None,
            rounding: None,
        }
    }

    /// Reserves memory for `n` tokens of `cols`; codes follow when an input is first prepared.
    ///
    /// # Errors
    /// `out-of-memory`.
    pub fn reserve(&mut self, n: usize, cols: usize) -> Result<()> {
        let len = n.saturating_mul(cols);
        self.x.try_reserve_exact(len.saturating_sub(self.x.len()))?;
        Ok(())
    }

    /// Begins anew with `n` tokens of `cols`; the caller fills the result (n, cols), whose values are
    /// those of before or 0.
    ///
    /// # Panics
    /// If `cols` is 0.
    pub fn set(&mut self, n: usize, cols: usize) -> &mut [f32] {
        assert!(cols > 0);
        (self.n, self.cols) = (n, cols);
        self.ready = [false; 6];
        (self.quantiser, self.rounding) = (None, None);
        self.x.resize(n * cols, 0.0);
        &mut self.x
    }

    /// Quantises for `input`; does nothing when that was done since the last [`Activations::set`].
    ///
    /// # Errors
    /// `out-of-memory`.
    pub fn prepare(&mut self, input: ActFormat) -> Result<()> {
        if input == ActFormat::Nonzero8 {
            self.prepare(ActFormat::Token8)?;
            return self.list_nonzero();
        }
        let other = match input {
            ActFormat::Token8 => self.quantiser.take().is_some(),
            ActFormat::F32 => self.rounding.take().is_some(),
            _ => false,
        };
        if self.is_ready(input) && !other {
            return Ok(());
        }
        vectorised(
            self.isa,
            #[inline(always)]
            || self.fill(input),
        )?;
        self.ready[ActFormat::Nonzero8 as usize] &= input != ActFormat::Token8;
        self.ready[input as usize] = true;
        Ok(())
    }

    /// Lists the codes that are not 0, of whatever quantiser; does nothing when that was done since they were made.
    ///
    /// # Errors
    /// `out-of-memory`.
    pub(crate) fn list_nonzero(&mut self) -> Result<()> {
        if !self.is_ready(ActFormat::Nonzero8) {
            let Token8 { codes, stride, nonzero, .. } = &mut self.token8;
            nonzero.fill(codes, *stride, self.cols)?;
            self.ready[ActFormat::Nonzero8 as usize] = true;
        }
        Ok(())
    }

    /// Makes the codes of [`ActFormat::Token8`] as a model's own quantiser does; nothing when that was done since the
    /// last [`Activations::set`].
    ///
    /// # Errors
    /// `out-of-memory`.
    pub fn prepare_with(&mut self, quantiser: Quantiser) -> Result<()> {
        if self.quantiser == Some(quantiser) {
            return Ok(());
        }
        self.token8.fill(self.n, self.cols, &self.x, |x, codes| quantiser.fill(x, codes))?;
        self.quantiser = Some(quantiser);
        self.ready[ActFormat::Token8 as usize] = true;
        self.ready[ActFormat::Nonzero8 as usize] = false;
        Ok(())
    }

    /// Prepares [`ActFormat::F32`] with what `rounding` makes of the activations; nothing when that was done since the
    /// last [`Activations::set`].
    ///
    /// # Errors
    /// `out-of-memory`.
    pub fn prepare_rounded(&mut self, rounding: Rounding) -> Result<()> {
        if self.rounding == Some(rounding) {
            return Ok(());
        }
        let stride = self.stride();
        self.padded.resize(self.n * stride)?;
        for (x, out) in self.x.chunks_exact(self.cols).zip(self.padded.chunks_exact_mut(stride)) {
            let (own, padding) = out.split_at_mut(self.cols);
            rounding.apply(x, own);
            padding.fill(0.0);
        }
        self.rounding = Some(rounding);
        self.ready[ActFormat::F32 as usize] = true;
        Ok(())
    }

    #[inline(always)]
    fn fill(&mut self, input: ActFormat) -> Result<()> {
        match input {
            ActFormat::Token8 => self.token8.fill(
                self.n,
                self.cols,
                &self.x,
                #[inline(always)]
                #[expect(
                    clippy::redundant_closure,
                    reason = "a function's own shim is not sure to be inlined"
                )]
                |x, codes| absmax8(x, codes),
            )?,
            ActFormat::Block32 => self.block32.fill::<false>(self.n, self.cols, &self.x)?,
            ActFormat::Fine32 => self.fine32.fill::<true>(self.n, self.cols, &self.x)?,
            ActFormat::Token14 => self.token14.fill(self.n, self.cols, &self.x)?,
            ActFormat::F32 => {
                let stride = self.stride();
                self.padded.resize(self.n * stride)?;
                let rows = self.padded.chunks_exact_mut(stride);
                for (x, out) in self.x.chunks_exact(self.cols).zip(rows) {
                    out[..self.cols].copy_from_slice(x);
                    out[self.cols..].fill(0.0);
                }
            }
            ActFormat::Nonzero8 => unreachable!("made of the codes of Token8"),
        }
        Ok(())
    }

    /// Whether `input` is prepared.
    pub fn is_ready(&self, input: ActFormat) -> bool {
        self.ready[input as usize]
    }

    /// How many tokens.
    pub fn n(&self) -> usize {
        self.n
    }

    /// How many columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Columns with padding: how far one token's codes are from the next one's.
    pub fn stride(&self) -> usize {
        self.cols.next_multiple_of(ALIGN)
    }

    /// The activations themselves (n, cols).
    pub fn values(&self) -> &[f32] {
        &self.x
    }

    /// Codes of [`ActFormat::Token8`]; stale unless prepared.
    pub fn token8(&self) -> &Token8 {
        &self.token8
    }

    /// Codes of [`ActFormat::Block32`]; stale unless prepared.
    pub fn block32(&self) -> &Block32 {
        &self.block32
    }

    /// Codes of [`ActFormat::Fine32`]; stale unless prepared.
    pub fn fine32(&self) -> &Block32 {
        &self.fine32
    }

    /// Codes of [`ActFormat::Token14`]; stale unless prepared.
    pub fn token14(&self) -> &Token14 {
        &self.token14
    }

    /// The padded activations of token `t` (stride); stale unless [`ActFormat::F32`] is prepared.
    pub fn floats(&self, t: usize) -> &[f32] {
        let stride = self.stride();
        &self.padded[t * stride..][..stride]
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
fn absmax8(x: &[f32], codes: &mut [i8]) -> (f32, i32) {
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

#[cfg(test)]
mod tests;
