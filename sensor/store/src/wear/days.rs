//! One sample a day for a fortnight: how fast the odometer runs lately, and whether the medium has become slower.

use serde::{Deserialize, Serialize};

use super::odometer::Odometer;

/// Samples kept: a week, and room for days on which nothing ran.
pub const DAYS_MAX: usize = 16;
const DAY_SECS: u64 = 86_400;
/// The slope is taken over so much, when there is so much.
const SLOPE_SECS: u64 = 7 * DAY_SECS;
/// With less than this nothing is said.
const SLOPE_SECS_MIN: u64 = 3_600;

/// How things stood when a day of service began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Day {
    /// Age then, seconds.
    pub age_secs: u32,
    /// Bytes written until then.
    pub written_bytes: u64,
    /// Bytes captured until then.
    pub captured_bytes: u64,
    /// Of the writes of the day before, 99 % took at most so long, microseconds; 0 when there were too few.
    pub write_p99_micros: u32,
}

/// See the module. The oldest sample first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Days {
    count: u8,
    days: [Day; DAYS_MAX],
}

impl Days {
    /// The samples.
    #[must_use]
    pub fn samples(&self) -> &[Day] {
        &self.days[..usize::from(self.count).min(DAYS_MAX)]
    }

    /// Whether a new day of service has begun at this age.
    pub(crate) fn is_due(&self, age_secs: u64) -> bool {
        self.samples().last().is_none_or(|last| u64::from(last.age_secs) / DAY_SECS < age_secs / DAY_SECS)
    }

    /// Adds a sample; the oldest one goes when there is no room.
    pub fn push(&mut self, day: Day) {
        if self.samples().len() == DAYS_MAX {
            self.days.rotate_left(1);
            self.count -= 1;
        }
        self.days[usize::from(self.count)] = day;
        self.count += 1;
    }

    /// Bytes written a day, over the last seven days or what there is of them.
    #[must_use]
    pub fn written_per_day(&self, age_secs: u64, odometer: &Odometer) -> Option<u64> {
        let since = age_secs.saturating_sub(SLOPE_SECS);
        let from = self.samples().iter().find(|day| u64::from(day.age_secs) + DAY_SECS > since)?;
        let span = age_secs.checked_sub(from.age_secs.into()).filter(|span| *span >= SLOPE_SECS_MIN)?;
        let written = u128::from(odometer.written_bytes.saturating_sub(from.written_bytes));
        u64::try_from(written * u128::from(DAY_SECS) / u128::from(span)).ok()
    }

    /// How many times slower the writes of the last whole day were than a week before, tenths; `None` when not known.
    #[must_use]
    pub fn slower_tenths(&self) -> Option<u32> {
        let known = |day: &&Day| day.write_p99_micros > 0;
        let last = self.samples().iter().rev().find(known)?;
        let week_before = u64::from(last.age_secs).checked_sub(SLOPE_SECS)?;
        let before = self
            .samples()
            .iter()
            .rev()
            .filter(known)
            .find(|day| u64::from(day.age_secs) <= week_before + 60)?;
        u32::try_from(u64::from(last.write_p99_micros) * 10 / u64::from(before.write_p99_micros)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(days: u32, per_day: u64, p99: impl Fn(u32) -> u32) -> Days {
        let mut all = Days::default();
        for day in 0..days {
            let written_bytes = u64::from(day) * per_day;
            all.push(Day {
                age_secs: day * 86_400,
                written_bytes,
                captured_bytes: 0,
                write_p99_micros: p99(day),
            });
        }
        all
    }

    #[test]
    fn samples_are_taken_once_a_day_and_bounded() {
        let mut days = Days::default();
        assert!(days.is_due(0));
        days.push(Day { age_secs: 5, ..Day::default() });
        assert!(!days.is_due(86_399) && days.is_due(86_400));
        let many = filled(100, 7, |_| 0);
        assert_eq!(many.samples().len(), DAYS_MAX);
        assert_eq!(many.samples()[0].age_secs, 84 * 86_400);
    }

    #[test]
    fn the_slope_forgets_what_is_older_than_a_week() {
        let odometer = Odometer { written_bytes: 100 * 50 + 43, ..Odometer::default() };
        let days = filled(100, 50, |_| 0);
        // 100 days of 50 a day, and today until noon 43.
        let slope = days.written_per_day(100 * 86_400 + 43_200, &odometer).unwrap();
        assert!((49..=52).contains(&slope), "{slope}");
        let mut quiet = days;
        (100..107).for_each(|day| {
            quiet.push(Day { age_secs: day * 86_400, written_bytes: 100 * 50, ..Day::default() });
        });
        let odometer = Odometer { written_bytes: 100 * 50, ..Odometer::default() };
        assert!(quiet.written_per_day(107 * 86_400, &odometer).unwrap() < 8, "a quiet week");
        assert_eq!(filled(1, 0, |_| 0).written_per_day(3_599, &odometer), None, "too early to tell");
        assert_eq!(filled(1, 0, |_| 0).written_per_day(3_600, &odometer), Some(5_000 * 24));
    }

    #[test]
    fn a_medium_that_becomes_slow_is_noticed() {
        assert_eq!(filled(12, 0, |_| 4_000).slower_tenths(), Some(10));
        assert_eq!(filled(12, 0, |day| if day > 8 { 13_000 } else { 4_000 }).slower_tenths(), Some(32));
        assert_eq!(filled(6, 0, |_| 4_000).slower_tenths(), None, "not a week yet");
        assert_eq!(filled(12, 0, |_| 0).slower_tenths(), None, "nothing was measured");
    }
}
