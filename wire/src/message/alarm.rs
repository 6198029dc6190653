//! What a person should look at, and the messages that say when it begins and ends (`up/event`).

use alloc::string::String;
use core::fmt;

use serde::{Deserialize, Serialize};

use super::topic::SensorId;
use crate::time::Timestamp;

/// Alarms that a status shows, so that it stays below 4 KiB.
pub const ALARMS_SHOWN_MAX: usize = 8;
/// Longest text and longest advice, characters.
pub const ALARM_TEXT_MAX: usize = 160;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Nothing is lost yet; plan for it.
    Warn,
    /// Packets are being lost, or soon will be: act now.
    Critical,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Warn => "warning",
            Self::Critical => "CRITICAL",
        })
    }
}

/// What a person should look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm {
    /// Stable name, for programs.
    pub code: String,
    /// How bad it is.
    pub severity: Severity,
    /// What has happened and what it means for the recording.
    pub text: String,
    /// What to do.
    pub advice: String,
    /// Since when.
    pub since: Timestamp,
}

impl fmt::Display for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, severity, text, advice, since } = self;
        write!(f, "{severity}: {code}: {text} (since {since})")?;
        if advice.is_empty() { Ok(()) } else { write!(f, "; {advice}") }
    }
}

/// Something happened that is worth a message of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// [`super::SCHEMA`].
    pub schema: u16,
    /// Who.
    pub sensor: SensorId,
    /// When it was noticed; it may be sent much later.
    pub at: Timestamp,
    /// What.
    pub body: EventBody,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventBody {
    /// An alarm has begun, or its severity has changed.
    AlarmRaised(Alarm),
    /// An alarm is over; as it stood last.
    AlarmCleared(Alarm),
}
