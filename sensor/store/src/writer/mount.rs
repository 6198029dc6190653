//! A medium that goes and comes: noticing that it is away, and taking into use what is at its place later.
//!
//! A mount is what a start does: recovery, a new epoch. What comes back may be the same store, another one (a card was
//! swapped), or nothing that can be recorded to; the last is left untouched and looked at again.

use std::path::Path;
use std::sync::atomic::Ordering::Release;

use hindcap_wire::ledger::{EventKind, NO_CHAIN};
use hindcap_wire::packet::Interface;
use hindcap_wire::time::Timestamp;

use super::Writer;
use crate::Reading;
use crate::catalog;
use crate::holds::Keep;
use crate::index::Indexer;
use crate::medium::{Swapped, Trouble, has_gone};
use crate::recovery::{Newest, new_indexer, recover};
use crate::ring::Ring;
use crate::state::{SLOT_BYTES, State};
use crate::store::load_from;
use crate::volume::{Area, VolumeError, VolumeRead, VolumeWrite};
use crate::wear::Meter;
use crate::writer::notes::Note;
use crate::writer::tables::SegmentTables;

/// Indexes that a recorder works with: one for the open segment, one for the segment that is being sealed.
pub(crate) const INDEXERS: usize = 2;
/// Segments in a row that cannot be written although the medium can be read: it is at its end of life.
const FAILURES_AT_END_OF_LIFE: u32 = 3;

/// What the recorder lends for a mount, and what it gets back.
#[derive(Debug)]
pub(crate) struct Mount {
    pub now: Reading,
    /// As many as the recorder has; the missing ones are made.
    pub indexers: heapless::Vec<Box<Indexer>, INDEXERS>,
    /// `None`: there is nothing to record to.
    pub mounted: Option<Mounted>,
}

/// A store that is ready to be recorded to.
#[derive(Debug)]
pub(crate) struct Mounted {
    pub ring: Ring,
    /// The open segment.
    pub open: Option<Resumed>,
    /// It knows the open segment; fresh when there is none.
    pub indexer: Box<Indexer>,
    pub epoch: u32,
    pub segment_bytes: u32,
    /// Generation of the newest segment, and its last whole batch.
    pub newest: Option<(u64, Newest)>,
    /// Not the store that was recorded to before.
    pub other: bool,
    /// It had not been left in order.
    pub unclean: bool,
    /// The end of its open segment was gone, although it had been left in order.
    pub lost: Option<EventKind>,
    /// Its holds.
    pub keep: Keep,
    /// What its segments hold.
    pub notes: Vec<Note>,
}

/// Where recording goes on in the open segment.
#[derive(Debug)]
pub(crate) struct Resumed {
    pub number: u32,
    pub generation: u64,
    pub end: u32,
    /// Of the next batch.
    pub sequence: u32,
    pub times: (Timestamp, Timestamp),
    pub packets: u64,
    pub captured_bytes: u64,
    pub interfaces: Vec<Interface>,
}

impl Resumed {
    fn of(number: u32, tables: &SegmentTables, sequence: u32) -> Self {
        let SegmentTables { end, times, packets, captured_bytes, .. } = *tables;
        let (generation, interfaces) = (tables.header.generation, tables.interfaces.clone());
        Self { number, generation, end, sequence, times, packets, captured_bytes, interfaces }
    }
}

impl Mount {
    pub(crate) const fn new(now: Reading) -> Self {
        Self { now, indexers: heapless::Vec::new(), mounted: None }
    }
}

