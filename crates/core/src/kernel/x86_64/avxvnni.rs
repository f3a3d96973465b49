//! AVX-VNNI: the layouts of [`avx2`](super::avx2), with `vpdpbusd` into 32-bit sums.
//!
//! Overflow: `vpdpbusd` does not saturate and 32-bit sums hold 4 · 2 · 127 · 65536 columns < 2^27 and
//! 127 · 127 · 65536 < 2^30. 8-bit codes become unsigned by adding 128, which `bias` takes back.

use core::arch::x86_64::*;

use super::{
    avx2::{
        I8_BYTES, Q2_WORDS, Q4_WORDS, Q8_WORDS, Q8X16_WORDS, R, SLOT, TERNARY, V, add, byte, fields, fold,
        load_f, load_i, load_u, mul, prefetch, splat, splat_f, splat_u, store_f, store_i, to_float, zero,
        zero_f,
    },
    has,
};
use crate::{
    act::Rows,
    kernel::{
        Kernel, Panels,
        fields::field_kernel,
        lanes::code_kernels,
        layout::{self, Block, Layout, Q2, Q4, Q8, Q8x16},
    },
    pool::Tile,
};

const fn kernel(
    name: &'static str,
    layout: &'static Layout,
    run: unsafe fn(&Panels<'_>, &Rows, &mut Tile<'_>),
) -> Kernel {
    Kernel { name, isa: "avxvnni", layout, supported: || has!("avx2", "f16c", "avxvnni"), run }
}

/// The integer forms; it has nothing to add to AVX2's float forms.
pub static KERNELS: [Kernel; 6] = [
    kernel("ternary/avxvnni", &TERNARY, ternary),
    kernel("q2/avxvnni", &Q2_WORDS, block::<Q2>),
    kernel("q4/avxvnni", &Q4_WORDS, block::<Q4>),
    kernel("q8/avxvnni", &Q8_WORDS, block::<Q8>),
    kernel("q8x16/avxvnni", &Q8X16_WORDS, block::<Q8x16>),
    kernel("i8/avxvnni", &I8_BYTES, i8),
];

type I = __m256i;
const TOKENS: usize = 2;
const RUN: usize = usize::MAX / (2 * V);

field_kernel!(#[target_feature(enable = "avx2,avxvnni")]);
code_kernels!(#[target_feature(enable = "avx2,f16c,avxvnni")]);

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

pub(super) const fn bias(bits: usize) -> f32 {
    match bits {
        2 => 1.0,
        8 => 128.0,
        _ => 0.0,
    }
}

#[inline]
#[target_feature(enable = "avx2,avxvnni")]
fn dot_byte(sum: I, w: I, x: I) -> I {
    _mm256_dpbusd_avx_epi32(sum, x, w)
}
