//! What the recorder shares with whoever watches it: plain counters, written by one side, read by any thread.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use hindcap_wire::drops::{DropCause, DropCounts};
use hindcap_wire::policy::LeftOut;
use hindcap_wire::time::Timestamp;

use crate::medium::{MediumTrouble, Swapped, Trouble};
use crate::wear::{Beside, Plan, Totals, Wear};

/// Counters and the state of storage. All figures are totals since the recorder was made.
#[derive(Debug, Default)]
pub struct Health {
    /// Packets put into batches.
    pub(crate) packets_recorded: AtomicU64,
    /// Packets in batches that are durable.
    pub(crate) packets_acked: AtomicU64,
    /// Packets in batches that were lost to storage errors.
    pub(crate) packets_lost: AtomicU64,
    /// Captured bytes (sum of caplen) in durable batches.
    pub(crate) captured_bytes_acked: AtomicU64,
    /// Bytes that a plain savefile of the packets in durable batches has.
    pub(crate) savefile_bytes_acked: AtomicU64,
    /// Batches durable.
    pub(crate) batches_acked: AtomicU64,
    /// Bytes handed to the volume, everything included: batches, tails, catalog, state, notes.
    pub(crate) bytes_written: AtomicU64,
    /// Segments sealed.
    pub(crate) segments_sealed: AtomicU64,
    /// Of these, sealed without flow records because no index builder was free.
    pub(crate) segments_without_flows: AtomicU64,
    /// Generation of the newest durable batch.
    pub(crate) acked_generation: AtomicU64,
    /// Its end in the segment, bytes.
    pub(crate) acked_end: AtomicU32,
    /// Generation that failed last; its remaining batches are not written.
    pub(crate) failed_generation: AtomicU64,
    /// Storage operations that failed.
    pub(crate) storage_errors: AtomicU64,
    /// Wall clock of the first failure since the last success, 0 while all is well.
    failing_since: AtomicU64,
    /// Start of an outage that has ended, 0 once the recorder has taken note.
    ended_outage: AtomicU64,
    /// Drops that commits told which were lost, and the packets of these batches; by cause.
    lost_drops: [AtomicU64; DropCause::COUNT],
    /// What policy left out, told by commits that were lost.
    lost_left_out: [AtomicU64; 3],
    /// The state was lost, and the holds with it.
    holds_lost: AtomicBool,
    /// Packets that the recorder could not keep: no buffer, no storage, impossible records; by cause. Those of
    /// `packets_lost` are not among them.
    dropped: [AtomicU64; DropCause::COUNT],
    /// Packets that wait in memory until storage takes them again.
    pub(crate) packets_kept: AtomicU64,
    /// The medium is away: nothing is written before it has been mounted again.
    pub(crate) away: AtomicBool,
    /// What the medium's registers say of the life used, thousandths and 1 more; 0: nothing.
    used: AtomicU32,
    /// What the medium can take, where that was told after the start.
    plan: Mutex<Option<Plan>>,
    wear: Mutex<Wear>,
    /// What the event ring has counted, and what was written to the list of pins and is not counted yet.
    beside: Mutex<(Option<Beside>, Totals)>,
    message: Mutex<Option<String>>,
    medium: Mutex<Option<MediumTrouble>>,
    swapped: Mutex<Option<Swapped>>,
    /// Since when the medium is recorded to; 0: nobody knows.
    present_since: AtomicU64,
    warning: Mutex<Option<String>>,
    /// Why the segment that was to be emptied last could not be.
    emptying_fails: Mutex<Option<(Timestamp, String)>>,
}

/// [`Health`] at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealthSnapshot {
    /// Packets put into batches.
    pub packets_recorded: u64,
    /// Packets in durable batches.
    pub packets_acked: u64,
    /// Packets in batches that storage lost.
    pub packets_lost: u64,
    /// Captured bytes in durable batches.
    pub captured_bytes_acked: u64,
    /// Bytes that a plain pcapng savefile of these packets has: section headers, interfaces, packet blocks.
    pub savefile_bytes_acked: u64,
    /// Durable batches.
    pub batches_acked: u64,
    /// Bytes handed to the volume.
    pub bytes_written: u64,
    /// Segments sealed.
    pub segments_sealed: u64,
    /// Segments sealed without flow records.
    pub segments_without_flows: u64,
    /// (generation, end of its last durable batch).
    pub acked: (u64, u32),
    /// Storage operations that failed.
    pub storage_errors: u64,
    /// Since when storage has been failing, and how; `None` while all is well.
    pub failing: Option<(Timestamp, String)>,
    /// Both copies of the state were damaged when the store was opened: nothing is held any more.
    pub holds_lost: bool,
    /// Packets that the recorder dropped because there was no buffer, no storage, or a record was impossible, by cause;
    /// those of `packets_lost` come on top.
    pub dropped: DropCounts,
    /// Packets that wait in memory until storage takes them again.
    pub packets_kept: u64,
    /// Why the medium is not recorded to; `None` while it is.
    pub medium: Option<MediumTrouble>,
    /// Since when it is, or was before it was in trouble; `None` when nobody knows.
    pub present_since: Option<Timestamp>,
    /// The last time that another card was found in the place of the one before.
    pub swapped: Option<Swapped>,
    /// What has gone to the medium since the store was made.
    pub wear: Wear,
    /// Something a person should know although recording works, such as a ring smaller than asked for.
    pub warning: Option<String>,
    /// Since when segments that have passed the maximum age cannot be emptied, and why; `None` while they can.
    pub emptying_fails: Option<(Timestamp, String)>,
}

