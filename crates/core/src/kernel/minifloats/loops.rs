//! The kernels over the layouts of small floats, for any vector instruction set: loops as those of
//! [`lane_loops`](super::super::lane_loops), with its primitives and these:
//!
//! | name | meaning |
//! |---|---|
//! | `E2M1_BIAS` | what `e2m1_codes` adds to each code |
//! | `e2m1_codes(I, f) -> I` | the `f`-th code of every slot: twice its number, plus the bias |
//! | `dot_e2m1(sum, codes, x) -> Sums` | `sum + codes · x` of such codes |
//! | `E2M1_RUN` | the most columns whose products such sums hold: 16, or 32 for a whole block |
//! | `finish_e2m1(sum) -> I` | 32-bit lanes from such sums |
//! | `e2m1(I, bit) -> Floats` | the number whose code begins at a bit of every word |
//! | `load_minifloat(&[u8], mantissa) -> Floats` | [`widen`](crate::minifloat::widen) of `R` bytes |
//! | `load_e8m0(&[u8]) -> Floats` | the numbers of `R` bytes |
//! | `div` | as it says |

/// Expands to `fn e2m1_integers<B>(&Panels, &Activations, &mut Tile)`; the arguments as `block_kernel`'s.
macro_rules! e2m1_kernel {
    ($vis:vis, [$($x:path),+] as $X:ty, $(#[$attr:meta])*) => {
        $(#[$attr])*
        $vis fn e2m1_integers<B: E2m1>(panels: &Panels<'_>, rows: &Activations, tile: &mut Tile<'_>) {
            $crate::kernel::lane_loops::for_all_tiles!(e2m1_tile::<B>, TOKENS, panels, rows, tile);
        }

        $(#[$attr])*
        #[inline]
        fn e2m1_tile<B: E2m1, const T: usize>(
            panels: &Panels<'_>,
            [p]: [usize; 1],
            rows: &Activations,
            t: usize,
            tile: &mut Tile<'_>,
        ) {
            // Columns of a sum.
            let run = if B::BLOCK < E2M1_RUN { B::BLOCK } else { E2M1_RUN };
            let acts = rows.fine32();
            let x: [[&[$X]; T]; PLANES] = [$($crate::kernel::gather(acts, t, $x)),+];
            let dx: [&[f32]; T] = $crate::kernel::gather(acts, t, Block32::scales);
            let sums: [&[f32]; T] = match B::BLOCK {
                16 => $crate::kernel::gather(acts, t, Block32::sums16),
                _ => $crate::kernel::gather(acts, t, Block32::sums32),
            };
            let (numbers, spans) = panels.panel(p).split_at(B::number_bytes(R));
            let bytes = minifloats::span_bytes::<B>(R);
            let mut acc = [zero_f(); T];
            for (s, span) in spans.chunks_exact(bytes).enumerate() {
                if T == 1 {
                    for line in 0..bytes.div_ceil(64) {
                        prefetch(span.as_ptr().wrapping_add(panels.order.prefetch + 64 * line));
                    }
                }
                let (scales, words) = span.split_at(SPAN / B::BLOCK * R);
                for b in 0..SPAN / B::BLOCK {
                    let first = s * SPAN + b * B::BLOCK;
                    let mut window = x;
                    for p in 0..PLANES {
                        window[p] = $crate::kernel::windows(&x[p], first, B::BLOCK);
                    }
                    let mut isums = [[finish_e2m1(zero()); T]; PLANES];
                    for start in (0..B::BLOCK).step_by(run) {
                        let mut sum = [[zero(); T]; PLANES];
                        for g in start / 8..(start + run) / 8 {
                            let words = load_u(&words[(b * B::BLOCK / 8 + g) * 4 * R..][..4 * R]);
                            for f in 0..SLOT / 4 {
                                let codes = e2m1_codes(words, f);
                                for p in 0..PLANES {
                                    for i in 0..T {
                                        let x = splat(&window[p][i][8 * g + f * (32 / SLOT)..]);
                                        sum[p][i] = dot_e2m1(sum[p][i], codes, x);
                                    }
                                }
                            }
                        }
                        for p in 0..PLANES {
                            for i in 0..T {
                                let sum = finish_e2m1(sum[p][i]);
                                isums[p][i] = if run == B::BLOCK { sum } else { join(isums[p][i], sum, 1) };
                            }
                        }
                    }
                    let d = $crate::kernel::minifloats::loops::e2m1_scale!(B, &scales[b * R..][..R]);
                    for i in 0..T {
                        let mut isum = isums[0][i];
                        if PLANES == 2 {
                            isum = join(isum, isums[PLANES - 1][i], Block32::FINE_BASE);
                        }
                        if E2M1_BIAS != 0 {
                            isum = less(isum, E2M1_BIAS * sums[i][first / B::BLOCK] as i32);
                        }
                        let dx = splat_f(0.5 * dx[i][s]);
                        acc[i] = add(acc[i], mul(mul(d, dx), to_float(isum)));
                    }
                }
            }
            let number = $crate::kernel::minifloats::loops::e2m1_number!(B, numbers);
            for i in 0..T {
                let y = if B::E8M0 { mul(acc[i], number) } else { div(acc[i], number) };
                $crate::kernel::lane_loops::put(tile, t + i, p * R, &store_f(y));
            }
        }
    };
}
pub(crate) use e2m1_kernel;

/// The scales of a block.
macro_rules! e2m1_scale {
    ($block:ident, $bytes:expr) => {
        if $block::E8M0 {
            load_e8m0($bytes)
        } else {
            mul(load_minifloat($bytes, 3), splat_f(minifloats::E4m3::FACTOR))
        }
    };
}
pub(crate) use e2m1_scale;

/// The numbers of the rows of a panel.
macro_rules! e2m1_number {
    ($block:ident, $bytes:expr) => {
        if $block::E8M0 { load_f($bytes) } else { splat_f($crate::kernel::layout::get_f32($bytes, 0)) }
    };
}
pub(crate) use e2m1_number;

/// Expands to `fn e2m1_exact<B>(&Panels, &Activations, &mut Tile)` and `fn fp8_exact<W>` of the same.
macro_rules! exact_kernels {
    ($(#[$attr:meta])*) => {
        $(#[$attr])*
        fn e2m1_exact<B: E2m1>(panels: &Panels<'_>, rows: &Activations, tile: &mut Tile<'_>) {
            $crate::kernel::lane_loops::for_all_tiles!(e2m1_exact_tile::<B>, FLOAT_TOKENS, panels, rows, tile);
        }

        $(#[$attr])*
        #[inline]
        fn e2m1_exact_tile<B: E2m1, const T: usize>(
            panels: &Panels<'_>,
            [p]: [usize; 1],
            rows: &Activations,
            t: usize,
            tile: &mut Tile<'_>,
        ) {
            let x: [&[f32]; T] = $crate::kernel::gather(rows, t, Activations::floats);
            let (numbers, spans) = panels.panel(p).split_at(B::number_bytes(R));
            let number = $crate::kernel::minifloats::loops::e2m1_number!(B, numbers);
            let bytes = minifloats::span_bytes::<B>(R);
            let mut sum = [[zero_f(); 4]; T];
            for (s, span) in spans.chunks_exact(bytes).enumerate() {
                if T == 1 {
                    for line in 0..bytes.div_ceil(64) {
                        prefetch(span.as_ptr().wrapping_add(panels.order.prefetch + 64 * line));
                    }
                }
                let (scales, words) = span.split_at(SPAN / B::BLOCK * R);
                let x: [&[f32]; T] = $crate::kernel::windows(&x, SPAN * s, SPAN);
                for b in 0..SPAN / B::BLOCK {
                    let d = $crate::kernel::minifloats::loops::e2m1_scale!(B, &scales[b * R..][..R]);
                    let d = if B::E8M0 { mul(d, number) } else { div(d, number) };
                    for g in b * B::BLOCK / 8..(b + 1) * B::BLOCK / 8 {
                        let words = load_u(&words[g * 4 * R..][..4 * R]);
                        let x: [&[f32]; T] = $crate::kernel::windows(&x, 8 * g, 8);
                        for c in 0..8 {
                            let w = mul(e2m1(words, layout::bit(c, 4, SLOT)), d);
                            for i in 0..T {
                                sum[i][c % 4] = add(sum[i][c % 4], mul(w, splat_f(x[i][c])));
                            }
                        }
                    }
                }
            }
            for i in 0..T {
                let [a, b, c, d] = sum[i];
                let y = store_f(add(add(a, b), add(c, d)));
                $crate::kernel::lane_loops::put(tile, t + i, p * R, &y);
            }
        }

        $(#[$attr])*
        fn fp8_exact<W: Fp8>(panels: &Panels<'_>, rows: &Activations, tile: &mut Tile<'_>) {
            $crate::kernel::lane_loops::for_all_tiles!(fp8_tile::<W>, FLOAT_TOKENS, panels, rows, tile);
        }

        $(#[$attr])*
        #[inline]
        fn fp8_tile<W: Fp8, const T: usize>(
            panels: &Panels<'_>,
            [p]: [usize; 1],
            rows: &Activations,
            t: usize,
            tile: &mut Tile<'_>,
        ) {
            let x: [&[f32]; T] = $crate::kernel::gather(rows, t, Activations::floats);
            let mut sum = [[zero_f(); 4]; T];
            for (s, span) in panels.panel(p).chunks((4 + FP8_SPAN) * R).enumerate() {
                let (scales, columns) = span.split_at(4 * R);
                let d = mul(load_f(scales), splat_f(W::FACTOR));
                let x: [&[f32]; T] = $crate::kernel::windows(&x, FP8_SPAN * s, columns.len() / R);
                for (k, columns) in columns.chunks_exact(4 * R).enumerate() {
                    if T == 1 {
                        for line in 0..(4 * R).div_ceil(64) {
                            prefetch(columns.as_ptr().wrapping_add(panels.order.prefetch + 64 * line));
                        }
                    }
                    let x: [&[f32]; T] = $crate::kernel::windows(&x, 4 * k, 4);
                    for j in 0..4 {
                        let w = mul(load_minifloat(&columns[j * R..][..R], W::MANTISSA), d);
                        for i in 0..T {
                            sum[i][j] = add(sum[i][j], mul(w, splat_f(x[i][j])));
                        }
                    }
                }
            }
            for i in 0..T {
                let [a, b, c, d] = sum[i];
                let y = store_f(add(add(a, b), add(c, d)));
                $crate::kernel::lane_loops::put(tile, t + i, p * R, &y);
            }
        }
    };
}
pub(crate) use exact_kernels;
