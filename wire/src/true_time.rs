//! From the times that stand on the disk to true ones, for what was recorded before the clock was set.
//!
//! Where the clock of a boot became known only later, all that was recorded before is off by the same offset. A segment may
//! hold several such stretches, and several lives of the machine; which of them a packet belongs to, its page tells, and
//! around a step, where a batch holds packets from before and behind it, its time.

use alloc::vec::Vec;

use crate::ledger::{ClockLine, Event, EventKind, SAME_SETTING_NANOS, is_near};
use crate::time::Timestamp;

/// Part of a segment that was recorded by one setting of the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// How the clock was set.
    pub line: ClockLine,
    /// What must be added to its times, nanoseconds.
    pub offset: i64,
}

impl Stretch {
    /// Times that can have been recorded, both included.
    const fn recorded(&self) -> (Timestamp, Timestamp) {
        let (first, last) = (self.line.wall_at(self.line.from), self.line.wall_at(self.line.to));
        (first.minus_nanos(SAME_SETTING_NANOS), last.plus_nanos(SAME_SETTING_NANOS))
    }

    fn covers(&self, at: Timestamp) -> bool {
        let (first, last) = self.recorded();
        first <= at && at <= last
    }

    const fn apply(&self, at: Timestamp) -> Timestamp {
        Timestamp(at.0.saturating_add_signed(self.offset))
    }
}

/// What the times of a segment mean. The default changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrueTime(Vec<Stretch>);

impl TrueTime {
    /// For a segment with these settings, in their order.
    #[must_use]
    pub fn new(stretches: Vec<Stretch>) -> Self {
        let plain = stretches.iter().all(|stretch| stretch.offset == 0);
        Self(if plain { Vec::new() } else { stretches })
    }

    /// Whether every time is what it says.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.0.is_empty()
    }

    /// Position of the stretch that `page` lies in.
    fn of_page(&self, page: u16) -> Option<usize> {
        self.0.partition_point(|stretch| stretch.line.first_page <= page).checked_sub(1)
    }

    /// The true time of a packet in `page` that was recorded as `at`.
    #[must_use]
    pub fn at(&self, page: u16, at: Timestamp) -> Timestamp {
        let Some(here) = self.of_page(page) else { return at };
        // Between a step and the next batch, packets lie in the batch of the other setting.
        let near = [Some(here), here.checked_sub(1), Some(here + 1)];
        let fits = near.into_iter().flatten().filter_map(|at| self.0.get(at));
        let found = fits.clone().find(|stretch| stretch.covers(at));
        found.unwrap_or(&self.0[here]).apply(at)
    }

    /// The true times of packets in `pages`, first and last, that were recorded from `first` to `last`: no less than they
    /// are, and more only where stretches meet.
    #[must_use]
    pub fn span(&self, pages: (u16, u16), first: Timestamp, last: Timestamp) -> (Timestamp, Timestamp) {
        let (Some(end), true) = (self.of_page(pages.1), first <= last) else { return (first, last) };
        let start = self.of_page(pages.0).unwrap_or(0);
        if start == end && self.0[start].covers(first) && self.0[start].covers(last) {
            return (self.0[start].apply(first), self.0[start].apply(last));
        }
        let touched = &self.0[start.saturating_sub(1)..self.0.len().min(end + 2)];
        let mut span = (Timestamp::MAX, Timestamp::MIN);
        let mut widen = |at: Timestamp| span = (span.0.min(at), span.1.max(at));
        for stretch in touched {
            let (from, to) = stretch.recorded();
            if from <= last && first <= to {
                widen(stretch.apply(from.max(first)));
                widen(stretch.apply(to.min(last)));
            }
        }
        for edge in [first, last].into_iter().filter(|edge| !touched.iter().any(|one| one.covers(*edge))) {
            self.0[start..=end].iter().for_each(|stretch| widen(stretch.apply(edge)));
        }
        if self.of_page(pages.0).is_none() {
            // Before the first setting that anybody knows of.
            widen(first);
            widen(last);
        }
        span
    }

    /// The true times of events, which come in their order.
    #[must_use]
    pub fn events(&self) -> TrueEvents<'_> {
        TrueEvents { stretches: self.0.as_slice(), monotonic: 0 }
    }
}

/// Follows the events of a segment. They bear both clocks, which tell the setting.
#[derive(Clone, Debug)]
pub struct TrueEvents<'a> {
    stretches: &'a [Stretch],
    monotonic: u64,
}

