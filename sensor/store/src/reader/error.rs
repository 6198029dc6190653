//! What a reader may answer instead of, or beside, packets.

use std::fmt;

use hindcap_wire::index::IndexError;
use hindcap_wire::time::Timestamp;

use crate::volume::VolumeError;

/// Why there is no answer.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReadError {
    /// The volume failed.
    Volume(VolumeError),
    /// The segment was overwritten by newer traffic.
    Gone {
        /// Number of the segment.
        segment: u32,
        /// The generation that was asked for.
        generation: u64,
    },
    /// An index built here does not read back: a defect of this program.
    Index(IndexError),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Volume(error) => error.fmt(f),
            Self::Gone { segment, generation } => {
                write!(f, "segment {segment} was overwritten: generation {generation} is gone")
            }
            Self::Index(error) => write!(f, "the index built from the packets: {error}"),
        }
    }
}

impl std::error::Error for ReadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Volume(error) => Some(error),
            Self::Index(error) => Some(error),
            Self::Gone { .. } => None,
        }
    }
}

impl From<VolumeError> for ReadError {
    fn from(error: VolumeError) -> Self {
        Self::Volume(error)
    }
}

/// A stretch of a segment that cannot be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Pages `[start, end)`.
    pub pages: (u32, u32),
    /// Earliest and latest time that was in it, as far as the batch table or the neighbours tell; inclusive.
    pub times: (Timestamp, Timestamp),
}

/// What [`super::Reader::packets`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// Packets given out.
    pub packets: u64,
    /// Bytes read from the volume.
    pub bytes_read: u64,
    /// Pages asked for that could not be served, joined to stretches.
    pub damage: Vec<Damage>,
}
