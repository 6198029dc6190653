//! Segments that have passed the maximum age: emptied on a quiet link, held ones kept, and in every state that a power cut
//! leaves each of them is whole or unused; the next recorder finishes what was begun. The same for every volume.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use hindcap_wire::index::PageSet;
use hindcap_wire::limits::PAGE_BYTES;
use hindcap_wire::packet::Packet;

use super::drive::{Driver, Logged as _, Medium, Random, SEGMENT, UUID, content, reading};
use super::*;
use crate::volume::Area;
use crate::writer::emptying::header_goes_first;
use crate::{Reader, ReaderOptions, Store};

/// Of every volume that these runs are made on.
pub(crate) const SEGMENTS: u32 = 5;

fn formatted() -> SimVolume {
    let volume = SimVolume::new(SEGMENT, SEGMENTS);
    drop(Store::format(volume.clone(), UUID).unwrap());
    volume
}

/// Lets `secs` pass without a packet.
fn quiet<M: Medium>(driver: &mut Driver<M>, secs: u64) {
    (0..secs * 10).for_each(|_| driver.wait(100));
}

/// Three sealed segments of old packets, generation 2 held, and an open one.
fn recorded<M: Medium>(volume: M) -> (M, Driver<M>) {
    let mut driver = Driver::new(volume.clone());
    driver.max_age_secs = 3_600;
    driver.start();
    for _ in 0..3 {
        driver.push(20);
        driver.wait(5_100);
        driver.rotate();
    }
    driver.hold(1, &[2]);
    (volume, driver)
}

/// Packets by generation, as a reader without a clock serves them.
fn packets<M: Medium>(volume: &M) -> BTreeMap<u64, usize> {
    let mut reader = Reader::open(volume.clone(), ReaderOptions::default()).unwrap();
    let mut found = BTreeMap::new();
    for segment in reader.segments().to_vec() {
        let mut count = 0;
        let everything = PageSet::range(0, SEGMENT / PAGE_BYTES);
        let served = reader.packets(&segment, &everything, &mut |_| {
            count += 1;
            ControlFlow::Continue(())
        });
        assert!(served.unwrap().damage.is_empty(), "generation {} is damaged", segment.generation);
        found.insert(segment.generation, count);
    }
    found
}

/// Segments that hold anything but zeros.
fn written<M: Medium>(volume: &M) -> usize {
    let mut bytes = vec![0; SEGMENT as usize];
    (0..volume.geometry().segments)
        .filter(|number| {
            volume.read(Area::Segment(*number), 0, &mut bytes).unwrap();
            bytes.iter().any(|byte| *byte != 0)
        })
        .count()
}

#[test]
fn on_a_quiet_link_old_segments_are_emptied_and_held_ones_are_not() {
    old_segments_are_emptied(formatted());
}

#[test]
fn every_cut_leaves_each_segment_whole_or_unused_and_the_next_recorder_finishes() {
    assert!(every_cut_of_emptying(formatted()).unwrap() >= 60);
}

/// On an empty store of [`SEGMENTS`] segments.
pub(crate) fn old_segments_are_emptied<M: Medium>(volume: M) {
    let (volume, mut driver) = recorded(volume);
    quiet(&mut driver, 570);
    assert_eq!(packets(&volume), BTreeMap::from([(1, 20), (2, 20), (3, 20)]), "the clock is not trusted yet");
    quiet(&mut driver, 110);
    assert_eq!(packets(&volume), BTreeMap::from([(2, 20)]));
    assert_eq!(written(&volume), 1, "nothing is left of the others");
    // Generations go on where they were, though no segment tells of them.
    driver.release(1, &[2]);
    quiet(&mut driver, 90);
    assert_eq!((packets(&volume), written(&volume)), (BTreeMap::new(), 0));
    driver.kill();
    driver.start();
    driver.push(1);
    driver.wait(5_100);
    assert_eq!(packets(&volume).into_keys().collect::<Vec<_>>(), [4]);
}

#[test]
fn what_cannot_be_emptied_is_told_until_it_is_recorded_over() {
    use crate::volume::block::Fault;
    let (mut told, mut ended) = (0, 0);
    for skip in 0..16 {
        let (volume, mut driver) = recorded(formatted());
        quiet(&mut driver, 570);
        volume.set_fault(Some(Fault { from: volume.operations() + skip, count: 1, errno: 5 }));
        let health = driver.recorder.as_ref().unwrap().health();
        let mut said = None;
        for _ in 0..200 {
            quiet(&mut driver, 1);
            said = said.or(health.snapshot().emptying_fails);
        }
        let said = said.is_some_and(|(_, why)| why.contains("cannot be emptied"));
        told += usize::from(said);
        if !said {
            continue;
        }
        assert!(
            health.snapshot().emptying_fails.is_some(),
            "{skip}: that another one could be emptied ends nothing"
        );
        for _ in 0..SEGMENTS {
            driver.push(20);
            driver.wait(5_100);
            driver.rotate();
        }
        ended += usize::from(health.snapshot().emptying_fails.is_none());
    }
    assert!(told > 3 && ended == told, "{told} {ended}");
}

