//! The specification: what every kernel computes, in plain Rust, bit for bit.
//!
//! Integer sums are exact in any order. The f32 operations and their order are part of the result;
//! none is fused.

use super::{
    Kernel, Panels, columns,
    float_layout::{self, BF16, F16, F32, Float},
    layout::{self, Block, Layout, Q2, Q4, Q8, Q8x16},
    minifloats::{self, E4m3, E5m2, Mx, Nv},
    rows,
};
use crate::{activations::Activations, tile::Tile};

/// Every form, so that any model runs on any machine.
pub static KERNELS: [Kernel; 15] = [
    Kernel::scalar("ternary/scalar", &TERNARY, ternary),
    Kernel::scalar("q2/scalar", &Q2_WORDS, block::<Q2>),
    Kernel::scalar("q4/scalar", &Q4_WORDS, block::<Q4>),
    Kernel::scalar("q8/scalar", &Q8_WORDS, block::<Q8>),
    Kernel::scalar("q8x16/scalar", &Q8X16_WORDS, block::<Q8x16>),
    Kernel::scalar("i8/scalar", &I8_BYTES, i8),
    Kernel::scalar("f16/scalar", &F16_FLOATS, float::<F16>),
    Kernel::scalar("bf16/scalar", &BF16_FLOATS, float::<BF16>),
    Kernel::scalar("f32/scalar", &F32_FLOATS, float::<F32>),
    Kernel::scalar("mxfp4/scalar", &minifloats::MXFP4, minifloats::integers::<Mx>),
    Kernel::scalar("nvfp4/scalar", &minifloats::NVFP4, minifloats::integers::<Nv>),
    Kernel::scalar("mxfp4-exact/scalar", &minifloats::MXFP4_EXACT, minifloats::e2m1_exact::<Mx>),
    Kernel::scalar("nvfp4-exact/scalar", &minifloats::NVFP4_EXACT, minifloats::e2m1_exact::<Nv>),
    Kernel::scalar("e4m3/scalar", &minifloats::E4M3, minifloats::fp8_exact::<E4m3>),
    Kernel::scalar("e5m2/scalar", &minifloats::E5M2, minifloats::fp8_exact::<E5m2>),
];

/// Those that leave weights unread.
pub static SPARSE_KERNELS: [Kernel; 2] = [
    Kernel::scalar("ternary-columns/scalar", &TERNARY_COLUMNS, columns::scalar),
    Kernel::scalar("ternary-rows/scalar", &TERNARY_ROWS, rows::scalar),
];

static TERNARY_COLUMNS: Layout = columns::columns::<1>("ternary-columns/1");
static TERNARY_ROWS: Layout = rows::rows::<1, false>("ternary-rows/1");
static TERNARY: Layout = layout::fields::<1, false>("ternary/8x1");
static Q2_WORDS: Layout = layout::words::<Q2, 1, 8>("q2/1");
static Q4_WORDS: Layout = layout::words::<Q4, 1, 8>("q4/1");
static Q8_WORDS: Layout = layout::words::<Q8, 1, 8>("q8/1");
static Q8X16_WORDS: Layout = layout::words::<Q8x16, 1, 8>("q8x16/1");
static I8_BYTES: Layout = layout::bytes::<1, 8>("i8/1");
static F16_FLOATS: Layout = float_layout::floats::<F16, 1>("f16/1");
static BF16_FLOATS: Layout = float_layout::floats::<BF16, 1>("bf16/1");
static F32_FLOATS: Layout = float_layout::floats::<F32, 1>("f32/1");

/// `y = acc / s * scale`, where `acc = Σ code · q` and `s` is what the activations were multiplied by.
fn ternary(panels: &Panels<'_>, rows: &Activations, tile: &mut Tile<'_>) {
    let x = rows.token8();
    for (r, &scale) in panels.scales.iter().enumerate() {
        let panel = panels.panel(r / 8);
        let (half, shift) = (r % 8 / 4, r % 4 * 2);
        for t in 0..rows.n() {
            let codes = panel.chunks_exact(2).map(|bytes| i32::from(bytes[half] >> shift & 3) - 1);
            let acc: i32 = codes.zip(x.codes(t)).map(|(w, &q)| w * i32::from(q)).sum();
            tile.token(t)[r] = acc as f32 / x.scale(t) * scale;
        }
    }
}

/// Sub-blocks of `min(BLOCK, 32)` columns in ascending order, one f32 accumulator:
/// `acc += (d · dx) · f32(Σ code · q)`, then, for forms with mins, `acc += (m · dx) · Σ q`.
fn block<B: Block>(panels: &Panels<'_>, rows: &Activations, tile: &mut Tile<'_>) {
    let width = B::BLOCK.min(32);
    let x = rows.block32();
    for r in 0..panels.rows {
        for t in 0..rows.n() {
            let (high, low, scales, sums) = (x.high(t), x.low(t), x.scales(t), x.sums(width, t));
            let mut acc = 0.0_f32;
            for (s, span) in panels.panel(r).chunks_exact(B::span_bytes(1)).enumerate() {
                for k in (0..B::SPAN).step_by(width) {
                    let first = s * B::SPAN + k;
                    let q = |k: usize| i32::from(high[k]) * 128 + i32::from(low[k]);
                    let product = |j| layout::word_code::<B, 1, 8>(span, 0, k + j) * q(first + j);
                    let isum: i32 = (0..width).map(product).sum();
                    let (d, m) = layout::word_scale::<B, 1>(span, 0, k);
                    let dx = scales[first / 32];
                    acc += (d * dx) * isum as f32;
                    if B::MINS {
                        acc += (m * dx) * sums[first / width];
                    }
                }
            }
            tile.token(t)[r] = acc;
        }
    }
}

/// `y = acc / s * scale`, where `acc = Σ w · q` is exact and rounded once, and `q = 128 (high − 64) + low`.
fn i8(panels: &Panels<'_>, rows: &Activations, tile: &mut Tile<'_>) {
    let x = rows.token14();
    for (r, &scale) in panels.scales.iter().enumerate() {
        let panel = panels.panel(r);
        for t in 0..rows.n() {
            let mut acc = 0_i64;
            for (k, (&high, &low)) in x.high(t).iter().zip(x.low(t)).enumerate().take(panels.cols) {
                let q = (i32::from(high) - 64) * 128 + i32::from(low);
                acc += i64::from(layout::byte_code::<1, 8>(panel, 0, k) * q);
            }
            tile.token(t)[r] = acc as f32 / x.scale(t) * scale;
        }
    }
}

/// Four partial sums by column modulo 4, each ascending; `y = (s0 + s1) + (s2 + s3)`.
fn float<T: Float>(panels: &Panels<'_>, rows: &Activations, tile: &mut Tile<'_>) {
    for r in 0..panels.rows {
        for t in 0..rows.n() {
            let mut s = [0.0_f32; 4];
            let weights = panels.panel(r).chunks_exact(4 * T::BYTES);
            for (w, x) in weights.zip(rows.floats(t).chunks_exact(4)) {
                for i in 0..4 {
                    s[i] += T::get(&w[i * T::BYTES..]) * x[i];
                }
            }
            tile.token(t)[r] = (s[0] + s[1]) + (s[2] + s[3]);
        }
    }
}
