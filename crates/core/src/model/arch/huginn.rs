//! Huginn (arXiv 2502.05171): blocks before, in and after a loop, whose passes each begin with a mix of the state and of
//! what came into the loop. Keys and names are those of seal-rg/recurrent-pretraining.
//!
//! The second and the fourth norm of a block act on the sum; neighbours are rotated; the last norm stands after the loop and
//! again at the end.

use alloc::string::ToString;

use super::{
    MAX_HEAD_DIM, check_dimensions,
    common::{attention, gated, rope_with_theta},
    keys::{Keys, hf},
};
use crate::{
    Result, bail,
    container::Value,
    model::{
        rope::{Rope, RopeStyle},
        spec::{
            Activation, Attention, Block, Branch, Checkpoint, Embed, Ffn, InputSemantics, Linear, Loop,
            LoopNorm, MAX_LOOPS, Mixer, Norm, Output, Program, Spec,
        },
        tensor_names::{LinearRole, Names, Row, rows},
    },
};

/// The stems of `Arch::sections` stand for `model.layers.{b}`.
pub(super) const HF_ROWS: &[Row] = rows! {
    "transformer.wte": Embedding;
    "transformer.ln_f": FinalNorm;
    "transformer.adapter": LoopAdapter;
    "model.layers.{b}.norm_1": Norm(MixerPre);
    "model.layers.{b}.norm_2": Norm(MixerAfter);
    "model.layers.{b}.norm_3": Norm(FfnPre);
    "model.layers.{b}.norm_4": Norm(FfnAfter);
    "model.layers.{b}.attn.Wqkv": Linear(Q), Linear(K), Linear(V);
    // Its suffix is `_bias`.
    "model.layers.{b}.attn.qk": Linear(Q), Linear(K);
    "model.layers.{b}.attn.proj": Linear(O);
    "model.layers.{b}.mlp.fc": Linear(Gate), Linear(Up);
    "model.layers.{b}.mlp.proj": Linear(Down);
};

pub(super) fn spec(keys: &Keys<'_>, _: Names) -> Result<Spec> {
    if keys.is_gguf() {
        bail!(UnsupportedArch, "Huginn is known as a Hugging Face folder only");
    }
    only_known(keys)?;
    let part = |name| keys.need(hf(name));
    let prelude = part("n_layers_in_prelude")?;
    let core = part("n_layers_in_recurrent_block")?;
    let coda = part("n_layers_in_coda")?;
    let times = part("mean_recurrence")?;
    let (hidden, width) = (part("n_embd")?, part("intermediate_size")?);
    let heads = part("num_attention_heads")?;
    let (context, vocab) = (part("block_size")?, part("vocab_size")?);
    check_dimensions(&[
        ("'n_layers_in_prelude'", prelude, 0, 1024),
        ("'n_layers_in_recurrent_block'", core, 1, 1024),
        ("'n_layers_in_coda'", coda, 0, 1024),
        ("'mean_recurrence'", times, 1, MAX_LOOPS),
        ("hidden size", hidden, 1, 1 << 16),
        ("feed-forward size", width, 1, 1 << 18),
        ("heads", heads, 1, 1024),
        ("head size", hidden / heads.max(1), 1, MAX_HEAD_DIM),
        ("context", context, 1, 1 << 24),
        ("vocabulary", vocab, 1, 1 << 21),
    ])?;
    let head_dim = hidden / heads;
    for (name, value) in [
        ("num_key_value_heads", heads),
        ("n_heads", heads),
        ("head_dim", head_dim),
        ("n_layers", prelude + core + coda),
    ] {
        keys.expect(hf(name), &[Value::Int(value as i64)])?;
    }
    if head_dim * heads != hidden {
        bail!(Shape, "{heads} heads do not divide a width of {hidden}");
    }
    let norm = Norm::rms(keys.float(hf("norm_eps"))?.unwrap_or(1e-6));
    let bias = keys.flag(hf("qk_bias"))? == Some(true);
    let block = block(heads, head_dim, width, norm, bias)?;
    let theta = keys.float(hf("rope_base"))?.unwrap_or(50_000.0);
    let rope = Rope { style: RopeStyle::Interleaved, ..rope_with_theta(head_dim, theta)? };
    let mut program = Program::looped(prelude, core, coda, times);
    if let Some(body) = &mut program.body {
        *body = Loop { norm: LoopNorm::AfterLoop, adapter: true, ..body.clone() };
    }
    // The trained model says the root that it was made with.
    let scale = keys.float(hf("init_values.embed_scale"))?.unwrap_or(libm::sqrtf(hidden as f32));
    let tied = keys.flag(hf("tie_embeddings"))?.or(keys.flag(hf("tie_word_embeddings"))?);
    Ok(Spec {
        arch: keys.arch.to_string(),
        vocab,
        hidden,
        context,
        embed: Embed { scale, rotated: false, positions: None, norm: None },
        ropes: [rope].into(),
        blocks: alloc::vec![block; prelude + core + coda],
        program,
        norm,
        output: Output { tied: tied.unwrap_or(true), scale: 1.0, rotated: false },
        rotation: None,
        relative_bias: None,
        cache_codes: None,
        checkpoint: Checkpoint::PLAIN,
    })
}

/// Refuses other classes, and states that are drawn at random.
fn only_known(keys: &Keys<'_>) -> Result<()> {
    for (name, known) in [
        ("block_class_name", "SandwichBlock"),
        ("mlp_class_name", "GatedMLP"),
        ("nonlin_name", "SiLU"),
        ("norm_class_name", "RMSNorm_llama"),
        ("injection_type", "linear"),
        ("state_init", "zero"),
    ] {
        keys.expect(hf(name), &[Value::Str(known.to_string())])?;
    }
    keys.expect(hf("bias"), &[Value::Bool(false)])?;
    // How it was trained.
    for name in [
        "activation_checkpoint_impl",
        "effective_expected_depth",
        "init_strategy",
        "init_values.embedding",
        "init_values.out_proj",
        "init_values.std",
        "mean_backprop_depth",
        "padded_vocab_size",
        "padding_multiple",
        "sampling_scheme",
        "test_time_noise_type",
    ] {
        keys.raw(name);
    }
    Ok(())
}

/// `x ← N₂(x + attention(N₁ x))`, `x ← N₄(x + mlp(N₃ x))`.
fn block(heads: usize, head_dim: usize, width: usize, norm: Norm, bias: bool) -> Result<Block> {
    let plain = Linear { bias: false, norm: None, input: InputSemantics::Float, rotated: false };
    let linear = |role| {
        let has_bias = bias && matches!(role, LinearRole::Q | LinearRole::K);
        Ok(Linear { bias: has_bias, ..plain })
    };
    let attention = Attention { rope: Some(0), ..attention(heads, head_dim, linear)? };
    let mlp = gated(width, Activation::Silu, linear)?;
    Ok(Block {
        mixer: Branch { after: Some(norm), ..Branch::pre_norm(norm, Mixer::Attention(attention)) },
        ffn: Branch { after: Some(norm), ..Branch::pre_norm(norm, Ffn::Dense(mlp)) },
    })
}
