//! The [`Tuner`] of a pool, with the clock and the lock that core does without.

use std::sync::{Mutex, PoisonError};

use ternlight_core::tune::{Choice, Forced, Plan, Product, Tuner};
use web_time::Instant;

/// A [`Tuner`] that several sessions share. See [`Pool::tuned`](ternlight_core::pool::Pool::tuned).
#[derive(Debug, Default)]
pub struct Measured(Mutex<Tuner>);

impl Measured {
    /// As [`Pool::tuned`](ternlight_core::pool::Pool::tuned).
    pub fn run(&self, product: &Product, run: &mut dyn FnMut(&Plan)) {
        let trial = self.lock().plan(product);
        if !trial.is_measured() {
            return run(&trial.plan);
        }
        let start = Instant::now();
        run(&trial.plan);
        self.lock().record(&trial, product, start.elapsed().as_secs_f64());
    }

    /// As [`Pool::force`](ternlight_core::pool::Pool::force).
    pub fn force(&self, forced: Forced) {
        self.lock().force(forced);
    }

    /// As [`Pool::choices`](ternlight_core::pool::Pool::choices).
    pub fn choices(&self) -> Vec<Choice> {
        self.lock().choices().collect()
    }

    /// The lock is held for moments, and nothing in them panics.
    fn lock(&self) -> std::sync::MutexGuard<'_, Tuner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
