//! What the SOC asks: a request inside an envelope.
//!
//! The envelope carries the request as the exact bytes that are (from the fleet version on) signed; the signature covers
//! [`SIGNATURE_DOMAIN`] followed by those bytes. In JSON the inner document is a string, in postcard a byte string, each
//! in the encoding of the envelope.

use alloc::string::String;

use serde::{Deserialize, Serialize};

use super::blob::{Blob, Inner};
use super::hold::{Hold, Release};
use super::pin::{Pin, Unpin};
use super::summary::Summarise;
use super::topic::SensorId;
use super::ulid::Ulid;
use crate::query::Query;
use crate::time::Timestamp;

/// What a signature covers ahead of the inner document.
pub const SIGNATURE_DOMAIN: &[u8] = b"hindcap-request-v1\0";

/// A request on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    /// [`super::SCHEMA`].
    pub schema: u16,
    /// The [`Request`], byte for byte as it was signed.
    pub inner: Inner,
    /// Key and signature; absent in the unsigned development mode.
    #[serde(default)]
    pub signature: Option<Signature>,
}

/// Who signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// Name of the key.
    pub key_id: String,
    /// Ed25519 signature, 64 bytes.
    pub ed25519: Blob,
}

/// What a sensor is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// [`super::SCHEMA`].
    pub schema: u16,
    /// One identifier, one effect, however often it arrives. It also names the job and its result.
    pub id: Ulid,
    /// Whom it is for.
    pub sensor: SensorId,
    /// When it was made.
    pub issued: Timestamp,
    /// From when on it must not have an effect any more; at most [`crate::limits::REQUEST_LIFE_SECS_MAX`] later.
    pub expires: Timestamp,
    /// Why, for the audit record.
    #[serde(default)]
    pub reason: Option<String>,
    /// The case it belongs to.
    #[serde(default)]
    pub case: Option<String>,
    /// What to do.
    pub operation: Operation,
}

/// What to do. The order is the wire's: append only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Packets, as a savefile in chunks.
    Extract(Extract),
    /// Sessions, newest first.
    Search(Search),
    /// What an extraction would read and give at most.
    Estimate(EstimateOf),
    /// The sensor's status, now.
    Status,
    /// End a request that was accepted.
    Cancel(Cancel),
    /// Keep segments although their turn has come.
    Hold(Hold),
    /// End a hold.
    Release(Release),
    /// List the holds.
    Holds,
    /// Copy sessions into the event ring.
    Pin(Pin),
    /// End a pin.
    Unpin(Unpin),
    /// List the pins.
    Pins,
    /// The top talkers.
    Summary(Summarise),
    /// List the requests that have not ended.
    Jobs,
}

impl Operation {
    /// Its name in JSON.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        Self::NAMES[match self {
            Self::Extract(_) => 0,
            Self::Search(_) => 1,
            Self::Estimate(_) => 2,
            Self::Status => 3,
            Self::Cancel(_) => 4,
            Self::Hold(_) => 5,
            Self::Release(_) => 6,
            Self::Holds => 7,
            Self::Pin(_) => 8,
            Self::Unpin(_) => 9,
            Self::Pins => 10,
            Self::Summary(_) => 11,
            Self::Jobs => 12,
        }]
    }

    /// The names in JSON, in the order of the wire.
    pub const NAMES: [&'static str; 13] = [
        "extract", "search", "estimate", "status", "cancel", "hold", "release", "holds", "pin", "unpin",
        "pins", "summary", "jobs",
    ];
}

/// Packets, as a savefile in chunks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Extract {
    /// Which packets.
    pub query: Query,
    /// How much at most.
    pub limits: Limits,
    /// In which format.
    pub format: Format,
}

/// Sessions, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Search {
    /// Which sessions.
    pub query: Query,
    /// How many at most, up to [`crate::limits::SEARCH_SESSIONS_MAX`].
    pub limit: u32,
}

impl Default for Search {
    fn default() -> Self {
        Self { query: Query::default(), limit: 100 }
    }
}

/// What an extraction would read and give at most.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EstimateOf {
    /// Which packets.
    pub query: Query,
}

/// End a request that was accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cancel {
    /// Which request.
    pub request: Ulid,
}

/// How much an extraction may give; the sensor's own limits hold besides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Bytes of the savefile.
    pub max_bytes: Option<u64>,
    /// Packets.
    pub max_packets: Option<u64>,
    /// Bytes of each packet.
    pub snaplen: Option<u32>,
}

/// Format of a savefile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Classic pcap with nanoseconds.
    #[default]
    Pcap,
    /// pcapng with comments, drops and gaps.
    Pcapng,
}
