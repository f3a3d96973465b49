//! Which matrices of a file are the same, as the loader will find: they take memory once.
//!
//! Of each matrix a few kilobytes are read; only where these are the same, all of it.

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::PathBuf,
};

use sha2::{Digest, Sha256};
use ternlight_core::{
    container::Index,
    load::plan::{Becomes, Part, Plan, Planned},
    model::{
        spec::Shape,
        tensor_names::{Field, TensorRole},
    },
};

use crate::{Result, failure::Failure, interrupt};

/// Bytes at the beginning and in the middle that are compared first.
const SAMPLE: u64 = 4096;

/// A matrix that may be shared, and where its row of the report is.
struct Candidate {
    tensor: usize,
    row: usize,
    file: usize,
    part: Part,
    /// Where the scale beside it is.
    scale: Option<(usize, Part)>,
}

/// A part whose matrix an earlier tensor holds too.
pub struct Alias {
    /// The tensor, in the order of the files.
    pub tensor: usize,
    /// Its part.
    pub row: usize,
    /// The name of the earlier tensor.
    pub same_as: String,
}

/// The parts whose matrix an earlier one holds too. `indices` are the headers of the files at `paths`.
///
/// # Errors
/// `io`.
pub fn find(plan: &Plan, paths: &[PathBuf], indices: &[Index]) -> Result<Vec<Alias>> {
    let mut aliases = Vec::new();
    let mut files = Files { paths, open: HashMap::new() };
    let mut alike: HashMap<(String, Vec<u8>), Vec<Candidate>> = HashMap::new();
    let mut order = Vec::new();
    for candidate in candidates(plan, indices) {
        let part = &candidate.part;
        let mut sample = files.read(candidate.file, part.offset, part.bytes.min(SAMPLE))?;
        sample.extend(files.read(
            candidate.file,
            part.offset + part.bytes / 2,
            (part.bytes / 2).min(SAMPLE),
        )?);
        let kind = format!("{:?} {:?} {:?}", part.shape, part.encoding, part.becomes);
        let key = (kind, Sha256::digest(&sample).to_vec());
        if !alike.contains_key(&key) {
            order.push(key.clone());
        }
        alike.entry(key).or_default().push(candidate);
    }
    for key in order {
        let Some(group) = alike.remove(&key).filter(|group| group.len() > 1) else { continue };
        let mut known: BTreeMap<Vec<u8>, String> = BTreeMap::new();
        for candidate in group {
            let digest = files.digest(&candidate)?;
            if let Some(first) = known.get(&digest) {
                let Candidate { tensor, row, .. } = candidate;
                aliases.push(Alias { tensor, row, same_as: first.clone() });
            } else {
                known.insert(digest, candidate.part.name);
            }
        }
    }
    Ok(aliases)
}

/// The matrices of linear layers, in file order.
fn candidates(plan: &Plan, indices: &[Index]) -> Vec<Candidate> {
    let all =
        indices.iter().enumerate().flat_map(|(file, index)| index.tensors.iter().map(move |t| (file, t)));
    let mut scales: BTreeMap<TensorRole, (usize, Part)> = BTreeMap::new();
    let mut found = Vec::new();
    for (tensor, (file, info)) in all.enumerate() {
        let Ok(Planned::Read(parts)) = plan.tensor(info) else { continue };
        for (row, part) in parts.into_iter().enumerate() {
            match (part.shape, part.becomes) {
                (Shape::Vector(1), _) => {
                    scales.insert(part.role, (file, part));
                }
                (Shape::Matrix(..), Becomes::Matrix { .. })
                    if part.role.linear_field().is_some() || matches!(part.role, TensorRole::Router(..)) =>
                {
                    found.push(Candidate { tensor, row, file, part, scale: None });
                }
                _ => {}
            }
        }
    }
    for candidate in &mut found {
        candidate.scale = scales.remove(&candidate.part.role.with_field(Field::Scale));
    }
    found
}

/// The files of a model, each opened once.
struct Files<'a> {
    paths: &'a [PathBuf],
    open: HashMap<usize, File>,
}

impl Files<'_> {
    fn read(&mut self, file: usize, offset: u64, bytes: u64) -> Result<Vec<u8>> {
        let path = &self.paths[file];
        let io = |e| Failure::io(path, &e);
        let input = match self.open.entry(file) {
            Entry::Occupied(open) => open.into_mut(),
            Entry::Vacant(place) => place.insert(File::open(path).map_err(io)?),
        };
        input.seek(SeekFrom::Start(offset)).map_err(io)?;
        let mut out = Vec::new();
        input.take(bytes).read_to_end(&mut out).map_err(io)?;
        Ok(out)
    }

    /// Of all bytes, and of the scale.
    fn digest(&mut self, candidate: &Candidate) -> Result<Vec<u8>> {
        const CHUNK: u64 = 4 << 20;
        let mut hash = Sha256::new();
        let own = (candidate.file, candidate.part.offset, candidate.part.bytes);
        let scale = candidate.scale.as_ref().map(|(file, part)| (*file, part.offset, part.bytes));
        for (file, offset, bytes) in [Some(own), scale].into_iter().flatten() {
            for at in (0..bytes).step_by(CHUNK as usize) {
                interrupt::check()?;
                hash.update(self.read(file, offset + at, CHUNK.min(bytes - at))?);
            }
        }
        Ok(hash.finalize().to_vec())
    }
}
