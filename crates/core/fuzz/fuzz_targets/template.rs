//! Any text as a chat template: rendered within its budget of steps and bytes, or refused.
#![no_main]

use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use ternlight_core_fuzz::{Measured, peak};
use ternlight_engine::{ChatOptions, Engine, EngineLoader, EngineOptions, Message};

#[global_allocator]
static ALLOCATOR: Measured = Measured;

const TOKENIZER: &str = r#"{"model":{"type":"BPE","vocab":{"a":0},"merges":[]}}"#;
/// The first two bytes are choices of the target `load`.
const MODEL: &[u8] = include_bytes!("../seeds/load/blocks");

fn engine(template: &str) -> ternlight_core::Result<Engine> {
    let options = EngineOptions { threads: 1, ..EngineOptions::default() };
    let mut loader = EngineLoader::new(options, None);
    let files = [
        ("tokenizer.json", TOKENIZER.as_bytes()),
        ("chat_template.jinja", template.as_bytes()),
        ("model.gguf", &MODEL[2..]),
    ];
    for (name, bytes) in files {
        loader.begin_file(name, None)?;
        loader.push(bytes)?;
        loader.end_file()?;
    }
    loader.finish()
}

fuzz_target!(|template: &str| {
    let Ok(engine) = engine(template) else { return };
    let messages =
        [Message::new("system", "s"), Message::new("user", "a <|im_end|> b"), Message::new("assistant", "c")];
    let start = Instant::now();
    let (_, used) = peak(|| drop(engine.render_chat(&messages, &ChatOptions::default())));
    assert!(used < 96 << 20, "{used} bytes used");
    // With a sanitizer a hundredth of the speed.
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
});
