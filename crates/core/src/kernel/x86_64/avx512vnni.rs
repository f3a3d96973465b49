//! AVX-512 (F, BW, VL) with VNNI: 64-byte vectors, `vpdpbusd` into 32-bit sums.
//!
//! ```text
//! fields  64 columns of rows 0–3 | 64 columns of rows 4–7           (128 bytes)
//! words   16 rows × 32 bits: four 8-bit slots each, 16 f32 scales   (R = 16)
//! ```
//! Fields and overflow: as in [`avxvnni`](super::avxvnni).

use core::arch::x86_64::*;

use super::{
    avx2::{SLOT, prefetch},
    avxvnni::{E2M1_BIAS, E2M1_RUN, bias, unmix},
};
use crate::{
    activations::{Activations, Block32, Token8, Token14},
    format::Form,
    kernel::{
        Kernel, Panels,
        float_layout::{self, BF16, F16, F32, Float},
        lane_loops::{block_kernel, byte_kernel, float_kernel},
        layout::{self, Block, Layout, Q2, Q4, Q8, Q8x16},
        minifloats::{
            self, E2m1, E4m3, E5m2, FP8_SPAN, Fp8, Mx, Nv, SPAN, e2m1_blocks, fp8_columns,
            loops::{e2m1_kernel, exact_kernels},
        },
        ternary_loop::field_kernel,
    },
    simd::{Level, Vectors, has},
    tile::Tile,
};

static TERNARY: Layout = layout::fields::<64, false>("ternary/8x64");
static Q2_WORDS: Layout = layout::words::<Q2, 16, 8>("q2/16");
static Q4_WORDS: Layout = layout::words::<Q4, 16, 8>("q4/16");
static Q8_WORDS: Layout = layout::words::<Q8, 16, 8>("q8/16");
static Q8X16_WORDS: Layout = layout::words::<Q8x16, 16, 8>("q8x16/16");
static I8_BYTES: Layout = layout::bytes::<16, 8>("i8/16");
static F16_FLOATS: Layout = float_layout::floats::<F16, 16>("f16/16");
static BF16_FLOATS: Layout = float_layout::floats::<BF16, 16>("bf16/16");
static F32_FLOATS: Layout = float_layout::floats::<F32, 16>("f32/16");
static MXFP4: Layout = e2m1_blocks::<Mx, 16, 8>("mxfp4/16", Form::Mxfp4);
static NVFP4: Layout = e2m1_blocks::<Nv, 16, 8>("nvfp4/16", Form::Nvfp4);
static MXFP4_EXACT: Layout = e2m1_blocks::<Mx, 16, 8>("mxfp4-exact/16", Form::Mxfp4Exact);
static NVFP4_EXACT: Layout = e2m1_blocks::<Nv, 16, 8>("nvfp4-exact/16", Form::Nvfp4Exact);
static E4M3: Layout = fp8_columns::<E4m3, 16>("e4m3/16");
static E5M2: Layout = fp8_columns::<E5m2, 16>("e5m2/16");

static LEVEL: Level = Level {
    name: "avx512vnni",
    supported: || has!("avx2", "avx512f", "avx512bw", "avx512vl", "avx512vnni"),
    vectors: Vectors::Avx512Vnni,
};

const fn kernel(
    name: &'static str,
    layout: &'static Layout,
    run: unsafe fn(&Panels<'_>, &Activations, &mut Tile<'_>),
) -> Kernel {
    Kernel { name, level: &LEVEL, layout, run }
}

