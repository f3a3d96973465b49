//! Mixtures of experts: Sigma-MoE-Tiny (arXiv 2512.16248: 20 B parameters, 0.5 B active; where the paper is silent, the
//! numbers that give these totals), a BitNet with experts, Mixtral (arXiv 2401.04088), Qwen3-MoE, OLMoE (arXiv 2409.02060)
//! and gpt-oss (arXiv 2508.10925).

use serde_json::json;

use super::{Dims, config, family, ternary};
use crate::model_file::{Family, Weights};

/// 56 layers of 96 experts, of which one is active; the list says so for each layer.
pub fn sigma_moe_tiny() -> Family {
    let dims = Dims {
        layers: 56,
        hidden: 1536,
        heads: 16,
        kv_heads: 4,
        head_dim: 96,
        ffn: 768,
        vocab: 151_936,
        context: 4096,
    };
    let own = json!({
        "num_experts": 96,
        "num_experts_per_tok": 1,
        "moe_topk_per_layer": vec![1; 56],
        "moe_intermediate_size": 768,
        "norm_topk_prob": false,
        "use_qk_norm": true,
        "sub_norm": false,
    });
    ternary("sigma-moe-tiny", "bitnet_moe", &dims, own)
}

/// A BitNet whose networks are mixtures.
pub fn bitnet_moe(name: &str, dims: &Dims) -> Family {
    let own = json!({
        "hidden_act": "relu2",
        "num_experts": 8,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": dims.ffn,
        "norm_topk_prob": true,
        "use_qk_norm": false,
        "sub_norm": true,
    });
    ternary(name, "bitnet_moe", dims, own)
}

pub fn mixtral(name: &str, dims: &Dims) -> Family {
    let own = json!({ "num_local_experts": 8, "num_experts_per_tok": 2 });
    family(name, config("mixtral", dims, own), Weights::Bf16)
}

pub fn qwen3_moe(name: &str, dims: &Dims) -> Family {
    let own = json!({
        "moe_intermediate_size": dims.ffn,
        "num_experts": 16,
        "num_experts_per_tok": 4,
        "norm_topk_prob": true,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
    });
    family(name, config("qwen3_moe", dims, own), Weights::Bf16)
}

/// OLMoE has as many key/value heads as queries.
pub fn olmoe(name: &str, dims: &Dims) -> Family {
    let dims = Dims { kv_heads: dims.heads, ..*dims };
    let own = json!({
        "num_experts": 16,
        "num_experts_per_tok": 4,
        "norm_topk_prob": false,
        "clip_qkv": null,
    });
    family(name, config("olmoe", &dims, own), Weights::Bf16)
}

/// Experts in MXFP4, the rest in BF16.
pub fn gpt_oss(name: &str, dims: &Dims) -> Family {
    let kinds = ["sliding_attention", "full_attention"];
    let own = json!({
        "attention_bias": true,
        "num_local_experts": 8,
        "num_experts_per_tok": 4,
        "layer_types": (0..dims.layers).map(|i| kinds[i % 2]).collect::<Vec<_>>(),
        "sliding_window": 128,
        "swiglu_limit": 7.0,
        "rope_theta": 150_000.0,
        "quantization_config": { "quant_method": "mxfp4" },
    });
    let telling = ["self_attn.sinks", "mlp.router.bias"].map(|name| (format!("model.layers.0.{name}"), None));
    Family { telling: telling.into(), ..family(name, config("gpt_oss", dims, own), Weights::Bf16) }
}
