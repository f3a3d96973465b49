//! Rotary position embedding (Su et al. 2021) and the context-extension scalings in published files.

use alloc::{boxed::Box, vec::Vec};
use core::f64::consts::PI;

use super::roles::{RopeFactors, TensorRole};
use crate::{Result, bail, cache::PAGE};

/// Which elements of a head form a rotated pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RopeStyle {
    /// (j, j + dims/2): HF checkpoints, GGUFs of the NeoX kind (bitnet, qwen).
    Half,
    /// (2j, 2j + 1): GGUFs of the `llama` architecture, whose query and key rows are permuted to it.
    Interleaved,
}

/// Scaling of the rotation frequencies.
#[derive(Clone, Debug, PartialEq)]
pub enum RopeScaling {
    /// As trained.
    None,
    /// Exponents from 0 to 1, both included: frequency j is θ^(−j / (dims / 2 − 1)) (RetNet).
    Inclusive,
    /// Positions divided by the factor (Chen et al. 2023).
    Linear(f32),
    /// LLaMA 3.1: low frequencies divided by `factor`, high ones kept, a ramp between.
    Llama3 {
        /// Division of the low frequencies.
        factor: f32,
        /// Wavelengths above `original / low` are scaled fully.
        low: f32,
        /// Wavelengths below `original / high` are kept.
        high: f32,
        /// Context of the original training.
        original: f32,
    },
    /// YaRN (Peng et al. 2023): interpolation by parts and a temperature.
    Yarn {
        /// Context extension.
        factor: f32,
        /// Context of the original training.
        original: f32,
        /// Rotations above which a frequency is kept (32).
        beta_fast: f32,
        /// Rotations below which it is interpolated (1).
        beta_slow: f32,
        /// Multiplies cos and sin; `None`: 0.1·ln(factor) + 1.
        attention: Option<f32>,
        /// The ramp begins and ends at whole frequencies.
        truncate: bool,
    },
    /// One divisor for each frequency, from the file (`rope_freqs.weight`); empty until it is loaded.
    Divisors(Box<[f32]>),
    /// LongRoPE (Ding et al. 2024): divisors for contexts up to `original`, and others for longer ones. The
    /// decoder's context option decides which, for every position alike. In GGUF they are tensors, empty until loaded.
    Long {
        /// One divisor for each frequency, in short contexts.
        short: Box<[f32]>,
        /// The same, in long contexts.
        long: Box<[f32]>,
        /// The longest context that is short, in tokens.
        original: usize,
        /// Multiplies cos and sin.
        attention: f32,
    },
}

impl RopeScaling {
    /// The tensors of a file that this scaling still lacks.
    pub(crate) fn tensors(&self) -> Vec<TensorRole> {
        match self {
            Self::Divisors(_) => [TensorRole::RopeFactors(RopeFactors::All)].into(),
            // A Hugging Face configuration holds them itself.
            Self::Long { short, long, .. } if short.is_empty() && long.is_empty() => {
                [RopeFactors::Short, RopeFactors::Long].map(TensorRole::RopeFactors).into()
            }
            _ => Vec::new(),
        }
    }

    /// Takes divisors that were loaded.
    pub(crate) fn set_factors(&mut self, factors: RopeFactors, divisors: Vec<f32>) {
        match (self, factors) {
            (Self::Divisors(all), RopeFactors::All) => *all = divisors.into(),
            (Self::Long { short, .. }, RopeFactors::Short) => *short = divisors.into(),
            (Self::Long { long, .. }, RopeFactors::Long) => *long = divisors.into(),
            _ => {}
        }
    }
}

/// The rotary position embedding of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    /// Base of the frequencies.
    pub theta: f32,
    /// Leading elements of each head that are rotated; even.
    pub dims: usize,
    /// Pairing.
    pub style: RopeStyle,
    /// Context extension.
    pub scaling: RopeScaling,
    /// xPos: queries grow and keys shrink with their position.
    pub xpos: Option<XPos>,
}

