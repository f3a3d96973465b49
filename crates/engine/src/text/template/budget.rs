//! What a rendering may cost.
//!
//! A chat template is a program from a model file. Every step, every byte that a filter or an operator reads
//! or writes, and every byte that its variables hold is charged here, so that no template runs for longer than
//! a page can wait or holds more memory than a conversation has. Invariant: memory is charged before it is
//! allocated.

use std::{cell::Cell, rc::Rc};

use super::{Failure, failure};

/// Steps of one rendering. The longest of the well-known templates need some hundred for a message; all of
/// them together take about 0.2 s in a browser.
const STEPS: u64 = 2_000_000;
/// Bytes that are read or written in the time of a step.
const BYTES_PER_STEP: u64 = 64;
/// Bytes that a template's variables hold at one time, what the caller passed in not counted.
const MAX_HELD: usize = 16 << 20;

/// Counts what a rendering has used.
#[derive(Debug)]
pub(super) struct Budget {
    /// What is left, in bytes read or written.
    work: Cell<u64>,
    held: Cell<usize>,
}

impl Budget {
    pub fn new() -> Rc<Self> {
        Rc::new(Self { work: Cell::new(STEPS * BYTES_PER_STEP), held: Cell::new(0) })
    }

    /// # Errors
    /// When the rendering takes too long.
    pub fn steps(&self, steps: usize) -> Result<(), Failure> {
        self.work((steps as u64).saturating_mul(BYTES_PER_STEP))
    }

    /// Charges the work of reading or writing `bytes`.
    ///
    /// # Errors
    /// As [`Budget::steps`].
    pub fn bytes(&self, bytes: usize) -> Result<(), Failure> {
        self.work(bytes as u64)
    }

    fn work(&self, work: u64) -> Result<(), Failure> {
        let left = self.work.get().checked_sub(work);
        self.work.set(left.unwrap_or(0));
        left.map(|_| ()).ok_or_else(|| failure(format!("it takes too long: more than {STEPS} steps")))
    }

    /// Charges memory that is given back when the result is dropped.
    ///
    /// # Errors
    /// When the variables hold too much.
    pub fn hold(self: &Rc<Self>, bytes: usize) -> Result<Held, Failure> {
        let mut held = Held { budget: Some(Rc::clone(self)), bytes: 0 };
        held.grow(bytes)?;
        Ok(held)
    }
}

/// Memory charged to a budget.
#[derive(Debug, Default)]
pub(super) struct Held {
    budget: Option<Rc<Budget>>,
    bytes: usize,
}

impl Held {
    /// Charges `more` bytes.
    ///
    /// # Errors
    /// As [`Budget::hold`].
    pub fn grow(&mut self, more: usize) -> Result<(), Failure> {
        let Some(budget) = &self.budget else { return Ok(()) };
        let held = budget.held.get().saturating_add(more);
        if held > MAX_HELD {
            return Err(failure(format!("its variables need more than {MAX_HELD} bytes")));
        }
        budget.held.set(held);
        self.bytes += more;
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(budget) = &self.budget {
            budget.held.set(budget.held.get() - self.bytes);
        }
    }
}
