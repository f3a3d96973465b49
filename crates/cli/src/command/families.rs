//! Shapes of families whose weights cannot be had, or are too large to try: for `synth` and `bench`.
//!
//! Sources: Sigma-MoE-Tiny (arXiv 2512.16248: 20 B parameters, 0.5 B active; where the paper is silent, the numbers
//! that give these totals), Maple (the keys of deepgrove/maple-preview-GGUF); the small ones have the words of Mixtral
//! (arXiv 2401.04088), Qwen3-MoE, OLMoE (arXiv 2409.02060), gpt-oss (arXiv 2508.10925), and a BitNet with experts.

use serde_json::{Value as Json, json};
use ternlight_core::container::{Meta, Value};

use crate::model_file::{Family, FamilyConfig, Weights};

/// What all small shapes have in common.
struct Small {
    layers: usize,
    hidden: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    vocab: usize,
    context: usize,
}

const SMALL: Small =
    Small { layers: 4, hidden: 256, heads: 4, kv_heads: 2, head_dim: 64, vocab: 1024, context: 512 };

/// A `config.json` with these dimensions, and what `own` adds.
fn config(model_type: &str, small: &Small, own: Json) -> FamilyConfig {
    let mut config = json!({
        "model_type": model_type,
        "num_hidden_layers": small.layers,
        "hidden_size": small.hidden,
        "num_attention_heads": small.heads,
        "num_key_value_heads": small.kv_heads,
        "head_dim": small.head_dim,
        "vocab_size": small.vocab,
        "max_position_embeddings": small.context,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "attention_bias": false,
        "tie_word_embeddings": false,
        "hidden_act": "silu",
    });
    if let (Json::Object(config), Json::Object(own)) = (&mut config, own) {
        config.extend(own);
    }
    FamilyConfig::Json(config)
}

fn bf16(name: &str, config: FamilyConfig) -> Family {
    Family { name: name.into(), config, weights: Weights::Bf16, telling: Vec::new() }
}

fn ternary_packing() -> Json {
    json!({ "quant_method": "bitnet", "linear_class": "autobitlinear", "quantization_mode": "offline" })
}

/// 56 layers of 96 experts, of which one is active; the list says so for each layer.
pub fn sigma_moe_tiny() -> Family {
    let shape = Small {
        layers: 56,
        hidden: 1536,
        heads: 16,
        kv_heads: 4,
        head_dim: 96,
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
        "quantization_config": ternary_packing(),
    });
    Family {
        name: "sigma-moe-tiny shape, random weights".into(),
        config: config("bitnet_moe", &shape, own),
        weights: Weights::PackedTernary,
        telling: Vec::new(),
    }
}

/// A BitNet whose networks are mixtures.
pub fn bitnet_moe_tiny() -> Family {
    let own = json!({
        "hidden_act": "relu2",
        "num_experts": 8,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 256,
        "norm_topk_prob": true,
        "use_qk_norm": false,
        "sub_norm": true,
        "quantization_config": ternary_packing(),
    });
    Family {
        name: "bitnet-moe-tiny shape, random weights".into(),
        config: config("bitnet_moe", &SMALL, own),
        weights: Weights::PackedTernary,
        telling: Vec::new(),
    }
}

pub fn mixtral_tiny() -> Family {
    let own = json!({ "intermediate_size": 512, "num_local_experts": 8, "num_experts_per_tok": 2 });
    bf16("mixtral-tiny shape, random weights", config("mixtral", &SMALL, own))
}

pub fn qwen3_moe_tiny() -> Family {
    let own = json!({
        "intermediate_size": 512,
        "moe_intermediate_size": 128,
        "num_experts": 16,
        "num_experts_per_tok": 4,
        "norm_topk_prob": true,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
    });
    bf16("qwen3-moe-tiny shape, random weights", config("qwen3_moe", &SMALL, own))
}

