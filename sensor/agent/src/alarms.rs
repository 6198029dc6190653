//! What a person should look at: one list for the whole sensor.
//!
//! Whoever notices something raises an alarm by its code and clears it when it is over. The list is in the status, and
//! every change becomes an event at the broker (`up/event`). Bounded: codes are constants of the program, the changes
//! that wait for a broker are the newest [`CHANGES_MAX`]. Nothing here is called by the capture or writer thread.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use hindcap_wire::message::alarm::ALARM_TEXT_MAX;
use hindcap_wire::message::{Alarm, EventBody, Severity};
use hindcap_wire::time::Timestamp;

/// Alarms that stand at once; there are fewer codes.
const ALARMS_MAX: usize = 32;
/// Changes that wait while there is no broker; the oldest go first, the status tells what stands.
const CHANGES_MAX: usize = 64;

/// Every code, in one place so that no two mean the same.
pub mod code {
    /// Writing to the store fails: packets are lost.
    pub const STORAGE_FAILING: &str = "storage_failing";
    /// The store's medium is not there: pulled, not put in, not mounted.
    pub const MEDIUM_MISSING: &str = "medium_missing";
    /// What is in its place is no store.
    pub const MEDIUM_FOREIGN: &str = "medium_foreign";
    /// It can be read but not written.
    pub const MEDIUM_READ_ONLY: &str = "medium_read_only";
    /// The sensor may not open it.
    pub const MEDIUM_DENIED: &str = "medium_denied";
    /// Somebody else holds it.
    pub const MEDIUM_BUSY: &str = "medium_busy";
    /// It answers with errors.
    pub const MEDIUM_FAILING: &str = "medium_failing";
    /// Another card is in use than before.
    pub const CARD_SWAPPED: &str = "card_swapped";
    /// The tap port has no link.
    pub const LINK_DOWN: &str = "link_down";
    /// The medium's life is nearly used.
    pub const WEAR: &str = "wear";
    /// Writes take several times as long as a week ago.
    pub const MEDIUM_SLOWER: &str = "medium_slower";
    /// The medium runs out of spare blocks.
    pub const MEDIUM_SPARE: &str = "medium_spare";
    /// The medium says that it is failing, read-only or too hot.
    pub const MEDIUM_HEALTH: &str = "medium_health";
    /// Writes or flushes have failed lately.
    pub const WRITE_ERROR: &str = "write_error";
    /// Both copies of the state were damaged: nothing is held any more.
    pub const HOLDS_LOST: &str = "holds_lost";
    /// What has passed the maximum age cannot be removed.
    pub const MAX_AGE: &str = "max_age";
    /// Copies in the event ring that have passed their maximum age cannot be removed.
    pub const EVENT_MAX_AGE: &str = "event_max_age";
    /// The event ring overwrites copies for pins whose time is not over.
    pub const PINS_OVERWRITTEN: &str = "pins_overwritten";
    /// A pin has copied as much as it may.
    pub const PINS_FULL: &str = "pins_full";
    /// The event ring cannot be used, although the store can.
    pub const EVENT_RING_AWAY: &str = "event_ring_away";
    /// Packets are overwritten before they reach the age asked for.
    pub const MIN_AGE: &str = "min_age";
    /// The sensor's own certificate ends soon or has ended.
    pub const CERTIFICATE_ENDS: &str = "certificate_ends";
    /// That of the authority does.
    pub const CA_ENDS: &str = "ca_ends";
    /// That of the broker does.
    pub const BROKER_CERTIFICATE_ENDS: &str = "broker_certificate_ends";
}

#[derive(Debug, Default)]
struct Inner {
    standing: Vec<Alarm>,
    changes: VecDeque<(Timestamp, EventBody)>,
}

/// See the module. Any thread but those that record.
#[derive(Debug, Default)]
pub struct Alarms(Mutex<Inner>);

