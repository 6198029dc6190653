//! The reader against segments written block by block into memory, whole and damaged in every way.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::rc::Rc;

use hindcap_wire::drops::DropCounts;
use hindcap_wire::flow::addr_bytes;
use hindcap_wire::index::keys::host_key;
use hindcap_wire::index::{FilterKey, IndexLimits, PageSet};
use hindcap_wire::ledger::{
    COMMIT_BYTES, ClockAt, Commit, SegmentHeader, Summary, SummaryPage, batch_crc_start, put_epb, put_idb,
    put_skip,
};
use hindcap_wire::limits::{CHUNK_BYTES, PAGE_BYTES, SEGMENT_BYTES_MIN};
use hindcap_wire::packet::{Interface, LinkType, Packet};
use hindcap_wire::policy::LeftOut;
use hindcap_wire::time::{ClockState, Timestamp};

use super::{PacketAt, ReadError, Reader, ReaderOptions, SegmentState, Visitor};
use crate::catalog::{Layout, Pending, Sealed};
use crate::index::Indexer;
use crate::state::State;
use crate::volume::{Area, Geometry, VolumeError, VolumeRead, VolumeWrite};

const STORE: [u8; 16] = [0x5a; 16];
const SEGMENTS: u32 = 4;
const SEGMENT: usize = SEGMENT_BYTES_MIN as usize;
const PAGE: usize = PAGE_BYTES as usize;

/// A volume in memory that a writer and readers share.
#[derive(Clone)]
struct Memory(Rc<RefCell<Areas>>);

struct Areas {
    state: Vec<u8>,
    catalog: Vec<u8>,
    segments: Vec<Vec<u8>>,
    reads: u64,
}

const GEOMETRY: Geometry =
    Geometry { segment_bytes: SEGMENT_BYTES_MIN, segments: SEGMENTS, sector_bytes: 512 };

impl Memory {
    fn new() -> Self {
        let mut memory = Self(Rc::new(RefCell::new(Areas {
            state: vec![0; 8192],
            catalog: vec![0; Layout::of(&GEOMETRY).area_bytes() as usize],
            segments: vec![vec![0; SEGMENT]; SEGMENTS as usize],
            reads: 0,
        })));
        let mut state = State { epoch: 1, ..State::new(STORE, SEGMENT_BYTES_MIN, SEGMENTS) };
        state.store(&mut memory).unwrap();
        memory
    }

    fn change(&self, segment: u32, at: usize, byte: impl FnOnce(u8) -> u8) {
        let place = &mut self.0.borrow_mut().segments[segment as usize][at];
        *place = byte(*place);
    }
}

impl Areas {
    fn area(&mut self, area: Area) -> &mut Vec<u8> {
        match area {
            Area::State => &mut self.state,
            Area::Catalog => &mut self.catalog,
            Area::Segment(number) => &mut self.segments[number as usize],
        }
    }
}

impl VolumeRead for Memory {
    fn geometry(&self) -> Geometry {
        GEOMETRY
    }

    fn read(&self, area: Area, offset: u64, buf: &mut [u8]) -> Result<(), VolumeError> {
        let mut areas = self.0.borrow_mut();
        areas.reads += 1;
        let outside = VolumeError::OutOfRange { area, offset, bytes: buf.len() };
        let from =
            areas.area(area).get(offset as usize..).and_then(|from| from.get(..buf.len())).ok_or(outside)?;
        buf.copy_from_slice(from);
        Ok(())
    }
}

impl VolumeWrite for Memory {
    fn write(&mut self, area: Area, offset: u64, bytes: &[u8]) -> Result<(), VolumeError> {
        self.0.borrow_mut().area(area)[offset as usize..][..bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self, _: Area) -> Result<(), VolumeError> {
        Ok(())
    }
}

/// A packet as the model keeps it.
type Kept = (u64, Vec<u8>);

/// Writes one segment as the recorder does: batches of what fits, an index, a summary.
struct Writer {
    memory: Memory,
    segment: u32,
    generation: u64,
    at: usize,
    sequence: u32,
    times: (Timestamp, Timestamp),
    packets: u64,
    captured: u64,
    indexer: Indexer,
    kept: Vec<Kept>,
    random: u64,
}

impl Writer {
    fn new(memory: &Memory, segment: u32, generation: u64) -> Self {
        Self {
            memory: memory.clone(),
            segment,
            generation,
            at: 0,
            sequence: 0,
            times: (Timestamp::MAX, Timestamp::MIN),
            packets: 0,
            captured: 0,
            indexer: Indexer::new(IndexLimits::for_segment(SEGMENT_BYTES_MIN), generation),
            kept: Vec::new(),
            random: generation | 1,
        }
    }

