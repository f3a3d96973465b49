//! Logits of further model families against their reference implementations, on every instruction set.
//!
//! `data/oracle2/README.md` says what each folder exercises, where its logits come from, and how wrong looks.

use std::collections::BTreeMap;

use safetensors::SafeTensors;
use ternlight_core::{
    kernel,
    load::LoadOptions,
    model::{Decoder, Want},
    simd::Isa,
};
use ternlight_tests::{
    Tolerance, argmax, bytes, decoder_with_context, difference, floats, load_folder, load_folder_with,
    nudge_norms, tokens,
};

/// The default run of a folder.
fn check(folder: &str) {
    check_run(folder, "", &[]);
}

/// A run of a folder (its name, with a dot), with so many experts.
fn check_run(folder: &str, run: &str, experts: &[usize]) {
    let reference = bytes(&format!("oracle2/{folder}/reference.safetensors"));
    let reference = SafeTensors::deserialize(&reference).expect("a safetensors file");
    let tolerance = Tolerance::of(folder);
    let mut scalar = BTreeMap::new();
    for isa in kernel::isas().map(Isa::name) {
        for seq in ["seq_a", "seq_b", "seq_c"] {
            let ids = tokens(&reference, &format!("tokens.{seq}"));
            let want = floats(&reference, &format!("logits.{seq}{run}.f32"));
            let options = LoadOptions { kernel: isa.into(), exact_inputs: true, ..LoadOptions::default() };
            let model =
                load_folder_with(&format!("oracle2/{folder}"), options, 1 << 16).expect("a valid model");
            let vocab = model.spec.vocab;
            let mut decoder = decoder_with_context(model, 64, ids.len());
            decoder.set_experts(experts).expect("experts");
            let got = decoder.forward(&ids, Want::All).expect("logits");
            let (median, max) = difference(got, &want);
            println!("{folder}{run} {seq} on {isa}: median {median:.1e}, max {max:.1e}");
            assert!(median <= tolerance.median, "{folder} {seq} on {isa}: median |Δ| {median:e}");
            // A position that is further off must come from a code at a rounding tie: then a nudge of the norms' ε by about
            // an ulp gives the reference's side.
            let off =
                |got: &[f32], t: usize| difference(&got[t * vocab..][..vocab], &want[t * vocab..][..vocab]).1;
            for t in (0..ids.len()).filter(|&t| off(got, t) > tolerance.max) {
                assert!(!run.is_empty(), "{folder} {seq} on {isa}, position {t}: {:e}", off(got, t));
                let nudged = [0.6, 0.7, 0.8, 0.9, 1.1, 1.2, 1.3, 1.4].map(|factor| {
                    let options =
                        LoadOptions { kernel: isa.into(), exact_inputs: true, ..LoadOptions::default() };
                    let model = load_folder_with(&format!("oracle2/{folder}"), options, 1 << 16);
                    let mut model = model.expect("a valid model");
                    nudge_norms(&mut model.spec, factor);
                    let mut decoder = decoder_with_context(model, 64, ids.len());
                    decoder.set_experts(experts).expect("experts");
                    off(decoder.forward(&ids, Want::All).expect("logits"), t)
                });
                let best = nudged.into_iter().fold(f32::INFINITY, f32::min);
                println!(
                    "{folder}{run} {seq}: position {t} is off by {:.1e}; nudged: {best:.1e}",
                    off(got, t)
                );
                assert!(
                    best <= tolerance.max,
                    "{folder}{run} {seq}, position {t}: no tie explains {:e}",
                    off(got, t)
                );
            }
            for (t, (got, want)) in got.chunks(vocab).zip(want.chunks(vocab)).enumerate() {
                assert_eq!(argmax(got), argmax(want), "{folder} {seq} on {isa}, position {t}");
            }
            check_bits(&mut decoder, &ids, isa, &mut scalar, seq);
        }
    }
}

/// The same bits on every instruction set, one by one and cut in pieces.
fn check_bits(
    decoder: &mut Decoder,
    ids: &[u32],
    isa: &str,
    scalar: &mut BTreeMap<String, Vec<f32>>,
    seq: &str,
) {
    for cut in [usize::MAX, 1, 3] {
        decoder.rewind(0);
        let mut got = Vec::new();
        for piece in ids.chunks(cut.min(ids.len())) {
            got.extend_from_slice(decoder.forward(piece, Want::All).expect("logits"));
        }
        let want = scalar.entry(seq.to_owned()).or_insert_with(|| got.clone());
        assert!(got == *want, "{seq} on {isa} in pieces of {cut}: other bits");
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

folders!(
    gpt_oss_mxfp4,
    growth_base,
    growth_both,
    growth_depth,
    growth_width,
    moe_bitnet,
    moe_mixtral,
    moe_olmoe,
    moe_qwen2_shared,
    moe_qwen3_norm,
    moe_qwen3_nonorm,
    moe_sigma,
);

/// Other numbers of active experts, as in Matryoshka MoE.
#[test]
fn elastic_experts() {
    for (folder, list) in [("moe_bitnet", &[3, 1, 2][..]), ("moe_sigma", &[1, 3, 2, 1])] {
        check_run(folder, ".k1", &[1]);
        check_run(folder, ".k2", &[2]);
        check_run(folder, ".kfull", &[8]);
        check_run(folder, ".klist", list);
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
