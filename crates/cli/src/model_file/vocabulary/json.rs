//! `tokenizer.json` and the files beside it, read and written.

use std::{collections::HashMap, path::Path};

use serde_json::{Value as Json, json};
use ternlight_core::ErrorKind;

use super::{super::regexes::PRE_TOKENIZERS, CONTROL, NORMAL, UNUSED, USER_DEFINED, Vocabulary};
use crate::{Result, failure::Failure};

impl Vocabulary {
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

    pub(super) fn from_json(json: &Json, config: &Json, template: Option<String>) -> Result<Self> {
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
