use std::os::unix::fs::MetadataExt;

use hindcap_wire::ledger::{ClockAt, SegmentHeader};
use hindcap_wire::time::Timestamp;

use super::*;
use crate::holds::Hold;
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
        begun: ClockAt { wall: Timestamp(1), ..ClockAt::default() },
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
fn shrinking_keeps_what_is_held_however_old() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let bytes = |segments| store_bytes(4 << 20, segments);
    let Store { mut volume, mut state, .. } = Store::create(&options(&path, bytes(6))).unwrap();
    for (number, generation) in [(0, 9), (1, 10), (2, 5), (3, 6), (4, 7), (5, 8)] {
        mark(&path, number, generation);
    }
    state.keep.holds.push(Hold::of_segments(10, vec![(5, 1)]));
    state.store(&mut volume).unwrap();
    drop(volume);
    let mut kept = generations(&Store::open(&options(&path, bytes(3))).unwrap());
    kept.sort_unstable();
    assert_eq!(kept, [5, 9, 10]);
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

fn damage_state(path: &Path) {
    let file = fs::OpenOptions::new().write(true).open(path.join(STATE_FILE)).unwrap();
    for slot in [0, 4096] {
        file.write_all_at(&[0x5A; 64], slot + 8).unwrap();
    }
}

#[test]
fn a_lost_state_comes_back_from_segments_that_agree() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let made = Store::create(&StoreOptions { uuid: Some([1; 16]), ..options(&path, 20 * MIB) }).unwrap();
    let (shape, uuid) = (made.geometry(), made.state().uuid);
    drop(made);
    let keep = StoreOptions::new(&path, StoreSize::Keep);
    damage_state(&path);
    let empty = Store::open(&keep).unwrap_err();
    assert!(empty.to_string().contains("no segment holds anything"), "{empty}");
    [(0, 4), (1, 5), (3, 3)].iter().for_each(|(number, generation)| mark(&path, *number, *generation));
    let (_, state) = open_dir_reader(&path).unwrap();
    assert_eq!((state.uuid, state.segments, state.segment_bytes), (uuid, 4, 4 << 20));
    let store = Store::open(&keep).unwrap();
    assert_eq!((store.state().uuid, store.geometry()), (uuid, shape));
    assert!(store.health().snapshot().warning.unwrap().contains("both state slots were damaged"));
    assert_eq!(generations(&store), [4, 5, 0, 3]);
    drop(store);
    let again = Store::open(&keep).unwrap();
    assert_eq!((again.state().uuid, again.health().snapshot().warning), (uuid, None), "it was written");
}

#[test]
fn segments_that_do_not_agree_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    drop(Store::create(&StoreOptions { uuid: Some([2; 16]), ..options(&path, 20 * MIB) }).unwrap());
    mark(&path, 0, 4);
    let mut bytes = vec![0; 512];
    let (segment_bytes, begun, chain_before) = (4 << 20, ClockAt::default(), [0; 32]);
    SegmentHeader { store: [3; 16], generation: 5, segment_bytes, epoch: 1, begun, chain_before }
        .encode(&mut bytes);
    let other = fs::OpenOptions::new().write(true).open(segment_path(&path, 2)).unwrap();
    other.write_all_at(&bytes, 0).unwrap();
    damage_state(&path);
    let error = Store::open(&StoreOptions::new(&path, StoreSize::Keep)).unwrap_err().to_string();
    assert!(error.contains("000002") && error.contains("another store"), "{error}");
    // A state file that is gone must not lead to a new store over the old packets.
    fs::remove_file(path.join(STATE_FILE)).unwrap();
    let error = Store::open_or_create(&options(&path, 20 * MIB)).unwrap_err().to_string();
    assert!(error.contains("hindcap.state is missing"), "{error}");
}

/// A file system of its own, full when `bytes` are taken; `None` where only root may have one.
struct Small(PathBuf);

impl Small {
    fn mount(at: &Path, bytes: u64) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let size = format!("size={bytes}");
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(at)
            .output()
            .is_ok_and(|output| output.status.success());
        mounted.then(|| Self(at.to_path_buf()))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_full_file_system_gives_a_smaller_ring_or_a_clear_error() {
    let dir = tempfile::tempdir().unwrap();
    // Around the size at which the third segment just fits and takes the last page.
    let three = store_bytes(4 << 20, 3);
    let tight = (4..40).map(|pages| (12 * MIB + pages * 4096, three, 2..=3));
    for (room, wanted, segments) in tight.chain([(18 * MIB, 64 * MIB, 4..=4), (6 * MIB, 64 * MIB, 0..=0)]) {
        let Some(small) = Small::mount(&dir.path().join("small"), room) else {
            println!("skipped: may not mount");
            return;
        };
        let path = small.0.join("store");
        let made = Store::create(&options(&path, wanted));
        if *segments.end() == 0 {
            let error = made.unwrap_err();
            assert!(matches!(error, StoreError::TooSmall { .. }), "{error}");
            assert!(error.to_string().contains("two segments need"), "{error}");
            continue;
        }
        let store = made.unwrap();
        let made = store.geometry().segments;
        assert!(segments.contains(&made), "{made} segments in {room} bytes");
        let warning = store.health().snapshot().warning;
        assert_eq!(warning.is_some(), made < segments_within(4 << 20, wanted), "{warning:?}");
        assert!(warning.is_none_or(|warning| warning.contains("smaller than asked for")));
        // It works to the last segment although not a page is left, and opens again.
        let mut recorder =
            store.recorder(crate::RecorderOptions::inline(), crate::Reading::default()).unwrap();
        for _ in 0..=made {
            recorder.rotate();
        }
        recorder.close(crate::Reading::default()).unwrap();
        let again = Store::open(&options(&path, wanted)).unwrap();
        // The catalog of the smaller ring may have left room for one more.
        assert!((made..=made + 1).contains(&again.geometry().segments));
        let recorder = again.recorder(crate::RecorderOptions::inline(), crate::Reading::default()).unwrap();
        recorder.close(crate::Reading::default()).unwrap();
        assert!(!path.join("segments/reserve").exists());
    }
}
