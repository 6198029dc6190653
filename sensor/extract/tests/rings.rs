//! The general ring and the event ring, read as one.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod support;

use hindcap_extract::{Options, search};
use hindcap_store::Class;
use hindcap_store::reader::Reader;
use hindcap_store::sim::SimVolume;
use hindcap_wire::message::answer::WhyEmpty;
use hindcap_wire::net::IpNet;
use hindcap_wire::query::Query;
use hindcap_wire::time::{NANOS_PER_SEC, TimeRange, Timestamp};
use support::frames::{Host, plain_tcp};
use support::{Lab, START, Shot, extract, noise};

const SEC: u64 = NANOS_PER_SEC;

/// The connection 1:port -> 2:80, a packet a second.
fn connection(from: u64, to: u64, port: u16) -> Vec<Shot> {
    let packet = |secs: u64| {
        let flags = if secs == from { 2 } else { 16 };
        Shot::ethernet(START + secs * SEC, plain_tcp(Host(1), Host(2), (port, 80), flags))
    };
    (from..to).map(packet).collect()
}

fn lab(segments: u32, parts: &[Vec<Shot>]) -> Lab {
    let mut lab = Lab::new(segments, true, START);
    lab.record(parts);
    lab
}

fn both(general: &Lab, events: &Lab) -> Reader<SimVolume> {
    general.reader().with_events(events.reader())
}

fn asked(from: u64, to: u64, session: bool) -> Query {
    let time = TimeRange::new(Timestamp(START + from * SEC), Timestamp(START + to * SEC));
    let nets = vec![IpNet::host(Host(1).v4().into())];
    Query { time, nets, session, ..Query::default() }
}

#[test]
fn what_both_rings_have_is_given_once() {
    let (one, two) = (connection(100, 200, 5_000), connection(150, 250, 5_001));
    // Recorded twice: given twice, with pins or without.
    let general = lab(8, &[noise(0, 300, 1), one.clone(), two.clone(), two.clone()]);
    let events = lab(4, &[one, two]);
    for query in [asked(0, 300, false), asked(120, 121, true), Query::default(), asked(160, 161, true)] {
        let alone = extract(&mut general.reader(), &query, &Options::default()).unwrap();
        let (shots, answer) = extract(&mut both(&general, &events), &query, &Options::default()).unwrap();
        assert_eq!(shots, alone.0, "{query:?}");
        assert_eq!((answer.pinned_packets, &answer.coverage), (0, &alone.1.coverage));
        assert!(answer.segments_searched > alone.1.segments_searched);
    }
    let rows = search(&mut both(&general, &events), &asked(0, 300, false), 10, None).unwrap().rows;
    assert_eq!(rows.iter().map(|row| row.packets).collect::<Vec<_>>(), [200, 100]);
}

#[test]
fn what_was_overwritten_comes_from_the_event_ring() {
    let session = connection(100, 300, 5_000);
    // 20 MiB in three segments of 4 MiB: the beginning of the session is gone.
    let general = lab(3, &[noise(0, 300, 20), session.clone()]);
    let events = lab(4, std::slice::from_ref(&session));
    let query = asked(290, 291, true);
    let (left, answer) = extract(&mut general.reader(), &query, &Options::default()).unwrap();
    assert!(left.len() < 200 && !left.is_empty(), "{}", left.len());
    assert_eq!(answer.pinned_packets, 0);
    let mut reader = both(&general, &events);
    let (shots, answer) = extract(&mut reader, &query, &Options::default()).unwrap();
    assert_eq!(shots, session);
    assert_eq!(answer.pinned_packets, 200 - left.len() as u64);
    assert!(answer.to_string().contains("of these only the event ring still has"), "{answer}");
    // A window of which the general ring has nothing left.
    let (shots, answer) = extract(&mut reader, &asked(100, 110, false), &Options::default()).unwrap();
    assert_eq!((shots.len(), answer.pinned_packets), (10, 10));
    assert!(answer.notes.iter().any(|note| note.contains("have been pruned")), "{:?}", answer.notes);
    let nobody = Query { nets: vec![IpNet::host(Host(77).v4().into())], ..asked(100, 110, false) };
    let (_, answer) = extract(&mut reader, &nobody, &Options::default()).unwrap();
    assert!(matches!(answer.why_empty, Some(WhyEmpty::Pruned { .. })), "the event ring covers no time");
    let rows = search(&mut reader, &asked(0, 300, false), 10, None).unwrap().rows;
    assert_eq!((rows.len(), rows[0].packets), (1, 200));
    assert_eq!(rows[0].first, session[0].at);
}

#[test]
fn the_event_ring_is_seen_to_grow() {
    let general = lab(3, &[noise(0, 10, 1)]);
    let mut events = Lab::new(4, true, START);
    let mut reader = both(&general, &events);
    let pinned = |reader: &Reader<SimVolume>| {
        let of_events = reader.segments().iter().filter(|segment| segment.class == Class::Event);
        of_events.map(|segment| segment.packets).sum::<u64>()
    };
    assert_eq!(pinned(&reader), 0);
    connection(5, 9, 5_000).into_iter().for_each(|shot| events.push(shot));
    events.flush();
    reader.refresh().unwrap();
    assert_eq!(pinned(&reader), 4);
    let (shots, _) = extract(&mut reader, &asked(0, 20, false), &Options::default()).unwrap();
    assert_eq!(shots.len(), 4);
}
