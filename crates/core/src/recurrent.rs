//! States of fixed size that retention keeps of past tokens, beside the paged cache of attention.
//!
//! The sequence is cut into chunks of [`CHUNK`] positions at fixed places. Of all chunks before the current one a
//! state holds one matrix for each head, `S = Σ γ^(c − 1 − j) kⱼ vⱼᵀ` over positions `j < c`, the chunk's first; of
//! the current chunk it holds the keys and values themselves. A chunk enters the matrix as a whole once it is full,
//! so the arithmetic depends on where a position stands and not on what was computed together.
//!
//! ```text
//! matrix  (head, value_dim / TILE, key_dim, TILE)      value_dim padded to a multiple of TILE
//! keys    (head, CHUNK, key_dim)
//! values  (head, value_dim / TILE, CHUNK, TILE)
//! ```
//!
//! A matrix cannot be undone, so copies of some are kept: [`RecurrentStates::rewind`] goes anywhere in the current
//! chunk, else back to the nearest copy. Copies are of the beginnings of chunks, and lie the further apart the older
//! they are; their number is bounded, so the memory does not grow with the text.
//!
//! Invariant: the matrices change only between two calls of the forward pass, all together.

use alloc::vec::Vec;

use crate::{
    Result, bail,
    cache::TILE,
    pool::{self, Pool},
    simd::{Isa, vectorised},
};

/// Positions that enter the matrices together; a part of the numeric specification, as is the order of sums here.
pub const CHUNK: usize = 64;

/// The most copies of the matrices, and the bytes that they may take if more than two are kept.
const CHECKPOINTS: usize = 8;
const CHECKPOINT_BYTES: usize = 256 << 20;

/// The state of one run of a retention block.
#[derive(Clone, Debug, PartialEq)]
pub struct RecurrentShape {
    /// Width of a head's queries and keys.
    pub key_dim: usize,
    /// Width of a head's values.
    pub value_dim: usize,
    /// γ of each head: what a step multiplies the state by.
    pub decays: Vec<f32>,
}

impl RecurrentShape {
    fn heads(&self) -> usize {
        self.decays.len()
    }

    /// Values of a head with padding.
    pub fn padded(&self) -> usize {
        self.value_dim.next_multiple_of(TILE)
    }

    fn matrix_len(&self) -> usize {
        self.heads() * self.key_dim * self.padded()
    }

    /// Bytes of a state.
    pub fn bytes(&self) -> usize {
        4 * (self.matrix_len() + self.heads() * CHUNK * (self.key_dim + self.padded()))
    }
}

/// What one run keeps.
struct State {
    shape: RecurrentShape,
    /// γ⁰, γ¹, …, γ^CHUNK of each head.
    powers: Vec<f32>,
    matrix: Vec<f32>,
    keys: Vec<f32>,
    values: Vec<f32>,
}

/// What one head keeps.
#[derive(Clone, Copy)]
pub struct HeadState<'a> {
    /// γ of the head to the power of 0, 1, …, [`CHUNK`].
    pub powers: &'a [f32],
    /// `(value_dim / TILE, key_dim, TILE)`.
    pub matrix: &'a [f32],
    /// `(CHUNK, key_dim)`.
    pub keys: &'a [f32],
    /// `(value_dim / TILE, CHUNK, TILE)`.
    pub values: &'a [f32],
}

/// A copy of all matrices at the beginning of a chunk.
struct Checkpoint {
    /// 0: of nothing yet.
    position: usize,
    matrices: Vec<Vec<f32>>,
}

/// The states of one sequence.
pub struct RecurrentStates {
    /// One for each state of the model's program; none for those of attention.
    states: Vec<Option<State>>,
    /// The first position of the current chunk.
    start: usize,
    len: usize,
    /// By the number of their chunk: those of odd ones, of odd multiples of 2, of 4, ….
    checkpoints: Vec<Checkpoint>,
}

impl RecurrentStates {
    /// States of no token yet.
    pub fn new(shapes: Vec<Option<RecurrentShape>>) -> Self {
        let state = |shape: RecurrentShape| {
            let powers = shape
                .decays
                .iter()
                .flat_map(|&decay| (0..=CHUNK).map(move |i| libm::pow(f64::from(decay), i as f64) as f32));
            let (powers, matrix, keys, values) = (powers.collect(), Vec::new(), Vec::new(), Vec::new());
            State { shape, powers, matrix, keys, values }
        };
        let states = shapes.into_iter().map(|shape| shape.map(state)).collect();
        Self { states, start: 0, len: 0, checkpoints: Vec::new() }
    }

