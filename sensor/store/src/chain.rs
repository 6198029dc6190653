//! The hash chain: shows that a segment was changed on purpose, which CRCs do not (docs/FORMAT.md, "Summary page").
//!
//! BLAKE3, because it is fast on every processor by its vector instructions alone; SHA-256 is fast only where there are
//! instructions for it (docs/DESIGN.md, "What the hash chain costs").

use blake3::Hasher;

/// Hash of a segment, fed page by page. Sixteen KiB at a time is enough to use the widest vectors.
#[derive(Clone, Debug)]
pub(crate) struct SegmentHash(Hasher);

impl SegmentHash {
    pub(crate) fn new() -> Self {
        Self(Hasher::new())
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash of everything so far.
    pub(crate) fn value(&self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

/// The chain value of a segment: BLAKE3("hindcap-chain-v1" || chain before || segment hash || generation).
pub(crate) fn next_chain(before: &[u8; 32], segment_hash: &[u8; 32], generation: u64) -> [u8; 32] {
    let mut hash = Hasher::new();
    hash.update(b"hindcap-chain-v1");
    hash.update(before);
    hash.update(segment_hash);
    hash.update(&generation.to_le_bytes());
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_one_that_other_programs_compute() {
        // printf abc | b3sum
        let mut hash = SegmentHash::new();
        hash.update(b"a");
        hash.update(b"bc");
        let hex: String = hash.value().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85");
    }

    #[test]
    fn chain_depends_on_every_part() {
        let base = next_chain(&[0; 32], &[1; 32], 1);
        assert_ne!(base, next_chain(&[1; 32], &[1; 32], 1));
        assert_ne!(base, next_chain(&[0; 32], &[2; 32], 1));
        assert_ne!(base, next_chain(&[0; 32], &[1; 32], 2));
    }
}