/// All forms.
pub static KERNELS: [Kernel; 15] = [
    kernel("ternary/avx512vnni", &TERNARY, ternary),
    kernel("q2/avx512vnni", &Q2_WORDS, block::<Q2>),
    kernel("q4/avx512vnni", &Q4_WORDS, block::<Q4>),
    kernel("q8/avx512vnni", &Q8_WORDS, block::<Q8>),
    kernel("q8x16/avx512vnni", &Q8X16_WORDS, block::<Q8x16>),
    kernel("i8/avx512vnni", &I8_BYTES, i8),
    kernel("f16/avx512vnni", &F16_FLOATS, float::<F16>),
    kernel("bf16/avx512vnni", &BF16_FLOATS, float::<BF16>),
    kernel("f32/avx512vnni", &F32_FLOATS, float::<F32>),
    kernel("mxfp4/avx512vnni", &MXFP4, e2m1_integers::<Mx>),
    kernel("nvfp4/avx512vnni", &NVFP4, e2m1_integers::<Nv>),
    kernel("mxfp4-exact/avx512vnni", &MXFP4_EXACT, e2m1_exact::<Mx>),
    kernel("nvfp4-exact/avx512vnni", &NVFP4_EXACT, e2m1_exact::<Nv>),
    kernel("e4m3/avx512vnni", &E4M3, fp8_exact::<E4m3>),
    kernel("e5m2/avx512vnni", &E5M2, fp8_exact::<E5m2>),
];

use zero as start;

type I = __m512i;
type Floats = __m512;
type Sums = I;
const COLS: usize = 64;
const GROUP: usize = 128;
const R: usize = 16;
const PLANES: usize = 2;
const TOKENS: usize = 6;
const RUN: usize = usize::MAX;
const BYTE_TOKENS: usize = 4;
const FLOAT_TOKENS: usize = 4;
const CHAINS: usize = 4;

