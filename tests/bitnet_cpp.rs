//! What bitnet.cpp writes beside I2_S of 2B4T: lookup-table files, and the converted models of 1bitLLM.
//!
//! The writers of TL1 and TL2 follow `utils/convert-hf-to-gguf-bitnet.py` of microsoft/BitNet at 16da220, whose tile
//! sizes come from a file of the build (`include/kernel_config.ini`).

use std::sync::Arc;

use ternlight_core::{
    ErrorKind, Result,
    cache::KvType,
    container::{Meta, Value, write},
    format::{self, Encoding},
    kernel,
    load::{LoadOptions, Loader},
    model::{Decoder, DecoderOptions, Model, Spec, Want, spec::Activation},
    pool::Serial,
    simd::Isa,
};
use ternlight_tests::{decoder_with_context, difference, gguf::Gguf, push};

/// A section of `kernel_config.ini`: rows of a tile, columns of a step, rows of an inner tile.
#[derive(Clone, Copy)]
struct Tiles {
    bm: usize,
    bk: usize,
    inner: usize,
}

/// Numbers that look random and are always the same.
fn numbers(mut state: u32) -> impl FnMut() -> f32 {
    move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / 8_388_608.0 - 1.0
    }
}

/// Rows of −1, 0 and +1.
fn ternary(rows: usize, cols: usize) -> Vec<Vec<i32>> {
    let mut next = numbers(158);
    (0..rows).map(|_| (0..cols).map(|_| (next() * 1.49).round() as i32).collect()).collect()
}

/// TL1: two weights are an index of 0..9, two indices a byte; bytes of 16 rows lie together.
fn tl1(weights: &[Vec<i32>], Tiles { bm, bk, inner }: Tiles) -> Vec<u8> {
    let (rows, cols, step) = (weights.len(), weights[0].len(), 256 / inner);
    let mut out = Vec::new();
    for tile in (0..rows).step_by(bm) {
        for block in (0..cols).step_by(bk) {
            for group in (tile..tile + bm).step_by(inner) {
                for part in (block..block + bk).step_by(step) {
                    for row in (group..group + inner).step_by(16) {
                        for col in (part..part + step).step_by(4) {
                            out.extend(weights[row..row + 16].iter().map(|w| pairs(&w[col..col + 4])));
                        }
                    }
                }
            }
        }
    }
    out
}

/// Two pairs of weights in a byte.
fn pairs(w: &[i32]) -> u8 {
    ((3 * w[0] + w[1] + 4) << 4 | (3 * w[2] + w[3] + 4)) as u8
}

/// The rows of 32 as a byte each, in the order that AVX2 unpacks.
fn in_lanes(rows: &[Vec<i32>], byte: impl Fn(&[i32]) -> u8, out: &mut Vec<u8>) {
    for quarter in [0, 16, 8, 24] {
        out.extend(rows[quarter..quarter + 8].iter().map(|row| byte(row)));
    }
}

/// TL2: three weights are a magnitude of four bits and, after all magnitudes, a sign; what whole steps leave over
/// are pairs; then zeros, as if 256 columns were pairs.
fn tl2(weights: &[Vec<i32>], Tiles { bm, bk, inner }: Tiles) -> Vec<u8> {
    assert_eq!(inner, 32);
    let (rows, cols) = (weights.len(), weights[0].len());
    let threes = cols - cols % bk;
    let index = |w: &[i32]| 9 * w[0] + 3 * w[1] + w[2];
    let (mut out, mut signs, mut rest) = (Vec::new(), Vec::new(), Vec::new());
    for tile in (0..rows).step_by(bm) {
        let groups = || (tile..tile + bm).step_by(32).map(|group| &weights[group..group + 32]);
        for block in (0..threes).step_by(bk) {
            for group in groups() {
                for col in (block..block + bk).step_by(6) {
                    let byte = |w: &[i32]| {
                        index(&w[col..]).unsigned_abs() << 4 | index(&w[col + 3..]).unsigned_abs()
                    };
                    in_lanes(group, |w| byte(w) as u8, &mut out);
                }
                for col in (block..block + bk).step_by(24) {
                    for lane in 0..16 {
                        let bits = (0..16).map(|bit| {
                            let row = &group[lane + 16 * (bit % 2)];
                            u16::from(index(&row[col + 3 * (bit / 2)..]) < 0) << (15 - bit)
                        });
                        signs.extend(bits.sum::<u16>().to_le_bytes());
                    }
                }
            }
        }
        for group in groups() {
            for col in (threes..cols).step_by(4) {
                in_lanes(group, |w| pairs(&w[col..col + 4]), &mut rest);
            }
        }
    }
    out.extend(signs);
    out.extend(rest);
    out.resize((cols - 256) * rows / 3 * 5 / 8 + 256 * rows / 2 * 4 / 8, 0);
    out
}

