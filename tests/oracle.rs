//! Logits against HF transformers (f32) on tiny random models, one per convention of weights and norms.
//!
//! See `data/oracle/README.md` for what the models are and how wrong looks.

use safetensors::SafeTensors;
use ternlight_core::kernel;
use ternlight_tests::{argmax, bytes, decoder, difference, floats, load_folder, tokens};

/// |Δlogit| beyond which a position must be explained by a flipped int8 code.
const FLIP: f32 = 2e-3;

fn check_logits(folder: &str) {
    let reference = bytes(&format!("oracle/{folder}/reference.safetensors"));
    let reference = SafeTensors::deserialize(&reference).expect("a safetensors file");
    for isa in kernel::isas() {
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
            model.spec.norm_eps *= epsilon;
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