pub fn olmoe_tiny() -> Family {
    let small = Small { kv_heads: 4, ..SMALL };
    let own = json!({
        "intermediate_size": 128,
        "num_experts": 16,
        "num_experts_per_tok": 4,
        "norm_topk_prob": false,
        "clip_qkv": null,
    });
    bf16("olmoe-tiny shape, random weights", config("olmoe", &small, own))
}

pub fn gpt_oss_tiny() -> Family {
    let own = json!({
        "attention_bias": true,
        "intermediate_size": 256,
        "num_local_experts": 8,
        "num_experts_per_tok": 4,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention", "full_attention"],
        "sliding_window": 128,
        "swiglu_limit": 7.0,
        "rope_theta": 150_000.0,
        "quantization_config": { "quant_method": "mxfp4" },
    });
    let telling = ["self_attn.sinks", "mlp.router.bias"].map(|name| format!("model.layers.0.{name}"));
    Family {
        telling: telling.into(),
        ..bf16("gpt-oss-tiny shape, random weights", config("gpt_oss", &SMALL, own))
    }
}

/// Dimensions of a Maple.
struct Maple {
    layers: usize,
    hidden: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    ffn: usize,
    experts: usize,
    active: usize,
    expert: usize,
    window: usize,
    vocab: usize,
    context: usize,
}

fn maple(name: &str, shape: &Maple) -> Family {
    let mut meta = Meta::default();
    let mut put = |key: &str, value: Value| meta.0.insert(key.to_owned(), value);
    put("general.architecture", Value::Str("maple".into()));
    put("general.name", Value::Str(name.into()));
    put("general.file_type", Value::Int(37));
    put("general.quantization_version", Value::Int(2));
    for (key, value) in [
        ("block_count", shape.layers),
        ("context_length", shape.context),
        ("embedding_length", shape.hidden),
        ("feed_forward_length", shape.ffn),
        ("attention.head_count", shape.heads),
        ("attention.head_count_kv", shape.kv_heads),
        ("attention.key_length", shape.head_dim),
        ("attention.value_length", shape.head_dim),
        ("rope.dimension_count", shape.head_dim / 2),
        ("attention.sliding_window", shape.window),
        ("expert_count", shape.experts),
        ("expert_used_count", shape.active),
        ("expert_feed_forward_length", shape.expert),
        ("vocab_size", shape.vocab),
    ] {
        put(&format!("maple.{key}"), Value::Int(value as i64));
    }
    put("maple.attention.layer_norm_rms_epsilon", Value::Float(1e-6));
    put("maple.rope.freq_base", Value::Float(10_000.0));
    // Every fourth layer sees everything.
    let slides = (0..shape.layers).map(|i| i64::from(i % 4 != 3)).collect();
    put("maple.attention.sliding_window_pattern", Value::Ints(slides));
    put("maple.swiglu_clamp_exp", Value::Floats(vec![7.0; shape.layers]));
    Family {
        name: name.into(),
        config: FamilyConfig::Meta(meta),
        weights: Weights::Tq2,
        telling: vec!["output.weight".into()],
    }
}

pub fn maple_20b_a1b() -> Family {
    let shape = Maple {
        layers: 24,
        hidden: 2048,
        heads: 16,
        kv_heads: 4,
        head_dim: 128,
        ffn: 4096,
        experts: 256,
        active: 8,
        expert: 512,
        window: 512,
        vocab: 151_936,
        context: 131_072,
    };
    maple("maple-20b-a1b shape, random weights", &shape)
}

pub fn maple_tiny() -> Family {
    let shape = Maple {
        layers: 4,
        hidden: 256,
        heads: 4,
        kv_heads: 2,
        head_dim: 64,
        ffn: 512,
        experts: 8,
        active: 2,
        expert: 256,
        window: 64,
        vocab: 1024,
        context: 512,
    };
    maple("maple-tiny shape, random weights", &shape)
}
