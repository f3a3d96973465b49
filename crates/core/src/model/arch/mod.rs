//! Architectures: metadata → [`Spec`].
//!
//! A family is one file with one function, and one line in `ARCHES`. It reads its keys through `Keys`, which
//! notes them: a key that no one read and that is not known to be harmless is refused by name. So a key belongs to
//! the architecture that reads it.

mod bitnet;
mod common;
mod effects;
mod experts;
mod gemma;
mod gpt_oss;
mod granite;
mod hadamard;
mod huginn;
mod hunyuan;
mod keys;
mod llama;
mod maple;
mod minicpm;
mod mixtral;
mod olmoe;
mod ouro;
mod phi;
mod quantised;
mod qwen;
mod recursive;
mod small_floats;
mod smollm;
mod torchscale;

use alloc::{string::String, vec::Vec};

pub(crate) use effects::effect;
use keys::Keys;
pub use keys::KnownTensors;

use super::{
    attention_page::MAX_HEAD_DIM,
    spec::{Mixer, Spec},
    tensor_names::{Names, Row, Sections},
};
use crate::{
    Result, bail,
    container::{Container, Meta},
    error::short,
};

/// A family of models that one function can describe.
struct Arch {
    /// `general.architecture` in GGUF, `model_type` in a Hugging Face configuration.
    names: &'static [&'static str],
    /// Reads the metadata.
    spec: fn(&Keys<'_>, Names) -> Result<Spec>,
    /// Tensor names that differ from the convention's.
    gguf_rows: &'static [Row],
    hf_rows: &'static [Row],
    /// PrismML's `prism.hadamard.*` keys are known for it.
    rotatable: bool,
    /// How names begin before, in and after a loop, where that differs (Hugging Face files).
    sections: Option<[&'static str; 3]>,
}

impl Arch {
    const fn new(names: &'static [&'static str], spec: fn(&Keys<'_>, Names) -> Result<Spec>) -> Self {
        Self { names, spec, gguf_rows: &[], hf_rows: &[], rotatable: false, sections: None }
    }

    const fn rotatable(self) -> Self {
        Self { rotatable: true, ..self }
    }

    const fn with_names(self, gguf_rows: &'static [Row], hf_rows: &'static [Row]) -> Self {
        Self { gguf_rows, hf_rows, ..self }
    }

    const fn with_sections(self, stems: [&'static str; 3]) -> Self {
        Self { sections: Some(stems), ..self }
    }

    fn tensor_names(&self, container: Container) -> Names {
        match container {
            Container::Gguf => Names::new(container, self.gguf_rows),
            Container::Safetensors => Names::new(container, self.hf_rows),
        }
    }
}

/// Every family that can be run.
static ARCHES: &[Arch] = &[
    Arch::new(&["bitnet", "bitnet-b1.58", "bitnet-25"], bitnet::spec),
    Arch::new(&["llama"], llama::spec).rotatable(),
    Arch::new(&["qwen2"], qwen::spec),
    Arch::new(&["qwen3"], qwen::spec).rotatable(),
    Arch::new(&["gemma3", "gemma3_text"], gemma::spec).with_names(&[], gemma::HF_ROWS),
    Arch::new(&["granite"], granite::spec),
    Arch::new(&["phi3"], phi::spec).with_names(phi::GGUF_ROWS, phi::HF_ROWS),
    Arch::new(&["smollm3"], smollm::spec),
    Arch::new(&["torchscale_decoder", "torchscale_retnet"], torchscale::spec)
        .with_names(&[], torchscale::ROWS),
    Arch::new(&["minicpm"], minicpm::spec),
    Arch::new(&["hunyuan-dense", "hunyuan_v1_dense"], hunyuan::spec).with_names(&[], hunyuan::HF_ROWS),
    Arch::new(&["mixtral"], mixtral::spec).with_names(&[], mixtral::HF_ROWS),
    Arch::new(&["qwen2moe", "qwen2_moe", "qwen3moe", "qwen3_moe"], qwen::with_experts),
    Arch::new(&["olmoe"], olmoe::spec),
    Arch::new(&["gpt-oss", "gpt_oss"], gpt_oss::spec).with_names(gpt_oss::GGUF_ROWS, gpt_oss::HF_ROWS),
    Arch::new(&["bitnet_moe"], bitnet::with_experts),
    Arch::new(&["bitnet_binary"], bitnet::binary),
    Arch::new(&["maple"], maple::spec),
    Arch::new(&["ouro"], ouro::spec).with_names(&[], ouro::HF_ROWS),
    Arch::new(&["recursive_llama"], recursive::spec).with_names(&[], recursive::HF_ROWS),
    Arch::new(&["mor_llama"], recursive::routed).with_names(&[], recursive::ROUTED_ROWS).with_sections([
        "model.first_layer",
        "model.layers.{b}",
        "model.last_layer",
    ]),
    Arch::new(&["huginn_raven"], huginn::spec).with_names(&[], huginn::HF_ROWS).with_sections([
        "transformer.prelude.{b}",
        "transformer.core_block.{b}",
        "transformer.coda.{b}",
    ]),
];

/// The names of every architecture that can be run.
pub fn names() -> impl Iterator<Item = &'static str> {
    ARCHES.iter().flat_map(|arch| arch.names).copied()
}

/// The tensor names of an architecture; `None` for one that is not known.
pub fn tensor_names(arch: &str, container: Container) -> Option<Names> {
    Some(ARCHES.iter().find(|known| known.names.contains(&arch))?.tensor_names(container))
}

/// The spec of a model, and the names of its tensors.
///
/// `tensors` are those of every header seen so far: some facts (biases, own norms of projections, a head of its
/// own) are told by nothing else. `allowed` are keys to pass by although they are not understood.
///
/// # Errors
/// `unsupported-arch` (also for keys and values that could change what is computed), `missing-key`, `bad-header`,
/// `shape`, and `too-large` for dimensions no model has.
pub fn spec(
    container: Container,
    meta: &Meta,
    tensors: &KnownTensors,
    allowed: &[String],
) -> Result<(Spec, Names)> {
    let keys = Keys::new(container, meta, tensors)?;
    let Some(arch) = ARCHES.iter().find(|arch| arch.names.contains(&keys.arch)) else {
        // One name for each family: the list is long.
        let known: Vec<&str> = ARCHES.iter().map(|arch| arch.names[0]).collect();
        bail!(UnsupportedArch, "architecture '{}' is not one of: {}", short(keys.arch), known.join(", "));
    };
    let mut names = arch.tensor_names(container);
    let mut spec = (arch.spec)(&keys, names)?;
    if let (Some(stems), Some(body)) = (arch.sections, &spec.program.body) {
        let blocks = [spec.program.prelude.len(), body.runs.len()];
        names = names.with_sections(Sections { stems, blocks });
    }
    if arch.rotatable {
        hadamard::rotate(&keys, names, &mut spec)?;
    }
    check(&spec)?;
    keys.refuse_unread(allowed)?;
    let is_small_floats = spec.checkpoint.small_floats.is_some();
    Ok((spec, if is_small_floats { names.of_small_floats() } else { names }))
}

/// Refuses numbers that cannot be meant. (Dimensions were checked before blocks were made of them.)
fn check(spec: &Spec) -> Result<()> {
    for block in &spec.blocks {
        let Mixer::Attention(attention) = &block.mixer.body else { continue };
        if !attention.heads.is_multiple_of(attention.kv_heads) {
            bail!(Shape, "{} heads cannot share {} key/value heads", attention.heads, attention.kv_heads);
        }
        if attention.heads / attention.kv_heads > 64 {
            bail!(TooLarge, "{} heads on {} key/value heads", attention.heads, attention.kv_heads);
        }
        let rope = attention.rope.map(|i| &spec.ropes[i]);
        if let Some(rope) = rope
            && (!rope.dims.is_multiple_of(2) || rope.dims == 0 || rope.dims > attention.head_dim)
        {
            bail!(Shape, "cannot rotate {} of {} head elements", rope.dims, attention.head_dim);
        }
    }
    let eps = spec.norm.eps;
    if !(eps > 0.0 && eps < 1.0) {
        bail!(BadHeader, "norm epsilon {eps}");
    }
    spec.ropes.iter().try_for_each(|rope| rope.check(spec.context))
}

/// Dimensions that every decoder has, checked before anything is allocated for them.
fn check_dimensions(limits: &[(&str, usize, usize, usize)]) -> Result<()> {
    for &(name, value, least, most) in limits {
        if value < least || value > most {
            bail!(TooLarge, "{name} is {value}, not in {least}..={most}");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
