//! The core of ternlight: from the bytes of a model file to the next token.
//!
//! `no_std` + `alloc`, and it knows neither text, threads, files nor browsers: it is handed bytes
//! ([`load::Loader::push`]) and a [`pool::Pool`]. The map, in the order data flows:
//!
//! | module | from → to |
//! |---|---|
//! | [`container`] | a prefix of a file → a checked [`container::Index`] |
//! | [`format`] | on-disk encodings → [`format::FormRow`], the slow, obvious truth |
//! | [`simd`] | aligned memory, and portable code compiled for wide vectors |
//! | [`kernel`] | packs rows into panels and multiplies them; all `unsafe` is there, in [`simd`], [`pool`] and [`tile`] |
//! | [`matrix`] | packed weights that remember their kernel |
//! | [`activations`] | activations → integer codes |
//! | [`quantiser`] | the other quantisers that models were trained with |
//! | [`math`] | the f32 parts, in one fixed shape (16 lanes, fixed fold, no FMA) |
//! | [`model`] | metadata → [`model::Spec`], and the one forward pass over it |
//! | [`cache`] | keys and values of past tokens |
//! | [`load`] | chunks in any size → [`model::Model`] |
//! | [`sample`] | logits → token |
//! | [`tile`] | the part of an output that a task owns |
//! | [`tune`] | which of several equal ways is the fastest on this machine |
//!
//! Invariant: the scalar kernel is the specification. Every other kernel, thread count and prompt
//! chunking gives the same bits.
#![no_std]
#![deny(unsafe_code)]

extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

pub mod activations;
pub mod cache;
pub mod container;
pub mod error;
pub mod format;
#[allow(unsafe_code)]
pub mod kernel;
pub mod load;
pub mod math;
pub mod matrix;
pub mod minifloat;
pub mod model;
#[allow(unsafe_code)]
pub mod pool;
pub mod quantiser;
pub mod recurrent;
pub mod sample;
#[allow(unsafe_code)]
pub mod simd;
#[allow(unsafe_code)]
pub mod tile;
pub mod tune;

pub use error::{Error, ErrorKind, Result};
