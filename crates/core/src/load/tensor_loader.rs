//! One tensor's bytes, in order → a vector or a packed matrix, as the plan decided.

use alloc::{
    string::{String, ToString},
    vec::Vec,
};
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use super::part::{Becomes, Latent, Part};
use crate::{
    Result, bail,
    format::{self, Encoding, Form, FormRow},
    kernel::{self, quantise_i8},
    matrix::Matrix,
    model::spec::Shape,
    pool::Pool,
    simd::{Isa, vectorised},
};

/// The most bytes of an HF packed matrix in a file of unknown length: its first byte holds rows from all
/// four quarters, so memory cannot grow as they arrive. (The largest of a 70B model has 59 MB.)
const MAX_UNPROVEN: u64 = 64 << 20;

/// A tensor that has arrived whole.
pub(super) enum Loaded {
    /// A norm, a bias, a scale.
    Vector(Vec<f32>),
    /// Bytes as stored.
    Raw { name: String, encoding: Encoding, bytes: Vec<u8> },
    /// Packed weights; `packed`: their scales are a tensor of their own, which is not there yet.
    Matrix { name: String, encoding: Encoding, matrix: Matrix, packed: bool, trits: Trits },
}

/// How many weights were −1, 0 and +1.
pub(super) type Trits = [u64; 3];

/// [`Trits`] of rows that several threads pack.
#[derive(Default)]
struct Tally([AtomicU64; 3]);

impl Tally {
    fn count(&self, isa: Isa, codes: &[i8]) {
        let (sum, nonzero) = vectorised(
            isa,
            #[inline(always)]
            || {
                const LANES: usize = 32;
                // Sums of 8 bits, of which vectors hold the most, over runs too short to overflow them.
                codes.chunks(127 * LANES).fold((0, 0), |(sum, nonzero), run| {
                    let (mut sums, mut nonzeros) = ([0i8; LANES], [0i8; LANES]);
                    let (whole, rest) = run.as_chunks::<LANES>();
                    for codes in whole {
                        for k in 0..LANES {
                            sums[k] += codes[k];
                            nonzeros[k] += i8::from(codes[k] != 0);
                        }
                    }
                    let total = |values: &[i8]| values.iter().map(|&v| i64::from(v)).sum::<i64>();
                    let others = rest.iter().filter(|&&code| code != 0).count() as i64;
                    (sum + total(&sums) + total(rest), nonzero + total(&nonzeros) + others)
                })
            },
        );
        let plus = (nonzero + sum) / 2;
        for (total, n) in self.0.iter().zip([nonzero - plus, codes.len() as i64 - nonzero, plus]) {
            total.fetch_add(n as u64, Relaxed);
        }
    }

    fn trits(self) -> Trits {
        self.0.map(AtomicU64::into_inner)
    }
}

/// Takes a tensor's bytes in order.
pub(super) enum TensorLoader {
    /// Small: collected whole, then read as floats.
    Vector { encoding: Encoding, len: usize, bytes: Vec<u8> },
    /// Collected whole, and kept as they are.
    Raw { name: String, encoding: Encoding, bytes: Vec<u8> },
    /// Packed as rows become whole.
    Rows(Rows),
    /// Latent weights: collected whole, because ternarising needs the mean of all.
    Latent { name: String, encoding: Encoding, matrix: Matrix, bytes: Vec<u8>, becomes: Latent },
}

/// A matrix being packed.
pub(super) struct Rows {
    name: String,
    encoding: Encoding,
    matrix: Matrix,
    isa: Isa,
    row_bytes: usize,
    /// Stored rows: a quarter of the outputs for HF's packed ternary.
    stored: usize,
    next: usize,
    /// The beginning of a panel (or of the tail) that a chunk cut.
    partial: Vec<u8>,
    tally: Tally,
}

fn to_usize(n: u64) -> Result<usize> {
    match usize::try_from(n) {
        Ok(n) => Ok(n),
        Err(_) => bail!(TooLarge, "{n} bytes are not addressable here"),
    }
}

