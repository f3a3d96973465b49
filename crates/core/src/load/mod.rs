//! Bytes in chunks of any size → a [`Model`].
//!
//! The caller announces each file ([`Loader::begin_file`]) and pushes its bytes in order as they arrive;
//! whole panels of rows go straight into kernel layout. Peak memory is the packed model plus one panel; the
//! exception are latent weights that must be ternarised (their mean needs the whole matrix first): one matrix
//! more.
//!
//! Invariant: the model does not depend on how the bytes were cut, nor on the number of threads. Nothing in
//! a file is believed before it was checked against the [`Spec`]: shapes, lengths, scales. Memory is only
//! taken for bytes that have come, or that the file is known to be long enough for.

mod sink;

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};

use self::sink::{Loaded, Sink};
use crate::{
    ErrorKind, Result, bail,
    container::{self, Container, Index, Meta, Probe, TensorInfo},
    error::{Error, short},
    format::Form,
    kernel,
    model::{
        Layer, Model, Projection, RopeScaling, Screen, Spec, TensorSummary, arch,
        role::{Field, Linear, Norm, Role, role},
    },
    pool::{Pool, Serial},
    simd::Isa,
};

/// The form of an embedding or head that the file stores as floats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Head {
    /// Int8 for large ones, of which every token would read more bytes than of all ternary weights; else native.
    #[default]
    Auto,
    /// As in the file: exact.
    Native,
    /// Int8 rows with a scale each: half the bytes of f16.
    Int8,
    /// As in the file, and an int8 copy that screens it: the bits of `Native` for the best logits, nearly the
    /// speed of `Int8` ([`crate::model::Screen`]).
    Exact,
}

impl Head {
    /// Whether an embedding or head of (rows, cols) floats becomes int8.
    pub fn is_int8(self, rows: usize, cols: usize) -> bool {
        const LARGE: usize = 1 << 24;
        match self {
            Self::Auto => rows.saturating_mul(cols) >= LARGE,
            Self::Native | Self::Exact => false,
            Self::Int8 => true,
        }
    }
}

/// Choices made when packing.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// An instruction set's name, or `auto`.
    pub kernel: String,
    /// The form of float embeddings and heads.
    pub head: Head,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self { kernel: "auto".to_string(), head: Head::default() }
    }
}

/// Builds a [`Model`] from bytes as they arrive. See the module.
pub struct Loader {
    options: LoadOptions,
    /// What [`LoadOptions::kernel`] names; settled when the first file begins.
    isa: Isa,
    pool: Arc<dyn Pool>,
    meta: Meta,
    spec: Option<Spec>,
    file: Option<File>,
    files: usize,
    /// Parts that a split GGUF promises (`split.count`).
    parts_expected: Option<i64>,
    parts: BTreeMap<Role, Loaded>,
    pushed: u64,
    /// A push failed: what is here is no longer whole.
    broken: bool,
}

/// A file in progress.
struct File {
    name: String,
    len: Option<u64>,
    position: u64,
    stage: Stage,
}

#[allow(clippy::large_enum_variant, reason = "one lives at a time")]
enum Stage {
    /// Collecting the header; `need` bytes are wanted before it is worth looking again.
    Header { bytes: Vec<u8>, need: u64 },
    /// Feeding tensors in file order.
    Data {
        container: Container,
        tensors: alloc::vec::IntoIter<TensorInfo>,
        current: Option<(TensorInfo, Role, Sink)>,
        own_norms: BTreeSet<(usize, Linear)>,
        file_len: u64,
    },
}

/// What the spec expects of a role.
enum Expected {
    Vector(usize),
    Matrix(usize, usize),
}

impl Loader {
    /// A loader that has seen nothing yet.
    pub fn new(options: LoadOptions) -> Self {
        Self {
            options,
            isa: Isa::SCALAR,
            pool: Arc::new(Serial),
            meta: Meta::default(),
            spec: None,
            file: None,
            files: 0,
            parts_expected: None,
            parts: BTreeMap::new(),
            pushed: 0,
            broken: false,
        }
    }

    /// The same, packing with the threads of `pool`. The model does not depend on them.
    pub fn with_pool(self, pool: Arc<dyn Pool>) -> Self {
        Self { pool, ..self }
    }

