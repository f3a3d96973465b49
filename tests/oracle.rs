//! Logits against HF transformers (f32) on tiny random models, one per convention of weights and norms.
//!
//! See `data/oracle/README.md` for what the models are and how wrong looks.

use safetensors::SafeTensors;
use ternlight_core::{
    activations::{ActFormat, Activations},
    format::{Form, FormRow},
    kernel,
    matrix::Matrix,
    pool::Serial,
    simd::Isa,
};
use ternlight_tests::{argmax, bytes, decoder, difference, floats, load_folder, nudge_norms, tokens};

/// |Δlogit| beyond which a position must be explained by a flipped int8 code.
const FLIP: f32 = 2e-3;

fn check_logits(folder: &str) {
    let reference = bytes(&format!("oracle/{folder}/reference.safetensors"));
    let reference = SafeTensors::deserialize(&reference).expect("a safetensors file");
    for isa in kernel::isas().map(Isa::name) {
        for seq in ["seq_a", "seq_b", "seq_c"] {
            let ids = tokens(&reference, &format!("tokens.{seq}"));
            let want = floats(&reference, &format!("logits.{seq}.f32"));
            let model = load_folder(&format!("oracle/{folder}"), isa, 1 << 16).expect("a valid model");
            let vocab = model.spec.vocab;
            let mut decoder = decoder(model, 64);
            let got = decoder.forward(&ids, ternlight_core::model::Want::All).expect("logits");
            let (median, max) = difference(got, &want);
            println!("{folder} {seq} on {isa}: median {median:.1e}, max {max:.1e}");
            assert!(median <= 1e-4, "{folder} {seq} on {isa}: median |Δ| {median:e}");
            assert!(max <= FLIP, "{folder} {seq} on {isa}: max |Δ| {max:e}");
            for (t, (got, want)) in got.chunks(vocab).zip(want.chunks(vocab)).enumerate() {
                assert_eq!(argmax(got), argmax(want), "{folder} {seq} on {isa}, position {t}");
            }
        }
    }
}

#[test]
fn bitnet_latent_weights_ternarised_at_load() {
    check_logits("tiny_a_master");
}

#[test]
fn bitnet_packed_with_a_multiplying_scale() {
    check_logits("tiny_a_packed");
}

#[test]
fn llama_packed_with_a_dividing_scale() {
    check_logits("tiny_c_llama_bitlinear");
}

#[test]
fn qwen3_with_a_norm_per_projection_gives_the_pooled_embedding() {
    let reference = bytes("oracle/tiny_d_embed_qwen3/reference.safetensors");
    let reference = SafeTensors::deserialize(&reference).expect("a safetensors file");
    for seq in ["seq_a", "seq_b"] {
        let ids = tokens(&reference, &format!("tokens.{seq}"));
        let want = floats(&reference, &format!("last_hidden.{seq}"));
        let states = |epsilon: f32| {
            let mut model = load_folder("oracle/tiny_d_embed_qwen3", "auto", 1 << 16).expect("a valid model");
            nudge_norms(&mut model.spec, epsilon);
            decoder(model, 64).hidden(&ids).expect("states").to_vec()
        };
        let got = states(1.0);
        let hidden = want.len() / ids.len();
        let (median, max) = difference(&got, &want);
        println!("{seq}: median {median:.1e}, max {max:.1e}");
        assert!(median <= 1e-5, "{seq}: median {median:e}");
        // A position that is further off must come from an int8 code at a rounding tie. Then a nudge of
        // about one ulp (ε of the norms times 0.6…1.4 moves a norm by 2e-7 of its value) gives HF's side.
        let off =
            |got: &[f32], t: usize| difference(&got[t * hidden..][..hidden], &want[t * hidden..][..hidden]).1;
        for t in (0..ids.len()).filter(|&t| off(&got, t) > FLIP) {
            let nudged = [0.6, 0.7, 0.8, 0.9, 1.1, 1.2, 1.3, 1.4].map(|epsilon| off(&states(epsilon), t));
            let best = nudged.into_iter().fold(f32::INFINITY, f32::min);
            println!("{seq}: position {t} is off by {:.1e}; nudged by an ulp: {best:.1e}", off(&got, t));
            assert!(best <= 1e-4, "{seq}, position {t}: no tie explains {:e}", off(&got, t));
        }
        let pooled = |states: &[f32]| {
            let last = &states[states.len() - hidden..];
            let norm = last.iter().map(|x| x * x).sum::<f32>().sqrt();
            last.iter().map(|x| x / norm).collect::<Vec<f32>>()
        };
        let (_, max) = difference(&pooled(&got), &floats(&reference, &format!("embedding.{seq}")));
        assert!(max <= 1e-4, "{seq}: pooled {max:e}");
    }
}

