//! **rows** (`Ternary`): each row by itself, so that rows whose output nobody wants are never read.
//!
//! ```text
//! V bytes:  byte j      columns j, V + j, 2V + j, 3V + j of 4V, at bits 0, 2, 4, 6       (codes stored as code + 1)
//! paired, 2V bytes:  byte 2j as above, byte 2j + 1 the same of the next 4V columns
//! ```
//! It is the **fields** layout with columns in the place of rows, so the same primitives multiply it; a load of
//! activations serves one row instead of four, which costs little where the weights come from memory.

use super::{Skips, layout::Layout};
use crate::{
    activations::Activations,
    format::{Form, FormRow},
    kernel::Panels,
    simd::{Isa, vectorised},
    tile::Tile,
};

/// The **rows** layout whose groups have `4 V` columns, or `8 V` if paired.
pub const fn rows<const V: usize, const PAIRED: bool>(name: &'static str) -> Layout {
    Layout {
        name,
        form: Form::Ternary,
        panel: 1,
        step: if PAIRED { 8 * V } else { 4 * V },
        panel_bytes: |cols| cols / 4,
        pack: pack::<V, PAIRED>,
        unpack: unpack::<V, PAIRED>,
        skips: Skips::Rows,
    }
}

/// The column of byte `j` of a group, at the lowest bits.
const fn column<const V: usize, const PAIRED: bool>(j: usize) -> usize {
    if PAIRED { j / 2 + j % 2 * 4 * V } else { j }
}

fn pack<const V: usize, const PAIRED: bool>(isa: Isa, rows: &[FormRow], _: usize, row: &mut [u8]) {
    let (bytes, cols) = if PAIRED { (2 * V, 8 * V) } else { (V, 4 * V) };
    let field = |code: i8, f: usize| ((code + 1) as u8) << (2 * f);
    vectorised(
        isa,
        #[inline(always)]
        || {
            let (whole, mut last) = (&rows[0].codes, [-1; 512]);
            for (g, group) in row.chunks_exact_mut(bytes).enumerate() {
                let codes = &whole[(g * cols).min(whole.len())..];
                let codes = match codes.get(..cols) {
                    Some(codes) => codes,
                    None => {
                        last[..codes.len()].copy_from_slice(codes);
                        &last[..cols]
                    }
                };
                for (j, byte) in group.iter_mut().enumerate() {
                    let code = |f: usize| field(codes[column::<V, PAIRED>(j) + f * V], f);
                    *byte = code(0) | code(1) | code(2) | code(3);
                }
            }
        },
    );
}

fn unpack<const V: usize, const PAIRED: bool>(row: &[u8], _: usize, out: &mut [f32]) {
    let (bytes, cols) = if PAIRED { (2 * V, 8 * V) } else { (V, 4 * V) };
    for (group, out) in row.chunks_exact(bytes).zip(out.chunks_mut(cols)) {
        for (j, byte) in group.iter().enumerate() {
            for f in 0..4 {
                if let Some(out) = out.get_mut(column::<V, PAIRED>(j) + f * V) {
                    *out = f32::from((byte >> (2 * f) & 3) as i8 - 1);
                }
            }
        }
    }
}

/// Whether row `r` is wanted.
#[inline(always)]
fn is_live(panels: &Panels<'_>, r: usize) -> bool {
    panels.live.get(r).is_none_or(|&live| live != 0.0)
}

/// Rows that are looked up at a time.
const LIVE: usize = 512;

/// The wanted rows among those from `first` on, as distances from it.
pub(super) struct Live {
    rows: [u16; LIVE + 1],
    count: usize,
}

impl Live {
    /// Of the next [`LIVE`] rows.
    #[inline(always)]
    pub fn new(panels: &Panels<'_>, first: usize) -> Self {
        let mut live = Self { rows: [0; LIVE + 1], count: 0 };
        for r in first..(first + LIVE).min(panels.rows) {
            live.rows[live.count] = (r - first) as u16;
            live.count += usize::from(is_live(panels, r));
        }
        live
    }

    /// Where each block of rows begins.
    #[inline(always)]
    pub fn blocks(panels: &Panels<'_>) -> core::iter::StepBy<core::ops::Range<usize>> {
        (0..panels.rows).step_by(LIVE)
    }

    /// The rows.
    #[inline(always)]
    pub fn rows(&self) -> &[u16] {
        &self.rows[..self.count]
    }
}

/// Scales the sum of row `r` and writes it.
#[inline(always)]
pub(super) fn store(
    panels: &Panels<'_>,
    x: &Activations,
    t: usize,
    r: usize,
    total: i32,
    tile: &mut Tile<'_>,
) {
    let (sum, scale) = (x.token8().sum(t), x.token8().scale(t));
    tile.token(t)[r] = (total - sum) as f32 / scale * panels.scales[r];
}

