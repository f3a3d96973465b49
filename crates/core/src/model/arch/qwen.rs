//! Qwen2 (biases on q, k, v) and Qwen3 (QK-norm); also Bonsai and BitNet embedding models, whose
//! norm per projection is found by its tensors.

use super::{
    common::{decoder, has},
    keys::{Keys, hf},
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
        let qk_norm = QkNorm { norm: spec.norm, after_rope: false };
        spec.blocks.iter_mut().for_each(|block| block.mixer.body.qk_norm = Some(qk_norm));
    }
    Ok(spec)
}
