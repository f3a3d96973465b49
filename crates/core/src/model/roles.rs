//! What tensors are for, whatever they are called, and their shapes.

/// The linear layers of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names are the field's own")]
pub enum LinearRole {
    Q,
    K,
    V,
    MixerGate,
    O,
    Gate,
    Up,
    Down,
}

impl LinearRole {
    /// In the order the forward pass meets them.
    pub const ALL: [Self; 8] =
        [Self::Q, Self::K, Self::V, Self::MixerGate, Self::O, Self::Gate, Self::Up, Self::Down];
}

/// The norms of a block. (A projection's own norm is a [`Field`] of it.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names follow `Branch` and `Attention` of the spec")]
pub enum BlockNorm {
    MixerPre,
    MixerPost,
    MixerAfter,
    Query,
    Key,
    MixerSub,
    FfnPre,
    FfnPost,
    FfnAfter,
    FfnSub,
}

/// The norms of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NormRole {
    /// On the embedding.
    Embedding,
    /// After the last block.
    Final,
    /// Of block `.0`.
    Block(usize, BlockNorm),
    /// Before the down projection of expert `.1` of block `.0`.
    Expert(usize, usize),
    /// Before the down projection of the shared expert of block `.0`.
    SharedExpert(usize),
}

/// The tensors that may belong to one linear layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// The matrix.
    Weight,
    /// The scale of a packed ternary matrix; the scales of one of small floats.
    Scale,
    /// What divides all scales of an NVFP4 matrix.
    TensorScale,
    /// Added to the output.
    Bias,
    /// Gain of the RMSNorm over this layer's input.
    Norm,
}

/// What a tensor is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TensorRole {
    /// Token embedding `(vocab, hidden)`.
    Embedding,
    /// Output head `(vocab, hidden)`.
    Head,
    /// Position embedding `(rows, hidden)`.
    Positions,
    /// Divisors of the RoPE frequencies (`dims / 2`): of every context, or of short and long ones.
    RopeFactors(RopeFactors),
    /// The gain ([`Field::Weight`]) or bias of a norm.
    Norm(NormRole, Field),
    /// A tensor of a linear layer of block `.0`.
    Linear(usize, LinearRole, Field),
    /// What is added to the scores by distance `(buckets, heads)`.
    RelativeBias,
    /// The angles and decays that a RetNet stores beside its weights.
    RetentionTable(RetentionTable),
    /// The scores that attention heads of block `.0` give to nothing.
    Sinks(usize),
    /// The router over the experts of block `.0`.
    Router(usize, Field),
    /// What narrows the input of the cosine router of block `.0`.
    RouterReduction(usize),
    /// A tensor of a linear layer of expert `.1` of block `.0`.
    Expert(usize, usize, LinearRole, Field),
    /// A tensor of all experts of block `.0`: gates and ups in turn (`Up`), or downs.
    PackedExperts(usize, LinearRole, PackedField),
    /// A tensor of a linear layer of the shared expert of block `.0`.
    SharedExpert(usize, LinearRole, Field),
    /// What gates the shared expert of block `.0`.
    SharedGate(usize),
    /// What pass `.2` adds to a linear layer of block `.0`.
    Lora(usize, LinearRole, usize, LoraSide),
    /// What a pass through the loop begins with, `(hidden, 2 · hidden)`.
    LoopAdapter,
    /// The gate or router that ends the loop.
    LoopExit(Field),
}

impl TensorRole {
    /// Which tensor of a linear layer it is, routers left out.
    pub const fn linear_field(self) -> Option<Field> {
        match self {
            Self::Linear(_, _, field) | Self::Expert(_, _, _, field) | Self::SharedExpert(_, _, field) => {
                Some(field)
            }
            _ => None,
        }
    }

    /// Another tensor of the same linear layer, a router's included; others stay as they are.
    pub const fn with_field(self, field: Field) -> Self {
        match self {
            Self::Linear(block, linear, _) => Self::Linear(block, linear, field),
            Self::Expert(block, expert, linear, _) => Self::Expert(block, expert, linear, field),
            Self::SharedExpert(block, linear, _) => Self::SharedExpert(block, linear, field),
            Self::Router(block, _) => Self::Router(block, field),
            other => other,
        }
    }
}

/// The matrices of a low-rank addition `B·(A·x)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names are the field's own")]
pub enum LoraSide {
    A,
    B,
}

/// What gpt-oss keeps of its packed experts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PackedField {
    /// Codes of E2M1, two to a byte.
    Blocks,
    /// Exponents, one for each 32 columns.
    Scales,
    /// Added to the outputs.
    Bias,
}

/// A table of a RetNet, which follows from the dimensions too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RetentionTable {
    /// Radians per position of each element of a key (`key_dim`).
    Angles,
    /// The logarithm of each head's decay (`heads`).
    Decays,
}

/// Which contexts a set of RoPE divisors is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names say it")]
pub enum RopeFactors {
    All,
    Short,
    Long,
}

/// A tensor that the forward pass reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeededTensor {
    /// What it is for.
    pub role: TensorRole,
    /// Its shape.
    pub shape: Shape,
    /// A file without it is complete too: its absence means a neutral value.
    pub optional: bool,
}

/// The logical shape of a tensor, whatever its encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// So many values.
    Vector(usize),
    /// (rows, cols): outputs, inputs.
    Matrix(usize, usize),
}
