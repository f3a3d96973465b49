//! Maple (DeepGrove): a ternary mixture of experts, trained with float activations. Three of four layers have a sliding
//! window and a rotary embedding over half a head; the others see everything and have no position embedding.

use alloc::vec::Vec;

use super::{
    common::{decoder, sliding_windows},
    experts,
    keys::{Keys, gguf},
};
use crate::{
    Result, bail,
    container::Value,
    model::{
        spec::{Mixer, QkNorm, Spec},
        tensor_names::Names,
    },
};

/// Where the file says nothing: the clamp of the model card.
const CLAMP: f32 = 7.0;

pub(super) fn spec(keys: &Keys<'_>, names: Names) -> Result<Spec> {
    if !keys.is_gguf() {
        bail!(UnsupportedArch, "Maple is known as GGUF only");
    }
    let mut spec = decoder(keys, names)?;
    experts::mix(keys, &mut spec, true)?;
    let layers = spec.blocks.len();
    let slides: Vec<bool> = match keys.ints(gguf("attention.sliding_window_pattern"))? {
        Some(flags) => flags.iter().map(|&flag| flag != 0).collect(),
        None => bail!(MissingKey, "'maple.attention.sliding_window_pattern' is missing"),
    };
    sliding_windows(keys, &mut spec, &slides)?;
    if let Some(theta) = keys.float(gguf("rope.freq_base_swa"))? {
        // Only layers with a window are rotated.
        if !(theta > 0.0 && theta.is_finite()) {
            bail!(BadHeader, "rope theta {theta}");
        }
        spec.ropes[0].theta = theta;
    }
    let clamps = clamps(keys, layers)?;
    let qk_norm = QkNorm { norm: spec.norm, after_rope: false, whole: false };
    for ((block, slides), clamp) in spec.blocks.iter_mut().zip(slides).zip(clamps) {
        let Mixer::Attention(attention) = &mut block.mixer.body else { continue };
        attention.qk_norm = Some(qk_norm);
        if !slides {
            attention.rope = None;
        }
        block.ffn.body.mlp_mut().clamp = Some(clamp);
    }
    Ok(spec)
}

/// The clamp of each layer: one number, or a list.
fn clamps(keys: &Keys<'_>, layers: usize) -> Result<Vec<f32>> {
    let list: Vec<f32> = match keys.raw("maple.swiglu_clamp_exp") {
        None => alloc::vec![CLAMP; layers],
        Some(Value::Float(x)) => alloc::vec![*x as f32; layers],
        Some(Value::Floats(list)) => list.clone(),
        Some(_) => bail!(MissingKey, "'maple.swiglu_clamp_exp' is no list of numbers"),
    };
    if list.len() != layers {
        bail!(Shape, "'maple.swiglu_clamp_exp' has {} entries for {layers} layers", list.len());
    }
    match list.iter().find(|x| x.is_nan() || **x <= 0.0) {
        Some(x) => bail!(BadHeader, "'maple.swiglu_clamp_exp' has {x}"),
        None => Ok(list),
    }
}
