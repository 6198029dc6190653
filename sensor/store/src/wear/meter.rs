//! Counts and decides while a recorder writes: the running side of [`Wear`].

use hindcap_wire::time::NANOS_PER_SEC;

use super::age::AgeClock;
use super::budget::Change;
use super::{Beside, Day, Latencies, Plan, Stopwatch, Totals, Wear};
use crate::Reading;

/// Fewer writes a day than this say nothing about the medium's latency.
const WRITES_A_DAY_MIN: u64 = 50;
/// The budget is looked at so often.
const LOOK_NANOS: u64 = 60 * NANOS_PER_SEC;

/// See the module.
#[derive(Debug)]
pub(crate) struct Meter {
    wear: Wear,
    stopwatch: Option<Stopwatch>,
    clock: AgeClock,
    /// Writes of this day of service, or since the start.
    today: Latencies,
    looked: Option<u64>,
    /// Bytes handed over since the last [`Meter::take`].
    bytes: u64,
}

impl Meter {
    pub(crate) const fn new(wear: Wear, stopwatch: Option<Stopwatch>, now: Reading) -> Self {
        let clock = AgeClock::new(wear.age, now);
        Self { wear, stopwatch, clock, today: Latencies::EMPTY, looked: None, bytes: 0 }
    }

    pub(crate) const fn wear(&self) -> &Wear {
        &self.wear
    }

    /// What there will be to tell when a state of so many bytes has been written and flushed.
    pub(crate) fn wear_after(&self, bytes: u64) -> Wear {
        let mut wear = self.wear;
        wear.odometer.wrote(bytes);
        wear.odometer.flushes += 1;
        wear
    }

    pub(crate) const fn stopwatch(&self) -> Option<Stopwatch> {
        self.stopwatch
    }

    /// Bytes handed over since the last call.
    pub(crate) const fn take(&mut self) -> u64 {
        std::mem::replace(&mut self.bytes, 0)
    }

    /// A write request of `bytes`, which took so long, where that was measured.
    pub(crate) fn wrote(&mut self, bytes: u64, nanos: Option<u64>, whole: bool) {
        self.bytes += bytes;
        self.wear.odometer.wrote(bytes);
        if let Some(nanos) = nanos {
            self.wear.odometer.write_latency.add(nanos);
            self.today.add(nanos);
        }
        self.ended(whole);
    }

    pub(crate) fn flushed(&mut self, nanos: Option<u64>, whole: bool) {
        self.wear.odometer.flushes += 1;
        if let Some(nanos) = nanos {
            self.wear.odometer.flush_latency.add(nanos);
        }
        self.ended(whole);
    }

    fn ended(&mut self, whole: bool) {
        if !whole {
            self.wear.odometer.errors += 1;
            self.wear.failed_secs = Some(self.wear.age.secs);
        }
    }

    /// Counts what went to the same medium beside this ring: by what the event ring tells of itself, and by the list of pins.
    pub(crate) fn beside(&mut self, ring: Option<&Beside>, list: &Totals) {
        let mut news = *list;
        if let Some(told) = ring {
            news = news.plus(self.wear.beside.news(told));
        }
        if news.errors > 0 {
            self.wear.failed_secs = Some(self.wear.age.secs);
        }
        self.wear.odometer.add(&news);
    }

    /// So many captured bytes are durable, and the ring has come so far.
    pub(crate) const fn durable(&mut self, captured_bytes: u64, ring_bytes: u64) {
        self.wear.odometer.captured_bytes += captured_bytes;
        self.wear.ring_bytes = ring_bytes;
    }

    /// The ring is found this far: what the state before did not tell was written after it, by a recorder that ended
    /// without an end. Its requests and latencies are lost, its bytes are not.
    pub(crate) fn recovered(&mut self, ring_bytes: u64) {
        let lost = ring_bytes.saturating_sub(self.wear.ring_bytes);
        self.wear.odometer.written_bytes = self.wear.odometer.written_bytes.saturating_add(lost);
        self.wear.ring_bytes = ring_bytes;
    }

    /// Lets time pass; tells of a step of the budget. `plan` is what the medium can take, `used_permille` what its
    /// registers say.
    pub(crate) fn tick(
        &mut self,
        now: Reading,
        plan: Option<Plan>,
        used_permille: Option<u32>,
    ) -> Option<Change> {
        self.wear.plan = plan;
        self.wear.age = self.clock.advance(now);
        let age = self.wear.age.secs;
        if self.wear.days.is_due(age) {
            self.sample(age);
        }
        let due = self.looked.is_none_or(|looked| now.monotonic_nanos.saturating_sub(looked) >= LOOK_NANOS);
        if !due {
            return None;
        }
        self.looked = Some(now.monotonic_nanos);
        let plan = plan.filter(|plan| plan.enforced)?;
        self.wear.budget.advance(age, self.wear.odometer.written_bytes, &plan, used_permille)
    }

    fn sample(&mut self, age: u64) {
        let today = std::mem::replace(&mut self.today, Latencies::EMPTY);
        let p99 = today.quantile_micros(990).filter(|_| today.count() >= WRITES_A_DAY_MIN);
        self.wear.days.push(Day {
            age_secs: u32::try_from(age).unwrap_or(u32::MAX),
            written_bytes: self.wear.odometer.written_bytes,
            captured_bytes: self.wear.odometer.captured_bytes,
            write_p99_micros: p99.unwrap_or(0),
        });
    }
}

#[cfg(test)]
mod tests {
    use hindcap_wire::message::EnduranceSource;
    use hindcap_wire::time::{ClockState, Timestamp};

    use super::*;

    fn at(secs: u64) -> Reading {
        let wall = Timestamp((1_800_000_000 + secs) * NANOS_PER_SEC);
        Reading { wall, monotonic_nanos: secs * NANOS_PER_SEC, clock: ClockState::Synchronised }
    }

    #[test]
    fn a_plan_that_is_not_enforced_only_forecasts() {
        for (enforced, steps) in [(true, 3..=5), (false, 0..=0)] {
            let plan = Plan {
                endurance_bytes: 1 << 40,
                source: EnduranceSource::Assumed,
                life_secs: 1 << 27,
                write_amplification_permille: 1_050,
                enforced,
            };
            let mut meter = Meter::new(Wear::default(), None, at(0));
            let taken = (1..=60).filter(|minute| {
                meter.wrote(1 << 30, None, true);
                meter.tick(at(minute * 60), Some(plan), None).is_some()
            });
            assert!(steps.contains(&taken.count()), "far more is written than the plan allows");
            assert_eq!(meter.wear().plan, Some(plan), "it is kept for those who forecast");
        }
    }
}
