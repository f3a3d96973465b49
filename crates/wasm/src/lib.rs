//! ternlight for JavaScript: translates, decides nothing.
//!
//! Mirrors `ternlight-engine` one to one. JavaScript pulls and Rust never calls back: a session gives one
//! step per `next()`, so there is no re-entrancy, and cancelling is to stop asking.
#![deny(unsafe_code)]

pub mod digest;
pub mod engine;
pub mod error;
pub mod pool;
pub mod threads;
pub mod wire;
