//! What this machine can do: read bandwidth of its memory, peak memory of this process.

use std::{hint::black_box, ops::Range, thread, time::Instant};

use ternlight_core::{
    kernel,
    simd::{Isa, vectorised},
};

/// Several times the largest last-level cache, so that reads come from memory.
const BUFFER: usize = 1 << 30;
/// What is taken where memory is short. It may be partly cached on a large server.
const SMALL_BUFFER: usize = 256 << 20;
/// How often each pattern is tried. Other programs, and other guests of the same host, disturb single passes.
const PASSES: usize = 4;

/// How a buffer is read.
#[derive(Clone, Copy, Debug)]
struct Pattern {
    /// Runs that each thread reads side by side.
    streams: usize,
    /// Words that a thread reads before the next one's turn; none: each thread has a contiguous part.
    chunk: Option<usize>,
}

/// Which pattern a machine reads fastest differs: some CPUs prefetch one stream well, others need several.
const PATTERNS: [Pattern; 5] = [
    Pattern { streams: 1, chunk: None },
    Pattern { streams: 1, chunk: Some(1 << 17) },
    Pattern { streams: 2, chunk: None },
    Pattern { streams: 4, chunk: None },
    Pattern { streams: 8, chunk: None },
];

/// Bytes per second that `threads` threads read from memory together: the best of several access patterns and
/// passes. It shares no code with the kernels whose speed is compared with it.
///
/// `None` when the buffer cannot be had.
pub fn read_bandwidth(threads: usize) -> Option<f64> {
    let isa = kernel::isa("auto").ok()?;
    let mut buffer: Vec<u64> = Vec::new();
    let bytes =
        [BUFFER, SMALL_BUFFER].into_iter().find(|bytes| buffer.try_reserve_exact(bytes / 8).is_ok())?;
    // Not zeros: untouched zero pages would all be one page of the cache.
    buffer.resize(bytes / 8, 1);
    let mut best = f64::INFINITY;
    for _ in 0..PASSES {
        for pattern in PATTERNS.iter().filter(|pattern| threads > 1 || pattern.chunk.is_none()) {
            let start = Instant::now();
            let total = pass(&buffer, threads.max(1), pattern, isa);
            best = best.min(start.elapsed().as_secs_f64());
            assert_eq!(total, buffer.len() as u64, "every word is read once");
        }
    }
    Some(bytes as f64 / best)
}

/// Reads all of `buffer` once and returns the sum of its words.
fn pass(buffer: &[u64], threads: usize, pattern: &Pattern, isa: Isa) -> u64 {
    let part = |len: usize, n: usize, i: usize| -> Range<usize> { len * i / n..len * (i + 1) / n };
    let read = |thread: usize| match pattern.chunk {
        Some(chunk) => {
            let own = buffer.chunks(chunk).skip(thread).step_by(threads);
            own.fold(0, |total: u64, chunk| total.wrapping_add(sum(chunk, pattern.streams, isa)))
        }
        None => sum(&buffer[part(buffer.len(), threads, thread)], pattern.streams, isa),
    };
    thread::scope(|scope| {
        let others: Vec<_> =
            (1..threads).map(|thread| scope.spawn(move || black_box(read(thread)))).collect();
        let own = black_box(read(0));
        others.into_iter().fold(own, |total, other| total.wrapping_add(other.join().unwrap_or_default()))
    })
}

/// Words read from a stream before it is the next one's turn.
const STRIP: usize = 64;

/// The sum of `words`, read in several streams.
fn sum(words: &[u64], streams: usize, isa: Isa) -> u64 {
    vectorised(
        isa,
        #[inline(always)]
        || {
            // Wide enough that the adds never wait for each other.
            let mut lanes = [0u64; 32];
            let mut add = |words: &[u64]| {
                let (whole, rest) = words.as_chunks::<32>();
                for chunk in whole {
                    for (lane, word) in lanes.iter_mut().zip(chunk) {
                        *lane = lane.wrapping_add(*word);
                    }
                }
                lanes[0] = rest.iter().fold(lanes[0], |total, word| total.wrapping_add(*word));
            };
            if streams == 1 {
                add(words);
            } else {
                let each = words.len() / streams / STRIP * STRIP;
                for strip in (0..each).step_by(STRIP) {
                    for stream in 0..streams {
                        add(&words[stream * each + strip..][..STRIP]);
                    }
                }
                add(&words[streams * each..]);
            }
            lanes.iter().fold(0u64, |total, lane| total.wrapping_add(*lane))
        },
    )
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_reads_every_word_once() {
        let words: Vec<u64> = (0..300_001).collect();
        let want: u64 = words.iter().sum();
        for threads in 1..4 {
            for pattern in &PATTERNS {
                for isa in kernel::isas() {
                    assert_eq!(pass(&words, threads, pattern, isa), want, "{threads} threads, {pattern:?}");
                }
            }
        }
    }
}
