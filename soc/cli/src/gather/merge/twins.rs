//! Packets that two sensors saw: the same bytes from the network layer on, within a short time.
//!
//! What a router changes on the way does not count: hop limit and IPv4 header checksum. Nor does padding below IP's own
//! length. A packet is the twin of one packet of each other sensor at most, so that a packet that was sent twice and seen
//! twice stays two. Packets of one sensor are never twins.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, Hasher, RandomState};

use hindcap_wire::packet::LinkType;
use hindcap_wire::time::Timestamp;

/// How far apart twins may be, nanoseconds: the way between two sites, and clocks that NTP keeps.
const APART_NANOS: u64 = 100_000_000;
/// Packets remembered at most: what 10 Gbit/s of mixed traffic are in that time.
const REMEMBERED_MAX: usize = 1 << 18;
/// Sensors told apart; those after share the last place.
const PLACES: usize = 64;

/// See the module.
pub(super) struct Twins {
    /// By their hashes, which nobody outside can aim at: the key is random. Of one hash the oldest comes first.
    seen: HashMap<u64, VecDeque<Seen>>,
    /// The hashes in `seen`, once for each entry, oldest first.
    order: VecDeque<(Timestamp, u64)>,
    hash: RandomState,
}

struct Seen {
    at: Timestamp,
    /// Who saw it first.
    place: usize,
    /// Who has a twin of it, a bit each.
    with: u64,
}

/// The same packet, seen elsewhere before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Twin {
    /// Number of the sensor that saw it first.
    pub(super) place: usize,
    /// How long before, nanoseconds.
    pub(super) before_nanos: u64,
}

impl Twins {
    pub(super) fn new() -> Self {
        Self { seen: HashMap::new(), order: VecDeque::new(), hash: RandomState::new() }
    }

    /// The packet that sensor number `place` saw, after all that were given before: its twin, where it has one.
    pub(super) fn see(
        &mut self,
        place: usize,
        at: Timestamp,
        link_type: LinkType,
        bytes: &[u8],
    ) -> Option<Twin> {
        self.forget(at.minus_nanos(APART_NANOS));
        let hash = self.hashed(link_type, bytes);
        let bit = 1_u64 << place.min(PLACES - 1);
        let alike = self.seen.entry(hash).or_default();
        if let Some(seen) = alike.iter_mut().find(|seen| seen.with & bit == 0) {
            seen.with |= bit;
            return Some(Twin { place: seen.place, before_nanos: at.0.saturating_sub(seen.at.0) });
        }
        alike.push_back(Seen { at, place, with: bit });
        self.order.push_back((at, hash));
        None
    }

    /// Forgets what was seen before `oldest`, and what is too much.
    fn forget(&mut self, oldest: Timestamp) {
        let full = |order: &VecDeque<_>| order.len() >= REMEMBERED_MAX;
        while self.order.front().is_some_and(|(at, _)| *at < oldest) || full(&self.order) {
            let Some((_, hash)) = self.order.pop_front() else { return };
            let Some(alike) = self.seen.get_mut(&hash) else { continue };
            alike.pop_front();
            if alike.is_empty() {
                self.seen.remove(&hash);
            }
        }
    }

    fn hashed(&self, link_type: LinkType, bytes: &[u8]) -> u64 {
        let mut hasher = self.hash.build_hasher();
        let network = &bytes[network_layer(link_type, bytes).min(bytes.len())..];
        match network.first().map(|byte| byte >> 4) {
            Some(4) if network.len() >= 20 => {
                let length = usize::from(u16::from_be_bytes([network[2], network[3]]));
                // Without the hop limit at 8 and the checksum at 10 and 11 (RFC 791).
                hasher.write(&network[..8]);
                hasher.write(&network[9..10]);
                hasher.write(&network[12..length.clamp(20, network.len())]);
            }
            Some(6) if network.len() >= 40 => {
                let length = 40 + usize::from(u16::from_be_bytes([network[4], network[5]]));
                // Without the hop limit at 7 (RFC 8200).
                hasher.write(&network[..7]);
                hasher.write(&network[8..length.clamp(40, network.len())]);
            }
            _ => hasher.write(network),
        }
        hasher.finish()
    }
}

