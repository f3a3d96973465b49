//! The same model, however its file is cut, its prompt is split, or its past is rewound.

use std::sync::Arc;

use safetensors::SafeTensors;
use ternlight_core::{
    ErrorKind,
    cache::KvType,
    model::{Decoder, DecoderOptions, EXACT, Screen, Want},
    pool::Serial,
};
use ternlight_tests::{argmax, bytes, decoder, load_folder, tokens};

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

fn prompt() -> Vec<u32> {
    let reference = bytes("oracle/tiny_a_packed/reference.safetensors");
    tokens(&SafeTensors::deserialize(&reference).expect("a safetensors file"), "tokens.seq_b")
}

#[test]
fn any_chunking_of_the_file_gives_the_same_model() {
    let ids = prompt();
    for folder in ["oracle/tiny_a_packed", "oracle/tiny_a_master"] {
        let logits = |chunk| {
            let mut decoder = decoder(load_folder(folder, "auto", chunk).expect("a valid model"), 64);
            bits(decoder.forward(&ids, Want::All).expect("logits"))
        };
        let whole = logits(usize::MAX);
        for chunk in [1, 7, 1000, 4096, 65_537] {
            assert_eq!(logits(chunk), whole, "{folder} in chunks of {chunk}");
        }
    }
}

#[test]
fn any_block_size_and_any_split_of_the_prompt_give_the_same_logits() {
    let ids = prompt();
    let run = |block, split: usize| {
        let mut decoder =
            decoder(load_folder("oracle/tiny_a_packed", "auto", 1 << 20).expect("a valid model"), block);
        let mut out = bits(decoder.forward(&ids[..split], Want::All).expect("logits"));
        out.extend(bits(decoder.forward(&ids[split..], Want::All).expect("logits")));
        out
    };
    let whole = run(64, ids.len());
    for (block, split) in [(1, 0), (2, 5), (3, 1), (7, 20), (64, 23)] {
        assert_eq!(run(block, split), whole, "blocks of {block}, split at {split}");
    }
}

#[test]
fn pages_of_the_cache_fold_the_same_way_for_a_prompt_and_token_by_token() {
    let ids: Vec<u32> = (0..530).map(|i| (i * i + 3 * i) % 512).collect();
    for kv in KvType::ALL {
        let run = |block| {
            let model = load_folder("oracle/tiny_a_packed", "auto", 1 << 20).expect("a valid model");
            let options = DecoderOptions { context: 600, kv, block };
            let mut decoder = Decoder::new(Arc::new(model), options, Arc::new(Serial)).expect("memory");
            bits(decoder.forward(&ids, Want::All).expect("logits"))
        };
        let whole = run(64);
        for block in [1, 100, 530] {
            assert!(run(block) == whole, "{kv:?} in blocks of {block}");
        }
    }
}

#[test]
fn rewinding_forgets_completely() {
    let ids = prompt();
    let mut decoder =
        decoder(load_folder("oracle/tiny_a_packed", "auto", 1 << 20).expect("a valid model"), 64);
    let want = bits(decoder.forward(&ids, Want::Last).expect("logits"));
    decoder.rewind(4);
    decoder.forward(&[9, 8, 7], Want::Last).expect("logits");
    decoder.rewind(4);
    assert_eq!(decoder.position(), 4);
    assert_eq!(bits(decoder.forward(&ids[4..], Want::Last).expect("logits")), want);
}

#[test]
fn a_cut_file_is_truncated_wherever_it_is_cut() {
    let path = "oracle/tiny_a_packed";
    let config = String::from_utf8(bytes(&format!("{path}/config.json"))).expect("UTF-8");
    let whole = bytes(&format!("{path}/model.safetensors"));
    for cut in [0, 1, 7, 8, 9, 500, whole.len() / 2, whole.len() - 1] {
        for known in [true, false] {
            let mut loader = ternlight_core::load::Loader::new(Default::default());
            loader.config(&config).expect("a valid config");
            let len = known.then_some(cut as u64);
            let result = loader
                .begin_file("model.safetensors", len)
                .and_then(|()| loader.push(&whole[..cut]))
                .and_then(|()| loader.end_file());
            assert_eq!(
                result.expect_err("a cut file").kind,
                ErrorKind::Truncated,
                "cut at {cut}, length known: {known}"
            );
        }
    }
}

#[test]
fn tokens_outside_the_vocabulary_and_beyond_the_context_are_errors() {
    let mut decoder =
        decoder(load_folder("oracle/tiny_a_packed", "auto", 1 << 20).expect("a valid model"), 64);
    assert_eq!(decoder.forward(&[512], Want::Last).expect_err("no such token").kind, ErrorKind::BadOption);
    let long = vec![1; 257];
    assert_eq!(decoder.forward(&long, Want::Last).expect_err("too long").kind, ErrorKind::ContextFull);
    assert_eq!(decoder.position(), 0, "nothing was computed");
}

#[test]
fn a_screened_head_gives_the_same_best_logits() {
    let load = || load_folder("oracle/tiny_a_packed", "auto", 1 << 20).expect("a valid model");
    let mut screened = load();
    screened.screen = Some(Screen::new(screened.head(), screened.isa).expect("memory"));
    let (mut alone, mut screened) = (decoder(load(), 64), decoder(screened, 64));
    let mut token = 1;
    for _ in 0..24 {
        let want = alone.forward(&[token], Want::Last).expect("logits");
        let got = screened.forward(&[token], Want::Last).expect("logits");
        let best = |logits: &[f32]| {
            let mut order: Vec<_> = logits.iter().copied().enumerate().collect();
            order.sort_by(|a, b| b.1.total_cmp(&a.1));
            order.truncate(EXACT);
            order
        };
        assert_eq!(best(got), best(want));
        token = argmax(want) as u32;
    }
}
