//! Golden tokens: greedy ids and the bits of the last logits, the same for every kernel and thread count.
//!
//! `data/golden.json` is read by these tests and by the browser's, so a tab must give the same. To write it
//! anew (only when the specification of the arithmetic changes):
//! `cargo test -p ternlight-tests --test golden -- --ignored`.

use std::{fs, sync::Arc};

use serde::{Deserialize, Serialize};
use ternlight_core::{
    cache::KvType,
    kernel,
    load::{HeadPrecision, LoadOptions, Loader},
    model::{Decoder, DecoderOptions, Model, Want},
    pool::{Pool, Serial},
    sample::{SampleOptions, Sampler},
    simd::Isa,
};
use ternlight_engine::Threads;
use ternlight_tests::{SMOLLM2, TERN, bytes, data, load_folder_with, push, smollm2};

/// What one model must continue a prompt with.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Golden {
    /// A folder of the test data, or a file that `./build.sh model` fetches.
    model: String,
    /// With int8 head and cache, instead of what is in the file and f16.
    compact: bool,
    prompt: Vec<u32>,
    tokens: Vec<u32>,
    /// ln p of each, to the last bit; it depends on all logits, and engines tell it that show none of them.
    logprobs: Vec<f32>,
    /// FNV-1a (64 bits, hexadecimal) over the little-endian f32 logits after the last of `tokens`.
    logits_fnv1a: String,
}

/// FNV-1a, Fowler, Noll & Vo.
fn fnv1a(logits: &[f32]) -> String {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let hash = logits.iter().flat_map(|x| x.to_le_bytes()).fold(0xcbf2_9ce4_8422_2325, step);
    format!("{hash:016x}")
}

fn load(model: &str, compact: bool, isa: &str) -> Model {
    let options = LoadOptions {
        kernel: isa.into(),
        head: if compact { HeadPrecision::Int8 } else { HeadPrecision::default() },
        ..LoadOptions::default()
    };
    if model.ends_with(".gguf") {
        let mut loader = Loader::new(options);
        push(&mut loader, model, &smollm2().expect("the file"), 1 << 22).expect("a valid model");
        return loader.finish().expect("a whole model");
    }
    load_folder_with(model, options, 1 << 20).expect("a valid model")
}

fn run(model: &str, compact: bool, prompt: &[u32], count: usize, isa: &str, threads: usize) -> Golden {
    let pool: Arc<dyn Pool> = if threads == 1 { Arc::new(Serial) } else { Arc::new(Threads::new(threads)) };
    let kv = if compact { KvType::I8 } else { KvType::F16 };
    let options = DecoderOptions { kv, ..DecoderOptions::default() };
    let mut decoder = Decoder::new(Arc::new(load(model, compact, isa)), options, pool).expect("memory");
    let mut logits = decoder.forward(prompt, Want::Last).expect("logits").to_vec();
    let (mut tokens, mut logprobs) = (Vec::new(), Vec::new());
    let mut sampler = Sampler::new(SampleOptions::default(), decoder.model().isa).expect("good options");
    for _ in 0..count {
        let (token, logprob) = sampler.sample(&mut logits.clone(), &[], 1).expect("finite logits").top[0];
        tokens.push(token);
        logprobs.push(logprob);
        logits = decoder.forward(&[token], Want::Last).expect("logits").to_vec();
    }
    let (model, prompt, logits_fnv1a) = (model.into(), prompt.to_vec(), fnv1a(&logits));
    Golden { model, compact, prompt, tokens, logprobs, logits_fnv1a }
}

fn golden() -> Vec<Golden> {
    serde_json::from_slice(&bytes("golden.json")).expect("golden.json")
}

#[test]
fn tiny_models_on_every_kernel_and_thread_count() {
    for want in golden().iter().filter(|golden| !golden.model.ends_with(".gguf")) {
        for isa in kernel::isas().map(Isa::name) {
            for threads in 1..=4 {
                let got = run(&want.model, want.compact, &want.prompt, want.tokens.len(), isa, threads);
                assert_eq!(&got, want, "{isa}, {threads} threads");
            }
        }
    }
}

#[test]
fn smollm2_on_every_kernel() {
    if smollm2().is_none() {
        return;
    }
    for want in golden().iter().filter(|golden| golden.model == SMOLLM2) {
        for (isa, threads) in kernel::isas().map(Isa::name).zip([1, 2, 3, 4].into_iter().cycle()) {
            let got = run(&want.model, want.compact, &want.prompt, want.tokens.len(), isa, threads);
            assert_eq!(&got, want, "{isa}, {threads} threads");
        }
    }
}

#[test]
#[ignore = "writes tests/data/golden.json"]
fn write() {
    let gravity = [
        1, 9690, 198, 2683, 359, 253, 5356, 5646, 11173, 3365, 3511, 308, 34519, 28, 7018, 411, 407, 19712,
        8182, 2, 198, 1, 4093, 198, 1780, 314, 9354, 47, 2, 198, 1, 520, 9531, 198,
    ];
    // "Tell me a story about a fox."
    let fox = [0, 4, 740, 344, 264, 429, 413, 264, 1449, 21, 6, 5];
    let all = [
        run("oracle/tiny_a_packed", false, &[1, 5, 9, 2, 400, 77], 24, "scalar", 1),
        run("oracle/tiny_c_llama_bitlinear", false, &[1, 5, 9, 2, 200, 77], 24, "scalar", 1),
        run(TERN, false, &fox, 64, "scalar", 1),
        run(TERN, true, &fox, 300, "scalar", 1),
        run("../models/tern-a48", false, &fox, 24, "scalar", 1),
        run("../models/tern-moe", false, &fox, 24, "scalar", 1),
        run("../models/tern-looped", false, &fox, 24, "scalar", 1),
        run(SMOLLM2, false, &gravity, 24, "scalar", 1),
    ];
    let json = serde_json::to_string_pretty(&all).expect("JSON");
    fs::write(data("golden.json"), json + "\n").expect("a writable folder");
}
