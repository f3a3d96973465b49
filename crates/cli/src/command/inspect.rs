//! `ternlight inspect`: what a model file holds, what it would cost, and what would run it.
//!
//! Invariant: reads headers only, unless `--weights` asks for the codes to be counted.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use clap::Args;
use serde::Serialize;
use serde_json::json;
use ternlight_core::{
    ErrorKind,
    cache::KvType,
    container::{Container, Index, Meta, TensorInfo, Value},
    format::{Encoding, Form},
    kernel,
    load::{Head, LoadOptions},
    model::{
        Spec, Weights, arch,
        role::{Field, Role, role},
    },
};
use ternlight_engine::Threads;

use crate::{
    Result,
    console::{self, ACCENT, Console, DIM, STRONG},
    failure::Failure,
    model_file,
    options::ModelOptions,
};

/// Show what a model file holds, what memory it needs, and which kernels would run it.
#[derive(Args)]
pub struct Inspect {
    #[command(flatten)]
    model: ModelOptions,

    /// List every tensor
    #[arg(long)]
    tensors: bool,

    /// List every metadata key, with long values in full
    #[arg(long)]
    metadata: bool,

    /// Load the weights and count how many are −1, 0 and +1
    #[arg(long)]
    weights: bool,

    /// Context for the memory estimate [default: the model's own]
    #[arg(long, value_name = "TOKENS")]
    context: Option<usize>,

    /// Kernels: auto, or an instruction set
    #[arg(long, value_name = "NAME", default_value = "auto")]
    kernel: String,

    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
struct Report {
    path: PathBuf,
    files: usize,
    container: &'static str,
    bytes: u64,
    name: Option<String>,
    license: Option<String>,
    architecture: String,
    dimensions: Dimensions,
    parameters: u64,
    encodings: BTreeMap<&'static str, Share>,
    tokenizer: Option<String>,
    chat_template: bool,
    memory: Memory,
    kernels: BTreeMap<&'static str, String>,
    isas: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trits: Option<Vec<Trits>>,
    metadata: serde_json::Map<String, serde_json::Value>,
    tensors: Vec<Tensor>,
}

#[derive(Serialize)]
struct Dimensions {
    layers: usize,
    hidden: usize,
    feed_forward: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    vocab: usize,
    context: usize,
    rope_theta: f32,
    norm_eps: f32,
    sub_norms: bool,
    qk_norm: bool,
    activation: String,
}

#[derive(Default, Serialize)]
struct Share {
    tensors: usize,
    parameters: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct Memory {
    /// Packed matrices.
    weights: u64,
    /// With the embedding or head as in the file.
    weights_native_head: u64,
    kv_per_token: u64,
    context: usize,
    /// Weights and a full f16 cache.
    total: u64,
}

#[derive(Serialize)]
struct Trits {
    name: String,
    negative: u64,
    zero: u64,
    positive: u64,
}

#[derive(Serialize)]
struct Tensor {
    name: String,
    shape: Vec<u64>,
    encoding: &'static str,
    bytes: u64,
}

impl Inspect {
    pub fn execute(self, console: &Console) -> Result<()> {
        let path = self.model.locate(console)?;
        let report = self.report(path, console)?;
        console.result(&report, || self.print(&report));
        Ok(())
    }

