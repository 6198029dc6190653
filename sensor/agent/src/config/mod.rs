//! The configuration file of `hindcapd run`: TOML, every key in one table ([`keys::KEYS`]) with default, unit, range
//! and meaning. An unknown key, a wrong unit or a value out of range is an error with its line; nothing is guessed.
//! docs/CONFIG.md is printed from the same table.

pub mod keys;
mod reference;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::endurance::{Amplification, Endurance};
use crate::policy::{Cutoff, NetList, SkipList};
use crate::units::{Percent, Quota, Share, Size, Span};
use keys::{KEYS, Key, Kind, SegmentSize};
pub use reference::reference;

/// Largest configuration file that is read: bounds the work on a wrong path.
pub const CONFIG_BYTES_MAX: u64 = 1024 * 1024;

/// A configuration that cannot be used, with file and line where there is one.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Something in the file is wrong.
    Line {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// A key that has no default is missing.
    Missing {
        /// The file.
        path: PathBuf,
        /// The key with its section.
        key: &'static str,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, source } => write!(f, "read {}: {source}", path.display()),
            Self::Line { path, line, reason } => write!(f, "{}:{line}: {reason}", path.display()),
            Self::Missing { path, key } => {
                write!(f, "{}: {key} is missing and has no default", path.display())
            }
        }
    }
}

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// Everything the sensor is told; the meaning of each field stands in [`keys::KEYS`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // one table describes them all: keys.rs
pub struct Config {
    pub sensor_id: String,
    pub sensor_description: String,
    pub sensor_system: String,
    pub interface: String,
    pub ring: Size,
    pub snaplen: Size,
    pub filter: String,
    pub promiscuous: bool,
    pub store: PathBuf,
    pub store_size: Quota,
    pub segment: SegmentSize,
    pub flush_interval: Span,
    pub buffers: Size,
    pub hash_chain: bool,
    pub event_share: Share,
    pub cutoff: Cutoff,
    pub sample: u32,
    pub headers_only: bool,
    pub skip: SkipList,
    pub never_cut: NetList,
    pub held_share: Percent,
    pub max_age: Span,
    pub event_max_age: Span,
    pub min_age: Span,
    pub endurance: Endurance,
    pub write_amplification: Amplification,
    pub life: Span,
    pub broker: String,
    pub ca: String,
    pub certificate: String,
    pub key: String,
    pub username: String,
    pub password_file: String,
    pub unsigned: bool,
    pub status_interval: Span,
    pub state_dir: PathBuf,
    pub connection_file: String,
    pub result_max: Size,
    pub synchronised_marker: PathBuf,
    pub log_level: log::LevelFilter,
}

impl Config {
    /// Reads and checks the file at `path`.
    ///
    /// # Errors
    /// The file cannot be read, is no TOML, names an unknown key, or holds a value outside its range.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let read = |source| ConfigError::Read { path: path.to_owned(), source };
        if fs::metadata(path).map_err(read)?.len() > CONFIG_BYTES_MAX {
            return Err(read(std::io::Error::other("larger than 1 MiB, which no configuration is")));
        }
        Self::parse(&fs::read_to_string(path).map_err(read)?, path)
    }

    /// Checks `text` as the content of the file at `path`.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let values = Values::read(text, path)?;
        Ok(Self {
            sensor_id: values.get("sensor.id")?,
            sensor_description: values.get("sensor.description")?,
            sensor_system: values.get("sensor.system")?,
            interface: values.get("capture.interface")?,
            ring: values.get("capture.ring")?,
            snaplen: values.get("capture.snaplen")?,
            filter: values.get("capture.filter")?,
            promiscuous: values.get("capture.promiscuous")?,
            store: values.get("store.path")?,
            store_size: values.get("store.size")?,
            segment: values.get("store.segment")?,
            flush_interval: values.get("store.flush_interval")?,
            buffers: values.get("store.buffers")?,
            hash_chain: values.get("store.hash_chain")?,
            event_share: values.get("policy.event_share")?,
            cutoff: values.get("policy.cutoff")?,
            sample: values.get("policy.sample")?,
            headers_only: values.get("policy.headers_only")?,
            skip: values.get("policy.skip")?,
            never_cut: values.get("policy.never_cut")?,
            held_share: values.get("policy.held_share")?,
            max_age: values.get("policy.max_age")?,
            event_max_age: values.get("policy.event_max_age")?,
            min_age: values.get("policy.min_age")?,
            endurance: values.get("wear.endurance")?,
            write_amplification: values.get("wear.write_amplification")?,
            life: values.get("wear.life")?,
            broker: values.get("mqtt.broker")?,
            ca: values.get("mqtt.ca")?,
            certificate: values.get("mqtt.certificate")?,
            key: values.get("mqtt.key")?,
            username: values.get("mqtt.username")?,
            password_file: values.get("mqtt.password_file")?,
            unsigned: values.get("mqtt.unsigned")?,
            status_interval: values.get("mqtt.status_interval")?,
            state_dir: values.get("mqtt.state_dir")?,
            connection_file: values.get("mqtt.connection_file")?,
            result_max: values.get("mqtt.result_max")?,
            synchronised_marker: values.get("clock.synchronised_marker")?,
            log_level: values.get("log.level")?,
        })
    }
}

