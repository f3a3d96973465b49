//! Metadata look-ups that name the key when they fail, so that a broken file says what is broken.
//!
//! `x(key)` wants the key, `opt_x(key)` takes its absence (but not another type) as `None`.
//! Invariant: no accessor converts with loss; an integer outside the asked range is an error.

use alloc::string::String;

use super::{Meta, Value};
use crate::{Error, ErrorKind, Result, bail};

impl Value {
    /// The type's name, for messages.
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::Int(_) => "integer",
            Self::Float(_) => "float",
            Self::Bool(_) => "boolean",
            Self::Str(_) => "string",
            Self::Ints(_) => "array of integers",
            Self::Floats(_) => "array of floats",
            Self::Strs(_) => "array of strings",
        }
    }
}

/// A pair of accessors: required and optional.
macro_rules! accessors {
    ($($(#[$doc:meta])* $name:ident / $opt:ident -> $out:ty, $want:literal, $value:ident => $read:expr;)*) => {$(
        $(#[$doc])*
        ///
        /// # Errors
        /// `missing-key`, naming the key, when it is absent or of another type.
        pub fn $name(&self, key: &str) -> Result<$out> {
            match self.$opt(key)? {
                Some(value) => Ok(value),
                None => bail!(MissingKey, "metadata key {key:?} is missing"),
            }
        }

        #[doc = concat!("As [`Meta::", stringify!($name), "`], with `None` for an absent key.")]
        ///
        /// # Errors
        /// `missing-key`, naming the key, when it is of another type.
        pub fn $opt(&self, key: &str) -> Result<Option<$out>> {
            let Some($value) = self.get(key) else { return Ok(None) };
            match $read {
                Some(value) => Ok(Some(value)),
                None => Err(wrong_type(key, $want, $value)),
            }
        }
    )*};
}

impl Meta {
    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key)
    }

    /// Whether `key` is there.
    pub fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// Adds a pair.
    ///
    /// # Errors
    /// `bad-header` when the key is already there.
    pub(super) fn insert(&mut self, key: String, value: Value) -> Result<()> {
        match self.0.entry(key) {
            alloc::collections::btree_map::Entry::Vacant(slot) => {
                slot.insert(value);
                Ok(())
            }
            alloc::collections::btree_map::Entry::Occupied(old) => {
                bail!(BadHeader, "metadata key {:?} appears twice", old.key())
            }
        }
    }

    accessors! {
        /// A text.
        str / opt_str -> &str, "string", value => match value { Value::Str(s) => Some(s.as_str()), _ => None };
        /// An integer.
        int / opt_int -> i64, "integer", value => match value { Value::Int(i) => Some(*i), _ => None };
        /// An integer in 0..2³².
        u32 / opt_u32 -> u32, "integer in 0..2^32", value => match value { Value::Int(i) => u32::try_from(*i).ok(), _ => None };
        /// An integer ≥ 0 that memory can be addressed with.
        usize / opt_usize -> usize, "size", value => match value { Value::Int(i) => usize::try_from(*i).ok(), _ => None };
        /// A number, written as float or integer.
        float / opt_float -> f64, "number", value => match value {
            Value::Float(f) => Some(*f),
            Value::Int(i) => Some(*i as f64),
            _ => None,
        };
        /// A boolean.
        bool / opt_bool -> bool, "boolean", value => match value { Value::Bool(b) => Some(*b), _ => None };
        /// An array of texts.
        strs / opt_strs -> &[String], "array of strings", value => match value { Value::Strs(v) => Some(v.as_slice()), _ => None };
        /// An array of integers.
        ints / opt_ints -> &[i64], "array of integers", value => match value { Value::Ints(v) => Some(v.as_slice()), _ => None };
        /// An array of floats.
        floats / opt_floats -> &[f32], "array of floats", value => match value { Value::Floats(v) => Some(v.as_slice()), _ => None };
    }
}

fn wrong_type(key: &str, want: &str, value: &Value) -> Error {
    let number = match value {
        Value::Int(i) => alloc::format!(" {i}"),
        _ => String::new(),
    };
    Error::new(
        ErrorKind::MissingKey,
        alloc::format!("metadata key {key:?} should be {want}, is {}{number}", value.type_name()),
    )
}

impl FromIterator<(String, Value)> for Meta {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

impl<const N: usize> From<[(&str, Value); N]> for Meta {
    fn from(pairs: [(&str, Value); N]) -> Self {
        pairs.into_iter().map(|(key, value)| (String::from(key), value)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_key_when_absent_or_of_another_type() {
        let meta = Meta::from([("n", Value::Int(-1)), ("t", Value::Str("x".into()))]);
        assert_eq!(meta.int("n"), Ok(-1));
        assert_eq!(meta.float("n"), Ok(-1.0));
        assert_eq!(meta.opt_u32("none"), Ok(None));
        for error in [meta.u32("n"), meta.u32("t"), meta.u32("gone")].map(Result::unwrap_err) {
            assert_eq!(error.kind, ErrorKind::MissingKey);
        }
        assert!(meta.u32("n").unwrap_err().detail.contains("\"n\""));
        assert!(meta.str("gone").unwrap_err().detail.contains("\"gone\""));
    }
}
