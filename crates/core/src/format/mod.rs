//! On-disk encodings → [`FormRow`]: one row of weights in the neutral shape that kernels pack.
//!
//! Slow, obvious, exact: decoding loses nothing (two-level scales are multiplied out in f32).
//! Kernels know forms, never files.

use crate::{
    Result, bail,
    minifloat::{E2M1_TWICE, e4m3_to_f32, e5m2_to_f32},
    simd::{Isa, vectorised},
};

mod encoding;
mod float;
mod form;
mod ggml;
mod ternary;

pub use encoding::Encoding;
pub use float::{mean_abs, pack_bf16, pack_f16, pack_f32, ternarise};
pub use form::{Form, FormRow};
pub use ternary::{I2_S_TAIL, i2_s_scale, pack_hf, pack_i2_s_tail, pack_row, unpack_hf};

/// The bytes of one row, checked.
fn check_len(encoding: Encoding, bytes: &[u8], cols: usize) -> Result<&[u8]> {
    let need = encoding.row_bytes(cols as u64)?;
    match usize::try_from(need).ok().and_then(|need| bytes.get(..need)) {
        Some(bytes) => Ok(bytes),
        None => bail!(Truncated, "a row of {cols} columns needs {need} bytes, got {}", bytes.len()),
    }
}

/// Unpacks one stored row of `cols` weights; bytes beyond it are ignored. The parts of `out` that come back:
///
/// * float forms: `floats`, as FP8 without its scales;
/// * E2M1: `codes`;
/// * [`Form::Q4`], [`Form::Q8`], [`Form::Q8x16`], and [`Form::Mxfp4`] of MXFP4: `codes`, `scales` and `mins` per [`Form::block`];
/// * [`Form::Q2`]: `codes` and `scales` per 64 columns (a scale of 128 columns stands twice);
/// * [`Form::Ternary`]: `codes`; `scales` per 256 columns for TQ1_0 and TQ2_0, none for I2_S, whose scale
///   follows the tensor ([`i2_s_scale`]).
///
/// HF packed rows (`U8`) are four rows each: see [`unpack_hf`].
///
/// # Errors
/// `bad-data` for codes outside their range and non-finite scales, `truncated` for too few bytes, `shape` for
/// columns that do not fill blocks, `unsupported-format` for `U8` and `Other`.
pub fn unpack(isa: Isa, encoding: Encoding, bytes: &[u8], cols: usize, out: &mut FormRow) -> Result<()> {
    let bytes = check_len(encoding, bytes, cols)?;
    out.clear();
    match encoding {
        Encoding::F32 => float::unpack_f32(isa, bytes, out),
        Encoding::F16 => float::unpack_f16(isa, bytes, out),
        Encoding::BF16 => float::unpack_bf16(isa, bytes, out),
        Encoding::Q4_0 => blocks(encoding, bytes, cols, ggml::q4_0, out),
        Encoding::Q4_1 => blocks(encoding, bytes, cols, ggml::q4_1, out),
        Encoding::Q5_0 => blocks(encoding, bytes, cols, ggml::q5_0, out),
        Encoding::Q5_1 => blocks(encoding, bytes, cols, ggml::q5_1, out),
        Encoding::Q8_0 => blocks(encoding, bytes, cols, ggml::q8_0, out),
        Encoding::MXFP4 => {
            blocks(encoding, bytes, cols, ggml::mxfp4, out)?;
            out.mins.clear();
            Ok(())
        }
        Encoding::Q2_K => blocks(encoding, bytes, cols, ggml::q2_k, out),
        Encoding::Q3_K => blocks(encoding, bytes, cols, ggml::q3_k, out),
        Encoding::Q4_K => blocks(encoding, bytes, cols, ggml::q4_k, out),
        Encoding::Q5_K => blocks(encoding, bytes, cols, ggml::q5_k, out),
        Encoding::Q6_K => blocks(encoding, bytes, cols, ggml::q6_k, out),
        Encoding::TQ1_0 => scaled(encoding, bytes, cols, ternary::tq1_0, out),
        Encoding::TQ2_0 => {
            scaled(encoding, bytes, cols, |block, codes| ternary::tq2_0(isa, block, codes), out)
        }
        Encoding::Q1_0 => scaled(encoding, bytes, cols, ternary::q1_0, out),
        Encoding::Q2_0_64 | Encoding::Q2_0_128 => scaled(encoding, bytes, cols, ternary::q2_0, out),
        Encoding::PTQ1_0 => scaled(encoding, bytes, cols, ternary::ptq1_0, out),
        Encoding::STQ1_0 => scaled(encoding, bytes, cols, ternary::stq1_0, out),
        Encoding::E2M1 => {
            let code = |nibble: u8| E2M1_TWICE[usize::from(nibble)];
            out.codes.extend(bytes.iter().flat_map(|byte| [code(byte & 15), code(byte >> 4)]));
            Ok(())
        }
        Encoding::F8_E4M3 => fp8(isa, bytes, e4m3_to_f32, |magnitude| magnitude != 0x7F, out),
        Encoding::F8_E5M2 => fp8(isa, bytes, e5m2_to_f32, |magnitude| magnitude < 0x7C, out),
        Encoding::I2_S => {
            out.codes.resize(cols, 0);
            ternary::i2_s(isa, bytes, &mut out.codes)
        }
        Encoding::U8 | Encoding::Other => {
            bail!(UnsupportedFormat, "{} rows are not weights", encoding.name())
        }
    }
}

