//! Text that knows where each of its characters came from.
//!
//! A control token in a rendered conversation must have been written by the template, not by a message. So
//! each stretch of a [`Text`] carries its [`Origin`], and every operation on text keeps it: a character that
//! came from a message stays one, whether it is trimmed, split, reversed, replaced around or put into JSON.

use std::{ops::Range, rc::Rc};

use super::{
    Failure, MAX_TEXT,
    budget::{Budget, Held},
    failure,
};

/// What it costs to append any text, as bytes.
const PUSH: usize = 16;

/// Bytes that a function of text is given at once.
const MAX_PART: usize = 1 << 20;

/// Who wrote a stretch of text. The greater, the less it may steer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Origin {
    /// The template.
    #[default]
    Template,
    /// An earlier answer of the model. It may hold what an answer is made of (`<think>`), not what begins or
    /// ends a turn.
    Answer,
    /// Anybody else: users, tools, variables.
    Input,
}

/// A stretch that ends at a byte offset; it begins where the one before ends.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Run {
    end: usize,
    origin: Origin,
}

#[derive(Debug, Default)]
struct Buffer {
    text: String,
    runs: Vec<Run>,
    _held: Held,
}

/// A part of a buffer; cloning and slicing share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Text {
    buffer: Rc<Buffer>,
    start: usize,
    end: usize,
}

impl Text {
    /// Text of the caller's, not charged.
    pub fn given(text: &str, origin: Origin) -> Self {
        let runs = vec![Run { end: text.len(), origin }];
        let buffer = Buffer { text: text.to_owned(), runs, _held: Held::default() };
        Self { start: 0, end: text.len(), buffer: Rc::new(buffer) }
    }

    /// A copy of `text`.
    ///
    /// # Errors
    /// When it costs too much, as for every function here with a result.
    pub fn new(text: &str, origin: Origin, budget: &Rc<Budget>) -> Result<Self, Failure> {
        let mut builder = Builder::new(budget)?;
        builder.push(text, origin)?;
        Ok(builder.finish())
    }

    pub fn as_str(&self) -> &str {
        &self.buffer.text[self.start..self.end]
    }

    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// The least trusted of its stretches.
    pub fn origin(&self) -> Origin {
        self.pieces().map(|(_, origin)| origin).max().unwrap_or_default()
    }

    /// Its stretches.
    pub fn pieces(&self) -> impl Iterator<Item = (&str, Origin)> {
        let runs = &self.buffer.runs;
        let first = runs.partition_point(|run| run.end <= self.start);
        let mut at = self.start;
        runs[first..].iter().map_while(move |run| {
            let start = at;
            at = run.end.min(self.end);
            (start < self.end).then(|| (&self.buffer.text[start..at], run.origin))
        })
    }

    /// Its characters.
    pub fn chars(&self) -> impl Iterator<Item = (char, Origin)> {
        self.pieces().flat_map(|(text, origin)| text.chars().map(move |c| (c, origin)))
    }

    /// A part, by byte offsets on character boundaries.
    pub fn slice(&self, range: Range<usize>) -> Self {
        Self {
            buffer: Rc::clone(&self.buffer),
            start: self.start + range.start,
            end: self.start + range.end.max(range.start),
        }
    }

    /// The part that is `part`, which must be a slice of [`Text::as_str`].
    pub fn part(&self, part: &str) -> Self {
        let start = part.as_ptr() as usize - self.as_str().as_ptr() as usize;
        self.slice(start..start + part.len())
    }

    /// Every stretch through a function of text.
    pub fn map(&self, budget: &Rc<Budget>, f: impl Fn(&str) -> String) -> Result<Self, Failure> {
        budget.bytes(self.as_str().len() * 4)?;
        let mut out = Builder::new(budget)?;
        for (mut text, origin) in self.pieces() {
            // In parts, so that what `f` makes is never much more than what is charged.
            while !text.is_empty() {
                let (part, rest) = text.split_at(text.floor_char_boundary(MAX_PART));
                out.push(&f(part), origin)?;
                text = rest;
            }
        }
        Ok(out.finish())
    }

