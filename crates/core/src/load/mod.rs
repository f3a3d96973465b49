//! Bytes in chunks of any size → a [`Model`].
//!
//! The caller announces each file ([`Loader::begin_file`]) and pushes its bytes in order as they arrive;
//! whole panels of rows go straight into kernel layout. Peak memory is the packed model plus one panel; the
//! exception are latent weights that must be ternarised (their mean needs the whole matrix first): one matrix
//! more.
//!
//! Invariant: the model does not depend on how the bytes were cut, nor on the number of threads. Nothing in
//! a file is believed before it was checked against the [`Spec`]: shapes, lengths, scales. Memory is allocated
//! only for bytes that have arrived, or that the file is known to be long enough for.
//!
//! What becomes of a tensor is decided by the [`plan`], which is made again with each header. A header that would
//! have changed what became of a tensor already loaded is an error; [`Loader::announce`] avoids it.

mod assemble;
mod checksum;
mod options;
mod packed_experts;
mod part;
pub mod plan;
mod small_floats;
mod sparsity;
mod stored_floats;
mod tensor_loader;

use alloc::{
    collections::{BTreeMap, VecDeque},
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};

use self::{
    checksum::Checksum,
    plan::{Part, Plan, Planned},
    tensor_loader::{Loaded, TensorLoader},
};
pub use self::{
    options::{HeadPrecision, LoadOptions},
    sparsity::SparseLayouts,
};
use crate::{
    ErrorKind, Result, bail,
    container::{self, Container, Index, Meta, Probe, TensorInfo},
    error::{Error, short},
    kernel,
    model::{
        Model,
        arch::{self, KnownTensors},
        spec::Spec,
        tensor_names::TensorRole,
    },
    pool::{Pool, Serial},
    simd::Isa,
};

/// Builds a [`Model`] from bytes as they arrive. See the module.
pub struct Loader {
    options: LoadOptions,
    /// What [`LoadOptions::kernel`] names; settled when the first file begins.
    isa: Isa,
    pool: Arc<dyn Pool>,
    meta: Meta,
    container: Option<Container>,
    plan: Option<Plan>,
    /// The tensors of all headers so far, and the announced ones.
    tensors: KnownTensors,
    file: Option<File>,
    files: usize,
    /// Parts that a split GGUF promises (`split.count`).
    parts_expected: Option<i64>,
    /// What was decided for the tensors that were begun.
    begun: Vec<(TensorInfo, Planned)>,
    loaded: BTreeMap<TensorRole, Loaded>,
    /// Checksums of an embedding and of a stored head that should equal it.
    tied: [Option<Checksum>; 2],
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
    /// Feeding pieces in file order.
    Data { pieces: VecDeque<Piece>, current: Option<(Piece, Option<TensorLoader>)>, file_len: u64 },
}

/// A range of the file: a part of a tensor, or a tensor that nothing needs.
struct Piece {
    name: String,
    offset: u64,
    bytes: u64,
    /// `None`: passed by.
    part: Option<Part>,
    /// Which of [`Loader::tied`] its bytes count into.
    tied: Option<usize>,
}

impl Loader {
    /// A loader that has seen nothing yet.
    pub fn new(options: LoadOptions) -> Self {
        Self {
            options,
            isa: Isa::SCALAR,
            pool: Arc::new(Serial),
            meta: Meta::default(),
            container: None,
            plan: None,
            tensors: KnownTensors::new(),
            file: None,
            files: 0,
            parts_expected: None,
            begun: Vec::new(),
            loaded: BTreeMap::new(),
            tied: [None; 2],
            pushed: 0,
            broken: false,
        }
    }

    /// The same, packing with the threads of `pool`. The model does not depend on them.
    pub fn with_pool(self, pool: Arc<dyn Pool>) -> Self {
        Self { pool, ..self }
    }

    /// Takes a Hugging Face `config.json`; must come before the first safetensors file.
    ///
    /// # Errors
    /// `bad-header` for invalid JSON, `bad-option` for values of [`LoadOptions::set`], and those of [`arch::spec`].
    pub fn config(&mut self, json: &str) -> Result<()> {
        self.meta = container::config(json)?;
        self.options.set.apply(&mut self.meta)?;
        self.container = Some(Container::Safetensors);
        // What the configuration alone rules out is known before any weights arrive.
        arch::spec(Container::Safetensors, &self.meta, &self.tensors, &self.options.allow_unknown)?;
        Ok(())
    }

    /// Names tensors of files that are still to come, as far as they are known: from an index of shards, or from
    /// headers that were read ahead.
    pub fn announce(&mut self, tensors: impl IntoIterator<Item = (String, Option<TensorInfo>)>) {
        for (name, info) in tensors {
            self.tensors.entry(name).or_insert(info);
        }
    }

    /// The metadata so far: the flattened config, or the GGUF keys once its header has arrived.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// Moves the values of these keys out of the metadata, as far as they are there.
    pub fn take_meta(&mut self, keys: &[&str]) -> Meta {
        Meta(keys.iter().filter_map(|key| self.meta.0.remove_entry(*key)).collect())
    }

