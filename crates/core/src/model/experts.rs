//! Mixtures of experts at work: the router's choice, and the chosen networks.
//!
//! Tokens of a block are grouped by expert, so that an expert's weights are read once for all its tokens. A token's
//! result depends neither on the grouping nor on the other tokens: its experts' outputs are kept apart and summed
//! in the order of the router's ranking. So smaller numbers of active experts are a prefix of larger ones.

use alloc::vec::Vec;

use super::{
    LinearWeights, MlpWeights,
    linear::{LinearInput, clip, norm_in_place},
    resize,
    spec::{Activation, Experts, Ffn, Mlp, Rotation, Spec},
};
use crate::{Result, activations::Activations, bail, math, matrix::Matrix, pool::Pool};

impl Spec {
    /// How many experts each block gives a token to, 0 where it has none: the model's own numbers for an empty list,
    /// else one number for all blocks that have experts, or one for each of them.
    ///
    /// # Errors
    /// `bad-option` for a model without experts, another count of numbers, and numbers of experts there are not.
    pub fn active_experts(&self, numbers: &[usize]) -> Result<Vec<usize>> {
        let experts = || self.blocks.iter().map(|block| block.ffn.body.experts());
        if numbers.is_empty() {
            return Ok(experts().map(|experts| experts.map_or(0, |experts| experts.active)).collect());
        }
        let mixtures = experts().flatten().count();
        if mixtures == 0 {
            bail!(BadOption, "experts: this model has none");
        }
        if numbers.len() != 1 && numbers.len() != mixtures {
            bail!(BadOption, "experts: {} numbers for {mixtures} layers that have them", numbers.len());
        }
        let mut numbers = numbers.iter().cycle();
        let each = experts().map(|experts| {
            let Some(experts) = experts else { return Ok(0) };
            match numbers.next() {
                Some(&number) if (1..=experts.count).contains(&number) => Ok(number),
                other => bail!(BadOption, "experts: {} of {}", other.unwrap_or(&0), experts.count),
            }
        });
        each.collect()
    }

    /// Gives tokens to other numbers of experts from now on: see [`Spec::active_experts`].
    ///
    /// # Errors
    /// As [`Spec::active_experts`].
    pub fn set_active_experts(&mut self, numbers: &[usize]) -> Result<()> {
        let active = self.active_experts(numbers)?;
        for (block, active) in self.blocks.iter_mut().zip(active) {
            if let Ffn::Experts(experts) = &mut block.ffn.body {
                experts.active = active;
            }
        }
        Ok(())
    }
}

/// The weights of [`super::spec::Ffn`].
#[allow(clippy::large_enum_variant, reason = "there is one for each block")]
pub enum FfnWeights {
    /// One network.
    Dense(MlpWeights),
    /// A router and its experts.
    Experts(ExpertsWeights),
}

/// The weights of [`Experts`].
pub struct ExpertsWeights {
    /// Scores every expert.
    pub router: LinearWeights,
    /// What a cosine router has besides.
    pub cosine: Option<CosineRouter>,
    /// The networks that it chooses from.
    pub experts: ExpertSet,
    /// The network for all tokens.
    pub shared: Option<MlpWeights>,
    /// `(1, hidden)`: gates the shared network.
    pub shared_gate: Option<Matrix>,
}

/// What makes a router score directions ([`Experts::cosine`]).
pub struct CosineRouter {
    /// `(width, hidden)`: narrows the router's input.
    pub reduction: Matrix,
    /// `(experts)`: one over the length of each row of the router.
    pub inverse_lengths: Vec<f32>,
}

/// The experts of one block. The forward pass asks it for one at a time, and never for one that no token needs.
pub struct ExpertSet(Vec<MlpWeights>);

