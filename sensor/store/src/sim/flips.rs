//! Bit flips anywhere that means anything: packets, index, summary, header, catalog, filters, state, provisional tail. Each
//! one is detected; what it costs lies within one batch and is told as a gap; nothing is served that was not recorded; no
//! filter denies what is there; and a recorder that goes on costs no more.
//!
//! `HINDCAP_FLIPS` sets how many (1,000 without).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{ControlFlow, Range};

use hindcap_wire::index::{FilterKey, PageSet};
use hindcap_wire::ledger::{Blocks, Event, EventKind, HEADER_END, block_type};
use hindcap_wire::limits::PAGE_BYTES;

use super::drive::{Random, UUID, reading};
use super::*;
use crate::catalog;
use crate::reader::pages_are_trusted;
use crate::recorder::tests::{ethernet, frame, push};
use crate::ring::read_header;
use crate::scan::{chunk_buffer, scan_batches};
use crate::state::Slots;
use crate::verify::verify;
use crate::writer::tail;
use crate::{Reader, ReaderOptions, RecorderOptions, SegmentState, Store};

const SEGMENT: u32 = 4 << 20;
const SEGMENTS: u32 = 6;

/// Kind, area, and where in it.
type Target = (&'static str, Area, Range<u64>);

/// A store and what is known of it.
struct Original {
    volume: SimVolume,
    /// Packets of each batch: they may be lost together.
    batches: Vec<BTreeSet<u32>>,
    packets: BTreeSet<u32>,
    /// What may be hit, by name.
    targets: Vec<Target>,
}

/// Three sealed segments, one that was given up unsealed, and an open one; `orderly`: closed, with a provisional tail.
fn original(orderly: bool) -> Original {
    let volume = SimVolume::new(SEGMENT, SEGMENTS);
    let store = Store::format(volume.clone(), UUID).unwrap();
    let mut recorder = store.recorder(RecorderOptions::inline(), reading(0)).unwrap();
    let tap = recorder.interface(&ethernet("eth1")).unwrap();
    let mut next = 0;
    for packets in [5_200, 800, 5_200, 700] {
        for _ in 0..packets {
            push(&mut recorder, tap, next, 60 + next as usize % 900);
            next += 1;
            if next % 400 == 0 {
                recorder.flush();
            }
        }
        recorder.rotate();
    }
    for _ in 0..4_000 {
        push(&mut recorder, tap, next, 60 + next as usize % 900);
        next += 1;
        if next % 300 == 0 {
            recorder.flush();
        }
    }
    recorder.flush();
    if orderly {
        recorder.close(reading(9)).unwrap()
    } else {
        drop(recorder)
    }
    let (batches, targets) = layout_of(&volume, orderly);
    let packets = batches.iter().flatten().copied().collect();
    Original { volume, batches, packets, targets }
}

fn layout_of(volume: &SimVolume, orderly: bool) -> (Vec<BTreeSet<u32>>, Vec<Target>) {
    let (mut batches, mut targets) = (Vec::new(), Vec::new());
    for number in 0..SEGMENTS {
        let Some(header) = read_header(volume, &UUID, number) else { continue };
        let area = Area::Segment(number);
        let mut end = 0;
        scan_batches(volume, number, &header, &mut chunk_buffer(), |commit, batch| {
            let packets = Blocks::new(batch).filter(|block| block.block_type == block_type::PACKET);
            batches.push(packets.map(|block| number_of(block.packet().unwrap().bytes)).collect());
            // Nobody can tell damage to the last batch from a cut, unless the recorder ended in order and said where.
            end = if orderly || number < SEGMENTS - 2 {
                u64::from(commit.offset + commit.bytes)
            } else {
                commit.offset.into()
            };
        });
        targets.push(("packets", area, 0..end));
        targets.push(("header", area, 0..HEADER_END as u64));
        let last = u64::from(SEGMENT - PAGE_BYTES);
        if let Some(page) = tail::read_summary(volume, number, header.generation) {
            let index = u64::from(page.index_offset);
            targets.push(("index", area, index..index + 8 + u64::from(page.index_bytes)));
            targets.push(("summary", area, last..u64::from(SEGMENT)));
        } else if orderly {
            targets.push(("provisional", area, last..u64::from(SEGMENT)));
        }
        if let Some(entry) = catalog::entries(volume).unwrap()[number as usize] {
            let at = u64::from(number) * 64;
            targets.push(("entry", Area::Catalog, at..at + 64));
            let filter = catalog::slot_of(&volume.geometry(), number);
            if entry.filter_bytes > 0 {
                targets.push(("filter", Area::Catalog, filter..filter + u64::from(entry.filter_bytes)));
            }
        }
    }
    targets.push(("state", Area::State, 0..8_192));
    (batches, targets)
}

fn number_of(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes[42..46].try_into().unwrap())
}

