//! `provision`: writes the files that make a new box a sensor of this fleet. The box takes them from its card at the next
//! start and wipes them there; docs/BOARDS.md has its side.

use std::fs;
use std::path::{Path, PathBuf};

use hindcap_soc_api::{Identity, Tls, Trust};
use serde::Serialize;

use crate::args::{self, this_clock};
use crate::authority::{Authority, Subject};
use crate::exit::{Code, Failure};
use crate::secret::{at, none_exists, remove, write};

/// The files on the drive; the box reads these and no others.
const SETTINGS: &str = "hindcap.toml";
const PASSWORD: &str = "hindcap.password";
const CA: &str = "hindcap.ca.crt";
const CERTIFICATE: &str = "hindcap.crt";
const KEY: &str = "hindcap.key";
/// Characters of a random password: 24 of 64 kinds, 144 bits.
const PASSWORD_CHARACTERS: usize = 24;
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The settings file; its keys are docs/CONFIG.md's.
#[derive(Serialize)]
struct Settings<'a> {
    sensor: Sensor<'a>,
    mqtt: Mqtt<'a>,
}

#[derive(Serialize)]
struct Sensor<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
}

#[derive(Serialize)]
struct Mqtt<'a> {
    broker: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    unsigned: bool,
}

/// What TLS needs on the box, PEM.
#[derive(Default)]
struct Certificates {
    ca: Option<String>,
    certificate: Option<String>,
    key: Option<String>,
    /// Until when the box's is valid, where it was issued here.
    until: Option<String>,
}

/// Makes the files of a new box.
pub(crate) fn provision(args: &args::Provision) -> Result<Code, Failure> {
    if args.broker.has_login() {
        let advice = "name the box's user by --box-user and its password by --box-password-file";
        return Err(Failure::new(format!("the broker's address holds a user; {advice}")));
    }
    let dir = &args.directory;
    let names = [SETTINGS, PASSWORD, CA, CERTIFICATE, KEY].map(|name| dir.join(name));
    if !args.overwrite {
        // A file of an earlier run beside settings without it would be taken as well.
        none_exists(names.iter().map(PathBuf::as_path))?;
    }
    let certificates = certificates(args)?;
    let user = args.box_user.as_deref().unwrap_or(args.id.as_str());
    let wanted = !args.no_password && (certificates.key.is_none() || args.box_password_file.is_some());
    let password = if wanted { Some(password(args)?) } else { None };
    let settings = Settings {
        sensor: Sensor { id: args.id.as_str(), description: args.description.as_deref() },
        mqtt: Mqtt {
            broker: args.broker.to_string(),
            username: password.is_some().then_some(user),
            unsigned: args.unsigned,
        },
    };
    let text = toml::to_string(&settings).map_err(Failure::new)?;
    fs::create_dir_all(dir).map_err(|error| at(dir, &error))?;
    let with_password = password.is_some();
    let password = password.map(|password| format!("{password}\n"));
    let Certificates { ca, certificate, key, until } = certificates;
    let with_key = key.is_some();
    for (path, content) in names.iter().zip([Some(text), password, ca, certificate, key]) {
        match content {
            Some(content) => write(path, &content)?,
            None => remove(path)?,
        }
    }
    tell(args, with_password.then_some(user), with_key, until.as_deref());
    Ok(Code::Done)
}

/// What the box needs for a broker with TLS, judged as the box will judge it.
fn certificates(args: &args::Provision) -> Result<Certificates, Failure> {
    let read = |path: &Path| fs::read_to_string(path).map_err(|error| at(path, &error));
    if !args.broker.is_tls() {
        return match [&args.issue, &args.box_cert, &args.ca].iter().any(|named| named.is_some()) {
            true => Err(Failure::new(format!(
                "certificates are for a broker with TLS, and {} is without: write mqtts://",
                args.broker
            ))),
            false => Ok(Certificates::default()),
        };
    }
    let authority = args.issue.as_deref().map(Authority::open).transpose()?;
    let own = authority.as_ref().map(Authority::certificate);
    let Some(ca) = args.ca.as_ref().or(own.as_ref()) else {
        return Err(Failure::new(
            "a box believes no broker with TLS unless it is told whose signature makes it good: give --ca FILE, or --issue",
        ));
    };
    let identity = match (&args.box_cert, &args.box_key) {
        (Some(certificate), Some(key)) => Some(Identity { certificate, key }),
        _ => None,
    };
    let tls = Tls::load(Trust::File(ca), identity, this_clock()).map_err(Failure::new)?;
    if let Some(doubt) = tls.doubt() {
        return Err(Failure::new(doubt));
    }
    let mut made = Certificates { ca: Some(read(ca)?), ..Certificates::default() };
    if let Some(Identity { certificate, key }) = identity {
        (made.certificate, made.key) = (Some(read(certificate)?), Some(read(key)?));
    }
    if let Some(authority) = &authority {
        let issued = authority.issue(Subject::Sensor(&args.id), crate::now())?;
        // The record of what was issued; the key goes to the box alone.
        authority.keep("sensor", args.id.as_str(), &issued, false, args.overwrite)?;
        (made.certificate, made.key) = (Some(issued.certificate), Some(issued.key));
        made.until = Some(issued.until);
    }
    Ok(made)
}

/// The password given, or a new one.
fn password(args: &args::Provision) -> Result<String, Failure> {
    let Some(path) = &args.box_password_file else { return random_password() };
    args::first_line(path)
}

fn random_password() -> Result<String, Failure> {
    let mut bytes = [0; PASSWORD_CHARACTERS];
    getrandom::fill(&mut bytes).map_err(|error| Failure::new(format!("no randomness: {error}")))?;
    // 64 divides 256: every character is as likely as any other.
    Ok(bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 64)])).collect())
}

/// What was made and what is left to do, on stderr: none of it is data.
fn tell(args: &args::Provision, user: Option<&str>, with_key: bool, until: Option<&str>) {
    let dir = args.directory.display();
    eprintln!("hindcap: {dir}/{SETTINGS} makes a box the sensor {}", args.id);
    if let Some(user) = user {
        eprintln!("hindcap: {dir}/{PASSWORD} is its secret; the broker must know it, for mosquitto:");
        eprintln!("  mosquitto_passwd -b PASSWORD_FILE {user} \"$(cat {dir}/{PASSWORD})\"");
    }
    if with_key {
        eprintln!("hindcap: {dir}/{KEY} is its secret, {dir}/{CERTIFICATE} says that it is {}", args.id);
    }
    if let Some(until) = until {
        eprintln!("hindcap: the certificate is valid until {until}");
    }
    if !args.unsigned {
        eprintln!("hindcap: the box will record and report, and refuse every request (--unsigned)");
    }
    if !args.broker.is_tls() {
        eprintln!("hindcap: mqtt:// is without TLS: mind the way between box and broker, or write mqtts://");
    }
    eprintln!(
        "hindcap: put all of them on the box's drive PROVISION; its answer will be hindcap.result.txt there"
    );
}
