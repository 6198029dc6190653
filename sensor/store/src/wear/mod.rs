//! Wear: what has gone to the medium, what it can take, how long it lasts, and what is done about it.
//!
//! - [`Odometer`] and [`Latencies`] count where the store hands bytes to its volume; [`Days`] keeps a sample a day. The event
//!   ring on the same medium is counted with it ([`Beside`]).
//! - [`Age`] is time in service; [`forecast()`] looks ahead; [`BudgetState`] steps the cutoff. All three are pure.
//!
//! [`Wear`] lives in the state slot and is written only when that is: it costs the medium nothing.

mod age;
mod beside;
pub mod budget;
mod days;
mod forecast;
mod latency;
mod meter;
mod odometer;

use serde::{Deserialize, Serialize};

pub use age::Age;
pub use beside::{Beside, Totals};
pub use budget::{BudgetState, Step};
pub use days::{DAYS_MAX, Day, Days};
pub use forecast::{Forecast, Plan, UsedBy, forecast};
pub use latency::{BUCKETS, Latencies};
pub use odometer::Odometer;

pub(crate) use meter::Meter;

/// The part of a state slot that is ours, at most.
pub const WEAR_BYTES_MAX: usize = 1536;

/// Reads a monotonic clock, nanoseconds. Simulations have none: they measure nothing.
pub type Stopwatch = fn() -> u64;

/// What is kept across restarts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wear {
    /// Totals.
    pub odometer: Odometer,
    /// Time in service.
    pub age: Age,
    /// Age at the last write or flush that failed; `None` when none ever did.
    pub failed_secs: Option<u64>,
    /// A sample a day.
    pub days: Days,
    /// The budget controller.
    pub budget: BudgetState,
    /// How far the ring had come, bytes since the store was made: what a crash took from the odometer is the difference.
    pub ring_bytes: u64,
    /// What the medium can take, as the last recorder was told: whoever looks without a configuration forecasts by it.
    pub plan: Option<Plan>,
    /// What of the event ring is in the odometer.
    pub beside: Beside,
}

/// How wear is watched.
#[derive(Clone, Copy, Debug, Default)]
pub struct WearOptions {
    /// Measures writes and flushes.
    pub stopwatch: Option<Stopwatch>,
    /// What the medium can take; `None`: not known, or the budget is not to be enforced.
    pub plan: Option<Plan>,
}

#[cfg(test)]
mod tests {
    use hindcap_wire::message::EnduranceSource;

    use super::*;

    #[test]
    fn the_part_in_the_state_slot_is_bounded() {
        let mut wear = Wear::default();
        for _ in 0..DAYS_MAX {
            let (written_bytes, captured_bytes) = (u64::MAX, u64::MAX);
            wear.days.push(Day {
                age_secs: u32::MAX,
                written_bytes,
                captured_bytes,
                write_p99_micros: u32::MAX,
            });
        }
        wear.budget = BudgetState::longest();
        wear.plan = Some(Plan {
            endurance_bytes: u64::MAX,
            source: EnduranceSource::Assumed,
            life_secs: u64::MAX,
            write_amplification_permille: u32::MAX,
            enforced: true,
        });
        let Odometer { write_latency, flush_latency, .. } = &mut wear.odometer;
        (*write_latency, *flush_latency) = (Latencies::longest(), Latencies::longest());
        let numbers = postcard::to_allocvec(&wear).unwrap().len();
        // Six counters, the age, the failure, the ring, the ring beside and its five counters: numbers of one byte here and of
        // ten at most.
        let longest = numbers + 15 * 9 + 1;
        assert!(longest <= WEAR_BYTES_MAX, "{longest} bytes");
    }
}
