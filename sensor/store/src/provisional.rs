//! The provisional tail: the index of the open segment, written when a recorder ends in order, where the tail will be once
//! the segment is sealed (docs/FORMAT.md, "Provisional tail"). A reader then need not walk up to a whole segment.
//!
//! It is no seal. Its page has a magic of its own, so that nobody takes it for a summary; behind the data still stands the
//! terminator, so that other programs never come to it. It is believed only while all of this holds: its own CRCs, which
//! start with the store's uuid; the segment's generation; the mount epoch of the state, so that no recorder has been at the
//! store since; and that the commit blocks end where it says, with the very commit that it names. Going on with the
//! segment makes it stale without a write.

use hindcap_wire::index::IndexDoc;
use hindcap_wire::ledger::{
    BLOCK_OVERHEAD_BYTES, COMMIT_BYTES, ClockLine, Commit, SegmentHeader, SummaryPage, batch_crc_start,
    block_type,
};
use hindcap_wire::limits::{CHUNK_BYTES, PAGE_BYTES};

use crate::catalog::{self, ENTRY_BYTES, Entry};
use crate::index::Indexer;
use crate::volume::{Area, VolumeError, VolumeRead, VolumeWrite};
use crate::writer::tables::SegmentTables;
use crate::writer::tail::{self, TailBuf};

const MAGIC: [u8; 8] = *b"HCPROV01";
const ENTRY_AT: usize = 48;
/// Length of the clock's settings, then they themselves.
const CLOCK_AT: usize = ENTRY_AT + ENTRY_BYTES;
const CRC_AT: usize = SummaryPage::BYTES - 8;
const CLOCK_FITS: &str = "settings of the clock are bounded (ledger tests)";
/// The terminator behind the data must stay: at least so much lies between data and index.
const TERMINATOR_ROOM: u32 = PAGE_BYTES;

/// What the page says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Provisional {
    /// End of the last batch.
    pub data_bytes: u32,
    /// Where the index block starts; its first encoded byte lies 8 bytes later.
    pub index_offset: u32,
    /// Bytes of the encoded index.
    pub index_bytes: u32,
    /// CRC-32 of the encoded index.
    index_crc: u32,
    /// Mount epoch of the recorder that ended.
    epoch: u32,
    /// CRC field of the last commit block.
    commit_crc: u32,
    /// What the catalog would say of the segment; the filter lies in its slot there.
    pub entry: Entry,
    /// How the clock of the segment was set.
    pub clock_lines: Vec<ClockLine>,
}

