//! The input line: editing, history, completion of commands, and what a line means.

use std::path::PathBuf;

use rustyline::{
    Completer, Config, Editor, Helper, Highlighter, Hinter, Validator,
    completion::Completer,
    error::ReadlineError,
    highlight::Highlighter,
    hint::Hinter,
    history::FileHistory,
    validate::{ValidationContext, ValidationResult, Validator},
};

use crate::{
    Result,
    console::DIM,
    failure::{Failure, IO},
};

/// What the commands do.
pub const HELP: &str = "\
/regen          answer the last message again
/reset          begin a new conversation, keep the system message
/system TEXT    set the system message; without TEXT remove it
/save FILE      write the conversation: Markdown, or JSON for .json
/help           this list
/quit           end; so does Ctrl-D
A line that ends with \\ goes on in the next. Ctrl-C stops an answer.";

/// A command of the chat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "HELP says what they do")]
pub enum Command {
    Help,
    Quit,
    Reset,
    System,
    Save,
    Regen,
}

const COMMANDS: &[(&str, Command)] = &[
    ("help", Command::Help),
    ("quit", Command::Quit),
    ("exit", Command::Quit),
    ("reset", Command::Reset),
    ("system", Command::System),
    ("save", Command::Save),
    ("regen", Command::Regen),
];

/// What a line means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A message for the model.
    Message(String),
    /// A command with its argument.
    Command(Command, String),
    /// An unknown command.
    Unknown(String),
    /// An empty line, or Ctrl-C on one.
    Nothing,
    /// Ctrl-D.
    End,
}

impl Entry {
    fn read(line: &str) -> Self {
        let text = line.trim();
        if text.is_empty() {
            return Self::Nothing;
        }
        let Some(rest) = text.strip_prefix('/') else {
            return Self::Message(text.replace("\\\n", "\n"));
        };
        let (name, argument) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        // A path or a comment is a message, not a mistyped command.
        if !name.chars().all(|c| c.is_ascii_lowercase()) {
            return Self::Message(text.to_owned());
        }
        match COMMANDS.iter().find(|(known, _)| *known == name) {
            Some((_, command)) => Self::Command(*command, argument.trim().to_owned()),
            None => Self::Unknown(name.to_owned()),
        }
    }
}

/// Completes commands and continues a line that ends with a backslash.
#[derive(Completer, Helper, Highlighter, Hinter, Validator)]
struct Assistant {
    #[rustyline(Completer)]
    commands: Commands,
    #[rustyline(Validator)]
    validator: Continued,
    #[rustyline(Hinter)]
    hinter: Commands,
    #[rustyline(Highlighter)]
    highlighter: Commands,
}

struct Continued;

impl Validator for Continued {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let open = context.input().ends_with('\\');
        Ok(if open { ValidationResult::Incomplete } else { ValidationResult::Valid(None) })
    }
}

#[derive(Clone, Copy)]
struct Commands;

fn matching(line: &str) -> impl Iterator<Item = &'static str> {
    let typed = line.strip_prefix('/').filter(|name| !name.contains(' ')).map(str::to_owned);
    COMMANDS.iter().map(|(name, _)| *name).filter(move |name| {
        typed.as_ref().is_some_and(|typed| name.starts_with(typed.as_str()) && name.len() > typed.len())
    })
}

impl Completer for Commands {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        at: usize,
        _: &rustyline::Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let candidates = matching(line).filter(|_| at == line.len());
        Ok((0, candidates.map(|name| format!("/{name} ")).collect()))
    }
}

impl Hinter for Commands {
    type Hint = String;

    fn hint(&self, line: &str, at: usize, _: &rustyline::Context<'_>) -> Option<String> {
        if at < line.len() || line.len() < 2 {
            return None;
        }
        matching(line).next().map(|name| name[line.len() - 1..].to_owned())
    }
}

impl Highlighter for Commands {
    fn highlight_hint<'h>(&self, hint: &'h str) -> std::borrow::Cow<'h, str> {
        format!("{DIM}{hint}{DIM:#}").into()
    }
}

/// Reads entries and stores the history in a file.
pub struct Lines {
    editor: Option<Editor<Assistant, FileHistory>>,
    history: Option<PathBuf>,
    interrupted: bool,
}

impl Lines {
    /// With the history of earlier chats, where it can be read.
    pub fn new() -> Self {
        let config = Config::builder().history_ignore_space(true).max_history_size(1000);
        let config = config.map(|c| c.auto_add_history(false).build()).unwrap_or_default();
        let mut editor = Editor::with_config(config).ok();
        let history = directories::ProjectDirs::from("", "", "ternlight")
            .map(|dirs| dirs.state_dir().unwrap_or(dirs.data_dir()).join("history.txt"));
        if let Some(editor) = &mut editor {
            editor.set_helper(Some(Assistant {
                commands: Commands,
                validator: Continued,
                hinter: Commands,
                highlighter: Commands,
            }));
            if let Some(path) = &history {
                let _ = editor.load_history(path);
            }
        }
        Self { editor, history, interrupted: false }
    }

    /// The next entry.
    ///
    /// # Errors
    /// `io`.
    pub fn next(&mut self) -> Result<Entry> {
        let Some(editor) = &mut self.editor else {
            return Err(Failure::new(IO, "this terminal cannot be read"));
        };
        match editor.readline("› ") {
            Ok(line) => {
                self.interrupted = false;
                if !line.trim().is_empty() {
                    let _ = editor.add_history_entry(&line);
                    self.save();
                }
                Ok(Entry::read(&line))
            }
            Err(ReadlineError::Interrupted) => {
                if !self.interrupted {
                    crate::tell!("{DIM}Ctrl-D or /quit ends the chat{DIM:#}");
                }
                self.interrupted = true;
                Ok(Entry::Nothing)
            }
            Err(ReadlineError::Eof) => Ok(Entry::End),
            Err(error) => Err(Failure::new(IO, format!("the terminal: {error}"))),
        }
    }

    /// Saves the history after each line, since closing the window ends the program. Failing to write it is
    /// no reason to end the chat.
    fn save(&mut self) {
        if let (Some(editor), Some(path)) = (&mut self.editor, &self.history) {
            if let Some(folder) = path.parent() {
                let _ = std::fs::create_dir_all(folder);
            }
            let _ = editor.save_history(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_mean() {
        assert_eq!(Entry::read("  "), Entry::Nothing);
        assert_eq!(Entry::read(" hi there "), Entry::Message("hi there".into()));
        assert_eq!(Entry::read("a\\\nb"), Entry::Message("a\nb".into()));
        assert_eq!(Entry::read("/regen"), Entry::Command(Command::Regen, String::new()));
        assert_eq!(Entry::read("/system Be  kind. "), Entry::Command(Command::System, "Be  kind.".into()));
        assert_eq!(Entry::read("/regenerate"), Entry::Unknown("regenerate".into()));
        assert_eq!(Entry::read("/usr/bin is a folder"), Entry::Message("/usr/bin is a folder".into()));
    }

    #[test]
    fn commands_complete() {
        assert_eq!(matching("/re").collect::<Vec<_>>(), ["reset", "regen"]);
        assert_eq!(matching("/save f").count(), 0);
        assert_eq!(matching("save").count(), 0);
    }
}
