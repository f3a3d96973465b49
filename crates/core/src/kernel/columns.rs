//! **columns** (`Ternary`): tiles of rows, each stored column by column, so that the columns of zero inputs are never
//! read.
//!
//! A panel is a tile of `4 S` rows. A column's part of it, a *slice*, is `S` bytes, a multiple of a cache line where
//! kernels are fast:
//! ```text
//! byte j of slice k: rows j, S + j, 2S + j, 3S + j of column k, at bits 0, 2, 4, 6      (codes stored as code + 1)
//! ```
//! A kernel walks the inputs that are not 0 ([`Token8::nonzero`](crate::activations::Token8::nonzero)) and adds code
//! times input to the sums of a tile's rows, which are few enough to stay in the first-level cache. Which line is next
//! no prefetcher can guess, but the list tells it far ahead. Many tokens are done one after the other while a tile
//! stays in the second-level cache: each has zeros of its own.
//!
//! Invariant: the sums are integers, so the bits are those of the dense layouts.

use super::{Panels, Skips, layout::Layout};
use crate::{
    activations::{Activations, Nonzero},
    format::{Form, FormRow},
    simd::{Isa, vectorised},
    tile::Tile,
};

/// Bytes of a slice, of the kernels with vectors: a cache line. (Two were measured to be slower on Zen 3; where nothing
/// can be prefetched, longer runs of bytes serve better.)
pub(super) const SLICE: usize = if cfg!(target_family = "wasm") { 128 } else { 64 };
/// Columns whose products are summed in 16 bits: `32 · 8 · 127 < 2^15` (codes of every other row are multiplied by 4).
pub(super) const BATCH: usize = 32;

/// The **columns** layout with slices of `S` bytes.
pub const fn columns<const S: usize>(name: &'static str) -> Layout {
    Layout {
        name,
        form: Form::Ternary,
        panel: 4 * S,
        step: 1,
        panel_bytes: |cols| cols * S,
        pack: pack::<S>,
        unpack: unpack::<S>,
        skips: Skips::Columns,
    }
}

/// Columns that are packed at a time: their slices stay in the first-level cache.
const BLOCK: usize = 64;

fn pack<const S: usize>(isa: Isa, rows: &[FormRow], lane: usize, panel: &mut [u8]) {
    vectorised(
        isa,
        #[inline(always)]
        || {
            for (b, slices) in panel.chunks_mut(BLOCK * S).enumerate() {
                if rows.len() == 4 * S {
                    pack_block::<S>(rows, b * BLOCK, slices);
                    continue;
                }
                for (lane, row) in (lane..).zip(rows) {
                    let (j, shift) = (lane % S, lane / S * 2);
                    for (slice, &code) in slices.chunks_exact_mut(S).zip(&row.codes[b * BLOCK..]) {
                        slice[j] = slice[j] & !(3 << shift) | ((code + 1) as u8) << shift;
                    }
                }
            }
        },
    );
}

/// All rows of a tile, `slices` from column `first` on: each byte is written once, whole.
#[inline(always)]
fn pack_block<const S: usize>(rows: &[FormRow], first: usize, slices: &mut [u8]) {
    let field = |code: i8, f: usize| ((code + 1) as u8) << (2 * f);
    for j in 0..S {
        let [a, b, c, d] = [0, 1, 2, 3].map(|f| &rows[f * S + j].codes[first..]);
        let codes = a.iter().zip(b).zip(c.iter().zip(d));
        for (slice, ((&a, &b), (&c, &d))) in slices.chunks_exact_mut(S).zip(codes) {
            slice[j] = field(a, 0) | field(b, 1) | field(c, 2) | field(d, 3);
        }
    }
}

fn unpack<const S: usize>(panel: &[u8], lane: usize, out: &mut [f32]) {
    let (j, shift) = (lane % S, lane / S * 2);
    for (out, slice) in out.iter_mut().zip(panel.chunks_exact(S)) {
        *out = f32::from((slice[j] >> shift & 3) as i8 - 1);
    }
}

/// One sum for each row of a tile, where the four rows of a byte are `SLICE` apart.
#[repr(align(64))]
pub(super) struct Totals(pub [i32; 4 * SLICE]);

