//! How rows of weights lie in memory. A [`Layout`] is the identity of packed data: kernels that name
//! the same layout read the same bytes.
//!
//! A matrix is a sequence of *panels*, each of `panel` interleaved rows, so that a kernel walks one
//! forward stream of bytes and one load of activations serves several rows. Four families, each
//! generic over its width (width 1 is the scalar kernels'):
//!
//! **fields** (`Ternary`): 8 rows × `V` columns in `2V` bytes; two bits a code, stored as `code + 1`.
//! ```text
//! byte j     of the group: rows 0, 1, 2, 3 of column k + j, at bits 0, 2, 4, 6
//! byte V + j of the group: rows 4, 5, 6, 7 of column k + j
//! ```
//! or, *paired*, bytes 2j and 2j + 1, so that 16-bit lanes are columns.
//! **words** (`Q2 Q4 Q8 Q8x16`): `R` rows × one span of columns; first the scales (and mins) of the
//! span, `R` f32 each, then vectors of `R` words of 32 bits, one a row. With slots of 8 bits a word of
//! 4-bit codes holds columns (each square is 4 bits, low bits first) `0 4 | 1 5 | 2 6 | 3 7`, so that a
//! mask gives four adjacent columns as bytes; with slots of 16 bits it is `0 2 4 6 | 1 3 5 7`, so that a
//! mask gives two adjacent columns as 16-bit lanes. Codes of 2 bits are stored as `code + 1`.
//!
//! **bytes** (`I8`): `R` sums of row codes (i32), then vectors of `R` words of four columns (slots of
//! 16 bits: `0 2 | 1 3`).
//!
//! Floats have layouts of their own ([`float_layout`](super::float_layout)), and so have those of 4 and 8 bits
//! ([`minifloats`](super::minifloats)).
//!
//! Invariant: `unpack(pack(row)) == row`, and packing a lane changes no other lane. Codes of padding
//! columns meet activations of 0 (for `I8`, they are 0).

use crate::{
    format::{Form, FormRow},
    kernel::Skips,
    math::{amax, round},
    simd::{Isa, vectorised},
};

/// A byte layout of packed weights.
pub struct Layout {
    /// `form/width`, unique.
    pub name: &'static str,
    /// The form it holds.
    pub form: Form,
    /// Rows interleaved in a panel.
    pub panel: usize,
    /// Columns are padded to a multiple of this (≤ 64).
    pub step: usize,
    /// Bytes of a panel with so many (padded) columns.
    pub panel_bytes: fn(usize) -> usize,
    /// Writes rows into as many lanes of a panel, from a lane on. A whole panel at once is several times
    /// faster than its rows one by one.
    pub pack: fn(Isa, &[FormRow], usize, &mut [u8]),
    /// Reads a lane of a panel as values, without the row scale of `Ternary` and `I8`. The length of
    /// the slice says how many columns.
    pub unpack: fn(&[u8], usize, &mut [f32]),
    /// What its kernels leave unread.
    pub skips: Skips,
}

impl Layout {
    /// Bytes of a matrix (rows, cols), row scales included.
    pub fn matrix_bytes(&self, rows: usize, cols: usize) -> u64 {
        let panels = rows.div_ceil(self.panel) as u64;
        let scales = if self.form.has_row_scales() { 4 * rows as u64 } else { 0 };
        panels * (self.panel_bytes)(cols.next_multiple_of(self.step)) as u64 + scales
    }
}

