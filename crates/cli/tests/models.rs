//! Model files: made, converted, inspected, computed with, and broken on purpose.

mod common;

use std::{
    fs,
    path::{Path, PathBuf},
};

use common::{fails, json, ternlight};
use serde_json::Value;
use tempfile::TempDir;
use ternlight_core::{
    container::{Container, Index, Probe, probe},
    format::Encoding,
};

fn index(path: &Path) -> (Index, Vec<u8>) {
    let bytes = fs::read(path).unwrap();
    match probe(&bytes).unwrap() {
        Probe::Ready(index) => (index, bytes),
        Probe::Need(n) => panic!("{n} bytes are needed"),
    }
}

/// The tensors' names, encodings and bytes, whatever the header says else.
fn tensors(path: &Path) -> Vec<(String, Encoding, Vec<u8>)> {
    let (index, bytes) = index(path);
    let data = |offset: u64, len: u64| bytes[offset as usize..(offset + len) as usize].to_vec();
    let mut all: Vec<_> =
        index.tensors.iter().map(|t| (t.name.clone(), t.encoding, data(t.offset, t.bytes))).collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

struct Bench {
    folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { folder: TempDir::new().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self) -> common::Run {
        ternlight(self.folder.path())
    }

    fn synth(&self, format: &str, name: &str, seed: &str) -> PathBuf {
        let out = self.path(name);
        let args = ["synth", "--shape", "bitnet-tiny", "--json", "--format", format, "--seed", seed, "--out"];
        let report = json(self.run().args(args).arg(&out));
        assert_eq!(report["ternary"], 2 * (2 * 256 * 256 + 2 * 128 * 256 + 3 * 512 * 256));
        out
    }

    fn convert(&self, from: &Path, format: &str, name: &str) -> PathBuf {
        let out = self.path(name);
        json(
            self.run()
                .args(["convert", "--json", "--format", format, "--model"])
                .arg(from)
                .arg("--out")
                .arg(&out),
        );
        out
    }

    /// The logits file's bytes, and the argmax of each position.
    fn logits(&self, model: &Path, extra: &[&str]) -> (Vec<u8>, Value) {
        let out = self.path("logits.safetensors");
        let mut command = self.run();
        command.args(["logits", "--json", "--tokens", "768,1,2,300,511,40", "--model"]).arg(model);
        let report = json(command.arg("--out").arg(&out).args(extra));
        assert_eq!(report["shape"], serde_json::json!([6, 1024]));
        (fs::read(out).unwrap(), report["argmax"].clone())
    }
}

#[test]
fn synthetic_models_depend_on_the_seed_only() {
    let bench = Bench::new();
    let a = bench.synth("i2_s", "a.gguf", "7");
    let b = bench.synth("i2_s", "b.gguf", "7");
    let c = bench.synth("i2_s", "c.gguf", "8");
    assert_eq!(fs::read(&a).unwrap(), fs::read(b).unwrap());
    assert_ne!(fs::read(&a).unwrap(), fs::read(c).unwrap());
}

#[test]
fn every_format_is_the_same_model() {
    let bench = Bench::new();
    let i2_s = bench.synth("i2_s", "a.gguf", "3");
    let (logits, argmax) = bench.logits(&i2_s, &[]);
    for format in ["tq1_0", "tq2_0", "hf-packed"] {
        let other = bench.synth(format, &format!("{format}.model"), "3");
        let (same, same_argmax) = bench.logits(&other, &[]);
        assert_eq!(argmax, same_argmax, "{format}");
        assert!(logits == same, "{format}: other logits");
    }
    // Tied embeddings of random weights say nothing useful, but they must say different things.
    assert_ne!(argmax[0], argmax[3]);
}

#[test]
fn logits_do_not_depend_on_kernels_or_threads() {
    let bench = Bench::new();
    let model = bench.synth("i2_s", "a.gguf", "4");
    let (logits, _) = bench.logits(&model, &[]);
    for extra in [["--kernel", "scalar"], ["--threads", "1"], ["--threads", "3"]] {
        assert!(bench.logits(&model, &extra).0 == logits, "{extra:?}");
    }
    assert!(bench.logits(&model, &["--kv", "i8"]).0 != logits);
}

#[test]
fn conversion_goes_round_without_loss() {
    let bench = Bench::new();
    let start = bench.synth("i2_s", "start.gguf", "5");
    let mut last = start.clone();
    for (i, format) in ["tq2_0", "hf-packed", "tq1_0", "i2_s"].into_iter().enumerate() {
        last = bench.convert(&last, format, &format!("{i}-{format}"));
    }
    let (before, after) = (tensors(&start), tensors(&last));
    assert_eq!(before.len(), after.len());
    for (a, b) in before.iter().zip(&after) {
        assert!(a == b, "{} differs", a.0);
    }
    // The tokenizer survives too.
    let keys = |path: &Path| {
        let mut meta = index(path).0.meta.0;
        meta.retain(|key, _| key.starts_with("tokenizer."));
        meta
    };
    assert!(keys(&start) == keys(&last));
}

#[test]
fn scales_that_a_format_cannot_hold_lie_beside_the_matrix() {
    let bench = Bench::new();
    let start = bench.synth("i2_s", "start.gguf", "6");
    // A scale that neither f16 nor bf16 has.
    let (index, mut bytes) = index(&start);
    let tensor = index.tensors.iter().find(|t| t.name == "blk.0.attn_q.weight").unwrap();
    let at = (tensor.offset + tensor.bytes - 32) as usize;
    bytes[at..at + 4].copy_from_slice(&0.123_456_79f32.to_le_bytes());
    fs::write(&start, bytes).unwrap();
    let (logits, _) = bench.logits(&start, &[]);
    for format in ["tq1_0", "tq2_0", "hf-packed"] {
        let other = bench.convert(&start, format, format);
        let (same, _) = bench.logits(&other, &[]);
        assert!(logits == same, "{format}");
        let back = bench.convert(&other, "i2_s", "back.gguf");
        assert!(tensors(&back) == tensors(&start), "{format}");
    }
}

#[test]
fn the_oracles_convert_without_changing_their_logits() {
    let oracle = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/oracle");
    let bench = Bench::new();
    for (name, tokens) in [("tiny_a_packed", "1,5,7,300"), ("tiny_a_master", "1,5,7,300")] {
        let model = oracle.join(name);
        let logits = |model: &Path| {
            let out = bench.path("logits.safetensors");
            let mut command = bench.run();
            command.args(["logits", "--tokens", tokens, "--model"]).arg(model).arg("--out").arg(&out);
            command.success();
            fs::read(out).unwrap()
        };
        let want = logits(&model);
        // Its widths (128, 256) fit I2_S, whose blocks are 128 wide, but not TQ's of 256.
        let i2_s = bench.convert(&model, "i2_s", "oracle.gguf");
        assert!(logits(&i2_s) == want, "{name}");
        let packed = bench.convert(&i2_s, "hf-packed", "oracle-packed");
        assert!(logits(&packed) == want, "{name}");
        let mut command = bench.run();
        command.args(["convert", "--format", "tq2_0", "--model"]).arg(&model).args(["--out", "x.gguf"]);
        fails(&mut command, "shape", 1);
        assert!(!bench.path("x.gguf").exists() && !bench.path("x.gguf.part").exists());
    }
}

#[test]
fn inspect_tells_what_is_there() {
    let bench = Bench::new();
    let model = bench.synth("tq2_0", "a.gguf", "1");
    let report = json(bench.run().args(["inspect", "--json", "--weights", "--model"]).arg(&model));
    assert_eq!(report["container"], "GGUF");
    assert_eq!(report["architecture"], "bitnet");
    assert_eq!(report["dimensions"]["activation"], "relu2");
    assert_eq!(report["dimensions"]["layers"], 2);
    assert_eq!(report["chat_template"], true);
    assert_eq!(report["tokenizer"], "gpt2 (llama-bpe)");
    assert_eq!(report["bytes"], fs::metadata(&model).unwrap().len());
    assert_eq!(report["encodings"]["TQ2_0"]["tensors"], 14);
    let trits = report["trits"].as_array().unwrap();
    assert_eq!(trits.len(), 14);
    let zeros: u64 = trits.iter().map(|t| t["zero"].as_u64().unwrap()).sum();
    let share = zeros as f64 / report["encodings"]["TQ2_0"]["parameters"].as_f64().unwrap();
    assert!((share - 0.3125).abs() < 0.01, "{share}");
    // The estimate is what loading then takes.
    let bench_report =
        json(bench.run().args(["bench", "--json", "--prompt", "4", "--gen", "2", "--model"]).arg(&model));
    assert_eq!(report["memory"]["weights"], bench_report["packed_bytes"]);
    let text = bench.run().args(["inspect", "--tensors", "--metadata", "--model"]).arg(&model).output();
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("blk.1.ffn_down.weight") && text.contains("tokenizer.ggml.tokens"));
}

