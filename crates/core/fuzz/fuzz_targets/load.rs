//! A mutated tiny GGUF file, pushed in chunks of any size; if it loads, it must also run.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use ternlight_core::{
    container::{Probe, probe},
    load::{Head, LoadOptions, Loader},
    model::{Decoder, DecoderOptions, Model, Want},
    pool::Serial,
};

/// Larger models are not run: the time of a matrix is not what is looked for here.
const MOST_WEIGHTS: u64 = 1 << 20;

fuzz_target!(|data: &[u8]| {
    let [choices, seed, file @ ..] = data else { return };
    if let Ok(Probe::Ready(index)) = probe(file) {
        let weights = index.tensors.iter().map(|t| t.shape.iter().product::<u64>()).max();
        if weights.unwrap_or(0) > MOST_WEIGHTS {
            return;
        }
    }
    let head = if choices & 1 == 0 { Head::Auto } else { Head::Int8 };
    let len = (choices & 2 == 0).then_some(file.len() as u64);
    let whole = load(file, head, len, |_| usize::MAX);
    let mut state = u32::from(*seed);
    let cut = load(file, head, len, |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize % [4, 64, 5000][usize::from(choices >> 2) % 3] + 1
    });
    match (whole, cut) {
        (Ok(whole), Ok(cut)) => assert_eq!(run(whole), run(cut)),
        (Err(whole), Err(cut)) => assert_eq!(whole.kind, cut.kind, "{whole} / {cut}"),
        (whole, cut) => panic!("whole: {:?}, cut: {:?}", whole.err(), cut.err()),
    }
});

fn load(
    file: &[u8],
    head: Head,
    len: Option<u64>,
    mut chunk: impl FnMut(usize) -> usize,
) -> ternlight_core::Result<Model> {
    let mut loader = Loader::new(LoadOptions { head, ..LoadOptions::default() });
    loader.begin_file("model.gguf", len)?;
    let mut at = 0;
    while at < file.len() {
        let end = at.saturating_add(chunk(at)).min(file.len());
        loader.push(&file[at..end])?;
        at = end;
    }
    loader.end_file()?;
    loader.finish()
}

/// The logits of three tokens, as bits.
fn run(model: Model) -> Option<Vec<u32>> {
    let vocab = model.spec.vocab as u32;
    let options = DecoderOptions { context: 4, block: 2, ..DecoderOptions::default() };
    let mut decoder = Decoder::new(Arc::new(model), options, Arc::new(Serial)).ok()?;
    let logits = decoder.forward(&[0, 1 % vocab, vocab - 1], Want::All).ok()?;
    Some(logits.iter().map(|x| if x.is_nan() { u32::MAX } else { x.to_bits() }).collect())
}
