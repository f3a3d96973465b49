//! Why a command failed: a stable code for programs, a message and a hint for people.
//!
//! Invariant: codes are those of [`ternlight_core::ErrorKind`], plus the few in this file that only
//! occur in a command line.

use std::{fmt, io, path::Path, process::ExitCode};

use ternlight_core::{Error, ErrorKind};

/// A failed command.
#[derive(Clone, Debug)]
pub struct Failure {
    code: &'static str,
    message: String,
    hint: Option<String>,
}

/// The disk is full, or a quota or file-size limit is reached.
pub const NO_SPACE: &str = "no-space";
/// A file cannot be read or written.
pub const IO: &str = "io";
/// Another process works on the same file.
pub const BUSY: &str = "busy";
/// The server or the connection to it failed.
pub const NETWORK: &str = "network";
/// The server has no such file.
pub const NOT_FOUND: &str = "not-found";
/// Arguments that exclude each other, or make no sense together.
pub const USAGE: &str = "usage";

impl Failure {
    /// A failure with one of this file's codes.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None }
    }

    /// A failure with one of the core's codes.
    pub fn kind(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self::new(kind.code(), message)
    }

    /// The caller pressed Ctrl-C.
    pub fn interrupted() -> Self {
        Self::kind(ErrorKind::Cancelled, "interrupted")
    }

    /// A failed file operation on `path`.
    pub fn io(path: &Path, error: &io::Error) -> Self {
        use io::ErrorKind as K;
        let code = match error.kind() {
            K::StorageFull | K::QuotaExceeded | K::FileTooLarge => NO_SPACE,
            _ => IO,
        };
        Self::new(code, format!("{}: {error}", path.display()))
    }

    /// Adds what to do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Prefixes the message with where it happened.
    pub fn within(mut self, place: impl fmt::Display) -> Self {
        self.message = format!("{place}: {}", self.message);
        self
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// What happened, in words.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to do about it, if that is known.
    pub fn advice(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// See the head of `main.rs`.
    pub fn exit_code(&self) -> ExitCode {
        if self.code == ErrorKind::Cancelled.code() {
            ExitCode::from(130)
        } else if self.code == USAGE {
            ExitCode::from(2)
        } else {
            ExitCode::FAILURE
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let hint = match error.kind {
            ErrorKind::BadMagic => {
                Some("ternlight reads GGUF files and Hugging Face folders with safetensors.")
            }
            ErrorKind::Truncated => Some("the download may be incomplete: fetch it again."),
            ErrorKind::OutOfMemory => Some("close other programs, or take a smaller model or --context."),
            ErrorKind::ContextFull => Some("give a larger --context, or start anew."),
            ErrorKind::Template => Some("--raw sends the prompt without a chat template."),
            _ => None,
        };
        Self { code: error.kind.code(), message: error.detail, hint: hint.map(Into::into) }
    }
}
