//! On-disk encodings → [`FormRow`]: one row of weights in the neutral shape that kernels pack.
//!
//! Slow, obvious, exact: decoding loses nothing (two-level scales are multiplied out in f32).
//! Kernels know forms, never files.

use alloc::vec::Vec;

use crate::{
    Result, bail,
    minifloat::{E2M1_TWICE, e4m3_to_f32, e5m2_to_f32},
    simd::{Isa, vectorised},
};

mod encoding;
mod float;
mod ggml;
mod ternary;

pub use encoding::Encoding;
pub use float::{mean_abs, pack_bf16, pack_f16, pack_f32, ternarise};
pub use ternary::{I2_S_TAIL, i2_s_scale, pack_hf, pack_i2_s_tail, pack_row, unpack_hf};

/// What a weight row looks like in memory. Kernels exist per form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// Codes −1, 0, +1 and one f32 scale per row; activations: one int8 scale per token ([`crate::activations`]).
    Ternary,
    /// Codes −1…2, one scale per 64 columns; activations of 14 bits per 32 columns.
    Q2,
    /// Codes 0…15, scale and min per 32 columns; activations of 14 bits per 32 columns.
    Q4,
    /// Codes −128…127, scale and min per 32 columns; activations of 14 bits per 32 columns.
    Q8,
    /// As `Q8`, with scale and min per 16 columns (Q2_K, Q3_K, Q6_K).
    Q8x16,
    /// E2M1 with an E8M0 scale per 32 columns and a factor per row; activations of 16 bits per 32 columns.
    Mxfp4,
    /// E2M1 with an E4M3 scale per 16 columns and a divisor per row; activations of 16 bits per 32 columns.
    Nvfp4,
    /// As `Mxfp4`; activations f32.
    Mxfp4Exact,
    /// As `Nvfp4`; activations f32.
    Nvfp4Exact,
    /// E4M3 with an f32 scale per 128 columns; activations f32.
    E4m3,
    /// E5M2 with an f32 scale per 128 columns; activations f32.
    E5m2,
    /// Codes −127…127 and one scale per row; activations 14-bit per token. For embedding and head.
    I8,
    /// IEEE half precision; activations f32.
    F16,
    /// bfloat16; activations f32.
    BF16,
    /// Single precision; activations f32.
    F32,
}

/// One row of weights in its form's neutral shape: weight `k` is `scales[k / block] * codes[k] + mins[k / block]`,
/// `floats[k]` for the float forms, `scales[k / block] * floats[k]` for [`Form::E4m3`] and [`Form::E5m2`].
///
/// The forms of small floats may come in two: codes or floats first, scales later ([`crate::matrix::Matrix::fill`]).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FormRow {
    /// One code per column (empty for float forms); twice the E2M1 numbers.
    pub codes: Vec<i8>,
    /// One scale per block; a single one where the form has a scale per row.
    pub scales: Vec<f32>,
    /// One min per block for forms that have them (zeros where the encoding has none); else empty.
    pub mins: Vec<f32>,
    /// The values of float forms (exactly representable in the form).
    pub floats: Vec<f32>,
    /// What multiplies all scales of the row ([`Form::Mxfp4`]), or divides those of all rows of the matrix
    /// ([`Form::Nvfp4`]); 1 where there is none.
    pub row_number: Option<f32>,
}

impl Form {
    /// A name for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ternary => "ternary",
            Self::Q2 => "2-bit blocks",
            Self::Q4 => "4-bit blocks",
            Self::Q8 => "8-bit blocks",
            Self::Q8x16 => "8-bit blocks of 16",
            Self::Mxfp4 => "MXFP4 blocks",
            Self::Nvfp4 => "NVFP4 blocks",
            Self::Mxfp4Exact => "MXFP4 blocks, f32 inputs",
            Self::Nvfp4Exact => "NVFP4 blocks, f32 inputs",
            Self::E4m3 => "FP8 (E4M3)",
            Self::E5m2 => "FP8 (E5M2)",
            Self::I8 => "int8 rows",
            Self::F16 => "f16",
            Self::BF16 => "bf16",
            Self::F32 => "f32",
        }
    }

    /// Whether weights stay floats; they are multiplied in f32.
    pub const fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F16 | Self::BF16)
    }

    /// Columns that share one scale; `None` for a scale per row and for float forms.
    pub const fn block(self) -> Option<usize> {
        match self {
            Self::Q2 => Some(64),
            Self::Q4 | Self::Q8 | Self::Mxfp4 | Self::Mxfp4Exact => Some(32),
            Self::Q8x16 | Self::Nvfp4 | Self::Nvfp4Exact => Some(16),
            Self::E4m3 | Self::E5m2 => Some(128),
            _ => None,
        }
    }

    /// Whether each row has one scale, which is not among its codes but beside the matrix.
    pub const fn has_row_scales(self) -> bool {
        matches!(self, Self::Ternary | Self::I8)
    }

    /// Whether codes are E2M1 numbers.
    pub const fn is_e2m1(self) -> bool {
        matches!(self, Self::Mxfp4 | Self::Nvfp4 | Self::Mxfp4Exact | Self::Nvfp4Exact)
    }

    /// Whether codes are floats of 8 bits.
    pub const fn is_fp8(self) -> bool {
        matches!(self, Self::E4m3 | Self::E5m2)
    }

    /// The form that holds the same weights and multiplies floats, not their codes of 16 bits, where there is one.
    pub const fn exact(self) -> Self {
        match self {
            Self::Mxfp4 => Self::Mxfp4Exact,
            Self::Nvfp4 => Self::Nvfp4Exact,
            other => other,
        }
    }
}

