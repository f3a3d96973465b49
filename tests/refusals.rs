//! Files that hold something the loader does not understand: each is refused with a code and the name of what it is.
//!
//! Wrong text without an error is the worst fault this program can have, so every case here is a valid file of this
//! repository with one thing changed.

use ternlight_core::{
    ErrorKind, Result,
    container::{self, Meta, Value, write},
    format::Encoding,
    load::{LoadOptions, Loader},
    model::{Model, tensor_names::LinearRole},
};
use ternlight_tests::{
    bytes,
    gguf::{Gguf, probe},
    push,
};

fn load(file: &[u8], options: LoadOptions) -> Result<Model> {
    let mut loader = Loader::new(options);
    push(&mut loader, "model.gguf", file, 1 << 16)?;
    loader.finish()
}

fn int(n: i64) -> Value {
    Value::Int(n)
}

fn float(x: f64) -> Value {
    Value::Float(x)
}

fn text(s: &str) -> Value {
    Value::Str(s.into())
}

/// The twins as they are load; so the cases below fail for what they change.
#[test]
fn the_files_that_are_tampered_with_are_valid() {
    for folder in ["hadamard_pq2", "hadamard_ptq1", "minicpm", "hunyuan_stq1", "embed_gemma3_i2s"] {
        Gguf::open(folder).load().unwrap_or_else(|e| panic!("{folder}: {e}"));
    }
}

