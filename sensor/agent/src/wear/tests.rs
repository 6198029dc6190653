//! Every threshold from both sides.

use hindcap_store::wear::Day;
use hindcap_wire::message::MediumKind;

use super::*;
use crate::medium::tests::emmc;
use crate::medium::{Medium, Registers};

const DAY: u64 = 86_400;
const NOW: Timestamp = Timestamp(1);
/// A plan of a million bytes, each counting once.
const PLAN: Plan = Plan {
    endurance_bytes: 1_000_000,
    source: EnduranceSource::Configuration,
    life_secs: 5 * 365 * DAY,
    write_amplification_permille: 1_000,
    enforced: true,
};

fn told(used_permille: Option<u32>) -> Look {
    let medium = Medium { kind: MediumKind::Sd, name: "mmcblk0".into(), ..Medium::default() };
    Look { medium, registers: Registers { used_permille, ..Registers::default() } }
}

fn written(bytes: u64) -> Wear {
    let mut wear = Wear::default();
    wear.odometer.written_bytes = bytes;
    wear
}

#[derive(Default)]
struct Alarmed(Arc<Alarms>);

impl Alarmed {
    fn watch(&self) -> WearWatch {
        WearWatch::new(Arc::clone(&self.0))
    }

    fn codes(&self) -> Vec<(String, Severity)> {
        self.0.standing().into_iter().map(|alarm| (alarm.code, alarm.severity)).collect()
    }
}

/// The alarms of one look.
fn standing(wear: &Wear, plan: Option<&Plan>, look: &Look) -> Vec<(String, Severity)> {
    let alarmed = Alarmed::default();
    alarmed.watch().look(Some(wear), plan, look, NOW);
    alarmed.codes()
}

fn one(code: &str, severity: Severity) -> Vec<(String, Severity)> {
    vec![(code.to_owned(), severity)]
}

#[test]
fn life_used_warns_at_80_and_is_critical_at_90_percent() {
    let (warn, critical) = (one(code::WEAR, Severity::Warn), one(code::WEAR, Severity::Critical));
    for (bytes, alarms) in [(799_999, &vec![]), (800_000, &warn), (899_999, &warn), (900_000, &critical)] {
        assert_eq!(standing(&written(bytes), Some(&PLAN), &told(None)), *alarms, "{bytes} of a million");
    }
    for (used, alarms) in [(799, &vec![]), (800, &warn), (899, &warn), (900, &critical), (2_550, &critical)] {
        assert_eq!(
            standing(&written(0), Some(&PLAN), &told(Some(used))),
            *alarms,
            "{used}, by the registers"
        );
        assert_eq!(standing(&written(0), None, &told(Some(used))), *alarms, "and they need no plan");
    }
}

/// A week of 1,000 bytes a day of which so many days are left.
fn days_left(days: u64) -> (Wear, Plan) {
    let mut wear = written(0);
    (0..=7).for_each(|day| push(&mut wear, day, 0));
    wear.age.secs = 7 * DAY;
    let plan = Plan { endurance_bytes: 7_000 + days * 1_000, ..PLAN };
    (wear, plan)
}

fn push(wear: &mut Wear, day: u64, p99: u32) {
    let age_secs = u32::try_from(day * DAY).unwrap();
    wear.odometer.written_bytes = day * 1_000;
    wear.days.push(Day { age_secs, written_bytes: day * 1_000, captured_bytes: 0, write_p99_micros: p99 });
}

#[test]
fn days_left_warn_below_180_and_are_critical_below_30() {
    let (warn, critical) = (one(code::WEAR, Severity::Warn), one(code::WEAR, Severity::Critical));
    for (days, alarms) in [(180, &vec![]), (179, &warn), (30, &warn), (29, &critical), (0, &critical)] {
        let (wear, plan) = days_left(days);
        assert_eq!(standing(&wear, Some(&plan), &told(None)), *alarms, "{days} days");
    }
}

#[test]
fn what_is_only_assumed_never_says_more_than_a_warning() {
    let assumed = Plan { source: EnduranceSource::Assumed, enforced: false, ..PLAN };
    let warn = one(code::WEAR, Severity::Warn);
    assert_eq!(standing(&written(2_000_000), Some(&assumed), &told(None)), warn);
    let critical = one(code::WEAR, Severity::Critical);
    assert_eq!(
        standing(&written(2_000_000), Some(&assumed), &told(Some(900))),
        critical,
        "the register knows"
    );
}

#[test]
fn a_rate_that_goes_up_and_down_is_one_alarm() {
    let alarmed = Alarmed::default();
    let mut watch = alarmed.watch();
    let mut look = |days| {
        let (wear, plan) = days_left(days);
        watch.look(Some(&wear), Some(&plan), &told(None), NOW);
        alarmed.codes()
    };
    let warn = one(code::WEAR, Severity::Warn);
    assert_eq!(look(181), []);
    assert_eq!(look(179), warn);
    assert_eq!(look(197), warn, "still standing");
    assert_eq!(look(198), [], "a tenth above");
}

