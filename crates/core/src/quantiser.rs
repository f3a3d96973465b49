//! Quantisers that models were trained with, other than int8 per token: fewer bits (BitNet a4.8, arXiv 2411.04965),
//! the largest inputs alone (Q-Sparse, arXiv 2407.10969), and codes of a few bits for cached keys and values.
//!
//! All of them make small integers, so the kernels of int8 codes multiply them exactly. They are portable code, run
//! once per input: every machine gets the same codes.

use alloc::vec::Vec;

use crate::{
    math::{amax, clamp, f16_to_f32, f32_to_f16, round},
    minifloat::doubled_e2m1,
};

/// How a linear layer's input becomes integers, with one scale per token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantiser {
    /// The codes.
    pub codes: Codes,
    /// Which inputs are kept; the others count as 0.
    pub keep: Option<TopK>,
}

/// Codes of a token's inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codes {
    /// `rint(x · 127 / max|x|)`, with the reciprocal rounded before it is multiplied by 127 (which
    /// [`ActFormat::Token8`](crate::activations::ActFormat) does not do).
    Int8AbsMax,
    /// `rint(x · 128 / max|x|)`, kept below 128 (BitNet of 2023, arXiv 2310.11453).
    Int8Below128,
    /// `rint(x · √7 / mean|x|)`, in −8…7.
    Int4AbsMean,
    /// `x · 6 / max|x|`, rounded to the nearest E2M1 number (0, 0.5, 1, 1.5, 2, 3, 4, 6), ties to an even mantissa. The
    /// codes are twice the numbers.
    Fp4AbsMax,
}

/// The largest magnitudes, chosen before quantisation; of equal ones the first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TopK {
    /// The share that is kept: `max(1, ⌊share · n⌋)` of `n`.
    pub share: f32,
    /// Chosen among each so many neighbours (N:M sparsity); `None`: among all inputs of a token.
    pub block: Option<usize>,
}

impl Quantiser {
    /// Writes the codes of a token's inputs `x`, and zeros after them. Returns what they were multiplied by, and their
    /// sum.
    pub(crate) fn fill(&self, x: &[f32], codes: &mut [i8]) -> (f32, i32) {
        let at_least = |x: f32| if x < 1e-5 { 1e-5 } else { x };
        // The reciprocal is rounded first, as the reference's division of a number by a tensor does it.
        let scale = match self.codes {
            Codes::Int8AbsMax => 1.0 / at_least(amax(x)) * 127.0,
            Codes::Int8Below128 => 1.0 / at_least(amax(x)) * 128.0,
            Codes::Int4AbsMean => 1.0 / at_least(mean_magnitude(x)) * libm::sqrtf(7.0),
            Codes::Fp4AbsMax => 1.0 / at_least(amax(x)) * 6.0,
        };
        let (own, padding) = codes.split_at_mut(x.len());
        for (code, &x) in own.iter_mut().zip(x) {
            *code = match self.codes {
                Codes::Int8AbsMax | Codes::Int8Below128 => round(clamp(x * scale, 127.0)) as i8,
                Codes::Int4AbsMean => round(clamp(x * scale, 8.0)).min(7) as i8,
                Codes::Fp4AbsMax => doubled_e2m1(x * scale),
            };
        }
        padding.fill(0);
        if let Some(keep) = self.keep {
            keep.mask(x, own);
        }
        let sum = own.iter().map(|&code| i32::from(code)).sum();
        // The codes of E2M1 are doubled, and so is what they were multiplied by.
        (if self.codes == Codes::Fp4AbsMax { 2.0 * scale } else { scale }, sum)
    }
}

impl TopK {
    /// Sets the codes of all but the largest inputs to 0.
    fn mask(self, x: &[f32], codes: &mut [i8]) {
        let block = self.block.unwrap_or(x.len()).max(1);
        let mut keys: Vec<u32> = Vec::new();
        for (x, codes) in x.chunks(block).zip(codes.chunks_mut(block)) {
            let kept = ((self.share * x.len() as f32) as usize).max(1);
            if kept >= x.len() {
                continue;
            }
            // Magnitudes are ordered as their bits.
            let key = |x: &f32| x.to_bits() & 0x7FFF_FFFF;
            keys.clear();
            keys.extend(x.iter().map(key));
            let (least, mut equal) = smallest_of_largest(&mut keys, kept);
            for (x, code) in x.iter().zip(codes) {
                let is_kept = key(x) > least || key(x) == least && equal > 0;
                equal -= usize::from(is_kept && key(x) == least);
                *code = if is_kept { *code } else { 0 };
            }
        }
    }
}

