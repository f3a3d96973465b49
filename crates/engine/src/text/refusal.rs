//! Errors of tokenizers: what a file says is quoted in short.

use ternlight_core::{Error, ErrorKind};

pub(crate) fn bad(mut detail: String) -> Error {
    // Messages of the parsers below may quote a whole file.
    if let Some((end, _)) = detail.char_indices().nth(300) {
        detail.truncate(end);
        detail.push('…');
    }
    Error::new(ErrorKind::Tokenizer, format!("tokenizer: {detail}"))
}

/// A token for a message: quoted, escaped, and not longer than a line.
pub(crate) fn short(token: &str) -> String {
    let mut text: String = token.chars().take(40).flat_map(char::escape_debug).collect();
    if token.chars().nth(40).is_some() {
        text.push('…');
    }
    format!("\"{text}\"")
}
