//! Work split over threads: the [`Pool`] that hosts supply, and the one place that cuts an output
//! into disjoint parts.
//!
//! Invariant: tasks write disjoint memory and no result depends on which thread ran a task or on how
//! many there are; work is only ever split by output rows (or heads, or tokens).

use alloc::{boxed::Box, vec::Vec};
use core::{ops::Range, ptr::NonNull};

use crate::{
    tile::Tile,
    tune::{Choice, Forced, Plan, Product},
};

/// Threads, as the host sees fit: native threads, browser workers, or none.
pub trait Pool: Send + Sync {
    /// How many tasks can run at the same time (at least 1).
    fn width(&self) -> usize;

    /// Calls `f(0)`, …, `f(tasks - 1)` once each, in any order, on any thread, and returns when all
    /// have returned.
    fn run(&self, tasks: usize, f: &(dyn Fn(usize) + Sync));

    /// Calls `job` on a thread other than the caller's, some time, beside whatever `run` does; or drops it, as
    /// does a pool that has no thread for it.
    fn spawn(&self, job: Box<dyn FnOnce() + Send>) {
        drop(job);
    }

    /// Calls `run` once with the way to compute `product`, and measures how long it takes where that is of
    /// interest. A host with a clock holds a [`Tuner`](crate::tune::Tuner) for it.
    fn tuned(&self, product: &Product, run: &mut dyn FnMut(&Plan)) {
        run(&product.plan());
    }

    /// Fixes what [`tuned`](Self::tuned) would else measure.
    fn force(&self, forced: Forced) {
        let _ = forced;
    }

    /// What [`tuned`](Self::tuned) chose so far.
    fn choices(&self) -> Vec<Choice> {
        Vec::new()
    }

    /// Whether a thread was lost, so that a job it had will never end.
    fn is_broken(&self) -> bool {
        false
    }
}

/// No threads: tasks run in order on the caller's.
#[derive(Clone, Copy, Debug, Default)]
pub struct Serial;

impl Pool for Serial {
    fn width(&self) -> usize {
        1
    }

    fn run(&self, tasks: usize, f: &(dyn Fn(usize) + Sync)) {
        (0..tasks).for_each(f);
    }
}

/// A pointer that tasks may share because each touches its own part.
struct Shared<T>(NonNull<T>);

// SAFETY: only `tiles_with` and `chunks` make one, and hand each task a disjoint part of a slice of
// `Send` elements that is borrowed exclusively for as long as the tasks run.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    /// Accessor, so that closures capture the `Sync` wrapper instead of its field.
    fn get(&self) -> NonNull<T> {
        self.0
    }
}

/// The `i`-th of `parts` near-equal ranges of `0..len`, cut at multiples of `unit`.
pub fn part(len: usize, unit: usize, parts: usize, i: usize) -> Range<usize> {
    let units = len.div_ceil(unit);
    let cut = |i: usize| (units * i / parts * unit).min(len);
    cut(i)..cut(i + 1)
}

