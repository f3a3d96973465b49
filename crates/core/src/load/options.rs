//! Choices made when a model is loaded.

use alloc::{
    string::{String, ToString},
    vec::Vec,
};

use super::sparsity::SparseLayouts;
use crate::container::Overrides;

/// The form of an embedding or head that the file stores as floats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum HeadPrecision {
    /// Int8 for large ones, of which every token would read more bytes than of all ternary weights; else native.
    #[default]
    Auto,
    /// As in the file: exact.
    Native,
    /// Int8 rows with a scale each: half the bytes of f16.
    Int8,
    /// As in the file, and an int8 copy that screens it: the bits of `Native` for the best logits, nearly the
    /// speed of `Int8` ([`crate::model::Screen`]).
    Exact,
}

impl HeadPrecision {
    /// Whether an embedding or head of (rows, cols) floats becomes int8.
    pub fn is_int8(self, rows: usize, cols: usize) -> bool {
        const LARGE: usize = 1 << 24;
        match self {
            Self::Auto => rows.saturating_mul(cols) >= LARGE,
            Self::Native | Self::Exact => false,
            Self::Int8 => true,
        }
    }
}

/// Choices made when packing.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// An instruction set's name, or `auto`.
    pub kernel: String,
    /// The form of float embeddings and heads.
    pub head: HeadPrecision,
    /// Names of metadata keys and tensors to pass by although they are not understood.
    pub allow_unknown: Vec<String>,
    /// Weights in FP4 meet activations that stay floats, as in reference implementations, and not their codes of 16
    /// bits: slower.
    pub exact_inputs: bool,
    /// Metadata keys that get other values before anything is read from them.
    pub set: Overrides,
    /// How many experts a token is given to: see [`Spec::active_experts`](crate::model::Spec::active_experts).
    pub experts: Vec<usize>,
    /// Which matrices lie so that what meets zeros is not read.
    pub sparse: SparseLayouts,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            kernel: "auto".to_string(),
            head: HeadPrecision::default(),
            allow_unknown: Vec::new(),
            exact_inputs: false,
            set: Overrides::default(),
            experts: Vec::new(),
            sparse: SparseLayouts::default(),
        }
    }
}
