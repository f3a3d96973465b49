//! Sessions over tiny random models (`tests/data/oracle`): what they compute does not depend on how.

use std::{path::PathBuf, sync::Arc};

use ternlight_core::{ErrorKind, cache::KvType, pool::Serial};
use ternlight_engine::{
    ChatOptions, Engine, EngineLoader, EngineOptions, FinishReason, GenerateOptions, Message, Pooling,
    Prompt, Session, Step, Summary, Threads, text::Tokenizer,
};

fn data(path: &str) -> Vec<u8> {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/oracle").join(path);
    std::fs::read(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

/// GPT-2's byte alphabet.
fn byte_char(byte: u32) -> char {
    let printable = |b: &u32| matches!(b, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    match printable(&byte) {
        true => char::from_u32(byte).unwrap(),
        false => char::from_u32(256 + (0..byte).filter(|b| !printable(b)).count() as u32).unwrap(),
    }
}

/// 256 bytes, words from 256 to 509 that text never becomes (there are no merges), and two control tokens.
fn tokenizer_json() -> String {
    let mut vocab: serde_json::Map<String, serde_json::Value> =
        (0..256).map(|b| (byte_char(b).to_string(), b.into())).collect();
    vocab.extend((256..510u32).map(|id| (format!("Ġw{id}"), id.into())));
    serde_json::json!({
        "added_tokens": [
            {"id": 510, "content": "<|im_start|>", "special": true},
            {"id": 511, "content": "<|im_end|>", "special": true},
        ],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false},
        "decoder": {"type": "ByteLevel"},
        "model": {"type": "BPE", "vocab": vocab, "merges": []},
    })
    .to_string()
}

const CONFIG: &str = r#"{"bos_token": "<|im_start|>", "eos_token": {"content": "<|im_end|>"}, "add_bos_token": true,
    "chat_template": [{"name": "other", "template": "no"}, {"name": "default", "template":
    "{% for m in messages %}<|im_start|>{{ m.role }}: {{ m.content }}<|im_end|>{% endfor %}{% if add_generation_prompt %}<|im_start|>{% endif %}"}]}"#;

fn load(model: &str, options: EngineOptions, threads: usize, chunk: usize, tokenizer: bool) -> Engine {
    let pool: Arc<dyn ternlight_core::pool::Pool> =
        if threads == 1 { Arc::new(Serial) } else { Arc::new(Threads::new(threads)) };
    let mut loader = EngineLoader::new(options, Some(pool));
    let mut push = |name: &str, bytes: &[u8]| {
        loader.begin_file(name, Some(bytes.len() as u64)).unwrap();
        bytes.chunks(chunk).for_each(|c| loader.push(c).unwrap());
        loader.end_file().unwrap();
    };
    push("folder/config.json", &data(&format!("{model}/config.json")));
    if tokenizer {
        push("tokenizer.json", tokenizer_json().as_bytes());
        push("tokenizer_config.json", CONFIG.as_bytes());
        push(
            "generation_config.json",
            br#"{"eos_token_id": [511, 7], "temperature": 0.6, "top_k": 5, "do_sample": true}"#,
        );
    }
    push("README.md", b"ignored");
    push("model.safetensors", &data(&format!("{model}/model.safetensors")));
    loader.finish().unwrap()
}

fn engine() -> Engine {
    let options = EngineOptions { kv: KvType::F32.into(), ..EngineOptions::default() };
    load("tiny_a_packed", options, 1, 1 << 20, true)
}

fn all(session: &mut Session, prompt: &Prompt, options: &GenerateOptions) -> (String, Vec<u32>, Summary) {
    session.start(prompt, options).unwrap();
    let (mut text, mut tokens) = (String::new(), Vec::new());
    let mut steps = 0;
    loop {
        match session.next().unwrap() {
            Step::Prefill(p) => assert!(p.done <= p.total && tokens.is_empty()),
            Step::Piece(piece) => {
                text += &piece.text;
                tokens.extend(piece.tokens.iter().map(|t| t.id));
            }
            Step::Done(summary) => {
                assert_eq!(summary.tokens, tokens.len());
                return (text, tokens, summary);
            }
        }
        steps += 1;
        assert!(steps < 1000);
    }
}

fn text(text: &str) -> Prompt {
    Prompt::Text { text: text.into(), special: false, add_bos: true }
}

fn greedy(max_tokens: usize) -> GenerateOptions {
    GenerateOptions { max_tokens, ignore_stop_tokens: true, ..GenerateOptions::greedy() }
}

#[test]
fn greedy_tokens_are_the_best_of_the_whole_sequence() {
    let engine = engine();
    let (_, tokens, summary) = all(&mut engine.session().unwrap(), &text("The cat"), &greedy(20));
    assert_eq!(summary.finish_reason, FinishReason::Length);
    let mut sequence = vec![510];
    sequence.extend("The cat".bytes().map(u32::from));
    let prompt = sequence.len();
    assert_eq!(summary.prompt_tokens, prompt);
    sequence.extend(&tokens);
    let logits = engine.logits(&sequence).unwrap();
    let vocab = engine.info().vocab;
    for (i, &token) in tokens.iter().enumerate() {
        let row = &logits[(prompt - 1 + i) * vocab..][..vocab];
        let best = (0..vocab).max_by(|&a, &b| row[a].total_cmp(&row[b]).then(b.cmp(&a))).unwrap();
        assert_eq!(best as u32, token, "token {i}");
    }
}

#[test]
fn threads_blocks_and_chunks_change_nothing() {
    let want = all(&mut engine().session().unwrap(), &text("The cat sat"), &greedy(24)).1;
    for (threads, block, chunk) in [(2, 1, 777), (3, 3, 4096), (2, 64, 1 << 20)] {
        let options = EngineOptions { kv: KvType::F32.into(), block, ..EngineOptions::default() };
        let engine = load("tiny_a_packed", options, threads, chunk, true);
        let got = all(&mut engine.session().unwrap(), &text("The cat sat"), &greedy(24)).1;
        assert_eq!(got, want, "{threads} threads, blocks of {block}, chunks of {chunk}");
    }
}

#[test]
fn a_second_prompt_computes_only_what_is_new() {
    let engine = engine();
    let mut session = engine.session().unwrap();
    let (_, first, one) = all(&mut session, &text("The cat"), &greedy(6));
    assert_eq!((one.cached_tokens, one.timings.prefill_tokens), (0, 8));
    let mut next = session.tokens().to_vec();
    next.extend("more".bytes().map(u32::from));
    let prompt = Prompt::Tokens(next.clone());
    let (_, again, two) = all(&mut session, &prompt, &greedy(6));
    // The last token of an answer is never computed before it is needed.
    assert_eq!(two.cached_tokens, 8 + first.len() - 1);
    assert_eq!(two.timings.prefill_tokens, 5);
    assert_eq!(again, all(&mut engine.session().unwrap(), &prompt, &greedy(6)).1, "as without a cache");
    // The same prompt again: everything but the last token is there.
    let (_, third, three) = all(&mut session, &prompt, &greedy(6));
    assert_eq!((three.cached_tokens, third), (next.len() - 1, again.clone()));
    // Another beginning: nothing is.
    let (_, _, four) = all(&mut session, &Prompt::Tokens(vec![5, 6]), &greedy(1));
    assert_eq!(four.cached_tokens, 0);
    session.clear();
    assert_eq!(all(&mut session, &prompt, &greedy(6)).2.cached_tokens, 0);
}

#[test]
fn context_full() {
    let options = EngineOptions { context: Some(12), kv: KvType::F32.into(), ..EngineOptions::default() };
    let engine = load("tiny_a_packed", options, 1, 1 << 20, true);
    let mut session = engine.session().unwrap();
    let (_, tokens, summary) = all(&mut session, &text("The cat"), &greedy(100));
    // 8 + 4 positions; the last token that was chosen has no position of its own.
    assert_eq!((summary.finish_reason, tokens.len()), (FinishReason::ContextFull, 5));
    let error = session.start(&text("A prompt that is too long"), &greedy(1)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::ContextFull);
    assert_eq!(engine.logits(&[1; 13]).unwrap_err().kind, ErrorKind::ContextFull);
    // The session is as good as before.
    assert_eq!(all(&mut session, &text("The cat"), &greedy(100)).1, tokens);
    assert_eq!(all(&mut session, &Prompt::Tokens(vec![1; 12]), &greedy(9)).2.tokens, 1);
}

#[test]
fn stop_tokens_and_stop_strings() {
    let engine = engine();
    let mut session = engine.session().unwrap();
    assert!(engine.tokenizer().unwrap().stops().contains(&7), "from generation_config.json");
    let (whole, tokens, _) = all(&mut session, &text("The cat"), &greedy(24));

    // A bias makes the model end.
    let options = GenerateOptions { logit_bias: vec![(511, 1e9)], ..GenerateOptions::greedy() };
    let (ended, none, summary) = all(&mut session, &text("The cat"), &options);
    assert_eq!((ended.as_str(), none.len(), summary.finish_reason), ("", 0, FinishReason::Stop));

    let boundaries: Vec<usize> = whole.char_indices().map(|(i, _)| i).collect();
    let (from, to) = (boundaries[boundaries.len() / 3], boundaries[boundaries.len() / 3 + 3]);
    let stop = whole[from..to].to_owned();
    let options = GenerateOptions { stop: vec!["never".into(), stop.clone()], ..greedy(24) };
    let (cut, fewer, summary) = all(&mut session, &text("The cat"), &options);
    assert_eq!(cut, whole[..whole.find(&stop).unwrap()]);
    assert_eq!((summary.finish_reason, summary.stop_string), (FinishReason::StopString, Some(stop)));
    assert!(fewer.len() < tokens.len());
}

#[test]
fn a_seed_repeats_and_logprobs_are_reported() {
    let engine = engine();
    let run = |seed| {
        let options = GenerateOptions {
            temperature: Some(0.9),
            top_k: Some(0),
            top_p: Some(0.95),
            seed: Some(seed),
            top_logprobs: 3,
            ..greedy(30)
        };
        all(&mut engine.session().unwrap(), &text("x"), &options).1
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));

    let mut session = engine.session().unwrap();
    session.start(&text("x"), &GenerateOptions { top_logprobs: 3, ..greedy(1) }).unwrap();
    let piece = loop {
        if let Step::Piece(piece) = session.next().unwrap() {
            break piece;
        }
    };
    let token = &piece.tokens[0];
    assert_eq!((token.top.len(), token.top[0].id, token.top[0].logprob), (3, token.id, token.logprob));
    assert!(token.logprob < 0.0 && token.top[1].logprob <= token.logprob);
}

