//! The medium of the store in one place: what the recorder knows of it, what a look at the store tells, and the disk below.

use std::path::Path;

use hindcap_store::volume::VolumeRead;
use hindcap_store::volume::any::AnyReader;
use hindcap_store::{HealthSnapshot, StoreError, Trouble};
use hindcap_wire::message::card::CARD_TEXT_MAX;
use hindcap_wire::message::{CardSegments, CardState, CardStatus, CardSwap};

use crate::exit::Failure;
use crate::medium::Look;

/// What a look at the store tells of its medium.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CardSeen {
    /// The card's name; empty for a directory.
    pub label: String,
    /// Segments of the ring.
    pub segments: CardSegments,
    /// Those of the event ring; `None` without one.
    pub event_segments: Option<CardSegments>,
}

/// Which segments of a volume can be used.
#[must_use]
pub fn segments(volume: &AnyReader) -> CardSegments {
    let (all, whole) = (volume.geometry().segments, crate::hold::usable(volume));
    CardSegments { whole, missing: all.saturating_sub(whole) }
}

/// Everything there is to say. `seen`: what a look at the store found, or why there was nothing to look at; `health`: what
/// the recorder knows, where one is at work.
#[must_use]
pub fn status(
    place: &Path,
    look: &Look,
    seen: Result<&CardSeen, &Failure>,
    health: Option<&HealthSnapshot>,
) -> CardStatus {
    let mut card = CardStatus {
        place: end_of(&place.display().to_string()),
        medium: look.status(),
        ..CardStatus::default()
    };
    match seen {
        Ok(seen) => {
            card.label.clone_from(&seen.label);
            (card.segments, card.event_segments) = (Some(seen.segments), seen.event_segments);
            if look.medium.read_only {
                card.state = CardState::ReadOnly;
            }
        }
        // A recorder knows better whether its medium is there.
        Err(failure) if health.is_none() => {
            let error = failure.cause::<StoreError>();
            card.state = state(error.map_or(Trouble::Failing, Trouble::of));
            card.detail = beginning_of(&failure.to_string());
        }
        Err(_) => {}
    }
    let Some(health) = health else { return card };
    card.since = health.present_since;
    if let Some(medium) = &health.medium {
        card.state = state(medium.trouble);
        card.since = Some(medium.since);
        card.detail = beginning_of(&medium.detail);
    }
    card.swapped = health.swapped.as_ref().map(|swapped| CardSwap {
        at: swapped.at,
        before: hex(&swapped.before),
        now: hex(&swapped.now),
    });
    card
}

const fn state(trouble: Trouble) -> CardState {
    match trouble {
        Trouble::Missing => CardState::Missing,
        Trouble::Foreign => CardState::Foreign,
        Trouble::ReadOnly => CardState::ReadOnly,
        Trouble::Denied => CardState::Denied,
        Trouble::Busy => CardState::Busy,
        Trouble::Failing => CardState::Failing,
    }
}

/// An identity, hexadecimal.
#[must_use]
pub fn hex(uuid: &[u8; 16]) -> String {
    uuid.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn beginning_of(text: &str) -> String {
    text.chars().take(CARD_TEXT_MAX).collect()
}

/// Of a long path the end says more.
fn end_of(text: &str) -> String {
    let cut = text.chars().count().saturating_sub(CARD_TEXT_MAX);
    text.chars().skip(cut).collect()
}

#[cfg(test)]
mod tests {
    use hindcap_store::{MediumTrouble, Swapped};
    use hindcap_wire::time::Timestamp;

    use super::*;

    #[test]
    fn the_recorder_knows_best_then_the_store_then_the_kernel() {
        let place = Path::new("fat:/dev/mmcblk0");
        let seen = CardSeen {
            label: "OFFICE 7".into(),
            segments: CardSegments { whole: 7, missing: 1 },
            event_segments: None,
        };
        let look = Look::default();
        let idle = status(place, &look, Ok(&seen), None);
        assert_eq!((idle.state, idle.since, idle.label.as_str()), (CardState::Present, None, "OFFICE 7"));
        assert_eq!(idle.segments, Some(seen.segments));

        let mut protected = Look::default();
        protected.medium.read_only = true;
        assert_eq!(status(place, &protected, Ok(&seen), None).state, CardState::ReadOnly);

        let missing = StoreError::NotAStore { path: place.to_path_buf() };
        let failure = Failure::from(missing);
        let gone = status(place, &look, Err(&failure), None);
        assert_eq!((gone.state, gone.segments), (CardState::Missing, None));
        assert!(!gone.detail.is_empty());

        let mut health = HealthSnapshot { present_since: Some(Timestamp(5)), ..HealthSnapshot::default() };
        let works = status(place, &look, Ok(&seen), Some(&health));
        assert_eq!((works.state, works.since), (CardState::Present, Some(Timestamp(5))));
        let (trouble, since, detail) = (Trouble::ReadOnly, Timestamp(7), "x".repeat(1_000));
        health.medium = Some(MediumTrouble { trouble, since, detail });
        health.swapped = Some(Swapped { at: Timestamp(6), before: [1; 16], now: [0xab; 16] });
        let worn = status(place, &look, Err(&failure), Some(&health));
        assert_eq!((worn.state, worn.since), (CardState::ReadOnly, Some(Timestamp(7))));
        assert_eq!(worn.detail.len(), CARD_TEXT_MAX);
        assert_eq!(worn.swapped.map(|swap| (swap.at, swap.now)), Some((Timestamp(6), "ab".repeat(16))));
    }

    #[test]
    fn a_long_path_keeps_its_end() {
        let path = format!("fat:/{}/card.img", "d".repeat(4_000));
        let card = status(Path::new(&path), &Look::default(), Ok(&CardSeen::default()), None);
        assert!(card.place.len() == CARD_TEXT_MAX && card.place.ends_with("/card.img"), "{}", card.place);
    }
}
