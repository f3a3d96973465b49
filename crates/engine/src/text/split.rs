//! Pre-tokenisers: cutting text into the stretches inside which BPE may merge.
//!
//! They are given as the regular expressions that model files and llama.cpp use. The library runs the
//! GPT families' expressions natively; the few others that well-known models need and that have a
//! simple shape are run here; what is left needs the `regex` feature or is refused by name.
//!
//! Invariant: spans tile the text, in order, on character boundaries.

use ternlight_core::{Error, ErrorKind, Result};
use tokenizers::{
    pipeline::{PipelinePreTokenizer, PreTokenizer, PreTokenizerScratch, Span},
    pre_tokenizers::{
        digits::Digits,
        punctuation::Punctuation,
        sequence::PipelineSequence,
        split::{Split, SplitPattern},
    },
    tokenizer::SplitDelimiterBehavior,
    utils::{DEEPSEEK_PATTERNS, Grammar, is_deepseek, recognize},
};

pub(crate) const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
pub(crate) const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
pub(crate) const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const O200K: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const ONE_DIGIT: &str = r"\p{N}";
const DIGITS: &str = r"\p{N}+";
const THREE_DIGITS: &str = "[0-9][0-9][0-9]";
/// All punctuation and ASCII symbols (falcon); without the backtick (llama.cpp's `default`).
const PUNCTUATION: &str = r"[\p{P}\$\+<=>\^~\|`]+";
const PUNCTUATION_BUT_BACKTICK: &str = r"[\p{P}\$\+<=>\^~\|]+";

/// The expressions that llama.cpp (`src/llama-vocab.cpp`) means by a value of `tokenizer.ggml.pre`,
/// and whether a whole stretch that is in the vocabulary is taken without merging.
///
/// # Errors
/// `tokenizer` for a name that is not known: guessing would give wrong tokens.
pub(crate) fn by_name(pre: &str) -> Result<(Vec<String>, bool)> {
    let [num, cjk, big] = DEEPSEEK_PATTERNS;
    let patterns: &[&str] = match pre {
        "llama3" | "llama-v3" | "llama-bpe" | "falcon3" | "falcon_e" | "falcon-h1" | "pixtral"
        | "midm-2.0" | "lfm2" => {
            return Ok((vec![LLAMA3.into()], true));
        }
        "dbrx" | "smaug-bpe" | "chatglm-bpe" => &[LLAMA3],
        "qwen2" | "deepseek-r1-qwen" | "megrez" | "stablelm2" => &[QWEN2],
        "gpt-2" | "phi-2" | "jina-es" | "jina-de" | "jina-v1-en" | "jina-v2-es" | "jina-v2-de"
        | "jina-v2-code" | "gigachat" | "roberta-bpe" | "mpt" | "olmo" | "jais" => &[GPT2],
        "smollm" | "starcoder" | "refact" | "command-r" | "codeshell" | "exaone" | "minerva-7b" => {
            &[ONE_DIGIT, GPT2]
        }
        "falcon" => &[PUNCTUATION, GPT2, THREE_DIGITS],
        "default" | "" => &[PUNCTUATION_BUT_BACKTICK, GPT2, DIGITS, THREE_DIGITS],
        "deepseek-v3" | "hunyuan-dense" => &[num, cjk, big],
        "deepseek-coder" => &[
            r"[\r\n]",
            r"\s?\p{L}+",
            r"\s?\p{P}+",
            "[\u{4e00}-\u{9fa5}\u{800}-\u{4e00}\u{ac00}-\u{d7ff}]+",
            r"\p{N}",
        ],
        "tekken" => &[TEKKEN],
        "gpt-4o" | "llama4" => &[O200K],
        _ => {
            return Err(Error::new(
                ErrorKind::Tokenizer,
                format!("tokenizer.ggml.pre: the pre-tokenizer \"{pre}\" is not known"),
            ));
        }
    };
    Ok((patterns.iter().map(|&p| p.to_owned()).collect(), false))
}

