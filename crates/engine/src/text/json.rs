//! `tokenizer.json` (Hugging Face, format 1.0) and its `tokenizer_config.json` → [`TokenizerBuilder`].
//!
//! Invariant: a component that would change the tokens and is not known here is an error that names
//! it, never skipped.

mod file;

use serde_json::Value;
use ternlight_core::{Error, ErrorKind, Result};
use tokenizers::pipeline::PipelinePreTokenizer as Library;
use tokenizers::{
    normalizers::{
        bert::BertNormalizer,
        metaspace::{MetaspaceNormalizer, PrependBehavior},
        prepend::Prepend,
        replace::{Replace, ReplacePattern},
        strip::Strip,
        unicode::{NFC, NFD, NFKC, NFKD},
        utils::Lowercase,
    },
    pipeline::PipelineNormalizer,
    pre_tokenizers::{
        bert::BertPreTokenizer,
        digits::Digits,
        split::{Split, SplitPattern},
        whitespace::{Whitespace, WhitespaceSplit},
    },
    tokenizer::SplitDelimiterBehavior,
};

use self::file::File;
use super::{
    Tokenizer,
    builder::TokenizerBuilder,
    config::Config,
    library,
    refusal::{bad, short},
    special::Added,
    split::{Cut, GPT2, Splitter, punctuation},
    word_piece::WordPiece,
};

/// Reads a tokenizer.
///
/// # Errors
/// `tokenizer`, naming what is wrong or not supported.
pub(crate) fn from_json(tokenizer: &str, config: Option<&str>) -> Result<Tokenizer> {
    let file: File = serde_json::from_str(tokenizer).map_err(|e| bad(format!("tokenizer.json: {e}")))?;
    let config = config.map_or_else(|| Ok(Config::default()), Config::read)?;
    let mut model = file.model;
    let is_word_piece = match model.kind.as_deref() {
        None | Some("BPE") => false,
        Some("WordPiece") => true,
        Some(kind) => return Err(unsupported("the model", kind)),
    };
    let prefix = model.continuing_subword_prefix.take().unwrap_or_default();
    if !is_word_piece && !prefix.is_empty() {
        return Err(unsupported("the option", "continuing_subword_prefix"));
    }
    let longest = model.max_input_chars_per_word.unwrap_or(100);
    let Some(vocab) = model.vocab.0.take() else { return Err(bad("the model has no object `vocab`".into())) };

    let mut builder = TokenizerBuilder {
        vocab,
        merges: model.merges.0,
        byte_fallback: model.byte_fallback == Some(true),
        ignore_merges: model.ignore_merges == Some(true),
        fuse_unk: model.fuse_unk == Some(true),
        unk: model.unk_token.filter(|t| !t.is_empty()),
        end_of_word_suffix: model.end_of_word_suffix.filter(|s| !s.is_empty()),
        word_piece: is_word_piece.then_some(WordPiece { prefix, longest }),
        strips_leading_space: is_word_piece,
        ..TokenizerBuilder::default()
    };
    for token in file.added_tokens.unwrap_or_default() {
        builder.added.push(Added {
            id: token.id,
            content: token.content,
            control: token.special,
            lstrip: token.lstrip,
            rstrip: token.rstrip,
            single_word: token.single_word,
            normalized: token.normalized,
            ..Added::default()
        });
    }
    each(&file.normalizer.value("normalizer")?, "normalizers", &mut |n| normalizer(n, &mut builder))?;
    let mut splits = Vec::new();
    each(&file.pre_tokenizer.value("pre_tokenizer")?, "pretokenizers", &mut |p| {
        pre_tokenizer(p, &mut builder, &mut splits)
    })?;
    builder.splitter = finish_splits(splits)?;
    each(&file.decoder.value("decoder")?, "decoders", &mut |d| decoder(d, &mut builder))?;
    each(&file.post_processor.value("post_processor")?, "processors", &mut |p| {
        post_processor(p, &mut builder)
    })?;
    roles(&config, &mut builder)?;
    builder.build()
}

/// Calls `f` for a component, or for each member of a `Sequence` of them.
fn each(component: &Value, members: &str, f: &mut dyn FnMut(&Value) -> Result<()>) -> Result<()> {
    if component.is_null() {
        return Ok(());
    }
    if kind(component) != "Sequence" {
        return f(component);
    }
    let list = component.get(members).and_then(Value::as_array);
    let list = list.ok_or_else(|| bad(format!("a Sequence has no `{members}`")))?;
    // Depth is bounded by the JSON parser's own limit.
    list.iter().try_for_each(|member| each(member, members, f))
}

