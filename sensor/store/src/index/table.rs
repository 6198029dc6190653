//! The flow table: records in the order of arrival, found through open addressing by a seeded hash.

use hindcap_wire::flow::FlowKey;
use hindcap_wire::index::FlowParts;
use hindcap_wire::index::keys::{fold, halves};
use hindcap_wire::packet::plain::mapped;
use prefetch_index::prefetch_index;

use super::arena::Chain;

/// The number of no record.
pub(super) const NO_RECORD: u16 = u16::MAX;
/// An empty slot.
const EMPTY: u32 = u32::MAX;

/// Bits of [`Flow::bits`].
pub(super) mod bit {
    pub(crate) const A_FIRST: u8 = 2;
    pub(crate) const STACKED: u8 = 4;
    pub(crate) const OPEN_END: u8 = 8;
    /// [`FlowParts::GROWN_BYTES`](hindcap_wire::index::FlowParts::GROWN_BYTES) are accounted for.
    pub(crate) const GROWN: u8 = 16;
    /// [`FlowParts::WIDE_BYTES`](hindcap_wire::index::FlowParts::WIDE_BYTES) are accounted for.
    pub(crate) const WIDE: u8 = 32;
    /// Some packet was recorded with fewer bytes than it had on the wire.
    pub(crate) const TRUNCATED: u8 = 64;
}

/// Identity of a flow in two words: `lo` has end *a* of its [`FlowKey`] and the VLAN, `hi` end *b*, protocol and version.
///
/// | bits | `lo` | `hi` |
/// |---|---|---|
/// | 0..16 | port of *a* | port of *b* |
/// | 16..48 | IPv4: address; IPv6: number of the host | the same |
/// | 48..64 | VLAN | protocol, then version |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Words {
    pub lo: u64,
    pub hi: u64,
}

/// The address behind the mapped form.
#[inline]
pub(super) const fn v4(addr: &[u8; 16]) -> u32 {
    u32::from_be_bytes([addr[12], addr[13], addr[14], addr[15]])
}

impl Words {
    /// From (address, port) of source and destination of an IPv4 flow; whether the source is end *a*.
    #[inline]
    pub(super) const fn of_ends(src: (u32, u16), dst: (u32, u16), vlan: u16, proto: u8) -> (Self, bool) {
        let src = (src.0 as u64) << 16 | src.1 as u64;
        let dst = (dst.0 as u64) << 16 | dst.1 as u64;
        let forward = src <= dst;
        let (a, b) = if forward { (src, dst) } else { (dst, src) };
        (Self { lo: a | (vlan as u64) << 48, hi: b | (proto as u64) << 48 | 4 << 56 }, forward)
    }

    /// The key that has these words, which are of an IPv4 flow.
    pub(super) const fn key_v4(self) -> FlowKey {
        let ((a, b), Self { lo, hi }) = (self.ends(), self);
        let (a_port, b_port, vlan, proto) = (lo as u16, hi as u16, (lo >> 48) as u16, (hi >> 48) as u8);
        FlowKey { a: mapped(a), b: mapped(b), a_port, b_port, vlan, proto, version: 4 }
    }

    /// The words of `key`, whose ends are, for IPv6, these hosts by number.
    pub(super) const fn of(key: &FlowKey, a: u16, b: u16) -> Self {
        let (a, b) = if key.version == 6 { (a as u32, b as u32) } else { (v4(&key.a), v4(&key.b)) };
        let (lo, hi) = ((a as u64) << 16 | key.a_port as u64, (b as u64) << 16 | key.b_port as u64);
        Self {
            lo: lo | (key.vlan as u64) << 48,
            hi: hi | (key.proto as u64) << 48 | (key.version as u64) << 56,
        }
    }

    pub(super) const fn version(self) -> u8 {
        (self.hi >> 56) as u8
    }

    /// Address or number of end *a* and of end *b*.
    pub(super) const fn ends(self) -> (u32, u32) {
        ((self.lo >> 16) as u32, (self.hi >> 16) as u32)
    }

    /// Everything but the ends of two IPv6 flows.
    const fn without_hosts(self) -> (u64, u64) {
        (self.lo & !0xffff_ffff_0000, self.hi & !0xffff_ffff_0000)
    }
}

/// One flow: a cache line.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(super) struct Flow {
    pub words: Words,
    pub first: u64,
    pub last: u64,
    pub bytes: u64,
    pub packets: u32,
    pub first_page: u16,
    pub last_page: u16,
    pub chain: Chain,
    pub tcp_flags: u8,
    pub bits: u8,
}

const _: () = assert!(size_of::<Flow>() == 64);

