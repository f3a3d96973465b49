//! The scales of small floats: codes are packed as they arrive, scales are kept as they are until
//! both are there, in whatever order, and then written beside the codes.

use alloc::{collections::BTreeMap, vec::Vec};

use super::{plan::Plan, tensor_loader::Loaded};
use crate::{
    Result, bail,
    format::{self, Encoding, FormRow},
    matrix::Matrix,
    minifloat::{e4m3_to_f32, e8m0_to_f32},
    model::{
        small_floats::{ScaleBlock, SmallFloats},
        tensor_names::{Field, TensorRole},
    },
    pool::Pool,
    simd::Isa,
};

/// Scales of FP8 that keep every weight, and what kernels compute of it, within f32.
const MOST: f32 = 128.0;

/// Writes scales beside their codes once all that belongs to one of the matrices has arrived.
///
/// # Errors
/// `bad-data` for scales that are no numbers or out of range, `unsupported-format` for scales of a float matrix.
pub(super) fn join(
    plan: &Plan,
    loaded: &mut BTreeMap<TensorRole, Loaded>,
    role: TensorRole,
    isa: Isa,
    pool: &dyn Pool,
) -> Result<()> {
    let Some(stored) = plan.spec.checkpoint.small_floats else { return Ok(()) };
    if role.linear_field().is_none() {
        return Ok(());
    }
    let with = |field| role.with_field(field);
    let weight = with(Field::Weight);
    let beside = stored.beside();
    if !loaded.contains_key(&weight) || !beside.iter().all(|&field| loaded.contains_key(&with(field))) {
        return Ok(());
    }
    let scales = loaded.remove(&with(Field::Scale));
    let tensor_scale = loaded.remove(&with(Field::TensorScale));
    let Some(Loaded::Matrix { name, matrix, packed, .. }) = loaded.get_mut(&weight) else { return Ok(()) };
    let Some(Loaded::Raw { bytes, encoding, .. }) = scales else { return Ok(()) };
    if !*packed {
        bail!(UnsupportedFormat, "'{name}' is no small floats, but scales stand beside it");
    }
    let divisor = match tensor_scale {
        Some(Loaded::Raw { bytes, encoding, .. }) => Some(floats(isa, encoding, &bytes)?[0]),
        _ => None,
    };
    if divisor.is_some_and(|divisor| !divisor.is_normal()) {
        bail!(BadData, "the scale of '{name}' is {divisor:?}");
    }
    write(stored, matrix, &Scales { name, encoding, bytes: &bytes, divisor }, isa, pool)?;
    *packed = false;
    Ok(())
}

/// The scales of a matrix, as stored.
struct Scales<'a> {
    name: &'a str,
    encoding: Encoding,
    bytes: &'a [u8],
    divisor: Option<f32>,
}

/// Writes the scales of all blocks of `matrix`.
fn write(
    stored: SmallFloats,
    matrix: &mut Matrix,
    scales: &Scales<'_>,
    isa: Isa,
    pool: &dyn Pool,
) -> Result<()> {
    let Scales { name, encoding, bytes, divisor } = *scales;
    let (rows, cols) = (matrix.rows(), matrix.cols());
    let block = matrix.form().block().unwrap_or(cols);
    let blocks = cols.div_ceil(block);
    let across = stored.scales(rows, cols).1;
    match stored {
        SmallFloats::E4m3(shared) | SmallFloats::E5m2(shared) => {
            let values = floats(isa, encoding, bytes)?;
            if let Some(scale) = values.iter().find(|scale| scale.is_nan() || scale.abs() >= MOST) {
                bail!(BadData, "a scale of '{name}' is {scale}");
            }
            matrix.fill(0..rows, pool, &|r, row: &mut FormRow| {
                let scale = |s: usize| match shared {
                    ScaleBlock::Tensor => values[0],
                    ScaleBlock::Row => values[r],
                    ScaleBlock::Block(down, width) => values[r / down * across + s * block / width],
                };
                row.scales.extend((0..blocks).map(scale));
                Ok(())
            })?;
        }
        SmallFloats::Mxfp4 | SmallFloats::Nvfp4 => {
            let (number, most): (fn(u8) -> f32, f32) = match stored {
                // With larger exponents the largest code leaves the range of f32.
                SmallFloats::Mxfp4 => (e8m0_to_f32, e8m0_to_f32(252)),
                _ => (e4m3_to_f32, f32::MAX),
            };
            matrix.fill(0..rows, pool, &|r, row: &mut FormRow| {
                let own = &bytes[r * across..][..across];
                if let Some(code) = own.iter().find(|&&code| number(code).is_nan() || number(code) > most) {
                    bail!(BadData, "a block has the scale {} (code {code})", number(*code));
                }
                // Codes are doubled.
                row.scales.extend(own.iter().map(|&code| 0.5 * number(code)));
                row.row_number = divisor;
                Ok(())
            })?;
        }
        SmallFloats::Fp4Rows => {
            let values = floats(isa, encoding, bytes)?;
            if let Some(scale) = values.iter().find(|scale| !scale.is_finite()) {
                bail!(BadData, "a scale of '{name}' is {scale}");
            }
            matrix.fill(0..rows, pool, &|r, row: &mut FormRow| {
                row.scales.resize(blocks, 0.5);
                row.row_number = Some(values[r]);
                Ok(())
            })?;
        }
    }
    Ok(())
}

fn floats(isa: Isa, encoding: Encoding, bytes: &[u8]) -> Result<Vec<f32>> {
    let (_, size) = encoding.block();
    let mut row = FormRow::default();
    format::unpack(isa, encoding, bytes, bytes.len() / size, &mut row)?;
    Ok(row.floats)
}