fn normalizer(n: &Value, builder: &mut TokenizerBuilder) -> Result<()> {
    let made = match kind(n) {
        "NFC" => PipelineNormalizer::NFC(NFC),
        "NFD" => PipelineNormalizer::NFD(NFD),
        "NFKC" => PipelineNormalizer::NFKC(NFKC),
        "NFKD" => PipelineNormalizer::NFKD(NFKD),
        "Lowercase" => PipelineNormalizer::Lowercase(Lowercase),
        "BertNormalizer" => {
            let accents = n.get("strip_accents").and_then(Value::as_bool);
            let flag = |key| flag(n, key, true);
            let (clean, chinese, lower) =
                (flag("clean_text"), flag("handle_chinese_chars"), flag("lowercase"));
            PipelineNormalizer::Bert(BertNormalizer::new(clean, chinese, accents, lower))
        }
        "Strip" => {
            PipelineNormalizer::Strip(Strip::new(flag(n, "strip_left", true), flag(n, "strip_right", true)))
        }
        "Prepend" => PipelineNormalizer::Prepend(Prepend::new(text(n, "prepend")?.to_owned())),
        "Replace" => PipelineNormalizer::Replace(
            Replace::new(
                match pattern(n)? {
                    SplitPattern::String(s) => ReplacePattern::String(s),
                    SplitPattern::Regex(r) => ReplacePattern::Regex(r),
                },
                text(n, "content")?,
            )
            .map_err(library)?,
        ),
        other => return Err(unsupported("the normalizer", other)),
    };
    builder.normalizers.push(made);
    Ok(())
}

/// A pre-tokeniser before it is known what stands beside it.
enum Part {
    Regex(String),
    Cut(Cut),
}

fn pre_tokenizer(p: &Value, builder: &mut TokenizerBuilder, parts: &mut Vec<Part>) -> Result<()> {
    let library_part = |made| Part::Cut(Cut::Library(made));
    parts.push(match kind(p) {
        "ByteLevel" => {
            builder.byte_level = true;
            if flag(p, "add_prefix_space", true) {
                // A space before every text that does not begin with one.
                builder.normalizers.push(PipelineNormalizer::Metaspace(MetaspaceNormalizer::new(
                    ' ',
                    PrependBehavior::Always,
                    false,
                )));
                builder.strips_leading_space = true;
            }
            if !flag(p, "use_regex", true) {
                return Ok(());
            }
            Part::Regex(GPT2.into())
        }
        "Metaspace" => {
            let prepend = match p.get("prepend_scheme").and_then(Value::as_str) {
                Some("never") => PrependBehavior::Never,
                Some("first") => PrependBehavior::First,
                None if !flag(p, "add_prefix_space", true) => PrependBehavior::Never,
                None | Some("always") => PrependBehavior::Always,
                Some(other) => return Err(unsupported("the prepend_scheme", other)),
            };
            builder.strips_leading_space |= prepend != PrependBehavior::Never;
            builder.metaspace = true;
            if text(p, "replacement")? != "▁" {
                return Err(unsupported("the Metaspace replacement", text(p, "replacement")?));
            }
            builder
                .normalizers
                .push(PipelineNormalizer::Metaspace(MetaspaceNormalizer::new('▁', prepend, false)));
            if !flag(p, "split", true) {
                return Ok(());
            }
            let split = Split::new("▁", SplitDelimiterBehavior::MergedWithNext, false).map_err(library)?;
            library_part(Library::Split(split))
        }
        "Split" => match (pattern(p)?, behavior(p)?, flag(p, "invert", false)) {
            (SplitPattern::Regex(regex), SplitDelimiterBehavior::Isolated, false) => Part::Regex(regex),
            (SplitPattern::Regex(regex), behavior, invert) => {
                Part::Cut(Cut::regex(&regex, behavior, invert)?)
            }
            (literal, behavior, invert) => {
                library_part(Library::Split(Split::new(literal, behavior, invert).map_err(library)?))
            }
        },
        "Digits" => library_part(Library::Digits(Digits::new(flag(p, "individual_digits", false)))),
        "Punctuation" => library_part(punctuation(behavior(p)?)),
        "Whitespace" => library_part(Library::Whitespace(Whitespace)),
        "BertPreTokenizer" => library_part(Library::Bert(BertPreTokenizer)),
        "WhitespaceSplit" => library_part(Library::WhitespaceSplit(WhitespaceSplit)),
        other => return Err(unsupported("the pre-tokenizer", other)),
    });
    Ok(())
}

/// Regular expressions that stand together are looked at together: some families need all of theirs.
fn finish_splits(parts: Vec<Part>) -> Result<Splitter> {
    let regexes: Option<Vec<String>> =
        parts.iter().map(|p| if let Part::Regex(r) = p { Some(r.clone()) } else { None }).collect();
    if let Some(regexes) = regexes {
        return Splitter::from_patterns(&regexes);
    }
    let mut splitter = Splitter::default();
    for part in parts {
        splitter.push(match part {
            Part::Regex(regex) => Cut::regex(&regex, SplitDelimiterBehavior::Isolated, false)?,
            Part::Cut(cut) => cut,
        });
    }
    Ok(splitter)
}