/// Cuts `y` (tokens, `width`) by columns into `tasks` tiles at multiples of `unit` and runs `f` on
/// each range of columns and its tile.
///
/// # Panics
/// If `y` does not hold whole rows of `width`.
pub fn tiles(
    pool: &dyn Pool,
    y: &mut [f32],
    width: usize,
    unit: usize,
    tasks: usize,
    f: &(dyn Fn(Range<usize>, &mut Tile<'_>) + Sync),
) {
    let none: &mut [u8] = &mut [];
    tiles_with(pool, y, width, unit, tasks, none, &|range, tile, _| f(range, tile));
}

/// What a task of [`tiles_with`] does with its range of columns, tile and scratch.
pub type TileTask<'f, T> = dyn Fn(Range<usize>, &mut Tile<'_>, &mut [T]) + Sync + 'f;

/// As [`tiles`], and lends each task its own equal part of `scratch`.
///
/// # Panics
/// If `y` does not hold whole rows of `width`.
pub fn tiles_with<T: Send>(
    pool: &dyn Pool,
    y: &mut [f32],
    width: usize,
    unit: usize,
    tasks: usize,
    scratch: &mut [T],
    f: &TileTask<'_, T>,
) {
    assert!(width > 0 && unit > 0 && y.len().is_multiple_of(width));
    let tasks = tasks.clamp(1, width.div_ceil(unit));
    let tokens = y.len() / width;
    let len = scratch.len() / tasks;
    let (y, scratch) = (Shared(NonNull::from(y).cast::<f32>()), Shared(NonNull::from(scratch).cast::<T>()));
    pool.run(tasks, &|i| {
        assert!(i < tasks);
        let range = part(width, unit, tasks, i);
        // SAFETY: `range` lies in `0..width` and the ranges of different tasks are disjoint, so are
        // their parts of every row; likewise the parts `i * len ..` of `scratch`. Both slices are
        // borrowed exclusively until `run` returns. A pool that calls a task twice at the same time
        // breaks the contract of `Pool::run`.
        let (mut tile, own) = unsafe {
            let own = core::slice::from_raw_parts_mut(scratch.get().add(i * len).as_ptr(), len);
            (Tile::part(y.get().add(range.start), width, range.len(), tokens), own)
        };
        f(range, &mut tile, own);
    });
}

/// Runs `f(i, chunk)` on the chunks of `len` elements of `data` (the last may be shorter).
///
/// # Panics
/// If `len` is 0.
pub fn chunks<T: Send>(pool: &dyn Pool, data: &mut [T], len: usize, f: &(dyn Fn(usize, &mut [T]) + Sync)) {
    let none: &mut [u8] = &mut [];
    chunks_with(pool, data, len, none, &|i, chunk, _| f(i, chunk));
}

/// What a task of [`chunks_with`] does with its number, chunk and scratch.
pub type ChunkTask<'f, T, S> = dyn Fn(usize, &mut [T], &mut [S]) + Sync + 'f;

/// As [`chunks`], and lends each task its own equal part of `scratch`.
///
/// # Panics
/// If `len` is 0.
#[allow(clippy::type_complexity, reason = "a name for the function would say no more")]
pub fn chunks_with<T: Send, S: Send>(
    pool: &dyn Pool,
    data: &mut [T],
    len: usize,
    scratch: &mut [S],
    f: &ChunkTask<'_, T, S>,
) {
    assert!(len > 0);
    let total = data.len();
    let tasks = total.div_ceil(len);
    let part = scratch.len() / tasks.max(1);
    let (data, scratch) =
        (Shared(NonNull::from(data).cast::<T>()), Shared(NonNull::from(scratch).cast::<S>()));
    pool.run(tasks, &|i| {
        assert!(i < tasks);
        let start = i * len;
        // SAFETY: as in `tiles_with`: chunk `i` lies inside `data`, part `i` inside `scratch`, and they
        // overlap no other.
        let (chunk, own) = unsafe {
            let chunk =
                core::slice::from_raw_parts_mut(data.get().add(start).as_ptr(), len.min(total - start));
            (chunk, core::slice::from_raw_parts_mut(scratch.get().add(i * part).as_ptr(), part))
        };
        f(i, chunk, own);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn parts_cover_everything_once() {
        for (len, unit, parts) in [(1, 1, 1), (10, 4, 3), (10, 4, 2), (64, 8, 3), (7, 8, 1), (100, 1, 7)] {
            let mut at = 0;
            for i in 0..parts {
                let r = part(len, unit, parts, i);
                assert_eq!(r.start, at);
                assert!(r.start.is_multiple_of(unit));
                at = r.end;
            }
            assert_eq!(at, len);
        }
    }

    #[test]
    fn tiles_are_disjoint_columns() {
        let mut y = vec![0.0; 3 * 10];
        let mut scratch = vec![0_u32; 8];
        tiles_with(&Serial, &mut y, 10, 4, 5, &mut scratch, &|range, tile, own| {
            own[0] += 1;
            for t in 0..3 {
                for (i, v) in tile.token(t).iter_mut().enumerate() {
                    *v += (t * 100 + range.start + i) as f32;
                }
            }
        });
        let want: alloc::vec::Vec<f32> = (0..30).map(|i| (i / 10 * 100 + i % 10) as f32).collect();
        assert_eq!(y, want);
        assert_eq!(scratch.iter().sum::<u32>(), 3);
        let mut data = vec![0; 7];
        chunks(&Serial, &mut data, 3, &|i, chunk| chunk.fill(i));
        assert_eq!(data, [0, 0, 0, 1, 1, 1, 2]);
    }
}
