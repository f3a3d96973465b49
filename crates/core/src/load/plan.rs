//! The loading plan: what becomes of each tensor, decided here and nowhere else.
//!
//! It is made from the metadata, the headers seen so far and the options. The loader executes it, `inspect` prints
//! it. Where only the bytes can tell (a ternary matrix whose rows turn out to have several scales), the plan holds
//! both forms and the loader settles it.
//!
//! A tensor that no one would read is refused: it could change what the model computes.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::String,
    vec::Vec,
};

pub use super::part::{Becomes, Latent, Part};
use super::{LoadOptions, stored_floats};
use crate::{
    Result, bail,
    container::{Container, Meta, TensorInfo},
    error::short,
    format::{Encoding, Form},
    kernel::{self, Skips},
    model::{
        arch::{self, KnownTensors},
        spec::{InputSemantics, Linear, NeededTensor, Shape, Spec},
        tensor_names::{Field, Names, PackedField, Parts, TensorRole, stacked_shape},
    },
};

/// What becomes of the tensors of a model.
pub struct Plan {
    /// What the model computes.
    pub spec: Spec,
    /// How its tensors are called.
    pub names: Names,
    by_name: BTreeMap<String, Parts>,
    options: LoadOptions,
}

/// The plan for one stored tensor.
#[derive(Clone, Debug, PartialEq)]
pub enum Planned {
    /// It is read, in parts.
    Read(Vec<Part>),
    /// It is passed by, for this reason.
    Unused(&'static str),
}

impl Plan {
    /// The plan for a model whose `tensors` are known so far.
    ///
    /// # Errors
    /// Those of [`arch::spec`] and [`Spec::active_experts`].
    pub fn new(
        container: Container,
        meta: &Meta,
        tensors: &KnownTensors,
        options: &LoadOptions,
    ) -> Result<Self> {
        let (mut spec, names) = arch::spec(container, meta, tensors, &options.allow_unknown)?;
        spec.set_active_experts(&options.experts)?;
        let by_name = names.find(&spec.tensors());
        Ok(Self { spec, names, by_name, options: options.clone() })
    }

    /// What becomes of a stored tensor.
    ///
    /// # Errors
    /// That it is refused, and why: `unsupported-format`, `unsupported-arch` for a tensor nothing reads, `shape`.
    pub fn tensor(&self, info: &TensorInfo) -> Result<Planned> {
        let Some(parts) = self.by_name.get(&info.name) else { return self.unread(info) };
        if info.encoding == Encoding::Other {
            bail!(UnsupportedFormat, "'{}' holds integers", short(&info.name));
        }
        if let Some((encoding, becomes)) = stored_floats::stored(
            &self.spec,
            info,
            parts,
            self.linear(parts[0].role),
            self.options.exact_inputs,
        )? {
            let NeededTensor { role, shape, .. } = parts[0];
            let TensorInfo { name, offset, bytes, .. } = info.clone();
            return Ok(Planned::Read([Part { name, role, shape, encoding, offset, bytes, becomes }].into()));
        }
        self.check_shape(info, parts)?;
        if parts.len() > 1 && (info.encoding == Encoding::U8 || info.encoding.tail_bytes() > 0) {
            let encoding = info.encoding.name();
            bail!(UnsupportedFormat, "'{}' stacks several matrices as {encoding}", short(&info.name));
        }
        let mut offset = info.offset;
        let read = parts.iter().map(|part| {
            let bytes = match part.shape {
                _ if parts.len() == 1 => info.bytes,
                Shape::Vector(len) => info.encoding.row_bytes(len as u64)?,
                Shape::Matrix(rows, cols) => info.encoding.tensor_bytes(rows as u64, cols as u64)?,
            };
            let becomes = self.becomes(info, part)?;
            let part = Part {
                name: info.name.clone(),
                role: part.role,
                shape: part.shape,
                encoding: info.encoding,
                offset,
                bytes,
                becomes,
            };
            offset += bytes;
            Ok(part)
        });
        Ok(Planned::Read(read.collect::<Result<_>>()?))
    }