#[test]
fn each_token_says_how_many_loops_it_took() {
    let looped = load("../oracle2/ouro", EngineOptions::default(), 1, 1 << 20, false);
    assert_eq!(looped.info().loops, Some(4));
    let prompt = Prompt::Tokens(vec![1, 2, 3, 4]);
    let mut session = looped.session().unwrap();
    let mut run = |options: GenerateOptions| {
        session.start(&prompt, &options).unwrap();
        let (mut loops, mut cached) = (Vec::new(), None);
        while cached.is_none() {
            match session.next().unwrap() {
                Step::Piece(piece) => loops.extend(piece.tokens.iter().map(|t| t.loops.unwrap())),
                Step::Done(summary) => cached = Some(summary.cached_tokens),
                Step::Prefill(_) => {}
            }
        }
        (loops, cached.unwrap())
    };
    assert_eq!(run(greedy(3)), (vec![4; 3], 0));
    // Other loops make other keys and values, so nothing is left of the cache.
    assert_eq!(run(GenerateOptions { loops: Some(2), ..greedy(3) }), (vec![2; 3], 0));
    assert_eq!(run(GenerateOptions { loops: Some(2), ..greedy(3) }), (vec![2; 3], 3));
    let exit = GenerateOptions { exit_threshold: Some(0.0), early_exit: true, ..greedy(3) };
    assert_eq!(run(exit), (vec![1; 3], 0));

    let engine = engine();
    assert_eq!(engine.info().loops, None);
    let mut session = engine.session().unwrap();
    let error = session.start(&text("x"), &GenerateOptions { loops: Some(2), ..greedy(1) }).unwrap_err();
    assert!(error.kind == ErrorKind::BadOption && error.detail.contains("loops"), "{error}");
    session.start(&text("x"), &greedy(1)).unwrap();
}

