//! Byte vectors worked out by hand, round trips, and what must be refused.

use alloc::{vec, vec::Vec};

use super::*;
use crate::ErrorKind;

fn unpacked(encoding: Encoding, bytes: &[u8], cols: usize) -> FormRow {
    let mut row = FormRow::default();
    unpack(Isa::SCALAR, encoding, bytes, cols, &mut row).unwrap();
    row
}

fn refused(encoding: Encoding, bytes: &[u8], cols: usize) -> ErrorKind {
    unpack(Isa::SCALAR, encoding, bytes, cols, &mut FormRow::default()).unwrap_err().kind
}

fn weights(row: &FormRow) -> Vec<f32> {
    let mut out = Vec::new();
    row.dequantise(&mut out);
    out
}

/// f16 bytes of 1.0, 2.0, 0.5, −1.0, NaN.
const ONE: [u8; 2] = [0x00, 0x3c];
const TWO: [u8; 2] = [0x00, 0x40];
const HALF: [u8; 2] = [0x00, 0x38];
const MINUS_ONE: [u8; 2] = [0x00, 0xbc];
const NAN: [u8; 2] = [0x00, 0x7e];

fn bytes(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// Trits that repeat with no short period.
fn trits(n: usize) -> Vec<i8> {
    let mut state = 12345u32;
    Vec::from_iter((0..n).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((state >> 16) % 3) as i8 - 1
    }))
}

#[test]
fn floats_by_hand() {
    assert_eq!(unpacked(Encoding::F32, &[0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0], 2).floats, [1.0, -2.0]);
    assert_eq!(unpacked(Encoding::F16, &bytes(&[&HALF, &MINUS_ONE]), 2).floats, [0.5, -1.0]);
    assert_eq!(unpacked(Encoding::BF16, &[0x80, 0x3f, 0x00, 0xc0], 2).floats, [1.0, -2.0]);
    assert_eq!(refused(Encoding::F32, &[0, 0, 0x80, 0x7f], 1), ErrorKind::BadData);
    assert_eq!(refused(Encoding::F16, &NAN, 1), ErrorKind::BadData);
    assert_eq!(refused(Encoding::BF16, &[0xc0, 0x7f], 1), ErrorKind::BadData);
}

#[test]
fn q4_by_hand() {
    // Byte m holds column m (low nibble) and 16 + m (high).
    let mut nibbles = [0u8; 16];
    nibbles[0] = 0xf8;
    nibbles[15] = 0x1a;
    let row = unpacked(Encoding::Q4_0, &bytes(&[&TWO, &nibbles]), 32);
    assert_eq!((row.scales.as_slice(), row.mins.as_slice()), (&[2.0][..], &[-16.0][..]));
    assert_eq!((row.codes[0], row.codes[16], row.codes[15], row.codes[31], row.codes[1]), (8, 15, 10, 1, 0));
    assert_eq!(weights(&row)[..2], [0.0, -16.0]);

    let row = unpacked(Encoding::Q4_1, &bytes(&[&HALF, &MINUS_ONE, &nibbles]), 32);
    assert_eq!(weights(&row)[0], 3.0);
    assert_eq!(weights(&row)[16], 6.5);
    assert_eq!(weights(&row)[1], -1.0);
    assert_eq!(refused(Encoding::Q4_1, &bytes(&[&HALF, &NAN, &nibbles]), 32), ErrorKind::BadData);
    assert_eq!(refused(Encoding::Q4_0, &bytes(&[&NAN, &nibbles]), 32), ErrorKind::BadData);
}

#[test]
fn q5_by_hand() {
    let mut nibbles = [0u8; 16];
    nibbles[0] = 0x21;
    // Fifth bits of columns 0, 16 and 31.
    let high = (1u32 | 1 << 16 | 1 << 31).to_le_bytes();
    let row = unpacked(Encoding::Q5_0, &bytes(&[&TWO, &high, &nibbles]), 32);
    assert_eq!((row.codes[0], row.codes[16], row.codes[31], row.codes[1]), (1, 2, 0, -16));
    assert_eq!(row.mins, [0.0]);
    let row = unpacked(Encoding::Q5_1, &bytes(&[&TWO, &ONE, &high, &nibbles]), 32);
    assert_eq!((row.codes[0], row.codes[16], row.codes[31], row.codes[1]), (17, 18, 16, 0));
    assert_eq!((row.scales[0], row.mins[0]), (2.0, 1.0));
}

