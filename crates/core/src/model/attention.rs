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

use super::{resize, rope::RopeTable, spec::Attention};
use crate::{
    Result,
    cache::{F16, F32, HeadPage, KvCache, KvType, PAGE, Stored, TILE},
    math::{self, amax, clamp, round},
    pool::{self, Pool},
    simd::{Halves, Isa, Pairs, WithHalves, WithPairs, pair, vectorised, with_halves, with_pairs},
};

/// Queries that share one pass over a head's page: as many as keep their sums in registers.
const QUERIES: usize = 4;
/// Tokens of a prompt in one task.
const TOKENS: usize = 8;
/// Positions or elements worked on at a time; half a tile where registers are short.
const WIDTH: usize = if cfg!(target_arch = "x86_64") { TILE } else { TILE / 2 };

/// The largest head: int8 codes times 14-bit ones, summed over it, fit 32 bits.
pub(super) const MAX_HEAD_DIM: usize = 1024;

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

/// A query and the positions of the page that it may see.
#[derive(Clone, Default)]
struct Query<'a> {
    q: &'a [f32],
    seen: Range<usize>,
    /// Is added to the scores, by distance; empty for most.
    bias: &'a [f32],
    /// How far it is from the page's first position.
    distance: usize,
    /// Multiplies its first elements.
    decay: &'a [f32],
}

impl Query<'_> {
    /// Adds the bias to the scores of the positions that it sees.
    #[inline(always)]
    fn add_bias(&self, scores: &mut [f32]) {
        let Some(last) = self.bias.len().checked_sub(1) else { return };
        for (position, score) in self.seen.clone().zip(scores) {
            *score += self.bias[(self.distance - position).min(last)];
        }
    }

    /// [`to_codes`] of its decayed elements.
    fn to_decayed_codes(&self, place: usize, codes: &mut [[i32; QUERIES]]) -> f32 {
        let mut q = [0.0; MAX_HEAD_DIM];
        let q = &mut q[..self.q.len()];
        q.copy_from_slice(self.q);
        q.iter_mut().zip(self.decay).for_each(|(q, decay)| *q *= decay);
        to_codes(q, place, codes)
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

/// Width of a head, and what its scores are multiplied by.
#[derive(Clone, Copy)]
struct HeadScale {
    dim: usize,
    scale: f32,
}

/// The partial results (m, l, o) of one head's page for some queries: compiled once for all sources of them, as it is
/// the largest function there is.
fn page_partials<'a>(
    isa: Isa,
    kv: KvType,
    head: HeadPage<'_>,
    scale: HeadScale,
    queries: &mut dyn Iterator<Item = Query<'a>>,
    partials: &mut [f32],
) {
    let size = 2 + scale.dim.next_multiple_of(TILE);
    let mut queries = queries.peekable();
    for partials in partials.chunks_mut(QUERIES * size) {
        let mut some: [Query<'_>; QUERIES] = core::array::from_fn(|_| Query::default());
        let mut n = 0;
        while let Some(query) = queries.next_if(|_| n < QUERIES) {
            some[n] = query;
            n += 1;
        }
        match kv {
            // It is there to compare with: one query at a time is enough, and each further instance adds download size.
            KvType::F32 => some[..n].iter().zip(partials.chunks_mut(size)).for_each(|(query, partial)| {
                vectorised(
                    isa,
                    #[inline(always)]
                    || attend::<F32, 1>([query], head, scale, partial),
                );
            }),
            KvType::F16 => with_halves(isa, OnPage { queries: &some[..n], head, scale, partials }),
            KvType::I8 => with_pairs(isa, OnPage { queries: &some[..n], head, scale, partials }),
        }
    }
}

/// Some queries on the page of a head, stored as f16 or as int8 codes.
struct OnPage<'a> {
    queries: &'a [Query<'a>],
    head: HeadPage<'a>,
    scale: HeadScale,
    partials: &'a mut [f32],
}

/// [`attend`] on f16.
impl WithHalves for OnPage<'_> {
    #[inline(always)]
    fn run<H: Halves>(self) {
        let Self { queries, head, scale, partials } = self;
        match queries {
            [a] => attend::<F16<H>, 1>([a], head, scale, partials),
            [a, b] => attend::<F16<H>, 2>([a, b], head, scale, partials),
            [a, b, c] => attend::<F16<H>, 3>([a, b, c], head, scale, partials),
            [a, b, c, d] => attend::<F16<H>, 4>([a, b, c, d], head, scale, partials),
            _ => unreachable!("at most {QUERIES} queries at a time"),
        }
    }
}