#[test]
fn tampered_gguf_files_are_refused_by_name() {
    let pq2 = || Gguf::open("hadamard_pq2");
    let ptq1 = || Gguf::open("hadamard_ptq1");
    let minicpm = || Gguf::open("minicpm");
    let hunyuan = || Gguf::open("hunyuan_stq1");
    let gemma = || Gguf::open("embed_gemma3_i2s");
    let widths = |w: &[i64]| Value::Ints(w.to_vec());
    let names = |n: &[&str]| Value::Strs(n.iter().map(|n| (*n).to_string()).collect());
    use ErrorKind::{BadHeader, MissingKey, MissingTensor, Shape, UnsupportedArch};
    let cases: Vec<(Gguf, ErrorKind, &str)> = vec![
        // Rotated weights.
        (pq2().set("prism.hadamard.version", int(3)), UnsupportedArch, "prism.hadamard.version"),
        (pq2().set("prism.hadamard.transform", text("dct")), UnsupportedArch, "prism.hadamard.transform"),
        (pq2().set("prism.hadamard.axis", text("output")), UnsupportedArch, "prism.hadamard.axis"),
        (pq2().set("prism.hadamard.block_size", int(96)), BadHeader, "prism.hadamard.block_size"),
        (pq2().set("prism.hadamard.block_size", int(512)), BadHeader, "prism.hadamard.block_size"),
        (pq2().set("prism.hadamard.sign_mode", text("random")), UnsupportedArch, "prism.hadamard.sign_mode"),
        (pq2().set("prism.hadamard.sign_widths", widths(&[256])), BadHeader, "prism.hadamard.sign_"),
        (pq2().set("prism.hadamard.sign_values", Value::Ints(vec![2; 640])), BadHeader, "sign_values"),
        (pq2().without("prism.hadamard.weight_names"), BadHeader, "prism.hadamard.weight_names"),
        (
            pq2().set("prism.hadamard.weight_names", names(&["blk.0.attn_q.weight", "blk.9.attn_q.weight"])),
            UnsupportedArch,
            "blk.9.attn_q.weight",
        ),
        (pq2().set("prism.hadamard.tied_output", Value::Bool(true)), BadHeader, "tied_output"),
        (pq2().set("prism.hadamard.gdn_v_grouped", Value::Bool(true)), UnsupportedArch, "gdn_v_grouped"),
        (pq2().set("prism.hadamard.rank", int(4)), UnsupportedArch, "prism.hadamard.rank"),
        (pq2().set("prism.other", int(7)), UnsupportedArch, "prism.other"),
        (ptq1().without("prism.hadamard.version"), UnsupportedArch, "prism.hadamard."),
        (hunyuan().set("prism.hadamard.version", int(1)), UnsupportedArch, "prism.hadamard.version"),
        // Scales that another family knows, or that are missing.
        (minicpm().without("minicpm.logit_scale"), MissingKey, "minicpm.logit_scale"),
        (minicpm().without("minicpm.embedding_scale"), MissingKey, "minicpm.embedding_scale"),
        (hunyuan().set("hunyuan-dense.residual_scale", float(0.5)), UnsupportedArch, "residual_scale"),
        (pq2().set("qwen3.embedding_scale", float(12.0)), UnsupportedArch, "qwen3.embedding_scale"),
        (pq2().set("qwen3.final_logit_softcapping", float(30.0)), UnsupportedArch, "final_logit_softcapping"),
        (
            gemma().set("gemma3.attn_logit_softcapping", float(50.0)),
            UnsupportedArch,
            "attn_logit_softcapping",
        ),
        // Windows, experts, loops, value lengths, rope.
        (ptq1().set("llama.attention.sliding_window", int(64)), UnsupportedArch, "sliding_window"),
        (ptq1().set("llama.expert_used_count", int(2)), UnsupportedArch, "llama.expert_used_count"),
        (pq2().set("qwen3.attention.value_length", int(32)), UnsupportedArch, "attention.value_length"),
        (pq2().set("qwen3.rope.scaling.type", text("ntk")), UnsupportedArch, "ntk"),
        (pq2().set("qwen3.rope.dimension_count", int(63)), Shape, "63"),
        (pq2().set("qwen3.attention.causal", Value::Bool(false)), UnsupportedArch, "attention.causal"),
        (pq2().set("qwen3.nextn_predict_layers", int(1)), UnsupportedArch, "nextn_predict_layers"),
        (minicpm().without_tensor("rope_factors_short.weight"), MissingTensor, "rope_factors_short.weight"),
        // Tensors that nothing reads, or that are missing.
        (
            pq2().with_tensor("blk.0.attn_output_norm.weight", 256),
            UnsupportedArch,
            "blk.0.attn_output_norm.weight",
        ),
        (pq2().with_tensor("blk.2.attn_norm.weight", 256), UnsupportedArch, "blk.2.attn_norm.weight"),
        (pq2().with_tensor("token_embd_norm.weight", 256), UnsupportedArch, "token_embd_norm.weight"),
        (pq2().with_tensor("blk.1.attn_q.bias", 256), UnsupportedArch, "blk.1.attn_q.bias"),
        (minicpm().with_tensor("blk.0.attn_q_norm.weight", 64), UnsupportedArch, "blk.0.attn_q_norm.weight"),
        (
            gemma().renamed("blk.1.ffn_up_norm_in.weight", "blk.1.ffn_up_nrm.weight"),
            MissingTensor,
            "blk.1.ffn_up",
        ),
        (gemma().without_tensor("blk.2.post_ffw_norm.weight"), MissingTensor, "blk.2.post_ffw_norm.weight"),
        (hunyuan().without_tensor("blk.1.attn_k_norm.weight"), MissingTensor, "blk.1.attn_k_norm.weight"),
        (hunyuan().set("general.architecture", text("hunyuan-moe")), UnsupportedArch, "hunyuan-moe"),
        (pq2().set("qwen3.vocab_size", int(271)), Shape, "token_embd.weight"),
    ];
    for (i, (file, kind, name)) in cases.into_iter().enumerate() {
        let error = file.load().err().unwrap_or_else(|| panic!("case {i} ({name}) loads"));
        assert!(error.kind == kind && error.detail.contains(name), "case {i} ({name}): {error}");
    }
}