#[test]
fn the_words_say_what_to_do() {
    let alarmed = Alarmed::default();
    let (wear, _) = days_left(74);
    let plan = Plan { endurance_bytes: 494_000, ..PLAN };
    alarmed.watch().look(Some(&wear), Some(&plan), &told(Some(850)), NOW);
    let alarm = &alarmed.0.standing()[0];
    let text = "SD card mmcblk0 at 85 % of its life, by its own registers; at today's rate 74 days left";
    assert_eq!(alarm.text, text);
    assert!(alarm.advice.starts_with("order a replacement"), "{alarm}");
}

#[test]
fn the_spare_blocks_of_an_emmc_are_told_in_two_stages() {
    let alarms = |pre_eol: &str| {
        let alarmed = Alarmed::default();
        alarmed.watch().look(None, None, &emmc("0x01 0x01", pre_eol).look(), NOW);
        alarmed.0.standing()
    };
    assert_eq!(alarms("0x01"), []);
    for (pre_eol, words) in [("0x02", "has used 80 %"), ("0x03", "has used 90 %")] {
        let standing = alarms(pre_eol);
        assert_eq!((standing.len(), standing[0].code.as_str()), (1, code::MEDIUM_SPARE));
        assert_eq!(standing[0].severity, Severity::Critical);
        assert!(
            standing[0].text.starts_with("eMMC mmcblk2 8GXX4R ") && standing[0].text.contains(words),
            "{standing:?}"
        );
    }
}

#[test]
fn what_a_medium_says_of_itself_stands_while_it_says_so() {
    let alarmed = Alarmed::default();
    let mut watch = alarmed.watch();
    let mut look = told(None);
    let mut find = |findings: &[Finding], read_only| {
        (look.registers.findings, look.medium.read_only) = (findings.to_vec(), read_only);
        watch.look(None, None, &look, NOW);
        alarmed.codes()
    };
    assert_eq!(find(&[Finding::Temperature], false), one(code::MEDIUM_HEALTH, Severity::Warn));
    let both = find(&[Finding::Temperature, Finding::Unreliable], false);
    assert_eq!(both, one(code::MEDIUM_HEALTH, Severity::Critical), "the worst counts");
    assert_eq!(find(&[], false), []);
    assert_eq!(find(&[], true), one(code::MEDIUM_HEALTH, Severity::Critical), "the kernel made it read-only");
    let below = Finding::SpareBelow { percent: Some(9), threshold: Some(10) };
    assert_eq!(find(&[below], false), one(code::MEDIUM_SPARE, Severity::Critical));
}

#[test]
fn writes_three_times_as_slow_as_a_week_ago_are_the_end() {
    let slowed = |to: u32| {
        let mut wear = Wear::default();
        (0..12).for_each(|day| push(&mut wear, day, if day > 8 { to } else { 1_000 }));
        wear.odometer.written_bytes = 0;
        standing(&wear, None, &told(None))
    };
    assert_eq!(slowed(2_999), []);
    assert_eq!(slowed(3_000), one(code::MEDIUM_SLOWER, Severity::Critical));
}

#[test]
fn a_failed_write_is_told_for_a_week() {
    let failed = |age: u64| {
        let mut wear = Wear { failed_secs: Some(1_000), ..Wear::default() };
        wear.age.secs = 1_000 + age;
        standing(&wear, None, &told(None))
    };
    let alarm = one(code::WRITE_ERROR, Severity::Critical);
    assert_eq!((failed(0), failed(7 * DAY - 1), failed(7 * DAY)), (alarm.clone(), alarm, vec![]));
    assert_eq!(standing(&Wear::default(), None, &told(None)), []);
}

#[test]
fn the_status_has_the_odometer_the_registers_and_the_worse_of_both() {
    let mut wear = written(300_000);
    wear.odometer.captured_bytes = 290_000;
    wear.odometer.write_latency.add(3_000_000);
    let of = |used, plan| status(&wear, plan, &told(used));
    let by_odometer = of(Some(200), Some(&PLAN));
    assert_eq!((by_odometer.used_permille, by_odometer.used_by), (Some(300), Some(UsedBy::Odometer)));
    assert_eq!(told(Some(200)).status().used_permille, Some(200), "the other is shown too");
    assert_eq!(of(Some(700), Some(&PLAN)).used_by, Some(UsedBy::Registers));
    assert_eq!((by_odometer.bytes_captured, by_odometer.bytes_written), (290_000, 300_000));
    assert_eq!(by_odometer.write_micros, Some(LatencyStatus { p50: 3_000, p99: 3_000, max: 3_000 }));
    assert!(by_odometer.budget.is_some());
    let free = Plan { enforced: false, ..PLAN };
    assert_eq!(of(None, Some(&free)).budget, None, "a plan that is not enforced has none");
    assert_eq!(of(None, None).used_permille, None);
}
