//! What a `tokenizer.json` holds, of bounded size.

use std::{collections::HashMap, fmt};

use serde::{Deserialize, de};
use serde_json::{Value, value::RawValue};
use ternlight_core::Result;

use super::super::{
    builder::MAX_ID,
    refusal::{bad, short},
};

/// Bytes of the description of a component. Real ones have a few thousand; as a tree they take fifty times as
/// much memory as in the file.
const MAX_COMPONENT: usize = 256 << 10;
/// Merges; the largest vocabularies have 0.6 million.
const MAX_MERGES: usize = 1 << 20;

#[derive(Deserialize)]
pub(super) struct File<'a> {
    #[serde(default)]
    pub(super) added_tokens: Option<Vec<AddedToken>>,
    #[serde(borrow, default)]
    pub(super) normalizer: Component<'a>,
    #[serde(borrow, default)]
    pub(super) pre_tokenizer: Component<'a>,
    #[serde(borrow, default)]
    pub(super) post_processor: Component<'a>,
    #[serde(borrow, default)]
    pub(super) decoder: Component<'a>,
    pub(super) model: ModelFile,
}

/// A component before it is known to be of a decent size.
#[derive(Default, Deserialize)]
#[serde(transparent)]
pub(super) struct Component<'a>(#[serde(borrow)] Option<&'a RawValue>);

impl Component<'_> {
    pub(super) fn value(&self, name: &str) -> Result<Value> {
        let Some(raw) = self.0 else { return Ok(Value::Null) };
        if raw.get().len() > MAX_COMPONENT {
            return Err(bad(format!("tokenizer.json: the {name} is longer than {MAX_COMPONENT} bytes")));
        }
        serde_json::from_str(raw.get()).map_err(|e| bad(format!("tokenizer.json: {name}: {e}")))
    }
}

#[derive(Deserialize)]
pub(super) struct AddedToken {
    pub(super) id: u32,
    pub(super) content: String,
    #[serde(default)]
    pub(super) single_word: bool,
    #[serde(default)]
    pub(super) lstrip: bool,
    #[serde(default)]
    pub(super) rstrip: bool,
    #[serde(default)]
    pub(super) normalized: bool,
    #[serde(default)]
    pub(super) special: bool,
}

#[derive(Deserialize)]
pub(super) struct ModelFile {
    #[serde(rename = "type", default)]
    pub(super) kind: Option<String>,
    #[serde(default)]
    pub(super) vocab: Vocab,
    #[serde(default)]
    pub(super) merges: Merges,
    #[serde(default)]
    pub(super) unk_token: Option<String>,
    #[serde(default)]
    pub(super) continuing_subword_prefix: Option<String>,
    #[serde(default)]
    pub(super) end_of_word_suffix: Option<String>,
    #[serde(default)]
    pub(super) fuse_unk: Option<bool>,
    #[serde(default)]
    pub(super) byte_fallback: Option<bool>,
    #[serde(default)]
    pub(super) ignore_merges: Option<bool>,
    #[serde(default)]
    pub(super) max_input_chars_per_word: Option<usize>,
}

/// The vocabulary; `None` where it is not an object (Unigram has a list), so that the model's type can
/// be named.
#[derive(Default)]
pub(super) struct Vocab(pub(super) Option<HashMap<String, u32>>);

impl<'de> Deserialize<'de> for Vocab {
    fn deserialize<D: de::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Vocab;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tokens and ids")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Vocab, A::Error> {
                let mut vocab = HashMap::new();
                while let Some((token, id)) = map.next_entry::<String, u32>()? {
                    if vocab.len() == MAX_ID as usize {
                        return Err(de::Error::custom(format_args!("more than {MAX_ID} tokens")));
                    }
                    vocab.insert(token, id);
                }
                Ok(Vocab(Some(vocab)))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Vocab, A::Error> {
                while seq.next_element::<de::IgnoredAny>()?.is_some() {}
                Ok(Vocab(None))
            }
        }
        from.deserialize_any(Visitor)
    }
}

/// Pairs, each a list of two tokens or one text with a space between.
#[derive(Default)]
pub(super) struct Merges(pub(super) Vec<(String, String)>);

impl<'de> Deserialize<'de> for Merges {
    fn deserialize<D: de::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Merges;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of merges")
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Merges, A::Error> {
                let mut merges = Vec::new();
                while let Some(Merge(left, right)) = seq.next_element()? {
                    if merges.len() == MAX_MERGES {
                        return Err(de::Error::custom(format_args!("more than {MAX_MERGES} merges")));
                    }
                    merges.push((left, right));
                }
                Ok(Merges(merges))
            }
        }
        from.deserialize_seq(Visitor)
    }
}

struct Merge(String, String);

impl<'de> Deserialize<'de> for Merge {
    fn deserialize<D: de::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Merge;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a merge of two tokens")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Merge, E> {
                match text.split_once(' ') {
                    Some((a, b)) if !b.contains(' ') => Ok(Merge(a.to_owned(), b.to_owned())),
                    _ => Err(E::custom(format_args!(
                        "the merge {} is not two tokens with a space between",
                        short(text)
                    ))),
                }
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Merge, A::Error> {
                match (seq.next_element()?, seq.next_element()?, seq.next_element::<de::IgnoredAny>()?) {
                    (Some(left), Some(right), None) => Ok(Merge(left, right)),
                    _ => Err(de::Error::custom("a merge is not of two tokens")),
                }
            }
        }
        from.deserialize_any(Visitor)
    }
}
