//! TLS to the broker as the configuration says, and what time certificates are judged by.
//!
//! A clock counts as right while the time daemon vouches for it ([`crate::clock`]). While nobody does, all that is known is
//! that it is not earlier than this program was built and than the clock was when it was right last.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use hindcap_uplink::{Identity, Known, TimeSource, Tls, Trust};
use hindcap_wire::time::{ClockState, NANOS_PER_SEC};

use crate::clock::{Clock, wall};
use crate::config::Config;
use crate::exit::Failure;

/// The first of November 2026: this program is not older. A build that sets `SOURCE_DATE_EPOCH` says it more exactly.
const RELEASED_SECS: u64 = 1_793_491_200;

/// When this program was built, as far as it knows.
fn built_secs() -> u64 {
    let epoch = option_env!("SOURCE_DATE_EPOCH").and_then(|text| text.parse().ok());
    epoch.unwrap_or(0).max(RELEASED_SECS)
}

/// What the connection to the broker needs; nothing where it is `mqtt://`.
///
/// # Errors
/// Keys of the configuration that do not fit together, and files that cannot be used, for people.
pub fn load(config: &Config, by_tls: bool) -> Result<Option<Tls>, Failure> {
    let named = [("ca", &config.ca), ("certificate", &config.certificate), ("key", &config.key)];
    if !by_tls {
        return match named.iter().find(|(_, file)| !file.is_empty()) {
            Some((key, _)) => Err(Failure::from(format!(
                "mqtt.{key} is set, and mqtt.broker is without TLS: write mqtts://, or take it away"
            ))),
            None => Ok(None),
        };
    }
    if config.ca.is_empty() {
        return Err(Failure::from(
            "mqtt.broker is mqtts://, and mqtt.ca names no certificate to judge the broker by",
        ));
    }
    let identity = match (config.certificate.as_str(), config.key.as_str()) {
        ("", "") => None,
        ("", _) => return Err(Failure::from("mqtt.key is set, and mqtt.certificate is not: both or none")),
        (_, "") => return Err(Failure::from("mqtt.certificate is set, and mqtt.key is not: both or none")),
        (certificate, key) => Some(Identity { certificate: Path::new(certificate), key: Path::new(key) }),
    };
    let tls = Tls::load(Trust::File(Path::new(&config.ca)), identity, time_source(config));
    Ok(Some(tls?))
}

/// What is known of the time, asked at each connection.
fn time_source(config: &Config) -> TimeSource {
    let clock = Mutex::new(Clock::new(config.synchronised_marker.clone()));
    let latest = AtomicU64::new(built_secs());
    Arc::new(move || {
        let state = clock.lock().unwrap_or_else(PoisonError::into_inner).state();
        known(state, wall().0 / NANOS_PER_SEC, &latest)
    })
}

/// The rule of the module; `latest` is the latest time that is known to have been.
fn known(state: ClockState, wall_secs: u64, latest: &AtomicU64) -> Known {
    if state == ClockState::Synchronised {
        latest.fetch_max(wall_secs, Ordering::Relaxed);
        Known::Is(wall_secs)
    } else {
        Known::AtLeast(latest.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_do_not_fit_together_are_told() {
        for (lines, by_tls, words) in [
            ("", true, "mqtt.ca names no certificate"),
            ("ca = \"/a\"", false, "mqtt.ca is set, and mqtt.broker is without TLS"),
            ("key = \"/k\"", false, "mqtt.key is set, and mqtt.broker is without TLS"),
            ("ca = \"/a\"\nkey = \"/k\"", true, "mqtt.certificate is not: both or none"),
            ("ca = \"/a\"\ncertificate = \"/c\"", true, "mqtt.key is not: both or none"),
            ("ca = \"/nonexistent/ca\"", true, "/nonexistent/ca: No such file"),
        ] {
            let text = format!("[sensor]\nid = \"s\"\n[mqtt]\n{lines}\n");
            let config = Config::parse(&text, Path::new("hindcap.toml")).unwrap();
            let error = load(&config, by_tls).unwrap_err().to_string();
            assert!(error.contains(words), "{lines}: {error}");
        }
        let plain = Config::parse("[sensor]\nid = \"s\"\n", Path::new("hindcap.toml")).unwrap();
        assert!(load(&plain, false).is_ok_and(|tls| tls.is_none()));
    }

    #[test]
    fn a_clock_that_nobody_vouches_for_says_nothing() {
        let latest = AtomicU64::new(built_secs());
        // Neither of 1970 nor of 2100 is believed.
        for wall in [0, 4_102_444_800] {
            assert_eq!(known(ClockState::NotSynchronised, wall, &latest), Known::AtLeast(built_secs()));
        }
        let right = built_secs() + 1_000;
        assert_eq!(known(ClockState::Synchronised, right, &latest), Known::Is(right));
        assert_eq!(known(ClockState::NotSynchronised, 5, &latest), Known::AtLeast(right));
    }
}
