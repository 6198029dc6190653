//! What a segment says of the clock it was recorded by: its settings, one after the other (docs/FORMAT.md, "Clock").

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::{Event, EventKind};
use crate::time::{ClockState, NANOS_PER_SEC, Timestamp};

/// Settings of the clock that a segment tells, at most. What comes behind is [`ClockLine::is_unknown`].
pub const CLOCK_LINES_MAX: usize = 16;
/// Clocks that differ by so little are set alike. Two readings of both clocks are microseconds apart.
pub const SAME_SETTING_NANOS: u64 = NANOS_PER_SEC;

/// Both clocks at one moment, and in which life of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockAt {
    /// Number of the boot; 0 when nobody knows.
    pub boot: u64,
    /// Wall clock.
    pub wall: Timestamp,
    /// Monotonic clock, nanoseconds since boot.
    pub monotonic_nanos: u64,
    /// Whether the wall clock could be trusted.
    pub clock: ClockState,
}

impl ClockAt {
    /// What the wall clock would have shown when the machine started, modulo 2^64: it changes when the clock is set, and
    /// never else, because whatever makes one clock faster does so with the other.
    #[must_use]
    pub const fn base(&self) -> u64 {
        self.wall.0.wrapping_sub(self.monotonic_nanos)
    }

    /// Whether the clock was not set, nor its state changed, nor the machine started, between the two.
    #[must_use]
    pub fn is_set_as(&self, other: &Self) -> bool {
        self.boot == other.boot && self.clock == other.clock && is_near(self.base(), other.base())
    }
}

/// Whether two bases stand for the same setting.
#[must_use]
pub const fn is_near(one: u64, other: u64) -> bool {
    let apart = one.wrapping_sub(other);
    apart <= SAME_SETTING_NANOS || apart.wrapping_neg() <= SAME_SETTING_NANOS
}

/// Batches of a segment that were recorded in one boot, by a clock that was not set meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockLine {
    /// The first page of the first of them.
    pub first_page: u16,
    /// As in [`ClockAt`].
    pub boot: u64,
    /// [`ClockAt::base`] at the first commit.
    pub base: u64,
    /// Monotonic clock at the commit before: nothing was captured by this setting earlier. 0 for the first of a boot, and
    /// of a segment.
    pub from: u64,
    /// Monotonic clock at the last commit.
    pub to: u64,
    /// State.
    pub clock: ClockState,
}

impl ClockLine {
    /// What one reading tells.
    #[must_use]
    pub const fn of(first_page: u16, at: &ClockAt) -> Self {
        Self { first_page, boot: at.boot, base: at.base(), from: 0, to: at.monotonic_nanos, clock: at.clock }
    }

    /// The clock was set more often than there is room for.
    #[must_use]
    pub const fn is_unknown(&self) -> bool {
        self.boot == 0
    }

    /// The instant at which the clock of this setting showed what it does at `monotonic` nanoseconds since boot.
    #[must_use]
    pub const fn wall_at(&self, monotonic: u64) -> Timestamp {
        let wall = self.base.wrapping_add(monotonic);
        // A clock that was set to less than the time since boot did not exist before 1970.
        Timestamp(if wall > i64::MAX as u64 { 0 } else { wall })
    }
}

/// Takes the commit at `at` of a batch that starts in `first_page` into the settings of its segment, which come in their
/// order. Those of an import tell nothing.
pub fn note_clock(lines: &mut Vec<ClockLine>, first_page: u16, at: &ClockAt) {
    let last = lines.last_mut();
    if let Some(line) = last {
        let goes_on = line.boot == at.boot && line.clock == at.clock && is_near(line.base, at.base());
        if goes_on || line.is_unknown() {
            line.to = line.to.max(at.monotonic_nanos);
            return;
        }
    } else if at.clock == ClockState::Unknown {
        return;
    }
    let before = lines.last().filter(|line| line.boot == at.boot).map_or(0, |line| line.to);
    let line = ClockLine { from: before.min(at.monotonic_nanos), ..ClockLine::of(first_page, at) };
    if lines.len() + 1 < CLOCK_LINES_MAX {
        lines.push(line);
    } else if lines.len() < CLOCK_LINES_MAX {
        lines.push(ClockLine { boot: 0, clock: ClockState::Unknown, ..line });
    }
}

