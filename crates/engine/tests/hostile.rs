//! Files that lie: a broken tokenizer is an error or a tokenizer that works, never a panic.

use serde_json::{Value as Json, json};
use ternlight_core::{
    ErrorKind,
    container::{Meta, Value},
};
use ternlight_engine::text::Tokenizer;

/// Text that goes through every branch.
const TEXT: &str = "The cat's 12345 a\u{301}é 日本 🦙\r\n\t  <s>x</s> <|im_end|> ▁ \u{0}\u{ffff}";

fn byte_chars() -> Vec<String> {
    let printable = |b: &u32| matches!(b, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    let mut next = 256;
    let char_of = |b: u32| {
        let code = if printable(&b) {
            b
        } else {
            next += 1;
            next - 1
        };
        char::from_u32(code).unwrap().to_string()
    };
    (0..256).map(char_of).collect()
}

/// A valid tokenizer.json with a few merges and added tokens.
fn valid() -> Json {
    let mut vocab: serde_json::Map<String, Json> =
        byte_chars().into_iter().enumerate().map(|(i, c)| (c, i.into())).collect();
    for (i, token) in ["th", "the", "Ġc", "at", "Ġcat"].iter().enumerate() {
        vocab.insert((*token).into(), (256 + i).into());
    }
    json!({
        "version": "1.0",
        "added_tokens": [
            {"id": 300, "content": "<s>", "special": true, "normalized": false},
            {"id": 301, "content": "<|im_end|>", "special": true, "lstrip": true, "rstrip": true},
            {"id": 302, "content": "▁", "special": false, "normalized": true, "single_word": true},
        ],
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Replace", "pattern": {"String": "x"}, "content": "y"}]},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Digits", "individual_digits": true},
            {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true},
        ]},
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [300], "tokens": ["<s>"]}}},
        "decoder": {"type": "ByteLevel"},
        "model": {"type": "BPE", "vocab": vocab, "ignore_merges": false,
            "merges": ["t h", "th e", "Ġ c", ["a", "t"], ["Ġc", "at"]]},
    })
}

/// A valid one of WordPiece.
fn word_piece() -> Json {
    let pieces =
        ["[UNK]", "[CLS]", "[SEP]", "the", "cat", "##s", "1", "##2", "##3", "a", "日", "'", "x", "<", ">"];
    let vocab: serde_json::Map<String, Json> =
        pieces.iter().enumerate().map(|(i, piece)| ((*piece).into(), i.into())).collect();
    json!({
        "added_tokens": [{"id": 1, "content": "[CLS]", "special": true}, {"id": 2, "content": "[SEP]", "special": true}],
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
            "strip_accents": null, "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 1]},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocab},
    })
}

/// If it builds, it must work.
fn survives(json: &str) -> bool {
    match Tokenizer::from_json(json, None) {
        Ok(tokenizer) => {
            for special in [false, true] {
                let tokens = tokenizer.encode_input(TEXT, special).unwrap();
                assert!(tokens.iter().all(|&t| (t as usize) < tokenizer.len()));
                tokenizer.decode(&tokens);
            }
            tokenizer.decode(&[0, 255, 256, 9_999, u32::MAX]);
            true
        }
        Err(error) => {
            assert_eq!(error.kind, ErrorKind::Tokenizer, "{error}");
            assert!(error.detail.len() < 600, "{} bytes of message", error.detail.len());
            false
        }
    }
}

#[test]
fn the_valid_one_is_valid() {
    let tokenizer = Tokenizer::from_json(&valid().to_string(), None).unwrap();
    assert_eq!(tokenizer.encode("the cat", false).unwrap(), [257, 260]);
    assert_eq!(tokenizer.encode_input("a  <|im_end|> 12", true).unwrap()[..3], [300, 97, 301]);
    assert!(survives(&valid().to_string()) && survives(&word_piece().to_string()));
}

