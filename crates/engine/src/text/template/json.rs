//! Python's `json.dumps`, as `transformers` calls it.

use std::rc::Rc;

use super::{
    Budget, Failure,
    arguments::Arguments,
    failure,
    print::float_text,
    text::{Builder, Origin, Text},
    value::Value,
};

/// How values are written.
struct Style {
    indent: Option<Text>,
    item: Text,
    key: Text,
    ascii: bool,
    sort: bool,
}

/// `value | tojson(indent=…, separators=…, ensure_ascii=…, sort_keys=…)`
pub(super) fn tojson(value: &Value, args: &mut Arguments<'_>, budget: &Rc<Budget>) -> Result<Value, Failure> {
    let written = |text: &str| Text::new(text, Origin::Template, budget);
    let indent = match args.given("indent") {
        None => None,
        Some(Value::Text(text)) => Some(text),
        Some(other) => {
            let width = other.int().ok_or_else(|| failure("the indent is no number".into()))?;
            let mut spaces = Builder::new(budget)?;
            spaces.fill(' ', usize::try_from(width.max(0)).unwrap_or(usize::MAX))?;
            Some(spaces.finish())
        }
    };
    let (item, key) = match args.take_named("separators").filter(|s| !matches!(s, Value::None)) {
        None => (written(if indent.is_some() { "," } else { ", " })?, written(": ")?),
        Some(pair) => match &pair.items(budget)?.items[..] {
            [Value::Text(item), Value::Text(key)] => (item.clone(), key.clone()),
            _ => return Err(failure("the separators are not two strings".into())),
        },
    };
    let (ascii, sort) = (named_flag(args, "ensure_ascii"), named_flag(args, "sort_keys"));
    let style = Style { indent, item, key, ascii, sort };
    let mut out = Builder::new(budget)?;
    dump(value, &style, 0, &mut out)?;
    Ok(Value::Text(out.finish()))
}

fn named_flag(args: &mut Arguments<'_>, name: &str) -> bool {
    args.take_named(name).is_some_and(|value| value.is_true())
}

fn dump(value: &Value, style: &Style, depth: usize, out: &mut Builder) -> Result<(), Failure> {
    out.budget().steps(1)?;
    let line = |out: &mut Builder, depth: usize| {
        let Some(indent) = &style.indent else { return Ok(()) };
        out.push("\n", Origin::Template)?;
        out.repeat(indent, depth)
    };
    match value {
        Value::Map(map) => {
            let mut entries: Vec<&(Value, Value)> = map.entries.iter().collect();
            if style.sort {
                out.budget().steps(entries.len() * 20)?;
                entries.sort_by_key(|(key, _)| if let Value::Text(key) = key { key.as_str() } else { "" });
            }
            out.push("{", Origin::Template)?;
            for (i, (key, value)) in entries.iter().enumerate() {
                if i > 0 {
                    out.push_text(&style.item)?;
                }
                line(out, depth + 1)?;
                match key {
                    Value::Text(text) => quoted(text, style.ascii, out)?,
                    other => {
                        out.push("\"", Origin::Template)?;
                        dump(other, style, depth, out)?;
                        out.push("\"", Origin::Template)?;
                    }
                }
                out.push_text(&style.key)?;
                dump(value, style, depth + 1, out)?;
            }
            if !map.entries.is_empty() {
                line(out, depth)?;
            }
            out.push("}", Origin::Template)
        }
        Value::List(list) => {
            out.push("[", Origin::Template)?;
            for (i, item) in list.items.iter().enumerate() {
                if i > 0 {
                    out.push_text(&style.item)?;
                }
                line(out, depth + 1)?;
                dump(item, style, depth + 1, out)?;
            }
            if !list.items.is_empty() {
                line(out, depth)?;
            }
            out.push("]", Origin::Template)
        }
        Value::Text(text) => quoted(text, style.ascii, out),
        Value::Int(i, origin) => out.push(&i.to_string(), *origin),
        Value::Float(f, origin) => {
            let text = if f.is_nan() {
                "NaN".into()
            } else if f.is_infinite() {
                if *f > 0.0 { "Infinity".into() } else { "-Infinity".into() }
            } else {
                float_text(*f)
            };
            out.push(&text, *origin)
        }
        Value::Bool(b) => out.push(if *b { "true" } else { "false" }, Origin::Template),
        Value::None => out.push("null", Origin::Template),
        other => Err(failure(format!("{} is not serialisable as JSON", other.kind()))),
    }
}

fn quoted(text: &Text, ascii: bool, out: &mut Builder) -> Result<(), Failure> {
    out.push("\"", Origin::Template)?;
    for (piece, origin) in text.pieces() {
        let mut done = 0;
        for (at, c) in piece.char_indices() {
            let escape = match c {
                '"' => "\\\"".into(),
                '\\' => "\\\\".into(),
                '\n' => "\\n".into(),
                '\r' => "\\r".into(),
                '\t' => "\\t".into(),
                '\u{8}' => "\\b".into(),
                '\u{c}' => "\\f".into(),
                '\0'..='\x1f' => format!("\\u{:04x}", c as u32),
                '\u{80}'.. if ascii => {
                    c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect()
                }
                _ => continue,
            };
            out.push(&piece[done..at], origin)?;
            out.push(&escape, origin)?;
            done = at + c.len_utf8();
        }
        out.push(&piece[done..], origin)?;
    }
    out.push("\"", Origin::Template)
}