/// The specification: `y = acc / s * scale` as in [`scalar`](super::scalar), and 0 for rows that are not wanted.
pub(super) fn scalar(panels: &Panels<'_>, rows: &Activations, tile: &mut Tile<'_>) {
    for r in 0..panels.rows {
        for t in 0..rows.n() {
            tile.token(t)[r] = 0.0;
            if is_live(panels, r) {
                let codes = panels.panel(r).iter().flat_map(|byte| [0, 2, 4, 6].map(|f| byte >> f & 3));
                let x = rows.token8().codes(t);
                let total = codes.zip(x).map(|(code, &x)| i32::from(code) * i32::from(x)).sum();
                store(panels, rows, t, r, total, tile);
            }
        }
    }
}

/// Expands to `fn rows(&Panels, &Activations, &mut Tile)`, from the primitives of
/// [`ternary_loop`](super::ternary_loop), whose `codes` must give each field by itself: these meet different
/// activations. The arguments: its visibility, the halves of a group (2 if paired), what gives a token's activations,
/// attributes.
macro_rules! row_kernel {
    ($vis:vis, $halves:literal, $x:path as $X:ty, $(#[$attr:meta])*) => {
        $(#[$attr])*
        $vis fn rows(panels: &Panels<'_>, rows: &Activations, tile: &mut Tile<'_>) {
            use $crate::kernel::rows::{Live, store};
            if rows.n() == 1 {
                let x: [&[$X]; 1] = $crate::kernel::gather(rows.token8(), 0, $x);
                let distance = (panels.order.prefetch / panels.panel_bytes).max(1);
                tile.token(0).fill(0.0);
                for first in Live::blocks(panels) {
                    let live = Live::new(panels, first);
                    for (i, &r) in live.rows().iter().enumerate() {
                        let r = first + usize::from(r);
                        let ahead = live.rows().get(i + distance).map_or(r, |&r| first + usize::from(r));
                        let ahead = panels.panel(ahead).as_ptr();
                        let [total] = row_sums::<1>(panels.panel(r), &x, ahead);
                        store(panels, rows, 0, r, total, tile);
                    }
                }
                return;
            }
            // Pairs of tokens, whose activations stay in the L1 cache while a stretch of rows, which stays in L2,
            // goes by.
            let stretch = (panels.order.stretch / panels.panel_bytes).max(1);
            for first in (0..panels.rows).step_by(stretch) {
                for t in (0..rows.n()).step_by(2) {
                    // The last of an odd number is paired with the one before it.
                    let t = t.min(rows.n() - 2);
                    let x: [&[$X]; 2] = $crate::kernel::gather(rows.token8(), t, $x);
                    for r in first..(first + stretch).min(panels.rows) {
                        let totals = row_sums::<2>(panels.panel(r), &x, core::ptr::null());
                        store(panels, rows, t, r, totals[0], tile);
                        store(panels, rows, t + 1, r, totals[1], tile);
                    }
                }
            }
        }

        /// The products of a row and `T` tokens.
        $(#[$attr])*
        #[inline]
        fn row_sums<const T: usize>(row: &[u8], x: &[&[$X]; T], ahead: *const u8) -> [i32; T] {
            const BYTES: usize = GROUP / 2 * $halves;
            const STRIP: usize = if RUN == usize::MAX { 1 << 16 } else { RUN / $halves };
            let masks = masks();
            let mut total = [[start(); 4]; T];
            for (s, strip) in row.chunks(STRIP * BYTES).enumerate() {
                let mut sum = [[start(); 4]; T];
                for (g, group) in strip.chunks_exact(BYTES).enumerate() {
                    let at = s * STRIP + g;
                    if T == 1 && at * BYTES % 64 == 0 {
                        prefetch(ahead.wrapping_add(at * BYTES));
                    }
                    let x = $crate::kernel::windows(x, at * 4 * COLS * $halves, 4 * COLS * $halves);
                    for half in 0..$halves {
                        let codes = codes(masks, group, half);
                        for f in 0..4 {
                            for i in 0..T {
                                sum[i][f] = dot_code(sum[i][f], codes[f], load_x(&x[i][(4 * half + f) * COLS..]));
                            }
                        }
                    }
                }
                for i in 0..T {
                    for f in 0..4 {
                        total[i][f] = widen(total[i][f], sum[i][f]);
                    }
                }
            }
            let mut sums = [0; T];
            for i in 0..T {
                sums[i] = fold(total[i]).iter().sum();
            }
            sums
        }
    };
}
pub(super) use row_kernel;
