//! How one token reads a matrix: as one sequential stream of row panels, or as several interleaved ones.
//!
//! Each weight is used once, so memory sets the pace, and how a CPU is fed best is a property of the machine. Some
//! run ahead of a single stream of addresses only so far, and interleaving several raises the bandwidth by
//! half; others lose as much by it. A task's panels are therefore cut into [`ReadOrder::streams`] near-equal runs
//! that are read side by side, a [`STRIP`] of each in turn; the sums of the other streams wait in memory. Which
//! order is best is measured while the first tokens are computed ([`crate::tune`]).
//!
//! Invariant: each row is still summed in the order of its columns, so every order gives the same bits.

/// The most streams that can be interleaved.
pub const MAX_STREAMS: usize = 8;
/// Bytes of a stream that are read before it is the next one's turn: a few cache lines, so that the sums are
/// fetched and put back seldom.
pub(super) const STRIP: usize = 512;
/// Stands for no panel, where streams are of unequal length.
pub(super) const NONE: usize = usize::MAX;

/// The order in which the panels of a task are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReadOrder {
    /// Runs of panels that are read side by side, 1 to [`MAX_STREAMS`].
    pub streams: usize,
    /// How many bytes ahead of the current position each stream is prefetched; 0: not at all. (WebAssembly has
    /// no such instruction.)
    pub prefetch: usize,
    /// Bytes of packed weights that all tokens of a block meet before the next ones: they stay in the
    /// second-level cache meanwhile.
    pub stretch: usize,
}

impl ReadOrder {
    /// Where nothing is measured.
    pub const DEFAULT: Self = Self { streams: 1, prefetch: 4096, stretch: 256 << 10 };
}

/// The `i`-th panel of each of `streams` streams, of `all` panels.
#[inline(always)]
pub(super) fn panels_at(i: usize, all: usize, streams: usize) -> [usize; MAX_STREAMS] {
    core::array::from_fn(|s| {
        if s >= streams {
            return NONE;
        }
        let panel = all * s / streams + i;
        if panel < all * (s + 1) / streams { panel } else { NONE }
    })
}

/// Calls `$tile::<$args, S>` with the numbers of the panels to be read side by side, until all of `$panels`, of
/// `$r` rows each, are read: S is 1 for a single stream, whose sums stay in registers.
macro_rules! for_streams {
    ($panels:ident, $r:expr, |$p:ident| $one:expr, $several:expr) => {
        let all = $panels.rows.div_ceil($r);
        if $panels.order.streams <= 1 {
            for i in 0..all {
                let $p = [i];
                $one;
            }
        } else {
            let streams = $panels.order.streams.min($crate::kernel::interleave::MAX_STREAMS);
            for i in 0..all.div_ceil(streams) {
                let $p = $crate::kernel::interleave::panels_at(i, all, streams);
                $several;
            }
        }
    };
}
pub(super) use for_streams;
