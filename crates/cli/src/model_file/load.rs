//! Files on this machine → headers, or a loaded model.

use std::{
    fs::{self, File},
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    sync::Arc,
};

use ternlight_core::{
    ErrorKind,
    container::{self, Index, Meta, Probe},
    load::{LoadOptions, Loader},
    model::Model,
    pool::Pool,
};

use crate::{Result, console::Console, failure::Failure, interrupt};

/// The longest header that is read: the loader's own limit.
const MAX_HEADER: u64 = 256 << 20;

/// The weight files of a model, in loading order: a GGUF with its split siblings, or a folder's safetensors.
///
/// # Errors
/// `io`, `source` when a folder holds no weights.
pub fn files(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(parts(path));
    }
    let entries = fs::read_dir(path).map_err(|e| Failure::io(path, &e))?;
    let weights = |file: &PathBuf| file.extension().is_some_and(|e| e == "safetensors");
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(weights).collect();
    files.sort();
    // Some repositories hold the same weights whole and in shards: then the whole file is enough.
    if let Some(whole) = files.iter().find(|file| file.ends_with("model.safetensors")) {
        files = vec![whole.clone()];
    }
    if files.is_empty() {
        return Err(Failure::kind(ErrorKind::Source, format!("{}: no *.safetensors here", path.display())));
    }
    Ok(files)
}

/// The parts of a split GGUF by any one's name (`name-00001-of-00003.gguf` → all three), or just `path`.
pub fn parts(path: &Path) -> Vec<PathBuf> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let split = || {
        let stem = name.strip_suffix(".gguf")?;
        let (rest, count) = stem.rsplit_once("-of-")?;
        let (base, number) = rest.rsplit_once('-')?;
        let parts: usize = count.parse().ok().filter(|parts| (2..=99_999).contains(parts))?;
        (number.len() == 5 && count.len() == 5).then_some(())?;
        Some((1..=parts).map(|i| path.with_file_name(format!("{base}-{i:05}-of-{count}.gguf"))).collect())
    };
    split().unwrap_or_else(|| vec![path.to_owned()])
}

/// A file's checked header, and the file's length.
///
/// # Errors
/// `io`, and those of [`container::probe`]; `truncated` when data that the header promises is missing.
pub fn header(path: &Path) -> Result<(Index, u64)> {
    let io = |e| Failure::io(path, &e);
    let place = |error: ternlight_core::Error| Failure::from(error).within(path.display());
    let mut file = File::open(path).map_err(io)?;
    let len = file.metadata().map_err(io)?.len();
    let mut want = 4096u64;
    loop {
        interrupt::check()?;
        let mut prefix = Vec::new();
        file.seek(SeekFrom::Start(0)).map_err(io)?;
        file.by_ref().take(want).read_to_end(&mut prefix).map_err(io)?;
        let whole = prefix.len() as u64 == len;
        match container::probe(&prefix).map_err(place)? {
            Probe::Ready(index) if index.file_len > len => {
                let text = format!("{}: {len} bytes where {} are promised", path.display(), index.file_len);
                return Err(ternlight_core::Error::new(ErrorKind::Truncated, text).into());
            }
            Probe::Ready(index) => return Ok((index, len)),
            Probe::Need(_) if whole => {
                let text = format!("{}: the file ends within its header", path.display());
                return Err(ternlight_core::Error::new(ErrorKind::Truncated, text).into());
            }
            Probe::Need(n) if n > MAX_HEADER => {
                return Err(Failure::kind(
                    ErrorKind::TooLarge,
                    format!("{}: a header of {n} bytes", path.display()),
                ));
            }
            Probe::Need(n) => want = n,
        }
    }
}

/// The flattened `config.json` of a folder.
///
/// # Errors
/// `io`, `bad-header`.
pub fn config(folder: &Path) -> Result<Meta> {
    Ok(container::config(&config_text(folder)?)?)
}

/// The `config.json` of a folder.
pub(super) fn config_text(folder: &Path) -> Result<String> {
    let path = folder.join("config.json");
    fs::read_to_string(&path).map_err(|e| Failure::io(&path, &e))
}

/// Loads the model at `path` with the threads of `pool`.
///
/// # Errors
/// Anything that can be wrong with a file; `cancelled`.
pub fn load(path: &Path, options: LoadOptions, pool: Arc<dyn Pool>, console: &Console) -> Result<Model> {
    let mut loader = Loader::new(options).with_pool(pool);
    let files = files(path)?;
    if path.is_dir() {
        loader.config(&config_text(path)?)?;
    }
    let size = |file: &PathBuf| file.metadata().map(|m| m.len()).map_err(|e| Failure::io(file, &e));
    let total = files.iter().map(size).sum::<Result<u64>>()?;
    if files.len() > 1 {
        // Parts tell about each other's tensors, so their headers are read first.
        for path in &files {
            loader.announce(header(path)?.0.tensors.into_iter().map(|t| (t.name.clone(), Some(t))));
        }
    }
    let bar = console.bytes_bar("loading", Some(total));
    let mut buffer = vec![0; 4 << 20];
    for path in &files {
        let mut file = File::open(path).map_err(|e| Failure::io(path, &e))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        loader.begin_file(&name, Some(size(path)?))?;
        loop {
            interrupt::check()?;
            let n = file.read(&mut buffer).map_err(|e| Failure::io(path, &e))?;
            if n == 0 {
                break;
            }
            loader.push(&buffer[..n])?;
            bar.inc(n as u64);
        }
        loader.end_file()?;
    }
    bar.finish_and_clear();
    Ok(loader.finish()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn split_names() {
        let parts = files(Path::new("/x/m-00002-of-00003.gguf")).unwrap();
        assert_eq!(parts.len(), 3);
        assert!(parts[0].ends_with("m-00001-of-00003.gguf") && parts[2].ends_with("m-00003-of-00003.gguf"));
        for name in ["m.gguf", "m-1-of-3.gguf", "m-00001-of-00001.gguf", "state-of-the-art.gguf"] {
            assert_eq!(files(Path::new(name)).unwrap(), [Path::new(name)]);
        }
    }
}
