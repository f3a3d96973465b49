//! From a [`ModelRef`] to files in the cache (or where `--out` says).
//!
//! Invariant: what lies under its final name is complete and, where a checksum was known, verified; a good
//! copy is replaced only by another good copy.

mod download;
mod partial;

use std::path::{Path, PathBuf};

use serde::Serialize;
use ternlight_core::ErrorKind;

use crate::{
    Result,
    console::Console,
    failure::{Failure, IO, NOT_FOUND, USAGE},
    model_file,
    model_ref::{Cache, ModelRef},
};
use download::Download;
pub use partial::recorded_url;

/// How to fetch.
#[derive(Clone, Debug)]
pub struct Request {
    /// Expected SHA-256, lower-case hexadecimal.
    pub sha256: Option<String>,
    /// Target instead of the cache.
    pub out: Option<PathBuf>,
    /// Fetch again even if it is there.
    pub force: bool,
    /// Attempts in a row that may bring nothing new.
    pub retries: u32,
    /// Seconds without a byte after which an attempt is given up.
    pub timeout: u64,
    /// Server of `hf:` references.
    pub hf_endpoint: String,
}

impl Request {
    /// Into the cache, with the usual patience.
    pub fn new(hf_endpoint: &str) -> Self {
        let hf_endpoint = hf_endpoint.trim_end_matches('/').to_owned();
        Self { sha256: None, out: None, force: false, retries: 5, timeout: 60, hf_endpoint }
    }
}

/// What was fetched.
#[derive(Clone, Debug, Serialize)]
pub struct Fetched {
    /// The file or folder.
    pub path: PathBuf,
    /// Its length (of a folder, all files of the model).
    pub bytes: u64,
    /// Of a single file.
    pub sha256: Option<String>,
    /// Nothing had to be fetched.
    pub cached: bool,
    /// Bytes that an earlier, interrupted fetch had left and that were kept.
    pub resumed_from: u64,
}

impl Fetched {
    /// Counts another file of the same model.
    fn add(&mut self, one: &Self) {
        self.bytes += one.bytes;
        self.cached &= one.cached;
        self.resumed_from += one.resumed_from;
    }
}

/// Fetches what `reference` names, unless it is there already.
///
/// # Errors
/// `network`, `no-space`, `io`, `busy`, `checksum`, `cancelled`.
pub fn get(reference: &ModelRef, cache: &Cache, request: &Request, console: &Console) -> Result<Fetched> {
    let place = request.out.clone().unwrap_or_else(|| cache.place(reference));
    match reference {
        ModelRef::Path(path) => {
            Err(Failure::new(USAGE, format!("{} is a path: nothing to fetch", path.display()))
                .hint("for Hugging Face say hf:owner/repo/file."))
        }
        ModelRef::Url(url) => file(url, &place, request, console),
        ModelRef::Hf { repo, revision, file: name } if !name.is_empty() => {
            let url = |name: &str| hf_url(&request.hf_endpoint, repo, revision, name);
            let parts = model_file::parts(Path::new(name));
            if parts.len() == 1 || request.sha256.is_some() || request.out.is_some() {
                return hf_file(&url(name), &place, request, console);
            }
            // A split model is of no use in part.
            let mut all = Fetched { path: place, bytes: 0, sha256: None, cached: true, resumed_from: 0 };
            for part in parts {
                let file = part.to_string_lossy().into_owned();
                let url = url(&file);
                let part = ModelRef::Hf { repo: repo.clone(), revision: revision.clone(), file };
                all.add(&hf_file(&url, &cache.place(&part), request, console)?);
            }
            Ok(all)
        }
        ModelRef::Hf { repo, revision, .. } => {
            if request.sha256.is_some() {
                return Err(Failure::new(
                    USAGE,
                    "--sha256 needs a single file, this reference is a whole model",
                ));
            }
            let url = |name: &str| hf_url(&request.hf_endpoint, repo, revision, name);
            folder(&url, &place, request, console)
        }
    }
}

fn hf_url(endpoint: &str, repo: &str, revision: &str, file: &str) -> String {
    let file: String = file.chars().map(escaped).collect();
    format!("{endpoint}/{repo}/resolve/{revision}/{file}")
}

