//! Attention of a few queries to one page of keys and values: scores, exponentials, and the mix of values.

use core::ops::Range;

use crate::{
    cache::{F16, F32, HeadPage, KvType, PAGE, Stored, TILE},
    math::{self, amax, clamp, round},
    simd::{Halves, Isa, Pairs, WithHalves, WithPairs, pair, vectorised, with_halves, with_pairs},
};

/// Queries that share one pass over a head's page: as many as keep their sums in registers.
const QUERIES: usize = 4;
/// Positions or elements worked on at a time; half a tile where registers are short.
const WIDTH: usize = if cfg!(target_arch = "x86_64") { TILE } else { TILE / 2 };

/// The largest head: int8 codes times 14-bit ones, summed over it, fit 32 bits.
pub(super) const MAX_HEAD_DIM: usize = 1024;

/// A query and the positions of the page that it may see.
#[derive(Clone, Default)]
pub(super) struct Query<'a> {
    pub q: &'a [f32],
    pub seen: Range<usize>,
    /// Is added to the scores, by distance; empty for most.
    pub bias: &'a [f32],
    /// How far it is from the page's first position.
    pub distance: usize,
    /// Multiplies its first elements.
    pub decay: &'a [f32],
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

/// Width of a head, and what its scores are multiplied by.
#[derive(Clone, Copy)]
pub(super) struct HeadScale {
    pub dim: usize,
    pub scale: f32,
}

/// The partial results (m, l, o) of one head's page for some queries: compiled once for all sources of them, as it is
/// the largest function there is.
pub(super) fn page_partials<'a>(
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
