//! The reading side: which segments there are, what they may hold, their indexes and their packets.
//!
//! A reader works beside a live writer, also in another process, and never locks: it believes headers, commit blocks,
//! summaries and index only after their own checks, and looks at the generation again after reading, so that a segment
//! overwritten meanwhile is reported as gone and never served. Wrong bytes are never served: every page is compared
//! with its CRC-32 (sealed segments) or lies in a batch whose CRC-32 agrees (open ones).

mod error;
mod info;

pub use error::{ReadError, Served};
pub use info::{SegmentInfo, SegmentState};

use std::ops::ControlFlow;
use std::sync::Arc;

use hindcap_wire::index::{FilterKey, IndexDoc, PageSet};
use hindcap_wire::packet::{LinkType, Packet};

use crate::volume::VolumeRead;

/// Bounds and places of a [`Reader`].
#[derive(Clone, Copy, Debug)]
pub struct ReaderOptions {
    /// Bytes of catalog filters kept in memory, newest segments first.
    pub filter_cache_bytes: usize,
}

impl Default for ReaderOptions {
    fn default() -> Self {
        Self { filter_cache_bytes: 1024 * 1024 }
    }
}

/// A packet and where it lies.
#[derive(Clone, Copy, Debug)]
pub struct PacketAt<'a> {
    /// The packet; `interface` counts inside its segment.
    pub packet: Packet<'a>,
    /// Link type of its interface.
    pub link_type: LinkType,
    /// Page in which its block starts.
    pub page: u16,
    /// Offset of its block in the segment, bytes. Ascending in the order of capture.
    pub offset: u32,
}

/// Reads a store through its volume.
#[derive(Debug)]
pub struct Reader<V> {
    volume: V,
    options: ReaderOptions,
    segments: Vec<SegmentInfo>,
}

impl<V: VolumeRead> Reader<V> {
    /// Looks at every segment once.
    ///
    /// # Errors
    /// When the volume cannot be read at all.
    pub fn open(volume: V, options: ReaderOptions) -> Result<Self, ReadError> {
        let mut reader = Self { volume, options, segments: Vec::new() };
        reader.refresh()?;
        Ok(reader)
    }

    /// Takes notice of what was written since: cheap when little was.
    ///
    /// # Errors
    /// When the volume cannot be read at all.
    pub fn refresh(&mut self) -> Result<(), ReadError> {
        let _ = (&self.volume, &self.options);
        Err(ReadError::Unsupported)
    }

    /// All segments that hold something, oldest generation first.
    #[must_use]
    pub fn segments(&self) -> &[SegmentInfo] {
        &self.segments
    }

    /// Whether `segment` may hold packets that have all of `keys`. `false` is certain; `true` when nothing is known.
    pub fn may_contain(&mut self, segment: &SegmentInfo, keys: &[FilterKey]) -> bool {
        let _ = (segment, keys);
        true
    }

    /// The index of `segment`: from its tail when sealed, else built from its committed batches, and for the open
    /// segment kept and continued at the next call.
    ///
    /// # Errors
    /// [`ReadError::Gone`] when the segment was overwritten, else a failure to read.
    pub fn index(&mut self, segment: &SegmentInfo) -> Result<Arc<IndexDoc>, ReadError> {
        let _ = segment;
        Err(ReadError::Unsupported)
    }

    /// Gives the packets whose blocks start in `pages` of `segment` to `visit`, in the order of capture, until it
    /// breaks. Pages that fail their check are left out and reported.
    ///
    /// # Errors
    /// [`ReadError::Gone`] when the segment was overwritten meanwhile: packets given out in this call up to then were
    /// checked one by one and are right. Else a failure to read.
    pub fn packets(
        &mut self,
        segment: &SegmentInfo,
        pages: &PageSet,
        visit: &mut dyn FnMut(PacketAt<'_>) -> ControlFlow<()>,
    ) -> Result<Served, ReadError> {
        let _ = (segment, pages, visit);
        Err(ReadError::Unsupported)
    }
}
