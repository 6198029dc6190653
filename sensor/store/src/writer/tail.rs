//! The tail of a sealed segment: skip blocks, the index block, the summary page (docs/FORMAT.md, "Tail").

use hindcap_wire::index::{FilterClasses, IndexLimits};
use hindcap_wire::ledger::{
    BLOCK_OVERHEAD_BYTES, Happened, NO_CHAIN, SKIP_BYTES_MAX, Summary, SummaryPage, block_type,
};
use hindcap_wire::limits::PAGE_BYTES;

use super::tables::SegmentTables;
use crate::Reading;
use crate::catalog;
use crate::chain::next_chain;
use crate::index::Indexer;
use crate::volume::aligned::AlignedBuf;
use crate::volume::{Area, VolumeError, VolumeRead, VolumeWrite};

const PAGE: usize = PAGE_BYTES as usize;
/// Skip blocks are cut in the middle of a page.
const HALF_PAGE: u32 = PAGE_BYTES / 2;

const SUMMARY_FITS: &str =
    "names and interfaces are bounded so that the summary fits its page (ledger tests)";

/// Where the batches of a segment must end at the latest, so that every index and the summary fit behind them.
pub(crate) const fn data_limit(segment_bytes: u32) -> u32 {
    segment_bytes - PAGE_BYTES - index_block_bytes(IndexLimits::for_segment(segment_bytes).index_bytes)
}

/// Bytes of the block around an encoded index, whole pages.
pub(crate) const fn index_block_bytes(index_bytes: u32) -> u32 {
    (index_bytes + BLOCK_OVERHEAD_BYTES as u32).next_multiple_of(PAGE_BYTES)
}

/// Room for the largest tail and a page of skip before it.
#[derive(Debug)]
pub(crate) struct TailBuf(AlignedBuf);

impl TailBuf {
    pub(crate) fn new(segment_bytes: u32) -> Self {
        Self(AlignedBuf::new((segment_bytes - data_limit(segment_bytes) + PAGE_BYTES) as usize))
    }

    /// The page behind an index of so many encoded bytes.
    pub(crate) fn behind_index(&mut self, index_bytes: u32) -> &mut [u8] {
        let at = PAGE + index_block_bytes(index_bytes) as usize;
        &mut self.0[at..at + PAGE]
    }

    /// The index block and the page behind it.
    pub(crate) fn tail(&self, index_bytes: u32) -> &[u8] {
        &self.0[PAGE..2 * PAGE + index_block_bytes(index_bytes) as usize]
    }
}

/// A tail, ready to be written.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub page: SummaryPage,
    filter: Vec<u8>,
    classes: FilterClasses,
}

/// Makes the tail of a segment in `buf`: a page for skips, the index block, the summary page.
pub(crate) fn seal(
    tables: &SegmentTables,
    flows: Option<&mut Indexer>,
    now: Reading,
    buf: &mut TailBuf,
) -> Sealed {
    let has_flows = flows.is_some();
    let header = &tables.header;
    let Encoded { index, filter, classes } = encoded(tables, flows);
    let block_bytes = index_block_bytes(index.len() as u32);
    let index_offset = header.segment_bytes - PAGE_BYTES - block_bytes;
    let hash = tables.segment_hash();
    let Happened { eventful, step } = tables.happened();
    let page = SummaryPage {
        generation: header.generation,
        data_bytes: tables.end,
        index_offset,
        index_bytes: index.len() as u32,
        index_crc: crc32fast::hash(&index),
        summary: Summary {
            store: header.store,
            created: header.begun.wall,
            sealed: now.wall,
            times: tables.times,
            packets: tables.packets,
            captured_bytes: tables.captured_bytes,
            batches: tables.batches,
            drops: tables.drops,
            left_out: tables.left_out,
            step,
            eventful,
            clock: tables.clock,
            clock_lines: tables.clock_lines.clone(),
            has_flows,
            interfaces: tables.interfaces.clone(),
            hash: hash.unwrap_or(NO_CHAIN),
            chain_before: header.chain_before,
            chain: hash.map_or(NO_CHAIN, |hash| next_chain(&header.chain_before, &hash, header.generation)),
        },
    };
    fill(buf, &page, &index);
    Sealed { page, filter, classes }
}

/// An index and what goes into the catalog with it.
pub(crate) struct Encoded {
    pub index: Vec<u8>,
    pub filter: Vec<u8>,
    pub classes: FilterClasses,
}

