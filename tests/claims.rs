//! A file that claims more than it has must not make the loader take memory for it.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use ternlight_core::{
    ErrorKind,
    container::{Meta, Value, write},
    format::Encoding,
    load::{HeadPrecision, LoadOptions, Loader},
};

/// The system's allocator, which remembers the largest piece that was asked for.
struct Watch;

static LARGEST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: each call is passed on unchanged.
unsafe impl GlobalAlloc for Watch {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Relaxed);
        // SAFETY: promised by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: promised by the caller.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LARGEST.fetch_max(size, Relaxed);
        // SAFETY: promised by the caller.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static WATCH: Watch = Watch;

const VOCAB: u64 = 1 << 20;
const HIDDEN: u64 = 1 << 12;

/// The header of a model whose embedding alone has 2³² weights.
fn header(encoding: Encoding) -> Vec<u8> {
    let mut meta = Meta::default();
    meta.0.insert("general.architecture".into(), Value::Str("llama".into()));
    for (key, n) in [
        ("embedding_length", HIDDEN as i64),
        ("block_count", 1),
        ("attention.head_count", 32),
        ("feed_forward_length", 4096),
        ("context_length", 128),
    ] {
        meta.0.insert(format!("llama.{key}"), Value::Int(n));
    }
    let shape = vec![VOCAB, HIDDEN];
    let spec = write::TensorSpec { name: "token_embd.weight".into(), shape, encoding };
    write::gguf_header(&meta, &[spec]).expect("a valid header").bytes
}

/// The largest allocation while loading `file`, which must fail as truncated.
fn largest(file: &[u8], len: Option<u64>, head: HeadPrecision) -> usize {
    LARGEST.store(0, Relaxed);
    let mut loader = Loader::new(LoadOptions { head, ..LoadOptions::default() });
    let result = loader
        .begin_file("model.gguf", len)
        .and_then(|()| file.chunks(100_000).try_for_each(|chunk| loader.push(chunk)))
        .and_then(|()| loader.end_file());
    let largest = LARGEST.load(Relaxed);
    assert_eq!(result.expect_err("far from whole").kind, ErrorKind::Truncated);
    largest
}

#[test]
fn memory_is_taken_for_bytes_and_not_for_claims() {
    for encoding in [Encoding::F16, Encoding::Q8_0, Encoding::Q4_1, Encoding::TQ2_0] {
        for head in [HeadPrecision::Native, HeadPrecision::Int8] {
            let mut file = header(encoding);
            for more in [200, 3_000_000] {
                file.resize(file.len() + more, 0);
                // A scale for each row is taken at once.
                let allowed = 4 * VOCAB as usize + 4 * file.len();
                for len in [Some(file.len() as u64), None] {
                    let largest = largest(&file, len, head);
                    assert!(largest < allowed, "{encoding:?}: {largest} bytes at once for {}", file.len());
                }
            }
        }
    }
}
