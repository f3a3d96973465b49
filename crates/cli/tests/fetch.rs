//! `ternlight fetch` against a server that fails in every way that was seen in the wild.

mod common;

use std::{
    fs,
    path::{Path, PathBuf},
};

use common::{Content, Server, Step, fails, json, noise, ternlight};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

const LEN: usize = 3 << 20;

fn content(seed: u64, etag: &str) -> Content {
    Content { body: noise(LEN, seed), etag: Some(etag.to_owned()) }
}

fn sum(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

fn path(result: &serde_json::Value) -> PathBuf {
    result["path"].as_str().unwrap().into()
}

#[test]
fn fetches_once() {
    let cache = TempDir::new().unwrap();
    let file = content(1, "\"v1\"");
    let server = Server::start(file.clone(), &[]);
    let url = format!("{}/m.gguf", server.url);
    let first = json(ternlight(cache.path()).args(["fetch", &url, "--json"]));
    assert_eq!(fs::read(path(&first)).unwrap(), file.body);
    assert_eq!(first["sha256"], sum(&file.body));
    assert_eq!(first["cached"], false);
    let again = json(ternlight(cache.path()).args(["fetch", &url, "--json"]));
    assert_eq!(again["cached"], true);
    assert_eq!(again["sha256"], first["sha256"]);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn dropped_connections_are_continued() {
    let cache = TempDir::new().unwrap();
    let file = content(2, "\"v1\"");
    let server =
        Server::start(file.clone(), &[Step::DropAfter(1 << 20), Step::Status(503), Step::DropAfter(500_000)]);
    let url = format!("{}/m.gguf", server.url);
    let result = json(ternlight(cache.path()).args(["fetch", &url, "--json"]));
    assert_eq!(fs::read(path(&result)).unwrap(), file.body);
    let requests = server.requests();
    assert_eq!(requests.len(), 4);
    let last = requests[3].to_ascii_lowercase();
    assert!(last.contains("if-range: \"v1\"") && !last.contains("range: bytes=0-"), "{last}");
}

#[test]
fn a_later_run_resumes() {
    let cache = TempDir::new().unwrap();
    let file = content(3, "\"v1\"");
    let server = Server::start(file.clone(), &[Step::DropAfter(1 << 20)]);
    let url = format!("{}/m.gguf", server.url);
    let args = ["fetch", &url, "--json", "--retries", "0"];
    fails(ternlight(cache.path()).args(args), "network", 1);
    let result = json(ternlight(cache.path()).args(args));
    assert_eq!(result["resumed_from"], 1 << 20);
    assert_eq!(fs::read(path(&result)).unwrap(), file.body);
    assert_eq!(result["sha256"], sum(&file.body));
    let leftovers = fs::read_dir(path(&result).parent().unwrap()).unwrap().flatten();
    assert!(leftovers.into_iter().all(|entry| !entry.file_name().to_string_lossy().contains(".part")));
}

#[test]
fn a_changed_file_starts_anew() {
    for careless in [false, true] {
        let cache = TempDir::new().unwrap();
        let server = Server::start(content(4, "\"v1\""), &[Step::DropAfter(1 << 20)]);
        let url = format!("{}/m.gguf", server.url);
        let args = ["fetch", &url, "--json", "--retries"];
        fails(ternlight(cache.path()).args(args).arg("0"), "network", 1);
        let new = content(5, "\"v2\"");
        server.replace(new.clone());
        if careless {
            server.then(Step::IgnoreIfRange);
        }
        let result = json(ternlight(cache.path()).args(args).arg("2"));
        assert_eq!(fs::read(path(&result)).unwrap(), new.body);
        assert_eq!(result["resumed_from"], 0);
    }
}

#[test]
fn without_a_validator_nothing_is_glued() {
    let cache = TempDir::new().unwrap();
    let server = Server::start(Content { etag: None, ..content(6, "") }, &[Step::DropAfter(1 << 20)]);
    let url = format!("{}/m.gguf", server.url);
    fails(ternlight(cache.path()).args(["fetch", &url, "--retries", "0"]), "network", 1);
    let new = Content { etag: None, ..content(7, "") };
    server.replace(new.clone());
    let result = json(ternlight(cache.path()).args(["fetch", &url, "--json"]));
    assert_eq!(fs::read(path(&result)).unwrap(), new.body);
}

#[test]
fn with_a_checksum_a_glued_file_is_caught_and_mended() {
    let cache = TempDir::new().unwrap();
    let server = Server::start(Content { etag: None, ..content(8, "") }, &[Step::DropAfter(1 << 20)]);
    let url = format!("{}/m.gguf", server.url);
    let new = Content { etag: None, ..content(9, "") };
    let digest = sum(&new.body);
    let args = ["fetch", &url, "--json", "--sha256", &digest, "--retries"];
    fails(ternlight(cache.path()).args(args).arg("0"), "network", 1);
    server.replace(new.clone());
    let result = json(ternlight(cache.path()).args(args).arg("3"));
    assert_eq!(fs::read(path(&result)).unwrap(), new.body);
}

#[test]
fn ranges_ignored() {
    let cache = TempDir::new().unwrap();
    let file = content(10, "\"v1\"");
    let server = Server::start(file.clone(), &[Step::DropAfter(1 << 20), Step::IgnoreRange]);
    let url = format!("{}/m.gguf", server.url);
    let result = json(ternlight(cache.path()).args(["fetch", &url, "--json"]));
    assert_eq!(fs::read(path(&result)).unwrap(), file.body);
}

#[test]
fn wrong_checksum() {
    let cache = TempDir::new().unwrap();
    let good = content(11, "\"v1\"");
    let server = Server::start(good.clone(), &[]);
    let url = format!("{}/m.gguf", server.url);
    let wrong = "0".repeat(64);
    fails(ternlight(cache.path()).args(["fetch", &url, "--sha256", &wrong]), "checksum", 1);
    let fetched = json(ternlight(cache.path()).args(["fetch", &url, "--json", "--sha256", &sum(&good.body)]));
    // A damaged server copy does not replace the good one.
    server.replace(content(12, "\"v2\""));
    fails(
        ternlight(cache.path()).args(["fetch", &url, "--force", "--sha256", &sum(&good.body)]),
        "checksum",
        1,
    );
    assert_eq!(fs::read(path(&fetched)).unwrap(), good.body);
}

#[test]
fn a_damaged_cache_entry_is_mended_when_the_checksum_is_known() {
    let cache = TempDir::new().unwrap();
    let file = content(13, "\"v1\"");
    let server = Server::start(file.clone(), &[]);
    let url = format!("{}/m.gguf", server.url);
    let digest = sum(&file.body);
    let args = ["fetch", &url, "--json", "--sha256", &digest];
    let first = json(ternlight(cache.path()).args(args));
    let mut damaged = file.body.clone();
    damaged[LEN / 2] ^= 1;
    fs::write(path(&first), damaged).unwrap();
    let second = json(ternlight(cache.path()).args(args));
    assert_eq!(second["cached"], false);
    assert_eq!(fs::read(path(&second)).unwrap(), file.body);
}

#[test]
fn client_errors_are_final() {
    let cache = TempDir::new().unwrap();
    let server = Server::start(content(14, "\"v1\""), &[Step::Status(404), Step::Status(403)]);
    let url = format!("{}/m.gguf", server.url);
    fails(ternlight(cache.path()).args(["fetch", &url]), "not-found", 1);
    assert!(fails(ternlight(cache.path()).args(["fetch", &url]), "network", 1).contains("403"));
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn nobody_listens() {
    let cache = TempDir::new().unwrap();
    let args = ["fetch", "http://127.0.0.1:1/m.gguf", "--retries", "1"];
    fails(ternlight(cache.path()).args(args), "network", 1);
}

#[test]
fn hugging_face_references_redirect_and_are_verified() {
    let cache = TempDir::new().unwrap();
    let file = content(15, "\"v1\"");
    let store = Server::start(file.clone(), &[]);
    let blob = format!("{}/blob", store.url);
    let steps = [Step::Redirect(blob.clone(), Some(sum(&file.body))), Step::Redirect(blob.clone(), None)];
    let hub = Server::start(content(0, "\"x\""), &steps);
    let args = ["fetch", "hf:owner/repo/sub/m.gguf", "--json", "--hf-endpoint", &hub.url];
    let result = json(ternlight(cache.path()).args(args));
    assert!(path(&result).ends_with("hf/owner/repo/main/sub/m.gguf"));
    assert_eq!(fs::read(path(&result)).unwrap(), file.body);
    assert!(hub.requests()[1].starts_with("GET /owner/repo/resolve/main/sub/m.gguf "));
    // A store that holds something else than the hub promises.
    let steps = [Step::Redirect(blob.clone(), Some(sum(b"other"))), Step::Redirect(blob, None)];
    let hub = Server::start(content(0, "\"x\""), &steps);
    let args = ["fetch", "hf:owner/repo/other.gguf", "--hf-endpoint", &hub.url];
    fails(ternlight(cache.path()).args(args), "checksum", 1);
}

#[test]
fn split_models_and_folders_come_whole() {
    let cache = TempDir::new().unwrap();
    let hub = Server::start(content(17, "\"v1\""), &[]);
    let args = ["fetch", "--json", "--hf-endpoint", &hub.url];
    let split = json(ternlight(cache.path()).args(args).arg("hf:o/r/m-00002-of-00003.gguf"));
    assert_eq!(split["bytes"], 3 * LEN);
    let folder = cache.path().join("hf/o/r/main");
    assert!(folder.join("m-00001-of-00003.gguf").is_file() && folder.join("m-00003-of-00003.gguf").is_file());
    // A folder: four optional texts are missing, so is the index; weights and configuration are there.
    let missing = [(); 5].map(|()| [Step::Status(404), Step::Status(404)]).concat();
    let hub = Server::start(content(18, "\"v1\""), &missing);
    let args = ["fetch", "--json", "--hf-endpoint", &hub.url, "hf:o/whole"];
    let whole = json(ternlight(cache.path()).args(args));
    assert_eq!(whole["bytes"], 2 * LEN);
    let folder = cache.path().join("hf/o/whole/main");
    assert!(folder.join("config.json").is_file() && folder.join("model.safetensors").is_file());
}

#[cfg(target_os = "linux")]
/// What `list` calls a model is what fetched it, complete or not; known models come with --remote.
#[test]
fn fetched_models_are_listed_by_the_names_that_fetched_them() {
    let cache = TempDir::new().unwrap();
    let list = |extra: &[&str]| json(ternlight(cache.path()).args(["list", "--json"]).args(extra));
    assert_eq!(list(&[]), serde_json::json!([]));
    let hub = Server::start(content(31, "\"v1\""), &[]);
    let (hf, whole) = ("hf:o/r@v2/sub/m.gguf", "hf:o/whole");
    let split = "hf:o/r/m-00002-of-00003.gguf";
    for reference in [hf, split] {
        ternlight(cache.path()).args(["fetch", "--hf-endpoint", &hub.url, reference]).success();
    }
    let missing = [(); 5].map(|()| [Step::Status(404), Step::Status(404)]).concat();
    let folder = Server::start(content(32, "\"v1\""), &missing);
    ternlight(cache.path()).args(["fetch", "--hf-endpoint", &folder.url, whole]).success();
    let server = Server::start(content(33, "\"v1\""), &[Step::Serve, Step::DropAfter(1 << 20)]);
    let (url, cut) = (format!("{}/u.gguf", server.url), format!("{}/cut.gguf", server.url));
    ternlight(cache.path()).args(["fetch", &url]).success();
    fails(ternlight(cache.path()).args(["fetch", &cut, "--json", "--retries", "0"]), "network", 1);

    let models = list(&[]);
    let found = |name: &str| {
        let model = models.as_array().unwrap().iter().find(|model| model["model"] == name);
        let model = model.unwrap_or_else(|| panic!("{name} is not in {models}"));
        (model["bytes"].as_u64().unwrap() as usize, model["complete"].as_bool().unwrap())
    };
    assert_eq!(models.as_array().unwrap().len(), 5, "{models}");
    assert_eq!(found(hf), (LEN, true));
    assert_eq!(found("hf:o/r/m-00001-of-00003.gguf"), (3 * LEN, true));
    assert_eq!(found(whole), (2 * LEN, true));
    assert_eq!(found(&url), (LEN, true));
    assert_eq!(found(&cut), (1 << 20, false));
    // A part that is gone makes a split model incomplete.
    fs::remove_file(cache.path().join("hf/o/r/main/m-00003-of-00003.gguf")).unwrap();
    let split = &list(&[])[0];
    assert_eq!(
        (&split["model"], &split["complete"]),
        (&"hf:o/r/m-00001-of-00003.gguf".into(), &false.into())
    );

    let known = list(&["--remote"]);
    assert_eq!(known[0]["id"], "tern");
    assert!(known.as_array().unwrap().iter().all(|model| model["goodAt"].is_string()));
    let text = ternlight(cache.path()).args(["list", "--remote"]).success().stdout;
    assert!(String::from_utf8(text).unwrap().contains("hf:microsoft/bitnet-b1.58-2B-4T-gguf/"));
    // Those in the repository are there, and as large as it says.
    let folders = known.as_array().unwrap().iter().filter(|model| model["folder"].is_string());
    assert_eq!(folders.clone().count(), 3);
    for model in folders {
        let folder =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(model["folder"].as_str().unwrap());
        let files = ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"];
        let bytes = |name: &str| fs::metadata(folder.join(name)).expect(name).len();
        let sum: u64 = files.into_iter().chain(["model.safetensors"]).map(bytes).sum();
        assert_eq!(model["bytes"], sum, "{}", folder.display());
    }
}

#[test]
fn a_full_disk_keeps_what_came_and_says_so() {
    let cache = TempDir::new().unwrap();
    let file = content(16, "\"v1\"");
    let server = Server::start(file.clone(), &[]);
    let url = format!("{}/m.gguf", server.url);
    // A file-size limit of 1 MiB (1024-byte blocks) is met exactly as a full disk is: by a failing write.
    let program = common::PROGRAM;
    let script = format!("trap '' XFSZ; ulimit -f 1024; exec {program} fetch {url} --json");
    let mut limited = common::Run::new("bash");
    limited.args(["-c", &script]).env("TERNLIGHT_CACHE", cache.path());
    fails(&mut limited, "no-space", 1);
    let result = json(ternlight(cache.path()).args(["fetch", &url, "--json"]));
    assert_eq!(fs::read(path(&result)).unwrap(), file.body);
    assert!(result["resumed_from"].as_u64().unwrap() > 0);
}

#[test]
fn usage_errors() {
    let cache = TempDir::new().unwrap();
    for args in [
        vec!["fetch"],
        vec!["fetch", "hf:only-owner"],
        vec!["fetch", "ftp://x/y"],
        vec!["fetch", "local.gguf"],
        vec!["fetch", "http://x/y", "--sha256", "xyz"],
        vec!["no-such-command"],
    ] {
        ternlight(cache.path()).args(&args).code(2);
    }
}