#[test]
fn q8_0_by_hand() {
    let mut codes = [0u8; 32];
    codes[0] = 0x80;
    codes[31] = 127;
    let row = unpacked(Encoding::Q8_0, &bytes(&[&HALF, &codes, &ONE, &codes]), 64);
    assert_eq!((row.codes[0], row.codes[31], row.codes[32]), (-128, 127, -128));
    assert_eq!((row.scales.as_slice(), row.mins.as_slice()), (&[0.5, 1.0][..], &[0.0, 0.0][..]));
    assert_eq!(weights(&row)[32], -128.0);
}

#[test]
fn mxfp4_by_hand() {
    let nibbles: [u8; 16] = core::array::from_fn(|m| (m | (15 - m) << 4) as u8);
    let row = unpacked(Encoding::MXFP4, &bytes(&[&[127], &nibbles]), 32);
    let values = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0];
    assert_eq!(weights(&row)[..16], values);
    assert_eq!(weights(&row)[16..], Vec::from_iter(values.into_iter().rev()));
    for (e, scale) in [(0u8, -128), (1, -127), (2, -126), (252, 124)] {
        let scale = libm::ldexpf(1.0, scale);
        assert_eq!(unpacked(Encoding::MXFP4, &bytes(&[&[e], &nibbles]), 32).scales[0], scale, "{e}");
    }
    for e in [253u8, 255] {
        assert_eq!(refused(Encoding::MXFP4, &bytes(&[&[e], &nibbles]), 32), ErrorKind::BadData);
    }
}

#[test]
fn tq2_0_by_hand() {
    // All codes 1 (weight 0) but: column 0 → +1, column 96 → −1 (highest bits of byte 0), column 128 + 33 → +1.
    let mut codes = [0b01_01_01_01u8; 64];
    codes[0] = 0b00_01_01_10;
    codes[33] = 0b01_01_10_01;
    let row = unpacked(Encoding::TQ2_0, &bytes(&[&codes, &TWO]), 256);
    let expect = Vec::from_iter((0..256).map(|k| match k {
        0 | 161 => 1,
        96 => -1,
        _ => 0,
    }));
    assert_eq!((row.codes, row.scales), (expect, vec![2.0]));
    codes[9] = 0b11_00_00_00;
    assert_eq!(refused(Encoding::TQ2_0, &bytes(&[&codes, &TWO]), 256), ErrorKind::BadData);
    assert_eq!(refused(Encoding::TQ2_0, &bytes(&[&[0; 64], &NAN]), 256), ErrorKind::BadData);
}

#[test]
fn tq1_0_by_hand() {
    // Five trits 1 (weight 0) are 121, stored as ceil(121 · 256 / 243) = 128; in the last part four: 120 → 127.
    let mut block = [128u8; 54];
    block[48..52].fill(127);
    block[52..].copy_from_slice(&HALF);
    // Column 0 is the most significant digit of byte 0: 2,1,1,1,1 = 202 → ceil(212.8) = 213.
    block[0] = 213;
    // Columns 163 + 16n are byte 35: 0,1,1,1,2 = 41 → ceil(43.19) = 44.
    block[35] = 44;
    // Columns 242 + 4n are byte 50: 1,1,1,0 and no fifth = 117 → ceil(123.26) = 124.
    block[50] = 124;
    let row = unpacked(Encoding::TQ1_0, &block, 256);
    let expect = Vec::from_iter((0..256).map(|k| match k {
        0 | 227 => 1,
        163 | 254 => -1,
        _ => 0,
    }));
    assert_eq!((row.codes, row.scales), (expect, vec![0.5]));
}

#[test]
fn i2_s_by_hand() {
    // As TQ2_0 with the first group in the highest bits.
    let mut codes = [0b01_01_01_01u8; 64];
    codes[0] = 0b10_01_01_00;
    codes[33] = 0b01_10_01_01;
    let row = unpacked(Encoding::I2_S, &codes, 256);
    let expect = Vec::from_iter((0..256).map(|k| match k {
        0 | 161 => 1,
        96 => -1,
        _ => 0,
    }));
    assert_eq!((row.codes, row.scales.len()), (expect, 0));
    codes[1] = 0b11_00_00_00;
    assert_eq!(refused(Encoding::I2_S, &codes, 256), ErrorKind::BadData);
    assert_eq!(i2_s_scale(&[0, 0, 0xc0, 0x3f, 9, 9]), Ok(1.5));
    assert_eq!(i2_s_scale(&[0, 0, 0xc0]).unwrap_err().kind, ErrorKind::Truncated);
    assert_eq!(i2_s_scale(&[0, 0, 0xc0, 0x7f]).unwrap_err().kind, ErrorKind::BadData);
}

