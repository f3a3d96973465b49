//! Logits → the next token.
//!
//! The steps and their order are those of Hugging Face `transformers` (`generate`):
//!
//! 1. logit bias, banned tokens,
//! 2. repetition penalty (Keskar et al. 2019), then frequency and presence penalties (as OpenAI defines
//!    them), over the last tokens of prompt and answer,
//! 3. temperature (0: the best token, and what follows is skipped),
//! 4. top-k (Fan et al. 2018), top-p (Holtzman et al. 2020), min-p (Nguyen et al. 2024), typical
//!    (Meister et al. 2022), each on the renormalised rest of the one before,
//! 5. a draw from what is left.
//!
//! (llama.cpp applies temperature last; with a temperature of 1 the two agree.)
//!
//! Invariant: logits, options and seed decide the token, on every platform: sums run in a fixed order,
//! `exp` and `ln` are our own and libm's, the random numbers are a counter hashed (SplitMix64, Steele et
//! al. 2014). Ties go to the smaller id.

use alloc::vec::Vec;
use core::cmp::Ordering;

use crate::{
    Result, bail, math,
    simd::{Isa, vectorised},
};

/// How to choose a token. [`SampleOptions::default`] changes nothing about the model's distribution.
#[derive(Clone, Debug, PartialEq)]
pub struct SampleOptions {
    /// Divides the logits; 0 takes the best token.
    pub temperature: f32,
    /// Only the k best tokens; 0: all.
    pub top_k: usize,
    /// Only the best tokens whose probabilities reach p together; 1: all.
    pub top_p: f32,
    /// Only tokens with at least this share of the best token's probability; 0: all.
    pub min_p: f32,
    /// Only the tokens closest to the expected information that reach this mass together; 1: all.
    pub typical_p: f32,
    /// Divides positive and multiplies negative logits of tokens that occurred; 1: off.
    pub repetition_penalty: f32,
    /// Subtracted for each time a token occurred.
    pub frequency_penalty: f32,
    /// Subtracted once if a token occurred.
    pub presence_penalty: f32,
    /// How many of the last tokens (prompt and answer) the penalties look at; 0: all.
    pub penalty_window: usize,
    /// Added to the logits of single tokens.
    pub logit_bias: Vec<(u32, f32)>,
    /// Never chosen.
    pub banned_tokens: Vec<u32>,
    /// Selects the sequence of random numbers.
    pub seed: u64,
}

impl Default for SampleOptions {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            typical_p: 1.0,
            repetition_penalty: 1.0,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            penalty_window: 0,
            logit_bias: Vec::new(),
            banned_tokens: Vec::new(),
            seed: 0,
        }
    }
}

impl SampleOptions {
    /// # Errors
    /// `bad-option`, naming the option whose value makes no sense.
    pub fn check(&self) -> Result<()> {
        let rules: [(&str, f32, bool); 7] = [
            ("temperature (≥ 0)", self.temperature, self.temperature >= 0.0),
            ("top_p (0 < p ≤ 1)", self.top_p, self.top_p > 0.0 && self.top_p <= 1.0),
            ("min_p (0 ≤ p ≤ 1)", self.min_p, (0.0..=1.0).contains(&self.min_p)),
            ("typical_p (0 < p ≤ 1)", self.typical_p, self.typical_p > 0.0 && self.typical_p <= 1.0),
            ("repetition_penalty (> 0)", self.repetition_penalty, self.repetition_penalty > 0.0),
            ("frequency_penalty", self.frequency_penalty, true),
            ("presence_penalty", self.presence_penalty, true),
        ];
        for (rule, value, holds) in rules {
            if !holds || !value.is_finite() {
                bail!(BadOption, "{rule} is {value}");
            }
        }
        match self.logit_bias.iter().find(|(_, bias)| bias.is_nan()) {
            Some((token, _)) => bail!(BadOption, "logit_bias of token {token} is not a number"),
            None => Ok(()),
        }
    }
}

/// A chosen token.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampled {
    /// Its id.
    pub token: u32,
    /// The natural logarithm of its probability in the model's own distribution (before any step).
    pub logprob: f32,
    /// The best tokens of that distribution with their logarithms, best first, as many as asked for.
    pub top: Vec<(u32, f32)>,
}

/// Chooses tokens one after the other. See the module's order and invariant.
#[derive(Clone, Debug)]
pub struct Sampler {
    isa: Isa,
    options: SampleOptions,
    drawn: u64,
    /// Tokens of the penalty window, sorted, to count them.
    window: Vec<u32>,
    candidates: Vec<(u32, f32)>,
}

