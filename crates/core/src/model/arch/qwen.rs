//! Qwen2 (biases on q, k, v) and Qwen3 (QK-norm); also Bonsai and BitNet embedding models, whose
//! norm per projection is found by its tensors.

use super::Keys;
use crate::{Result, bail, model::Spec};

pub(super) fn spec(keys: &Keys, mut spec: Spec) -> Result<Spec> {
    spec.qk_norm = spec.arch == "qwen3";
    if keys.flag("use_sliding_window") == Some(true) {
        bail!(UnsupportedArch, "sliding-window attention");
    }
    Ok(spec)
}
