//! BitNet b1.58: sub-norms in both halves of a block (2B4T technical report, arXiv 2504.12285).

use super::Keys;
use crate::{
    Result,
    model::{Activation, Spec, Weights},
};

/// 2B4T gates with squared ReLU. The GGUF name `bitnet` without `-b1.58` is mainline llama.cpp's, whose
/// graph is the SiLU variant of 1bitLLM; the official converters write `bitnet-b1.58` or `bitnet-25`.
/// An explicit `{arch}.hidden_act` key (ours) settles it.
pub(super) fn spec(keys: &Keys, mut spec: Spec) -> Result<Spec> {
    spec.sub_norms = true;
    if keys.is_gguf() {
        spec.activation = match keys.text("hidden_act", "\0") {
            Some("relu2") => Activation::Relu2,
            Some("silu") => Activation::Silu,
            _ if spec.arch == "bitnet" => Activation::Silu,
            _ => Activation::Relu2,
        };
    }
    // Float projections of a BitNet are latent weights, whatever the container.
    if spec.weights == Weights::Plain {
        spec.weights = Weights::Online;
    }
    Ok(spec)
}
