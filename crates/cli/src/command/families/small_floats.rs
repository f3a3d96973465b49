//! LLaMA models in FP8 and FP4, stored as their checkpoints are.

use serde_json::{Value as Json, json};

use super::{Dims, config, family};
use crate::model_file::{Family, Weights};

fn stored(name: &str, dims: &Dims, quantization: Json) -> Family {
    let own = json!({ "quantization_config": quantization });
    family(name, config("llama", dims, own), Weights::SmallFloats)
}

/// E4M3 with a scale per 128 rows and columns, as DeepSeek-V3 has it (arXiv 2412.19437).
pub fn fp8(name: &str, dims: &Dims) -> Family {
    let quantization = json!({
        "quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": [128, 128]
    });
    stored(name, dims, quantization)
}

/// E2M1 with a scale per 32 columns (OCP Microscaling Formats 1.0).
pub fn mxfp4(name: &str, dims: &Dims) -> Family {
    stored(name, dims, json!({ "quant_method": "mxfp4" }))
}

/// E2M1 with a scale per 16 columns, as compressed-tensors writes it.
pub fn nvfp4(name: &str, dims: &Dims) -> Family {
    let weights = json!({
        "num_bits": 4, "type": "float", "strategy": "tensor_group", "group_size": 16, "symmetric": true
    });
    let quantization = json!({
        "quant_method": "compressed-tensors",
        "format": "nvfp4-pack-quantized",
        "quantization_status": "compressed",
        "ignore": ["lm_head"],
        "config_groups": {
            "group_0": { "targets": ["Linear"], "input_activations": null, "weights": weights }
        },
    });
    stored(name, dims, quantization)
}
