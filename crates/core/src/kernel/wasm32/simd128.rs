//! Plain SIMD128, the floor: 16-byte vectors and `i32x4.dot_i16x8_s`, so codes meet 16-bit copies of the
//! activations.
//!
//! ```text
//! fields  8 columns of rows 0–7 as 16-bit lanes: row r at bit 2r      (16 bytes)
//! words   8 rows × 32 bits: two 16-bit slots each, 8 f32 scales       (R = 8, two vectors)
//! ```
//! With masks of growing width the ternary sums are `a`, `a + 4b`, `a + 4b + 16c`, `a + 4b + 16c + 64d`
//! for rows 0–3 and, after one shift, for rows 4–7; differences give the rows.
//!
//! Overflow: all sums have 32 bits; the ternary ones are bounded by 170 · 127 · 65536 < 2^31, those of a
//! block by 32 · 127 · 8191 (of E2M1, whose codes are multiplied by 256, by 32 · 12 · 256 · 8191), those of bytes by 2048 · 127 · 8191, then they are widened.

use core::arch::wasm32::*;

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
    simd::{Level, Vectors},
    tile::Tile,
};

static TERNARY: Layout = layout::fields::<8, true>("ternary/8x8-paired");
static Q2_WORDS: Layout = layout::words::<Q2, 8, 16>("q2/8-paired");
static Q4_WORDS: Layout = layout::words::<Q4, 8, 16>("q4/8-paired");
static Q8_WORDS: Layout = layout::words::<Q8, 8, 16>("q8/8-paired");
static Q8X16_WORDS: Layout = layout::words::<Q8x16, 8, 16>("q8x16/8-paired");
static I8_BYTES: Layout = layout::bytes::<8, 16>("i8/8-paired");
static F16_FLOATS: Layout = float_layout::floats::<F16, 8>("f16/8");
static BF16_FLOATS: Layout = float_layout::floats::<BF16, 8>("bf16/8");
static F32_FLOATS: Layout = float_layout::floats::<F32, 8>("f32/8");
static MXFP4: Layout = e2m1_blocks::<Mx, 8, 16>("mxfp4/8-paired", Form::Mxfp4);
static NVFP4: Layout = e2m1_blocks::<Nv, 8, 16>("nvfp4/8-paired", Form::Nvfp4);
static MXFP4_EXACT: Layout = e2m1_blocks::<Mx, 8, 16>("mxfp4-exact/8-paired", Form::Mxfp4Exact);
static NVFP4_EXACT: Layout = e2m1_blocks::<Nv, 8, 16>("nvfp4-exact/8-paired", Form::Nvfp4Exact);
static E4M3: Layout = fp8_columns::<E4m3, 8>("e4m3/8");
static E5M2: Layout = fp8_columns::<E5m2, 8>("e5m2/8");

pub(super) static LEVEL: Level = Level { name: "simd128", supported: || true, vectors: Vectors::Simd128 };

const fn kernel(
    name: &'static str,
    layout: &'static Layout,
    run: unsafe fn(&Panels<'_>, &Activations, &mut Tile<'_>),
) -> Kernel {
    Kernel { name, level: &LEVEL, layout, run }
}

/// All forms.
pub static KERNELS: [Kernel; 15] = [
    kernel("ternary/simd128", &TERNARY, ternary),
    kernel("q2/simd128", &Q2_WORDS, block::<Q2>),
    kernel("q4/simd128", &Q4_WORDS, block::<Q4>),
    kernel("q8/simd128", &Q8_WORDS, block::<Q8>),
    kernel("q8x16/simd128", &Q8X16_WORDS, block::<Q8x16>),
    kernel("i8/simd128", &I8_BYTES, i8),
    kernel("f16/simd128", &F16_FLOATS, float::<F16>),
    kernel("bf16/simd128", &BF16_FLOATS, float::<BF16>),
    kernel("f32/simd128", &F32_FLOATS, float::<F32>),
    kernel("mxfp4/simd128", &MXFP4, e2m1_integers::<Mx>),
    kernel("nvfp4/simd128", &NVFP4, e2m1_integers::<Nv>),
    kernel("mxfp4-exact/simd128", &MXFP4_EXACT, e2m1_exact::<Mx>),
    kernel("nvfp4-exact/simd128", &NVFP4_EXACT, e2m1_exact::<Nv>),
    kernel("e4m3/simd128", &E4M3, fp8_exact::<E4m3>),
    kernel("e5m2/simd128", &E5M2, fp8_exact::<E5m2>),
];