#[test]
fn what_is_too_old_is_not_given_out_even_before_it_is_gone() {
    let (volume, mut driver) = recorded(formatted());
    let now = reading(driver.now).wall;
    let times = [now.minus_nanos(7_200_000_000_000), now.minus_nanos(60_000_000_000)];
    let interface = driver.interface;
    for (at, timestamp) in times.into_iter().enumerate() {
        let bytes = content(900 + at as u32);
        let packet = Packet { timestamp, interface, orig_len: bytes.len() as u32, bytes: &bytes };
        driver.recorder.as_mut().unwrap().push(&packet);
    }
    driver.wait(5_100);
    let options = ReaderOptions { now: Some(now), ..ReaderOptions::default() };
    let mut reader = Reader::open(volume.clone(), options).unwrap();
    let listed = reader.segments().to_vec();
    let generations: Vec<u64> = listed.iter().map(|segment| segment.generation).collect();
    assert_eq!(generations, [2, 4], "the held one, and the one with something newer");
    assert_eq!(listed[1].first, now.minus_nanos(3_600_000_000_000), "dated by what is given out");
    let mut found = Vec::new();
    let everything = PageSet::range(0, SEGMENT / PAGE_BYTES);
    let mut visit = |at: crate::PacketAt<'_>| {
        found.push(at.packet.timestamp);
        ControlFlow::Continue(())
    };
    reader.packets(&listed[1], &everything, &mut visit).unwrap();
    assert_eq!(found, [times[1]]);
    assert_eq!(packets(&volume)[&4], 2, "without a clock everything is read");
}

/// A summary vouches for batches: it must be gone before anything of them is, header included, or damage would be told where
/// something was emptied in order.
fn no_summary_without_header<M: Medium>(volume: &M) -> Result<(), String> {
    let mut bytes = vec![0; SEGMENT as usize];
    for number in 0..volume.geometry().segments {
        volume.read(Area::Segment(number), 0, &mut bytes).unwrap();
        let page = bytes.len() - PAGE_BYTES as usize;
        let header = bytes[..512].iter().any(|byte| *byte != 0);
        if !header && bytes[page..].iter().any(|byte| *byte != 0) {
            return Err(format!("segment {number} has a summary and no header"));
        }
    }
    Ok(())
}

#[test]
fn canary_an_ager_that_begins_with_the_header_is_caught() {
    header_goes_first(true);
    let caught = every_cut_of_emptying(formatted());
    header_goes_first(false);
    assert!(caught.unwrap_err().contains("has a summary and no header"));
}

/// On an empty store of [`SEGMENTS`] segments; gives the number of states.
pub(crate) fn every_cut_of_emptying<M: Medium>(volume: M) -> Result<u32, String> {
    let (volume, mut driver) = recorded(volume);
    let mut durable = volume.image();
    drop(volume.take_log());
    quiet(&mut driver, 680);
    let log = volume.take_log();
    let (mut unflushed, mut random, mut states): (Vec<&M::Operation>, _, u32) = (Vec::new(), Random(11), 0);
    for operation in &log {
        if operation.is_write() {
            unflushed.push(operation);
        } else {
            unflushed.retain(|write| {
                let flushed = operation.flushes(write);
                if flushed {
                    write.apply(&mut durable, &mut || true);
                }
                !flushed
            });
        }
        for kind in 0..3 {
            let mut image = durable.clone();
            for write in &unflushed {
                write.apply(&mut image, &mut || kind == 1 || (kind == 2 && random.below(2) == 0));
            }
            let volume = M::with_image(image).unwrap();
            no_summary_without_header(&volume)?;
            let found = packets(&volume);
            assert_eq!(found.get(&2), Some(&20), "the held one, after {states} states");
            assert!(found.values().all(|count| *count == 20), "{found:?} after {states} states");
            states += 1;
            if states % 9 == 0 {
                let mut next = Driver::new(volume.clone());
                (next.max_age_secs, next.next, next.now) = (3_600, 100, 10_000_000);
                next.start();
                quiet(&mut next, 700);
                next.kill();
                let left = packets(&volume);
                assert!(!left.contains_key(&1) && !left.contains_key(&3), "{left:?}");
                assert!(written(&volume) <= 2, "the held one, and the recorder's own: {}", written(&volume));
            }
        }
    }
    Ok(states)
}
