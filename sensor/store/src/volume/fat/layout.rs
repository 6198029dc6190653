//! Where everything lies on a FAT32 ring volume, and the ring sector that says so (docs/FORMAT.md, "FAT layout").
//!
//! All positions follow from the size of the volume, its place on the device, the erase unit, the segment size and the share
//! of the event ring. They are written down once, in two copies, because a card comes back from laptops and nothing there may
//! be guessed.

use std::ops::Range;

use hindcap_wire::limits::PAGE_BYTES;

use super::event_ring::EventRing;
use crate::EventShare;
use crate::events::pins::PINS_SLOT_BYTES;
use crate::layout::{SEGMENTS_MIN, catalog_bytes};
use crate::volume::block::SECTOR_BYTES;

/// Sectors of the reserved area at least: boot sectors at 0 to 2 and 6 to 8, ring sectors at 16 and 48.
pub(crate) const RESERVED_MIN: u64 = 64;
/// Where the two copies of the ring sector lie, in different flash pages, and where no other program writes: mtools and
/// Windows take sectors 0 to 2 and 6 to 8 for boot code.
pub(crate) const RING_SECTORS: [u64; 2] = [16, 48];
/// Largest cluster, sectors: 32 KiB is what everything reads.
pub(super) const CLUSTER_SECTORS_MAX: u64 = 64;
/// Segments whose names fit one directory: 65,536 entries of 32 bytes, two for each.
pub(super) const SEGMENTS_IN_DIRECTORY: u64 = 32_000;
/// Bytes of `CONTENTS.txt`: a head and a line per segment, up to a whole flash page, as every write.
const CONTENTS_HEAD_BYTES: u64 = 4096;
const CONTENTS_LINE_BYTES: u64 = 128;

const MAGIC: [u8; 8] = *b"HCFATRNG";
const VERSION: u32 = 1;
pub(super) const SECTOR: u64 = SECTOR_BYTES as u64;

/// Clusters in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// The first; clusters count from 2.
    pub first: u32,
    /// How many.
    pub count: u32,
}

impl Extent {
    /// The cluster numbers.
    #[must_use]
    pub const fn range(&self) -> Range<u32> {
        self.first..self.first + self.count
    }
}

/// What a layout is made for.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Sectors of the volume.
    pub sectors: u64,
    /// Where it starts on the card, sectors: alignment counts from the beginning of the card.
    pub start: u64,
    /// Erase or allocation unit, bytes.
    pub erase_bytes: u32,
    /// Bytes of a segment.
    pub segment_bytes: u32,
    /// Most segments; the rest of the card stays free.
    pub segments_max: u32,
    /// What of the clusters the event ring gets, half of them at most; none where that is too little for one.
    pub event_share: EventShare,
}

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Identity of the store.
    pub uuid: [u8; 16],
    /// Sectors of the volume.
    pub sectors: u32,
    /// Where the volume starts on the card, sectors.
    pub start: u64,
    /// Erase or allocation unit, bytes.
    pub erase_bytes: u32,
    /// Sectors of a cluster.
    pub cluster_sectors: u32,
    /// Sectors before the first FAT.
    pub reserved_sectors: u32,
    /// Sectors of one FAT.
    pub fat_sectors: u32,
    /// Bytes of a segment.
    pub segment_bytes: u32,
    /// Segments.
    pub segments: u32,
    /// The root directory.
    pub root: Extent,
    /// The directory `segments`.
    pub names: Extent,
    /// `CONTENTS.txt`.
    pub contents: Extent,
    /// `hindcap.state`: two erase units, a slot at the start of each.
    pub state: Extent,
    /// `catalog.dat`.
    pub catalog: Extent,
    /// The segments, one after the other.
    pub ring: Extent,
    /// The event ring, where there is one.
    pub events: Option<EventRing>,
}

impl Layout {
    /// The event ring as a ring of its own: what the layout says of segments, state and so on is then the event ring's.
    #[must_use]
    pub fn event_ring(&self) -> Option<Self> {
        self.events.map(|events| events.seen_from(self))
    }

    /// Bytes of a cluster.
    #[must_use]
    pub const fn cluster_bytes(&self) -> u32 {
        self.cluster_sectors * SECTOR_BYTES as u32
    }

    /// First sector of the data area, from the start of the volume.
    #[must_use]
    pub const fn data_start(&self) -> u64 {
        self.reserved_sectors as u64 + 2 * self.fat_sectors as u64
    }

    /// Clusters of the volume, used or not.
    #[must_use]
    pub const fn clusters(&self) -> u32 {
        ((self.sectors as u64 - self.data_start()) / self.cluster_sectors as u64) as u32
    }

    /// First sector of a cluster, from the start of the volume.
    #[must_use]
    pub const fn sector_of(&self, cluster: u32) -> u64 {
        self.data_start() + (cluster as u64 - 2) * self.cluster_sectors as u64
    }

    /// Bytes of an extent.
    #[must_use]
    pub const fn bytes(&self, extent: Extent) -> u64 {
        extent.count as u64 * self.cluster_bytes() as u64
    }

    /// Where segment `number` lies.
    #[must_use]
    pub const fn segment(&self, number: u32) -> Extent {
        let count = self.segment_bytes / self.cluster_bytes();
        Extent { first: self.ring.first + number * count, count }
    }

    /// The segment that begins at `cluster`, if one does.
    #[must_use]
    pub fn segment_at(&self, cluster: u32) -> Option<u32> {
        let count = self.segment_bytes / self.cluster_bytes();
        let from = cluster.checked_sub(self.ring.first)?;
        (from % count == 0 && from / count < self.segments).then_some(from / count)
    }