/// Takes an event of the batch that starts in `first_page` into the settings, before the commit of the batch: a clock that was
/// set while nothing could be recorded shows in no commit, yet packets from before may lie in this batch and behind it.
pub fn note_step(lines: &mut Vec<ClockLine>, first_page: u16, boot: u64, event: &Event) {
    let EventKind::ClockStep { from, .. } = event.kind else { return };
    let monotonic_nanos = event.monotonic_nanos;
    let clock = lines.last().map_or(ClockState::NotSynchronised, |line| line.clock);
    let before = ClockAt { boot, wall: from, monotonic_nanos, clock };
    let known = |line: &&ClockLine| line.boot == boot && is_near(line.base, before.base());
    if boot != 0 && lines.last().filter(known).is_none() {
        note_clock(lines, first_page, &before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YEAR: u64 = 365 * 86_400 * NANOS_PER_SEC;

    fn at(boot: u64, base: u64, secs: u64, clock: ClockState) -> ClockAt {
        let monotonic_nanos = secs * NANOS_PER_SEC;
        ClockAt { boot, wall: Timestamp(base.wrapping_add(monotonic_nanos)), monotonic_nanos, clock }
    }

    #[test]
    fn a_line_ends_where_the_clock_is_set_its_state_changes_or_the_machine_starts() {
        use ClockState::{NotSynchronised, Synchronised, Unknown};
        let mut lines = Vec::new();
        note_clock(&mut lines, 0, &at(0, 5, 1, Unknown));
        assert!(lines.is_empty(), "an import");
        for (page, now) in [
            (1, at(7, 0, 10, NotSynchronised)),
            (2, at(7, 3_000, 20, NotSynchronised)),
            (3, at(7, 56 * YEAR, 30, NotSynchronised)),
            (4, at(7, 56 * YEAR, 40, Synchronised)),
            (5, at(8, 0, 15, NotSynchronised)),
            (6, at(8, 0, 25, NotSynchronised)),
        ] {
            note_clock(&mut lines, page, &now);
        }
        let told: Vec<_> = lines.iter().map(|line| (line.first_page, line.boot, line.base)).collect();
        assert_eq!(told, [(1, 7, 0), (3, 7, 56 * YEAR), (4, 7, 56 * YEAR), (5, 8, 0)]);
        let spans: Vec<_> =
            lines.iter().map(|line| (line.from / NANOS_PER_SEC, line.to / NANOS_PER_SEC)).collect();
        assert_eq!(spans, [(0, 20), (20, 30), (30, 40), (0, 25)]);
    }

    #[test]
    fn a_step_that_no_commit_saw_is_a_line_of_its_own() {
        let kind = EventKind::ClockStep { from: Timestamp(70 * NANOS_PER_SEC), to: Timestamp(56 * YEAR) };
        let event = Event { at: Timestamp(56 * YEAR), monotonic_nanos: 60 * NANOS_PER_SEC, kind };
        let mut lines = Vec::new();
        note_step(&mut lines, 4, 7, &event);
        note_clock(&mut lines, 4, &at(7, 56 * YEAR, 65, ClockState::Synchronised));
        let told: Vec<_> =
            lines.iter().map(|line| (line.base / NANOS_PER_SEC, line.to / NANOS_PER_SEC)).collect();
        assert_eq!(told, [(10, 60), (56 * YEAR / NANOS_PER_SEC, 65)]);
        // One that the commits before tell as well adds nothing.
        let known = lines.clone();
        let kind = EventKind::ClockStep { from: Timestamp(56 * YEAR + 80 * NANOS_PER_SEC), to: Timestamp(0) };
        note_step(&mut lines, 9, 7, &Event { monotonic_nanos: 80 * NANOS_PER_SEC, kind, ..event });
        assert_eq!(lines, known);
    }

    #[test]
    fn a_clock_that_is_set_too_often_ends_in_a_line_that_says_so() {
        let mut lines = Vec::new();
        for n in 0..40 {
            note_clock(&mut lines, n as u16, &at(1, n * YEAR, n, ClockState::NotSynchronised));
        }
        assert_eq!(lines.len(), CLOCK_LINES_MAX);
        assert!(lines.iter().rev().skip(1).all(|line| !line.is_unknown()));
        assert!(lines.last().unwrap().is_unknown());
    }

    #[test]
    fn settings_are_compared_across_the_turn_of_2_to_64() {
        assert!(is_near(u64::MAX, 5) && is_near(5, u64::MAX));
        assert!(!is_near(0, 2 * NANOS_PER_SEC) && !is_near(2 * NANOS_PER_SEC, 0));
    }
}