    /// Whether there are none: nothing is to be counted or kept.
    fn is_empty(&self) -> bool {
        self.states.iter().all(Option::is_none)
    }

    fn all(&self) -> impl Iterator<Item = &State> {
        self.states.iter().flatten()
    }

    /// Bytes of all states, copies included; they do not depend on the number of tokens.
    pub fn bytes(&self) -> usize {
        let values = |state: &State| state.matrix.len() + state.keys.len() + state.values.len();
        let copies = self.checkpoints.len() * self.all().map(|state| state.matrix.len()).sum::<usize>();
        4 * (self.all().map(values).sum::<usize>() + copies)
    }

    /// Bytes of the states alone: what a token reads.
    pub fn live_bytes(&self) -> usize {
        self.all().map(|state| state.shape.bytes()).sum()
    }

    /// How many of the next positions may be computed together.
    pub fn room(&self) -> usize {
        if self.is_empty() { usize::MAX } else { CHUNK - (self.len - self.start) % CHUNK }
    }

    /// Allocates everything, the first time.
    ///
    /// # Errors
    /// `out-of-memory`.
    pub fn reserve(&mut self) -> Result<()> {
        if !self.checkpoints.is_empty() || self.is_empty() {
            return Ok(());
        }
        let mut bytes = 0;
        for state in self.states.iter_mut().flatten() {
            let shape = &state.shape;
            let (keys, values) =
                (shape.heads() * CHUNK * shape.key_dim, shape.heads() * CHUNK * shape.padded());
            for (buffer, len) in [
                (&mut state.matrix, shape.matrix_len()),
                (&mut state.keys, keys),
                (&mut state.values, values),
            ] {
                buffer.try_reserve_exact(len.saturating_sub(buffer.len()))?;
                buffer.resize(len, 0.0);
            }
            bytes += 4 * state.matrix.len();
        }
        let count = (CHECKPOINT_BYTES / bytes.max(1)).clamp(2, CHECKPOINTS);
        let mut checkpoints = Vec::new();
        checkpoints.try_reserve_exact(count)?;
        for _ in 0..count {
            let mut matrices = Vec::new();
            for state in self.all() {
                let mut matrix = Vec::new();
                matrix.try_reserve_exact(state.matrix.len())?;
                matrices.push(matrix);
            }
            checkpoints.push(Checkpoint { position: 0, matrices });
        }
        self.checkpoints = checkpoints;
        Ok(())
    }

    /// Begins a new chunk if the current one is full: its keys and values enter the matrices.
    pub fn begin(&mut self, isa: Isa, pool: &dyn Pool) {
        if self.len - self.start < CHUNK {
            return;
        }
        self.keep();
        for state in self.states.iter_mut().flatten() {
            let State { shape, powers, matrix, keys, values } = state;
            let (key_dim, padded) = (shape.key_dim, shape.padded());
            pool::chunks(pool, matrix, key_dim * padded, &|head, matrix| {
                let keys = &keys[head * CHUNK * key_dim..][..CHUNK * key_dim];
                let values = &values[head * CHUNK * padded..][..CHUNK * padded];
                let powers = &powers[head * (CHUNK + 1)..][..CHUNK + 1];
                vectorised(
                    isa,
                    #[inline(always)]
                    || absorb(matrix, keys, values, powers),
                );
            });
        }
        self.start += CHUNK;
    }

    /// Copies the matrices, which are of the current chunk's beginning.
    fn keep(&mut self) {
        let chunk = self.start / CHUNK;
        // Those of position 0 are zero.
        if chunk == 0 {
            return;
        }
        let place = (chunk.trailing_zeros() as usize).min(self.checkpoints.len() - 1);
        let checkpoint = &mut self.checkpoints[place];
        checkpoint.position = self.start;
        for (copy, state) in checkpoint.matrices.iter_mut().zip(self.states.iter().flatten()) {
            copy.clear();
            copy.extend_from_slice(&state.matrix);
        }
    }

