//! The ternary kernel over the **fields** layout, for any vector instruction set.
//!
//! An ISA file supplies the primitives below for its vector width and expands [`field_kernel`] under
//! its `#[target_feature]`s; the loops are written once, here. One load of activations serves four or
//! eight rows; sums across a vector happen once per row and tile, outside the loop.
//!
//! Fields are not shifted into place: `v & 0x0C` is four times the code of the second row, and its sum is
//! shifted right at the end, exactly. The codes are `w + 1`, so `Σ w q = Σ (w + 1) q − Σ q`.
//!
//! Primitives, in the scope of the expansion:
//!
//! | name | meaning |
//! |---|---|
//! | `COLS`, `GROUP` | columns and bytes of a group of 8 rows |
//! | `TOKENS` | tokens that share one decoding of four rows |
//! | `RUN` | groups after which narrow sums must be widened; `usize::MAX` if they are not narrow |
//! | `masks() -> M` | what `codes` masks with, made outside the loop |
//! | `codes(M, &[u8], half) -> [I; 4]` | four vectors that determine the codes of rows 0–3 or 4–7 of a group |
//! | `load_x(&[_]) -> I` | `COLS` activations, of the type that the macro's argument gives |
//! | `start() -> I`, `dot_code(sum, codes, x) -> I` | `sum + codes · x`, narrow |
//! | `widen(total, sum) -> I` | adds narrow sums to 32-bit ones |
//! | `fold([I; 4]) -> [i32; 4]` | the four rows' sums from those over `codes` |
//! | `prefetch(*const u8)` | a hint |

/// Expands to `fn ternary(&Panels, &Activations, &mut Tile)`. The arguments: its visibility,
/// what gives a token's activations, attributes.
macro_rules! field_kernel {
    ($vis:vis, $x:path as $X:ty, $(#[$attr:meta])*) => {
        $(#[$attr])*
        $vis fn ternary(panels: &Panels<'_>, rows: &Activations, tile: &mut Tile<'_>) {
            // Half panels for pairs of tokens, whose activations stay in the L1 cache while a stretch of
            // panels, which stays in L2, goes by.
            let all = panels.rows.div_ceil(8);
            let stretch = (panels.order.stretch / panels.panel_bytes).max(1);
            let paired = rows.n() / 2 * 2;
            for first in (0..all).step_by(stretch) {
                let halves = 2 * first..2 * (first + stretch).min(all);
                let mut t = 0;
                while t < paired {
                    if paired - t >= TOKENS {
                        for p in halves.clone() {
                            ternary_tile::<1, TOKENS, 1>(panels, [p / 2], p % 2, rows, t, tile);
                        }
                        t += TOKENS;
                    } else {
                        for p in halves.clone() {
                            ternary_tile::<1, 2, 1>(panels, [p / 2], p % 2, rows, t, tile);
                        }
                        t += 2;
                    }
                }
            }
            if paired < rows.n() {
                use $crate::kernel::interleave::{MAX_STREAMS, for_streams};
                for_streams!(
                    panels,
                    8,
                    |p| ternary_tile::<1, 1, 2>(panels, p, 0, rows, paired, tile),
                    ternary_tile::<MAX_STREAMS, 1, 2>(panels, p, 0, rows, paired, tile)
                );
            }
        }

        /// `T` tokens from `t` × `4 H` rows, from a half on, of the panels `p`.
        $(#[$attr])*
        #[inline]
        fn ternary_tile<const S: usize, const T: usize, const H: usize>(
            panels: &Panels<'_>,
            p: [usize; S],
            half: usize,
            rows: &Activations,
            t: usize,
            tile: &mut Tile<'_>,
        ) {
            let x: [&[$X]; T] = $crate::kernel::gather(rows.token8(), t, $x);
            let data = panels.several(p);
            let mut total = [[[[start(); 4]; T]; H]; S];
            // Narrow sums end a strip anyway.
            let strip = match RUN {
                usize::MAX if S > 1 => $crate::kernel::interleave::STRIP / GROUP,
                _ => RUN.min(panels.panel_bytes / GROUP).max(1),
            };
            for first in (0..panels.cols).step_by(strip * COLS) {
                let groups = strip.min((panels.cols - first) / COLS);
                let x = $crate::kernel::windows(&x, first, groups * COLS);
                for s in 0..S {
                    if S > 1 && data[s].is_empty() {
                        continue;
                    }
                    let groups = &data[s][first / COLS * GROUP..][..groups * GROUP];
                    if RUN == usize::MAX {
                        total[s] = add_groups(groups, half, &x, panels.order.prefetch, total[s]);
                        continue;
                    }
                    let sum = add_groups(groups, half, &x, panels.order.prefetch, [[[start(); 4]; T]; H]);
                    for h in 0..H {
                        for i in 0..T {
                            for f in 0..4 {
                                total[s][h][i][f] = widen(total[s][h][i][f], sum[h][i][f]);
                            }
                        }
                    }
                }
            }
            for s in 0..S {
                if S > 1 && data[s].is_empty() {
                    continue;
                }
                for h in 0..H {
                    for i in 0..T {
                        let sums = fold(total[s][h][i]);
                        let first = p[s] * 8 + (half + h) * 4;
                        $crate::kernel::ternary_loop::store(panels, rows, t + i, first, sums, tile);
                    }
                }
            }
        }

        /// Adds, narrow, the products of `groups` and the activations of their columns.
        $(#[$attr])*
        #[inline]
        fn add_groups<const T: usize, const H: usize>(
            groups: &[u8],
            half: usize,
            x: &[&[$X]; T],
            ahead: usize,
            mut sum: [[[I; 4]; T]; H],
        ) -> [[[I; 4]; T]; H] {
            let masks = masks();
            for (g, group) in groups.chunks_exact(GROUP).enumerate() {
                if T == 1 {
                    for line in 0..GROUP.div_ceil(64) {
                        prefetch(group.as_ptr().wrapping_add(ahead + 64 * line));
                    }
                }
                let x = $crate::kernel::windows(x, g * COLS, COLS);
                for h in 0..H {
                    let codes = codes(masks, group, half + h);
                    for i in 0..T {
                        let x = load_x(x[i]);
                        for f in 0..4 {
                            sum[h][i][f] = dot_code(sum[h][i][f], codes[f], x);
                        }
                    }
                }
            }
            sum
        }
    };
}
pub(crate) use field_kernel;

use super::Panels;
use crate::{activations::Activations, tile::Tile};

/// Scales four sums of codes and writes those that are rows.
#[inline(always)]
pub(crate) fn store(
    panels: &Panels<'_>,
    rows: &Activations,
    t: usize,
    first: usize,
    sums: [i32; 4],
    tile: &mut Tile<'_>,
) {
    let (sum, scale) = (rows.token8().sum(t), rows.token8().scale(t));
    let value = |i: usize, row_scale: f32| (sums[i] - sum) as f32 / scale * row_scale;
    let out = &mut tile.token(t)[first.min(panels.rows)..];
    if let (Some(out), Some(scales)) =
        (out.first_chunk_mut::<4>(), panels.scales[first.min(panels.rows)..].first_chunk::<4>())
    {
        *out = [value(0, scales[0]), value(1, scales[1]), value(2, scales[2]), value(3, scales[3])];
    } else {
        for (i, out) in out.iter_mut().enumerate() {
            *out = value(i, panels.scales[first + i]);
        }
    }
}
