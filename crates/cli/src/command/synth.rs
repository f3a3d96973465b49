//! `ternlight synth`: models of a published shape with random ternary weights.
//!
//! They stand in for weights that cannot be had: same sizes, same speed, no sense. Invariant: the weights
//! depend on shape and seed only, so files of different formats are the same model.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use rand_core::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::Serialize;
use ternlight_core::{
    format::Encoding,
    model::{spec::Activation, tensor_names::TensorRole},
};

use super::sparse_weights::SparseRandom;
use crate::{
    Result,
    console::{self, Console, STRONG},
    model_file::{self, Config, Format, Item, Rows, Vocabulary, is_ternary},
};

/// Write a model of a published shape with random ternary weights: same size, same speed, no sense.
#[derive(Args)]
#[command(
    after_help = "Example: ternlight synth --shape bitnet-2b4t --format i2_s --out 2b4t.gguf  (1.2 GB)\n\n\
    Shapes:\n  \
    bitnet-2b4t  30 layers, width 2560, feed-forward 6912, 20/5 heads, 128256 tokens, 2.41 G parameters\n  \
    bitnet-100m  12 layers, width 768, feed-forward 2048, 12/4 heads, 32768 tokens, 100 M parameters\n  \
    bitnet-tiny  2 layers, width 256, feed-forward 512, 4/2 heads, 1024 tokens, 1.4 M parameters\n  \
    bitnet-2b-a48, bitnet-tiny-a48  BitNet a4.8 of the sizes of 2b4t and tiny: inputs of 4 bits, and sparse ones\n  \
                 (--format hf-packed)"
)]
pub struct Synth {
    /// Dimensions of the model
    #[arg(long, value_enum)]
    shape: Shape,

    /// How to store it
    #[arg(long, value_enum, default_value = "i2_s")]
    format: Format,

    /// Same seed, same weights, in every format
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// The share of zeros among the gates of an a4.8 shape; the inputs of down projections follow (0.67: 0.8)
    #[arg(long, value_name = "SHARE", default_value_t = SPARSITY, value_parser = share)]
    sparsity: f32,

    /// Tokenizer to embed (tokenizer.json) [default: a made-up one of the right size]
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,

    /// File to write, or folder for hf-packed
    #[arg(long, short, value_name = "PATH")]
    out: PathBuf,

    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// Shapes by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shape {
    /// BitNet b1.58 2B4T
    #[value(name = "bitnet-2b4t")]
    Bitnet2b4t,
    /// A hundred million parameters
    #[value(name = "bitnet-100m")]
    Bitnet100m,
    /// For tests
    #[value(name = "bitnet-tiny")]
    BitnetTiny,
    /// BitNet a4.8 of the size of 2B4T
    #[value(name = "bitnet-2b-a48")]
    Bitnet2bA48,
    /// BitNet a4.8, for tests
    #[value(name = "bitnet-tiny-a48")]
    BitnetTinyA48,
}

/// The share of zeros among the gates that the paper of BitNet a4.8 reports.
pub const SPARSITY: f32 = 0.67;

/// A share of zeros that weights can be made for.
pub fn share(text: &str) -> std::result::Result<f32, String> {
    match text.parse() {
        Ok(share) if (0.5..=0.95).contains(&share) => Ok(share),
        _ => Err("not a share from 0.5 to 0.95".to_owned()),
    }
}

impl Shape {
    /// All dimensions.
    pub fn config(self) -> Config {
        let base = Config {
            name: format!(
                "{} shape, random weights",
                self.to_possible_value().expect("none is hidden").get_name()
            ),
            sub_norms: true,
            activation: Activation::Relu2,
            layers: 30,
            hidden: 2560,
            ffn: 6912,
            heads: 20,
            kv_heads: 5,
            head_dim: 128,
            vocab: 128_256,
            context: 4096,
            theta: 500_000.0,
            norm_eps: 1e-5,
            tied: true,
            a48: matches!(self, Self::Bitnet2bA48 | Self::BitnetTinyA48),
            about: Default::default(),
        };
        match self {
            Self::Bitnet2b4t | Self::Bitnet2bA48 => base,
            Self::Bitnet100m => Config {
                layers: 12,
                hidden: 768,
                ffn: 2048,
                heads: 12,
                kv_heads: 4,
                head_dim: 64,
                vocab: 32_768,
                ..base
            },
            Self::BitnetTiny | Self::BitnetTinyA48 => Config {
                layers: 2,
                hidden: 256,
                ffn: 512,
                heads: 4,
                kv_heads: 2,
                head_dim: 64,
                vocab: 1024,
                context: 512,
                ..base
            },
        }
    }
}

