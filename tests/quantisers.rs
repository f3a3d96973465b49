//! Models trained with other quantisers than int8 per token (Q-Sparse, BitNet a4.8), against their reference.
//!
//! See `data/oracle2/README.md`. The runs of a folder differ in keys of the configuration, which are set as the command
//! line sets them. `ternlight logits FOLDER --tokens … --out FILE` computes the default run; with these options it
//! computes the others:
//!
//! | run | options |
//! |---|---|
//! | `kvoff` | `--kv f32` (or `--set kv_cache_quantization=null`) |
//! | `kv3` | `--set kv_cache_quantization.bits=3` |
//! | `q4kv4` | `--set kv_cache_quantization.q_bits=4` |
//! | `q4kv3` | both of the latter |

use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};
use ternlight_core::{
    ErrorKind, Result,
    activations::{ActFormat, Activations},
    container::Overrides,
    kernel,
    load::{LoadOptions, Loader, SparseLayouts},
    model::{Model, Want},
    quantiser::{Codes, Quantiser, TopK},
    simd::Isa,
};
use ternlight_tests::{argmax, bytes, decoder_with_context, difference, floats, push, tokens};

fn config(folder: &str) -> Value {
    serde_json::from_slice(&bytes(&format!("oracle2/{folder}/config.json"))).expect("JSON")
}

fn load(folder: &str, config: &Value, isa: &str) -> Result<Model> {
    load_as(folder, config, isa, Overrides::default(), SparseLayouts::Always)
}

fn load_as(folder: &str, config: &Value, isa: &str, set: Overrides, sparse: SparseLayouts) -> Result<Model> {
    let mut loader = Loader::new(LoadOptions { kernel: isa.into(), set, sparse, ..LoadOptions::default() });
    loader.config(&config.to_string())?;
    push(&mut loader, "model.safetensors", &bytes(&format!("oracle2/{folder}/model.safetensors")), 1 << 16)?;
    loader.finish()
}

/// A run's logits on every instruction set, whole and token by token, with zeros skipped and multiplied: near the
/// reference, and all the same bits.
fn check(folder: &str, run: &str, set: &[(&str, &str)]) {
    let mut overrides = Overrides::default();
    set.iter().for_each(|(key, value)| overrides.set(key, value));
    let config = &config(folder);
    let reference = bytes(&format!("oracle2/{folder}/reference.safetensors"));
    let reference = SafeTensors::deserialize(&reference).expect("a safetensors file");
    for seq in ["seq_a", "seq_b", "seq_c"] {
        let ids = tokens(&reference, &format!("tokens.{seq}"));
        let want = floats(&reference, &format!("logits.{seq}{run}.f32"));
        let mut first: Vec<f32> = Vec::new();
        for isa in kernel::isas().map(Isa::name) {
            let (always, never) = (SparseLayouts::Always, SparseLayouts::Never);
            for (cut, sparse) in
                [(ids.len(), always), (1, always), (5, always), (ids.len(), never), (1, never)]
            {
                let model = load_as(folder, config, isa, overrides.clone(), sparse);
                let model = model.unwrap_or_else(|e| panic!("{folder}{run}: {e}"));
                let vocab = model.spec.vocab;
                let mut decoder = decoder_with_context(model, 64, ids.len());
                let mut got = Vec::new();
                for part in ids.chunks(cut) {
                    got.extend_from_slice(decoder.forward(part, Want::All).expect("logits"));
                }
                let (median, max) = difference(&got, &want);
                println!("{folder}{run} {seq} on {isa}: median {median:.1e}, max {max:.1e}");
                assert!(median <= 5e-5 && max <= 5e-4, "{folder}{run} {seq} on {isa}: {median:e}, {max:e}");
                for (t, (got, want)) in got.chunks(vocab).zip(want.chunks(vocab)).enumerate() {
                    assert_eq!(argmax(got), argmax(want), "{folder}{run} {seq} on {isa}, position {t}");
                }
                if first.is_empty() {
                    first.clone_from(&got);
                }
                assert!(got == first, "{folder}{run} {seq} on {isa} in pieces of {cut}: other bits");
            }
        }
    }
}

