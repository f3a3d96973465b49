//! Checkpoints in FP8 and FP4 against their reference, on every instruction set.
//!
//! See `data/oracle2/README.md`, section 5. The runs of a folder differ in keys of the configuration, which are changed
//! here as `--set KEY=VALUE` does it:
//!
//! | folder | run | keys |
//! |---|---|---|
//! | fp8_tensor, fp8_channel, fp8_block | `a8` | `activation_quantization.scheme=fp8_absmax` |
//! | fp4_vector | `resf32` | `quantization_config.occ_residual=float32` |
//! | fp4_vector | `noocc` | `activation_quantization.scheme=fp4_absmax` |
//! | fp4_vector | `wonly` | `activation_quantization.scheme=none` |

use std::{collections::BTreeMap, sync::Arc};

use safetensors::{Dtype, SafeTensors};
use serde_json::{Map, Value, json};
use ternlight_core::{
    ErrorKind, Result,
    activations::{ActFormat, Activations},
    cache::KvType,
    container::{self, Probe},
    format::{Form, FormRow},
    kernel,
    load::{LoadOptions, Loader},
    matrix::Matrix,
    minifloat::{self, Rounding},
    model::{Decoder, DecoderOptions, Model, Want},
    pool::Serial,
    simd::Isa,
};
use ternlight_tests::{Tolerance, argmax, bytes, decoder_with_context, difference, floats, push, tokens};

const FOLDERS: [&str; 7] =
    ["fp8_tensor", "fp8_channel", "fp8_block", "fp8_e5m2", "mxfp4", "nvfp4", "fp4_vector"];

fn config(folder: &str) -> Value {
    serde_json::from_slice(&bytes(&format!("oracle2/{folder}/config.json"))).expect("JSON")
}

/// The configuration with one more key, or another value of it.
fn config_with(folder: &str, key: &str, value: Value) -> Value {
    let mut config = config(folder);
    let place = key.split('.').fold(&mut config, |place, key| match key.parse::<usize>() {
        Ok(index) => &mut place[index],
        Err(_) => &mut place[key],
    });
    *place = value;
    config
}

fn weights(folder: &str) -> Vec<u8> {
    bytes(&format!("oracle2/{folder}/model.safetensors"))
}

fn options(isa: &str) -> LoadOptions {
    LoadOptions { kernel: isa.into(), exact_inputs: true, ..LoadOptions::default() }
}

/// A model whose weights come in these files.
fn load(options: LoadOptions, config: &Value, files: &[Vec<u8>]) -> Result<Model> {
    let mut loader = Loader::new(options);
    loader.config(&config.to_string())?;
    if files.len() > 1 {
        for file in files {
            let Probe::Ready(index) = container::probe(file)? else { panic!("half a header") };
            loader.announce(index.tensors.into_iter().map(|t| (t.name.clone(), Some(t))));
        }
    }
    for (i, file) in files.iter().enumerate() {
        push(&mut loader, &format!("model-{i}.safetensors"), file, 1 << 12)?;
    }
    loader.finish()
}

fn logits(model: Model, ids: &[u32], cut: usize) -> Vec<f32> {
    all_logits(&mut decoder_with_context(model, 64, ids.len()), ids, cut)
}

fn all_logits(decoder: &mut Decoder, ids: &[u32], cut: usize) -> Vec<f32> {
    let mut all = Vec::new();
    for part in ids.chunks(cut) {
        all.extend_from_slice(decoder.forward(part, Want::All).expect("logits"));
    }
    all
}

/// A run's logits on every instruction set, whole and in pieces: near the reference, and all the same bits.
fn check(folder: &str, run: &str, config: &Value) {
    let reference = bytes(&format!("oracle2/{folder}/reference.safetensors"));
    let reference = SafeTensors::deserialize(&reference).expect("a safetensors file");
    let tolerance = Tolerance::of(folder);
    let files = [weights(folder)];
    for seq in ["seq_a", "seq_b", "seq_c"] {
        let ids = tokens(&reference, &format!("tokens.{seq}"));
        let want = floats(&reference, &format!("logits.{seq}{run}.f32"));
        let mut first: Vec<f32> = Vec::new();
        for isa in kernel::isas().map(Isa::name) {
            for cut in [ids.len(), 1, 3] {
                let model =
                    load(options(isa), config, &files).unwrap_or_else(|e| panic!("{folder}{run}: {e}"));
                let vocab = model.spec.vocab;
                let got = logits(model, &ids, cut);
                if first.is_empty() {
                    let (median, max) = difference(&got, &want);
                    println!("{folder}{run} {seq}: median {median:.1e}, max {max:.1e}");
                    assert!(median <= tolerance.median && max <= tolerance.max, "{folder}{run} {seq}");
                    for (t, (got, want)) in got.chunks(vocab).zip(want.chunks(vocab)).enumerate() {
                        assert_eq!(argmax(got), argmax(want), "{folder}{run} {seq}, position {t}");
                    }
                    first.clone_from(&got);
                }
                assert!(got == first, "{folder}{run} {seq} on {isa} in pieces of {cut}: other bits");
            }
        }
    }
}

