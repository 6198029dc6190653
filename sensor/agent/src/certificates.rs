//! Looks at when certificates end, and raises and clears their alarms: a box whose certificate has ended is gone.
//!
//! While nobody vouches for the clock nothing is judged, and what stands goes on standing.

use std::sync::Arc;

use hindcap_uplink::{Ending, Tls, Whose};
use hindcap_wire::message::Severity;
use hindcap_wire::time::Timestamp;

use crate::alarms::{Alarms, code};

/// How often they are looked at.
const LOOK_EVERY_NANOS: u64 = 1_000_000_000;

/// See the module; the main thread calls it.
#[derive(Debug)]
pub struct CertificateWatch {
    alarms: Arc<Alarms>,
    /// `None`: there is no broker with TLS.
    tls: Option<Tls>,
    looked: Option<u64>,
}

impl CertificateWatch {
    /// A watch over the certificates that `tls` uses and sees.
    #[must_use]
    pub const fn new(alarms: Arc<Alarms>, tls: Option<Tls>) -> Self {
        Self { alarms, tls, looked: None }
    }

    /// Looks when it is time.
    pub fn look(&mut self, monotonic_nanos: u64, now: Timestamp) {
        let due = |looked: u64| monotonic_nanos.saturating_sub(looked) >= LOOK_EVERY_NANOS;
        let Some(tls) = self.tls.as_ref().filter(|_| self.looked.is_none_or(due)) else { return };
        self.looked = Some(monotonic_nanos);
        if let Some(endings) = tls.endings() {
            self.judge(&endings, now);
        }
    }

    fn judge(&self, endings: &[Ending], now: Timestamp) {
        for whose in [Whose::Own, Whose::Authority, Whose::Broker] {
            let (code, advice) = of(whose);
            match endings.iter().find(|ending| ending.whose == whose) {
                Some(ending) => {
                    let severity = if ending.is_over() { Severity::Critical } else { Severity::Warn };
                    self.alarms.raise(code, severity, &text(ending), advice, now);
                }
                None => self.alarms.clear(code, now),
            }
        }
    }
}

/// What happens, and what it means.
fn text(ending: &Ending) -> String {
    match ending.whose {
        Whose::Own => format!(
            "the certificate of this sensor (mqtt.certificate) {ending}: from then on the broker refuses it, and nobody reaches it"
        ),
        Whose::Authority => format!(
            "the authority (mqtt.ca) {ending}, and with it all that it issued: broker, sensors and analysts refuse each other"
        ),
        Whose::Broker => format!(
            "the broker's certificate {ending}, as it was at the last connection: from then on this sensor refuses it"
        ),
    }
}

/// The alarm's code, and what to do.
const fn of(whose: Whose) -> (&'static str, &'static str) {
    match whose {
        Whose::Own => (
            code::CERTIFICATE_ENDS,
            "issue another one and bring it to the box: hindcap provision --issue CA --id ID --broker URL --overwrite DRIVE",
        ),
        Whose::Authority => (
            code::CA_ENDS,
            "make another one (hindcap ca init), and tell broker, sensors and analysts anew: docs/OPERATIONS.md, Certificates end",
        ),
        Whose::Broker => (
            code::BROKER_CERTIFICATE_ENDS,
            "renew it (hindcap ca server CA --name NAME --overwrite) and restart the broker, so that it is seen",
        ),
    }
}

#[cfg(test)]
mod tests {
    use hindcap_wire::message::alarm::ALARM_TEXT_MAX;

    use super::*;

    const DAY: u64 = 86_400;
    const END: u64 = 20_000 * DAY;

    #[test]
    fn each_end_is_a_warning_then_critical_and_over_when_renewed() {
        let alarms = Arc::<Alarms>::default();
        let watch = CertificateWatch::new(Arc::clone(&alarms), None);
        for (whose, words) in [
            (Whose::Own, "this sensor (mqtt.certificate)"),
            (Whose::Authority, "authority (mqtt.ca)"),
            (Whose::Broker, "the broker's certificate"),
        ] {
            for (now_secs, severity, when) in [
                (END - 9 * DAY, Severity::Warn, "ends on 2024-10-04, in 9 days"),
                (END + 1, Severity::Critical, "ended on 2024-10-04"),
            ] {
                watch.judge(&[Ending { whose, at_secs: END, now_secs }], Timestamp(1));
                let standing = alarms.standing();
                assert_eq!(standing.len(), 1, "{standing:?}");
                let alarm = &standing[0];
                assert_eq!((alarm.code.as_str(), alarm.severity), (of(whose).0, severity));
                assert!(alarm.text.contains(words) && alarm.text.contains(when), "{alarm:?}");
                assert!(alarm.advice.contains("hindcap "), "{alarm:?}");
            }
            watch.judge(&[], Timestamp(2));
            assert_eq!(alarms.standing(), []);
        }
    }

    #[test]
    fn nothing_of_what_is_said_is_cut_off() {
        for whose in [Whose::Own, Whose::Authority, Whose::Broker] {
            let longest = text(&Ending { whose, at_secs: END, now_secs: END - 29 * DAY });
            for said in [longest.as_str(), of(whose).1] {
                assert!(said.len() <= ALARM_TEXT_MAX, "{} of {ALARM_TEXT_MAX}: {said}", said.len());
            }
        }
    }
}
