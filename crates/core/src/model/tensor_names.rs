//! Tensor names: one two-way table for each naming convention.
//!
//! A row names one tensor, or one that holds several, stacked by rows (`qkv_proj`). Reading and writing use the
//! same rows: [`Names::of`] spells a role, [`Names::find`] tells what a name in a file stands for. An
//! architecture whose names differ puts a small table of its own before the convention's.

use alloc::{collections::BTreeMap, format, string::String, vec::Vec};

pub use super::roles::*;
use crate::container::Container;

/// A role without its block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    Embedding,
    Head,
    Positions,
    EmbeddingNorm,
    FinalNorm,
    RopeFactors(RopeFactors),
    RelativeBias,
    RetentionTable(RetentionTable),
    Norm(BlockNorm),
    Linear(LinearRole),
    Sinks,
    Router,
    RouterReduction,
    /// One expert: `{e}` in the name.
    Expert(LinearRole),
    ExpertNorm,
    /// All experts of a block, stacked by rows.
    AllExperts(LinearRole),
    PackedExperts(LinearRole, PackedField),
    SharedExpert(LinearRole),
    SharedExpertNorm,
    SharedGate,
    /// What one pass adds: `{e}` in the name is the pass.
    Lora(LinearRole, LoraSide),
    LoopAdapter,
    LoopExit,
}

/// Which block and expert a role belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Place {
    block: usize,
    expert: usize,
}

/// One row: a name without its suffix (`{b}` stands for the block, `{e}` for the expert or the pass through a loop, a
/// final `!` says that there is none), and what the tensor holds, stacked by rows.
pub(super) type Row = (&'static str, &'static [Slot]);

