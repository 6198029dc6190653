//! Is the store what it should be? Every batch's CRC, every index against one rebuilt from the packets, every hash and the
//! chain from segment to segment, the catalog. Reads only; may run beside a recorder.

use std::fmt;
use std::ops::Range;

use hindcap_wire::ledger::{HEADER_END, NO_CHAIN, SegmentHeader, SummaryPage, put_shb};

use crate::catalog;
use crate::chain::next_chain;
use crate::index::Indexer;
use crate::provisional::claimed_end;
use crate::recovery::{new_indexer, rebuild};
use crate::ring::read_header;
use crate::state::State;
use crate::volume::{Area, VolumeRead};
use crate::writer::tables::SegmentTables;
use crate::writer::tail;

/// Something that is not as it should be. What a recorder that is at work may leave for a moment is none.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// Bytes between whole batches that belong to none: packets are lost there.
    DamagedBatches(Range<u32>),
    /// Not the newest segment, and without a summary: `reindex` gives it one.
    NotSealed,
    /// The framing of the padding or of the index is broken: other programs stop there. `reindex` repairs it.
    Framing,
    /// The index cannot be read; `reindex` builds it anew.
    IndexDamaged,
    /// The index is whole but not what the packets give; `reindex` builds it anew.
    IndexDiffers,
    /// Sealed without flow records, because the recorder was too busy; `reindex` builds them.
    NoFlows,
    /// The summary counts other packets than the batches have.
    CountsDiffer {
        /// What the summary says.
        summary: u64,
        /// What the batches say.
        batches: u64,
    },
    /// The bytes are not those that were hashed when the segment was sealed.
    HashDiffers,
    /// The chain value does not follow from the segment's own hash and the value before.
    ChainBroken,
    /// The segment does not name the chain value of the segment before it.
    ChainGap,
    /// The catalog's entry of this segment says something else; `reindex` writes it anew.
    CatalogDiffers,
    /// The catalog's entry of this segment cannot be read; `reindex` writes it anew.
    CatalogDamaged,
    /// The first sector is damaged; what it said is known from the batches. Other programs do not open the segment.
    HeaderDamaged,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DamagedBatches(range) => write!(f, "bytes {} to {} are damaged", range.start, range.end),
            Self::NotSealed => f.write_str("has no summary (reindex gives it one)"),
            Self::Framing => f.write_str("the blocks around the index are broken (reindex repairs them)"),
            Self::IndexDamaged => f.write_str("the index is damaged (reindex rebuilds it)"),
            Self::IndexDiffers => f.write_str("the index is not what the packets give (reindex rebuilds it)"),
            Self::NoFlows => f.write_str("has no flow records (reindex builds them)"),
            Self::CountsDiffer { summary, batches } => {
                write!(f, "the summary counts {summary} packets, the batches {batches}")
            }
            Self::HashDiffers => f.write_str("the bytes are not those that were hashed at sealing"),
            Self::ChainBroken => f.write_str("the chain value does not follow from the hash"),
            Self::ChainGap => f.write_str("does not follow the segment before it in the chain"),
            Self::CatalogDamaged => f.write_str("the catalog's entry is damaged (reindex rewrites it)"),
            Self::HeaderDamaged => f.write_str("the header is damaged (other programs do not open it)"),
            Self::CatalogDiffers => f.write_str("the catalog says something else (reindex rewrites it)"),
        }
    }
}

/// What one segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentKind {
    /// The newest, not sealed yet.
    Open,
    /// With a summary.
    Sealed,
    /// Without a summary although a newer one exists.
    NotSealed,
    /// Taken for newer packets while it was looked at; nothing is said about it.
    Overwritten,
}

/// The report on one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentReport {
    /// Its number.
    pub number: u32,
    /// Its generation.
    pub generation: u64,
    /// What it is.
    pub kind: SegmentKind,
    /// Whole batches.
    pub batches: u32,
    /// Packets in them.
    pub packets: u64,
    /// What is wrong; empty when all is well.
    pub findings: Vec<Finding>,
}

/// Looks at every used segment, oldest first; `report` gets each as it is done.
pub fn verify<V: VolumeRead>(volume: &V, state: &State, mut report: impl FnMut(SegmentReport)) {
    let segments = 0..volume.geometry().segments;
    let mut headers: Vec<_> =
        segments.filter_map(|number| Some((number, read_header(volume, &state.uuid, number)?))).collect();
    headers.sort_by_key(|(_, header)| header.generation);
    let entries = catalog::entries(volume).unwrap_or_default();
    let newest = headers.last().map(|(_, header)| header.generation);
    let mut indexer = new_indexer(volume, state);
    let mut before = None;
    for (number, header) in headers {
        let entry = entries.get(number as usize).copied().flatten();
        let epoch = state.epoch;
        let mut look = Look { volume, number, header, epoch, findings: Vec::new(), before };
        look.start();
        let (mut kind, tables) = look.segment(&mut indexer, entry.as_ref());
        before = look.before;
        if kind == SegmentKind::NotSealed && newest == Some(header.generation) {
            kind = SegmentKind::Open;
            look.findings.retain(|finding| *finding != Finding::NotSealed);
        }
        // Somebody may have recorded meanwhile.
        if read_header(volume, &state.uuid, number) != Some(header) {
            kind = SegmentKind::Overwritten;
            look.findings.clear();
        }
        let (generation, findings) = (header.generation, look.findings);
        report(SegmentReport {
            number,
            generation,
            kind,
            batches: tables.batches,
            packets: tables.packets_seen,
            findings,
        });
    }
}