impl Sampler {
    /// `isa` computes, with the same result on every level.
    ///
    /// # Errors
    /// As [`SampleOptions::check`].
    pub fn new(options: SampleOptions, isa: Isa) -> Result<Self> {
        options.check()?;
        Ok(Self { isa, options, drawn: 0, window: Vec::new(), candidates: Vec::new() })
    }

    /// The next token after `history` (prompt and answer so far), from the model's `logits` (one per id),
    /// which are changed. `top`: how many of the best tokens to report.
    ///
    /// # Errors
    /// `bad-data` when no logit is a finite number, `bad-option` when every token is banned.
    pub fn sample(&mut self, logits: &mut [f32], history: &[u32], top: usize) -> Result<Sampled> {
        for logit in logits.iter_mut() {
            if logit.is_nan() {
                *logit = f32::NEG_INFINITY;
            }
        }
        let max = math::max(logits);
        if !max.is_finite() {
            bail!(BadData, "the model's logits are not finite");
        }
        let ln_sum = libm::log(sum_exp(self.isa, logits.iter().copied(), max)) as f32;
        let top =
            best(self.isa, logits, top).into_iter().map(|(id, logit)| (id, logit - max - ln_sum)).collect();

        let token = if self.leaves_logits_alone() {
            self.choose(logits)?
        } else {
            // The reported logarithm is of the logit before the steps below.
            let before: Vec<f32> = logits.to_vec();
            self.adjust(logits, history);
            let token = self.choose(logits)?;
            logits.copy_from_slice(&before);
            token
        };
        Ok(Sampled { token, logprob: logits[token as usize] - max - ln_sum, top })
    }

    fn leaves_logits_alone(&self) -> bool {
        let o = &self.options;
        o.logit_bias.is_empty()
            && o.banned_tokens.is_empty()
            && o.repetition_penalty == 1.0
            && o.frequency_penalty == 0.0
            && o.presence_penalty == 0.0
    }

    /// Steps 1 and 2.
    fn adjust(&mut self, logits: &mut [f32], history: &[u32]) {
        let o = &self.options;
        for &(token, bias) in &o.logit_bias {
            if let Some(logit) = logits.get_mut(token as usize) {
                *logit += bias;
            }
        }
        for &token in &o.banned_tokens {
            if let Some(logit) = logits.get_mut(token as usize) {
                *logit = f32::NEG_INFINITY;
            }
        }
        if o.repetition_penalty == 1.0 && o.frequency_penalty == 0.0 && o.presence_penalty == 0.0 {
            return;
        }
        let len = if o.penalty_window == 0 { history.len() } else { o.penalty_window.min(history.len()) };
        self.window.clear();
        self.window.extend_from_slice(&history[history.len() - len..]);
        self.window.sort_unstable();
        for run in self.window.chunk_by(|a, b| a == b) {
            if let Some(logit) = logits.get_mut(run[0] as usize) {
                if *logit > 0.0 {
                    *logit /= o.repetition_penalty;
                } else {
                    *logit *= o.repetition_penalty;
                }
                *logit -= run.len() as f32 * o.frequency_penalty + o.presence_penalty;
            }
        }
    }

    /// Steps 3 to 5.
    fn choose(&mut self, logits: &[f32]) -> Result<u32> {
        let o = &self.options;
        let Some(&(winner, max)) = best(self.isa, logits, 1).first() else {
            bail!(BadOption, "every token is banned");
        };
        let scale = 1.0 / o.temperature;
        // A bias of +∞ decides alone; so does the best token at a temperature too small to divide by.
        if !scale.is_finite() || o.top_k == 1 || max == f32::INFINITY {
            return Ok(winner);
        }
        let candidates = &mut self.candidates;
        candidates.clear();
        candidates.extend(
            (0..)
                .zip(logits)
                .filter(|(_, l)| **l > f32::NEG_INFINITY)
                .map(|(id, &l)| (id, (l - max) * scale)),
        );
        // From here on the best logit is 0.
        if o.top_k > 0 && o.top_k < candidates.len() {
            candidates.select_nth_unstable_by(o.top_k - 1, descending);
            candidates.truncate(o.top_k);
            candidates.sort_unstable_by(descending);
        }
        if o.top_p < 1.0 {
            keep_mass(self.isa, candidates, o.top_p);
        }
        if o.min_p > 0.0 {
            candidates.retain(|c| math::exp(c.1) >= o.min_p);
        }
        if o.typical_p < 1.0 {
            keep_typical(self.isa, candidates, o.typical_p);
        }

        let total = sum_exp(self.isa, candidates.iter().map(|c| c.1), 0.0);
        self.drawn += 1;
        let mut left = uniform(self.options.seed, self.drawn) * total;
        for &(id, logit) in self.candidates.iter() {
            left -= f64::from(math::exp(logit));
            if left < 0.0 {
                return Ok(id);
            }
        }
        // Rounding may leave a little of the sum: it belongs to the last candidate.
        Ok(self.candidates.last().map_or(winner, |c| c.0))
    }
}

