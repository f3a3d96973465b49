//! Mixtral (arXiv 2401.04088): the LLaMA block with experts; in GGUF it calls itself `llama`.

use super::{
    common::decoder,
    experts,
    keys::{Keys, hf},
};
use crate::{
    Result,
    model::{
        spec::{Mask, Spec},
        tensor_names::{Names, Row, rows},
    },
};

pub(super) const HF_ROWS: &[Row] = rows! {
    "model.layers.{b}.block_sparse_moe.gate": Router;
    "model.layers.{b}.block_sparse_moe.experts.{e}.w1": Expert(Gate);
    "model.layers.{b}.block_sparse_moe.experts.{e}.w3": Expert(Up);
    "model.layers.{b}.block_sparse_moe.experts.{e}.w2": Expert(Down);
};

pub(super) fn spec(keys: &Keys<'_>, names: Names) -> Result<Spec> {
    let mut spec = decoder(keys, names)?;
    experts::mix(keys, &mut spec, true)?;
    if let Some(n) = keys.usize(hf("sliding_window"))?.filter(|&n| n > 0 && n < spec.context) {
        spec.attentions_mut().for_each(|attention| attention.mask = Mask::Window(n));
    }
    Ok(spec)
}