/// One segment under examination.
struct Look<'a, V> {
    volume: &'a V,
    number: u32,
    header: SegmentHeader,
    /// Of the state.
    epoch: u32,
    findings: Vec<Finding>,
    /// (generation, chain value) of the sealed segment before.
    before: Option<(u64, [u8; 32])>,
}

impl<V: VolumeRead> Look<'_, V> {
    fn segment(
        &mut self,
        indexer: &mut Indexer,
        entry: Option<&catalog::Entry>,
    ) -> (SegmentKind, SegmentTables) {
        indexer.reset();
        let (tables, _) = rebuild(self.volume, self.number, self.header, true, indexer);
        self.findings.extend(tables.damaged.iter().cloned().map(Finding::DamagedBatches));
        let Some(page) = tail::read_summary(self.volume, self.number, self.header.generation) else {
            self.findings.push(Finding::NotSealed);
            self.before = None;
            // Its recorder ended in order and said where.
            let claimed = claimed_end(self.volume, self.number, &self.header, self.epoch);
            if let Some((end, _)) = claimed.filter(|(end, _)| *end > tables.end) {
                self.findings.push(Finding::DamagedBatches(tables.end..end));
            }
            return (SegmentKind::NotSealed, tables);
        };
        if tables.end < page.data_bytes {
            self.findings.push(Finding::DamagedBatches(tables.end..page.data_bytes));
        }
        if page.summary.packets != tables.packets_seen {
            let (summary, batches) = (page.summary.packets, tables.packets_seen);
            self.findings.push(Finding::CountsDiffer { summary, batches });
        }
        if !tail::blocks_whole(self.volume, self.number, &page) {
            self.findings.push(Finding::Framing);
        }
        self.index(&tables, &page, indexer, entry);
        self.chain(&tables, &page);
        (SegmentKind::Sealed, tables)
    }

    /// The first sector.
    fn start(&mut self) {
        let mut start = [0; HEADER_END];
        let read = self.volume.read(Area::Segment(self.number), 0, &mut start);
        let mut whole = [0; HEADER_END];
        if read.is_err() || SegmentHeader::decode(&start).is_none() || !starts_a_section(&start, &mut whole) {
            self.findings.push(Finding::HeaderDamaged);
        }
    }

    fn index(
        &mut self,
        tables: &SegmentTables,
        page: &SummaryPage,
        indexer: &mut Indexer,
        entry: Option<&catalog::Entry>,
    ) {
        let flows = page.summary.has_flows.then_some(indexer);
        if flows.is_none() {
            self.findings.push(Finding::NoFlows);
        }
        let rebuilt = tail::encoded(tables, flows);
        match tail::read_index(self.volume, self.number, page) {
            None => self.findings.push(Finding::IndexDamaged),
            Some(index) if index != rebuilt.index => self.findings.push(Finding::IndexDiffers),
            Some(_) => {}
        }
        // Twice: a recorder may be about to write it.
        if (0..2).all(|_| catalog::is_damaged(self.volume, self.number)) {
            self.findings.push(Finding::CatalogDamaged);
        }
        // A missing or older entry is one that waits to be written.
        let Some(entry) = entry.filter(|entry| entry.generation == self.header.generation) else { return };
        let same = *entry == catalog::Entry::of(page, rebuilt.classes, &rebuilt.filter)
            && (rebuilt.filter.is_empty()
                || catalog::filter(self.volume, self.number, entry).ok().flatten().is_some());
        if !same {
            self.findings.push(Finding::CatalogDiffers);
        }
    }

    fn chain(&mut self, tables: &SegmentTables, page: &SummaryPage) {
        let (summary, generation) = (&page.summary, self.header.generation);
        let follows = self.before.filter(|(before, _)| before + 1 == generation).map(|(_, chain)| chain);
        self.before = (summary.chain != NO_CHAIN).then_some((generation, summary.chain));
        if summary.chain == NO_CHAIN {
            return;
        }
        if tables.end == page.data_bytes && tables.segment_hash() != Some(summary.hash) {
            self.findings.push(Finding::HashDiffers);
        }
        if next_chain(&summary.chain_before, &summary.hash, generation) != summary.chain {
            self.findings.push(Finding::ChainBroken);
        }
        // Zeros in the header: the recorder did not know the segment before, and says so.
        if self.header.chain_before != NO_CHAIN
            && follows.is_some_and(|chain| chain != self.header.chain_before)
            || self.header.chain_before != summary.chain_before
        {
            self.findings.push(Finding::ChainGap);
        }
    }
}

/// Whether the section header is the one that every segment has.
fn starts_a_section(start: &[u8; HEADER_END], buf: &mut [u8; HEADER_END]) -> bool {
    let length = put_shb(buf);
    start[..length] == buf[..length]
}

#[cfg(test)]
mod tests;
