//! Every kernel of [`ALL`](super::ALL) on every boundary shape and extreme input: scalar against an
//! independent formula, the others against scalar, bit for bit. A new kernel needs no new test.

use alloc::{vec, vec::Vec};
use std::format;

use super::{
    Kernel, available, isa, isas, scalar, select, self_test, selftest,
    selftest::{Random, code_range},
};
use crate::{
    activations::Activations,
    format::{Form, FormRow},
    matrix::Matrix,
    pool::{Pool, Serial},
    simd::{HALVES, Halves, Isa, Pairs, WithHalves, WithPairs, pair, with_halves, with_pairs},
};

const FORMS: [Form; 15] = [
    Form::Ternary,
    Form::Q2,
    Form::Q4,
    Form::Q8,
    Form::Q8x16,
    Form::I8,
    Form::F16,
    Form::BF16,
    Form::F32,
    Form::Mxfp4,
    Form::Nvfp4,
    Form::Mxfp4Exact,
    Form::Nvfp4Exact,
    Form::E4m3,
    Form::E5m2,
];

/// A pool that runs tasks backwards and claims many threads.
struct Backwards(usize);

impl Pool for Backwards {
    fn width(&self) -> usize {
        self.0
    }

    fn run(&self, tasks: usize, f: &(dyn Fn(usize) + Sync)) {
        (0..tasks).rev().for_each(f);
    }
}

#[derive(Clone, Copy, Debug)]
enum Codes {
    Lowest,
    Highest,
    Zero,
    Random,
}

#[derive(Clone, Copy, Debug)]
enum Values {
    Lowest,
    Highest,
    Zero,
    Random,
    Outlier,
}

fn weights(form: Form, rows: usize, cols: usize, codes: Codes) -> Vec<FormRow> {
    let mut random = Random(rows as u64 * 1000 + cols as u64);
    let (low, high) = code_range(form).unwrap_or((0, 0));
    let make = |_| {
        let mut row = selftest::row(form, cols, &mut random, |random| match codes {
            Codes::Lowest => low,
            Codes::Highest => high,
            Codes::Zero => 0,
            Codes::Random => random.code(low, high),
        });
        match codes {
            Codes::Lowest => row.floats.fill(match form {
                Form::E4m3 => -448.0,
                Form::E5m2 => -57344.0,
                _ => -65504.0,
            }),
            Codes::Zero => row.floats.fill(0.0),
            _ => {}
        }
        if form == Form::BF16 {
            row.floats.iter_mut().for_each(|v| *v = half::bf16::from_f32(*v).to_f32());
        }
        row
    };
    (0..rows).map(make).collect()
}

fn activations(n: usize, cols: usize, values: Values) -> Activations {
    let mut random = Random(n as u64 * 77 + cols as u64);
    let mut rows = Activations::new(Isa::SCALAR);
    for (i, x) in rows.set(n, cols).iter_mut().enumerate() {
        *x = match values {
            Values::Lowest => -3.7,
            Values::Highest => 3.7,
            Values::Zero => 0.0,
            Values::Random => random.unit(),
            Values::Outlier => random.unit() * if i % 37 == 5 { 3e4 } else { 1e-3 },
        };
    }
    rows
}

fn product(kernel: &'static Kernel, weights: &[FormRow], x: &mut Activations, pool: &dyn Pool) -> Vec<f32> {
    let mut matrix = Matrix::new(kernel, weights.len(), x.cols()).unwrap();
    for (r, row) in weights.iter().enumerate() {
        matrix.set_row(r, row);
    }
    x.prepare(matrix.input()).unwrap();
    let mut y = vec![f32::NAN; weights.len() * x.n()];
    matrix.mul(x, &mut y, pool);
    y
}

