//! BitNet b1.58: sub-norms in both halves of a block (2B4T technical report, arXiv 2504.12285).

use super::{
    common::decoder,
    keys::{Keys, gguf, hf},
};
use crate::{
    Result, bail,
    container::Value,
    error::short,
    model::{
        spec::{Activation, InputSemantics, Spec},
        tensor_names::Names,
    },
};

/// 2B4T gates with squared ReLU. The GGUF name `bitnet` without `-b1.58` is mainline llama.cpp's, whose
/// graph is the SiLU variant of 1bitLLM; the official converters write `bitnet-b1.58` or `bitnet-25`.
/// An explicit `{arch}.hidden_act` key (ours) settles it.
pub(super) fn spec(keys: &Keys<'_>, names: Names) -> Result<Spec> {
    let mut spec = decoder(keys, names)?;
    sub_norms(&mut spec);
    if keys.is_gguf() {
        let activation = match keys.text(gguf("hidden_act"))? {
            Some("relu2") => Activation::Relu2,
            Some("silu") => Activation::Silu,
            Some(other) => bail!(UnsupportedArch, "activation '{}'", short(other)),
            None if spec.arch == "bitnet" => Activation::Silu,
            None => Activation::Relu2,
        };
        spec.blocks.iter_mut().for_each(|block| block.ffn.body.activation = activation);
    }
    if spec.blocks.iter().any(|block| block.mixer.body.q.bias) {
        bail!(UnsupportedArch, "bitnet with attention biases");
    }
    // Float projections of a BitNet are latent weights, whatever the container.
    if spec.checkpoint.packed_scale.is_none() {
        spec.checkpoint.latent = true;
    }
    spec.set_input(InputSemantics::Int8);
    if !keys.is_gguf() {
        super::quantised::quantisers(keys, &mut spec)?;
        // The sub-norms are there in any case.
        keys.expect(hf("sub_norm"), &[Value::Bool(true)])?;
    }
    Ok(spec)
}

/// Norms before the output projection and before the down projection.
pub(super) fn sub_norms(spec: &mut Spec) {
    let norm = spec.norm;
    for block in &mut spec.blocks {
        block.mixer.body.sub_norm = Some(norm);
        block.ffn.body.sub_norm = Some(norm);
    }
}
