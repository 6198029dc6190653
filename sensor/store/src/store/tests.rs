use std::os::unix::fs::MetadataExt;

use hindcap_wire::ledger::SegmentHeader;
use hindcap_wire::time::Timestamp;

use super::*;
use crate::volume::VolumeRead;

const MIB: u64 = 1 << 20;

fn options(path: &Path, size: u64) -> StoreOptions {
    StoreOptions { segment_bytes: 4 << 20, ..StoreOptions::new(path, StoreSize::Bytes(size)) }
}

/// Bytes that everything below `path` takes on the file system.
fn allocated(path: &Path) -> u64 {
    let own = fs::symlink_metadata(path).unwrap();
    let below = if own.is_dir() {
        fs::read_dir(path).unwrap().map(|entry| allocated(&entry.unwrap().path())).sum()
    } else {
        0
    };
    own.blocks() * 512 + below
}

fn mark(path: &Path, number: u32, generation: u64) {
    let (store, chain_before) = ([1; 16], [0; 32]);
    let header = SegmentHeader {
        store,
        generation,
        segment_bytes: 4 << 20,
        epoch: 1,
        created: Timestamp(1),
        chain_before,
    };
    let mut bytes = vec![0; 512];
    header.encode(&mut bytes);
    let file = fs::OpenOptions::new().write(true).open(segment_path(path, number)).unwrap();
    file.write_all_at(&bytes, 0).unwrap();
}

fn generations(store: &Store<DirVolume>) -> Vec<u64> {
    let mut start = [0; 512];
    let generation = |number| {
        store.volume.read(Area::Segment(number), 0, &mut start).unwrap();
        SegmentHeader::decode(&start).map_or(0, |header| header.generation)
    };
    (0..store.geometry().segments).map(generation).collect()
}

#[test]
fn created_within_quota_and_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let store = Store::create(&options(&path, 20 * MIB)).unwrap();
    assert_eq!(store.geometry().segments, 4);
    assert!(allocated(&path) <= 20 * MIB, "{} bytes", allocated(&path));
    let uuid = store.state().uuid;
    drop(store);
    let keep = StoreOptions::new(&path, StoreSize::Keep);
    assert_eq!(Store::open(&keep).unwrap().state().uuid, uuid);
    assert_eq!(open_dir_reader(&path).unwrap().1.uuid, uuid);
}

#[test]
fn in_use_names_the_holder() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let _held = Store::create(&options(&path, 20 * MIB)).unwrap();
    let error = Store::open(&options(&path, 20 * MIB)).unwrap_err();
    assert!(error.to_string().ends_with(&format!("store in use by pid {}", std::process::id())), "{error}");
}

#[test]
fn shrinking_keeps_the_newest_and_growing_keeps_all() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let bytes = |segments| store_bytes(4 << 20, segments);
    drop(Store::create(&options(&path, bytes(6))).unwrap());
    for (number, generation) in [(0, 9), (1, 10), (2, 5), (3, 6), (4, 7), (5, 8)] {
        mark(&path, number, generation);
    }
    let store = Store::open(&options(&path, bytes(3))).unwrap();
    let mut kept = generations(&store);
    kept.sort_unstable();
    assert_eq!((kept, store.state().segments), (vec![8, 9, 10], 3));
    assert!(allocated(&path) <= bytes(3));
    drop(store);
    let store = Store::open(&options(&path, bytes(5))).unwrap();
    let mut kept = generations(&store);
    kept.sort_unstable();
    assert_eq!(kept, [0, 0, 8, 9, 10]);
}

#[test]
fn clear_errors() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let text = |result: Result<Store<DirVolume>, StoreError>| result.unwrap_err().to_string();
    assert!(text(Store::open(&options(&path, 20 * MIB))).ends_with("no Hindcap store here"));
    assert!(text(Store::create(&options(&path, 5 * MIB))).contains("two segments need"));
    let odd = StoreOptions { segment_bytes: 5_000_000, ..options(&path, 20 * MIB) };
    assert!(text(Store::create(&odd)).starts_with("segment size"));
    let foreign = dir.path().join("home");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("thesis.doc"), "").unwrap();
    assert!(text(Store::create(&options(&foreign, 20 * MIB))).contains("holds other files (thesis.doc)"));
    drop(Store::create(&options(&path, 20 * MIB)).unwrap());
    fs::write(path.join(STATE_FILE), vec![0; 8192]).unwrap();
    assert!(text(Store::open(&options(&path, 20 * MIB))).contains("hindcap.state is damaged"));
}

#[test]
fn an_error_while_allocating_is_no_smaller_ring() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    fs::create_dir_all(segment_path(&path, 3)).unwrap();
    assert!(matches!(Store::create(&options(&path, 20 * MIB)), Err(StoreError::Volume(_))));
}
