//! The back half of the recorder: makes batches durable, seals segments, keeps the catalog.
//!
//! It runs in the recorder's thread or in one of its own ([`link`]); jobs arrive in order. A failed write or flush ends
//! the segment: the batch is counted as lost, with the drops that its commit would have told, and later batches of that
//! generation go back unwritten. When the medium itself is away, that batch goes back as well, and so does everything
//! until a [`mount`] succeeds. Nothing is acknowledged before a flush returned.

pub(crate) mod batch;
pub(crate) mod emptying;
pub(crate) mod link;
mod metered;
pub(crate) mod mount;
pub(crate) mod notes;
pub(crate) mod tables;
pub(crate) mod tail;

use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, Release};

use hindcap_wire::drops::DropCause;
use hindcap_wire::ledger::{Commit, NO_CHAIN, SegmentHeader};
use hindcap_wire::limits::PAGE_BYTES;
use hindcap_wire::time::{NANOS_PER_SEC, Timestamp};

use crate::catalog;
use crate::holds::{Keep, KeepPolicy};
use crate::index::Indexer;
use crate::medium::is_refused;
use crate::provisional;
use crate::state::{SLOT_BYTES, State};
use crate::volume::{Area, VolumeError, VolumeRead, VolumeWrite};
use crate::wear::{Meter, WearOptions};
use crate::{BackEnd, Health, Reading, RecorderOptions, StoreError};
use batch::Batch;
use metered::Metered;
use mount::Mount;
use notes::{Kept, Note};
use tables::SegmentTables;
use tail::TailBuf;

/// The state (odometer) and the notes for people are written at most so often.
const STATE_INTERVAL_NANOS: u64 = 600 * NANOS_PER_SEC;
const NOTES_INTERVAL_NANOS: u64 = 180 * NANOS_PER_SEC;

/// What the recorder asks for.
#[derive(Debug)]
pub(crate) enum Job {
    /// Write this batch.
    Batch(Box<Batch>),
    /// Everything of this segment has been handed over: write its tail.
    Seal(Box<Seal>),
    /// What is kept has changed: make it durable at once.
    Keep(Box<Keep>),
    /// Makes a chunk of this segment unreadable; the first time its summary and header first.
    Empty { segment: u32, chunk: u32 },
    /// The recorder ends in order; with what it knows of the open segment's flows.
    Close(Reading, Option<Box<Indexer>>),
    /// The medium was away: open and recover what is at its place now.
    Mount(Box<Mount>),
    /// Nothing was written for a while: see whether the medium is still there.
    Look(Reading),
}

impl Job {
    /// The time it brings along.
    fn now(&self) -> Option<Reading> {
        Some(match self {
            Self::Batch(batch) => {
                let Commit { wall, monotonic_nanos, clock, .. } = batch.commit;
                Reading { wall, monotonic_nanos, clock }
            }
            Self::Seal(seal) => seal.now,
            Self::Close(now, _) | Self::Look(now) => *now,
            Self::Keep(_) | Self::Empty { .. } | Self::Mount(_) => return None,
        })
    }
}

/// What comes back to be used again.
#[derive(Debug)]
pub(crate) enum Done {
    Batch(Box<Batch>),
    /// It was not written, and must be recorded again.
    Undone(Box<Batch>),
    /// `None` when the segment was sealed without flow records.
    Seal(Option<Box<Indexer>>),
    /// Or why the state could not be written; it is then as it was.
    Keep(Result<(), String>),
    /// Or why the chunk still says something.
    Empty(Result<(), String>),
    Close,
    Mount(Box<Mount>),
    Look,
}

/// How a segment is sealed.
#[derive(Debug)]
pub(crate) struct Seal {
    pub segment: u32,
    pub generation: u64,
    pub now: Reading,
    /// `None`: no index was free when the segment was begun.
    pub flows: Option<Box<Indexer>>,
}

