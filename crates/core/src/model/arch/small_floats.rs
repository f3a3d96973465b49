//! `quantization_config` of checkpoints in FP8 and FP4, and what becomes of the inputs of their linear layers.
//!
//! The inputs are exact unless the file says how they are rounded (`input_activations`, `occ_alpha`) or
//! `activation_quantization.scheme` does: `none`, `fp8_absmax`, `fp4_absmax` or `fp4_occ`.

use super::keys::{Keys, hf};
use crate::{
    Result, bail,
    container::Value,
    error::short,
    minifloat::Rounding,
    model::{
        small_floats::{ScaleBlock, SmallFloats},
        spec::InputSemantics,
    },
};

/// Whether a key is one of texts that mean what is computed anyway.
fn expect(keys: &Keys<'_>, name: &'static str, accepted: &[&str]) -> Result<()> {
    let accepted: alloc::vec::Vec<_> = accepted.iter().map(|text| Value::Str((*text).into())).collect();
    keys.expect(hf(name), &accepted)
}

/// How a file of `quant_method` stores its linear layers.
pub(super) fn stored(keys: &Keys<'_>, quant_method: &str) -> Result<SmallFloats> {
    match quant_method {
        "compressed-tensors" => compressed_tensors(keys),
        "fbgemm_fp8" => {
            // The most that its own kernels let inputs be; they are not rounded here unless another key says so.
            keys.float(hf("quantization_config.activation_scale_ub"))?;
            Ok(SmallFloats::E4m3(ScaleBlock::Row))
        }
        "fp8" => {
            expect(keys, "quantization_config.activation_scheme", &["dynamic"])?;
            let block = match keys.ints(hf("quantization_config.weight_block_size"))? {
                None => ScaleBlock::Tensor,
                Some(sizes) => scale_block("quantization_config.weight_block_size", sizes)?,
            };
            match keys.text(hf("quantization_config.fmt"))? {
                None | Some("e4m3") => Ok(SmallFloats::E4m3(block)),
                Some("e5m2") => Ok(SmallFloats::E5m2(block)),
                Some(other) => bail!(UnsupportedFormat, "'quantization_config.fmt' is '{}'", short(other)),
            }
        }
        "mxfp4" => Ok(SmallFloats::Mxfp4),
        "fp4_vector" => {
            expect(keys, "quantization_config.weight_granularity", &["output_channel"])?;
            Ok(SmallFloats::Fp4Rows)
        }
        other => bail!(UnsupportedFormat, "quantization_config: quant_method '{}'", short(other)),
    }
}

/// Blocks of scales, whose columns are whole spans of the packed form.
fn scale_block(name: &str, sizes: &[i64]) -> Result<ScaleBlock> {
    match *sizes {
        [rows, cols] if rows > 0 && cols > 0 && cols % 128 == 0 && rows.max(cols) <= 1 << 20 => {
            Ok(ScaleBlock::Block(rows as usize, cols as usize))
        }
        _ => bail!(UnsupportedFormat, "'{name}' is {sizes:?}: columns must be a multiple of 128"),
    }
}

macro_rules! group {
    ($key:literal) => {
        concat!("quantization_config.config_groups.group_0.", $key)
    };
}

fn compressed_tensors(keys: &Keys<'_>) -> Result<SmallFloats> {
    // Layers that are passed by are told by being floats.
    keys.texts(hf("quantization_config.ignore"))?;
    for name in ["quantization_config.version", group!("weights.observer")] {
        keys.text(hf(name))?;
    }
    keys.float(hf("quantization_config.global_compression_ratio"))?;
    expect(keys, "quantization_config.quantization_status", &["compressed"])?;
    if let Some(targets) = keys.texts(hf(group!("targets")))?
        && targets.iter().any(|target| target != "Linear")
    {
        bail!(UnsupportedFormat, "'{}' is {targets:?}", group!("targets"));
    }
    expect(keys, group!("weights.type"), &["float"])?;
    keys.expect(hf(group!("weights.symmetric")), &[Value::Bool(true)])?;
    let format = keys.text(hf("quantization_config.format"))?.unwrap_or("");
    expect(keys, group!("format"), &[format])?;
    let bits = keys.usize(hf(group!("weights.num_bits")))?;
    let strategy = keys.text(hf(group!("weights.strategy")))?.unwrap_or("");
    let group = keys.usize(hf(group!("weights.group_size")))?;
    match (format, bits, strategy, group) {
        ("float-quantized", Some(8), "tensor", None) => Ok(SmallFloats::E4m3(ScaleBlock::Tensor)),
        ("float-quantized", Some(8), "channel", None) => Ok(SmallFloats::E4m3(ScaleBlock::Row)),
        ("float-quantized", Some(8), "block", None) => {
            let name = group!("weights.block_structure");
            Ok(SmallFloats::E4m3(scale_block(name, keys.ints(hf(name))?.unwrap_or(&[]))?))
        }
        ("nvfp4-pack-quantized", Some(4), "tensor_group", Some(16)) => Ok(SmallFloats::Nvfp4),
        _ => bail!(
            UnsupportedFormat,
            "quantization_config: format '{}' with {bits:?} bits, strategy '{}' and groups of {group:?}",
            short(format),
            short(strategy)
        ),
    }
}

