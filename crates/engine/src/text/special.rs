//! Finding added tokens ("<|im_end|>") in text, and refusing those that the text may not contain.
//!
//! The library has a matcher of its own, but it knows only "all special tokens" or "none". Chat needs
//! a third answer: yes where the template wrote them, no where a message did.
//!
//! Invariant: the segments tile the text; a token is reported only where every character of it comes from
//! somebody who may spell it.

use std::{collections::HashMap, ops::Range};

use super::template::Origin;

/// How an added token behaves, as `tokenizer.json` spells it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Added {
    pub id: u32,
    pub content: String,
    /// Steers the model (end of turn, …) and is not shown.
    pub control: bool,
    /// Swallows white space on its left / right.
    pub lstrip: bool,
    pub rstrip: bool,
    /// Matches only between non-word characters.
    pub single_word: bool,
    /// Is looked for in the normalised text, not the raw one.
    pub normalized: bool,
    /// The least trusted who may spell it.
    pub speller: Origin,
}

/// What an answer is made of beside its text. A model's own answers, given back to it, keep them; users
/// cannot spell them.
const ANSWER: &[&str] = &[
    "think",
    "thinking",
    "thought",
    "reasoning",
    "answer",
    "tool_call",
    "tool_calls",
    "tool_response",
    "tools",
    "function",
    "function_call",
    "parameter",
    "arg_key",
    "arg_value",
    "code",
];

/// Tokens that steer whatever a file says of them and whatever its template is.
const STEERING: &[&str] = &[
    "<s>",
    "</s>",
    "<bos>",
    "<eos>",
    "<pad>",
    "<unk>",
    "<mask>",
    "<start_of_turn>",
    "<end_of_turn>",
    "[INST]",
    "[/INST]",
    "[AVAILABLE_TOOLS]",
    "[/AVAILABLE_TOOLS]",
    "[TOOL_CALLS]",
    "[TOOL_RESULTS]",
    "[/TOOL_RESULTS]",
    "[SYSTEM_PROMPT]",
    "[/SYSTEM_PROMPT]",
    "[gMASK]",
    "<sop>",
    "<eop>",
    "<EOT>",
    "<PRE>",
    "<SUF>",
    "<MID>",
    "<fim_prefix>",
    "<fim_middle>",
    "<fim_suffix>",
    "<fim_pad>",
];

/// Who may spell an added token that its file does not call special.
pub(crate) fn speller(content: &str, template_spells_it: bool) -> Origin {
    let inside = |open: &str, close: &str| content.strip_prefix(open)?.strip_suffix(close);
    let tag = inside("<", ">").map(|name| name.strip_prefix('/').unwrap_or(name));
    if tag.is_some_and(|name| ANSWER.contains(&name)) {
        return Origin::Answer;
    }
    // The form of role tokens in most families; some files call them plain.
    let role = inside("<|", "|>").or_else(|| inside("<｜", "｜>")).is_some();
    let unused = ["[PAD", "<unused", "<reserved", "<extra_id"].iter().any(|start| content.starts_with(start));
    let blank = content.chars().all(char::is_whitespace);
    if role || unused || STEERING.contains(&content) || template_spells_it && !blank {
        Origin::Template
    } else {
        Origin::Input
    }
}