    fn random(&mut self, end: usize) -> usize {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.random >> 33) as usize % end
    }

    /// A UDP packet of raw IPv4 between two of 40 hosts, of up to 2,000 bytes and now and then 60,000.
    fn packet(&mut self) -> Vec<u8> {
        let length = if self.random(200) == 0 { 60_000 } else { 28 + self.random(2_000) };
        let mut bytes = vec![0; length];
        bytes[0] = 0x45;
        bytes[2..4].copy_from_slice(&(length as u16).to_be_bytes());
        (bytes[8], bytes[9]) = (64, 17);
        bytes[12..16].copy_from_slice(&[10, 0, 0, self.random(40) as u8]);
        bytes[16..20].copy_from_slice(&[10, 0, self.generation as u8, self.random(40) as u8]);
        bytes[20..24].copy_from_slice(&[0x30, self.random(7) as u8, 0, 53]);
        bytes[24..26].copy_from_slice(&(length as u16 - 20).to_be_bytes());
        let fill = self.random(256) as u8;
        bytes[28..].fill(fill);
        bytes
    }

    /// One batch of at most `pages` pages.
    fn batch(&mut self, pages: usize) {
        let room =
            (pages * PAGE).min(CHUNK_BYTES as usize - self.at % CHUNK_BYTES as usize) - COMMIT_BYTES - 12;
        let mut batch = vec![0; CHUNK_BYTES as usize];
        let mut used = 0;
        if self.at == 0 {
            let header = SegmentHeader {
                store: STORE,
                generation: self.generation,
                segment_bytes: SEGMENT_BYTES_MIN,
                epoch: 1,
                begun: ClockAt { wall: Timestamp(1), ..ClockAt::default() },
                chain_before: [0; 32],
            };
            used = header.encode(&mut batch);
            used += put_idb(
                &mut batch[used..],
                &Interface { link_type: LinkType::RAW, snaplen: 0, name: "tap0".into() },
            );
        }
        let (mut packets, mut times) = (0, (Timestamp::MAX, Timestamp::MIN));
        loop {
            let bytes = self.packet();
            if used + 32 + bytes.len().next_multiple_of(4) > room {
                break;
            }
            let timestamp = Timestamp(self.generation * 1_000_000_000 + self.packets);
            let packet = Packet { timestamp, interface: 0, orig_len: bytes.len() as u32, bytes: &bytes };
            used += put_epb(&mut batch[used..], 0, &packet);
            packets += 1;
            self.packets += 1;
            self.captured += bytes.len() as u64;
            times = (times.0.min(timestamp), times.1.max(timestamp));
            self.kept.push((timestamp.0, bytes));
        }
        let total = (used + 12 + COMMIT_BYTES).next_multiple_of(PAGE);
        put_skip(&mut batch[used..total - COMMIT_BYTES]);
        self.times = (self.times.0.min(times.0), self.times.1.max(times.1));
        let commit = Commit {
            sequence: self.sequence,
            generation: self.generation,
            epoch: 1,
            offset: self.at as u32,
            bytes: total as u32,
            packets,
            times,
            segment_times: self.times,
            segment_packets: self.packets,
            segment_captured_bytes: self.captured,
            drops: DropCounts([1, 0, 0, 0, 0, 0]),
            left_out: LeftOut::NONE,
            wall: Timestamp(self.generation * 1_000_000_000 + self.packets),
            monotonic_nanos: 0,
            boot: 0,
            clock: ClockState::Synchronised,
            interfaces: 1,
        };
        commit.encode(&mut batch[total - COMMIT_BYTES..]);
        let mut crc = batch_crc_start(&STORE);
        crc.update(&batch[..Commit::covered_bytes(total)]);
        Commit::seal(&mut batch[..total], crc.finalize());
        self.indexer.batch(self.at as u32, &batch[..total], &commit);
        let mut memory = self.memory.clone();
        memory.write(Area::Segment(self.segment), self.at as u64, &batch[..total]).unwrap();
        self.at += total;
        // The terminator.
        memory.write(Area::Segment(self.segment), self.at as u64, &[0; 512]).unwrap();
        self.sequence += 1;
    }

