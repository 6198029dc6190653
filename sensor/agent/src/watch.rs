//! Looks at storage and link, and raises and clears their alarms.

use std::sync::Arc;

use hindcap_store::HealthSnapshot;
use hindcap_wire::message::Severity;
use hindcap_wire::time::Timestamp;

use crate::alarms::{Alarms, code};

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
        match &health.failing {
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
}
