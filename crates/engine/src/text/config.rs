//! `tokenizer_config.json`: the few of its keys that matter.
//!
//! Each is looked at before it becomes a tree: the file may have megabytes of tokens, and more of anything else.

use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use ternlight_core::Result;

use super::refusal::bad;

/// Bytes of one value; a chat template has up to thirty thousand.
const MAX_VALUE: usize = 512 << 10;

#[derive(Default, Deserialize)]
#[serde(default)]
struct File<'a> {
    #[serde(borrow)]
    bos_token: Option<&'a RawValue>,
    #[serde(borrow)]
    eos_token: Option<&'a RawValue>,
    #[serde(borrow)]
    add_bos_token: Option<&'a RawValue>,
    #[serde(borrow)]
    add_eos_token: Option<&'a RawValue>,
    #[serde(borrow)]
    chat_template: Option<&'a RawValue>,
}

/// What a `tokenizer_config.json` says.
#[derive(Default)]
pub(crate) struct Config {
    pub bos: Option<String>,
    pub eos: Option<String>,
    pub add_bos: Option<bool>,
    pub add_eos: Option<bool>,
    pub chat_template: Option<String>,
}

impl Config {
    /// # Errors
    /// `tokenizer` for text that is no JSON object.
    pub fn read(json: &str) -> Result<Self> {
        let file: File<'_> =
            serde_json::from_str(json).map_err(|e| bad(format!("tokenizer_config.json: {e}")))?;
        let value = |raw: Option<&RawValue>| -> Result<Value> {
            match raw.map(RawValue::get) {
                None => Ok(Value::Null),
                Some(raw) if raw.len() > MAX_VALUE => {
                    Err(bad(format!("tokenizer_config.json: a value is longer than {MAX_VALUE} bytes")))
                }
                Some(raw) => {
                    serde_json::from_str(raw).map_err(|e| bad(format!("tokenizer_config.json: {e}")))
                }
            }
        };
        // A token: its text, or an object with `content`.
        let token = |raw| {
            let value = value(raw)?;
            let content = value.as_str().or_else(|| value.get("content")?.as_str());
            Ok::<_, ternlight_core::Error>(content.map(str::to_owned))
        };
        Ok(Self {
            bos: token(file.bos_token)?,
            eos: token(file.eos_token)?,
            add_bos: value(file.add_bos_token)?.as_bool(),
            add_eos: value(file.add_eos_token)?.as_bool(),
            chat_template: named_template(&value(file.chat_template)?),
        })
    }
}

/// A text, or a list of named ones.
fn named_template(template: &Value) -> Option<String> {
    if let Some(source) = template.as_str() {
        return Some(source.to_owned());
    }
    let list = template.as_array()?;
    let named = |entry: &&Value| entry.get("name").and_then(Value::as_str) == Some("default");
    let entry = list.iter().find(named).or(list.first())?;
    Some(entry.get("template")?.as_str()?.to_owned())
}
