//! How many inputs of a model are 0, counted while it runs.

use crate::activations::{ActFormat, Activations};

/// Zeros among some numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Zeros {
    /// How many were 0.
    pub zeros: u64,
    /// How many there were.
    pub all: u64,
}

impl Zeros {
    /// The share that is 0; none of none.
    pub fn share(self) -> f64 {
        if self.all == 0 { 0.0 } else { self.zeros as f64 / self.all as f64 }
    }

    /// Adds those of `x`.
    pub(super) fn count<T: Copy + Default + PartialEq>(&mut self, x: &[T]) {
        self.zeros += x.iter().filter(|&&x| x == T::default()).count() as u64;
        self.all += x.len() as u64;
    }

    /// Adds the codes of the input that a linear layer took last, if it took codes of 8 bits.
    pub(super) fn count_codes(&mut self, rows: &Activations) {
        if rows.is_ready(ActFormat::Token8) {
            (0..rows.n()).for_each(|t| self.count(&rows.token8().codes(t)[..rows.cols()]));
        }
    }
}

/// Zeros of all blocks and tokens. (Experts are not counted.)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sparsity {
    /// Codes of the output projection's input.
    pub output: Zeros,
    /// Products of gate and up, of which a gate that is 0 makes a 0.
    pub gate: Zeros,
    /// Codes of the down projection's input.
    pub down: Zeros,
}
