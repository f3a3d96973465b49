//! Random weights whose activations have as many zeros as those of BitNet a4.8 (arXiv 2411.04965).
//!
//! Half of the outputs of random gates are negative; trained ones have more. Here some values of the residual stream
//! are the same for every token: no branch writes to them, and the norm before the feed-forward network makes them so
//! large that the quantiser of 4 bits gives them its largest code, at any depth. Each gate row has as many −1 there as
//! move its mean to where the wanted share is negative. What is left of a product of few gates with random ups, squared,
//! is small beside the largest one, so the down projection's 8-bit codes have further zeros, as in trained models.

use ternlight_core::model::tensor_names::{BlockNorm, Field, LinearRole, NormRole, TensorRole};

use super::random_weights::{Random, common};
use crate::{
    Result,
    model_file::{Item, Rows},
};

/// The values of the stream that are the same for every token.
const CONSTANTS: usize = 32;
/// What they are.
const CONSTANT: f32 = 0.25;
/// What they become, of values whose spread is 1: far beyond the largest code of 4 bits, 2.65 mean magnitudes.
const NORMALISED: f32 = 8.0;
/// The largest code of 4 bits.
const LARGEST: f32 = 7.0;
/// The root mean square of the other codes (of normal values, rounded and cut off).
const SPREAD: f32 = 2.7;
/// The share of codes of random ternary weights that are not 0.
const NONZERO: f32 = 0.6875;

/// As [`Random`], with zeros to come.
pub struct SparseRandom<'a> {
    random: Random<'a>,
    items: &'a [Item],
    /// How many −1 a gate row has among the constants.
    lowered: f32,
}

impl<'a> SparseRandom<'a> {
    /// Weights for `items`, of whose gates a share of `zeros` is 0.
    pub fn new(seed: u64, items: &'a [Item], zeros: f32) -> Self {
        let gate = items.iter().find(|item| linear(item.role) == Some(LinearRole::Gate));
        let others = gate.map_or(0, |item| item.cols.saturating_sub(CONSTANTS)) as f32;
        let spread = SPREAD * (others * NONZERO).sqrt();
        let lowered = (quantile(zeros) * spread / LARGEST).clamp(0.0, CONSTANTS as f32);
        Self { random: Random::new(seed, items), items, lowered }
    }
}

fn linear(role: TensorRole) -> Option<LinearRole> {
    match role {
        TensorRole::Linear(_, linear, Field::Weight) => Some(linear),
        _ => None,
    }
}

/// Below which value a normal variable is with this probability (by a logistic approximation, to 1e-3).
fn quantile(probability: f32) -> f32 {
    let below = |z: f32| 1.0 / (1.0 + (-1.5976 * z - 0.070_56 * z * z * z).exp());
    let (mut low, mut high) = (-4.0, 4.0);
    for _ in 0..32 {
        let middle = (low + high) / 2.0;
        if below(middle) < probability { low = middle } else { high = middle }
    }
    low
}

impl Rows for SparseRandom<'_> {
    fn codes(&mut self, item: usize, row: usize, codes: &mut Vec<i8>) -> Result<()> {
        self.random.codes(item, row, codes)?;
        match linear(self.items[item].role) {
            Some(LinearRole::O | LinearRole::Down) if row < CONSTANTS => codes.fill(0),
            Some(LinearRole::Gate) => {
                // As many on average as are wanted.
                let whole = ((row + 1) as f32 * self.lowered) as usize - (row as f32 * self.lowered) as usize;
                for (k, code) in codes.iter_mut().take(CONSTANTS).enumerate() {
                    *code = -i8::from(k < whole);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn scale(&mut self, item: usize) -> Result<f32> {
        self.random.scale(item)
    }

    fn floats(&mut self, item: usize, row: usize, values: &mut Vec<f32>) -> Result<()> {
        self.random.floats(item, row, values)?;
        let constants = values.len().min(CONSTANTS);
        match self.items[item].role {
            TensorRole::Embedding => values[..constants].fill(CONSTANT),
            TensorRole::Norm(NormRole::Block(block, BlockNorm::FfnPre), Field::Weight) => {
                // Every branch adds about 1 to the variance of the stream.
                let spread = ((2 * block + 1) as f32).sqrt();
                values[..constants].fill(common(NORMALISED * spread / CONSTANT));
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_tables() {
        for (probability, z) in [(0.5, 0.0), (0.67, 0.4399), (0.8, 0.8416), (0.975, 1.96), (0.25, -0.6745)] {
            assert!((quantile(probability) - z).abs() < 4e-3, "{probability}: {}", quantile(probability));
        }
    }
}
