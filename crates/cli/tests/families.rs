//! Mixtures of experts: grown from others, and made of random weights in each family's own way.

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use common::{fails, json, ternlight};
use serde_json::Value;
use tempfile::TempDir;
use ternlight_core::{
    container::{Probe, probe},
    format::Encoding,
};

fn oracle(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/oracle2").join(folder)
}

/// Shape, encoding and bytes of each tensor of a folder.
fn tensors(folder: &Path) -> BTreeMap<String, (Vec<u64>, Encoding, Vec<u8>)> {
    let bytes = fs::read(folder.join("model.safetensors")).unwrap();
    let Probe::Ready(index) = probe(&bytes).unwrap() else { panic!("a whole file") };
    let data = |offset: u64, len: u64| bytes[offset as usize..][..len as usize].to_vec();
    let of =
        |t: &ternlight_core::container::TensorInfo| (t.shape.clone(), t.encoding, data(t.offset, t.bytes));
    index.tensors.iter().map(|t| (t.name.clone(), of(t))).collect()
}

/// A configuration without what only the oracles say.
fn config(folder: &Path) -> Value {
    let mut config: Value = serde_json::from_slice(&fs::read(folder.join("config.json")).unwrap()).unwrap();
    config.as_object_mut().unwrap().retain(|key, _| !key.starts_with("oracle_"));
    config
}

fn grow(place: &Path, from: &str, depth: &str, experts: &str) -> common::Run {
    let mut run = ternlight(place);
    run.args(["convert", "grow", "--json", "--depth", depth, "--experts", experts]);
    run.arg(oracle(from)).arg("--out").arg(place.join("grown"));
    run
}

/// Every tensor of the models that another program grew, byte for byte.
#[test]
fn grown_models_are_the_reference_s() {
    for (want, depth, experts) in
        [("growth_depth", "2", "1"), ("growth_width", "1", "2"), ("growth_both", "2", "2")]
    {
        let place = TempDir::new().unwrap();
        let report = json(&mut grow(place.path(), "growth_base", depth, experts));
        let (got, want_tensors) = (tensors(&place.path().join("grown")), tensors(&oracle(want)));
        assert_eq!(report["tensors"], want_tensors.len());
        assert_eq!(got.keys().collect::<Vec<_>>(), want_tensors.keys().collect::<Vec<_>>(), "{want}");
        for (name, tensor) in &want_tensors {
            assert!(got[name] == *tensor, "{want}: {name}");
        }
        assert_eq!(config(&place.path().join("grown")), config(&oracle(want)), "{want}");
    }
}

#[test]
fn what_cannot_be_grown_is_refused() {
    let place = TempDir::new().unwrap();
    let text = fails(&mut grow(place.path(), "llama_variant", "1", "2"), "bad-option", 1);
    assert!(text.contains("experts"), "{text}");
    // Which of its layers are mixtures follows from their numbers.
    let text = fails(&mut grow(place.path(), "moe_qwen3_nonorm", "2", "1"), "unsupported-format", 1);
    assert!(text.contains("config.json"), "{text}");
    assert!(!place.path().join("grown").exists());
    grow(place.path(), "growth_base", "0", "1").code(2);
    let mut into_itself = ternlight(place.path());
    into_itself.args(["convert", "grow"]).arg(oracle("growth_base")).arg("--out").arg(oracle("growth_base"));
    into_itself.code(2);
    // Without `grow`, what is needed is still needed.
    ternlight(place.path()).args(["convert", "x.gguf", "--out", "y.gguf"]).code(2);
}

