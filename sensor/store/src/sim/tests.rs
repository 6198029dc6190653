//! Cutting the power everywhere. A scripted run (record, rotate, wrap, kill, resume) is logged; every prefix of its writes,
//! with nothing, everything, or random sectors of what was not yet flushed, must mount again: every acknowledged packet
//! is there, byte for byte, unless its segment was taken for newer ones; nothing is there that was not recorded; recording
//! goes on, and a second cut is survived as well. A writer that forgets to flush must be caught.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use hindcap_wire::drops::DropCounts;
use hindcap_wire::index::PageSet;
use hindcap_wire::ledger::{BatchItem, BatchItems, HEADER_END, SegmentHeader};
use hindcap_wire::limits::PAGE_BYTES;
use hindcap_wire::packet::{Interface, LinkType, Packet};
use hindcap_wire::time::Timestamp;

use super::*;
use crate::ring::read_header;
use crate::scan::{chunk_buffer, scan_batches};
use crate::{Reader, ReaderOptions, Reading, Recorder, RecorderOptions, Store};

const UUID: [u8; 16] = *b"sixteen bytes id";
const SEGMENT: u32 = 4 << 20;
const SEGMENTS: u32 = 3;
const SECTOR: usize = 512;

/// xorshift64*: the same seed, the same run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 33) % bound
    }
}

/// The content of packet `number`: its number, then bytes that follow from it.
fn content(number: u32) -> Vec<u8> {
    let mut random = Random(u64::from(number) * 2 + 1);
    let len = match number % 97 {
        0 => 100_000,
        n if n % 5 == 0 => 60,
        n => 200 + 13 * n as usize,
    };
    // Long runs of zeros: sectors of different packets may then be equal, which a torn batch could profit from.
    let mut bytes: Vec<u8> =
        (0..len).map(|at| if at % 2048 < 1024 { 0 } else { random.next() as u8 }).collect();
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    bytes
}

fn reading(millis: u64) -> Reading {
    let wall = Timestamp(1_700_000_000_000_000_000 + millis * 1_000_000);
    Reading { wall, monotonic_nanos: millis * 1_000_000, ..Reading::default() }
}

/// What a run did and believed.
struct Run {
    volume: SimVolume,
    log: Vec<Operation>,
    /// (length of the log, packets that the recorder called durable by then).
    beliefs: Vec<(usize, BTreeSet<u32>)>,
}

/// Drives a recorder and takes note of what it believes.
struct Driver {
    volume: SimVolume,
    recorder: Option<Recorder>,
    interface: u32,
    now: u64,
    next: u32,
    /// First packet of this recorder.
    first: u32,
    believed: BTreeSet<u32>,
    beliefs: Vec<(usize, BTreeSet<u32>)>,
}

impl Driver {
    fn new(volume: SimVolume) -> Self {
        let (believed, beliefs) = (BTreeSet::new(), Vec::new());
        Self { volume, recorder: None, interface: 0, now: 1000, next: 0, first: 0, believed, beliefs }
    }

    fn start(&mut self) {
        let store = Store::mount(self.volume.clone()).unwrap();
        let options = RecorderOptions { hash_chain: false, ..RecorderOptions::inline() };
        let mut recorder = store.recorder(options, reading(self.now)).unwrap();
        let tap = Interface { link_type: LinkType::RAW, snaplen: 0, name: "tap".into() };
        self.interface = recorder.interface(&tap).unwrap();
        self.first = self.next;
        self.recorder = Some(recorder);
    }

    fn push(&mut self, packets: u32) {
        for _ in 0..packets {
            let bytes = content(self.next);
            let timestamp = Timestamp(1_000 + u64::from(self.next));
            let (interface, orig_len) = (self.interface, bytes.len() as u32);
            self.recorder.as_mut().unwrap().push(&Packet { timestamp, interface, orig_len, bytes: &bytes });
            self.next += 1;
            self.note();
        }
    }

