//! The crew of this instance, for JavaScript to fill with workers.
//!
//! Only the `threads` flavour has shared memory; in the others nobody opens a crew, and all is done by the
//! one thread there is.

use std::sync::{Arc, OnceLock};

use ternlight_core::pool::Pool;
use wasm_bindgen::prelude::*;

use crate::pool::Crew;

static CREW: OnceLock<Arc<Crew>> = OnceLock::new();

/// The pool that engines of this instance compute with.
pub fn pool() -> Arc<dyn Pool> {
    match CREW.get() {
        Some(crew) => crew.clone(),
        None => Arc::new(Crew::new(1)),
    }
}

/// Opens the crew, once, for `width` threads in all; `width - 1` workers are to call `joinCrew`.
#[wasm_bindgen(js_name = openCrew)]
pub fn open_crew(width: usize) {
    if cfg!(target_feature = "atomics") {
        CREW.get_or_init(|| Arc::new(Crew::new(width)));
    }
}

/// Works for the crew. Returns only when it is broken up.
#[wasm_bindgen(js_name = joinCrew)]
pub fn join_crew() {
    if let Some(crew) = CREW.get() {
        crew.work();
    }
}

/// Ends the crew: a thread has trapped. Whoever waits for it traps in turn.
#[wasm_bindgen(js_name = breakCrew)]
pub fn break_crew() {
    if let Some(crew) = CREW.get() {
        crew.break_up();
    }
}
