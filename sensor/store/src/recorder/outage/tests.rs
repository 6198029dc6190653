//! Cards that go and come under a recorder.

use std::ops::ControlFlow;

use hindcap_wire::index::PageSet;
use hindcap_wire::packet::{Interface, LinkType};
use rustix::io::Errno;

use super::*;
use crate::sim::slot::Slot;
use crate::volume::VolumeRead;
use crate::volume::block::{BlockDev, RamDev};
use crate::volume::fat::{FatVolume, FormatOptions, format};
use crate::{BackEnd, HealthSnapshot, Reader, ReaderOptions, Reading, RecorderOptions, Store, Trouble};

const NOW: u64 = 1_795_300_215_000_000_000;

fn card(name: u8) -> RamDev {
    let mut dev = RamDev::new(96 << 11);
    let options = FormatOptions {
        segment_bytes: Some(4 << 20),
        erase_bytes: Some(1 << 20),
        ..FormatOptions::new([name; 16], Timestamp(NOW))
    };
    format(&mut dev, &options).unwrap();
    dev
}

fn reading(millis: u64) -> Reading {
    Reading {
        wall: Timestamp(NOW + millis * 1_000_000),
        monotonic_nanos: (1000 + millis) * 1_000_000,
        ..Reading::default()
    }
}

fn options(buffers: usize) -> RecorderOptions {
    RecorderOptions { buffers, may_wait: false, hash_chain: false, ..RecorderOptions::inline() }
}

/// A recorder at a slot, and packets that say which they are.
struct Run {
    slot: Slot,
    recorder: Recorder,
    interface: u32,
    micros: u64,
    micros_per_packet: u64,
    pushed: u32,
}

impl Run {
    fn new(slot: &Slot, options: RecorderOptions) -> Self {
        Self::of(slot, Store::mount(FatVolume::open(slot.device()).unwrap()).unwrap(), options)
    }

    fn of<V: crate::volume::VolumeWrite + Send + 'static>(
        slot: &Slot,
        store: Store<V>,
        options: RecorderOptions,
    ) -> Self {
        let mut recorder = store.recorder(options, reading(0)).unwrap();
        let tap = Interface { link_type: LinkType::ETHERNET, snaplen: 0, name: "tap".into() };
        let interface = recorder.interface(&tap).unwrap();
        Self { slot: slot.clone(), recorder, interface, micros: 0, micros_per_packet: 10_000, pushed: 0 }
    }

    /// Packets of `len` bytes, one each 10 ms, a tick each tenth of a second.
    fn push(&mut self, packets: u32, len: usize) {
        for _ in 0..packets {
            self.micros += self.micros_per_packet;
            let mut bytes = vec![self.pushed as u8; len];
            bytes[..4].copy_from_slice(&self.pushed.to_be_bytes());
            let timestamp = reading(self.micros / 1000).wall;
            self.recorder.push(&Packet {
                timestamp,
                interface: self.interface,
                orig_len: len as u32,
                bytes: &bytes,
            });
            self.pushed += 1;
            if self.pushed % 10 == 0 {
                self.tick();
            }
        }
    }

    fn tick(&mut self) {
        self.recorder.tick(reading(self.micros / 1000), DropCounts::default());
    }

    /// Time passes on a silent link.
    fn silence(&mut self, seconds: u64) {
        for _ in 0..seconds * 10 {
            self.micros += 100_000;
            self.tick();
        }
    }

    fn health(&self) -> HealthSnapshot {
        self.recorder.health().snapshot()
    }

    fn trouble(&self) -> Option<Trouble> {
        self.health().medium.map(|medium| medium.trouble)
    }

    fn dropped(&self) -> u64 {
        self.recorder.drops().total()
    }

    /// Ends; gives what was pushed and what was dropped.
    fn close(mut self) -> (u32, DropCounts) {
        self.tick();
        let (health, pushed, now) = (self.recorder.health(), self.pushed, reading(self.micros / 1000 + 1));
        let source = health.snapshot().dropped;
        let _ = self.recorder.close(now);
        let after = health.snapshot();
        let mut drops = source;
        drops.add(DropCause::StorageError, after.packets_lost);
        assert_eq!(after.packets_acked + drops.total(), u64::from(pushed), "durable or dropped: {after:?}");
        assert_eq!(after.packets_kept, 0);
        (pushed, drops)
    }
}

