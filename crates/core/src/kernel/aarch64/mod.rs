//! Kernels for AArch64, one file per ISA level.

pub mod dotprod;
pub mod neon;
pub mod neon_columns;
