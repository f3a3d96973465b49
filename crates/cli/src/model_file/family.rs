//! Models of any family, by its own configuration: which tensors their files hold, and the bytes of those.
//!
//! What a model needs comes from its [`Spec`], names from its family, so nothing about a family is said twice. Only
//! how weights are stored is said here. Invariant: what is written is loaded as the same spec.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufWriter, Write},
    path::Path,
};

use ternlight_core::{
    container::{
        self, Container, Meta, TensorInfo, Value,
        write::{Header, TensorSpec, gguf_header, safetensors_header},
    },
    format::Encoding,
    minifloat::f32_to_e4m3,
    model::{
        Spec,
        arch::{self, KnownTensors},
        small_floats::SmallFloats,
        tensor_names::{Field, Names, PackedField, TensorRole},
    },
};

use super::{
    Format, Item, Rows, Vocabulary, items,
    write::{Part, Sink, codes, floats, json_file, pack_floats},
};
use crate::{Result, console::Console, failure::Failure};

/// A model in the words of its family.
pub struct Family {
    /// For people.
    pub name: String,
    /// Its configuration: a `config.json`, or the metadata of a GGUF file.
    pub config: FamilyConfig,
    /// How its matrices are stored.
    pub weights: Weights,
    /// Tensors whose presence says something that the configuration does not, or whose shape does.
    pub telling: Vec<(String, Option<Vec<u64>>)>,
}

/// A configuration in the form of its container.
pub enum FamilyConfig {
    /// For safetensors.
    Json(serde_json::Value),
    /// For GGUF.
    Meta(Meta),
}

/// How matrices of linear layers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weights {
    /// Ternary, packed as Hugging Face has it, with a scale beside each.
    PackedTernary,
    /// Ternary, in TQ2_0.
    Tq2,
    /// BF16; experts that the family packs are in MXFP4.
    Bf16,
    /// FP8 or FP4, as the configuration says.
    SmallFloats,
}

/// A tensor of a file, and the items that it holds, stacked by rows.
struct Stored {
    spec: TensorSpec,
    kind: Kind,
    items: Vec<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Floats,
    Codes(Format),
    /// The scale of the codes before it.
    Scale,
    /// Codes of E2M1, or exponents of MXFP4.
    Bytes(PackedField),
    /// Codes of E4M3, whose scale is that of [`fp8_scale`].
    Fp8,
    /// The same number everywhere, in so many bytes.
    Constant([u8; 4], usize),
}

/// What a family's files hold.
pub struct Tensors {
    /// What is generated, row by row.
    pub items: Vec<Item>,
    stored: Vec<Stored>,
}

impl Family {
    /// Which container its files are.
    pub fn container(&self) -> Container {
        match self.config {
            FamilyConfig::Json(_) => Container::Safetensors,
            FamilyConfig::Meta(_) => Container::Gguf,
        }
    }

    /// What the loader makes of the configuration, and the names of tensors.
    ///
    /// # Errors
    /// Those of [`arch::spec`].
    pub fn spec(&self) -> Result<(Spec, Names)> {
        let meta = match &self.config {
            FamilyConfig::Json(json) => container::config(&json.to_string())?,
            FamilyConfig::Meta(meta) => meta.clone(),
        };
        let known = |(name, shape): &(String, Option<Vec<u64>>)| {
            let info = shape.clone().map(|shape| TensorInfo {
                name: name.clone(),
                shape,
                encoding: Encoding::F32,
                offset: 0,
                bytes: 0,
            });
            (name.clone(), info)
        };
        let tensors: KnownTensors = self.telling.iter().map(known).collect();
        Ok(arch::spec(self.container(), &meta, &tensors, &[])?)
    }

    /// Whether a tensor is stored as ternary codes.
    pub fn is_ternary(&self, role: TensorRole) -> bool {
        let is_matrix = matches!(
            role,
            TensorRole::Linear(_, _, Field::Weight)
                | TensorRole::Expert(_, _, _, Field::Weight)
                | TensorRole::SharedExpert(_, _, Field::Weight)
        );
        is_matrix && matches!(self.weights, Weights::PackedTernary | Weights::Tq2)
    }