/// The least trusted origin of `text[start..end]`; `said` are the stretches that the template did not write.
fn origin(said: &[(Range<usize>, Origin)], start: usize, end: usize) -> Origin {
    let first = said.partition_point(|(range, _)| range.end <= start);
    let touching = said[first..].iter().take_while(|(range, _)| range.start < end);
    touching.map(|(_, origin)| *origin).max().unwrap_or_default()
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

    pub fn into_tokens(self) -> Vec<Added> {
        self.tokens
    }

    /// Cuts `text` into segments, in order. `said` are the stretches that the template did not write.
    pub fn split(&self, text: &str, said: &[(Range<usize>, Origin)], mut emit: impl FnMut(Segment)) {
        let bytes = text.as_bytes();
        let (mut done, mut at) = (0, 0);
        while at < bytes.len() {
            if !self.first[bytes[at] as usize] {
                at += 1;
                continue;
            }
            let Some((token, end)) = self.longest(text, at, said) else {
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
    fn longest(&self, text: &str, start: usize, said: &[(Range<usize>, Origin)]) -> Option<(&Added, usize)> {
        let (mut node, mut best) = (0, None);
        for (i, &byte) in text.as_bytes()[start..].iter().enumerate() {
            let Some(&next) = self.next.get(&(node, byte)) else { break };
            node = next;
            let Some(index) = self.ends[node as usize].checked_sub(1) else { continue };
            let (token, end) = (&self.tokens[index as usize], start + i + 1);
            if (token.speller == Origin::Input || origin(said, start, end) <= token.speller)
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

    fn split(matcher: &Matcher, text: &str, said: &[(Range<usize>, Origin)]) -> Vec<Segment> {
        let mut out = Vec::new();
        matcher.split(text, said, |s| out.push(s));
        out
    }

    #[test]
    fn leftmost_longest_of_those_that_may_be_spelt() {
        let plain = Added { control: false, speller: Origin::Input, ..token(3, "é") };
        let answer = Added { control: false, speller: Origin::Answer, ..token(4, "<t>") };
        let matcher = Matcher::new(vec![token(1, "<a>"), token(2, "<a><b>"), plain, answer]);
        use Origin::{Answer, Input};
        use Segment::{Text, Token};
        assert_eq!(split(&matcher, "x<a><b>y<a>", &[]), [Text(0, 1), Token(2), Text(7, 8), Token(1)]);
        // The long token touches what was said; the short one that lies before it does not.
        assert_eq!(split(&matcher, "x<a><b>y", &[(5..6, Input)]), [Text(0, 1), Token(1), Text(4, 8)]);
        // What lies beside a token does not matter.
        assert_eq!(
            split(&matcher, "x<a>y", &[(0..1, Input), (4..5, Answer)]),
            [Text(0, 1), Token(1), Text(4, 5)]
        );
        assert_eq!(split(&matcher, "é<a>", &[(0..5, Input)]), [Token(3), Text(2, 5)]);
        assert_eq!(split(&matcher, "<t><a>", &[(0..6, Answer)]), [Token(4), Text(3, 6)]);
        assert_eq!(split(&matcher, "<t>", &[(0..1, Answer), (1..2, Input)]), [Text(0, 3)]);
        assert_eq!(split(&matcher, "", &[]), []);
    }

    #[test]
    fn who_may_spell_what() {
        for (content, template_spells_it, want) in [
            ("<｜User｜>", false, Origin::Template),
            ("<|fim_middle|>", false, Origin::Template),
            ("[INST]", false, Origin::Template),
            ("<human>", true, Origin::Template),
            ("<human>", false, Origin::Input),
            ("<think>", true, Origin::Answer),
            ("</tool_call>", false, Origin::Answer),
            ("    ", true, Origin::Input),
            ("<table>", false, Origin::Input),
        ] {
            assert_eq!(speller(content, template_spells_it), want, "{content}");
        }
    }

    /// A long text of what tokens begin with, and many tokens: the time grows with the text alone.
    #[test]
    fn many_tokens_cost_no_more_than_few() {
        let tokens = (0..1500).map(|i| token(i, &format!("{}{i}>", "<|".repeat(100)))).collect();
        let (matcher, text) = (Matcher::new(tokens), "<|".repeat(10_000));
        let start = std::time::Instant::now();
        assert_eq!(split(&matcher, &text, &[]), [Segment::Text(0, 20_000)]);
        assert!(start.elapsed().as_millis() < 1000, "{:?}", start.elapsed());
    }

    #[test]
    fn strips_and_single_words() {
        let matcher = Matcher::new(vec![
            Added { lstrip: true, rstrip: true, ..token(1, "<m>") },
            Added { single_word: true, ..token(2, "ab") },
        ]);
        use Segment::{Text, Token};
        assert_eq!(split(&matcher, "a  <m>\n b", &[]), [Text(0, 1), Token(1), Text(8, 9)]);
        assert_eq!(split(&matcher, "cab ab", &[]), [Text(0, 4), Token(2)]);
    }
}
