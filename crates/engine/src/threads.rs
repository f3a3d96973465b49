//! The native [`Pool`]: threads that spin for a moment between jobs and then sleep.
//!
//! A token is some hundred jobs of tens to hundreds of microseconds, one right after the other; waking
//! a sleeping thread for each would cost as much as the work. So a worker looks for the next job for
//! [`SPIN`] before it parks, and an idle engine keeps no core busy.
//!
//! Invariant: `run` returns only when no worker is inside the job, so the closure it borrows outlives
//! every use. [`Gate`] is what proves it: a worker touches the job only between entering and leaving.

use std::{
    cell::UnsafeCell,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use ternlight_core::{
    pool::Pool,
    tune::{Choice, Forced, Plan, Product},
};

use crate::Measured;

/// How long a worker looks for the next job before it sleeps: longer than the serial parts of a forward
/// pass, far shorter than anyone notices as load.
const SPIN: Duration = Duration::from_micros(100);

/// Threads that share the tasks of a job with the caller.
pub struct Threads {
    shared: Arc<Shared>,
    /// Held during a job; a second caller (or a task that calls `run`) works alone.
    busy: Mutex<()>,
    workers: Vec<JoinHandle<()>>,
    measured: Measured,
}

struct Shared {
    gate: Gate,
    job: UnsafeCell<Job>,
    next: AtomicUsize,
    panicked: Mutex<Option<Box<dyn std::any::Any + Send>>>,
    asleep: Vec<AtomicBool>,
    stop: AtomicBool,
}

#[derive(Clone, Copy)]
struct Job {
    tasks: usize,
    f: *const (dyn Fn(usize) + Sync),
}

// SAFETY: `job` is written only by the thread that holds `busy` while the gate is closed and empty, and
// read only between entering and leaving the gate, which the writer waits for. The pointer in it is to a
// `Sync` closure, so several threads may call it.
unsafe impl Send for Shared {}
// SAFETY: as above; the other fields are atomics and a mutex.
unsafe impl Sync for Shared {}

/// Whether a job is open, its number, and how many workers are inside, in one word.
///
/// Low 16 bits: workers inside. Bit 16: open. Above: the job's number.
struct Gate(AtomicU64);

const OPEN: u64 = 1 << 16;
const INSIDE: u64 = OPEN - 1;

impl Gate {
    fn open(&self) {
        let number = (self.0.load(SeqCst) >> 17).wrapping_add(1);
        self.0.store((number << 17) | OPEN, SeqCst);
    }

    /// Lets nobody in any more and waits until everybody is out.
    fn close(&self) {
        self.0.fetch_and(!OPEN, SeqCst);
        let mut spins = 0u32;
        while self.0.load(SeqCst) & INSIDE != 0 {
            // On a machine with more threads than cores the last worker may not be running.
            spins += 1;
            if spins < 2000 { std::hint::spin_loop() } else { thread::yield_now() }
        }
    }

    /// Whether there is a job that is not number `seen`.
    fn has_news(&self, seen: u64) -> bool {
        let state = self.0.load(SeqCst);
        state & OPEN != 0 && state >> 17 != seen
    }

    /// Enters a job that is not number `seen`; returns its number.
    fn enter(&self, seen: u64) -> Option<u64> {
        let mut state = self.0.load(SeqCst);
        loop {
            if state & OPEN == 0 || state >> 17 == seen {
                return None;
            }
            match self.0.compare_exchange_weak(state, state + 1, SeqCst, SeqCst) {
                Ok(_) => return Some(state >> 17),
                Err(now) => state = now,
            }
        }
    }

    fn leave(&self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

impl Threads {
    /// A pool of `width` threads, the caller's among them; 0: as many as the machine runs at once.
    /// Threads that the system refuses are done without.
    pub fn new(width: usize) -> Self {
        let all = thread::available_parallelism().map_or(1, usize::from);
        let width = if width == 0 { all } else { width }.clamp(1, 1024);
        let shared = Arc::new(Shared {
            gate: Gate(AtomicU64::new(0)),
            job: UnsafeCell::new(Job { tasks: 0, f: &|_| {} }),
            next: AtomicUsize::new(0),
            panicked: Mutex::new(None),
            asleep: (1..width).map(|_| AtomicBool::new(false)).collect(),
            stop: AtomicBool::new(false),
        });
        let spawn = |index: usize| {
            let shared = Arc::clone(&shared);
            thread::Builder::new().name(format!("ternlight-{}", index + 1)).spawn(move || shared.work(index))
        };
        let workers = (0..width - 1).map_while(|index| spawn(index).ok()).collect();
        Self { shared, busy: Mutex::new(()), workers, measured: Measured::default() }
    }
}

impl Pool for Threads {
    fn width(&self) -> usize {
        self.workers.len() + 1
    }

    fn run(&self, tasks: usize, f: &(dyn Fn(usize) + Sync)) {
        let shared = &*self.shared;
        let alone = tasks < 2 || self.workers.is_empty();
        let Some(_busy) = (if alone { None } else { self.busy.try_lock().ok() }) else {
            return (0..tasks).for_each(f);
        };
        // SAFETY: only the lifetime changes; the pointer is not used after `close` below, and `f` lives
        // until this function returns.
        let f = unsafe {
            std::mem::transmute::<*const (dyn Fn(usize) + Sync + '_), *const (dyn Fn(usize) + Sync + 'static)>(
                f,
            )
        };
        // SAFETY: `busy` is held and the gate is closed and empty (initially, and after each `close`), so
        // nobody else reads or writes the job.
        unsafe { *shared.job.get() = Job { tasks, f } };
        shared.next.store(0, SeqCst);
        shared.gate.open();
        for (asleep, worker) in shared.asleep.iter().zip(&self.workers) {
            if asleep.swap(false, SeqCst) {
                worker.thread().unpark();
            }
        }
        // SAFETY: the job was written above by this thread and changes only after `close`.
        unsafe { shared.take_tasks() };
        shared.gate.close();
        let panicked = shared.panicked.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(panic) = panicked {
            drop(_busy);
            resume_unwind(panic);
        }
    }

    fn tuned(&self, product: &Product, run: &mut dyn FnMut(&Plan)) {
        self.measured.run(product, run);
    }

    fn force(&self, forced: Forced) {
        self.measured.force(forced);
    }

    fn choices(&self) -> Vec<Choice> {
        self.measured.choices()
    }

    /// On a thread of its own, so that the others stay awake for `run`.
    fn spawn(&self, job: Box<dyn FnOnce() + Send>) {
        if !self.workers.is_empty() {
            // A thread that the system refuses drops the job.
            let _ = thread::Builder::new().name("ternlight-spawned".into()).spawn(job);
        }
    }
}

impl Shared {
    fn work(&self, index: usize) {
        let mut seen = 0;
        loop {
            let since = Instant::now();
            let mut looks = 0u32;
            while !self.gate.has_news(seen) {
                if self.stop.load(SeqCst) {
                    return;
                }
                looks = looks.wrapping_add(1);
                // The clock is looked at seldom, it costs more than the gate.
                if looks.is_multiple_of(64) && since.elapsed() > SPIN {
                    self.sleep(index, seen);
                }
                std::hint::spin_loop();
            }
            if let Some(number) = self.gate.enter(seen) {
                seen = number;
                // SAFETY: inside the gate, so the job is published and stays until `leave`.
                unsafe { self.take_tasks() };
                self.gate.leave();
            }
        }
    }

    /// Parks until there is a job (or for no reason: the caller looks again).
    fn sleep(&self, index: usize, seen: u64) {
        self.asleep[index].store(true, SeqCst);
        // A job opened before the line above was not told to wake this thread.
        if !self.gate.has_news(seen) && !self.stop.load(SeqCst) {
            thread::park();
        }
        self.asleep[index].store(false, SeqCst);
    }

    /// Runs tasks until none is left.
    ///
    /// # Safety
    /// The job must be published and must not change meanwhile.
    unsafe fn take_tasks(&self) {
        // SAFETY: promised by the caller.
        let job = unsafe { *self.job.get() };
        // SAFETY: promised by the caller; `run` keeps the closure alive until every thread has left.
        let f = unsafe { &*job.f };
        loop {
            let task = self.next.fetch_add(1, SeqCst);
            if task >= job.tasks {
                return;
            }
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| f(task))) {
                *self.panicked.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(panic);
            }
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.shared.stop.store(true, SeqCst);
        for worker in self.workers.drain(..) {
            worker.thread().unpark();
            // A worker does not panic: tasks are caught.
            let _ = worker.join();
        }
    }
}

impl std::fmt::Debug for Threads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Threads").field("width", &self.width()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_task_once_for_any_width() {
        for width in [1, 2, 3, 8] {
            let pool = Threads::new(width);
            assert_eq!(pool.width(), width);
            for round in 0..2000usize {
                let tasks = round % 17;
                let counts: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
                pool.run(tasks, &|i| {
                    counts[i].fetch_add(1, SeqCst);
                });
                assert!(counts.iter().all(|c| c.load(SeqCst) == 1), "width {width}, {tasks} tasks");
                if round % 500 == 0 {
                    // Long enough for the workers to fall asleep.
                    thread::sleep(SPIN * 5);
                }
            }
        }
    }

    #[test]
    fn callers_at_once_and_nested_calls_do_not_block() {
        let pool = Threads::new(3);
        let total = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        pool.run(4, &|_| pool.run(2, &|_| _ = total.fetch_add(1, SeqCst)));
                    }
                });
            }
        });
        assert_eq!(total.load(SeqCst), 3 * 200 * 4 * 2);
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
        let pool = Threads::new(2);
        let caught = catch_unwind(AssertUnwindSafe(|| pool.run(8, &|i| assert_ne!(i, 5, "task five"))));
        assert!(caught.is_err());
        let done = AtomicUsize::new(0);
        pool.run(8, &|_| _ = done.fetch_add(1, SeqCst));
        assert_eq!(done.load(SeqCst), 8);
    }
}
