//! Ternary encodings, both ways: TQ1_0 and TQ2_0 (ggml), I2_S (bitnet.cpp), HF packed, Q1_0 and Q2_0.
//!
//! A stored code c stands for the weight c − 1. Invariant: in a ternary row every code is −1, 0 or +1; the
//! unused code 3 is an error, never a weight.

use alloc::vec::Vec;

use super::{Encoding, FormRow, check_len, float};
use crate::{
    Result, bail,
    math::{f16_to_f32, f32_to_f16},
    simd::{Isa, vectorised},
};

/// Bytes after the data of an I2_S tensor: the scale and padding.
pub const I2_S_TAIL: usize = 32;

/// A 2-bit code 3 as weight.
const UNUSED: i8 = 2;

#[inline(always)]
fn check_codes(codes: &[i8]) -> Result<()> {
    // All are looked at before the culprit is sought: that vectorises.
    if codes.iter().fold(i8::MIN, |most, &code| most.max(code)) < UNUSED {
        return Ok(());
    }
    let at = codes.iter().position(|code| *code == UNUSED).unwrap_or(codes.len());
    bail!(BadData, "column {at} has the unused ternary code 3")
}

/// `out[g · N + m] = bits 2g of bytes[m]`, minus one, for four groups; the first group is in the lowest bits
/// (`HIGH` false) or the highest.
#[inline(always)]
fn planes<const HIGH: bool, const N: usize>(bytes: &[u8; N], out: &mut [i8]) {
    let (groups, _) = out.as_chunks_mut::<N>();
    if let Some([a, b, c, d]) = groups.first_chunk_mut::<4>() {
        let [a, b, c, d] = if HIGH { [d, c, b, a] } else { [a, b, c, d] };
        (*a, *b, *c, *d) =
            (plane::<0, N>(bytes), plane::<2, N>(bytes), plane::<4, N>(bytes), plane::<6, N>(bytes));
    }
}

/// The shift is a constant: vectors have no shift of bytes, and by an unknown number it is a dozen instructions.
#[inline(always)]
fn plane<const SHIFT: usize, const N: usize>(bytes: &[u8; N]) -> [i8; N] {
    let mut plane = [0; N];
    for m in 0..N {
        plane[m] = (bytes[m] >> SHIFT & 3) as i8 - 1;
    }
    plane
}

/// TQ2_0 block, 66 bytes: two halves of 32 bytes × 4 groups of 32 weights, lowest bits first; f16 scale.
pub(super) fn tq2_0(isa: Isa, block: &[u8], codes: &mut [i8]) -> Result<f32> {
    vectorised(
        isa,
        #[inline(always)]
        || {
            for (bytes, codes) in block[..64].as_chunks::<32>().0.iter().zip(codes.chunks_exact_mut(128)) {
                planes::<false, 32>(bytes, codes);
            }
            check_codes(codes)
        },
    )?;
    float::scale(block, 64)
}

/// 3ⁿ, as the multiplier that brings trit n of a byte to the top.
const POWERS: [u8; 5] = [1, 3, 9, 27, 81];

/// Trit `n` of a byte that holds up to five as a fraction of 3⁵ = 243 scaled to 256.
fn trit(byte: u8, n: usize) -> i8 {
    let fraction = byte.wrapping_mul(POWERS[n]);
    ((u16::from(fraction) * 3) >> 8) as i8 - 1
}

/// TQ1_0 block, 54 bytes: 32 bytes × 5 trits (stride 32), 16 bytes × 5 trits (stride 16), 4 bytes × 4 trits
/// (stride 4), f16 scale.
pub(super) fn tq1_0(block: &[u8], codes: &mut [i8]) -> Result<f32> {
    for (bytes, codes) in tq1_0_parts(block).into_iter().zip(tq1_0_split(codes)) {
        for (n, codes) in codes.chunks_exact_mut(bytes.len()).enumerate() {
            for (code, byte) in codes.iter_mut().zip(bytes) {
                *code = trit(*byte, n);
            }
        }
    }
    float::scale(block, 52)
}

fn tq1_0_parts(block: &[u8]) -> [&[u8]; 3] {
    [&block[..32], &block[32..48], &block[48..52]]
}

fn tq1_0_split(codes: &mut [i8]) -> [&mut [i8]; 3] {
    let (first, rest) = codes.split_at_mut(160);
    let (second, third) = rest.split_at_mut(80);
    [first, second, third]
}

