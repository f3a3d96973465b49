//! Models on this machine: which files belong together, and in which order they are read.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use ternlight_core::{
    Error, ErrorKind, Result,
    container::{self, Index, Probe},
};

use super::{EngineLoader, TEXTS};
use crate::{engine::Engine, options::EngineOptions};

/// Bytes read at once.
const CHUNK: usize = 4 << 20;

impl Engine {
    /// Loads a GGUF file (with the other parts of a split one), a safetensors file, or a Hugging Face
    /// folder. `progress` is told the bytes read and the bytes in all.
    ///
    /// # Errors
    /// `source` when a file cannot be read; anything that [`EngineLoader`] finds.
    pub fn open(path: &Path, options: &EngineOptions, progress: &mut dyn FnMut(u64, u64)) -> Result<Self> {
        let files = files_of(path)?;
        let lens = files.iter().map(|f| std::fs::metadata(f).map(|m| m.len()).map_err(|e| failed(f, &e)));
        let lens = lens.collect::<Result<Vec<u64>>>()?;
        let total = lens.iter().sum();
        let mut loader = EngineLoader::new(options.clone(), None);
        // Parts tell about each other's tensors, so their headers are read first.
        let weights = |path: &&PathBuf| path.extension().is_some_and(|e| e == "safetensors" || e == "gguf");
        if files.iter().filter(weights).count() > 1 {
            for path in files.iter().filter(weights) {
                loader.announce(header(path)?.tensors.into_iter().map(|t| (t.name.clone(), Some(t))));
            }
        }
        let mut chunk = vec![0; CHUNK];
        let mut done = 0;
        for (path, len) in files.iter().zip(lens) {
            let mut file = File::open(path).map_err(|e| failed(path, &e))?;
            loader.begin_file(&path.file_name().unwrap_or_default().to_string_lossy(), Some(len))?;
            loop {
                let n = match file.read(&mut chunk) {
                    Ok(0) => break,
                    Ok(n) => n,
                    Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                    Err(e) => return Err(failed(path, &e)),
                };
                loader.push(&chunk[..n])?;
                done += n as u64;
                progress(done, total);
            }
            loader.end_file()?;
        }
        loader.finish()
    }
}

/// The header of a weight file.
fn header(path: &Path) -> Result<Index> {
    let file = File::open(path).map_err(|e| failed(path, &e))?;
    let (mut bytes, mut need) = (Vec::new(), 1 << 16);
    loop {
        let more = (&file).take(need - bytes.len() as u64).read_to_end(&mut bytes);
        let ended = more.map_err(|e| failed(path, &e))? == 0;
        match container::probe(&bytes)? {
            Probe::Ready(index) => return Ok(index),
            Probe::Need(_) if ended => {
                let detail = format!("{}: the file ends within its header", path.display());
                return Err(Error::new(ErrorKind::Truncated, detail));
            }
            Probe::Need(next) => need = next,
        }
    }
}

/// The files of a model, in the order they are read.
fn files_of(path: &Path) -> Result<Vec<PathBuf>> {
    let meta = std::fs::metadata(path).map_err(|e| failed(path, &e))?;
    if !meta.is_dir() {
        let parts = split_parts(path);
        // A lone safetensors file has its texts beside it.
        if path.extension().is_some_and(|e| e == "safetensors") {
            let mut files = texts_in(path.parent().unwrap_or(Path::new(".")));
            files.extend(parts);
            return Ok(files);
        }
        return Ok(parts);
    }
    let mut weights: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(path).map_err(|e| failed(path, &e))? {
        let file = entry.map_err(|e| failed(path, &e))?.path();
        if file.extension().is_some_and(|e| e == "safetensors") {
            weights.push(file);
        }
    }
    weights.sort();
    if weights.is_empty() {
        let detail = format!("{}: the folder holds no *.safetensors file", path.display());
        return Err(Error::new(ErrorKind::Source, detail));
    }
    // Some repositories hold the same weights whole and in shards: then the whole file is enough.
    if let Some(whole) = weights.iter().find(|f| f.ends_with("model.safetensors")) {
        weights = vec![whole.clone()];
    }
    let mut files = texts_in(path);
    files.extend(weights);
    Ok(files)
}

fn texts_in(folder: &Path) -> Vec<PathBuf> {
    TEXTS.iter().map(|name| folder.join(name)).filter(|file| file.is_file()).collect()
}

/// All parts of `name-00001-of-000NN.ext`, or the one file.
fn split_parts(path: &Path) -> Vec<PathBuf> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let parts = || {
        let (stem, extension) = name.rsplit_once('.')?;
        let (rest, count) = stem.rsplit_once("-of-")?;
        let (base, number) = rest.rsplit_once('-')?;
        let digits = |text: &str| text.len() == 5 && text.bytes().all(|b| b.is_ascii_digit());
        let count: u32 = count.parse().ok().filter(|_| digits(count) && digits(number))?;
        let part = |i: u32| path.with_file_name(format!("{base}-{i:05}-of-{count:05}.{extension}"));
        Some((1..=count).map(part).collect())
    };
    parts().unwrap_or_else(|| vec![path.to_owned()])
}

fn failed(path: &Path, error: &std::io::Error) -> Error {
    Error::new(ErrorKind::Source, format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_split_files() {
        let parts = split_parts(Path::new("/m/a-b-00002-of-00003.gguf"));
        let names: Vec<_> = parts.iter().map(|p| p.to_string_lossy().into_owned()).collect();
        assert_eq!(names, ["1", "2", "3"].map(|i| format!("/m/a-b-0000{i}-of-00003.gguf")));
        for one in ["/m/a.gguf", "/m/a-1-of-3.gguf", "/m/a-0000x-of-00002.gguf"] {
            assert_eq!(split_parts(Path::new(one)), [PathBuf::from(one)]);
        }
    }
}
