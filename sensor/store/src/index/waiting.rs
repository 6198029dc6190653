//! Plain packets that wait to enter the tables together.
//!
//! Every packet of a busy link belongs to another flow, and the record of none is in the processor's cache: one by one,
//! each packet would wait for the memory several times. Together they wait once (see `Builder::bring_near`).

use hindcap_wire::flow::FlowKey;

use super::builder::Seen;
use super::table::Words;

/// Packets that wait at most; they stay in the innermost cache.
const WAITING: usize = 32;

/// What the tables need of a packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// Identity of the flow; of IPv6 without the hosts.
    pub words: Words,
    pub hash: u64,
    /// Timestamp.
    pub at: u64,
    /// Where to look for the flow first.
    pub slot: u32,
    /// Length on the wire.
    pub bytes: u32,
    pub tcp_flags: u8,
    /// Sent by end *a* of the flow.
    pub forward: bool,
    /// As in [`Seen`].
    pub bits: u8,
}

impl Entry {
    /// What the flow's record takes of it.
    #[inline]
    pub(super) const fn seen(&self) -> Seen {
        Seen { at: self.at, bytes: self.bytes, tcp_flags: self.tcp_flags, bits: self.bits }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Waiting {
    entries: [Entry; WAITING],
    /// Keys of those of IPv6.
    keys: [FlowKey; WAITING],
    len: usize,
}

impl Waiting {
    pub(super) const fn new() -> Self {
        let words = Words { lo: 0, hi: 0 };
        let entry = Entry { words, hash: 0, at: 0, slot: 0, bytes: 0, tcp_flags: 0, forward: false, bits: 0 };
        let key = FlowKey { a: [0; 16], b: [0; 16], a_port: 0, b_port: 0, vlan: 0, proto: 0, version: 0 };
        Self { entries: [entry; WAITING], keys: [key; WAITING], len: 0 }
    }

    pub(super) const fn clear(&mut self) {
        self.len = 0;
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a packet; whether it was the last that has room.
    #[inline]
    pub(super) fn push(&mut self, entry: Entry) -> bool {
        if let Some(place) = self.entries.get_mut(self.len) {
            *place = entry;
            self.len += 1;
        }
        self.len == WAITING
    }

    /// The same for IPv6.
    #[inline]
    pub(super) fn push_v6(&mut self, entry: Entry, key: &FlowKey) -> bool {
        if let Some(place) = self.keys.get_mut(self.len) {
            *place = *key;
        }
        self.push(entry)
    }

    #[inline]
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(super) fn entries_mut(&mut self) -> &mut [Entry] {
        &mut self.entries[..self.len.min(WAITING)]
    }

    #[inline]
    pub(super) fn get(&self, at: usize) -> Option<&Entry> {
        self.entries.get(at)
    }

    /// A packet of IPv6 with its key.
    #[inline]
    pub(super) fn get_v6(&self, at: usize) -> Option<(&Entry, &FlowKey)> {
        self.entries.get(at).zip(self.keys.get(at))
    }
}
