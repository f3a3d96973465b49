//! TorchScale's decoders where the oracles of `oracle2` do not reach: relative bias, a norm on the embedding, a plain
//! gate, sequences of many pages and chunks. `data/torchscale/README.md` says where the numbers come from.

use std::sync::Arc;

use safetensors::SafeTensors;
use ternlight_core::{
    cache::KvType,
    kernel,
    load::LoadOptions,
    model::{Decoder, DecoderOptions, Want},
    pool::Serial,
    simd::Isa,
};
use ternlight_engine::Threads;
use ternlight_tests::{argmax, bytes, difference, floats, load_folder_with, tokens};

/// Tokens, and the logits of the last of them.
fn reference(path: &str) -> (Vec<u32>, Vec<f32>) {
    let reference = bytes(&format!("torchscale/{path}"));
    let reference = SafeTensors::deserialize(&reference).expect("a safetensors file");
    (tokens(&reference, "tokens"), floats(&reference, "logits"))
}

fn decoder(folder: &str, isa: &str, kv: KvType, block: usize, context: usize) -> Decoder {
    let options = LoadOptions { kernel: isa.into(), exact_inputs: true, ..LoadOptions::default() };
    let model = load_folder_with(folder, options, 1 << 16).expect("a valid model");
    let options = DecoderOptions { kv, block, context };
    Decoder::new(Arc::new(model), options, Arc::new(Serial)).expect("memory for a tiny model")
}

/// All logits, computed in pieces.
fn logits(decoder: &mut Decoder, ids: &[u32], piece: usize) -> Vec<f32> {
    ids.chunks(piece).flat_map(|ids| decoder.forward(ids, Want::All).expect("logits").to_vec()).collect()
}

/// Against a reference, on every instruction set; the same bits on all of them, and however the prompt is cut.
fn check(folder: &str, file: &str, pieces: &[usize]) {
    let (ids, want) = reference(file);
    let mut scalar: Option<Vec<f32>> = None;
    for isa in kernel::isas().map(Isa::name) {
        for &piece in pieces {
            let mut decoder = decoder(folder, isa, KvType::F32, 64, ids.len());
            let got = logits(&mut decoder, &ids, piece);
            let first = scalar.get_or_insert_with(|| got.clone());
            assert!(got == *first, "{folder} on {isa} in pieces of {piece}: other bits");
        }
        let got = scalar.as_ref().expect("logits");
        let (median, max) = difference(&got[got.len() - want.len()..], &want);
        println!("{file} on {isa}: median {median:.1e}, max {max:.1e}");
        assert!(median <= 1e-5 && max <= 1e-4, "{file}: median |Δ| {median:e}, max {max:e}");
    }
}

/// Distances beyond a page of the cache, and beyond the last bucket; ReLU.
#[test]
fn relative_bias() {
    check("torchscale/relative_bias", "relative_bias/reference.safetensors", &[300, 1, 37]);
}

/// `layernorm_embedding` on learned positions and a scaled embedding, which is the head too; swish.
#[test]
fn embedding_norm() {
    check("torchscale/embedding_norm", "embedding_norm/reference.safetensors", &[24, 1, 5]);
}

/// `use_xmoe` false: a linear gate, and experts in every layer.
#[test]
fn plain_gate() {
    check("torchscale/plain_gate", "plain_gate/reference.safetensors", &[24, 1, 5]);
}

/// More than three chunks, cut on and beside their borders.
#[test]
fn retnet_over_many_chunks() {
    check("oracle2/retnet", "retnet_long.safetensors", &[200, 1, 7, 64, 65, 128]);
}

/// xPos far beyond a page, in caches of every type: factors of keys that grow with the position would not fit.
#[test]
fn xpos_over_many_pages() {
    check("oracle2/torchscale_xpos", "torchscale_xpos_long.safetensors", &[1500, 100]);
    let (ids, want) = reference("torchscale_xpos_long.safetensors");
    for (kv, most) in [(KvType::F16, 0.005), (KvType::I8, 0.1)] {
        let mut decoder = decoder("oracle2/torchscale_xpos", "auto", kv, 64, 1500);
        let got = logits(&mut decoder, &ids, 1500);
        let (median, max) = difference(&got[got.len() - want.len()..], &want);
        println!("{}: median {median:.1e}, max {max:.1e}", kv.name());
        assert!(max <= most, "{}: median |Δ| {median:e}, max {max:e}", kv.name());
    }
}

