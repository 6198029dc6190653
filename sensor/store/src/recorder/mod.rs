//! The front half of the recorder: what the capture thread calls.
//!
//! [`Recorder::push`] looks into a packet, indexes it and copies it once into the open batch; full batches go to the
//! [writer](crate::writer), whose answers bring the buffers back. It neither allocates, locks, logs nor waits (an import
//! may wait for buffers, and writes in the same call). What cannot be kept is counted by cause and told by the next commit.
//!
//! - `open`: the open segment and where the next batch goes.
//! - `clock`: flush interval, clock steps, drops, back-off while storage fails.
//! - `outage`: what waits in memory while storage fails or is away.
//! - `room`: whether packets should rather stay in the kernel's ring for now.

mod age;
mod clock;
mod interfaces;
mod keep;
mod open;
mod outage;
mod room;
#[cfg(test)]
pub(crate) mod tests;
mod thin;

use std::sync::Arc;

use hindcap_wire::drops::{DropCause, DropCounts};
use hindcap_wire::ledger::{EVENT_BYTES, Event, EventKind, HEADER_END, epb_bytes, put_epb};
use hindcap_wire::limits::{CAPLEN_MAX, INTERFACES_MAX, PAGE_BYTES};
use hindcap_wire::packet::plain::Plain;
use hindcap_wire::packet::{Interface, Packet};

use crate::index::Indexer;
use crate::policy::Thinner;
use crate::ring::Ring;
use crate::volume::VolumeWrite;
use crate::writer::batch::Batch;
use crate::writer::link::Link;
use crate::writer::mount::INDEXERS;
use crate::writer::{Done, Job, Writer};
use crate::{BackEnd, Health, Reading, RecorderOptions, Store, StoreError};
use clock::Clock;
use interfaces::Interfaces;
use open::Open;
use outage::{Lost, Storage};

/// Events that wait while there is no batch to put them into.
const EVENTS_WAITING: usize = 32;

/// Records packets into a store. Made by [`Store::recorder`].
#[derive(Debug)]
pub struct Recorder {
    link: Link,
    health: Arc<Health>,
    ring: Ring,
    interfaces: Interfaces,
    open: Option<Open>,
    /// The segment that is open while packets wait behind others, with its interfaces and index.
    parked: Option<(Open, heapless::Vec<u32, INTERFACES_MAX>, Option<Box<Indexer>>)>,
    /// The batch that is being filled, of the open segment.
    batch: Option<Box<Batch>>,
    /// Bytes of blocks in it.
    used: usize,
    /// Bytes of our own blocks among them.
    own: usize,
    /// Bytes of blocks that were in it from the start.
    head: usize,
    /// Blocks must end here.
    limit: usize,
    /// The batch's last page whose first packet block is marked.
    marked: usize,
    indexer: Option<Box<Indexer>>,
    buffers: heapless::Vec<Box<Batch>, { RecorderOptions::BUFFERS_MAX }>,
    indexers: heapless::Vec<Box<Indexer>, INDEXERS>,
    /// Indexes that the writer has.
    sealing: usize,
    /// Batches that the writer has.
    in_flight: usize,
    /// The writer is looking at the medium.
    looking: bool,
    storage: Storage,
    /// Batches that wait for storage, oldest first.
    kept: heapless::Vec<Box<Batch>, { RecorderOptions::BUFFERS_MAX }>,
    /// Where the blocks of the open batch begin that is of no segment.
    loose_start: usize,
    /// What waited is being recorded again: it goes to the open segment before everything else.
    again: bool,
    /// Running number of the packet that is being recorded again.
    again_order: u64,
    /// Packets that came into batches so far, the open one not included.
    ordinal: u64,
    lost: Lost,
    /// Packets lost to storage that gap events have told.
    lost_told: u64,
    events: heapless::Deque<Event, EVENTS_WAITING>,
    clock: Clock,
    /// As in [`RecorderOptions`].
    boot: u64,
    epoch: u32,
    data_limit: u32,
    may_wait: bool,
    /// When a policy was asked for.
    thinner: Option<Box<Thinner>>,
    /// The policy step in force, as it was written.
    step: Option<Event>,
    /// Its time was not shown by a clock that was yet to be set.
    step_is_dated: bool,
    keeping: keep::Keeping,
    aging: age::Aging,
}

