//! Multi-scale retention (Sun et al. 2023, "Retentive Network", arXiv 2307.08621): what RetNet has in attention's place.
//!
//! A head forgets by a factor γ per step: `oₜ = Σ γ^(t − j) (qₜ · kⱼ) vⱼ` over `j ≤ t`, divided by √Σ γ^(t − j), then
//! normalised over the head. The part of chunks that are past is `γ^(t − c + 1) qₜ S`, with S the head's matrix at the
//! chunk's first position c ([`crate::recurrent`]); that of the current chunk is summed position by position. A
//! prompt computes the same sums as decoding, several queries at a time.

use alloc::vec::Vec;

use super::{
    LinearWeights, Spec,
    decoder::Decoder,
    linear::LinearInput,
    resize,
    rope::{Rope, Rotated},
    spec::{Linear, TensorList},
    tensor_names::{LinearRole, RetentionTable, TensorRole},
};
use crate::{
    Result,
    cache::TILE,
    math,
    pool::{self, Pool},
    recurrent::{CHUNK, HeadState, RecurrentShape, RecurrentStates},
    simd::{Isa, vectorised},
};

/// Queries that share one pass over a head's matrix: as many as keep their sums in registers.
const QUERIES: usize = 4;

/// Multi-scale retention: heads that forget at different speeds, and a gate on what they give.
#[derive(Clone, Debug, PartialEq)]
pub struct Retention {
    /// Heads; head h multiplies what it knows by γ = 1 − 2^(−5 − h) at each step.
    pub heads: usize,
    /// Width of a head's queries and keys; even.
    pub key_dim: usize,
    /// Width of a head's values.
    pub value_dim: usize,
    /// Multiplies the keys; 1 / √key_dim for most.
    pub scale: f32,
    /// Index into [`Spec::ropes`](super::Spec::ropes).
    pub rope: usize,
    /// Of the RMSNorm without gain over what each head gives.
    pub eps: f32,
    /// Query projection (heads · key_dim, hidden).
    pub q: Linear,
    /// Key projection (heads · key_dim, hidden).
    pub k: Linear,
    /// Value projection (heads · value_dim, hidden).
    pub v: Linear,
    /// The gate (heads · value_dim, hidden): x·σ(x) of it multiplies what the heads give.
    pub gate: Linear,
    /// Output projection (hidden, heads · value_dim).
    pub o: Linear,
}

/// The weights of [`Retention`].
#[allow(missing_docs, reason = "the names are those of the spec")]
pub struct RetentionWeights {
    pub q: LinearWeights,
    pub k: LinearWeights,
    pub v: LinearWeights,
    pub gate: LinearWeights,
    pub o: LinearWeights,
}

impl Retention {
    /// Width of all queries or keys.
    pub fn key_width(&self) -> usize {
        self.heads * self.key_dim
    }

    /// Width of all values.
    pub fn value_width(&self) -> usize {
        self.heads * self.value_dim
    }

    /// γ of each head, as f32 has it.
    pub fn decays(&self) -> Vec<f32> {
        (0..self.heads).map(|head| 1.0 - libm::ldexpf(1.0, -5 - head as i32)).collect()
    }

    /// What a file's table holds, if it is of these dimensions.
    pub fn table(&self, table: RetentionTable, rope: &Rope) -> Vec<f32> {
        match table {
            // Those of a pair are the same.
            RetentionTable::Angles => {
                rope.frequencies(0).0.into_iter().flat_map(|angle| [angle; 2]).collect()
            }
            RetentionTable::Decays => {
                self.decays().into_iter().map(|decay| libm::log(f64::from(decay)) as f32).collect()
            }
        }
    }

    /// What one run keeps of past tokens.
    pub fn state(&self) -> RecurrentShape {
        RecurrentShape { key_dim: self.key_dim, value_dim: self.value_dim, decays: self.decays() }
    }

    pub(super) fn linear(&self, linear: LinearRole) -> Option<&Linear> {
        match linear {
            LinearRole::Q => Some(&self.q),
            LinearRole::K => Some(&self.k),
            LinearRole::V => Some(&self.v),
            LinearRole::MixerGate => Some(&self.gate),
            LinearRole::O => Some(&self.o),
            _ => None,
        }
    }

