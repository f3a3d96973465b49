//! The state of an unfinished download: `NAME.part` (the bytes) and `NAME.part.json` (what they belong to).
//!
//! Invariant: bytes of two versions of a file never meet in one `.part`: without proof that the server
//! still has the same version, the download starts anew.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    Result,
    console::Console,
    failure::{BUSY, Failure},
    interrupt,
    model_ref::hex,
};

/// Which version of which file the bytes belong to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    pub url: String,
    pub etag: Option<String>,
    pub last_modified: Option<String>,
    pub total: Option<u64>,
}

impl Version {
    /// What `If-Range` may carry: a strong entity tag, else the date.
    pub fn validator(&self) -> Option<&str> {
        let strong = self.etag.as_deref().filter(|tag| tag.starts_with('"'));
        strong.or(self.last_modified.as_deref())
    }
}

/// The `.part` file, locked for this process, with the digest of what it holds.
pub struct Partial {
    pub path: PathBuf,
    pub file: File,
    pub version: Version,
    pub len: u64,
    pub digest: Sha256,
}

/// Appends to the file name, keeping the extension readable.
fn beside(place: &Path, suffix: &str) -> PathBuf {
    let mut name = place.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

impl Partial {
    /// Opens or creates the partial download of `url` for `place`.
    ///
    /// # Errors
    /// `busy` when another process has it, `io`.
    pub fn open(place: &Path, url: &str, console: &Console) -> Result<Self> {
        let path = beside(place, ".part");
        let io = |e| Failure::io(&path, &e);
        let mut file = lock(&path, place)?;
        let version: Version = fs::read(beside(place, ".part.json"))
            .ok()
            .and_then(|json| serde_json::from_slice(&json).ok())
            .filter(|version: &Version| version.url == url)
            .unwrap_or_else(|| Version { url: url.to_owned(), ..Version::default() });
        let known = version.etag.is_some() || version.last_modified.is_some() || version.total.is_some();
        let len = if known { file.metadata().map_err(io)?.len() } else { 0 };
        let mut digest = Sha256::new();
        file.seek(SeekFrom::Start(0)).map_err(io)?;
        if len > 0 {
            hash_into(&mut file, &path, len, &mut digest, console)?;
        }
        Ok(Self { path, file, version, len, digest })
    }

    /// Forgets all bytes; what comes next belongs to `version`.
    pub fn restart(&mut self, version: Version) -> Result<()> {
        let io = |e| Failure::io(&self.path, &e);
        self.file.set_len(0).map_err(io)?;
        self.file.seek(SeekFrom::Start(0)).map_err(io)?;
        self.len = 0;
        self.digest = Sha256::new();
        self.version = version;
        let json = serde_json::to_vec(&self.version).expect("a version is plain data");
        let state = beside(&self.path, ".json");
        write(&state, &json).map_err(|e| Failure::io(&state, &e))
    }

    /// Makes the finished download visible under its name.
    pub fn promote(self, place: &Path, record: bool) -> Result<String> {
        let sha256 = hex(&self.digest.finalize());
        self.file.sync_all().map_err(|e| Failure::io(&self.path, &e))?;
        fs::rename(&self.path, place).map_err(|e| Failure::io(place, &e))?;
        let _ = fs::remove_file(beside(place, ".part.json"));
        if record {
            let json = serde_json::json!({
                "url": self.version.url, "etag": self.version.etag, "bytes": self.len, "sha256": sha256
            });
            let path = record_path(place);
            write(&path, json.to_string().as_bytes()).map_err(|e| Failure::io(&path, &e))?;
        }
        Ok(sha256)
    }

    /// Removes the partial download: its bytes are known to be wrong.
    pub fn discard(self, place: &Path) {
        let _ = fs::remove_file(&self.path);
        let _ = fs::remove_file(beside(place, ".part.json"));
    }
}

/// A file that is ours: what lies there as a link to another file is not.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags(nix::libc::O_NOFOLLOW);
    }
    options
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    options().truncate(true).open(path)?.write_all(bytes)
}

