//! Instants as text: RFC 3339 in JSON and on the command line, plain nanoseconds in postcard.
//!
//! Read: `2026-11-21T09:30:00.5Z`, `2026-11-21 10:30:00+01:00`, `2026-11-21 09:30` and `2026-11-21` (UTC unless a zone
//! is given), and seconds since 1970 with a fraction, `1795253400.5`. Leap seconds (`:60`) are the second after.

use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::time::{NANOS_PER_SEC, Timestamp};

/// A text that is not an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseTimeError;

impl fmt::Display for ParseTimeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected a time such as 2026-11-21T09:30:00Z, 2026-11-21 09:30:00+01:00 (UTC without a zone) or seconds since 1970")
    }
}

impl core::error::Error for ParseTimeError {}

impl FromStr for Timestamp {
    type Err = ParseTimeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if text.get(4..5) == Some("-") { civil(text) } else { epoch(text) }.ok_or(ParseTimeError)
    }
}

/// Digits only, at most `most` of them.
fn number(text: &str, most: usize) -> Option<u64> {
    let digits = !text.is_empty() && text.len() <= most && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

/// Exactly two digits that are at most `most`.
fn two(text: &str, most: u64) -> Option<u64> {
    number(text, 2).filter(|value| text.len() == 2 && *value <= most)
}

/// The nanoseconds of a fraction; digits after the ninth are cut.
fn fraction(digits: &str) -> Option<u64> {
    let kept = digits.get(..9).unwrap_or(digits);
    let scale = u32::try_from(9 - kept.len()).ok()?;
    Some(number(kept, 9)? * 10_u64.pow(scale))
}

/// Splits off a fraction: the whole part and its nanoseconds.
fn split_fraction(text: &str) -> Option<(&str, u64)> {
    match text.split_once('.') {
        Some((whole, digits)) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some((whole, fraction(digits)?))
        }
        Some(_) => None,
        None => Some((text, 0)),
    }
}

fn epoch(text: &str) -> Option<Timestamp> {
    let (secs, nanos) = split_fraction(text)?;
    let secs = number(secs, 11)?;
    secs.checked_mul(NANOS_PER_SEC)?.checked_add(nanos).map(Timestamp)
}

fn civil(text: &str) -> Option<Timestamp> {
    let (date, rest) = text.split_at_checked(10)?;
    let days = days(date)?;
    if rest.is_empty() {
        return Some(Timestamp::from_parts(days * 86_400, 0));
    }
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let (clock, offset) = split_zone(rest)?;
    let (clock, nanos) = split_fraction(clock)?;
    let mut parts = clock.split(':');
    let (hour, minute) = (two(parts.next()?, 23)?, two(parts.next()?, 59)?);
    let second = parts.next().map_or(Some(0), |second| two(second, 60))?;
    if parts.next().is_some() {
        return None;
    }
    let local = i64::try_from(days * 86_400 + hour * 3_600 + minute * 60 + second).ok()?;
    let secs = u64::try_from(local - offset).ok()?;
    secs.checked_mul(NANOS_PER_SEC)?.checked_add(nanos).map(Timestamp)
}

/// Splits off a zone: the clock and the zone's offset from UTC in seconds.
fn split_zone(text: &str) -> Option<(&str, i64)> {
    if let Some(clock) = text.strip_suffix(['Z', 'z']) {
        return Some((clock, 0));
    }
    let Some(at) = text.rfind(['+', '-']) else { return Some((text, 0)) };
    let (clock, zone) = text.split_at(at);
    let (sign, digits) = zone.split_at(1);
    let (hours, minutes) = digits.split_once(':').or_else(|| digits.split_at_checked(2))?;
    let offset = i64::try_from(two(hours, 23)? * 3_600 + two(minutes, 59)? * 60).ok()?;
    Some((clock.trim_end(), if sign == "-" { -offset } else { offset }))
}

/// Days since 1970-01-01 of `YYYY-MM-DD` (H. Hinnant, "chrono-Compatible Low-Level Date Algorithms",
/// `days_from_civil`).
fn days(date: &str) -> Option<u64> {
    let mut parts = date.split('-');
    let (year, month, day) = (parts.next()?, two(parts.next()?, 12)?, two(parts.next()?, 31)?);
    let year = number(year, 4).filter(|year| *year >= 1970)?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let longest = match month {
        0 => return None,
        2 => 28 + u64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if day == 0 || day > longest {
        return None;
    }
    let shifted_year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (shifted_year / 400, shifted_year % 400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_u64(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
        } else {
            u64::deserialize(deserializer).map(Self)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nanos(text: &str) -> Option<u64> {
        text.parse::<Timestamp>().ok().map(|at| at.0)
    }

    #[test]
    fn reads_what_people_write() {
        let half_past = 1_795_253_400_000_000_000;
        for text in [
            "2026-11-21T09:30:00Z",
            "2026-11-21 09:30:00",
            "2026-11-21 09:30",
            "2026-11-21t10:30:00+01:00",
            "2026-11-21 10:30:00 +0100",
            "2026-11-20T22:15:00-11:15",
            "1795253400",
            " 1795253400.0 ",
        ] {
            assert_eq!(nanos(text), Some(half_past), "{text}");
        }
        assert_eq!(nanos("2026-11-21T09:30:00.000000001Z"), Some(half_past + 1));
        assert_eq!(nanos("1795253400.5"), Some(half_past + 500_000_000));
        assert_eq!(nanos("1795253400.0000000019999999999999999999999999"), Some(half_past + 1));
        assert_eq!(nanos("2026-11-21"), Some(half_past - 34_200_000_000_000));
    }

    #[test]
    fn round_trips_with_display() {
        for at in [0, 1, 951_782_400_000_000_007, 4_107_542_400_000_000_000, u64::MAX] {
            assert_eq!(nanos(&Timestamp(at).to_string()), Some(at));
        }
    }

    #[test]
    fn rejects_what_is_no_instant() {
        for text in [
            "",
            "now",
            "-1",
            "1.",
            ".5",
            "1e9",
            "99999999999999",
            "2026-13-01",
            "2026-02-29",
            "2026-00-10",
            "2026-11-21T24:00:00Z",
            "2026-11-21T09:60:00Z",
            "2026-11-21T09:30:00.Z",
            "2026-11-21T09:30:00+25:00",
            "2026-11-21T9:30:00Z",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00+01:00",
            "2026-11-21X",
            "2026-11-21é",
            "2554-07-22T00:00:00Z",
            "2026-11-21T09:30:00+",
        ] {
            assert_eq!(nanos(text), None, "{text}");
        }
    }

    #[test]
    fn json_has_text_and_postcard_has_nanoseconds() {
        let at = Timestamp(1_500_000_000);
        assert_eq!(serde_json::to_string(&at).unwrap(), r#""1970-01-01T00:00:01.500000000Z""#);
        assert_eq!(serde_json::from_str::<Timestamp>(r#""1970-01-01 00:00:01.5""#).unwrap(), at);
        assert_eq!(postcard::to_allocvec(&at).unwrap(), postcard::to_allocvec(&1_500_000_000_u64).unwrap());
    }
}
