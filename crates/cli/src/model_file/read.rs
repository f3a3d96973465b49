//! A loaded model as a source of rows: whatever the loader understands can be written again.
//!
//! Going through the loader means that a converted file holds exactly the codes and scales that would
//! have been run. Invariant: a matrix that is not ternary with one scale is refused, never approximated.

use std::{path::Path, sync::Arc};

use ternlight_core::{
    ErrorKind,
    container::{self, Meta},
    format::{Encoding, Form, FormRow, pack_bf16, unpack},
    load::{Head, LoadOptions},
    matrix::Matrix,
    model::{
        self, Layer, Model, Projection, RopeScaling, RopeStyle,
        role::{Linear, Norm},
    },
    simd::Isa,
};
use ternlight_engine::Threads;

use super::{Activation, Config, Format, Item, Rows, Tensor, Vocabulary, describe::sampling_keys, load};
use crate::{Result, console::Console, failure::Failure};

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
        let options = LoadOptions { head: Head::Native, ..LoadOptions::default() };
        let model = load(path, options, Arc::new(Threads::new(0)), console)?;
        let spec = &model.spec;
        if spec.qk_norm || spec.rope.scaling != RopeScaling::None || spec.rope.dims != spec.head_dim {
            return Err(unsupported(format!(
                "the architecture '{}' as used here cannot be converted",
                spec.arch
            )));
        }
        if spec.steps.len() != spec.layers {
            return Err(unsupported("looped layers cannot be converted"));
        }
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
        let config = Config {
            name: model.meta.opt_str("general.name").ok().flatten().map_or(name, str::to_owned),
            sub_norms: spec.sub_norms,
            activation: match spec.activation {
                model::Activation::Relu2 => Activation::Relu2,
                model::Activation::Silu => Activation::Silu,
            },
            layers: spec.layers,
            hidden: spec.hidden,
            ffn: spec.ffn,
            heads: spec.heads,
            kv_heads: spec.kv_heads,
            head_dim: spec.head_dim,
            vocab: spec.vocab,
            context: spec.context,
            theta: spec.rope.theta,
            norm_eps: spec.norm_eps,
            tied: model.head.is_none(),
            about: about(path, &model.meta)?,
        };
        let target = match config.gguf_arch(format) {
            "llama" if format != Format::HfPacked => RopeStyle::Interleaved,
            _ => RopeStyle::Half,
        };
        let order = match (spec.rope.style, target) {
            (RopeStyle::Half, RopeStyle::Interleaved) => Order::ToInterleaved,
            (RopeStyle::Interleaved, RopeStyle::Half) => Order::ToHalves,
            _ => Order::Same,
        };
        let items = items(&model)?;
        let scales = vec![None; items.len()];
        Ok((Self { model, items, scales, order, values: Vec::new() }, config, vocabulary))
    }

    /// What is to be written.
    pub fn items(&self) -> Vec<Item> {
        self.items.clone()
    }

    fn matrix(&self, tensor: Tensor) -> Option<&Matrix> {
        match tensor {
            Tensor::Embedding => Some(&self.model.embedding),
            Tensor::Head => self.model.head.as_ref(),
            Tensor::Linear(layer, linear) => Some(&projection(&self.model.layers[layer], linear).matrix),
            Tensor::Norm(..) | Tensor::FinalNorm => None,
        }
    }

    /// The source row that target row `row` of `tensor` is.
    fn source_row(&self, tensor: Tensor, row: usize) -> usize {
        let Tensor::Linear(_, Linear::Q | Linear::K) = tensor else { return row };
        let width = self.model.spec.head_dim;
        let (head, at) = (row / width * width, row % width);
        // Interleaved: (first, second) of pair j lie at 2j and 2j + 1; in halves at j and j + width / 2.
        head + match self.order {
            Order::Same => at,
            Order::ToInterleaved => at / 2 + at % 2 * (width / 2),
            Order::ToHalves => at % (width / 2) * 2 + at / (width / 2),
        }
    }

    fn read_row(&mut self, tensor: Tensor, row: usize) {
        let row = self.source_row(tensor, row);
        let mut values = std::mem::take(&mut self.values);
        let matrix = self.matrix(tensor).expect("only matrices are asked for rows");
        values.resize(matrix.cols(), 0.0);
        matrix.row(row, &mut values);
        self.values = values;
    }
}

