//! Pins: sessions that are copied whole into the event ring, where the general ring cannot overwrite them
//! (docs/OPERATIONS.md, "Keeping a case").

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use super::answer::{Bytes, Span};
use super::hold::HoldId;
use crate::counted::Counted;
use crate::query::Query;
use crate::time::Timestamp;

/// The name of a pin, made and shown as that of a hold.
pub type PinId = HoldId;

/// Copy the sessions that a query leads to, SYN to FIN, and go on with them while they go on. The request's `reason` is kept
/// with the pin.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pin {
    /// Which sessions. Without an end, sessions that match later are pinned as well, until the pin expires.
    pub query: Query,
    /// How long sessions are followed, seconds; the sensor's default is an hour.
    pub for_secs: Option<u64>,
    /// Captured bytes that are copied at most; the sensor's default is half of the event ring.
    pub max_bytes: Option<u64>,
    /// Who asks, up to [`crate::limits::HOLD_WHO_BYTES_MAX`].
    pub who: Option<String>,
}

/// End a pin. What was copied stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unpin {
    /// Which.
    pub pin: PinId,
}

/// How far a pin is. The order is the wire's and the disk's: append only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PinState {
    /// What had been recorded is being copied.
    #[default]
    Copying,
    /// That is done; what comes is copied as it is recorded.
    Following,
    /// Every session has ended and is copied.
    Ended,
    /// Its time was over while sessions went on.
    Expired,
    /// Somebody ended it.
    Released,
    /// It had copied as much as it may.
    Full,
    /// It could not be carried out.
    Failed,
}

impl PinState {
    /// Whether the sensor still works for it.
    #[must_use]
    pub const fn is_active(self) -> bool {
        matches!(self, Self::Copying | Self::Following)
    }

    /// Words for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Copying => "copying what was recorded",
            Self::Following => "following",
            Self::Ended => "complete",
            Self::Expired => "expired",
            Self::Released => "ended by request",
            Self::Full => "full",
            Self::Failed => "failed",
        }
    }
}

/// A pin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinInfo {
    /// Its name.
    pub id: PinId,
    /// Which sessions.
    pub query: Query,
    /// Who asked for it; may be empty.
    pub who: String,
    /// Why; may be empty.
    pub why: String,
    /// When it was made.
    pub created: Timestamp,
    /// How long sessions are followed, seconds.
    pub lasts_secs: u64,
    /// When following ends by itself; absent until the sensor's clock is synchronised.
    pub expires: Option<Timestamp>,
    /// Captured bytes that are copied at most.
    pub max_bytes: u64,
    /// How far it is.
    pub state: PinState,
    /// What a person should know of the state; may be empty.
    pub detail: String,
    /// Packets copied. One that an earlier pin had copied counts there.
    pub packets: u64,
    /// Their captured bytes.
    pub bytes: u64,
    /// First and last packet copied.
    pub span: Option<Span>,
    /// Segments of the general ring that were overwritten before the pin had been through them: what they held of it is
    /// lost.
    pub segments_missed: u64,
    /// Generation of the event ring's segment in which its first copy lies, 0 before.
    pub first_generation: u64,
    /// Whether the event ring has come round and overwritten its first copies.
    pub overwritten: bool,
}

/// All pins that are remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinList {
    /// Oldest first.
    pub pins: Vec<PinInfo>,
}

impl fmt::Display for PinInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  {}", self.id, self.state.name())?;
        if self.state.is_active() {
            match self.expires {
                Some(expires) => write!(f, " until {expires}")?,
                None => write!(f, " for {} s from the clock's synchronisation on", self.lasts_secs)?,
            }
        }
        write!(f, ": {}, {}", Counted(self.packets, "packet"), Bytes(self.bytes))?;
        if let Some(span) = self.span {
            write!(f, ", {} to {}", span.first, span.last)?;
        }
        if !self.who.is_empty() {
            write!(f, "; {}", self.who)?;
        }
        if !self.why.is_empty() {
            write!(f, "; {}", self.why)?;
        }
        if !self.detail.is_empty() {
            write!(f, "\n          {}", self.detail)?;
        }
        if self.segments_missed > 0 {
            write!(
                f,
                "\n          overwritten before it was copied: {}; what was in there of it is lost",
                Counted(self.segments_missed, "segment")
            )?;
        }
        if self.overwritten {
            f.write_str("\n          the event ring came round: its oldest packets are overwritten")?;
        }
        Ok(())
    }
}

impl fmt::Display for PinList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pins.is_empty() {
            return f.write_str("no pins\n");
        }
        self.pins.iter().try_for_each(|pin| writeln!(f, "{pin}"))
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn what_a_pin_lost_is_said() {
        let mut pin = PinInfo {
            id: PinId::new(1),
            query: Query::default(),
            who: String::new(),
            why: "case 17".into(),
            created: Timestamp(0),
            lasts_secs: 3_600,
            expires: Some(Timestamp(1)),
            max_bytes: 1,
            state: PinState::Ended,
            detail: String::new(),
            packets: 3,
            bytes: 180,
            span: None,
            segments_missed: 0,
            first_generation: 1,
            overwritten: false,
        };
        assert_eq!(pin.to_string(), "00000001  complete: 3 packets, 180 B; case 17");
        (pin.segments_missed, pin.overwritten) = (2, true);
        let text = pin.to_string();
        assert!(text.contains("copied: 2 segments; what") && text.contains("came round"), "{text}");
        assert_eq!(PinList::default().to_string(), "no pins\n");
    }
}
