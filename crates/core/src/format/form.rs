//! What a row of weights is in memory.

use alloc::vec::Vec;

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
    /// If the row has not the shape that [`unpack`](super::unpack) makes.
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