impl TensorLoader {
    /// For a part of a tensor. `len_known`: the file was found to be long enough for it; if not, it may take no
    /// more memory than its bytes justify when they arrive.
    ///
    /// # Errors
    /// `out-of-memory`, `too-large`.
    pub(super) fn new(part: &Part, isa: Isa, len_known: bool) -> Result<Self> {
        let encoding = part.encoding;
        let (form, latent, skips) = match part.becomes {
            Becomes::Vector => {
                let Shape::Vector(len) = part.shape else { bail!(Shape, "'{}' is a matrix", part.name) };
                let mut bytes = Vec::new();
                bytes.try_reserve_exact(to_usize(part.bytes)?)?;
                return Ok(Self::Vector { encoding, len, bytes });
            }
            Becomes::Raw => {
                return Ok(Self::Raw { name: part.name.to_string(), encoding, bytes: Vec::new() });
            }
            Becomes::Matrix { form, latent, skips, .. } => (form, latent, skips),
        };
        let Shape::Matrix(rows, cols) = part.shape else { bail!(Shape, "'{}' is a vector", part.name) };
        let packed = encoding == Encoding::U8;
        if packed && !len_known && part.bytes > MAX_UNPROVEN {
            bail!(TooLarge, "'{}' has {} bytes in a file of unknown length", part.name, part.bytes);
        }
        let kernel = kernel::select_skipping(form, skips, isa)?;
        let matrix = Matrix::to_fill(kernel, rows, cols, len_known && latent.is_none())?;
        let name = part.name.to_string();
        if let Some(becomes) = latent {
            let mut bytes = Vec::new();
            if len_known {
                bytes.try_reserve_exact(to_usize(part.bytes)?)?;
            }
            return Ok(Self::Latent { name, encoding, matrix, bytes, becomes });
        }
        Ok(Self::Rows(Rows {
            name,
            encoding,
            matrix,
            isa,
            row_bytes: to_usize(encoding.row_bytes(cols as u64)?)?,
            stored: if packed { rows.div_ceil(4) } else { rows },
            next: 0,
            partial: Vec::new(),
            tally: Tally::default(),
        }))
    }

    /// Takes the next bytes; never more than the tensor has.
    pub(super) fn push(&mut self, bytes: &[u8], pool: &dyn Pool) -> Result<()> {
        match self {
            Self::Vector { bytes: all, .. }
            | Self::Latent { bytes: all, .. }
            | Self::Raw { bytes: all, .. } => {
                all.try_reserve(bytes.len())?;
                all.extend_from_slice(bytes);
            }
            Self::Rows(rows) => rows.push(bytes, pool)?,
        }
        Ok(())
    }

    /// The tensor is whole.
    pub(super) fn finish(self, isa: Isa, pool: &dyn Pool) -> Result<Loaded> {
        Ok(match self {
            Self::Vector { encoding, len, bytes } => {
                let mut row = FormRow::default();
                format::unpack(isa, encoding, &bytes, len, &mut row)?;
                Loaded::Vector(row.floats)
            }
            Self::Raw { name, encoding, bytes } => Loaded::Raw { name, encoding, bytes },
            Self::Rows(rows) => rows.finish()?,
            Self::Latent { name, encoding, mut matrix, bytes, becomes } => {
                let weights = LatentWeights { isa, encoding, bytes: &bytes };
                let trits = match becomes {
                    Latent::Ternary => weights.ternarise(&mut matrix, pool)?,
                    Latent::Binary => weights.binarise(&mut matrix, pool)?,
                };
                Loaded::Matrix { name, encoding, matrix, packed: false, trits }
            }
        })
    }
}

impl Rows {
    /// Packs the panels that are whole now, and keeps the rest.
    fn push(&mut self, mut bytes: &[u8], pool: &dyn Pool) -> Result<()> {
        while !bytes.is_empty() && self.next < self.stored {
            let panel = self.matrix.kernel().layout.panel;
            let left = self.stored - self.next;
            let to_boundary = left.min(panel - self.next % panel);
            let need = to_boundary * self.row_bytes;
            if self.partial.is_empty() && bytes.len() >= need {
                let whole = left.min(bytes.len() / self.row_bytes);
                let beyond = if whole == left { 0 } else { (self.next + whole) % panel };
                let (rows, rest) = bytes.split_at((whole - beyond) * self.row_bytes);
                self.pack(rows, pool)?;
                bytes = rest;
            } else {
                let (part, rest) = bytes.split_at(bytes.len().min(need - self.partial.len()));
                self.partial.extend_from_slice(part);
                bytes = rest;
                if self.partial.len() == need {
                    let rows = core::mem::take(&mut self.partial);
                    self.pack(&rows, pool)?;
                    self.partial = rows;
                    self.partial.clear();
                }
            }
        }
        // The tail after the last row (i2_s keeps its scale there).
        self.partial.extend_from_slice(bytes);
        Ok(())
    }

