//! Packed weights that remember their kernel.
//!
//! Invariant: `data` is in the layout of `kernel`, so packed bytes can never meet a foreign kernel.

use alloc::vec::Vec;
use core::ops::Range;

use crate::{
    Result,
    activations::{ActFormat, Activations},
    bail,
    format::{Form, FormRow},
    kernel::{Kernel, MAX_COLS, Panels, ReadOrder, Skips},
    pool::{self, Pool},
    simd::Buffer,
    tile::Tile,
    tune::Product,
};

/// Weights to be packed below which a task of their own costs more than it saves.
const FILL_TASK: usize = 1 << 18;

/// A matrix (rows, cols) of packed weights.
#[derive(Clone, Debug)]
pub struct Matrix {
    rows: usize,
    cols: usize,
    padded: usize,
    panel_bytes: usize,
    kernel: &'static Kernel,
    data: Buffer<u8>,
    /// One per row for `Ternary` and `I8`, else none.
    scales: Vec<f32>,
}

impl Matrix {
    /// A matrix of zero bytes, to be filled row by row.
    ///
    /// # Errors
    /// `out-of-memory`; `shape` for a matrix without rows or columns; `too-large` for more than
    /// [`MAX_COLS`] columns or more bytes than can be addressed.
    pub fn new(kernel: &'static Kernel, rows: usize, cols: usize) -> Result<Self> {
        let mut matrix = Self::to_fill(kernel, rows, cols, true)?;
        matrix.data.resize(matrix.all_bytes())?;
        Ok(matrix)
    }

    /// A matrix whose rows all come with [`Matrix::fill`] before it is used, the first ones first: memory is
    /// touched as they come. With `reserve` it is set aside now; without, rows that never come take none.
    ///
    /// # Errors
    /// As [`Matrix::new`].
    pub fn to_fill(kernel: &'static Kernel, rows: usize, cols: usize, reserve: bool) -> Result<Self> {
        if rows == 0 || cols == 0 {
            bail!(Shape, "a matrix of {rows} × {cols}");
        }
        if cols > MAX_COLS {
            bail!(TooLarge, "{cols} columns (at most {MAX_COLS})");
        }
        let layout = kernel.layout;
        let padded = cols.next_multiple_of(layout.step);
        let panel_bytes = (layout.panel_bytes)(padded);
        let Some(bytes) = rows.div_ceil(layout.panel).checked_mul(panel_bytes) else {
            bail!(TooLarge, "a matrix of {rows} × {cols}");
        };
        let mut data = Buffer::new();
        if reserve {
            data.reserve(bytes)?;
        }
        let mut scales = Vec::new();
        if layout.form.has_row_scales() {
            scales.try_reserve_exact(rows)?;
            scales.resize(rows, 0.0);
        }
        Ok(Self { rows, cols, padded, panel_bytes, kernel, data, scales })
    }

    /// Bytes of all panels.
    fn all_bytes(&self) -> usize {
        self.rows.div_ceil(self.kernel.layout.panel) * self.panel_bytes
    }

    /// Packs row `r`; any order, any number of times. `row` has the shape of the matrix's form (see
    /// [`FormRow`]); a row scale left out (empty `scales`) stays as it is: see [`Matrix::set_scale`].
    ///
    /// # Panics
    /// If there is no such row or `row` has another width.
    pub fn set_row(&mut self, r: usize, row: &FormRow) {
        assert!(r < self.rows);
        assert!(is_whole(self.form(), row, self.cols));
        if let (Some(to), Some(&scale)) = (self.scales.get_mut(r), row.scales.first()) {
            *to = scale;
        }
        let layout = self.kernel.layout;
        let panel = &mut self.data[r / layout.panel * self.panel_bytes..][..self.panel_bytes];
        (layout.pack)(self.kernel.isa(), core::slice::from_ref(row), r % layout.panel, panel);
    }