/// The suffix of each field of a linear layer; the first one is written, all are read.
type Suffixes = &'static [(Field, &'static [&'static str])];

/// The rows and suffixes of one convention.
struct Convention {
    rows: &'static [Row],
    suffixes: Suffixes,
    /// A prefix that base-model checkpoints leave out.
    optional_prefix: &'static str,
}

macro_rules! rows {
    ($($name:literal: $($slot:expr),+;)*) => {{
        #[allow(unused_imports, reason = "each table uses some")]
        use $crate::model::tensor_names::{
            BlockNorm::*,
            LinearRole::*,
            Slot::{
                AllExperts, Embedding, EmbeddingNorm, Expert, ExpertNorm, FinalNorm, Head, Linear, LoopAdapter,
                LoopExit, Lora, Norm, PackedExperts, Positions, RelativeBias, RetentionTable, RopeFactors, Router,
                RouterReduction, SharedExpert,
                SharedExpertNorm, SharedGate, Sinks,
            },
        };
        &[$(($name, &[$($slot),+])),*]
    }};
}
pub(super) use rows;

static GGUF: Convention = Convention {
    rows: rows! {
        "token_embd": Embedding;
        "output": Head;
        "output_norm": FinalNorm;
        "rope_freqs": RopeFactors(self::RopeFactors::All);
        "rope_factors_short": RopeFactors(self::RopeFactors::Short);
        "rope_factors_long": RopeFactors(self::RopeFactors::Long);
        "blk.{b}.attn_norm": Norm(MixerPre);
        "blk.{b}.post_attention_norm": Norm(MixerPost);
        "blk.{b}.attn_q_norm": Norm(Query);
        "blk.{b}.attn_k_norm": Norm(Key);
        "blk.{b}.attn_sub_norm": Norm(MixerSub);
        "blk.{b}.ffn_norm": Norm(FfnPre);
        "blk.{b}.post_ffw_norm": Norm(FfnPost);
        "blk.{b}.ffn_sub_norm": Norm(FfnSub);
        "blk.{b}.attn_q": Linear(Q);
        "blk.{b}.attn_k": Linear(K);
        "blk.{b}.attn_v": Linear(V);
        "blk.{b}.attn_output": Linear(O);
        "blk.{b}.ffn_gate": Linear(Gate);
        "blk.{b}.ffn_up": Linear(Up);
        "blk.{b}.ffn_down": Linear(Down);
        "blk.{b}.attn_sinks": Sinks;
        "blk.{b}.ffn_gate_inp": Router;
        "blk.{b}.ffn_gate_exps": AllExperts(Gate);
        "blk.{b}.ffn_up_exps": AllExperts(Up);
        "blk.{b}.ffn_down_exps": AllExperts(Down);
        "blk.{b}.ffn_gate_inp_shexp": SharedGate;
        "blk.{b}.ffn_gate_shexp": SharedExpert(Gate);
        "blk.{b}.ffn_up_shexp": SharedExpert(Up);
        "blk.{b}.ffn_down_shexp": SharedExpert(Down);
    },
    suffixes: &[
        (Field::Weight, &[".weight"]),
        (Field::Scale, &[".scale", "_scale"]),
        (Field::Bias, &[".bias"]),
        (Field::Norm, &["_norm_in.weight", ".norm.weight"]),
    ],
    optional_prefix: "",
};

static HUGGING_FACE: Convention = Convention {
    rows: rows! {
        "model.embed_tokens": Embedding;
        "lm_head": Head;
        "model.norm": FinalNorm;
        "model.layers.{b}.input_layernorm": Norm(MixerPre);
        "model.layers.{b}.self_attn.q_norm": Norm(Query);
        "model.layers.{b}.self_attn.k_norm": Norm(Key);
        "model.layers.{b}.self_attn.attn_sub_norm": Norm(MixerSub);
        "model.layers.{b}.self_attn.inner_attn_ln": Norm(MixerSub);
        "model.layers.{b}.post_attention_layernorm": Norm(FfnPre);
        "model.layers.{b}.mlp.ffn_sub_norm": Norm(FfnSub);
        "model.layers.{b}.mlp.ffn_layernorm": Norm(FfnSub);
        "model.layers.{b}.self_attn.q_proj": Linear(Q);
        "model.layers.{b}.self_attn.k_proj": Linear(K);
        "model.layers.{b}.self_attn.v_proj": Linear(V);
        "model.layers.{b}.self_attn.o_proj": Linear(O);
        "model.layers.{b}.mlp.gate_proj": Linear(Gate);
        "model.layers.{b}.mlp.up_proj": Linear(Up);
        "model.layers.{b}.mlp.down_proj": Linear(Down);
        "model.layers.{b}.mlp.gate": Router;
        "model.layers.{b}.mlp.experts.{e}.gate_proj": Expert(Gate);
        "model.layers.{b}.mlp.experts.{e}.up_proj": Expert(Up);
        "model.layers.{b}.mlp.experts.{e}.down_proj": Expert(Down);
        "model.layers.{b}.mlp.experts.{e}.ffn_sub_norm": ExpertNorm;
        "model.layers.{b}.mlp.shared_expert_gate": SharedGate;
        "model.layers.{b}.mlp.shared_expert.gate_proj": SharedExpert(Gate);
        "model.layers.{b}.mlp.shared_expert.up_proj": SharedExpert(Up);
        "model.layers.{b}.mlp.shared_expert.down_proj": SharedExpert(Down);
    },
    suffixes: &[
        (Field::Weight, &[".weight"]),
        (Field::Scale, &[".weight_scale"]),
        (Field::Bias, &[".bias", "_bias"]),
        (Field::Norm, &[".norm.weight", ".rms_norm.weight"]),
    ],
    optional_prefix: "model.",
};

/// The suffixes of a Hugging Face file whose linear layers are small floats.
static SMALL_FLOATS: Suffixes = &[
    (Field::Weight, &[".weight", ".weight_packed", ".weight_blocks"]),
    (Field::Scale, &[".weight_scale", ".weight_scale_inv", ".weight_scales"]),
    (Field::TensorScale, &[".weight_global_scale"]),
    (Field::Bias, &[".bias"]),
    (Field::Norm, &[".norm.weight", ".rms_norm.weight"]),
];

/// The names of one architecture in one container.
#[derive(Clone, Copy)]
pub struct Names {
    convention: &'static Convention,
    suffixes: Suffixes,
    /// Rows of the architecture; where one mentions a slot, the convention's row of that slot does not count.
    own: &'static [Row],
    sections: Option<Sections>,
}

/// Names of models whose blocks before, in and after a loop are called differently.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sections {
    /// How each of the three begins, instead of `model.layers.{b}`; `{b}` counts from 0 in each.
    pub stems: [&'static str; 3],
    /// How many blocks come before the loop and are in it.
    pub blocks: [usize; 2],
}

impl Sections {
    /// The beginning of a block's names.
    fn stem(&self, block: usize) -> String {
        let [before, inside] = self.blocks;
        let (section, first) = match block {
            _ if block < before => (0, 0),
            _ if block - before < inside => (1, before),
            _ => (2, before + inside),
        };
        self.stems[section].replace("{b}", &format!("{}", block - first))
    }
}

impl core::fmt::Debug for Names {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Names").field("own", &self.own).finish_non_exhaustive()
    }
}

/// What a file's tensor holds: one part for each role, stacked by rows.
pub type Parts = Vec<NeededTensor>;

