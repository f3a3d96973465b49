//! Zeroed memory on cache-line boundaries, for panels and activations.
//!
//! Invariant: the first element is aligned to 64 bytes, so that a vector load at a multiple of 64
//! never crosses a cache line.

use alloc::vec::Vec;
use core::{
    marker::PhantomData,
    mem::MaybeUninit,
    ops::{Deref, DerefMut},
};

use crate::{
    Result,
    pool::{self, Pool, Serial},
};

/// Lines below this are not worth a task of their own: a quarter of a megabyte.
const TASK: usize = 1 << 12;

/// One cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// Plain numbers: every bit pattern is a value, alignment at most 64.
///
/// # Safety
/// Implementors must have no padding, no invalid bit pattern, and a size that divides 64.
pub unsafe trait Plain: Copy + Send + Sync + 'static {}

// SAFETY: integers and floats are plain.
unsafe impl Plain for u8 {}
// SAFETY: as above.
unsafe impl Plain for i8 {}
// SAFETY: as above.
unsafe impl Plain for i16 {}
// SAFETY: as above.
unsafe impl Plain for f32 {}

/// A growable slice of numbers whose start is aligned to 64 bytes.
#[derive(Clone)]
pub struct Buffer<T> {
    lines: Vec<Line>,
    len: usize,
    kind: PhantomData<T>,
}

impl<T: Plain> Buffer<T> {
    /// No elements; allocates nothing.
    pub const fn new() -> Self {
        Self { lines: Vec::new(), len: 0, kind: PhantomData }
    }

    /// Takes memory for `len` elements from the allocator, and does not touch it yet.
    ///
    /// # Errors
    /// `out-of-memory`.
    pub fn reserve(&mut self, len: usize) -> Result<()> {
        let lines = len.saturating_mul(size_of::<T>()).div_ceil(64);
        Ok(self.lines.try_reserve_exact(lines.saturating_sub(self.lines.len()))?)
    }

    /// Whether `len` elements fit into the memory it has.
    pub fn is_reserved(&self, len: usize) -> bool {
        len.saturating_mul(size_of::<T>()).div_ceil(64) <= self.lines.capacity()
    }

    /// Sets the length. New elements are zero or left over from before; memory is never given back.
    ///
    /// # Errors
    /// `out-of-memory`.
    pub fn resize(&mut self, len: usize) -> Result<()> {
        self.resize_on(len, &Serial)
    }

    /// As [`Buffer::resize`], by the threads of `pool`: most of the time goes to the system, which makes memory
    /// out of addresses when they are first touched.
    ///
    /// # Errors
    /// `out-of-memory`.
    pub fn resize_on(&mut self, len: usize, pool: &dyn Pool) -> Result<()> {
        let lines = len.saturating_mul(size_of::<T>()).div_ceil(64);
        if let Some(new) = lines.checked_sub(self.lines.len()).filter(|&new| new > 0) {
            self.lines.try_reserve_exact(new)?;
            let fresh = &mut self.lines.spare_capacity_mut()[..new];
            let each = new.div_ceil(pool.width()).max(TASK);
            pool::chunks(pool, fresh, each, &|_, lines| lines.fill(MaybeUninit::new(Line([0; 64]))));
            // SAFETY: there is room for so many, and all of them were written.
            unsafe { self.lines.set_len(lines) };
        }
        self.len = len;
        Ok(())
    }
}

impl<T: Plain> Default for Buffer<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Plain> Deref for Buffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `lines` holds at least `len * size_of::<T>()` initialised bytes (see `resize`),
        // aligned to 64, and `T` is plain.
        unsafe { core::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl<T: Plain> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`; `&mut self` makes it exclusive.
        unsafe { core::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

impl<T: Plain> core::fmt::Debug for Buffer<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Buffer({})", self.len)
    }
}
