//! Shapes of models by name, for `synth` and `bench`.

use clap::ValueEnum;
use ternlight_core::model::spec::Activation;

use super::families::{self, Dims, LLAMA_8B, TINY};
use crate::model_file::{Config, Family};

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
    /// BitNet a4.8, 700 M parameters
    #[value(name = "bitnet-700m-a48")]
    Bitnet700mA48,
    /// BitNet a4.8, for tests
    #[value(name = "bitnet-tiny-a48")]
    BitnetTinyA48,
    /// Sigma-MoE-Tiny: 20 B parameters, 0.5 B active
    SigmaMoeTiny,
    /// Maple: 20 B parameters, 1 B active
    #[value(name = "maple-20b-a1b")]
    Maple20bA1b,
    /// Maple, small
    MapleTiny,
    /// BitNet with experts, small
    BitnetMoeTiny,
    /// Mixtral, small
    MixtralTiny,
    /// Qwen3-MoE, small
    #[value(name = "qwen3-moe-tiny")]
    Qwen3MoeTiny,
    /// OLMoE, small
    OlmoeTiny,
    /// gpt-oss, small
    GptOssTiny,
    /// Ouro with ternary weights
    #[value(name = "ouro-1.4b")]
    Ouro1_4b,
    /// Ouro with ternary weights, small
    OuroTiny,
    /// A Universal Transformer with ternary weights, small
    UniversalTiny,
    /// A recursive transformer with LoRA and ternary weights, small
    RecursiveTiny,
    /// Mixture-of-Recursions with ternary weights
    #[value(name = "mor-360m")]
    Mor360m,
    /// Mixture-of-Recursions with ternary weights, small
    MorTiny,
    /// Huginn
    #[value(name = "huginn-3.5b")]
    Huginn3_5b,
    /// Huginn, small
    HuginnTiny,
    /// DeepNet of 1000 layers
    #[value(name = "deepnet-1000")]
    Deepnet1000,
    /// DeepNet, small
    DeepnetTiny,
    /// Magneto, small
    MagnetoTiny,
    /// TorchScale with xPos, small
    XposTiny,
    /// TorchScale with experts, small
    XmoeTiny,
    /// RetNet
    #[value(name = "retnet-1.3b")]
    Retnet1_3b,
    /// RetNet, small
    RetnetTiny,
    /// LLaMA in FP8
    #[value(name = "fp8-8b")]
    Fp8_8b,
    /// LLaMA in FP8, small
    #[value(name = "fp8-tiny")]
    Fp8Tiny,
    /// LLaMA in MXFP4
    #[value(name = "mxfp4-8b")]
    Mxfp4_8b,
    /// LLaMA in MXFP4, small
    #[value(name = "mxfp4-tiny")]
    Mxfp4Tiny,
    /// LLaMA in NVFP4
    #[value(name = "nvfp4-8b")]
    Nvfp4_8b,
    /// LLaMA in NVFP4, small
    #[value(name = "nvfp4-tiny")]
    Nvfp4Tiny,
    /// MiniCPM, small
    #[value(name = "minicpm-tiny")]
    MinicpmTiny,
    /// Hy-MT
    #[value(name = "hy-mt-1.8b")]
    HyMt1_8b,
    /// Hunyuan, small
    HunyuanTiny,
}

/// What a shape's name stands for.
pub enum Made {
    /// A model that every [`Format`](crate::model_file::Format) can hold.
    Config(Config),
    /// One of a family that is stored in its own way.
    Family(Family),
}

impl Shape {
    /// Its name.
    pub fn name(self) -> String {
        self.to_possible_value().expect("none is hidden").get_name().to_owned()
    }

    /// What it stands for.
    pub fn made(self) -> Made {
        let name = &*self.name();
        let wide = |ffn| Dims { ffn, ..TINY };
        Made::Family(match self {
            Self::SigmaMoeTiny => families::sigma_moe_tiny(),
            Self::Maple20bA1b => families::maple_20b_a1b(),
            Self::MapleTiny => families::maple_tiny(&TINY),
            Self::BitnetMoeTiny => families::bitnet_moe(name, &wide(256)),
            Self::MixtralTiny => families::mixtral(name, &TINY),
            Self::Qwen3MoeTiny => families::qwen3_moe(name, &wide(128)),
            Self::OlmoeTiny => families::olmoe(name, &wide(128)),
            Self::GptOssTiny => families::gpt_oss(name, &wide(256)),
            Self::Ouro1_4b => families::ouro(name, &families::OURO, 4),
            Self::OuroTiny => families::ouro(name, &TINY, 3),
            Self::UniversalTiny => families::universal(name, &TINY, 4),
            Self::RecursiveTiny => families::recursive(name, &TINY, 3, 8),
            Self::Mor360m => families::mor_360m(),
            Self::MorTiny => families::mor(name, &TINY, 3),
            Self::Huginn3_5b => families::huginn_3_5b(),
            Self::HuginnTiny => families::huginn(name, &TINY, 3),
            Self::Deepnet1000 => families::deepnet(name, &Dims { layers: 1000, ffn: 1024, ..TINY }),
            Self::DeepnetTiny => families::deepnet(name, &TINY),
            Self::MagnetoTiny => families::magneto(name, &TINY),
            Self::XposTiny => families::xpos(name, &TINY),
            Self::XmoeTiny => families::xmoe(name, &TINY),
            Self::Retnet1_3b => families::retnet_1_3b(),
            Self::RetnetTiny => families::retnet(name, &TINY),
            Self::Fp8_8b => families::fp8(name, &LLAMA_8B),
            Self::Fp8Tiny => families::fp8(name, &TINY),
            Self::Mxfp4_8b => families::mxfp4(name, &LLAMA_8B),
            Self::Mxfp4Tiny => families::mxfp4(name, &TINY),
            Self::Nvfp4_8b => families::nvfp4(name, &LLAMA_8B),
            Self::Nvfp4Tiny => families::nvfp4(name, &TINY),
            Self::MinicpmTiny => families::minicpm(name, &TINY),
            Self::HyMt1_8b => families::hy_mt_1_8b(),
            Self::HunyuanTiny => families::hunyuan(name, &TINY),
            Self::Bitnet2b4t
            | Self::Bitnet100m
            | Self::BitnetTiny
            | Self::Bitnet2bA48
            | Self::Bitnet700mA48
            | Self::BitnetTinyA48 => return Made::Config(self.config()),
        })
    }

    /// All dimensions of a BitNet.
    pub fn config(self) -> Config {
        let base = Config {
            name: format!("{} shape, random weights", self.name()),
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
            a48: matches!(self, Self::Bitnet2bA48 | Self::Bitnet700mA48 | Self::BitnetTinyA48),
            about: Default::default(),
        };
        match self {
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
            // The paper's shape of 700 M (arXiv 2411.04965, table 6).
            Self::Bitnet700mA48 => Config {
                layers: 24,
                hidden: 1536,
                ffn: 4096,
                heads: 24,
                kv_heads: 24,
                head_dim: 64,
                vocab: 32_000,
                context: 2048,
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
            // 2B4T; families have no configuration of this kind (see `made`).
            _ => base,
        }
    }
}
