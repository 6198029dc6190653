//! Looks at storage and link, and raises and clears their alarms.

use std::sync::Arc;

use hindcap_store::{HealthSnapshot, Trouble};
use hindcap_wire::message::Severity;
use hindcap_wire::time::Timestamp;

use crate::alarms::{Alarms, code};

/// How long the alarm of a swapped card stands.
const SWAPPED_STANDS_NANOS: u64 = 24 * 3_600 * 1_000_000_000;

const MEDIUM_CODES: [&str; 5] = [
    code::MEDIUM_MISSING,
    code::MEDIUM_FOREIGN,
    code::MEDIUM_READ_ONLY,
    code::MEDIUM_BUSY,
    code::MEDIUM_FAILING,
];

const fn medium_code(trouble: Trouble) -> &'static str {
    match trouble {
        Trouble::Missing => code::MEDIUM_MISSING,
        Trouble::Foreign => code::MEDIUM_FOREIGN,
        Trouble::ReadOnly => code::MEDIUM_READ_ONLY,
        Trouble::Busy => code::MEDIUM_BUSY,
        Trouble::Failing => code::MEDIUM_FAILING,
    }
}

fn hex(uuid: &[u8; 16]) -> String {
    uuid.iter().map(|byte| format!("{byte:02x}")).collect()
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
                let text = format!("{message}; {} packets lost since the start", health.packets_lost);
                let advice = "capture goes on and the loss is counted; look at the medium";
                self.alarms.raise(code::STORAGE_FAILING, Severity::Critical, &text, advice, *since);
            }
            None => self.alarms.clear(code::STORAGE_FAILING, now),
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
                "{}; {} packets wait in memory, {} are lost: {}",
                medium.trouble, health.packets_kept, health.packets_lost, medium.detail
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

#[cfg(test)]
mod tests {
    use super::*;

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
