//! What an answer says beside its packets: coverage, gaps, drops, limits, damage, and why there is nothing.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod support;

use std::sync::atomic::AtomicBool;

use hindcap_extract::{ExtractError, Options, plan};
use hindcap_store::volume::Area;
use hindcap_wire::drops::{DropCause, DropCounts};
use hindcap_wire::ledger::EventKind;
use hindcap_wire::message::Limits;
use hindcap_wire::message::answer::{Answer, GapCause, Partial, WhyEmpty};
use hindcap_wire::packet::LinkType;
use hindcap_wire::query::Query;
use hindcap_wire::time::{ClockState, NANOS_PER_SEC, TimeRange, Timestamp};
use support::frames::{Host, ethernet, ipv4, plain_tcp, tcp, udp};
use support::{Lab, START, Shot, extract};

const SEC: u64 = NANOS_PER_SEC;

fn at(secs: u64) -> Timestamp {
    Timestamp(START + secs * SEC)
}

fn within(from: u64, to: u64) -> Query {
    Query { time: TimeRange::new(at(from), at(to)), ..Query::default() }
}

fn host(number: u8, query: Query) -> Query {
    Query { nets: vec![hindcap_wire::net::IpNet::host(Host(number).v4().into())], ..query }
}

/// A packet between hosts 1 and 2 at `secs`.
fn shot(secs: u64) -> Shot {
    Shot::ethernet(START + secs * SEC, plain_tcp(Host(1), Host(2), (1000, 80), 0x10))
}

fn answer(lab: &Lab, query: &Query) -> Answer {
    extract(&mut lab.reader(), query, &Options::default()).unwrap().1
}

/// One packet each second of `[from, to)`, with a commit behind it.
fn record(lab: &mut Lab, from: u64, to: u64) {
    for secs in from..to {
        lab.push(shot(secs));
        lab.tick(START + secs * SEC + SEC / 2, DropCounts::default());
    }
    lab.flush();
}

/// Packets of 100,000 bytes until the oldest segment has been overwritten; the second that was reached.
fn record_until_pruned(lab: &mut Lab, from: u64) -> u64 {
    let big =
        ethernet(&[], 0x0800, &ipv4(Host(7), Host(8), 17, None, &udp((9, 9), &vec![0; 60_000])), (1, 2));
    let mut secs = from;
    while lab.reader().segments().first().is_none_or(|oldest| oldest.generation == 1) {
        for _ in 0..50 {
            lab.push(Shot::ethernet(START + secs * SEC, big.clone()));
            lab.tick(START + secs * SEC + SEC / 2, DropCounts::default());
            secs += 1;
        }
        lab.flush();
    }
    secs
}

#[test]
fn an_empty_answer_says_why() {
    let mut lab = Lab::new(4, true, START + 10 * SEC);
    assert_eq!(answer(&lab, &Query::default()).why_empty, Some(WhyEmpty::EmptyStore));
    record(&mut lab, 10, 60);
    let none = answer(&lab, &host(9, within(20, 40)));
    assert_eq!(none.why_empty, Some(WhyEmpty::NoSuchTraffic));
    assert_eq!(none.coverage, [TimeRange::new(at(20), at(40))]);
    let before = answer(&lab, &within(0, 5)).why_empty;
    assert_eq!(before, Some(WhyEmpty::NotRecorded { range: TimeRange::new(at(0), at(5)) }));
    match answer(&lab, &within(70, 80)).why_empty {
        Some(WhyEmpty::NotFlushed { newest }) => assert!(newest >= at(59) && newest < at(61), "{newest}"),
        other => panic!("{other:?}"),
    }
    lab.stop(START + 60 * SEC);
    match answer(&lab, &within(70, 80)).why_empty {
        Some(WhyEmpty::NotRecorded { range }) => assert_eq!(range, TimeRange::new(at(70), at(80))),
        other => panic!("{other:?}"),
    }
}

