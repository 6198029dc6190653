//! What answers say of traffic that policy left out.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod support;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use hindcap_extract::{Options, plan, search};
use hindcap_store::policy::Control;
use hindcap_store::reader::{Reader, ReaderOptions, SegmentState};
use hindcap_store::sim::SimVolume;
use hindcap_store::volume::{Area, Geometry, VolumeError, VolumeRead};
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
    // One more is recorded, truncated: it marks the flow.
    assert_eq!(answer.thinned.left_out.packets, 500 - 200_000_u64.div_ceil(1042) - 1);
}

/// Counts the bytes that are read of each area.
#[derive(Debug)]
struct Counting {
    volume: SimVolume,
    read: Rc<RefCell<BTreeMap<Area, u64>>>,
}

impl VolumeRead for Counting {
    fn geometry(&self) -> Geometry {
        self.volume.geometry()
    }

    fn read(&self, area: Area, offset: u64, buf: &mut [u8]) -> Result<(), VolumeError> {
        *self.read.borrow_mut().entry(area).or_default() += buf.len() as u64;
        self.volume.read(area, offset, buf)
    }
}

/// A query without times, of a host that was never there, on a store whose every segment begins with a policy step: the
/// catalog answers, policy, counts, drops and all; only segments in which something happened are opened.
#[test]
fn a_query_without_times_reads_the_catalog_and_no_tails() {
    let mut lab = Lab::new(40, true, START + 10 * SEC);
    let policy = Policy { cutoff: Some(2_000_000), sample: 10, ..Policy::default() };
    lab.recorder().thin(Arc::new(Control::new(policy)));
    let mut dropped = 0;
    for secs in 10..2_400_u64 {
        for n in 0..3_u64 {
            // A new flow every 50 s.
            let ports = (4000 + (secs / 50) as u16, 9);
            let frame =
                ethernet(&[], 0x0800, &ipv4(Host(1), Host(2), 17, None, &udp(ports, &[7; 45_000])), (1, 2));
            lab.push(Shot::ethernet(START + secs * SEC + n * SEC / 4, frame));
        }
        dropped += u64::from(secs % 7 == 0);
        let drops = DropCounts([dropped, 0, 0, 0, 0, 0]);
        lab.tick(START + secs * SEC + SEC * 9 / 10, drops);
    }
    lab.stop(START + 2_401 * SEC);

    let read = Rc::new(RefCell::new(BTreeMap::new()));
    let counting = Counting { volume: lab.volume.clone(), read: Rc::clone(&read) };
    let mut reader = Reader::open(counting, ReaderOptions::default()).unwrap();
    let sealed = reader.segments().iter().filter(|segment| segment.state == SegmentState::Sealed).count();
    let eventful = reader.segments().iter().filter(|segment| segment.eventful).count();
    assert!(sealed > 15 && eventful == 2, "{eventful} of {sealed}: the first and the last");
    read.borrow_mut().clear();

    let nobody = vec![hindcap_wire::net::IpNet::host(Host(9).v4().into())];
    let query = Query { nets: nobody, ..Query::default() };
    let plan = plan(&mut reader, &query).unwrap();
    let told = plan.estimate();
    let opened = read.borrow().iter().filter(|(area, _)| matches!(area, Area::Segment(_))).count();
    let bytes: u64 = read.borrow().values().sum();
    assert_eq!(opened, 2, "{:?}", read.borrow());
    let tails = sealed as u64 * 40_000;
    println!("{opened} of {} segments opened, {bytes} bytes read; their tails are {tails}", sealed + 1);

    // And it is the answer that the packets give.
    let (shots, answer) = extract(&mut lab.reader(), &Query::default(), &Options::default()).unwrap();
    assert_eq!((&told.thinned, &told.coverage), (&answer.thinned, &answer.coverage));
    let [span] = told.thinned.policies[..] else { panic!("{told:?}") };
    assert_eq!((span.policy, span.since), (policy, at(10)));
    let left_out = told.thinned.left_out;
    assert_eq!(left_out.packets + answer.packets, 3 * 2_390);
    assert_eq!(left_out.truncated, shots.iter().filter(|shot| shot.bytes.len() < 45_000).count() as u64);
    let (_, none) = extract(&mut reader, &query, &Options::default()).unwrap();
    assert_eq!((none.drops, none.segments_read), (answer.drops, 0));
    assert_eq!(none.drops.total(), dropped);

    // A window that cuts segments in two asks their batch tables, and no others.
    read.borrow_mut().clear();
    let narrow = Query { time: TimeRange::new(at(400), at(800)), ..query.clone() };
    let (_, part) = extract(&mut reader, &narrow, &Options::default()).unwrap();
    let opened = read.borrow().keys().filter(|area| matches!(area, Area::Segment(_))).count();
    assert!((1..=4).contains(&opened), "{:?}", read.borrow());
    let expected = (400..800).filter(|secs| secs % 7 == 0).count() as u64;
    assert!(part.drops.total().abs_diff(expected) <= 2, "{part}");

    // Of a segment that lies in the window as a whole the catalog tells the policy.
    let middle = reader.segments()[sealed / 2].clone();
    let whole = Query { time: TimeRange::new(middle.first, middle.last.plus_nanos(1)), ..query };
    let (_, part) = extract(&mut reader, &whole, &Options::default()).unwrap();
    let [span] = part.thinned.policies[..] else { panic!("{part}") };
    assert_eq!((span.policy, span.since), (policy, at(10)));
    assert!(span.range.start <= middle.first && middle.last < span.range.end, "{part}");
}