/// Scores, exponentials and mix of `Q` queries. A query that sees nothing leaves garbage, which no
/// [`fold`] reads.
#[inline(always)]
fn attend<S: Stored, const Q: usize>(
    queries: [&Query<'_>; Q],
    head: HeadPage<'_>,
    HeadScale { dim, scale }: HeadScale,
    partials: &mut [f32],
) {
    let padded = dim.next_multiple_of(TILE);
    let len = queries.iter().map(|query| query.seen.end).max().unwrap_or(0);
    // What all queries meet an element with lies together: one address for them, and one check.
    let mut elements = [[0.0f32; Q]; MAX_HEAD_DIM];
    for (d, element) in elements.iter_mut().take(dim).enumerate() {
        *element = queries.map(|query| query.q[d]);
    }
    for (i, query) in queries.iter().enumerate() {
        elements.iter_mut().zip(query.decay).for_each(|(element, decay)| element[i] *= decay);
    }
    let mut weights = [[0.0f32; PAGE]; Q];
    for (tile, keys) in head.keys.chunks_exact(padded * TILE * S::BYTES).take(len.div_ceil(TILE)).enumerate()
    {
        for part in 0..TILE / WIDTH {
            let mut sums = [[0.0f32; WIDTH]; Q];
            for (keys, element) in keys.chunks_exact(TILE * S::BYTES).zip(&elements[..dim]) {
                let keys: [f32; WIDTH] = S::load(&keys[part * WIDTH * S::BYTES..]);
                for (sums, q) in sums.iter_mut().zip(element) {
                    for (sum, key) in sums.iter_mut().zip(&keys) {
                        *sum += q * key;
                    }
                }
            }
            let at = tile * TILE + part * WIDTH;
            for (weights, sums) in weights.iter_mut().zip(&sums) {
                for (weight, sum) in weights[at..at + WIDTH].iter_mut().zip(sums) {
                    *weight = sum * scale;
                }
            }
        }
    }
    for ((weights, query), partial) in
        weights.iter_mut().zip(&queries).zip(partials.chunks_exact_mut(2 + padded))
    {
        query.add_bias(&mut weights[query.seen.clone()]);
        (partial[0], partial[1]) = math::exp_shifted(&mut weights[query.seen.clone()]);
    }
    // Elsewhere a query's weights are those of positions it must not see.
    let mut positions = [[0.0f32; Q]; PAGE];
    for (q, (weights, query)) in weights.iter().zip(&queries).enumerate() {
        let seen = query.seen.clone();
        for (position, &weight) in positions[seen.clone()].iter_mut().zip(&weights[seen]) {
            position[q] = weight;
        }
    }
    for (tile, values) in head.values.chunks_exact(PAGE * TILE * S::BYTES).enumerate() {
        for part in 0..TILE / WIDTH {
            let mut sums = [[0.0f32; WIDTH]; Q];
            for (values, position) in values.chunks_exact(TILE * S::BYTES).zip(&positions[..len]) {
                let values: [f32; WIDTH] = S::load(&values[part * WIDTH * S::BYTES..]);
                for (sums, weight) in sums.iter_mut().zip(position) {
                    for (sum, value) in sums.iter_mut().zip(&values) {
                        *sum += weight * value;
                    }
                }
            }
            let at = 2 + tile * TILE + part * WIDTH;
            for (sums, partial) in sums.iter().zip(partials.chunks_exact_mut(2 + padded)) {
                partial[at..at + WIDTH].copy_from_slice(sums);
            }
        }
    }
}

/// [`attend`] on int8 codes.
impl WithPairs for OnPage<'_> {
    #[inline(always)]
    fn run<P: Pairs>(self) {
        let Self { queries, head, scale: HeadScale { dim, scale: head_scale }, partials } = self;
        let padded = dim.next_multiple_of(TILE);
        let len = queries.iter().map(|query| query.seen.end).max().unwrap_or(0);
        let [key_scales, value_scales] = head.scales;
        let mut codes = [[0; QUERIES]; MAX_HEAD_DIM / 2];
        let mut sums = [[0_i32; PAGE]; QUERIES];
        let mut scales = [0.0; QUERIES];
        for (q, (query, scale)) in queries.iter().zip(&mut scales).enumerate() {
            let codes = &mut codes[..padded / 2];
            let top = match query.decay {
                [] => to_codes(query.q, q, codes),
                _ => query.to_decayed_codes(q, codes),
            };
            *scale = top * head_scale;
        }
        for (tile, keys) in head.keys.chunks_exact(padded * TILE).take(len.div_ceil(TILE)).enumerate() {
            sum_pairs::<P>(
                queries.len(),
                &keys[..dim.div_ceil(2) * 2 * TILE],
                &codes,
                tile * TILE,
                &mut sums,
            );
        }
        for (q, partial) in partials.chunks_exact_mut(2 + padded).enumerate() {
            let mut weights = [0.0f32; PAGE];
            let seen = queries[q].seen.clone();
            let weights = &mut weights[..seen.end];
            for ((weight, &sum), &scale) in weights.iter_mut().zip(&sums[q]).zip(key_scales).skip(seen.start)
            {
                *weight = sum as f32 * scales[q] * scale;
            }
            queries[q].add_bias(&mut weights[seen.start..]);
            (partial[0], partial[1]) = math::exp_shifted(&mut weights[seen.start..]);
            weights.iter_mut().zip(value_scales).for_each(|(weight, scale)| *weight *= scale);
            // Elsewhere the codes are 0: the query must not see those positions.
            scales[q] = to_codes(weights, q, &mut codes[..PAGE / 2]);
        }
        for (tile, values) in head.values.chunks_exact(PAGE * TILE).enumerate() {
            sum_pairs::<P>(queries.len(), &values[..len.div_ceil(2) * 2 * TILE], &codes, 0, &mut sums);
            for (q, partial) in partials.chunks_exact_mut(2 + padded).enumerate() {
                for (out, &sum) in partial[2 + tile * TILE..][..TILE].iter_mut().zip(&sums[q]) {
                    *out = sum as f32 * scales[q];
                }
            }
        }
    }
}