/// A weight as the reference dequantises it; small floats from the numbers that [`FormRow`] documents.
fn weight(form: Form, row: &FormRow, k: usize) -> f32 {
    let block = form.block().map_or(0, |block| k / block);
    let number = row.row_number.unwrap_or(1.0);
    match form {
        Form::F16 | Form::BF16 | Form::F32 => row.floats[k],
        Form::E4m3 | Form::E5m2 => row.floats[k] * row.scales[block],
        Form::Mxfp4 | Form::Mxfp4Exact => f32::from(row.codes[k]) / 2.0 * (2.0 * row.scales[block] * number),
        Form::Nvfp4 | Form::Nvfp4Exact => f32::from(row.codes[k]) / 2.0 * (2.0 * row.scales[block] / number),
        _ => row.scales[block] * f32::from(row.codes[k]) + row.mins.get(block).unwrap_or(&0.0),
    }
}

/// The arithmetic as the module documentation of `scalar` states it, from unpacked rows and plain f32,
/// with a quantiser of its own.
fn naive(form: Form, weights: &[FormRow], x: &Activations) -> Vec<f32> {
    let (n, cols) = (x.n(), x.cols());
    let mut y = Vec::new();
    for t in 0..n {
        let x = &x.values()[t * cols..][..cols];
        let amax = |x: &[f32]| x.iter().fold(0.0, |a: f32, v| a.max(v.abs()));
        for row in weights {
            y.push(match form {
                Form::Ternary | Form::I8 => {
                    let limit = if form == Form::Ternary { 127.0 } else { 8191.0 };
                    let s = limit / amax(x).max(1e-5);
                    let acc: i64 = x
                        .iter()
                        .zip(&row.codes)
                        .map(|(x, &w)| libm::rint((x * s).into()) as i64 * i64::from(w))
                        .sum();
                    (acc as f32 / s) * row.scales[0]
                }
                Form::Q2 | Form::Q4 | Form::Q8 | Form::Q8x16 | Form::Mxfp4 | Form::Nvfp4 => {
                    let block = form.block().unwrap();
                    let most = if matches!(form, Form::Mxfp4 | Form::Nvfp4) { 32512.0 } else { 8191.0 };
                    let mut acc = 0.0_f32;
                    for (b, x) in x.chunks(32).enumerate() {
                        let amax = amax(x);
                        let dx = amax / most;
                        let inverse = if amax == 0.0 { 0.0 } else { most / amax };
                        let q: Vec<i32> = x.iter().map(|x| libm::rint((x * inverse).into()) as i32).collect();
                        for (c, q) in q.chunks(block.min(32)).enumerate() {
                            let first = b * 32 + c * block.min(32);
                            let isum: i32 =
                                q.iter().zip(&row.codes[first..]).map(|(q, &w)| q * i32::from(w)).sum();
                            acc += (row.scales[first / block] * dx) * isum as f32;
                            if let Some(m) = row.mins.get(first / block) {
                                acc += (m * dx) * q.iter().sum::<i32>() as f32;
                            }
                        }
                    }
                    match (form, row.row_number) {
                        (Form::Nvfp4, Some(divisor)) => acc / divisor,
                        (_, factor) => acc * factor.unwrap_or(1.0),
                    }
                }
                Form::F16 | Form::BF16 | Form::F32 => float_sum(form, x, row),
                Form::Mxfp4Exact | Form::Nvfp4Exact | Form::E4m3 | Form::E5m2 => float_sum(form, x, row),
            });
        }
    }
    y
}

/// Four partial sums.
fn float_sum(form: Form, x: &[f32], row: &FormRow) -> f32 {
    let partial = |i: usize| {
        let products = x.iter().enumerate().skip(i).step_by(4);
        products.fold(0.0_f32, |s, (k, x)| s + weight(form, row, k) * x)
    };
    (partial(0) + partial(1)) + (partial(2) + partial(3))
}

fn assert_same_bits(got: &[f32], want: &[f32], what: &str) {
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert_eq!(g.to_bits(), w.to_bits(), "{what}: element {i} is {g:e}, not {w:e}");
    }
    assert_eq!(got.len(), want.len());
}

