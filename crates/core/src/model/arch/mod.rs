//! Architectures: metadata → [`Spec`].
//!
//! A family is one function and one line in [`ARCHES`]. Keys are read through [`Keys`], which knows that
//! the same fact has one name in GGUF and another in an HF `config.json`.

mod bitnet;
mod llama;
mod qwen;

use alloc::{
    string::{String, ToString},
    vec::Vec,
};

use super::{Activation, MAX_HEAD_DIM, Rope, RopeScaling, RopeStyle, Spec, Step, Weights};
use crate::{
    Result, bail,
    container::{Container, Meta},
    error::short,
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
        bail!(UnsupportedArch, "architecture '{}' is not one of: {}", short(keys.arch), known.join(", "));
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
        ("head size", spec.head_dim, 1, MAX_HEAD_DIM),
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
    if let RopeScaling::Llama3 { low, high, .. } = spec.rope.scaling
        && high <= low
    {
        bail!(BadHeader, "rope scaling: the frequency factors {low} and {high} leave no ramp");
    }
    spec.rope.check()
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
        Ok(Self { container, meta, arch: meta.str(key)? })
    }

    fn is_gguf(&self) -> bool {
        self.container == Container::Gguf
    }

    /// The key `gguf` (after the architecture's prefix) or `hf`; none where this container has none.
    fn key(&self, gguf: &str, hf: &str) -> String {
        match self.container {
            Container::Gguf => alloc::format!("{}.{gguf}", self.arch),
            Container::Safetensors => hf.to_string(),
        }
    }

    fn usize(&self, gguf: &str, hf: &str) -> Result<Option<usize>> {
        self.meta.opt_usize(&self.key(gguf, hf))
    }

    fn need(&self, gguf: &str, hf: &str) -> Result<usize> {
        self.meta.usize(&self.key(gguf, hf))
    }

    fn float(&self, gguf: &str, hf: &str) -> Result<Option<f32>> {
        Ok(self.meta.opt_float(&self.key(gguf, hf))?.map(|x| x as f32))
    }

    fn text(&self, gguf: &str, hf: &str) -> Option<&'a str> {
        self.meta.opt_str(&self.key(gguf, hf)).ok().flatten()
    }

    fn flag(&self, hf: &str) -> Option<bool> {
        self.meta.opt_bool(hf).ok().flatten()
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
        let text = |key| self.text("\0", key);
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
        let key = |gguf: &str, hf: &str| {
            let old = alloc::format!("rope_scaling.{hf}");
            let new = alloc::format!("rope_parameters.{hf}");
            if self.is_gguf() || self.meta.has(&old) { self.key(gguf, &old) } else { new }
        };
        // No factor, length or number of turns means anything unless it is positive.
        let number = |gguf: &str, hf: &str| {
            let key = key(gguf, hf);
            match self.meta.opt_float(&key)?.map(|x| x as f32) {
                Some(x) if !(x > 0.0 && x.is_finite()) => bail!(BadHeader, "'{}' is {x}", short(&key)),
                x => Ok(x),
            }
        };
        let need = |gguf: &str, hf: &str| match number(gguf, hf)? {
            Some(x) => Ok(x),
            None => bail!(MissingKey, "rope scaling: '{}' is missing", short(&key(gguf, hf))),
        };
        let kind = match self.text("rope.scaling.type", "\0") {
            None if !self.is_gguf() => ["rope_type", "type"]
                .iter()
                .find_map(|name| self.meta.opt_str(&key("\0", name)).ok().flatten()),
            kind => kind,
        };
        let factor = || need("rope.scaling.factor", "factor");
        let original = || need("rope.scaling.original_context_length", "original_max_position_embeddings");
        match kind {
            None | Some("none" | "default") => Ok(RopeScaling::None),
            Some("linear") => Ok(RopeScaling::Linear(factor()?)),
            Some("llama3") => Ok(RopeScaling::Llama3 {
                factor: factor()?,
                low: need("rope.scaling.low_freq_factor", "low_freq_factor")?,
                high: need("rope.scaling.high_freq_factor", "high_freq_factor")?,
                original: original()?,
            }),
            Some("yarn") => Ok(RopeScaling::Yarn {
                factor: factor()?,
                original: original()?,
                beta_fast: number("rope.scaling.yarn_beta_fast", "beta_fast")?.unwrap_or(32.0),
                beta_slow: number("rope.scaling.yarn_beta_slow", "beta_slow")?.unwrap_or(1.0),
                attention: number("rope.scaling.attn_factor", "attention_factor")?,
            }),
            Some(other) => bail!(UnsupportedArch, "rope scaling '{}'", short(other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::Value;

    fn config(more: &str) -> Result<Spec> {
        let json = alloc::format!(
            r#"{{"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2,
                "intermediate_size": 64, "max_position_embeddings": 128 {more}}}"#
        );
        spec(Container::Safetensors, &crate::container::config(&json)?)
    }

    #[test]
    fn rope_scaling_must_make_sense() {
        let yarn = |more: &str| {
            config(&alloc::format!(
                r#", "rope_scaling": {{"rope_type": "yarn", "factor": 4.0,
                    "original_max_position_embeddings": 32 {more}}}"#
            ))
        };
        assert!(matches!(
            yarn("").unwrap().rope.scaling,
            RopeScaling::Yarn { beta_fast: 32.0, beta_slow: 1.0, attention: None, .. }
        ));
        for bad in ["-1", "0", "1e39", "-1e-3"] {
            for name in ["beta_fast", "beta_slow", "attention_factor", "factor"] {
                let more = alloc::format!(r#", "{name}": {bad}"#);
                let result = match name {
                    "factor" => {
                        config(&alloc::format!(r#", "rope_parameters": {{"type": "linear" {more}}}"#))
                    }
                    _ => yarn(&more),
                };
                let error = result.expect_err(name);
                assert!(error.kind == crate::ErrorKind::BadHeader && error.detail.contains(name), "{error}");
            }
        }
        // Both bounds alike: no ramp lies between them.
        let llama3 = |low: f32, high: f32| {
            config(&alloc::format!(
                r#", "rope_scaling": {{"rope_type": "llama3", "factor": 8, "low_freq_factor": {low},
                    "high_freq_factor": {high}, "original_max_position_embeddings": 32}}"#
            ))
        };
        assert!(llama3(1.0, 4.0).is_ok());
        assert_eq!(llama3(4.0, 4.0).unwrap_err().kind, crate::ErrorKind::BadHeader);
        // A quotient beyond f32.
        let tiny = config(r#", "rope_scaling": {"type": "linear", "factor": 1e-40}"#);
        assert_eq!(tiny.unwrap_err().kind, crate::ErrorKind::BadHeader);
    }

    #[test]
    fn an_error_does_not_repeat_a_long_name() {
        let meta = Meta::from([("model_type", Value::Str("x".repeat(1 << 20)))]);
        let error = spec(Container::Safetensors, &meta).unwrap_err();
        assert!(error.detail.len() < 300 && error.detail.contains("qwen3"), "{error}");
    }
}
