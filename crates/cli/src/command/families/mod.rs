//! Shapes of families whose weights cannot be had, or are too large to try: for `synth` and `bench`.
//!
//! Each family is a function of its dimensions, so that a shape of a published size and a small one for tests differ in
//! numbers alone. Sources stand beside the functions.

mod gguf;
mod looped;
mod moe;
mod small_floats;
pub mod timed;
mod torchscale;

pub use gguf::{hunyuan, hy_mt_1_8b, maple_20b_a1b, maple_tiny, minicpm};
pub use looped::{OURO, huginn, huginn_3_5b, mor, mor_360m, ouro, recursive, universal};
pub use moe::{bitnet_moe, gpt_oss, mixtral, olmoe, qwen3_moe, sigma_moe_tiny};
use serde_json::{Value as Json, json};
pub use small_floats::{fp8, mxfp4, nvfp4};
pub use torchscale::{deepnet, magneto, retnet, retnet_1_3b, xmoe, xpos};

use crate::model_file::{Family, FamilyConfig, Weights};

/// What all decoders have.
#[derive(Clone, Copy)]
pub struct Dims {
    pub layers: usize,
    pub hidden: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    /// Width of the feed-forward network; of each expert's, where there are experts.
    pub ffn: usize,
    pub vocab: usize,
    pub context: usize,
}

/// For tests.
pub const TINY: Dims =
    Dims { layers: 4, hidden: 256, heads: 4, kv_heads: 2, head_dim: 64, ffn: 512, vocab: 1024, context: 512 };

/// The shape of Llama 3.1 8B (its `config.json`), which FP8 and FP4 checkpoints are mostly of.
pub const LLAMA_8B: Dims = Dims {
    layers: 32,
    hidden: 4096,
    heads: 32,
    kv_heads: 8,
    head_dim: 128,
    ffn: 14_336,
    vocab: 128_256,
    context: 8192,
};

/// A `config.json` with these dimensions, and what `own` adds.
fn config(model_type: &str, dims: &Dims, own: Json) -> FamilyConfig {
    let config = json!({
        "model_type": model_type,
        "num_hidden_layers": dims.layers,
        "hidden_size": dims.hidden,
        "intermediate_size": dims.ffn,
        "num_attention_heads": dims.heads,
        "num_key_value_heads": dims.kv_heads,
        "head_dim": dims.head_dim,
        "vocab_size": dims.vocab,
        "max_position_embeddings": dims.context,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "attention_bias": false,
        "tie_word_embeddings": false,
        "hidden_act": "silu",
    });
    FamilyConfig::Json(with(config, own))
}

/// `config` with the keys of `own`.
fn with(mut config: Json, own: Json) -> Json {
    if let (Json::Object(config), Json::Object(own)) = (&mut config, own) {
        config.extend(own);
    }
    config
}

fn family(name: &str, config: FamilyConfig, weights: Weights) -> Family {
    Family { name: format!("{name} shape, random weights"), config, weights, telling: Vec::new() }
}

/// A family whose linear layers are ternary, packed as Hugging Face has it.
fn ternary(name: &str, model_type: &str, dims: &Dims, own: Json) -> Family {
    let packing = json!({ "quantization_config": {
        "quant_method": "bitnet", "linear_class": "autobitlinear", "quantization_mode": "offline"
    } });
    family(name, config(model_type, dims, with(own, packing)), Weights::PackedTernary)
}