impl ExpertSet {
    /// All of them, in the order of the router's rows.
    pub fn new(experts: Vec<MlpWeights>) -> Self {
        Self(experts)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// One of them.
    ///
    /// # Panics
    /// If there is none of that number.
    pub fn get(&self, expert: usize) -> &MlpWeights {
        &self.0[expert]
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &MlpWeights> {
        self.0.iter()
    }
}

/// What a feed-forward network computes with, besides its weights and its input.
pub(super) struct FfnContext<'a> {
    /// Width of the residual stream.
    pub hidden: usize,
    pub rotation: Option<&'a Rotation>,
    pub pool: &'a dyn Pool,
}

/// The hidden layer of a network, `sub_norm(activation(gate(x)) · up(x))`, left in `gate`.
pub(super) fn hidden_layer(
    mlp: &Mlp,
    weights: &MlpWeights,
    input: &mut LinearInput<'_>,
    gate: &mut [f32],
    up: &mut [f32],
) -> Result<()> {
    input.apply(mlp.gate, &weights.gate, gate)?;
    if let Some(limit) = mlp.clamp {
        gate.iter_mut().filter(|g| **g > limit).for_each(|g| *g = limit);
    }
    match mlp.activation {
        Activation::Silu => activate(gate, math::silu),
        Activation::Relu2 => activate(gate, math::relu2),
        Activation::GeluTanh => activate(gate, math::gelu_tanh),
        Activation::Gelu => activate(gate, math::gelu),
        Activation::Relu => activate(gate, math::relu),
        Activation::QuickGelu => activate(gate, math::quick_gelu),
    }
    if let (Some(layer), Some(weights)) = (mlp.up, &weights.up) {
        // What a gate of 0 multiplies need not be known.
        input.apply_live(layer, weights, gate, up)?;
        clip(up, mlp.clamp);
        if mlp.up_plus_one {
            up.iter_mut().for_each(|u| *u += 1.0);
        }
        gate.iter_mut().zip(up).for_each(|(g, u)| *g *= *u);
    }
    norm_in_place(gate, mlp.sub_norm, &weights.sub_norm);
    Ok(())
}

/// x ← f(x)
fn activate(x: &mut [f32], f: impl Fn(f32) -> f32) {
    x.iter_mut().for_each(|x| *x = f(*x));
}

/// An expert that a token is given to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// Its number.
    pub expert: usize,
    /// What its output is multiplied by.
    pub weight: f32,
}

/// The `active` most probable experts, most probable first, the lower number first among equals.
///
/// `scores` become probabilities: their softmax.
///
/// # Panics
/// If there are fewer experts than `active`.
pub fn choose(scores: &mut [f32], active: usize, normalise: bool, chosen: &mut Vec<Choice>) {
    assert!(active <= scores.len());
    let (_, sum) = math::exp_shifted(scores);
    scores.iter_mut().for_each(|p| *p /= sum);
    chosen.clear();
    for _ in 0..active {
        let is_free = |e: &usize| chosen.iter().all(|choice| choice.expert != *e);
        let better = |best: usize, e: usize| if scores[e] > scores[best] { e } else { best };
        let Some(expert) = (0..scores.len()).filter(is_free).reduce(better) else { break };
        chosen.push(Choice { expert, weight: scores[expert] });
    }
    if normalise {
        let sum: f32 = chosen.iter().map(|choice| choice.weight).sum();
        chosen.iter_mut().for_each(|choice| choice.weight /= sum);
    }
}

/// Which experts the tokens of one call were given to.
#[derive(Default)]
pub(super) struct ChosenExperts(Vec<(usize, Vec<u16>)>);

impl ChosenExperts {
    /// Forgets all of them.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Notes what the token at `position` was given to by one run of a block, most probable first.
    pub fn note(&mut self, position: usize, choices: &[Choice]) -> Result<()> {
        let mut experts = Vec::new();
        experts.try_reserve_exact(choices.len())?;
        experts.extend(choices.iter().map(|choice| choice.expert as u16));
        self.0.try_reserve(1)?;
        self.0.push((position, experts));
        Ok(())
    }

    /// What the token at `position` was given to, in the order of the runs.
    pub fn at(&self, position: usize) -> impl Iterator<Item = &[u16]> {
        self.0.iter().filter(move |(other, _)| *other == position).map(|(_, experts)| &experts[..])
    }
}

/// Working memory of [`ExpertScratch::run`].
pub(super) struct ExpertScratch {
    scores: Vec<f32>,
    /// Of each token, in order; `active` for each.
    choices: Vec<Choice>,
    of_token: Vec<Choice>,
    /// (expert, place in `choices`), by expert.
    by_expert: Vec<(usize, usize)>,
    /// The inputs of one expert's tokens, and its outputs.
    x: Vec<f32>,
    y: Vec<f32>,
    /// The output for each choice.
    outputs: Vec<f32>,
    /// Input of the down projections: the codes of the experts' own input outlive them.
    down: Activations,
}

/// Buffers as wide as the widest network, for all tokens.
pub(super) struct HiddenBuffers<'a> {
    pub gate: &'a mut [f32],
    pub up: &'a mut [f32],
}

impl ExpertScratch {
    pub fn new(down: Activations) -> Self {
        Self {
            scores: Vec::new(),
            choices: Vec::new(),
            of_token: Vec::new(),
            by_expert: Vec::new(),
            x: Vec::new(),
            y: Vec::new(),
            outputs: Vec::new(),
            down,
        }
    }

    /// The choices of the last run, `active` for each of its tokens.
    pub fn choices(&self) -> &[Choice] {
        &self.choices
    }