    /// Batches of all sizes, about `bytes` in all.
    fn fill(&mut self, bytes: usize) {
        while self.at < bytes {
            let pages = [1, 3, 64, 64][self.random(4)];
            // A jumbo packet needs four pages.
            self.batch(pages.max(1));
        }
    }

    fn seal(&mut self, pending: &mut Pending) {
        let index = self.indexer.builder().encode(Vec::new());
        let mut memory = self.memory.clone();
        let index_offset = self.at as u32;
        memory.write(Area::Segment(self.segment), u64::from(index_offset) + 8, &index).unwrap();
        let summary = Summary {
            store: STORE,
            created: Timestamp(1),
            sealed: Timestamp(2),
            times: self.times,
            packets: self.packets,
            captured_bytes: self.captured,
            batches: self.sequence,
            drops: DropCounts([self.sequence.into(), 0, 0, 0, 0, 0]),
            left_out: LeftOut::NONE,
            step: None,
            eventful: self.indexer.builder().is_eventful(),
            clock: ClockState::Synchronised,
            clock_lines: Vec::new(),
            has_flows: true,
            interfaces: vec![Interface { link_type: LinkType::RAW, snaplen: 0, name: "tap0".into() }],
            hash: [0; 32],
            chain_before: [0; 32],
            chain: [0; 32],
        };
        let page = SummaryPage {
            generation: self.generation,
            data_bytes: self.at as u32,
            index_offset,
            index_bytes: index.len() as u32,
            index_crc: crc32fast::hash(&index),
            summary,
        };
        let mut bytes = vec![0; PAGE];
        page.encode(&mut bytes).unwrap();
        memory.write(Area::Segment(self.segment), (SEGMENT - PAGE) as u64, &bytes).unwrap();
        let (classes, filter) = self.indexer.builder().filter();
        pending.add(Sealed::of(self.segment, &page, classes, filter));
    }
}

/// Three sealed segments, the first two in the catalog, and an open one.
fn store() -> (Memory, Vec<Writer>) {
    let memory = Memory::new();
    let mut pending = Pending::new();
    let mut writers = Vec::new();
    for generation in 1..=4 {
        let mut writer = Writer::new(&memory, generation as u32 % SEGMENTS, generation);
        writer.fill(3 * CHUNK_BYTES as usize - 200_000);
        if generation < 4 {
            writer.seal(&mut pending);
        }
        if generation == 2 {
            pending.write(&mut memory.clone()).unwrap();
        }
        writers.push(writer);
    }
    (memory, writers)
}

fn reader(memory: &Memory) -> Reader<Memory> {
    Reader::open(memory.clone(), ReaderOptions::default()).unwrap()
}

fn all_of(reader: &mut Reader<Memory>, generation: u64) -> (Vec<Kept>, super::Served) {
    pages_of(reader, generation, &PageSet::range(0, SEGMENT_BYTES_MIN / PAGE_BYTES)).unwrap()
}

fn pages_of(
    reader: &mut Reader<Memory>,
    generation: u64,
    pages: &PageSet,
) -> Result<(Vec<Kept>, super::Served), ReadError> {
    let info = reader.segments().iter().find(|info| info.generation == generation).unwrap().clone();
    let mut got = Vec::new();
    let served = reader.packets(&info, pages, &mut |at| {
        assert_eq!((at.link_type, u32::from(at.page)), (LinkType::RAW, at.offset / PAGE_BYTES));
        got.push((at.packet.timestamp.0, at.packet.bytes.to_vec()));
        ControlFlow::Continue(())
    })?;
    assert_eq!(served.packets as usize, got.len());
    Ok((got, served))
}

