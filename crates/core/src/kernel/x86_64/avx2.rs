//! AVX2 (with F16C): 32-byte vectors, `vpmaddubsw` into 16-bit sums.
//!
//! ```text
//! fields  32 columns of rows 0–3 | 32 columns of rows 4–7           (64 bytes)
//! words   8 rows × 32 bits: four 8-bit slots each, 8 f32 scales     (R = 8)
//! ```
//! Overflow of the 16-bit sums:
//! * ternary: code × 4 ≤ 8, |x| ≤ 127, two columns a lane: 2032 a group; 16 groups (512 columns) give
//!   32512, then they are widened.
//! * 2- and 4-bit words: 2 · 15 · 127 = 3810 a `dot`, 8 of them over 32 columns give 30480.
//! * E2M1: 2 · 12 · 127 = 3048 a `dot`, 8 of them give 24384.
//! * 8-bit words: |code| ≤ 128 as the unsigned operand, x with the code's sign as the signed one:
//!   2 · 128 · 127 = 32512, widened at once.
//! * bytes: x ≤ 127 unsigned, |w| ≤ 127: 2 · 127 · 127 = 32258, widened at once.

use core::arch::x86_64::*;

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
        rows::{self, row_kernel},
        ternary_loop::field_kernel,
    },
    simd::{Level, Vectors, has},
    tile::Tile,
};

pub(super) static TERNARY: Layout = layout::fields::<32, false>("ternary/8x32");
pub(super) static Q2_WORDS: Layout = layout::words::<Q2, 8, 8>("q2/8");
pub(super) static Q4_WORDS: Layout = layout::words::<Q4, 8, 8>("q4/8");
pub(super) static Q8_WORDS: Layout = layout::words::<Q8, 8, 8>("q8/8");
pub(super) static Q8X16_WORDS: Layout = layout::words::<Q8x16, 8, 8>("q8x16/8");
pub(super) static I8_BYTES: Layout = layout::bytes::<8, 8>("i8/8");
static F16_FLOATS: Layout = float_layout::floats::<F16, 8>("f16/8");
static BF16_FLOATS: Layout = float_layout::floats::<BF16, 8>("bf16/8");
static F32_FLOATS: Layout = float_layout::floats::<F32, 8>("f32/8");
pub(super) static MXFP4: Layout = e2m1_blocks::<Mx, 8, 8>("mxfp4/8", Form::Mxfp4);
pub(super) static NVFP4: Layout = e2m1_blocks::<Nv, 8, 8>("nvfp4/8", Form::Nvfp4);
static MXFP4_EXACT: Layout = e2m1_blocks::<Mx, 8, 8>("mxfp4-exact/8", Form::Mxfp4Exact);
static NVFP4_EXACT: Layout = e2m1_blocks::<Nv, 8, 8>("nvfp4-exact/8", Form::Nvfp4Exact);
static E4M3: Layout = fp8_columns::<E4m3, 8>("e4m3/8");
static E5M2: Layout = fp8_columns::<E5m2, 8>("e5m2/8");

static LEVEL: Level = Level { name: "avx2", supported: || has!("avx2", "f16c"), vectors: Vectors::Avx2 };

pub(super) const fn kernel(
    name: &'static str,
    layout: &'static Layout,
    run: unsafe fn(&Panels<'_>, &Activations, &mut Tile<'_>),
) -> Kernel {
    Kernel { name, level: &LEVEL, layout, run }
}

/// All forms.
pub static KERNELS: [Kernel; 15] = [
    kernel("ternary/avx2", &TERNARY, ternary),
    kernel("q2/avx2", &Q2_WORDS, block::<Q2>),
    kernel("q4/avx2", &Q4_WORDS, block::<Q4>),
    kernel("q8/avx2", &Q8_WORDS, block::<Q8>),
    kernel("q8x16/avx2", &Q8X16_WORDS, block::<Q8x16>),
    kernel("i8/avx2", &I8_BYTES, i8),
    kernel("f16/avx2", &F16_FLOATS, float::<F16>),
    kernel("bf16/avx2", &BF16_FLOATS, float::<BF16>),
    kernel("f32/avx2", &F32_FLOATS, float::<F32>),
    kernel("mxfp4/avx2", &MXFP4, e2m1_integers::<Mx>),
    kernel("nvfp4/avx2", &NVFP4, e2m1_integers::<Nv>),
    kernel("mxfp4-exact/avx2", &MXFP4_EXACT, e2m1_exact::<Mx>),
    kernel("nvfp4-exact/avx2", &NVFP4_EXACT, e2m1_exact::<Nv>),
    kernel("e4m3/avx2", &E4M3, fp8_exact::<E4m3>),
    kernel("e5m2/avx2", &E5M2, fp8_exact::<E5m2>),
];