fn spec(form: Form) -> &'static Kernel {
    scalar::KERNELS.iter().find(|k| k.layout.form == form).unwrap()
}

/// Around every boundary of `kernel`, and one shape with many steps.
fn shapes(kernel: &Kernel) -> Vec<(usize, usize, usize)> {
    let (panel, step) = (kernel.layout.panel, kernel.layout.step);
    let mut shapes = Vec::new();
    for cols in [1, step.max(2) - 1, step, step + 1, 2 * step + 7, 6 * step, 17 * step + 5] {
        for rows in [1, panel.max(2) - 1, panel, panel + 1, 2 * panel + 3] {
            for n in [1, 2, 3, 4, 5, 6, 7, 8, 17] {
                if n <= 3 || n == 7 || cols == 2 * step + 7 {
                    shapes.push((rows, cols, n));
                }
            }
        }
    }
    // Longer than any run between two widenings of 16-bit sums.
    shapes.push((9, 1100, 2));
    shapes.push((17, 2560, 9));
    // Enough for several streams of several panels, and a rest.
    let streams = 2 * super::MAX_STREAMS * panel + panel / 2 + 1;
    shapes.push((streams, 2100, 1));
    shapes
}

#[test]
fn scalar_is_the_formula() {
    for form in FORMS {
        for (rows, cols, n) in
            [(1, 1, 1), (3, 31, 2), (9, 32, 1), (2, 33, 3), (5, 64, 2), (8, 200, 2), (7, 1027, 1)]
        {
            for codes in [Codes::Lowest, Codes::Highest, Codes::Zero, Codes::Random] {
                for values in [Values::Lowest, Values::Highest, Values::Zero, Values::Random, Values::Outlier]
                {
                    let w = weights(form, rows, cols, codes);
                    let mut x = activations(n, cols, values);
                    let want = naive(form, &w, &x);
                    let got = product(spec(form), &w, &mut x, &Serial);
                    assert_same_bits(
                        &got,
                        &want,
                        &format!("{form:?} {rows}×{cols}×{n} {codes:?} {values:?}"),
                    );
                }
            }
        }
    }
}

#[test]
fn every_kernel_is_scalar() {
    for kernel in available() {
        for (rows, cols, n) in shapes(kernel) {
            for (codes, values) in [
                (Codes::Random, Values::Random),
                (Codes::Lowest, Values::Lowest),
                (Codes::Highest, Values::Highest),
                (Codes::Lowest, Values::Highest),
                (Codes::Highest, Values::Lowest),
                (Codes::Zero, Values::Random),
                (Codes::Random, Values::Zero),
                (Codes::Random, Values::Outlier),
            ] {
                let w = weights(kernel.layout.form, rows, cols, codes);
                let mut x = activations(n, cols, values);
                let want = product(spec(kernel.layout.form), &w, &mut x, &Serial);
                let got = product(kernel, &w, &mut x, &Serial);
                assert_same_bits(&got, &want, &format!("{kernel:?} {rows}×{cols}×{n} {codes:?} {values:?}"));
            }
        }
    }
}

#[test]
fn threads_change_nothing() {
    for kernel in available() {
        let (rows, cols, n) = (5 * kernel.layout.panel + 3, 1000, 3);
        let w = weights(kernel.layout.form, rows, cols, Codes::Random);
        let mut x = activations(n, cols, Values::Random);
        let want = product(kernel, &w, &mut x, &Serial);
        for width in [2, 3, 4] {
            assert_same_bits(&product(kernel, &w, &mut x, &Backwards(width)), &want, kernel.name);
        }
    }
}

