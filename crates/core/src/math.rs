//! The f32 parts of the forward pass, in one fixed shape.
//!
//! Sums run in [`LANES`] independent lanes that are folded in one fixed order, products and sums are
//! rounded separately (no FMA), and `exp` is our own. Invariant: the same bits on every target, however
//! wide its registers are; ordinary Rust keeps that promise because it never contracts or reorders floats.

/// Independent partial sums of every reduction: one AVX-512 register, four 128-bit ones.
pub const LANES: usize = 16;

/// The largest magnitude; NaN if any value is. (As integers, because that vectorises.)
#[inline(always)]
pub(crate) fn amax(x: &[f32]) -> f32 {
    f32::from_bits(x.iter().map(|x| (x.to_bits() & 0x7FFF_FFFF) as i32).fold(0, i32::max) as u32)
}

/// To −limit…limit; NaN becomes −limit (its row's scale is NaN, so the output will be too).
#[inline(always)]
pub(crate) fn clamp(x: f32, limit: f32) -> f32 {
    let x = if x >= -limit { x } else { -limit };
    if x <= limit { x } else { limit }
}

/// To the nearest integer, ties to even, for |x| < 2^21: the sum with 1.5 · 2^23 has an ulp of 1, and
/// its low mantissa bits are the integer.
#[inline(always)]
pub(crate) fn round(x: f32) -> i32 {
    const MAGIC: f32 = 12_582_912.0;
    (x + MAGIC).to_bits() as i32 - MAGIC.to_bits() as i32
}

/// Folds the lanes pairwise, halves at a time: (0+8, 1+9, …), then 4, 2, 1.
#[inline(always)]
fn fold(lanes: [f32; LANES], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut a = lanes;
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            a[i] = f(a[i], a[i + width]);
        }
        width /= 2;
    }
    a[0]
}

/// Maps chunks of `LANES` pairs into the lanes, padding the last chunk with zeros.
#[inline(always)]
fn reduce2(a: &[f32], b: &[f32], f: impl Fn(f32, f32, f32) -> f32) -> [f32; LANES] {
    let mut lanes = [0.0f32; LANES];
    let n = a.len().min(b.len());
    let (a_whole, a_rest) = a[..n].as_chunks::<LANES>();
    let (b_whole, b_rest) = b[..n].as_chunks::<LANES>();
    for (x, y) in a_whole.iter().zip(b_whole) {
        for i in 0..LANES {
            lanes[i] = f(lanes[i], x[i], y[i]);
        }
    }
    for (i, (&x, &y)) in a_rest.iter().zip(b_rest).enumerate() {
        lanes[i] = f(lanes[i], x, y);
    }
    lanes
}

/// Σ a·b.
#[inline(always)]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    fold(reduce2(a, b, |s, x, y| s + x * y), |x, y| x + y)
}

/// Σ a.
#[inline(always)]
pub fn sum(a: &[f32]) -> f32 {
    fold(reduce2(a, a, |s, x, _| s + x), |x, y| x + y)
}

/// The largest element; −∞ for an empty slice. NaN is ignored.
#[inline(always)]
pub fn max(a: &[f32]) -> f32 {
    let pick = |x: f32, y: f32| if y > x { y } else { x };
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (whole, rest) = a.as_chunks::<LANES>();
    for x in whole {
        for i in 0..LANES {
            lanes[i] = pick(lanes[i], x[i]);
        }
    }
    for (i, &x) in rest.iter().enumerate() {
        lanes[i] = pick(lanes[i], x);
    }
    fold(lanes, pick)
}

/// x += y, elementwise.
#[inline]
pub fn add(x: &mut [f32], y: &[f32]) {
    for (x, &y) in x.iter_mut().zip(y) {
        *x += y;
    }
}

/// RMSNorm (Zhang & Sennrich 2019): `out = x / sqrt(mean(x²) + eps) * gain`.
#[inline]
pub fn rms_norm(x: &[f32], gain: &[f32], eps: f32, out: &mut [f32]) {
    let scale = inverse_rms(x, eps);
    for ((o, &x), &g) in out.iter_mut().zip(x).zip(gain) {
        *o = (x * scale) * g;
    }
}

