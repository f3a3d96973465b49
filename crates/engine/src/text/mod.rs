//! Text ↔ tokens, and messages → text.
//!
//! Built on Hugging Face's `tokenizers`, version 1.0.0-rc.3 with its BPE and WordPiece models, pre-tokenisers
//! and Unicode normalisers and nothing else. Measured for wasm (fat LTO, brotli 11): 191 KB, against
//! 568 KB for 0.23 with `fancy-regex`; with the template engine (compiled for size) 412 KB, and
//! 699 KB with a regex engine on top — too much for a page's first token (700 KB for everything).
//! So the browser build has no regex engine: the pre-tokenisers of the GPT-2, LLaMA-3, Qwen, o200k,
//! Tekken, DeepSeek-V3 and Falcon families run natively, any other needs the `regex` feature and is
//! refused by name without it. A release candidate asks for care: its version is pinned, its reader of
//! `tokenizer.json` is not used (it wants a newer dialect of it; `json` reads the published one),
//! what it assumes about a vocabulary is checked before it sees one (`builder`), and added tokens and
//! decoding are done here (`special`, `decode`), because both need what the library does not offer.
//!
//! BPE, byte-level (GPT-2 and after) and SentencePiece's with byte fallback, whose merges are derived from the
//! scores where a GGUF has only those; and WordPiece (BERT). Unigram is refused by name.
//!
//! Invariants: text that the caller has not declared to be special never gives a token that steers; decoding
//! is the inverse of encoding for valid UTF-8 (up to what a normaliser of the model changes, and WordPiece, which
//! keeps no spaces).

mod bert;
mod builder;
mod config;
mod decode;
mod gguf;
mod json;
mod refusal;
mod special;
mod split;
pub mod template;
mod word_piece;

use std::{ops::Range, sync::Mutex};

use ternlight_core::{Error, ErrorKind, Result, container::Meta};
use tokenizers::pipeline::{
    Model, Normalizer, PipelineModel, PipelineNormalizer, PipelineToken, PreTokenizerScratch, Span,
};

use builder::Pieces;
pub(crate) use config::Config;
pub use decode::Decoder;
use special::{Matcher, Segment};
use template::Origin;

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
    model: PipelineModel,
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
    model: <PipelineModel as Model>::Scratch,
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
    /// control tokens; without, they are plain text, and so are those of other tokens that steer.
    ///
    /// # Errors
    /// `tokenizer` when the text has 4 GiB, or the library refuses.
    pub fn encode(&self, text: &str, special: bool) -> Result<Vec<u32>> {
        let everything = [(0..text.len(), Origin::Input)];
        self.encode_said(text, if special { &[] } else { &everything })
    }

    /// As [`Tokenizer::encode`], of a text that more than one wrote: `said` are the stretches that are not the
    /// template's, ascending. A token that steers is recognised where none of it was said.
    pub(crate) fn encode_said(&self, text: &str, said: &[(Range<usize>, Origin)]) -> Result<Vec<u32>> {
        let mut segments = Vec::new();
        self.parts.raw.split(text, said, |s| segments.push(s));
        let mut out = Vec::with_capacity(text.len() / 3);
        for segment in segments {
            match segment {
                Segment::Token(id) => out.push(id),
                Segment::Text(start, end) => self.encode_text(&text[start..end], start, &mut out)?,
            }
        }
        Ok(out)
    }

    /// Text between added tokens; `offset` is where it begins in the whole.
    fn encode_text(&self, text: &str, offset: usize, out: &mut Vec<u32>) -> Result<()> {
        let mut normal = std::borrow::Cow::Borrowed(text);
        for normalizer in &self.parts.normalizers {
            normal = normalizer.normalize(&normal, offset).map_err(library)?.into_owned().into();
        }
        if self.parts.normalized.is_empty() {
            return self.encode_plain(&normal, out);
        }
        // Of these tokens none steers.
        let mut segments = Vec::new();
        self.parts.normalized.split(&normal, &[], |s| segments.push(s));
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
        Ok(self.add_special_tokens(self.encode(text, special)?))
    }

    /// Puts the model's prefix before `tokens` unless they begin with it.
    pub(crate) fn add_bos(&self, mut tokens: Vec<u32>) -> Vec<u32> {
        if !tokens.starts_with(&self.parts.prefix) {
            tokens.splice(0..0, self.parts.prefix.iter().copied());
        }
        tokens
    }

    /// As [`Tokenizer::add_bos`], and the suffix after them unless they end with it.
    pub(crate) fn add_special_tokens(&self, tokens: Vec<u32>) -> Vec<u32> {
        let mut tokens = self.add_bos(tokens);
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

    /// Tokens that a chat template spells are not for users to spell, whatever the tokenizer's file calls
    /// them. `literals` are the texts that the template may print.
    pub(crate) fn guard_tokens_of(&mut self, literals: &[String]) {
        let (raw, normalized) =
            (std::mem::take(&mut self.parts.raw), std::mem::take(&mut self.parts.normalized));
        let mut tokens = raw.into_tokens();
        let mut normal = normalized.into_tokens();
        for token in tokens.iter_mut().chain(&mut normal).filter(|t| t.speller == Origin::Input) {
            let spelt = literals.iter().any(|text| text.contains(&token.content));
            token.speller = special::speller(&token.content, spelt);
        }
        // What steers is looked for in the raw text: normalised text no longer tells who wrote it.
        let (steering, normal): (Vec<_>, Vec<_>) =
            normal.into_iter().partition(|t| t.speller != Origin::Input);
        tokens.extend(steering);
        (self.parts.raw, self.parts.normalized) = (Matcher::new(tokens), Matcher::new(normal));
    }
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizer").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// The library's error as ours.
pub(crate) fn library(error: tokenizers::Error) -> Error {
    refusal::bad(error.to_string())
}