/// One way to cut.
pub(crate) enum Cut {
    Library(PipelinePreTokenizer),
    /// The same for an expression with contractions in any case: to the library that is ASCII's, to the expression
    /// Unicode's, where the long s is an s.
    Contractions(PipelinePreTokenizer),
    /// Runs of these characters become stretches of their own.
    Runs(fn(char) -> bool),
    /// So do three ASCII digits.
    ThreeDigits,
}

/// The pre-tokeniser of a model: cuts applied one inside the other.
#[derive(Default)]
pub(crate) struct Splitter {
    cuts: Vec<Cut>,
}

impl Splitter {
    /// From expressions, each isolating its matches inside the stretches that the one before left.
    pub fn from_patterns(patterns: &[String]) -> Result<Self> {
        let mut this = Self::default();
        // DeepSeek's three are one grammar of the library, and none of them stands alone.
        if let [num, cjk, big] = patterns
            && is_deepseek(num, cjk, big)
        {
            let parts = patterns.iter().map(|p| {
                Split::native(SplitPattern::Regex(p.clone()), SplitDelimiterBehavior::Isolated, false)
                    .map(PipelinePreTokenizer::Split)
            });
            let parts = parts.collect::<Result<Vec<_>, _>>().map_err(super::library)?;
            this.push(Cut::Library(PipelinePreTokenizer::Sequence(PipelineSequence::new(parts))));
            return Ok(this);
        }
        for pattern in patterns {
            this.push(Cut::regex(pattern, SplitDelimiterBehavior::Isolated, false)?);
        }
        Ok(this)
    }

    pub fn push(&mut self, cut: Cut) {
        self.cuts.push(cut);
    }

    /// The spans of `text` (shorter than 4 GiB), into `spans`.
    pub fn split(&self, text: &str, scratch: &mut PreTokenizerScratch, spans: &mut Vec<Span>) -> Result<()> {
        spans.clear();
        spans.push(Span { start: 0, end: text.len() as u32 });
        let mut next = Vec::new();
        for cut in &self.cuts {
            next.clear();
            for span in &*spans {
                let from = next.len();
                let part = &text[span.range()];
                match cut {
                    Cut::Library(library) => {
                        library.pre_tokenize(part, scratch, &mut next).map_err(super::library)?
                    }
                    Cut::Contractions(library) if part.contains(LONG_S) => {
                        let short = part.replace(LONG_S, "'s");
                        library.pre_tokenize(&short, scratch, &mut next).map_err(super::library)?;
                        lengthen(part, &mut next[from..]);
                    }
                    Cut::Contractions(library) => {
                        library.pre_tokenize(part, scratch, &mut next).map_err(super::library)?
                    }
                    Cut::Runs(of) => runs(part, *of, &mut next),
                    Cut::ThreeDigits => three_digits(part, &mut next),
                }
                for s in &mut next[from..] {
                    s.start += span.start;
                    s.end += span.start;
                }
            }
            std::mem::swap(spans, &mut next);
        }
        Ok(())
    }
}