#[test]
fn q_sparse_keeps_the_largest_inputs() {
    check("qsparse", "", &[]);
}

#[test]
fn block_q_sparse_keeps_some_of_each_block() {
    check("qsparse_block", "", &[]);
}

/// Which kernels an a4.8 model and a Q-Sparse model get, and that they leave something out.
#[test]
fn sparse_layers_skip_zeros() {
    let kernels = |folder: &str, sparse| {
        let model =
            load_as(folder, &config(folder), "scalar", Overrides::default(), sparse).expect("a model");
        let of = |name: &str| {
            let tensor = model.tensors.iter().find(|t| t.name.contains(name)).expect("a layer");
            tensor.kernel.trim_end_matches("/scalar").to_owned()
        };
        ["q_proj", "o_proj", "gate_proj", "up_proj", "down_proj"].map(of)
    };
    let (panels, columns, rows) = ("ternary", "ternary-columns", "ternary-rows");
    assert_eq!(kernels("a48_int4", SparseLayouts::Always), [panels, columns, panels, rows, columns]);
    assert_eq!(kernels("qsparse", SparseLayouts::Always), [columns, columns, columns, rows, columns]);
    assert_eq!(kernels("qsparse", SparseLayouts::Never), [panels; 5]);
    // Tiles would be padded: these matrices are tiny.
    assert_eq!(kernels("a48_int4", SparseLayouts::Auto), [panels, panels, panels, rows, panels]);

    let model = load("a48_int4", &config("a48_int4"), "auto").expect("a model");
    let mut decoder = decoder_with_context(model, 64, 8);
    assert!(decoder.sparsity().is_none());
    decoder.count_zeros();
    decoder.forward(&[1, 2, 3], Want::Last).expect("logits");
    let zeros = decoder.sparsity().expect("they are counted");
    // Half of each input by the quantiser, and some more by rounding; half of the gates of random weights.
    assert!((0.5..0.7).contains(&zeros.output.share()), "{zeros:?}");
    assert!((0.3..0.7).contains(&zeros.gate.share()), "{zeros:?}");
    assert!(zeros.down.zeros >= zeros.gate.zeros && zeros.down.all == 3 * 3 * 128, "{zeros:?}");
}

/// All runs of a folder of BitNet a4.8.
fn check_a48(folder: &str) {
    const BITS: &str = "kv_cache_quantization.bits";
    const QUERIES: &str = "kv_cache_quantization.q_bits";
    check(folder, "", &[]);
    check(folder, ".kvoff", &[("kv_cache_quantization", "null")]);
    check(folder, ".kv3", &[(BITS, "3")]);
    check(folder, ".q4kv4", &[(QUERIES, "4")]);
    check(folder, ".q4kv3", &[(BITS, "3"), (QUERIES, "4")]);
}

#[test]
fn bitnet_a48_with_int4_inputs() {
    check_a48("a48_int4");
}

#[test]
fn bitnet_a48_with_fp4_inputs() {
    check_a48("a48_fp4");
}

#[test]
fn what_is_not_known_of_a_quantiser_is_refused_by_name() {
    let cases: [(&[&str], Value, &str); 8] = [
        (&["activation_quantization", "scheme"], json!("a3.2"), "activation_quantization.scheme"),
        (&["activation_quantization", "attn_in", "quant"], json!("int3_absmax"), "int3_absmax"),
        (&["activation_quantization", "attn_in", "shift"], json!(2), "attn_in.shift"),
        (&["activation_quantization", "attn_out", "keep"], json!(1.5), "attn_out.keep"),
        (&["activation_quantization", "ffn_in", "block"], json!(32), "ffn_in.block"),
        (
            &["activation_quantization", "head"],
            json!({"quant": "int8_absmax"}),
            "activation_quantization.head",
        ),
        (&["kv_cache_quantization", "bits"], json!(11), "kv_cache_quantization.bits"),
        (&["kv_cache_quantization", "scale_dtype"], json!("float32"), "scale_dtype"),
    ];
    for (path, value, name) in cases {
        let mut config = config("a48_int4");
        let (last, parents) = path.split_last().expect("a path");
        let place = parents.iter().fold(&mut config, |place, key| &mut place[*key]);
        place[*last] = value;
        let error = load("a48_int4", &config, "auto").err().unwrap_or_else(|| panic!("{name} loads"));
        let kinds = [ErrorKind::UnsupportedArch, ErrorKind::BadHeader];
        assert!(kinds.contains(&error.kind) && error.detail.contains(name), "{name}: {error}");
    }
}