/// The packets on a card, by the order in which they are served.
fn numbers(card: &RamDev) -> Vec<u32> {
    let volume = FatVolume::open(card.clone()).unwrap();
    let mut reader = Reader::open(volume, ReaderOptions::default()).unwrap();
    let mut numbers = Vec::new();
    for info in reader.segments().to_vec() {
        let pages = reader.index(&info).unwrap().pages();
        let served = reader
            .packets(&info, &PageSet::range(0, pages), &mut |at| {
                numbers.push(u32::from_be_bytes(at.packet.bytes[..4].try_into().unwrap()));
                ControlFlow::Continue(())
            })
            .unwrap();
        assert!(served.damage.is_empty(), "{:?}", served.damage);
    }
    numbers
}

/// Gap events on a card: packets lost.
fn gaps(card: &RamDev) -> Vec<u64> {
    let volume = FatVolume::open(card.clone()).unwrap();
    let mut reader = Reader::open(volume, ReaderOptions::default()).unwrap();
    let mut gaps = Vec::new();
    for info in reader.segments().to_vec() {
        let index = reader.index(&info).unwrap();
        gaps.extend(index.events().filter_map(Event::decode).filter_map(|event| match event.kind {
            EventKind::Gap { packets, .. } => Some(packets),
            _ => None,
        }));
    }
    gaps
}

#[test]
fn pulled_at_any_operation_and_put_back_nothing_is_lost() {
    let mut pulls = 0;
    for operation in 0..24 {
        for errno in [Errno::NODEV, Errno::IO] {
            let card = card(1);
            let slot = Slot::with(&card);
            let mut run = Run::new(&slot, options(5));
            run.push(300, 1000);
            slot.pull_after(operation, errno);
            // Seven MiB: batches by the flush interval and full ones, and rotations.
            let mut away_for = 0;
            for _ in 0..24 {
                run.push(100, 3000);
                if slot.is_empty() {
                    pulls += u32::from(away_for == 0);
                    away_for += 1;
                    assert!(run.trouble().is_some(), "{operation} {errno:?}");
                    let acked = run.health().packets_acked;
                    assert!(numbers(&card).len() as u64 >= acked, "acknowledged and not there");
                    if away_for > operation % 4 {
                        slot.insert(&card);
                        run.silence(4);
                        assert_eq!(run.trouble(), None, "back within seconds");
                    }
                }
            }
            run.silence(6);
            slot.insert_if_empty(&card);
            slot.pull_after(usize::MAX, errno);
            run.silence(12);
            let health = run.health();
            assert_eq!(health.packets_acked, u64::from(run.pushed), "{operation} {errno:?}: {health:?}");
            let (pushed, drops) = run.close();
            assert_eq!(drops.total(), 0, "{operation} {errno:?}");
            let there = numbers(&card);
            let first_wrong = there.iter().zip(0..).position(|(is, should)| *is != should);
            let around = first_wrong.map(|at| &there[at.saturating_sub(2)..there.len().min(at + 3)]);
            assert_eq!((there.len() as u32, around), (pushed, None), "{operation} {errno:?}");
            assert_eq!(gaps(&card), [0_u64; 0], "nothing is missing");
        }
    }
    assert!(pulls > 30, "{pulls}");
}

#[test]
fn a_long_absence_keeps_the_newest_and_counts_the_rest() {
    for buffers in [2, 3, 8] {
        let card = card(1);
        let slot = Slot::with(&card);
        let mut run = Run::new(&slot, options(buffers));
        run.push(500, 1000);
        run.silence(6);
        let before = run.pushed;
        assert_eq!(run.health().packets_acked, u64::from(before));
        slot.pull();
        run.push(9_000, 1500);
        assert_eq!(run.trouble(), Some(Trouble::Missing));
        let health = run.health();
        let capacity = (buffers as u64 - 1) * 690;
        assert!(health.packets_lost > 0 && health.packets_kept <= capacity, "{health:?}");
        assert_eq!(health.dropped.total(), 0, "the oldest are dropped, not the newest");
        assert!(slot.opens() > 20, "looked for every few seconds: {}", slot.opens());
        slot.insert(&card);
        run.silence(10);
        run.push(300, 1000);
        run.silence(10);
        let lost = run.health().packets_lost as u32;
        let (pushed, drops) = run.close();
        assert_eq!(drops.get(DropCause::StorageError), u64::from(lost), "by cause");
        assert_eq!(drops.total(), u64::from(lost));
        let expected: Vec<u32> = (0..before).chain(before + lost..pushed).collect();
        assert!(numbers(&card) == expected, "{buffers} buffers: a hole where the oldest were, and no other");
        assert_eq!(gaps(&card), [u64::from(lost)], "and the store says so");
    }
}

