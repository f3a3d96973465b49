//! On-disk encodings → [`FormRow`]: one row of weights in the neutral shape that kernels pack.
//!
//! Slow, obvious, exact: decoding loses nothing (two-level scales are multiplied out in f32).
//! Kernels know forms, never files.

use alloc::vec::Vec;

use crate::Result;

/// How weights are stored in a file. One name for each byte layout that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(missing_docs, non_camel_case_types, reason = "the names are the formats' own")]
pub enum Encoding {
    F32,
    F16,
    BF16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2_K,
    Q3_K,
    Q4_K,
    Q5_K,
    Q6_K,
    /// 54 bytes per 256 weights, five trits a byte.
    TQ1_0,
    /// 66 bytes per 256 weights.
    TQ2_0,
    /// Microsoft's: 2 bits in 128/32 groups, one f32 scale after the data.
    I2_S,
    /// PrismML / llama.cpp 1-bit, 18 bytes per 128 weights.
    Q1_0,
    /// llama.cpp's Q2_0: 18 bytes per 64 weights.
    Q2_0_64,
    /// PrismML's Q2_0: 34 bytes per 128 weights.
    Q2_0_128,
    MXFP4,
    /// safetensors `U8`: HF packed ternary when a `weight_scale` belongs to it.
    U8,
    /// safetensors integer types, never weights (skipped unless asked for).
    Other,
}

/// What a weight row looks like in memory. Kernels exist per form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// Codes −1, 0, +1 and one f32 scale per row; activations: one int8 scale per token ([`crate::act`]).
    Ternary,
    /// Codes −1…2, one scale per 64 columns; activations int8 per 32 columns.
    Q2,
    /// Codes 0…15, scale and min per 32 columns; activations int8 per 32 columns.
    Q4,
    /// Codes −128…127, scale and min per 32 columns; activations int8 per 32 columns.
    Q8,
    /// As `Q8`, with scale and min per 16 columns (Q2_K, Q3_K, Q6_K).
    Q8x16,
    /// Codes −127…127 and one scale per row; activations 14-bit per token. For embedding and head.
    I8,
    /// IEEE half precision; activations f32.
    F16,
    /// bfloat16; activations f32.
    BF16,
    /// Single precision; activations f32.
    F32,
}

/// One row of weights in its form's neutral shape: weight `k` is
/// `scales[k / block] * codes[k] + mins[k / block]`, or `floats[k]` for the float forms.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FormRow {
    /// One code per column (empty for float forms).
    pub codes: Vec<i8>,
    /// One scale per block; a single one where the form has a scale per row.
    pub scales: Vec<f32>,
    /// One min per block for forms that have them (zeros where the encoding has none); else empty.
    pub mins: Vec<f32>,
    /// The values of float forms (exactly representable in the form).
    pub floats: Vec<f32>,
}

impl Form {
    /// Columns that share one scale; `None` for a scale per row and for float forms.
    pub const fn block(self) -> Option<usize> {
        match self {
            Self::Q2 => Some(64),
            Self::Q4 | Self::Q8 => Some(32),
            Self::Q8x16 => Some(16),
            _ => None,
        }
    }
}

impl Encoding {
    /// The form that rows of this encoding are unpacked into.
    pub const fn form(self) -> Form {
        match self {
            Self::F32 | Self::Other => Form::F32,
            Self::F16 => Form::F16,
            Self::BF16 => Form::BF16,
            Self::Q4_0 | Self::Q4_1 | Self::Q4_K => Form::Q4,
            Self::Q5_0 | Self::Q5_1 | Self::Q8_0 | Self::Q5_K | Self::MXFP4 => Form::Q8,
            Self::Q2_K | Self::Q3_K | Self::Q6_K => Form::Q8x16,
            Self::Q1_0 | Self::Q2_0_64 | Self::Q2_0_128 => Form::Q2,
            Self::TQ1_0 | Self::TQ2_0 | Self::I2_S | Self::U8 => Form::Ternary,
        }
    }
}

/// Unpacks one stored row. See [`Encoding::form`] for the shape of the result.
///
/// # Errors
/// `bad-data` for codes outside their range and non-finite scales, `truncated` for too few bytes.
pub fn unpack(_encoding: Encoding, _bytes: &[u8], _cols: usize, _out: &mut FormRow) -> Result<()> {
    crate::bail!(UnsupportedFormat, "no unpacker yet")
}