/// The error of a cache type does not grow with the position. (Factors from the text's beginning would reach 5e4.)
#[test]
fn xpos_keeps_its_precision() {
    const N: usize = 4500;
    const SOME: usize = 300;
    let ids: Vec<u32> = (0..N as u32).map(|i| i.wrapping_mul(2_654_435_761) >> 24).collect();
    let run = |kv| {
        let mut decoder = decoder("oracle2/torchscale_xpos", "auto", kv, 64, N);
        let near = logits(&mut decoder, &ids[..SOME], SOME);
        decoder.forward(&ids[SOME..N - SOME], Want::Nothing).expect("memory");
        (near, logits(&mut decoder, &ids[N - SOME..], SOME))
    };
    let want = run(KvType::F32);
    for kv in [KvType::F16, KvType::I8] {
        let got = run(kv);
        assert!(got.0.iter().chain(&got.1).all(|x| x.is_finite()));
        let (near, far) = (difference(&got.0, &want.0).0, difference(&got.1, &want.1).0);
        println!("{}: median error {near:.1e} near the beginning, {far:.1e} at the end", kv.name());
        assert!(far <= 2.0 * near, "{}: {near:e} became {far:e}", kv.name());
    }
}

/// A rewound state is the state: wherever the decoder says it got back to.
#[test]
fn a_retnet_goes_back_to_where_it_says() {
    const N: usize = 700;
    let ids: Vec<u32> = (0..N as u32).map(|i| i.wrapping_mul(2_654_435_761) >> 24).collect();
    let mut decoder = decoder("oracle2/retnet", "auto", KvType::F16, 50, N);
    let want = logits(&mut decoder, &ids, N);
    let vocab = want.len() / N;
    // Another text leaves no trace, at whatever distance.
    let other: Vec<u32> = ids.iter().map(|id| (id + 1) % 256).collect();
    for to in [N - 1, N - 60, N - 61, 600, 575, 512, 449, 300, 64, 63, 1, 0] {
        let at = decoder.rewind(to);
        assert!(at <= to && at == decoder.position(), "{to}: {at}");
        // Copies of the state lie the further apart the older they are.
        assert!(to - at <= (N - to) + 128, "{to}: {at}");
        logits(&mut decoder, &other[at..(at + 150).min(N)], N);
        let back = decoder.rewind(at);
        assert!(back <= at);
        let got = logits(&mut decoder, &ids[back..], 90);
        assert!(got == want[back * vocab..], "{to}: other bits after {back}");
    }
}

/// The state is allocated once and does not grow; threads share its heads.
#[test]
fn a_retnet_takes_constant_memory() {
    let mut sizes = Vec::new();
    for n in [1, 65, 900] {
        let mut decoder = decoder("oracle2/retnet", "auto", KvType::F16, 64, 1000);
        let ids: Vec<u32> = (0..n).map(|i| i * 7 % 256).collect();
        decoder.forward(&ids, Want::Nothing).expect("memory");
        sizes.push((decoder.cache_bytes(), decoder.state_bytes()));
    }
    assert!(sizes.iter().all(|&size| size == sizes[0] && size.0 > size.1 && size.1 > 0), "{sizes:?}");

    let model = load_folder_with("oracle2/retnet", LoadOptions::default(), 1 << 16).expect("a valid model");
    let (model, ids) = (Arc::new(model), (0..200).collect::<Vec<u32>>());
    let mut runs = [1, 3].map(|threads| {
        let pool = Arc::new(Threads::new(threads));
        let mut decoder = Decoder::new(Arc::clone(&model), DecoderOptions::default(), pool).expect("memory");
        logits(&mut decoder, &ids, 77)
    });
    let [one, three] = &mut runs;
    assert!(one == three && argmax(&one[..256]) < 256);
}
