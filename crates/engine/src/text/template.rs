//! Chat templates: messages → text, as `transformers` renders them with Jinja.
//!
//! The same environment as there (`trim_blocks`, `lstrip_blocks`, loop controls, `raise_exception`,
//! `strftime_now`, a `tojson` that does not escape for HTML, the methods of Python's strings and
//! dictionaries), except that a template runs on a limited amount of fuel and its text has a limit.
//! What lies between is not limited: a template that keeps doubling a variable takes memory until there
//! is none (natively the process ends, in a browser the worker, which the next load replaces), because
//! minijinja counts instructions and not bytes. A template is to be trusted as far as that.
//!
//! What a message says must not steer the model. Rendering joins messages and template into one text,
//! and that text must be tokenised as one (merges cross the borders), so the spelling of a control token
//! inside a message has to be told from one the template wrote. Before rendering, each such spelling in
//! a message, and each part of one at a message's end or beginning, gets a *mark*: a private-use
//! character that occurs nowhere in the input. Marks go through whatever the template does with the
//! text (trim, split, JSON…); afterwards they are taken out, and where they were no control token may
//! lie (`Control::Except` of `special`). Innocent text gets no mark and renders and
//! tokenises exactly as in `transformers`.

use minijinja::{
    Environment, Error as JinjaError, ErrorKind as JinjaErrorKind, State,
    syntax::SyntaxConfig,
    value::{Kwargs, Value as Jinja, ValueKind},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use ternlight_core::{Error, ErrorKind, Result};

/// Instructions a rendering may take: the longest of the well-known templates need some hundred for each
/// message, so this is enough for tens of thousands of messages and is over in about a second.
const FUEL: u64 = 20_000_000;
/// Templates are a few kilobytes; a megabyte is not one.
const MAX_SOURCE: usize = 1 << 20;
/// Bytes a rendering may have: some million tokens, more than any context holds.
const MAX_TEXT: usize = 16 << 20;

/// The template of BitNet b1.58 2B4T, for files of that model that lack it: the capitalised role, the
/// content, end of turn.
pub(crate) const BITNET: &str = "{% for message in messages %}{{ message['role'] | capitalize }}: \
     {{ message['content'] | trim }}<|eot_id|>{% endfor %}{% if add_generation_prompt %}Assistant: {% endif %}";

/// One message of a conversation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user`, `assistant`, `tool`, or what else the template knows.
    pub role: String,
    /// What was said.
    #[serde(default)]
    pub content: String,
    /// Further fields that the template may use (`tool_calls`, `name`, `reasoning_content`).
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl Message {
    /// A message with nothing but a role and a content.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: content.into(), more: Map::new() }
    }
}

/// How to render a conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ChatOptions {
    /// End with the opening of the assistant's turn.
    pub add_generation_prompt: bool,
    /// Further variables of the template (`tools`, `enable_thinking`, `documents`).
    pub vars: Map<String, Value>,
}

impl Default for ChatOptions {
    fn default() -> Self {
        Self { add_generation_prompt: true, vars: Map::new() }
    }
}

/// A chat template with the texts of the tokens it may print.
#[derive(Clone, Debug, Default)]
pub(crate) struct Template {
    pub source: String,
    pub bos: String,
    pub eos: String,
}

/// A rendered conversation.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rendered {
    pub text: String,
    /// Where marks were: offsets into `text` that no control token may span, ascending.
    pub cuts: Vec<usize>,
}

