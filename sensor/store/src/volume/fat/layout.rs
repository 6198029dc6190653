//! Where everything lies on a FAT32 ring volume, and the ring sector that says so (docs/FORMAT.md, "FAT layout").
//!
//! All positions follow from the size of the volume, its place on the device, the erase unit, the segment size and the share
//! of the event ring. They are written down once, in two copies, because a card comes back from laptops and nothing there may
//! be guessed.

use std::ops::Range;

use hindcap_wire::limits::PAGE_BYTES;

use super::error::FatError;
use super::event_ring::EventRing;
use crate::EventShare;
use crate::events::pins::PINS_SLOT_BYTES;
use crate::layout::{SEGMENTS_MAX, SEGMENTS_MIN, catalog_bytes};
use crate::volume::block::SECTOR_BYTES;

/// Sectors of the reserved area at least: boot sectors at 0 to 2 and 6 to 8, ring sectors at 16 and 48.
pub(crate) const RESERVED_MIN: u64 = 64;
/// Most that the boot sector can name.
const RESERVED_MAX: u64 = 65_535;
/// Where the two copies of the ring sector lie, in different flash pages, and where no other program writes: mtools and
/// Windows take sectors 0 to 2 and 6 to 8 for boot code.
pub(crate) const RING_SECTORS: [u64; 2] = [16, 48];
/// Fewest clusters that make a volume FAT32; Microsoft's document asks implementers to stay clear of the limit.
const CLUSTERS_MIN: u64 = 65_525 + 16;
const CLUSTERS_MAX: u64 = 0x0FFF_FFF0;
/// Largest cluster, sectors: 32 KiB is what everything reads.
const CLUSTER_SECTORS_MAX: u64 = 64;
/// Share of the clusters that no file gets at first, percent: room for the card's own wear levelling.
const SPARE_PERCENT: u64 = 5;
/// Segments whose names fit one directory: 65,536 entries of 32 bytes, two for each.
pub(super) const SEGMENTS_IN_DIRECTORY: u64 = 32_000;
/// Room for names that a laptop adds.
const DIRECTORY_SLACK_BYTES: u64 = 16 * 1024;
/// Bytes of `CONTENTS.txt`: a head and a line per segment, up to a whole flash page, as every write.
const CONTENTS_HEAD_BYTES: u64 = 4096;
const CONTENTS_LINE_BYTES: u64 = 128;

const MAGIC: [u8; 8] = *b"HCFATRNG";
const VERSION: u32 = 1;
const SECTOR: u64 = SECTOR_BYTES as u64;

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
    /// Lays a volume out.
    ///
    /// # Errors
    /// The erase unit or the segment size makes no sense, or the volume is too small for two segments.
    pub fn plan(shape: &Shape, uuid: [u8; 16]) -> Result<Self, FatError> {
        let Shape { erase_bytes, segment_bytes, .. } = *shape;
        if !(16 << 10..=64 << 20).contains(&erase_bytes) || erase_bytes % (16 << 10) != 0 {
            return Err(FatError::Option { what: "erase unit: a multiple of 16KiB from 16KiB to 64MiB" });
        }
        if segment_bytes % erase_bytes != 0 {
            return Err(FatError::SegmentUnit { segment_bytes, erase_bytes });
        }
        Self::fit(shape, uuid).ok_or_else(|| FatError::TooSmall {
            needed_bytes: minimum_bytes(shape),
            available_bytes: shape.sectors * SECTOR,
        })
    }

    fn fit(shape: &Shape, uuid: [u8; 16]) -> Option<Self> {
        let sectors = shape.sectors.min(u32::MAX.into());
        let mut cluster_sectors = CLUSTER_SECTORS_MAX;
        let base = loop {
            if u64::from(shape.erase_bytes) % (cluster_sectors * SECTOR) == 0 {
                if let Some(base) = Base::of(sectors, shape, cluster_sectors) {
                    break base;
                }
            }
            cluster_sectors /= 2;
            if cluster_sectors == 0 {
                return None;
            }
        };
        let events = EventRing::shape(shape, base.clusters * cluster_sectors * SECTOR);
        let most = (base.clusters * cluster_sectors * SECTOR / u64::from(shape.segment_bytes))
            .min(shape.segments_max.into())
            .min(SEGMENTS_IN_DIRECTORY)
            .min(SEGMENTS_MAX.into());
        (u64::from(SEGMENTS_MIN)..=most)
            .rev()
            .find_map(|segments| base.place(shape, uuid, sectors, segments as u32, events))
    }

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

/// What follows from size and cluster alone.
struct Base {
    cluster_sectors: u64,
    reserved: u64,
    fat: u64,
    clusters: u64,
}

