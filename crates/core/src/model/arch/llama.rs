//! LLaMA and what shares its block: SmolLM2, Falcon3, Falcon-E, HF1BitLLM; also 1bitLLM's BitNet, which
//! calls itself `llama` and is told apart by its class name and its sub-norms.

use super::{
    common::{decoder, interleave_rope},
    keys::{Keys, gguf, hf},
};
use crate::{
    Result,
    container::Value,
    model::{
        spec::{InputSemantics, Spec},
        tensor_names::Names,
    },
};

pub(super) fn spec(keys: &Keys<'_>, names: Names) -> Result<Spec> {
    let mut spec = decoder(keys, names)?;
    if keys.is_gguf() && keys.usize(gguf("expert_count"))?.is_some_and(|count| count > 0) {
        super::experts::mix(keys, &mut spec, true)?;
    }
    if keys.is_gguf() {
        // llama.cpp's converter permutes query and key rows of this architecture.
        interleave_rope(&mut spec);
    } else if let Some(classes) = keys.texts(hf("architectures"))?
        && classes.iter().any(|name| name.eq_ignore_ascii_case("BitNetForCausalLM"))
    {
        // 1bitLLM's configuration says how it was trained.
        keys.expect(hf("input_bits"), &[Value::Int(8)])?;
        keys.expect(hf("weight_bits"), &[Value::Int(1)])?;
        super::bitnet::sub_norms(&mut spec);
        if spec.checkpoint.packed_scale.is_none() {
            spec.checkpoint.latent = true;
        }
        spec.set_input(InputSemantics::Int8);
    }
    Ok(spec)
}
