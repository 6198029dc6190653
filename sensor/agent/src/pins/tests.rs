use std::sync::atomic::AtomicBool;

use hindcap_store::events::EventsDoor;
use hindcap_store::events::pins::pins_path;
use hindcap_store::{
    EventShare, Reader, ReaderOptions, RecorderOptions, Store, StoreOptions, StoreSize, open_events_reader,
};
use hindcap_wire::packet::{Interface, LinkType, Packet};
use hindcap_wire::query::Query;
use hindcap_wire::time::Timestamp;

use super::*;
use crate::alarms::{Alarms, code};

fn opened(directory: &Path) -> Pins {
    let pins = Pins::new(directory);
    arrive(&pins, directory, 1);
    pins
}

fn arrive(pins: &Pins, directory: &Path, ring: u8) {
    let (file, bytes) = PinsFile::open(pins_path(directory)).unwrap();
    pins.arrive((file, &bytes), [ring; 16], 1_000_000);
}

/// A moment by a clock that is synchronised.
fn at(secs: u64) -> Reading {
    Reading { wall: Timestamp::from_parts(secs, 0), monotonic_nanos: 0, clock: ClockState::Synchronised }
}

fn asked(secs: u64) -> Pin {
    Pin { query: Query::default(), for_secs: Some(secs), ..Pin::default() }
}

#[test]
fn the_list_survives_and_one_name_has_one_effect() {
    let directory = tempfile::tempdir().unwrap();
    let pins = opened(directory.path());
    let now = at(1_000);
    let made = pins.pin(PinId::new(1), &asked(60), "case 17", now).unwrap();
    assert_eq!((made.expires, made.max_bytes), (Some(Timestamp::from_parts(1_060, 0)), 500_000));
    assert_eq!(pins.pin(PinId::new(1), &asked(99), "", now).unwrap(), made);
    pins.update(PinId::new(1), false, |pin| pin.state = PinState::Following);
    let again = opened(directory.path());
    assert_eq!(again.list(), pins.list(), "a change of state is durable");
    assert_eq!(again.active().len(), 1);
    assert_eq!(again.unpin(PinId::new(1)).unwrap().state, PinState::Released);
    assert!(again.unpin(PinId::new(2)).is_err() && again.active().is_empty());
    // The worker's last word comes too late.
    again.update(PinId::new(1), true, |pin| pin.state = PinState::Ended);
    assert_eq!(opened(directory.path()).list().pins[0].state, PinState::Released);
}

#[test]
fn the_list_is_bounded_and_forgets_what_is_over_first() {
    let directory = tempfile::tempdir().unwrap();
    let pins = opened(directory.path());
    let now = at(1_000);
    for number in 0..PINS_MAX as u64 {
        pins.pin(PinId::new(number), &asked(60), "", now).unwrap();
    }
    assert!(pins.pin(PinId::new(900), &asked(60), "", now).unwrap_err().contains("64 pins are at work"));
    pins.unpin(PinId::new(5)).unwrap();
    pins.pin(PinId::new(900), &asked(60), "", now).unwrap();
    let list = pins.list().pins;
    assert!(list.len() == PINS_MAX && list.iter().all(|pin| pin.id != PinId::new(5)));
    // What does not fit its place on the medium is refused and not remembered.
    let directory = tempfile::tempdir().unwrap();
    let pins = opened(directory.path());
    let long = "x".repeat(40_000);
    pins.pin(PinId::new(1), &asked(60), &long, now).unwrap();
    assert!(pins.pin(PinId::new(2), &asked(60), &long, now).is_err());
    assert_eq!(pins.list().pins.len(), 1);
}

#[test]
fn a_pin_made_before_the_clock_is_right_is_dated_when_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let pins = opened(directory.path());
    let unset = Reading { clock: ClockState::NotSynchronised, ..at(5) };
    assert_eq!(pins.pin(PinId::new(1), &asked(60), "", unset).unwrap().expires, None);
    pins.date(Reading { clock: ClockState::Unknown, ..at(7) });
    pins.date(Reading { clock: ClockState::NotSynchronised, ..at(2_000_000_000) });
    assert_eq!(pins.list().pins[0].expires, None, "whatever a clock says that nobody vouches for");
    pins.date(at(1_800_000_000));
    let expires = Some(Timestamp::from_parts(1_800_000_060, 0));
    assert_eq!(opened(directory.path()).list().pins[0].expires, expires, "durable");
    pins.date(at(1_900_000_000));
    assert_eq!(pins.list().pins[0].expires, expires, "once");
}

