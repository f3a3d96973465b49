//! Kernels for x86-64, one file per ISA level.

pub mod avx2;
pub mod avx2_columns;
pub mod avx512vnni;
pub mod avxvnni;