/// PTQ1_0 block, 28 bytes: 16 bytes × 5 trits (stride 16), 8 bytes × 5 trits (stride 8), 2 bytes × 4 trits (stride
/// 2), f16 scale.
pub(super) fn ptq1_0(block: &[u8], codes: &mut [i8]) -> Result<f32> {
    let (first, rest) = codes.split_at_mut(80);
    let (second, third) = rest.split_at_mut(40);
    for (bytes, codes) in
        [&block[..16], &block[16..24], &block[24..26]].into_iter().zip([first, second, third])
    {
        for (n, codes) in codes.chunks_exact_mut(bytes.len()).enumerate() {
            for (code, byte) in codes.iter_mut().zip(bytes) {
                *code = trit(*byte, n);
            }
        }
    }
    float::scale(block, 26)
}

/// The patterns of four 2-bit codes that a nibble of STQ1_0 stands for; the sign bit turns `p` into `0xAA - p`.
const STQ1_PATTERNS: [u8; 16] =
    [0xA9, 0x89, 0x29, 0x09, 0xA6, 0x86, 0x26, 0x06, 0x9A, 0x92, 0x1A, 0x12, 0x6A, 0x62, 0x4A, 0x42];

/// STQ1_0 block, 42 bytes: 64 nibbles, 64 sign bits, f16 scale. Lane p of group g is element
/// (g / 16)·64 + g % 16 + 16·p; one lane of each group is 0.
pub(super) fn stq1_0(block: &[u8], codes: &mut [i8]) -> Result<f32> {
    for g in 0..64 {
        let nibble = block[g / 2] >> (4 * (g % 2)) & 15;
        let negated = block[32 + g / 8] >> (g % 8) & 1 == 1;
        let pattern = STQ1_PATTERNS[usize::from(nibble)];
        let pattern = if negated { 0xAA - pattern } else { pattern };
        for p in 0..4 {
            codes[g / 16 * 64 + g % 16 + 16 * p] = (pattern >> (2 * p) & 3) as i8 - 1;
        }
    }
    float::scale(block, 40)
}

/// I2_S row: groups of 128 weights in 32 bytes, highest bits first. No scale: the tensor has one, in its tail.
pub(super) fn i2_s(isa: Isa, bytes: &[u8], codes: &mut [i8]) -> Result<()> {
    vectorised(
        isa,
        #[inline(always)]
        || {
            for (bytes, codes) in bytes.as_chunks::<32>().0.iter().zip(codes.chunks_exact_mut(128)) {
                planes::<true, 32>(bytes, codes);
            }
            check_codes(codes)
        },
    )
}

/// The scale (a multiplier) of an I2_S tensor from the bytes after its data.
///
/// # Errors
/// `truncated` for less than 4 bytes, `bad-data` for a scale that is not finite.
pub fn i2_s_scale(tail: &[u8]) -> Result<f32> {
    let Some(bytes) = tail.first_chunk::<4>() else {
        bail!(Truncated, "I2_S scale: {} bytes left of {I2_S_TAIL}", tail.len())
    };
    let scale = f32::from_le_bytes(*bytes);
    if !scale.is_finite() {
        bail!(BadData, "I2_S scale is {scale}");
    }
    Ok(scale)
}

/// Output row `quarter · stored_rows + r` from stored row r of an HF packed tensor: its two bits of each byte.
///
/// # Errors
/// `truncated` if `bytes` is shorter than `cols`, `bad-option` for a quarter above 3, `bad-data` for code 3.
pub fn unpack_hf(isa: Isa, bytes: &[u8], cols: usize, quarter: usize, out: &mut FormRow) -> Result<()> {
    let bytes = check_len(Encoding::U8, bytes, cols)?;
    if quarter > 3 {
        bail!(BadOption, "a byte holds the quarters 0 to 3 of the rows, not {quarter}");
    }
    out.clear();
    vectorised(
        isa,
        #[inline(always)]
        || {
            out.codes.extend(bytes.iter().map(|byte| (byte >> (2 * quarter) & 3) as i8 - 1));
            check_codes(&out.codes)
        },
    )
}

/// Q1_0 block, 18 bytes: f16 scale, then one bit per weight, lowest first; set is +1, clear −1.
pub(super) fn q1_0(block: &[u8], codes: &mut [i8]) -> Result<f32> {
    for (byte, codes) in block[2..].iter().zip(codes.chunks_exact_mut(8)) {
        for (bit, code) in codes.iter_mut().enumerate() {
            *code = if byte >> bit & 1 == 1 { 1 } else { -1 };
        }
    }
    float::scale(block, 0)
}

