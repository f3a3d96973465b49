//! Chat templates: messages → text, as `transformers` renders them with Jinja.
//!
//! The same environment as there (`trim_blocks`, `lstrip_blocks`, loop controls, `raise_exception`,
//! `strftime_now`, a `tojson` that does not escape for HTML, the methods of Python's strings and
//! dictionaries). `minijinja` parses; what it parsed is run here (`interpreter`), for two reasons:
//!
//! * *What a message says must not steer the model.* Rendering joins messages and template into one text, and
//!   that text must be tokenised as one (merges cross the borders), so the spelling of a control token inside a
//!   message has to be told from one the template wrote, whatever the template does to it. So every character
//!   carries its origin (`text`) through every filter, operator and method, and the rendering says which
//!   stretches the template did not write (`Rendered::said`): no control token may touch them.
//! * *A template is a program from a model file.* Every step and every byte is charged to a budget
//!   (`budget`), before it is spent.
//!
//! | module | what it does |
//! |---|---|
//! | `interpreter`, `expression` | statements, expressions |
//! | `operators`, `functions`, `filters`, `lists`, `methods`, `checks` | what they call |
//! | `value`, `text`, `arguments`, `budget` | what they compute with |
//! | `print`, `json`, `format`, `date` | ways to print |

mod arguments;
mod budget;
mod checks;
mod date;
mod expression;
mod filters;
mod format;
mod functions;
mod interpreter;
mod json;
mod lists;
mod methods;
mod operators;
mod print;
mod text;
mod value;

use std::ops::Range;

use minijinja::{
    machinery::{Token, parse, tokenize},
    syntax::SyntaxConfig,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use ternlight_core::{Error, ErrorKind, Result};

use budget::Budget;
use interpreter::Interpreter;
pub(crate) use text::Origin;
use text::Text;
use value::Value;

/// Templates are a few kilobytes; the longest known has thirty.
const MAX_SOURCE: usize = 256 << 10;
/// Bytes a rendering may have: some million tokens, more than any context holds.
const MAX_TEXT: usize = 16 << 20;
/// Operators in one tag, and `elif`s: the parser and what frees its work recurse over them.
const MAX_CHAIN: usize = 500;

/// Roles that a template may make part of a control token (`<|user|>`). Any other is text: who may choose
/// the role of a message is not always who may steer the model.
const ROLES: &[&str] = &[
    "system",
    "developer",
    "user",
    "assistant",
    "tool",
    "function",
    "ipython",
    "observation",
    "environment",
    "model",
    "context",
    "documents",
];

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
    pub more: Map<String, Json>,
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
    pub vars: Map<String, Json>,
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
    /// What the template did not write: byte ranges of `text`, ascending, and who did.
    pub said: Vec<(Range<usize>, Origin)>,
}

/// Why a template cannot be rendered.
#[derive(Debug)]
struct Failure {
    detail: String,
    line: Option<u16>,
}

impl Failure {
    /// With the line where it happened, unless one further inside is known.
    fn at(self, line: u16) -> Self {
        Self { line: self.line.or(Some(line)), ..self }
    }
}

fn failure(detail: String) -> Failure {
    Failure { detail, line: None }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let line = failure.line.map_or_else(String::new, |line| format!(" (line {line})"));
        Self::new(ErrorKind::Template, format!("chat template: {}{line}", failure.detail))
    }
}

impl From<minijinja::Error> for Failure {
    fn from(error: minijinja::Error) -> Self {
        let line = error.line().and_then(|line| u16::try_from(line).ok());
        Self { detail: error.detail().map_or_else(|| error.kind().to_string(), str::to_owned), line }
    }
}