impl core::fmt::Debug for Layout {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Layout {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

// ---- fields ---------------------------------------------------------------------------------------

/// The **fields** layout with `V` columns a group.
pub const fn fields<const V: usize, const PAIRED: bool>(name: &'static str) -> Layout {
    Layout {
        name,
        form: Form::Ternary,
        panel: 8,
        step: V,
        panel_bytes: |cols| cols * 2,
        pack: pack_fields::<V, PAIRED>,
        unpack: unpack_fields::<V, PAIRED>,
        skips: Skips::Nothing,
    }
}

/// The first byte of a lane in a group, and the distance between its bytes.
const fn field_bytes(lane: usize, v: usize, paired: bool) -> (usize, usize) {
    if paired { (lane / 4, 2) } else { (lane / 4 * v, 1) }
}

fn pack_fields<const V: usize, const PAIRED: bool>(
    isa: Isa,
    rows: &[FormRow],
    lane: usize,
    panel: &mut [u8],
) {
    vectorised(
        isa,
        #[inline(always)]
        || match rows.as_array::<8>() {
            Some(rows) => pack_field_panel::<V, PAIRED>(rows, panel),
            None => (lane..).zip(rows).for_each(|(lane, row)| pack_field_lane::<V, PAIRED>(row, lane, panel)),
        },
    );
}

/// Each byte is written once, whole.
#[inline(always)]
fn pack_field_panel<const V: usize, const PAIRED: bool>(rows: &[FormRow; 8], panel: &mut [u8]) {
    let field = |code: i8, f: usize| ((code + 1) as u8) << (2 * f);
    let byte = |[a, b, c, d]: [i8; 4]| field(a, 0) | field(b, 1) | field(c, 2) | field(d, 3);
    let lanes = rows.each_ref().map(|row| row.codes.as_chunks::<V>());
    let whole = lanes[0].0.len();
    let columns = lanes.map(|(columns, _)| &columns[..whole]);
    let (groups, rest) = panel.split_at_mut(2 * V * whole);
    for half in 0..2 {
        let (first, step) = field_bytes(4 * half, V, PAIRED);
        let (a, b, c, d) =
            (columns[4 * half], columns[4 * half + 1], columns[4 * half + 2], columns[4 * half + 3]);
        for (g, group) in groups.chunks_exact_mut(2 * V).enumerate() {
            let (a, b, c, d) = (&a[g], &b[g], &c[g], &d[g]);
            // A loop of known length, written out, becomes a few vector instructions.
            let mut bytes = [0; V];
            for k in 0..V {
                bytes[k] = byte([a[k], b[k], c[k], d[k]]);
            }
            for k in 0..V {
                group[first + step * k] = bytes[k];
            }
        }
        for k in 0..rest.len() / 2 {
            let code = |f: usize| lanes[4 * half + f].1.get(k).copied().unwrap_or(-1);
            rest[first + step * k] = byte([code(0), code(1), code(2), code(3)]);
        }
    }
}

/// Leaves the panel's other lanes alone.
#[inline(always)]
fn pack_field_lane<const V: usize, const PAIRED: bool>(row: &FormRow, lane: usize, panel: &mut [u8]) {
    let (first, step) = field_bytes(lane, V, PAIRED);
    let shift = lane % 4 * 2;
    for (codes, group) in row.codes.chunks(V).zip(panel.chunks_exact_mut(2 * V)) {
        for (byte, &code) in group[first..].iter_mut().step_by(step).zip(codes) {
            *byte = *byte & !(3 << shift) | ((code + 1) as u8) << shift;
        }
    }
}

fn unpack_fields<const V: usize, const PAIRED: bool>(panel: &[u8], lane: usize, out: &mut [f32]) {
    let (first, step) = field_bytes(lane, V, PAIRED);
    let shift = lane % 4 * 2;
    for (out, group) in out.chunks_mut(V).zip(panel.chunks_exact(2 * V)) {
        for (out, byte) in out.iter_mut().zip(group[first..].iter().step_by(step)) {
            *out = f32::from((byte >> shift & 3) as i8 - 1);
        }
    }
}

// ---- words ----------------------------------------------------------------------------------------

/// What distinguishes the block forms.
pub trait Block {
    /// The form.
    const FORM: Form;
    /// Bits of a code.
    const BITS: usize;
    /// Columns of a span.
    const SPAN: usize;
    /// Columns that share a scale.
    const BLOCK: usize;
    /// Whether each scale has a min beside it.
    const MINS: bool;
    /// What is added to a code before it is stored in the low `BITS` bits.
    const BIAS: i8;

