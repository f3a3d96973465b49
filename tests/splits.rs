//! Every twin of a published model, split in parts as `llama-gguf-split` and Hugging Face's shards do it, is the same
//! model bit for bit.

use ternlight_core::{
    ErrorKind, Result,
    container::{Container, Index, Meta, TensorInfo, Value, write},
    load::{LoadOptions, Loader},
    model::{Model, Want},
};
use ternlight_tests::{bytes, decoder_with_context, gguf::probe, load_folder, push};

/// A file of these tensors of `whole`.
fn part(whole: &[u8], container: Container, meta: &Meta, tensors: &[&TensorInfo]) -> Vec<u8> {
    let specs = Vec::from_iter(tensors.iter().map(|t| write::TensorSpec {
        name: t.name.clone(),
        shape: t.shape.clone(),
        encoding: t.encoding,
    }));
    let header = match container {
        Container::Gguf => write::gguf_header(meta, &specs),
        Container::Safetensors => write::safetensors_header(meta, &specs),
    };
    let header = header.expect("a valid header");
    let mut out = header.bytes.clone();
    for (place, tensor) in header.tensors.iter().zip(tensors) {
        out.extend(&whole[tensor.offset as usize..(tensor.offset + tensor.bytes) as usize]);
        out.resize(out.len() + header.padding(place), 0);
    }
    out
}

/// The hidden states and, where there is a head, the logits of a few tokens.
fn outputs(model: Model) -> Vec<u32> {
    let vocab = model.spec.vocab as u32;
    let ids = Vec::from_iter((0..9).map(|i| i * 37 % vocab));
    let mut decoder = decoder_with_context(model, 4, 64);
    let logits = decoder.forward(&ids, Want::All).expect("logits");
    logits.iter().map(|x| x.to_bits()).collect()
}

/// The parts of a GGUF file; the first has all metadata and, where told, no tensor.
fn gguf_parts(file: &[u8], count: usize, empty_first: bool) -> Vec<Vec<u8>> {
    let index = probe(file);
    let tensors = Vec::from_iter(&index.tensors);
    let filled = count - usize::from(empty_first);
    let mut runs = Vec::from_iter(tensors.chunks(tensors.len().div_ceil(filled)));
    if empty_first {
        runs.insert(0, &[]);
    }
    let make = |(no, run): (usize, &&[&TensorInfo])| {
        let mut meta = if no == 0 { index.meta.clone() } else { Meta::default() };
        let all = [("split.no", no), ("split.count", count), ("split.tensors.count", tensors.len())];
        meta.0.extend(all.map(|(key, n)| (key.to_string(), Value::Int(n as i64))));
        part(file, Container::Gguf, &meta, run)
    };
    runs.iter().enumerate().map(make).collect()
}

/// `ahead`: all headers are read first, as `Loader::announce` asks for.
fn load_parts(parts: &[Vec<u8>], ahead: bool) -> Result<Model> {
    let mut loader = Loader::new(LoadOptions::default());
    if ahead {
        parts.iter().for_each(|part| loader.announce(named(probe(part))));
    }
    for (i, part) in parts.iter().enumerate() {
        push(&mut loader, &format!("model-{:05}-of-{:05}.gguf", i + 1, parts.len()), part, 1 << 15)?;
    }
    loader.finish()
}

fn named(index: Index) -> Vec<(String, Option<TensorInfo>)> {
    index.tensors.into_iter().map(|t| (t.name.clone(), Some(t))).collect()
}

#[test]
fn published_files_in_parts_are_the_same_models() {
    for folder in [
        "maple",
        "minicpm",
        "hunyuan_stq1",
        "hadamard_pq2",
        "hadamard_ptq1",
        "embed_qwen3_i2s",
        "embed_gemma3_i2s",
    ] {
        let file = bytes(&format!("published/{folder}/model.gguf"));
        let want = outputs(load_parts(std::slice::from_ref(&file), false).expect("the whole file"));
        for (count, empty_first) in [(2, false), (5, false), (3, true)] {
            let parts = gguf_parts(&file, count, empty_first);
            let model = load_parts(&parts, true).unwrap_or_else(|e| panic!("{folder} in {count}: {e}"));
            assert!(outputs(model) == want, "{folder} in {count} parts: other bits");
            // Without notice: the same, or an error that asks for notice.
            match load_parts(&parts, false) {
                Ok(model) => assert!(outputs(model) == want, "{folder} in {count} parts: other bits"),
                Err(error) => assert!(error.detail.contains("must be announced first"), "{folder}: {error}"),
            }
        }
        let parts = gguf_parts(&file, 3, false);
        let error = load_parts(&parts[..2], true).err().expect("a part is missing");
        assert_eq!(error.kind, ErrorKind::Truncated, "{folder}: {error}");
    }
}

/// Shards hold tensors in no order that a loader could rely on; the index names all of them first.
#[test]
fn folders_in_shards_are_the_same_models() {
    for folder in [
        "oracle/tiny_a_master",
        "oracle/tiny_a_packed",
        "oracle/tiny_c_llama_bitlinear",
        "oracle/tiny_d_embed_qwen3",
        "oracle2/embed_gemma3",
        "oracle2/gemma3_text",
        "oracle2/falcon3_llama",
    ] {
        let file = bytes(&format!("{folder}/model.safetensors"));
        let config = String::from_utf8(bytes(&format!("{folder}/config.json"))).expect("UTF-8");
        let index = probe(&file);
        let want = outputs(load_folder(folder, "auto", 1 << 15).expect("the whole folder"));
        for shards in [2, 3] {
            let mut loader = Loader::new(LoadOptions::default());
            loader.config(&config).expect("a valid configuration");
            loader.announce(index.tensors.iter().map(|t| (t.name.clone(), None)));
            for shard in 0..shards {
                let of_shard = |(i, t)| (i % shards == shard).then_some(t);
                let tensors = Vec::from_iter(index.tensors.iter().enumerate().filter_map(of_shard));
                let bytes = part(&file, Container::Safetensors, &Meta::default(), &tensors);
                push(&mut loader, &format!("shard {shard}"), &bytes, 1 << 15)
                    .unwrap_or_else(|e| panic!("{folder} in {shards}: {e}"));
            }
            let model = loader.finish().unwrap_or_else(|e| panic!("{folder} in {shards}: {e}"));
            assert!(outputs(model) == want, "{folder} in {shards} shards: other bits");
        }
    }
}
