//! What vector instructions need from portable code: which instruction set level runs, memory aligned to
//! cache lines, code compiled for wide vectors, and products of pairs. Nothing here knows what is computed.

mod buffer;
mod halves;
mod isa;
mod pairs;

pub use buffer::{Buffer, Plain};
#[cfg(test)]
pub(crate) use halves::Portable as PortableHalves;
pub use halves::{HALVES, Halves, WithHalves, with_halves};
pub use isa::{Isa, Level};
pub(crate) use isa::{SCALAR, Vectors};
pub use pairs::{Pairs, WithPairs, pair, with_pairs};

/// Whether this x86 CPU has all of the features: asked at run time where there is `std`, else fixed when
/// compiling.
#[cfg(target_arch = "x86_64")]
macro_rules! has {
    ($($feature:tt),+) => {{
        #[cfg(feature = "std")]
        { $(std::arch::is_x86_feature_detected!($feature))&&+ }
        #[cfg(not(feature = "std"))]
        { $(cfg!(target_feature = $feature))&&+ }
    }};
}
#[cfg(target_arch = "x86_64")]
pub(crate) use has;

/// Calls `f`, compiled for the widest vectors of `isa` that the compiler may use on its own: what is inlined
/// into `f` gets them. The bits are the same, since nothing is reordered or contracted.
///
/// `f` must be written `#[inline(always)] || …`: it is called from two places (with wide vectors and
/// without), so the compiler would else make one function of it, without.
#[inline(always)]
pub fn vectorised<R>(isa: Isa, f: impl FnOnce() -> R) -> R {
    match isa.vectors() {
        #[cfg(target_arch = "x86_64")]
        Vectors::Avx2 | Vectors::Avx512Vnni => {
            #[target_feature(enable = "avx2")]
            fn avx2<R>(f: impl FnOnce() -> R) -> R {
                f()
            }
            // SAFETY: `isa` exists, so the CPU has AVX2.
            unsafe { avx2(f) }
        }
        _ => f(),
    }
}
