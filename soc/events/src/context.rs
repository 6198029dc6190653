//! What a line cannot say itself: the present, time zones, and facts about the machines that write logs.

use std::fmt;
use std::net::IpAddr;

use hindcap_wire::time::Timestamp;
use jiff::tz::{Offset, TimeZone, TimeZoneDatabase};

/// What the caller knows about a line. Nothing is looked up behind the caller's back.
#[derive(Clone, Debug)]
pub struct Context {
    /// The present, for stamps without a year.
    pub now: Timestamp,
    /// The zone that the analyst gave with this line (`--tz`). A zone in the line itself goes before it.
    pub zone: Option<Zone>,
    /// What is known of the machines and programs that write logs.
    pub sources: Vec<Source>,
    /// The zone of the site, when nothing nearer is known.
    pub site_zone: Option<Zone>,
    /// Read the line as this format only, by its name; for lines that several formats know.
    pub format: Option<String>,
}

impl Context {
    /// A context in which only the present is known.
    #[must_use]
    pub const fn new(now: Timestamp) -> Self {
        Self { now, zone: None, sources: Vec::new(), site_zone: None, format: None }
    }

    /// The settings of the source that calls itself `name`; letter case does not count.
    #[must_use]
    pub fn source(&self, name: &str) -> Option<&Source> {
        self.sources.iter().find(|source| source.name.eq_ignore_ascii_case(name))
    }
}

/// Settings of one source of lines, found by the host name in the envelope or the sensor name in the line.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// The name, as it stands in the lines.
    pub name: String,
    /// The zone of its stamps.
    pub zone: Option<Zone>,
    /// Its own addresses, for lines that name only the other end (sshd, nginx, Exim).
    pub addresses: Vec<IpAddr>,
    /// Its Snort 3 `alert_csv` columns, as in the `fields` option; empty means Snort's default columns.
    pub csv_fields: Vec<String>,
}

/// A time zone: a name of the IANA database, such as `Europe/Berlin`, or a fixed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    name: String,
    pub(crate) rules: TimeZone,
}

impl Zone {
    /// Reads `Europe/Berlin`, `UTC`, `Z`, `+02:00`, `-0700` or `+02`. The database is the one built in.
    ///
    /// # Errors
    /// When it is none of these.
    pub fn new(text: &str) -> Result<Self, ZoneError> {
        let text = text.trim();
        let fixed = match text {
            "Z" | "z" => Some(0),
            _ => crate::stamp::offset_seconds(text),
        };
        if let Some(offset) = fixed.and_then(|seconds| Offset::from_seconds(seconds).ok()) {
            let name = if offset == Offset::UTC { "UTC".to_owned() } else { text.to_owned() };
            return Ok(Self { name, rules: TimeZone::fixed(offset) });
        }
        let rules = TimeZoneDatabase::bundled().get(text).map_err(|_| ZoneError(text.to_owned()))?;
        let name = rules.iana_name().map_or_else(|| text.to_owned(), str::to_owned);
        Ok(Self { name, rules })
    }

    /// The name, as given; names of the database in their proper letter case.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// A text that is no time zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneError(String);

impl fmt::Display for ZoneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is no time zone: give a name such as Europe/Berlin, UTC, or an offset such as +02:00",
            self.0
        )
    }
}

impl std::error::Error for ZoneError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_by_name_and_offset() {
        for (text, name) in [
            ("Europe/Berlin", "Europe/Berlin"),
            ("europe/berlin", "Europe/Berlin"),
            ("UTC", "UTC"),
            ("Z", "UTC"),
            ("+00:00", "UTC"),
            ("+02:00", "+02:00"),
            ("-0700", "-0700"),
        ] {
            assert_eq!(Zone::new(text).unwrap().name(), name, "{text}");
        }
        for text in ["", "Berlin", "+25:00", "+2", "12", "CEST"] {
            let error = Zone::new(text).unwrap_err().to_string();
            assert!(error.contains("is no time zone"), "{error}");
        }
    }

    #[test]
    fn sources_by_name() {
        let mut context = Context::new(Timestamp(0));
        context.sources.push(Source { name: "fw1.example".into(), ..Source::default() });
        assert!(context.source("FW1.example").is_some() && context.source("fw1").is_none());
    }
}