#[test]
fn a_folder_is_inspected_too() {
    let bench = Bench::new();
    let model = bench.synth("hf-packed", "folder", "1");
    let report = json(bench.run().args(["inspect", "--json", "--model"]).arg(&model));
    assert_eq!(report["container"], "safetensors");
    assert_eq!(report["chat_template"], true);
    let gguf = bench.synth("i2_s", "a.gguf", "1");
    let other = json(bench.run().args(["inspect", "--json", "--model"]).arg(&gguf));
    for key in ["dimensions", "memory"] {
        assert_eq!(report[key], other[key], "{key}");
    }
}

#[test]
fn bench_measures() {
    let bench = Bench::new();
    let args =
        ["bench", "--json", "--synthetic", "bitnet-tiny", "--prompt", "16", "--gen", "8", "--threads", "1"];
    let report = json(bench.run().args(args));
    assert_eq!(report["prefill"]["tokens"], 16);
    assert_eq!(report["decode"]["tokens"], 8);
    for key in ["decode_gb_s", "read_bandwidth_gb_s", "roofline_tok_s", "peak_rss_bytes", "bytes_per_token"] {
        assert!(report[key].as_f64().unwrap() > 0.0, "{key}");
    }
    let kernels = json(bench.run().args(["bench", "--kernels", "--json", "--kernel", "scalar"]));
    assert!(kernels.as_array().unwrap().iter().any(|k| k["kernel"] == "ternary/scalar"));
}

