//! Wear of the medium: its status and its alarms, and the policy that the write budget tightens.

use std::sync::Arc;

use hindcap_store::wear::{Forecast, Latencies, Plan, UsedBy, Wear, WearOptions, forecast};
use hindcap_wire::message::{BudgetStatus, EnduranceSource, LatencyStatus, Severity, WearStatus};
use hindcap_wire::policy::{Policy, PolicyReason};
use hindcap_wire::time::Timestamp;

use crate::alarms::{Alarms, code};
use crate::clock::monotonic_nanos;
use crate::medium::{Finding, Look};

/// What is recorded while the write budget does not ask for less; beyond a cutoff every 100th packet is kept.
pub const POLICY: Policy = Policy {
    cutoff: None,
    sample: 100,
    headers_only: false,
    skip_rules: 0,
    reason: PolicyReason::Configuration,
};
/// Life used, thousandths, and days left at which a warning and a critical alarm begin.
const WARN: (u32, u64) = (800, 180);
const CRITICAL: (u32, u64) = (900, 30);
/// An alarm that stands for the days left ends when these are so much above its beginning, percent: rates go up and down.
const DAYS_SLACK_PERCENT: u64 = 10;
/// Writes that take so many times as long as a week before, tenths.
const SLOWER_TENTHS: u32 = 30;
/// Writes that fail are told for a week.
const FAILED_SECS: u64 = 7 * 86_400;

/// How a recorder measures.
#[must_use]
pub fn options(plan: Option<Plan>) -> WearOptions {
    WearOptions { stopwatch: Some(monotonic_nanos), plan }
}

/// Everything there is to say about wear, for status messages and people.
#[must_use]
pub fn status(wear: &Wear, plan: Option<&Plan>, look: &Look) -> WearStatus {
    let (odometer, ahead) = (&wear.odometer, forecast(wear, plan, look.registers.used_permille, 0));
    let (used_permille, used_by) = ahead.used.unzip();
    let budget = plan.filter(|plan| plan.enforced).map(|_| BudgetStatus {
        bytes_per_day: ahead.budget_per_day.unwrap_or(0),
        level_bytes: wear.budget.level_bytes,
        step: wear.budget.step.number(),
        cutoff_bytes: wear.budget.step.cutoff_bytes(),
    });
    WearStatus {
        bytes_captured: odometer.captured_bytes,
        bytes_written: odometer.written_bytes,
        writes: odometer.writes,
        small_writes: odometer.small_writes,
        flushes: odometer.flushes,
        errors: odometer.errors,
        write_micros: latency(&odometer.write_latency),
        flush_micros: latency(&odometer.flush_latency),
        write_amplification_permille: plan.map(|plan| plan.write_amplification_permille),
        endurance_bytes: plan.map(|plan| plan.endurance_bytes),
        endurance_source: plan.map(|plan| plan.source),
        used_permille,
        used_by,
        written_per_day: ahead.written_per_day,
        days_left: ahead.days_left,
        budget,
    }
}

fn latency(latencies: &Latencies) -> Option<LatencyStatus> {
    let (p50, p99) = (latencies.quantile_micros(500)?, latencies.quantile_micros(990)?);
    Some(LatencyStatus { p50, p99, max: latencies.max_micros() })
}

/// Raises and clears the alarms of wear and of the medium's health.
#[derive(Debug)]
pub struct WearWatch {
    alarms: Arc<Alarms>,
    standing: Option<Severity>,
}

impl WearWatch {
    /// A watch that writes to `alarms`.
    #[must_use]
    pub const fn new(alarms: Arc<Alarms>) -> Self {
        Self { alarms, standing: None }
    }

    /// What follows from `wear`, where something records, and from what the medium says.
    pub fn look(&mut self, wear: Option<&Wear>, plan: Option<&Plan>, look: &Look, now: Timestamp) {
        self.findings(&look.findings(), look, now);
        let Some(wear) = wear else { return };
        self.life(wear, plan, look, now);
        self.slower(wear, look, now);
        self.failed(wear, look, now);
    }