/// Opens the bytes and locks them. Nothing is believed of them before: between the two, the process that had
/// them may have finished, and what was opened is now the file that it made.
fn lock(path: &Path, place: &Path) -> Result<File> {
    for _ in 0..8 {
        let file = options().read(true).truncate(false).open(path).map_err(|e| Failure::io(path, &e))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Failure::new(BUSY, format!("another process is fetching {}", place.display())));
            }
            // Some network file systems have no locks; two fetches at once are then the user's risk.
            Err(TryLockError::Error(_)) => {}
        }
        if is_at(&file, path) {
            return Ok(file);
        }
    }
    Err(Failure::new(BUSY, format!("{} does not stay where it is", path.display())))
}

/// Whether `path` still names `file`.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(open), Ok(named)) => (open.dev(), open.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

/// Elsewhere a file that is open cannot be renamed.
#[cfg(not(unix))]
fn is_at(_: &File, _: &Path) -> bool {
    true
}

fn record_path(place: &Path) -> PathBuf {
    let name = place.file_name().unwrap_or_default().to_string_lossy();
    place.with_file_name(format!(".{name}.fetched"))
}

/// The URL that was noted when `place`, a fetched file or an unfinished `.part`, was fetched.
pub fn recorded_url(place: &Path) -> Option<String> {
    let note = [record_path(place), beside(place, ".json")].iter().find_map(|path| fs::read(path).ok())?;
    let value: serde_json::Value = serde_json::from_slice(&note).ok()?;
    value["url"].as_str().map(str::to_owned)
}

/// The checksum that was noted when `place` was fetched.
pub fn recorded_sha256(place: &Path) -> Option<String> {
    let value: serde_json::Value = serde_json::from_slice(&fs::read(record_path(place)).ok()?).ok()?;
    let same_length = value["bytes"].as_u64() == place.metadata().ok().map(|m| m.len());
    value["sha256"].as_str().filter(|_| same_length).map(str::to_owned)
}

/// The SHA-256 of a file.
pub fn hash_file(path: &Path, console: &Console) -> Result<String> {
    let mut file = File::open(path).map_err(|e| Failure::io(path, &e))?;
    let len = file.metadata().map_err(|e| Failure::io(path, &e))?.len();
    let mut digest = Sha256::new();
    hash_into(&mut file, path, len, &mut digest, console)?;
    Ok(hex(&digest.finalize()))
}

fn hash_into(file: &mut File, path: &Path, len: u64, digest: &mut Sha256, console: &Console) -> Result<()> {
    let bar = console.bytes_bar("checking", Some(len));
    let mut buffer = vec![0; 1 << 20];
    let mut left = len;
    while left > 0 {
        interrupt::check()?;
        let want = buffer.len().min(left.min(usize::MAX as u64) as usize);
        let n = file.read(&mut buffer[..want]).map_err(|e| Failure::io(path, &e))?;
        if n == 0 {
            break;
        }
        digest.update(&buffer[..n]);
        left -= n as u64;
        bar.inc(n as u64);
    }
    bar.finish_and_clear();
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    /// The process that had the bytes finishes between our opening them and our locking them.
    #[test]
    fn a_file_that_was_renamed_is_not_ours() {
        let folder = tempfile::TempDir::new().unwrap();
        let (part, place) = (folder.path().join("m.part"), folder.path().join("m"));
        let opened = lock(&part, &place).unwrap();
        assert!(is_at(&opened, &part));
        fs::rename(&part, &place).unwrap();
        assert!(!is_at(&opened, &part));
        assert_eq!(lock(&part, &place).unwrap().metadata().unwrap().len(), 0, "a new one");
    }

    #[test]
    fn links_are_not_followed() {
        let folder = tempfile::TempDir::new().unwrap();
        let (part, secret) = (folder.path().join("m.part"), folder.path().join("secret"));
        fs::write(&secret, "keep").unwrap();
        std::os::unix::fs::symlink(&secret, &part).unwrap();
        assert!(lock(&part, &folder.path().join("m")).is_err());
        assert!(write(&part, b"x").is_err());
        assert_eq!(fs::read(&secret).unwrap(), b"keep");
    }
}
