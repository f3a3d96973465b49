//! The experts of gpt-oss in Hugging Face files → matrices of their own.
//!
//! A tensor holds the codes of all experts of a block, another their exponents, and the rows of gates and ups take
//! turns. Both are kept until the other has arrived; nothing longer.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use super::{plan::Plan, tensor_loader::Loaded};
use crate::{
    Result,
    format::{self, Encoding, Form},
    kernel,
    matrix::Matrix,
    model::tensor_names::{Field, LinearRole, PackedField, TensorRole},
    pool::Pool,
    simd::Isa,
};

/// Columns of a block of MXFP4, and its bytes: an exponent and the codes.
const COLUMNS: usize = 32;
const BYTES: usize = 1 + COLUMNS / 2;

/// Which rows of a packed tensor are whose.
struct Rows {
    linear: LinearRole,
    first: usize,
    step: usize,
}

/// Makes matrices and biases of what has arrived with `role`, if it is a part of packed experts.
///
/// # Errors
/// `bad-data` for exponents out of range, `out-of-memory`.
pub(super) fn join(
    plan: &Plan,
    loaded: &mut BTreeMap<TensorRole, Loaded>,
    role: TensorRole,
    isa: Isa,
    pool: &dyn Pool,
) -> Result<()> {
    let TensorRole::PackedExperts(block, packed, field) = role else { return Ok(()) };
    let Some(experts) = plan.spec.blocks[block].ffn.body.experts() else { return Ok(()) };
    let (count, width, hidden) = (experts.count, experts.expert.width, plan.spec.hidden);
    let (shares, cols): (&[Rows], usize) = match packed {
        LinearRole::Up => (
            &[
                Rows { linear: LinearRole::Gate, first: 0, step: 2 },
                Rows { linear: LinearRole::Up, first: 1, step: 2 },
            ],
            hidden,
        ),
        _ => (&[Rows { linear: LinearRole::Down, first: 0, step: 1 }], width),
    };
    let rows = if packed == LinearRole::Up { 2 * width } else { hidden };
    let part = |field| TensorRole::PackedExperts(block, packed, field);
    if field == PackedField::Bias {
        let Some(Loaded::Vector(bias)) = loaded.remove(&role) else { return Ok(()) };
        for (e, own) in bias.chunks_exact(rows).enumerate() {
            for Rows { linear, first, step } in shares {
                let values: Vec<f32> = own.iter().skip(*first).step_by(*step).copied().collect();
                loaded.insert(TensorRole::Expert(block, e, *linear, Field::Bias), Loaded::Vector(values));
            }
        }
        return Ok(());
    }
    let parts = [part(PackedField::Blocks), part(PackedField::Scales)];
    if !parts.iter().all(|part| loaded.contains_key(part)) {
        return Ok(());
    }
    let [Some(Loaded::Raw { name, bytes: codes, .. }), Some(Loaded::Raw { bytes: exponents, .. })] =
        parts.map(|part| loaded.remove(&part))
    else {
        return Ok(());
    };
    let groups = cols / COLUMNS;
    for e in 0..count {
        for Rows { linear, first, step } in shares {
            let source = |r: usize| {
                let row = e * rows + first + r * step;
                (
                    &codes[row * groups * (BYTES - 1)..][..groups * (BYTES - 1)],
                    &exponents[row * groups..][..groups],
                )
            };
            let matrix = pack(plan.packed_form(), (rows / step, cols), isa, pool, &source)?;
            let loaded_matrix = Loaded::Matrix {
                name: String::from(&*name),
                encoding: Encoding::MXFP4,
                matrix,
                packed: false,
                trits: [0; 3],
            };
            loaded.insert(TensorRole::Expert(block, e, *linear, Field::Weight), loaded_matrix);
        }
    }
    Ok(())
}

fn pack<'a>(
    form: Form,
    (rows, cols): (usize, usize),
    isa: Isa,
    pool: &dyn Pool,
    source: &(dyn Fn(usize) -> (&'a [u8], &'a [u8]) + Sync),
) -> Result<Matrix> {
    let mut matrix = Matrix::new(kernel::select(form, isa)?, rows, cols)?;
    matrix.fill(0..rows, pool, &|r, row| {
        let (codes, exponents) = source(r);
        let mut blocks = Vec::with_capacity(exponents.len() * BYTES);
        for (codes, exponent) in codes.chunks_exact(BYTES - 1).zip(exponents) {
            blocks.push(*exponent);
            // Two neighbours share a byte there; here, element m has the lower half of byte m, and 16 + m the upper.
            let code = |element: usize| codes[element / 2] >> (4 * (element % 2)) & 15;
            blocks.extend((0..BYTES - 1).map(|m| code(m) | code(m + COLUMNS / 2) << 4));
        }
        format::unpack(isa, Encoding::MXFP4, &blocks, cols, row)
    })?;
    Ok(matrix)
}
