//! Linear layers and norms on blocks of tokens.

use alloc::vec::Vec;

use super::{
    LinearWeights, LoraWeights, NormWeights, resize,
    spec::{InputSemantics, Linear, Norm, NormKind, Rotation},
};
use crate::{
    Result,
    activations::{ActFormat, Activations},
    kernel::Skips,
    math,
    matrix::Matrix,
    pool::Pool,
};

/// The shared input of several linear layers; quantised once for those that take it as it is.
pub(super) struct LinearInput<'a> {
    rows: &'a mut Activations,
    x: &'a [f32],
    pool: &'a dyn Pool,
    rotation: Option<&'a Rotation>,
    /// What `rows` holds.
    holds: Holds,
    /// Which pass through a loop it is: which low-rank additions count.
    pass: usize,
}

/// What was made of the input for the last layer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holds {
    /// Nothing, or a layer's own normalisation of it.
    Other,
    /// The input itself.
    Plain,
    /// The input, rotated.
    Rotated,
}

impl<'a> LinearInput<'a> {
    /// The input `x` of `(n, cols)`, which layers may want rotated.
    pub fn new(
        rows: &'a mut Activations,
        x: &'a [f32],
        rotation: Option<&'a Rotation>,
        pool: &'a dyn Pool,
    ) -> Self {
        Self { rows, x, pool, rotation, holds: Holds::Other, pass: 0 }
    }

    /// The same in another pass through a loop.
    pub fn in_pass(self, pass: usize) -> Self {
        Self { pass, ..self }
    }

    /// Another input that takes this one's place in memory.
    pub fn of<'b>(&'b mut self, x: &'b [f32]) -> LinearInput<'b> {
        self.holds = Holds::Other;
        LinearInput {
            rows: &mut *self.rows,
            x,
            pool: self.pool,
            rotation: self.rotation,
            holds: Holds::Other,
            pass: self.pass,
        }
    }

    /// y = W·x, `(n, out)`, of a matrix alone.
    ///
    /// # Errors
    /// `out-of-memory`.
    pub fn multiply(&mut self, matrix: &Matrix, y: &mut [f32]) -> Result<()> {
        self.hold(Holds::Plain, matrix.cols());
        self.rows.prepare(matrix.input())?;
        matrix.mul(self.rows, y, self.pool);
        Ok(())
    }

    /// Sees to it that `rows` holds the input, rotated or not.
    fn hold(&mut self, wanted: Holds, cols: usize) {
        if self.holds == wanted {
            return;
        }
        let rows = self.rows.set(self.x.len() / cols, cols);
        rows.copy_from_slice(self.x);
        if let (Holds::Rotated, Some(rotation)) = (wanted, self.rotation) {
            rotate(rows, cols, rotation);
        }
        self.holds = wanted;
    }

    /// y = W·x (+ bias) (+ B·(A·x), the pass's own), `(n, out)`.
    ///
    /// # Errors
    /// `out-of-memory`.
    pub fn apply(&mut self, spec: Linear, layer: &LinearWeights, y: &mut [f32]) -> Result<()> {
        self.apply_live(spec, layer, &[], y)
    }

