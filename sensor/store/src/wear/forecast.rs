//! What the medium can take and how long it is to last.

use hindcap_wire::message::EnduranceSource;
pub use hindcap_wire::message::UsedBy;
use serde::{Deserialize, Serialize};

use super::Wear;

/// Of what is left, the budget spends so much: the rest is for what is not known of the medium.
const SPEND_PERMILLE: u128 = 700;
/// Near the planned end, and behind it, what is left is spread over so long.
const SECS_LEFT_MIN: u64 = 30 * DAY_SECS;
const DAY_SECS: u64 = 86_400;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Bytes that the cells can take (TBW).
    pub endurance_bytes: u64,
    /// Who says so.
    pub source: EnduranceSource,
    /// From the making of the store to the planned end of the medium, seconds.
    pub life_secs: u64,
    /// Bytes that reach the cells per byte written, thousandths.
    pub write_amplification_permille: u32,
    /// Whether the write budget follows it; else it only forecasts.
    pub enforced: bool,
}

impl Plan {
    /// Bytes written, as the cells see them.
    fn amplified(&self, bytes: u64) -> u128 {
        u128::from(bytes) * u128::from(self.write_amplification_permille) / 1000
    }

    /// What the own odometer says of the medium's life, thousandths, possibly more than all of it.
    #[must_use]
    pub fn used_permille(&self, written_bytes: u64) -> u32 {
        let used = (self.amplified(written_bytes) * 1000).checked_div(self.endurance_bytes.into());
        u32::try_from(used.unwrap_or(1000)).unwrap_or(u32::MAX)
    }

    /// Bytes that the cells can still take, by the odometer or by the medium's own word, whichever is less.
    #[must_use]
    pub fn left_bytes(&self, written_bytes: u64, used_permille: Option<u32>) -> u64 {
        let all = u128::from(self.endurance_bytes);
        let told = all * u128::from(used_permille.unwrap_or(0)) / 1000;
        u64::try_from(all.saturating_sub(self.amplified(written_bytes).max(told))).unwrap_or(u64::MAX)
    }

    /// Bytes that may be written a day from now on.
    #[must_use]
    pub fn budget_per_day(&self, written_bytes: u64, age_secs: u64, used_permille: Option<u32>) -> u64 {
        let secs_left = self.life_secs.saturating_sub(age_secs).max(SECS_LEFT_MIN);
        let left = u128::from(self.left_bytes(written_bytes, used_permille));
        let amplification = u128::from(self.write_amplification_permille.max(1));
        let budget = left * SPEND_PERMILLE * u128::from(DAY_SECS) / (amplification * u128::from(secs_left));
        u64::try_from(budget).unwrap_or(u64::MAX)
    }
}

/// What is to be expected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forecast {
    /// Life used, thousandths, and by whose word.
    pub used: Option<(u32, UsedBy)>,
    /// Bytes written a day, of late.
    pub written_per_day: Option<u64>,
    /// Days until nothing is left, at that rate.
    pub days_left: Option<u64>,
    /// Days that the ring reaches back, at that rate.
    pub retention_days: Option<u64>,
    /// Bytes that may be written a day.
    pub budget_per_day: Option<u64>,
}

/// Looks ahead. `ring_bytes` is the size of the ring, `used_permille` what the medium's registers say.
#[must_use]
pub fn forecast(wear: &Wear, plan: Option<&Plan>, used_permille: Option<u32>, ring_bytes: u64) -> Forecast {
    let (written, age) = (wear.odometer.written_bytes, wear.age.secs);
    let own = plan.map(|plan| (plan.used_permille(written), UsedBy::Odometer));
    let told = used_permille.map(|used| (used, UsedBy::Registers));
    let written_per_day = wear.days.written_per_day(age, &wear.odometer);
    let rate = written_per_day.filter(|rate| *rate > 0);
    let days_left = plan.zip(rate).map(|(plan, rate)| {
        let left = u128::from(plan.left_bytes(written, used_permille));
        u64::try_from(left / plan.amplified(rate).max(1)).unwrap_or(u64::MAX)
    });
    Forecast {
        used: [own, told].into_iter().flatten().max_by_key(|(used, _)| *used),
        written_per_day,
        days_left,
        retention_days: rate.map(|rate| ring_bytes / rate),
        budget_per_day: plan.map(|plan| plan.budget_per_day(written, age, used_permille)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Day, Odometer};
    use super::*;

    const YEAR: u64 = 365 * DAY_SECS;
    const TB: u64 = 1_000_000_000_000;

    fn plan(endurance_bytes: u64, life_secs: u64, write_amplification_permille: u32) -> Plan {
        let source = EnduranceSource::Configuration;
        Plan { endurance_bytes, source, life_secs, write_amplification_permille, enforced: true }
    }

    /// What three cards allow: 5 years, 30 % margin, write amplification 1.05.
    #[test]
    fn budgets_follow_from_endurance_and_life() {
        let cards = [(64, 1000, 23_400), (64, 3000, 70_100), (32, 20_000, 233_800)];
        for (gigabytes, cycles, megabytes_a_day) in cards {
            let endurance_bytes = gigabytes * 1_000_000_000 * cycles;
            let plan = plan(endurance_bytes, 5 * YEAR, 1050);
            let budget = plan.budget_per_day(0, 0, None) / 1_000_000;
            assert!(budget.abs_diff(megabytes_a_day) <= megabytes_a_day / 200, "{gigabytes} GB: {budget} MB");
        }
    }

    #[test]
    fn whoever_says_that_more_is_used_counts() {
        let plan = plan(100 * TB, 5 * YEAR, 1000);
        let mut wear =
            Wear { odometer: Odometer { written_bytes: 30 * TB, ..Odometer::default() }, ..Wear::default() };
        wear.age.secs = 300 * DAY_SECS;
        wear.days.push(Day { age_secs: 299 * 86_400, written_bytes: 30 * TB - TB / 10, ..Day::default() });
        let ahead = forecast(&wear, Some(&plan), None, 2 * TB);
        assert_eq!(ahead.used, Some((300, UsedBy::Odometer)));
        assert_eq!((ahead.written_per_day, ahead.days_left), (Some(TB / 10), Some(700)));
        assert_eq!(ahead.retention_days, Some(20));
        let ahead = forecast(&wear, Some(&plan), Some(500), 2 * TB);
        assert_eq!((ahead.used, ahead.days_left), (Some((500, UsedBy::Registers)), Some(500)));
        let half = plan.budget_per_day(30 * TB, wear.age.secs, Some(500));
        assert_eq!(ahead.budget_per_day, Some(half));
        assert!(half < plan.budget_per_day(30 * TB, wear.age.secs, None));
        let nothing = forecast(&wear, None, None, 2 * TB);
        assert_eq!((nothing.used, nothing.days_left, nothing.budget_per_day), (None, None, None));
    }

    #[test]
    fn behind_the_planned_end_what_is_left_lasts() {
        let plan = plan(TB, YEAR, 1000);
        let mut written = TB / 2;
        for day in 0..3_650 {
            written += plan.budget_per_day(written, YEAR + day * DAY_SECS, None);
        }
        assert!(written <= TB && written > TB * 9 / 10, "{written}");
        assert_eq!(plan.budget_per_day(2 * TB, 0, None), 0);
        assert_eq!(plan.used_permille(2 * TB), 2000);
    }
}
