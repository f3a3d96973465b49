//! The forward pass.
//!
//! One function for every [`Spec`]: it runs the program, a block is two residual branches, a branch is norms around
//! a body.
//! Invariant: a token's logits depend on the tokens before it and on nothing else, to the last bit: not
//! on how the prompt was cut, the number of threads, or what was rewound.

mod branches;
mod loops;
mod retention;

use alloc::{sync::Arc, vec::Vec};

use branches::{add_branch, scale_by};

use super::{
    BranchWeights, MixerWeights, Model,
    attention::AttentionScratch,
    experts::{ChosenExperts, ExpertScratch},
    linear::{norm_in_place, norm_rows, rotate, rotate_back},
    looped::LoopState,
    resize,
    retention::RetentionScratch,
    rope::RopeTable,
    sparsity::Sparsity,
    spec::{Branch, LearnedPositions, Mixer, Run, Spec},
};
use crate::{
    Result,
    activations::Activations,
    bail,
    cache::{HeadShape, KvCache, KvType},
    math,
    matrix::Matrix,
    pool::Pool,
    recurrent::{RecurrentShape, RecurrentStates},
};

/// How a [`Decoder`] is set up.
#[derive(Clone, Copy, Debug)]
pub struct DecoderOptions {
    /// Positions the cache may grow to; the model's own context where 0.
    pub context: usize,
    /// How keys and values are stored.
    pub kv: KvType,
    /// Tokens computed together; a caller can stop between blocks.
    pub block: usize,
}

impl Default for DecoderOptions {
    fn default() -> Self {
        Self { context: 0, kv: KvType::default(), block: 64 }
    }
}

/// Which logits a call wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// None: only fill the cache.
    Nothing,
    /// Those of the last token. With a screened head ([`Screen`](super::Screen)) all but the best are approximate.
    Last,
    /// Those of every token.
    All,
}

/// Runs a [`Model`] over one sequence.
pub struct Decoder {
    model: Arc<Model>,
    pool: Arc<dyn Pool>,
    cache: KvCache,
    /// What is not kept by position: the states of retention.
    states: RecurrentStates,
    block: usize,
    /// One for each of [`Spec::ropes`].
    tables: Vec<RopeTable>,
    attention: AttentionScratch,
    retention: RetentionScratch,
    experts: ExpertScratch,
    /// For each of [`Spec::blocks`], how many experts a token is given to; 0 for dense ones.
    active: Vec<usize>,
    /// Which ones, once [`Decoder::record_experts`] asked for it.
    chosen: Option<ChosenExperts>,
    rows: Activations,
    buffers: Buffers,
    looped: LoopState,
    out: Vec<f32>,
    /// What was counted, once [`Decoder::count_zeros`] asked for it.
    sparsity: Option<Sparsity>,
}

/// Activations of one block of tokens, each `(n, width)`.
#[derive(Default)]
struct Buffers {
    /// The residual stream.
    x: Vec<f32>,
    /// Normalised input of a branch, and its output.
    h: Vec<f32>,
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    attn: Vec<f32>,
    gate: Vec<f32>,
    up: Vec<f32>,
    /// The output of experts, whose input is `h`.
    mixed: Vec<f32>,
}

impl Buffers {
    fn resize(&mut self, n: usize, spec: &Spec) -> Result<()> {
        let (q, kv, ffn) = spec.widths();
        let widths = [
            (&mut self.x, spec.hidden),
            (&mut self.h, spec.hidden),
            (&mut self.q, q),
            (&mut self.k, kv),
            (&mut self.v, kv),
            (&mut self.attn, q),
            (&mut self.gate, ffn),
            (&mut self.up, ffn),
        ];
        for (buffer, width) in widths {
            resize(buffer, n * width)?;
        }
        Ok(())
    }
}

