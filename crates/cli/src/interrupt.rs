//! Ctrl-C: the first one asks the running command to stop, a second one ends the program.
//!
//! Invariant: long loops ask [`check`] at least every tenth of a second.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::{Result, failure::Failure};

static ASKED: AtomicBool = AtomicBool::new(false);
static PATIENT: AtomicBool = AtomicBool::new(false);

/// Starts to listen. Where signals cannot be caught, Ctrl-C ends the program at once as usual.
pub fn install() {
    let _ = ctrlc::set_handler(|| {
        if ASKED.swap(true, Ordering::SeqCst) && !PATIENT.load(Ordering::SeqCst) {
            std::process::exit(130);
        }
    });
}

/// Whether Ctrl-C was pressed since the last [`take`].
pub fn asked() -> bool {
    ASKED.load(Ordering::SeqCst)
}

/// Like [`asked`], and forgets it: a chat goes on after an interrupted answer.
pub fn take() -> bool {
    ASKED.swap(false, Ordering::SeqCst)
}

/// Fails once Ctrl-C was pressed.
pub fn check() -> Result<()> {
    if asked() { Err(Failure::interrupted()) } else { Ok(()) }
}

/// Runs `f`, during which no number of Ctrl-C ends the program: a chat must survive an impatient user.
pub fn patiently<T>(f: impl FnOnce() -> T) -> T {
    PATIENT.store(true, Ordering::SeqCst);
    let result = f();
    PATIENT.store(false, Ordering::SeqCst);
    result
}
