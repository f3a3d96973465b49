//! A piece of wasm memory that JavaScript fills in place, and hashes over it.
//!
//! Model bytes cross the border once: a file handle reads straight into a [`Chunk`], or a download is
//! copied into it, and the same memory is then hashed and pushed to the loader. SHA-256 names a whole
//! file; XXH3, an order of magnitude faster, guards each block of a cached copy on every load.

use sha2::{Digest as _, Sha256};
use wasm_bindgen::prelude::*;
use xxhash_rust::xxh3::Xxh3;

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
}

impl Chunk {
    /// Bytes `from..to`, cut to what there is.
    pub fn get(&self, from: usize, to: usize) -> &[u8] {
        let to = to.min(self.0.len());
        &self.0[from.min(to)..to]
    }
}

/// Hashes of a stream: SHA-256 over all of it if asked for, XXH3-64 over each block.
#[wasm_bindgen]
pub struct Digest {
    sha256: Option<Sha256>,
    block: Xxh3,
}

#[wasm_bindgen]
impl Digest {
    /// A digest of nothing yet; `sha256` asks for the slow hash too.
    #[wasm_bindgen(constructor)]
    pub fn new(sha256: bool) -> Self {
        Self { sha256: sha256.then(Sha256::new), block: Xxh3::new() }
    }

    /// Takes in bytes `from..to` of `chunk`.
    pub fn update(&mut self, chunk: &Chunk, from: usize, to: usize) {
        let bytes = chunk.get(from, to);
        if let Some(sha256) = &mut self.sha256 {
            sha256.update(bytes);
        }
        self.block.update(bytes);
    }

    /// The XXH3-64 of the bytes since the last call, in hex; begins the next block.
    #[wasm_bindgen(js_name = endBlock)]
    pub fn end_block(&mut self) -> String {
        let hash = self.block.digest();
        self.block.reset();
        format!("{hash:016x}")
    }

    /// The SHA-256 of everything, in hex, if it was asked for. The stream may go on.
    pub fn sha256(&self) -> Option<String> {
        let hash = self.sha256.clone()?.finalize();
        Some(hash.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}
