//! Segments that have passed the maximum age: emptied on a quiet link, held ones kept, and in every state that a power cut
//! leaves each of them is whole or unused; the next recorder finishes what was begun.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use hindcap_wire::index::PageSet;
use hindcap_wire::limits::PAGE_BYTES;
use hindcap_wire::packet::Packet;

use super::explore::{Driver, Medium, Random, SEGMENT, UUID, content, reading};
use super::*;
use crate::writer::emptying::header_goes_first;
use crate::{Reader, ReaderOptions, Store};

const SEGMENTS: u32 = 5;
const SECTOR: usize = 512;

fn formatted() -> SimVolume {
    let volume = SimVolume::new(SEGMENT, SEGMENTS);
    drop(Store::format(volume.clone(), UUID).unwrap());
    volume
}

/// Lets `secs` pass without a packet.
fn quiet(driver: &mut Driver<SimVolume>, secs: u64) {
    (0..secs * 10).for_each(|_| driver.wait(100));
}

/// Three sealed segments of old packets, generation 2 held, and an open one.
fn recorded() -> (SimVolume, Driver<SimVolume>) {
    let volume = formatted();
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
fn packets(volume: &SimVolume) -> BTreeMap<u64, usize> {
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
fn written(volume: &SimVolume) -> usize {
    let image = volume.image();
    image.segments.iter().filter(|bytes| bytes.iter().any(|byte| *byte != 0)).count()
}

#[test]
fn on_a_quiet_link_old_segments_are_emptied_and_held_ones_are_not() {
    let (volume, mut driver) = recorded();
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
fn what_is_too_old_is_not_given_out_even_before_it_is_gone() {
    let (volume, mut driver) = recorded();
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
fn no_summary_without_header(volume: &SimVolume) -> Result<(), String> {
    let image = volume.image();
    for (number, bytes) in image.segments.iter().enumerate() {
        let page = bytes.len() - PAGE_BYTES as usize;
        let header = bytes[..SECTOR].iter().any(|byte| *byte != 0);
        if !header && bytes[page..].iter().any(|byte| *byte != 0) {
            return Err(format!("segment {number} has a summary and no header"));
        }
    }
    Ok(())
}

#[test]
fn every_cut_leaves_each_segment_whole_or_unused_and_the_next_recorder_finishes() {
    let states = cut_everywhere().unwrap();
    assert!(states >= 60, "{states}");
}

#[test]
fn canary_an_ager_that_begins_with_the_header_is_caught() {
    header_goes_first(true);
    let caught = cut_everywhere();
    header_goes_first(false);
    assert!(caught.unwrap_err().contains("has a summary and no header"));
}

fn cut_everywhere() -> Result<u32, String> {
    let (volume, mut driver) = recorded();
    let mut durable = Medium::image(&volume);
    drop(volume.take_log());
    quiet(&mut driver, 680);
    let log = volume.take_log();
    let (mut unflushed, mut random, mut states): (Vec<&Operation>, _, u32) = (Vec::new(), Random(11), 0);
    for operation in &log {
        match operation {
            Operation::Write { .. } => unflushed.push(operation),
            Operation::Flush(_) => unflushed.retain(|write| {
                let flushed = <SimVolume as Medium>::flushes(operation, write);
                if flushed {
                    durable.1.apply(write, SECTOR, || true);
                }
                !flushed
            }),
        }
        for kind in 0..3 {
            let mut image = durable.clone();
            for write in &unflushed {
                image.1.apply(write, SECTOR, || kind == 1 || (kind == 2 && random.below(2) == 0));
            }
            let volume = <SimVolume as Medium>::with_image(image).unwrap();
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
