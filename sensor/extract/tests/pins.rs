//! Pins: whole sessions copied out of the general ring's way, once, and followed.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod support;

use hindcap_extract::Options;
use hindcap_extract::pin::{Copied, Follower, PinSink};
use hindcap_store::reader::{Class, Reader, SegmentState};
use hindcap_store::sim::SimVolume;
use hindcap_wire::net::IpNet;
use hindcap_wire::packet::{Interface, Packet};
use hindcap_wire::query::Query;
use hindcap_wire::time::{NANOS_PER_SEC, TimeRange, Timestamp};
use support::frames::{Host, plain_tcp};
use support::{Lab, START, Shot, extract, noise, reading};

const SEC: u64 = NANOS_PER_SEC;
const FIN: u8 = 1;
const SYN: u8 = 2;
const ACK: u8 = 16;

fn at(secs: u64) -> Timestamp {
    Timestamp(START + secs * SEC)
}

/// A packet of the connection 1:port -> 2:80, or its answer.
fn packet(secs: u64, port: u16, flags: u8, there: bool) -> Shot {
    let frame = if there {
        plain_tcp(Host(1), Host(2), (port, 80), flags)
    } else {
        plain_tcp(Host(2), Host(1), (80, port), flags)
    };
    Shot::ethernet(at(secs).0, frame)
}

/// A connection from its SYN to both FINs, a packet a second.
fn connection(from: u64, to: u64, port: u16) -> Vec<Shot> {
    let mut shots = vec![packet(from, port, SYN, true), packet(from, port, SYN | ACK, false)];
    shots.extend((from + 1..to).map(|secs| packet(secs, port, ACK, secs % 2 == 0)));
    shots.extend([packet(to, port, FIN | ACK, true), packet(to, port, FIN | ACK, false)]);
    shots
}

fn asked(from: u64, to: Timestamp, port: u16) -> Query {
    let nets = vec![IpNet::host(Host(1).v4().into()), IpNet::host(Host(2).v4().into())];
    Query {
        time: TimeRange::new(at(from), to),
        nets,
        ports: vec![port, 80],
        proto: Some(6),
        ..Query::default()
    }
}

/// The event ring, as a pin's sink.
struct Ring {
    lab: Lab,
    /// Packets taken before it refuses.
    most: usize,
}

impl Ring {
    fn new() -> Self {
        Self { lab: Lab::new(4, false, START), most: usize::MAX }
    }

    /// Everything in it, in time order.
    fn content(&self) -> Vec<Shot> {
        extract(&mut self.lab.reader(), &Query::default(), &Options::default()).unwrap().0
    }
}

impl PinSink for Ring {
    fn packet(&mut self, interface: &Interface, packet: &Packet<'_>) -> bool {
        if self.most == 0 {
            return false;
        }
        self.most -= 1;
        let recorder = self.lab.recorder();
        let interface = recorder.interface(interface).unwrap();
        recorder.push(&Packet { interface, ..*packet });
        true
    }

    fn flush(&mut self) {
        self.lab.flush();
    }
}

struct Bench {
    general: Lab,
    ring: Ring,
    reader: Reader<SimVolume>,
}

impl Bench {
    fn new(segments: u32) -> Self {
        let (general, ring) = (Lab::new(segments, true, START), Ring::new());
        let reader = general.reader().with_events(ring.lab.reader());
        Self { general, ring, reader }
    }

    fn step(&mut self, follower: &mut Follower, now: u64) -> Copied {
        self.step_by(follower, Some(at(now)))
    }

    fn step_by(&mut self, follower: &mut Follower, now: Option<Timestamp>) -> Copied {
        follower.step(&mut self.reader, &Options::default(), now, &mut self.ring).unwrap()
    }
}

#[test]
fn a_session_is_copied_whole_and_once() {
    let (one, two) = (connection(10, 60, 5_000), connection(20, 70, 5_001));
    let mut bench = Bench::new(6);
    bench.general.record(&[noise(0, 100, 3), one.clone(), two.clone()]);
    let mut follower = Follower::new(&asked(30, at(31), 5_000));
    let copied = bench.step(&mut follower, 100);
    assert_eq!((copied.packets, copied.unfinished), (one.len() as u64, false));
    assert_eq!(bench.ring.content(), one);
    // Again by the same, by another that knows nothing, and by a wider one.
    assert_eq!(bench.step(&mut follower, 101).packets, 0);
    assert_eq!(bench.step(&mut Follower::new(&asked(30, at(31), 5_000)), 101).packets, 0);
    let host = Query { ports: vec![80], ..asked(30, at(31), 0) };
    assert_eq!(bench.step(&mut Follower::new(&host), 102).packets, two.len() as u64);
    assert_eq!(bench.ring.content().len(), one.len() + two.len());
    assert!(!follower.is_over(Some(at(30))) && !follower.is_over(Some(at(101))), "late repeats may come");
    bench.step(&mut follower, 400);
    assert!(follower.is_over(Some(at(400))));
}

