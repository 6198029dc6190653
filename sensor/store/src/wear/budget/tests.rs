//! Years of traffic in milliseconds: a model medium, traffic by the hour, and the controller between them.

use hindcap_wire::message::EnduranceSource::Configuration;

use super::*;

const TB: u64 = 1_000_000_000_000;
const YEAR: u64 = 365 * 86_400;
const TICK: u64 = 300;

/// 32 GB of TLC that is to last five years: about 11.7 GB a day.
const PLAN: Plan = Plan {
    endurance_bytes: 32 * TB,
    source: Configuration,
    life_secs: 5 * YEAR,
    write_amplification_permille: 1_050,
    enforced: true,
};

/// Bytes a second at which a day's budget is used up.
fn fair(plan: &Plan) -> u64 {
    plan.budget_per_day(0, 0, None) / 86_400
}

/// What is left of the traffic at each step, thousandths: a heavy tail, as traffic has.
const KEPT: [u64; 6] = [1000, 700, 420, 300, 200, 40];

#[derive(Debug, Default)]
struct Run {
    state: BudgetState,
    age: u64,
    written: u64,
    steps: u64,
    deepest: u8,
    /// Ticks at each step.
    at: [u64; 6],
}

impl Run {
    /// `secs` of traffic; `rate` says how many bytes a second there would be without a cutoff.
    fn go(&mut self, plan: &Plan, secs: u64, rate: impl Fn(u64) -> u64) {
        for _ in 0..secs / TICK {
            let step = self.state.step.number();
            self.written += rate(self.age) * KEPT[usize::from(step)] / 1000 * TICK;
            self.age += TICK;
            self.at[usize::from(step)] += 1;
            if let Some(change) = self.state.advance(self.age, self.written, plan, None) {
                assert_eq!(change.from.number(), step);
                assert_eq!(change.to.number().abs_diff(step), 1, "one step at a time");
                self.steps += 1;
                self.deepest = self.deepest.max(change.to.number());
            }
        }
    }

    /// Of the endurance, thousandths.
    fn used(&self, plan: &Plan) -> u32 {
        plan.used_permille(self.written)
    }
}

#[test]
fn steady_traffic_below_the_budget_is_never_cut() {
    for permille in [0, 10, 500, 950, 990] {
        let mut run = Run::default();
        run.go(&PLAN, 5 * YEAR, |_| fair(&PLAN) * permille / 1000);
        assert_eq!(run.steps, 0, "{permille} of 1000");
        assert!(run.used(&PLAN) <= 701);
    }
}

#[test]
fn steady_traffic_above_the_budget_settles_and_the_medium_lasts() {
    for times in [2, 3, 5, 8, 12, 20] {
        let mut run = Run::default();
        run.go(&PLAN, 5 * YEAR, |_| fair(&PLAN) * times);
        let used = run.used(&PLAN);
        // The margin shrinks with what is left, so that nearly everything is spent at the end, and never more.
        assert!((850..=1000).contains(&used), "{times} times the budget: {used} of 1000 used");
        assert!(run.steps / (5 * 365) <= 12, "{times} times: {} steps", run.steps);
        assert!(run.state.step.number().abs_diff(run.deepest) <= 2, "{times} times: {run:?}");
    }
}

#[test]
fn office_days_use_what_the_night_saves() {
    // Twice the budget for ten hours a day on five days: the mean of the week is below it.
    let office = |rate: u64| {
        move |age: u64| {
            let (day, hour) = (age / 86_400 % 7, age % 86_400 / 3_600);
            if day < 5 && (8..18).contains(&hour) { rate } else { rate / 50 }
        }
    };
    let mut run = Run::default();
    run.go(&PLAN, 5 * YEAR, office(fair(&PLAN) * 2));
    assert_eq!(run.steps, 0, "{run:?}");
    // Ten times: cut while it lasts, back at night.
    let mut run = Run::default();
    run.go(&PLAN, 5 * YEAR, office(fair(&PLAN) * 10));
    assert!((600..=1000).contains(&run.used(&PLAN)), "{} used", run.used(&PLAN));
    assert!(run.at[0] > run.at.iter().sum::<u64>() / 4, "whole at night: {:?}", run.at);
    assert!((2..=5).contains(&run.deepest), "{run:?}");
}