/// Eight lanes of 32 bits.
#[derive(Clone, Copy)]
pub(super) struct Wide(pub v128, pub v128);

pub(super) const R: usize = 8;
const FLOAT_TOKENS: usize = 2;
type I = v128;
type Sums = Wide;
type Floats = Wide;
const COLS: usize = 8;
const GROUP: usize = 16;
const RUN: usize = usize::MAX;
const SLOT: usize = 16;
const PLANES: usize = 1;
const TOKENS: usize = 2;
const BYTE_TOKENS: usize = 2;
const CHAINS: usize = 2;

field_kernel!(, Token8::wide as i16, #[target_feature(enable = "simd128")]);
block_kernel!(, [Block32::wide] as i16, #[target_feature(enable = "simd128")]);
e2m1_kernel!(, [Block32::wide] as i16, #[target_feature(enable = "simd128")]);
byte_kernel!(, [Token14::wide] as i16, #[target_feature(enable = "simd128")]);
float_kernel!(#[target_feature(enable = "simd128")]);
exact_kernels!(#[target_feature(enable = "simd128")]);

#[inline]
#[target_feature(enable = "simd128")]
fn masks() -> [v128; 3] {
    [u16x8_splat(0x03), u16x8_splat(0x0F), u16x8_splat(0x3F)].map(opaque)
}

#[inline]
#[target_feature(enable = "simd128")]
fn codes([a, b, c]: [v128; 3], group: &[u8], half: usize) -> [v128; 4] {
    let v = load(group);
    if half == 0 {
        [v128_and(v, a), v128_and(v, b), v128_and(v, c), v128_and(v, u16x8_splat(0xFF))]
    } else {
        let v = u16x8_shr(v, 8);
        [v128_and(v, a), v128_and(v, b), v128_and(v, c), v]
    }
}

#[inline]
#[target_feature(enable = "simd128")]
pub(super) fn load_x(x: &[i16]) -> v128 {
    let x = &x[..8];
    // SAFETY: 16 bytes are there.
    unsafe { v128_load(x.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "simd128")]
pub(super) fn start() -> v128 {
    i32x4_splat(0)
}

#[inline]
#[target_feature(enable = "simd128")]
pub(super) fn dot_code(sum: v128, codes: v128, x: v128) -> v128 {
    i32x4_add(sum, i32x4_dot_i16x8(codes, x))
}

#[inline]
#[target_feature(enable = "simd128")]
pub(super) fn widen(total: v128, sum: v128) -> v128 {
    i32x4_add(total, sum)
}

#[inline]
#[target_feature(enable = "simd128")]
fn fold(v: [v128; 4]) -> [i32; 4] {
    let [a, b, c, d] = fold_lanes(v);
    [a, (b - a) >> 2, (c - b) >> 4, (d - c) >> 6]
}

/// Sums across each of four vectors.
#[inline]
#[target_feature(enable = "simd128")]
pub(super) fn fold_lanes([a, b, c, d]: [v128; 4]) -> [i32; 4] {
    let pairs = |a, b| i32x4_add(i32x4_shuffle::<0, 4, 1, 5>(a, b), i32x4_shuffle::<2, 6, 3, 7>(a, b));
    let (ab, cd) = (pairs(a, b), pairs(c, d));
    let v = i32x4_add(i64x2_shuffle::<0, 2>(ab, cd), i64x2_shuffle::<1, 3>(ab, cd));
    [
        i32x4_extract_lane::<0>(v),
        i32x4_extract_lane::<1>(v),
        i32x4_extract_lane::<2>(v),
        i32x4_extract_lane::<3>(v),
    ]
}

/// The same vector, of which the compiler knows nothing. V8 would rebuild a constant in the loop, from
/// two scalar registers, each time.
#[inline]
pub(super) fn opaque(v: v128) -> v128 {
    core::hint::black_box(v)
}

/// There is no prefetching in WebAssembly.
#[inline(always)]
pub(super) fn prefetch(_: *const u8) {}

#[inline]
#[target_feature(enable = "simd128")]
pub(super) fn load(bytes: &[u8]) -> v128 {
    let bytes = &bytes[..16];
    // SAFETY: 16 bytes are there.
    unsafe { v128_load(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "simd128")]
pub(super) fn load_u(bytes: &[u8]) -> Wide {
    Wide(load(bytes), load(&bytes[16..]))
}

#[inline]
#[target_feature(enable = "simd128")]
fn load_f(bytes: &[u8]) -> Wide {
    load_u(bytes)
}

/// Exact for finite values, as [`finite_f16_to_f32`](crate::math::finite_f16_to_f32).
#[inline]
#[target_feature(enable = "simd128")]
fn load_f16(bytes: &[u8]) -> Wide {
    let v = load(bytes);
    let convert = |v| {
        let bits = v128_and(u32x4_shl(v, 13), u32x4_splat(0x8FFF_E000));
        f32x4_mul(bits, f32x4_splat(f32::from_bits(0x7780_0000)))
    };
    Wide(convert(i32x4_extend_low_i16x8(v)), convert(i32x4_extend_high_i16x8(v)))
}

#[inline]
#[target_feature(enable = "simd128")]
fn load_bf16(bytes: &[u8]) -> Wide {
    let v = load(bytes);
    Wide(u32x4_shl(u32x4_extend_low_u16x8(v), 16), u32x4_shl(u32x4_extend_high_u16x8(v), 16))
}

#[inline]
#[target_feature(enable = "simd128")]
fn splat(x: &[i16]) -> v128 {
    let x = &x[..2];
    // SAFETY: 4 bytes are there.
    unsafe { v128_load32_splat(x.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "simd128")]
fn splat_7(x: &[i16]) -> v128 {
    splat(x)
}

#[inline]
#[target_feature(enable = "simd128")]
fn splat_f(x: f32) -> Wide {
    Wide(f32x4_splat(x), f32x4_splat(x))
}

#[inline]
#[target_feature(enable = "simd128")]
pub(super) fn zero() -> Wide {
    Wide(i32x4_splat(0), i32x4_splat(0))
}

#[inline]
#[target_feature(enable = "simd128")]
fn zero_f() -> Wide {
    zero()
}

#[inline]
#[target_feature(enable = "simd128")]
fn mul(a: Wide, b: Wide) -> Wide {
    Wide(f32x4_mul(a.0, b.0), f32x4_mul(a.1, b.1))
}

#[inline]
#[target_feature(enable = "simd128")]
fn add(a: Wide, b: Wide) -> Wide {
    Wide(f32x4_add(a.0, b.0), f32x4_add(a.1, b.1))
}

#[inline]
#[target_feature(enable = "simd128")]
pub(super) fn add_i(a: Wide, b: Wide) -> Wide {
    Wide(i32x4_add(a.0, b.0), i32x4_add(a.1, b.1))
}

#[inline]
#[target_feature(enable = "simd128")]
fn to_float(v: Wide) -> Wide {
    Wide(f32x4_convert_i32x4(v.0), f32x4_convert_i32x4(v.1))
}

#[inline]
#[target_feature(enable = "simd128")]
pub(super) fn store_i(v: Wide) -> [i32; 8] {
    store_f(v).map(|v| v.to_bits() as i32)
}

#[inline]
#[target_feature(enable = "simd128")]
fn store_f(v: Wide) -> [f32; 8] {
    let mut out = [0.0; 8];
    // SAFETY: the array has 32 bytes.
    unsafe {
        v128_store(out.as_mut_ptr().cast(), v.0);
        v128_store(out.as_mut_ptr().add(4).cast(), v.1);
    }
    out
}

/// Codes as 16-bit lanes.
#[inline]
#[target_feature(enable = "simd128")]
fn field(v: Wide, bits: usize, f: usize) -> Wide {
    if bits == 8 {
        return byte(v, f);
    }
    let part = |v| v128_and(u16x8_shr(v, (bits * f) as u32), u16x8_splat((1 << bits) - 1));
    Wide(part(v.0), part(v.1))
}

#[inline]
#[target_feature(enable = "simd128")]
fn dot_field(sum: Wide, codes: Wide, x: v128, _: usize) -> Wide {
    dot_byte(sum, codes, x)
}

#[inline]
#[target_feature(enable = "simd128")]
fn finish(sum: Wide, _: usize) -> Wide {
    sum
}

const fn bias(bits: usize) -> i32 {
    if bits == 2 { 1 } else { 0 }
}

#[inline]
#[target_feature(enable = "simd128")]
fn join(high: Wide, low: Wide, base: i32) -> Wide {
    let times = |v| i32x4_mul(v, i32x4_splat(base));
    add_i(Wide(times(high.0), times(high.1)), low)
}

#[inline]
#[target_feature(enable = "simd128")]
fn less(v: Wide, x: i32) -> Wide {
    Wide(i32x4_sub(v.0, i32x4_splat(x)), i32x4_sub(v.1, i32x4_splat(x)))
}

/// Signed bytes as 16-bit lanes.
#[inline]
#[target_feature(enable = "simd128")]
fn byte(v: Wide, f: usize) -> Wide {
    let part = |v| if f == 0 { i16x8_shr(i16x8_shl(v, 8), 8) } else { i16x8_shr(v, 8) };
    Wide(part(v.0), part(v.1))
}

#[inline]
#[target_feature(enable = "simd128")]
fn dot_byte(sum: Wide, w: Wide, x: v128) -> Wide {
    add_i(sum, Wide(i32x4_dot_i16x8(w.0, x), i32x4_dot_i16x8(w.1, x)))
}

/// Exact, as [`widen`](crate::minifloat::widen).
#[inline]
#[target_feature(enable = "simd128")]
fn load_minifloat(bytes: &[u8], mantissa: u32) -> Wide {
    let bytes = &bytes[..8];
    // SAFETY: 8 bytes are there.
    let v = unsafe { i16x8_load_extend_i8x8(bytes.as_ptr().cast()) };
    // The sign was extended: all but its first copy go.
    let mask = if mantissa == 3 { 0x87F0_0000 } else { 0x8FE0_0000 };
    let place = |v| v128_and(i32x4_shl(v, 23 - mantissa), u32x4_splat(mask));
    Wide(place(i32x4_extend_low_i16x8(v)), place(i32x4_extend_high_i16x8(v)))
}

#[inline]
#[target_feature(enable = "simd128")]
fn load_e8m0(bytes: &[u8]) -> Wide {
    let bytes = &bytes[..8];
    // SAFETY: 8 bytes are there.
    let v = unsafe { u16x8_load_extend_u8x8(bytes.as_ptr().cast()) };
    let place = |v| i32x4_max(i32x4_shl(v, 23), i32x4_splat(1 << 22));
    Wide(place(u32x4_extend_low_u16x8(v)), place(u32x4_extend_high_u16x8(v)))
}

#[inline]
#[target_feature(enable = "simd128")]
fn div(a: Wide, b: Wide) -> Wide {
    Wide(f32x4_div(a.0, b.0), f32x4_div(a.1, b.1))
}

/// Twice the numbers of four-bit codes, each in a byte.
#[inline]
#[target_feature(enable = "simd128")]
fn twice(codes: v128) -> v128 {
    i8x16_swizzle(i8x16(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12), codes)
}

#[inline]
#[target_feature(enable = "simd128")]
fn e2m1(words: Wide, bit: usize) -> Wide {
    let number = |words| {
        // The other bytes of a word are 0, and so is what they look up.
        let code = twice(v128_and(u32x4_shr(words, bit as u32), u32x4_splat(15)));
        f32x4_mul(f32x4_convert_i32x4(i32x4_shr(i32x4_shl(code, 24), 24)), f32x4_splat(0.5))
    };
    Wide(number(words.0), number(words.1))
}

const E2M1_BIAS: i32 = 0;
/// 256 · 12 · 32512 · 16 < 2^31.
const E2M1_RUN: usize = 16;

/// Codes as 16-bit lanes, times 256: looked up in their upper bytes.
#[inline]
#[target_feature(enable = "simd128")]
fn e2m1_codes(words: Wide, f: usize) -> Wide {
    let part = |v| {
        let v = if f < 2 { u16x8_shl(v, 8 - 4 * f as u32) } else { u16x8_shr(v, 4 * f as u32 - 8) };
        twice(v128_and(v, u16x8_splat(0x0F00)))
    };
    Wide(part(words.0), part(words.1))
}

#[inline]
#[target_feature(enable = "simd128")]
fn dot_e2m1(sum: Wide, codes: Wide, x: v128) -> Wide {
    dot_byte(sum, codes, x)
}

#[inline]
#[target_feature(enable = "simd128")]
fn finish_e2m1(sum: Wide) -> Wide {
    Wide(i32x4_shr(sum.0, 8), i32x4_shr(sum.1, 8))
}
