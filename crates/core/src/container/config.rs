//! HF `config.json` → [`Meta`], flattened with dots: `{"a": {"b": 1}}` has the key `a.b`.
//!
//! So that architectures read GGUF and HF metadata with the same accessors. Invariant: a key is there at
//! most once, `null` is absence, and nothing of another shape is lost: arrays that are not of one scalar
//! type are flattened by position (`a.0.b`).

use alloc::{format, string::String, vec::Vec};
use core::fmt;

use serde::{
    Deserializer,
    de::{DeserializeSeed, MapAccess, SeqAccess, Visitor},
};

use super::{MAX_NAME, Meta, Value};
use crate::{Result, bail};

/// Longest JSON text that is accepted, in bytes.
pub const MAX_CONFIG: usize = 1 << 20;

/// Bytes of keys and values that are accepted, with what a map needs for each: flattening repeats the key of a
/// list for each of its items, so that a megabyte of text could become a gigabyte of keys.
const MAX_FLAT: usize = 16 << 20;
/// What a map needs for each entry beside its key.
const ENTRY: usize = 128;

/// Flattens a JSON object (`config.json`, `generation_config.json`, …).
///
/// Arrays of integers or booleans become [`Value::Ints`], arrays of numbers [`Value::Floats`], arrays of
/// strings [`Value::Strs`].
///
/// # Errors
/// `bad-header` for text that is not a JSON object or has a key twice; `too-large`.
pub fn config(json: &str) -> Result<Meta> {
    if json.len() > MAX_CONFIG {
        bail!(TooLarge, "config of {} bytes, accepted are {MAX_CONFIG}", json.len());
    }
    if !json.trim_start().starts_with('{') {
        bail!(BadHeader, "config: not a JSON object");
    }
    let (mut meta, mut left) = (Meta::default(), MAX_FLAT);
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let node = Node { meta: &mut meta, left: &mut left, key: String::new() };
    match node.deserialize(&mut deserializer).and_then(|_| deserializer.end()) {
        Ok(()) => Ok(meta),
        Err(error) => bail!(BadHeader, "config: {}", super::brief(error)),
    }
}

/// What stood at a place; scalars are left to the parent, which knows whether they are array elements.
enum Found {
    Null,
    Scalar(Value),
    /// An array or object whose content is in the `Meta` already.
    Object,
}

/// Reads the value at `key` into `meta`.
struct Node<'a> {
    meta: &'a mut Meta,
    /// Bytes that may still be added.
    left: &'a mut usize,
    key: String,
}

impl Node<'_> {
    fn child<E: serde::de::Error>(&mut self, name: impl fmt::Display) -> core::result::Result<Node<'_>, E> {
        let key = if self.key.is_empty() { format!("{name}") } else { format!("{}.{name}", self.key) };
        if key.len() as u64 > MAX_NAME {
            return Err(E::custom(format!("key of {} bytes, accepted are {MAX_NAME}", key.len())));
        }
        Ok(Node { meta: self.meta, left: self.left, key })
    }

    fn insert<E: serde::de::Error>(&mut self, key: String, value: Value) -> core::result::Result<(), E> {
        match self.left.checked_sub(key.len() + ENTRY) {
            Some(left) => *self.left = left,
            None => return Err(E::custom(format!("flattened it has more than {MAX_FLAT} bytes of keys"))),
        }
        self.meta.insert(key, value).map_err(|e| E::custom(e.detail))
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Found;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> core::result::Result<Found, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Found;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> core::result::Result<Found, E> {
        Ok(Found::Null)
    }

    fn visit_bool<E>(self, v: bool) -> core::result::Result<Found, E> {
        Ok(Found::Scalar(Value::Bool(v)))
    }

    fn visit_i64<E>(self, v: i64) -> core::result::Result<Found, E> {
        Ok(Found::Scalar(Value::Int(v)))
    }

    /// `transformers` writes "no limit" as 10³⁰ and the like: such numbers are floats.
    fn visit_u64<E>(self, v: u64) -> core::result::Result<Found, E> {
        Ok(Found::Scalar(i64::try_from(v).map_or(Value::Float(v as f64), Value::Int)))
    }

    fn visit_f64<E>(self, v: f64) -> core::result::Result<Found, E> {
        Ok(Found::Scalar(Value::Float(v)))
    }

    fn visit_str<E>(self, v: &str) -> core::result::Result<Found, E> {
        Ok(Found::Scalar(Value::Str(v.into())))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> core::result::Result<Found, A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            let child = self.child(&name)?;
            let key = child.key.clone();
            if let Found::Scalar(value) = map.next_value_seed(child)? {
                self.insert(key, value)?;
            }
        }
        Ok(Found::Object)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> core::result::Result<Found, A::Error> {
        let mut items = Vec::new();
        let mut scalar = true;
        let mut at = 0u32;
        while let Some(found) = seq.next_element_seed(self.child(at)?)? {
            match found {
                Found::Scalar(value) => items.push((at, value)),
                Found::Null | Found::Object => scalar = false,
            }
            at += 1;
        }
        match if scalar { collect(items) } else { Err(items) } {
            Ok(array) => {
                let key = core::mem::take(&mut self.key);
                self.insert(key, array)?;
            }
            Err(items) => {
                for (at, value) in items {
                    let key = self.child::<A::Error>(at)?.key;
                    self.insert(key, value)?;
                }
            }
        }
        Ok(Found::Object)
    }
}