#[test]
fn weights_alone() {
    for folder in FOLDERS {
        check(folder, "", &config(folder));
    }
}

#[test]
fn inputs_of_fp8() {
    for folder in ["fp8_tensor", "fp8_channel", "fp8_block"] {
        check(folder, ".a8", &config_with(folder, "activation_quantization.scheme", json!("fp8_absmax")));
    }
}

/// What compressed-tensors writes of models whose inputs are rounded as they come.
#[test]
fn input_activations_say_the_same() {
    let inputs = json!({"num_bits": 8, "type": "float", "strategy": "token", "dynamic": true, "symmetric": true,
        "observer": null});
    let key = "quantization_config.config_groups.group_0.input_activations";
    check("fp8_tensor", ".a8", &config_with("fp8_tensor", key, inputs));
}

#[test]
fn inputs_of_fp4() {
    let with = |key, value| config_with("fp4_vector", key, value);
    check("fp4_vector", ".resf32", &with("quantization_config.occ_residual", json!("float32")));
    check("fp4_vector", ".noocc", &with("activation_quantization.scheme", json!("fp4_absmax")));
    check("fp4_vector", ".wonly", &with("activation_quantization.scheme", json!("none")));
    check("fp4_vector", "", &with("activation_quantization.scheme", json!("fp4_occ")));
}