    /// The ring sector.
    #[must_use]
    pub fn encode(&self) -> [u8; SECTOR_BYTES] {
        let mut out = [0; SECTOR_BYTES];
        out[..8].copy_from_slice(&MAGIC);
        out[8..12].copy_from_slice(&VERSION.to_le_bytes());
        out[16..32].copy_from_slice(&self.uuid);
        out[32..40].copy_from_slice(&self.start.to_le_bytes());
        for (at, number) in (40..).step_by(4).zip(self.numbers()) {
            out[at..at + 4].copy_from_slice(&number.to_le_bytes());
        }
        let crc = crc32fast::hash(&out[..SECTOR_BYTES - 4]);
        out[SECTOR_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    fn numbers(&self) -> impl Iterator<Item = u32> {
        let own = [
            self.sectors,
            self.erase_bytes,
            self.cluster_sectors,
            self.reserved_sectors,
            self.fat_sectors,
            self.segment_bytes,
            self.segments,
        ];
        let extents = [self.root, self.names, self.contents, self.state, self.catalog, self.ring];
        let events = self.events.unwrap_or_default().numbers();
        own.into_iter()
            .chain(extents.into_iter().flat_map(|extent| [extent.first, extent.count]))
            .chain(events)
    }

    /// Reads a ring sector; `None` unless its CRC agrees and what it says makes sense.
    #[must_use]
    pub fn decode(bytes: &[u8; SECTOR_BYTES]) -> Option<Self> {
        let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap_or_default());
        let own = bytes[..8] == MAGIC && u32_at(8) == VERSION;
        if !own || crc32fast::hash(&bytes[..SECTOR_BYTES - 4]) != u32_at(SECTOR_BYTES - 4) {
            return None;
        }
        let extent = |at: usize| Extent { first: u32_at(at), count: u32_at(at + 4) };
        let layout = Self {
            uuid: bytes[16..32].try_into().ok()?,
            start: u64::from_le_bytes(bytes[32..40].try_into().ok()?),
            sectors: u32_at(40),
            erase_bytes: u32_at(44),
            cluster_sectors: u32_at(48),
            reserved_sectors: u32_at(52),
            fat_sectors: u32_at(56),
            segment_bytes: u32_at(60),
            segments: u32_at(64),
            root: extent(68),
            names: extent(76),
            contents: extent(84),
            state: extent(92),
            catalog: extent(100),
            ring: extent(108),
            events: EventRing::of(|at| u32_at(116 + 4 * at)),
        };
        layout.is_sane().then_some(layout)
    }

    fn is_sane(&self) -> bool {
        let clusters_ok = self.cluster_sectors.is_power_of_two()
            && self.cluster_sectors <= CLUSTER_SECTORS_MAX as u32
            && self.data_start() < self.sectors.into()
            && u64::from(self.reserved_sectors) >= RESERVED_MIN
            && u64::from(self.clusters()) + 2 <= u64::from(self.fat_sectors) * SECTOR / 4;
        if !clusters_ok || self.segment_bytes == 0 || self.segment_bytes % self.cluster_bytes() != 0 {
            return false;
        }
        let inside = |extent: Extent| {
            extent.first >= 2
                && u64::from(extent.first) + u64::from(extent.count) <= u64::from(self.clusters()) + 2
        };
        let ring = u64::from(self.segments) * u64::from(self.segment_bytes);
        self.extents().into_iter().all(inside)
            && self.segments >= SEGMENTS_MIN
            && self.bytes(self.ring) == ring
            && self.bytes(self.catalog) >= catalog_bytes(self.segment_bytes, self.segments)
            && self.bytes(self.state) >= 2 * crate::state::SLOT_BYTES as u64
            && self.event_ring().is_none_or(|ring| ring.is_sane())
    }

    /// Everything that is laid out, in the order of the clusters.
    #[must_use]
    pub fn extents(&self) -> Vec<Extent> {
        let (directories, areas) = self.events.map_or((Vec::new(), Vec::new()), |events| {
            let areas = [events.pins, events.contents, events.state, events.catalog, events.ring];
            (vec![events.dir, events.names], areas.to_vec())
        });
        let own = [self.contents, self.state, self.catalog, self.ring];
        [self.root, self.names].into_iter().chain(directories).chain(own).chain(areas).collect()
    }

    /// The first cluster behind everything that is laid out.
    #[must_use]
    pub fn end(&self) -> u32 {
        self.events.map_or(self.ring, |events| events.ring).range().end
    }
}

/// Bytes of the list of pins: a slot at the beginning, another in the middle, each in an erase unit of its own.
pub(super) fn pins_bytes(erase_bytes: u32) -> u64 {
    2 * u64::from(erase_bytes).max(PINS_SLOT_BYTES as u64)
}

/// Bytes of the list for people.
pub(super) fn contents_bytes(segments: u32) -> u64 {
    (CONTENTS_HEAD_BYTES + u64::from(segments) * CONTENTS_LINE_BYTES).next_multiple_of(PAGE_BYTES.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EventShare;

    #[test]
    fn a_damaged_ring_sector_is_not_believed() {
        let shape = Shape {
            sectors: 1 << 27,
            start: 8192,
            erase_bytes: 4 << 20,
            segment_bytes: 64 << 20,
            segments_max: u32::MAX,
            event_share: EventShare::Percent(0),
        };
        let mut bytes = Layout::plan(&shape, [1; 16]).unwrap().encode();
        bytes[60] ^= 1;
        assert_eq!(Layout::decode(&bytes), None);
    }
}
