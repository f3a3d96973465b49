//! How one token reads a matrix: as several streams of panels at once.
//!
//! Each weight is used once, so memory sets the pace, and a CPU runs ahead of one stream of addresses only
//! so far. A task's panels are therefore cut into [`STREAMS`] near-equal runs that are read side by side, a
//! [`STRIP`] of each in turn; the sums of the other streams wait in memory. On a Sapphire Rapids vCPU this
//! raises one thread's reading from 8.8 to 12.4 GB/s in WebAssembly, which has no prefetching, and
//! from 9–10 to 12–15 GB/s natively, in spite of prefetching. Block forms are left out: their kernels are
//! not faster than one stream.
//!
//! Invariant: each row is still summed in the order of its columns.

/// Streams that one token's pass reads side by side.
pub(super) const STREAMS: usize = 8;
/// Bytes of a stream that are read before it is the next one's turn.
pub(super) const STRIP: usize = 512;
/// Stands for no panel, where streams are of unequal length.
pub(super) const NONE: usize = usize::MAX;

/// The `i`-th panel of each stream, of `all` panels.
#[inline(always)]
pub(super) fn panels_at(i: usize, all: usize) -> [usize; STREAMS] {
    core::array::from_fn(|s| {
        let panel = all * s / STREAMS + i;
        if panel < all * (s + 1) / STREAMS { panel } else { NONE }
    })
}

/// Evaluates `$call` with `$p` the numbers of the panels to be read side by side, until all of `$panels`, of
/// `$r` rows each, are read.
macro_rules! for_streams {
    ($panels:ident, $r:expr, |$p:ident| $call:expr) => {
        let all = $panels.rows.div_ceil($r);
        for i in 0..all.div_ceil($crate::kernel::streams::STREAMS) {
            let $p = $crate::kernel::streams::panels_at(i, all);
            $call;
        }
    };
}
pub(super) use for_streams;
