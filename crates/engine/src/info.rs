//! What a model is, for people and programs.

use serde::Serialize;
use ternlight_core::container::{Meta, Value};

use crate::engine::Inner;

/// A loaded model in numbers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModelInfo {
    /// The model's own name for itself, else the file's.
    pub name: String,
    /// Architecture.
    pub arch: String,
    /// Weights in matrices.
    pub params: u64,
    /// Tokens of context in use.
    pub context: usize,
    /// Tokens of context that the model was made for.
    pub trained_context: usize,
    /// Size of the vocabulary.
    pub vocab: usize,
    /// Layers.
    pub layers: usize,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Width of the feed-forward network.
    pub ffn: usize,
    /// Query heads.
    pub heads: usize,
    /// Key/value heads.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Bytes of the files.
    pub file_bytes: u64,
    /// Bytes of the packed matrices.
    pub packed_bytes: u64,
    /// Bytes of weights read to decode a token.
    pub bytes_per_token: u64,
    /// The kernels that are used, each once.
    pub kernels: Vec<String>,
    /// Threads that compute.
    pub threads: usize,
    /// The type of the cache.
    pub kv: String,
    /// Every matrix, in file order.
    pub tensors: Vec<TensorInfo>,
    /// Whether there is a tokenizer that can be used.
    pub tokenizer: bool,
    /// Whether there is a chat template.
    pub chat: bool,
    /// The licence, where the file says so.
    pub license: Option<String>,
    /// The sampling that the authors suggest.
    pub sampling: Sampling,
}

/// What became of a matrix of the file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TensorInfo {
    /// The name in the file.
    pub name: String,
    /// Rows (outputs).
    pub rows: usize,
    /// Columns (inputs).
    pub cols: usize,
    /// The encoding in the file.
    pub encoding: String,
    /// The form in memory.
    pub form: String,
    /// The kernel that multiplies it.
    pub kernel: String,
    /// Bytes in memory.
    pub bytes: usize,
    /// How many weights are −1, 0 and +1, for ternary matrices.
    pub counts: Option<[u64; 3]>,
}

/// Sampling that a model's authors suggest; none where they say nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Sampling {
    /// Temperature; 0 where the authors say not to sample.
    pub temperature: Option<f32>,
    /// Top-k.
    pub top_k: Option<u32>,
    /// Top-p.
    pub top_p: Option<f32>,
    /// Min-p.
    pub min_p: Option<f32>,
    /// Repetition penalty.
    pub repetition_penalty: Option<f32>,
}

impl Sampling {
    /// From a flattened `generation_config.json`, or the `general.sampling.*` keys of a GGUF.
    pub(crate) fn from_meta(meta: &Meta) -> Self {
        let number = |names: [&str; 2]| {
            names.iter().find_map(|name| match meta.get(name) {
                Some(Value::Float(x)) => Some(*x as f32),
                Some(Value::Int(x)) => Some(*x as f32),
                _ => None,
            })
        };
        let greedy = matches!(meta.get("do_sample"), Some(Value::Bool(false)));
        let temperature = number(["temperature", "general.sampling.temp"]).filter(|t| *t >= 0.0);
        Self {
            temperature: if greedy { Some(0.0) } else { temperature },
            top_k: number(["top_k", "general.sampling.top_k"]).filter(|k| *k >= 0.0).map(|k| k as u32),
            top_p: number(["top_p", "general.sampling.top_p"]).filter(|p| *p > 0.0 && *p <= 1.0),
            min_p: number(["min_p", "general.sampling.min_p"]).filter(|p| (0.0..=1.0).contains(p)),
            repetition_penalty: number(["repetition_penalty", "general.sampling.penalty_repeat"])
                .filter(|p| *p > 0.0 && p.is_finite()),
        }
    }

    /// Puts these values into `options`, where the authors say something.
    pub fn apply(&self, options: &mut crate::SampleOptions) {
        let Self { temperature, top_k, top_p, min_p, repetition_penalty } = self;
        options.temperature = temperature.unwrap_or(options.temperature);
        options.top_k = top_k.map_or(options.top_k, |k| k as usize);
        options.top_p = top_p.unwrap_or(options.top_p);
        options.min_p = min_p.unwrap_or(options.min_p);
        options.repetition_penalty = repetition_penalty.unwrap_or(options.repetition_penalty);
    }
}

pub(crate) fn describe(inner: &Inner) -> ModelInfo {
    let (model, spec) = (&inner.model, &inner.model.spec);
    // Of the first block, which speaks for all in the models at hand.
    let (attention, mlp) = (&spec.blocks[0].mixer.body, &spec.blocks[0].ffn.body);
    let mut kernels: Vec<String> = Vec::new();
    for tensor in &model.tensors {
        if !kernels.iter().any(|k| k == tensor.kernel) {
            kernels.push(tensor.kernel.into());
        }
    }
    let license = match model.meta.get("general.license") {
        Some(Value::Str(license)) => Some(license.clone()),
        _ => None,
    };
    let context = crate::Engine::context_of(inner);
    ModelInfo {
        name: inner.name.clone(),
        arch: spec.arch.clone(),
        params: model.parameters(),
        context,
        trained_context: spec.context,
        vocab: spec.vocab,
        layers: spec.blocks.len(),
        hidden: spec.hidden,
        ffn: mlp.width,
        heads: attention.heads,
        kv_heads: attention.kv_heads,
        head_dim: attention.head_dim,
        file_bytes: inner.file_bytes,
        packed_bytes: model.packed_bytes() as u64,
        bytes_per_token: model.bytes_per_token() as u64,
        kernels,
        threads: inner.pool.width(),
        kv: inner.options.kv.name().into(),
        tensors: model
            .tensors
            .iter()
            .map(|t| TensorInfo {
                name: t.name.clone(),
                rows: t.rows,
                cols: t.cols,
                encoding: t.encoding.name().into(),
                form: format!("{:?}", t.form),
                kernel: t.kernel.into(),
                bytes: t.bytes,
                counts: t.trits,
            })
            .collect(),
        tokenizer: inner.tokenizer.is_ok(),
        chat: inner.template.is_some(),
        license,
        sampling: inner.sampling.clone(),
    }
}
