//! The catalog: per segment one entry of 64 bytes and one filter slot, in one preallocated area (docs/FORMAT.md).
//!
//! It is a cache of what the segments' tails say. The writer adds sealed segments in groups; what a crash took away is
//! found in the tails. A reader believes an entry whose CRC agrees, and a filter whose CRC and generation agree with it.

use hindcap_wire::drops::DropCounts;
use hindcap_wire::index::{Filter, FilterClasses, IndexLimits};
use hindcap_wire::limits::PAGE_BYTES;
use hindcap_wire::time::{ClockState, Timestamp};

use crate::volume::{Area, Geometry, VolumeError, VolumeRead, VolumeWrite};

/// Bytes of an entry.
pub const ENTRY_BYTES: usize = 64;
/// Writes are multiples of this where the area allows it: smaller ones wear a card like this size.
const ALIGN: u64 = PAGE_BYTES as u64;
/// Segments that wait for a grouped write.
pub const GROUP: usize = 16;
/// Bytes of filters that wait, at most; more are written at once.
pub const PENDING_BYTES_MAX: usize = 256 * 1024;
/// In `flags`: bits 0..3 the filter's classes, bit 3 no flow records, bits 4..6 the clock state, bit 6 events.
const CLOCK_SHIFT: u32 = 4;
const EVENTFUL: u32 = 1 << 6;
const NO_FLOWS: u32 = 1 << 3;

/// What the catalog says of a sealed segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Generation.
    pub generation: u64,
    /// Earliest timestamp, [`Timestamp::MAX`] without packets.
    pub first: Timestamp,
    /// Latest timestamp, [`Timestamp::MIN`] without packets.
    pub last: Timestamp,
    /// Packets.
    pub packets: u64,
    /// Captured bytes.
    pub bytes: u64,
    /// Drops, all causes.
    pub drops: u64,
    /// Kinds of key the filter is complete for; 0 without filter.
    pub classes: FilterClasses,
    /// Clock state of the last commit.
    pub clock: ClockState,
    /// Whether something happened to the recorder: its index holds events.
    pub eventful: bool,
    /// Whether there is an index with flow records; without, queries read all packets until `reindex`.
    pub has_flows: bool,
    /// Bytes of the filter, 0 without.
    pub filter_bytes: u32,
    /// CRC-32 over the generation (8 bytes, little-endian) and the filter.
    pub filter_crc: u32,
}

impl Entry {
    /// The 64 bytes on the disk.
    #[must_use]
    pub fn encode(&self) -> [u8; ENTRY_BYTES] {
        let mut out = [0; ENTRY_BYTES];
        let numbers = [self.generation, self.first.0, self.last.0, self.packets, self.bytes, self.drops]
            .map(u64::to_le_bytes);
        for (slot, number) in out.chunks_exact_mut(8).zip(numbers) {
            slot.copy_from_slice(&number);
        }
        let eventful = if self.eventful { EVENTFUL } else { 0 };
        let no_flows = if self.has_flows { 0 } else { NO_FLOWS };
        let flags =
            no_flows | u32::from(self.classes.0 & 7) | u32::from(self.clock.code()) << CLOCK_SHIFT | eventful;
        for (at, number) in [(48, flags), (52, self.filter_bytes), (56, self.filter_crc)] {
            out[at..at + 4].copy_from_slice(&number.to_le_bytes());
        }
        let crc = crc32fast::hash(&out[..60]);
        out[60..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// The entry in these bytes; `None` if its CRC does not agree or it is of no generation.
    #[must_use]
    pub fn decode(bytes: &[u8; ENTRY_BYTES]) -> Option<Self> {
        let u64_at = |at: usize| bytes[at..at + 8].try_into().map_or(0, u64::from_le_bytes);
        let u32_at = |at: usize| bytes[at..at + 4].try_into().map_or(0, u32::from_le_bytes);
        if u32_at(60) != crc32fast::hash(&bytes[..60]) || u64_at(0) == 0 {
            return None;
        }
        let flags = u32_at(48);
        Some(Self {
            generation: u64_at(0),
            first: Timestamp(u64_at(8)),
            last: Timestamp(u64_at(16)),
            packets: u64_at(24),
            bytes: u64_at(32),
            drops: u64_at(40),
            classes: FilterClasses((flags & 7) as u8),
            clock: ClockState::from_code((flags >> CLOCK_SHIFT & 3) as u16)?,
            eventful: flags & EVENTFUL != 0,
            has_flows: flags & NO_FLOWS == 0,
            filter_bytes: u32_at(52),
            filter_crc: u32_at(56),
        })
    }
}

/// CRC-32 that binds a filter to its generation.
#[must_use]
pub fn filter_crc(generation: u64, filter: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&generation.to_le_bytes());
    crc.update(filter);
    crc.finalize()
}

/// Where things lie in the catalog area of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    segments: u32,
    slot_bytes: u64,
}

