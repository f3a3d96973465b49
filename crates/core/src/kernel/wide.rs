//! Ordinary loops, compiled once more for wider registers.

/// Runs `f`, compiled for the widest registers this CPU has (AVX2 on x86-64; elsewhere the target's own).
///
/// `f` must be small enough to be inlined, as must what it calls (`#[inline(always)]`). The result cannot
/// change: Rust neither reorders nor contracts float operations, whatever instructions it may use.
#[inline(always)]
pub fn wide<R>(f: impl FnOnce() -> R) -> R {
    #[cfg(all(target_arch = "x86_64", feature = "std"))]
    {
        #[target_feature(enable = "avx,avx2")]
        fn with_avx2<R>(f: impl FnOnce() -> R) -> R {
            f()
        }
        if std::is_x86_feature_detected!("avx2") {
            // SAFETY: this CPU has AVX2.
            return unsafe { with_avx2(f) };
        }
    }
    f()
}