/// A RetNet: what it keeps is the same after a long prompt, and what `inspect` says.
#[test]
fn a_state_of_constant_size_is_shown() {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/oracle2/retnet");
    let bench = Bench::new();
    let inspected = json(bench.run().args(["inspect", "--json", "--model"]).arg(&model));
    assert_eq!(inspected["memory"]["kv_per_token"], 0);
    let runs = ["4", "300"].map(|prompt| {
        json(bench.run().args(["bench", "--json", "--gen", "3", "--prompt", prompt, "--model"]).arg(&model))
    });
    for run in &runs {
        assert_eq!(run["state_bytes"], inspected["memory"]["states"]);
        assert!(run["cache_bytes"].as_u64() > run["state_bytes"].as_u64(), "copies to go back to");
        assert_eq!(run["cache_bytes"], runs[0]["cache_bytes"]);
        assert_eq!(run["bytes_per_token"], runs[0]["bytes_per_token"]);
    }
    let text = bench.run().args(["inspect", "--model"]).arg(&model).output();
    assert!(String::from_utf8(text.stdout).unwrap().contains("of states, however long the text"));
}

#[test]
fn broken_files_have_stable_codes() {
    let bench = Bench::new();
    let good = bench.synth("i2_s", "good.gguf", "1");
    let bytes = fs::read(&good).unwrap();
    let bad = bench.path("bad.gguf");
    let header = index(&good).0.data_start as usize;
    let mut cases: Vec<(&str, Vec<u8>)> = vec![
        ("bad-magic", b"this is not a model, it is a text of some length".to_vec()),
        ("bad-magic", vec![0; 4096]),
        ("truncated", Vec::new()),
        ("truncated", bytes[..20].to_vec()),
        ("truncated", bytes[..header / 2].to_vec()),
        ("truncated", bytes[..header].to_vec()),
        ("truncated", bytes[..bytes.len() - 100].to_vec()),
    ];
    // The number of tensors, made absurd.
    let mut huge = bytes.clone();
    huge[8..16].copy_from_slice(&u64::MAX.to_le_bytes());
    cases.push(("too-large", huge));
    // A version that is not known.
    let mut version = bytes.clone();
    version[4] = 99;
    cases.push(("unsupported-format", version));
    for (code, content) in cases {
        fs::write(&bad, &content).unwrap();
        for command in ["inspect", "logits"] {
            let mut run = bench.run();
            run.arg(command).arg("--model").arg(&bad);
            if command == "logits" {
                run.args(["--tokens", "1", "--out", "x.safetensors"]);
            }
            fails(&mut run, code, 1);
        }
    }
    // A scale that is no number.
    let (index, mut nan) = index(&good);
    let tensor = index.tensors.iter().find(|t| t.name == "blk.0.attn_q.weight").unwrap();
    let at = (tensor.offset + tensor.bytes - 32) as usize;
    nan[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(&bad, nan).unwrap();
    let mut run = bench.run();
    let text = fails(run.args(["logits", "--tokens", "1", "--out", "x", "--model"]).arg(&bad), "bad-data", 1);
    assert!(text.contains("blk.0.attn_q.weight"), "{text}");
    // A missing tensor, and an unknown architecture: names changed to others of the same length.
    let replace = |from: &str, to: &str| {
        let at = bytes.windows(from.len()).position(|w| w == from.as_bytes()).unwrap();
        let mut changed = bytes.clone();
        changed[at..at + from.len()].copy_from_slice(to.as_bytes());
        changed
    };
    fs::write(&bad, replace("blk.1.ffn_up.weight", "blk.1.ffn_xp.weight")).unwrap();
    fails(
        bench.run().args(["logits", "--tokens", "1", "--out", "x", "--model"]).arg(&bad),
        "missing-tensor",
        1,
    );
}

#[test]
fn usage_errors() {
    let bench = Bench::new();
    let model = bench.synth("i2_s", "a.gguf", "1");
    fails(bench.run().args(["inspect", "--model", "no/such.gguf"]), "io", 1);
    fails(bench.run().args(["inspect", "--kernel", "nonsense", "--model"]).arg(&model), "bad-option", 1);
    fails(bench.run().args(["logits", "--tokens", "99999", "--out", "x", "--model"]).arg(&model), "usage", 2);
    bench.run().args(["convert", "--format", "i2_s", "--model"]).arg(&model).arg("--out").arg(&model).code(2);
}

#[test]
fn without_a_model_it_is_the_embedded_one() {
    let bench = Bench::new();
    let tern = json(bench.run().args(["inspect", "--json"]));
    assert_eq!(tern["architecture"], "bitnet");
    assert_eq!(tern["parameters"].as_u64().unwrap() / 1000, 3413);
    // A damaged copy in the cache is mended.
    let copy = bench.path("embedded/tern/model.safetensors");
    let good = fs::read(&copy).unwrap();
    fs::write(&copy, &good[1..]).unwrap();
    json(bench.run().args(["inspect", "--json"]));
    assert_eq!(fs::read(&copy).unwrap(), good);
    let model = bench.synth("i2_s", "a.gguf", "1");
    let named = json(bench.run().args(["inspect", "--json"]).env("TERNLIGHT_MODEL", &model));
    assert_eq!(named["path"], model.to_str().unwrap());
}

/// Commands that are about one model take it as their argument, as `inspect FILE` in the README does.
#[test]
fn the_model_is_an_argument_or_an_option() {
    let bench = Bench::new();
    let model = bench.synth("i2_s", "a.gguf", "1");
    for command in ["inspect", "bench", "run"] {
        let rest: &[&str] = match command {
            "bench" => &["--prompt", "4", "--gen", "2"],
            "run" => &["--prompt", "x", "--max-tokens", "2", "--temperature", "0"],
            _ => &[],
        };
        let answer = |model: &[&str]| json(bench.run().args([command, "--json"]).args(model).args(rest));
        let (named, argument) = (answer(&["--model", "a.gguf"]), answer(&["a.gguf"]));
        let same = ["path", "model", "parameters", "tokens", "packed_bytes"];
        assert!(same.iter().all(|key| named[key] == argument[key]), "{command}");
        assert!(same.iter().any(|key| !named[key].is_null()), "{command}");
    }
    bench.run().args(["logits", "a.gguf", "--tokens", "1,2", "--out", "a.safetensors"]).success();
    bench.run().args(["logits", "--model", "a.gguf", "--tokens", "1,2", "--out", "b.safetensors"]).success();
    assert!(fs::read(bench.path("a.safetensors")).unwrap() == fs::read(bench.path("b.safetensors")).unwrap());
    bench.run().args(["convert", "a.gguf", "--format", "hf-packed", "--out", "folder"]).success();
    assert!(bench.path("folder/model.safetensors").is_file());
    fs::write(bench.path("text.txt"), "one two three four").unwrap();
    let perplexity = |args: &[&str]| json(bench.run().args(["perplexity", "--json"]).args(args));
    let want = perplexity(&["--model", "a.gguf", "text.txt"]);
    assert_eq!(perplexity(&["a.gguf", "text.txt"]), want);
    assert_ne!(perplexity(&["text.txt"]), want, "without a model it is the embedded one");
    let tokenize = |args: &[&str]| json(bench.run().arg("tokenize").args(args));
    let want = tokenize(&["--json", "--model", "a.gguf", "the tea"]);
    assert_eq!(tokenize(&["a.gguf", "the tea", "--json"]), want);
    assert_ne!(tokenize(&["the tea", "--json"]), want);
    let ids: Vec<String> = want["tokens"].as_array().unwrap().iter().map(Value::to_string).collect();
    assert_eq!(tokenize(&["a.gguf", "--json", "--decode", &ids.join(",")]), want);
    // Twice is a mistake, and so is a model together with what replaces it.
    bench.run().args(["inspect", "a.gguf", "--model", "b.gguf"]).code(2);
    bench.run().args(["bench", "a.gguf", "--synthetic", "bitnet-tiny"]).code(2);
    bench.run().args(["bench", "a.gguf", "--kernels"]).code(2);
    bench.run().args(["perplexity", "a.gguf", "text.txt", "--model", "b.gguf"]).code(2);
    fails(bench.run().args(["tokenize", "a.gguf", "x", "--model", "b.gguf"]), "usage", 2);
    fails(bench.run().args(["tokenize", "a.gguf", "x", "--decode", "1"]), "usage", 2);
    assert!(model.is_file());
}

#[test]
fn an_error_with_json_is_json() {
    let bench = Bench::new();
    let output = bench.run().args(["inspect", "--json", "--model", "no/such.gguf"]).output();
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let error: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(error["error"]["code"], "io");
}

#[test]
fn containers_differ_but_names_agree() {
    let bench = Bench::new();
    let (gguf, _) = index(&bench.synth("i2_s", "a.gguf", "1"));
    let folder = bench.synth("hf-packed", "folder", "1");
    let (hf, _) = index(&folder.join("model.safetensors"));
    assert_eq!(gguf.container, Container::Gguf);
    assert_eq!(hf.container, Container::Safetensors);
    // The 14 matrices have a scale each beside them.
    assert_eq!(hf.tensors.len(), gguf.tensors.len() + 14);
    for name in ["config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"] {
        assert!(folder.join(name).is_file(), "{name}");
    }
}

/// The runs of a looped model, and the passes that each token took.
#[test]
fn logits_of_other_loops() {
    let bench = Bench::new();
    let folder =
        |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/oracle2").join(name);
    let floats = |data: &[u8]| -> Vec<f32> {
        data.as_chunks::<4>().0.iter().map(|word| f32::from_le_bytes(*word)).collect()
    };
    let check = |model: &str, run: &str, extra: &[&str]| {
        let reference = folder(model).join("reference.safetensors");
        let all = tensors(&reference);
        let of = |name: &str| &all.iter().find(|(own, ..)| own == name).unwrap().2;
        let words = of("tokens.seq_a").as_chunks::<4>().0.iter();
        let ids: Vec<String> = words.map(|word| i32::from_le_bytes(*word).to_string()).collect();
        let out = bench.path("logits.safetensors");
        let mut command = bench.run();
        command.args(["logits", "--json", "--tokens", &ids.join(","), "--model"]).arg(folder(model));
        let report = json(command.arg("--out").arg(&out).args(extra));
        let (got, want) = (floats(&tensors(&out)[0].2), floats(of(&format!("logits.seq_a{run}.f32"))));
        let worst = got.iter().zip(&want).fold(0.0f32, |worst, (a, b)| worst.max((a - b).abs()));
        assert!(worst < 2e-3, "{model}{run}: {worst}");
        report["loops"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(check("ouro", "", &[]), [4; 8]);
    assert_eq!(check("ouro", ".loop2", &["--loops", "2"]), [2; 8]);
    let taken = check("ouro", ".exit", &["--exit-threshold", "0.6"]);
    assert!(taken.iter().any(|&n| n < 4), "{taken:?}");
    assert_eq!(check("huginn", ".r8", &["--loops", "8"]), [8; 8]);
    let states = format!("{}:state0.seq_a", folder("huginn").join("reference.safetensors").display());
    check("huginn", ".state0", &["--loop-states", &states]);

    let report = json(bench.run().args(["inspect", "--json", "--model"]).arg(folder("huginn")));
    assert_eq!(report["dimensions"]["loops"], 4);
    let mut command = bench.run();
    command.args([
        "bench",
        "--json",
        "--prompt",
        "8",
        "--gen",
        "8",
        "--exit-threshold",
        "0.5",
        "--early-exit",
    ]);
    let report = json(command.arg("--model").arg(folder("ouro")));
    let loops = report["loops"].as_f64().unwrap();
    assert!(loops > 1.0 && loops < 4.0, "{loops}");

    let dense = folder("smollm3");
    let args = ["logits", "--tokens", "1", "--out", "x", "--loops", "2", "--model"];
    let text = fails(bench.run().args(args).arg(&dense), "bad-option", 1);
    assert!(text.contains("loops"), "{text}");
}

/// The fixed interface: token ids in, the tensor `embedding` out, the same as in the reference.
#[test]
fn embed_writes_the_pooled_vector() {
    let bench = Bench::new();
    let twin = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/published/embed_qwen3_i2s");
    let (index, bytes) = index(&twin.join("reference.safetensors"));
    let words = |name: &str| {
        let tensor = index.tensors.iter().find(|t| t.name == name).unwrap();
        bytes[tensor.offset as usize..][..tensor.bytes as usize].as_chunks::<4>().0.to_vec()
    };
    let ids: Vec<String> =
        words("tokens.seq_a").into_iter().map(|word| i32::from_le_bytes(word).to_string()).collect();
    for (pooling, name) in [("last", "embedding.seq_a"), ("mean", "embedding_mean.seq_a")] {
        let out = bench.path("embedding.safetensors");
        let mut run = bench.run();
        run.args(["embed", "--json", "--tokens", &ids.join(","), "--pooling", pooling, "--model"]);
        json(run.arg(twin.join("model.gguf")).arg("--out").arg(&out));
        let (name_written, _, data) = tensors(&out).remove(0);
        assert_eq!(name_written, "embedding");
        let want = words(name);
        assert_eq!(data.len(), 4 * want.len());
        for (got, want) in data.as_chunks::<4>().0.iter().zip(&want) {
            let (got, want) = (f32::from_le_bytes(*got), f32::from_le_bytes(*want));
            assert!((got - want).abs() < 1e-4, "{pooling}: {got} {want}");
        }
    }
}
