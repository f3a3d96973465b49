//! Values as text: Python's `str` and `repr`.

use std::rc::Rc;

use super::{
    Budget, Failure,
    text::{Builder, Origin, Text},
    value::Value,
};

impl Value {
    /// Appends Python's `str` of the value.
    ///
    /// # Errors
    /// When it costs too much.
    pub fn write(&self, out: &mut Builder) -> Result<(), Failure> {
        match self {
            Self::Undefined => Ok(()),
            Self::Text(text) => out.push_text(text),
            _ => self.write_repr(out),
        }
    }

    /// Appends Python's `repr` of the value.
    fn write_repr(&self, out: &mut Builder) -> Result<(), Failure> {
        let written = Origin::Template;
        match self {
            Self::Undefined => out.push("Undefined", written),
            Self::None => out.push("None", written),
            Self::Bool(b) => out.push(if *b { "True" } else { "False" }, written),
            Self::Int(i, origin) => out.push(&i.to_string(), *origin),
            Self::Float(f, origin) => out.push(&float_text(*f), *origin),
            Self::Text(text) => {
                let quotes = |c| text.as_str().contains(c);
                let quote = if quotes('\'') && !quotes('"') { '"' } else { '\'' };
                out.push_char(quote, written)?;
                for (c, origin) in text.chars() {
                    match c {
                        '\n' => out.push("\\n", origin)?,
                        '\r' => out.push("\\r", origin)?,
                        '\t' => out.push("\\t", origin)?,
                        '\\' => out.push("\\\\", origin)?,
                        _ if c == quote => {
                            out.push_char('\\', origin)?;
                            out.push_char(c, origin)?;
                        }
                        '\0'..='\x1f' | '\x7f' => out.push(&format!("\\x{:02x}", c as u32), origin)?,
                        _ => out.push_char(c, origin)?,
                    }
                }
                out.push_char(quote, written)
            }
            Self::List(list) => {
                out.push(if list.tuple { "(" } else { "[" }, written)?;
                for (i, item) in list.items.iter().enumerate() {
                    out.budget().steps(1)?;
                    out.push(if i > 0 { ", " } else { "" }, written)?;
                    item.write_repr(out)?;
                }
                let end = if list.tuple { if list.items.len() == 1 { ",)" } else { ")" } } else { "]" };
                out.push(end, written)
            }
            Self::Map(map) => {
                out.push("{", written)?;
                for (i, (key, value)) in map.entries.iter().enumerate() {
                    out.budget().steps(1)?;
                    out.push(if i > 0 { ", " } else { "" }, written)?;
                    key.write_repr(out)?;
                    out.push(": ", written)?;
                    value.write_repr(out)?;
                }
                out.push("}", written)
            }
            Self::Namespace(_) => out.push("<namespace>", written),
            Self::Loop(_) => out.push("<loop>", written),
            Self::Macro(_) | Self::Function(_) => out.push("<function>", written),
        }
    }

    /// Python's `str` of the value.
    ///
    /// # Errors
    /// When it costs too much.
    pub fn to_text(&self, budget: &Rc<Budget>) -> Result<Text, Failure> {
        if let Self::Text(text) = self {
            return Ok(text.clone());
        }
        let mut out = Builder::new(budget)?;
        self.write(&mut out)?;
        Ok(out.finish())
    }
}

/// Python's `repr` of a float.
pub(super) fn float_text(f: f64) -> String {
    let size = f.abs();
    if f.is_nan() {
        "nan".into()
    } else if f.is_infinite() {
        if f > 0.0 { "inf".into() } else { "-inf".into() }
    } else if size != 0.0 && !(1e-4..1e16).contains(&size) {
        let text = format!("{f:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        match exponent.strip_prefix('-') {
            Some(exponent) => format!("{mantissa}e-{exponent:0>2}"),
            None => format!("{mantissa}e+{exponent:0>2}"),
        }
    } else if f == f.trunc() {
        format!("{f:.1}")
    } else {
        f.to_string()
    }
}
