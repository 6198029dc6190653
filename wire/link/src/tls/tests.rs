//! Files as they come from people and strangers, and certificates as brokers show them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose as Purpose, KeyPair, date_time_ymd};
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, Error, RootCertStore};

use super::dates::{Verifier, at_some_moment};
use super::*;

/// Noon of the first day of a year, seconds after 1970.
fn year(year: i32) -> u64 {
    u64::try_from((date_time_ymd(year, 1, 1) - date_time_ymd(1970, 1, 1)).whole_seconds()).unwrap()
}

/// A certificate of its own authority, valid in these years.
fn certificate(purpose: Purpose, years: (i32, i32)) -> (rcgen::Certificate, KeyPair) {
    let mut params = CertificateParams::new(["broker.example".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "somebody");
    params.extended_key_usages = vec![purpose];
    (params.not_before, params.not_after) = (date_time_ymd(years.0, 1, 1), date_time_ymd(years.1, 1, 1));
    let key = KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap(), key)
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn put(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    fn load(&self, ca: &Path, certificate: &Path, key: &Path, now: Known) -> Result<Tls, String> {
        let tls = Tls::load(Trust::File(ca), Some(Identity { certificate, key }), Arc::new(move || now));
        tls.map_err(|error| error.to_string().replace(&format!("{}/", self.0.path().display()), ""))
    }
}

#[test]
fn files_that_cannot_be_used_are_told_by_name() {
    let folder = Folder(tempfile::tempdir().unwrap());
    let (client, key) = certificate(Purpose::ClientAuth, (2020, 2090));
    let (server, server_key) = certificate(Purpose::ServerAuth, (2020, 2090));
    let (ca, crt) = (folder.put("ca.crt", server.pem()), folder.put("c.crt", client.pem()));
    let good = folder.put("c.key", key.serialize_pem());
    let now = Known::Is(year(2027));
    assert!(folder.load(&ca, &crt, &good, now).is_ok_and(|tls| tls.doubt().is_none()));
    let pem = client.pem();
    let cut = &pem[..pem.len() / 2];
    let rubbish = pem.replace("MII", "\u{1}\u{2}");
    let not_der = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (name, content, words) in [
        (
            "c.crt",
            cut.to_owned(),
            "c.crt: holds no certificate in PEM form (-----BEGIN ...): it ends in the middle",
        ),
        ("c.crt", rubbish, "c.crt: holds no certificate in PEM form (-----BEGIN ...): it is damaged"),
        ("c.crt", String::new(), "c.crt: holds no certificate"),
        ("c.crt", not_der.into(), "c.crt: "),
        ("c.crt", server.pem(), "c.crt: the certificate is not for clients"),
        ("c.crt", key.serialize_pem(), "c.crt: holds no certificate"),
        ("c.crt", pem.repeat(CERTIFICATES_MAX + 1), "c.crt: too large"),
        ("c.key", server_key.serialize_pem(), "c.key: the key is not that of the certificate in c.crt"),
        ("c.key", pem.clone(), "c.key: holds no private key"),
        (
            "c.key",
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n".into(),
            "c.key: the key is encrypted",
        ),
        (
            "c.key",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n".into(),
            "c.key: the key cannot be used",
        ),
        ("ca.crt", not_der.into(), "ca.crt: a certificate in it cannot be used"),
        ("ca.crt", "x".repeat(2 << 20), "ca.crt: too large"),
    ] {
        let before = fs::read(folder.0.path().join(name)).unwrap();
        folder.put(name, content);
        let error = folder.load(&ca, &crt, &good, now).unwrap_err();
        assert!(error.starts_with(words), "{words}: {error}");
        folder.put(name, before);
    }
    let error = folder.load(Path::new("/nonexistent"), &crt, &good, now).unwrap_err();
    assert!(error.contains("/nonexistent: No such file"), "{error}");
    let none = Tls::load(Trust::These(vec![vec![0; 9]]), None, Arc::new(move || now));
    assert!(matches!(none, Err(TlsError::NoTrust)));
}

#[test]
fn dates_of_our_own_certificate_are_a_doubt_and_no_error() {
    let folder = Folder(tempfile::tempdir().unwrap());
    let (client, key) = certificate(Purpose::ClientAuth, (2030, 2031));
    let (crt, key) = (folder.put("c.crt", client.pem()), folder.put("c.key", key.serialize_pem()));
    let doubt = |now| folder.load(&crt, &crt, &key, now).unwrap().doubt().map(str::to_owned);
    assert!(doubt(Known::Is(year(2026))).unwrap().contains("begins on 2030-01-01"));
    assert_eq!(doubt(Known::AtLeast(year(2026))), None);
    assert_eq!(doubt(Known::Is(year(2030) + 1)), None);
    for now in [Known::Is(year(2032)), Known::AtLeast(year(2032))] {
        assert!(doubt(now).unwrap().contains("ended on 2031-01-01"));
    }
}

/// A chain of certificates with these years, as a judge would see it.
fn chain(all: &[(u64, u64)]) -> impl Fn(UnixTime) -> Result<(), Error> + '_ {
    move |time| {
        let at = |secs| UnixTime::since_unix_epoch(std::time::Duration::from_secs(secs));
        for (from, to) in all {
            if time.as_secs() > *to {
                return Err(CertificateError::ExpiredContext { time, not_after: at(*to) }.into());
            }
            if time.as_secs() < *from {
                return Err(CertificateError::NotValidYetContext { time, not_before: at(*from) }.into());
            }
        }
        Ok(())
    }
}

