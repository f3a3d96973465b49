//! Round trips through the writers, and hostile headers made byte by byte.

use alloc::{format, string::ToString, vec, vec::Vec};

use super::{write::TensorSpec, *};
use crate::ErrorKind;

fn spec(name: &str, shape: &[u64], encoding: Encoding) -> TensorSpec {
    TensorSpec { name: name.to_string(), shape: shape.to_vec(), encoding }
}

fn sample_meta() -> Meta {
    Meta::from([
        ("general.architecture", Value::Str("bitnet-b1.58".into())),
        ("a.int", Value::Int(-7)),
        ("a.long", Value::Int(1 << 40)),
        ("a.float", Value::Float(1e-5)),
        ("a.single", Value::Float(0.5)),
        ("a.bool", Value::Bool(true)),
        ("a.ints", Value::Ints(vec![1, -2, 3])),
        ("a.longs", Value::Ints(vec![1 << 40])),
        ("a.floats", Value::Floats(vec![0.5, -1.0])),
        ("a.texts", Value::Strs(vec!["".into(), "ä".into(), "Ġthe".into()])),
        ("a.none", Value::Strs(vec![])),
    ])
}

fn ready(bytes: &[u8]) -> Index {
    match probe(bytes).unwrap() {
        Probe::Ready(index) => index,
        Probe::Need(n) => panic!("needs {n}"),
    }
}

fn kind(bytes: &[u8]) -> ErrorKind {
    probe(bytes).unwrap_err().kind
}

#[test]
fn gguf_round_trip() {
    let specs = [
        spec("token_embd.weight", &[512, 256], Encoding::F16),
        spec("blk.0.attn_q.weight", &[256, 256], Encoding::I2_S),
        spec("blk.0.ffn_up.weight", &[8, 2, 256], Encoding::TQ2_0),
        spec("output_norm.weight", &[256], Encoding::F32),
    ];
    let meta = sample_meta();
    let header = write::gguf_header(&meta, &specs).unwrap();
    let index = ready(&header.bytes);
    assert_eq!(index.container, Container::Gguf);
    assert_eq!(index.meta, meta);
    assert_eq!(index.tensors, header.tensors);
    assert_eq!(index.data_start, header.bytes.len() as u64);
    for (info, spec) in index.tensors.iter().zip(&specs) {
        assert_eq!((&info.name, &info.shape, info.encoding), (&spec.name, &spec.shape, spec.encoding));
        assert_eq!(info.offset % 32, 0);
    }
    assert_eq!(index.tensors[1].bytes, 256 * 256 / 4 + 32);
    let last = &index.tensors[3];
    assert_eq!(index.file_len, last.offset + last.bytes);
    assert_eq!(header.file_len(), last.offset + last.bytes);
}
