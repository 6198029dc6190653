//! Splits the packets of flows, in time order, into sessions.
//!
//! A session ends by silence: the idle time-out of its protocol, or, after a TCP connection was closed (RST, or FIN from
//! both ends), [`CLOSING_NANOS`], so that late repeats still belong to it. A SYN starts a new one on the same ports after
//! any FIN or RST, and, when their loss was not seen, once the connection has carried data and is older than any
//! repeated SYN.

use std::collections::HashMap;

use hindcap_wire::flow::{FlowKey, proto};
use hindcap_wire::time::{TimeRange, Timestamp};

use super::{Waiting, idle_nanos};
use crate::limits::{CLOSING_NANOS, SYN_REPEAT_NANOS};
use crate::sorter::Place;

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

/// One packet as a flow sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub key: FlowKey,
    /// From end `a` to end `b`.
    pub forward: bool,
    pub tcp_flags: u8,
    /// The packet is what the query asks for.
    pub hit: bool,
    /// The same, whatever its time.
    pub fits: bool,
}

impl Seen {
    /// Whether it opens a TCP connection.
    pub const fn opens(&self) -> bool {
        self.key.proto == proto::TCP && self.tcp_flags & (SYN | ACK) == SYN
    }
}

/// One packet as its flows see it.
pub(super) struct Mark(pub Vec<Seen>);

impl Waiting for Mark {
    fn weight(&self) -> usize {
        128 + self.0.len() * size_of::<Seen>()
    }
}

/// A session so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Track {
    from: Place,
    to: Place,
    hit: bool,
    fits: bool,
    /// FIN seen from `a`, from `b`.
    fins: [bool; 2],
    reset: bool,
    acked: bool,
}

impl Track {
    pub const fn new(place: Place) -> Self {
        Self { from: place, to: place, hit: false, fits: false, fins: [false; 2], reset: false, acked: false }
    }

    /// Whether a packet at `place` belongs to a new session.
    pub fn ends_before(&self, place: Place, seen: &Seen) -> bool {
        let silence = place.at.0.saturating_sub(self.to.at.0);
        let closed = self.reset || self.fins == [true; 2];
        let opens = seen.opens();
        let closing = self.reset || self.fins != [false; 2];
        let aged = self.acked && place.at > self.from.at.plus_nanos(SYN_REPEAT_NANOS);
        silence >= idle_nanos(seen.key.proto)
            || (closed && silence >= CLOSING_NANOS)
            || (opens && (closing || aged))
    }

    /// Whether nothing of it can come any more at `now`.
    pub fn is_over(&self, proto: u8, now: Timestamp) -> bool {
        let silence = now.0.saturating_sub(self.to.at.0);
        let closed = self.reset || self.fins == [true; 2];
        silence >= idle_nanos(proto) || (closed && silence >= CLOSING_NANOS)
    }

    pub fn take(&mut self, place: Place, seen: &Seen) {
        self.to = place;
        self.hit |= seen.hit;
        self.fits |= seen.fits;
        self.fins[usize::from(!seen.forward)] |= seen.tcp_flags & FIN != 0;
        self.reset |= seen.tcp_flags & RST != 0;
        self.acked |= seen.tcp_flags & (ACK | SYN) == ACK;
    }
}

/// The sessions of all flows, as their packets come in time order.
pub(super) struct Tracks {
    window: TimeRange,
    /// Whether being alive in the window is enough, without a packet in it.
    alive_counts: bool,
    open: HashMap<FlowKey, Track>,
    done: HashMap<FlowKey, Vec<(Place, Place)>>,
    chosen: usize,
}

impl Tracks {
    pub fn new(window: TimeRange, alive_counts: bool) -> Self {
        Self { window, alive_counts, open: HashMap::new(), done: HashMap::new(), chosen: 0 }
    }

    /// Takes a packet.
    pub fn see(&mut self, place: Place, seen: &Seen) {
        let before = self.open.get(&seen.key).copied();
        let mut track = before.unwrap_or(Track::new(place));
        if track.ends_before(place, seen) {
            self.close(seen.key, &track);
            track = Track::new(place);
        }
        track.take(place, seen);
        self.open.insert(seen.key, track);
    }

    fn close(&mut self, key: FlowKey, track: &Track) {
        let alive = self.window.touches(track.from.at, track.to.at);
        if track.hit || (self.alive_counts && track.fits && alive) {
            self.done.entry(key).or_default().push((track.from, track.to));
            self.chosen += 1;
        }
    }

