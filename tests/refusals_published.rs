//! What published files could hold and this version cannot run: refused with a code, the name of what it is, and what
//! it would have changed. `refusals.rs` holds the cases that came before.

use ternlight_core::{
    ErrorKind::{self, BadHeader, MissingKey, MissingTensor, Shape, TooLarge, UnsupportedArch},
    Result,
    container::{Meta, Value, write},
    format::Encoding,
    load::{LoadOptions, Loader},
    model::Model,
};
use ternlight_tests::{
    bytes,
    gguf::{Gguf, probe},
    push,
};

/// The changed file, the code of its refusal, and what the refusal says: the name, and the reason.
type Case = (Gguf, ErrorKind, &'static str, &'static str);

fn int(n: i64) -> Value {
    Value::Int(n)
}

fn float(x: f64) -> Value {
    Value::Float(x)
}

fn names(list: &[&str]) -> Value {
    Value::Strs(list.iter().map(|name| (*name).to_string()).collect())
}

fn check(cases: Vec<Case>) {
    for (i, (file, kind, name, reason)) in cases.into_iter().enumerate() {
        refused(i, file.load(), kind, name, reason);
    }
}

fn refused(i: usize, result: Result<Model>, kind: ErrorKind, name: &str, reason: &str) {
    let error = result.err().unwrap_or_else(|| panic!("case {i} ({name}) loads"));
    assert!(error.kind == kind && error.detail.contains(name), "case {i} ({name}): {error}");
    assert!(error.detail.contains(reason), "case {i} ({name}): no \"{reason}\" in: {error}");
}

/// The same file with one extent of a tensor's shape changed, and its bytes cut or repeated to fit.
fn reshaped(mut file: Gguf, name: &str, shape: &[u64]) -> Gguf {
    let found = file.tensors.iter_mut().find(|(spec, _)| spec.name == name).expect("a tensor of that name");
    let old: u64 = found.0.shape.iter().product();
    let new: u64 = shape.iter().product();
    let len = found.1.len() as u64 * new / old;
    found.1 = found.1.iter().copied().cycle().take(len as usize).collect();
    found.0.shape = shape.to_vec();
    file
}

#[test]
fn maple_is_refused_where_it_is_another_mixture() {
    let maple = || Gguf::open("maple");
    maple().load().expect("the twin itself");
    let experts = "experts take part in layers";
    check(vec![
        (
            maple().set("maple.attention.sliding_window_pattern", Value::Ints(vec![1, 1])),
            Shape,
            "kinds of attention",
            "3 layers",
        ),
        (
            maple().without("maple.attention.sliding_window_pattern"),
            MissingKey,
            "maple.attention.sliding_window_pattern",
            "is missing",
        ),
        (maple().without("maple.attention.sliding_window"), MissingKey, "sliding window", "size is missing"),
        (maple().set("maple.expert_used_count", int(5)), TooLarge, "active experts", "not in 1..=4"),
        (maple().without("maple.expert_used_count"), MissingKey, "maple.expert_used_count", "missing"),
        (maple().set("maple.expert_count", int(5)), Shape, "blk.0.ffn_gate_inp.weight", "needed"),
        (
            maple().set("maple.expert_gating_func", int(2)),
            UnsupportedArch,
            "maple.expert_gating_func",
            "is 2",
        ),
        (
            maple().set("maple.expert_weights_scale", float(2.5)),
            UnsupportedArch,
            "expert_weights_scale",
            "2.5",
        ),
        (maple().set("maple.expert_shared_count", int(1)), UnsupportedArch, "expert_shared_count", experts),
        (maple().set("maple.leading_dense_block_count", int(1)), UnsupportedArch, "leading_dense", "shapes"),
        (
            maple().set("maple.swiglu_clamp_exp", Value::Floats(vec![7.0, 7.0])),
            Shape,
            "maple.swiglu_clamp_exp",
            "2 entries for 3 layers",
        ),
        (
            maple().set("maple.swiglu_clamp_exp", Value::Floats(vec![7.0, 0.0, 7.0])),
            BadHeader,
            "maple.swiglu_clamp_exp",
            "has 0",
        ),
        (
            maple().with_tensor("blk.0.exp_probs_b.bias", 4),
            UnsupportedArch,
            "blk.0.exp_probs_b.bias",
            experts,
        ),
        (
            maple().with_tensor("blk.1.ffn_up_shexp.weight", 256),
            UnsupportedArch,
            "blk.1.ffn_up_shexp.weight",
            experts,
        ),
        (
            maple().with_tensor("blk.1.ffn_gate_inp.bias", 4),
            UnsupportedArch,
            "blk.1.ffn_gate_inp.bias",
            experts,
        ),
        (maple().with_tensor("blk.2.ffn_down.weight", 256), UnsupportedArch, "blk.2.ffn_down.weight", "more"),
        (
            maple().with_tensor("blk.2.attn_q.bias", 256),
            UnsupportedArch,
            "blk.2.attn_q.bias",
            "bias is added",
        ),
        (
            maple().without_tensor("blk.1.attn_q_norm.weight"),
            MissingTensor,
            "blk.1.attn_q_norm.weight",
            "blk.1.attn_q_norm.weight",
        ),
        (maple().without_tensor("blk.2.ffn_up_exps.weight"), MissingTensor, "blk.2.ffn_up", "blk.2.ffn_up"),
        (
            reshaped(maple(), "blk.0.ffn_gate_inp.weight", &[3, 256]),
            Shape,
            "blk.0.ffn_gate_inp.weight",
            "needed",
        ),
        (maple().set("maple.attention.scale", float(0.5)), UnsupportedArch, "attention.scale", "by a factor"),
    ]);
}

