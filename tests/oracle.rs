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
        let model = load_folder("oracle/tiny_d_embed_qwen3", "auto", 1 << 16).expect("a valid model");
        let hidden = model.spec.hidden;
        let mut decoder = decoder(model, 64);
        let got = decoder.hidden(&ids).expect("states");
        let (median, max) = difference(got, &floats(&reference, &format!("last_hidden.{seq}")));
        println!("{seq}: median {median:.1e}, max {max:.1e}");
        assert!(median <= 1e-5 && max <= 1e-3, "{seq}: median {median:e}, max {max:e}");
        let last = &got[got.len() - hidden..];
        let norm = last.iter().map(|x| x * x).sum::<f32>().sqrt();
        let pooled: Vec<f32> = last.iter().map(|x| x / norm).collect();
        let (_, max) = difference(&pooled, &floats(&reference, &format!("embedding.{seq}")));
        assert!(max <= 1e-4, "{seq}: pooled {max:e}");
    }
}
