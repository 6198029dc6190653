//! Ports for IP fragments after the first.
//!
//! Only the first fragment of a datagram has the ports, and, where a tunnel packet was fragmented, the headers of the
//! flows inside. [`FragmentCache`] remembers them by (addresses, identification, VLAN and, for IPv4, protocol) and
//! completes later fragments, so that they are found as part of their flow.
//!
//! Bounds: fixed capacity, no allocation after [`FragmentCache::new`] (with [`FragmentCache::when_needed`] one, at the
//! first fragment); an entry serves packets up to
//! [`FRAGMENT_AGE_NANOS_MAX`] from its own time. It is deterministic: the same packets in the same order give the same
//! result. Not done: fragments that arrive before the first one stay without ports.

use alloc::vec::Vec;

use super::{Dissection, FlowLayer, Fragment};
use crate::flow::AddrBytes;
use crate::limits::{FLOW_LAYERS_MAX, FRAGMENT_AGE_NANOS_MAX};
use crate::time::Timestamp;

/// Entries that compete for one slot of the table; the oldest gives way.
const WAYS: usize = 4;

/// What the fragments of one datagram have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    src: AddrBytes,
    dst: AddrBytes,
    id: u32,
    vlan: Option<u16>,
    version: u8,
    /// 0 for IPv6, where RFC 8200 does not count it.
    proto: u8,
}

impl Key {
    fn of(layer: &FlowLayer, fragment: Fragment) -> Self {
        let (tuple, version) = (&layer.tuple, layer.tuple.version);
        let proto = if version == 4 { tuple.proto } else { 0 };
        Self { src: tuple.src, dst: tuple.dst, id: fragment.id, vlan: layer.vlan, version, proto }
    }

    /// Folds the fields that tell datagrams apart; a fixed function, since results must not vary.
    fn hash(&self) -> u64 {
        let ends = u128::from_le_bytes(self.src).rotate_left(61) ^ u128::from_le_bytes(self.dst);
        let folded = ends ^ u128::from(self.id) ^ (ends >> 64);
        let mixed = folded.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        (mixed >> 64) as u64
    }
}

/// What the first fragment told.
#[derive(Clone, Debug)]
struct Entry {
    key: Key,
    seen: Timestamp,
    src_port: u16,
    dst_port: u16,
    proto: u8,
    /// The flows inside, when the fragmented datagram carries a tunnel.
    inner: heapless::Vec<FlowLayer, { FLOW_LAYERS_MAX - 1 }>,
}

/// First fragments seen lately; see the module.
#[derive(Debug)]
pub struct FragmentCache {
    /// Sets of [`WAYS`] entries; their number is a power of two. None at all before they are needed.
    entries: Vec<Option<Entry>>,
    /// How many there are, or will be.
    capacity: usize,
}

impl FragmentCache {
    /// A cache of at least `capacity` datagrams (rounded up to a power of two); the only allocation is here.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let mut cache = Self::when_needed(capacity);
        cache.take_memory();
        cache
    }

    /// The same, with the allocation put off until there is something to remember: for readers, who mostly meet none.
    #[must_use]
    pub fn when_needed(capacity: usize) -> Self {
        Self { entries: Vec::new(), capacity: capacity.max(WAYS).next_power_of_two() }
    }

    fn take_memory(&mut self) {
        self.entries.resize_with(self.capacity, || None);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.entries.fill_with(|| None);
    }

    /// Learns from the first fragments in `dissection`, which was captured at `at`, and completes a later one with the
    /// ports and inner layers of its first. Inner layers come without TCP flags: those belong to the first fragment.
    #[inline]
    pub fn resolve(&mut self, dissection: &mut Dissection, at: Timestamp) {
        if dissection.layers.iter().any(|layer| layer.fragment.is_some()) {
            self.resolve_fragment(dissection, at);
        }
    }

    #[cold]
    fn resolve_fragment(&mut self, dissection: &mut Dissection, at: Timestamp) {
        for depth in 0..dissection.layers.len() {
            let Some((layer, inner)) = dissection.layers.get(depth..).and_then(<[_]>::split_first) else {
                return;
            };
            match layer.fragment {
                Some(fragment @ Fragment { offset: 0, .. }) => {
                    self.learn(Key::of(layer, fragment), layer, inner, at);
                }
                Some(fragment) => {
                    // Nothing behind a later fragment was dissected, so it is the last layer.
                    let key = Key::of(layer, fragment);
                    if let Some(entry) = self.find(&key, at) {
                        complete(dissection, entry);
                    }
                    return;
                }
                None => {}
            }
        }
    }

    fn set(&mut self, key: &Key) -> &mut [Option<Entry>] {
        let sets = self.capacity / WAYS;
        let set = usize::try_from(key.hash() % sets as u64).unwrap_or(0);
        self.entries.chunks_exact_mut(WAYS).nth(set).unwrap_or_default()
    }

    fn find(&mut self, key: &Key, at: Timestamp) -> Option<&Entry> {
        let fresh =
            |entry: &&Entry| entry.key == *key && at.0.abs_diff(entry.seen.0) <= FRAGMENT_AGE_NANOS_MAX;
        self.set(key).iter().flatten().find(fresh)
    }

    fn learn(&mut self, key: Key, layer: &FlowLayer, inner: &[FlowLayer], at: Timestamp) {
        let tuple = &layer.tuple;
        if (tuple.src_port, tuple.dst_port) == (0, 0) && inner.is_empty() && key.version == 4 {
            return;
        }
        if self.entries.is_empty() {
            self.take_memory();
        }
        let quiet = inner.iter().map(|layer| FlowLayer { tcp_flags: 0, ..*layer });
        let entry = Entry {
            key,
            seen: at,
            src_port: tuple.src_port,
            dst_port: tuple.dst_port,
            proto: tuple.proto,
            inner: quiet.take(FLOW_LAYERS_MAX - 1).collect(),
        };
        // The same datagram again, else a free place, else the oldest.
        let rank = |slot: &&mut Option<Entry>| match slot {
            Some(old) if old.key == key => (0, Timestamp(0)),
            None => (1, Timestamp(0)),
            Some(old) => (2, old.seen),
        };
        if let Some(slot) = self.set(&key).iter_mut().min_by_key(rank) {
            *slot = Some(entry);
        }
    }
}

/// Gives the last layer what its first fragment said.
fn complete(dissection: &mut Dissection, entry: &Entry) {
    if let Some(layer) = dissection.layers.last_mut() {
        layer.tuple.src_port = entry.src_port;
        layer.tuple.dst_port = entry.dst_port;
        layer.tuple.proto = entry.proto;
    }
    for layer in &entry.inner {
        // A full list keeps the outer layers, as in a dissection.
        let _ = dissection.layers.push(*layer);
    }
}