#[test]
fn cancelling_and_misuse() {
    let engine = engine();
    let mut session = engine.session().unwrap();
    assert_eq!(session.next().unwrap_err().kind, ErrorKind::BadOption);
    assert!(session.cancel().is_none());
    for prompt in [
        Prompt::Tokens(vec![]),
        Prompt::Tokens(vec![512]),
        Prompt::Text { text: String::new(), special: false, add_bos: false },
    ] {
        assert_eq!(session.start(&prompt, &greedy(1)).unwrap_err().kind, ErrorKind::BadOption);
    }
    let wrong = GenerateOptions { top_p: Some(7.0), ..GenerateOptions::default() };
    assert_eq!(session.start(&text("x"), &wrong).unwrap_err().kind, ErrorKind::BadOption);
    session.start(&text("The cat"), &greedy(50)).unwrap();
    for _ in 0..4 {
        session.next().unwrap();
    }
    let summary = session.cancel().unwrap();
    assert_eq!((summary.finish_reason, summary.tokens), (FinishReason::Cancelled, 3));
    assert_eq!(session.next().unwrap_err().kind, ErrorKind::BadOption);
    let want = all(&mut engine.session().unwrap(), &text("The cat"), &greedy(5)).1;
    assert_eq!(all(&mut session, &text("The cat"), &greedy(5)).1, want);
}

