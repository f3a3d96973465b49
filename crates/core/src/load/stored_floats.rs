//! Small floats in Hugging Face files: which tensors hold codes and which scales, and what becomes of them.

use alloc::vec::Vec;

use super::part::Becomes;
use crate::{
    Result, bail,
    container::TensorInfo,
    error::short,
    format::Encoding,
    kernel::Skips,
    model::{
        small_floats::SmallFloats,
        spec::{InputSemantics, Linear, NeededTensor, Shape, Spec},
        tensor_names::Field,
    },
};

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
    let field = part.role.linear_field();
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
