//! Gives each packet once, although a pinned one lies in both rings: same time to the nanosecond, same interface, same
//! bytes.
//!
//! At one instant the packets of the general ring come first ([`Place`] orders them so). Each of them then takes away one
//! equal packet of the event ring, so that the result has as many of a packet as the ring that has more: what was
//! recorded twice is given twice, with pins or without, and in the order of recording.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use hindcap_store::Class;
use hindcap_store::reader::SegmentInfo;
use hindcap_wire::packet::Interface;
use hindcap_wire::time::Timestamp;

use crate::sorter::Place;

/// Packets of one instant that are remembered, 64 KiB. Savefiles without fractions of a second have many; what is beyond
/// may be given twice.
const INSTANT_MAX: usize = 4096;

/// What tells packets of one instant apart: two keyed hashes.
pub(crate) type Digest = (u64, u64);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Twins {
    /// Whether there can be any.
    both: bool,
    at: Timestamp,
    /// Digests of the packets of the general ring at this instant that met no twin yet.
    single: Vec<Digest>,
    keys: (RandomState, RandomState),
}

impl Twins {
    /// For packets of these segments.
    pub fn new(segments: &[SegmentInfo]) -> Self {
        let both = segments.iter().any(|segment| segment.class == Class::Event && segment.packets > 0);
        Self { both, ..Self::default() }
    }

    /// What tells a packet from others of its instant.
    pub fn digest(&self, interface: &Interface, orig_len: u32, bytes: &[u8]) -> Digest {
        let one = |key: &RandomState| key.hash_one((interface.link_type.0, &interface.name, orig_len, bytes));
        (one(&self.keys.0), one(&self.keys.1))
    }

    /// Whether this packet of the event ring was given already, from the general ring.
    pub fn is_given(&mut self, place: Place, interface: &Interface, orig_len: u32, bytes: &[u8]) -> bool {
        if !self.both {
            return false;
        }
        if place.at != self.at {
            self.at = place.at;
            self.single.clear();
        }
        let event = place.class == Class::Event;
        if event && self.single.is_empty() {
            return false;
        }
        let digest = self.digest(interface, orig_len, bytes);
        if !event {
            if self.single.len() < INSTANT_MAX {
                self.single.push(digest);
            }
            return false;
        }
        let twin = self.single.iter().position(|other| *other == digest);
        if let Some(twin) = twin {
            self.single.swap_remove(twin);
        }
        twin.is_some()
    }
}

#[cfg(test)]
mod tests {
    use hindcap_wire::packet::LinkType;

    use super::*;

    #[test]
    fn as_many_are_given_as_the_ring_that_has_more() {
        let interface =
            |name: &str| Interface { link_type: LinkType::ETHERNET, snaplen: 0, name: name.into() };
        let (tap0, tap1) = (interface("tap0"), interface("tap1"));
        let place = |at, class| Place { at: Timestamp(at), class, generation: 1, offset: 0 };
        let (event, general) = (place(5, Class::Event), place(5, Class::General));
        assert!(general < event, "in the order of recording");
        let mut twins = Twins { both: true, ..Twins::default() };
        assert!(!twins.is_given(general, &tap0, 60, b"one"));
        assert!(!twins.is_given(event, &tap0, 60, b"other"), "other bytes");
        assert!(!twins.is_given(event, &tap0, 61, b"one"), "another length on the wire");
        assert!(!twins.is_given(event, &tap1, 60, b"one"), "another interface");
        assert!(twins.is_given(event, &tap0, 60, b"one"));
        assert!(!twins.is_given(event, &tap0, 60, b"one"), "recorded once, pinned twice");
        assert!(!twins.is_given(general, &tap0, 60, b"one"));
        assert!(!twins.is_given(place(6, Class::Event), &tap0, 60, b"one"), "another instant");
    }
}
