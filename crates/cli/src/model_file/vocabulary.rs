//! Byte-level BPE vocabularies: generated, read from GGUF keys or `tokenizer.json` ([`json`]), written as either.
//!
//! Invariant: ids are positions in `tokens`, and each merge makes a token that exists.

mod json;

use ternlight_core::{
    ErrorKind,
    container::{Meta, Value},
};

use crate::{Result, failure::Failure};

const NORMAL: i64 = 1;
const CONTROL: i64 = 3;
const USER_DEFINED: i64 = 4;
const UNUSED: i64 = 5;

/// The template of BitNet b1.58 2B4T, in our words: `Role: text<|eot_id|>` and nothing between.
const CHAT_TEMPLATE: &str = "{% for message in messages %}{{ message['role'] | capitalize }}: \
    {{ message['content'] | trim }}<|eot_id|>{% endfor %}{% if add_generation_prompt %}Assistant: {% endif %}";

/// A byte-level BPE vocabulary with what a chat needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Vocabulary {
    tokens: Vec<String>,
    /// llama.cpp's token types.
    types: Vec<i64>,
    /// `left right`.
    merges: Vec<String>,
    /// `tokenizer.ggml.pre`.
    pre: String,
    pub bos: Option<u32>,
    pub eos: Option<u32>,
    eot: Option<u32>,
    add_bos: bool,
    chat_template: Option<String>,
}

