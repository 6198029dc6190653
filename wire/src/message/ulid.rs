//! Request identifiers: ULID (github.com/ulid/spec), 48 bits of milliseconds and 80 random bits, printed as 26
//! characters of Crockford's base 32. Text order is time order.
//!
//! Neither a clock nor a random source is read here; both are arguments.

use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::time::Timestamp;

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const TEXT_BYTES: usize = 26;

/// A ULID. In JSON its text, in postcard 16 bytes, big-endian.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ulid(pub u128);

impl Ulid {
    /// The identifier of instant `at` with the low 80 bits of `random`.
    #[must_use]
    pub const fn new(at: Timestamp, random: u128) -> Self {
        let millis = (at.0 / 1_000_000) as u128;
        Self((millis << 80) | (random & ((1 << 80) - 1)))
    }

    /// The instant in the identifier, to the millisecond.
    #[must_use]
    pub const fn time(self) -> Timestamp {
        Timestamp(((self.0 >> 80) as u64).saturating_mul(1_000_000))
    }
}

impl fmt::Display for Ulid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for position in (0..TEXT_BYTES).rev() {
            let digit = (self.0 >> (5 * position)) & 31;
            fmt::Write::write_char(f, char::from(ALPHABET[digit as usize]))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Ulid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not a ULID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseUlidError;

impl fmt::Display for ParseUlidError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "expected a ULID: 26 characters of Crockford's base 32, such as 01ARZ3NDEKTSV4RRFFQ69G5FAV",
        )
    }
}

impl core::error::Error for ParseUlidError {}

impl FromStr for Ulid {
    type Err = ParseUlidError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // 26 digits carry 130 bits: the first may be 0 to 7.
        if text.len() != TEXT_BYTES || !matches!(text.as_bytes().first(), Some(b'0'..=b'7')) {
            return Err(ParseUlidError);
        }
        text.bytes().try_fold(Self(0), |sum, byte| {
            let upper = byte.to_ascii_uppercase();
            let digit = ALPHABET.iter().position(|known| *known == upper).ok_or(ParseUlidError)?;
            Ok(Self((sum.0 << 5) | digit as u128))
        })
    }
}

impl Serialize for Ulid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            self.0.to_be_bytes().serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Ulid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
        } else {
            <[u8; 16]>::deserialize(deserializer).map(|bytes| Self(u128::from_be_bytes(bytes)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_the_specification() {
        // The specification's example: 01ARZ3NDEKTSV4RRFFQ69G5FAV, time 1469922850259 ms.
        let ulid: Ulid = "01ARZ3NDEKTSV4RRFFQ69G5FAV".parse().unwrap();
        assert_eq!(ulid.time().0 / 1_000_000, 1_469_922_850_259);
        assert_eq!(ulid.to_string(), "01ARZ3NDEKTSV4RRFFQ69G5FAV");
        assert_eq!("01arz3ndektsv4rrffq69g5fav".parse::<Ulid>().unwrap(), ulid);
        assert_eq!("7ZZZZZZZZZZZZZZZZZZZZZZZZZ".parse::<Ulid>().unwrap().0, u128::MAX);
        let (earlier, later) =
            (Ulid::new(Timestamp(1_000_000), u128::MAX), Ulid::new(Timestamp(2_000_000), 0));
        assert!(earlier < later && earlier.to_string() < later.to_string());
    }

    #[test]
    fn rejects_what_is_not_one() {
        for text in
            ["", "01ARZ3NDEKTSV4RRFFQ69G5FA", "81ARZ3NDEKTSV4RRFFQ69G5FAV", "01ARZ3NDEKTSV4RRFFQ69G5FAU"]
        {
            assert_eq!(text.parse::<Ulid>(), Err(ParseUlidError), "{text}");
        }
    }
}
