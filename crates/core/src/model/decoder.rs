//! The forward pass.
//!
//! One function for every architecture of [`Spec`]: pre-norm attention and gated feed-forward blocks with
//! the optional norms of BitNet, Qwen3 and the BitNet embedding models.
//! Invariant: a token's logits depend on the tokens before it and on nothing else, to the last bit: not
//! on how the prompt was cut, the number of threads, or what was rewound.

use alloc::{sync::Arc, vec::Vec};

use super::{Activation, Layer, Model, Projection, Spec, attention::Attention, rope::RopeTable};
use crate::{
    Result,
    act::Rows,
    bail,
    cache::{KvCache, KvType},
    math,
    pool::Pool,
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
    block: usize,
    table: RopeTable,
    attention: Attention,
    rows: Rows,
    buffers: Buffers,
    out: Vec<f32>,
}

/// Activations of one block of tokens, each `(n, width)`.
#[derive(Default)]
struct Buffers {
    /// The residual stream.
    x: Vec<f32>,
    /// Normalised input of a half block, and its output.
    h: Vec<f32>,
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    attn: Vec<f32>,
    gate: Vec<f32>,
    up: Vec<f32>,
}

impl Buffers {
    fn resize(&mut self, n: usize, spec: &Spec) -> Result<()> {
        let widths = [
            (&mut self.x, spec.hidden),
            (&mut self.h, spec.hidden),
            (&mut self.q, spec.q_width()),
            (&mut self.k, spec.kv_width()),
            (&mut self.v, spec.kv_width()),
            (&mut self.attn, spec.q_width()),
            (&mut self.gate, spec.ffn),
            (&mut self.up, spec.ffn),
        ];
        for (buffer, width) in widths {
            resize(buffer, n * width)?;
        }
        Ok(())
    }
}

fn resize(buffer: &mut Vec<f32>, len: usize) -> Result<()> {
    buffer.try_reserve(len.saturating_sub(buffer.len()))?;
    buffer.resize(len, 0.0);
    Ok(())
}

