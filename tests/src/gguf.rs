//! A GGUF file taken apart, to be changed in one place and put together again.

use ternlight_core::{
    Result,
    container::{self, Index, Meta, Probe, Value, write},
    format::Encoding,
    load::{LoadOptions, Loader},
    model::Model,
};

use crate::{bytes, push};

/// A GGUF file taken apart.
#[derive(Clone, Debug)]
pub struct Gguf {
    /// Its keys.
    pub meta: Meta,
    /// Its tensors, in the order of the file.
    pub tensors: Vec<(write::TensorSpec, Vec<u8>)>,
}

impl Gguf {
    /// The twin of a published model that lies in `data/published`.
    pub fn open(folder: &str) -> Self {
        let file = bytes(&format!("published/{folder}/model.gguf"));
        let index = probe(&file);
        let part = |t: &container::TensorInfo| {
            let spec =
                write::TensorSpec { name: t.name.clone(), shape: t.shape.clone(), encoding: t.encoding };
            (spec, file[t.offset as usize..(t.offset + t.bytes) as usize].to_vec())
        };
        Self { tensors: index.tensors.iter().map(part).collect(), meta: index.meta }
    }

    /// Gives a key a value.
    pub fn set(mut self, key: &str, value: Value) -> Self {
        self.meta.0.insert(key.into(), value);
        self
    }

    /// Takes a key away.
    ///
    /// # Panics
    /// If it is not there.
    pub fn without(mut self, key: &str) -> Self {
        self.meta.0.remove(key).expect("the key is there");
        self
    }

    /// Adds an F32 vector.
    pub fn with_tensor(mut self, name: &str, len: usize) -> Self {
        let spec = write::TensorSpec { name: name.into(), shape: vec![len as u64], encoding: Encoding::F32 };
        self.tensors.push((spec, [1.0f32; 512][..len].iter().flat_map(|x| x.to_le_bytes()).collect()));
        self
    }

    /// Takes a tensor away.
    ///
    /// # Panics
    /// If it is not there.
    pub fn without_tensor(mut self, name: &str) -> Self {
        let before = self.tensors.len();
        self.tensors.retain(|(spec, _)| spec.name != name);
        assert_eq!(self.tensors.len(), before - 1, "{name}");
        self
    }

    /// Renames a tensor.
    ///
    /// # Panics
    /// If it is not there.
    pub fn renamed(mut self, from: &str, to: &str) -> Self {
        let found = self.tensors.iter_mut().find(|(spec, _)| spec.name == from);
        found.expect("a tensor of that name").0.name = to.into();
        self
    }

    /// The file.
    pub fn bytes(&self) -> Vec<u8> {
        let specs = Vec::from_iter(self.tensors.iter().map(|(spec, _)| spec.clone()));
        let header = write::gguf_header(&self.meta, &specs).expect("a valid header");
        let mut out = header.bytes.clone();
        for (info, (_, data)) in header.tensors.iter().zip(&self.tensors) {
            out.extend(data);
            out.resize(out.len() + header.padding(info), 0);
        }
        out
    }

    /// Loads it with the default options.
    ///
    /// # Errors
    /// Those of the loader.
    pub fn load(&self) -> Result<Model> {
        let mut loader = Loader::new(LoadOptions::default());
        push(&mut loader, "model.gguf", &self.bytes(), 1 << 16)?;
        loader.finish()
    }
}

/// The index of a whole file.
///
/// # Panics
/// If there is none.
pub fn probe(file: &[u8]) -> Index {
    match container::probe(file) {
        Ok(Probe::Ready(index)) => index,
        other => panic!("{other:?}"),
    }
}
