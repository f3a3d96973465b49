//! What a tokenizer is made of, whichever file described it, and how it is built.
//!
//! `json` and `gguf` fill a [`TokenizerBuilder`]; [`TokenizerBuilder::build`] checks it and hands it to the library. The
//! library asserts what it expects of a tokenizer and indexes without bounds checks, so everything it
//! relies on is checked here first: a hostile file is an error, not a panic.

use std::collections::{HashMap, HashSet};

use ternlight_core::Result;
use tokenizers::{
    models::bpe::{BpeConfig, PipelineBPE},
    pipeline::{PipelineModel, PipelineNormalizer},
};

use super::{
    Kind, Tokenizer, library,
    refusal::{bad, short},
    special::{self, Added, Matcher},
    split::Splitter,
    template::Origin,
    word_piece::WordPiece,
};

/// Ids are indices of tables, so they are bounded. The largest vocabularies have 0.3 million.
pub(super) const MAX_ID: u32 = 1 << 20;
/// The library stores lengths of tokens in 16 bits.
const MAX_TOKEN_BYTES: usize = 1 << 14;
/// Added tokens may be many (one per image patch), but each is looked at in every text.
const MAX_ADDED: usize = 1 << 18;
/// Bytes of an added token: each place of a text is compared with this many at most.
const MAX_ADDED_BYTES: usize = 512;
/// Words the library remembers per thread of use; 32 bytes each.
const CACHED_WORDS: usize = 4096;

/// The parts of a tokenizer.
#[derive(Default)]
pub(crate) struct TokenizerBuilder {
    /// Token → id, in the spelling of the file.
    pub vocab: HashMap<String, u32>,
    /// Pairs, best first.
    pub merges: Vec<(String, String)>,
    /// The vocabulary spells bytes as printable characters (GPT-2's alphabet).
    pub byte_level: bool,
    /// Characters without a token become `<0xNN>` tokens.
    pub byte_fallback: bool,
    pub ignore_merges: bool,
    pub fuse_unk: bool,
    pub unk: Option<String>,
    pub end_of_word_suffix: Option<String>,
    /// The vocabulary is of WordPiece, not of BPE.
    pub word_piece: Option<WordPiece>,
    pub normalizers: Vec<PipelineNormalizer>,
    pub splitter: Splitter,
    pub added: Vec<Added>,
    /// `▁` in tokens means a space, and the first one of a text was put there by the encoder.
    pub metaspace: bool,
    pub strips_leading_space: bool,
    /// Ids that the model wants before and after every text.
    pub prefix: Vec<u32>,
    pub suffix: Vec<u32>,
    pub bos: Option<u32>,
    pub eos: Option<u32>,
    /// Tokens that end an answer, beside `eos`.
    pub stops: Vec<u32>,
}

impl TokenizerBuilder {
    /// # Errors
    /// `tokenizer`, naming the token or merge that cannot be.
    pub fn build(mut self) -> Result<Tokenizer> {
        self.check()?;
        let pieces = self.pieces()?;
        // Added tokens are found by `special`; inside the model their spelling must be plain text.
        let in_merges: HashSet<&str> =
            self.merges.iter().flat_map(|(a, b)| [a.as_str(), b.as_str()]).collect();
        let hidden = |t: &&Added| t.control || !t.single_word && t.content.chars().nth(1).is_some();
        for token in self.added.iter().filter(hidden) {
            if !in_merges.contains(token.content.as_str()) && self.unk.as_deref() != Some(&token.content) {
                self.vocab.remove(&token.content);
            }
        }
        drop(in_merges);
        self.check_merges()?;
        let unknown_byte = self.unk.as_ref().and_then(|unk| self.vocab.get(unk)).copied();
        if self.byte_level {
            self.complete_bytes(pieces.len() as u32);
        }
        let model = match self.word_piece.take() {
            Some(kind) => kind.model(std::mem::take(&mut self.vocab), self.unk.take())?,
            None => self.bpe()?,
        };
        let (mut raw, mut normalized) = (Vec::new(), Vec::new());
        for mut token in self.added {
            let speller = special::speller(&token.content, false);
            token.speller = if token.control { Origin::Template } else { speller };
            // Without normalisers the two kinds are one, and one pass finds the longest. What steers is looked
            // for in the raw text: normalised text no longer tells who wrote it.
            if token.normalized && !self.normalizers.is_empty() && token.speller == Origin::Input {
                normalized.push(token)
            } else {
                raw.push(token)
            }
        }
        let mut stops: Vec<u32> = self.eos.into_iter().chain(self.stops).collect();
        stops.sort_unstable();
        stops.dedup();
        Ok(Tokenizer::assemble(super::Parts {
            model,
            normalizers: self.normalizers,
            splitter: self.splitter,
            raw: Matcher::new(raw),
            normalized: Matcher::new(normalized),
            pieces,
            unknown_byte,
            strips_leading_space: self.strips_leading_space,
            prefix: self.prefix,
            suffix: self.suffix,
            bos: self.bos,
            eos: self.eos,
            stops,
        }))
    }

