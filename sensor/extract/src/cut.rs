//! How much of the sessions given policy cut off.
//!
//! Packets that are not recorded leave no trace of their own. TCP counts its bytes: what lies between the first and the
//! last sequence number of a direction and is not recorded was cut off. Of other protocols only the truncated packets
//! tell what they lack, so that the sum is a lower bound. Repeated bytes make it lower as well, never higher; packets
//! that were dropped count as cut off, and the answer tells of drops beside it.

use std::collections::HashMap;

use hindcap_wire::flow::{FlowKey, proto};
use hindcap_wire::message::answer::CutOff;
use hindcap_wire::packet::plain::{Ends, Plain};
use hindcap_wire::packet::{LinkType, Packet};

use crate::limits::CUT_FLOWS_MAX;

const SYN: u8 = 2;

/// One direction of a TCP connection.
#[derive(Clone, Copy, Debug, Default)]
struct Direction {
    /// Sequence number met last, and its position in the stream.
    last: Option<(u32, i64)>,
    /// Positions where the stream begins and ends, as far as it was seen.
    start: i64,
    end: i64,
    recorded: u64,
}

impl Direction {
    fn take(&mut self, sequence: u32, bytes: u32, recorded: u32) {
        let at = match self.last {
            // Sampled packets are far less than 2 GiB apart.
            Some((last, position)) => position + i64::from(sequence.wrapping_sub(last) as i32),
            None => 0,
        };
        self.last = Some((sequence, at));
        self.start = self.start.min(at);
        self.end = self.end.max(at + i64::from(bytes));
        self.recorded += u64::from(recorded);
    }

