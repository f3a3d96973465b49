//! TorchScale's decoders (Microsoft, 0.3.0): DeepNet, Magneto and plain pre-LN, with learned positions or xPos.
//!
//! Keys are the attributes of its `DecoderConfig`, names those of its state_dict. Sources: DeepNet (arXiv
//! 2203.00555), Foundation Transformers (arXiv 2210.06423), A Length-Extrapolatable Transformer (arXiv 2212.10554).

use alloc::string::ToString;

use super::{
    MAX_HEAD_DIM, check_dimensions,
    common::has,
    keys::{Keys, hf},
};
use crate::{
    Result, bail,
    container::Value,
    error::short,
    model::{
        rope::{Rope, RopeScaling, RopeStyle, XPos},
        spec::{
            Activation, Attention, Block, Branch, Checkpoint, Embed, Ffn, InputSemantics, LearnedPositions,
            Linear, Mask, Mlp, Norm, NormKind, Output, Program, Spec,
        },
        tensor_names::{Field, LinearRole, Names, NormRole, Row, TensorRole, rows},
    },
};

pub(super) const ROWS: &[Row] = rows! {
    "embed_tokens": Embedding;
    "embed_positions": Positions;
    "layernorm_embedding": EmbeddingNorm;
    "output_projection": Head;
    "layer_norm": FinalNorm;
    "layers.{b}.self_attn_layer_norm": Norm(MixerPre);
    "layers.{b}.self_attn_layer_norm": Norm(MixerAfter);
    "layers.{b}.self_attn.inner_attn_ln": Norm(MixerSub);
    "layers.{b}.final_layer_norm": Norm(FfnPre);
    "layers.{b}.final_layer_norm": Norm(FfnAfter);
    "layers.{b}.ffn.ffn_layernorm": Norm(FfnSub);
    "layers.{b}.self_attn.q_proj": Linear(Q);
    "layers.{b}.self_attn.k_proj": Linear(K);
    "layers.{b}.self_attn.v_proj": Linear(V);
    "layers.{b}.self_attn.out_proj": Linear(O);
    "layers.{b}.ffn.fc1": Linear(Gate);
    "layers.{b}.ffn.fc2": Linear(Down);
};

/// What a decoder and a RetNet have in common.
struct Common {
    hidden: usize,
    layers: usize,
    width: usize,
    context: usize,
    vocab: usize,
    activation: Activation,
    norm: Norm,
    deepnorm: bool,
    sub_norm: bool,
}

pub(super) fn decoder(keys: &Keys<'_>, names: Names) -> Result<Spec> {
    let common = common(keys, NormKind::Layer)?;
    let heads = keys.need(hf("decoder_attention_heads"))?;
    let head_dim = head_dim(&common, heads)?;
    let learned = keys.flag(hf("learned_positions"))? == Some(true);
    let xpos = keys.flag(hf("xpos_rel_pos"))? == Some(true);
    let base = keys.float(hf("xpos_scale_base"))?.unwrap_or(512.0);
    keys.expect(hf("rel_pos_buckets"), &[Value::Int(0)])?;
    keys.expect(hf("max_rel_pos"), &[Value::Int(0)])?;
    if xpos && !(base > 0.0 && base.is_finite()) {
        bail!(BadHeader, "'xpos_scale_base' is {base}");
    }
    let rope = Rope {
        theta: 10_000.0,
        dims: head_dim,
        style: RopeStyle::Interleaved,
        scaling: RopeScaling::None,
        xpos: Some(XPos { base, middle: common.context / 2 }),
    };
    let linear = |role| linear(keys, names, role);
    let attention = Attention {
        heads,
        kv_heads: heads,
        head_dim,
        scale: 1.0 / libm::sqrtf(head_dim as f32),
        mask: Mask::Causal,
        rope: xpos.then_some(0),
        qk_norm: None,
        clip: None,
        sinks: false,
        sub_norm: common.sub_norm.then_some(common.norm),
        q: linear(LinearRole::Q),
        k: linear(LinearRole::K),
        v: linear(LinearRole::V),
        o: linear(LinearRole::O),
    };
    let mlp = Mlp {
        width: common.width,
        activation: common.activation,
        clamp: None,
        up_plus_one: false,
        sub_norm: common.sub_norm.then_some(common.norm),
        gate: linear(LinearRole::Gate),
        up: None,
        down: linear(LinearRole::Down),
    };
    let mut spec = spec(keys, names, &common, attention, mlp)?;
    spec.ropes.extend(xpos.then_some(rope));
    spec.embed.positions = learned.then_some(LearnedPositions { rows: common.context + 2, first: 2 });
    Ok(spec)
}

