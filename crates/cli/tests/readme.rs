//! Every command in the documentation is run as it stands there, or its named equivalent is.
//!
//! The TypeScript snippets are run by `web/test/readme.test.ts`. A command that this file does not know how to
//! run or replace fails the test, so no line of a README is only looked at.
#![cfg(unix)]
#![allow(clippy::disallowed_macros, reason = "what a test prints is its own text")]

mod common;

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use common::{Run, ternlight};
use tempfile::TempDir;

const DOCUMENTS: [&str; 3] = ["README.md", "web/README.md", "CONTRIBUTING.md"];

/// What takes minutes or gigabytes, and what is run instead.
const SMALLER: [(&str, &str); 1] = [("bitnet-2b4t", "bitnet-tiny")];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The lines of the shell blocks of a document, without comments.
fn commands(document: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let mut language = None;
    for line in document.lines() {
        match (line.strip_prefix("```"), language) {
            (Some(name), None) => language = Some(name),
            (Some(_), Some(_)) => language = None,
            (None, Some("sh" | "")) => {
                let command = line.split(" #").next().unwrap_or(line).trim();
                if !command.is_empty() && !command.starts_with('#') {
                    commands.push(command.to_owned());
                }
            }
            _ => {}
        }
    }
    assert_eq!(language, None, "a block is not closed");
    commands
}

/// A folder with the files that the documents name: Tern stands for every model.
struct Desk {
    folder: TempDir,
}

