//! A piece of wasm memory that JavaScript fills in place, and hashes over it.
//!
//! Model bytes cross the border once: a file handle reads straight into a [`Chunk`], or a download is
//! copied into it, and the same memory is then hashed and pushed to the loader. SHA-256 names a whole
//! file; XXH3, an order of magnitude faster, guards each block of a cached copy on every load.

use sha2::{Digest as _, Sha256};
use wasm_bindgen::prelude::*;
use xxhash_rust::xxh3::xxh3_64;

use crate::error::to_js_error;

/// Memory for JavaScript to fill: `new Uint8Array(memory.buffer, chunk.address(), chunk.capacity())`, made
/// anew after every call into wasm, since growing memory detaches old views.
#[wasm_bindgen]
pub struct Chunk(Vec<u8>);

#[wasm_bindgen]
impl Chunk {
    /// Reserves `capacity` bytes.
    ///
    /// # Errors
    /// `out-of-memory`.
    #[wasm_bindgen(constructor)]
    pub fn new(capacity: usize) -> Result<Chunk, JsValue> {
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(capacity).map_err(|error| to_js_error(error.into()))?;
        bytes.resize(capacity, 0);
        Ok(Self(bytes))
    }

    /// Where it begins in wasm memory.
    pub fn address(&self) -> usize {
        self.0.as_ptr().addr()
    }

    /// How many bytes it holds.
    pub fn capacity(&self) -> usize {
        self.0.len()
    }

    /// The XXH3-64 of its first `length` bytes, in hex.
    pub fn checksum(&self, length: usize) -> String {
        format!("{:016x}", xxh3_64(self.get(0, length)))
    }
}

impl Chunk {
    /// Bytes `from..to`, cut to what there is.
    pub fn get(&self, from: usize, to: usize) -> &[u8] {
        let to = to.min(self.0.len());
        &self.0[from.min(to)..to]
    }
}

/// SHA-256 of a stream of chunks.
#[wasm_bindgen]
pub struct Digest(Sha256);

#[wasm_bindgen]
impl Digest {
    /// A digest of nothing yet.
    #[wasm_bindgen(constructor)]
    #[expect(clippy::new_without_default, reason = "JavaScript has constructors, not defaults")]
    pub fn new() -> Self {
        Self(Sha256::new())
    }

    /// Takes in bytes `from..to` of `chunk`.
    pub fn update(&mut self, chunk: &Chunk, from: usize, to: usize) {
        self.0.update(chunk.get(from, to));
    }

    /// The SHA-256 of everything so far, in hex.
    pub fn hex(&self) -> String {
        self.0.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
