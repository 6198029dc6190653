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

use hindcap_soc_api::{Broker, certificates_end, day};
use hindcap_wire::message::SensorId;
use hindcap_wire::time::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose as Purpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose as Usage, date_time_ymd,
};

use crate::exit::Failure;
use crate::secret::{at, none_exists, write};

/// How long certificates are valid, days. The authority outlives the boxes; a box's certificate ends with the box, for its
/// renewal is a walk to it; a broker's and an analyst's are renewed at a desk.
const CA_DAYS: u64 = 20 * 365;
const SENSOR_DAYS: u64 = 10 * 365;
const SERVER_DAYS: u64 = 2 * 365;
const ANALYST_DAYS: u64 = 365;
/// Certificates begin a day early: a clock somewhere is slow.
const EARLIER: Duration = Duration::from_secs(DAY_SECS);
const DAY_SECS: u64 = 86_400;

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
    /// Until when it is valid, for people.
    pub(crate) until: String,
}

/// See the module.
pub(crate) struct Authority {
    dir: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    /// Its last second, after 1970: nothing that it issues is believed for longer.
    ends: u64,
}

impl Authority {
    /// Makes a new one in `dir`, called `name`; until when it is valid, for people.
    ///
    /// # Errors
    /// There is one already, or the folder cannot be written to.
    pub(crate) fn init(dir: &Path, name: &str, now: Timestamp) -> Result<String, Failure> {
        let (certificate, key) = (dir.join(CERTIFICATE), dir.join(KEY));
        if key.symlink_metadata().is_ok() || certificate.symlink_metadata().is_ok() {
            return Err(Failure::new(format!(
                "{} holds an authority; what it issued would be worthless with another one. Take another folder",
                dir.display()
            )));
        }
        let ends = now.secs() + CA_DAYS * DAY_SECS;
        let mut params = params(name, now.secs(), ends);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![Usage::KeyCertSign, Usage::CrlSign];
        let pair = KeyPair::generate().map_err(Failure::new)?;
        let own = params.self_signed(&pair).map_err(Failure::new)?;
        folder(dir)?;
        write(&key, &pair.serialize_pem())?;
        write(&certificate, &own.pem())?;
        Ok(day(ends))
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
        let ends = certificates_end(&dir.join(CERTIFICATE)).map_err(Failure::new)?.unwrap_or(u64::MAX);
        Ok(Self { dir: dir.to_owned(), issuer, ends })
    }

    /// The file of its own certificate.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.dir.join(CERTIFICATE)
    }

    /// Issues a certificate, valid for as long as its kind is, and no longer than the authority.
    ///
    /// # Errors
    /// The authority has ended; no randomness, or a name that no certificate can have.
    pub(crate) fn issue(&self, subject: Subject<'_>, now: Timestamp) -> Result<Issued, Failure> {
        let now = now.secs();
        if now >= self.ends {
            let advice = "what it issued is worthless: make another one in another folder (`hindcap ca init`), and tell \
                          broker, boxes and analysts anew";
            let ended = format!("the authority ended on {}; {advice}", day(self.ends));
            return Err(at(&self.certificate(), &ended));
        }
        let days = match subject {
            Subject::Server(_) => SERVER_DAYS,
            Subject::Sensor(_) => SENSOR_DAYS,
            Subject::Analyst(_) => ANALYST_DAYS,
        };
        let ends = self.ends.min(now + days * DAY_SECS);
        let mut params = match subject {
            Subject::Server(names) => {
                let first = names.first().map_or("", |name| name.0.as_str());
                let mut params = params(first, now, ends);
                let all = names.iter().map(|name| name.0.clone()).collect::<Vec<_>>();
                params.subject_alt_names =
                    CertificateParams::new(all).map_err(Failure::new)?.subject_alt_names;
                params
            }
            Subject::Sensor(id) => params(id.as_str(), now, ends),
            Subject::Analyst(name) => params(&format!("{ANALYST}{name}"), now, ends),
        };
        let server = matches!(subject, Subject::Server(_));
        params.extended_key_usages = vec![if server { Purpose::ServerAuth } else { Purpose::ClientAuth }];
        params.key_usages = vec![Usage::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let pair = KeyPair::generate().map_err(Failure::new)?;
        let certificate = params.signed_by(&pair, &self.issuer).map_err(Failure::new)?;
        let until =
            if ends == self.ends { format!("{}, when the authority ends", day(ends)) } else { day(ends) };
        Ok(Issued { certificate: certificate.pem(), key: pair.serialize_pem(), until })
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

/// What a certificate of `name` says, valid from now on and until `ends`, both seconds after 1970.
fn params(name: &str, now: u64, ends: u64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let at = |secs| date_time_ymd(1970, 1, 1) + Duration::from_secs(secs);
    params.not_before = at(now) - EARLIER;
    params.not_after = at(ends);
    params
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_issued_for_longer_than_the_authority_lasts() {
        let dir = tempfile::tempdir().unwrap();
        let at = |year: i32| {
            let since = date_time_ymd(year, 1, 1) - date_time_ymd(1970, 1, 1);
            Timestamp::from_parts(since.whole_seconds().try_into().unwrap(), 0)
        };
        let ana = "ana".parse().unwrap();
        assert_eq!(Authority::init(dir.path(), "somebody", at(2026)).unwrap(), "2045-12-27");
        let authority = Authority::open(dir.path()).unwrap();
        let issue = |year| authority.issue(Subject::Analyst(&ana), at(year));
        for (year, until) in [(2027, "2028-01-01"), (2045, "2045-12-27, when the authority ends")] {
            let issued = issue(year).unwrap();
            assert_eq!(issued.until, until);
            // That is what the certificate itself says.
            let (path, _) = authority.keep("analyst", "ana", &issued, false, true).unwrap();
            assert_eq!(certificates_end(&path).unwrap().map(day).unwrap(), until[..10]);
        }
        let refused = issue(2046).err().unwrap().message;
        assert!(refused.contains("ended on 2045-12-27") && refused.contains("hindcap ca init"), "{refused}");
    }
}