#[test]
fn without_a_clock_one_moment_must_do_for_the_whole_chain() {
    for (chained, exactly, at_least) in [
        (&[(0, 200)][..], true, true),
        (&[(50, 99)], false, false),
        (&[(101, 200)], false, true),
        // Issued by each other, later and later.
        (&[(500, 900), (300, 800), (600, 700)], false, true),
        // The one has ended before the other begins.
        (&[(300, 400), (0, 299)], false, false),
    ] {
        assert_eq!(at_some_moment(Known::Is(100), chain(chained)).is_ok(), exactly, "{chained:?}");
        assert_eq!(at_some_moment(Known::AtLeast(100), chain(chained)).is_ok(), at_least, "{chained:?}");
    }
    let endless: Vec<_> = (0..100).map(|from| (1_000 - from, 2_000)).rev().collect();
    assert!(at_some_moment(Known::AtLeast(0), chain(&endless)).is_err(), "bounded");
}

#[test]
fn real_certificates_are_judged_by_what_is_known_of_the_time() {
    let ca_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = params.self_signed(&ca_key).unwrap();
    let issuer = rcgen::Issuer::new(params, ca_key);
    let mut params = CertificateParams::new(["broker.example".to_owned()]).unwrap();
    (params.not_before, params.not_after) = (date_time_ymd(2030, 1, 1), date_time_ymd(2031, 1, 1));
    let broker = params.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
    let judge = |known, name: &str| {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(ca.der().to_vec())).unwrap();
        let verifier = Verifier { roots, time: Arc::new(move || known), ends: Arc::default() };
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let judged = verifier.verify_server_cert(broker.der(), &[], &name, &[], UnixTime::now());
        judged.map(drop).map_err(|error| words::explain(&error).unwrap().0)
    };
    for known in [Known::Is(year(2030) + 9), Known::AtLeast(0), Known::AtLeast(year(2026))] {
        assert_eq!(judge(known, "broker.example"), Ok(()), "{known:?}");
        // The time is no excuse for anything else.
        assert!(
            judge(known, "other.example")
                .unwrap_err()
                .contains("is not for other.example, it is for broker.example")
        );
    }
    assert!(judge(Known::Is(year(2026)), "broker.example").unwrap_err().contains("begins on 2030-01-01"));
    for known in [Known::Is(year(2032)), Known::AtLeast(year(2032))] {
        assert!(judge(known, "broker.example").unwrap_err().contains("ended on 2031-01-01"), "{known:?}");
    }
}

