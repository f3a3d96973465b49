//! Hunyuan dense and Hy-MT: the LLaMA block with QK-norm after the rotary embedding (Tencent; llama.cpp's
//! `hunyuan-dense`).

use super::{
    common::decoder,
    keys::{Keys, gguf},
};
use crate::{
    Result,
    model::{
        spec::{QkNorm, Spec},
        tensor_names::{Names, Row, rows},
    },
};

pub(super) const HF_ROWS: &[Row] = rows! {
    "model.layers.{b}.self_attn.query_layernorm": Norm(Query);
    "model.layers.{b}.self_attn.key_layernorm": Norm(Key);
};

pub(super) fn spec(keys: &Keys<'_>, names: Names) -> Result<Spec> {
    // The converter has applied it to `freq_base`.
    keys.float(gguf("rope.scaling.alpha"))?;
    let mut spec = decoder(keys, names)?;
    let qk_norm = QkNorm { norm: spec.norm, after_rope: true, whole: false };
    spec.attentions_mut().for_each(|attention| attention.qk_norm = Some(qk_norm));
    Ok(spec)
}
