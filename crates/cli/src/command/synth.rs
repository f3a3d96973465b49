//! `ternlight synth`: models of a published shape with random ternary weights.
//!
//! They stand in for weights that cannot be had: same sizes, same speed, no sense. Invariant: the weights
//! depend on shape and seed only, so files of different formats are the same model.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use ternlight_core::{format::Encoding, model::tensor_names::TensorRole};

use super::{
    random_weights::Random,
    shapes::{Made, Shape},
    sparse_weights::SparseRandom,
};
use crate::{
    Result,
    console::{self, Console, STRONG},
    failure::{Failure, USAGE},
    model_file::{self, Config, Family, Format, Item, Rows, Vocabulary, is_ternary},
};

/// Write a model of a published shape with random ternary weights: same size, same speed, no sense.
#[derive(Args)]
#[command(
    after_help = "Example: ternlight synth --shape bitnet-2b4t --format i2_s --out 2b4t.gguf  (1.2 GB)\n\n\
    Shapes:\n  \
    bitnet-2b4t  30 layers, width 2560, feed-forward 6912, 20/5 heads, 128256 tokens, 2.41 G parameters\n  \
    bitnet-100m  12 layers, width 768, feed-forward 2048, 12/4 heads, 32768 tokens, 100 M parameters\n  \
    bitnet-tiny  2 layers, width 256, feed-forward 512, 4/2 heads, 1024 tokens, 1.4 M parameters\n  \
    bitnet-2b-a48, bitnet-700m-a48, bitnet-tiny-a48  BitNet a4.8: inputs of 4 bits, and sparse ones\n  \
                 (--format hf-packed)\n\n\
    Other families, each as it is stored (--format does not apply):\n  \
    sigma-moe-tiny   20 B parameters, 0.5 B active: 56 layers of 96 experts, one active; ternary  (5.7 GB)\n  \
    maple-20b-a1b    20 B parameters, 1 B active: 24 layers of 256 experts, 8 active; TQ2_0  (6.3 GB)\n  \
    ouro-1.4b        24 layers, 4 passes; ternary  (0.7 GB)\n  \
    mor-360m         1 + 10 + 1 layers, 1 to 3 passes through those between; ternary  (0.1 GB)\n  \
    huginn-3.5b      2 + 4 + 2 layers, 32 passes through those between; BF16  (7 GB)\n  \
    deepnet-1000     1000 layers, width 256; BF16  (1.6 GB)\n  \
    retnet-1.3b      24 layers; BF16  (3.6 GB)\n  \
    fp8-8b, mxfp4-8b, nvfp4-8b  Llama 3.1 8B in E4M3  (9.1 GB), MXFP4  (5.8 GB), NVFP4  (6.0 GB)\n  \
    hy-mt-1.8b       32 layers; TQ2_0  (0.9 GB)\n  \
    Those ending in -tiny have 4 layers of width 256"
)]
pub struct Synth {
    /// Dimensions of the model
    #[arg(long, value_enum)]
    shape: Shape,

    /// How to store it [default: i2_s, or as the family does]
    #[arg(long, value_enum)]
    format: Option<Format>,

    /// Same seed, same weights, in every format
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// The share of zeros among the gates of an a4.8 shape; the inputs of down projections follow (0.67: 0.8)
    #[arg(long, value_name = "SHARE", default_value_t = SPARSITY, value_parser = share)]
    sparsity: f32,

    /// Tokenizer to embed (tokenizer.json) [default: a made-up one of the right size]
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,