/// A character of a path in a URL. Names of shards come from a file, and may hold any: `?` would begin a query.
fn escaped(c: char) -> String {
    if c.is_ascii_alphanumeric() || "-_.~/".contains(c) {
        return c.into();
    }
    c.encode_utf8(&mut [0; 4]).bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// One file with its checksum, if the server tells it.
fn hf_file(url: &str, place: &Path, request: &Request, console: &Console) -> Result<Fetched> {
    let mut request = request.clone();
    if request.sha256.is_none() && (request.force || !place.exists()) {
        request.sha256 = download::linked_sha256(url, request.timeout);
    }
    file(url, place, &request, console)
}

fn file(url: &str, place: &Path, request: &Request, console: &Console) -> Result<Fetched> {
    if !request.force && place.is_file() {
        let bytes = place.metadata().map_err(|e| Failure::io(place, &e))?.len();
        let Some(expected) = &request.sha256 else {
            let sha256 = partial::recorded_sha256(place);
            return Ok(Fetched { path: place.to_owned(), bytes, sha256, cached: true, resumed_from: 0 });
        };
        // The file is hashed rather than its record believed: it may have been damaged since.
        let sha256 = partial::hash_file(place, console)?;
        if sha256 == *expected {
            return Ok(Fetched {
                path: place.to_owned(),
                bytes,
                sha256: Some(sha256),
                cached: true,
                resumed_from: 0,
            });
        }
        console.remark(format_args!("{} has another checksum: fetching it again", place.display()));
    }
    if let Some(folder) = place.parent().filter(|p| !p.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(|e| Failure::io(folder, &e))?;
    }
    let record = request.out.is_none();
    Download { url, place, request, console, record }.run()
}

/// A model as a folder: the configuration files that exist, and all shards of the weights.
fn folder(
    url: &dyn Fn(&str) -> String,
    place: &Path,
    request: &Request,
    console: &Console,
) -> Result<Fetched> {
    let request = Request { out: None, ..request.clone() };
    let mut all = Fetched { path: place.to_owned(), bytes: 0, sha256: None, cached: true, resumed_from: 0 };
    let mut add = |name: &str| -> Result<()> {
        all.add(&hf_file(&url(name), &place.join(name), &request, console)?);
        Ok(())
    };
    let optional = |result: Result<()>| match result {
        Err(failure) if failure.code() == NOT_FOUND => Ok(false),
        Err(failure) => Err(failure),
        Ok(()) => Ok(true),
    };
    const INDEX: &str = "model.safetensors.index.json";
    for name in ["generation_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"] {
        optional(add(name))?;
    }
    if optional(add(INDEX))? {
        for shard in shards(&place.join(INDEX))? {
            add(&shard)?;
        }
    } else {
        add("model.safetensors")?;
    }
    // Last, because its presence marks a folder as a complete model.
    add("config.json")?;
    Ok(all)
}

/// The files that an HF shard index names.
fn shards(index: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(index).map_err(|e| Failure::io(index, &e))?;
    let bad = |what: &str| Failure::kind(ErrorKind::BadHeader, format!("{}: {what}", index.display()));
    let value: serde_json::Value = serde_json::from_str(&text).map_err(|e| bad(&e.to_string()))?;
    let map =
        value.get("weight_map").and_then(|map| map.as_object()).ok_or_else(|| bad("it has no weight_map"))?;
    let mut names = Vec::new();
    for name in map.values() {
        let name = name.as_str().ok_or_else(|| bad("a file name is not a text"))?;
        // A hostile index must not name files outside of the folder.
        let plain = Path::new(name).components().all(|c| matches!(c, std::path::Component::Normal(_)));
        if !plain || name.is_empty() || name.contains(['\\', ':']) {
            return Err(bad(&format!("{name:?} is not a file name")));
        }
        if !names.iter().any(|n| n == name) {
            names.push(name.to_owned());
        }
    }
    if names.is_empty() {
        Err(Failure::new(IO, "the index names no files").within(index.display()))
    } else {
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use super::hf_url;

    #[test]
    fn names_are_escaped_in_urls() {
        let url = hf_url("https://h", "a/b", "main", "sub/mödel 1?x=%41#2.gguf");
        assert_eq!(url, "https://h/a/b/resolve/main/sub/m%C3%B6del%201%3Fx%3D%2541%232.gguf");
    }
}