    /// Sessions chosen so far.
    pub fn chosen(&self) -> usize {
        self.chosen
    }

    /// First and last packet of the chosen sessions.
    pub fn finish(mut self) -> HashMap<FlowKey, Vec<(Place, Place)>> {
        for (key, track) in std::mem::take(&mut self.open) {
            self.close(key, &track);
        }
        self.done
    }
}

#[cfg(test)]
mod tests {
    use hindcap_store::Class;
    use hindcap_wire::time::NANOS_PER_SEC;

    use super::*;

    /// Sessions of (second, flags, from a) chosen by `window` seconds.
    fn sessions(proto: u8, packets: &[(u64, u8, bool)], window: (u64, u64)) -> Vec<(u64, u64)> {
        let at = |secs| Timestamp::from_parts(secs, 0);
        let mut tracks = Tracks::new(TimeRange::new(at(window.0), at(window.1)), true);
        let key = FlowKey {
            a: [0; 16],
            b: [1; 16],
            a_port: 1,
            b_port: 2,
            vlan: FlowKey::NO_VLAN,
            proto,
            version: 4,
        };
        for (offset, (secs, tcp_flags, forward)) in (0..).zip(packets) {
            let seen = Seen { key, forward: *forward, tcp_flags: *tcp_flags, hit: false, fits: true };
            tracks.see(Place { at: at(*secs), class: Class::General, generation: 1, offset }, &seen);
        }
        let done = tracks.finish().remove(&key).unwrap_or_default();
        done.iter().map(|(from, to)| (from.at.secs(), to.at.secs())).collect()
    }

    #[test]
    fn connections_on_the_same_ports_are_told_apart() {
        let twice = [
            (10, SYN, true),
            (11, SYN | ACK, false),
            (12, ACK, true),
            (20, FIN | ACK, true),
            (21, FIN | ACK, false),
            (22, ACK, true),
            (30, SYN, true),
            (31, SYN | ACK, false),
            (32, ACK, true),
            (33, RST, false),
            (34, SYN, true),
        ];
        assert_eq!(sessions(proto::TCP, &twice, (12, 13)), [(10, 22)]);
        assert_eq!(sessions(proto::TCP, &twice, (15, 16)), [(10, 22)], "alive without a packet");
        assert_eq!(sessions(proto::TCP, &twice, (24, 25)), []);
        assert_eq!(sessions(proto::TCP, &twice, (22, 31)), [(10, 22), (30, 33)]);
        assert_eq!(sessions(proto::TCP, &twice, (34, 35)), [(34, 34)]);
    }

    #[test]
    fn a_repeated_syn_opens_nothing_and_a_late_one_does() {
        let repeated =
            [(10, SYN, true), (11, SYN, true), (13, SYN, true), (14, SYN | ACK, false), (15, ACK, true)];
        assert_eq!(sessions(proto::TCP, &repeated, (10, 11)), [(10, 15)]);
        let late =
            [(10, SYN, true), (11, SYN | ACK, false), (12, ACK, true), (300, SYN, true), (301, ACK, true)];
        assert_eq!(sessions(proto::TCP, &late, (300, 301)), [(300, 301)]);
    }

    #[test]
    fn silence_ends_sessions_by_protocol() {
        let packets = [(10, 0, true), (69, 0, false), (150, 0, true), (449, 0, true), (9000, 0, true)];
        assert_eq!(sessions(proto::ICMP, &packets, (0, 99)), [(10, 69)]);
        assert_eq!(sessions(proto::UDP, &packets, (0, 99)), [(10, 449)]);
        assert_eq!(sessions(proto::TCP, &packets, (0, 99)), [(10, 449)]);
        assert_eq!(idle_nanos(proto::TCP) / NANOS_PER_SEC, 7440);
    }

    #[test]
    fn late_repeats_belong_to_the_closed_connection() {
        let closed = [(10, SYN, true), (11, RST, false), (200, ACK, true), (500, ACK, true)];
        assert_eq!(sessions(proto::TCP, &closed, (10, 12)), [(10, 200)]);
        let finished = [(10, FIN, true), (11, FIN, false), (200, ACK, true), (500, ACK, true)];
        assert_eq!(sessions(proto::TCP, &finished, (10, 12)), [(10, 200)]);
        let half_open = [(10, FIN, true), (11, FIN, true), (200, ACK, true), (500, ACK, true)];
        assert_eq!(sessions(proto::TCP, &half_open, (10, 12)), [(10, 500)], "one end may go on sending");
    }
}