    /// What the files hold.
    ///
    /// # Errors
    /// Those of [`Family::spec`].
    pub fn tensors(&self) -> Result<Tensors> {
        let (spec, names) = self.spec()?;
        let float = if self.container() == Container::Gguf { Encoding::F16 } else { Encoding::BF16 };
        let items = items(&spec, |role| match role {
            TensorRole::Embedding | TensorRole::Head => float,
            TensorRole::Router(..) | TensorRole::SharedGate(_) => Encoding::F32,
            _ if self.container() == Container::Gguf => Encoding::F32,
            _ => Encoding::BF16,
        });
        let mut stored: Vec<Stored> = Vec::new();
        let names = Stems { names, fused: fused(&spec, names), small_floats: spec.checkpoint.small_floats };
        for (i, item) in items.iter().enumerate() {
            self.store(i, item, &names, &mut stored);
        }
        Ok(Tensors { items, stored })
    }

    fn store(&self, i: usize, item: &Item, stems: &Stems, stored: &mut Vec<Stored>) {
        let names = stems.names;
        let name = stems.of(item.role);
        let (rows, cols) = (item.rows as u64, item.cols as u64);
        if let Some(stack) = stored.iter_mut().rev().take(8).find(|stored| stored.spec.name == name) {
            stack.items.push(i);
            match (&mut stack.spec.shape[..], item.role) {
                // The experts of a block are one tensor.
                (_, TensorRole::Expert(..)) => stack.spec.shape = vec![stack.items.len() as u64, rows, cols],
                ([len], _) => *len += cols,
                ([all, ..], _) => *all += rows,
                ([], _) => {}
            }
            return;
        }
        let mut push = |name: String, shape: Vec<u64>, encoding: Encoding, kind: Kind| {
            stored.push(Stored { spec: TensorSpec { name, shape, encoding }, kind, items: vec![i] });
        };
        match (item.role, self.weights) {
            (role, Weights::PackedTernary) if self.is_ternary(role) => {
                push(name, vec![rows.div_ceil(4), cols], Encoding::U8, Kind::Codes(Format::HfPacked));
                push(names.of(role.with_field(Field::Scale)), vec![1], Encoding::BF16, Kind::Scale);
            }
            (role, Weights::SmallFloats) if is_linear(role) => {
                let Some(format) = stems.small_floats else { return };
                for (field, spec, kind) in small_floats(format, item) {
                    let TensorSpec { shape, encoding, .. } = spec;
                    push(names.of(role.with_field(field)), shape, encoding, kind);
                }
            }
            (role, Weights::Tq2) if self.is_ternary(role) => {
                push(name, vec![rows, cols], Encoding::TQ2_0, Kind::Codes(Format::Tq2));
            }
            (TensorRole::PackedExperts(_, _, field @ PackedField::Blocks), _) => {
                push(name, vec![rows, cols / 2], Encoding::U8, Kind::Bytes(field));
            }
            (TensorRole::PackedExperts(_, _, field @ PackedField::Scales), _) => {
                push(name, vec![rows, cols], Encoding::U8, Kind::Bytes(field));
            }
            _ => {
                let shape = if rows == 1 && !is_matrix(item.role) { vec![cols] } else { vec![rows, cols] };
                push(name, shape, item.float, Kind::Floats);
            }
        }
    }
}

/// The names of tensors.
struct Stems {
    names: Names,
    /// Those of several matrices that are one tensor.
    fused: BTreeMap<TensorRole, String>,
    small_floats: Option<SmallFloats>,
}

impl Stems {
    fn of(&self, role: TensorRole) -> String {
        self.fused.get(&role).cloned().unwrap_or_else(|| self.names.of(role))
    }
}

/// Matrices that have no name of their own, and the name of the tensor that holds them.
fn fused(spec: &Spec, names: Names) -> BTreeMap<TensorRole, String> {
    let tensors = spec.tensors();
    let alone = |role| !names.spellings(role).is_empty();
    let found = names.find(&tensors);
    // Where several names would do, the one that holds most.
    let mut by_size: Vec<_> = found.iter().collect();
    by_size.sort_by_key(|(_, parts)| parts.len());
    let all =
        by_size.into_iter().flat_map(|(name, parts)| parts.iter().map(|part| (part.role, name.clone())));
    all.filter(|&(role, _)| !alone(role)).collect()
}

