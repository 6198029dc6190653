//! What comes back: the answer that goes before the packets, the estimate and the list of sessions.
//!
//! An answer says what it covers before it says what it holds; an empty one says why. The text a person reads is made
//! here ([`Answer`], [`Estimate`] and [`Sessions`] are `Display`), so that sensor and SOC print the same words.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::drops::DropCounts;
use crate::policy::{LeftOut, Policy};
use crate::time::{ClockState, TimeRange, Timestamp};

mod comments;
mod text;

pub use text::Bytes;

/// Result of an extraction, without its packets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The window that was searched: the one asked for, widened by `session` where that was asked.
    pub window: TimeRange,
    /// Packets given.
    pub packets: u64,
    /// Captured bytes given (sum of `caplen`).
    pub bytes: u64,
    /// Of the packets given, those that only the event ring still has: they were pinned before they were overwritten.
    pub pinned_packets: u64,
    /// First and last packet given.
    pub span: Option<Span>,
    /// Segments whose time range touches the window.
    pub segments_searched: u32,
    /// Segments of which packets were read.
    pub segments_read: u32,
    /// Bytes of packet pages that were read.
    pub bytes_read: u64,
    /// Intervals of the window in which the recorder was running, ascending, at most [`LIST_MAX`].
    pub coverage: Vec<TimeRange>,
    /// What is known to be missing in the window, ascending, at most [`LIST_MAX`].
    pub gaps: Vec<Gap>,
    /// Packets lost in the window, by cause; exact to a batch (one flush interval).
    pub drops: DropCounts,
    /// What policy left out in the window.
    #[serde(default)]
    pub thinned: Thinned,
    /// What policy cut off the sessions given.
    #[serde(default)]
    pub cut_off: CutOff,
    /// Clock states in the window, ascending, at most [`LIST_MAX`].
    pub clock: Vec<ClockSpan>,
    /// Why packets that match are missing from this answer.
    pub partial: Option<Partial>,
    /// Why there are none.
    pub why_empty: Option<WhyEmpty>,
    /// What else a reader should know, one sentence each.
    pub notes: Vec<String>,
}

/// Longest list in an answer; the rest is summed up in a note.
pub const LIST_MAX: usize = 256;

/// First and last instant of something, both inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// Earliest.
    pub first: Timestamp,
    /// Latest.
    pub last: Timestamp,
}

/// Something missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Where, as well as it is known.
    pub range: TimeRange,
    /// Why.
    pub cause: GapCause,
    /// Bytes of the store that could not be used, 0 unless it was damage.
    pub bytes: u64,
}

/// Why something is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapCause {
    /// The medium gave back wrong bytes; they are not served.
    Damage,
    /// The link or the interface was away.
    LinkDown,
    /// The recorder was not running.
    RecorderDown,
    /// The segment was overwritten by newer packets while it was read.
    Overwritten,
    /// Packets came, but could not all be recorded: storage failed or was too slow.
    NotStored,
}

/// What was left out on purpose, and by which policy; exact to a batch (one flush interval).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thinned {
    /// Policies in force other than "record everything", ascending, at most [`LIST_MAX`].
    pub policies: Vec<PolicySpan>,
    /// What they left out.
    pub left_out: LeftOut,
}

/// A policy over an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicySpan {
    /// When, inside the window.
    pub range: TimeRange,
    /// When it came into force.
    pub since: Timestamp,
    /// What it was.
    pub policy: Policy,
}

/// What policy cut off the sessions of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CutOff {
    /// Sessions of which bytes or packets are not recorded.
    pub sessions: u64,
    /// Bytes of payload that are not recorded: of TCP by its sequence numbers, else what truncated packets lack.
    pub bytes: u64,
    /// There is more that nobody counted: packets that were not recorded, of protocols without sequence numbers.
    pub at_least: bool,
}

/// Why packets of a session were recorded without all of their bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TruncatedBy {
    /// They came that way: an import of truncated packets, a snaplen; or they are copies, and nobody knows any more.
    Capture,
    /// A policy was in force that truncates. It may have left out packets of the session as well.
    Policy,
}

/// State of the wall clock over an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockSpan {
    /// When.
    pub range: TimeRange,
    /// What was known.
    pub state: ClockState,
}

/// Why an answer has fewer packets than match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Partial {
    /// The limit of packets was reached.
    PacketsMax(u64),
    /// The limit of bytes was reached.
    BytesMax(u64),
    /// Pages that could hold matches are damaged or were overwritten while they were read.
    Unreadable,
    /// The job was cancelled.
    Cancelled,
}

