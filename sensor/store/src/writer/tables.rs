//! What the tail of a segment tells beside its flows, gathered batch by batch: by recovery and reindexing from the bytes
//! themselves, by the recorder from what it noted while it wrote them (in debug builds it walks them too, and compares).

use std::ops::Range;

use hindcap_wire::drops::DropCounts;
use hindcap_wire::index::{BatchEntry, PageEntry};
use hindcap_wire::ledger::{
    Blocks, ClockLine, Commit, Event, Happened, RawBlock, SegmentHeader, batch_crc_start, block_type,
    interfaces_lost, note_clock, note_step,
};
use hindcap_wire::limits::{INTERFACES_MAX, PAGE_BYTES};
use hindcap_wire::packet::Interface;
use hindcap_wire::policy::LeftOut;
use hindcap_wire::time::{ClockState, Timestamp};

use super::batch::Marks;
use crate::chain::SegmentHash;
use crate::index::Builder;

const PAGE: usize = PAGE_BYTES as usize;

/// What the page table says of a page that belongs to no whole batch, together with no packet block.
const DAMAGED_CRC: u32 = 0;

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct SegmentTables {
    pub header: SegmentHeader,
    /// End of the last batch.
    pub end: u32,
    pub batches: u32,
    pub times: (Timestamp, Timestamp),
    pub packets: u64,
    /// Packets counted batch by batch: fewer than `packets` when batches are damaged.
    pub packets_seen: u64,
    /// Ranges that belong to no whole batch.
    pub damaged: Vec<Range<u32>>,
    pub captured_bytes: u64,
    pub drops: DropCounts,
    pub left_out: LeftOut,
    pub clock: ClockState,
    pub clock_lines: Vec<ClockLine>,
    pub interfaces: Vec<Interface>,
    pages: Vec<PageEntry>,
    batch_table: Vec<BatchEntry>,
    /// Bodies of event blocks.
    events: Vec<Vec<u8>>,
    /// Of these, those of batches that were taken in.
    events_taken: usize,
    hash: Option<SegmentHash>,
}

impl SegmentTables {
    /// Nothing yet. The tables are allocated once, here.
    pub(crate) fn new(header: SegmentHeader, hash: bool) -> Self {
        let pages = (header.segment_bytes / PAGE_BYTES) as usize;
        Self {
            header,
            end: 0,
            batches: 0,
            times: (Timestamp::MAX, Timestamp::MIN),
            packets: 0,
            packets_seen: 0,
            damaged: Vec::new(),
            captured_bytes: 0,
            drops: DropCounts::default(),
            left_out: LeftOut::NONE,
            clock: ClockState::Unknown,
            clock_lines: Vec::new(),
            interfaces: Vec::with_capacity(INTERFACES_MAX),
            pages: Vec::with_capacity(pages),
            batch_table: Vec::new(),
            events: Vec::new(),
            events_taken: 0,
            hash: hash.then(SegmentHash::new),
        }
    }

    /// Puts the CRC into a batch that the recorder has filled, and takes it in.
    pub(crate) fn seal_batch(&mut self, commit: &Commit, batch: &mut [u8], marks: &Marks) {
        let covered = Commit::covered_bytes(batch.len());
        let last = batch.len() - PAGE;
        let mut batch_crc = batch_crc_start(&self.header.store);
        let first_page = self.pages.len();
        for page in batch[..last].chunks_exact(PAGE) {
            let mut crc = crc32fast::Hasher::new();
            crc.update(page);
            batch_crc.combine(&crc);
            self.push_page(crc.finalize());
            // While the page is near.
            self.hash(page);
        }
        let mut crc = crc32fast::Hasher::new();
        crc.update(&batch[last..covered]);
        batch_crc.combine(&crc);
        Commit::seal(batch, batch_crc.finalize());
        crc.update(&batch[covered..]);
        self.push_page(crc.finalize());
        self.hash(&batch[last..]);
        match &marks.others {
            Some(others) => {
                for (page, first_block) in self.pages[first_page..].iter_mut().zip(marks.first_blocks) {
                    page.first_block = first_block;
                }
                for at in others {
                    Blocks::new(&batch[*at as usize..]).next().iter().for_each(|block| self.note(block));
                }
                debug_assert!(self.is_marked_right(batch, first_page), "marks differ from the blocks");
            }
            None => self.walk(batch, first_page),
        }
        self.take_in(commit, batch);
    }

    /// Whether a walk over the batch comes to the first blocks that the marks tell.
    fn is_marked_right(&self, batch: &[u8], first_page: usize) -> bool {
        let mut walked = self.clone();
        walked.pages[first_page..].iter_mut().for_each(|page| page.first_block = PageEntry::NO_BLOCK);
        (walked.interfaces, walked.events) = (Vec::new(), Vec::new());
        walked.walk(batch, first_page);
        walked.pages == self.pages
            && self.interfaces.ends_with(&walked.interfaces)
            && self.events.ends_with(&walked.events)
    }

