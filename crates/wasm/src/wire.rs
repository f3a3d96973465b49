//! What crosses the border: `serde-wasm-bindgen` translates, this module refuses what it would let through.
//!
//! The types are the engine's own ([`ternlight_engine`] with the feature `js`), where TypeScript's declarations
//! are derived from them. Only what JavaScript says in another shape than Rust is declared here: a prompt,
//! whose kind is told by its keys, and the variables of a chat template.
//!
//! Invariant: a value that is not what its declaration says is an error with a code that names it, whatever
//! it is; and nothing that was deserialised took more stack or memory than `bounded` allows.

use std::collections::BTreeMap;

use js_sys::{Array, ArrayBuffer, Object, Reflect};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeOwned, Visitor, value::Error as ValueError},
    forward_to_deserialize_any,
};
use serde_json::Value;
use serde_wasm_bindgen::{Serializer, from_value, preserve};
use ternlight_core::{Error, ErrorKind};
use ternlight_engine::{self as engine, ChatOptions, EngineOptions, Message};
use tsify::Tsify;
use wasm_bindgen::prelude::*;

/// How JavaScript sees a type: any value, with the type's name in TypeScript.
pub type Js<T> = <T as Tsify>::JsType;

#[wasm_bindgen(typescript_custom_section)]
const MESSAGE: &str = "/** One message of a conversation. */
export interface Message {
  /** Who speaks: `system`, `user`, `assistant`, `tool`, or what else the model's template knows. */
  readonly role: string;
  /** What was said. It is text: control tokens spelt in it stay text. */
  readonly content: string;
  /** Further fields that the template may use (`tool_calls`, `name`, …). */
  readonly [field: string]: unknown;
}
";

/// How messages are put into the model's chat template.
#[derive(Default, Deserialize, Tsify)]
#[serde(default, rename_all = "camelCase")]
pub struct TemplateOptions {
    /// End with the header of an assistant message, so that the model answers. Default: true.
    #[tsify(optional)]
    pub add_generation_prompt: Option<bool>,
    /// Tool descriptions for templates that take them.
    #[tsify(type = "unknown")]
    pub tools: Option<Value>,
    /// More variables for the template (`enable_thinking`, …).
    #[tsify(type = "Readonly<Record<string, unknown>>")]
    pub variables: BTreeMap<String, Value>,
}

impl From<TemplateOptions> for ChatOptions {
    fn from(TemplateOptions { add_generation_prompt, tools, variables }: TemplateOptions) -> Self {
        let mut out = Self::default();
        out.add_generation_prompt = add_generation_prompt.unwrap_or(out.add_generation_prompt);
        out.vars.extend(variables);
        out.vars.extend(tools.map(|tools| ("tools".into(), tools)));
        out
    }
}

/// What to continue: exactly one of `tokens`, `text` and `messages`.
#[derive(Default, Deserialize, Tsify)]
#[serde(default, rename_all = "camelCase")]
pub struct Prompt {
    /// Token ids, taken as they are.
    #[tsify(optional, type = "readonly number[]")]
    pub tokens: Option<Vec<u32>>,
    /// Text to continue.
    #[tsify(optional)]
    pub text: Option<String>,
    /// Read control tokens spelt in `text` as such. Default: false.
    #[tsify(optional)]
    pub special: Option<bool>,
    /// Put the model's first token before `text` if it has one. Default: true.
    #[tsify(optional)]
    pub add_bos: Option<bool>,
    /// A conversation, for models with a chat template.
    #[tsify(optional, type = "readonly Message[]")]
    pub messages: Option<Vec<Message>>,
    /// How the conversation is put into the template.
    #[serde(with = "preserve")]
    #[tsify(type = "TemplateOptions")]
    pub template: JsValue,
}

impl Prompt {
    /// As the engine has it.
    ///
    /// # Errors
    /// `bad-option` unless exactly one kind of prompt is given.
    pub fn into_engine(self) -> Result<engine::Prompt, Error> {
        let Self { tokens, text, special, add_bos, messages, template } = self;
        match (tokens, text, messages) {
            (Some(tokens), None, None) => Ok(engine::Prompt::Tokens(tokens)),
            (None, Some(text), None) => Ok(engine::Prompt::Text {
                text,
                special: special.unwrap_or(false),
                add_bos: add_bos.unwrap_or(true),
            }),
            (None, None, Some(messages)) => {
                let template = match template.is_undefined() {
                    true => TemplateOptions::default(),
                    false => from_js("prompt: template", &template)?,
                };
                Ok(engine::Prompt::Chat(messages, template.into()))
            }
            _ => Err(Error::new(
                ErrorKind::BadOption,
                "prompt: exactly one of tokens, text and messages is needed",
            )),
        }
    }
}

/// `"bad-magic" | "truncated" | …` from [`ErrorKind::ALL`], put together by the compiler.
#[allow(dead_code, reason = "the section that holds it is made by a macro")]
const CODES: &str = {
    const PARTS: (usize, [u8; 2048]) = {
        let head = b"/** Stable codes of the engine's errors. */\nexport type EngineErrorCode =";
        let (mut out, mut n, mut i) = ([0u8; 2048], 0, 0);
        while i < head.len() {
            out[n] = head[i];
            (n, i) = (n + 1, i + 1);
        }
        let mut kind = 0;
        while kind < ErrorKind::ALL.len() {
            let mut part = 0;
            while part < 3 {
                let bytes: &[u8] = match part {
                    0 => b" | \"",
                    1 => ErrorKind::ALL[kind].code().as_bytes(),
                    _ => b"\"",
                };
                let mut j = 0;
                while j < bytes.len() {
                    out[n] = bytes[j];
                    (n, j) = (n + 1, j + 1);
                }
                part += 1;
            }
            kind += 1;
        }
        out[n] = b';';
        (n + 1, out)
    };
    match core::str::from_utf8(PARTS.1.split_at(PARTS.0).0) {
        Ok(text) => text,
        Err(_) => panic!("codes are ASCII"),
    }
};

