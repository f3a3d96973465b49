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
mod tests {
    use super::*;
    use alloc::vec;

    const LOGITS: [f32; 6] = [1.0, 3.0, 2.0, -1.0, 3.0, f32::NEG_INFINITY];

    /// How often each token is drawn.
    fn counts(options: SampleOptions, logits: &[f32], history: &[u32], draws: usize) -> Vec<usize> {
        let mut sampler = Sampler::new(options, Isa::SCALAR).unwrap();
        let mut counts = vec![0; logits.len()];
        for _ in 0..draws {
            counts[sampler.sample(&mut logits.to_vec(), history, 0).unwrap().token as usize] += 1;
        }
        counts
    }

    fn drawn(options: SampleOptions) -> Vec<u32> {
        let counts = counts(options, &LOGITS, &[], 4000);
        (0..).zip(counts).filter(|(_, n)| *n > 0).map(|(id, _)| id).collect()
    }

    #[test]
    fn greedy_takes_the_best_and_of_equals_the_first() {
        let options = SampleOptions { temperature: 0.0, ..Default::default() };
        let mut sampler = Sampler::new(options, Isa::SCALAR).unwrap();
        assert_eq!(sampler.sample(&mut LOGITS.to_vec(), &[], 0).unwrap().token, 1);
    }

    #[test]
    fn draws_follow_the_distribution() {
        let n = 40_000;
        let counts = counts(SampleOptions::default(), &LOGITS, &[], n);
        let total: f64 = LOGITS.iter().map(|&l| libm::exp(f64::from(l))).sum();
        for (id, &count) in counts.iter().enumerate() {
            let p = libm::exp(f64::from(LOGITS[id])) / total;
            let tolerance = 4.0 * libm::sqrt(p * (1.0 - p) / n as f64);
            assert!((count as f64 / n as f64 - p).abs() <= tolerance, "{id}: {count} of {n}, p = {p}");
        }
    }

    #[test]
    fn filters_leave_what_their_definitions_say() {
        let options = SampleOptions::default();
        assert_eq!(drawn(options.clone()), [0, 1, 2, 3, 4]);
        assert_eq!(drawn(SampleOptions { top_k: 3, ..options.clone() }), [1, 2, 4]);
        // p = .0537 .3966 .1459 .0073 .3966 0: two reach .793, three .939, four .993.
        for (top_p, want) in [(0.3, &[1][..]), (0.7, &[1, 4]), (0.8, &[1, 2, 4]), (0.95, &[0, 1, 2, 4])] {
            assert_eq!(drawn(SampleOptions { top_p, ..options.clone() }), want, "top_p {top_p}");
        }
        // exp(−1) = .368, exp(−2) = .135.
        assert_eq!(drawn(SampleOptions { min_p: 0.3, ..options.clone() }), [1, 2, 4]);
        assert_eq!(drawn(SampleOptions { min_p: 0.1, ..options.clone() }), [0, 1, 2, 4]);
        // H = 1.208; −ln p = 2.925 .925 1.925 4.925 .925: the two best are closest, then 2.
        assert_eq!(drawn(SampleOptions { typical_p: 0.7, ..options.clone() }), [1, 4]);
        assert_eq!(drawn(SampleOptions { typical_p: 0.8, ..options.clone() }), [1, 2, 4]);
        assert_eq!(drawn(SampleOptions { banned_tokens: vec![1, 4, 99], ..options.clone() }), [0, 2, 3]);
        assert_eq!(drawn(SampleOptions { logit_bias: vec![(3, f32::INFINITY)], ..options }), [3]);
    }

    /// The short way through `keep_mass` keeps what sorting everything keeps.
    #[test]
    fn top_p_equals_the_full_sort() {
        let mut state = 1;
        for n in [1, 2, 17, 1000] {
            for spread in [0.1, 3.0, 40.0] {
                let all: Vec<(u32, f32)> = (0..n)
                    .map(|id| {
                        state += 1;
                        (id, (-spread * uniform(5, state)) as f32)
                    })
                    .collect();
                for mass in [0.01f32, 0.5, 0.9, 0.999] {
                    let mut want = all.clone();
                    want.sort_unstable_by(descending);
                    let goal = sum_exp(Isa::SCALAR, all.iter().map(|c| c.1), 0.0) * f64::from(mass);
                    let mut sum = 0.0;
                    let keep = want.iter().take_while(|c| {
                        let goes_on = sum < goal;
                        sum += f64::from(math::exp(c.1));
                        goes_on
                    });
                    let want: Vec<_> = keep.copied().collect();
                    let mut got = all.clone();
                    keep_mass(Isa::SCALAR, &mut got, mass);
                    assert_eq!(got, want, "{n} {spread} {mass}");
                }
            }
        }
    }

