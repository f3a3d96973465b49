//! OLMoE (arXiv 2409.02060): the LLaMA block with experts, and one norm over all queries, one over all keys.

use super::{
    common::decoder,
    experts,
    keys::{Keys, key},
};
use crate::{
    Result, bail,
    model::{
        spec::{QkNorm, Spec},
        tensor_names::Names,
    },
};

pub(super) fn spec(keys: &Keys<'_>, names: Names) -> Result<Spec> {
    let mut spec = decoder(keys, names)?;
    experts::mix(keys, &mut spec, false)?;
    let clip = match keys.float(key("attention.clamp_kqv", "clip_qkv"))? {
        Some(limit) if !(limit >= 0.0 && limit.is_finite()) => bail!(BadHeader, "'clip_qkv' is {limit}"),
        clip => clip.filter(|&limit| limit > 0.0),
    };
    let qk_norm = QkNorm { norm: spec.norm, after_rope: false, whole: true };
    for attention in spec.attentions_mut() {
        attention.qk_norm = Some(qk_norm);
        attention.clip = clip;
    }
    Ok(spec)
}