/// A matrix even where it has one row.
fn is_matrix(role: TensorRole) -> bool {
    matches!(
        role,
        TensorRole::SharedGate(_)
            | TensorRole::Embedding
            | TensorRole::Head
            | TensorRole::LoopExit(Field::Weight)
            | TensorRole::Lora(..)
    )
}

/// Whether it is the weights of a linear layer.
fn is_linear(role: TensorRole) -> bool {
    matches!(
        role,
        TensorRole::Linear(_, _, Field::Weight)
            | TensorRole::Expert(_, _, _, Field::Weight)
            | TensorRole::SharedExpert(_, _, Field::Weight)
    )
}

/// The tensors that a matrix becomes: codes, then scales that give its weights a variance of 1 / columns.
fn small_floats(format: SmallFloats, item: &Item) -> Vec<(Field, TensorSpec, Kind)> {
    let (rows, cols) = (item.rows as u64, item.cols as u64);
    let (down, across) = format.scales(item.rows, item.cols);
    let tensor = |shape: &[u64], encoding| TensorSpec { name: String::new(), shape: shape.into(), encoding };
    let scales = |encoding| tensor(&[down as u64, across as u64], encoding);
    let number = |x: f32| Kind::Constant(x.to_le_bytes(), 4);
    let byte = |x: u8| Kind::Constant([x; 4], 1);
    let root = (item.cols as f32).sqrt();
    let blocks = Kind::Bytes(PackedField::Blocks);
    match format {
        SmallFloats::E4m3(_) | SmallFloats::E5m2(_) => vec![
            (Field::Weight, tensor(&[rows, cols], Encoding::F8_E4M3), Kind::Fp8),
            (Field::Scale, scales(Encoding::F32), number(fp8_scale(item.cols))),
        ],
        SmallFloats::Mxfp4 => vec![
            (Field::Weight, tensor(&[rows, cols / 32, 16], Encoding::U8), blocks),
            (Field::Scale, scales(Encoding::U8), byte((127.0 - root.log2().round()) as u8)),
        ],
        SmallFloats::Nvfp4 => vec![
            (Field::Weight, tensor(&[rows, cols / 2], Encoding::U8), blocks),
            (Field::Scale, scales(Encoding::F8_E4M3), byte(f32_to_e4m3(1.0))),
            (Field::TensorScale, tensor(&[1], Encoding::F32), number(root)),
        ],
        SmallFloats::Fp4Rows => vec![
            (Field::Weight, tensor(&[rows, cols / 2], Encoding::U8), blocks),
            (Field::Scale, scales(Encoding::F32), number(1.0 / root)),
        ],
    }
}

/// The scale of E4M3 weights, most of which are then near the middle of its range.
fn fp8_scale(cols: usize) -> f32 {
    1.0 / (64.0 * (cols as f32).sqrt())
}

fn file_header(family: &Family, vocabulary: Option<&Vocabulary>, tensors: &Tensors) -> Result<Header> {
    let specs: Vec<TensorSpec> = tensors.stored.iter().map(|stored| stored.spec.clone()).collect();
    Ok(match &family.config {
        FamilyConfig::Meta(meta) => {
            let mut meta = meta.clone();
            if let Some(vocabulary) = vocabulary {
                vocabulary.put_gguf(&mut meta);
            }
            gguf_header(&meta, &specs)?
        }
        FamilyConfig::Json(_) => {
            let mut meta = Meta::default();
            meta.0.insert("format".into(), Value::Str("pt".into()));
            safetensors_header(&meta, &specs)?
        }
    })
}

/// Writes the model to `path`: a file for GGUF, a folder else. Returns the bytes of its weights.
///
/// # Errors
/// `io`, `no-space`, `cancelled`; `shape` where rows do not fill an encoding's blocks.
pub fn write_family(
    family: &Family,
    vocabulary: &Vocabulary,
    tensors: &Tensors,
    rows: &mut dyn Rows,
    path: &Path,
    console: &Console,
) -> Result<u64> {
    let header = file_header(family, Some(vocabulary), tensors)?;
    let weights = match &family.config {
        FamilyConfig::Meta(_) => path.to_owned(),
        FamilyConfig::Json(config) => {
            fs::create_dir_all(path).map_err(|e| Failure::io(path, &e))?;
            if let Some(tokenizer) = vocabulary.tokenizer_json() {
                json_file(&path.join("tokenizer.json"), &tokenizer)?;
            }
            json_file(&path.join("tokenizer_config.json"), &vocabulary.tokenizer_config())?;
            json_file(&path.join("config.json"), config)?;
            path.join("model.safetensors")
        }
    };
    let part = Part::create(&weights)?;
    let io = |e| Failure::io(&weights, &e);
    let bar = console.bytes_bar("writing", Some(header.file_len()));
    let mut out = BufWriter::with_capacity(1 << 20, part.file().map_err(io)?);
    stream(&header, tensors, rows, &mut Sink::new(&mut out, &bar, &weights))?;
    out.flush().map_err(io)?;
    drop(out);
    bar.finish_and_clear();
    part.promote()?;
    Ok(header.file_len())
}

