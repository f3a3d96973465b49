//! Loaded parts → a [`Model`].

use alloc::{collections::BTreeMap, string::String, sync::Arc, vec::Vec};

use super::{plan::Plan, tensor_loader::Loaded};
use crate::{
    ErrorKind, Result, bail,
    container::Meta,
    error::Error,
    format::Form,
    math,
    matrix::Matrix,
    model::{
        AttentionWeights, BlockWeights, BranchWeights, CosineRouter, ExpertSet, ExpertsWeights, FfnWeights,
        LinearWeights, LoopWeights, LoraWeights, MixerWeights, MlpWeights, Model, NormWeights,
        RetentionWeights, Screen, TensorSummary,
        spec::{
            Attention, Block, Experts, Ffn, InputSemantics, Linear, Mixer, Mlp, Norm, NormKind, PackedScale,
            Retention,
        },
        tensor_names::{BlockNorm, Field, LinearRole, LoraSide, NormRole, RetentionTable, TensorRole},
    },
    simd::Isa,
};

/// Makes the model of `plan` from what was loaded.
///
/// # Errors
/// `missing-tensor` with the tensor's name, `bad-data` for scales and norms that are no numbers.
pub(super) fn assemble(
    plan: Plan,
    meta: Meta,
    loaded: BTreeMap<TensorRole, Loaded>,
    isa: Isa,
    screened: bool,
) -> Result<Model> {
    let mut parts = Assembly { plan: &plan, loaded, tensors: Vec::new(), known: BTreeMap::new() };
    let embedding = parts.matrix(TensorRole::Embedding)?;
    let head = match plan.spec.output.tied {
        true => None,
        false => Some(parts.matrix(TensorRole::Head)?),
    };
    let positions = match plan.spec.embed.positions {
        Some(_) => Some(parts.matrix(TensorRole::Positions)?),
        None => None,
    };
    let embedding_norm = parts.norm(NormRole::Embedding, plan.spec.embed.norm)?;
    let norm = parts.norm(NormRole::Final, Some(plan.spec.norm))?;
    let mut blocks = Vec::new();
    blocks.try_reserve(plan.spec.blocks.len())?;
    for (i, block) in plan.spec.blocks.iter().enumerate() {
        blocks.push(parts.block(i, block)?);
    }
    parts.check_tables()?;
    let relative_bias = match plan.spec.relative_bias {
        Some(bias) => bias.by_distance(&parts.vector(TensorRole::RelativeBias)?),
        None => Vec::new(),
    };
    let looped = parts.looped()?;
    let mut ropes = plan.spec.ropes.clone();
    for rope in &mut ropes {
        for role in rope.scaling.tensors() {
            let divisors = parts.vector(role)?;
            if divisors.contains(&0.0) {
                bail!(BadData, "'{}' holds a zero", plan.names.of(role));
            }
            if let TensorRole::RopeFactors(factors) = role {
                rope.scaling.set_factors(factors, divisors);
            }
        }
        rope.check(plan.spec.context)?;
    }
    let tensors = parts.tensors;
    let head_matrix = head.as_ref().unwrap_or(&embedding);
    let screen =
        (screened && head_matrix.form().is_float()).then(|| Screen::new(head_matrix, isa)).transpose()?;
    let mut spec = plan.spec;
    spec.vocab = embedding.rows();
    spec.ropes = ropes;
    Ok(Model {
        isa,
        spec,
        meta,
        embedding,
        positions,
        relative_bias,
        embedding_norm,
        head,
        screen,
        norm,
        blocks,
        looped,
        tensors,
    })
}

struct Assembly<'a> {
    plan: &'a Plan,
    loaded: BTreeMap<TensorRole, Loaded>,
    tensors: Vec<TensorSummary>,
    /// Matrices of linear layers by [`Matrix::fingerprint`], with their names.
    known: BTreeMap<u64, Vec<(String, Arc<Matrix>)>>,
}