impl Alarms {
    /// Raises an alarm, or renews what it says. Its time stays that of the first call; a change of severity is an event,
    /// new words are not.
    pub fn raise(&self, code: &'static str, severity: Severity, text: &str, advice: &str, now: Timestamp) {
        let mut inner = self.lock();
        let (text, advice) = (short(text), short(advice));
        let full = inner.standing.len() >= ALARMS_MAX;
        let known = inner.standing.iter_mut().find(|alarm| alarm.code == code);
        let (alarm, changed) = match known {
            Some(alarm) => {
                let changed = alarm.severity != severity;
                (alarm.severity, alarm.text, alarm.advice) = (severity, text, advice);
                (alarm.clone(), changed)
            }
            None if full => return,
            None => {
                let alarm = Alarm { code: code.to_owned(), severity, text, advice, since: now };
                inner.standing.push(alarm.clone());
                (alarm, true)
            }
        };
        inner.standing.sort_by(|a, b| b.severity.cmp(&a.severity).then(a.since.cmp(&b.since)));
        if changed {
            match severity {
                Severity::Warn => log::warn!("{}: {}; {}", alarm.code, alarm.text, alarm.advice),
                Severity::Critical => log::error!("{}: {}; {}", alarm.code, alarm.text, alarm.advice),
            }
            inner.change(now, EventBody::AlarmRaised(alarm));
        }
    }

    /// The alarm is over; nothing happens when it did not stand.
    pub fn clear(&self, code: &'static str, now: Timestamp) {
        let mut inner = self.lock();
        let Some(at) = inner.standing.iter().position(|alarm| alarm.code == code) else { return };
        let alarm = inner.standing.remove(at);
        log::info!("{}: over", alarm.code);
        inner.change(now, EventBody::AlarmCleared(alarm));
    }

    /// What stands, the worst first, then the oldest.
    #[must_use]
    pub fn standing(&self) -> Vec<Alarm> {
        self.lock().standing.clone()
    }

    /// The oldest change that nobody has taken.
    #[must_use]
    pub fn next_change(&self) -> Option<(Timestamp, EventBody)> {
        self.lock().changes.pop_front()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn change(&mut self, now: Timestamp, body: EventBody) {
        if self.changes.len() >= CHANGES_MAX {
            self.changes.pop_front();
        }
        self.changes.push_back((now, body));
    }
}

fn short(text: &str) -> String {
    text.chars().take(ALARM_TEXT_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(alarms: &Alarms) -> Vec<String> {
        alarms.standing().into_iter().map(|alarm| alarm.code).collect()
    }

    #[test]
    fn alarms_stand_until_cleared_and_changes_are_told_once() {
        let alarms = Alarms::default();
        alarms.raise("a", Severity::Warn, "first", "", Timestamp(1));
        alarms.raise("b", Severity::Critical, "b", "", Timestamp(2));
        alarms.raise("a", Severity::Warn, "again", "", Timestamp(3));
        assert_eq!(codes(&alarms), ["b", "a"], "the worst first");
        let a = alarms.standing()[1].clone();
        assert_eq!((a.text.as_str(), a.since), ("again", Timestamp(1)));
        alarms.raise("a", Severity::Critical, "worse", "", Timestamp(4));
        assert_eq!(codes(&alarms), ["a", "b"], "the older first");
        alarms.clear("b", Timestamp(5));
        alarms.clear("b", Timestamp(6));
        let told: Vec<_> = std::iter::from_fn(|| alarms.next_change())
            .map(|(at, body)| match body {
                EventBody::AlarmRaised(alarm) => (at.0, alarm.code, alarm.severity, true),
                EventBody::AlarmCleared(alarm) => (at.0, alarm.code, alarm.severity, false),
            })
            .collect();
        let (warn, critical) = (Severity::Warn, Severity::Critical);
        let wanted = [
            (1, "a", warn, true),
            (2, "b", critical, true),
            (4, "a", critical, true),
            (5, "b", critical, false),
        ];
        assert_eq!(told, wanted.map(|(at, code, severity, raised)| (at, code.to_owned(), severity, raised)));
    }

    #[test]
    fn nothing_grows_without_bound() {
        let alarms = Alarms::default();
        for round in 0..1_000 {
            alarms.raise("a", Severity::Warn, &"x".repeat(10_000), "", Timestamp(round));
            alarms.clear("a", Timestamp(round));
        }
        let told: Vec<_> = std::iter::from_fn(|| alarms.next_change()).collect();
        assert_eq!(told.len(), CHANGES_MAX);
        assert_eq!(told.last().unwrap().0, Timestamp(999), "the newest stay");
        let EventBody::AlarmCleared(alarm) = &told[CHANGES_MAX - 1].1 else { panic!("cleared last") };
        assert_eq!(alarm.text.len(), ALARM_TEXT_MAX);
    }
}
