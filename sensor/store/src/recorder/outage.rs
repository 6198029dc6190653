//! What waits in memory while storage fails or is away, and its way back.
//!
//! Batches are made without a segment then ("loose"); those that come back from the writer unwritten join them, all in the
//! order in which their packets came. When a segment can be written again, the packets are recorded once more, as if they
//! had just arrived: interfaces, index, commit and segment are those of the new place, the timestamps are their own. While
//! anything waits, new packets wait behind it. When the buffers are full the oldest batch is dropped and counted.
//!
//! One buffer is always left over to record the oldest batch again; that sets the oldest batch's own buffer free.

use hindcap_wire::drops::{DropCause, DropCounts};
use hindcap_wire::ledger::{Blocks, EVENT_BYTES, Event, EventKind, block_type};
use hindcap_wire::packet::Packet;
use hindcap_wire::policy::LeftOut;
use hindcap_wire::time::Timestamp;

use std::sync::atomic::Ordering::{Acquire, Relaxed};

use super::Recorder;
use super::open::Open;
use crate::volume::aligned::ALIGN;
use crate::writer::Job;
use crate::writer::batch::Batch;
use crate::writer::mount::{Mount, Mounted};

/// Bytes of batches that one tick records again: a few milliseconds of the capture thread, 40 times a second's traffic of
/// 10 Mbit/s.
const AGAIN_BYTES_PER_TICK: usize = 2 << 20;

/// A batch that waits is filled on when it has room for as much: the largest packet, and what an interface needs.
const ROOM_TO_GO_ON: usize = 272 * 1024;
/// How often storage that fails is tried at the end.
const ATTEMPTS_AT_END: u32 = 3;

/// Whether batches go to a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Storage {
    /// Yes.
    There,
    /// The segment failed; the next is tried when the writer has given everything back and the back-off is over.
    Failed,
    /// The medium is away; it is mounted when everything is back and the back-off is over.
    Away,
    /// The writer mounts what it finds.
    Mounting,
}

/// Packets that were lost since it was last told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lost {
    /// Earliest and latest, while there is any.
    pub times: Option<(Timestamp, Timestamp)>,
    pub packets: u64,
}

impl Lost {
    pub(super) fn add(&mut self, times: (Timestamp, Timestamp), packets: u64) {
        let (first, last) = self.times.unwrap_or((Timestamp::MAX, Timestamp::MIN));
        self.times = Some((first.min(times.0), last.max(times.1)));
        self.packets += packets;
    }
}

impl Recorder {
    /// Whether packets go to the open segment, and nothing waits before them.
    pub(super) fn is_recording(&self) -> bool {
        self.storage == Storage::There && (self.kept.is_empty() || self.again)
    }

    /// A batch for packets that cannot go to a segment now.
    pub(super) fn ensure_loose(&mut self) -> Result<(), DropCause> {
        self.collect();
        let has_room = |last: &Batch| last.bytes.len() - ALIGN - last.used >= ROOM_TO_GO_ON;
        // One whose writing was tried may turn out to be on the medium: it stays as it is.
        if self.kept.last().is_some_and(|last| has_room(last) && !last.tried) {
            self.go_on_with_last();
            return Ok(());
        }
        while self.buffers.len() < 2 && self.storage != Storage::There && !self.kept.is_empty() {
            self.drop_oldest();
        }
        let full =
            if self.storage == Storage::There { DropCause::BuffersFull } else { DropCause::StorageError };
        if self.buffers.len() < 2 && !self.kept.is_empty() {
            return Err(full);
        }
        let mut batch = self.buffers.pop().ok_or(full)?;
        self.park();
        let open = Open::loose();
        batch.begin(open.number);
        batch.order = self.ordinal;
        self.loose_start = 0;
        (self.used, self.own, self.head, self.marked) = (0, 0, 0, usize::MAX);
        self.limit = batch.bytes.len() - ALIGN;
        (self.open, self.batch) = (Some(open), Some(batch));
        self.interfaces.begin_segment();
        self.put_events();
        Ok(())
    }

    /// Takes the newest batch that waits up again, so that each takes a whole buffer's worth.
    fn go_on_with_last(&mut self) {
        let Some(mut batch) = self.kept.pop() else { return };
        self.park();
        self.interfaces.go_on(batch.interfaces.clone());
        batch.again = batch.commit.packets;
        (self.used, self.own, self.marked) = (batch.used, 0, usize::MAX);
        self.limit = batch.bytes.len() - ALIGN;
        self.loose_start = batch.start;
        (self.open, self.batch) = (Some(Open::loose()), Some(batch));
        self.put_events();
    }