#[test]
fn another_ring_is_taken_into_use_and_the_first_is_left_as_it_was() {
    let (one, two) = (card(1), card(2));
    let slot = Slot::with(&one);
    let mut run = Run::new(&slot, options(4));
    run.push(500, 1000);
    run.silence(6);
    slot.pull();
    run.push(300, 1000);
    slot.insert(&two);
    run.push(1000, 1000);
    run.silence(8);
    let swapped = run.health().swapped.expect("told");
    assert_eq!((swapped.before, swapped.now), ([1; 16], [2; 16]));
    assert_eq!(numbers(&one), (0..500).collect::<Vec<_>>());
    // And the first again, with the second's generations far behind or ahead.
    run.recorder.rotate();
    slot.pull();
    slot.insert(&one);
    run.push(400, 1000);
    run.silence(8);
    let (pushed, drops) = run.close();
    assert_eq!((pushed, drops.total()), (2200, 0));
    let (mut first, second) = (numbers(&one), numbers(&two));
    first.extend(second);
    first.sort_unstable();
    assert!(first == (0..2200).collect::<Vec<_>>(), "every packet on one card, once");
}

#[test]
fn what_is_no_ring_is_never_touched() {
    let card = card(1);
    let slot = Slot::with(&card);
    let mut run = Run::new(&slot, options(4));
    run.push(100, 1000);
    run.silence(6);
    let mut foreign = RamDev::new(64 << 11);
    foreign.write(0, &[0x42; 512]).unwrap();
    for (other, content) in [(foreign, "something unknown"), (RamDev::new(64 << 11), "blank")] {
        slot.pull();
        run.push(50, 1000);
        run.silence(6);
        slot.insert(&other);
        run.silence(6);
        let medium = run.health().medium.expect("told");
        assert_eq!(medium.trouble, Trouble::Foreign);
        assert!(
            medium.detail.contains(content) && medium.detail.contains("hindcapd format"),
            "{}",
            medium.detail
        );
        assert_eq!(other.operations() - usize::from(content != "blank"), 0, "not a byte is written");
    }
    slot.pull();
    slot.insert(&card);
    run.silence(6);
    assert_eq!(run.trouble(), None);
    let (pushed, drops) = run.close();
    assert_eq!((numbers(&card).len() as u32, drops.total()), (pushed, 0));
}

#[test]
fn read_only_is_told_and_what_fits_is_written_later() {
    for (errno, loses) in [(Errno::ROFS, false), (Errno::IO, true)] {
        let card = card(1);
        let slot = Slot::with(&card);
        let mut run = Run::new(&slot, options(6));
        run.push(200, 1000);
        run.silence(6);
        slot.writes_fail(Some(errno));
        run.push(2000, 1000);
        assert_eq!(run.trouble(), Some(Trouble::ReadOnly), "{errno:?}");
        assert_eq!(numbers(&card), (0..200).collect::<Vec<_>>(), "it can still be read");
        slot.writes_fail(None);
        run.silence(20);
        assert_eq!(run.trouble(), None, "{errno:?}");
        let (pushed, drops) = run.close();
        assert_eq!(drops.total() > 0, loses, "a batch that failed half way is never tried again");
        let there = numbers(&card);
        assert_eq!(there.len() as u64 + drops.total(), u64::from(pushed));
        assert!(there.windows(2).all(|pair| pair[0] < pair[1]), "in order");
    }
}

#[test]
fn read_only_from_the_return_on() {
    let card = card(1);
    let slot = Slot::with(&card);
    let mut run = Run::new(&slot, options(4));
    run.push(100, 1000);
    slot.pull();
    run.silence(8);
    slot.writes_fail(Some(Errno::IO));
    slot.insert(&card);
    run.silence(8);
    assert_eq!(run.trouble(), Some(Trouble::ReadOnly), "it can be read");
    slot.writes_fail(None);
    run.silence(8);
    assert_eq!((run.trouble(), run.dropped()), (None, 0));
    let (pushed, drops) = run.close();
    assert_eq!((numbers(&card).len() as u32, drops.total()), (pushed, 0));
}

#[test]
fn a_card_that_is_away_at_the_end_costs_what_waits() {
    let card = card(1);
    let slot = Slot::with(&card);
    let mut run = Run::new(&slot, options(4));
    run.push(100, 1000);
    run.silence(6);
    slot.pull();
    run.push(150, 1000);
    run.silence(6);
    assert_eq!(run.health().packets_kept, 150);
    let (_, drops) = run.close();
    assert_eq!(drops.get(DropCause::StorageError), 150);
    // Put in again just in time, it costs nothing.
    let mut run = Run::new(&Slot::with(&card), options(4));
    run.push(100, 1000);
    let slot = run.slot.clone();
    slot.pull();
    run.push(600, 1000);
    slot.insert(&card);
    let (_, drops) = run.close();
    assert_eq!((numbers(&card).len(), drops.total()), (800, 0));
}

