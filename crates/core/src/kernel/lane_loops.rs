//! The kernels over the **words**, **bytes** and **floats** layouts, for any vector instruction set.
//!
//! A vector holds `R` rows, one a lane, so nothing is ever summed across a vector: activations are
//! broadcast. An ISA file supplies the primitives below for its `R` and expands [`block_kernel`],
//! [`byte_kernel`] and [`float_kernel`] under its `#[target_feature]`s; the loops, and the order of the f32
//! operations, are written once, here.
//!
//! Primitives, in the scope of the expansion (`I` integers, `Sums` of `dot_…`, `Floats`, `X` broadcast
//! activations; the types of sums are named so there):
//!
//! | name | meaning |
//! |---|---|
//! | `R` | rows of a panel: 32-bit lanes |
//! | `SLOT` | bits in which a code meets an activation: 8 or 16 (see `layout`) |
//! | `PLANES` | in how many planes 14-bit activations come: 2 of 8 bits, or 1 of 16 |
//! | `TOKENS`, `BYTE_TOKENS`, `FLOAT_TOKENS` | tokens that share one decoding |
//! | `CHAINS` | sums of a row of bytes that do not wait for each other (1, 2 or 4) |
//! | `load_u(&[u8]) -> I`, `load_f(&[u8]) -> Floats` | `4 R` bytes |
//! | `load_f16(&[u8]) -> Floats`, `load_bf16(&[u8]) -> Floats` | `2 R` bytes |
//! | `splat(&[_]) -> X`, `splat_7(&[_]) -> X` | the next 32 / `SLOT` activations (of blocks; of tokens), to every lane |
//! | `splat_f(f32) -> Floats` | to every lane |
//! | `field(I, bits, f) -> I` | the `f`-th code of every slot |
//! | `dot_field(sum, codes, x, bits) -> Sums` | `sum + codes · x` of `field`s |
//! | `finish(sum, bits) -> I` | 32-bit lanes from such sums over 32 columns |
//! | `join(high, low, base) -> I` | `base · high + low`, 32-bit lanes |
//! | `bias(bits) -> i32`, `less(I, i32) -> I` | what `field` had added to each code; each 32-bit lane less a number |
//! | `byte(I, f) -> I`, `dot_byte(sum, w, x) -> Sums` | the same for signed bytes × `splat_7`, 32-bit sums |
//! | `zero zero_f mul add to_float store_i store_f` | as they say |
//! | `prefetch(*const u8)` | a hint |

/// Calls `$tile::<…, T>` for all panels and pairs of tokens, with `T` the most that fit of `$max` and 2. Evaluates
/// to the token that is left, or to the number of tokens.
macro_rules! for_tiles {
    ($tile:ident::<$($kind:tt),*>, $max:expr, $panels:ident, $rows:ident, $out:ident) => {{
        let paired = $rows.n() / 2 * 2;
        for p in 0..$panels.rows.div_ceil(R) {
            let mut t = 0;
            while t < paired {
                if paired - t >= $max {
                    $tile::<$($kind,)* { $max }>($panels, [p], $rows, t, $out);
                    t += $max;
                } else {
                    $tile::<$($kind,)* 2>($panels, [p], $rows, t, $out);
                    t += 2;
                }
            }
        }
        paired
    }};
}
pub(crate) use for_tiles;

/// [`for_tiles`], and the token that is left by itself.
macro_rules! for_all_tiles {
    ($tile:ident::<$kind:tt>, $max:expr, $panels:ident, $rows:ident, $out:ident) => {
        let t = $crate::kernel::lane_loops::for_tiles!($tile::<$kind>, $max, $panels, $rows, $out);
        if t < $rows.n() {
            for p in 0..$panels.rows.div_ceil(R) {
                $tile::<$kind, 1>($panels, [p], $rows, t, $out);
            }
        }
    };
}
pub(crate) use for_all_tiles;

