use super::*;
use crate::{container::Value, model::rope::RopeScaling};

fn config(more: &str) -> Result<Spec> {
    let json = alloc::format!(
        r#"{{"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2,
            "intermediate_size": 64, "max_position_embeddings": 128 {more}}}"#
    );
    let meta = crate::container::config(&json)?;
    Ok(spec(Container::Safetensors, &meta, &KnownTensors::new(), &[])?.0)
}

#[test]
fn rope_scaling_must_make_sense() {
    let yarn = |more: &str| {
        config(&alloc::format!(
            r#", "rope_scaling": {{"rope_type": "yarn", "factor": 4.0,
                "original_max_position_embeddings": 32 {more}}}"#
        ))
    };
    assert!(matches!(
        yarn("").unwrap().ropes[0].scaling,
        RopeScaling::Yarn { beta_fast: 32.0, beta_slow: 1.0, attention: None, .. }
    ));
    for bad in ["-1", "0", "1e39", "-1e-3"] {
        for name in ["beta_fast", "beta_slow", "attention_factor", "factor"] {
            let more = alloc::format!(r#", "{name}": {bad}"#);
            let result = match name {
                "factor" => config(&alloc::format!(r#", "rope_parameters": {{"type": "linear" {more}}}"#)),
                _ => yarn(&more),
            };
            let error = result.expect_err(name);
            assert!(error.kind == crate::ErrorKind::BadHeader && error.detail.contains(name), "{error}");
        }
    }
    // Both bounds alike: no ramp lies between them.
    let llama3 = |low: f32, high: f32| {
        config(&alloc::format!(
            r#", "rope_scaling": {{"rope_type": "llama3", "factor": 8, "low_freq_factor": {low},
                "high_freq_factor": {high}, "original_max_position_embeddings": 32}}"#
        ))
    };
    assert!(llama3(1.0, 4.0).is_ok());
    assert_eq!(llama3(4.0, 4.0).unwrap_err().kind, crate::ErrorKind::BadHeader);
    // A quotient beyond f32.
    let tiny = config(r#", "rope_scaling": {"type": "linear", "factor": 1e-40}"#);
    assert_eq!(tiny.unwrap_err().kind, crate::ErrorKind::BadHeader);
}

#[test]
fn an_error_does_not_repeat_a_long_name() {
    let meta = Meta::from([("model_type", Value::Str("x".repeat(1 << 20)))]);
    let error = spec(Container::Safetensors, &meta, &KnownTensors::new(), &[]).unwrap_err();
    // The names of the known ones are as long as they are.
    let known: usize = ARCHES.iter().map(|arch| arch.names[0].len() + 2).sum();
    assert!(error.detail.len() < 140 + known && error.detail.contains("qwen3"), "{error}");
}

#[test]
fn a_key_that_nobody_reads_is_refused_by_name_unless_it_is_neutral() {
    for more in [
        r#""activation_quantization": {"scheme": "a48"}"#,
        r#""residual_multiplier": 0.22"#,
        r#""no_rope_layers": [1]"#,
        r#""final_logit_softcapping": 30.0"#,
        r#""rotation_config": "hadamard""#,
        r#""num_experts": 8"#,
    ] {
        let error = config(&alloc::format!(", {more}")).expect_err(more);
        let key = more.split('"').nth(1).unwrap();
        assert!(error.kind == crate::ErrorKind::UnsupportedArch && error.detail.contains(key), "{error}");
    }
    for more in [
        r#""final_logit_softcapping": null"#,
        r#""residual_multiplier": 1.0"#,
        r#""use_something_new": false"#,
        r#""_anything": 3"#,
        r#""oracle_kind": "x""#,
        r#""id2label": {"0": "A"}"#,
        r#""num_experts": 0"#,
    ] {
        config(&alloc::format!(", {more}")).expect(more);
    }
    let json = r#"{"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 64, "max_position_embeddings": 128, "mystery": 3}"#;
    let meta = crate::container::config(json).unwrap();
    let allowed = ["mystery".into()];
    assert!(spec(Container::Safetensors, &meta, &KnownTensors::new(), &allowed).is_ok());
}

/// Keys and values as published; only the sizes are made small.
#[test]
fn published_configurations_are_understood() {
    let dimensions = r#""hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "intermediate_size": 96, "vocab_size": 100"#;
    for (name, keys) in [
        (
            "SmolLM2",
            r#""architectures": ["LlamaForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
            "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu", "initializer_range": 0.041666666666666664,
            "is_llama_config": true, "max_position_embeddings": 8192, "mlp_bias": false, "model_type": "llama",
            "pad_token_id": 2, "pretraining_tp": 1, "rms_norm_eps": 1e-05, "rope_interleaved": false,
            "rope_scaling": null, "rope_theta": 100000, "tie_word_embeddings": true, "torch_dtype": "bfloat16",
            "transformers.js_config": {"kv_cache_dtype": {"q4f16": "float16", "fp16": "float16"}},
            "transformers_version": "4.42.3", "use_cache": true"#,
        ),
        (
            "Qwen2.5",
            r#""architectures": ["Qwen2ForCausalLM"], "attention_dropout": 0.0, "bos_token_id": 151643,
            "eos_token_id": 151645, "hidden_act": "silu", "initializer_range": 0.02,
            "max_position_embeddings": 32768, "max_window_layers": 21, "model_type": "qwen2", "rms_norm_eps": 1e-06,
            "rope_theta": 1000000.0, "sliding_window": 32768, "tie_word_embeddings": true,
            "torch_dtype": "bfloat16", "transformers_version": "4.43.1", "use_cache": true,
            "use_sliding_window": false"#,
        ),
        (
            "Qwen3",
            r#""architectures": ["Qwen3ForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
            "bos_token_id": 151643, "eos_token_id": 151645, "head_dim": 128, "hidden_act": "silu",
            "initializer_range": 0.02, "max_position_embeddings": 40960, "max_window_layers": 28,
            "model_type": "qwen3", "rms_norm_eps": 1e-06, "rope_scaling": null, "rope_theta": 1000000,
            "sliding_window": null, "tie_word_embeddings": true, "torch_dtype": "bfloat16",
            "transformers_version": "4.51.0", "use_cache": true, "use_sliding_window": false"#,
        ),
        (
            "BitNet b1.58 2B4T",
            r#""architectures": ["BitNetForCausalLM"], "auto_map": {"AutoConfig": "configuration_bitnet.BitNetConfig",
            "AutoModelForCausalLM": "modeling_bitnet.BitNetForCausalLM"}, "bos_token_id": 128000,
            "eos_token_id": 128001, "hidden_act": "relu2", "initializer_range": 0.02,
            "max_position_embeddings": 4096, "model_type": "bitnet", "rms_norm_eps": 1e-05, "rope_theta": 500000.0,
            "tie_word_embeddings": true, "torch_dtype": "bfloat16", "use_cache": true, "quantization_config":
            {"quant_method": "bitnet", "linear_class": "autobitlinear", "quantization_mode": "offline"}"#,
        ),
        (
            "1bitLLM",
            r#""_name_or_path": "x", "architectures": ["BitnetForCausalLM"], "attention_bias": false,
            "attention_dropout": 0.0, "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu",
            "initializer_range": 0.02, "input_bits": 8, "max_position_embeddings": 2048, "model_type": "llama",
            "pad_token_id": 32000, "pretraining_tp": 1, "rms_norm_eps": 1e-05, "rope_scaling": null,
            "rope_theta": 10000.0, "tie_word_embeddings": true, "torch_dtype": "float16",
            "transformers_version": "4.39.0.dev0", "use_cache": true, "weight_bits": 1"#,
        ),
        (
            "Falcon-E",
            r#""architectures": ["LlamaForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
            "bos_token_id": 11, "eos_token_id": 11, "head_dim": 128, "hidden_act": "silu",
            "initializer_range": 0.02, "max_position_embeddings": 32768, "mlp_bias": false, "model_type": "llama",
            "pretraining_tp": 1, "quantization_config": {"linear_class": "autobitlinear",
            "modules_to_not_convert": ["lm_head"], "quant_method": "bitnet", "quantization_mode": "offline",
            "rms_norm_eps": 1e-06, "use_rms_norm": false}, "rms_norm_eps": 1e-05, "rope_scaling": null,
            "rope_theta": 1000042, "tie_word_embeddings": false, "torch_dtype": "bfloat16",
            "transformers_version": "4.51.3", "use_cache": true"#,
        ),
    ] {
        let meta = crate::container::config(&alloc::format!("{{{dimensions}, {keys}}}")).unwrap();
        let result = spec(Container::Safetensors, &meta, &KnownTensors::new(), &[]);
        assert!(result.is_ok(), "{name}: {}", result.unwrap_err());
    }
}