/// Where the network layer begins, as far as it is easily told; else the beginning.
fn network_layer(link_type: LinkType, bytes: &[u8]) -> usize {
    match link_type {
        LinkType::ETHERNET => {
            // Two addresses, then any number of VLAN tags (IEEE 802.1Q and 802.1ad), then the type.
            let tagged =
                |at: usize| matches!(bytes.get(at..at + 2), Some([0x81, 0] | [0x88, 0xA8] | [0x91, 0]));
            let mut at = 12;
            while tagged(at) {
                at += 4;
            }
            at + 2
        }
        LinkType::LINUX_SLL => 16,
        LinkType::LINUX_SLL2 => 20,
        LinkType::NULL | LinkType::LOOP => 4,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// An IPv4 packet in Ethernet, as seen with this hop limit and checksum, padded to 60 bytes.
    fn packet(hops: u8, checksum: u8, payload: u8, tag: bool) -> Vec<u8> {
        let mut bytes = vec![hops; 12];
        if tag {
            bytes.extend([0x81, 0, 0, 7]);
        }
        bytes.extend([
            8, 0, 0x45, 0, 0, 21, 0, 1, 0, 0, hops, 17, checksum, checksum, 10, 0, 0, 1, 10, 0, 0, 2, payload,
        ]);
        bytes.resize(60, hops);
        bytes
    }

    fn see(twins: &mut Twins, place: usize, millis: u64, bytes: &[u8]) -> Option<usize> {
        twins
            .see(place, Timestamp(1_000_000 * MS + millis * MS), LinkType::ETHERNET, bytes)
            .map(|twin| twin.place)
    }

    #[test]
    fn what_a_router_changes_does_not_count_and_all_else_does() {
        let mut twins = Twins::new();
        assert_eq!(see(&mut twins, 0, 0, &packet(64, 7, 1, false)), None);
        assert_eq!(see(&mut twins, 1, 20, &packet(63, 8, 1, true)), Some(0));
        assert_eq!(see(&mut twins, 1, 30, &packet(64, 7, 2, false)), None, "other payload");
        assert_eq!(see(&mut twins, 2, 99, &packet(60, 9, 1, false)), Some(0), "a third sensor");
    }

    #[test]
    fn each_packet_has_one_twin_at_each_other_sensor() {
        let (mut twins, bytes) = (Twins::new(), packet(64, 7, 1, false));
        assert_eq!(see(&mut twins, 0, 0, &bytes), None);
        assert_eq!(see(&mut twins, 0, 1, &bytes), None, "sent twice");
        assert_eq!(see(&mut twins, 1, 2, &bytes), Some(0));
        assert_eq!(see(&mut twins, 1, 3, &bytes), Some(0));
        assert_eq!(see(&mut twins, 1, 4, &bytes), None, "sent three times, seen twice by the other");
    }

    #[test]
    fn twins_are_near_each_other() {
        let (mut twins, bytes) = (Twins::new(), packet(64, 7, 1, false));
        assert_eq!(see(&mut twins, 0, 0, &bytes), None);
        assert_eq!(see(&mut twins, 1, 101, &bytes), None);
        assert_eq!((twins.order.len(), twins.seen.len()), (1, 1), "what is too old is forgotten");
    }

    #[test]
    fn any_bytes_are_taken() {
        let mut twins = Twins::new();
        for length in 0..60 {
            for link_type in
                [LinkType::ETHERNET, LinkType::LINUX_SLL, LinkType::LINUX_SLL2, LinkType::NULL, LinkType(147)]
            {
                let first = twins.see(0, Timestamp(0), link_type, &packet(64, 7, 1, true)[..length]);
                assert_eq!(first, None);
            }
        }
    }
}
