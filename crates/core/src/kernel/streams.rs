//! How one token reads a matrix: as several streams of panels at once.
//!
//! Each weight is used once, so memory sets the pace, and a CPU runs ahead of one stream of addresses only
//! so far. A task's panels are therefore cut into [`STREAMS`] equal runs that are read side by side, a
//! [`STRIP`] of each in turn; the sums of the other streams wait in memory. On a Sapphire Rapids vCPU this
//! raises one thread's reading from 8.8 to 12.4 GB/s in WebAssembly, which has no prefetching, and
//! from 9–10 to 12–15 GB/s natively, in spite of prefetching. Block forms are left out: their kernels are
//! not faster than one stream.
//!
//! Invariant: each row is still summed in the order of its columns.

use super::Panels;

/// Streams that one token's pass reads side by side.
pub(super) const STREAMS: usize = 8;
/// Bytes of a stream that are read before it is the next one's turn.
pub(super) const STRIP: usize = 512;
/// Bytes below which a stream is over before the CPU has noticed it.
const SHORTEST: usize = 4096;

/// How many panels each stream has, of `all`; those after `STREAMS` times as many are read one by one.
pub(super) fn length(panels: &Panels<'_>, all: usize) -> usize {
    let each = all / STREAMS;
    if each * panels.panel_bytes < SHORTEST { 0 } else { each }
}

/// The `i`-th panel of each stream.
#[inline(always)]
pub(super) fn panels_at(i: usize, length: usize) -> [usize; STREAMS] {
    core::array::from_fn(|s| s * length + i)
}

/// Evaluates `$call` until all of `$panels`, of `$r` rows each, are read: with `$p` the numbers of
/// `$S` panels to be read side by side.
macro_rules! for_streams {
    ($panels:ident, $r:expr, |$S:ident, $p:ident| $call:expr) => {
        let all = $panels.rows.div_ceil($r);
        let length = $crate::kernel::streams::length($panels, all);
        for i in 0..length {
            const $S: usize = $crate::kernel::streams::STREAMS;
            let $p = $crate::kernel::streams::panels_at(i, length);
            $call;
        }
        for i in $crate::kernel::streams::STREAMS * length..all {
            const $S: usize = 1;
            let $p = [i];
            $call;
        }
    };
}
pub(super) use for_streams;
