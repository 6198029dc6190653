//! What a sensor says of itself: its state (birth and last will) and its status, both retained.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::alarm::{ALARMS_SHOWN_MAX, Alarm};
use super::codec::{Encoding, encode};
use super::hold::HeldShare;
use super::topic::SensorId;
use super::ulid::Ulid;
use super::wear::WearStatus;
use crate::drops::DropCounts;
use crate::policy::{LeftOut, Policy};
use crate::time::{ClockState, Timestamp};

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
    /// Software version.
    pub version: String,
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
    /// The medium below the store, and its wear.
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

impl Status {
    /// The same in at most [`STATUS_BYTES_MAX`]: the alarms that matter least go first, and are counted.
    #[must_use]
    pub fn fit(mut self) -> Self {
        let too_long = |status: &Self| {
            status.alarms.len() > ALARMS_SHOWN_MAX
                || encode(status, Encoding::Json).is_ok_and(|bytes| bytes.len() > STATUS_BYTES_MAX)
        };
        while too_long(&self) && self.alarms.pop().is_some() {
            self.alarms_more += 1;
        }
        self
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
            boot_id: String::new(),
            uptime_secs: 0,
            unsigned_requests: false,
            capture: None,
            store: None,
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
