//! How old a store is in service, in seconds that no clock step moves.
//!
//! While a recorder runs, its monotonic clock counts. What passed while nothing ran is credited once per start from the
//! wall clock: as soon as that is synchronised, or after an hour in any case (a box without a time server), and only if
//! both times are believable. A wall clock that is set while the recorder runs changes nothing.

use hindcap_wire::time::{ClockState, NANOS_PER_SEC};
use serde::{Deserialize, Serialize};

use crate::Reading;

/// 2023-01-01: what is earlier is the clock of a box that does not know the time.
const BELIEVABLE_SECS: u64 = 1_672_531_200;
/// A longer time switched off is not believed.
const AWAY_SECS_MAX: u64 = 400 * 86_400;
/// A wall clock that nobody synchronises is believed after so long.
const UNSYNCHRONISED_SECS: u64 = 3_600;

/// What is kept across restarts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Age {
    /// Seconds in service, times switched off included.
    pub secs: u64,
    /// What the wall clock showed then, seconds since 1970; 0 when it was not to be believed.
    pub wall_secs: u64,
}

/// Lets an [`Age`] pass.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AgeClock {
    age: Age,
    /// Monotonic time up to which it has passed.
    passed: u64,
    started: u64,
    /// The time switched off has been credited, or there was none.
    credited: bool,
}

impl AgeClock {
    pub(crate) const fn new(age: Age, now: Reading) -> Self {
        let monotonic = now.monotonic_nanos;
        Self { age, passed: monotonic, started: monotonic, credited: age.wall_secs < BELIEVABLE_SECS }
    }

    /// Takes the time.
    pub(crate) fn advance(&mut self, now: Reading) -> Age {
        let secs = now.monotonic_nanos.saturating_sub(self.passed) / NANOS_PER_SEC;
        self.passed += secs * NANOS_PER_SEC;
        self.age.secs += secs;
        let running = self.passed.saturating_sub(self.started) / NANOS_PER_SEC;
        let wall = now.wall.0 / NANOS_PER_SEC;
        let trusted = now.clock == ClockState::Synchronised || running >= UNSYNCHRONISED_SECS;
        let unknown = !trusted || wall < BELIEVABLE_SECS;
        if !self.credited && unknown {
            // As if the time since the last run did not exist; what it was is told later.
            self.age.wall_secs += secs;
            return self.age;
        }
        if !self.credited {
            self.credited = true;
            let away = wall.saturating_sub(self.age.wall_secs + secs);
            if away <= AWAY_SECS_MAX {
                self.age.secs += away;
            }
        }
        self.age.wall_secs = if wall >= BELIEVABLE_SECS { wall } else { 0 };
        self.age
    }
}

#[cfg(test)]
mod tests {
    use hindcap_wire::time::Timestamp;

    use super::*;

    const DAY: u64 = 86_400;
    const T: u64 = BELIEVABLE_SECS + 1000 * DAY;

    fn at(wall: u64, monotonic: u64, clock: ClockState) -> Reading {
        Reading { wall: Timestamp(wall * NANOS_PER_SEC), monotonic_nanos: monotonic * NANOS_PER_SEC, clock }
    }

    #[test]
    fn running_time_counts_and_clock_steps_do_not() {
        let synchronised = ClockState::Synchronised;
        let mut clock = AgeClock::new(Age::default(), at(T, 50, synchronised));
        assert_eq!(clock.advance(at(T + 100, 150, synchronised)), Age { secs: 100, wall_secs: T + 100 });
        assert_eq!(clock.advance(at(T - 90 * DAY, 160, synchronised)).secs, 110, "set back");
        assert_eq!(clock.advance(at(T + 900 * DAY, 170, synchronised)).secs, 120, "set forward");
        assert_eq!(clock.advance(at(3, 180, synchronised)), Age { secs: 130, wall_secs: 0 });
    }

    #[test]
    fn the_time_switched_off_is_credited_once() {
        let age = Age { secs: 1000, wall_secs: T };
        let synchronised = ClockState::Synchronised;
        let mut clock = AgeClock::new(age, at(T + 5 * DAY, 10, synchronised));
        assert_eq!(clock.advance(at(T + 5 * DAY + 20, 30, synchronised)).secs, 1020 + 5 * DAY);
        assert_eq!(clock.advance(at(T + 9 * DAY, 40, synchronised)).secs, 1030 + 5 * DAY, "a step");
    }

    #[test]
    fn a_box_without_the_time_waits_for_it() {
        let age = Age { secs: 1000, wall_secs: T };
        let (none, synchronised) = (ClockState::NotSynchronised, ClockState::Synchronised);
        let mut clock = AgeClock::new(age, at(3, 10, none));
        assert_eq!(clock.advance(at(33, 40, none)), Age { secs: 1030, wall_secs: T + 30 });
        // Synchronised 60 s after the start, two days after the end of the last run.
        assert_eq!(clock.advance(at(T + 2 * DAY + 60, 70, synchronised)).secs, 1060 + 2 * DAY);
        // Nobody synchronises: after an hour it is believed, if it can be.
        let mut clock = AgeClock::new(age, at(T + DAY, 10, none));
        assert_eq!(clock.advance(at(T + DAY + 3_599, 3_609, none)).secs, 1000 + 3_599);
        assert_eq!(clock.advance(at(T + DAY + 3_600, 3_610, none)).secs, 1000 + 3_600 + DAY);
    }

    #[test]
    fn what_cannot_be_is_not_believed() {
        for wall in [T - DAY, T + 401 * DAY, 7] {
            let mut clock = AgeClock::new(Age { secs: 1000, wall_secs: T }, at(wall, 0, ClockState::Unknown));
            assert_eq!(clock.advance(at(wall + 4000, 4000, ClockState::Synchronised)).secs, 5000, "{wall}");
        }
        let mut clock = AgeClock::new(Age::default(), at(T, 0, ClockState::Synchronised));
        assert_eq!(clock.advance(at(T, 1, ClockState::Synchronised)).secs, 1, "a new store was never away");
    }
}