#[test]
fn pruned_packets_are_told_from_packets_that_never_were() {
    let mut lab = Lab::new(3, true, START);
    record(&mut lab, 1, 5);
    let reached = record_until_pruned(&mut lab, 10);
    let oldest = lab.reader().segments().iter().map(|segment| segment.first).min().unwrap();
    assert!(oldest > at(10));
    for query in [within(0, 6), host(1, within(0, 6)), host(1, within(0, reached))] {
        assert_eq!(answer(&lab, &query).why_empty, Some(WhyEmpty::Pruned { oldest }), "{query:?}");
    }
    assert_eq!(answer(&lab, &host(1, Query::default())).why_empty, Some(WhyEmpty::NoSuchTraffic));
    let some = answer(&lab, &within(0, reached));
    assert!(some.packets > 0 && some.notes[0].contains("have been pruned"), "{some}");
}

#[test]
fn a_stop_is_a_gap_and_silence_is_not() {
    let mut lab = Lab::new(4, true, START);
    record(&mut lab, 1, 10);
    record(&mut lab, 100, 105);
    lab.stop(START + 110 * SEC);
    lab.restart(START + 200 * SEC);
    record(&mut lab, 210, 220);
    let whole = answer(&lab, &within(1, 220));
    assert_eq!(whole.packets, 24, "{whole}");
    assert_eq!(whole.gaps.len(), 1, "{whole}");
    assert_eq!(whole.gaps[0].cause, GapCause::RecorderDown);
    let gap = whole.gaps[0].range;
    assert!(gap.start >= at(104) && gap.start <= at(111) && gap.end == at(200), "{whole}");
    assert_eq!(whole.coverage.len(), 2, "{whole}");
    let silent = answer(&lab, &within(20, 90));
    assert_eq!(silent.why_empty, Some(WhyEmpty::NoSuchTraffic), "{silent}");
    assert_eq!(silent.coverage, [TimeRange::new(at(20), at(90))]);
    let down = answer(&lab, &within(120, 190));
    assert_eq!(
        down.why_empty,
        Some(WhyEmpty::NotRecorded { range: TimeRange::new(at(120), at(190)) }),
        "{down}"
    );
    assert!(whole.clock.iter().all(|span| span.state == ClockState::Synchronised), "{whole}");
}

#[test]
fn drops_and_link_states_are_told() {
    let mut lab = Lab::new(4, true, START);
    record(&mut lab, 1, 20);
    let mut drops = DropCounts::default();
    drops.add(DropCause::RingFull, 12);
    lab.push(shot(20));
    lab.tick(START + 21 * SEC, drops);
    lab.flush();
    lab.tick(START + 30 * SEC, drops);
    lab.recorder().event(EventKind::LinkDown { interface: 0 });
    lab.tick(START + 40 * SEC, drops);
    lab.recorder().event(EventKind::LinkUp { interface: 0 });
    lab.flush();
    let some = answer(&lab, &within(15, 45));
    assert_eq!((some.drops.get(DropCause::RingFull), some.drops.total()), (12, 12), "{some}");
    let down = some.gaps.iter().find(|gap| gap.cause == GapCause::LinkDown).unwrap();
    assert_eq!(down.range, TimeRange::new(at(30), at(40)));
    let none = answer(&lab, &host(9, within(15, 45)));
    assert_eq!(none.why_empty, Some(WhyEmpty::Dropped { packets: 12 }), "{none}");
    assert_eq!(answer(&lab, &within(2, 10)).drops.total(), 0);
}