#[test]
fn rotated_weights_are_refused_where_the_rotation_is_not_settled() {
    let pq2 = || Gguf::open("hadamard_pq2");
    let key = |name: &str| format!("prism.hadamard.{name}");
    let with = |name: &str, value: Value| pq2().set(&key(name), value);
    let folded = |extra: &str| {
        let Some(Value::Strs(all)) = pq2().meta.get(&key("weight_names")).cloned() else { panic!("names") };
        with("weight_names", Value::Strs(all.into_iter().chain([extra.to_string()]).collect()))
    };
    let Some(Value::Ints(widths)) = pq2().meta.get(&key("sign_widths")).cloned() else { panic!("widths") };
    let twice = [&widths[..], &widths[..1]].concat();
    check(vec![
        (with("version", int(0)), UnsupportedArch, "prism.hadamard.version", "neither 1 nor 2"),
        (with("version", int(2)), BadHeader, "prism.hadamard.version", "tied_output"),
        (with("block_size", int(0)), BadHeader, "prism.hadamard.block_size", "power of two"),
        (with("sign_widths", Value::Ints(twice)), BadHeader, "sign_", "widths"),
        (with("sign_values", Value::Ints(vec![1; 3])), BadHeader, "sign_values", "fewer"),
        (pq2().without(&key("sign_values")), MissingKey, "sign_values", "missing"),
        (pq2().without(&key("sign_mode")), UnsupportedArch, "sign_mode", "neither"),
        (pq2().without(&key("transform")), MissingKey, "prism.hadamard.transform", "missing"),
        (with("weight_names", Value::Strs(vec![])), BadHeader, "weight_names", "empty"),
        (folded("blk.0.attn_q.weight"), BadHeader, "weight_names", "twice"),
        (folded("token_embd.weight"), UnsupportedArch, "token_embd.weight", "not rotated here"),
        (folded("blk.0.attn_norm.weight"), UnsupportedArch, "blk.0.attn_norm.weight", "not rotated here"),
        (folded("blk.0.ssm_out.weight"), UnsupportedArch, "blk.0.ssm_out.weight", "not rotated here"),
        (
            with("inverse_weight_names", names(&["token_embd.weight", "output.weight"])),
            UnsupportedArch,
            "inverse_weight_names",
            "output.weight",
        ),
        // The head is named as folded, and is not there: the rotated embedding must not take its place.
        (pq2().without_tensor("output.weight"), MissingTensor, "output.weight", "output.weight"),
        (
            with("weight_names", names(&["blk.0.attn_q.weight"])).without_tensor("output.weight"),
            BadHeader,
            "prism.hadamard.version",
            "cannot be the head",
        ),
    ]);
}