/// The printable stand-in of each byte, as GPT-2 has it, in the order of its ids.
fn byte_alphabet() -> Vec<char> {
    let printable = |b: u32| matches!(b, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    let kept = (0..256).filter(|b| printable(*b));
    let moved = (0..).map(|n| 256 + n).take((0..256).filter(|b| !printable(*b)).count());
    kept.chain(moved).map(|c| char::from_u32(c).expect("below the surrogates")).collect()
}

/// LLaMA-3's special tokens by their offset from the first.
fn special(offset: usize) -> String {
    match offset {
        0 => "<|begin_of_text|>".to_owned(),
        1 => "<|end_of_text|>".to_owned(),
        6 => "<|start_header_id|>".to_owned(),
        7 => "<|end_header_id|>".to_owned(),
        9 => "<|eot_id|>".to_owned(),
        2..=5 => format!("<|reserved_special_token_{}|>", offset - 2),
        8 => "<|reserved_special_token_4|>".to_owned(),
        _ => format!("<|reserved_special_token_{}|>", offset - 5),
    }
}

const SPECIALS: usize = 256;

impl Vocabulary {
    /// A made-up one of exactly `size` entries: all bytes, then letter groups by how common their letters
    /// are, then LLaMA-3's special tokens.
    ///
    /// # Panics
    /// If `size` leaves no room for bytes and special tokens.
    pub fn generate(size: usize) -> Self {
        let wanted = size.checked_sub(256 + SPECIALS).expect("room for bytes and special tokens");
        let mut tokens: Vec<String> = byte_alphabet().into_iter().map(String::from).collect();
        let mut merges = Vec::with_capacity(wanted);
        let mut merge = |left: &str, right: &str| {
            if merges.len() < wanted {
                tokens.push(format!("{left}{right}"));
                merges.push(format!("{left} {right}"));
            }
            merges.len() < wanted
        };
        const SPACE: &str = "Ġ";
        let letters: Vec<String> = "etaoinshrdlucmfpgwybvkxjqz".chars().map(String::from).collect();
        letters.iter().for_each(|letter| _ = merge(SPACE, letter));
        let pairs = by_rank(&letters);
        pairs.iter().for_each(|(a, b)| _ = merge(a, b));
        let pairs: Vec<String> = pairs.iter().map(|(a, b)| format!("{a}{b}")).collect();
        pairs.iter().for_each(|pair| _ = merge(SPACE, pair));
        for (a, b) in by_rank(&pairs) {
            if !merge(a, b) || !merge(SPACE, &format!("{a}{b}")) {
                break;
            }
        }
        let first = tokens.len();
        tokens.extend((0..SPECIALS).map(special));
        let mut types = vec![NORMAL; first];
        types.resize(tokens.len(), CONTROL);
        assert_eq!(tokens.len(), size, "the letter groups do not suffice");
        Self {
            tokens,
            types,
            merges,
            pre: "llama-bpe".to_owned(),
            bos: Some(first as u32),
            eos: Some(first as u32 + 1),
            eot: Some(first as u32 + 9),
            add_bos: true,
            chat_template: Some(CHAT_TEMPLATE.to_owned()),
        }
    }

    /// From the tokenizer keys of a GGUF file.
    ///
    /// # Errors
    /// `missing-key`, `tokenizer` for other models than BPE.
    pub fn from_gguf(meta: &Meta) -> Result<Self> {
        let model = meta.str("tokenizer.ggml.model")?;
        if model != "gpt2" {
            let text =
                format!("tokenizer.ggml.model is '{model}', only byte-level BPE ('gpt2') can be converted");
            return Err(Failure::kind(ErrorKind::Tokenizer, text));
        }
        let strings = |key: &str| match meta.get(key) {
            Some(Value::Strs(strings)) => Ok(strings.clone()),
            _ => Err(Failure::kind(
                ErrorKind::MissingKey,
                format!("'{key}' is missing or not a list of texts"),
            )),
        };
        let id = |key: &str| match meta.get(key) {
            Some(Value::Int(id)) => u32::try_from(*id).ok(),
            _ => None,
        };
        let tokens = strings("tokenizer.ggml.tokens")?;
        let types = match meta.get("tokenizer.ggml.token_type") {
            Some(Value::Ints(types)) if types.len() == tokens.len() => types.clone(),
            _ => vec![NORMAL; tokens.len()],
        };
        let text = |key: &str| match meta.get(key) {
            Some(Value::Str(text)) => Some(text.clone()),
            _ => None,
        };
        let bos = id("tokenizer.ggml.bos_token_id");
        Ok(Self {
            types,
            merges: strings("tokenizer.ggml.merges")?,
            pre: text("tokenizer.ggml.pre").unwrap_or_else(|| "llama-bpe".to_owned()),
            bos,
            eos: id("tokenizer.ggml.eos_token_id"),
            eot: id("tokenizer.ggml.eot_token_id"),
            add_bos: match meta.get("tokenizer.ggml.add_bos_token") {
                Some(Value::Bool(add)) => *add,
                _ => bos.is_some(),
            },
            chat_template: text("tokenizer.chat_template"),
            tokens,
        })
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Fills up to `size` with unused entries: models often have more rows than tokens.
    ///
    /// # Errors
    /// `tokenizer` if there are more entries than `size`.
    pub fn pad(&mut self, size: usize) -> Result<()> {
        if self.len() > size {
            let text = format!("the tokenizer has {} entries, the model only {size}", self.len());
            return Err(Failure::kind(ErrorKind::Tokenizer, text));
        }
        self.tokens.extend((self.tokens.len()..size).map(|id| format!("[PAD{id}]")));
        self.types.resize(size, UNUSED);
        Ok(())
    }

    /// Adds the GGUF keys.
    pub fn put_gguf(&self, meta: &mut Meta) {
        let mut put = |key: &str, value| meta.0.insert(format!("tokenizer.{key}"), value);
        put("ggml.model", Value::Str("gpt2".into()));
        put("ggml.pre", Value::Str(self.pre.clone()));
        put("ggml.tokens", Value::Strs(self.tokens.clone()));
        put("ggml.token_type", Value::Ints(self.types.clone()));
        put("ggml.merges", Value::Strs(self.merges.clone()));
        put("ggml.add_bos_token", Value::Bool(self.add_bos));
        let ids = [
            ("ggml.bos_token_id", self.bos),
            ("ggml.eos_token_id", self.eos),
            ("ggml.eot_token_id", self.eot),
        ];
        for (key, id) in ids {
            if let Some(id) = id {
                put(key, Value::Int(id.into()));
            }
        }
        if let Some(template) = &self.chat_template {
            put("chat_template", Value::Str(template.clone()));
        }
    }

    /// The tokens that end an answer.
    pub fn ends(&self) -> Vec<u32> {
        self.eos.into_iter().chain(self.eot).collect()
    }
}

/// All ordered pairs, those of common parts first.
fn by_rank(parts: &[String]) -> Vec<(&str, &str)> {
    let n = parts.len();
    let mut pairs: Vec<(usize, usize)> = (0..n).flat_map(|a| (0..n).map(move |b| (a, b))).collect();
    pairs.sort_by_key(|(a, b)| (a + b, *a));
    pairs.into_iter().map(|(a, b)| (parts[a].as_str(), parts[b].as_str())).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn generated_entries_are_unique_and_merges_make_them() {
        for size in [1024, 32_768, 128_256] {
            let vocabulary = Vocabulary::generate(size);
            let places: HashMap<_, _> = vocabulary.tokens.iter().zip(0..).collect();
            assert_eq!(places.len(), size);
            for (merge, id) in vocabulary.merges.iter().zip(256..) {
                let (left, right) = merge.split_once(' ').unwrap();
                assert_eq!(places[&format!("{left}{right}")], id);
                assert!(places[&left.to_owned()] < id && places[&right.to_owned()] < id);
            }
        }
    }

    #[test]
    fn special_tokens_lie_where_llama_3_has_them() {
        let vocabulary = Vocabulary::generate(128_256);
        for (id, token) in [
            (128_000, "<|begin_of_text|>"),
            (128_001, "<|end_of_text|>"),
            (128_005, "<|reserved_special_token_3|>"),
            (128_008, "<|reserved_special_token_4|>"),
            (128_009, "<|eot_id|>"),
            (128_010, "<|reserved_special_token_5|>"),
            (128_255, "<|reserved_special_token_250|>"),
        ] {
            assert_eq!(vocabulary.tokens[id], token);
        }
    }

    #[test]
    fn both_forms_hold_the_same() {
        let vocabulary = Vocabulary::generate(1024);
        let mut meta = Meta::default();
        vocabulary.put_gguf(&mut meta);
        assert_eq!(Vocabulary::from_gguf(&meta).unwrap(), vocabulary);
        let json = vocabulary.tokenizer_json().unwrap();
        let back = Vocabulary::from_json(&json, &vocabulary.tokenizer_config(), None).unwrap();
        assert_eq!(back, vocabulary);
    }

    #[test]
    fn byte_alphabet_is_gpt_2s() {
        let alphabet = byte_alphabet();
        assert_eq!((alphabet.len(), alphabet[0], alphabet[94]), (256, '!', '¡'));
        assert!(alphabet.contains(&'Ġ') && alphabet.contains(&'Ċ'));
        // A space is byte 32, the 33rd of those that are moved.
        assert_eq!(alphabet[188 + 32], 'Ġ');
    }
}
