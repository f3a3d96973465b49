//! The packed oracle model, rewritten as GGUF with the ternary encodings, gives the same logits bit for bit.
//!
//! So the GGUF path (I2_S with its trailing scale, TQ1_0, TQ2_0, splits, short files) is held to the same oracle
//! as the safetensors path, which `oracle.rs` compares with HF transformers.

use std::sync::Arc;

use ternlight_core::{
    ErrorKind, Result,
    container::{self, Index, Meta, Probe, Value, write},
    format::{self, Encoding, FormRow},
    load::{LoadOptions, Loader},
    model::{Decoder, DecoderOptions, Model, Want},
    pool::Serial,
    simd::Isa,
};
use ternlight_tests::{bytes, decoder, load_folder, push};

const FOLDER: &str = "oracle/tiny_a_packed";

/// HF's name → GGUF's.
fn gguf_name(name: &str) -> String {
    let name = match name.strip_prefix("model.layers.").and_then(|rest| rest.split_once('.')) {
        Some((layer, rest)) => format!("blk.{layer}.{rest}"),
        None => name.to_string(),
    };
    [
        ("model.embed_tokens", "token_embd"),
        ("model.norm", "output_norm"),
        ("input_layernorm", "attn_norm"),
        ("post_attention_layernorm", "ffn_norm"),
        ("self_attn.attn_sub_norm", "attn_sub_norm"),
        ("mlp.ffn_sub_norm", "ffn_sub_norm"),
        ("self_attn.q_proj", "attn_q"),
        ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"),
        ("self_attn.o_proj", "attn_output"),
        ("mlp.gate_proj", "ffn_gate"),
        ("mlp.up_proj", "ffn_up"),
        ("mlp.down_proj", "ffn_down"),
    ]
    .iter()
    .fold(name, |name, (hf, gguf)| name.replace(hf, gguf))
}

/// A tensor to write: its place in the file's list, and its bytes.
type Part = (write::TensorSpec, Vec<u8>);

struct Source {
    bytes: Vec<u8>,
    index: Index,
}

impl Source {
    fn open() -> Self {
        let bytes = bytes(&format!("{FOLDER}/model.safetensors"));
        match container::probe(&bytes) {
            Ok(Probe::Ready(index)) => Self { bytes, index },
            other => panic!("{other:?}"),
        }
    }

    fn part(&self, name: &str) -> &[u8] {
        let info = self.index.tensors.iter().find(|t| t.name == name).expect("a tensor of the oracle");
        &self.bytes[info.offset as usize..(info.offset + info.bytes) as usize]
    }

    /// Everything but the scales, which GGUF keeps in the tensors.
    fn tensors(&self) -> Vec<Part> {
        let mut out = Vec::new();
        for info in self.index.tensors.iter().filter(|t| !t.name.ends_with("weight_scale")) {
            let (mut shape, mut encoding) = (info.shape.clone(), info.encoding);
            let mut data = self.part(&info.name).to_vec();
            let name = gguf_name(&info.name);
            if encoding == Encoding::U8 {
                let scale = self.part(&format!("{}_scale", info.name));
                let scale = f32::from_bits(u32::from(u16::from_le_bytes([scale[0], scale[1]])) << 16);
                encoding = match name.as_str() {
                    "blk.0.ffn_down.weight" => Encoding::TQ2_0,
                    "blk.1.ffn_down.weight" => Encoding::TQ1_0,
                    _ => Encoding::I2_S,
                };
                data = repack(&data, shape[0] as usize, shape[1] as usize, encoding, scale);
                shape[0] *= 4;
            }
            out.push((write::TensorSpec { name, shape, encoding }, data));
        }
        out
    }
}

/// HF packed → `encoding`.
fn repack(packed: &[u8], stored: usize, cols: usize, encoding: Encoding, scale: f32) -> Vec<u8> {
    let (mut out, mut row) = (Vec::new(), FormRow::default());
    for r in 0..4 * stored {
        let bytes = &packed[r % stored * cols..];
        format::unpack_hf(Isa::SCALAR, bytes, cols, r / stored, &mut row).expect("ternary codes");
        format::pack_row(encoding, &row.codes, scale, &mut out).expect("a whole number of blocks");
    }
    if encoding == Encoding::I2_S {
        format::pack_i2_s_tail(scale, &mut out);
    }
    out
}

