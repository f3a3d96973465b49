//! Causal grouped-query attention over the paged cache.
//!
//! The arithmetic goes page by page: scores, their exponentials relative to the page's maximum, and the
//! mix of values give a partial result (m, l, o); partial results are folded in page order as in online
//! softmax (Milakov & Gimelshein 2018). A page's partial result does not depend on who computed it:
//! decoding spreads pages over threads, a prompt spreads tokens, and both give the same bits. A score is
//! summed over elements in order, a mixed element over positions in order, so the width of the
//! registers changes nothing either.
//!
//! Of an int8 cache the sums are integers, exact in any order: a query becomes 14-bit codes, and so do a
//! page's weights (their share of its largest), whose error is small beside that of 8-bit keys and values.

use alloc::vec::Vec;
use core::ops::Range;

use super::{
    attention_page::{HeadScale, Query, page_partials},
    resize,
    rope::RopeTable,
    spec::Attention,
};
use crate::{
    Result,
    cache::{KvCache, PAGE, TILE},
    math,
    pool::{self, Pool},
    simd::Isa,
};

/// Tokens of a prompt in one task.
const TOKENS: usize = 8;
/// Working memory of [`AttentionScratch::run`].
#[derive(Default)]
pub(super) struct AttentionScratch {
    /// Partial results of a single token, `(kv_heads, pages, group)`, or of each task of a prompt.
    partials: Vec<f32>,
}

/// What one call attends with.
pub(super) struct Layer<'a> {
    /// Computes, with the same bits on every level.
    pub isa: Isa,
    /// Heads, mask, scale.
    pub attention: &'a Attention,
    /// A score per query head that mixes nothing.
    pub sinks: Option<&'a [f32]>,
    /// Is added to scores, `(heads, distances)`; may be empty.
    pub relative_bias: &'a [f32],
    /// Knows how queries decay with the pages between them and the keys.
    pub table: Option<&'a RopeTable>,
    /// Keys and values.
    pub cache: &'a KvCache,
    /// Their slot.
    pub state: usize,
    /// Position of the first query.
    pub first: usize,
    pub pool: &'a dyn Pool,
}

impl Layer<'_> {
    /// Queries that share a key/value head.
    fn group(&self) -> usize {
        self.attention.heads / self.attention.kv_heads
    }

    /// The sink of a query head.
    fn sink(&self, head: usize) -> Option<f32> {
        self.sinks.map(|sinks| sinks[head])
    }

    /// The pages that a query at `position` sees.
    fn pages(&self, position: usize) -> Range<usize> {
        self.attention.mask.first_visible(position) / PAGE..position / PAGE + 1
    }

    /// The positions of `page` that a query at `position` sees, from the page's start.
    fn seen(&self, position: usize, page: usize) -> Range<usize> {
        let within = |position: usize| position.saturating_sub(page * PAGE).min(PAGE);
        within(self.attention.mask.first_visible(position))..within(position + 1)
    }

    /// A query of a head at `position`, as `page` meets it.
    fn query<'q>(&'q self, q: &'q [f32], head: usize, position: usize, page: usize) -> Query<'q> {
        let distances = self.relative_bias.len() / self.attention.heads;
        Query {
            q,
            seen: self.seen(position, page),
            bias: &self.relative_bias[head * distances..][..distances],
            distance: position.saturating_sub(page * PAGE),
            decay: self.table.map_or(&[], |table| table.decay((position / PAGE).saturating_sub(page))),
        }
    }

    /// What all heads of a page give for queries of one key/value head.
    fn page<'q>(
        &self,
        page: usize,
        head: usize,
        mut queries: impl Iterator<Item = Query<'q>>,
        partials: &mut [f32],
    ) {
        let keys_and_values = self.cache.head(self.state, page, head);
        let (dim, scale) = (self.attention.head_dim, self.attention.scale);
        page_partials(
            self.isa,
            self.cache.kv(),
            keys_and_values,
            HeadScale { dim, scale },
            &mut queries,
            partials,
        );
    }
}

impl AttentionScratch {
    /// Attends from `n` tokens at `first..first + n` whose keys and values are already written.
    ///
    /// `q` and `out` are `(n, heads, head_dim)`.
    ///
    /// # Errors
    /// `out-of-memory`.
    pub fn run(&mut self, layer: &Layer<'_>, q: &[f32], out: &mut [f32]) -> Result<()> {
        if q.len() == layer.attention.q_width() {
            self.token(layer, q, out)
        } else {
            self.prompt(layer, q, out)
        }
    }