#[test]
fn hf_packed_by_hand() {
    // Rows r, r + R, r + 2R, r + 3R in bits 0-1, 2-3, 4-5, 6-7.
    let bytes = [0b00_01_10_00u8, 0b10_10_01_01];
    let mut row = FormRow::default();
    for (quarter, expect) in [[-1, 0], [1, 0], [0, 1], [-1, 1]].into_iter().enumerate() {
        unpack_hf(Isa::SCALAR, &bytes, 2, quarter, &mut row).unwrap();
        assert_eq!(row.codes, expect);
    }
    assert_eq!(unpack_hf(Isa::SCALAR, &[0b11_00], 1, 1, &mut row).unwrap_err().kind, ErrorKind::BadData);
    assert_eq!(unpack_hf(Isa::SCALAR, &[0], 1, 4, &mut row).unwrap_err().kind, ErrorKind::BadOption);
    assert_eq!(unpack_hf(Isa::SCALAR, &[0], 2, 0, &mut row).unwrap_err().kind, ErrorKind::Truncated);
    let mut packed = Vec::new();
    pack_hf([&[-1, 0], &[1, 0], &[0, 1], &[-1, 1]], &mut packed).unwrap();
    assert_eq!(packed, bytes);
}

#[test]
fn q1_and_q2_by_hand() {
    let mut block = bytes(&[&HALF, &[0; 16]]);
    block[2] = 0b0000_0001;
    block[17] = 0b1000_0000;
    let row = unpacked(Encoding::Q1_0, &block, 128);
    let expect = Vec::from_iter((0..128).map(|k| if k == 0 || k == 127 { 1 } else { -1 }));
    assert_eq!((row.codes, row.scales), (expect, vec![0.5, 0.5]));

    let mut block = bytes(&[&TWO, &[0b01_01_01_01; 16]]);
    block[2] = 0b11_10_01_00;
    let row = unpacked(Encoding::Q2_0_64, &block, 64);
    assert_eq!(row.codes[..5], [-1, 0, 1, 2, 0]);
    assert_eq!(row.scales, [2.0]);
    assert_eq!(weights(&row)[3], 4.0);

    let mut block = bytes(&[&TWO, &[0b01_01_01_01; 32]]);
    block[33] = 0b11_10_01_00;
    let row = unpacked(Encoding::Q2_0_128, &block, 128);
    assert_eq!(row.codes[123..], [0, -1, 0, 1, 2]);
    assert_eq!(row.scales, [2.0, 2.0]);
}

#[test]
fn q2_k_by_hand() {
    let mut block = [0u8; 84];
    block[0] = 0x23; // scale 3, min 2
    block[9] = 0x0f; // columns 144..160: scale 15
    block[16] = 0b11_10_01_00; // columns 0, 32, 64, 96
    block[16 + 32 + 16] = 0b00_00_00_01; // column 144
    block[80..82].copy_from_slice(&HALF);
    block[82..84].copy_from_slice(&TWO);
    let row = unpacked(Encoding::Q2_K, &block, 256);
    assert_eq!((row.codes[0], row.codes[32], row.codes[64], row.codes[96], row.codes[144]), (0, 1, 2, 3, 1));
    assert_eq!((row.scales[0], row.mins[0], row.scales[9], row.mins[9]), (1.5, -4.0, 7.5, 0.0));
    assert_eq!(weights(&row)[144], 7.5);
}

#[test]
fn q3_k_by_hand() {
    let mut block = [0u8; 110];
    block[0] = 0b0000_0011; // high bits of columns 0 and 32
    block[32] = 0b11_10_01_00; // low bits of columns 0, 32, 64, 96
    // Scale 0: low nibble of byte 0, bits 0-1 of byte 8: 33. Scale 15: high nibble of byte 7, bits 6-7 of byte 11.
    block[96] = 0x01;
    block[96 + 8] = 0b10;
    block[96 + 7] = 0xf0;
    block[96 + 11] = 0b11_00_00_00;
    block[108..].copy_from_slice(&HALF);
    let row = unpacked(Encoding::Q3_K, &block, 256);
    assert_eq!((row.codes[0], row.codes[32], row.codes[64], row.codes[96], row.codes[1]), (0, 1, -2, -1, -4));
    assert_eq!((row.scales[0], row.scales[15], row.scales[1]), (0.5, 15.5, -16.0));
}

