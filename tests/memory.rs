//! Bombs: small files that would take much memory. Rule: before weights arrive, the peak is at most four bytes
//! for each that was received, and 64 MB.

use std::{
    cell::RefCell,
    fmt::Write,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use ternlight_core::{
    container::{self, Meta, Probe, Value, write},
    format::Encoding,
    load::{LoadOptions, Loader},
};
use ternlight_engine::text::Tokenizer;
use ternlight_tests::counting::{Counting, peak};

#[global_allocator]
static COUNTING: Counting = Counting;

/// One measurement at a time: the tests of a file share the counters.
static TURN: Mutex<()> = Mutex::new(());

const SLACK: usize = 64 << 20;

/// Runs `f` over `received` bytes that are held already; fails when it takes more memory than the rule allows.
fn bounded<T>(name: &str, received: usize, f: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let (result, peak) = peak(f);
    let time = start.elapsed();
    println!("{name}: {:.1} MB received, peak {:.1} MB, {time:?}", received as f64 / 1e6, peak as f64 / 1e6);
    if peak > 4 * received + SLACK || time > Duration::from_secs(20) {
        FAULTS.with_borrow_mut(|faults| {
            faults.push(format!("{name}: {peak} bytes for {received} in {time:?}"))
        });
    }
    result
}

thread_local! {
    static FAULTS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Runs a test's measurements by themselves, and fails for all that broke the rule.
fn measure(f: impl FnOnce()) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    f();
    FAULTS.with_borrow(|faults| assert!(faults.is_empty(), "{}", faults.join("\n")));
}

/// `{"name": [item, item, …]}` of some length.
fn list(name: &str, item: &str, len: usize) -> String {
    let mut json = format!("{{\"{name}\":[{item}");
    while json.len() + item.len() + 3 < len {
        json.push(',');
        json.push_str(item);
    }
    json + "]}"
}

fn object(len: usize, mut entry: impl FnMut(usize) -> String) -> String {
    let mut json = "{".to_owned();
    for i in 0.. {
        let entry = entry(i);
        if json.len() + entry.len() + 2 > len {
            break;
        }
        json.push_str(if i > 0 { "," } else { "" });
        json.push_str(&entry);
    }
    json + "}"
}

#[test]
fn configs() {
    measure(measure_configs);
}

fn measure_configs() {
    let mega = container::MAX_CONFIG;
    let long = "k".repeat(1000);
    let nested = format!("{{\"{long}\":{}}}", list("a", "[]", mega - 1100));
    for (name, json) in [
        ("config: lists under a long key", list(&long, "[]", mega)),
        ("config: objects under a long key", list(&long, "{\"a\":1}", mega)),
        ("config: below a long key", nested),
        ("config: lists", list("a", "[]", mega)),
        ("config: nulls", list("a", "null", mega)),
        ("config: zeros", list("a", "0", mega)),
        ("config: mixed", list(&long, "0,\"\"", mega)),
        ("config: texts", list("a", "\"\"", mega)),
        ("config: keys", object(mega, |i| format!("\"{i:x}\":0"))),
        ("config: one text", format!("{{\"a\":\"{}\"}}", "x".repeat(mega - 10))),
    ] {
        let _ = bounded(name, json.len(), || container::config(&json));
    }
}

/// A GGUF header in the making.
struct Gguf {
    bytes: Vec<u8>,
    keys: u64,
    tensors: u64,
}

impl Gguf {
    fn new() -> Self {
        let mut bytes = b"GGUF\x03\0\0\0".to_vec();
        bytes.extend([0; 16]);
        Self { bytes, keys: 0, tensors: 0 }
    }

    fn text(&mut self, text: &str) -> &mut Self {
        self.bytes.extend((text.len() as u64).to_le_bytes());
        self.bytes.extend(text.as_bytes());
        self
    }

    /// A key with an array; `elements` are its bytes.
    fn array(&mut self, key: &str, kind: u32, count: u64, elements: &[u8]) -> &mut Self {
        self.text(key);
        self.keys += 1;
        self.bytes.extend(9u32.to_le_bytes());
        self.bytes.extend(kind.to_le_bytes());
        self.bytes.extend(count.to_le_bytes());
        self.bytes.extend(elements);
        self
    }

    fn string(&mut self, key: &str, value: &str) -> &mut Self {
        self.text(key);
        self.keys += 1;
        self.bytes.extend(8u32.to_le_bytes());
        self.text(value)
    }

    fn texts(&mut self, key: &str, texts: &[String]) -> &mut Self {
        let mut elements = Vec::new();
        for text in texts {
            elements.extend((text.len() as u64).to_le_bytes());
            elements.extend(text.as_bytes());
        }
        self.array(key, 8, texts.len() as u64, &elements)
    }

    fn finish(&mut self) -> Vec<u8> {
        self.bytes[8..16].copy_from_slice(&self.tensors.to_le_bytes());
        self.bytes[16..24].copy_from_slice(&self.keys.to_le_bytes());
        std::mem::take(&mut self.bytes)
    }
}

/// Pushes a file in chunks of a network's size, as the page does; its length is not known.
fn load(file: &[u8], chunk: usize) -> ternlight_core::Result<()> {
    let mut loader = Loader::new(LoadOptions::default());
    loader.begin_file("model.gguf", None)?;
    file.chunks(chunk).try_for_each(|chunk| loader.push(chunk))?;
    loader.end_file()
}

#[test]
fn gguf_headers() {
    measure(measure_gguf_headers);
}

fn measure_gguf_headers() {
    let max = 1 << 22;
    let arrays = |kind: u32, size: usize, count: usize| {
        let mut gguf = Gguf::new();
        let bytes = vec![0; size * count];
        for i in 0..(24 << 20) / bytes.len() {
            gguf.array(&format!("a{i}"), kind, count as u64, &bytes);
        }
        gguf.finish()
    };
    let mut keys = Gguf::new();
    for i in 0..60_000 {
        keys.array(&format!("{i:x}"), 0, 0, &[]);
    }
    let mut long_keys = Gguf::new();
    for i in 0..20_000 {
        long_keys.string(&format!("{i:01000x}"), "");
    }
    let mut tensors = Gguf::new();
    for i in 0..130_000u64 {
        tensors.text(&format!("{i:x}"));
        tensors.bytes.extend(4u32.to_le_bytes());
        tensors.bytes.extend([1u64, 1, 1, 32].map(u64::to_le_bytes).concat());
        tensors.bytes.extend(0u32.to_le_bytes());
        tensors.bytes.extend((i * 128).to_le_bytes());
        tensors.tensors += 1;
    }
    for (name, file) in [
        ("gguf: u8 arrays", arrays(0, 1, max)),
        ("gguf: small u8 arrays", arrays(0, 1, 1000)),
        ("gguf: booleans", arrays(7, 1, max)),
        ("gguf: u16 arrays", arrays(2, 2, max)),
        ("gguf: empty texts", arrays(8, 8, 1 << 20)),
        ("gguf: keys", keys.finish()),
        ("gguf: long keys", long_keys.finish()),
        ("gguf: tensors", tensors.finish()),
    ] {
        for chunk in [16 << 10, 4 << 20] {
            let _ = bounded(&format!("{name}, {chunk}"), file.len(), || load(&file, chunk));
        }
    }
}

/// Half a megabyte of a file that claims gigabytes, from a server that does not say how long it is.
#[test]
fn claims() {
    measure(|| {
        for (name, hidden, rows) in [
            ("output_norm.weight", 65_536u64, None),
            ("token_embd.weight", 65_536, Some(1u64 << 20)),
            ("token_embd.weight", 4096, Some(1 << 21)),
        ] {
            for encoding in [Encoding::F32, Encoding::F16, Encoding::Q8_0, Encoding::TQ2_0] {
                let mut meta = Meta::default();
                meta.0.insert("general.architecture".into(), Value::Str("llama".into()));
                for (key, n) in [
                    ("embedding_length", hidden as i64),
                    ("block_count", 1),
                    ("attention.head_count", 32),
                    ("feed_forward_length", 4096),
                    ("context_length", 128),
                ] {
                    meta.0.insert(format!("llama.{key}"), Value::Int(n));
                }
                let shape = rows.into_iter().chain([hidden]).collect();
                let spec = write::TensorSpec { name: name.into(), shape, encoding };
                let header = write::gguf_header(&meta, &[spec]).unwrap();
                let mut file = header.bytes;
                file.resize(548_000, 0);
                let result = bounded(&format!("claims: {name} {hidden} {encoding:?}"), file.len(), || {
                    load(&file, 16 << 10)
                });
                assert!(result.is_err());
            }
        }
    });
}

#[test]
fn safetensors_headers() {
    measure(measure_safetensors_headers);
}

fn measure_safetensors_headers() {
    let size = 12 << 20;
    let entry =
        |i: usize| format!("\"{i:x}\":{{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[{i},{}]}}", i + 1);
    let shape = format!(
        "{{\"a\":{{\"dtype\":\"U8\",\"shape\":[0{}],\"data_offsets\":[0,0]}}}}",
        ",0".repeat(size / 2)
    );
    let metadata = format!("{{\"__metadata__\":{}}}", object(size, |i| format!("\"{i:x}\":\"\"")));
    for (name, json) in [
        ("safetensors: tensors", object(size, entry)),
        ("safetensors: a shape", shape),
        ("safetensors: metadata", metadata),
        ("safetensors: a list", list("a", "0", size)),
    ] {
        let file = [&(json.len() as u64).to_le_bytes()[..], json.as_bytes()].concat();
        bounded(name, file.len(), || assert!(!matches!(container::probe(&file), Ok(Probe::Need(_)))));
    }
}

#[test]
fn tokenizers() {
    measure(measure_tokenizers);
}

fn measure_tokenizers() {
    let size = 12 << 20;
    let json =
        |rest: &str| format!("{{\"model\":{{\"type\":\"BPE\",\"vocab\":{{\"a\":0}},\"merges\":[]}},{rest}}}");
    let component = |name: &str, item: &str| {
        let inner = list("x", item, size);
        json(&format!("\"{name}\":{inner}"))
    };
    let added = list("added_tokens", "{\"id\":1,\"content\":\"b\"}", size);
    let vocab = object(size, |i| format!("\"{i:x}\":{i}"));
    let merges = list("merges", "[\"\",\"\"]", size);
    for (name, json) in [
        ("tokenizer: normalizer", component("normalizer", "[]")),
        ("tokenizer: pre_tokenizer", component("pre_tokenizer", "0")),
        ("tokenizer: decoder", component("decoder", "{}")),
        ("tokenizer: post_processor", component("post_processor", "{\"a\":0}")),
        ("tokenizer: added tokens", json(&added[1..added.len() - 1])),
        ("tokenizer: vocabulary", format!("{{\"model\":{{\"vocab\":{vocab}}}}}")),
        ("tokenizer: merges", format!("{{\"model\":{{\"vocab\":{{\"a\":0}},{}}}", &merges[1..])),
    ] {
        let _ = bounded(name, json.len(), || Tokenizer::from_json(&json, None));
    }

    let plain = json("\"x\":0");
    for (name, config) in [
        ("tokenizer_config: token", list("bos_token", "[]", size)),
        ("tokenizer_config: template", list("chat_template", "{\"name\":0}", size)),
        ("tokenizer_config: other", list("other", "0", size)),
        ("tokenizer_config: keys", object(size, |i| format!("\"{i:x}\":0"))),
    ] {
        let _ = bounded(name, config.len(), || Tokenizer::from_json(&plain, Some(&config)));
    }

    // SentencePiece: every way to split a piece in two is a merge.
    let letters = |n: usize, from: u8| (0..n).map(|i| (from + (i % 2) as u8) as char).collect::<String>();
    let mut tokens = vec!["<unk>".to_owned()];
    for n in 1..=128 {
        tokens.push(letters(n, b'a'));
        for m in 1..=128 {
            let mut token = String::new();
            write!(token, "{}{}", letters(n, b'a'), letters(m, b'c')).unwrap();
            tokens.push(token);
        }
        tokens.push(letters(n, b'c'));
    }
    let mut gguf = Gguf::new();
    let ones: Vec<u8> = (0..tokens.len()).flat_map(|i| if i == 0 { 2u32 } else { 1 }.to_le_bytes()).collect();
    gguf.string("tokenizer.ggml.model", "llama").texts("tokenizer.ggml.tokens", &tokens);
    gguf.array("tokenizer.ggml.token_type", 5, tokens.len() as u64, &ones);
    gguf.array("tokenizer.ggml.scores", 6, tokens.len() as u64, &vec![0; 4 * tokens.len()]);
    let file = gguf.finish();
    let Ok(Probe::Ready(index)) = container::probe(&file) else { panic!("a valid header") };
    let meta: Meta = index.meta;
    let _ = bounded("gguf: pieces", file.len(), || Tokenizer::from_meta(&meta));
}
