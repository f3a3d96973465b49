//! The layout of float forms (`F16 BF16 F32`): `[column][R rows]`.

use super::layout::{Layout, get_f32};
use crate::{
    format::{Form, FormRow},
    kernel::Skips,
    math::{bf16_to_f32, f16_to_f32, f32_to_bf16, f32_to_f16},
    simd::{Isa, vectorised},
};

/// What distinguishes the float forms.
pub trait Float {
    /// The form.
    const FORM: Form;
    /// Bytes of a value.
    const BYTES: usize;
    /// Writes a value that is exact in this form.
    fn put(value: f32, out: &mut [u8]);
    /// Reads a value.
    fn get(bytes: &[u8]) -> f32;
}

/// IEEE half precision.
#[derive(Debug)]
pub struct F16;
/// bfloat16.
#[derive(Debug)]
pub struct BF16;
/// Single precision.
#[derive(Debug)]
pub struct F32;

impl Float for F16 {
    const FORM: Form = Form::F16;
    const BYTES: usize = 2;
    #[inline(always)]
    fn put(value: f32, out: &mut [u8]) {
        out.copy_from_slice(&f32_to_f16(value).to_le_bytes());
    }
    #[inline]
    fn get(bytes: &[u8]) -> f32 {
        f16_to_f32(u16::from_le_bytes([bytes[0], bytes[1]]))
    }
}

impl Float for BF16 {
    const FORM: Form = Form::BF16;
    const BYTES: usize = 2;
    #[inline(always)]
    fn put(value: f32, out: &mut [u8]) {
        out.copy_from_slice(&f32_to_bf16(value).to_le_bytes());
    }
    #[inline]
    fn get(bytes: &[u8]) -> f32 {
        bf16_to_f32(u16::from_le_bytes([bytes[0], bytes[1]]))
    }
}

impl Float for F32 {
    const FORM: Form = Form::F32;
    const BYTES: usize = 4;
    #[inline(always)]
    fn put(value: f32, out: &mut [u8]) {
        out.copy_from_slice(&value.to_le_bytes());
    }
    #[inline]
    fn get(bytes: &[u8]) -> f32 {
        get_f32(bytes, 0)
    }
}

/// The **floats** layout of `R` rows.
pub const fn floats<T: Float, const R: usize>(name: &'static str) -> Layout {
    Layout {
        name,
        form: T::FORM,
        panel: R,
        step: 4,
        panel_bytes: |cols| cols * R * T::BYTES,
        pack: pack_floats::<T, R>,
        unpack: |panel, lane, out| {
            for (out, column) in out.iter_mut().zip(panel.chunks_exact(R * T::BYTES)) {
                *out = T::get(&column[lane * T::BYTES..]);
            }
        },
        skips: Skips::Nothing,
    }
}

fn pack_floats<T: Float, const R: usize>(isa: Isa, rows: &[FormRow], lane: usize, panel: &mut [u8]) {
    vectorised(
        isa,
        #[inline(always)]
        || {
            let mut columns = panel.chunks_exact_mut(R * T::BYTES);
            let mut packed = 0;
            if let Some(rows) = rows.as_array::<R>() {
                // Blocks of 8 columns are turned first, so that each column is converted as a vector.
                let mut turned = [[0.0; R]; 8];
                while rows[0].floats.len() - packed >= 8 {
                    for (r, row) in rows.iter().enumerate() {
                        if let Some(values) = row.floats[packed..].first_chunk::<8>() {
                            for c in 0..8 {
                                turned[c][r] = values[c];
                            }
                        }
                    }
                    for values in &turned {
                        if let Some(column) = columns.next() {
                            for (to, &value) in column.chunks_exact_mut(T::BYTES).zip(values) {
                                T::put(value, to);
                            }
                        }
                    }
                    packed += 8;
                }
            }
            for (k, column) in (packed..).zip(columns) {
                for (row, to) in rows.iter().zip(column[lane * T::BYTES..].chunks_exact_mut(T::BYTES)) {
                    row.floats.get(k).into_iter().for_each(|&value| T::put(value, to));
                }
            }
        },
    );
}