/// Written but not yet durable.
#[derive(Debug, Default)]
struct Unflushed {
    batches: u32,
    packets: u64,
    captured_bytes: u64,
    savefile_bytes: u64,
    /// By cause, what the commits told.
    drops: hindcap_wire::drops::DropCounts,
    /// By policy, what the commits told.
    left_out: hindcap_wire::policy::LeftOut,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Writer<V> {
    volume: Metered<V>,
    state: State,
    health: Arc<Health>,
    hash_chain: bool,
    batches_per_flush: u32,
    /// The segment being written; `None` before the first and after a failure.
    tables: Option<(u32, SegmentTables)>,
    unflushed: Unflushed,
    /// Chain value of the segment sealed last, when the next one follows it directly.
    chain: [u8; 32],
    pending: catalog::Pending,
    notes: Vec<Note>,
    state_written: u64,
    notes_written: u64,
    /// Segments that failed one after another.
    failures: u32,
    /// Indexes that the recorder works with: see [`mount::INDEXERS`].
    indexers: usize,
    /// What the operator has decided about keeping, for every store that is mounted.
    keep_policy: Option<KeepPolicy>,
    /// How wear is measured.
    wear: WearOptions,
    /// A store has been mounted: `state` is of one.
    mounted: bool,
}

impl<V: VolumeWrite> Writer<V> {
    /// A writer that has yet to [`Writer::begin_mount`] the store.
    pub(crate) fn new(volume: V, state: State, health: Arc<Health>, options: &RecorderOptions) -> Self {
        Self {
            volume: Metered::new(volume, Meter::new(state.wear, options.wear.stopwatch, Reading::default())),
            state,
            health,
            wear: options.wear,
            hash_chain: options.hash_chain,
            batches_per_flush: options.batches_per_flush.max(1),
            tables: None,
            unflushed: Unflushed::default(),
            chain: NO_CHAIN,
            pending: catalog::Pending::new(),
            notes: Vec::new(),
            state_written: 0,
            notes_written: 0,
            failures: 0,
            indexers: match options.back_end {
                BackEnd::Threaded => mount::INDEXERS,
                // A segment is sealed before the next one begins.
                BackEnd::Inline => 1,
            },
            keep_policy: options.keep,
            mounted: false,
        }
    }

    /// Does what is asked; gives back what the recorder can use again.
    pub(crate) fn handle(&mut self, job: Job) -> Done {
        let now = job.now();
        let done = self.perform(job);
        self.tick(now);
        done
    }

    /// Wear: lets time pass, tells what was written.
    fn tick(&mut self, now: Option<Reading>) {
        let meter = &mut self.volume.meter;
        self.health.bytes_written.fetch_add(meter.take(), Relaxed);
        let Some(now) = now else { return };
        let (ring, list) = self.health.take_beside();
        meter.beside(ring.as_ref(), &list);
        let plan = self.health.plan().or(self.wear.plan);
        if let Some(change) = meter.tick(now, plan, self.health.used_permille()) {
            log::info!("write budget: from step {} to {}", change.from.number(), change.to.number());
        }
        self.health.set_wear(meter.wear());
    }

    fn perform(&mut self, job: Job) -> Done {
        match job {
            Job::Batch(mut batch) => {
                if self.batch(&mut batch) {
                    Done::Batch(batch)
                } else {
                    Done::Undone(batch)
                }
            }
            Job::Seal(mut seal) => {
                self.seal(&mut seal);
                Done::Seal(seal.flows)
            }
            Job::Keep(keep) => Done::Keep(self.keep(*keep)),
            Job::Empty { segment, chunk } => {
                Done::Empty(self.empty(segment, chunk).map_err(|error| error.to_string()))
            }
            Job::Close(now, flows) => {
                self.close(now, flows);
                Done::Close
            }
            Job::Mount(mut mount) => {
                self.mount(&mut mount);
                Done::Mount(mount)
            }
            Job::Look(now) => {
                self.look(now.wall);
                Done::Look
            }
        }
    }

