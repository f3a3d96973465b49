//! Looped models: Ouro (arXiv 2510.25741), Universal Transformers (arXiv 1807.03819), Relaxed Recursive Transformers (arXiv
//! 2410.20672), Mixture-of-Recursions (arXiv 2507.10524) and Huginn (arXiv 2502.05171).
//!
//! All but Huginn have ternary weights here, which nobody has published: a block of them stays in a cache from one pass to
//! the next.

use serde_json::json;

use super::{Dims, family, ternary};
use crate::model_file::{Family, FamilyConfig, Weights};

/// All blocks, `passes` times, with sandwich norms and an exit gate.
pub fn ouro(name: &str, dims: &Dims, passes: usize) -> Family {
    let own = json!({ "total_ut_steps": passes, "early_exit_threshold": 1.0, "rope_theta": 1_000_000.0 });
    ternary(name, "ouro", &Dims { kv_heads: dims.heads, ..*dims }, own)
}

/// Ouro-1.4B, whose published weights are BF16.
pub const OURO: Dims = Dims {
    layers: 24,
    hidden: 2048,
    heads: 16,
    kv_heads: 16,
    head_dim: 128,
    ffn: 5632,
    vocab: 49_152,
    context: 4096,
};

/// One block, `passes` times.
pub fn universal(name: &str, dims: &Dims, passes: usize) -> Family {
    recursive(name, &Dims { layers: 1, ..*dims }, passes, 0)
}

/// Blocks in a loop, each pass with low-rank matrices of its own if `rank` is not 0.
pub fn recursive(name: &str, dims: &Dims, passes: usize, rank: usize) -> Family {
    let own = json!({
        "num_recursions": passes,
        "sharing": "cycle",
        "norm_each_recursion": false,
        "lora_rank": rank,
        "tie_word_embeddings": true,
    });
    ternary(name, "recursive_llama", dims, own)
}

/// A router gives each token 1 to `passes` passes through all blocks but the first and the last one.
pub fn mor(name: &str, dims: &Dims, passes: usize) -> Family {
    let own = json!({
        "num_shared_layers": dims.layers - 2,
        "num_recursion": passes,
        "routing": "token_choice",
        "sharing": "middle_cycle",
        "kv_sharing": null,
        "tie_word_embeddings": true,
    });
    let mut family = ternary(name, "mor_llama", dims, own);
    if let FamilyConfig::Json(config) = &mut family.config {
        config.as_object_mut().expect("it was made as one").remove("num_hidden_layers");
    }
    family
}

/// SmolLM-360M, whose 32 layers are 1 + 3 · 10 + 1, as in the paper.
pub fn mor_360m() -> Family {
    let dims = Dims {
        layers: 12,
        hidden: 960,
        heads: 15,
        kv_heads: 5,
        head_dim: 64,
        ffn: 2560,
        vocab: 49_152,
        context: 2048,
    };
    mor("mor-360m (ternary)", &dims, 3)
}

/// Two blocks before the loop, as many as `dims` says in it, two after it.
pub fn huginn(name: &str, dims: &Dims, passes: usize) -> Family {
    let config = json!({
        "model_type": "huginn_raven",
        "n_layers_in_prelude": 2,
        "n_layers_in_recurrent_block": dims.layers,
        "n_layers_in_coda": 2,
        "mean_recurrence": passes,
        "n_embd": dims.hidden,
        "intermediate_size": dims.ffn,
        "num_attention_heads": dims.heads,
        "num_key_value_heads": dims.heads,
        "block_size": dims.context,
        "vocab_size": dims.vocab,
        "norm_eps": 1e-6,
        "rope_base": 50_000.0,
        "qk_bias": true,
        "bias": false,
        "tie_embeddings": true,
        "block_class_name": "SandwichBlock",
        "mlp_class_name": "GatedMLP",
        "nonlin_name": "SiLU",
        "norm_class_name": "RMSNorm_llama",
        "injection_type": "linear",
        "state_init": "zero",
    });
    family(name, FamilyConfig::Json(config), Weights::Bf16)
}

pub fn huginn_3_5b() -> Family {
    let dims = Dims {
        layers: 4,
        hidden: 5280,
        heads: 55,
        kv_heads: 55,
        head_dim: 96,
        ffn: 17_920,
        vocab: 65_536,
        context: 4096,
    };
    huginn("huginn-3.5b", &dims, 32)
}