#[test]
fn limits_make_an_answer_partial_and_say_so() {
    let mut lab = Lab::new(4, true, START);
    record(&mut lab, 1, 21);
    let limited = |limits: Limits| {
        let options = Options { limits, ..Options::default() };
        extract(&mut lab.reader(), &Query::default(), &options).unwrap()
    };
    let (shots, answer) = limited(Limits { max_packets: Some(5), ..Limits::default() });
    assert_eq!((shots.as_slice(), answer.partial), (&lab.shots[..5], Some(Partial::PacketsMax(5))));
    let (shots, answer) = limited(Limits { max_packets: Some(20), ..Limits::default() });
    assert_eq!((shots.len(), answer.partial), (20, None), "a limit that is just enough");
    let (shots, answer) = limited(Limits { max_packets: Some(0), ..Limits::default() });
    assert_eq!((shots.len(), answer.partial, answer.why_empty), (0, Some(Partial::PacketsMax(0)), None));
    let record_bytes = 16 + lab.shots[0].bytes.len() as u64;
    let (shots, answer) = limited(Limits { max_bytes: Some(24 + 3 * record_bytes), ..Limits::default() });
    assert_eq!((shots.len(), answer.partial), (3, Some(Partial::BytesMax(24 + 3 * record_bytes))));
    let (shots, answer) = limited(Limits { snaplen: Some(20), ..Limits::default() });
    assert!(shots.iter().all(|shot| shot.bytes.len() == 20 && shot.orig_len == lab.shots[0].orig_len));
    assert_eq!((answer.bytes, answer.partial), (20 * 20, None));
    let stop = AtomicBool::new(true);
    let options = Options { cancelled: Some(&stop), ..Options::default() };
    let (shots, answer) = extract(&mut lab.reader(), &Query::default(), &options).unwrap();
    assert_eq!((shots.len(), answer.partial), (0, Some(Partial::Cancelled)));
}

#[test]
fn damaged_pages_are_a_gap_and_everything_else_is_served() {
    for sealed in [true, false] {
        let mut lab = Lab::new(6, true, START);
        for number in 0..40_000_u64 {
            let payload = tcp((1000, 80), 0x10, &[1; 200]);
            let bytes =
                ethernet(&[], 0x0800, &ipv4(Host((number % 50) as u8), Host(200), 6, None, &payload), (1, 2));
            lab.push(Shot::ethernet(START + number * 1_000_000, bytes));
        }
        lab.flush();
        let segments = lab.reader().segments().to_vec();
        let victim = if sealed { &segments[0] } else { segments.last().unwrap() };
        let mut image = lab.volume.image();
        assert!(segments.len() > 2);
        // One byte of a packet, in a batch that is not the one with the interface.
        let offset = 90 * 16_384 + 8_000;
        let mut byte = [0];
        hindcap_store::volume::VolumeRead::read(&lab.volume, Area::Segment(victim.number), offset, &mut byte)
            .unwrap();
        image.put(Area::Segment(victim.number), offset, &[byte[0] ^ 0xff]);
        let geometry = hindcap_store::volume::VolumeRead::geometry(&lab.volume);
        lab.volume = hindcap_store::sim::SimVolume::with_image(geometry, image);
        let (shots, told) = extract(&mut lab.reader(), &Query::default(), &Options::default()).unwrap();
        assert_eq!(told.partial, Some(Partial::Unreadable), "{told}");
        assert_eq!(told.gaps.len(), 1, "told once: {told}");
        let gap = told.gaps.iter().find(|gap| gap.cause == GapCause::Damage).unwrap();
        assert!(gap.bytes >= 16_384, "{told}");
        if !sealed {
            // Nobody knows what was in the lost batch: whoever asks for anything in its time is told.
            let stranger = answer(&lab, &host(222, Query::default()));
            assert_eq!((stranger.packets, stranger.partial), (0, Some(Partial::Unreadable)), "{stranger}");
            assert_eq!(stranger.gaps, told.gaps);
        }
        let kept: std::collections::HashSet<u64> = shots.iter().map(|shot| shot.at.0).collect();
        let lost: Vec<&Shot> = lab.shots.iter().filter(|shot| !kept.contains(&shot.at.0)).collect();
        assert!(!lost.is_empty() && (lost.len() as u64) < gap.bytes / 64, "{} lost\n{told}", lost.len());
        assert!(lost.iter().all(|shot| gap.range.contains(shot.at)), "{told}");
        assert!(
            shots
                .iter()
                .all(|shot| lab.shots[usize::try_from((shot.at.0 - START) / 1_000_000).unwrap()] == *shot)
        );
        // A window beside the damage is whole.
        let beside = Query {
            time: TimeRange::new(Timestamp(gap.range.end.0 + SEC), Timestamp::MAX),
            ..Query::default()
        };
        assert_eq!(answer(&lab, &beside).partial, None);
    }
}

