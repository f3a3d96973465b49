//! A loaded model as a source of rows: whatever the loader understands can be written again.
//!
//! Going through the loader means that a converted file holds exactly the codes and scales that would
//! have been run. Invariant: a matrix that is not ternary with one scale is refused, never approximated.

use std::{path::Path, sync::Arc};

use ternlight_core::{
    ErrorKind,
    container::{self, Meta},
    format::{Encoding, Form, FormRow, pack_bf16, unpack},
    load::{HeadPrecision, LoadOptions},
    matrix::Matrix,
    model::{
        Model, Spec,
        rope::RopeStyle,
        tensor_names::{Field, LinearRole, NormRole, TensorRole},
    },
    simd::Isa,
};
use ternlight_engine::Threads;

use super::{Config, Format, Item, Rows, Vocabulary, describe::sampling_keys, load};
use crate::{Result, console::Console, failure::Failure, model_file};

/// A model in memory, to be written in another format.
pub struct Source {
    model: Model,
    items: Vec<Item>,
    /// Per item, once known.
    scales: Vec<Option<f32>>,
    /// Rows of queries and keys change places between RoPE conventions.
    order: Order,
    values: Vec<f32>,
}

/// How row numbers of queries and keys map from target to source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Same,
    /// The target interleaves (llama.cpp's `llama`), the source does not.
    ToInterleaved,
    /// The reverse.
    ToHalves,
}

/// What the source says about itself besides its shape.
fn about(path: &Path, meta: &Meta) -> Result<Meta> {
    let mut about = meta.clone();
    // Alignment is the writer's own; the rest of `general` is set anew where it must be.
    about.0.retain(|key, _| key.starts_with("general.") && key != "general.alignment");
    let generation = path.join("generation_config.json");
    if generation.is_file() {
        let text = std::fs::read_to_string(&generation).map_err(|e| Failure::io(&generation, &e))?;
        about.0.extend(sampling_keys(&container::config(&text)?).0);
    }
    Ok(about)
}

fn unsupported(what: impl Into<String>) -> Failure {
    Failure::kind(ErrorKind::UnsupportedFormat, what.into())
        .hint("convert takes BitNet and LLaMA models whose linear layers are ternary.")
}

impl Source {
    /// Loads `path` for conversion to `format`; also tells its description and vocabulary.
    ///
    /// # Errors
    /// Those of loading; `unsupported-format` for models that are not plain ternary.
    pub fn open(
        path: &Path,
        format: Format,
        console: &Console,
    ) -> Result<(Self, Config, Option<Vocabulary>)> {
        let options = LoadOptions { head: HeadPrecision::Native, ..LoadOptions::default() };
        let model = load(path, options, Arc::new(Threads::new(0)), console)?;
        let spec = &model.spec;
        let vocabulary = if path.is_dir() {
            let tokenizer = path.join("tokenizer.json");
            if tokenizer.is_file() { Some(Vocabulary::read(&tokenizer)?) } else { None }
        } else if model.meta.has("tokenizer.ggml.model") {
            Some(Vocabulary::from_gguf(&model.meta)?)
        } else {
            None
        };
        let vocabulary = match vocabulary {
            Some(mut vocabulary) => {
                vocabulary.pad(spec.vocab)?;
                Some(vocabulary)
            }
            None => {
                console.remark("the model has no tokenizer: the result will have none either");
                None
            }
        };
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let (mixer, mlp) = (&spec.blocks[0].mixer.body, spec.blocks[0].ffn.body.mlp());
        let (heads, kv_heads, head_dim) = mixer.heads();
        let config = Config {
            name: model.meta.opt_str("general.name").ok().flatten().map_or(name, str::to_owned),
            sub_norms: mixer.attention().is_some_and(|attention| attention.sub_norm.is_some()),
            activation: mlp.activation,
            layers: spec.blocks.len(),
            hidden: spec.hidden,
            ffn: mlp.width,
            heads,
            kv_heads,
            head_dim,
            vocab: spec.vocab,
            context: spec.context,
            theta: spec.ropes.first().map_or(0.0, |rope| rope.theta),
            norm_eps: spec.norm.eps,
            tied: spec.output.tied,
            a48: false,
            about: about(path, &model.meta)?,
        };
        let (target, _) = config.spec(format)?;
        if !computes_the_same(spec, &target) {
            let arch = &spec.arch;
            return Err(unsupported(format!("the architecture '{arch}' as used here cannot be converted")));
        }
        let order = match (spec.ropes[0].style, target.ropes[0].style) {
            (RopeStyle::Half, RopeStyle::Interleaved) => Order::ToInterleaved,
            (RopeStyle::Interleaved, RopeStyle::Half) => Order::ToHalves,
            _ => Order::Same,
        };
        let items = model_file::items(&target, |role| float_encoding(&model, role));
        check_ternary(&model)?;
        let scales = vec![None; items.len()];
        Ok((Self { model, items, scales, order, values: Vec::new() }, config, vocabulary))
    }

    /// What is to be written.
    pub fn items(&self) -> Vec<Item> {
        self.items.clone()
    }

