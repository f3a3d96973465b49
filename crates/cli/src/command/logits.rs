//! `ternlight logits`: the raw output of the model, for comparison with other implementations.
//!
//! Invariant: with the default f32 cache the logits of a position depend on nothing but the model and the
//! tokens up to it.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::PathBuf,
    str::FromStr,
    sync::Arc,
};

use clap::Args;
use serde_json::json;
use ternlight_core::{
    ErrorKind,
    cache::KvType,
    container::Meta,
    container::write::{TensorSpec, safetensors_header},
    format::{Encoding, FormRow, pack_f32, unpack},
    load::LoadOptions,
    model::{Decoder, DecoderOptions, Want},
    simd::Isa,
};

use crate::{
    Result,
    console::{self, Console, STRONG},
    failure::{Failure, USAGE},
    interrupt, model_file,
    options::{ComputeOptions, Kv, LoopArgs, ModelOptions},
};

/// Compute the logits of every position of a token sequence.
#[derive(Args)]
#[command(after_help = "The file holds one F32 tensor, `logits`, of shape [tokens, vocabulary].")]
pub struct Logits {
    #[command(flatten)]
    model: ModelOptions,

    /// Token ids
    #[arg(long, value_name = "ID,ID,…", value_delimiter = ',', required = true)]
    tokens: Vec<u32>,

    /// Safetensors file to write
    #[arg(long, short, value_name = "FILE")]
    out: PathBuf,

    /// How the cache stores keys and values [default: as the model was trained, else f32]
    #[arg(long, value_enum, help_heading = "Computation")]
    kv: Option<Kv>,

    /// States that a loop begins with instead of zeros, for models that have them (Huginn): a tensor [tokens, width] of a
    /// safetensors file
    #[arg(long, value_name = "FILE:TENSOR", help_heading = "Computation")]
    loop_states: Option<TensorRef>,

    #[command(flatten)]
    loops: LoopArgs,

    #[command(flatten)]
    compute: ComputeOptions,

    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

impl Logits {
    pub fn execute(self, console: &Console) -> Result<()> {
        let path = self.model.locate(console)?;
        let compute = self.compute.exact();
        let options = LoadOptions { exact_inputs: true, ..compute.load() };
        let pool = compute.pool();
        let mut model = model_file::load(&path, options, pool.clone(), console)?;
        let kv = model.choose_kv(Kv::choice(self.kv), KvType::F32)?;
        let (vocab, n) = (model.spec.vocab, self.tokens.len());
        if let Some(bad) = self.tokens.iter().find(|token| **token as usize >= vocab) {
            let text = format!("token {bad} is outside the vocabulary of {vocab}");
            return Err(Failure::new(USAGE, text));
        }
        let options = DecoderOptions { context: n, kv, ..DecoderOptions::default() };
        let mut decoder = Decoder::new(Arc::new(model), options, pool)?;
        decoder.set_loops(self.loops.options())?;
        if let Some(states) = &self.loop_states {
            decoder.begin_loops_with(&states.read()?)?;
        }
        let spec = TensorSpec {
            name: "logits".to_owned(),
            shape: vec![n as u64, vocab as u64],
            encoding: Encoding::F32,
        };
        let header = safetensors_header(&Meta::default(), &[spec])?;
        let io = |e| Failure::io(&self.out, &e);
        let mut file = BufWriter::new(File::create(&self.out).map_err(io)?);
        file.write_all(&header.bytes).map_err(io)?;
        let bar = console.count_bar("computing", n as u64);
        let mut bytes = Vec::new();
        let mut argmax = Vec::new();
        // In blocks, so that the logits of a long sequence are never all in memory.
        for block in self.tokens.chunks(decoder.block().max(1)) {
            interrupt::check()?;
            let logits = decoder.forward(block, Want::All)?;
            for row in logits.chunks_exact(vocab) {
                argmax.push(best(row));
                bytes.clear();
                pack_f32(row, &mut bytes);
                file.write_all(&bytes).map_err(io)?;
            }
            bar.inc(block.len() as u64);
        }
        file.flush().map_err(io)?;
        bar.finish_and_clear();
        let mut report = json!({ "path": self.out, "shape": [n, vocab], "argmax": argmax });
        if !decoder.loops_taken().is_empty() {
            report["loops"] = json!(decoder.loops_taken());
        }
        console.result(&report, || {
            crate::say!("{STRONG}{}{STRONG:#}", self.out.display());
            crate::say!("logits [{n}, {vocab}], {}", console::bytes(header.file_len()));
        });
        Ok(())
    }
}

/// A float tensor in a safetensors file.
#[derive(Clone, Debug)]
struct TensorRef {
    file: PathBuf,
    tensor: String,
}

impl FromStr for TensorRef {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (file, tensor) = text.rsplit_once(':').ok_or("not FILE:TENSOR")?;
        Ok(Self { file: file.into(), tensor: tensor.to_owned() })
    }
}

impl TensorRef {
    /// Its values, row by row.
    fn read(&self) -> Result<Vec<f32>> {
        let (index, _) = model_file::header(&self.file)?;
        let Some(info) = index.tensors.iter().find(|info| info.name == self.tensor) else {
            let text = format!("{}: there is no tensor '{}'", self.file.display(), self.tensor);
            return Err(Failure::kind(ErrorKind::MissingTensor, text));
        };
        if !info.encoding.is_float() {
            let text = format!("'{}' is stored as {}", self.tensor, info.encoding.name());
            return Err(Failure::kind(ErrorKind::UnsupportedFormat, text));
        }
        let bytes = std::fs::read(&self.file).map_err(|e| Failure::io(&self.file, &e))?;
        // The header was checked against the file's length.
        let bytes = &bytes[info.offset as usize..][..info.bytes as usize];
        let count = info.shape.iter().product::<u64>() as usize;
        let mut row = FormRow::default();
        unpack(Isa::SCALAR, info.encoding, bytes, count, &mut row)?;
        Ok(row.floats)
    }
}

/// The index of the largest value, the first one on a tie.
fn best(row: &[f32]) -> usize {
    let better = |best: usize, i: usize| if row[i] > row[best] { i } else { best };
    (0..row.len()).fold(0, better)
}
