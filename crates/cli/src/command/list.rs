//! `ternlight list`: the models on this machine, or those that are known.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use crate::{
    Result,
    catalogue::{self, Entry},
    console::{self, Console, DIM, STRONG},
    fetch, model_file,
    model_ref::{Cache, ModelRef},
    options::CacheOptions,
};

/// List the models that were fetched, or with --remote those that are known.
#[derive(Args)]
#[command(after_help = "What is printed first on a line is what other commands take as MODEL.")]
pub struct List {
    /// List known models and where they are, instead of those on this machine
    #[arg(long)]
    remote: bool,

    #[command(flatten)]
    cache: CacheOptions,

    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// A model in the cache.
#[derive(Serialize)]
struct Fetched {
    /// What other commands take as MODEL.
    model: String,
    path: PathBuf,
    bytes: u64,
    /// False for an interrupted download, which `fetch` takes up again.
    complete: bool,
}

impl List {
    pub fn execute(self, console: &Console) -> Result<()> {
        if self.remote {
            remote(console);
            return Ok(());
        }
        let cache = Cache::new(self.cache.cache_dir)?;
        let models = fetched(&cache);
        console.result(&models, || {
            for Fetched { model, bytes, complete, .. } in &models {
                let note = if *complete { "" } else { ", incomplete: fetch it again to go on" };
                crate::say!("{STRONG}{model}{STRONG:#}  {DIM}{}{note}{DIM:#}", console::bytes(*bytes));
            }
            if models.is_empty() {
                crate::say!("No models were fetched yet. Tern, a tiny one, is part of the program.");
            }
            console.remark(format_args!(
                "in {}; `ternlight list --remote` lists known models",
                cache.root().display()
            ));
        });
        Ok(())
    }
}

fn remote(console: &Console) {
    let entries = catalogue::entries();
    console.result(&entries, || {
        for entry in &entries {
            let place = entry.source.as_deref().or(entry.folder.as_deref());
            let model = place.unwrap_or("(embedded: the default model)");
            let here = if entry.folder.is_some() { "  (in ternlight's repository)" } else { "" };
            crate::say!("{STRONG}{model}{STRONG:#}{DIM}{here}{DIM:#}");
            let Entry { name, by, weights, good_at, .. } = entry;
            let licence = entry.licence.as_deref().unwrap_or("licence: see its page");
            let bytes = entry.bytes.map(console::bytes).unwrap_or_else(|| "size: see its page".to_owned());
            crate::say!("    {name} by {by}: {good_at}");
            let cannot = if entry.runs() { "" } else { ", not supported by this version" };
            crate::say!("    {DIM}{weights}, {bytes}, {licence}{cannot}{DIM:#}");
        }
    });
}

/// Every model in the cache, by name.
fn fetched(cache: &Cache) -> Vec<Fetched> {
    let mut models = Vec::new();
    let hf = cache.root().join("hf");
    for owner in entries(&hf) {
        for repo in entries(&owner) {
            for revision in entries(&repo) {
                hf_models(&[&owner, &repo, &revision].map(|path| name(path)), &revision, &mut models);
            }
        }
    }
    for digest in entries(&cache.root().join("url")) {
        for path in entries(&digest) {
            let model = fetch::recorded_url(&path).unwrap_or_else(|| path.display().to_string());
            add_file(model, &path, &mut models);
        }
    }
    models.sort_by(|a, b| a.model.cmp(&b.model));
    models
}

/// The models in the folder of one revision: the folder itself, and every GGUF file in it.
fn hf_models([owner, repo, revision]: &[String; 3], folder: &Path, models: &mut Vec<Fetched>) {
    let reference = |file: String| {
        let (repo, revision) = (format!("{owner}/{repo}"), revision.clone());
        ModelRef::Hf { repo, revision, file }.to_string()
    };
    if folder.join("config.json").is_file() {
        let weights = entries(folder).into_iter().filter(|path| path.extension().is_some());
        let bytes = weights.filter_map(|path| path.metadata().ok()).map(|meta| meta.len()).sum();
        models.push(Fetched {
            model: reference(String::new()),
            path: folder.to_owned(),
            bytes,
            complete: true,
        });
    }
    let mut folders = vec![folder.to_owned()];
    while let Some(at) = folders.pop() {
        for path in entries(&at) {
            if path.is_dir() {
                folders.push(path);
            } else if name(&path).contains(".gguf") {
                let file = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().replace('\\', "/");
                let file = file.strip_suffix(".part").unwrap_or(&file).to_owned();
                add_file(reference(file), &path, models);
            }
        }
    }
}

/// A file that was fetched or is being fetched; of a split model the first part stands for all.
fn add_file(model: String, path: &Path, models: &mut Vec<Fetched>) {
    let complete = match path.extension().and_then(|extension| extension.to_str()) {
        Some("json") => return, // What is noted about a file.
        Some("part") => false,
        _ => true,
    };
    let parts = model_file::parts(path);
    if complete && parts[0] != path {
        return;
    }
    let sizes = parts.iter().map(|part| part.metadata().map(|meta| meta.len()).ok());
    let (bytes, missing) =
        sizes.fold((0, false), |(sum, missing), size| (sum + size.unwrap_or(0), missing | size.is_none()));
    models.push(Fetched { model, path: path.to_owned(), bytes, complete: complete && !missing });
}

/// What a folder holds, but for hidden files; nothing where there is no such folder.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let read = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = read.map(|entry| entry.path());
    // Names with a dot are what `fetch` notes about a file.
    let mut paths: Vec<PathBuf> = paths.filter(|path| !name(path).starts_with('.')).collect();
    paths.sort();
    paths
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
