//! Queries by true time, for what was recorded before the clock was set.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod support;

use std::sync::Arc;

use hindcap_extract::sink::SavefileSink;
use hindcap_extract::{Options, plan, run, search};
use hindcap_store::policy::Control;
use hindcap_store::reader::{Reader, ReaderOptions};
use hindcap_store::sim::SimVolume;
use hindcap_store::{Reading, Recorder, RecorderOptions, Store};
use hindcap_wire::drops::DropCounts;
use hindcap_wire::message::answer::WhyEmpty;
use hindcap_wire::net::IpNet;
use hindcap_wire::packet::{LinkType, Packet};
use hindcap_wire::policy::{Policy, PolicyReason};
use hindcap_wire::query::Query;
use hindcap_wire::savefile::Format;
use hindcap_wire::time::{ClockState, NANOS_PER_SEC, TimeRange, Timestamp};
use support::frames::{Host, plain_tcp};
use support::{SEGMENT_BYTES, START, Shot, extract, interface};

const SEC: u64 = NANOS_PER_SEC;

/// A recorder of boot `boot`, whose machine started at [`START`] with a clock in 1970.
fn recorder(volume: &SimVolume, boot: u64, secs: u64) -> Recorder {
    let options = RecorderOptions { boot, ..RecorderOptions::inline() };
    Store::mount(volume.clone()).unwrap().recorder(options, unset(secs)).unwrap()
}

fn unset(secs: u64) -> Reading {
    let at = 1 + secs * SEC;
    Reading { wall: Timestamp(at), monotonic_nanos: at, clock: ClockState::NotSynchronised }
}

fn set(secs: u64) -> Reading {
    let wall = Timestamp(START + 1 + secs * SEC);
    Reading { wall, monotonic_nanos: 1 + secs * SEC, clock: ClockState::Synchronised }
}

/// The machine started again in the 900th second.
fn set_again(secs: u64) -> Reading {
    Reading { monotonic_nanos: 1 + (secs - 900) * SEC, ..set(secs) }
}

/// One packet a second of a connection, by whatever clock.
fn record(recorder: &mut Recorder, secs: std::ops::Range<u64>, clock: fn(u64) -> Reading, port: u16) {
    let number = recorder.interface(&interface(LinkType::ETHERNET)).unwrap();
    for second in secs {
        recorder.tick(clock(second), DropCounts::default());
        let bytes = plain_tcp(Host(1), Host(2), (port, 80), if second == 10 { 2 } else { 16 });
        let timestamp = clock(second).wall;
        recorder.push(&Packet { timestamp, interface: number, orig_len: bytes.len() as u32, bytes: &bytes });
    }
    recorder.flush();
}

fn store() -> SimVolume {
    let volume = SimVolume::new(SEGMENT_BYTES, 4);
    drop(Store::format(volume.clone(), *b"0123456789abcdef").unwrap());
    volume
}

/// 1970 until the 200th second; then true.
fn late() -> SimVolume {
    let volume = store();
    let mut recorder = recorder(&volume, 7, 0);
    record(&mut recorder, 10..200, unset, 5_000);
    recorder.rotate();
    record(&mut recorder, 200..300, set, 5_000);
    recorder.close(set(300)).unwrap();
    volume
}

fn reader(volume: &SimVolume) -> Reader<SimVolume> {
    Reader::open(volume.clone(), ReaderOptions::default()).unwrap()
}

fn asked(from: u64, to: u64) -> Query {
    let time = TimeRange::new(Timestamp(START + from * SEC), Timestamp(START + to * SEC));
    Query { time, nets: vec![IpNet::host(Host(1).v4().into())], ..Query::default() }
}

fn seconds(shots: &[Shot]) -> Vec<u64> {
    shots.iter().map(|shot| (shot.at.0 - START) / SEC).collect()
}

#[test]
fn a_query_by_true_time_finds_packets_from_before_the_first_clock_sync() {
    let volume = late();
    let options = Options::default();
    let (shots, answer) = extract(&mut reader(&volume), &asked(100, 110), &options).unwrap();
    assert_eq!(seconds(&shots), (100..110).collect::<Vec<_>>());
    let told =
        format!("corrected by +{} s: recorded before the clock was set (boot 0000000000000007", START / SEC);
    assert!(answer.notes.iter().any(|note| note.contains(&told)), "{:?}", answer.notes);
    assert!(answer.gaps.is_empty(), "{:?}", answer.gaps);
    assert_eq!(answer.clock.iter().map(|span| span.state).collect::<Vec<_>>(), [ClockState::NotSynchronised]);
    // Across the step, and all of it, in order.
    let (shots, _) = extract(&mut reader(&volume), &asked(190, 210), &options).unwrap();
    assert_eq!(seconds(&shots), (190..210).collect::<Vec<_>>());
    let query = Query { time: TimeRange::ALL, session: true, ..asked(0, 0) };
    let (shots, answer) = extract(&mut reader(&volume), &query, &options).unwrap();
    assert_eq!(seconds(&shots), (10..300).collect::<Vec<_>>());
    assert_eq!(answer.coverage.len(), 1, "{:?}", answer.coverage);
    // Nothing is found twice, nor at the time that it was not.
    let then = Query { time: TimeRange::new(Timestamp(0), Timestamp(1_000 * SEC)), ..asked(0, 0) };
    let (shots, answer) = extract(&mut reader(&volume), &then, &options).unwrap();
    assert!(shots.is_empty() && answer.why_empty.is_some(), "{:?}", answer.why_empty);
}

