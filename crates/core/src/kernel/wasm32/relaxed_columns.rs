//! The columns kernel for relaxed SIMD: two columns at a time, whose bytes are interleaved so that
//! `i16x8.relaxed_dot_i8x16_i7x16_s` multiplies a row's two codes by the two inputs.

use core::arch::wasm32::*;

use super::{
    simd128::{load, opaque},
    simd128_sparse::{PART, add_lanes, touch},
};
use crate::{
    activations::Activations,
    kernel::{
        Panels,
        columns::{Ahead, SLICE, Totals, column_kernel},
    },
    tile::Tile,
};

/// Fields at bits 2 and 6 are multiplied in place, as four times their value.
const SHIFTS: [u32; 4] = [0, 2, 0, 2];

column_kernel!(pub(super), #[target_feature(enable = "relaxed-simd")]);

#[inline]
#[target_feature(enable = "relaxed-simd")]
fn add_batch(panel: &[u8], columns: &[u16], codes: &[i8], ahead: Ahead<'_>, totals: &mut Totals) {
    touch(ahead);
    let (one, four) = (opaque(u8x16_splat(0x03)), opaque(u8x16_splat(0x0C)));
    for part in 0..SLICE / PART {
        // [low | high bytes][field], 16 bits each.
        let mut sums = [[i16x8_splat(0); 4]; 2];
        for (k, x) in columns.chunks_exact(2).zip(codes.chunks_exact(2)) {
            let a = load(&panel[usize::from(k[0]) * SLICE + part * PART..][..PART]);
            let b = load(&panel[usize::from(k[1]) * SLICE + part * PART..][..PART]);
            let x = i16x8_splat(i16::from_le_bytes([x[0] as u8, x[1] as u8]));
            let both = [
                u8x16_shuffle::<0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23>(a, b),
                u8x16_shuffle::<8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31>(a, b),
            ];
            for h in 0..2 {
                let (v, t) = (both[h], u16x8_shr(both[h], 4));
                sums[h][0] = dot(sums[h][0], v128_and(v, one), x);
                sums[h][1] = dot(sums[h][1], v128_and(v, four), x);
                sums[h][2] = dot(sums[h][2], v128_and(t, one), x);
                sums[h][3] = dot(sums[h][3], v128_and(t, four), x);
            }
        }
        let [low, high] = sums;
        for (f, (low, high)) in low.into_iter().zip(high).enumerate() {
            let totals = &mut totals.0[f * SLICE + part * PART..][..PART];
            add_lanes(&mut totals[..8], low);
            add_lanes(&mut totals[8..], high);
        }
    }
}

#[inline]
#[target_feature(enable = "relaxed-simd")]
fn dot(sum: v128, codes: v128, x: v128) -> v128 {
    i16x8_add(sum, i16x8_relaxed_dot_i8x16_i7x16(x, codes))
}