impl<V: VolumeWrite + Send + 'static> Store<V> {
    /// Recovers what the last recorder left open, and goes on recording. When the medium is not there, recording begins
    /// in memory, as far as the buffers reach, and goes on when it comes.
    ///
    /// # Errors
    /// An option makes no sense, or the writer's thread cannot be started.
    pub fn recorder(self, options: RecorderOptions, now: Reading) -> Result<Recorder, StoreError> {
        if !(2..=RecorderOptions::BUFFERS_MAX).contains(&options.buffers) {
            return Err(StoreError::Option { what: "buffers: from 2 to 64" });
        }
        let mut recorder = Recorder::new(Arc::clone(&self.health), &options, now);
        let mut writer = Writer::new(self.volume, self.state, self.health, &options);
        let mounted = writer.start(now, &mut recorder.indexers);
        recorder.link = match options.back_end {
            BackEnd::Inline => Link::inline(writer),
            BackEnd::Threaded => Link::threaded(writer).map_err(StoreError::Thread)?,
        };
        match mounted {
            Some(mounted) => recorder.attach(mounted),
            None => recorder.clock.lost(),
        }
        recorder.flush();
        Ok(recorder)
    }
}

impl Recorder {
    fn new(health: Arc<Health>, options: &RecorderOptions, now: Reading) -> Self {
        let mut buffers = heapless::Vec::new();
        for _ in 0..options.buffers {
            buffers.push(Box::new(Batch::new())).expect("not more than BUFFERS_MAX");
        }
        Self {
            link: Link::Ended,
            health,
            ring: Ring::default(),
            interfaces: Interfaces::default(),
            open: None,
            parked: None,
            batch: None,
            used: 0,
            own: 0,
            head: 0,
            limit: 0,
            marked: usize::MAX,
            indexer: None,
            buffers,
            indexers: heapless::Vec::new(),
            sealing: 0,
            in_flight: 0,
            looking: false,
            storage: Storage::Away,
            kept: heapless::Vec::new(),
            loose_start: 0,
            again: false,
            again_order: 0,
            ordinal: 0,
            lost: Lost::default(),
            lost_told: 0,
            events: heapless::Deque::new(),
            clock: Clock::new(options.flush_interval_nanos, now),
            boot: options.boot,
            epoch: 0,
            data_limit: 0,
            may_wait: options.may_wait,
            thinner: None,
            step: None,
            step_is_dated: false,
            keeping: keep::Keeping::new(now),
            aging: age::Aging::new(now),
        }
    }

    /// Announces an interface; returns the store-wide number that packets of it carry in [`Packet::interface`]. Equal
    /// interfaces share a number.
    ///
    /// # Errors
    /// [`StoreError::TooManyInterfaces`].
    pub fn interface(&mut self, interface: &Interface) -> Result<u32, StoreError> {
        self.interfaces.announce(interface)
    }

    /// Records one packet; `packet.interface` is a number from [`Recorder::interface`]. Never fails: what cannot be kept
    /// is counted as dropped, what policy leaves out as left out.
    // Not inlined: it is called by code that is made small rather than fast.
    pub fn push(&mut self, packet: &Packet<'_>) {
        if self.thinner.is_none() {
            self.record(packet);
        } else {
            self.push_by_policy(packet);
        }
    }

    /// Records a packet as it is; whether it is now in a batch. What cannot be kept is counted as dropped.
    #[inline]
    fn record(&mut self, packet: &Packet<'_>) -> bool {
        match self.put(packet) {
            Ok(()) => true,
            Err(cause) => {
                self.drop_packet(packet, cause);
                false
            }
        }
    }

