//! The one door to storage: areas of fixed size that are read and written at offsets.
//!
//! A volume knows nothing of segments' contents. Offsets and lengths of writes are multiples of
//! [`Geometry::sector_bytes`]; the ring writes whole pages plus one sector. After a failed write or flush the caller
//! closes the segment and never retries the same bytes.

pub mod aligned;
pub mod any;
pub mod block;
pub mod dir;
pub mod fat;

use std::fmt;
use std::path::PathBuf;

use crate::StoreError;

/// A fixed-size region of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Area {
    /// Two state slots of 4 KiB.
    State,
    /// Catalog entries and filter slots.
    Catalog,
    /// Segment by number, from 0.
    Segment(u32),
}

/// Shape of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Bytes of each segment, a multiple of a chunk.
    pub segment_bytes: u32,
    /// Number of segments.
    pub segments: u32,
    /// Alignment and granularity of writes: the device's logical block, 512 or 4096.
    pub sector_bytes: u32,
}

/// What went wrong at the door, with the area it concerns.
#[derive(Debug)]
#[non_exhaustive]
pub enum VolumeError {
    /// The operating system refused or failed the operation.
    Io {
        /// What was attempted: "read", "write", "flush", "open" ...
        operation: &'static str,
        /// File or device.
        path: PathBuf,
        /// The system's answer; `ENOSPC`, `EIO` and `EROFS` are told apart by the caller through its kind.
        source: std::io::Error,
    },
    /// An offset or length outside the area, or not a multiple of the sector.
    OutOfRange {
        /// The area.
        area: Area,
        /// First byte asked for.
        offset: u64,
        /// Number of bytes asked for.
        bytes: usize,
    },
}

impl fmt::Display for VolumeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { operation, path, source } => write!(f, "{operation} {}: {source}", path.display()),
            Self::OutOfRange { area, offset, bytes } => {
                write!(f, "{bytes} bytes at {offset} lie outside {area:?} or are not aligned")
            }
        }
    }
}

impl std::error::Error for VolumeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::OutOfRange { .. } => None,
        }
    }
}

/// Reading side of a volume. Many readers may exist beside one writer, also in other processes.
pub trait VolumeRead {
    /// Shape of the volume.
    fn geometry(&self) -> Geometry;

    /// Fills `buf` from `area` at `offset`. No alignment is asked of readers.
    ///
    /// # Errors
    /// I/O failure, or a range outside the area.
    fn read(&self, area: Area, offset: u64, buf: &mut [u8]) -> Result<(), VolumeError>;

    /// Says that these bytes will be read soon, so that the medium can be at work meanwhile. Only a hint: nothing is
    /// returned and nothing can fail.
    fn will_read(&self, area: Area, offset: u64, bytes: usize) {
        let _ = (area, offset, bytes);
    }

    /// Whether recording may use this segment. False for what was removed from the volume behind the store's back.
    fn is_usable(&self, _segment: u32) -> bool {
        true
    }

    /// The store's identity, where the volume knows it without the state.
    fn identity(&self) -> Option<[u8; 16]> {
        None
    }
}

/// Writing side of a volume: exactly one exists at a time.
pub trait VolumeWrite: VolumeRead {
    /// Writes `bytes` to `area` at `offset`; durable only after [`VolumeWrite::flush`].
    ///
    /// # Errors
    /// I/O failure, or a range that is outside the area or not sector-aligned.
    fn write(&mut self, area: Area, offset: u64, bytes: &[u8]) -> Result<(), VolumeError>;

    /// Returns when everything written to `area` before is durable.
    ///
    /// # Errors
    /// I/O failure; what was written since the last successful flush is then unknown.
    fn flush(&mut self, area: Area) -> Result<(), VolumeError>;

    /// Bytes of the request that a write of `bytes` to `area` becomes: more where the volume fills up to a page.
    fn request_bytes(&self, _area: Area, bytes: usize) -> u64 {
        bytes as u64
    }

    /// Makes `bytes` bytes of `area` read as zeros without writing them, where the medium can; `false` when it cannot. Durable
    /// after [`VolumeWrite::flush`]. Whoever depends on it reads them.
    ///
    /// # Errors
    /// I/O failure, or a range outside the area.
    fn erase(&mut self, area: Area, offset: u64, bytes: u64) -> Result<bool, VolumeError> {
        let _ = (area, offset, bytes);
        Ok(false)
    }

    /// Leaves a note for people about what the segments hold, where the volume has a place for it.
    ///
    /// Returns the bytes of the write that it causes, now or later; 0 for none.
    fn note_contents(&mut self, _text: &str) -> u64 {
        0
    }

    /// Whether what was opened is still what its place names. `thorough` asks the medium itself, past every cache;
    /// otherwise it costs a system call.
    ///
    /// # Errors
    /// It is gone, or something else is there: only [`VolumeWrite::reopen`] helps.
    fn is_there(&self, _thorough: bool) -> Result<(), VolumeError> {
        Ok(())
    }

    /// Lets go of what was opened and opens what is at its place now, be it another store. Shape and content are then
    /// to be read anew. After an error there is nothing, until a later call succeeds.
    ///
    /// # Errors
    /// Nothing there, or nothing that can be used.
    fn reopen(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
}
