//! Causal grouped-query attention over the paged cache.
//!
//! The arithmetic goes page by page: scores, their exponentials relative to the page's maximum, and the
//! mix of values give a partial result (m, l, o); partial results are folded in page order as in online
//! softmax (Milakov & Gimelshein 2018). Pages have a fixed size, so a page's partial result does not
//! depend on who computed it: decoding spreads pages over threads, a prompt spreads tokens, and both
//! give the same bits.

use alloc::vec::Vec;

use super::Spec;
use crate::{
    Result,
    cache::{KvCache, PAGE},
    math,
    pool::{self, Pool},
};

/// Query heads that share one pass over a key/value head's page.
const GROUP: usize = 8;
/// The widest head ([`super::arch`] refuses wider ones).
const MAX_DIM: usize = 1024;

/// Working memory of [`Attention::run`].
#[derive(Default)]
pub(super) struct Attention {
    /// `(kv_heads, pages, group, 2 + head_dim)`: m, l, o of each query head.
    partials: Vec<f32>,
}

impl Attention {
    /// Attends from `n` tokens at `first..first + n` whose keys and values are already written.
    ///
    /// `q` and `out` are `(n, heads, head_dim)`.
    ///
    /// # Errors
    /// `out-of-memory`.
    #[allow(clippy::too_many_arguments, reason = "the operands of attention")]
    pub(super) fn run(
        &mut self,
        spec: &Spec,
        cache: &KvCache,
        slot: usize,
        first: usize,
        q: &[f32],
        out: &mut [f32],
        pool: &dyn Pool,
    ) -> Result<()> {
        let dim = spec.head_dim;
        let group = spec.heads / spec.kv_heads;
        let width = group * dim;
        let n = q.len() / spec.q_width();
        let pages = (first + n).div_ceil(PAGE);
        if n == 1 && pages > 1 && pool.width() > 1 {
            let stride = group * (2 + dim);
            let need = spec.kv_heads * pages * stride;
            if self.partials.len() < need {
                self.partials.try_reserve(need - self.partials.len())?;
                self.partials.resize(need, 0.0);
            }
            pool::chunks(pool, &mut self.partials[..need], stride, &|i, partial| {
                let (head, page) = (i / pages, i % pages);
                let len = (first + 1 - page * PAGE).min(PAGE);
                page_partials(cache, slot, page, head, len, &q[head * width..][..width], dim, partial);
            });
            let partials = &self.partials;
            pool::chunks(pool, out, width, &|head, out| {
                let mut total = Total::new(out, dim);
                for page in 0..pages {
                    total.fold(&partials[(head * pages + page) * stride..][..stride]);
                }
                total.finish();
            });
        } else {
            pool::chunks(pool, out, width, &|i, out| {
                let (t, head) = (i / spec.kv_heads, i % spec.kv_heads);
                let positions = first + t + 1;
                let q = &q[t * spec.q_width() + head * width..][..width];
                // One partial result at a time, in groups of query heads that fit the stack.
                let mut partial = [0.0; GROUP * (2 + MAX_DIM)];
                for (q, out) in q.chunks(GROUP * dim).zip(out.chunks_mut(GROUP * dim)) {
                    let partial = &mut partial[..q.len() / dim * (2 + dim)];
                    let mut total = Total::new(out, dim);
                    for page in 0..positions.div_ceil(PAGE) {
                        let len = (positions - page * PAGE).min(PAGE);
                        page_partials(cache, slot, page, head, len, q, dim, partial);
                        total.fold(partial);
                    }
                    total.finish();
                }
            });
        }
        Ok(())
    }
}

/// The partial result of the first `len` positions of a page for each query head in `q`.
#[allow(clippy::too_many_arguments, reason = "an address in the cache, and the operands")]
fn page_partials(
    cache: &KvCache,
    slot: usize,
    page: usize,
    head: usize,
    len: usize,
    q: &[f32],
    dim: usize,
    partials: &mut [f32],
) {
    let kv = cache.kv();
    let row_bytes = kv.row_bytes(dim);
    let (keys, values) = cache.page(slot, page, head);
    let scale = 1.0 / libm::sqrtf(dim as f32);
    let mut row = [0.0; MAX_DIM];
    let row = &mut row[..dim];
    for (q, partials) in q.chunks(GROUP * dim).zip(partials.chunks_mut(GROUP * (2 + dim))) {
        let mut scores = [[0.0; PAGE]; GROUP];
        for (i, key) in keys.chunks_exact(row_bytes).take(len).enumerate() {
            kv.read(key, row);
            for (q, scores) in q.chunks_exact(dim).zip(&mut scores) {
                scores[i] = math::dot(q, row) * scale;
            }
        }
        for (partial, scores) in partials.chunks_exact_mut(2 + dim).zip(&mut scores) {
            let (top, sum) = math::exp_shifted(&mut scores[..len]);
            partial.fill(0.0);
            (partial[0], partial[1]) = (top, sum);
        }
        for (i, value) in values.chunks_exact(row_bytes).take(len).enumerate() {
            kv.read(value, row);
            for (partial, scores) in partials.chunks_exact_mut(2 + dim).zip(&scores) {
                math::axpy(scores[i], row, &mut partial[2..]);
            }
        }
    }
}

/// Partial results folded so far, for the query heads of one output chunk.
struct Total<'a> {
    out: &'a mut [f32],
    dim: usize,
    /// (m, l) of each head; no group is larger than this.
    state: [(f32, f32); 64],
    empty: bool,
}

impl<'a> Total<'a> {
    fn new(out: &'a mut [f32], dim: usize) -> Self {
        Self { out, dim, state: [(0.0, 0.0); 64], empty: true }
    }

    fn fold(&mut self, partials: &[f32]) {
        let heads = partials.chunks_exact(2 + self.dim).zip(self.out.chunks_exact_mut(self.dim));
        for ((partial, out), (m, l)) in heads.zip(&mut self.state) {
            let (top, sum, mix) = (partial[0], partial[1], &partial[2..]);
            if self.empty {
                (*m, *l) = (top, sum);
                out.copy_from_slice(mix);
                continue;
            }
            let new = if top > *m { top } else { *m };
            let (keep, take) = (math::exp(*m - new), math::exp(top - new));
            (*m, *l) = (new, *l * keep + sum * take);
            for (o, &x) in out.iter_mut().zip(mix) {
                *o = *o * keep + x * take;
            }
        }
        self.empty = false;
    }

    fn finish(self) {
        for (out, (_, l)) in self.out.chunks_exact_mut(self.dim).zip(&self.state) {
            for o in out {
                *o /= l;
            }
        }
    }
}