    /// Takes an HF `config.json`; must come before the first safetensors file.
    ///
    /// # Errors
    /// `bad-header` for invalid JSON, and those of [`arch::spec`].
    pub fn config(&mut self, json: &str) -> Result<()> {
        self.meta = container::config(json)?;
        self.spec = Some(arch::spec(Container::Safetensors, &self.meta)?);
        Ok(())
    }

    /// The metadata so far: the flattened config, or the GGUF keys once its header has arrived.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// Moves the values of these keys out of the metadata, as far as they are there.
    pub fn take_meta(&mut self, keys: &[&str]) -> Meta {
        Meta(keys.iter().filter_map(|key| self.meta.0.remove_entry(*key)).collect())
    }

    /// The spec, once known.
    pub fn spec(&self) -> Option<&Spec> {
        self.spec.as_ref()
    }

    /// Bytes pushed so far, all files together.
    pub fn pushed(&self) -> u64 {
        self.pushed
    }

    /// Announces the file whose bytes come next; `len` is its length where known.
    ///
    /// # Errors
    /// `bad-option` while another file is open, or for a kernel that is not here.
    pub fn begin_file(&mut self, name: &str, len: Option<u64>) -> Result<()> {
        if let Some(file) = &self.file {
            bail!(BadOption, "'{}' is still open", file.name);
        }
        if self.files == 0 {
            self.isa = kernel::isa(&self.options.kernel)?;
        }
        let stage = Stage::Header { bytes: Vec::new(), need: 24 };
        self.file = Some(File { name: name.to_string(), len, position: 0, stage });
        Ok(())
    }

    /// Takes the next bytes of the open file.
    ///
    /// # Errors
    /// Anything that can be wrong with a file; the loader is useless afterwards.
    pub fn push(&mut self, chunk: &[u8]) -> Result<()> {
        if self.broken {
            bail!(BadOption, "an earlier chunk of this model failed");
        }
        let Some(mut file) = self.file.take() else {
            bail!(BadOption, "no file is open");
        };
        self.pushed += chunk.len() as u64;
        let result = self.feed(&mut file, chunk).map_err(|e| located(e, &file.name));
        self.file = Some(file);
        self.broken = result.is_err();
        result
    }

    /// Says that the open file has ended.
    ///
    /// # Errors
    /// `truncated` when a tensor is missing bytes.
    pub fn end_file(&mut self) -> Result<()> {
        let Some(mut file) = self.file.take() else {
            bail!(BadOption, "no file is open");
        };
        if self.broken {
            bail!(BadOption, "an earlier chunk of this model failed");
        }
        // A file shorter than the header was asked for: now there is nothing more to wait for.
        if let Stage::Header { need, .. } = &mut file.stage {
            *need = 0;
            if let Err(error) = self.feed(&mut file, &[]) {
                self.broken = true;
                return Err(located(error, &file.name));
            }
        }
        match file.stage {
            Stage::Header { bytes, .. } => {
                bail!(Truncated, "{}: ends at {} within the header", file.name, bytes.len())
            }
            Stage::Data { current, mut tensors, file_len, .. } => {
                if let Some((info, ..)) =
                    current.as_ref().map(|c| (&c.0,)).or(tensors.as_slice().first().map(|t| (t,)))
                {
                    bail!(
                        Truncated,
                        "{}: ends at {} within '{}', {file_len} bytes were promised",
                        file.name,
                        file.position,
                        info.name
                    );
                }
                debug_assert!(tensors.next().is_none());
            }
        }
        self.files += 1;
        Ok(())
    }

    fn feed(&mut self, file: &mut File, chunk: &[u8]) -> Result<()> {
        let Stage::Header { bytes, need } = &mut file.stage else {
            return self.feed_data(file, chunk);
        };
        bytes.try_reserve(chunk.len())?;
        bytes.extend_from_slice(chunk);
        if (bytes.len() as u64) < *need {
            return Ok(());
        }
        match container::probe(bytes)? {
            Probe::Need(more) => {
                // What is asked for may be more than the header has, so a short file is no error yet.
                let more = file.len.map_or(more, |len| more.min(len.max(bytes.len() as u64 + 1)));
                *need = more;
                Ok(())
            }
            Probe::Ready(index) => {
                if let Some(len) = file.len
                    && index.file_len > len
                {
                    bail!(Truncated, "{len} bytes where {} are promised", index.file_len);
                }
                let bytes = core::mem::take(bytes);
                file.stage = self.start(index)?;
                self.feed_data(file, &bytes)
            }
        }
    }