/// The smallest of the `n` largest keys (of 31 bits), and how many of those are equal to it.
fn smallest_of_largest(keys: &mut Vec<u32>, n: usize) -> (u32, usize) {
    const SHIFT: u32 = 20;
    // How many keys are known to be larger than those left.
    let mut larger = 0;
    if keys.len() >= 512 {
        let mut counts = [0_u32; 1 << (31 - SHIFT)];
        keys.iter().for_each(|key| counts[(key >> SHIFT) as usize] += 1);
        let mut bin = counts.len() - 1;
        while larger + (counts[bin] as usize) < n {
            larger += counts[bin] as usize;
            bin -= 1;
        }
        keys.retain(|key| (key >> SHIFT) as usize == bin);
    }
    let (more, &mut least, _) = keys.select_nth_unstable_by(n - larger - 1, |a, b| b.cmp(a));
    let above = more.iter().filter(|&&key| key > least).count();
    (least, n - larger - above)
}

/// mean |x|, summed in four accumulators of eight lanes: the order in which PyTorch sums a row, so that the scale has the
/// reference's bits.
fn mean_magnitude(x: &[f32]) -> f32 {
    let (whole, rest) = x.as_chunks::<32>();
    let mut sums = [[0.0f32; 8]; 4];
    for chunk in whole {
        for (sums, x) in sums.iter_mut().zip(chunk.as_chunks::<8>().0) {
            sums.iter_mut().zip(x).for_each(|(sum, x)| *sum += x.abs());
        }
    }
    let [mut total, others @ ..] = sums;
    for other in others {
        total.iter_mut().zip(other).for_each(|(sum, x)| *sum += x);
    }
    let lanes = total.into_iter().fold(0.0, |sum, x| sum + x);
    rest.iter().fold(lanes, |sum, x| sum + x.abs()) / x.len() as f32
}

/// How keys and values are quantised before they are cached, by models that were trained so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheCodes {
    /// Bits of a code.
    pub bits: u32,
    /// Bits at position 0, whose keys and values are outliers.
    pub first_bits: u32,
    /// Bits of queries, if they are quantised too.
    pub query_bits: Option<u32>,
}

/// Replaces a head's row by `code · d`, with one f16 scale `d = max|x| / (2^(bits−1) − 1)`.
pub(crate) fn quantise_row(x: &mut [f32], bits: u32) {
    let limit = (1 << (bits - 1)) as f32;
    let scale = f16_to_f32(f32_to_f16(amax(x) / (limit - 1.0)));
    for x in x {
        let code = clamp(*x / scale, limit);
        let code = if code > limit - 1.0 { limit - 1.0 } else { round(code) as f32 };
        *x = if scale > 0.0 { code * scale } else { 0.0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    /// By sorting all: the larger first, of equal ones the first.
    fn sorted(x: &[f32], kept: usize) -> Vec<bool> {
        let mut order: Vec<usize> = (0..x.len()).collect();
        order.sort_by(|&a, &b| x[b].abs().total_cmp(&x[a].abs()).then(a.cmp(&b)));
        let mut is_kept = vec![false; x.len()];
        order[..kept].iter().for_each(|&i| is_kept[i] = true);
        is_kept
    }

    #[test]
    fn the_largest_are_kept_and_of_equal_ones_the_first() {
        let mut state = 3_u64;
        let mut random = || {
            state = state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
            state >> 33
        };
        for (len, values) in [(64, 5), (700, 3), (2560, 1 << 20), (1000, 1), (512, 900)] {
            let x: Vec<f32> = (0..len)
                .map(|_| (random() % values) as f32 * if random() % 2 == 0 { 0.37 } else { -0.37 })
                .collect();
            for share in [0.001, 0.25, 0.5, 0.999] {
                for block in [None, Some(32), Some(600)] {
                    let mut codes = vec![1; len];
                    TopK { share, block }.mask(&x, &mut codes);
                    for (x, codes) in x.chunks(block.unwrap_or(len)).zip(codes.chunks(block.unwrap_or(len))) {
                        let kept = ((share * x.len() as f32) as usize).max(1);
                        let want = sorted(x, kept);
                        let got: Vec<bool> = codes.iter().map(|&code| code != 0).collect();
                        assert_eq!(got, want, "{kept} of {} of {len}", x.len());
                    }
                }
            }
        }
    }
}
