//! The models of `bench --families`: about the same active bytes each, in sizes that are made in seconds.

use super::{
    Dims, bitnet_moe, deepnet, fp8, gguf, gpt_oss, huginn, hunyuan, magneto, minicpm, mixtral, mor, mxfp4,
    nvfp4, olmoe, ouro, qwen3_moe, recursive, retnet, ternary, universal, xmoe, xpos,
};
use crate::{
    command::shapes::{Made, Shape},
    model_file::Family,
};

/// A family's name and what makes its model.
pub type Timed = (&'static str, fn() -> Made);

/// Of the size of a layer of a model of 1 to 2 billion parameters.
const WIDE: Dims = Dims {
    layers: 12,
    hidden: 2048,
    heads: 16,
    kv_heads: 16,
    head_dim: 128,
    ffn: 5632,
    vocab: 4096,
    context: 2048,
};

const fn layers(layers: usize) -> Dims {
    Dims { layers, ..WIDE }
}

/// Experts that are a quarter as wide.
const fn mixture(layers: usize, ffn: usize) -> Dims {
    Dims { layers, ffn, ..WIDE }
}

const fn made(family: Family) -> Made {
    Made::Family(family)
}

/// What all others are compared with: LLaMA blocks of ternary weights.
pub const DENSE: Timed = ("ternary", || made(ternary("ternary", "llama", &WIDE, serde_json::json!({}))));

/// The others, in the order of the table.
pub const OTHERS: &[Timed] = &[
    ("a48", || Shape::Bitnet700mA48.made()),
    ("bitnet-moe", || made(bitnet_moe("bitnet-moe", &mixture(6, 2816)))),
    ("maple", || {
        let experts = gguf::Mixture { experts: 8, active: 2, width: 2816, window: 512 };
        made(gguf::maple("maple", &mixture(5, 2816), &experts))
    }),
    ("mixtral", || made(mixtral("mixtral", &mixture(2, 2048)))),
    ("qwen3-moe", || made(qwen3_moe("qwen3-moe", &mixture(2, 1024)))),
    ("olmoe", || made(olmoe("olmoe", &mixture(2, 1024)))),
    ("gpt-oss", || made(gpt_oss("gpt-oss", &mixture(3, 2048)))),
    ("xmoe", || made(xmoe("xmoe", &mixture(2, 8192)))),
    ("ouro", || made(ouro("ouro", &layers(6), 2))),
    // The block fits a cache of 16 MB and the head does not: it makes the first pass read from memory.
    ("ouro-in-cache", || made(ouro("ouro-in-cache", &Dims { vocab: 49_152, ..layers(1) }, 12))),
    ("universal", || made(universal("universal", &Dims { vocab: 49_152, ..WIDE }, 12))),
    ("recursive", || made(recursive("recursive", &layers(6), 2, 16))),
    ("mor", || made(mor("mor", &layers(6), 3))),
    ("huginn", || made(huginn("huginn", &Dims { hidden: 1024, heads: 8, ffn: 2816, ..layers(2) }, 2))),
    ("deepnet", || made(deepnet("deepnet", &mixture(2, 8192)))),
    ("magneto", || made(magneto("magneto", &mixture(2, 8192)))),
    ("xpos", || made(xpos("xpos", &mixture(2, 8192)))),
    ("retnet", || made(retnet("retnet", &mixture(1, 4096)))),
    ("fp8", || made(fp8("fp8", &layers(3)))),
    ("mxfp4", || made(mxfp4("mxfp4", &layers(6)))),
    ("nvfp4", || made(nvfp4("nvfp4", &layers(6)))),
    ("minicpm", || made(minicpm("minicpm", &layers(10)))),
    ("hunyuan", || made(hunyuan("hunyuan", &layers(10)))),
];