/// Codes of each query, two by two (see [`pair`]).
type Codes = [[i32; QUERIES]; MAX_HEAD_DIM / 2];

/// For each of `n` queries, `sums[lane] = Σ rows[k][lane] · codes[k]` over the rows of a tile, `(rows / 2, TILE,
/// 2)`, to [`TILE`] places from `at`.
#[inline(always)]
fn sum_pairs<P: Pairs>(n: usize, rows: &[u8], codes: &Codes, at: usize, sums: &mut [[i32; PAGE]; QUERIES]) {
    match n {
        1 => sum_pairs_of::<P, 1>(rows, codes, at, sums),
        2 => sum_pairs_of::<P, 2>(rows, codes, at, sums),
        3 => sum_pairs_of::<P, 3>(rows, codes, at, sums),
        _ => sum_pairs_of::<P, QUERIES>(rows, codes, at, sums),
    }
}

#[inline(always)]
fn sum_pairs_of<P: Pairs, const Q: usize>(
    rows: &[u8],
    codes: &Codes,
    at: usize,
    sums: &mut [[i32; PAGE]; QUERIES],
) {
    for part in (0..TILE).step_by(P::WIDTH) {
        let mut sum = [P::zero(); Q];
        for (rows, codes) in rows.chunks_exact(2 * TILE).zip(codes) {
            for q in 0..Q {
                sum[q] = P::add(sum[q], &rows[2 * part..], codes[q]);
            }
        }
        for q in 0..Q {
            P::store(sum[q], &mut sums[q][at + part..]);
        }
    }
}