    fn matrix(&self, role: TensorRole) -> Option<&Matrix> {
        match role {
            TensorRole::Embedding => Some(&self.model.embedding),
            TensorRole::Head => self.model.head.as_ref(),
            TensorRole::Linear(block, linear, Field::Weight) => {
                Some(&*self.model.blocks[block].linear(linear)?.matrix)
            }
            _ => None,
        }
    }

    /// The source row that target row `row` of a tensor is.
    fn source_row(&self, role: TensorRole, row: usize) -> usize {
        let TensorRole::Linear(block, LinearRole::Q | LinearRole::K, _) = role else { return row };
        let width = self.model.spec.blocks[block].mixer.body.heads().2;
        let (head, at) = (row / width * width, row % width);
        // Interleaved: (first, second) of pair j lie at 2j and 2j + 1; in halves at j and j + width / 2.
        head + match self.order {
            Order::Same => at,
            Order::ToInterleaved => at / 2 + at % 2 * (width / 2),
            Order::ToHalves => at % (width / 2) * 2 + at / (width / 2),
        }
    }

    fn read_row(&mut self, role: TensorRole, row: usize) {
        let row = self.source_row(role, row);
        let mut values = std::mem::take(&mut self.values);
        let matrix = self.matrix(role).expect("only matrices are asked for rows");
        values.resize(matrix.cols(), 0.0);
        matrix.row(row, &mut values);
        self.values = values;
    }
}

/// Whether two specs differ at most in what conversion settles: names, the order of rotated rows, the checkpoint.
fn computes_the_same(source: &Spec, target: &Spec) -> bool {
    let mut source = source.clone();
    source.arch.clone_from(&target.arch);
    source.checkpoint = target.checkpoint;
    for (own, other) in source.ropes.iter_mut().zip(&target.ropes) {
        own.style = other.style;
    }
    source == *target
}

fn norm(model: &Model, role: TensorRole) -> Option<&[f32]> {
    match role {
        TensorRole::Norm(NormRole::Final, Field::Weight) => Some(&model.norm.gain),
        TensorRole::Norm(NormRole::Block(block, norm), Field::Weight) => {
            Some(&model.blocks[block].norm(norm).gain)
        }
        _ => None,
    }
}

/// The smallest float encoding that holds all values exactly.
fn exact_encoding(values: &[f32]) -> Encoding {
    let mut bytes = Vec::new();
    pack_bf16(values, &mut bytes);
    let mut row = FormRow::default();
    match unpack(Isa::SCALAR, Encoding::BF16, &bytes, values.len(), &mut row) {
        Ok(()) if row.floats == values => Encoding::BF16,
        _ => Encoding::F32,
    }
}

/// How the values of a tensor are kept exactly.
fn float_encoding(model: &Model, role: TensorRole) -> Encoding {
    let of = |matrix: &Matrix| match matrix.form() {
        Form::F16 => Encoding::F16,
        Form::BF16 => Encoding::BF16,
        _ => Encoding::F32,
    };
    match role {
        TensorRole::Embedding => of(&model.embedding),
        TensorRole::Head => of(model.head()),
        _ => norm(model, role).map_or(Encoding::F32, exact_encoding),
    }
}

/// Refuses models with a linear layer that is not ternary with one scale.
fn check_ternary(model: &Model) -> Result<()> {
    for (i, block) in model.blocks.iter().enumerate() {
        let of_spec = |linear: &LinearRole| model.spec.blocks[i].linear(*linear).is_some();
        for linear in LinearRole::ALL.into_iter().filter(of_spec) {
            if block.linear(linear).is_none_or(|layer| layer.matrix.form() != Form::Ternary) {
                return Err(unsupported(format!("{linear:?} of block {i} is not ternary with one scale")));
            }
        }
    }
    Ok(())
}

impl Rows for Source {
    fn codes(&mut self, item: usize, row: usize, codes: &mut Vec<i8>) -> Result<()> {
        let scale = self.scale(item)?;
        let role = self.items[item].role;
        self.read_row(role, row);
        codes.clear();
        for value in &self.values {
            codes.push(match *value {
                0.0 => 0,
                v if v == scale => 1,
                v if v == -scale => -1,
                v => {
                    let text = format!("{role:?} has several scales, {scale} and {}", v.abs());
                    return Err(unsupported(text));
                }
            });
        }
        Ok(())
    }

    fn scale(&mut self, item: usize) -> Result<f32> {
        if let Some(scale) = self.scales[item] {
            return Ok(scale);
        }
        let Item { role, rows, .. } = self.items[item];
        let mut scale = 0.0;
        for row in 0..rows {
            self.read_row(role, row);
            // A matrix may start with rows of zeros.
            if let Some(value) = self.values.iter().find(|value| **value != 0.0) {
                scale = value.abs();
                break;
            }
        }
        self.scales[item] = Some(scale);
        Ok(scale)
    }

    fn floats(&mut self, item: usize, row: usize, values: &mut Vec<f32>) -> Result<()> {
        let role = self.items[item].role;
        values.clear();
        match norm(&self.model, role) {
            Some(norm) => values.extend_from_slice(norm),
            None => {
                self.read_row(role, row);
                values.extend_from_slice(&self.values);
            }
        }
        Ok(())
    }
}
