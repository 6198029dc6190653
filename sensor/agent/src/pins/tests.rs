use hindcap_store::events::pins::pins_path;
use hindcap_wire::query::Query;

use super::*;

fn opened(directory: &Path) -> Pins {
    let (file, bytes) = PinsFile::open(pins_path(directory)).unwrap();
    Pins::new(file, &bytes, 1_000_000)
}

fn asked(secs: u64) -> Pin {
    Pin { query: Query::default(), for_secs: Some(secs), ..Pin::default() }
}

#[test]
fn the_list_survives_and_one_name_has_one_effect() {
    let directory = tempfile::tempdir().unwrap();
    let pins = opened(directory.path());
    let now = Timestamp::from_parts(1_000, 0);
    let made = pins.pin(PinId::new(1), &asked(60), "case 17", now).unwrap();
    assert_eq!((made.expires, made.max_bytes), (Timestamp::from_parts(1_060, 0), 500_000));
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
    let now = Timestamp::from_parts(1_000, 0);
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
