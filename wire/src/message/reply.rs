//! What the sensor answers. An accepted request is followed by any number of `progress`, then by its result, and always
//! ends with exactly one outcome in `done`, which may be sent more than once.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::answer::{Answer, Estimate, Sessions};
use super::blob::{Blob, Sha256};
use super::hold::{Held, HoldList, Released};
use super::jobs::JobList;
use super::pin::{PinInfo, PinList};
use super::request::Format;
use super::status::Status;
use super::summary::Summary;
use super::topic::SensorId;
use super::ulid::Ulid;
use crate::packet::LinkType;
use crate::time::Timestamp;

/// One answer to one request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// [`super::SCHEMA`].
    pub schema: u16,
    /// The request; absent when it could not be read far enough to tell.
    pub request: Option<Ulid>,
    /// Who answers.
    pub sensor: SensorId,
    /// When.
    pub sent: Timestamp,
    /// What.
    pub body: ReplyBody,
}

/// What is answered. The order is the wire's: append only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplyBody {
    /// The request is on the sensor's disk and will end.
    Accepted(Accepted),
    /// The request has no effect.
    Rejected(Rejected),
    /// The job is running.
    Progress(Progress),
    /// An extraction is ready; its chunks follow.
    Manifest(Box<Manifest>),
    /// A page of sessions.
    Sessions(SessionsPage),
    /// An estimate.
    Estimate(Estimate),
    /// The status asked for.
    Status(Box<Status>),
    /// The request has ended.
    Done(Done),
    /// A hold was made.
    Held(Held),
    /// A hold has ended.
    Released(Released),
    /// The holds.
    Holds(HoldList),
    /// A pin was made.
    Pinned(Box<PinInfo>),
    /// A pin has ended.
    Unpinned(Box<PinInfo>),
    /// The pins.
    Pins(PinList),
    /// The top talkers.
    Summary(Box<Summary>),
    /// The requests that have not ended.
    Jobs(JobList),
}

/// The request is on the sensor's disk and will end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// Jobs before this one.
    pub queued_before: u32,
}

/// The request has no effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// Why, for programs.
    pub reason: Reason,
    /// Why, for people.
    pub detail: String,
}

/// Why a request is rejected. The order is the wire's: append only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Larger than [`crate::limits::REQUEST_BYTES_MAX`].
    TooLarge,
    /// Not a document of the encoding that its content type names.
    Malformed,
    /// A schema version that this sensor does not speak.
    UnknownVersion,
    /// An operation that this sensor does not have.
    UnknownOperation,
    /// For another sensor.
    WrongSensor,
    /// Its time is over, or its life is longer than allowed.
    Expired,
    /// Not signed, and the unsigned development mode is off.
    Unsigned,
    /// Signed, which this version cannot verify.
    SignatureUnsupported,
    /// The query cannot be meant, or names something the sensor cannot do.
    InvalidQuery,
    /// Too many requests are waiting.
    Busy,
    /// The identifier is in use for another request.
    IdInUse,
    /// The request to cancel is not known.
    UnknownRequest,
    /// The sensor cannot keep its request queue.
    StorageError,
}

impl Reason {
    /// Whether the requester was denied, rather than mistaken.
    #[must_use]
    pub const fn is_denial(self) -> bool {
        matches!(self, Self::Unsigned | Self::SignatureUnsupported | Self::WrongSensor)
    }
}

/// How far a job is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Segments read.
    pub segments_done: u32,
    /// Segments to read.
    pub segments: u32,
    /// Packets found so far.
    pub packets: u64,
    /// Bytes of the result so far.
    pub bytes: u64,
}

/// What a result is, ahead of its chunks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The job: the request's identifier.
    pub job: Ulid,
    /// Format of the savefile.
    pub format: Format,
    /// Link types in it.
    pub link_types: Vec<LinkType>,
    /// Packets in it.
    pub packets: u64,
    /// Its length, bytes.
    pub bytes: u64,
    /// SHA-256 of its bytes.
    pub sha256: Sha256,
    /// Bytes in each chunk but the last.
    pub chunk_bytes: u32,
    /// Number of chunks.
    pub chunks: u32,
    /// What the extraction covers.
    pub answer: Answer,
}

/// A page of sessions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionsPage {
    /// Number of this page, from 0.
    pub page: u32,
    /// Number of pages.
    pub pages: u32,
    /// The sessions of this page, and what the search covers.
    pub sessions: Sessions,
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// How, for programs.
    pub outcome: Outcome,
    /// How, for people; may be empty.
    pub detail: String,
}

/// How a request ended. The order is the wire's and the disk's: append only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Everything was delivered.
    Done,
    /// What could be had was delivered; the answer says what is missing.
    Partial,
    /// Accepted, then found impossible.
    Rejected,
    /// Its time was over before it was delivered.
    Expired,
    /// The data has rolled off the store.
    Gone,
    /// Cancelled by request.
    Cancelled,
    /// The sensor failed to do it; the detail says why.
    Failed,
}

impl Outcome {
    /// Name, as in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Partial => "partial",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::Gone => "gone",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }
}

/// A part of a result. Part `index` lies at `index * chunk_bytes` of the savefile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// [`super::SCHEMA`].
    pub schema: u16,
    /// The job: the request's identifier.
    pub job: Ulid,
    /// Which part, from 0.
    pub index: u32,
    /// CRC-32 (IEEE) of the bytes.
    pub crc32: u32,
    /// The bytes, at most [`crate::limits::RESULT_CHUNK_BYTES`].
    pub bytes: Blob,
}

impl Chunk {
    /// Part `index` of `job` with its checksum.
    #[must_use]
    pub fn new(job: Ulid, index: u32, bytes: Vec<u8>) -> Self {
        Self { schema: super::SCHEMA, job, index, crc32: crc32fast::hash(&bytes), bytes: Blob(bytes) }
    }

    /// Whether the bytes are those that were sent.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        crc32fast::hash(&self.bytes.0) == self.crc32
    }
}
