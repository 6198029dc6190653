//! What travels between sensor and SOC over MQTT 5: topics, requests, replies, results, states.
//!
//! Every document is one serde type in two encodings, [`Encoding::Postcard`] and [`Encoding::Json`], chosen by the MQTT 5
//! content type; an answer uses the encoding of its request. Every document starts with its schema version, [`SCHEMA`];
//! a changed type is a new version, old ones stay readable and have golden files (`wire/tests/golden/`).
//!
//! Bounds are in [`crate::limits`]. Nothing here reads a clock, a random number or a network.

pub mod ack;
pub mod alarm;
pub mod answer;
pub mod blob;
pub mod card;
pub mod codec;
pub mod hold;
pub mod jobs;
pub mod pin;
pub mod reply;
pub mod request;
pub mod status;
pub mod summary;
pub mod topic;
pub mod ulid;
pub mod wear;

pub use ack::{Ack, ChunkSet};
pub use alarm::{Alarm, Event, EventBody, Severity};
pub use blob::{Blob, Inner, Sha256};
pub use card::{CardSegments, CardState, CardStatus, CardSwap};
pub use codec::{Encoding, MessageError, RequestError, decode, decode_envelope, decode_request, encode};
pub use hold::{Held, HeldShare, Hold, HoldId, HoldInfo, HoldList, HoldPart, Release, Released};
pub use jobs::{JOB_TEXT_BYTES_MAX, JobInfo, JobList, JobStage};
pub use pin::{Pin, PinId, PinInfo, PinList, PinState, Unpin};
pub use reply::{
    Accepted, Chunk, Done, Manifest, Outcome, Progress, Reason, Rejected, Reply, ReplyBody, SessionsPage,
};
pub use request::{
    Cancel, Envelope, EstimateOf, Extract, Format, Limits, Operation, Request, Search, Signature,
};
pub use status::{
    CUT_MARK, CaptureStatus, ClockOffset, ClockStatus, DESCRIPTION_BYTES_MAX, EventsStatus, HeldStatus,
    JobStatus, MachineStatus, MqttSession, PolicyStatus, STATUS_BYTES_MAX, SYSTEM_BYTES_MAX, State, Status,
    StoreStatus,
};
pub use summary::{Summarise, Summary, Talker, Top, Traffic};
pub use topic::{Channel, SensorId};
pub use ulid::Ulid;
pub use wear::{BudgetStatus, EnduranceSource, LatencyStatus, MediumKind, MediumStatus, UsedBy, WearStatus};

/// Version of the documents in this module.
pub const SCHEMA: u16 = 1;
