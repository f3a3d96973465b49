//! What loops over blocks need: weights, options, and what is known of each token. The decoder runs them.

use alloc::vec::Vec;

use super::{
    LinearWeights,
    spec::{Exit, Loop, Run, Spec},
};
use crate::{Result, bail, matrix::Matrix};

/// The weights of [`super::spec::Loop`] that belong to no block.
#[derive(Default)]
pub struct LoopWeights {
    /// `(hidden, 2 · hidden)`: what a pass begins with.
    pub adapter: Option<Matrix>,
    /// The gate `(1, hidden)` or the router `(passes, hidden)`.
    pub exit: Option<LinearWeights>,
}

/// How a looped model loops.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LoopOptions {
    /// Passes through the loop; none: as many as the model says.
    pub loops: Option<usize>,
    /// A token leaves after the first pass whose cumulative exit probability reaches this (0 to 1); none: as the model
    /// says.
    pub exit_threshold: Option<f32>,
    /// Passes after the exit are not computed: later tokens that go on longer see the keys and values of the token's
    /// last pass in their place. Without it all passes are computed, as in the reference implementation of Ouro, and
    /// the exit chooses among their results.
    pub early_exit: bool,
    /// Which keys and values a pass sees.
    pub kv: LoopKv,
}

/// Which keys and values of earlier tokens a pass through a loop sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LoopKv {
    /// Those of the same pass.
    #[default]
    Each,
    /// Those of the last pass, which are the only ones that stay: as many times less memory as there are passes. A
    /// prompt is computed token by token. Experimental: no reference implementation was compared with.
    Last,
}

impl LoopKv {
    /// The inverse of [`LoopKv::name`].
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Each, Self::Last].into_iter().find(|kv| kv.name() == name)
    }

    /// The name users see: `each`, `last`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Each => "each",
            Self::Last => "last",
        }
    }
}

/// What a decoder needs for loops.
pub(super) struct LoopState {
    pub options: LoopOptions,
    /// Passes.
    pub loops: usize,
    /// From which cumulative probability on a token leaves.
    pub threshold: Option<f32>,
    /// For each position, the passes that its token took; empty without a loop.
    pub taken: Vec<u16>,
    /// What the loop begins with, for the tokens of this call that come next; empty: zeros.
    pub begin: Vec<f32>,
    /// What came into the loop, `(n, hidden)`.
    pub entered: Vec<f32>,
    /// States of all tokens of a block, beside those that are computed, `(n, hidden)`.
    pub states: Vec<f32>,
    /// Input of the adapter, `(n, 2 · hidden)`.
    pub joined: Vec<f32>,
    /// Of the gate or router.
    pub scores: Vec<f32>,
    pub leaving: Vec<Leaving>,
    /// Tokens whose keys and values are final.
    pub left: Vec<bool>,
}

/// How far a token is from leaving.
#[derive(Clone, Copy)]
pub(super) struct Leaving {
    /// The probability that it left after one of the passes so far, and that it did not.
    pub cumulative: f32,
    pub stays: f32,
    /// The pass after which it left, from 1; 0: it has not.
    pub pass: u16,
}

impl LoopState {
    pub fn new(spec: &Spec) -> Self {
        let mut state = Self {
            options: LoopOptions::default(),
            loops: 1,
            threshold: None,
            taken: Vec::new(),
            begin: Vec::new(),
            entered: Vec::new(),
            states: Vec::new(),
            joined: Vec::new(),
            scores: Vec::new(),
            leaving: Vec::new(),
            left: Vec::new(),
        };
        state.apply(spec, LoopOptions::default());
        state
    }

    /// Takes options that were checked; true if keys and values would be others with them.
    pub fn apply(&mut self, spec: &Spec, options: LoopOptions) -> bool {
        let before = (self.options, self.loops, self.threshold);
        self.options = options;
        self.loops = options.loops.unwrap_or(spec.program.times());
        self.threshold = match spec.program.body.as_ref().map(|body| body.exit) {
            Some(Exit::Gate { threshold }) => options.exit_threshold.or(threshold),
            _ => None,
        };
        let early = |options: LoopOptions, threshold| options.early_exit.then_some(threshold);
        before.1 != self.loops
            || before.0.kv != options.kv
            || early(before.0, before.2) != early(options, self.threshold)
    }

    /// Whether tokens must be computed one by one.
    pub fn is_sequential(&self) -> bool {
        self.options.kv == LoopKv::Last
    }

    /// Every run, with the states that it uses.
    pub fn runs(&self, spec: &Spec) -> impl Iterator<Item = Run> {
        // Further passes use the states of the first one.
        let passes = if self.options.kv == LoopKv::Last { self.loops.min(1) } else { self.loops };
        spec.program.runs(passes)
    }

    pub fn rewind(&mut self, position: usize) {
        self.taken.truncate(position);
        self.begin.clear();
    }

    /// A run of the first pass as it is in a later one.
    pub fn in_pass(&self, body: &Loop, run: Run, pass: usize) -> Run {
        run.later(pass, if self.options.kv == LoopKv::Last { 0 } else { body.states() })
    }
}

/// Refuses options that the model has no use for, by name.
pub(super) fn check(spec: &Spec, options: LoopOptions) -> Result<()> {
    let LoopOptions { loops, exit_threshold, early_exit, kv: _ } = options;
    if options == LoopOptions::default() {
        return Ok(());
    }
    let Some(body) = &spec.program.body else {
        let name = match options {
            LoopOptions { loops: Some(_), .. } => "loops",
            LoopOptions { exit_threshold: Some(_), .. } => "exit threshold",
            LoopOptions { early_exit: true, .. } => "early exit",
            _ => "loop kv",
        };
        bail!(BadOption, "{name}: this model has no loop");
    };
    if matches!(body.exit, Exit::Router { .. }) {
        bail!(BadOption, "loops: the router of this model says how often each token takes them");
    }
    if let Some(loops) = loops
        && !(1..=body.limit).contains(&loops)
    {
        bail!(BadOption, "loops: {loops} is not in 1..={}", body.limit);
    }
    if let Some(threshold) = exit_threshold {
        if !matches!(body.exit, Exit::Gate { .. }) {
            bail!(BadOption, "exit threshold: this model has no exit gate");
        }
        if !(0.0..=1.0).contains(&threshold) {
            bail!(BadOption, "exit threshold: {threshold} is not in 0..=1");
        }
    }
    if early_exit {
        let Exit::Gate { threshold } = body.exit else {
            bail!(BadOption, "early exit: this model has no exit gate");
        };
        if exit_threshold.or(threshold).is_none() {
            bail!(BadOption, "early exit: there is no exit threshold");
        }
    }
    Ok(())
}