#[test]
fn a_list_waits_for_its_medium_and_another_medium_has_another() {
    let directory = tempfile::tempdir().unwrap();
    let pins = opened(directory.path());
    pins.pin(PinId::new(1), &asked(60), "", at(1_000)).unwrap();
    pins.leave(String::from("pulled"));
    assert!(pins.pin(PinId::new(2), &asked(60), "", at(1_001)).unwrap_err().contains("pulled"));
    pins.update(PinId::new(1), true, |pin| pin.packets = 7);
    arrive(&pins, directory.path(), 1);
    assert_eq!(opened(directory.path()).list().pins[0].packets, 7, "what changed meanwhile is durable now");
    let other = tempfile::tempdir().unwrap();
    pins.leave(String::from("pulled"));
    arrive(&pins, other.path(), 2);
    assert_eq!(pins.list().pins, []);
    pins.pin(PinId::new(3), &asked(60), "", at(1_002)).unwrap();
    pins.leave(String::from("pulled"));
    arrive(&pins, directory.path(), 1);
    assert_eq!(pins.list().pins[0].id, PinId::new(1), "each medium has its own");
    pins.arrive_without();
    assert!(pins.pin(PinId::new(4), &asked(60), "", at(1_003)).unwrap_err().contains("no event ring"));
}

/// The store `directory` with an event ring that holds `packets` packets, which are `age_secs` old.
pub(super) fn with_copies(directory: &Path, packets: u32, age_secs: u64) -> EventsDoor {
    let options = StoreOptions {
        segment_bytes: 4 << 20,
        event_share: EventShare::Percent(50),
        ..StoreOptions::new(directory, StoreSize::Bytes(64 << 20))
    };
    let door = Store::create_any(&options).unwrap().events_door();
    let events = door.open().unwrap().unwrap();
    let mut recorder = events.recorder(RecorderOptions::inline(), reading()).unwrap();
    let ethernet = Interface { link_type: LinkType::ETHERNET, snaplen: 0, name: "eth1".into() };
    let interface = recorder.interface(&ethernet).unwrap();
    let timestamp = wall().minus_nanos(age_secs * NANOS_PER_SEC);
    for _ in 0..packets {
        recorder.push(&Packet { timestamp, interface, orig_len: 600, bytes: &[7; 600] });
    }
    recorder.close(reading()).unwrap();
    door
}

/// Copies into that store, which are kept for an hour.
pub(super) fn an_hour(store: &Path, door: EventsDoor) -> Work {
    Work {
        store: store.to_owned(),
        door,
        flush_interval: Duration::ZERO,
        hash_chain: false,
        health: None,
        max_age_secs: Some(3_600),
    }
}

#[test]
fn copies_that_have_passed_their_age_are_hidden_and_then_removed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let door = with_copies(&path, 10_000, 7_200);
    let captured = wall().minus_nanos(7_000 * NANOS_PER_SEC);
    let served = || {
        let reader = crate::query::open(&path).unwrap();
        reader.segments().iter().filter(|segment| reader.not_before(segment) <= captured).count()
    };
    let stored = || {
        let (volume, _) = open_events_reader(&path).unwrap().unwrap();
        Reader::open(volume, ReaderOptions::default()).unwrap().segments().len()
    };
    assert_eq!((served(), stored()), (2, 2), "no limit");
    let work = an_hour(&path, door);
    let pins = Pins::new(&path);
    let events = work.open(&pins).unwrap().unwrap();
    let mut copier = work.copier(events).unwrap();
    let mut reader = crate::query::open(&path).unwrap();
    let mut passes = |trusted| {
        for _ in 0..8 {
            let now = Now { reading: reading(), trusted, imports: false };
            pass(&pins, &mut copier, &mut reader, now, &AtomicBool::new(false)).unwrap();
        }
    };
    passes(false);
    assert_eq!((served(), stored()), (0, 2), "a clock that nobody vouches for hides, which can be undone");
    passes(true);
    assert_eq!((served(), stored()), (0, 0), "the open segment and the sealed one");
}

