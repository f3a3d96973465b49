//! Two layouts of small floats, each generic over its width as those of [`layout`](super::super::layout).
//!
//! **e2m1** (`Mxfp4`, `Nvfp4` and the same with exact inputs): an f32 of each of `R` rows (MX) or one of all (NV), then spans of
//! 32 columns: the scales of the span, a byte for each row and block (E8M0 of 32 columns, or E4M3 of 16), then four vectors of `R` words
//! of eight codes, in the order of the **words** layout. 4.25 or 4.5 bits a weight.
//!
//! **fp8** (`E4m3`, `E5m2`): spans of 128 columns (the last one may be shorter): an f32 scale of each of `R` rows, then
//! `[column][R rows]`, a byte each. 8.25 bits a weight.
//!
//! Rows may be packed in two: a [`FormRow`] without scales leaves scales as they are, one without codes or floats those.

use super::super::{
    Skips,
    layout::{Layout, bit, get_f32, put_f32},
};
use crate::{
    format::{Form, FormRow},
    minifloat::{E2M1_TWICE, e4m3_to_f32, e8m0_to_f32, f32_to_e4m3, widen},
    simd::{Isa, vectorised},
};

/// Columns of a span of E2M1.
pub const SPAN: usize = 32;
/// Columns that share a scale of FP8.
pub const FP8_SPAN: usize = 128;

/// What distinguishes the forms of E2M1.
pub trait E2m1 {
    /// Columns that share a scale: 16 or 32.
    const BLOCK: usize;
    /// Scales are E8M0 and each row has a factor; else, scales are E4M3 and all rows have one divisor.
    const E8M0: bool;

    /// Where the number of a row stands in its panel.
    #[inline(always)]
    fn place(row: usize) -> usize {
        if Self::E8M0 { row } else { 0 }
    }

    /// Bytes of the numbers of a panel.
    #[inline(always)]
    fn number_bytes(rows: usize) -> usize {
        4 * (Self::place(rows - 1) + 1)
    }

    /// A scale (or a sum of products) and the number of its row.
    #[inline(always)]
    fn combine(x: f32, number: f32) -> f32 {
        if Self::E8M0 { x * number } else { x / number }
    }
}

/// MXFP4 (OCP Microscaling Formats 1.0).
#[derive(Debug)]
pub struct Mx;
/// NVFP4, whose scale of a tensor is stored as a divisor.
#[derive(Debug)]
pub struct Nv;

impl E2m1 for Mx {
    const BLOCK: usize = 32;
    const E8M0: bool = true;
}

impl E2m1 for Nv {
    const BLOCK: usize = 16;
    const E8M0: bool = false;
}

/// Bytes of a span of `rows` rows.
pub(crate) const fn span_bytes<B: E2m1>(rows: usize) -> usize {
    (SPAN / B::BLOCK + SPAN / 2) * rows
}

/// The **e2m1** layout of `R` rows with slots of `SLOT` bits, for `form`.
pub const fn e2m1_blocks<B: E2m1, const R: usize, const SLOT: usize>(
    name: &'static str,
    form: Form,
) -> Layout {
    Layout {
        name,
        form,
        skips: Skips::Nothing,
        panel: R,
        step: SPAN,
        panel_bytes: |cols| B::number_bytes(R) + cols / SPAN * span_bytes::<B>(R),
        pack: pack_e2m1::<B, R, SLOT>,
        unpack: |panel, lane, out| {
            let number = row_number::<B>(panel, lane);
            for (out, span) in out.chunks_mut(SPAN).zip(E2m1Span::<R, SLOT>::all::<B>(panel)) {
                out.iter_mut().enumerate().for_each(|(k, out)| *out = span.value::<B>(lane, k, number));
            }
        },
    }
}

/// The factor or divisor of a row.
pub(super) fn row_number<B: E2m1>(panel: &[u8], lane: usize) -> f32 {
    get_f32(panel, B::place(lane))
}

/// A span of `R` rows.
#[derive(Clone, Copy)]
pub(super) struct E2m1Span<'a, const R: usize, const SLOT: usize> {
    scales: &'a [u8],
    words: &'a [u8],
}

impl<'a, const R: usize, const SLOT: usize> E2m1Span<'a, R, SLOT> {
    /// The spans of a panel.
    pub(super) fn all<B: E2m1>(panel: &'a [u8]) -> impl Iterator<Item = Self> + Clone {
        panel[B::number_bytes(R)..].chunks_exact(span_bytes::<B>(R)).map(|span| {
            let (scales, words) = span.split_at(SPAN / B::BLOCK * R);
            Self { scales, words }
        })
    }

    /// Twice the number of column `k`.
    #[inline]
    pub(super) fn code(&self, lane: usize, k: usize) -> i8 {
        let bit = bit(k % 8, 4, SLOT);
        let byte = self.words[(k / 8 * R + lane) * 4 + bit / 8];
        E2M1_TWICE[usize::from(byte >> (bit % 8) & 15)]
    }

    /// The scale of column `k`, without the row's number.
    #[inline]
    pub(super) fn scale<B: E2m1>(&self, lane: usize, k: usize) -> f32 {
        let code = self.scales[k / B::BLOCK * R + lane];
        if B::E8M0 { e8m0_to_f32(code) } else { e4m3_to_f32(code) }
    }

    /// The weight of column `k`.
    #[inline]
    pub(super) fn value<B: E2m1>(&self, lane: usize, k: usize, number: f32) -> f32 {
        0.5 * f32::from(self.code(lane, k)) * B::combine(self.scale::<B>(lane, k), number)
    }
}

