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
    assert!(error.detail.len() < 300 && error.detail.contains("qwen3"), "{error}");
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
