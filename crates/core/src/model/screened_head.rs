//! An exact head at nearly the price of an int8 one.
//!
//! A head of many rows is screened by an int8 copy of itself, whose logits come with a bound on how far they
//! can be from those of the head proper. Rows that could be among the best by that bound, usually a few of a
//! hundred thousand, are multiplied again, exactly. So the best [`EXACT`] logits, and which tokens they belong
//! to, are those that the head alone would give, bit for bit; the others are approximations below them.
//!
//! The bound: with weights w = ŵ + r (ŵ the int8 copy, r what it leaves out) and activations x = x̂ + e,
//! |w·x − ŵ·x̂| ≤ ‖r‖‖x‖ + ‖ŵ‖‖e‖ (Cauchy-Schwarz), plus the roundings of both f32 sums, which are at most
//! n · 2^-23 of ‖ŵ‖ + ‖r‖ times the activations' norm (Higham 2002, §3.1, with room).

use alloc::vec::Vec;

use crate::{
    Result,
    activations::{ActFormat, Activations},
    format::{Form, FormRow},
    kernel::{self, quantise_i8},
    matrix::Matrix,
    pool::Pool,
    simd::Isa,
};

/// How many of the best logits are exact.
pub const EXACT: usize = 64;

/// The int8 copy of a head.
#[derive(Debug)]
pub struct Screen {
    codes: Matrix,
    /// Per row: the norms of what the copy leaves out, and of the copy.
    norms: Vec<[f32; 2]>,
}

impl Screen {
    /// Copies `head`, for the kernels of `isa`.
    ///
    /// # Errors
    /// `out-of-memory`.
    pub fn new(head: &Matrix, isa: Isa) -> Result<Self> {
        let (rows, cols) = (head.rows(), head.cols());
        let mut codes = Matrix::new(kernel::select(Form::I8, isa)?, rows, cols)?;
        let mut norms = Vec::new();
        norms.try_reserve_exact(rows)?;
        let (mut values, mut row) = (alloc::vec![0.0; cols], FormRow::default());
        for r in 0..rows {
            head.row(r, &mut values);
            quantise_i8(isa, &values, &mut row);
            codes.set_row(r, &row);
            let scale = f64::from(row.scales[0]);
            let (mut left_out, mut kept) = (0.0, 0.0);
            for (&value, &code) in values.iter().zip(&row.codes) {
                let copy = scale * f64::from(code);
                left_out += (f64::from(value) - copy) * (f64::from(value) - copy);
                kept += copy * copy;
            }
            norms.push([left_out, kept].map(above));
        }
        Ok(Self { codes, norms })
    }

    /// Bytes of the copy.
    pub fn bytes(&self) -> usize {
        self.codes.bytes() + self.norms.len() * 8
    }

    /// The logits of one token, (rows): the [`EXACT`] best as `head` alone would give them.
    ///
    /// # Errors
    /// `out-of-memory`.
    ///
    /// # Panics
    /// If `x` is not one row as wide as `head`, or `logits` has another length than it has rows.
    pub fn mul(&self, head: &Matrix, x: &mut Activations, logits: &mut [f32], pool: &dyn Pool) -> Result<()> {
        x.prepare(ActFormat::of(Form::I8))?;
        self.codes.mul(x, logits, pool);
        let n = x.cols() as f64;
        let norm = f64::from(above(x.values().iter().map(|&v| f64::from(v) * f64::from(v)).sum()));
        // Codes are rounded to the nearest: half a step each.
        let error = libm::sqrt(n) * 0.501 / f64::from(x.token14().scale(0));
        let rounding = n / f64::from(1 << 23) * (norm + 256.0 * error);
        let bound = |&[left_out, kept]: &[f32; 2]| {
            let (left_out, kept) = (f64::from(left_out), f64::from(kept));
            (left_out * norm + kept * error + (left_out + kept) * rounding) as f32 * 1.001
        };
        let mut sure = Vec::new();
        sure.try_reserve_exact(logits.len())?;
        sure.extend(logits.iter().zip(&self.norms).map(|(logit, norms)| logit - bound(norms)));
        let best = EXACT.min(sure.len());
        // The best logit of that rank is at least this. (NaN, of a model gone wrong, screens nothing out.)
        let (.., least, _) = sure.select_nth_unstable_by(best - 1, |a, b| b.total_cmp(a));
        let least = *least;
        x.prepare(head.input())?;
        let panel = head.kernel().layout.panel;
        let mut exact = alloc::vec![0.0; panel];
        let panels = logits.chunks_mut(panel).zip(self.norms.chunks(panel));
        for (p, (logits, norms)) in panels.enumerate() {
            let hopeless = |(logit, norms): (&f32, &[f32; 2])| *logit + bound(norms) < least;
            if !logits.iter().zip(norms).all(hopeless) {
                let exact = &mut exact[..logits.len()];
                head.mul_panel(p, x, exact);
                // Its neighbours stay as they are: how many there are depends on the instruction set.
                for ((logit, norms), exact) in logits.iter_mut().zip(norms).zip(exact) {
                    if !hopeless((logit, norms)) {
                        *logit = *exact;
                    }
                }
            }
        }
        Ok(())
    }
}

/// The root of a sum of squares, rounded up generously.
fn above(squares: f64) -> f32 {
    libm::sqrt(squares) as f32 * 1.000_001
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::Serial;
    use alloc::vec;

    /// Rows that differ by less than int8 can tell, and one outlier each that makes its steps coarse.
    #[test]
    fn the_best_are_those_of_the_head_alone() {
        let (rows, cols) = (3001, 160);
        let mut state = 7_u32;
        let mut random = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        let common = Vec::from_iter((0..cols).map(|_| random()));
        for (form, isa) in
            [Form::F32, Form::BF16].into_iter().flat_map(|form| kernel::isas().map(move |isa| (form, isa)))
        {
            let mut head = Matrix::new(kernel::select(form, isa).unwrap(), rows, cols).unwrap();
            for r in 0..rows {
                let mut floats: Vec<f32> = common.iter().map(|c| c + 0.01 * random()).collect();
                floats[r % cols] += 9.0 * random();
                floats.iter_mut().for_each(|w| *w = half::bf16::from_f32(*w).to_f32());
                head.set_row(r, &FormRow { floats, ..FormRow::default() });
            }
            let screen = Screen::new(&head, isa).unwrap();
            assert!(screen.bytes() < rows * (cols + 32));
            for scale in [1e-3, 1.0, 40.0] {
                let mut x = Activations::new(isa);
                x.set(1, cols).iter_mut().zip(&common).for_each(|(x, c)| *x = scale * (c + random()));
                x.prepare(head.input()).unwrap();
                let (mut alone, mut screened) = (vec![0.0; rows], vec![0.0; rows]);
                head.mul(&x, &mut alone, &Serial);
                screen.mul(&head, &mut x, &mut screened, &Serial).unwrap();
                let best = |logits: &[f32]| {
                    let mut order = Vec::from_iter(0..rows);
                    order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
                    Vec::from_iter(order[..EXACT].iter().map(|&i| (i, logits[i].to_bits())))
                };
                assert_eq!(best(&screened), best(&alone), "{form:?}, {scale}");
                let touched = screened.iter().zip(&alone).filter(|(a, b)| a == b).count();
                assert!(touched < rows, "nothing was screened out");
            }
        }
    }
}
