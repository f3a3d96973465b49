//! Finding added tokens ("<|im_end|>") in text, and refusing those that the text may not contain.
//!
//! The library has a matcher of its own, but it knows only "all special tokens" or "none". Chat needs
//! a third answer: yes where the template wrote them, no where a message did ([`Control::Except`]).
//!
//! Invariant: the segments tile the text; a control token is reported only where [`Control`] allows it.

use std::collections::HashMap;

/// How an added token behaves, as `tokenizer.json` spells it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Added {
    pub id: u32,
    pub content: String,
    /// Steers the model (end of turn, …): recognised only where [`Control`] allows it.
    pub control: bool,
    /// Swallows white space on its left / right.
    pub lstrip: bool,
    pub rstrip: bool,
    /// Matches only between non-word characters.
    pub single_word: bool,
    /// Is looked for in the normalised text, not the raw one.
    pub normalized: bool,
}

/// Where control tokens are recognised in a text.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Control<'a> {
    /// Nowhere: their spelling is plain text.
    Nowhere,
    /// Everywhere.
    Everywhere,
    /// Where they do not span one of these byte offsets (ascending): `start < offset < end`; a token of a
    /// single character, which has no inside, where not both its ends are among them.
    Except(&'a [usize]),
}

impl Control<'_> {
    fn allows(self, start: usize, end: usize, text: &str) -> bool {
        match self {
            Self::Nowhere => false,
            Self::Everywhere => true,
            Self::Except(cuts) => {
                let inside = cuts.get(cuts.partition_point(|&c| c <= start)).is_some_and(|&c| c < end);
                let single = text[start..end].chars().nth(1).is_none();
                let around = single && cuts.binary_search(&start).is_ok() && cuts.binary_search(&end).is_ok();
                !inside && !around
            }
        }
    }
}

/// A stretch of text, or one added token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Segment {
    Text(usize, usize),
    Token(u32),
}

/// Added tokens as a byte trie: the longest one at the leftmost place wins.
#[derive(Debug, Default)]
pub(crate) struct Matcher {
    next: HashMap<(u32, u8), u32>,
    /// Per node: index into `tokens` plus one, or 0.
    ends: Vec<u32>,
    tokens: Vec<Added>,
    /// Bytes some token begins with.
    first: Vec<bool>,
}

impl Matcher {
    pub fn new(tokens: Vec<Added>) -> Self {
        let mut this =
            Self { next: HashMap::new(), ends: vec![0], tokens: Vec::new(), first: vec![false; 256] };
        for token in tokens {
            let Some(&first) = token.content.as_bytes().first() else { continue };
            this.first[first as usize] = true;
            let mut node = 0u32;
            for &byte in token.content.as_bytes() {
                let fresh = this.ends.len() as u32;
                node = *this.next.entry((node, byte)).or_insert(fresh);
                if node == fresh {
                    this.ends.push(0);
                }
            }
            this.tokens.push(token);
            this.ends[node as usize] = this.tokens.len() as u32;
        }
        this
    }

    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    pub fn tokens(&self) -> &[Added] {
        &self.tokens
    }

    /// Cuts `text` into segments, in order.
    pub fn split(&self, text: &str, control: Control<'_>, mut emit: impl FnMut(Segment)) {
        let bytes = text.as_bytes();
        let (mut done, mut at) = (0, 0);
        while at < bytes.len() {
            if !self.first[bytes[at] as usize] {
                at += 1;
                continue;
            }
            let Some((token, end)) = self.longest(text, at, control) else {
                at += 1;
                continue;
            };
            let mut start = at;
            if token.lstrip {
                start = done + text[done..start].trim_end().len();
            }
            let end = if token.rstrip { text.len() - text[end..].trim_start().len() } else { end };
            if start > done {
                emit(Segment::Text(done, start));
            }
            emit(Segment::Token(token.id));
            (done, at) = (end, end);
        }
        if done < text.len() {
            emit(Segment::Text(done, text.len()));
        }
    }

    /// The longest allowed token that begins at `start`, and where it ends.
    fn longest(&self, text: &str, start: usize, control: Control<'_>) -> Option<(&Added, usize)> {
        let (mut node, mut best) = (0, None);
        for (i, &byte) in text.as_bytes()[start..].iter().enumerate() {
            let Some(&next) = self.next.get(&(node, byte)) else { break };
            node = next;
            let Some(index) = self.ends[node as usize].checked_sub(1) else { continue };
            let (token, end) = (&self.tokens[index as usize], start + i + 1);
            if (!token.control || control.allows(start, end, text))
                && (!token.single_word || alone(text, start, end))
            {
                best = Some((token, end));
            }
        }
        best
    }
}

fn alone(text: &str, start: usize, end: usize) -> bool {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    !text[..start].chars().next_back().is_some_and(word) && !text[end..].chars().next().is_some_and(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(id: u32, content: &str) -> Added {
        Added { id, content: content.into(), control: true, ..Added::default() }
    }

    fn split(matcher: &Matcher, text: &str, control: Control<'_>) -> Vec<Segment> {
        let mut out = Vec::new();
        matcher.split(text, control, |s| out.push(s));
        out
    }

    #[test]
    fn leftmost_longest_and_refused_inside_cuts() {
        let matcher = Matcher::new(vec![
            token(1, "<a>"),
            token(2, "<a><b>"),
            Added { control: false, ..token(3, "é") },
        ]);
        use Segment::{Text, Token};
        assert_eq!(
            split(&matcher, "x<a><b>y<a>", Control::Everywhere),
            [Text(0, 1), Token(2), Text(7, 8), Token(1)]
        );
        // A cut inside the long token leaves the short one that lies before it.
        assert_eq!(split(&matcher, "x<a><b>y", Control::Except(&[5])), [Text(0, 1), Token(1), Text(4, 8)]);
        // Cuts at a token's border do not touch it.
        assert_eq!(split(&matcher, "<a>", Control::Except(&[0, 3])), [Token(1)]);
        assert_eq!(split(&matcher, "é<a>", Control::Nowhere), [Token(3), Text(2, 5)]);
        assert_eq!(split(&matcher, "", Control::Everywhere), []);
    }

    #[test]
    fn strips_and_single_words() {
        let matcher = Matcher::new(vec![
            Added { lstrip: true, rstrip: true, ..token(1, "<m>") },
            Added { single_word: true, ..token(2, "ab") },
        ]);
        use Segment::{Text, Token};
        assert_eq!(split(&matcher, "a  <m>\n b", Control::Everywhere), [Text(0, 1), Token(1), Text(8, 9)]);
        assert_eq!(split(&matcher, "cab ab", Control::Everywhere), [Text(0, 4), Token(2)]);
    }
}
