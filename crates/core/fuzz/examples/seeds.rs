//! Writes `seeds/`: small valid inputs of each target, from which the fuzzer starts.
//!
//! Run in `crates/core/fuzz`: `cargo run --example seeds`. The output is committed.

use std::{fs, path::Path};

use ternlight_core::{
    container::{Meta, Value, write},
    format::{Encoding, pack_bf16, pack_f16, pack_f32, pack_i2_s_tail, pack_row},
};

fn save(target: &str, name: &str, bytes: &[u8]) {
    let folder = Path::new("seeds").join(target);
    fs::create_dir_all(&folder).expect("a writable folder");
    fs::write(folder.join(name), bytes).expect("a writable file");
}

fn spec(name: &str, shape: &[u64], encoding: Encoding) -> write::TensorSpec {
    write::TensorSpec { name: name.into(), shape: shape.to_vec(), encoding }
}

/// A row of `cols` weights, none of them special.
fn row(encoding: Encoding, cols: usize, r: usize, out: &mut Vec<u8>) {
    let values = Vec::from_iter((0..cols).map(|k| ((k * 7 + r * 3) % 13) as f32 / 64.0 - 0.09));
    match encoding {
        Encoding::F32 => pack_f32(&values, out),
        Encoding::F16 => pack_f16(&values, out),
        Encoding::BF16 => pack_bf16(&values, out),
        Encoding::I2_S | Encoding::TQ1_0 | Encoding::TQ2_0 => {
            let codes = Vec::from_iter((0..cols).map(|k| ((k * 5 + r) % 3) as i8 - 1));
            pack_row(encoding, &codes, 0.0625, out).expect("whole blocks");
        }
        _ => {
            // Any bytes are a block, as long as the f16 numbers in it are small: 0x21.. is about 0.01.
            let (block_cols, block_bytes) = encoding.block();
            for b in 0..cols / block_cols {
                let from = out.len();
                out.extend((0..block_bytes).map(|i| ((i * 37 + b * 11 + r) % 64) as u8));
                if encoding == Encoding::MXFP4 {
                    out[from] = 118;
                }
            }
        }
    }
}

/// A model of one block with `encodings` for embedding, q, k, v, o, gate, up, down.
fn tiny(arch: &str, hidden: u64, ffn: u64, encodings: [Encoding; 8]) -> Vec<u8> {
    let [embedding, q, k, v, o, gate, up, down] = encodings;
    let bitnet = arch.starts_with("bitnet");
    let (heads, kv_heads, head_dim) = (2, 1, 2);
    let mut specs = vec![
        spec("token_embd.weight", &[4, hidden], embedding),
        spec("output_norm.weight", &[hidden], Encoding::F32),
        spec("blk.0.attn_norm.weight", &[hidden], Encoding::F32),
        spec("blk.0.ffn_norm.weight", &[hidden], Encoding::F32),
        spec("blk.0.attn_q.weight", &[heads * head_dim, hidden], q),
        spec("blk.0.attn_k.weight", &[kv_heads * head_dim, hidden], k),
        spec("blk.0.attn_v.weight", &[kv_heads * head_dim, hidden], v),
        spec("blk.0.attn_output.weight", &[hidden, heads * head_dim], o),
        spec("blk.0.ffn_gate.weight", &[ffn, hidden], gate),
        spec("blk.0.ffn_up.weight", &[ffn, hidden], up),
        spec("blk.0.ffn_down.weight", &[hidden, ffn], down),
    ];
    if bitnet {
        specs.push(spec("blk.0.attn_sub_norm.weight", &[heads * head_dim], Encoding::F32));
        specs.push(spec("blk.0.ffn_sub_norm.weight", &[ffn], Encoding::F32));
    }
    let key = |key: &str| format!("{arch}.{key}");
    let meta = Meta::from_iter([
        ("general.architecture".to_string(), Value::Str(arch.into())),
        (key("embedding_length"), Value::Int(hidden as i64)),
        (key("block_count"), Value::Int(1)),
        (key("attention.head_count"), Value::Int(heads as i64)),
        (key("attention.head_count_kv"), Value::Int(kv_heads as i64)),
        (key("attention.key_length"), Value::Int(head_dim as i64)),
        (key("feed_forward_length"), Value::Int(ffn as i64)),
        (key("context_length"), Value::Int(16)),
        (key("attention.layer_norm_rms_epsilon"), Value::Float(1e-5)),
        (key("rope.freq_base"), Value::Float(10000.0)),
    ]);
    let header = write::gguf_header(&meta, &specs).expect("a valid header");
    let mut out = header.bytes.clone();
    for info in &header.tensors {
        let cols = *info.shape.last().expect("a dimension");
        for r in 0..info.shape.iter().product::<u64>() / cols {
            row(info.encoding, cols as usize, r as usize, &mut out);
        }
        if info.encoding == Encoding::I2_S {
            pack_i2_s_tail(0.0625, &mut out);
        }
        out.resize((info.offset + info.bytes) as usize + header.padding(info), 0);
    }
    out
}

