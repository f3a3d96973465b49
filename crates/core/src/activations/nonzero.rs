//! Lists of the codes that are not 0, for kernels that skip the columns of the others.

use alloc::vec::Vec;

use crate::Result;

/// The codes of a token that are not 0, in the order of their columns. There is an even number; the last may be 0.
#[derive(Clone, Copy, Debug)]
pub struct Nonzero<'a> {
    /// Where they stand.
    pub columns: &'a [u16],
    /// They themselves.
    pub codes: &'a [i8],
}

/// [`Nonzero`] of every token.
#[derive(Clone, Debug, Default)]
pub(super) struct NonzeroLists {
    /// Places of a token.
    stride: usize,
    columns: Vec<u16>,
    codes: Vec<i8>,
    lens: Vec<usize>,
}

impl NonzeroLists {
    /// Of rows of `stride` codes, of which `cols` count.
    pub fn fill(&mut self, codes: &[i8], stride: usize, cols: usize) -> Result<()> {
        let n = codes.len() / stride;
        // One place to write what turns out to be 0.
        self.stride = cols.next_multiple_of(2) + 1;
        self.lens.clear();
        self.lens.try_reserve(n)?;
        self.columns.try_reserve((n * self.stride).saturating_sub(self.columns.len()))?;
        self.columns.resize(n * self.stride, 0);
        self.codes.try_reserve((n * self.stride).saturating_sub(self.codes.len()))?;
        self.codes.resize(n * self.stride, 0);
        let lists = self.columns.chunks_exact_mut(self.stride).zip(self.codes.chunks_exact_mut(self.stride));
        for (row, (columns, own)) in codes.chunks_exact(stride).zip(lists) {
            let mut len = 0;
            for (k, &code) in row[..cols].iter().enumerate() {
                (columns[len], own[len]) = (k as u16, code);
                len += usize::from(code != 0);
            }
            if !len.is_multiple_of(2) {
                (columns[len], own[len]) = (columns[len - 1], 0);
                len += 1;
            }
            self.lens.push(len);
        }
        Ok(())
    }

    /// The list of token `t`.
    pub fn of(&self, t: usize) -> Nonzero<'_> {
        let range = t * self.stride..t * self.stride + self.lens[t];
        Nonzero { columns: &self.columns[range.clone()], codes: &self.codes[range] }
    }
}
