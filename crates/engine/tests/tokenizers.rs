//! The tokenizers against the conformance cases of llama.cpp and against Hugging Face's files.
//!
//! Data and its origin: `tests/data/tokenizers/PROVENANCE.md`.

use std::{io::Read, path::PathBuf};

use ternlight_core::container::{self, Meta, Probe, Value};
use ternlight_engine::text::{Kind, Tokenizer};

fn data(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/tokenizers").join(path)
}

fn text(path: &str) -> String {
    std::fs::read_to_string(data(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn unpacked(path: &str) -> Vec<u8> {
    let file = std::fs::File::open(data(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
    let mut out = Vec::new();
    brotli_decompressor::Decompressor::new(file, 1 << 16).read_to_end(&mut out).unwrap();
    out
}

fn meta(name: &str) -> Meta {
    match container::probe(&unpacked(&format!("ggml-vocab/ggml-vocab-{name}.gguf.br"))).unwrap() {
        Probe::Ready(index) => index.meta,
        Probe::Need(n) => panic!("{name}: {n} bytes wanted"),
    }
}

fn llama3() -> Tokenizer {
    let json = String::from_utf8(unpacked("llama3/tokenizer.json.br")).unwrap();
    Tokenizer::from_json(&json, Some(&text("llama3/tokenizer_config.json"))).unwrap()
}

/// Checks every case, with and without control tokens recognised (no case spells one), and the way back.
fn conforms(tokenizer: &Tokenizer, name: &str) {
    let inputs = text(&format!("ggml-vocab/ggml-vocab-{name}.gguf.inp"));
    let outputs = text(&format!("ggml-vocab/ggml-vocab-{name}.gguf.out"));
    let end = "\n__ggml_vocab_test__\n";
    let inputs: Vec<&str> = inputs.strip_suffix(end).unwrap_or(&inputs).split(end).collect();
    let outputs: Vec<Vec<u32>> =
        outputs.lines().map(|l| l.split_whitespace().map(|id| id.parse().unwrap()).collect()).collect();
    assert_eq!(inputs.len(), outputs.len(), "{name}: cases");
    assert!(inputs.len() > 40, "{name}: {} cases", inputs.len());
    for (input, want) in inputs.iter().zip(&outputs) {
        assert_eq!(&tokenizer.encode(input, true).unwrap(), want, "{name}: {input:?}");
        assert_eq!(&tokenizer.encode(input, false).unwrap(), want, "{name}: {input:?}");
        assert_eq!(tokenizer.decode(want), *input, "{name}: the way back");
        // One token at a time: only whole characters, and the same text.
        let (mut decoder, mut out) = (tokenizer.decoder(None), String::new());
        for &token in want {
            decoder.push(tokenizer, token, &mut out);
            assert!(input.starts_with(&out), "{name}: {input:?} streams as {out:?}");
        }
        decoder.finish(&mut out);
        assert_eq!(out, *input, "{name}: streamed");
    }
}

#[test]
fn gguf_gpt2() {
    conforms(&Tokenizer::from_meta(&meta("gpt-2")).unwrap(), "gpt-2");
}

#[test]
fn gguf_llama_bpe() {
    let tokenizer = Tokenizer::from_meta(&meta("llama-bpe")).unwrap();
    conforms(&tokenizer, "llama-bpe");
    assert_eq!(tokenizer.encode_input("a", false).unwrap(), [128_000, 64]);
    assert!(tokenizer.stops().contains(&128_009), "<|eot_id|> ends an answer");
}

/// The tokenizer keys of the published 2B4T: no `pre`, scores, and an end of text that ends no turn.
#[test]
fn gguf_of_2b4t() {
    let mut published = meta("llama-bpe");
    let len = published.opt_strs("tokenizer.ggml.tokens").unwrap().unwrap().len();
    published.0.remove("tokenizer.ggml.pre").unwrap();
    for (key, value) in [
        ("scores", Value::Floats(vec![0.0; len])),
        ("bos_token_id", Value::Int(128_000)),
        ("eos_token_id", Value::Int(128_001)),
        ("padding_token_id", Value::Int(128_001)),
        ("add_bos_token", Value::Bool(true)),
    ] {
        published.0.insert(format!("tokenizer.ggml.{key}"), value);
    }
    let tokenizer = Tokenizer::from_meta(&published).unwrap();
    conforms(&tokenizer, "llama-bpe");
    assert_eq!((tokenizer.bos(), tokenizer.eos()), (Some(128_000), Some(128_001)));
    for end in [128_001, 128_009] {
        assert!(tokenizer.stops().contains(&end), "{end} ends an answer");
    }
    assert_eq!(tokenizer.encode_input("a", false).unwrap(), [128_000, 64]);
}

#[test]
fn gguf_llama_spm() {
    let tokenizer = Tokenizer::from_meta(&meta("llama-spm")).unwrap();
    conforms(&tokenizer, "llama-spm");
    assert_eq!(tokenizer.encode_input("a", false).unwrap()[0], 1, "BOS by default");
}

#[test]
fn gguf_qwen2() {
    conforms(&Tokenizer::from_meta(&meta("qwen2")).unwrap(), "qwen2");
}

#[test]
fn json_llama3() {
    let tokenizer = llama3();
    conforms(&tokenizer, "llama-bpe");
    assert_eq!(tokenizer.bos(), Some(128_000));
    assert_eq!(tokenizer.kind(128_009), Kind::Control);
}

/// Both descriptions of the same tokenizer give the same tokens, on text that mixes everything.
#[test]
fn json_and_gguf_agree() {
    let (json, gguf) = (llama3(), Tokenizer::from_meta(&meta("llama-bpe")).unwrap());
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let alphabet: Vec<char> =
        "ab Z'sS\t\n\r 019½٣é\u{301}ñßſK日本語한🦙\u{200d}❤\u{fe0f}!?—`<|>{}#\u{a0}\u{3000}\u{0}"
            .chars()
            .collect();
    for _ in 0..400 {
        let len = 1 + state as usize % 40;
        let text: String = (0..len)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                alphabet[state as usize % alphabet.len()]
            })
            .collect();
        let tokens = json.encode(&text, false).unwrap();
        assert_eq!(gguf.encode(&text, false).unwrap(), tokens, "{text:?}");
        assert_eq!(json.decode(&tokens), text);
    }
}

#[test]
fn control_tokens_only_where_asked() {
    let tokenizer = llama3();
    let text = "a<|eot_id|>b";
    assert_eq!(tokenizer.encode(text, true).unwrap(), [64, 128_009, 65]);
    let plain = tokenizer.encode(text, false).unwrap();
    assert!(plain.iter().all(|&t| t < 128_000), "{plain:?}");
    assert_eq!(tokenizer.decode(&plain), text);
    // A whole word that is in the vocabulary is taken without merging; a control token is not a word.
    assert!(tokenizer.encode("<|begin_of_text|>", false).unwrap().len() > 1);
}

#[test]
fn bos_once() {
    let tokenizer = Tokenizer::from_meta(&meta("llama-bpe")).unwrap();
    for text in ["x", "<|begin_of_text|>x"] {
        let tokens = tokenizer.encode_input(text, true).unwrap();
        assert_eq!(tokens.iter().filter(|&&t| t == 128_000).count(), 1, "{text}");
    }
}

/// A model's answer may begin in the middle of a text or open one.
#[test]
fn sentence_piece_space_belongs_to_the_beginning_only() {
    let tokenizer = Tokenizer::from_meta(&meta("llama-spm")).unwrap();
    let tokens = tokenizer.encode("Hello", false).unwrap();
    let stream = |previous: Option<u32>| {
        let (mut decoder, mut out) = (tokenizer.decoder(previous), String::new());
        tokens.iter().for_each(|&t| decoder.push(&tokenizer, t, &mut out));
        out
    };
    assert_eq!(stream(None), "Hello");
    assert_eq!(stream(Some(1)), "Hello", "after <s>");
    assert_eq!(stream(Some(tokens[0])), " Hello", "after a word");
}

/// The small vocabulary of `wordpiece/` as a GGUF file spells it.
fn word_piece_meta(json: &serde_json::Value) -> Meta {
    let vocab = json["model"]["vocab"].as_object().unwrap();
    let mut tokens = vec![String::new(); vocab.len()];
    let mut types = vec![1; vocab.len()];
    for (token, id) in vocab {
        let id = id.as_u64().unwrap() as usize;
        let special = json["added_tokens"].as_array().unwrap().iter().any(|t| t["content"] == token.as_str());
        types[id] = if special { 3 } else { 1 };
        tokens[id] = match token.strip_prefix("##") {
            _ if special => token.clone(),
            Some(rest) => rest.to_owned(),
            None => format!("▁{token}"),
        };
    }
    [
        ("tokenizer.ggml.model", Value::Str("bert".into())),
        ("tokenizer.ggml.pre", Value::Str("jina-v2-en".into())),
        ("tokenizer.ggml.tokens", Value::Strs(tokens)),
        ("tokenizer.ggml.token_type", Value::Ints(types)),
        ("tokenizer.ggml.unknown_token_id", Value::Int(2)),
        ("tokenizer.ggml.seperator_token_id", Value::Int(4)),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}

#[test]
fn word_piece_of_both_containers_is_hugging_faces() {
    let json = text("wordpiece/tokenizer.json");
    let tree: serde_json::Value = serde_json::from_str(&json).unwrap();
    let mut cased = tree.clone();
    cased["normalizer"]["lowercase"] = false.into();
    let uncased = Tokenizer::from_json(&json, None).unwrap();
    let cased = Tokenizer::from_json(&cased.to_string(), None).unwrap();
    let gguf = Tokenizer::from_meta(&word_piece_meta(&tree)).unwrap();
    let cases: serde_json::Value = serde_json::from_str(&text("wordpiece/cases.json")).unwrap();
    let cases = cases.as_array().unwrap();
    assert!(cases.len() > 100);
    for case in cases {
        let text = case["text"].as_str().unwrap();
        let ids = |key: &str| -> Vec<u32> {
            case[key].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
        };
        for (name, tokenizer, key) in
            [("json", &uncased, "ids"), ("gguf", &gguf, "ids"), ("cased", &cased, "cased")]
        {
            assert_eq!(tokenizer.encode(text, true).unwrap(), ids(key), "{name}: {text:?}");
            let whole = tokenizer.encode_input(text, true).unwrap();
            assert_eq!((whole[0], whole[whole.len() - 1]), (3, 4), "{name}: between [CLS] and [SEP]");
        }
    }
    for tokenizer in [&uncased, &gguf] {
        let ids = tokenizer.encode("Hello walking, unaffable", false).unwrap();
        assert_eq!(tokenizer.decode(&ids), "hello walking , unaffable");
        // Not even a spelling that is in the vocabulary steers where nobody said so.
        assert!(!tokenizer.encode("[MASK]", false).unwrap().contains(&5));
    }
}

#[test]
fn a_word_piece_vocabulary_that_cannot_be_is_refused_by_name() {
    let json = text("wordpiece/tokenizer.json");
    let tree: serde_json::Value = serde_json::from_str(&json).unwrap();
    let changed = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut tree = tree.clone();
        change(&mut tree["model"]);
        Tokenizer::from_json(&tree.to_string(), None).map(|_| ()).unwrap_err().detail
    };
    let long = "x".repeat(600);
    for (detail, name) in [
        (changed(&|model| model["unk_token"] = "[no]".into()), "unknown token"),
        (changed(&|model| model["max_input_chars_per_word"] = 5000.into()), "5000"),
        (changed(&|model| model["vocab"][&long] = 500.into()), "longer than 512 bytes"),
        (
            changed(&|model| {
                (500..6000).for_each(|id| model["vocab"][format!("{id}{}", "y".repeat(400))] = id.into());
            }),
            "more than 2097152",
        ),
        (changed(&|model| model["vocab"]["a\u{0}b"] = 500.into()), "null"),
        (changed(&|model| model["type"] = "WordLevel".into()), "WordLevel"),
    ] {
        assert!(detail.to_lowercase().contains(&name.to_lowercase()), "{name}: {detail}");
    }
    let mut meta = word_piece_meta(&tree);
    let Some(Value::Strs(tokens)) = meta.0.get_mut("tokenizer.ggml.tokens") else { panic!("tokens") };
    tokens[60] = "▁##qq".into();
    tokens[61] = "qq".into();
    assert!(Tokenizer::from_meta(&meta).unwrap_err().detail.contains("the same piece"));
}
