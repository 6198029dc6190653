use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

use hindcap_wire::index::{FilterKey, PageSet, keys::host_key};

use super::*;
use crate::recorder::tests::{ethernet, finished, push, reading, store};
use crate::sim::{Image, SimVolume};
use crate::state::STATE_BYTES;
use crate::verify::{SegmentKind, verify};
use crate::volume::Geometry;
use crate::{Reader, ReaderOptions, RecorderOptions, SegmentState, Store};

const SEGMENT: u32 = 4 << 20;
const PACKETS: u32 = 3000;

/// Counts what is read.
struct Counting {
    volume: SimVolume,
    bytes: Cell<usize>,
}

impl VolumeRead for Counting {
    fn geometry(&self) -> Geometry {
        self.volume.geometry()
    }

    fn read(&self, area: Area, offset: u64, buf: &mut [u8]) -> Result<(), VolumeError> {
        self.bytes.set(self.bytes.get() + buf.len());
        self.volume.read(area, offset, buf)
    }
}

fn reader(volume: &SimVolume) -> Reader<Counting> {
    let counting = Counting { volume: volume.clone(), bytes: Cell::new(0) };
    Reader::open(counting, ReaderOptions::default()).unwrap()
}

/// One open segment of more than two chunks, left in order.
fn closed() -> SimVolume {
    let (volume, mut recorder) = store(3);
    let interface = recorder.interface(&ethernet("eth1")).unwrap();
    // Few enough hosts for a filter.
    (0..PACKETS).for_each(|number| push(&mut recorder, interface, number % 500, 900));
    finished(recorder);
    volume
}

fn on(volume: &SimVolume, image: Image) -> SimVolume {
    SimVolume::with_image(volume.geometry(), image)
}

fn resumed(volume: &SimVolume) -> crate::Recorder {
    Store::mount(volume.clone()).unwrap().recorder(RecorderOptions::inline(), reading(100)).unwrap()
}

/// All packets of the newest segment, by offset; and the bytes read for its index.
fn packets(volume: &SimVolume) -> (BTreeMap<u32, Vec<u8>>, usize) {
    let mut reader = reader(volume);
    let newest = reader.segments().last().unwrap().clone();
    reader.index(&newest).unwrap();
    let bytes = reader.volume().bytes.get();
    let mut found = BTreeMap::new();
    let pages = PageSet::range(0, newest.data_bytes / PAGE_BYTES);
    reader
        .packets(&newest, &pages, &mut |at| {
            found.insert(at.offset, at.packet.bytes.to_vec());
            ControlFlow::Continue(())
        })
        .unwrap();
    (found, bytes)
}

/// Less than the data, let alone twice.
const FEW_BYTES: usize = 600 * 1024;

#[test]
fn an_orderly_end_spares_the_walk_and_gives_the_same_packets() {
    let volume = closed();
    let (found, bytes) = packets(&volume);
    assert!(found.len() == PACKETS as usize && bytes < FEW_BYTES, "{bytes} bytes");
    let mut image = volume.image();
    image.put(Area::Segment(0), u64::from(SEGMENT - PAGE_BYTES), &[0; PAGE_BYTES as usize]);
    let (walked, all) = packets(&on(&volume, image));
    assert!(walked == found && all > 2 << 20, "{all} bytes without the provisional tail");
    let mut reader = reader(&volume);
    let newest = reader.segments().last().unwrap().clone();
    assert_eq!((newest.state, newest.packets), (SegmentState::Open, PACKETS.into()));
    let before = reader.index(&newest).map(|_| reader.volume().bytes.get()).unwrap();
    reader.index(&newest).unwrap();
    assert_eq!(reader.volume().bytes.get(), before, "kept");
}

#[test]
fn its_filter_rules_out_absent_hosts_and_dies_with_it() {
    let volume = closed();
    let mut reader = reader(&volume);
    let newest = reader.segments().last().unwrap().clone();
    let host = |last| FilterKey::Host(host_key(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 9, 8, last], 4));
    let absent = (0..=255).filter(|last| !reader.may_contain(&newest, &[host(*last)])).count();
    assert!(absent > 240, "{absent} of 256 hosts are ruled out");
    // The same reader, while recording goes on with just these hosts.
    let mut recorder = resumed(&volume);
    let interface = recorder.interface(&ethernet("eth1")).unwrap();
    push(&mut recorder, interface, 9_000_000, 100);
    recorder.flush();
    reader.refresh().unwrap();
    let newest = reader.segments().last().unwrap().clone();
    assert!((0..=255).all(|last| reader.may_contain(&newest, &[host(last)])), "nothing is known any more");
    recorder.rotate();
    finished(recorder);
    reader.refresh().unwrap();
    let sealed = reader.segments()[0].clone();
    assert_eq!(sealed.state, SegmentState::Sealed);
    // 10.0.x.y with x = (9_000_000 >> 8) % 16, y = 9_000_000 % 256: see `frame` in the recorder's tests.
    let present =
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 0, (9_000_000 >> 8) as u8 % 16, 9_000_000_u32 as u8];
    assert!(reader.may_contain(&sealed, &[FilterKey::Host(host_key(&present, 4))]), "the seal's own filter");
}

