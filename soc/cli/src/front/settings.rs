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
//! The keys of a profile are the long flags of any command. What a flag or a variable says goes before it. Machines that
//! write logs have tables of their own ([`super::sources`]), and so have sites and groups of sensors ([`super::sites`]).

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use hindcap_args::nearest;
use hindcap_events::Source;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::sites::{group, site};
use super::sources::source;
use crate::exit::Failure;
use crate::gather::Sites;

/// Largest file that is read: bounds the work on a wrong path.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Flags by their long names, with the value that a profile gives them.
pub(crate) type Values = BTreeMap<String, String>;

/// What the file says.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    /// Of the profile in use.
    pub(crate) values: Values,
    /// Whatever profile is in use.
    pub(crate) machines: Machines,
}

/// What is known of the world.
#[derive(Debug, Default)]
pub(crate) struct Machines {
    /// Machines that write logs.
    pub(crate) sources: Vec<Source>,
    /// Where sensors stand.
    pub(crate) sites: Sites,
}

/// Where the settings are unless `--config` says otherwise: `$XDG_CONFIG_HOME/hindcap/config.toml`, `~/.config` without
/// that variable (XDG Base Directory Specification 0.8).
pub(crate) fn default_path(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let absolute = |path: &PathBuf| path.is_absolute();
    let config = variable("XDG_CONFIG_HOME").filter(absolute);
    let config = config.or_else(|| variable("HOME").filter(absolute).map(|home| home.join(".config")));
    config.map(|config| config.join("hindcap/config.toml"))
}

/// Where data of this program belongs: `$XDG_DATA_HOME/hindcap`, `~/.local/share` without that variable.
pub(crate) fn data_dir(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let absolute = |path: &PathBuf| path.is_absolute();
    let data = variable("XDG_DATA_HOME").filter(absolute);
    let data = data.or_else(|| variable("HOME").filter(absolute).map(|home| home.join(".local/share")));
    data.map(|data| data.join("hindcap"))
}

/// What profile `name`, or the file's own choice, says in the file at `path`. `flags` are the names that it may use.
///
/// # Errors
/// The file cannot be read or has something in it that cannot be meant, with its line; there is no such profile.
pub(crate) fn load(path: &Path, name: Option<&str>, flags: &[String]) -> Result<Settings, Failure> {
    let fail = |error: &dyn std::fmt::Display| Failure::new(format!("{}: {error}", path.display()));
    if fs::metadata(path).map_err(|error| fail(&error))?.len() > FILE_BYTES_MAX {
        return Err(fail(&"larger than 1 MiB, which no settings file is"));
    }
    let text = fs::read_to_string(path).map_err(|error| fail(&error))?;
    read(&text, name, flags).map_err(|wrong| wrong.told(path, &text))
}

/// Something that cannot be meant, and where.
#[derive(Debug)]
pub(crate) struct Wrong {
    at: Option<usize>,
    pub(super) what: String,
}

impl Wrong {
    /// That `what` is wrong, with what stands at `place` where that can be told.
    pub(crate) fn new(place: Option<Range<usize>>, what: impl Into<String>) -> Self {
        Self { at: place.map(|place| place.start), what: what.into() }
    }

    /// In words, with the line of the file at `path`, which has `text`.
    pub(crate) fn told(&self, path: &Path, text: &str) -> Failure {
        let line = |at: usize| text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1;
        let line = self.at.map(|at| format!(":{}", line(at))).unwrap_or_default();
        Failure::new(format!("{}{line}: {}", path.display(), self.what))
    }
}

/// That `what` is wrong with what begins at byte `at`.
pub(crate) fn wrong<T>(at: usize, what: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong { at: Some(at), what: what.into() })
}