    /// A header is complete: settle the spec, and what each tensor will be.
    fn start(&mut self, index: Index) -> Result<Stage> {
        match index.container {
            Container::Gguf => {
                if let Some(count) = index.meta.opt_int("split.count")?.filter(|&count| count > 1) {
                    let number = index.meta.opt_int("split.no")?.unwrap_or(0);
                    if number != self.files as i64 {
                        bail!(BadHeader, "part {} of {count} came as number {}", number + 1, self.files + 1);
                    }
                    self.parts_expected = Some(count);
                } else if self.files > 0 {
                    bail!(BadHeader, "a second GGUF file that is no part of the first");
                }
                if self.files == 0 {
                    self.spec = Some(arch::spec(Container::Gguf, &index.meta)?);
                    self.meta = index.meta;
                }
            }
            Container::Safetensors => {
                if self.spec.is_none() {
                    bail!(MissingKey, "config.json must come before the weights");
                }
            }
        }
        let container = index.container;
        let own_norms = index
            .tensors
            .iter()
            .filter_map(|t| match role(container, &t.name) {
                Some(Role::Linear(layer, linear, Field::Norm)) => Some((layer, linear)),
                _ => None,
            })
            .collect();
        if let (Some(spec), Some(embedding)) =
            (&mut self.spec, index.tensors.iter().find(|t| role(container, &t.name) == Some(Role::Embedding)))
            && spec.vocab == 0
            && embedding.shape.len() == 2
        {
            spec.vocab = usize::try_from(embedding.shape[0]).unwrap_or(usize::MAX);
            if spec.vocab > 1 << 21 {
                bail!(TooLarge, "a vocabulary of {}", spec.vocab);
            }
        }
        Ok(Stage::Data {
            container,
            tensors: index.tensors.into_iter(),
            current: None,
            own_norms,
            file_len: index.file_len,
        })
    }

    fn feed_data(&mut self, file: &mut File, mut bytes: &[u8]) -> Result<()> {
        let len_known = file.len.is_some();
        let Stage::Data { container, tensors, current, own_norms, .. } = &mut file.stage else {
            unreachable!("only called once the header is complete");
        };
        while !bytes.is_empty() {
            if current.is_none() {
                let Some(info) = tensors.next() else {
                    file.position += bytes.len() as u64;
                    return Ok(());
                };
                let (role, sink) = self.sink(*container, &info, own_norms, len_known)?;
                *current = Some((info, role, sink));
            }
            let Some((info, _, sink)) = current else { unreachable!("just set") };
            let (skip, rest) = split_at(bytes, info.offset.saturating_sub(file.position));
            file.position += skip.len() as u64;
            let (part, rest) = split_at(rest, info.offset + info.bytes - file.position);
            sink.push(part, &*self.pool).map_err(|e| located(e, &info.name))?;
            file.position += part.len() as u64;
            bytes = rest;
            if file.position == info.offset + info.bytes
                && let Some((info, role, sink)) = current.take()
                && let Some(loaded) =
                    sink.finish(self.isa, &*self.pool).map_err(|e| located(e, &info.name))?
                && self.parts.insert(role, loaded).is_some()
            {
                bail!(BadHeader, "'{}' comes twice", info.name);
            }
        }
        Ok(())
    }

    /// Decides what becomes of a tensor, and checks its shape.
    fn sink(
        &self,
        container: Container,
        info: &TensorInfo,
        own_norms: &BTreeSet<(usize, Linear)>,
        len_known: bool,
    ) -> Result<(Role, Sink)> {
        let Some(spec) = &self.spec else { bail!(MissingKey, "no metadata before '{}'", info.name) };
        let skip = (Role::RopeDivisors, Sink::Skip);
        let Some(role) = role(container, &info.name) else { return Ok(skip) };
        let layer = match role {
            Role::Norm(layer, _) | Role::Linear(layer, ..) => layer,
            _ => 0,
        };
        if layer >= spec.layers || (role == Role::Head && spec.tied == Some(true)) {
            return Ok(skip);
        }
        let sink = match expected(spec, role) {
            Expected::Vector(len) => {
                let count: u64 = info.shape.iter().product();
                // A norm of another size than expected would be read as another model.
                if count != len as u64 {
                    bail!(Shape, "'{}' has {count} values, {len} are needed", info.name);
                }
                Sink::vector(info.encoding, len)?
            }
            Expected::Matrix(rows, cols) => {
                let own_norm =
                    matches!(role, Role::Linear(layer, linear, _) if own_norms.contains(&(layer, linear)));
                Sink::matrix(
                    info,
                    role,
                    [rows, cols],
                    spec,
                    own_norm,
                    (self.isa, self.options.head),
                    len_known,
                )?
            }
        };
        Ok((role, sink))
    }