/// xPos (Sun et al. 2022): pair `j` of a query at `p` is multiplied by ζⱼ^(p / base), of a key divided by it, with
/// ζⱼ = (2j + 0.4·dims) / (1.4·dims). Only differences of positions count, so each is taken from the middle of its page
/// of the cache: keys stay as large as they are in any context and fit any [`KvType`](crate::cache::KvType). What lies
/// between the pages multiplies the queries ([`RopeTable::decay`]); it is at most 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct XPos {
    /// Positions that make a factor of ζ.
    pub base: f32,
}

/// What is rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotated {
    /// Queries.
    Query,
    /// Keys.
    Key,
}

impl Rope {
    /// Angular frequencies (dims / 2), radians per position, and the factor on cos and sin, of a decoder whose
    /// context is `context` tokens.
    pub fn frequencies(&self, context: usize) -> (Vec<f32>, f32) {
        let half = self.dims / 2;
        let base = |j: usize| libm::pow(self.theta as f64, -2.0 * j as f64 / self.dims as f64);
        let plain = (0..half).map(base);
        match &self.scaling {
            RopeScaling::None => (plain.map(|f| f as f32).collect(), 1.0),
            RopeScaling::Inclusive => {
                let exponent = |j: usize| -(j as f64) / (half.max(2) - 1) as f64;
                ((0..half).map(|j| libm::pow(self.theta as f64, exponent(j)) as f32).collect(), 1.0)
            }
            RopeScaling::Linear(factor) => (plain.map(|f| (f / *factor as f64) as f32).collect(), 1.0),
            RopeScaling::Divisors(divisors) => {
                (plain.zip(divisors.iter()).map(|(f, &d)| (f / d as f64) as f32).collect(), 1.0)
            }
            RopeScaling::Long { short, long, original, attention } => {
                let divisors = if context > *original { long } else { short };
                (plain.zip(divisors.iter()).map(|(f, &d)| (f / d as f64) as f32).collect(), *attention)
            }
            &RopeScaling::Llama3 { factor, low, high, original } => {
                let scale = |f: f64| {
                    let rotations = original as f64 * f / (2.0 * PI);
                    let smooth = (rotations - low as f64) / (high - low) as f64;
                    let smooth = smooth.clamp(0.0, 1.0);
                    (f / factor as f64) * (1.0 - smooth) + f * smooth
                };
                (plain.map(|f| scale(f) as f32).collect(), 1.0)
            }
            &RopeScaling::Yarn { factor, original, beta_fast, beta_slow, attention, truncate } => {
                // The (fractional) index of the frequency that makes `rotations` turns in the context.
                let index = |rotations: f32| {
                    self.dims as f64 * libm::log(original as f64 / (rotations as f64 * 2.0 * PI))
                        / (2.0 * libm::log(self.theta as f64))
                };
                let (low, high) = (index(beta_fast), index(beta_slow));
                let (low, high) = if truncate { (libm::floor(low), libm::ceil(high)) } else { (low, high) };
                let (low, high) = (low.max(0.0), high.min((self.dims - 1) as f64));
                let span = (high - low).max(0.001);
                let frequencies = plain.enumerate().map(|(j, f)| {
                    let ramp = ((j as f64 - low) / span).clamp(0.0, 1.0);
                    (f / factor as f64 * ramp + f * (1.0 - ramp)) as f32
                });
                let temperature = if factor <= 1.0 { 1.0 } else { 0.1 * libm::logf(factor) + 1.0 };
                (frequencies.collect(), attention.unwrap_or(temperature))
            }
        }
    }

    /// Refuses parameters that make a frequency infinite or no number: every position would be one.
    ///
    /// # Errors
    /// `bad-header`.
    pub fn check(&self, context: usize) -> Result<()> {
        if let RopeScaling::Long { short, long, .. } = &self.scaling
            && [short, long].iter().any(|all| !all.is_empty() && all.len() != self.dims / 2)
        {
            bail!(
                Shape,
                "the rope factors are {} and {}, {} are needed",
                short.len(),
                long.len(),
                self.dims / 2
            );
        }
        for context in [1, context] {
            let (frequencies, factor) = self.frequencies(context);
            if !factor.is_finite() || frequencies.iter().any(|f| !f.is_finite()) {
                bail!(BadHeader, "the rope parameters give frequencies that are not finite");
            }
        }
        Ok(())
    }