/// One id, two layouts: sizes decide, and where they do not, nothing is guessed.
#[test]
fn a_type_id_with_two_meanings_must_be_settled_by_sizes() {
    let file = Gguf::open("hunyuan_stq1").bytes();
    let index = probe(&file);
    let first = index.tensors.iter().find(|t| t.encoding == Encoding::STQ1_0).expect("ternary tensors");
    assert!(first.bytes > 0);
    // The dimensions say a quarter of the weights: now the distance fits no layout of the id.
    let name = first.name.as_bytes();
    let at = file.windows(name.len()).position(|w| w == name).expect("its entry") + name.len() + 4;
    let mut wrong = file.clone();
    wrong[at..at + 8].copy_from_slice(&64u64.to_le_bytes());
    let error = load(&wrong, LoadOptions::default()).err().expect("no layout fits");
    assert!(error.detail.contains(&first.name), "{error}");
    assert_eq!(error.kind, ErrorKind::UnsupportedFormat, "{error}");
}

#[test]
fn a_user_who_knows_better_passes_by_name() {
    let file =
        Gguf::open("hadamard_pq2").set("qwen3.mystery", int(3)).with_tensor("mystery.weight", 7).bytes();
    let allow = |names: &[&str]| LoadOptions {
        allow_unknown: names.iter().map(|n| (*n).to_string()).collect(),
        ..LoadOptions::default()
    };
    assert!(load(&file, allow(&[])).is_err());
    assert!(load(&file, allow(&["qwen3.mystery"])).is_err());
    load(&file, allow(&["qwen3.mystery", "mystery.weight"])).expect("both are allowed");
}

/// A norm in a later part than its weight: without notice that is an error, with notice the same model.
#[test]
fn a_norm_in_another_part_than_its_weight_makes_no_other_model() {
    let whole = Gguf::open("embed_qwen3_i2s");
    let is_norm = |spec: &write::TensorSpec| spec.name.ends_with("_norm_in.weight");
    let part = |no: i64, tensors: Vec<_>| {
        let mut meta = if no == 0 { whole.meta.clone() } else { Meta::default() };
        meta.0.insert("split.count".into(), int(2));
        meta.0.insert("split.no".into(), int(no));
        Gguf { meta, tensors }.bytes()
    };
    let (norms, others): (Vec<_>, Vec<_>) =
        whole.tensors.iter().cloned().partition(|(spec, _)| is_norm(spec));
    let files = [part(0, others), part(1, norms)];
    let load = |announce: bool| -> Result<Model> {
        let mut loader = Loader::new(LoadOptions::default());
        if announce {
            for file in &files {
                loader.announce(probe(file).tensors.into_iter().map(|t| (t.name.clone(), Some(t))));
            }
        }
        for (i, file) in files.iter().enumerate() {
            push(&mut loader, &format!("part {i}"), file, 1 << 16)?;
        }
        loader.finish()
    };
    let announced = load(true).expect("the same model in two parts");
    assert_eq!(announced.spec, whole.load().expect("the whole file").spec);
    assert!(announced.blocks[0].linear(LinearRole::Q).expect("attention").norm.is_some());
    // These weights are ternary codes either way, so the parts may come unannounced too, and give the same.
    let unannounced = load(false).expect("nothing that was loaded would have been loaded otherwise");
    assert_eq!(unannounced.spec, announced.spec);
}