    /// Puts the open segment aside while packets wait behind others.
    fn park(&mut self) {
        if let Some(open) = self.open.take().filter(|open| !open.is_loose()) {
            self.parked = Some((open, self.interfaces.numbers().clone(), self.indexer.take()));
        }
    }

    /// Ends what is loose, and turns to the open segment again.
    fn unpark(&mut self) {
        if !self.open.is_none_or(|open| open.is_loose()) {
            return;
        }
        self.keep_open_batch();
        self.interfaces.begin_segment();
        self.open = None;
        if let Some((open, inside, indexer)) = self.parked.take() {
            self.interfaces.go_on(inside);
            (self.open, self.indexer) = (Some(open), indexer);
        }
    }

    /// Moves the open batch to those that wait.
    pub(super) fn keep_open_batch(&mut self) {
        let Some(mut batch) = self.batch.take() else { return };
        let start = match self.open {
            Some(open) if open.is_loose() => self.loose_start,
            Some(open) if open.is_first() => super::HEADER_END,
            _ => 0,
        };
        self.account(&mut batch, start);
        (self.used, self.limit) = (0, 0);
        self.keep(batch);
    }

    /// Notes what is needed to record the batch again, and that its packets are in a batch.
    pub(super) fn account(&mut self, batch: &mut Batch, start: usize) {
        (batch.start, batch.used) = (start.min(self.used), self.used);
        batch.interfaces.clone_from(self.interfaces.numbers());
        let fresh = u64::from(batch.commit.packets - batch.again);
        self.ordinal += fresh;
        self.health.packets_recorded.fetch_add(fresh, Relaxed);
        (batch.commit.drops, batch.commit.left_out) = (DropCounts::default(), LeftOut::NONE);
    }

    /// The batch waits, in its place.
    fn keep(&mut self, batch: Box<Batch>) {
        let nothing = batch.commit.packets == 0 && batch.marks.others.as_ref().is_some_and(|o| o.is_empty());
        if nothing {
            return self.give_back(batch);
        }
        let at = self.kept.iter().position(|other| other.order >= batch.order).unwrap_or(self.kept.len());
        // There is room for every buffer.
        let _ = self.kept.insert(at, batch);
        self.publish_kept();
    }

    fn publish_kept(&self) {
        let packets = self.kept.iter().map(|batch| u64::from(batch.commit.packets)).sum();
        self.health.packets_kept.store(packets, Relaxed);
    }

    /// A batch came back unwritten; what its commit would have told is told by another.
    pub(super) fn take_undone(&mut self, mut batch: Box<Batch>) {
        self.clock.untell(&batch.commit.drops, &batch.commit.left_out);
        (batch.commit.drops, batch.commit.left_out) = (DropCounts::default(), LeftOut::NONE);
        self.keep(batch);
    }

    fn drop_oldest(&mut self) {
        if self.kept.is_empty() {
            return;
        }
        let batch = self.kept.remove(0);
        let packets = u64::from(batch.commit.packets);
        let mut drops = DropCounts::default();
        drops.add(DropCause::StorageError, packets);
        self.health.lose(packets, &drops, &LeftOut::NONE);
        if packets > 0 {
            self.lost.add(batch.commit.times, packets);
        }
        self.give_back(batch);
        self.publish_kept();
    }

    /// Lets go of the open segment: what comes next is loose.
    fn let_go(&mut self) {
        self.unpark();
        self.keep_open_batch();
        self.open = None;
        if let Some(mut indexer) = self.indexer.take() {
            indexer.reset();
            // Lent from there.
            let _ = self.indexers.push(indexer);
        }
        self.interfaces.begin_segment();
    }

    /// A segment that failed is left as it is, and a medium that is away has none.
    pub(super) fn leave_failed_segment(&mut self) {
        if matches!(self.storage, Storage::There | Storage::Failed) && self.health.away.load(Acquire) {
            if self.storage == Storage::There {
                self.let_go();
            }
            self.storage = Storage::Away;
            self.clock.lost();
            return;
        }
        let failed = self.health.failed_generation.load(Acquire);
        let open = self.open.filter(|open| self.storage == Storage::There && !open.is_loose());
        let Some(open) = open.filter(|open| open.generation == failed) else { return };
        self.let_go();
        self.storage = Storage::Failed;
        self.clock.failed();
        log::warn!("segment {} is given up; trying the next", open.number);
    }

