//! gpt-oss (arXiv 2508.10925): experts in MXFP4 with clamped gates, sliding windows in every other layer, and attention
//! sinks.

use super::{
    common::{decoder, has, sliding_layers, sliding_windows},
    experts,
    keys::{Keys, gguf, hf},
};
use crate::{
    Result, bail,
    container::Value,
    model::{
        spec::{Activation, Ffn, Spec},
        tensor_names::{Field, LinearRole, Names, PackedField, Row, TensorRole, rows},
    },
};

pub(super) const HF_ROWS: &[Row] = rows! {
    "model.layers.{b}.self_attn.sinks!": Sinks;
    "model.layers.{b}.mlp.router": Router;
    "model.layers.{b}.mlp.experts.gate_up_proj_blocks!": PackedExperts(Up, PackedField::Blocks);
    "model.layers.{b}.mlp.experts.gate_up_proj_scales!": PackedExperts(Up, PackedField::Scales);
    "model.layers.{b}.mlp.experts.gate_up_proj_bias!": PackedExperts(Up, PackedField::Bias);
    "model.layers.{b}.mlp.experts.down_proj_blocks!": PackedExperts(Down, PackedField::Blocks);
    "model.layers.{b}.mlp.experts.down_proj_scales!": PackedExperts(Down, PackedField::Scales);
    "model.layers.{b}.mlp.experts.down_proj_bias!": PackedExperts(Down, PackedField::Bias);
};

pub(super) const GGUF_ROWS: &[Row] = rows! {
    "blk.{b}.post_attention_norm": Norm(FfnPre);
};

pub(super) fn spec(keys: &Keys<'_>, names: Names) -> Result<Spec> {
    let mut spec = decoder(keys, names)?;
    // The router's softmax is over the chosen alone, which is the same.
    keys.expect(gguf("expert_gating_func"), &[Value::Int(4), Value::Int(1)])?;
    for repeated in ["experts_per_token", "initial_context_length"] {
        keys.usize(hf(repeated))?;
    }
    experts::mix(keys, &mut spec, true)?;
    keys.expect(hf("swiglu_alpha"), &[Value::Float(1.702)])?;
    let limit = keys.float(hf("swiglu_limit"))?.unwrap_or(7.0);
    if !(limit > 0.0 && limit.is_finite()) {
        bail!(BadHeader, "'swiglu_limit' is {limit}");
    }
    if !keys.is_gguf() && !spec.checkpoint.packed_experts {
        bail!(UnsupportedFormat, "gpt-oss with experts that are not packed as MXFP4");
    }
    let has_bias = |linear| {
        spec.checkpoint.packed_experts || has(keys, names, TensorRole::Expert(0, 0, linear, Field::Bias))
    };
    let biases = [LinearRole::Gate, LinearRole::Up, LinearRole::Down].map(has_bias);
    let router_bias = has(keys, names, TensorRole::Router(0, Field::Bias));
    let sinks = has(keys, names, TensorRole::Sinks(0));
    spec.attentions_mut().for_each(|attention| attention.sinks = sinks);
    for block in &mut spec.blocks {
        if let Ffn::Experts(experts) = &mut block.ffn.body {
            experts.router_bias = router_bias;
            let expert = &mut experts.expert;
            (expert.activation, expert.clamp, expert.up_plus_one) =
                (Activation::QuickGelu, Some(limit), true);
            let [gate, up, down] = biases;
            (expert.gate.bias, expert.down.bias) = (gate, down);
            if let Some(layer) = &mut expert.up {
                layer.bias = up;
            }
        }
    }
    if spec.checkpoint.packed_experts {
        let width = spec.blocks[0].ffn.body.mlp().width;
        if !(spec.hidden.is_multiple_of(32) && width.is_multiple_of(32)) {
            bail!(Shape, "MXFP4 needs multiples of 32 columns, not {} and {width}", spec.hidden);
        }
    }
    let by_turns = || (0..spec.blocks.len()).map(|i| i % 2 == 0).collect();
    let slides = sliding_layers(keys)?.unwrap_or_else(by_turns);
    sliding_windows(keys, &mut spec, &slides)?;
    Ok(spec)
}