/// A file of two matrices of one raw type and the scale that follows each.
fn file(id: u32, matrix: &[u8], rows: usize, cols: usize) -> Vec<u8> {
    let text = |out: &mut Vec<u8>, s: &str| {
        out.extend((s.len() as u64).to_le_bytes());
        out.extend(s.as_bytes());
    };
    let names = ["blk.0.attn_q.weight", "blk.0.attn_k.weight"];
    let mut out = b"GGUF\x03\0\0\0".to_vec();
    out.extend(4u64.to_le_bytes());
    out.extend(1u64.to_le_bytes());
    text(&mut out, "general.architecture");
    out.extend(8u32.to_le_bytes());
    text(&mut out, "bitnet-b1.58");
    let mut data = Vec::new();
    for name in names {
        text(&mut out, name);
        out.extend(2u32.to_le_bytes());
        [cols, rows].iter().for_each(|n| out.extend((*n as u64).to_le_bytes()));
        out.extend(id.to_le_bytes());
        out.extend((data.len() as u64).to_le_bytes());
        data.extend(matrix);
        data.resize(data.len().next_multiple_of(32), 0);
        text(&mut out, &format!("{name}_scale"));
        out.extend(1u32.to_le_bytes());
        out.extend(1u64.to_le_bytes());
        out.extend(0u32.to_le_bytes());
        out.extend((data.len() as u64).to_le_bytes());
        data.extend(0.5f32.to_le_bytes());
        data.resize(data.len().next_multiple_of(32), 0);
    }
    out.resize(out.len().next_multiple_of(32), 0);
    out.extend(data);
    out
}

fn load(file: &[u8]) -> Result<Model> {
    let mut loader = Loader::new(LoadOptions::default());
    push(&mut loader, "model.gguf", file, 1 << 16)?;
    loader.finish()
}

/// Why such files are refused: two builds order one matrix differently, and nothing else in the file changes.
#[test]
fn lookup_table_files_do_not_tell_their_order_and_are_refused() {
    let weights = ternary(128, 416);
    let builds = [Tiles { bm: 128, bk: 96, inner: 32 }, Tiles { bm: 64, bk: 96, inner: 32 }];
    let tl2 = builds.map(|tiles| tl2(&weights, tiles));
    let builds = [Tiles { bm: 128, bk: 32, inner: 32 }, Tiles { bm: 64, bk: 32, inner: 64 }];
    let tl1 = builds.map(|tiles| tl1(&weights, tiles));
    for (id, name, [a, b]) in [(38, "TL1", tl1), (39, "TL2", tl2)] {
        assert!(a.len() == b.len() && a != b, "{name}: two orders");
        let sorted = |bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            bytes.sort_unstable();
            bytes
        };
        assert!(name == "TL1" || sorted(&a) == sorted(&b), "{name}: of the same bytes");
        for matrix in [a, b] {
            let error = load(&file(id, &matrix, 128, 416)).err().expect("an order that nothing tells");
            assert_eq!(error.kind, ErrorKind::UnsupportedFormat, "{error}");
            for part in ["blk.0.attn_q.weight", name, "make an I2_S file", "Hugging Face"] {
                assert!(error.detail.contains(part), "{part}: {error}");
            }
        }
    }
}

/// A matrix to be stored, with its values.
type Part = (write::TensorSpec, Vec<u8>);

fn part(name: &str, shape: &[usize], encoding: Encoding, data: Vec<u8>) -> Part {
    let shape = shape.iter().map(|&n| n as u64).collect();
    (write::TensorSpec { name: name.into(), shape, encoding }, data)
}

const VOCAB: usize = 32_002;