/// Lists of entries for each layer grow as well.
#[test]
fn lists_of_active_experts_grow() {
    let place = TempDir::new().unwrap();
    json(&mut grow(place.path(), "moe_sigma", "2", "3"));
    let (base, grown) = (config(&oracle("moe_sigma")), config(&place.path().join("grown")));
    let list = |config: &Value| -> Vec<u64> {
        config["moe_topk_per_layer"].as_array().unwrap().iter().map(|k| k.as_u64().unwrap()).collect()
    };
    let want: Vec<u64> = list(&base).into_iter().flat_map(|k| [3 * k, 3 * k]).collect();
    assert_eq!(list(&grown), want);
    let mut run = ternlight(place.path());
    run.args(["logits", "--json", "--tokens", "1,2,3", "--out", "logits", "--model", "grown"]);
    assert_eq!(json(&mut run)["shape"][0], 3);
}

#[test]
fn inspect_shows_what_is_shared() {
    let place = TempDir::new().unwrap();
    let inspect = |folder: &str| {
        json(ternlight(place.path()).args(["inspect", "--json", "--tensors"]).arg(oracle(folder)))
    };
    let (base, grown) = (inspect("growth_base"), inspect("growth_both"));
    assert_eq!(base["memory"]["shared"], 0);
    assert!(grown["memory"]["shared"].as_u64().unwrap() > base["memory"]["weights"].as_u64().unwrap() / 2);
    let same: BTreeMap<&str, &str> = grown["tensors"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|t| Some((t["name"].as_str()?, t["becomes"][0]["same_as"].as_str()?)))
        .collect();
    let q = |layer: usize| format!("model.layers.{layer}.self_attn.q_proj.weight");
    assert_eq!(same.get(&*q(1)), Some(&&*q(0)));
    assert_eq!(same.get(&*q(2)), None);
    let up =
        |layer: usize, expert: usize| format!("model.layers.{layer}.mlp.experts.{expert}.up_proj.weight");
    assert_eq!(same.get(&*up(1, 5)), same.get(&*up(0, 5)));
    let text =
        ternlight(place.path()).args(["inspect", "--tensors"]).arg(oracle("growth_both")).success().stdout;
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("saved by matrices that are the same"), "{text}");
    assert!(text.contains(&format!("the same as {}", q(0))), "{text}");
}

const SMALL: [&str; 6] =
    ["maple-tiny", "bitnet-moe-tiny", "mixtral-tiny", "qwen3-moe-tiny", "olmoe-tiny", "gpt-oss-tiny"];

#[test]
fn families_of_random_weights_load_and_run() {
    for shape in SMALL {
        let place = TempDir::new().unwrap();
        let model = place.path().join(if shape.starts_with("maple") { "model.gguf" } else { "model" });
        let mut synth = ternlight(place.path());
        let made = json(synth.args(["synth", "--json", "--shape", shape, "--out"]).arg(&model));
        let inspected = json(ternlight(place.path()).args(["inspect", "--json"]).arg(&model));
        assert_eq!(inspected.get("missing"), None, "{shape}");
        assert!(made["parameters"].as_u64() > Some(1_000_000), "{shape}");
        let logits = |extra: &[&str]| {
            let out = place.path().join("logits");
            let mut run = ternlight(place.path());
            run.args(["logits", "--json", "--tokens", "5,900,17,300,2", "--model"]).arg(&model);
            json(run.arg("--out").arg(&out).args(extra));
            fs::read(out).unwrap()
        };
        let all = logits(&[]);
        // Routers decide, and more experts say something else.
        assert!(all != logits(&["--experts", "1"]) && all != logits(&["--experts", "1,1,1,3"]), "{shape}");
        assert!(all == logits(&["--kernel", "scalar"]), "{shape}");
        let text = fails(
            ternlight(place.path())
                .args(["logits", "--tokens", "1", "--out", "x", "--experts", "99", "--model"])
                .arg(&model),
            "bad-option",
            1,
        );
        assert!(text.contains("experts"), "{shape}: {text}");
    }
}

