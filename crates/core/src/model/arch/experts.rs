//! What families with experts have in common: their keys, and dense blocks that become mixtures.

use alloc::vec::Vec;

use super::{
    check_dimensions,
    keys::{Keys, gguf, hf, key},
};
use crate::{
    Result, bail,
    container::Value,
    model::spec::{Experts, Ffn, SharedExpert, Spec},
};

/// The most experts of a block.
const MOST: usize = 4096;

/// Makes mixtures of the blocks of `spec`, whose dense networks say what an expert is.
///
/// `normalise`: the probabilities of the chosen are divided by their sum, unless the file says else.
pub(super) fn mix(keys: &Keys<'_>, spec: &mut Spec, normalise: bool) -> Result<()> {
    // transformers 5 writes `num_local_experts` where published files say `num_experts`.
    let told = keys.usize(key("expert_count", "num_experts"))?;
    let count = match keys.usize(hf("num_local_experts"))?.or(told) {
        Some(count) => count,
        None => keys.need(key("expert_count", "num_experts"))?,
    };
    let active = keys.need(key("expert_used_count", "num_experts_per_tok"))?;
    let dense = spec.blocks[0].ffn.body.mlp().width;
    let width = keys.usize(key("expert_feed_forward_length", "moe_intermediate_size"))?.unwrap_or(dense);
    check_dimensions(&[
        ("experts", count, 1, MOST),
        ("active experts", active, 1, count),
        ("expert size", width, 1, 1 << 18),
    ])?;
    let told = match keys.flag(hf("norm_topk_prob"))? {
        Some(told) => Some(told),
        None => keys.flag(gguf("expert_weights_norm"))?,
    };
    // 1: softmax; a scale of 1 is none.
    keys.expect(gguf("expert_gating_func"), &[Value::Int(1)])?;
    keys.expect(gguf("expert_weights_scale"), &[Value::Float(1.0), Value::Float(0.0)])?;
    let each = each_active(keys, spec.blocks.len(), active, count)?;
    let is_dense = dense_blocks(keys, spec.blocks.len())?;
    for ((block, active), is_dense) in spec.blocks.iter_mut().zip(each).zip(is_dense) {
        if is_dense {
            continue;
        }
        let mut expert = block.ffn.body.mlp().clone();
        expert.width = width;
        block.ffn.body = Ffn::Experts(Experts {
            count,
            active,
            normalise: told.unwrap_or(normalise),
            router_bias: false,
            cosine: None,
            expert,
            shared: None,
        });
    }
    Ok(())
}

/// How many experts each layer gives a token to: a list, or the same everywhere.
fn each_active(keys: &Keys<'_>, layers: usize, active: usize, count: usize) -> Result<Vec<usize>> {
    let Some(list) = keys.ints(hf("moe_topk_per_layer"))? else { return Ok(alloc::vec![active; layers]) };
    if list.len() != layers {
        bail!(Shape, "'moe_topk_per_layer' has {} entries for {layers} layers", list.len());
    }
    list.iter()
        .map(|&k| match usize::try_from(k) {
            Ok(k) if (1..=count).contains(&k) => Ok(k),
            _ => bail!(BadHeader, "'moe_topk_per_layer' has {k} of {count} experts"),
        })
        .collect()
}

/// Which layers have a dense network (Qwen): those listed, and those between every so many.
fn dense_blocks(keys: &Keys<'_>, layers: usize) -> Result<Vec<bool>> {
    let step = keys.usize(hf("decoder_sparse_step"))?.unwrap_or(1);
    let listed = keys.ints(hf("mlp_only_layers"))?.unwrap_or(&[]);
    if step == 0 {
        bail!(BadHeader, "'decoder_sparse_step' is 0");
    }
    Ok((0..layers).map(|i| !(i + 1).is_multiple_of(step) || listed.contains(&(i as i64))).collect())
}

/// Adds a shared expert to every mixture.
pub(super) fn share(spec: &mut Spec, width: usize, gated: bool) -> Result<()> {
    check_dimensions(&[("shared expert size", width, 1, 1 << 18)])?;
    for block in &mut spec.blocks {
        if let Ffn::Experts(experts) = &mut block.ffn.body {
            let mut mlp = experts.expert.clone();
            mlp.width = width;
            experts.shared = Some(SharedExpert { mlp, gated });
        }
    }
    Ok(())
}