/// Q2_0 block, 18 or 34 bytes: f16 scale, then four codes per byte in order, lowest bits first; −1…2.
pub(super) fn q2_0(block: &[u8], codes: &mut [i8]) -> Result<f32> {
    for (byte, codes) in block[2..].as_chunks::<1>().0.iter().zip(codes.chunks_exact_mut(4)) {
        planes::<false, 1>(byte, codes);
    }
    float::scale(block, 0)
}

/// Appends one row of trits in `encoding`: I2_S (its scale goes into [`pack_i2_s_tail`]), TQ1_0 or TQ2_0 (`scale`
/// rounded to f16 in each block; 0 for a block of zeros, as ggml writes it).
///
/// # Errors
/// `shape` for columns that do not fill blocks, `bad-data` for codes other than −1, 0, +1 or a scale that is
/// not finite in f16, `unsupported-format` for another encoding.
pub fn pack_row(encoding: Encoding, codes: &[i8], scale: f32, out: &mut Vec<u8>) -> Result<()> {
    encoding.row_bytes(codes.len() as u64)?;
    check_trits(codes)?;
    let half = f32_to_f16(scale);
    if encoding != Encoding::I2_S && !f16_to_f32(half).is_finite() {
        bail!(BadData, "the scale {scale} has no f16");
    }
    match encoding {
        Encoding::I2_S => codes.chunks_exact(128).for_each(|group| pack_planes::<true>(group, out)),
        Encoding::TQ2_0 => {
            for block in codes.chunks_exact(256) {
                block.chunks_exact(128).for_each(|group| pack_planes::<false>(group, out));
                out.extend(block_scale(block, half));
            }
        }
        Encoding::TQ1_0 => {
            for block in codes.chunks_exact(256) {
                for (codes, stride) in [(&block[..160], 32), (&block[160..240], 16), (&block[240..], 4)] {
                    out.extend((0..stride).map(|m| {
                        // Missing trits (the last part has four) count as zero digits.
                        let digit = |n: usize| codes.get(n * stride + m).map_or(0, |code| (code + 1) as u16);
                        let value = (0..5).fold(0, |value, n| value * 3 + digit(n));
                        (value * 256).div_ceil(243) as u8
                    }));
                }
                out.extend(block_scale(block, half));
            }
        }
        _ => bail!(UnsupportedFormat, "no packer for {}", encoding.name()),
    }
    Ok(())
}

fn block_scale(block: &[i8], half: u16) -> [u8; 2] {
    if block.iter().all(|code| *code == 0) { [0; 2] } else { half.to_le_bytes() }
}

fn check_trits(codes: &[i8]) -> Result<()> {
    match codes.iter().position(|code| !(-1..=1).contains(code)) {
        None => Ok(()),
        Some(at) => bail!(BadData, "column {at} has the code {}, not a trit", codes[at]),
    }
}

fn pack_planes<const HIGH: bool>(codes: &[i8], out: &mut Vec<u8>) {
    let stride = codes.len() / 4;
    out.extend((0..stride).map(|m| {
        (0..4).fold(0, |byte, group| {
            let shift = 2 * if HIGH { 3 - group } else { group };
            byte | ((codes[group * stride + m] + 1) as u8) << shift
        })
    }));
}

/// Appends the 32 bytes that end an I2_S tensor.
pub fn pack_i2_s_tail(scale: f32, out: &mut Vec<u8>) {
    out.extend(scale.to_le_bytes());
    out.extend([0; I2_S_TAIL - 4]);
}

/// Appends stored row r of an HF packed tensor: `quarters[i]` is output row `r + i · stored_rows`. The last
/// quarter may lack rows at its end (when 4 does not divide their number): pass rows of zeros there.
///
/// # Errors
/// `shape` if the rows differ in length, `bad-data` for codes other than −1, 0, +1.
pub fn pack_hf(quarters: [&[i8]; 4], out: &mut Vec<u8>) -> Result<()> {
    let cols = quarters[0].len();
    for row in quarters {
        if row.len() != cols {
            bail!(Shape, "rows of {cols} and {} columns", row.len());
        }
        check_trits(row)?;
    }
    out.extend((0..cols).map(|k| (0..4).fold(0, |byte, i| byte | ((quarters[i][k] + 1) as u8) << (2 * i))));
    Ok(())
}
