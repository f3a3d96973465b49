//! Layouts whose kernels leave weights unread: those that meet inputs of 0, or make outputs that nobody wants.
//!
//! BitNet a4.8 and Q-Sparse models keep a part of each input only, and ReLU² makes most gates 0. The panels of the
//! dense layouts interleave rows and walk along columns, so every cache line holds something that is needed; these
//! layouts are cut so that a line is needed or not. Memory is the same, 2 bits a weight, and so are the sums.

use super::Kernel;
use crate::{Result, bail, format::Form, simd::Isa};

/// What the kernels of a layout leave unread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Skips {
    /// Nothing.
    #[default]
    Nothing,
    /// Columns whose input is 0 (`kernel/columns.rs`).
    Columns,
    /// Rows that are not among [`Panels::live`](super::Panels::live) (`kernel/rows.rs`).
    Rows,
}

impl Skips {
    /// Rows of a tile of [`Skips::Columns`].
    pub const TILE: usize = 4 * super::columns::SLICE;
}

/// The largest share of inputs other than 0 at which columns are faster than panels on this kind of machine. Scattered
/// cache lines come slower than a stream of them: on Zen 3 half of the columns take a fifth longer than all. (Where
/// nothing can be prefetched, it is worse still.)
pub const fn columns_share() -> f32 {
    if cfg!(target_family = "wasm") { 0.3 } else { 0.4 }
}

/// As [`select`](super::select), of the kernels that leave out what `skips` says.
///
/// # Errors
/// `bad-option` when there is none.
pub fn select_skipping(form: Form, skips: Skips, isa: Isa) -> Result<&'static Kernel> {
    let from = super::ALL.iter().copied().flatten().skip_while(|kernel| kernel.isa() != isa);
    let mut candidates = from
        .filter(|kernel| kernel.layout.form == form && kernel.layout.skips == skips)
        // A level does not imply all those below it.
        .filter(|kernel| kernel.isa() == isa || Isa::detect(kernel.level).is_some())
        // Engines are known to get relaxed SIMD wrong; native instructions are not.
        .filter(|kernel| !cfg!(target_family = "wasm") || isa == Isa::SCALAR || super::self_test(kernel));
    let Some(kernel) = candidates.next() else {
        bail!(BadOption, "no kernel for {form:?}");
    };
    Ok(kernel)
}