    /// As [`LinearInput::apply`]; a single token may say which outputs matter, those whose `live` is not 0. The others
    /// are any finite numbers.
    pub fn apply_live(
        &mut self,
        spec: Linear,
        layer: &LinearWeights,
        live: &[f32],
        y: &mut [f32],
    ) -> Result<()> {
        let cols = layer.matrix.cols();
        let n = self.x.len() / cols;
        match (spec.norm, &layer.norm) {
            (Some(norm), Some(gain)) => {
                let rows = self.x.chunks_exact(cols).zip(self.rows.set(n, cols).chunks_exact_mut(cols));
                rows.for_each(|(x, out)| math::rms_norm(x, gain, norm.eps, out));
                self.holds = Holds::Other;
            }
            _ => self.hold(if spec.rotated { Holds::Rotated } else { Holds::Plain }, cols),
        }
        match spec.input {
            InputSemantics::Quantised(quantiser) => {
                self.rows.prepare_with(quantiser)?;
                if layer.matrix.input() == ActFormat::Nonzero8 {
                    self.rows.list_nonzero()?;
                }
            }
            InputSemantics::Rounded(rounding) => self.rows.prepare_rounded(rounding)?,
            InputSemantics::Int8 | InputSemantics::Float => self.rows.prepare(layer.matrix.input())?,
        }
        let live = if n == 1 && layer.matrix.skips() == Skips::Rows { live } else { &[] };
        layer.matrix.mul_live(self.rows, live, y, self.pool);
        if let Some(bias) = &layer.bias {
            for y in y.chunks_exact_mut(bias.len()) {
                math::add(y, bias);
            }
        }
        match layer.lora.get(self.pass) {
            Some(lora) => self.add_lora(lora, y),
            None => Ok(()),
        }
    }

    /// y ← y + B·(A·x).
    fn add_lora(&mut self, lora: &LoraWeights, y: &mut [f32]) -> Result<()> {
        let n = self.x.len() / lora.a.cols();
        let (mut low, mut sum) = (Vec::new(), Vec::new());
        resize(&mut low, n * lora.a.rows())?;
        resize(&mut sum, y.len())?;
        self.multiply(&lora.a, &mut low)?;
        self.of(&low).multiply(&lora.b, &mut sum)?;
        math::add(y, &sum);
        Ok(())
    }
}

/// Rotates rows of `cols` values: `x ← H (s ⊙ x)`.
pub(super) fn rotate(x: &mut [f32], cols: usize, rotation: &Rotation) {
    for x in x.chunks_exact_mut(cols) {
        apply_signs(x, rotation);
        math::walsh_hadamard(x, rotation.block);
    }
}

/// The inverse of [`rotate`], of one row: `x ← s ⊙ (H x)`.
pub(super) fn rotate_back(x: &mut [f32], rotation: &Rotation) {
    math::walsh_hadamard(x, rotation.block);
    apply_signs(x, rotation);
}

fn apply_signs(x: &mut [f32], rotation: &Rotation) {
    if let Some(signs) = rotation.signs.get(&x.len()) {
        x.iter_mut().zip(signs).for_each(|(x, &sign)| *x *= f32::from(sign));
    }
}

/// Cuts values off beyond ± a limit that most models do not have.
pub(super) fn clip(x: &mut [f32], limit: Option<f32>) {
    let Some(limit) = limit else { return };
    for x in x {
        *x = if *x > limit { limit } else { *x };
        *x = if *x < -limit { -limit } else { *x };
    }
}

/// Normalises rows of `cols` values into `out`.
pub(super) fn norm_rows(x: &[f32], cols: usize, norm: Norm, weights: &NormWeights, out: &mut [f32]) {
    let NormWeights { gain, bias } = weights;
    for (x, out) in x.chunks_exact(cols).zip(out.chunks_exact_mut(cols)) {
        match norm.kind {
            NormKind::Rms => math::rms_norm(x, gain, norm.eps, out),
            NormKind::Layer => {
                out.copy_from_slice(x);
                math::layer_norm_in_place(out, gain, bias, norm.eps);
            }
            NormKind::Identity => out.copy_from_slice(x),
        }
    }
}

/// The same in place, with a norm that may not be there; rows are as wide as its gain.
pub(super) fn norm_in_place(x: &mut [f32], norm: Option<Norm>, weights: &NormWeights) {
    let Some(norm) = norm else { return };
    let NormWeights { gain, bias } = weights;
    match norm.kind {
        NormKind::Rms => {
            x.chunks_exact_mut(gain.len()).for_each(|x| math::rms_norm_in_place(x, gain, norm.eps));
        }
        NormKind::Layer => {
            x.chunks_exact_mut(gain.len()).for_each(|x| math::layer_norm_in_place(x, gain, bias, norm.eps));
        }
        NormKind::Identity => {}
    }
}
