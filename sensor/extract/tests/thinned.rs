//! What answers say of traffic that policy left out.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod support;

use std::sync::Arc;

use hindcap_extract::{Options, plan, search};
use hindcap_store::policy::Control;
use hindcap_wire::drops::DropCounts;
use hindcap_wire::message::answer::{PolicySpan, Thinned, WhyEmpty};
use hindcap_wire::policy::{Policy, PolicyReason};
use hindcap_wire::query::Query;
use hindcap_wire::time::{NANOS_PER_SEC, TimeRange, Timestamp};
use support::frames::{Host, ethernet, ipv4, udp};
use support::{Lab, START, Shot, extract};

const SEC: u64 = NANOS_PER_SEC;

fn at(secs: u64) -> Timestamp {
    Timestamp(START + secs * SEC)
}

fn within(from: u64, to: u64) -> Query {
    Query { time: TimeRange::new(at(from), at(to)), ..Query::default() }
}

/// Ten packets of 1000 bytes in each second of `[from, to)`, one flow, a commit every other second.
fn record(lab: &mut Lab, from: u64, to: u64) {
    for secs in from..to {
        for n in 0..10 {
            let udp = udp((9, 4000), &[7; 1000]);
            let frame = ethernet(&[], 0x0800, &ipv4(Host(1), Host(2), 17, None, &udp), (1, 2));
            lab.push(Shot::ethernet(START + secs * SEC + n * SEC / 100, frame));
        }
        lab.tick(START + secs * SEC + SEC / 2, DropCounts::default());
        if secs % 2 == 1 {
            lab.flush();
        }
    }
}

#[test]
fn an_answer_names_the_policy_since_when_and_what_it_left_out() {
    let mut lab = Lab::new(4, true, START + 10 * SEC);
    let control = Arc::new(Control::new(Policy { sample: 100, ..Policy::default() }));
    lab.recorder().thin(Arc::clone(&control));
    record(&mut lab, 10, 30);
    control.set_cutoff(Some(100_000), PolicyReason::WearBudget);
    record(&mut lab, 30, 60);
    control.set_cutoff(None, PolicyReason::WearBudget);
    record(&mut lab, 60, 70);
    lab.stop(START + 71 * SEC);
    lab.restart(START + 80 * SEC);
    record(&mut lab, 80, 90);

    let (shots, answer) = extract(&mut lab.reader(), &Query::default(), &Options::default()).unwrap();
    let policy =
        Policy { cutoff: Some(100_000), sample: 100, reason: PolicyReason::WearBudget, ..Policy::default() };
    let [span] = answer.thinned.policies[..] else { panic!("{answer:?}") };
    assert_eq!((span.policy, span.since), (policy, Timestamp(START + 30 * SEC + SEC / 2)));
    // Exact to a batch.
    assert!(span.range.start >= at(29) && span.range.start <= at(31), "{answer}");
    assert!(span.range.end >= at(59) && span.range.end <= at(61), "{answer}");
    let truncated = shots.iter().filter(|shot| shot.bytes.len() < shot.orig_len as usize).count() as u64;
    let left_out = answer.thinned.left_out;
    assert_eq!((left_out.packets + answer.packets, left_out.truncated), (700, truncated));
    let missing: u64 = shots.iter().map(|shot| u64::from(shot.orig_len) - shot.bytes.len() as u64).sum();
    assert_eq!(left_out.bytes, left_out.packets * 1042 + missing);
    assert!(truncated >= 1 && left_out.packets > 150, "{answer}");
    let text = answer.to_string();
    assert!(text.contains("policy: flows cut off at 97.7 KiB"), "{text}");
    assert!(text.contains("because of the wear budget since"), "{text}");
    // No gaps: what is missing is not lost. The recorder was down once.
    assert_eq!((answer.gaps.len(), answer.drops.total(), answer.partial), (1, 0, None), "{text}");

    // A window without a policy says nothing of one; nor after the restart, which records everything again.
    for query in [within(10, 29), within(62, 70), within(80, 90)] {
        let (_, answer) = extract(&mut lab.reader(), &query, &Options::default()).unwrap();
        assert_eq!(answer.thinned, Thinned::default(), "{answer}");
        assert!(!answer.to_string().contains("policy"));
    }
    // Estimates and sessions tell the same.
    let mut reader = lab.reader();
    assert_eq!(plan(&mut reader, &Query::default()).unwrap().estimate().thinned, answer.thinned);
    assert_eq!(search(&mut reader, &Query::default(), 10, None).unwrap().thinned, answer.thinned);
}

#[test]
fn an_empty_answer_says_that_policy_left_packets_out() {
    let mut lab = Lab::new(4, true, START + 10 * SEC);
    let control = Arc::new(Control::new(Policy { cutoff: Some(100_000), ..Policy::default() }));
    lab.recorder().thin(Arc::clone(&control));
    record(&mut lab, 10, 60);
    let (shots, answer) = extract(&mut lab.reader(), &within(40, 50), &Options::default()).unwrap();
    // The window is exact to a batch of a second at either end.
    let Some(WhyEmpty::LeftOut { packets }) = answer.why_empty else { panic!("{answer}") };
    assert!(shots.is_empty() && (100..=120).contains(&packets), "{answer}");
    let other = Query { nets: vec![hindcap_wire::net::IpNet::host(Host(9).v4().into())], ..within(11, 14) };
    let (_, answer) = extract(&mut lab.reader(), &other, &Options::default()).unwrap();
    assert_eq!(answer.why_empty, Some(WhyEmpty::NoSuchTraffic), "nothing was left out there");
}

#[test]
fn imported_packets_name_the_policy_of_their_import() {
    let mut lab = Lab::new(4, false, START + 1_000 * SEC);
    let policy = Policy { cutoff: Some(200_000), sample: 0, skip_rules: 1, ..Policy::default() };
    lab.recorder().thin(Arc::new(Control::new(policy)));
    for secs in 10..60 {
        for n in 0..10 {
            let udp = udp((9, 4000), &[7; 1000]);
            let frame = ethernet(&[], 0x0800, &ipv4(Host(1), Host(2), 17, None, &udp), (1, 2));
            lab.push(Shot::ethernet(START + secs * SEC + n, frame));
        }
    }
    lab.stop(START + 1_001 * SEC);
    let (shots, answer) = extract(&mut lab.reader(), &within(20, 25), &Options::default()).unwrap();
    assert_eq!(shots.len(), 50);
    let range = TimeRange::new(at(20), at(25));
    let expected = PolicySpan { range, since: at(1_000), policy };
    // The batch is one; it ends with the last packet that was recorded.
    assert_eq!(answer.thinned.policies, [expected], "{answer}");
    assert_eq!(answer.thinned.left_out.packets, 500 - 200_000_u64.div_ceil(1042));
}
