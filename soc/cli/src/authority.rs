//! A small authority of one's own: a folder with a key, its certificate, and what it has issued. It says who is who at the
//! broker, and nothing else: a broker's certificate is none for clients, a client's none for brokers.
//!
//! | file | what |
//! |---|---|
//! | `ca.key` | the authority's private key: whoever has it is anybody at the broker |
//! | `ca.crt` | its certificate: goes to broker, boxes and analysts |
//! | `server/`, `analyst/` | certificates and keys issued, to be taken away |
//! | `sensor/` | the certificates of boxes, without their keys |
//!
//! Keys are ECDSA P-256. An analyst's name begins with `analyst:`, which no sensor's can.

use std::fs::{self, DirBuilder};
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hindcap_soc_api::Broker;
use hindcap_wire::message::SensorId;
use hindcap_wire::time::{NANOS_PER_SEC, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose as Purpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose as Usage, date_time_ymd,
};

use crate::exit::Failure;
use crate::secret::{at, none_exists, write};

/// How long certificates are valid, days. The authority outlives the boxes; a box's certificate ends with the box, for its
/// renewal is a walk to it; a broker's and an analyst's are renewed at a desk.
pub(crate) const CA_DAYS: u64 = 20 * 365;
pub(crate) const SENSOR_DAYS: u64 = 10 * 365;
pub(crate) const SERVER_DAYS: u64 = 2 * 365;
pub(crate) const ANALYST_DAYS: u64 = 365;
/// Certificates begin a day early: a clock somewhere is slow.
const EARLIER: Duration = Duration::from_secs(86_400);

const CERTIFICATE: &str = "ca.crt";
const KEY: &str = "ca.key";
/// What the names of analysts begin with at the broker.
const ANALYST: &str = "analyst:";

/// Whom a certificate is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Subject<'a> {
    /// A broker that is reached by these names and addresses.
    Server(&'a [HostName]),
    /// A box.
    Sensor(&'a SensorId),
    /// A person, or a program of the SOC.
    Analyst(&'a SensorId),
}

/// A DNS name or an IP address.
#[derive(Clone, Debug)]
pub(crate) struct HostName(String);

impl std::str::FromStr for HostName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_name =
            || !text.contains([':', '@', '/', '[']) && format!("mqtts://{text}").parse::<Broker>().is_ok();
        if text.parse::<IpAddr>().is_ok() || is_name() {
            return Ok(Self(text.to_owned()));
        }
        Err("expected a DNS name or an IP address".to_owned())
    }
}

impl std::fmt::Display for HostName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A new certificate and its key, PEM.
pub(crate) struct Issued {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// See the module.
pub(crate) struct Authority {
    dir: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes a new one in `dir`, called `name`.
    ///
    /// # Errors
    /// There is one already, or the folder cannot be written to.
    pub(crate) fn init(dir: &Path, name: &str, now: Timestamp) -> Result<(), Failure> {
        let (certificate, key) = (dir.join(CERTIFICATE), dir.join(KEY));
        if key.symlink_metadata().is_ok() || certificate.symlink_metadata().is_ok() {
            return Err(Failure::new(format!(
                "{} holds an authority; what it issued would be worthless with another one. Take another folder",
                dir.display()
            )));
        }
        let mut params = params(name, now, CA_DAYS);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![Usage::KeyCertSign, Usage::CrlSign];
        let pair = KeyPair::generate().map_err(Failure::new)?;
        let own = params.self_signed(&pair).map_err(Failure::new)?;
        folder(dir)?;
        write(&key, &pair.serialize_pem())?;
        write(&certificate, &own.pem())
    }

    /// The one in `dir`.
    ///
    /// # Errors
    /// There is none, or it is damaged.
    pub(crate) fn open(dir: &Path) -> Result<Self, Failure> {
        let read = |name: &str| {
            let path = dir.join(name);
            let advice = format!("`hindcap ca init {}` makes an authority", dir.display());
            fs::read_to_string(&path).map_err(|error| at(&path, &format!("{error}; {advice}")))
        };
        let (certificate, key) = (read(CERTIFICATE)?, read(KEY)?);
        let pair = KeyPair::from_pem(&key).map_err(|error| at(&dir.join(KEY), &error))?;
        let issuer = Issuer::from_ca_cert_pem(&certificate, pair);
        let issuer = issuer.map_err(|error| at(&dir.join(CERTIFICATE), &error))?;
        Ok(Self { dir: dir.to_owned(), issuer })
    }

    /// The file of its own certificate.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.dir.join(CERTIFICATE)
    }

    /// Issues a certificate.
    ///
    /// # Errors
    /// No randomness, or a name that no certificate can have.
    pub(crate) fn issue(&self, subject: Subject<'_>, now: Timestamp) -> Result<Issued, Failure> {
        let mut params = match subject {
            Subject::Server(names) => {
                let first = names.first().map_or("", |name| name.0.as_str());
                let mut params = params(first, now, SERVER_DAYS);
                let all = names.iter().map(|name| name.0.clone()).collect::<Vec<_>>();
                params.subject_alt_names =
                    CertificateParams::new(all).map_err(Failure::new)?.subject_alt_names;
                params
            }
            Subject::Sensor(id) => params(id.as_str(), now, SENSOR_DAYS),
            Subject::Analyst(name) => params(&format!("{ANALYST}{name}"), now, ANALYST_DAYS),
        };
        let server = matches!(subject, Subject::Server(_));
        params.extended_key_usages = vec![if server { Purpose::ServerAuth } else { Purpose::ClientAuth }];
        params.key_usages = vec![Usage::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let pair = KeyPair::generate().map_err(Failure::new)?;
        let certificate = params.signed_by(&pair, &self.issuer).map_err(Failure::new)?;
        Ok(Issued { certificate: certificate.pem(), key: pair.serialize_pem() })
    }

    /// Puts down what was issued to `name` in the folder `kind`: both files, or the certificate alone for the record.
    ///
    /// # Errors
    /// It is there and `overwrite` is not given, or it cannot be written.
    pub(crate) fn keep(
        &self,
        kind: &str,
        name: &str,
        issued: &Issued,
        with_key: bool,
        overwrite: bool,
    ) -> Result<(PathBuf, PathBuf), Failure> {
        let place = self.dir.join(kind);
        let (certificate, key) = (place.join(format!("{name}.crt")), place.join(format!("{name}.key")));
        if !overwrite {
            none_exists([certificate.as_path(), key.as_path()])?;
        }
        folder(&place)?;
        if with_key {
            write(&key, &issued.key)?;
        }
        write(&certificate, &issued.certificate)?;
        Ok((certificate, key))
    }
}

/// A folder that only its owner may enter.
fn folder(dir: &Path) -> Result<(), Failure> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|error| at(dir, &error))
}

fn params(name: &str, now: Timestamp, days: u64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let now = date_time_ymd(1970, 1, 1) + Duration::from_secs(now.0 / NANOS_PER_SEC);
    params.not_before = now - EARLIER;
    params.not_after = now + Duration::from_secs(days * 86_400);
    params
}