    fn report(&self, path: PathBuf, console: &Console) -> Result<Report> {
        let files = model_file::files(&path)?;
        let mut indices = Vec::new();
        let mut bytes = 0;
        for file in &files {
            let (index, len) = model_file::header(file)?;
            bytes += len;
            indices.push(index);
        }
        let container = indices[0].container;
        let meta = match container {
            Container::Gguf => indices[0].meta.clone(),
            Container::Safetensors if path.is_dir() => model_file::config(&path)?,
            Container::Safetensors => {
                let text = format!("{}: a safetensors file needs its config.json", path.display());
                return Err(
                    Failure::kind(ErrorKind::MissingKey, text).hint("name the folder instead of the file.")
                );
            }
        };
        let mut spec = arch::spec(container, &meta)?;
        let all = || indices.iter().flat_map(|index: &Index| &index.tensors);
        if let Some(embedding) = all().find(|t| role(container, &t.name) == Some(Role::Embedding)) {
            spec.vocab = embedding.shape.first().map_or(0, |n| *n as usize);
        }
        let mut encodings: BTreeMap<&'static str, Share> = BTreeMap::new();
        for tensor in all() {
            let share = encodings.entry(tensor.encoding.name()).or_default();
            share.tensors += 1;
            share.parameters += parameters(tensor);
            share.bytes += tensor.bytes;
        }
        let trits = match self.weights {
            false => None,
            true => {
                let options = LoadOptions { kernel: self.kernel.clone(), head: Head::Auto };
                let model = model_file::load(&path, options, Arc::new(Threads::new(0)), console)?;
                let of = |t: &ternlight_core::model::TensorSummary| {
                    let [negative, zero, positive] = t.trits?;
                    Some(Trits { name: t.name.clone(), negative, zero, positive })
                };
                Some(model.tensors.iter().filter_map(of).collect())
            }
        };
        let text = |key: &str| meta.opt_str(key).ok().flatten().map(str::to_owned);
        let folder_has = |name: &str| path.is_dir() && path.join(name).is_file();
        let tokenizer = match container {
            Container::Gguf => text("tokenizer.ggml.model").map(|model| match text("tokenizer.ggml.pre") {
                Some(pre) => format!("{model} ({pre})"),
                None => model,
            }),
            Container::Safetensors => folder_has("tokenizer.json").then(|| "tokenizer.json".to_owned()),
        };
        let in_config = || {
            let config = std::fs::read_to_string(path.join("tokenizer_config.json")).unwrap_or_default();
            config.contains("\"chat_template\"")
        };
        let chat_template = match container {
            Container::Gguf => meta.has("tokenizer.chat_template"),
            Container::Safetensors => folder_has("chat_template.jinja") || (path.is_dir() && in_config()),
        };
        let context = self.context.unwrap_or(spec.context);
        let (memory, kernels) = self.cost(&spec, container, &mut all(), context)?;
        Ok(Report {
            files: files.len(),
            container: match container {
                Container::Gguf => "GGUF",
                Container::Safetensors => "safetensors",
            },
            bytes,
            name: text("general.name").or_else(|| text("_name_or_path")),
            license: text("general.license"),
            architecture: spec.arch.clone(),
            dimensions: Dimensions {
                layers: spec.layers,
                hidden: spec.hidden,
                feed_forward: spec.ffn,
                heads: spec.heads,
                kv_heads: spec.kv_heads,
                head_dim: spec.head_dim,
                vocab: spec.vocab,
                context: spec.context,
                rope_theta: spec.rope.theta,
                norm_eps: spec.norm_eps,
                sub_norms: spec.sub_norms,
                qk_norm: spec.qk_norm,
                activation: format!("{:?}", spec.activation).to_lowercase(),
            },
            parameters: encodings.values().map(|share| share.parameters).sum(),
            encodings,
            tokenizer,
            chat_template,
            memory,
            kernels,
            isas: kernel::isas().collect(),
            trits,
            metadata: metadata(&meta),
            tensors: all()
                .map(|t| Tensor {
                    name: t.name.clone(),
                    shape: t.shape.clone(),
                    encoding: t.encoding.name(),
                    bytes: t.bytes,
                })
                .collect(),
            path,
        })
    }

    /// What the matrices take in memory, and the kernels that multiply them.
    fn cost(
        &self,
        spec: &Spec,
        container: Container,
        tensors: &mut dyn Iterator<Item = &TensorInfo>,
        context: usize,
    ) -> Result<(Memory, BTreeMap<&'static str, String>)> {
        let (mut weights, mut native) = (0, 0);
        let mut kernels = BTreeMap::new();
        for tensor in tensors {
            let Some(role) = role(container, &tensor.name) else { continue };
            let linear = matches!(role, Role::Linear(_, _, Field::Weight));
            let wide = match role {
                Role::Embedding => true,
                Role::Head => spec.tied != Some(true),
                _ => false,
            };
            if !(linear || wide) {
                continue;
            }
            let float = matches!(tensor.encoding, Encoding::F32 | Encoding::F16 | Encoding::BF16);
            let form = match tensor.encoding.form() {
                _ if linear && float && spec.weights == Weights::Online => Form::Ternary,
                form => form,
            };
            let (rows, cols) = match tensor.shape[..] {
                [rows, cols] if tensor.encoding == Encoding::U8 => (rows as usize * 4, cols as usize),
                [rows, cols] => (rows as usize, cols as usize),
                _ => continue,
            };
            native += self.packed(form, rows, cols, &mut BTreeMap::new())?;
            let int8 = wide && float && Head::Auto.is_int8(rows, cols);
            weights += self.packed(if int8 { Form::I8 } else { form }, rows, cols, &mut kernels)?;
        }
        let rows = 2 * spec.steps.len() as u64 * spec.kv_heads as u64;
        let kv_per_token = rows * KvType::F16.row_bytes(spec.head_dim) as u64;
        let total = weights + kv_per_token * context as u64;
        let memory = Memory { weights, weights_native_head: native, kv_per_token, context, total };
        Ok((memory, kernels))
    }

