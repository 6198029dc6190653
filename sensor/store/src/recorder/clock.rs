//! The recorder's sense of time, and its account of what was lost.

use hindcap_wire::drops::{DropCause, DropCounts};
use hindcap_wire::ledger::EventKind;
use hindcap_wire::policy::LeftOut;
use hindcap_wire::time::NANOS_PER_SEC;

use crate::Reading;

/// A wall clock that moves so much against the monotonic one has been set.
const STEP_NANOS: u64 = 2 * NANOS_PER_SEC;
/// Waiting after the second failure in a row, and at most: storage that is away is tried again, but not hammered.
const BACK_OFF_NANOS: u64 = NANOS_PER_SEC / 10;
const BACK_OFF_NANOS_MAX: u64 = 10 * NANOS_PER_SEC;
/// A medium that is away is looked for so often: a card is back in use a few seconds after it was put in.
const LOOK_FOR_NANOS: u64 = 3 * NANOS_PER_SEC;
/// A medium that is there is looked at so often, in case that nothing is written.
const LOOK_AT_NANOS: u64 = 2 * NANOS_PER_SEC;

/// See the module.
#[derive(Debug)]
pub(super) struct Clock {
    pub now: Reading,
    flush_interval_nanos: u64,
    /// Monotonic time of the last commit, or of the first thing in the open batch.
    since: u64,
    /// Whether anything of the clock changed that a reader should know.
    clock_changed: bool,
    /// Drops counted here: no buffer, no storage, impossible records.
    pub drops: DropCounts,
    /// Drops that the source has counted, over all its lives.
    source: DropCounts,
    /// What it said last.
    source_last: DropCounts,
    /// Of all drops, what commits have told.
    told: DropCounts,
    /// What policy left out, and what of it commits have told.
    pub left_out: LeftOut,
    told_left_out: LeftOut,
    /// Failures in a row.
    failures: u32,
    /// Not before this monotonic time is storage tried again.
    retry_at: u64,
    /// Not before this monotonic time is the medium looked at.
    look_at: u64,
}

impl Clock {
    pub(super) fn new(flush_interval_nanos: u64, now: Reading) -> Self {
        let none = DropCounts::default();
        Self {
            now,
            flush_interval_nanos,
            since: now.monotonic_nanos,
            clock_changed: false,
            drops: none,
            source: none,
            source_last: none,
            told: none,
            left_out: LeftOut::NONE,
            told_left_out: LeftOut::NONE,
            failures: 0,
            retry_at: 0,
            look_at: 0,
        }
    }

    /// Takes the time; tells of a clock step.
    pub(super) fn advance(&mut self, now: Reading, source: DropCounts) -> Option<EventKind> {
        let before = std::mem::replace(&mut self.now, now);
        self.clock_changed |= before.clock != now.clock;
        for (cause, count) in source.0.iter().enumerate() {
            // A source that was opened anew counts from 0 again.
            let news = count.checked_sub(self.source_last.0[cause]).unwrap_or(*count);
            self.source.0[cause] += news;
        }
        self.source_last = source;
        let passed = now.monotonic_nanos.saturating_sub(before.monotonic_nanos);
        let expected = before.wall.plus_nanos(passed);
        let stepped = expected.0.abs_diff(now.wall.0) > STEP_NANOS && before.monotonic_nanos != 0;
        stepped.then_some(EventKind::ClockStep { from: expected, to: now.wall })
    }

    /// What the source said last.
    pub(super) const fn source_drops(&self) -> DropCounts {
        self.source_last
    }

    /// All drops: the source's, our own, and the packets of lost batches.
    pub(super) fn all_drops(&self, packets_lost: u64) -> DropCounts {
        let mut all = self.source.plus(&self.drops);
        all.add(DropCause::StorageError, packets_lost);
        all
    }

    /// What the next commit tells; it counts as told. `lost` is what lost batches had in them and what their commits
    /// would have told: both must be told by another.
    pub(super) fn tell(&mut self, lost: &DropCounts) -> DropCounts {
        let all = self.source.plus(&self.drops).plus(lost);
        let news = all.since(&self.told);
        self.told = all;
        self.clock_changed = false;
        self.since = self.now.monotonic_nanos;
        news
    }

    /// As [`Clock::tell`], of what policy left out.
    pub(super) fn tell_left_out(&mut self, lost: &LeftOut) -> LeftOut {
        let all = self.left_out.plus(lost);
        let news = all.since(&self.told_left_out);
        self.told_left_out = all;
        news
    }

    /// Something came into an empty batch.
    pub(super) fn begin_batch(&mut self) {
        self.since = self.now.monotonic_nanos;
    }

    /// Whether what is in the open batch has waited for nine tenths of the flush interval.
    pub(super) const fn is_nearly_due(&self) -> bool {
        let waited = self.now.monotonic_nanos.saturating_sub(self.since);
        waited >= self.flush_interval_nanos - self.flush_interval_nanos / 10
    }

    /// Whether the open batch, with something in it or not, should be closed now.
    pub(super) fn is_due(&self, filled: bool, lost: &DropCounts, lost_left_out: &LeftOut) -> bool {
        let waited = self.now.monotonic_nanos.saturating_sub(self.since) >= self.flush_interval_nanos;
        let news = self.clock_changed
            || self.source.plus(&self.drops).plus(lost) != self.told
            || self.left_out.plus(lost_left_out) != self.told_left_out;
        waited && (filled || news)
    }

    /// Storage failed (again): when to try the next segment.
    pub(super) fn failed(&mut self) {
        let wait = match self.failures {
            0 => 0,
            n => (BACK_OFF_NANOS << (n - 1).min(16)).min(BACK_OFF_NANOS_MAX),
        };
        self.failures = self.failures.saturating_add(1);
        self.retry_at = self.now.monotonic_nanos.saturating_add(wait);
    }

    /// What a commit told that never reached the medium is told again.
    pub(super) fn untell(&mut self, drops: &DropCounts, left_out: &LeftOut) {
        self.told = self.told.since(drops);
        self.told_left_out = self.told_left_out.since(left_out);
    }

    /// The medium is away (still): when to look for it. At once after it went, for a loose contact.
    pub(super) const fn lost(&mut self) {
        let wait = if self.failures == 0 { 0 } else { LOOK_FOR_NANOS };
        self.failures = self.failures.saturating_add(1);
        self.retry_at = self.now.monotonic_nanos.saturating_add(wait);
    }

    /// Storage is tried now or never.
    pub(super) const fn hurry(&mut self) {
        self.retry_at = 0;
    }

    /// Whether the medium should be looked at, once in a while.
    pub(super) const fn is_time_to_look(&mut self) -> bool {
        let due = self.now.monotonic_nanos >= self.look_at;
        if due {
            self.look_at = self.now.monotonic_nanos.saturating_add(LOOK_AT_NANOS);
        }
        due
    }

    /// Storage works.
    pub(super) const fn worked(&mut self) {
        self.failures = 0;
    }

    /// Whether storage should not be tried yet.
    pub(super) const fn backs_off(&self) -> bool {
        self.failures > 0 && self.now.monotonic_nanos < self.retry_at
    }
}
