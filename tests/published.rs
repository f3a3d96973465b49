//! Tiny twins of published files (GGUF, with the keys, tensors and encodings of the real ones) against reference logits
//! that were checked against llama.cpp. `data/published/` holds them; see its README.

use safetensors::SafeTensors;
use ternlight_core::{
    Result, kernel,
    load::{LoadOptions, Loader},
    model::{Model, Want},
    simd::Isa,
};
use ternlight_tests::{Tolerance, argmax, bytes, decoder_with_context, difference, floats, push, tokens};

fn load(folder: &str, isa: &str) -> Result<Model> {
    let mut loader = Loader::new(LoadOptions { kernel: isa.into(), ..LoadOptions::default() });
    push(&mut loader, "model.gguf", &bytes(&format!("published/{folder}/model.gguf")), 10_000)?;
    loader.finish()
}

/// Logits: the same argmax everywhere (the smallest gap is 0.04), and near the reference, whose inputs are floats.
fn check(folder: &str) {
    let reference = bytes(&format!("published/{folder}/reference.safetensors"));
    let reference = SafeTensors::deserialize(&reference).expect("a safetensors file");
    for seq in ["seq_a", "seq_b", "seq_c"] {
        let ids = tokens(&reference, &format!("tokens.{seq}"));
        let want = floats(&reference, &format!("logits.{seq}.f32"));
        let mut scalar: Vec<f32> = Vec::new();
        for isa in kernel::isas().map(Isa::name) {
            let model = load(folder, isa).unwrap_or_else(|e| panic!("{folder}: {e}"));
            let vocab = model.spec.vocab;
            let mut decoder = decoder_with_context(model, 64, 0);
            let got = decoder.forward(&ids, Want::All).expect("logits");
            let (median, max) = difference(got, &want);
            println!("{folder} {seq} on {isa}: median {median:.1e}, max {max:.1e}");
            assert!(median <= Tolerance::PUBLISHED.median, "{folder} {seq} on {isa}: median |Δ| {median:e}");
            assert!(max <= Tolerance::PUBLISHED.max, "{folder} {seq} on {isa}: max |Δ| {max:e}");
            for (t, (got, want)) in got.chunks(vocab).zip(want.chunks(vocab)).enumerate() {
                assert_eq!(argmax(got), argmax(want), "{folder} {seq} on {isa}, position {t}");
            }
            if scalar.is_empty() {
                scalar = got.to_vec();
            }
            assert!(got == scalar, "{folder} {seq} on {isa}: other bits");
        }
    }
}

#[test]
fn maple_with_experts_in_tq2_0() {
    check("maple");
}

#[test]
fn bitcpm_as_minicpm() {
    check("minicpm");
}

#[test]
fn hy_mt_as_hunyuan_dense_with_stq1_0() {
    check("hunyuan_stq1");
}

#[test]
fn rotated_weights_in_pq2_0() {
    check("hadamard_pq2");
}

#[test]
fn rotated_weights_in_ptq1_0() {
    check("hadamard_ptq1");
}

/// Last hidden state and its pooled, normalised forms.
fn check_embedding(folder: &str) {
    let reference = bytes(&format!("published/{folder}/reference.safetensors"));
    let reference = SafeTensors::deserialize(&reference).expect("a safetensors file");
    let unit = |x: &[f32]| -> Vec<f32> {
        let norm = x.iter().map(|x| x * x).sum::<f32>().sqrt();
        x.iter().map(|x| x / norm).collect()
    };
    for isa in kernel::isas().map(Isa::name) {
        for seq in ["seq_a", "seq_b", "seq_c"] {
            let ids = tokens(&reference, &format!("tokens.{seq}"));
            let want = floats(&reference, &format!("last_hidden.{seq}"));
            let model = load(folder, isa).unwrap_or_else(|e| panic!("{folder}: {e}"));
            let hidden = model.spec.hidden;
            let mut decoder = decoder_with_context(model, 64, 0);
            let got = decoder.hidden(&ids).expect("states").to_vec();
            let (median, max) = difference(&got, &want);
            println!("{folder} {seq} on {isa}: median {median:.1e}, max {max:.1e}");
            assert!(median <= 1e-5 && max <= 1e-3, "{folder} {seq} on {isa}: {median:e} {max:e}");
            let last = unit(&got[got.len() - hidden..]);
            let mut mean = vec![0.0; hidden];
            got.chunks(hidden).for_each(|row| mean.iter_mut().zip(row).for_each(|(m, x)| *m += x));
            for (got, name) in [(last, "embedding"), (unit(&mean), "embedding_mean")] {
                let (_, max) = difference(&got, &floats(&reference, &format!("{name}.{seq}")));
                assert!(max <= 1e-4, "{folder} {seq}: {name} {max:e}");
            }
        }
    }
}

#[test]
fn bitnet_embedding_on_gemma3() {
    check_embedding("embed_gemma3_i2s");
}

#[test]
fn bitnet_embedding_on_qwen3() {
    check_embedding("embed_qwen3_i2s");
}
