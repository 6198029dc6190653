//! The recorder on a simulated medium, without crashes; those are in `sim/tests.rs`.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use hindcap_wire::drops::DropCounts;
use hindcap_wire::index::PageSet;
use hindcap_wire::ledger::{BatchItem, BatchItems};
use hindcap_wire::limits::CAPLEN_MAX;
use hindcap_wire::packet::LinkType;
use hindcap_wire::time::{ClockState, Timestamp};

use super::*;
use crate::reader::{Reader, ReaderOptions};
use crate::recovery::{self, new_indexer};
use crate::ring::read_header;
use crate::scan::{chunk_buffer, scan_batches};
use crate::sim::{Fault, Operation, SimVolume};
use crate::volume::{Area, VolumeRead, VolumeWrite};
use crate::writer::tail;

pub(crate) const MIB: u32 = 1 << 20;
const UUID: [u8; 16] = *b"0123456789abcdef";

pub(crate) fn reading(millis: u64) -> Reading {
    let wall = Timestamp(1_700_000_000_000_000_000 + millis * 1_000_000);
    Reading { wall, monotonic_nanos: 1_000_000_000 + millis * 1_000_000, clock: ClockState::Synchronised }
}

pub(crate) fn ethernet(name: &str) -> Interface {
    Interface { link_type: LinkType::ETHERNET, snaplen: CAPLEN_MAX, name: name.into() }
}

/// A UDP packet that says which one it is.
pub(crate) fn frame(number: u32, len: usize) -> Vec<u8> {
    let mut bytes = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
    let len = len.max(46);
    bytes.extend([0x45, 0]);
    bytes.extend(((len - 14) as u16).to_be_bytes());
    bytes.extend([0, 0, 0, 0, 64, 17, 0, 0, 10, 0, (number >> 8) as u8 % 16, number as u8, 192, 0, 2, 1]);
    bytes.extend([0x30, 0x39, 0, 53]);
    bytes.extend(((len - 34) as u16).to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend(number.to_be_bytes());
    bytes.resize(len, number as u8);
    bytes
}

pub(crate) fn push(recorder: &mut Recorder, interface: u32, number: u32, len: usize) {
    let bytes = frame(number, len);
    let timestamp = Timestamp(1_700_000_000_000_000_000 + u64::from(number) * 1000);
    recorder.push(&Packet { timestamp, interface, orig_len: bytes.len() as u32, bytes: &bytes });
}

pub(crate) fn store(segments: u32) -> (SimVolume, Recorder) {
    let volume = SimVolume::new(4 * MIB, segments);
    let store = Store::format(volume.clone(), UUID).unwrap();
    (volume, store.recorder(RecorderOptions::inline(), reading(0)).unwrap())
}

/// Closes a recorder that has had no trouble.
pub(crate) fn finished(recorder: Recorder) {
    recorder.close(reading(50)).unwrap();
}

fn again(volume: &SimVolume, at: u64) -> Recorder {
    Store::mount(volume.clone()).unwrap().recorder(RecorderOptions::inline(), reading(at)).unwrap()
}

/// Everything in the store, by generation: (packets, events), damaged ranges.
#[derive(Debug, Default)]
struct Content {
    packets: Vec<Vec<u8>>,
    interfaces: Vec<Interface>,
    events: Vec<Event>,
    damaged: usize,
    drops: DropCounts,
}

fn content(volume: &SimVolume) -> BTreeMap<u64, Content> {
    let mut all = BTreeMap::new();
    for number in 0..volume.geometry().segments {
        let Some(header) = read_header(volume, &UUID, number) else { continue };
        let mut content = Content::default();
        let scan = scan_batches(volume, number, &header, &mut chunk_buffer(), |commit, batch| {
            content.drops = content.drops.plus(&commit.drops);
            for item in BatchItems::new(batch) {
                match item {
                    BatchItem::Packet { packet, .. } => content.packets.push(packet.bytes.to_vec()),
                    BatchItem::Event(event) => content.events.push(event),
                    BatchItem::Interface(interface) => content.interfaces.push(interface),
                    BatchItem::Commit(_) => {}
                }
            }
        });
        content.damaged = scan.damaged.len();
        all.insert(header.generation, content);
    }
    all
}

fn numbers(content: &BTreeMap<u64, Content>) -> Vec<u32> {
    let number = |bytes: &Vec<u8>| u32::from_be_bytes(bytes[42..46].try_into().unwrap());
    content.values().flat_map(|content| content.packets.iter().map(number)).collect()
}

#[test]
fn packets_come_back_in_order_across_batches_chunks_and_segments() {
    let (volume, mut recorder) = store(4);
    let interface = recorder.interface(&ethernet("eth1")).unwrap();
    for number in 0..9000 {
        push(&mut recorder, interface, number, 60 + number as usize % 1400);
    }
    recorder.close(reading(10)).unwrap();
    let content = content(&volume);
    assert_eq!(numbers(&content), (0..9000).collect::<Vec<_>>());
    assert!(content.len() >= 2, "{} segments", content.len());
    assert!(content.values().all(|content| content.interfaces == [ethernet("eth1")] && content.damaged == 0));
    assert!(content.values().flat_map(|c| &c.packets).all(|bytes| {
        let number = u32::from_be_bytes(bytes[42..46].try_into().unwrap());
        *bytes == frame(number, 60 + number as usize % 1400)
    }));
}

#[test]
fn the_oldest_segment_is_overwritten() {
    let (volume, mut recorder) = store(2);
    let interface = recorder.interface(&ethernet("eth1")).unwrap();
    for number in 0..16_000 {
        push(&mut recorder, interface, number, 1400);
    }
    recorder.close(reading(10)).unwrap();
    let content = content(&volume);
    let numbers = numbers(&content);
    assert_eq!(content.len(), 2);
    assert_eq!(numbers.last(), Some(&15_999));
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "the newest packets, without a hole");
}

