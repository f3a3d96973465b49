//! The trained relatives of Tern (`crates/tern`), held to a forward pass in PyTorch that shares no code with their
//! training (`crates/tern/training/reference.py`).

use safetensors::SafeTensors;
use serde::Deserialize;
use ternlight_core::{
    kernel,
    load::LoadOptions,
    model::{Decoder, LoopOptions, Want},
    simd::Isa,
};
use ternlight_tests::{argmax, bytes, decoder, difference, floats, load_folder, load_folder_with, tokens};

const A48: &str = "../models/tern-a48";
const MIXTURE: &str = "../models/tern-moe";
const LOOPED: &str = "../models/tern-looped";

/// A chat prompt, and how the reference goes on when it always takes the best token.
#[derive(Deserialize)]
struct Greedy {
    prompt_ids: Vec<u32>,
    greedy_ids: Vec<u32>,
}

#[test]
fn greedy_ids_are_those_of_the_reference() {
    for model in [A48, MIXTURE, LOOPED] {
        let golden: Vec<Greedy> =
            serde_json::from_slice(&bytes(&format!("{model}/golden.json"))).expect("golden.json");
        assert_eq!(golden.len(), 5, "{model}");
        for isa in kernel::isas().map(Isa::name) {
            let mut decoder = decoder(load_folder(model, isa, 1 << 20).expect("a valid model"), 64);
            for Greedy { prompt_ids, greedy_ids } in &golden {
                decoder.rewind(0);
                let mut logits = decoder.forward(prompt_ids, Want::Last).expect("logits").to_vec();
                for (i, &want) in greedy_ids.iter().enumerate() {
                    assert_eq!(argmax(&logits) as u32, want, "{model} on {isa}, token {i}");
                    logits = decoder.forward(&[want], Want::Last).expect("logits").to_vec();
                }
            }
        }
    }
}

/// Held-out text on which the reference in f32 and in f64 agree, so that no code lies at a rounding tie.
fn check(model: &str, seq: &str, run: &str, setup: &dyn Fn(&mut Decoder)) {
    let reference = bytes(&format!("{model}/reference.safetensors"));
    let reference = SafeTensors::deserialize(&reference).expect("a safetensors file");
    let ids = tokens(&reference, &format!("tokens.{seq}"));
    let want = floats(&reference, &format!("logits.{seq}{run}"));
    for isa in kernel::isas().map(Isa::name) {
        let options = LoadOptions { kernel: isa.into(), exact_inputs: true, ..LoadOptions::default() };
        let model_ = load_folder_with(model, options, 1 << 20).expect("a valid model");
        let vocab = model_.spec.vocab;
        let mut decoder = decoder(model_, 64);
        setup(&mut decoder);
        let got = decoder.forward(&ids, Want::All).expect("logits");
        let (median, max) = difference(got, &want);
        println!("{model}{run} {seq} on {isa}: median {median:.1e}, max {max:.1e}");
        assert!(median <= 1e-5 && max <= 2e-4, "{model}{run} {seq} on {isa}: median {median:e}, max {max:e}");
        for (got, want) in got.chunks(vocab).zip(want.chunks(vocab)) {
            assert_eq!(argmax(got), argmax(want));
        }
    }
}

#[test]
fn logits_are_those_of_the_reference() {
    for model in [A48, MIXTURE, LOOPED] {
        check(model, "story", "", &|_| {});
        check(model, "chat", "", &|_| {});
    }
}

#[test]
fn logits_for_other_numbers_of_experts_and_passes() {
    for (run, k) in [(".k1", 1), (".k4", 4), (".kfull", 8)] {
        check(MIXTURE, "chat", run, &|decoder| decoder.set_experts(&[k]).expect("experts"));
    }
    let once = LoopOptions { loops: Some(1), ..LoopOptions::default() };
    check(LOOPED, "chat", ".loop1", &|decoder| decoder.set_loops(once).expect("loops"));
}
