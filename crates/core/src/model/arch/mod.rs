//! Architectures: metadata → [`Spec`].
//!
//! A family is one function and one line in [`ARCHES`]. Keys are read through [`Keys`], which knows that
//! the same fact has one name in GGUF and another in an HF `config.json`.

mod bitnet;
mod llama;
mod qwen;

use alloc::{string::ToString, vec::Vec};

use super::{Activation, Rope, RopeScaling, RopeStyle, Spec, Step, Weights};
use crate::{
    Result, bail,
    container::{Container, Meta, Value},
};

/// A family of models that one function can describe.
pub struct Arch {
    /// `general.architecture` in GGUF, `model_type` in HF.
    pub names: &'static [&'static str],
    /// Reads the rest of the metadata.
    spec: fn(&Keys, Spec) -> Result<Spec>,
}

/// Every family that can be run.
pub static ARCHES: &[Arch] = &[
    Arch { names: &["bitnet", "bitnet-b1.58", "bitnet-25"], spec: bitnet::spec },
    Arch { names: &["llama"], spec: llama::spec },
    Arch { names: &["qwen2", "qwen3"], spec: qwen::spec },
];

/// The spec of a model with this metadata.
///
/// # Errors
/// `unsupported-arch`, `missing-key`, and `too-large` for dimensions no model has.
pub fn spec(container: Container, meta: &Meta) -> Result<Spec> {
    let keys = Keys::new(container, meta)?;
    let Some(arch) = ARCHES.iter().find(|arch| arch.names.contains(&keys.arch)) else {
        let known: Vec<&str> = ARCHES.iter().flat_map(|arch| arch.names).copied().collect();
        bail!(UnsupportedArch, "architecture '{}' is not one of: {}", keys.arch, known.join(", "));
    };
    let spec = (arch.spec)(&keys, keys.common()?)?;
    check(&spec)?;
    Ok(spec)
}

/// Refuses dimensions that cannot be meant, before anything is allocated for them.
fn check(spec: &Spec) -> Result<()> {
    let limits = [
        ("layers", spec.layers, 1, 1024),
        ("hidden size", spec.hidden, 1, 1 << 16),
        ("feed-forward size", spec.ffn, 1, 1 << 18),
        ("heads", spec.heads, 1, 1024),
        ("key/value heads", spec.kv_heads, 1, 1024),
        ("head size", spec.head_dim, 1, 1024),
        ("context", spec.context, 1, 1 << 24),
        ("vocabulary", spec.vocab, 0, 1 << 21),
    ];
    for (name, value, least, most) in limits {
        if value < least || value > most {
            bail!(TooLarge, "{name} is {value}, not in {least}..={most}");
        }
    }
    if !spec.heads.is_multiple_of(spec.kv_heads) {
        bail!(Shape, "{} heads cannot share {} key/value heads", spec.heads, spec.kv_heads);
    }
    if spec.heads / spec.kv_heads > 64 {
        bail!(TooLarge, "{} heads on {} key/value heads", spec.heads, spec.kv_heads);
    }
    let dims = spec.rope.dims;
    if !dims.is_multiple_of(2) || dims == 0 || dims > spec.head_dim {
        bail!(Shape, "cannot rotate {dims} of {} head elements", spec.head_dim);
    }
    let (eps, theta) = (spec.norm_eps, spec.rope.theta);
    let sound = eps > 0.0 && eps < 1.0 && theta > 0.0 && theta.is_finite();
    if !sound {
        bail!(BadHeader, "norm epsilon {eps} or rope theta {theta}");
    }
    Ok(())
}

/// Typed look-ups in the metadata of either container.
pub struct Keys<'a> {
    container: Container,
    meta: &'a Meta,
    arch: &'a str,
}

impl<'a> Keys<'a> {
    fn new(container: Container, meta: &'a Meta) -> Result<Self> {
        let key = match container {
            Container::Gguf => "general.architecture",
            Container::Safetensors => "model_type",
        };
        match meta.0.get(key) {
            Some(Value::Str(arch)) => Ok(Self { container, meta, arch }),
            Some(_) => bail!(MissingKey, "'{key}' is not a text"),
            None => bail!(MissingKey, "'{key}' is missing"),
        }
    }

    fn is_gguf(&self) -> bool {
        self.container == Container::Gguf
    }

