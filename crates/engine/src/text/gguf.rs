//! `tokenizer.ggml.*` metadata of a GGUF file → [`TokenizerBuilder`].
//!
//! Follows llama.cpp (`src/llama-vocab.cpp`), which defines these keys: token types, the names of
//! pre-tokenisers, the defaults for BOS and for the space before a SentencePiece text.

use ternlight_core::{Error, ErrorKind, Result, container::Meta};
use tokenizers::{
    normalizers::{prepend::Prepend, replace::Replace},
    pipeline::PipelineNormalizer,
};

use super::{
    Tokenizer, bert,
    builder::TokenizerBuilder,
    library,
    refusal::{bad, short},
    special::Added,
    split::{self, Splitter},
};

// `tokenizer.ggml.token_type`.
const NORMAL: i64 = 1;
const UNKNOWN: i64 = 2;
const CONTROL: i64 = 3;
const USER_DEFINED: i64 = 4;
const UNUSED: i64 = 5;
const BYTE: i64 = 6;

/// Bytes of a SentencePiece piece. Its trainer's limit is 16 characters unless told otherwise, and runs of
/// spaces have some 90 bytes; the search for ways to split a piece takes time with the square of its length.
const MAX_PIECE: usize = 256;

/// Bytes of memory for all ways to split all pieces; the largest vocabularies (262144 pieces) need 35 MB.
const MAX_SPLITS: usize = 48 << 20;

/// Tokens whose names leave no doubt that they steer, whatever a file says.
const STEERING: &[&str] = &[
    "<|im_start|>",
    "<|im_end|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<|endoftext|>",
];

/// Reads a tokenizer.
///
/// # Errors
/// `missing-key` when the file has none, `tokenizer` when it cannot be built.
pub(crate) fn from_meta(meta: &Meta) -> Result<Tokenizer> {
    let tokens = meta.opt_strs("tokenizer.ggml.tokens")?.ok_or_else(|| {
        Error::new(ErrorKind::MissingKey, "the file has no tokenizer (tokenizer.ggml.tokens)")
    })?;
    let types = meta.opt_ints("tokenizer.ggml.token_type")?;
    if types.is_some_and(|t| t.len() != tokens.len()) {
        return Err(bad("tokenizer.ggml.token_type has another length than the tokens".into()));
    }
    let id = |key: &str| -> Result<Option<u32>> {
        // Some writers put -1 (or 2³²−1) where there is none.
        Ok(meta
            .opt_int(key)?
            .and_then(|id| u32::try_from(id).ok())
            .filter(|&id| (id as usize) < tokens.len()))
    };
    let (bos, eos) = (id("tokenizer.ggml.bos_token_id")?, id("tokenizer.ggml.eos_token_id")?);
    let kind = |id: usize| {
        let kind = types.map_or(NORMAL, |t| t[id]);
        let steers = || {
            let known = id as u32;
            Some(known) == bos || Some(known) == eos || STEERING.contains(&tokens[id].as_str())
        };
        // Some conversions mark tokens that steer as plain text.
        if matches!(kind, NORMAL | USER_DEFINED) && steers() { CONTROL } else { kind }
    };

    let mut builder = TokenizerBuilder { bos, eos, ..TokenizerBuilder::default() };
    for (id, token) in tokens.iter().enumerate() {
        let number = u32::try_from(id).map_err(|_| bad("too many tokens".into()))?;
        match kind(id) {
            _ if token.is_empty() => {}
            CONTROL | USER_DEFINED => builder.added.push(Added {
                id: number,
                content: token.clone(),
                control: kind(id) == CONTROL,
                ..Added::default()
            }),
            // Placeholders that pad the vocabulary; some files repeat one spelling.
            UNUSED => {
                builder.vocab.entry(token.clone()).or_insert(number);
            }
            NORMAL | UNKNOWN | BYTE => {
                if builder.vocab.insert(token.clone(), number).is_some_and(|old| kind(old as usize) != UNUSED)
                {
                    return Err(bad(format!("the token {} appears twice", short(token))));
                }
            }
            other => return Err(bad(format!("the token {} has the unknown type {other}", short(token)))),
        }
    }

    for key in ["eot", "eom"] {
        builder.stops.extend(id(&format!("tokenizer.ggml.{key}_token_id"))?);
    }
    builder.stops.extend(turn_ends(
        tokens
            .iter()
            .enumerate()
            .map(|(i, t)| (i as u32, t.as_str(), matches!(kind(i), CONTROL | USER_DEFINED))),
    ));

    let model = meta.str("tokenizer.ggml.model")?;
    let adds_bos = match model {
        "gpt2" => byte_level(meta, &mut builder)?,
        "llama" => {
            let scores =
                meta.opt_floats("tokenizer.ggml.scores")?.filter(|s| s.len() == tokens.len()).ok_or_else(
                    || bad("tokenizer.ggml.scores is missing or has another length than the tokens".into()),
                )?;
            sentence_piece(meta, tokens, scores, &kind, &mut builder)?;
            true
        }
        "bert" => {
            bert::from_gguf(meta, tokens, &mut builder)?;
            return builder.build();
        }
        other => {
            let other = short(other);
            return Err(bad(format!("the model {other} is not supported (gpt2, llama and bert are)")));
        }
    };
    if meta.opt_bool("tokenizer.ggml.add_bos_token")?.unwrap_or(adds_bos) {
        builder.prefix.extend(builder.bos);
    }
    if meta.opt_bool("tokenizer.ggml.add_eos_token")?.unwrap_or(false) {
        builder.suffix.extend(builder.eos);
    }
    builder.build()
}

