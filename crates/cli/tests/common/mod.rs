//! A server that can be told to fail, and short-hands to run the program.

#![allow(dead_code, reason = "each test file uses its part")]

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Output, Stdio},
    sync::{Arc, Mutex},
};

/// What the server does with one request.
#[derive(Clone, Debug)]
pub enum Step {
    /// Serves as asked, ranges included.
    Serve,
    /// Announces the whole body, but closes the connection after this many bytes.
    DropAfter(usize),
    /// Answers 200 with everything although a range was asked for.
    IgnoreRange,
    /// Answers 206 although `If-Range` does not match, as careless servers do.
    IgnoreIfRange,
    /// Just this status.
    Status(u16),
    /// Announces this many bytes fewer than it has, then sends that many.
    WrongLength(usize),
    /// Redirects, naming the checksum as Hugging Face does.
    Redirect(String, Option<String>),
}

/// A file on the server.
#[derive(Clone, Debug)]
pub struct Content {
    pub body: Vec<u8>,
    pub etag: Option<String>,
}

/// Listens on a free port of this machine; steps are taken one by one, then `Serve` for ever.
pub struct Server {
    pub url: String,
    state: Arc<Mutex<State>>,
}

struct State {
    content: Content,
    steps: Vec<Step>,
    requests: Vec<String>,
}

impl Server {
    pub fn start(content: Content, steps: &[Step]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let mut steps = steps.to_vec();
        steps.reverse();
        let state = Arc::new(Mutex::new(State { content, steps, requests: Vec::new() }));
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = answer(stream, &shared);
            }
        });
        Self { url, state }
    }

    /// Puts another version of the file there.
    pub fn replace(&self, content: Content) {
        self.state.lock().unwrap().content = content;
    }

    /// Adds a step after those that are left.
    pub fn then(&self, step: Step) {
        self.state.lock().unwrap().steps.insert(0, step);
    }

    /// The heads of all requests so far.
    pub fn requests(&self) -> Vec<String> {
        self.state.lock().unwrap().requests.clone()
    }
}

fn answer(stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut head = String::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
        head.push_str(&line);
    }
    if head.is_empty() {
        return Ok(());
    }
    let (content, step) = {
        let mut state = state.lock().unwrap();
        state.requests.push(head.clone());
        (state.content.clone(), state.steps.pop().unwrap_or(Step::Serve))
    };
    let header = |name: &str| {
        let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}:")))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let total = content.body.len();
    let start: Option<usize> = header("range")
        .and_then(|r| r.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok())
        .filter(|_| {
            let unchanged = header("if-range").is_none_or(|tag| Some(&tag) == content.etag.as_ref());
            !matches!(step, Step::IgnoreRange) && (unchanged || matches!(step, Step::IgnoreIfRange))
        });
    let tag = content.etag.as_ref().map(|tag| format!("ETag: {tag}\r\n")).unwrap_or_default();
    let mut out = stream;
    if let Step::Status(status) = step {
        return write!(out, "HTTP/1.1 {status} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    }
    if let Step::Redirect(to, sum) = step {
        let sum = sum.map(|sum| format!("X-Linked-ETag: \"{sum}\"\r\n")).unwrap_or_default();
        return write!(
            out,
            "HTTP/1.1 302 Found\r\nLocation: {to}\r\n{sum}Content-Length: 0\r\nConnection: close\r\n\r\n"
        );
    }
    if start.is_some_and(|start| start >= total) {
        return write!(
            out,
            "HTTP/1.1 416 No\r\nContent-Range: bytes */{total}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
    }
    let rest = &content.body[start.unwrap_or(0)..];
    let (announced, sent) = match step {
        Step::DropAfter(n) => (rest.len(), n.min(rest.len())),
        Step::WrongLength(n) => (rest.len() - n, rest.len() - n),
        _ => (rest.len(), rest.len()),
    };
    match start {
        Some(start) => {
            write!(out, "HTTP/1.1 206 Partial\r\nContent-Range: bytes {start}-{}/{total}\r\n", total - 1)?
        }
        None => write!(out, "HTTP/1.1 200 OK\r\n")?,
    }
    write!(out, "{tag}Content-Length: {announced}\r\nConnection: close\r\n\r\n")?;
    if !head.starts_with("HEAD") {
        out.write_all(&rest[..sent])?;
    }
    Ok(())
}

/// Bytes that differ everywhere.
pub fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut x = seed | 1;
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        (x >> 32) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_ternlight");

/// A run of a program, to be asserted about.
pub struct Run {
    command: std::process::Command,
    input: Vec<u8>,
}

impl Run {
    pub fn new(program: &str) -> Self {
        Self { command: std::process::Command::new(program), input: Vec::new() }
    }

    pub fn arg(&mut self, arg: impl AsRef<OsStr>) -> &mut Self {
        self.command.arg(arg);
        self
    }

    pub fn args<A: AsRef<OsStr>>(&mut self, args: impl IntoIterator<Item = A>) -> &mut Self {
        self.command.args(args);
        self
    }

    pub fn env(&mut self, name: &str, value: impl AsRef<OsStr>) -> &mut Self {
        self.command.env(name, value);
        self
    }

    pub fn env_remove(&mut self, name: &str) -> &mut Self {
        self.command.env_remove(name);
        self
    }

    pub fn input(&mut self, text: &str) -> &mut Self {
        self.input = text.as_bytes().to_vec();
        self
    }

    /// Runs it to its end.
    pub fn output(&mut self) -> Output {
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.command.spawn().expect("the program starts");
        // A program that ends without reading its input is no failure.
        let _ = child.stdin.take().expect("piped").write_all(&self.input);
        child.wait_with_output().expect("the program ends")
    }

    /// Runs it; it must succeed.
    pub fn success(&mut self) -> Output {
        let output = self.output();
        assert!(output.status.success(), "{:?}: {}", self.command, String::from_utf8_lossy(&output.stderr));
        output
    }

    /// Runs it; it must end with this exit code.
    pub fn code(&mut self, code: i32) -> Output {
        let output = self.output();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{:?}: {text}", self.command);
        output
    }
}

/// The program with its own empty cache.
pub fn ternlight(cache: &Path) -> Run {
    let mut run = Run::new(PROGRAM);
    run.env("TERNLIGHT_CACHE", cache).env_remove("HF_ENDPOINT").env_remove("TERNLIGHT_MODEL");
    run.command.current_dir(cache);
    run
}

/// Runs it with `--json` results in mind.
pub fn json(run: &mut Run) -> serde_json::Value {
    serde_json::from_slice(&run.success().stdout).expect("stdout is one JSON value")
}

/// Runs it; it must fail with this stable code and exit code.
pub fn fails(run: &mut Run, code: &str, exit: i32) -> String {
    let output = run.code(exit);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        text.contains(&format!("error[{code}]")) || text.contains(&format!("\"code\":\"{code}\"")),
        "{text}"
    );
    assert!(!text.contains("panicked"), "{text}");
    text
}