impl Desk {
    fn new() -> Self {
        let desk = Self { folder: TempDir::new().unwrap() };
        let args = ["convert", "--format", "i2_s", "--out", "model.gguf"];
        ternlight(desk.folder.path()).args(args).success();
        fs::copy(desk.path("model.gguf"), desk.path("SmolLM2-135M-Instruct.Q4_1.gguf")).unwrap();
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// As a shell runs it, with `ternlight` on the path; a chat is told good-bye.
    fn shell(&self, command: &str) {
        let bin = Path::new(common::PROGRAM).parent().expect("a folder");
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
        let mut run = Run::new("sh");
        run.args(["-euc", &format!("cd '{}'; {command}", self.folder.path().display())]);
        run.env("PATH", path).env("TERNLIGHT_CACHE", self.folder.path()).env("HOME", self.folder.path());
        run.env_remove("TERNLIGHT_MODEL").env_remove("XDG_STATE_HOME");
        let output = run.input("Hello!\n/quit\n").success();
        let silent = ["export ", "ternlight completions"].iter().any(|start| command.starts_with(start));
        assert!(silent || !output.stdout.is_empty(), "{command} says nothing");
    }
}

/// `./build.sh WORD …`: long, so what it comes down to is checked instead.
fn build(desk: &Desk, words: &[&str]) {
    let script = root().join("build.sh");
    let script = script.to_str().expect("UTF-8");
    let help = String::from_utf8(Run::new(script).arg("help").success().stdout).unwrap();
    let word = *words.first().expect("a command of build.sh");
    assert!(word == "help" || help.contains(&format!("./build.sh {word} ")), "help does not list {word}");
    match word {
        // The pages and the program are built by the tests' own stages; this is what `demo` ends with.
        "demo" => serves(desk),
        // Without being run inside itself: it knows its stages, and they are those that help lists.
        "test" => {
            let output = Run::new(script).args(["test", "no-such-stage"]).code(1);
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            let stages =
                text.split("there are: ").nth(1).expect("a list").split(')').next().expect("its end");
            assert!(help.contains(stages), "help does not list: {stages}");
            assert!(
                words[1..].iter().all(|stage| stages.split(' ').any(|known| known == *stage)),
                "{words:?}"
            );
        }
        // The programs are named by what builds them.
        "native" => assert!(Path::new(common::PROGRAM).is_file()),
        _ => {
            let paths = fs::read_dir(root().join("build")).unwrap().map(|entry| entry.unwrap().path());
            let scripts = paths.filter(|path| path.is_file());
            let text: String = scripts.map(|path| fs::read_to_string(path).unwrap()).collect();
            assert!(word == "help" || text.contains(&format!("\ncmd_{word}() {{")), "{word} does nothing");
        }
    }
}

/// The demo's server starts with a page and a model, and says where.
fn serves(desk: &Desk) {
    let script = read("build/native.sh");
    assert!(script.contains("serve-demo --dir www/dist \"${models[@]}\" --port \"$port\""), "another server");
    fs::create_dir_all(desk.path("page")).unwrap();
    fs::write(desk.path("page/index.html"), "<!doctype html>").unwrap();
    let mut command = Command::new(common::PROGRAM);
    command.args(["serve-demo", "--dir", "page", "--model", "model.gguf", "--port", "0"]);
    let mut child = command.current_dir(desk.folder.path()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let read = BufReader::new(child.stdout.take().unwrap()).read_line(&mut line);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(read.is_ok() && line.starts_with("http://") && line.contains("?model="), "{line}");
}

/// `npm …` in `web/`: the script exists, and the web stage of `./build.sh test` runs it.
fn npm(words: &[&str]) {
    let package: serde_json::Value = serde_json::from_str(&read("web/package.json")).unwrap();
    let scripts = ["build/setup.sh", "build/web.sh", "build/test.sh", "build/bench.sh"].map(read).concat();
    let (script, run) = match words {
        ["ci"] => return assert!(scripts.contains("npm ci ")),
        ["test"] => ("test", "npm test".to_owned()),
        ["run", script, ..] => (*script, format!("npm run --silent {script}")),
        _ => panic!("npm {words:?} is not known"),
    };
    assert!(package["scripts"][script].is_string(), "web/package.json has no script {script}");
    assert!(scripts.contains(&run), "no stage runs: {run}");
}

/// `cargo …`: the packages, tests and examples that it names exist.
fn cargo(words: &[&str]) {
    let crates = fs::read_dir(root().join("crates")).unwrap().map(|entry| entry.unwrap().path());
    let folders: Vec<PathBuf> = crates.chain([root().join("tests"), root().join("examples")]).collect();
    let manifest = |folder: &PathBuf| fs::read_to_string(folder.join("Cargo.toml")).unwrap_or_default();
    let named = |option: &str| -> Vec<&str> {
        words.windows(2).filter(|pair| pair[0] == option).map(|pair| pair[1]).collect()
    };
    let has = |name: &str| folders.iter().any(|f| manifest(f).contains(&format!("name = \"{name}\"")));
    for package in named("-p") {
        assert!(has(package), "no package {package}");
    }
    for (option, folder) in [("--test", "tests"), ("--example", "examples"), ("--bin", "rust")] {
        for name in named(option) {
            let file = format!("{folder}/{name}.rs");
            assert!(has(name) || folders.iter().any(|f| f.join(&file).is_file()), "no {option} {name}");
        }
    }
    assert!(["test", "run", "bench", "doc", "clippy", "fmt"].contains(&words[0]), "cargo {words:?}");
}

#[test]
fn every_command_in_the_documentation_works() {
    let desk = Desk::new();
    let mut ran = 0;
    for document in DOCUMENTS {
        for command in commands(&read(document)) {
            eprintln!("{document}: {command}");
            let words: Vec<&str> = command.split_whitespace().collect();
            match words[0] {
                "ternlight" | "export" => {
                    let smaller =
                        SMALLER.iter().fold(command.clone(), |c, (big, small)| c.replace(big, small));
                    desk.shell(&smaller);
                }
                "./build.sh" | "../build.sh" => build(&desk, &words[1..]),
                "npm" => npm(&words[1..]),
                "cargo" => cargo(&words[1..]),
                _ => panic!("{document}: no one knows how to run: {command}"),
            }
            ran += 1;
        }
    }
    assert!(ran >= 15, "only {ran} commands were found");
}