impl TrueEvents<'_> {
    /// What must be added to the times of `event`, the next one.
    pub fn offset(&mut self, event: &Event) -> i64 {
        let monotonic = event.monotonic_nanos;
        let base = event.at.0.wrapping_sub(monotonic);
        let of_boot = |boot: u64| self.stretches.iter().position(|stretch| stretch.line.boot == boot);
        let skip = match event.kind {
            EventKind::RecorderStart { boot, .. } if boot != 0 => of_boot(boot).unwrap_or(0),
            // A later life of the machine.
            _ => usize::from(monotonic < self.monotonic).min(self.stretches.len()),
        };
        self.monotonic = monotonic;
        let fits = |stretch: &Stretch| is_near(stretch.line.base, base) && monotonic <= stretch.line.to;
        let Some(found) = self.stretches[skip..].iter().position(fits) else { return 0 };
        self.stretches = &self.stretches[skip + found..];
        self.stretches[0].offset
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{ClockState, NANOS_PER_SEC};

    const SET: u64 = 1_790_000_000 * NANOS_PER_SEC;

    const fn secs(secs: u64) -> Timestamp {
        Timestamp::from_parts(secs, 0)
    }

    fn stretch(first_page: u16, boot: u64, base: u64, (from, to): (u64, u64), offset: u64) -> Stretch {
        let clock = ClockState::NotSynchronised;
        let (from, to) = (from * NANOS_PER_SEC, to * NANOS_PER_SEC);
        Stretch { line: ClockLine { first_page, boot, base, from, to, clock }, offset: offset as i64 }
    }

    /// A boot in 1970 whose clock is set after 100 s; then another one.
    fn two_boots() -> TrueTime {
        TrueTime::new(vec![
            stretch(0, 1, 0, (0, 100), SET),
            stretch(10, 1, SET, (100, 500), 0),
            stretch(20, 2, 0, (0, 90), SET + 1_000 * NANOS_PER_SEC),
            stretch(30, 2, SET + 1_000 * NANOS_PER_SEC, (90, 300), 0),
        ])
    }

    fn of_set(secs: u64) -> Timestamp {
        Timestamp(SET + secs * NANOS_PER_SEC)
    }

    #[test]
    fn the_page_tells_the_boot_and_the_time_tells_the_side_of_a_step() {
        let times = two_boots();
        assert_eq!(times.at(5, secs(50)), of_set(50));
        assert_eq!(times.at(25, secs(50)), of_set(1_050), "the same time in another boot");
        assert_eq!(times.at(10, secs(99)), of_set(99), "recorded before the step, in the batch behind it");
        assert_eq!(times.at(9, of_set(100)), of_set(100), "recorded behind the step, in the batch before it");
        assert_eq!(times.at(15, of_set(400)), of_set(400));
    }

    #[test]
    fn what_lies_across_a_step_or_a_boot_spans_all_of_it() {
        let times = two_boots();
        assert_eq!(times.span((0, 5), secs(1), secs(50)), (of_set(1), of_set(50)));
        let (first, last) = times.span((5, 15), secs(50), of_set(400));
        assert!(first == of_set(50) && last >= of_set(400), "{first} {last}");
        let (first, last) = times.span((15, 25), secs(30), of_set(400));
        assert!(first <= of_set(101) && last >= of_set(1_030), "{first} {last}");
        assert_eq!(times.span((0, 40), Timestamp::MAX, Timestamp::MIN), (Timestamp::MAX, Timestamp::MIN));
    }

    #[test]
    fn a_clock_that_was_ahead_is_put_back() {
        let ahead = SET + 400_000_000 * NANOS_PER_SEC;
        let times = TrueTime::new(vec![
            Stretch { offset: SET.wrapping_sub(ahead) as i64, ..stretch(0, 1, ahead, (0, 100), 0) },
            stretch(10, 1, SET, (100, 500), 0),
        ]);
        let recorded = Timestamp(ahead + 50 * NANOS_PER_SEC);
        assert_eq!(times.at(3, recorded), of_set(50));
        let (first, last) = times.span((3, 12), of_set(120), recorded);
        assert!(first <= of_set(50) && last >= of_set(120), "{first} {last}");
    }

    #[test]
    fn events_find_their_boot_in_their_order() {
        let times = two_boots();
        let mut events = times.events();
        let mut next = |at: Timestamp, monotonic: u64, kind: EventKind| {
            events.offset(&Event { at, monotonic_nanos: monotonic * NANOS_PER_SEC, kind })
        };
        let start = |boot| EventKind::RecorderStart { epoch: 1, unclean: false, boot };
        assert_eq!(next(secs(1), 1, start(1)), SET as i64);
        assert_eq!(next(secs(3), 3, EventKind::LinkUp { interface: 0 }), SET as i64);
        let second = (SET + 1_000 * NANOS_PER_SEC) as i64;
        assert_eq!(next(secs(5), 5, start(2)), second, "later since its boot than the one before");
        assert_eq!(next(of_set(1_200), 200, EventKind::RecorderStop), 0);
        let mut events = times.events();
        let mut next = |at: Timestamp, monotonic: u64| {
            let kind = EventKind::LinkUp { interface: 0 };
            events.offset(&Event { at, monotonic_nanos: monotonic * NANOS_PER_SEC, kind })
        };
        assert_eq!(next(of_set(101), 101), 0);
        assert_eq!(next(secs(2), 2), second, "the time since boot goes back");
    }

    #[test]
    fn nothing_to_correct_is_nothing_kept() {
        let times = TrueTime::new(vec![stretch(0, 1, SET, (0, 100), 0)]);
        assert!(times.is_plain() && times == TrueTime::default());
        assert_eq!(times.at(0, secs(7)), secs(7));
        assert_eq!(times.span((0, 9), secs(7), secs(8)), (secs(7), secs(8)));
    }
}