impl Base {
    /// `None` when that cluster size gives no FAT32 volume.
    fn of(sectors: u64, shape: &Shape, cluster_sectors: u64) -> Option<Self> {
        let unit = u64::from(shape.erase_bytes) / SECTOR;
        // A little more than needed: the FATs' own sectors hold no clusters.
        let mut fat = ((sectors / cluster_sectors + 2) * 4).div_ceil(SECTOR);
        let data = (shape.start + RESERVED_MIN + 2 * fat).next_multiple_of(unit).checked_sub(shape.start)?;
        let mut reserved = data - 2 * fat;
        if reserved > RESERVED_MAX {
            // Large erase units: the FATs take up what the reserved area cannot.
            fat += (reserved - RESERVED_MIN) / 2;
            reserved = data - 2 * fat;
        }
        let clusters = sectors.checked_sub(data)? / cluster_sectors;
        (CLUSTERS_MIN..CLUSTERS_MAX).contains(&clusters).then_some(Self {
            cluster_sectors,
            reserved,
            fat,
            clusters,
        })
    }

    /// Places everything for so many segments; `None` when they do not fit.
    fn place(
        &self,
        shape: &Shape,
        uuid: [u8; 16],
        sectors: u64,
        segments: u32,
        events: Option<(u32, u32)>,
    ) -> Option<Layout> {
        let cluster_bytes = self.cluster_sectors * SECTOR;
        let unit = u64::from(shape.erase_bytes) / cluster_bytes;
        let mut places = Places { cluster_bytes, unit, used: 0 };
        let root = places.take(DIRECTORY_SLACK_BYTES)?;
        let names = places.take(names_bytes(segments))?;
        let directories = match events {
            Some((_, segments)) => Some((places.take(cluster_bytes)?, places.take(names_bytes(segments))?)),
            None => None,
        };
        let [contents, state, catalog, ring] =
            places.ring(shape.erase_bytes, shape.segment_bytes, segments)?;
        let events = match (events, directories) {
            (Some((segment_bytes, segments)), Some((dir, names))) => {
                let pins = places.units(pins_bytes(shape.erase_bytes))?;
                let [contents, state, catalog, ring] =
                    places.ring(shape.erase_bytes, segment_bytes, segments)?;
                Some(EventRing { segment_bytes, segments, dir, names, pins, contents, state, catalog, ring })
            }
            _ => None,
        };
        let used = places.used;
        (used + (self.clusters * SPARE_PERCENT).div_ceil(100) <= self.clusters).then_some(Layout {
            uuid,
            sectors: sectors as u32,
            start: shape.start,
            erase_bytes: shape.erase_bytes,
            cluster_sectors: self.cluster_sectors as u32,
            reserved_sectors: self.reserved as u32,
            fat_sectors: self.fat as u32,
            segment_bytes: shape.segment_bytes,
            segments,
            root,
            names,
            contents,
            state,
            catalog,
            ring,
            events,
        })
    }
}

/// Bytes of a directory with the names of so many segments.
fn names_bytes(segments: u32) -> u64 {
    (2 + 2 * u64::from(segments)) * 32 + DIRECTORY_SLACK_BYTES
}

/// Bytes of the list of pins: a slot at the beginning, another in the middle, each in an erase unit of its own.
pub(super) fn pins_bytes(erase_bytes: u32) -> u64 {
    2 * u64::from(erase_bytes).max(PINS_SLOT_BYTES as u64)
}

/// Bytes of the list for people.
pub(super) fn contents_bytes(segments: u32) -> u64 {
    (CONTENTS_HEAD_BYTES + u64::from(segments) * CONTENTS_LINE_BYTES).next_multiple_of(PAGE_BYTES.into())
}

/// Gives clusters away, from the first on.
struct Places {
    cluster_bytes: u64,
    /// Clusters of an erase unit.
    unit: u64,
    used: u64,
}

impl Places {
    fn take(&mut self, bytes: u64) -> Option<Extent> {
        let count = bytes.div_ceil(self.cluster_bytes);
        let extent = Extent { first: u32::try_from(self.used + 2).ok()?, count: u32::try_from(count).ok()? };
        self.used += count;
        Some(extent)
    }

    /// At the beginning of a unit.
    fn aligned(&mut self, bytes: u64) -> Option<Extent> {
        self.used = self.used.next_multiple_of(self.unit);
        self.take(bytes)
    }

    /// Whole units.
    fn units(&mut self, bytes: u64) -> Option<Extent> {
        self.aligned(bytes.next_multiple_of(self.unit * self.cluster_bytes))
    }

    /// Contents, state, catalog and segments of a ring.
    fn ring(&mut self, erase_bytes: u32, segment_bytes: u32, segments: u32) -> Option<[Extent; 4]> {
        Some([
            self.aligned(contents_bytes(segments))?,
            self.units(2 * u64::from(erase_bytes))?,
            self.units(catalog_bytes(segment_bytes, segments))?,
            self.units(u64::from(segments) * u64::from(segment_bytes))?,
        ])
    }
}

