//! An authority of a test, and the certificates that it issues: good ones, and such as nobody should believe.

#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "helpers of tests")]

use std::fs;
use std::path::{Path, PathBuf};

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
        fs::create_dir_all(dir).unwrap();
        let mut params = params(&format!("authority of {}", dir.display()), ALWAYS);
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
        let mut params = params(name, years);
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

fn params(name: &str, (from, to): Years) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(to, 1, 1));
    params
}
