//! The tokenizers against the conformance cases of llama.cpp and against Hugging Face's files.
//!
//! Data and its origin: `tests/data/tokenizers/PROVENANCE.md`.

use std::{io::Read, path::PathBuf};

use ternlight_core::container::{self, Meta, Probe};
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