/// What becomes of the inputs of linear layers that are stored so.
pub(super) fn input(keys: &Keys<'_>, stored: SmallFloats) -> Result<InputSemantics> {
    let own = own_input(keys, stored)?;
    let group = match stored {
        SmallFloats::E4m3(ScaleBlock::Block(_, cols)) | SmallFloats::E5m2(ScaleBlock::Block(_, cols)) => {
            Some(cols)
        }
        _ => None,
    };
    Ok(match (keys.text(hf("activation_quantization.scheme"))?, own) {
        (None, own) => own.map_or(InputSemantics::Float, InputSemantics::Rounded),
        (Some("none"), _) => InputSemantics::Float,
        (Some("fp8_absmax"), _) => InputSemantics::Rounded(Rounding::E4m3 { group }),
        (Some("fp4_absmax"), _) => InputSemantics::Rounded(Rounding::E2m1),
        (Some("fp4_occ"), Some(own @ Rounding::ClampedE2m1 { .. })) => InputSemantics::Rounded(own),
        (Some(other), _) => {
            bail!(
                UnsupportedArch,
                "'activation_quantization.scheme' is '{}', which is not known here",
                short(other)
            )
        }
    })
}

/// What the file's own keys say of them.
fn own_input(keys: &Keys<'_>, stored: SmallFloats) -> Result<Option<Rounding>> {
    if let SmallFloats::Fp4Rows = stored {
        expect(keys, "quantization_config.activation_granularity", &["token"])?;
        expect(keys, "quantization_config.occ_quantile_scope", &["token"])?;
        expect(keys, "quantization_config.occ_quantile_method", &["linear"])?;
        let residual_e4m3 = match keys.text(hf("quantization_config.occ_residual"))? {
            None | Some("fp8_e4m3_token_absmax") => true,
            Some("float32") => false,
            Some(other) => bail!(UnsupportedArch, "'quantization_config.occ_residual' is '{}'", short(other)),
        };
        return match keys.raw("quantization_config.occ_alpha") {
            None => Ok(Some(Rounding::E2m1)),
            Some(&Value::Float(alpha)) if (0.5..1.0).contains(&alpha) => {
                Ok(Some(Rounding::ClampedE2m1 { alpha, residual_e4m3 }))
            }
            Some(_) => bail!(BadHeader, "'quantization_config.occ_alpha' is no share between 0.5 and 1"),
        };
    }
    let text = |name| keys.text(hf(name));
    let (kind, bits) =
        (text(group!("input_activations.type"))?, keys.usize(hf(group!("input_activations.num_bits")))?);
    let strategy = text(group!("input_activations.strategy"))?;
    let group = keys.usize(hf(group!("input_activations.group_size")))?;
    keys.expect(hf(group!("input_activations.symmetric")), &[Value::Bool(true)])?;
    text(group!("input_activations.observer"))?;
    if bits.is_none() && kind.is_none() && strategy.is_none() {
        return Ok(None);
    }
    keys.expect(hf(group!("input_activations.dynamic")), &[Value::Bool(true)])?;
    match (kind, bits, strategy, group) {
        (Some("float"), Some(8), Some("token"), None) => Ok(Some(Rounding::E4m3 { group: None })),
        (Some("float"), Some(8), Some("group"), Some(group)) if group > 0 => {
            Ok(Some(Rounding::E4m3 { group: Some(group) }))
        }
        _ => bail!(
            UnsupportedFormat,
            "'{}': {bits:?} bits of {kind:?}, {strategy:?} of {group:?} are not supported",
            group!("input_activations")
        ),
    }
}
