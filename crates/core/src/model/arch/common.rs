//! What decoder families have in common: the LLaMA block, which each family changes where it differs.

use alloc::{string::ToString, vec::Vec};

use super::{
    MAX_HEAD_DIM, check_dimensions,
    keys::{Key, Keys, gguf, hf, key},
    small_floats,
};
use crate::{
    Result, bail,
    container::Value,
    error::short,
    format::Encoding,
    model::{
        rope::{Rope, RopeScaling, RopeStyle},
        spec::{
            Activation, Attention, Block, Branch, Checkpoint, Embed, Ffn, InputSemantics, Linear, Mask,
            Mixer, Mlp, Norm, Output, PackedScale, Program, Spec,
        },
        tensor_names::{Field, LinearRole, Names, TensorRole},
    },
};

/// A decoder of LLaMA blocks with the dimensions, ε, RoPE and tensors of this file.
pub(super) fn decoder(keys: &Keys<'_>, names: Names) -> Result<Spec> {
    let layers = keys.need(key("block_count", "num_hidden_layers"))?;
    decoder_of(keys, names, layers)
}

/// The same, of so many blocks.
pub(super) fn decoder_of(keys: &Keys<'_>, names: Names, layers: usize) -> Result<Spec> {
    let hidden = keys.need(key("embedding_length", "hidden_size"))?;
    let heads = keys.need(key("attention.head_count", "num_attention_heads"))?;
    let kv_heads = keys.usize(key("attention.head_count_kv", "num_key_value_heads"))?.unwrap_or(heads);
    let width = match keys.usize(key("feed_forward_length", "intermediate_size"))? {
        Some(width) => width,
        // Where every layer has experts.
        None => keys.need(key("expert_feed_forward_length", "moe_intermediate_size"))?,
    };
    let context = keys.need(key("context_length", "max_position_embeddings"))?;
    let head_dim = match keys.usize(key("attention.key_length", "head_dim"))? {
        Some(dim) => dim,
        None if heads > 0 => hidden / heads,
        None => 0,
    };
    if keys.usize(gguf("attention.value_length"))?.is_some_and(|length| length != head_dim) {
        bail!(UnsupportedArch, "attention.value_length differs from the keys' length {head_dim}");
    }
    keys.expect(gguf("attention.causal"), &[Value::Bool(true)])?;
    let vocab = vocabulary(keys, names)?;
    check_dimensions(&[
        ("layers", layers, 1, 1024),
        ("hidden size", hidden, 1, 1 << 16),
        ("feed-forward size", width, 1, 1 << 18),
        ("heads", heads, 1, 1024),
        ("key/value heads", kv_heads, 1, 1024),
        ("head size", head_dim, 1, MAX_HEAD_DIM),
        ("context", context, 1, 1 << 24),
        ("vocabulary", vocab, 0, 1 << 21),
    ])?;
    let norm =
        Norm::rms(keys.float(key("attention.layer_norm_rms_epsilon", "rms_norm_eps"))?.unwrap_or(1e-5));
    full_attention(keys)?;
    let checkpoint = checkpoint(keys)?;
    let linear = |linear| self::linear(keys, names, linear, norm, &checkpoint);
    let attention = Attention { kv_heads, rope: Some(0), ..attention(heads, head_dim, linear)? };
    let mlp = gated(width, activation(keys, hf("hidden_act"))?, linear)?;
    let block = Block {
        mixer: Branch::pre_norm(norm, Mixer::Attention(attention)),
        ffn: Branch::pre_norm(norm, Ffn::Dense(mlp)),
    };
    Ok(Spec {
        arch: keys.arch.to_string(),
        vocab,
        hidden,
        context,
        embed: Embed { scale: 1.0, rotated: false, positions: None, norm: None },
        ropes: [rope(keys, head_dim)?].into(),
        relative_bias: None,
        blocks: alloc::vec![block; layers],
        program: Program::sequential(layers),
        norm,
        output: Output { tied: tied(keys, names)?, scale: 1.0, rotated: false },
        rotation: None,
        cache_codes: None,
        checkpoint,
    })
}

