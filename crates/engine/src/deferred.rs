//! A value computed on another thread in the background, if there is one; else when it is asked for.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ternlight_core::pool::Pool;

/// Asked for with [`Deferred::get`], which makes it where nobody has begun.
pub(crate) struct Deferred<T>(Arc<Shared<T>>);

struct Shared<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

enum State<T> {
    Waiting(Box<dyn FnOnce() -> T + Send>),
    /// Being made, or `make` has panicked, or taken.
    Gone,
    Ready(T),
}

/// How often it is looked whether the thread that makes the value is still there.
const LOOK: Duration = Duration::from_millis(50);

impl<T: Send + 'static> Deferred<T> {
    /// Offers `make` to the threads of `pool`.
    pub(crate) fn new(pool: &dyn Pool, make: impl FnOnce() -> T + Send + 'static) -> Self {
        let state = Mutex::new(State::Waiting(Box::new(make)));
        let shared = Arc::new(Shared { state, changed: Condvar::new() });
        let job = shared.clone();
        pool.spawn(Box::new(move || job.make()));
        Self(shared)
    }

    /// The value.
    ///
    /// # Panics
    /// If making it did, on another thread.
    pub(crate) fn get(self, pool: &dyn Pool) -> T {
        self.0.make();
        let mut state = self.0.lock();
        loop {
            if let State::Ready(value) = std::mem::replace(&mut *state, State::Gone) {
                return value;
            }
            // The job holds the other reference until it has ended, in whatever way.
            assert!(
                Arc::strong_count(&self.0) > 1 && !pool.is_broken(),
                "the thread that made it has panicked"
            );
            state = self.0.changed.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the value, unless that has begun.
    fn make(&self) {
        let mut state = self.lock();
        if matches!(*state, State::Waiting(_))
            && let State::Waiting(make) = std::mem::replace(&mut *state, State::Gone)
        {
            drop(state);
            let value = make();
            *self.lock() = State::Ready(value);
            self.changed.notify_all();
        }
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        sync::mpsc::channel,
        thread,
    };

    use ternlight_core::pool::Serial;

    use super::*;
    use crate::threads::Threads;

    #[test]
    fn without_another_thread_the_caller_makes_it() {
        for pool in [&Serial as &dyn Pool, &Threads::new(1)] {
            let me = thread::current().id();
            assert!(Deferred::new(pool, move || thread::current().id() == me).get(pool));
        }
    }

    #[test]
    fn another_thread_makes_it_while_jobs_run() {
        let pool = Threads::new(2);
        let (started, start) = channel();
        let (go, wait) = channel::<()>();
        let deferred = Deferred::new(&pool, move || {
            started.send(thread::current().id()).unwrap();
            wait.recv().unwrap();
            7
        });
        assert_ne!(start.recv().unwrap(), thread::current().id());
        // It is held up, and holds up nobody.
        for _ in 0..100 {
            pool.run(4, &|_| ());
        }
        go.send(()).unwrap();
        assert_eq!(deferred.get(&pool), 7);
    }

    #[test]
    fn a_panic_reaches_the_one_who_asks() {
        let pool = Threads::new(2);
        let deferred: Deferred<()> = Deferred::new(&pool, || panic!("on purpose"));
        assert!(catch_unwind(AssertUnwindSafe(|| deferred.get(&pool))).is_err());
    }
}
