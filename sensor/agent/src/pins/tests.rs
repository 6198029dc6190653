use hindcap_store::events::pins::pins_path;
use hindcap_wire::query::Query;
use hindcap_wire::time::Timestamp;

use super::*;

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
