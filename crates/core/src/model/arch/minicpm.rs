//! MiniCPM and BitCPM4: the LLaMA block with three scales and LongRoPE (llama.cpp's `minicpm`, OpenBMB's configuration).

use super::{
    common::{decoder, interleave_rope},
    keys::{Key, Keys, gguf, hf},
};
use crate::{
    Result, bail,
    model::{spec::Spec, tensor_names::Names},
};

/// All three scales are needed: readers disagree on what a missing one means.
pub(super) fn spec(keys: &Keys<'_>, names: Names) -> Result<Spec> {
    let mut spec = decoder(keys, names)?;
    let positive = |key: Key, name: &str| match keys.float(key)? {
        Some(x) if x > 0.0 && x.is_finite() => Ok(x),
        Some(x) => bail!(BadHeader, "'{name}' is {x}"),
        None => bail!(MissingKey, "'{name}' is missing: the scales of MiniCPM have no agreed default"),
    };
    let (embedding, residual, logits) = match keys.is_gguf() {
        true => (
            positive(gguf("embedding_scale"), "minicpm.embedding_scale")?,
            positive(gguf("residual_scale"), "minicpm.residual_scale")?,
            positive(gguf("logit_scale"), "minicpm.logit_scale")?,
        ),
        false => (
            positive(hf("scale_emb"), "scale_emb")?,
            positive(hf("scale_depth"), "scale_depth")? / libm::sqrtf(spec.blocks.len() as f32),
            spec.hidden as f32 / positive(hf("dim_model_base"), "dim_model_base")?,
        ),
    };
    spec.embed.scale = embedding;
    spec.output.scale = 1.0 / logits;
    for block in &mut spec.blocks {
        block.mixer.scale = residual;
        block.ffn.scale = residual;
    }
    if keys.is_gguf() {
        interleave_rope(&mut spec);
    }
    Ok(spec)
}