    /// Packets are durable in the order in which they came, and none is dropped in these runs.
    fn note(&mut self) {
        let Some(recorder) = &self.recorder else { return };
        let acked = recorder.health().snapshot().packets_acked as u32;
        self.believed.extend(self.first..self.first + acked);
        if self.beliefs.last().is_none_or(|(_, believed)| believed.len() != self.believed.len()) {
            self.beliefs.push((self.volume.log_len(), self.believed.clone()));
        }
    }

    fn wait(&mut self, millis: u64) {
        self.now += millis;
        self.recorder.as_mut().unwrap().tick(reading(self.now), DropCounts::default());
        self.note();
    }

    fn rotate(&mut self) {
        self.recorder.as_mut().unwrap().rotate();
        self.note();
    }

    fn close(&mut self) {
        let recorder = self.recorder.take().unwrap();
        let health = recorder.health();
        recorder.close(reading(self.now)).unwrap();
        let acked = health.snapshot().packets_acked as u32;
        self.believed.extend(self.first..self.first + acked);
        self.beliefs.push((self.volume.log_len(), self.believed.clone()));
    }

    fn kill(&mut self) {
        self.note();
        self.recorder = None;
    }

    fn finish(self) -> Run {
        let log = self.volume.take_log();
        Run { volume: self.volume, log, beliefs: self.beliefs }
    }
}

fn formatted(segments: u32) -> SimVolume {
    let volume = SimVolume::new(SEGMENT, segments);
    drop(Store::format(volume.clone(), UUID).unwrap());
    volume
}

/// At least 200 operations with everything in them.
fn run(volume: SimVolume) -> Run {
    let mut driver = Driver::new(volume);
    for lap in 0..6 {
        driver.start();
        for step in 0..9 {
            driver.push(1 + (step * 7 + lap) % 5);
            driver.wait(5_100);
        }
        driver.rotate();
        driver.push(3);
        driver.wait(5_100);
        driver.push(2);
        driver.kill();
        driver.start();
        driver.wait(200);
        driver.push(20);
        driver.wait(5_000);
        driver.push(1);
        if lap % 2 == 0 { driver.close() } else { driver.kill() }
    }
    // A segment filled to its end, so that the ring turns by itself.
    driver.start();
    driver.push(1200);
    driver.close();
    driver.finish()
}

/// Which packets are where: generation by segment and number, taken from the batches in the log.
#[derive(Default)]
struct Written {
    /// Packet -> (segment, generation).
    place: BTreeMap<u32, (u32, u64)>,
    /// Segment -> generation that was written to it last.
    owner: BTreeMap<u32, u64>,
}

impl Written {
    fn note(&mut self, operation: &Operation) {
        let Operation::Write { area: Area::Segment(segment), offset, bytes } = operation else { return };
        if let Some(header) = SegmentHeader::decode(bytes).filter(|_| *offset == 0) {
            self.owner.insert(*segment, header.generation);
        }
        let Some(generation) = self.owner.get(segment).copied() else { return };
        for item in BatchItems::new(bytes) {
            if let BatchItem::Packet { packet, .. } = item {
                self.place.insert(number_of(packet.bytes), (*segment, generation));
            }
        }
    }

    /// Whether the packet's segment has not been taken for newer packets.
    fn is_kept(&self, number: u32) -> bool {
        self.place
            .get(&number)
            .is_some_and(|(segment, generation)| self.owner.get(segment) == Some(generation))
    }
}

fn number_of(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes[..4].try_into().unwrap())
}

