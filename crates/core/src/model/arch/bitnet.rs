//! BitNet b1.58: sub-norms in both halves of a block (2B4T technical report, arXiv 2504.12285).

use super::{
    common::decoder,
    experts,
    keys::{Keys, gguf, hf, key},
};
use crate::{
    Result, bail,
    container::Value,
    error::short,
    model::{
        spec::{Activation, InputSemantics, NormKind, QkNorm, Spec},
        tensor_names::Names,
    },
    quantiser::{Codes, Quantiser},
};

/// The base of 2B4T's rotary embedding.
const THETA_2B4T: f32 = 500_000.0;
/// The base of 1bitLLM's, and the pieces of its SentencePiece vocabulary.
const THETA_1BIT: f32 = 10_000.0;
const VOCAB_1BIT: usize = 32_002;

pub(super) fn spec(keys: &Keys<'_>, names: Names) -> Result<Spec> {
    let mut spec = decoder(keys, names)?;
    sub_norms(&mut spec);
    if keys.is_gguf() {
        let activation = gguf_activation(keys, &spec)?;
        spec.blocks.iter_mut().for_each(|block| block.ffn.body.mlp_mut().activation = activation);
    }
    if spec.attentions_mut().any(|attention| attention.q.bias) {
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

/// 2B4T gates with squared ReLU. The GGUF name `bitnet` without `-b1.58` is mainline llama.cpp's, whose
/// graph is the SiLU variant of 1bitLLM; the official converters write `bitnet-b1.58` or `bitnet-25` for both
/// families and no activation, so the rotary base and the vocabulary tell which one it is.
/// An explicit `{arch}.hidden_act` key (ours) settles it.
fn gguf_activation(keys: &Keys<'_>, spec: &Spec) -> Result<Activation> {
    let theta = keys.has(key("rope.freq_base", "rope_theta")).then(|| spec.ropes[0].theta);
    match keys.text(gguf("hidden_act"))? {
        Some("relu2") => Ok(Activation::Relu2),
        Some("silu") => Ok(Activation::Silu),
        Some(other) => bail!(UnsupportedArch, "activation '{}'", short(other)),
        None if spec.arch == "bitnet" => Ok(Activation::Silu),
        None if theta == Some(THETA_2B4T) => Ok(Activation::Relu2),
        None if theta == Some(THETA_1BIT) && spec.vocab == VOCAB_1BIT => Ok(Activation::Silu),
        None => bail!(
            MissingKey,
            "'{0}.hidden_act' is missing: neither the rotary base nor the vocabulary is that of a known '{0}' model, and \
             'relu2' and 'silu' give other text (set the key to the one it was trained with)",
            spec.arch
        ),
    }
}

/// A BitNet with experts: each is a whole network of 2B4T's kind, with a scale (and a sub-norm) of its own.
pub(super) fn with_experts(keys: &Keys<'_>, names: Names) -> Result<Spec> {
    let mut spec = decoder(keys, names)?;
    if spec.checkpoint.packed_scale.is_none() {
        spec.checkpoint.latent = true;
    }
    if keys.flag(hf("sub_norm"))? == Some(true) {
        sub_norms(&mut spec);
    }
    if keys.flag(hf("use_qk_norm"))? == Some(true) {
        let qk_norm = QkNorm { norm: spec.norm, after_rope: false, whole: false };
        spec.attentions_mut().for_each(|attention| attention.qk_norm = Some(qk_norm));
    }
    experts::mix(keys, &mut spec, false)?;
    spec.set_input(InputSemantics::Quantised(Quantiser { codes: Codes::Int8AbsMax, keep: None }));
    Ok(spec)
}

/// The BitNet of 2023 (arXiv 2310.11453): weights of −1 and +1, and a LayerNorm before every quantiser, in the skeleton of
/// the later ones. Matrices are quantised as a whole: files with several groups are not known to exist.
pub(super) fn binary(keys: &Keys<'_>, names: Names) -> Result<Spec> {
    if keys.is_gguf() {
        bail!(UnsupportedArch, "binary BitNet is known in Hugging Face files only");
    }
    let mut spec = decoder(keys, names)?;
    let checkpoint = &mut spec.checkpoint;
    checkpoint.latent |= checkpoint.packed_scale.is_none();
    checkpoint.binary = checkpoint.latent;
    spec.norm.kind = NormKind::Layer;
    let norm = spec.norm;
    spec.blocks.iter_mut().for_each(|block| (block.mixer.pre, block.ffn.pre) = (norm, norm));
    sub_norms(&mut spec);
    spec.set_input(InputSemantics::Quantised(Quantiser { codes: Codes::Int8Below128, keep: None }));
    Ok(spec)
}

/// Norms before the output projection and before the down projection.
pub(super) fn sub_norms(spec: &mut Spec) {
    let norm = spec.norm;
    spec.attentions_mut().for_each(|attention| attention.sub_norm = Some(norm));
    for block in &mut spec.blocks {
        block.ffn.body.mlp_mut().sub_norm = Some(norm);
    }
}