impl Assembly<'_> {
    fn missing(&self, role: TensorRole) -> Error {
        let name = self.plan.names.of(role);
        Error::new(ErrorKind::MissingTensor, alloc::format!("there is no tensor '{name}'"))
    }

    fn optional_vector(&mut self, role: TensorRole) -> Result<Option<Vec<f32>>> {
        match self.loaded.remove(&role) {
            None => Ok(None),
            Some(Loaded::Vector(values)) => {
                if values.iter().any(|x| !x.is_finite()) {
                    bail!(BadData, "'{}' holds a value that is no number", self.plan.names.of(role));
                }
                Ok(Some(values))
            }
            Some(Loaded::Matrix { name, .. }) => bail!(Shape, "'{name}' is a matrix"),
            Some(Loaded::Raw { name, .. }) => {
                bail!(MissingTensor, "'{name}' is there, but not all that belongs to it")
            }
        }
    }

    fn vector(&mut self, role: TensorRole) -> Result<Vec<f32>> {
        self.optional_vector(role)?.ok_or_else(|| self.missing(role))
    }

    /// A norm of the model itself, if it is there.
    fn norm(&mut self, role: NormRole, norm: Option<Norm>) -> Result<NormWeights> {
        let mut weights = NormWeights::default();
        let Some(norm) = norm.filter(|norm| norm.kind != NormKind::Identity) else { return Ok(weights) };
        weights.gain = self.vector(TensorRole::Norm(role, Field::Weight))?;
        if self.plan.spec.checkpoint.gain_minus_one {
            weights.gain.iter_mut().for_each(|g| *g += 1.0);
        }
        if norm.kind == NormKind::Layer {
            weights.bias = self.vector(TensorRole::Norm(role, Field::Bias))?;
        }
        Ok(weights)
    }

    fn matrix(&mut self, role: TensorRole) -> Result<Matrix> {
        let loaded = self.loaded.remove(&role).ok_or_else(|| self.missing(role))?;
        self.summarise(loaded)
    }

    fn summarise(&mut self, loaded: Loaded) -> Result<Matrix> {
        let Loaded::Matrix { name, encoding, matrix, trits, .. } = loaded else {
            bail!(Shape, "a matrix is a vector in this file");
        };
        self.tensors.push(TensorSummary {
            name,
            rows: matrix.rows(),
            cols: matrix.cols(),
            encoding,
            form: matrix.form(),
            kernel: matrix.kernel().name,
            bytes: matrix.bytes(),
            same_as: None,
            trits: (matrix.form() == Form::Ternary).then_some(trits),
        });
        Ok(matrix)
    }

    /// One matrix for all layers that hold the same: a model that was grown by repeating layers costs no more memory
    /// than the one it came from.
    fn shared(&mut self, matrix: Matrix) -> Arc<Matrix> {
        let Some(summary) = self.tensors.last_mut() else { return Arc::new(matrix) };
        let alike = self.known.entry(matrix.fingerprint()).or_default();
        if let Some((name, same)) = alike.iter().find(|(_, other)| other.is_same(&matrix)) {
            summary.same_as = Some(name.clone());
            return Arc::clone(same);
        }
        let matrix = Arc::new(matrix);
        alike.push((summary.name.clone(), Arc::clone(&matrix)));
        matrix
    }

    fn linear(&mut self, role: impl Fn(Field) -> TensorRole, spec: Linear) -> Result<LinearWeights> {
        let scale = self.optional_vector(role(Field::Scale))?;
        let missing = self.missing(role(Field::Weight));
        let mut loaded = self.loaded.remove(&role(Field::Weight)).ok_or(missing)?;
        if let Loaded::Matrix { name, matrix, packed, .. } = &mut loaded {
            let divides = self.plan.spec.checkpoint.packed_scale == Some(PackedScale::Divides);
            let factor = match (scale, *packed) {
                (Some(scale), true) if divides => 1.0 / scale[0],
                (Some(scale), _) => scale[0],
                (None, true) => bail!(MissingTensor, "'{name}' has no weight_scale"),
                (None, false) => 1.0,
            };
            if matches!(spec.input, InputSemantics::Quantised(_)) && matrix.form() != Form::Ternary {
                bail!(UnsupportedFormat, "'{name}' has several scales, but its input's codes want one");
            }
            if !factor.is_finite() {
                bail!(BadData, "the scale of '{name}' is {factor}");
            }
            if factor != 1.0 && !matrix.has_row_scales() {
                let form = matrix.form().name();
                bail!(UnsupportedFormat, "'{name}' becomes {form}, and a scale of its own stands beside it");
            }
            if factor != 1.0 {
                matrix.scale_rows(factor);
            }
        }
        let lora = match role(Field::Weight) {
            TensorRole::Linear(block, linear, _) => self.lora(block, linear)?,
            _ => Vec::new(),
        };
        Ok(LinearWeights {
            lora,
            matrix: {
                let matrix = self.summarise(loaded)?;
                self.shared(matrix)
            },
            norm: if spec.norm.is_some() { Some(self.vector(role(Field::Norm))?) } else { None },
            bias: if spec.bias { Some(self.vector(role(Field::Bias))?) } else { None },
        })
    }

    /// What passes add to a linear layer of a block.
    fn lora(&mut self, block: usize, linear: LinearRole) -> Result<Vec<LoraWeights>> {
        let passes = self.plan.spec.program.lora.map_or(0, |lora| lora.passes);
        let pass = |pass| {
            let mut matrix = |side| self.matrix(TensorRole::Lora(block, linear, pass, side));
            Ok(LoraWeights { a: matrix(LoraSide::A)?, b: matrix(LoraSide::B)? })
        };
        (0..passes).map(pass).collect()
    }

    /// What belongs to the loop and to none of its blocks.
    fn looped(&mut self) -> Result<LoopWeights> {
        let mut weights = LoopWeights::default();
        let Some(body) = &self.plan.spec.program.body else { return Ok(weights) };
        if body.adapter {
            weights.adapter = Some(self.matrix(TensorRole::LoopAdapter)?);
        }
        if let Some((layer, _)) = body.exit_layer() {
            weights.exit = Some(self.linear(TensorRole::LoopExit, layer)?);
        }
        Ok(weights)
    }

    fn block(&mut self, i: usize, block: &Block) -> Result<BlockWeights> {
        let norm = |norm| NormRole::Block(i, norm);
        let linear = |linear| move |field| TensorRole::Linear(i, linear, field);
        let mixer = BranchWeights {
            pre: self.norm(norm(BlockNorm::MixerPre), Some(block.mixer.pre))?,
            body: match &block.mixer.body {
                Mixer::Attention(attention) => MixerWeights::Attention(self.attention(i, attention)?),
                Mixer::Retention(retention) => MixerWeights::Retention(self.retention(i, retention)?),
            },
            post: self.norm(norm(BlockNorm::MixerPost), block.mixer.post)?,
            after: self.norm(norm(BlockNorm::MixerAfter), block.mixer.after)?,
        };
        let ffn = BranchWeights {
            pre: self.norm(norm(BlockNorm::FfnPre), Some(block.ffn.pre))?,
            body: match &block.ffn.body {
                Ffn::Dense(mlp) => {
                    let sub_norm = self.norm(norm(BlockNorm::FfnSub), mlp.sub_norm)?;
                    FfnWeights::Dense(self.mlp(&linear, sub_norm, mlp)?)
                }
                Ffn::Experts(experts) => FfnWeights::Experts(self.experts(i, experts)?),
            },
            post: self.norm(norm(BlockNorm::FfnPost), block.ffn.post)?,
            after: self.norm(norm(BlockNorm::FfnAfter), block.ffn.after)?,
        };
        Ok(BlockWeights { mixer, ffn })
    }

    fn attention(&mut self, i: usize, spec: &Attention) -> Result<AttentionWeights> {
        let norm = |norm| NormRole::Block(i, norm);
        let linear = |linear| move |field| TensorRole::Linear(i, linear, field);
        let qk_norm = spec.qk_norm.map(|qk| qk.norm);
        Ok(AttentionWeights {
            q: self.linear(linear(LinearRole::Q), spec.q)?,
            k: self.linear(linear(LinearRole::K), spec.k)?,
            v: self.linear(linear(LinearRole::V), spec.v)?,
            query_norm: self.norm(norm(BlockNorm::Query), qk_norm)?,
            key_norm: self.norm(norm(BlockNorm::Key), qk_norm)?,
            sub_norm: self.norm(norm(BlockNorm::MixerSub), spec.sub_norm)?,
            sinks: match spec.sinks {
                true => Some(self.vector(TensorRole::Sinks(i))?),
                false => None,
            },
            o: self.linear(linear(LinearRole::O), spec.o)?,
        })
    }

    fn retention(&mut self, i: usize, spec: &Retention) -> Result<RetentionWeights> {
        let linear = |linear| move |field| TensorRole::Linear(i, linear, field);
        Ok(RetentionWeights {
            q: self.linear(linear(LinearRole::Q), spec.q)?,
            k: self.linear(linear(LinearRole::K), spec.k)?,
            v: self.linear(linear(LinearRole::V), spec.v)?,
            gate: self.linear(linear(LinearRole::MixerGate), spec.gate)?,
            o: self.linear(linear(LinearRole::O), spec.o)?,
        })
    }

    /// Tables that a file stores although they follow from the dimensions must be those.
    fn check_tables(&mut self) -> Result<()> {
        let Some(retention) = self.plan.spec.retention() else { return Ok(()) };
        for table in [RetentionTable::Angles, RetentionTable::Decays] {
            let role = TensorRole::RetentionTable(table);
            let computed = retention.table(table, &self.plan.spec.ropes[retention.rope]);
            let Some(stored) = self.optional_vector(role)? else { continue };
            if stored.iter().zip(&computed).any(|(a, b)| (a - b).abs() > 1e-5 * b.abs()) {
                bail!(
                    UnsupportedArch,
                    "'{}' is not what follows from the dimensions",
                    self.plan.names.of(role)
                );
            }
        }
        Ok(())
    }

    fn mlp<F: Fn(Field) -> TensorRole>(
        &mut self,
        linear: &impl Fn(LinearRole) -> F,
        sub_norm: NormWeights,
        mlp: &Mlp,
    ) -> Result<MlpWeights> {
        Ok(MlpWeights {
            gate: self.linear(linear(LinearRole::Gate), mlp.gate)?,
            up: match mlp.up {
                Some(up) => Some(self.linear(linear(LinearRole::Up), up)?),
                None => None,
            },
            sub_norm,
            down: self.linear(linear(LinearRole::Down), mlp.down)?,
        })
    }

    /// What a router of directions has besides its matrix.
    fn cosine(&mut self, i: usize, router: &Matrix) -> Result<CosineRouter> {
        let reduction = self.matrix(TensorRole::RouterReduction(i))?;
        let mut row = alloc::vec![0.0; router.cols()];
        let mut inverse_lengths = Vec::new();
        for expert in 0..router.rows() {
            router.row(expert, &mut row);
            let inverse = 1.0 / libm::sqrtf(math::dot(&row, &row));
            if !inverse.is_finite() {
                let name = self.plan.names.of(TensorRole::Router(i, Field::Weight));
                bail!(BadData, "the row of expert {expert} in '{name}' has no direction");
            }
            inverse_lengths.push(inverse);
        }
        Ok(CosineRouter { reduction, inverse_lengths })
    }

    fn experts(&mut self, i: usize, spec: &Experts) -> Result<ExpertsWeights> {
        let router = self.linear(|field| TensorRole::Router(i, field), spec.router())?;
        let cosine = spec.cosine.map(|_| self.cosine(i, &router.matrix)).transpose()?;
        let mut experts = Vec::new();
        experts.try_reserve(spec.count)?;
        for e in 0..spec.count {
            let linear = |linear| move |field| TensorRole::Expert(i, e, linear, field);
            let sub_norm = self.norm(NormRole::Expert(i, e), spec.expert.sub_norm)?;
            experts.push(self.mlp(&linear, sub_norm, &spec.expert)?);
        }
        let linear = |linear| move |field| TensorRole::SharedExpert(i, linear, field);
        let shared = match &spec.shared {
            None => None,
            Some(shared) => {
                let sub_norm = self.norm(NormRole::SharedExpert(i), shared.mlp.sub_norm)?;
                Some(self.mlp(&linear, sub_norm, &shared.mlp)?)
            }
        };
        let shared_gate = match &spec.shared {
            Some(shared) if shared.gated => Some(self.matrix(TensorRole::SharedGate(i))?),
            _ => None,
        };
        Ok(ExpertsWeights { router, cosine, experts: ExpertSet::new(experts), shared, shared_gate })
    }
}
