//! Any text as a `tokenizer.json`; if it builds, it must work.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ternlight_core_fuzz::{Measured, peak};
use ternlight_engine::text::Tokenizer;

#[global_allocator]
static ALLOCATOR: Measured = Measured;

fuzz_target!(|text: &str| {
    let (result, used) = peak(|| Tokenizer::from_json(text, None));
    assert!(used <= 4 * text.len() + (64 << 20), "{used} bytes used for {}", text.len());
    let Ok(tokenizer) = result else { return };
    for special in [false, true] {
        let tokens = tokenizer.encode_input("The cat's 12 é🦙<s>\t <|im_end|>", special).expect("short");
        assert!(tokens.iter().all(|&t| (t as usize) < tokenizer.len()));
        tokenizer.decode(&tokens);
    }
});
