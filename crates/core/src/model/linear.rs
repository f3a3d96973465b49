//! Linear layers and norms on blocks of tokens.

use super::{
    LinearWeights,
    spec::{Linear, Norm},
};
use crate::{Result, act::Rows, math, pool::Pool};

/// The shared input of several linear layers; quantised once for those that take it as it is.
pub(super) struct LinearInput<'a> {
    rows: &'a mut Rows,
    x: &'a [f32],
    pool: &'a dyn Pool,
    /// `rows` holds `x` itself (not a layer's own normalisation of it).
    plain: bool,
}

impl<'a> LinearInput<'a> {
    /// The input `x` of `(n, cols)`.
    pub fn new(rows: &'a mut Rows, x: &'a [f32], pool: &'a dyn Pool) -> Self {
        Self { rows, x, pool, plain: false }
    }

    /// y = W·x (+ bias), `(n, out)`.
    ///
    /// # Errors
    /// `out-of-memory`.
    pub fn apply(&mut self, spec: Linear, layer: &LinearWeights, y: &mut [f32]) -> Result<()> {
        let cols = layer.matrix.cols();
        let n = self.x.len() / cols;
        match (spec.norm, &layer.norm) {
            (Some(norm), Some(gain)) => {
                norm_rows(self.x, gain, norm, self.rows.set(n, cols));
                self.plain = false;
            }
            _ if !self.plain => {
                self.rows.set(n, cols).copy_from_slice(self.x);
                self.plain = true;
            }
            _ => {}
        }
        self.rows.prepare(layer.matrix.input())?;
        layer.matrix.mul(self.rows, y, self.pool);
        if let Some(bias) = &layer.bias {
            for y in y.chunks_exact_mut(bias.len()) {
                math::add(y, bias);
            }
        }
        Ok(())
    }
}

/// Normalises rows as wide as `gain` into `out`.
pub(super) fn norm_rows(x: &[f32], gain: &[f32], norm: Norm, out: &mut [f32]) {
    for (x, out) in x.chunks_exact(gain.len()).zip(out.chunks_exact_mut(gain.len())) {
        math::rms_norm(x, gain, norm.eps, out);
    }
}

/// [`norm_rows`] in place, for a norm and gain that both are there or not.
pub(super) fn norm_in_place(x: &mut [f32], norm: Option<Norm>, gain: Option<&[f32]>) {
    let (Some(norm), Some(gain)) = (norm, gain) else { return };
    for x in x.chunks_exact_mut(gain.len()) {
        math::rms_norm_in_place(x, gain, norm.eps);
    }
}
