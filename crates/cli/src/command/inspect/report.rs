//! What `inspect` finds out: headers, the loading plan, and its cost.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Serialize;
use serde_json::json;
use ternlight_core::{
    ErrorKind,
    cache::KvType,
    container::{Container, Index, Meta, TensorInfo, Value},
    format::Encoding,
    kernel,
    load::{
        HeadPrecision, LoadOptions, SparseLayouts,
        plan::{self, Becomes, Plan, Planned},
    },
    model::{
        Spec,
        arch::KnownTensors,
        spec::{Mixer, Run, Shape},
    },
    simd::Isa,
};
use ternlight_engine::Threads;

use super::{Inspect, aliases};
use crate::{Result, console::Console, failure::Failure, model_file, options::overrides};

#[derive(Serialize)]
pub struct Report {
    pub path: PathBuf,
    pub files: usize,
    pub container: &'static str,
    pub bytes: u64,
    pub name: Option<String>,
    pub license: Option<String>,
    pub architecture: String,
    pub dimensions: Dimensions,
    pub parameters: u64,
    pub encodings: BTreeMap<&'static str, Share>,
    pub tokenizer: Option<String>,
    pub chat_template: bool,
    pub memory: Memory,
    pub kernels: BTreeMap<String, String>,
    pub isas: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trits: Option<Vec<Trits>>,
    /// Tensors that the model needs and the files lack.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// Keys whose values the caller changed.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<String, serde_json::Value>,
    pub metadata: serde_json::Map<String, serde_json::Value>,
    pub tensors: Vec<Tensor>,
}

#[derive(Serialize)]
pub struct Dimensions {
    pub layers: usize,
    /// Passes through the loop of a looped model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loops: Option<usize>,
    pub hidden: usize,
    pub feed_forward: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    pub vocab: usize,
    pub context: usize,
    pub rope_theta: f32,
    pub norm_eps: f32,
    pub sub_norms: bool,
    pub qk_norm: bool,
    pub activation: String,
}

#[derive(Default, Serialize)]
pub struct Share {
    pub tensors: usize,
    pub parameters: u64,
    pub bytes: u64,
}

#[derive(Serialize)]
pub struct Memory {
    /// Packed matrices, those that are the same once.
    pub weights: u64,
    /// What is saved because some are the same.
    pub shared: u64,
    /// With the embedding or head as in the file.
    pub weights_native_head: u64,
    pub kv_per_token: u64,
    /// States that do not grow with the text (retention's).
    pub states: u64,
    pub context: usize,
    /// Weights, states and a full f16 cache.
    pub total: u64,
}

#[derive(Serialize)]
pub struct Trits {
    pub name: String,
    pub negative: u64,
    pub zero: u64,
    pub positive: u64,
}

#[derive(Serialize)]
pub struct Tensor {
    pub name: String,
    pub shape: Vec<u64>,
    pub encoding: &'static str,
    pub bytes: u64,
    /// What it becomes in memory: one for each matrix it holds.
    pub becomes: Vec<Part>,
    /// Why it is passed by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unused: Option<&'static str>,
    /// Why the model is refused because of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// A matrix or vector that the model computes with.
#[derive(Serialize)]
pub struct Part {
    pub form: String,
    pub kernel: Option<&'static str>,
    pub bytes: u64,
    /// The earlier tensor that holds the same matrix: both are one in memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub same_as: Option<String>,
}

/// The headers of all files of a model, and its metadata.
struct Headers {
    paths: Vec<PathBuf>,
    container: Container,
    meta: Meta,
    indices: Vec<Index>,
    bytes: u64,
}

impl Headers {
    fn read(path: &Path) -> Result<Self> {
        let files = model_file::files(path)?;
        let (mut indices, mut bytes) = (Vec::new(), 0);
        for file in &files {
            let (index, len) = model_file::header(file)?;
            bytes += len;
            indices.push(index);
        }
        let container = indices[0].container;
        let meta = match container {
            Container::Gguf => indices[0].meta.clone(),
            Container::Safetensors if path.is_dir() => model_file::config(path)?,
            Container::Safetensors => {
                let text = format!("{}: a safetensors file needs its config.json", path.display());
                return Err(
                    Failure::kind(ErrorKind::MissingKey, text).hint("name the folder instead of the file.")
                );
            }
        };
        Ok(Self { paths: files, container, meta, indices, bytes })
    }

    fn tensors(&self) -> impl Iterator<Item = &TensorInfo> {
        self.indices.iter().flat_map(|index| &index.tensors)
    }

    fn text(&self, key: &str) -> Option<String> {
        self.meta.opt_str(key).ok().flatten().map(str::to_owned)
    }