/// Each field replaced by each kind of nonsense.
#[test]
fn nonsense_in_every_field() {
    fn paths(value: &Json, path: String, out: &mut Vec<String>) {
        out.push(path.clone());
        match value {
            Json::Object(map) => {
                for (key, item) in map.iter().take(12) {
                    paths(item, format!("{path}/{}", key.replace('~', "~0").replace('/', "~1")), out);
                }
            }
            Json::Array(items) => {
                items.iter().enumerate().for_each(|(i, item)| paths(item, format!("{path}/{i}"), out));
            }
            _ => {}
        }
    }
    let nonsense = [
        json!(null),
        json!(true),
        json!(-1),
        json!(4_294_967_295u32),
        json!(4_194_303),
        json!(1e300),
        json!(""),
        json!("\u{0}"),
        json!("t h e"),
        json!("x".repeat(100_000)),
        json!([]),
        json!([[]]),
        json!({}),
        json!({"type": "Sequence"}),
        json!({"type": "Unknown"}),
        json!({"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated"}),
        json!({"type": "Split", "pattern": {"String": " "}, "behavior": "Removed", "invert": true}),
    ];
    for (valid, least) in [(valid(), 60), (word_piece(), 35)] {
        let mut all = Vec::new();
        paths(&valid, String::new(), &mut all);
        assert!(all.len() > least, "{}", all.len());
        for path in &all {
            for item in &nonsense {
                let mut json = valid.clone();
                *json.pointer_mut(path).unwrap() = item.clone();
                survives(&json.to_string());
            }
        }
    }
}

/// Bytes changed at random.
#[test]
fn random_damage() {
    damage(&valid().to_string(), 1500);
    damage(&word_piece().to_string(), 500);
}

fn damage(valid: &str, count: usize) {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = move |n: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as usize % n
    };
    let mut built = 0;
    for _ in 0..count {
        let mut bytes = valid.as_bytes().to_vec();
        for _ in 0..1 + random(3) {
            let at = random(bytes.len());
            match random(4) {
                0 => bytes[at] = b"0123456789\"{}[],:\\ aG"[random(21)],
                1 => drop(bytes.remove(at)),
                2 => bytes.insert(at, b"0\"{[,1"[random(6)]),
                _ => bytes.swap(at, (at + 1).min(valid.len() - 8)),
            }
        }
        built += usize::from(survives(&String::from_utf8_lossy(&bytes)));
    }
    assert!(built > 50, "only {built} were mild enough to build");
    for end in (0..valid.len()).step_by(97) {
        assert!(!survives(valid.get(..end).unwrap_or_default()));
    }
    assert!(!survives(&"[".repeat(100_000)));
    assert!(!survives(&format!("{{\"normalizer\":{}", "{\"a\":".repeat(100_000))));
}

#[test]
fn unsupported_models_are_named() {
    for (model, word) in [
        (json!({"type": "Unigram", "vocab": [["a", -1.0]]}), "Unigram"),
        (json!({"type": "WordPiece", "vocab": {"a": 0}}), "WordPiece"),
        (json!({"type": "BPE", "vocab": {}, "merges": []}), "empty"),
    ] {
        let error = Tokenizer::from_json(&json!({ "model": model }).to_string(), None).unwrap_err();
        assert!(error.detail.contains(word), "{error}");
    }
}

/// A vocabulary in which every pair of the first tokens merges would overflow a table of the library.
#[test]
fn too_many_merges_among_the_first_tokens() {
    let letters: Vec<String> = (0..300u32).map(|i| char::from_u32(0x4e00 + i).unwrap().to_string()).collect();
    let mut vocab: serde_json::Map<String, Json> =
        letters.iter().enumerate().map(|(i, c)| (c.clone(), i.into())).collect();
    let mut merges = Vec::new();
    for a in &letters {
        for b in &letters {
            vocab.insert(format!("{a}{b}"), vocab.len().into());
            merges.push(json!([a, b]));
        }
    }
    assert!(!survives(&json!({"model": {"type": "BPE", "vocab": vocab, "merges": merges}}).to_string()));
}

