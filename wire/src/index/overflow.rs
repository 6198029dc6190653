//! What is left of flows that got no record: one Bloom filter per quarter of the segment, over the flows and the hosts
//! of their packets. Made during scans and floods only. A hit means "read that quarter"; there are no false misses.

use alloc::vec::Vec;

use super::limits::QUARTERS;

/// Adds `key` to the filter in `bits`; whether any bit was new. Two probes: the best few for the loads of a flood.
#[inline]
pub fn insert(bits: &mut [u8], key: u64) -> bool {
    let mut new = false;
    for bit in probes(bits.len(), key) {
        let (byte, mask) = (&mut bits[bit / 8], 1 << (bit % 8));
        new |= *byte & mask == 0;
        *byte |= mask;
    }
    new
}

/// Which of the filter's `bytes` have the bits of `key`.
#[inline]
#[must_use]
pub fn places(bytes: usize, key: u64) -> [usize; 2] {
    probes(bytes, key).map(|bit| bit / 8)
}

/// Whether `key` may have been added.
#[must_use]
pub fn may_contain(bits: &[u8], key: u64) -> bool {
    !bits.is_empty() && probes(bits.len(), key).iter().all(|bit| bits[bit / 8] >> (bit % 8) & 1 == 1)
}

/// The two bits of `key`: its halves scaled to the number of bits, which is below 2^32.
#[inline]
fn probes(bytes: usize, key: u64) -> [usize; 2] {
    let bits = bytes as u64 * 8;
    [(((key & 0xffff_ffff) * bits) >> 32) as usize, (((key >> 32) * bits) >> 32) as usize]
}

/// The overflow of one segment as its index tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overflow {
    /// Packets (more exactly their IP layers) whose flow has no record.
    pub packets: u64,
    /// Flows without a record, at least; flows that clash in the filters are not counted twice.
    pub flows: u64,
    /// Whether every host of those packets is in the host table all the same.
    pub hosts_complete: bool,
    /// One filter per quarter, empty where nothing overflowed.
    pub(super) filters: [Vec<u8>; QUARTERS],
}

impl Overflow {
    /// Whether every packet of the segment belongs to a flow with a record.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.packets == 0
    }

    /// Whether `quarter` may hold a packet without record that has all of `keys` (`host_key`, `overflow_flow_key`).
    /// Without keys: whether it holds any packet without record.
    #[must_use]
    pub fn may_contain(&self, quarter: usize, keys: &[u64]) -> bool {
        self.filters
            .get(quarter)
            .is_some_and(|bits| !bits.is_empty() && keys.iter().all(|key| may_contain(bits, *key)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn never_a_false_miss_and_few_false_hits_at_light_load() {
        let mut bits = vec![0; 48 * 1024];
        let key = |n: u64| {
            n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31).wrapping_mul(0xd6e8_feb8_6659_fd93)
        };
        let new = (0..40_000).filter(|n| insert(&mut bits, key(*n))).count();
        assert!((38_000..=40_000).contains(&new), "{new}");
        assert!((0..40_000).all(|n| may_contain(&bits, key(n))));
        let hits = (40_000..140_000).filter(|n| may_contain(&bits, key(*n))).count();
        assert!(hits < 5_500, "{hits} of 100,000");
    }

    #[test]
    fn an_empty_filter_holds_nothing() {
        assert!(!may_contain(&[], 7));
        assert!(!Overflow::default().may_contain(0, &[]) && !Overflow::default().may_contain(9, &[1]));
    }
}
