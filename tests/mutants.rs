//! Valid files, each with a few of its *fields* changed: counts, lengths, types, names, offsets, JSON values,
//! pieces of templates. Random bytes rarely get past the first check; these get further. Whatever a mutant says,
//! the answer is an error with a code or an engine that works: no panic, no more memory than its bytes justify,
//! no more time than a person waits.
//!
//! Another seed each run, printed; `TERNLIGHT_MUTANTS_SEED` repeats one, `TERNLIGHT_MUTANTS` sets how many.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value as Json, json};
use ternlight_engine::{
    ChatOptions, Engine, EngineLoader, EngineOptions, GenerateOptions, Message, Prompt, Step,
};
use ternlight_tests::{
    bytes,
    counting::{Counting, peak},
};

#[global_allocator]
static COUNTING: Counting = Counting;

const MUTANTS: u64 = 2000;
/// While loading; the models here are small.
const SLACK: usize = 64 << 20;
/// In use: a rendering may have 16 MB, its variables as many, and its tokens four times as many.
const IN_USE: usize = 192 << 20;
const PATIENCE: Duration = Duration::from_secs(5);

struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n.max(1) as u64) as usize
    }

    fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}

/// Numbers at the borders of types, and beside what was there.
fn number(old: u64, random: &mut Random) -> u64 {
    let borders =
        [0, 1, 2, 7, 8, 255, 256, 65_535, 1 << 20, 1 << 31, u64::from(u32::MAX), 1 << 40, 1 << 62, u64::MAX];
    match random.below(5) {
        0 => old.wrapping_add(1),
        1 => old.wrapping_sub(1),
        2 => old.wrapping_mul(2),
        3 => old ^ (1 << random.below(64)),
        _ => *random.pick(&borders),
    }
}

/// Where the fields of a GGUF header lie: offset and width. Fields of other widths are texts.
fn gguf_fields(file: &[u8]) -> Vec<(usize, usize)> {
    fn int(file: &[u8], at: usize, width: usize) -> u64 {
        let mut wide = [0; 8];
        wide[..width].copy_from_slice(&file[at..at + width]);
        u64::from_le_bytes(wide)
    }
    fn field(out: &mut Vec<(usize, usize)>, at: &mut usize, width: usize) {
        out.push((*at, width));
        *at += width;
    }
    fn text(file: &[u8], out: &mut Vec<(usize, usize)>, at: &mut usize) {
        let len = int(file, *at, 8) as usize;
        field(out, at, 8);
        field(out, at, len);
    }
    fn value(file: &[u8], kind: u64, out: &mut Vec<(usize, usize)>, at: &mut usize) {
        match kind {
            8 => text(file, out, at),
            9 => {
                let (kind, count) = (int(file, *at, 4), int(file, *at + 4, 8));
                field(out, at, 4);
                field(out, at, 8);
                (0..count).for_each(|_| value(file, kind, out, at));
            }
            0 | 1 | 7 => field(out, at, 1),
            2 | 3 => field(out, at, 2),
            4..=6 => field(out, at, 4),
            _ => field(out, at, 8),
        }
    }
    let (mut out, mut at) = (Vec::new(), 0);
    [4, 4, 8, 8].into_iter().for_each(|width| field(&mut out, &mut at, width));
    let (tensors, keys) = (int(file, 8, 8), int(file, 16, 8));
    for _ in 0..keys {
        text(file, &mut out, &mut at);
        let kind = int(file, at, 4);
        field(&mut out, &mut at, 4);
        value(file, kind, &mut out, &mut at);
    }
    for _ in 0..tensors {
        text(file, &mut out, &mut at);
        let dims = int(file, at, 4) as usize;
        field(&mut out, &mut at, 4);
        (0..dims).for_each(|_| field(&mut out, &mut at, 8));
        field(&mut out, &mut at, 4);
        field(&mut out, &mut at, 8);
    }
    out
}

