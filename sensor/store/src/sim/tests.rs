//! The simulated medium under the exploration of [`super::explore`], and every operation failing.

use hindcap_wire::drops::DropCounts;
use hindcap_wire::ledger::HEADER_END;
use hindcap_wire::packet::{Interface, LinkType, Packet};
use hindcap_wire::time::Timestamp;

use super::explore::{Driver, Medium, SEGMENT, UUID, content, explore, reading, run, run_with_holds, served};
use super::*;
use crate::ring::read_header;
use crate::scan::{chunk_buffer, scan_batches};
use crate::{RecorderOptions, Store};

const SEGMENTS: u32 = 3;
const SECTOR: usize = 512;

impl Medium for SimVolume {
    type Image = (Geometry, Image);
    type Operation = Operation;

    fn image(&self) -> Self::Image {
        (self.geometry, Self::image(self))
    }

    fn with_image((geometry, image): Self::Image) -> Result<Self, String> {
        Ok(Self::with_image(geometry, image))
    }

    fn log_len(&self) -> usize {
        Self::log_len(self)
    }

    fn take_log(&self) -> Vec<Operation> {
        Self::take_log(self)
    }

    fn is_write(operation: &Operation) -> bool {
        matches!(operation, Operation::Write { .. })
    }

    fn flushes(later: &Operation, write: &Operation) -> bool {
        matches!((later, write), (Operation::Flush(flushed), Operation::Write { area, .. }) if flushed == area)
    }

    fn apply(image: &mut Self::Image, operation: &Operation, reached: &mut dyn FnMut() -> bool) {
        image.1.apply(operation, SECTOR, reached);
    }

    fn segment_write(operation: &Operation) -> Option<(u32, u64, &[u8])> {
        match operation {
            Operation::Write { area: Area::Segment(segment), offset, bytes } => {
                Some((*segment, *offset, bytes))
            }
            _ => None,
        }
    }
}

fn formatted(segments: u32) -> SimVolume {
    let volume = SimVolume::new(SEGMENT, segments);
    drop(Store::format(volume.clone(), UUID).unwrap());
    volume
}

#[test]
fn every_acknowledged_packet_survives_every_cut() {
    let volume = formatted(SEGMENTS);
    let (start, _) = (Medium::image(&volume), volume.take_log());
    let run = run(volume);
    assert!(run.log.len() >= 200, "{} operations", run.log.len());
    let generations = (0..SEGMENTS).filter_map(|number| read_header(&run.volume, &UUID, number));
    assert!(generations.map(|header| header.generation).min() > Some(1), "the ring has turned");
    let states = explore(&run, &start, 2).unwrap();
    println!("{states} states of {} operations", run.log.len());
    assert!(states > 600);
}

#[test]
fn what_is_held_survives_every_cut_and_every_turn_of_the_ring() {
    let volume = formatted(5);
    let (start, _) = (Medium::image(&volume), volume.take_log());
    let run = run_with_holds(volume, false);
    let generations = (0..5).filter_map(|number| read_header(&run.volume, &UUID, number));
    let generations: Vec<u64> = generations.map(|header| header.generation).collect();
    assert!(generations.contains(&9) && !generations.contains(&8), "{generations:?}");
    assert!(generations.iter().all(|generation| *generation == 9 || *generation > 14), "{generations:?}");
    let states = explore(&run, &start, 1).unwrap();
    println!("{states} states of {} operations", run.log.len());
    assert!(states > 600);
}

#[test]
fn canary_a_recorder_that_ignores_holds_is_caught() {
    let volume = formatted(5);
    let (start, _) = (Medium::image(&volume), volume.take_log());
    let error = explore(&run_with_holds(volume, true), &start, 0).unwrap_err();
    assert!(error.contains("was held and is gone"), "{error}");
}

#[test]
fn canary_a_writer_that_forgets_to_flush_is_caught() {
    let volume = formatted(SEGMENTS);
    let (start, _) = (Medium::image(&volume), volume.take_log());
    volume.forget_flushes(true);
    let run = run(volume);
    let error = explore(&run, &start, 0).unwrap_err();
    assert!(error.contains("acknowledged and is gone"), "{error}");
}

