//! How many events are begun a minute.

use std::time::Instant;

/// So many a minute; what is not used is there for a minute, so that a few at once need not wait.
#[derive(Debug)]
pub(super) struct Allowance {
    per_minute: f64,
    left: f64,
    since: Instant,
}

impl Allowance {
    pub(super) fn new(per_minute: u32, now: Instant) -> Self {
        Self { per_minute: per_minute.into(), left: per_minute.into(), since: now }
    }

    /// Whether one more may begin `now`; it counts then.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let minutes = now.saturating_duration_since(self.since).as_secs_f64() / 60.0;
        self.since = now;
        self.left = (self.left + minutes * self.per_minute).min(self.per_minute);
        let may = self.left >= 1.0;
        self.left -= if may { 1.0 } else { 0.0 };
        may
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_flood_gets_what_a_minute_has_and_no_more() {
        let start = Instant::now();
        let mut allowance = Allowance::new(30, start);
        let mut begun = |from: u64, secs: u64| {
            let tenths =
                (from * 10..(from + secs) * 10).map(|tenth| start + Duration::from_millis(tenth * 100));
            tenths.filter(|now| allowance.take(*now)).count()
        };
        // What was saved up goes at once; then one comes every other second.
        assert_eq!(begun(0, 4), 31);
        assert_eq!(begun(4, 60), 30);
        assert_eq!(begun(3_600, 4), 31, "an hour of silence saves up no more than a minute");
    }
}
