//! Time on the wire and on the disk: UTC, nanoseconds since 1970-01-01, ranges half-open.
//!
//! Text and serde forms of an instant are in [`crate::time_text`].

use core::fmt;

use serde::{Deserialize, Serialize};

/// Nanoseconds in a second.
pub const NANOS_PER_SEC: u64 = 1_000_000_000;

/// An instant: UTC nanoseconds since 1970-01-01T00:00:00Z, good until the year 2554.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The earliest instant.
    pub const MIN: Self = Self(0);
    /// The latest instant; as the end of a range it means "open".
    pub const MAX: Self = Self(u64::MAX);

    /// The instant `secs` seconds and `nanos` nanoseconds after 1970; saturates at [`Timestamp::MAX`].
    #[must_use]
    pub const fn from_parts(secs: u64, nanos: u32) -> Self {
        Self(secs.saturating_mul(NANOS_PER_SEC).saturating_add(nanos as u64))
    }

    /// Whole seconds since 1970.
    #[must_use]
    pub const fn secs(self) -> u64 {
        self.0 / NANOS_PER_SEC
    }

    /// Nanoseconds within the second, 0..1_000_000_000.
    #[must_use]
    pub const fn subsec_nanos(self) -> u32 {
        (self.0 % NANOS_PER_SEC) as u32
    }

    /// This instant moved later by `nanos`, saturating.
    #[must_use]
    pub const fn plus_nanos(self, nanos: u64) -> Self {
        Self(self.0.saturating_add(nanos))
    }

    /// This instant moved earlier by `nanos`, saturating.
    #[must_use]
    pub const fn minus_nanos(self, nanos: u64) -> Self {
        Self(self.0.saturating_sub(nanos))
    }
}

/// RFC 3339 in UTC with nine digits of fraction, for example `2026-11-21T09:30:00.000000001Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, in_day) = (self.secs() / 86_400, self.secs() % 86_400);
        let (year, month, day) = civil_from_days(days);
        let (hour, minute, second) = (in_day / 3_600, in_day / 60 % 60, in_day % 60);
        let nanos = self.subsec_nanos();
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z")
    }
}

/// What was known of the wall clock when something was stamped. The discriminant is what stands on the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum ClockState {
    /// Nothing is known: an imported savefile, and nothing else. Readers tell imports from live recordings by it.
    #[default]
    Unknown = 0,
    /// Nobody vouches for the clock.
    NotSynchronised = 1,
    /// The kernel says that its clock is synchronised (NTP, PTP, GPS).
    Synchronised = 2,
}

impl ClockState {
    /// Its number on the disk.
    #[must_use]
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// The state with this number.
    #[must_use]
    pub const fn from_code(code: u16) -> Option<Self> {
        match code {
            0 => Some(Self::Unknown),
            1 => Some(Self::NotSynchronised),
            2 => Some(Self::Synchronised),
            _ => None,
        }
    }

    /// Name for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::NotSynchronised => "not synchronised",
            Self::Synchronised => "synchronised",
        }
    }
}

/// Days since 1970-01-01 to (year, month 1..=12, day 1..=31), proleptic Gregorian
/// (H. Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`).
const fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_shifted + 2) / 5 + 1;
    let month = if month_shifted < 10 { month_shifted + 3 } else { month_shifted - 9 };
    (year_of_era + era * 400 + if month <= 2 { 1 } else { 0 }, month, day)
}

/// A half-open interval `[start, end)`; empty when `end <= start`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TimeRange {
    /// First instant inside.
    pub start: Timestamp,
    /// First instant after.
    pub end: Timestamp,
}

impl TimeRange {
    /// All of time.
    pub const ALL: Self = Self { start: Timestamp::MIN, end: Timestamp::MAX };

    /// The interval `[start, end)`.
    #[must_use]
    pub const fn new(start: Timestamp, end: Timestamp) -> Self {
        Self { start, end }
    }

    /// Whether no instant lies inside.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.end <= self.start
    }

    /// Whether `at` lies inside.
    #[must_use]
    pub fn contains(self, at: Timestamp) -> bool {
        self.start <= at && at < self.end
    }

    /// Whether a packet between `first` and `last`, both inclusive, can lie inside.
    #[must_use]
    pub fn touches(self, first: Timestamp, last: Timestamp) -> bool {
        !self.is_empty() && self.start <= last && first < self.end
    }
}

impl Default for TimeRange {
    fn default() -> Self {
        Self::ALL
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_rfc3339_across_leap_years_and_2038() {
        for (secs, text) in [
            (0, "1970-01-01T00:00:00.000000007Z"),
            (951_782_400, "2000-02-29T00:00:00.000000007Z"),
            (2_147_483_648, "2038-01-19T03:14:08.000000007Z"),
            (4_107_542_399, "2100-02-28T23:59:59.000000007Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000000007Z"),
        ] {
            assert_eq!(Timestamp::from_parts(secs, 7).to_string(), text);
        }
    }

    #[test]
    fn ranges_are_half_open() {
        let range = TimeRange::new(Timestamp(10), Timestamp(20));
        assert!(range.contains(Timestamp(10)) && !range.contains(Timestamp(20)));
        assert!(range.touches(Timestamp(0), Timestamp(10)) && !range.touches(Timestamp(20), Timestamp(30)));
        assert!(TimeRange::new(Timestamp(5), Timestamp(5)).is_empty());
        assert!(!TimeRange::new(Timestamp(5), Timestamp(5)).touches(Timestamp(0), Timestamp(9)));
    }
}
