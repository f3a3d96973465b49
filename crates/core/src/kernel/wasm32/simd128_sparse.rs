//! The kernels of plain SIMD128 that leave weights unread: one column at a time, or one row.
//!
//! Columns: codes of every other field are multiplied in place, as four times their value, by the input in all lanes:
//! 8 · 127 a product, 32 of them in 16 bits.
//!
//! Rows: as in [`simd128`](super::simd128), but each field is masked by itself, because these meet different
//! activations. Overflow: at most 128 · 127 · 65536 < 2^31.

use core::arch::wasm32::*;

use super::simd128::{LEVEL, dot_code, fold_lanes, load, load_x, opaque, prefetch, start, widen};
use crate::{
    activations::{Activations, Token8},
    kernel::{
        Kernel, Panels,
        columns::{self, Ahead, BATCH, SLICE, Totals, column_kernel},
        layout::Layout,
        rows::{self, row_kernel},
    },
    tile::Tile,
};

pub(super) static TERNARY_COLUMNS: Layout = columns::columns::<SLICE>("ternary-columns/128");
static TERNARY_ROWS: Layout = rows::rows::<8, true>("ternary-rows/8-paired");

/// For ternary weights.
pub static KERNELS: [Kernel; 2] = [
    Kernel { name: "ternary-columns/simd128", level: &LEVEL, layout: &TERNARY_COLUMNS, run: columns },
    Kernel { name: "ternary-rows/simd128", level: &LEVEL, layout: &TERNARY_ROWS, run: rows },
];

const SHIFTS: [u32; 4] = [0, 2, 0, 2];
/// Bytes of a vector.
pub(super) const PART: usize = 16;
const COLS: usize = 8;
const GROUP: usize = 16;
const RUN: usize = usize::MAX;

column_kernel!(, #[target_feature(enable = "simd128")]);
row_kernel!(, 2, Token8::wide as i16, #[target_feature(enable = "simd128")]);

#[inline]
#[target_feature(enable = "simd128")]
fn add_batch(panel: &[u8], columns: &[u16], codes: &[i8], ahead: Ahead<'_>, totals: &mut Totals) {
    touch(ahead);
    let (one, four) = (opaque(u16x8_splat(0x03)), opaque(u16x8_splat(0x0C)));
    for part in 0..SLICE / PART {
        // [even | odd bytes][field], 16 bits each.
        let mut sums = [[i16x8_splat(0); 4]; 2];
        for (&k, &x) in columns.iter().zip(codes) {
            let v = load(&panel[usize::from(k) * SLICE + part * PART..][..PART]);
            let x = i16x8_splat(i16::from(x));
            let fields = [v, u16x8_shr(v, 4), u16x8_shr(v, 8), u16x8_shr(v, 12)];
            for h in 0..2 {
                for f in 0..4 {
                    let codes = v128_and(fields[2 * h + f / 2], if f % 2 == 0 { one } else { four });
                    sums[h][f] = i16x8_add(sums[h][f], i16x8_mul(codes, x));
                }
            }
        }
        let [even, odd] = sums;
        for (f, (even, odd)) in even.into_iter().zip(odd).enumerate() {
            let totals = &mut totals.0[f * SLICE + part * PART..][..PART];
            add_lanes(&mut totals[..8], i16x8_shuffle::<0, 8, 1, 9, 2, 10, 3, 11>(even, odd));
            add_lanes(&mut totals[8..], i16x8_shuffle::<4, 12, 5, 13, 6, 14, 7, 15>(even, odd));
        }
    }
}

/// Loads a batch of slices: there is no prefetching in WebAssembly, but loads that do not wait for each other.
#[inline]
#[target_feature(enable = "simd128")]
pub(super) fn touch(ahead: Ahead<'_>) {
    let mut any = u8x16_splat(0);
    for i in 0..BATCH {
        let Some(slice) = ahead.slice(i) else { break };
        for line in slice.chunks_exact(64) {
            any = v128_or(any, load(line));
        }
    }
    opaque(any);
}

/// Adds eight 16-bit sums to eight of 32 bits.
#[inline]
#[target_feature(enable = "simd128")]
pub(super) fn add_lanes(totals: &mut [i32], sums: v128) {
    let totals = &mut totals[..8];
    let place: *mut v128 = totals.as_mut_ptr().cast();
    // SAFETY: 32 bytes are there.
    unsafe {
        v128_store(place, i32x4_add(v128_load(place), i32x4_extend_low_i16x8(sums)));
        let place = place.add(1);
        v128_store(place, i32x4_add(v128_load(place), i32x4_extend_high_i16x8(sums)));
    }
}

#[inline]
#[target_feature(enable = "simd128")]
fn masks() -> [v128; 4] {
    [u16x8_splat(0x03), u16x8_splat(0x0C), u16x8_splat(0x30), u16x8_splat(0xC0)].map(opaque)
}

/// Codes × 1, 4, 16, 64.
#[inline]
#[target_feature(enable = "simd128")]
fn codes([a, b, c, d]: [v128; 4], group: &[u8], half: usize) -> [v128; 4] {
    let v = load(group);
    let v = if half == 0 { v } else { u16x8_shr(v, 8) };
    [v128_and(v, a), v128_and(v, b), v128_and(v, c), v128_and(v, d)]
}

#[inline]
#[target_feature(enable = "simd128")]
fn fold(v: [v128; 4]) -> [i32; 4] {
    let [a, b, c, d] = fold_lanes(v);
    [a, b >> 2, c >> 4, d >> 6]
}
