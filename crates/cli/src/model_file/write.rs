//! The two writers: GGUF file, HF folder.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use indicatif::ProgressBar;
use ternlight_core::{
    ErrorKind,
    container::write::{Header, TensorSpec, gguf_header, safetensors_header},
    container::{Meta, Value},
    format::{Encoding, FormRow, pack_bf16, pack_f16, pack_f32, pack_hf, pack_i2_s_tail, pack_row, unpack},
    model::tensor_names::{Field, Names, TensorRole},
    simd::Isa,
};

use super::{Config, Format, Item, Rows, Vocabulary, describe::generation_config, hf_config, is_ternary};
use crate::{Result, console::Console, failure::Failure, interrupt};

/// Writes the model to `path`: a file for GGUF formats, a folder for [`Format::HfPacked`]. Returns its bytes.
///
/// # Errors
/// `io`, `no-space`, `cancelled`; `shape` where rows do not fill the format's blocks.
pub fn write(
    config: &Config,
    vocabulary: Option<&Vocabulary>,
    items: &[Item],
    rows: &mut dyn Rows,
    format: Format,
    path: &Path,
    console: &Console,
) -> Result<u64> {
    let (_, names) = config.spec(format)?;
    let exact = Exactness::new(items, rows, format)?;
    if format != Format::HfPacked {
        let mut meta = config.gguf(format);
        if let Some(vocabulary) = vocabulary {
            vocabulary.put_gguf(&mut meta);
        }
        let header = gguf_header(&meta, &exact.specs(items, names, format))?;
        return weights(&header, items, rows, &exact, format, path, console);
    }
    fs::create_dir_all(path).map_err(|e| Failure::io(path, &e))?;
    let mut meta = Meta::default();
    meta.0.insert("format".into(), Value::Str("pt".into()));
    let header = safetensors_header(&meta, &exact.specs(items, names, format))?;
    let written = weights(&header, items, rows, &exact, format, &path.join("model.safetensors"), console)?;
    let json = |name: &str, value: &serde_json::Value| json_file(&path.join(name), value);
    if let Some(vocabulary) = vocabulary {
        match vocabulary.tokenizer_json() {
            Some(tokenizer) => json("tokenizer.json", &tokenizer)?,
            None => console.remark("tokenizer.json is not written: its pre-tokeniser has no known pattern"),
        }
        json("tokenizer_config.json", &vocabulary.tokenizer_config())?;
        json("generation_config.json", &generation_config(config, vocabulary.bos, &vocabulary.ends()))?;
    }
    let (bos, eos) = vocabulary.map_or((None, None), |v| (v.bos, v.eos));
    json("config.json", &hf_config(config, bos, eos))?;
    Ok(written)
}

/// Writes a file of readable JSON.
pub(super) fn json_file(path: &Path, value: &serde_json::Value) -> Result<()> {
    let text = serde_json::to_vec_pretty(value).expect("JSON values have string keys");
    fs::write(path, text).map_err(|e| Failure::io(path, &e))
}

/// Scales of the linear layers, and whether the format can hold them in place.
struct Exactness {
    /// Per item; `None` for float tensors.
    scales: Vec<Option<f32>>,
    /// Per item: the scale needs a tensor of its own beside the matrix.
    apart: Vec<Option<Encoding>>,
}

fn is_exact(value: f32, encoding: Encoding) -> bool {
    let mut bytes = Vec::new();
    match encoding {
        Encoding::F16 => pack_f16(&[value], &mut bytes),
        Encoding::BF16 => pack_bf16(&[value], &mut bytes),
        _ => return true,
    }
    let mut row = FormRow::default();
    unpack(Isa::SCALAR, encoding, &bytes, 1, &mut row).is_ok_and(|()| row.floats == [value])
}

impl Exactness {
    fn new(items: &[Item], rows: &mut dyn Rows, format: Format) -> Result<Self> {
        let mut scales = Vec::new();
        let mut apart = Vec::new();
        for (i, item) in items.iter().enumerate() {
            if !is_ternary(item.role) {
                scales.push(None);
                apart.push(None);
                continue;
            }
            let scale = rows.scale(i)?;
            if !scale.is_finite() {
                let text = format!("the scale of {:?} is {scale}", item.role);
                return Err(Failure::kind(ErrorKind::BadData, text));
            }
            scales.push(Some(scale));
            apart.push(match format {
                Format::I2S => None,
                // The blocks' f16 scale is kept where it is exact; else it is 1 and llama.cpp's
                // `.scale` tensor, which multiplies the product, has the f32.
                Format::Tq1 | Format::Tq2 if is_exact(scale, Encoding::F16) => None,
                Format::Tq1 | Format::Tq2 => Some(Encoding::F32),
                Format::HfPacked if is_exact(scale, Encoding::BF16) => Some(Encoding::BF16),
                Format::HfPacked => Some(Encoding::F32),
            });
        }
        Ok(Self { scales, apart })
    }