#[test]
fn what_comes_after_the_request_is_followed() {
    let (session, next) = (connection(10, 90, 5_000), connection(95, 99, 5_000));
    let parts: Vec<Vec<Shot>> = [(0, 30), (30, 50), (50, 200)]
        .map(|(from, to)| {
            let all = [session.clone(), next.clone(), connection(5, 195, 5_001)].concat();
            all.into_iter().filter(|shot| (at(from)..at(to)).contains(&shot.at)).collect()
        })
        .into();
    let mut bench = Bench::new(6);
    bench.general.record(&[noise(0, 30, 2), parts[0].clone()]);
    let mut follower = Follower::new(&asked(10, at(12), 5_000));
    bench.step(&mut follower, 30);
    assert_eq!(bench.ring.content(), session[..21]);
    bench.general.record(&[noise(30, 50, 2), parts[1].clone()]);
    assert_eq!(bench.step(&mut follower, 50).packets, 20);
    // A restart: whoever follows now knows only what the rings hold.
    let mut follower = Follower::new(&asked(10, at(12), 5_000));
    assert_eq!(bench.step(&mut follower, 50).packets, 0);
    assert_eq!(follower.live(), 1);
    bench.general.record(&[noise(50, 200, 4), parts[2].clone()]);
    bench.step(&mut follower, 200);
    assert_eq!(bench.ring.content(), session, "and not the next connection on the same ports");
    assert!(follower.is_over(Some(at(200))), "which ended the one before");
}

#[test]
fn sessions_that_begin_later_are_pinned_by_an_open_window() {
    let (one, two) = (connection(40, 60, 5_000), connection(70, 90, 5_000));
    let mut bench = Bench::new(6);
    bench.general.record(&[noise(0, 30, 1)]);
    let mut follower = Follower::new(&asked(0, Timestamp::MAX, 5_000));
    assert_eq!(bench.step(&mut follower, 30).packets, 0);
    bench.general.record(&[noise(30, 65, 1), one.clone()]);
    bench.step(&mut follower, 65);
    bench.general.record(&[noise(65, 95, 1), two.clone()]);
    bench.step(&mut follower, 95);
    assert_eq!(bench.ring.content(), [one, two].concat());
    assert!(!follower.is_over(Some(at(10_000))));
}

#[test]
fn a_match_in_the_middle_leads_back_to_the_beginning() {
    let session = connection(10, 60, 5_000);
    let mut bench = Bench::new(6);
    let (early, late): (Vec<Shot>, Vec<Shot>) = session.iter().cloned().partition(|shot| shot.at < at(50));
    bench.general.record(&[noise(0, 50, 2), early]);
    // Only the FINs match, and they come after the request.
    let fins = Query { filter: Some("tcp[13] & 1 != 0".into()), ..Query::default() };
    let mut follower = Follower::new(&fins);
    assert_eq!(bench.step(&mut follower, 50).packets, 0);
    bench.general.record(&[noise(50, 70, 1), late]);
    bench.step(&mut follower, 70);
    assert_eq!(bench.ring.content(), session);
}

#[test]
fn a_crash_in_the_middle_neither_doubles_nor_loses() {
    let session = connection(10, 400, 5_000);
    let mut bench = Bench::new(6);
    bench.general.record(&[noise(0, 500, 3), session.clone()]);
    let mut follower = Follower::new(&asked(20, at(21), 5_000));
    bench.ring.most = 150;
    let copied = bench.step(&mut follower, 500);
    assert_eq!((copied.packets, copied.unfinished), (150, true));
    // Of the last packets nothing is durable.
    bench.ring.most = 40;
    bench.ring.lab.recorder().tick(reading(at(500).0, false), Default::default());
    for shot in &session[150..190] {
        let interface = support::interface(shot.link_type);
        bench.ring.packet(
            &interface,
            &Packet { timestamp: shot.at, interface: 0, orig_len: shot.orig_len, bytes: &shot.bytes },
        );
    }
    bench.ring.lab.recorder = None;
    bench.ring.lab.restart(at(501).0);
    bench.ring.most = usize::MAX;
    bench.reader = bench.general.reader().with_events(bench.ring.lab.reader());
    let mut follower = Follower::new(&asked(20, at(21), 5_000));
    bench.step(&mut follower, 501);
    assert_eq!(bench.ring.content(), session);
}

