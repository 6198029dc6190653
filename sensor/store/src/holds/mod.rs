//! Holds: segments that keep their place although their turn has come.
//!
//! A hold names segments by their generations; nothing is copied. It lives in the state slot (docs/FORMAT.md) and counts
//! once both slots have it. Together holds take at most a share of the ring, never more than half of it, so that recording
//! always has segments to turn in.
//!
//! - [`Keep`]: what the state says about keeping: holds, share, ages.
//! - [`keeper`]: which segments an order gets, by arithmetic alone; when a hold ends.
//! - [`HoldControl`]: how others reach a recorder at work; it looks into its mailbox in `tick`.

pub(crate) mod keeper;
mod mailbox;
mod offline;
#[cfg(test)]
mod tests;

use std::fmt;

use hindcap_wire::counted::Counted;
use hindcap_wire::limits::{HOLD_SECS_MAX, HOLD_WHO_BYTES_MAX, HOLD_WHY_BYTES_MAX};
use hindcap_wire::message::answer::Bytes;
use hindcap_wire::message::{HeldShare, HoldId, HoldInfo, HoldList, HoldPart};
use hindcap_wire::time::{NANOS_PER_SEC, TimeRange, Timestamp};
use serde::{Deserialize, Serialize};

pub use keeper::Steadiness;
pub use mailbox::HoldControl;
pub(crate) use mailbox::{Command, Mailbox};

/// Holds of one store. With [`HOLDS_BYTES_MAX`] this keeps them inside half a state slot.
pub const HOLDS_MAX: usize = 32;
/// Bytes of all holds in the state slot.
pub const HOLDS_BYTES_MAX: usize = 2048;
/// Share of the ring that holds may take when nobody said otherwise, percent.
pub const HELD_SHARE_DEFAULT: u8 = 20;
/// Most that may be allowed: half of the ring always turns.
pub const HELD_SHARE_MAX: u8 = 50;
/// How long a hold lasts when nobody said, seconds.
pub const HOLD_SECS_DEFAULT: u64 = 30 * 86_400;

/// What an operator has decided about keeping packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeepPolicy {
    /// Share of the ring that holds may take, percent.
    pub held_share: u8,
    /// Age from which on packets are not served and are removed, seconds; 0: no limit.
    pub max_age_secs: u64,
    /// Age that packets are to reach, seconds; 0: none asked for.
    pub min_age_secs: u64,
}

impl Default for KeepPolicy {
    fn default() -> Self {
        Self { held_share: HELD_SHARE_DEFAULT, max_age_secs: 0, min_age_secs: 0 }
    }
}

/// What the state says about keeping.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keep {
    /// What the operator has decided.
    pub policy: KeepPolicy,
    /// The highest generation when this was written. Segments that were emptied do not tell theirs any more, and no
    /// generation is ever used twice.
    pub generation: u64,
    /// The segment that is being emptied because it has passed the maximum age, and its generation.
    pub emptying: Option<(u32, u64)>,
    /// Oldest first.
    pub holds: Vec<Hold>,
}

/// One hold, as it is stored. Times are whole seconds, windows rounded outwards: a slot has little room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Its name.
    pub id: HoldId,
    /// Who asked.
    pub who: String,
    /// Why.
    pub why: String,
    /// When it was made.
    pub created_secs: u64,
    /// When it ends; 0 as long as it has not seen a clock that can be trusted.
    pub expires_secs: u64,
    /// How long it was made for.
    pub lasts_secs: u64,
    /// The time asked for.
    pub window_secs: (u64, u64),
    /// Segments that are still to come are taken when they are sealed, if they touch the window.
    pub follows: bool,
    /// The newest generation when it was made; what follows is newer.
    pub after: u64,
    /// Segments left out for want of room.
    pub left_out: u32,
    /// Generations held: first, and how many; ascending, not touching.
    pub ranges: Vec<(u64, u32)>,
}

#[cfg(test)]
impl Hold {
    /// A hold of `ranges` that nobody asked for and nothing ends, made when `after` was the newest generation.
    pub(crate) fn of_segments(after: u64, ranges: Vec<(u64, u32)>) -> Self {
        Self {
            id: HoldId::new(1),
            who: String::new(),
            why: String::new(),
            created_secs: 0,
            expires_secs: 0,
            lasts_secs: 1,
            window_secs: (0, 0),
            follows: false,
            after,
            left_out: 0,
            ranges,
        }
    }
}

/// What somebody wants to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldOrder {
    /// The name that the hold gets. An order with the name of a hold that exists changes nothing and gives that one.
    pub id: HoldId,
    /// Who asks.
    pub who: String,
    /// Why.
    pub why: String,
    /// How long; [`HOLD_SECS_DEFAULT`] when nobody said.
    pub lasts_secs: u64,
    /// The time asked for. An end in the future makes the hold take what is recorded until then; no end at all means
    /// what there is now.
    pub window: TimeRange,
    /// Generations of the segments to hold.
    pub generations: Vec<u64>,
    /// What to hold when there is not room for everything.
    pub partial: Option<HoldPart>,
}

/// Why nothing is held or released.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HoldError {
    /// Holds may not take so much.
    NoRoom {
        /// Segments needed beside those that are held already.
        needs: u32,
        /// Their bytes.
        needs_bytes: u64,
        /// Segments that may still be taken.
        free: u32,
        /// Segments that all holds may take.
        segments_max: u32,
    },
    /// The ring is too small for any hold, or the share for holds is 0.
    NoShare,
    /// The table of holds is full.
    TableFull,
    /// Nothing that was asked for is there (any more), and nothing is to come.
    Nothing,
    /// An order that cannot be meant.
    Order(&'static str),
    /// There is no hold of this name.
    Unknown(HoldId),
    /// The state could not be written; everything is as it was.
    Storage(String),
    /// The recorder has ended, or does not answer.
    Gone,
}

