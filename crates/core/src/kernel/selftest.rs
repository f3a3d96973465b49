//! Kernels on trial: the self-test that an engine's instructions do what they should, and the clock.

use alloc::{vec, vec::Vec};

use super::{Kernel, Panels, ReadOrder, scalar};
use crate::{
    Result,
    activations::Activations,
    format::{Form, FormRow},
    minifloat::{E2M1_TWICE, e4m3_to_f32, e5m2_to_f32, e8m0_to_f32},
    simd::Buffer,
    tile::Tile,
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
        Form::Mxfp4 | Form::Nvfp4 | Form::Mxfp4Exact | Form::Nvfp4Exact => Some((-12, 12)),
        Form::E4m3 | Form::E5m2 | Form::F16 | Form::BF16 | Form::F32 => None,
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
    let blocks = form.block().map_or(1, |block| cols.div_ceil(block));
    if code_range(form).is_none() {
        row.floats = match form {
            Form::E4m3 => (0..cols).map(|_| e4m3_to_f32((random.next() % 0x7F) as u8)).collect(),
            Form::E5m2 => (0..cols).map(|_| e5m2_to_f32((random.next() % 0x7C) as u8)).collect(),
            _ => (0..cols).map(|_| f32::from(random.code(-127, 127)) / 64.0).collect(),
        };
        if form.is_fp8() {
            row.floats
                .iter_mut()
                .for_each(|v| *v *= if random.next().is_multiple_of(2) { 1.0 } else { -1.0 });
            row.scales = (0..blocks).map(|_| random.unit()).collect();
        }
        return row;
    }
    row.codes = (0..cols).map(|_| code(random)).collect();
    row.scales = match form {
        // Halves of scales that a byte can hold.
        Form::Mxfp4 | Form::Mxfp4Exact => {
            (0..blocks).map(|_| 0.5 * e8m0_to_f32((random.next() % 24) as u8 + 113)).collect()
        }
        Form::Nvfp4 | Form::Nvfp4Exact => {
            (0..blocks).map(|_| 0.5 * e4m3_to_f32((random.next() % 0x7F) as u8)).collect()
        }
        _ => (0..blocks).map(|_| random.unit()).collect(),
    };
    if form.is_e2m1() {
        let nearest = |code: i8| match code {
            -12 | 12 => code,
            _ => E2M1_TWICE[(usize::from(code.unsigned_abs()) + if code < 0 { 8 } else { 0 }) % 16],
        };
        row.codes.iter_mut().for_each(|code| *code = nearest(*code));
        let number = random.unit() + 1.5;
        row.row_number = Some(if form.block() == Some(16) { 1.75 } else { number });
    }
    if matches!(form, Form::Q4 | Form::Q8 | Form::Q8x16) {
        row.mins = (0..blocks).map(|_| random.unit()).collect();
    }
    row
}

/// Packed rows, as a matrix holds them.
struct Packed {
    data: Buffer<u8>,
    scales: Vec<f32>,
    kernel: &'static Kernel,
    cols: usize,
}

impl Packed {
    fn new(kernel: &'static Kernel, rows: &[FormRow], cols: usize) -> Result<Self> {
        let layout = kernel.layout;
        let cols = cols.next_multiple_of(layout.step);
        let panel_bytes = (layout.panel_bytes)(cols);
        let mut data = Buffer::new();
        data.resize(rows.len().div_ceil(layout.panel) * panel_bytes)?;
        for (rows, panel) in rows.chunks(layout.panel).zip(data.chunks_exact_mut(panel_bytes)) {
            (layout.pack)(kernel.isa(), rows, 0, panel);
        }
        let scales = rows.iter().filter(|_| layout.form.has_row_scales()).map(|row| row.scales[0]).collect();
        Ok(Self { data, scales, kernel, cols })
    }

    fn mul(&self, x: &Activations, order: ReadOrder, y: &mut [f32]) {
        let rows = y.len() / x.n();
        let panels = Panels {
            data: &self.data,
            scales: &self.scales,
            cols: self.cols,
            rows,
            panel_bytes: (self.kernel.layout.panel_bytes)(self.cols),
            order,
            live: &[],
        };
        self.kernel.mul(&panels, x, &mut Tile::whole(y, rows));
    }
}

/// Whether `kernel` agrees with the scalar kernel on a small matrix of random and extreme values.
pub fn self_test(kernel: &'static Kernel) -> bool {
    let run = || -> Result<bool> {
        let form = kernel.layout.form;
        let (rows, cols, tokens) = (kernel.layout.panel + 1, 2 * kernel.layout.step + 3, 7);
        let spec = scalar::KERNELS.iter().find(|k| k.layout.form == form);
        let Some(spec) = spec else { return Ok(false) };
        let mut random = Random(1);
        let (low, high) = code_range(form).unwrap_or((0, 0));
        let weights: Vec<FormRow> = (0..rows)
            .map(|r| row(form, cols, &mut random, |random| if r == 0 { low } else { random.code(low, high) }))
            .collect();
        let mut x = Activations::new(kernel.isa());
        let values = x.set(tokens, cols);
        values.fill_with(|| random.unit());
        values[..cols].fill(-1.0);
        x.prepare(kernel.input())?;
        let product = |kernel| -> Result<Vec<u32>> {
            let mut y = vec![0.0; rows * tokens];
            Packed::new(kernel, &weights, cols)?.mul(&x, ReadOrder::DEFAULT, &mut y);
            Ok(y.iter().map(|y| y.to_bits()).collect())
        };
        Ok(product(kernel)? == product(spec)?)
    };
    run().unwrap_or(false)
}

/// Seconds that `kernel` needs for one product of a (rows, cols) matrix with some tokens on one thread, reading it
/// in `order`: the best of several. `clock` gives seconds.
///
/// # Errors
/// `out-of-memory`.
pub fn time_kernel(
    kernel: &'static Kernel,
    [rows, cols, tokens]: [usize; 3],
    order: ReadOrder,
    clock: &dyn Fn() -> f64,
) -> Result<f64> {
    let form = kernel.layout.form;
    let (low, high) = code_range(form).unwrap_or((0, 0));
    let mut random = Random(2);
    let variants: Vec<FormRow> =
        (0..16).map(|_| row(form, cols, &mut random, |random| random.code(low, high))).collect();
    let weights: Vec<FormRow> = variants.iter().cycle().take(rows).cloned().collect();
    let packed = Packed::new(kernel, &weights, cols)?;
    drop(weights);
    let mut x = Activations::new(kernel.isa());
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
            packed.mul(&x, order, &mut y);
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
