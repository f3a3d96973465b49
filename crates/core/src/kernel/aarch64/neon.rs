//! NEON without the dot-product extension: widening multiply-adds of signed bytes into 16-bit sums.
//!
//! ```text
//! fields  16 columns of rows 0–3 | 16 columns of rows 4–7           (32 bytes)
//! words   8 rows × 32 bits: four 8-bit slots each, 8 f32 scales     (R = 8, two vectors)
//! ```
//! One product goes to one 16-bit lane, so a sum over a vector of 16 columns is two vectors, and four
//! lanes belong to a word.
//!
//! Overflow of the 16-bit sums: ternary 2 · 127 = 254 a group, widened after 64 groups; 2- and 4-bit
//! words 15 · 127 = 1905 a product, 8 over 32 columns; bytes, at most 128 · 127 = 16256, are widened at
//! once.

use core::arch::aarch64::*;

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
    minifloat::E2M1_TWICE,
    simd::{Level, Vectors},
    tile::Tile,
};

pub(super) static TERNARY: Layout = layout::fields::<16, false>("ternary/8x16");
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

static LEVEL: Level = Level { name: "neon", supported: || true, vectors: Vectors::Portable };

pub(super) const fn kernel(
    name: &'static str,
    layout: &'static Layout,
    run: unsafe fn(&Panels<'_>, &Activations, &mut Tile<'_>),
) -> Kernel {
    Kernel { name, level: &LEVEL, layout, run }
}

/// All forms.
pub static KERNELS: [Kernel; 15] = [
    kernel("ternary/neon", &TERNARY, ternary),
    kernel("q2/neon", &Q2_WORDS, block::<Q2>),
    kernel("q4/neon", &Q4_WORDS, block::<Q4>),
    kernel("q8/neon", &Q8_WORDS, block::<Q8>),
    kernel("q8x16/neon", &Q8X16_WORDS, block::<Q8x16>),
    kernel("i8/neon", &I8_BYTES, i8),
    kernel("f16/neon", &F16_FLOATS, float::<F16>),
    kernel("bf16/neon", &BF16_FLOATS, float::<BF16>),
    kernel("f32/neon", &F32_FLOATS, float::<F32>),
    kernel("mxfp4/neon", &MXFP4, e2m1_integers::<Mx>),
    kernel("nvfp4/neon", &NVFP4, e2m1_integers::<Nv>),
    kernel("mxfp4-exact/neon", &MXFP4_EXACT, e2m1_exact::<Mx>),
    kernel("nvfp4-exact/neon", &NVFP4_EXACT, e2m1_exact::<Nv>),
    kernel("e4m3/neon", &E4M3, fp8_exact::<E4m3>),
    kernel("e5m2/neon", &E5M2, fp8_exact::<E5m2>),
];

pub(super) static TERNARY_ROWS: Layout = rows::rows::<16, false>("ternary-rows/16");

/// Eight words of weights.
#[derive(Clone, Copy)]
pub(super) struct Words(pub int8x16_t, pub int8x16_t);

/// Eight f32.
#[derive(Clone, Copy)]
pub(super) struct Floats(float32x4_t, float32x4_t);

/// Eight 32-bit integers.
#[derive(Clone, Copy)]
pub(super) struct Ints(pub int32x4_t, pub int32x4_t);

/// Sums of two rows in each vector: four 16-bit lanes a row, or two of 32 bits.
#[derive(Clone, Copy)]
struct Sums([int32x4_t; 4]);

/// Sums of one row: 16-bit lanes, or 32-bit ones.
#[derive(Clone, Copy)]
struct I(int32x4_t, int32x4_t);

pub(super) const COLS: usize = 16;
pub(super) const GROUP: usize = 32;
pub(super) const R: usize = 8;
pub(super) const SLOT: usize = 8;
const RUN: usize = 64;
pub(super) const PLANES: usize = 2;
const TOKENS: usize = 2;
const BYTE_TOKENS: usize = 2;
const FLOAT_TOKENS: usize = 2;
const CHAINS: usize = 1;

