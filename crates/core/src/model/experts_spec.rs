//! Mixtures of experts, as data: many gated networks, of which a router chooses a few for each token.

use super::{
    layers::{InputSemantics, Linear, Mlp, TensorList},
    roles::{Field, LinearRole, NormRole, PackedField, TensorRole},
};

/// A block's feed-forward half.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "there is one for each block, and none is copied in a loop")]
pub enum Ffn {
    /// One network for all tokens.
    Dense(Mlp),
    /// The networks that a router chooses.
    Experts(Experts),
}

impl Ffn {
    /// The network, or what each expert is.
    pub fn mlp(&self) -> &Mlp {
        match self {
            Self::Dense(mlp) => mlp,
            Self::Experts(experts) => &experts.expert,
        }
    }

    /// The same, to be changed.
    pub fn mlp_mut(&mut self) -> &mut Mlp {
        match self {
            Self::Dense(mlp) => mlp,
            Self::Experts(experts) => &mut experts.expert,
        }
    }

    /// The experts, if there are any.
    pub fn experts(&self) -> Option<&Experts> {
        match self {
            Self::Dense(_) => None,
            Self::Experts(experts) => Some(experts),
        }
    }

    /// The widest gate.
    pub(super) fn widest(&self) -> usize {
        match self {
            Self::Dense(mlp) => mlp.width,
            Self::Experts(experts) => {
                experts.expert.width.max(experts.shared.as_ref().map_or(0, |shared| shared.mlp.width))
            }
        }
    }
}

/// A sparse mixture of experts (Shazeer et al. 2017): `Σ p_e · expert_e(x)` over the experts that the router ranks
/// highest, with p the softmax of its scores over all experts, in f32, of the input before it is quantised.
#[derive(Clone, Debug, PartialEq)]
pub struct Experts {
    /// How many there are.
    pub count: usize,
    /// How many each token is given to, unless the run says another number.
    pub active: usize,
    /// The probabilities of the chosen are divided by their sum.
    pub normalise: bool,
    /// The router adds a bias to its scores.
    pub router_bias: bool,
    /// The router narrows its input to so many values first, and scores them by each expert's direction alone: the
    /// length of its row does not count (X-MoE, Chi et al. 2022).
    pub cosine: Option<usize>,
    /// What each of them is.
    pub expert: Mlp,
    /// A network that every token is given to besides.
    pub shared: Option<SharedExpert>,
}

/// The expert that every token is given to.
#[derive(Clone, Debug, PartialEq)]
pub struct SharedExpert {
    /// The network.
    pub mlp: Mlp,
    /// Its output is multiplied by a learned gate, σ(w · x) (Qwen2-MoE).
    pub gated: bool,
}

impl Experts {
    /// The router: a plain float layer, whatever the experts are.
    pub fn router(&self) -> Linear {
        Linear { bias: self.router_bias, norm: None, input: InputSemantics::Float, rotated: false }
    }

    /// Lists the tensors of block `i`; `packed`: those of all experts are one (`Checkpoint::packed_experts`).
    pub(super) fn tensors(&self, i: usize, hidden: usize, packed: bool, list: &mut TensorList) {
        list.matrix(TensorRole::Router(i, Field::Weight), self.count, self.cosine.unwrap_or(hidden));
        if let Some(width) = self.cosine {
            list.matrix(TensorRole::RouterReduction(i), width, hidden);
        }
        if self.router_bias {
            list.vector(TensorRole::Router(i, Field::Bias), self.count);
        }
        if packed {
            let width = self.expert.width;
            for (linear, rows, cols) in
                [(LinearRole::Up, 2 * width, hidden), (LinearRole::Down, hidden, width)]
            {
                let role = |field| TensorRole::PackedExperts(i, linear, field);
                list.matrix(role(PackedField::Blocks), self.count * rows, cols);
                list.matrix(role(PackedField::Scales), self.count * rows, cols / 32);
                list.vector(role(PackedField::Bias), self.count * rows);
            }
        } else {
            for e in 0..self.count {
                let linear = |linear| move |field| TensorRole::Expert(i, e, linear, field);
                list.mlp(&linear, &self.expert, hidden, |list| {
                    list.norm(NormRole::Expert(i, e), self.expert.sub_norm, self.expert.width);
                });
            }
        }
        if let Some(shared) = &self.shared {
            let linear = |linear| move |field| TensorRole::SharedExpert(i, linear, field);
            list.mlp(&linear, &shared.mlp, hidden, |list| {
                list.norm(NormRole::SharedExpert(i), shared.mlp.sub_norm, shared.mlp.width);
            });
            if shared.gated {
                list.matrix(TensorRole::SharedGate(i), 1, hidden);
            }
        }
    }
}