impl Provisional {
    fn encode(&self, store: &[u8; 16], page: &mut [u8]) {
        page.fill(0);
        let fields = [
            (0, block_type::SUMMARY),
            (4, PAGE_BYTES),
            (24, self.data_bytes),
            (28, self.index_offset),
            (32, self.index_bytes),
            (36, self.index_crc),
            (40, self.epoch),
            (44, self.commit_crc),
            (CRC_AT + 4, PAGE_BYTES),
        ];
        for (at, field) in fields {
            page[at..at + 4].copy_from_slice(&field.to_le_bytes());
        }
        page[8..16].copy_from_slice(&MAGIC);
        page[16..24].copy_from_slice(&self.entry.generation.to_le_bytes());
        page[ENTRY_AT..ENTRY_AT + ENTRY_BYTES].copy_from_slice(&self.entry.encode());
        let lines = postcard::to_slice(&self.clock_lines, &mut page[CLOCK_AT + 4..CRC_AT]).expect(CLOCK_FITS);
        let length = (lines.len() as u32).to_le_bytes();
        page[CLOCK_AT..CLOCK_AT + 4].copy_from_slice(&length);
        let crc = page_crc(store, page);
        page[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
    }

    /// The page in these bytes, when it is whole and of this store.
    fn decode(store: &[u8; 16], page: &[u8]) -> Option<Self> {
        let u32_at = |at: usize| page.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
        if page.len() != SummaryPage::BYTES
            || page[8..16] != MAGIC
            || u32_at(CRC_AT)? != page_crc(store, page)
        {
            return None;
        }
        let lines = page.get(CLOCK_AT + 4..)?.get(..u32_at(CLOCK_AT)? as usize)?;
        Some(Self {
            data_bytes: u32_at(24)?,
            index_offset: u32_at(28)?,
            index_bytes: u32_at(32)?,
            index_crc: u32_at(36)?,
            epoch: u32_at(40)?,
            commit_crc: u32_at(44)?,
            entry: Entry::decode(page[ENTRY_AT..].first_chunk()?)?,
            clock_lines: postcard::from_bytes(lines).ok()?,
        })
    }

    fn fits(&self, segment_bytes: u32) -> bool {
        let block = self.index_bytes.checked_add(BLOCK_OVERHEAD_BYTES as u32);
        let end = block
            .and_then(|block| block.checked_next_multiple_of(PAGE_BYTES))
            .and_then(|block| block.checked_add(self.index_offset));
        end == segment_bytes.checked_sub(PAGE_BYTES)
            && self.data_bytes >= PAGE_BYTES
            && self.data_bytes % PAGE_BYTES == 0
            && self.data_bytes.checked_add(TERMINATOR_ROOM).is_some_and(|end| end <= self.index_offset)
    }

    /// The index, if it is whole.
    pub(crate) fn index(
        &self,
        volume: &impl VolumeRead,
        number: u32,
    ) -> Result<Option<IndexDoc>, VolumeError> {
        let mut bytes = vec![0; self.index_bytes as usize];
        volume.read(Area::Segment(number), u64::from(self.index_offset) + 8, &mut bytes)?;
        if crc32fast::hash(&bytes) != self.index_crc {
            return Ok(None);
        }
        let doc = IndexDoc::parse(bytes).ok();
        Ok(doc.filter(|doc| doc.pages() * PAGE_BYTES == self.data_bytes))
    }
}

/// The CRC starts with the store's uuid: no packet from the wire can carry a page that is believed.
fn page_crc(store: &[u8; 16], page: &[u8]) -> u32 {
    let mut crc = batch_crc_start(store);
    crc.update(&page[..CRC_AT]);
    crc.finalize()
}

/// What the last page of segment `number` says, if it can be believed: see the module. `epoch` is that of the state.
pub(crate) fn believed(
    volume: &impl VolumeRead,
    number: u32,
    header: &SegmentHeader,
    epoch: u32,
    page: &[u8],
) -> Result<Option<Provisional>, VolumeError> {
    let generation = header.generation;
    let fits = |said: &Provisional| {
        said.entry.generation == generation
            && said.epoch == epoch
            && said.fits(volume.geometry().segment_bytes)
    };
    let Some(said) = Provisional::decode(&header.store, page).filter(fits) else { return Ok(None) };
    let mut block = [0; COMMIT_BYTES];
    read_commit(volume, number, said.data_bytes, &mut block)?;
    let ends_here = Commit::decode(&block).is_some_and(|commit| {
        commit.generation == generation && commit.offset + commit.bytes == said.data_bytes
    });
    if !ends_here || commit_crc(&block) != said.commit_crc {
        return Ok(None);
    }
    let mut behind = [0; 512];
    volume.read(Area::Segment(number), said.data_bytes.into(), &mut behind)?;
    let ends = behind.iter().all(|byte| *byte == 0)
        && full_chunks(volume, number, generation)? == said.data_bytes / CHUNK_BYTES;
    Ok(ends.then_some(said))
}

/// How far the last recorder of segment `number` said that its data reaches, if it ended in order and nobody was at the
/// store since. Its batches may be damaged: this page is what tells the loss of the last one.
pub(crate) fn claimed_end(
    volume: &impl VolumeRead,
    number: u32,
    header: &SegmentHeader,
    epoch: u32,
) -> Option<(u32, Entry)> {
    let segment_bytes = volume.geometry().segment_bytes;
    let mut page = vec![0; SummaryPage::BYTES];
    volume.read(Area::Segment(number), u64::from(segment_bytes - PAGE_BYTES), &mut page).ok()?;
    let said = Provisional::decode(&header.store, &page)?;
    let is_last =
        said.entry.generation == header.generation && said.epoch == epoch && said.fits(segment_bytes);
    is_last.then_some((said.data_bytes, said.entry))
}

fn read_commit(
    volume: &impl VolumeRead,
    number: u32,
    end: u32,
    block: &mut [u8; COMMIT_BYTES],
) -> Result<(), VolumeError> {
    volume.read(Area::Segment(number), u64::from(end) - COMMIT_BYTES as u64, block)
}

fn commit_crc(block: &[u8; COMMIT_BYTES]) -> u32 {
    block[COMMIT_BYTES - 8..].first_chunk().copied().map_or(0, u32::from_le_bytes)
}

/// How many chunks are full, by bisection: each of them ends with a commit block.
fn full_chunks(volume: &impl VolumeRead, number: u32, generation: u64) -> Result<u32, VolumeError> {
    let (mut full, mut not_full) = (0, volume.geometry().segment_bytes / CHUNK_BYTES);
    let mut block = [0; COMMIT_BYTES];
    while full < not_full {
        let chunk = full.midpoint(not_full);
        read_commit(volume, number, (chunk + 1) * CHUNK_BYTES, &mut block)?;
        if Commit::decode(&block).is_some_and(|commit| commit.generation == generation) {
            full = chunk + 1;
        } else {
            not_full = chunk;
        }
    }
    Ok(full)
}

/// Writes the provisional tail of the open segment; returns the bytes written, 0 when there is nothing to be gained.
///
/// # Errors
/// The volume failed. Whatever was written then is not believed, or right.
pub(crate) fn write(
    volume: &mut impl VolumeWrite,
    number: u32,
    tables: &SegmentTables,
    flows: &mut Indexer,
    epoch: u32,
    buf: &mut TailBuf,
) -> Result<u64, VolumeError> {
    // A segment with damaged stretches is looked at batch by batch, so that every query tells them.
    if tables.end == 0 || !tables.damaged.is_empty() {
        return Ok(0);
    }
    let (generation, segment_bytes) = (tables.header.generation, tables.header.segment_bytes);
    let encoded = tail::encoded(tables, Some(flows));
    let index_bytes = encoded.index.len() as u32;
    let index_offset = segment_bytes - PAGE_BYTES - tail::index_block_bytes(index_bytes);
    if tables.end + TERMINATOR_ROOM > index_offset {
        return Ok(0);
    }
    let mut block = [0; COMMIT_BYTES];
    read_commit(volume, number, tables.end, &mut block)?;
    let happened = tables.happened();
    let said = Provisional {
        data_bytes: tables.end,
        index_offset,
        index_bytes,
        index_crc: crc32fast::hash(&encoded.index),
        epoch,
        commit_crc: commit_crc(&block),
        entry: Entry {
            generation,
            first: tables.times.0,
            last: tables.times.1,
            packets: tables.packets,
            bytes: tables.captured_bytes,
            drops: tables.drops,
            left_out: tables.left_out,
            step: happened.step,
            clock: tables.clock,
            eventful: happened.eventful,
            has_flows: true,
            classes: encoded.classes,
            filter_bytes: encoded.filter.len() as u32,
            filter_crc: catalog::filter_crc(generation, &encoded.filter),
        },
        clock_lines: tables.clock_lines.clone(),
    };
    // The slot is the segment's own; the entry before it stays, and names a generation that is gone.
    let mut written = catalog::write_filter(volume, number, &encoded.filter)?;
    if written > 0 {
        volume.flush(Area::Catalog)?;
    }
    tail::fill_index(buf, &encoded.index);
    let bytes = buf.behind_index(index_bytes);
    said.encode(&tables.header.store, bytes);
    let tail = buf.tail(index_bytes);
    volume.write(Area::Segment(number), index_offset.into(), tail)?;
    written += tail.len() as u64;
    volume.flush(Area::Segment(number))?;
    Ok(written)
}

#[cfg(test)]
mod tests;