/// Attention as most families begin with it: as many key/value heads as queries, no position embedding.
pub(super) fn attention(
    heads: usize,
    head_dim: usize,
    linear: impl Fn(LinearRole) -> Result<Linear>,
) -> Result<Attention> {
    Ok(Attention {
        heads,
        kv_heads: heads,
        head_dim,
        scale: 1.0 / libm::sqrtf(head_dim as f32),
        mask: Mask::Causal,
        rope: None,
        qk_norm: None,
        clip: None,
        sinks: false,
        sub_norm: None,
        q: linear(LinearRole::Q)?,
        k: linear(LinearRole::K)?,
        v: linear(LinearRole::V)?,
        o: linear(LinearRole::O)?,
    })
}

/// A gated network, as most families begin with it.
pub(super) fn gated(
    width: usize,
    activation: Activation,
    linear: impl Fn(LinearRole) -> Result<Linear>,
) -> Result<Mlp> {
    Ok(Mlp {
        width,
        activation,
        clamp: None,
        up_plus_one: false,
        sub_norm: None,
        gate: linear(LinearRole::Gate)?,
        up: Some(linear(LinearRole::Up)?),
        down: linear(LinearRole::Down)?,
    })
}

/// Rows of the embedding; a `config.json` may say more rows than are used, never fewer than the tokens are.
fn vocabulary(keys: &Keys<'_>, names: Names) -> Result<usize> {
    let told = keys.usize(key("vocab_size", "vocab_size"))?;
    let spellings = names.spellings(TensorRole::Embedding);
    let stored = spellings.iter().find_map(|name| keys.tensor(name));
    match (told, stored.map(|tensor| &tensor.shape[..])) {
        (Some(told), _) => Ok(told),
        (None, Some([rows, _])) => Ok(usize::try_from(*rows).unwrap_or(usize::MAX)),
        (None, _) => Ok(0),
    }
}

/// Whether a tensor is there, under any of its names.
pub(super) fn has(keys: &Keys<'_>, names: Names, role: TensorRole) -> bool {
    names.spellings(role).iter().any(|name| keys.has_tensor(name))
}

/// A head that is stored is used, unless a Hugging Face configuration says that it is the embedding.
fn tied(keys: &Keys<'_>, names: Names) -> Result<bool> {
    let told = keys.flag(hf("tie_word_embeddings"))?;
    Ok(told.unwrap_or_else(|| !has(keys, names, TensorRole::Head)))
}

/// A linear layer of block 0 speaks for those of all blocks.
fn linear(
    keys: &Keys<'_>,
    names: Names,
    linear: LinearRole,
    norm: Norm,
    checkpoint: &Checkpoint,
) -> Result<Linear> {
    let told = match linear {
        LinearRole::Gate | LinearRole::Up | LinearRole::Down => keys.flag(hf("mlp_bias"))?,
        _ => keys.flag(hf("attention_bias"))?,
    };
    let bias = told == Some(true) || has(keys, names, TensorRole::Linear(0, linear, Field::Bias));
    if bias && told == Some(false) && linear == LinearRole::O {
        bail!(UnsupportedArch, "a bias on the output projection, which 'attention_bias' denies");
    }
    let own_norm = has(keys, names, TensorRole::Linear(0, linear, Field::Norm));
    // What `convert` writes beside ternary encodings that do not tell.
    keys.expect(gguf("activation_quantization"), &[Value::Str("int8_absmax".to_string())])?;
    // Trained with 8-bit activations: what was ternarised with them, and what Microsoft's own format stores.
    let ternary_trained = keys.has(gguf("activation_quantization"))
        || own_norm
        || checkpoint.latent
        || checkpoint.packed_scale.is_some()
        || keys.has_encoding(Encoding::I2_S);
    Ok(Linear {
        bias,
        norm: own_norm.then_some(norm),
        input: match checkpoint.small_floats {
            Some(stored) => small_floats::input(keys, stored)?,
            None if ternary_trained => InputSemantics::Int8,
            None => InputSemantics::Float,
        },
        rotated: false,
    })
}

