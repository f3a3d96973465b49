//! What a model is, for people and programs.

use serde::{Serialize, Serializer};
use ternlight_core::{
    container::{Meta, Value},
    model::{
        Spec,
        spec::{Exit, InputSemantics},
        tensor_names::LinearRole,
    },
};

/// A loaded model in numbers.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "js", derive(tsify::Tsify), tsify(missing_as_null))]
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
    /// Passes through the loop of a looped model, unless a reply asks for another number; nothing for other models.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "js", tsify(optional))]
    pub loops: Option<usize>,
    /// The loop of a looped model; nothing for other models.
    #[serde(rename = "loop", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "js", tsify(optional))]
    pub looped: Option<LoopInfo>,
    /// The experts of a mixture; nothing for other models.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "js", tsify(optional))]
    pub experts: Option<ExpertsInfo>,
    /// Linear layers that were trained to have few inputs other than 0, as the first layer has them.
    #[cfg_attr(feature = "js", tsify(type = "SparseInput[]"))]
    pub sparse_inputs: Vec<SparseInput>,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Width of the feed-forward network.
    #[serde(rename = "feedForward")]
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
    /// Bytes that are saved because matrices of several layers are the same, and one in memory.
    pub shared_bytes: u64,
    /// Bytes of weights read to decode a token.
    pub bytes_per_token: u64,
    /// The kernels that are used, each once.
    pub kernels: Vec<String>,
    /// Threads that compute.
    pub threads: usize,
    /// The type of the cache.
    pub kv: String,
    /// Every matrix, in file order.
    #[cfg_attr(feature = "js", tsify(type = "TensorSummary[]"))]
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

/// How a looped model loops.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "js", derive(tsify::Tsify), tsify(missing_as_null))]
pub struct LoopInfo {
    /// Layers before the loop.
    pub before: usize,
    /// Layers that one pass runs.
    pub inside: usize,
    /// Layers after it.
    pub after: usize,
    /// The most passes that a reply may ask for; nothing where a router chooses.
    pub most: Option<usize>,
    /// What ends the loop for a token: `last`, the last pass; `gate`, a learned probability after each pass; `router`, which
    /// says beforehand.
    #[cfg_attr(feature = "js", tsify(type = r#""last" | "gate" | "router""#))]
    pub exit: &'static str,
}

impl LoopInfo {
    pub(crate) fn of(spec: &Spec) -> Option<Self> {
        let body = spec.program.body.as_ref()?;
        let exit = match body.exit {
            Exit::Last => "last",
            Exit::Gate { .. } => "gate",
            Exit::Router { .. } => "router",
        };
        Some(Self {
            before: spec.program.prelude.len(),
            inside: body.runs.len(),
            after: spec.program.coda.len(),
            most: (exit != "router").then_some(body.limit),
            exit,
        })
    }
}

/// A mixture of experts in numbers.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "js", derive(tsify::Tsify))]
pub struct ExpertsInfo {
    /// Experts of each layer, 0 for one without.
    pub count: Vec<usize>,
    /// How many of them a token is given to, unless a reply asks for another number.
    pub active: Vec<usize>,
    /// Whether there is an expert besides that every token is given to.
    pub shared: bool,
}

impl ExpertsInfo {
    pub(crate) fn of(spec: &Spec) -> Option<Self> {
        let each = || spec.blocks.iter().map(|block| block.ffn.body.experts());
        each().flatten().next()?;
        Some(Self {
            count: each().map(|experts| experts.map_or(0, |experts| experts.count)).collect(),
            active: each().map(|experts| experts.map_or(0, |experts| experts.active)).collect(),
            shared: each().flatten().any(|experts| experts.shared.is_some()),
        })
    }
}

/// A linear layer whose inputs are mostly 0.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "js", derive(tsify::Tsify), tsify(missing_as_null))]
pub struct SparseInput {
    /// The layer: `q`, `k`, `v`, `mixergate`, `o`, `gate`, `up`, `down`.
    pub layer: String,
    /// The share of its inputs that is kept, the largest ones.
    #[serde(serialize_with = "short_number")]
    pub kept: f32,
    /// The share is kept of each so many inputs in a row; nothing: of all.
    pub block: Option<usize>,
}

impl SparseInput {
    pub(crate) fn of(spec: &Spec) -> Vec<Self> {
        let sparse = |role: LinearRole| {
            let InputSemantics::Quantised(quantiser) = spec.blocks[0].linear(role)?.input else {
                return None;
            };
            let keep = quantiser.keep?;
            Some(Self { layer: format!("{role:?}").to_lowercase(), kept: keep.share, block: keep.block })
        };
        LinearRole::ALL.into_iter().filter_map(sparse).collect()
    }
}

/// What became of a matrix of the file.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "js", derive(tsify::Tsify), tsify(rename = "TensorSummary", missing_as_null))]
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
    /// The earlier tensor that holds the same: both are one in memory.
    pub same_as: Option<String>,
    /// How many weights are −1, 0 and +1, for ternary matrices.
    #[cfg_attr(feature = "js", tsify(type = "[minus: number, zero: number, plus: number] | null"))]
    pub counts: Option<[u64; 3]>,
}

/// Sampling that a model's authors suggest; nothing where they are silent.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "js", derive(tsify::Tsify), tsify(missing_as_null))]
pub struct Sampling {
    /// Temperature; 0 where the authors say not to sample.
    #[serde(serialize_with = "short")]
    pub temperature: Option<f32>,
    /// Top-k.
    pub top_k: Option<u32>,
    /// Top-p.
    #[serde(serialize_with = "short")]
    pub top_p: Option<f32>,
    /// Min-p.
    #[serde(serialize_with = "short")]
    pub min_p: Option<f32>,
    /// Repetition penalty.
    #[serde(serialize_with = "short")]
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
}

/// As the decimal number that people wrote: 0.6, not 0.6000000238418579.
fn short<S: Serializer>(value: &Option<f32>, to: S) -> Result<S::Ok, S::Error> {
    value.and_then(|value| value.to_string().parse::<f64>().ok()).serialize(to)
}

fn short_number<S: Serializer>(value: &f32, to: S) -> Result<S::Ok, S::Error> {
    short(&Some(*value), to)
}
