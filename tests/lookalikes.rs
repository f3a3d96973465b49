//! Files that look like published ones: their keys (also those that are missing, odd or nobody's), names, encodings and
//! special tokens. Facts of the real files are in the cases.

use std::sync::Arc;

use ternlight_core::{
    Result,
    container::Value,
    format::Encoding,
    model::{
        rope::{RopeScaling, RopeStyle},
        spec::{Activation, InputSemantics, Spec},
        tensor_names::LinearRole,
    },
    pool::Serial,
};
use ternlight_engine::{ChatOptions, Engine, EngineLoader, EngineOptions, Message};
use ternlight_tests::{
    gguf::Gguf,
    lookalike::{HEAD_DIM, Shape, Tokens, look},
};

fn load(file: &Gguf) -> Result<Engine> {
    let mut loader = EngineLoader::new(EngineOptions::default(), Some(Arc::new(Serial)));
    let bytes = file.bytes();
    loader.begin_file("model.gguf", Some(bytes.len() as u64))?;
    bytes.chunks(1 << 16).try_for_each(|chunk| loader.push(chunk))?;
    loader.end_file()?;
    loader.finish()
}

/// The engine of a file that must load and compute.
fn runs(name: &str, file: &Gguf) -> Engine {
    let engine = load(file).unwrap_or_else(|e| panic!("{name}: {e}"));
    let logits = engine.logits(&[1, 5, 9]).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert!(logits.iter().all(|x| x.is_finite()) && logits.iter().any(|x| *x != logits[0]), "{name}");
    engine
}

fn input(spec: &Spec) -> InputSemantics {
    spec.blocks[0].linear(LinearRole::Q).expect("attention").input
}

fn int(n: i64) -> Value {
    Value::Int(n)
}

fn text(s: &str) -> Value {
    Value::Str(s.into())
}

/// What quantisers and hubs write beside what a model is.
fn with_hub_keys(file: Gguf) -> Gguf {
    file.set("general.name", text("models"))
        .set("general.basename", text("x"))
        .set("general.size_label", text("3.9B"))
        .set("general.license", text("apache-2.0"))
        .set("general.languages", Value::Strs(vec!["en".into()]))
        .set("general.base_model.0.repo_url", text("https://example.org"))
        .set("general.url", text("https://example.org"))
        .set("quantize.imatrix.file", text("imatrix.dat"))
        .set("quantize.imatrix.chunks_count", int(128))
        .set("mradermacher.quantized_by", text("x"))
}

/// microsoft/bitnet-b1.58-2B-4T-gguf: no `pre`, no end of turn, a template; the older upload is `bitnet-25` and has one
/// tensor more, a head.
#[test]
fn bitnet_2b4t() {
    let control = ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"];
    let tokens = Tokens::byte_level(&control);
    let (bos, eos, eot) = (tokens.id(control[0]), tokens.id(control[1]), tokens.id(control[2]));
    let scores = Value::Floats(vec![0.0; tokens.texts.len()]);
    let tokens = tokens
        .with("scores", scores)
        .with("bos_token_id", int(bos))
        .with("eos_token_id", int(eos))
        .with("padding_token_id", int(eos))
        .with("add_bos_token", Value::Bool(true));
    for (arch, head) in [("bitnet-b1.58", None), ("bitnet-25", Some(Encoding::F16))] {
        let shape =
            Shape { body: Encoding::I2_S, embedding: Encoding::F16, head, sub_norms: true, qk_norms: false };
        let template = "{% for message in messages %}{% if loop.first %}{{ bos_token }}{% endif %}{{ message['role'] | \
                        capitalize + ': ' + message['content'] + '<|eot_id|>' }}{% endfor %}";
        let file = look(arch, &shape, &tokens)
            .set("general.name", text("bitnet2b"))
            .set("general.file_type", int(40))
            .set("tokenizer.chat_template", text(template));
        let engine = runs(arch, &file);
        let spec = &engine.model().spec;
        assert_eq!(spec.blocks[0].ffn.body.mlp().activation, Activation::Relu2);
        assert_eq!((input(spec), spec.output.tied), (InputSemantics::Int8, head.is_none()), "{arch}");
        assert_eq!(spec.ropes[0].style, RopeStyle::Half);
        assert_eq!(engine.tokenizer().expect("tokens").stops(), [eos as u32, eot as u32]);
        let messages = [Message::new("user", "ab")];
        let ids = engine.chat_tokens(&messages, &ChatOptions::default()).expect("a prompt");
        assert_eq!((ids[0], ids[1]), (bos as u32, u32::from(b'U')), "{arch}: BOS once");
        assert_eq!(ids.last(), Some(&(eot as u32)));
    }
}

