//! Granite 3: the LLaMA block with four multipliers (IBM; transformers' `GraniteConfig`).

use super::{
    common::{decoder, interleave_rope},
    keys::{Keys, key},
};
use crate::{
    Result, bail,
    model::{spec::Spec, tensor_names::Names},
};

pub(super) fn spec(keys: &Keys<'_>, names: Names) -> Result<Spec> {
    let mut spec = decoder(keys, names)?;
    let positive = |key, default: f32| match keys.float(key)? {
        Some(x) if x > 0.0 && x.is_finite() => Ok(x),
        Some(x) => bail!(BadHeader, "a multiplier of Granite is {x}"),
        None => Ok(default),
    };
    spec.embed.scale = positive(key("embedding_scale", "embedding_multiplier"), 1.0)?;
    spec.output.scale = 1.0 / positive(key("logit_scale", "logits_scaling"), 1.0)?;
    let residual = positive(key("residual_scale", "residual_multiplier"), 1.0)?;
    let own_scale = spec.attentions_mut().next().map_or(1.0, |attention| attention.scale);
    let scale = positive(key("attention.scale", "attention_multiplier"), own_scale)?;
    spec.attentions_mut().for_each(|attention| attention.scale = scale);
    for block in &mut spec.blocks {
        block.mixer.scale = residual;
        block.ffn.scale = residual;
    }
    if keys.is_gguf() {
        interleave_rope(&mut spec);
    }
    Ok(spec)
}
