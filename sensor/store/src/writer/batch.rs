//! One batch in memory: what the recorder fills and the writer makes durable.

use hindcap_wire::drops::DropCounts;
use hindcap_wire::index::PageEntry;
use hindcap_wire::ledger::{COMMIT_BYTES, Commit, put_skip};
use hindcap_wire::limits::{CHUNK_BYTES, INTERFACES_MAX, PAGE_BYTES};
use hindcap_wire::policy::LeftOut;
use hindcap_wire::time::{ClockState, Timestamp};

use crate::volume::aligned::{ALIGN, AlignedBuf};

const PAGE: usize = PAGE_BYTES as usize;

/// Interface and event blocks that are marked; more than a batch has in practice.
const OTHERS: usize = 32;

/// Where the blocks are that the tail tells of, noted while they are written, so that nobody walks the batch for them.
#[derive(Clone, Debug)]
pub(crate) struct Marks {
    /// By page: the first packet block, in words from the page's start, [`PageEntry::NO_BLOCK`] for none.
    pub first_blocks: [u16; CHUNK_BYTES as usize / PAGE],
    /// Offsets of interface and event blocks; `None` when there were too many.
    pub others: Option<heapless::Vec<u32, OTHERS>>,
}

impl Marks {
    const fn none() -> Self {
        let others = Some(heapless::Vec::new());
        Self { first_blocks: [PageEntry::NO_BLOCK; CHUNK_BYTES as usize / PAGE], others }
    }

    /// The first packet block of a page is about to be written at `at`.
    pub(crate) fn first_block(&mut self, at: usize) {
        if let Some(slot) = self.first_blocks.get_mut(at / PAGE) {
            *slot = (at % PAGE / 4) as u16;
        }
    }

    /// An interface or event block is about to be written at `at`.
    pub(crate) fn other(&mut self, at: usize) {
        if self.others.as_mut().is_some_and(|others| others.push(at as u32).is_err()) {
            self.others = None;
        }
    }
}

/// See the module. Behind the chunk lies room for the terminator.
#[derive(Debug)]
pub(crate) struct Batch {
    pub bytes: AlignedBuf,
    /// The segment it goes to.
    pub segment: u32,
    /// Captured bytes (sum of caplen) in it.
    pub captured_bytes: u64,
    pub marks: Marks,
    /// Bytes of blocks in it that any savefile with these packets would have.
    pub savefile_bytes: u64,
    /// Complete once the batch is closed; `bytes` then says how long it is.
    pub commit: Commit,
    /// Blocks that matter to whoever records this batch again: they start here, behind a segment's header ...
    pub start: usize,
    /// ... and end here.
    pub used: usize,
    /// Running number of its first packet, of all that came into batches.
    pub order: u64,
    /// Packets at its beginning that were in an earlier batch which could not be written.
    pub again: u32,
    /// Store-wide numbers of the interfaces that its packets name by their position.
    pub interfaces: heapless::Vec<u32, INTERFACES_MAX>,
    /// Writing it was tried: it may be on the medium.
    pub tried: bool,
}

impl Batch {
    pub(crate) fn new() -> Self {
        let (nothing, never) = (DropCounts::default(), (Timestamp::MAX, Timestamp::MIN));
        Self {
            bytes: AlignedBuf::new(CHUNK_BYTES as usize + ALIGN),
            segment: 0,
            captured_bytes: 0,
            savefile_bytes: 0,
            marks: Marks::none(),
            start: 0,
            used: 0,
            order: 0,
            again: 0,
            interfaces: heapless::Vec::new(),
            tried: false,
            commit: Commit {
                sequence: 0,
                generation: 0,
                epoch: 0,
                offset: 0,
                bytes: 0,
                packets: 0,
                times: never,
                segment_times: never,
                segment_packets: 0,
                segment_captured_bytes: 0,
                drops: nothing,
                left_out: LeftOut::NONE,
                wall: Timestamp::MIN,
                monotonic_nanos: 0,
                boot: 0,
                clock: ClockState::Unknown,
                interfaces: 0,
            },
        }
    }

    /// Forgets what it held, to be filled for `segment`.
    pub(crate) fn begin(&mut self, segment: u32) {
        (self.segment, self.captured_bytes, self.marks) = (segment, 0, Marks::none());
        (self.again, self.tried) = (0, false);
        self.commit.packets = 0;
        self.commit.times = (Timestamp::MAX, Timestamp::MIN);
    }

    /// Where a batch ends that holds `used` bytes of blocks and ends as early as possible.
    pub(crate) const fn end_after(used: usize) -> usize {
        let exact = used + COMMIT_BYTES;
        // Between the blocks and the commit there is nothing or a whole skip block.
        let gap = exact.next_multiple_of(PAGE) - exact;
        if gap == 0 || gap >= 12 { exact + gap } else { (exact + 12).next_multiple_of(PAGE) }
    }

    /// Fills from `used` to the commit at `end`, and writes the commit (without CRC).
    pub(crate) fn close(&mut self, used: usize, end: usize) {
        let commit_at = end - COMMIT_BYTES;
        if used < commit_at {
            put_skip(&mut self.bytes[used..commit_at]);
        }
        self.commit.bytes = end as u32;
        self.commit.encode(&mut self.bytes[commit_at..end]);
    }

    /// The batch, once closed, and what it is made of.
    pub(crate) fn filled_mut(&mut self) -> (&mut [u8], &Marks) {
        let end = self.commit.bytes as usize;
        (&mut self.bytes[..end], &self.marks)
    }

    /// The batch and `terminator` zeros.
    pub(crate) fn with_terminator(&mut self, terminator: usize) -> &[u8] {
        let end = self.commit.bytes as usize;
        self.bytes[end..end + terminator].fill(0);
        &self.bytes[..end + terminator]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_leave_room_for_a_skip_block_or_none() {
        for used in (0..3 * PAGE).step_by(4) {
            let end = Batch::end_after(used);
            let gap = end - COMMIT_BYTES - used;
            assert!(end % PAGE == 0 && (gap == 0 || gap >= 12) && gap < PAGE + 12, "{used} used");
        }
    }
}
