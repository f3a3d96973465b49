//! Families that are published as GGUF, in TQ2_0 here: Maple (the keys of deepgrove/maple-preview-GGUF), MiniCPM (BitCPM4)
//! and Hunyuan (Hy-MT, whose own encoding is STQ1_0).

use ternlight_core::container::{Meta, Value};

use super::Dims;
use crate::model_file::{Family, FamilyConfig, Weights};

/// Metadata with these dimensions.
fn metadata(arch: &str, name: &str, dims: &Dims) -> Meta {
    let mut meta = Meta::default();
    let mut put = |key: String, value: Value| meta.0.insert(key, value);
    put("general.architecture".into(), Value::Str(arch.into()));
    put("general.name".into(), Value::Str(format!("{name} shape, random weights")));
    put("general.file_type".into(), Value::Int(37));
    put("general.quantization_version".into(), Value::Int(2));
    for (key, value) in [
        ("block_count", dims.layers),
        ("context_length", dims.context),
        ("embedding_length", dims.hidden),
        ("feed_forward_length", dims.ffn),
        ("attention.head_count", dims.heads),
        ("attention.head_count_kv", dims.kv_heads),
        ("attention.key_length", dims.head_dim),
        ("attention.value_length", dims.head_dim),
        ("rope.dimension_count", dims.head_dim),
        ("vocab_size", dims.vocab),
    ] {
        put(format!("{arch}.{key}"), Value::Int(value as i64));
    }
    put(format!("{arch}.attention.layer_norm_rms_epsilon"), Value::Float(1e-6));
    put(format!("{arch}.rope.freq_base"), Value::Float(10_000.0));
    meta
}

fn tq2(name: &str, meta: Meta, telling: &[&str]) -> Family {
    Family {
        name: format!("{name} shape, random weights"),
        config: FamilyConfig::Meta(meta),
        weights: Weights::Tq2,
        telling: telling.iter().map(|&name| (name.to_owned(), None)).collect(),
    }
}

/// Experts of a Maple.
pub struct Mixture {
    pub experts: usize,
    pub active: usize,
    /// Width of each.
    pub width: usize,
    pub window: usize,
}

pub fn maple(name: &str, dims: &Dims, mixture: &Mixture) -> Family {
    let mut meta = metadata("maple", name, dims);
    let mut put = |key: &str, value: Value| meta.0.insert(format!("maple.{key}"), value);
    for (key, value) in [
        ("rope.dimension_count", dims.head_dim / 2),
        ("attention.sliding_window", mixture.window),
        ("expert_count", mixture.experts),
        ("expert_used_count", mixture.active),
        ("expert_feed_forward_length", mixture.width),
    ] {
        put(key, Value::Int(value as i64));
    }
    // Every fourth layer sees everything.
    let slides = (0..dims.layers).map(|i| i64::from(i % 4 != 3)).collect();
    put("attention.sliding_window_pattern", Value::Ints(slides));
    put("swiglu_clamp_exp", Value::Floats(vec![7.0; dims.layers]));
    tq2(name, meta, &["output.weight"])
}

pub fn maple_20b_a1b() -> Family {
    let dims = Dims {
        layers: 24,
        hidden: 2048,
        heads: 16,
        kv_heads: 4,
        head_dim: 128,
        ffn: 4096,
        vocab: 151_936,
        context: 131_072,
    };
    maple("maple-20b-a1b", &dims, &Mixture { experts: 256, active: 8, width: 512, window: 512 })
}

pub fn maple_tiny(dims: &Dims) -> Family {
    maple("maple-tiny", dims, &Mixture { experts: 8, active: 2, width: 256, window: 64 })
}

/// The LLaMA block with three scales; they are those of BitCPM4's configuration.
pub fn minicpm(name: &str, dims: &Dims) -> Family {
    let mut meta = metadata("minicpm", name, dims);
    for (key, value) in [
        ("embedding_scale", 12.0),
        ("residual_scale", 1.4 / (dims.layers as f64).sqrt()),
        ("logit_scale", dims.hidden as f64 / 256.0),
    ] {
        meta.0.insert(format!("minicpm.{key}"), Value::Float(value));
    }
    tq2(name, meta, &["output.weight"])
}

/// The LLaMA block with norms of queries and keys after the rotary embedding; the head is the embedding.
pub fn hunyuan(name: &str, dims: &Dims) -> Family {
    tq2(name, metadata("hunyuan-dense", name, dims), &[])
}

/// Hy-MT 1.8B.
pub fn hy_mt_1_8b() -> Family {
    let dims = Dims {
        layers: 32,
        hidden: 2048,
        heads: 16,
        kv_heads: 4,
        head_dim: 128,
        ffn: 6144,
        vocab: 120_818,
        context: 262_144,
    };
    hunyuan("hy-mt-1.8b", &dims)
}
