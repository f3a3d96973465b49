//! Relaxed SIMD: dot products of signed bytes with 7-bit bytes. Which operand is which decides whether
//! the result is defined: here the second operand is always in 0…127, so every engine gives the same.
//!
//! ```text
//! fields  16 columns of rows 0–3 | 16 columns of rows 4–7           (32 bytes)
//! bytes   8 rows × 32 bits: four codes each                         (R = 8, two vectors)
//! ```
//! Two levels over the same layouts: `relaxed` adds four products at a time to 32 bits (one `vpdpbusd`
//! where the engine's CPU has it), `relaxed-i16` two to 16 bits (one `vpmaddubsw` on any x86). Blocks are left
//! to [`simd128`](super::simd128): their 14-bit activations are one vector of 16 bits there, two of 7 bits here,
//! which was measured to be slower; and 8-bit codes have no 7-bit operand.
//!
//! Overflow of 16-bit sums (`relaxed-i16`, and inside engines that build the 32-bit dot from it):
//! * ternary: code × 4 ≤ 8, |x| ≤ 127: 2 · 8 · 127 = 2032 a group; 16 groups (256 columns) give 32512,
//!   then they are widened.
//! * bytes: |w| ≤ 127, x ≤ 127: 2 · 127 · 127 = 32258, widened at once.

use core::arch::wasm32::*;

use super::{
    simd128::{R, Wide, add_i, fold_lanes, load, load_u, opaque, prefetch, store_i, zero},
    simd128_sparse::TERNARY_COLUMNS,
};
use crate::{
    activations::{Activations, Token8, Token14},
    kernel::{
        Kernel, Panels,
        lane_loops::byte_kernel,
        layout::{self, Layout},
        rows::{self, row_kernel},
        ternary_loop::field_kernel,
    },
    simd::{Level, Vectors},
    tile::Tile,
};

static TERNARY: Layout = layout::fields::<16, false>("ternary/8x16");
static I8_BYTES: Layout = layout::bytes::<8, 8>("i8/8");

static LEVEL: Level = Level { name: "relaxed", supported: || true, vectors: Vectors::Simd128 };
static SHORT_LEVEL: Level = Level { name: "relaxed-i16", supported: || true, vectors: Vectors::Simd128 };

const fn kernel(
    name: &'static str,
    level: &'static Level,
    layout: &'static Layout,
    run: unsafe fn(&Panels<'_>, &Activations, &mut Tile<'_>),
) -> Kernel {
    Kernel { name, level, layout, run }
}

/// Sums in 32 bits.
pub static KERNELS: [Kernel; 2] = [
    kernel("ternary/relaxed", &LEVEL, &TERNARY, long::ternary),
    kernel("i8/relaxed", &LEVEL, &I8_BYTES, long::i8),
];

/// Sums in 16 bits.
pub static SHORT_KERNELS: [Kernel; 2] = [
    kernel("ternary/relaxed-i16", &SHORT_LEVEL, &TERNARY, short::ternary),
    kernel("i8/relaxed-i16", &SHORT_LEVEL, &I8_BYTES, short::i8),
];

/// Those that leave weights unread; columns have no dot of four.
pub static SPARSE_KERNELS: [Kernel; 1] = [kernel("ternary-rows/relaxed", &LEVEL, &TERNARY_ROWS, long::rows)];

/// As [`SPARSE_KERNELS`], with sums in 16 bits.
pub static SHORT_SPARSE_KERNELS: [Kernel; 2] = [
    kernel("ternary-columns/relaxed-i16", &SHORT_LEVEL, &TERNARY_COLUMNS, super::relaxed_columns::columns),
    kernel("ternary-rows/relaxed-i16", &SHORT_LEVEL, &TERNARY_ROWS, short::rows),
];

static TERNARY_ROWS: Layout = rows::rows::<16, false>("ternary-rows/16");

type I = v128;
type Sums = Wide;
const COLS: usize = 16;
const GROUP: usize = 32;
const SLOT: usize = 8;
const PLANES: usize = 2;
const TOKENS: usize = 2;
const BYTE_TOKENS: usize = 2;
const CHAINS: usize = 2;

mod long {
    //! `i32x4.relaxed_dot_i8x16_i7x16_add_s`.
    use super::*;

    const RUN: usize = usize::MAX;