    #[cold]
    fn drop_packet(&mut self, packet: &Packet<'_>, cause: DropCause) {
        self.clock.drops.add(cause, 1);
        self.health.drop_packets(cause, 1);
        if cause == DropCause::StorageError {
            self.lost.add((packet.timestamp, packet.timestamp), 1);
        }
    }

    /// Puts a packet into the open batch.
    #[inline]
    fn put(&mut self, packet: &Packet<'_>) -> Result<(), DropCause> {
        let block_bytes = epb_bytes(packet.bytes.len());
        let ready = self.used + block_bytes <= self.limit && self.interfaces.is_current(packet.interface);
        if !ready {
            self.make_room(packet, block_bytes)?;
        }
        let (Some(batch), Some(open)) = (&mut self.batch, &self.open) else {
            return Err(DropCause::StorageError);
        };
        let (local, link_type) = self.interfaces.current();
        let plain = Plain::read(link_type, packet.bytes, packet.orig_len);
        // From here on the packet is recorded.
        let page = self.used / PAGE_BYTES as usize;
        if page != self.marked {
            self.marked = page;
            batch.marks.first_block(self.used);
        }
        if let Some(indexer) = &mut self.indexer {
            indexer.read_packet((open.end / PAGE_BYTES) as u16 + page as u16, local, packet, plain.as_ref());
        }
        self.used += put_epb(&mut batch.bytes[self.used..], local, packet);
        batch.captured_bytes += packet.bytes.len() as u64;
        let commit = &mut batch.commit;
        commit.packets += 1;
        commit.times.0 = commit.times.0.min(packet.timestamp);
        commit.times.1 = commit.times.1.max(packet.timestamp);
        Ok(())
    }

    /// Makes the open batch one that takes the packet: its interface announced, and room enough.
    #[cold]
    #[inline(never)]
    fn make_room(&mut self, packet: &Packet<'_>, block_bytes: usize) -> Result<(), DropCause> {
        if packet.bytes.len() > CAPLEN_MAX as usize || !self.interfaces.is_known(packet.interface) {
            return Err(DropCause::Malformed);
        }
        // At most: a batch that is due is closed, then a full one, a chunk's rest is skipped, a segment is sealed, an
        // interface table is full.
        for _ in 0..7 {
            self.ensure_batch()?;
            match self.interfaces.enter(packet.interface) {
                interfaces::Entered::Already => {}
                interfaces::Entered::Full => {
                    self.rotate();
                    continue;
                }
                interfaces::Entered::New => {
                    if !self.put_interface(packet.interface) {
                        self.close_full();
                        continue;
                    }
                }
            }
            if self.used + block_bytes <= self.limit {
                return Ok(());
            }
            self.close_full();
        }
        // Not reached: an empty chunk takes the longest packet.
        Err(DropCause::Malformed)
    }

    /// Records that something happened, now.
    pub fn event(&mut self, kind: EventKind) {
        self.note(kind);
        if self.ensure_batch().is_ok() {
            self.put_events();
        }
    }

    /// An event for the next batch.
    fn note(&mut self, kind: EventKind) {
        let event = Event { at: self.clock.now.wall, monotonic_nanos: self.clock.now.monotonic_nanos, kind };
        if self.events.is_full() {
            self.events.pop_front();
        }
        let _ = self.events.push_back(event);
    }

    /// Puts waiting events into the open batch.
    fn put_events(&mut self) {
        while let (Some(batch), Some(event)) = (&mut self.batch, self.events.front()) {
            if self.used + EVENT_BYTES > self.limit {
                return;
            }
            batch.marks.other(self.used);
            self.used += event.encode(&mut batch.bytes[self.used..]);
            self.own += EVENT_BYTES;
            self.events.pop_front();
        }
    }