/// [`rms_norm`] in place.
#[inline]
pub fn rms_norm_in_place(x: &mut [f32], gain: &[f32], eps: f32) {
    let scale = inverse_rms(x, eps);
    for (x, &g) in x.iter_mut().zip(gain) {
        *x = (*x * scale) * g;
    }
}

/// RMSNorm in place, without a gain.
#[inline(always)]
pub fn rms_scale_in_place(x: &mut [f32], eps: f32) {
    let scale = inverse_rms(x, eps);
    x.iter_mut().for_each(|x| *x *= scale);
}

/// LayerNorm (Ba et al. 2016) in place: `(x − mean) / sqrt(mean((x − mean)²) + eps) * gain + bias`.
#[inline]
pub fn layer_norm_in_place(x: &mut [f32], gain: &[f32], bias: &[f32], eps: f32) {
    let mean = sum(x) / x.len() as f32;
    x.iter_mut().for_each(|x| *x -= mean);
    let scale = inverse_rms(x, eps);
    for ((x, &g), &b) in x.iter_mut().zip(gain).zip(bias) {
        *x = (*x * scale) * g + b;
    }
}

#[inline(always)]
fn inverse_rms(x: &[f32], eps: f32) -> f32 {
    1.0 / libm::sqrtf(dot(x, x) / x.len() as f32 + eps)
}

/// eˣ, relative error below 3e-7 on [−87, 88]; 0 below −87.3, +∞ above 88.7, NaN for NaN.
///
/// 2ⁿ·p(r) with r = x − n·ln 2 in two parts (Cody & Waite) and the degree-6 Taylor polynomial, whose
/// remainder at |r| ≤ ln 2 / 2 is below 1.2e-7. Branch-free, so loops over it vectorise; no FMA and no
/// library call, so every target gives the same bits.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    const LOG2_E: f32 = core::f32::consts::LOG2_E;
    const LN2_HI: f32 = 0.693_359_4;
    const LN2_LO: f32 = -2.121_944_4e-4;
    // Adding and subtracting 1.5·2²³ rounds to the nearest integer in f32 arithmetic.
    const MAGIC: f32 = 12_582_912.0;
    let clamped = x.clamp(-88.0, 88.8);
    let n = (clamped * LOG2_E + MAGIC) - MAGIC;
    let r = (clamped - n * LN2_HI) - n * LN2_LO;
    let mut p = 1.0 / 720.0;
    p = p * r + 1.0 / 120.0;
    p = p * r + 1.0 / 24.0;
    p = p * r + 1.0 / 6.0;
    p = p * r + 0.5;
    p = p * r + 1.0;
    p = p * r + 1.0;
    // Two factors, so that n = 128 (just before overflow) needs no exponent of its own.
    let n = n as i32;
    let half = n >> 1;
    let y = p * power_of_two(half) * power_of_two(n - half);
    let y = if x < -87.3 { 0.0 } else { y };
    let y = if x > 88.722_84 { f32::INFINITY } else { y };
    if x.is_nan() { x } else { y }
}

#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits(((n + 127) as u32) << 23)
}

/// SiLU: x·σ(x).
#[inline(always)]
pub fn silu(x: f32) -> f32 {
    x / (1.0 + exp(-x))
}

/// Squared ReLU: max(x, 0)².
#[inline(always)]
pub fn relu2(x: f32) -> f32 {
    let x = if x > 0.0 { x } else { 0.0 };
    x * x
}

/// GELU in its tanh approximation, x/2·(1 + tanh(u)) with u = √(2/π)·(x + 0.044715·x³): as x·σ(2u).
#[inline(always)]
pub fn gelu_tanh(x: f32) -> f32 {
    const ROOT_2_OVER_PI: f32 = 0.797_884_6;
    let u = ROOT_2_OVER_PI * (x + 0.044_715 * (x * x * x));
    x / (1.0 + exp(-2.0 * u))
}