/// Codes, scales and masks bit for bit.
#[test]
fn unit_vectors_of_the_quantisers() {
    let file = bytes("oracle2/unit_vectors_ext.safetensors");
    let file = SafeTensors::deserialize(&file).expect("a valid file");
    let codes = |name: &str| -> Vec<i8> {
        let tensor = file.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(tensor.dtype(), Dtype::I8, "{name}");
        tensor.data().iter().map(|&byte| byte as i8).collect()
    };
    let quantised = |x: &[f32], cols: usize, quantiser: Quantiser| {
        let mut rows = Activations::new(Isa::SCALAR);
        rows.set(x.len() / cols, cols).copy_from_slice(x);
        rows.prepare_with(quantiser).expect("memory for few rows");
        assert!(rows.is_ready(ActFormat::Token8));
        let of = |t: usize| (rows.token8().codes(t)[..cols].to_vec(), rows.token8().scale(t));
        (0..x.len() / cols).map(of).collect::<Vec<_>>()
    };
    let x = floats(&file, "topk.x");
    let int4 = quantised(&x, 64, Quantiser { codes: Codes::Int4AbsMean, keep: None });
    let (want, scales) = (codes("int4.codes"), floats(&file, "int4.s"));
    for (t, (codes, scale)) in int4.iter().enumerate() {
        assert_eq!(scale.to_bits(), scales[t].to_bits(), "scale of row {t}");
        assert_eq!(codes, &want[64 * t..][..64], "row {t}");
    }
    for (name, share, block) in [
        ("topk.mask.global_0.5", 0.5, None),
        ("topk.mask.global_0.625", 0.625, None),
        ("topk.mask.block32_0.5", 0.5, Some(32)),
        ("topk.mask.block16_0.5", 0.5, Some(16)),
        ("topk.mask.block8_0.25", 0.25, Some(8)),
    ] {
        let mask = codes(name);
        let codes = Codes::Int8AbsMax;
        let dense = quantised(&x, 64, Quantiser { codes, keep: None });
        let kept = quantised(&x, 64, Quantiser { codes, keep: Some(TopK { share, block }) });
        for t in 0..dense.len() {
            let want: Vec<i8> =
                dense[t].0.iter().zip(&mask[64 * t..]).map(|(code, keep)| code * keep).collect();
            assert_eq!(kept[t].0, want, "{name}, row {t}");
            assert_eq!(
                kept[t].1.to_bits(),
                dense[t].1.to_bits(),
                "{name}, row {t}: the scale is of all inputs"
            );
        }
    }
    let x = floats(&file, "fp4.x");
    let (values, scales) = (floats(&file, "fp4.value"), floats(&file, "fp4.s"));
    let fp4 = quantised(&x, 32, Quantiser { codes: Codes::Fp4AbsMax, keep: None });
    for (t, (codes, scale)) in fp4.iter().enumerate() {
        // Codes and what they were multiplied by are doubled.
        assert_eq!(scale.to_bits(), (2.0 * scales[t]).to_bits(), "scale of row {t}");
        let numbers: Vec<f32> = codes.iter().map(|&code| f32::from(code) / 2.0).collect();
        let as_numbers = numbers == values[32 * t..][..32];
        let as_values =
            numbers.iter().zip(&values[32 * t..]).all(|(number, value)| number / scales[t] == *value);
        assert!(as_numbers || as_values, "row {t}: {numbers:?} {:?}", &values[32 * t..][..32]);
    }
}