/// GPT-2's kind. Returns whether BOS is added unless the file says otherwise.
fn byte_level(meta: &Meta, builder: &mut TokenizerBuilder) -> Result<bool> {
    let merges = meta.opt_strs("tokenizer.ggml.merges")?.unwrap_or_default();
    builder.merges.reserve(merges.len());
    for merge in merges {
        // The left side is not empty, but may begin with a space in vocabularies that are not byte-level.
        let at = merge.bytes().skip(1).position(|b| b == b' ').map(|at| at + 1);
        let at = at.ok_or_else(|| {
            bad(format!("the merge {} is not two tokens with a space between", short(merge)))
        })?;
        builder.merges.push((merge[..at].to_owned(), merge[at + 1..].to_owned()));
    }
    builder.byte_level = true;
    let pre = match meta.opt_str("tokenizer.ggml.pre")? {
        Some(pre) => pre,
        // Files from before the key existed; the published BitNet b1.58 conversions among them.
        _ if builder.added.iter().any(|t| t.id == 128_000 && t.content == "<|begin_of_text|>") => "llama-bpe",
        _ => "default",
    };
    let (patterns, whole_words) = split::by_name(pre)?;
    builder.splitter = Splitter::from_patterns(&patterns)?;
    builder.ignore_merges = whole_words;
    Ok(whole_words || pre == "tekken")
}

/// SentencePiece BPE: no pre-tokeniser, spaces written `▁`, one put before the text.
fn sentence_piece(
    meta: &Meta,
    tokens: &[String],
    scores: &[f32],
    kind: &dyn Fn(usize) -> i64,
    builder: &mut TokenizerBuilder,
) -> Result<()> {
    builder.byte_fallback = (0..=255u8).all(|b| builder.vocab.contains_key(&format!("<0x{b:02X}>")));
    builder.fuse_unk = true;
    builder.unk = (0..tokens.len()).find(|&i| kind(i) == UNKNOWN).map(|i| tokens[i].clone());
    builder.metaspace = true;
    if meta.opt_bool("tokenizer.ggml.add_space_prefix")?.unwrap_or(true) {
        builder.normalizers.push(PipelineNormalizer::Prepend(Prepend::new("▁".into())));
        builder.strips_leading_space = true;
    }
    builder.normalizers.push(PipelineNormalizer::Replace(Replace::new(" ", "▁").map_err(library)?));

    // SentencePiece joins the neighbours whose joint piece has the highest score. As BPE: every way to
    // split a piece in two pieces is a merge, ranked by the score of the whole.
    let mut merges: Vec<(f32, u32, usize)> = Vec::new();
    let mut left = MAX_SPLITS;
    for (id, token) in tokens.iter().enumerate() {
        if kind(id) != NORMAL {
            continue;
        }
        if token.len() > MAX_PIECE {
            return Err(bad(format!("the piece {} is longer than {MAX_PIECE} bytes", short(token))));
        }
        if scores[id].is_nan() {
            return Err(bad(format!("the score of the token {} is not a number", short(token))));
        }
        for (at, _) in token.char_indices().skip(1) {
            let known = |part: &str| builder.vocab.get(part).is_some_and(|&i| kind(i as usize) == NORMAL);
            if known(&token[..at]) && known(&token[at..]) {
                left = left
                    .checked_sub(size_of::<(String, String)>() + token.len())
                    .ok_or_else(|| bad("the pieces can be split in too many ways".into()))?;
                merges.push((scores[id], id as u32, at));
            }
        }
    }
    merges.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)).then(a.2.cmp(&b.2)));
    builder.merges = merges
        .into_iter()
        .map(|(_, id, at)| {
            let (left, right) = tokens[id as usize].split_at(at);
            (left.to_owned(), right.to_owned())
        })
        .collect();
    Ok(())
}

/// Tokens that end a turn by their name, for files whose EOS is only the end of text. llama.cpp's list,
/// restricted to tokens that are not plain text.
pub(super) fn turn_ends<'a>(tokens: impl Iterator<Item = (u32, &'a str, bool)>) -> Vec<u32> {
    const NAMES: &[&str] = &[
        "<|eot_id|>",
        "<|eom_id|>",
        "<|im_end|>",
        "<|end|>",
        "<|return|>",
        "<|endoftext|>",
        "<|end_of_text|>",
        "<|end_of_turn|>",
        "<end_of_turn>",
        "<｜end▁of▁sentence｜>",
        "<EOT>",
        "</s>",
    ];
    tokens.filter(|(_, text, special)| *special && NAMES.contains(text)).map(|(id, ..)| id).collect()
}
