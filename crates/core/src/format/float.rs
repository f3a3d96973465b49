//! Floats: F32, F16 and BF16 rows, conversions between the three, and master weights → trits.
//!
//! Invariant: conversion to f32 is exact; conversion from f32 rounds to nearest, ties to even; a value that is
//! not finite never gets into a row.

use alloc::vec::Vec;

use super::FormRow;
use crate::{Result, bail};

/// IEEE half precision → f32, exactly.
pub const fn f16_to_f32(bits: u16) -> f32 {
    let sign = (bits as u32 & 0x8000) << 16;
    let exponent = bits as u32 >> 10 & 0x1f;
    let fraction = bits as u32 & 0x3ff;
    f32::from_bits(
        sign | match (exponent, fraction) {
            (0, 0) => 0,
            // Subnormal: fraction · 2⁻²⁴, shifted until its leading one is implicit.
            (0, _) => {
                let shift = fraction.leading_zeros() - 21;
                (113 - shift) << 23 | (fraction << shift & 0x3ff) << 13
            }
            (31, _) => 0xff << 23 | fraction << 13,
            _ => (exponent + 112) << 23 | fraction << 13,
        },
    )
}

/// f32 → IEEE half precision, to nearest even; too large values become infinite, NaN stays NaN.
pub const fn f32_to_f16(value: f32) -> u16 {
    let bits = value.to_bits();
    let sign = (bits >> 16 & 0x8000) as u16;
    let magnitude = bits & 0x7fff_ffff;
    if magnitude > 0x7f80_0000 {
        return sign | 0x7e00;
    }
    // From 65520 on the nearest half is infinity.
    if magnitude >= 0x477f_f000 {
        return sign | 0x7c00;
    }
    if magnitude >= 0x3880_0000 {
        // Normal: rebase the exponent, drop 13 bits.
        return sign | half_even(magnitude - (112 << 23), 13) as u16;
    }
    // Subnormal: the significand in units of 2⁻²⁴. A carry into the exponent is the right normal number.
    let shift = 126 - (magnitude >> 23);
    if shift > 24 {
        return sign;
    }
    sign | half_even(magnitude & 0x7f_ffff | 0x80_0000, shift) as u16
}

/// bfloat16 → f32, exactly.
pub const fn bf16_to_f32(bits: u16) -> f32 {
    f32::from_bits((bits as u32) << 16)
}

/// f32 → bfloat16, to nearest even; NaN stays NaN.
pub const fn f32_to_bf16(value: f32) -> u16 {
    if value.is_nan() {
        return (value.to_bits() >> 16) as u16 | 0x40;
    }
    half_even(value.to_bits(), 16) as u16
}

/// `bits >> shift`, rounded to nearest even.
const fn half_even(bits: u32, shift: u32) -> u32 {
    let half = 1 << (shift - 1);
    (bits + (half - 1) + (bits >> shift & 1)) >> shift
}

/// Appends `values` as F16.
pub fn pack_f16(values: &[f32], out: &mut Vec<u8>) {
    out.extend(values.iter().flat_map(|v| f32_to_f16(*v).to_le_bytes()));
}

/// Appends `values` as BF16.
pub fn pack_bf16(values: &[f32], out: &mut Vec<u8>) {
    out.extend(values.iter().flat_map(|v| f32_to_bf16(*v).to_le_bytes()));
}

/// Appends `values` as F32.
pub fn pack_f32(values: &[f32], out: &mut Vec<u8>) {
    out.extend(values.iter().flat_map(|v| v.to_le_bytes()));
}

