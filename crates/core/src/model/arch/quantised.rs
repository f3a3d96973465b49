//! `activation_quantization` and `kv_cache_quantization`: quantisers that a BitNet was trained with instead of int8 per
//! token (Q-Sparse, arXiv 2407.10969; BitNet a4.8, arXiv 2411.04965).

use super::keys::{Keys, hf};
use crate::{
    Result, bail,
    container::Value,
    error::short,
    model::{
        spec::{InputSemantics, Spec},
        tensor_names::LinearRole,
    },
    quantiser::{CacheCodes, Codes, Quantiser, TopK},
};

const GROUP: &str = "activation_quantization";

/// Linear layers that share a quantiser, by the name of their group.
const LINEARS: [(&str, &[LinearRole]); 4] = [
    ("attn_in", &[LinearRole::Q, LinearRole::K, LinearRole::V]),
    ("attn_out", &[LinearRole::O]),
    ("ffn_in", &[LinearRole::Gate, LinearRole::Up]),
    ("ffn_down", &[LinearRole::Down]),
];

/// Reads both groups of keys, if they are there.
pub(super) fn quantisers(keys: &Keys<'_>, spec: &mut Spec) -> Result<()> {
    spec.cache_codes = cache_codes(keys)?;
    match keys.raw(&alloc::format!("{GROUP}.scheme")) {
        None => {}
        Some(Value::Str(scheme)) if matches!(scheme.as_str(), "a4.8" | "q_sparse" | "block_q_sparse") => {}
        Some(_) => bail!(UnsupportedArch, "'{GROUP}.scheme' is not known"),
    }
    for (group, linears) in LINEARS {
        let input = input(keys, group)?;
        for block in &mut spec.blocks {
            for &role in linears {
                if let Some(linear) = block.linear_mut(role) {
                    linear.input = input;
                }
            }
        }
    }
    Ok(())
}

/// The quantiser of one group.
fn input(keys: &Keys<'_>, group: &str) -> Result<InputSemantics> {
    let value = |key: &str| {
        let name = alloc::format!("{GROUP}.{group}.{key}");
        let value = keys.raw(&name);
        (name, value)
    };
    let codes = match value("quant") {
        (_, None) => Codes::Int8AbsMax,
        (name, Some(Value::Str(quant))) => match quant.as_str() {
            "int8_absmax" => Codes::Int8AbsMax,
            "int4_absmean" => Codes::Int4AbsMean,
            "fp4_absmax" => Codes::Fp4AbsMax,
            other => bail!(UnsupportedArch, "'{name}' is '{}', which is not known", short(other)),
        },
        (name, Some(_)) => bail!(MissingKey, "'{name}' is no text"),
    };
    let share = match value("keep") {
        (_, None) => None,
        (_, Some(Value::Float(share))) if *share > 0.0 && *share <= 1.0 => Some(*share as f32),
        (_, Some(Value::Int(1))) => Some(1.0),
        (name, Some(_)) => bail!(BadHeader, "'{name}' is no share of the inputs"),
    };
    let block = match value("block") {
        (_, None) => None,
        (_, Some(Value::Int(n))) if (1..=1 << 16).contains(n) => Some(*n as usize),
        (name, Some(_)) => bail!(BadHeader, "'{name}' is no number of inputs"),
    };
    let keep = match (share, block) {
        (Some(share), block) => Some(TopK { share, block }),
        (None, Some(_)) => bail!(BadHeader, "'{GROUP}.{group}.block' without 'keep'"),
        (None, None) => None,
    };
    Ok(match (codes, keep) {
        (Codes::Int8AbsMax, None) => InputSemantics::Int8,
        (codes, keep) => InputSemantics::Quantised(Quantiser { codes, keep }),
    })
}

fn cache_codes(keys: &Keys<'_>) -> Result<Option<CacheCodes>> {
    let bits = |name: &'static str| match keys.usize(hf(name))? {
        None => Ok(None),
        Some(bits @ 2..=8) => Ok(Some(bits as u32)),
        Some(bits) => bail!(UnsupportedArch, "'{name}' is {bits}"),
    };
    let first_bits = bits("kv_cache_quantization.bos_bits")?;
    let query_bits = bits("kv_cache_quantization.q_bits")?;
    keys.expect(hf("kv_cache_quantization.scale_dtype"), &[Value::Str("float16".into())])?;
    let Some(bits) = bits("kv_cache_quantization.bits")? else {
        if first_bits.or(query_bits).is_some() {
            bail!(MissingKey, "'kv_cache_quantization.bits' is missing");
        }
        return Ok(None);
    };
    Ok(Some(CacheCodes { bits, first_bits: first_bits.unwrap_or(bits), query_bits }))
}
