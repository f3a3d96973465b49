//! The ternary kernel over the **fields** layout, for any vector instruction set.
//!
//! An ISA file supplies the primitives below for its vector width and expands [`field_kernel`] under
//! its `#[target_feature]`s; the loops are written once, here. One load of activations serves four or
//! eight rows; sums across a vector happen once per row and tile, outside the loop.
//!
//! The odd fields stay where they are (`v & 0x0C` is four times the code), so that two masks of `v` and
//! two of `v >> 4` yield all four; their sums are shifted right at the end, exactly. The codes are
//! `w + 1`, so `Σ w q = Σ (w + 1) q − Σ q`.
//!
//! Primitives, in the scope of the expansion:
//!
//! | name | meaning |
//! |---|---|
//! | `V` | bytes of a vector: columns of a group |
//! | `TOKENS` | tokens that share one decoding of four rows |
//! | `RUN` | groups after which the narrow sums must be widened |
//! | `load_u(&[u8]) -> I`, `load_i(&[i8]) -> I` | `V` bytes |
//! | `fields(I) -> [I; 4]` | codes of four rows, × 1, 4, 1, 4 |
//! | `zero() -> I`, `dot_code(sum, codes, x) -> I` | `sum + codes · x`, narrow |
//! | `widen(total, sum) -> I` | adds narrow sums to 32-bit ones |
//! | `fold([I; 4]) -> [i32; 4]` | sums across each vector |
//! | `prefetch(*const u8)` | a hint |

/// Expands to `fn ternary(&Panels, &Rows, &mut Tile)`.
macro_rules! field_kernel {
    ($(#[$attr:meta])*) => {
        $(#[$attr])*
        fn ternary(panels: &Panels<'_>, rows: &Rows, tile: &mut Tile<'_>) {
            let n = rows.n();
            for p in 0..panels.rows.div_ceil(8) {
                let mut t = 0;
                while t < n {
                    // A single token reads the panel once; more tokens decode half a panel at a time.
                    if n - t == 1 {
                        ternary_tile::<1, 2>(panels, p, 0, rows, t, tile);
                        t += 1;
                    } else if n - t < TOKENS {
                        ternary_tile::<2, 1>(panels, p, 0, rows, t, tile);
                        ternary_tile::<2, 1>(panels, p, 1, rows, t, tile);
                        t += 2;
                    } else {
                        ternary_tile::<TOKENS, 1>(panels, p, 0, rows, t, tile);
                        ternary_tile::<TOKENS, 1>(panels, p, 1, rows, t, tile);
                        t += TOKENS;
                    }
                }
            }
        }

        /// `T` tokens from `t` × `4 H` rows of panel `p`, from its half `half`.
        $(#[$attr])*
        #[inline]
        fn ternary_tile<const T: usize, const H: usize>(
            panels: &Panels<'_>,
            p: usize,
            half: usize,
            rows: &Rows,
            t: usize,
            tile: &mut Tile<'_>,
        ) {
            let x: [&[i8]; T] = core::array::from_fn(|i| &rows.token8().codes(t + i)[..panels.cols]);
            let mut total = [[[zero(); 4]; T]; H];
            for (run, groups) in panels.panel(p).chunks(2 * V * RUN).enumerate() {
                let mut sum = [[[zero(); 4]; T]; H];
                for (g, group) in groups.chunks_exact(2 * V).enumerate() {
                    if T == 1 {
                        prefetch(group.as_ptr().wrapping_add(4096));
                        if V == 64 {
                            prefetch(group.as_ptr().wrapping_add(4096 + 64));
                        }
                    }
                    let k = (run * RUN + g) * V;
                    for h in 0..H {
                        let codes = fields(load_u(&group[(half + h) * V..][..V]));
                        for i in 0..T {
                            let x = load_i(&x[i][k..k + V]);
                            for f in 0..4 {
                                sum[h][i][f] = dot_code(sum[h][i][f], codes[f], x);
                            }
                        }
                    }
                }
                for h in 0..H {
                    for i in 0..T {
                        for f in 0..4 {
                            total[h][i][f] = widen(total[h][i][f], sum[h][i][f]);
                        }
                    }
                }
            }
            for h in 0..H {
                for i in 0..T {
                    let [a, b, c, d] = fold(total[h][i]);
                    let first = p * 8 + (half + h) * 4;
                    $crate::kernel::fields::store(panels, rows, t + i, first, [a, b >> 2, c, d >> 2], tile);
                }
            }
        }
    };
}
pub(crate) use field_kernel;

use super::Panels;
use crate::{act::Rows, pool::Tile};

/// Scales four sums of codes and writes those that are rows.
#[inline(always)]
pub(crate) fn store(
    panels: &Panels<'_>,
    rows: &Rows,
    t: usize,
    first: usize,
    sums: [i32; 4],
    tile: &mut Tile<'_>,
) {
    let x = rows.token8();
    let Some(scales) = panels.scales.get(first..) else { return };
    let out = &mut tile.token(t)[first..];
    for ((out, sum), scale) in out.iter_mut().zip(sums).zip(scales) {
        *out = (sum - x.sum(t)) as f32 / x.scale(t) * scale;
    }
}
