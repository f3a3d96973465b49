//! Which matrices lie so that what meets zeros is not read.

use crate::{
    kernel::{Skips, columns_share},
    model::{
        spec::{Activation, Ffn, InputSemantics, Mlp, Spec},
        tensor_names::{Field, LinearRole, TensorRole},
    },
    quantiser::Quantiser,
};

/// Which ternary matrices lie so that columns of zero inputs, or rows that a zero gate makes useless, are not read.
/// The bits are the same in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum SparseLayouts {
    /// Those of models that were trained with sparse inputs, where it is worth it on this machine.
    #[default]
    Auto,
    /// None.
    Never,
    /// Wherever there may be zeros, however few: also in plain models with ReLU², and in matrices so small that tiles
    /// are padded.
    Always,
}

impl SparseLayouts {
    /// What the kernels of a matrix of (rows, …) ternary weights are to leave unread.
    pub(super) fn skips(self, spec: &Spec, role: TensorRole, rows: usize) -> Skips {
        let (Self::Auto | Self::Always, TensorRole::Linear(block, linear, Field::Weight)) = (self, role)
        else {
            return Skips::Nothing;
        };
        let Some(block) = spec.blocks.get(block) else { return Skips::Nothing };
        let Some(input) = block.linear(linear).map(|linear| linear.input) else { return Skips::Nothing };
        let always = self == Self::Always;
        // Of ReLU², whose zeros no quantiser asks for; models with small codes were trained to have many.
        let dense = match &block.ffn.body {
            Ffn::Dense(mlp) => Some(mlp),
            Ffn::Experts(_) => None,
        };
        let gated = dense.filter(|mlp| {
            is_rectified(mlp) && (always || matches!(mlp.gate.input, InputSemantics::Quantised(_)))
        });
        match (linear, gated) {
            (LinearRole::Up, Some(_)) => Skips::Rows,
            (LinearRole::Down, Some(_)) if always || is_tiled(rows) => Skips::Columns,
            _ if is_sparse(input, always) && (always || is_tiled(rows)) => Skips::Columns,
            _ => Skips::Nothing,
        }
    }
}

/// Whether many products of gate and up are 0, to the last bit whatever the up.
fn is_rectified(mlp: &Mlp) -> bool {
    matches!(mlp.activation, Activation::Relu2 | Activation::Relu) && mlp.down.input != InputSemantics::Float
}

/// Whether the quantiser keeps few inputs.
fn is_sparse(input: InputSemantics, always: bool) -> bool {
    match input {
        InputSemantics::Quantised(Quantiser { keep: Some(keep), .. }) => {
            always || keep.share <= columns_share()
        }
        _ => false,
    }
}

/// Whether tiles are filled well.
fn is_tiled(rows: usize) -> bool {
    rows.next_multiple_of(Skips::TILE) - rows <= rows / 16
}
