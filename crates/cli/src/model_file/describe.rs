//! What a model is: dimensions and special values, as GGUF keys and as an HF `config.json`.
//!
//! Invariant: both forms describe the same model to the loader.

use serde_json::json;
use ternlight_core::{
    Error, ErrorKind, Result,
    container::{self, Container, Meta, Value},
    model::{
        Spec,
        arch::{self, KnownTensors},
        spec::Activation,
        tensor_names::Names,
    },
};

use super::Format;

/// A BitNet- or LLaMA-shaped model.
#[derive(Clone, Debug)]
pub struct Config {
    /// For people.
    pub name: String,
    /// Sub-norms before the output and down projections (BitNet); else plain LLaMA.
    pub sub_norms: bool,
    pub activation: Activation,
    pub layers: usize,
    pub hidden: usize,
    pub ffn: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    pub vocab: usize,
    pub context: usize,
    pub theta: f32,
    pub norm_eps: f32,
    /// The head is the embedding.
    pub tied: bool,
    /// Inputs are quantised as in BitNet a4.8 (arXiv 2411.04965), with 4-bit integers; HF folders alone can say so.
    pub a48: bool,
    /// `general.*` keys of the source (licence, authors, suggested sampling), kept as they are.
    pub about: Meta,
}

/// Suggested sampling: its GGUF key and its name in a `generation_config.json`.
const SAMPLING: [(&str, &str); 5] = [
    ("general.sampling.temp", "temperature"),
    ("general.sampling.top_k", "top_k"),
    ("general.sampling.top_p", "top_p"),
    ("general.sampling.min_p", "min_p"),
    ("general.sampling.penalty_repeat", "repetition_penalty"),
];

/// What a flattened `generation_config.json` suggests, as GGUF keys.
pub fn sampling_keys(generation: &Meta) -> Meta {
    let mut keys = Meta::default();
    for (gguf, hf) in SAMPLING {
        if let Some(value) = generation.get(hf) {
            keys.0.insert(gguf.to_owned(), value.clone());
        }
    }
    if generation.get("do_sample") == Some(&Value::Bool(false)) {
        keys.0.insert(SAMPLING[0].0.to_owned(), Value::Float(0.0));
    }
    keys
}

impl Config {
    /// `general.architecture`. Readers of the llama.cpp family know `bitnet-b1.58` only with I2_S; mainline
    /// reads its own `bitnet` with TQ1_0 and TQ2_0.
    pub fn gguf_arch(&self, format: Format) -> &'static str {
        match (self.sub_norms, format) {
            (false, _) => "llama",
            (true, Format::I2S) => "bitnet-b1.58",
            (true, _) => "bitnet",
        }
    }

    /// The GGUF metadata but for the tokenizer.
    pub fn gguf(&self, format: Format) -> Meta {
        let arch = self.gguf_arch(format);
        let mut meta = self.about.clone();
        let mut put = |key: String, value| meta.0.insert(key, value);
        let int = |n: usize| Value::Int(n as i64);
        let float = |x: f32| Value::Float(x.into());
        // llama.cpp's file types; 40 is bitnet.cpp's.
        let file_type = match format {
            Format::I2S | Format::HfPacked => 40,
            Format::Tq1 => 36,
            Format::Tq2 => 37,
        };
        put("general.architecture".into(), Value::Str(arch.into()));
        put("general.name".into(), Value::Str(self.name.clone()));
        put("general.file_type".into(), Value::Int(file_type));
        put("general.quantization_version".into(), Value::Int(2));
        put(format!("{arch}.block_count"), int(self.layers));
        put(format!("{arch}.context_length"), int(self.context));
        put(format!("{arch}.embedding_length"), int(self.hidden));
        put(format!("{arch}.feed_forward_length"), int(self.ffn));
        put(format!("{arch}.attention.head_count"), int(self.heads));
        put(format!("{arch}.attention.head_count_kv"), int(self.kv_heads));
        put(format!("{arch}.attention.layer_norm_rms_epsilon"), float(self.norm_eps));
        put(format!("{arch}.rope.dimension_count"), int(self.head_dim));
        put(format!("{arch}.rope.freq_base"), float(self.theta));
        put(format!("{arch}.vocab_size"), int(self.vocab));
        if self.head_dim * self.heads != self.hidden {
            put(format!("{arch}.attention.key_length"), int(self.head_dim));
            put(format!("{arch}.attention.value_length"), int(self.head_dim));
        }
        if self.sub_norms {
            // Mainline's `bitnet` means SiLU and has no key to say otherwise; this one is ours, others skip it.
            put(format!("{arch}.hidden_act"), Value::Str(self.activation.name().into()));
        } else {
            // Nor does `llama` tell how a ternary model was trained; this key is ours too.
            put(format!("{arch}.activation_quantization"), Value::Str("int8_absmax".into()));
        }
        meta
    }

    /// What a file with this description means to the loader, and the names of its tensors.
    ///
    /// # Errors
    /// Those of [`arch::spec`]; `unsupported-format` for quantisers that GGUF has no keys for.
    pub fn spec(&self, format: Format) -> Result<(Spec, Names)> {
        if self.a48 && format != Format::HfPacked {
            let text = "GGUF has no keys for the quantisers of BitNet a4.8; the format hf-packed has";
            return Err(Error::new(ErrorKind::UnsupportedFormat, text));
        }
        let (container, meta) = match format {
            Format::HfPacked => {
                (Container::Safetensors, container::config(&hf_config(self, None, None).to_string())?)
            }
            _ => (Container::Gguf, self.gguf(format)),
        };
        let mut tensors = KnownTensors::new();
        if !self.tied {
            // A GGUF file tells by the tensor alone that the head is not the embedding.
            tensors.insert("output.weight".into(), None);
        }
        arch::spec(container, &meta, &tensors, &[])
    }
}

