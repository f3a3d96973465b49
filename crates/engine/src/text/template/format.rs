//! Python's two ways to format: `'%s' % x` and `'{}'.format(x)`.

use std::{borrow::Cow, rc::Rc};

use super::{
    Budget, Failure, failure, functions,
    text::{Builder, Origin, Text},
    value::Value,
};

/// Digits after the point; more than a double has.
const MAX_PRECISION: usize = 400;

/// How one value is written.
struct Spec {
    fill: char,
    align: Option<char>,
    sign: Option<char>,
    alternate: bool,
    width: usize,
    precision: Option<usize>,
    conversion: char,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            fill: ' ',
            align: None,
            sign: None,
            alternate: false,
            width: 0,
            precision: None,
            conversion: 's',
        }
    }
}

/// The number at the beginning of `rest`, which loses it.
fn number(rest: &mut &str) -> Option<usize> {
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (number, after) = rest.split_at(digits);
    *rest = after;
    // What does not fit is as large as can be, and its cost will be refused.
    (digits > 0).then(|| number.parse().unwrap_or(usize::MAX))
}

fn next(rest: &mut &str) -> Option<char> {
    let mut chars = rest.chars();
    let c = chars.next();
    *rest = chars.as_str();
    c
}

/// `pattern % values`
pub(super) fn percent(pattern: &Text, values: &Value, budget: &Rc<Budget>) -> Result<Text, Failure> {
    let list = match values {
        Value::List(list) if list.tuple => list.items.clone(),
        other => vec![other.clone()],
    };
    let mut values_left = list.into_iter();
    let mut out = Builder::new(budget)?;
    let mut rest = pattern.as_str();
    while let Some(at) = rest.find('%') {
        budget.steps(2)?;
        out.push_text(&pattern.part(&rest[..at]))?;
        rest = &rest[at + 1..];
        let mut named = None;
        if let Some(after) = rest.strip_prefix('(') {
            let (name, after) = after.split_once(')').ok_or_else(|| failure("a %( has no )".into()))?;
            named = Some(name);
            rest = after;
        }
        let mut spec = Spec::default();
        while let Some(flag) = rest.chars().next().filter(|c| "-0+ #".contains(*c)) {
            match flag {
                '-' => spec.align = Some('<'),
                '0' if spec.align.is_none() => (spec.fill, spec.align) = ('0', Some('=')),
                '+' | ' ' => spec.sign = Some(flag),
                '#' => spec.alternate = true,
                _ => {}
            }
            next(&mut rest);
        }
        spec.width = number(&mut rest).unwrap_or(0);
        if let Some(after) = rest.strip_prefix('.') {
            rest = after;
            spec.precision = Some(number(&mut rest).unwrap_or(0));
        }
        spec.conversion = next(&mut rest).ok_or_else(|| failure("a format ends after %".into()))?;
        if spec.conversion == '%' {
            out.push("%", Origin::Template)?;
            continue;
        }
        let value = match named {
            Some(name) => functions::attribute(values, name, budget)?,
            None => values_left.next().ok_or_else(|| failure("a format has too few values".into()))?,
        };
        spec.align = spec.align.or(Some('>'));
        write(&value, &spec, &mut out)?;
    }
    out.push_text(&pattern.part(rest))?;
    // What has items may be there for names that the pattern does not use.
    let may_be_unused = match values {
        Value::List(list) => !list.tuple,
        other => matches!(other, Value::Map(_) | Value::Undefined),
    };
    if values_left.next().is_some() && !may_be_unused {
        return Err(failure("a format has too many values".into()));
    }
    Ok(out.finish())
}