impl Names {
    /// The names of a container, after the architecture's `own` rows.
    pub(super) fn new(container: Container, own: &'static [Row]) -> Self {
        let convention = match container {
            Container::Gguf => &GGUF,
            Container::Safetensors => &HUGGING_FACE,
        };
        Self { convention, suffixes: convention.suffixes, own, sections: None }
    }

    /// The same in a file whose linear layers are small floats.
    pub(super) fn of_small_floats(self) -> Self {
        Self { suffixes: SMALL_FLOATS, ..self }
    }

    /// The same, with other names for blocks before, in and after a loop.
    pub(super) fn with_sections(self, sections: Sections) -> Self {
        Self { sections: Some(sections), ..self }
    }

    /// The rows that mention `slot`.
    fn rows(&self, slot: Slot) -> impl Iterator<Item = &'static Row> {
        let holds = move |row: &Row| match (slot, row.1) {
            (Slot::Expert(linear), [Slot::AllExperts(all)]) => linear == *all,
            _ => row.1.contains(&slot),
        };
        let mentions = move |row: &&'static Row| holds(row);
        let own = self.own.iter().any(holds);
        let general = self.convention.rows.iter().filter(move |_| !own);
        self.own.iter().chain(general).filter(mentions)
    }

    /// Every spelling of a role that stands alone, the one to write first.
    pub fn spellings(&self, role: TensorRole) -> Vec<String> {
        let (slot, place, field) = parts(role);
        let rows = self.rows(slot).filter(|row| row.1.len() == 1);
        rows.flat_map(|row| self.spell(row.0, place, field)).collect()
    }

    /// How a role is written.
    pub fn of(&self, role: TensorRole) -> String {
        self.spellings(role).into_iter().next().unwrap_or_else(|| format!("{role:?}"))
    }

    fn spell(&self, stem: &str, place: Place, field: Field) -> Vec<String> {
        let stem = match self.sections {
            Some(sections) => stem.replace("model.layers.{b}", &sections.stem(place.block)),
            None => stem.replace("{b}", &format!("{}", place.block)),
        };
        let stem = stem.replace("{e}", &format!("{}", place.expert));
        // Some have no suffix.
        if let Some(whole) = stem.strip_suffix('!') {
            return [String::from(whole)].into();
        }
        let suffixes = self.suffixes.iter().find(|(of, _)| *of == field);
        let whole = suffixes.into_iter().flat_map(|(_, all)| *all).map(|suffix| format!("{stem}{suffix}"));
        let prefix = self.convention.optional_prefix;
        whole
            .flat_map(|name| {
                let short = name.strip_prefix(prefix).filter(|_| !prefix.is_empty()).map(String::from);
                [Some(name), short]
            })
            .flatten()
            .collect()
    }

    /// What each name that a file may use for `needed` stands for.
    pub fn find(&self, needed: &[NeededTensor]) -> BTreeMap<String, Parts> {
        let by_role: BTreeMap<TensorRole, NeededTensor> = needed.iter().map(|t| (t.role, *t)).collect();
        let mut found = BTreeMap::new();
        for tensor in needed {
            let (slot, place, field) = parts(tensor.role);
            for row in self.rows(slot) {
                let stacked = || row.1.iter().map(|&slot| by_role.get(&join(slot, place, field)).copied());
                // A scale or an own norm of a stacked matrix would be shared: no file is known to have one.
                let parts: Option<Parts> = match row.1 {
                    [Slot::AllExperts(_)] => {
                        let of = |expert| by_role.get(&join(slot, Place { expert, ..place }, field)).copied();
                        let is_stacked = place.expert == 0 && matches!(field, Field::Weight | Field::Bias);
                        is_stacked.then(|| (0..).map_while(of).collect())
                    }
                    [_] => Some([*tensor].into()),
                    _ if matches!(field, Field::Weight | Field::Bias) && row.1[0] == slot => {
                        stacked().collect()
                    }
                    _ => None,
                };
                let Some(parts) = parts else { continue };
                for name in self.spell(row.0, place, field) {
                    found.insert(name, parts.clone());
                }
            }
        }
        found
    }
}

/// The shape of parts stacked by rows.
pub fn stacked_shape(parts: &[NeededTensor]) -> Shape {
    let mut shapes = parts.iter().map(|part| part.shape);
    let first = shapes.next().unwrap_or(Shape::Vector(0));
    shapes.fold(first, |sum, shape| match (sum, shape) {
        (Shape::Matrix(rows, cols), Shape::Matrix(more, _)) => Shape::Matrix(rows + more, cols),
        (Shape::Vector(len), Shape::Vector(more)) => Shape::Vector(len + more),
        (sum, _) => sum,
    })
}

