//! The part of an output that one task owns.

use core::{marker::PhantomData, ptr::NonNull};

/// A range of columns of a row-major matrix of f32 (one row per token): the part of an output that
/// one task owns.
#[derive(Debug)]
pub struct Tile<'a> {
    base: NonNull<f32>,
    stride: usize,
    width: usize,
    tokens: usize,
    life: PhantomData<&'a mut [f32]>,
}

impl<'a> Tile<'a> {
    /// The whole of `y` (tokens, `width`).
    ///
    /// # Panics
    /// If `y` does not hold whole rows.
    pub fn whole(y: &'a mut [f32], width: usize) -> Self {
        assert!(width > 0 && y.len().is_multiple_of(width));
        let tokens = y.len() / width;
        Self { base: NonNull::from(y).cast(), stride: width, width, tokens, life: PhantomData }
    }

    /// `width` columns from `base` on, of a matrix of `tokens` rows that are `stride` apart.
    ///
    /// # Safety
    /// They must lie in one allocation that is borrowed exclusively for `'a`, and nothing else may touch them.
    pub(crate) unsafe fn part(base: NonNull<f32>, stride: usize, width: usize, tokens: usize) -> Self {
        Self { base, stride, width, tokens, life: PhantomData }
    }

    /// How many f32 this tile has of each token.
    pub fn width(&self) -> usize {
        self.width
    }

    /// How many tokens there are.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// This tile's part of token `t`, (`width`).
    ///
    /// # Panics
    /// If there is no such token.
    #[inline]
    pub fn token(&mut self, t: usize) -> &mut [f32] {
        assert!(t < self.tokens);
        // SAFETY: the tile's part of row `t` lies inside the slice it was cut from, and no other tile
        // of that slice overlaps it (see `part`); `&mut self` rules out a second borrow.
        unsafe { core::slice::from_raw_parts_mut(self.base.add(t * self.stride).as_ptr(), self.width) }
    }
}