/// Expands to `fn block<B>(&Panels, &Activations, &mut Tile)`. The arguments: its visibility, what gives the planes
/// of a token's activations, attributes.
macro_rules! block_kernel {
    ($vis:vis, [$($x:path),+] as $X:ty, $(#[$attr:meta])*) => {
        $(#[$attr])*
        $vis fn block<B: Block>(panels: &Panels<'_>, rows: &Activations, tile: &mut Tile<'_>) {
            $crate::kernel::lane_loops::for_all_tiles!(block_tile::<B>, TOKENS, panels, rows, tile);
        }

        $(#[$attr])*
        #[inline]
        fn block_tile<B: Block, const T: usize>(
            panels: &Panels<'_>,
            [p]: [usize; 1],
            rows: &Activations,
            t: usize,
            tile: &mut Tile<'_>,
        ) {
            let width = B::BLOCK.min(32);
            let vectors = width * B::BITS / 32;
            let acts = rows.block32();
            let x: [[&[$X]; T]; PLANES] = [$($crate::kernel::gather(acts, t, $x)),+];
            let dx: [&[f32]; T] = $crate::kernel::gather(acts, t, Block32::scales);
            let sums: [&[f32]; T] = match width {
                16 => $crate::kernel::gather(acts, t, Block32::sums16),
                _ => $crate::kernel::gather(acts, t, Block32::sums32),
            };
            let mut acc = [zero_f(); T];
            let ahead = panels.order.prefetch;
            for (s, span) in panels.panel(p).chunks_exact(B::span_bytes(R)).enumerate() {
                if T == 1 {
                    for line in 0..B::span_bytes(R).div_ceil(64) {
                        prefetch(span.as_ptr().wrapping_add(ahead + 64 * line));
                    }
                }
                let (scales, words) = span.split_at(B::scale_bytes(R));
                for b in 0..B::SPAN / width {
                    let first = s * B::SPAN + b * width;
                    let mut window = x;
                    for p in 0..PLANES {
                        window[p] = $crate::kernel::windows(&x[p], first, width);
                    }
                    let mut sum = [[zero(); T]; PLANES];
                    for g in 0..vectors {
                        let codes = load_u(&words[(b * vectors + g) * 4 * R..][..4 * R]);
                        for f in 0..SLOT / B::BITS {
                            let codes = field(codes, B::BITS, f);
                            for p in 0..PLANES {
                                for i in 0..T {
                                    let x = splat(&window[p][i][g * (32 / B::BITS) + f * (32 / SLOT)..]);
                                    sum[p][i] = dot_field(sum[p][i], codes, x, B::BITS);
                                }
                            }
                        }
                    }
                    let at = b * width / B::BLOCK * if B::MINS { 2 } else { 1 };
                    let d = load_f(&scales[at * 4 * R..][..4 * R]);
                    for i in 0..T {
                        let qsum = sums[i][first / width];
                        let dx = splat_f(dx[i][first / 32]);
                        let mut isum = finish(sum[0][i], B::BITS);
                        if PLANES == 2 {
                            isum = join(isum, finish(sum[PLANES - 1][i], B::BITS), Block32::BASE);
                        }
                        if bias(B::BITS) != 0 {
                            isum = less(isum, bias(B::BITS) * qsum as i32);
                        }
                        acc[i] = add(acc[i], mul(mul(d, dx), to_float(isum)));
                        if B::MINS {
                            let m = load_f(&scales[(at + 1) * 4 * R..][..4 * R]);
                            acc[i] = add(acc[i], mul(mul(m, dx), splat_f(qsum)));
                        }
                    }
                }
            }
            for i in 0..T {
                $crate::kernel::lane_loops::put(tile, t + i, p * R, &store_f(acc[i]));
            }
        }
    };
}
pub(crate) use block_kernel;

/// Expands to `fn i8(&Panels, &Activations, &mut Tile)`; the arguments as [`block_kernel`]'s.
macro_rules! byte_kernel {
    ($vis:vis, [$($x:path),+] as $X:ty, $(#[$attr:meta])*) => {
        $(#[$attr])*
        $vis fn i8(panels: &Panels<'_>, rows: &Activations, tile: &mut Tile<'_>) {
            use $crate::kernel::interleave::{MAX_STREAMS, for_streams};
            let t = $crate::kernel::lane_loops::for_tiles!(i8_tile::<1>, BYTE_TOKENS, panels, rows, tile);
            if t < rows.n() {
                for_streams!(
                    panels,
                    R,
                    |p| i8_tile::<1, 1>(panels, p, rows, t, tile),
                    i8_tile::<MAX_STREAMS, 1>(panels, p, rows, t, tile)
                );
            }
        }

        $(#[$attr])*
        #[inline]
        fn i8_tile<const S: usize, const T: usize>(
            panels: &Panels<'_>,
            p: [usize; S],
            rows: &Activations,
            t: usize,
            tile: &mut Tile<'_>,
        ) {
            let acts = rows.token14();
            let x: [[&[$X]; T]; PLANES] = [$($crate::kernel::gather(acts, t, $x)),+];
            let data = panels.several(p);
            let mut acc = [[[[0_i64; R]; T]; PLANES]; S];
            let run = $crate::kernel::lane_loops::byte_run(PLANES);
            let strip = if S == 1 { run } else { $crate::kernel::interleave::STRIP / R };
            for start in (0..panels.cols).step_by(run) {
                let end = (start + run).min(panels.cols);
                let mut sum = [[[[zero(); CHAINS]; T]; PLANES]; S];
                for first in (start..end).step_by(strip) {
                    let cols = strip.min(end - first);
                    let mut x = x;
                    for p in 0..PLANES {
                        x[p] = $crate::kernel::windows(&x[p], first, cols);
                    }
                    for s in 0..S {
                        if S > 1 && data[s].is_empty() {
                            continue;
                        }
                        let words = &data[s][(4 + first) * R..][..cols * R];
                        sum[s] = add_bytes::<T>(words, &x, panels.order.prefetch, sum[s]);
                    }
                }
                for s in 0..S {
                    for p in 0..PLANES {
                        for i in 0..T {
                            for c in 0..CHAINS {
                                let sum = store_i(sum[s][p][i][c]);
                                for r in 0..R {
                                    acc[s][p][i][r] += i64::from(sum[r]);
                                }
                            }
                        }
                    }
                }
            }
            for s in 0..S {
                if S > 1 && data[s].is_empty() {
                    continue;
                }
                for i in 0..T {
                    let mut out = [0.0; R];
                    for (r, (out, &scale)) in out.iter_mut().zip(&panels.scales[p[s] * R..]).enumerate() {
                        let mut acc = [acc[s][0][i][r], acc[s][PLANES - 1][i][r]];
                        if PLANES == 2 {
                            acc[1] += 128 * (acc[0] - 64 * i64::from(layout::byte_sum(data[s], r)));
                        }
                        *out = acc[1] as f32 / acts.scale(t + i) * scale;
                    }
                    $crate::kernel::lane_loops::put(tile, t + i, p[s] * R, &out);
                }
            }
        }

        /// Adds the products of the words and the activations of some columns.
        $(#[$attr])*
        #[inline]
        fn add_bytes<const T: usize>(
            words: &[u8],
            x: &[[&[$X]; T]; PLANES],
            ahead: usize,
            mut sum: [[[Sums; CHAINS]; T]; PLANES],
        ) -> [[[Sums; CHAINS]; T]; PLANES] {
            // One token alone would wait for its own sums.
            let chains = if T == 1 { CHAINS } else { 1 };
            for (s, words) in words.chunks_exact(16 * R).enumerate() {
                if T == 1 {
                    for line in 0..(16 * R).div_ceil(64) {
                        prefetch(words.as_ptr().wrapping_add(ahead + 64 * line));
                    }
                }
                let first = 16 * s;
                let mut window = *x;
                for p in 0..PLANES {
                    window[p] = $crate::kernel::windows(&x[p], first, 16);
                }
                for g in 0..4 {
                    let w = load_u(&words[g * 4 * R..][..4 * R]);
                    for f in 0..SLOT / 8 {
                        let w = byte(w, f);
                        let k = 4 * g + f * (32 / SLOT);
                        for p in 0..PLANES {
                            for i in 0..T {
                                let c = g % chains;
                                sum[p][i][c] = dot_byte(sum[p][i][c], w, splat_7(&window[p][i][k..]));
                            }
                        }
                    }
                }
            }
            sum
        }
    };
}
pub(crate) use byte_kernel;

/// Columns whose products fit a 32-bit sum: of bytes with 7-bit activations (127 · 127 · 65536 < 2^31), or
/// with whole 14-bit ones (127 · 8191 · 2048 < 2^31).
pub(crate) const fn byte_run(planes: usize) -> usize {
    if planes == 2 { super::MAX_COLS } else { 2048 }
}

/// Expands to `fn float<T>(&Panels, &Activations, &mut Tile)`.
macro_rules! float_kernel {
    ($(#[$attr:meta])*) => {
        $(#[$attr])*
        fn float<W: Float>(panels: &Panels<'_>, rows: &Activations, tile: &mut Tile<'_>) {
            use $crate::kernel::interleave::{MAX_STREAMS, for_streams};
            let t = $crate::kernel::lane_loops::for_tiles!(float_tile::<W, 1>, FLOAT_TOKENS, panels, rows, tile);
            if t < rows.n() {
                for_streams!(
                    panels,
                    R,
                    |p| float_tile::<W, 1, 1>(panels, p, rows, t, tile),
                    float_tile::<W, MAX_STREAMS, 1>(panels, p, rows, t, tile)
                );
            }
        }

        $(#[$attr])*
        #[inline]
        fn float_tile<W: Float, const S: usize, const T: usize>(
            panels: &Panels<'_>,
            p: [usize; S],
            rows: &Activations,
            t: usize,
            tile: &mut Tile<'_>,
        ) {
            let x: [&[f32]; T] = $crate::kernel::gather(rows, t, Activations::floats);
            let data = panels.several(p);
            let bytes = W::BYTES * R;
            let strip = if S == 1 { panels.cols.max(1) } else { $crate::kernel::interleave::STRIP / bytes };
            let mut sum = [[[zero_f(); 4]; T]; S];
            for first in (0..panels.cols).step_by(strip) {
                let cols = strip.min(panels.cols - first);
                let x = $crate::kernel::windows(&x, first, cols);
                for s in 0..S {
                    if S > 1 && data[s].is_empty() {
                        continue;
                    }
                    let columns = &data[s][first * bytes..][..cols * bytes];
                    sum[s] = add_columns::<W, T>(columns, &x, panels.order.prefetch, sum[s]);
                }
            }
            for s in 0..S {
                if S > 1 && data[s].is_empty() {
                    continue;
                }
                for i in 0..T {
                    let [a, b, c, d] = sum[s][i];
                    let sum = store_f(add(add(a, b), add(c, d)));
                    $crate::kernel::lane_loops::put(tile, t + i, p[s] * R, &sum);
                }
            }
        }

        /// Adds the products of some columns and their activations.
        $(#[$attr])*
        #[inline]
        fn add_columns<W: Float, const T: usize>(
            columns: &[u8],
            x: &[&[f32]; T],
            ahead: usize,
            mut sum: [[Floats; 4]; T],
        ) -> [[Floats; 4]; T] {
            let bytes = W::BYTES * R;
            for (s, columns) in columns.chunks_exact(4 * bytes).enumerate() {
                if T == 1 {
                    for line in 0..(4 * bytes).div_ceil(64) {
                        prefetch(columns.as_ptr().wrapping_add(ahead + 64 * line));
                    }
                }
                let x: [&[f32]; T] = $crate::kernel::windows(x, 4 * s, 4);
                for j in 0..4 {
                    let column = &columns[j * bytes..][..bytes];
                    let w = match W::FORM {
                        Form::F16 => load_f16(column),
                        Form::BF16 => load_bf16(column),
                        _ => load_f(column),
                    };
                    for i in 0..T {
                        sum[i][j] = add(sum[i][j], mul(w, splat_f(x[i][j])));
                    }
                }
            }
            sum
        }
    };
}
pub(crate) use float_kernel;

use crate::tile::Tile;

/// Writes those of `values`, which begin at row `first`, that are rows.
#[inline(always)]
pub(crate) fn put(tile: &mut Tile<'_>, t: usize, first: usize, values: &[f32]) {
    let out = &mut tile.token(t)[first..];
    let len = out.len().min(values.len());
    out[..len].copy_from_slice(&values[..len]);
}
