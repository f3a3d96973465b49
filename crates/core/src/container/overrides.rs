//! Changes to a model's metadata, made before a spec is made of it: for experiments and tests.

use alloc::{
    collections::BTreeMap,
    format,
    string::{String, ToString},
};

use serde::de::IgnoredAny;

use super::{Meta, config};
use crate::{Result, bail, error::short};

/// Keys of a `config.json` (dotted paths into nested objects) or of GGUF metadata, with other values as JSON.
///
/// ```
/// use ternlight_core::container::{Overrides, config};
///
/// let mut meta = config(r#"{"cache": {"bits": 4, "q_bits": 4}, "theta": 1.0}"#)?;
/// let mut set = Overrides::default();
/// set.set("cache.bits", "3");
/// set.set("cache.q_bits", "null");
/// set.apply(&mut meta)?;
/// assert_eq!(meta, config(r#"{"cache": {"bits": 3}, "theta": 1.0}"#)?);
/// # Ok::<(), ternlight_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides(BTreeMap<String, String>);

impl Overrides {
    /// Says that `key` has the value that `json` spells: any JSON value, also an object; `null` removes the key and
    /// all below it. A key may be new: then it is subject to the rule that no key is ignored unseen.
    pub fn set(&mut self, key: &str, json: &str) {
        self.0.insert(key.to_string(), json.to_string());
    }

    /// The changes, outer keys before those within them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, json)| (key.as_str(), json.as_str()))
    }

    /// Changes `meta`.
    ///
    /// # Errors
    /// `bad-option`, naming the key whose value is not JSON.
    pub fn apply(&self, meta: &mut Meta) -> Result<()> {
        for (key, json) in self.iter() {
            if key.is_empty() {
                bail!(BadOption, "a metadata key that is to be set has no name");
            }
            // First the value alone: together with the key, a comma in it would start another key.
            if let Err(error) = serde_json::from_str::<IgnoredAny>(json) {
                bail!(BadOption, "the value of '{}' is not JSON: {error}", short(key));
            }
            let name = serde_json::to_string(key).expect("a string is always JSON");
            let values = match config(&format!("{{{name}:{json}}}")) {
                Ok(values) => values,
                Err(error) => bail!(BadOption, "'{}': {}", short(key), error.detail),
            };
            let below = format!("{key}.");
            meta.0.retain(|other, _| other != key && !other.starts_with(&below));
            meta.0.extend(values.0);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ErrorKind, container::Value};

    fn applied(json: &str, changes: &[(&str, &str)]) -> Result<Meta> {
        let (mut meta, mut set) = (config(json).unwrap(), Overrides::default());
        changes.iter().for_each(|(key, value)| set.set(key, value));
        set.apply(&mut meta).map(|()| meta)
    }

    #[test]
    fn a_value_replaces_all_below_its_key() {
        let own = r#"{"a": {"b": 1, "c": [1, "x"]}, "ab": 2}"#;
        assert_eq!(applied(own, &[("a", "null")]), config(r#"{"ab": 2}"#));
        assert_eq!(applied(own, &[("a", r#"{"d": 4}"#)]), config(r#"{"a": {"d": 4}, "ab": 2}"#));
        let both = [("a.b", "0.5"), ("a", "null")];
        assert_eq!(applied(own, &both), config(r#"{"a": {"b": 0.5}, "ab": 2}"#));
        let new = applied(own, &[("new.key", "[1, 2]")]).unwrap();
        assert_eq!(new.get("new.key"), Some(&Value::Ints([1, 2].into())));
    }

    #[test]
    fn what_is_not_json_is_refused_by_name() {
        for value in ["", "x", r#"1, "sneaked": 2"#, "{", r#"{"b": 1, "b": 2}"#] {
            let error = applied("{}", &[("a.key", value)]).unwrap_err();
            assert_eq!(error.kind, ErrorKind::BadOption);
            assert!(error.detail.contains("'a.key'"), "{error}");
        }
        assert_eq!(applied("{}", &[("", "1")]).unwrap_err().kind, ErrorKind::BadOption);
    }
}