fn gap_events(volume: &SimVolume) -> usize {
    let mut reader = Reader::open(volume.clone(), ReaderOptions::default()).unwrap();
    let segments = reader.segments().to_vec();
    let docs = segments.iter().filter_map(|segment| reader.index(segment).ok());
    docs.map(|doc| {
        let events = doc.events().filter_map(Event::decode);
        events.filter(|event| matches!(event.kind, EventKind::Gap { .. })).count()
    })
    .sum()
}

/// The key of the source of packet `number`, which every filter that covers hosts must know.
fn host(number: u32) -> FilterKey {
    let mut mapped = [0; 16];
    mapped[10..12].copy_from_slice(&[0xff, 0xff]);
    mapped[12..].copy_from_slice(&frame(number, 60)[26..30]);
    FilterKey::Host(hindcap_wire::index::keys::host_key(&mapped, 4))
}

/// Everything a reader gives, and how much it says is damaged.
fn read(volume: &SimVolume) -> Result<(BTreeSet<u32>, usize), String> {
    let mut reader = Reader::open(volume.clone(), ReaderOptions::default()).map_err(|e| e.to_string())?;
    let (mut found, mut gaps, mut wrong) = (BTreeSet::new(), 0, None);
    for segment in reader.segments().to_vec() {
        let before = found.clone();
        gaps += reader.lost_stretches(&segment).map_err(|error| error.to_string())?.len();
        let everything = PageSet::range(0, SEGMENT / PAGE_BYTES);
        let served = reader.packets(&segment, &everything, &mut |at| {
            let number = at.packet.bytes.get(42..46).map_or(u32::MAX, |_| number_of(at.packet.bytes));
            let right = at.packet.bytes == frame(number, 60 + number as usize % 900)
                && at.link_type == ethernet("").link_type;
            if !right || !found.insert(number) {
                wrong = Some(format!("packet {number} was never recorded like this, or is served twice"));
            }
            ControlFlow::Continue(())
        });
        gaps += served.map_err(|error| error.to_string())?.damage.len();
        for number in found.difference(&before).step_by(37) {
            if !reader.may_contain(&segment, &[host(*number)]) {
                return Err(format!("the filter of segment {} denies packet {number}", segment.number));
            }
        }
    }
    wrong.map_or(Ok((found, gaps)), Err)
}

impl Original {
    fn flipped(&self, area: Area, offset: u64, bit: u32) -> SimVolume {
        let mut byte = [0];
        self.volume.read(area, offset, &mut byte).unwrap();
        let mut image = self.volume.image();
        image.put(area, offset, &[byte[0] ^ 1 << bit]);
        SimVolume::with_image(self.volume.geometry(), image)
    }

    /// What is missing must be of one batch, and told.
    fn within_one_batch(&self, found: &BTreeSet<u32>, gaps: usize) -> Result<(), String> {
        let missing: BTreeSet<u32> = self.packets.difference(found).copied().collect();
        let one = missing.is_empty() || self.batches.iter().any(|batch| missing.is_subset(batch));
        match (one, missing.is_empty() || gaps > 0) {
            (true, true) => Ok(()),
            (false, _) => Err(format!("{} packets of several batches are lost", missing.len())),
            (_, false) => Err(format!("{} packets are lost and nobody says so", missing.len())),
        }
    }

    /// Whether anything says that this bit is not as it was.
    fn is_detected(&self, kind: &str, volume: &SimVolume) -> bool {
        if kind == "state" {
            // The other slot counts, or the bit lay in the older one.
            let (Ok(now), Ok(before)) =
                (crate::state::State::load(volume), crate::state::State::load(&self.volume))
            else {
                return false;
            };
            let (Slots::Whole(now), Slots::Whole(before)) = (now, before) else { return false };
            return now == before || now.writes + 1 == before.writes;
        }
        let Ok(store) = Store::mount(volume.clone()) else { return true };
        let mut findings = 0;
        verify(volume, store.state(), |report| findings += report.findings.len());
        let reader = Reader::open(volume.clone(), ReaderOptions::default()).unwrap();
        // A provisional tail is no finding: it is not believed, and the batches are walked.
        let provisional =
            kind == "provisional" && reader.segments().iter().any(|s| s.state == SegmentState::Open);
        findings > 0 || provisional
    }