/// The index of a segment; `flows` has seen its packets, if there is one.
pub(crate) fn encoded(tables: &SegmentTables, flows: Option<&mut Indexer>) -> Encoded {
    match flows {
        Some(flows) => encode(tables, flows),
        None => encode_without_flows(tables),
    }
}

/// The index of a segment whose packets `flows` has seen.
fn encode(tables: &SegmentTables, flows: &mut Indexer) -> Encoded {
    tables.enter(flows.builder());
    let builder = flows.builder();
    let (classes, filter) = builder.filter();
    Encoded { index: builder.encode(Vec::new()), filter, classes }
}

/// The index of a segment whose packets nobody has seen: page table, batches and events. No filter, so every query looks
/// into the segment. Happens when two rotations follow each other faster than an index is written; takes its memory when
/// it does.
fn encode_without_flows(tables: &SegmentTables) -> Encoded {
    let mut blind = Indexer::new(IndexLimits::for_segment(tables.header.segment_bytes), 0);
    tables.interfaces.iter().for_each(|interface| blind.interface(interface));
    tables.enter(blind.builder());
    let builder = blind.builder();
    Encoded { index: builder.encode(Vec::new()), filter: Vec::new(), classes: FilterClasses(0) }
}

/// Writes index block and summary page behind the first page of `buf`.
fn fill(buf: &mut TailBuf, page: &SummaryPage, index: &[u8]) {
    fill_index(buf, index);
    page.encode(buf.behind_index(page.index_bytes)).expect(SUMMARY_FITS);
}

/// Writes the index block behind the first page of `buf`.
pub(crate) fn fill_index(buf: &mut TailBuf, index: &[u8]) {
    let block_bytes = index_block_bytes(index.len() as u32) as usize;
    let block = &mut buf.0[PAGE..PAGE + block_bytes];
    block.fill(0);
    block[..4].copy_from_slice(&block_type::INDEX.to_le_bytes());
    block[4..8].copy_from_slice(&(block_bytes as u32).to_le_bytes());
    block[8..8 + index.len()].copy_from_slice(index);
    block[block_bytes - 4..].copy_from_slice(&(block_bytes as u32).to_le_bytes());
}

impl Sealed {
    /// Writes the summary page into `buf` again, after it was changed.
    pub(crate) fn refill_summary(&self, buf: &mut TailBuf) {
        self.page.encode(buf.behind_index(self.page.index_bytes)).expect(SUMMARY_FITS);
    }

    /// Writes the tail of segment `number` and makes it durable; returns the bytes written.
    pub(crate) fn write(
        &self,
        volume: &mut impl VolumeWrite,
        number: u32,
        buf: &TailBuf,
    ) -> Result<u64, VolumeError> {
        let area = Area::Segment(number);
        let skips = write_skips(volume, number, self.page.data_bytes, self.page.index_offset)?;
        let segment_bytes = volume.geometry().segment_bytes;
        let bytes = (segment_bytes - self.page.index_offset) as usize;
        volume.write(area, self.page.index_offset.into(), &buf.0[PAGE..PAGE + bytes])?;
        volume.flush(area)?;
        Ok(skips + bytes as u64)
    }

    /// What the catalog says of the segment.
    pub(crate) fn catalog_entry(&self, segment: u32) -> catalog::Sealed {
        catalog::Sealed::of(segment, &self.page, self.classes, self.filter.clone())
    }
}

/// Ranges of the skip blocks between the data and the index.
fn skip_blocks(from: u32, to: u32) -> impl Iterator<Item = (u32, u32)> {
    let mut at = from;
    std::iter::from_fn(move || {
        let start = (at < to).then_some(at)?;
        let end = if to - start <= SKIP_BYTES_MAX as u32 {
            to
        } else {
            (start + SKIP_BYTES_MAX as u32) / PAGE_BYTES * PAGE_BYTES - HALF_PAGE
        };
        at = end;
        Some((start, end))
    })
}

/// The first bytes of the pages in which skip blocks start or end, ascending.
fn skip_pages(from: u32, to: u32) -> Vec<u32> {
    let mut pages: Vec<u32> = skip_blocks(from, to)
        .flat_map(|(start, end)| [start, end - 4])
        .map(|at| at / PAGE_BYTES * PAGE_BYTES)
        .collect();
    pages.dedup();
    pages
}

