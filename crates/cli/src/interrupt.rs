//! Ctrl-C: the first one asks the running command to stop, a second one ends the program.
//!
//! Invariant: long loops ask [`check`] at least every tenth of a second.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::{Result, failure::Failure};

static ASKED: AtomicBool = AtomicBool::new(false);

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
    ASKED.swap(true, Ordering::SeqCst)
}

/// Whether Ctrl-C was pressed and not yet forgotten.
pub fn asked() -> bool {
    ASKED.load(Ordering::SeqCst)
}

/// Fails once Ctrl-C was pressed.
pub fn check() -> Result<()> {
    if asked() { Err(Failure::interrupted()) } else { Ok(()) }
}

/// Runs `f`, which a Ctrl-C ends. Starts with none, and forgets it in the end: one that came too late to stop
/// `f` neither stops what comes next nor makes the next Ctrl-C the second.
pub fn separately<T>(f: impl FnOnce() -> T) -> T {
    ASKED.store(false, Ordering::SeqCst);
    let result = f();
    ASKED.store(false, Ordering::SeqCst);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_always_ends_the_program() {
        assert!(!pressed());
        separately(|| {
            assert!(!asked(), "one from before stops nothing");
            assert!(!pressed());
            assert!(asked());
            assert!(pressed(), "while the first is not yet obeyed");
        });
        assert!(!asked(), "forgotten");
        assert!(!pressed(), "the first again");
        assert!(pressed());
    }
}