/// The same with latent weights, which the norm turns ternary: now the order matters, and is an error.
#[test]
fn latent_weights_before_their_norm_are_refused() {
    let config = String::from_utf8(bytes("oracle2/embed_gemma3/config.json")).expect("UTF-8");
    let file = bytes("oracle2/embed_gemma3/model.safetensors");
    let index = probe(&file);
    let is_norm = |t: &&container::TensorInfo| t.name.ends_with("_proj.norm.weight");
    let part = |tensors: Vec<&container::TensorInfo>| {
        let specs = tensors.iter().map(|t| write::TensorSpec {
            name: t.name.clone(),
            shape: t.shape.clone(),
            encoding: t.encoding,
        });
        let header = write::safetensors_header(&Meta::default(), &Vec::from_iter(specs)).expect("a header");
        let data = tensors.iter().map(|t| &file[t.offset as usize..(t.offset + t.bytes) as usize]);
        [header.bytes.clone(), data.flatten().copied().collect()].concat()
    };
    let (norms, others): (Vec<_>, Vec<_>) = index.tensors.iter().partition(is_norm);
    let files = [part(others), part(norms)];
    let load = |announce: bool| -> Result<Model> {
        let mut loader = Loader::new(LoadOptions::default());
        loader.config(&config)?;
        if announce {
            // As an index of shards does it: names alone.
            loader.announce(index.tensors.iter().map(|t| (t.name.clone(), None)));
        }
        for (i, file) in files.iter().enumerate() {
            push(&mut loader, &format!("shard {i}"), file, 1 << 16)?;
        }
        loader.finish()
    };
    assert!(
        load(true).expect("announced shards").blocks[0]
            .linear(LinearRole::Q)
            .expect("attention")
            .norm
            .is_some()
    );
    let error = load(false).err().expect("the weights were not ternarised");
    assert_eq!(error.kind, ErrorKind::UnsupportedFormat);
    assert!(error.detail.contains("_proj.weight"), "{error}");
}

/// Hugging Face folders: keys of other families, and heads that are not what the configuration says.
#[test]
fn tampered_folders_are_refused_by_name() {
    let config = String::from_utf8(bytes("oracle/tiny_c_llama_bitlinear/config.json")).expect("UTF-8");
    let weights = bytes("oracle/tiny_c_llama_bitlinear/model.safetensors");
    let load = |config: &str| -> Result<Model> {
        let mut loader = Loader::new(LoadOptions::default());
        loader.config(config)?;
        push(&mut loader, "model.safetensors", &weights, 1 << 16)?;
        loader.finish()
    };
    load(&config).expect("the oracle itself");
    for (more, name) in [
        (r#""activation_quantization": {"scheme": "a48", "o": 1}"#, "activation_quantization"),
        (r#""kv_cache_quantization": {"bits": 4}"#, "kv_cache_quantization"),
        (r#""residual_multiplier": 0.3"#, "residual_multiplier"),
        (r#""no_rope_layers": [1, 0]"#, "no_rope_layers"),
        (r#""final_logit_softcapping": 30.0"#, "final_logit_softcapping"),
        (r#""sliding_window": 32"#, "sliding_window"),
        (r#""layer_types": ["sliding_attention", "full_attention"]"#, "layer_types"),
        (r#""rotation_config": {"kind": "hadamard"}"#, "rotation_config"),
        (r#""num_local_experts": 8"#, "num_local_experts"),
        (r#""rope_scaling": {"rope_type": "dynamic", "factor": 2.0}"#, "dynamic"),
        (
            r#""quantization_config": {"quant_method": "bitnet", "rotate": true}"#,
            "quantization_config.rotate",
        ),
        (r#""quantization_config": {"quant_method": "gptq"}"#, "gptq"),
        (r#""hidden_act": "gelu_new""#, "gelu_new"),
    ] {
        let key = more.split('"').nth(1).expect("a key");
        // A key of the file itself is replaced.
        let mut json: serde_json::Value = serde_json::from_str(&config).expect("JSON");
        let more: serde_json::Value = serde_json::from_str(&format!("{{{more}}}")).expect("JSON");
        json[key] = more[key].clone();
        let error = load(&json.to_string()).err().unwrap_or_else(|| panic!("{name} loads"));
        let kinds = [ErrorKind::UnsupportedArch, ErrorKind::UnsupportedFormat];
        assert!(kinds.contains(&error.kind) && error.detail.contains(name), "{name}: {error}");
    }
    // The head of this model is no copy of its embedding.
    let tied = config.replace(r#""tie_word_embeddings": false"#, r#""tie_word_embeddings": true"#);
    assert_ne!(tied, config);
    let error = load(&tied).err().expect("another head than the embedding");
    assert!(error.kind == ErrorKind::BadData && error.detail.contains("tie_word_embeddings"), "{error}");
}