/// The keys of 1bitLLM's 3B as bitnet.cpp converts it: 32 heads, no length of heads, no activation.
fn keys_of_1bitllm() -> Meta {
    let own = [
        ("vocab_size", VOCAB as i64),
        ("context_length", 2048),
        ("embedding_length", 3200),
        ("block_count", 1),
        ("feed_forward_length", 128),
        ("rope.dimension_count", 100),
        ("attention.head_count", 32),
        ("attention.head_count_kv", 32),
    ];
    let mut meta = Meta::default();
    meta.0.insert("general.architecture".into(), Value::Str("bitnet-b1.58".into()));
    meta.0.extend(own.map(|(key, value)| (format!("bitnet-b1.58.{key}"), Value::Int(value))));
    for (key, value) in [("attention.layer_norm_rms_epsilon", 1e-5), ("rope.freq_base", 10_000.0)] {
        meta.0.insert(format!("bitnet-b1.58.{key}"), Value::Float(value));
    }
    meta
}

/// One block whose heads have the same size; the hidden size is small, and therefore the length is a key.
fn one_bit_llm() -> (Meta, Vec<Part>) {
    const HIDDEN: usize = 128;
    let mut meta = keys_of_1bitllm();
    for (key, value) in [("embedding_length", HIDDEN), ("attention.key_length", 100)] {
        meta.0.insert(format!("bitnet-b1.58.{key}"), Value::Int(value as i64));
    }
    let mut next = numbers(100);
    let mut parts = Vec::new();
    for (name, rows, cols) in [
        ("attn_q", 3200, HIDDEN),
        ("attn_k", 3200, HIDDEN),
        ("attn_v", 3200, HIDDEN),
        ("attn_output", HIDDEN, 3200),
        ("ffn_gate", 128, HIDDEN),
        ("ffn_up", 128, HIDDEN),
        ("ffn_down", HIDDEN, 128),
    ] {
        let mut data = Vec::new();
        for _ in 0..rows {
            let codes = Vec::from_iter((0..cols).map(|_| (next() * 1.49).round() as i8));
            format::pack_row(Encoding::I2_S, &codes, 1.0, &mut data).expect("whole blocks");
        }
        format::pack_i2_s_tail(0.02, &mut data);
        parts.push(part(&format!("blk.0.{name}.weight"), &[rows, cols], Encoding::I2_S, data));
    }
    for (name, len) in [
        ("blk.0.attn_norm", HIDDEN),
        ("blk.0.ffn_norm", HIDDEN),
        ("blk.0.attn_sub_norm", 3200),
        ("blk.0.ffn_sub_norm", 128),
        ("output_norm", HIDDEN),
    ] {
        let ones = [1f32.to_le_bytes(); 3200][..len].concat();
        parts.push(part(&format!("{name}.weight"), &[len], Encoding::F32, ones));
    }
    let mut embedding = Vec::new();
    format::pack_f16(&Vec::from_iter((0..VOCAB * HIDDEN).map(|_| next())), &mut embedding);
    parts.push(part("token_embd.weight", &[VOCAB, HIDDEN], Encoding::F16, embedding));
    (meta, parts)
}

/// The spec that a file of these keys and tensors has.
fn spec(meta: &Meta, parts: &[Part]) -> Result<Spec> {
    let specs = Vec::from_iter(parts.iter().map(|(spec, _)| spec.clone()));
    let mut loader = Loader::new(LoadOptions::default());
    loader.begin_file("model.gguf", None)?;
    loader.push(&write::gguf_header(meta, &specs)?.bytes)?;
    // The last of a header that came without what follows it.
    let _ = loader.end_file();
    Ok(loader.spec().expect("the header is whole").clone())
}

#[test]
fn converted_1bitllm_has_heads_of_100_and_silu() {
    let (meta, parts) = one_bit_llm();
    let file = Gguf { meta, tensors: parts }.bytes();
    let mut want: Vec<u32> = Vec::new();
    for isa in kernel::isas().map(Isa::name) {
        let mut loader = Loader::new(LoadOptions { kernel: isa.into(), ..LoadOptions::default() });
        push(&mut loader, "model.gguf", &file, 1 << 20).expect("a valid file");
        let model = loader.finish().expect("a whole model");
        let (mixer, ffn) = (&model.spec.blocks[0].mixer.body, model.spec.blocks[0].ffn.body.mlp());
        assert_eq!((mixer.heads(), ffn.activation), ((32, 32, 100), Activation::Silu));
        let mut decoder = decoder_with_context(model, 4, 16);
        let logits = decoder.forward(&[1, 5, 2, 7, 3], Want::Last).expect("logits");
        let got = Vec::from_iter(logits[..8].iter().map(|x| x.to_bits()));
        if want.is_empty() {
            assert!(logits[..8].iter().all(|x| x.is_finite() && *x != 0.0), "{:?}", &logits[..8]);
            want.clone_from(&got);
        }
        assert_eq!(got, want, "{isa}");
    }
}

