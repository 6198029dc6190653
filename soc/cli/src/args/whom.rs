//! Which sensors are asked.

use std::fmt;
use std::str::FromStr;

use hindcap_wire::message::SensorId;

/// The sensors that a command is for. With none named, the networks of the sites in the settings decide where the query has
/// addresses ([`crate::gather::choose`]).
#[derive(clap::Args, Clone, Debug, Default)]
#[command(next_help_heading = "Sensor")]
pub(crate) struct Whom {
    /// A sensor's name, several with commas between, or a pattern such as 'branch-*'; again for more
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    pub(crate) sensor: Vec<Pattern>,
    /// The sensors of a group or a site of the settings; again for more
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) group: Vec<String>,
    /// Every sensor that the broker knows
    #[arg(long)]
    pub(crate) all_sensors: bool,
}

impl Whom {
    /// Whether nobody is named.
    pub(crate) fn is_open(&self) -> bool {
        self.sensor.is_empty() && self.group.is_empty() && !self.all_sensors
    }
}

/// A sensor's name, or a shell pattern of names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// This one.
    Name(SensorId),
    /// All whose names match.
    Glob(glob::Pattern),
}

impl Pattern {
    /// Whether `sensor` is meant.
    pub(crate) fn matches(&self, sensor: &SensorId) -> bool {
        match self {
            Self::Name(name) => name == sensor,
            Self::Glob(pattern) => pattern.matches(sensor.as_str()),
        }
    }
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains(['*', '?', '[']) {
            return glob::Pattern::new(text).map(Self::Glob).map_err(|error| error.to_string());
        }
        text.parse::<SensorId>().map(Self::Name).map_err(|error| error.to_string())
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Glob(pattern) => pattern.fmt(f),
        }
    }
}