/// The same tensors, those for which `early` holds first; all in one file, or in two.
fn reordered(file: &[u8], early: impl Fn(&str) -> bool, split: bool) -> Vec<Vec<u8>> {
    let tensors = SafeTensors::deserialize(file).expect("a safetensors file");
    let (first, last): (Vec<_>, Vec<_>) = tensors.tensors().into_iter().partition(|(name, _)| early(name));
    let write = |tensors: &[(String, safetensors::tensor::TensorView<'_>)]| {
        let (mut header, mut data) = (Map::new(), Vec::new());
        for (name, tensor) in tensors {
            let dtype = match tensor.dtype() {
                Dtype::F8_E4M3 => "F8_E4M3",
                Dtype::F8_E5M2 => "F8_E5M2",
                Dtype::U8 => "U8",
                Dtype::BF16 => "BF16",
                Dtype::F32 => "F32",
                other => panic!("{other:?}"),
            };
            let begin = data.len();
            data.extend_from_slice(tensor.data());
            let entry = json!({"dtype": dtype, "shape": tensor.shape(), "data_offsets": [begin, data.len()]});
            header.insert(name.clone(), entry);
        }
        let header = Value::Object(header).to_string();
        [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat()
    };
    if split { vec![write(&first), write(&last)] } else { vec![write(&[first, last].concat())] }
}

#[test]
fn scales_may_come_before_or_after_and_in_another_shard() {
    for folder in FOLDERS {
        let (file, config) = (weights(folder), config(folder));
        let ids = [1, 7, 200, 33];
        let run = |files: &[Vec<u8>]| {
            logits(load(options("auto"), &config, files).unwrap_or_else(|e| panic!("{folder}: {e}")), &ids, 4)
        };
        let want = run(std::slice::from_ref(&file));
        let is_scale = |name: &str| name.contains("_scale");
        for split in [false, true] {
            assert!(run(&reordered(&file, is_scale, split)) == want, "{folder}: scales first");
            assert!(run(&reordered(&file, |name| !is_scale(name), split)) == want, "{folder}: scales last");
        }
    }
}

/// What `run` uses: weights that take few bits, and products of integers for FP4. The error is that of 16-bit codes of the
/// inputs: no logit is further from exact inputs than 10⁻³ of the largest one. (It is the attention of the first layer
/// that amplifies most, in one position of `mxfp4` tenfold.)
#[test]
fn the_fast_path_is_near_and_small() {
    for folder in FOLDERS {
        let config = match folder {
            "fp4_vector" => config_with(folder, "activation_quantization.scheme", json!("none")),
            _ => config(folder),
        };
        let reference = bytes(&format!("oracle2/{folder}/reference.safetensors"));
        let reference = SafeTensors::deserialize(&reference).expect("a safetensors file");
        let files = [weights(folder)];
        let mut first = BTreeMap::new();
        for isa in kernel::isas() {
            let fast = LoadOptions { kernel: isa.name().into(), ..LoadOptions::default() };
            let model = load(fast, &config, &files).expect("a valid model");
            let is_fp8 = check_size(folder, &model, isa);
            let (model, exact) = (Arc::new(model), load(options(isa.name()), &config, &files));
            let exact = Arc::new(exact.expect("a valid model"));
            for seq in ["seq_a", "seq_b", "seq_c"] {
                let ids = tokens(&reference, &format!("tokens.{seq}"));
                let run = |model: &Arc<Model>, cut| {
                    let options = DecoderOptions { kv: KvType::F32, block: 64, context: ids.len() };
                    let decoder = Decoder::new(Arc::clone(model), options, Arc::new(Serial));
                    all_logits(&mut decoder.expect("memory for a tiny model"), &ids, cut)
                };
                let (got, want) = (run(&model, ids.len()), run(&exact, ids.len()));
                let largest = want.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
                let (median, max) = difference(&got, &want);
                println!("{folder} {seq} on {isa:?}: median {median:.1e}, max {max:.1e} of {largest:.1}");
                assert!(median <= 1e-4 && max <= 1e-3 * largest, "{folder} {seq}: {median:e}, {max:e}");
                assert!(!is_fp8 || got == want, "FP8 has one path");
                assert!(got == run(&model, 1), "{folder} {seq} on {isa:?}, token by token: other bits");
                let first = first.entry(seq).or_insert_with(|| got.clone());
                assert!(got == *first, "{folder} {seq} on {isa:?}: other bits");
            }
        }
    }
}

/// Bits per weight of the linear layers; whether they are FP8.
fn check_size(folder: &str, model: &Model, isa: Isa) -> bool {
    let linears: Vec<_> = model.tensors.iter().filter(|t| t.name.contains("_proj")).collect();
    assert_eq!(linears.len(), 14, "{folder}");
    let is_fp8 = linears[0].form.is_fp8();
    assert!(is_fp8 || matches!(linears[0].form, Form::Mxfp4 | Form::Nvfp4), "{folder}");
    let most = if is_fp8 { 8.3 } else { 4.6 };
    if isa != Isa::SCALAR {
        let bytes: usize = linears.iter().map(|t| t.bytes).sum();
        let weights: usize = linears.iter().map(|t| t.rows * t.cols).sum();
        let bits = 8.0 * bytes as f64 / weights as f64;
        assert!(bits <= most, "{folder} on {isa:?}: {bits} bits per weight");
    }
    let layout = kernel::select(linears[0].form, isa).expect("a kernel").layout;
    let bits = layout.matrix_bytes(256, 2048) as f64 / (256.0 * 2048.0 / 8.0);
    assert!(bits <= most, "{folder} on {isa:?}: {bits} bits per weight of a larger matrix");
    is_fp8
}

/// Products of the integers of FP4 with 16-bit inputs: near those of floats, as a share of the largest output.
#[test]
fn products_of_integers_are_near_those_of_floats() {
    for (form, block) in [(Form::Mxfp4, 32), (Form::Nvfp4, 16)] {
        let (rows, cols, tokens) = (64, 1024, 5);
        let mut state = 1_u32;
        let mut random = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 16
        };
        let weights: Vec<FormRow> = (0..rows)
            .map(|_| FormRow {
                codes: (0..cols).map(|_| minifloat::E2M1_TWICE[random() as usize % 16]).collect(),
                scales: (0..cols / block).map(|_| [0.25, 0.5, 1.0][random() as usize % 3]).collect(),
                ..FormRow::default()
            })
            .collect();
        let x: Vec<f32> = (0..tokens * cols).map(|_| random() as f32 / 32768.0 - 1.0).collect();
        let product = |form| {
            let mut matrix = Matrix::new(kernel::select(form, Isa::SCALAR).expect("a kernel"), rows, cols)
                .expect("memory");
            weights.iter().enumerate().for_each(|(r, row)| matrix.set_row(r, row));
            let mut inputs = Activations::new(Isa::SCALAR);
            inputs.set(tokens, cols).copy_from_slice(&x);
            inputs.prepare(matrix.input()).expect("memory");
            let mut y = vec![0.0; rows * tokens];
            matrix.mul(&inputs, &mut y, &Serial);
            y
        };
        let (fast, exact) = (product(form), product(form.exact()));
        let largest = exact.iter().fold(0.0_f32, |most, y| most.max(y.abs()));
        let (_, max) = difference(&fast, &exact);
        println!("{form:?}: {:.1e}", max / largest);
        assert!(max > 0.0 && max <= 3e-5 * largest, "{form:?}: {max:e} of {largest:e}");
    }
}

/// Keys and values that are not understood are refused, by name.
#[test]
fn what_is_not_known_of_small_floats_is_refused_by_name() {
    const WEIGHTS: &str = "quantization_config.config_groups.group_0.weights";
    let cases: [(&str, &str, Value, &str); 20] = [
        ("fp8_block", "quantization_config.fmt", json!("e3m4"), "quantization_config.fmt"),
        ("fp8_block", "quantization_config.weight_block_size", json!([128, 96]), "weight_block_size"),
        ("fp8_block", "quantization_config.activation_scheme", json!("static"), "activation_scheme"),
        ("fp8_block", "quantization_config.scale_fmt", json!("ue8m0"), "scale_fmt"),
        ("fp8_block", "quantization_config.quant_method", json!("fp7"), "fp7"),
        ("fp8_channel", "quantization_config.shift", json!(3), "quantization_config.shift"),
        ("fp8_channel", "activation_quantization.scheme", json!("int8"), "activation_quantization.scheme"),
        ("fp8_channel", "activation_quantization.scheme", json!("fp4_occ"), "activation_quantization.scheme"),
        ("fp8_channel", "activation_quantization.attn_in", json!({"keep": 0.5}), "attn_in.keep"),
        ("fp8_tensor", "quantization_config.format", json!("int-quantized"), "int-quantized"),
        ("fp8_tensor", &format!("{WEIGHTS}.num_bits"), json!(7), "bits"),
        ("fp8_tensor", &format!("{WEIGHTS}.type"), json!("int"), "weights.type"),
        ("fp8_tensor", &format!("{WEIGHTS}.symmetric"), json!(false), "weights.symmetric"),
        (
            "fp8_tensor",
            "quantization_config.config_groups.group_0.input_activations",
            json!({"num_bits": 8, "type": "float", "strategy": "tensor", "dynamic": false}),
            "input_activations",
        ),
        (
            "fp8_tensor",
            "quantization_config.config_groups.group_1",
            json!({"targets": ["Linear"]}),
            "group_1",
        ),
        ("nvfp4", &format!("{WEIGHTS}.group_size"), json!(32), "group"),
        ("nvfp4", "quantization_config.quantization_status", json!("frozen"), "quantization_status"),
        ("fp4_vector", "quantization_config.occ_alpha", json!(1.5), "occ_alpha"),
        ("fp4_vector", "quantization_config.occ_residual", json!("int8"), "occ_residual"),
        ("fp4_vector", "quantization_config.occ_quantile_scope", json!("tensor"), "occ_quantile_scope"),
    ];
    for (folder, key, value, name) in cases {
        let config = config_with(folder, key, value);
        let error = load(options("auto"), &config, &[weights(folder)]).err();
        let error = error.unwrap_or_else(|| panic!("{folder}: {key} loads"));
        let kinds = [ErrorKind::UnsupportedArch, ErrorKind::UnsupportedFormat, ErrorKind::BadHeader];
        assert!(kinds.contains(&error.kind) && error.detail.contains(name), "{folder}, {name}: {error}");
    }
}

/// Codes that mean nothing, scales that are missing, and formats that the configuration does not name.
#[test]
fn files_that_are_not_as_their_configuration_says_are_refused() {
    let error = |config: &Value, file: Vec<u8>| match load(options("auto"), config, &[file]) {
        Ok(_) => panic!("{config} loads"),
        Err(error) => error,
    };
    for (folder, other) in [("fp8_tensor", "fp8_e5m2"), ("mxfp4", "fp8_block"), ("nvfp4", "fp8_channel")] {
        let error = error(&config(other), weights(folder));
        let kinds = [ErrorKind::UnsupportedFormat, ErrorKind::Shape, ErrorKind::UnsupportedArch];
        assert!(kinds.contains(&error.kind), "{folder} as {other}: {error}");
    }
    for folder in FOLDERS {
        let mut plain = config(folder);
        plain["quantization_config"] = Value::Null;
        let none = error(&plain, weights(folder));
        use ErrorKind::{MissingTensor, Shape, UnsupportedArch, UnsupportedFormat};
        let kinds = [UnsupportedFormat, UnsupportedArch, MissingTensor, Shape];
        assert!(kinds.contains(&none.kind) && none.detail.contains("_proj"), "{folder}: {none}");
        let without = |part: &str| {
            let file = weights(folder);
            let name = "model.layers.1.self_attn.k_proj";
            let gone = |other: &str| other.starts_with(name) && other.contains(part);
            error(&config(folder), reordered(&file, gone, true).remove(1))
        };
        let scales = without("_scale");
        assert!(scales.kind == ErrorKind::MissingTensor && scales.detail.contains("k_proj"), "{scales}");
        assert_eq!(without("weight").kind, ErrorKind::MissingTensor, "{folder}");
        if folder == "nvfp4" {
            let error = without("weight_global_scale");
            assert!(error.kind == ErrorKind::MissingTensor && error.detail.contains("k_proj"), "{error}");
        }
    }
    let spoiled = |folder: &str, name: &str, byte: u8| {
        let mut file = weights(folder);
        let at = {
            let tensors = SafeTensors::deserialize(&file).expect("a safetensors file");
            let data = tensors.tensor(name).expect("the tensor").data().as_ptr() as usize;
            data - file.as_ptr() as usize
        };
        file[at] = byte;
        error(&config(folder), file)
    };
    for (folder, name, byte) in [
        ("fp8_tensor", "model.layers.0.mlp.down_proj.weight", 0x7F),
        ("fp8_e5m2", "model.layers.0.mlp.down_proj.weight", 0x7C),
        ("mxfp4", "model.layers.0.mlp.down_proj.weight_scales", 255),
        ("mxfp4", "model.layers.0.mlp.down_proj.weight_scales", 253),
        ("nvfp4", "model.layers.0.mlp.down_proj.weight_scale", 0x7F),
    ] {
        let error = spoiled(folder, name, byte);
        assert!(error.kind == ErrorKind::BadData && error.detail.contains("down_proj"), "{folder}: {error}");
    }
}

fn unit_vectors() -> Vec<u8> {
    bytes("oracle2/unit_vectors_ext.safetensors")
}

fn same_bits(got: &[f32], want: &[f32], what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        assert!(got == want || got.is_nan() && want.is_nan(), "{what}: element {i} is {got:e}, not {want:e}");
    }
}