#[test]
fn filters_are_libpcaps_and_their_blindness_is_told() {
    let mut lab = Lab::new(4, true, START);
    record(&mut lab, 1, 6);
    let inside = ipv4(Host(1), Host(2), 6, None, &tcp((1000, 80), 0x10, b""));
    lab.push(Shot::ethernet(START + 7 * SEC, ethernet(&[7], 0x0800, &inside, (1, 2))));
    lab.push(Shot { link_type: LinkType::RAW, ..Shot::ethernet(START + 8 * SEC, inside) });
    lab.flush();
    let filter = |text: &str| Query { filter: Some(text.into()), ..Query::default() };
    let some = answer(&lab, &filter("tcp port 80"));
    assert_eq!(some.packets, 6, "five on Ethernet, one raw: {some}");
    assert!(some.notes.iter().any(|note| note.contains("1 packets with VLAN tags")), "{some}");
    assert_eq!(answer(&lab, &filter("vlan 7 and tcp port 80")).packets, 1);
    assert_eq!(
        answer(&lab, &filter("ether host 02:00:00:00:00:01")).notes.len(),
        1,
        "raw IP has no addresses"
    );
    let both = Query { vlan: Some(7), ..filter("vlan") };
    assert_eq!(answer(&lab, &both).packets, 1);
    match plan(&mut lab.reader(), &filter("host")) {
        Err(ExtractError::Filter { reason, .. }) => assert!(reason.contains("syntax error"), "{reason}"),
        other => panic!("{other:?}"),
    }
    let backwards = Query { time: TimeRange::new(at(5), at(4)), ..Query::default() };
    assert!(plan(&mut lab.reader(), &backwards).unwrap_err().to_string().contains("not after its start"));
}

#[test]
fn imports_cover_the_times_of_their_packets() {
    let mut lab = Lab::new(4, false, START + 1_000_000 * SEC);
    for secs in (0..50).chain(5_000..5_050) {
        lab.push(shot(secs));
    }
    lab.stop(START + 1_000_001 * SEC);
    let some = answer(&lab, &within(10, 5_020));
    assert_eq!(some.packets, 60);
    assert!(some.gaps.is_empty(), "{some}");
    let between = answer(&lab, &within(100, 4_000));
    assert!(between.why_empty.is_some() && between.packets == 0, "{between}");
}

#[test]
fn gaps_are_told_over_many_segments_without_reading_them() {
    let mut lab = Lab::new(16, true, START);
    let big = ethernet(&[], 0x0800, &ipv4(Host(7), Host(8), 17, None, &udp((9, 9), &[0; 60_000])), (1, 2));
    for secs in 0..800 {
        if secs == 400 {
            lab.stop(START + secs * SEC);
            lab.restart(START + (secs + 50) * SEC);
        }
        let secs = if secs < 400 { secs } else { secs + 50 };
        lab.push(Shot::ethernet(START + secs * SEC, big.clone()));
        lab.tick(START + secs * SEC + SEC / 2, DropCounts::default());
    }
    lab.stop(START + 900 * SEC);
    let mut reader = lab.reader();
    let eventful = reader.segments().iter().filter(|segment| segment.eventful).count();
    assert!(reader.segments().len() > 10 && eventful < 5, "{eventful} of {}", reader.segments().len());
    let none = answer(&lab, &host(1, within(100, 800)));
    assert_eq!((none.why_empty, none.segments_read), (Some(WhyEmpty::NoSuchTraffic), 0), "{none}");
    let down: Vec<_> = none.gaps.iter().map(|gap| (gap.cause, gap.range.end)).collect();
    assert_eq!(down, [(GapCause::RecorderDown, at(450))], "{none}");
    assert_eq!(none.coverage.len(), 2, "{none}");
    let listed = hindcap_extract::search(&mut reader, &within(100, 800), 5, None).unwrap();
    assert_eq!((listed.coverage, listed.rows.len()), (none.coverage, 1));
}
