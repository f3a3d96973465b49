//! Tokens back into text, one at a time.
//!
//! A token is bytes, not characters: an emoji may take four tokens. Invariant: what [`Utf8`] has
//! returned so far is always the beginning of the final text; bytes that may still become a character
//! are held back, bytes that cannot are U+FFFD (as `String::from_utf8_lossy` has it).

/// Bytes → text, holding back an unfinished character.
#[derive(Clone, Debug, Default)]
pub(crate) struct Utf8 {
    held: Vec<u8>,
}

impl Utf8 {
    /// Adds bytes; appends to `out` the text that is now certain.
    pub fn push(&mut self, bytes: &[u8], out: &mut String) {
        self.held.extend_from_slice(bytes);
        let mut rest = &self.held[..];
        loop {
            match std::str::from_utf8(rest) {
                Ok(text) => {
                    out.push_str(text);
                    rest = &[];
                }
                Err(error) => {
                    let (good, bad) = rest.split_at(error.valid_up_to());
                    out.push_str(std::str::from_utf8(good).unwrap_or_default());
                    rest = bad;
                    if let Some(len) = error.error_len() {
                        out.push('\u{fffd}');
                        rest = &bad[len..];
                        continue;
                    }
                }
            }
            break;
        }
        let keep = rest.len();
        self.held.drain(..self.held.len() - keep);
    }

    /// Ends the text: what was held back will not become a character any more.
    pub fn finish(&mut self, out: &mut String) {
        if !self.held.is_empty() {
            out.push('\u{fffd}');
            self.held.clear();
        }
    }
}

/// Tokens → text, with the white space rule of the tokenizer. Made by
/// [`Tokenizer::decoder`](super::Tokenizer::decoder).
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    pub(super) utf8: Utf8,
    /// The next token opens a text: drop the one space that encoding put before it.
    pub(super) opens: bool,
    /// Whether control tokens appear in the text.
    pub(super) show_control: bool,
}

impl Decoder {
    /// Appends to `out` what `token` makes certain. Unknown ids give nothing.
    pub fn push(&mut self, tokenizer: &super::Tokenizer, token: u32, out: &mut String) {
        let bytes = tokenizer.token_bytes(token);
        if tokenizer.is_control(token) {
            // Nothing continues a character across a control token.
            self.utf8.finish(out);
            if self.show_control {
                self.utf8.push(bytes, out);
            }
            self.opens = tokenizer.strips_leading_space();
            return;
        }
        let bytes = if self.opens { bytes.strip_prefix(b" ").unwrap_or(bytes) } else { bytes };
        self.opens = false;
        self.utf8.push(bytes, out);
    }

    /// Appends what remains: an unfinished character becomes U+FFFD.
    pub fn finish(&mut self, out: &mut String) {
        self.utf8.finish(out);
    }
}

#[cfg(test)]
mod tests {
    use super::Utf8;

    /// Every way to cut these bytes in two, and byte by byte, gives `from_utf8_lossy`, and no prefix
    /// is ever taken back.
    #[test]
    fn any_cut_gives_the_lossy_text() {
        let cases: &[&[u8]] = &[
            "aé🦙\u{200d}日".as_bytes(),
            b"\xff\xfea\xf0\x9f\xa6",
            b"\xe2\x82\x28\xf0\x28\x8c\xbc\xc0\xaf",
            b"\xed\xa0\x80\xf4\x90\x80\x80",
            b"",
        ];
        for &bytes in cases {
            let want = String::from_utf8_lossy(bytes);
            for cut in 0..=bytes.len() {
                let (mut utf8, mut out) = (Utf8::default(), String::new());
                utf8.push(&bytes[..cut], &mut out);
                assert!(want.starts_with(&out), "{bytes:?} at {cut}");
                utf8.push(&bytes[cut..], &mut out);
                utf8.finish(&mut out);
                assert_eq!(out, want, "{bytes:?} at {cut}");
            }
            let (mut utf8, mut out) = (Utf8::default(), String::new());
            bytes.iter().for_each(|b| utf8.push(&[*b], &mut out));
            utf8.finish(&mut out);
            assert_eq!(out, want, "{bytes:?}");
        }
    }
}
