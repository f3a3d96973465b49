//! Orthogonal growth of a mixture of experts ("checkpoint recycling", arXiv 2510.08008), without noise.
//!
//! Depth by interposition: each layer is repeated in place (0, 0, 1, 1, …). Width: the experts are repeated after one
//! another (0, 1, …, 0, 1, …), the router's rows as well, and so many times as many are active. With weights that are
//! renormalised, or a softmax over all, wider computes the same: all clones of a chosen expert are chosen.
//!
//! Tensors are copied as they stand, whatever their encoding. Invariant: the grown model's spec is the spec of the
//! source, grown; a configuration that says more for each layer than is known here is refused.

use std::{
    fs::{self, File},
    io::{BufWriter, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use ternlight_core::{
    ErrorKind,
    container::{
        self, Container, Meta, TensorInfo,
        write::{TensorSpec, safetensors_header},
    },
    load::{
        HeadPrecision, LoadOptions,
        plan::{Plan, Planned},
    },
    model::{
        Spec,
        arch::{self, KnownTensors},
        spec::{Ffn, Program},
        tensor_names::{NormRole, TensorRole},
    },
};

use super::{
    files, header,
    load::config_text,
    write::{Part, json_file},
};
use crate::{Result, console::Console, failure::Failure, interrupt};

/// How many times as many there are of each.
#[derive(Clone, Copy, Debug)]
pub struct Growth {
    /// Layers.
    pub depth: usize,
    /// Experts, and active ones.
    pub experts: usize,
}

/// A tensor of the grown model: which one of the source, under which name.
struct Copied {
    source: usize,
    /// How often its bytes come after each other.
    repeats: usize,
    spec: TensorSpec,
}

/// Files of a model's folder that are the same for the grown one.
const TEXTS: [&str; 6] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "generation_config.json",
    "chat_template.jinja",
    "special_tokens_map.json",
    "tokenizer.model",
];

fn unsupported(what: &str) -> Failure {
    Failure::kind(ErrorKind::UnsupportedFormat, what.to_owned())
}

/// Writes the grown model of folder `from` to folder `to`; returns its bytes and how many tensors it has.
///
/// # Errors
/// `unsupported-format` for what is no Hugging Face folder and for configurations that cannot be grown, `bad-option` for
/// experts there are not; those of reading and writing.
pub fn grow(from: &Path, growth: Growth, to: &Path, console: &Console) -> Result<(u64, usize)> {
    if !from.is_dir() {
        return Err(unsupported("grow takes a Hugging Face folder"));
    }
    let mut sources: Vec<(PathBuf, TensorInfo)> = Vec::new();
    for file in files(from)? {
        sources.extend(header(&file)?.0.tensors.into_iter().map(|tensor| (file.clone(), tensor)));
    }
    let text = config_text(from)?;
    let plan = plan(&text, sources.iter().map(|(_, tensor)| tensor))?;
    let wants_experts = growth.experts > 1;
    if wants_experts && !plan.spec.blocks.iter().any(|block| block.ffn.body.experts().is_some()) {
        let error = ternlight_core::Error::new(ErrorKind::BadOption, "experts: this model has none");
        return Err(error.into());
    }
    let mut copies = Vec::new();
    for (source, (_, tensor)) in sources.iter().enumerate() {
        copies.extend(copies_of(&plan, source, tensor, growth)?);
    }
    let config = grown_config(&text, growth)?;
    check(&plan.spec, &config, &copies, growth)?;
    fs::create_dir_all(to).map_err(|e| Failure::io(to, &e))?;
    let bytes = write(&sources, &copies, &to.join("model.safetensors"), console)?;
    for name in TEXTS.iter().filter(|name| from.join(name).is_file()) {
        fs::copy(from.join(name), to.join(name)).map_err(|e| Failure::io(&to.join(name), &e))?;
    }
    json_file(&to.join("config.json"), &config)?;
    Ok((bytes, copies.len()))
}

fn plan<'a>(config: &str, tensors: impl Iterator<Item = &'a TensorInfo>) -> Result<Plan> {
    let known: KnownTensors = tensors.map(|tensor| (tensor.name.clone(), Some(tensor.clone()))).collect();
    let options = LoadOptions { head: HeadPrecision::Native, ..LoadOptions::default() };
    Ok(Plan::new(Container::Safetensors, &container::config(config)?, &known, &options)?)
}

/// The number after the component `word` of a tensor's name, and where it stands.
fn numbered(name: &[&str], word: &str) -> Option<(usize, usize)> {
    let at = 1 + name.iter().position(|part| *part == word)?;
    Some((at, name.get(at)?.parse().ok()?))
}