/// The metadata of published GGUF files; tokenizer and `general` keys as they occur.
#[test]
fn published_gguf_metadata_is_understood() {
    let int = Value::Int;
    let text = |s: &str| Value::Str(s.into());
    let base = |arch: &str| -> alloc::vec::Vec<(String, Value)> {
        let own = [
            ("vocab_size", int(100)),
            ("context_length", int(4096)),
            ("embedding_length", int(64)),
            ("block_count", int(2)),
            ("feed_forward_length", int(96)),
            ("rope.dimension_count", int(16)),
            ("attention.head_count", int(4)),
            ("attention.head_count_kv", int(2)),
            ("attention.layer_norm_rms_epsilon", Value::Float(1e-5)),
            ("rope.freq_base", Value::Float(500_000.0)),
        ];
        let general = [
            ("general.architecture", text(arch)),
            ("general.name", text("bitnet2b")),
            ("general.file_type", int(40)),
            ("general.quantization_version", int(2)),
            ("general.base_model.count", int(1)),
            ("general.tags", Value::Strs(["text-generation".into()].into())),
            ("tokenizer.ggml.model", text("gpt2")),
            ("tokenizer.ggml.add_bos_token", Value::Bool(true)),
            ("quantize.imatrix.file", text("imatrix.dat")),
            ("quantize.imatrix.entries_count", int(210)),
            ("mradermacher.quantize_version", int(2)),
        ];
        let own = own.map(|(key, value)| (alloc::format!("{arch}.{key}"), value));
        own.into_iter().chain(general.map(|(key, value)| (key.into(), value))).collect()
    };
    for (arch, more) in [
        ("bitnet-b1.58", &[][..]),
        ("bitnet-25", &[]),
        ("bitnet", &[("rope.scaling.type", text("linear")), ("rope.scaling.factor", Value::Float(1.0))]),
        ("llama", &[("attention.key_length", int(16)), ("attention.value_length", int(16))]),
        ("llama", &[("rope.scaling.finetuned", Value::Bool(true)), ("expert_count", int(0))]),
        ("qwen2", &[]),
        ("qwen3", &[("attention.key_length", int(16)), ("pooling_type", int(3))]),
        ("gemma3", &[("attention.sliding_window", int(512)), ("attention.key_length", int(16))]),
    ] {
        let mut meta: Meta = base(arch).into_iter().collect();
        meta.0.extend(more.iter().map(|(key, value)| (alloc::format!("{arch}.{key}"), value.clone())));
        let result = spec(Container::Gguf, &meta, &KnownTensors::new(), &[]);
        assert!(result.is_ok(), "{arch}: {}", result.unwrap_err());
    }
}