    /// Packs stored rows, the next ones.
    fn pack(&mut self, bytes: &[u8], pool: &dyn Pool) -> Result<()> {
        let Self { isa, encoding, ref mut matrix, row_bytes, stored, next, ref tally, .. } = *self;
        let (cols, form) = (matrix.cols(), matrix.form());
        let rows = next..next + bytes.len() / row_bytes;
        let stored_row = |r: usize| &bytes[(r - next) * row_bytes..][..row_bytes];
        if encoding == Encoding::U8 {
            for (quarter, offset) in (0..4).map(|quarter| (quarter, quarter * stored)) {
                matrix.fill(rows.start + offset..rows.end + offset, pool, &|r, row| {
                    format::unpack_hf(isa, stored_row(r - offset), cols, quarter, row)?;
                    row.scales.push(1.0);
                    tally.count(isa, &row.codes);
                    Ok(())
                })?;
            }
            self.next = rows.end;
            return Ok(());
        }
        // The first row with several scales.
        let uneven = AtomicUsize::new(usize::MAX);
        matrix.fill(rows.clone(), pool, &|r, row| {
            format::unpack(isa, encoding, stored_row(r), cols, row)?;
            match form {
                Form::Ternary if encoding == Encoding::I2_S => row.scales.push(1.0),
                Form::Ternary => {
                    let scale = uniform_scale(row, cols);
                    if scale.is_none() {
                        uneven.fetch_min(r, Relaxed);
                    }
                    row.scales.clear();
                    row.scales.extend(scale);
                }
                Form::I8 => {
                    let values = core::mem::take(&mut row.floats);
                    quantise_i8(isa, &values, row);
                    row.floats = values;
                }
                Form::Q2 if matches!(encoding, Encoding::TQ1_0 | Encoding::TQ2_0) => spread_scales(row, cols),
                _ => {}
            }
            if form == Form::Ternary {
                tally.count(isa, &row.codes);
            }
            Ok(())
        })?;
        match uneven.into_inner() {
            usize::MAX => self.next = rows.end,
            r => {
                self.reblock(r, pool)?;
                self.next = r;
                self.pack(&bytes[(r - rows.start) * row_bytes..], pool)?;
            }
        }
        Ok(())
    }

    /// A row has several scales, so this is no BitNet matrix: rows `0..r` move to the form with a
    /// scale per block, and the rest follows them.
    fn reblock(&mut self, r: usize, pool: &dyn Pool) -> Result<()> {
        let (rows, cols) = (self.matrix.rows(), self.matrix.cols());
        let mut blocked = Matrix::new(kernel::select(Form::Q2, self.isa)?, rows, cols)?;
        blocked.fill(0..r, pool, &|i, row| {
            let mut values = alloc::vec![0.0; cols];
            self.matrix.row(i, &mut values);
            let scale = values.iter().fold(0.0f32, |m, x| if x.abs() > m { x.abs() } else { m });
            row.codes.extend(values.iter().map(|&x| if x == 0.0 { 0 } else { x.signum() as i8 }));
            row.scales.push(scale);
            spread_scales(row, cols);
            Ok(())
        })?;
        self.matrix = blocked;
        Ok(())
    }

    fn finish(mut self) -> Result<Loaded> {
        if self.encoding == Encoding::I2_S {
            let scale = format::i2_s_scale(&self.partial)?;
            self.matrix.scale_rows(scale);
        }
        let packed = self.encoding.has_scales_beside();
        Ok(Loaded::Matrix {
            name: self.name,
            encoding: self.encoding,
            matrix: self.matrix,
            packed,
            trits: self.tally.trits(),
        })
    }
}

/// The one scale of a row whose blocks agree; blocks without a weight have no say.
fn uniform_scale(row: &FormRow, cols: usize) -> Option<f32> {
    let block = cols / row.scales.len().max(1);
    let mut scale = None;
    for (codes, &s) in row.codes.chunks(block.max(1)).zip(&row.scales) {
        if codes.iter().all(|&c| c == 0) {
            continue;
        }
        match scale {
            None => scale = Some(s),
            Some(other) if other != s => return None,
            _ => {}
        }
    }
    Some(scale.unwrap_or(0.0))
}

/// Repeats a row's scales so that there is one for each block of [`Form::Q2`].
fn spread_scales(row: &mut FormRow, cols: usize) {
    let blocks = cols.div_ceil(64);
    let have = row.scales.len().max(1);
    let scales = (0..blocks).map(|b| row.scales.get(b * have / blocks).copied().unwrap_or(0.0)).collect();
    row.scales = scales;
}