#[test]
fn the_largest_packets_fit_wherever_they_come() {
    let (volume, mut recorder) = store(4);
    let interface = recorder.interface(&ethernet("eth1")).unwrap();
    for number in 0..60 {
        push(&mut recorder, interface, 2 * number, 262_144);
        push(&mut recorder, interface, 2 * number + 1, 46 + number as usize);
        recorder.flush();
    }
    assert_eq!(recorder.drops().total(), 0);
    let too_long = vec![0; 262_145];
    recorder.push(&Packet { timestamp: Timestamp(1), interface, orig_len: 262_145, bytes: &too_long });
    recorder.push(&Packet { timestamp: Timestamp(1), interface: 77, orig_len: 1, bytes: &[0] });
    assert_eq!(recorder.drops().get(DropCause::Malformed), 2, "too long, and from an unknown interface");
    recorder.close(reading(1)).unwrap();
    let numbers = numbers(&content(&volume));
    assert_eq!(numbers.last(), Some(&119));
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1));
}

#[test]
fn flushed_after_the_interval_and_silent_when_idle() {
    let (volume, mut recorder) = store(2);
    let interface = recorder.interface(&ethernet("eth1")).unwrap();
    let after_start = volume.operations();
    push(&mut recorder, interface, 0, 60);
    recorder.tick(reading(4_900), DropCounts::default());
    assert_eq!(volume.operations(), after_start, "not yet");
    recorder.tick(reading(5_000), DropCounts::default());
    assert_eq!(volume.operations(), after_start + 2, "one write, one flush");
    for second in 6..100 {
        recorder.tick(reading(second * 1000), DropCounts::default());
    }
    assert_eq!(volume.operations(), after_start + 2, "an idle link writes nothing");
    let mut drops = DropCounts::default();
    drops.add(DropCause::RingFull, 7);
    recorder.tick(reading(100_000), drops);
    assert_eq!(volume.operations(), after_start + 4, "drops are told without packets");
    recorder
        .tick(Reading { wall: Timestamp(reading(0).wall.0 + 3_600_000_000_000), ..reading(100_100) }, drops);
    recorder.close(reading(110_000)).unwrap();
    let content = content(&volume);
    let first = content.values().next().unwrap();
    assert_eq!(first.drops.get(DropCause::RingFull), 7);
    assert!(matches!(first.events[0].kind, EventKind::RecorderStart { epoch: 1, unclean: false, .. }));
    assert!(first.events.iter().any(|event| matches!(event.kind, EventKind::ClockStep { .. })));
    assert_eq!(first.events.last().unwrap().kind, EventKind::RecorderStop);
}

