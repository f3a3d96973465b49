//! Relaxed SIMD: dot products of signed bytes with 7-bit bytes. Which operand is which decides whether
//! the result is defined: here the second operand is always in 0…127, so every engine gives the same.
//!
//! ```text
//! fields  16 columns of rows 0–3 | 16 columns of rows 4–7           (32 bytes)
//! words   8 rows × 32 bits: four 8-bit slots each, 8 f32 scales     (R = 8, two vectors)
//! ```
//! Two levels over the same layouts: `relaxed` adds four products at a time to 32 bits (one `vpdpbusd`
//! where the engine's CPU has it), `relaxed-i16` two to 16 bits (one `vpmaddubsw` on any x86). 8-bit
//! codes have no 7-bit operand: `Q8` and `Q8x16` are left to [`simd128`](super::simd128).
//!
//! Overflow of 16-bit sums (`relaxed-i16`, and inside engines that build the 32-bit dot from it):
//! * ternary: code × 4 ≤ 8, |x| ≤ 127: 2 · 8 · 127 = 2032 a group; 16 groups (256 columns) give 32512,
//!   then they are widened.
//! * words: 2 · 15 · 127 = 3810 a dot, 8 of them over 32 columns give 30480.
//! * bytes: |w| ≤ 127, x ≤ 127: 2 · 127 · 127 = 32258, widened at once.

use core::arch::wasm32::*;

use super::simd128::{
    R, Wide, add, add_i, bias, fold_lanes, join, less, load, load_f, load_u, mul, opaque, prefetch, splat_f,
    store_f, store_i, to_float, zero, zero_f,
};
use crate::{
    act::{Block32, Rows, Token8, Token14},
    kernel::{
        Kernel, Panels,
        fields::field_kernel,
        lanes::code_kernels,
        layout::{self, Block, Layout, Q2, Q4},
    },
    pool::Tile,
};

static TERNARY: Layout = layout::fields::<16, false>("ternary/8x16");
static Q2_WORDS: Layout = layout::words::<Q2, 8, 8>("q2/8");
static Q4_WORDS: Layout = layout::words::<Q4, 8, 8>("q4/8");
static I8_BYTES: Layout = layout::bytes::<8, 8>("i8/8");

const fn kernel(
    name: &'static str,
    isa: &'static str,
    layout: &'static Layout,
    run: unsafe fn(&Panels<'_>, &Rows, &mut Tile<'_>),
) -> Kernel {
    Kernel { name, isa, layout, supported: || true, run }
}

/// Sums in 32 bits.
pub static KERNELS: [Kernel; 4] = [
    kernel("ternary/relaxed", "relaxed", &TERNARY, long::ternary),
    kernel("q2/relaxed", "relaxed", &Q2_WORDS, long::block::<Q2>),
    kernel("q4/relaxed", "relaxed", &Q4_WORDS, long::block::<Q4>),
    kernel("i8/relaxed", "relaxed", &I8_BYTES, long::i8),
];

/// Sums in 16 bits.
pub static SHORT_KERNELS: [Kernel; 4] = [
    kernel("ternary/relaxed-i16", "relaxed-i16", &TERNARY, short::ternary),
    kernel("q2/relaxed-i16", "relaxed-i16", &Q2_WORDS, short::block::<Q2>),
    kernel("q4/relaxed-i16", "relaxed-i16", &Q4_WORDS, short::block::<Q4>),
    kernel("i8/relaxed-i16", "relaxed-i16", &I8_BYTES, short::i8),
];

type I = v128;
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
    code_kernels!(pub(super), [Block32::high, Block32::low] as i8, Token14::high, Token14::low as u8, #[target_feature(enable = "relaxed-simd")]);

    #[inline]
    #[target_feature(enable = "relaxed-simd")]
    fn dot_field(sum: Wide, codes: Wide, x: v128, _: usize) -> Wide {
        Wide(dot(sum.0, x, codes.0), dot(sum.1, x, codes.1))
    }

    #[inline]
    #[target_feature(enable = "relaxed-simd")]
    fn dot_byte(sum: Wide, w: Wide, x: v128) -> Wide {
        Wide(dot(sum.0, w.0, x), dot(sum.1, w.1, x))
    }

    #[inline]
    #[target_feature(enable = "relaxed-simd")]
    fn finish(sum: Wide, _: usize) -> Wide {
        sum
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
    code_kernels!(pub(super), [Block32::high, Block32::low] as i8, Token14::high, Token14::low as u8, #[target_feature(enable = "relaxed-simd")]);

    #[inline]
    #[target_feature(enable = "relaxed-simd")]
    fn dot_field(sum: Wide, codes: Wide, x: v128, _: usize) -> Wide {
        Wide(dot(sum.0, x, codes.0), dot(sum.1, x, codes.1))
    }

    #[inline]
    #[target_feature(enable = "relaxed-simd")]
    fn dot_byte(sum: Wide, w: Wide, x: v128) -> Wide {
        let pairs = |w| i32x4_extadd_pairwise_i16x8(i16x8_relaxed_dot_i8x16_i7x16(w, x));
        add_i(sum, Wide(pairs(w.0), pairs(w.1)))
    }

    #[inline]
    #[target_feature(enable = "simd128")]
    fn finish(sum: Wide, _: usize) -> Wide {
        Wide(i32x4_extadd_pairwise_i16x8(sum.0), i32x4_extadd_pairwise_i16x8(sum.1))
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
fn splat(x: &[i8]) -> v128 {
    let x = &x[..4];
    // SAFETY: 4 bytes are there.
    unsafe { v128_load32_splat(x.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "simd128")]
fn splat_7(x: &[u8]) -> v128 {
    let x = &x[..4];
    // SAFETY: 4 bytes are there.
    unsafe { v128_load32_splat(x.as_ptr().cast()) }
}

/// Codes of fewer than 8 bits as unsigned bytes.
#[inline]
#[target_feature(enable = "simd128")]
fn field(v: Wide, bits: usize, f: usize) -> Wide {
    let part = |v| v128_and(u16x8_shr(v, (bits * f) as u32), u8x16_splat((1 << (bits % 8)) - 1));
    Wide(part(v.0), part(v.1))
}

#[inline(always)]
fn byte(v: Wide, _: usize) -> Wide {
    v
}