/// Falcon-E and HF1BitLLM by bitnet.cpp: `llama` with I2_S, a head in F16, and a pre-tokenizer that only its fork knows.
#[test]
fn llama_with_i2_s() {
    let tokens = Tokens::byte_level(&["<|end_of_text|>", "<|im_end|>"]);
    let eos = tokens.id("<|end_of_text|>");
    let shape = |head| Shape {
        body: Encoding::I2_S,
        embedding: Encoding::F16,
        head,
        sub_norms: false,
        qk_norms: false,
    };
    for pre in ["falcon_e", "falcon3", "llama-bpe"] {
        let tokens = Tokens::byte_level(&["<|end_of_text|>", "<|im_end|>"])
            .with("pre", text(pre))
            .with("eos_token_id", int(eos))
            .with("bos_token_id", int(eos));
        let file = look("llama", &shape(Some(Encoding::F16)), &tokens).set("general.file_type", int(40));
        let engine = runs(pre, &file);
        let spec = &engine.model().spec;
        assert_eq!(spec.blocks[0].ffn.body.mlp().activation, Activation::Silu);
        assert_eq!((input(spec), spec.ropes[0].style), (InputSemantics::Int8, RopeStyle::Interleaved));
        let tokenizer = engine.tokenizer().expect("tokens");
        assert_eq!(tokenizer.encode_input("ab", false).expect("ids")[0], eos as u32, "{pre} adds BOS");
        assert_eq!(tokenizer.stops(), [eos as u32, tokenizer.control("<|im_end|>").expect("a token")]);
    }
    // Tensors of frequencies that follow from the keys, or change them (LLaMA 3.1).
    let file = look("llama", &shape(None), &tokens)
        .with_tensor("blk.0.attn_rot_embd.weight", HEAD_DIM / 2)
        .with_tensor("rope_freqs.weight", HEAD_DIM / 2);
    let engine = runs("frequencies", &file);
    let RopeScaling::Divisors(divisors) = &engine.model().spec.ropes[0].scaling else { panic!("divisors") };
    assert_eq!(divisors.len(), HEAD_DIM / 2);
}

/// SpectraSuite's TriLM as third parties quantise it: trained with float inputs, so no int8 codes; keys of many hands.
#[test]
fn trilm() {
    let tokens = Tokens::byte_level(&["<|endoftext|>"]).with("pre", text("gpt-2"));
    for body in [Encoding::TQ1_0, Encoding::TQ2_0] {
        let shape = Shape {
            body,
            embedding: Encoding::Q4_K,
            head: Some(Encoding::Q6_K),
            sub_norms: false,
            qk_norms: false,
        };
        let file = with_hub_keys(look("llama", &shape, &tokens)).set("general.file_type", int(36));
        let engine = runs(body.name(), &file);
        assert_eq!(input(&engine.model().spec), InputSemantics::Float, "{}", body.name());
        assert_eq!(engine.info().name, "models");
    }
}

