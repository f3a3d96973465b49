//! `ternlight tokenize`: text to token ids and back.
//!
//! Invariant: only the tokenizer is read, never the weights.

use std::{io::Read, path::Path};

use clap::Args;
use serde_json::json;
use ternlight_core::ErrorKind;
use ternlight_engine::text::Tokenizer;

use crate::{
    Result,
    console::{Console, DIM},
    failure::{Failure, USAGE},
    model_file,
    model_ref::ModelRef,
    options::NamedModel,
    terminal,
};

/// Turn text into token ids, or ids into text.
#[derive(Args)]
#[command(
    override_usage = "ternlight tokenize [OPTIONS] [MODEL] TEXT\n       ternlight tokenize [OPTIONS] [MODEL] --decode ID,ID,…"
)]
pub struct Tokenize {
    /// The model; if only one argument is given, that is TEXT [default: see --model]
    #[arg(value_name = "MODEL", required_unless_present = "decode", allow_hyphen_values = true)]
    first: Option<String>,

    /// The text; - reads it from standard input
    #[arg(value_name = "TEXT", allow_hyphen_values = true)]
    second: Option<String>,

    #[command(flatten)]
    model: NamedModel,

    /// Turn these ids into text instead; a single argument is the model
    #[arg(long, value_name = "ID,ID,…", value_delimiter = ',')]
    decode: Vec<u32>,

    /// Parse special tokens in the text (they are plain text otherwise)
    #[arg(long)]
    special: bool,

    /// Prepend the tokens that the model expects (BOS)
    #[arg(long)]
    bos: bool,

    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// The tokenizer of the model at `path`, without its weights.
pub fn tokenizer(path: &Path) -> Result<Tokenizer> {
    if !path.is_dir() {
        let files = model_file::files(path)?;
        let (index, _) = model_file::header(&files[0])?;
        if index.meta.has("tokenizer.ggml.model") {
            return Ok(Tokenizer::from_meta(&index.meta)?);
        }
    }
    let folder = if path.is_dir() { path } else { path.parent().unwrap_or(Path::new(".")) };
    let read = |name: &str| std::fs::read_to_string(folder.join(name));
    let json = read("tokenizer.json").map_err(|_| {
        Failure::kind(ErrorKind::Tokenizer, format!("{}: the model has no tokenizer", path.display()))
    })?;
    Ok(Tokenizer::from_json(&json, read("tokenizer_config.json").ok().as_deref())?)
}

impl Tokenize {
    /// The model and the text among the arguments: the text comes last, and `--decode` stands for it.
    fn arguments(&self) -> Result<(Option<ModelRef>, Option<String>)> {
        let usage = |text: String| Failure::new(USAGE, text);
        let (model, text) = match (&self.first, &self.second, self.decode.is_empty()) {
            (None, None, _) => (None, None),
            (Some(text), None, true) => (None, Some(text.clone())),
            (Some(model), None, false) => (Some(model), None),
            (Some(model), Some(text), true) => (Some(model), Some(text.clone())),
            _ => return Err(usage("--decode takes the place of the text".to_owned())),
        };
        if model.is_some() && self.model.is_given() {
            return Err(usage("the model is given twice, as an argument and by --model".to_owned()));
        }
        Ok((model.map(|model| model.parse()).transpose().map_err(usage)?, text))
    }

    pub fn execute(self, console: &Console) -> Result<()> {
        let (model, text) = self.arguments()?;
        let tokenizer = tokenizer(&self.model.locate(model.as_ref(), console)?)?;
        if let Some(bad) = self.decode.iter().find(|id| **id as usize >= tokenizer.len()) {
            let text = format!("token {bad} is outside the vocabulary of {}", tokenizer.len());
            return Err(Failure::kind(ErrorKind::BadOption, text));
        }
        let decodes = text.is_none();
        let ids = match text {
            None => self.decode,
            Some(text) => {
                let mut input = text;
                if input == "-" {
                    input.clear();
                    let read = std::io::stdin().read_to_string(&mut input);
                    read.map_err(|e| Failure::io("standard input".as_ref(), &e))?;
                }
                match self.bos {
                    true => tokenizer.encode_input(&input, self.special)?,
                    false => tokenizer.encode(&input, self.special)?,
                }
            }
        };
        let pieces: Vec<_> =
            ids.iter().map(|id| String::from_utf8_lossy(tokenizer.token_bytes(*id)).into_owned()).collect();
        let text = tokenizer.decode(&ids);
        let report = json!({ "tokens": ids, "pieces": pieces, "text": text });
        console.result(&report, || {
            if decodes {
                terminal::stream(&text);
                return crate::say!("");
            }
            let list: Vec<String> = ids.iter().map(u32::to_string).collect();
            crate::say!("{}", list.join(","));
            for (id, piece) in ids.iter().zip(&pieces) {
                crate::say!("{DIM}{id:>8}{DIM:#}  {piece:?}");
            }
            console.remark(format_args!("{} tokens, {} bytes", ids.len(), text.len()));
        });
        Ok(())
    }
}