/// The first segment of the event ring goes to a device that takes nothing; the open one behind it can be emptied.
#[test]
fn copies_that_cannot_be_removed_are_an_alarm_until_they_are_recorded_over() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let door = with_copies(&path, 10_000, 7_200);
    let work = an_hour(&path, door);
    let pins = Arc::new(Pins::new(&path));
    let alarms = Arc::<Alarms>::default();
    let mut watch = PinsWatch::new(Arc::clone(&alarms), Some(Arc::clone(&pins)));
    let mut secs = 1_000;
    let mut standing = || {
        secs += 10;
        watch.look(at(secs).monotonic_nanos + secs * NANOS_PER_SEC, at(secs).wall, true);
        alarms.standing()
    };
    let passes = |copier: &mut Copier| {
        let mut reader = crate::query::open(&path).unwrap();
        for _ in 0..8 {
            let now = Now { reading: reading(), trusted: true, imports: false };
            pass(&pins, copier, &mut reader, now, &AtomicBool::new(false)).unwrap();
        }
    };
    let segment = path.join("events/segments/000000.pcapng");
    let away = directory.path().join("away");
    let mut copier = work.copier(work.open(&pins).unwrap().unwrap()).unwrap();
    std::fs::rename(&segment, &away).unwrap();
    std::os::unix::fs::symlink("/dev/full", &segment).unwrap();
    assert_eq!(standing(), []);
    passes(&mut copier);
    let alarm = standing().pop().unwrap();
    assert_eq!(alarm.code, code::EVENT_MAX_AGE);
    assert!(alarm.text.starts_with("event ring: segment 0 has passed the maximum age"), "{alarm:?}");
    assert!(alarm.advice.contains("hindcapd verify"), "{alarm:?}");
    passes(&mut copier);
    assert_eq!(standing().len(), 1, "that the other could be emptied ends nothing");
    // The device is well again, and whoever opens the event ring next finishes.
    std::fs::remove_file(&segment).unwrap();
    std::fs::rename(&away, &segment).unwrap();
    copier.close().unwrap();
    let mut copier = work.copier(work.open(&pins).unwrap().unwrap()).unwrap();
    passes(&mut copier);
    assert_eq!(standing(), []);
    let (volume, _) = open_events_reader(&path).unwrap().unwrap();
    let reader = Reader::open(volume, ReaderOptions::default()).unwrap();
    let packets: u64 = reader.segments().iter().map(|segment| segment.packets).sum();
    assert_eq!(packets, 0, "{:?}", reader.segments());
}

#[test]
fn what_would_not_be_given_out_is_not_copied() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let door = with_copies(&path, 1, 10);
    // The general ring has two hours of a session, a packet a minute.
    let store = Store::open_any(&StoreOptions::new(&path, StoreSize::Keep)).unwrap();
    let mut recorder = store.recorder(RecorderOptions::inline(), reading()).unwrap();
    let raw = Interface { link_type: LinkType::RAW, snaplen: 0, name: "eth1".into() };
    let (interface, now) = (recorder.interface(&raw).unwrap(), wall());
    let mut packet = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2];
    packet.extend([0x12, 0x34, 0, 53, 0, 8, 0, 0]);
    for minute in (1..=120).rev() {
        let timestamp = now.minus_nanos(minute * 60 * NANOS_PER_SEC + NANOS_PER_SEC);
        recorder.push(&Packet { timestamp, interface, orig_len: 28, bytes: &packet });
    }
    recorder.close(reading()).unwrap();
    let work = an_hour(&path, door);
    let pins = Pins::new(&path);
    let events = work.open(&pins).unwrap().unwrap();
    let made = pins.pin(PinId::new(1), &asked(60), "", reading()).unwrap();
    let mut copier = work.copier(events).unwrap();
    let mut reader = crate::query::open(&path).unwrap();
    let now = Now { reading: Reading { wall: now, ..reading() }, trusted: true, imports: false };
    pass(&pins, &mut copier, &mut reader, now, &AtomicBool::new(false)).unwrap();
    let done = pins.list().pins[0].clone();
    assert_eq!((done.id, done.packets), (made.id, 59), "{done:?}");
}