    /// Writes a batch; says whether it is done with, written or lost.
    fn batch(&mut self, batch: &mut Batch) -> bool {
        let generation = batch.commit.generation;
        if !self.look(batch.commit.wall) {
            return false;
        }
        if batch.commit.sequence == 0 {
            self.begin(batch);
        }
        let ours = matches!(&self.tables, Some((number, tables))
            if *number == batch.segment && tables.header.generation == generation);
        // Otherwise the segment failed before.
        ours && match self.write_batch(batch) {
            Ok(()) => true,
            Err(error) if self.has_gone(&error) => {
                batch.tried = true;
                self.unflushed = self.unflushed.without(&Unflushed::of(batch));
                self.go_away(generation, batch.commit.wall, &error);
                false
            }
            Err(error) => {
                let refused = is_refused(&error);
                if refused {
                    // Nothing of it was written.
                    self.unflushed = self.unflushed.without(&Unflushed::of(batch));
                }
                self.fail(generation, batch.commit.wall, &error);
                !refused
            }
        }
    }

    /// A batch with sequence 0 begins a segment.
    fn begin(&mut self, batch: &mut Batch) {
        // A segment that failed or was left without its tail breaks the chain.
        let chain_before =
            if self.tables.take().is_none() && self.hash_chain { self.chain } else { NO_CHAIN };
        self.chain = NO_CHAIN;
        let header = SegmentHeader {
            store: self.state.uuid,
            generation: batch.commit.generation,
            segment_bytes: self.volume.geometry().segment_bytes,
            epoch: batch.commit.epoch,
            begun: batch.commit.clock_at(),
            chain_before,
        };
        header.encode(batch.filled_mut().0);
        self.notes.retain(|note| note.segment != batch.segment);
        self.tables = Some((batch.segment, SegmentTables::new(header, self.hash_chain)));
    }

    fn write_batch(&mut self, batch: &mut Batch) -> Result<(), VolumeError> {
        let Some((_, tables)) = &mut self.tables else { return Ok(()) };
        let area = Area::Segment(batch.segment);
        let segment_bytes = self.volume.geometry().segment_bytes;
        let commit = batch.commit;
        let (bytes, marks) = batch.filled_mut();
        tables.seal_batch(&commit, bytes, marks);
        self.unflushed.add(&Unflushed::of(batch));
        let at_end = commit.offset + commit.bytes == segment_bytes;
        let terminator = if at_end { 0 } else { self.volume.geometry().sector_bytes as usize };
        let bytes = batch.with_terminator(terminator);
        self.volume.write(area, commit.offset.into(), bytes)?;
        let due = self.unflushed.batches >= self.batches_per_flush;
        if due { self.flush(area) } else { Ok(()) }
    }

    /// Makes durable what was written to the open segment, and says so.
    fn flush(&mut self, area: Area) -> Result<(), VolumeError> {
        if self.unflushed.batches == 0 {
            return Ok(());
        }
        self.volume.flush(area)?;
        let done = std::mem::take(&mut self.unflushed);
        let health = &self.health;
        let ring_bytes = self.tables.as_ref().map_or(0, |(_, tables)| ring_bytes(tables));
        self.volume.meter.durable(done.captured_bytes, ring_bytes);
        health.packets_acked.fetch_add(done.packets, Relaxed);
        health.captured_bytes_acked.fetch_add(done.captured_bytes, Relaxed);
        health.savefile_bytes_acked.fetch_add(done.savefile_bytes, Relaxed);
        health.batches_acked.fetch_add(done.batches.into(), Relaxed);
        if let Some((_, tables)) = &self.tables {
            health.acked_end.store(tables.end, Relaxed);
            health.acked_generation.store(tables.header.generation, Release);
        }
        health.recover();
        if std::mem::take(&mut self.failures) > 0 {
            health.medium_works(None);
        }
        Ok(())
    }

