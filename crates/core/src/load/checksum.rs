//! A digest of the bytes of a matrix.

/// A digest of bytes that come in chunks: enough to tell a copy from another matrix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Checksum {
    state: u64,
    word: u64,
    len: u64,
}

impl Checksum {
    /// Takes in more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        let mix = |state: u64, word: u64| (state ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
        for &byte in bytes {
            self.word = self.word << 8 | u64::from(byte);
            self.len += 1;
            if self.len.is_multiple_of(8) {
                self.state = mix(self.state, core::mem::take(&mut self.word));
            }
        }
    }
}