impl Decoder {
    /// A decoder at position 0.
    ///
    /// # Errors
    /// `out-of-memory`.
    pub fn new(model: Arc<Model>, options: DecoderOptions, pool: Arc<dyn Pool>) -> Result<Self> {
        let spec = &model.spec;
        let context = if options.context == 0 { spec.context } else { options.context };
        let slots = spec.steps.iter().map(|step| step.slot + 1).max().unwrap_or(0);
        let cache = KvCache::new(options.kv, slots, spec.kv_heads, spec.head_dim, context);
        let mut buffers = Buffers::default();
        buffers.resize(1, spec)?;
        Ok(Self {
            cache,
            block: options.block.max(1),
            table: RopeTable::new(&spec.rope),
            attention: Attention::new(model.isa),
            rows: Rows::new(model.isa),
            buffers,
            out: Vec::new(),
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
        self.block
    }

    /// Bytes of the cache now.
    pub fn cache_bytes(&self) -> usize {
        self.cache.bytes()
    }

    /// Forgets the tokens from `position` on.
    pub fn rewind(&mut self, position: usize) {
        self.cache.rewind(position);
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
        for block in tokens.chunks(self.block) {
            self.blocks(&model, block)?;
            done += block.len();
            let from = match want {
                Want::All => 0,
                Want::Last if done == tokens.len() => block.len() - 1,
                _ => continue,
            };
            let n = block.len() - from;
            let x = &self.buffers.x[from * hidden..];
            let normed = self.rows.set(n, hidden);
            norm_rows(x, &model.final_norm, model.spec.norm_eps, normed);
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
        for block in tokens.chunks(self.block) {
            self.blocks(&model, block)?;
            let out = &mut self.out[done * hidden..][..block.len() * hidden];
            norm_rows(&self.buffers.x, &model.final_norm, model.spec.norm_eps, out);
            done += block.len();
        }
        Ok(&self.out)
    }

    fn check(&mut self, tokens: &[u32]) -> Result<()> {
        let vocab = self.model.embedding.rows();
        if let Some(token) = tokens.iter().find(|&&t| t as usize >= vocab) {
            bail!(BadOption, "token {token} is outside the vocabulary of {vocab}");
        }
        self.cache.reserve(tokens.len())
    }

    /// Runs every layer over one block of tokens; the residual stream is left in `buffers.x`.
    fn blocks(&mut self, model: &Model, tokens: &[u32]) -> Result<()> {
        let spec = &model.spec;
        self.buffers.resize(tokens.len(), spec)?;
        for (token, x) in tokens.iter().zip(self.buffers.x.chunks_exact_mut(spec.hidden)) {
            model.embedding.row(*token as usize, x);
        }
        self.table.fill(self.cache.len(), tokens.len())?;
        for step in &spec.steps {
            let layer = &model.layers[step.weights];
            self.attention_half(spec, layer, step.slot)?;
            self.ffn_half(spec, layer)?;
        }
        self.cache.advance(tokens.len());
        Ok(())
    }

    fn attention_half(&mut self, spec: &Spec, layer: &Layer, slot: usize) -> Result<()> {
        let Self { buffers: b, rows, cache, table, attention, pool, .. } = self;
        let eps = spec.norm_eps;
        let pool = &**pool;
        norm_rows(&b.x, &layer.attn_norm, eps, &mut b.h);
        let mut input = Input::new(rows, &b.h, eps, pool);
        input.linear(&layer.q, &mut b.q)?;
        input.linear(&layer.k, &mut b.k)?;
        input.linear(&layer.v, &mut b.v)?;
        let first = cache.len();
        let tokens = b.q.chunks_exact_mut(spec.q_width()).zip(b.k.chunks_exact_mut(spec.kv_width()));
        for (i, ((q, k), v)) in tokens.zip(b.v.chunks_exact(spec.kv_width())).enumerate() {
            norm_heads(q, layer.q_norm.as_deref(), eps);
            norm_heads(k, layer.k_norm.as_deref(), eps);
            spec.rope.rotate(q, spec.head_dim, table, i);
            spec.rope.rotate(k, spec.head_dim, table, i);
            cache.write(slot, first + i, k, v)?;
        }
        attention.run(spec, cache, slot, first, &b.q, &mut b.attn, pool)?;
        if let Some(gain) = &layer.attn_sub_norm {
            norm_rows_in_place(&mut b.attn, gain, eps);
        }
        Input::new(rows, &b.attn, eps, pool).linear(&layer.o, &mut b.h)?;
        math::add(&mut b.x, &b.h);
        Ok(())
    }

    fn ffn_half(&mut self, spec: &Spec, layer: &Layer) -> Result<()> {
        let Self { buffers: b, rows, pool, .. } = self;
        let eps = spec.norm_eps;
        let pool = &**pool;
        norm_rows(&b.x, &layer.ffn_norm, eps, &mut b.h);
        let mut input = Input::new(rows, &b.h, eps, pool);
        input.linear(&layer.gate, &mut b.gate)?;
        input.linear(&layer.up, &mut b.up)?;
        match spec.activation {
            Activation::Silu => gate(&mut b.gate, &b.up, math::silu),
            Activation::Relu2 => gate(&mut b.gate, &b.up, math::relu2),
        }
        if let Some(gain) = &layer.ffn_sub_norm {
            norm_rows_in_place(&mut b.gate, gain, eps);
        }
        Input::new(rows, &b.gate, eps, pool).linear(&layer.down, &mut b.h)?;
        math::add(&mut b.x, &b.h);
        Ok(())
    }
}

/// The shared input of several linear layers; quantised once for those that take it as it is.
struct Input<'a> {
    rows: &'a mut Rows,
    x: &'a [f32],
    eps: f32,
    pool: &'a dyn Pool,
    /// `rows` holds `x` itself (not a projection's own normalisation of it).
    plain: bool,
}

impl<'a> Input<'a> {
    fn new(rows: &'a mut Rows, x: &'a [f32], eps: f32, pool: &'a dyn Pool) -> Self {
        Self { rows, x, eps, pool, plain: false }
    }

    /// y = W·x (+ bias), `(n, out)`.
    fn linear(&mut self, layer: &Projection, y: &mut [f32]) -> Result<()> {
        let cols = layer.matrix.cols();
        let n = self.x.len() / cols;
        match &layer.norm {
            Some(gain) => {
                norm_rows(self.x, gain, self.eps, self.rows.set(n, cols));
                self.plain = false;
            }
            None if !self.plain => {
                self.rows.set(n, cols).copy_from_slice(self.x);
                self.plain = true;
            }
            None => {}
        }
        self.rows.prepare(layer.matrix.input())?;
        layer.matrix.mul(self.rows, y, self.pool);
        if let Some(bias) = &layer.bias {
            for y in y.chunks_exact_mut(bias.len()) {
                math::add(y, bias);
            }
        }
        Ok(())
    }
}

/// gate ← f(gate)·up.
fn gate(gate: &mut [f32], up: &[f32], f: impl Fn(f32) -> f32) {
    for (g, &u) in gate.iter_mut().zip(up) {
        *g = f(*g) * u;
    }
}

fn norm_rows(x: &[f32], gain: &[f32], eps: f32, out: &mut [f32]) {
    for (x, out) in x.chunks_exact(gain.len()).zip(out.chunks_exact_mut(gain.len())) {
        math::rms_norm(x, gain, eps, out);
    }
}

fn norm_rows_in_place(x: &mut [f32], gain: &[f32], eps: f32) {
    for x in x.chunks_exact_mut(gain.len()) {
        math::rms_norm_in_place(x, gain, eps);
    }
}

/// QK-norm: each head is normalised by itself.
fn norm_heads(x: &mut [f32], gain: Option<&[f32]>, eps: f32) {
    if let Some(gain) = gain {
        norm_rows_in_place(x, gain, eps);
    }
}
