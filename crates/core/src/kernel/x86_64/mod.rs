//! Kernels for x86-64, one file per ISA level.

pub mod avx2;
pub mod avx512vnni;
pub mod avxvnni;

/// Whether this CPU has all of the features: asked at run time where there is `std`, else fixed when
/// compiling.
macro_rules! has {
    ($($feature:tt),+) => {{
        #[cfg(feature = "std")]
        { $(std::arch::is_x86_feature_detected!($feature))&&+ }
        #[cfg(not(feature = "std"))]
        { $(cfg!(target_feature = $feature))&&+ }
    }};
}
use has;

/// See [`super::vectorised`].
#[inline(always)]
pub fn vectorised<R>(f: impl FnOnce() -> R) -> R {
    #[target_feature(enable = "avx2")]
    fn avx2<R>(f: impl FnOnce() -> R) -> R {
        f()
    }
    if has!("avx2") {
        // SAFETY: the CPU has AVX2.
        unsafe { avx2(f) }
    } else {
        f()
    }
}