#[test]
fn rows_come_back() {
    for kernel in available() {
        let form = kernel.layout.form;
        for cols in [1, 33, 2 * kernel.layout.step + 1] {
            let rows = 2 * kernel.layout.panel + 1;
            let w = weights(form, rows, cols, Codes::Random);
            let mut matrix = Matrix::new(kernel, rows, cols).unwrap();
            // Twice and backwards: packing a lane must leave others alone and need no clean panel.
            for r in (0..rows).chain((0..rows).rev()) {
                matrix.set_row(r, &w[rows - 1 - r]);
            }
            (0..rows).for_each(|r| matrix.set_row(r, &w[r]));
            let mut values = vec![0.0; cols];
            for (r, row) in w.iter().enumerate() {
                matrix.row(r, &mut values);
                for (k, &v) in values.iter().enumerate() {
                    let want = weight(form, row, k);
                    assert_eq!(v, want, "{kernel:?} ({r}, {k})");
                }
            }
        }
    }
}

#[test]
fn filled_rows_are_those_set_one_by_one() {
    for kernel in available() {
        let (form, panel) = (kernel.layout.form, kernel.layout.panel);
        for cols in [1, 33, 64, 2 * kernel.layout.step + 9] {
            let rows = 4 * panel + 3;
            let w = weights(form, rows, cols, Codes::Random);
            let mut set = Matrix::new(kernel, rows, cols).unwrap();
            (0..rows).for_each(|r| set.set_row(r, &w[r]));
            let source = |r: usize, row: &mut FormRow| {
                row.clone_from(&w[r]);
                Ok(())
            };
            // Not yet there, or dirty; in parts that cut panels, or whole; on any number of threads.
            let mut fresh = Matrix::to_fill(kernel, rows, cols, false).unwrap();
            let mut dirty = Matrix::new(kernel, rows, cols).unwrap();
            (0..rows).for_each(|r| dirty.set_row(r, &w[rows - 1 - r]));
            for cuts in [vec![0, rows], vec![0, 1, panel, 2 * panel + 1, rows]] {
                for (matrix, width) in [(&mut fresh, 1), (&mut dirty, 3)] {
                    cuts.windows(2)
                        .for_each(|c| matrix.fill(c[0]..c[1], &Backwards(width), &source).unwrap());
                    let (mut a, mut b) = (vec![0.0; cols], vec![0.0; cols]);
                    for r in 0..rows {
                        set.row(r, &mut a);
                        matrix.row(r, &mut b);
                        assert_same_bits(&b, &a, &format!("{kernel:?} row {r}, cut at {cuts:?}"));
                    }
                }
            }
            let failing = |r: usize, row: &mut FormRow| match r {
                5.. => crate::bail!(BadData, "row {r}"),
                _ => source(r, row),
            };
            assert_eq!(dirty.fill(0..rows, &Backwards(4), &failing).unwrap_err().detail, "row 5");
        }
    }
}

/// Large enough to be split over threads, whole panels and remainders.
#[test]
fn filling_with_threads_changes_nothing() {
    let kernel = select(Form::Ternary, isa("auto").unwrap()).unwrap();
    let (rows, cols) = (1001, 1100);
    let w = weights(Form::Ternary, 7, cols, Codes::Random);
    let fill = |pool: &dyn Pool| {
        let mut matrix = Matrix::to_fill(kernel, rows, cols, true).unwrap();
        let source = |r: usize, row: &mut FormRow| {
            row.clone_from(&w[r * r % 7]);
            Ok(())
        };
        matrix.fill(0..rows, pool, &source).unwrap();
        let mut x = activations(2, cols, Values::Random);
        x.prepare(matrix.input()).unwrap();
        let mut y = vec![0.0; 2 * rows];
        matrix.mul(&x, &mut y, &Serial);
        y
    };
    let want = fill(&Serial);
    (2..5).for_each(|width| assert_same_bits(&fill(&Backwards(width)), &want, &format!("{width} threads")));
}

