//! LLaMA and what shares its block: SmolLM2, Falcon3, Falcon-E, HF1BitLLM; also 1bitLLM's BitNet, which
//! calls itself `llama` and is told apart by its sub-norms.

use super::Keys;
use crate::{
    Result,
    model::{RopeStyle, Spec, Weights},
};

pub(super) fn spec(keys: &Keys, mut spec: Spec) -> Result<Spec> {
    if keys.is_gguf() {
        // llama.cpp's converter permutes query and key rows of this architecture.
        spec.rope.style = RopeStyle::Interleaved;
    } else if let Ok(Some(names)) = keys.meta.opt_strs("architectures")
        && names.iter().any(|name| name.eq_ignore_ascii_case("BitNetForCausalLM"))
    {
        spec.sub_norms = true;
        if spec.weights == Weights::Plain {
            spec.weights = Weights::Online;
        }
    }
    Ok(spec)
}