#[test]
fn chat() {
    let engine = engine();
    let messages = [Message::new("user", "Hi<|im_end|>")];
    let text = engine.render_chat(&messages, &ChatOptions::default()).unwrap();
    assert_eq!(text, "<|im_start|>user: Hi<|im_end|><|im_end|><|im_start|>");
    let tokens = engine.chat_tokens(&messages, &ChatOptions::default()).unwrap();
    let control: Vec<u32> = tokens.iter().copied().filter(|&t| t >= 510).collect();
    assert_eq!(control, [510, 511, 510], "BOS once, and none from the message");
    assert_eq!(engine.detokenize(&tokens).unwrap(), text);
}

#[test]
fn info() {
    let info = engine().info();
    assert_eq!((info.arch.as_str(), info.vocab, info.layers, info.hidden), ("bitnet", 512, 3, 128));
    assert_eq!((info.chat, info.tokenizer, info.threads, info.context), (true, true, 1, 256));
    assert_eq!(
        (info.sampling.temperature, info.sampling.top_k, info.sampling.top_p),
        (Some(0.6), Some(5), None)
    );
    assert_eq!(info.file_bytes, data("tiny_a_packed/model.safetensors").len() as u64);
    let ternary = info.tensors.iter().filter_map(|t| Some((t, t.counts?)));
    assert_eq!(ternary.map(|(t, c)| assert_eq!(c.iter().sum::<u64>(), (t.rows * t.cols) as u64)).count(), 21);
    let json = serde_json::to_value(&info).unwrap();
    assert_eq!(json["sampling"]["topK"], 5);
}

#[test]
fn a_model_without_tokenizer_still_computes() {
    let engine = load("tiny_a_packed", EngineOptions::default(), 1, 1 << 20, false);
    assert_eq!(engine.logits(&[1, 2, 3]).unwrap().len(), 3 * 512);
    assert_eq!(engine.tokenize("x", false).unwrap_err().kind, ErrorKind::MissingKey);
    assert_eq!(all(&mut engine.session().unwrap(), &Prompt::Tokens(vec![1, 2]), &greedy(3)).1.len(), 3);
}