#[test]
fn kernels_are_found() {
    for form in FORMS {
        let best = select(form, isa("auto").unwrap()).unwrap();
        assert_eq!(best.layout.form, form);
        assert_eq!(select(form, isa("scalar").unwrap()).unwrap().isa(), Isa::SCALAR);
        for isa in isas() {
            assert_eq!(select(form, isa).unwrap().layout.form, form);
        }
    }
    assert_eq!(isas().last(), Some(Isa::SCALAR));
    assert_eq!(isa("mmx").unwrap_err().kind.code(), "bad-option");
    assert!(available().all(self_test));
    // Rivals read the same bytes, and come from lower levels only.
    for kernel in available() {
        assert!(
            super::rivals(kernel).all(|rival| rival.layout == kernel.layout && rival.name != kernel.name)
        );
        assert!(
            super::rivals(kernel).all(|rival| super::rivals(rival).all(|other| other.name != kernel.name))
        );
    }
    let mut names: Vec<_> = super::ALL.iter().copied().flatten().map(|k| k.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), super::ALL.iter().map(|level| level.len()).sum::<usize>());
}

#[test]
fn shapes_that_no_matrix_has() {
    let kernel = spec(Form::Ternary);
    assert_eq!(Matrix::new(kernel, 0, 4).unwrap_err().kind.code(), "shape");
    assert_eq!(Matrix::new(kernel, 4, 0).unwrap_err().kind.code(), "shape");
    assert_eq!(Matrix::new(kernel, 4, super::MAX_COLS + 1).unwrap_err().kind.code(), "too-large");
    assert_eq!(Matrix::new(kernel, usize::MAX / 2, 4096).unwrap_err().kind.code(), "too-large");
    #[cfg(target_pointer_width = "64")] // no such size elsewhere
    assert_eq!(Matrix::new(kernel, 1 << 44, 4096).unwrap_err().kind.code(), "out-of-memory");
}

/// Sums codes twice over.
struct Sum<'a> {
    codes: &'a [u8],
    x: i32,
    out: &'a mut [i32],
}

impl WithPairs for Sum<'_> {
    #[inline(always)]
    fn run<P: Pairs>(self) {
        for (codes, out) in self.codes.chunks(2 * P::WIDTH).zip(self.out.chunks_mut(P::WIDTH)) {
            let once = P::add(P::zero(), codes, self.x);
            P::store(P::add(once, codes, self.x), out);
        }
    }
}

#[test]
fn every_instruction_set_adds_the_same() {
    let codes: Vec<u8> = (0..=255).flat_map(|a: u8| [a, a.wrapping_mul(77)]).collect();
    let all = [[0, 0], [1, 2], [-8191, 8191], [8191, 8191], [-8191, -8191], [5, -3]];
    for (isa, x) in isas().flat_map(|isa| all.map(|x| (isa, x))) {
        let mut sums = [0; 256];
        with_pairs(isa, Sum { codes: &codes, x: pair(x), out: &mut sums });
        for (sum, codes) in sums.iter().zip(codes.chunks(2)) {
            let product = |i: usize| i32::from(codes[i] as i8) * i32::from(x[i]);
            assert_eq!(*sum, 2 * (product(0) + product(1)));
        }
    }
}

/// Converts every finite half float.
struct AllHalves<'a>(&'a [u8], &'a mut Vec<f32>);

impl WithHalves for AllHalves<'_> {
    #[inline(always)]
    fn run<H: Halves>(self) {
        self.0.chunks(2 * HALVES).for_each(|bytes| self.1.extend(H::load(bytes)));
    }
}

#[test]
fn every_instruction_set_converts_the_same() {
    let finite: Vec<u16> = (0..=u16::MAX).filter(|half| half & 0x7c00 != 0x7c00).collect();
    let bytes: Vec<u8> = finite.iter().flat_map(|half| half.to_le_bytes()).collect();
    for isa in isas() {
        let mut floats = Vec::new();
        with_halves(isa, AllHalves(&bytes, &mut floats));
        assert_eq!(floats.len(), finite.len());
        for (&half, float) in finite.iter().zip(floats) {
            assert_eq!(
                float.to_bits(),
                half::f16::from_bits(half).to_f32().to_bits(),
                "{half:#x} on {isa:?}"
            );
        }
    }
}