    /// The spec, once the first header has arrived.
    pub fn spec(&self) -> Option<&Spec> {
        self.plan.as_ref().map(|plan| &plan.spec)
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
            Stage::Data { current, pieces, file_len } => {
                if let Some(piece) = current.as_ref().map(|(piece, _)| piece).or(pieces.front()) {
                    bail!(
                        Truncated,
                        "{}: ends at {} within '{}', {file_len} bytes were promised",
                        file.name,
                        file.position,
                        piece.name
                    );
                }
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

    /// A header is complete: make the plan again, and cut the file into pieces.
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
                    self.meta = index.meta;
                    self.options.set.apply(&mut self.meta)?;
                }
            }
            Container::Safetensors if self.container.is_none() => {
                bail!(MissingKey, "config.json must come before the weights")
            }
            Container::Safetensors => {}
        }
        for tensor in &index.tensors {
            self.tensors.insert(tensor.name.clone(), Some(tensor.clone()));
        }
        let plan = Plan::new(index.container, &self.meta, &self.tensors, &self.options)?;
        for (tensor, before) in &self.begun {
            if plan.tensor(tensor)? != *before {
                bail!(
                    UnsupportedFormat,
                    "'{}' was loaded before this part of the model told what it is; \
                     all parts must be announced first",
                    short(&tensor.name)
                );
            }
        }
        let mut pieces = VecDeque::new();
        for tensor in index.tensors {
            let planned = plan.tensor(&tensor).map_err(|error| self.misnamed(&plan, &tensor, error))?;
            pieces.extend(self.pieces(&plan, &tensor, &planned));
            self.begun.push((tensor, planned));
        }
        self.plan = Some(plan);
        Ok(Stage::Data { pieces, current: None, file_len: index.file_len })
    }

    /// Where a tensor is not known and another is lacking, one is probably the other's misspelling: says both.
    fn misnamed(&self, plan: &Plan, tensor: &TensorInfo, error: Error) -> Error {
        let is_whole = self.container.is_none() && self.parts_expected.is_none();
        match plan.missing(&self.tensors).first() {
            Some(name) if is_whole && error.kind == ErrorKind::UnsupportedArch => {
                let unknown = short(&tensor.name);
                let detail =
                    alloc::format!("there is no tensor '{name}', but one that is not known, '{unknown}'");
                Error::new(ErrorKind::MissingTensor, detail)
            }
            _ => error,
        }
    }

    /// The pieces of the file that a tensor is.
    fn pieces(&self, plan: &Plan, tensor: &TensorInfo, planned: &Planned) -> Vec<Piece> {
        let heads = plan.names.spellings(TensorRole::Head);
        // Without a stored head there is nothing that the embedding's bytes would be compared with.
        let compared = plan.spec.output.tied && heads.iter().any(|head| self.tensors.contains_key(head));
        match planned {
            Planned::Unused(_) => {
                let TensorInfo { name, offset, bytes, .. } = tensor.clone();
                let tied = (compared && heads.contains(&name)).then_some(1);
                [Piece { name, offset, bytes, part: None, tied }].into()
            }
            Planned::Read(parts) => {
                let piece = |part: &Part| Piece {
                    name: part.name.clone(),
                    offset: part.offset,
                    bytes: part.bytes,
                    part: Some(part.clone()),
                    tied: (compared && part.role == TensorRole::Embedding).then_some(0),
                };
                parts.iter().map(piece).collect()
            }
        }
    }

    fn feed_data(&mut self, file: &mut File, mut bytes: &[u8]) -> Result<()> {
        let len_known = file.len.is_some();
        let Stage::Data { pieces, current, .. } = &mut file.stage else {
            unreachable!("only called once the header is complete");
        };
        while !bytes.is_empty() {
            if current.is_none() {
                let Some(piece) = pieces.pop_front() else {
                    file.position += bytes.len() as u64;
                    return Ok(());
                };
                let loader = piece.part.as_ref().map(|part| TensorLoader::new(part, self.isa, len_known));
                let loader = loader.transpose().map_err(|e| located(e, &piece.name))?;
                *current = Some((piece, loader));
            }
            let Some((piece, loader)) = current else { unreachable!("just set") };
            let (skip, rest) = split_at(bytes, piece.offset.saturating_sub(file.position));
            file.position += skip.len() as u64;
            let (own, rest) = split_at(rest, piece.offset + piece.bytes - file.position);
            if let Some(loader) = loader {
                loader.push(own, &*self.pool).map_err(|e| located(e, &piece.name))?;
            }
            if let Some(which) = piece.tied {
                self.tied[which].get_or_insert_default().update(own);
            }
            file.position += own.len() as u64;
            bytes = rest;
            if file.position == piece.offset + piece.bytes
                && let Some((piece, Some(loader))) = current.take()
                && let Some(part) = piece.part
            {
                let loaded = loader.finish(self.isa, &*self.pool).map_err(|e| located(e, &piece.name))?;
                if self.loaded.insert(part.role, loaded).is_some() {
                    bail!(BadHeader, "'{}' comes twice", piece.name);
                }
                if let Some(plan) = &self.plan {
                    packed_experts::join(plan, &mut self.loaded, part.role, self.isa, &*self.pool)
                        .and_then(|()| {
                            small_floats::join(plan, &mut self.loaded, part.role, self.isa, &*self.pool)
                        })
                        .map_err(|e| located(e, &piece.name))?;
                }
            }
        }
        Ok(())
    }

    /// The model, once every file has ended.
    ///
    /// # Errors
    /// `missing-tensor` with the tensor's name, `bad-data` for scales that are no numbers and for a stored head that
    /// differs from the embedding that it should be.
    pub fn finish(self) -> Result<Model> {
        if self.broken || self.file.is_some() {
            bail!(Truncated, "a file is not complete");
        }
        if let Some(count) = self.parts_expected
            && count != self.files as i64
        {
            bail!(Truncated, "{} of {count} parts", self.files);
        }
        let Some(plan) = self.plan else {
            bail!(Truncated, "no model file was given");
        };
        if let [Some(embedding), Some(head)] = self.tied
            && embedding != head
        {
            bail!(
                BadData,
                "the stored head differs from the embedding, which 'tie_word_embeddings' says it is"
            );
        }
        let screened = self.options.head == HeadPrecision::Exact;
        assemble::assemble(plan, self.meta, self.loaded, self.isa, screened)
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
