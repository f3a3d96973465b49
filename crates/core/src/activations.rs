//! Activations: rows of f32, and the integer codes that kernels multiply by.
//!
//! [`Activations`] holds the activations of a block of tokens. They are quantised once per [`ActFormat`] and
//! shared by every matrix that reads them (q/k/v, gate/up). There is one quantiser per input and it
//! is portable code, so all kernels see the same codes.
//!
//! Invariant: columns beyond `cols`, up to the stride, have code 0 (14-bit: the code of 0.0).

mod codes;
mod nonzero;

use alloc::vec::Vec;

use codes::absmax8;
pub use codes::{ALIGN, Block32, Token8, Token14};
pub use nonzero::Nonzero;

use crate::{
    Result,
    format::Form,
    minifloat::Rounding,
    quantiser::Quantiser,
    simd::{Buffer, Isa, vectorised},
};

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
            self.token8.list_nonzero(self.cols)?;
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

#[cfg(test)]
mod tests;