impl Flow {
    /// In the form that is encoded; `a` and `b` are numbers in the host table.
    pub(super) const fn parts(&self, a: u16, b: u16) -> FlowParts {
        let Words { lo, hi } = self.words;
        FlowParts {
            version: self.words.version(),
            a,
            b,
            a_port: lo as u16,
            b_port: hi as u16,
            vlan: (lo >> 48) as u16,
            proto: (hi >> 48) as u8,
            tcp_flags: self.tcp_flags,
            a_sent_first: self.bits & bit::A_FIRST != 0,
            stacked_vlans: self.bits & bit::STACKED != 0,
            open_end: self.bits & bit::OPEN_END != 0,
            truncated: self.bits & bit::TRUNCATED != 0,
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
    Free { slot: usize, hash: u64 },
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

    /// Forgets everything, and lets the system have the memory of the records until they come.
    pub(super) fn rest(&mut self) {
        self.flows = Vec::new();
        self.flows.reserve_exact(self.capacity);
        self.slots.fill(EMPTY);
    }

    pub(super) const fn bytes(&self) -> usize {
        self.capacity * (size_of::<Flow>() + 2 * size_of::<u32>())
    }

    pub(super) fn is_full(&self) -> bool {
        self.flows.len() == self.capacity
    }

    /// A hash of an address under the same seed, for the host tables.
    #[inline]
    pub(super) fn host_hash(&self, addr: &[u8; 16]) -> u64 {
        let (low, high) = halves(addr);
        fold(low ^ self.seed[1], high ^ self.seed[2])
    }

    /// The hash of an IPv4 flow.
    #[inline]
    pub(super) const fn hash_v4(&self, words: Words) -> u64 {
        fold(words.lo ^ self.seed[0], words.hi ^ self.seed[1])
    }

    /// The hash of an IPv6 flow.
    #[inline]
    pub(super) fn hash_v6(&self, key: &FlowKey) -> u64 {
        let words = Words::of(key, 0, 0);
        let ((a0, a1), (b0, b1)) = (halves(&key.a), halves(&key.b));
        let [s0, s1, s2, s3] = self.seed;
        let hosts = fold(a0 ^ s0, b0 ^ s1) ^ fold(a1 ^ s2, b1 ^ s3);
        fold(hosts ^ words.lo, words.hi ^ s1)
    }

    /// Finds the record of an IPv4 flow, looking from `slot` on.
    #[inline]
    pub(super) fn find_v4(&self, words: Words, hash: u64, slot: usize) -> Place {
        self.find(hash, slot, |flow| flow.words == words)
    }

    /// Finds the record of an IPv6 flow, looking from `slot` on; `are` tells whether two numbers are its hosts.
    #[inline]
    pub(super) fn find_v6(
        &self,
        key: &FlowKey,
        hash: u64,
        slot: usize,
        are: impl Fn(u16, u16) -> bool,
    ) -> Place {
        let words = Words::of(key, 0, 0);
        self.find(hash, slot, |flow| {
            let (a, b) = flow.words.ends();
            flow.words.without_hosts() == words.without_hosts() && are(a as u16, b as u16)
        })
    }

    /// Where the search for a hash begins.
    #[inline]
    pub(super) fn home(&self, hash: u64) -> usize {
        (((hash >> 32) * self.slots.len() as u64) >> 32) as usize
    }

    /// The same, for a search that comes soon: has the slot fetched.
    #[inline]
    pub(super) fn fetch_home(&self, hash: u64) -> u32 {
        let slot = self.home(hash);
        prefetch_index(&self.slots, slot);
        slot as u32
    }

    /// From `slot` on, the first that is empty or has the tag of `hash`, and the record that it names, which is fetched:
    /// the only one the flow may have, but for others of the same tag. Records added later do not move the slot.
    #[inline]
    pub(super) fn fetch_likely(&self, hash: u64, mut slot: usize) -> (usize, u16) {
        loop {
            let taken = self.slots[slot];
            if taken == EMPTY {
                return (slot, NO_RECORD);
            }
            let number = taken as u16;
            if (taken >> 16) as u16 == hash as u16 {
                prefetch_index(&self.flows, usize::from(number));
                return (slot, number);
            }
            slot = if slot + 1 == self.slots.len() { 0 } else { slot + 1 };
        }
    }

    /// Whether the flow of `words` is one of IPv4, and `number` its record.
    #[inline]
    pub(super) fn is_v4(&self, number: u16, words: Words) -> bool {
        words.version() == 4 && self.flows.get(usize::from(number)).is_some_and(|flow| flow.words == words)
    }

    #[inline]
    fn find(&self, hash: u64, mut slot: usize, is: impl Fn(&Flow) -> bool) -> Place {
        let (slots, tag) = (self.slots.len(), hash as u16);
        loop {
            let taken = self.slots[slot];
            if taken == EMPTY {
                return Place::Free { slot, hash };
            }
            let number = taken as u16;
            if (taken >> 16) as u16 == tag && is(&self.flows[usize::from(number)]) {
                return Place::Found(number);
            }
            slot = if slot + 1 == slots { 0 } else { slot + 1 };
        }
    }

    /// Adds a record; the table is not full and `slot`, `hash` came from [`Table::find`].
    pub(super) fn add(&mut self, slot: usize, hash: u64, flow: Flow) -> u16 {
        let number = self.flows.len() as u16;
        self.slots[slot] = u32::from(hash as u16) << 16 | u32::from(number);
        self.flows.push(flow);
        number
    }
}
