//! The columns kernel for NEON: one column at a time, its input in all lanes of `smlal`.

use core::arch::{aarch64::*, asm};

use super::neon::{TERNARY_ROWS, codes as fields, kernel, masks, rows};
use crate::{
    activations::Activations,
    kernel::{
        Kernel, Panels,
        columns::{self as layouts, Ahead, SLICE, Totals, column_kernel},
        layout::Layout,
    },
    tile::Tile,
};

/// Fields are shifted into place before they are multiplied.
const SHIFTS: [u32; 4] = [0; 4];
/// Bytes of a vector.
const PART: usize = 16;

static TERNARY_COLUMNS: Layout = layouts::columns::<SLICE>("ternary-columns/64");

/// Those that leave weights unread.
pub static KERNELS: [Kernel; 2] = [
    kernel("ternary-columns/neon", &TERNARY_COLUMNS, columns),
    kernel("ternary-rows/neon", &TERNARY_ROWS, rows),
];

column_kernel!(pub(super), #[target_feature(enable = "neon")]);

#[inline]
#[target_feature(enable = "neon")]
fn add_batch(panel: &[u8], columns: &[u16], codes: &[i8], ahead: Ahead<'_>, totals: &mut Totals) {
    let masks = masks();
    for part in 0..SLICE / PART {
        // [field][low | high bytes], 16 bits each.
        let mut sums = [[vdupq_n_s16(0); 2]; 4];
        for (i, (&k, &x)) in columns.iter().zip(codes).enumerate() {
            if part == 0
                && let Some(slice) = ahead.slice(i)
            {
                prefetch(slice.as_ptr());
            }
            let fields = fields(masks, &panel[usize::from(k) * SLICE + part * PART..][..PART], 0);
            let x = vdupq_n_s8(x);
            for ([low, high], field) in sums.iter_mut().zip(fields) {
                *low = vmlal_s8(*low, vget_low_s8(field), vget_low_s8(x));
                *high = vmlal_high_s8(*high, field, x);
            }
        }
        for (f, [low, high]) in sums.into_iter().enumerate() {
            let totals = &mut totals.0[f * SLICE + part * PART..][..PART];
            add_lanes(&mut totals[..8], low);
            add_lanes(&mut totals[8..], high);
        }
    }
}

/// A hint; any address will do. (Stable Rust lacks its intrinsic.)
#[inline(always)]
fn prefetch(address: *const u8) {
    // SAFETY: it reads nothing, and faults at no address.
    unsafe { asm!("prfm pldl1keep, [{0}]", in(reg) address, options(nostack, readonly, preserves_flags)) }
}

/// Adds eight 16-bit sums to eight of 32 bits.
#[inline]
#[target_feature(enable = "neon")]
fn add_lanes(totals: &mut [i32], sums: int16x8_t) {
    let place = totals[..8].as_mut_ptr();
    // SAFETY: 32 bytes are there.
    unsafe {
        vst1q_s32(place, vaddw_s16(vld1q_s32(place), vget_low_s16(sums)));
        vst1q_s32(place.add(4), vaddw_high_s16(vld1q_s32(place.add(4)), sums));
    }
}
