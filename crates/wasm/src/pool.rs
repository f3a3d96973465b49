//! The threads of a browser: workers that share this instance's memory.
//!
//! JavaScript starts them; each calls [`WorkerPool::work`] and never comes back while the page lives. A job is one
//! 64-bit word (generation, tasks, next task): whoever raises `next` owns that task. A worker that the
//! system has put aside therefore holds up nobody, as it owns nothing, and a job is over when as many tasks
//! are done as there were. Idle workers spin for a moment, because the next job of a token is microseconds
//! away, then sleep.
//!
//! Invariant: the function of a job is called only between its publication and the end of `run`.
#![allow(unsafe_code)]

use std::{
    cell::UnsafeCell,
    hint::spin_loop,
    sync::{
        Condvar, Mutex,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::*},
    },
};

use ternlight_core::{
    pool::Pool,
    tune::{Choice, Forced, Plan, Product},
};
use ternlight_engine::Measured;

/// A task function, its lifetime forgotten.
type Task = *const (dyn Fn(usize) + Sync);

/// What is done beside the tasks.
type Job = Box<dyn FnOnce() + Send>;

/// Looks for work this many times before sleeping; waking takes about 20 µs, a look some 10 ns.
const SPINS: u32 = 10_000;
/// Tasks of one job: the word has 16 bits for them.
const MOST_TASKS: usize = u16::MAX as usize;

/// A pool whose threads come from outside and call [`WorkerPool::work`].
pub struct WorkerPool {
    width: usize,
    /// generation << 32 | tasks << 16 | next
    word: AtomicU64,
    task: UnsafeCell<Option<Task>>,
    done: AtomicUsize,
    /// What [`Pool::spawn`] was given and nobody has begun; the flag says whether to look.
    spawned: Mutex<Option<Job>>,
    has_spawned: AtomicBool,
    sleepers: AtomicU32,
    broken: AtomicBool,
    door: Mutex<()>,
    bell: Condvar,
    measured: Measured,
}

// SAFETY: `task` is written only by the thread inside `run` (of which there is one at a time, see there),
// before `word` is published with release, and read only by threads that raised `next` of that word.
unsafe impl Sync for WorkerPool {}
// SAFETY: as above; nothing in it belongs to a thread.
unsafe impl Send for WorkerPool {}

fn pack(generation: u64, tasks: usize, next: usize) -> u64 {
    generation << 32 | (tasks as u64) << 16 | next as u64
}

fn open(word: u64) -> bool {
    (word & 0xffff) < (word >> 16 & 0xffff)
}

impl WorkerPool {
    /// A pool of `width` threads, the caller of `run` included; the others are to call [`WorkerPool::work`].
    pub fn new(width: usize) -> Self {
        Self {
            width: width.max(1),
            word: AtomicU64::new(0),
            task: UnsafeCell::new(None),
            done: AtomicUsize::new(0),
            spawned: Mutex::new(None),
            has_spawned: AtomicBool::new(false),
            sleepers: AtomicU32::new(0),
            broken: AtomicBool::new(false),
            door: Mutex::new(()),
            bell: Condvar::new(),
            measured: Measured::default(),
        }
    }

    /// Works on jobs until the pool is broken up.
    pub fn work(&self) {
        let mut idle = 0;
        while !self.broken.load(Relaxed) {
            if self.step() || self.do_spawned() {
                idle = 0;
            } else if idle < SPINS {
                idle += 1;
                spin_loop();
            } else {
                self.sleep();
                idle = 0;
            }
        }
    }

    /// Ends all work: called when a thread has trapped, so that nobody waits for it.
    pub fn break_up(&self) {
        self.broken.store(true, SeqCst);
        let _door = self.door.lock();
        self.bell.notify_all();
    }

    /// Does one task if there is one.
    fn step(&self) -> bool {
        let word = self.word.load(Acquire);
        if !open(word) || self.word.compare_exchange_weak(word, word + 1, AcqRel, Relaxed).is_err() {
            return open(word);
        }
        // SAFETY: this thread owns a task of the current job, so `run` waits for it: `task` is not written,
        // and the function that it points to is alive.
        unsafe {
            if let Some(task) = *self.task.get() {
                (*task)((word & 0xffff) as usize);
            }
        }
        self.done.fetch_add(1, Release);
        true
    }

    /// Does the spawned job if there is one. Meanwhile this thread owns no task.
    fn do_spawned(&self) -> bool {
        if !self.has_spawned.load(Relaxed) {
            return false;
        }
        let job = self.spawned.lock().ok().and_then(|mut spawned| {
            self.has_spawned.store(false, SeqCst);
            spawned.take()
        });
        job.map(|job| job()).is_some()
    }

