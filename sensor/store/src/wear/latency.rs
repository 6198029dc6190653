//! How long the medium takes: a histogram of fixed size, half an octave a bucket, that neither allocates nor forgets.

use serde::{Deserialize, Serialize};

/// Buckets: two for each power of two of microseconds, from below 2 us to over an hour.
pub const BUCKETS: usize = 64;
const HALF: usize = BUCKETS / 2;

/// See the module. Counts stop at their highest value instead of turning over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latencies {
    /// In two halves, because serde knows arrays of up to 32.
    counts: [[u32; HALF]; 2],
    max_micros: u32,
}

const fn bucket(micros: u64) -> usize {
    let micros = if micros == 0 { 1 } else { micros };
    let octave = micros.ilog2() as usize;
    // The bit below the highest one tells the half of the octave.
    let half = if octave == 0 { 0 } else { (micros >> (octave - 1)) as usize & 1 };
    let bucket = 2 * octave + half;
    if bucket < BUCKETS { bucket } else { BUCKETS - 1 }
}

/// First value that is above the bucket, microseconds.
const fn end_of(bucket: usize) -> u64 {
    let octave = bucket / 2;
    if bucket % 2 == 0 && octave > 0 { (1 << octave) + (1 << (octave - 1)) } else { 2 << octave }
}

impl Latencies {
    /// Nothing counted.
    pub const EMPTY: Self = Self { counts: [[0; HALF]; 2], max_micros: 0 };

    #[cfg(test)]
    pub(super) const fn longest() -> Self {
        Self { counts: [[u32::MAX; HALF]; 2], max_micros: u32::MAX }
    }

    /// Counts one operation.
    pub fn add(&mut self, nanos: u64) {
        let micros = nanos / 1000;
        let at = bucket(micros);
        let count = &mut self.counts[at / HALF][at % HALF];
        *count = count.saturating_add(1);
        self.max_micros = self.max_micros.max(u32::try_from(micros).unwrap_or(u32::MAX));
    }

    /// Operations counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().flatten().map(|count| u64::from(*count)).sum()
    }

    /// The longest, microseconds.
    #[must_use]
    pub const fn max_micros(&self) -> u32 {
        self.max_micros
    }

    /// So many of a thousand operations took at most so long, microseconds; exact to half an octave, upwards. `None`
    /// when nothing was counted.
    #[must_use]
    pub fn quantile_micros(&self, permille: u32) -> Option<u32> {
        let count = self.count();
        let wanted = (u128::from(count) * u128::from(permille)).div_ceil(1000).max(1);
        let mut seen = 0_u128;
        for (at, counted) in self.counts.iter().flatten().enumerate() {
            seen += u128::from(*counted);
            if seen >= wanted {
                let end = u32::try_from(end_of(at) - 1).unwrap_or(u32::MAX);
                return Some(end.min(self.max_micros));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_half_octaves_without_gaps() {
        for at in 0..BUCKETS - 1 {
            assert!(at < 2 || bucket(end_of(at)) == at + 1, "bucket {at} ends at {}", end_of(at));
            assert!(at == 1 || bucket(end_of(at) - 1) == at, "bucket {at} ends at {}", end_of(at));
        }
        assert_eq!((bucket(0), bucket(1), bucket(2), bucket(3), bucket(4), bucket(6)), (0, 0, 2, 3, 4, 5));
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_upper_bounds_within_half_an_octave() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.quantile_micros(500), None);
        for micros in 1..=10_000_u64 {
            latencies.add(micros * 1000);
        }
        for permille in [1, 10, 500, 900, 990, 999, 1000] {
            let exact = permille * 10;
            let told = latencies.quantile_micros(permille).unwrap();
            assert!((exact..=exact * 3 / 2 + 1).contains(&told), "{permille}: {told}, exactly {exact}");
        }
        assert_eq!((latencies.count(), latencies.max_micros()), (10_000, 10_000));
        assert_eq!(latencies.quantile_micros(1000), Some(10_000));
    }

    #[test]
    fn one_stall_in_a_thousand_is_the_maximum_and_no_quantile() {
        let mut latencies = Latencies::default();
        (0..999).for_each(|_| latencies.add(2_000_000));
        latencies.add(750_000_000);
        assert!(latencies.quantile_micros(990).unwrap() < 3_100);
        assert_eq!(latencies.max_micros(), 750_000);
    }
}
