//! Looks at storage and link, and raises and clears their alarms.

use std::path::PathBuf;
use std::sync::Arc;

use hindcap_store::{HealthSnapshot, Trouble};
use hindcap_wire::counted::Counted;
use hindcap_wire::message::Severity;
use hindcap_wire::time::Timestamp;

use crate::alarms::{Alarms, code};
use crate::card_status::hex;
use crate::report::AgeReport;

/// How long the alarm of a swapped card stands.
const SWAPPED_STANDS_NANOS: u64 = 24 * 3_600 * 1_000_000_000;

const MEDIUM_CODES: [&str; 6] = [
    code::MEDIUM_MISSING,
    code::MEDIUM_FOREIGN,
    code::MEDIUM_READ_ONLY,
    code::MEDIUM_DENIED,
    code::MEDIUM_BUSY,
    code::MEDIUM_FAILING,
];

const fn medium_code(trouble: Trouble) -> &'static str {
    match trouble {
        Trouble::Missing => code::MEDIUM_MISSING,
        Trouble::Foreign => code::MEDIUM_FOREIGN,
        Trouble::ReadOnly => code::MEDIUM_READ_ONLY,
        Trouble::Denied => code::MEDIUM_DENIED,
        Trouble::Busy => code::MEDIUM_BUSY,
        Trouble::Failing => code::MEDIUM_FAILING,
    }
}

/// See the module; the main thread calls it.
#[derive(Debug)]
pub struct Watch {
    alarms: Arc<Alarms>,
    interface: String,
}

impl Watch {
    /// A watch over the recording of `interface`.
    #[must_use]
    pub const fn new(alarms: Arc<Alarms>, interface: String) -> Self {
        Self { alarms, interface }
    }

    /// Looks once.
    pub fn look(&self, health: &HealthSnapshot, link_up: bool, now: Timestamp) {
        self.medium(health, now);
        // One alarm for one trouble: the medium's says more.
        match health.failing.as_ref().filter(|_| health.medium.is_none()) {
            Some((since, message)) => {
                let text =
                    format!("{message}; {} lost since the start", Counted(health.packets_lost, "packet"));
                let advice = "capture goes on and the loss is counted; look at the medium";
                self.alarms.raise(code::STORAGE_FAILING, Severity::Critical, &text, advice, *since);
            }
            None => self.alarms.clear(code::STORAGE_FAILING, now),
        }
        if health.holds_lost {
            let text = "both copies of the store's state were damaged: its holds are lost, what was held is overwritten in its turn";
            let advice = "hold again what is still there ('hindcap hold'), or extract it";
            self.alarms.raise(code::HOLDS_LOST, Severity::Critical, text, advice, now);
        }
        match &health.emptying_fails {
            Some((since, why)) => {
                let advice = "older packets are not given out, but they are still on the medium: look at it, and replace it \
                              if this does not end by itself";
                self.alarms.raise(code::MAX_AGE, Severity::Critical, why, advice, *since);
            }
            None => self.alarms.clear(code::MAX_AGE, now),
        }
        if link_up {
            self.alarms.clear(code::LINK_DOWN, now);
        } else {
            let text = format!("{} has no link: nothing is captured", self.interface);
            let advice = "look at the cable and at the mirror port";
            self.alarms.raise(code::LINK_DOWN, Severity::Critical, &text, advice, now);
        }
    }

    /// What keeps the medium from being recorded to, and whether it is another than before.
    fn medium(&self, health: &HealthSnapshot, now: Timestamp) {
        let stands = health.medium.as_ref().map(|medium| medium_code(medium.trouble));
        for code in MEDIUM_CODES {
            if stands != Some(code) {
                self.alarms.clear(code, now);
            }
        }
        if let Some(medium) = &health.medium {
            // The numbers first: a long reason is cut.
            let text = format!(
                "{}; in memory: {}, lost: {}: {}",
                medium.trouble,
                Counted(health.packets_kept, "packet"),
                health.packets_lost,
                medium.detail
            );
            let (code, advice) = (medium_code(medium.trouble), medium.trouble.advice());
            self.alarms.raise(code, Severity::Critical, &text, advice, medium.since);
        }
        match &health.swapped {
            Some(swapped) if now.0.saturating_sub(swapped.at.0) < SWAPPED_STANDS_NANOS => {
                let text = format!(
                    "store {} is recorded to since {}, after {}",
                    hex(&swapped.now),
                    swapped.at,
                    hex(&swapped.before)
                );
                let advice =
                    "what was recorded before is on the card that was taken out: keep it if it matters";
                self.alarms.raise(code::CARD_SWAPPED, Severity::Warn, &text, advice, swapped.at);
            }
            _ => self.alarms.clear(code::CARD_SWAPPED, now),
        }
    }
}

/// Looks now and then at whether packets become as old as `policy.min_age` asks.
#[derive(Debug)]
pub struct AgeWatch {
    alarms: Arc<Alarms>,
    store: PathBuf,
    looked: u64,
}

/// How often the store is looked at for it.
const AGES_EVERY_NANOS: u64 = 300_000_000_000;

impl AgeWatch {
    /// A watch over the store at `store`.
    #[must_use]
    pub const fn new(alarms: Arc<Alarms>, store: PathBuf) -> Self {
        Self { alarms, store, looked: 0 }
    }

