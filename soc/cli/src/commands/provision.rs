//! `provision`: writes the files that make a new box a sensor of this fleet. The box takes them from its card at the next
//! start and wipes them there; docs/BOARDS.md has its side.
//!
//! What is written is what the sensor understands. It knows no TLS yet, so there is no certificate to give it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use serde::Serialize;

use crate::args;
use crate::exit::{Code, Failure};

const SETTINGS: &str = "hindcap.toml";
const PASSWORD: &str = "hindcap.password";
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

/// Makes the files of a new box.
pub(crate) fn provision(args: &args::Provision) -> Result<Code, Failure> {
    if args.broker.has_login() {
        let advice = "name the box's user by --box-user and its password by --box-password-file";
        return Err(Failure::new(format!("the broker's address holds a user; {advice}")));
    }
    let user = args.box_user.as_deref().unwrap_or(args.id.as_str());
    let password = if args.no_password { None } else { Some(password(args)?) };
    let settings = Settings {
        sensor: Sensor { id: args.id.as_str(), description: args.description.as_deref() },
        mqtt: Mqtt {
            broker: args.broker.to_string(),
            username: password.is_some().then_some(user),
            unsigned: args.unsigned,
        },
    };
    let text = toml::to_string(&settings).map_err(Failure::new)?;
    let dir = &args.directory;
    fs::create_dir_all(dir).map_err(|error| at(dir, &error))?;
    let files = [(SETTINGS, Some(text)), (PASSWORD, password.map(|password| format!("{password}\n")))];
    for (name, _) in &files {
        // A password of an earlier run beside settings without one would be taken as well.
        if !args.overwrite && dir.join(name).symlink_metadata().is_ok() {
            let path = dir.join(name);
            return Err(Failure::new(format!("{} exists; --overwrite replaces it", path.display())));
        }
    }
    for (name, content) in &files {
        let path = dir.join(name);
        match content {
            Some(content) => write(&path, content).map_err(|error| at(&path, &error))?,
            None if args.overwrite => remove(&path).map_err(|error| at(&path, &error))?,
            None => {}
        }
    }
    tell(args, user);
    Ok(Code::Done)
}

fn at(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::new(format!("{}: {error}", path.display()))
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

/// Writes a file that only its owner may read, and has it on the medium.
fn write(path: &Path, content: &str) -> io::Result<()> {
    // A file of somebody else's permissions must not keep them.
    remove(path)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()
}

fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path).or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    })
}

/// What was made and what is left to do, on stderr: none of it is data.
fn tell(args: &args::Provision, user: &str) {
    let dir = args.directory.display();
    eprintln!("hindcap: {dir}/{SETTINGS} makes a box the sensor {}", args.id);
    if !args.no_password {
        eprintln!("hindcap: {dir}/{PASSWORD} is its secret; the broker must know it, for mosquitto:");
        eprintln!("  mosquitto_passwd -b PASSWORD_FILE {user} \"$(cat {dir}/{PASSWORD})\"");
    }
    if !args.unsigned {
        eprintln!("hindcap: the box will record and report, and refuse every request (--unsigned)");
    }
    eprintln!("hindcap: this version has no TLS between box and broker: mind the way between them");
    eprintln!("hindcap: put both on the box's drive PROVISION; its answer will be hindcap.result.txt there");
}
