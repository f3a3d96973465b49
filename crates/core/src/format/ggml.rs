//! ggml's block encodings: Q4_0 … Q8_0, the K-quants, MXFP4 (layouts of `ggml-common.h`).
//!
//! Each function decodes one block: codes in column order, one scale and one min per sub-block of the form.
//! Invariant: `scale · code + min` in f32 is exactly the product of the stored numbers; two-level scales are
//! multiplied out, which is exact too (f16 × 6 or 8 bits fits f32).

use super::float::scale as half;
use crate::{Result, bail, minifloat::E2M1_TWICE};

/// The places that a block decodes into: 32 or 256 codes and the scales and mins of their sub-blocks.
pub(super) struct Out<'a> {
    pub codes: &'a mut [i8],
    pub scales: &'a mut [f32],
    /// Zeros at first.
    pub mins: &'a mut [f32],
}

/// Low nibbles into the first half of `codes`, high nibbles into the second.
fn nibbles(bytes: &[u8], codes: &mut [i8]) {
    let (low, high) = codes.split_at_mut(bytes.len());
    for ((byte, low), high) in bytes.iter().zip(low).zip(high) {
        *low = (byte & 15) as i8;
        *high = (byte >> 4) as i8;
    }
}

/// Q4_0: f16 d, 16 bytes; w = d · (code − 8).
pub(super) fn q4_0(block: &[u8], out: Out<'_>) -> Result<()> {
    let d = half(block, 0)?;
    nibbles(&block[2..], out.codes);
    out.scales[0] = d;
    out.mins[0] = -8.0 * d;
    Ok(())
}

/// Q4_1: f16 d, f16 m, 16 bytes; w = d · code + m.
pub(super) fn q4_1(block: &[u8], out: Out<'_>) -> Result<()> {
    out.scales[0] = half(block, 0)?;
    out.mins[0] = half(block, 2)?;
    nibbles(&block[4..], out.codes);
    Ok(())
}

/// Adds the fifth bits of Q5_0 and Q5_1 (bit k of a u32 for column k).
fn fifth_bits(bytes: &[u8], codes: &mut [i8]) {
    for (byte, codes) in bytes.iter().zip(codes.chunks_exact_mut(8)) {
        for (bit, code) in codes.iter_mut().enumerate() {
            *code |= ((byte >> bit & 1) << 4) as i8;
        }
    }
}

/// Q5_0: f16 d, 32 high bits, 16 bytes; w = d · (code − 16).
pub(super) fn q5_0(block: &[u8], out: Out<'_>) -> Result<()> {
    out.scales[0] = half(block, 0)?;
    nibbles(&block[6..], out.codes);
    fifth_bits(&block[2..6], out.codes);
    out.codes.iter_mut().for_each(|code| *code -= 16);
    Ok(())
}

/// Q5_1: f16 d, f16 m, 32 high bits, 16 bytes; w = d · code + m.
pub(super) fn q5_1(block: &[u8], out: Out<'_>) -> Result<()> {
    out.scales[0] = half(block, 0)?;
    out.mins[0] = half(block, 2)?;
    nibbles(&block[8..], out.codes);
    fifth_bits(&block[4..8], out.codes);
    Ok(())
}

/// Q8_0: f16 d, 32 signed bytes.
pub(super) fn q8_0(block: &[u8], out: Out<'_>) -> Result<()> {
    out.scales[0] = half(block, 0)?;
    for (code, byte) in out.codes.iter_mut().zip(&block[2..]) {
        *code = *byte as i8;
    }
    Ok(())
}

/// MXFP4 (OCP MX): E8M0 scale, 16 bytes of E2M1.
pub(super) fn mxfp4(block: &[u8], out: Out<'_>) -> Result<()> {
    // 255 is NaN; with 253 and 254 the largest code leaves the range of f32.
    if block[0] > 252 {
        bail!(BadData, "a block has the E8M0 scale {}", block[0]);
    }
    // Half of 2^(e − 127), because the codes are doubled; subnormal for e < 2.
    let e = u32::from(block[0]);
    out.scales[0] = f32::from_bits(if e < 2 { 0x20_0000 << e } else { (e - 1) << 23 });
    nibbles(&block[1..], out.codes);
    out.codes.iter_mut().for_each(|code| *code = E2M1_TWICE[*code as usize]);
    Ok(())
}

/// `2^(2n)` planes of 32 columns: byte m of each 32 holds columns m, 32 + m, 64 + m, 96 + m.
fn two_bits(bytes: &[u8], codes: &mut [i8]) {
    for (bytes, codes) in bytes.chunks_exact(32).zip(codes.chunks_exact_mut(128)) {
        for (group, codes) in codes.chunks_exact_mut(32).enumerate() {
            for (code, byte) in codes.iter_mut().zip(bytes) {
                *code = (byte >> (2 * group) & 3) as i8;
            }
        }
    }
}

