//! From text to text: run, chat, tokenize, embed, perplexity, on a small model with random weights.

mod common;

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use common::{fails, json, ternlight};
use serde_json::Value;
use tempfile::TempDir;

/// The first special token of the small shape: 1024 entries, the last 256 are special.
const BOS: u64 = 768;
const EOT: u64 = BOS + 9;

struct Desk {
    folder: TempDir,
}

impl Desk {
    /// A folder with one model, which is the default.
    fn new() -> Self {
        let desk = Self { folder: TempDir::new().unwrap() };
        let args = ["synth", "--shape", "bitnet-tiny", "--seed", "2", "--out", "tiny.gguf"];
        desk.run().args(args).success();
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self) -> common::Run {
        let mut command = ternlight(self.folder.path());
        // The history of chats lies here too.
        command.env("HOME", self.folder.path()).env_remove("XDG_STATE_HOME");
        command.env("TERNLIGHT_MODEL", "tiny.gguf");
        command
    }

    fn answer(&self, args: &[&str]) -> Value {
        json(self.run().args(["run", "--json", "--max-tokens", "12", "--temperature", "0"]).args(args))
    }
}

fn ids(value: &Value) -> Vec<u64> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect()
}

#[test]
fn the_report_of_run_has_its_fixed_form() {
    let desk = Desk::new();
    let report = desk.answer(&["--raw", "--prompt", "hello there"]);
    let prompt = ids(&report["prompt_tokens"]);
    assert_eq!(prompt[0], BOS);
    let tokens = ids(&report["tokens"]);
    assert!(!tokens.is_empty() && tokens.len() <= 12);
    assert!(report["text"].is_string());
    assert!(["length", "stop"].contains(&report["finish_reason"].as_str().unwrap()));
    let timings = report["timings"].as_object().unwrap();
    let mut keys: Vec<_> = timings.keys().map(String::as_str).collect();
    keys.sort_unstable();
    let want =
        ["decode_tok_s", "decode_tokens", "load_ms", "peak_rss_bytes", "prefill_tok_s", "prefill_tokens"];
    assert_eq!(keys, want);
    assert!(timings.values().all(|value| value.as_f64().unwrap() > 0.0), "{timings:?}");
    assert_eq!(timings["prefill_tokens"].as_u64().unwrap(), prompt.len() as u64);
}

#[test]
fn answers_do_not_depend_on_kernels_threads_or_files() {
    let desk = Desk::new();
    let base = ["--raw", "--prompt", "one two three"];
    let want = desk.answer(&base)["tokens"].clone();
    for extra in [["--kernel", "scalar"], ["--threads", "1"], ["--threads", "2"]] {
        assert_eq!(desk.answer(&[&base[..], &extra[..]].concat())["tokens"], want, "{extra:?}");
    }
    for format in ["tq2_0", "hf-packed"] {
        let args = ["convert", "--model", "tiny.gguf", "--format", format, "--out", format];
        desk.run().args(args).success();
        let report = desk.answer(&[&base[..], &["--model", format]].concat());
        assert_eq!(report["tokens"], want, "{format}");
    }
}

#[test]
fn seeds_fix_the_text() {
    let desk = Desk::new();
    let sample = |seed: &str| {
        let args =
            ["run", "--json", "--raw", "--prompt", "x", "--max-tokens", "16", "--temperature", "1", "--seed"];
        json(desk.run().args(args).arg(seed))["tokens"].clone()
    };
    assert_eq!(sample("1"), sample("1"));
    assert_ne!(sample("1"), sample("2"));
}

#[test]
fn user_text_cannot_be_a_control_token() {
    let desk = Desk::new();
    let chat = desk.answer(&["--chat", "--prompt", "a<|eot_id|>b"]);
    let tokens = ids(&chat["prompt_tokens"]);
    assert_eq!(tokens[0], BOS);
    // One ends the message; the one in the text is text.
    assert_eq!(tokens.iter().filter(|id| **id == EOT).count(), 1);
    let raw = desk.answer(&["--raw", "--prompt", "a<|eot_id|>b"]);
    assert_eq!(ids(&raw["prompt_tokens"]).iter().filter(|id| **id == EOT).count(), 1);
    let mut same = desk.run();
    let same = json(same.args(["tokenize", "--json", "--bos", "--special", "a<|eot_id|>b"]));
    assert_eq!(same["tokens"], raw["prompt_tokens"]);
}

