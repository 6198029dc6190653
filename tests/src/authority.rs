//! An authority of a test, and the certificates that it issues: good ones, and such as nobody should believe.

#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "helpers of tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose as Purpose, IsCa,
    KeyPair, date_time_ymd,
};

/// Whom a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A broker of this name.
    Server,
    /// A sensor or an analyst of this name.
    Client,
}

/// The years in which a certificate is valid: from the first of January of one to that of another.
pub type Years = (i32, i32);
/// From and until when a certificate is valid, seconds after 1970.
type Valid = (u64, u64);
/// Long enough for every test.
pub const ALWAYS: Years = (2020, 2099);

/// The files of a certificate.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The certificate, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
}

/// See the module.
#[derive(Debug)]
pub struct Authority {
    dir: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    /// A new one, whose files lie in `dir`, made when missing.
    pub fn new(dir: &Path) -> Self {
        Self::with(dir, whole(ALWAYS))
    }

    /// A new one whose certificate ends in so many days.
    pub fn ending(dir: &Path, days: u64) -> Self {
        Self::with(dir, in_days(days))
    }

    fn with(dir: &Path, valid: Valid) -> Self {
        fs::create_dir_all(dir).unwrap();
        let mut params = params(&format!("authority of {}", dir.display()), valid);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        fs::write(dir.join("ca.crt"), issuer.pem()).unwrap();
        Self { dir: dir.into(), issuer }
    }

    /// Its own certificate.
    pub fn certificate(&self) -> PathBuf {
        self.dir.join("ca.crt")
    }

    /// Issues a certificate.
    pub fn issue(&self, name: &str, role: Role, years: Years) -> Issued {
        self.issue_with(name, role, whole(years))
    }

    /// Issues a certificate that ends in so many days.
    pub fn issue_ending(&self, name: &str, role: Role, days: u64) -> Issued {
        self.issue_with(name, role, in_days(days))
    }

    fn issue_with(&self, name: &str, role: Role, valid: Valid) -> Issued {
        let mut params = params(name, valid);
        match role {
            Role::Server => {
                params.subject_alt_names =
                    CertificateParams::new([name.to_owned()]).unwrap().subject_alt_names;
                params.extended_key_usages = vec![Purpose::ServerAuth];
            }
            Role::Client => params.extended_key_usages = vec![Purpose::ClientAuth],
        }
        let pair = KeyPair::generate().unwrap();
        let pem = params.signed_by(&pair, &self.issuer).unwrap().pem();
        let file = |end: &str| self.dir.join(format!("{}.{end}", name.replace(':', "-")));
        let issued = Issued { certificate: file("crt"), key: file("key") };
        fs::write(&issued.certificate, pem).unwrap();
        fs::write(&issued.key, pair.serialize_pem()).unwrap();
        issued
    }
}

fn whole((from, to): Years) -> Valid {
    let secs = |year| (date_time_ymd(year, 1, 1) - date_time_ymd(1970, 1, 1)).whole_seconds();
    (secs(from).try_into().unwrap(), secs(to).try_into().unwrap())
}

/// From 2020 until in so many days and an hour, which a test may take.
fn in_days(days: u64) -> Valid {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    (whole(ALWAYS).0, now + days * 86_400 + 3_600)
}

fn params(name: &str, valid: Valid) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let at = |secs| date_time_ymd(1970, 1, 1) + Duration::from_secs(secs);
    (params.not_before, params.not_after) = (at(valid.0), at(valid.1));
    params
}
