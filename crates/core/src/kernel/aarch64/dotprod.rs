//! NEON with the dot-product extension: the layouts of [`neon`](super::neon), with `sdot` into 32-bit sums.
//!
//! `sdot` multiplies signed by signed bytes, so 8-bit codes need no bias. Stable Rust lacks its
//! intrinsic; the one instruction is inline assembly.
//!
//! Overflow: 32-bit sums hold 128 · 127 · 65536 < 2^31.

use core::arch::{aarch64::*, asm};

use super::neon::{
    COLS, E2M1_BIAS, E2M1_RUN, GROUP, I8_BYTES, Ints, MXFP4, NVFP4, PLANES, Q2_WORDS, Q4_WORDS, Q8_WORDS,
    Q8X16_WORDS, R, SLOT, TERNARY, TERNARY_ROWS, Words, add, bias, byte, codes, div, e2m1_codes, field,
    fold_lanes as fold, join, less, load_e8m0, load_f, load_minifloat, load_u, load_x, masks, mul, prefetch,
    splat, splat_7, splat_f, store_f, store_ints as store_i, to_float, zero_f,
};
use crate::{
    activations::{Activations, Block32, Token8, Token14},
    kernel::{
        Kernel, Panels,
        lane_loops::{block_kernel, byte_kernel},
        layout::{self, Block, Layout, Q2, Q4, Q8, Q8x16},
        minifloats::{self, E2m1, Fp8, Mx, Nv, SPAN, loops::e2m1_kernel},
        rows::row_kernel,
        ternary_loop::field_kernel,
    },
    simd::{Level, Vectors},
    tile::Tile,
};

static LEVEL: Level = Level { name: "dotprod", supported: dotprod, vectors: Vectors::Portable };

const fn kernel(
    name: &'static str,
    layout: &'static Layout,
    run: unsafe fn(&Panels<'_>, &Activations, &mut Tile<'_>),
) -> Kernel {
    Kernel { name, level: &LEVEL, layout, run }
}

fn dotprod() -> bool {
    #[cfg(feature = "std")]
    {
        std::arch::is_aarch64_feature_detected!("dotprod")
    }
    #[cfg(not(feature = "std"))]
    {
        cfg!(target_feature = "dotprod")
    }
}

/// The integer forms; it has nothing to add to NEON's float forms.
pub static KERNELS: [Kernel; 8] = [
    kernel("ternary/dotprod", &TERNARY, ternary),
    kernel("q2/dotprod", &Q2_WORDS, block::<Q2>),
    kernel("q4/dotprod", &Q4_WORDS, block::<Q4>),
    kernel("q8/dotprod", &Q8_WORDS, block::<Q8>),
    kernel("q8x16/dotprod", &Q8X16_WORDS, block::<Q8x16>),
    kernel("i8/dotprod", &I8_BYTES, i8),
    kernel("mxfp4/dotprod", &MXFP4, e2m1_integers::<Mx>),
    kernel("nvfp4/dotprod", &NVFP4, e2m1_integers::<Nv>),
];

/// Those that leave weights unread; a column has no dot of four.
pub static SPARSE_KERNELS: [Kernel; 1] = [kernel("ternary-rows/dotprod", &TERNARY_ROWS, rows)];

type I = int32x4_t;
type Sums = Ints;
const RUN: usize = usize::MAX;
const TOKENS: usize = 4;
const BYTE_TOKENS: usize = 2;
const CHAINS: usize = 2;

field_kernel!(, Token8::codes as i8, #[target_feature(enable = "neon,dotprod")]);
row_kernel!(, 1, Token8::codes as i8, #[target_feature(enable = "neon,dotprod")]);
block_kernel!(, [Block32::high, Block32::low] as i8, #[target_feature(enable = "neon,dotprod")]);
e2m1_kernel!(, [Block32::high, Block32::low] as i8, #[target_feature(enable = "neon,dotprod")]);
byte_kernel!(, [Token14::high, Token14::low] as u8, #[target_feature(enable = "neon,dotprod")]);

/// `sum + a · b`, four products a lane.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn dot(mut sum: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
    // SAFETY: the CPU has the instruction, which only reads and writes its operands.
    unsafe {
        asm!(
            "sdot {0:v}.4s, {1:v}.16b, {2:v}.16b",
            inout(vreg) sum, in(vreg) a, in(vreg) b,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}

#[inline]
#[target_feature(enable = "neon")]
fn start() -> int32x4_t {
    vdupq_n_s32(0)
}

#[inline]
#[target_feature(enable = "neon,dotprod")]
fn dot_code(sum: int32x4_t, codes: int8x16_t, x: int8x16_t) -> int32x4_t {
    dot(sum, codes, x)
}

#[inline]
#[target_feature(enable = "neon")]
fn widen(total: int32x4_t, sum: int32x4_t) -> int32x4_t {
    vaddq_s32(total, sum)
}

#[inline]
#[target_feature(enable = "neon")]
fn zero() -> Ints {
    Ints(start(), start())
}

#[inline]
#[target_feature(enable = "neon,dotprod")]
fn dot_field(sum: Ints, w: Words, x: int8x16_t, _: usize) -> Ints {
    dot_byte(sum, w, x)
}

#[inline]
#[target_feature(enable = "neon,dotprod")]
fn dot_byte(sum: Ints, w: Words, x: int8x16_t) -> Ints {
    Ints(dot(sum.0, w.0, x), dot(sum.1, w.1, x))
}

#[inline(always)]
fn finish(sum: Ints, _: usize) -> Ints {
    sum
}

#[inline]
#[target_feature(enable = "neon,dotprod")]
fn dot_e2m1(sum: Ints, codes: Words, x: int8x16_t) -> Ints {
    dot_field(sum, codes, x, 4)
}

#[inline(always)]
fn finish_e2m1(sum: Ints) -> Ints {
    sum
}