    #[test]
    fn penalties_by_hand() {
        let adjusted = |options: SampleOptions, history: &[u32]| {
            let mut logits = vec![2.0, -2.0, 1.0];
            Sampler::new(options, Isa::SCALAR).unwrap().adjust(&mut logits, history);
            logits
        };
        let off = SampleOptions::default();
        let repetition = SampleOptions { repetition_penalty: 2.0, ..off.clone() };
        assert_eq!(adjusted(repetition.clone(), &[0, 1, 1]), [1.0, -4.0, 1.0]);
        assert_eq!(adjusted(SampleOptions { penalty_window: 2, ..repetition }, &[0, 1, 1]), [2.0, -4.0, 1.0]);
        let counted = SampleOptions { frequency_penalty: 0.5, presence_penalty: 0.25, ..off };
        assert_eq!(adjusted(counted, &[0, 1, 1, 7]), [1.25, -3.25, 1.0]);
    }

    #[test]
    fn same_seed_same_tokens_and_these() {
        let run = |seed| {
            let options = SampleOptions { seed, ..Default::default() };
            let mut sampler = Sampler::new(options, Isa::SCALAR).unwrap();
            (0..12).map(|_| sampler.sample(&mut LOGITS.to_vec(), &[], 0).unwrap().token).collect::<Vec<_>>()
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
    }

    #[test]
    fn logprobs_are_the_models_own() {
        let options = SampleOptions { temperature: 0.0, banned_tokens: vec![1], ..Default::default() };
        let sampled =
            Sampler::new(options, Isa::SCALAR).unwrap().sample(&mut LOGITS.to_vec(), &[], 3).unwrap();
        let total: f64 = LOGITS.iter().map(|&l| libm::exp(f64::from(l))).sum();
        let want = |l: f32| f64::from(l) - libm::log(total);
        assert_eq!(sampled.token, 4);
        assert!((f64::from(sampled.logprob) - want(3.0)).abs() < 1e-6);
        assert_eq!(sampled.top.iter().map(|t| t.0).collect::<Vec<_>>(), [1, 4, 2]);
        for (id, logprob) in sampled.top {
            assert!((f64::from(logprob) - want(LOGITS[id as usize])).abs() < 1e-6);
        }
    }

    /// Once an endless loop: 1 / 1e-40 is infinite, and so was the search for the mass of NaNs.
    #[test]
    fn tiny_temperatures_take_the_best() {
        let options = SampleOptions { temperature: 1e-40, top_p: 0.9, ..SampleOptions::default() };
        assert_eq!(drawn(options), [1]);
    }

    /// −∞ + ∞ is no logit.
    #[test]
    fn infinite_biases_of_impossible_tokens_do_nothing() {
        let options = SampleOptions {
            logit_bias: vec![(0, f32::INFINITY)],
            temperature: 1.0,
            top_p: 0.5,
            ..SampleOptions::default()
        };
        let mut sampler = Sampler::new(options, Isa::SCALAR).unwrap();
        let mut logits = [f32::NEG_INFINITY, 9.0, 0.0];
        assert_eq!(sampler.sample(&mut logits, &[], 0).unwrap().token, 1);
    }

    #[test]
    fn nonsense_is_an_error() {
        use crate::ErrorKind::{BadData, BadOption};
        for options in [
            SampleOptions { temperature: -1.0, ..Default::default() },
            SampleOptions { temperature: f32::NAN, ..Default::default() },
            SampleOptions { top_p: 0.0, ..Default::default() },
            SampleOptions { min_p: 2.0, ..Default::default() },
            SampleOptions { typical_p: 0.0, ..Default::default() },
            SampleOptions { repetition_penalty: 0.0, ..Default::default() },
            SampleOptions { presence_penalty: f32::INFINITY, ..Default::default() },
            SampleOptions { logit_bias: vec![(0, f32::NAN)], ..Default::default() },
        ] {
            assert_eq!(Sampler::new(options, Isa::SCALAR).unwrap_err().kind, BadOption);
        }
        let mut sampler = Sampler::new(SampleOptions::default(), Isa::SCALAR).unwrap();
        assert_eq!(sampler.sample(&mut [f32::NAN; 3], &[], 0).unwrap_err().kind, BadData);
        assert_eq!(sampler.sample(&mut [f32::INFINITY; 3], &[], 0).unwrap_err().kind, BadData);
        let options = SampleOptions { banned_tokens: vec![0, 1], ..Default::default() };
        assert_eq!(
            Sampler::new(options, Isa::SCALAR).unwrap().sample(&mut [1.0, 2.0], &[], 0).unwrap_err().kind,
            BadOption
        );
    }
}