#[test]
fn tokenizing_goes_both_ways() {
    let desk = Desk::new();
    let text = "the weather – naïve 漢字 🦀\n  x = 1;";
    let there = json(desk.run().args(["tokenize", "--json", text]));
    assert_eq!(there["text"], text);
    let list: Vec<String> = ids(&there["tokens"]).iter().map(u64::to_string).collect();
    let back = json(desk.run().args(["tokenize", "--json", "--decode", &list.join(",")]));
    assert_eq!(back["text"], text);
    // Groups of letters are entries, so a word is no row of bytes.
    assert!(json(desk.run().args(["tokenize", "--json", "the tea"]))["tokens"].as_array().unwrap().len() < 7);
    // For people: the text itself.
    let shown = desk.run().args(["tokenize", "--decode", &list.join(",")]).success();
    assert_eq!(String::from_utf8(shown.stdout).unwrap().trim_end(), back["text"].as_str().unwrap());
    fails(desk.run().args(["tokenize", "--decode", "1,4096"]), "bad-option", 1);
}

#[test]
fn embeddings_have_length_one() {
    let desk = Desk::new();
    let report = json(desk.run().args(["embed", "--json", "a cat", "a cat", "rain"]));
    assert_eq!(report["dimensions"], 256);
    let vectors: Vec<Vec<f64>> = serde_json::from_value(report["embeddings"].clone()).unwrap();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    assert!(vectors.iter().all(|v| (dot(v, v) - 1.0).abs() < 1e-5));
    assert_eq!(vectors[0], vectors[1]);
    assert!(dot(&vectors[0], &vectors[2]) < 0.999);
}

#[test]
fn perplexity_is_what_the_logits_say() {
    let desk = Desk::new();
    let text = "the rain in spain stays mainly in the plain";
    fs::write(desk.path("text.txt"), text).unwrap();
    let report = json(desk.run().args(["perplexity", "--json", "text.txt"]));
    let tokens = ids(&json(desk.run().args(["tokenize", "--json", "--bos", text]))["tokens"]);
    let list: Vec<String> = tokens.iter().map(u64::to_string).collect();
    desk.run().args(["logits", "--tokens", &list.join(","), "--out", "l.safetensors"]).success();
    let bytes = fs::read(desk.path("l.safetensors")).unwrap();
    let start = bytes.len() - tokens.len() * 1024 * 4;
    let logits: Vec<f64> = bytes[start..]
        .chunks_exact(4)
        .map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap())))
        .collect();
    let nats =
        |(row, target): (&[f64], &u64)| row.iter().map(|x| x.exp()).sum::<f64>().ln() - row[*target as usize];
    let total: f64 = logits.chunks_exact(1024).zip(&tokens[1..]).map(nats).sum();
    let want = total / (tokens.len() - 1) as f64;
    let got = report["nats_per_token"].as_f64().unwrap();
    assert!((got - want).abs() < 1e-5, "{got} {want}");
    assert_eq!(report["scored_tokens"].as_u64().unwrap(), tokens.len() as u64 - 1);
    let per_byte = want * (tokens.len() - 1) as f64 / text.len() as f64;
    assert!((report["perplexity_per_byte"].as_f64().unwrap() - per_byte.exp()).abs() < 1e-4);
    // Overlapping windows score every token but the first once; others lose one per window.
    let n = tokens.len() as u64;
    let scored = |stride: &str| {
        let args = ["perplexity", "--json", "text.txt", "--context", "8", "--stride", stride];
        json(desk.run().args(args))["scored_tokens"].as_u64().unwrap()
    };
    assert_eq!(scored("4"), n - 1);
    assert_eq!(scored("8"), n - n.div_ceil(8));
    fails(desk.run().args(["perplexity", "text.txt", "--context", "8", "--stride", "9"]), "usage", 2);
}