#[test]
fn tables_and_codes_are_those_of_the_unit_vectors() {
    let file = unit_vectors();
    let file = SafeTensors::deserialize(&file).expect("a valid file");
    let table = |number: fn(u8) -> f32| (0..=255).map(number).collect::<Vec<_>>();
    same_bits(&table(minifloat::e4m3_to_f32), &floats(&file, "e4m3.table"), "E4M3");
    same_bits(&table(minifloat::e5m2_to_f32), &floats(&file, "e5m2.table"), "E5M2");
    let codes: Vec<u8> = floats(&file, "e4m3.x").into_iter().map(minifloat::f32_to_e4m3).collect();
    assert_eq!(codes, file.tensor("e4m3.codes").expect("codes").data());
    for code in (0..=255).filter(|code| code & 0x7F != 0x7F) {
        assert_eq!(minifloat::f32_to_e4m3(minifloat::e4m3_to_f32(code)), code);
    }
}

#[test]
fn outliers_are_clamped_as_in_the_unit_vectors() {
    let file = unit_vectors();
    let file = SafeTensors::deserialize(&file).expect("a valid file");
    let x = floats(&file, "occ.x");
    let [clamped, fp4, residual] =
        ["occ.clamped", "occ.fp4", "occ.residual_e4m3"].map(|name| floats(&file, name));
    // Per token, and as an input of a product.
    let mut rows = Activations::new(Isa::SCALAR);
    rows.set(4, 64).copy_from_slice(&x);
    let rounding = Rounding::ClampedE2m1 { alpha: 0.97, residual_e4m3: true };
    rows.prepare_rounded(rounding).expect("memory for few rows");
    assert!(rows.is_ready(ActFormat::F32));
    for t in 0..4 {
        let at = 64 * t..64 * (t + 1);
        let own = minifloat::clamp_outliers(&x[at.clone()], 0.97);
        same_bits(&own, &clamped[at.clone()], "clamped");
        let mut out = [0.0; 64];
        Rounding::E2m1.apply(&own, &mut out);
        same_bits(&out, &fp4[at.clone()], "E2M1");
        let rest: Vec<f32> = x[at.clone()].iter().zip(&own).map(|(x, clamped)| x - clamped).collect();
        Rounding::E4m3 { group: None }.apply(&rest, &mut out);
        same_bits(&out, &residual[at.clone()], "residual");
        let sum: Vec<f32> = fp4[at.clone()].iter().zip(&residual[at]).map(|(a, b)| a + b).collect();
        same_bits(&rows.floats(t)[..64], &sum, "both");
    }
}

