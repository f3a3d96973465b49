//! Any text as the header of a safetensors file, and as a `config.json`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ternlight_core::container::{self, write};
use ternlight_core_fuzz::{Measured, check_probe, check_rewrite, peak};

#[global_allocator]
static ALLOCATOR: Measured = Measured;

fuzz_target!(|json: &[u8]| {
    let bytes = [&(json.len() as u64).to_le_bytes()[..], json].concat();
    if let Some(index) = check_probe(&bytes) {
        check_rewrite(&index, write::safetensors_header);
    }
    check_probe(json);
    if let Ok(text) = core::str::from_utf8(json) {
        let (_, used) = peak(|| container::config(text));
        // A map entry per two bytes of a mixed array is the worst case.
        assert!(used <= 512 * json.len() + (64 << 10), "{used} bytes used for {} present", json.len());
    }
});
