//! Weights that stay floats of 4 and 8 bits in memory: their layouts, the scalar kernels, and the loops of the others.
//!
//! Two kinds of kernels. Those of [`Form::Mxfp4`] and [`Form::Nvfp4`] multiply integers: an E2M1 number, doubled, is one
//! of 0, ±1, ±2, ±3, ±4, ±6, ±8, ±12, and activations are codes of 16 bits. The others, called exact, multiply floats:
//! each weight is the f32 that the reference's dequantisation gives, in the arithmetic of the float forms.

mod layout;
pub(super) mod loops;

pub(super) use layout::span_bytes;
pub use layout::{E2m1, E4m3, E5m2, FP8_SPAN, Fp8, Mx, Nv, SPAN, e2m1_blocks, fp8_columns};

use super::{Layout, Panels};
use crate::{
    activations::{Activations, Block32},
    format::Form,
    tile::Tile,
};
use layout::{E2m1Span, Fp8Span};

pub(super) static MXFP4: Layout = e2m1_blocks::<Mx, 1, 8>("mxfp4/1", Form::Mxfp4);
pub(super) static NVFP4: Layout = e2m1_blocks::<Nv, 1, 8>("nvfp4/1", Form::Nvfp4);
pub(super) static MXFP4_EXACT: Layout = e2m1_blocks::<Mx, 1, 8>("mxfp4-exact/1", Form::Mxfp4Exact);
pub(super) static NVFP4_EXACT: Layout = e2m1_blocks::<Nv, 1, 8>("nvfp4-exact/1", Form::Nvfp4Exact);
pub(super) static E4M3: Layout = fp8_columns::<E4m3, 1>("e4m3/1");
pub(super) static E5M2: Layout = fp8_columns::<E5m2, 1>("e5m2/1");

/// Blocks in ascending order, one f32 accumulator: `acc += (d · ½dx) · f32(Σ code · q)` with doubled codes. Then
/// `y = acc · factor` ([`Mx`]) or `acc / divisor` ([`Nv`]) of the row.
pub(super) fn integers<B: E2m1>(panels: &Panels<'_>, rows: &Activations, tile: &mut Tile<'_>) {
    let x = rows.fine32();
    for r in 0..panels.rows {
        let spans = E2m1Span::<1, 8>::all::<B>(panels.panel(r));
        for t in 0..rows.n() {
            let (high, low, scales) = (x.high(t), x.low(t), x.scales(t));
            let mut acc = 0.0_f32;
            for (s, span) in spans.clone().enumerate() {
                for k in (0..SPAN).step_by(B::BLOCK) {
                    let product = |j: usize| {
                        let at = s * SPAN + k + j;
                        i32::from(span.code(0, k + j))
                            * (i32::from(high[at]) * Block32::FINE_BASE + i32::from(low[at]))
                    };
                    let isum: i32 = (0..B::BLOCK).map(product).sum();
                    let dx = 0.5 * scales[s];
                    acc += (span.scale::<B>(0, k) * dx) * isum as f32;
                }
            }
            tile.token(t)[r] = B::combine(acc, layout::row_number::<B>(panels.panel(r), 0));
        }
    }
}

/// Each weight is `number · d`, rounded once, where `d` is the block's scale times the row's factor ([`Mx`]) or over the
/// row's divisor ([`Nv`]). Four partial sums by column modulo 4, each ascending; `y = (s0 + s1) + (s2 + s3)`.
pub(super) fn e2m1_exact<B: E2m1>(panels: &Panels<'_>, rows: &Activations, tile: &mut Tile<'_>) {
    for r in 0..panels.rows {
        let number = layout::row_number::<B>(panels.panel(r), 0);
        for t in 0..rows.n() {
            let mut sums = [0.0_f32; 4];
            let spans = E2m1Span::<1, 8>::all::<B>(panels.panel(r));
            for (span, x) in spans.zip(rows.floats(t).chunks_exact(SPAN)) {
                for (k, x) in x.iter().enumerate() {
                    sums[k % 4] += span.value::<B>(0, k, number) * x;
                }
            }
            tile.token(t)[r] = (sums[0] + sums[1]) + (sums[2] + sums[3]);
        }
    }
}

/// Each weight is `number · scale`, rounded once; the sums of [`e2m1_exact`].
pub(super) fn fp8_exact<W: Fp8>(panels: &Panels<'_>, rows: &Activations, tile: &mut Tile<'_>) {
    for r in 0..panels.rows {
        for t in 0..rows.n() {
            let mut sums = [0.0_f32; 4];
            let spans = Fp8Span::<1>::all(panels.panel(r));
            for (span, x) in spans.zip(rows.floats(t)[..panels.cols].chunks(FP8_SPAN)) {
                for (k, x) in x.iter().enumerate() {
                    sums[k % 4] += span.value::<W>(0, k) * x;
                }
            }
            tile.token(t)[r] = (sums[0] + sums[1]) + (sums[2] + sums[3]);
        }
    }
}
