//! TorchScale's decoders (Microsoft, 0.3.0): DeepNet, Magneto and plain pre-LN, with learned positions or xPos, X-MoE,
//! and RetNet.
//!
//! Keys are the attributes of its `DecoderConfig` and `RetNetConfig`, names those of its state_dict. Sources: DeepNet (arXiv
//! 2203.00555), Foundation Transformers (arXiv 2210.06423), A Length-Extrapolatable Transformer (arXiv 2212.10554),
//! X-MoE (arXiv 2204.09179), Retentive Network (arXiv 2307.08621).

use alloc::string::ToString;

use super::{
    MAX_HEAD_DIM, check_dimensions,
    common::{attention, gated, has},
    keys::{Keys, hf},
};
use crate::{
    Result, bail,
    container::Value,
    error::short,
    model::{
        rope::{Rope, RopeScaling, RopeStyle, XPos},
        spec::{
            Activation, Attention, Block, Branch, Checkpoint, Embed, Experts, Ffn, InputSemantics,
            LearnedPositions, Linear, Mixer, Mlp, Norm, NormKind, Output, Program, RelativeBias, Retention,
            Spec,
        },
        tensor_names::{Field, LinearRole, Names, NormRole, RetentionTable as tables, Row, TensorRole, rows},
    },
};

