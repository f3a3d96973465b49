//! Kernels on trial: the self-test that an engine's instructions do what they should, and the clock.

use alloc::{vec, vec::Vec};

use super::{Kernel, scalar};
use crate::{
    Result,
    act::Rows,
    format::{Form, FormRow},
    matrix::Matrix,
    pool::Serial,
};

/// A small, fast generator (SplitMix64): test data need not be good, only the same everywhere.
pub(crate) struct Random(pub u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    /// In `low..=high`.
    pub(crate) fn code(&mut self, low: i8, high: i8) -> i8 {
        let span = (i32::from(high) - i32::from(low) + 1) as u64;
        (i32::from(low) + (self.next() % span) as i32) as i8
    }

    /// In −1…1.
    pub(crate) fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

/// The smallest and largest code of a form; `None` for float forms.
pub(crate) fn code_range(form: Form) -> Option<(i8, i8)> {
    match form {
        Form::Ternary => Some((-1, 1)),
        Form::Q2 => Some((-1, 2)),
        Form::Q4 => Some((0, 15)),
        Form::Q8 | Form::Q8x16 => Some((-128, 127)),
        Form::I8 => Some((-127, 127)),
        Form::F16 | Form::BF16 | Form::F32 => None,
    }
}

/// A row of `form` whose codes come from `code(column)` and whose floats are small and exact in every form.
pub(crate) fn row(
    form: Form,
    cols: usize,
    random: &mut Random,
    mut code: impl FnMut(&mut Random) -> i8,
) -> FormRow {
    let mut row = FormRow::default();
    if code_range(form).is_none() {
        row.floats = (0..cols).map(|_| f32::from(random.code(-127, 127)) / 64.0).collect();
        return row;
    }
    row.codes = (0..cols).map(|_| code(random)).collect();
    let blocks = form.block().map_or(1, |block| cols.div_ceil(block));
    row.scales = (0..blocks).map(|_| random.unit()).collect();
    if matches!(form, Form::Q4 | Form::Q8 | Form::Q8x16) {
        row.mins = (0..blocks).map(|_| random.unit()).collect();
    }
    row
}

/// Whether `kernel` agrees with the scalar kernel on a small matrix of random and extreme values.
///
/// # Panics
/// If this CPU cannot run `kernel`.
pub fn self_test(kernel: &'static Kernel) -> bool {
    let run = || -> Result<bool> {
        let form = kernel.layout.form;
        let (rows, cols, tokens) = (kernel.layout.panel + 1, 2 * kernel.layout.step + 3, 7);
        let spec = scalar::KERNELS.iter().find(|k| k.layout.form == form);
        let Some(spec) = spec else { return Ok(false) };
        let (mut a, mut b) = (Matrix::new(kernel, rows, cols)?, Matrix::new(spec, rows, cols)?);
        let mut random = Random(1);
        for r in 0..rows {
            let row = row(form, cols, &mut random, |random| {
                let (low, high) = code_range(form).unwrap_or((0, 0));
                if r == 0 { low } else { random.code(low, high) }
            });
            a.set_row(r, &row);
            b.set_row(r, &row);
        }
        let mut x = Rows::new(kernel.isa());
        let values = x.set(tokens, cols);
        values.fill_with(|| random.unit());
        values[..cols].fill(-1.0);
        x.prepare(kernel.input())?;
        let (mut ya, mut yb) = (vec![0.0; rows * tokens], vec![0.0; rows * tokens]);
        a.mul(&x, &mut ya, &Serial);
        b.mul(&x, &mut yb, &Serial);
        Ok(ya.iter().zip(&yb).all(|(a, b)| a.to_bits() == b.to_bits()))
    };
    run().unwrap_or(false)
}

/// The fastest of the kernels that could stand in for [`select`](super::select)'s choice: those that read
/// the same layout. An engine's relaxed dot products are one instruction on one CPU and three on another,
/// which only a clock (in seconds) can tell.
///
/// # Errors
/// As [`select`](super::select) and [`time_kernel`].
pub fn fastest(form: Form, clock: &dyn Fn() -> f64) -> Result<&'static Kernel> {
    let mut best = super::select(form, super::isa("auto")?)?;
    let time = |kernel| time_kernel(kernel, 256, 2560, 1, clock);
    let rivals = super::available().filter(|k| *k.layout == *best.layout && k.name != best.name);
    let rivals: Vec<_> = rivals.filter(|k| self_test(k)).collect();
    if !rivals.is_empty() {
        let mut least = time(best)?;
        for kernel in rivals {
            let seconds = time(kernel)?;
            if seconds < least {
                (best, least) = (kernel, seconds);
            }
        }
    }
    Ok(best)
}

/// Seconds that `kernel` needs for one product of a (rows, cols) matrix with `tokens` tokens on one
/// thread: the best of several. `clock` gives seconds.
///
/// # Errors
/// `out-of-memory`; `too-large`, `bad-option` for shapes that no matrix has.
///
/// # Panics
/// If this CPU cannot run `kernel`.
pub fn time_kernel(
    kernel: &'static Kernel,
    rows: usize,
    cols: usize,
    tokens: usize,
    clock: &dyn Fn() -> f64,
) -> Result<f64> {
    let form = kernel.layout.form;
    let (low, high) = code_range(form).unwrap_or((0, 0));
    let mut random = Random(2);
    let mut matrix = Matrix::new(kernel, rows, cols)?;
    let variants: Vec<FormRow> =
        (0..16).map(|_| row(form, cols, &mut random, |random| random.code(low, high))).collect();
    for r in 0..rows {
        matrix.set_row(r, &variants[r % variants.len()]);
    }
    let mut x = Rows::new(kernel.isa());
    x.set(tokens, cols).fill_with(|| random.unit());
    x.prepare(kernel.input())?;
    let mut y = vec![0.0; rows * tokens];
    let mut best = f64::INFINITY;
    let begin = clock();
    // Browsers' clocks are coarse: enough products for a millisecond between two looks.
    let mut products = 1;
    for _ in 0..32 {
        let start = clock();
        for _ in 0..products {
            matrix.mul(&x, &mut y, &Serial);
        }
        let end = clock();
        best = best.min((end - start) / f64::from(products));
        if end - start < 1e-3 && products < 64 {
            (products, best) = (2 * products, f64::INFINITY);
        } else if end - begin > 0.05 {
            break;
        }
    }
    Ok(best)
}
