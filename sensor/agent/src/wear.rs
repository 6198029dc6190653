//! Wear of the medium: its plan from the configuration, its lines in the status, its alarms.

use hindcap_store::wear::{Forecast, Plan, Wear, WearOptions, forecast};
use hindcap_wire::message::Severity;
use hindcap_wire::message::answer::Bytes;
use hindcap_wire::policy::{Policy, PolicyReason};
use hindcap_wire::time::Timestamp;

use crate::alarms::{Alarms, code};
use crate::clock::monotonic_nanos;

/// Bytes that reach the cells per byte written, thousandths: what whole batches in place cost a card.
const WRITE_AMPLIFICATION_PERMILLE: u32 = 1_050;
/// What is recorded while the write budget does not ask for less; beyond a cutoff every 100th packet is kept.
pub const POLICY: Policy = Policy {
    cutoff: None,
    sample: 100,
    headers_only: false,
    skip_rules: 0,
    reason: PolicyReason::Configuration,
};
/// Writes that fail are told for a week.
const FAILED_SECS: u64 = 7 * 86_400;

/// How a recorder measures: with a plan where the endurance is configured (not 0).
#[must_use]
pub fn options(endurance_bytes: u64, life_secs: u64) -> WearOptions {
    let plan =
        Plan { endurance_bytes, life_secs, write_amplification_permille: WRITE_AMPLIFICATION_PERMILLE };
    WearOptions { stopwatch: Some(monotonic_nanos), plan: (endurance_bytes > 0).then_some(plan) }
}

/// What a person reads, one fact a line: name and text.
#[must_use]
pub fn lines(wear: &Wear) -> Vec<(&'static str, String)> {
    let odometer = &wear.odometer;
    let mut lines = Vec::new();
    let ratio = odometer.written_per_captured_permille().map_or_else(String::new, |ratio| {
        format!(", {}.{:03} per byte captured", ratio / 1000, ratio % 1000)
    });
    lines.push((
        "written",
        format!(
            "{}{ratio}; {} requests, {} below 16 KiB, {} flushes",
            Bytes(odometer.written_bytes),
            odometer.writes,
            odometer.small_writes,
            odometer.flushes
        ),
    ));
    for (name, latency) in [("writes", odometer.write_latency), ("flushes", odometer.flush_latency)] {
        if let (Some(p50), Some(p99)) = (latency.quantile_micros(500), latency.quantile_micros(990)) {
            let text = format!("p50 {p50} us, p99 {p99} us, max {} us", latency.max_micros());
            lines.push((name, text));
        }
    }
    if let Some(per_day) = wear.days.written_per_day(wear.age.secs, odometer) {
        lines.push(("wear", format!("{} a day of late", Bytes(per_day))));
    }
    if let Some(cutoff) = wear.budget.step.cutoff_bytes() {
        lines.push(("cutoff", format!("{} of each flow, by the write budget", Bytes(cutoff))));
    }
    lines
}

/// Raises and clears what follows from `wear`.
pub fn alarms(alarms: &Alarms, wear: &Wear, plan: Option<&Plan>, used: Option<u32>, now: Timestamp) {
    let ahead = forecast(wear, plan, used, 0);
    match severity(&ahead) {
        Some(severity) => {
            let used = ahead.used.map_or(0, |(used, _)| used / 10);
            let days =
                ahead.days_left.map_or_else(String::new, |days| format!(", {days} days left at this rate"));
            let text = format!("{used} % of the medium's life is used{days}");
            alarms.raise(
                code::WEAR,
                severity,
                &text,
                "plan its replacement; a lower cutoff stretches it",
                now,
            );
        }
        None => alarms.clear(code::WEAR, now),
    }
    match wear.days.slower_tenths() {
        Some(tenths) if tenths >= 30 => {
            let text = format!("writes take {}.{} times as long as a week ago", tenths / 10, tenths % 10);
            alarms.raise(code::MEDIUM_SLOWER, Severity::Critical, &text, "replace the medium", now);
        }
        _ => alarms.clear(code::MEDIUM_SLOWER, now),
    }
    match wear.failed_secs {
        Some(failed) if wear.age.secs.saturating_sub(failed) < FAILED_SECS => {
            let text = format!("{} writes or flushes have failed so far", wear.odometer.errors);
            alarms.raise(
                code::WRITE_ERROR,
                Severity::Critical,
                &text,
                "replace the medium if it was not pulled",
                now,
            );
        }
        _ => alarms.clear(code::WRITE_ERROR, now),
    }
}

/// 80 % or 180 days warn, 90 % or 30 days are critical.
fn severity(ahead: &Forecast) -> Option<Severity> {
    let used = ahead.used.map_or(0, |(used, _)| used);
    let days = ahead.days_left.unwrap_or(u64::MAX);
    match () {
        () if used >= 900 || days < 30 => Some(Severity::Critical),
        () if used >= 800 || days < 180 => Some(Severity::Warn),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alarms_begin_at_their_thresholds() {
        let plan = options(1_000_000, 86_400).plan.expect("an endurance makes a plan");
        assert_eq!(options(0, 86_400).plan, None);
        let standing = |written: u64, failed: Option<u64>| {
            let list = Alarms::default();
            let mut wear = Wear { failed_secs: failed, ..Wear::default() };
            wear.odometer.written_bytes = written;
            alarms(&list, &wear, Some(&plan), None, Timestamp(1));
            list.standing().into_iter().map(|alarm| (alarm.code, alarm.severity)).collect::<Vec<_>>()
        };
        let wear = |severity| vec![(code::WEAR.to_owned(), severity)];
        assert_eq!(standing(760_000, None), []);
        assert_eq!(standing(762_000, None), wear(Severity::Warn));
        assert_eq!(standing(858_000, None), wear(Severity::Critical));
        assert_eq!(standing(0, Some(0)), [(code::WRITE_ERROR.to_owned(), Severity::Critical)]);
    }

    #[test]
    fn the_status_tells_what_was_written_per_byte() {
        let mut wear = Wear::default();
        (wear.odometer.captured_bytes, wear.odometer.written_bytes) = (1_000_000, 1_024_000);
        let lines = lines(&wear);
        assert!(lines[0].1.contains("1.024 per byte captured"), "{lines:?}");
    }
}
