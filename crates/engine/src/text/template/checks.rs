//! The tests of Jinja: `value is name(args)`.

use std::rc::Rc;

use minijinja::machinery::ast::CompareOpKind;

use super::{Failure, arguments::Arguments, failure, interpreter::Interpreter, operators, value::Value};

impl<'t> Interpreter<'t> {
    /// # Errors
    /// When there is no such test, or it costs too much.
    pub fn check(&mut self, name: &str, value: &Value, mut args: Arguments<'t>) -> Result<bool, Failure> {
        let budget = Rc::clone(&self.budget);
        budget.steps(1)?;
        let integer = || value.int().ok_or_else(|| failure(format!("{} is not a number", value.kind())));
        let comparison = match name {
            "eq" | "equalto" | "==" => Some(CompareOpKind::Eq),
            "ne" | "!=" => Some(CompareOpKind::Ne),
            "lt" | "lessthan" | "<" => Some(CompareOpKind::Lt),
            "le" | "<=" => Some(CompareOpKind::Lte),
            "gt" | "greaterthan" | ">" => Some(CompareOpKind::Gt),
            "ge" | ">=" => Some(CompareOpKind::Gte),
            "in" => Some(CompareOpKind::In),
            _ => None,
        };
        let result = match name {
            _ if comparison.is_some() => {
                let other = args.required("other")?;
                operators::compare(comparison.unwrap_or(CompareOpKind::Eq), value, &other, &budget)?
            }
            "defined" => !matches!(value, Value::Undefined),
            "undefined" => matches!(value, Value::Undefined),
            "none" => matches!(value, Value::None),
            "true" => matches!(value, Value::Bool(true)),
            "false" => matches!(value, Value::Bool(false)),
            "boolean" => matches!(value, Value::Bool(_)),
            "integer" => matches!(value, Value::Int(..)),
            "float" => matches!(value, Value::Float(..)),
            "number" => matches!(value, Value::Int(..) | Value::Float(..) | Value::Bool(_)),
            "string" => matches!(value, Value::Text(_)),
            "mapping" => matches!(value, Value::Map(_)),
            // As in Python, where strings and dictionaries have a length and items too.
            "sequence" => {
                matches!(value, Value::List(_) | Value::Text(_) | Value::Map(_) | Value::Undefined)
            }
            "iterable" => matches!(value, Value::List(_) | Value::Text(_) | Value::Map(_) | Value::Undefined),
            // Jinja's undefined values have the methods that these tests ask for, and fail when they are called.
            "callable" => matches!(value, Value::Macro(_) | Value::Function(_) | Value::Undefined),
            "odd" => integer()?.rem_euclid(2) == 1,
            "even" => integer()?.rem_euclid(2) == 0,
            "divisibleby" => match args.int("num")? {
                None | Some(0) => return Err(failure("`divisibleby` needs a number that is not 0".into())),
                Some(by) => integer()?.checked_rem(by) == Some(0),
            },
            "lower" | "upper" => {
                let is = if name == "lower" { "islower" } else { "isupper" };
                let text = Value::Text(value.to_text(&budget)?);
                self.method(&text, is, Arguments::default())?.is_true()
            }
            "startingwith" | "endingwith" => {
                let method = if name == "startingwith" { "startswith" } else { "endswith" };
                let affix = args.required("affix")?;
                let mut inner = Arguments::default();
                inner.push(affix);
                self.method(value, method, inner)?.is_true()
            }
            "sameas" => {
                let other = args.required("other")?;
                self.same(value, &other)?
            }
            "safe" | "escaped" => false,
            _ => return Err(failure(format!("there is no test `{name}`"))),
        };
        args.done(name)?;
        Ok(result)
    }
}
