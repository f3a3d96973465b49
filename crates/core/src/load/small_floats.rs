//! Matrices of small floats in Hugging Face files: codes are packed as they arrive, scales are kept as they are until
//! both are there, in whatever order, and then written beside the codes.

use alloc::{collections::BTreeMap, vec::Vec};

use super::{
    plan::{Becomes, Plan},
    tensor_loader::Loaded,
};
use crate::{
    Result, bail,
    container::TensorInfo,
    error::short,
    format::{self, Encoding, FormRow},
    kernel::Skips,
    matrix::Matrix,
    minifloat::{e4m3_to_f32, e8m0_to_f32},
    model::{
        small_floats::{ScaleBlock, SmallFloats},
        spec::{InputSemantics, Linear, NeededTensor, Shape, Spec},
        tensor_names::{Field, TensorRole},
    },
    pool::Pool,
    simd::Isa,
};

/// Scales of FP8 that keep every weight, and what kernels compute of it, within f32.
const MOST: f32 = 128.0;

/// A tensor of a linear layer: which, and its role with another field.
fn field_of(role: TensorRole) -> Option<(Field, impl Fn(Field) -> TensorRole)> {
    let field = match role {
        TensorRole::Linear(_, _, field)
        | TensorRole::Expert(_, _, _, field)
        | TensorRole::SharedExpert(_, _, field) => field,
        _ => return None,
    };
    let with = move |field| match role {
        TensorRole::Linear(block, linear, _) => TensorRole::Linear(block, linear, field),
        TensorRole::Expert(block, expert, linear, _) => TensorRole::Expert(block, expert, linear, field),
        TensorRole::SharedExpert(block, linear, _) => TensorRole::SharedExpert(block, linear, field),
        other => other,
    };
    Some((field, with))
}

/// How a tensor is stored and what it becomes, if it is codes or scales of small floats; `linear` is its layer.
///
/// # Errors
/// `unsupported-format` for such a tensor where the configuration names no such format, or another; `shape`.
pub(super) fn stored(
    spec: &Spec,
    info: &TensorInfo,
    parts: &[NeededTensor],
    linear: Option<Linear>,
    exact_inputs: bool,
) -> Result<Option<(Encoding, Becomes)>> {
    let name = short(&info.name);
    let is_fp8 = matches!(info.encoding, Encoding::F8_E4M3 | Encoding::F8_E5M2);
    let refused = || {
        bail!(
            UnsupportedFormat,
            "'{name}' is {}, but config.json names no such storage of it",
            info.encoding.name()
        )
    };
    let [part] = parts else { return if is_fp8 { refused() } else { Ok(None) } };
    let field = field_of(part.role).map(|(field, _)| field);
    let (Some(stored), Some(field @ (Field::Weight | Field::Scale | Field::TensorScale))) =
        (spec.checkpoint.small_floats, field)
    else {
        return if is_fp8 { refused() } else { Ok(None) };
    };
    let Shape::Matrix(rows, cols) = part.shape else { return refused() };
    if field != Field::Weight {
        let wanted = match (stored, field) {
            (SmallFloats::Mxfp4, Field::Scale) => info.encoding == Encoding::U8,
            (SmallFloats::Nvfp4, Field::Scale) => info.encoding == Encoding::F8_E4M3,
            _ => info.encoding.is_float(),
        };
        // One number may be written with any number of extents.
        let is_one = (rows, cols) == (1, 1) && info.shape.iter().product::<u64>() == 1;
        let flat = cols == 1 && info.shape == [rows as u64];
        if !(is_one || flat || info.shape == [rows as u64, cols as u64]) {
            bail!(Shape, "'{name}' is {:?}, {:?} is needed", info.shape, [rows, cols]);
        }
        return if wanted { Ok(Some((info.encoding, Becomes::Raw))) } else { refused() };
    }
    let rounded = linear.is_some_and(|linear| matches!(linear.input, InputSemantics::Rounded(_)));
    if info.encoding.is_float() {
        if rounded {
            bail!(
                UnsupportedFormat,
                "'{name}' is {}, but its inputs are to be rounded",
                info.encoding.name()
            );
        }
        return Ok(None);
    }
    let encoding = stored.encoding();
    let as_stored = if encoding == Encoding::E2M1 { Encoding::U8 } else { encoding };
    if info.encoding != as_stored {
        return refused();
    }
    check_codes(stored, info, [rows, cols])?;
    let form = if rounded || exact_inputs { stored.form().exact() } else { stored.form() };
    Ok(Some((encoding, Becomes::Matrix { form, otherwise: None, latent: None, skips: Skips::Nothing })))
}

/// Codes must have the shape that their format gives a matrix of (rows, cols).
fn check_codes(stored: SmallFloats, info: &TensorInfo, [rows, cols]: [usize; 2]) -> Result<()> {
    let (inner, multiple): (&[usize], usize) = match stored {
        SmallFloats::E4m3(_) | SmallFloats::E5m2(_) => (&[cols], 1),
        SmallFloats::Mxfp4 => (&[cols / 32, 16], 32),
        SmallFloats::Nvfp4 => (&[cols / 2], 16),
        SmallFloats::Fp4Rows => (&[cols / 2], 2),
    };
    let needed: Vec<u64> = [rows].iter().chain(inner).map(|&n| n as u64).collect();
    if info.shape != needed || !cols.is_multiple_of(multiple) {
        let (name, shape) = (short(&info.name), &info.shape);
        bail!(Shape, "'{name}' is {shape:?}, {needed:?} is needed, with a multiple of {multiple} columns");
    }
    Ok(())
}

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
    let Some((_, with)) = field_of(role) else { return Ok(()) };
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