impl FormRow {
    /// Empties all parts and keeps their memory.
    pub fn clear(&mut self) {
        self.codes.clear();
        self.scales.clear();
        self.mins.clear();
        self.floats.clear();
        self.row_number = None;
    }

    /// The weights as f32, appended to `out`. A row without scales (I2_S, HF packed, FP8) has the scale 1.
    ///
    /// # Panics
    /// If the row has not the shape that [`unpack`] makes.
    pub fn dequantise(&self, out: &mut Vec<f32>) {
        if !self.floats.is_empty() {
            // Only FP8 has scales beside its floats.
            let scale = |k: usize| self.scales.get(k / 128).copied().unwrap_or(1.0);
            return out.extend(self.floats.iter().enumerate().map(|(k, value)| scale(k) * value));
        }
        if self.scales.is_empty() {
            return out.extend(self.codes.iter().map(|code| f32::from(*code)));
        }
        let block = self.codes.len() / self.scales.len();
        for (b, (codes, scale)) in self.codes.chunks_exact(block).zip(&self.scales).enumerate() {
            let min = self.mins.get(b).copied().unwrap_or(0.0);
            out.extend(codes.iter().map(|code| scale * f32::from(*code) + min));
        }
    }
}

/// The bytes of one row, checked.
fn check_len(encoding: Encoding, bytes: &[u8], cols: usize) -> Result<&[u8]> {
    let need = encoding.row_bytes(cols as u64)?;
    match usize::try_from(need).ok().and_then(|need| bytes.get(..need)) {
        Some(bytes) => Ok(bytes),
        None => bail!(Truncated, "a row of {cols} columns needs {need} bytes, got {}", bytes.len()),
    }
}

