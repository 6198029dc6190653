//! The alarms of the event ring: what a person should know about pinned sessions before they are gone.

use std::sync::Arc;

use hindcap_wire::message::{PinInfo, PinState, Severity};
use hindcap_wire::time::Timestamp;

use super::Pins;
use crate::alarms::{Alarms, code};

/// How often the list is looked at.
const LOOK_EVERY_NANOS: u64 = 5_000_000_000;
/// How long the event ring may be away before it is an alarm: a card that comes back is seen by its recorder first.
const AWAY_NANOS: u64 = 60_000_000_000;
/// Pins that an alarm names.
const NAMED_MAX: usize = 4;

/// See the module; the main thread calls it.
#[derive(Debug)]
pub struct PinsWatch {
    alarms: Arc<Alarms>,
    pins: Option<Arc<Pins>>,
    looked: u64,
    away_since: Option<(u64, Timestamp)>,
}

impl PinsWatch {
    /// A watch over `pins`, if there are any.
    #[must_use]
    pub const fn new(alarms: Arc<Alarms>, pins: Option<Arc<Pins>>) -> Self {
        Self { alarms, pins, looked: 0, away_since: None }
    }

    /// Looks when it is time. `medium_works`: the store itself has no trouble, of which there is an alarm already.
    pub fn look(&mut self, monotonic_nanos: u64, now: Timestamp, medium_works: bool) {
        let Some(pins) = &self.pins else { return };
        if self.looked != 0 && monotonic_nanos.saturating_sub(self.looked) < LOOK_EVERY_NANOS {
            return;
        }
        self.looked = monotonic_nanos;
        self.judge(&pins.list().pins, now);
        match pins.emptying_fails().filter(|_| pins.trouble().is_none()) {
            Some((since, why)) => {
                let text = format!("event ring: {why}");
                let advice = "copies that are too old are not given out, but they are still on the medium: look at it with \
                              'hindcapd verify', extract what is needed, and replace it if this does not end by itself";
                self.alarms.raise(code::EVENT_MAX_AGE, Severity::Critical, &text, advice, since);
            }
            None => self.alarms.clear(code::EVENT_MAX_AGE, now),
        }
        match pins.trouble().filter(|_| medium_works) {
            None => {
                self.away_since = None;
                self.alarms.clear(code::EVENT_RING_AWAY, now);
            }
            Some(why) => {
                let (from, since) = *self.away_since.get_or_insert((monotonic_nanos, now));
                if monotonic_nanos.saturating_sub(from) >= AWAY_NANOS {
                    let text =
                        format!("the event ring cannot be used, pinned sessions are not copied: {why}");
                    let advice = "look at it with 'hindcapd verify'; what is in the general ring can be held or extracted";
                    self.alarms.raise(code::EVENT_RING_AWAY, Severity::Critical, &text, advice, since);
                }
            }
        }
    }

    fn judge(&self, pins: &[PinInfo], now: Timestamp) {
        // What nobody asks for any more may go.
        let asked = |pin: &&PinInfo| {
            pin.state != PinState::Released && pin.expires.is_none_or(|expires| now < expires)
        };
        let overwritten: Vec<_> = pins.iter().filter(asked).filter(|pin| pin.overwritten).collect();
        let text = format!("the event ring has come round and overwrites copies of {}", names(&overwritten));
        let advice = "extract what is needed, end pins that nobody needs (unpin), or give the event ring a larger share";
        self.set(code::PINS_OVERWRITTEN, (!overwritten.is_empty()).then_some(text), advice, now);
        let full: Vec<_> = pins.iter().filter(asked).filter(|pin| pin.state == PinState::Full).collect();
        let text = format!("it may copy no more, and what comes is not in the event ring: {}", names(&full));
        let advice = "pin again with a narrower query or a larger --max-bytes, or hold the segments";
        self.set(code::PINS_FULL, (!full.is_empty()).then_some(text), advice, now);
    }

    fn set(&self, code: &'static str, text: Option<String>, advice: &str, now: Timestamp) {
        match text {
            Some(text) => self.alarms.raise(code, Severity::Warn, &text, advice, now),
            None => self.alarms.clear(code, now),
        }
    }
}

fn names(pins: &[&PinInfo]) -> String {
    let mut names: Vec<String> = pins.iter().take(NAMED_MAX).map(|pin| format!("pin {}", pin.id)).collect();
    if pins.len() > NAMED_MAX {
        names.push(format!("{} more", pins.len() - NAMED_MAX));
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use hindcap_store::Reading;
    use hindcap_store::events::pins::{PinsFile, pins_path};
    use hindcap_wire::message::{Pin, PinId};
    use hindcap_wire::time::ClockState;

    use super::*;

    fn at(secs: u64) -> Reading {
        Reading {
            wall: Timestamp::from_parts(secs, 0),
            monotonic_nanos: secs * 1_000_000_000,
            clock: ClockState::Synchronised,
        }
    }

    fn codes(alarms: &Alarms) -> Vec<String> {
        alarms.standing().into_iter().map(|alarm| alarm.code).collect()
    }

    #[test]
    fn what_threatens_a_case_is_an_alarm_while_anybody_asks_for_it() {
        let directory = tempfile::tempdir().unwrap();
        let pins = Arc::new(Pins::new(Path::new("/store")));
        let (file, bytes) = PinsFile::open(pins_path(directory.path())).unwrap();
        pins.arrive((file, &bytes), [1; 16], 1_000_000);
        let alarms = Arc::<Alarms>::default();
        let mut watch = PinsWatch::new(Arc::clone(&alarms), Some(Arc::clone(&pins)));
        let mut look = |secs: u64, works| watch.look(at(secs).monotonic_nanos, at(secs).wall, works);
        let asked = Pin { for_secs: Some(600), ..Pin::default() };
        for number in 1..=2 {
            pins.pin(PinId::new(number), &asked, "", at(1_000)).unwrap();
        }
        look(1_000, true);
        assert_eq!(codes(&alarms), [""; 0]);
        pins.update(PinId::new(1), false, |pin| pin.state = PinState::Full);
        pins.update(PinId::new(2), false, |pin| pin.first_generation = 3);
        pins.overwritten(4);
        look(1_004, true);
        assert_eq!(codes(&alarms), [""; 0], "not looked again so soon");
        look(1_010, true);
        assert_eq!(codes(&alarms), [code::PINS_OVERWRITTEN, code::PINS_FULL]);
        let text = alarms.standing()[0].text.clone();
        assert!(text.ends_with("copies of pin 00000002"), "{text}");
        pins.unpin(PinId::new(2)).unwrap();
        look(1_020, true);
        assert_eq!(codes(&alarms), [code::PINS_FULL], "nobody asks for the other any more");
        look(1_700, true);
        assert_eq!(codes(&alarms), [""; 0], "its time is over");
        // An event ring that is away for long, while the store is not.
        pins.leave(String::from("damaged"));
        look(1_800, false);
        look(1_900, true);
        assert_eq!(codes(&alarms), [""; 0]);
        look(1_970, true);
        assert_eq!(codes(&alarms), [code::EVENT_RING_AWAY]);
        assert!(alarms.standing()[0].text.ends_with("damaged"));
        let (file, bytes) = PinsFile::open(pins_path(directory.path())).unwrap();
        pins.arrive((file, &bytes), [1; 16], 1_000_000);
        look(1_980, true);
        assert_eq!(codes(&alarms), [""; 0]);
    }
}