pub(super) const ROWS: &[Row] = rows! {
    "embed_tokens": Embedding;
    "embed_positions": Positions;
    "layernorm_embedding": EmbeddingNorm;
    "output_projection": Head;
    "layer_norm": FinalNorm;
    "self_attn_relative_position.relative_attention_bias": RelativeBias;
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
    "layers.{b}.retention_layer_norm": Norm(MixerPre);
    "layers.{b}.retention_layer_norm": Norm(MixerAfter);
    "layers.{b}.retention.q_proj": Linear(Q);
    "layers.{b}.retention.k_proj": Linear(K);
    "layers.{b}.retention.v_proj": Linear(V);
    "layers.{b}.retention.g_proj": Linear(MixerGate);
    "layers.{b}.retention.out_proj": Linear(O);
    "retnet_rel_pos.angle!": RetentionTable(tables::Angles);
    "retnet_rel_pos.decay!": RetentionTable(tables::Decays);
    "layers.{b}.ffn.gate": Linear(Up);
    "layers.{b}.ffn.fc1": Linear(Gate);
    "layers.{b}.ffn.fc2": Linear(Down);
    "layers.{b}.moe_layer.gate.wg!": Router;
    "layers.{b}.moe_layer.gate.wg": Router;
    "layers.{b}.moe_layer.gate.wg_reduction": RouterReduction;
    "layers.{b}.moe_layer.experts.{e}.fc1": Expert(Gate);
    "layers.{b}.moe_layer.experts.{e}.fc2": Expert(Down);
    "layers.{b}.moe_layer.experts.{e}.ffn_layernorm": ExpertNorm;
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

pub(super) fn spec(keys: &Keys<'_>, names: Names) -> Result<Spec> {
    if keys.arch == "torchscale_retnet" { retnet(keys, names) } else { decoder(keys, names) }
}

fn decoder(keys: &Keys<'_>, names: Names) -> Result<Spec> {
    let common = common(keys, NormKind::Layer)?;
    let heads = keys.need(hf("decoder_attention_heads"))?;
    let head_dim = head_dim(&common, heads)?;
    let learned = keys.flag(hf("learned_positions"))? == Some(true);
    let xpos = keys.flag(hf("xpos_rel_pos"))? == Some(true);
    let base = keys.float(hf("xpos_scale_base"))?.unwrap_or(512.0);
    let relative_bias = relative_bias(keys, heads)?;
    // Below, the factors of one page of the cache would no longer fit an f16.
    if xpos && !(32.0..=1e9).contains(&base) {
        bail!(BadHeader, "'xpos_scale_base' is {base}, not in 32..=1e9");
    }
    let rope = Rope {
        theta: 10_000.0,
        dims: head_dim,
        style: RopeStyle::Interleaved,
        scaling: RopeScaling::None,
        xpos: Some(XPos { base }),
    };
    let linear = |role| Ok(linear(keys, names, role));
    let sub_norm = common.sub_norm.then_some(common.norm);
    let rotated = xpos.then_some(0);
    let attention = Attention { rope: rotated, sub_norm, ..attention(heads, head_dim, linear)? };
    let mlp = Mlp { up: None, sub_norm, ..gated(common.width, common.activation, linear)? };
    let mut spec = with_blocks(keys, names, &common, Mixer::Attention(attention), mlp)?;
    spec.relative_bias = relative_bias;
    spec.ropes.extend(xpos.then_some(rope));
    mix(keys, names, &mut spec)?;
    spec.embed.positions = learned.then_some(LearnedPositions { rows: common.context + 2, first: 2 });
    Ok(spec)
}

/// A decoder whose blocks have retention in attention's place, gated networks and RMSNorms.
fn retnet(keys: &Keys<'_>, names: Names) -> Result<Spec> {
    // It has neither sub-norms, learned positions nor experts that a reference is known of.
    let common = Common { sub_norm: false, ..common(keys, NormKind::Rms)? };
    keys.expect(hf("learned_positions"), &[Value::Bool(false)])?;
    keys.expect(hf("moe_freq"), &[Value::Int(0)])?;
    let heads = keys.need(hf("decoder_retention_heads"))?;
    let values = keys.need(hf("decoder_value_embed_dim"))?;
    let key_dim = head_dim(&common, heads)?;
    check_dimensions(&[
        ("heads", heads, 1, 64),
        ("value size", values, heads, 1 << 17),
        ("values of a state", common.hidden.saturating_mul(values), 1, 1 << 26),
    ])?;
    if !values.is_multiple_of(heads) || !key_dim.is_multiple_of(2) {
        bail!(Shape, "{heads} heads do not divide values of {values} and pairs of {} keys", common.hidden);
    }
    let rope = Rope {
        theta: 10_000.0,
        dims: key_dim,
        style: RopeStyle::Interleaved,
        scaling: RopeScaling::Inclusive,
        xpos: None,
    };
    let linear = |role| linear(keys, names, role);
    let retention = Retention {
        heads,
        key_dim,
        value_dim: values / heads,
        scale: 1.0 / libm::sqrtf(key_dim as f32),
        rope: 0,
        eps: common.norm.eps,
        q: linear(LinearRole::Q),
        k: linear(LinearRole::K),
        v: linear(LinearRole::V),
        gate: linear(LinearRole::MixerGate),
        o: linear(LinearRole::O),
    };
    let mlp = gated(common.width, common.activation, |role| Ok(linear(role)))?;
    let mut spec = with_blocks(keys, names, &common, Mixer::Retention(retention), mlp)?;
    mix(keys, names, &mut spec)?;
    spec.ropes.push(rope);
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

/// T5's bias, where both of its keys are there.
fn relative_bias(keys: &Keys<'_>, heads: usize) -> Result<Option<RelativeBias>> {
    let buckets = keys.usize(hf("rel_pos_buckets"))?.unwrap_or(0);
    let max_distance = keys.usize(hf("max_rel_pos"))?.unwrap_or(0);
    if buckets == 0 || max_distance == 0 {
        return Ok(None);
    }
    check_dimensions(&[
        ("'rel_pos_buckets'", buckets, 4, 1 << 12),
        ("'max_rel_pos'", max_distance, buckets / 4 + 1, 1 << 20),
    ])?;
    Ok(Some(RelativeBias { heads, buckets, max_distance }))
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

/// A linear layer of block 0 speaks for those of all blocks; where each has experts, that of the first expert.
fn linear(keys: &Keys<'_>, names: Names, role: LinearRole) -> Linear {
    let roles = [TensorRole::Linear(0, role, Field::Bias), TensorRole::Expert(0, 0, role, Field::Bias)];
    let bias = roles.into_iter().any(|role| has(keys, names, role));
    Linear { bias, norm: None, input: InputSemantics::Float, rotated: false }
}

fn with_blocks(keys: &Keys<'_>, names: Names, common: &Common, mixer: Mixer, mlp: Mlp) -> Result<Spec> {
    let norm = common.norm;
    let block = Block { mixer: branch(common, mixer), ffn: branch(common, Ffn::Dense(mlp)) };
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
        relative_bias: None,
        blocks: alloc::vec![block; common.layers],
        program: Program::sequential(common.layers),
        norm: if common.deepnorm { norm.identity() } else { norm },
        output: Output { tied, scale: 1.0, rotated: false },
        rotation: None,
        cache_codes: None,
        checkpoint: Checkpoint::PLAIN,
    })
}

/// Makes mixtures of every so many blocks, whose dense networks say what an expert is: X-MoE (Chi et al. 2022), or
/// the plain gate of GShard (Lepikhin et al. 2021).
fn mix(keys: &Keys<'_>, names: Names, spec: &mut Spec) -> Result<()> {
    let every = keys.usize(hf("moe_freq"))?.unwrap_or(0);
    let top1 = keys.flag(hf("moe_top1_expert"))? == Some(true);
    let cosine = keys.flag(hf("use_xmoe"))? == Some(true);
    // Experts' scores are always f32, and dividing them before tokens are dropped is the same where none are.
    keys.flag(hf("moe_gating_use_fp32"))?;
    keys.flag(hf("moe_normalize_gate_prob_before_dropping"))?;
    let policy = keys.text(hf("moe_second_expert_policy"))?.unwrap_or("random");
    let fraction = keys.float(hf("moe_eval_capacity_token_fraction"))?.unwrap_or(0.25);
    if every == 0 {
        keys.raw("moe_expert_count");
        return Ok(());
    }
    // Both make what a token becomes depend on the rest of the batch, or on chance.
    if fraction.is_nan() || fraction < 1.0 {
        bail!(UnsupportedArch, "'moe_eval_capacity_token_fraction' is {fraction}: tokens would be dropped");
    }
    if !top1 && policy != "all" {
        bail!(UnsupportedArch, "'moe_second_expert_policy' is '{}', not 'all'", short(policy));
    }
    let count = keys.need(hf("moe_expert_count"))?;
    let active = if top1 { 1 } else { 2 };
    check_dimensions(&[
        ("experts", count, active, 4096),
        ("every so many layers that have experts", every, 1, spec.blocks.len()),
    ])?;
    // The width of the router's narrowed input is told by its matrix alone; a header still to come will tell it.
    let router = names.spellings(TensorRole::Router(every - 1, Field::Weight));
    let width = router.iter().find_map(|name| keys.tensor(name)).and_then(|info| info.shape.get(1).copied());
    let width = width.map_or(1, |width| usize::try_from(width).unwrap_or(usize::MAX));
    check_dimensions(&[("router width", width, 1, 1 << 16)])?;
    for block in spec.blocks.iter_mut().skip(every - 1).step_by(every) {
        block.ffn.body = Ffn::Experts(Experts {
            count,
            active,
            normalise: !top1,
            router_bias: false,
            cosine: cosine.then_some(width),
            expert: block.ffn.body.mlp().clone(),
            shared: None,
        });
    }
    Ok(())
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