#[test]
fn q4_k_and_q5_k_by_hand() {
    let mut scales = [0u8; 12];
    scales[0] = 0b01_000101; // scale 0 = 5, top bits of scale 4
    scales[4] = 0b10_000011; // min 0 = 3, top bits of min 4
    scales[8] = 0x21; // scale 4 = 0b01_0001 = 17, min 4 = 0b10_0010 = 34
    let mut nibbles = [0u8; 128];
    nibbles[0] = 0x5a; // columns 0 and 32
    nibbles[64] = 0x0f; // column 128
    let row = unpacked(Encoding::Q4_K, &bytes(&[&TWO, &HALF, &scales, &nibbles]), 256);
    assert_eq!((row.codes[0], row.codes[32], row.codes[128]), (10, 5, 15));
    assert_eq!((row.scales[0], row.mins[0], row.scales[4], row.mins[4]), (10.0, -1.5, 34.0, -17.0));
    assert_eq!(weights(&row)[128], 15.0 * 34.0 - 17.0);

    let mut high = [0u8; 32];
    high[0] = 0b0001_0010; // columns 32 and 128
    let row = unpacked(Encoding::Q5_K, &bytes(&[&TWO, &HALF, &scales, &high, &nibbles]), 256);
    assert_eq!((row.codes[0], row.codes[32], row.codes[128]), (10, 21, 31));
    assert_eq!((row.scales[4], row.mins[4]), (34.0, -17.0));
}

#[test]
fn q6_k_by_hand() {
    let mut block = [0u8; 210];
    block[0] = 0x5a; // columns 0 and 64
    block[64 + 32] = 0x10; // columns 160 (low: 0) and 224 (high: 1)
    block[128] = 0b01_10_11_00; // columns 0, 32, 64, 96: +0, +48, +32, +16
    block[192] = 0xff; // scale 0 = −1
    block[192 + 14] = 2; // columns 224..240
    block[208..].copy_from_slice(&HALF);
    let row = unpacked(Encoding::Q6_K, &block, 256);
    assert_eq!((row.codes[0], row.codes[32], row.codes[64], row.codes[96]), (-22, 16, 5, -16));
    assert_eq!((row.codes[160], row.codes[224]), (-32, -31));
    assert_eq!((row.scales[0], row.scales[14], row.scales.len()), (-0.5, 1.0, 16));
    assert_eq!(weights(&row)[0], 11.0);
}

#[test]
fn packers_are_undone_by_unpack() {
    let codes = trits(1024);
    assert!([-1, 0, 1].iter().all(|t| codes.contains(t)));
    for encoding in [Encoding::I2_S, Encoding::TQ1_0, Encoding::TQ2_0] {
        let mut packed = Vec::new();
        pack_row(encoding, &codes, 0.75, &mut packed).unwrap();
        assert_eq!(packed.len() as u64, encoding.row_bytes(1024).unwrap());
        let row = unpacked(encoding, &packed, 1024);
        assert_eq!(row.codes, codes);
        assert_eq!(row.scales, if encoding == Encoding::I2_S { vec![] } else { vec![0.75; 4] });
        let mut again = Vec::new();
        for (bad, kind) in [(&[2i8; 256][..], ErrorKind::BadData), (&[0; 100], ErrorKind::Shape)] {
            assert_eq!(pack_row(encoding, bad, 1.0, &mut again).unwrap_err().kind, kind);
        }
    }
    let mut block = Vec::new();
    pack_row(Encoding::TQ2_0, &[0; 256], 3.0, &mut block).unwrap();
    assert_eq!(unpacked(Encoding::TQ2_0, &block, 256).scales, [0.0]);
    assert_eq!(pack_row(Encoding::TQ2_0, &codes, 1e9, &mut block).unwrap_err().kind, ErrorKind::BadData);
    assert_eq!(
        pack_row(Encoding::Q4_0, &codes, 1.0, &mut block).unwrap_err().kind,
        ErrorKind::UnsupportedFormat
    );
}

/// Every byte of a TQ1_0 block, also those that no packer writes, stands for trits.
#[test]
fn tq1_0_has_no_bad_bytes() {
    for byte in 0..=255u8 {
        let mut block = [byte; 54];
        block[52..].copy_from_slice(&ONE);
        assert!(unpacked(Encoding::TQ1_0, &block, 256).codes.iter().all(|c| (-1..=1).contains(c)));
    }
}

