//! Ctrl-C: the first one asks the running command to stop, a second one ends the program.
//!
//! Invariant: long loops ask [`check`] at least every tenth of a second.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::{Result, failure::Failure};

static ASKED: AtomicBool = AtomicBool::new(false);

/// Starts to listen. Where signals cannot be caught, Ctrl-C ends the program at once as usual.
pub fn install() {
    let _ = ctrlc::set_handler(|| {
        if ASKED.swap(true, Ordering::SeqCst) {
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
