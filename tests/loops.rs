//! Loops beside the runs of the reference (`oracle2.rs`): leaving early, one state for all passes, and what is refused.

use safetensors::SafeTensors;
use serde_json::{Value, json};
use ternlight_core::{
    ErrorKind, Result,
    cache::KvType,
    kernel,
    load::{LoadOptions, Loader},
    model::{Decoder, LoopKv, LoopOptions, Model, Want},
    simd::Isa,
};
use ternlight_tests::{bytes, decoder_with_context, load_folder, push, tokens};

const EARLY: LoopOptions =
    LoopOptions { loops: None, exit_threshold: Some(0.6), early_exit: true, kv: LoopKv::Each };

fn ids(folder: &str) -> Vec<u32> {
    let reference = bytes(&format!("oracle2/{folder}/reference.safetensors"));
    tokens(&SafeTensors::deserialize(&reference).expect("a safetensors file"), "tokens.seq_b")
}

fn decoder(folder: &str, isa: &str) -> Decoder {
    decoder_with_context(
        load_folder(&format!("oracle2/{folder}"), isa, 1 << 16).expect("a valid model"),
        64,
        64,
    )
}

fn logits(decoder: &mut Decoder, ids: &[u32], cut: usize) -> Vec<f32> {
    decoder.rewind(0);
    let pieces = ids.chunks(cut);
    pieces.flat_map(|piece| decoder.forward(piece, Want::All).expect("logits").to_vec()).collect()
}

/// The same logits and exits on every instruction set and however the prompt is cut; returns both.
fn check_bits(folder: &str, options: LoopOptions) -> (Vec<f32>, Vec<u16>) {
    let ids = ids(folder);
    let mut first = None;
    for isa in kernel::isas().map(Isa::name) {
        let mut decoder = decoder(folder, isa);
        decoder.set_loops(options).expect("loops");
        for cut in [ids.len(), 1, 3] {
            let got = (logits(&mut decoder, &ids, cut), decoder.loops_taken().to_vec());
            assert!(got == *first.get_or_insert_with(|| got.clone()), "{folder} on {isa} in pieces of {cut}");
        }
    }
    first.expect("an instruction set")
}

fn with_loops(folder: &str, options: LoopOptions) -> Vec<f32> {
    let mut decoder = decoder(folder, "auto");
    decoder.set_loops(options).expect("loops");
    logits(&mut decoder, &ids(folder), usize::MAX)
}

/// Each pass reads the blocks again, the matrices of low rank that are its own, and the adapter.
#[test]
fn bytes_of_passes_are_those_that_are_read() {
    let bytes = |model: &Model, is_read: &dyn Fn(&str) -> bool| -> usize {
        model.tensors.iter().filter(|t| is_read(&t.name)).map(|t| t.bytes).sum()
    };
    let load =
        |folder: &str| load_folder(&format!("oracle2/{folder}"), "auto", 1 << 16).expect("a valid model");
    let recursive = load("recursive");
    let linears = bytes(&recursive, &|name| name.contains("_proj.weight"));
    let low_rank = bytes(&recursive, &|name| name.contains(".lora_"));
    let head = recursive.head().bytes();
    assert!(low_rank > 0);
    assert_eq!(recursive.bytes_per_token(), 3 * linears + low_rank + head);
    let huginn = load("huginn");
    let body = bytes(&huginn, &|name| name.contains("core_block") || name.contains("adapter"));
    assert_eq!(huginn.bytes_of_pass(), body);
}

#[test]
fn leaving_early_computes_less_and_depends_on_nothing_else() {
    let (early, taken) = check_bits("ouro", EARLY);
    let fewest = taken.iter().min();
    assert!(fewest < taken.iter().max(), "tokens leave after different passes: {taken:?}");
    // The first token sees nobody, so where it leaves is all that counts.
    let late = with_loops("ouro", LoopOptions { early_exit: false, ..EARLY });
    let vocab = late.len() / taken.len();
    assert!(early[..vocab] == late[..vocab]);
    // Later ones see keys and values of passes that were not computed.
    assert!(early != late);
    // A threshold of 0 lets everybody leave at once.
    let once = with_loops("ouro", LoopOptions { loops: Some(1), ..LoopOptions::default() });
    assert!(with_loops("ouro", LoopOptions { exit_threshold: Some(0.0), ..EARLY }) == once);
}

