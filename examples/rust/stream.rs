//! Loads a model chunk by chunk, as a program would that gets it over a network, and streams a continuation.
//!
//! ```sh
//! cargo run --release -p ternlight-examples --bin stream -- "Once upon a time" model.gguf
//! cargo run --release -p ternlight-examples --bin stream -- "Once upon a time" crates/tern/tern/*.json crates/tern/tern/model.safetensors
//! ```
//!
//! The weights are packed while they arrive; no file ever lies in memory as a whole.

use std::{
    error::Error,
    fs::File,
    io::{Read, Write},
    path::Path,
};

use ternlight_engine::{Engine, EngineLoader, EngineOptions, GenerateOptions, Prompt, Step};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let text = arguments.next().ok_or("usage: stream PROMPT FILE...")?;
    let engine = load(&arguments.collect::<Vec<_>>())?;

    let mut session = engine.session()?;
    let options = GenerateOptions { max_tokens: 40, ..GenerateOptions::greedy() };
    session.start(&Prompt::Text { text, special: false, add_bos: true }, &options)?;
    loop {
        match session.next()? {
            Step::Piece(piece) => {
                print!("{}", piece.text);
                std::io::stdout().flush()?;
            }
            Step::Done(summary) => {
                println!();
                eprintln!("[{} tokens, {:.1} tok/s]", summary.tokens, summary.timings.decode_tok_s);
                return Ok(());
            }
            _ => {} // A block of the prompt was computed.
        }
    }
}

/// The files may come in any order, except that `config.json` precedes the weights of a folder.
fn load(files: &[String]) -> Result<Engine, Box<dyn Error>> {
    let mut loader = EngineLoader::new(EngineOptions::default(), None);
    let mut chunk = vec![0; 1 << 20];
    for file in files {
        let mut source = File::open(file)?; // Or a socket: anything that implements `Read`.
        let name = Path::new(file).file_name().ok_or("not a file")?.to_string_lossy();
        loader.begin_file(&name, None)?;
        loop {
            match source.read(&mut chunk)? {
                0 => break,
                n => loader.push(&chunk[..n])?,
            }
        }
        loader.end_file()?;
    }
    Ok(loader.finish()?)
}
