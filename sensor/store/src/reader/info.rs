//! What is known of a segment without opening its index.

use hindcap_wire::drops::DropCounts;
use hindcap_wire::policy::{LeftOut, PolicyStep};
use hindcap_wire::time::{ClockState, Timestamp};

/// In which state of its life a segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentState {
    /// Being written, or left open by a crash: known by its commit blocks.
    Open,
    /// Finished, with an index.
    Sealed,
    /// Not the newest, yet without a summary that can be read: known by its commit blocks.
    Damaged,
}

/// Which ring a segment belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Everything that was recorded, until it is overwritten.
    #[default]
    General,
    /// Copies of sessions that were pinned.
    Event,
}

/// One segment that holds something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Its ring.
    pub class: Class,
    /// Its number in the volume.
    pub number: u32,
    /// Its turn of the ring: higher is newer.
    pub generation: u64,
    /// State.
    pub state: SegmentState,
    /// Earliest timestamp, [`Timestamp::MAX`] without packets.
    pub first: Timestamp,
    /// Latest timestamp, [`Timestamp::MIN`] without packets.
    pub last: Timestamp,
    /// Packets.
    pub packets: u64,
    /// Captured bytes (sum of caplen).
    pub bytes: u64,
    /// End of its last batch, bytes from the start; 0 while that is unknown (sealed, summary not read yet).
    pub data_bytes: u32,
    /// Drops while it was open, by cause; of an open segment only its index's batch table tells.
    pub drops: DropCounts,
    /// Left out by policy while it was open; of an open segment only its index's batch table tells.
    pub left_out: LeftOut,
    /// The last policy step, in force throughout unless the segment is eventful; of an open segment only its events tell.
    pub step: Option<PolicyStep>,
    /// Whether its index may tell of events: starts, stops, gaps, clock steps, policy steps. `false` is certain.
    pub eventful: bool,
    /// Whether its index has flow records, as far as catalog or summary tell; an open segment is indexed when asked.
    /// Without, queries read all its packets, until `reindex`.
    pub has_flows: bool,
    /// When it was begun, wall clock.
    pub created: Timestamp,
    /// Clock state of its last commit.
    pub clock: ClockState,
}