    /// The model, once every file has ended.
    ///
    /// # Errors
    /// `missing-tensor` with the tensor's role, `bad-data` for scales that are no numbers.
    pub fn finish(mut self) -> Result<Model> {
        if self.broken || self.file.is_some() {
            bail!(Truncated, "a file is not complete");
        }
        if let Some(count) = self.parts_expected
            && count != self.files as i64
        {
            bail!(Truncated, "{} of {count} parts", self.files);
        }
        let Some(mut spec) = self.spec.take() else {
            bail!(Truncated, "no model file was given");
        };
        let mut tensors = Vec::new();
        let mut parts = Parts { parts: &mut self.parts, tensors: &mut tensors, spec: &spec };
        let embedding = parts.matrix(Role::Embedding)?;
        let head = match spec.tied {
            Some(true) => None,
            Some(false) => Some(parts.matrix(Role::Head)?),
            None => parts.take(Role::Head).map(|head| parts.into_matrix(head)).transpose()?,
        };
        let final_norm = parts.vector(Role::FinalNorm)?;
        let mut layers = Vec::new();
        layers.try_reserve(spec.layers)?;
        for i in 0..spec.layers {
            layers.push(parts.layer(i)?);
        }
        if let Some(divisors) = parts.optional_vector(Role::RopeDivisors)? {
            if divisors.iter().any(|d| !d.is_finite() || *d == 0.0) {
                bail!(BadData, "rope_freqs.weight holds a zero or no number");
            }
            spec.rope.scaling = RopeScaling::Divisors(divisors.into());
            spec.rope.check()?;
        }
        spec.tied = Some(head.is_none());
        spec.vocab = embedding.rows();
        let head_matrix = head.as_ref().unwrap_or(&embedding);
        let is_float = matches!(head_matrix.form(), Form::F16 | Form::BF16 | Form::F32);
        let screened = self.options.head == Head::Exact && is_float;
        let screen = screened.then(|| Screen::new(head_matrix, self.isa)).transpose()?;
        Ok(Model {
            isa: self.isa,
            spec,
            meta: self.meta,
            embedding,
            head,
            screen,
            final_norm,
            layers,
            tensors,
        })
    }
}

fn expected(spec: &Spec, role: Role) -> Expected {
    let (hidden, ffn) = (spec.hidden, spec.ffn);
    match role {
        Role::Embedding | Role::Head => Expected::Matrix(spec.vocab, hidden),
        Role::FinalNorm => Expected::Vector(hidden),
        Role::RopeDivisors => Expected::Vector(spec.rope.dims / 2),
        Role::Norm(_, norm) => Expected::Vector(match norm {
            Norm::Attn | Norm::Ffn => hidden,
            Norm::Q | Norm::K => spec.head_dim,
            Norm::AttnSub => spec.q_width(),
            Norm::FfnSub => ffn,
        }),
        Role::Linear(_, linear, field) => {
            let (rows, cols) = match linear {
                Linear::Q => (spec.q_width(), hidden),
                Linear::K | Linear::V => (spec.kv_width(), hidden),
                Linear::O => (hidden, spec.q_width()),
                Linear::Gate | Linear::Up => (ffn, hidden),
                Linear::Down => (hidden, ffn),
            };
            match field {
                Field::Weight => Expected::Matrix(rows, cols),
                Field::Scale => Expected::Vector(1),
                Field::Bias => Expected::Vector(rows),
                Field::Norm => Expected::Vector(cols),
            }
        }
    }
}

/// Adds where an error happened, once.
fn located(error: Error, place: &str) -> Error {
    let place = short(place);
    if error.detail.contains(place) {
        return error;
    }
    Error::new(error.kind, alloc::format!("{place}: {}", error.detail))
}