    /// File to write, or folder for hf-packed and families that are stored so
    #[arg(long, short, value_name = "PATH")]
    out: PathBuf,

    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
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
        let config = match self.shape.made() {
            Made::Config(config) => config,
            Made::Family(family) => return self.family(&family, console),
        };
        let format = self.format.unwrap_or(Format::I2S);
        let mut vocabulary = match &self.tokenizer {
            None => Vocabulary::generate(config.vocab),
            Some(path) => Vocabulary::read(path)?,
        };
        vocabulary.pad(config.vocab)?;
        // The values are exact in both.
        let embedding = if format == Format::HfPacked { Encoding::BF16 } else { Encoding::F16 };
        let items = items(&config, format, embedding)?;
        let size =
            |items: &mut dyn Iterator<Item = &Item>| items.map(|i| i.rows as u64 * i.cols as u64).sum();
        let parameters = size(&mut items.iter());
        let ternary = size(&mut items.iter().filter(|item| is_ternary(item.role)));
        let mut random = weights(&config, self.seed, &items, self.sparsity);
        let bytes =
            model_file::write(&config, Some(&vocabulary), &items, &mut *random, format, &self.out, console)?;
        Report { path: self.out, bytes, parameters, ternary }.show(console);
        Ok(())
    }

    /// A model of a family, stored as that does.
    fn family(self, family: &Family, console: &Console) -> Result<()> {
        if self.format.is_some() {
            return Err(Failure::new(USAGE, "--format: this family is stored in its own way only"));
        }
        let (spec, _) = family.spec()?;
        let mut vocabulary = match &self.tokenizer {
            None => Vocabulary::generate(spec.vocab),
            Some(path) => Vocabulary::read(path)?,
        };
        vocabulary.pad(spec.vocab)?;
        let tensors = family.tensors()?;
        let size = |item: &Item| item.rows as u64 * item.cols as u64;
        let parameters = tensors.items.iter().map(size).sum();
        let ternary = tensors.items.iter().filter(|item| family.is_ternary(item.role)).map(size).sum();
        let mut random = Random::new(self.seed, &tensors.items);
        let bytes = model_file::write_family(family, &vocabulary, &tensors, &mut random, &self.out, console)?;
        Report { path: self.out, bytes, parameters, ternary }.show(console);
        Ok(())
    }
}

impl Report {
    fn show(self, console: &Console) {
        let report = self;
        console.result(&report, || {
            crate::say!("{STRONG}{}{STRONG:#}", report.path.display());
            let (all, ternary) = (console::count(report.parameters), console::count(report.ternary));
            crate::say!(
                "{}, {all} parameters ({ternary} ternary), random weights",
                console::bytes(report.bytes)
            );
        });
    }
}

#[cfg(test)]
mod tests {
    use super::{super::families, *};

    #[test]
    fn the_2b_shape_has_the_published_size() {
        let items = items(&Shape::Bitnet2b4t.config(), Format::I2S, Encoding::F16).unwrap();
        let ternary = |item: &&Item| is_ternary(item.role);
        let count: usize = items.iter().filter(ternary).map(|item| item.rows * item.cols).sum();
        assert_eq!(count, 30 * 69_468_160);
    }

    /// The sizes that the papers and the model card give.
    #[test]
    fn families_have_the_published_sizes() {
        let sizes = |family: Family| {
            let tensors = family.tensors().unwrap();
            let ternary = |item: &&Item| family.is_ternary(item.role);
            let size = |item: &Item| item.rows * item.cols;
            let all: usize = tensors.items.iter().map(size).sum();
            (all, tensors.items.iter().filter(ternary).map(size).sum::<usize>())
        };
        let (all, ternary) = sizes(families::sigma_moe_tiny());
        assert_eq!(ternary, 56 * (96 * 3 * 1536 * 768 + 2 * 1536 * 1536 + 2 * 384 * 1536));
        assert!((19_500_000_000..20_500_000_000).contains(&all), "{all}");
        assert_eq!(sizes(families::maple_20b_a1b()).1, 19_579_011_072);
        // Ouro-2.6B has the widths of 1.4B and twice the layers.
        let ouro = |layers| sizes(families::ouro("ouro", &families::Dims { layers, ..families::OURO }, 4)).0;
        assert_eq!(ouro(48), 2_667_974_657);
        assert!((1_400_000_000..1_450_000_000).contains(&ouro(24)));
        assert!((3_400_000_000..3_600_000_000).contains(&sizes(families::huginn_3_5b()).0));
        // Without embedding and head; gates, which the paper's networks lack, make the rest 1.4 B.
        let retnet = sizes(families::retnet_1_3b()).0 - 2 * 100_288 * 2048;
        assert!((1_300_000_000..1_450_000_000).contains(&retnet));
        let llama = sizes(families::fp8("llama", &families::LLAMA_8B)).0;
        assert_eq!(llama, 8_030_261_248);
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