    fn bpe(&mut self) -> Result<PipelineModel> {
        let config = BpeConfig {
            vocab: std::mem::take(&mut self.vocab).into_iter().collect(),
            merges: std::mem::take(&mut self.merges),
            byte_level: self.byte_level,
            unk_token: self.unk.take().filter(|_| !self.byte_level),
            end_of_word_suffix: self.end_of_word_suffix.take(),
            fuse_unk: self.fuse_unk,
            byte_fallback: self.byte_fallback,
            ignore_merges: self.ignore_merges,
            cache_capacity: CACHED_WORDS,
            ..BpeConfig::default()
        };
        PipelineBPE::from_config(config).map(PipelineModel::BPE).map_err(library)
    }

    fn check(&self) -> Result<()> {
        if self.vocab.is_empty() {
            return Err(bad("the vocabulary is empty".into()));
        }
        if self.added.len() > MAX_ADDED {
            return Err(bad(format!("{} added tokens are more than {MAX_ADDED}", self.added.len())));
        }
        if let Some(long) = self.added.iter().find(|t| t.content.len() > MAX_ADDED_BYTES) {
            let name = short(&long.content);
            return Err(bad(format!("the added token {name} is longer than {MAX_ADDED_BYTES} bytes")));
        }
        let mut owner: HashMap<u32, &str> = HashMap::with_capacity(self.vocab.len());
        let added = self.added.iter().map(|t| (t.content.as_str(), t.id));
        for (token, id) in self.vocab.iter().map(|(t, &i)| (t.as_str(), i)).chain(added) {
            if id >= MAX_ID {
                return Err(bad(format!("token {} has the id {id}, above {MAX_ID}", short(token))));
            }
            if token.len() > MAX_TOKEN_BYTES {
                return Err(bad(format!("token {} is longer than {MAX_TOKEN_BYTES} bytes", short(token))));
            }
            if let Some(other) = owner.insert(id, token)
                && other != token
            {
                return Err(bad(format!(
                    "tokens {} and {} have the same id {id}",
                    short(other),
                    short(token)
                )));
            }
        }
        let mut all =
            self.prefix.iter().chain(&self.suffix).chain(&self.bos).chain(&self.eos).chain(&self.stops);
        match all.find(|id| !owner.contains_key(id)) {
            Some(id) => Err(bad(format!("the special token {id} is not in the vocabulary"))),
            None => Ok(()),
        }
    }

    /// Each merge must join two tokens into a third, and the library's table of merges among the first
    /// 512 tokens has room for 2¹⁶ − 2.
    fn check_merges(&self) -> Result<()> {
        let mut joined = String::new();
        let mut products = HashSet::with_capacity(self.merges.len());
        for (a, b) in &self.merges {
            joined.clear();
            joined.push_str(a);
            joined.push_str(b);
            if a.is_empty() || b.is_empty() {
                return Err(bad("a merge has an empty side".into()));
            }
            for token in [a, b, &joined] {
                if !self.vocab.contains_key(token) {
                    return Err(bad(format!(
                        "the merge {} + {} needs {}, which is not in the vocabulary",
                        short(a),
                        short(b),
                        short(token)
                    )));
                }
            }
            products.insert(self.vocab[&joined]);
        }
        if self.merges.len() >= usize::from(u16::MAX) {
            // The library numbers tokens anew: those that no merge makes by id, then products by rank.
            let mut base: Vec<u32> =
                self.vocab.values().copied().filter(|id| !products.contains(id)).collect();
            base.sort_unstable();
            let mut first: HashSet<u32> = base.into_iter().take(512).collect();
            for (a, b) in &self.merges {
                if first.len() >= 512 {
                    break;
                }
                first.insert(self.vocab[&format!("{a}{b}")]);
            }
            let pairs: HashSet<(u32, u32)> =
                self.merges.iter().map(|(a, b)| (self.vocab[a], self.vocab[b])).collect();
            let dense = pairs.iter().filter(|(a, b)| first.contains(a) && first.contains(b)).count();
            if dense >= usize::from(u16::MAX) - 1 {
                return Err(bad(format!("{dense} merges among the first 512 tokens are too many")));
            }
        }
        Ok(())
    }

