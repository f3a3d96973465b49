//! SmolLM3: the LLaMA block, some layers of it without position embedding (NoPE; transformers' `SmolLM3Config`).

use super::{
    common::{decoder, interleave_rope},
    keys::{Keys, hf},
};
use crate::{
    Result, bail,
    model::{spec::Spec, tensor_names::Names},
};

pub(super) fn spec(keys: &Keys<'_>, names: Names) -> Result<Spec> {
    if keys.flag(hf("use_sliding_window"))? == Some(true) {
        bail!(UnsupportedArch, "'use_sliding_window': sliding-window attention of SmolLM3");
    }
    keys.usize(hf("sliding_window"))?;
    let mut spec = decoder(keys, names)?;
    let layers = spec.blocks.len();
    let interval = keys.usize(hf("no_rope_layer_interval"))?.unwrap_or(4);
    let rotated = keys.ints(hf("no_rope_layers"))?;
    if let Some(list) = rotated
        && list.len() != layers
    {
        bail!(Shape, "'no_rope_layers' has {} entries for {layers} layers", list.len());
    }
    for (i, attention) in spec.attentions_mut().enumerate() {
        // Despite its name, 1 in the list means that the layer has RoPE.
        let has_rope = match rotated {
            Some(list) => list[i] != 0,
            None => interval == 0 || !(i + 1).is_multiple_of(interval),
        };
        if !has_rope {
            attention.rope = None;
        }
    }
    if keys.is_gguf() {
        interleave_rope(&mut spec);
    }
    Ok(spec)
}