    fn check(&self, kind: &str, area: Area, offset: u64, bit: u32, go_on: bool) -> Result<(), String> {
        let volume = self.flipped(area, offset, bit);
        let (found, gaps) = read(&volume)?;
        self.within_one_batch(&found, gaps)?;
        if !self.is_detected(kind, &volume) {
            return Err(String::from("nobody notices"));
        }
        if go_on {
            let store = Store::mount(volume.clone()).map_err(|error| error.to_string())?;
            let mut recorder =
                store.recorder(RecorderOptions::inline(), reading(99)).map_err(|error| error.to_string())?;
            let tap = recorder.interface(&ethernet("eth1")).unwrap();
            let new: BTreeSet<u32> = (900_000..900_009).collect();
            new.iter().for_each(|number| push(&mut recorder, tap, *number, 60 + *number as usize % 900));
            recorder.close(reading(100)).map_err(|error| error.to_string())?;
            // Recovery believes whole batches only, where the page table of an orderly stop told single pages apart.
            let told = gaps;
            let (found, gaps) = read(&volume)?;
            if !new.is_subset(&found) {
                return Err(String::from("what was recorded afterwards is not there"));
            }
            // What was lost at the very end is told by an event from here on.
            self.within_one_batch(&found, gaps + told + gap_events(&volume))?;
        }
        Ok(())
    }
}

fn flips() -> u32 {
    std::env::var("HINDCAP_FLIPS").ok().and_then(|count| count.parse().ok()).unwrap_or(1_000)
}

/// Flips bits; each kind of place gets its share. Gives the count by kind.
fn campaign(original: &Original, count: u32, seed: u64) -> Result<BTreeMap<&'static str, u32>, String> {
    let mut by_kind: BTreeMap<&str, Vec<(Area, Range<u64>)>> = BTreeMap::new();
    for (kind, area, range) in &original.targets {
        by_kind.entry(kind).or_default().push((*area, range.clone()));
    }
    let kinds: Vec<_> = by_kind.keys().copied().collect();
    let (mut random, mut done) = (Random(seed), BTreeMap::new());
    for number in 0..count {
        // Every third hits the packets, the others take turns.
        let kind = if number % 3 == 0 { "packets" } else { kinds[number as usize * 2 / 3 % kinds.len()] };
        let places = &by_kind[kind];
        let (area, range) = &places[random.below(places.len() as u64) as usize];
        let (offset, bit) = (range.start + random.below(range.end - range.start), random.below(8) as u32);
        original
            .check(kind, *area, offset, bit, number % 5 == 0)
            .map_err(|error| format!("{kind}: bit {bit} of byte {offset} in {area:?}: {error}"))?;
        *done.entry(kind).or_default() += 1;
    }
    Ok(done)
}

#[test]
fn every_flipped_bit_is_detected_and_costs_at_most_a_batch() {
    for (orderly, seed) in [(true, 41), (false, 42)] {
        let original = original(orderly);
        assert!(original.batches.len() > 40, "{}", original.batches.len());
        assert_eq!(read(&original.volume).unwrap(), (original.packets.clone(), 0));
        let done = campaign(&original, flips() / 2, seed).unwrap();
        println!("flips by place: {done:?}");
        let always = ["packets", "header", "index", "summary", "state"];
        let closed = ["provisional", "entry", "filter"];
        let expected = always.iter().chain(closed.iter().filter(|_| orderly));
        assert!(expected.clone().all(|kind| done.contains_key(kind)), "{done:?}");
    }
}

#[test]
fn canary_a_reader_that_does_not_compare_pages_is_caught() {
    let original = original(true);
    pages_are_trusted(true);
    let served = campaign(&original, 200, 41);
    pages_are_trusted(false);
    assert!(served.unwrap_err().contains("never recorded like this"));
}

#[test]
fn canary_a_catalog_that_is_believed_unseen_is_caught() {
    let original = original(true);
    // An entry that names another filter than its own, with a CRC that agrees: what a catalog without CRCs would be.
    let entries = catalog::entries(&original.volume).unwrap();
    let (number, mut entry) =
        (0..).zip(entries.into_iter().flatten()).find(|(_, entry)| entry.filter_bytes > 0).unwrap();
    let size = u64::from(entry.filter_bytes);
    let mut filter = vec![0; size as usize];
    let slot = catalog::slot_of(&original.volume.geometry(), number);
    original.volume.read(Area::Catalog, slot, &mut filter).unwrap();
    filter[16..].iter_mut().for_each(|byte| *byte ^= 0x20);
    entry.filter_crc = catalog::filter_crc(entry.generation, &filter);
    let mut image = original.volume.image();
    image.put(Area::Catalog, u64::from(number) * catalog::ENTRY_BYTES as u64, &entry.encode());
    image.put(Area::Catalog, slot, &filter);
    let volume = SimVolume::with_image(original.volume.geometry(), image);
    assert!(read(&volume).unwrap_err().contains("denies packet"));
}