    /// The open segment is never continued; what was not yet durable is lost.
    fn fail(&mut self, generation: u64, wall: Timestamp, error: &VolumeError) {
        log::error!("recording to segment generation {generation} failed: {error}");
        self.failures = self.failures.saturating_add(1);
        self.judge(wall, error);
        if let Some((number, tables)) = self.tables.take() {
            self.remember(note(number, &tables, Kept::NotSealed));
        }
        self.chain = NO_CHAIN;
        let lost = std::mem::take(&mut self.unflushed);
        self.lose(&lost);
        self.health.fail(generation, wall, error);
    }

    /// For the notes.
    fn remember(&mut self, note: Note) {
        self.notes.retain(|other| other.segment != note.segment);
        self.notes.push(note);
    }

    fn lose(&mut self, lost: &Unflushed) {
        let mut drops = lost.drops;
        drops.add(DropCause::StorageError, lost.packets);
        self.health.lose(lost.packets, &drops, &lost.left_out);
    }

    fn seal(&mut self, seal: &mut Seal) {
        let ours = matches!(&self.tables, Some((number, tables))
            if *number == seal.segment && tables.header.generation == seal.generation);
        if ours {
            match self.write_tail(seal) {
                Ok(()) => {}
                Err(error) if self.has_gone(&error) => {
                    self.go_away(seal.generation, seal.now.wall, &error);
                }
                Err(error) => self.fail(seal.generation, seal.now.wall, &error),
            }
        }
        if let Some(flows) = &mut seal.flows {
            flows.rest();
        }
        if !self.is_away() {
            self.upkeep(seal.now);
        }
    }

    fn write_tail(&mut self, seal: &mut Seal) -> Result<(), VolumeError> {
        self.flush(Area::Segment(seal.segment))?;
        let Some((number, tables)) = self.tables.take() else { return Ok(()) };
        let mut tail = TailBuf::new(self.volume.geometry().segment_bytes);
        let sealed = tail::seal(&tables, seal.flows.as_deref_mut(), seal.now, &mut tail);
        sealed.write(&mut self.volume, number, &tail)?;
        drop(tail);
        self.health.segments_sealed.fetch_add(1, Relaxed);
        if !sealed.page.summary.has_flows {
            self.health.segments_without_flows.fetch_add(1, Relaxed);
        }
        self.chain = sealed.page.summary.chain;
        self.remember(note(number, &tables, Kept::Sealed));
        self.pending.add(sealed.catalog_entry(number));
        Ok(())
    }

    /// What is not urgent. Failures cost nothing but a rebuild: the tails and the next mount have it all.
    fn upkeep(&mut self, now: Reading) {
        if self.pending.is_due() {
            self.write_catalog();
        }
        if now.monotonic_nanos.saturating_sub(self.state_written) >= STATE_INTERVAL_NANOS {
            self.state_written = now.monotonic_nanos;
            self.write_state();
        }
        if self.notes_written == 0
            || now.monotonic_nanos.saturating_sub(self.notes_written) >= NOTES_INTERVAL_NANOS
        {
            self.notes_written = now.monotonic_nanos.max(1);
            self.write_notes(now);
        }
    }

    fn write_catalog(&mut self) {
        if let Err(error) = self.pending.write(&mut self.volume) {
            log::warn!("the catalog waits for the next start: {error}");
        }
    }

    /// With the odometer as it is after this write.
    fn write_state(&mut self) {
        self.state.wear = self.volume.meter.wear_after(self.volume.request_bytes(Area::State, SLOT_BYTES));
        if let Err(error) = self.state.store(&mut self.volume) {
            log::warn!("the state could not be written: {error}");
        }
    }

    fn empty(&mut self, segment: u32, chunk: u32) -> Result<(), StoreError> {
        if chunk == 0 {
            self.notes.retain(|note| note.segment != segment);
            catalog::erase(&mut self.volume, segment)?;
        }
        emptying::empty_chunk(&mut self.volume, segment, chunk)
    }