/// Keys and values that stand in for those of passes not computed are stored in every type.
#[test]
fn leaving_early_in_every_cache() {
    let ids = ids("ouro");
    for kv in KvType::ALL {
        let model = load_folder("oracle2/ouro", "auto", 1 << 16).expect("a valid model");
        let options = ternlight_core::model::DecoderOptions { kv, block: 64, context: 64 };
        let pool = std::sync::Arc::new(ternlight_core::pool::Serial);
        let mut decoder = Decoder::new(std::sync::Arc::new(model), options, pool).expect("memory");
        decoder.set_loops(EARLY).expect("loops");
        let whole = logits(&mut decoder, &ids, ids.len());
        assert!(whole == logits(&mut decoder, &ids, 1), "{kv:?}");
    }
}

#[test]
fn one_state_for_all_passes() {
    let last = LoopOptions { kv: LoopKv::Last, ..LoopOptions::default() };
    for (folder, loops) in [("ouro", 4), ("recursive", 3)] {
        let each = with_loops(folder, LoopOptions::default());
        let (got, taken) = check_bits(folder, last);
        assert!(taken.iter().all(|&taken| taken == loops));
        let vocab = got.len() / taken.len();
        assert!(got[..vocab] == each[..vocab], "{folder}: the first token sees only itself");
        assert!(got[vocab..] != each[vocab..], "{folder}: others see other keys");
        let one = |kv| with_loops(folder, LoopOptions { loops: Some(1), kv, ..LoopOptions::default() });
        assert!(one(LoopKv::Last) == one(LoopKv::Each), "{folder}: one pass has one state");
        let bytes = |options| {
            let mut decoder = decoder(folder, "auto");
            decoder.set_loops(options).expect("loops");
            decoder.forward(&[5], Want::Nothing).expect("room");
            decoder.cache_bytes()
        };
        assert_eq!(bytes(last) * usize::from(loops), bytes(LoopOptions::default()));
    }
    check_bits("ouro", LoopOptions { kv: LoopKv::Last, ..EARLY });
    check_bits("huginn", last);
}

#[test]
fn a_decoder_forgets_what_other_loops_computed() {
    let ids = ids("ouro");
    let mut decoder = decoder("ouro", "auto");
    decoder.forward(&ids, Want::Nothing).expect("room");
    // What keys and values do not depend on.
    for same in [
        LoopOptions::default(),
        LoopOptions { loops: Some(4), ..LoopOptions::default() },
        LoopOptions { exit_threshold: Some(0.5), ..LoopOptions::default() },
    ] {
        decoder.set_loops(same).expect("loops");
        assert_eq!((decoder.position(), decoder.loops_taken().len()), (ids.len(), ids.len()));
    }
    decoder.rewind(7);
    assert_eq!(decoder.loops_taken().len(), 7);
    decoder.set_loops(LoopOptions { loops: Some(2), ..LoopOptions::default() }).expect("loops");
    assert_eq!((decoder.position(), decoder.loops_taken().len()), (0, 0));
    let two = LoopOptions { loops: Some(2), ..LoopOptions::default() };
    assert!(logits(&mut decoder, &ids, 5) == with_loops("ouro", two));
}

/// More passes than the model was made with, where nothing stands against it.
#[test]
fn more_loops_than_usual() {
    for folder in ["ouro", "universal", "huginn"] {
        let options = LoopOptions { loops: Some(6), ..LoopOptions::default() };
        let (got, taken) = check_bits(folder, options);
        assert!(taken.iter().all(|&taken| taken == 6) && got.iter().all(|x| x.is_finite()));
        assert!(got != with_loops(folder, LoopOptions::default()));
    }
}