#[test]
fn sealed_and_open_segments_give_back_every_packet() {
    let (memory, mut writers) = store();
    let mut reader = reader(&memory);
    let states: Vec<_> =
        reader.segments().iter().map(|info| (info.generation, info.number, info.state)).collect();
    use SegmentState::{Open, Sealed};
    assert_eq!(states, [(1, 1, Sealed), (2, 2, Sealed), (3, 3, Sealed), (4, 0, Open)]);
    for (info, writer) in reader.segments().to_vec().iter().zip(&writers) {
        assert_eq!((info.packets, info.bytes), (writer.packets, writer.captured));
        assert_eq!((info.first, info.last), writer.times);
        let (got, served) = all_of(&mut reader, info.generation);
        assert!(got == writer.kept && served.damage.is_empty());
        let doc = reader.index(info).unwrap();
        assert_eq!(
            doc.batches().iter().map(|batch| batch.drops.total()).sum::<u64>(),
            u64::from(writer.sequence)
        );
    }
    // The open one grows; a reader that looks again finds the rest, one that does not finds what was there.
    let open = writers.last_mut().unwrap();
    let before = open.kept.len();
    (0..5).for_each(|_| open.batch(5));
    let grown = open.kept.clone();
    reader.refresh().unwrap();
    assert!(grown.len() > before && all_of(&mut reader, 4).0 == grown);
    // It is sealed, and the index is the same.
    let info = reader.segments()[3].clone();
    let built = reader.index(&info).unwrap();
    let open = writers.last_mut().unwrap();
    open.seal(&mut Pending::new());
    reader.refresh().unwrap();
    let info = reader.segments()[3].clone();
    assert_eq!(info.state, Sealed);
    let read = reader.index(&info).unwrap();
    assert_eq!((read.bytes(), read.flow_count()), (built.bytes(), built.flow_count()));
    assert!(all_of(&mut reader, 4).0 == grown);
}

#[test]
fn postings_lead_to_every_packet_of_a_flow_and_few_bytes_are_read() {
    let (memory, writers) = store();
    let mut reader = reader(&memory);
    let info = reader.segments()[1].clone();
    let doc = reader.index(&info).unwrap();
    for flow in doc.flows().step_by(97) {
        let pages: PageSet = flow.postings.clone().collect();
        let (got, served) = pages_of(&mut reader, 2, &pages).unwrap();
        let ends = |bytes: &[u8]| {
            let end = |at: usize, port: usize| (bytes[at..at + 4].to_vec(), bytes[port..port + 2].to_vec());
            BTreeSet::from([end(12, 20), end(16, 22)])
        };
        let key = |addr: &[u8; 16], port: u16| (addr[12..].to_vec(), port.to_be_bytes().to_vec());
        let wanted = BTreeSet::from([key(&flow.key.a, flow.key.a_port), key(&flow.key.b, flow.key.b_port)]);
        let truth: Vec<&Kept> = writers[1].kept.iter().filter(|(_, bytes)| ends(bytes) == wanted).collect();
        let found: Vec<&Kept> = got.iter().filter(|(_, bytes)| ends(bytes) == wanted).collect();
        assert!(found == truth && truth.len() == flow.packets as usize);
        assert!(served.bytes_read <= pages.len() as u64 * 10 * u64::from(PAGE_BYTES));
    }
}

/// Wants the packets between these two ends of raw IPv4, and knows them by their front.
struct Between<'a> {
    ends: &'a BTreeSet<(Vec<u8>, Vec<u8>)>,
    got: Vec<Kept>,
}

fn ends(bytes: &[u8]) -> BTreeSet<(Vec<u8>, Vec<u8>)> {
    let end = |at: usize, port: usize| (bytes[at..at + 4].to_vec(), bytes[port..port + 2].to_vec());
    BTreeSet::from([end(12, 20), end(16, 22)])
}

impl Visitor for Between<'_> {
    fn is_choosy(&self) -> bool {
        true
    }

    fn may_want(&mut self, link_type: LinkType, head: &[u8], orig_len: u32) -> bool {
        assert!(link_type == LinkType::RAW && head.len() <= orig_len as usize);
        head.len() < 24 || ends(head) == *self.ends
    }

    fn packet(&mut self, at: PacketAt<'_>) -> ControlFlow<()> {
        if ends(at.packet.bytes) == *self.ends {
            self.got.push((at.packet.timestamp.0, at.packet.bytes.to_vec()));
        }
        ControlFlow::Continue(())
    }
}

