//! Multi-scale retention (Sun et al. 2023, "Retentive Network", arXiv 2307.08621): what RetNet has in attention's place.
//!
//! A head forgets by a factor γ per step: `oₜ = Σ γ^(t − j) (qₜ · kⱼ) vⱼ` over `j ≤ t`, divided by √Σ γ^(t − j), then
//! normalised over the head. The part of chunks that are past is `γ^(t − c + 1) qₜ S`, with S the head's matrix at the
//! chunk's first position c ([`crate::recurrent`]); that of the current chunk is summed position by position. A
//! prompt computes the same sums as decoding, several queries at a time.

use alloc::vec::Vec;

use super::{LinearWeights, resize, spec::Retention};
use crate::{
    Result,
    cache::TILE,
    math,
    pool::{self, Pool},
    recurrent::{CHUNK, HeadState, RecurrentStates},
    simd::{Isa, vectorised},
};

/// Queries that share one pass over a head's matrix: as many as keep their sums in registers.
const QUERIES: usize = 4;

/// The weights of [`Retention`].
#[allow(missing_docs, reason = "the names are those of the spec")]
pub struct RetentionWeights {
    pub q: LinearWeights,
    pub k: LinearWeights,
    pub v: LinearWeights,
    pub gate: LinearWeights,
    pub o: LinearWeights,
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
pub(super) struct Layer<'a> {
    pub isa: Isa,
    pub retention: &'a Retention,
    pub states: &'a RecurrentStates,
    pub state: usize,
    /// Position of the first query.
    pub first: usize,
    pub pool: &'a dyn Pool,
}

impl RetentionScratch {
    /// What the heads give for queries of `(n, heads · key_dim)` whose keys and values are written, into `out`, `(n,
    /// heads · value_dim)`.
    pub fn run(&mut self, layer: &Layer<'_>, q: &[f32], out: &mut [f32]) -> Result<()> {
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