#[test]
fn canary_a_writer_without_commits_is_caught() {
    let volume = formatted(SEGMENTS);
    let (start, _) = (Medium::image(&volume), volume.take_log());
    let mut run = run(volume);
    // As if the CRC were written without looking at the bytes: one byte of each batch differs from what was recorded.
    for operation in &mut run.log {
        if let Operation::Write { area: Area::Segment(_), bytes, .. } = operation {
            if bytes.len() > HEADER_END + 600 {
                bytes[HEADER_END + 300] ^= 1;
            }
        }
    }
    assert!(explore(&run, &start, 0).is_err());
}

/// Runs with one failing operation after the other; whatever fails, nothing is lost that was acknowledged, what is lost is
/// counted, and recording goes on.
#[test]
fn every_operation_may_fail_once_or_several_times() {
    const EIO: i32 = 5;
    const ENOSPC: i32 = 28;
    const EROFS: i32 = 30;
    let reference = formatted(9);
    let before = reference.operations();
    short_run(&reference, &|_| {});
    let operations = reference.operations() - before;
    assert!(operations > 30, "{operations}");
    for errno in [EIO, ENOSPC, EROFS] {
        for count in [1, 2, 5] {
            for at in 0..operations {
                let volume = formatted(9);
                volume.keep_log(false);
                let from = volume.operations() + at;
                let fault = Fault { from, count, errno };
                short_run(&volume, &|volume| volume.set_fault(Some(fault)));
            }
        }
    }
}

/// Records with rotation; checks what is there against what was acknowledged and what was counted as dropped.
fn short_run(volume: &SimVolume, arm: &dyn Fn(&SimVolume)) {
    let mut driver = Driver::new(volume.clone());
    let store = Store::mount(volume.clone()).unwrap();
    arm(volume);
    let options = RecorderOptions { hash_chain: false, ..RecorderOptions::inline() };
    let mut recorder = store.recorder(options, reading(0)).unwrap();
    let tap = Interface { link_type: LinkType::RAW, snaplen: 0, name: "tap".into() };
    driver.interface = recorder.interface(&tap).unwrap();
    driver.recorder = Some(recorder);
    let mut pushed = 0_u32;
    for step in 0..14 {
        let packets = 1 + step % 4;
        for _ in 0..packets {
            let bytes = content(driver.next);
            let packet = Packet {
                timestamp: Timestamp(1),
                interface: driver.interface,
                orig_len: bytes.len() as u32,
                bytes: &bytes,
            };
            driver.recorder.as_mut().unwrap().push(&packet);
            driver.next += 1;
            pushed += 1;
        }
        driver.now += 20_000;
        driver.recorder.as_mut().unwrap().tick(reading(driver.now), DropCounts::default());
        if step == 6 {
            driver.recorder.as_mut().unwrap().rotate();
        }
    }
    let recorder = driver.recorder.take().unwrap();
    let health = recorder.health();
    let closed = recorder.close(reading(driver.now + 60_000));
    volume.set_fault(None);
    let snapshot = health.snapshot();
    let found = served(volume, driver.next).unwrap();
    assert!(found.len() as u64 >= snapshot.packets_acked, "acknowledged packets are there");
    if closed.is_ok() {
        let told = told_drops(volume);
        assert_eq!(
            snapshot.packets_acked + told,
            u64::from(pushed),
            "every packet is durable or told as dropped"
        );
    }
    drop(closed);
    // And the next recorder goes on.
    let mut next = Driver::new(volume.clone());
    (next.next, next.now) = (driver.next, driver.now + 100_000);
    next.start();
    next.push(2);
    next.wait(6_000);
    assert!(next.believed.len() >= 2);
}

fn told_drops(volume: &SimVolume) -> u64 {
    let mut told = 0;
    for number in 0..volume.geometry().segments {
        let Some(header) = read_header(volume, &UUID, number) else { continue };
        scan_batches(volume, number, &header, &mut chunk_buffer(), |commit, _| told += commit.drops.total());
    }
    told
}
