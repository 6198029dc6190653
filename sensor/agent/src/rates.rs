//! Packets and bytes a second, lately: the mean over the last whole interval.

use std::sync::Mutex;

/// How long the mean is taken over, nanoseconds.
const INTERVAL_NANOS: u64 = 10_000_000_000;

#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    at: Option<u64>,
    packets: u64,
    bytes: u64,
    packets_per_sec: u64,
    bytes_per_sec: u64,
}

/// Turns totals into rates. Any thread may ask.
#[derive(Debug, Default)]
pub struct Rates(Mutex<Sample>);

impl Rates {
    /// Packets and bytes a second, given the totals at `now` (monotonic nanoseconds). The first answers cover the time
    /// since the first call.
    pub fn look(&self, now: u64, packets: u64, bytes: u64) -> (u64, u64) {
        let mut sample = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Some(at) = sample.at else {
            *sample = Sample { at: Some(now), packets, bytes, ..Sample::default() };
            return (0, 0);
        };
        let elapsed = now.saturating_sub(at);
        let rate = |total: u64, before: u64| {
            let scaled = u128::from(total.saturating_sub(before)) * 1_000_000_000;
            u64::try_from(scaled / u128::from(elapsed.max(1))).unwrap_or(u64::MAX)
        };
        if elapsed >= INTERVAL_NANOS || (sample.packets_per_sec == 0 && elapsed >= INTERVAL_NANOS / 10) {
            let (packets_per_sec, bytes_per_sec) = (rate(packets, sample.packets), rate(bytes, sample.bytes));
            *sample = Sample { at: Some(now), packets, bytes, packets_per_sec, bytes_per_sec };
        }
        (sample.packets_per_sec, sample.bytes_per_sec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_means_over_whole_intervals() {
        let (rates, second) = (Rates::default(), 1_000_000_000);
        assert_eq!(rates.look(second, 100, 1_000), (0, 0));
        assert_eq!(rates.look(3 * second, 300, 3_000), (100, 1_000));
        assert_eq!(rates.look(4 * second, 9_999, 9_999), (100, 1_000), "not before the interval is over");
        assert_eq!(rates.look(13 * second, 800, 4_000), (50, 100));
    }
}