/// All packets that are served; each must be one that was recorded, byte for byte.
fn served(volume: &SimVolume, pushed: u32) -> Result<BTreeSet<u32>, String> {
    let mut found = BTreeSet::new();
    let mut wrong = None;
    for number in 0..volume.geometry().segments {
        let Some(header) = read_header(volume, &UUID, number) else { continue };
        scan_batches(volume, number, &header, &mut chunk_buffer(), |commit, batch| {
            let mut packets = 0;
            for item in BatchItems::new(batch) {
                if let BatchItem::Packet { packet, .. } = item {
                    let number = number_of(packet.bytes);
                    packets += 1;
                    if number >= pushed || packet.bytes != content(number) || !found.insert(number) {
                        wrong =
                            Some(format!("packet {number} was never recorded like this, or is served twice"));
                    }
                }
            }
            if packets != commit.packets {
                wrong = Some(format!("a commit counts {} packets of {packets}", commit.packets));
            }
        });
    }
    wrong.map_or(Ok(found), Err)
}

/// Where a segment ends in a page with the magic of a provisional tail, readers must find what a walk finds.
fn reader_agrees(volume: &SimVolume, pushed: u32) -> Result<(), String> {
    let mut magic = [0; 8];
    let has_one = (0..volume.geometry().segments).any(|number| {
        let at = u64::from(SEGMENT - PAGE_BYTES) + 8;
        volume.read(Area::Segment(number), at, &mut magic).is_ok() && magic == *b"HCPROV01"
    });
    if !has_one {
        return Ok(());
    }
    let mut reader = Reader::open(volume.clone(), ReaderOptions::default()).map_err(|e| e.to_string())?;
    let mut found = BTreeSet::new();
    for segment in reader.segments().to_vec() {
        let everything = PageSet::range(0, SEGMENT / PAGE_BYTES);
        let served = reader.packets(&segment, &everything, &mut |at| {
            found.insert(number_of(at.packet.bytes));
            ControlFlow::Continue(())
        });
        served.map_err(|error| format!("segment {}: {error}", segment.number))?;
    }
    if found != served(volume, pushed)? {
        return Err(String::from("a reader finds other packets than a walk"));
    }
    Ok(())
}

/// Checks one state of the medium after a cut, then records and cuts again.
fn check(
    image: Image,
    believed: &BTreeSet<u32>,
    written: &Written,
    next: u32,
    again: bool,
) -> Result<(), String> {
    let geometry = Geometry { segment_bytes: SEGMENT, segments: SEGMENTS, sector_bytes: SECTOR as u32 };
    let start = again.then(|| image.clone());
    let volume = SimVolume::with_image(geometry, image);
    reader_agrees(&volume, next)?;
    let missing = |found: &BTreeSet<u32>| {
        believed.iter().copied().find(|number| written.is_kept(*number) && !found.contains(number))
    };
    if let Some(number) = missing(&served(&volume, next)?) {
        return Err(format!("packet {number} was acknowledged and is gone"));
    }
    let mut driver = Driver::new(volume.clone());
    (driver.next, driver.now) = (next, 10_000_000);
    driver.start();
    driver.push(3);
    driver.wait(5_100);
    driver.push(2);
    let resumed = driver.believed.clone();
    driver.kill();
    let found = served(&volume, driver.next)?;
    if resumed.is_empty() || !resumed.is_subset(&found) {
        return Err(format!("recording did not go on: {resumed:?}"));
    }
    // The segment in use before may be overwritten by now only if it was the oldest: at most one was taken.
    let gone: BTreeSet<_> = believed.iter().filter(|n| written.is_kept(**n) && !found.contains(n)).collect();
    let segments: BTreeSet<_> = gone.iter().map(|number| written.place[number]).collect();
    let oldest = written.owner.values().min();
    if segments.len() > 1 || segments.iter().any(|(_, generation)| Some(generation) != oldest) {
        return Err(format!("acknowledged packets went with resuming: {segments:?}"));
    }
    match start {
        Some(start) => second_cut(&start, &driver.finish(), &resumed, next + 5),
        None => Ok(()),
    }
}

