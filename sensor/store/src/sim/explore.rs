//! Cutting the power everywhere. A scripted run ([`super::drive`]) is logged; every prefix of its writes,
//! with nothing, everything, or random sectors of what was not yet flushed, must mount again: every acknowledged packet
//! is there, byte for byte, unless its segment was taken for newer ones; nothing is there that was not recorded; recording
//! goes on, and a second cut is survived as well. What a hold keeps is there in every state after the hold was
//! acknowledged. A writer that forgets to flush must be caught.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use hindcap_wire::index::PageSet;
use hindcap_wire::ledger::{BatchItem, BatchItems, SegmentHeader};
use hindcap_wire::limits::PAGE_BYTES;

use super::drive::{Driver, Logged as _, Medium, Random, Run, SEGMENT, UUID, content};
use crate::ring::read_header;
use crate::scan::{chunk_buffer, scan_batches};
use crate::volume::{Area, VolumeWrite};
use crate::{Reader, ReaderOptions};

/// What holds keep in one state of the medium.
#[derive(Clone, Debug, Default)]
struct HeldThen {
    /// Packets that must be there whatever happens.
    packets: BTreeSet<u32>,
    /// Generations that are held for sure, and those that are so at some time: a hold may be on the medium before it is
    /// acknowledged, and a release not yet.
    surely: BTreeSet<u64>,
    ever: BTreeSet<u64>,
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
    fn note<M: Medium>(&mut self, operation: &M::Operation) {
        let Some((segment, offset, bytes)) = M::segment_write(operation) else { return };
        if let Some(header) = SegmentHeader::decode(bytes).filter(|_| offset == 0) {
            self.owner.insert(segment, header.generation);
        }
        let Some(generation) = self.owner.get(&segment).copied() else { return };
        for item in BatchItems::new(bytes) {
            if let BatchItem::Packet { packet, .. } = item {
                self.place.insert(number_of(packet.bytes), (segment, generation));
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
pub(crate) fn served(volume: &impl VolumeWrite, pushed: u32) -> Result<BTreeSet<u32>, String> {
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
fn reader_agrees<M: Medium>(volume: &M, pushed: u32) -> Result<(), String> {
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
fn check<M: Medium>(
    image: M::Image,
    believed: &BTreeSet<u32>,
    written: &Written,
    held: &HeldThen,
    next: u32,
    again: bool,
) -> Result<(), String> {
    let start = again.then(|| image.clone());
    let volume = M::with_image(image)?;
    reader_agrees(&volume, next)?;
    let missing = |found: &BTreeSet<u32>| {
        believed.iter().copied().find(|number| written.is_kept(*number) && !found.contains(number))
    };
    let found = served(&volume, next)?;
    if let Some(number) = held.packets.difference(&found).next() {
        return Err(format!("packet {number} was held and is gone"));
    }
    if let Some(number) = missing(&found) {
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
    let oldest_but = |held: &BTreeSet<u64>| written.owner.values().filter(|g| !held.contains(g)).min();
    let oldest = [oldest_but(&held.surely), oldest_but(&held.ever)];
    if segments.len() > 1 || segments.iter().any(|(_, generation)| !oldest.contains(&Some(generation))) {
        return Err(format!("acknowledged packets went with resuming: {segments:?}"));
    }
    if let Some(number) = held.packets.difference(&found).next() {
        return Err(format!("packet {number} was held and went with resuming"));
    }
    match start {
        Some(start) => second_cut::<M>(&start, &driver.finish(), &resumed, held, next + 5),
        None => Ok(()),
    }
}

/// Cuts the resumed run as well, at each of its writes, half of the sectors written.
fn second_cut<M: Medium>(
    image: &M::Image,
    run: &Run<M>,
    resumed: &BTreeSet<u32>,
    held: &HeldThen,
    next: u32,
) -> Result<(), String> {
    let mut random = Random(77);
    for prefix in 0..=run.log.len() {
        let (mut state, mut written) = (image.clone(), Written::default());
        for (at, operation) in run.log[..prefix].iter().enumerate() {
            let flushed = run.log[at..prefix].iter().any(|later| later.flushes(operation));
            operation.apply(&mut state, &mut || flushed || random.next() % 2 == 0);
            written.note::<M>(operation);
        }
        let believed = believed_at(&run.beliefs, prefix);
        debug_assert!(believed.is_subset(resumed));
        check::<M>(state, &believed, &written, held, next, false)
            .map_err(|error| format!("second cut at {prefix}: {error}"))?;
    }
    Ok(())
}

fn believed_at(beliefs: &[(usize, BTreeSet<u32>)], prefix: usize) -> BTreeSet<u32> {
    beliefs
        .iter()
        .rev()
        .find(|(at, _)| *at <= prefix)
        .map(|(_, believed)| believed.clone())
        .unwrap_or_default()
}

/// What holds keep when the cut comes behind `prefix` operations.
fn held_at<M: Medium>(run: &Run<M>, prefix: usize, believed: &BTreeSet<u32>, written: &Written) -> HeldThen {
    let surely = run.held.iter().rev().find(|(at, _)| *at <= prefix);
    let surely = surely.map(|(_, held)| held.clone()).unwrap_or_default();
    let is_held =
        |number: &&u32| written.place.get(number).is_some_and(|(_, generation)| surely.contains(generation));
    let packets = believed.iter().filter(is_held).copied().collect();
    let ever = run.held.iter().flat_map(|(_, held)| held.iter().copied()).collect();
    HeldThen { packets, surely, ever }
}

/// One state in so many is shown to other programs.
const JUDGED: u32 = 20;

/// Explores the crash states of a run; `random_states` per prefix beside the fixed ones. Gives the number of states.
pub(crate) fn explore<M: Medium>(run: &Run<M>, start: &M::Image, random_states: u32) -> Result<u32, String> {
    explore_lying(run, start, random_states, None)
}

/// Operations behind a flush that lied up to which the power is cut.
const AFTER_A_LIE: usize = 6;

/// As [`explore`]; with `lie`, the flush of that number says "done" and does nothing, and the cut comes at most
/// [`AFTER_A_LIE`] operations later. What was called durable by then may be lost until the next true flush, and nothing
/// else: what was durable before stays, nothing wrong is served, and recording goes on.
pub(crate) fn explore_lying<M: Medium>(
    run: &Run<M>,
    start: &M::Image,
    random_states: u32,
    lie: Option<usize>,
) -> Result<u32, String> {
    let (mut durable, mut written) = (start.clone(), Written::default());
    let mut unflushed: Vec<&M::Operation> = Vec::new();
    let mut doubtful = 0;
    let mut random = Random(2026);
    let mut states = 0;
    let next = run.beliefs.iter().flat_map(|(_, believed)| believed.last().copied()).max().unwrap_or(0) + 100;
    for prefix in 0..=run.log.len() {
        if let Some(operation) = prefix.checked_sub(1).map(|at| &run.log[at]) {
            written.note::<M>(operation);
            if operation.is_write() {
                unflushed.push(operation);
            }
            if lie == Some(prefix - 1) {
                doubtful = unflushed.iter().filter(|write| operation.flushes(write)).count();
            } else {
                let (mut number, doubtful_before) = (0, doubtful);
                unflushed.retain(|write| {
                    let flushed = operation.flushes(write);
                    if flushed {
                        write.apply(&mut durable, &mut || true);
                        doubtful -= usize::from(number < doubtful_before);
                    }
                    number += 1;
                    !flushed
                });
            }
        }
        if lie.is_some_and(|lie| !(lie + 1..=lie + AFTER_A_LIE).contains(&prefix)) {
            continue;
        }
        // What a lie concerns is believed in vain until a true flush has made it durable.
        let sure = if doubtful > 0 { lie.unwrap_or(prefix) } else { prefix };
        let believed = believed_at(&run.beliefs, sure);
        let held = held_at(run, prefix, &believed, &written);
        let kinds = if unflushed.is_empty() { 1 } else { 4 + random_states };
        for kind in 0..kinds {
            let mut image = durable.clone();
            let tear = random.below(2050);
            for write in &unflushed {
                let mut sector = 0;
                write.apply(&mut image, &mut || {
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
            if states % JUDGED == 0 {
                M::judge(&image)
                    .map_err(|error| format!("cut after {prefix} operations, kind {kind}: {error}"))?;
            }
            check::<M>(image, &believed, &written, &held, next, again)
                .map_err(|error| format!("cut after {prefix} operations, kind {kind}: {error}"))?;
        }
    }
    Ok(states)
}
