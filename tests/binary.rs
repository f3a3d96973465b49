//! The BitNet of 2023: weights of −1 and +1. `data/binary/make.py` says what is computed, and computes it in numpy.

use safetensors::SafeTensors;
use ternlight_core::{kernel, load::LoadOptions, model::Want, simd::Isa};
use ternlight_tests::{argmax, bytes, decoder, difference, floats, load_folder, load_folder_with, tokens};

#[test]
fn logits_are_the_reference_s_on_every_isa() {
    let reference = bytes("binary/reference.safetensors");
    let reference = SafeTensors::deserialize(&reference).expect("a safetensors file");
    for seq in ["seq_a", "seq_b", "seq_c"] {
        let ids = tokens(&reference, &format!("tokens.{seq}"));
        let want = floats(&reference, &format!("logits.{seq}.f32"));
        let mut first: Vec<f32> = Vec::new();
        for isa in kernel::isas().map(Isa::name) {
            for cut in [ids.len(), 1, 5] {
                let mut decoder = decoder(load_folder("binary", isa, 1000).expect("a valid model"), 64);
                let vocab = decoder.model().spec.vocab;
                let mut got = Vec::new();
                for part in ids.chunks(cut) {
                    got.extend_from_slice(decoder.forward(part, Want::All).expect("logits"));
                }
                let (median, max) = difference(&got, &want);
                println!("{seq} on {isa}: median {median:.1e}, max {max:.1e}");
                assert!(median <= 2e-5 && max <= 2e-4, "{seq} on {isa}: {median:e}, {max:e}");
                for (t, (got, want)) in got.chunks(vocab).zip(want.chunks(vocab)).enumerate() {
                    assert_eq!(argmax(got), argmax(want), "{seq} on {isa}, position {t}");
                }
                if first.is_empty() {
                    first.clone_from(&got);
                }
                assert!(got == first, "{seq} on {isa} in pieces of {cut}: other bits");
            }
        }
    }
}

/// Every weight is −1 or +1, about as many of each although the latent ones have a mean: they are centred.
#[test]
fn weights_have_no_zero_and_are_centred() {
    let model = load_folder("binary", "auto", 1 << 16).expect("a valid model");
    let mut matrices = 0;
    for tensor in &model.tensors {
        let Some([minus, zero, plus]) = tensor.trits else { continue };
        assert_eq!(zero, 0, "{}", tensor.name);
        assert!(minus.abs_diff(plus) < (minus + plus) / 8, "{}: {minus} and {plus}", tensor.name);
        matrices += 1;
    }
    assert_eq!(matrices, 3 * 7);
}

#[test]
fn groups_are_refused_by_name() {
    let mut options = LoadOptions::default();
    options.set.set("weight_groups", "4");
    let error = load_folder_with("binary", options, 1 << 16).err().expect("an unknown key");
    assert!(error.detail.contains("'weight_groups'"), "{error}");
}