    /// Packs the rows of `range`: `source(r, row)` supplies row `r`, as [`Matrix::set_row`] wants it, in an
    /// emptied `row`. Whole panels are packed at once and shared among the threads of `pool`, which
    /// changes no bit; so this is the fast way to fill a matrix.
    ///
    /// # Errors
    /// The first one, in the order of rows, that `source` gives; what the range holds then is unspecified.
    /// `out-of-memory` where it was not reserved.
    ///
    /// # Panics
    /// If there are no such rows or one has another width.
    pub fn fill(
        &mut self,
        range: Range<usize>,
        pool: &dyn Pool,
        source: &(dyn Fn(usize, &mut FormRow) -> Result<()> + Sync),
    ) -> Result<()> {
        assert!(range.start <= range.end && range.end <= self.rows);
        let layout = self.kernel.layout;
        let panels = range.start / layout.panel..range.end.div_ceil(layout.panel);
        let work = range.len() * self.cols;
        // More tasks than threads, so that a thread that is held up does not hold up all.
        let tasks = if pool.width() == 1 { 1 } else { (work / FILL_TASK).clamp(1, 4 * pool.width()) };
        let each = panels.len().div_ceil(tasks).max(1);
        let mut done = Vec::new();
        done.resize_with(panels.len().div_ceil(each), || Ok(Vec::new()));
        let end = panels.end * self.panel_bytes;
        if self.data.len() < end {
            // Twice as much each time, where it was not reserved: else it would be moved for every chunk.
            let more = if self.data.is_reserved(end) { end } else { end.max(2 * self.data.len()) };
            self.data.resize_on(more.min(self.all_bytes()), pool)?;
        }
        let data = &mut self.data[panels.start * self.panel_bytes..end];
        let (kernel, cols, panel_bytes) = (self.kernel, self.cols, self.panel_bytes);
        pool::chunks_with(pool, data, each * panel_bytes, &mut done, &|task, data, done| {
            let first = (panels.start + task * each) * layout.panel;
            done[0] = pack(kernel, cols, first, &range, data, panel_bytes, source);
        });
        let mut r = range.start;
        for scales in done {
            for scale in scales? {
                if let (Some(to), Some(scale)) = (self.scales.get_mut(r), scale) {
                    *to = scale;
                }
                r += 1;
            }
        }
        Ok(())
    }

    /// Sets the scale of row `r` alone (its codes may come before or after).
    ///
    /// # Panics
    /// If there is no such row or the form has no scale per row.
    pub fn set_scale(&mut self, r: usize, scale: f32) {
        self.scales[r] = scale;
    }

    /// Whether its form has a scale for each row.
    pub fn has_row_scales(&self) -> bool {
        !self.scales.is_empty()
    }

    /// Multiplies the scale of every row, for scales that come after the codes.
    ///
    /// # Panics
    /// If the form has no scale per row.
    pub fn scale_rows(&mut self, factor: f32) {
        assert!(!self.scales.is_empty());
        self.scales.iter_mut().for_each(|scale| *scale *= factor);
    }

    /// Writes the values of row `r` (cols).
    ///
    /// # Panics
    /// If there is no such row or `out` has another width.
    pub fn row(&self, r: usize, out: &mut [f32]) {
        assert!(r < self.rows && out.len() == self.cols);
        let layout = self.kernel.layout;
        let panel = &self.data[r / layout.panel * self.panel_bytes..][..self.panel_bytes];
        (layout.unpack)(panel, r % layout.panel, out);
        if let Some(scale) = self.scales.get(r) {
            out.iter_mut().for_each(|v| *v *= scale);
        }
    }

    /// `y[t · rows + r] = Σ_k self[r][k] · x[t][k]`, for each token `t` of `x`.
    ///
    /// # Panics
    /// If `x` has another width or is not prepared for [`Matrix::input`], or `y` another length.
    pub fn mul(&self, x: &Activations, y: &mut [f32], pool: &dyn Pool) {
        self.mul_live(x, &[], y, pool);
    }

    /// As [`Matrix::mul`] with one token, where only those rows matter whose `live` is not 0. Layouts that skip rows
    /// give 0 for the others, and do not read them.
    ///
    /// # Panics
    /// As there, or if there is no `live` for each row.
    pub fn mul_live(&self, x: &Activations, live: &[f32], y: &mut [f32], pool: &dyn Pool) {
        assert!(live.is_empty() || live.len() == self.rows && x.n() == 1);
        assert_eq!(x.cols(), self.cols);
        assert_eq!(y.len(), x.n() * self.rows);
        if x.n() == 0 {
            return;
        }
        let panel = self.kernel.layout.panel;
        let product = Product {
            kernel: self.kernel,
            matrix: core::ptr::from_ref(self).addr(),
            bytes: self.data.len(),
            work: self.rows * self.cols * x.n(),
            panels: self.rows.div_ceil(panel),
            tokens: x.n(),
            width: pool.width(),
        };
        pool.tuned(&product, &mut |plan| {
            assert!(plan.kernel.layout == self.kernel.layout, "{:?} reads another layout", plan.kernel);
            pool::tiles(pool, y, self.rows, panel, plan.tasks, &|range, tile| {
                let live = live.get(range.clone()).unwrap_or(&[]);
                plan.kernel.mul(&Panels { live, ..self.panels(range, plan.order) }, x, tile);
            });
        });
    }