fn meta(tokens: &[&str], types: &[i64], scores: &[f32]) -> Vec<(&'static str, Value)> {
    vec![
        ("tokenizer.ggml.model", Value::Str("llama".into())),
        ("tokenizer.ggml.tokens", Value::Strs(tokens.iter().map(|&t| t.into()).collect())),
        ("tokenizer.ggml.token_type", Value::Ints(types.to_vec())),
        ("tokenizer.ggml.scores", Value::Floats(scores.to_vec())),
        ("tokenizer.ggml.bos_token_id", Value::Int(1)),
        ("tokenizer.ggml.eos_token_id", Value::Int(2)),
        ("tokenizer.ggml.pre", Value::Str("default".into())),
        ("tokenizer.ggml.add_bos_token", Value::Bool(true)),
        ("tokenizer.ggml.merges", Value::Strs(vec!["a b".into()])),
    ]
}

/// How a long SentencePiece token may be split takes time with the square of its length.
#[test]
fn pieces_of_sentence_piece_have_a_limit() {
    let build = |len: usize| {
        let long = "a".repeat(len);
        let tokens = ["<unk>", "<s>", "</s>", "a", "aa", &long];
        let pairs = meta(&tokens, &[2, 3, 3, 1, 1, 1], &[0.0, 0.0, 0.0, -1.0, -2.0, -3.0]);
        Tokenizer::from_meta(&Meta(pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()))
    };
    let tokenizer = build(256).unwrap();
    // As with llama.cpp: pairs are joined first, and no merge leads on from them.
    assert_eq!(tokenizer.encode("aaaa", false).unwrap().iter().filter(|&&t| t == 4).count(), 2);
    let error = build(257).unwrap_err();
    assert!(error.kind == ErrorKind::Tokenizer && error.detail.contains("longer than 256"), "{error}");
}

#[test]
fn gguf_metadata_that_lies() {
    let tokens = ["<unk>", "<s>", "</s>", "▁", "a", "b", "ab", "▁ab", ""];
    let types = [2, 3, 3, 1, 1, 1, 1, 1, 5];
    let scores = [0.0, 0.0, 0.0, -5.0, -6.0, -7.0, -1.0, -2.0, 0.0];
    let build = |pairs: Vec<(&str, Value)>| {
        let meta = Meta(pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect());
        let made = Tokenizer::from_meta(&meta);
        match &made {
            Ok(tokenizer) => {
                let tokens = tokenizer.encode_input(TEXT, true).unwrap();
                tokenizer.decode(&tokens);
            }
            Err(e) => assert!(matches!(e.kind, ErrorKind::Tokenizer | ErrorKind::MissingKey), "{e}"),
        }
        made
    };
    let valid = meta(&tokens, &types, &scores);
    let tokenizer = build(valid.clone()).unwrap();
    assert_eq!(tokenizer.encode_input("ab b", false).unwrap(), [1, 7, 3, 5]);
    assert_eq!(tokenizer.encode("z", false).unwrap(), [3, 0], "no byte tokens: unknown");

    let nonsense = [
        Value::Int(-1),
        Value::Int(i64::MAX),
        Value::Int(5),
        Value::Float(f64::NAN),
        Value::Bool(false),
        Value::Str(String::new()),
        Value::Str("gpt2".into()),
        Value::Str("no such thing".into()),
        Value::Ints(vec![]),
        Value::Ints(vec![1; 9]),
        Value::Ints(vec![99; 9]),
        Value::Ints(vec![3; 9]),
        Value::Floats(vec![]),
        Value::Floats(vec![f32::NAN; 9]),
        Value::Floats(vec![f32::INFINITY; 9]),
        Value::Strs(vec![]),
        Value::Strs(vec!["a".into(); 9]),
        Value::Strs(vec![String::new(); 9]),
        Value::Strs(vec!["é é".into(), " ".into()]),
    ];
    for i in 0..valid.len() {
        for value in &nonsense {
            let mut pairs = valid.clone();
            pairs[i].1 = value.clone();
            let _ = build(pairs.clone());
            pairs[0].1 = Value::Str("gpt2".into());
            let _ = build(pairs);
        }
        let mut pairs = valid.clone();
        pairs.remove(i);
        let _ = build(pairs);
    }
}
