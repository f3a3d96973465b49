//! What a model computes, as one short text that is the same on every machine.

use std::{fmt::Write as _, sync::Arc};

use sha2::{Digest as _, Sha256};
use ternlight_core::{
    Result,
    cache::KvType,
    model::{Decoder, DecoderOptions, Want},
};

use crate::engine::Engine;

/// Tokens of the fixed prompt: enough for several rows of every product and for attention to look back.
const TOKENS: usize = 48;
/// The steps between their ids: a prime, so that they are spread over any vocabulary.
const STEP: usize = 7919;

impl Engine {
    /// SHA-256, in hex, of all logits of a fixed prompt: of their bits as little-endian f32, token by token.
    ///
    /// It depends on the weights and on the form of the head (the option `head`) alone: not on the machine, the
    /// instruction set, the number of threads, the block length or the cache type, whose keys and values are kept exactly
    /// here. So two machines with the same fingerprint give the same answers to the same questions. The prompt is made of
    /// token ids (`1 + 7919 i`, modulo the vocabulary) and needs no tokenizer.
    ///
    /// # Errors
    /// `out-of-memory`.
    pub fn fingerprint(&self) -> Result<String> {
        let vocab = self.inner.model.spec.vocab;
        let trained = self.inner.model.spec.context;
        let count = if trained > 0 { TOKENS.min(trained) } else { TOKENS };
        let tokens: Vec<u32> = (0..count).map(|i| ((1 + i * STEP) % vocab) as u32).collect();
        let options =
            DecoderOptions { context: count, kv: KvType::F32, block: self.inner.options.block.max(1) };
        let mut decoder = Decoder::new(Arc::clone(&self.inner.model), options, Arc::clone(&self.inner.pool))?;
        let mut digest = Sha256::new();
        // In blocks, so that the logits of a large vocabulary are never all in memory.
        for block in tokens.chunks(8) {
            for logit in decoder.forward(block, Want::All)? {
                digest.update(logit.to_le_bytes());
            }
        }
        let mut hex = String::with_capacity(64);
        for byte in digest.finalize() {
            let _ = write!(hex, "{byte:02x}");
        }
        Ok(hex)
    }
}