fn mutate_gguf(file: &[u8], random: &mut Random) -> Vec<u8> {
    let fields = gguf_fields(file);
    let mut out = file.to_vec();
    for _ in 0..1 + random.below(3) {
        let (at, width) = *random.pick(&fields);
        match width {
            1 | 2 | 4 | 8 if at + width <= out.len() => {
                let mut wide = [0; 8];
                wide[..width].copy_from_slice(&out[at..at + width]);
                let new = number(u64::from_le_bytes(wide), random).to_le_bytes();
                out[at..at + width].copy_from_slice(&new[..width]);
            }
            _ if width > 0 && at + width <= out.len() => {
                // A name becomes another one, as far as it fits.
                let (from, len) = *random.pick(&fields);
                let other = file[from..from + len].to_vec();
                let n = len.min(width);
                out[at..at + n].copy_from_slice(&other[..n]);
            }
            _ => {}
        }
    }
    match random.below(12) {
        0 => out.truncate(random.below(out.len())),
        1 => out.extend(vec![0; random.below(5000)]),
        2 => {
            // A field twice moves all that follows.
            let (at, width) = *random.pick(&fields);
            let end = (at + width).min(out.len());
            let again = out[at.min(end)..end].to_vec();
            out.splice(end..end, again);
        }
        _ => {}
    }
    out
}

/// Every place in a JSON value.
fn places(value: &Json, path: String, out: &mut Vec<String>) {
    match value {
        Json::Object(map) => map.iter().for_each(|(key, item)| {
            places(item, format!("{path}/{}", key.replace('~', "~0").replace('/', "~1")), out);
        }),
        Json::Array(items) => {
            items.iter().enumerate().take(50).for_each(|(i, item)| places(item, format!("{path}/{i}"), out));
        }
        _ => {}
    }
    out.push(path);
}

fn mutate_json(text: &str, random: &mut Random) -> String {
    let mut value: Json = serde_json::from_str(text).expect("a valid seed");
    let mut all = Vec::new();
    places(&value, String::new(), &mut all);
    for _ in 0..1 + random.below(3) {
        let (path, other) = (random.pick(&all).clone(), random.pick(&all).clone());
        let other = value.pointer(&other).cloned().unwrap_or(Json::Null);
        let Some(place) = value.pointer_mut(&path) else { continue };
        let old = place.as_u64().unwrap_or(5);
        *place = match random.below(12) {
            0 => Json::Null,
            1 => json!(true),
            2 => json!(number(old, random)),
            3 => json!(-(old as i64)),
            4 => json!(1e300),
            5 => json!(""),
            6 => json!("x".repeat(1 << random.below(16))),
            7 => json!("\u{0}\u{202e}é🦙<|im_end|>"),
            8 => Json::Array(vec![place.clone(); random.below(40)]),
            9 => json!({ "a": place.clone() }),
            10 if path.is_empty() => continue,
            10 => other,
            _ => (0..random.below(90)).fold(place.clone(), |inner, _| json!([inner])),
        };
    }
    let text = value.to_string();
    match random.below(15) {
        0 => text.chars().take(random.below(text.len())).collect(),
        // A key twice.
        1 if text.starts_with('{') && text.len() > 2 => format!("{},{}", &text[..text.len() - 1], &text[1..]),
        _ => text,
    }
}

/// Pieces of templates that bend a rendering.
const PIECES: &[&str] = &[
    "{% for i in range(100000) %}",
    "{% endfor %}",
    "{% if messages %}",
    "{% endif %}",
    "{% set x = messages[0].content * 1000 %}",
    "{% set x = x ~ x %}",
    "{{ x | upper }}",
    "{{ messages | tojson(indent=1000) }}",
    "{% macro f(a) %}{{ f(a) }}{% endmacro %}{{ f(1) }}",
    "{{ messages[::-1] | map(attribute='content') | join('<|im_end|>') }}",
    "{{ '%1000000d' | format(1) }}",
    "{{ x[::-1][1:] | replace('a', x) }}",
    "{{ messages | groupby('role') | list | batch(3, x) | list }}",
    "{%- set ns = namespace(v=[]) -%}{% for i in range(200) %}{% set ns.v = [ns.v] %}{% endfor %}{{ ns.v }}",
    "{% raw %}",
    "{#",
    "{{",
    "}}",
    "{% continue %}",
];