#[test]
fn a_burst_is_paid_from_the_bucket() {
    let mut run = Run::default();
    run.go(&PLAN, 7 * 86_400, |_| fair(&PLAN) / 2);
    // Twenty minutes at ten times the budget, such as a backup, are nothing to a bucket of a day.
    run.go(&PLAN, 1_200, |_| fair(&PLAN) * 10);
    run.go(&PLAN, 86_400, |_| fair(&PLAN) / 2);
    assert_eq!(run.steps, 0);
    // A day of it is.
    run.go(&PLAN, 86_400, |_| fair(&PLAN) * 10);
    assert!(run.deepest >= 3, "{run:?}");
    run.go(&PLAN, 7 * 86_400, |_| fair(&PLAN) / 2);
    assert_eq!(run.state.step, Step::default(), "and afterwards everything is recorded again");
}

#[test]
fn what_no_cutoff_can_save_is_recorded_all_the_same() {
    let mut run = Run::default();
    run.go(&PLAN, YEAR, |_| fair(&PLAN) * 1000);
    assert_eq!((run.deepest, run.state.step.number()), (5, 5));
    assert!(run.state.step.cutoff_bytes().is_some_and(|bytes| bytes > 0), "never nothing");
    assert!(run.used(&PLAN) > 1000, "{}", run.used(&PLAN));
}

#[test]
fn a_restart_in_between_changes_nothing() {
    let traffic = |age: u64| fair(&PLAN) * (1 + age / 7_200 % 5);
    let mut whole = Run::default();
    whole.go(&PLAN, 60 * 86_400, traffic);
    let mut parts = Run::default();
    for _ in 0..120 {
        parts.go(&PLAN, 43_200, traffic);
        let bytes = postcard::to_allocvec(&parts.state).unwrap();
        parts.state = postcard::from_bytes(&bytes).unwrap();
    }
    assert!(whole.steps > 10);
    assert_eq!((whole.state, whole.written, whole.steps), (parts.state, parts.written, parts.steps));
}

#[test]
fn switched_off_or_late_the_bucket_fills_but_never_more_than_a_day() {
    let mut run = Run::default();
    run.go(&PLAN, 3 * 86_400, |_| fair(&PLAN) * 5);
    let (step, budget) = (run.state.step, PLAN.budget_per_day(run.written, run.age, None));
    assert!(step.number() > 0);
    // A month in a drawer.
    run.age += 30 * 86_400;
    run.go(&PLAN, TICK, |_| 0);
    assert!(run.state.level_bytes <= budget as i64 * 102 / 100);
    assert!(run.state.step < step);
    // A crash took the last of the odometer with it, or time seems to stand still: nothing is charged twice.
    let before = run.state;
    assert_eq!(run.state.advance(run.age, run.written, &PLAN, None), None);
    assert_eq!(run.state, before);
    run.state.advance(run.age + 60, run.written - 1_000_000, &PLAN, None);
    assert!(run.state.level_bytes >= before.level_bytes);
}

#[test]
fn the_medium_s_own_word_shrinks_the_budget() {
    let rate = fair(&PLAN) * 9 / 10;
    let mut run = Run::default();
    run.go(&PLAN, 3 * 86_400, |_| rate);
    assert_eq!(run.steps, 0);
    let mut written = run.written;
    for tick in 0..1_000_u64 {
        written += rate * TICK;
        run.state.advance(run.age + tick * TICK, written, &PLAN, Some(850));
    }
    assert!(run.state.step.number() > 0, "85 % are used, says the medium");
}

#[test]
fn a_step_never_keeps_more_than_the_configuration() {
    let configured = Policy { cutoff: Some(1_000_000), sample: 100, ..Policy::default() };
    let control = Control::new(configured);
    let in_force = |step: u8| {
        Step(step).steer(&control, &configured);
        let policy = control.policy();
        (policy.cutoff, policy.headers_only, policy.reason == PolicyReason::WearBudget)
    };
    assert_eq!(in_force(1), (Some(1_000_000), false, false), "10 MB would be more");
    assert_eq!(in_force(3), (Some(256_000), false, true));
    assert_eq!(in_force(5), (Some(100_000), true, true));
    assert_eq!(in_force(0), (Some(1_000_000), false, false));
}