    /// Scales, or scales and mins, of a span.
    const SCALES: usize = Self::SPAN / Self::BLOCK * if Self::MINS { 2 } else { 1 };
    /// Bytes of scales and mins of a span of `rows` rows.
    fn scale_bytes(rows: usize) -> usize {
        Self::SCALES * 4 * rows
    }
    /// Bytes of a span of `rows` rows.
    fn span_bytes(rows: usize) -> usize {
        Self::scale_bytes(rows) + Self::SPAN * Self::BITS / 8 * rows
    }
}

macro_rules! block {
    ($name:ident, $bits:literal bits, span $span:literal, block $block:literal, mins $mins:literal, bias $bias:literal) => {
        #[doc = concat!("The block form `", stringify!($name), "`.")]
        #[derive(Debug)]
        pub struct $name;
        impl Block for $name {
            const FORM: Form = Form::$name;
            const BITS: usize = $bits;
            const SPAN: usize = $span;
            const BLOCK: usize = $block;
            const MINS: bool = $mins;
            const BIAS: i8 = $bias;
        }
    };
}
block!(Q2, 2 bits, span 64, block 64, mins false, bias 1);
block!(Q4, 4 bits, span 32, block 32, mins true, bias 0);
block!(Q8, 8 bits, span 32, block 32, mins true, bias 0);
block!(Q8x16, 8 bits, span 32, block 16, mins true, bias 0);

/// The **words** layout of `R` rows with slots of `SLOT` bits.
pub const fn words<B: Block, const R: usize, const SLOT: usize>(name: &'static str) -> Layout {
    Layout {
        name,
        form: B::FORM,
        panel: R,
        step: B::SPAN,
        panel_bytes: |cols| cols / B::SPAN * B::span_bytes(R),
        pack: pack_words::<B, R, SLOT>,
        unpack: unpack_words::<B, R, SLOT>,
        skips: Skips::Nothing,
    }
}

/// The bit of a word at which its column `c` begins.
pub(super) const fn bit(c: usize, bits: usize, slot: usize) -> usize {
    let slots = 32 / slot;
    slot * (c % slots) + bits * (c / slots)
}

fn pack_words<B: Block, const R: usize, const SLOT: usize>(
    _: Isa,
    rows: &[FormRow],
    lane: usize,
    panel: &mut [u8],
) {
    (lane..).zip(rows).for_each(|(lane, row)| pack_word_lane::<B, R, SLOT>(row, lane, panel));
}

fn pack_word_lane<B: Block, const R: usize, const SLOT: usize>(row: &FormRow, lane: usize, panel: &mut [u8]) {
    let per_span = B::SPAN / B::BLOCK;
    let mins = |i: usize| row.mins.get(i).copied().unwrap_or(0.0);
    let spans = row.codes.chunks(B::SPAN).zip(panel.chunks_exact_mut(B::span_bytes(R)));
    for (s, (codes, span)) in spans.enumerate() {
        let (scales, words) = span.split_at_mut(B::scale_bytes(R));
        for i in 0..per_span {
            let block = s * per_span + i;
            let scale = row.scales.get(block).copied().unwrap_or(0.0);
            if B::MINS {
                put_f32(scales, (2 * i) * R + lane, scale);
                put_f32(scales, (2 * i + 1) * R + lane, mins(block));
            } else {
                put_f32(scales, i * R + lane, scale);
            }
        }
        let put = |codes: &[i8], words: &mut [u8]| {
            let mask = (1_u32 << B::BITS) - 1;
            let mut word = 0;
            for (c, &code) in codes.iter().enumerate() {
                word |= (code.wrapping_add(B::BIAS) as u32 & mask) << bit(c, B::BITS, SLOT);
            }
            words[4 * lane..][..4].copy_from_slice(&word.to_le_bytes());
        };
        // Whole words apart: a loop of known length is unrolled.
        let mut whole = codes.chunks_exact(32 / B::BITS);
        let mut words = words.chunks_exact_mut(4 * R);
        whole.by_ref().zip(words.by_ref()).for_each(|(codes, words)| put(codes, words));
        if let (false, Some(words)) = (whole.remainder().is_empty(), words.next()) {
            put(whole.remainder(), words);
        }
    }
}

fn unpack_words<B: Block, const R: usize, const SLOT: usize>(panel: &[u8], lane: usize, out: &mut [f32]) {
    for (out, span) in out.chunks_mut(B::SPAN).zip(panel.chunks_exact(B::span_bytes(R))) {
        for (k, out) in out.iter_mut().enumerate() {
            let (scale, min) = word_scale::<B, R>(span, lane, k);
            *out = scale * word_code::<B, R, SLOT>(span, lane, k) as f32 + min;
        }
    }
}

/// Scale and min of column `k` of a span.
#[inline]
pub fn word_scale<B: Block, const R: usize>(span: &[u8], lane: usize, k: usize) -> (f32, f32) {
    let block = k / B::BLOCK;
    if B::MINS {
        (get_f32(span, 2 * block * R + lane), get_f32(span, (2 * block + 1) * R + lane))
    } else {
        (get_f32(span, block * R + lane), 0.0)
    }
}

/// The code of column `k` of a span.
#[inline]
pub fn word_code<B: Block, const R: usize, const SLOT: usize>(span: &[u8], lane: usize, k: usize) -> i32 {
    let per_word = 32 / B::BITS;
    let bit = bit(k % per_word, B::BITS, SLOT);
    let byte = span[B::scale_bytes(R) + (k / per_word * R + lane) * 4 + bit / 8];
    if B::BITS == 8 {
        i32::from(byte as i8)
    } else {
        i32::from(byte >> (bit % 8) & ((1 << (B::BITS % 8)) - 1)) - i32::from(B::BIAS)
    }
}

// ---- bytes ----------------------------------------------------------------------------------------

/// The **bytes** layout of `R` rows with slots of `SLOT` bits.
pub const fn bytes<const R: usize, const SLOT: usize>(name: &'static str) -> Layout {
    Layout {
        name,
        form: Form::I8,
        panel: R,
        step: 16,
        panel_bytes: |cols| (cols + 4) * R,
        pack: pack_bytes::<R, SLOT>,
        unpack: |panel, lane, out| {
            for (k, out) in out.iter_mut().enumerate() {
                *out = byte_code::<R, SLOT>(panel, lane, k) as f32;
            }
        },
        skips: Skips::Nothing,
    }
}

fn pack_bytes<const R: usize, const SLOT: usize>(_: Isa, rows: &[FormRow], lane: usize, panel: &mut [u8]) {
    let (sums, words) = panel.split_at_mut(4 * R);
    for (row, sum) in rows.iter().zip(sums[4 * lane..].as_chunks_mut::<4>().0) {
        *sum = row.codes.iter().map(|&c| i32::from(c)).sum::<i32>().to_le_bytes();
    }
    let word = |codes: &[i8]| {
        let mut word = [0; 4];
        for (c, &code) in codes.iter().enumerate() {
            word[bit(c, 8, SLOT) / 8] = code as u8;
        }
        word
    };
    // Words of a column side by side: the panel is written front to back.
    let lanes: [_; R] =
        core::array::from_fn(|i| rows.get(i).map_or(&[][..], |row| &row.codes).as_chunks::<4>());
    let lanes = &lanes[..rows.len()];
    let whole = lanes.first().map_or(0, |(codes, _)| codes.len());
    let mut columns = words.chunks_exact_mut(4 * R).map(|words| &mut words.as_chunks_mut::<4>().0[lane..]);
    for (c, words) in columns.by_ref().take(whole).enumerate() {
        words.iter_mut().zip(lanes).for_each(|(to, (codes, _))| *to = word(&codes[c]));
    }
    if let Some(words) = columns.next() {
        words.iter_mut().zip(lanes).for_each(|(to, (_, rest))| *to = word(rest));
    }
}

/// The sum of the codes of a row.
#[inline]
pub fn byte_sum(panel: &[u8], lane: usize) -> i32 {
    get_f32(panel, lane).to_bits() as i32
}

/// The code of column `k`.
#[inline]
pub fn byte_code<const R: usize, const SLOT: usize>(panel: &[u8], lane: usize, k: usize) -> i32 {
    i32::from(panel[4 * R + (k / 4 * R + lane) * 4 + bit(k % 4, 8, SLOT) / 8] as i8)
}

// ---- bits -----------------------------------------------------------------------------------------

#[inline]
pub(super) fn get_f32(bytes: &[u8], i: usize) -> f32 {
    let bytes = &bytes[4 * i..][..4];
    f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

pub(super) fn put_f32(bytes: &mut [u8], i: usize, value: f32) {
    bytes[4 * i..][..4].copy_from_slice(&value.to_le_bytes());
}

/// Quantises a row of floats to [`Form::I8`]: `scale = amax / 127`, `code = rint(value / scale)` (ties
/// to even; all codes 0 for a row of zeros).
pub fn quantise_i8(isa: Isa, values: &[f32], row: &mut FormRow) {
    row.clear();
    vectorised(
        isa,
        #[inline(always)]
        || {
            let scale = amax(values) / 127.0;
            // Quotients exceed 127 only where the scale is subnormal.
            let code = |v: &f32| if scale == 0.0 { 0 } else { round(v / scale).clamp(-127, 127) as i8 };
            row.codes.extend(values.iter().map(code));
            row.scales.push(scale);
        },
    );
}