    /// The value under `gguf` (after the architecture's prefix) or `hf`.
    fn get(&self, gguf: &str, hf: &str) -> Option<&'a Value> {
        match self.container {
            Container::Gguf => self.meta.0.get(&alloc::format!("{}.{gguf}", self.arch)),
            Container::Safetensors => self.meta.0.get(hf),
        }
    }

    fn name(&self, gguf: &str, hf: &str) -> alloc::string::String {
        match self.container {
            Container::Gguf => alloc::format!("{}.{gguf}", self.arch),
            Container::Safetensors => hf.to_string(),
        }
    }

    fn usize(&self, gguf: &str, hf: &str) -> Result<Option<usize>> {
        match self.get(gguf, hf) {
            None => Ok(None),
            Some(&Value::Int(n)) => match usize::try_from(n) {
                Ok(n) => Ok(Some(n)),
                Err(_) => bail!(BadHeader, "'{}' is {n}", self.name(gguf, hf)),
            },
            Some(_) => bail!(BadHeader, "'{}' is not an integer", self.name(gguf, hf)),
        }
    }

    fn need(&self, gguf: &str, hf: &str) -> Result<usize> {
        match self.usize(gguf, hf)? {
            Some(n) => Ok(n),
            None => bail!(MissingKey, "'{}' is missing", self.name(gguf, hf)),
        }
    }

    fn float(&self, gguf: &str, hf: &str) -> Result<Option<f32>> {
        match self.get(gguf, hf) {
            None => Ok(None),
            Some(&Value::Float(x)) => Ok(Some(x as f32)),
            Some(&Value::Int(n)) => Ok(Some(n as f32)),
            Some(_) => bail!(BadHeader, "'{}' is not a number", self.name(gguf, hf)),
        }
    }

    fn text(&self, gguf: &str, hf: &str) -> Option<&'a str> {
        match self.get(gguf, hf) {
            Some(Value::Str(text)) => Some(text),
            _ => None,
        }
    }

    fn flag(&self, hf: &str) -> Option<bool> {
        match self.meta.0.get(hf) {
            Some(&Value::Bool(flag)) => Some(flag),
            _ => None,
        }
    }

    /// What every family reads alike: dimensions, ε, RoPE, and plain LLaMA for the rest.
    fn common(&self) -> Result<Spec> {
        let hidden = self.need("embedding_length", "hidden_size")?;
        let layers = self.need("block_count", "num_hidden_layers")?;
        let heads = self.need("attention.head_count", "num_attention_heads")?;
        let kv_heads = self.usize("attention.head_count_kv", "num_key_value_heads")?.unwrap_or(heads);
        let head_dim = match self.usize("attention.key_length", "head_dim")? {
            Some(dim) => dim,
            None if heads > 0 => hidden / heads,
            None => 0,
        };
        if layers > 1024 {
            bail!(TooLarge, "{layers} layers");
        }
        if self.flag("attention_bias") == Some(true) && self.arch == "bitnet" {
            bail!(UnsupportedArch, "bitnet with attention biases");
        }
        Ok(Spec {
            arch: self.arch.to_string(),
            vocab: self.usize("vocab_size", "vocab_size")?.unwrap_or(0),
            hidden,
            ffn: self.need("feed_forward_length", "intermediate_size")?,
            layers,
            heads,
            kv_heads,
            head_dim,
            context: self.need("context_length", "max_position_embeddings")?,
            norm_eps: self.float("attention.layer_norm_rms_epsilon", "rms_norm_eps")?.unwrap_or(1e-5),
            sub_norms: false,
            qk_norm: false,
            activation: self.activation()?,
            rope: self.rope(head_dim)?,
            weights: self.weights()?,
            tied: if self.is_gguf() { None } else { self.flag("tie_word_embeddings") },
            steps: (0..layers).map(|i| Step { weights: i, slot: i }).collect(),
        })
    }

    /// HF names its activation; GGUF's follows from the architecture.
    fn activation(&self) -> Result<Activation> {
        match self.text("\0", "hidden_act") {
            None | Some("silu" | "swish") => Ok(Activation::Silu),
            Some("relu2") => Ok(Activation::Relu2),
            Some(other) => bail!(UnsupportedArch, "activation '{other}'"),
        }
    }

    fn weights(&self) -> Result<Weights> {
        if self.is_gguf() {
            return Ok(Weights::Plain);
        }
        let text = |key| match self.meta.0.get(key) {
            Some(Value::Str(text)) => Some(text.as_str()),
            _ => None,
        };
        match text("quantization_config.quant_method") {
            None => Ok(Weights::Plain),
            Some("bitnet") => match (
                text("quantization_config.linear_class").unwrap_or("bitlinear"),
                text("quantization_config.quantization_mode").unwrap_or("offline"),
            ) {
                ("autobitlinear", "online") => Ok(Weights::Online),
                ("autobitlinear", "offline") => Ok(Weights::Multiply),
                ("bitlinear", "offline") => Ok(Weights::Divide),
                (class, mode) => {
                    bail!(UnsupportedFormat, "quantization_config: linear_class '{class}' in mode '{mode}'")
                }
            },
            Some(other) => bail!(UnsupportedFormat, "quantization_config: quant_method '{other}'"),
        }
    }

    fn rope(&self, head_dim: usize) -> Result<Rope> {
        let hf_theta = self.float("rope.freq_base", "rope_theta")?;
        let theta = match hf_theta {
            Some(theta) => theta,
            None => self.float("\0", "rope_parameters.rope_theta")?.unwrap_or(10_000.0),
        };
        let dims = match self.usize("rope.dimension_count", "\0")? {
            Some(dims) => dims,
            None => match self.float("\0", "partial_rotary_factor")? {
                Some(part) if part != 1.0 => (head_dim as f32 * part) as usize,
                _ => head_dim,
            },
        };
        Ok(Rope { theta, dims, style: RopeStyle::Half, scaling: self.rope_scaling()? })
    }

    fn rope_scaling(&self) -> Result<RopeScaling> {
        // HF: `rope_scaling.*`, newer files `rope_parameters.*`.
        let field = |name: &str| {
            let old = alloc::format!("rope_scaling.{name}");
            let new = alloc::format!("rope_parameters.{name}");
            self.meta.0.get(&old).or_else(|| self.meta.0.get(&new))
        };
        let number = |gguf: &str, hf: &str| -> Option<f32> {
            let value = if self.is_gguf() { self.get(gguf, "\0") } else { field(hf) };
            match value {
                Some(&Value::Float(x)) => Some(x as f32),
                Some(&Value::Int(n)) => Some(n as f32),
                _ => None,
            }
        };
        let kind = if self.is_gguf() {
            self.text("rope.scaling.type", "\0")
        } else {
            match field("rope_type").or_else(|| field("type")) {
                Some(Value::Str(kind)) => Some(kind.as_str()),
                _ => None,
            }
        };
        let need = |value: Option<f32>, name: &str| match value {
            Some(x) if x > 0.0 && x.is_finite() => Ok(x),
            Some(x) => bail!(BadHeader, "rope scaling: {name} is {x}"),
            None => bail!(MissingKey, "rope scaling: {name} is missing"),
        };
        let original = || number("rope.scaling.original_context_length", "original_max_position_embeddings");
        match kind {
            None | Some("none" | "default") => Ok(RopeScaling::None),
            Some("linear") => {
                Ok(RopeScaling::Linear(need(number("rope.scaling.factor", "factor"), "factor")?))
            }
            Some("llama3") => Ok(RopeScaling::Llama3 {
                factor: need(number("rope.scaling.factor", "factor"), "factor")?,
                low: need(number("rope.scaling.low_freq_factor", "low_freq_factor"), "low_freq_factor")?,
                high: need(number("rope.scaling.high_freq_factor", "high_freq_factor"), "high_freq_factor")?,
                original: need(original(), "original context")?,
            }),
            Some("yarn") => Ok(RopeScaling::Yarn {
                factor: need(number("rope.scaling.factor", "factor"), "factor")?,
                original: need(original(), "original context")?,
                beta_fast: number("rope.scaling.yarn_beta_fast", "beta_fast").unwrap_or(32.0),
                beta_slow: number("rope.scaling.yarn_beta_slow", "beta_slow").unwrap_or(1.0),
                attention: number("rope.scaling.attn_factor", "attention_factor"),
            }),
            Some(other) => bail!(UnsupportedArch, "rope scaling '{other}'"),
        }
    }
}
