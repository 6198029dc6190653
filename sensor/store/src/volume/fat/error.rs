//! What can be wrong with a card, each with what a person can do about it.

use std::fmt;
use std::io;

use super::probe::Content;
use crate::EventShare;
use crate::volume::block::OpenError;

/// Why a FAT ring volume could not be made or opened.
#[derive(Debug)]
#[non_exhaustive]
pub enum FatError {
    /// The device cannot be opened.
    Open(OpenError),
    /// The device failed.
    Io {
        /// What was attempted.
        operation: &'static str,
        /// The device.
        name: String,
        /// The system's answer.
        source: io::Error,
    },
    /// An option that makes no sense.
    Option {
        /// Which and why.
        what: &'static str,
    },
    /// The segment size is no multiple of the erase unit.
    SegmentUnit {
        /// Bytes of a segment.
        segment_bytes: u32,
        /// Bytes of the erase unit.
        erase_bytes: u32,
    },
    /// Not even two segments fit.
    TooSmall {
        /// Bytes needed.
        needed_bytes: u64,
        /// Bytes that there are.
        available_bytes: u64,
    },
    /// An event ring was asked for that the card is too small for.
    EventShare {
        /// What was asked for.
        share: EventShare,
        /// Sectors of the device.
        sectors: u64,
    },
    /// The card has no event ring.
    NoEventRing {
        /// The device.
        name: String,
    },
    /// Something else is on the device.
    Foreign {
        /// The device.
        name: String,
        /// What.
        content: Content,
    },
    /// Several rings, in different partitions.
    SeveralRings {
        /// The device.
        name: String,
        /// Partition numbers.
        partitions: Vec<u32>,
    },
    /// The two copies of the ring sector are whole and disagree.
    TwoGeometries {
        /// The device.
        name: String,
        /// (Segments, bytes of each) of both.
        rings: [(u32, u32); 2],
    },
    /// The ring is larger than the device: an image of a larger card.
    Truncated {
        /// The device.
        name: String,
        /// Bytes that the ring's volume has.
        needed_bytes: u64,
        /// Bytes of the device.
        available_bytes: u64,
    },
    /// Fewer than two segments are left.
    RingLost {
        /// The device.
        name: String,
        /// Whether it is the event ring's segments.
        events: bool,
        /// Segments that are whole.
        left: u32,
        /// Segments that there were.
        of: u32,
    },
}

/// MiB, rounded up.
fn mib(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}

impl fmt::Display for FatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(error) => error.fmt(f),
            Self::Io { operation, name, source } => write!(f, "{operation} {name}: {source}"),
            Self::Option { what } => f.write_str(what),
            Self::SegmentUnit { segment_bytes, erase_bytes } => write!(
                f,
                "segments of {} MiB are no multiple of the erase unit of {} KiB; choose another --segment",
                mib((*segment_bytes).into()),
                erase_bytes >> 10
            ),
            Self::TooSmall { needed_bytes: u64::MAX, available_bytes } => {
                write!(f, "{} MiB: too small for two segments of this size", mib(*available_bytes))
            }
            Self::TooSmall { needed_bytes, available_bytes } => write!(
                f,
                "too small: two segments and what is around them need {} MiB, but there are {} MiB; use a larger card \
                 or a smaller --segment",
                mib(*needed_bytes),
                available_bytes >> 20
            ),
            Self::EventShare { share, sectors } if share.is_too_much(sectors * 512) => write!(
                f,
                "{share} of {} MiB are too much for an event ring, which has half of a card at most; choose a smaller \
                 --event-share",
                sectors / 2048
            ),
            Self::EventShare { share, sectors } => write!(
                f,
                "{share} of {} MiB are too little for an event ring of two segments; choose a larger --event-share, or \
                 --event-share 0% for a card without one, into which no session can be pinned",
                sectors / 2048
            ),
            Self::NoEventRing { name } => write!(
                f,
                "{name}: the card was formatted without an event ring, so no session can be pinned on it; save what is \
                 needed and format it with --event-share (hindcapd format fat:{name} --event-share 10%), or hold \
                 segments in place (hindcapd hold)"
            ),
            Self::Foreign { name, content } => {
                write!(f, "{name}: no Hindcap card: {content}; to make it one: hindcapd format fat:{name}")
            }
            Self::SeveralRings { name, partitions } => {
                let list: Vec<String> = partitions.iter().map(u32::to_string).collect();
                write!(
                    f,
                    "{name}: Hindcap rings in partitions {}; name the partition's own device, or format the card",
                    list.join(" and ")
                )
            }
            Self::TwoGeometries { name, rings: [one, other] } => write!(
                f,
                "{name}: describes two rings, {} segments of {} MiB and {} of {} MiB: formatting was cut off; format it \
                 again (hindcapd format fat:{name})",
                one.0,
                mib(one.1.into()),
                other.0,
                mib(other.1.into())
            ),
            Self::Truncated { name, needed_bytes, available_bytes } => write!(
                f,
                "{name}: the ring takes {} MiB, but there are {} MiB: the copy of a larger card, or a card that lies \
                 about its size; copy it to a card as large as the original, or format it",
                mib(*needed_bytes),
                available_bytes >> 20
            ),
            Self::RingLost { name, events, left, of } => write!(
                f,
                "{name}: only {left} of {of} segments{} are left; save the files that are left, then format the card \
                 (hindcapd format fat:{name})",
                if *events { " of the event ring" } else { "" }
            ),
        }
    }
}

impl std::error::Error for FatError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Open(error) => error.source(),
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl From<OpenError> for FatError {
    fn from(error: OpenError) -> Self {
        Self::Open(error)
    }
}

/// An `io::Error` with what was attempted on which device.
pub(crate) fn dev_error(operation: &'static str, name: String) -> impl FnOnce(io::Error) -> FatError {
    move |source| FatError::Io { operation, name, source }
}
