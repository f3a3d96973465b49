//! The columns kernel for AVX2: two columns at a time, whose bytes are interleaved so that `vpmaddubsw` multiplies a
//! row's two codes by the two inputs.

use core::arch::x86_64::*;

use super::avx2::{TERNARY_ROWS, dot_code, kernel, load_u, prefetch, rows, zero};
use crate::{
    activations::Activations,
    kernel::{
        Kernel, Panels,
        columns::{self as layouts, Ahead, SLICE, Totals, column_kernel},
        layout::Layout,
    },
    tile::Tile,
};

/// Fields at bits 2 and 6 are multiplied in place, as four times their value.
const SHIFTS: [u32; 4] = [0, 2, 0, 2];
/// Bytes of a vector.
const PART: usize = 32;

static TERNARY_COLUMNS: Layout = layouts::columns::<SLICE>("ternary-columns/64");

/// Those that leave weights unread.
pub static KERNELS: [Kernel; 2] = [
    kernel("ternary-columns/avx2", &TERNARY_COLUMNS, columns),
    kernel("ternary-rows/avx2", &TERNARY_ROWS, rows),
];

column_kernel!(pub(super), #[target_feature(enable = "avx2")]);

#[inline]
#[target_feature(enable = "avx2")]
fn add_batch(panel: &[u8], columns: &[u16], codes: &[i8], ahead: Ahead<'_>, totals: &mut Totals) {
    let (one, four) = (_mm256_set1_epi8(0x03), _mm256_set1_epi8(0x0C));
    for part in 0..SLICE / PART {
        // [bytes 0–7 and 16–23 | bytes 8–15 and 24–31][field], 16 bits each.
        let mut sums = [[zero(); 4]; 2];
        for (i, (k, x)) in columns.chunks_exact(2).zip(codes.chunks_exact(2)).enumerate() {
            if part == 0 {
                for i in 2 * i..2 * i + 2 {
                    if let Some(slice) = ahead.slice(i) {
                        prefetch(slice.as_ptr());
                    }
                }
            }
            let a = load_u(&panel[usize::from(k[0]) * SLICE + part * PART..][..PART]);
            let b = load_u(&panel[usize::from(k[1]) * SLICE + part * PART..][..PART]);
            let x = _mm256_set1_epi16(i16::from_le_bytes([x[0] as u8, x[1] as u8]));
            let both = [_mm256_unpacklo_epi8(a, b), _mm256_unpackhi_epi8(a, b)];
            for h in 0..2 {
                let (v, t) = (both[h], _mm256_srli_epi16::<4>(both[h]));
                sums[h][0] = dot_code(sums[h][0], _mm256_and_si256(v, one), x);
                sums[h][1] = dot_code(sums[h][1], _mm256_and_si256(v, four), x);
                sums[h][2] = dot_code(sums[h][2], _mm256_and_si256(t, one), x);
                sums[h][3] = dot_code(sums[h][3], _mm256_and_si256(t, four), x);
            }
        }
        let [low, high] = sums;
        for (f, (low, high)) in low.into_iter().zip(high).enumerate() {
            let totals = &mut totals.0[f * SLICE + part * PART..][..PART];
            add_lanes(&mut totals[..8], _mm256_castsi256_si128(low));
            add_lanes(&mut totals[8..16], _mm256_castsi256_si128(high));
            add_lanes(&mut totals[16..24], _mm256_extracti128_si256::<1>(low));
            add_lanes(&mut totals[24..], _mm256_extracti128_si256::<1>(high));
        }
    }
}

/// Adds eight 16-bit sums to eight of 32 bits.
#[inline]
#[target_feature(enable = "avx2")]
fn add_lanes(totals: &mut [i32], sums: __m128i) {
    let totals = &mut totals[..8];
    // SAFETY: 32 bytes are there.
    let old = unsafe { _mm256_loadu_si256(totals.as_ptr().cast()) };
    let new = _mm256_add_epi32(old, _mm256_cvtepi16_epi32(sums));
    // SAFETY: as above.
    unsafe { _mm256_storeu_si256(totals.as_mut_ptr().cast(), new) };
}