/// The first `n` bytes (or all), and the rest.
fn split_at(bytes: &[u8], n: u64) -> (&[u8], &[u8]) {
    bytes.split_at(usize::try_from(n).map_or(bytes.len(), |n| n.min(bytes.len())))
}

/// The loaded parts, being assembled.
struct Parts<'a> {
    parts: &'a mut BTreeMap<Role, Loaded>,
    tensors: &'a mut Vec<TensorSummary>,
    spec: &'a Spec,
}

impl Parts<'_> {
    fn take(&mut self, role: Role) -> Option<Loaded> {
        self.parts.remove(&role)
    }

    fn optional_vector(&mut self, role: Role) -> Result<Option<Vec<f32>>> {
        match self.take(role) {
            None => Ok(None),
            Some(Loaded::Vector(values)) => {
                if values.iter().any(|x| !x.is_finite()) {
                    bail!(BadData, "{role:?} holds a value that is no number");
                }
                Ok(Some(values))
            }
            Some(Loaded::Matrix { name, .. }) => bail!(Shape, "'{name}' is a matrix"),
        }
    }

    fn vector(&mut self, role: Role) -> Result<Vec<f32>> {
        self.optional_vector(role)?.ok_or_else(|| missing(role))
    }

    fn matrix(&mut self, role: Role) -> Result<crate::matrix::Matrix> {
        let loaded = self.take(role).ok_or_else(|| missing(role))?;
        self.into_matrix(loaded)
    }

    #[allow(clippy::wrong_self_convention, reason = "converts its argument, and notes it in the summary")]
    fn into_matrix(&mut self, loaded: Loaded) -> Result<crate::matrix::Matrix> {
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
            trits: (matrix.form() == Form::Ternary).then_some(trits),
        });
        Ok(matrix)
    }

    fn projection(&mut self, layer: usize, linear: Linear) -> Result<Projection> {
        let role = |field| Role::Linear(layer, linear, field);
        let scale = self.optional_vector(role(Field::Scale))?;
        let mut loaded = self.take(role(Field::Weight)).ok_or_else(|| missing(role(Field::Weight)))?;
        if let Loaded::Matrix { name, matrix, packed, .. } = &mut loaded {
            let factor = match (scale, *packed) {
                (Some(scale), true) => match self.spec.weights {
                    crate::model::Weights::Divide => 1.0 / scale[0],
                    _ => scale[0],
                },
                (Some(scale), false) => scale[0],
                (None, true) => bail!(MissingTensor, "'{name}' has no weight_scale"),
                (None, false) => 1.0,
            };
            if !factor.is_finite() {
                bail!(BadData, "the scale of '{name}' is {factor}");
            }
            if factor != 1.0 {
                matrix.scale_rows(factor);
            }
        }
        Ok(Projection {
            matrix: self.into_matrix(loaded)?,
            norm: self.optional_vector(role(Field::Norm))?,
            bias: self.optional_vector(role(Field::Bias))?,
        })
    }

    fn layer(&mut self, i: usize) -> Result<Layer> {
        let (sub_norms, qk_norm) = (self.spec.sub_norms, self.spec.qk_norm);
        let wanted = |parts: &mut Self, wanted: bool, norm: Norm| match wanted {
            true => parts.vector(Role::Norm(i, norm)).map(Some),
            false => parts.optional_vector(Role::Norm(i, norm)),
        };
        Ok(Layer {
            attn_norm: self.vector(Role::Norm(i, Norm::Attn))?,
            q: self.projection(i, Linear::Q)?,
            k: self.projection(i, Linear::K)?,
            v: self.projection(i, Linear::V)?,
            q_norm: wanted(self, qk_norm, Norm::Q)?,
            k_norm: wanted(self, qk_norm, Norm::K)?,
            attn_sub_norm: wanted(self, sub_norms, Norm::AttnSub)?,
            o: self.projection(i, Linear::O)?,
            ffn_norm: self.vector(Role::Norm(i, Norm::Ffn))?,
            gate: self.projection(i, Linear::Gate)?,
            up: self.projection(i, Linear::Up)?,
            ffn_sub_norm: wanted(self, sub_norms, Norm::FfnSub)?,
            down: self.projection(i, Linear::Down)?,
        })
    }
}

fn missing(role: Role) -> Error {
    Error::new(ErrorKind::MissingTensor, alloc::format!("no tensor for {role:?}"))
}