field_kernel!(, Token8::codes as i8, #[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl,avx512vnni")]);
block_kernel!(, [Block32::high, Block32::low] as i8, #[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl,avx512vnni")]);
e2m1_kernel!(, [Block32::high, Block32::low] as i8, #[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl,avx512vnni")]);
byte_kernel!(, [Token14::high, Token14::low] as u8, #[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl,avx512vnni")]);
float_kernel!(#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl,avx512vnni")]);
exact_kernels!(#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl,avx512vnni")]);

#[inline]
#[target_feature(enable = "avx512f")]
fn load_u(bytes: &[u8]) -> I {
    let bytes = &bytes[..64];
    // SAFETY: 64 bytes are there.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_x(x: &[i8]) -> I {
    let bytes = &x[..64];
    // SAFETY: 64 bytes are there.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_f(bytes: &[u8]) -> Floats {
    _mm512_castsi512_ps(load_u(bytes))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_half(bytes: &[u8]) -> __m256i {
    let bytes = &bytes[..32];
    // SAFETY: 32 bytes are there.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_f16(bytes: &[u8]) -> Floats {
    _mm512_cvtph_ps(load_half(bytes))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_bf16(bytes: &[u8]) -> Floats {
    _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(load_half(bytes))))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn splat(x: &[i8]) -> I {
    _mm512_set1_epi32(i32::from_le_bytes([x[0] as u8, x[1] as u8, x[2] as u8, x[3] as u8]))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn splat_7(x: &[u8]) -> I {
    _mm512_set1_epi32(i32::from_le_bytes([x[0], x[1], x[2], x[3]]))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn splat_f(x: f32) -> Floats {
    _mm512_set1_ps(x)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn zero() -> I {
    _mm512_setzero_si512()
}

#[inline]
#[target_feature(enable = "avx512f")]
fn zero_f() -> Floats {
    _mm512_setzero_ps()
}

#[inline]
#[target_feature(enable = "avx512f")]
fn mul(a: Floats, b: Floats) -> Floats {
    _mm512_mul_ps(a, b)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn add(a: Floats, b: Floats) -> Floats {
    _mm512_add_ps(a, b)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn to_float(v: I) -> Floats {
    _mm512_cvtepi32_ps(v)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store_i(v: I) -> [i32; 16] {
    let mut out = [0; 16];
    // SAFETY: the array has 64 bytes.
    unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), v) };
    out
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store_f(v: Floats) -> [f32; 16] {
    let mut out = [0.0; 16];
    // SAFETY: the array has 64 bytes.
    unsafe { _mm512_storeu_ps(out.as_mut_ptr(), v) };
    out
}

#[inline]
#[target_feature(enable = "avx512f")]
fn masks() -> [I; 3] {
    [_mm512_set1_epi8(0x03), _mm512_set1_epi8(0x0F), _mm512_set1_epi8(0x3F)]
}

#[inline]
#[target_feature(enable = "avx512f")]
fn codes([a, b, c]: [I; 3], group: &[u8], half: usize) -> [I; 4] {
    let v = load_u(&group[64 * half..][..64]);
    [_mm512_and_si512(v, a), _mm512_and_si512(v, b), _mm512_and_si512(v, c), v]
}

#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
fn dot_code(sum: I, codes: I, x: I) -> I {
    _mm512_dpbusd_epi32(sum, codes, x)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn widen(total: I, sum: I) -> I {
    _mm512_add_epi32(total, sum)
}

#[inline]
#[target_feature(enable = "avx2,avx512f")]
fn fold([a, b, c, d]: [I; 4]) -> [i32; 4] {
    let pairs = |a, b| _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    let (ab, cd) = (pairs(a, b), pairs(c, d));
    let v = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
    let v = _mm256_add_epi32(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64::<1>(v));
    let v = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256::<1>(v));
    let mut out = [0; 4];
    // SAFETY: the array has 16 bytes.
    unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), v) };
    unmix(out)
}

/// Codes as unsigned bytes; 8-bit codes plus 128.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn field(v: I, bits: usize, f: usize) -> I {
    if bits == 8 {
        return _mm512_xor_si512(v, _mm512_set1_epi8(-128));
    }
    let v = _mm512_srl_epi16(v, _mm_cvtsi32_si128((bits * f) as i32));
    _mm512_and_si512(v, _mm512_set1_epi8((1 << bits) - 1))
}

#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
fn dot_field(sum: I, codes: I, x: I, _: usize) -> I {
    _mm512_dpbusd_epi32(sum, codes, x)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn finish(sum: I, _: usize) -> I {
    sum
}

#[inline]
#[target_feature(enable = "avx512f")]
fn join(high: I, low: I, base: i32) -> I {
    _mm512_add_epi32(_mm512_mullo_epi32(high, _mm512_set1_epi32(base)), low)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn less(v: I, x: i32) -> I {
    _mm512_sub_epi32(v, _mm512_set1_epi32(x))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn byte(v: I, _: usize) -> I {
    v
}

#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
fn dot_byte(sum: I, w: I, x: I) -> I {
    _mm512_dpbusd_epi32(sum, x, w)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_bytes(bytes: &[u8]) -> __m128i {
    let bytes = &bytes[..16];
    // SAFETY: 16 bytes are there.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_minifloat(bytes: &[u8], mantissa: u32) -> Floats {
    let v = _mm512_cvtepi8_epi32(load_bytes(bytes));
    // The sign was extended: all but its first copy go.
    _mm512_castsi512_ps(match mantissa {
        3 => _mm512_and_si512(_mm512_slli_epi32::<20>(v), _mm512_set1_epi32(0x87F0_0000_u32 as i32)),
        _ => _mm512_and_si512(_mm512_slli_epi32::<21>(v), _mm512_set1_epi32(0x8FE0_0000_u32 as i32)),
    })
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_e8m0(bytes: &[u8]) -> Floats {
    let v = _mm512_slli_epi32::<23>(_mm512_cvtepu8_epi32(load_bytes(bytes)));
    _mm512_castsi512_ps(_mm512_max_epi32(v, _mm512_set1_epi32(1 << 22)))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn div(a: Floats, b: Floats) -> Floats {
    _mm512_div_ps(a, b)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn e2m1(words: I, bit: usize) -> Floats {
    let numbers = _mm512_setr_ps(
        0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0,
    );
    // The lookup heeds four bits.
    _mm512_permutexvar_ps(_mm512_srl_epi32(words, _mm_cvtsi32_si128(bit as i32)), numbers)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn e2m1_codes(words: I, f: usize) -> I {
    let biased =
        _mm512_broadcast_i32x4(_mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0));
    _mm512_shuffle_epi8(biased, field(words, 4, f))
}

#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
fn dot_e2m1(sum: I, codes: I, x: I) -> I {
    dot_code(sum, codes, x)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn finish_e2m1(sum: I) -> I {
    sum
}
