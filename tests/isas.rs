//! Whole forward passes, prompt and decode, on every instruction set level of this machine: the bits of the
//! portable reference, for every cache type and head.

use std::sync::Arc;

use ternlight_core::{
    cache::KvType,
    kernel,
    load::{HeadPrecision, LoadOptions},
    model::{Decoder, DecoderOptions, Want},
    pool::Serial,
    sample::{SampleOptions, Sampler},
    simd::Isa,
};
use ternlight_tests::load_folder_with;

/// More than one page of the cache, and no whole number of blocks.
const PROMPT: usize = 275;
const DECODED: usize = 6;

/// Every number that a run computes, as bits.
fn run(folder: &str, isa: Isa, kv: KvType, head: HeadPrecision) -> Vec<u32> {
    let options = LoadOptions { kernel: isa.name().into(), head, ..LoadOptions::default() };
    let model = load_folder_with(folder, options, 1 << 16).expect("a valid model");
    assert_eq!(model.isa, isa);
    if isa == Isa::SCALAR {
        let foreign = model.tensors.iter().find(|tensor| !tensor.kernel.ends_with("/scalar"));
        assert_eq!(foreign, None, "scalar means scalar");
    }
    let vocab = model.spec.vocab as u32;
    let options = DecoderOptions { kv, block: 64, context: 600 };
    let mut decoder = Decoder::new(Arc::new(model), options, Arc::new(Serial)).expect("memory");
    let sample = SampleOptions { top_p: 0.9, min_p: 0.01, typical_p: 0.95, seed: 3, ..Default::default() };
    let mut sampler = Sampler::new(sample, isa).expect("good options");
    let mut tokens: Vec<u32> = (0..PROMPT as u32).map(|i| (i * 7919 + 1) % vocab).collect();
    let mut bits = Vec::new();
    let all = decoder.forward(&tokens[..40], Want::All).expect("logits");
    bits.extend(all.iter().map(|logit| logit.to_bits()));
    let mut logits = decoder.forward(&tokens[40..], Want::Last).expect("logits").to_vec();
    for _ in 0..DECODED {
        bits.extend(logits.iter().map(|logit| logit.to_bits()));
        let sampled = sampler.sample(&mut logits, &tokens, 3).expect("finite logits");
        bits.extend([sampled.token, sampled.logprob.to_bits()]);
        tokens.push(sampled.token);
        logits = decoder.forward(&[sampled.token], Want::Last).expect("logits").to_vec();
    }
    decoder.rewind(100);
    bits.extend(decoder.hidden(&tokens[..33]).expect("states").iter().map(|x| x.to_bits()));
    bits
}

fn check(folder: &str) {
    for kv in KvType::ALL {
        for head in [HeadPrecision::Native, HeadPrecision::Int8, HeadPrecision::Exact] {
            let want = run(folder, Isa::SCALAR, kv, head);
            for isa in kernel::isas().filter(|isa| *isa != Isa::SCALAR) {
                assert!(run(folder, isa, kv, head) == want, "{folder} on {isa:?}, {kv:?}, {head:?}");
            }
        }
    }
}

#[test]
fn bitnet() {
    check("oracle/tiny_a_packed");
}

#[test]
fn llama() {
    check("oracle/tiny_c_llama_bitlinear");
}

#[test]
fn qwen3() {
    check("oracle/tiny_d_embed_qwen3");
}