#[test]
fn options_without_use_are_refused_by_name() {
    let none = LoopOptions::default();
    let loops = |n| LoopOptions { loops: Some(n), ..none };
    let exit = |threshold| LoopOptions { exit_threshold: Some(threshold), ..none };
    let early = LoopOptions { early_exit: true, ..none };
    for (folder, options, name) in [
        ("smollm3", loops(1), "loops"),
        ("smollm3", exit(0.5), "exit threshold"),
        ("smollm3", early, "early exit"),
        ("smollm3", LoopOptions { kv: LoopKv::Last, ..none }, "loop kv"),
        ("universal", exit(0.5), "exit threshold"),
        ("huginn", LoopOptions { early_exit: true, ..none }, "early exit"),
        ("ouro", early, "exit threshold"),
        ("ouro", exit(1.5), "1.5"),
        ("ouro", exit(f32::NAN), "NaN"),
        ("ouro", loops(0), "loops"),
        ("ouro", loops(257), "257"),
        ("recursive", loops(4), "1..=3"),
        ("mor_token_choice", loops(2), "router"),
    ] {
        let error = decoder(folder, "auto").set_loops(options).expect_err(name);
        assert!(error.kind == ErrorKind::BadOption && error.detail.contains(name), "{folder}: {error}");
    }
    let error = decoder("ouro", "auto").begin_loops_with(&[0.0; 64]).expect_err("no state");
    assert!(error.kind == ErrorKind::BadOption && error.detail.contains("state"), "{error}");
}

fn load(folder: &str, key: &str, value: &Value) -> Result<Model> {
    let mut config: Value =
        serde_json::from_slice(&bytes(&format!("oracle2/{folder}/config.json"))).expect("JSON");
    config[key] = value.clone();
    let mut loader = Loader::new(LoadOptions::default());
    loader.config(&config.to_string())?;
    push(&mut loader, "model.safetensors", &bytes(&format!("oracle2/{folder}/model.safetensors")), 1 << 16)?;
    loader.finish()
}

#[test]
fn configurations_that_mean_another_model_are_refused_by_key() {
    for (folder, key, value) in [
        ("ouro", "use_sliding_window", json!(true)),
        ("ouro", "total_ut_steps", json!(0)),
        ("ouro", "early_exit_threshold", json!(-0.5)),
        ("ouro", "early_exit_step", json!(2)),
        ("universal", "sharing", json!("middle_cycle")),
        ("universal", "num_recursions", json!(1000)),
        ("recursive", "lora_alpha", json!(16)),
        ("huginn", "injection_type", json!("add")),
        ("huginn", "state_init", json!("like-init")),
        ("huginn", "num_key_value_heads", json!(2)),
        ("huginn", "nonlin_name", json!("GELU")),
        ("huginn", "norm_class_name", json!("LayerNorm")),
        ("huginn", "bias", json!(true)),
        ("huginn", "mean_recurrence", json!(0)),
        ("mor_token_choice", "routing", json!("expert_choice")),
        ("mor_token_choice", "kv_sharing", json!("share")),
        ("mor_token_choice", "sharing", json!("cycle")),
    ] {
        let error =
            load(folder, key, &value).err().unwrap_or_else(|| panic!("{folder}: {key} {value} loads"));
        assert!(error.detail.contains(key), "{folder}: {error}");
    }
    let mut config: Value = serde_json::from_slice(&bytes("oracle2/universal/config.json")).expect("JSON");
    (config["sharing"], config["norm_each_recursion"]) = (json!("sequence"), json!(true));
    let error = Loader::new(LoadOptions::default()).config(&config.to_string()).expect_err("no such order");
    assert!(error.detail.contains("norm_each_recursion"), "{error}");
}

/// Matrices of low rank for each pass are needed, and only those.
#[test]
fn low_rank_matrices_must_be_there() {
    let error = load("recursive", "num_recursions", &json!(4)).err().expect("a pass without matrices");
    assert!(error.kind == ErrorKind::MissingTensor && error.detail.contains("lora_A.3"), "{error}");
    let error = load("recursive", "num_recursions", &json!(2)).err().expect("matrices that nobody reads");
    assert!(error.detail.contains("lora_A.2"), "{error}");
    let error = load("recursive", "lora_rank", &Value::Null).err().expect("matrices that nobody reads");
    assert!(error.detail.contains("lora_A.0"), "{error}");
}