#[test]
fn embedding_matches_the_oracle() {
    let pool = Arc::new(Serial);
    let mut loader =
        EngineLoader::new(EngineOptions { kv: KvType::F32.into(), ..EngineOptions::default() }, Some(pool));
    let vocab: serde_json::Map<String, serde_json::Value> =
        (0..256).map(|b| (byte_char(b).to_string(), b.into())).collect();
    let tokenizer = serde_json::json!({
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false},
        "model": {"type": "BPE", "vocab": vocab, "merges": []},
    });
    for (name, bytes) in [
        ("config.json", data("tiny_d_embed_qwen3/config.json")),
        ("tokenizer.json", tokenizer.to_string().into_bytes()),
        ("model.safetensors", data("tiny_d_embed_qwen3/model.safetensors")),
    ] {
        loader.begin_file(name, None).unwrap();
        loader.push(&bytes).unwrap();
        loader.end_file().unwrap();
    }
    let engine = loader.finish().unwrap();
    let reference = data("tiny_d_embed_qwen3/reference.safetensors");
    let ternlight_core::container::Probe::Ready(index) =
        ternlight_core::container::probe(&reference).unwrap()
    else {
        panic!("reference.safetensors");
    };
    let values = |name: &str| -> Vec<[u8; 4]> {
        let tensor = index.tensors.iter().find(|t| t.name == name).unwrap();
        reference[tensor.offset as usize..][..tensor.bytes as usize].as_chunks::<4>().0.to_vec()
    };
    for seq in ["seq_a", "seq_b"] {
        // Token ids below 128 are the bytes of ASCII text.
        let text: String = values(&format!("tokens.{seq}"))
            .into_iter()
            .map(|b| char::from(i32::from_le_bytes(b) as u8))
            .collect();
        let got = engine.embed(&text, Pooling::Last).unwrap();
        let norm: f32 = got.iter().map(|x| x * x).sum();
        assert!((norm - 1.0).abs() < 1e-5, "length {norm}");
        for (x, want) in got.iter().zip(values(&format!("embedding.{seq}"))) {
            let want = f32::from_le_bytes(want);
            assert!((x - want).abs() < 1e-5, "{seq}: {x} and {want}");
        }
    }
}

#[test]
fn tokenizer_types_are_public() {
    let tokenizer = Tokenizer::from_json(&tokenizer_json(), Some(CONFIG)).unwrap();
    assert_eq!((tokenizer.bos(), tokenizer.eos(), tokenizer.len()), (Some(510), Some(511), 512));
}

/// The state of a RetNet cannot be cut anywhere: a session computes again what lies between where the decoder got back
/// to and the first token that differs.
#[test]
fn a_recurrent_state_goes_on_from_where_it_got_back_to() {
    let engine = load("../oracle2/retnet", EngineOptions::default(), 1, 1 << 20, false);
    let prompt = |seed: u32, n: usize| -> Vec<u32> {
        let mut state = seed;
        let next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 24
        };
        core::iter::repeat_with(next).take(n).collect()
    };
    let options = greedy(30);
    let mut session = engine.session().unwrap();
    let first = prompt(1, 300);
    let (_, answer, _) = all(&mut session, &Prompt::Tokens(first.clone()), &options);
    let bytes = session.cache_bytes();
    // Another prompt from position 200 on; the same again; the next turn; another from position 10 on.
    let other: Vec<u32> = first[..200].iter().copied().chain(prompt(2, 90)).collect();
    let next: Vec<u32> = other.iter().copied().chain(prompt(3, 40)).collect();
    let last: Vec<u32> = next[..10].iter().copied().chain(prompt(4, 150)).collect();
    for (tokens, cached) in [(&other, 192), (&other, 289), (&next, 290), (&last, 0), (&first, 0)] {
        let prompt = Prompt::Tokens(tokens.clone());
        let (_, again, summary) = all(&mut session, &prompt, &options);
        let (_, fresh, _) = all(&mut engine.session().unwrap(), &prompt, &options);
        assert_eq!(again, fresh);
        assert_eq!(summary.cached_tokens, cached);
        assert_eq!(session.cache_bytes(), bytes, "a state of constant size");
        assert_eq!(session.cached(), tokens.len() + 29);
        if tokens == &first {
            assert_eq!(again, answer);
        }
    }
}