/// The `generation_config.json`: what ends an answer, and the sampling that the authors suggest.
pub fn generation_config(config: &Config, bos: Option<u32>, ends: &[u32]) -> serde_json::Value {
    let mut json = json!({ "bos_token_id": bos, "eos_token_id": ends });
    for (gguf, hf) in SAMPLING {
        match config.about.get(gguf) {
            Some(Value::Float(x)) => json[hf] = json!(short(*x as f32)),
            Some(Value::Int(n)) => json[hf] = json!(n),
            _ => continue,
        }
        json["do_sample"] = json!(true);
    }
    if json["temperature"] == json!(0.0) {
        json["do_sample"] = json!(false);
    }
    json
}

/// serde_json widens f32 to digits nobody wrote; the shortest decimal form is what people expect.
fn short(x: f32) -> f64 {
    x.to_string().parse().expect("floats print as numbers")
}

/// The HF `config.json` of the packed form.
pub fn hf_config(config: &Config, bos: Option<u32>, eos: Option<u32>) -> serde_json::Value {
    let (architecture, model_type) =
        if config.sub_norms { ("BitNetForCausalLM", "bitnet") } else { ("LlamaForCausalLM", "llama") };
    let mut json = json!({
        "architectures": [architecture],
        "model_type": model_type,
        "attention_bias": false,
        "bos_token_id": bos,
        "eos_token_id": eos,
        "head_dim": config.head_dim,
        "hidden_act": config.activation.name(),
        "hidden_size": config.hidden,
        "initializer_range": 0.02,
        "intermediate_size": config.ffn,
        "max_position_embeddings": config.context,
        "num_attention_heads": config.heads,
        "num_hidden_layers": config.layers,
        "num_key_value_heads": config.kv_heads,
        "quantization_config": {
            "quant_method": "bitnet", "linear_class": "autobitlinear", "quantization_mode": "offline"
        },
        "rms_norm_eps": short(config.norm_eps),
        "rope_theta": short(config.theta),
        "tie_word_embeddings": config.tied,
        "torch_dtype": "bfloat16",
        "use_cache": true,
        "vocab_size": config.vocab,
    });
    if config.a48 {
        let small = json!({ "quant": "int4_absmean" });
        json["activation_quantization"] = json!({
            "scheme": "a4.8",
            "attn_in": small,
            "attn_out": { "quant": "int8_absmax", "keep": 0.5 },
            "ffn_in": small,
            "ffn_down": { "quant": "int8_absmax" },
        });
    }
    json
}
