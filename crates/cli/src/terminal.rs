//! The one way to a terminal.
//!
//! Names, metadata and errors come from files and servers, and a terminal obeys what it is sent: escape
//! sequences write to the clipboard, change the title, move the cursor over what was printed. So nothing is
//! printed but through `say!`, `tell!` and [`stream`], which show control characters as what they are
//! (`\u{1b}`); `clippy.toml` forbids the macros of the standard library. Only a [`Style`] reaches the terminal as
//! it is: it says so while it writes itself, and no other text can.

use std::{
    cell::Cell,
    fmt::{self, Write as _},
    io::{IsTerminal, Write},
};

use anstyle::{AnsiColor, Style as Ansi};

/// Colours and weights.
#[derive(Clone, Copy)]
pub struct Style(Ansi);

impl Style {
    /// A bold one.
    pub const fn bold() -> Self {
        Self(Ansi::new().bold())
    }

    /// A dimmed one.
    pub const fn dimmed() -> Self {
        Self(Ansi::new().dimmed())
    }

    /// A bold colour.
    pub const fn colour(colour: AnsiColor) -> Self {
        Self(colour.on_default().bold())
    }
}

thread_local! {
    /// Whether a [`Style`] is writing itself.
    static STYLE: Cell<bool> = const { Cell::new(false) };
}

impl fmt::Display for Style {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        STYLE.set(true);
        let result = self.0.fmt(f);
        STYLE.set(false);
        result
    }
}

/// Whether a terminal would obey a character, or show what follows it in another order.
fn acts(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

/// Escapes what is written through it, except for styles and what `keep` lets pass.
struct Escaped<'a> {
    out: &'a mut String,
    keep: fn(char) -> bool,
}

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if STYLE.get() {
            self.out.push_str(text);
            return Ok(());
        }
        for c in text.chars() {
            if acts(c) && !(self.keep)(c) {
                self.out.extend(c.escape_unicode());
            } else {
                self.out.push(c);
            }
        }
        Ok(())
    }
}

fn escaped(text: fmt::Arguments<'_>, keep: fn(char) -> bool) -> String {
    let mut out = String::new();
    // Writing to a string fails only where a `Display` fails of its own accord.
    let _ = Escaped { out: &mut out, keep }.write_fmt(text);
    out
}

/// A text of one line.
pub fn line(text: fmt::Arguments<'_>) -> String {
    escaped(text, |_| false)
}

/// One line on stdout. A closed pipe ends the program quietly.
pub fn say(text: fmt::Arguments<'_>) {
    let text = line(text);
    if writeln!(anstream::stdout(), "{text}").is_err() {
        std::process::exit(1);
    }
}

/// One line on stderr.
pub fn tell(text: fmt::Arguments<'_>) {
    let text = line(text);
    let _ = writeln!(anstream::stderr(), "{text}");
}

/// What a model says, as it comes, without waiting for a line's end. A terminal gets of its control characters
/// only ends of lines and tabs; a file or a pipe gets all as it is.
pub fn stream(text: &str) {
    let mut out = std::io::stdout().lock();
    let shown;
    let bytes = if out.is_terminal() {
        shown = said(text);
        shown.as_bytes()
    } else {
        text.as_bytes()
    };
    if out.write_all(bytes).and_then(|()| out.flush()).is_err() {
        std::process::exit(1);
    }
}

/// What a terminal gets of a model's words.
fn said(text: &str) -> String {
    escaped(format_args!("{text}"), |c| matches!(c, '\n' | '\t'))
}

/// The mark before an answer, where a person reads it.
pub fn prompt(style: Style, mark: &str) {
    if std::io::stdout().is_terminal() {
        let text = line(format_args!("{style}{mark}{style:#} "));
        let mut out = anstream::stdout();
        let _ = write!(out, "{text}").and_then(|()| out.flush());
    }
}

/// JSON whose strings hold no character that acts: they are escaped, which JSON may, so it means the same.
pub fn json(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        // White space between values is the only control character that the serialiser leaves.
        if acts(c) && c != '\n' {
            out.push_str(&format!("\\u{:04x}", c as u32));
        } else {
            out.push(c);
        }
    }
    out
}

/// A JSON document on stdout.
pub fn json_result(text: &str) {
    if writeln!(std::io::stdout(), "{}", json(text)).is_err() {
        std::process::exit(1);
    }
}

/// Prints one line to stdout, formatted as by `println!`.
#[macro_export]
macro_rules! say {
    ($($text:tt)*) => { $crate::terminal::say(format_args!($($text)*)) };
}

/// Prints one line to stderr, formatted as by `eprintln!`.
#[macro_export]
macro_rules! tell {
    ($($text:tt)*) => { $crate::terminal::tell(format_args!($($text)*)) };
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVIL: &str = "a\u{1b}]52;c;ZXZpbA==\u{7}\u{9b}2J\u{202e}b\r\n\tc\u{2066}\u{7f}\0é";

    #[test]
    fn nothing_acts_but_styles() {
        let bold = Style::bold();
        let got = line(format_args!("{bold}{EVIL}{bold:#} {:>3}", "x"));
        assert!(got.starts_with("\u{1b}[1ma\\u{1b}]52;c;"), "{got:?}");
        assert!(got.ends_with("é\u{1b}[0m   x"), "{got:?}");
        assert_eq!(got.matches('\u{1b}').count(), 2, "{got:?}");
        assert_eq!(got.chars().filter(|&c| acts(c) && c != '\u{1b}').count(), 0, "{got:?}");
        // A style that went through a text of its own is text.
        let text = bold.to_string();
        assert!(!line(format_args!("{text}")).contains('\u{1b}'));
    }

    #[test]
    fn a_model_may_end_lines() {
        let got = said(EVIL);
        assert_eq!(got.chars().filter(|&c| acts(c)).collect::<String>(), "\n\t");
        assert_eq!(said("é 日本\n"), "é 日本\n");
    }

    #[test]
    fn json_means_the_same() {
        let value = serde_json::json!({ EVIL: [EVIL] });
        let text = json(&serde_json::to_string_pretty(&value).unwrap());
        assert_eq!(text.chars().filter(|&c| acts(c) && c != '\n').count(), 0, "{text:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }
}
