//! References to models (`path`, `https://…`, `hf:owner/repo/file`) and where the cache stores them.
//!
//! Invariant: a reference always maps to the same path in the cache, and no two references share one.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use crate::{
    Result,
    failure::{Failure, USAGE},
};
use sha2::{Digest, Sha256};

/// Names a model or a file of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelRef {
    /// A GGUF file or an HF folder on this machine.
    Path(PathBuf),
    /// A file on the web.
    Url(String),
    /// A file of a Hugging Face repository, or the whole model (`file` empty).
    Hf {
        /// `owner/repo`.
        repo: String,
        /// Branch, tag or commit; `main` unless given as `owner/repo@revision`.
        revision: String,
        /// Path in the repository.
        file: String,
    },
}

impl FromStr for ModelRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(rest) = text.strip_prefix("hf:") {
            return hf(rest).ok_or_else(|| format!("'{text}' is not hf:owner/repo[@revision][/file]"));
        }
        match text.split_once("://") {
            Some(("http" | "https", rest)) if !rest.is_empty() => Ok(Self::Url(text.to_owned())),
            Some((scheme, _)) => Err(format!("scheme '{scheme}' is not supported, only http and https")),
            None if text.is_empty() => Err("the reference is empty".to_owned()),
            None => Ok(Self::Path(PathBuf::from(text))),
        }
    }
}

fn hf(text: &str) -> Option<ModelRef> {
    let mut parts = text.splitn(3, '/');
    let (owner, repo, file) = (parts.next()?, parts.next()?, parts.next().unwrap_or(""));
    let (repo, revision) = repo.split_once('@').unwrap_or((repo, "main"));
    let plain = |s: &str| {
        let known = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        !s.is_empty() && s != "." && s != ".." && s.chars().all(known)
    };
    let good = plain(owner) && plain(repo) && plain(revision);
    let good = good && (file.is_empty() || file.split('/').all(plain));
    good.then(|| ModelRef::Hf {
        repo: format!("{owner}/{repo}"),
        revision: revision.to_owned(),
        file: file.to_owned(),
    })
}

impl fmt::Display for ModelRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Url(url) => url.fmt(f),
            Self::Hf { repo, revision, file } => {
                write!(f, "hf:{repo}")?;
                if revision != "main" {
                    write!(f, "@{revision}")?;
                }
                if file.is_empty() { Ok(()) } else { write!(f, "/{file}") }
            }
        }
    }
}

/// The folder that holds fetched models.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// At `root`, or in the user's cache folder.
    ///
    /// # Errors
    /// `usage` where the system names no such folder.
    pub fn new(root: Option<PathBuf>) -> Result<Self> {
        let user = || {
            directories::ProjectDirs::from("", "", "ternlight").map(|dirs| dirs.cache_dir().join("models"))
        };
        match root.or_else(user) {
            Some(root) => Ok(Self { root }),
            None => Err(Failure::new(USAGE, "this system has no cache folder").hint("give --cache-dir.")),
        }
    }

    /// The folder itself; it may not exist yet.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The path of `reference` in the cache, whether or not it was fetched. Paths map to themselves.
    pub fn place(&self, reference: &ModelRef) -> PathBuf {
        match reference {
            ModelRef::Path(path) => path.clone(),
            ModelRef::Url(url) => {
                // The digest separates URLs with the same file name; the name keeps the file recognisable.
                let digest = hex(&Sha256::digest(url.as_bytes()));
                self.root.join("url").join(&digest[..16]).join(file_name(url))
            }
            ModelRef::Hf { repo, revision, file } => {
                let folder = self.root.join("hf").join(repo).join(revision);
                if file.is_empty() { folder } else { folder.join(file) }
            }
        }
    }
}

/// The last path segment of a URL, made safe as a file name.
fn file_name(url: &str) -> String {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    let name = path.rsplit('/').next().unwrap_or("");
    let safe = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    let name: String = name.chars().take(120).map(safe).collect();
    if name.chars().all(|c| c == '.') { "model".to_owned() } else { name }
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The model that commands use when none is named: `TERNLIGHT_MODEL`, else the embedded one, which is
/// unpacked into the cache so that every command can treat it as any other.
///
/// # Errors
/// `usage` for a `TERNLIGHT_MODEL` that is no reference, `io` when the cache cannot be written.
pub fn default_model(cache: &Cache) -> Result<ModelRef> {
    if let Some(text) = std::env::var_os("TERNLIGHT_MODEL").filter(|text| !text.is_empty()) {
        let parsed = text.to_string_lossy().parse();
        return parsed.map_err(|error: String| Failure::new(USAGE, error).within("TERNLIGHT_MODEL"));
    }
    let folder = cache.root.join("embedded").join(ternlight_tern::NAME);
    let io = |path: &Path| {
        let path = path.to_owned();
        move |e| Failure::io(&path, &e).hint("give --cache-dir, or --model.")
    };
    std::fs::create_dir_all(&folder).map_err(io(&folder))?;
    for (name, bytes) in ternlight_tern::FILES {
        let path = folder.join(name);
        // Compared byte by byte: the copy of an older version may have the same length.
        if std::fs::read(&path).is_ok_and(|there| there == bytes) {
            continue;
        }
        // Another process may do the same at once: each writes a file of its own, and the last rename wins.
        let part = folder.join(format!("{name}.{}", std::process::id()));
        std::fs::write(&part, bytes).map_err(io(&part))?;
        std::fs::rename(&part, &path).map_err(io(&path))?;
    }
    Ok(ModelRef::Path(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> ModelRef {
        text.parse().unwrap()
    }

    #[test]
    fn references_parse_and_print() {
        for text in
            ["hf:a/b/c.gguf", "hf:a/b", "hf:a/b@v1/sub/c.gguf", "https://x.y/z.gguf?d=1", "some/path.gguf"]
        {
            assert_eq!(parse(text).to_string(), text);
        }
        assert!(matches!(parse("hf:a/b/c"), ModelRef::Hf { revision, .. } if revision == "main"));
    }

    #[test]
    fn escapes_are_refused() {
        for text in
            ["hf:a", "hf:../b/c", "hf:a/b/../../c", "hf:a/b/", "hf:a/b@../c", "ftp://x/y", "", "hf:a/b//c"]
        {
            if text == "hf:a/b/" {
                assert!(matches!(parse(text), ModelRef::Hf { file, .. } if file.is_empty()));
            } else {
                assert!(text.parse::<ModelRef>().is_err(), "{text}");
            }
        }
    }

    #[test]
    fn places_differ_and_stay_inside() {
        let cache = Cache::new(Some("/c".into())).unwrap();
        let a = cache.place(&parse("https://x/m.gguf?v=1"));
        let b = cache.place(&parse("https://x/m.gguf?v=2"));
        assert_ne!(a, b);
        assert!(a.ends_with("m.gguf") && a.starts_with("/c/url"));
        assert!(cache.place(&parse("https://x/..")).ends_with("model"));
    }
}
