//! `ternlight serve-demo`: headers, ranges, validators, and who may ask.

mod common;

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;
use ureq::{Agent, Body, http::Response};

struct Running(Child, String);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(folder: &Path) -> Running {
    fs::write(folder.join("index.html"), "<!doctype html>").unwrap();
    fs::write(folder.join("app.wasm"), b"\0asm").unwrap();
    fs::write(folder.join("app.js"), "1").unwrap();
    fs::write(folder.join("tiny.gguf"), common::noise(1000, 1)).unwrap();
    let mut child = Command::new(common::PROGRAM)
        .args(["serve-demo", "--port", "0", "--dir"])
        .arg(folder)
        .arg("--model")
        .arg(folder.join("tiny.gguf"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let url = line.split("/?").next().unwrap().to_owned();
    assert!(line.contains("?model=/model/tiny.gguf"), "{line}");
    Running(child, url)
}

fn get(url: &str, headers: &[(&str, &str)]) -> Response<Body> {
    let agent: Agent = Agent::config_builder().http_status_as_error(false).build().into();
    let mut call = agent.get(url);
    for (name, value) in headers {
        call = call.header(*name, *value);
    }
    call.call().unwrap()
}

fn header<'a>(response: &'a Response<Body>, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |v| v.to_str().unwrap())
}

#[test]
fn serves_a_page_that_can_use_threads() {
    let folder = TempDir::new().unwrap();
    let server = start(folder.path());
    let page = get(&format!("{}/", server.1), &[]);
    assert_eq!(page.status(), 200);
    assert!(header(&page, "content-type").starts_with("text/html"));
    assert_eq!(header(&page, "cross-origin-opener-policy"), "same-origin");
    assert_eq!(header(&page, "cross-origin-embedder-policy"), "require-corp");
    assert_eq!(header(&get(&format!("{}/app.wasm", server.1), &[]), "content-type"), "application/wasm");
    assert!(header(&get(&format!("{}/app.js", server.1), &[]), "content-type").contains("javascript"));
    assert_eq!(get(&format!("{}/none", server.1), &[]).status(), 404);
    assert_eq!(get(&format!("{}/%2e%2e/Cargo.toml", server.1), &[]).status(), 404);
}

#[test]
fn ranges_hold_only_for_the_same_version() {
    let folder = TempDir::new().unwrap();
    let server = start(folder.path());
    let url = format!("{}/model/tiny.gguf", server.1);
    let whole = common::noise(1000, 1);
    let mut first = get(&url, &[]);
    let tag = header(&first, "etag").to_owned();
    assert!(tag.starts_with('"'), "a strong entity tag: {tag}");
    assert_eq!(first.body_mut().read_to_vec().unwrap(), whole);
    let mut part = get(&url, &[("Range", "bytes=900-"), ("If-Range", &tag)]);
    assert_eq!(part.status(), 206);
    assert_eq!(header(&part, "content-range"), "bytes 900-999/1000");
    assert_eq!(part.body_mut().read_to_vec().unwrap(), whole[900..]);
    let mut other = get(&url, &[("Range", "bytes=900-"), ("If-Range", "\"another\"")]);
    assert_eq!(other.status(), 200);
    assert_eq!(other.body_mut().read_to_vec().unwrap(), whole);
    assert_eq!(get(&url, &[("If-None-Match", &tag)]).status(), 304);
}

#[test]
fn what_was_compressed_before_is_served_so() {
    let folder = TempDir::new().unwrap();
    let server = start(folder.path());
    fs::write(folder.path().join("app.js.br"), "brotli").unwrap();
    fs::write(folder.path().join("app.js.gz"), "gzip").unwrap();
    let url = format!("{}/app.js", server.1);
    for (accepted, encoding, body) in
        [("gzip, deflate, br", "br", "brotli"), ("gzip", "gzip", "gzip"), ("identity", "", "1")]
    {
        let agent: Agent = Agent::config_builder().accept_encoding("").build().into();
        let mut answer = agent.get(&url).header("Accept-Encoding", accepted).call().unwrap();
        assert_eq!(header(&answer, "content-encoding"), encoding);
        assert!(header(&answer, "content-type").contains("javascript"));
        assert_eq!(header(&answer, "vary"), "accept-encoding");
        if encoding != "gzip" {
            assert_eq!(answer.body_mut().read_to_string().unwrap(), body);
        }
    }
}

#[test]
fn what_is_named_by_its_content_is_kept_by_the_browser() {
    let folder = TempDir::new().unwrap();
    let server = start(folder.path());
    fs::create_dir_all(folder.path().join("assets")).unwrap();
    fs::create_dir_all(folder.path().join("engine/64d6b96d/dist")).unwrap();
    for name in ["assets/index-BHu5VNiB.js", "assets/index-D5_c-S1w.css", "engine/64d6b96d/dist/index.js"] {
        fs::write(folder.path().join(name), "1").unwrap();
        let answer = get(&format!("{}/{name}", server.1), &[]);
        assert!(header(&answer, "cache-control").contains("immutable"), "{name}");
    }
    for name in ["", "app.js", "assets/none-BHu5VNiB.js", "model/tiny.gguf"] {
        assert_eq!(header(&get(&format!("{}/{name}", server.1), &[]), "cache-control"), "no-cache", "{name}");
    }
}

#[test]
fn foreign_host_names_are_refused() {
    let folder = TempDir::new().unwrap();
    let server = start(folder.path());
    assert_eq!(get(&server.1, &[("Host", "evil.example")]).status(), 403);
    assert_eq!(get(&server.1, &[("Host", "localhost:8080")]).status(), 200);
}