impl Layout {
    /// The layout for volumes of this shape.
    #[must_use]
    pub const fn of(geometry: &Geometry) -> Self {
        let slot_bytes = IndexLimits::for_segment(geometry.segment_bytes).slot_bytes as u64;
        Self { segments: geometry.segments, slot_bytes }
    }

    const fn entries_bytes(&self) -> u64 {
        (self.segments as u64 * ENTRY_BYTES as u64).div_ceil(ALIGN) * ALIGN
    }

    /// Bytes of the whole area.
    #[must_use]
    pub const fn area_bytes(&self) -> u64 {
        self.entries_bytes() + self.segments as u64 * self.slot_bytes
    }

    const fn slot(&self, segment: u32) -> u64 {
        self.entries_bytes() + segment as u64 * self.slot_bytes
    }
}

/// What a seal knows of a segment, for [`Pending::add`].
#[derive(Clone, Debug)]
pub struct Sealed {
    /// Segment number.
    pub segment: u32,
    /// Generation.
    pub generation: u64,
    /// Earliest and latest timestamp; (MAX, MIN) without packets.
    pub times: (Timestamp, Timestamp),
    /// Packets.
    pub packets: u64,
    /// Captured bytes.
    pub bytes: u64,
    /// Drops.
    pub drops: DropCounts,
    /// Clock state of the last commit.
    pub clock: ClockState,
    /// Whether its index holds events.
    pub eventful: bool,
    /// Whether its index has flow records.
    pub has_flows: bool,
    /// Kinds of key the filter is complete for.
    pub classes: FilterClasses,
    /// The encoded filter, empty without.
    pub filter: Vec<u8>,
}

/// Sealed segments that wait for a grouped write. Bounded: tell by [`Pending::is_due`] when to write.
#[derive(Debug, Default)]
pub struct Pending {
    waiting: Vec<(u32, Entry, Vec<u8>)>,
    bytes: usize,
}

impl Pending {
    /// Nothing waits.
    #[must_use]
    pub const fn new() -> Self {
        Self { waiting: Vec::new(), bytes: 0 }
    }

    /// Takes note of a sealed segment.
    pub fn add(&mut self, sealed: Sealed) {
        let Sealed {
            segment,
            generation,
            times,
            packets,
            bytes,
            drops,
            clock,
            eventful,
            has_flows,
            mut classes,
            filter,
        } = sealed;
        if filter.is_empty() {
            classes = FilterClasses(0);
        }
        let entry = Entry {
            generation,
            first: times.0,
            last: times.1,
            packets,
            bytes,
            drops: drops.total(),
            classes,
            clock,
            eventful,
            has_flows,
            filter_bytes: filter.len() as u32,
            filter_crc: filter_crc(generation, &filter),
        };
        self.bytes += filter.len();
        self.waiting.retain(|(number, _, _)| *number != segment);
        self.waiting.push((segment, entry, filter));
    }

    /// Whether enough waits: [`GROUP`] segments or [`PENDING_BYTES_MAX`] bytes of filters.
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.waiting.len() >= GROUP || self.bytes >= PENDING_BYTES_MAX
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Writes what waits: filters, flush, entries, flush. On failure nothing waits any more: the tails have it all.
    ///
    /// # Errors
    /// When the volume fails.
    pub fn write(&mut self, volume: &mut impl VolumeWrite) -> Result<(), VolumeError> {
        let layout = Layout::of(&volume.geometry());
        let mut waiting = std::mem::take(&mut self.waiting);
        self.bytes = 0;
        waiting.retain(|(number, _, _)| *number < layout.segments);
        waiting.sort_by_key(|(number, _, _)| *number);
        write_filters(volume, &waiting)?;
        volume.flush(Area::Catalog)?;
        write_entries(volume, &waiting)?;
        volume.flush(Area::Catalog)
    }
}

fn write_filters(
    volume: &mut impl VolumeWrite,
    waiting: &[(u32, Entry, Vec<u8>)],
) -> Result<(), VolumeError> {
    for (number, _, filter) in waiting {
        write_filter(volume, *number, filter)?;
    }
    Ok(())
}