#[test]
fn recording_goes_on_in_the_same_segment_after_close_and_after_a_kill() {
    let (volume, mut recorder) = store(2);
    let interface = recorder.interface(&ethernet("eth1")).unwrap();
    (0..100).for_each(|number| push(&mut recorder, interface, number, 100));
    recorder.close(reading(1)).unwrap();
    let mut recorder = again(&volume, 1000);
    let interface = recorder.interface(&ethernet("eth1")).unwrap();
    (100..200).for_each(|number| push(&mut recorder, interface, number, 100));
    recorder.flush();
    (200..300).for_each(|number| push(&mut recorder, interface, number, 100));
    drop(recorder); // killed: 200..300 were never committed
    let mut recorder = again(&volume, 2000);
    let interface = recorder.interface(&ethernet("eth1")).unwrap();
    (300..400).for_each(|number| push(&mut recorder, interface, number, 100));
    recorder.close(reading(2100)).unwrap();
    let content = content(&volume);
    assert_eq!(content.len(), 1);
    assert_eq!(numbers(&content), (0..200).chain(300..400).collect::<Vec<_>>());
    let starts = content[&1].events.iter().filter_map(|event| match event.kind {
        EventKind::RecorderStart { epoch, unclean, .. } => Some((epoch, unclean)),
        _ => None,
    });
    assert_eq!(starts.collect::<Vec<_>>(), [(1, false), (2, false), (3, true)]);
    assert_eq!(content[&1].interfaces.len(), 1, "the interface is known from before");
}

#[test]
fn many_interfaces_rotate_early() {
    let (volume, mut recorder) = store(4);
    for number in 0..150 {
        let interface = recorder.interface(&ethernet(&format!("tap{number}"))).unwrap();
        push(&mut recorder, interface, number, 100);
    }
    recorder.close(reading(1)).unwrap();
    let content = content(&volume);
    let counts: Vec<_> = content.values().map(|content| content.interfaces.len()).collect();
    assert_eq!(counts, [64, 64, 22]);
    assert_eq!(numbers(&content), (0..150).collect::<Vec<_>>());
}

#[test]
fn storage_errors_are_counted_and_recording_resumes_by_itself() {
    let (volume, mut recorder) = store(8);
    let interface = recorder.interface(&ethernet("eth1")).unwrap();
    let from = volume.operations() + 4;
    volume.set_fault(Some(Fault { from, count: 6, errno: 5 }));
    let mut pushed = 0;
    for millis in 0..12_000_u64 {
        push(&mut recorder, interface, pushed, 1000);
        pushed += 1;
        if millis % 100 == 0 {
            recorder.tick(reading(millis * 10), DropCounts::default());
        }
    }
    assert!(recorder.health().snapshot().storage_errors >= 3);
    let drops = recorder.drops().get(DropCause::StorageError);
    let health = recorder.health();
    recorder.close(reading(500_000)).unwrap();
    let snapshot = health.snapshot();
    assert_eq!(snapshot.failing, None);
    let content = content(&volume);
    let present = numbers(&content).len() as u64;
    assert!(
        drops > 0 && present + drops >= u64::from(pushed),
        "{present} present, {drops} dropped of {pushed}"
    );
    assert_eq!(snapshot.packets_acked + drops, u64::from(pushed), "every packet is durable or counted");
    let told = content.values().fold(0, |sum, content| sum + content.drops.get(DropCause::StorageError));
    assert_eq!(told, drops, "and the commits tell it");
    let gap = |event: &Event| matches!(event.kind, EventKind::Gap { cause: DropCause::StorageError, .. });
    assert!(content.values().any(|content| content.events.iter().any(gap)));
}