#[test]
fn sizes() {
    assert_eq!(Encoding::I2_S.tensor_bytes(2, 128), Ok(96));
    assert_eq!(Encoding::Q4_K.tensor_bytes(3, 512), Ok(3 * 288));
    assert_eq!(Encoding::U8.tensor_bytes(3, 7), Ok(21));
    assert_eq!(Encoding::TQ2_0.bits_per_weight(), 2.0625);
    for encoding in Encoding::ALL {
        if *encoding == Encoding::Other {
            assert_eq!(encoding.row_bytes(1).unwrap_err().kind, ErrorKind::UnsupportedFormat);
            continue;
        }
        let (cols, bytes) = encoding.block();
        assert_eq!(encoding.row_bytes(cols as u64 * 3), Ok(bytes as u64 * 3));
        if cols > 1 {
            assert_eq!(encoding.row_bytes(cols as u64 + 1).unwrap_err().kind, ErrorKind::Shape);
        }
        let most = u64::MAX / cols as u64 * cols as u64;
        assert_eq!(encoding.tensor_bytes(most, most).unwrap_err().kind, ErrorKind::TooLarge, "{encoding:?}");
        if encoding.form() != Form::Ternary || *encoding != Encoding::U8 {
            assert_eq!(refused(*encoding, &vec![0; bytes * 2 - 1], cols * 2), ErrorKind::Truncated);
        }
    }
}

/// A file of `tests/data` of this crate, as its index and bytes; inside the program, for these tests also run as wasm.
macro_rules! data {
    ($path:literal) => {
        indexed(include_bytes!(concat!("../../tests/data/", $path)))
    };
}

fn indexed(bytes: &[u8]) -> (crate::container::Index, &[u8]) {
    match crate::container::probe(bytes).unwrap() {
        crate::container::Probe::Ready(index) => (index, bytes),
        other => panic!("{other:?}"),
    }
}

/// The bytes of one tensor.
fn part<'a>((index, bytes): &(crate::container::Index, &'a [u8]), name: &str) -> &'a [u8] {
    let info = index.tensors.iter().find(|t| t.name == name).unwrap();
    &bytes[info.offset as usize..][..info.bytes as usize]
}

fn floats(file: &(crate::container::Index, &[u8]), name: &str) -> Vec<f32> {
    let values = part(file, name);
    unpacked(Encoding::F32, values, values.len() / 4).floats
}

/// Random blocks, decoded by the `gguf` Python package (`tests/data/make_ggml_vectors.py`): the same bits.
#[test]
fn agrees_with_the_gguf_package() {
    let file = data!("ggml_vectors.safetensors");
    let names = file.0.tensors.iter().filter_map(|t| t.name.strip_suffix(".bytes"));
    let names = Vec::from_iter(names);
    assert_eq!(names.len(), 13);
    for name in names {
        let encoding = *Encoding::ALL.iter().find(|e| e.name() == name).unwrap();
        let row = unpacked(encoding, part(&file, &alloc::format!("{name}.bytes")), 512);
        let expect = floats(&file, &alloc::format!("{name}.values"));
        assert_eq!(weights(&row), expect, "{name}");
    }
}

/// Bit-exact vectors made with numpy and HF transformers (`README.md` of the oracle data).
#[test]
fn agrees_with_the_unit_vectors() {
    let (rows, cols) = (64, 128);
    let file = data!("unit_vectors.safetensors");
    let codes = Vec::from_iter(part(&file, "w.ternary").iter().map(|b| *b as i8));
    let master = floats(&file, "w.master_f32");
    let mean = mean_abs(master.iter().copied());
    assert_eq!([mean], floats(&file, "w.mean_abs")[..]);
    assert_eq!([1.0 / mean], floats(&file, "w.inv_mean_abs")[..]);

    let (mut row, mut packed) = (FormRow::default(), Vec::new());
    let i2_s = part(&file, "w.i2s_bytes");
    let (data, tail) = i2_s.split_at(rows * cols / 4);
    for (r, expect) in codes.chunks(cols).enumerate() {
        ternarise(&master[r * cols..][..cols], 1.0 / mean, &mut row);
        assert_eq!(row.codes, expect);
        unpack(Isa::SCALAR, Encoding::I2_S, &data[r * 32..], cols, &mut row).unwrap();
        assert_eq!(row.codes, expect);
        pack_row(Encoding::I2_S, expect, 1.0, &mut packed).unwrap();
    }
    assert_eq!(i2_s_scale(tail), Ok(mean));
    pack_i2_s_tail(mean, &mut packed);
    assert_eq!(packed, i2_s);

    let hf = part(&file, "w.packed");
    packed.clear();
    for r in 0..rows / 4 {
        for quarter in 0..4 {
            unpack_hf(Isa::SCALAR, &hf[r * cols..], cols, quarter, &mut row).unwrap();
            assert_eq!(row.codes, codes[(r + quarter * rows / 4) * cols..][..cols]);
        }
        pack_hf(core::array::from_fn(|i| &codes[(r + i * rows / 4) * cols..][..cols]), &mut packed).unwrap();
    }
    assert_eq!(packed, hf);
}