/// Elements of one type as an array; given back when they are mixed.
fn collect(items: Vec<(u32, Value)>) -> core::result::Result<Value, Vec<(u32, Value)>> {
    let all = |test: fn(&Value) -> bool| items.iter().all(|(_, v)| test(v));
    if all(|v| matches!(v, Value::Int(_))) || all(|v| matches!(v, Value::Bool(_))) {
        Ok(Value::Ints(Vec::from_iter(items.into_iter().map(|(_, v)| match v {
            Value::Int(i) => i,
            v => i64::from(v == Value::Bool(true)),
        }))))
    } else if all(|v| matches!(v, Value::Int(_) | Value::Float(_))) {
        Ok(Value::Floats(Vec::from_iter(items.into_iter().map(|(_, v)| match v {
            Value::Int(i) => i as f32,
            Value::Float(f) => f as f32,
            _ => f32::NAN,
        }))))
    } else if all(|v| matches!(v, Value::Str(_))) {
        Ok(Value::Strs(Vec::from_iter(items.into_iter().filter_map(|(_, v)| match v {
            Value::Str(s) => Some(s),
            _ => None,
        }))))
    } else {
        Err(items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn flattens_hf_config() {
        let meta = config(
            r#"{ "hidden_size": 2560, "rms_norm_eps": 1e-05, "tie": true, "rope_scaling": null,
                 "quantization_config": { "linear_class": "autobitlinear", "skip": [] },
                 "eos_token_id": [128001, 128009], "factors": [1, 1.5], "flags": [true, false],
                 "architectures": ["BitNetForCausalLM"], "mixed": [1, "a", {"b": 2}, null], "long": 1e30,
                 "longer": 1000000000000000019884624838656 }"#,
        )
        .unwrap();
        assert_eq!(meta.u32("hidden_size"), Ok(2560));
        assert_eq!(meta.float("rms_norm_eps"), Ok(1e-5));
        assert_eq!(meta.bool("tie"), Ok(true));
        assert!(!meta.has("rope_scaling"));
        assert_eq!(meta.str("quantization_config.linear_class"), Ok("autobitlinear"));
        assert_eq!(meta.ints("quantization_config.skip"), Ok(&[][..]));
        assert_eq!(meta.ints("eos_token_id"), Ok(&[128001, 128009][..]));
        assert_eq!(meta.floats("factors"), Ok(&[1.0, 1.5][..]));
        assert_eq!(meta.ints("flags"), Ok(&[1, 0][..]));
        assert_eq!(meta.strs("architectures").unwrap(), ["BitNetForCausalLM"]);
        assert_eq!(meta.int("mixed.0"), Ok(1));
        assert_eq!(meta.str("mixed.1"), Ok("a"));
        assert_eq!(meta.int("mixed.2.b"), Ok(2));
        assert_eq!(meta.float("longer"), Ok(1e30));
    }

    #[test]
    fn refuses_what_is_no_config() {
        let deep = "{\"a\":".repeat(100_000);
        let long_key = format!("{{\"{}\": 1}}", "k".repeat(2000));
        for (json, why) in [
            ("", "not a JSON object"),
            ("[1]", "not a JSON object"),
            ("1", "not a JSON object"),
            (r#"{"a": 1"#, "EOF"),
            (r#"{"a": 1} x"#, "trailing"),
            (r#"{"a": 1, "a": 2}"#, "twice"),
            (r#"{"a.b": 1, "a": {"b": 2}}"#, "twice"),
            (&deep, "recursion"),
            (&long_key, "key of 2000 bytes"),
        ] {
            let error = config(json).unwrap_err();
            assert_eq!(error.kind, ErrorKind::BadHeader);
            assert!(error.detail.contains(why), "{why}: {error}");
        }
    }
}
