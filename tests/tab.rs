//! What a tab has to compute: the logits of every oracle's default run, through the engine as the npm package sets it up.
//!
//! `data/logits.json` holds a hash of their bits for each folder. Here they are within the oracle's tolerance; the test of
//! the npm package (`web/test/oracles.test.ts`) finds the same bits in Chromium.

use std::{collections::BTreeMap, fs};

use safetensors::SafeTensors;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use ternlight_core::cache::KvType;
use ternlight_engine::{Engine, EngineLoader, EngineOptions, Pooling};
use ternlight_tests::{Tolerance, argmax, bytes, data, difference, floats, tokens};

/// Greatest differences of a pooled embedding, whose length is 1.
const EMBEDDING: f32 = 1e-4;

fn load(folder: &str) -> Engine {
    let config = data(&format!("{folder}/config.json"));
    let config = config.is_file().then(|| fs::read_to_string(config).expect("UTF-8"));
    // The model's own cache codes where it has some.
    let own_codes = config.is_some_and(|config| config.contains("kv_cache_quantization"));
    let mut options =
        EngineOptions { exact_inputs: folder.starts_with("oracle2"), ..EngineOptions::default() };
    if !own_codes {
        options.kv = KvType::F32.into();
    }
    let mut loader = EngineLoader::new(options, None);
    for name in ["config.json", "model.safetensors", "model.gguf"] {
        if data(&format!("{folder}/{name}")).is_file() {
            let bytes = bytes(&format!("{folder}/{name}"));
            loader.begin_file(name, Some(bytes.len() as u64)).expect(folder);
            loader.push(&bytes).expect(folder);
            loader.end_file().expect(folder);
        }
    }
    loader.finish().expect(folder)
}

/// The hash of a folder's results, which are near the reference's.
fn hash(folder: &str, tolerance: Tolerance) -> String {
    let reference = bytes(&format!("{folder}/reference.safetensors"));
    let reference = SafeTensors::deserialize(&reference).expect("a safetensors file");
    let engine = load(folder);
    let mut digest = Sha256::new();
    for seq in ["seq_a", "seq_b", "seq_c"] {
        let ids = tokens(&reference, &format!("tokens.{seq}"));
        let got = if folder.contains("embed") {
            let got = engine.embed_tokens(&ids, Pooling::Last).expect(folder);
            let (_, max) = difference(&got, &floats(&reference, &format!("embedding.{seq}")));
            assert!(max <= EMBEDDING, "{folder} {seq}: {max:e}");
            got
        } else {
            let got = engine.logits(&ids).expect(folder);
            let want = floats(&reference, &format!("logits.{seq}.f32"));
            let (median, max) = difference(&got, &want);
            assert!(median <= tolerance.median && max <= tolerance.max, "{folder} {seq}: {median:e} {max:e}");
            let vocab = got.len() / ids.len();
            for (got, want) in got.chunks(vocab).zip(want.chunks(vocab)) {
                assert_eq!(argmax(got), argmax(want), "{folder} {seq}");
            }
            got
        };
        got.iter().for_each(|x| digest.update(x.to_le_bytes()));
    }
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Every folder of oracles with a reference, as `oracle2/…` or `published/…`.
fn folders() -> Vec<String> {
    let mut folders = Vec::new();
    for group in ["oracle2", "published"] {
        for entry in fs::read_dir(data(group)).expect("a folder") {
            let name = entry.expect("a folder").file_name().into_string().expect("UTF-8");
            if data(&format!("{group}/{name}/reference.safetensors")).is_file() {
                folders.push(format!("{group}/{name}"));
            }
        }
    }
    folders
}

#[test]
fn what_a_tab_has_to_compute() {
    let known: BTreeMap<String, Value> = serde_json::from_slice(&bytes("logits.json")).expect("JSON");
    let got: BTreeMap<String, Value> = folders()
        .into_iter()
        .map(|folder| {
            let tolerance = match folder.strip_prefix("oracle2/") {
                Some(name) => Tolerance::of(name),
                None => Tolerance::PUBLISHED,
            };
            let hash = hash(&folder, tolerance);
            (folder, hash.into())
        })
        .collect();
    assert_eq!(got, known, "{}", serde_json::to_string_pretty(&got).expect("JSON"));
}
