//! What time it is for pins. A pin must not end early because a clock is wrong: only a synchronised one, that has been so for
//! a while and has not stepped of late, ends anything.

use hindcap_store::Reading;
use hindcap_store::holds::Steadiness;
use hindcap_wire::time::{ClockState, NANOS_PER_SEC};

use super::Now;
use crate::capture;
use crate::clock::Clock;

/// How long the clock must have been synchronised, after a start or a time without.
const STEADY_NANOS: u64 = 60 * NANOS_PER_SEC;
/// How long after it has stepped.
const STEPPED_NANOS: u64 = 1_800 * NANOS_PER_SEC;
/// A wall clock that departs from the monotonic one by more than this has stepped.
const STEP_NANOS: u64 = 10 * NANOS_PER_SEC;

/// See the module.
#[derive(Debug)]
pub struct Times {
    clock: Clock,
    judge: Judge,
}

#[derive(Debug)]
struct Judge {
    steadiness: Steadiness,
    last: Reading,
}

impl Times {
    /// Times by `clock`, from now on.
    pub fn new(mut clock: Clock) -> Self {
        let now = capture::reading(&mut clock);
        Self { clock, judge: Judge::new(now) }
    }

    /// A look at the clock.
    pub fn now(&mut self) -> Now {
        let now = capture::reading(&mut self.clock);
        Now { reading: now, trusted: self.judge.trusts(now), imports: false }
    }
}

impl Judge {
    fn new(now: Reading) -> Self {
        Self { steadiness: Steadiness::with(now, STEADY_NANOS, STEPPED_NANOS), last: now }
    }

    fn trusts(&mut self, now: Reading) -> bool {
        let passed = now.monotonic_nanos.saturating_sub(self.last.monotonic_nanos);
        if now.wall.0.abs_diff(self.last.wall.0.saturating_add(passed)) > STEP_NANOS {
            self.steadiness.stepped(now);
        }
        self.last = now;
        self.steadiness.trusts(now) && now.clock == ClockState::Synchronised
    }
}

#[cfg(test)]
mod tests {
    use hindcap_wire::time::Timestamp;

    use super::*;

    #[test]
    fn only_a_clock_that_has_proved_itself_ends_anything() {
        let at = |secs: u64, wall: u64, clock| Reading {
            wall: Timestamp::from_parts(wall, 0),
            monotonic_nanos: secs * NANOS_PER_SEC,
            clock,
        };
        let (yes, no) = (ClockState::Synchronised, ClockState::NotSynchronised);
        let mut judge = Judge::new(at(10, 1_000, no));
        assert!(!judge.trusts(at(500, 1_490, no)), "never without a synchronised clock");
        assert!(!judge.trusts(at(501, 1_800_000_000, yes)), "it has just stepped");
        assert!(!judge.trusts(at(2_200, 1_800_001_699, yes)));
        assert!(judge.trusts(at(2_400, 1_800_001_899, yes)));
        assert!(!judge.trusts(at(2_401, 1_800_001_900, no)));
        assert!(!judge.trusts(at(2_402, 1_800_001_901, yes)), "not yet again");
        assert!(judge.trusts(at(2_470, 1_800_001_969, yes)));
        assert!(!judge.trusts(at(2_471, 1_900_000_000, yes)), "a jump ahead ends nothing");
    }
}
