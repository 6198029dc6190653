//! The catalog's filter of one segment: a binary fuse filter with 8-bit fingerprints (Graf and Lemire, "Binary Fuse
//! Filters: Fast and Smaller Than Xor Filters", 2022) over hosts, host pairs and flows. About 9 bits per key; one
//! useless hit in 256; no misses.
//!
//! | bytes | meaning |
//! |---|---|
//! | 8 | seed |
//! | 4 | segment length of the filter, a power of two |
//! | 4 | segment count times segment length |
//! | n | fingerprints |

use alloc::vec::Vec;

use xorf::{BinaryFuse8, BinaryFuse8Ref, DmaSerializable, FilterRef};

use super::FilterKey;

/// Bytes before the fingerprints.
const HEAD_BYTES: usize = 16;

/// Which kinds of key a filter is complete for: a kind that did not fit, or overflowed, says "maybe" to everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FilterClasses(pub u8);

impl FilterClasses {
    /// Hosts.
    pub const HOSTS: u8 = 1;
    /// Host pairs.
    pub const PAIRS: u8 = 2;
    /// Flows by Community ID.
    pub const FLOWS: u8 = 4;

    /// Whether keys of this kind are all in the filter.
    #[must_use]
    pub const fn covers(self, key: FilterKey) -> bool {
        let bit = match key {
            FilterKey::Host(_) => Self::HOSTS,
            FilterKey::Pair(_) => Self::PAIRS,
            FilterKey::Flow(_) => Self::FLOWS,
        };
        self.0 & bit != 0
    }
}

/// Encodes a filter over `keys` into at most `bytes_max` bytes. Sorts and deduplicates `keys`. `None` if it would be
/// larger, or (one case in astronomically many) cannot be built.
#[must_use]
pub fn encode(keys: &mut Vec<u64>, bytes_max: usize) -> Option<Vec<u8>> {
    keys.sort_unstable();
    keys.dedup();
    if keys.len() > bytes_max {
        return None;
    }
    let filter = BinaryFuse8::try_from(keys.as_slice()).ok()?;
    let mut descriptor = [0; BinaryFuse8::DESCRIPTOR_LEN];
    filter.dma_copy_descriptor_to(&mut descriptor);
    let fingerprints = filter.dma_fingerprints();
    if HEAD_BYTES + fingerprints.len() > bytes_max {
        return None;
    }
    let mut out = Vec::with_capacity(HEAD_BYTES + fingerprints.len());
    out.extend_from_slice(&descriptor[..12]);
    out.extend_from_slice(&descriptor[16..20]);
    out.extend_from_slice(fingerprints);
    Some(out)
}

/// A filter over bytes that were checked once.
#[derive(Clone, Debug)]
pub struct Filter {
    bytes: Vec<u8>,
    descriptor: [u8; BinaryFuse8::DESCRIPTOR_LEN],
}

impl Filter {
    /// The filter in `bytes`; `None` if no lookup in them could be trusted to stay inside.
    #[must_use]
    pub fn parse(bytes: Vec<u8>) -> Option<Self> {
        let head: &[u8; HEAD_BYTES] = bytes.first_chunk()?;
        let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (segment, count) = (number(8), number(12));
        let reach = u64::from(count) + 2 * u64::from(segment);
        let sound =
            segment.is_power_of_two() && count % segment == 0 && reach <= (bytes.len() - HEAD_BYTES) as u64;
        if !sound || reach > u32::MAX.into() {
            return None;
        }
        let mut descriptor = [0; BinaryFuse8::DESCRIPTOR_LEN];
        descriptor[..12].copy_from_slice(&head[..12]);
        descriptor[12..16].copy_from_slice(&(segment - 1).to_le_bytes());
        descriptor[16..].copy_from_slice(&head[12..]);
        Some(Self { bytes, descriptor })
    }

    /// Whether `key` may be among the keys.
    #[must_use]
    pub fn may_contain(&self, key: u64) -> bool {
        xorf::Filter::contains(&BinaryFuse8Ref::from_dma(&self.descriptor, &self.bytes[HEAD_BYTES..]), &key)
    }

    /// Bytes held in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::keys::fold;

    fn key(n: u64) -> u64 {
        fold(n ^ 0x1234_5678_9abc_def0, 0x9e37_79b9_7f4a_7c15)
    }

    #[test]
    fn no_misses_and_one_useless_hit_in_256() {
        for count in [0_u64, 1, 2, 3, 10, 100, 7_000, 38_000] {
            let mut keys: Vec<u64> = (0..count).chain(0..count / 2).map(key).collect();
            let bytes = encode(&mut keys, 48 * 1024).unwrap();
            assert_eq!(bytes, encode(&mut keys, 48 * 1024).unwrap(), "deterministic");
            let filter = Filter::parse(bytes).unwrap();
            assert!(keys.iter().all(|key| filter.may_contain(*key)));
            let hits = (0..200_000).filter(|n| filter.may_contain(key(1_000_000 + n))).count();
            assert!(hits < 1_000, "{hits} of 200,000 at {count} keys: theory 781");
        }
    }

    #[test]
    fn too_many_keys_give_no_filter() {
        assert!(encode(&mut (0..44_000).map(key).collect(), 48 * 1024).is_none());
        assert!(encode(&mut (0..90_000).map(key).collect(), 48 * 1024).is_none());
    }

    #[test]
    fn heads_that_would_lead_outside_are_refused() {
        let bytes = encode(&mut (0..1000).map(key).collect(), 48 * 1024).unwrap();
        for at in 8..16 {
            for value in 0..=255 {
                let mut broken = bytes.clone();
                broken[at] = value;
                if let Some(filter) = Filter::parse(broken) {
                    assert!((0..50).filter(|n| filter.may_contain(key(*n))).count() <= 50, "no panic");
                }
            }
        }
        assert!(Filter::parse(bytes[..bytes.len() - 1].to_vec()).is_none());
        assert!(Filter::parse(Vec::new()).is_none());
    }
}
