//! How a volume is laid out: which clusters, how many segments, and what lies where.

use super::error::FatError;
use super::event_ring::EventRing;
use super::layout::{
    CLUSTER_SECTORS_MAX, Extent, Layout, RESERVED_MIN, SECTOR, SEGMENTS_IN_DIRECTORY, Shape, contents_bytes,
    pins_bytes,
};
use crate::layout::{SEGMENTS_MAX, SEGMENTS_MIN, catalog_bytes};

/// Most that the boot sector can name.
const RESERVED_MAX: u64 = 65_535;
/// Fewest clusters that make a volume FAT32; Microsoft's document asks implementers to stay clear of the limit.
const CLUSTERS_MIN: u64 = 65_525 + 16;
const CLUSTERS_MAX: u64 = 0x0FFF_FFF0;
/// Share of the clusters that no file gets at first, percent: room for the card's own wear levelling.
const SPARE_PERCENT: u64 = 5;
/// Room for names that a laptop adds.
const DIRECTORY_SLACK_BYTES: u64 = 16 * 1024;

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
        fit(shape, uuid).ok_or_else(|| FatError::TooSmall {
            needed_bytes: minimum_bytes(shape),
            available_bytes: shape.sectors * SECTOR,
        })
    }
}

/// The layout with the largest clusters and the most segments that fit; `None` when not even two do.
fn fit(shape: &Shape, uuid: [u8; 16]) -> Option<Layout> {
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
    let fits = |mib: &u64| fit(&Shape { sectors: mib * MIB_SECTORS, ..*shape }, [0; 16]).is_some();
    // Cluster sizes make it not quite monotonic: the first that fits, in steps.
    (32..64 * 1024).find(fits).map_or(u64::MAX, |mib| mib << 20)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EventShare;

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
        // What makes no sense is not decoded.
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
}