    fn unread(&self, info: &TensorInfo) -> Result<Planned> {
        const FREQUENCIES: &str = "RoPE frequencies, which follow from the metadata";
        let name = info.name.as_str();
        if self.names.spellings(TensorRole::Head).iter().any(|head| head == name) {
            return Ok(Planned::Unused("the embedding is the head"));
        }
        if name.ends_with("rotary_emb.inv_freq") || name.ends_with("attn_rot_embd.weight") {
            return Ok(Planned::Unused(FREQUENCIES));
        }
        if name.ends_with(".xpos.scale") {
            return Ok(Planned::Unused("factors of xPos, which follow from the positions"));
        }
        if [".position_ids", ".attn.masked_bias"].iter().any(|end| name.ends_with(end)) {
            return Ok(Planned::Unused("indices, which follow from the positions"));
        }
        if self.options.allow_unknown.iter().any(|allowed| allowed == name) {
            return Ok(Planned::Unused("allowed to be unknown"));
        }
        bail!(
            UnsupportedArch,
            "the tensor '{}' is not known for architecture '{}' and could change what the model computes: {} \
             (allow it by name to load the model without it)",
            short(name),
            short(&self.spec.arch),
            arch::effect(name)
        )
    }

    /// The form that the packed experts of gpt-oss take.
    pub fn packed_form(&self) -> Form {
        self.inputs(Encoding::MXFP4.form())
    }

    /// The form that multiplies exact inputs, where they are asked for.
    fn inputs(&self, form: Form) -> Form {
        if self.options.exact_inputs { form.exact() } else { form }
    }

    fn check_shape(&self, info: &TensorInfo, parts: &[NeededTensor]) -> Result<()> {
        if let [NeededTensor { role: TensorRole::PackedExperts(_, _, field), shape, .. }] = parts
            && let Shape::Matrix(rows, cols) = *shape
        {
            let bytes = rows as u64 * cols as u64 / if *field == PackedField::Blocks { 2 } else { 1 };
            if info.encoding != Encoding::U8 || info.shape.iter().product::<u64>() != bytes {
                bail!(Shape, "'{}' is {:?}, {bytes} bytes are needed", short(&info.name), info.shape);
            }
            return Ok(());
        }
        match stacked_shape(parts) {
            // A norm of another size than expected would be read as another model.
            Shape::Vector(len) => {
                let count: u64 = info.shape.iter().product();
                if count != len as u64 {
                    bail!(Shape, "'{}' has {count} values, {len} are needed", info.name);
                }
                if !info.encoding.is_float() {
                    bail!(
                        UnsupportedFormat,
                        "'{}' is a vector stored as {}",
                        info.name,
                        info.encoding.name()
                    );
                }
            }
            Shape::Matrix(rows, cols) => {
                let packed = info.encoding == Encoding::U8;
                let stored = if packed { rows.div_ceil(4) } else { rows };
                // The experts of a block: one extent more.
                let stacked = match (&info.shape[..], parts[0].role) {
                    (&[count, each, width], TensorRole::Expert(..)) => {
                        count == parts.len() as u64
                            && [count.saturating_mul(each), width] == [stored as u64, cols as u64]
                    }
                    _ => info.shape == [stored as u64, cols as u64],
                };
                if !stacked {
                    bail!(Shape, "'{}' is {:?}, {:?} is needed", info.name, info.shape, [stored, cols]);
                }
                if packed && !(self.spec.checkpoint.packed_scale.is_some() && rows.is_multiple_of(4)) {
                    bail!(
                        UnsupportedFormat,
                        "'{}' is packed, but config.json names no BitNet packing of it",
                        info.name
                    );
                }
            }
        }
        Ok(())
    }

