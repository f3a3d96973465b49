//! Bytes of a model's weights in each form.

use serde::Serialize;
use ternlight_core::{
    format::Form,
    kernel,
    model::{
        Spec,
        spec::{Ffn, Shape as TensorShape},
        tensor_names::TensorRole,
    },
};

use crate::{
    Result,
    command::shapes::{Made, Shape},
    model_file::Format,
};

/// Forms that whole models are held in.
const FORMS: [Form; 5] = [Form::Ternary, Form::Q2, Form::Q4, Form::Q8, Form::BF16];

/// A model's weights in one form.
#[derive(Serialize)]
pub struct Size {
    /// The form of linear layers.
    pub form: &'static str,
    /// Bits of a weight of a large matrix.
    pub bits_per_weight: f64,
    /// All weights.
    pub bytes: u64,
    /// Those that a token needs: of experts the active ones, and no embedding but where it is the head.
    pub bytes_per_token: u64,
}

fn matrix_bytes(form: Form, rows: usize, cols: usize) -> Result<u64> {
    Ok(kernel::select(form, kernel::isa("auto")?)?.layout.matrix_bytes(rows, cols))
}

fn bits_per_weight(form: Form) -> Result<f64> {
    const SIDE: usize = 4096;
    Ok(8.0 * matrix_bytes(form, SIDE, SIDE)? as f64 / (SIDE * SIDE) as f64)
}

/// Of a dense model that is all linear layers.
///
/// # Errors
/// None in practice: every machine has kernels of every form.
pub fn of_params(params: f64) -> Result<Vec<Size>> {
    let size = |form: &Form| {
        let bits_per_weight = bits_per_weight(*form)?;
        let bytes = (params * bits_per_weight / 8.0) as u64;
        Ok(Size { form: form.name(), bits_per_weight, bytes, bytes_per_token: bytes })
    };
    FORMS.iter().map(size).collect()
}

/// Of a shape, whose large embedding and head are rows of int8; also tells its parameters.
///
/// # Errors
/// None in practice.
pub fn of_shape(shape: Shape) -> Result<(Vec<Size>, f64)> {
    let spec = match shape.made() {
        Made::Config(config) => config.spec(Format::I2S)?.0,
        Made::Family(family) => family.spec()?.0,
    };
    let sizes = FORMS.iter().map(|form| of_spec(&spec, *form)).collect::<Result<_>>()?;
    let count =
        spec.tensors().into_iter().filter(|tensor| !tensor.optional).map(|tensor| match tensor.shape {
            TensorShape::Matrix(rows, cols) => (rows * cols) as f64,
            TensorShape::Vector(_) => 0.0,
        });
    Ok((sizes, count.sum()))
}

fn of_spec(spec: &Spec, form: Form) -> Result<Size> {
    let (mut all, mut read) = (0.0, 0.0);
    let runs: Vec<usize> = spec.program.runs(spec.program.times()).map(|run| run.block).collect();
    let runs_of = |block: usize| runs.iter().filter(|&&run| run == block).count() as f64;
    // Scales beside matrices are part of their form.
    for tensor in spec.tensors().into_iter().filter(|tensor| !tensor.optional) {
        let TensorShape::Matrix(rows, cols) = tensor.shape else { continue };
        let (form, share) = match tensor.role {
            TensorRole::Embedding => (Form::I8, if spec.output.tied { 1.0 } else { 0.0 }),
            TensorRole::Head => (Form::I8, 1.0),
            TensorRole::Router(..) | TensorRole::SharedGate(_) => (Form::F32, 1.0),
            TensorRole::Expert(block, ..) | TensorRole::PackedExperts(block, ..) => {
                let share = match &spec.blocks[block].ffn.body {
                    Ffn::Experts(experts) => experts.active as f64 / experts.count as f64,
                    Ffn::Dense(_) => 1.0,
                };
                (form, share * runs_of(block))
            }
            TensorRole::Linear(block, ..) => (form, runs_of(block)),
            _ => (form, 1.0),
        };
        let bytes = matrix_bytes(form, rows, cols)? as f64;
        all += bytes;
        read += share * bytes;
    }
    Ok(Size {
        form: form.name(),
        bits_per_weight: bits_per_weight(form)?,
        bytes: all as u64,
        bytes_per_token: read as u64,
    })
}
