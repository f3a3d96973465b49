//! What a hostile file says reaches a terminal as text, never as a command to it.

mod common;

use std::{fs, path::Path};

use common::ternlight;
use tempfile::TempDir;

/// Writes to the clipboard, sets the title, clears the screen, turns the text around.
const EVIL: &str =
    "x\u{1b}]52;c;ZXZpbA==\u{7}\u{1b}]0;title\u{7}\u{9b}2J\u{1b}[2J\u{202e}y\r\n\u{8}\u{7f}\u{2066}";

/// Fails if `output` holds anything that a terminal would obey.
fn assert_tame(output: &std::process::Output, what: &str) {
    for stream in [&output.stdout, &output.stderr] {
        let text = String::from_utf8_lossy(stream);
        let acts = |c: &char| {
            c.is_control() && *c != '\n' || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        };
        assert_eq!(text.chars().find(acts), None, "{what}: {text:?}");
    }
}

fn commands(folder: &Path, file: &str) {
    for args in [
        &["inspect", "--model"][..],
        &["inspect", "--metadata", "--tensors", "--model"],
        &["inspect", "--json", "--metadata", "--tensors", "--model"],
        &["run", "--prompt", "x", "--max-tokens", "1", "--model"],
        &["run", "--json", "--prompt", "x", "--max-tokens", "1", "--model"],
        &["tokenize", "x", "--model"],
        &["convert", "--format", "tq2_0", "--out", "out.gguf"],
    ] {
        let output = ternlight(folder).args(args).arg(file).output();
        assert_tame(&output, &format!("{args:?}"));
        let text = [&output.stdout[..], &output.stderr[..]].concat();
        assert!(!text.is_empty(), "{args:?} says something");
    }
}

#[test]
fn metadata_is_text() {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("tiny.gguf");
    ternlight(folder.path()).args(["synth", "--shape", "bitnet-tiny", "--out"]).arg(&out).success();
    let bytes = fs::read(&out).unwrap();
    // Same length, so nothing else moves: every name of a tensor, and some of the metadata.
    let swap = |bytes: &[u8], from: &[u8], to: &[u8]| {
        assert_eq!(from.len(), to.len());
        let mut bytes = bytes.to_vec();
        let places: Vec<usize> =
            (0..bytes.len().min(100_000) - from.len()).filter(|&at| bytes[at..].starts_with(from)).collect();
        assert!(!places.is_empty(), "{}", String::from_utf8_lossy(from));
        places.iter().for_each(|&at| bytes[at..at + to.len()].copy_from_slice(to));
        bytes
    };
    for (i, (from, to)) in [
        (&b"blk.0."[..], &b"\x1b]0;x\x07"[..]),
        (b"general.name", b"\x1b[2J\x07\r\n.name"),
        (b"general.architecture", b"g\x1b]52;c;\x07chitecture\n"),
        (b"bitnet", b"\x1b[31m\n"),
        (b"tokenizer.ggml", b"\x1b]52;c;ZX\x07gl\r\n"),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("evil{i}.gguf");
        fs::write(folder.path().join(&name), swap(&bytes, from, to)).unwrap();
        commands(folder.path(), &name);
    }
}

#[test]
fn names_of_files_and_servers_are_text() {
    let folder = TempDir::new().unwrap();
    for place in [
        EVIL.trim_end_matches('\0').to_owned(),
        format!("hf:a/b/{EVIL}.gguf"),
        format!("http://127.0.0.1:1/{EVIL}"),
    ] {
        assert_tame(&ternlight(folder.path()).args(["inspect", "--model", &place]).output(), "inspect");
        assert_tame(&ternlight(folder.path()).args(["inspect", &place]).output(), "usage");
        assert_tame(&ternlight(folder.path()).args(["fetch", &place]).output(), "fetch");
        assert_tame(
            &ternlight(folder.path()).args(["run", "--prompt", "x", "--model", &place]).output(),
            "run",
        );
    }
}