field_kernel!(, Token8::codes as i8, #[target_feature(enable = "neon")]);
row_kernel!(pub(super), 1, Token8::codes as i8, #[target_feature(enable = "neon")]);
block_kernel!(, [Block32::high, Block32::low] as i8, #[target_feature(enable = "neon")]);
e2m1_kernel!(, [Block32::high, Block32::low] as i8, #[target_feature(enable = "neon")]);
byte_kernel!(, [Token14::high, Token14::low] as u8, #[target_feature(enable = "neon")]);
float_kernel!(#[target_feature(enable = "neon")]);
exact_kernels!(#[target_feature(enable = "neon")]);

/// Stable Rust has no prefetch here.
#[inline(always)]
pub(super) fn prefetch(_: *const u8) {}

#[inline]
#[target_feature(enable = "neon")]
pub(super) fn load(bytes: &[u8]) -> uint8x16_t {
    let bytes = &bytes[..16];
    // SAFETY: 16 bytes are there.
    unsafe { vld1q_u8(bytes.as_ptr()) }
}

#[inline]
#[target_feature(enable = "neon")]
pub(super) fn load_u(bytes: &[u8]) -> Words {
    Words(vreinterpretq_s8_u8(load(bytes)), vreinterpretq_s8_u8(load(&bytes[16..])))
}

#[inline]
#[target_feature(enable = "neon")]
pub(super) fn load_x(x: &[i8]) -> int8x16_t {
    let x = &x[..16];
    // SAFETY: 16 bytes are there.
    unsafe { vld1q_s8(x.as_ptr()) }
}

#[inline]
#[target_feature(enable = "neon")]
pub(super) fn load_f(bytes: &[u8]) -> Floats {
    Floats(vreinterpretq_f32_u8(load(bytes)), vreinterpretq_f32_u8(load(&bytes[16..])))
}

#[inline]
#[target_feature(enable = "neon")]
fn load_f16(bytes: &[u8]) -> Floats {
    let v = vreinterpretq_u16_u8(load(bytes));
    let convert = |v| vcvt_f32_f16(vreinterpret_f16_u16(v));
    Floats(convert(vget_low_u16(v)), convert(vget_high_u16(v)))
}

#[inline]
#[target_feature(enable = "neon")]
fn load_bf16(bytes: &[u8]) -> Floats {
    let v = vreinterpretq_u16_u8(load(bytes));
    let convert = |v| vreinterpretq_f32_u32(vshll_n_u16::<16>(v));
    Floats(convert(vget_low_u16(v)), convert(vget_high_u16(v)))
}

#[inline]
#[target_feature(enable = "neon")]
pub(super) fn splat(x: &[i8]) -> int8x16_t {
    let word = i32::from_le_bytes([x[0] as u8, x[1] as u8, x[2] as u8, x[3] as u8]);
    vreinterpretq_s8_s32(vdupq_n_s32(word))
}

#[inline]
#[target_feature(enable = "neon")]
pub(super) fn splat_7(x: &[u8]) -> int8x16_t {
    vreinterpretq_s8_s32(vdupq_n_s32(i32::from_le_bytes([x[0], x[1], x[2], x[3]])))
}

#[inline]
#[target_feature(enable = "neon")]
pub(super) fn splat_f(x: f32) -> Floats {
    Floats(vdupq_n_f32(x), vdupq_n_f32(x))
}

#[inline]
#[target_feature(enable = "neon")]
pub(super) fn zero_f() -> Floats {
    splat_f(0.0)
}

#[inline]
#[target_feature(enable = "neon")]
pub(super) fn mul(a: Floats, b: Floats) -> Floats {
    Floats(vmulq_f32(a.0, b.0), vmulq_f32(a.1, b.1))
}

#[inline]
#[target_feature(enable = "neon")]
pub(super) fn add(a: Floats, b: Floats) -> Floats {
    Floats(vaddq_f32(a.0, b.0), vaddq_f32(a.1, b.1))
}

#[inline]
#[target_feature(enable = "neon")]
pub(super) fn to_float(v: Ints) -> Floats {
    Floats(vcvtq_f32_s32(v.0), vcvtq_f32_s32(v.1))
}

#[inline]
#[target_feature(enable = "neon")]
pub(super) fn store_f(v: Floats) -> [f32; 8] {
    let mut out = [0.0; 8];
    // SAFETY: the array has 32 bytes.
    unsafe {
        vst1q_f32(out.as_mut_ptr(), v.0);
        vst1q_f32(out.as_mut_ptr().add(4), v.1);
    }
    out
}

#[inline]
#[target_feature(enable = "neon")]
pub(super) fn store_ints(v: Ints) -> [i32; 8] {
    let mut out = [0; 8];
    // SAFETY: the array has 32 bytes.
    unsafe {
        vst1q_s32(out.as_mut_ptr(), v.0);
        vst1q_s32(out.as_mut_ptr().add(4), v.1);
    }
    out
}

/// Codes of fewer than 8 bits as unsigned bytes; 8-bit codes as they are.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn field(v: Words, bits: usize, f: usize) -> Words {
    if bits == 8 {
        return v;
    }
    let shift = vdupq_n_s8(-((bits * f) as i8));
    let mask = vdupq_n_u8((1 << bits) - 1);
    let part = |v| vreinterpretq_s8_u8(vandq_u8(vshlq_u8(vreinterpretq_u8_s8(v), shift), mask));
    Words(part(v.0), part(v.1))
}

#[inline(always)]
pub(super) fn byte(v: Words, _: usize) -> Words {
    v
}

pub(super) const fn bias(bits: usize) -> i32 {
    if bits == 2 { 1 } else { 0 }
}

#[inline]
#[target_feature(enable = "neon")]
pub(super) fn join(high: Ints, low: Ints, base: i32) -> Ints {
    Ints(vmlaq_n_s32(low.0, high.0, base), vmlaq_n_s32(low.1, high.1, base))
}

#[inline]
#[target_feature(enable = "neon")]
pub(super) fn less(v: Ints, x: i32) -> Ints {
    Ints(vsubq_s32(v.0, vdupq_n_s32(x)), vsubq_s32(v.1, vdupq_n_s32(x)))
}

#[inline]
#[target_feature(enable = "neon")]
pub(super) fn masks() -> [uint8x16_t; 1] {
    [vdupq_n_u8(3)]
}

#[inline]
#[target_feature(enable = "neon")]
pub(super) fn codes([mask]: [uint8x16_t; 1], group: &[u8], half: usize) -> [int8x16_t; 4] {
    let v = load(&group[16 * half..][..16]);
    let (b, c, d) = (vshrq_n_u8::<2>(v), vshrq_n_u8::<4>(v), vshrq_n_u8::<6>(v));
    [vandq_u8(v, mask), vandq_u8(b, mask), vandq_u8(c, mask), d].map(|v| vreinterpretq_s8_u8(v))
}

#[inline]
#[target_feature(enable = "neon")]
fn start() -> I {
    I(vdupq_n_s32(0), vdupq_n_s32(0))
}

#[inline]
#[target_feature(enable = "neon")]
fn dot_code(sum: I, codes: int8x16_t, x: int8x16_t) -> I {
    let low = vmlal_s8(vreinterpretq_s16_s32(sum.0), vget_low_s8(codes), vget_low_s8(x));
    let high = vmlal_high_s8(vreinterpretq_s16_s32(sum.1), codes, x);
    I(vreinterpretq_s32_s16(low), vreinterpretq_s32_s16(high))
}

#[inline]
#[target_feature(enable = "neon")]
fn widen(total: I, sum: I) -> I {
    I(vpadalq_s16(total.0, vreinterpretq_s16_s32(sum.0)), vpadalq_s16(total.1, vreinterpretq_s16_s32(sum.1)))
}

#[inline]
#[target_feature(enable = "neon")]
fn fold([a, b, c, d]: [I; 4]) -> [i32; 4] {
    fold_lanes([vaddq_s32(a.0, a.1), vaddq_s32(b.0, b.1), vaddq_s32(c.0, c.1), vaddq_s32(d.0, d.1)])
}

/// Sums across each of four vectors.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn fold_lanes([a, b, c, d]: [int32x4_t; 4]) -> [i32; 4] {
    let v = vpaddq_s32(vpaddq_s32(a, b), vpaddq_s32(c, d));
    let mut out = [0; 4];
    // SAFETY: the array has 16 bytes.
    unsafe { vst1q_s32(out.as_mut_ptr(), v) };
    out
}

#[inline]
#[target_feature(enable = "neon")]
fn zero() -> Sums {
    Sums([vdupq_n_s32(0); 4])
}

#[inline]
#[target_feature(enable = "neon")]
fn dot_field(sum: Sums, w: Words, x: int8x16_t, bits: usize) -> Sums {
    if bits == 8 {
        return dot_byte(sum, w, x);
    }
    let (a, b) = (dot_code(I(sum.0[0], sum.0[1]), w.0, x), dot_code(I(sum.0[2], sum.0[3]), w.1, x));
    Sums([a.0, a.1, b.0, b.1])
}

#[inline]
#[target_feature(enable = "neon")]
fn dot_byte(sum: Sums, w: Words, x: int8x16_t) -> Sums {
    Sums([
        vpadalq_s16(sum.0[0], vmull_s8(vget_low_s8(w.0), vget_low_s8(x))),
        vpadalq_s16(sum.0[1], vmull_high_s8(w.0, x)),
        vpadalq_s16(sum.0[2], vmull_s8(vget_low_s8(w.1), vget_low_s8(x))),
        vpadalq_s16(sum.0[3], vmull_high_s8(w.1, x)),
    ])
}

#[inline]
#[target_feature(enable = "neon")]
fn finish(sum: Sums, bits: usize) -> Ints {
    let [a, b, c, d] = sum.0;
    if bits == 8 {
        return Ints(vpaddq_s32(a, b), vpaddq_s32(c, d));
    }
    let pairs = |a, b| {
        let pairs = |v| vpaddlq_s16(vreinterpretq_s16_s32(v));
        vpaddq_s32(pairs(a), pairs(b))
    };
    Ints(pairs(a, b), pairs(c, d))
}

#[inline]
#[target_feature(enable = "neon")]
fn store_i(sum: Sums) -> [i32; 8] {
    store_ints(finish(sum, 8))
}

/// The bytes of `bytes` as the low bits of words, with their sign or without.
#[inline]
#[target_feature(enable = "neon")]
fn load_bytes(bytes: &[u8], signed: bool) -> Ints {
    let bytes = &bytes[..8];
    // SAFETY: 8 bytes are there.
    let v = unsafe { vld1_u8(bytes.as_ptr()) };
    let v = if signed { vmovl_s8(vreinterpret_s8_u8(v)) } else { vreinterpretq_s16_u16(vmovl_u8(v)) };
    Ints(vmovl_s16(vget_low_s16(v)), vmovl_high_s16(v))
}

#[inline]
#[target_feature(enable = "neon")]
pub(super) fn load_minifloat(bytes: &[u8], mantissa: u32) -> Floats {
    let v = load_bytes(bytes, true);
    // The sign was extended: all but its first copy go.
    let place = |v| match mantissa {
        3 => vandq_s32(vshlq_n_s32::<20>(v), vdupq_n_s32(0x87F0_0000_u32 as i32)),
        _ => vandq_s32(vshlq_n_s32::<21>(v), vdupq_n_s32(0x8FE0_0000_u32 as i32)),
    };
    Floats(vreinterpretq_f32_s32(place(v.0)), vreinterpretq_f32_s32(place(v.1)))
}

#[inline]
#[target_feature(enable = "neon")]
pub(super) fn load_e8m0(bytes: &[u8]) -> Floats {
    let v = load_bytes(bytes, false);
    let place = |v| vreinterpretq_f32_s32(vmaxq_s32(vshlq_n_s32::<23>(v), vdupq_n_s32(1 << 22)));
    Floats(place(v.0), place(v.1))
}

#[inline]
#[target_feature(enable = "neon")]
pub(super) fn div(a: Floats, b: Floats) -> Floats {
    Floats(vdivq_f32(a.0, b.0), vdivq_f32(a.1, b.1))
}

/// Twice the numbers of four-bit codes, each in a byte.
#[inline]
#[target_feature(enable = "neon")]
fn twice(codes: uint8x16_t) -> int8x16_t {
    // SAFETY: the table has 16 bytes.
    let table = unsafe { vld1q_s8(E2M1_TWICE.as_ptr()) };
    vqtbl1q_s8(table, codes)
}

#[inline]
#[target_feature(enable = "neon")]
fn e2m1(words: Words, bit: usize) -> Floats {
    let (shift, mask) = (vdupq_n_s32(-(bit as i32)), vdupq_n_u32(15));
    let number = |words| {
        // The other bytes of a word are 0, and so is what they look up.
        let code = vandq_u32(vshlq_u32(vreinterpretq_u32_s8(words), shift), mask);
        let code = vreinterpretq_s32_s8(twice(vreinterpretq_u8_u32(code)));
        vmulq_n_f32(vcvtq_f32_s32(vshrq_n_s32::<24>(vshlq_n_s32::<24>(code))), 0.5)
    };
    Floats(number(words.0), number(words.1))
}

pub(super) const E2M1_BIAS: i32 = 0;
/// 12 · 127 · 8 < 2^15.
pub(super) const E2M1_RUN: usize = 32;

#[inline]
#[target_feature(enable = "neon")]
pub(super) fn e2m1_codes(words: Words, f: usize) -> Words {
    let codes = field(words, 4, f);
    Words(twice(vreinterpretq_u8_s8(codes.0)), twice(vreinterpretq_u8_s8(codes.1)))
}

#[inline]
#[target_feature(enable = "neon")]
fn dot_e2m1(sum: Sums, codes: Words, x: int8x16_t) -> Sums {
    dot_field(sum, codes, x, 4)
}

#[inline]
#[target_feature(enable = "neon")]
fn finish_e2m1(sum: Sums) -> Ints {
    finish(sum, 4)
}
