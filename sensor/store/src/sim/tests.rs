//! The simulated medium under the exploration of [`super::explore`], and every operation failing.

use hindcap_wire::ledger::HEADER_END;

use super::explore::{Medium, SEGMENT, UUID, explore, run, run_with_clock_steps, run_with_holds};
use super::faults::{Faulty, Trouble, fail_everywhere, fail_silently, lie_everywhere};
use super::*;
use crate::Store;
use crate::ring::read_header;

const SEGMENTS: u32 = 3;
const SECTOR: usize = 512;

impl Faulty for SimVolume {
    fn fresh() -> Self {
        let volume = formatted(9);
        volume.keep_log(false);
        volume
    }

    fn operations(&self) -> usize {
        Self::operations(self)
    }

    fn fail(&self, trouble: Option<Trouble>) {
        self.set_fault(trouble.map(|Trouble { from, count, errno, .. }| Fault { from, count, errno }));
        self.short_writes(trouble.is_some_and(|trouble| trouble.short));
        self.silent_faults(trouble.is_some_and(|trouble| trouble.silent));
    }
}

#[test]
fn every_operation_may_fail_once_or_several_times() {
    let runs = fail_everywhere::<SimVolume>(1).unwrap();
    println!("{runs} runs with a failing medium");
    assert!(runs > 400, "{runs}");
}

#[test]
fn canary_a_medium_whose_errors_nobody_hears_is_caught() {
    assert!(fail_silently::<SimVolume>().unwrap_err().contains("acknowledged"));
}

#[test]
fn a_flush_that_lies_costs_no_more_than_it_concerned() {
    let volume = formatted(SEGMENTS);
    let (start, _) = (Medium::image(&volume), volume.take_log());
    let states = lie_everywhere(&run(volume), &start).unwrap();
    println!("{states} states after a flush that lied");
    assert!(states > 300, "{states}");
}

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

/// The ring is ordered by generations and commits by sequence; no clock decides anything.
#[test]
fn clock_steps_change_nothing_about_cuts() {
    let volume = formatted(SEGMENTS);
    let (start, _) = (Medium::image(&volume), volume.take_log());
    let run = run_with_clock_steps(volume);
    let mut headers: Vec<_> =
        (0..SEGMENTS).filter_map(|number| read_header(&run.volume, &UUID, number)).collect();
    headers.sort_by_key(|header| header.generation);
    assert!(headers[0].generation > 1, "the ring has turned");
    assert!(headers.windows(2).any(|pair| pair[1].begun.wall < pair[0].begun.wall), "{headers:?}");
    let states = explore(&run, &start, 1).unwrap();
    println!("{states} states of {} operations with clock steps", run.log.len());
    assert!(states > 600, "{states}");
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