impl HealthSnapshot {
    /// Bytes handed to the volume per byte of savefile: what the ring, its index and its checks cost the medium. `None`
    /// before anything is durable.
    #[must_use]
    pub fn bytes_written_per_savefile_byte(&self) -> Option<f64> {
        let savefile = self.savefile_bytes_acked;
        (savefile > 0).then(|| self.bytes_written as f64 / savefile as f64)
    }
}

impl Health {
    /// Everything, read counter by counter.
    #[must_use]
    pub fn snapshot(&self) -> HealthSnapshot {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let since = self.failing_since.load(Ordering::Acquire);
        HealthSnapshot {
            packets_recorded: get(&self.packets_recorded),
            packets_acked: get(&self.packets_acked),
            packets_lost: get(&self.packets_lost),
            captured_bytes_acked: get(&self.captured_bytes_acked),
            savefile_bytes_acked: get(&self.savefile_bytes_acked),
            batches_acked: get(&self.batches_acked),
            bytes_written: get(&self.bytes_written),
            segments_sealed: get(&self.segments_sealed),
            segments_without_flows: get(&self.segments_without_flows),
            acked: (get(&self.acked_generation), self.acked_end.load(Ordering::Relaxed)),
            storage_errors: get(&self.storage_errors),
            failing: (since != 0).then(|| (Timestamp(since), text(&self.message).unwrap_or_default())),
            holds_lost: self.holds_lost.load(Ordering::Relaxed),
            dropped: DropCounts(std::array::from_fn(|cause| get(&self.dropped[cause]))),
            packets_kept: get(&self.packets_kept),
            medium: text(&self.medium),
            present_since: Some(get(&self.present_since)).filter(|at| *at != 0).map(Timestamp),
            swapped: text(&self.swapped),
            wear: *self.wear.lock().unwrap_or_else(PoisonError::into_inner),
            warning: text(&self.warning),
            emptying_fails: text(&self.emptying_fails),
        }
    }

    /// What the medium's registers say of the life used, thousandths.
    #[must_use]
    pub fn used_permille(&self) -> Option<u32> {
        self.used.load(Ordering::Relaxed).checked_sub(1)
    }

    /// Tells the write budget what the medium's registers say.
    pub fn set_used_permille(&self, used: Option<u32>) {
        self.used.store(used.map_or(0, |used| used.saturating_add(1)), Ordering::Relaxed);
    }

    /// What the medium can take, as it was told last.
    #[must_use]
    pub fn plan(&self) -> Option<Plan> {
        text(&self.plan)
    }

    /// Tells what the medium can take, once that is known or when it is another medium.
    pub fn set_plan(&self, plan: Option<Plan>) {
        set(&self.plan, plan);
    }

    /// Tells what the event ring on the same medium has counted; `None` while nobody knows which ring is there.
    pub fn set_beside(&self, ring: Option<Beside>) {
        self.beside.lock().unwrap_or_else(PoisonError::into_inner).0 = ring;
    }

    /// Tells what else was written to the medium.
    pub fn wrote_beside(&self, news: Totals) {
        let mut beside = self.beside.lock().unwrap_or_else(PoisonError::into_inner);
        beside.1 = beside.1.plus(news);
    }

    /// Both, the latter once.
    pub(crate) fn take_beside(&self) -> (Option<Beside>, Totals) {
        let mut beside = self.beside.lock().unwrap_or_else(PoisonError::into_inner);
        (beside.0, std::mem::take(&mut beside.1))
    }

    pub(crate) fn set_wear(&self, wear: &Wear) {
        *self.wear.lock().unwrap_or_else(PoisonError::into_inner) = *wear;
    }

    /// Storage failed at `wall`.
    pub(crate) fn fail(&self, generation: u64, wall: Timestamp, message: &dyn std::fmt::Display) {
        self.storage_errors.fetch_add(1, Ordering::Relaxed);
        set(&self.message, Some(message.to_string()));
        let _ = self.failing_since.compare_exchange(0, wall.0.max(1), Ordering::AcqRel, Ordering::Relaxed);
        self.failed_generation.store(generation, Ordering::Release);
    }

    /// Storage works (again): an outage, if there was one, is over.
    pub(crate) fn recover(&self) {
        if self.failing_since.load(Ordering::Relaxed) != 0 {
            let since = self.failing_since.swap(0, Ordering::AcqRel);
            let _ = self.ended_outage.compare_exchange(0, since, Ordering::AcqRel, Ordering::Relaxed);
        }
    }

