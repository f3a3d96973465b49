//! Kernels: packed weights × quantised activations.
//!
//! A [`Kernel`] is a value: a name, the [`Layout`] it reads, and a function. To add one, write that
//! function in the file of its ISA level and add it to that file's list; the tests here, the self-test,
//! `select` and the benchmarks find it in `ALL`.
//!
//! Invariant: every kernel gives the same bits as [`scalar`], which is the specification, for any
//! split of the rows and any number of tokens. `run` is called from one place, [`Kernel::mul`], which has
//! checked that all slices have the lengths it relies on.

#[cfg(target_arch = "aarch64")]
mod aarch64;
mod columns;
pub mod float_layout;
mod interleave;
mod lane_loops;
pub mod layout;
pub mod minifloats;
mod rows;
pub mod scalar;
mod selftest;
mod sparse;
#[cfg(test)]
mod sparse_tests;
mod ternary_loop;
#[cfg(test)]
mod tests;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wasm32;
#[cfg(target_arch = "x86_64")]
mod x86_64;

use crate::{
    Result,
    activations::{ActFormat, Activations},
    bail,
    format::Form,
    simd::{Isa, Level, SCALAR},
    tile::Tile,
};
pub use interleave::{MAX_STREAMS, ReadOrder};
pub use layout::{Layout, quantise_i8};
pub use selftest::{self_test, time_kernel};
pub use sparse::{Skips, columns_share, select_skipping};

/// The most columns that any kernel takes: 32-bit sums stay exact up to here.
pub const MAX_COLS: usize = 1 << 16;

/// What `run` must be: see [`Kernel::mul`] for what it may rely on.
type Run = unsafe fn(&Panels<'_>, &Activations, &mut Tile<'_>);

/// One way to multiply packed weights by quantised activations.
pub struct Kernel {
    /// `form/level`.
    pub name: &'static str,
    level: &'static Level,
    /// What it reads.
    pub layout: &'static Layout,
    run: Run,
}

impl core::fmt::Debug for Kernel {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name)
    }
}

/// A run of whole panels, so that one call does many.
#[derive(Clone, Copy, Debug)]
pub struct Panels<'a> {
    /// The panels, one after the other.
    pub data: &'a [u8],
    /// One scale per row (`Ternary`, `I8`), else empty.
    pub scales: &'a [f32],
    /// Columns with padding.
    pub cols: usize,
    /// Rows of the matrix; the last panel may have fewer than it has lanes.
    pub rows: usize,
    /// Bytes of one panel.
    pub panel_bytes: usize,
    /// How one token reads them.
    pub order: ReadOrder,
    /// If not empty, says which rows of one token are wanted: those with a number other than 0. Layouts that skip
    /// rows give 0 for the others.
    pub live: &'a [f32],
}

impl<'a> Panels<'a> {
    /// The bytes of panel `i`.
    #[inline]
    pub fn panel(&self, i: usize) -> &'a [u8] {
        &self.data[i * self.panel_bytes..][..self.panel_bytes]
    }

    /// As [`panel`](Self::panel), of several; nothing where there is [`NONE`](interleave::NONE).
    #[inline(always)]
    fn several<const S: usize>(&self, panels: [usize; S]) -> [&'a [u8]; S] {
        panels.map(|i| if i == interleave::NONE { &[] } else { self.panel(i) })
    }
}

/// Every kernel that is compiled in: ISA levels best first, `scalar` last. Those of levels that this CPU lacks
/// never leave this module.
static ALL: &[&[Kernel]] = &[
    #[cfg(target_arch = "x86_64")]
    &x86_64::avx512vnni::KERNELS,
    #[cfg(target_arch = "x86_64")]
    &x86_64::avxvnni::KERNELS,
    #[cfg(target_arch = "x86_64")]
    &x86_64::avx2::KERNELS,
    #[cfg(target_arch = "x86_64")]
    &x86_64::avx2_columns::KERNELS,
    #[cfg(target_arch = "aarch64")]
    &aarch64::dotprod::KERNELS,
    #[cfg(target_arch = "aarch64")]
    &aarch64::dotprod::SPARSE_KERNELS,
    #[cfg(target_arch = "aarch64")]
    &aarch64::neon::KERNELS,
    #[cfg(target_arch = "aarch64")]
    &aarch64::neon_columns::KERNELS,
    #[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
    &wasm32::relaxed::KERNELS,
    #[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
    &wasm32::relaxed::SPARSE_KERNELS,
    #[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
    &wasm32::relaxed::SHORT_KERNELS,
    #[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
    &wasm32::relaxed::SHORT_SPARSE_KERNELS,
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    &wasm32::simd128::KERNELS,
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    &wasm32::simd128_sparse::KERNELS,
    &scalar::KERNELS,
    &scalar::SPARSE_KERNELS,
];

/// Every kernel that this CPU can run, best first.
pub fn available() -> impl Iterator<Item = &'static Kernel> {
    isas().flat_map(kernels_of)
}

