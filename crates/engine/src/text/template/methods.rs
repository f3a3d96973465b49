//! The methods of Python's strings, dictionaries and lists.

use std::rc::Rc;

use super::{
    Budget, Failure,
    arguments::Arguments,
    failure, format,
    interpreter::Interpreter,
    lists::join,
    text::{Builder, Origin, Text},
    value::{Value, room_for},
};

impl<'t> Interpreter<'t> {
    /// `object.name(args)`
    ///
    /// # Errors
    /// When there is no such method, its arguments are wrong, or it costs too much.
    pub fn method(&mut self, object: &Value, name: &str, mut args: Arguments<'t>) -> Result<Value, Failure> {
        self.budget.steps(2)?;
        let budget = Rc::clone(&self.budget);
        let unknown = || failure(format!("{} has no method `{name}`", object.kind()));
        let result = match object {
            Value::Undefined => return Err(failure(format!("an undefined value has no method `{name}`"))),
            Value::Text(text) if name == "format" => {
                let (positional, named) = args.rest();
                return format::braces(text, &positional, &named, &budget).map(Value::Text);
            }
            Value::Text(text) => string(text, name, &mut args, &budget)?,
            Value::Map(map) => match name {
                "get" => {
                    let key = args.required("key")?;
                    let default = args.take("default").unwrap_or(Value::None);
                    Some(map.get(&key, &budget)?.cloned().unwrap_or(default))
                }
                "items" => Some(self.filter("items", object.clone(), Arguments::default())?),
                "keys" => Some(Value::List(object.items(&budget)?)),
                "values" => {
                    drop(room_for(map.entries.len(), &budget)?);
                    let values = map.entries.iter().map(|(_, value)| value.clone()).collect();
                    Some(Value::list(values, false, &budget)?)
                }
                _ => None,
            },
            Value::List(list) if matches!(name, "count" | "index") => {
                let wanted = args.required("value")?;
                let mut found = Vec::new();
                for (i, item) in list.items.iter().enumerate() {
                    if item.equals(&wanted, &budget)? {
                        found.push(i as i128);
                    }
                }
                let number = if name == "count" { Some(found.len() as i128) } else { found.first().copied() };
                let number = number.ok_or_else(|| failure("the value is not in the list".into()))?;
                Some(Value::Int(number, Origin::Template))
            }
            Value::Loop(state) if name == "cycle" => {
                let (values, _) = args.rest();
                let at = state.index.get().checked_rem(values.len());
                Some(at.and_then(|at| values.get(at)).cloned().unwrap_or(Value::Undefined))
            }
            Value::Loop(state) if name == "changed" => {
                let (values, _) = args.rest();
                let values = Value::list(values, false, &budget)?;
                let mut last = state.changed.borrow_mut();
                let changed = match &*last {
                    Some(last) => !last.equals(&values, &budget)?,
                    None => true,
                };
                *last = Some(values);
                Some(Value::Bool(changed))
            }
            _ => None,
        };
        let result = result.ok_or_else(unknown)?;
        args.done(name)?;
        Ok(result)
    }
}

