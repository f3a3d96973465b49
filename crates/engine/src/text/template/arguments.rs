//! The arguments of a call.

use std::borrow::Cow;

use super::{Failure, failure, text::Text, value::Value};

/// Positional arguments in order, then named ones. What nobody takes is an error: a filter's option that is
/// not known would change the text without a word.
#[derive(Default)]
pub(super) struct Arguments<'t> {
    positional: std::collections::VecDeque<Value>,
    named: Vec<(Cow<'t, str>, Value)>,
}

impl<'t> Arguments<'t> {
    pub fn push(&mut self, value: Value) {
        self.positional.push_back(value);
    }

    pub fn named(&mut self, name: impl Into<Cow<'t, str>>, value: Value) {
        self.named.push((name.into(), value));
    }

    pub fn take_named(&mut self, name: &str) -> Option<Value> {
        let at = self.named.iter().position(|(known, _)| known == name)?;
        Some(self.named.remove(at).1)
    }

    /// The next argument, or the one of this name.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.positional.pop_front().or_else(|| self.take_named(name))
    }

    /// As [`Arguments::take`], without `none`. An undefined value is one, and mostly of a wrong kind.
    pub fn given(&mut self, name: &str) -> Option<Value> {
        self.take(name).filter(|v| !matches!(v, Value::None))
    }

    /// # Errors
    /// When it is missing.
    pub fn required(&mut self, name: &str) -> Result<Value, Failure> {
        self.take(name).ok_or_else(|| failure(format!("the argument `{name}` is missing")))
    }

    /// # Errors
    /// When it is missing or no string.
    pub fn text(&mut self, name: &str) -> Result<Text, Failure> {
        match self.required(name)? {
            Value::Text(text) => Ok(text),
            other => Err(failure(format!("the argument `{name}` is {}, not a string", other.kind()))),
        }
    }

    /// # Errors
    /// When it is no string.
    pub fn optional_text(&mut self, name: &str) -> Result<Option<Text>, Failure> {
        match self.given(name) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(other) => Err(failure(format!("the argument `{name}` is {}, not a string", other.kind()))),
        }
    }

    /// # Errors
    /// When it is no integer.
    pub fn int(&mut self, name: &str) -> Result<Option<i128>, Failure> {
        match self.given(name) {
            None => Ok(None),
            Some(value) => value
                .int()
                .map(Some)
                .ok_or_else(|| failure(format!("the argument `{name}` is {}, not an integer", value.kind()))),
        }
    }

    /// A count of repetitions; what is negative is none.
    ///
    /// # Errors
    /// When it is no integer.
    pub fn count(&mut self, name: &str) -> Result<Option<usize>, Failure> {
        Ok(self.int(name)?.map(|i| usize::try_from(i.max(0)).unwrap_or(usize::MAX)))
    }

    pub fn flag(&mut self, name: &str, default: bool) -> bool {
        self.take(name).map_or(default, |v| v.is_true())
    }

    /// All that are left.
    pub fn rest(&mut self) -> (Vec<Value>, Vec<(Cow<'t, str>, Value)>) {
        (std::mem::take(&mut self.positional).into(), std::mem::take(&mut self.named))
    }

    /// # Errors
    /// When some are left.
    pub fn done(&self, what: &str) -> Result<(), Failure> {
        match self.named.first() {
            Some((name, _)) => Err(failure(format!("{what} has no argument `{name}`"))),
            None if !self.positional.is_empty() => Err(failure(format!("{what} has too many arguments"))),
            None => Ok(()),
        }
    }
}
