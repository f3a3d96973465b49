//! The filters of Jinja that templates use. One that is not known is refused by name.

use std::rc::Rc;

use super::{
    Budget, Failure,
    arguments::Arguments,
    failure, format,
    functions::attribute,
    interpreter::Interpreter,
    json,
    methods::{title, trim},
    operators,
    text::{Builder, Origin, Text},
    value::Value,
};

impl<'t> Interpreter<'t> {
    /// `value | name(args)`
    ///
    /// # Errors
    /// When there is no such filter, its arguments are wrong, or it costs too much.
    pub fn filter(&mut self, name: &str, value: Value, mut args: Arguments<'t>) -> Result<Value, Failure> {
        self.budget.steps(2)?;
        let budget = Rc::clone(&self.budget);
        let result = match name {
            "upper" | "lower" | "capitalize" | "split" => {
                return self.method(&Value::Text(value.to_text(&budget)?), name, args);
            }
            "title" => {
                let begins_after = |c: char| c.is_whitespace() || "-({[<".contains(c);
                title(&value.to_text(&budget)?, begins_after, &budget)?
            }
            "replace" => {
                let text = value.to_text(&budget)?;
                let (old, new) =
                    (args.required("old")?.to_text(&budget)?, args.required("new")?.to_text(&budget)?);
                let count = args.count("count")?.unwrap_or(usize::MAX);
                Value::Text(text.replace(old.as_str(), &new, count, &budget)?)
            }
            "trim" => {
                let text = value.to_text(&budget)?;
                trim(&text, args.optional_text("chars")?.as_ref(), true, true, &budget)?
            }
            "string" => Value::Text(value.to_text(&budget)?),
            "safe" => value,
            "escape" | "e" => escape(&value.to_text(&budget)?, &budget)?,
            "tojson" => json::tojson(&value, &mut args, &budget)?,
            "format" => {
                let (positional, named) = args.rest();
                let values = if named.is_empty() {
                    Value::list(positional, true, &budget)?
                } else {
                    let key = |name: &str| Text::new(name, Origin::Template, &budget).map(Value::Text);
                    let pairs = named.into_iter().map(|(name, value)| Ok((key(&name)?, value)));
                    Value::map(pairs.collect::<Result<_, Failure>>()?, &budget)?
                };
                Value::Text(format::percent(&value.to_text(&budget)?, &values, &budget)?)
            }
            // It adds to the text, which an undefined value does not let happen.
            "indent" | "int" | "float" if matches!(value, Value::Undefined) => {
                return Err(failure(format!("`{name}` of {} is not defined", value.kind())));
            }
            "indent" => indent(&value.to_text(&budget)?, &mut args, &budget)?,
            "default" | "d" => {
                let default = args.take("default_value").unwrap_or(Value::Text(Text::default()));
                let falsy = args.flag("boolean", false) && !value.is_true();
                if matches!(value, Value::Undefined) || falsy { default } else { value }
            }
            "length" | "count" => {
                let length = match &value {
                    Value::Text(text) => {
                        budget.bytes(text.as_str().len())?;
                        text.as_str().chars().count()
                    }
                    _ => value.items(&budget)?.items.len(),
                };
                Value::Int(length as i128, Origin::Template)
            }
            "abs" | "round" | "int" | "float" | "bool" => number(name, &value, &mut args)?,
            "attr" => attribute(&value, args.text("name")?.as_str(), &budget)?,
            "items" | "dictsort" => self.pairs(name, &value, &mut args)?,
            _ => return self.list_filter(name, value, args),
        };
        args.done(name)?;
        Ok(result)
    }
}

fn escape(text: &Text, budget: &Rc<Budget>) -> Result<Value, Failure> {
    let mut out = Builder::new(budget)?;
    for (c, origin) in text.chars() {
        match c {
            '&' => out.push("&amp;", origin)?,
            '<' => out.push("&lt;", origin)?,
            '>' => out.push("&gt;", origin)?,
            '"' => out.push("&#34;", origin)?,
            '\'' => out.push("&#39;", origin)?,
            _ => out.push_char(c, origin)?,
        }
    }
    Ok(Value::Text(out.finish()))
}