#[wasm_bindgen(typescript_custom_section)]
const ERROR_CODES: &str = CODES;

/// How deep a value may be nested; the stack of a worker holds some thousand levels.
const MOST_LEVELS: usize = 128;
/// Objects, array elements and fields that a value may have.
const MOST_ITEMS: usize = 1 << 20;

/// Reads an options struct, or a value of any other type, out of a JavaScript value. Fields that are
/// `undefined` or `null` count as left out. Strings with lone surrogates get U+FFFD in their place, as
/// `TextEncoder` has it.
///
/// # Errors
/// `bad-option`, naming `what` and the field, for unknown fields, wrong types, and values that are not JSON
/// or too large or deep.
pub fn from_js<T: DeserializeOwned>(what: &str, value: &JsValue) -> Result<T, Error> {
    let bad = |detail: String| Error::new(ErrorKind::BadOption, format!("{what}: {detail}"));
    bounded(value, MOST_LEVELS, &mut MOST_ITEMS.clone()).map_err(|detail| bad(detail.into()))?;
    let Some(known) = field_names::<T>() else {
        return from_value(value.clone()).map_err(|error| bad(words(&error)));
    };
    if !value.is_object() || Array::is_array(value) {
        return Err(bad("not an object".into()));
    }
    let given = Object::new();
    for key in Object::keys(value.unchecked_ref::<Object>()) {
        let name = key.as_string().unwrap_or_default();
        if !known.contains(&&*name) {
            return Err(bad(format!("unknown field `{name}`, expected one of {}", known.join(", "))));
        }
        let field = get(value, &key);
        if !field.is_undefined() && !field.is_null() {
            // Setting a plain property on a fresh object cannot fail.
            let _ = Reflect::set(&given, &key, &field);
        }
    }
    from_value(given.clone().into()).map_err(|error| {
        // The library does not say which field it was: the one that fails alone.
        let alone = Object::keys(&given).iter().find_map(|key| {
            let one = Object::new();
            let _ = Reflect::set(&one, &key, &get(&given, &key));
            let error = from_value::<T>(one.into()).err()?;
            Some(format!("{}: {}", key.as_string()?, words(&error)))
        });
        bad(alone.unwrap_or_else(|| words(&error)))
    })
}

/// The options as JavaScript gives them.
///
/// # Errors
/// `bad-option`.
pub fn engine_options(options: &JsValue) -> Result<EngineOptions, Error> {
    let options = from_js::<EngineOptions>("options", options)?;
    options.check()?;
    Ok(options)
}

/// The message of an error that is a JavaScript `Error` inside.
fn words(error: &serde_wasm_bindgen::Error) -> String {
    let text = error.to_string();
    text.strip_prefix("Error: ").map(str::to_owned).unwrap_or(text)
}

/// Gives a record to JavaScript as a plain object.
///
/// # Errors
/// None in practice: every record is plain data.
pub fn to_js<T: Serialize + Tsify>(value: &T) -> Result<Js<T>, Error> {
    let to = Serializer::new().serialize_missing_as_null(true);
    let value = value.serialize(&to).map_err(|error| Error::new(ErrorKind::BadData, error.to_string()))?;
    Ok(value.unchecked_into())
}

fn get(object: &JsValue, key: &JsValue) -> JsValue {
    Reflect::get(object, key).unwrap_or(JsValue::UNDEFINED)
}

/// Checks that `value` is plain data of bounded depth and size. Structured clones may be cyclic, and
/// deserialising recurses.
fn bounded(value: &JsValue, levels: usize, items: &mut usize) -> Result<(), &'static str> {
    if !value.is_object() || ArrayBuffer::is_view(value) {
        return Ok(());
    }
    if levels == 0 {
        return Err("nested too deeply");
    }
    let values = if Array::is_array(value) {
        value.clone().unchecked_into::<Array>()
    } else {
        // Objects of any realm have a prototype without one of its own; maps, dates and the like do not.
        let prototype = Object::get_prototype_of(value);
        if !prototype.is_null() && !Object::get_prototype_of(&prototype).is_null() {
            return Err("not plain data");
        }
        Object::values(value.unchecked_ref::<Object>())
    };
    *items = items.checked_sub(values.length() as usize).ok_or("too large")?;
    values.iter().try_for_each(|value| bounded(&value, levels - 1, items))
}

/// The fields of a struct, none for other types: what it asks a deserialiser for.
fn field_names<T: DeserializeOwned>() -> Option<&'static [&'static str]> {
    struct Asked<'a>(&'a mut Option<&'static [&'static str]>);
    impl<'de> Deserializer<'de> for Asked<'_> {
        type Error = ValueError;

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, ValueError> {
            Err(serde::de::Error::custom("only asked"))
        }

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _name: &'static str,
            fields: &'static [&'static str],
            visitor: V,
        ) -> Result<V::Value, ValueError> {
            *self.0 = Some(fields);
            self.deserialize_any(visitor)
        }

        forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
            unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }
    let mut fields = None;
    // It always fails, having asked.
    let _ = T::deserialize(Asked(&mut fields));
    fields
}