/// `layer_types` of families without sliding windows may only repeat that all attention is full.
fn full_attention(keys: &Keys<'_>) -> Result<()> {
    if !WINDOWED.contains(&keys.arch)
        && let Some(types) = keys.texts(hf("layer_types"))?
        && let Some(other) = types.iter().find(|kind| *kind != "full_attention")
    {
        bail!(
            UnsupportedArch,
            "'layer_types' has '{}', which architecture '{}' is not known to have",
            short(other),
            keys.arch
        );
    }
    Ok(())
}

/// Families that read `layer_types` themselves.
const WINDOWED: [&str; 3] = ["gemma3", "gemma3_text", "gpt_oss"];

/// Which layers have a sliding window, by `layer_types`, where it is there.
pub(super) fn sliding_layers(keys: &Keys<'_>) -> Result<Option<Vec<bool>>> {
    let Some(kinds) = keys.texts(hf("layer_types"))? else { return Ok(None) };
    let slides = kinds.iter().map(|kind| match kind.as_str() {
        "sliding_attention" => Ok(true),
        "full_attention" => Ok(false),
        other => bail!(UnsupportedArch, "'layer_types' has '{}'", short(other)),
    });
    slides.collect::<Result<_>>().map(Some)
}

/// Gives the layers that slide the file's `sliding_window`.
pub(super) fn sliding_windows(keys: &Keys<'_>, spec: &mut Spec, slides: &[bool]) -> Result<()> {
    if slides.len() != spec.blocks.len() {
        bail!(Shape, "{} kinds of attention for {} layers", slides.len(), spec.blocks.len());
    }
    let window = keys.usize(key("attention.sliding_window", "sliding_window"))?.filter(|&n| n > 0);
    for (attention, _) in spec.attentions_mut().zip(slides).filter(|(_, slides)| **slides) {
        let Some(window) = window else {
            bail!(MissingKey, "there are layers with a sliding window, and its size is missing")
        };
        attention.mask = Mask::Window(window);
    }
    Ok(())
}

/// A Hugging Face configuration names its activation; GGUF's follows from the architecture.
pub(super) fn activation(keys: &Keys<'_>, name: Key) -> Result<Activation> {
    match keys.text(name)? {
        None | Some("silu" | "swish") => Ok(Activation::Silu),
        Some("relu2") => Ok(Activation::Relu2),
        Some("gelu_pytorch_tanh" | "gelu_tanh") => Ok(Activation::GeluTanh),
        Some(other) => bail!(UnsupportedArch, "activation '{}'", short(other)),
    }
}

/// How this file stores linear layers.
fn checkpoint(keys: &Keys<'_>) -> Result<Checkpoint> {
    let plain = Checkpoint::PLAIN;
    let text = |name| keys.text(hf(name));
    match text("quantization_config.quant_method")? {
        None => Ok(plain),
        Some("bitnet") => {
            if keys.flag(hf("quantization_config.use_rms_norm"))? == Some(true) {
                bail!(UnsupportedArch, "'quantization_config.use_rms_norm': norms within linear layers");
            }
            // It belongs to that norm.
            keys.float(hf("quantization_config.rms_norm_eps"))?;
            let class = text("quantization_config.linear_class")?.unwrap_or("bitlinear");
            let mode = text("quantization_config.quantization_mode")?.unwrap_or("offline");
            match (class, mode) {
                ("autobitlinear", "online") => Ok(Checkpoint { latent: true, ..plain }),
                ("autobitlinear", "offline") => {
                    Ok(Checkpoint { packed_scale: Some(PackedScale::Multiplies), ..plain })
                }
                ("bitlinear", "offline") => {
                    Ok(Checkpoint { packed_scale: Some(PackedScale::Divides), ..plain })
                }
                (class, mode) => {
                    bail!(UnsupportedFormat, "quantization_config: linear_class '{class}' in mode '{mode}'")
                }
            }
        }
        Some("mxfp4") if keys.arch == "gpt_oss" => Ok(Checkpoint { packed_experts: true, ..plain }),
        Some(other) => Ok(Checkpoint { small_floats: Some(small_floats::stored(keys, other)?), ..plain }),
    }
}