impl Decoder {
    /// A decoder at position 0.
    ///
    /// # Errors
    /// `out-of-memory`.
    pub fn new(model: Arc<Model>, options: DecoderOptions, pool: Arc<dyn Pool>) -> Result<Self> {
        let spec = &model.spec;
        let context = if options.context == 0 { spec.context } else { options.context };
        // A learned table ends somewhere.
        let context = spec.embed.positions.map_or(context, |table| context.min(table.rows - table.first));
        let looped = LoopState::new(spec);
        let recurrent = recurrent_states(spec);
        // The model's own codes are kept as the numbers they stand for.
        let kv = if spec.cache_codes.is_some() { KvType::F32 } else { options.kv };
        let cache = KvCache::new(kv, slots(spec, looped.runs(spec)), context);
        let mut buffers = Buffers::default();
        buffers.resize(1, spec)?;
        Ok(Self {
            cache,
            states: RecurrentStates::new(recurrent),
            block: options.block.max(1),
            tables: spec.ropes.iter().map(|rope| RopeTable::new(rope, context)).collect(),
            attention: AttentionScratch::default(),
            retention: RetentionScratch::default(),
            experts: ExpertScratch::new(Activations::new(model.isa)),
            active: spec.active_experts(&[])?,
            chosen: None,
            rows: Activations::new(model.isa),
            buffers,
            looped,
            out: Vec::new(),
            sparsity: None,
            model,
            pool,
        })
    }

    /// The model that runs.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// Tokens computed so far.
    pub fn position(&self) -> usize {
        self.cache.len()
    }

    /// Positions there can be.
    pub fn capacity(&self) -> usize {
        self.cache.capacity()
    }

    /// Tokens computed together.
    pub fn block(&self) -> usize {
        if self.looped.is_sequential() { 1 } else { self.block }
    }

    /// Bytes of the cache now: keys and values of attention, which grow with the text, and states of retention,
    /// which do not.
    pub fn cache_bytes(&self) -> usize {
        self.cache.bytes() + self.states.bytes()
    }

    /// Bytes of the states that every token reads whole, however long the text is (those of retention).
    pub fn state_bytes(&self) -> usize {
        self.states.live_bytes()
    }

    /// Bytes of keys and values now.
    pub fn kv_bytes(&self) -> usize {
        self.cache.bytes()
    }

    /// Forgets the tokens from `position` on; returns how many are left, from which the caller goes on. (States that
    /// cannot be cut anywhere go further back.)
    pub fn rewind(&mut self, position: usize) -> usize {
        self.cache.rewind(self.states.rewind(position.min(self.cache.len())));
        self.looped.rewind(self.cache.len());
        self.cache.len()
    }

    /// Says how many experts a token is given to: one number for all blocks that have experts, or one for each of
    /// them; none: as the model says. Tokens computed before keep what they have.
    ///
    /// # Errors
    /// `bad-option` for a model without experts, another count of numbers, and numbers of experts there are not.
    pub fn set_experts(&mut self, active: &[usize]) -> Result<()> {
        self.active = self.model.spec.active_experts(active)?;
        Ok(())
    }

    /// Says whether to record which experts tokens are given to, for [`Decoder::experts_chosen`].
    pub fn record_experts(&mut self, wanted: bool) {
        self.chosen = wanted.then(ChosenExperts::default);
    }

    /// Which experts the token at `position` was given to, for each of its runs through a block that has experts, the most
    /// probable first. Nothing for a token that the last call did not compute, or unless it was to be recorded.
    pub fn experts_chosen(&self, position: usize) -> impl Iterator<Item = &[u16]> {
        self.chosen.iter().flat_map(move |chosen| chosen.at(position))
    }

    /// Counts zeros among the inputs of sparse layers from now on, beginning anew.
    pub fn count_zeros(&mut self) {
        self.sparsity = Some(Sparsity::default());
    }

    /// The zeros since [`Decoder::count_zeros`] was called; `None` if it never was.
    pub fn sparsity(&self) -> Option<&Sparsity> {
        self.sparsity.as_ref()
    }

    /// How many experts each block gives a token to; 0 where it has none.
    pub fn active_experts(&self) -> &[usize] {
        &self.active
    }