    /// Notices that storage failed or works again, and does what can be done about it.
    pub(super) fn look_after_storage(&mut self) {
        self.leave_failed_segment();
        self.return_to_storage();
        let acked = self.health.acked_generation.load(Acquire);
        if self.open.is_some_and(|open| !open.is_loose() && open.generation == acked) {
            self.clock.worked();
        }
        if self.storage == Storage::There {
            self.record_again(AGAIN_BYTES_PER_TICK);
        }
        if let Some(since) = self.health.take_ended_outage() {
            self.tell_gap(since);
        }
        if self.storage == Storage::There && self.clock.is_time_to_look() {
            self.looking |= !self.looking && self.link.send(Job::Look(self.clock.now));
        }
    }

    /// Leaves a failure or an absence behind, when it is time.
    pub(super) fn return_to_storage(&mut self) {
        let all_back = self.in_flight == 0 && self.sealing == 0;
        if !all_back || self.clock.backs_off() {
            return;
        }
        match self.storage {
            Storage::There | Storage::Mounting => {}
            Storage::Failed => self.storage = Storage::There,
            Storage::Away => {
                let mut mount = Box::new(Mount::new(self.clock.now));
                std::mem::swap(&mut mount.indexers, &mut self.indexers);
                self.storage = Storage::Mounting;
                // With an inline writer the answer is there at once.
                self.link.send(Job::Mount(mount));
                self.collect();
            }
        }
    }

    /// The writer's answer to a mount.
    pub(super) fn take_mount(&mut self, mount: Mount) {
        self.indexers = mount.indexers;
        match mount.mounted {
            Some(mounted) => self.attach(mounted),
            None => {
                self.storage = Storage::Away;
                self.clock.lost();
            }
        }
    }

    /// Records into the store that was mounted from here on.
    pub(super) fn attach(&mut self, mounted: Mounted) {
        self.unpark();
        self.forget_what_is_there(&mounted);
        let Mounted { ring, open, indexer, epoch, segment_bytes, other, unclean, keep, notes, lost, .. } =
            mounted;
        (self.ring, self.epoch, self.storage) = (ring, epoch, Storage::There);
        self.keeping.mounted(keep, segment_bytes);
        self.keeping.catch_up(&mut self.ring, &notes);
        self.aging.mounted(&notes, segment_bytes);
        self.tell_failed();
        if let Some(number) = self.keeping.emptying(&self.ring) {
            self.ring.set_aside(number);
            self.aging.resume(number);
        }
        self.data_limit = crate::writer::tail::data_limit(segment_bytes);
        self.interfaces.begin_segment();
        self.open = None;
        match open {
            Some(open) => {
                self.interfaces.resume(&open.interfaces);
                self.open = Some(Open::resume(&open));
                self.indexer = Some(indexer);
            }
            None => {
                let _ = self.indexers.push(indexer);
            }
        }
        if other {
            let boot = self.boot();
            self.note(EventKind::RecorderStart { epoch, unclean, boot });
        }
        if let Some(gap) = lost {
            self.note(gap);
        }
    }

    /// A batch whose writing was cut off may have reached the medium all the same.
    fn forget_what_is_there(&mut self, mounted: &Mounted) {
        let Some((generation, newest)) = mounted.newest.filter(|_| !mounted.other) else { return };
        let there = self.kept.iter().position(|batch| {
            let commit = &batch.commit;
            batch.tried
                && (commit.generation, commit.epoch) == (generation, newest.epoch)
                && commit.sequence <= newest.sequence
        });
        let Some(at) = there else { return };
        let batch = self.kept.remove(at);
        self.health.packets_acked.fetch_add(batch.commit.packets.into(), Relaxed);
        self.health.captured_bytes_acked.fetch_add(batch.captured_bytes, Relaxed);
        self.health.savefile_bytes_acked.fetch_add(batch.savefile_bytes, Relaxed);
        self.health.batches_acked.fetch_add(1, Relaxed);
        self.give_back(batch);
        self.publish_kept();
    }