#[test]
fn a_choosy_visitor_gets_all_it_wants_and_reads_less() {
    let (memory, writers) = store();
    let mut reader = reader(&memory);
    let info = reader.segments()[1].clone();
    let doc = reader.index(&info).unwrap();
    let (mut choosy, mut plain, mut least) = (0, 0, 0);
    for flow in doc.flows().step_by(41) {
        let pages: PageSet = flow.postings.clone().collect();
        let key = |addr: &[u8; 16], port: u16| (addr[12..].to_vec(), port.to_be_bytes().to_vec());
        let wanted = BTreeSet::from([key(&flow.key.a, flow.key.a_port), key(&flow.key.b, flow.key.b_port)]);
        let mut between = Between { ends: &wanted, got: Vec::new() };
        choosy += reader.packets_for(&info, &pages, &mut between).unwrap().bytes_read;
        plain += pages_of(&mut reader, 2, &pages).unwrap().1.bytes_read;
        least += pages.len() as u64 * u64::from(PAGE_BYTES);
        let truth: Vec<Kept> =
            writers[1].kept.iter().filter(|(_, bytes)| ends(bytes) == wanted).cloned().collect();
        assert!(between.got == truth && truth.len() == flow.packets as usize);
    }
    assert!(least <= choosy && choosy < plain, "{least} {choosy} {plain}");
}

#[test]
fn filters_rule_out_absent_hosts_and_never_present_ones() {
    let (memory, _) = store();
    let mut reader = reader(&memory);
    let key = |c: u8, d: u8| FilterKey::Host(host_key(&addr_bytes([10, 0, c, d].into()), 4));
    let infos = reader.segments().to_vec();
    for info in &infos {
        let own = info.generation as u8;
        assert!((0..40).all(|d| reader.may_contain(info, &[key(0, d), key(own, d)])));
        // Only two are in the catalog.
        let pass = (0..=255).filter(|d| reader.may_contain(info, &[key(99, *d)])).count();
        assert!(if own <= 2 { pass < 12 } else { pass == 256 }, "{pass} of 256 in {own}");
    }
    // A damaged filter says nothing.
    let slot = Layout::of(&GEOMETRY).area_bytes() as usize / 8;
    memory.0.borrow_mut().catalog[16_384..].iter_mut().for_each(|byte| *byte ^= 1);
    let mut fresh = self::reader(&memory);
    assert!(slot > 0 && fresh.may_contain(&infos[0], &[key(99, 1)]));
    assert_eq!(fresh.segments(), infos);
    // Nor does a damaged entry: the summary tells the same.
    memory.0.borrow_mut().catalog.iter_mut().for_each(|byte| *byte ^= 1);
    let summaries = self::reader(&memory);
    assert!(summaries.segments().iter().zip(&infos).all(|(one, other)| one.packets == other.packets));
}

/// Whatever byte is damaged: no packet is served that was not recorded, and what is missing is reported.
#[test]
fn damaged_pages_are_reported_and_never_served() {
    let (memory, writers) = store();
    let mut random = 5_u64;
    for round in 0..120 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let writer = &writers[[0, 2, 3][round % 3]];
        // Anywhere in the data behind the header.
        let at = 512 + (random >> 20) as usize % (writer.at - 512);
        memory.change(writer.segment, at, |byte| byte ^ 0x10);
        let mut reader = reader(&memory);
        let (got, served) = all_of(&mut reader, writer.generation);
        let kept: BTreeSet<&Kept> = writer.kept.iter().collect();
        assert!(got.iter().all(|packet| kept.contains(packet)), "wrong bytes were served");
        assert!(got.is_sorted() && got.len() < writer.kept.len());
        let page = (at / PAGE) as u32;
        let last = served.damage.iter().any(|damage| damage.pages.0 <= page && page < damage.pages.1);
        // Behind the last whole batch of an open segment nothing is known to be missing.
        let open_end = writer.generation == 4 && !last;
        assert!(last || open_end, "byte {at}, damage {:?}", served.damage);
        if open_end {
            assert!(got[..] == writer.kept[..got.len()]);
        }
        if writer.generation != 4 {
            assert!(writer.kept.len() - got.len() < 2_000, "more than a page and its neighbours are missing");
            let lost: Vec<u64> =
                writer.kept.iter().filter(|packet| !got.contains(packet)).map(|packet| packet.0).collect();
            let (first, end) = served.damage[0].times;
            assert!(lost.iter().all(|at| first.0 <= *at && *at <= end.0));
        }
        memory.change(writer.segment, at, |byte| byte ^ 0x10);
    }
}

