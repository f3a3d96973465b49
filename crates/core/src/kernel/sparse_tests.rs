//! Kernels that leave weights unread give the bits of those that read all, at every share of zeros.

use alloc::{vec, vec::Vec};

use super::{
    Kernel, Skips, available, isa, isas, scalar, select_skipping,
    selftest::{self, Random},
};
use crate::{
    activations::Activations,
    format::{Form, FormRow},
    matrix::Matrix,
    pool::Serial,
    quantiser::{Codes, Quantiser, TopK},
    simd::Isa,
};

fn weights(rows: usize, cols: usize) -> Vec<FormRow> {
    let mut random = Random((rows * 31 + cols) as u64);
    (0..rows).map(|_| selftest::row(Form::Ternary, cols, &mut random, |random| random.code(-1, 1))).collect()
}

fn packed(kernel: &'static Kernel, weights: &[FormRow]) -> Matrix {
    let mut matrix = Matrix::new(kernel, weights.len(), weights[0].codes.len()).unwrap();
    let source = |r: usize, row: &mut FormRow| {
        row.clone_from(&weights[r]);
        Ok(())
    };
    matrix.fill(0..weights.len(), &Serial, &source).unwrap();
    matrix
}

/// Inputs of which about `zeros` of 100 are 0; every seventh token is all zeros but for one, every ninth all.
fn inputs(n: usize, cols: usize, zeros: u64) -> Activations {
    let mut random = Random(n as u64 * 77 + cols as u64 + zeros);
    let mut x = Activations::new(Isa::SCALAR);
    for (t, x) in x.set(n, cols).chunks_exact_mut(cols).enumerate() {
        for x in &mut *x {
            *x = if random.next() % 100 < zeros { 0.0 } else { random.unit() };
        }
        if t % 7 == 5 {
            x.fill(0.0);
            x[cols / 2] = -1.0;
        }
        if t % 9 == 8 {
            x.fill(0.0);
        }
    }
    x
}

fn bits(y: &[f32]) -> Vec<u32> {
    y.iter().map(|y| y.to_bits()).collect()
}

fn skipping(skips: Skips) -> impl Iterator<Item = &'static Kernel> {
    available().filter(move |kernel| kernel.layout.skips == skips)
}

#[test]
fn zero_inputs_change_nothing() {
    for kernel in skipping(Skips::Columns).chain(skipping(Skips::Rows)) {
        let panel = kernel.layout.panel;
        for (rows, cols, n) in [(panel + 3, 517, 1), (2 * panel, 130, 9), (panel, 1, 2), (3, 2100, 3)] {
            let weights = weights(rows, cols);
            let (sparse, dense) = (packed(kernel, &weights), packed(&scalar::KERNELS[0], &weights));
            for zeros in [0, 20, 50, 80, 97, 100] {
                let mut x = inputs(n, cols, zeros);
                let (mut want, mut got) = (vec![0.0; n * rows], vec![f32::NAN; n * rows]);
                x.prepare(dense.input()).unwrap();
                dense.mul(&x, &mut want, &Serial);
                x.prepare(sparse.input()).unwrap();
                sparse.mul(&x, &mut got, &Serial);
                assert_eq!(bits(&got), bits(&want), "{kernel:?} {rows}×{cols}×{n}, {zeros} % zeros");
            }
        }
    }
}

/// The extremes that 16-bit sums must hold: the largest codes everywhere, of either sign.
#[test]
fn the_largest_sums_fit() {
    for kernel in skipping(Skips::Columns) {
        for (code, value) in [(1, 1.0), (1, -1.0), (-1, -1.0)] {
            let mut row = weights(1, 1000).remove(0);
            row.codes.fill(code);
            let weights = vec![row; kernel.layout.panel];
            let (sparse, dense) = (packed(kernel, &weights), packed(&scalar::KERNELS[0], &weights));
            let mut x = Activations::new(Isa::SCALAR);
            x.set(1, 1000).fill(value);
            let (mut want, mut got) = (vec![0.0; weights.len()], vec![0.0; weights.len()]);
            x.prepare(sparse.input()).unwrap();
            dense.mul(&x, &mut want, &Serial);
            sparse.mul(&x, &mut got, &Serial);
            assert_eq!(bits(&got), bits(&want), "{kernel:?} {code} {value}");
        }
    }
}

/// A list is made anew whenever the codes are.
#[test]
fn lists_follow_the_codes() {
    let mut x = inputs(2, 300, 30);
    let count = |x: &Activations| x.token8().nonzero(1).codes.iter().filter(|&&code| code != 0).count();
    let codes = |x: &Activations| x.token8().codes(1).iter().filter(|&&code| code != 0).count();
    x.prepare(crate::activations::ActFormat::Nonzero8).unwrap();
    let all = count(&x);
    assert_eq!(all, codes(&x));
    let half = Quantiser { codes: Codes::Int8AbsMax, keep: Some(TopK { share: 0.25, block: None }) };
    x.prepare_with(half).unwrap();
    x.list_nonzero().unwrap();
    assert!(count(&x) == codes(&x) && count(&x) < all / 2, "{} of {all}", count(&x));
    x.prepare(crate::activations::ActFormat::Nonzero8).unwrap();
    assert_eq!(count(&x), all);
}

#[test]
fn rows_that_nobody_wants_are_zero() {
    let (rows, cols) = (1101, 700);
    let weights = weights(rows, cols);
    let mut x = inputs(1, cols, 10);
    x.prepare(crate::activations::ActFormat::Token8).unwrap();
    let mut want = vec![0.0; rows];
    packed(&scalar::KERNELS[0], &weights).mul(&x, &mut want, &Serial);
    for kernel in skipping(Skips::Rows) {
        let matrix = packed(kernel, &weights);
        for wanted in [0, 1, 33, 100] {
            let mut random = Random(wanted);
            let live: Vec<f32> =
                (0..rows).map(|_| if random.next() % 100 < wanted { 0.5 } else { -0.0 }).collect();
            let mut y = vec![f32::NAN; rows];
            matrix.mul_live(&x, &live, &mut y, &Serial);
            for r in 0..rows {
                let want = if live[r] == 0.0 { 0.0 } else { want[r] };
                assert_eq!(y[r].to_bits(), want.to_bits(), "{kernel:?} row {r} of {wanted} %");
            }
        }
    }
}

#[test]
fn every_level_has_them() {
    for isa in isas() {
        for skips in [Skips::Columns, Skips::Rows] {
            let kernel = select_skipping(Form::Ternary, skips, isa).unwrap();
            assert_eq!(kernel.layout.skips, skips, "{isa:?}");
        }
        let dense = select_skipping(Form::Ternary, Skips::Nothing, isa).unwrap();
        assert_eq!(dense.layout.skips, Skips::Nothing);
    }
    let best = select_skipping(Form::Ternary, Skips::Columns, isa("auto").unwrap()).unwrap();
    assert!(best.isa() != Isa::SCALAR || isas().count() == 1);
    assert!(select_skipping(Form::Q4, Skips::Columns, Isa::SCALAR).is_err());
}