/// Encodings with scale and min per sub-block of the form.
fn blocks(
    encoding: Encoding,
    bytes: &[u8],
    cols: usize,
    decode: fn(&[u8], ggml::Out<'_>) -> Result<()>,
    out: &mut FormRow,
) -> Result<()> {
    let (block_cols, block_bytes) = encoding.block();
    let sub = encoding.form().block().unwrap_or(block_cols);
    out.codes.resize(cols, 0);
    out.scales.resize(cols / sub, 0.0);
    out.mins.resize(cols / sub, 0.0);
    let codes = out.codes.chunks_exact_mut(block_cols);
    let scales =
        out.scales.chunks_exact_mut(block_cols / sub).zip(out.mins.chunks_exact_mut(block_cols / sub));
    for ((block, codes), (scales, mins)) in bytes.chunks_exact(block_bytes).zip(codes).zip(scales) {
        decode(block, ggml::Out { codes, scales, mins })?;
    }
    Ok(())
}

/// Encodings with one scale per block and no min; the scale is repeated for each block of the form in it.
fn scaled(
    encoding: Encoding,
    bytes: &[u8],
    cols: usize,
    decode: impl Fn(&[u8], &mut [i8]) -> Result<f32>,
    out: &mut FormRow,
) -> Result<()> {
    let (block_cols, block_bytes) = encoding.block();
    let copies = encoding.form().block().map_or(1, |form| block_cols / form);
    out.codes.resize(cols, 0);
    for (block, codes) in bytes.chunks_exact(block_bytes).zip(out.codes.chunks_exact_mut(block_cols)) {
        let scale = decode(block, codes)?;
        out.scales.extend(core::iter::repeat_n(scale, copies));
    }
    Ok(())
}

/// Floats of 8 bits, which must be numbers; `is_number` tells of a code without its sign.
fn fp8(
    isa: Isa,
    bytes: &[u8],
    number: fn(u8) -> f32,
    is_number: impl Fn(u8) -> bool,
    out: &mut FormRow,
) -> Result<()> {
    let table: [f32; 256] = core::array::from_fn(|code| number(code as u8));
    let all = vectorised(
        isa,
        #[inline(always)]
        || {
            out.floats.extend(bytes.iter().map(|&code| table[usize::from(code)]));
            bytes.iter().fold(true, |all, code| all & is_number(code & 0x7F))
        },
    );
    if !all {
        bail!(BadData, "a weight is no number");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