/// Cuts the resumed run as well, at each of its writes, half of the sectors written.
fn second_cut(image: &Image, run: &Run, resumed: &BTreeSet<u32>, next: u32) -> Result<(), String> {
    let mut random = Random(77);
    for prefix in 0..=run.log.len() {
        let (mut state, mut written) = (image.clone(), Written::default());
        for (at, operation) in run.log[..prefix].iter().enumerate() {
            let flushed = run.log[at..prefix].iter().any(|later| flushes(later, operation));
            state.apply(operation, SECTOR, || flushed || random.next() % 2 == 0);
            written.note(operation);
        }
        let believed = believed_at(&run.beliefs, prefix);
        debug_assert!(believed.is_subset(resumed));
        check(state, &believed, &written, next, false)
            .map_err(|error| format!("second cut at {prefix}: {error}"))?;
    }
    Ok(())
}

fn flushes(later: &Operation, write: &Operation) -> bool {
    matches!((later, write), (Operation::Flush(flushed), Operation::Write { area, .. }) if flushed == area)
}

fn believed_at(beliefs: &[(usize, BTreeSet<u32>)], prefix: usize) -> BTreeSet<u32> {
    beliefs
        .iter()
        .rev()
        .find(|(at, _)| *at <= prefix)
        .map(|(_, believed)| believed.clone())
        .unwrap_or_default()
}

/// Explores the crash states of a run; `random_states` per prefix beside the fixed ones. Gives the number of states.
fn explore(run: &Run, start: &Image, random_states: u32) -> Result<u32, String> {
    let (mut durable, mut written) = (start.clone(), Written::default());
    let mut unflushed: Vec<&Operation> = Vec::new();
    let mut random = Random(2026);
    let mut states = 0;
    let next = run.beliefs.iter().flat_map(|(_, believed)| believed.last().copied()).max().unwrap_or(0) + 100;
    for prefix in 0..=run.log.len() {
        if let Some(operation) = prefix.checked_sub(1).map(|at| &run.log[at]) {
            written.note(operation);
            match operation {
                Operation::Write { .. } => unflushed.push(operation),
                Operation::Flush(_) => unflushed.retain(|write| {
                    let flushed = flushes(operation, write);
                    if flushed {
                        durable.apply(write, SECTOR, || true);
                    }
                    !flushed
                }),
            }
        }
        let believed = believed_at(&run.beliefs, prefix);
        let kinds = if unflushed.is_empty() { 1 } else { 4 + random_states };
        for kind in 0..kinds {
            let mut image = durable.clone();
            let tear = random.below(2050);
            for write in &unflushed {
                let mut sector = 0;
                image.apply(write, SECTOR, || {
                    sector += 1;
                    match kind {
                        0 => false,
                        1 => true,
                        2 => sector <= tear % 40 + 1, // a torn write: its beginning
                        3 => sector > tear % 40 + 1,  // its end
                        _ => random.next() >> 40 & 1 == 0,
                    }
                });
            }
            states += 1;
            let again = states % 16 == 0;
            check(image, &believed, &written, next, again)
                .map_err(|error| format!("cut after {prefix} operations, kind {kind}: {error}"))?;
        }
    }
    Ok(states)
}

#[test]
fn every_acknowledged_packet_survives_every_cut() {
    let volume = formatted(SEGMENTS);
    let (start, _) = (volume.image(), volume.take_log());
    let run = run(volume);
    assert!(run.log.len() >= 200, "{} operations", run.log.len());
    let generations = (0..SEGMENTS).filter_map(|number| read_header(&run.volume, &UUID, number));
    assert!(generations.map(|header| header.generation).min() > Some(1), "the ring has turned");
    let states = explore(&run, &start, 2).unwrap();
    println!("{states} states of {} operations", run.log.len());
    assert!(states > 600);
}

#[test]
fn canary_a_writer_that_forgets_to_flush_is_caught() {
    let volume = formatted(SEGMENTS);
    let (start, _) = (volume.image(), volume.take_log());
    volume.forget_flushes(true);
    let run = run(volume);
    let error = explore(&run, &start, 0).unwrap_err();
    assert!(error.contains("acknowledged and is gone"), "{error}");
}