    /// Rotates the heads of `x` in place to the `i`-th position of `table`.
    pub fn rotate(&self, which: Rotated, x: &mut [f32], head_dim: usize, table: &RopeTable, i: usize) {
        let turns = table.turns(i);
        let turn = |x: f32, y: f32, (cos, sin): (f32, f32)| (x * cos - y * sin, y * cos + x * sin);
        for head in x.chunks_exact_mut(head_dim) {
            match self.style {
                RopeStyle::Half => {
                    let (a, b) = head[..self.dims].split_at_mut(self.dims / 2);
                    for ((x, y), &t) in a.iter_mut().zip(b).zip(turns) {
                        (*x, *y) = turn(*x, *y, t);
                    }
                }
                RopeStyle::Interleaved => {
                    for (pair, &t) in head[..self.dims].as_chunks_mut::<2>().0.iter_mut().zip(turns) {
                        *pair = turn(pair[0], pair[1], t).into();
                    }
                }
            }
            if self.xpos.is_some() {
                self.grow(which, head, table.growth(i));
            }
        }
    }

    fn grow(&self, which: Rotated, head: &mut [f32], growth: &[(f32, f32)]) {
        for (j, &(query, key)) in growth.iter().enumerate() {
            let factor = if which == Rotated::Query { query } else { key };
            let (a, b) = match self.style {
                RopeStyle::Half => (j, j + self.dims / 2),
                RopeStyle::Interleaved => (2 * j, 2 * j + 1),
            };
            head[a] *= factor;
            head[b] *= factor;
        }
    }
}

/// Cosines and sines of a run of positions.
pub struct RopeTable {
    frequencies: Vec<f32>,
    factor: f32,
    /// `(positions, dims / 2)`: (cos, sin).
    turns: Vec<(f32, f32)>,
    xpos: Option<XPos>,
    /// The factors of [`XPos`], of queries and keys; empty without it.
    growth: Vec<(f32, f32)>,
    style: RopeStyle,
    /// `(pages, dims)`: what pages between query and key multiply each element by; empty without xPos.
    decays: Vec<f32>,
}

impl RopeTable {
    /// A table for `rope` in a decoder of `context` tokens, of no position yet.
    pub fn new(rope: &Rope, context: usize) -> Self {
        let (frequencies, factor) = rope.frequencies(context);
        Self {
            frequencies,
            factor,
            turns: Vec::new(),
            xpos: rope.xpos,
            growth: Vec::new(),
            style: rope.style,
            decays: Vec::new(),
        }
    }

    /// Fills the table for `n` positions from `first`. The angle is an f32 product, as in HF; its cosine
    /// is that angle's.
    ///
    /// # Errors
    /// `out-of-memory`.
    pub fn fill(&mut self, first: usize, n: usize) -> Result<()> {
        self.turns.clear();
        self.turns.try_reserve(n * self.frequencies.len())?;
        for position in first..first + n {
            self.turns.extend(self.frequencies.iter().map(|&frequency| {
                let angle = (position as f32 * frequency) as f64;
                (libm::cos(angle) as f32 * self.factor, libm::sin(angle) as f32 * self.factor)
            }));
        }
        if let Some(xpos) = self.xpos {
            self.fill_growth(xpos, first, n)?;
        }
        Ok(())
    }

