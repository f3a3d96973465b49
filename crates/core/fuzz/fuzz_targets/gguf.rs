//! Any bytes as a GGUF file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ternlight_core::container::write;
use ternlight_core_fuzz::{Measured, check_probe, check_rewrite};

#[global_allocator]
static ALLOCATOR: Measured = Measured;

fuzz_target!(|bytes: &[u8]| {
    if let Some(index) = check_probe(bytes) {
        check_rewrite(&index, write::gguf_header);
    }
});