/// PrismML's Bonsai: `qwen3`, tied, with a length of heads; Q2_0 in blocks of 128 under the id that upstream has for 64.
#[test]
fn bonsai() {
    let tokens = Tokens::byte_level(&["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
        .with("pre", text("qwen2"))
        .with("eos_token_id", int(258))
        .with("padding_token_id", int(256))
        .with("add_bos_token", Value::Bool(false));
    for body in [Encoding::Q1_0, Encoding::Q2_0_128] {
        let shape = Shape { body, embedding: body, head: None, sub_norms: false, qk_norms: true };
        let file = with_hub_keys(look("qwen3", &shape, &tokens))
            .set("qwen3.attention.key_length", int(HEAD_DIM as i64))
            .set("qwen3.attention.value_length", int(HEAD_DIM as i64));
        let engine = runs(body.name(), &file);
        let info = engine.info();
        let spec = &engine.model().spec;
        assert!(
            spec.output.tied && spec.blocks[0].mixer.body.attention().expect("attention").qk_norm.is_some()
        );
        assert!(
            info.tensors.iter().any(|t| t.encoding == body.name()),
            "{}: {:?}",
            body.name(),
            info.tensors
        );
        let tokenizer = engine.tokenizer().expect("tokens");
        assert_eq!(tokenizer.encode_input("ab", false).expect("ids").len(), 1, "no BOS");
        assert_eq!(tokenizer.stops(), [256, 258]);
    }
}

/// BitCPM-CANN: `llama` with a SentencePiece vocabulary, two ends, a Q4_K embedding and a Q6_K head; with and without the
/// tensors of LongRoPE, which no key announces.
#[test]
fn bitcpm() {
    let tokens = Tokens::sentence_piece(&["<|im_end|>", "<|im_start|>"])
        .with("bos_token_id", int(1))
        .with("eos_token_id", int(2))
        .with("unknown_token_id", int(0));
    let end = tokens.id("<|im_end|>");
    let shape = Shape {
        body: Encoding::TQ2_0,
        embedding: Encoding::Q4_K,
        head: Some(Encoding::Q6_K),
        sub_norms: false,
        qk_norms: false,
    };
    let plain = look("llama", &shape, &tokens).set("general.file_type", int(37));
    let long = plain
        .clone()
        .with_tensor("rope_factors_long.weight", HEAD_DIM / 2)
        .with_tensor("rope_factors_short.weight", HEAD_DIM / 2);
    for (name, file) in [("plain", plain), ("longrope", long)] {
        let engine = runs(name, &file);
        let spec = &engine.model().spec;
        assert_eq!(input(spec), InputSemantics::Float);
        assert_eq!(matches!(spec.ropes[0].scaling, RopeScaling::Long { .. }), name == "longrope");
        let tokenizer = engine.tokenizer().expect("tokens");
        assert_eq!(tokenizer.stops(), [2, end as u32]);
        assert_eq!(tokenizer.encode_input("a", false).expect("ids")[0], 1);
    }
}

/// Tencent's Hy-MT2 of 1.25 bits: STQ1_0 under the id of Q2_0, a Q6_K embedding that is the head, no template, and an
/// alpha that is in the rotary base already.
#[test]
fn hy_mt() {
    let control =
        ["<｜hy_begin▁of▁sentence｜>", "<｜hy_place▁holder▁no▁2｜>", "<｜hy_User｜>", "<｜hy_Assistant｜>"];
    let tokens = Tokens::byte_level(&control);
    let (bos, eos) = (tokens.id(control[0]), tokens.id(control[1]));
    let tokens = tokens
        .with("pre", text("hunyuan-dense"))
        .with("bos_token_id", int(bos))
        .with("eos_token_id", int(eos))
        .with("add_bos_token", Value::Bool(true));
    let shape = Shape {
        body: Encoding::STQ1_0,
        embedding: Encoding::Q6_K,
        head: None,
        sub_norms: false,
        qk_norms: true,
    };
    let file = look("hunyuan-dense", &shape, &tokens)
        .set("general.file_type", int(41))
        .set("hunyuan-dense.rope.freq_base", Value::Float(11_158_840.0))
        .set("hunyuan-dense.rope.scaling.type", text("none"))
        .set("hunyuan-dense.rope.scaling.alpha", Value::Float(1000.0));
    let engine = runs("hy-mt", &file);
    let spec = &engine.model().spec;
    assert_eq!((spec.ropes[0].theta, &spec.ropes[0].scaling), (11_158_840.0, &RopeScaling::None));
    let attention = spec.blocks[0].mixer.body.attention().expect("attention");
    assert!(spec.output.tied && attention.qk_norm.expect("QK-norm").after_rope);
    assert_eq!(engine.chat_template(), None);
    let tokenizer = engine.tokenizer().expect("tokens");
    let said = format!("{}{}ab{}", control[0], control[2], control[3]);
    let ids = tokenizer.encode_input(&said, true).expect("ids");
    assert_eq!((ids.len(), ids[0], tokenizer.stops()), (4, bos as u32, &[eos as u32][..]));
}

/// Keys that published files lack or have in two forms mean the same model.
#[test]
fn keys_that_may_be_missing() {
    let spec = |file: &Gguf| file.load().expect("a valid file").spec;
    let maple = Gguf::open("maple");
    let sevens = maple.clone().set("maple.swiglu_clamp_exp", Value::Floats(vec![7.0; 3]));
    assert_eq!(
        spec(&maple.clone().without("maple.swiglu_clamp_exp")),
        spec(&sevens),
        "the model card's clamp"
    );
    let Some(Value::Float(theta)) = maple.meta.get("maple.rope.freq_base").cloned() else { panic!("a base") };
    assert_eq!(spec(&maple.clone().set("maple.rope.freq_base_swa", Value::Float(theta))), spec(&maple));
    let plain = maple
        .clone()
        .set("maple.expert_gating_func", int(1))
        .set("maple.expert_weights_scale", Value::Float(1.0));
    assert_eq!(spec(&plain), spec(&maple));
    for folder in ["embed_gemma3_i2s", "embed_qwen3_i2s"] {
        let file = Gguf::open(folder);
        let arch = if folder.contains("gemma3") { "gemma3" } else { "qwen3" };
        for pooling in [1, 2, 3] {
            let other = file.clone().set(&format!("{arch}.pooling_type"), int(pooling));
            assert_eq!(spec(&other), spec(&file), "{folder}: pooling is the caller's");
        }
        assert_eq!(spec(&with_hub_keys(file.clone())), spec(&file), "{folder}");
    }
}