fn projection(layer: &Layer, linear: Linear) -> &Projection {
    match linear {
        Linear::Q => &layer.q,
        Linear::K => &layer.k,
        Linear::V => &layer.v,
        Linear::O => &layer.o,
        Linear::Gate => &layer.gate,
        Linear::Up => &layer.up,
        Linear::Down => &layer.down,
    }
}

fn norm(model: &Model, tensor: Tensor) -> Option<&[f32]> {
    match tensor {
        Tensor::FinalNorm => Some(&model.final_norm),
        Tensor::Norm(layer, norm) => {
            let layer = &model.layers[layer];
            match norm {
                Norm::Attn => Some(&layer.attn_norm),
                Norm::Ffn => Some(&layer.ffn_norm),
                Norm::Q => layer.q_norm.as_deref(),
                Norm::K => layer.k_norm.as_deref(),
                Norm::AttnSub => layer.attn_sub_norm.as_deref(),
                Norm::FfnSub => layer.ffn_sub_norm.as_deref(),
            }
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

fn items(model: &Model) -> Result<Vec<Item>> {
    let mut items = Vec::new();
    let wide = |tensor, matrix: &Matrix| {
        let float = match matrix.form() {
            Form::F16 => Encoding::F16,
            Form::BF16 => Encoding::BF16,
            _ => Encoding::F32,
        };
        Item { tensor, rows: matrix.rows(), cols: matrix.cols(), float }
    };
    let vector = |tensor| {
        let values = norm(model, tensor)?;
        Some(Item { tensor, rows: 1, cols: values.len(), float: exact_encoding(values) })
    };
    items.push(wide(Tensor::Embedding, &model.embedding));
    for (i, layer) in model.layers.iter().enumerate() {
        let linear = |linear| -> Result<Item> {
            let Projection { matrix, norm, bias } = projection(layer, linear);
            let tensor = Tensor::Linear(i, linear);
            if norm.is_some() || bias.is_some() {
                return Err(unsupported(format!("'{}' has a norm or bias of its own", tensor.gguf())));
            }
            if matrix.form() != Form::Ternary {
                return Err(unsupported(format!("'{}' is not ternary with one scale", tensor.gguf())));
            }
            Ok(wide(tensor, matrix))
        };
        let n = |norm| vector(Tensor::Norm(i, norm));
        items.extend(n(Norm::Attn));
        items.extend([linear(Linear::Q)?, linear(Linear::K)?, linear(Linear::V)?]);
        items.extend(n(Norm::AttnSub));
        items.push(linear(Linear::O)?);
        items.extend(n(Norm::Ffn));
        items.extend([linear(Linear::Gate)?, linear(Linear::Up)?]);
        items.extend(n(Norm::FfnSub));
        items.push(linear(Linear::Down)?);
    }
    items.extend(vector(Tensor::FinalNorm));
    items.extend(model.head.as_ref().map(|head| wide(Tensor::Head, head)));
    Ok(items)
}

impl Rows for Source {
    fn codes(&mut self, item: usize, row: usize, codes: &mut Vec<i8>) -> Result<()> {
        let scale = self.scale(item)?;
        let tensor = self.items[item].tensor;
        self.read_row(tensor, row);
        codes.clear();
        for value in &self.values {
            codes.push(match *value {
                0.0 => 0,
                v if v == scale => 1,
                v if v == -scale => -1,
                v => {
                    let text = format!("'{}' has several scales, {scale} and {}", tensor.gguf(), v.abs());
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
        let Item { tensor, rows, .. } = self.items[item];
        let mut scale = 0.0;
        for row in 0..rows {
            self.read_row(tensor, row);
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
        let tensor = self.items[item].tensor;
        values.clear();
        match norm(&self.model, tensor) {
            Some(norm) => values.extend_from_slice(norm),
            None => {
                self.read_row(tensor, row);
                values.extend_from_slice(&self.values);
            }
        }
        Ok(())
    }
}
