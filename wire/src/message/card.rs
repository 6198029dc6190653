//! The medium that the store lies on, in one place: which it is, whether it can be recorded to and since when, and how much
//! of the store is still on it.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use super::wear::MediumStatus;
use crate::counted::Counted;
use crate::time::Timestamp;

/// Longest place and longest detail, characters: a status stays below 4 KiB.
pub const CARD_TEXT_MAX: usize = 160;

/// Whether a medium can be recorded to. The order is the wire's: append only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CardState {
    /// It is there and can be written.
    #[default]
    Present,
    /// Nothing is at its place.
    Missing,
    /// What is there is no store of ours.
    Foreign,
    /// It can be read but not written.
    ReadOnly,
    /// Somebody else holds it.
    Busy,
    /// It answers with errors.
    Failing,
    /// The sensor may not open it.
    Denied,
}

impl CardState {
    /// In words.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Missing => "MISSING",
            Self::Foreign => "FOREIGN: no Hindcap store",
            Self::ReadOnly => "READ-ONLY",
            Self::Busy => "BUSY: held by somebody else",
            Self::Failing => "FAILING",
            Self::Denied => "DENIED: the sensor may not open it",
        }
    }
}

/// Segments of a ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CardSegments {
    /// Those that can be used.
    pub whole: u32,
    /// Those that somebody deleted, replaced or moved.
    pub missing: u32,
}

impl fmt::Display for CardSegments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} whole", Counted(self.whole.into(), "segment"))?;
        if self.missing > 0 { write!(f, ", {} MISSING", self.missing) } else { Ok(()) }
    }
}

/// Another medium was put in the place of the one before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CardSwap {
    /// When it was taken into use.
    pub at: Timestamp,
    /// Identity of the store before, hexadecimal.
    pub before: String,
    /// Identity of the store in use, hexadecimal.
    pub now: String,
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CardStatus {
    /// Where the store is: a directory, or `fat:` and a device; its end when it is longer than [`CARD_TEXT_MAX`].
    pub place: String,
    /// The card's name as computers show it; empty for a directory.
    pub label: String,
    /// The disk, and what it says of itself.
    pub medium: MediumStatus,
    /// Whether it can be recorded to.
    pub state: CardState,
    /// Since when; absent when nobody records, so that nobody knows.
    pub since: Option<Timestamp>,
    /// What the system said; empty while the medium is present.
    pub detail: String,
    /// The last time that another medium came to its place, since the start.
    pub swapped: Option<CardSwap>,
    /// Segments of the ring; absent while it cannot be read.
    pub segments: Option<CardSegments>,
    /// Those of the event ring; absent without one.
    pub event_segments: Option<CardSegments>,
}

impl CardStatus {
    /// What a person reads, one fact a line: name and text. Nothing is said that is not known.
    #[must_use]
    pub fn lines(&self) -> Vec<(&'static str, String)> {
        let since = self.since.map_or_else(String::new, |since| format!(" since {since}"));
        let label = if self.label.is_empty() { String::new() } else { format!(", labelled {}", self.label) };
        let mut card = format!("{}{label}: {}{since}", self.place, self.state.name());
        if !self.detail.is_empty() {
            card.push_str(&format!(": {}", self.detail));
        }
        let mut lines = Vec::from([("card", card), ("medium", format!("{}", self.medium))]);
        lines.extend(self.medium.told().map(|told| ("registers", told)));
        lines.extend(self.segments.map(|segments| ("segments", self.segments_line(segments))));
        lines.extend(
            self.swapped.as_ref().map(|swap| {
                ("swapped", format!("store {} since {}, after {}", swap.now, swap.at, swap.before))
            }),
        );
        lines
    }

    fn segments_line(&self, segments: CardSegments) -> String {
        match self.event_segments {
            Some(events) => format!("{segments}; event ring: {events}"),
            None => format!("{segments}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::MediumKind;

    #[test]
    fn a_card_is_said_in_words() {
        let medium = MediumStatus {
            kind: MediumKind::Sd,
            name: "mmcblk0".into(),
            used_permille: Some(20),
            ..MediumStatus::default()
        };
        let mut card = CardStatus {
            place: "fat:/dev/mmcblk0".into(),
            label: "OFFICE 7".into(),
            medium,
            since: Some(Timestamp::from_parts(1_790_000_000, 0)),
            segments: Some(CardSegments { whole: 807, missing: 2 }),
            event_segments: Some(CardSegments { whole: 1, missing: 0 }),
            ..CardStatus::default()
        };
        let texts = |card: &CardStatus| -> Vec<String> {
            card.lines().into_iter().map(|(name, text)| format!("{name}: {text}")).collect()
        };
        let lines = texts(&card);
        assert_eq!(
            lines,
            [
                "card: fat:/dev/mmcblk0, labelled OFFICE 7: present since 2026-09-21T14:13:20.000000000Z",
                "medium: SD card mmcblk0",
                "registers: 2.0 % of its life used",
                "segments: 807 segments whole, 2 MISSING; event ring: 1 segment whole",
            ]
        );
        (card.state, card.detail) = (CardState::Missing, "No such device".into());
        (card.segments, card.event_segments) = (None, None);
        card.swapped = Some(CardSwap { at: Timestamp(0), before: "0a".into(), now: "0b".into() });
        let lines = texts(&card);
        assert!(
            lines[0].ends_with(": MISSING since 2026-09-21T14:13:20.000000000Z: No such device"),
            "{lines:?}"
        );
        assert_eq!(lines.last().unwrap(), "swapped: store 0b since 1970-01-01T00:00:00.000000000Z, after 0a");
        assert_eq!(lines.len(), 4, "segments of a card that is not there are not known");
    }
}
