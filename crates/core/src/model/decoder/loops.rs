//! Runs the loop of a program, and lets tokens leave it.
//!
//! Invariant: as for everything, a token's result depends on the tokens before it alone. So a token that leaves early
//! leaves the same keys and values behind, whatever else is in its block.

use alloc::{sync::Arc, vec::Vec};

use super::{
    super::{
        LinearWeights, Model,
        experts::choose,
        linear::{LinearInput, norm_in_place},
        looped::{Leaving, LoopKv, LoopOptions, check},
        resize,
        spec::{Exit, Loop, LoopNorm},
    },
    BlockTokens, Decoder, slots,
};
use crate::{Result, bail, cache::KvCache, math, matrix::Matrix};

impl Decoder {
    /// Says how the model loops. If keys and values depend on what is changed, the decoder begins anew at position 0;
    /// else tokens computed before keep what they have.
    ///
    /// # Errors
    /// `bad-option` for what the model does not have (loops, a number of passes that can be chosen, an exit gate), and
    /// for values out of range.
    pub fn set_loops(&mut self, options: LoopOptions) -> Result<()> {
        let model = Arc::clone(&self.model);
        check(&model.spec, options)?;
        if self.looped.apply(&model.spec, options) {
            self.rewind(0);
            let slots = slots(&model.spec, self.looped.runs(&model.spec));
            self.cache = KvCache::new(self.cache.kv(), slots, self.cache.capacity());
        }
        Ok(())
    }

    /// How the model loops.
    pub fn loops(&self) -> LoopOptions {
        self.looped.options
    }

    /// For each position so far, how many passes through the loop its token took: the pass whose result went on. Empty
    /// for a model without a loop.
    pub fn loops_taken(&self) -> &[u16] {
        &self.looped.taken
    }

    /// The states that the loop begins with for the next tokens, `(tokens, hidden)`, instead of zeros.
    ///
    /// # Errors
    /// `bad-option` for a model whose loop begins with what came before it, or states of another width.
    pub fn begin_loops_with(&mut self, states: &[f32]) -> Result<()> {
        let spec = &self.model.spec;
        if !spec.program.body.as_ref().is_some_and(|body| body.adapter) {
            bail!(BadOption, "the loops of this model have no state to begin with");
        }
        if !states.len().is_multiple_of(spec.hidden) {
            bail!(BadOption, "{} values are no states of width {}", states.len(), spec.hidden);
        }
        self.looped.begin.clear();
        self.looped.begin.try_reserve(states.len())?;
        self.looped.begin.extend_from_slice(states);
        Ok(())
    }

    /// Runs the loop over one block of tokens.
    pub(super) fn run_loop(&mut self, model: &Model, body: &Loop) -> Result<()> {
        self.looped.taken.truncate(self.cache.len());
        if matches!(body.exit, Exit::Router { .. }) {
            return self.run_routed(model, body);
        }
        let hidden = model.spec.hidden;
        let n = self.buffers.x.len() / hidden;
        self.begin(body)?;
        self.looped.leaving.clear();
        self.looped.leaving.resize(n, Leaving { cumulative: 0.0, stays: 1.0, pass: 0 });
        self.looped.left.clear();
        self.looped.left.resize(n, false);
        for pass in 0..self.looped.loops {
            if let Some(adapter) = &model.looped.adapter {
                self.inject(adapter, hidden)?;
            }
            let left = core::mem::take(&mut self.looped.left);
            for &run in &body.runs {
                let run = self.looped.in_pass(body, run, pass);
                self.run(model, run, &BlockTokens { left: &left, ..BlockTokens::all(self.cache.len()) })?;
            }
            self.looped.left = left;
            if body.norm == LoopNorm::EachPass {
                norm_in_place(&mut self.buffers.x, Some(model.spec.norm), &model.norm);
            }
            if let (Some(threshold), Some(gate)) = (self.looped.threshold, &model.looped.exit)
                && self.leave((model, gate), body, pass, threshold)?
            {
                break;
            }
        }
        if body.norm == LoopNorm::AfterLoop {
            norm_in_place(&mut self.buffers.x, Some(model.spec.norm), &model.norm);
        }
        let state = &mut self.looped;
        state.taken.try_reserve(n)?;
        if state.threshold.is_some() {
            core::mem::swap(&mut self.buffers.x, &mut state.states);
            state.taken.extend(state.leaving.iter().map(|token| token.pass));
        } else {
            state.taken.extend(core::iter::repeat_n(state.loops as u16, n));
        }
        Ok(())
    }

    /// Sets the residual stream to what the loop begins with.
    fn begin(&mut self, body: &Loop) -> Result<()> {
        if !body.adapter {
            return Ok(());
        }
        let (state, x) = (&mut self.looped, &mut self.buffers.x);
        resize(&mut state.entered, x.len())?;
        state.entered.copy_from_slice(x);
        x.fill(0.0);
        if !state.begin.is_empty() {
            let Some(begin) = state.begin.get(..x.len()) else {
                bail!(BadOption, "there are fewer states to begin with than tokens");
            };
            x.copy_from_slice(begin);
            state.begin.drain(..x.len());
        }
        Ok(())
    }

