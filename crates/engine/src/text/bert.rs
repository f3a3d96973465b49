//! BERT's tokenizer: its words, and its GGUF form.
//!
//! Pieces that go on inside a word are spelt `##ing` in Hugging Face files. GGUF files spell them `ing`, and mark
//! those that begin a word, `▁walk`; here both are turned into the first form.

use std::collections::HashMap;

use ternlight_core::{Result, container::Meta};
use tokenizers::{
    normalizers::bert::BertNormalizer,
    pipeline::{PipelineNormalizer, PipelinePreTokenizer},
    pre_tokenizers::bert::BertPreTokenizer,
};

use super::{builder::TokenizerBuilder, refusal::bad, split::Cut, word_piece::WordPiece};

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
