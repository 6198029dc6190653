//! Holds against a simple model, through random turns, holds, releases and crashes; and the end of holds by the clock.

use std::collections::BTreeSet;

use hindcap_wire::limits::HOLD_WHY_BYTES_MAX;
use hindcap_wire::message::{HoldId, HoldPart};
use hindcap_wire::time::{ClockState, NANOS_PER_SEC, TimeRange, Timestamp};

use super::keeper::{self, Steadiness};
use super::{HOLDS_BYTES_MAX, HoldError, HoldOrder, Keep, KeepPolicy};
use crate::Reading;
use crate::ring::Ring;
use crate::sim::drive::Random;
use crate::state::{SLOT_BYTES, Slots, State};

const SEGMENT: u32 = 64 << 20;
const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;

fn at(secs: u64, clock: ClockState) -> Reading {
    let wall = Timestamp((1_800_000_000 + secs) * NANOS_PER_SEC);
    Reading { wall, monotonic_nanos: (1_000 + secs) * NANOS_PER_SEC, clock }
}

fn order(id: u64, generations: Vec<u64>) -> HoldOrder {
    HoldOrder {
        id: HoldId::new(id),
        who: "analyst".into(),
        why: "case".into(),
        lasts_secs: DAY,
        window: TimeRange::new(Timestamp(0), Timestamp::MAX),
        generations,
        partial: None,
    }
}

/// A ring of `segments` that has turned `turns` times.
fn ring(segments: u32, turns: u64) -> Ring {
    let mut ring = Ring::of(segments);
    for _ in 0..turns {
        ring.take_next();
    }
    ring
}

fn keep(held_share: u8) -> Keep {
    Keep { policy: KeepPolicy { held_share, ..KeepPolicy::default() }, ..Keep::default() }
}

fn hold(keep: &mut Keep, ring: &mut Ring, order: &HoldOrder) -> Result<u32, HoldError> {
    let (after, held) = keeper::hold(keep, ring, order, at(0, ClockState::Synchronised), SEGMENT)?;
    ring.set_keep(&after);
    *keep = after;
    Ok(held.hold.segments)
}

/// What a crash leaves: the headers' generations, and the state as it was written.
fn crash(ring: &Ring, keep: &Keep) -> (Ring, Keep) {
    let keep = keep.clone();
    let state = State { writes: 3, epoch: 1, clean: false, keep, ..State::new([1; 16], SEGMENT, 9) };
    let mut slots = [0; 2 * SLOT_BYTES];
    slots[SLOT_BYTES..].copy_from_slice(&state.encode());
    let Slots::Whole(read) = State::choose(&slots) else { panic!("the state does not read back") };
    assert_eq!(read, state);
    let mut again = ring.reread();
    again.set_keep(&read.keep);
    (again, read.keep)
}

fn random_run(seed: u64, ignore_holds: bool) -> Result<(), String> {
    let mut random = Random(seed);
    let segments = 3 + random.below(30) as u32;
    let mut ring = ring(segments, random.below(40));
    let mut keep = keep(random.below(60) as u8);
    ring.ignore_holds = ignore_holds;
    // The model: generations by age, and what is held.
    let mut held: Vec<(u64, BTreeSet<u64>)> = Vec::new();
    for step in 0..200 {
        let present = ring.generations_used();
        let all: BTreeSet<u64> = held.iter().flat_map(|(_, held)| held.iter().copied()).collect();
        match random.below(10) {
            0..=5 => {
                let oldest = if present.len() < segments as usize {
                    None
                } else {
                    present.iter().copied().find(|generation| !all.contains(generation))
                };
                let (_, generation) = ring.take_next();
                let now = ring.generations_used();
                let gone: Vec<u64> = present.iter().copied().filter(|g| !now.contains(g)).collect();
                if gone != oldest.into_iter().collect::<Vec<_>>() || !now.contains(&generation) {
                    return Err(format!("step {step}: {gone:?} went, not {oldest:?}; held {all:?}"));
                }
            }
            6 | 7 => {
                let wanted: Vec<u64> =
                    present.iter().copied().filter(|_| random.below(3) == 0).chain([7_000_000]).collect();
                let partial =
                    [None, Some(HoldPart::Newest), Some(HoldPart::Oldest)][random.below(3) as usize];
                let order = HoldOrder { partial, ..order(step, wanted.clone()) };
                let needs = wanted.iter().filter(|g| present.contains(g) && !all.contains(g)).count();
                let max = keep.segments_max(segments) as usize;
                let room = max.saturating_sub(all.len());
                match hold(&mut keep, &mut ring, &order) {
                    Ok(count) => {
                        let names: BTreeSet<u64> =
                            wanted.iter().copied().filter(|g| keep.holds.last().unwrap().names(*g)).collect();
                        let together = all.union(&names).count();
                        if count as usize != names.len() || together > max.max(all.len()) {
                            return Err(format!("step {step}: {together} held of {max}"));
                        }
                        if needs <= room && names.len() != wanted.len() - 1 {
                            return Err(format!(
                                "step {step}: {names:?} of {wanted:?} although there is room"
                            ));
                        }
                        held.push((step, names));
                    }
                    Err(HoldError::NoRoom { .. }) if needs > room => {}
                    Err(HoldError::NoShare) if max == 0 => {}
                    Err(HoldError::Nothing) if wanted.len() == 1 => {}
                    Err(HoldError::TableFull) if held.len() >= 8 => {}
                    Err(error) => return Err(format!("step {step}: {error}: {needs} of {room}")),
                }
            }
            8 if !held.is_empty() => {
                let (id, _) = held.remove(random.below(held.len() as u64) as usize);
                let (after, _) = keeper::release(&keep, &ring, HoldId::new(id), SEGMENT).unwrap();
                keep = after;
                ring.set_keep(&keep);
            }
            _ => {
                let ignore = ring.ignore_holds;
                (ring, keep) = crash(&ring, &keep);
                ring.ignore_holds = ignore;
            }
        }
    }
    Ok(())
}