/// The rotary embedding of families that have one.
pub(super) fn rope(keys: &Keys<'_>, head_dim: usize) -> Result<Rope> {
    let theta = match keys.float(key("rope.freq_base", "rope_theta"))? {
        Some(theta) => theta,
        None => keys.float(hf("rope_parameters.rope_theta"))?.unwrap_or(10_000.0),
    };
    keys.float(hf("rope_parameters.rope_theta"))?;
    if !(theta > 0.0 && theta.is_finite()) {
        bail!(BadHeader, "rope theta {theta}");
    }
    let part = match keys.float(hf("partial_rotary_factor"))? {
        Some(part) => Some(part),
        None => keys.float(hf("rope_parameters.partial_rotary_factor"))?,
    };
    keys.float(hf("rope_parameters.partial_rotary_factor"))?;
    let dims = match (keys.usize(gguf("rope.dimension_count"))?, part) {
        (Some(dims), _) => dims,
        (None, Some(part)) if part != 1.0 => (head_dim as f32 * part) as usize,
        _ => head_dim,
    };
    Ok(Rope { theta, dims, style: RopeStyle::Half, scaling: scaling(keys)?, xpos: None })
}

/// Keys of a scaling that are written before (`rope_scaling.*`) or after transformers 5 (`rope_parameters.*`).
struct ScalingKeys<'k, 'a> {
    keys: &'k Keys<'a>,
    group: &'static str,
}

impl ScalingKeys<'_, '_> {
    /// The full name of a key, and its value.
    fn value(&self, gguf: Option<&'static str>, hf: &str) -> (alloc::string::String, Option<&Value>) {
        let name = match (self.keys.is_gguf(), gguf) {
            (true, Some(gguf)) => alloc::format!("{}.rope.scaling.{gguf}", self.keys.arch),
            _ => alloc::format!("{}.{hf}", self.group),
        };
        // Files of transformers 5 repeat the old keys.
        for group in ["rope_scaling", "rope_parameters"] {
            self.keys.raw(&alloc::format!("{group}.{hf}"));
        }
        let value = self.keys.raw(&name);
        (name, value)
    }

    /// No factor, length or number of turns means anything unless it is positive.
    fn number(&self, gguf: &'static str, hf: &str) -> Result<Option<f32>> {
        let (name, value) = self.value(Some(gguf), hf);
        let number = match value {
            None => return Ok(None),
            Some(Value::Float(x)) => *x as f32,
            Some(Value::Int(i)) => *i as f32,
            Some(other) => bail!(MissingKey, "'{}' is {}", short(&name), other.type_name()),
        };
        if !(number > 0.0 && number.is_finite()) {
            bail!(BadHeader, "'{}' is {number}", short(&name));
        }
        Ok(Some(number))
    }

    fn need(&self, gguf: &'static str, hf: &str) -> Result<f32> {
        match self.number(gguf, hf)? {
            Some(x) => Ok(x),
            None => bail!(MissingKey, "rope scaling: '{}' is missing", short(&self.value(Some(gguf), hf).0)),
        }
    }

    fn kind(&self) -> Result<Option<&str>> {
        for name in ["rope_type", "type"] {
            match self.value(Some("type"), name) {
                (_, None) => {}
                (_, Some(Value::Str(kind))) => return Ok(Some(kind)),
                (name, Some(other)) => {
                    bail!(MissingKey, "'{}' is {}, no text", short(&name), other.type_name())
                }
            }
        }
        Ok(None)
    }

    /// Divisors of a Hugging Face configuration, one for each frequency.
    fn divisors(&self, hf: &str) -> Result<Vec<f32>> {
        let (name, value) = self.value(None, hf);
        match value {
            Some(Value::Floats(all)) => Ok(all.clone()),
            Some(Value::Ints(all)) => Ok(all.iter().map(|&x| x as f32).collect()),
            _ => bail!(MissingKey, "rope scaling: '{}' is missing", short(&name)),
        }
    }
}

