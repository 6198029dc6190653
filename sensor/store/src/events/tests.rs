use super::*;
use crate::volume::VolumeRead;

const MIB: u64 = 1 << 20;

fn options(path: &Path, mib: u64, event_share: EventShare) -> StoreOptions {
    StoreOptions {
        segment_bytes: 4 << 20,
        event_share,
        ..StoreOptions::new(path, StoreSize::Bytes(mib << 20))
    }
}

/// Apparent bytes of everything below `path`.
fn bytes_below(path: &Path) -> u64 {
    let own = fs::metadata(path).unwrap();
    if own.is_dir() {
        fs::read_dir(path).unwrap().map(|entry| bytes_below(&entry.unwrap().path())).sum()
    } else {
        own.len()
    }
}

fn shapes(path: &Path) -> (u32, Option<u32>) {
    let general = crate::open_reader(path).unwrap().0.geometry().segments;
    (general, open_events_reader(path).unwrap().map(|(reader, _)| reader.geometry().segments))
}

#[test]
fn the_event_ring_counts_against_the_size_of_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    drop(Store::create(&options(&path, 100, EventShare::Percent(20))).unwrap());
    let (general, events) = shapes(&path);
    assert_eq!(events, Some(4), "20 MiB");
    assert!(general >= 19, "{general}");
    assert!(bytes_below(&path) <= 100 * MIB, "{}", bytes_below(&path));
    // The same options change nothing, and a size that stays keeps both.
    drop(Store::open(&options(&path, 100, EventShare::Percent(20))).unwrap());
    drop(Store::open(&options(&path, 100, EventShare::Keep)).unwrap());
    drop(Store::open(&StoreOptions::new(&path, StoreSize::Keep)).unwrap());
    assert_eq!(shapes(&path), (general, events));
}

#[test]
fn it_grows_shrinks_and_goes_as_its_share_says() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    drop(Store::create(&options(&path, 100, EventShare::Percent(0))).unwrap());
    assert_eq!(shapes(&path), (24, None));
    for (share, events) in [(30, Some(7)), (10, Some(2)), (20, Some(4)), (0, None)] {
        drop(Store::open(&options(&path, 100, EventShare::Percent(share))).unwrap());
        let (general, there) = shapes(&path);
        assert_eq!(there, events, "{share} %");
        assert!(bytes_below(&path) <= 100 * MIB, "{share} %: {}", bytes_below(&path));
        assert!((general + events.unwrap_or(0)) >= 23, "{share} %: {general}");
    }
}

#[test]
fn its_share_may_be_a_size_and_is_half_of_the_store_at_most() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    for (mib, events) in
        [(12, Some(2)), (30, Some(7)), (0, None), (49, Some(12)), (20, Some(4)), (1_000, Some(12))]
    {
        let opened = options(&path, 100, EventShare::Bytes(mib * MIB));
        let store = if path.exists() { Store::open(&opened) } else { Store::create(&opened) }.unwrap();
        let warning = store.health().snapshot().warning;
        drop(store);
        assert_eq!(shapes(&path).1, events, "{mib} MiB");
        assert!(bytes_below(&path) <= 100 * MIB, "{mib} MiB: {}", bytes_below(&path));
        let too_much = warning.is_some_and(|warning| warning.contains("1000 MiB of 100 MiB are too much"));
        assert_eq!(too_much, mib == 1_000);
    }
}

#[test]
fn an_event_ring_with_something_in_it_does_not_go_unasked() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let store = Store::create_any(&options(&path, 100, EventShare::Percent(20))).unwrap();
    let shrunk = |mib, share| Store::open(&options(&path, mib, share)).map(drop);
    let events = store.open_events().unwrap().unwrap();
    drop(store);
    let mut recorder = events.recorder(crate::RecorderOptions::inline(), crate::Reading::default()).unwrap();
    let tap = hindcap_wire::packet::Interface {
        link_type: hindcap_wire::packet::LinkType::ETHERNET,
        snaplen: 0,
        name: "tap".into(),
    };
    let interface = recorder.interface(&tap).unwrap();
    let timestamp = hindcap_wire::time::Timestamp(7);
    let packet = hindcap_wire::packet::Packet { timestamp, interface, orig_len: 60, bytes: &[2; 60] };
    recorder.push(&packet);
    recorder.close(crate::Reading::default()).unwrap();
    let before = shapes(&path);
    for share in [EventShare::Percent(20), EventShare::Keep] {
        let error = shrunk(16, share).unwrap_err().to_string();
        assert!(
            error.contains("1 segment of pinned sessions") && error.contains("--event-share 0%"),
            "{error}"
        );
        assert_eq!(shapes(&path), before, "nothing was changed");
    }
    shrunk(60, EventShare::Percent(20)).unwrap();
    assert_eq!(shapes(&path).1, Some(2), "there is room");
    shrunk(16, EventShare::Percent(0)).unwrap();
    assert_eq!(shapes(&path).1, None, "asked for");
    // An empty one is nobody's loss.
    shrunk(100, EventShare::Percent(20)).unwrap();
    shrunk(16, EventShare::Percent(20)).unwrap();
    assert_eq!(shapes(&path).1, None);
}

#[test]
fn a_store_too_small_for_one_records_without() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    drop(Store::create(&options(&path, 40, EventShare::Percent(10))).unwrap());
    assert_eq!(shapes(&path), (9, None));
    let store = Store::open_any(&StoreOptions::new(&path, StoreSize::Keep)).unwrap();
    assert!(store.open_events().unwrap().is_none());
}

#[test]
fn it_is_a_store_of_its_own_with_one_writer() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let general = Store::create_any(&options(&path, 100, EventShare::Percent(20))).unwrap();
    let events = general.open_events().unwrap().unwrap();
    assert_ne!(events.state().uuid, general.state().uuid);
    assert!(matches!(general.open_events(), Err(StoreError::InUse { .. })));
    drop(events);
    // A damaged event ring keeps nobody from recording.
    fs::write(path.join(EVENTS_DIR).join(STATE_FILE), b"").unwrap();
    drop(general);
    fs::remove_file(path.join(EVENTS_DIR).join("segments/000001.pcapng")).unwrap();
    let general = Store::open(&options(&path, 100, EventShare::Percent(20))).unwrap();
    assert!(general.health().snapshot().warning.unwrap().contains("no event ring"));
}

#[test]
fn segments_of_an_event_ring_are_small() {
    for (quota, general, mib) in [(10 << 30, 64, 16), (100 << 20, 64, 8), (30 << 20, 64, 4), (1 << 30, 4, 4)]
    {
        assert_eq!(event_segment_bytes(quota, general << 20), mib << 20, "{quota}");
    }
}