impl<V: VolumeWrite> Writer<V> {
    pub(super) fn is_away(&self) -> bool {
        self.health.away.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Whether the medium is there, as far as its place tells.
    pub(super) fn look(&mut self, wall: Timestamp) -> bool {
        if self.is_away() {
            return false;
        }
        let there = self.volume.is_there(false);
        if let Err(error) = &there {
            let generation = self.tables.as_ref().map_or(0, |(_, tables)| tables.header.generation);
            self.go_away(generation, wall, error);
        }
        there.is_ok()
    }

    /// Whether an operation failed because the medium is away, not because of what was asked of it.
    pub(super) fn has_gone(&self, error: &VolumeError) -> bool {
        has_gone(error) || self.volume.is_there(true).is_err()
    }

    /// The medium is away. What was written and not yet durable is lost, unless the recorder still has it.
    pub(super) fn go_away(&mut self, generation: u64, wall: Timestamp, error: &VolumeError) {
        log::error!("the medium is away: {error}");
        self.tables = None;
        self.chain = NO_CHAIN;
        let lost = std::mem::take(&mut self.unflushed);
        self.lose(&lost);
        self.health.fail(generation, wall, error);
        let trouble = if has_gone(error) { Trouble::Missing } else { Trouble::of_volume(error) };
        self.health.medium_fails(trouble, wall, error);
        self.health.away.store(true, Release);
    }

    /// A segment failed on a medium that is there: says so once a person should know more than that.
    pub(super) fn judge(&mut self, wall: Timestamp, error: &VolumeError) {
        let full = matches!(error, VolumeError::Io { source, .. }
            if source.kind() == std::io::ErrorKind::StorageFull);
        match Trouble::of_volume(error) {
            Trouble::ReadOnly => self.health.medium_fails(Trouble::ReadOnly, wall, error),
            _ if self.failures < FAILURES_AT_END_OF_LIFE => {}
            _ if full => self.health.medium_fails(Trouble::Failing, wall, error),
            // It can be read: `has_gone` has just done so.
            _ => self.health.medium_fails(Trouble::ReadOnly, wall, error),
        }
    }

    /// The first mount, of a store that was opened; `None` when its medium is not there.
    pub(crate) fn start(
        &mut self,
        now: Reading,
        indexers: &mut heapless::Vec<Box<Indexer>, INDEXERS>,
    ) -> Option<Mounted> {
        if let Err(error) = self.volume.is_there(false) {
            if self.health.medium().is_none() {
                self.health.medium_fails(Trouble::of_volume(&error), now.wall, &error);
            }
            self.health.fail(0, now.wall, &error);
            self.health.away.store(true, Release);
            return None;
        }
        let mounted = self.begin_mount(self.state.clone(), now, indexers);
        self.health.medium_works(Some(now.wall));
        // Not the recorder's doing.
        self.volume.meter.take();
        Some(mounted)
    }

    /// Opens what is at the medium's place now and takes it into use, if it is a store that can be written.
    pub(super) fn mount(&mut self, mount: &mut Mount) {
        match self.reopened() {
            Ok(state) => {
                log::info!("the medium is back");
                mount.mounted = Some(self.begin_mount(state, mount.now, &mut mount.indexers));
                self.health.medium_works(Some(mount.now.wall));
                self.health.recover();
            }
            Err((trouble, detail)) => {
                self.health.medium_fails(trouble, mount.now.wall, &detail);
                self.health.away.store(true, Release);
            }
        }
    }

    /// The state of the store that is there now, after a first write to it.
    fn reopened(&mut self) -> Result<State, (Trouble, String)> {
        let failed = |error: &crate::StoreError| (Trouble::of(error), error.to_string());
        self.volume.reopen().map_err(|error| failed(&error))?;
        let (mut state, lost) = load_from(&self.volume, Path::new("")).map_err(|error| failed(&error))?;
        if lost {
            log::warn!("the state is damaged; begun anew, holds are lost");
            self.health.lose_holds();
        }
        // What can be read but not written is not mounted: recovery is long, and would be for nothing.
        state.store(&mut self.volume).map_err(|error| {
            let trouble = match Trouble::of_volume(&error) {
                _ if self.has_gone(&error) => Trouble::Missing,
                Trouble::Denied => Trouble::Denied,
                _ => Trouble::ReadOnly,
            };
            (trouble, error.to_string())
        })?;
        Ok(state)
    }

    /// Takes the store into use whose state was read, as far as the medium gets it.
    pub(crate) fn begin_mount(
        &mut self,
        mut state: State,
        now: Reading,
        indexers: &mut heapless::Vec<Box<Indexer>, INDEXERS>,
    ) -> Mounted {
        let segment_bytes = self.volume.geometry().segment_bytes;
        let other = !self.mounted || self.state.uuid != state.uuid;
        if self.mounted {
            self.follow(&mut state, now.wall, other);
        }
        if other {
            // What was told is of another medium.
            self.health.set_beside(None);
            self.volume.meter = Meter::new(state.wear, self.wear.stopwatch, now);
        }
        if !self.mounted || self.state.segment_bytes != segment_bytes {
            indexers.clear();
        }
        let mut indexer = indexers.pop().unwrap_or_else(|| new_indexer(&self.volume, &state));
        indexer.reset();
        if indexers.is_empty() && self.indexers > 1 {
            indexers.push(new_indexer(&self.volume, &state)).expect("one of two");
        }
        let found = recover(&mut self.volume, &state, self.hash_chain, &mut indexer);
        self.volume.meter.recovered(found.ring_bytes);
        let unclean = !state.clean;
        state.epoch = found.epoch + 1;
        state.clean = false;
        if let Some(policy) = self.keep_policy {
            state.keep.policy = policy;
        }
        self.health.begin_mount();
        state.wear = self.volume.meter.wear_after(self.volume.request_bytes(Area::State, SLOT_BYTES));
        // A medium that cannot be written now may be writable later: recording starts all the same, and says so.
        if let Err(error) = state.store(&mut self.volume) {
            self.health.fail(0, now.wall, &error);
        }
        self.health.set_wear(self.volume.meter.wear());
        let open = found.open.as_ref().map(|(number, tables)| Resumed::of(*number, tables, found.sequence));
        let epoch = state.epoch;
        (self.state, self.mounted, self.failures) = (state, true, 0);
        (self.tables, self.chain, self.notes) = (found.open, found.chain, found.notes);
        self.pending = catalog::Pending::new();
        (self.state_written, self.notes_written) = (now.monotonic_nanos, 0);
        let (ring, newest, lost) = (found.ring, found.newest, found.lost);
        let (keep, notes) = (self.state.keep.clone(), self.notes.clone());
        Mounted { ring, open, indexer, epoch, segment_bytes, newest, other, unclean, lost, keep, notes }
    }

    /// A store comes after another, or after itself.
    fn follow(&self, state: &mut State, wall: Timestamp, other: bool) {
        if !other {
            state.wear = *self.volume.meter.wear();
            return;
        }
        let name = |uuid: &[u8; 16]| uuid.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        log::warn!("another card is in use: store {} after {}", name(&state.uuid), name(&self.state.uuid));
        self.health.swap(Swapped { at: wall, before: self.state.uuid, now: state.uuid });
    }
}