fn meta() -> Meta {
    let config = String::from_utf8(bytes(&format!("{FOLDER}/config.json"))).expect("UTF-8");
    let config = container::config(&config).expect("a valid config");
    let mut meta = Meta::default();
    meta.0.insert("general.architecture".into(), Value::Str("bitnet-b1.58".into()));
    for (gguf, hf) in [
        ("embedding_length", "hidden_size"),
        ("block_count", "num_hidden_layers"),
        ("attention.head_count", "num_attention_heads"),
        ("attention.head_count_kv", "num_key_value_heads"),
        ("feed_forward_length", "intermediate_size"),
        ("context_length", "max_position_embeddings"),
        ("attention.layer_norm_rms_epsilon", "rms_norm_eps"),
    ] {
        meta.0.insert(format!("bitnet-b1.58.{gguf}"), config.get(hf).expect("a key of the oracle").clone());
    }
    meta.0.insert("bitnet-b1.58.rope.freq_base".into(), Value::Float(500_000.0));
    meta
}

fn file(meta: &Meta, parts: &[Part]) -> Vec<u8> {
    let specs = Vec::from_iter(parts.iter().map(|(spec, _)| spec.clone()));
    let header = write::gguf_header(meta, &specs).expect("a valid header");
    let mut out = header.bytes.clone();
    for (info, (_, data)) in header.tensors.iter().zip(parts) {
        assert_eq!((info.offset, info.bytes), (out.len() as u64, data.len() as u64), "{}", info.name);
        out.extend(data);
        out.resize(out.len() + header.padding(info), 0);
    }
    assert_eq!(out.len() as u64, header.file_len());
    out
}

fn load(file: &[u8], chunk: usize) -> Result<Model> {
    let mut loader = Loader::new(LoadOptions::default());
    push(&mut loader, "model.gguf", file, chunk)?;
    loader.finish()
}

fn logits(model: Model) -> Vec<u32> {
    let ids = Vec::from_iter((0..12).map(|i| i * 37 % 512));
    let logits = decoder(model, 8).forward(&ids, Want::All).expect("logits").to_vec();
    logits.into_iter().map(f32::to_bits).collect()
}

fn want() -> Vec<u32> {
    logits(load_folder(FOLDER, "auto", 1 << 20).expect("the oracle loads"))
}

#[test]
fn ternary_gguf_gives_the_logits_of_the_packed_checkpoint() {
    let file = file(&meta(), &Source::open().tensors());
    let want = want();
    for chunk in [1, 1000, file.len()] {
        assert_eq!(logits(load(&file, chunk).expect("a valid file")), want, "chunks of {chunk}");
    }
    // The length may be unknown.
    let mut loader = Loader::new(LoadOptions::default());
    loader.begin_file("model.gguf", None).expect("no file is open");
    file.chunks(777).for_each(|chunk| loader.push(chunk).expect("a valid chunk"));
    loader.end_file().expect("a whole file");
    assert_eq!(logits(loader.finish().expect("a whole model")), want);
}

#[test]
fn split_gguf_gives_the_same() {
    let parts = Source::open().tensors();
    let files =
        Vec::from_iter([(0, &parts[..9]), (1, &parts[9..10]), (2, &parts[10..])].map(|(no, parts)| {
            let mut meta = if no == 0 { meta() } else { Meta::default() };
            for (key, n) in [("split.no", no), ("split.count", 3)] {
                meta.0.insert(key.into(), Value::Int(n));
            }
            file(&meta, parts)
        }));
    let load = |order: &[usize]| {
        let mut loader = Loader::new(LoadOptions::default());
        for i in order {
            push(&mut loader, "part", &files[*i], 5000)?;
        }
        loader.finish()
    };
    assert_eq!(logits(load(&[0, 1, 2]).expect("all parts")), want());
    assert_eq!(load(&[0, 1]).err().expect("a part is missing").kind, ErrorKind::Truncated);
    assert_eq!(load(&[1, 0, 2]).err().expect("a wrong order").kind, ErrorKind::BadHeader);
}