    fn lacks(&self) -> u64 {
        u64::try_from(self.end - self.start).unwrap_or(0).saturating_sub(self.recorded)
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Flow {
    directions: [Direction; 2],
    /// Bytes of connections before this one on the same ports, or what truncated packets lack.
    before: u64,
    truncated: bool,
    counts: bool,
}

impl Flow {
    fn lacks(&self) -> u64 {
        self.before + self.directions.iter().map(Direction::lacks).sum::<u64>()
    }
}

/// See the module. To be used where a policy that truncates was in force.
#[derive(Debug, Default)]
pub(crate) struct Cut {
    flows: HashMap<FlowKey, Flow>,
    full: bool,
}

impl Cut {
    /// Takes a packet that is given; `stored` of its bytes were recorded, of which `packet` may have fewer.
    pub fn packet(&mut self, link_type: LinkType, packet: &Packet<'_>, stored: u32) {
        let lacks = packet.orig_len.saturating_sub(stored);
        // Anything but plain packets is kept whole, or truncated behind its headers; its flow is nobody's business here.
        let Some(plain) = Plain::read(link_type, packet.bytes, packet.orig_len) else { return };
        let layer = plain.layer();
        let (key, forward) = FlowKey::of(&layer.tuple, layer.vlan);
        if self.flows.len() >= CUT_FLOWS_MAX && !self.flows.contains_key(&key) {
            self.full |= lacks > 0;
            return;
        }
        let flow = self.flows.entry(key).or_default();
        flow.truncated |= lacks > 0;
        match tcp(&plain, packet, stored) {
            Some((sequence, bytes, recorded)) => {
                flow.counts = true;
                let direction = &mut flow.directions[usize::from(forward)];
                if plain.tcp_flags & SYN != 0 && direction.last.is_some() {
                    flow.before += direction.lacks();
                    *direction = Direction::default();
                }
                direction.take(sequence, bytes, recorded);
            }
            None => flow.before += u64::from(lacks),
        }
    }

    /// What it comes to.
    pub fn finish(&self) -> CutOff {
        let cut = || self.flows.values().filter(|flow| flow.truncated);
        CutOff {
            sessions: cut().count() as u64,
            bytes: cut().map(Flow::lacks).sum(),
            at_least: self.full || cut().any(|flow| !flow.counts),
        }
    }
}

/// Sequence number of the first byte of payload, bytes of payload on the wire, and how many of these were recorded.
fn tcp(plain: &Plain<'_>, packet: &Packet<'_>, stored: u32) -> Option<(u32, u32, u32)> {
    if plain.proto != proto::TCP {
        return None;
    }
    let network = 14 + if plain.tag.is_some() { 4 } else { 0 };
    let u16_at = |at: usize| packet.bytes.get(at..at + 2)?.first_chunk().copied().map(u16::from_be_bytes);
    let (transport, length) = match plain.ends {
        Ends::V4(..) => (network + 20, usize::from(u16_at(network + 2)?).checked_sub(20)?),
        Ends::V6(..) => (network + 40, usize::from(u16_at(network + 4)?)),
    };
    let header = packet.bytes.get(transport..)?;
    let sequence = header.get(4..8)?.first_chunk().copied().map(u32::from_be_bytes)?;
    let own = usize::from(*header.get(12)? >> 4) * 4;
    let bytes = length.checked_sub(own)?;
    let recorded = (stored as usize).saturating_sub(transport + own).min(bytes);
    // A SYN takes a number of its own.
    let sequence = sequence.wrapping_add(u32::from(plain.tcp_flags & SYN != 0));
    Some((sequence, u32::try_from(bytes).ok()?, u32::try_from(recorded).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hindcap_wire::time::Timestamp;

    fn frame(flags: u8, sequence: u32, payload: usize) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0];
        frame.extend((40 + payload as u16).to_be_bytes());
        frame.extend([0, 0, 0x40, 0, 64, 6, 0, 0, 10, 9, 0, 1, 10, 9, 1, 1, 0xc3, 0x50, 0x1f, 0x90]);
        frame.extend(sequence.to_be_bytes());
        frame.extend([0, 0, 0, 1, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        frame.resize(frame.len() + payload, 7);
        frame
    }

    fn give(cut: &mut Cut, frame: &[u8], kept: usize) {
        let bytes = &frame[..kept.min(frame.len())];
        let packet = Packet { timestamp: Timestamp(0), interface: 0, orig_len: frame.len() as u32, bytes };
        cut.packet(LinkType::ETHERNET, &packet, bytes.len() as u32);
    }

    #[test]
    fn sequence_numbers_tell_what_was_not_recorded() {
        let mut cut = Cut::default();
        let start = u32::MAX - 5_000;
        give(&mut cut, &frame(2, start, 0), 2000);
        for n in 0..1_000_u32 {
            // Ten whole, then one in a hundred, truncated; the numbers wrap.
            let data = frame(16, (start + 1).wrapping_add(n * 1_000), 1_000);
            match n {
                0..10 => give(&mut cut, &data, 2_000),
                n if n % 100 == 9 => give(&mut cut, &data, 96),
                _ => {}
            }
        }
        let sampled = 9 * (96 - 54);
        // The last one seen is number 909; what came behind it nobody knows.
        let expected = CutOff { sessions: 1, bytes: 910_000 - 10_000 - sampled, at_least: false };
        assert_eq!(cut.finish(), expected);
        give(&mut cut, &frame(17, (start + 1).wrapping_add(1_000_000), 0), 96);
        assert_eq!(cut.finish().bytes, 990_000 - sampled, "the FIN tells the end");
        // Another connection on the same ports, whole.
        give(&mut cut, &frame(2, 77, 0), 2_000);
        give(&mut cut, &frame(16, 78, 500), 2_000);
        assert_eq!(cut.finish().bytes, 990_000 - sampled);
    }

    #[test]
    fn whole_sessions_lack_nothing_and_others_say_at_least() {
        let mut cut = Cut::default();
        give(&mut cut, &frame(2, 1, 0), 2_000);
        give(&mut cut, &frame(16, 100_000, 10), 2_000);
        assert_eq!(cut.finish(), CutOff::default(), "a hole is no policy's while nothing was truncated");
        let mut udp = frame(0, 0, 1_000);
        udp[23] = 17;
        let length = (udp.len() - 34) as u16;
        udp[38..40].copy_from_slice(&length.to_be_bytes());
        give(&mut cut, &udp, 96);
        let lacks = udp.len() as u64 - 96;
        assert_eq!(cut.finish(), CutOff { sessions: 1, bytes: lacks, at_least: true });
    }
}