#[test]
fn the_oldest_that_nobody_holds_goes_and_nothing_else() {
    for seed in 1..400 {
        random_run(seed, false).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    }
}

#[test]
fn canary_a_ring_that_ignores_holds_is_caught() {
    assert!((1..20).any(|seed| random_run(seed, true).is_err()));
}

#[test]
fn a_refusal_tells_the_figures_and_a_part_fits_exactly() {
    let mut ring = ring(100, 100);
    let mut keep = keep(20);
    assert_eq!(hold(&mut keep, &mut ring, &order(1, (1..=12).collect())), Ok(12));
    let error = hold(&mut keep, &mut ring, &order(2, (10..=40).collect())).unwrap_err();
    assert_eq!(
        error.to_string(),
        "needs 28 segments (1.8 GiB), 8 are free of 20 that holds may take; shorten the range, release another hold, or \
         take a part (--partial)"
    );
    let newest = HoldOrder { partial: Some(HoldPart::Newest), ..order(3, (10..=40).collect()) };
    assert_eq!(hold(&mut keep, &mut ring, &newest), Ok(11), "8 that are free, and 3 that are held already");
    let hold = keep.holds.last().unwrap();
    assert_eq!((hold.ranges.as_slice(), hold.left_out), (&[(10, 3), (33, 8)][..], 20));
    let share = keep.share(&ring.generations_used(), ring.usable(), SEGMENT);
    assert_eq!((share.segments, share.segments_max), (20, 20));
}

#[test]
fn half_of_the_ring_and_two_segments_stay_with_recording() {
    for (segments, share, most) in
        [(2, 50, 0), (3, 50, 1), (3, 20, 1), (4, 99, 2), (8, 20, 2), (180, 20, 36), (180, 50, 90), (9, 0, 0)]
    {
        assert_eq!(keep(share).segments_max(segments), most, "{share} % of {segments}");
    }
}

#[test]
fn the_same_order_makes_one_hold() {
    let (mut ring, mut keep) = (ring(20, 20), keep(50));
    assert_eq!(hold(&mut keep, &mut ring, &order(1, vec![3, 4])), Ok(2));
    assert_eq!(hold(&mut keep, &mut ring, &order(1, vec![3, 4, 5])), Ok(2), "as it was made");
    assert_eq!(keep.holds.len(), 1);
}

#[test]
fn the_holds_always_fit_into_half_a_slot() {
    let (mut ring, mut keep) = (ring(1_000, 1_000), keep(50));
    let long = |id| HoldOrder {
        why: "x".repeat(HOLD_WHY_BYTES_MAX),
        ..order(u64::MAX - id, (1..500).step_by(2).skip(id as usize % 2).collect())
    };
    let mut made = 0;
    while hold(&mut keep, &mut ring, &long(made)).is_ok() {
        made += 1;
    }
    assert!(made > 0 && postcard::to_allocvec(&keep.holds).unwrap().len() <= HOLDS_BYTES_MAX);
    crash(&ring, &keep);
    let mut small = keep.clone();
    small.holds.clear();
    let tiny = |id| HoldOrder { why: String::new(), who: String::new(), ..order(id, vec![5]) };
    let many = (0..100).take_while(|id| hold(&mut small, &mut ring, &tiny(*id)).is_ok()).count();
    assert_eq!(many, super::HOLDS_MAX);
    crash(&ring, &small);
}

