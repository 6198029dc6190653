//! What a sensor says of itself: its state (birth and last will) and its status, both retained.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use super::alarm::{ALARMS_SHOWN_MAX, Alarm};
use super::card::CardStatus;
use super::codec::{Encoding, encode};
use super::hold::HeldShare;
use super::topic::SensorId;
use super::ulid::Ulid;
use super::wear::WearStatus;
use crate::drops::DropCounts;
use crate::policy::{LeftOut, Policy};
use crate::text::beginning;
use crate::time::{ClockState, NANOS_PER_SEC, Timestamp};

/// One connection of one run of the sensor: the run's identifier and a count of its connections. A last will is about
/// the connection that registered it and says nothing about later ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MqttSession {
    /// Made at the start of the run.
    pub run: Ulid,
    /// Connections made in this run so far.
    pub connection: u32,
}

/// Whether a sensor is connected; retained, `online: true` on connecting, `online: false` as the last will.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// [`super::SCHEMA`].
    pub schema: u16,
    /// Who.
    pub sensor: SensorId,
    /// Whether it is connected.
    pub online: bool,
    /// Which connection this is about.
    pub mqtt_session: MqttSession,
    /// When this was written. A last will is written on connecting; a farewell when leaving.
    pub sent: Timestamp,
}

/// What a retained state and status together say.
///
/// A sensor publishes its status on every connection before its birth. So when the state says "offline" about another
/// connection than the status is from, it is a late will of an older connection, and loses. Clocks play no part.
#[must_use]
pub fn is_online(state: &State, status: Option<&Status>) -> bool {
    state.online || status.is_some_and(|status| status.mqtt_session != state.mqtt_session)
}

/// How a sensor does. Everything that is not known is absent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// [`super::SCHEMA`].
    pub schema: u16,
    /// Who.
    pub sensor: SensorId,
    /// When.
    pub sent: Timestamp,
    /// On which connection.
    pub mqtt_session: MqttSession,
    /// Free text: where the sensor stands.
    pub description: String,
    /// Version of the sensor.
    pub version: String,
    /// Free text: what it runs on, such as the image of a box and its slot; empty when nobody says.
    pub system: String,
    /// The kernel's boot identifier.
    pub boot_id: String,
    /// Seconds since boot.
    pub uptime_secs: u64,
    /// Unsigned requests are obeyed: a development mode.
    pub unsigned_requests: bool,
    /// What is captured.
    pub capture: Option<CaptureStatus>,
    /// What is stored.
    pub store: Option<StoreStatus>,
    /// The medium that the store lies on; absent where there is none.
    pub card: Option<CardStatus>,
    /// Its wear.
    pub wear: Option<WearStatus>,
    /// What was pinned, where the store has an event ring.
    pub events: Option<EventsStatus>,
    /// What is left out on purpose; absent when everything is recorded.
    #[serde(default)]
    pub policy: Option<PolicyStatus>,
    /// The clock.
    pub clock: ClockStatus,
    /// The machine.
    pub machine: MachineStatus,
    /// What is being done for others.
    pub jobs: JobStatus,
    /// Hash of the configuration in force, hexadecimal; empty when there is none.
    pub config_hash: String,
    /// What a person should look at, critical ones first, at most [`ALARMS_SHOWN_MAX`] and what fits.
    pub alarms: Vec<Alarm>,
    /// Alarms that did not fit.
    pub alarms_more: u32,
    /// What is held, and how old packets may and must become.
    pub held: Option<HeldStatus>,
}

/// What is captured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureStatus {
    /// Interface or savefile.
    pub interface: String,
    /// Whether the link is up; absent when not known.
    pub link_up: Option<bool>,
    /// Packets kept since the start.
    pub packets: u64,
    /// Bytes kept since the start.
    pub bytes: u64,
    /// Packets lost since the start, by cause.
    pub drops: DropCounts,
    /// Packets a second, lately.
    pub packets_per_sec: u64,
    /// Bytes a second, lately.
    pub bytes_per_sec: u64,
}