    /// The kind of tokenizer, and whether there is a chat template.
    fn texts(&self, path: &Path) -> (Option<String>, bool) {
        let folder_has = |name: &str| path.is_dir() && path.join(name).is_file();
        match self.container {
            Container::Gguf => {
                let pre = self.text("tokenizer.ggml.pre");
                let tokenizer = self.text("tokenizer.ggml.model").map(|model| match pre {
                    Some(pre) => format!("{model} ({pre})"),
                    None => model,
                });
                (tokenizer, self.meta.has("tokenizer.chat_template"))
            }
            Container::Safetensors => {
                let in_config = || {
                    let config = std::fs::read_to_string(path.join("tokenizer_config.json"));
                    config.unwrap_or_default().contains("\"chat_template\"")
                };
                let template = folder_has("chat_template.jinja") || (path.is_dir() && in_config());
                (folder_has("tokenizer.json").then(|| "tokenizer.json".to_owned()), template)
            }
        }
    }
}

impl Report {
    /// Looks at the model at `path`.
    ///
    /// # Errors
    /// Those of reading headers and of [`Plan::new`]; of loading, with `--weights`.
    pub fn new(args: &Inspect, path: PathBuf, console: &Console) -> Result<Self> {
        let mut headers = Headers::read(&path)?;
        overrides(&args.set).apply(&mut headers.meta)?;
        let known: KnownTensors = headers.tensors().map(|t| (t.name.clone(), Some(t.clone()))).collect();
        let options = |head| LoadOptions {
            kernel: args.kernel.clone(),
            head,
            allow_unknown: args.allow_unknown.clone(),
            exact_inputs: false,
            set: overrides(&args.set),
            experts: Vec::new(),
            sparse: SparseLayouts::default(),
        };
        let plan = |head| Plan::new(headers.container, &headers.meta, &known, &options(head));
        let (auto, native) = (plan(HeadPrecision::Auto)?, plan(HeadPrecision::Native)?);
        let mut tensors = headers.tensors().map(|info| tensor(&auto, info)).collect::<Result<Vec<_>>>()?;
        for alias in aliases::find(&auto, &headers.paths, &headers.indices)? {
            tensors[alias.tensor].becomes[alias.row].same_as = Some(alias.same_as);
        }
        let mut encodings: BTreeMap<&'static str, Share> = BTreeMap::new();
        for tensor in headers.tensors() {
            let (encoding, parameters) = stored(&auto, tensor);
            let share = encodings.entry(encoding.name()).or_default();
            share.tensors += 1;
            share.parameters += parameters;
            share.bytes += tensor.bytes;
        }
        let (tokenizer, chat_template) = headers.texts(&path);
        let mut kernels = BTreeMap::new();
        for part in tensors.iter().flat_map(|tensor| &tensor.becomes) {
            if let Some(kernel) = part.kernel {
                kernels.insert(part.form.clone(), kernel.to_owned());
            }
        }
        let context = args.context.unwrap_or(auto.spec.context);
        let weights = packed_bytes(&tensors);
        let with_native = headers.tensors().map(|info| tensor(&native, info)).collect::<Result<Vec<_>>>()?;
        let (kv_per_token, states) = (cache_bytes(&auto.spec), state_bytes(&auto.spec));
        Ok(Self {
            files: headers.paths.len(),
            container: match headers.container {
                Container::Gguf => "GGUF",
                Container::Safetensors => "safetensors",
            },
            bytes: headers.bytes,
            name: headers.text("general.name").or_else(|| headers.text("_name_or_path")),
            license: headers.text("general.license"),
            architecture: auto.spec.arch.clone(),
            dimensions: Dimensions::of(&auto.spec),
            parameters: encodings.values().map(|share| share.parameters).sum(),
            encodings,
            tokenizer,
            chat_template,
            memory: Memory {
                weights,
                shared: shared_bytes(&tensors),
                weights_native_head: packed_bytes(&with_native) - shared_bytes(&tensors),
                kv_per_token,
                states,
                context,
                total: weights + states + kv_per_token * context as u64,
            },
            kernels,
            isas: kernel::isas().map(Isa::name).collect(),
            trits: if args.weights {
                Some(trits(&path, options(HeadPrecision::Auto), console)?)
            } else {
                None
            },
            missing: auto.missing(&known),
            set: args.set.iter().cloned().collect(),
            metadata: metadata(&headers.meta),
            tensors,
            path,
        })
    }
}

impl Dimensions {
    fn of(spec: &Spec) -> Self {
        let (mixer, mlp) = (&spec.blocks[0].mixer.body, spec.blocks[0].ffn.body.mlp());
        let ((heads, kv_heads, head_dim), attention) = (mixer.heads(), mixer.attention());
        Self {
            layers: spec.blocks.len(),
            loops: spec.program.body.as_ref().map(|body| body.times),
            hidden: spec.hidden,
            feed_forward: mlp.width,
            heads,
            kv_heads,
            head_dim,
            vocab: spec.vocab,
            context: spec.context,
            rope_theta: spec.ropes.first().map_or(0.0, |rope| rope.theta),
            norm_eps: spec.norm.eps,
            sub_norms: attention.is_some_and(|attention| attention.sub_norm.is_some()),
            qk_norm: attention.is_some_and(|attention| attention.qk_norm.is_some()),
            activation: mlp.activation.name().to_owned(),
        }
    }
}

/// A row of the loading plan.
fn tensor(plan: &Plan, info: &TensorInfo) -> Result<Tensor> {
    let mut row = Tensor {
        name: info.name.clone(),
        shape: info.shape.clone(),
        encoding: stored(plan, info).0.name(),
        bytes: info.bytes,
        becomes: Vec::new(),
        unused: None,
        refused: None,
    };
    match plan.tensor(info) {
        Err(error) => row.refused = Some(error.to_string()),
        Ok(Planned::Unused(why)) => row.unused = Some(why),
        Ok(Planned::Read(parts)) => {
            for part in parts {
                let (bytes, kernel) = plan.cost(&part)?;
                row.becomes.push(Part { form: part.becomes.to_string(), kernel, bytes, same_as: None });
            }
        }
    }
    Ok(row)
}

/// Bytes of all matrices.
fn packed_bytes(tensors: &[Tensor]) -> u64 {
    let parts = tensors.iter().flat_map(|tensor| &tensor.becomes);
    let own = parts.filter(|part| part.kernel.is_some() && part.same_as.is_none());
    own.map(|part| part.bytes).sum()
}

/// Bytes that matrices would take that are others' as well.
fn shared_bytes(tensors: &[Tensor]) -> u64 {
    let parts = tensors.iter().flat_map(|tensor| &tensor.becomes);
    parts.filter(|part| part.same_as.is_some()).map(|part| part.bytes).sum()
}

/// Bytes of an f16 cache for each token.
fn cache_bytes(spec: &Spec) -> u64 {
    let state = |run: Run| {
        let Some(attention) = spec.blocks[run.block].mixer.body.attention() else { return 0 };
        2 * attention.kv_heads as u64 * KvType::F16.row_bytes(attention.head_dim) as u64
    };
    spec.program.runs(spec.program.times()).map(state).sum()
}

/// Bytes of what retention keeps, whatever the number of tokens.
fn state_bytes(spec: &Spec) -> u64 {
    let state = |run: Run| match &spec.blocks[run.block].mixer.body {
        Mixer::Retention(retention) => retention.state().bytes() as u64,
        Mixer::Attention(_) => 0,
    };
    spec.program.runs(spec.program.times()).map(state).sum()
}

fn trits(path: &Path, options: LoadOptions, console: &Console) -> Result<Vec<Trits>> {
    let model = model_file::load(path, options, Arc::new(Threads::new(0)), console)?;
    let counts = model.tensors.iter().filter_map(|t| {
        let [negative, zero, positive] = t.trits?;
        Some(Trits { name: t.name.clone(), negative, zero, positive })
    });
    Ok(counts.collect())
}

/// How a tensor stores weights, and how many: several may share a byte, and scales beside codes are none.
fn stored(plan: &Plan, tensor: &TensorInfo) -> (Encoding, u64) {
    let Ok(Planned::Read(parts)) = plan.tensor(tensor) else {
        return (tensor.encoding, tensor.shape.iter().product());
    };
    let weights = |part: &plan::Part| match part.shape {
        _ if part.becomes == Becomes::Raw && !plan.cost(part).is_ok_and(|(_, kernel)| kernel.is_some()) => 0,
        Shape::Vector(len) => len as u64,
        Shape::Matrix(rows, cols) => rows as u64 * cols as u64,
    };
    (parts.first().map_or(tensor.encoding, |part| part.encoding), parts.iter().map(weights).sum())
}

/// Metadata as JSON; long lists are shortened to their length and beginning.
fn metadata(meta: &Meta) -> serde_json::Map<String, serde_json::Value> {
    const SHOWN: usize = 8;
    let mut map = serde_json::Map::new();
    for (key, value) in &meta.0 {
        let list = |len: usize, start: serde_json::Value| match len {
            n if n <= SHOWN => start,
            n => json!({ "length": n, "start": start }),
        };
        let value = match value {
            Value::Int(i) => json!(i),
            Value::Float(f) => json!(f),
            Value::Bool(b) => json!(b),
            Value::Str(s) => json!(s),
            Value::Ints(v) => list(v.len(), json!(v[..v.len().min(SHOWN)])),
            Value::Floats(v) => list(v.len(), json!(v[..v.len().min(SHOWN)])),
            Value::Strs(v) => list(v.len(), json!(v[..v.len().min(SHOWN)])),
        };
        map.insert(key.clone(), value);
    }
    map
}
