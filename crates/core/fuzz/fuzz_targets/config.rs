//! Any text as a `config.json`: an error, or metadata no larger than the text justifies.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ternlight_core::container::config;
use ternlight_core_fuzz::{Measured, peak};

#[global_allocator]
static ALLOCATOR: Measured = Measured;

fuzz_target!(|text: &str| {
    let (result, used) = peak(|| config(text));
    assert!(used <= 4 * text.len() + (64 << 20), "{used} bytes used for {}", text.len());
    if let Err(error) = result {
        assert!(error.detail.len() < 16 << 10);
    }
});
