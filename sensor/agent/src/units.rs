//! Sizes and durations as people write them, with their unit: `64MiB`, `2GiB`, `10s`, `25%`. A bare number is refused,
//! because it would mean different things to different readers.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use hindcap_store::EventShare;
use hindcap_store::events::SHARE_MAX;

/// Size units, largest first so that printing picks the largest that divides.
const SIZE_UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

/// Duration units in milliseconds, largest first.
const DURATION_UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// A text that is no size, share or duration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitError(&'static str);

impl fmt::Display for UnitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}", self.0)
    }
}

impl std::error::Error for UnitError {}

/// Number and unit of `text`, multiplied; `None` when the unit is unknown or the product too large.
fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let split = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(split);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// `value` with the largest unit that divides it.
fn printed(f: &mut fmt::Formatter<'_>, value: u64, units: &[(&str, u64)]) -> fmt::Result {
    let exact = units.iter().find(|(_, factor)| value != 0 && value % factor == 0);
    let (name, factor) = exact.or(units.last()).copied().unwrap_or(("", 1));
    write!(f, "{}{name}", value / factor)
}

/// A number of bytes, written `64MiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl FromStr for Size {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        scaled(text, &SIZE_UNITS).map(Self).ok_or(UnitError("a size with its unit, such as 64MiB or 2GiB"))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        printed(f, self.0, &SIZE_UNITS)
    }
}

/// A duration, written `10s`; whole milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl Span {
    /// Whole milliseconds, saturating.
    #[must_use]
    pub fn millis(self) -> u64 {
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
    }
}

impl FromStr for Span {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        scaled(text, &DURATION_UNITS)
            .map(|millis| Self(Duration::from_millis(millis)))
            .ok_or(UnitError("a duration with its unit, such as 500ms, 10s or 2h"))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        printed(f, self.millis(), &DURATION_UNITS)
    }
}

/// How large a store may be: bytes, or a share of the file system it lies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quota {
    /// So many bytes.
    Bytes(u64),
    /// Percent of the whole file system, 1..=95.
    Percent(u8),
}

impl Quota {
    /// Largest share: the file system needs room for its own data, other programs some for theirs.
    pub const PERCENT_MAX: u8 = 95;

    /// The quota in bytes on a file system of `total` bytes.
    #[must_use]
    pub fn bytes(self, total: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Percent(percent) => total / 100 * u64::from(percent),
        }
    }
}

impl FromStr for Quota {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = UnitError("a size with its unit, such as 2GiB, or a share from 1% to 95%");
        match text.strip_suffix('%') {
            Some(number) => match number.trim_end().parse() {
                Ok(percent @ 1..=Self::PERCENT_MAX) => Ok(Self::Percent(percent)),
                _ => Err(error),
            },
            None => text.parse::<Size>().map(|size| Self::Bytes(size.0)).map_err(|_| error),
        }
    }
}

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => Size(*bytes).fmt(f),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

/// What of a store its event ring takes: a share, or a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share(pub EventShare);

impl Share {
    /// What is accepted.
    #[must_use]
    pub fn expected() -> String {
        format!("a size, or a share from 0% to {SHARE_MAX}%")
    }
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let percent = || text.parse().ok().filter(|share: &Percent| share.0 <= SHARE_MAX);
        let share = match text.parse::<Size>() {
            Ok(size) => Some(EventShare::Bytes(size.0)),
            Err(_) => percent().map(|share| EventShare::Percent(share.0)),
        };
        share.map(Self).ok_or_else(|| format!("expected {}", Self::expected()))
    }
}

/// A share in percent, written `10%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(pub u8);

impl FromStr for Percent {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.strip_suffix('%').and_then(|number| number.trim_end().parse().ok());
        number.filter(|number| *number <= 100).map(Self).ok_or(UnitError("a share such as 10%"))
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations_need_a_unit_and_print_back() {
        for (text, bytes) in
            [("64MiB", 64 << 20), ("2GiB", 2 << 30), ("1500B", 1500), ("3 GB", 3_000_000_000)]
        {
            assert_eq!(text.parse::<Size>().unwrap().0, bytes, "{text}");
            assert_eq!(Size(bytes).to_string().parse::<Size>().unwrap().0, bytes);
        }
        for text in ["", "64", "MiB", "-1MiB", "1.5GiB", "64mib", "99999999999TiB"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
        for (text, millis) in [("10s", 10_000), ("250ms", 250), ("2h", 7_200_000), ("1m", 60_000)] {
            let span: Span = text.parse().unwrap();
            assert_eq!((span.millis(), span.to_string().as_str()), (millis, text));
        }
        assert!("10".parse::<Span>().is_err() && "10min".parse::<Span>().is_err());
    }

    #[test]
    fn a_quota_is_bytes_or_a_share() {
        assert_eq!("25%".parse::<Quota>().unwrap().bytes(1000), 250);
        assert_eq!("2GiB".parse::<Quota>().unwrap().bytes(0), 2 << 30);
        for text in ["0%", "96%", "%", "25", "-5%"] {
            assert!(text.parse::<Quota>().is_err(), "{text}");
        }
        for (text, share) in [
            ("0%", EventShare::Percent(0)),
            ("50 %", EventShare::Percent(50)),
            ("2GiB", EventShare::Bytes(2 << 30)),
            ("0B", EventShare::Bytes(0)),
        ] {
            assert_eq!(text.parse(), Ok(Share(share)), "{text}");
        }
        for text in ["51%", "-1%", "8", "8.5%", "GiB", ""] {
            assert!(
                text.parse::<Share>().unwrap_err().contains("a size, or a share from 0% to 50%"),
                "{text}"
            );
        }
        assert_eq!("10%".parse::<Percent>().unwrap().to_string(), "10%");
        for text in ["10", "101%", "%", "-1%"] {
            assert!(text.parse::<Percent>().is_err(), "{text}");
        }
    }
}