/// The slices that will be needed next.
#[derive(Clone, Copy)]
pub(super) struct Ahead<'a> {
    panel: &'a [u8],
    columns: &'a [u16],
}

impl<'a> Ahead<'a> {
    /// `distance` columns after place `at` of the list, of panel `p` or the one after it; nothing beyond.
    #[inline(always)]
    pub fn new(panels: &Panels<'a>, p: usize, list: Nonzero<'a>, at: usize, distance: usize) -> Self {
        let (place, len) = (at + distance, list.columns.len());
        let (p, place) = if place < len { (p, place) } else { (p + 1, place - len) };
        let is_there = distance > 0 && place < len && p < panels.rows.div_ceil(4 * SLICE);
        match is_there {
            true => Self { panel: panels.panel(p), columns: &list.columns[place..] },
            false => Self { panel: &[], columns: &[] },
        }
    }

    /// The slice of the `i`-th of these columns.
    #[inline(always)]
    pub fn slice(&self, i: usize) -> Option<&'a [u8]> {
        self.columns.get(i).map(|&k| &self.panel[usize::from(k) * SLICE..][..SLICE])
    }
}

/// Scales the sums of tile `p` and writes those that are rows.
#[inline(always)]
pub(super) fn store(
    panels: &Panels<'_>,
    x: &Activations,
    t: usize,
    p: usize,
    totals: &[i32],
    tile: &mut Tile<'_>,
) {
    let (sum, scale) = (x.token8().sum(t), x.token8().scale(t));
    let first = p * totals.len();
    let out = &mut tile.token(t)[first..];
    for ((out, &total), &row_scale) in out.iter_mut().zip(totals).zip(&panels.scales[first..]) {
        *out = (total - sum) as f32 / scale * row_scale;
    }
}

/// The specification: `y = acc / s * scale` as in [`scalar`](super::scalar), over slices of one byte.
pub(super) fn scalar(panels: &Panels<'_>, rows: &Activations, tile: &mut Tile<'_>) {
    for p in 0..panels.rows.div_ceil(4) {
        for t in 0..rows.n() {
            let list = rows.token8().nonzero(t);
            let mut totals = [0_i32; 4];
            for (&k, &x) in list.columns.iter().zip(list.codes) {
                let byte = panels.panel(p)[usize::from(k)];
                for (f, total) in totals.iter_mut().enumerate() {
                    *total += i32::from(byte >> (2 * f) & 3) * i32::from(x);
                }
            }
            store(panels, rows, t, p, &totals, tile);
        }
    }
}

/// Expands to `fn columns(&Panels, &Activations, &mut Tile)`, a kernel over slices of [`SLICE`] bytes. In the scope of
/// the expansion:
///
/// | name | meaning |
/// |---|---|
/// | `SHIFTS: [u32; 4]` | by how much the sums of each quarter of a tile's rows are to be shifted right at the end |
/// | `add_batch(panel, columns, codes, Ahead, &mut Totals)` | adds the products of up to [`BATCH`] inputs, an even number |
macro_rules! column_kernel {
    ($vis:vis, $(#[$attr:meta])*) => {
        $(#[$attr])*
        $vis fn columns(panels: &Panels<'_>, rows: &Activations, tile: &mut Tile<'_>) {
            use $crate::kernel::columns::{BATCH, store};
            let distance = if rows.n() == 1 { panels.order.prefetch / SLICE } else { 0 };
            for p in 0..panels.rows.div_ceil(4 * SLICE) {
                let panel = panels.panel(p);
                for t in 0..rows.n() {
                    let list = rows.token8().nonzero(t);
                    let mut totals = Totals([0; 4 * SLICE]);
                    let batches = list.columns.chunks(BATCH).zip(list.codes.chunks(BATCH));
                    for (i, (columns, codes)) in batches.enumerate() {
                        let ahead = Ahead::new(panels, p, list, i * BATCH, distance);
                        add_batch(panel, columns, codes, ahead, &mut totals);
                    }
                    for (totals, shift) in totals.0.chunks_exact_mut(SLICE).zip(SHIFTS) {
                        totals.iter_mut().for_each(|total| *total >>= shift);
                    }
                    store(panels, rows, t, p, &totals.0, tile);
                }
            }
        }
    };
}
pub(super) use column_kernel;