/// Decoding is done by `decode`; what a decoder says about the vocabulary is all that matters here.
fn decoder(d: &Value, builder: &mut TokenizerBuilder) -> Result<()> {
    match kind(d) {
        "ByteLevel" | "ByteFallback" | "Fuse" | "BPEDecoder" | "WordPiece" => {}
        "Metaspace" => builder.metaspace = true,
        "Replace" => builder.metaspace |= matches!(pattern(d)?, SplitPattern::String(s) if s == "▁"),
        "Strip" => {
            builder.strips_leading_space |= d.get("content").and_then(Value::as_str) == Some(" ")
                && d.get("start").and_then(Value::as_u64) == Some(1);
        }
        other => return Err(unsupported("the decoder", other)),
    }
    Ok(())
}

/// What is put around a text. Only the form for a single text matters.
fn post_processor(p: &Value, builder: &mut TokenizerBuilder) -> Result<()> {
    match kind(p) {
        "ByteLevel" => Ok(()),
        "TemplateProcessing" => {
            let single = p.get("single").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            let mut before = true;
            for item in single {
                if item.get("Sequence").is_some() {
                    before = false;
                    continue;
                }
                let name = item.get("SpecialToken").and_then(|t| t.get("id")).and_then(Value::as_str);
                let ids = name
                    .and_then(|name| p.get("special_tokens")?.get(name)?.get("ids")?.as_array())
                    .ok_or_else(|| bad("a TemplateProcessing item has no special token".into()))?;
                for id in ids {
                    let id = id.as_u64().and_then(|id| u32::try_from(id).ok());
                    let id = id.ok_or_else(|| bad("a TemplateProcessing id is not a token id".into()))?;
                    if before { builder.prefix.push(id) } else { builder.suffix.push(id) }
                }
            }
            Ok(())
        }
        "BertProcessing" | "RobertaProcessing" => {
            let id =
                |key: &str| p.get(key)?.as_array()?.get(1)?.as_u64().and_then(|id| u32::try_from(id).ok());
            let (Some(cls), Some(sep)) = (id("cls"), id("sep")) else {
                return Err(bad(format!("{} has no cls and sep", kind(p))));
            };
            builder.prefix.push(cls);
            builder.suffix.push(sep);
            Ok(())
        }
        other => Err(unsupported("the post-processor", other)),
    }
}

/// BOS, EOS and whether they are added, from `tokenizer_config.json`.
fn roles(config: &Config, builder: &mut TokenizerBuilder) -> Result<()> {
    let find = |builder: &TokenizerBuilder, content: Option<&str>| -> Option<u32> {
        let content = content?;
        let added = builder.added.iter().find(|t| t.content == content).map(|t| t.id);
        added.or_else(|| builder.vocab.get(content).copied())
    };
    builder.bos = find(builder, config.bos.as_deref()).or(builder.prefix.first().copied());
    builder.eos = find(builder, config.eos.as_deref());
    // Where the file itself says nothing, the config does (LLaMA-2's slow tokenizers add BOS unless told
    // otherwise, and spell it out).
    if let (Some(bos), Some(true)) = (builder.bos, config.add_bos)
        && builder.prefix.is_empty()
    {
        builder.prefix.push(bos);
    }
    if let (Some(eos), Some(true)) = (builder.eos, config.add_eos)
        && builder.suffix.is_empty()
    {
        builder.suffix.push(eos);
    }
    builder
        .stops
        .extend(super::gguf::turn_ends(builder.added.iter().map(|t| (t.id, t.content.as_str(), t.control))));
    Ok(())
}

fn kind(component: &Value) -> &str {
    component.get("type").and_then(Value::as_str).unwrap_or("(no type)")
}

fn flag(component: &Value, key: &str, default: bool) -> bool {
    component.get(key).and_then(Value::as_bool).unwrap_or(default)
}

fn text<'a>(component: &'a Value, key: &str) -> Result<&'a str> {
    let found = component.get(key).and_then(Value::as_str);
    found.ok_or_else(|| bad(format!("{} has no text `{key}`", kind(component))))
}

fn pattern(component: &Value) -> Result<SplitPattern> {
    let pattern = component.get("pattern").unwrap_or(&Value::Null);
    let string = |key: &str| pattern.get(key).and_then(Value::as_str).map(str::to_owned);
    match (string("String"), string("Regex")) {
        (Some(s), None) if !s.is_empty() => Ok(SplitPattern::String(s)),
        (None, Some(r)) => Ok(SplitPattern::Regex(r)),
        _ => Err(bad(format!("{} has no pattern", kind(component)))),
    }
}

fn behavior(component: &Value) -> Result<SplitDelimiterBehavior> {
    use SplitDelimiterBehavior::{Contiguous, Isolated, MergedWithNext, MergedWithPrevious, Removed};
    Ok(match component.get("behavior").and_then(Value::as_str) {
        None | Some("Isolated") => Isolated,
        Some("Removed") => Removed,
        Some("MergedWithPrevious") => MergedWithPrevious,
        Some("MergedWithNext") => MergedWithNext,
        Some("Contiguous") => Contiguous,
        Some(other) => return Err(unsupported("the split behavior", other)),
    })
}

fn unsupported(what: &str, name: &str) -> Error {
    Error::new(ErrorKind::Tokenizer, format!("tokenizer: {what} {} is not supported", short(name)))
}