/// What stands in the page at `page`: beginnings and ends of skip blocks, zeros between them.
fn skip_page(from: u32, to: u32, page: u32, out: &mut [u8]) {
    out.fill(0);
    for (start, end) in skip_blocks(from, to) {
        let length = (end - start).to_le_bytes();
        let mut put = |at: u32, field: [u8; 4]| {
            let inside = at.checked_sub(page).map(|at| at as usize).filter(|at| *at < PAGE);
            if let Some(at) = inside {
                out[at..at + 4].copy_from_slice(&field);
            }
        };
        put(start, block_type::SKIP.to_le_bytes());
        put(start + 4, length);
        put(end - 4, length);
    }
}

/// Makes `[from, to)` skip blocks; what lies inside them stays as it is. Returns the bytes written.
fn write_skips(volume: &mut impl VolumeWrite, number: u32, from: u32, to: u32) -> Result<u64, VolumeError> {
    let (mut buf, mut written) = (AlignedBuf::new(PAGE), 0);
    for page in skip_pages(from, to) {
        skip_page(from, to, page, &mut buf);
        volume.write(Area::Segment(number), page.into(), &buf)?;
        written += PAGE as u64;
    }
    Ok(written)
}

/// Whether the blocks from the data to the summary stand as they should; a crash while sealing can leave the summary
/// without the skip blocks.
pub(crate) fn blocks_whole(volume: &impl VolumeRead, number: u32, page: &SummaryPage) -> bool {
    let (from, to) = (page.data_bytes, page.index_offset);
    let index = (to, volume.geometry().segment_bytes - PAGE_BYTES, block_type::INDEX);
    let mut stands = [0; 4];
    skip_blocks(from, to).map(|(start, end)| (start, end, block_type::SKIP)).chain([index]).all(
        |(start, end, block_type)| {
            let length = (end - start).to_le_bytes();
            [(start, block_type.to_le_bytes()), (start + 4, length), (end - 4, length)].into_iter().all(
                |(at, field)| {
                    volume.read(Area::Segment(number), at.into(), &mut stands).is_ok() && stands == field
                },
            )
        },
    )
}

/// Writes the skip blocks of a sealed segment again.
pub(crate) fn repair_skips(
    volume: &mut impl VolumeWrite,
    number: u32,
    page: &SummaryPage,
) -> Result<(), VolumeError> {
    write_skips(volume, number, page.data_bytes, page.index_offset)?;
    volume.flush(Area::Segment(number))
}

/// The summary page of segment `number`, if it is of `generation` and makes sense.
pub(crate) fn read_summary(volume: &impl VolumeRead, number: u32, generation: u64) -> Option<SummaryPage> {
    let segment_bytes = volume.geometry().segment_bytes;
    let mut bytes = vec![0; PAGE];
    volume.read(Area::Segment(number), u64::from(segment_bytes - PAGE_BYTES), &mut bytes).ok()?;
    let page = SummaryPage::decode(&bytes).filter(|page| page.generation == generation)?;
    let block =
        page.index_bytes.checked_add(BLOCK_OVERHEAD_BYTES as u32)?.checked_next_multiple_of(PAGE_BYTES)?;
    let fits = page.data_bytes <= page.index_offset
        && page.data_bytes % PAGE_BYTES == 0
        && page.index_offset.checked_add(block)? == segment_bytes - PAGE_BYTES;
    fits.then_some(page)
}

/// The encoded index that `page` points at, if its CRC agrees.
pub(crate) fn read_index(volume: &impl VolumeRead, number: u32, page: &SummaryPage) -> Option<Vec<u8>> {
    let mut index = vec![0; page.index_bytes as usize];
    volume.read(Area::Segment(number), u64::from(page.index_offset) + 8, &mut index).ok()?;
    (crc32fast::hash(&index) == page.index_crc).then_some(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skips_cover_every_gap_and_none_is_too_long() {
        let mib = 1 << 20;
        for (from, to) in
            [(0, 0), (0, PAGE_BYTES), (mib, 9 * mib), (mib, 9 * mib + PAGE_BYTES), (0, 500 * mib)]
        {
            let blocks: Vec<_> = skip_blocks(from, to).collect();
            let mut at = from;
            for (start, end) in &blocks {
                assert_eq!(*start, at);
                assert!(end - start >= 12 && end - start <= SKIP_BYTES_MAX as u32 && end % 4 == 0);
                at = *end;
            }
            assert_eq!(at, to);
            let inner = blocks.iter().filter(|(_, end)| *end != to);
            assert!(
                inner.clone().all(|(_, end)| end % PAGE_BYTES == HALF_PAGE),
                "a cut and its two ends share a page"
            );
        }
        assert_eq!(skip_pages(0, PAGE_BYTES), [0]);
        assert_eq!(skip_pages(0, 2 * PAGE_BYTES), [0, PAGE_BYTES]);
    }
}
