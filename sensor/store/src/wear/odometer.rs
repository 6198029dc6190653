//! What has gone to the medium since the store was made.

use serde::{Deserialize, Serialize};

use super::beside::Totals;
use super::latency::Latencies;
use crate::volume::block::SMALL_WRITE_BYTES;

/// Totals since the store was made, counted where the store hands bytes to its volume.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Odometer {
    /// Captured bytes (sum of caplen) that were made durable.
    pub captured_bytes: u64,
    /// Bytes written: packets, indexes, catalog, state, notes; the event ring's with it.
    pub written_bytes: u64,
    /// Write requests.
    pub writes: u64,
    /// Of these, below 16 KiB.
    pub small_writes: u64,
    /// Flushes.
    pub flushes: u64,
    /// Writes and flushes that failed.
    pub errors: u64,
    /// How long writes take.
    pub write_latency: Latencies,
    /// How long flushes take.
    pub flush_latency: Latencies,
}

impl Odometer {
    /// Counts one write request.
    pub fn wrote(&mut self, bytes: u64) {
        self.written_bytes = self.written_bytes.saturating_add(bytes);
        self.writes += 1;
        self.small_writes += u64::from(bytes < SMALL_WRITE_BYTES as u64);
    }

    /// Counts what was written beside.
    pub fn add(&mut self, news: &Totals) {
        let all = Totals::of(self).plus(*news);
        (self.written_bytes, self.writes, self.small_writes) = (all.bytes, all.writes, all.small_writes);
        (self.flushes, self.errors) = (all.flushes, all.errors);
    }

    /// Bytes written per byte captured, thousandths; `None` before anything was captured.
    #[must_use]
    pub fn written_per_captured_permille(&self) -> Option<u64> {
        let captured = u128::from(self.captured_bytes);
        let ratio = (u128::from(self.written_bytes) * 1000).checked_div(captured)?;
        Some(u64::try_from(ratio).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_writes_are_below_a_flash_page() {
        let mut odometer = Odometer::default();
        [16_384, 16_383, 1 << 20].into_iter().for_each(|bytes| odometer.wrote(bytes));
        assert_eq!((odometer.writes, odometer.small_writes), (3, 1));
        assert_eq!(odometer.written_bytes, (1 << 20) + 32_767);
        assert_eq!(odometer.written_per_captured_permille(), None);
        odometer.captured_bytes = 1 << 20;
        assert_eq!(odometer.written_per_captured_permille(), Some(1031));
    }
}