fn read(text: &str, name: Option<&str>, flags: &[String]) -> Result<Settings, Wrong> {
    let document = DeTable::parse(text).map_err(|error| Wrong::new(error.span(), error.message()))?;
    let (mut chosen, mut profiles, mut machines) = (None, BTreeMap::new(), Machines::default());
    for (key, value) in document.get_ref() {
        match (key.get_ref().as_ref(), value.get_ref()) {
            ("profile", DeValue::String(profile)) => chosen = Some((value.span().start, profile.to_string())),
            ("profiles", DeValue::Table(table)) => {
                for (name, profile) in table {
                    profiles.insert(name.get_ref().to_string(), values(profile, flags)?);
                }
            }
            ("sources", DeValue::Table(table)) => {
                for (name, keys) in table {
                    machines.sources.push(source(name.get_ref(), keys)?);
                }
            }
            ("sites", DeValue::Table(table)) => {
                for (name, keys) in table {
                    machines.sites.sites.push(site(name.get_ref(), keys)?);
                }
            }
            ("groups", DeValue::Table(table)) => {
                for (name, members) in table {
                    machines.sites.groups.push((name.get_ref().to_string(), group(members)?));
                }
            }
            (known @ ("profile" | "profiles" | "sources" | "sites" | "groups"), _) => {
                return wrong(key.span().start, format!("{known} has a value of the wrong kind"));
            }
            (other, _) => {
                let hint = "expected `profile = \"NAME\"`, a table [profiles.NAME], [sources.NAME], [sites.NAME] or [groups]";
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
            let values = profiles.pop_first().filter(|_| profiles.is_empty()).unwrap_or_default().1;
            return Ok(Settings { values, machines });
        }
    };
    let none = || Wrong { at, what: format!("there is no profile {name}; there are: {known}") };
    profiles.remove(&name).ok_or_else(none).map(|values| Settings { values, machines })
}

/// A text.
pub(crate) fn text<'a>(value: &'a Spanned<DeValue<'_>>, key: &str) -> Result<&'a str, Wrong> {
    match value.get_ref() {
        DeValue::String(text) => Ok(text),
        _ => wrong(value.span().start, format!("{key} wants a text in quotes")),
    }
}

/// A list of texts.
pub(crate) fn texts<'a>(value: &'a Spanned<DeValue<'_>>, key: &str) -> Result<Vec<&'a str>, Wrong> {
    match value.get_ref() {
        DeValue::Array(items) => items.iter().map(|item| text(item, key)).collect(),
        _ => wrong(value.span().start, format!("{key} wants a list of texts: [\"...\"]")),
    }
}

/// That `key` is not one of `known`, with the one that may be meant.
pub(crate) fn unknown<T>(
    key: &Spanned<std::borrow::Cow<'_, str>>,
    of: &str,
    known: &[&str],
) -> Result<T, Wrong> {
    let name = key.get_ref();
    let hint = nearest(name, known.iter().copied())
        .map(|near| format!("; did you mean {near}?"))
        .unwrap_or_default();
    wrong(key.span().start, format!("unknown key {name} of a {of}{hint}"))
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
        read(text, name, &flags()).map(|settings| settings.values).map_err(|Wrong { at, what }| (at, what))
    }

    fn sources(text: &str) -> Result<Vec<Source>, (Option<usize>, String)> {
        read(text, None, &flags())
            .map(|settings| settings.machines.sources)
            .map_err(|Wrong { at, what }| (at, what))
    }

    #[test]
    fn machines_that_write_logs_are_known_by_name() {
        let text = "[sources.'fw1.example']\ntz = 'Europe/Berlin'\naddresses = ['192.0.2.1', '2001:db8::1']\n\
                    csv-fields = ['seconds', 'proto']\n[profiles.x]\nsensor = 's'\n";
        let found = sources(text).unwrap();
        assert_eq!((found.len(), found[0].name.as_str()), (1, "fw1.example"));
        assert_eq!(found[0].zone.as_ref().unwrap().name(), "Europe/Berlin");
        assert_eq!(found[0].addresses[1], "2001:db8::1".parse::<std::net::IpAddr>().unwrap());
        assert_eq!(found[0].csv_fields, ["seconds", "proto"]);
        for (text, at, words) in [
            ("[sources.a]\ntz = 'Mars'\n", 17, "no time zone"),
            ("[sources.a]\ntz = 3\n", 17, "wants a text"),
            ("[sources.a]\naddresses = 'x'\n", 24, "a list of texts"),
            ("[sources.a]\naddresses = ['x']\n", 24, "no IP address"),
            ("[sources.a]\nadresses = []\n", 12, "did you mean addresses?"),
            ("[sources]\na = 1\n", 14, "a source is a table"),
        ] {
            let (found, what) = sources(text).unwrap_err();
            assert!(what.contains(words), "{what}");
            assert_eq!(found, Some(at), "{text}: {what}");
        }
        assert!(sources("sources = 1\n").unwrap_err().1.contains("wrong kind"));
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