/// Families without experts (or with a router that `--experts` does not change).
#[test]
fn other_families_of_random_weights_load_and_run() {
    let place = TempDir::new().unwrap();
    for shape in [
        "ouro-tiny",
        "universal-tiny",
        "recursive-tiny",
        "mor-tiny",
        "huginn-tiny",
        "deepnet-tiny",
        "magneto-tiny",
        "xpos-tiny",
        "xmoe-tiny",
        "retnet-tiny",
        "fp8-tiny",
        "mxfp4-tiny",
        "nvfp4-tiny",
        "minicpm-tiny",
        "hunyuan-tiny",
    ] {
        let model = place.path().join(shape);
        let mut synth = ternlight(place.path());
        let made = json(synth.args(["synth", "--json", "--shape", shape, "--out"]).arg(&model));
        assert!(made["parameters"].as_u64() > Some(500_000), "{shape}");
        let logits = |kernel: &str| {
            let out = place.path().join("logits");
            let mut run = ternlight(place.path());
            run.args(["logits", "--json", "--tokens", "5,900,17,300,2", "--kernel", kernel, "--model"]);
            let report = json(run.arg(&model).arg("--out").arg(&out));
            (report["argmax"].clone(), fs::read(out).unwrap())
        };
        let (argmax, all) = logits("auto");
        assert!(all == logits("scalar").1, "{shape}");
        // Weights of a sensible size say different things of different tokens.
        let argmax: BTreeSet<u64> =
            argmax.as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect();
        assert!(argmax.len() >= 3, "{shape}: {argmax:?}");
    }
}

#[test]
fn passes_and_layers_are_timed() {
    let place = TempDir::new().unwrap();
    let bench = |args: &[&str]| {
        let mut bench = ternlight(place.path());
        bench.args(["bench", "--json", "--prompt", "8", "--gen", "4", "--threads", "1"]);
        bench.args(args).args(["--head", "native"]);
        json(&mut bench)
    };
    let ouro = bench(&["--synthetic", "ouro-tiny"]);
    assert_eq!((&ouro["loops"], &ouro["passes"]["later"]), (&Value::from(3.0), &Value::from(2.0)));
    assert_eq!(ouro.get("layers"), None);
    for key in ["first_ms", "first_gb_s", "later_ms", "later_gb_s"] {
        assert!(ouro["passes"][key].as_f64() > Some(0.0), "{key}");
    }
    // Loops read their weights again.
    let once = bench(&["--synthetic", "ouro-tiny", "--loops", "1"]);
    let bytes = |report: &Value| report["bytes_per_token"].as_u64().unwrap();
    assert_eq!(once.get("passes"), None);
    assert!(bytes(&ouro) - bytes(&once) >= 2 * ouro["passes"]["bytes"].as_u64().unwrap());
    let dense = bench(&["--synthetic", "bitnet-tiny", "--layers"]);
    assert_eq!(dense["layers"].as_array().unwrap().len(), 8);
    assert!(dense["layers"][0]["ms_per_token"].as_f64() > Some(0.0));
    assert_eq!(dense.get("passes"), None);
    let text = fails(ternlight(place.path()).args(["bench", "--families", "ouros"]), "usage", 2);
    assert!(text.contains("ouros") && text.contains("ouro-in-cache"), "{text}");
}

#[test]
fn every_small_family_can_be_timed() {
    let place = TempDir::new().unwrap();
    for shape in SMALL {
        let mut bench = ternlight(place.path());
        bench.args([
            "bench",
            "--json",
            "--synthetic",
            shape,
            "--prompt",
            "8",
            "--gen",
            "3",
            "--threads",
            "1",
        ]);
        let report = json(&mut bench);
        assert_eq!(report["decode"]["tokens"], 3, "{shape}");
        assert!(
            report["bytes_per_token"].as_u64() < report["packed_bytes"].as_u64().map(|n| n + 100_000),
            "{shape}"
        );
    }
    let mut synth = ternlight(place.path());
    synth.args(["synth", "--shape", "mixtral-tiny", "--format", "i2_s", "--out", "x"]);
    fails(&mut synth, "usage", 2);
}