/// Latent weights of a matrix, all of them, as the file has them.
struct LatentWeights<'a> {
    isa: Isa,
    encoding: Encoding,
    bytes: &'a [u8],
}

impl LatentWeights<'_> {
    /// Calls `f` for each weight, in order.
    ///
    /// # Errors
    /// `bad-data` for one that is not finite: the scale is made of all.
    fn each(&self, cols: usize, mut f: impl FnMut(f32)) -> Result<()> {
        let row_bytes = to_usize(self.encoding.row_bytes(cols as u64)?)?;
        let mut row = FormRow::default();
        for stored in self.bytes.chunks_exact(row_bytes) {
            format::unpack(self.isa, self.encoding, stored, cols, &mut row)?;
            for &w in &row.floats {
                if !w.is_finite() {
                    bail!(BadData, "a weight is {w}");
                }
                f(w);
            }
        }
        Ok(())
    }

    /// Fills `matrix` with rows of this `scale`; `code` makes a row's codes of its weights.
    fn pack(
        &self,
        matrix: &mut Matrix,
        pool: &dyn Pool,
        scale: f32,
        code: &(dyn Fn(&[f32], &mut FormRow) + Sync),
    ) -> Result<Trits> {
        let cols = matrix.cols();
        let row_bytes = to_usize(self.encoding.row_bytes(cols as u64)?)?;
        let tally = Tally::default();
        matrix.fill(0..matrix.rows(), pool, &|r, codes| {
            let mut row = FormRow::default();
            format::unpack(self.isa, self.encoding, &self.bytes[r * row_bytes..], cols, &mut row)?;
            code(&row.floats, codes);
            codes.scales.push(scale);
            tally.count(self.isa, &codes.codes);
            Ok(())
        })?;
        Ok(tally.trits())
    }

    /// Ternary ones: absmean (arXiv 2402.17764), or the file's own step if its values already are −v, 0, +v (absmean of
    /// those would shrink v by the share of zeros).
    fn ternarise(&self, matrix: &mut Matrix, pool: &dyn Pool) -> Result<Trits> {
        let mut step = None;
        let mut is_ternary = true;
        let mut total = 0.0f64;
        self.each(matrix.cols(), |w| {
            let magnitude = w.abs();
            total += magnitude as f64;
            if magnitude != 0.0 {
                is_ternary &= *step.get_or_insert(magnitude) == magnitude;
            }
        })?;
        let mean = (total / (matrix.rows() * matrix.cols()) as f64) as f32;
        let (inverse, scale) = match step {
            Some(step) if is_ternary => (1.0 / step, step),
            _ => {
                let inverse = 1.0 / mean.max(1e-5);
                (inverse, 1.0 / inverse)
            }
        };
        self.pack(matrix, pool, scale, &|weights, codes| format::ternarise(weights, inverse, codes))
    }

    /// ±1 and one scale: `Sign(w − mean(w)) · mean|w|` with `Sign(0) = −1` (arXiv 2310.11453). Both means are sums in f64
    /// over the whole matrix.
    fn binarise(&self, matrix: &mut Matrix, pool: &dyn Pool) -> Result<Trits> {
        let (mut sum, mut magnitudes) = (0.0f64, 0.0f64);
        self.each(matrix.cols(), |w| {
            sum += f64::from(w);
            magnitudes += f64::from(w.abs());
        })?;
        let count = (matrix.rows() * matrix.cols()) as f64;
        let (mean, scale) = ((sum / count) as f32, (magnitudes / count) as f32);
        self.pack(matrix, pool, scale, &|weights, codes| {
            codes.codes.extend(weights.iter().map(|&w| if w > mean { 1 } else { -1 }));
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn blocks_without_weights_have_no_say_in_the_scale() {
        let mut row = FormRow { codes: vec![1; 512], scales: vec![0.5, 0.5], ..FormRow::default() };
        assert_eq!(uniform_scale(&row, 512), Some(0.5));
        row.scales[1] = 0.25;
        assert_eq!(uniform_scale(&row, 512), None);
        // A scale of zero makes zeros of weights: that is another scale, not none.
        row.scales[1] = 0.0;
        assert_eq!(uniform_scale(&row, 512), None);
        row.codes[256..].fill(0);
        assert_eq!(uniform_scale(&row, 512), Some(0.5));
        row.codes.fill(0);
        assert_eq!(uniform_scale(&row, 512), Some(0.0));
        row.scales = vec![1.0, 2.0];
        spread_scales(&mut row, 512);
        assert_eq!(row.scales, [1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0]);
    }
}
