//! The order of the ring: which segment holds what generation, and which one is overwritten next.
//!
//! Order is by generation, never by number. A segment without a readable header of this store counts as unused
//! (generation 0) and is taken first. A segment that a hold names is passed over.

use hindcap_wire::ledger::{HEADER_END, SegmentHeader};

use crate::holds::Keep;
use crate::lost_header;
use crate::volume::{Area, VolumeRead};

/// In place of a generation: the segment was removed behind the store's back and is never taken.
const GONE: u64 = u64::MAX;

/// What segments are ordered by.
#[cfg(not(test))]
const fn order(header: &SegmentHeader) -> u64 {
    header.generation
}

/// The same, or by the clock.
#[cfg(test)]
fn order(header: &SegmentHeader) -> u64 {
    if BY_CLOCK.get() { header.begun.wall.secs() + 1 } else { header.generation }
}

#[cfg(test)]
thread_local! {
    /// A broken ring, for the canary of the clock steps: the order of the segments is that of their times.
    static BY_CLOCK: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Makes rings of this thread believe the clock.
#[cfg(test)]
pub(crate) fn order_by_clock(by_clock: bool) {
    BY_CLOCK.set(by_clock);
}

/// See the module. One entry per segment.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    generations: Vec<u64>,
    /// Highest generation ever used; the next is one more.
    highest: u64,
    /// Generations that holds name: first, and how many; in no order.
    held: Vec<(u64, u32)>,
    /// Takes held segments as well: the canary of the tests.
    #[cfg(test)]
    pub(crate) ignore_holds: bool,
}

impl Ring {
    /// Reads the headers of all segments. Unreadable ones count as unused: the next write decides about them.
    pub(crate) fn scan(volume: &impl VolumeRead, store: &[u8; 16]) -> Self {
        let generation = |number| match read_header(volume, store, number) {
            _ if !volume.is_usable(number) => GONE,
            header => header.map_or(0, |header| order(&header)),
        };
        let generations: Vec<u64> = (0..volume.geometry().segments).map(generation).collect();
        let highest = generations.iter().copied().filter(|generation| *generation != GONE).max().unwrap_or(0);
        Self { generations, highest, ..Self::default() }
    }

    /// A ring of `segments` that was never used.
    #[cfg(test)]
    pub(crate) fn of(segments: u32) -> Self {
        Self { generations: vec![0; segments as usize], ..Self::default() }
    }

    /// What a look at the headers gives.
    #[cfg(test)]
    pub(crate) fn reread(&self) -> Self {
        let highest = self.generations.iter().copied().max().unwrap_or(0);
        Self { generations: self.generations.clone(), highest, ..Self::default() }
    }

    /// From now on, what `keep` names is passed over.
    pub(crate) fn set_keep(&mut self, keep: &Keep) {
        self.highest = self.highest.max(keep.generation);
        self.held = keep.holds.iter().flat_map(|hold| hold.ranges.iter().copied()).collect();
    }

    /// Highest generation ever used.
    pub(crate) const fn highest(&self) -> u64 {
        self.highest
    }

    /// Segments that recording may use.
    pub(crate) fn usable(&self) -> u32 {
        self.generations.iter().filter(|generation| **generation != GONE).count() as u32
    }

    /// The generations of all segments with a header, ascending.
    pub(crate) fn generations_used(&self) -> Vec<u64> {
        let mut generations: Vec<u64> = self.used().map(|(_, generation)| generation).collect();
        generations.sort_unstable();
        generations
    }

    fn is_held(&self, generation: u64) -> bool {
        #[cfg(test)]
        if self.ignore_holds {
            return false;
        }
        self.held.iter().any(|(first, count)| (*first..*first + u64::from(*count)).contains(&generation))
    }

    /// The segment with the highest generation, if any is used.
    pub(crate) fn newest(&self) -> Option<u32> {
        let used = self.generations.iter().enumerate().filter(|(_, generation)| **generation != GONE);
        let (number, generation) = used.max_by_key(|(_, generation)| **generation)?;
        (*generation > 0).then_some(number as u32)
    }

    /// Segments with a header, and their generations.
    pub(crate) fn used(&self) -> impl Iterator<Item = (u32, u64)> + '_ {
        self.generations
            .iter()
            .enumerate()
            .filter(|(_, generation)| **generation > 0 && **generation != GONE)
            .map(|(at, g)| (at as u32, *g))
    }

    /// Takes the oldest segment that nobody holds for a new generation; returns both. What holds may take leaves half of the
    /// ring; only when segments were removed behind the store's back can all that are left be held. Then recording goes on
    /// in the oldest of them, and says what that costs.
    pub(crate) fn take_next(&mut self) -> (u32, u64) {
        self.highest += 1;
        // `min_by_key` gives the first of equals: unused segments are taken in the order of their numbers.
        let all = || self.generations.iter().enumerate().filter(|(_, generation)| **generation != GONE);
        let free = all().filter(|(_, generation)| !self.is_held(**generation));
        let oldest = free.min_by_key(|(_, generation)| **generation);
        let oldest = oldest.or_else(|| {
            log::error!("every segment that is left is held: the oldest held one is overwritten");
            all().min_by_key(|(_, generation)| **generation)
        });
        let number = oldest.map_or(0, |(number, _)| number);
        if let Some(slot) = self.generations.get_mut(number) {
            *slot = self.highest;
        }
        (number as u32, self.highest)
    }

    /// The segment that holds `generation`.
    pub(crate) fn number_of(&self, generation: u64) -> Option<u32> {
        self.used().find(|(_, other)| *other == generation).map(|(number, _)| number)
    }

    /// Recording passes the segment over until it is forgotten.
    pub(crate) fn set_aside(&mut self, number: u32) {
        if let Some(slot) = self.generations.get_mut(number as usize) {
            *slot = GONE;
        }
    }

    /// Whether nothing is known to be in the segment.
    pub(crate) fn is_unused(&self, number: u32) -> bool {
        self.generations.get(number as usize) == Some(&0)
    }

    /// The segment turned out to hold no batch: it is used before all others, though its generation is spent.
    pub(crate) fn forget(&mut self, number: u32) {
        if let Some(slot) = self.generations.get_mut(number as usize) {
            *slot = 0;
        }
    }
}

/// The header of segment `number`, when it is of this store; one that is damaged is told by the batches behind it.
pub(crate) fn read_header(volume: &impl VolumeRead, store: &[u8; 16], number: u32) -> Option<SegmentHeader> {
    let mut start = [0; HEADER_END];
    volume.read(Area::Segment(number), 0, &mut start).ok()?;
    let Some(header) = SegmentHeader::decode(&start) else {
        return if start == [0; HEADER_END] {
            None
        } else {
            lost_header::find(volume, store, number, &start)
        };
    };
    (header.store == *store && header.segment_bytes == volume.geometry().segment_bytes).then_some(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unused_first_then_the_oldest() {
        let made = |generations, highest| Ring { generations, highest, ..Ring::default() };
        let mut ring = made(vec![7, 0, 5, 0], 9);
        assert_eq!(ring.newest(), Some(0));
        assert_eq!([ring.take_next(), ring.take_next(), ring.take_next()], [(1, 10), (3, 11), (2, 12)]);
        ring.forget(1);
        assert_eq!((ring.newest(), ring.take_next()), (Some(2), (1, 13)));
        assert_eq!(made(vec![0, 0], 0).newest(), None);
        let mut ring = made(vec![GONE, 3, GONE, 2], 3);
        assert_eq!((ring.newest(), ring.take_next(), ring.take_next()), (Some(1), (3, 4), (1, 5)));
    }
}
