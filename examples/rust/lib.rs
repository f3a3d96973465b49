//! What the examples share: a model to start with.

use std::{error::Error, path::Path};

use ternlight_engine::{Engine, EngineLoader, EngineOptions};

/// The model at `path` (a GGUF file or a Hugging Face folder), or Tern, whose files are part of the program.
///
/// # Errors
/// Whatever can be wrong with a model; the message begins with a stable code.
pub fn open(path: Option<&str>) -> Result<Engine, Box<dyn Error>> {
    if let Some(path) = path {
        return Ok(Engine::open(Path::new(path), &EngineOptions::default(), &mut |_, _| {})?);
    }
    let mut loader = EngineLoader::new(EngineOptions::default(), None);
    for (name, contents) in ternlight_tern::FILES {
        loader.begin_file(name, Some(contents.len() as u64))?;
        loader.push(contents)?;
        loader.end_file()?;
    }
    Ok(loader.finish()?)
}