impl fmt::Display for HoldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRoom { needs, needs_bytes, free, segments_max } => write!(
                f,
                "needs {} ({}), {free} are free of {segments_max} that holds may take; shorten the range, \
                 release another hold, or take a part (--partial)",
                Counted((*needs).into(), "segment"),
                Bytes(*needs_bytes)
            ),
            Self::NoShare => f.write_str(
                "this store holds nothing: it has too few segments, or policy.held_share is 0%; extract the packets \
                 instead",
            ),
            Self::TableFull => write!(
                f,
                "no room for another hold: there are {HOLDS_MAX} at most, with {HOLDS_BYTES_MAX} bytes in all; release \
                 one, or give a shorter reason"
            ),
            Self::Nothing => f.write_str("nothing to hold: no segment holds what was asked for"),
            Self::Order(what) => f.write_str(what),
            Self::Unknown(id) => write!(f, "there is no hold {id}; it may have ended by itself"),
            Self::Storage(message) => write!(f, "nothing is changed, because the store cannot be written: {message}"),
            Self::Gone => f.write_str("the recorder does not answer; ask again, the same request makes one hold only"),
        }
    }
}

impl std::error::Error for HoldError {}

impl HoldOrder {
    /// # Errors
    /// What is too long to be kept.
    pub(crate) fn check(&self) -> Result<(), HoldError> {
        let problem = if self.why.len() > HOLD_WHY_BYTES_MAX {
            "the reason of a hold has 96 bytes at most"
        } else if self.who.len() > HOLD_WHO_BYTES_MAX {
            "who asks for a hold has 32 bytes at most"
        } else if !(1..=HOLD_SECS_MAX).contains(&self.lasts_secs) {
            "a hold lasts from 1 s to 3650 days"
        } else {
            return Ok(());
        };
        Err(HoldError::Order(problem))
    }
}

impl Hold {
    /// Whether it names this generation.
    #[must_use]
    pub fn names(&self, generation: u64) -> bool {
        self.ranges.iter().any(|(first, count)| (*first..*first + u64::from(*count)).contains(&generation))
    }

    /// The time asked for.
    #[must_use]
    pub fn window(&self) -> TimeRange {
        let at = |secs: u64| Timestamp(secs.saturating_mul(NANOS_PER_SEC));
        TimeRange::new(at(self.window_secs.0), at(self.window_secs.1))
    }

    /// When it ends; `None` as long as it has not seen a clock that can be trusted.
    #[must_use]
    pub fn expires(&self) -> Option<Timestamp> {
        (self.expires_secs > 0).then(|| Timestamp(self.expires_secs.saturating_mul(NANOS_PER_SEC)))
    }

    /// For people, of a store in which the generations `present` are.
    fn info(&self, present: &[u64], segment_bytes: u32) -> HoldInfo {
        let segments = present.iter().filter(|generation| self.names(**generation)).count() as u32;
        HoldInfo {
            id: self.id,
            who: self.who.clone(),
            why: self.why.clone(),
            created: Timestamp(self.created_secs.saturating_mul(NANOS_PER_SEC)),
            expires: self.expires(),
            lasts_secs: self.lasts_secs,
            window: self.window(),
            segments,
            bytes: u64::from(segments) * u64::from(segment_bytes),
            follows: self.follows,
            left_out: self.left_out,
        }
    }
}

impl Keep {
    /// Whether some hold names this generation.
    #[must_use]
    pub fn is_held(&self, generation: u64) -> bool {
        self.holds.iter().any(|hold| hold.names(generation))
    }

    /// Segments that holds may take in a ring of `usable` segments: the share, rounded up, but at least half of the ring
    /// and two segments stay with recording.
    #[must_use]
    pub fn segments_max(&self, usable: u32) -> u32 {
        let share = u64::from(self.policy.held_share.min(HELD_SHARE_MAX));
        let asked = (u64::from(usable) * share).div_ceil(100) as u32;
        asked.min(usable / 2).min(usable.saturating_sub(2))
    }

    /// What holds take, in a ring of `usable` segments in which the generations `present` are.
    #[must_use]
    pub fn share(&self, present: &[u64], usable: u32, segment_bytes: u32) -> HeldShare {
        let segments = present.iter().filter(|generation| self.is_held(**generation)).count() as u32;
        HeldShare {
            holds: self.holds.len() as u32,
            segments,
            bytes: u64::from(segments) * u64::from(segment_bytes),
            segments_max: self.segments_max(usable),
        }
    }

    /// All holds, for people.
    #[must_use]
    pub fn list(&self, present: &[u64], usable: u32, segment_bytes: u32) -> HoldList {
        HoldList {
            holds: self.holds.iter().map(|hold| hold.info(present, segment_bytes)).collect(),
            share: self.share(present, usable, segment_bytes),
        }
    }

    /// When the next hold ends.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Timestamp> {
        self.holds.iter().filter_map(Hold::expires).min()
    }

    /// Whether the holds have room in the state slot.
    pub(crate) fn fits(&self) -> bool {
        let bytes = postcard::to_allocvec(&self.holds).map_or(usize::MAX, |bytes| bytes.len());
        self.holds.len() <= HOLDS_MAX && bytes <= HOLDS_BYTES_MAX
    }
}