/// What becomes of one tensor.
fn copies_of(plan: &Plan, source: usize, tensor: &TensorInfo, growth: Growth) -> Result<Vec<Copied>> {
    let parts = match plan.tensor(tensor)? {
        Planned::Read(parts) => parts,
        Planned::Unused(_) => return Ok(Vec::new()),
    };
    let of_experts = |role| {
        matches!(
            role,
            TensorRole::Router(..)
                | TensorRole::Expert(..)
                | TensorRole::Norm(NormRole::Expert(..), _)
                | TensorRole::PackedExperts(..)
        )
    };
    let name: Vec<&str> = tensor.name.split('.').collect();
    let block = numbered(&name, "layers");
    let is_experts = parts.iter().all(|part| of_experts(part.role));
    let expert = numbered(&name, "experts").filter(|_| is_experts);
    let count = block.map_or(0, |(_, block)| {
        plan.spec.blocks.get(block).and_then(|block| block.ffn.body.experts()).map_or(0, |e| e.count)
    });
    // One tensor for all experts, or for each a row of one: longer, not more.
    let repeats = if is_experts && expert.is_none() { growth.experts } else { 1 };
    let mut shape = tensor.shape.clone();
    if let Some(first) = shape.first_mut() {
        *first *= repeats as u64;
    }
    let mut copies = Vec::new();
    for layer in 0..block.map_or(1, |_| growth.depth) {
        for clone in 0..expert.map_or(1, |_| growth.experts) {
            let mut name: Vec<String> = name.iter().map(|part| (*part).to_owned()).collect();
            if let Some((at, block)) = block {
                name[at] = (block * growth.depth + layer).to_string();
            }
            if let Some((at, expert)) = expert {
                name[at] = (clone * count + expert).to_string();
            }
            let spec = TensorSpec { name: name.join("."), shape: shape.clone(), encoding: tensor.encoding };
            copies.push(Copied { source, repeats, spec });
        }
    }
    Ok(copies)
}

/// The configuration of the grown model.
fn grown_config(text: &str, growth: Growth) -> Result<Value> {
    /// Lists with an entry for each layer.
    const PER_LAYER: [&str; 3] = ["layer_types", "moe_topk_per_layer", "no_rope_layers"];
    let Growth { depth, experts } = growth;
    let mut config: Value = serde_json::from_str(text)
        .map_err(|e| Failure::kind(ErrorKind::BadHeader, format!("config.json: {e}")))?;
    let mut multiply = |key: &str, factor: usize| {
        if let Some(number) = config.get(key).and_then(Value::as_u64) {
            config[key] = json!(number * factor as u64);
        }
    };
    multiply("num_hidden_layers", depth);
    ["num_experts", "num_local_experts", "num_experts_per_tok", "experts_per_token"]
        .into_iter()
        .for_each(|key| multiply(key, experts));
    for key in PER_LAYER {
        if let Some(list) = config.get(key).and_then(Value::as_array) {
            let grown = |value: &Value| match value.as_u64() {
                Some(number) if key == "moe_topk_per_layer" => json!(number * experts as u64),
                _ => value.clone(),
            };
            config[key] = list.iter().flat_map(|value| vec![grown(value); depth]).collect();
        }
    }
    if let Some(listed) = config.get("mlp_only_layers").and_then(Value::as_array) {
        let depth = depth as u64;
        let grown = |i: u64| (0..depth).map(move |copy| json!(i * depth + copy));
        config["mlp_only_layers"] = listed.iter().filter_map(Value::as_u64).flat_map(grown).collect();
    }
    Ok(config)
}

/// Refuses a result that would not be the source's spec, grown.
fn check(source: &Spec, config: &Value, copies: &[Copied], growth: Growth) -> Result<()> {
    let mut want = source.clone();
    want.blocks = source.blocks.iter().flat_map(|block| vec![block.clone(); growth.depth]).collect();
    for block in &mut want.blocks {
        if let Ffn::Experts(experts) = &mut block.ffn.body {
            experts.count *= growth.experts;
            experts.active *= growth.experts;
        }
    }
    let sequential = source.program == Program::sequential(source.blocks.len());
    want.program = Program::sequential(want.blocks.len());
    let known: KnownTensors = copies.iter().map(|copied| (copied.spec.name.clone(), None)).collect();
    let meta = container::config(&config.to_string())?;
    let (spec, _) = arch::spec(Container::Safetensors, &meta, &known, &[])?;
    if !sequential || spec != want {
        let arch = &source.arch;
        let text =
            format!("config.json of this '{arch}' says what each layer is in a way that grow does not know");
        return Err(unsupported(&text));
    }
    Ok(())
}

fn write(
    sources: &[(PathBuf, TensorInfo)],
    copies: &[Copied],
    path: &Path,
    console: &Console,
) -> Result<u64> {
    let mut meta = Meta::default();
    meta.0.insert("format".into(), container::Value::Str("pt".into()));
    let specs: Vec<TensorSpec> = copies.iter().map(|copied| copied.spec.clone()).collect();
    let header = safetensors_header(&meta, &specs)?;
    let part = Part::create(path)?;
    let io = |e| Failure::io(path, &e);
    let bar = console.bytes_bar("writing", Some(header.file_len()));
    let mut out = BufWriter::with_capacity(1 << 20, part.file().map_err(io)?);
    out.write_all(&header.bytes).map_err(io)?;
    let mut open: Option<(&PathBuf, File)> = None;
    for copied in copies {
        interrupt::check()?;
        let (file, tensor) = &sources[copied.source];
        let read = |e| Failure::io(file, &e);
        if open.as_ref().is_none_or(|(path, _)| *path != file) {
            open = Some((file, File::open(file).map_err(read)?));
        }
        let Some((_, input)) = &mut open else { continue };
        for _ in 0..copied.repeats {
            input.seek(SeekFrom::Start(tensor.offset)).map_err(read)?;
            let copied = std::io::copy(&mut input.take(tensor.bytes), &mut out).map_err(io)?;
            if copied != tensor.bytes {
                let text = format!("{}: ends within '{}'", file.display(), tensor.name);
                return Err(Failure::kind(ErrorKind::Truncated, text));
            }
            bar.inc(copied);
        }
    }
    out.flush().map_err(io)?;
    drop(out);
    bar.finish_and_clear();
    part.promote()?;
    Ok(header.file_len())
}