#[test]
fn what_ends_within_thirty_days_is_told_with_its_day_by_a_clock_that_is_right() {
    let folder = Folder(tempfile::tempdir().unwrap());
    let (client, key) = certificate(Purpose::ClientAuth, (2030, 2031));
    let (old, new) =
        (certificate(Purpose::ServerAuth, (2020, 2031)).0, certificate(Purpose::ServerAuth, (2020, 2090)).0);
    let (crt, key) = (folder.put("c.crt", client.pem()), folder.put("c.key", key.serialize_pem()));
    let (one, both) = (folder.put("one.crt", old.pem()), folder.put("both.crt", old.pem() + &new.pem()));
    let told = |ca: &Path, now| {
        let endings = folder.load(ca, &crt, &key, now).unwrap().endings()?;
        Some(endings.iter().map(|ending| (ending.whose, ending.to_string())).collect::<Vec<_>>())
    };
    let end = year(2031);
    for (now, words) in [
        (end - 30 * 86_400, "ends on 2031-01-01, in 30 days"),
        (end - 2 * 86_400 + 1, "ends on 2031-01-01, in a day"),
        (end, "ends on 2031-01-01, within a day"),
        (end + 1, "ended on 2031-01-01"),
    ] {
        let own = (Whose::Own, words.to_owned());
        let authority = (Whose::Authority, words.to_owned());
        assert_eq!(told(&one, Known::Is(now)), Some(vec![own.clone(), authority]));
        assert_eq!(told(&both, Known::Is(now)), Some(vec![own]), "the next authority is there already");
        assert_eq!(told(&one, Known::AtLeast(now)), None, "nobody knows what time it is");
    }
    assert_eq!(told(&one, Known::Is(end - 30 * 86_400 - 1)), Some(vec![]));
    assert_eq!(certificates_end(&both).unwrap(), Some(year(2090)));
    assert!(certificates_end(&key).is_err());
}

#[test]
fn a_brokers_chain_ends_with_the_first_of_it_and_a_strangers_counts_for_nothing() {
    /// An authority, or what one issued, valid from 2020 until `until`.
    fn params(name: &str, until: i32, ca: bool) -> CertificateParams {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(until, 1, 1));
        if ca {
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        }
        params
    }
    let key = || KeyPair::generate().unwrap();
    let root = rcgen::CertifiedIssuer::self_signed(params("root", 2090, true), key()).unwrap();
    let stranger = rcgen::CertifiedIssuer::self_signed(params("root", 2090, true), key()).unwrap();
    let between = rcgen::CertifiedIssuer::signed_by(params("between", 2031, true), key(), &root).unwrap();
    let below = params("broker.example", 2040, false).signed_by(&key(), &between).unwrap();
    let direct = params("broker.example", 2028, false).signed_by(&key(), &root).unwrap();
    let other = params("other.example", 2027, false).signed_by(&key(), &root).unwrap();
    let foreign = params("broker.example", 2027, false).signed_by(&key(), &stranger).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(root.der().to_vec())).unwrap();
    let now = year(2030);
    let verifier = Verifier { roots, time: Arc::new(move || Known::Is(now)), ends: Arc::default() };
    let seen = |certificate: &rcgen::Certificate, chain: &[CertificateDer<'_>]| {
        let name = ServerName::try_from("broker.example").unwrap();
        let good = verifier.verify_server_cert(certificate.der(), chain, &name, &[], UnixTime::now()).is_ok();
        (good, verifier.ends.load(Ordering::Relaxed))
    };
    assert_eq!(seen(&foreign, &[]), (false, 0));
    assert_eq!(seen(&other, &[]), (false, 0));
    assert_eq!(seen(&below, &[]), (false, 0), "a link is missing");
    assert_eq!(seen(&below, &[between.der().clone()]), (true, year(2031)));
    // Over, and the broker's all the same.
    assert_eq!(seen(&direct, &[]), (false, year(2028)));
    assert_eq!(seen(&foreign, &[]), (false, year(2028)), "as it was seen last");
}

/// What lies on a drive may be anything: an error at worst, and soon.
#[test]
fn no_file_makes_it_panic() {
    let folder = Folder(tempfile::tempdir().unwrap());
    let (client, key) = certificate(Purpose::ClientAuth, (2020, 2090));
    let files = [client.pem(), key.serialize_pem()];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    let mut loaded = 0;
    for _ in 0..2_000 {
        let mut damaged = files.clone().map(String::into_bytes);
        for file in &mut damaged {
            for _ in 0..random(3) {
                let at = random(file.len());
                match random(4) {
                    0 => file.truncate(at + 1),
                    1 => file[at] = u8::try_from(random(256)).unwrap(),
                    2 => file[at] = b"ABCDEFxyz+/=\n-"[random(14)],
                    _ => drop(file.splice(at..at, b"-----BEGIN CERTIFICATE-----\n".iter().copied())),
                }
            }
        }
        let [crt, key] =
            [("c.crt", &damaged[0]), ("c.key", &damaged[1])].map(|(name, file)| folder.put(name, file));
        loaded += usize::from(folder.load(&crt, &crt, &key, Known::AtLeast(0)).is_ok());
    }
    assert!((1..1_999).contains(&loaded), "{loaded} of the damaged sets could be used");
}