/// Q2_K: 16 bytes of scale (low nibble) and min (high), 64 bytes of codes, f16 d, f16 dmin.
pub(super) fn q2_k(block: &[u8], out: Out<'_>) -> Result<()> {
    let (d, dmin) = (half(block, 80)?, half(block, 82)?);
    two_bits(&block[16..80], out.codes);
    for ((byte, scale), min) in block[..16].iter().zip(out.scales).zip(out.mins) {
        *scale = d * f32::from(byte & 15);
        *min = -(dmin * f32::from(byte >> 4));
    }
    Ok(())
}

/// Q3_K: 32 bytes of high bits (bit g for columns 32g…), 64 bytes of low bits, 12 bytes of sixteen 6-bit scales
/// (biased by 32), f16 d; a clear high bit subtracts 4.
pub(super) fn q3_k(block: &[u8], out: Out<'_>) -> Result<()> {
    let d = half(block, 108)?;
    two_bits(&block[32..96], out.codes);
    for (group, codes) in out.codes.chunks_exact_mut(32).enumerate() {
        for (code, byte) in codes.iter_mut().zip(&block[..32]) {
            *code -= if byte >> group & 1 == 1 { 0 } else { 4 };
        }
    }
    let packed = &block[96..108];
    for (j, scale) in out.scales.iter_mut().enumerate() {
        let low = packed[j % 8] >> (4 * (j / 8)) & 15;
        let high = packed[8 + j % 4] >> (2 * (j / 4)) & 3;
        *scale = d * f32::from((high << 4 | low) as i8 - 32);
    }
    Ok(())
}

/// The eight 6-bit scales and mins in the 12 bytes of Q4_K and Q5_K: the first four whole, the last four with
/// their top two bits in the first four's bytes.
fn scales_and_mins(packed: &[u8], d: f32, dmin: f32, scales: &mut [f32], mins: &mut [f32]) {
    for j in 0..8 {
        let (scale, min) = if j < 4 {
            (packed[j] & 63, packed[j + 4] & 63)
        } else {
            (packed[j + 4] & 15 | packed[j - 4] >> 6 << 4, packed[j + 4] >> 4 | packed[j] >> 6 << 4)
        };
        scales[j] = d * f32::from(scale);
        mins[j] = -(dmin * f32::from(min));
    }
}

/// Q4_K: f16 d, f16 dmin, 12 bytes of scales and mins, 128 bytes (each 32 hold 64 columns).
pub(super) fn q4_k(block: &[u8], out: Out<'_>) -> Result<()> {
    scales_and_mins(&block[4..16], half(block, 0)?, half(block, 2)?, out.scales, out.mins);
    for (bytes, codes) in block[16..].chunks_exact(32).zip(out.codes.chunks_exact_mut(64)) {
        nibbles(bytes, codes);
    }
    Ok(())
}

/// Q5_K: as Q4_K with 32 bytes of fifth bits (bit g for columns 32g…) before the nibbles.
pub(super) fn q5_k(block: &[u8], out: Out<'_>) -> Result<()> {
    scales_and_mins(&block[4..16], half(block, 0)?, half(block, 2)?, out.scales, out.mins);
    for (bytes, codes) in block[48..].chunks_exact(32).zip(out.codes.chunks_exact_mut(64)) {
        nibbles(bytes, codes);
    }
    for (group, codes) in out.codes.chunks_exact_mut(32).enumerate() {
        for (code, byte) in codes.iter_mut().zip(&block[16..48]) {
            *code |= ((byte >> group & 1) << 4) as i8;
        }
    }
    Ok(())
}

/// Q6_K: 128 bytes of low nibbles, 64 bytes of high bit pairs, 16 signed scales, f16 d; w = d · scale · (code − 32).
pub(super) fn q6_k(block: &[u8], out: Out<'_>) -> Result<()> {
    let d = half(block, 208)?;
    for (bytes, codes) in block[..128].chunks_exact(64).zip(out.codes.chunks_exact_mut(128)) {
        nibbles(bytes, codes);
    }
    for (bytes, codes) in block[128..192].chunks_exact(32).zip(out.codes.chunks_exact_mut(128)) {
        for (group, codes) in codes.chunks_exact_mut(32).enumerate() {
            for (code, byte) in codes.iter_mut().zip(bytes) {
                *code = (*code | ((byte >> (2 * group) & 3) << 4) as i8) - 32;
            }
        }
    }
    for (scale, byte) in out.scales.iter_mut().zip(&block[192..208]) {
        *scale = d * f32::from(*byte as i8);
    }
    Ok(())
}
