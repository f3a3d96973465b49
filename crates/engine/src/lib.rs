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
#![deny(unsafe_code)]

mod engine;
mod info;
mod later;
mod loader;
mod measured;
mod session;
mod stop;
pub mod text;
#[cfg(not(target_arch = "wasm32"))]
#[allow(unsafe_code)]
mod threads;

pub use engine::{Engine, EngineOptions};
pub use info::{ModelInfo, Sampling, TensorInfo};
pub use loader::EngineLoader;
pub use measured::Measured;
pub use session::{
    Alternative, FinishReason, GenerateOptions, Piece, Prompt, Session, Step, Summary, Timings, TokenInfo,
};
pub use ternlight_core::sample::SampleOptions;
pub use text::template::{ChatOptions, Message};
#[cfg(not(target_arch = "wasm32"))]
pub use threads::Threads;