    /// Looks when it is time.
    pub fn look(&mut self, monotonic_nanos: u64, now: Timestamp) {
        if self.looked != 0 && monotonic_nanos.saturating_sub(self.looked) < AGES_EVERY_NANOS {
            return;
        }
        self.looked = monotonic_nanos;
        match crate::report::age_report(&self.store) {
            Ok(ages) => self.judge(&ages, now),
            Err(failure) => log::debug!("ages: {failure}"),
        }
    }

    fn judge(&self, ages: &AgeReport, now: Timestamp) {
        match ages.shortfall(now) {
            Some(reached_secs) => {
                let text = format!(
                    "packets become {} old before they are overwritten, less than the {} of policy.min_age",
                    days(reached_secs),
                    days(ages.min_age_secs)
                );
                let advice = "give the store more room (store.size), record less (policy, capture.filter), or release holds";
                self.alarms.raise(code::MIN_AGE, Severity::Warn, &text, advice, now);
            }
            None => self.alarms.clear(code::MIN_AGE, now),
        }
    }
}

fn days(secs: u64) -> String {
    if secs < 2 * 86_400 {
        format!("{}.{} h", secs / 3_600, secs % 3_600 / 360)
    } else {
        format!("{} d", secs / 86_400)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_young_is_an_alarm_and_a_store_that_has_not_turned_yet_is_none() {
        let alarms = Arc::<Alarms>::default();
        let watch = AgeWatch::new(Arc::clone(&alarms), PathBuf::new());
        let now = Timestamp::from_parts(1_800_000_000, 0);
        let oldest = Some(now.minus_nanos(7 * 3_600_000_000_000));
        let ages = AgeReport { min_age_secs: 86_400, oldest, full: true, forecast_secs: Some(9 * 3_600) };
        watch.judge(&AgeReport { full: false, forecast_secs: None, ..ages }, now);
        assert_eq!(alarms.standing(), []);
        watch.judge(&ages, now);
        assert_eq!(alarms.standing()[0].code, code::MIN_AGE);
        assert!(alarms.standing()[0].text.starts_with("packets become 7.0 h old"), "{:?}", alarms.standing());
        watch.judge(&AgeReport { full: false, ..ages }, now);
        assert!(alarms.standing()[0].text.starts_with("packets become 9.0 h old"), "by the forecast");
        watch.judge(&AgeReport { min_age_secs: 3_600, ..ages }, now);
        assert_eq!(alarms.standing(), []);
    }

    #[test]
    fn what_fails_stands_and_what_works_again_does_not() {
        let alarms = Arc::<Alarms>::default();
        let watch = Watch::new(Arc::clone(&alarms), "eth1".to_owned());
        let mut health = HealthSnapshot::default();
        watch.look(&health, true, Timestamp(1));
        assert_eq!(alarms.standing(), []);
        health.failing = Some((Timestamp(2), "EIO".to_owned()));
        watch.look(&health, false, Timestamp(3));
        let standing = alarms.standing();
        let codes: Vec<_> = standing.iter().map(|alarm| (alarm.code.as_str(), alarm.since.0)).collect();
        assert_eq!(codes, [(code::STORAGE_FAILING, 2), (code::LINK_DOWN, 3)]);
        health.failing = None;
        watch.look(&health, true, Timestamp(4));
        assert_eq!(alarms.standing(), []);
        health.emptying_fails = Some((Timestamp(5), "segment 3: EIO".to_owned()));
        watch.look(&health, true, Timestamp(6));
        let standing = alarms.standing();
        assert_eq!((standing[0].code.as_str(), standing[0].since), (code::MAX_AGE, Timestamp(5)));
        health.emptying_fails = None;
        watch.look(&health, true, Timestamp(7));
        assert_eq!(alarms.standing(), []);
    }

    #[test]
    fn a_medium_in_trouble_has_one_alarm_with_what_to_do() {
        let alarms = Arc::<Alarms>::default();
        let watch = Watch::new(Arc::clone(&alarms), "eth1".to_owned());
        let mut health =
            HealthSnapshot { failing: Some((Timestamp(2), "EIO".to_owned())), ..HealthSnapshot::default() };
        for (trouble, code, advice) in [
            (Trouble::Missing, code::MEDIUM_MISSING, "put the card in"),
            (Trouble::Foreign, code::MEDIUM_FOREIGN, "hindcapd format"),
            (Trouble::ReadOnly, code::MEDIUM_READ_ONLY, "end of life"),
            (Trouble::Denied, code::MEDIUM_DENIED, "chown"),
        ] {
            let detail = "because".to_owned();
            health.medium = Some(hindcap_store::MediumTrouble { trouble, since: Timestamp(2), detail });
            watch.look(&health, true, Timestamp(9));
            let standing = alarms.standing();
            assert_eq!(standing.len(), 1, "{standing:?}");
            assert_eq!((standing[0].code.as_str(), standing[0].since), (code, Timestamp(2)));
            assert!(
                standing[0].advice.contains(advice) && standing[0].text.contains("because"),
                "{standing:?}"
            );
        }
        (health.medium, health.failing) = (None, None);
        health.swapped = Some(hindcap_store::Swapped { at: Timestamp(5), before: [1; 16], now: [2; 16] });
        watch.look(&health, true, Timestamp(10));
        let codes: Vec<_> = alarms.standing().into_iter().map(|alarm| alarm.code).collect();
        assert_eq!(codes, [code::CARD_SWAPPED]);
        watch.look(&health, true, Timestamp(5 + SWAPPED_STANDS_NANOS));
        assert_eq!(alarms.standing(), []);
    }
}