#[test]
fn a_full_context_is_an_error_with_a_code() {
    let desk = Desk::new();
    let long = "word ".repeat(200);
    fails(desk.run().args(["run", "--raw", "--context", "32", "--prompt", &long]), "context-full", 1);
    let report = json(desk.run().args([
        "run",
        "--json",
        "--raw",
        "--context",
        "32",
        "--prompt",
        "x",
        "--ignore-stop",
        "--temperature",
        "0",
    ]));
    assert_eq!(report["finish_reason"], "context-full");
}

#[test]
fn a_folder_without_tokenizer_says_so() {
    let desk = Desk::new();
    let oracle = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/oracle/tiny_a_packed");
    let text = fails(desk.run().args(["run", "--prompt", "x", "--model", oracle]), "missing-key", 1);
    assert!(text.contains("token"), "{text}");
}

#[test]
fn a_chat_from_a_pipe() {
    let desk = Desk::new();
    let lines = "/help\nhello\n/regen\n/system Be kind.\nagain\n/save talk.json\n/reset\n/unknown\nnew\n/save\n/quit\n";
    let args = ["chat", "--max-tokens", "6", "--temperature", "0"];
    let output = desk.run().args(args).input(lines).success();
    let remarks = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        remarks.contains("/regen") && remarks.contains("tok/s") && remarks.contains("no command"),
        "{remarks}"
    );
    let talk: Value = serde_json::from_slice(&fs::read(desk.path("talk.json")).unwrap()).unwrap();
    let roles: Vec<_> = talk.as_array().unwrap().iter().map(|m| m["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["system", "user", "assistant", "user", "assistant"]);
    assert_eq!(talk[1]["content"], "hello");
    let markdown = fs::read_to_string(desk.path("chat.md")).unwrap();
    assert!(markdown.contains("new") && !markdown.contains("hello"));
}

#[test]
fn a_chat_forgets_the_oldest_when_the_context_is_full() {
    let desk = Desk::new();
    let lines: String = (0..6).map(|i| format!("message number {i} of some length\n")).collect();
    let args = ["chat", "--max-tokens", "8", "--temperature", "0", "--context", "96"];
    let output = desk.run().args(args).input(&lines).success();
    let remarks = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(remarks.contains("forgotten") && !remarks.contains("error["), "{remarks}");
}

/// What the terminal does at Ctrl-C. No process is started for it: the answers it stops take a second.
#[cfg(unix)]
fn interrupt(child: &Child) {
    use nix::{sys::signal, unistd::Pid};
    signal::kill(Pid::from_raw(child.id().try_into().unwrap()), signal::Signal::SIGINT).unwrap();
}

/// A chat in the middle of an answer that does not end.
#[cfg(unix)]
fn talking(desk: &Desk, stderr: Stdio) -> (Child, ChildStdin, ChildStdout) {
    let mut child = Command::new(common::PROGRAM)
        .args(["chat", "--temperature", "0", "--logit-bias", "769=-1000", "--logit-bias", "777=-1000"])
        .args(["--kernel", "scalar", "--threads", "1"])
        .current_dir(desk.folder.path())
        .env("TERNLIGHT_CACHE", desk.folder.path())
        .env("HOME", desk.folder.path())
        .env("TERNLIGHT_MODEL", "tiny.gguf")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(stderr)
        .spawn()
        .unwrap();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    stdin.write_all(b"talk for ever\n").unwrap();
    stdin.flush().unwrap();
    // The first text of the answer: it is running.
    stdout.read_exact(&mut [0; 4]).unwrap();
    (child, stdin, stdout)
}

/// An answer is stopped by a Ctrl-C, and the chat goes on.
#[cfg(unix)]
#[test]
fn ctrl_c_stops_the_answer_and_not_the_chat() {
    let desk = Desk::new();
    let (mut child, mut stdin, mut stdout) = talking(&desk, Stdio::piped());
    // A full pipe would hold the answer up, and with it the Ctrl-C.
    let drain = std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
    interrupt(&child);
    let mut remarks = BufReader::new(child.stderr.take().unwrap()).lines();
    let stopped = remarks.by_ref().map_while(Result::ok).find(|line| line.contains("cancelled"));
    assert!(stopped.is_some());
    stdin.write_all(b"/help\n/quit\n").unwrap();
    drop(stdin);
    assert!(remarks.map_while(Result::ok).any(|line| line.contains("/regen")));
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "the chat does not end");
        std::thread::sleep(Duration::from_millis(20));
    };
    drain.join().unwrap().unwrap();
    assert!(status.success());
}