/// Bytes of the smallest volume of this shape that two segments fit, to the MiB.
fn minimum_bytes(shape: &Shape) -> u64 {
    const MIB_SECTORS: u64 = (1 << 20) / SECTOR;
    let fits = |mib: &u64| Layout::fit(&Shape { sectors: mib * MIB_SECTORS, ..*shape }, [0; 16]).is_some();
    // Cluster sizes make it not quite monotonic: the first that fits, in steps.
    (32..64 * 1024).find(fits).map_or(u64::MAX, |mib| mib << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GB: u64 = 1_000_000_000;

    fn shape(bytes: u64, erase_mib: u32, segment_mib: u32) -> Shape {
        Shape {
            sectors: bytes / SECTOR,
            start: u64::from(erase_mib) * 2048,
            erase_bytes: erase_mib << 20,
            segment_bytes: segment_mib << 20,
            segments_max: u32::MAX,
            event_share: EventShare::Percent(0),
        }
    }

    #[test]
    fn everything_is_aligned_inside_and_apart() {
        for (bytes, erase, segment) in [
            (64 * GB, 4, 64),
            (64 * GB, 16, 64),
            (256 * GB, 64, 64),
            (32 * GB, 4, 64),
            (16 * GB, 12, 60),
            (400_000_000, 4, 8),
            (42 << 20, 1, 4),
            (1000 * GB, 64, 128),
        ] {
            for share in
                [0, 10, 50].map(EventShare::Percent).into_iter().chain([EventShare::Bytes(bytes / 3)])
            {
                let shape = Shape { event_share: share, ..shape(bytes, erase, segment) };
                check(&shape);
            }
        }
        // Figures of docs/FORMAT.md.
        let figures =
            Layout::plan(&Shape { event_share: EventShare::Percent(10), ..shape(64 * GB, 4, 64) }, [0; 16])
                .unwrap();
        let events = figures.events.unwrap();
        assert_eq!((figures.segments, events.segments, events.segment_bytes), (809, 379, 16 << 20));
    }

    fn check(shape: &Shape) {
        let layout = Layout::plan(shape, [9; 16]).unwrap();
        assert!(layout.is_sane(), "{layout:?}");
        assert_eq!(Layout::decode(&layout.encode()), Some(layout));
        for pair in layout.extents().windows(2) {
            assert!(pair[0].range().end <= pair[1].first, "{layout:?}");
        }
        assert_eq!(layout.extents().last().unwrap().range().end, layout.end());
        let (unit, bytes) = (u64::from(layout.erase_bytes), shape.sectors * SECTOR);
        let mut aligned = vec![layout.root];
        let rings = [Some(layout), layout.event_ring()];
        for ring in rings.into_iter().flatten() {
            aligned.extend([ring.contents, ring.state, ring.catalog, ring.ring]);
            assert_eq!(ring.bytes(ring.contents) % 16_384, 0);
        }
        aligned.extend(layout.events.map(|events| events.pins));
        for extent in aligned {
            let sector = shape.start + layout.sector_of(extent.first);
            assert_eq!(sector * SECTOR % unit, 0, "{extent:?} of {layout:?}");
        }
        let spare = u64::from(layout.clusters() + 2 - layout.end());
        assert!(spare * 20 >= u64::from(layout.clusters()), "5 % spare");
        assert!(spare * u64::from(layout.cluster_bytes()) < bytes / 20 + u64::from(layout.segment_bytes) * 2);
        assert!(u64::from(layout.reserved_sectors) <= RESERVED_MAX);
        // Its share, and never more.
        let events = layout.events.map_or(0, |events| {
            u64::from(events.ring.range().end - events.pins.first) * u64::from(layout.cluster_bytes())
        });
        let share = shape.event_share.of(bytes + 99);
        assert!(events <= share, "{events} of {share}");
        let step =
            10 * unit + layout.event_ring().map_or(0, |ring| u64::from(ring.segment_bytes)) + share / 100;
        assert!(shape.event_share.is_none() || bytes < GB || events + step >= share, "{events} of {share}");
    }

    #[test]
    fn what_cannot_be_is_said() {
        let text = |shape: &Shape| Layout::plan(shape, [0; 16]).unwrap_err().to_string();
        assert!(text(&shape(64 << 20, 4, 64)).contains("too small"), "{}", text(&shape(64 << 20, 4, 64)));
        assert!(text(&shape(64 * GB, 16, 4)).contains("multiple of the erase unit"));
        assert!(text(&Shape { erase_bytes: 5000, ..shape(64 * GB, 4, 64) }).starts_with("erase unit"));
        let FatError::TooSmall { needed_bytes, .. } =
            Layout::plan(&shape(1 << 20, 4, 4), [0; 16]).unwrap_err()
        else {
            panic!("another error")
        };
        Layout::plan(&shape(needed_bytes, 4, 4), [0; 16]).unwrap();
    }

    #[test]
    fn a_damaged_ring_sector_is_not_believed() {
        let mut bytes = Layout::plan(&shape(64 * GB, 4, 64), [1; 16]).unwrap().encode();
        bytes[60] ^= 1;
        assert_eq!(Layout::decode(&bytes), None);
    }
}
