//! Floats: F32, F16 and BF16 rows, both ways, and master weights → trits.
//!
//! Invariant: conversion to f32 is exact; conversion from f32 rounds to nearest, ties to even; a value that is
//! not finite never gets into a row.

use alloc::vec::Vec;

use super::FormRow;
use crate::{
    Result, bail,
    math::{bf16_to_f32, f16_to_f32, f32_to_bf16, f32_to_f16, finite_f16_to_f32},
    simd::{Isa, vectorised},
};

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

/// A row of F32.
pub(super) fn unpack_f32(isa: Isa, bytes: &[u8], out: &mut FormRow) -> Result<()> {
    unpack(isa, bytes, |b| f32::from_le_bytes(b).is_finite(), f32::from_le_bytes, out)
}

/// A row of F16.
pub(super) fn unpack_f16(isa: Isa, bytes: &[u8], out: &mut FormRow) -> Result<()> {
    let finite = |b| u16::from_le_bytes(b) & 0x7c00 != 0x7c00;
    unpack(isa, bytes, finite, |b| finite_f16_to_f32(u16::from_le_bytes(b)), out)
}

/// A row of BF16.
pub(super) fn unpack_bf16(isa: Isa, bytes: &[u8], out: &mut FormRow) -> Result<()> {
    let finite = |b| u16::from_le_bytes(b) & 0x7f80 != 0x7f80;
    unpack(isa, bytes, finite, |b| bf16_to_f32(u16::from_le_bytes(b)), out)
}

/// One float row; `read` makes a value of `N` bytes, which `finite` has looked at.
#[inline(always)]
fn unpack<const N: usize>(
    isa: Isa,
    bytes: &[u8],
    finite: impl Fn([u8; N]) -> bool,
    read: impl Fn([u8; N]) -> f32,
    out: &mut FormRow,
) -> Result<()> {
    let (values, _) = bytes.as_chunks::<N>();
    // All are looked at before the culprit is sought: that vectorises.
    let all_finite = vectorised(
        isa,
        #[inline(always)]
        || {
            out.floats.extend(values.iter().map(|value| read(*value)));
            values.iter().fold(true, |all, value| all & finite(*value))
        },
    );
    if !all_finite && let Some(at) = values.iter().position(|value| !finite(*value)) {
        bail!(BadData, "column {at} is not a finite number");
    }
    Ok(())
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
    fn packs_floats() {
        let mut out = Vec::new();
        pack_f16(&[1.0, -2.0], &mut out);
        pack_bf16(&[1.0], &mut out);
        pack_f32(&[1.0], &mut out);
        assert_eq!(out, [0, 0x3c, 0, 0xc0, 0x80, 0x3f, 0, 0, 0x80, 0x3f]);
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
