//! What the tests of the whole share: where the data lies, and how to load it.

pub mod counting;
pub mod gguf;
pub mod lookalike;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use safetensors::SafeTensors;
use serde_json::Value;
use ternlight_core::{
    Result,
    cache::KvType,
    load::{LoadOptions, Loader},
    model::{
        Decoder, DecoderOptions, Model, Spec,
        spec::{Block, Mixer, Norm},
        tensor_names::LinearRole,
    },
    pool::Serial,
};

/// The name of Tern's folder in `golden.json`, which was written when the model lay there. Its relatives lie beside it.
pub const TERN: &str = "../models/tern";

/// A file of the test data, or of Tern and its relatives.
pub fn data(path: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    match path.strip_prefix("../models") {
        Some(rest) => root.join("../crates/tern").join(rest.trim_start_matches('/')),
        None => root.join("data").join(path),
    }
}

/// The name of the file that [`smollm2`] reads.
pub const SMOLLM2: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";

/// The bytes of a file of the test data.
pub fn bytes(path: &str) -> Vec<u8> {
    let path = data(path);
    fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Where SmolLM2-135M-Instruct (Q4_1) is, which `./build.sh model` fetches. `None`, and a word about it, only
/// where `TERNLIGHT_WITHOUT_SMOLLM2` says that it cannot be had.
///
/// # Panics
/// If it is not there.
pub fn smollm2_path() -> Option<PathBuf> {
    fetched(SMOLLM2, "TERNLIGHT_WITHOUT_SMOLLM2")
}

/// The same for Gemma 3 270M (Q4_K_M), and `TERNLIGHT_WITHOUT_GEMMA3`.
///
/// # Panics
/// If it is not there.
pub fn gemma3_path() -> Option<PathBuf> {
    fetched("gemma-3-270m-q4_k_m.gguf", "TERNLIGHT_WITHOUT_GEMMA3")
}

fn fetched(name: &str, without: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.cache/models").join(name);
    if path.is_file() {
        return Some(path);
    }
    let allowed = std::env::var_os(without).is_some();
    assert!(allowed, "{} is not there: `./build.sh model` fetches it", path.display());
    eprintln!("NOT TESTED: {} is not there", path.display());
    None
}

/// Its bytes.
///
/// # Panics
/// As [`smollm2_path`].
pub fn smollm2() -> Option<Vec<u8>> {
    smollm2_path().map(|path| fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
}

/// Loads an HF folder of the test data with one kernel, its weights cut into chunks of `chunk` bytes.
///
/// # Errors
/// Those of the loader.
pub fn load_folder(path: &str, kernel: &str, chunk: usize) -> Result<Model> {
    load_folder_with(path, LoadOptions { kernel: kernel.into(), ..LoadOptions::default() }, chunk)
}

/// [`load_folder`] with all options.
///
/// # Errors
/// Those of the loader.
pub fn load_folder_with(path: &str, options: LoadOptions, chunk: usize) -> Result<Model> {
    let mut loader = Loader::new(options);
    loader.config(&String::from_utf8(bytes(&format!("{path}/config.json"))).expect("UTF-8"))?;
    push(&mut loader, "model.safetensors", &bytes(&format!("{path}/model.safetensors")), chunk)?;
    loader.finish()
}

/// Pushes one whole file in chunks.
///
/// # Errors
/// Those of the loader.
pub fn push(loader: &mut Loader, name: &str, bytes: &[u8], chunk: usize) -> Result<()> {
    loader.begin_file(name, Some(bytes.len() as u64))?;
    for chunk in bytes.chunks(chunk) {
        loader.push(chunk)?;
    }
    loader.end_file()
}

/// A decoder with an f32 cache, as oracles need it.
pub fn decoder(model: Model, block: usize) -> Decoder {
    decoder_with_context(model, block, 0)
}

/// The same for a context of so many tokens (0: the model's own), on which some rotary embeddings depend.
pub fn decoder_with_context(model: Model, block: usize, context: usize) -> Decoder {
    let options = DecoderOptions { kv: KvType::F32, block, context };
    Decoder::new(Arc::new(model), options, Arc::new(Serial)).expect("memory for a tiny model")
}

/// Multiplies the ε of every norm: a nudge of about one ulp, which shows which side of a rounding tie a code is on.
pub fn nudge_norms(spec: &mut Spec, factor: f32) {
    let nudge = |norm: Option<&mut Norm>| {
        if let Some(norm) = norm {
            norm.eps *= factor;
        }
    };
    nudge(Some(&mut spec.norm));
    for block in &mut spec.blocks {
        for linear in LinearRole::ALL {
            nudge(block.linear_mut(linear).and_then(|linear| linear.norm.as_mut()));
        }
        let Block { mixer, ffn } = block;
        let mlp = ffn.body.mlp_mut();
        [&mut mixer.pre, &mut ffn.pre].into_iter().for_each(|norm| nudge(Some(norm)));
        [&mut mixer.post, &mut ffn.post, &mut mlp.sub_norm].into_iter().for_each(|norm| nudge(norm.as_mut()));
        if let Mixer::Attention(attention) = &mut mixer.body {
            nudge(attention.sub_norm.as_mut());
            nudge(attention.qk_norm.as_mut().map(|qk| &mut qk.norm));
        }
    }
}

/// An f32 tensor of a safetensors file.
pub fn floats(file: &SafeTensors<'_>, name: &str) -> Vec<f32> {
    let tensor = file.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert_eq!(tensor.dtype(), safetensors::Dtype::F32, "{name}");
    tensor.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

/// Token ids (an i32 tensor) of a safetensors file.
pub fn tokens(file: &SafeTensors<'_>, name: &str) -> Vec<u32> {
    let tensor = file.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}"));
    tensor.data().as_chunks::<4>().0.iter().map(|b| u32::from_le_bytes(*b)).collect()
}

/// Greatest differences from the reference that are allowed in a folder of `oracle2`, by the rule of its README.
pub struct Tolerance {
    /// Of the median.
    pub median: f32,
    /// Of all.
    pub max: f32,
}

impl Tolerance {
    /// What is allowed in the folders of `published`, whose references multiply floats and not codes of 14 bits.
    pub const PUBLISHED: Self = Self { median: 2e-3, max: 5e-2 };

    /// What is allowed in `folder`.
    pub fn of(folder: &str) -> Self {
        let manifest: Value = serde_json::from_slice(&bytes("oracle2/manifest.json")).expect("JSON");
        let number = |key: &str| manifest[folder][key].as_f64().unwrap_or(0.0) as f32;
        let looser = if folder == "deepnet1000" { 10.0 } else { 1.0 };
        let median = 1e-5 * (number("max_logit") / 10.0).max(1.0) * looser;
        Self { median, max: (20.0 * number("f64_max")).max(1e-4) * looser }
    }
}

/// Index of the largest value.
pub fn argmax(x: &[f32]) -> usize {
    (0..x.len()).max_by(|&a, &b| x[a].total_cmp(&x[b])).expect("not empty")
}

/// Median, maximum of |a − b|.
pub fn difference(a: &[f32], b: &[f32]) -> (f32, f32) {
    assert_eq!(a.len(), b.len());
    let mut d: Vec<f32> = a.iter().zip(b).map(|(a, b)| (a - b).abs()).collect();
    d.sort_by(f32::total_cmp);
    (d[d.len() / 2], d[d.len() - 1])
}