#[test]
fn a_cut_gguf_is_truncated_wherever_it_is_cut() {
    let file = file(&meta(), &Source::open().tensors());
    let Ok(Probe::Ready(index)) = container::probe(&file) else { panic!("a valid file") };
    for cut in [0, 1, 4, 23, 24, 500, index.data_start as usize, file.len() / 2, index.file_len as usize - 1]
    {
        let error = load(&file[..cut], 4096).err().expect("a cut file");
        assert_eq!(error.kind, ErrorKind::Truncated, "cut at {cut}: {error}");
    }
    // Padding after the last tensor may be missing.
    load(&file[..index.file_len as usize], 4096).expect("a whole file");
}

#[test]
fn scales_that_are_no_numbers_are_refused_by_name() {
    let mut parts = Source::open().tensors();
    for encoding in [Encoding::I2_S, Encoding::TQ2_0] {
        let (spec, data) =
            parts.iter_mut().find(|(spec, _)| spec.encoding == encoding).expect("such a tensor");
        let (name, at) = (spec.name.clone(), data.len() - if encoding == Encoding::I2_S { 32 } else { 2 });
        let good = data.clone();
        if encoding == Encoding::I2_S {
            data[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
        } else {
            data[at..].copy_from_slice(&[0, 0x7c]);
        }
        let error = load(&file(&meta(), &parts), 4096).err().expect("a bad scale");
        assert_eq!(error.kind, ErrorKind::BadData);
        assert!(error.detail.contains(&name), "{error}");
        parts.iter_mut().find(|(spec, _)| spec.name == name).expect("the same").1 = good;
    }
}

/// Numbers that look random and are always the same.
fn numbers() -> impl FnMut(usize) -> usize {
    let mut state = 158u32;
    move |below| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize % below
    }
}

/// One to three bytes of `part` replaced by others, mostly by such as lengths and counts have.
fn mutate(bytes: &mut [u8], next: &mut impl FnMut(usize) -> usize) {
    for _ in 0..=next(3) {
        let at = next(bytes.len());
        bytes[at] = match next(4) {
            0 => [0, 1, 2, 4, 8, 9, 0x7f, 0x80, 0xff][next(9)],
            1 => bytes[at].wrapping_add(1),
            2 => bytes[at] ^ (1 << next(8)),
            _ => next(256) as u8,
        };
    }
}

/// What loads must run; what does not must say why. The fuzz targets do the same for longer.
fn check(result: Result<Model>) -> bool {
    match result {
        Ok(model) => {
            let vocab = model.spec.vocab as u32;
            let ids = [0, vocab - 1];
            let options = DecoderOptions { context: 4, block: 2, ..DecoderOptions::default() };
            let decoder = Decoder::new(Arc::new(model), options, Arc::new(Serial));
            let _ = decoder.and_then(|mut decoder| decoder.forward(&ids, Want::Last).map(<[f32]>::len));
            true
        }
        Err(error) => {
            assert!(!error.detail.is_empty() && error.detail.len() < 4096, "{error}");
            false
        }
    }
}

#[test]
fn a_damaged_gguf_never_panics() {
    let good = file(&meta(), &Source::open().tensors());
    let Ok(Probe::Ready(index)) = container::probe(&good) else { panic!("a valid file") };
    let mut next = numbers();
    let mut loaded = 0;
    for _ in 0..1500 {
        let mut bad = good.clone();
        mutate(&mut bad[..index.data_start as usize], &mut next);
        loaded += usize::from(check(load(&bad, 1 + next(100_000))));
    }
    // Names of keys that nobody reads, epsilons: some damage is harmless. Not all of it is.
    assert!((1..1400).contains(&loaded), "{loaded} of 1500 load");
}

#[test]
fn a_damaged_checkpoint_never_panics() {
    let config = bytes(&format!("{FOLDER}/config.json"));
    let source = Source::open();
    let mut next = numbers();
    let mut loaded = 0;
    for _ in 0..1500 {
        let (mut config, mut file) = (config.clone(), source.bytes.clone());
        if next(2) == 0 {
            mutate(&mut config, &mut next);
        } else {
            mutate(&mut file[..source.index.data_start as usize], &mut next);
        }
        let Ok(config) = String::from_utf8(config) else { continue };
        let mut loader = Loader::new(LoadOptions::default());
        let result =
            loader.config(&config).and_then(|()| push(&mut loader, "model.safetensors", &file, 50_000));
        loaded += usize::from(check(result.and_then(|()| loader.finish())));
    }
    assert!((1..1400).contains(&loaded), "{loaded} of 1500 load");
}
