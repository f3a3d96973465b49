//! The real chat model, SmolLM2-135M-Instruct (Q4_1, fetched by `./build.sh model`): prompts must become the
//! tokens that llama.cpp made of them (`data/smollm2_greedy.json`).
//!
//! Where `TERNLIGHT_WITHOUT_SMOLLM2` says that it cannot be had, these tests say so and check nothing.

use serde_json::Value;
use ternlight_core::container::{self, Meta, Probe};
use ternlight_engine::{
    ChatOptions, Engine, EngineOptions, FinishReason, GenerateOptions, Message, Prompt, Step, text::Tokenizer,
};
use ternlight_tests::{bytes, smollm2, smollm2_path};

fn json(path: &str) -> Value {
    serde_json::from_slice(&bytes(path)).unwrap()
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

fn meta(file: &[u8]) -> Meta {
    match container::probe(file).unwrap() {
        Probe::Ready(index) => index.meta,
        Probe::Need(n) => panic!("{n} bytes wanted"),
    }
}

#[test]
fn prompts_become_the_tokens_of_llama_cpp() {
    let Some(file) = smollm2() else { return };
    let tokenizer = Tokenizer::from_meta(&meta(&file)).unwrap();
    let greedy = json("smollm2_greedy.json");
    let results = greedy["results"].as_array().unwrap();
    assert_eq!(results.len(), 3);
    for result in results {
        let prompt = result["prompt"].as_str().unwrap();
        assert_eq!(
            tokenizer.encode_input(prompt, true).unwrap(),
            ids(&result["prompt_ids"]),
            "{}",
            result["name"]
        );
    }
    let cases = json("tokenizers/smollm2/cases.json");
    let cases = cases["cases"].as_array().unwrap();
    assert!(cases.len() > 45, "{}", cases.len());
    for case in cases {
        let text = case["text"].as_str().unwrap();
        assert_eq!(tokenizer.encode(text, true).unwrap(), ids(&case["ids"]), "{text:?}");
        assert_eq!(tokenizer.decode(&ids(&case["ids"])), text);
    }
}

#[test]
fn the_engine_chats() {
    let Some(path) = smollm2_path() else { return };
    let mut last = (0, 1);
    let mut progress = |done, total| {
        assert!(done > last.0 && done <= total);
        last = (done, total);
    };
    let engine = Engine::open(&path, &EngineOptions::default(), &mut progress).unwrap();
    assert_eq!(last.0, last.1);
    let info = engine.info();
    assert_eq!((info.arch.as_str(), info.vocab, info.layers, info.chat), ("llama", 49_152, 30, true));

    let greedy = json("smollm2_greedy.json");
    let gravity = &greedy["results"][0];
    let messages = vec![Message::new("user", "What is gravity?")];
    let tokens = engine.chat_tokens(&messages, &ChatOptions::default()).unwrap();
    assert_eq!(tokens, ids(&gravity["prompt_ids"]), "the model's own template adds its system prompt");

    let mut session = engine.session().unwrap();
    let options = GenerateOptions { max_tokens: 8, ..GenerateOptions::greedy() };
    let mut answer = |messages: Vec<Message>| {
        session.start(&Prompt::Chat(messages, ChatOptions::default()), &options).unwrap();
        let mut text = String::new();
        loop {
            match session.next().unwrap() {
                Step::Prefill { .. } => {}
                Step::Piece(piece) => text += &piece.text,
                Step::Done(summary) => return (text, summary),
            }
        }
    };
    let (text, summary) = answer(messages.clone());
    assert_eq!(summary.finish_reason, FinishReason::Length);
    let want = engine.detokenize(&ids(&gravity["hf_f32_dequant_output_ids"])[..8]).unwrap();
    assert_eq!(text, want, "the first tokens are far from any tie");

    // The second turn computes the end of the first answer and what is new.
    let mut longer = messages;
    longer.extend([Message::new("assistant", &text), Message::new("user", "And light?")]);
    let (_, second) = answer(longer);
    assert!(second.cached_tokens >= summary.prompt_tokens, "{second:?}");
    assert!(second.timings.prefill_tokens < 30, "{second:?}");
}
