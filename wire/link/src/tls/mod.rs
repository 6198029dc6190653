//! TLS 1.3 to the broker, with a certificate of ours where the broker wants one.
//!
//! [`Tls::load`] reads PEM files, which may come from a stranger's drive, and finds out everything that can be known to be
//! wrong with them before anything is connected: a file that is missing, too large or no PEM, a certificate that is none, a key
//! that is not the certificate's. What a connection fails by is told by [`words`].

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustls::client::Resumption;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, InconsistentKeys, RootCertStore};

mod dates;
mod ends;
mod provider;
#[cfg(test)]
mod tests;
pub(crate) mod words;

pub use dates::{Known, TimeSource};
pub use ends::{Ending, Whose, certificates_end, day};

use crate::limits::{CERTIFICATES_MAX, PEM_BYTES_MAX};
use dates::Verifier;

/// A connection's TLS, read and checked.
#[derive(Clone)]
pub struct Tls {
    pub(crate) config: Arc<ClientConfig>,
    /// A doubt about our certificate, for people.
    doubt: Option<String>,
    time: TimeSource,
    /// The last second of our certificate and of those that lead from it to its issuer.
    own_ends: Option<u64>,
    /// The same of the last authority that the broker is judged by.
    authority_ends: Option<u64>,
    /// The same of the broker as it was seen last; 0 where it was not.
    broker_ends: Arc<AtomicU64>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

/// Whose signature makes a broker's certificate good.
#[derive(Clone, Debug)]
pub enum Trust<'a> {
    /// The certificates in this PEM file.
    File(&'a Path),
    /// These certificates, DER; those that are none are left out.
    These(Vec<Vec<u8>>),
}

/// Our certificate and its key, PEM files.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    /// Our certificate, before those that lead to its issuer.
    pub certificate: &'a Path,
    /// Its private key, not encrypted.
    pub key: &'a Path,
}

/// Files that TLS cannot be made of.
#[derive(Debug)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file is larger than [`PEM_BYTES_MAX`], or holds more than [`CERTIFICATES_MAX`] certificates of ours.
    TooLarge {
        /// Which.
        path: PathBuf,
    },
    /// A file does not hold what it should, as PEM.
    NotPem {
        /// Which.
        path: PathBuf,
        /// What it should hold.
        wanted: &'static str,
        /// What is wrong with it; may be empty.
        detail: String,
    },
    /// A key is protected by a password, which nobody could type.
    Encrypted {
        /// Its file.
        path: PathBuf,
    },
    /// What a file holds cannot be used.
    Unusable {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// The key is another certificate's.
    KeyMismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// This computer has no list of authorities.
    NoTrust,
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, error } => write!(f, "{}: {error}", path.display()),
            Self::TooLarge { path } => write!(f, "{}: too large for certificates", path.display()),
            Self::NotPem { path, wanted, detail } => {
                let (path, colon) = (path.display(), if detail.is_empty() { "" } else { ": " });
                write!(f, "{path}: holds no {wanted} in PEM form (-----BEGIN ...){colon}{detail}")
            }
            Self::Encrypted { path } => write!(
                f,
                "{}: the key is encrypted, and nobody is there to type its password; write it without one",
                path.display()
            ),
            Self::Unusable { path, detail } => write!(f, "{}: {detail}", path.display()),
            Self::KeyMismatch { certificate, key } => write!(
                f,
                "{}: the key is not that of the certificate in {}; they must be made together",
                key.display(),
                certificate.display()
            ),
            Self::NoTrust => f.write_str("there is no list of authorities on this computer; give one"),
        }
    }
}

impl std::error::Error for TlsError {}

impl Tls {
    /// Reads and checks everything; `time` is asked at each connection.
    ///
    /// # Errors
    /// What cannot be used, for people. Whether the certificates are still valid is no error here: see [`Tls::doubt`].
    pub fn load(
        trust: Trust<'_>,
        identity: Option<Identity<'_>>,
        time: TimeSource,
    ) -> Result<Self, TlsError> {
        let (roots, authority_ends) = roots(trust)?;
        let (now, broker_ends) = (time(), Arc::<AtomicU64>::default());
        let verifier = Verifier { roots, time: Arc::clone(&time), ends: Arc::clone(&broker_ends) };
        let builder = ClientConfig::builder_with_details(Arc::new(provider::provider()), Arc::new(NoClock))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("its cipher suites are those of TLS 1.3")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let (mut config, doubt, own_ends) = match identity {
            None => (builder.with_no_client_auth(), None, None),
            Some(identity) => {
                let (chain, key) = (chain(identity.certificate)?, key(identity.key)?);
                let doubt = doubt(identity.certificate, &chain, now)?;
                let ends = chain.iter().filter_map(ends::end).min();
                let config = builder.with_client_auth_cert(chain, key);
                (config.map_err(|error| mismatch(&identity, &error))?, doubt, ends)
            }
        };
        // Each connection judges the broker anew, and keeps nothing of it.
        config.resumption = Resumption::disabled();
        Ok(Self { config: Arc::new(config), doubt, time, own_ends, authority_ends, broker_ends })
    }

    /// What is not as it should be with our certificate without making it unusable: its dates, for the clock may be wrong.
    #[must_use]
    pub fn doubt(&self) -> Option<&str> {
        self.doubt.as_deref()
    }

