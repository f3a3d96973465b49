//! TorchScale's decoders: DeepNet (arXiv 2203.00555), Magneto (arXiv 2210.06423), xPos (arXiv 2212.10554), X-MoE (arXiv
//! 2204.09179) and RetNet (arXiv 2307.08621).

use serde_json::{Value as Json, json};

use super::{Dims, family, with};
use crate::model_file::{Family, FamilyConfig, Weights};

/// The keys of both kinds of decoder, and what `own` adds.
fn torchscale(name: &str, model_type: &str, dims: &Dims, own: Json) -> Family {
    let config = json!({
        "model_type": model_type,
        "activation_fn": "gelu",
        "decoder_embed_dim": dims.hidden,
        "decoder_ffn_embed_dim": dims.ffn,
        "decoder_layers": dims.layers,
        "max_target_positions": dims.context,
        "vocab_size": dims.vocab,
        "layernorm_eps": 1e-5,
        "layernorm_embedding": false,
        "decoder_normalize_before": true,
        "deepnorm": false,
        "subln": false,
        "learned_positions": false,
        "no_scale_embedding": true,
        "share_decoder_input_output_embed": true,
        "moe_freq": 0,
    });
    let mut family = family(name, FamilyConfig::Json(with(config, own)), Weights::Bf16);
    family.telling = BIASES.map(|linear| (format!("layers.0.{linear}.bias"), None)).into();
    if model_type == "torchscale_retnet" {
        family.telling.clear();
    }
    family
}

/// Linear layers of a decoder, which all have biases.
const BIASES: [&str; 6] =
    ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj", "ffn.fc1", "ffn.fc2"];

fn decoder(name: &str, dims: &Dims, own: Json) -> Family {
    let heads = json!({ "decoder_attention_heads": dims.heads });
    torchscale(name, "torchscale_decoder", dims, with(heads, own))
}

/// Post-LN with a residual of (2 · layers)^¼.
pub fn deepnet(name: &str, dims: &Dims) -> Family {
    let own = json!({ "deepnorm": true, "decoder_normalize_before": false, "learned_positions": true });
    decoder(name, dims, own)
}

/// Sub-LN and xPos.
pub fn magneto(name: &str, dims: &Dims) -> Family {
    decoder(name, dims, json!({ "subln": true, "xpos_rel_pos": true }))
}

/// Pre-LN and xPos.
pub fn xpos(name: &str, dims: &Dims) -> Family {
    decoder(name, dims, json!({ "xpos_rel_pos": true }))
}

/// Eight experts in every second layer, of which a token takes two; the router narrows its input to 16 values.
pub fn xmoe(name: &str, dims: &Dims) -> Family {
    let own = json!({
        "subln": true,
        "xpos_rel_pos": true,
        "moe_freq": 2,
        "moe_expert_count": 8,
        "moe_top1_expert": false,
        "moe_second_expert_policy": "all",
        "moe_eval_capacity_token_fraction": 1.0,
        "use_xmoe": true,
    });
    let mut family = decoder(name, dims, own);
    family.telling.push(("layers.1.moe_layer.gate.wg".into(), Some(vec![8, 16])));
    family
}

/// Retention with values twice as wide as keys.
pub fn retnet(name: &str, dims: &Dims) -> Family {
    let own = json!({
        "decoder_retention_heads": dims.heads,
        "decoder_value_embed_dim": 2 * dims.hidden,
        "layernorm_eps": 1e-6,
        "share_decoder_input_output_embed": false,
    });
    torchscale(name, "torchscale_retnet", dims, own)
}

/// The paper's 1.3 B: 24 layers, heads of 256.
pub fn retnet_1_3b() -> Family {
    let dims = Dims {
        layers: 24,
        hidden: 2048,
        heads: 8,
        kv_heads: 8,
        head_dim: 256,
        ffn: 4096,
        vocab: 100_288,
        context: 2048,
    };
    retnet("retnet-1.3b", &dims)
}
