//! A buffer whose first byte lies at a multiple of 4 KiB, as direct I/O asks for, without `unsafe`: a little more is
//! allocated than asked for, and the start is moved.

/// Alignment of the first byte.
pub const ALIGN: usize = 4096;

/// See the module. Never grows; every byte is zero at first.
#[derive(Debug)]
pub struct AlignedBuf {
    bytes: Vec<u8>,
    start: usize,
    len: usize,
}

impl AlignedBuf {
    /// `len` bytes of zeros.
    #[must_use]
    pub fn new(len: usize) -> Self {
        let bytes = vec![0; len + ALIGN];
        let start = bytes.as_ptr().align_offset(ALIGN).min(ALIGN);
        Self { bytes, start, len }
    }
}

impl std::ops::Deref for AlignedBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.start..self.start + self.len]
    }
}

impl std::ops::DerefMut for AlignedBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_on_the_grid() {
        for len in [1, 512, ALIGN, 1_052_672] {
            let buf = AlignedBuf::new(len);
            assert_eq!((buf.as_ptr() as usize % ALIGN, buf.len()), (0, len));
        }
    }
}
