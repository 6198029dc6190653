//! The flow table: records in the order of arrival, found through open addressing by a seeded hash.

use hindcap_wire::flow::FlowKey;
use hindcap_wire::index::FlowParts;
use hindcap_wire::index::keys::{fold, halves};

use super::arena::Chain;

/// An empty slot; no record has number 0xFFFF.
const EMPTY: u32 = u32::MAX;

/// Bits of [`Flow::bits`].
pub(super) mod bit {
    pub(crate) const V6: u8 = 1;
    pub(crate) const A_FIRST: u8 = 2;
    pub(crate) const STACKED: u8 = 4;
    pub(crate) const OPEN_END: u8 = 8;
    /// [`FlowParts::GROWN_BYTES`](hindcap_wire::index::FlowParts::GROWN_BYTES) are accounted for.
    pub(crate) const GROWN: u8 = 16;
    /// [`FlowParts::WIDE_BYTES`](hindcap_wire::index::FlowParts::WIDE_BYTES) are accounted for.
    pub(crate) const WIDE: u8 = 32;
}

/// One flow: a cache line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flow {
    pub first: u64,
    pub last: u64,
    pub bytes: u64,
    pub packets: u32,
    pub a: u16,
    pub b: u16,
    pub a_port: u16,
    pub b_port: u16,
    pub vlan: u16,
    pub first_page: u16,
    pub last_page: u16,
    pub chain: Chain,
    pub proto: u8,
    pub tcp_flags: u8,
    pub bits: u8,
}

const _: () = assert!(size_of::<Flow>() == 64);

impl Flow {
    /// In the form that is encoded.
    pub(super) fn parts(&self) -> FlowParts {
        FlowParts {
            version: if self.bits & bit::V6 == 0 { 4 } else { 6 },
            a: self.a,
            b: self.b,
            a_port: self.a_port,
            b_port: self.b_port,
            vlan: self.vlan,
            proto: self.proto,
            tcp_flags: self.tcp_flags,
            a_sent_first: self.bits & bit::A_FIRST != 0,
            stacked_vlans: self.bits & bit::STACKED != 0,
            open_end: self.bits & bit::OPEN_END != 0,
            first: self.first,
            last: self.last,
            packets: self.packets,
            bytes: self.bytes,
            first_page: self.first_page,
        }
    }
}

/// Where a flow is, or would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Found(u16),
    Free { slot: usize, tag: u16 },
}

#[derive(Debug)]
pub(super) struct Table {
    pub flows: Vec<Flow>,
    capacity: usize,
    /// High half: 16 bits of the hash. Low half: number of the record.
    slots: Vec<u32>,
    seed: [u64; 4],
}

impl Table {
    pub(super) fn new(capacity: u32, seed: u64) -> Self {
        let capacity = capacity as usize;
        let mut state = seed;
        let seed = std::array::from_fn(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            fold(state ^ 0xd6e8_feb8_6659_fd93, 0xbf58_476d_1ce4_e5b9)
        });
        Self { flows: Vec::with_capacity(capacity), capacity, slots: vec![EMPTY; capacity * 2], seed }
    }

    pub(super) fn clear(&mut self) {
        self.flows.clear();
        self.slots.fill(EMPTY);
    }

    pub(super) const fn bytes(&self) -> usize {
        self.capacity * (size_of::<Flow>() + 2 * size_of::<u32>())
    }

    pub(super) fn is_full(&self) -> bool {
        self.flows.len() == self.capacity
    }

    #[inline]
    fn hash(&self, key: &FlowKey) -> u64 {
        let ((a0, a1), (b0, b1)) = (halves(&key.a), halves(&key.b));
        let rest = u64::from(key.a_port) | u64::from(key.b_port) << 16 | u64::from(key.vlan) << 32;
        let rest = rest | u64::from(key.proto) << 48 | u64::from(key.version) << 56;
        let [s0, s1, s2, s3] = self.seed;
        fold(fold(a0 ^ s0, b0 ^ s1) ^ fold(a1 ^ s2, b1 ^ s3), rest ^ s0.rotate_left(32))
    }

    /// A hash of an address under the same seed, for the host tables.
    #[inline]
    pub(super) fn host_hash(&self, addr: &[u8; 16]) -> u64 {
        let (low, high) = halves(addr);
        fold(low ^ self.seed[1], high ^ self.seed[2])
    }

    /// Finds the record that `is` accepts among those with the hash of `key`.
    #[inline]
    pub(super) fn find(&self, key: &FlowKey, is: impl Fn(&Flow) -> bool) -> Place {
        let hash = self.hash(key);
        let (slots, tag) = (self.slots.len(), hash as u16);
        let mut slot = (((hash >> 32) * slots as u64) >> 32) as usize;
        loop {
            let taken = self.slots[slot];
            if taken == EMPTY {
                return Place::Free { slot, tag };
            }
            let number = taken as u16;
            if (taken >> 16) as u16 == tag && is(&self.flows[usize::from(number)]) {
                return Place::Found(number);
            }
            slot = if slot + 1 == slots { 0 } else { slot + 1 };
        }
    }

    /// Adds a record; the table is not full and `slot`, `tag` came from [`Table::find`].
    pub(super) fn add(&mut self, slot: usize, tag: u16, flow: Flow) -> u16 {
        let number = self.flows.len() as u16;
        self.slots[slot] = u32::from(tag) << 16 | u32::from(number);
        self.flows.push(flow);
        number
    }
}