/// Methods of strings; nothing where there is no such method.
fn string(
    text: &Text,
    name: &str,
    args: &mut Arguments<'_>,
    budget: &Rc<Budget>,
) -> Result<Option<Value>, Failure> {
    let s = text.as_str();
    budget.bytes(s.len())?;
    let all = |test: fn(char) -> bool| Value::Bool(!s.is_empty() && s.chars().all(test));
    let position =
        |at: Option<usize>| Value::Int(at.map_or(-1, |at| s[..at].chars().count() as i128), Origin::Template);
    Ok(Some(match name {
        "upper" => Value::Text(text.map(budget, str::to_uppercase)?),
        "lower" => Value::Text(text.map(budget, str::to_lowercase)?),
        "title" => title(text, |c| !c.is_alphabetic(), budget)?,
        "capitalize" => capitalize(text, budget)?,
        "swapcase" => Value::Text(text.map(budget, |part| {
            let swap = |c: char| {
                let (upper, lower) = (c.to_uppercase(), c.to_lowercase());
                if c.is_uppercase() { lower.collect::<String>() } else { upper.collect() }
            };
            part.chars().map(swap).collect()
        })?),
        "strip" | "lstrip" | "rstrip" => {
            let chars = args.optional_text("chars")?;
            trim(text, chars.as_ref(), name != "rstrip", name != "lstrip", budget)?
        }
        "replace" => {
            let (old, new) = (args.text("old")?, args.text("new")?);
            let count = args.int("count")?.and_then(|c| usize::try_from(c).ok()).unwrap_or(usize::MAX);
            Value::Text(text.replace(old.as_str(), &new, count, budget)?)
        }
        "split" | "rsplit" => {
            let separator = args.optional_text("sep")?;
            let most = args.int("maxsplit")?.and_then(|m| usize::try_from(m).ok()).unwrap_or(usize::MAX);
            split(text, separator.as_ref(), most, name == "rsplit", budget)?
        }
        "splitlines" => {
            let keep = args.flag("keepends", false);
            let lines = s.split_inclusive('\n').map(|line| {
                let bare = line.strip_suffix('\n').map_or(line, |l| l.strip_suffix('\r').unwrap_or(l));
                if keep { line } else { bare }
            });
            parts(text, lines, budget)?
        }
        "partition" | "rpartition" => {
            let separator = args.text("sep")?;
            let found =
                if name == "partition" { s.find(separator.as_str()) } else { s.rfind(separator.as_str()) };
            let end = found.map(|at| at + separator.as_str().len());
            let three = match (found, end, name) {
                (Some(at), Some(end), _) => [0..at, at..end, end..s.len()],
                (_, _, "partition") => [0..s.len(), 0..0, 0..0],
                _ => [0..0, 0..0, 0..s.len()],
            };
            Value::list(three.map(|range| Value::Text(text.slice(range))).into(), true, budget)?
        }
        "startswith" | "endswith" => {
            let affix = args.required("prefix")?;
            let affixes = match affix {
                Value::List(list) if list.tuple => list.items.clone(),
                other => vec![other],
            };
            let mut any = false;
            for affix in affixes {
                let Value::Text(affix) = affix else {
                    return Err(failure(format!("`{name}` needs strings, not {}", affix.kind())));
                };
                any |= if name == "startswith" {
                    s.starts_with(affix.as_str())
                } else {
                    s.ends_with(affix.as_str())
                };
            }
            Value::Bool(any)
        }
        "removeprefix" => {
            let prefix = args.text("prefix")?;
            Value::Text(text.part(s.strip_prefix(prefix.as_str()).unwrap_or(s)))
        }
        "removesuffix" => {
            let suffix = args.text("suffix")?;
            Value::Text(text.part(s.strip_suffix(suffix.as_str()).unwrap_or(s)))
        }
        "find" => position(s.find(args.text("sub")?.as_str())),
        "rfind" => position(s.rfind(args.text("sub")?.as_str())),
        "count" => Value::Int(s.matches(args.text("sub")?.as_str()).count() as i128, Origin::Template),
        "join" => {
            let items = args.required("iterable")?.items(budget)?;
            if let Some(other) = items.items.iter().find(|item| !matches!(item, Value::Text(_))) {
                return Err(failure(format!("`join` needs strings, not {}", other.kind())));
            }
            join(&items.items, text, budget)?
        }
        "zfill" | "ljust" | "rjust" | "center" => pad(text, name, args, budget)?,
        "islower" => Value::Bool(s.chars().any(char::is_lowercase) && !s.chars().any(char::is_uppercase)),
        "isupper" => Value::Bool(s.chars().any(char::is_uppercase) && !s.chars().any(char::is_lowercase)),
        "isspace" => all(char::is_whitespace),
        "isdigit" | "isnumeric" | "isdecimal" => all(char::is_numeric),
        "isalnum" => all(char::is_alphanumeric),
        "isalpha" => all(char::is_alphabetic),
        "isascii" => Value::Bool(s.is_ascii()),
        _ => return Ok(None),
    }))
}

/// Words with their first letter upper case. `begins` says after which characters a word begins.
pub(super) fn title(
    text: &Text,
    begins_after: fn(char) -> bool,
    budget: &Rc<Budget>,
) -> Result<Value, Failure> {
    let (mut out, mut begins) = (Builder::new(budget)?, true);
    for (c, origin) in text.chars() {
        if begins {
            c.to_uppercase().try_for_each(|c| out.push_char(c, origin))?;
        } else {
            c.to_lowercase().try_for_each(|c| out.push_char(c, origin))?;
        }
        begins = begins_after(c);
    }
    Ok(Value::Text(out.finish()))
}

