//! The event ring of a card: a second run of segments beside the first, in the directory `events`, with areas of its own
//! that bear the names they have in a directory store.

use hindcap_wire::limits::{CHUNK_BYTES, SEGMENT_BYTES_MIN};

use super::layout::{Extent, Layout, SEGMENTS_IN_DIRECTORY, Shape, contents_bytes, pins_bytes};
use crate::events::EVENT_SEGMENT_BYTES_MAX;
use crate::layout::{SEGMENTS_MIN, catalog_bytes};

/// Segments that it gets at least, by smaller segments.
const SEGMENTS_WANTED: u64 = 8;
/// What its uuid differs by from the store's: it is a store of its own, made with the other.
const UUID_MASK: [u8; 16] = *b"hindcap.events.1";

/// Where its parts lie. All zeros where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventRing {
    /// Bytes of a segment.
    pub segment_bytes: u32,
    /// Segments.
    pub segments: u32,
    /// The directory `events`.
    pub dir: Extent,
    /// The directory `events/segments`.
    pub names: Extent,
    /// `events/pins.dat`: two halves, each of whole erase units, a slot at the start of each.
    pub pins: Extent,
    /// `events/CONTENTS.txt`.
    pub contents: Extent,
    /// `events/hindcap.state`: two erase units, a slot at the start of each.
    pub state: Extent,
    /// `events/catalog.dat`.
    pub catalog: Extent,
    /// Its segments, one after the other.
    pub ring: Extent,
}

impl EventRing {
    /// Bytes of a segment and number of segments on a volume with so many bytes of clusters; `None` when there shall be none,
    /// or two segments do not fit its share.
    pub(super) fn shape(shape: &Shape, bytes: u64) -> Option<(u32, u32)> {
        let share = shape.event_share.of(bytes);
        let erase = shape.erase_bytes;
        // An erase unit is the least, however large.
        let most = (shape.segment_bytes.min(EVENT_SEGMENT_BYTES_MAX) / erase).max(1);
        let fits = |units: &u32| {
            let bytes = units * erase;
            bytes % CHUNK_BYTES == 0 && bytes >= SEGMENT_BYTES_MIN
        };
        let mut sizes = (1..=most).rev().filter(fits).map(|units| units * erase).peekable();
        while let Some(segment_bytes) = sizes.next() {
            if share / u64::from(segment_bytes) >= SEGMENTS_WANTED || sizes.peek().is_none() {
                let most = (share / u64::from(segment_bytes)).min(SEGMENTS_IN_DIRECTORY) as u32;
                let segments = (SEGMENTS_MIN..=most)
                    .rev()
                    .find(|segments| whole_bytes(erase, segment_bytes, *segments) <= share)?;
                return Some((segment_bytes, segments));
            }
        }
        None
    }

    /// The layout of its volume, as if it were the only ring there.
    pub(super) fn seen_from(&self, layout: &Layout) -> Layout {
        let mut uuid = layout.uuid;
        uuid.iter_mut().zip(UUID_MASK).for_each(|(byte, mask)| *byte ^= mask);
        let Self { segment_bytes, segments, names, contents, state, catalog, ring, .. } = *self;
        Layout {
            uuid,
            segment_bytes,
            segments,
            names,
            contents,
            state,
            catalog,
            ring,
            events: None,
            ..*layout
        }
    }

    /// As the ring sector has it.
    pub(super) fn numbers(self) -> impl Iterator<Item = u32> {
        let extents = [self.dir, self.names, self.pins, self.contents, self.state, self.catalog, self.ring];
        [self.segment_bytes, self.segments]
            .into_iter()
            .chain(extents.into_iter().flat_map(|extent| [extent.first, extent.count]))
    }

    /// From the numbers of a ring sector.
    pub(super) fn of(number: impl Fn(usize) -> u32) -> Option<Self> {
        let extent = |at: usize| Extent { first: number(2 + 2 * at), count: number(3 + 2 * at) };
        let events = Self {
            segment_bytes: number(0),
            segments: number(1),
            dir: extent(0),
            names: extent(1),
            pins: extent(2),
            contents: extent(3),
            state: extent(4),
            catalog: extent(5),
            ring: extent(6),
        };
        (events.segments > 0).then_some(events)
    }
}

/// Bytes of a ring with all that belongs to it, in whole units.
fn whole_bytes(erase: u32, segment_bytes: u32, segments: u32) -> u64 {
    let unit = u64::from(erase);
    let areas = [
        pins_bytes(erase),
        contents_bytes(segments),
        2 * unit, // its state
        catalog_bytes(segment_bytes, segments),
        u64::from(segments) * u64::from(segment_bytes),
    ];
    areas.into_iter().map(|bytes| bytes.next_multiple_of(unit)).sum()
}