pub(super) static TERNARY_ROWS: Layout = rows::rows::<32, false>("ternary-rows/32");

use zero as start;

type I = __m256i;
type Floats = __m256;
type Sums = I;
pub(super) const COLS: usize = 32;
pub(super) const GROUP: usize = 64;
pub(super) const R: usize = 8;
pub(super) const SLOT: usize = 8;
pub(super) const PLANES: usize = 2;
const TOKENS: usize = 2;
const RUN: usize = 16;
const BYTE_TOKENS: usize = 4;
const FLOAT_TOKENS: usize = 2;
pub(super) const CHAINS: usize = 4;

field_kernel!(, Token8::codes as i8, #[target_feature(enable = "avx2")]);
row_kernel!(pub(super), 1, Token8::codes as i8, #[target_feature(enable = "avx2")]);
block_kernel!(, [Block32::high, Block32::low] as i8, #[target_feature(enable = "avx2,f16c")]);
e2m1_kernel!(, [Block32::high, Block32::low] as i8, #[target_feature(enable = "avx2,f16c")]);
byte_kernel!(, [Token14::high, Token14::low] as u8, #[target_feature(enable = "avx2,f16c")]);
float_kernel!(#[target_feature(enable = "avx2,f16c")]);
exact_kernels!(#[target_feature(enable = "avx2,f16c")]);

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn load_u(bytes: &[u8]) -> I {
    let bytes = &bytes[..32];
    // SAFETY: 32 bytes are there.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn load_x(x: &[i8]) -> I {
    let bytes = &x[..32];
    // SAFETY: 32 bytes are there.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn load_f(bytes: &[u8]) -> Floats {
    _mm256_castsi256_ps(load_u(bytes))
}

#[inline]
#[target_feature(enable = "avx2,f16c")]
pub(super) fn load_f16(bytes: &[u8]) -> Floats {
    _mm256_cvtph_ps(load_half(bytes))
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn load_bf16(bytes: &[u8]) -> Floats {
    _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(load_half(bytes))))
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_half(bytes: &[u8]) -> __m128i {
    let bytes = &bytes[..16];
    // SAFETY: 16 bytes are there.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

/// A hint; any address will do.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn prefetch(address: *const u8) {
    _mm_prefetch::<_MM_HINT_T0>(address.cast());
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn splat(x: &[i8]) -> I {
    _mm256_set1_epi32(i32::from_le_bytes([x[0] as u8, x[1] as u8, x[2] as u8, x[3] as u8]))
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn splat_7(x: &[u8]) -> I {
    _mm256_set1_epi32(i32::from_le_bytes([x[0], x[1], x[2], x[3]]))
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn splat_f(x: f32) -> Floats {
    _mm256_set1_ps(x)
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn zero() -> I {
    _mm256_setzero_si256()
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn zero_f() -> Floats {
    _mm256_setzero_ps()
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn mul(a: Floats, b: Floats) -> Floats {
    _mm256_mul_ps(a, b)
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn add(a: Floats, b: Floats) -> Floats {
    _mm256_add_ps(a, b)
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn to_float(v: I) -> Floats {
    _mm256_cvtepi32_ps(v)
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn store_i(v: I) -> [i32; 8] {
    let mut out = [0; 8];
    // SAFETY: the array has 32 bytes.
    unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), v) };
    out
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn store_f(v: Floats) -> [f32; 8] {
    let mut out = [0.0; 8];
    // SAFETY: the array has 32 bytes.
    unsafe { _mm256_storeu_ps(out.as_mut_ptr(), v) };
    out
}

#[inline]
#[target_feature(enable = "avx2")]
fn masks() -> [I; 2] {
    [_mm256_set1_epi8(0x03), _mm256_set1_epi8(0x0C)]
}

/// Codes × 1, 4, 1, 4.
#[inline]
#[target_feature(enable = "avx2")]
fn codes([one, four]: [I; 2], group: &[u8], half: usize) -> [I; 4] {
    let v = load_u(&group[32 * half..][..32]);
    let t = _mm256_srli_epi16::<4>(v);
    [_mm256_and_si256(v, one), _mm256_and_si256(v, four), _mm256_and_si256(t, one), _mm256_and_si256(t, four)]
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn dot_code(sum: I, codes: I, x: I) -> I {
    _mm256_add_epi16(sum, _mm256_maddubs_epi16(codes, x))
}

#[inline]
#[target_feature(enable = "avx2")]
fn widen(total: I, sum: I) -> I {
    _mm256_add_epi32(total, _mm256_madd_epi16(sum, _mm256_set1_epi16(1)))
}

#[inline]
#[target_feature(enable = "avx2")]
fn fold(v: [I; 4]) -> [i32; 4] {
    let [a, b, c, d] = fold_lanes(v);
    [a, b >> 2, c, d >> 2]
}

/// Sums across each of four vectors.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn fold_lanes([a, b, c, d]: [I; 4]) -> [i32; 4] {
    let v = _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
    let v = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256::<1>(v));
    let mut out = [0; 4];
    // SAFETY: the array has 16 bytes.
    unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), v) };
    out
}

/// Codes of fewer than 8 bits as unsigned bytes; 8-bit codes as they are.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn field(v: I, bits: usize, f: usize) -> I {
    if bits == 8 {
        return v;
    }
    let v = _mm256_srl_epi16(v, _mm_cvtsi32_si128((bits * f) as i32));
    _mm256_and_si256(v, _mm256_set1_epi8((1 << bits) - 1))
}

#[inline]
#[target_feature(enable = "avx2")]
fn dot_field(sum: I, codes: I, x: I, bits: usize) -> I {
    if bits == 8 {
        let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(codes), _mm256_sign_epi8(x, codes));
        widen(sum, pairs)
    } else {
        dot_code(sum, codes, x)
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn finish(sum: I, bits: usize) -> I {
    if bits == 8 { sum } else { _mm256_madd_epi16(sum, _mm256_set1_epi16(1)) }
}

const fn bias(bits: usize) -> i32 {
    if bits == 2 { 1 } else { 0 }
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn join(high: I, low: I, base: i32) -> I {
    _mm256_add_epi32(_mm256_mullo_epi32(high, _mm256_set1_epi32(base)), low)
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn less(v: I, x: i32) -> I {
    _mm256_sub_epi32(v, _mm256_set1_epi32(x))
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn byte(v: I, _: usize) -> I {
    v
}

#[inline]
#[target_feature(enable = "avx2")]
fn dot_byte(sum: I, w: I, x: I) -> I {
    widen(sum, _mm256_maddubs_epi16(x, w))
}

/// Each byte of `bytes` in the low bits of a lane.
#[inline]
#[target_feature(enable = "avx2")]
fn load_bytes(bytes: &[u8]) -> __m128i {
    let bytes = &bytes[..8];
    // SAFETY: 8 bytes are there.
    unsafe { _mm_loadl_epi64(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn load_minifloat(bytes: &[u8], mantissa: u32) -> Floats {
    let v = _mm256_cvtepi8_epi32(load_bytes(bytes));
    // The sign was extended: all but its first copy go.
    _mm256_castsi256_ps(match mantissa {
        3 => _mm256_and_si256(_mm256_slli_epi32::<20>(v), _mm256_set1_epi32(0x87F0_0000_u32 as i32)),
        _ => _mm256_and_si256(_mm256_slli_epi32::<21>(v), _mm256_set1_epi32(0x8FE0_0000_u32 as i32)),
    })
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn load_e8m0(bytes: &[u8]) -> Floats {
    let v = _mm256_slli_epi32::<23>(_mm256_cvtepu8_epi32(load_bytes(bytes)));
    _mm256_castsi256_ps(_mm256_max_epi32(v, _mm256_set1_epi32(1 << 22)))
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn div(a: Floats, b: Floats) -> Floats {
    _mm256_div_ps(a, b)
}

#[inline]
#[target_feature(enable = "avx2")]
fn e2m1(words: I, bit: usize) -> Floats {
    let magnitudes = _mm256_setr_ps(0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0);
    let codes = _mm256_srl_epi32(words, _mm_cvtsi32_si128(bit as i32));
    let signs = _mm256_and_si256(_mm256_slli_epi32::<28>(codes), _mm256_set1_epi32(i32::MIN));
    // The lookup heeds three bits.
    _mm256_or_ps(_mm256_permutevar8x32_ps(magnitudes, codes), _mm256_castsi256_ps(signs))
}

const E2M1_BIAS: i32 = 0;
/// 12 · 127 · 2 · 8 < 2^15.
const E2M1_RUN: usize = 32;

#[inline]
#[target_feature(enable = "avx2")]
fn e2m1_codes(words: I, f: usize) -> I {
    let twice = _mm256_setr_epi8(
        0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12, //
        0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12,
    );
    _mm256_shuffle_epi8(twice, field(words, 4, f))
}

#[inline]
#[target_feature(enable = "avx2")]
fn dot_e2m1(sum: I, codes: I, x: I) -> I {
    dot_code(sum, _mm256_abs_epi8(codes), _mm256_sign_epi8(x, codes))
}

#[inline]
#[target_feature(enable = "avx2")]
fn finish_e2m1(sum: I) -> I {
    finish(sum, 4)
}
