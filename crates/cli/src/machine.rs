//! What this machine can do: read bandwidth of its memory, peak memory of this process.

use std::{hint::black_box, thread, time::Instant};

/// Larger than any last-level cache of a desktop, so that reads come from memory.
const BUFFER: usize = 512 << 20;

/// Bytes per second that `threads` threads read from memory together: the best of a few passes.
///
/// `None` when the buffer cannot be had.
pub fn read_bandwidth(threads: usize) -> Option<f64> {
    let words = BUFFER / 8;
    let mut buffer: Vec<u64> = Vec::new();
    buffer.try_reserve_exact(words).ok()?;
    // Not zeros: untouched zero pages would all be one page of the cache.
    buffer.resize(words, 1);
    let share = words.div_ceil(threads.max(1));
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let start = Instant::now();
        thread::scope(|scope| {
            for part in buffer.chunks(share) {
                scope.spawn(move || black_box(sum(part)));
            }
        });
        best = best.min(start.elapsed().as_secs_f64());
    }
    Some(BUFFER as f64 / best)
}

/// Streams that one thread reads side by side: a CPU runs ahead of a single one only so far.
const STREAMS: usize = 8;
/// Words read from a stream before it is the next one's turn.
const STRIP: usize = 64;

/// A reduction wide enough that the adds never wait for each other.
fn sum(words: &[u64]) -> u64 {
    let mut streams: [_; STREAMS] = std::array::from_fn(|s| {
        let each = words.len() / STREAMS;
        words[s * each..][..each].chunks_exact(STRIP)
    });
    let mut lanes = [0u64; 32];
    for _ in 0..streams[0].len() {
        for strip in streams.iter_mut().filter_map(Iterator::next) {
            for chunk in strip.as_chunks::<32>().0 {
                for (lane, word) in lanes.iter_mut().zip(chunk) {
                    *lane = lane.wrapping_add(*word);
                }
            }
        }
    }
    lanes.iter().fold(0, |a, b| a.wrapping_add(*b))
}

/// The most memory this process has had at once, in bytes; `None` where the system does not tell.
pub fn peak_rss() -> Option<u64> {
    #[cfg(unix)]
    {
        use nix::sys::resource::{UsageWho, getrusage};
        let most = u64::try_from(getrusage(UsageWho::RUSAGE_SELF).ok()?.max_rss()).ok()?;
        // Kibibytes everywhere but on Apple systems.
        Some(if cfg!(target_vendor = "apple") { most } else { most * 1024 })
    }
    #[cfg(not(unix))]
    None
}

/// Threads for `--threads N`; 0 means one per core.
pub fn threads(wanted: usize) -> usize {
    if wanted > 0 { wanted } else { thread::available_parallelism().map_or(1, |n| n.get()) }
}