#[test]
fn without_a_free_index_the_segment_says_that_it_has_no_flows() {
    let (volume, mut recorder) = store(4);
    let interface = recorder.interface(&ethernet("eth1")).unwrap();
    recorder.rotate();
    recorder.collect();
    recorder.indexers.clear();
    (0..100).for_each(|number| push(&mut recorder, interface, number, 700));
    recorder.rotate();
    let health = recorder.health();
    recorder.close(reading(1)).unwrap();
    assert_eq!(health.snapshot().segments_without_flows, 1);
    let mut store = Store::mount(volume.clone()).unwrap();
    let mut found = Vec::new();
    crate::verify::verify(&volume, &store.state, |report| found.extend(report.findings));
    assert_eq!(found, [crate::verify::Finding::NoFlows]);
    let searchable = |volume: &SimVolume| -> Vec<bool> {
        let reader = Reader::open(volume.clone(), ReaderOptions::default()).unwrap();
        reader.segments().iter().map(|segment| segment.has_flows).collect()
    };
    assert_eq!(searchable(&volume), [true, false, true]);
    crate::reindex(&mut store, reading(9), |_, _, _| {}).unwrap();
    found.clear();
    crate::verify::verify(&volume, &store.state, |report| found.extend(report.findings));
    assert_eq!(found, []);
    assert_eq!(searchable(&volume), [true, true, true]);
}

#[test]
fn an_import_waits_for_the_index_of_a_segment_that_is_being_sealed() {
    let volume = SimVolume::new(4 << 20, 12);
    let store = Store::format(volume.clone(), [7; 16]).unwrap();
    let mut recorder = store.recorder(RecorderOptions::import(), reading(0)).unwrap();
    let interface = recorder.interface(&ethernet("eth1")).unwrap();
    for segment in 0..10 {
        (0..50).for_each(|number| push(&mut recorder, interface, segment * 50 + number, 700));
        recorder.rotate();
    }
    let health = recorder.health();
    recorder.close(reading(1)).unwrap();
    assert_eq!(health.snapshot().segments_without_flows, 0);
}

#[test]
fn sealed_segments_match_a_rebuild_from_packets_alone() {
    let (volume, mut recorder) = store(4);
    let interface = recorder.interface(&ethernet("eth1")).unwrap();
    (0..7000).for_each(|number| push(&mut recorder, interface, number, 700));
    recorder.close(reading(1)).unwrap();
    let header = read_header(&volume, &UUID, 0).unwrap();
    let page = tail::read_summary(&volume, 0, header.generation).expect("sealed");
    assert!(tail::blocks_whole(&volume, 0, &page) && page.summary.has_flows);
    let state = Store::mount(volume.clone()).unwrap().state().clone();
    let mut indexer = new_indexer(&volume, &state);
    let (tables, _) = recovery::rebuild(&volume, 0, header, true, &mut indexer);
    let mut buf = tail::TailBuf::new(4 * MIB);
    let sealed = tail::seal(
        &tables,
        Some(&mut indexer),
        Reading { wall: page.summary.sealed, ..reading(0) },
        &mut buf,
    );
    assert_eq!(sealed.page, page);
    assert!(tail::read_index(&volume, 0, &page).is_some());
}

#[test]
fn everything_beside_the_packets_costs_under_two_percent() {
    let volume = SimVolume::new(16 * MIB, 4);
    let store = Store::format(volume.clone(), UUID).unwrap();
    let options = RecorderOptions { back_end: BackEnd::Inline, ..RecorderOptions::import() };
    let mut recorder = store.recorder(options, reading(0)).unwrap();
    let interface = recorder.interface(&ethernet("eth1")).unwrap();
    let mut stream = 0;
    for number in 0..60_000_u32 {
        let len = [60, 90, 1514, 200, 1514, 1000][number as usize % 6];
        push(&mut recorder, interface, number, len);
        stream += epb_bytes(len) as u64;
    }
    let health = recorder.health();
    recorder.close(reading(1)).unwrap();
    let snapshot = health.snapshot();
    let heads = snapshot.savefile_bytes_acked - stream;
    assert!(heads > 0 && heads < 1000, "section headers and interfaces: {heads}");
    // Sixteen waiting filters and the last indexes included.
    let ratio = snapshot.bytes_written_per_savefile_byte().unwrap();
    assert!(ratio > 1.0 && ratio <= 1.02, "{ratio}");
    // What was counted is what the medium got.
    let written = |operation: &Operation| match operation {
        Operation::Write { bytes, .. } => bytes.len() as u64,
        Operation::Flush(_) => 0,
    };
    let all: u64 = volume.take_log().iter().map(written).sum();
    // Format wrote a state, uncounted, and the mount one that is not the recorder's; this medium has no place for the notes.
    assert_eq!(snapshot.bytes_written + 2 * 4096, all);
    let state = Store::mount(volume).unwrap().state().clone();
    assert_eq!(
        state.wear.odometer.written_bytes,
        snapshot.bytes_written + 4096,
        "the state counts itself too"
    );
    assert_eq!(state.wear, snapshot.wear, "and what the last state tells is all there is");
}