/// Files of bitnet.cpp name neither the size of a head nor the activation: what is neither family's has to be told.
#[test]
fn an_activation_that_nothing_tells_is_asked_for() {
    let with = |more: &[(&str, Value)]| -> Result<Activation> {
        let mut meta = keys_of_1bitllm();
        for (key, value) in more {
            meta.0.insert(format!("bitnet-b1.58.{key}"), value.clone());
        }
        let spec = spec(&meta, &[])?;
        assert_eq!(spec.blocks[0].mixer.body.heads(), (32, 32, 100));
        Ok(spec.blocks[0].ffn.body.mlp().activation)
    };
    let theta = |x: f64| ("rope.freq_base", Value::Float(x));
    let act = |s: &str| ("hidden_act", Value::Str(s.into()));
    assert_eq!(with(&[]), Ok(Activation::Silu));
    assert_eq!(with(&[theta(500_000.0)]), Ok(Activation::Relu2));
    assert_eq!(with(&[theta(1e6), act("relu2")]), Ok(Activation::Relu2));
    assert_eq!(with(&[theta(1e6), act("silu")]), Ok(Activation::Silu));
    for (more, kind, name) in [
        (theta(1e6), ErrorKind::MissingKey, "bitnet-b1.58.hidden_act"),
        (("vocab_size", Value::Int(32_000)), ErrorKind::MissingKey, "bitnet-b1.58.hidden_act"),
        (act("gelu"), ErrorKind::UnsupportedArch, "gelu"),
    ] {
        let error = with(&[more]).expect_err(name);
        assert!(error.kind == kind && error.detail.contains(name), "{error}");
    }
}

/// A LLaMA block of two heads of 100 that share a key/value head, in f32; and its parts by name.
fn llama_of_100() -> (Meta, Vec<Part>, impl Fn(&str) -> Vec<f64>) {
    let mut meta = Meta::default();
    meta.0.insert("general.architecture".into(), Value::Str("llama".into()));
    for (key, value) in [
        ("context_length", 64),
        ("embedding_length", 200),
        ("block_count", 1),
        ("feed_forward_length", 64),
        ("attention.head_count", 2),
        ("attention.head_count_kv", 1),
    ] {
        meta.0.insert(format!("llama.{key}"), Value::Int(value));
    }
    meta.0.insert("llama.attention.layer_norm_rms_epsilon".into(), Value::Float(1e-5));
    let mut next = numbers(200);
    let shapes: [(&str, &[usize], f32); 12] = [
        ("token_embd", &[40, 200], 1.0),
        ("blk.0.attn_norm", &[200], 1.0),
        ("blk.0.attn_q", &[200, 200], 0.3),
        ("blk.0.attn_k", &[100, 200], 0.3),
        ("blk.0.attn_v", &[100, 200], 0.3),
        ("blk.0.attn_output", &[200, 200], 0.3),
        ("blk.0.ffn_norm", &[200], 1.0),
        ("blk.0.ffn_gate", &[64, 200], 0.3),
        ("blk.0.ffn_up", &[64, 200], 0.3),
        ("blk.0.ffn_down", &[200, 64], 0.3),
        ("output_norm", &[200], 1.0),
        ("output", &[40, 200], 0.3),
    ];
    let mut parts = Vec::new();
    for (name, shape, size) in shapes {
        let values = Vec::from_iter((0..shape.iter().product()).map(|_| next() * size));
        let data = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        parts.push(part(&format!("{name}.weight"), shape, Encoding::F32, data));
    }
    let copy = parts.clone();
    let values = move |name: &str| {
        let found = copy.iter().find(|(spec, _)| spec.name == format!("{name}.weight")).expect("a part");
        found.1.as_chunks::<4>().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect()
    };
    (meta, parts, values)
}