/// Unpacks one stored row of `cols` weights; bytes beyond it are ignored. The parts of `out` that come back:
///
/// * float forms: `floats`, as FP8 without its scales;
/// * E2M1: `codes`;
/// * [`Form::Q4`], [`Form::Q8`], [`Form::Q8x16`], and [`Form::Mxfp4`] of MXFP4: `codes`, `scales` and `mins` per [`Form::block`];
/// * [`Form::Q2`]: `codes` and `scales` per 64 columns (a scale of 128 columns stands twice);
/// * [`Form::Ternary`]: `codes`; `scales` per 256 columns for TQ1_0 and TQ2_0, none for I2_S, whose scale
///   follows the tensor ([`i2_s_scale`]).
///
/// HF packed rows (`U8`) are four rows each: see [`unpack_hf`].
///
/// # Errors
/// `bad-data` for codes outside their range and non-finite scales, `truncated` for too few bytes, `shape` for
/// columns that do not fill blocks, `unsupported-format` for `U8` and `Other`.
pub fn unpack(isa: Isa, encoding: Encoding, bytes: &[u8], cols: usize, out: &mut FormRow) -> Result<()> {
    let bytes = check_len(encoding, bytes, cols)?;
    out.clear();
    match encoding {
        Encoding::F32 => float::unpack_f32(isa, bytes, out),
        Encoding::F16 => float::unpack_f16(isa, bytes, out),
        Encoding::BF16 => float::unpack_bf16(isa, bytes, out),
        Encoding::Q4_0 => blocks(encoding, bytes, cols, ggml::q4_0, out),
        Encoding::Q4_1 => blocks(encoding, bytes, cols, ggml::q4_1, out),
        Encoding::Q5_0 => blocks(encoding, bytes, cols, ggml::q5_0, out),
        Encoding::Q5_1 => blocks(encoding, bytes, cols, ggml::q5_1, out),
        Encoding::Q8_0 => blocks(encoding, bytes, cols, ggml::q8_0, out),
        Encoding::MXFP4 => {
            blocks(encoding, bytes, cols, ggml::mxfp4, out)?;
            out.mins.clear();
            Ok(())
        }
        Encoding::Q2_K => blocks(encoding, bytes, cols, ggml::q2_k, out),
        Encoding::Q3_K => blocks(encoding, bytes, cols, ggml::q3_k, out),
        Encoding::Q4_K => blocks(encoding, bytes, cols, ggml::q4_k, out),
        Encoding::Q5_K => blocks(encoding, bytes, cols, ggml::q5_k, out),
        Encoding::Q6_K => blocks(encoding, bytes, cols, ggml::q6_k, out),
        Encoding::TQ1_0 => scaled(encoding, bytes, cols, ternary::tq1_0, out),
        Encoding::TQ2_0 => {
            scaled(encoding, bytes, cols, |block, codes| ternary::tq2_0(isa, block, codes), out)
        }
        Encoding::Q1_0 => scaled(encoding, bytes, cols, ternary::q1_0, out),
        Encoding::Q2_0_64 | Encoding::Q2_0_128 => scaled(encoding, bytes, cols, ternary::q2_0, out),
        Encoding::PTQ1_0 => scaled(encoding, bytes, cols, ternary::ptq1_0, out),
        Encoding::STQ1_0 => scaled(encoding, bytes, cols, ternary::stq1_0, out),
        Encoding::E2M1 => {
            let code = |nibble: u8| E2M1_TWICE[usize::from(nibble)];
            out.codes.extend(bytes.iter().flat_map(|byte| [code(byte & 15), code(byte >> 4)]));
            Ok(())
        }
        Encoding::F8_E4M3 => fp8(isa, bytes, e4m3_to_f32, |magnitude| magnitude != 0x7F, out),
        Encoding::F8_E5M2 => fp8(isa, bytes, e5m2_to_f32, |magnitude| magnitude < 0x7C, out),
        Encoding::I2_S => {
            out.codes.resize(cols, 0);
            ternary::i2_s(isa, bytes, &mut out.codes)
        }
        Encoding::U8 | Encoding::Other => {
            bail!(UnsupportedFormat, "{} rows are not weights", encoding.name())
        }
    }
}

/// Encodings with scale and min per sub-block of the form.
fn blocks(
    encoding: Encoding,
    bytes: &[u8],
    cols: usize,
    decode: fn(&[u8], ggml::Out<'_>) -> Result<()>,
    out: &mut FormRow,
) -> Result<()> {
    let (block_cols, block_bytes) = encoding.block();
    let sub = encoding.form().block().unwrap_or(block_cols);
    out.codes.resize(cols, 0);
    out.scales.resize(cols / sub, 0.0);
    out.mins.resize(cols / sub, 0.0);
    let codes = out.codes.chunks_exact_mut(block_cols);
    let scales =
        out.scales.chunks_exact_mut(block_cols / sub).zip(out.mins.chunks_exact_mut(block_cols / sub));
    for ((block, codes), (scales, mins)) in bytes.chunks_exact(block_bytes).zip(codes).zip(scales) {
        decode(block, ggml::Out { codes, scales, mins })?;
    }
    Ok(())
}

/// Encodings with one scale per block and no min; the scale is repeated for each block of the form in it.
fn scaled(
    encoding: Encoding,
    bytes: &[u8],
    cols: usize,
    decode: impl Fn(&[u8], &mut [i8]) -> Result<f32>,
    out: &mut FormRow,
) -> Result<()> {
    let (block_cols, block_bytes) = encoding.block();
    let copies = encoding.form().block().map_or(1, |form| block_cols / form);
    out.codes.resize(cols, 0);
    for (block, codes) in bytes.chunks_exact(block_bytes).zip(out.codes.chunks_exact_mut(block_cols)) {
        let scale = decode(block, codes)?;
        out.scales.extend(core::iter::repeat_n(scale, copies));
    }
    Ok(())
}

/// Floats of 8 bits, which must be numbers; `is_number` tells of a code without its sign.
fn fp8(
    isa: Isa,
    bytes: &[u8],
    number: fn(u8) -> f32,
    is_number: impl Fn(u8) -> bool,
    out: &mut FormRow,
) -> Result<()> {
    let table: [f32; 256] = core::array::from_fn(|code| number(code as u8));
    let all = vectorised(
        isa,
        #[inline(always)]
        || {
            out.floats.extend(bytes.iter().map(|&code| table[usize::from(code)]));
            bytes.iter().fold(true, |all, code| all & is_number(code & 0x7F))
        },
    );
    if !all {
        bail!(BadData, "a weight is no number");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