/// Writes a filter into the slot of `segment`, without flushing; returns the bytes written, 0 without a filter.
pub(crate) fn write_filter(
    volume: &mut impl VolumeWrite,
    segment: u32,
    filter: &[u8],
) -> Result<u64, VolumeError> {
    let layout = Layout::of(&volume.geometry());
    let bytes = (filter.len() as u64).next_multiple_of(ALIGN).min(layout.slot_bytes);
    if filter.is_empty() || bytes < filter.len() as u64 {
        return Ok(0);
    }
    let mut buf = filter.to_vec();
    buf.resize(bytes as usize, 0);
    volume.write(Area::Catalog, layout.slot(segment), &buf)?;
    Ok(bytes)
}

/// Forgets what is said of `segment`: entry and filter become zeros. Durable when it returns.
pub(crate) fn erase(volume: &mut impl VolumeWrite, segment: u32) -> Result<(), VolumeError> {
    let layout = Layout::of(&volume.geometry());
    let at = u64::from(segment) * ENTRY_BYTES as u64;
    let mut block = [0; ALIGN as usize];
    volume.read(Area::Catalog, at / ALIGN * ALIGN, &mut block)?;
    let inside = (at % ALIGN) as usize;
    if block[inside..inside + ENTRY_BYTES].iter().all(|byte| *byte == 0) {
        return Ok(());
    }
    block[inside..inside + ENTRY_BYTES].fill(0);
    volume.write(Area::Catalog, at / ALIGN * ALIGN, &block)?;
    volume.write(Area::Catalog, layout.slot(segment), &vec![0; layout.slot_bytes as usize])?;
    volume.flush(Area::Catalog)
}

/// Entries share sectors: the block of each group of neighbours is read, changed and written.
fn write_entries(
    volume: &mut impl VolumeWrite,
    waiting: &[(u32, Entry, Vec<u8>)],
) -> Result<(), VolumeError> {
    let per_block = ALIGN as u32 / ENTRY_BYTES as u32;
    for group in waiting.chunk_by(|one, next| one.0 / per_block == next.0 / per_block) {
        let Some(block) = group.first().map(|(number, _, _)| number / per_block) else { continue };
        let mut buf = [0; ALIGN as usize];
        volume.read(Area::Catalog, u64::from(block) * ALIGN, &mut buf)?;
        for (number, entry, _) in group {
            let at = (number % per_block) as usize * ENTRY_BYTES;
            buf[at..at + ENTRY_BYTES].copy_from_slice(&entry.encode());
        }
        volume.write(Area::Catalog, u64::from(block) * ALIGN, &buf)?;
    }
    Ok(())
}

/// Reads all entries in one go; `None` where nothing believable stands.
///
/// # Errors
/// When the volume fails.
pub fn entries(volume: &impl VolumeRead) -> Result<Vec<Option<Entry>>, VolumeError> {
    let mut bytes = vec![0; volume.geometry().segments as usize * ENTRY_BYTES];
    volume.read(Area::Catalog, 0, &mut bytes)?;
    Ok(bytes.chunks_exact(ENTRY_BYTES).map(|bytes| Entry::decode(bytes.first_chunk()?)).collect())
}

/// Where the filter slot of `segment` begins in the catalog area.
#[cfg(test)]
pub(crate) const fn slot_of(geometry: &Geometry, segment: u32) -> u64 {
    Layout::of(geometry).slot(segment)
}

/// Whether something stands in the place of the entry of `segment` that is no entry.
#[must_use]
pub fn is_damaged(volume: &impl VolumeRead, segment: u32) -> bool {
    let mut bytes = [0; ENTRY_BYTES];
    let read = volume.read(Area::Catalog, u64::from(segment) * ENTRY_BYTES as u64, &mut bytes);
    read.is_err() || (bytes != [0; ENTRY_BYTES] && Entry::decode(&bytes).is_none())
}

/// The filter of `segment` as `entry` describes it; `None` without one, or when it belongs to another generation.
///
/// # Errors
/// When the volume fails.
pub fn filter(volume: &impl VolumeRead, segment: u32, entry: &Entry) -> Result<Option<Filter>, VolumeError> {
    let layout = Layout::of(&volume.geometry());
    if entry.filter_bytes == 0 || u64::from(entry.filter_bytes) > layout.slot_bytes {
        return Ok(None);
    }
    let mut bytes = vec![0; entry.filter_bytes as usize];
    volume.read(Area::Catalog, layout.slot(segment), &mut bytes)?;
    let whole = filter_crc(entry.generation, &bytes) == entry.filter_crc;
    Ok(whole.then_some(bytes).and_then(Filter::parse))
}