/// What is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreStatus {
    /// Most bytes the store may take.
    pub quota_bytes: u64,
    /// Bytes of segments that hold packets.
    pub used_bytes: u64,
    /// Segments that hold packets.
    pub segments: u32,
    /// The oldest packet.
    pub oldest: Option<Timestamp>,
    /// The newest packet that can be found.
    pub newest: Option<Timestamp>,
    /// How far back the store reaches when full, at the rate of late.
    pub retention_forecast_secs: Option<u64>,
}

/// What is held, and how old packets may and must become.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldStatus {
    /// What holds take of the store.
    pub share: HeldShare,
    /// When the next hold ends.
    pub next_expiry: Option<Timestamp>,
    /// Age from which on packets are not given out any more and are removed; absent when there is no limit.
    pub max_age_secs: Option<u64>,
    /// Age that packets are to reach before they are overwritten; absent when nobody asks for one.
    pub min_age_secs: Option<u64>,
}

/// The event ring: sessions that were pinned.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventsStatus {
    /// Most bytes the event ring may take; part of the store's.
    pub quota_bytes: u64,
    /// Bytes of segments that hold packets.
    pub used_bytes: u64,
    /// Packets in it.
    pub packets: u64,
    /// The oldest packet.
    pub oldest: Option<Timestamp>,
    /// The newest packet.
    pub newest: Option<Timestamp>,
    /// Pins at work: being copied, or waiting for what comes.
    pub pins_active: u32,
    /// Packets copied for the pins that are remembered.
    pub packets_copied: u64,
    /// Their captured bytes.
    pub bytes_copied: u64,
    /// Segments of the general ring that were overwritten before a pin had been through them.
    pub segments_missed: u64,
    /// Age from which on copies are not given out any more and are removed; absent when there is no limit.
    pub max_age_secs: Option<u64>,
}

/// What is left out on purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyStatus {
    /// The policy in force.
    pub policy: Policy,
    /// What it left out since the start. What skip rules leave out in the kernel is not counted.
    pub left_out: LeftOut,
    /// What policies left out of the sealed segments that the store still holds.
    #[serde(default)]
    pub stored: LeftOut,
}

/// The clock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockStatus {
    /// What the kernel says of it.
    pub state: ClockState,
    /// The local zone's offset from UTC, seconds.
    pub utc_offset_secs: i32,
    /// How far off it was in this boot before it was set, as far as the store reaches back; absent: nothing was recorded by a
    /// clock that was off, or it has not been set yet.
    pub offset: Option<ClockOffset>,
}

/// How far a clock was off before it was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockOffset {
    /// What is added to the times that were recorded, nanoseconds: above zero the clock was behind.
    pub nanos: i64,
    /// Until when it was off, true time.
    pub until: Timestamp,
}

impl fmt::Display for ClockOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = if self.nanos < 0 { "ahead" } else { "behind" };
        // Whole seconds are what a person compares.
        let secs = self.nanos.unsigned_abs() / NANOS_PER_SEC;
        write!(f, "{secs} s {way} until {}; times recorded before are given out corrected", self.until)
    }
}

impl fmt::Display for ClockStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.state.name())?;
        self.offset.map_or(Ok(()), |offset| write!(f, "; it was {offset}"))
    }
}

/// The machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineStatus {
    /// Load average of a minute, hundredths.
    pub load_percent: Option<u32>,
    /// Resident memory of the sensor's process, bytes.
    pub resident_bytes: Option<u64>,
    /// Memory available on the machine, bytes.
    pub available_bytes: Option<u64>,
    /// Temperature, thousandths of a degree Celsius.
    pub temperature_millicelsius: Option<i32>,
}

/// What is being done for others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobStatus {
    /// Requests that wait.
    pub queued: u32,
    /// Requests at work.
    pub running: u32,
    /// Results that wait to be fetched.
    pub delivering: u32,
    /// Requests that ended since the start.
    pub ended: u64,
    /// Requests that were rejected since the start.
    pub rejected: u64,
}

/// Bytes of a status as JSON: every sensor's newest one is kept by the broker.
pub const STATUS_BYTES_MAX: usize = 4096;