/// GELU: x·Φ(x), by the error function of f64, because 1 + erf cancels in f32.
pub fn gelu(x: f32) -> f32 {
    let x = x as f64;
    (0.5 * x * libm::erfc(-x * core::f64::consts::FRAC_1_SQRT_2)) as f32
}

/// max(x, 0).
#[inline(always)]
pub fn relu(x: f32) -> f32 {
    if x > 0.0 { x } else { 0.0 }
}

/// The normalised Walsh–Hadamard transform (Sylvester's order) of each `block` elements, which is its own inverse.
///
/// Sums and differences in log₂(block) stages, in one order: the same bits everywhere.
///
/// # Panics
/// If `block` is no power of two.
#[inline(always)]
pub fn walsh_hadamard(x: &mut [f32], block: usize) {
    assert!(block.is_power_of_two());
    let scale = 1.0 / libm::sqrtf(block as f32);
    for x in x.chunks_exact_mut(block) {
        let mut half = 1;
        while half < block {
            for pairs in x.chunks_exact_mut(2 * half) {
                let (a, b) = pairs.split_at_mut(half);
                for (a, b) in a.iter_mut().zip(b) {
                    (*a, *b) = (*a + *b, *a - *b);
                }
            }
            half *= 2;
        }
        x.iter_mut().for_each(|x| *x *= scale);
    }
}

/// σ(x) = 1 / (1 + e⁻ˣ).
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// GELU as σ approximates it: x·σ(1.702·x).
#[inline(always)]
pub fn quick_gelu(x: f32) -> f32 {
    x / (1.0 + exp(-1.702 * x))
}

/// Replaces `x` by `exp(x − max(x))` and returns (max, Σ): softmax without its division.
#[inline(always)]
pub fn exp_shifted(x: &mut [f32]) -> (f32, f32) {
    let top = max(x);
    for v in x.iter_mut() {
        *v = exp(*v - top);
    }
    (top, sum(x))
}

/// IEEE half precision → f32, exact for every value (subnormals, infinities; NaN stays NaN).
///
/// Branch-free on the magnitude (multiplying by 2¹¹² rebiases the exponent), so loops vectorise.
#[inline(always)]
pub fn f16_to_f32(h: u16) -> f32 {
    let magnitude = f32::from_bits(((h & 0x7fff) as u32) << 13) * f32::from_bits(0x7780_0000);
    let special = (h & 0x7c00) == 0x7c00;
    let bits = if special { 0x7f80_0000 | (((h & 0x03ff) as u32) << 13) } else { magnitude.to_bits() };
    f32::from_bits(bits | (((h & 0x8000) as u32) << 16))
}

/// [`f16_to_f32`] of a finite half, in fewer steps.
#[inline(always)]
pub fn finite_f16_to_f32(h: u16) -> f32 {
    // The sign is drawn up to the top; the copies that it leaves on the way are masked out.
    let bits = (i32::from(h as i16) << 13) as u32 & 0x8fff_e000;
    f32::from_bits(bits) * f32::from_bits(0x7780_0000)
}

/// f32 → IEEE half precision, rounding to nearest even; overflow gives infinity.
#[inline(always)]
pub fn f32_to_f16(x: f32) -> u16 {
    let bits = x.to_bits();
    let sign = ((bits >> 16) & 0x8000) as u16;
    let magnitude = bits & 0x7fff_ffff;
    let half = if magnitude > 0x7f80_0000 {
        0x7e00
    } else if magnitude >= 0x4780_0000 {
        0x7c00
    } else if magnitude < 0x3880_0000 {
        // Subnormal: adding 0.5 aligns the 24-bit mantissa to units of 2⁻²⁴ and rounds to even.
        (f32::from_bits(magnitude) + 0.5).to_bits() - 0x3f00_0000
    } else {
        let round = ((magnitude >> 13) & 1) + 0x0fff;
        (magnitude + round - 0x3800_0000) >> 13
    };
    sign | half as u16
}