    /// Computes `tokens` after those before, and returns the logits asked for, `(tokens, vocab)`.
    ///
    /// # Errors
    /// `context-full` and `bad-option` (a token id outside the vocabulary) before anything is computed;
    /// `out-of-memory`.
    pub fn forward(&mut self, tokens: &[u32], want: Want) -> Result<&[f32]> {
        self.check(tokens)?;
        let model = Arc::clone(&self.model);
        let vocab = model.head().rows();
        let hidden = model.spec.hidden;
        let rows = match want {
            Want::Nothing => 0,
            Want::Last => tokens.len().min(1),
            Want::All => tokens.len(),
        };
        resize(&mut self.out, rows * vocab)?;
        let mut done = 0;
        while done < tokens.len() {
            let block = self.blocks(&model, &tokens[done..])?;
            done += block.len();
            let from = match want {
                Want::All => 0,
                Want::Last if done == tokens.len() => block.len() - 1,
                _ => continue,
            };
            let n = block.len() - from;
            let x = &self.buffers.x[from * hidden..];
            let normed = self.rows.set(n, hidden);
            norm_rows(x, hidden, model.spec.head_norm(), &model.norm, normed);
            if let (true, Some(rotation)) = (model.spec.output.rotated, &model.spec.rotation) {
                rotate(normed, hidden, rotation);
            }
            let at = if want == Want::All { (done - n) * vocab } else { 0 };
            let out = &mut self.out[at..at + n * vocab];
            match &model.screen {
                Some(screen) if want == Want::Last => {
                    screen.mul(model.head(), &mut self.rows, out, &*self.pool)?;
                }
                _ => {
                    self.rows.prepare(model.head().input())?;
                    model.head().mul(&self.rows, out, &*self.pool);
                }
            }
            scale_by(out, model.spec.output.scale);
        }
        Ok(&self.out)
    }

    /// Computes `tokens` and returns their states after the final norm, `(tokens, hidden)`.
    ///
    /// # Errors
    /// As [`Decoder::forward`].
    pub fn hidden(&mut self, tokens: &[u32]) -> Result<&[f32]> {
        self.check(tokens)?;
        let model = Arc::clone(&self.model);
        let hidden = model.spec.hidden;
        resize(&mut self.out, tokens.len() * hidden)?;
        let mut done = 0;
        while done < tokens.len() {
            let block = self.blocks(&model, &tokens[done..])?;
            let out = &mut self.out[done * hidden..][..block.len() * hidden];
            norm_rows(&self.buffers.x, hidden, model.spec.head_norm(), &model.norm, out);
            done += block.len();
        }
        Ok(&self.out)
    }

    fn check(&mut self, tokens: &[u32]) -> Result<()> {
        let vocab = self.model.embedding.rows();
        if let Some(token) = tokens.iter().find(|&&t| t as usize >= vocab) {
            bail!(BadOption, "token {token} is outside the vocabulary of {vocab}");
        }
        if let Some(chosen) = &mut self.chosen {
            chosen.clear();
        }
        self.states.reserve()?;
        self.cache.reserve(tokens.len())
    }