    fn fill_growth(&mut self, xpos: XPos, first: usize, n: usize) -> Result<()> {
        self.growth.clear();
        self.growth.try_reserve(n * self.frequencies.len())?;
        let dims = 2.0 * self.frequencies.len() as f64;
        let zeta = |j: usize| (2.0 * j as f64 + 0.4 * dims) / (1.4 * dims);
        for position in first..first + n {
            let exponent = ((position % PAGE) as f64 - (PAGE / 2) as f64) / xpos.base as f64;
            self.growth.extend(
                (0..self.frequencies.len())
                    .map(|j| (libm::pow(zeta(j), exponent) as f32, libm::pow(zeta(j), -exponent) as f32)),
            );
        }
        let half = self.frequencies.len();
        let pages = (first + n).div_ceil(PAGE);
        let known = self.decays.len() / (2 * half);
        self.decays.try_reserve(pages.saturating_sub(known) * 2 * half)?;
        for page in known..pages {
            let exponent = (page * PAGE) as f64 / xpos.base as f64;
            self.decays.extend((0..2 * half).map(|d| {
                let j = if self.style == RopeStyle::Half { d % half } else { d / 2 };
                libm::pow(zeta(j), exponent) as f32
            }));
        }
        Ok(())
    }

    /// The factors of xPos (dims / 2) at the `i`-th position.
    fn growth(&self, i: usize) -> &[(f32, f32)] {
        let half = self.frequencies.len();
        &self.growth[i * half..][..half]
    }

    /// What the first elements of a query's head are multiplied by for keys so many pages before it; empty where it is 1.
    pub fn decay(&self, pages: usize) -> &[f32] {
        let dims = 2 * self.frequencies.len();
        match pages {
            0 => &[],
            _ if self.xpos.is_none() => &[],
            _ => &self.decays[pages * dims..][..dims],
        }
    }

    /// The turns (dims / 2) of the `i`-th position.
    fn turns(&self, i: usize) -> &[(f32, f32)] {
        let half = self.frequencies.len();
        &self.turns[i * half..][..half]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rope(style: RopeStyle, scaling: RopeScaling) -> Rope {
        Rope { theta: 10_000.0, dims: 8, style, scaling, xpos: None }
    }

    #[test]
    fn both_styles_are_the_same_rotation_of_permuted_heads() {
        let x: Vec<f32> = (0..8).map(|i| i as f32 + 0.5).collect();
        let mut half = x.clone();
        // Half-split element j and j + 4 sit at 2j and 2j + 1 in the interleaved order.
        let mut interleaved: Vec<f32> = (0..8).map(|i| x[i / 2 + (i % 2) * 4]).collect();
        let a = rope(RopeStyle::Half, RopeScaling::None);
        let b = rope(RopeStyle::Interleaved, RopeScaling::None);
        let mut table = RopeTable::new(&a, 64);
        table.fill(5, 3).unwrap();
        a.rotate(Rotated::Query, &mut half, 8, &table, 2);
        b.rotate(Rotated::Query, &mut interleaved, 8, &table, 2);
        for i in 0..8 {
            assert_eq!(interleaved[i], half[i / 2 + (i % 2) * 4]);
        }
        assert_ne!(half, x);
    }

    #[test]
    fn llama3_keeps_high_and_divides_low_frequencies() {
        let scaling = RopeScaling::Llama3 { factor: 8.0, low: 1.0, high: 4.0, original: 8192.0 };
        let rope = Rope { theta: 500_000.0, dims: 128, style: RopeStyle::Half, scaling, xpos: None };
        let (scaled, _) = rope.frequencies(64);
        let (plain, _) = Rope { scaling: RopeScaling::None, ..rope }.frequencies(64);
        assert_eq!(scaled[0], plain[0]);
        assert_eq!(scaled[63], plain[63] / 8.0);
    }

    #[test]
    fn yarn_matches_the_formula_of_the_paper_at_both_ends() {
        let scaling = RopeScaling::Yarn {
            factor: 4.0,
            original: 32_768.0,
            beta_fast: 32.0,
            beta_slow: 1.0,
            attention: None,
            truncate: true,
        };
        let rope = Rope { theta: 1e6, dims: 128, style: RopeStyle::Half, scaling, xpos: None };
        let (scaled, factor) = rope.frequencies(64);
        let (plain, _) = Rope { scaling: RopeScaling::None, ..rope }.frequencies(64);
        assert_eq!(scaled[0], plain[0]);
        assert_eq!(scaled[63], plain[63] / 4.0);
        assert!((factor - 1.138_629_4).abs() < 1e-6);
    }
}