#[test]
fn a_session_across_the_step_is_one_session() {
    let sessions = search(&mut reader(&late()), &asked(0, 1_000), 10, None).unwrap();
    assert_eq!(sessions.rows.len(), 1, "{:?}", sessions.rows);
    let (first, last) = (sessions.rows[0].first, sessions.rows[0].last);
    assert_eq!((first, last), (Timestamp(START + 1 + 10 * SEC), Timestamp(START + 1 + 299 * SEC)));
}

#[test]
fn raw_times_find_what_is_written_and_say_nothing() {
    let options = ReaderOptions { raw_times: true, ..ReaderOptions::default() };
    let mut reader = Reader::open(late(), options).unwrap();
    let then = Query { time: TimeRange::new(Timestamp(100 * SEC), Timestamp(110 * SEC)), ..asked(0, 0) };
    let (shots, answer) = extract(&mut reader, &then, &Options::default()).unwrap();
    assert_eq!(shots.len(), 10);
    assert!(shots[0].at.0 < 1_000 * SEC && !answer.notes.iter().any(|note| note.contains("corrected")));
}

#[test]
fn a_savefile_says_it_in_its_comment() {
    let (volume, mut file) = (late(), Vec::new());
    let mut reader = reader(&volume);
    let plan = plan(&mut reader, &asked(100, 110)).unwrap();
    run(&mut reader, &plan, &Options::default(), &mut SavefileSink::new(&mut file, Format::Pcapng)).unwrap();
    let text = String::from_utf8_lossy(&file);
    assert!(text.contains("recorded before the clock was set"), "{text}");
}

#[test]
fn a_clock_that_was_never_set_is_told_with_its_times_and_its_boot() {
    let volume = store();
    let mut first = recorder(&volume, 7, 0);
    record(&mut first, 10..100, set, 5_000);
    drop(first);
    let mut second = recorder(&volume, 8, 0);
    record(&mut second, 10..60, unset, 5_001);
    drop(second);
    let mut third = recorder(&volume, 9, 10);
    record(&mut third, 1_000..1_100, set_again, 5_002);
    third.close(set_again(1_100)).unwrap();
    // When it was, nobody knows, but that it lies in this window.
    let (shots, answer) = extract(&mut reader(&volume), &asked(300, 400), &Options::default()).unwrap();
    assert!(shots.is_empty());
    let note = answer.notes.iter().find(|note| note.contains("recorded with an unset clock")).unwrap();
    assert!(note.contains("boot 0000000000000008") && note.contains("1970-01-01T00:00:5"), "{note}");
    assert!(matches!(answer.why_empty, Some(WhyEmpty::NotRecorded { .. })), "{:?}", answer.why_empty);
    // By the times that it bears it is found, and the answer says what they are worth.
    let then = Query { time: TimeRange::new(Timestamp(0), Timestamp(1_000 * SEC)), ..asked(0, 0) };
    let (shots, answer) = extract(&mut reader(&volume), &then, &Options::default()).unwrap();
    assert_eq!(shots.len(), 50);
    assert!(
        answer.notes.iter().any(|note| note.contains("recorded with an unset clock")),
        "{:?}",
        answer.notes
    );
    // Other windows have nothing to do with it.
    let (_, answer) = extract(&mut reader(&volume), &asked(1_050, 1_060), &Options::default()).unwrap();
    assert!(!answer.notes.iter().any(|note| note.contains("unset clock")), "{:?}", answer.notes);
}

#[test]
fn a_policy_from_before_the_clock_was_set_has_its_true_time() {
    let volume = SimVolume::new(SEGMENT_BYTES, 8);
    drop(Store::format(volume.clone(), *b"0123456789abcdef").unwrap());
    let mut recorder = recorder(&volume, 7, 0);
    let control = Arc::new(Control::new(Policy { sample: 100, ..Policy::default() }));
    recorder.thin(Arc::clone(&control));
    record(&mut recorder, 10..20, unset, 5_000);
    control.set_cutoff(Some(100_000), PolicyReason::WearBudget);
    // The segment in which it began, one by the wrong clock alone, one with the step of the clock, two by the right one.
    record(&mut recorder, 20..50, unset, 5_000);
    recorder.rotate();
    record(&mut recorder, 50..60, unset, 5_000);
    recorder.rotate();
    record(&mut recorder, 60..70, unset, 5_000);
    record(&mut recorder, 70..80, set, 5_000);
    recorder.rotate();
    record(&mut recorder, 80..90, set, 5_000);
    recorder.rotate();
    record(&mut recorder, 90..100, set, 5_000);
    drop(recorder);
    let since = |from, to| {
        let (_, answer) = extract(&mut reader(&volume), &asked(from, to), &Options::default()).unwrap();
        let since = answer.thinned.policies.iter().filter(|span| span.policy.cutoff.is_some());
        since.map(|span| (span.since.0.abs_diff(START) + SEC / 2) / SEC).collect::<Vec<_>>()
    };
    for (from, to) in [(30, 40), (50, 60), (52, 55), (62, 65), (72, 75), (82, 85), (92, 95), (25, 95)] {
        assert_eq!(since(from, to), [20], "asked for {from} to {to}");
    }
}
