//! Holds: segments that are kept although their turn has come (docs/OPERATIONS.md, "Holding evidence").

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::answer::Bytes;
use super::ulid::Ulid;
use crate::counted::Counted;
use crate::query::Query;
use crate::time::{NANOS_PER_SEC, TimeRange, Timestamp};

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const TEXT_BYTES: usize = 8;

/// The name of a hold: 40 bits, shown as 8 letters and digits of Crockford's base 32, such as `7k3qxm2a`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HoldId(u64);

impl HoldId {
    /// The hold with the low 40 bits of `number`.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number & ((1 << (5 * TEXT_BYTES)) - 1))
    }

    /// The hold that a request makes: always the same one, however often the request is carried out.
    #[must_use]
    pub const fn of_request(request: Ulid) -> Self {
        Self::new(request.0 as u64)
    }

    /// Its 40 bits.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for HoldId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for position in (0..TEXT_BYTES).rev() {
            let digit = (self.0 >> (5 * position)) & 31;
            fmt::Write::write_char(f, char::from(ALPHABET[digit as usize]))?;
        }
        Ok(())
    }
}

impl fmt::Debug for HoldId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that names no hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseHoldIdError;

impl fmt::Display for ParseHoldIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected the name of a hold, 8 letters and digits such as 7k3qxm2a")
    }
}

impl core::error::Error for ParseHoldIdError {}

impl FromStr for HoldId {
    type Err = ParseHoldIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() != TEXT_BYTES {
            return Err(ParseHoldIdError);
        }
        text.bytes().try_fold(Self(0), |sum, byte| {
            let lower = byte.to_ascii_lowercase();
            let digit = ALPHABET.iter().position(|known| *known == lower).ok_or(ParseHoldIdError)?;
            Ok(Self((sum.0 << 5) | digit as u64))
        })
    }
}

impl Serialize for HoldId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for HoldId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
        } else {
            u64::deserialize(deserializer).map(Self::new)
        }
    }
}

/// Keep the segments that may hold packets of a query. The request's `reason` says why and is kept with the hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hold {
    /// Which packets. What is still to come is held by time alone, up to the end that the query names.
    pub query: Query,
    /// For how long, seconds; the sensor's default is 30 days.
    pub for_secs: Option<u64>,
    /// What to hold when there is not room for everything; without, such a hold is refused.
    pub partial: Option<HoldPart>,
    /// Who asks, up to [`crate::limits::HOLD_WHO_BYTES_MAX`].
    pub who: Option<String>,
}

/// Which part to hold when there is not room for everything. The order is the wire's: append only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldPart {
    /// The newest segments.
    Newest,
    /// The oldest ones, which would be overwritten first.
    Oldest,
}

/// End a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// Which.
    pub hold: HoldId,
}

/// A hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldInfo {
    /// Its name.
    pub id: HoldId,
    /// Who asked for it; may be empty.
    pub who: String,
    /// Why; may be empty.
    pub why: String,
    /// When it was made, by the sensor's clock of then.
    pub created: Timestamp,
    /// When it ends by itself. Absent while the sensor's clock is not synchronised and was not since: it then counts from
    /// the synchronisation.
    pub expires: Option<Timestamp>,
    /// How long it was made for, seconds.
    pub lasts_secs: u64,
    /// The time asked for.
    pub window: TimeRange,
    /// Segments held.
    pub segments: u32,
    /// Their bytes on the medium.
    pub bytes: u64,
    /// Whether segments that are still to come are taken as they are sealed.
    pub follows: bool,
    /// Segments that were asked for and are not held, for want of room.
    pub left_out: u32,
}

/// What holds take of the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldShare {
    /// Holds.
    pub holds: u32,
    /// Segments held; one that several holds name counts once.
    pub segments: u32,
    /// Their bytes on the medium.
    pub bytes: u64,
    /// Segments that holds may take.
    pub segments_max: u32,
}

/// A hold was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The hold.
    pub hold: HoldInfo,
    /// Segments that were overwritten between looking and holding.
    pub gone: u32,
    /// What all holds take now.
    pub share: HeldShare,
}

/// A hold has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Released {
    /// Which.
    pub hold: HoldId,
    /// Segments that no hold keeps any more.
    pub segments: u32,
    /// What the other holds take.
    pub share: HeldShare,
}

/// All holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldList {
    /// Oldest first.
    pub holds: Vec<HoldInfo>,
    /// What they take.
    pub share: HeldShare,
}

/// How much of a duration people want to know.
struct Span(u64);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            secs if secs % 86_400 == 0 => write!(f, "{} d", secs / 86_400),
            secs if secs % 3_600 == 0 => write!(f, "{} h", secs / 3_600),
            secs => write!(f, "{secs} s"),
        }
    }
}

impl fmt::Display for HeldShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { holds, segments, bytes, segments_max } = self;
        write!(
            f,
            "{}, {segments} of {} that holds may take ({})",
            Counted((*holds).into(), "hold"),
            Counted((*segments_max).into(), "segment"),
            Bytes(*bytes)
        )
    }
}

impl fmt::Display for HoldInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ends = match self.expires {
            Some(expires) => format!("until {}", Timestamp(expires.0 / NANOS_PER_SEC * NANOS_PER_SEC)),
            None => format!("for {} from the clock's synchronisation on", Span(self.lasts_secs)),
        };
        let segments = Counted(self.segments.into(), "segment");
        write!(f, "{}  {segments}, {}, {ends}; {}", self.id, Bytes(self.bytes), self.window)?;
        if self.follows {
            f.write_str("; takes what is recorded in that time")?;
        }
        if self.left_out > 0 {
            write!(f, "; {} left out for want of room", Counted(self.left_out.into(), "segment"))?;
        }
        match (self.who.is_empty(), self.why.is_empty()) {
            (true, true) => Ok(()),
            (false, true) => write!(f, "; for {}", self.who),
            (true, false) => write!(f, "; {}", self.why),
            (false, false) => write!(f, "; for {}: {}", self.who, self.why),
        }
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "held        {}", self.hold)?;
        if self.gone > 0 {
            let gone = Counted(self.gone.into(), "segment");
            writeln!(f, "gone        {gone} overwritten before they could be held")?;
        }
        writeln!(f, "share       {}", self.share)
    }
}

impl fmt::Display for Released {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let segments = Counted(self.segments.into(), "segment");
        writeln!(f, "released    {}: {segments} free to be overwritten", self.hold)?;
        writeln!(f, "share       {}", self.share)
    }
}

impl fmt::Display for HoldList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for hold in &self.holds {
            writeln!(f, "{hold}")?;
        }
        writeln!(f, "share       {}", self.share)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn names_are_short_and_read_back() {
        let id = HoldId::of_request(Ulid(u128::MAX - 5));
        assert_eq!(id.to_string(), "zzzzzzzt");
        assert_eq!("ZZZZZZZT".parse::<HoldId>(), Ok(id));
        assert_eq!(HoldId::new(1).to_string(), "00000001");
        for text in ["", "0000000", "000000001", "0000000u", "0000000-"] {
            assert_eq!(text.parse::<HoldId>(), Err(ParseHoldIdError), "{text}");
        }
    }
}