/// The textbook's forward pass of that model, in f64.
fn plain_forward(weights: impl Fn(&str) -> Vec<f64>, tokens: &[u32]) -> Vec<f32> {
    let times = |name: &str, x: &[f64]| -> Vec<f64> {
        weights(name).chunks(x.len()).map(|row| row.iter().zip(x).map(|(w, x)| w * x).sum()).collect()
    };
    let norm = |name: &str, x: &[f64]| -> Vec<f64> {
        let scale = (x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64 + 1e-5).sqrt();
        weights(name).iter().zip(x).map(|(g, x)| g * x / scale).collect()
    };
    let rotated = |mut x: Vec<f64>, position: usize| {
        for head in x.chunks_mut(100) {
            for (j, pair) in head.chunks_mut(2).enumerate() {
                let (sin, cos) = (position as f64 * 10_000f64.powf(-2.0 * j as f64 / 100.0)).sin_cos();
                (pair[0], pair[1]) = (pair[0] * cos - pair[1] * sin, pair[1] * cos + pair[0] * sin);
            }
        }
        x
    };
    let add = |x: &mut Vec<f64>, y: Vec<f64>| x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
    let (mut keys, mut values, mut logits): (Vec<Vec<f64>>, Vec<Vec<f64>>, _) = (vec![], vec![], vec![]);
    for (t, &token) in tokens.iter().enumerate() {
        let mut x = weights("token_embd")[200 * token as usize..][..200].to_vec();
        let h = norm("blk.0.attn_norm", &x);
        let q = rotated(times("blk.0.attn_q", &h), t);
        keys.push(rotated(times("blk.0.attn_k", &h), t));
        values.push(times("blk.0.attn_v", &h));
        let mut attended = vec![0.0; 200];
        for (q, out) in q.chunks(100).zip(attended.chunks_mut(100)) {
            let score = |k: &Vec<f64>| (q.iter().zip(k).map(|(q, k)| q * k).sum::<f64>() / 10.0).exp();
            let scores = Vec::from_iter(keys.iter().map(score));
            let total: f64 = scores.iter().sum();
            for (v, score) in values.iter().zip(&scores) {
                out.iter_mut().zip(v).for_each(|(out, v)| *out += score / total * v);
            }
        }
        add(&mut x, times("blk.0.attn_output", &attended));
        let h = norm("blk.0.ffn_norm", &x);
        let (gate, up) = (times("blk.0.ffn_gate", &h), times("blk.0.ffn_up", &h));
        let inner = Vec::from_iter(gate.iter().zip(up).map(|(g, u)| g / (1.0 + (-g).exp()) * u));
        add(&mut x, times("blk.0.ffn_down", &inner));
        logits.extend(times("output", &norm("output_norm", &x)).into_iter().map(|x| x as f32));
    }
    logits
}

/// A head that is no whole number of vectors, in every type of cache; f32 within the rounding of f32.
#[test]
fn heads_of_100_are_the_textbooks() {
    let (meta, parts, values) = llama_of_100();
    let file = Gguf { meta, tensors: parts }.bytes();
    let tokens = Vec::from_iter((0..24).map(|i| i * 7 % 40));
    let want = plain_forward(values, &tokens);
    let largest = want.iter().fold(0f32, |most, x| most.max(x.abs()));
    for (kv, tolerance) in [(KvType::F32, 1e-5), (KvType::F16, 2e-3), (KvType::I8, 5e-2)] {
        let mut scalar: Vec<f32> = Vec::new();
        for isa in kernel::isas().map(Isa::name) {
            let mut loader = Loader::new(LoadOptions { kernel: isa.into(), ..LoadOptions::default() });
            push(&mut loader, "model.gguf", &file, 1 << 16).expect("a valid file");
            let model = Arc::new(loader.finish().expect("a whole model"));
            let options = DecoderOptions { kv, block: 5, context: 0 };
            let mut decoder = Decoder::new(model, options, Arc::new(Serial)).expect("a decoder");
            let got = decoder.forward(&tokens, Want::All).expect("logits");
            let (_, max) = difference(got, &want);
            println!("{kv:?} on {isa}: {max:.1e} of {largest:.1e}");
            assert!(max <= tolerance * largest, "{kv:?} on {isa}: {max:e}");
            scalar = if scalar.is_empty() { got.to_vec() } else { scalar };
            assert!(got == scalar, "{kv:?} on {isa}: other bits");
        }
    }
}