/// What TorchScale computes is read from its keys, or refused by the key's name.
#[test]
fn torchscale_says_which_key_it_does_not_know() {
    let spec_of = |model_type: &str, more: &str| {
        let own = match model_type {
            "torchscale_retnet" => r#""decoder_retention_heads": 2, "decoder_value_embed_dim": 128"#,
            _ => r#""decoder_attention_heads": 2, "max_target_positions": 64"#,
        };
        let json = alloc::format!(
            r#"{{"model_type": "{model_type}", "decoder_embed_dim": 64, "decoder_layers": 2, {own},
                "decoder_ffn_embed_dim": 64, "vocab_size": 100, "subln": true {more}}}"#
        );
        let meta = crate::container::config(&json)?;
        Ok::<_, crate::Error>(spec(Container::Safetensors, &meta, &KnownTensors::new(), &[])?.0)
    };
    let experts = r#", "moe_freq": 2, "moe_expert_count": 4, "moe_eval_capacity_token_fraction": 1.0"#;
    for (key, more) in [
        (
            "moe_eval_capacity_token_fraction",
            r#", "moe_freq": 2, "moe_expert_count": 4, "moe_top1_expert": true"#,
        ),
        ("moe_second_expert_policy", experts),
        ("moe_second_expert_policy", &alloc::format!(r#"{experts}, "moe_second_expert_policy": "sampling""#)),
        ("activation", r#", "activation_fn": "tanh""#),
        ("vocab_parallel", r#", "vocab_parallel": 3"#),
    ] {
        let error = spec_of("torchscale_decoder", more).expect_err(more);
        assert!(error.kind == crate::ErrorKind::UnsupportedArch && error.detail.contains(key), "{error}");
    }
    for count in [0, 1, 5000] {
        let more = alloc::format!(
            r#", "moe_freq": 2, "moe_expert_count": {count}, "moe_eval_capacity_token_fraction": 1.0,
            "moe_second_expert_policy": "all""#
        );
        assert_eq!(spec_of("torchscale_decoder", &more).unwrap_err().kind, crate::ErrorKind::TooLarge);
    }
    let spec =
        spec_of("torchscale_decoder", &alloc::format!(r#"{experts}, "moe_top1_expert": true"#)).unwrap();
    let active = spec.blocks.iter().map(|block| block.ffn.body.experts().map(|experts| experts.active));
    assert_eq!(active.collect::<Vec<_>>(), [None, Some(1)]);
    // No reference is known of experts or learned positions in a RetNet.
    for (key, more) in [
        ("moe_freq", r#", "moe_freq": 2, "moe_expert_count": 4"#),
        ("learned_positions", r#", "learned_positions": true"#),
        ("rel_pos_buckets", r#", "rel_pos_buckets": 32"#),
    ] {
        let error = spec_of("torchscale_retnet", more).expect_err(more);
        assert!(error.kind == crate::ErrorKind::UnsupportedArch && error.detail.contains(key), "{error}");
    }
    for (more, kind) in [
        (r#", "decoder_retention_heads": 3"#, crate::ErrorKind::Shape),
        (r#", "decoder_retention_heads": 64"#, crate::ErrorKind::Shape),
        (r#", "decoder_value_embed_dim": 127"#, crate::ErrorKind::Shape),
        (r#", "decoder_value_embed_dim": 1000000"#, crate::ErrorKind::TooLarge),
        (r#", "decoder_value_embed_dim": 0"#, crate::ErrorKind::TooLarge),
    ] {
        assert_eq!(spec_of("torchscale_retnet", more).expect_err(more).kind, kind, "{more}");
    }
    for more in [
        r#", "rel_pos_buckets": 3, "max_rel_pos": 128"#,
        r#", "rel_pos_buckets": 32, "max_rel_pos": 8"#,
        r#", "rel_pos_buckets": 32, "max_rel_pos": 100000000"#,
    ] {
        assert_eq!(spec_of("torchscale_decoder", more).unwrap_err().kind, crate::ErrorKind::TooLarge);
    }
    let base = spec_of("torchscale_decoder", r#", "xpos_rel_pos": true, "xpos_scale_base": 1"#).unwrap_err();
    assert!(base.kind == crate::ErrorKind::BadHeader && base.detail.contains("xpos_scale_base"), "{base}");
    assert!(spec_of("torchscale_retnet", "").unwrap().retention().is_some());
}
