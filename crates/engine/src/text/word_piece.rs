//! WordPiece, the tokenizer of BERT and the embedding models built on it: words are cut by spaces and punctuation, and
//! each is the longest pieces of the vocabulary from its beginning on, or unknown as a whole.
//!
//! Pieces that go on inside a word are spelt `##ing` in Hugging Face files. GGUF files spell them `ing`, and mark
//! those that begin a word, `▁walk`; here both are turned into the first form.

use std::collections::HashMap;

use ternlight_core::{Result, container::Meta};
use tokenizers::{
    models::wordpiece,
    normalizers::bert::BertNormalizer,
    pipeline::{PipelineModel, PipelineNormalizer, PipelinePreTokenizer},
    pre_tokenizers::bert::BertPreTokenizer,
};

use super::{
    builder::{TokenizerBuilder, bad, short},
    library,
    split::Cut,
};

/// The trie of the library is built by recursion over the bytes of a piece; real ones have some 80.
const MAX_PIECE: usize = 512;
/// Bytes of all pieces. The trie takes some twenty for each while it is built; multilingual BERT has 0.8 million.
const MAX_PIECES: usize = 2 << 20;
/// A word of n characters takes time with the square of it; BERT's bound is 100.
const MAX_WORD: usize = 1000;

/// What sets one vocabulary of this kind apart from another.
pub(super) struct WordPiece {
    /// Stands before pieces that go on inside a word.
    pub prefix: String,
    /// Characters of the longest word that is looked up.
    pub longest: usize,
}

impl WordPiece {
    /// The text of a piece: what begins a word follows a space.
    pub fn text(&self, piece: &str) -> String {
        match piece.strip_prefix(&self.prefix) {
            Some(rest) if !self.prefix.is_empty() && !rest.is_empty() => rest.to_owned(),
            _ => format!(" {piece}"),
        }
    }

    /// # Errors
    /// `tokenizer` for pieces or words that are too long, and without an unknown token.
    pub fn model(self, vocab: HashMap<String, u32>, unk: Option<String>) -> Result<PipelineModel> {
        let unk = unk.filter(|unk| vocab.contains_key(unk));
        let unk = unk.ok_or_else(|| bad("WordPiece has no unknown token in its vocabulary".into()))?;
        if self.longest > MAX_WORD {
            return Err(bad(format!("words of {} characters are longer than {MAX_WORD}", self.longest)));
        }
        if let Some(long) = vocab.keys().find(|piece| piece.len() > MAX_PIECE) {
            return Err(bad(format!("the piece {} is longer than {MAX_PIECE} bytes", short(long))));
        }
        let bytes: usize = vocab.keys().map(String::len).sum();
        if bytes > MAX_PIECES {
            return Err(bad(format!("the pieces have {bytes} bytes, more than {MAX_PIECES}")));
        }
        let model = wordpiece::WordPiece {
            vocab: vocab.into_iter().collect(),
            unk_token: unk,
            continuing_subword_prefix: self.prefix,
            max_input_chars_per_word: self.longest,
            ..wordpiece::WordPiece::default()
        };
        Ok(PipelineModel::WordPiece(model.try_into().map_err(library)?))
    }
}

/// BERT's words: each punctuation character and each Chinese character is one.
pub(super) fn words(builder: &mut TokenizerBuilder, normalizer: BertNormalizer) {
    builder.normalizers.push(PipelineNormalizer::Bert(normalizer));
    builder.splitter.push(Cut::Library(PipelinePreTokenizer::Bert(BertPreTokenizer)));
}

/// `tokenizer.ggml.model` = `bert`. As llama.cpp has it: letters are lowered and lose their accents, and every text
/// stands between the class and the separator token.
///
/// # Errors
/// `tokenizer`, naming what is missing.
pub(super) fn from_gguf(meta: &Meta, tokens: &[String], builder: &mut TokenizerBuilder) -> Result<()> {
    let named = |keys: &[&str], spelling: &str| -> Result<u32> {
        for key in keys {
            let id = meta.opt_int(&format!("tokenizer.ggml.{key}_token_id"))?;
            if let Some(id) =
                id.and_then(|id| u32::try_from(id).ok()).filter(|&id| (id as usize) < tokens.len())
            {
                return Ok(id);
            }
        }
        let id = tokens.iter().position(|token| token == spelling);
        id.map(|id| id as u32).ok_or_else(|| bad(format!("the vocabulary has no {spelling}")))
    };
    let class = named(&["cls", "bos"], "[CLS]")?;
    // So llama.cpp spells the key.
    let separator = named(&["seperator", "separator", "eos"], "[SEP]")?;
    let unknown = named(&["unknown"], "[UNK]")?;
    builder.prefix.push(class);
    builder.suffix.push(separator);
    (builder.bos, builder.eos) = (Some(class), Some(separator));
    let mut vocab = HashMap::with_capacity(builder.vocab.len());
    for (token, id) in builder.vocab.drain() {
        let piece = match token.strip_prefix('▁') {
            Some(word) if !word.is_empty() => word.to_owned(),
            // It is no piece of a word.
            _ if id == unknown => token,
            _ => format!("##{token}"),
        };
        if let Some(other) = vocab.insert(piece, id) {
            return Err(bad(format!("the tokens {other} and {id} are the same piece")));
        }
    }
    let spelling = tokens[unknown as usize].clone();
    let spelling = spelling.strip_prefix('▁').map_or(spelling.clone(), str::to_owned);
    vocab.insert(spelling.clone(), unknown);
    builder.vocab = vocab;
    builder.unk = Some(spelling);
    builder.word_piece = Some(WordPiece { prefix: "##".into(), longest: 100 });
    builder.strips_leading_space = true;
    words(builder, BertNormalizer::default());
    Ok(())
}
