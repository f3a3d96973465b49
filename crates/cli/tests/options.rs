//! Options that change what a model computes: `--set`, `--kv`.

mod common;

use std::{
    fs,
    path::{Path, PathBuf},
};

use common::{fails, json, ternlight};
use tempfile::TempDir;
use ternlight_core::container::{Probe, probe};

fn oracle(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/oracle2").join(folder)
}

/// The values of a tensor of 32-bit numbers.
fn words(file: &Path, name: &str) -> Vec<u32> {
    let bytes = fs::read(file).unwrap();
    let Probe::Ready(index) = probe(&bytes).unwrap() else { panic!("a whole file") };
    let tensor = index.tensors.iter().find(|t| t.name == name).unwrap_or_else(|| panic!("{name}"));
    let data = &bytes[tensor.offset as usize..][..tensor.bytes as usize];
    data.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word)).collect()
}

/// How far the logits of `ternlight logits` with these options are from those of a reference run, at most.
fn furthest(folder: &str, run: &str, options: &[&str]) -> f32 {
    let place = TempDir::new().unwrap();
    let out = place.path().join("logits.safetensors");
    let reference = oracle(folder).join("reference.safetensors");
    let ids: Vec<String> = words(&reference, "tokens.seq_b").iter().map(u32::to_string).collect();
    let mut command = ternlight(place.path());
    command.args(["logits", "--json", "--tokens", &ids.join(","), "--model"]).arg(oracle(folder));
    json(command.arg("--out").arg(&out).args(options));
    let (got, want) = (words(&out, "logits"), words(&reference, &format!("logits.seq_b{run}.f32")));
    assert_eq!(got.len(), want.len());
    let both = got.iter().zip(&want).map(|(a, b)| (f32::from_bits(*a) - f32::from_bits(*b)).abs());
    both.fold(0.0, f32::max)
}

/// The runs of BitNet a4.8, by the options that `tests/quantisers.rs` documents.
#[test]
fn the_command_line_reaches_every_run_of_a_folder() {
    let (bits, queries) = ("kv_cache_quantization.bits=3", "kv_cache_quantization.q_bits=4");
    let runs: [(&str, &[&str]); 7] = [
        ("", &[]),
        ("", &["--kv", "a48"]),
        (".kvoff", &["--kv", "f32"]),
        (".kvoff", &["--set", "kv_cache_quantization=null"]),
        (".kv3", &["--set", bits]),
        (".q4kv4", &["--set", queries]),
        (".q4kv3", &["--set", bits, "--set", queries]),
    ];
    for (run, options) in runs {
        let off = furthest("a48_int4", run, options);
        assert!(off <= 5e-4, "{options:?}: {off:e} from '{run}'");
    }
    // The runs differ by far more, so an option that did nothing would be seen.
    assert!(furthest("a48_int4", ".kv3", &[]) > 1.0);
}

#[test]
fn what_is_set_is_shown_and_subject_to_the_rules() {
    let place = TempDir::new().unwrap();
    let model = oracle("a48_int4");
    let run = |args: &[&str]| {
        let mut command = ternlight(place.path());
        command.args(args).arg(&model);
        command
    };
    let report = json(&mut run(&["inspect", "--json", "--set", "rope_theta=5e5", "--set", "_note=x=y"]));
    assert_eq!(report["set"], serde_json::json!({"_note": "x=y", "rope_theta": 5e5}));
    assert_eq!(report["dimensions"]["rope_theta"], 5e5);
    assert_eq!(report["metadata"]["_note"], "x=y");
    let text = fails(&mut run(&["inspect", "--set", "new.key=2"]), "unsupported-arch", 1);
    assert!(text.contains("'new.key'"), "{text}");
    let text = fails(&mut run(&["inspect", "--set", "hidden_size=null"]), "missing-key", 1);
    assert!(text.contains("hidden_size"), "{text}");
    run(&["inspect", "--set", "no-value"]).code(2);
    run(&["inspect", "--set", "=1"]).code(2);
}

#[test]
fn codes_of_the_cache_that_a_model_lacks_are_refused() {
    let place = TempDir::new().unwrap();
    let out = place.path().join("logits.safetensors");
    let mut command = ternlight(place.path());
    command.args(["logits", "--tokens", "1,2", "--kv", "a48", "--model"]).arg(oracle("qsparse"));
    let text = fails(command.arg("--out").arg(out), "bad-option", 1);
    assert!(text.contains("a48"), "{text}");
}