impl Template {
    /// Renders `messages`; `now` is the time in seconds since 1970 for `strftime_now`.
    ///
    /// # Errors
    /// `template` when the template is invalid, raises an exception (its message is the detail), or costs more
    /// than a rendering may.
    pub fn render(&self, messages: &[Message], options: &ChatOptions, now: Option<i64>) -> Result<Rendered> {
        let mut variables = Vec::with_capacity(options.vars.len() + 4);
        let given = messages.iter().map(message).collect::<Result<Vec<_>, Failure>>()?;
        let budget = Budget::new();
        variables.push(("messages".to_owned(), Value::list(given, false, &budget)?));
        variables.push(("add_generation_prompt".to_owned(), Value::Bool(options.add_generation_prompt)));
        for (key, text) in [("bos_token", &self.bos), ("eos_token", &self.eos)] {
            variables.push((key.to_owned(), Value::Text(Text::given(text, Origin::Template))));
        }
        for (key, value) in &options.vars {
            variables.push((key.clone(), Value::given(value, Origin::Input)?));
        }

        let source = without_generation_tags(&self.source);
        let syntax = syntax()?;
        refuse_long_chains(&source, &syntax)?;
        let parsed = parse(&source, "chat template", syntax).map_err(Failure::from)?;
        let output = Interpreter::new(&budget, variables, now).run(&parsed)?;
        let (text, said) = output.finish_output();
        Ok(Rendered { text, said })
    }

    /// The texts that the template itself may print.
    pub fn literals(&self) -> Vec<String> {
        let source = without_generation_tags(&self.source);
        let mut literals = vec![self.bos.clone(), self.eos.clone()];
        let Ok(syntax) = syntax() else { return literals };
        if self.source.len() > MAX_SOURCE {
            return literals;
        }
        for token in tokenize(&source, false, syntax) {
            match token {
                Ok((Token::TemplateData(text) | Token::Str(text), _)) => literals.push(text.to_owned()),
                Ok((Token::String(text), _)) => literals.push(text.into()),
                Ok(_) => {}
                Err(_) => break,
            }
        }
        literals
    }
}

fn syntax() -> Result<SyntaxConfig, Failure> {
    Ok(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?)
}

fn message(message: &Message) -> Result<Value, Failure> {
    let origin = if message.role == "assistant" { Origin::Answer } else { Origin::Input };
    let known = ROLES.contains(&message.role.as_str());
    let role = Text::given(&message.role, if known { Origin::Template } else { Origin::Input });
    let field =
        |name: &str, text: Text| (Value::Text(Text::given(name, Origin::Template)), Value::Text(text));
    let mut entries = vec![field("role", role), field("content", Text::given(&message.content, origin))];
    for (key, value) in message.more.iter().filter(|(key, _)| !matches!(key.as_str(), "role" | "content")) {
        entries.push((Value::Text(Text::given(key, origin)), Value::given(value, origin)?));
    }
    Value::given_map(entries)
}

/// The library's parser recurses over operators and `elif`s without a limit.
fn refuse_long_chains(source: &str, syntax: &SyntaxConfig) -> Result<(), Failure> {
    if source.len() > MAX_SOURCE {
        return Err(failure(format!("longer than {MAX_SOURCE} bytes")));
    }
    let (mut operators, mut branches) = (0, 0);
    for token in tokenize(source, false, syntax.clone()) {
        let (token, span) = token?;
        match token {
            Token::VariableStart | Token::BlockStart => operators = 0,
            Token::Ident("elif") => branches += 1,
            Token::Ident("and" | "or" | "not" | "if" | "else" | "is" | "in")
            | Token::Plus
            | Token::Minus
            | Token::Mul
            | Token::Div
            | Token::FloorDiv
            | Token::Pow
            | Token::Mod
            | Token::Tilde
            | Token::Pipe
            | Token::Dot
            | Token::BracketOpen
            | Token::ParenOpen
            | Token::BraceOpen => operators += 1,
            _ => {}
        }
        if operators > MAX_CHAIN || branches > MAX_CHAIN {
            let detail = format!("more than {MAX_CHAIN} operators in a tag, or branches");
            return Err(failure(detail).at(span.start_line));
        }
    }
    Ok(())
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
        // `{%}` is no whole tag.
        let Some(len) = rest[open + 2..].find("%}") else { break };
        let inner = &rest[open + 2..open + 2 + len];
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
        rest = &rest[open + len + 4..];
    }
    out.push_str(rest);
    out.into()
}

#[cfg(test)]
mod attacks;
#[cfg(test)]
mod tests;