/// Longest description that a status shows, bytes, with [`CUT_MARK`] where it was cut. A configuration that has a longer one is
/// refused.
pub const DESCRIPTION_BYTES_MAX: usize = 512;
/// The same of the system.
pub const SYSTEM_BYTES_MAX: usize = 96;
/// Longest of its other texts, bytes: names, versions, identifiers.
const TEXT_BYTES_MAX: usize = 160;
/// Stands behind a text that was cut.
pub const CUT_MARK: &str = "...";

impl Status {
    /// The same in at most [`STATUS_BYTES_MAX`]: texts that nobody bounded are cut and marked; then the alarms that matter least
    /// go, and are counted; at last the description.
    #[must_use]
    pub fn fit(mut self) -> Self {
        self.cut_texts();
        let too_long = |status: &Self| {
            status.alarms.len() > ALARMS_SHOWN_MAX
                || encode(status, Encoding::Json).is_ok_and(|bytes| bytes.len() > STATUS_BYTES_MAX)
        };
        while too_long(&self) && self.alarms.pop().is_some() {
            self.alarms_more += 1;
        }
        // Quotes take two bytes of JSON each.
        if too_long(&self) {
            cut(&mut self.description, DESCRIPTION_BYTES_MAX / 8);
        }
        self
    }

    fn cut_texts(&mut self) {
        cut(&mut self.description, DESCRIPTION_BYTES_MAX);
        cut(&mut self.system, SYSTEM_BYTES_MAX);
        for text in [&mut self.version, &mut self.boot_id, &mut self.config_hash] {
            cut(text, TEXT_BYTES_MAX);
        }
        if let Some(capture) = &mut self.capture {
            cut(&mut capture.interface, TEXT_BYTES_MAX);
        }
        if let Some(card) = &mut self.card {
            cut(&mut card.label, TEXT_BYTES_MAX);
            cut(&mut card.detail, TEXT_BYTES_MAX);
        }
    }

    /// A status of `sensor` of which nothing more is known.
    #[must_use]
    pub fn new(sensor: SensorId) -> Self {
        Self {
            schema: super::SCHEMA,
            sensor,
            sent: Timestamp::MIN,
            mqtt_session: MqttSession { run: Ulid(0), connection: 0 },
            description: String::new(),
            version: String::new(),
            system: String::new(),
            boot_id: String::new(),
            uptime_secs: 0,
            unsigned_requests: false,
            capture: None,
            store: None,
            card: None,
            wear: None,
            events: None,
            policy: None,
            clock: ClockStatus::default(),
            machine: MachineStatus::default(),
            jobs: JobStatus::default(),
            config_hash: String::new(),
            alarms: Vec::new(),
            alarms_more: 0,
            held: None,
        }
    }
}

/// Cuts `text` to `most` bytes, its mark included. What is no character to be read becomes a blank: it would break lines, and
/// takes six bytes of JSON each.
fn cut(text: &mut String, most: usize) {
    if text.contains(char::is_control) {
        *text = text.replace(char::is_control, " ");
    }
    if text.len() <= most {
        return;
    }
    text.truncate(beginning(text, most.saturating_sub(CUT_MARK.len())).len());
    text.push_str(CUT_MARK);
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn a_clock_that_was_off_is_told_with_its_offset() {
        let until = Timestamp::from_parts(1_790_000_000, 0);
        let clock = |nanos| ClockStatus {
            state: ClockState::Synchronised,
            offset: Some(ClockOffset { nanos, until }),
            ..ClockStatus::default()
        };
        let behind = "synchronised; it was 86400 s behind until 2026-09-21T14:13:20.000000000Z; ";
        assert!(clock(86_400_000_000_000).to_string().starts_with(behind), "{}", clock(86_400_000_000_000));
        assert!(clock(-1_500_000_000).to_string().contains(" 1 s ahead until "));
        assert_eq!(ClockStatus::default().to_string(), "unknown");
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        for (most, wanted) in [
            (20, "\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}"),
            (9, "\u{e4}\u{e4}\u{e4}..."),
            (8, "\u{e4}\u{e4}..."),
            (2, "..."),
        ] {
            let mut text = "\u{e4}".repeat(5);
            cut(&mut text, most);
            assert_eq!(text, wanted, "{most}");
        }
    }
}
