//! The settings file: profiles that give flags their values, so that nobody types a broker's address twice.
//!
//! ```toml
//! profile = "hq"            # used when --profile names none
//!
//! [profiles.hq]
//! broker = "mqtt://soc@broker.example"
//! password-file = "/home/ana/.config/hindcap/hq.password"
//! sensor = "branch-7"
//! timeout = "5m"
//! ```
//!
//! The keys of a profile are the long flags of any command. What a flag or a variable says goes before it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use hindcap_args::nearest;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::exit::Failure;

/// Largest file that is read: bounds the work on a wrong path.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Flags by their long names, with the value that a profile gives them.
pub(crate) type Values = BTreeMap<String, String>;

/// Where the settings are unless `--config` says otherwise: `$XDG_CONFIG_HOME/hindcap/config.toml`, `~/.config` without
/// that variable (XDG Base Directory Specification 0.8).
pub(crate) fn default_path(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let absolute = |path: &PathBuf| path.is_absolute();
    let config = variable("XDG_CONFIG_HOME").filter(absolute);
    let config = config.or_else(|| variable("HOME").filter(absolute).map(|home| home.join(".config")));
    config.map(|config| config.join("hindcap/config.toml"))
}

/// What profile `name`, or the file's own choice, says in the file at `path`. `flags` are the names that it may use.
///
/// # Errors
/// The file cannot be read or has something in it that cannot be meant, with its line; there is no such profile.
pub(crate) fn load(path: &Path, name: Option<&str>, flags: &[String]) -> Result<Values, Failure> {
    let fail = |error: &dyn std::fmt::Display| Failure::new(format!("{}: {error}", path.display()));
    if fs::metadata(path).map_err(|error| fail(&error))?.len() > FILE_BYTES_MAX {
        return Err(fail(&"larger than 1 MiB, which no settings file is"));
    }
    let text = fs::read_to_string(path).map_err(|error| fail(&error))?;
    read(&text, name, flags).map_err(|Wrong { at, what }| match at {
        Some(at) => {
            let line = text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1;
            Failure::new(format!("{}:{line}: {what}", path.display()))
        }
        None => fail(&what),
    })
}

/// Something that cannot be meant, and where.
struct Wrong {
    at: Option<usize>,
    what: String,
}

fn wrong<T>(at: usize, what: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong { at: Some(at), what: what.into() })
}

fn read(text: &str, name: Option<&str>, flags: &[String]) -> Result<Values, Wrong> {
    let document = DeTable::parse(text)
        .map_err(|error| Wrong { at: error.span().map(|span| span.start), what: error.message().into() })?;
    let (mut chosen, mut profiles) = (None, BTreeMap::new());
    for (key, value) in document.get_ref() {
        match (key.get_ref().as_ref(), value.get_ref()) {
            ("profile", DeValue::String(profile)) => chosen = Some((value.span().start, profile.to_string())),
            ("profiles", DeValue::Table(table)) => {
                for (name, profile) in table {
                    profiles.insert(name.get_ref().to_string(), values(profile, flags)?);
                }
            }
            (known @ ("profile" | "profiles"), _) => {
                return wrong(key.span().start, format!("{known} has a value of the wrong kind"));
            }
            (other, _) => {
                let hint = "expected `profile = \"NAME\"` or a table [profiles.NAME]";
                return wrong(key.span().start, format!("unknown key {other}; {hint}"));
            }
        }
    }
    let known = profiles.keys().cloned().collect::<Vec<_>>().join(", ");
    let (at, name) = match (name, chosen) {
        (Some(name), _) => (None, name.to_owned()),
        (None, Some((at, name))) => (Some(at), name),
        // One profile needs no choice.
        (None, None) => {
            return Ok(profiles.pop_first().filter(|_| profiles.is_empty()).unwrap_or_default().1);
        }
    };
    let none = || Wrong { at, what: format!("there is no profile {name}; there are: {known}") };
    profiles.remove(&name).ok_or_else(none)
}

/// One profile.
fn values(profile: &Spanned<DeValue<'_>>, flags: &[String]) -> Result<Values, Wrong> {
    let DeValue::Table(table) = profile.get_ref() else {
        return wrong(profile.span().start, "a profile is a table: [profiles.NAME]");
    };
    let mut values = Values::new();
    for (key, value) in table {
        let (flag, at) = (key.get_ref().as_ref(), key.span().start);
        if !flags.iter().any(|known| known == flag) {
            let hint = nearest(flag, flags.iter().map(String::as_str))
                .map(|near| format!("; did you mean {near}?"))
                .unwrap_or_default();
            return wrong(at, format!("unknown key {flag}: the keys are the long flags{hint}"));
        }
        let text = match value.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Boolean(on) => on.to_string(),
            DeValue::Integer(number) => number.to_string(),
            _ => return wrong(at, format!("{flag} wants a text, a number, true or false")),
        };
        values.insert(flag.to_owned(), text);
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags() -> Vec<String> {
        ["broker", "sensor", "quiet", "limit"].map(String::from).into()
    }

    fn get(text: &str, name: Option<&str>) -> Result<Values, (Option<usize>, String)> {
        read(text, name, &flags()).map_err(|Wrong { at, what }| (at, what))
    }

    const TWO: &str = "profile = 'hq'\n[profiles.hq]\nbroker = 'mqtt://a'\nquiet = true\nlimit = 7\n[profiles.lab]\nbroker = 'mqtt://b'\n";

    #[test]
    fn a_profile_gives_flags_their_values() {
        let hq = get(TWO, None).unwrap();
        assert_eq!(hq["broker"], "mqtt://a");
        assert_eq!((hq["quiet"].as_str(), hq["limit"].as_str()), ("true", "7"));
        assert_eq!(get(TWO, Some("lab")).unwrap()["broker"], "mqtt://b");
    }

    #[test]
    fn one_profile_needs_no_choice_and_two_without_one_give_nothing() {
        assert_eq!(get("[profiles.x]\nsensor = 's'\n", None).unwrap()["sensor"], "s");
        let two = TWO.replace("profile = 'hq'", "");
        assert!(get(&two, None).unwrap().is_empty());
        assert!(get("", None).unwrap().is_empty());
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        let (at, what) = get("[profiles.x]\nborker = 'a'\n", None).unwrap_err();
        assert_eq!(at, Some(13));
        assert!(what.contains("did you mean broker?"), "{what}");
        assert!(get(TWO, Some("nope")).unwrap_err().1.contains("there are: hq, lab"));
        assert!(get("broker = 'a'\n", None).unwrap_err().1.contains("unknown key broker"));
        assert!(get("profiles = 3\n", None).unwrap_err().1.contains("wrong kind"));
        assert!(get("[profiles.x]\nbroker = [1]\n", None).unwrap_err().1.contains("wants a text"));
        assert!(get("[profiles.x\n", None).unwrap_err().0.is_some());
    }

    #[test]
    fn the_file_lies_where_the_desktop_expects_it() {
        let env = |pairs: &'static [(&str, &str)]| {
            move |name: &str| {
                pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| PathBuf::from(value))
            }
        };
        let path = default_path(env(&[("HOME", "/home/ana")]));
        assert_eq!(path.unwrap(), Path::new("/home/ana/.config/hindcap/config.toml"));
        let path = default_path(env(&[("HOME", "/home/ana"), ("XDG_CONFIG_HOME", "/etc/xdg")]));
        assert_eq!(path.unwrap(), Path::new("/etc/xdg/hindcap/config.toml"));
        assert_eq!(default_path(env(&[])), None);
    }
}
