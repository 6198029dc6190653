//! Bounds of the uplink, each with its reason.

use std::time::Duration;

/// Requests that wait or are at work. With [`hindcap_wire::limits::REQUEST_BYTES_MAX`] this bounds the queue on disk.
pub const ACTIVE_MAX: usize = 16;

/// Results that wait to be fetched; the next extraction starts when one is gone.
pub const DELIVERIES_MAX: usize = 4;

/// Ended requests that are remembered, about 40 bytes each.
pub const REPLAY_MAX: usize = 4096;

/// How long an ended request is remembered at least: longer than a clock is wrong without anybody noticing.
pub const REPLAY_NANOS: u64 = 72 * 3_600 * 1_000_000_000;

/// A request may come from a clock that is this much ahead.
pub const CLOCK_SKEW_NANOS: u64 = 300 * 1_000_000_000;

/// The request queue is rewritten when it has grown by this much.
pub const JOURNAL_GROWTH_BYTES: u64 = 1024 * 1024;

/// Final replies that are kept in memory for a requester that missed them.
pub const RECENT_MAX: usize = 8;

/// MQTT 5 correlation data, bytes.
pub const CORRELATION_BYTES_MAX: usize = 256;

/// Longest time without an acknowledgement before chunks are sent again; doubled each time.
pub const RESEND_MIN: Duration = Duration::from_secs(5);
/// See [`RESEND_MIN`].
pub const RESEND_MAX: Duration = Duration::from_secs(60);
/// Windows that are sent into silence before the uplink waits for the receiver to show itself.
pub const SILENT_ROUNDS_MAX: u32 = 6;

/// Pause between two progress replies of a job.
pub const PROGRESS_INTERVAL: Duration = Duration::from_secs(2);
/// Pause between two looks at whether the status has changed.
pub const STATUS_LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// An event that nobody has fetched by then is old news.
pub const EVENT_EXPIRY: Duration = Duration::from_secs(7 * 86_400);
/// Events that are sent at most before the engine looks at its other work.
pub const EVENTS_A_TICK: usize = 16;

/// How long the broker keeps requests for a sensor that is away.
pub const SESSION_EXPIRY_SECS: u32 = 7 * 86_400;

/// Least room in the spool for an extraction to start.
pub const SPOOL_ROOM_MIN: u64 = 64 * 1024;