    /// The start of an outage that has ended, once.
    pub(crate) fn take_ended_outage(&self) -> Option<Timestamp> {
        if self.ended_outage.load(Ordering::Relaxed) == 0 {
            return None;
        }
        Some(Timestamp(self.ended_outage.swap(0, Ordering::AcqRel)))
    }

    /// A batch is lost: its packets, and the drops and what policy left out, which its commit would have told.
    pub(crate) fn lose(&self, packets: u64, drops: &DropCounts, left_out: &LeftOut) {
        self.packets_lost.fetch_add(packets, Ordering::Relaxed);
        for (total, count) in self.lost_drops.iter().zip(drops.0) {
            total.fetch_add(count, Ordering::Relaxed);
        }
        for (total, count) in self.lost_left_out.iter().zip(left_out.counts()) {
            total.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// What policy left out as [`Health::lose`] was told.
    pub(crate) fn lost_left_out(&self) -> LeftOut {
        LeftOut::of(std::array::from_fn(|at| self.lost_left_out[at].load(Ordering::Relaxed)))
    }

    /// Everything that [`Health::lose`] was told.
    pub(crate) fn lost_drops(&self) -> DropCounts {
        DropCounts(std::array::from_fn(|cause| self.lost_drops[cause].load(Ordering::Relaxed)))
    }

    /// Since when storage has been failing.
    pub(crate) fn failing_since(&self) -> Option<Timestamp> {
        let since = self.failing_since.load(Ordering::Acquire);
        (since != 0).then_some(Timestamp(since))
    }

    /// The state was lost, and the holds with it.
    pub(crate) fn lose_holds(&self) {
        self.holds_lost.store(true, Ordering::Relaxed);
    }

    /// Packets were dropped before they came into a batch.
    pub(crate) fn drop_packets(&self, cause: DropCause, packets: u64) {
        self.dropped[cause as usize].fetch_add(packets, Ordering::Relaxed);
    }

    /// The medium is not recorded to, since `at` or longer.
    pub(crate) fn medium_fails(&self, trouble: Trouble, at: Timestamp, detail: &dyn std::fmt::Display) {
        let before = text(&self.medium);
        let detail = detail.to_string();
        if before.as_ref().is_none_or(|before| before.trouble != trouble) {
            log::error!("{trouble}: {detail}; {}", trouble.advice());
        }
        let since = before.map_or(at, |before| before.since);
        set(&self.medium, Some(MediumTrouble { trouble, since, detail }));
    }

    /// The medium is recorded to, since `at` where that is known.
    pub(crate) fn medium_works(&self, at: Option<Timestamp>) {
        if at.is_some() || self.medium().is_some() {
            self.present_since.store(at.map_or(0, |at| at.0.max(1)), Ordering::Relaxed);
        }
        set(&self.medium, None);
    }

    /// Whether the medium was in trouble when last looked at.
    pub(crate) fn medium(&self) -> Option<MediumTrouble> {
        text(&self.medium)
    }

    /// Another store is in use from now on.
    pub(crate) fn swap(&self, swapped: Swapped) {
        set(&self.swapped, Some(swapped));
    }

    /// A mount begins to count generations anew.
    pub(crate) fn begin_mount(&self) {
        self.failed_generation.store(0, Ordering::Release);
        self.acked_generation.store(0, Ordering::Release);
        self.away.store(false, Ordering::Release);
    }

    /// A segment that has passed the maximum age could, or could not, be emptied at `wall`.
    pub(crate) fn emptied(&self, wall: Timestamp, failed: Option<String>) {
        let since = text(&self.emptying_fails).map_or(wall, |(since, _)| since);
        set(&self.emptying_fails, failed.map(|why| (since, why)));
    }

    pub(crate) fn warn(&self, warning: String) {
        log::warn!("{warning}");
        set(&self.warning, Some(warning));
    }
}

fn text<T: Clone>(slot: &Mutex<Option<T>>) -> Option<T> {
    slot.lock().map_or_else(|poisoned| poisoned.into_inner().clone(), |guard| guard.clone())
}

fn set<T>(slot: &Mutex<Option<T>>, value: Option<T>) {
    match slot.lock() {
        Ok(mut guard) => *guard = value,
        Err(poisoned) => *poisoned.into_inner() = value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_dates_an_outage() {
        let health = Health::default();
        health.fail(3, Timestamp(50), &"EIO");
        health.fail(4, Timestamp(60), &"ENOSPC");
        let snapshot = health.snapshot();
        assert_eq!(snapshot.failing, Some((Timestamp(50), String::from("ENOSPC"))));
        health.recover();
        health.recover();
        assert_eq!(snapshot.storage_errors, 2);
        assert_eq!((health.take_ended_outage(), health.take_ended_outage()), (Some(Timestamp(50)), None));
        assert_eq!(health.snapshot().failing, None);
    }
}
