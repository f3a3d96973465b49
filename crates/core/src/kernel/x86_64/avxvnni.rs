//! AVX-VNNI: the layouts of [`avx2`](super::avx2), with `vpdpbusd` into 32-bit sums.
//!
//! `vpdpbusd` takes any unsigned byte, so the fields of a ternary byte need no separation: with the bytes
//! `v & 0x03`, `v & 0x0F`, `v & 0x3F` and `v` the sums are `a`, `a + 4b`, `a + 4b + 16c`,
//! `a + 4b + 16c + 64d`, and differences give the rows. 8-bit codes become unsigned by adding 128, which
//! `bias` takes back.
//!
//! Overflow: `vpdpbusd` does not saturate; 32-bit sums hold 170 · 127 · 65536 columns < 2^31, as they do
//! 127 · 127 · 65536.

use core::arch::x86_64::*;

use super::avx2::{
    CHAINS, COLS, GROUP, I8_BYTES, MXFP4, NVFP4, PLANES, Q2_WORDS, Q4_WORDS, Q8_WORDS, Q8X16_WORDS, R, SLOT,
    TERNARY, add, byte, div, fold_lanes, join, less, load_e8m0, load_f, load_minifloat, load_u, load_x, mul,
    prefetch, splat, splat_7, splat_f, store_f, store_i, to_float, zero, zero as start, zero_f,
};
use crate::{
    activations::{Activations, Block32, Token8, Token14},
    kernel::{
        Kernel, Panels,
        lane_loops::{block_kernel, byte_kernel},
        layout::{self, Block, Layout, Q2, Q4, Q8, Q8x16},
        minifloats::{self, E2m1, Fp8, Mx, Nv, SPAN, loops::e2m1_kernel},
        ternary_loop::field_kernel,
    },
    simd::{Level, Vectors, has},
    tile::Tile,
};

static LEVEL: Level =
    Level { name: "avxvnni", supported: || has!("avx2", "f16c", "avxvnni"), vectors: Vectors::Avx2 };

const fn kernel(
    name: &'static str,
    layout: &'static Layout,
    run: unsafe fn(&Panels<'_>, &Activations, &mut Tile<'_>),
) -> Kernel {
    Kernel { name, level: &LEVEL, layout, run }
}

/// The integer forms; it has nothing to add to AVX2's float forms.
pub static KERNELS: [Kernel; 8] = [
    kernel("ternary/avxvnni", &TERNARY, ternary),
    kernel("q2/avxvnni", &Q2_WORDS, block::<Q2>),
    kernel("q4/avxvnni", &Q4_WORDS, block::<Q4>),
    kernel("q8/avxvnni", &Q8_WORDS, block::<Q8>),
    kernel("q8x16/avxvnni", &Q8X16_WORDS, block::<Q8x16>),
    kernel("i8/avxvnni", &I8_BYTES, i8),
    kernel("mxfp4/avxvnni", &MXFP4, e2m1_integers::<Mx>),
    kernel("nvfp4/avxvnni", &NVFP4, e2m1_integers::<Nv>),
];

type I = __m256i;
type Sums = I;
const TOKENS: usize = 2;
const RUN: usize = usize::MAX;
const BYTE_TOKENS: usize = 4;

field_kernel!(, Token8::codes as i8, #[target_feature(enable = "avx2,avxvnni")]);
block_kernel!(, [Block32::high, Block32::low] as i8, #[target_feature(enable = "avx2,f16c,avxvnni")]);
e2m1_kernel!(, [Block32::high, Block32::low] as i8, #[target_feature(enable = "avx2,f16c,avxvnni")]);
byte_kernel!(, [Token14::high, Token14::low] as u8, #[target_feature(enable = "avx2,f16c,avxvnni")]);

#[inline]
#[target_feature(enable = "avx2")]
fn masks() -> [I; 3] {
    [_mm256_set1_epi8(0x03), _mm256_set1_epi8(0x0F), _mm256_set1_epi8(0x3F)]
}

#[inline]
#[target_feature(enable = "avx2")]
fn codes([a, b, c]: [I; 3], group: &[u8], half: usize) -> [I; 4] {
    let v = load_u(&group[32 * half..][..32]);
    [_mm256_and_si256(v, a), _mm256_and_si256(v, b), _mm256_and_si256(v, c), v]
}

#[inline]
#[target_feature(enable = "avx2")]
fn fold(v: [I; 4]) -> [i32; 4] {
    unmix(fold_lanes(v))
}

/// The rows' sums from those over masks of growing width.
#[inline(always)]
pub(super) fn unmix([a, b, c, d]: [i32; 4]) -> [i32; 4] {
    [a, (b - a) >> 2, (c - b) >> 4, (d - c) >> 6]
}

#[inline]
#[target_feature(enable = "avx2,avxvnni")]
fn dot_code(sum: I, codes: I, x: I) -> I {
    _mm256_dpbusd_avx_epi32(sum, codes, x)
}

#[inline]
#[target_feature(enable = "avx2")]
fn widen(total: I, sum: I) -> I {
    _mm256_add_epi32(total, sum)
}

#[inline]
#[target_feature(enable = "avx2")]
fn field(v: I, bits: usize, f: usize) -> I {
    if bits == 8 { _mm256_xor_si256(v, _mm256_set1_epi8(-128)) } else { super::avx2::field(v, bits, f) }
}

#[inline]
#[target_feature(enable = "avx2,avxvnni")]
fn dot_field(sum: I, codes: I, x: I, _: usize) -> I {
    _mm256_dpbusd_avx_epi32(sum, codes, x)
}

#[inline]
#[target_feature(enable = "avx2")]
fn finish(sum: I, _: usize) -> I {
    sum
}

pub(super) const fn bias(bits: usize) -> i32 {
    match bits {
        2 => 1,
        8 => 128,
        _ => 0,
    }
}

#[inline]
#[target_feature(enable = "avx2,avxvnni")]
fn dot_byte(sum: I, w: I, x: I) -> I {
    _mm256_dpbusd_avx_epi32(sum, x, w)
}

pub(super) const E2M1_BIAS: i32 = 12;
pub(super) const E2M1_RUN: usize = 32;

#[inline]
#[target_feature(enable = "avx2")]
fn e2m1_codes(words: I, f: usize) -> I {
    let biased = _mm256_setr_epi8(
        12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0, //
        12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0,
    );
    _mm256_shuffle_epi8(biased, field(words, 4, f))
}

#[inline]
#[target_feature(enable = "avx2,avxvnni")]
fn dot_e2m1(sum: I, codes: I, x: I) -> I {
    dot_code(sum, codes, x)
}

#[inline]
#[target_feature(enable = "avx2")]
fn finish_e2m1(sum: I) -> I {
    sum
}