    pub(super) fn linear_mut(&mut self, linear: LinearRole) -> Option<&mut Linear> {
        match linear {
            LinearRole::Q => Some(&mut self.q),
            LinearRole::K => Some(&mut self.k),
            LinearRole::V => Some(&mut self.v),
            LinearRole::MixerGate => Some(&mut self.gate),
            LinearRole::O => Some(&mut self.o),
            _ => None,
        }
    }

    /// Lists the tensors of block `i`.
    pub(super) fn tensors(&self, i: usize, hidden: usize, list: &mut TensorList) {
        let linear = |linear| move |field| TensorRole::Linear(i, linear, field);
        let (keys, values) = (self.key_width(), self.value_width());
        list.linear(linear(LinearRole::Q), self.q, keys, hidden);
        list.linear(linear(LinearRole::K), self.k, keys, hidden);
        list.linear(linear(LinearRole::V), self.v, values, hidden);
        list.linear(linear(LinearRole::MixerGate), self.gate, values, hidden);
        list.linear(linear(LinearRole::O), self.o, hidden, values);
    }
}

/// Working memory of retention.
#[derive(Default)]
pub(super) struct RetentionScratch {
    /// What each head gives, `(heads, n, value_dim)`, padded.
    heads: Vec<f32>,
    /// Scores of the chunk's positions, `(heads, n, CHUNK)`.
    scores: Vec<f32>,
}

/// What one call retains with.
struct Layer<'a> {
    isa: Isa,
    retention: &'a Retention,
    states: &'a RecurrentStates,
    state: usize,
    /// Position of the first query.
    first: usize,
    pool: &'a dyn Pool,
}

impl Decoder {
    /// The output of a retention for the normalised tokens in `buffers.h`, left there.
    pub(super) fn retention(
        &mut self,
        spec: &Spec,
        retention: &Retention,
        weights: &RetentionWeights,
        state: usize,
    ) -> Result<()> {
        let Self { buffers: b, rows, cache, states, tables, retention: scratch, pool, model, .. } = self;
        let (rotation, pool) = (spec.rotation.as_ref(), &**pool);
        let n = b.x.len() / spec.hidden;
        let (key_width, value_width) = (retention.key_width(), retention.value_width());
        let (q, k) = (&mut b.q[..n * key_width], &mut b.k[..n * key_width]);
        let (v, gate) = (&mut b.v[..n * value_width], &mut b.gate[..n * value_width]);
        let mut input = LinearInput::new(rows, &b.h, rotation, pool);
        input.apply(retention.q, &weights.q, q)?;
        input.apply(retention.k, &weights.k, k)?;
        input.apply(retention.v, &weights.v, v)?;
        input.apply(retention.gate, &weights.gate, gate)?;
        k.iter_mut().for_each(|k| *k *= retention.scale);
        let first = cache.len();
        let rope = (&spec.ropes[retention.rope], &tables[retention.rope]);
        let tokens = q.chunks_exact_mut(key_width).zip(k.chunks_exact_mut(key_width));
        for (i, ((q, k), v)) in tokens.zip(v.chunks_exact(value_width)).enumerate() {
            rope.0.rotate(Rotated::Query, q, retention.key_dim, rope.1, i);
            rope.0.rotate(Rotated::Key, k, retention.key_dim, rope.1, i);
            states.write(state, first + i, k, v)?;
        }
        let out = &mut b.attn[..n * value_width];
        scratch.run(&Layer { isa: model.isa, retention, states, state, first, pool }, q, out)?;
        out.iter_mut().zip(gate).for_each(|(out, gate)| *out *= math::silu(*gate));
        LinearInput::new(rows, out, rotation, pool).apply(retention.o, &weights.o, &mut b.h)
    }
}

impl RetentionScratch {
    /// What the heads give for queries of `(n, heads · key_dim)` whose keys and values are written, into `out`, `(n,
    /// heads · value_dim)`.
    fn run(&mut self, layer: &Layer<'_>, q: &[f32], out: &mut [f32]) -> Result<()> {
        let Retention { heads, value_dim, .. } = *layer.retention;
        let n = q.len() / layer.retention.key_width();
        let padded = value_dim.next_multiple_of(TILE);
        resize(&mut self.heads, heads * n * padded)?;
        resize(&mut self.scores, heads * n * CHUNK)?;
        let (given, scores) = (&mut self.heads[..heads * n * padded], &mut self.scores[..heads * n * CHUNK]);
        pool::chunks_with(layer.pool, given, n * padded, scores, &|head, out, scores| {
            vectorised(
                layer.isa,
                #[inline(always)]
                || layer.head(head, q, scores, out),
            );
        });
        for (head, given) in given.chunks_exact(n * padded).enumerate() {
            for (out, given) in out.chunks_exact_mut(heads * value_dim).zip(given.chunks_exact(padded)) {
                out[head * value_dim..][..value_dim].copy_from_slice(&given[..value_dim]);
            }
        }
        Ok(())
    }
}