/// Lines but the first move to the right.
fn indent(text: &Text, args: &mut Arguments<'_>, budget: &Rc<Budget>) -> Result<Value, Failure> {
    let width = match args.given("width") {
        Some(Value::Text(prefix)) => Err(prefix),
        Some(other) => Ok(other.int().ok_or_else(|| failure("the width of indent is no number".into()))?),
        None => Ok(4),
    };
    let (first, blank) = (args.flag("first", false), args.flag("blank", false));
    let mut out = Builder::new(budget)?;
    for (i, line) in text.as_str().split('\n').enumerate() {
        if i > 0 {
            out.push("\n", Origin::Template)?;
        }
        if (i > 0 || first) && (blank || !(line.is_empty() || line == "\r")) {
            match &width {
                Ok(width) => out.fill(' ', usize::try_from((*width).max(0)).unwrap_or(usize::MAX))?,
                Err(prefix) => out.push_text(prefix)?,
            }
        }
        out.push_text(&text.part(line))?;
    }
    Ok(Value::Text(out.finish()))
}

fn number(name: &str, value: &Value, args: &mut Arguments<'_>) -> Result<Value, Failure> {
    let origin = value.origin();
    let trimmed = match value {
        Value::Text(text) => text.as_str().trim(),
        _ => "",
    };
    Ok(match name {
        "bool" => Value::Bool(value.is_true()),
        "abs" => match value {
            Value::Float(f, _) => Value::Float(f.abs(), origin),
            _ => match value.int().and_then(i128::checked_abs) {
                Some(i) => Value::Int(i, origin),
                None => return Err(failure(format!("`abs` of {} is not defined", value.kind()))),
            },
        },
        "round" => round(value, args)?,
        "int" => {
            let default = args.given("default").unwrap_or(operators::ZERO);
            let base = args.int("base")?.and_then(|b| u32::try_from(b).ok()).unwrap_or(10);
            if !(2..=36).contains(&base) {
                return Err(failure(format!("the base {base} is not supported")));
            }
            let float = || value.float().or_else(|| trimmed.parse().ok()).filter(|f| f.is_finite());
            let int = value.int().or_else(|| i128::from_str_radix(trimmed, base).ok());
            match int.or_else(|| float().map(|f| f as i128)) {
                Some(i) => Value::Int(i, origin),
                None => default,
            }
        }
        _ => {
            let default = args.given("default").unwrap_or(Value::Float(0.0, Origin::Template));
            let float = value.float().or_else(|| trimmed.parse().ok());
            float.map_or(default, |f| Value::Float(f, origin))
        }
    })
}

fn round(value: &Value, args: &mut Arguments<'_>) -> Result<Value, Failure> {
    let precision = args.int("precision")?.unwrap_or(0);
    let method = args.optional_text("method")?;
    let number =
        value.float().ok_or_else(|| failure(format!("`round` of {} is not defined", value.kind())))?;
    let scale = 10f64.powi(i32::try_from(precision).unwrap_or(i32::MAX).clamp(-300, 300));
    let rounded = match method.as_ref().map_or("common", Text::as_str) {
        // Formatting rounds half to even on the decimal digits, as Python does.
        "common" if (0..300).contains(&precision) => {
            std::format!("{number:.*}", precision as usize).parse().unwrap_or(number)
        }
        "common" => (number * scale).round() / scale,
        "ceil" => (number * scale).ceil() / scale,
        "floor" => (number * scale).floor() / scale,
        other => return Err(failure(std::format!("the method {other} of `round` is not known"))),
    };
    Ok(match value.int() {
        Some(i) if precision >= 0 => Value::Int(i, value.origin()),
        _ => Value::Float(rounded, value.origin()),
    })
}