    /// Gives every byte a token. Small vocabularies lack some that their training text did not have, and
    /// the library refuses those; ids from `first` on are taken out of its results again.
    fn complete_bytes(&mut self, first: u32) {
        let mut next = first;
        for byte in 0..=255u8 {
            let c = tokenizers::utils::byte_level::BYTES_CHAR_LOOKUP[byte as usize];
            self.vocab.entry(c.to_string()).or_insert_with(|| {
                next += 1;
                next - 1
            });
        }
    }

    /// The bytes of every id.
    fn pieces(&self) -> Result<Pieces> {
        let last = self.vocab.values().copied().chain(self.added.iter().map(|t| t.id)).max().unwrap_or(0);
        let mut by_id: Vec<Option<(&str, Kind)>> = vec![None; last as usize + 1];
        for (token, &id) in &self.vocab {
            by_id[id as usize] = Some((token, Kind::Normal));
        }
        for token in &self.added {
            let kind = if token.control { Kind::Control } else { Kind::Added };
            by_id[token.id as usize] = Some((&token.content, kind));
        }
        let alphabet = &tokenizers::utils::byte_level::CHAR_BYTES_LOOKUP;
        let mut pieces = Pieces::default();
        for slot in &by_id {
            let kind = match *slot {
                None => Kind::None,
                Some((text, kind)) if kind != Kind::Normal => {
                    pieces.bytes.extend_from_slice(text.as_bytes());
                    kind
                }
                Some((text, kind)) if self.byte_level => {
                    for c in text.chars() {
                        match alphabet.get(c as usize).copied().flatten() {
                            Some(byte) => pieces.bytes.push(byte),
                            None => pieces.bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
                        }
                    }
                    kind
                }
                Some((text, kind)) if let Some(words) = &self.word_piece => {
                    pieces.bytes.extend_from_slice(words.text(text).as_bytes());
                    kind
                }
                Some((text, kind)) => {
                    match byte_token(text).filter(|_| self.byte_fallback) {
                        Some(byte) => pieces.bytes.push(byte),
                        None if self.metaspace => {
                            pieces.bytes.extend_from_slice(text.replace('▁', " ").as_bytes())
                        }
                        None => pieces.bytes.extend_from_slice(text.as_bytes()),
                    }
                    kind
                }
            };
            pieces.kinds.push(kind);
            let end =
                u32::try_from(pieces.bytes.len()).map_err(|_| bad("the vocabulary is too large".into()))?;
            pieces.ends.push(end);
        }
        Ok(pieces)
    }
}

/// Bytes and kind of every token id, in one allocation each.
#[derive(Default)]
pub(crate) struct Pieces {
    bytes: Vec<u8>,
    ends: Vec<u32>,
    kinds: Vec<Kind>,
}

impl Pieces {
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn bytes(&self, id: u32) -> &[u8] {
        let id = id as usize;
        let Some(&end) = self.ends.get(id) else { return &[] };
        let start = if id == 0 { 0 } else { self.ends[id - 1] };
        &self.bytes[start as usize..end as usize]
    }

    pub fn kind(&self, id: u32) -> Kind {
        self.kinds.get(id as usize).copied().unwrap_or(Kind::None)
    }
}

/// The byte that `<0xNN>` stands for.
pub(crate) fn byte_token(text: &str) -> Option<u8> {
    let hex = text.strip_prefix("<0x")?.strip_suffix('>')?;
    if hex.len() == 2 && hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        u8::from_str_radix(hex, 16).ok()
    } else {
        None
    }
}