#[test]
fn files_of_other_families_are_refused_for_what_they_add() {
    let minicpm = || Gguf::open("minicpm");
    let hunyuan = || Gguf::open("hunyuan_stq1");
    let gemma = || Gguf::open("embed_gemma3_i2s");
    let qwen = || Gguf::open("embed_qwen3_i2s");
    let llama = || Gguf::open("hadamard_ptq1");
    check(vec![
        (
            minicpm().without("minicpm.residual_scale"),
            MissingKey,
            "minicpm.residual_scale",
            "no agreed default",
        ),
        (minicpm().set("minicpm.logit_scale", float(0.0)), BadHeader, "minicpm.logit_scale", "is 0"),
        (
            minicpm().without_tensor("rope_factors_long.weight"),
            MissingTensor,
            "rope_factors_long.weight",
            "rope_factors_long.weight",
        ),
        (
            reshaped(minicpm(), "rope_factors_long.weight", &[5]),
            Shape,
            "rope_factors_long.weight",
            "5 values",
        ),
        (
            llama().set("llama.residual_scale", float(0.2)),
            UnsupportedArch,
            "llama.residual_scale",
            "by a factor",
        ),
        (llama().set("llama.logit_scale", float(4.0)), UnsupportedArch, "llama.logit_scale", "by a factor"),
        (llama().set("llama.attn_logit_softcapping", float(50.0)), UnsupportedArch, "softcapping", "a tanh"),
        (llama().set("llama.swin_norm", Value::Bool(true)), UnsupportedArch, "llama.swin_norm", "normalised"),
        (
            llama().set("llama.ssm.state_size", int(16)),
            UnsupportedArch,
            "llama.ssm.state_size",
            "keep a state",
        ),
        (
            llama().set("llama.rope.scaling.type", names(&["x"])),
            MissingKey,
            "llama.rope.scaling.type",
            "no text",
        ),
        (llama().with_tensor("blk.0.attn_k.bias", 64), Shape, "blk.0.attn_k.bias", "needed"),
        (llama().with_tensor("output.bias", 64), UnsupportedArch, "output.bias", "bias is added"),
        (
            llama().with_tensor("blk.0.attn_q.weight.lora_a", 8),
            UnsupportedArch,
            "blk.0.attn_q.weight.lora_a",
            "two small matrices",
        ),
        (
            hunyuan().set("hunyuan-dense.rope.scaling.type", Value::Str("yarn".into())),
            MissingKey,
            "factor",
            "rope",
        ),
        (
            hunyuan().without_tensor("blk.0.attn_q_norm.weight"),
            MissingTensor,
            "blk.0.attn_q_norm.weight",
            "blk.0.attn_q_norm.weight",
        ),
        (
            gemma().set("gemma3.attention.sliding_window_pattern", Value::Ints(vec![1])),
            Shape,
            "sliding_window_pattern",
            "1 entries",
        ),
        (
            qwen().set("qwen3.attention.sliding_window", int(64)),
            UnsupportedArch,
            "sliding_window",
            "near tokens",
        ),
        (qwen().without_tensor("blk.1.attn_q_norm_in.weight"), MissingTensor, "blk.1.attn_q", "blk.1.attn_q"),
        (
            qwen().renamed("blk.0.attn_q_norm_in.weight", "blk.0.attn_q_nrm.weight"),
            UnsupportedArch,
            "blk.0.attn_q_nrm.weight",
            "normalised",
        ),
        // One scale for a matrix is applied; more have no known meaning.
        (qwen().with_tensor("blk.0.attn_q.scale", 2), Shape, "blk.0.attn_q.scale", "2 values"),
    ]);
}

/// A Hugging Face folder: its configuration, and the weights as one file.
struct Folder {
    config: serde_json::Value,
    weights: Vec<u8>,
}

impl Folder {
    fn open(folder: &str) -> Self {
        let config = bytes(&format!("{folder}/config.json"));
        Self {
            config: serde_json::from_slice(&config).expect("JSON"),
            weights: bytes(&format!("{folder}/model.safetensors")),
        }
    }

    fn with(mut self, key: &str, value: serde_json::Value) -> Self {
        self.config[key] = value;
        self
    }

    /// Adds an F32 vector, or takes away the tensor of that name where `len` is 0.
    fn with_tensor(mut self, name: &str, len: usize) -> Self {
        let index = probe(&self.weights);
        let kept = Vec::from_iter(index.tensors.iter().filter(|t| t.name != name));
        assert_eq!(kept.len() == index.tensors.len(), len > 0, "{name}");
        let mut specs = Vec::from_iter(kept.iter().map(|t| write::TensorSpec {
            name: t.name.clone(),
            shape: t.shape.clone(),
            encoding: t.encoding,
        }));
        if len > 0 {
            specs.push(write::TensorSpec {
                name: name.into(),
                shape: vec![len as u64],
                encoding: Encoding::F32,
            });
        }
        let mut out = write::safetensors_header(&Meta::default(), &specs).expect("a valid header").bytes;
        for t in kept {
            out.extend(&self.weights[t.offset as usize..(t.offset + t.bytes) as usize]);
        }
        out.extend([1f32.to_le_bytes(); 512][..len].concat());
        self.weights = out;
        self
    }

    fn load(&self) -> Result<Model> {
        let mut loader = Loader::new(LoadOptions::default());
        loader.config(&self.config.to_string())?;
        push(&mut loader, "model.safetensors", &self.weights, 1 << 16)?;
        loader.finish()
    }
}