/// The ISA levels that this CPU can run, best first; the last one is [`Isa::SCALAR`].
pub fn isas() -> impl Iterator<Item = Isa> {
    // A level may have several lists, one after the other.
    let lists = ALL.iter().enumerate();
    let first = lists.filter(|(i, kernels)| *i == 0 || ALL[i - 1][0].level.name != kernels[0].level.name);
    first.filter_map(|(_, kernels)| Isa::detect(kernels.first()?.level))
}

fn kernels_of(isa: Isa) -> impl Iterator<Item = &'static Kernel> {
    ALL.iter().copied().flatten().filter(move |kernel| kernel.isa() == isa)
}

/// The level called `choice`; the best one for `"auto"`.
///
/// # Errors
/// `bad-option` when this CPU or build has no such level.
pub fn isa(choice: &str) -> Result<Isa> {
    match isas().find(|isa| choice == "auto" || isa.name() == choice) {
        Some(isa) => Ok(isa),
        None => {
            let known: alloc::vec::Vec<_> = isas().map(Isa::name).collect();
            bail!(BadOption, "no kernels {choice:?} here; there are: auto, {}", known.join(", "));
        }
    }
}

/// The best kernel for `form` at the level `isa`. A level that lacks the form steps down to the next that has
/// it; so does, in a browser, a kernel that fails its [`self_test`].
///
/// # Errors
/// `bad-option` when there is none.
pub fn select(form: Form, isa: Isa) -> Result<&'static Kernel> {
    select_skipping(form, Skips::Nothing, isa)
}

/// The other kernels that read the layout of `kernel`, from its level down. An engine's relaxed dot products
/// are one instruction on one CPU and three on another, which only a clock can tell ([`crate::tune`]).
pub fn rivals(kernel: &'static Kernel) -> impl Iterator<Item = &'static Kernel> {
    let lower = ALL.iter().copied().flatten().skip_while(move |other| other.name != kernel.name).skip(1);
    let same = lower.filter(move |other| other.layout == kernel.layout);
    same.filter(|other| {
        Isa::detect(other.level).is_some() && (!cfg!(target_family = "wasm") || self_test(other))
    })
}

/// Slices of the `T` tokens from `t`. (Closures inside a `#[target_feature]` function cannot be inlined
/// into `core`'s functions; these can.)
#[inline(always)]
fn gather<'a, A, U, const T: usize>(
    acts: &'a A,
    t: usize,
    get: impl Fn(&'a A, usize) -> &'a [U],
) -> [&'a [U]; T] {
    core::array::from_fn(|i| get(acts, t + i))
}

/// The part `first .. first + len` of each slice.
#[inline(always)]
fn windows<'a, U, const T: usize>(x: &[&'a [U]; T], first: usize, len: usize) -> [&'a [U]; T] {
    core::array::from_fn(|i| &x[i][first..first + len])
}

impl Kernel {
    const fn scalar(name: &'static str, layout: &'static Layout, run: Run) -> Self {
        Self { name, level: &SCALAR, layout, run }
    }

    /// The level whose instructions it uses. Whoever holds a kernel got it from [`available`] or [`select`],
    /// so this CPU has them.
    pub fn isa(&self) -> Isa {
        Isa::detected(self.level)
    }

    /// What its activations must be prepared for.
    pub fn input(&self) -> ActFormat {
        match self.layout.skips {
            Skips::Columns => ActFormat::Nonzero8,
            Skips::Nothing | Skips::Rows => ActFormat::of(self.layout.form),
        }
    }

    /// Multiplies: `tile[t][r] = Σ panels[r][k] · rows[t][k]`.
    ///
    /// # Panics
    /// If `rows` is not prepared for its input or too narrow, or if the
    /// lengths of `panels`, `rows` and `tile` do not fit each other.
    pub fn mul(&self, panels: &Panels<'_>, rows: &Activations, tile: &mut Tile<'_>) {
        let layout = self.layout;
        assert!(rows.is_ready(self.input()), "activations are not prepared for {}", self.name);
        assert!(panels.cols.is_multiple_of(layout.step) && panels.cols <= rows.stride());
        assert!(panels.cols <= MAX_COLS.next_multiple_of(64));
        assert_eq!(panels.panel_bytes, (layout.panel_bytes)(panels.cols));
        assert_eq!(panels.data.len(), panels.rows.div_ceil(layout.panel) * panels.panel_bytes);
        assert_eq!(panels.scales.len(), if layout.form.has_row_scales() { panels.rows } else { 0 });
        assert!(panels.live.is_empty() || panels.live.len() == panels.rows && rows.n() == 1);
        assert!(tile.width() == panels.rows && tile.tokens() == rows.n());
        // SAFETY: kernels of levels that the CPU lacks do not leave this module (see `ALL`), and the lengths are
        // those asserted above.
        unsafe { (self.run)(panels, rows, tile) }
    }
}