impl Layer<'_> {
    /// One head for all queries; `scores` is `(n, CHUNK)`, `out` `(n, value_dim)`, padded.
    #[inline(always)]
    fn head(&self, head: usize, q: &[f32], scores: &mut [f32], out: &mut [f32]) {
        let Some(state) = self.states.head(self.state, head) else { return };
        let &Retention { key_dim, value_dim, eps, .. } = self.retention;
        let (width, padded) = (self.retention.key_width(), value_dim.next_multiple_of(TILE));
        let query = |t: usize| &q[t * width + head * key_dim..][..key_dim];
        let n = q.len() / width;
        let first = self.first - self.states.start();
        for (t, scores) in scores.chunks_exact_mut(CHUNK).enumerate() {
            let keys = state.keys.chunks_exact(key_dim);
            for (j, (score, key)) in scores[..=first + t].iter_mut().zip(keys).enumerate() {
                *score = math::dot(query(t), key) * state.powers[first + t - j];
            }
        }
        for t in (0..n).step_by(QUERIES) {
            let some = t..(t + QUERIES).min(n);
            let (scores, out) = (&scores[t * CHUNK..], &mut out[t * padded..some.end * padded]);
            if some.len() == QUERIES {
                mix::<QUERIES>(&state, core::array::from_fn(|i| query(t + i)), scores, first + t, out);
            } else {
                for (i, out) in out.chunks_exact_mut(padded).enumerate() {
                    mix::<1>(&state, [query(t + i)], &scores[i * CHUNK..], first + t + i, out);
                }
            }
        }
        for (t, out) in out.chunks_exact_mut(padded).enumerate() {
            let scale = 1.0 / libm::sqrtf(sum_of_powers(state.powers[1], self.first + t + 1));
            let out = &mut out[..value_dim];
            out.iter_mut().for_each(|out| *out *= scale);
            math::rms_scale_in_place(out, eps);
        }
    }
}

/// `γ^(i + 1) q S + Σ scoreⱼ vⱼ` over the chunk's positions `j ≤ i`, for `Q` queries at `first` and on, into rows of
/// `out`. Elements of the query, then positions, in order.
#[inline(always)]
fn mix<const Q: usize>(state: &HeadState<'_>, q: [&[f32]; Q], scores: &[f32], first: usize, out: &mut [f32]) {
    let key_dim = q[0].len();
    let padded = out.len() / Q;
    let tiles = state.matrix.chunks_exact(key_dim * TILE).zip(state.values.chunks_exact(CHUNK * TILE));
    for (tile, (matrix, values)) in tiles.enumerate() {
        let mut sums = [[0.0_f32; TILE]; Q];
        for (d, row) in matrix.as_chunks::<TILE>().0.iter().enumerate() {
            for (sums, q) in sums.iter_mut().zip(q) {
                for (sum, x) in sums.iter_mut().zip(row) {
                    *sum += q[d] * x;
                }
            }
        }
        for (i, sums) in sums.iter_mut().enumerate() {
            sums.iter_mut().for_each(|sum| *sum *= state.powers[first + i + 1]);
            let scores = &scores[i * CHUNK..][..=first + i];
            for (&score, value) in scores.iter().zip(values.as_chunks::<TILE>().0) {
                for (sum, x) in sums.iter_mut().zip(value) {
                    *sum += score * x;
                }
            }
            out[i * padded + tile * TILE..][..TILE].copy_from_slice(sums);
        }
    }
}

/// 1 + γ + … + γ^(n − 1).
fn sum_of_powers(decay: f32, n: usize) -> f32 {
    let decay = f64::from(decay);
    if decay == 1.0 {
        return n as f32;
    }
    ((1.0 - libm::pow(decay, n as f64)) / (1.0 - decay)) as f32
}
