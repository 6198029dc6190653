//! The open segment: where the next batch goes, when a batch ends, when the segment does.

use hindcap_wire::drops::DropCause;
use hindcap_wire::ledger::{COMMIT_BYTES, HEADER_BYTES, HEADER_END, IDB_BYTES_MAX, put_idb, put_interfaces};
use hindcap_wire::limits::{CHUNK_BYTES, PAGE_BYTES};
use hindcap_wire::time::Timestamp;

use super::Recorder;
use super::outage::Storage;
use crate::writer::batch::Batch;
use crate::writer::mount::Resumed;
use crate::writer::{Job, Seal};

/// Room that every batch keeps before its commit: a skip block is at least this long.
const SKIP_BYTES_MIN: usize = 12;

/// In place of a segment's number: none.
const LOOSE: u32 = u32::MAX;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct Open {
    pub number: u32,
    pub generation: u64,
    /// End of the last batch handed over: where the next one starts.
    pub end: u32,
    /// Sequence of the next batch.
    sequence: u32,
    times: (Timestamp, Timestamp),
    packets: u64,
    captured_bytes: u64,
}

impl Open {
    fn begin(number: u32, generation: u64) -> Self {
        let times = (Timestamp::MAX, Timestamp::MIN);
        Self { number, generation, end: 0, sequence: 0, times, packets: 0, captured_bytes: 0 }
    }

    /// The oldest packet, in what was handed over.
    pub(super) fn first(&self) -> Option<Timestamp> {
        (self.packets > 0).then_some(self.times.0)
    }

    /// Goes on behind what recovery found.
    pub(super) const fn resume(found: &Resumed) -> Self {
        let Resumed { number, generation, end, sequence, times, packets, captured_bytes, .. } = *found;
        Self { number, generation, end, sequence, times, packets, captured_bytes }
    }

    /// No segment: the batch waits in memory.
    pub(super) fn loose() -> Self {
        Self { sequence: 1, ..Self::begin(LOOSE, 0) }
    }

    pub(super) const fn is_loose(&self) -> bool {
        self.number == LOOSE
    }

    /// Whether the next batch begins the segment.
    pub(super) const fn is_first(&self) -> bool {
        self.sequence == 0
    }
}

impl Recorder {
    /// Makes sure that there is a batch to put something into, of a segment that takes it.
    pub(super) fn ensure_batch(&mut self) -> Result<(), DropCause> {
        self.leave_failed_segment();
        if self.batch.is_some() {
            return Ok(());
        }
        if !self.again {
            self.return_to_storage();
            if self.storage == Storage::There
                && (!self.kept.is_empty() || self.open.is_some_and(|open| open.is_loose()))
            {
                self.record_again(if self.may_wait { usize::MAX } else { CHUNK_BYTES as usize });
            }
            if self.batch.is_some() {
                return Ok(());
            }
        }
        if !self.is_recording() {
            return if self.again { Err(DropCause::StorageError) } else { self.ensure_loose() };
        }
        let mut batch = self.buffer().ok_or(DropCause::BuffersFull)?;
        if self.open.is_some_and(|open| open.end + PAGE_BYTES > self.data_limit) {
            self.seal();
        }
        let open = match self.open {
            Some(open) => open,
            None => self.begin_segment(),
        };
        let chunk_rest = CHUNK_BYTES - open.end % CHUNK_BYTES;
        let room = chunk_rest.min(self.data_limit - open.end) as usize;
        self.limit = room - COMMIT_BYTES - SKIP_BYTES_MIN;
        (self.used, self.own) = if open.sequence == 0 { (HEADER_END, HEADER_BYTES) } else { (0, 0) };
        self.marked = usize::MAX;
        batch.begin(open.number);
        if self.interfaces.repeat_is_due(open.end % CHUNK_BYTES == 0) {
            let told = put_interfaces(&mut batch.bytes[self.used..self.limit], self.interfaces.inside());
            (self.used, self.own) = (self.used + told, self.own + told);
            if told > 0 {
                self.interfaces.repeated();
            }
        }
        self.head = self.used;
        batch.order = if self.again { self.again_order } else { self.ordinal };
        self.batch = Some(batch);
        self.clock.begin_batch();
        self.put_events();
        Ok(())
    }

    pub(super) fn give_back(&mut self, batch: Box<Batch>) {
        // It came from there.
        let _ = self.buffers.push(batch);
    }

    /// Bytes that the open batch has before anything is put into it.
    pub(super) const fn open_head(&self) -> usize {
        if self.batch.is_some() { self.head } else { 0 }
    }

    /// Takes the oldest segment and an index for it, if one is free.
    fn begin_segment(&mut self) -> Open {
        let (number, generation) = self.ring.take_next();
        let open = Open::begin(number, generation);
        self.open = Some(open);
        self.recorded_over(number);
        self.interfaces.begin_segment();
        self.repeat_step();
        if self.indexer.is_none() {
            self.indexer = self.free_indexer();
        }
        open
    }