#[test]
fn a_lost_interface_never_lends_its_number_to_another() {
    let (mut volume, mut recorder) = store(4);
    let old = recorder.interface(&ethernet("eth1")).unwrap();
    (0..20).for_each(|number| push(&mut recorder, old, number, 700));
    recorder.flush();
    (20..40).for_each(|number| push(&mut recorder, old, number, 700));
    recorder.close(reading(1)).unwrap();
    // The batch that announced eth1 is damaged, the one after it is not; then packets of another link type come.
    let mut sector = [0; 512];
    volume.read(Area::Segment(0), 16_384 + 4096, &mut sector).unwrap();
    sector[7] ^= 1;
    volume.write(Area::Segment(0), 16_384 + 4096, &sector).unwrap();
    let mut recorder = again(&volume, 2);
    let raw = Interface { link_type: LinkType::RAW, ..ethernet("tun0") };
    let new = recorder.interface(&raw).unwrap();
    (100..110).for_each(|number| push(&mut recorder, new, number, 700));
    recorder.close(reading(3)).unwrap();

    let mut reader = Reader::open(volume, ReaderOptions::default()).unwrap();
    let mut served = Vec::new();
    for info in reader.segments().to_vec() {
        let pages = reader.index(&info).unwrap().pages();
        reader
            .packets(&info, &PageSet::range(0, pages), &mut |at| {
                served.push((at.link_type, at.packet.bytes.to_vec()));
                ControlFlow::Continue(())
            })
            .unwrap();
    }
    // The batch behind the damaged one tells the interface once more.
    let kept = (20..40).map(|number| (LinkType::ETHERNET, frame(number, 700)));
    let new = (100..110).map(|number| (LinkType::RAW, frame(number, 700)));
    assert!(served.into_iter().eq(kept.chain(new)));
}

/// Nothing is written for the odometer's sake, and still nothing is forgotten.
#[test]
fn the_odometer_survives_an_end_and_a_crash() {
    let (volume, mut recorder) = store(3);
    let tap = recorder.interface(&ethernet("eth1")).unwrap();
    (0..9_000).for_each(|number| push(&mut recorder, tap, number, 1_400));
    let health = recorder.health();
    recorder.close(reading(100_000)).unwrap();
    let before = health.snapshot().wear;
    assert!(before.odometer.captured_bytes == 9_000 * 1_400 && before.age.secs == 100, "{before:?}");
    // An hour later; then it is cut off in the middle, long after its only state.
    let mut recorder = again(&volume, 3_700_000);
    let health = recorder.health();
    (9_000..20_000).for_each(|number| push(&mut recorder, tap, number, 1_400));
    recorder.tick(reading(3_760_000), DropCounts::default());
    drop(recorder);
    let alive = health.snapshot().wear;
    assert!(alive.age.secs >= 3_700, "the hour away counts: {}", alive.age.secs);
    let found = again(&volume, 3_800_000).health().snapshot().wear;
    let lost = alive.odometer.written_bytes.abs_diff(found.odometer.written_bytes);
    assert!(lost < 200_000, "{lost}: but for tails and catalog the bytes are told by the ring");
    let written = alive.odometer.written_bytes - before.odometer.written_bytes;
    assert!(written > 15_000_000, "{written}");
}