    /// Lets time pass: closes a batch that is due, looks after storage that failed, accounts for `drops` (cumulative
    /// since the source was opened, by the source's causes). Call it at least every 100 ms.
    pub fn tick(&mut self, now: Reading, drops: DropCounts) {
        self.collect();
        if let Some(step) = self.clock.advance(now, drops) {
            self.keeping.stepped(now);
            self.aging.stepped(now);
            self.event(step);
        }
        self.look_after_storage();
        match self.storage {
            Storage::There | Storage::Failed => {
                self.look_after_holds();
                self.look_after_ages();
            }
            Storage::Away | Storage::Mounting => self.refuse_holds(),
        }
        self.look_after_policy();
        if self.is_recording() && self.clock.is_nearly_due() && self.used > self.open_head() {
            self.end_with_page();
        }
        let (lost, lost_left_out) = (self.health.lost_drops(), self.health.lost_left_out());
        if self.is_recording()
            && self.clock.is_due(self.used > self.open_head(), &lost, &lost_left_out)
            && self.ensure_batch().is_ok()
        {
            self.put_events();
            self.close_early();
        }
    }

    /// Closes the open batch now, whatever is in it. The writer makes it durable.
    pub fn flush(&mut self) {
        if self.ensure_batch().is_ok() && self.is_recording() {
            self.put_events();
            self.close_early();
        }
    }

    /// Writes what there is, without sealing, and lets go of the store.
    ///
    /// # Errors
    /// The last batches could not be made durable; the health says what is lost.
    pub fn close(mut self, now: Reading) -> Result<(), StoreError> {
        let drops = self.clock.source_drops();
        let _ = self.clock.advance(now, drops);
        self.look_after_policy();
        self.event(EventKind::RecorderStop);
        // The last batch may wait for a buffer; a medium that fails does not hold up the end.
        self.may_wait = true;
        self.flush();
        self.settle();
        self.flush();
        if self.link.send(Job::Close(now, self.indexer.take())) {
            while let Some(done) = self.link.receive_waiting() {
                if matches!(done, Done::Close) {
                    break;
                }
                self.take_back(done);
            }
        }
        self.give_up();
        let after = self.health.snapshot();
        match after.failing {
            Some((_, message)) => Err(StoreError::NotDurable { packets: after.packets_lost, message }),
            None => Ok(()),
        }
    }

    /// Counters, for any thread.
    #[must_use]
    pub fn health(&self) -> Arc<Health> {
        Arc::clone(&self.health)
    }

    /// All drops so far, by cause: the source's, and this recorder's own.
    #[must_use]
    pub fn drops(&self) -> DropCounts {
        self.clock.all_drops(self.health.snapshot().packets_lost)
    }

    /// Takes back what the writer is done with.
    fn collect(&mut self) {
        while let Some(done) = self.link.receive() {
            self.take_back(done);
        }
    }

    fn take_back(&mut self, done: Done) {
        match done {
            Done::Batch(batch) => {
                self.in_flight = self.in_flight.saturating_sub(1);
                let _ = self.buffers.push(batch);
            }
            Done::Undone(batch) => {
                self.in_flight = self.in_flight.saturating_sub(1);
                self.take_undone(batch);
            }
            Done::Mount(mount) => self.take_mount(*mount),
            Done::Look => self.looking = false,
            Done::Seal(Some(indexer)) => {
                let _ = self.indexers.push(indexer);
                self.sealing = self.sealing.saturating_sub(1);
            }
            Done::Keep(written) => self.kept(written),
            Done::Empty(result) => self.emptied(result),
            Done::Seal(None) | Done::Close => {}
        }
    }

    /// A free index; live capture does not wait for one.
    fn free_indexer(&mut self) -> Option<Box<Indexer>> {
        self.collect();
        while self.indexers.is_empty() && self.sealing > 0 && self.may_wait {
            let done = self.link.receive_waiting()?;
            self.take_back(done);
        }
        self.indexers.pop()
    }

    /// A free buffer; live capture does not wait for one.
    fn buffer(&mut self) -> Option<Box<Batch>> {
        self.collect();
        while self.buffers.is_empty() && self.may_wait {
            let done = self.link.receive_waiting()?;
            self.take_back(done);
        }
        self.buffers.pop()
    }
}