    /// Into both slots, so that no single one can lose it.
    fn keep(&mut self, keep: Keep) -> Result<(), String> {
        let before = std::mem::replace(&mut self.state.keep, keep);
        self.state.wear = *self.volume.meter.wear();
        let written = self.state.store_twice(&mut self.volume);
        if written.is_err() {
            self.state.keep = before;
        }
        written.map_err(|error| error.to_string())
    }

    fn write_notes(&mut self, now: Reading) {
        let open = self.tables.as_ref().map(|(number, tables)| note(*number, tables, Kept::Open));
        let mut notes: Vec<Note> = self.notes.iter().copied().chain(open).collect();
        let text = notes::text(now.wall, self.volume.geometry().segments, &mut notes);
        self.volume.note_contents(&text);
    }

    /// Leaves the index of the open segment for readers. Behind the catalog, whose filter slot it uses.
    fn write_provisional(&mut self, flows: &mut Indexer) {
        let Some((number, tables)) = &self.tables else { return };
        let (epoch, volume) = (self.state.epoch, &mut self.volume);
        let mut tail = TailBuf::new(volume.geometry().segment_bytes);
        if let Err(error) = provisional::write(volume, *number, tables, flows, epoch, &mut tail) {
            log::warn!("the open segment has no provisional index: {error}");
        }
    }

    fn close(&mut self, now: Reading, flows: Option<Box<Indexer>>) {
        if !self.look(now.wall) {
            return;
        }
        let open = self.tables.as_ref().map(|(number, tables)| (*number, tables.header.generation));
        if let Some((number, generation)) = open {
            if let Err(error) = self.flush(Area::Segment(number)) {
                self.fail(generation, now.wall, &error);
            }
        }
        if !self.pending.is_empty() {
            self.write_catalog();
        }
        if let Some(mut flows) = flows {
            self.write_provisional(&mut flows);
        }
        self.state.clean = self.health.failing_since().is_none();
        self.write_notes(now);
        self.write_state();
    }
}

/// How far the ring has come with this segment, bytes since the store was made.
pub(crate) fn ring_bytes(tables: &SegmentTables) -> u64 {
    (tables.header.generation - 1) * u64::from(tables.header.segment_bytes) + u64::from(tables.end)
}

fn note(segment: u32, tables: &SegmentTables, kept: Kept) -> Note {
    let (generation, times, packets) = (tables.header.generation, tables.times, tables.packets);
    Note { segment, generation, times, packets, kept }
}

impl Unflushed {
    fn of(batch: &Batch) -> Self {
        let packets = batch.commit.packets.into();
        let Batch { captured_bytes, savefile_bytes, .. } = *batch;
        let (drops, left_out) = (batch.commit.drops, batch.commit.left_out);
        Self { batches: 1, packets, captured_bytes, savefile_bytes, drops, left_out }
    }

    fn add(&mut self, other: &Self) {
        self.batches += other.batches;
        self.packets += other.packets;
        self.captured_bytes += other.captured_bytes;
        self.savefile_bytes += other.savefile_bytes;
        self.drops = self.drops.plus(&other.drops);
        self.left_out = self.left_out.plus(&other.left_out);
    }

    /// Without a part of it.
    fn without(&self, part: &Self) -> Self {
        Self {
            batches: self.batches.saturating_sub(part.batches),
            packets: self.packets.saturating_sub(part.packets),
            captured_bytes: self.captured_bytes.saturating_sub(part.captured_bytes),
            savefile_bytes: self.savefile_bytes.saturating_sub(part.savefile_bytes),
            drops: self.drops.since(&part.drops),
            left_out: self.left_out.since(&part.left_out),
        }
    }
}

const _: () = assert!(PAGE_BYTES as usize == hindcap_wire::ledger::SummaryPage::BYTES);