/// A keep with one hold of a day, made at second 0 under `clock`.
fn one(clock: ClockState) -> Keep {
    let order = HoldOrder { generations: vec![5], ..order(1, vec![]) };
    keeper::hold(&keep(50), &ring(20, 20), &order, at(0, clock), SEGMENT).unwrap().0
}

#[test]
fn a_hold_ends_by_a_steady_synchronised_clock_only() {
    use ClockState::{NotSynchronised, Synchronised};
    let keep = one(Synchronised);
    let mut steady = Steadiness::new(at(0, Synchronised));
    let left = |steady: &mut Steadiness, now: Reading| {
        let trusted = steady.trusts(now);
        keeper::pass(&keep, now, trusted).map(|after| after.holds.len())
    };
    assert_eq!(left(&mut steady, at(DAY - 1, Synchronised)), None);
    assert_eq!(left(&mut steady, at(DAY, Synchronised)), Some(0));
    assert_eq!(left(&mut steady, at(DAY, NotSynchronised)), None, "nobody vouches for the clock");
    assert_eq!(left(&mut steady, at(DAY + HOUR - 1, Synchronised)), None, "not steady again yet");
    assert_eq!(left(&mut steady, at(DAY + HOUR, Synchronised)), Some(0));
    // The clock jumps ahead by a year an hour after the start: nothing ends for a day.
    let mut steady = Steadiness::new(at(0, Synchronised));
    let jumped = |secs: u64| {
        let now = at(secs, Synchronised);
        Reading { wall: now.wall.plus_nanos(365 * DAY * NANOS_PER_SEC), ..now }
    };
    steady.stepped(jumped(HOUR));
    assert_eq!(left(&mut steady, jumped(HOUR + 1)), None);
    assert_eq!(left(&mut steady, at(3 * HOUR, Synchronised)), None, "and it was put right");
    assert_eq!(left(&mut steady, jumped(DAY + HOUR - 1)), None);
    assert_eq!(left(&mut steady, jumped(DAY + HOUR)), Some(0), "a day later it is believed");
}

#[test]
fn a_hold_made_without_a_clock_counts_from_the_first_good_one() {
    use ClockState::{NotSynchronised, Synchronised};
    let keep = one(NotSynchronised);
    assert_eq!(keep.holds[0].expires(), None);
    assert_eq!(keeper::pass(&keep, at(400 * DAY, NotSynchronised), true), None);
    let dated = keeper::pass(&keep, at(400 * DAY, Synchronised), true).unwrap();
    assert_eq!(dated.holds[0].expires(), Some(at(401 * DAY, Synchronised).wall));
}

#[test]
fn what_is_still_to_come_is_taken_as_it_is_sealed() {
    let now = at(0, ClockState::Synchronised);
    let (mut ring, start) = (ring(10, 20), keep(50));
    let window = TimeRange::new(now.wall, now.wall.plus_nanos(HOUR * NANOS_PER_SEC));
    let order = HoldOrder { window, ..order(1, vec![20]) };
    let mut keep = keeper::hold(&start, &ring, &order, now, SEGMENT).unwrap().0;
    let inside = (now.wall.plus_nanos(5), now.wall.plus_nanos(6));
    let late = (window.end.plus_nanos(NANOS_PER_SEC), window.end.plus_nanos(2 * NANOS_PER_SEC));
    for (times, taken) in [(inside, true), (late, false), ((Timestamp::MAX, Timestamp::MIN), true)] {
        let (_, generation) = ring.take_next();
        let after = keeper::sealed(&keep, &ring, generation, times, SEGMENT);
        assert_eq!(after.is_some(), taken, "{times:?}");
        keep = after.unwrap_or(keep);
        ring.set_keep(&keep);
        assert_eq!(keep.is_held(generation), taken);
    }
    // Within the budget: 5 of 10.
    for _ in 0..8 {
        let (_, generation) = ring.take_next();
        keep = keeper::sealed(&keep, &ring, generation, inside, SEGMENT).unwrap();
        ring.set_keep(&keep);
    }
    let share = keep.share(&ring.generations_used(), ring.usable(), SEGMENT);
    assert_eq!((share.segments, keep.holds[0].left_out), (5, 6));
    // Without an end, what is there now is meant.
    let open = HoldOrder { window: TimeRange::new(now.wall, Timestamp::MAX), ..order };
    assert!(
        !keeper::hold(&start, &ring, &HoldOrder { generations: vec![28], ..open }, now, SEGMENT)
            .unwrap()
            .0
            .holds[0]
            .follows
    );
}