/// Streams the bytes of its weight file to `out`, for a model that is only to be timed.
///
/// # Errors
/// As [`write_family`]; an error of `out` is `io`.
pub fn stream_family(
    family: &Family,
    tensors: &Tensors,
    rows: &mut dyn Rows,
    out: &mut dyn Write,
    console: &Console,
) -> Result<()> {
    let header = file_header(family, None, tensors)?;
    let bar = console.bytes_bar("making", Some(header.file_len()));
    stream(&header, tensors, rows, &mut Sink::new(out, &bar, Path::new("synthetic")))?;
    bar.finish_and_clear();
    Ok(())
}

fn stream(header: &Header, tensors: &Tensors, rows: &mut dyn Rows, sink: &mut Sink<'_>) -> Result<()> {
    sink.put(&header.bytes)?;
    for (stored, place) in tensors.stored.iter().zip(&header.tensors) {
        for &i in &stored.items {
            let item = &tensors.items[i];
            match stored.kind {
                Kind::Floats => floats(rows, i, item, place.encoding, sink)?,
                Kind::Codes(format) => {
                    // Packed codes have their scale beside them.
                    let scale = if format == Format::HfPacked { 1.0 } else { rows.scale(i)? };
                    codes(rows, i, item, format, scale, sink)?;
                }
                Kind::Scale => {
                    let mut bytes = Vec::new();
                    pack_floats(place.encoding, &[rows.scale(i)?], &mut bytes);
                    sink.put(&bytes)?;
                }
                Kind::Bytes(field) => packed(rows, i, item, field, sink)?,
                Kind::Fp8 => fp8(rows, i, item, sink)?,
                Kind::Constant(bytes, len) => {
                    let count = stored.spec.shape.iter().product::<u64>() as usize;
                    sink.put(&bytes[..len].repeat(count))?;
                }
            }
        }
        sink.zeros(header.padding(place))?;
    }
    Ok(())
}

/// Rows of MXFP4's parts: random codes, with exponents that give a row the scale of other weights.
fn packed(rows: &mut dyn Rows, i: usize, item: &Item, field: PackedField, sink: &mut Sink<'_>) -> Result<()> {
    let mut values = Vec::new();
    for row in 0..item.rows {
        rows.floats(i, row, &mut values)?;
        let bytes: Vec<u8> = match field {
            PackedField::Blocks => {
                // Weights of a linear layer are normal numbers over the root of the columns.
                let unit = if is_linear(item.role) { (item.cols as f32).sqrt() } else { 1.0 };
                values.iter_mut().for_each(|x| *x *= unit);
                // Of a normal number, sign and 2 · magnitude: code 0…7 with the sign above.
                let nibble = |x: f32| u8::from(x < 0.0) << 3 | ((2.0 * x.abs()) as u8).min(7);
                values.chunks_exact(2).map(|pair| nibble(pair[0]) | nibble(pair[1]) << 4).collect()
            }
            // 2^-6 of 32 columns: about 1 / √cols for the widths at hand.
            _ => values.iter().map(|x| (121 + (x.abs() as u8).min(2)) - 1).collect(),
        };
        sink.put(&bytes)?;
    }
    Ok(())
}

/// Rows of E4M3.
fn fp8(rows: &mut dyn Rows, i: usize, item: &Item, sink: &mut Sink<'_>) -> Result<()> {
    let (mut values, scale) = (Vec::new(), fp8_scale(item.cols));
    for row in 0..item.rows {
        rows.floats(i, row, &mut values)?;
        let bytes: Vec<u8> = values.iter().map(|x| f32_to_e4m3(x / scale)).collect();
        sink.put(&bytes)?;
    }
    Ok(())
}