#[test]
fn folders_are_refused_for_what_they_add() {
    let llama = || Folder::open("oracle/tiny_c_llama_bitlinear");
    let bitnet = || Folder::open("oracle/tiny_a_packed");
    let gemma = || Folder::open("oracle2/gemma3_text");
    let embedding = || Folder::open("oracle/tiny_d_embed_qwen3");
    for folder in [llama(), bitnet(), gemma(), embedding()] {
        folder.load().expect("the oracle itself");
    }
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
    let proj = "model.layers.0.self_attn.q_proj";
    let cases: Vec<(Folder, ErrorKind, &str, &str)> = vec![
        (llama().with("scale_emb", json("12")), UnsupportedArch, "scale_emb", "by a factor"),
        (llama().with("dim_model_base", json("256")), UnsupportedArch, "dim_model_base", "by a factor"),
        (llama().with("logits_scaling", json("4.0")), UnsupportedArch, "logits_scaling", "by a factor"),
        (llama().with("attn_logit_softcapping", json("50.0")), UnsupportedArch, "softcapping", "a tanh"),
        (llama().with("use_qk_norm", json("true")), UnsupportedArch, "use_qk_norm", "normalised"),
        (llama().with("is_causal", json("false")), UnsupportedArch, "is_causal", "after them"),
        (
            llama().with("use_bidirectional_attention", json("true")),
            UnsupportedArch,
            "bidirectional",
            "after",
        ),
        (
            llama().with("n_shared_experts", json("1")),
            UnsupportedArch,
            "n_shared_experts",
            "experts take part",
        ),
        (llama().with("num_nextn_predict_layers", json("1")), UnsupportedArch, "nextn", "further tokens"),
        (
            llama().with("rope_scaling", json(r#"{"rope_type": "mrope", "mrope_section": [1]}"#)),
            UnsupportedArch,
            "mrope",
            "rope scaling",
        ),
        (llama().with("lora_rank", json("8")), UnsupportedArch, "lora_rank", "two small matrices"),
        (llama().with("model_type", json(r#""falcon_h1""#)), UnsupportedArch, "falcon_h1", "is not one of"),
        (llama().with("hidden_size", json("132")), Shape, "lm_head.weight", "needed"),
        (llama().with("num_key_value_heads", json("3")), Shape, "3 key/value heads", "cannot share"),
        (
            llama().with_tensor("model.layers.1.mlp.gate.weight", 128),
            UnsupportedArch,
            "model.layers.1.mlp.gate.weight",
            "one matrix or vector more",
        ),
        (
            llama().with_tensor("model.layers.0.self_attn.q_norm.weight", 32),
            UnsupportedArch,
            "q_norm.weight",
            "normalised",
        ),
        (
            llama().with_tensor("model.layers.1.self_attn.q_proj.bias", 128),
            UnsupportedArch,
            "layers.1.self_attn.q_proj.bias",
            "bias is added",
        ),
        (
            llama().with_tensor(&format!("{proj}.lora_A.weight"), 128),
            UnsupportedArch,
            "lora_A",
            "two small matrices",
        ),
        (
            llama().with_tensor(&format!("{proj}.weight_scale"), 0),
            MissingTensor,
            "q_proj.weight",
            "has no weight_scale",
        ),
        (
            bitnet().with_tensor("model.layers.0.mlp.ffn_sub_norm.weight", 0),
            MissingTensor,
            "ffn_sub_norm.weight",
            "ffn_sub_norm.weight",
        ),
        (bitnet().with("hidden_act", json(r#""gelu""#)), UnsupportedArch, "gelu", "activation"),
        (bitnet().with("sub_norm", json("false")), UnsupportedArch, "sub_norm", "not supported"),
        (
            bitnet().with("quantization_config", json(r#"{"quant_method": "bitnet", "use_rms_norm": true}"#)),
            UnsupportedArch,
            "use_rms_norm",
            "norms within linear layers",
        ),
        (gemma().with("layer_types", json(r#"["full_attention"]"#)), Shape, "layer_types", "1 entries for 4"),
        (gemma().with("query_pre_attn_scalar", json("0")), BadHeader, "query_pre_attn_scalar", "is 0"),
        (gemma().with("final_logit_softcapping", json("30.0")), UnsupportedArch, "softcapping", "a tanh"),
        (
            gemma().with_tensor("model.layers.1.post_feedforward_layernorm.weight", 0),
            MissingTensor,
            "post_feedforward_layernorm",
            "post_feedforward_layernorm",
        ),
        (
            embedding().with_tensor("layers.1.mlp.up_proj.norm.weight", 0),
            MissingTensor,
            "layers.1.mlp.up_proj.norm",
            "norm",
        ),
        (
            embedding().with("use_sliding_window", json("true")),
            UnsupportedArch,
            "use_sliding_window",
            "sliding-window",
        ),
    ];
    for (i, (folder, kind, name, reason)) in cases.into_iter().enumerate() {
        refused(i, folder.load(), kind, name, reason);
    }
}