    fn becomes(&self, info: &TensorInfo, part: &NeededTensor) -> Result<Becomes> {
        let Shape::Matrix(rows, cols) = part.shape else { return Ok(Becomes::Vector) };
        if matches!(part.role, TensorRole::PackedExperts(..)) {
            return Ok(Becomes::Raw);
        }
        let encoding = info.encoding;
        let stored = encoding.form();
        let matrix = |form| Becomes::Matrix { form, otherwise: None, latent: None, skips: Skips::Nothing };
        if matches!(
            part.role,
            TensorRole::Router(..) | TensorRole::RouterReduction(_) | TensorRole::SharedGate(_)
        ) {
            if !stored.is_float() {
                bail!(UnsupportedFormat, "'{}' is a router stored as {}", short(&info.name), encoding.name());
            }
            return Ok(matrix(stored));
        }
        if matches!(part.role, TensorRole::Lora(..) | TensorRole::LoopAdapter | TensorRole::LoopExit(_)) {
            if !stored.is_float() {
                let encoding = encoding.name();
                bail!(UnsupportedFormat, "'{}' belongs to a loop and is {encoding}", short(&info.name));
            }
            return Ok(matrix(stored));
        }
        let Some(linear) = self.linear(part.role) else {
            let is_head = matches!(part.role, TensorRole::Embedding | TensorRole::Head);
            let int8 = is_head && encoding.is_float() && self.options.head.is_int8(rows, cols);
            return Ok(matrix(if int8 { Form::I8 } else { stored }));
        };
        if encoding.is_float() && (self.spec.checkpoint.latent || linear.norm.is_some()) {
            let latent = if self.spec.checkpoint.binary { Latent::Binary } else { Latent::Ternary };
            let skips = self.options.sparse.skips(&self.spec, part.role, rows);
            return Ok(Becomes::Matrix { form: Form::Ternary, otherwise: None, latent: Some(latent), skips });
        }
        let ternary = |otherwise| {
            let skips = self.options.sparse.skips(&self.spec, part.role, rows);
            Becomes::Matrix { form: Form::Ternary, otherwise, latent: None, skips }
        };
        Ok(match (stored, linear.input) {
            // TQ1_0 and TQ2_0 store a scale for each 256 columns; a BitNet has one for all.
            (Form::Ternary, InputSemantics::Int8)
                if matches!(encoding, Encoding::TQ1_0 | Encoding::TQ2_0) =>
            {
                ternary(Some(Form::Q2))
            }
            // The model was trained with float inputs: codes of 14 bits, not of 8.
            (Form::Ternary, InputSemantics::Float) => matrix(Form::Q2),
            (Form::Ternary, _) => ternary(None),
            (_, InputSemantics::Quantised(_)) => {
                let encoding = encoding.name();
                bail!(
                    UnsupportedFormat,
                    "'{}' is {encoding}, but its input's codes are for ternary weights",
                    info.name
                )
            }
            (_, InputSemantics::Rounded(_)) => {
                let encoding = encoding.name();
                bail!(UnsupportedFormat, "'{}' is {encoding}, but its inputs are to be rounded", info.name)
            }
            (form, _) => matrix(self.inputs(form)),
        })
    }

    fn linear(&self, role: TensorRole) -> Option<Linear> {
        match role {
            TensorRole::Linear(block, linear, Field::Weight)
            | TensorRole::Expert(block, _, linear, Field::Weight) => {
                self.spec.blocks.get(block)?.linear(linear).copied()
            }
            TensorRole::SharedExpert(block, linear, Field::Weight) => {
                self.spec.blocks.get(block)?.ffn.body.experts()?.shared.as_ref()?.mlp.linear(linear).copied()
            }
            _ => None,
        }
    }

    /// Bytes that a part takes in memory, and the kernel that multiplies it.
    ///
    /// # Errors
    /// `bad-option` when this machine has no such kernels.
    pub fn cost(&self, part: &Part) -> Result<(u64, Option<&'static str>)> {
        if let (Shape::Matrix(rows, cols), TensorRole::PackedExperts(_, _, PackedField::Blocks)) =
            (part.shape, part.role)
        {
            let kernel = kernel::select(self.packed_form(), kernel::isa(&self.options.kernel)?)?;
            return Ok((kernel.layout.matrix_bytes(rows, cols), Some(kernel.name)));
        }
        let (Shape::Matrix(rows, cols), Becomes::Matrix { form, skips, .. }) = (part.shape, part.becomes)
        else {
            if part.becomes == Becomes::Raw {
                return Ok((0, None));
            }
            let Shape::Vector(len) = part.shape else { return Ok((0, None)) };
            return Ok((4 * len as u64, None));
        };
        let kernel = kernel::select_skipping(form, skips, kernel::isa(&self.options.kernel)?)?;
        Ok((kernel.layout.matrix_bytes(rows, cols), Some(kernel.name)))
    }

    /// The tensors that must be there and are not among `tensors`.
    pub fn missing(&self, tensors: &KnownTensors) -> Vec<String> {
        let there = self.by_name.iter().filter(|(name, _)| tensors.contains_key(*name));
        let there: BTreeSet<TensorRole> = there.flat_map(|(_, parts)| parts).map(|part| part.role).collect();
        let needed = self.spec.tensors();
        let absent = needed.iter().filter(|tensor| !tensor.optional && !there.contains(&tensor.role));
        absent.map(|tensor| self.names.of(tensor.role)).collect()
    }
}

impl core::fmt::Display for Becomes {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Vector => f.write_str("f32 vector"),
            Self::Raw => f.write_str("a part of a matrix"),
            Self::Matrix { form, latent: Some(Latent::Ternary), .. } => {
                write!(f, "{} (ternarised)", form.name())
            }
            Self::Matrix { form, latent: Some(Latent::Binary), .. } => {
                write!(f, "{} (binarised)", form.name())
            }
            Self::Matrix { form, otherwise: Some(other), .. } => {
                write!(f, "{} (or {})", form.name(), other.name())
            }
            Self::Matrix { form, .. } => f.write_str(form.name()),
        }
    }
}