    /// The tensors of the file, in order.
    fn specs(&self, items: &[Item], names: Names, format: Format) -> Vec<TensorSpec> {
        let mut specs = Vec::new();
        for (item, apart) in items.iter().zip(&self.apart) {
            let hf = format == Format::HfPacked;
            let name = names.of(item.role);
            let (rows, cols) = (item.rows as u64, item.cols as u64);
            let (shape, encoding) = match item.role {
                role if is_ternary(role) && hf => (vec![rows.div_ceil(4), cols], Encoding::U8),
                role if is_ternary(role) => (vec![rows, cols], format.encoding()),
                TensorRole::Embedding | TensorRole::Head => (vec![rows, cols], item.float),
                // llama.cpp wants norms in F32.
                _ => (vec![cols], if hf { item.float } else { Encoding::F32 }),
            };
            specs.push(TensorSpec { name: name.clone(), shape, encoding });
            if let Some(encoding) = apart {
                let name = match item.role {
                    TensorRole::Linear(block, linear, _) => {
                        names.of(TensorRole::Linear(block, linear, Field::Scale))
                    }
                    _ => unreachable!("only ternary matrices have a scale apart"),
                };
                specs.push(TensorSpec { name, shape: vec![1], encoding: *encoding });
            }
        }
        specs
    }
}

/// Header and data through a `.part` file.
fn weights(
    header: &Header,
    items: &[Item],
    rows: &mut dyn Rows,
    exact: &Exactness,
    format: Format,
    path: &Path,
    console: &Console,
) -> Result<u64> {
    let part = Part::create(path)?;
    let io = |e| Failure::io(path, &e);
    let bar = console.bytes_bar("writing", Some(header.file_len()));
    let mut out = BufWriter::with_capacity(1 << 20, part.file().map_err(io)?);
    stream(header, items, rows, exact, format, &mut Sink::new(&mut out, &bar, path))?;
    out.flush().map_err(io)?;
    drop(out);
    bar.finish_and_clear();
    part.promote()?;
    Ok(header.file_len())
}

/// Streams the bytes of a model file without tokenizer to `out`, for a model that is only to be timed: a GGUF file, or
/// the safetensors of [`Format::HfPacked`].
///
/// # Errors
/// As [`write()`]; an error of `out` is `io`.
pub fn stream_model(
    config: &Config,
    items: &[Item],
    rows: &mut dyn Rows,
    format: Format,
    out: &mut dyn Write,
    console: &Console,
) -> Result<u64> {
    let (_, names) = config.spec(format)?;
    let exact = Exactness::new(items, rows, format)?;
    let specs = exact.specs(items, names, format);
    let header = match format {
        Format::HfPacked => safetensors_header(&Meta::default(), &specs)?,
        _ => gguf_header(&config.gguf(format), &specs)?,
    };
    let bar = console.bytes_bar("making", Some(header.file_len()));
    let path = Path::new("synthetic");
    stream(&header, items, rows, &exact, format, &mut Sink::new(out, &bar, path))?;
    bar.finish_and_clear();
    Ok(header.file_len())
}

/// The whole file. `exact` tells scales; items and header tensors run in step.
fn stream(
    header: &Header,
    items: &[Item],
    rows: &mut dyn Rows,
    exact: &Exactness,
    format: Format,
    sink: &mut Sink<'_>,
) -> Result<()> {
    sink.put(&header.bytes)?;
    let mut places = header.tensors.iter();
    let mut next = || places.next().expect("a place for each tensor");
    for (i, item) in items.iter().enumerate() {
        let place = next();
        match exact.scales[i] {
            None => floats(rows, i, item, place.encoding, sink)?,
            Some(scale) => {
                let inner = if exact.apart[i].is_some() { 1.0 } else { scale };
                codes(rows, i, item, format, inner, sink)?;
            }
        }
        sink.zeros(header.padding(place))?;
        if let (Some(_), Some(scale)) = (exact.apart[i], exact.scales[i]) {
            let place = next();
            pack_floats(place.encoding, &[scale], &mut sink.bytes);
            sink.flush()?;
            sink.zeros(header.padding(place))?;
        }
    }
    Ok(())
}

