//! What a caller may choose, and the time it brings along: nothing below reads a clock or an environment.

use std::fmt;
use std::path::PathBuf;

use hindcap_wire::limits::{CHUNK_BYTES, SEGMENT_BYTES_DEFAULT, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
use hindcap_wire::time::{ClockState, NANOS_PER_SEC, Timestamp};

use crate::events::SHARE_MAX;
use crate::holds::KeepPolicy;
use crate::wear::WearOptions;

/// The clocks at one moment. Whoever wires the recorder reads them; replays make them up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Wall clock, UTC.
    pub wall: Timestamp,
    /// Monotonic clock, nanoseconds since boot.
    pub monotonic_nanos: u64,
    /// Whether the wall clock can be trusted.
    pub clock: ClockState,
}

/// How large a store may be, everything included: segments, catalog, state, notes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreSize {
    /// At most so many bytes.
    Bytes(u64),
    /// At most this share of the file system's size, percent (1 to 100).
    Percent(u8),
    /// As it is: an existing store keeps its size; a new one cannot be made.
    Keep,
}

/// How much of a store its event ring takes: room for sessions that were pinned. At most half of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EventShare {
    /// As it is: an existing one keeps its size; a new store gets none.
    #[default]
    Keep,
    /// So many percent of the store's size (0 to 50); 0 takes away the event ring with all that is in it.
    Percent(u8),
    /// So many bytes; 0 as above.
    Bytes(u64),
}

impl EventShare {
    /// Bytes of a store of `whole` bytes.
    #[must_use]
    pub fn of(self, whole: u64) -> u64 {
        match self {
            Self::Keep => 0,
            Self::Percent(percent) => whole / 100 * u64::from(percent.min(SHARE_MAX)),
            Self::Bytes(bytes) => bytes.min(Self::most(whole)),
        }
    }

    /// Whether no event ring is wanted.
    #[must_use]
    pub const fn is_none(self) -> bool {
        matches!(self, Self::Percent(0) | Self::Bytes(0))
    }

    /// Whether this is more than an event ring may have of a store of `whole` bytes.
    #[must_use]
    pub const fn is_too_much(self, whole: u64) -> bool {
        match self {
            Self::Keep => false,
            Self::Percent(percent) => percent > SHARE_MAX,
            Self::Bytes(bytes) => bytes > Self::most(whole),
        }
    }

    const fn most(whole: u64) -> u64 {
        whole / 100 * SHARE_MAX as u64
    }
}

impl fmt::Display for EventShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keep => f.write_str("what there is"),
            Self::Percent(percent) => write!(f, "{percent} %"),
            Self::Bytes(bytes) => write!(f, "{} MiB", bytes.div_ceil(1 << 20)),
        }
    }
}

/// How to create or open a store for writing.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Its directory.
    pub path: PathBuf,
    /// Its size; a store with another size grows or shrinks when it is opened and keeps the newest segments.
    pub size: StoreSize,
    /// Bytes of a segment, a multiple of 1 MiB from 4 MiB to 512 MiB. Only for a new store; an existing one keeps its own.
    pub segment_bytes: u32,
    /// Identity of a new store; `None` draws one from the system.
    pub uuid: Option<[u8; 16]>,
    /// What of `size` belongs to the event ring.
    pub event_share: EventShare,
}

impl StoreOptions {
    /// A store at `path` of `size` with segments of 64 MiB.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, size: StoreSize) -> Self {
        let event_share = EventShare::Keep;
        Self { path: path.into(), size, segment_bytes: SEGMENT_BYTES_DEFAULT, uuid: None, event_share }
    }

    /// Whether `segment_bytes` is a size that segments can have.
    #[must_use]
    pub const fn segment_bytes_valid(&self) -> bool {
        self.segment_bytes >= SEGMENT_BYTES_MIN
            && self.segment_bytes <= SEGMENT_BYTES_MAX
            && self.segment_bytes % CHUNK_BYTES == 0
    }
}

/// Where batches are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackEnd {
    /// In the caller's thread: imports and simulations.
    Inline,
    /// In a thread of its own: live capture never waits for storage.
    Threaded,
}

/// How a recorder works.
#[derive(Clone, Copy, Debug)]
pub struct RecorderOptions {
    /// A batch is written at the latest so long after its first packet: the most that a power cut can take.
    pub flush_interval_nanos: u64,
    /// Batch buffers of 1 MiB, 2 to [`RecorderOptions::BUFFERS_MAX`]. One is filled while the others wait for the medium.
    pub buffers: usize,
    /// Where batches are written.
    pub back_end: BackEnd,
    /// Batches that may be written before one flush makes them durable. 1 for live capture; an import, which can be
    /// repeated, flushes less often.
    pub batches_per_flush: u32,
    /// Whether a packet may wait for storage (an import) or is dropped when no buffer is free (live capture).
    pub may_wait: bool,
    /// Whether segments are hashed (BLAKE3) and chained.
    pub hash_chain: bool,
    /// How long packets are kept; `None` leaves it as the store has it.
    pub keep: Option<KeepPolicy>,
    /// How wear is measured, and the budget of the medium.
    pub wear: WearOptions,
    /// Number of this life of the machine, by which times from before the clock was set are put right later; 0 when nobody
    /// knows: then each mount counts as one.
    pub boot: u64,
}

impl RecorderOptions {
    /// Most batch buffers.
    pub const BUFFERS_MAX: usize = 64;
    /// Batch buffers of live capture: 750 ms, the longest that a card may be busy (SD specification, 4.13.1.7), at 100 Mbit/s
    /// are 9.4 MB; a kernel ring of 8 MiB takes 7 MB of them, and of the buffers one is being written and one filled.
    pub const BUFFERS: usize = 6;
    /// Default of `flush_interval_nanos`: 5 s.
    pub const FLUSH_INTERVAL_NANOS: u64 = 5 * NANOS_PER_SEC;

    /// Live capture: own thread, [`RecorderOptions::BUFFERS`], each batch durable before the next is written.
    #[must_use]
    pub const fn live() -> Self {
        Self {
            flush_interval_nanos: Self::FLUSH_INTERVAL_NANOS,
            buffers: Self::BUFFERS,
            back_end: BackEnd::Threaded,
            batches_per_flush: 1,
            may_wait: false,
            hash_chain: true,
            keep: None,
            wear: WearOptions { stopwatch: None, plan: None },
            boot: 0,
        }
    }

    /// An import: as fast as the savefile can be read. The recorder waits for storage and drops nothing.
    #[must_use]
    pub const fn import() -> Self {
        Self { batches_per_flush: 16, may_wait: true, ..Self::live() }
    }

    /// Everything in the caller's thread, each batch durable before the call returns: simulations, tests, tiny imports.
    #[must_use]
    pub const fn inline() -> Self {
        Self { back_end: BackEnd::Inline, buffers: 2, may_wait: true, ..Self::live() }
    }
}