    fn life(&mut self, wear: &Wear, plan: Option<&Plan>, look: &Look, now: Timestamp) {
        let told = look.registers.used_permille;
        let ahead = forecast(wear, plan, told, 0);
        self.standing = judged(&ahead, plan, told, self.standing);
        let Some(severity) = self.standing else { return self.alarms.clear(code::WEAR, now) };
        let (used, by) = ahead.used.map_or((0, ""), |(used, by)| (used, by.name()));
        let left =
            ahead.days_left.map_or_else(String::new, |days| format!("; at today's rate {days} days left"));
        let text = format!("{} at {} % of its life, {by}{left}", look.name(), used / 10);
        let advice = match (severity, plan.map(|plan| plan.source)) {
            (_, Some(EnduranceSource::Assumed)) if told.is_none_or(|told| told < WARN.0) => {
                "its endurance is assumed: set wear.endurance as its data sheet says, or order a replacement"
            }
            (Severity::Warn, _) => "order a replacement; a lower policy.cutoff stretches what is left",
            (Severity::Critical, _) => "extract what matters and replace it now",
        };
        self.alarms.raise(code::WEAR, severity, &text, advice, now);
    }

    fn slower(&self, wear: &Wear, look: &Look, now: Timestamp) {
        match wear.days.slower_tenths().filter(|tenths| *tenths >= SLOWER_TENTHS) {
            Some(tenths) => {
                let text = format!(
                    "{}: writes take {}.{} times as long as a week ago, as they do before the end",
                    look.name(),
                    tenths / 10,
                    tenths % 10
                );
                self.alarms.raise(code::MEDIUM_SLOWER, Severity::Critical, &text, "replace the medium", now);
            }
            None => self.alarms.clear(code::MEDIUM_SLOWER, now),
        }
    }

    fn failed(&self, wear: &Wear, look: &Look, now: Timestamp) {
        match wear.failed_secs {
            Some(failed) if wear.age.secs.saturating_sub(failed) < FAILED_SECS => {
                let errors = wear.odometer.errors;
                let text = format!("{}: {errors} writes or flushes have failed so far", look.name());
                let advice = "replace the medium if it was not pulled";
                self.alarms.raise(code::WRITE_ERROR, Severity::Critical, &text, advice, now);
            }
            _ => self.alarms.clear(code::WRITE_ERROR, now),
        }
    }

    /// One alarm for the spare blocks, one for everything else that is wrong; the worst gives the advice.
    fn findings(&self, findings: &[Finding], look: &Look, now: Timestamp) {
        for code in [code::MEDIUM_SPARE, code::MEDIUM_HEALTH] {
            let mut ours: Vec<&Finding> = findings.iter().filter(|finding| finding.code() == code).collect();
            ours.sort_by_key(|finding| std::cmp::Reverse(finding.severity()));
            let Some(worst) = ours.first() else {
                self.alarms.clear(code, now);
                continue;
            };
            let texts: Vec<String> = ours.iter().map(|finding| finding.text()).collect();
            let text = format!("{} {}", look.name(), texts.join("; "));
            self.alarms.raise(code, worst.severity(), &text, worst.advice(), now);
        }
    }
}

/// How bad it is. What is only assumed never says more than a warning.
fn judged(
    ahead: &Forecast,
    plan: Option<&Plan>,
    told: Option<u32>,
    standing: Option<Severity>,
) -> Option<Severity> {
    let own = ahead.used.filter(|(_, by)| *by == UsedBy::Odometer).map_or(0, |(used, _)| used);
    let by_plan = severity(own, ahead.days_left, standing);
    let assumed = plan.is_some_and(|plan| plan.source == EnduranceSource::Assumed);
    let by_plan = if assumed { by_plan.map(|_| Severity::Warn) } else { by_plan };
    by_plan.max(severity(told.unwrap_or(0), None, standing))
}

fn severity(used: u32, days: Option<u64>, standing: Option<Severity>) -> Option<Severity> {
    let reached = |(permille, least): (u32, u64), severity: Severity| {
        let slack = if standing >= Some(severity) { least * DAYS_SLACK_PERCENT / 100 } else { 0 };
        used >= permille || days.is_some_and(|days| days < least + slack)
    };
    [(CRITICAL, Severity::Critical), (WARN, Severity::Warn)]
        .into_iter()
        .find_map(|(threshold, severity)| reached(threshold, severity).then_some(severity))
}

#[cfg(test)]
#[path = "wear/tests.rs"]
mod tests;