/// Why an answer is empty: the weightiest reason; gaps, drops and notes tell the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhyEmpty {
    /// Nothing was ever recorded in this store.
    EmptyStore,
    /// The window lies before the oldest packet: what there was has been overwritten.
    Pruned {
        /// The oldest packet still there.
        oldest: Timestamp,
    },
    /// The window is too recent: packets after `newest` are not on the medium yet, or not captured.
    NotFlushed {
        /// Everything up to here is searchable.
        newest: Timestamp,
    },
    /// The recorder did not run in most of the window, and nothing matches in the rest.
    NotRecorded {
        /// The longest part of the window in which it did not run.
        range: TimeRange,
    },
    /// Pages that could hold matches are damaged.
    Damaged {
        /// Bytes of the store that could not be used.
        bytes: u64,
    },
    /// Packets were lost in the window, and nothing among the others matches.
    Dropped {
        /// How many.
        packets: u64,
    },
    /// Packets were left out by policy in the window, and nothing among the others matches.
    LeftOut {
        /// How many.
        packets: u64,
    },
    /// Nothing in what was recorded matches, and nothing is known to be missing but what the gaps say.
    NoSuchTraffic,
    /// The window lies before the maximum age: packets older than `before` are not given out any more, by policy.
    TooOld {
        /// Nothing older is given out.
        before: Timestamp,
    },
    /// Nothing in what was recorded matches. Packets that match a skip rule were not recorded: the kernel left them out,
    /// uncounted.
    SkipRules {
        /// How many rules.
        rules: u16,
    },
}

/// What a query would read and give at most, from the indexes alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Estimate {
    /// The window that was searched.
    pub window: TimeRange,
    /// Segments whose time range touches the window.
    pub segments_searched: u32,
    /// Segments that may hold matches.
    pub segments: u32,
    /// 16 KiB pages to read.
    pub pages: u64,
    /// Bytes to read.
    pub bytes_to_read: u64,
    /// Packets given at most.
    pub packets_max: u64,
    /// Captured bytes given at most.
    pub bytes_max: u64,
    /// Sessions that match by their flow records.
    pub sessions: u64,
    /// How far back the store reaches when it is full, seconds, at the rate of late.
    #[serde(default)]
    pub retention_forecast_secs: Option<u64>,
    /// Intervals of the window in which the recorder was running.
    pub coverage: Vec<TimeRange>,
    /// What policy left out in the window.
    #[serde(default)]
    pub thinned: Thinned,
    /// Why nothing would be found, where the indexes can tell.
    pub why_empty: Option<WhyEmpty>,
    /// What else a reader should know, one sentence each.
    pub notes: Vec<String>,
}

/// One session: one flow from its first to its last packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRow {
    /// First packet.
    pub first: Timestamp,
    /// Last packet.
    pub last: Timestamp,
    /// IP protocol number; 0 is ARP.
    pub proto: u8,
    /// Outermost VLAN identifier.
    pub vlan: Option<u16>,
    /// One end: the one that spoke first where that is known.
    pub client: IpAddr,
    /// Its port, 0 where there is none.
    pub client_port: u16,
    /// The other end.
    pub server: IpAddr,
    /// Its port, 0 where there is none.
    pub server_port: u16,
    /// Packets of both directions.
    pub packets: u64,
    /// Bytes on the wire of both directions.
    pub bytes: u64,
    /// All TCP flags seen, 0 for other protocols.
    pub tcp_flags: u8,
    /// Why not all bytes of the session were recorded; absent when no packet is known to lack any.
    #[serde(default)]
    pub truncated: Option<TruncatedBy>,
    /// Community ID v1, `1:` + base64.
    pub community_id: String,
}

/// Sessions, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sessions {
    /// The window that was searched.
    pub window: TimeRange,
    /// The sessions, newest first.
    pub rows: Vec<SessionRow>,
    /// Whether there are more than the limit let through.
    pub more: bool,
    /// Segments whose time range touches the window.
    pub segments_searched: u32,
    /// Segments whose flow records were read.
    pub segments_read: u32,
    /// Intervals of the window in which the recorder was running.
    pub coverage: Vec<TimeRange>,
    /// What policy left out in the window.
    #[serde(default)]
    pub thinned: Thinned,
    /// Why there are none.
    pub why_empty: Option<WhyEmpty>,
    /// What else a reader should know, one sentence each.
    pub notes: Vec<String>,
}

impl Answer {
    /// Whether packets that match, or may have, are missing from this answer.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.partial.is_some()
    }
}