fn parts(role: TensorRole) -> (Slot, Place, Field) {
    let at = |block| Place { block, expert: 0 };
    match role {
        TensorRole::Embedding => (Slot::Embedding, at(0), Field::Weight),
        TensorRole::Head => (Slot::Head, at(0), Field::Weight),
        TensorRole::Positions => (Slot::Positions, at(0), Field::Weight),
        TensorRole::Norm(NormRole::Embedding, field) => (Slot::EmbeddingNorm, at(0), field),
        TensorRole::Norm(NormRole::Final, field) => (Slot::FinalNorm, at(0), field),
        TensorRole::Norm(NormRole::Block(block, norm), field) => (Slot::Norm(norm), at(block), field),
        TensorRole::Norm(NormRole::Expert(block, expert), field) => {
            (Slot::ExpertNorm, Place { block, expert }, field)
        }
        TensorRole::Norm(NormRole::SharedExpert(block), field) => (Slot::SharedExpertNorm, at(block), field),
        TensorRole::RopeFactors(factors) => (Slot::RopeFactors(factors), at(0), Field::Weight),
        TensorRole::RelativeBias => (Slot::RelativeBias, at(0), Field::Weight),
        TensorRole::RetentionTable(table) => (Slot::RetentionTable(table), at(0), Field::Weight),
        TensorRole::Linear(block, linear, field) => (Slot::Linear(linear), at(block), field),
        TensorRole::Sinks(block) => (Slot::Sinks, at(block), Field::Weight),
        TensorRole::Router(block, field) => (Slot::Router, at(block), field),
        TensorRole::RouterReduction(block) => (Slot::RouterReduction, at(block), Field::Weight),
        TensorRole::Expert(block, expert, linear, field) => {
            (Slot::Expert(linear), Place { block, expert }, field)
        }
        TensorRole::PackedExperts(block, linear, field) => {
            (Slot::PackedExperts(linear, field), at(block), Field::Weight)
        }
        TensorRole::SharedExpert(block, linear, field) => (Slot::SharedExpert(linear), at(block), field),
        TensorRole::SharedGate(block) => (Slot::SharedGate, at(block), Field::Weight),
        TensorRole::Lora(block, linear, pass, side) => {
            (Slot::Lora(linear, side), Place { block, expert: pass }, Field::Weight)
        }
        TensorRole::LoopAdapter => (Slot::LoopAdapter, at(0), Field::Weight),
        TensorRole::LoopExit(field) => (Slot::LoopExit, at(0), field),
    }
}

fn join(slot: Slot, Place { block, expert }: Place, field: Field) -> TensorRole {
    match slot {
        Slot::Embedding => TensorRole::Embedding,
        Slot::Head => TensorRole::Head,
        Slot::Positions => TensorRole::Positions,
        Slot::EmbeddingNorm => TensorRole::Norm(NormRole::Embedding, field),
        Slot::FinalNorm => TensorRole::Norm(NormRole::Final, field),
        Slot::RopeFactors(factors) => TensorRole::RopeFactors(factors),
        Slot::RelativeBias => TensorRole::RelativeBias,
        Slot::RetentionTable(table) => TensorRole::RetentionTable(table),
        Slot::Norm(norm) => TensorRole::Norm(NormRole::Block(block, norm), field),
        Slot::Linear(linear) => TensorRole::Linear(block, linear, field),
        Slot::Sinks => TensorRole::Sinks(block),
        Slot::Router => TensorRole::Router(block, field),
        Slot::RouterReduction => TensorRole::RouterReduction(block),
        Slot::Expert(linear) | Slot::AllExperts(linear) => TensorRole::Expert(block, expert, linear, field),
        Slot::ExpertNorm => TensorRole::Norm(NormRole::Expert(block, expert), field),
        Slot::PackedExperts(linear, field) => TensorRole::PackedExperts(block, linear, field),
        Slot::SharedExpert(linear) => TensorRole::SharedExpert(block, linear, field),
        Slot::SharedExpertNorm => TensorRole::Norm(NormRole::SharedExpert(block), field),
        Slot::SharedGate => TensorRole::SharedGate(block),
        Slot::Lora(linear, side) => TensorRole::Lora(block, linear, expert, side),
        Slot::LoopAdapter => TensorRole::LoopAdapter,
        Slot::LoopExit => TensorRole::LoopExit(field),
    }
}
