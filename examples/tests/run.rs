//! The examples run, with Tern.

use std::{
    io::Write,
    process::{Command, Stdio},
};

fn run(program: &str, args: &[&str], input: &[u8]) -> String {
    let mut command = Command::new(program);
    command.args(args).env_remove("MODEL").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("the example starts");
    child.stdin.take().expect("piped").write_all(input).expect("it reads its input");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{program} {args:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn chat_answers_each_line() {
    let text = run(env!("CARGO_BIN_EXE_chat"), &[], b"Hello!\nHow many legs does a spider have?\n");
    let replies: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    assert!(replies.len() >= 2 && replies.iter().all(|reply| reply.contains(' ')), "{text}");
}

#[test]
fn embed_sorts_by_similarity() {
    let text = run(env!("CARGO_BIN_EXE_embed"), &["a cat", "the price of steel", "a cat"], b"");
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[0].starts_with("1.000") && lines[0].ends_with("a cat"), "{text}");
}

#[test]
fn stream_loads_files_chunk_by_chunk() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/tern/tern/");
    let files = ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"];
    let files = files.map(|name| format!("{folder}{name}"));
    let args: Vec<&str> = ["Once upon a time,"].into_iter().chain(files.iter().map(String::as_str)).collect();
    let text = run(env!("CARGO_BIN_EXE_stream"), &args, b"");
    assert!(text.split_whitespace().count() > 5, "{text}");
}