    /// Writes the block of an interface into the open batch; `false` when it does not fit.
    pub(super) fn put_interface(&mut self, number: u32) -> bool {
        let (Some(batch), Some(interface)) = (&mut self.batch, self.interfaces.get(number)) else {
            return false;
        };
        if self.used + IDB_BYTES_MAX > self.limit {
            return false;
        }
        batch.marks.other(self.used);
        self.used += put_idb(&mut batch.bytes[self.used..], interface);
        if let Some(indexer) = &mut self.indexer {
            indexer.interface(interface);
        }
        self.interfaces.entered(number);
        true
    }

    /// The open batch is nearly due: it takes what still fits into its page and ends there, so that little of the page is
    /// padding. Where packets come too slowly to fill it, the batch ends when it is due.
    pub(super) fn end_with_page(&mut self) {
        let end = Batch::end_after(self.used) - COMMIT_BYTES - SKIP_BYTES_MIN;
        let limit = if end < self.used { end + PAGE_BYTES as usize } else { end };
        self.limit = self.limit.min(limit);
    }

    /// Number of the machine's boot; where nobody knows it, each mount counts as one.
    pub(super) fn boot(&self) -> u64 {
        if self.boot == 0 { self.epoch.into() } else { self.boot }
    }

    /// Ends the open batch at the next page.
    pub(super) fn close_early(&mut self) {
        self.close_batch(Batch::end_after(self.used));
    }

    /// Nothing more fits into the open batch: ends it at the end of its chunk, or, behind the last full chunk of data, at
    /// the next page, and then the segment with it.
    pub(super) fn close_full(&mut self) {
        let end = self.limit + COMMIT_BYTES + SKIP_BYTES_MIN;
        let Some(open) = self.open else { return };
        if open.is_loose() {
            return self.keep_open_batch();
        }
        if open.end as usize + end < self.data_limit as usize {
            self.close_batch(end);
        } else {
            self.close_early();
            self.seal();
        }
    }

    fn close_batch(&mut self, end: usize) {
        let (Some(mut batch), Some(mut open)) = (self.batch.take(), self.open) else { return };
        let start = if open.is_first() { HEADER_END } else { 0 };
        self.account(&mut batch, start);
        let lost = self.health.lost_drops();
        let (now, boot) = (self.clock.now, self.boot());
        let commit = &mut batch.commit;
        open.times = (open.times.0.min(commit.times.0), open.times.1.max(commit.times.1));
        open.packets += u64::from(commit.packets);
        open.captured_bytes += batch.captured_bytes;
        commit.sequence = open.sequence;
        commit.generation = open.generation;
        commit.epoch = self.epoch;
        commit.offset = open.end;
        commit.segment_times = open.times;
        commit.segment_packets = open.packets;
        commit.segment_captured_bytes = open.captured_bytes;
        commit.drops = self.clock.tell(&lost);
        commit.left_out = self.clock.tell_left_out(&self.health.lost_left_out());
        (commit.wall, commit.monotonic_nanos, commit.clock) = (now.wall, now.monotonic_nanos, now.clock);
        commit.boot = boot;
        commit.interfaces = self.interfaces.count();
        batch.savefile_bytes = (self.used - self.own) as u64;
        batch.close(self.used, end);
        open.end += end as u32;
        open.sequence += 1;
        self.open = Some(open);
        (self.used, self.limit) = (0, 0);
        let (packets, drops, left_out) = (batch.commit.packets, batch.commit.drops, batch.commit.left_out);
        if self.link.send(Job::Batch(batch)) {
            self.in_flight += 1;
        } else {
            // The writer is gone, which it never should be: say what that costs.
            let mut lost = drops;
            lost.add(DropCause::StorageError, packets.into());
            self.health.lose(packets.into(), &lost, &left_out);
        }
    }

    /// Ends the open segment; the writer gives it its tail.
    fn seal(&mut self) {
        let Some(open) = self.open.take() else { return };
        let (segment, generation) = (open.number, open.generation);
        let seal = Seal { segment, generation, now: self.clock.now, flows: self.indexer.take() };
        let indexed = usize::from(seal.flows.is_some());
        if self.link.send(Job::Seal(Box::new(seal))) {
            self.sealing += indexed;
        }
        self.hold_sealed(generation, open.times);
        self.aging.note(generation, open.times);
    }

    /// Seals the open segment before it is full, so that every program reads it to its end without notice.
    pub fn rotate(&mut self) {
        if self.open.is_some_and(|open| open.is_loose()) {
            return self.keep_open_batch();
        }
        self.close_early();
        self.seal();
    }
}