/// Context extension.
fn scaling(keys: &Keys<'_>) -> Result<RopeScaling> {
    let old = ["rope_scaling.rope_type", "rope_scaling.type"].iter().any(|name| keys.raw(name).is_some());
    let scaling = ScalingKeys { keys, group: if old { "rope_scaling" } else { "rope_parameters" } };
    let factor = || scaling.need("factor", "factor");
    let original = || scaling.need("original_context_length", "original_max_position_embeddings");
    let kind = scaling.kind()?;
    let in_file = |name: &str| keys.is_gguf() && keys.has_tensor(name);
    match kind {
        None | Some("none" | "default") if in_file("rope_freqs.weight") => {
            Ok(RopeScaling::Divisors([].into()))
        }
        Some(kind) if in_file("rope_freqs.weight") => {
            bail!(UnsupportedArch, "rope scaling '{}' beside rope_freqs.weight", short(kind))
        }
        None | Some("none") if in_file("rope_factors_long.weight") => long_rope(keys, &scaling),
        // The tensors may be in a part of the file that is still to come.
        Some("longrope") if keys.is_gguf() => long_rope(keys, &scaling),
        None | Some("none" | "default") => Ok(RopeScaling::None),
        Some("linear") => Ok(RopeScaling::Linear(factor()?)),
        Some("llama3") => {
            let low = scaling.need("low_freq_factor", "low_freq_factor")?;
            let high = scaling.need("high_freq_factor", "high_freq_factor")?;
            if high <= low {
                bail!(BadHeader, "rope scaling: the frequency factors {low} and {high} leave no ramp");
            }
            Ok(RopeScaling::Llama3 { factor: factor()?, low, high, original: original()? })
        }
        Some("yarn") => Ok(RopeScaling::Yarn {
            factor: factor()?,
            original: original()?,
            beta_fast: scaling.number("yarn_beta_fast", "beta_fast")?.unwrap_or(32.0),
            beta_slow: scaling.number("yarn_beta_slow", "beta_slow")?.unwrap_or(1.0),
            attention: scaling.number("attn_factor", "attention_factor")?,
            truncate: !matches!(scaling.value(None, "truncate").1, Some(Value::Bool(false))),
        }),
        Some("longrope" | "su") if !keys.is_gguf() => long_rope(keys, &scaling),
        Some(other) => bail!(UnsupportedArch, "rope scaling '{}'", short(other)),
    }
}

/// LongRoPE (Ding et al. 2024): one set of divisors for short contexts, one for long ones.
fn long_rope(keys: &Keys<'_>, scaling: &ScalingKeys<'_, '_>) -> Result<RopeScaling> {
    let context = keys.need(key("context_length", "max_position_embeddings"))? as f32;
    let (short, long) = match keys.is_gguf() {
        // Tensors of the file.
        true => (Vec::new(), Vec::new()),
        false => (scaling.divisors("short_factor")?, scaling.divisors("long_factor")?),
    };
    let own = keys.float(hf("original_max_position_embeddings"))?;
    let given = scaling.number("original_context_length", "original_max_position_embeddings")?;
    let original = given.or(own).unwrap_or(context);
    let attention = match scaling.number("attn_factor", "attention_factor")? {
        Some(factor) => factor,
        None if keys.is_gguf() => 1.0,
        None => {
            let factor = scaling.number("factor", "factor")?.unwrap_or(context / original);
            if factor <= 1.0 { 1.0 } else { libm::sqrtf(1.0 + libm::logf(factor) / libm::logf(original)) }
        }
    };
    Ok(RopeScaling::Long { short: short.into(), long: long.into(), original: original as usize, attention })
}

/// A plain rotary embedding over whole heads.
pub(super) fn rope_with_theta(head_dim: usize, theta: f32) -> Result<Rope> {
    if !(theta > 0.0 && theta.is_finite()) {
        bail!(BadHeader, "rope theta {theta}");
    }
    Ok(Rope { theta, dims: head_dim, style: RopeStyle::Half, scaling: RopeScaling::None, xpos: None })
}

/// llama.cpp's converter permutes query and key rows of some architectures, so that neighbours are rotated.
pub(super) fn interleave_rope(spec: &mut Spec) {
    spec.ropes.iter_mut().for_each(|rope| rope.style = RopeStyle::Interleaved);
}