/// The quantiser and the product of a ternary layer, on every kernel. (`a48.*` of the file is a quantiser that
/// no model here has.)
#[test]
fn unit_vectors_of_the_ternary_layer() {
    let file = bytes("../../crates/core/tests/data/unit_vectors.safetensors");
    let file = SafeTensors::deserialize(&file).expect("a valid file");
    let codes = |name: &str| {
        let tensor = file.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}"));
        Vec::from_iter(tensor.data().iter().map(|&byte| byte as i8))
    };
    let bits = |x: f32| x.to_bits();
    let (tokens, rows, cols) = (7, 64, 128);

    let mut x = Activations::new(Isa::SCALAR);
    x.set(tokens, cols).copy_from_slice(&floats(&file, "act.x"));
    x.prepare(ActFormat::Token8).expect("memory for seven rows");
    let (scales, q) = (floats(&file, "act.scale"), codes("act.q"));
    let dequantised = floats(&file, "act.dequant");
    for t in 0..tokens {
        let (codes, scale) = (&x.token8().codes(t)[..cols], x.token8().scale(t));
        assert_eq!(bits(scale), bits(scales[t]), "scale of row {t}");
        assert_eq!(codes, &q[t * cols..][..cols], "codes of row {t}");
        for (k, &code) in codes.iter().enumerate() {
            // Equal and not the same bits: integers have one zero.
            assert_eq!(f32::from(code) / scale, dequantised[t * cols + k], "({t}, {k})");
        }
    }

    let (weights, mean) = (codes("w.ternary"), floats(&file, "w.mean_abs")[0]);
    let sums = tensor_i32(&file, "gemm.acc_i32");
    let product = floats(&file, "gemm.y_f32_multiply");
    for kernel in kernel::available().filter(|kernel| kernel.layout.form == Form::Ternary) {
        let mut matrix = Matrix::new(kernel, rows, cols).expect("memory for a small matrix");
        for (r, codes) in weights.chunks_exact(cols).enumerate() {
            let row = FormRow { codes: codes.to_vec(), scales: vec![mean], ..FormRow::default() };
            matrix.set_row(r, &row);
        }
        let mut y = vec![f32::NAN; tokens * rows];
        x.prepare(matrix.input()).expect("memory for seven rows");
        matrix.mul(&x, &mut y, &Serial);
        for (i, &y) in y.iter().enumerate() {
            let want = sums[i] as f32 / scales[i / rows] * mean;
            assert_eq!(bits(y), bits(want), "{kernel:?}: element {i}");
            // The file's were computed in f64 and rounded once, ours twice.
            assert!(
                (y - product[i]).abs() <= 2.0 * f32::EPSILON * product[i].abs(),
                "{y} and {}",
                product[i]
            );
        }
    }
}

fn tensor_i32(file: &SafeTensors<'_>, name: &str) -> Vec<i32> {
    let tensor = file.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert_eq!(tensor.dtype(), safetensors::Dtype::I32, "{name}");
    tensor.data().as_chunks::<4>().0.iter().map(|b| i32::from_le_bytes(*b)).collect()
}