    /// Records what waits, oldest first, until about so many bytes are done or there is no buffer.
    pub(super) fn record_again(&mut self, most: usize) {
        if self.again || self.storage != Storage::There {
            return;
        }
        self.unpark();
        self.again = true;
        let mut done = 0;
        while done < most && self.storage == Storage::There && !self.kept.is_empty() {
            let mut batch = self.kept.remove(0);
            let before = batch.start;
            let all = self.record_batch_again(&mut batch);
            done += batch.start - before;
            if all {
                self.give_back(batch);
            } else {
                self.keep(batch);
                break;
            }
        }
        if !self.kept.is_empty() && self.storage == Storage::There {
            // What comes now waits behind the rest.
            self.close_early();
        }
        self.again = false;
        self.publish_kept();
    }

    /// Records what is left of a batch; `false` when something of it is still left.
    fn record_batch_again(&mut self, batch: &mut Batch) -> bool {
        let (start, mut offset) = (batch.start, batch.used);
        let (mut packets, mut captured) = (0, 0);
        for block in Blocks::new(&batch.bytes[start..batch.used]) {
            let put = match block.block_type {
                block_type::PACKET => match block.packet() {
                    Some(packet) => {
                        self.again_order = batch.order + packets;
                        let put = self.put_again(&packet, &batch.interfaces);
                        (packets, captured) = match put {
                            true => (packets + 1, captured + packet.bytes.len() as u64),
                            false => (packets, captured),
                        };
                        put
                    }
                    None => true,
                },
                block_type::EVENT => Event::decode(block.body).is_none_or(|event| self.put_event(&event)),
                _ => true,
            };
            if !put {
                offset = start + block.offset;
                break;
            }
        }
        batch.start = offset;
        batch.order += packets;
        batch.commit.packets -= packets as u32;
        batch.captured_bytes -= captured;
        batch.tried = false;
        batch.start == batch.used
    }

    fn put_again(&mut self, packet: &Packet<'_>, interfaces: &[u32]) -> bool {
        let Some(interface) = interfaces.get(packet.interface as usize) else { return true };
        let put = self.put(&Packet { interface: *interface, ..*packet }).is_ok();
        if let (true, Some(batch)) = (put, &mut self.batch) {
            batch.again += 1;
        }
        put
    }

    /// Puts an event that was in an earlier batch into the open one.
    fn put_event(&mut self, event: &Event) -> bool {
        for _ in 0..2 {
            if self.ensure_batch().is_err() {
                return false;
            }
            if let (Some(batch), true) = (&mut self.batch, self.used + EVENT_BYTES <= self.limit) {
                batch.marks.other(self.used);
                self.used += event.encode(&mut batch.bytes[self.used..]);
                self.own += EVENT_BYTES;
                return true;
            }
            self.close_full();
        }
        false
    }

    /// An outage is over: says in the store what is missing, if anything is.
    fn tell_gap(&mut self, since: Timestamp) {
        let lost = std::mem::take(&mut self.lost);
        let all = self.drops().get(DropCause::StorageError);
        let packets = all.saturating_sub(std::mem::replace(&mut self.lost_told, all));
        if packets == 0 {
            return;
        }
        // What the writer lost has no times here: it was lost at the beginning.
        let by_writer = packets > lost.packets;
        let (start, end) = match lost.times.filter(|_| !by_writer) {
            Some((first, last)) => (first, last.plus_nanos(1)),
            None => (since, self.clock.now.wall),
        };
        self.event(EventKind::Gap { start, end, cause: DropCause::StorageError, packets });
    }

    /// Everything that waits goes to the store, if that can be: the end.
    pub(super) fn settle(&mut self) {
        for _ in 0..ATTEMPTS_AT_END {
            while self.in_flight > 0 || self.sealing > 0 || self.storage == Storage::Mounting {
                let Some(done) = self.link.receive_waiting() else { break };
                self.take_back(done);
            }
            self.leave_failed_segment();
            self.clock.hurry();
            self.return_to_storage();
            self.record_again(usize::MAX);
            if self.is_recording() {
                return;
            }
        }
    }

    /// Gives up what still waits.
    pub(super) fn give_up(&mut self) {
        self.unpark();
        while !self.kept.is_empty() {
            self.drop_oldest();
        }
    }
}

#[cfg(test)]
mod tests;
