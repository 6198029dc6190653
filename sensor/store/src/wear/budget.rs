//! The write budget: a token bucket that lowers the per-flow cutoff step by step, so that the medium reaches its planned
//! life. It never stops recording.
//!
//! The bucket holds a day's budget. Every byte written is charged; what the plan allows flows in all the time. When what
//! will be written in six hours is more than the bucket holds and gains in them, the cutoff goes down one step; when the
//! bucket is half full again, it goes up one. A step that has to be taken back within the hour doubles the pause before
//! the next attempt, up to a day. Pure: age and odometer come in, a change comes out; [`BudgetState`] is all it knows.

use hindcap_wire::policy::{Policy, PolicyReason};
use serde::{Deserialize, Serialize};

use super::forecast::Plan;
use crate::policy::{CUTOFF_BYTES_MIN, Control};

const DAY_SECS: i128 = 86_400;
/// How far ahead it looks.
const AHEAD_SECS: i128 = 6 * 3_600;
/// The rate is a mean over about so long, and over at least [`SETTLE_SECS`] since the last step.
const RATE_SECS: u64 = 3_600;
const SETTLE_SECS: u32 = 600;
/// A way up that is taken back so soon was too early.
const EARLY_SECS: u64 = 3_600;
/// And one that holds so long was right.
const HELD_SECS: u64 = 6 * 3_600;
const PAUSE_HOURS_MAX: u8 = 24;

/// How much of each flow is recorded, from everything down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Step(u8);

impl Step {
    /// Down to what every flow keeps; the last step takes the payload of TLS and QUIC as well.
    const CUTOFFS: [Option<u64>; 6] = [
        None,
        Some(10_000_000),
        Some(1_000_000),
        Some(256_000),
        Some(CUTOFF_BYTES_MIN),
        Some(CUTOFF_BYTES_MIN),
    ];
    const LAST: u8 = Self::CUTOFFS.len() as u8 - 1;

    /// Bytes of each flow that are kept whole; `None`: all.
    #[must_use]
    pub const fn cutoff_bytes(self) -> Option<u64> {
        Self::CUTOFFS[if self.0 < Self::LAST { self.0 } else { Self::LAST } as usize]
    }

    /// Whether TLS and QUIC lose their payload behind the handshake: the last step.
    #[must_use]
    pub const fn headers_only(self) -> bool {
        self.0 >= Self::LAST
    }

    /// Its place from 0, everything.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// Puts the step into force on top of the `configured` policy, whichever keeps less.
    pub fn steer(self, control: &Control, configured: &Policy) {
        let tighter = match (self.cutoff_bytes(), configured.cutoff) {
            (Some(step), configured) => configured.is_none_or(|configured| step < configured),
            (None, _) => false,
        };
        let reason = if tighter { PolicyReason::WearBudget } else { configured.reason };
        control.set_cutoff(if tighter { self.cutoff_bytes() } else { configured.cutoff }, reason);
        control.set_headers_only(configured.headers_only || self.headers_only(), reason);
    }
}

/// What the controller knows, kept in the state slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetState {
    /// Bytes that may be written at once; below zero they are owed.
    pub level_bytes: i64,
    /// The step in force.
    pub step: Step,
    /// Age at the last step.
    pub changed_secs: u64,
    /// Bytes a second, lately.
    pub rate: u64,
    /// Seconds that the rate was watched since the last step.
    watched_secs: u32,
    /// The last step was up.
    raised: bool,
    /// Hours to wait before the next step up.
    pause_hours: u8,
    /// Age and odometer up to which all is charged; `None` before the first call.
    charged: Option<(u64, u64)>,
}

/// A step that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Before.
    pub from: Step,
    /// Now.
    pub to: Step,
}

impl BudgetState {
    #[cfg(test)]
    pub(super) const fn longest() -> Self {
        Self {
            level_bytes: i64::MIN,
            step: Step(5),
            changed_secs: u64::MAX,
            rate: u64::MAX,
            watched_secs: u32::MAX,
            raised: true,
            pause_hours: 24,
            charged: Some((u64::MAX, u64::MAX)),
        }
    }

    /// Lets time pass to `age_secs` and charges what was written since, `written_bytes` being the odometer;
    /// `used_permille` is what the medium's registers say. At most one step a call.
    pub fn advance(
        &mut self,
        age_secs: u64,
        written_bytes: u64,
        plan: &Plan,
        used_permille: Option<u32>,
    ) -> Option<Change> {
        let budget = i128::from(plan.budget_per_day(written_bytes, age_secs, used_permille)).min(1 << 60);
        let Some((since, charged)) = self.charged.replace((age_secs, written_bytes)) else {
            (self.level_bytes, self.pause_hours) = (clamped(budget, budget), 1);
            return None;
        };
        let secs = age_secs.saturating_sub(since);
        if secs == 0 {
            // Charged together with what comes.
            self.charged = Some((since, charged));
            return None;
        }
        let written = written_bytes.saturating_sub(charged);
        let gained = (i128::from(self.level_bytes) + budget * i128::from(secs) / DAY_SECS).min(budget);
        self.level_bytes = clamped(gained - i128::from(written), budget);
        self.watch(written, secs);
        self.decide(age_secs, budget)
    }

    /// The rate: the plain mean since the last step at first, later one that forgets.
    fn watch(&mut self, written: u64, secs: u64) {
        let watched = u64::from(self.watched_secs) + secs;
        let (now, span) = (written / secs, watched.min(RATE_SECS).max(secs));
        let before = u128::from(self.rate) * u128::from(span - secs);
        let mean = (before + u128::from(now) * u128::from(secs)) / u128::from(span);
        self.rate = u64::try_from(mean).unwrap_or(u64::MAX);
        self.watched_secs = u32::try_from(watched).unwrap_or(u32::MAX);
    }

    fn decide(&mut self, age_secs: u64, budget: i128) -> Option<Change> {
        if self.watched_secs < SETTLE_SECS {
            return None;
        }
        let since = age_secs.saturating_sub(self.changed_secs);
        if self.raised && since >= HELD_SECS {
            self.pause_hours = 1;
        }
        let level = i128::from(self.level_bytes);
        let drain = i128::from(self.rate) * AHEAD_SECS - budget * AHEAD_SECS / DAY_SECS;
        let from = self.step;
        if drain > level.max(0) && from.0 < Step::LAST {
            if self.raised && since < EARLY_SECS {
                self.pause_hours = (self.pause_hours * 2).min(PAUSE_HOURS_MAX);
            }
            return Some(self.change(Step(from.0 + 1), age_secs));
        }
        let rested = since >= u64::from(self.pause_hours) * 3_600;
        let full = budget > 0 && level * 2 >= budget;
        (full && from.0 > 0 && rested).then(|| self.change(Step(from.0 - 1), age_secs))
    }

    fn change(&mut self, to: Step, age_secs: u64) -> Change {
        let from = std::mem::replace(&mut self.step, to);
        (self.raised, self.changed_secs) = (to < from, age_secs);
        (self.rate, self.watched_secs) = (0, 0);
        Change { from, to }
    }
}

/// At most a day is owed: what was written beyond it shows in what the plan still allows.
fn clamped(level: i128, budget: i128) -> i64 {
    i64::try_from(level.clamp(-budget, budget)).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[path = "budget/tests.rs"]
mod tests;