/// By logit, best first; ties by id.
fn descending(a: &(u32, f32), b: &(u32, f32)) -> Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}

/// Σ exp(x − max), in the order given.
fn sum_exp(isa: Isa, mut logits: impl Iterator<Item = f32>, max: f32) -> f64 {
    vectorised(
        isa,
        #[inline(always)]
        || {
            // Block by block, because `exp` vectorises and a sum in a given order does not.
            let mut block = [0.0; 64];
            let mut sum = 0.0;
            loop {
                let mut n = 0;
                for (place, logit) in block.iter_mut().zip(&mut logits) {
                    *place = logit - max;
                    n += 1;
                }
                block.iter_mut().for_each(|x| *x = math::exp(*x));
                sum = block[..n].iter().fold(sum, |sum, &e| sum + f64::from(e));
                if n < block.len() {
                    return sum;
                }
            }
        },
    )
}

/// The `n` best logits that are not −∞ (nor NaN, as −∞ with a bias of +∞ is), best first.
fn best(isa: Isa, logits: &[f32], n: usize) -> Vec<(u32, f32)> {
    let mut best: Vec<(u32, f32)> = Vec::new();
    if n == 0 {
        return best;
    }
    const BLOCK: usize = 256;
    let enters = |best: &[(u32, f32)], logit: f32| best.len() < n || logit > best[n - 1].1;
    for (first, block) in (0u32..).step_by(BLOCK).zip(logits.chunks(BLOCK)) {
        // Nearly no block has one of the best, and the largest of a block is found as a vector.
        let largest = vectorised(
            isa,
            #[inline(always)]
            || math::max(block),
        );
        if !enters(&best, largest) {
            continue;
        }
        for (id, &logit) in (first..).zip(block) {
            if !enters(&best, logit) || logit == f32::NEG_INFINITY || logit.is_nan() {
                continue;
            }
            let at = best.partition_point(|other| other.1 >= logit);
            if best.len() == n {
                best.pop();
            }
            best.insert(at, (id, logit));
        }
    }
    best
}

/// Keeps the fewest best candidates whose probabilities reach `mass` together.
///
/// Sorting a whole vocabulary for each token would cost more than the rest together, and the best few
/// almost always suffice: they are sorted first, and more only if their mass is too small.
fn keep_mass(isa: Isa, candidates: &mut Vec<(u32, f32)>, mass: f32) {
    let want = sum_exp(isa, candidates.iter().map(|c| c.1), 0.0) * f64::from(mass);
    let mut reach = 4.0;
    loop {
        // Those within `reach` of the best come to the front.
        let mut near = 0;
        for i in 0..candidates.len() {
            if candidates[i].1 >= -reach {
                candidates.swap(near, i);
                near += 1;
            }
        }
        candidates[..near].sort_unstable_by(descending);
        let mut sum = 0.0;
        for i in 0..near {
            sum += f64::from(math::exp(candidates[i].1));
            if sum >= want {
                candidates.truncate(i + 1);
                return;
            }
        }
        if near == candidates.len() || reach == f32::INFINITY {
            return;
        }
        reach *= 2.0;
    }
}

/// Keeps the candidates whose information −ln p is closest to its expectation, up to `mass`.
fn keep_typical(isa: Isa, candidates: &mut Vec<(u32, f32)>, mass: f32) {
    let total = sum_exp(isa, candidates.iter().map(|c| c.1), 0.0);
    let ln_total = libm::log(total) as f32;
    let p = |logit: f32| f64::from(math::exp(logit)) / total;
    let entropy = candidates.iter().map(|c| p(c.1) * f64::from(ln_total - c.1)).sum::<f64>() as f32;
    let distance = |c: &(u32, f32)| ((ln_total - c.1) - entropy).abs();
    candidates.sort_unstable_by(|a, b| distance(a).total_cmp(&distance(b)).then(a.0.cmp(&b.0)));
    let mut sum = 0.0;
    let kept = candidates.iter().position(|c| {
        sum += p(c.1);
        sum >= f64::from(mass)
    });
    if let Some(last) = kept {
        candidates.truncate(last + 1);
    }
}

/// The `n`-th number in [0, 1) of the sequence that `seed` selects: 53 bits of SplitMix64.
fn uniform(seed: u64, n: u64) -> f64 {
    let mut z = seed.wrapping_add(n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    (z >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests;
