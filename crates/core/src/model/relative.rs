//! T5's relative position bias (Raffel et al. 2020): a learned number for each head and distance is added to the scores.
//!
//! Distances share buckets, the further apart the wider. TorchScale's decoders use the bidirectional bucketing of its
//! encoders, so the half of the buckets that is for positions to come is never read.

use alloc::vec::Vec;

/// The bias that every attention of a model adds to its scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelativeBias {
    /// Heads that it is for.
    pub heads: usize,
    /// Rows of the learned table; the first half is for past positions.
    pub buckets: usize,
    /// Distances from here on share one bucket.
    pub max_distance: usize,
}

impl RelativeBias {
    /// The bucket of a position `distance` before the query's, in the arithmetic of the reference (f32).
    fn bucket(self, distance: usize) -> usize {
        let buckets = self.buckets / 2;
        let exact = buckets / 2;
        if distance < exact {
            return distance;
        }
        let ratio = libm::log(self.max_distance as f64 / exact as f64) as f32;
        let wide = libm::logf(distance as f32 / exact as f32) / ratio * (buckets - exact) as f32;
        (exact + wide as usize).min(buckets - 1)
    }

    /// The bias of each head and distance, `(heads, max_distance + 1)`, from the learned `(buckets, heads)`.
    pub fn by_distance(self, learned: &[f32]) -> Vec<f32> {
        let of_head = |head: usize| {
            (0..=self.max_distance).map(move |distance| learned[self.bucket(distance) * self.heads + head])
        };
        (0..self.heads).flat_map(of_head).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// T5's own figures: 32 buckets, half of them for the past, distances up to 128.
    #[test]
    fn buckets_are_those_of_the_reference() {
        let bias = RelativeBias { heads: 1, buckets: 32, max_distance: 128 };
        let buckets: Vec<usize> = [0, 1, 7, 8, 11, 12, 15, 16, 31, 32, 63, 64, 90, 91, 127, 128, 5000]
            .map(|n| bias.bucket(n))
            .into();
        assert_eq!(buckets, [0, 1, 7, 8, 8, 9, 9, 10, 11, 12, 13, 14, 14, 15, 15, 15, 15]);
        let learned: Vec<f32> = (0..32).map(|i| i as f32).collect();
        let table = bias.by_distance(&learned);
        assert_eq!((table.len(), table[5], table[128]), (129, 5.0, 15.0));
    }
}