/// A half-precision scale of a block at `bytes[at..at + 2]`.
pub(super) fn scale(bytes: &[u8], at: usize) -> Result<f32> {
    let value = f16_to_f32(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    if !value.is_finite() {
        bail!(BadData, "a block has the scale {value}");
    }
    Ok(value)
}

/// One float row; `read` makes a value of `N` bytes.
pub(super) fn unpack<const N: usize>(
    bytes: &[u8],
    read: fn([u8; N]) -> f32,
    out: &mut FormRow,
) -> Result<()> {
    let (values, _) = bytes.as_chunks::<N>();
    out.floats.extend(values.iter().map(|value| read(*value)));
    match out.floats.iter().position(|v| !v.is_finite()) {
        None => Ok(()),
        Some(at) => bail!(BadData, "column {at} has the value {}", out.floats[at]),
    }
}

/// mean |w| of a whole weight matrix: the scale of master weights that are ternarised at load (HF
/// `AutoBitLinear`, mode `online`). At least 1e-5; summed in f64, so that the order of millions of values does
/// not show.
pub fn mean_abs(values: impl IntoIterator<Item = f32>) -> f32 {
    let (mut sum, mut count) = (0f64, 0u64);
    for value in values {
        sum += f64::from(value.abs());
        count += 1;
    }
    ((sum / count.max(1) as f64) as f32).max(1e-5)
}

/// Master weights → trits: `clamp(round_half_even(w · inv_mean_abs), −1, 1)`, `inv_mean_abs` being
/// `1 / mean_abs` in f32. The row's scale is left to the caller (`scales` stays empty).
pub fn ternarise(values: &[f32], inv_mean_abs: f32, out: &mut FormRow) {
    out.clear();
    out.codes.extend(values.iter().map(|w| libm::rintf(w * inv_mean_abs).clamp(-1.0, 1.0) as i8));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_by_hand() {
        for (bits, value) in [
            (0x0000, 0.0),
            (0x8000, -0.0),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x3555, 0.333_251_953_125),
            (0x7bff, 65504.0),
            (0x0400, 6.103_515_625e-5),
            (0x0001, 5.960_464_477_539_063e-8),
            (0x03ff, 6.097_555_160_522_461e-5),
            (0x7c00, f32::INFINITY),
        ] {
            assert_eq!(f16_to_f32(bits).to_bits(), f32::to_bits(value), "{bits:#x}");
            assert_eq!(f32_to_f16(value), bits, "{value}");
        }
    }

    #[test]
    fn every_half_survives() {
        for bits in 0..=u16::MAX {
            let value = f16_to_f32(bits);
            if value.is_nan() {
                assert!(f16_to_f32(f32_to_f16(value)).is_nan());
            } else {
                assert_eq!(f32_to_f16(value), bits);
            }
            let value = bf16_to_f32(bits);
            if value.is_nan() {
                assert!(bf16_to_f32(f32_to_bf16(value)).is_nan());
            } else {
                assert_eq!(f32_to_bf16(value), bits);
            }
        }
    }

    /// Between two neighbouring halves: below, at and above the middle.
    #[test]
    fn rounds_to_nearest_even() {
        for bits in 0..0x7bff_u16 {
            let (low, high) = (f64::from(f16_to_f32(bits)), f64::from(f16_to_f32(bits + 1)));
            let middle = ((low + high) / 2.0) as f32;
            let even = bits + (bits & 1);
            assert_eq!(f32_to_f16(middle), even);
            assert_eq!(f32_to_f16(middle.next_down()), bits);
            assert_eq!(f32_to_f16(middle.next_up()), bits + 1);
        }
        assert_eq!(f32_to_f16(65519.996), 0x7bff);
        assert_eq!(f32_to_f16(65520.0), 0x7c00);
        assert_eq!(f32_to_bf16(f32::from_bits(0x3f80_8000)), 0x3f80);
        assert_eq!(f32_to_bf16(f32::from_bits(0x3f81_8000)), 0x3f82);
        assert_eq!(f32_to_bf16(f32::from_bits(0x3f80_8001)), 0x3f81);
    }

    #[test]
    fn ties_round_to_even() {
        let mut row = FormRow::default();
        ternarise(&[0.5, -0.5, 0.500_000_1, 1.5, -9.0, 0.0], 1.0, &mut row);
        assert_eq!(row.codes, [0, 0, 1, 1, -1, 0]);
        assert_eq!(mean_abs([0.0; 8]), 1e-5);
        assert_eq!(mean_abs([1.0, -3.0]), 2.0);
        assert_eq!(mean_abs([]), 1e-5);
    }
}