    /// Takes in a batch that lies on the disk and passed its check.
    pub(crate) fn absorb(&mut self, commit: &Commit, batch: &[u8]) {
        let first_page = self.pages.len();
        for page in batch.chunks_exact(PAGE) {
            self.push_page(crc32fast::hash(page));
            self.hash(page);
        }
        let lost = interfaces_lost(commit, batch, self.interfaces.len());
        self.interfaces.extend(std::iter::repeat_n(Interface::lost(), lost));
        self.walk(batch, first_page);
        self.take_in(commit, batch);
    }

    /// Takes in pages that belong to no whole batch: no reader will believe them. Their bytes count for the hash of the
    /// segment like all others.
    pub(crate) fn absorb_damaged(&mut self, bytes: &[u8]) {
        bytes.chunks_exact(PAGE).for_each(|_| self.push_page(DAMAGED_CRC));
        let end = self.end + bytes.len() as u32;
        match self.damaged.last_mut().filter(|range| range.end == self.end) {
            Some(range) => range.end = end,
            None => self.damaged.push(self.end..end),
        }
        self.end = end;
        self.hash(bytes);
    }

    fn hash(&mut self, bytes: &[u8]) {
        if let Some(hash) = &mut self.hash {
            hash.update(bytes);
        }
    }

    fn push_page(&mut self, crc32: u32) {
        self.pages.push(PageEntry { crc32, first_block: PageEntry::NO_BLOCK });
    }

    /// Looks at every block of a batch.
    fn walk(&mut self, batch: &[u8], first_page: usize) {
        for block in Blocks::new(batch) {
            if block.block_type == block_type::PACKET {
                let entry = &mut self.pages[first_page + block.offset / PAGE];
                if entry.first_block == PageEntry::NO_BLOCK {
                    entry.first_block = (block.offset % PAGE / 4) as u16;
                }
            } else {
                self.note(&block);
            }
        }
    }

    /// Takes note of a block that is no packet.
    fn note(&mut self, block: &RawBlock<'_>) {
        match block.block_type {
            block_type::INTERFACE => self.interfaces.extend(block.interface()),
            block_type::INTERFACES => {
                Interface::learn(&mut self.interfaces, block.interfaces());
            }
            block_type::EVENT => self.events.push(block.body.to_vec()),
            _ => {}
        }
    }

    fn take_in(&mut self, commit: &Commit, batch: &[u8]) {
        let first_page = (self.end / PAGE_BYTES) as u16;
        for event in self.events[self.events_taken..].iter().filter_map(|body| Event::decode(body)) {
            note_step(&mut self.clock_lines, first_page, commit.boot, &event);
        }
        self.events_taken = self.events.len();
        note_clock(&mut self.clock_lines, first_page, &commit.clock_at());
        self.end += batch.len() as u32;
        self.batches += 1;
        self.packets_seen += u64::from(commit.packets);
        (self.times, self.packets) = (commit.segment_times, commit.segment_packets);
        self.captured_bytes = commit.segment_captured_bytes;
        self.drops = self.drops.plus(&commit.drops);
        self.left_out = self.left_out.plus(&commit.left_out);
        self.clock = commit.clock;
        self.batch_table.push(BatchEntry {
            last_page: (self.pages.len() - 1) as u16,
            first: commit.times.0,
            last: commit.times.1,
            packets: commit.packets,
            drops: commit.drops,
            left_out: commit.left_out,
            committed: commit.wall,
            clock: commit.clock.code() as u8,
        });
    }

    /// Enters pages, batches and events into an index.
    pub(crate) fn enter(&self, builder: &mut Builder) {
        for (number, page) in self.pages.iter().enumerate() {
            if page.crc32 != DAMAGED_CRC || page.first_block != PageEntry::NO_BLOCK {
                let first_block = page.first_block;
                let offset = (first_block != PageEntry::NO_BLOCK).then(|| u32::from(first_block) * 4);
                builder.page_done(number as u16, page.crc32, offset);
            }
        }
        self.batch_table.iter().for_each(|batch| builder.batch_done(*batch));
        self.events.iter().for_each(|body| builder.event(body));
    }

    /// What the events come to.
    pub(crate) fn happened(&self) -> Happened {
        Happened::of(self.events.iter().map(|body| &body[..]), self.header.begun.wall)
    }

    /// The hash of everything up to `end`; `None` when the chain is off.
    pub(crate) fn segment_hash(&self) -> Option<[u8; 32]> {
        self.hash.as_ref().map(SegmentHash::value)
    }
}
