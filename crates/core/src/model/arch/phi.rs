//! Phi-3 and Phi-4-mini: the LLaMA block with fused projections, LongRoPE and, in some, a sliding window
//! (transformers' `Phi3Config`).

use super::{
    common::decoder,
    keys::{Keys, hf, key},
};
use crate::{
    Result,
    model::{
        spec::{Mask, Spec},
        tensor_names::{Names, Row, rows},
    },
};

pub(super) const HF_ROWS: &[Row] = rows! {
    "model.layers.{b}.self_attn.qkv_proj": Linear(Q), Linear(K), Linear(V);
    "model.layers.{b}.mlp.gate_up_proj": Linear(Gate), Linear(Up);
};

pub(super) const GGUF_ROWS: &[Row] = rows! {
    "blk.{b}.attn_qkv": Linear(Q), Linear(K), Linear(V);
    "blk.{b}.ffn_up": Linear(Gate), Linear(Up);
};

pub(super) fn spec(keys: &Keys<'_>, names: Names) -> Result<Spec> {
    // It means something with LongRoPE only, which reads it.
    keys.usize(hf("original_max_position_embeddings"))?;
    let mut spec = decoder(keys, names)?;
    let window = keys.usize(key("attention.sliding_window", "sliding_window"))?;
    if let Some(n) = window.filter(|&n| n > 0 && n < spec.context) {
        spec.attentions_mut().for_each(|attention| attention.mask = Mask::Window(n));
    }
    Ok(spec)
}
