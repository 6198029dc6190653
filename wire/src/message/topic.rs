//! Topics: `hindcap/v1/<sensor id>/<direction>/<kind>`. One level per sensor, so that a broker's access list is one
//! line per direction (mosquitto: `pattern write hindcap/v1/%u/up/#`, `pattern read hindcap/v1/%u/down/#`).

use alloc::format;
use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::limits::SENSOR_ID_BYTES_MAX;

/// First two levels of every topic.
pub const PREFIX: &str = "hindcap/v1";

/// A sensor's name: 1 to 64 of `A-Z a-z 0-9 . _ -`, so that it is one topic level, a file name and a user name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SensorId(String);

impl SensorId {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SensorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is not a sensor identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseSensorIdError;

impl fmt::Display for ParseSensorIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "expected a sensor id: 1 to {SENSOR_ID_BYTES_MAX} letters, digits, dots, dashes or underscores"
        )
    }
}

impl core::error::Error for ParseSensorIdError {}

impl FromStr for SensorId {
    type Err = ParseSensorIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let fits = (1..=SENSOR_ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(allowed);
        if fits { Ok(Self(text.into())) } else { Err(ParseSensorIdError) }
    }
}

impl Serialize for SensorId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for SensorId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// The last two levels of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Channel {
    /// SOC to sensor: an [`Envelope`](super::Envelope) with a request.
    Request,
    /// SOC to sensor: which chunks have arrived, [`Ack`](super::Ack).
    Ack,
    /// Sensor, retained: birth and last will, [`State`](super::State).
    State,
    /// Sensor, retained: [`Status`](super::Status).
    Status,
    /// Sensor: [`Reply`](super::Reply).
    Reply,
    /// Sensor: [`Chunk`](super::Chunk).
    Chunk,
    /// Sensor: [`Event`](super::Event), alarms that begin and end.
    Event,
}

impl Channel {
    const ALL: [Self; 7] =
        [Self::Request, Self::Ack, Self::State, Self::Status, Self::Reply, Self::Chunk, Self::Event];

    const fn levels(self) -> &'static str {
        match self {
            Self::Request => "down/request",
            Self::Ack => "down/ack",
            Self::State => "up/state",
            Self::Status => "up/status",
            Self::Reply => "up/reply",
            Self::Chunk => "up/chunk",
            Self::Event => "up/event",
        }
    }

    /// The topic of this channel for `sensor`.
    #[must_use]
    pub fn topic(self, sensor: &SensorId) -> String {
        format!("{PREFIX}/{sensor}/{}", self.levels())
    }

    /// Which channel `topic` is of `sensor`; `None` for anything else.
    #[must_use]
    pub fn of(topic: &str, sensor: &SensorId) -> Option<Self> {
        let rest = topic
            .strip_prefix(PREFIX)?
            .strip_prefix('/')?
            .strip_prefix(sensor.as_str())?
            .strip_prefix('/')?;
        Self::ALL.into_iter().find(|channel| channel.levels() == rest)
    }
}

/// Whether replies to `sensor`'s requests may go to `topic`: below its own `up/reply/`, without wildcards.
#[must_use]
pub fn is_own_reply_topic(topic: &str, sensor: &SensorId) -> bool {
    let below = topic.strip_prefix(&format!("{}/", Channel::Reply.topic(sensor)));
    let named = below.is_some_and(|rest| !rest.is_empty());
    named && topic.len() <= 256 && !topic.contains(['+', '#', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_name_sensor_and_channel() {
        let sensor: SensorId = "branch-12".parse().unwrap();
        for channel in Channel::ALL {
            assert_eq!(Channel::of(&channel.topic(&sensor), &sensor), Some(channel));
        }
        assert_eq!(Channel::Request.topic(&sensor), "hindcap/v1/branch-12/down/request");
        let other: SensorId = "branch-1".parse().unwrap();
        assert_eq!(Channel::of(&Channel::Ack.topic(&sensor), &other), None);
    }

    #[test]
    fn sensor_ids_are_one_level() {
        for text in ["", "a/b", "+", "#", "a b", "ü", &"x".repeat(65)] {
            assert!(text.parse::<SensorId>().is_err(), "{text}");
        }
    }

    #[test]
    fn replies_stay_below_the_sensor() {
        let sensor: SensorId = "b1".parse().unwrap();
        assert!(is_own_reply_topic("hindcap/v1/b1/up/reply/alice", &sensor));
        for topic in ["hindcap/v1/b1/up/reply/", "hindcap/v1/b2/up/reply/x", "hindcap/v1/b1/up/reply/+", "x"]
        {
            assert!(!is_own_reply_topic(topic, &sensor), "{topic}");
        }
    }
}