/// bfloat16 → f32, exact.
#[inline(always)]
pub fn bf16_to_f32(b: u16) -> f32 {
    f32::from_bits((b as u32) << 16)
}

/// f32 → bfloat16, rounding to nearest even; NaN stays NaN.
#[inline(always)]
pub fn f32_to_bf16(x: f32) -> u16 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    (if x.is_nan() { bits >> 16 | 0x40 } else { rounded }) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn exp_is_close_and_has_exact_landmarks() {
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-200.0), 0.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(f32::INFINITY), f32::INFINITY);
        assert_eq!(exp(100.0), f32::INFINITY);
        assert!(exp(f32::NAN).is_nan());
        let mut worst = 0.0f64;
        for i in -870_000..=880_000 {
            let x = i as f32 * 1e-4;
            let want = libm::exp(x as f64);
            worst = worst.max(((exp(x) as f64 - want) / want).abs());
        }
        assert!(worst < 3e-7, "relative error {worst:e}");
    }

    /// Every half, and what lies next to it and to the middle between it and its neighbour.
    #[test]
    fn half_floats_are_those_of_the_half_crate() {
        let same = |got: f32, want: f32| got.to_bits() == want.to_bits() || (got.is_nan() && want.is_nan());
        for h in 0..=u16::MAX {
            let (f, b) = (half::f16::from_bits(h), half::bf16::from_bits(h));
            assert!(same(f16_to_f32(h), f.to_f32()), "{h:#x}");
            assert!(!f.is_finite() || finite_f16_to_f32(h).to_bits() == f.to_f32().to_bits(), "{h:#x}");
            assert!(same(bf16_to_f32(h), b.to_f32()), "{h:#x}");
            for bits in
                [f16_to_f32(h).to_bits(), f16_to_f32(h).to_bits() + 0x1000, u32::from(h) << 16 | 0x8000]
            {
                for x in [bits.wrapping_sub(1), bits, bits.wrapping_add(1)].map(f32::from_bits) {
                    if x.is_nan() {
                        assert!(f16_to_f32(f32_to_f16(x)).is_nan() && bf16_to_f32(f32_to_bf16(x)).is_nan());
                    } else {
                        assert_eq!(f32_to_f16(x), half::f16::from_f32(x).to_bits(), "{x:e}");
                        assert_eq!(f32_to_bf16(x), half::bf16::from_f32(x).to_bits(), "{x:e}");
                    }
                }
            }
        }
    }

    #[test]
    fn f16_round_trips_every_value() {
        for h in 0..=u16::MAX {
            let f = f16_to_f32(h);
            if f.is_nan() {
                assert!(f16_to_f32(f32_to_f16(f)).is_nan());
            } else {
                assert_eq!(f32_to_f16(f), h);
            }
        }
        assert_eq!(f32_to_f16(65_520.0), 0x7c00);
        assert_eq!(f32_to_f16(65_519.0), 0x7bff);
        assert_eq!(f16_to_f32(0x0001), 5.960_464_5e-8);
        assert_eq!(f32_to_f16(1.0 + 1.0 / 2048.0), 0x3c00, "ties go to even");
        assert_eq!(f32_to_f16(1.0 + 3.0 / 2048.0), 0x3c02, "ties go to even");
    }

    #[test]
    fn reductions_take_any_length() {
        for n in [0, 1, 15, 16, 17, 33, 256] {
            let a: Vec<f32> = (0..n).map(|i| (i % 7) as f32 - 3.0).collect();
            let b: Vec<f32> = (0..n).map(|i| (i % 5) as f32).collect();
            let want: f32 = a.iter().zip(&b).map(|(x, y)| x * y).sum();
            assert_eq!(dot(&a, &b), want, "small integers are exact in any order");
            assert_eq!(sum(&a), a.iter().sum::<f32>());
            assert_eq!(max(&a), a.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        }
    }
}