impl Template {
    /// Renders `messages`. `control` are the spellings of the control tokens; `now` is the time in seconds
    /// since 1970 for `strftime_now`.
    ///
    /// # Errors
    /// `template` when the template is invalid, raises an exception (its message is the detail), or runs
    /// out of fuel.
    pub fn render(
        &self,
        messages: &[Message],
        options: &ChatOptions,
        control: &[&str],
        now: Option<i64>,
    ) -> Result<Rendered> {
        if self.source.len() > MAX_SOURCE {
            return Err(Error::new(ErrorKind::Template, "chat template: longer than a megabyte"));
        }
        let messages = serde_json::to_value(messages).map_err(|e| failed(&e.to_string()))?;
        let mut vars = options.vars.clone();
        let mark = unused_mark(&self.source, &messages, &vars)
            .ok_or_else(|| failed("the messages use every private-use character"))?;
        let guard = Guard { control, mark };
        vars.insert("messages".into(), messages);
        vars.values_mut().for_each(|value| guard.value(value));
        vars.insert("add_generation_prompt".into(), options.add_generation_prompt.into());
        for (key, text) in [("bos_token", &self.bos), ("eos_token", &self.eos)] {
            vars.insert(key.into(), Value::String(text.clone()));
        }

        let source = without_generation_tags(&self.source);
        let mut env = environment()?;
        if let Some(now) = now {
            env.add_function("strftime_now", move |format: &str| strftime(format, now));
        }
        let template = env.template_from_str(&source).map_err(jinja)?;
        let context = vars.iter().map(|(key, value)| (key.as_str(), to_jinja(value)));
        let mut out = Bounded::default();
        let result = template.render_captured_to(Jinja::from_pairs(context), &mut out);
        if out.full {
            return Err(failed(&format!("it makes more than {MAX_TEXT} bytes of text")));
        }
        result.map_err(jinja)?;
        let marked = String::from_utf8(out.bytes).map_err(|e| failed(&e.to_string()))?;
        Ok(take_marks(&marked, mark))
    }
}

/// Takes up to [`MAX_TEXT`] bytes.
#[derive(Default)]
struct Bounded {
    bytes: Vec<u8>,
    full: bool,
}

impl std::io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.full |= self.bytes.len() + bytes.len() > MAX_TEXT;
        if self.full {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn environment() -> Result<Environment<'static>> {
    let mut env = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    env.set_syntax(syntax.map_err(jinja)?);
    env.set_fuel(Some(FUEL));
    env.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    env.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    env.add_filter("tojson", tojson);
    env.add_function("raise_exception", |message: String| -> Result<Jinja, JinjaError> {
        Err(JinjaError::new(JinjaErrorKind::InvalidOperation, message))
    });
    Ok(env)
}

/// Puts marks into strings.
struct Guard<'a> {
    control: &'a [&'a str],
    mark: char,
}