/// Random weights for a model of `config`.
pub fn weights<'a>(config: &Config, seed: u64, items: &'a [Item], sparsity: f32) -> Box<dyn Rows + 'a> {
    match config.a48 {
        true => Box::new(SparseRandom::new(seed, items, sparsity)),
        false => Box::new(Random::new(seed, items)),
    }
}

/// The tensors of a model in file order; matrices that are not ternary are stored as `embedding`.
pub fn items(config: &Config, format: Format, embedding: Encoding) -> Result<Vec<Item>> {
    let (spec, _) = config.spec(format)?;
    Ok(model_file::items(&spec, |role| match role {
        TensorRole::Embedding | TensorRole::Head => embedding,
        role if is_ternary(role) => embedding,
        _ => Encoding::BF16,
    }))
}

#[derive(Serialize)]
struct Report {
    path: PathBuf,
    bytes: u64,
    parameters: u64,
    ternary: u64,
}

impl Synth {
    pub fn execute(self, console: &Console) -> Result<()> {
        let config = self.shape.config();
        let mut vocabulary = match &self.tokenizer {
            None => Vocabulary::generate(config.vocab),
            Some(path) => Vocabulary::read(path)?,
        };
        vocabulary.pad(config.vocab)?;
        // The values are exact in both.
        let embedding = if self.format == Format::HfPacked { Encoding::BF16 } else { Encoding::F16 };
        let items = items(&config, self.format, embedding)?;
        let size =
            |items: &mut dyn Iterator<Item = &Item>| items.map(|i| i.rows as u64 * i.cols as u64).sum();
        let parameters = size(&mut items.iter());
        let ternary = size(&mut items.iter().filter(|item| is_ternary(item.role)));
        let mut random = weights(&config, self.seed, &items, self.sparsity);
        let bytes = model_file::write(
            &config,
            Some(&vocabulary),
            &items,
            &mut *random,
            self.format,
            &self.out,
            console,
        )?;
        let report = Report { path: self.out, bytes, parameters, ternary };
        console.result(&report, || {
            crate::say!("{STRONG}{}{STRONG:#}", report.path.display());
            let (all, ternary) = (console::count(report.parameters), console::count(report.ternary));
            crate::say!(
                "{}, {all} parameters ({ternary} ternary), random weights",
                console::bytes(report.bytes)
            );
        });
        Ok(())
    }
}

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
            _ => (1.0, 0.1),
        };
        values.extend((0..cols).map(|_| common(centre + spread * normal(generator.next_u64()))));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_2b_shape_has_the_published_size() {
        let items = items(&Shape::Bitnet2b4t.config(), Format::I2S, Encoding::F16).unwrap();
        let ternary = |item: &&Item| is_ternary(item.role);
        let count: usize = items.iter().filter(ternary).map(|item| item.rows * item.cols).sum();
        assert_eq!(count, 30 * 69_468_160);
    }

    #[test]
    fn weights_look_like_weights() {
        let config = Shape::BitnetTiny.config();
        let items = items(&config, Format::I2S, Encoding::F16).unwrap();
        let mut random = Random::new(7, &items);
        let (mut codes, mut again, mut counts) = (Vec::new(), Vec::new(), [0usize; 3]);
        for row in 0..256 {
            random.codes(2, row, &mut codes).unwrap();
            codes.iter().for_each(|code| counts[(code + 1) as usize] += 1);
        }
        let share = |n: usize| n as f32 / counts.iter().sum::<usize>() as f32;
        assert!(
            (share(counts[1]) - 0.3125).abs() < 0.01 && (share(counts[0]) - share(counts[2])).abs() < 0.01
        );
        random.codes(2, 255, &mut again).unwrap();
        assert_eq!(codes, again);
        let mut values = Vec::new();
        random.floats(0, 3, &mut values).unwrap();
        let variance = values.iter().map(|x| x * x).sum::<f32>() / values.len() as f32;
        assert!((variance * 256.0 / 6.25 - 1.0).abs() < 0.25, "{variance}");
    }
}
