//! Text in, text out: everything between a model file and a conversation.
//!
//! | module | what it does |
//! |---|---|
//! | [`text`] | tokenizers, streaming decoding, chat templates |
//! | [`Engine`], [`EngineLoader`] | a model with its tokenizer and threads, built from bytes as they arrive |
//! | [`Session`] | one sequence: a prompt goes in, pieces come out, the cache is kept for the next prompt |
//! | [`Threads`] | the native pool |
//!
//! The caller pulls: [`Session::next`] does one bounded piece of work (a block of the prompt, or one
//! token) and returns. Aborting is to stop calling; nothing runs in the background but, while weights arrive, the
//! making of the tokenizer.
//!
//! ```
//! use ternlight_engine::{
//!     ChatOptions, EngineLoader, EngineOptions, GenerateOptions, Message, Prompt, Step,
//! };
//!
//! // Natively, `Engine::open` reads files; a loader takes bytes from anywhere. Tern is a model as a crate.
//! let mut loader = EngineLoader::new(EngineOptions::default(), None);
//! for (name, contents) in ternlight_tern::FILES {
//!     loader.begin_file(name, Some(contents.len() as u64))?;
//!     loader.push(contents)?;
//!     loader.end_file()?;
//! }
//! let engine = loader.finish()?;
//!
//! let messages = vec![Message::new("user", "How many legs does a spider have?")];
//! let mut session = engine.session()?;
//! session.start(&Prompt::Chat(messages, ChatOptions::default()), &GenerateOptions::default())?;
//! let mut reply = String::new();
//! loop {
//!     match session.next()? {
//!         Step::Piece(piece) => reply.push_str(&piece.text),
//!         Step::Done(_) => break,
//!         _ => {} // A block of the prompt was computed.
//!     }
//! }
//! assert_eq!(reply, "A spider has eight legs.");
//! # Ok::<(), ternlight_core::Error>(())
//! ```
#![deny(unsafe_code)]

mod deferred;
mod engine;
mod fingerprint;
mod info;
mod loader;
mod measured;
mod options;
mod overflow;
mod reply;
mod session;
mod speculation;
mod stop;
pub mod text;
#[cfg(not(target_arch = "wasm32"))]
#[allow(unsafe_code)]
mod threads;

pub use engine::{Engine, Pooling};
pub use info::{ExpertsInfo, LoopInfo, ModelInfo, Sampling, SparseInput, TensorInfo};
pub use loader::EngineLoader;
pub use measured::Measured;
pub use options::{EngineOptions, GenerateOptions, Overflow, Prompt};
pub use reply::{Alternative, FinishReason, Piece, Prefill, Speculation, Step, Summary, Timings, Token};
pub use session::Session;
pub use text::template::{ChatOptions, Message};
#[cfg(not(target_arch = "wasm32"))]
pub use threads::Threads;
