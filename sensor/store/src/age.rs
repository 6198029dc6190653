//! Maximum age: which segments have passed it. Arithmetic alone; the recorder acts on it, the reader hides what is older.
//!
//! A segment has passed the age when its newest packet has. Packets of a box that starts without a clock bear times long
//! gone; so a segment counts as no older than those before it, and times in the future count for nothing. A segment of which
//! nobody knows counts as the next one does.

use hindcap_wire::time::{NANOS_PER_SEC, Timestamp};

use crate::holds::Keep;

/// The open segment is sealed when its oldest packet has reached this part of the age, so that no segment keeps packets
/// much longer than the age because newer ones lie in it.
const SPAN_PART: u64 = 16;

/// The instant before which packets are too old, if there is a limit.
pub(crate) fn horizon(keep: &Keep, now: Timestamp) -> Option<Timestamp> {
    let secs = keep.policy.max_age_secs;
    (secs > 0).then(|| now.minus_nanos(secs.saturating_mul(NANOS_PER_SEC)))
}

/// Whether a segment with a packet of `first` is to be sealed, though it is not full.
pub(crate) fn spans_enough(keep: &Keep, first: Timestamp, now: Timestamp) -> bool {
    let secs = keep.policy.max_age_secs;
    let span = secs.saturating_mul(NANOS_PER_SEC) / SPAN_PART;
    secs > 0 && first <= now && now.0 - first.0 >= span
}

/// Whether a packet of `at` has passed the age.
pub(crate) fn has_passed(keep: &Keep, at: Timestamp, now: Timestamp) -> bool {
    horizon(keep, now).is_some_and(|horizon| at < horizon)
}

/// Newest packets of the segments, by generation.
#[derive(Debug, Default)]
pub(crate) struct Ages(Vec<(u64, Timestamp)>);

impl Ages {
    /// The newest packet of a sealed segment.
    pub(crate) fn note(&mut self, generation: u64, times: (Timestamp, Timestamp)) {
        let last = if times.0 > times.1 { Timestamp::MIN } else { times.1 };
        let at = self.0.partition_point(|(other, _)| *other < generation);
        self.0.insert(at, (generation, last));
    }

    /// Forgets what is not in the ring any more; `present` ascends.
    pub(crate) fn keep_only(&mut self, present: &[u64]) {
        self.0.retain(|(generation, _)| present.binary_search(generation).is_ok());
    }

    /// The oldest segment that has passed the age and that nobody holds.
    pub(crate) fn expired(&self, keep: &Keep, now: Timestamp) -> Option<u64> {
        let horizon = horizon(keep, now)?;
        let mut newest = Timestamp::MIN;
        for (at, (generation, last)) in self.0.iter().enumerate() {
            let known = self.0[at..].iter().map(|(_, last)| last).find(|last| **last != Timestamp::MIN);
            let last = if *last == Timestamp::MIN { known.unwrap_or(&now) } else { last };
            if *last <= now {
                newest = newest.max(*last);
            } else {
                // Nobody has packets of the future: these came before now, and that is all that is known.
                newest = now;
            }
            if newest < horizon && !keep.is_held(*generation) {
                return Some(*generation);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::holds::{Hold, KeepPolicy};

    const HOUR: u64 = 3_600 * NANOS_PER_SEC;

    fn keep() -> Keep {
        Keep { policy: KeepPolicy { max_age_secs: 10 * 3_600, ..KeepPolicy::default() }, ..Keep::default() }
    }

    fn ages(lasts: &[u64]) -> Ages {
        let mut ages = Ages::default();
        for (at, last) in lasts.iter().enumerate().rev() {
            ages.note(at as u64 + 1, (Timestamp(*last), Timestamp(*last)));
        }
        ages
    }

    fn expired(ages: &Ages, keep: &Keep, hour: u64) -> Option<u64> {
        ages.expired(keep, Timestamp(hour * HOUR))
    }

    #[test]
    fn the_oldest_goes_when_its_newest_packet_has_passed_the_age() {
        let ages = ages(&[100 * HOUR, 101 * HOUR, 102 * HOUR]);
        assert_eq!(expired(&ages, &keep(), 110), None);
        assert_eq!(expired(&ages, &keep(), 111), Some(1));
        assert_eq!(expired(&ages, &Keep::default(), 1_000), None, "no limit");
        let mut held = keep();
        held.holds.push(Hold::of_segments(0, vec![(1, 1)]));
        assert_eq!(expired(&ages, &held, 111), None, "a hold outlives the age");
        assert_eq!(expired(&ages, &held, 112), Some(2));
    }

    #[test]
    fn a_clock_that_was_wrong_makes_nothing_older_than_what_came_before() {
        // The box started in 1970 and got its time in the third segment.
        let ages = ages(&[100 * HOUR, HOUR, 101 * HOUR]);
        assert_eq!(expired(&ages, &keep(), 105), None);
        // And from the future nothing is taken that would keep the others for ever.
        let ages = self::ages(&[900 * HOUR, 101 * HOUR]);
        assert_eq!(expired(&ages, &keep(), 105), None);
        assert_eq!(expired(&ages, &keep(), 911), Some(1));
    }

    #[test]
    fn what_nobody_knows_of_goes_with_the_next() {
        let ages = ages(&[0, 100 * HOUR, 0]);
        assert_eq!((expired(&ages, &keep(), 110), expired(&ages, &keep(), 111)), (None, Some(1)));
        let mut last = self::ages(&[100 * HOUR, 0]);
        last.keep_only(&[2]);
        assert_eq!(expired(&last, &keep(), 900), None, "as long as nothing comes after it");
    }

    #[test]
    fn an_open_segment_spans_a_part_of_the_age() {
        let first = Timestamp(100 * HOUR);
        assert!(!spans_enough(&keep(), first, first.plus_nanos(10 * HOUR / 16 - 1)));
        assert!(spans_enough(&keep(), first, first.plus_nanos(10 * HOUR / 16)));
        assert!(
            !spans_enough(&keep(), first, Timestamp(0))
                && !spans_enough(&Keep::default(), first, Timestamp::MAX)
        );
    }
}