#[test]
fn canary_a_writer_without_commits_is_caught() {
    let volume = formatted(SEGMENTS);
    let (start, _) = (volume.image(), volume.take_log());
    let mut run = run(volume);
    // As if the CRC were written without looking at the bytes: one byte of each batch differs from what was recorded.
    for operation in &mut run.log {
        if let Operation::Write { area: Area::Segment(_), bytes, .. } = operation {
            if bytes.len() > HEADER_END + 600 {
                bytes[HEADER_END + 300] ^= 1;
            }
        }
    }
    assert!(explore(&run, &start, 0).is_err());
}

/// Runs with one failing operation after the other; whatever fails, nothing is lost that was acknowledged, what is lost is
/// counted, and recording goes on.
#[test]
fn every_operation_may_fail_once_or_several_times() {
    const EIO: i32 = 5;
    const ENOSPC: i32 = 28;
    const EROFS: i32 = 30;
    let reference = formatted(9);
    let before = reference.operations();
    short_run(&reference, &|_| {});
    let operations = reference.operations() - before;
    assert!(operations > 30, "{operations}");
    for errno in [EIO, ENOSPC, EROFS] {
        for count in [1, 2, 5] {
            for at in 0..operations {
                let volume = formatted(9);
                volume.keep_log(false);
                let from = volume.operations() + at;
                let fault = Fault { from, count, errno };
                short_run(&volume, &|volume| volume.set_fault(Some(fault)));
            }
        }
    }
}

/// Records with rotation; checks what is there against what was acknowledged and what was counted as dropped.
fn short_run(volume: &SimVolume, arm: &dyn Fn(&SimVolume)) {
    let mut driver = Driver::new(volume.clone());
    let store = Store::mount(volume.clone()).unwrap();
    arm(volume);
    let options = RecorderOptions { hash_chain: false, ..RecorderOptions::inline() };
    let mut recorder = store.recorder(options, reading(0)).unwrap();
    let tap = Interface { link_type: LinkType::RAW, snaplen: 0, name: "tap".into() };
    driver.interface = recorder.interface(&tap).unwrap();
    driver.recorder = Some(recorder);
    let mut pushed = 0_u32;
    for step in 0..14 {
        let packets = 1 + step % 4;
        for _ in 0..packets {
            let bytes = content(driver.next);
            let packet = Packet {
                timestamp: Timestamp(1),
                interface: driver.interface,
                orig_len: bytes.len() as u32,
                bytes: &bytes,
            };
            driver.recorder.as_mut().unwrap().push(&packet);
            driver.next += 1;
            pushed += 1;
        }
        driver.now += 20_000;
        driver.recorder.as_mut().unwrap().tick(reading(driver.now), DropCounts::default());
        if step == 6 {
            driver.recorder.as_mut().unwrap().rotate();
        }
    }
    let recorder = driver.recorder.take().unwrap();
    let health = recorder.health();
    let closed = recorder.close(reading(driver.now + 60_000));
    volume.set_fault(None);
    let snapshot = health.snapshot();
    let found = served(volume, driver.next).unwrap();
    assert!(found.len() as u64 >= snapshot.packets_acked, "acknowledged packets are there");
    if closed.is_ok() {
        let told = told_drops(volume);
        assert_eq!(
            snapshot.packets_acked + told,
            u64::from(pushed),
            "every packet is durable or told as dropped"
        );
    }
    drop(closed);
    // And the next recorder goes on.
    let mut next = Driver::new(volume.clone());
    (next.next, next.now) = (driver.next, driver.now + 100_000);
    next.start();
    next.push(2);
    next.wait(6_000);
    assert!(next.believed.len() >= 2);
}

fn told_drops(volume: &SimVolume) -> u64 {
    let mut told = 0;
    for number in 0..volume.geometry().segments {
        let Some(header) = read_header(volume, &UUID, number) else { continue };
        scan_batches(volume, number, &header, &mut chunk_buffer(), |commit, _| told += commit.drops.total());
    }
    told
}
