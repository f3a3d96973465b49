//! Text ↔ tokens, and messages → text.
//!
//! Built on Hugging Face's `tokenizers`, version 1.0.0-rc.3 with its BPE model, pre-tokenisers and
//! Unicode normalisers and nothing else. Measured for wasm (fat LTO, brotli 11): 191 KB, against
//! 568 KB for 0.23 with `fancy-regex`; with the template engine (compiled for size) 412 KB, and
//! 699 KB with a regex engine on top — too much for a page's first token (700 KB for everything).
//! So the browser build has no regex engine: the pre-tokenisers of the GPT-2, LLaMA-3, Qwen, o200k,
//! Tekken, DeepSeek-V3 and Falcon families run natively, any other needs the `regex` feature and is
//! refused by name without it. A release candidate asks for care: its version is pinned, its reader of
//! `tokenizer.json` is not used (it wants a newer dialect of it; `json` reads the published one),
//! what it assumes about a vocabulary is checked before it sees one (`recipe`), and added tokens and
//! decoding are done here (`special`, `decode`), because both need what the library does not offer.
//!
//! Only BPE: byte-level (GPT-2 and after) and SentencePiece's with byte fallback, whose merges are
//! derived from the scores where a GGUF has only those. Unigram and WordPiece are refused by name.
//!
//! Invariants: text that the caller has not declared to be special never gives a control token; decoding
//! is the inverse of encoding for valid UTF-8 (up to what a normaliser of the model changes).

mod decode;
mod gguf;
mod json;
mod recipe;
mod special;
mod split;
pub mod template;

use std::sync::Mutex;

use ternlight_core::{Error, ErrorKind, Result, container::Meta};
use tokenizers::{
    models::bpe::PipelineBPE,
    pipeline::{Model, Normalizer, PipelineNormalizer, PipelineToken, PreTokenizerScratch, Span},
};

pub use decode::Decoder;
pub(crate) use json::token_content;
use recipe::Pieces;
pub(crate) use special::Control;
use special::{Matcher, Segment};

/// What a token id is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A piece of text.
    Normal,
    /// Text that is always one token ("    ", "<tool_call>").
    Added,
    /// Steers the model: begin of text, end of turn.
    Control,
    /// No token has this id.
    None,
}

/// A model's tokenizer. Cheap to share, safe to use from several threads.
pub struct Tokenizer {
    parts: Parts,
    scratch: Mutex<Scratch>,
}

pub(crate) struct Parts {
    model: PipelineBPE,
    normalizers: Vec<PipelineNormalizer>,
    splitter: split::Splitter,
    /// Added tokens looked for in the raw text, and in the normalised rest.
    raw: Matcher,
    normalized: Matcher,
    pieces: Pieces,
    /// What stands for a byte that has no token; nothing where none.
    unknown_byte: Option<u32>,
    strips_leading_space: bool,
    prefix: Vec<u32>,
    suffix: Vec<u32>,
    bos: Option<u32>,
    eos: Option<u32>,
    stops: Vec<u32>,
}

struct Scratch {
    model: <PipelineBPE as Model>::Scratch,
    split: PreTokenizerScratch,
    spans: Vec<Span>,
    tokens: Vec<PipelineToken>,
}

impl Tokenizer {
    /// From Hugging Face's `tokenizer.json` and, where there is one, `tokenizer_config.json`.
    ///
    /// # Errors
    /// `tokenizer`, naming what is wrong or not supported.
    pub fn from_json(tokenizer: &str, config: Option<&str>) -> Result<Self> {
        json::from_json(tokenizer, config)
    }

    /// From the metadata of a GGUF file (`tokenizer.ggml.*`).
    ///
    /// # Errors
    /// `missing-key` when the file has no tokenizer, `tokenizer` when it cannot be built.
    pub fn from_meta(meta: &Meta) -> Result<Self> {
        gguf::from_meta(meta)
    }

    pub(crate) fn assemble(parts: Parts) -> Self {
        let scratch = Scratch {
            model: parts.model.init_scratch(),
            split: PreTokenizerScratch::default(),
            spans: Vec::new(),
            tokens: Vec::new(),
        };
        Self { parts, scratch: Mutex::new(scratch) }
    }

    /// The tokens of `text`, nothing added. With `special`, the spellings of control tokens in it are
    /// control tokens; without, they are plain text.
    ///
    /// # Errors
    /// `tokenizer` when the text has 4 GiB, or the library refuses.
    pub fn encode(&self, text: &str, special: bool) -> Result<Vec<u32>> {
        self.encode_with(text, if special { Control::Everywhere } else { Control::Nowhere })
    }

    pub(crate) fn encode_with(&self, text: &str, control: Control<'_>) -> Result<Vec<u32>> {
        let mut segments = Vec::new();
        self.parts.raw.split(text, control, |s| segments.push(s));
        let mut out = Vec::with_capacity(text.len() / 3);
        for segment in segments {
            match segment {
                Segment::Token(id) => out.push(id),
                Segment::Text(start, end) => self.encode_text(&text[start..end], start, control, &mut out)?,
            }
        }
        Ok(out)
    }