fn common(keys: &Keys<'_>, kind: NormKind) -> Result<Common> {
    let deepnorm = keys.flag(hf("deepnorm"))? == Some(true);
    let pre = keys.flag(hf("decoder_normalize_before"))?.unwrap_or(true);
    let sub_norm = keys.flag(hf("subln"))?.unwrap_or(true);
    if pre == deepnorm || (deepnorm && sub_norm) {
        bail!(
            UnsupportedArch,
            "'decoder_normalize_before' is {pre} and 'subln' {sub_norm} where 'deepnorm' is {deepnorm}"
        );
    }
    let activation = match keys.text(hf("activation_fn"))? {
        None | Some("gelu") => Activation::Gelu,
        Some("relu") => Activation::Relu,
        Some("swish") => Activation::Silu,
        Some(other) => bail!(UnsupportedArch, "activation '{}'", short(other)),
    };
    // Experts are another model; without them the keys about them mean nothing.
    keys.expect(hf("moe_freq"), &[Value::Int(0)])?;
    for key in ["moe_eval_capacity_token_fraction", "moe_gating_use_fp32", "moe_second_expert_policy"] {
        keys.raw(key);
    }
    for key in ["no_incremental_check", "recurrent_chunk_size", "max_target_positions"] {
        keys.raw(key);
    }
    let common = Common {
        hidden: keys.need(hf("decoder_embed_dim"))?,
        layers: keys.need(hf("decoder_layers"))?,
        width: keys.need(hf("decoder_ffn_embed_dim"))?,
        context: keys.usize(hf("max_target_positions"))?.unwrap_or(2048),
        vocab: keys.need(hf("vocab_size"))?,
        activation,
        norm: Norm { kind, eps: keys.float(hf("layernorm_eps"))?.unwrap_or(1e-5) },
        deepnorm,
        sub_norm,
    };
    check_dimensions(&[
        ("layers", common.layers, 1, 1024),
        ("hidden size", common.hidden, 1, 1 << 16),
        ("feed-forward size", common.width, 1, 1 << 18),
        ("context", common.context, 1, 1 << 24),
        ("vocabulary", common.vocab, 1, 1 << 21),
    ])?;
    Ok(common)
}

fn head_dim(common: &Common, heads: usize) -> Result<usize> {
    check_dimensions(&[("heads", heads, 1, 1024)])?;
    let head_dim = common.hidden / heads;
    check_dimensions(&[("head size", head_dim, 1, MAX_HEAD_DIM)])?;
    if head_dim * heads != common.hidden {
        bail!(Shape, "{heads} heads do not divide a width of {}", common.hidden);
    }
    Ok(head_dim)
}

/// A linear layer of block 0 speaks for those of all blocks.
fn linear(keys: &Keys<'_>, names: Names, role: LinearRole) -> Linear {
    let bias = has(keys, names, TensorRole::Linear(0, role, Field::Bias));
    Linear { bias, norm: None, input: InputSemantics::Float, rotated: false }
}

fn spec(keys: &Keys<'_>, names: Names, common: &Common, attention: Attention, mlp: Mlp) -> Result<Spec> {
    let norm = common.norm;
    let block = Block { mixer: branch(common, attention), ffn: branch(common, Ffn::Dense(mlp)) };
    // A stored norm counts: TorchScale 0.3.0 makes it for pre-LN only.
    let embedding_norm = keys.flag(hf("layernorm_embedding"))? == Some(true)
        || has(keys, names, TensorRole::Norm(NormRole::Embedding, Field::Weight));
    let is_scaled = keys.flag(hf("no_scale_embedding"))? == Some(false);
    let tied = keys.flag(hf("share_decoder_input_output_embed"))? == Some(true);
    Ok(Spec {
        arch: keys.arch.to_string(),
        vocab: common.vocab,
        hidden: common.hidden,
        context: common.context,
        embed: Embed {
            scale: if is_scaled { libm::sqrtf(common.hidden as f32) } else { 1.0 },
            rotated: false,
            positions: None,
            norm: embedding_norm.then_some(norm),
        },
        ropes: [].into(),
        blocks: alloc::vec![block; common.layers],
        program: Program::sequential(common.layers),
        norm: if common.deepnorm { norm.identity() } else { norm },
        output: Output { tied, scale: 1.0, rotated: false },
        rotation: None,
        cache_codes: None,
        checkpoint: Checkpoint::PLAIN,
    })
}

/// Pre-LN, or DeepNorm: post-LN around α·x + f(x) with α = (2·layers)^¼.
fn branch<T>(common: &Common, body: T) -> Branch<T> {
    let norm = common.norm;
    if !common.deepnorm {
        return Branch::pre_norm(norm, body);
    }
    let alpha = libm::pow(2.0 * common.layers as f64, 0.25) as f32;
    Branch { residual: alpha, after: Some(norm), ..Branch::pre_norm(norm.identity(), body) }
}
