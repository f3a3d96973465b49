//! The sliding context window, with Tern (512 tokens) and a tiny random model.

use std::{path::PathBuf, sync::Arc};

use ternlight_core::{ErrorKind, cache::KvType, pool::Serial};
use ternlight_engine::{
    ChatOptions, Engine, EngineLoader, EngineOptions, FinishReason, GenerateOptions, Message, Overflow,
    Prefill, Prompt, Session, Step, Summary,
};

fn load(folder: &str, files: &[&str], options: EngineOptions) -> Engine {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(folder);
    let mut loader = EngineLoader::new(options, Some(Arc::new(Serial)));
    for name in files {
        let bytes = std::fs::read(folder.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        loader.begin_file(name, Some(bytes.len() as u64)).unwrap();
        loader.push(&bytes).unwrap();
        loader.end_file().unwrap();
    }
    loader.finish().unwrap()
}

fn tern() -> Engine {
    let files = [
        "config.json",
        "generation_config.json",
        "tokenizer_config.json",
        "tokenizer.json",
        "model.safetensors",
    ];
    load("crates/tern/tern", &files, EngineOptions::default())
}

/// A model without a tokenizer and with a context of `context` tokens.
fn tiny(context: u32) -> Engine {
    let options =
        EngineOptions { context: Some(context), kv: KvType::F32.into(), ..EngineOptions::default() };
    load("tests/data/oracle/tiny_a_packed", &["config.json", "model.safetensors"], options)
}

fn slide(max_tokens: usize) -> GenerateOptions {
    GenerateOptions {
        max_tokens,
        overflow: Overflow::Slide,
        ignore_stop_tokens: true,
        ..GenerateOptions::greedy()
    }
}

struct Answer {
    text: String,
    tokens: Vec<u32>,
    prefills: Vec<Prefill>,
    summary: Summary,
}

fn answer(session: &mut Session, prompt: &Prompt, options: &GenerateOptions) -> Answer {
    session.start(prompt, options).unwrap();
    let (mut text, mut tokens, mut prefills) = (String::new(), Vec::new(), Vec::new());
    loop {
        match session.next().unwrap() {
            Step::Prefill(progress) => prefills.push(progress),
            Step::Piece(piece) => {
                text += &piece.text;
                tokens.extend(piece.tokens.iter().map(|token| token.id));
            }
            Step::Done(summary) => return Answer { text, tokens, prefills, summary },
        }
    }
}

fn chat(messages: &[Message]) -> Prompt {
    Prompt::Chat(messages.to_vec(), ChatOptions::default())
}

#[test]
fn thirty_turns_with_a_small_context_never_fail() {
    let engine = tern();
    let context = engine.context();
    assert_eq!(context, 512);
    let mut session = engine.session().unwrap();
    let mut messages = vec![Message::new("system", "You are Tern, and you like the sea.")];
    let (mut seen, mut reused) = (0, 0);
    for turn in 0..30 {
        messages.push(Message::new("user", format!("Tell me something about the number {turn}, please.")));
        let got = answer(&mut session, &chat(&messages), &slide(40));
        assert_eq!((got.summary.finish_reason, got.tokens.len()), (FinishReason::Length, 40), "turn {turn}");
        assert!(session.tokens().len() <= context + 1);
        let text = engine.detokenize(session.tokens()).unwrap();
        assert!(text.contains("you like the sea"), "turn {turn}: the system prompt stays");
        assert!(text.contains(&format!("the number {turn}, please")), "turn {turn}: so does the question");
        let dropped = got.summary.dropped_messages;
        assert!(
            dropped >= seen && dropped.is_multiple_of(2) && dropped < messages.len() - 1,
            "turn {turn}: {dropped}"
        );
        let kept = [&messages[..1], &messages[1 + dropped..]].concat();
        assert_eq!(
            got.summary.prompt_tokens,
            engine.chat_tokens(&kept, &ChatOptions::default()).unwrap().len()
        );
        let whole = engine.chat_tokens(&messages, &ChatOptions::default()).unwrap().len();
        assert_eq!(got.summary.dropped_tokens, whole - got.summary.prompt_tokens);
        assert!(got.prefills.iter().all(|p| p.dropped_messages == dropped && p.done <= p.total));
        if dropped == seen && dropped > 0 && got.summary.cached_tokens > got.summary.prompt_tokens / 2 {
            reused += 1;
        }
        seen = dropped;
        messages.push(Message::new("assistant", got.text));
    }
    assert!(seen > 20, "only {seen} messages fell out");
    assert!(reused > 10, "the cache was reused in {reused} turns only");
}

#[test]
fn without_sliding_a_long_conversation_is_an_error() {
    let engine = tern();
    let messages: Vec<Message> = (0..80)
        .map(|i| {
            Message::new(
                if i % 2 == 0 { "user" } else { "assistant" },
                "A sentence of some length, for the context.",
            )
        })
        .chain([Message::new("user", "And now?")])
        .collect();
    let mut session = engine.session().unwrap();
    let error = session.start(&chat(&messages), &GenerateOptions::default()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::ContextFull);
    let got = answer(&mut session, &chat(&messages), &slide(5));
    // The same as a conversation that never had the messages that fell out.
    let rest = &messages[got.summary.dropped_messages..];
    let fresh = answer(&mut engine.session().unwrap(), &chat(rest), &slide(5));
    assert_eq!((got.tokens, fresh.summary.dropped_messages), (fresh.tokens, 0));
}

#[test]
fn an_answer_goes_on_when_the_window_is_full() {
    let engine = tern();
    let mut session = engine.session().unwrap();
    let messages = [
        Message::new("system", "You are Tern."),
        Message::new("user", "One."),
        Message::new("assistant", "Two."),
        Message::new("user", "Count on, for a long time."),
    ];
    let got = answer(&mut session, &chat(&messages), &slide(1200));
    assert_eq!((got.summary.finish_reason, got.tokens.len()), (FinishReason::Length, 1200));
    assert_eq!(got.summary.dropped_messages, 2);
    let visible = session.tokens().len();
    assert_eq!(got.summary.dropped_tokens, got.summary.prompt_tokens + 1200 - visible);
    let text = engine.detokenize(session.tokens()).unwrap();
    assert!(text.contains("You are Tern.") && text.contains("Count on") && !text.contains("Two."));
    assert!(got.tokens.ends_with(&session.tokens()[visible - 100..]), "the newest tokens stay");
    // No limit is as many tokens as the context holds.
    assert_eq!(answer(&mut session, &chat(&messages), &slide(usize::MAX)).tokens.len(), 512);
}

#[test]
fn a_last_turn_that_is_too_long_is_an_error() {
    let mut session = tern().session().unwrap();
    let messages = [Message::new("user", "Hi."), Message::new("user", "word ".repeat(600))];
    let error = session.start(&chat(&messages), &slide(5)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::ContextFull);
    assert!(error.detail.contains("last turn"), "{}", error.detail);
}

#[test]
fn tokens_fall_out_after_the_kept_beginning() {
    let engine = tiny(32);
    let prompt: Vec<u32> = (0..100).collect();
    let mut session = engine.session().unwrap();
    let options = GenerateOptions { keep_tokens: 3, ..slide(4) };
    let got = answer(&mut session, &Prompt::Tokens(prompt.clone()), &options);
    assert_eq!((got.summary.prompt_tokens, got.summary.dropped_tokens), (28, 72));
    let kept = [&prompt[..3], &prompt[75..]].concat();
    assert_eq!(session.tokens()[..28], kept);
    assert_eq!(answer(&mut engine.session().unwrap(), &Prompt::Tokens(kept), &slide(4)).tokens, got.tokens);

    // In mid-answer: every token is what a fresh session makes of the window before it.
    let options = GenerateOptions { keep_tokens: 3, ..slide(1) };
    let whole = answer(
        &mut session,
        &Prompt::Tokens(vec![1, 2, 3, 4]),
        &GenerateOptions { max_tokens: 90, ..options.clone() },
    );
    assert_eq!((whole.tokens.len(), whole.summary.finish_reason), (90, FinishReason::Length));
    assert_eq!(whole.summary.dropped_tokens, 94 - session.tokens().len());
    let mut window = vec![1, 2, 3, 4];
    for &token in &whole.tokens {
        if window.len() > 32 {
            window.drain(3..3 + 15);
        }
        let logits = engine.logits(&window).unwrap();
        let row = &logits[(window.len() - 1) * 512..];
        let best = (0..512).max_by(|&a, &b| row[a].total_cmp(&row[b]).then(b.cmp(&a))).unwrap();
        assert_eq!(best as u32, token);
        window.push(token);
    }

    let options = GenerateOptions { keep_tokens: 17, ..slide(4) };
    assert_eq!(session.start(&Prompt::Tokens(prompt), &options).unwrap_err().kind, ErrorKind::BadOption);
}
