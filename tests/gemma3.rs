//! The real Gemma 3 270M (Q4_K_M) against llama.cpp: prompt ids, and its greedy ids, teacher-forced.
//!
//! `./build.sh model` fetches the file; it is under Gemma's terms and never part of this repository. The reference in
//! `data/gemma3_greedy.json` was made by llama.cpp.

use std::{path::Path, sync::Arc};

use serde::Deserialize;
use ternlight_core::{
    load::{LoadOptions, Loader},
    model::{Decoder, DecoderOptions, Want},
    pool::Serial,
};
use ternlight_engine::{Engine, EngineOptions, Prompt};
use ternlight_tests::{argmax, bytes, gemma3_path, push};

#[derive(Deserialize)]
struct Reference {
    results: Vec<Greedy>,
}

#[derive(Deserialize)]
struct Greedy {
    name: String,
    prompt: String,
    prompt_ids: Vec<u32>,
    output_ids: Vec<u32>,
}

fn reference() -> Vec<Greedy> {
    let reference: Reference = serde_json::from_slice(&bytes("gemma3_greedy.json")).expect("JSON");
    reference.results
}

#[test]
fn prompt_ids_are_llama_cpps() {
    let Some(path) = gemma3_path() else { return };
    let engine = Engine::open(Path::new(&path), &EngineOptions::default(), &mut |_, _| {}).expect("a model");
    let session = engine.session().expect("a session");
    for greedy in reference() {
        let prompt = Prompt::Text { text: greedy.prompt.clone(), special: false, add_bos: true };
        assert_eq!(session.prompt_tokens(&prompt).expect("ids"), greedy.prompt_ids, "{}", greedy.name);
    }
}

/// The next token after each of llama.cpp's own, given the same text before it.
#[test]
fn greedy_ids_agree_with_llama_cpp() {
    let Some(path) = gemma3_path() else { return };
    let mut loader = Loader::new(LoadOptions::default());
    push(&mut loader, "gemma3.gguf", &std::fs::read(path).expect("a file"), 1 << 20).expect("a valid file");
    let model = Arc::new(loader.finish().expect("a model"));
    let (mut same, mut total) = (0, 0);
    for greedy in reference() {
        let options = DecoderOptions { context: 512, ..DecoderOptions::default() };
        let mut decoder = Decoder::new(model.clone(), options, Arc::new(Serial)).expect("memory");
        let vocab = model.spec.vocab;
        let ids = [greedy.prompt_ids.clone(), greedy.output_ids.clone()].concat();
        let logits = decoder.forward(&ids[..ids.len() - 1], Want::All).expect("logits");
        for (at, want) in (greedy.prompt_ids.len()..).zip(&greedy.output_ids) {
            same += usize::from(argmax(&logits[(at - 1) * vocab..][..vocab]) == *want as usize);
            total += 1;
        }
        println!("{}: {same} of {total} so far", greedy.name);
    }
    assert!(same * 100 >= total * 95, "{same} of {total} greedy ids are llama.cpp's");
}