#[test]
fn a_lost_batch_of_the_open_segment_is_told_even_if_nobody_asks_for_its_pages() {
    let (memory, writers) = store();
    let whole = reader(&memory);
    let info = whole.segments()[3].clone();
    assert!(reader(&memory).lost_stretches(&info).unwrap().is_empty());
    // Not in the first batch: without its interfaces nothing of an open segment can be served.
    let at = 1_400_000;
    memory.change(0, at, |byte| byte ^ 1);
    let mut reader = reader(&memory);
    let lost = reader.lost_stretches(&info).unwrap();
    let page = (at / PAGE) as u32;
    assert!(lost.len() == 1 && lost[0].pages.0 <= page && page < lost[0].pages.1, "{lost:?}");
    let (got, served) = all_of(&mut reader, 4);
    assert_eq!(served.damage.iter().map(|damage| damage.pages).collect::<Vec<_>>(), [lost[0].pages]);
    let missing: Vec<u64> =
        writers[3].kept.iter().map(|kept| kept.0).filter(|at| got.iter().all(|got| got.0 != *at)).collect();
    assert!(!missing.is_empty() && got.len() + missing.len() == writers[3].kept.len());
    assert!(missing.iter().all(|at| (lost[0].times.0.0..=lost[0].times.1.0).contains(at)));
}

#[test]
fn a_damaged_index_is_built_again_from_the_batches() {
    let (memory, writers) = store();
    for at in [writers[0].at + 8, writers[0].at + 5_000, SEGMENT - 100] {
        memory.change(1, at, |byte| byte ^ 0xff);
        let mut reader = reader(&memory);
        let info = reader.segments()[0].clone();
        assert_eq!(info.generation, 1);
        let doc = reader.index(&info).unwrap();
        assert_eq!(doc.packets(), writers[0].packets);
        assert!(all_of(&mut reader, 1).0 == writers[0].kept, "damage at {at}");
        memory.change(1, at, |byte| byte ^ 0xff);
    }
}

#[test]
fn a_segment_with_a_damaged_header_is_still_served_by_its_summary() {
    let (memory, writers) = store();
    memory.change(2, 60, |byte| byte ^ 1);
    let mut reader = reader(&memory);
    assert_eq!(reader.segments().len(), 4);
    let (got, served) = all_of(&mut reader, 2);
    assert_eq!(served.damage.len(), 1);
    assert_eq!(served.damage[0].pages, (0, 1));
    assert!(got[..] == writers[1].kept[writers[1].kept.len() - got.len()..] && got.len() > 100);
}

#[test]
fn an_overwritten_segment_is_gone_and_not_served() {
    let (memory, writers) = store();
    let mut reader = reader(&memory);
    let old = reader.segments()[0].clone();
    let doc = reader.index(&old).unwrap();
    assert_eq!(doc.packets(), writers[0].packets);
    // The ring comes round: segment 1 gets generation 5, one batch so far.
    let mut writer = Writer::new(&memory, 1, 5);
    writer.batch(64);
    let result = pages_of(&mut reader, 1, &PageSet::range(0, 64));
    assert!(matches!(result, Err(ReadError::Gone { segment: 1, generation: 1 })), "{result:?}");
    reader.refresh().unwrap();
    assert!(matches!(reader.index(&old), Err(ReadError::Gone { .. })));
    let generations: Vec<_> = reader.segments().iter().map(|info| (info.generation, info.state)).collect();
    use SegmentState::{Damaged, Open, Sealed};
    assert_eq!(generations, [(2, Sealed), (3, Sealed), (4, Damaged), (5, Open)]);
    assert!(all_of(&mut reader, 5).0 == writer.kept);
    assert!(all_of(&mut reader, 4).0 == writers[3].kept, "never sealed, still served");
}

#[test]
fn another_stores_segment_is_not_listed_and_garbage_never_panics() {
    let (memory, _) = store();
    memory.0.borrow_mut().state.fill(0);
    assert_eq!(reader(&memory).segments().len(), 4, "headers alone will do");
    let mut foreign = State { writes: 8, epoch: 1, ..State::new([1; 16], SEGMENT_BYTES_MIN, SEGMENTS) };
    foreign.store(&mut memory.clone()).unwrap();
    assert_eq!(reader(&memory).segments().len(), 0);
    let mut random = 9_u64;
    let garbage = Memory::new();
    for round in 0..8 {
        for byte in garbage.0.borrow_mut().segments.iter_mut().flatten() {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *byte = (random >> 60 << (round % 5)) as u8;
        }
        assert!(reader(&garbage).segments().is_empty());
    }
}