/// `pattern.format(…)`
pub(super) fn braces(
    pattern: &Text,
    positional: &[Value],
    named: &[(Cow<'_, str>, Value)],
    budget: &Rc<Budget>,
) -> Result<Text, Failure> {
    let mut out = Builder::new(budget)?;
    let (mut rest, mut automatic) = (pattern.as_str(), 0);
    while let Some(at) = rest.find(['{', '}']) {
        budget.steps(2)?;
        let brace = &rest[at..=at];
        out.push_text(&pattern.part(&rest[..at]))?;
        rest = &rest[at + 1..];
        if rest.starts_with(brace) {
            out.push_text(&pattern.part(&rest[..1]))?;
            rest = &rest[1..];
            continue;
        }
        let (field, after) = match rest.split_once('}') {
            Some(parts) if brace == "{" => parts,
            _ => return Err(failure("a format has a single brace".into())),
        };
        rest = after;
        let (name, spec) = field.split_once(':').unwrap_or((field, ""));
        let (name, repr) = name.strip_suffix("!r").map_or((name, false), |name| (name, true));
        let mut path = name.strip_suffix("!s").unwrap_or(name).split('.');
        let first = path.next().unwrap_or_default();
        let value = if first.is_empty() {
            automatic += 1;
            positional.get(automatic - 1)
        } else if let Ok(index) = first.parse::<usize>() {
            positional.get(index)
        } else {
            named.iter().find(|(known, _)| known == first).map(|(_, value)| value)
        };
        let value = value.cloned().ok_or_else(|| failure(format!("a format has no value for {{{name}}}")))?;
        let mut value = path.try_fold(value, |value, name| functions::attribute(&value, name, budget))?;
        if repr {
            // A list of one shows what is in it as its `repr`.
            let list = Value::list(vec![value], false, budget)?.to_text(budget)?;
            value = Value::Text(list.slice(1..list.as_str().len() - 1));
        }
        write(&value, &brace_spec(spec, &value)?, &mut out)?;
    }
    out.push_text(&pattern.part(rest))?;
    Ok(out.finish())
}

/// `[[fill]align][sign][#][0][width][.precision][type]`
fn brace_spec(text: &str, value: &Value) -> Result<Spec, Failure> {
    let (mut rest, mut spec) = (text, Spec::default());
    let mut chars = text.chars();
    let is_align = |c: Option<char>| c.filter(|c| "<>^=".contains(*c));
    match (chars.next(), is_align(chars.next())) {
        (Some(fill), Some(align)) => {
            (spec.fill, spec.align) = (fill, Some(align));
            rest = chars.as_str();
        }
        (first, _) if is_align(first).is_some() => {
            spec.align = first;
            next(&mut rest);
        }
        _ => {}
    }
    if let Some(sign) = rest.chars().next().filter(|c| "+- ".contains(*c)) {
        spec.sign = Some(sign).filter(|&s| s != '-');
        next(&mut rest);
    }
    if let Some(after) = rest.strip_prefix('#') {
        (spec.alternate, rest) = (true, after);
    }
    if rest.starts_with('0') && spec.align.is_none() {
        (spec.fill, spec.align) = ('0', Some('='));
    }
    spec.width = number(&mut rest).unwrap_or(0);
    if let Some(after) = rest.strip_prefix('.') {
        rest = after;
        spec.precision = Some(number(&mut rest).unwrap_or(0));
    }
    let default = match value {
        Value::Float(..) if spec.precision.is_some() => 'g',
        _ => 's',
    };
    spec.conversion = next(&mut rest).unwrap_or(default);
    let numeric = matches!(value, Value::Int(..) | Value::Float(..));
    spec.align = spec.align.or(Some(if numeric { '>' } else { '<' }));
    if rest.is_empty() { Ok(spec) } else { Err(failure(format!("the format {text} is not supported"))) }
}

fn write(value: &Value, spec: &Spec, out: &mut Builder) -> Result<(), Failure> {
    let budget = Rc::clone(out.budget());
    let text = converted(value, spec, &budget)?;
    let s = text.as_str();
    let missing = spec.width.saturating_sub(s.chars().count());
    let signed = usize::from(spec.align == Some('=') && s.starts_with(['+', '-', ' ']));
    let left = match spec.align {
        Some('<') => 0,
        Some('^') => missing / 2,
        _ => missing,
    };
    out.push_text(&text.slice(0..signed))?;
    out.fill(spec.fill, left)?;
    out.push_text(&text.slice(signed..s.len()))?;
    out.fill(spec.fill, missing - left)
}

/// The value as text, without padding.
fn converted(value: &Value, spec: &Spec, budget: &Rc<Budget>) -> Result<Text, Failure> {
    let sign = |negative: bool| match spec.sign {
        _ if negative => "-",
        Some('+') => "+",
        Some(_) => " ",
        None => "",
    };
    let wrong = || failure(format!("{} cannot be formatted as %{}", value.kind(), spec.conversion));
    let made = |text: String| Text::new(&text, value.origin(), budget);
    match spec.conversion {
        's' if spec.sign.is_none() || value.float().is_none() => {
            let text = value.to_text(budget)?;
            let end = spec.precision.and_then(|p| text.as_str().char_indices().nth(p)).map(|(at, _)| at);
            Ok(text.slice(0..end.unwrap_or(text.as_str().len())))
        }
        'r' => {
            let list = Value::list(vec![value.clone()], false, budget)?.to_text(budget)?;
            Ok(list.slice(1..list.as_str().len() - 1))
        }
        'c' => match value {
            Value::Text(text) if text.as_str().chars().nth(1).is_none() => Ok(text.clone()),
            _ => {
                let c = value.int().and_then(|i| u32::try_from(i).ok()).and_then(char::from_u32);
                made(c.ok_or_else(wrong)?.to_string())
            }
        },
        's' | 'd' | 'i' | 'u' | 'x' | 'X' | 'o' | 'b' => {
            let int = match value {
                Value::Float(f, _) if spec.conversion != 's' => Some(*f as i128),
                Value::Float(..) => {
                    return made(format!(
                        "{}{}",
                        sign(false),
                        super::print::float_text(value.float().unwrap_or(0.0))
                    ));
                }
                _ => value.int(),
            };
            let int = int.ok_or_else(wrong)?;
            let size = int.unsigned_abs();
            let (prefix, digits) = match spec.conversion {
                'x' => ("0x", format!("{size:x}")),
                'X' => ("0X", format!("{size:X}")),
                'o' => ("0o", format!("{size:o}")),
                'b' => ("0b", format!("{size:b}")),
                _ => ("", size.to_string()),
            };
            let zeros = spec.precision.unwrap_or(0).min(MAX_PRECISION).saturating_sub(digits.len());
            let prefix = if spec.alternate { prefix } else { "" };
            made(format!("{}{prefix}{}{digits}", sign(int < 0), "0".repeat(zeros)))
        }
        'f' | 'F' | 'e' | 'E' | 'g' | 'G' | '%' => {
            let float = value.float().ok_or_else(wrong)?;
            let precision = spec.precision.unwrap_or(6).min(MAX_PRECISION);
            let size = float.abs();
            let text = match spec.conversion {
                _ if !float.is_finite() => super::print::float_text(size),
                'f' | 'F' => format!("{size:.precision$}"),
                '%' => format!("{:.precision$}%", size * 100.0),
                'e' | 'E' => exponent(size, precision),
                _ => general(size, precision.max(1), spec.alternate),
            };
            let text = if spec.conversion.is_ascii_uppercase() { text.to_uppercase() } else { text };
            made(format!("{}{text}", sign(float.is_sign_negative() && !float.is_nan())))
        }
        other => Err(failure(format!("the format %{other} is not supported"))),
    }
}

/// `1.5e+07`
fn exponent(size: f64, precision: usize) -> String {
    let text = format!("{size:.precision$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
    format!("{mantissa}e{sign}{digits:0>2}")
}

/// The shorter of the two other forms, with so many significant digits.
fn general(size: f64, precision: usize, keep_zeros: bool) -> String {
    let scientific = exponent(size, precision - 1);
    let power: i32 = scientific.split_once('e').and_then(|(_, e)| e.parse().ok()).unwrap_or(0);
    let fixed = power >= -4 && power < precision as i32;
    let text =
        if fixed { format!("{size:.*}", (precision as i32 - 1 - power).max(0) as usize) } else { scientific };
    if keep_zeros {
        return text;
    }
    let (mantissa, tail) = text.split_once('e').map_or((text.as_str(), None), |(m, t)| (m, Some(t)));
    let mantissa =
        if mantissa.contains('.') { mantissa.trim_end_matches('0').trim_end_matches('.') } else { mantissa };
    tail.map_or_else(|| mantissa.to_owned(), |tail| format!("{mantissa}e{tail}"))
}
