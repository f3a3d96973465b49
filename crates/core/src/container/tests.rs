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

fn sample_specs() -> Vec<TensorSpec> {
    vec![
        spec("token_embd.weight", &[512, 256], Encoding::F16),
        spec("blk.0.attn_q.weight", &[256, 256], Encoding::I2_S),
        spec("blk.0.ffn_up.weight", &[8, 2, 256], Encoding::TQ2_0),
        spec("output_norm.weight", &[256], Encoding::F32),
    ]
}

fn ready(bytes: &[u8]) -> Index {
    match probe(bytes).unwrap() {
        Probe::Ready(index) => index,
        Probe::Need(n) => panic!("needs {n}"),
    }
}

/// Refused with `kind`, naming `what`.
#[track_caller]
fn refused(bytes: &[u8], kind: ErrorKind, what: &str) {
    // What follows shall not matter.
    let error = probe(&[bytes, &[0; 64]].concat()).unwrap_err();
    assert_eq!(error.kind, kind, "{error}");
    assert!(error.detail.contains(what), "{error}");
}

/// A GGUF header from raw parts: key, value type, value bytes; name, `ne`, type id, offset.
fn gguf(keys: &[(&str, u32, &[u8])], tensors: &[(&str, &[u64], u32, u64)]) -> Vec<u8> {
    let mut out = Vec::from(*b"GGUF\x03\0\0\0");
    let number = |out: &mut Vec<u8>, n: u64| out.extend(n.to_le_bytes());
    number(&mut out, tensors.len() as u64);
    number(&mut out, keys.len() as u64);
    for (key, id, value) in keys {
        number(&mut out, key.len() as u64);
        out.extend(key.as_bytes());
        out.extend(id.to_le_bytes());
        out.extend(*value);
    }
    for (name, extents, id, offset) in tensors {
        number(&mut out, name.len() as u64);
        out.extend(name.as_bytes());
        out.extend((extents.len() as u32).to_le_bytes());
        extents.iter().for_each(|extent| number(&mut out, *extent));
        out.extend(id.to_le_bytes());
        number(&mut out, *offset);
    }
    out
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

fn array(id: u32, count: u64, elements: &[u8]) -> Vec<u8> {
    [&id.to_le_bytes()[..], &count.to_le_bytes(), elements].concat()
}

fn safetensors(json: &str) -> Vec<u8> {
    text(json)
}

#[test]
fn gguf_round_trip() {
    let (meta, specs) = (sample_meta(), sample_specs());
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
    assert_eq!(header.padding(last), 0);
}

#[test]
fn gguf_keeps_its_own_alignment() {
    let meta = Meta::from([("general.alignment", Value::Int(256))]);
    let specs = [spec("a", &[3], Encoding::F32), spec("b", &[1], Encoding::F32)];
    let header = write::gguf_header(&meta, &specs).unwrap();
    assert_eq!(header.padding(&header.tensors[0]), 244);
    let index = ready(&header.bytes);
    assert_eq!(index.tensors[1].offset, index.data_start + 256);
    assert_eq!(index.file_len, index.data_start + 260);
}

#[test]
fn safetensors_round_trip() {
    let meta = Meta::from([("format", Value::Str("p\"t".into()))]);
    let specs = [
        spec("z.weight", &[64, 128], Encoding::U8),
        spec("a.weight_scale", &[1], Encoding::BF16),
        spec("scalar", &[], Encoding::F32),
        spec("name \"quoted\"", &[2, 2, 2, 2, 2], Encoding::F16),
    ];
    let header = write::safetensors_header(&meta, &specs).unwrap();
    let index = ready(&header.bytes);
    assert_eq!((index.container, &index.meta), (Container::Safetensors, &meta));
    assert_eq!(index.tensors, header.tensors);
    assert_eq!(header.padding(&header.tensors[1]), 0);
    assert_eq!(index.file_len, header.file_len());
    assert_eq!(index.file_len, index.data_start + 64 * 128 + 2 + 4 + 64);
}

/// Every proper prefix asks for more than it has, the rest does not matter.
#[test]
fn prefixes_ask_for_more() {
    let gguf = write::gguf_header(&sample_meta(), &sample_specs()).unwrap().bytes;
    let safetensors =
        write::safetensors_header(&Meta::default(), &[spec("a", &[4], Encoding::F32)]).unwrap().bytes;
    for bytes in [gguf, safetensors] {
        let index = ready(&bytes);
        for end in 0..bytes.len() {
            match probe(&bytes[..end]).unwrap() {
                Probe::Need(n) => assert!(n > end as u64),
                // The padding before the data is no part of a GGUF header.
                Probe::Ready(early) => assert!(early == index && bytes.len() - end < 32),
            }
        }
        assert_eq!(ready(&[&bytes[..], &[7; 100]].concat()), index);
    }
}

/// Headers with long vocabularies: few probes, each for much more than the one before.
#[test]
fn probing_is_not_quadratic() {
    let tokens = Vec::from_iter((0..300_000).map(|i| format!("token{i}")));
    let meta = Meta::from([("tokenizer.ggml.tokens", Value::Strs(tokens))]);
    let bytes = write::gguf_header(&meta, &sample_specs()).unwrap().bytes;
    let (mut seen, mut probes, mut total) = (0, 0, 0);
    let index = loop {
        probes += 1;
        total += seen;
        match probe(&bytes[..seen]).unwrap() {
            Probe::Need(n) => seen = (n as usize).min(bytes.len()),
            Probe::Ready(index) => break index,
        }
    };
    assert_eq!(index.meta, meta);
    assert!(probes < 16 && total < 3 * bytes.len(), "{probes} probes, {total} of {} bytes", bytes.len());
}

#[test]
fn what_is_no_model_file() {
    for bytes in [&b"<!DOCTYPE html>"[..], b"PK\x03\x04\0\0\0\0\0\0\0\0", &[0; 64], &[0xff; 64]] {
        refused(bytes, ErrorKind::BadMagic, "neither");
    }
    assert_eq!(probe(b""), Ok(Probe::Need(1 << 16)));
    assert_eq!(probe(b"<"), Ok(Probe::Need(9)));
    let mut old = gguf(&[], &[]);
    old[4] = 1;
    refused(&old, ErrorKind::UnsupportedFormat, "version 1");
    old[4..8].copy_from_slice(&[0, 0, 0, 3]);
    refused(&old, ErrorKind::UnsupportedFormat, "big-endian");
}

#[test]
fn gguf_version_2_reads_alike() {
    let mut bytes = gguf(&[("a", 7, &[1])], &[("t", &[1], 0, 0)]);
    let three = ready(&bytes);
    bytes[4] = 2;
    assert_eq!(ready(&bytes), three);
}

#[test]
fn gguf_without_tensors_needs_no_padding() {
    let bytes = gguf(&[("a", 7, &[1])], &[]);
    let index = ready(&bytes);
    assert_eq!((index.file_len, index.data_start), (bytes.len() as u64, bytes.len() as u64));
}

#[test]
fn gguf_values_of_every_type() {
    let bytes = gguf(
        &[
            ("u8", 0, &[200]),
            ("i8", 1, &[0xff]),
            ("u16", 2, &[0xff, 0xff]),
            ("i16", 3, &[0xfe, 0xff]),
            ("u32", 4, &[0xff; 4]),
            ("i32", 5, &[0xff; 4]),
            ("f32", 6, &0.5f32.to_le_bytes()),
            ("bool", 7, &[0]),
            ("u64", 10, &[1, 0, 0, 0, 1, 0, 0, 0]),
            ("i64", 11, &[0xff; 8]),
            ("f64", 12, &1e300f64.to_le_bytes()),
            ("i8s", 9, &array(1, 2, &[1, 0xff])),
            ("bools", 9, &array(7, 2, &[1, 0])),
            ("f64s", 9, &array(12, 1, &0.25f64.to_le_bytes())),
        ],
        &[],
    );
    let meta = ready(&bytes).meta;
    for (key, value) in [
        ("u8", 200),
        ("i8", -1),
        ("u16", 65535),
        ("i16", -2),
        ("u32", u32::MAX.into()),
        ("i32", -1),
        ("u64", 1 << 32 | 1),
        ("i64", -1),
    ] {
        assert_eq!(meta.int(key), Ok(value), "{key}");
    }
    assert_eq!((meta.float("f32"), meta.float("f64"), meta.bool("bool")), (Ok(0.5), Ok(1e300), Ok(false)));
    assert_eq!((meta.ints("i8s"), meta.ints("bools")), (Ok(&[1, -1][..]), Ok(&[1, 0][..])));
    assert_eq!(meta.floats("f64s"), Ok(&[0.25][..]));
}

#[test]
fn hostile_gguf_keys() {
    let max = u64::MAX.to_le_bytes();
    for (keys, kind, what) in [
        (&[("k", 13, &[][..])][..], ErrorKind::BadHeader, "value type 13"),
        (&[("k", 7, &[2])], ErrorKind::BadHeader, "boolean of 2"),
        (&[("k", 10, &max)], ErrorKind::TooLarge, "\"k\""),
        (&[("k", 8, &[2, 0, 0, 0, 0, 0, 0, 0, 0xc3, 0x28])], ErrorKind::BadHeader, "not UTF-8"),
        (&[("k", 8, &max)], ErrorKind::TooLarge, "header"),
        (&[("k", 9, &array(9, 1, &[0; 32]))], ErrorKind::UnsupportedFormat, "array of arrays"),
        (&[("k", 9, &array(13, 0, &[]))], ErrorKind::BadHeader, "value type 13"),
        (&[("k", 9, &array(0, u64::MAX, &[]))], ErrorKind::TooLarge, "elements"),
        (&[("k", 9, &array(8, gguf::MAX_ARRAY + 1, &[]))], ErrorKind::TooLarge, "elements"),
        (&[("k", 0, &[1]), ("k", 0, &[1])], ErrorKind::BadHeader, "twice"),
        (&[("", 0, &[1])], ErrorKind::BadHeader, "name of 0 bytes"),
        (&[(&"k".repeat(1025), 0, &[1])], ErrorKind::BadHeader, "name of 1025 bytes"),
    ] {
        refused(&gguf(keys, &[]), kind, what);
    }
    for alignment in [0, 3, 48, 1 << 30] {
        let key = ("general.alignment", 4, &u32::to_le_bytes(alignment)[..]);
        refused(&gguf(&[key], &[("t", &[1], 0, 0)]), ErrorKind::BadHeader, "general.alignment");
    }
    refused(
        &gguf(&[("general.alignment", 6, &32f32.to_le_bytes())], &[]),
        ErrorKind::MissingKey,
        "general.alignment",
    );
    // Counts that the bytes present cannot back are not believed.
    for at in [8, 16] {
        for count in [u64::MAX, 1 << 40, 1 << 18] {
            let mut bytes = gguf(&[], &[]);
            bytes[at..at + 8].copy_from_slice(&count.to_le_bytes());
            refused(&bytes, ErrorKind::TooLarge, &format!("{count}"));
        }
    }
    let mut bytes = gguf(&[], &[]);
    bytes[8..16].copy_from_slice(&1000u64.to_le_bytes());
    assert_eq!(probe(&bytes), Ok(Probe::Need(1 << 16)));
    let huge = gguf(&[("k", 9, &array(12, gguf::MAX_ARRAY, &[]))], &[]);
    assert!(matches!(probe(&huge), Ok(Probe::Need(n)) if n > 8 * gguf::MAX_ARRAY));
}

#[test]
fn hostile_gguf_tensors() {
    let one = |ne: &'static [u64], id, offset| gguf(&[], &[("t", ne, id, offset)]);
    let two = |a: u64, b: u64| gguf(&[], &[("t", &[16], 0, a), ("u", &[16], 0, b)]);
    for (bytes, kind, what) in [
        (one(&[], 0, 0), ErrorKind::BadHeader, "0 dimensions"),
        (one(&[1, 1, 1, 1, 1], 0, 0), ErrorKind::BadHeader, "5 dimensions"),
        (one(&[4, 0], 0, 0), ErrorKind::BadHeader, "extent of 0"),
        (one(&[1 << 32, 1 << 32], 0, 0), ErrorKind::TooLarge, "elements"),
        (one(&[1 << 31, 1 << 32], 0, 0), ErrorKind::TooLarge, "\"t\""),
        (one(&[1 << 30, 1 << 33], 28, 0), ErrorKind::TooLarge, "\"t\""),
        (one(&[16], 0, 8), ErrorKind::BadHeader, "multiple of 32"),
        (one(&[16], 0, u64::MAX - 31), ErrorKind::TooLarge, "\"t\""),
        (one(&[1 << 61], 0, 1 << 63), ErrorKind::TooLarge, "\"t\""),
        (one(&[33], 2, 0), ErrorKind::Shape, "\"t\""),
        (one(&[32], 15, 0), ErrorKind::UnsupportedFormat, "Q8_K"),
        (one(&[32], 38, 0), ErrorKind::UnsupportedFormat, "TL1"),
        (one(&[32], 9999, 0), ErrorKind::UnsupportedFormat, "9999"),
        (two(0, 0), ErrorKind::BadHeader, "overlaps"),
        (two(32, 0), ErrorKind::BadHeader, "\"t\" overlaps \"u\""),
        (gguf(&[], &[("t", &[8], 0, 0), ("t", &[8], 0, 32)]), ErrorKind::BadHeader, "twice"),
    ] {
        refused(&bytes, kind, what);
    }
    // A gap is odd, but says nothing false.
    assert_eq!(ready(&two(0, 96)).file_len, ready(&two(0, 96)).data_start + 160);
    // Order in the list is not order in the file.
    assert_eq!(ready(&two(64, 0)).tensors[0].name, "u");
}

/// Two tensors of `id`, the second one `distance` behind the first.
fn pair(keys: &[(&str, u32, &[u8])], id: u32, ne: &[u64], distance: u64) -> Vec<u8> {
    gguf(keys, &[("t", ne, id, 0), ("u", ne, id, distance)])
}

#[test]
fn colliding_type_ids_are_told_apart_by_length() {
    let encoding = |bytes: &[u8]| ready(bytes).tensors[0].encoding;
    // 4 × 128 weights: I2_S has 160 bytes, IQ4_NL_4_4 288.
    assert_eq!(encoding(&pair(&[], 36, &[128, 4], 160)), Encoding::I2_S);
    refused(&pair(&[], 36, &[128, 4], 288), ErrorKind::UnsupportedFormat, "IQ4_NL_4_4");
    // 16 × 128: MXFP4 has 1088 bytes.
    assert_eq!(encoding(&pair(&[], 39, &[128, 16], 1088)), Encoding::MXFP4);
    refused(&pair(&[], 39, &[128, 16], 480), ErrorKind::UnsupportedFormat, "TL2");
    // 16 × 128: Q2_0 has 576 bytes in blocks of 64, 544 in blocks of 128.
    assert_eq!(encoding(&pair(&[], 42, &[128, 16], 576)), Encoding::Q2_0_64);
    assert_eq!(encoding(&pair(&[], 42, &[128, 16], 544)), Encoding::Q2_0_128);
    assert_eq!(encoding(&pair(&[], 42, &[64, 16], 288)), Encoding::Q2_0_64);
    refused(&pair(&[], 42, &[128, 16], 608), ErrorKind::UnsupportedFormat, "\"t\"");
    assert_eq!(encoding(&pair(&[], 41, &[128, 16], 288)), Encoding::Q1_0);
    refused(&pair(&[], 41, &[128, 16], 320), ErrorKind::UnsupportedFormat, "\"t\"");
}

#[test]
fn colliding_type_ids_without_evidence_are_refused() {
    let bitnet = text("bitnet-b1.58");
    let architecture = [("general.architecture", 8, &bitnet[..])];
    let file_type = [("general.file_type", 4, &[40, 0, 0, 0][..])];
    let one = |keys: &[(&str, u32, &[u8])], id| gguf(keys, &[("t", &[128, 2], id, 0)]);
    refused(&one(&[], 36), ErrorKind::UnsupportedFormat, "nothing in the file tells");
    for keys in [&architecture, &file_type] {
        assert_eq!(ready(&one(keys, 36)).tensors[0].encoding, Encoding::I2_S);
    }
    refused(&one(&architecture, 39), ErrorKind::UnsupportedFormat, "nothing in the file tells");
    assert_eq!(ready(&one(&[], 39)).tensors[0].encoding, Encoding::MXFP4);
    // 72 or 68 bytes: nobody knows, padded to 96 they are the same.
    refused(&one(&[], 42), ErrorKind::UnsupportedFormat, "differs between");
    refused(&pair(&[], 42, &[128, 2], 96), ErrorKind::UnsupportedFormat, "differs between");
    // One tensor's length settles it for the file.
    let bytes = gguf(&[], &[("t", &[128, 16], 42, 0), ("u", &[128, 2], 42, 544)]);
    assert!(ready(&bytes).tensors.iter().all(|t| t.encoding == Encoding::Q2_0_128));
}

#[test]
fn hostile_safetensors() {
    let tensor = |rest: &str| format!("{{\"t\":{{{rest}}}}}");
    let f32s = |shape: &str, offsets: &str| {
        tensor(&format!("\"dtype\":\"F32\",\"shape\":{shape},\"data_offsets\":{offsets}"))
    };
    let entry = |name: &str, a: u64, b: u64| {
        format!("\"{name}\":{{\"dtype\":\"U8\",\"shape\":[{}],\"data_offsets\":[{a},{b}]}}", b - a)
    };
    for (json, kind, what) in [
        ("{".into(), ErrorKind::BadHeader, "EOF"),
        ("{}x".into(), ErrorKind::BadHeader, "trailing"),
        (tensor(""), ErrorKind::BadHeader, "missing field"),
        (tensor("\"dtype\":1"), ErrorKind::BadHeader, "string"),
        (f32s("[1]", "[0,4,8]"), ErrorKind::BadHeader, "safetensors header"),
        (f32s("[-1]", "[0,4]"), ErrorKind::BadHeader, "-1"),
        (f32s("[1.5]", "[0,4]"), ErrorKind::BadHeader, "1.5"),
        (f32s("[2]", "[0,4]"), ErrorKind::BadHeader, "needs 8 bytes"),
        (f32s("[1]", "[4,0]"), ErrorKind::BadHeader, "\"t\""),
        (f32s("[0]", "[0,0]"), ErrorKind::BadHeader, "extent of 0"),
        (f32s("[1,1,1,1,1,1,1,1,1]", "[0,4]"), ErrorKind::BadHeader, "more than 8 dimensions"),
        (f32s("[4294967296,4294967296]", "[0,0]"), ErrorKind::TooLarge, "\"t\""),
        (f32s("[4611686018427387904]", "[0,0]"), ErrorKind::TooLarge, "\"t\""),
        (f32s("[1]", "[18446744073709551612,18446744073709551616]"), ErrorKind::BadHeader, "expected u64"),
        (f32s("[1]", "[18446744073709551608,18446744073709551612]"), ErrorKind::TooLarge, "\"t\""),
        (f32s("[1]", "[4,8]"), ErrorKind::BadHeader, "belong to no tensor"),
        (f32s("[1]", "[0,4]").replace("F32", "F4"), ErrorKind::UnsupportedFormat, "F4"),
        (f32s("[1]", "[0,4]").replace("\"t\"", "\"\""), ErrorKind::BadHeader, "name of 0"),
        (format!("{{{},{}}}", entry("a", 0, 4), entry("b", 3, 5)), ErrorKind::BadHeader, "\"b\" overlaps"),
        (format!("{{{},{}}}", entry("a", 0, 4), entry("a", 4, 5)), ErrorKind::BadHeader, "twice"),
        ("{\"__metadata__\":{},\"__metadata__\":{}}".into(), ErrorKind::BadHeader, "twice"),
        ("{\"__metadata__\":{\"a\":1}}".into(), ErrorKind::BadHeader, "string"),
        (format!("{{\"t\":{}", "{\"a\":".repeat(10_000)), ErrorKind::BadHeader, "safetensors header"),
    ] {
        refused(&safetensors(&json), kind, what);
    }
    // Errors quote the file, but not all of it.
    let long = "x".repeat(100_000);
    for json in [
        tensor(&format!("\"dtype\":\"{long}\",\"shape\":[],\"data_offsets\":[0,1]")),
        format!("{{\"t\":\"{long}\"}}"),
    ] {
        assert!(probe(&safetensors(&json)).unwrap_err().detail.len() < 1000);
    }
    // A length beyond the cap is no safetensors file; one below it is waited for, exactly.
    let mut bytes = [0; 9];
    bytes[8] = b'{';
    bytes[..8].copy_from_slice(&(MAX_HEADER + 1).to_le_bytes());
    refused(&bytes, ErrorKind::BadMagic, "neither");
    bytes[..8].copy_from_slice(&MAX_HEADER.to_le_bytes());
    assert_eq!(probe(&bytes), Ok(Probe::Need(MAX_HEADER + 8)));
    assert_eq!(ready(&safetensors("{}  ")).tensors, []);
}

#[test]
fn writers_refuse_what_readers_would() {
    let gguf = |specs: &[TensorSpec]| write::gguf_header(&Meta::default(), specs).unwrap_err().kind;
    assert_eq!(gguf(&[spec("t", &[100], Encoding::I2_S)]), ErrorKind::Shape);
    assert_eq!(gguf(&[spec("t", &[], Encoding::F32)]), ErrorKind::Shape);
    assert_eq!(gguf(&[spec("t", &[0], Encoding::F32)]), ErrorKind::Shape);
    assert_eq!(gguf(&[spec("t", &[4], Encoding::U8)]), ErrorKind::UnsupportedFormat);
    assert_eq!(gguf(&[spec("", &[4], Encoding::F32)]), ErrorKind::BadHeader);
    assert_eq!(gguf(&vec![spec("t", &[4], Encoding::F32); 2]), ErrorKind::BadHeader);
    assert_eq!(gguf(&[spec("t", &[1 << 62, 4], Encoding::F32)]), ErrorKind::TooLarge);
    let error = write::safetensors_header(&Meta::default(), &[spec("t", &[128], Encoding::I2_S)]);
    assert_eq!(error.unwrap_err().kind, ErrorKind::UnsupportedFormat);
}