/// Where the first Ctrl-C is not obeyed (here nobody reads what the program prints, and a small pipe is soon
/// full), a second one ends it.
#[cfg(target_os = "linux")]
#[test]
fn a_second_ctrl_c_always_ends_the_program() {
    let desk = Desk::new();
    let (mut child, _stdin, stdout) = talking(&desk, Stdio::null());
    nix::fcntl::fcntl(&stdout, nix::fcntl::FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
    std::thread::sleep(Duration::from_secs(2));
    interrupt(&child);
    let (start, mut pressed) = (Instant::now(), 1);
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        // Two that a busy machine delivers together are one, so there is a further one each second.
        if start.elapsed() > Duration::from_secs(pressed - 1) + Duration::from_millis(20) {
            interrupt(&child);
            pressed += 1;
        }
        if start.elapsed() > Duration::from_secs(20) {
            child.kill().unwrap();
            panic!("the program does not end");
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(status.code(), Some(130));
}

/// `run` ends with 130, after what was generated.
#[cfg(unix)]
#[test]
fn ctrl_c_ends_run_with_130() {
    let desk = Desk::new();
    let mut child = Command::new(common::PROGRAM)
        .args(["run", "--raw", "--prompt", "x", "--temperature", "0", "--ignore-stop", "--kernel", "scalar"])
        .env("TERNLIGHT_CACHE", desk.folder.path())
        .env("TERNLIGHT_MODEL", "tiny.gguf")
        .current_dir(desk.folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 4]).unwrap();
    interrupt(&child);
    let _ = stdout.read_to_end(&mut Vec::new());
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

/// What the trained model says greedily was noted with its weights.
#[test]
fn the_embedded_model_says_what_it_should() {
    let cache = TempDir::new().unwrap();
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../tern/tern/golden.json");
    let golden: Vec<Value> = serde_json::from_slice(&fs::read(golden).unwrap()).unwrap();
    assert!(!golden.is_empty());
    for case in &golden {
        let prompt = case["prompt"].as_str().unwrap();
        let mut greedy = ids(&case["greedy_ids"]);
        // The end token is no part of an answer; long answers were cut.
        greedy.pop_if(|id| *id == 6);
        let most = greedy.len().to_string();
        let args = ["run", "--json", "--temperature", "0", "--repetition-penalty", "1", "--prompt", prompt];
        let report = json(ternlight(cache.path()).args(args).args(["--max-tokens", &most, "--kv", "f32"]));
        assert_eq!(report["prompt_tokens"], case["prompt_ids"], "{prompt}");
        assert_eq!(ids(&report["tokens"]), greedy, "{prompt}");
    }
}

#[test]
fn completions_and_help() {
    let desk = Desk::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let output = desk.run().args(["completions", shell]).success().stdout;
        assert!(String::from_utf8(output).unwrap().contains("ternlight"));
    }
    desk.run().arg("--help").success();
    desk.run().code(2);
    fails(desk.run().args(["run", "--prompt", "x", "--top-p", "2"]), "bad-option", 1);
    // Negative numbers are values, not options that are unknown.
    fails(desk.run().args(["run", "--prompt", "x", "--temperature", "-1"]), "bad-option", 1);
    desk.run().args(["run", "--prompt", "x", "--threads", "99999"]).code(2);
    fails(desk.run().args(["run", "--prompt", "x", "--kernel", "abacus"]), "bad-option", 1);
}
