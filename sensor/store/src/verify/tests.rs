use hindcap_wire::ledger::{COMMIT_BYTES, SummaryPage};
use hindcap_wire::limits::PAGE_BYTES;

use super::*;
use crate::recorder::tests::{ethernet, finished, push, reading, store};
use crate::sim::{Image, SimVolume};
use crate::volume::Area;
use crate::{Reindexed, Store, reindex};

const SEGMENT: u32 = 4 << 20;

/// Three sealed segments and an open one.
fn recorded() -> SimVolume {
    let (volume, mut recorder) = store(5);
    let interface = recorder.interface(&ethernet("eth1")).unwrap();
    (0..11_000).for_each(|number| push(&mut recorder, interface, number, 100 + number as usize % 1000));
    recorder.rotate();
    (11_000..11_100).for_each(|number| push(&mut recorder, interface, number, 100));
    finished(recorder);
    volume
}

fn on(volume: &SimVolume, image: Image) -> SimVolume {
    SimVolume::with_image(volume.geometry(), image)
}

fn findings(volume: &SimVolume) -> Vec<(u32, Finding)> {
    let state = Store::mount(volume.clone()).unwrap().state().clone();
    let mut all = Vec::new();
    verify(volume, &state, |report| {
        all.extend(report.findings.into_iter().map(|finding| (report.number, finding)));
    });
    all
}

fn rebuilt(volume: &SimVolume) -> Vec<Reindexed> {
    let mut store = Store::mount(volume.clone()).unwrap();
    let mut all = Vec::new();
    reindex(&mut store, reading(99), |_, _, done| all.push(done)).unwrap();
    all
}

fn flip(volume: &SimVolume, area: Area, offset: u32) -> SimVolume {
    let mut byte = [0];
    volume.read(area, offset.into(), &mut byte).unwrap();
    let mut image = volume.image();
    image.put(area, offset.into(), &[byte[0] ^ 4]);
    on(volume, image)
}

fn summary(volume: &SimVolume, number: u32) -> SummaryPage {
    let state = Store::mount(volume.clone()).unwrap().state().clone();
    let header = read_header(volume, &state.uuid, number).unwrap();
    tail::read_summary(volume, number, header.generation).unwrap()
}

#[test]
fn a_good_store_has_no_findings_and_reindex_changes_nothing() {
    let volume = recorded();
    assert_eq!(findings(&volume), []);
    let mut kinds = Vec::new();
    let state = Store::mount(volume.clone()).unwrap().state().clone();
    verify(&volume, &state, |report| kinds.push((report.generation, report.kind)));
    let sealed = SegmentKind::Sealed;
    assert_eq!(kinds, [(1, sealed), (2, sealed), (3, SegmentKind::Open)]);
    let before = volume.image();
    assert_eq!(rebuilt(&volume), [Reindexed::Same, Reindexed::Same, Reindexed::Open]);
    assert!(before == volume.image(), "byte-identical, catalog included");
}

#[test]
fn destroyed_indexes_and_catalog_come_back_to_the_byte() {
    let volume = recorded();
    let before = volume.image();
    let page = summary(&volume, 0);
    let mut image = volume.image();
    image.put(
        Area::Segment(0),
        page.index_offset.into(),
        &vec![0; (SEGMENT - page.index_offset - PAGE_BYTES) as usize],
    );
    image.put(Area::Segment(1), summary(&volume, 1).data_bytes.into(), &[0; 512]);
    image.put(Area::Catalog, 0, &[0x55; 16_384]);
    let broken = on(&volume, image);
    let framing = |number| (number, Finding::Framing);
    let damaged = |number| (number, Finding::CatalogDamaged);
    let all = [framing(0), (0, Finding::IndexDamaged), damaged(0), framing(1), damaged(1)];
    assert_eq!(findings(&broken), all);
    assert_eq!(rebuilt(&broken), [Reindexed::Rewritten, Reindexed::Rewritten, Reindexed::Open]);
    assert_eq!(findings(&broken), []);
    let mut after = broken.image();
    // Beside entries, the catalog's first block was overwritten for this test.
    let mut catalog = vec![0; 4096];
    volume.read(Area::Catalog, 0, &mut catalog).unwrap();
    let mut rewritten = vec![0; 128];
    broken.read(Area::Catalog, 0, &mut rewritten).unwrap();
    assert_eq!(rewritten, catalog[..128], "the entries are the same");
    let mut whole = vec![0; 16_384];
    volume.read(Area::Catalog, 0, &mut whole).unwrap();
    after.put(Area::Catalog, 0, &whole);
    assert!(after == before, "byte-identical");
}

#[test]
fn a_lost_summary_is_made_again() {
    let volume = recorded();
    let mut image = volume.image();
    image.put(Area::Segment(0), u64::from(SEGMENT - PAGE_BYTES), &[0; PAGE_BYTES as usize]);
    let broken = on(&volume, image);
    assert_eq!(findings(&broken)[0], (0, Finding::NotSealed));
    assert_eq!(rebuilt(&broken)[0], Reindexed::Sealed);
    assert_eq!(findings(&broken), []);
    assert_eq!(summary(&broken, 0).summary.hash, summary(&volume, 0).summary.hash);
}

#[test]
fn every_kind_of_damage_is_told_by_its_name() {
    let volume = recorded();
    let page = summary(&volume, 0);
    let found = |offset| findings(&flip(&volume, Area::Segment(0), offset));
    let in_a_packet = found(500_000);
    assert!(matches!(in_a_packet[0], (0, Finding::DamagedBatches(ref range)) if range.contains(&500_000)));
    assert!(in_a_packet.contains(&(0, Finding::HashDiffers)), "{in_a_packet:?}");
    assert!(in_a_packet.iter().any(|(_, finding)| matches!(finding, Finding::CountsDiffer { .. })));
    assert_eq!(found(page.index_offset + 100), [(0, Finding::IndexDamaged)]);
    assert_eq!(found(page.data_bytes + 4), [(0, Finding::Framing)]);
    assert_eq!(found(SEGMENT - 100)[0], (0, Finding::NotSealed));
    let in_the_last_commit = found(page.data_bytes - COMMIT_BYTES as u32 + 20);
    assert!(matches!(in_the_last_commit[0], (0, Finding::DamagedBatches(_))), "{in_the_last_commit:?}");
}

#[test]
fn a_replaced_segment_breaks_the_chain() {
    let (volume, other) = (recorded(), recorded());
    let mut image = volume.image();
    // The same store and generation, recorded anew: whole in itself, but the next segment names another one before it.
    let mut bytes = vec![0; SEGMENT as usize];
    other.read(Area::Segment(0), 0, &mut bytes).unwrap();
    image.put(Area::Segment(0), 0, &bytes);
    assert_eq!(findings(&on(&volume, image.clone())), [], "the same packets at the same times");
    let (forged, mut recorder) = store(5);
    let interface = recorder.interface(&ethernet("eth1")).unwrap();
    (0..50).for_each(|number| push(&mut recorder, interface, number, 100));
    recorder.rotate();
    finished(recorder);
    forged.read(Area::Segment(0), 0, &mut bytes).unwrap();
    image.put(Area::Segment(0), 0, &bytes);
    let found = findings(&on(&volume, image));
    assert!(found.contains(&(1, Finding::ChainGap)), "{found:?}");
}
