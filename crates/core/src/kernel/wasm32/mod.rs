//! Kernels for WebAssembly. A module that has relaxed SIMD has them all; which instructions an engine
//! makes of a relaxed dot product decides whether `relaxed` or `relaxed-i16` is faster.

pub mod simd128;
pub mod simd128_sparse;

#[cfg(target_feature = "relaxed-simd")]
pub mod relaxed;
#[cfg(target_feature = "relaxed-simd")]
mod relaxed_columns;
