//! Half floats to f32: one instruction where there is one, which compilers do not find on their own.

use super::{Isa, Vectors};
use crate::math::finite_f16_to_f32;

/// How many are converted at once.
pub const HALVES: usize = 16;

/// Converts half floats.
pub trait Halves {
    /// The first [`HALVES`] little-endian half floats of `bytes`, which are finite; exact.
    ///
    /// # Panics
    /// If there are fewer.
    fn load(bytes: &[u8]) -> [f32; HALVES];
}

/// Something to do with [`Halves`].
pub trait WithHalves {
    /// Does it; to be `#[inline(always)]`, as it is compiled for several instruction sets.
    fn run<H: Halves>(self);
}

/// Does `work` with the widest vectors of `isa`. The conversion is exact, so all give the same.
#[inline(always)]
pub fn with_halves(isa: Isa, work: impl WithHalves) {
    match isa.vectors() {
        #[cfg(target_arch = "x86_64")]
        Vectors::Avx512Vnni => {
            #[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl")]
            fn avx512(work: impl WithHalves) {
                work.run::<x86_64::Avx512>();
            }
            // SAFETY: `isa` exists, so the CPU has these.
            unsafe { avx512(work) }
        }
        #[cfg(target_arch = "x86_64")]
        Vectors::Avx2 => {
            #[target_feature(enable = "avx2,f16c")]
            fn avx2(work: impl WithHalves) {
                work.run::<x86_64::F16c>();
            }
            // SAFETY: as above: the levels with these vectors ask for F16C too.
            unsafe { avx2(work) }
        }
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        Vectors::Simd128 => work.run::<Portable>(),
        Vectors::Portable => work.run::<Portable>(),
    }
}

/// The reference implementation.
pub struct Portable;

impl Halves for Portable {
    #[inline(always)]
    fn load(bytes: &[u8]) -> [f32; HALVES] {
        let halves = &bytes.as_chunks::<2>().0[..HALVES];
        core::array::from_fn(|i| finite_f16_to_f32(u16::from_le_bytes(halves[i])))
    }
}

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    //! `run` is called by [`with_halves`](super::with_halves) alone, on CPUs that have the instructions.
    use core::arch::x86_64::*;

    use super::{HALVES, Halves};

    pub struct F16c;

    impl Halves for F16c {
        #[inline(always)]
        fn load(bytes: &[u8]) -> [f32; HALVES] {
            let bytes = &bytes[..2 * HALVES];
            let mut out = [0.0; HALVES];
            // SAFETY: the CPU has F16C; 32 bytes are there, and room for 64.
            unsafe {
                for i in 0..2 {
                    let halves = _mm_loadu_si128(bytes.as_ptr().add(16 * i).cast());
                    _mm256_storeu_ps(out.as_mut_ptr().add(8 * i), _mm256_cvtph_ps(halves));
                }
            }
            out
        }
    }

    pub struct Avx512;

    impl Halves for Avx512 {
        #[inline(always)]
        fn load(bytes: &[u8]) -> [f32; HALVES] {
            let bytes = &bytes[..2 * HALVES];
            let mut out = [0.0; HALVES];
            // SAFETY: the CPU has AVX-512; 32 bytes are there, and room for 64.
            unsafe {
                let halves = _mm256_loadu_si256(bytes.as_ptr().cast());
                _mm512_storeu_ps(out.as_mut_ptr(), _mm512_cvtph_ps(halves));
            }
            out
        }
    }
}
