//! The catalog: per segment one entry of 128 bytes and one filter slot, in one preallocated area (docs/FORMAT.md).
//!
//! It is a cache of what the segments' tails say. The writer adds sealed segments in groups; what a crash took away is
//! found in the tails. A reader believes an entry whose CRC agrees, and a filter whose CRC and generation agree with it.

mod entry;

pub use entry::{ENTRY_BYTES, Entry};

use hindcap_wire::index::{Filter, FilterClasses, IndexLimits};
use hindcap_wire::ledger::SummaryPage;
use hindcap_wire::limits::PAGE_BYTES;

use crate::volume::{Area, Geometry, VolumeError, VolumeRead, VolumeWrite};

/// Writes are multiples of this where the area allows it: smaller ones wear a card like this size.
const ALIGN: u64 = PAGE_BYTES as u64;
/// Segments that wait for a grouped write.
pub const GROUP: usize = 16;
/// Bytes of filters that wait, at most; more are written at once.
pub const PENDING_BYTES_MAX: usize = 256 * 1024;
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

/// An entry and its filter, for [`Pending::add`].
#[derive(Clone, Debug)]
pub struct Sealed {
    /// Segment number.
    pub segment: u32,
    /// The entry.
    pub entry: Entry,
    /// The encoded filter, empty without.
    pub filter: Vec<u8>,
}

impl Sealed {
    /// Of segment `segment` with this summary page.
    #[must_use]
    pub fn of(segment: u32, page: &SummaryPage, classes: FilterClasses, filter: Vec<u8>) -> Self {
        Self { segment, entry: Entry::of(page, classes, &filter), filter }
    }
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
        let Sealed { segment, entry, filter } = sealed;
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