impl Cut {
    /// A `Split` with a regular expression.
    ///
    /// # Errors
    /// `tokenizer` when the expression is invalid, or needs the `regex` feature in a build without it.
    pub fn regex(pattern: &str, behavior: SplitDelimiterBehavior, invert: bool) -> Result<Self> {
        if behavior == SplitDelimiterBehavior::Isolated && !invert {
            match pattern {
                ONE_DIGIT => return Ok(Self::Library(PipelinePreTokenizer::Digits(Digits::new(true)))),
                DIGITS => return Ok(Self::Library(PipelinePreTokenizer::Digits(Digits::new(false)))),
                THREE_DIGITS => return Ok(Self::ThreeDigits),
                // The library's `Punctuation` knows an older Unicode where it joins runs.
                PUNCTUATION => return Ok(Self::Runs(is_punctuation)),
                PUNCTUATION_BUT_BACKTICK => return Ok(Self::Runs(|c| c != '`' && is_punctuation(c))),
                _ => {}
            }
        }
        // The library recognises the digit rule of this family with any bound, but splits by three
        // unless it is one: any other bound must go through the engine, which a group hides it for.
        let recognised = recognize(pattern);
        let is_native = recognised.is_some() && behavior == SplitDelimiterBehavior::Isolated && !invert;
        let folds = is_native && pattern.contains("(?i:'s");
        let pattern = match recognised {
            Some(Grammar::Cl100k { digit_cap }) if !matches!(digit_cap, 1 | 3) => format!("(?:{pattern})"),
            _ => pattern.to_owned(),
        };
        let split = Split::new(SplitPattern::Regex(pattern), behavior, invert)
            .and_then(Split::canonicalized_for_pipeline)
            .map_err(super::library)?;
        let split = PipelinePreTokenizer::Split(split);
        Ok(if folds { Self::Contractions(split) } else { Self::Library(split) })
    }
}

/// The library's `Punctuation`.
pub(crate) fn punctuation(behavior: SplitDelimiterBehavior) -> PipelinePreTokenizer {
    PipelinePreTokenizer::Punctuation(Punctuation::new(behavior))
}

/// ASCII punctuation and symbols, and Unicode's class P: asked of the library, which has the table.
fn is_punctuation(c: char) -> bool {
    if c.is_alphanumeric() || c.is_whitespace() {
        return false;
    }
    if c.is_ascii() {
        return c.is_ascii_punctuation();
    }
    let mut buffer = [0; 8];
    let len = c.encode_utf8(&mut buffer).len();
    buffer[len] = b'a';
    let text = std::str::from_utf8(&buffer[..=len]).unwrap_or_default();
    let mut spans = Vec::new();
    let cut = punctuation(SplitDelimiterBehavior::Isolated);
    cut.pre_tokenize(text, &mut PreTokenizerScratch::default(), &mut spans).is_ok() && spans.len() == 2
}

/// An apostrophe and a long s.
const LONG_S: &str = "'ſ";

/// Moves the spans of a text whose every [`LONG_S`] was `'s`, one byte shorter, to where they are in `text`.
fn lengthen(text: &str, spans: &mut [Span]) {
    let mut at = text.match_indices(LONG_S).map(|(at, _)| at as u32 + 1).peekable();
    let mut more = 0;
    for span in spans {
        let mut moved = |end: u32| {
            // The s itself is one byte long in the short text; what begins after it is one further.
            while at.next_if(|&s| s < end + more).is_some() {
                more += 1;
            }
            end + more
        };
        (span.start, span.end) = (moved(span.start), moved(span.end));
    }
}

/// Cuts `text` where membership of `of` changes.
fn runs(text: &str, of: fn(char) -> bool, out: &mut Vec<Span>) {
    let mut start = 0;
    let mut inside = None;
    for (at, c) in text.char_indices() {
        let now = of(c);
        if inside.is_some_and(|before| before != now) {
            out.push(Span { start, end: at as u32 });
            start = at as u32;
        }
        inside = Some(now);
    }
    if inside.is_some() {
        out.push(Span { start, end: text.len() as u32 });
    }
}

fn three_digits(text: &str, out: &mut Vec<Span>) {
    let bytes = text.as_bytes();
    let (mut start, mut at) = (0, 0);
    while at < bytes.len() {
        if at + 3 <= bytes.len() && bytes[at..at + 3].iter().all(u8::is_ascii_digit) {
            if start < at {
                out.push(Span { start: start as u32, end: at as u32 });
            }
            out.push(Span { start: at as u32, end: at as u32 + 3 });
            at += 3;
            start = at;
        } else {
            at += 1;
        }
    }
    if start < at {
        out.push(Span { start: start as u32, end: at as u32 });
    }
}

#[cfg(test)]
mod tests;