/// The packed tensors, through the packed forms of every instruction set.
#[test]
fn packed_tensors_are_those_of_the_unit_vectors() {
    let file = unit_vectors();
    let file = SafeTensors::deserialize(&file).expect("a valid file");
    let data = |name: &str| file.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}")).data().to_vec();
    let (rows, cols) = (8, 96);
    let nibbles = |name: &str, r: usize, row: &mut FormRow| {
        let bytes = &data(name)[r * cols / 2..][..cols / 2];
        let twice = |nibble: u8| minifloat::E2M1_TWICE[usize::from(nibble)];
        row.codes.extend(bytes.iter().flat_map(|byte| [twice(byte & 15), twice(byte >> 4)]));
    };
    let check = |form: Form, name: &str, row: &dyn Fn(usize) -> FormRow| {
        let want = floats(&file, &format!("{name}.value"));
        for isa in kernel::isas() {
            let mut matrix =
                Matrix::new(kernel::select(form, isa).expect("a kernel"), rows, cols).expect("memory");
            let mut got = vec![0.0; rows * cols];
            for (r, got) in got.chunks_mut(cols).enumerate() {
                matrix.set_row(r, &row(r));
                matrix.row(r, got);
            }
            same_bits(&got, &want, &format!("{name} on {isa:?}"));
        }
    };
    for form in [Form::Mxfp4, Form::Mxfp4Exact] {
        let scales = data("mxfp4.weight_scales");
        check(form, "mxfp4", &|r| {
            let mut row = FormRow::default();
            nibbles("mxfp4.weight_blocks", r, &mut row);
            row.scales.extend(scales[3 * r..][..3].iter().map(|&code| 0.5 * minifloat::e8m0_to_f32(code)));
            row
        });
        let scales = floats(&file, "fp4_vector.weight_scale");
        check(form, "fp4_vector", &|r| {
            let mut row = FormRow { scales: vec![0.5; 3], row_number: Some(scales[r]), ..FormRow::default() };
            nibbles("fp4_vector.weight_packed", r, &mut row);
            row
        });
    }
    for form in [Form::Nvfp4, Form::Nvfp4Exact] {
        let scales = data("nvfp4.weight_scale");
        let divisor = floats(&file, "nvfp4.weight_global_scale")[0];
        check(form, "nvfp4", &|r| {
            let mut row = FormRow { row_number: Some(divisor), ..FormRow::default() };
            nibbles("nvfp4.weight_packed", r, &mut row);
            row.scales.extend(scales[6 * r..][..6].iter().map(|&code| 0.5 * minifloat::e4m3_to_f32(code)));
            row
        });
    }
    let (codes, scales) = (data("fp8_channel.weight"), floats(&file, "fp8_channel.weight_scale"));
    check(Form::E4m3, "fp8_channel", &|r| FormRow {
        floats: codes[cols * r..][..cols].iter().map(|&code| minifloat::e4m3_to_f32(code)).collect(),
        scales: vec![scales[r]],
        ..FormRow::default()
    });
}
