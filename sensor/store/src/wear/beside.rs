//! What goes to the same medium beside the ring that counts its wear: the event ring, which has a recorder and an odometer of
//! its own, and the list of pins.
//!
//! The event ring tells its totals, so that nothing is counted twice and what was written while nobody looked is counted
//! later; the list of pins tells what it wrote since it was asked last.

use serde::{Deserialize, Serialize};

use super::Odometer;

/// Writes and flushes, without their latencies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Bytes written.
    pub bytes: u64,
    /// Write requests.
    pub writes: u64,
    /// Of these, below 16 KiB.
    pub small_writes: u64,
    /// Flushes.
    pub flushes: u64,
    /// Writes and flushes that failed.
    pub errors: u64,
}

impl Totals {
    /// What an odometer has counted.
    #[must_use]
    pub const fn of(odometer: &Odometer) -> Self {
        let Odometer { written_bytes: bytes, writes, small_writes, flushes, errors, .. } = *odometer;
        Self { bytes, writes, small_writes, flushes, errors }
    }

    fn numbers(self) -> [u64; 5] {
        [self.bytes, self.writes, self.small_writes, self.flushes, self.errors]
    }

    fn each(self, other: Self, of: impl Fn(u64, u64) -> u64) -> Self {
        let (one, two) = (self.numbers(), other.numbers());
        let [bytes, writes, small_writes, flushes, errors] = std::array::from_fn(|at| of(one[at], two[at]));
        Self { bytes, writes, small_writes, flushes, errors }
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        self.each(other, u64::saturating_add)
    }

    /// What has come on top of `before`.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        self.each(before, u64::saturating_sub)
    }
}

/// Totals of another ring on the medium, and which ring that is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beside {
    /// The first 8 bytes of its uuid, little-endian; 0 before any was known.
    pub ring: u64,
    /// Its totals.
    pub totals: Totals,
}

impl Beside {
    /// What the ring with this uuid has counted.
    #[must_use]
    pub fn of(uuid: [u8; 16], odometer: &Odometer) -> Self {
        let [first @ .., _, _, _, _, _, _, _, _] = uuid;
        Self { ring: u64::from_le_bytes(first).max(1), totals: Totals::of(odometer) }
    }

    /// What is to be counted when `told` is what the ring says now; remembers it. A ring that was not known is counted from
    /// now on: what it says may be of another medium. One that says less than before has been cut off, and will say more
    /// when it has recovered.
    #[must_use]
    pub fn news(&mut self, told: &Self) -> Totals {
        if told.ring != self.ring {
            *self = *told;
            return Totals::default();
        }
        let news = told.totals.since(self.totals);
        self.totals = self.totals.plus(news);
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_is_counted_once_whoever_tells_of_it() {
        let at =
            |ring, bytes| Beside { ring, totals: Totals { bytes, writes: bytes / 10, ..Totals::default() } };
        let mut beside = Beside::default();
        assert_eq!(beside.news(&at(7, 1_000)), Totals::default(), "nobody knows on which medium");
        assert_eq!(beside.news(&at(7, 1_500)), at(7, 500).totals);
        assert_eq!(beside.news(&at(7, 1_500)), Totals::default());
        assert_eq!(beside.news(&at(7, 1_200)), Totals::default(), "a power cut took a state");
        assert_eq!(beside.news(&at(7, 1_600)).bytes, 100, "not twice");
        assert_eq!(beside.news(&at(8, 9_000)), Totals::default(), "another card");
        assert_eq!(beside.news(&at(8, 9_001)).bytes, 1);
    }
}
