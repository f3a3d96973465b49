//! A real model against exact f32: SmolLM2-135M-Instruct as Q4_1 (fetched by `./build.sh model`).
//!
//! `data/smollm2_greedy.json` holds, for three prompts, the greedy ids of HF transformers on the
//! dequantised weights in f32, and how far the best logit was ahead of the second at each step. Those
//! margins were taken along llama.cpp's greedy ids, so they hold only as far as both agree; beyond, the
//! gap between the two candidates in our own logits stands in for them.

use serde_json::Value;
use ternlight_core::{kernel, load::Loader, model::Want};
use ternlight_tests::{argmax, bytes, decoder, push, smollm2};

/// At least 97 % must agree, and no disagreement may have as large a margin as this: it must be a near tie.
const MARGIN: f64 = 0.3;

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().expect("ids").iter().map(|id| id.as_u64().expect("an id") as u32).collect()
}

#[test]
fn greedy_ids_agree_with_exact_f32_given_the_same_past() {
    let Some(file) = smollm2() else { return };
    let mut loader = Loader::new(Default::default());
    push(&mut loader, "model.gguf", &file, 1 << 20).expect("a valid model");
    let mut decoder = decoder(loader.finish().expect("a whole model"), 64);
    println!("kernels: {:?}", kernel::isas().collect::<Vec<_>>());
    let reference: Value = serde_json::from_slice(&bytes("smollm2_greedy.json")).expect("JSON");
    let (mut agreed, mut all) = (0, 0);
    for case in reference["results"].as_array().expect("results") {
        let name = case["name"].as_str().expect("a name");
        let prompt = ids(&case["prompt_ids"]);
        let want = ids(&case["hf_f32_dequant_output_ids"]);
        let margins = case["hf_margin_top1_top2"].as_array().expect("margins");
        let past: Vec<u32> = prompt.iter().chain(&want[..want.len() - 1]).copied().collect();
        decoder.rewind(0);
        let vocab = decoder.model().spec.vocab;
        let logits = decoder.forward(&past, Want::All).expect("logits");
        let logits = &logits[(prompt.len() - 1) * vocab..];
        let shared = case["same_prefix_hf_vs_llamacpp"].as_u64().expect("a count") as usize;
        for (i, (logits, &want)) in logits.chunks(vocab).zip(&want).enumerate() {
            let got = argmax(logits) as u32;
            all += 1;
            agreed += u32::from(got == want);
            if got != want {
                let gap = f64::from(logits[got as usize] - logits[want as usize]);
                let margin = if i <= shared { margins[i].as_f64().expect("a margin") } else { gap };
                println!("{name}, {i}: {got} is {gap:.3} ahead of {want}; margin {margin:.3}");
                assert!(margin.max(gap) < MARGIN, "{name}: {got} instead of {want} at a margin of {margin}");
            }
        }
        println!("{name}: {agreed} of {all} so far");
    }
    assert!(f64::from(agreed) >= 0.97 * f64::from(all), "{agreed} of {all} agree");
}
