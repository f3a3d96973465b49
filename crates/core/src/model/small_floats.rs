//! Words of the spec for matrices that a Hugging Face file stores as floats of 8 or 4 bits, with scales beside them.

use super::roles::{Field, Shape};
use crate::format::{Encoding, Form};

/// How the matrices of linear layers are stored: codes in one tensor, scales in another. (Linear layers that are floats
/// were not converted; that is told by nothing else.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmallFloats {
    /// E4M3 times f32 scales: compressed-tensors' `float-quantized`, `fbgemm_fp8`, DeepSeek's `fp8`.
    E4m3(ScaleBlock),
    /// E5M2, the same.
    E5m2(ScaleBlock),
    /// E2M1 times E8M0 per 32 columns (OCP MX).
    Mxfp4,
    /// E2M1 times E4M3 per 16 columns, over an f32 of the tensor (compressed-tensors' `nvfp4-pack-quantized`).
    Nvfp4,
    /// E2M1 times an f32 of the row: vector-wise FP4 (arXiv 2501.17116).
    Fp4Rows,
}

/// Which weights share an f32 scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScaleBlock {
    /// All.
    Tensor,
    /// Those of a row.
    Row,
    /// Those of so many rows and columns; the last blocks may be smaller.
    Block(usize, usize),
}

impl SmallFloats {
    /// What codes are stored as, whatever type the container calls them.
    pub const fn encoding(self) -> Encoding {
        match self {
            Self::E4m3(_) => Encoding::F8_E4M3,
            Self::E5m2(_) => Encoding::F8_E5M2,
            Self::Mxfp4 | Self::Nvfp4 | Self::Fp4Rows => Encoding::E2M1,
        }
    }

    /// What matrices become; [`Form::exact`] of it for exact inputs.
    pub const fn form(self) -> Form {
        match self {
            Self::E4m3(_) => Form::E4m3,
            Self::E5m2(_) => Form::E5m2,
            Self::Nvfp4 => Form::Nvfp4,
            Self::Mxfp4 | Self::Fp4Rows => Form::Mxfp4,
        }
    }

    /// How many scales a matrix of (rows, cols) has, down and across.
    pub const fn scales(self, rows: usize, cols: usize) -> (usize, usize) {
        match self {
            Self::E4m3(block) | Self::E5m2(block) => match block {
                ScaleBlock::Tensor => (1, 1),
                ScaleBlock::Row => (rows, 1),
                ScaleBlock::Block(down, across) => (rows.div_ceil(down), cols.div_ceil(across)),
            },
            Self::Mxfp4 => (rows, cols.div_ceil(32)),
            Self::Nvfp4 => (rows, cols.div_ceil(16)),
            Self::Fp4Rows => (rows, 1),
        }
    }

    /// The fields that a matrix needs beside its codes.
    pub const fn beside(self) -> &'static [Field] {
        match self {
            Self::Nvfp4 => &[Field::Scale, Field::TensorScale],
            _ => &[Field::Scale],
        }
    }

    /// The scales of a matrix of (rows, cols), which float ones lack.
    pub(super) fn scale_tensors(self, [rows, cols]: [usize; 2]) -> impl Iterator<Item = (Field, Shape)> {
        self.beside().iter().map(move |&field| {
            let (down, across) = if field == Field::Scale { self.scales(rows, cols) } else { (1, 1) };
            (field, Shape::Matrix(down, across))
        })
    }
}