    /// The output of `active` experts for each token of `x`, `(n, hidden)`, into `out`.
    ///
    /// # Errors
    /// `out-of-memory`.
    pub fn run(
        &mut self,
        (experts, weights, active): (&Experts, &ExpertsWeights, usize),
        context: &FfnContext<'_>,
        rows: &mut Activations,
        buffers: &mut HiddenBuffers<'_>,
        (x, out): (&[f32], &mut [f32]),
    ) -> Result<()> {
        let hidden = context.hidden;
        let n = x.len() / hidden;
        let mut input = LinearInput::new(rows, x, context.rotation, context.pool);
        self.route((experts, weights, active), &mut input, n)?;
        resize(&mut self.outputs, n * active * hidden)?;
        let mut rest = &self.by_expert[..];
        while let Some(&(expert, _)) = rest.first() {
            let (own, after) = rest.split_at(rest.partition_point(|&(other, _)| other == expert));
            rest = after;
            let (mlp, weights) = (&experts.expert, weights.experts.get(expert));
            let m = own.len();
            let (gate, up) = (&mut buffers.gate[..m * mlp.width], &mut buffers.up[..m * mlp.width]);
            resize(&mut self.y, m * hidden)?;
            if n == 1 {
                // One token: its codes serve all experts.
                hidden_layer(mlp, weights, &mut input, gate, up)?;
            } else {
                resize(&mut self.x, m * hidden)?;
                for (&(_, place), to) in own.iter().zip(self.x.chunks_exact_mut(hidden)) {
                    to.copy_from_slice(&x[place / active * hidden..][..hidden]);
                }
                let mut gathered = input.of(&self.x);
                hidden_layer(mlp, weights, &mut gathered, gate, up)?;
            }
            let mut down = LinearInput::new(&mut self.down, gate, context.rotation, context.pool);
            down.apply(mlp.down, &weights.down, &mut self.y)?;
            for (&(_, place), y) in own.iter().zip(self.y.chunks_exact(hidden)) {
                self.outputs[place * hidden..][..hidden].copy_from_slice(y);
            }
        }
        out.fill(0.0);
        let of_tokens = self.outputs.chunks_exact(active * hidden).zip(self.choices.chunks_exact(active));
        for (out, (outputs, choices)) in out.chunks_exact_mut(hidden).zip(of_tokens) {
            for (y, choice) in outputs.chunks_exact(hidden).zip(choices) {
                out.iter_mut().zip(y).for_each(|(out, y)| *out += choice.weight * y);
            }
        }
        self.add_shared((experts, weights), &mut input, context, buffers, out)
    }

    /// Ranks the experts for each token.
    fn route(
        &mut self,
        (experts, weights, active): (&Experts, &ExpertsWeights, usize),
        input: &mut LinearInput<'_>,
        n: usize,
    ) -> Result<()> {
        resize(&mut self.scores, n * experts.count)?;
        match &weights.cosine {
            None => input.apply(experts.router(), &weights.router, &mut self.scores)?,
            Some(cosine) => {
                resize(&mut self.x, n * cosine.reduction.rows())?;
                input.multiply(&cosine.reduction, &mut self.x)?;
                input.of(&self.x).multiply(&weights.router.matrix, &mut self.scores)?;
                for scores in self.scores.chunks_exact_mut(experts.count) {
                    scores
                        .iter_mut()
                        .zip(&cosine.inverse_lengths)
                        .for_each(|(score, length)| *score *= length);
                }
            }
        }
        self.choices.clear();
        self.choices.try_reserve(n * active)?;
        for scores in self.scores.chunks_exact_mut(experts.count) {
            choose(scores, active, experts.normalise, &mut self.of_token);
            self.choices.extend_from_slice(&self.of_token);
        }
        self.by_expert.clear();
        self.by_expert.extend(self.choices.iter().enumerate().map(|(place, choice)| (choice.expert, place)));
        self.by_expert.sort_unstable();
        Ok(())
    }

    /// Adds what the shared network gives.
    fn add_shared(
        &mut self,
        (experts, weights): (&Experts, &ExpertsWeights),
        input: &mut LinearInput<'_>,
        context: &FfnContext<'_>,
        buffers: &mut HiddenBuffers<'_>,
        out: &mut [f32],
    ) -> Result<()> {
        let (Some(spec), Some(shared)) = (&experts.shared, &weights.shared) else { return Ok(()) };
        let (mlp, n) = (&spec.mlp, out.len() / shared.gate.matrix.cols());
        let (gate, up) = (&mut buffers.gate[..n * mlp.width], &mut buffers.up[..n * mlp.width]);
        hidden_layer(mlp, shared, input, gate, up)?;
        resize(&mut self.y, out.len())?;
        LinearInput::new(&mut self.down, gate, context.rotation, context.pool).apply(
            mlp.down,
            &shared.down,
            &mut self.y,
        )?;
        if let Some(matrix) = &weights.shared_gate {
            resize(&mut self.scores, n)?;
            input.multiply(matrix, &mut self.scores)?;
            for (y, score) in self.y.chunks_exact_mut(out.len() / n).zip(&self.scores) {
                let gate = math::sigmoid(*score);
                y.iter_mut().for_each(|y| *y *= gate);
            }
        }
        math::add(out, &self.y);
        Ok(())
    }
}