/// The code of twice an E2M1 number.
const fn nibble(twice: i8) -> u32 {
    let magnitude = match twice.unsigned_abs() {
        small @ 0..=4 => small,
        6 => 5,
        8 => 6,
        _ => 7,
    };
    magnitude as u32 | if twice < 0 { 8 } else { 0 }
}

fn pack_e2m1<B: E2m1, const R: usize, const SLOT: usize>(
    _: Isa,
    rows: &[FormRow],
    lane: usize,
    panel: &mut [u8],
) {
    for (lane, row) in (lane..).zip(rows) {
        if !row.scales.is_empty() {
            put_f32(panel, B::place(lane), row.row_number.unwrap_or(1.0));
        }
        let spans = panel[B::number_bytes(R)..].chunks_exact_mut(span_bytes::<B>(R));
        let blocks = SPAN / B::BLOCK;
        for (s, span) in spans.enumerate() {
            let (scales, words) = span.split_at_mut(blocks * R);
            let own = row.scales.iter().skip(s * blocks);
            for (&half, scales) in own.zip(scales.chunks_exact_mut(R)) {
                // Codes are doubled, so scales are halves.
                let scale = 2.0 * half;
                scales[lane] = if B::E8M0 { (scale.to_bits() >> 23) as u8 } else { f32_to_e4m3(scale) };
            }
            let Some(codes) = row.codes.get(s * SPAN..).filter(|codes| !codes.is_empty()) else { continue };
            let codes = &codes[..codes.len().min(SPAN)];
            for (codes, words) in codes.chunks(8).zip(words.chunks_exact_mut(4 * R)) {
                let mut word = 0;
                for (c, &code) in codes.iter().enumerate() {
                    word |= nibble(code) << bit(c, 4, SLOT);
                }
                words[4 * lane..][..4].copy_from_slice(&u32::to_le_bytes(word));
            }
        }
    }
}

/// What distinguishes the forms of FP8.
pub trait Fp8 {
    /// The form.
    const FORM: Form;
    /// Bits of the mantissa.
    const MANTISSA: u32;
    /// What `widen` leaves out: a power of two.
    const FACTOR: f32;
}

/// E4M3.
#[derive(Debug)]
pub struct E4m3;
/// E5M2.
#[derive(Debug)]
pub struct E5m2;

impl Fp8 for E4m3 {
    const FORM: Form = Form::E4m3;
    const MANTISSA: u32 = 3;
    const FACTOR: f32 = f32::from_bits((127 + 120) << 23);
}

impl Fp8 for E5m2 {
    const FORM: Form = Form::E5m2;
    const MANTISSA: u32 = 2;
    const FACTOR: f32 = f32::from_bits((127 + 112) << 23);
}

/// The **fp8** layout of `R` rows.
pub const fn fp8_columns<W: Fp8, const R: usize>(name: &'static str) -> Layout {
    Layout {
        skips: Skips::Nothing,
        name,
        form: W::FORM,
        panel: R,
        step: 4,
        panel_bytes: |cols| (4 * cols.div_ceil(FP8_SPAN) + cols) * R,
        pack: pack_fp8::<W, R>,
        unpack: |panel, lane, out| {
            for (out, span) in out.chunks_mut(FP8_SPAN).zip(Fp8Span::<R>::all(panel)) {
                out.iter_mut().enumerate().for_each(|(k, out)| *out = span.value::<W>(lane, k));
            }
        },
    }
}

/// A span of `R` rows.
#[derive(Clone, Copy)]
pub(super) struct Fp8Span<'a, const R: usize> {
    scales: &'a [u8],
    columns: &'a [u8],
}

impl<'a, const R: usize> Fp8Span<'a, R> {
    /// The spans of a panel.
    pub(super) fn all(panel: &'a [u8]) -> impl Iterator<Item = Self> {
        panel.chunks((4 + FP8_SPAN) * R).map(|span| {
            let (scales, columns) = span.split_at(4 * R);
            Self { scales, columns }
        })
    }

    /// The weight of column `k`. The power of two goes to the scale, where it is exact.
    #[inline]
    pub(super) fn value<W: Fp8>(&self, lane: usize, k: usize) -> f32 {
        widen(self.columns[k * R + lane], W::MANTISSA) * (get_f32(self.scales, lane) * W::FACTOR)
    }
}

fn pack_fp8<W: Fp8, const R: usize>(isa: Isa, rows: &[FormRow], lane: usize, panel: &mut [u8]) {
    vectorised(
        isa,
        #[inline(always)]
        || {
            for (s, span) in panel.chunks_mut((4 + FP8_SPAN) * R).enumerate() {
                let (scales, columns) = span.split_at_mut(4 * R);
                for (lane, row) in (lane..).zip(rows) {
                    if let Some(&scale) = row.scales.get(s) {
                        put_f32(scales, lane, scale);
                    }
                    let floats = row.floats.get(s * FP8_SPAN..).unwrap_or(&[]);
                    for (&value, column) in floats.iter().zip(columns.chunks_exact_mut(R)) {
                        // Exact, because the value is one of the form.
                        let bits = (value * (1.0 / W::FACTOR)).to_bits();
                        column[lane] = (bits >> 24 & 0x80 | bits >> (23 - W::MANTISSA) & 0x7F) as u8;
                    }
                }
            }
        },
    );
}