impl Guard<'_> {
    fn value(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                if let Some(marked) = self.text(text) {
                    *text = marked;
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.value(item)),
            Value::Object(map) => {
                let keys = map.keys().any(|key| self.text(key).is_some());
                map.values_mut().for_each(|item| self.value(item));
                if keys {
                    // Keys reach the text through `tojson` and loops.
                    *map = std::mem::take(map)
                        .into_iter()
                        .map(|(k, v)| (self.text(&k).unwrap_or(k), v))
                        .collect();
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// `text` with marks, or `None` where it needs none.
    fn text(&self, text: &str) -> Option<String> {
        let mut at = Vec::new();
        let trimmed = text.trim();
        let start = text.len() - text.trim_start().len();
        let end = start + trimmed.len();
        for token in self.control.iter().filter(|t| !t.is_empty()) {
            let first = token.chars().next().map_or(1, char::len_utf8);
            let single = first == token.len();
            // Spellings may overlap, so the search goes on one character later.
            let mut from = 0;
            while let Some(found) = text[from..].find(token).map(|found| from + found) {
                if single {
                    at.push(found);
                }
                at.push(found + first);
                from = found + first;
            }
            // A part of a spelling at an end could be completed by what the template puts beside it.
            for (cut, _) in token.char_indices().skip(1) {
                if trimmed.ends_with(&token[..cut]) {
                    at.push(end);
                }
                if text.ends_with(&token[..cut]) {
                    at.push(text.len());
                }
                if trimmed.starts_with(&token[cut..]) {
                    at.push(start);
                }
                if text.starts_with(&token[cut..]) {
                    at.push(0);
                }
            }
        }
        if at.is_empty() {
            return None;
        }
        at.sort_unstable();
        at.dedup();
        let mut out = String::with_capacity(text.len() + at.len() * self.mark.len_utf8());
        let mut done = 0;
        for at in at {
            out.push_str(&text[done..at]);
            out.push(self.mark);
            done = at;
        }
        out.push_str(&text[done..]);
        Some(out)
    }
}

/// A private-use character (planes 15 and 16) that is in none of the inputs.
fn unused_mark(source: &str, messages: &Value, vars: &Map<String, Value>) -> Option<char> {
    fn collect(value: &Value, used: &mut std::collections::HashSet<char>) {
        match value {
            Value::String(text) => used.extend(text.chars().filter(|&c| c >= '\u{f0000}')),
            Value::Array(items) => items.iter().for_each(|item| collect(item, used)),
            Value::Object(map) => map.iter().for_each(|(key, item)| {
                used.extend(key.chars().filter(|&c| c >= '\u{f0000}'));
                collect(item, used);
            }),
            _ => {}
        }
    }
    let mut used = std::collections::HashSet::new();
    used.extend(source.chars().filter(|&c| c >= '\u{f0000}'));
    collect(messages, &mut used);
    vars.iter().for_each(|(key, value)| {
        used.extend(key.chars().filter(|&c| c >= '\u{f0000}'));
        collect(value, &mut used);
    });
    ('\u{f0000}'..='\u{ffffd}').chain('\u{100000}'..='\u{10fffd}').find(|c| !used.contains(c))
}

fn take_marks(marked: &str, mark: char) -> Rendered {
    let mut rendered = Rendered { text: String::with_capacity(marked.len()), cuts: Vec::new() };
    for (i, part) in marked.split(mark).enumerate() {
        if i > 0 {
            rendered.cuts.push(rendered.text.len());
        }
        rendered.text.push_str(part);
    }
    rendered.cuts.dedup();
    rendered
}

/// `{% generation %}` only tells trainers which tokens are the assistant's. Replaced by a condition that
/// holds, so that the white space around it is treated alike.
fn without_generation_tags(source: &str) -> std::borrow::Cow<'_, str> {
    if !source.contains("generation") {
        return source.into();
    }
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(open) = rest.find("{%") {
        let Some(len) = rest[open..].find("%}") else { break };
        let inner = &rest[open + 2..open + len];
        let word = inner.trim_matches(['-', '+']).trim();
        let plain = match word {
            "generation" => Some("if true"),
            "endgeneration" => Some("endif"),
            _ => None,
        };
        out.push_str(&rest[..open + 2]);
        match plain {
            Some(plain) => out.push_str(&inner.replace(word, &format!(" {plain} "))),
            None => out.push_str(inner),
        }
        out.push_str("%}");
        rest = &rest[open + len + 2..];
    }
    out.push_str(rest);
    out.into()
}

fn to_jinja(value: &Value) -> Jinja {
    match value {
        Value::Null => Jinja::from(()),
        Value::Bool(b) => (*b).into(),
        Value::Number(n) => match (n.as_i64(), n.as_u64()) {
            (Some(i), _) => i.into(),
            (None, Some(u)) => u.into(),
            (None, None) => n.as_f64().unwrap_or(f64::NAN).into(),
        },
        Value::String(s) => s.as_str().into(),
        Value::Array(items) => Jinja::from(items.iter().map(to_jinja).collect::<Vec<_>>()),
        Value::Object(map) => Jinja::from_pairs(map.iter().map(|(k, v)| (k.as_str(), to_jinja(v)))),
    }
}

/// Python's `json.dumps(value, ensure_ascii=False, indent=indent)`.
fn tojson(
    _: &State<'_, '_>,
    value: &Jinja,
    indent: Option<Jinja>,
    args: Kwargs,
) -> Result<Jinja, JinjaError> {
    let indent = match indent {
        Some(indent) => Some(indent),
        None => args.get::<Option<Jinja>>("indent")?,
    };
    // Accepted and as `transformers` sets them.
    let _: Option<Jinja> = args.get("ensure_ascii")?;
    let _: Option<Jinja> = args.get("separators")?;
    let _: Option<Jinja> = args.get("sort_keys")?;
    args.assert_all_used()?;
    let indent = indent.filter(|i| !i.is_none() && !i.is_undefined()).map(usize::try_from).transpose()?;
    let mut out = String::new();
    dump(value, indent, 0, &mut out)?;
    Ok(out.into())
}

fn dump(value: &Jinja, indent: Option<usize>, depth: usize, out: &mut String) -> Result<(), JinjaError> {
    if depth > 100 {
        return Err(JinjaError::new(
            JinjaErrorKind::InvalidOperation,
            "the value is nested too deeply for JSON",
        ));
    }
    let line = |out: &mut String, depth: usize| {
        if let Some(indent) = indent {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent.min(64) * depth));
        }
    };
    let comma = if indent.is_some() { "," } else { ", " };
    match value.kind() {
        ValueKind::Map => {
            out.push('{');
            let mut any = false;
            for key in value.try_iter()? {
                out.push_str(if any { comma } else { "" });
                any = true;
                line(out, depth + 1);
                let text = key.as_str().map_or_else(|| key.to_string(), str::to_owned);
                out.push_str(&quoted(&text));
                out.push_str(": ");
                dump(&value.get_item(&key)?, indent, depth + 1, out)?;
            }
            if any {
                line(out, depth);
            }
            out.push('}');
        }
        ValueKind::Seq | ValueKind::Iterable => {
            out.push('[');
            let mut any = false;
            for item in value.try_iter()? {
                out.push_str(if any { comma } else { "" });
                any = true;
                line(out, depth + 1);
                dump(&item, indent, depth + 1, out)?;
            }
            if any {
                line(out, depth);
            }
            out.push(']');
        }
        ValueKind::String => out.push_str(&quoted(value.as_str().unwrap_or_default())),
        ValueKind::Number => out.push_str(&value.to_string()),
        ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
        ValueKind::None => out.push_str("null"),
        kind => {
            return Err(JinjaError::new(
                JinjaErrorKind::InvalidOperation,
                format!("a value of kind {kind} is not serialisable as JSON"),
            ));
        }
    }
    Ok(())
}