    /// Up to `count` occurrences of `old` become `new`.
    pub fn replace(&self, old: &str, new: &Self, count: usize, budget: &Rc<Budget>) -> Result<Self, Failure> {
        let text = self.as_str();
        budget.bytes(text.len())?;
        let (mut out, mut done) = (Builder::new(budget)?, 0);
        for (at, found) in text.match_indices(old).take(count) {
            budget.steps(1)?;
            out.push_text(&self.slice(done..at))?;
            out.push_text(new)?;
            done = at + found.len();
        }
        if done == 0 && out.is_empty() {
            return Ok(self.clone());
        }
        out.push_text(&self.slice(done..text.len()))?;
        Ok(out.finish())
    }
}

/// Text in the making.
#[derive(Debug)]
pub(super) struct Builder {
    text: String,
    runs: Vec<Run>,
    budget: Rc<Budget>,
    held: Held,
}

impl Builder {
    pub fn new(budget: &Rc<Budget>) -> Result<Self, Failure> {
        Ok(Self {
            text: String::new(),
            runs: Vec::new(),
            budget: Rc::clone(budget),
            held: budget.hold(size_of::<Buffer>())?,
        })
    }

    /// For what the template prints, which has a limit of its own.
    pub fn output(budget: &Rc<Budget>) -> Self {
        Self { text: String::new(), runs: Vec::new(), budget: Rc::clone(budget), held: Held::default() }
    }

    pub fn budget(&self) -> &Rc<Budget> {
        &self.budget
    }

    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    pub fn push(&mut self, text: &str, origin: Origin) -> Result<(), Failure> {
        if text.is_empty() {
            return Ok(());
        }
        if text.len() > MAX_TEXT - self.text.len() {
            return Err(failure(format!("it makes more than {MAX_TEXT} bytes of text")));
        }
        self.budget.bytes(text.len() + PUSH)?;
        self.make_room(text.len())?;
        self.text.push_str(text);
        let end = self.text.len();
        match self.runs.last_mut() {
            Some(run) if run.origin == origin => run.end = end,
            _ => {
                // Twice: a vector grows by doubling.
                self.held.grow(2 * size_of::<Run>())?;
                self.runs.push(Run { end, origin });
            }
        }
        Ok(())
    }

    /// Grows by doubling, but not beyond what a text may have, and charges what is allocated.
    fn make_room(&mut self, more: usize) -> Result<(), Failure> {
        let (len, capacity) = (self.text.len(), self.text.capacity());
        if len + more > capacity {
            let wanted = (2 * capacity).clamp(len + more, MAX_TEXT);
            self.held.grow(wanted - capacity)?;
            self.text.reserve_exact(wanted - len);
        }
        Ok(())
    }

    pub fn push_char(&mut self, c: char, origin: Origin) -> Result<(), Failure> {
        self.push(c.encode_utf8(&mut [0; 4]), origin)
    }

    pub fn push_text(&mut self, text: &Text) -> Result<(), Failure> {
        text.pieces().try_for_each(|(text, origin)| self.push(text, origin))
    }

    /// `count` times `text`.
    pub fn repeat(&mut self, text: &Text, count: usize) -> Result<(), Failure> {
        if text.is_empty() {
            return Ok(());
        }
        for _ in 0..count {
            self.budget.steps(1)?;
            self.push_text(text)?;
        }
        Ok(())
    }

    /// `count` copies of a character that nobody but the template wrote.
    pub fn fill(&mut self, c: char, count: usize) -> Result<(), Failure> {
        for _ in 0..count {
            self.push_char(c, Origin::Template)?;
        }
        Ok(())
    }

    pub fn finish(self) -> Text {
        let end = self.text.len();
        let buffer = Buffer { text: self.text, runs: self.runs, _held: self.held };
        Text { buffer: Rc::new(buffer), start: 0, end }
    }

    /// The text, and where what the template did not write begins and ends in it.
    pub fn finish_output(self) -> (String, Vec<(Range<usize>, Origin)>) {
        let mut start = 0;
        let runs = self.runs.into_iter().filter_map(|run| {
            let range = start..run.end;
            start = run.end;
            (run.origin != Origin::Template).then_some((range, run.origin))
        });
        let said = runs.collect();
        (self.text, said)
    }
}
