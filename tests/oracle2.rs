//! Logits of further model families against their reference implementations, on every instruction set.
//!
//! `data/oracle2/README.md` says what each folder exercises, where its logits come from, and how wrong looks.

use safetensors::SafeTensors;
use serde_json::Value;
use ternlight_core::{kernel, model::Want, simd::Isa};
use ternlight_tests::{argmax, bytes, decoder_with_context, difference, floats, load_folder, tokens};

/// Greatest differences that are allowed in a folder, by the rule of its README.
struct Tolerance {
    median: f32,
    max: f32,
}

impl Tolerance {
    fn of(folder: &str) -> Self {
        let manifest: Value = serde_json::from_slice(&bytes("oracle2/manifest.json")).expect("JSON");
        let number = |key: &str| manifest[folder][key].as_f64().unwrap_or(0.0) as f32;
        let looser = if folder == "deepnet1000" { 10.0 } else { 1.0 };
        let median = 1e-5 * (number("max_logit") / 10.0).max(1.0) * looser;
        Self { median, max: (20.0 * number("f64_max")).max(1e-4) * looser }
    }
}

/// The default run of a folder.
fn check(folder: &str) {
    let reference = bytes(&format!("oracle2/{folder}/reference.safetensors"));
    let reference = SafeTensors::deserialize(&reference).expect("a safetensors file");
    let tolerance = Tolerance::of(folder);
    for isa in kernel::isas().map(Isa::name) {
        for seq in ["seq_a", "seq_b", "seq_c"] {
            let ids = tokens(&reference, &format!("tokens.{seq}"));
            let want = floats(&reference, &format!("logits.{seq}.f32"));
            let model = load_folder(&format!("oracle2/{folder}"), isa, 1 << 16).expect("a valid model");
            let vocab = model.spec.vocab;
            let mut decoder = decoder_with_context(model, 64, ids.len());
            let got = decoder.forward(&ids, Want::All).expect("logits");
            let (median, max) = difference(got, &want);
            println!("{folder} {seq} on {isa}: median {median:.1e}, max {max:.1e}");
            assert!(median <= tolerance.median, "{folder} {seq} on {isa}: median |Δ| {median:e}");
            assert!(max <= tolerance.max, "{folder} {seq} on {isa}: max |Δ| {max:e}");
            for (t, (got, want)) in got.chunks(vocab).zip(want.chunks(vocab)).enumerate() {
                assert_eq!(argmax(got), argmax(want), "{folder} {seq} on {isa}, position {t}");
            }
        }
    }
}

/// Prompts in one go, token by token and in uneven pieces, on every instruction set: the same bits.
fn check_bits(folder: &str) {
    let reference = bytes(&format!("oracle2/{folder}/reference.safetensors"));
    let reference = SafeTensors::deserialize(&reference).expect("a safetensors file");
    let ids = tokens(&reference, "tokens.seq_b");
    let run = |isa: Isa, cut: usize| {
        let model = load_folder(&format!("oracle2/{folder}"), isa.name(), 1 << 16).expect("a valid model");
        let mut decoder = decoder_with_context(model, 64, ids.len());
        let mut bits = Vec::new();
        for part in ids.chunks(cut) {
            bits.extend(decoder.forward(part, Want::All).expect("logits").iter().map(|x| x.to_bits()));
        }
        bits
    };
    let want = run(Isa::SCALAR, ids.len());
    for isa in kernel::isas() {
        for cut in [1, 7, ids.len()] {
            assert!(run(isa, cut) == want, "{folder} on {isa:?} in pieces of {cut}");
        }
    }
}

macro_rules! folders {
    ($($folder:ident),* $(,)?) => {$(
        #[test]
        fn $folder() {
            check(stringify!($folder));
        }
    )*};
}

folders!(
    deepnet,
    deepnet1000,
    falcon3_llama,
    gemma3_text,
    granite,
    llama_variant,
    magneto,
    phi3,
    phi3_longrope,
    smollm3,
    torchscale_xpos,
);

#[test]
fn families_give_the_same_bits_however_they_are_computed() {
    for folder in ["deepnet", "magneto", "torchscale_xpos"] {
        check_bits(folder);
    }
}

#[test]
fn embed_gemma3() {
    let reference = bytes("oracle2/embed_gemma3/reference.safetensors");
    let reference = SafeTensors::deserialize(&reference).expect("a safetensors file");
    for isa in kernel::isas().map(Isa::name) {
        for seq in ["seq_a", "seq_b", "seq_c"] {
            let ids = tokens(&reference, &format!("tokens.{seq}"));
            let want = floats(&reference, &format!("last_hidden.{seq}"));
            let model = load_folder("oracle2/embed_gemma3", isa, 1 << 16).expect("a valid model");
            let mut decoder = decoder_with_context(model, 64, ids.len());
            let got = decoder.hidden(&ids).expect("states").to_vec();
            let (median, max) = difference(&got, &want);
            println!("embed_gemma3 {seq} on {isa}: median {median:.1e}, max {max:.1e}");
            assert!(median <= 1e-5 && max <= Tolerance::of("embed_gemma3").max, "{median:e} {max:e}");
            let last = &got[got.len() - want.len() / ids.len()..];
            let norm = last.iter().map(|x| x * x).sum::<f32>().sqrt();
            let pooled: Vec<f32> = last.iter().map(|x| x / norm).collect();
            let (_, max) = difference(&pooled, &floats(&reference, &format!("embedding.{seq}")));
            assert!(max <= 1e-5, "{seq}: pooled {max:e}");
        }
    }
}
