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
        if pressed() {
            std::process::exit(130);
        }
    });
}

/// Notes a Ctrl-C; true if it ends the program.
fn pressed() -> bool {
    ASKED.swap(true, Ordering::SeqCst) && !PATIENT.load(Ordering::SeqCst)
}

/// Whether Ctrl-C was pressed and not yet forgotten.
pub fn asked() -> bool {
    ASKED.load(Ordering::SeqCst)
}

/// Fails once Ctrl-C was pressed.
pub fn check() -> Result<()> {
    if asked() { Err(Failure::interrupted()) } else { Ok(()) }
}

/// Runs `f`, during which no number of Ctrl-C ends the program: a chat must survive an impatient user.
/// Starts with none, and forgets them all before it loses patience: one that came too late to stop `f`
/// neither stops what comes next nor makes the next Ctrl-C the second.
pub fn patiently<T>(f: impl FnOnce() -> T) -> T {
    PATIENT.store(true, Ordering::SeqCst);
    ASKED.store(false, Ordering::SeqCst);
    let result = f();
    ASKED.store(false, Ordering::SeqCst);
    PATIENT.store(false, Ordering::SeqCst);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_ends_the_program_but_not_while_patient() {
        assert!(!pressed());
        patiently(|| {
            assert!(!asked(), "one from before stops nothing");
            assert!(!pressed() && !pressed() && !pressed());
            assert!(asked());
        });
        assert!(!asked(), "forgotten");
        assert!(!pressed(), "the first again");
        assert!(pressed());
    }
}
