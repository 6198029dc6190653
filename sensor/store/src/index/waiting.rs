//! Plain packets on their way into the tables.
//!
//! Every packet of a busy link belongs to another flow, and the record of none is in the processor's cache: one by one,
//! each packet would wait for the memory several times. So packets go through in two groups. While one fills, the slots
//! of its flows are fetched; when it is full, their records; and while the next one fills, nobody waits for them (see
//! `Builder::settle`).

use std::ops::Range;

use hindcap_wire::flow::FlowKey;

use super::builder::Seen;
use super::table::{NO_RECORD, Words};

/// Packets of a group. What was fetched for two of them, and what passes by meanwhile, stays in the innermost cache.
const GROUP: usize = 16;
/// The latest packets of a full group, whose slots may not have come yet, go on with the next.
const FRESH: usize = 4;
/// Two groups and the fresh ones, to a power of two.
const PLACES: usize = 64;

const _: () = assert!(PLACES >= 2 * GROUP + FRESH && PLACES.is_power_of_two());

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
    /// The record that the slot names, [`NO_RECORD`] for none.
    pub record: u16,
    /// Length on the wire.
    pub bytes: u32,
    /// Where its block starts.
    pub page: u16,
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
    /// By running number, modulo their number.
    entries: [Entry; PLACES],
    /// Keys of those of IPv6.
    keys: [FlowKey; PLACES],
    /// The first that waits, whose record was fetched.
    first: usize,
    /// From here on nothing but slots was fetched.
    far: usize,
    end: usize,
}

impl Waiting {
    pub(super) const fn new() -> Self {
        let words = Words { lo: 0, hi: 0 };
        let entry = Entry {
            words,
            hash: 0,
            at: 0,
            slot: 0,
            record: NO_RECORD,
            bytes: 0,
            page: 0,
            tcp_flags: 0,
            forward: false,
            bits: 0,
        };
        let key = FlowKey { a: [0; 16], b: [0; 16], a_port: 0, b_port: 0, vlan: 0, proto: 0, version: 0 };
        Self { entries: [entry; PLACES], keys: [key; PLACES], first: 0, far: 0, end: 0 }
    }

    pub(super) const fn clear(&mut self) {
        (self.first, self.far, self.end) = (0, 0, 0);
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.first == self.end
    }

    /// Adds a packet; whether a group is full now, and must [go on](Waiting::advance).
    #[inline]
    pub(super) fn push(&mut self, entry: Entry) -> bool {
        self.entries[self.end % PLACES] = entry;
        self.end += 1;
        self.end - self.far == GROUP + FRESH
    }

    /// The same for IPv6.
    #[inline]
    pub(super) fn push_v6(&mut self, entry: Entry, key: &FlowKey) -> bool {
        self.keys[self.end % PLACES] = *key;
        self.push(entry)
    }

    /// Running numbers of the packets whose records were fetched.
    #[inline]
    pub(super) const fn near(&self) -> Range<usize> {
        self.first..self.far
    }

    /// Running numbers of those behind; of a full group without the fresh ones.
    #[inline]
    pub(super) const fn far(&self, all: bool) -> Range<usize> {
        self.far..if all { self.end } else { self.end - FRESH }
    }

    /// The near ones are done; what was far, up to `end`, is near.
    #[inline]
    pub(super) const fn advance(&mut self, end: usize) {
        (self.first, self.far) = (self.far, end);
    }

    #[inline]
    pub(super) const fn get(&self, number: usize) -> &Entry {
        &self.entries[number % PLACES]
    }

    #[inline]
    pub(super) const fn get_mut(&mut self, number: usize) -> &mut Entry {
        &mut self.entries[number % PLACES]
    }

    /// The key of a packet of IPv6.
    #[inline]
    pub(super) const fn key(&self, number: usize) -> &FlowKey {
        &self.keys[number % PLACES]
    }
}