fn mutate_template(text: &str, random: &mut Random) -> String {
    let mut out = text.to_owned();
    for _ in 0..1 + random.below(4) {
        let cuts: Vec<usize> = out.match_indices(['{', '}', '|', '(', ' ', '\'']).map(|(at, _)| at).collect();
        if cuts.is_empty() {
            break;
        }
        let (a, b) = (*random.pick(&cuts), *random.pick(&cuts));
        let (from, to) = (a.min(b), a.max(b));
        match random.below(4) {
            0 if to - from < 200 => out.replace_range(from..to, ""),
            1 if out.len() < 100_000 => {
                let again = out[from..to].to_owned();
                out.insert_str(to, &again);
            }
            _ => out.insert_str(from, PIECES[random.below(PIECES.len())]),
        }
    }
    out
}

type Files = Vec<(&'static str, Vec<u8>)>;

fn engine(files: &Files, random: &mut Random) -> ternlight_core::Result<Engine> {
    let options = EngineOptions { threads: 1, context: Some(32), ..EngineOptions::default() };
    let mut loader = EngineLoader::new(options, None);
    let chunk = *random.pick(&[64, 1000, 1 << 20]);
    for (name, bytes) in files {
        let len = (random.below(2) == 0).then_some(bytes.len() as u64);
        loader.begin_file(name, len)?;
        bytes.chunks(chunk).try_for_each(|part| loader.push(part))?;
        loader.end_file()?;
    }
    loader.finish()
}

/// What an engine is asked for; each answer may be an error.
fn use_it(engine: &Engine) -> ternlight_core::Result<()> {
    let _ = engine.info();
    let _ = engine.tokenize("The cat's 123 é🦙<|im_end|>\n", false);
    let messages =
        [Message::new("system", "s"), Message::new("user", "a<|im_end|>b"), Message::new("assistant", "c")];
    let renders = engine.render_chat(&messages, &ChatOptions::default()).is_ok();
    if let Ok(tokens) = engine.chat_tokens(&messages, &ChatOptions::default()) {
        // White space may be normalised; nothing is lost.
        assert!(renders && engine.detokenize(&tokens).is_ok());
    }
    let mut session = engine.session()?;
    session.start(
        &Prompt::Tokens(vec![0, 1]),
        &GenerateOptions { max_tokens: 2, ..GenerateOptions::default() },
    )?;
    while !matches!(session.next()?, Step::Done(_)) {}
    Ok(())
}

/// Makes the mutant of a seed.
fn mutant(seeds: &Seeds, random: &mut Random) -> (&'static str, Files) {
    let text = |name: &'static str, text: String| (name, text.into_bytes());
    let folder = |config: String, weights: Vec<u8>, tokenizer: String, template: String| {
        vec![
            text("config.json", config),
            text("tokenizer.json", tokenizer),
            text("chat_template.jinja", template),
            ("model.safetensors", weights),
        ]
    };
    let (config, weights) = random.pick(&seeds.folders).clone();
    let tokenizer = seeds.tokenizer.clone();
    let template = random.pick(&seeds.templates).clone();
    match random.below(10) {
        0..=3 => {
            let file: &Vec<u8> = random.pick(&seeds.ggufs);
            ("gguf", vec![("model.gguf", mutate_gguf(file, random))])
        }
        4 => {
            let config = mutate_json(&config, random);
            ("config", folder(config, weights, tokenizer, template))
        }
        5 => {
            let len = u64::from_le_bytes(weights[..8].try_into().expect("8 bytes")) as usize;
            let header = std::str::from_utf8(&weights[8..8 + len]).expect("JSON");
            let header = mutate_json(header.trim_end(), random);
            let len = (header.len() as u64).to_le_bytes();
            let weights = [&len, header.as_bytes(), &weights[8 + header.len().min(len.len())..]].concat();
            ("safetensors", folder(config, weights, tokenizer, template))
        }
        6 | 7 => {
            let tokenizer = mutate_json(&tokenizer, random);
            ("tokenizer", folder(config, weights, tokenizer, template))
        }
        _ => {
            let template = mutate_template(&template, random);
            ("template", folder(config, weights, tokenizer, template))
        }
    }
}

struct Seeds {
    ggufs: Vec<Vec<u8>>,
    /// Configurations with their weights.
    folders: Vec<(String, Vec<u8>)>,
    tokenizer: String,
    templates: Vec<String>,
}

fn seeds() -> Seeds {
    let read = |path: &str| String::from_utf8(bytes(path)).expect("UTF-8");
    let templates = [
        "chatml",
        "Qwen-Qwen3-0.6B",
        "HuggingFaceTB-SmolLM3-3B",
        "exercise",
        "meta-llama-Llama-3.1-8B-Instruct",
    ];
    // The first two bytes are choices of the fuzzer.
    let gguf = |name: &str| bytes(&format!("../../crates/core/fuzz/seeds/load/{name}"))[2..].to_vec();
    let mut tokenizer: Json = serde_json::from_str(&read("../models/tern/tokenizer.json")).expect("JSON");
    // A small vocabulary: mutants are many.
    let model = &mut tokenizer["model"];
    let merges: Vec<Json> = model["merges"].as_array().expect("merges").iter().take(200).cloned().collect();
    model["merges"] = merges.into();
    Seeds {
        ggufs: ["bitnet", "tq", "blocks", "k", "bits", "prism"].map(gguf).to_vec(),
        folders: [
            "oracle/tiny_c_llama_bitlinear",
            "oracle2/ouro",
            "oracle2/recursive",
            "oracle2/huginn",
            "oracle2/mor_token_choice",
        ]
        .map(|name| (read(&format!("{name}/config.json")), bytes(&format!("{name}/model.safetensors"))))
        .to_vec(),
        tokenizer: tokenizer.to_string(),
        templates: templates.map(|name| read(&format!("tokenizers/templates/{name}.jinja"))).to_vec(),
    }
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn mutants_are_refused_or_work() {
    let seeds = seeds();
    for (i, file) in seeds.ggufs.iter().enumerate() {
        let fields = gguf_fields(file);
        let header = fields.last().map_or(0, |(at, width)| at + width);
        assert!(fields.len() > 100 && header < file.len(), "seed {i} is understood");
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_nanos() as u64);
    let first = setting("TERNLIGHT_MUTANTS_SEED").unwrap_or(now);
    let count = setting("TERNLIGHT_MUTANTS").unwrap_or(MUTANTS);
    println!("TERNLIGHT_MUTANTS_SEED={first}");
    let (mut worked, mut largest, mut slowest) = ([0; 2], 0, Duration::ZERO);
    for seed in (first..).take(count as usize) {
        let mut random = Random(seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let (kind, files) = mutant(&seeds, &mut random);
        let received: usize = files.iter().map(|(_, bytes)| bytes.len()).sum();
        let start = Instant::now();
        let (mut loading, mut used) = (0, 0);
        let run = AssertUnwindSafe(|| {
            let made;
            (made, loading) = peak(|| engine(&files, &mut random));
            match made {
                Ok(engine) => {
                    used = peak(|| drop(use_it(&engine))).1;
                    true
                }
                Err(error) => {
                    assert!(error.detail.len() < 16 << 10, "{} bytes of message", error.detail.len());
                    false
                }
            }
        });
        let result = catch_unwind(run);
        let time = start.elapsed();
        let again = format!("{kind}: repeat with TERNLIGHT_MUTANTS=1 TERNLIGHT_MUTANTS_SEED={seed}");
        match result {
            Ok(works) => worked[usize::from(works)] += 1,
            Err(_) => panic!("a panic; {again}"),
        }
        assert!(loading <= 4 * received + SLACK, "{loading} bytes for {received}; {again}");
        assert!(used <= IN_USE, "{used} bytes in use; {again}");
        assert!(time < PATIENCE, "{time:?}; {again}");
        (largest, slowest) = (largest.max(loading), slowest.max(time));
    }
    let [refused, working] = worked;
    println!("{refused} refused, {working} worked; peak {:.1} MB, slowest {slowest:?}", largest as f64 / 1e6);
    // Mutants that are all refused, or none, test little.
    if count >= 500 {
        assert!(refused > count / 10 && working > count / 20, "{refused} refused, {working} worked");
    }
}
