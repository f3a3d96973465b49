//! The pool of this instance, for JavaScript to fill with workers.
//!
//! Only the `threads` flavour has shared memory; in the others no pool is started, and the one thread there is
//! does all the work.

use std::sync::{Arc, OnceLock};

use ternlight_core::pool::Pool;
use ternlight_engine::EngineOptions;
use wasm_bindgen::prelude::*;

use crate::{
    error::to_js_error,
    pool::WorkerPool,
    wire::{Js, engine_options},
};

static POOL: OnceLock<Arc<WorkerPool>> = OnceLock::new();

/// The pool that engines of this instance compute with.
pub fn pool() -> Arc<dyn Pool> {
    match POOL.get() {
        Some(pool) => pool.clone(),
        None => Arc::new(WorkerPool::new(1)),
    }
}

/// Starts the pool, once, for the threads that `options` ask for, or else `available` ones. Returns how many
/// workers are to call `joinPool`: one less, since this thread computes too.
///
/// # Errors
/// `bad-option`.
#[wasm_bindgen(js_name = startPool)]
pub fn start_pool(options: &Js<EngineOptions>, available: usize) -> Result<usize, JsValue> {
    let options = engine_options(options).map_err(to_js_error)?;
    if !cfg!(target_feature = "atomics") {
        return Ok(0);
    }
    let width = match options.threads {
        0 => available.clamp(1, EngineOptions::MAX_THREADS),
        width => width,
    };
    Ok(POOL.get_or_init(|| Arc::new(WorkerPool::new(width))).width() - 1)
}

/// Works for the pool. Returns only when it is broken up.
#[wasm_bindgen(js_name = joinPool)]
pub fn join_pool() {
    if let Some(pool) = POOL.get() {
        pool.work();
    }
}

/// Ends the pool: a thread has trapped. Whoever waits for it traps in turn.
#[wasm_bindgen(js_name = breakPool)]
pub fn break_pool() {
    if let Some(pool) = POOL.get() {
        pool.break_up();
    }
}
