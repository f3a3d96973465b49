//! One error type with a stable code, and the name of what was wrong.

use alloc::string::String;
use core::fmt;

/// What went wrong, as a stable code for programs ([`ErrorKind::code`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The file does not begin like any container that is known.
    BadMagic,
    /// The data ends before what its header promises.
    Truncated,
    /// A header field has a value that no valid file has (a bad UTF-8 name, an overlapping tensor…).
    BadHeader,
    /// A length, count or shape is beyond what is accepted or addressable.
    TooLarge,
    /// A known container holds an encoding, version or type that is not supported.
    UnsupportedFormat,
    /// The architecture is unknown, or uses a feature that is not supported.
    UnsupportedArch,
    /// A metadata key is missing or has the wrong type.
    MissingKey,
    /// A tensor that the architecture needs is not in the file.
    MissingTensor,
    /// A tensor has another shape than the architecture needs.
    Shape,
    /// The data itself is invalid (a NaN scale, a code outside its range).
    BadData,
    /// The tokenizer of the model is missing or cannot be built.
    Tokenizer,
    /// The chat template is missing or failed.
    Template,
    /// An option or argument has a value that makes no sense.
    BadOption,
    /// Memory could not be reserved.
    OutOfMemory,
    /// No room is left in the context window.
    ContextFull,
    /// Reading the source of bytes failed.
    Source,
    /// A checksum does not match.
    Checksum,
    /// The caller asked to stop.
    Cancelled,
}

impl ErrorKind {
    /// Every kind, for the places that list them (documentation, generated types).
    pub const ALL: &'static [ErrorKind] = &[
        Self::BadMagic,
        Self::Truncated,
        Self::BadHeader,
        Self::TooLarge,
        Self::UnsupportedFormat,
        Self::UnsupportedArch,
        Self::MissingKey,
        Self::MissingTensor,
        Self::Shape,
        Self::BadData,
        Self::Tokenizer,
        Self::Template,
        Self::BadOption,
        Self::OutOfMemory,
        Self::ContextFull,
        Self::Source,
        Self::Checksum,
        Self::Cancelled,
    ];

    /// The stable code: kebab-case, never changed once released.
    pub const fn code(self) -> &'static str {
        match self {
            Self::BadMagic => "bad-magic",
            Self::Truncated => "truncated",
            Self::BadHeader => "bad-header",
            Self::TooLarge => "too-large",
            Self::UnsupportedFormat => "unsupported-format",
            Self::UnsupportedArch => "unsupported-arch",
            Self::MissingKey => "missing-key",
            Self::MissingTensor => "missing-tensor",
            Self::Shape => "shape",
            Self::BadData => "bad-data",
            Self::Tokenizer => "tokenizer",
            Self::Template => "template",
            Self::BadOption => "bad-option",
            Self::OutOfMemory => "out-of-memory",
            Self::ContextFull => "context-full",
            Self::Source => "source",
            Self::Checksum => "checksum",
            Self::Cancelled => "cancelled",
        }
    }
}

/// An error: its [`ErrorKind`] for programs, a detail that names the tensor, key or option for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What went wrong.
    pub kind: ErrorKind,
    /// Where and why, in words.
    pub detail: String,
}

/// `core::result::Result` with this crate's [`Error`].
pub type Result<T, E = Error> = core::result::Result<T, E>;

impl Error {
    /// The most bytes of a detail. It may quote a file, and a file may be hostile.
    pub const MAX_DETAIL: usize = 1000;

    /// An error of `kind` about `detail`; what is beyond [`Error::MAX_DETAIL`] is cut.
    pub fn new(kind: ErrorKind, detail: impl Into<String>) -> Self {
        let mut detail = detail.into();
        if detail.len() > Self::MAX_DETAIL {
            detail.truncate(detail.floor_char_boundary(Self::MAX_DETAIL - '…'.len_utf8()));
            detail.push('…');
        }
        Self { kind, detail }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.detail, self.kind.code())
    }
}

impl core::error::Error for Error {}

impl From<alloc::collections::TryReserveError> for Error {
    fn from(_: alloc::collections::TryReserveError) -> Self {
        Self::new(ErrorKind::OutOfMemory, "not enough memory")
    }
}

/// The beginning of a name that a file gives, short enough to leave room for what is wrong with it.
pub fn short(name: &str) -> &str {
    &name[..name.floor_char_boundary(100)]
}

/// Returns early with an [`Error`]: `bail!(Shape, "{name}: want {a}, got {b}")`.
#[macro_export]
macro_rules! bail {
    ($kind:ident, $($arg:tt)*) => {
        return Err($crate::Error::new($crate::ErrorKind::$kind, alloc::format!($($arg)*)))
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_are_bounded() {
        let error = Error::new(ErrorKind::Shape, "ä".repeat(100_000));
        assert!(error.detail.len() <= Error::MAX_DETAIL && error.detail.ends_with("ä…"));
        assert_eq!(short(&"ä".repeat(1000)), "ä".repeat(50));
        assert_eq!(Error::new(ErrorKind::Shape, short("name")).detail, "name");
    }
}
