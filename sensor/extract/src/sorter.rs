//! Puts matches in time order within bounded memory.
//!
//! The caller reads units (runs of pages) in order of their earliest time and offers what matches; after each unit it
//! says up to which instant nothing more can come, and everything earlier is released in order. Savefiles that were
//! imported may overlap and be out of order without limit, so that more matches can wait than memory allows: then the
//! latest ones are let go, the *barrier* remembers where, and the caller reads those units again for the next pass.
//! Nothing is written to the medium for it.
//!
//! Bound: [`Sorter::new`]'s `weight_max` plus one item. Equal timestamps keep the order in which they were recorded.

use std::collections::BTreeMap;

use hindcap_store::Class;
use hindcap_wire::time::Timestamp;

/// Where a packet stands: by time, then in the order of recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// Its timestamp.
    pub at: Timestamp,
    /// Its ring; of one instant, what was pinned comes last.
    pub class: Class,
    /// Generation of its segment.
    pub generation: u64,
    /// Its offset in the segment.
    pub offset: u64,
}

/// What waits in a [`Sorter`].
pub(crate) trait Waiting {
    /// Bytes of memory it holds.
    fn weight(&self) -> usize;
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Sorter<T> {
    waiting: BTreeMap<Place, T>,
    weight: usize,
    weight_max: usize,
    /// The last place released or passed over; earlier offers were dealt with in a pass before.
    floor: Option<Place>,
    /// The first place let go in this pass; later offers belong to the next pass.
    barrier: Option<Place>,
}

/// What to do with the earliest waiting item.
pub(crate) enum Release {
    /// It is out; go on with the next.
    Next,
    /// Leave it where it is, and stop.
    Stay,
}

impl<T: Waiting> Sorter<T> {
    /// An empty one that holds at most about `weight_max` bytes.
    pub fn new(weight_max: usize) -> Self {
        Self { waiting: BTreeMap::new(), weight: 0, weight_max, floor: None, barrier: None }
    }

    /// Whether an item at `place` belongs to this pass; asked before the item is copied.
    pub fn wants(&self, place: Place) -> bool {
        !self.is_done(place) && self.barrier.is_none_or(|barrier| place < barrier)
    }

    /// Whether `place` was dealt with in a pass before.
    pub fn is_done(&self, place: Place) -> bool {
        self.floor.is_some_and(|floor| place <= floor)
    }

    /// Takes an item that [`Sorter::wants`].
    pub fn offer(&mut self, place: Place, item: T) {
        self.weight += item.weight();
        if let Some(before) = self.waiting.insert(place, item) {
            self.weight -= before.weight();
        }
        while self.weight > self.weight_max && self.waiting.len() > 1 {
            let Some((place, item)) = self.waiting.pop_last() else { break };
            self.weight -= item.weight();
            self.barrier = Some(place);
        }
    }

    /// Hands the items earlier than `before`, or all of them when they are the `last` of this pass, to `take`, in order,
    /// until it stays or fails.
    ///
    /// # Errors
    /// Those of `take`.
    pub fn release<E>(
        &mut self,
        before: Timestamp,
        last: bool,
        mut take: impl FnMut(&mut T) -> Result<Release, E>,
    ) -> Result<(), E> {
        while let Some(mut first) = self.waiting.first_entry().filter(|first| last || first.key().at < before)
        {
            if matches!(take(first.get_mut())?, Release::Stay) {
                break;
            }
            let (place, item) = first.remove_entry();
            self.weight -= item.weight();
            self.floor = Some(place);
        }
        Ok(())
    }

    /// The place from which on the next pass must read again.
    pub fn barrier(&self) -> Option<Place> {
        self.barrier
    }

    /// The last place that was released.
    pub fn floor(&self) -> Option<Place> {
        self.floor
    }

    /// Starts the next pass: what still waits will be read again.
    pub fn next_pass(&mut self) {
        self.waiting.clear();
        (self.weight, self.barrier) = (0, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Waiting for u64 {
        fn weight(&self) -> usize {
            10
        }
    }

    fn place(at: u64, offset: u64) -> Place {
        Place { at: Timestamp(at), class: Class::General, generation: 1, offset }
    }

    /// Reads `times` as units of `unit` packets, pass by pass; gives (what came out, passes, most items waiting).
    fn sort(times: &[u64], unit: usize, weight_max: usize) -> (Vec<(u64, u64)>, usize, usize) {
        let items: Vec<(u64, u64)> = times.iter().copied().zip(0..).collect();
        let mut units: Vec<&[(u64, u64)]> = items.chunks(unit).collect();
        let earliest = |unit: &[(u64, u64)]| unit.iter().min().map_or(u64::MAX, |item| item.0);
        units.sort_by_key(|unit| earliest(unit));
        let mut sorter = Sorter::new(weight_max);
        let (mut out, mut passes, mut most) = (Vec::new(), 0, 0);
        loop {
            passes += 1;
            for (index, unit) in units.iter().enumerate() {
                for &(at, offset) in *unit {
                    if sorter.wants(place(at, offset)) {
                        sorter.offer(place(at, offset), at << 32 | offset);
                        most = most.max(sorter.waiting.len());
                    }
                }
                let before = units.get(index + 1).map_or(u64::MAX, |unit| earliest(unit));
                let take = |item: &mut u64| {
                    out.push((*item >> 32, *item & 0xffff_ffff));
                    Ok::<_, ()>(Release::Next)
                };
                sorter.release(Timestamp(before), before == u64::MAX, take).unwrap();
            }
            if sorter.barrier().is_none() {
                return (out, passes, most);
            }
            sorter.next_pass();
        }
    }

    #[test]
    fn any_disorder_comes_out_in_order_within_the_bound() {
        let shuffled: Vec<u64> = (0..500).map(|i| i * 7919 % 500 / 2).collect();
        let mut expected: Vec<(u64, u64)> = shuffled.iter().copied().zip(0..).collect();
        expected.sort_unstable();
        for (unit, weight_max) in [(1, 100), (7, 100), (100, 100), (7, 1_000_000), (500, 10)] {
            let (out, passes, most) = sort(&shuffled, unit, weight_max);
            assert_eq!(out, expected, "unit {unit}, {weight_max} bytes");
            assert!(most <= weight_max / 10 + 1, "{most} waiting, {weight_max} bytes");
            assert_eq!(passes == 1, unit == 1 || weight_max >= 5_000, "{passes} passes, {weight_max} bytes");
        }
    }

    #[test]
    fn live_traffic_takes_one_pass() {
        let jittered: Vec<u64> = (0..10_000).map(|i| i + i * 31 % 5).collect();
        let (out, passes, most) = sort(&jittered, 50, 1_000);
        assert_eq!((out.len(), passes), (10_000, 1));
        assert!(out.is_sorted() && most <= 60, "{most}");
    }
}