    /// x ← W · concat(x, what came into the loop).
    fn inject(&mut self, adapter: &Matrix, hidden: usize) -> Result<()> {
        let Self { buffers, looped, rows, pool, .. } = self;
        resize(&mut looped.joined, 2 * buffers.x.len())?;
        let both = buffers.x.chunks_exact(hidden).zip(looped.entered.chunks_exact(hidden));
        for (joined, (x, entered)) in looped.joined.chunks_exact_mut(2 * hidden).zip(both) {
            joined[..hidden].copy_from_slice(x);
            joined[hidden..].copy_from_slice(entered);
        }
        LinearInput::new(rows, &looped.joined, None, &**pool).multiply(adapter, &mut buffers.x)
    }

    /// Asks the gate who leaves after `pass` (from 0); true if nothing is left to compute.
    ///
    /// λ is the probability of leaving among those that stayed, so a pass takes λ · (1 − λ') · (1 − λ'') …, and the last
    /// one takes the rest.
    fn leave(
        &mut self,
        (model, gate): (&Model, &LinearWeights),
        body: &Loop,
        pass: usize,
        threshold: f32,
    ) -> Result<bool> {
        let hidden = model.spec.hidden;
        let Self { buffers, looped, rows, pool, cache, .. } = self;
        let n = buffers.x.len() / hidden;
        let is_last = pass + 1 == looped.loops;
        resize(&mut looped.states, buffers.x.len())?;
        resize(&mut looped.scores, n)?;
        let Some((layer, _)) = body.exit_layer() else { return Ok(false) };
        LinearInput::new(rows, &buffers.x, None, &**pool).apply(layer, gate, &mut looped.scores)?;
        let is_early = looped.options.early_exit;
        for t in 0..n {
            let token = &mut looped.leaving[t];
            if token.pass > 0 {
                continue;
            }
            let gate = math::sigmoid(looped.scores[t]);
            token.cumulative += if is_last { token.stays } else { gate * token.stays };
            token.stays *= 1.0 - gate;
            if !is_last && token.cumulative < threshold {
                continue;
            }
            token.pass = pass as u16 + 1;
            let at = t * hidden..(t + 1) * hidden;
            looped.states[at.clone()].copy_from_slice(&buffers.x[at]);
            if is_early {
                looped.left[t] = true;
                let later = if looped.options.kv == LoopKv::Last { 0..0 } else { pass + 1..looped.loops };
                for (run, later) in later.flat_map(|later| body.runs.iter().map(move |run| (*run, later))) {
                    let [from, to] = [pass, later].map(|pass| run.later(pass, body.states()).state);
                    cache.copy(from, to, cache.len() + t);
                }
            }
        }
        Ok(is_early && looped.left.iter().all(|left| *left))
    }

    /// The loop of a model whose router says how many passes each token takes.
    ///
    /// The states of a pass hold the tokens that take it, without gaps.
    fn run_routed(&mut self, model: &Model, body: &Loop) -> Result<()> {
        let hidden = model.spec.hidden;
        let (Some(router), Some((layer, passes))) = (&model.looped.exit, body.exit_layer()) else {
            unreachable!("weights are loaded as the spec says")
        };
        let n = self.buffers.x.len() / hidden;
        let Self { buffers, looped, rows, pool, .. } = self;
        resize(&mut looped.scores, n * passes)?;
        LinearInput::new(rows, &buffers.x, None, &**pool).apply(layer, router, &mut looped.scores)?;
        let (mut chosen, mut choices) = (Vec::new(), Vec::new());
        choices.try_reserve(n)?;
        for scores in looped.scores.chunks_exact_mut(passes) {
            choose(scores, 1, false, &mut chosen);
            choices.extend_from_slice(&chosen);
        }
        for buffer in [&mut looped.entered, &mut looped.states] {
            resize(buffer, n * hidden)?;
            buffer.copy_from_slice(&buffers.x);
        }
        for pass in 0..passes {
            let some: Vec<usize> = (0..n).filter(|&t| choices[t].expert >= pass).collect();
            if some.is_empty() {
                break;
            }
            self.buffers.resize(some.len(), &model.spec)?;
            let rows = |t: usize| t * hidden..(t + 1) * hidden;
            for (i, &t) in some.iter().enumerate() {
                self.buffers.x[rows(i)].copy_from_slice(&self.looped.states[rows(t)]);
            }
            let first = self.looped.taken.iter().filter(|taken| usize::from(**taken) > pass).count();
            for &run in &body.runs {
                let tokens = BlockTokens { first, some: Some(&some), left: &[] };
                self.run(model, run.later(pass, body.states()), &tokens)?;
            }
            for (i, &t) in some.iter().enumerate() {
                self.looped.states[rows(t)].copy_from_slice(&self.buffers.x[rows(i)]);
            }
        }
        self.buffers.resize(n, &model.spec)?;
        let Self { buffers, looped, .. } = self;
        let both = looped.entered.chunks_exact(hidden).zip(looped.states.chunks_exact(hidden));
        for ((x, (entered, state)), choice) in buffers.x.chunks_exact_mut(hidden).zip(both).zip(&choices) {
            for ((x, entered), state) in x.iter_mut().zip(entered).zip(state) {
                *x = entered + choice.weight * (state - entered);
            }
        }
        looped.taken.try_reserve(n)?;
        looped.taken.extend(choices.iter().map(|choice| choice.expert as u16 + 1));
        Ok(())
    }
}