fn main() {
    use Encoding::{
        BF16, F16, F32, I2_S, MXFP4, Q1_0, Q2_0_64, Q2_K, Q3_K, Q4_0, Q4_1, Q4_K, Q5_0, Q5_1, Q5_K,
    };
    use Encoding::{Q2_0_128, Q6_K, Q8_0, TQ1_0, TQ2_0};
    let models = [
        ("bitnet", tiny("bitnet-b1.58", 128, 2, [F16, I2_S, I2_S, I2_S, F32, I2_S, BF16, F16])),
        ("tq", tiny("bitnet", 256, 2, [BF16, TQ1_0, TQ2_0, TQ1_0, F32, TQ2_0, TQ1_0, BF16])),
        ("blocks", tiny("llama", 32, 32, [Q8_0, Q4_0, Q4_1, Q5_0, F32, Q5_1, MXFP4, Q4_1])),
        ("k", tiny("llama", 256, 2, [Q6_K, Q2_K, Q3_K, Q4_K, F16, Q5_K, Q8_0, F32])),
        ("bits", tiny("qwen2", 128, 2, [Q8_0, Q1_0, Q2_0_64, F32, F16, Q1_0, F16, F32])),
        ("prism", tiny("qwen2", 128, 2, [F32, Q2_0_128, Q1_0, F32, F16, Q2_0_128, F16, F32])),
    ];
    for (name, file) in &models {
        save("load", name, &[&[0, 1], &file[..]].concat());
    }

    let meta = Meta::from_iter(
        [
            ("general.architecture", Value::Str("bitnet-b1.58".into())),
            ("general.alignment", Value::Int(64)),
            ("i", Value::Int(-7)),
            ("l", Value::Int(1 << 40)),
            ("f", Value::Float(0.5)),
            ("d", Value::Float(1e-300)),
            ("b", Value::Bool(true)),
            ("is", Value::Ints(vec![1, -2])),
            ("ls", Value::Ints(vec![1 << 40])),
            ("fs", Value::Floats(vec![0.5, -1.0])),
            ("ss", Value::Strs(vec!["".into(), "ä".into()])),
        ]
        .map(|(key, value)| (key.to_string(), value)),
    );
    let all = Vec::from_iter(
        Encoding::ALL
            .iter()
            .filter(|e| !e.has_scales_beside() && !matches!(e, Encoding::Other | Encoding::Q2_0_128))
            .map(|e| spec(e.name(), &[3, e.block().0 as u64], *e)),
    );
    save("gguf", "all", &write::gguf_header(&meta, &all).expect("a valid header").bytes);
    save("gguf", "keys", &write::gguf_header(&meta, &[]).expect("a valid header").bytes);
    let pair = [spec("a", &[16, 128], Q2_0_128), spec("b", &[1], F32)];
    save("gguf", "pair", &write::gguf_header(&Meta::default(), &pair).expect("a valid header").bytes);

    let texts = Meta::from_iter([("format".to_string(), Value::Str("pt".into()))]);
    let packed = [spec("w", &[2, 4], Encoding::U8), spec("s", &[1], BF16), spec("n", &[], F32)];
    save(
        "safetensors",
        "packed",
        &write::safetensors_header(&texts, &packed).expect("a valid header").bytes[8..],
    );
    save(
        "safetensors",
        "config",
        br#"{"a":1,"b":-0.5,"c":null,"d":[1,2],"e":[1.5],"f":["x"],"g":{"h":true},"i":[1,{"j":[[]]},null]}"#,
    );

    for (i, encoding) in Encoding::ALL.iter().enumerate() {
        if *encoding != Encoding::Other {
            let mut bytes = vec![i as u8, 0];
            row(*encoding, encoding.block().0 * if encoding.block().0 < 64 { 2 } else { 1 }, 0, &mut bytes);
            save("unpack", &format!("{encoding:?}"), &bytes);
        }
    }
}
