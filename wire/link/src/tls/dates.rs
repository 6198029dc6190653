//! Judging a broker's certificate by a clock that may be wrong.
//!
//! A box without a battery starts in 1970 or in the year of its image, and it may stand where no time server is to be had. If
//! it judged certificates by such a clock, a good broker would be refused for ever, because its certificate is "not valid
//! yet". So there are two rules:
//!
//! - the clock is known to be right: a certificate counts from its first day to its last, as everywhere;
//! - it is not: the time is *some moment not before the latest one that is known to have been*. A certificate is refused when
//!   it ended before that, and when there is no moment at which the whole chain is valid; never because it begins later.
//!
//! Issuer, signatures, purpose and name are judged all the same. chrony has `nocerttimecheck` for this and wpa_supplicant
//! `tls_disable_time_checks`; both leave out more.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::verify_tls13_signature;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, DigitallySignedStruct, Error, PeerIncompatible, RootCertStore, SignatureScheme,
};

use super::ends::{last_moment, moment};
use super::provider::SIGNATURES;
use crate::limits::LATER_MAX;

/// What is known of the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// It is this many seconds after 1970.
    Is(u64),
    /// It is that or later.
    AtLeast(u64),
}

/// Tells what is known of the time, at every connection anew.
pub type TimeSource = Arc<dyn Fn() -> Known + Send + Sync>;

/// Asks `judge` about the moment that counts; with a clock that may be wrong about later ones too, each time the next at
/// which a certificate begins.
pub(super) fn at_some_moment(
    known: Known,
    judge: impl Fn(UnixTime) -> Result<(), Error>,
) -> Result<(), Error> {
    let (mut secs, sure) = match known {
        Known::Is(secs) => (secs, true),
        Known::AtLeast(secs) => (secs, false),
    };
    for _ in 0..LATER_MAX {
        match judge(moment(secs)) {
            Err(Error::InvalidCertificate(CertificateError::NotValidYetContext { not_before, .. }))
                if !sure && not_before.as_secs() > secs =>
            {
                secs = not_before.as_secs();
            }
            judged => return judged,
        }
    }
    Err(CertificateError::NotValidYet.into())
}

/// Judges the broker's certificate.
pub(super) struct Verifier {
    pub(super) roots: RootCertStore,
    pub(super) time: TimeSource,
    /// The last second of the last chain of the broker's that was good but for its dates; 0 for none so far.
    pub(super) ends: Arc<AtomicU64>,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verifier({} roots)", self.roots.len())
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let judge = |now| {
            verify_server_cert_signed_by_trust_anchor(
                &certificate,
                &self.roots,
                intermediates,
                now,
                SIGNATURES.all,
            )
        };
        let named = verify_server_name(&certificate, name);
        // A stranger's end is not the broker's.
        if let (Ok(()), Some(secs)) = (&named, last_moment(judge)) {
            self.ends.store(secs, Ordering::Relaxed);
        }
        at_some_moment((self.time)(), judge)?;
        named?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls13RequiredForQuic.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &SIGNATURES)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SIGNATURES.supported_schemes()
    }
}