    field_kernel!(pub(super), Token8::codes as i8, #[target_feature(enable = "relaxed-simd")]);
    row_kernel!(pub(super), 1, Token8::codes as i8, #[target_feature(enable = "relaxed-simd")]);
    byte_kernel!(pub(super), [Token14::high, Token14::low] as u8, #[target_feature(enable = "relaxed-simd")]);

    #[inline]
    #[target_feature(enable = "relaxed-simd")]
    fn dot_byte(sum: Wide, w: Wide, x: v128) -> Wide {
        Wide(dot(sum.0, w.0, x), dot(sum.1, w.1, x))
    }

    /// `b` in 0…127.
    #[inline]
    #[target_feature(enable = "relaxed-simd")]
    fn dot(sum: v128, a: v128, b: v128) -> v128 {
        i32x4_relaxed_dot_i8x16_i7x16_add(a, b, sum)
    }

    #[inline]
    #[target_feature(enable = "relaxed-simd")]
    fn dot_code(sum: v128, codes: v128, x: v128) -> v128 {
        dot(sum, x, codes)
    }

    #[inline]
    #[target_feature(enable = "simd128")]
    fn widen(total: v128, sum: v128) -> v128 {
        i32x4_add(total, sum)
    }
}

mod short {
    //! `i16x8.relaxed_dot_i8x16_i7x16_s`.
    use super::*;

    const RUN: usize = 16;

    field_kernel!(pub(super), Token8::codes as i8, #[target_feature(enable = "relaxed-simd")]);
    row_kernel!(pub(super), 1, Token8::codes as i8, #[target_feature(enable = "relaxed-simd")]);
    byte_kernel!(pub(super), [Token14::high, Token14::low] as u8, #[target_feature(enable = "relaxed-simd")]);

    #[inline]
    #[target_feature(enable = "relaxed-simd")]
    fn dot_byte(sum: Wide, w: Wide, x: v128) -> Wide {
        let pairs = |w| i32x4_extadd_pairwise_i16x8(i16x8_relaxed_dot_i8x16_i7x16(w, x));
        add_i(sum, Wide(pairs(w.0), pairs(w.1)))
    }

    /// `b` in 0…127.
    #[inline]
    #[target_feature(enable = "relaxed-simd")]
    fn dot(sum: v128, a: v128, b: v128) -> v128 {
        i16x8_add(sum, i16x8_relaxed_dot_i8x16_i7x16(a, b))
    }

    #[inline]
    #[target_feature(enable = "relaxed-simd")]
    fn dot_code(sum: v128, codes: v128, x: v128) -> v128 {
        dot(sum, x, codes)
    }

    #[inline]
    #[target_feature(enable = "simd128")]
    fn widen(total: v128, sum: v128) -> v128 {
        i32x4_add(total, i32x4_extadd_pairwise_i16x8(sum))
    }
}

#[inline]
#[target_feature(enable = "simd128")]
fn start() -> v128 {
    i32x4_splat(0)
}

#[inline]
#[target_feature(enable = "simd128")]
fn masks() -> [v128; 2] {
    [u8x16_splat(0x03), u8x16_splat(0x0C)].map(opaque)
}

/// Codes × 1, 4, 1, 4.
#[inline]
#[target_feature(enable = "simd128")]
fn codes([one, four]: [v128; 2], group: &[u8], half: usize) -> [v128; 4] {
    let v = load(&group[16 * half..][..16]);
    let t = u16x8_shr(v, 4);
    [v128_and(v, one), v128_and(v, four), v128_and(t, one), v128_and(t, four)]
}

#[inline]
#[target_feature(enable = "simd128")]
fn load_x(x: &[i8]) -> v128 {
    let x = &x[..16];
    // SAFETY: 16 bytes are there.
    unsafe { v128_load(x.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "simd128")]
fn fold(v: [v128; 4]) -> [i32; 4] {
    let [a, b, c, d] = fold_lanes(v);
    [a, b >> 2, c, d >> 2]
}

#[inline]
#[target_feature(enable = "simd128")]
fn splat_7(x: &[u8]) -> v128 {
    let x = &x[..4];
    // SAFETY: 4 bytes are there.
    unsafe { v128_load32_splat(x.as_ptr().cast()) }
}

#[inline(always)]
fn byte(v: Wide, _: usize) -> Wide {
    v
}