fn quoted(text: &str) -> String {
    // Cannot fail for a string, and escapes what Python escapes.
    serde_json::to_string(text).unwrap_or_default()
}

/// Python's `strftime` for the directives that templates use, in UTC.
fn strftime(format: &str, now: i64) -> Result<String, JinjaError> {
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    const DAYS: [&str; 7] = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];
    let (days, second) = (now.div_euclid(86_400), now.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let weekday = DAYS[days.rem_euclid(7) as usize];
    let month_name = MONTHS[month as usize - 1];
    let of_year = days - days_before(year) + 1;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let mut out = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let directive = chars.next();
        let piece = match directive {
            Some('Y') => format!("{year:04}"),
            Some('y') => format!("{:02}", year.rem_euclid(100)),
            Some('m') => format!("{month:02}"),
            Some('d') => format!("{day:02}"),
            Some('e') => format!("{day:2}"),
            Some('H') => format!("{hour:02}"),
            Some('I') => format!("{:02}", (hour + 11) % 12 + 1),
            Some('M') => format!("{minute:02}"),
            Some('S') => format!("{second:02}"),
            Some('p') => (if hour < 12 { "AM" } else { "PM" }).into(),
            Some('j') => format!("{of_year:03}"),
            Some('B') => month_name.into(),
            Some('b') => month_name[..3].into(),
            Some('A') => weekday.into(),
            Some('a') => weekday[..3].into(),
            Some('F') => format!("{year:04}-{month:02}-{day:02}"),
            Some('T') => format!("{hour:02}:{minute:02}:{second:02}"),
            Some('Z') => "UTC".into(),
            Some('z') => "+0000".into(),
            Some('%') => "%".into(),
            other => {
                let name = other.map_or_else(String::new, String::from);
                return Err(JinjaError::new(
                    JinjaErrorKind::InvalidOperation,
                    format!("strftime_now: the directive %{name} is not supported"),
                ));
            }
        };
        out.push_str(&piece);
    }
    Ok(out)
}

/// Days since 1970-01-01 of a year's first day (proleptic Gregorian).
fn days_before(year: i64) -> i64 {
    let y = year - 1;
    365 * (year - 1970) + (y.div_euclid(4) - 492) - (y.div_euclid(100) - 19) + (y.div_euclid(400) - 4)
}

/// Year, month and day of a day since 1970-01-01.
fn civil(days: i64) -> (i64, i64, i64) {
    let mut year = 1970 + days.div_euclid(366);
    while days >= days_before(year + 1) {
        year += 1;
    }
    let leap = year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0);
    let mut day = days - days_before(year);
    let lengths = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while day >= lengths[month] {
        day -= lengths[month];
        month += 1;
    }
    (year, month as i64 + 1, day + 1)
}

fn failed(detail: &str) -> Error {
    Error::new(ErrorKind::Template, format!("chat template: {detail}"))
}

fn jinja(error: JinjaError) -> Error {
    let line = error.line().map_or_else(String::new, |line| format!(" (line {line})"));
    failed(&match error.detail() {
        Some(detail) => format!("{detail}{line}"),
        None => format!("{}{line}", error.kind()),
    })
}

#[cfg(test)]
mod tests;