/// Writes the 14-bit codes of `x`, then zeros, as those of query `q`; gives what they are to be multiplied by: NaN
/// if `x` has any.
#[inline(always)]
fn to_codes(x: &[f32], q: usize, codes: &mut [[i32; QUERIES]]) -> f32 {
    const LIMIT: f32 = 8191.0;
    let top = amax(x);
    let inverse = if top == 0.0 { 0.0 } else { LIMIT / top };
    // By chunks that are turned into codes as vectors, the last one filled up with zeros.
    const CHUNK: usize = 32;
    let (whole, rest) = x.as_chunks::<CHUNK>();
    let mut last = [0.0; CHUNK];
    last[..rest.len()].copy_from_slice(rest);
    let mut chunks = codes.chunks_mut(CHUNK / 2);
    for (x, codes) in whole.iter().chain([&last]).zip(chunks.by_ref()) {
        let own = x.map(|x| round(clamp(x * inverse, LIMIT)) as i16);
        codes.iter_mut().zip(own.as_chunks::<2>().0).for_each(|(codes, &two)| codes[q] = pair(two));
    }
    chunks.flatten().for_each(|codes| codes[q] = 0);
    top / LIMIT
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
mod tests {
    use super::*;
    use crate::cache::HeadShape;
    use alloc::vec;

    /// Softmax attention over what the cache holds, in f64.
    fn naive(cache: &KvCache, keys: &[f32], values: &[f32], q: &[f32], len: usize) -> Vec<f64> {
        let dim = q.len();
        let stored = |row: &[f32]| -> Vec<f64> {
            let top = row.iter().fold(0.0f32, |m, x| m.max(x.abs()));
            row.iter()
                .map(|&x| match cache.kv() {
                    KvType::F32 => f64::from(x),
                    KvType::F16 => f64::from(half::f16::from_f32(x).to_f32()),
                    KvType::I8 => f64::from(libm::rintf(x * (127.0 / top))) * f64::from(top / 127.0),
                })
                .collect()
        };
        let row = |x: &[f32], i: usize| stored(&x[i * dim..][..dim]);
        let dot = |a: &[f64]| a.iter().zip(q).map(|(a, &q)| a * f64::from(q)).sum::<f64>();
        let weights: Vec<f64> =
            (0..len).map(|i| libm::exp(dot(&row(keys, i)) / libm::sqrt(dim as f64))).collect();
        let total: f64 = weights.iter().sum();
        let mut out = vec![0.0; dim];
        for (i, weight) in weights.iter().enumerate() {
            out.iter_mut().zip(row(values, i)).for_each(|(o, v)| *o += weight / total * v);
        }
        out
    }

    #[test]
    fn it_is_softmax_attention() {
        let mut state = 5_u32;
        let mut random = |n: usize| -> Vec<f32> {
            let mut next = || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 8) as f32 / (1 << 23) as f32 - 1.0
            };
            (0..n).map(|_| 3.0 * next()).collect()
        };
        let isa = crate::kernel::isa("auto").unwrap();
        for (dim, len) in [(1, 1), (16, 17), (37, 256), (64, 300), (300, 523)] {
            let (keys, values) = (random(len * dim), random(len * dim));
            let queries: Vec<_> = (0..5).map(|_| random(dim)).collect();
            for (kv, tolerance) in [(KvType::F32, 1e-5), (KvType::F16, 1e-5), (KvType::I8, 2e-3)] {
                let mut cache = KvCache::new(kv, [HeadShape { heads: 1, dim }].into(), len);
                cache.reserve(len).unwrap();
                for i in 0..len {
                    cache.write(0, i, &keys[i * dim..][..dim], &values[i * dim..][..dim]).unwrap();
                }
                cache.advance(len);
                let size = 2 + dim.next_multiple_of(TILE);
                // Each sees a position more than the one before, if there are any.
                let seen = |i: usize| (len - 5.min(len) + 1 + i).min(len);
                let mut pages = Vec::new();
                for page in 0..len.div_ceil(PAGE) {
                    let mut partials = vec![0.0; queries.len() * size];
                    let mut queries = queries.iter().enumerate().map(|(i, q)| Query {
                        q,
                        seen: 0..seen(i).saturating_sub(page * PAGE).min(PAGE),
                        ..Query::default()
                    });
                    let scale = HeadScale { dim, scale: 1.0 / libm::sqrtf(dim as f32) };
                    page_partials(isa, kv, cache.head(0, page, 0), scale, &mut queries, &mut partials);
                    pages.push(partials);
                }
                for (i, q) in queries.iter().enumerate() {
                    let mut out = vec![0.0; dim];
                    let pages = pages.iter().take(seen(i).div_ceil(PAGE));
                    fold(pages.map(|page| &page[i * size..][..size]), None, &mut out);
                    for (got, want) in out.iter().zip(naive(&cache, &keys, &values, q, seen(i))) {
                        assert!((f64::from(*got) - want).abs() < tolerance, "{kv:?} {dim} {i}: {got} {want}");
                    }
                }
            }
        }
    }
}
