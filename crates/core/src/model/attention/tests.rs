use super::*;
use crate::cache::{HeadShape, KvType};
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