    fn sleep(&self) {
        let Ok(mut door) = self.door.lock() else { return };
        // Counted before the last look at the word: whoever publishes after that look sees the count.
        self.sleepers.fetch_add(1, SeqCst);
        while !open(self.word.load(SeqCst)) && !self.has_spawned.load(SeqCst) && !self.broken.load(SeqCst) {
            match self.bell.wait(door) {
                Ok(held) => door = held,
                Err(_) => break,
            }
        }
        self.sleepers.fetch_sub(1, SeqCst);
    }

    /// Wakes those who sleep, after work was published.
    fn wake(&self) {
        if self.sleepers.load(SeqCst) > 0 {
            let _door = self.door.lock();
            self.bell.notify_all();
        }
    }

    fn run_some(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        // SAFETY: only the lifetime is changed; the pointer is not used after this function returns, which it
        // does when all tasks are done.
        let forgotten = unsafe { core::mem::transmute::<*const (dyn Fn(usize) + Sync + '_), Task>(task) };
        // SAFETY: the last job is over (all its tasks were done), so nobody reads.
        unsafe { *self.task.get() = Some(forgotten) };
        self.done.store(0, Relaxed);
        let generation = (self.word.load(Relaxed) >> 32).wrapping_add(1) & 0xffff_ffff;
        self.word.store(pack(generation, tasks, 0), SeqCst);
        self.wake();
        while self.step() {}
        while self.done.load(Acquire) < tasks {
            assert!(!self.broken.load(Relaxed), "a thread has trapped");
            spin_loop();
        }
    }
}

impl Pool for WorkerPool {
    fn width(&self) -> usize {
        self.width
    }

    /// Called by one thread at a time: the one that owns the engine.
    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        if self.width == 1 || tasks <= 1 {
            return (0..tasks).for_each(task);
        }
        for first in (0..tasks).step_by(MOST_TASKS) {
            self.run_some(MOST_TASKS.min(tasks - first), &|i| task(first + i));
        }
    }

    /// One at a time: a job that nobody has begun makes way for a new one.
    fn spawn(&self, job: Job) {
        if self.width > 1
            && let Ok(mut spawned) = self.spawned.lock()
        {
            *spawned = Some(job);
            self.has_spawned.store(true, SeqCst);
            drop(spawned);
            self.wake();
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

    fn is_broken(&self) -> bool {
        self.broken.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, thread, time::Duration};

    use super::*;

    fn pool(width: usize) -> (Arc<WorkerPool>, Vec<thread::JoinHandle<()>>) {
        let pool = Arc::new(WorkerPool::new(width));
        let threads = (1..width).map(|_| {
            let pool = pool.clone();
            thread::spawn(move || pool.work())
        });
        (pool.clone(), threads.collect())
    }

    #[test]
    fn every_task_runs_once() {
        for width in [1, 2, 3, 8] {
            let (pool, threads) = pool(width);
            for tasks in [0, 1, 2, 3, 7, 64, 1000, MOST_TASKS + 3] {
                let counts: Vec<AtomicU32> = (0..tasks).map(|_| AtomicU32::new(0)).collect();
                pool.run(tasks, &|i| {
                    counts[i].fetch_add(1, Relaxed);
                });
                assert!(
                    counts.iter().all(|count| count.load(Relaxed) == 1),
                    "{tasks} tasks, {width} threads"
                );
            }
            pool.break_up();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        }
    }

    #[test]
    fn a_spawned_job_runs_beside_the_others() {
        let (pool, threads) = pool(3);
        for pause in [0, 30] {
            thread::sleep(Duration::from_millis(pause)); // asleep or not
            let (done, when_done) = std::sync::mpsc::channel();
            let (go, wait) = std::sync::mpsc::channel::<()>();
            pool.spawn(Box::new(move || {
                wait.recv().unwrap();
                done.send(thread::current().id()).unwrap();
            }));
            let sum = AtomicU64::new(0);
            for _ in 0..1000 {
                pool.run(5, &|i| {
                    sum.fetch_add(i as u64, Relaxed);
                });
            }
            assert_eq!(sum.load(Relaxed), 10_000);
            go.send(()).unwrap();
            assert_ne!(when_done.recv().unwrap(), thread::current().id());
        }
        pool.break_up();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }

    #[test]
    fn many_small_jobs_and_long_pauses() {
        let (pool, threads) = pool(4);
        let sum = AtomicU64::new(0);
        for job in 0..20_000 {
            if job % 5000 == 0 {
                thread::sleep(Duration::from_millis(30)); // long enough for all to fall asleep
            }
            pool.run(5, &|i| {
                sum.fetch_add(i as u64, Relaxed);
            });
        }
        assert_eq!(sum.load(Relaxed), 20_000 * 10);
        pool.break_up();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}
