//! Any bytes as a row of every encoding, and what the packers make of it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ternlight_core::{
    format::{self, Encoding, Form, FormRow},
    kernel,
};

fuzz_target!(|data: &[u8]| {
    let [which, blocks, bytes @ ..] = data else { return };
    let encoding = Encoding::ALL[usize::from(*which) % Encoding::ALL.len()];
    let (block_cols, block_bytes) = encoding.block();
    // Half of the time as many columns as there are bytes for, else any number.
    let cols = match blocks % 2 {
        0 => bytes.len() / block_bytes * block_cols,
        _ => usize::from(*blocks) * 3,
    };
    let _ = format::i2_s_scale(bytes);
    let isa = kernel::isa("auto").expect("there is always one");
    let mut row = FormRow::default();
    for quarter in 0..4 {
        if format::unpack_hf(isa, bytes, bytes.len(), quarter, &mut row).is_ok() {
            assert!(row.codes.iter().all(|c| (-1..=1).contains(c)));
        }
    }
    if format::unpack(isa, encoding, bytes, cols, &mut row).is_err() {
        return;
    }
    check(encoding, cols, &row);
    let mut values = Vec::new();
    row.dequantise(&mut values);
    assert!(values.len() == cols && values.iter().all(|v| v.is_finite()));
    if encoding.form() == Form::Ternary {
        let scale = row.scales.first().copied().unwrap_or(1.0);
        for other in [Encoding::I2_S, Encoding::TQ1_0, Encoding::TQ2_0] {
            let (mut packed, mut again) = (Vec::new(), FormRow::default());
            if format::pack_row(other, &row.codes, scale, &mut packed).is_ok() {
                format::unpack(isa, other, &packed, cols, &mut again).expect("what was packed");
                assert_eq!(again.codes, row.codes);
            }
        }
    } else {
        let mean = format::mean_abs(values.iter().copied());
        format::ternarise(&values, 1.0 / mean, &mut row);
        assert!(row.codes.len() == cols && row.codes.iter().all(|c| (-1..=1).contains(c)));
    }
});

/// The shape that `unpack` documents.
fn check(encoding: Encoding, cols: usize, row: &FormRow) {
    let form = encoding.form();
    let floats = matches!(form, Form::F32 | Form::F16 | Form::BF16 | Form::E4m3 | Form::E5m2);
    let (range, blocks, mins) = match form {
        Form::Ternary if encoding == Encoding::I2_S => (-1..=1, 0, 0),
        Form::Ternary => (-1..=1, cols / 256, 0),
        Form::Q2 => (-1..=2, cols / 64, 0),
        Form::Q4 => (0..=15, cols / 32, cols / 32),
        Form::Q8 => (-128..=127, cols / 32, cols / 32),
        Form::Q8x16 => (-128..=127, cols / 16, cols / 16),
        Form::Mxfp4 if encoding == Encoding::E2M1 => (-12..=12, 0, 0),
        Form::Mxfp4 => (-12..=12, cols / 32, 0),
        _ => (0..=0, 0, 0),
    };
    assert_eq!(row.floats.len(), if floats { cols } else { 0 });
    assert_eq!(row.codes.len(), if floats { 0 } else { cols });
    assert_eq!((row.scales.len(), row.mins.len()), (blocks, mins));
    assert!(row.codes.iter().all(|c| range.contains(c)));
    assert!(row.scales.iter().chain(&row.mins).all(|s| s.is_finite()));
}