    /// Runs the program over the first block of `tokens`, and returns it; the residual stream is left in `buffers.x`.
    fn blocks<'t>(&mut self, model: &Model, tokens: &'t [u32]) -> Result<&'t [u32]> {
        let spec = &model.spec;
        self.states.begin(model.isa, &*self.pool);
        let tokens = &tokens[..tokens.len().min(self.block()).min(self.states.room())];
        self.buffers.resize(tokens.len(), spec)?;
        for (token, x) in tokens.iter().zip(self.buffers.x.chunks_exact_mut(spec.hidden)) {
            model.embedding.row(*token as usize, x);
            if let (true, Some(rotation)) = (spec.embed.rotated, &spec.rotation) {
                rotate_back(x, rotation);
            }
        }
        scale_by(&mut self.buffers.x, spec.embed.scale);
        if let (Some(learned), Some(table)) = (spec.embed.positions, &model.positions) {
            self.add_positions(learned, table);
        }
        norm_in_place(&mut self.buffers.x, spec.embed.norm, &model.embedding_norm);
        for table in &mut self.tables {
            table.fill(self.cache.len(), tokens.len())?;
        }
        let first = self.cache.len();
        for &run in &spec.program.prelude {
            self.run(model, run, &BlockTokens::all(first))?;
        }
        if let Some(body) = &spec.program.body {
            self.run_loop(model, body)?;
        }
        for &run in &spec.program.coda {
            self.run(model, run, &BlockTokens::all(first))?;
        }
        self.cache.advance(tokens.len());
        self.states.advance(tokens.len());
        Ok(tokens)
    }

    /// One pass through one block, of `tokens`, whose residual stream `buffers.x` is.
    fn run(&mut self, model: &Model, run: Run, tokens: &BlockTokens<'_>) -> Result<()> {
        let (spec, block, weights) = (&model.spec, &model.spec.blocks[run.block], &model.blocks[run.block]);
        self.mixer(spec, (&block.mixer, &weights.mixer), run, tokens)?;
        self.ffn(spec, (&block.ffn, &weights.ffn), run, tokens)
    }

    fn add_positions(&mut self, learned: LearnedPositions, table: &Matrix) {
        let Buffers { x, h, .. } = &mut self.buffers;
        let rows = x.chunks_exact_mut(table.cols()).zip(h.chunks_exact_mut(table.cols()));
        for (i, (x, h)) in rows.enumerate() {
            table.row(learned.first + self.cache.len() + i, h);
            math::add(x, h);
        }
    }

    fn mixer(
        &mut self,
        spec: &Spec,
        (branch, weights): (&Branch<Mixer>, &BranchWeights<MixerWeights>),
        run: Run,
        tokens: &BlockTokens<'_>,
    ) -> Result<()> {
        let b = &mut self.buffers;
        norm_rows(&b.x, spec.hidden, branch.pre, &weights.pre, &mut b.h);
        match (&branch.body, &weights.body) {
            (Mixer::Attention(attention), MixerWeights::Attention(body)) => {
                self.attention(spec, (attention, body), run, tokens)?;
            }
            (Mixer::Retention(retention), MixerWeights::Retention(body)) => {
                self.retention(spec, retention, body, run.state)?;
            }
            _ => unreachable!("weights are loaded as the spec says"),
        }
        let b = &mut self.buffers;
        add_branch(&mut b.x, &mut b.h, branch, weights);
        Ok(())
    }
}

/// The tokens of a block that take part in a run.
struct BlockTokens<'a> {
    /// The position in the run's state of the first one.
    first: usize,
    /// Which of the block's tokens they are; none: all.
    some: Option<&'a [usize]>,
    /// Tokens of the block that have left the loop, whose keys and values stay as they are.
    left: &'a [bool],
}

impl BlockTokens<'_> {
    /// All of a block that begins at position `first`.
    const fn all(first: usize) -> Self {
        Self { first, some: None, left: &[] }
    }
}

/// What each state of `runs` holds.
fn slots(spec: &Spec, runs: impl Iterator<Item = Run>) -> Vec<HeadShape> {
    let mut shapes = Vec::new();
    for run in runs {
        if shapes.len() <= run.state {
            shapes.resize(run.state + 1, HeadShape::default());
        }
        if let Mixer::Attention(attention) = &spec.blocks[run.block].mixer.body {
            shapes[run.state] = HeadShape { heads: attention.kv_heads, dim: attention.head_dim };
        }
    }
    shapes
}

/// The states of retention, by the states of the program. (No model has retention in a loop.)
fn recurrent_states(spec: &Spec) -> Vec<Option<RecurrentShape>> {
    let mut shapes = alloc::vec![None; spec.program.states(1)];
    for run in spec.program.runs(1) {
        if let Mixer::Retention(retention) = &spec.blocks[run.block].mixer.body {
            shapes[run.state] = Some(retention.state());
        }
    }
    shapes
}
