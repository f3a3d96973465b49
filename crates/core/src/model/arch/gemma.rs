//! Gemma 3 (text): sandwich norms, QK-norm, scaled embedding, sliding windows with a rotary base of their own; also
//! the BitNet embedding model built on it.
//!
//! Sources: the Gemma 3 report (arXiv 2503.19786) and transformers' `Gemma3TextConfig`. In Hugging Face files the
//! norms hold `gain − 1`; GGUF files hold the gain.

use alloc::vec::Vec;

use super::{
    common::{activation, decoder, rope_with_theta, sliding_layers},
    keys::{Keys, gguf, hf, key},
};
use crate::{
    Result, bail,
    container::Value,
    math,
    model::{
        spec::{Activation, Mask, Mixer, QkNorm, Spec},
        tensor_names::{Names, Row, rows},
    },
};

pub(super) const HF_ROWS: &[Row] = rows! {
    "model.layers.{b}.post_attention_layernorm": Norm(MixerPost);
    "model.layers.{b}.pre_feedforward_layernorm": Norm(FfnPre);
    "model.layers.{b}.post_feedforward_layernorm": Norm(FfnPost);
};

pub(super) fn spec(keys: &Keys<'_>, names: Names) -> Result<Spec> {
    // The base of full-attention layers; flat, grouped by kind of layer, or both.
    let grouped = keys.float(hf("rope_parameters.full_attention.rope_theta"))?;
    let grouped_local = keys.float(hf("rope_parameters.sliding_attention.rope_theta"))?;
    for kind in ["full_attention", "sliding_attention"] {
        match keys.raw(&alloc::format!("rope_parameters.{kind}.rope_type")) {
            None => {}
            Some(Value::Str(kind)) if kind == "default" => {}
            Some(_) => bail!(UnsupportedArch, "rope scaling of Gemma's '{kind}' layers"),
        }
    }
    let mut spec = decoder(keys, names)?;
    let head_dim = spec.blocks[0].mixer.body.heads().2;
    let flat = keys.float(key("rope.freq_base", "rope_theta"))?;
    let base = flat.or(grouped).unwrap_or(1e6);
    let local = keys.float(key("rope.freq_base_swa", "rope_local_base_freq"))?.or(grouped_local);
    spec.ropes[0].theta = base;
    spec.ropes.push(rope_with_theta(head_dim, local.unwrap_or(10_000.0))?);
    spec.embed.scale = embedding_scale(keys, spec.hidden);
    if keys.flag(hf("use_bidirectional_attention"))? == Some(true) {
        bail!(UnsupportedArch, "'use_bidirectional_attention'");
    }
    let kind = match keys.is_gguf() {
        true => Activation::GeluTanh,
        // `hidden_act` of old files says `gelu`; the model was trained with `hidden_activation`.
        false => match keys.has(hf("hidden_activation")) {
            true => activation(keys, hf("hidden_activation"))?,
            false => Activation::GeluTanh,
        },
    };
    let scale = match keys.float(hf("query_pre_attn_scalar"))? {
        Some(scalar) if scalar > 0.0 => 1.0 / libm::sqrtf(scalar),
        Some(scalar) => bail!(BadHeader, "'query_pre_attn_scalar' is {scalar}"),
        None => 1.0 / libm::sqrtf(head_dim as f32),
    };
    let windows = windows(keys, spec.blocks.len())?;
    let norm = spec.norm;
    for (block, window) in spec.blocks.iter_mut().zip(windows) {
        let Mixer::Attention(attention) = &mut block.mixer.body else { continue };
        attention.scale = scale;
        attention.qk_norm = Some(QkNorm { norm, after_rope: false, whole: false });
        (attention.mask, attention.rope) = match window {
            Some(n) => (Mask::Window(n), Some(1)),
            None => (Mask::Causal, Some(0)),
        };
        block.ffn.body.mlp_mut().activation = kind;
        block.mixer.post = Some(norm);
        block.ffn.post = Some(norm);
    }
    spec.checkpoint.gain_minus_one = !keys.is_gguf();
    Ok(spec)
}

/// √hidden, which transformers rounds to the weights' type.
fn embedding_scale(keys: &Keys<'_>, hidden: usize) -> f32 {
    let scale = libm::sqrtf(hidden as f32);
    let is_bf16 = ["dtype", "torch_dtype"].iter().any(|name| match keys.raw(name) {
        Some(Value::Str(kind)) => kind == "bfloat16",
        _ => false,
    });
    if !keys.is_gguf() && is_bf16 { math::bf16_to_f32(math::f32_to_bf16(scale)) } else { scale }
}

/// The window of each layer; `None` for full attention.
fn windows(keys: &Keys<'_>, layers: usize) -> Result<Vec<Option<usize>>> {
    let window = keys.usize(key("attention.sliding_window", "sliding_window"))?.filter(|&n| n > 0);
    let pattern = keys.usize(hf("sliding_window_pattern"))?;
    if let Some(slides) = sliding_layers(keys)? {
        if slides.len() != layers {
            bail!(Shape, "'layer_types' has {} entries for {layers} layers", slides.len());
        }
        if window.is_none() && slides.contains(&true) {
            bail!(UnsupportedArch, "'layer_types' has 'sliding_attention', and 'sliding_window' is missing");
        }
        return Ok(slides.into_iter().map(|slides| window.filter(|_| slides)).collect());
    }
    // GGUF: the pattern is a period, or a flag for each layer. Every sixth layer is full where nothing says else.
    let flags = match keys.is_gguf().then(|| keys.raw("gemma3.attention.sliding_window_pattern")).flatten() {
        Some(Value::Ints(flags)) if flags.len() == layers => Some(flags.clone()),
        Some(Value::Ints(flags)) => {
            bail!(Shape, "'sliding_window_pattern' has {} entries for {layers} layers", flags.len())
        }
        _ => None,
    };
    let period = match keys.usize(gguf("attention.sliding_window_pattern")) {
        Ok(period) => period.or(pattern).unwrap_or(6),
        Err(_) => 6,
    };
    Ok((0..layers)
        .map(|i| {
            let slides = match &flags {
                Some(flags) => flags[i] != 0,
                None => period == 0 || !(i + 1).is_multiple_of(period),
            };
            window.filter(|_| slides)
        })
        .collect())
}