/// The values of a file, each checked against its key, defaults filled in, as text.
struct Values<'a> {
    path: &'a Path,
    texts: Vec<Option<String>>,
}

impl<'a> Values<'a> {
    fn read(text: &str, path: &'a Path) -> Result<Self, ConfigError> {
        let at = |offset: usize, reason: String| ConfigError::Line {
            path: path.to_owned(),
            line: line_of(text, offset),
            reason,
        };
        let root = DeTable::parse(text)
            .map_err(|error| at(error.span().map_or(0, |span| span.start), error.message().to_owned()))?;
        let mut texts: Vec<Option<String>> = KEYS.iter().map(|key| key.default.map(str::to_owned)).collect();
        for (section, table) in root.get_ref() {
            let name = section.get_ref().as_ref();
            if !KEYS.iter().any(|key| key.section() == name) {
                let known = KEYS.iter().map(Key::section);
                return Err(at(section.span().start, unknown("section", name, known)));
            }
            let DeValue::Table(table) = table.get_ref() else {
                return Err(at(section.span().start, format!("{name} is a section: write [{name}]")));
            };
            for (key, value) in table {
                let name = format!("{name}.{}", key.get_ref());
                let Some(position) = KEYS.iter().position(|key| key.name == name) else {
                    let known = KEYS.iter().map(|key| key.name);
                    return Err(at(key.span().start, unknown("key", &name, known)));
                };
                let text = checked(&KEYS[position], value)
                    .map_err(|reason| at(value.span().start, format!("{name}: {reason}")))?;
                texts[position] = Some(text);
            }
        }
        Ok(Self { path, texts })
    }

    fn get<T: std::str::FromStr>(&self, name: &'static str) -> Result<T, ConfigError> {
        let position = KEYS.iter().position(|key| key.name == name).expect("asked by its name in KEYS");
        let missing = || ConfigError::Missing { path: self.path.to_owned(), key: name };
        let text = self.texts[position].as_deref().ok_or_else(missing)?;
        text.parse().map_err(|_| missing())
    }
}

/// The text of `value` when it is what `key` takes.
fn checked(key: &Key, value: &Spanned<DeValue<'_>>) -> Result<String, String> {
    let text = match value.get_ref() {
        DeValue::String(text) => text.to_string(),
        DeValue::Boolean(yes) => yes.to_string(),
        DeValue::Integer(number) => number.as_str().to_owned(),
        DeValue::Float(number) => number.as_str().to_owned(),
        DeValue::Array(items) if matches!(key.kind, Kind::Expressions | Kind::Nets) => lines(key, items)?,
        other => return Err(format!("expected {}, not {}", key.kind.expected(), other.type_str())),
    };
    if matches!((&key.kind, value.get_ref()), (Kind::Expressions | Kind::Nets, other) if !matches!(other, DeValue::Array(_)))
    {
        return Err(format!("expected {}: write [\"...\"]", key.kind.expected()));
    }
    let quoted = matches!(value.get_ref(), DeValue::String(_));
    key.kind.check(&text, quoted).map(|()| text)
}

/// A list of texts, one a line.
fn lines(key: &Key, items: &[Spanned<DeValue<'_>>]) -> Result<String, String> {
    let text = |item: &Spanned<DeValue<'_>>| match item.get_ref() {
        DeValue::String(text) if !text.contains('\n') && !text.trim().is_empty() => Ok(text.to_string()),
        _ => Err(format!("expected {}, each one line of text", key.kind.expected())),
    };
    Ok(items.iter().map(text).collect::<Result<Vec<_>, _>>()?.join("\n"))
}

fn unknown<'n>(what: &str, name: &str, known: impl Iterator<Item = &'n str>) -> String {
    match hindcap_args::nearest(name, known) {
        Some(near) => format!("unknown {what} {name}; did you mean {near}?"),
        None => format!("unknown {what} {name}"),
    }
}

/// Line of byte `offset` in `text`, from 1.
fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

#[cfg(test)]
mod tests;