    /// What ends within [`crate::limits::ENDS_SOON_SECS`] or has ended; `None` while it is not known what time it is.
    #[must_use]
    pub fn endings(&self) -> Option<Vec<Ending>> {
        let Known::Is(now) = (self.time)() else { return None };
        let broker = Some(self.broker_ends.load(Ordering::Relaxed)).filter(|secs| *secs > 0);
        let all =
            [(Whose::Own, self.own_ends), (Whose::Authority, self.authority_ends), (Whose::Broker, broker)];
        Some(all.into_iter().filter_map(|(whose, at)| Ending::of(whose, at?, now)).collect())
    }
}

/// The verifier asks for the time itself.
#[derive(Debug)]
struct NoClock;

impl TimeProvider for NoClock {
    fn current_time(&self) -> Option<rustls::pki_types::UnixTime> {
        Some(rustls::pki_types::UnixTime::since_unix_epoch(std::time::Duration::ZERO))
    }
}

/// The bytes of a PEM file.
fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(PEM_BYTES_MAX + 1).read_to_end(&mut bytes));
    match read {
        Err(error) => Err(TlsError::Read { path: path.into(), error }),
        Ok(length) if length as u64 > PEM_BYTES_MAX => Err(TlsError::TooLarge { path: path.into() }),
        Ok(_) => Ok(bytes),
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let not_pem = |detail| TlsError::NotPem { path: path.into(), wanted: "certificate", detail };
    let found = CertificateDer::pem_slice_iter(&read(path)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| not_pem(complaint(&error)))?;
    if found.is_empty() { Err(not_pem(String::new())) } else { Ok(found) }
}

/// What is wrong with a PEM file; the file's own bytes are not repeated.
fn complaint(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { .. } => "it ends in the middle".into(),
        pem::Error::Base64Decode(_) => "it is damaged".into(),
        _ => String::new(),
    }
}

/// Whom to believe, and until when: of authorities that a person named, the last one to end.
fn roots(trust: Trust<'_>) -> Result<(RootCertStore, Option<u64>), TlsError> {
    let (mut roots, mut last) = (RootCertStore::empty(), None);
    match trust {
        Trust::File(path) => {
            for certificate in certificates(path)? {
                last = last.max(ends::end(&certificate));
                roots.add(certificate).map_err(|error| unusable(path, &error))?;
            }
        }
        Trust::These(all) => {
            roots.add_parsable_certificates(all.into_iter().map(CertificateDer::from));
            if roots.is_empty() {
                return Err(TlsError::NoTrust);
            }
        }
    }
    Ok((roots, last))
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain = certificates(path)?;
    if chain.len() > CERTIFICATES_MAX { Err(TlsError::TooLarge { path: path.into() }) } else { Ok(chain) }
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let bytes = read(path)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| {
        if bytes.windows(9).any(|window| window == b"ENCRYPTED") {
            return TlsError::Encrypted { path: path.into() };
        }
        TlsError::NotPem { path: path.into(), wanted: "private key", detail: complaint(&error) }
    })
}

fn unusable(path: &Path, error: &rustls::Error) -> TlsError {
    let detail = match error {
        rustls::Error::InvalidCertificate(_) => format!("a certificate in it cannot be used: {error}"),
        _ => error.to_string(),
    };
    TlsError::Unusable { path: path.into(), detail }
}

fn mismatch(identity: &Identity<'_>, error: &rustls::Error) -> TlsError {
    match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            TlsError::KeyMismatch { certificate: identity.certificate.into(), key: identity.key.into() }
        }
        rustls::Error::InvalidCertificate(_) => unusable(identity.certificate, error),
        _ => TlsError::Unusable {
            path: identity.key.into(),
            detail: "the key cannot be used: ECDSA (P-256, P-384), Ed25519 and RSA are".into(),
        },
    }
}

/// Whether a broker will take our certificate, as far as the certificate itself tells.
///
/// webpki looks at dates and purpose first and at the issuer, of whom we know nothing, then: that it does not find one is the
/// good answer.
fn doubt(path: &Path, chain: &[CertificateDer<'_>], now: Known) -> Result<Option<String>, TlsError> {
    let Some(own) = chain.first() else { return Ok(None) };
    let wrong = |detail: String| TlsError::Unusable { path: path.into(), detail };
    let certificate =
        webpki::EndEntityCert::try_from(own).map_err(|error| wrong(format!("no certificate: {error}")))?;
    let (secs, sure) = match now {
        Known::Is(secs) => (secs, true),
        Known::AtLeast(secs) => (secs, false),
    };
    let usage = webpki::KeyUsage::client_auth();
    let day = words::day;
    let path = path.display();
    match certificate.verify_for_usage(&[], &[], &[], ends::moment(secs), usage, None, None).map(drop) {
        Err(webpki::Error::CertExpired { not_after, .. }) => Ok(Some(format!(
            "{path}: the certificate ended on {}: the broker will refuse it, if the clock here is right",
            day(not_after)
        ))),
        Err(webpki::Error::CertNotValidYet { not_before, .. }) if sure => Ok(Some(format!(
            "{path}: the certificate begins on {}: the broker will refuse it, if the clock here is right",
            day(not_before)
        ))),
        Err(webpki::Error::RequiredEkuNotFoundContext(_)) => {
            Err(wrong("the certificate is not for clients (extended key usage clientAuth)".into()))
        }
        Err(webpki::Error::CaUsedAsEndEntity) => {
            Err(wrong("the certificate is that of an authority, not of a client".into()))
        }
        _ => Ok(None),
    }
}