    /// Bytes of a packed matrix; notes the kernel that would run it.
    fn packed(
        &self,
        form: Form,
        rows: usize,
        cols: usize,
        kernels: &mut BTreeMap<&'static str, String>,
    ) -> Result<u64> {
        let kernel = kernel::select(form, &self.kernel)?;
        let layout = kernel.layout;
        let padded = cols.next_multiple_of(layout.step);
        let panels = rows.div_ceil(layout.panel) as u64 * (layout.panel_bytes)(padded) as u64;
        let scales = if matches!(form, Form::Ternary | Form::I8) { 4 * rows as u64 } else { 0 };
        let label = match form {
            Form::Ternary => "ternary",
            Form::Q2 => "2-bit blocks",
            Form::Q4 => "4-bit blocks",
            Form::Q8 | Form::Q8x16 => "8-bit blocks",
            Form::I8 => "int8 rows",
            Form::F16 => "f16",
            Form::BF16 => "bf16",
            Form::F32 => "f32",
        };
        kernels.insert(label, kernel.name.to_owned());
        Ok(panels + scales)
    }

    fn print(&self, report: &Report) {
        let d = &report.dimensions;
        let name = report.name.clone().unwrap_or_else(|| report.path.display().to_string());
        crate::say!("{STRONG}{name}{STRONG:#}");
        let line = |label: &str, text: String| crate::say!("  {ACCENT}{label:<14}{ACCENT:#}{text}");
        let files = if report.files > 1 { format!(", {} files", report.files) } else { String::new() };
        line(
            "file",
            format!(
                "{} ({}, {}{files})",
                report.path.display(),
                report.container,
                console::bytes(report.bytes)
            ),
        );
        if let Some(license) = &report.license {
            line("license", license.clone());
        }
        let norms = if d.sub_norms { ", sub-norms" } else { "" };
        let qk = if d.qk_norm { ", QK-norm" } else { "" };
        line("architecture", format!("{} ({}{norms}{qk})", report.architecture, d.activation));
        line("parameters", console::count(report.parameters));
        line(
            "shape",
            format!(
                "{} layers, width {}, feed-forward {}, heads {}/{} × {}, vocabulary {}, context {}",
                d.layers, d.hidden, d.feed_forward, d.heads, d.kv_heads, d.head_dim, d.vocab, d.context
            ),
        );
        for (encoding, share) in &report.encodings {
            let (n, size) = (share.tensors, console::bytes(share.bytes));
            line(
                "weights",
                format!(
                    "{encoding:<6} {:>8} parameters in {n} tensors, {size}",
                    console::count(share.parameters)
                ),
            );
        }
        let template = if report.chat_template { "with chat template" } else { "no chat template" };
        line("tokenizer", format!("{}, {template}", report.tokenizer.as_deref().unwrap_or("none")));
        let m = &report.memory;
        line(
            "memory",
            format!(
                "{} of packed weights ({} with --head native)",
                console::bytes(m.weights),
                console::bytes(m.weights_native_head)
            ),
        );
        line("", format!("{} of cache per token (f16)", console::bytes(m.kv_per_token)));
        line("", format!("{} with all {} tokens of context", console::bytes(m.total), m.context));
        let kernels: Vec<_> = report.kernels.values().map(String::as_str).collect();
        line("runs on", format!("{} (this CPU has {})", kernels.join(", "), report.isas.join(", ")));
        if let Some(trits) = &report.trits {
            print_trits(trits);
        }
        if self.metadata {
            crate::say!("");
            for (key, value) in &report.metadata {
                crate::say!("{DIM}{key}{DIM:#} {value}");
            }
        }
        if self.tensors {
            crate::say!("");
            for t in &report.tensors {
                crate::say!(
                    "{:<48} {:<7} {:>16} {DIM}{:>9}{DIM:#}",
                    t.name,
                    t.encoding,
                    shape(&t.shape),
                    console::bytes(t.bytes)
                );
            }
        }
        if !self.metadata && !self.tensors {
            crate::say!("{DIM}--tensors, --metadata and --weights show more{DIM:#}");
        }
    }
}

fn print_trits(trits: &[Trits]) {
    let mut sum = [0u64; 3];
    crate::say!("");
    for t in trits {
        let counts = [t.negative, t.zero, t.positive];
        sum.iter_mut().zip(counts).for_each(|(sum, n)| *sum += n);
        crate::say!("{:<48} {}", t.name, shares(counts));
    }
    if sum.iter().any(|n| *n > 0) {
        crate::say!("{STRONG}{:<48} {}{STRONG:#}", "all ternary weights", shares(sum));
    }
}

fn shares(counts: [u64; 3]) -> String {
    let total = counts.iter().sum::<u64>().max(1) as f64;
    let [n, z, p] = counts.map(|count| 100.0 * count as f64 / total);
    format!("−1 {n:5.2} %   0 {z:5.2} %   +1 {p:5.2} %")
}

fn shape(shape: &[u64]) -> String {
    shape.iter().map(u64::to_string).collect::<Vec<_>>().join(" × ")
}

/// Weights a tensor stands for; HF packed bytes hold four.
fn parameters(tensor: &TensorInfo) -> u64 {
    let count = tensor.shape.iter().product::<u64>();
    if tensor.encoding == Encoding::U8 { 4 * count } else { count }
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