    /// One token: its pages are shared among threads.
    fn token(&mut self, layer: &Layer<'_>, q: &[f32], out: &mut [f32]) -> Result<()> {
        let (dim, group, position) = (layer.attention.head_dim, layer.group(), layer.first);
        let partial = 2 + dim.next_multiple_of(TILE);
        let seen = layer.pages(position);
        let (stride, pages) = (group * partial, seen.len());
        let need = layer.attention.kv_heads * pages * stride;
        self.reserve(need)?;
        pool::chunks(layer.pool, &mut self.partials, stride, &|i, partials| {
            let (head, page) = (i / pages, seen.start + i % pages);
            let queries = q[head * group * dim..][..group * dim].chunks_exact(dim);
            let queries = queries.enumerate();
            let queries = queries.map(|(i, q)| layer.query(q, head * group + i, position, page));
            layer.page(page, head, queries, partials);
        });
        let partials = &self.partials;
        pool::chunks(layer.pool, out, group * dim, &|head, out| {
            for (i, out) in out.chunks_exact_mut(dim).enumerate() {
                let pages = partials[head * pages * stride..][..pages * stride].chunks_exact(stride);
                fold(pages.map(|page| &page[i * partial..][..partial]), layer.sink(head * group + i), out);
            }
        });
        Ok(())
    }

    /// A prompt: each task takes some tokens, and goes through their heads and pages.
    fn prompt(&mut self, layer: &Layer<'_>, q: &[f32], out: &mut [f32]) -> Result<()> {
        let (dim, group, width) = (layer.attention.head_dim, layer.group(), layer.attention.q_width());
        let partial = 2 + dim.next_multiple_of(TILE);
        let n = q.len() / width;
        let most = (0..n).step_by(TOKENS).map(|t| {
            let last = layer.first + (t + TOKENS).min(n) - 1;
            layer.pages(layer.first + t).start..layer.pages(last).end
        });
        let most = most.map(|pages| pages.len()).max().unwrap_or(0);
        let scratch = TOKENS.min(n) * group * most * partial;
        self.reserve(n.div_ceil(TOKENS) * scratch)?;
        pool::chunks_with(layer.pool, out, TOKENS * width, &mut self.partials, &|task, out, partials| {
            let q = &q[task * TOKENS * width..][..out.len()];
            let (first, tokens) = (layer.first + task * TOKENS, out.len() / width);
            let stride = tokens * group * partial;
            let pages = layer.pages(first).start..layer.pages(first + tokens - 1).end;
            for head in 0..layer.attention.kv_heads {
                let place = |i: usize| (i / group, head * group + i % group);
                for (page, partials) in pages.clone().zip(partials.chunks_exact_mut(stride)) {
                    let queries = (0..tokens * group).map(|i| {
                        let (t, h) = place(i);
                        layer.query(&q[t * width + h * dim..][..dim], h, first + t, page)
                    });
                    layer.page(page, head, queries, partials);
                }
                for i in 0..tokens * group {
                    let (t, h) = place(i);
                    let own = layer.pages(first + t);
                    let partials =
                        partials.chunks_exact(stride).skip(own.start - pages.start).take(own.len());
                    let out = &mut out[t * width + h * dim..][..dim];
                    fold(partials.map(|page| &page[i * partial..][..partial]), layer.sink(h), out);
                }
            }
        });
        Ok(())
    }

    fn reserve(&mut self, len: usize) -> Result<()> {
        resize(&mut self.partials, len)
    }
}

/// Folds partial results (m, l, o) in page order into the attention of one query; last comes the sink, which only
/// takes part in the sum of weights.
fn fold<'a>(mut partials: impl Iterator<Item = &'a [f32]>, sink: Option<f32>, out: &mut [f32]) {
    let Some(first) = partials.next() else { return };
    let (mut m, mut l) = (first[0], first[1]);
    out.copy_from_slice(&first[2..][..out.len()]);
    for partial in partials {
        let top = if partial[0] > m { partial[0] } else { m };
        let (keep, take) = (math::exp(m - top), math::exp(partial[0] - top));
        (m, l) = (top, l * keep + partial[1] * take);
        for (o, &x) in out.iter_mut().zip(&partial[2..]) {
            *o = *o * keep + x * take;
        }
    }
    if let Some(sink) = sink {
        let top = if sink > m { sink } else { m };
        let keep = math::exp(m - top);
        l = l * keep + math::exp(sink - top);
        out.iter_mut().for_each(|o| *o *= keep);
    }
    for o in out {
        *o /= l;
    }
}

#[cfg(test)]
mod tests;
