//! Multiply-add of pairs: the one instruction that every vector instruction set has for products of 16-bit
//! integers, and that compilers do not find on their own.

use super::{Isa, Vectors};

/// Sums of 32 bits in `WIDTH` lanes.
pub trait Pairs {
    /// Lanes; 8 or 16.
    const WIDTH: usize;
    /// `WIDTH` sums.
    type Sums: Copy;

    /// All 0.
    fn zero() -> Self::Sums;

    /// Adds `codes[2 i] · x[0] + codes[2 i + 1] · x[1]` to sum `i`: signed bytes, of which the first
    /// 2 `WIDTH` are taken; `x` as a [`pair`].
    ///
    /// # Panics
    /// If there are fewer.
    fn add(sums: Self::Sums, codes: &[u8], x: i32) -> Self::Sums;

    /// Writes the sums to the front of `out`.
    ///
    /// # Panics
    /// If it is too short.
    fn store(sums: Self::Sums, out: &mut [i32]);
}

/// Two 16-bit numbers as one of 32 bits, which vector instruction sets load into all lanes at once.
#[inline(always)]
pub fn pair(x: [i16; 2]) -> i32 {
    i32::from(x[1]) << 16 | i32::from(x[0] as u16)
}

/// Something to do with [`Pairs`].
pub trait WithPairs {
    /// Does it; to be `#[inline(always)]`, as it is compiled for several instruction sets.
    fn run<P: Pairs>(self);
}

/// Does `work` with the widest vectors of `isa`. Integers are exact, so all give the same.
#[inline(always)]
pub fn with_pairs(isa: Isa, work: impl WithPairs) {
    match isa.vectors() {
        #[cfg(target_arch = "x86_64")]
        Vectors::Avx512Vnni => {
            #[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl,avx512vnni")]
            fn avx512(work: impl WithPairs) {
                work.run::<x86_64::Avx512>();
            }
            // SAFETY: `isa` exists, so the CPU has these.
            unsafe { avx512(work) }
        }
        #[cfg(target_arch = "x86_64")]
        Vectors::Avx2 => {
            #[target_feature(enable = "avx2")]
            fn avx2(work: impl WithPairs) {
                work.run::<x86_64::Avx2>();
            }
            // SAFETY: as above.
            unsafe { avx2(work) }
        }
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        Vectors::Simd128 => work.run::<wasm32::Simd128>(),
        Vectors::Portable => work.run::<Portable>(),
    }
}

/// The reference implementation.
pub struct Portable;

impl Pairs for Portable {
    const WIDTH: usize = 8;
    type Sums = [i32; 8];

    #[inline(always)]
    fn zero() -> Self::Sums {
        [0; 8]
    }

    #[inline(always)]
    fn add(mut sums: Self::Sums, codes: &[u8], x: i32) -> Self::Sums {
        let (x0, x1) = (i32::from(x as i16), x >> 16);
        for (sum, [a, b]) in sums.iter_mut().zip(codes[..16].as_chunks::<2>().0) {
            *sum += i32::from(*a as i8) * x0 + i32::from(*b as i8) * x1;
        }
        sums
    }

    #[inline(always)]
    fn store(sums: Self::Sums, out: &mut [i32]) {
        out[..8].copy_from_slice(&sums);
    }
}

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    //! `run` is called by [`with_pairs`](super::with_pairs) alone, on CPUs that have the instructions.
    use core::arch::x86_64::*;

    use super::Pairs;

    pub struct Avx2;

    impl Pairs for Avx2 {
        const WIDTH: usize = 16;
        type Sums = [__m256i; 2];

        #[inline(always)]
        fn zero() -> Self::Sums {
            // SAFETY: the CPU has AVX.
            unsafe { [_mm256_setzero_si256(); 2] }
        }

        #[inline(always)]
        fn add([a, b]: Self::Sums, codes: &[u8], x: i32) -> Self::Sums {
            let codes = &codes[..32];
            // SAFETY: the CPU has AVX2; 32 bytes are there.
            unsafe {
                let x = _mm256_set1_epi32(x);
                let part =
                    |i: usize| _mm256_cvtepi8_epi16(_mm_loadu_si128(codes.as_ptr().add(16 * i).cast()));
                let product = |i| _mm256_madd_epi16(part(i), x);
                [_mm256_add_epi32(a, product(0)), _mm256_add_epi32(b, product(1))]
            }
        }

        #[inline(always)]
        fn store([a, b]: Self::Sums, out: &mut [i32]) {
            let out = &mut out[..16];
            // SAFETY: the CPU has AVX; there is room for 64 bytes.
            unsafe {
                _mm256_storeu_si256(out.as_mut_ptr().cast(), a);
                _mm256_storeu_si256(out.as_mut_ptr().add(8).cast(), b);
            }
        }
    }

    pub struct Avx512;

    impl Pairs for Avx512 {
        const WIDTH: usize = 16;
        type Sums = __m512i;

        #[inline(always)]
        fn zero() -> Self::Sums {
            // SAFETY: the CPU has AVX-512.
            unsafe { _mm512_setzero_si512() }
        }

        #[inline(always)]
        fn add(sums: Self::Sums, codes: &[u8], x: i32) -> Self::Sums {
            let codes = &codes[..32];
            // SAFETY: the CPU has AVX-512 with BW and VNNI; 32 bytes are there.
            unsafe {
                let codes = _mm512_cvtepi8_epi16(_mm256_loadu_si256(codes.as_ptr().cast()));
                _mm512_dpwssd_epi32(sums, codes, _mm512_set1_epi32(x))
            }
        }

        #[inline(always)]
        fn store(sums: Self::Sums, out: &mut [i32]) {
            let out = &mut out[..16];
            // SAFETY: the CPU has AVX-512; there is room for 64 bytes.
            unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), sums) }
        }
    }
}

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wasm32 {
    use core::arch::wasm32::*;

    use super::Pairs;

    pub struct Simd128;

    impl Pairs for Simd128 {
        const WIDTH: usize = 8;
        type Sums = [v128; 2];

        #[inline(always)]
        fn zero() -> Self::Sums {
            [i32x4_splat(0); 2]
        }

        #[inline(always)]
        fn add([a, b]: Self::Sums, codes: &[u8], x: i32) -> Self::Sums {
            let codes = &codes[..16];
            // SAFETY: 16 bytes are there.
            let codes = unsafe { v128_load(codes.as_ptr().cast()) };
            let x = i32x4_splat(x);
            [
                i32x4_add(a, i32x4_dot_i16x8(i16x8_extend_low_i8x16(codes), x)),
                i32x4_add(b, i32x4_dot_i16x8(i16x8_extend_high_i8x16(codes), x)),
            ]
        }

        #[inline(always)]
        fn store([a, b]: Self::Sums, out: &mut [i32]) {
            let out = &mut out[..8];
            // SAFETY: there is room for 32 bytes.
            unsafe {
                v128_store(out.as_mut_ptr().cast(), a);
                v128_store(out.as_mut_ptr().add(4).cast(), b);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Name<'a>(&'a mut &'static str);

    impl WithPairs for Name<'_> {
        fn run<P: Pairs>(self) {
            *self.0 = core::any::type_name::<P>();
        }
    }

    #[test]
    fn scalar_is_portable() {
        let mut name = "";
        with_pairs(Isa::SCALAR, Name(&mut name));
        assert_eq!(name, core::any::type_name::<Portable>());
        assert_eq!(Isa::SCALAR.vectors(), Vectors::Portable);
    }
}