#[test]
fn what_was_overwritten_before_it_was_copied_is_told() {
    let mut bench = Bench::new(3);
    bench.general.record(&[noise(0, 20, 1), connection(10, 15, 5_000)]);
    let mut follower = Follower::new(&asked(0, Timestamp::MAX, 5_000));
    assert_eq!(bench.step(&mut follower, 20).segments_missed, 0);
    // The general ring comes round more than once before the next step.
    bench.general.record(&[noise(20, 100, 30), connection(30, 35, 5_000)]);
    let copied = bench.step(&mut follower, 100);
    assert!(copied.segments_missed >= 4, "{copied:?}");
    assert_eq!(bench.step(&mut follower, 101).segments_missed, 0, "told once");
}

/// The general ring goes on while a step copies.
struct Meanwhile<'a> {
    ring: &'a mut Ring,
    general: &'a mut Lab,
    then: Vec<Shot>,
}

impl PinSink for Meanwhile<'_> {
    fn packet(&mut self, interface: &Interface, packet: &Packet<'_>) -> bool {
        if !self.then.is_empty() {
            self.general.record(&[std::mem::take(&mut self.then)]);
        }
        self.ring.packet(interface, packet)
    }

    fn flush(&mut self) {
        self.ring.flush();
    }
}

#[test]
fn a_segment_that_goes_while_it_is_read_is_missed_once() {
    let session = connection(10, 90, 5_000);
    let mut bench = Bench::new(6);
    bench.general.record(&[noise(0, 95, 20), session.clone()]);
    let mut follower = Follower::new(&asked(10, at(12), 5_000));
    // The first packet comes out of the first segment; meanwhile this one and two more are overwritten, but for the megabyte
    // that has been read.
    let then = noise(95, 100, 12);
    let mut sink = Meanwhile { ring: &mut bench.ring, general: &mut bench.general, then };
    let copied = follower.step(&mut bench.reader, &Options::default(), None, &mut sink).unwrap();
    assert!((1..=3).contains(&copied.segments_missed), "{copied:?}");
    assert!(copied.packets < session.len() as u64, "{copied:?}");
    assert_eq!(bench.step(&mut follower, 100).segments_missed, 0, "told once");
}

#[test]
fn a_segment_that_had_been_looked_at_is_not_missed() {
    let mut bench = Bench::new(3);
    let mut follower = Follower::new(&asked(0, Timestamp::MAX, 5_000));
    let mut noise = noise(0, 100, 60).into_iter();
    // Each time as many segments as the ring has: the one that was looked at last is the only one that goes.
    for sealed in [3, 6, 9, 12] {
        for shot in noise.by_ref() {
            let at = shot.at.0;
            bench.general.push(shot);
            bench.general.tick(at, Default::default());
            if bench.general.recorder().health().snapshot().segments_sealed == sealed {
                break;
            }
        }
        let copied = bench.step(&mut follower, 100);
        let newest = bench.reader.segments().iter().rfind(|segment| segment.class == Class::General).unwrap();
        assert_eq!((newest.generation, newest.state), (sealed, SegmentState::Sealed));
        assert_eq!(copied.segments_missed, 0, "{sealed}");
    }
}

#[test]
fn packets_with_times_of_their_own_tell_which_sessions_go_on() {
    let session = connection(10, 600, 5_000);
    let mut bench = Bench::new(4);
    let mut follower = Follower::new(&asked(0, Timestamp::MAX, 5_000));
    let mut copied = Copied::default();
    // As in an import: long ago by the wall clock, and the beginning is gone when the end comes.
    for turn in 0..6 {
        let (from, to) = (turn * 100, (turn + 1) * 100);
        let part = session.iter().filter(|shot| (at(from)..at(to)).contains(&shot.at)).cloned().collect();
        bench.general.record(&[noise(from, to, 6), part]);
        copied = bench.step_by(&mut follower, None);
        assert_eq!((copied.segments_missed, follower.live()), (0, 1), "turn {turn}: {copied:?}");
    }
    assert!(copied.packets > 90);
    assert_eq!(bench.ring.content(), session[..session.len() - 2]);
}

#[test]
fn the_newest_copy_is_dated_by_its_packet() {
    let mut ring = Lab::new(4, false, START + 1_000 * SEC);
    for secs in [10, 20] {
        // Each life has another boot, so that nobody knows what the clock did between them.
        ring.recorder = None;
        ring.restart(START + (1_000 + secs) * SEC);
        ring.push(packet(secs, 5_000, ACK, true));
        ring.tick(START + (1_000 + secs) * SEC, Default::default());
        ring.flush();
    }
    let segment = ring.reader().segments()[0].clone();
    assert_eq!((segment.state, segment.first, segment.last), (SegmentState::Open, at(10), at(20)));
}
