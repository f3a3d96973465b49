//! Tensor names → what they are for. Two naming conventions cover every architecture.

use crate::container::Container;

/// The seven linear layers of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names are the field's own")]
pub enum Linear {
    Q,
    K,
    V,
    O,
    Gate,
    Up,
    Down,
}

impl Linear {
    /// In the order the forward pass meets them.
    pub const ALL: [Linear; 7] = [Self::Q, Self::K, Self::V, Self::O, Self::Gate, Self::Up, Self::Down];
}

/// The norms of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names are the field's own")]
pub enum Norm {
    Attn,
    Q,
    K,
    AttnSub,
    Ffn,
    FfnSub,
}

/// The tensors that may belong to one linear layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// The matrix.
    Weight,
    /// The scale of a packed ternary matrix.
    Scale,
    /// Added to the output.
    Bias,
    /// Gain of the RMSNorm over this layer's input.
    Norm,
}

/// What a tensor is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Token embedding `(vocab, hidden)`.
    Embedding,
    /// Output head `(vocab, hidden)`.
    Head,
    /// Gain of the last norm.
    FinalNorm,
    /// Divisors of the RoPE frequencies (`head_dim / 2`).
    RopeDivisors,
    /// A norm of block `.0`.
    Norm(usize, Norm),
    /// A linear layer of block `.0`.
    Linear(usize, Linear, Field),
}

/// The role of a tensor name, or `None` for names that no architecture here uses.
pub fn role(container: Container, name: &str) -> Option<Role> {
    match container {
        Container::Gguf => gguf(name),
        Container::Safetensors => hf(name),
    }
}

fn gguf(name: &str) -> Option<Role> {
    match name {
        "token_embd.weight" => return Some(Role::Embedding),
        "output.weight" => return Some(Role::Head),
        "output_norm.weight" => return Some(Role::FinalNorm),
        "rope_freqs.weight" => return Some(Role::RopeDivisors),
        _ => {}
    }
    let (layer, rest) = name.strip_prefix("blk.")?.split_once('.')?;
    let layer = layer.parse().ok()?;
    let (part, field) = rest.rsplit_once('.')?;
    let norm = match part {
        "attn_norm" => Some(Norm::Attn),
        "attn_q_norm" => Some(Norm::Q),
        "attn_k_norm" => Some(Norm::K),
        "attn_sub_norm" => Some(Norm::AttnSub),
        "ffn_norm" => Some(Norm::Ffn),
        "ffn_sub_norm" => Some(Norm::FfnSub),
        _ => None,
    };
    if let Some(norm) = norm {
        return (field == "weight").then_some(Role::Norm(layer, norm));
    }
    let (part, own_norm) = match part.strip_suffix(".norm") {
        Some(part) => (part, true),
        None => (part, false),
    };
    let linear = match part {
        "attn_q" => Linear::Q,
        "attn_k" => Linear::K,
        "attn_v" => Linear::V,
        "attn_output" => Linear::O,
        "ffn_gate" => Linear::Gate,
        "ffn_up" => Linear::Up,
        "ffn_down" => Linear::Down,
        _ => return None,
    };
    let field = match (field, own_norm) {
        ("weight", true) => Field::Norm,
        ("weight", false) => Field::Weight,
        ("scale", false) => Field::Scale,
        ("bias", false) => Field::Bias,
        _ => return None,
    };
    Some(Role::Linear(layer, linear, field))
}

fn hf(name: &str) -> Option<Role> {
    let name = name.strip_prefix("model.").unwrap_or(name);
    match name {
        "embed_tokens.weight" => return Some(Role::Embedding),
        "lm_head.weight" => return Some(Role::Head),
        "norm.weight" => return Some(Role::FinalNorm),
        _ => {}
    }
    let (layer, rest) = name.strip_prefix("layers.")?.split_once('.')?;
    let layer = layer.parse().ok()?;
    let norm = match rest {
        "input_layernorm.weight" => Some(Norm::Attn),
        "self_attn.q_norm.weight" => Some(Norm::Q),
        "self_attn.k_norm.weight" => Some(Norm::K),
        "self_attn.attn_sub_norm.weight" | "self_attn.inner_attn_ln.weight" => Some(Norm::AttnSub),
        "post_attention_layernorm.weight" => Some(Norm::Ffn),
        "mlp.ffn_sub_norm.weight" | "mlp.ffn_layernorm.weight" => Some(Norm::FfnSub),
        _ => None,
    };
    if let Some(norm) = norm {
        return Some(Role::Norm(layer, norm));
    }
    let rest = rest.strip_prefix("self_attn.").or_else(|| rest.strip_prefix("mlp."))?;
    let (part, field) = rest.split_once('.')?;
    let linear = match part {
        "q_proj" => Linear::Q,
        "k_proj" => Linear::K,
        "v_proj" => Linear::V,
        "o_proj" => Linear::O,
        "gate_proj" => Linear::Gate,
        "up_proj" => Linear::Up,
        "down_proj" => Linear::Down,
        _ => return None,
    };
    let field = match field {
        "weight" => Field::Weight,
        "weight_scale" => Field::Scale,
        "bias" => Field::Bias,
        "norm.weight" | "rms_norm.weight" => Field::Norm,
        _ => return None,
    };
    Some(Role::Linear(layer, linear, field))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_conventions_name_the_same_roles() {
        let cases = [
            ("token_embd.weight", "model.embed_tokens.weight", Role::Embedding),
            ("output.weight", "lm_head.weight", Role::Head),
            ("output_norm.weight", "norm.weight", Role::FinalNorm),
            ("blk.7.attn_norm.weight", "model.layers.7.input_layernorm.weight", Role::Norm(7, Norm::Attn)),
            ("blk.0.ffn_sub_norm.weight", "layers.0.mlp.ffn_layernorm.weight", Role::Norm(0, Norm::FfnSub)),
            (
                "blk.12.attn_q.weight",
                "layers.12.self_attn.q_proj.weight",
                Role::Linear(12, Linear::Q, Field::Weight),
            ),
            ("blk.1.attn_k.bias", "layers.1.self_attn.k_proj.bias", Role::Linear(1, Linear::K, Field::Bias)),
            (
                "blk.1.ffn_up.scale",
                "layers.1.mlp.up_proj.weight_scale",
                Role::Linear(1, Linear::Up, Field::Scale),
            ),
            (
                "blk.1.ffn_up.norm.weight",
                "layers.1.mlp.up_proj.norm.weight",
                Role::Linear(1, Linear::Up, Field::Norm),
            ),
        ];
        for (gguf, hf, want) in cases {
            assert_eq!(role(Container::Gguf, gguf), Some(want), "{gguf}");
            assert_eq!(role(Container::Safetensors, hf), Some(want), "{hf}");
        }
        for name in [
            "blk.x.attn_q.weight",
            "blk.0",
            "blk.0.what.weight",
            "",
            "blk.99999999999999999999.attn_q.weight",
        ] {
            assert_eq!(role(Container::Gguf, name), None, "{name}");
        }
    }
}
