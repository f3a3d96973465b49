//! Floats of 8 and 4 bits: E4M3 and E5M2 (Micikevicius et al. 2022, arXiv 2209.05433), E2M1 and E8M0 (OCP Microscaling
//! Formats 1.0), and what models trained with them do to the inputs of linear layers.
//!
//! All of it is portable code, so every machine gets the same numbers.

use alloc::vec::Vec;

use crate::math::{amax, clamp, round};

/// The largest E4M3 number.
pub const E4M3_MAX: f32 = 448.0;

/// Twice the E2M1 numbers, so that they are integers, by their code; bit 3 is the sign.
pub const E2M1_TWICE: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// Twice the nearest E2M1 number.
pub(crate) fn doubled_e2m1(x: f32) -> i8 {
    let magnitude = clamp(x.abs(), 6.0);
    let doubled = match magnitude {
        m if m < 2.0 => round(2.0 * m),
        m if m < 4.0 => 2 * round(m),
        m => 4 * round(m / 2.0),
    };
    if x < 0.0 { -doubled as i8 } else { doubled as i8 }
}

/// The number of an E4M3 code (bias 7, no infinities, NaN is S.1111.111).
pub fn e4m3_to_f32(code: u8) -> f32 {
    if code & 0x7F == 0x7F { f32::NAN } else { widen(code, 3) * f32::from_bits((127 + 120) << 23) }
}

/// The number of an E5M2 code (bias 15, with infinities and NaN as IEEE 754 has them).
pub fn e5m2_to_f32(code: u8) -> f32 {
    match code & 0x7F {
        0x7C if code > 0x7F => f32::NEG_INFINITY,
        0x7C => f32::INFINITY,
        0x7D.. => f32::NAN,
        _ => widen(code, 2) * f32::from_bits((127 + 112) << 23),
    }
}

/// Sign, exponent and mantissa of an 8-bit float in their places of an f32, whose bias is larger: the number, divided by
/// a power of two that only depends on the format.
#[inline(always)]
pub(crate) fn widen(code: u8, mantissa: u32) -> f32 {
    f32::from_bits(u32::from(code & 0x80) << 24 | u32::from(code & 0x7F) << (23 - mantissa))
}

/// The E4M3 code nearest to `x`, ties to an even mantissa; beyond ±448 the largest.
pub fn f32_to_e4m3(x: f32) -> u8 {
    if x.is_nan() {
        return 0x7F;
    }
    let magnitude = clamp(x.abs(), E4M3_MAX);
    let sign = if x.is_sign_negative() { 0x80 } else { 0 };
    // Below 2⁻⁶ numbers are multiples of 2⁻⁹; above, a mantissa of three bits is rounded where it ends, and may carry
    // into the exponent.
    let code = if magnitude < 0.015625 {
        round(magnitude * 512.0) as u32
    } else {
        let bits = magnitude.to_bits();
        let rounded = bits + (1 << 19) - 1 + (bits >> 20 & 1);
        (rounded >> 20) - (120 << 3)
    };
    sign | code as u8
}

/// The number of an E8M0 code, 2^(code − 127); 255 is NaN.
pub fn e8m0_to_f32(code: u8) -> f32 {
    match code {
        0 => f32::from_bits(1 << 22),
        255 => f32::NAN,
        _ => f32::from_bits(u32::from(code) << 23),
    }
}

/// What becomes of a linear layer's inputs that a model was trained to round: each is replaced by a value that small
/// floats and one scale represent, so that the product with the weights is one of floats.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rounding {
    /// E4M3 with one absmax scale per token, or per so many inputs of it (DeepSeek-V3, arXiv 2412.19437).
    E4m3 {
        /// Inputs that share a scale; `None`: all of a token.
        group: Option<usize>,
    },
    /// E2M1 with one absmax scale per token.
    E2m1,
    /// Outlier clamping and compensation (FP4 training, arXiv 2501.17116): inputs are clamped to the quantiles `1 − alpha`
    /// and `alpha` of their token and become E2M1; what was cut off is added again.
    ClampedE2m1 {
        /// The upper quantile, in 0.5…1.
        alpha: f64,
        /// What is cut off becomes E4M3 with an absmax scale of its own, or stays as it is.
        residual_e4m3: bool,
    },
}

impl Rounding {
    /// Rounds the inputs `x` of one token into `out`.
    ///
    /// # Panics
    /// If `out` has not as many.
    pub fn apply(self, x: &[f32], out: &mut [f32]) {
        assert_eq!(x.len(), out.len());
        match self {
            Self::E4m3 { group } => {
                let group = group.unwrap_or(x.len()).max(1);
                x.chunks(group).zip(out.chunks_mut(group)).for_each(|(x, out)| round_e4m3(x, out));
            }
            Self::E2m1 => round_e2m1(x, out),
            Self::ClampedE2m1 { alpha, residual_e4m3 } => {
                let mut clamped = clamp_outliers(x, alpha);
                let rest: Vec<f32> = x.iter().zip(&clamped).map(|(x, clamped)| x - clamped).collect();
                round_e2m1(&clamped, out);
                if residual_e4m3 {
                    round_e4m3(&rest, &mut clamped);
                } else {
                    clamped = rest;
                }
                out.iter_mut().zip(&clamped).for_each(|(out, rest)| *out += rest);
            }
        }
    }
}

/// One token's inputs, clamped to their quantiles `1 − alpha` and `alpha`.
pub fn clamp_outliers(x: &[f32], alpha: f64) -> Vec<f32> {
    let mut sorted = Vec::from(x);
    sorted.sort_unstable_by(f32::total_cmp);
    let (low, high) = (quantile(&sorted, 1.0 - alpha), quantile(&sorted, alpha));
    let clamp = |&x: &f32| {
        let raised = if x < low { low } else { x };
        if raised > high { high } else { raised }
    };
    x.iter().map(clamp).collect()
}

/// The number at a share `q` of `sorted` ones, between two neighbours by linear interpolation.
fn quantile(sorted: &[f32], q: f64) -> f32 {
    let last = sorted.len().saturating_sub(1);
    let place = q * last as f64;
    let index = (place as usize).min(last);
    let (low, high) = (sorted[index], sorted[(index + 1).min(last)]);
    low + (high - low) * (place - index as f64) as f32
}

/// What inputs are multiplied by so that the largest becomes `limit`. The reciprocal is rounded first, as PyTorch divides a
/// number by a tensor.
fn absmax_scale(x: &[f32], limit: f32) -> f32 {
    let amax = amax(x);
    1.0 / if amax < 1e-5 { 1e-5 } else { amax } * limit
}

/// Numbers of E4M3 over one absmax scale.
fn round_e4m3(x: &[f32], out: &mut [f32]) {
    let scale = absmax_scale(x, E4M3_MAX);
    out.iter_mut().zip(x).for_each(|(out, x)| *out = e4m3_to_f32(f32_to_e4m3(x * scale)) / scale);
}

/// Numbers of E2M1 over one absmax scale.
fn round_e2m1(x: &[f32], out: &mut [f32]) {
    let scale = absmax_scale(x, 6.0);
    out.iter_mut().zip(x).for_each(|(out, x)| *out = 0.5 * f32::from(doubled_e2m1(x * scale)) / scale);
}