/// Collects one row's bytes, then writes them.
pub(super) struct Sink<'a> {
    out: &'a mut dyn Write,
    bar: &'a ProgressBar,
    /// For messages.
    path: &'a Path,
    bytes: Vec<u8>,
}

impl<'a> Sink<'a> {
    pub(super) fn new(out: &'a mut dyn Write, bar: &'a ProgressBar, path: &'a Path) -> Self {
        Self { out, bar, path, bytes: Vec::new() }
    }

    /// Writes bytes that are ready.
    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.bytes.extend_from_slice(bytes);
        self.flush()
    }

    fn flush(&mut self) -> Result<()> {
        interrupt::check()?;
        self.out.write_all(&self.bytes).map_err(|e| Failure::io(self.path, &e))?;
        self.bar.inc(self.bytes.len() as u64);
        self.bytes.clear();
        Ok(())
    }

    pub(super) fn zeros(&mut self, n: usize) -> Result<()> {
        self.bytes.resize(n, 0);
        self.flush()
    }
}

pub(super) fn pack_floats(encoding: Encoding, values: &[f32], out: &mut Vec<u8>) {
    match encoding {
        Encoding::F16 => pack_f16(values, out),
        Encoding::BF16 => pack_bf16(values, out),
        _ => pack_f32(values, out),
    }
}

pub(super) fn floats(
    rows: &mut dyn Rows,
    i: usize,
    item: &Item,
    encoding: Encoding,
    sink: &mut Sink<'_>,
) -> Result<()> {
    let mut values = Vec::new();
    for row in 0..item.rows {
        rows.floats(i, row, &mut values)?;
        pack_floats(encoding, &values, &mut sink.bytes);
        sink.flush()?;
    }
    Ok(())
}

pub(super) fn codes(
    rows: &mut dyn Rows,
    i: usize,
    item: &Item,
    format: Format,
    scale: f32,
    sink: &mut Sink<'_>,
) -> Result<()> {
    if format == Format::HfPacked {
        let stored = item.rows.div_ceil(4);
        let mut quarters: [Vec<i8>; 4] = Default::default();
        for r in 0..stored {
            for (q, codes) in quarters.iter_mut().enumerate() {
                match r + q * stored {
                    row if row < item.rows => rows.codes(i, row, codes)?,
                    _ => *codes = vec![0; item.cols],
                }
            }
            let [a, b, c, d] = &quarters;
            pack_hf([a, b, c, d], &mut sink.bytes)?;
            sink.flush()?;
        }
        return Ok(());
    }
    let mut codes = Vec::new();
    for row in 0..item.rows {
        rows.codes(i, row, &mut codes)?;
        pack_row(format.encoding(), &codes, scale, &mut sink.bytes)?;
        sink.flush()?;
    }
    if format == Format::I2S {
        pack_i2_s_tail(scale, &mut sink.bytes);
        sink.flush()?;
    }
    Ok(())
}

/// A file that gets its name when it is complete, and vanishes otherwise.
pub(super) struct Part {
    part: PathBuf,
    path: PathBuf,
    file: Option<File>,
}

impl Part {
    pub(super) fn create(path: &Path) -> Result<Self> {
        let mut name = path.as_os_str().to_owned();
        name.push(".part");
        let part = PathBuf::from(name);
        let file = File::create(&part).map_err(|e| Failure::io(&part, &e))?;
        Ok(Self { part, path: path.to_owned(), file: Some(file) })
    }

    pub(super) fn file(&self) -> std::io::Result<File> {
        self.file.as_ref().expect("taken only by promote").try_clone()
    }

    pub(super) fn promote(mut self) -> Result<()> {
        let file = self.file.take().expect("taken only here");
        file.sync_all().map_err(|e| Failure::io(&self.part, &e))?;
        fs::rename(&self.part, &self.path).map_err(|e| Failure::io(&self.path, &e))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if self.file.is_some() {
            let _ = fs::remove_file(&self.part);
        }
    }
}
