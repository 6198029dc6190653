//! When certificates end: ours, the authority's, and the broker's as it showed itself last. A box whose certificate ends is
//! gone from one moment to the next, so the end is told before it comes.
//!
//! No date is read here: webpki is asked about a moment after all days, and names the last day in its complaint.

use std::fmt;
use std::path::Path;

use hindcap_wire::time::Timestamp;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::{CertificateError, Error};

use super::{TlsError, certificates};
use crate::limits::{ENDS_SOON_SECS, LATER_MAX};

/// Whose certificate ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Ours.
    Own,
    /// That of the authority by which the broker is judged.
    Authority,
    /// The broker's, or one that leads from it to the authority, as they were in the last handshake.
    Broker,
}

/// A certificate that ends soon or has ended. Displayed as what happens to it and when: "ends on 2026-12-01, in 9 days".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Whose.
    pub whose: Whose,
    /// Its last second, after 1970.
    pub at_secs: u64,
    /// What time it is, seconds after 1970.
    pub now_secs: u64,
}

impl Ending {
    /// That of a certificate whose last second is `at_secs`; `None` when that is further away than [`ENDS_SOON_SECS`].
    pub(super) fn of(whose: Whose, at_secs: u64, now_secs: u64) -> Option<Self> {
        (at_secs.saturating_sub(now_secs) <= ENDS_SOON_SECS).then_some(Self { whose, at_secs, now_secs })
    }

    /// Whether it is over.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.now_secs > self.at_secs
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let day = day(self.at_secs);
        if self.is_over() {
            return write!(f, "ended on {day}");
        }
        match (self.at_secs - self.now_secs) / 86_400 {
            0 => write!(f, "ends on {day}, within a day"),
            1 => write!(f, "ends on {day}, in a day"),
            days => write!(f, "ends on {day}, in {days} days"),
        }
    }
}

/// A day such as 2026-11-22, from seconds after 1970.
#[must_use]
pub fn day(secs: u64) -> String {
    let text = Timestamp::from_parts(secs, 0).to_string();
    text.get(..10).unwrap_or(&text).to_owned()
}

/// The last second at which one of the certificates in the PEM file at `path` is valid: a new authority beside the old one
/// takes its place. `None` where they are of a kind that nobody judges (X.509 before version 3).
///
/// # Errors
/// The file cannot be read, or holds no certificates.
pub fn certificates_end(path: &Path) -> Result<Option<u64>, TlsError> {
    Ok(certificates(path)?.iter().filter_map(end).max())
}

/// The last second of one certificate.
pub(super) fn end(certificate: &CertificateDer<'_>) -> Option<u64> {
    let certificate = webpki::EndEntityCert::try_from(certificate).ok()?;
    let (never, usage) = (moment(u64::MAX), webpki::KeyUsage::client_auth());
    match certificate.verify_for_usage(&[], &[], &[], never, usage, None, None).map(drop) {
        Err(webpki::Error::CertExpired { not_after, .. }) => Some(not_after.as_secs()),
        _ => None,
    }
}

/// The last second at which `judge` believes a whole chain; `None` when there is none.
pub(super) fn last_moment(judge: impl Fn(UnixTime) -> Result<(), Error>) -> Option<u64> {
    let mut secs = u64::MAX;
    for _ in 0..LATER_MAX {
        match judge(moment(secs)) {
            Ok(()) => return Some(secs),
            Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. }))
                if not_after.as_secs() < secs =>
            {
                secs = not_after.as_secs();
            }
            Err(_) => return None,
        }
    }
    None
}

pub(super) const fn moment(secs: u64) -> UnixTime {
    UnixTime::since_unix_epoch(std::time::Duration::from_secs(secs))
}
