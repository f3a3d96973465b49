//! What a key or tensor that is not known would have changed: the reason in its refusal.
//!
//! A guess by its name, from the words that families use for the same thing; it is for people and decides nothing.

/// Words in a name, and what such a key or tensor does where it is known. The first that fits counts.
const EFFECTS: &[(&[&str], &str)] = &[
    (&["prism.", "hadamard", "rotation"], "weights may be stored rotated, which inputs have to follow"),
    (&["softcap"], "a tanh bounds attention scores or logits"),
    (&["swiglu_clamp", "swiglu_limit", "clip"], "values are clamped"),
    (&["window", "layer_types", "chunk_size"], "some layers see near tokens only"),
    (&["nextn", "mtp"], "further layers predict further tokens"),
    (&["causal", "bidirectional"], "tokens may see those after them"),
    (&["rope", "rotary", "no_pos", "alibi"], "positions enter attention in another way"),
    (
        &["expert", "exps", "shexp", "moe", "router", "topk", "exp_probs", "gate_inp"],
        "experts take part in layers",
    ),
    (&["ssm", "time_mix", "recurrent", "state_size"], "layers keep a state instead of keys and values"),
    (&["lora", "adapter"], "a product of two small matrices is added to a large one"),
    (&["cache_quant", "activation_quant", "quantization"], "values are rounded as in training"),
    (&["bias"], "a bias is added"),
    (&["norm", "_nrm", "_eps"], "values are normalised at another place or in another way"),
    (
        &["scale", "scaling", "multiplier", "factor", "temperature", "dim_model_base"],
        "values are multiplied by a factor",
    ),
    (&["_act", "act_fn", "activation"], "the feed-forward network has another activation"),
    (&["tie_", "tied"], "the head may be another matrix"),
    (&[".weight"], "one matrix or vector more takes part"),
    (&["length", "_dim", "size", "count"], "shapes may be other than those assumed"),
];

/// What a name like this one means where it is known.
pub(crate) fn effect(name: &str) -> &'static str {
    let fits = |words: &[&str]| words.iter().any(|word| name.contains(word));
    let known = EFFECTS.iter().find(|(words, _)| fits(words));
    known.map_or("what it does is not known", |(_, effect)| effect)
}
