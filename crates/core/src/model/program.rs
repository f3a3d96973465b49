//! The order in which blocks run: once each, or in loops.
//!
//! Weights and states are apart: a looped transformer runs the same blocks several times, each time on states of its
//! own. Sources: Universal Transformers (arXiv 1807.03819), Relaxed Recursive Transformers (arXiv 2410.20672),
//! recurrent depth (Huginn, arXiv 2502.05171), Mixture-of-Recursions (arXiv 2507.10524), Ouro (arXiv 2510.25741).

use alloc::vec::Vec;

use super::{
    layers::{InputSemantics, Linear, TensorList},
    roles::{Field, LinearRole, LoraSide, TensorRole},
};

/// The most passes through a loop.
pub const MAX_LOOPS: usize = 256;

/// The order in which blocks run: some once, then some in a loop, then some once.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    /// What runs first, in order: all of most models.
    pub prelude: Vec<Run>,
    /// What runs in a loop.
    pub body: Option<Loop>,
    /// What runs after the loop.
    pub coda: Vec<Run>,
    /// What each pass adds to every linear layer.
    pub lora: Option<Lora>,
}

/// One pass through one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Index into [`Spec::blocks`](super::Spec::blocks).
    pub block: usize,
    /// Which state (keys and values of past tokens) it reads and extends.
    pub state: usize,
    /// Which pass through the block it is, from 0: it takes that one of the [`Lora`] matrices.
    pub pass: usize,
}

impl Run {
    /// The same run, so many passes later; a pass has `states` states of its own.
    pub const fn later(self, passes: usize, states: usize) -> Self {
        Self { block: self.block, state: self.state + passes * states, pass: self.pass + passes }
    }
}

/// A loop over blocks.
#[derive(Clone, Debug, PartialEq)]
pub struct Loop {
    /// The first pass; its states are the last ones of the program, so that further passes can follow.
    pub runs: Vec<Run>,
    /// Passes, unless the decoder says another number.
    pub times: usize,
    /// The most passes there can be.
    pub limit: usize,
    /// Where the model's last norm stands.
    pub norm: LoopNorm,
    /// Each pass begins with `W · concat(x, e)`, where `e` is what came into the loop and `x` begins as 0 (Huginn).
    pub adapter: bool,
    /// What ends the loop.
    pub exit: Exit,
}

impl Loop {
    /// States of one pass.
    pub fn states(&self) -> usize {
        self.runs.len()
    }

    /// The gate or router, and how many numbers it gives.
    pub fn exit_layer(&self) -> Option<(Linear, usize)> {
        let layer = |bias| Linear { bias, norm: None, input: InputSemantics::Float, rotated: false };
        match self.exit {
            Exit::Last => None,
            Exit::Gate { .. } => Some((layer(true), 1)),
            Exit::Router { bias } => Some((layer(bias), self.times)),
        }
    }
}

/// Where the last norm of a looped model stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoopNorm {
    /// After the last block, as in other models.
    Last,
    /// After each pass, whose result goes into the next pass and into the head (Ouro).
    EachPass,
    /// After the loop, and again after the last block (Huginn).
    AfterLoop,
}

/// How a token leaves a loop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Exit {
    /// After the last pass.
    Last,
    /// A gate gives the probability λ of leaving after each pass (Ouro); the model may say from which cumulative
    /// probability on a token leaves.
    Gate {
        /// That probability; none: it leaves after the last pass.
        threshold: Option<f32>,
    },
    /// A router gives each token a number of passes, by its state before the loop (Mixture-of-Recursions): the one with
    /// the highest probability p, of numbers from 1 to `times`. Keys and values of a pass are those of the tokens that
    /// take it. What the passes added counts p times.
    Router {
        /// It adds a bias to its scores.
        bias: bool,
    },
}

/// Matrices of low rank that each pass adds to every linear layer of its blocks: `y = W·x + B·(A·x)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lora {
    /// Rows of A, columns of B.
    pub rank: usize,
    /// Passes that have such matrices.
    pub passes: usize,
}

impl Program {
    /// Every block once, each with a state of its own.
    pub fn sequential(blocks: usize) -> Self {
        let run = |i| Run { block: i, state: i, pass: 0 };
        Self { prelude: (0..blocks).map(run).collect(), body: None, coda: Vec::new(), lora: None }
    }

    /// `prelude` blocks once, `body` blocks in a loop of so many `times`, `coda` blocks once, in the order of
    /// [`Spec::blocks`](super::Spec::blocks) and with a state for each run. The loop is a plain one.
    pub fn looped(prelude: usize, body: usize, coda: usize, times: usize) -> Self {
        let run = |block, state| Run { block, state, pass: 0 };
        let outside = prelude + coda;
        Self {
            prelude: (0..prelude).map(|i| run(i, i)).collect(),
            body: Some(Loop {
                runs: (0..body).map(|i| run(prelude + i, outside + i)).collect(),
                times,
                limit: MAX_LOOPS,
                norm: LoopNorm::Last,
                adapter: false,
                exit: Exit::Last,
            }),
            coda: (0..coda).map(|i| run(prelude + body + i, prelude + i)).collect(),
            lora: None,
        }
    }

    /// Passes through the loop unless the decoder says another number; 1 where there is none.
    pub fn times(&self) -> usize {
        self.body.as_ref().map_or(1, |body| body.times)
    }

    /// Every run with so many passes through the loop, in order.
    pub fn runs(&self, loops: usize) -> impl Iterator<Item = Run> {
        let body = self.body.iter().flat_map(move |body| {
            (0..loops).flat_map(move |pass| body.runs.iter().map(move |run| run.later(pass, body.states())))
        });
        self.prelude.iter().copied().chain(body).chain(self.coda.iter().copied())
    }

    /// How many states it uses with so many passes.
    pub fn states(&self, loops: usize) -> usize {
        self.runs(loops).map(|run| run.state + 1).max().unwrap_or(0)
    }

    /// Lists the tensors of the loop itself.
    pub(super) fn tensors(&self, hidden: usize, list: &mut TensorList) {
        let Some(body) = &self.body else { return };
        if body.adapter {
            list.matrix(TensorRole::LoopAdapter, hidden, 2 * hidden);
        }
        if let Some((layer, rows)) = body.exit_layer() {
            list.matrix(TensorRole::LoopExit(Field::Weight), rows, hidden);
            if layer.bias {
                list.vector(TensorRole::LoopExit(Field::Bias), rows);
            }
        }
    }

    /// Lists what passes add to a linear layer of a block.
    pub(super) fn lora_tensors(
        &self,
        (block, linear): (usize, LinearRole),
        rows: usize,
        cols: usize,
        list: &mut TensorList,
    ) {
        let Some(Lora { rank, passes }) = self.lora else { return };
        for pass in 0..passes {
            let role = |side| TensorRole::Lora(block, linear, pass, side);
            list.matrix(role(LoraSide::A), rank, cols);
            list.matrix(role(LoraSide::B), rows, rank);
        }
    }
}
