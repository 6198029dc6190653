//! A lost batch that announced an interface costs itself alone: the next batch tells the interfaces once more. When that
//! one is lost as well, packets of the lost interface are gaps until the next chunk tells them; packets of the others
//! come back with the right link type, and no packet ever with a wrong one.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use hindcap_wire::index::PageSet;
use hindcap_wire::ledger::{Blocks, block_type};
use hindcap_wire::packet::{Interface, LinkType};

use super::drive::{SEGMENT, UUID, content, reading};
use super::*;
use crate::ring::read_header;
use crate::scan::{chunk_buffer, scan_batches};
use crate::{Reader, ReaderOptions, Recorder, RecorderOptions, Store};
use hindcap_wire::drops::DropCounts;
use hindcap_wire::packet::Packet;
use hindcap_wire::time::Timestamp;

const LINKS: [LinkType; 2] = [LinkType::RAW, LinkType::ETHERNET];

type Told = Vec<(u32, LinkType)>;

struct Recording {
    volume: SimVolume,
    /// Offset, bytes and packets of each batch, with their link types.
    batches: Vec<(u32, u32, Told)>,
}

fn push(recorder: &mut Recorder, interface: u32, number: u32) {
    let bytes = content(number);
    let (timestamp, orig_len) = (Timestamp(1_000 + u64::from(number)), bytes.len() as u32);
    recorder.push(&Packet { timestamp, interface, orig_len, bytes: &bytes });
}

/// Batch 0 announces nothing (the recorder's start), 1 the first interface, 4 the second; then `more` packets of both.
fn recorded(more: u32) -> Recording {
    let volume = SimVolume::new(SEGMENT, 2);
    let store = Store::format(volume.clone(), UUID).unwrap();
    let options = RecorderOptions { hash_chain: false, ..RecorderOptions::inline() };
    let mut recorder = store.recorder(options, reading(0)).unwrap();
    let interfaces = [0, 1].map(|number| {
        let tap = Interface { link_type: LINKS[number], snaplen: 0, name: format!("tap{number}") };
        recorder.interface(&tap).unwrap()
    });
    let (mut next, mut links) = (0, BTreeMap::new());
    let mut take = |recorder: &mut Recorder, which: usize| {
        push(recorder, interfaces[which], next);
        links.insert(next, LINKS[which]);
        next += 1;
    };
    for batch in 0..8 {
        (0..5).for_each(|packet| take(&mut recorder, usize::from(batch >= 3 && packet % 2 == 0)));
        recorder.tick(reading(6_000 * (batch + 1)), DropCounts::default());
    }
    (0..more).for_each(|packet| take(&mut recorder, packet as usize % 2));
    recorder.flush();
    drop(recorder);
    let header = read_header(&volume, &UUID, 0).unwrap();
    let mut batches = Vec::new();
    scan_batches(&volume, 0, &header, &mut chunk_buffer(), |commit, batch| {
        let packets = Blocks::new(batch).filter(|block| block.block_type == block_type::PACKET);
        let numbers = packets.map(|block| number_of(block.packet().unwrap().bytes));
        let told = numbers.map(|number| (number, links[&number])).collect();
        batches.push((commit.offset, commit.bytes, told));
    });
    Recording { volume, batches }
}

fn number_of(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes[..4].try_into().unwrap())
}

impl Recording {
    /// Packets that a reader gives once the batches are damaged, with their link types, and pages that it calls damaged.
    fn without(&self, lost: &[usize]) -> (BTreeMap<u32, LinkType>, u32) {
        let mut image = self.volume.image();
        for batch in lost {
            let (offset, bytes, _) = self.batches[*batch];
            // Behind the header's sector, which has a test of its own.
            image.put(Area::Segment(0), u64::from(offset) + 600, &[0xA5; 8]);
            image.put(Area::Segment(0), u64::from(offset + bytes) - 100, &[0xA5; 8]);
        }
        let volume = SimVolume::with_image(self.volume.geometry(), image);
        let mut reader = Reader::open(volume, ReaderOptions::default()).unwrap();
        let segment = reader.segments()[0].clone();
        let (mut found, everything) = (BTreeMap::new(), PageSet::range(0, SEGMENT / 16_384));
        let served = reader.packets(&segment, &everything, &mut |at| {
            assert_eq!(at.packet.bytes, content(number_of(at.packet.bytes)));
            assert!(found.insert(number_of(at.packet.bytes), at.link_type).is_none());
            ControlFlow::Continue(())
        });
        let pages = served.unwrap().damage.iter().map(|damage| damage.pages.1 - damage.pages.0).sum();
        (found, pages)
    }

    fn packets<'a>(&'a self, batches: impl Iterator<Item = &'a usize>) -> BTreeMap<u32, LinkType> {
        batches.flat_map(|batch| self.batches[*batch].2.iter().copied()).collect()
    }

    fn all_but(&self, lost: &[usize]) -> Vec<usize> {
        (0..self.batches.len()).filter(|batch| !lost.contains(batch)).collect()
    }
}

#[test]
fn any_single_batch_costs_itself_alone() {
    let recording = recorded(700);
    assert!(recording.batches.len() > 10);
    for lost in 0..recording.batches.len() - 1 {
        let (found, pages) = recording.without(&[lost]);
        assert!(found == recording.packets(recording.all_but(&[lost]).iter()), "without batch {lost}");
        assert_eq!(pages, recording.batches[lost].1 / 16_384, "and it is told");
    }
}

#[test]
fn an_announcement_lost_with_its_repeat_costs_that_interface_until_the_next_chunk() {
    let recording = recorded(0);
    // The second interface comes with the fifth batch of a live recording; the first batch is the recorder's start.
    let announces =
        recording.batches.iter().position(|(_, _, told)| told.iter().any(|(_, link)| *link == LINKS[1]));
    let lost = [announces.unwrap(), announces.unwrap() + 1];
    let (found, pages) = recording.without(&lost);
    let mut expected = recording.packets(recording.all_but(&lost).iter());
    expected.retain(|_, link| *link == LINKS[0]);
    assert!(!expected.is_empty() && found == expected, "{found:?}");
    assert!(pages > 2, "packets of the lost interface are told as a gap");
    // With a chunk behind them, that chunk tells the interfaces, and nothing but the two batches is missing.
    let recording = recorded(700);
    let (found, pages) = recording.without(&lost);
    assert!(found == recording.packets(recording.all_but(&lost).iter()));
    assert_eq!(pages, 2);
}

#[test]
fn reindex_knows_the_repeated_interfaces_too() {
    let recording = recorded(700);
    let mut image = recording.volume.image();
    image.put(Area::Segment(0), u64::from(recording.batches[1].0) + 600, &[0xA5; 8]);
    let volume = SimVolume::with_image(recording.volume.geometry(), image);
    let header = read_header(&volume, &UUID, 0).unwrap();
    let state = Store::mount(volume.clone()).unwrap().state().clone();
    let mut indexer = crate::recovery::new_indexer(&volume, &state);
    let (tables, _) = crate::recovery::rebuild(&volume, 0, header, false, &mut indexer);
    assert_eq!(tables.interfaces.iter().map(|tap| tap.link_type).collect::<Vec<_>>(), LINKS);
    assert_eq!(indexer.builder().interfaces(), tables.interfaces);
}
