//! Logits of further model families against their reference implementations, on every instruction set.
//!
//! `data/oracle2/README.md` says what each folder exercises, where its logits come from, and how wrong looks.

use std::{collections::BTreeMap, sync::Arc};

use safetensors::SafeTensors;
use serde_json::Value;
use ternlight_core::{
    kernel,
    load::{LoadOptions, Loader},
    model::{Decoder, LoopOptions, Model, Want, tensor_names::LinearRole},
    simd::Isa,
};
use ternlight_tests::{
    Tolerance, argmax, bytes, decoder_with_context, difference, floats, load_folder, load_folder_with,
    nudge_norms, push, tokens,
};

/// Sets a decoder at position 0 up for a run and one of its sequences.
type Setup<'a> = &'a dyn Fn(&mut Decoder, &SafeTensors<'_>, &str);

/// The default run of a folder.
fn check(folder: &str) {
    check_run(folder, "", &|_, _, _| {});
}

/// A run of a folder (its name, with a dot).
fn check_run(folder: &str, run: &str, setup: Setup<'_>) {
    let reference = bytes(&format!("oracle2/{folder}/reference.safetensors"));
    let reference = SafeTensors::deserialize(&reference).expect("a safetensors file");
    let tolerance = Tolerance::of(folder);
    let mut scalar = BTreeMap::new();
    for isa in kernel::isas().map(Isa::name) {
        for seq in ["seq_a", "seq_b", "seq_c"] {
            let ids = tokens(&reference, &format!("tokens.{seq}"));
            let want = floats(&reference, &format!("logits.{seq}{run}.f32"));
            let options = LoadOptions { kernel: isa.into(), exact_inputs: true, ..LoadOptions::default() };
            let model =
                load_folder_with(&format!("oracle2/{folder}"), options, 1 << 16).expect("a valid model");
            let vocab = model.spec.vocab;
            let mut decoder = decoder_with_context(model, 64, ids.len());
            setup(&mut decoder, &reference, seq);
            let got = decoder.forward(&ids, Want::All).expect("logits");
            let (median, max) = difference(got, &want);
            println!("{folder}{run} {seq} on {isa}: median {median:.1e}, max {max:.1e}");
            assert!(median <= tolerance.median, "{folder} {seq} on {isa}: median |Δ| {median:e}");
            // A position that is further off must come from a code at a rounding tie: then a nudge of the norms' ε by about
            // an ulp gives the reference's side.
            let off =
                |got: &[f32], t: usize| difference(&got[t * vocab..][..vocab], &want[t * vocab..][..vocab]).1;
            for t in (0..ids.len()).filter(|&t| off(got, t) > tolerance.max) {
                assert!(!run.is_empty(), "{folder} {seq} on {isa}, position {t}: {:e}", off(got, t));
                let nudged = [0.6, 0.7, 0.8, 0.9, 1.1, 1.2, 1.3, 1.4].map(|factor| {
                    let options =
                        LoadOptions { kernel: isa.into(), exact_inputs: true, ..LoadOptions::default() };
                    let model = load_folder_with(&format!("oracle2/{folder}"), options, 1 << 16);
                    let mut model = model.expect("a valid model");
                    nudge_norms(&mut model.spec, factor);
                    let mut decoder = decoder_with_context(model, 64, ids.len());
                    setup(&mut decoder, &reference, seq);
                    off(decoder.forward(&ids, Want::All).expect("logits"), t)
                });
                let best = nudged.into_iter().fold(f32::INFINITY, f32::min);
                println!(
                    "{folder}{run} {seq}: position {t} is off by {:.1e}; nudged: {best:.1e}",
                    off(got, t)
                );
                assert!(
                    best <= tolerance.max,
                    "{folder}{run} {seq}, position {t}: no tie explains {:e}",
                    off(got, t)
                );
            }
            for (t, (got, want)) in got.chunks(vocab).zip(want.chunks(vocab)).enumerate() {
                assert_eq!(argmax(got), argmax(want), "{folder} {seq} on {isa}, position {t}");
            }
            check_bits(
                &mut decoder,
                &ids,
                isa,
                &mut scalar,
                (seq, &|decoder| setup(decoder, &reference, seq)),
            );
        }
    }
}

/// The same bits on every instruction set, one by one and cut in pieces.
fn check_bits(
    decoder: &mut Decoder,
    ids: &[u32],
    isa: &str,
    scalar: &mut BTreeMap<String, Vec<f32>>,
    (seq, setup): (&str, &dyn Fn(&mut Decoder)),
) {
    for cut in [usize::MAX, 1, 3] {
        decoder.rewind(0);
        setup(decoder);
        let mut got = Vec::new();
        for piece in ids.chunks(cut.min(ids.len())) {
            got.extend_from_slice(decoder.forward(piece, Want::All).expect("logits"));
        }
        let want = scalar.entry(seq.to_owned()).or_insert_with(|| got.clone());
        assert!(got == *want, "{seq} on {isa} in pieces of {cut}: other bits");
    }
}

macro_rules! folders {
    ($($folder:ident),* $(,)?) => {$(
        #[test]
        fn $folder() {
            check(stringify!($folder));
        }
    )*};
}

folders!(
    deepnet,
    deepnet1000,
    falcon3_llama,
    gemma3_text,
    granite,
    llama_variant,
    magneto,
    phi3,
    phi3_longrope,
    smollm3,
    torchscale_xpos,
    retnet,
    xmoe_top1,
    xmoe_top2,
);

folders!(
    gpt_oss_mxfp4,
    growth_base,
    growth_both,
    growth_depth,
    growth_width,
    moe_bitnet,
    moe_mixtral,
    moe_olmoe,
    moe_qwen2_shared,
    moe_qwen3_norm,
    moe_qwen3_nonorm,
    moe_sigma,
);

/// TorchScale computes a RetNet in parallel or token by token; ours is one arithmetic for both.
#[test]
fn retnet_recurrent() {
    check_run("retnet", ".recurrent", &|_, _, _| {});
}

folders!(huginn, mor_token_choice, ouro, recursive, universal);

/// Other numbers of passes through a loop.
#[test]
fn loops() {
    let check = |folder: &str, run: &str, loops: usize| {
        let options = LoopOptions { loops: Some(loops), ..LoopOptions::default() };
        check_run(folder, run, &|decoder, _, _| decoder.set_loops(options).expect("loops"));
    };
    for (folder, loops) in [("ouro", 4), ("universal", 4), ("recursive", 3)] {
        (1..=loops).for_each(|loops| check(folder, &format!(".loop{loops}"), loops));
    }
    [1, 2, 8].into_iter().for_each(|steps| check("huginn", &format!(".r{steps}"), steps));
}

/// The reference's exit: all passes are computed, and each token's logits are those of the first pass whose cumulative
/// exit probability reaches the threshold.
#[test]
fn exit_gate() {
    let config: Value = serde_json::from_slice(&bytes("oracle2/ouro/config.json")).expect("JSON");
    let threshold = config["oracle_exit_threshold"].as_f64().map(|threshold| threshold as f32);
    let options = LoopOptions { exit_threshold: threshold, ..LoopOptions::default() };
    check_run("ouro", ".exit", &|decoder, _, _| decoder.set_loops(options).expect("loops"));
    passes_taken("ouro", options, "exit_step", 1);
}

/// The passes that each token takes, beside the reference's numbers, which count from `first` less.
fn passes_taken(folder: &str, options: LoopOptions, name: &str, first: u32) {
    let reference = bytes(&format!("oracle2/{folder}/reference.safetensors"));
    let reference = SafeTensors::deserialize(&reference).expect("a safetensors file");
    for seq in ["seq_a", "seq_b", "seq_c"] {
        let ids = tokens(&reference, &format!("tokens.{seq}"));
        let model = load_folder(&format!("oracle2/{folder}"), "auto", 1 << 16).expect("a valid model");
        let mut decoder = decoder_with_context(model, 5, ids.len());
        decoder.set_loops(options).expect("loops");
        decoder.forward(&ids, Want::Nothing).expect("room");
        let taken: Vec<u32> = decoder.loops_taken().iter().map(|&taken| u32::from(taken)).collect();
        let want: Vec<u32> =
            tokens(&reference, &format!("{name}.{seq}")).iter().map(|step| step + first).collect();
        assert_eq!(taken, want, "{folder} {seq}");
    }
}

#[test]
fn routed_depths() {
    passes_taken("mor_token_choice", LoopOptions::default(), "depth", 0);
}

/// A loop that begins with given states.
#[test]
fn huginn_from_other_states() {
    check_run("huginn", ".state0", &|decoder, reference, seq| {
        decoder.begin_loops_with(&floats(reference, &format!("state0.{seq}"))).expect("states");
    });
}

/// A model whose layers were repeated takes the memory of the one that it came from; its experts' as well.
#[test]
fn grown_layers_share_memory() {
    let load =
        |folder: &str| load_folder(&format!("oracle2/{folder}"), "auto", 1 << 16).expect("a valid model");
    let base = load("growth_base");
    assert!(base.shared_bytes() == 0 && base.tensors.iter().all(|tensor| tensor.same_as.is_none()));
    // Repeated experts bring rows of the router, which are one more matrix of twice the size.
    let routers = |model: &Model| -> usize {
        let routers =
            model.tensors.iter().filter(|t| t.same_as.is_none() && t.name.ends_with("mlp.gate.weight"));
        routers.map(|t| t.bytes).sum()
    };
    for folder in ["growth_depth", "growth_width", "growth_both"] {
        let grown = load(folder);
        let own = |model: &Model| model.packed_bytes() - routers(model);
        assert_eq!(own(&grown), own(&base), "{folder}");
        let all: usize = grown.tensors.iter().map(|t| t.bytes).sum();
        assert_eq!(grown.shared_bytes(), all - grown.packed_bytes(), "{folder}");
        assert!(grown.shared_bytes() > base.packed_bytes() / 2, "{folder}");
        // What is said to be the same is one matrix.
        let by_name = |name: &str| grown.tensors.iter().position(|t| t.name == name);
        for tensor in grown.tensors.iter().filter(|t| t.same_as.is_some()) {
            let first = tensor.same_as.as_deref().and_then(by_name).expect("an earlier tensor");
            assert_eq!(grown.tensors[first].same_as, None, "{folder}: {}", tensor.name);
        }
    }
    let depth = load("growth_depth");
    let q = |block: usize| &depth.blocks[block].mixer.body.linear(LinearRole::Q).expect("attention").matrix;
    assert!(Arc::ptr_eq(q(0), q(1)) && !Arc::ptr_eq(q(1), q(2)) && Arc::ptr_eq(q(2), q(3)));
}

/// The same codes with another scale are another matrix.
#[test]
fn a_scale_beside_a_matrix_tells_it_from_others() {
    let file = bytes("oracle2/moe_bitnet/model.safetensors");
    let tensors = SafeTensors::deserialize(&file).expect("a safetensors file");
    let place = |name: &str| {
        let data = tensors.tensor(name).expect(name).data();
        let at = data.as_ptr() as usize - file.as_ptr() as usize;
        at..at + data.len()
    };
    let name = |e: usize, field: &str| format!("model.layers.0.mlp.experts.{e}.gate_proj.{field}");
    let with = |fields: &[&str]| {
        let mut copy = file.clone();
        for field in fields {
            copy.copy_within(place(&name(0, field)), place(&name(1, field)).start);
        }
        let config = String::from_utf8(bytes("oracle2/moe_bitnet/config.json")).expect("UTF-8");
        let mut loader = Loader::new(LoadOptions::default());
        loader.config(&config).expect("a known family");
        push(&mut loader, "model.safetensors", &copy, 1 << 16).expect("valid bytes");
        let model = loader.finish().expect("a valid model");
        model.tensors.iter().filter_map(|t| Some((t.name.clone(), t.same_as.clone()?))).collect::<Vec<_>>()
    };
    assert_eq!(with(&[]), []);
    assert_eq!(with(&["weight"]), []);
    assert_eq!(with(&["weight", "weight_scale"]), [(name(1, "weight"), name(0, "weight"))]);
}

/// Other numbers of active experts, as in Matryoshka MoE.
#[test]
fn elastic_experts() {
    for (folder, list) in [("moe_bitnet", &[3, 1, 2][..]), ("moe_sigma", &[1, 3, 2, 1])] {
        let check = |run, experts: &[usize]| {
            check_run(folder, run, &|decoder, _, _| decoder.set_experts(experts).expect("experts"));
        };
        check(".k1", &[1]);
        check(".k2", &[2]);
        check(".kfull", &[8]);
        check(".klist", list);
    }
}

#[test]
fn embed_gemma3() {
    let reference = bytes("oracle2/embed_gemma3/reference.safetensors");
    let reference = SafeTensors::deserialize(&reference).expect("a safetensors file");
    for isa in kernel::isas().map(Isa::name) {
        for seq in ["seq_a", "seq_b", "seq_c"] {
            let ids = tokens(&reference, &format!("tokens.{seq}"));
            let want = floats(&reference, &format!("last_hidden.{seq}"));
            let model = load_folder("oracle2/embed_gemma3", isa, 1 << 16).expect("a valid model");
            let mut decoder = decoder_with_context(model, 64, ids.len());
            let got = decoder.hidden(&ids).expect("states").to_vec();
            let (median, max) = difference(&got, &want);
            println!("embed_gemma3 {seq} on {isa}: median {median:.1e}, max {max:.1e}");
            assert!(median <= 1e-5 && max <= Tolerance::of("embed_gemma3").max, "{median:e} {max:e}");
            let last = &got[got.len() - want.len() / ids.len()..];
            let norm = last.iter().map(|x| x * x).sum::<f32>().sqrt();
            let pooled: Vec<f32> = last.iter().map(|x| x / norm).collect();
            let (_, max) = difference(&pooled, &floats(&reference, &format!("embedding.{seq}")));
            assert!(max <= 1e-5, "{seq}: pooled {max:e}");
        }
    }
}
