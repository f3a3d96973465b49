//! WordPiece, the tokenizer of BERT and the embedding models built on it: words are cut by spaces and punctuation, and
//! each is the longest pieces of the vocabulary from its beginning on, or unknown as a whole.

use std::collections::HashMap;

use ternlight_core::Result;
use tokenizers::{models::wordpiece, pipeline::PipelineModel};

use super::{
    library,
    refusal::{bad, short},
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
