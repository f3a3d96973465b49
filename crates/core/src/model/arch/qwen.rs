//! Qwen2 (biases on q, k, v) and Qwen3 (QK-norm); also Bonsai and BitNet embedding models, whose
//! norm per projection is found by its tensors.

use super::{
    common::{decoder, has},
    experts,
    keys::{Keys, gguf, hf, key},
};
use crate::{
    Result, bail,
    model::{
        spec::{QkNorm, Spec},
        tensor_names::{BlockNorm, Field, Names, NormRole, TensorRole},
    },
};

pub(super) fn spec(keys: &Keys<'_>, names: Names) -> Result<Spec> {
    if keys.flag(hf("use_sliding_window"))? == Some(true) {
        bail!(UnsupportedArch, "'use_sliding_window': sliding-window attention of Qwen");
    }
    // They mean something with `use_sliding_window` only.
    keys.usize(hf("max_window_layers"))?;
    keys.usize(hf("sliding_window"))?;
    let mut spec = decoder(keys, names)?;
    let query_norm = TensorRole::Norm(NormRole::Block(0, BlockNorm::Query), Field::Weight);
    if keys.arch == "qwen3" || has(keys, names, query_norm) {
        let qk_norm = QkNorm { norm: spec.norm, after_rope: false, whole: false };
        spec.attentions_mut().for_each(|attention| attention.qk_norm = Some(qk_norm));
    }
    Ok(spec)
}

/// Qwen2-MoE (a shared expert with a gate) and Qwen3-MoE.
pub(super) fn with_experts(keys: &Keys<'_>, names: Names) -> Result<Spec> {
    let is_third = matches!(keys.arch, "qwen3_moe" | "qwen3moe");
    // Biases of q, k and v are found by their tensors.
    keys.flag(hf("qkv_bias"))?;
    let mut spec = spec(keys, names)?;
    if is_third {
        let qk_norm = QkNorm { norm: spec.norm, after_rope: false, whole: false };
        spec.attentions_mut().for_each(|attention| attention.qk_norm = Some(qk_norm));
    }
    // llama.cpp renormalises for the third family alone; Hugging Face files say.
    experts::mix(keys, &mut spec, is_third && keys.is_gguf())?;
    if !is_third {
        let width =
            keys.usize(key("expert_shared_feed_forward_length", "shared_expert_intermediate_size"))?;
        let dense = keys.usize(gguf("feed_forward_length"))?;
        if let Some(width) = width.or(dense) {
            experts::share(&mut spec, width, true)?;
        }
    }
    Ok(spec)
}
