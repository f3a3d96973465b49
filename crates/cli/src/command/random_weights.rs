//! Random weights: dense ones, as [`Rows`] to write.

use rand_core::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use ternlight_core::model::tensor_names::{Field, PackedField, TensorRole};

use crate::{
    Result,
    model_file::{Item, Rows},
};

/// Random weights. Each row has a generator of its own, so rows may be asked for in any order.
pub struct Random<'a> {
    seed: u64,
    items: &'a [Item],
    bytes: Vec<u8>,
}

impl<'a> Random<'a> {
    /// Weights for `items`.
    pub fn new(seed: u64, items: &'a [Item]) -> Self {
        Self { seed, items, bytes: Vec::new() }
    }

    fn generator(&self, item: usize, row: usize) -> Xoshiro256PlusPlus {
        // Odd multipliers keep (seed, item, row) apart; the generator's own seeding mixes the bits.
        let key = self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ ((item as u64) << 40) ^ row as u64;
        Xoshiro256PlusPlus::seed_from_u64(key)
    }
}

/// Rounds to what both bf16 and f16 hold, so that every format stores the same number.
pub(super) fn common(value: f32) -> f32 {
    // Below 2^-17 a bf16 has more digits than a subnormal f16.
    if value.abs() < 1.0 / 131_072.0 {
        return 0.0;
    }
    f32::from_bits((value.to_bits() + 0x8000) & 0xffff_0000)
}

/// About normal, variance 1: four uniforms, exact integers until the last step.
fn normal(bits: u64) -> f32 {
    let sum: u64 = (0..4).map(|i| bits >> (16 * i) & 0xffff).sum();
    let centred = sum as f32 - 131_070.0;
    // The variance of one uniform of 16 bits is 65536² / 12.
    centred / (65_536.0 * 0.577_350_26)
}

impl Rows for Random<'_> {
    fn codes(&mut self, item: usize, row: usize, codes: &mut Vec<i8>) -> Result<()> {
        let mut generator = self.generator(item, row);
        self.bytes.resize(self.items[item].cols, 0);
        generator.fill_bytes(&mut self.bytes);
        // Rounding a normal weight by its mean magnitude gives 31 % zeros: here 80 of 256.
        codes.clear();
        codes.extend(self.bytes.iter().map(|b| i8::from(*b >= 88) + i8::from(*b >= 168) - 1));
        Ok(())
    }

    fn scale(&mut self, item: usize) -> Result<f32> {
        // Keeps the variance of a normalised input: 11 of 16 codes are not zero.
        Ok(common(1.0 / (self.items[item].cols as f32 * 0.6875).sqrt()))
    }

    fn floats(&mut self, item: usize, row: usize, values: &mut Vec<f32>) -> Result<()> {
        let mut generator = self.generator(item, row);
        let Item { role, cols, .. } = self.items[item];
        values.clear();
        // Norm gains about 1; embeddings so that the logits of a tied head spread by about 2.5.
        let (centre, spread) = match role {
            TensorRole::Embedding | TensorRole::Head => (0.0, 2.5 / (cols as f32).sqrt()),
            TensorRole::Linear(_, _, Field::Weight)
            | TensorRole::Expert(_, _, _, Field::Weight)
            | TensorRole::SharedExpert(_, _, Field::Weight)
            | TensorRole::Router(_, Field::Weight)
            | TensorRole::RouterReduction(_)
            | TensorRole::Lora(..)
            | TensorRole::LoopAdapter
            | TensorRole::LoopExit(Field::Weight)
            | TensorRole::SharedGate(_)
            | TensorRole::Positions => (0.0, 1.0 / (cols as f32).sqrt()),
            // Codes, of which most are small; exponents.
            TensorRole::PackedExperts(_, _, PackedField::Blocks | PackedField::Scales) => (0.0, 1.0),
            TensorRole::Linear(_, _, Field::Bias)
            | TensorRole::Expert(_, _, _, Field::Bias)
            | TensorRole::PackedExperts(_, _, PackedField::Bias)
            | TensorRole::Router(_, Field::Bias)
            | TensorRole::Norm(_, Field::Bias)
            | TensorRole::RelativeBias
            | TensorRole::LoopExit(Field::Bias)
            | TensorRole::Sinks(_) => (0.0, 0.1),
            _ => (1.0, 0.1),
        };
        values.extend((0..cols).map(|_| common(centre + spread * normal(generator.next_u64()))));
        Ok(())
    }
}