#[test]
fn going_on_makes_it_stale_in_every_way() {
    let volume = closed();
    let mut state = [0; STATE_BYTES as usize];
    volume.read(Area::State, 0, &mut state).unwrap();
    let mut recorder = resumed(&volume);
    let interface = recorder.interface(&ethernet("eth1")).unwrap();
    (0..100).for_each(|number| push(&mut recorder, interface, PACKETS + number, 900));
    recorder.flush();
    drop(recorder);
    assert_eq!(packets(&volume).0.len(), PACKETS as usize + 100);
    // Even if the state were that of before: the commit blocks go on.
    let mut image = volume.image();
    image.put(Area::State, 0, &state);
    assert_eq!(packets(&on(&volume, image.clone())).0.len(), PACKETS as usize + 100);
    // And even if the sector behind the old end were damaged: a later chunk is full.
    let mut recorder = resumed(&volume);
    let interface = recorder.interface(&ethernet("eth1")).unwrap();
    (0..900).for_each(|number| push(&mut recorder, interface, PACKETS + 100 + number, 900));
    recorder.flush();
    drop(recorder);
    let end = said(&volume).data_bytes;
    let mut image = volume.image();
    image.put(Area::State, 0, &state);
    image.put(Area::Segment(0), end.into(), &[0; 512]);
    assert!(packets(&on(&volume, image)).0.len() > PACKETS as usize + 800);
}

fn said(volume: &SimVolume) -> Provisional {
    let state = Store::mount(volume.clone()).unwrap().state().clone();
    let mut page = vec![0; PAGE_BYTES as usize];
    volume.read(Area::Segment(0), u64::from(SEGMENT - PAGE_BYTES), &mut page).unwrap();
    Provisional::decode(&state.uuid, &page).unwrap()
}

#[test]
fn another_commit_at_the_same_end_is_not_taken_for_its_own() {
    let volume = closed();
    let end = said(&volume).data_bytes;
    let mut image = volume.image();
    // The last commit's CRC field: the batch before it is then another one.
    image.put(Area::Segment(0), u64::from(end) - 8, &[1, 2, 3, 4]);
    let (_, bytes) = packets(&on(&volume, image));
    assert!(bytes > 2 << 20, "walked: {bytes}");
}

#[test]
fn damage_to_it_costs_a_walk_and_nothing_else() {
    let volume = closed();
    let (all, _) = packets(&volume);
    let index = said(&volume).index_offset;
    for offset in [SEGMENT - PAGE_BYTES + 20, SEGMENT - PAGE_BYTES + 60, SEGMENT - 6, index + 9, index + 3000]
    {
        let mut byte = [0];
        volume.read(Area::Segment(0), offset.into(), &mut byte).unwrap();
        let mut image = volume.image();
        image.put(Area::Segment(0), offset.into(), &[byte[0] ^ 0x10]);
        let (found, bytes) = packets(&on(&volume, image));
        assert!(found == all && bytes > 2 << 20, "offset {offset}");
    }
    // Another store's page, and another generation's.
    let page = said(&volume);
    let mut bytes = vec![0; PAGE_BYTES as usize];
    page.encode(&[9; 16], &mut bytes);
    let mut image = volume.image();
    image.put(Area::Segment(0), u64::from(SEGMENT - PAGE_BYTES), &bytes);
    assert!(packets(&on(&volume, image)).1 > 2 << 20, "another store");
    let store = Store::mount(volume.clone()).unwrap();
    Provisional { entry: Entry { generation: 7, ..page.entry }, ..page }
        .encode(&store.state().uuid, &mut bytes);
    let mut image = volume.image();
    image.put(Area::Segment(0), u64::from(SEGMENT - PAGE_BYTES), &bytes);
    assert!(packets(&on(&volume, image)).1 > 2 << 20, "another generation");
}

#[test]
fn nobody_takes_it_for_a_seal() {
    let volume = closed();
    let state = Store::mount(volume.clone()).unwrap().state().clone();
    let header = crate::ring::read_header(&volume, &state.uuid, 0).unwrap();
    assert_eq!(tail::read_summary(&volume, 0, header.generation), None);
    assert_eq!(catalog::entries(&volume).unwrap(), [None, None, None]);
    let mut kinds = Vec::new();
    verify(&volume, &state, |report| kinds.push((report.kind, report.findings)));
    assert_eq!(kinds, [(SegmentKind::Open, vec![])]);
    let mut behind = [1; 512];
    volume.read(Area::Segment(0), said(&volume).data_bytes.into(), &mut behind).unwrap();
    assert_eq!(behind, [0; 512], "other programs stop at the end of the data");
    drop(resumed(&volume));
    let generations: Vec<_> = reader(&volume).segments().iter().map(|segment| segment.generation).collect();
    assert_eq!(generations, [1], "recording goes on in the same segment");
}