    /// Text between added tokens; `offset` is where it begins in the whole.
    fn encode_text(&self, text: &str, offset: usize, control: Control<'_>, out: &mut Vec<u32>) -> Result<()> {
        let mut normal = std::borrow::Cow::Borrowed(text);
        for normalizer in &self.parts.normalizers {
            normal = normalizer.normalize(&normal, offset).map_err(library)?.into_owned().into();
        }
        if self.parts.normalized.is_empty() {
            return self.encode_plain(&normal, out);
        }
        // Offsets of refused places do not survive normalisation, and control tokens are looked for in
        // the raw text: here they are all or nothing.
        let control = match control {
            Control::Everywhere => Control::Everywhere,
            Control::Nowhere | Control::Except(_) => Control::Nowhere,
        };
        let mut segments = Vec::new();
        self.parts.normalized.split(&normal, control, |s| segments.push(s));
        for segment in segments {
            match segment {
                Segment::Token(id) => out.push(id),
                Segment::Text(start, end) => self.encode_plain(&normal[start..end], out)?,
            }
        }
        Ok(())
    }

    fn encode_plain(&self, text: &str, out: &mut Vec<u32>) -> Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        // The library's offsets are 32 bits wide.
        if text.len() >= u32::MAX as usize {
            return Err(Error::new(ErrorKind::TooLarge, "the text is longer than 4 GiB"));
        }
        // A panic elsewhere cannot leave the scratch inconsistent: every field is cleared before use.
        let mut scratch = self.scratch.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Scratch { model, split, spans, tokens } = &mut *scratch;
        self.parts.splitter.split(text, split, spans)?;
        tokens.clear();
        self.parts.model.tokenize_spans(text, spans, model, tokens).map_err(library)?;
        let len = self.len() as u32;
        let known = |id: u32| if id < len { Some(id) } else { self.parts.unknown_byte };
        out.extend(tokens.iter().filter_map(|t| known(t.id())));
        Ok(())
    }

    /// `text` as the model wants a whole input: with the tokens it puts before and after (usually
    /// `BOS`), each only if it is not already there.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_input(&self, text: &str, special: bool) -> Result<Vec<u32>> {
        Ok(self.frame(self.encode(text, special)?))
    }

    /// Puts the model's prefix before `tokens` unless they begin with it.
    pub(crate) fn open(&self, mut tokens: Vec<u32>) -> Vec<u32> {
        if !tokens.starts_with(&self.parts.prefix) {
            tokens.splice(0..0, self.parts.prefix.iter().copied());
        }
        tokens
    }

    /// As [`Tokenizer::open`], and the suffix after them unless they end with it.
    pub(crate) fn frame(&self, tokens: Vec<u32>) -> Vec<u32> {
        let mut tokens = self.open(tokens);
        if !tokens.ends_with(&self.parts.suffix) {
            tokens.extend_from_slice(&self.parts.suffix);
        }
        tokens
    }

    /// The text of `tokens`, control tokens included.
    pub fn decode(&self, tokens: &[u32]) -> String {
        let (mut decoder, mut out) = (self.decoder(None), String::new());
        decoder.show_control = true;
        tokens.iter().for_each(|&t| decoder.push(self, t, &mut out));
        decoder.finish(&mut out);
        out
    }

    /// A streaming decoder for what follows `previous` (nothing, or the last token of a prompt), without
    /// the text of control tokens.
    pub fn decoder(&self, previous: Option<u32>) -> Decoder {
        let opens = previous.is_none_or(|t| self.is_control(t)) && self.parts.strips_leading_space;
        Decoder { opens, utf8: decode::Utf8::default(), show_control: false }
    }

    /// The bytes of a token; empty for an unknown id. Often not UTF-8 on their own.
    pub fn token_bytes(&self, id: u32) -> &[u8] {
        self.parts.pieces.bytes(id)
    }

    /// What `id` is.
    pub fn kind(&self, id: u32) -> Kind {
        self.parts.pieces.kind(id)
    }

    /// Whether `id` is a control token.
    pub fn is_control(&self, id: u32) -> bool {
        self.kind(id) == Kind::Control
    }

    /// One more than the highest id.
    pub fn len(&self) -> usize {
        self.parts.pieces.len()
    }

    /// Never: a tokenizer has tokens.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The id that begins a text.
    pub fn bos(&self) -> Option<u32> {
        self.parts.bos
    }

    /// The id that ends a text.
    pub fn eos(&self) -> Option<u32> {
        self.parts.eos
    }

    /// The ids that end an answer, ascending.
    pub fn stops(&self) -> &[u32] {
        &self.parts.stops
    }

    /// The control token spelt so.
    pub fn control(&self, spelling: &str) -> Option<u32> {
        let all = self.parts.raw.tokens().iter().chain(self.parts.normalized.tokens());
        all.filter(|t| t.control).find(|t| t.content == spelling).map(|t| t.id)
    }

    pub(crate) fn add_stops(&mut self, ids: impl IntoIterator<Item = u32>) {
        let len = self.len() as u32;
        self.parts.stops.extend(ids.into_iter().filter(|&id| id < len));
        self.parts.stops.sort_unstable();
        self.parts.stops.dedup();
    }

    pub(crate) fn strips_leading_space(&self) -> bool {
        self.parts.strips_leading_space
    }

    /// The spellings of all control tokens.
    pub(crate) fn control_spellings(&self) -> impl Iterator<Item = &str> {
        let all = self.parts.raw.tokens().iter().chain(self.parts.normalized.tokens());
        all.filter(|t| t.control).map(|t| t.content.as_str())
    }
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizer").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// The library's error as ours.
pub(crate) fn library(error: tokenizers::Error) -> Error {
    recipe::bad(error.to_string())
}