#[test]
fn a_card_that_comes_after_the_start() {
    let card = card(1);
    let slot = Slot::with(&card);
    let volume = FatVolume::open(slot.device()).unwrap();
    let store = Store::mount(volume).unwrap();
    slot.pull();
    // The descriptor is dead before the recorder has it; a store that was never opened is tried in tests/absent.rs.
    let mut run = Run::of(&slot, store, options(4));
    run.push(200, 1000);
    assert!(run.trouble().is_some());
    slot.insert(&card);
    run.push(600, 1000);
    run.silence(8);
    assert_eq!(run.trouble(), None);
    let (pushed, drops) = run.close();
    assert_eq!((numbers(&card).len() as u32, drops.total()), (pushed, 0));
}

/// 750 ms at 100 Mbit/s while the card is busy, again and again: what `RecorderOptions::live` must carry, beside a kernel
/// ring with room for `ring_bytes`. Gives the drops, and what found no room in the ring.
fn stalls(buffers: usize, ring_bytes: usize) -> (DropCounts, u32) {
    const STALL_BYTES: usize = 100_000_000 / 8 * 750 / 1000;
    const LEN: usize = 1000;
    /// What the ring takes for a packet: TPACKET_V3's header and address, aligned.
    const FRAME: usize = LEN + 96;
    let card = card(1);
    let slot = Slot::with(&card);
    let options = RecorderOptions {
        back_end: BackEnd::Threaded,
        hash_chain: false,
        buffers,
        ..RecorderOptions::live()
    };
    let mut run = Run::new(&slot, options);
    run.micros_per_packet = 80;
    let (mut ring, mut refused) = (0, 0);
    let empty = |run: &mut Run, ring: &mut usize| {
        while *ring > 0 && !run.recorder.is_short() {
            run.push(1, LEN);
            *ring -= 1;
        }
    };
    for _ in 0..4 {
        slot.hold();
        run.push((1 << 20) / LEN as u32 + 10, LEN);
        run.recorder.flush();
        slot.wait_for_waiting();
        for _ in 0..STALL_BYTES / (LEN + 32) {
            ring += 1;
            empty(&mut run, &mut ring);
            if ring * FRAME > ring_bytes {
                (ring, refused) = (ring - 1, refused + 1);
            }
        }
        slot.let_go();
        while ring > 0 {
            empty(&mut run, &mut ring);
            run.tick();
            std::thread::yield_now();
        }
        let dropped = run.dropped();
        run.recorder.flush();
        while run.health().packets_acked + dropped < u64::from(run.pushed) {
            run.tick();
            std::thread::yield_now();
        }
    }
    (run.close().1, refused)
}

#[test]
fn stalls_of_750_ms_at_100_mbit_lose_nothing() {
    // Of the ring one block in eight may be only partly filled.
    const RING: usize = (8 << 20) / 8 * 7;
    let (lost, refused) = stalls(RecorderOptions::live().buffers, RING);
    assert_eq!((lost.total(), refused), (0, 0));
    let (lost, refused) = stalls(3, RING);
    assert!(refused > 0, "three buffers are too few, or this test is none");
    assert_eq!(lost.total(), 0, "a source that asks leaves in its ring what finds no buffer");
}

#[test]
fn who_does_not_ask_loses_what_finds_no_buffer() {
    let card = card(1);
    let slot = Slot::with(&card);
    let options = RecorderOptions {
        back_end: BackEnd::Threaded,
        hash_chain: false,
        buffers: 3,
        ..RecorderOptions::live()
    };
    let mut run = Run::new(&slot, options);
    slot.hold();
    run.push(1100, 1000);
    run.recorder.flush();
    slot.wait_for_waiting();
    run.push(5000, 1000);
    slot.let_go();
    let drops = run.close().1;
    assert!(drops.get(DropCause::BuffersFull) > 0);
    assert_eq!(drops.total(), drops.get(DropCause::BuffersFull), "too slow is no storage error");
}

#[test]
fn the_index_finds_packets_that_waited() {
    let card = card(1);
    let slot = Slot::with(&card);
    let mut run = Run::new(&slot, options(4));
    run.push(100, 1000);
    slot.pull();
    run.push(2000, 1000);
    slot.insert(&card);
    run.silence(8);
    run.recorder.rotate();
    run.close();
    let volume = FatVolume::open(card.clone()).unwrap();
    assert_eq!(volume.identity(), Some([1; 16]));
    let state = crate::store::load_from(&volume, std::path::Path::new("")).unwrap().0;
    let mut found = Vec::new();
    crate::verify::verify(&volume, &state, |report| found.extend(report.findings));
    assert_eq!(found, [], "index, page table and hashes agree with the packets");
}