    /// Writes the key and value (heads · dim) of `position`, in the current chunk.
    ///
    /// # Errors
    /// `bad-data` for NaN, of a model gone wrong: it would stay in the matrices.
    pub fn write(&mut self, state: usize, position: usize, key: &[f32], value: &[f32]) -> Result<()> {
        if key.iter().chain(value).any(|x| x.is_nan()) {
            bail!(BadData, "the retention's keys or values at position {position} are not numbers");
        }
        let at = position - self.start;
        let Some(State { shape, keys, values, .. }) = &mut self.states[state] else { return Ok(()) };
        let (key_dim, value_dim, padded) = (shape.key_dim, shape.value_dim, shape.padded());
        for (keys, key) in keys.chunks_exact_mut(CHUNK * key_dim).zip(key.chunks_exact(key_dim)) {
            keys[at * key_dim..][..key_dim].copy_from_slice(key);
        }
        for (values, value) in values.chunks_exact_mut(CHUNK * padded).zip(value.chunks_exact(value_dim)) {
            for (tile, value) in values.chunks_exact_mut(CHUNK * TILE).zip(value.chunks(TILE)) {
                tile[at * TILE..][..value.len()].copy_from_slice(value);
            }
        }
        Ok(())
    }

    /// The first position of the current chunk.
    pub fn start(&self) -> usize {
        self.start
    }

    /// What a head of a state keeps; none for a state of attention.
    pub fn head(&self, state: usize, head: usize) -> Option<HeadState<'_>> {
        let State { shape, powers, matrix, keys, values } = self.states[state].as_ref()?;
        let (key_dim, padded) = (shape.key_dim, shape.padded());
        Some(HeadState {
            powers: &powers[head * (CHUNK + 1)..][..CHUNK + 1],
            matrix: &matrix[head * key_dim * padded..][..key_dim * padded],
            keys: &keys[head * CHUNK * key_dim..][..CHUNK * key_dim],
            values: &values[head * CHUNK * padded..][..CHUNK * padded],
        })
    }

    /// Counts `n` written positions as past.
    pub fn advance(&mut self, n: usize) {
        if !self.is_empty() {
            self.len += n;
        }
    }

    /// Forgets the positions from `position` on, and as many before as it must; returns how many are left.
    pub fn rewind(&mut self, position: usize) -> usize {
        if self.is_empty() || position >= self.len {
            return position;
        }
        self.len = position;
        if position < self.start {
            self.restore(position);
            self.len = self.start;
        }
        self.len
    }

    /// Makes the latest chunk's beginning up to `position` of which there is a copy the current one.
    fn restore(&mut self, position: usize) {
        for checkpoint in &mut self.checkpoints {
            // The text goes another way from here on.
            if checkpoint.position > position {
                checkpoint.position = 0;
            }
        }
        let latest = self.checkpoints.iter().max_by_key(|checkpoint| checkpoint.position);
        let latest = latest.filter(|checkpoint| checkpoint.position > 0);
        self.start = latest.map_or(0, |checkpoint| checkpoint.position);
        for (i, state) in self.states.iter_mut().flatten().enumerate() {
            match latest {
                Some(checkpoint) => state.matrix.copy_from_slice(&checkpoint.matrices[i]),
                None => state.matrix.fill(0.0),
            }
        }
    }
}

/// `S ← γ^CHUNK · S + Σ γ^(CHUNK − 1 − j) · kⱼ vⱼᵀ`, of one head; positions in order.
#[inline(always)]
fn absorb(matrix: &mut [f32], keys: &[f32], values: &[f32], powers: &[f32]) {
    let key_dim = keys.len() / CHUNK;
    for (matrix, values) in matrix.chunks_exact_mut(key_dim * TILE).zip(values.chunks_exact(CHUNK * TILE)) {
        for (d, row) in matrix.as_chunks_mut::<TILE>().0.iter_mut().enumerate() {
            let mut sums = row.map(|x| x * powers[CHUNK]);
            for (j, value) in values.as_chunks::<TILE>().0.iter().enumerate() {
                let key = keys[j * key_dim + d] * powers[CHUNK - 1 - j];
                for (sum, value) in sums.iter_mut().zip(value) {
                    *sum += key * value;
                }
            }
            *row = sums;
        }
    }
}