    /// The panels of a range of rows that begins with a panel.
    fn panels(&self, rows: Range<usize>, order: ReadOrder) -> Panels<'_> {
        let panel = self.kernel.layout.panel;
        let (first, last) = (rows.start / panel, rows.end.div_ceil(panel));
        Panels {
            data: &self.data[first * self.panel_bytes..last * self.panel_bytes],
            rows: rows.len(),
            scales: self.scales.get(rows).unwrap_or(&[]),
            cols: self.padded,
            panel_bytes: self.panel_bytes,
            order,
            live: &[],
        }
    }

    /// As [`Matrix::mul`] with one token, for the rows of panel `p` alone.
    ///
    /// # Panics
    /// As there, or if `p` has another number of rows than `y`.
    pub fn mul_panel(&self, p: usize, x: &Activations, y: &mut [f32]) {
        assert!(x.cols() == self.cols && x.n() == 1);
        let first = p * self.kernel.layout.panel;
        let width = y.len();
        self.kernel.mul(
            &self.panels(first..first + width, ReadOrder::DEFAULT),
            x,
            &mut Tile::whole(y, width),
        );
    }

    /// A number that equal matrices share, and few others: a look at its ends.
    pub fn fingerprint(&self) -> u64 {
        let bytes = &self.data[..];
        let ends = bytes.iter().take(256).chain(bytes.iter().rev().take(256)).map(|&byte| u64::from(byte));
        let scales = self.scales.iter().take(16).map(|scale| u64::from(scale.to_bits()));
        let shape = [self.rows as u64, self.cols as u64].into_iter();
        shape
            .chain(ends)
            .chain(scales)
            .fold(0xCBF2_9CE4_8422_2325, |hash, x| (hash ^ x).wrapping_mul(0x0100_0000_01B3).rotate_left(23))
    }

    /// Whether `other` holds the same weights in the same layout, to the last bit.
    pub fn is_same(&self, other: &Self) -> bool {
        let bits = |scales: &[f32]| scales.iter().map(|scale| scale.to_bits()).collect::<Vec<_>>();
        core::ptr::eq(self.kernel, other.kernel)
            && (self.rows, self.cols) == (other.rows, other.cols)
            && self.data[..] == other.data[..]
            && bits(&self.scales) == bits(&other.scales)
    }

    /// How many rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// How many columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// The form of its weights.
    pub fn form(&self) -> Form {
        self.kernel.layout.form
    }

    /// What activations must be prepared for.
    pub fn input(&self) -> ActFormat {
        self.kernel.input()
    }

    /// What its kernel leaves unread.
    pub fn skips(&self) -> Skips {
        self.kernel.layout.skips
    }

    /// The kernel that multiplies it.
    pub fn kernel(&self) -> &'static Kernel {
        self.kernel
    }

    /// Bytes of packed weights and scales.
    pub fn bytes(&self) -> usize {
        self.data.len() + self.scales.len() * 4
    }
}

/// Whether a row has `cols` weights, or is one of scales alone, where a form takes them later.
fn is_whole(form: Form, row: &FormRow, cols: usize) -> bool {
    let weights = row.codes.len().max(row.floats.len());
    weights == cols || weights == 0 && (form.is_e2m1() || form.is_fp8())
}

/// Packs those rows of `range` that lie in `data`, which holds whole panels from row `first` on; gives
/// the scale of each.
fn pack(
    kernel: &Kernel,
    cols: usize,
    first: usize,
    range: &Range<usize>,
    data: &mut [u8],
    panel_bytes: usize,
    source: &(dyn Fn(usize, &mut FormRow) -> Result<()> + Sync),
) -> Result<Vec<Option<f32>>> {
    let layout = kernel.layout;
    let mut rows = Vec::new();
    rows.resize_with(layout.panel, FormRow::default);
    let mut scales = Vec::new();
    for (first, panel) in (first..).step_by(layout.panel).zip(data.chunks_exact_mut(panel_bytes)) {
        let lanes = first.max(range.start)..(first + layout.panel).min(range.end);
        let rows = &mut rows[..lanes.len()];
        for (r, row) in lanes.clone().zip(&mut *rows) {
            row.clear();
            source(r, row)?;
            assert!(is_whole(layout.form, row, cols));
            scales.push(row.scales.first().copied());
        }
        (layout.pack)(kernel.isa(), rows, lanes.start - first, panel);
    }
    Ok(scales)
}