/// The first character upper case, the others lower case.
fn capitalize(text: &Text, budget: &Rc<Budget>) -> Result<Value, Failure> {
    let first = text.as_str().chars().next().map_or(0, char::len_utf8);
    let mut out = Builder::new(budget)?;
    out.push_text(&text.slice(0..first).map(budget, str::to_uppercase)?)?;
    out.push_text(&text.slice(first..text.as_str().len()).map(budget, str::to_lowercase)?)?;
    Ok(Value::Text(out.finish()))
}

/// Without these characters (or white space) at its ends.
pub(super) fn trim(
    text: &Text,
    chars: Option<&Text>,
    left: bool,
    right: bool,
    budget: &Budget,
) -> Result<Value, Failure> {
    let mut s = text.as_str();
    budget.bytes(s.len())?;
    match chars {
        Some(chars) => {
            let chars: Vec<char> = chars.as_str().chars().collect();
            // Each character is compared with each of these until one does not match.
            budget.bytes(s.len().saturating_mul(chars.len() / 16))?;
            s = if left { s.trim_start_matches(&chars[..]) } else { s };
            s = if right { s.trim_end_matches(&chars[..]) } else { s };
        }
        None => {
            s = if left { s.trim_start() } else { s };
            s = if right { s.trim_end() } else { s };
        }
    }
    Ok(Value::Text(text.part(s)))
}

/// Slices of `text` as a list.
fn parts<'a>(
    text: &Text,
    slices: impl Iterator<Item = &'a str> + Clone,
    budget: &Rc<Budget>,
) -> Result<Value, Failure> {
    drop(room_for(slices.clone().count(), budget)?);
    Value::list(slices.map(|part| Value::Text(text.part(part))).collect(), false, budget)
}

fn split(
    text: &Text,
    separator: Option<&Text>,
    most: usize,
    from_right: bool,
    budget: &Rc<Budget>,
) -> Result<Value, Failure> {
    let s = text.as_str();
    let limit = most.saturating_add(1);
    let Some(separator) = separator.map(Text::as_str) else {
        let words = s.split_whitespace();
        let words_left = words.clone().count();
        if words_left <= limit {
            return parts(text, words, budget);
        }
        drop(room_for(limit, budget)?);
        // The last (or first) part is what is left, with the white space inside it.
        let mut list: Vec<&str> = Vec::new();
        let mut rest = if from_right { s.trim_end() } else { s.trim_start() };
        for _ in 0..most {
            let at =
                if from_right { rest.rfind(char::is_whitespace) } else { rest.find(char::is_whitespace) };
            let Some(at) = at else { break };
            let (left, right) = rest.split_at(at);
            if from_right {
                list.push(right.trim_start());
                rest = left.trim_end();
            } else {
                list.push(left);
                rest = right.trim_start();
            }
        }
        list.push(rest);
        if from_right {
            list.reverse();
        }
        return parts(text, list.iter().copied(), budget);
    };
    if separator.is_empty() {
        return Err(failure("the separator of a split is empty".into()));
    }
    if from_right {
        drop(room_for(s.matches(separator).count().min(most) + 1, budget)?);
        let mut list: Vec<&str> = s.rsplitn(limit, separator).collect();
        list.reverse();
        return parts(text, list.iter().copied(), budget);
    }
    parts(text, s.splitn(limit, separator), budget)
}

fn pad(text: &Text, name: &str, args: &mut Arguments<'_>, budget: &Rc<Budget>) -> Result<Value, Failure> {
    let width = args.count("width")?.unwrap_or(0);
    let fill = if name == "zfill" { None } else { args.optional_text("fillchar")? };
    let fill =
        fill.and_then(|f| f.as_str().chars().next()).unwrap_or(if name == "zfill" { '0' } else { ' ' });
    let missing = width.saturating_sub(text.as_str().chars().count());
    let sign = usize::from(name == "zfill" && text.as_str().starts_with(['+', '-']));
    let left = match name {
        "ljust" => 0,
        "center" => missing / 2 + (missing & width & 1),
        _ => missing,
    };
    let mut out = Builder::new(budget)?;
    out.push_text(&text.slice(0..sign))?;
    out.fill(fill, left)?;
    out.push_text(&text.slice(sign..text.as_str().len()))?;
    out.fill(fill, missing - left)?;
    Ok(Value::Text(out.finish()))
}
