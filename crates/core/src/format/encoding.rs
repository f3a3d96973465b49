//! How weights are stored in files: names and sizes.

use super::{form::Form, ternary::I2_S_TAIL};
use crate::{Result, bail};

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
    /// PrismML's PTQ1_0: 28 bytes per 128 weights, five trits a byte.
    PTQ1_0,
    /// Tencent's STQ1_0: 42 bytes per 256 weights, of each four of which one is 0.
    STQ1_0,
    MXFP4,
    /// Codes of E2M1, two to a byte, the lower half first; scales are a tensor of their own.
    E2M1,
    /// One byte each; scales are a tensor of their own.
    F8_E4M3,
    F8_E5M2,
    /// safetensors `U8`: HF packed ternary when a `weight_scale` belongs to it.
    U8,
    /// safetensors integer types, never weights (skipped unless asked for).
    Other,
}

impl Encoding {
    /// The form that rows of this encoding are unpacked into.
    pub const fn form(self) -> Form {
        match self {
            Self::F32 | Self::Other => Form::F32,
            Self::F16 => Form::F16,
            Self::BF16 => Form::BF16,
            Self::Q4_0 | Self::Q4_1 | Self::Q4_K => Form::Q4,
            Self::Q5_0 | Self::Q5_1 | Self::Q8_0 | Self::Q5_K => Form::Q8,
            Self::MXFP4 | Self::E2M1 => Form::Mxfp4,
            Self::F8_E4M3 => Form::E4m3,
            Self::F8_E5M2 => Form::E5m2,
            Self::Q2_K | Self::Q3_K | Self::Q6_K => Form::Q8x16,
            Self::Q1_0 | Self::Q2_0_64 | Self::Q2_0_128 | Self::PTQ1_0 | Self::STQ1_0 => Form::Q2,
            Self::TQ1_0 | Self::TQ2_0 | Self::I2_S | Self::U8 => Form::Ternary,
        }
    }

    /// Whether weights are stored as floats.
    pub const fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F16 | Self::BF16)
    }

    /// Whether the scales of its weights are a tensor of their own.
    pub const fn has_scales_beside(self) -> bool {
        matches!(self, Self::U8 | Self::E2M1 | Self::F8_E4M3 | Self::F8_E5M2)
    }

    /// Every encoding.
    pub const ALL: &'static [Self] = &[
        Self::F32,
        Self::F16,
        Self::BF16,
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q8_0,
        Self::Q2_K,
        Self::Q3_K,
        Self::Q4_K,
        Self::Q5_K,
        Self::Q6_K,
        Self::TQ1_0,
        Self::TQ2_0,
        Self::I2_S,
        Self::Q1_0,
        Self::Q2_0_64,
        Self::Q2_0_128,
        Self::PTQ1_0,
        Self::STQ1_0,
        Self::MXFP4,
        Self::U8,
        Self::Other,
        Self::E2M1,
        Self::F8_E4M3,
        Self::F8_E5M2,
    ];

    /// The name in the field.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::BF16 => "BF16",
            Self::Q4_0 => "Q4_0",
            Self::Q4_1 => "Q4_1",
            Self::Q5_0 => "Q5_0",
            Self::Q5_1 => "Q5_1",
            Self::Q8_0 => "Q8_0",
            Self::Q2_K => "Q2_K",
            Self::Q3_K => "Q3_K",
            Self::Q4_K => "Q4_K",
            Self::Q5_K => "Q5_K",
            Self::Q6_K => "Q6_K",
            Self::TQ1_0 => "TQ1_0",
            Self::TQ2_0 => "TQ2_0",
            Self::I2_S => "I2_S",
            Self::Q1_0 => "Q1_0",
            Self::Q2_0_64 => "Q2_0 (64)",
            Self::Q2_0_128 => "Q2_0 (128)",
            Self::PTQ1_0 => "PTQ1_0",
            Self::STQ1_0 => "STQ1_0",
            Self::MXFP4 => "MXFP4",
            Self::E2M1 => "E2M1",
            Self::F8_E4M3 => "F8_E4M3",
            Self::F8_E5M2 => "F8_E5M2",
            Self::U8 => "U8",
            Self::Other => "other",
        }
    }

    /// Columns and bytes of one block; a row is a whole number of them.
    pub const fn block(self) -> (usize, usize) {
        match self {
            Self::F32 => (1, 4),
            Self::F16 | Self::BF16 => (1, 2),
            Self::Q4_0 => (32, 18),
            Self::Q4_1 => (32, 20),
            Self::Q5_0 => (32, 22),
            Self::Q5_1 => (32, 24),
            Self::Q8_0 => (32, 34),
            Self::Q2_K => (256, 84),
            Self::Q3_K => (256, 110),
            Self::Q4_K => (256, 144),
            Self::Q5_K => (256, 176),
            Self::Q6_K => (256, 210),
            Self::TQ1_0 => (256, 54),
            Self::TQ2_0 => (256, 66),
            Self::I2_S => (128, 32),
            Self::Q1_0 => (128, 18),
            Self::Q2_0_64 => (64, 18),
            Self::Q2_0_128 => (128, 34),
            Self::PTQ1_0 => (128, 28),
            Self::STQ1_0 => (256, 42),
            Self::MXFP4 => (32, 17),
            Self::E2M1 => (2, 1),
            Self::F8_E4M3 | Self::F8_E5M2 | Self::U8 | Self::Other => (1, 1),
        }
    }

    /// Bytes of one stored row of `cols` weights. `U8`: one byte per column (which holds four rows).
    ///
    /// # Errors
    /// `shape` if `cols` is not a whole number of blocks, `too-large`, `unsupported-format` for [`Self::Other`].
    pub fn row_bytes(self, cols: u64) -> Result<u64> {
        if self == Self::Other {
            bail!(UnsupportedFormat, "integers and doubles are not weights");
        }
        let (block_cols, block_bytes) = self.block();
        if !cols.is_multiple_of(block_cols as u64) {
            bail!(Shape, "{} needs a multiple of {block_cols} columns, got {cols}", self.name());
        }
        match (cols / block_cols as u64).checked_mul(block_bytes as u64) {
            Some(bytes) => Ok(bytes),
            None => bail!(TooLarge, "a row of {cols} columns"),
        }
    }

    /// Bytes after the rows of a tensor: the scale of I2_S and its padding.
    pub const fn tail_bytes(self) -> u64 {
        match self {
            Self::I2_S => I2_S_TAIL as u64,
            _ => 0,
        }
    }

    /// Bytes of a whole tensor of `rows` stored rows.
    ///
    /// # Errors
    /// As [`Self::row_bytes`].
    pub fn tensor_bytes(self, rows: u64, cols: u64) -> Result<u64> {
        match self.row_bytes(cols)?.checked_mul(rows).and_then(|n| n.checked_add(self.tail_bytes())) {
            Some(bytes) => Ok(bytes),
            None => bail!(TooLarge, "{rows} rows of {cols} columns"),
        }
    }

    /// Bits per weight, scales included (a tensor's tail excluded).
    pub fn bits_per_weight(self) -> f32 {
        match self.block() {
            // Four rows share a byte.
            _ if self == Self::U8 => 2.0,
            (cols, bytes) => 8.0 * bytes as f32 / cols as f32,
        }
    }
}
