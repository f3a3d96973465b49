//! Byte-level BPE vocabularies: read from `tokenizer.json` or GGUF keys, generated, and written as either.
//!
//! Invariant: ids are positions in `tokens`, and each merge makes a token that exists.

use std::{collections::HashMap, path::Path};

use serde_json::{Value as Json, json};
use ternlight_core::{
    ErrorKind,
    container::{Meta, Value},
};

use super::regexes::PRE_TOKENIZERS;
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

    /// From a `tokenizer.json` and, if it lies beside, its `tokenizer_config.json` and `chat_template.jinja`.
    ///
    /// # Errors
    /// `io`, `tokenizer` for what is not a byte-level BPE.
    pub fn read(path: &Path) -> Result<Self> {
        let text = |path: &Path| std::fs::read_to_string(path).map_err(|e| Failure::io(path, &e));
        let json = |path: &Path| -> Result<Json> {
            serde_json::from_str(&text(path)?)
                .map_err(|e| Failure::kind(ErrorKind::Tokenizer, format!("{}: {e}", path.display())))
        };
        let config = path.with_file_name("tokenizer_config.json");
        let config = if config.is_file() { json(&config)? } else { Json::Null };
        let template = path.with_file_name("chat_template.jinja");
        let template = if template.is_file() { Some(text(&template)?) } else { None };
        let mut vocabulary = Self::from_json(&json(path)?, &config, template)
            .map_err(|failure| failure.within(path.display()))?;
        // Models that end an answer in several ways list the ids there.
        let generation = path.with_file_name("generation_config.json");
        if generation.is_file() {
            let ends = &json(&generation)?["eos_token_id"];
            let id = |value: &Json| {
                value.as_u64().map(|id| id as u32).filter(|id| (*id as usize) < vocabulary.len())
            };
            let ids: Vec<u32> = match ends.as_array() {
                Some(list) => list.iter().filter_map(id).collect(),
                None => id(ends).into_iter().collect(),
            };
            vocabulary.eos = vocabulary.eos.or(ids.first().copied());
            let other = ids.into_iter().find(|id| Some(*id) != vocabulary.eos);
            vocabulary.eot = other.or(vocabulary.eot);
        }
        Ok(vocabulary)
    }

    fn from_json(json: &Json, config: &Json, template: Option<String>) -> Result<Self> {
        let bad = |what: &str| Failure::kind(ErrorKind::Tokenizer, what.to_owned());
        let model = &json["model"];
        if model["type"].as_str().is_some_and(|kind| kind != "BPE") || model["byte_fallback"] == true {
            return Err(bad("only byte-level BPE can be written into GGUF files"));
        }
        let vocab = model["vocab"].as_object().ok_or_else(|| bad("model.vocab is missing"))?;
        let added = json["added_tokens"].as_array().map(Vec::as_slice).unwrap_or_default();
        let id = |value: &Json| value.as_u64().filter(|id| *id < 1 << 21).map(|id| id as usize);
        let mut entries: HashMap<usize, (String, i64)> = HashMap::new();
        for (token, value) in vocab {
            let id = id(value).ok_or_else(|| bad("an id in model.vocab is no number"))?;
            entries.insert(id, (token.clone(), NORMAL));
        }
        for token in added {
            let id = id(&token["id"]).ok_or_else(|| bad("an added token has no id"))?;
            let content = token["content"].as_str().ok_or_else(|| bad("an added token has no content"))?;
            let kind = if token["special"] == true { CONTROL } else { USER_DEFINED };
            entries.insert(id, (content.to_owned(), kind));
        }
        let size = entries.keys().max().map_or(0, |max| max + 1);
        let hole = |id| (format!("[PAD{id}]"), UNUSED);
        let (tokens, types): (Vec<_>, Vec<_>) =
            (0..size).map(|id| entries.remove(&id).unwrap_or_else(|| hole(id))).unzip();
        let merges = model["merges"].as_array().ok_or_else(|| bad("model.merges is missing"))?;
        let merges = merges.iter().map(|merge| match merge {
            Json::String(text) => Some(text.clone()),
            Json::Array(pair) => Some(format!("{} {}", pair.first()?.as_str()?, pair.get(1)?.as_str()?)),
            _ => None,
        });
        let merges =
            merges.collect::<Option<Vec<_>>>().ok_or_else(|| bad("a merge is not a pair of texts"))?;
        let place = |text: &str| tokens.iter().position(|token| token == text).map(|id| id as u32);
        let named = |key: &str| {
            let value = &config[key];
            place(value.as_str().or(value["content"].as_str())?)
        };
        let bos = named("bos_token").or_else(|| place("<|begin_of_text|>"));
        let eos = named("eos_token").or_else(|| place("<|end_of_text|>"));
        let chat_template = template.or_else(|| config["chat_template"].as_str().map(str::to_owned));
        Ok(Self {
            pre: pre_tokenizer(json).to_owned(),
            eot: place("<|eot_id|>").or_else(|| place("<|im_end|>")).filter(|eot| Some(*eot) != eos),
            // LLaMA-3's post-processor adds the first token; so does this switch.
            add_bos: adds_bos(json, config),
            bos,
            eos,
            chat_template,
            tokens,
            types,
            merges,
        })
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

    /// The `tokenizer.json`, or `None` for a pre-tokeniser whose pattern is not known here.
    pub fn tokenizer_json(&self) -> Option<Json> {
        let (_, pattern) = PRE_TOKENIZERS.iter().find(|(name, _)| *name == self.pre)?;
        let byte_level = |use_regex: bool| {
            json!({
                "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex
            })
        };
        let pre_tokenizer = match pattern {
            None => byte_level(true),
            Some(pattern) => json!({
                "type": "Sequence",
                "pretokenizers": [
                    { "type": "Split", "pattern": { "Regex": pattern }, "behavior": "Isolated", "invert": false },
                    byte_level(false),
                ]
            }),
        };
        let by_type = |wanted: fn(i64) -> bool| {
            self.tokens.iter().zip(&self.types).enumerate().filter(move |(_, (_, kind))| wanted(**kind))
        };
        let vocab: serde_json::Map<String, Json> =
            by_type(|kind| kind == NORMAL).map(|(id, (token, _))| (token.clone(), json!(id))).collect();
        let added: Vec<Json> = by_type(|kind| kind != NORMAL)
            .map(|(id, (token, kind))| {
                json!({
                    "id": id, "content": token, "special": *kind != USER_DEFINED,
                    "single_word": false, "lstrip": false, "rstrip": false, "normalized": false
                })
            })
            .collect();
        let bos = self.bos.filter(|_| self.add_bos).and_then(|id| Some((id, self.tokens.get(id as usize)?)));
        let post_processor = bos.map(|(id, token)| json!({
            "type": "TemplateProcessing",
            "single": [{ "SpecialToken": { "id": token, "type_id": 0 } }, { "Sequence": { "id": "A", "type_id": 0 } }],
            "pair": [
                { "SpecialToken": { "id": token, "type_id": 0 } }, { "Sequence": { "id": "A", "type_id": 0 } },
                { "SpecialToken": { "id": token, "type_id": 1 } }, { "Sequence": { "id": "B", "type_id": 1 } }
            ],
            "special_tokens": { token.as_str(): { "id": token, "ids": [id], "tokens": [token] } }
        }));
        Some(json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": added,
            "normalizer": if self.pre == "qwen2" { json!({ "type": "NFC" }) } else { Json::Null },
            "pre_tokenizer": pre_tokenizer,
            "post_processor": post_processor,
            "decoder": byte_level(true),
            "model": {
                "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
                // Whole pre-tokens that are entries are taken as they are, as llama.cpp does for these two.
                "ignore_merges": self.pre == "llama-bpe",
                "vocab": vocab, "merges": self.merges
            }
        }))
    }

    /// The `tokenizer_config.json`.
    pub fn tokenizer_config(&self) -> Json {
        let token = |id: Option<u32>| id.and_then(|id| self.tokens.get(id as usize));
        let mut config = json!({
            "tokenizer_class": "PreTrainedTokenizerFast",
            "add_bos_token": self.add_bos,
            "clean_up_tokenization_spaces": false,
            "bos_token": token(self.bos),
            "eos_token": token(self.eos),
        });
        if let Some(template) = &self.chat_template {
            config["chat_template"] = json!(template);
        }
        config
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

/// The GGUF name of what a `tokenizer.json` splits by.
fn pre_tokenizer(json: &Json) -> &'static str {
    let mut patterns = Vec::new();
    let mut digits = false;
    let parts = json["pre_tokenizer"]["pretokenizers"].as_array();
    for part in parts.map(Vec::as_slice).unwrap_or(std::slice::from_ref(&json["pre_tokenizer"])) {
        match part["type"].as_str() {
            Some("Split") => patterns.extend(part["pattern"]["Regex"].as_str()),
            Some("Digits") => digits = part["individual_digits"] == true,
            _ => {}
        }
    }
    let known = PRE_TOKENIZERS.iter().find(|(_, pattern)| pattern.is_some_and(|p| patterns.contains(&p)));
    match known {
        Some((name, _)) => name,
        None if digits => "smollm",
        None => "gpt-2",
    }
}

/// Whether encoding puts the first token before every text.
fn adds_bos(json: &Json, config: &Json) -> bool {
    if let Some(add) = config["add_bos_token"].as_bool() {
        return add;
    }
    let processor = &json["post_processor"];
    let mut parts = vec![processor];
    parts.extend(processor["processors"].as_array().into_iter().flatten());
    parts
        .iter()
        .any(|part| part["type"] == "TemplateProcessing" && part["single"][0].get("SpecialToken").is_some())
}

#[cfg(test)]
mod tests {
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
