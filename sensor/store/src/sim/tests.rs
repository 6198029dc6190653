//! The simulated medium under the exploration of [`super::explore`], and every operation failing.

use std::collections::BTreeMap;

use hindcap_wire::ledger::{Blocks, Commit, HEADER_END, SegmentHeader};
use hindcap_wire::limits::PAGE_BYTES;

use super::drive::{Logged, Medium, SEGMENT, UUID, run, run_with_clock_steps, run_with_holds};
use super::explore::explore;
use super::faults::{Faulty, Trouble, fail_everywhere, fail_silently, lie_everywhere};
use super::*;
use crate::Store;
use crate::ring::{order_by_clock, read_header};

const SEGMENTS: u32 = 3;
const SECTOR: usize = 512;
const PAGE: usize = PAGE_BYTES as usize;

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

impl Logged for Operation {
    type Image = (Geometry, Image);

    fn is_write(&self) -> bool {
        matches!(self, Self::Write { .. })
    }

    fn flushes(&self, write: &Self) -> bool {
        matches!((self, write), (Self::Flush(flushed), Self::Write { area, .. }) if flushed == area)
    }

    fn apply(&self, image: &mut Self::Image, reached: &mut dyn FnMut() -> bool) {
        image.1.apply(self, SECTOR, reached);
    }
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

/// As if a segment got its header with its second batch only: until then the one of the turn before stands there.
fn with_late_headers(log: &mut [Operation]) -> usize {
    let (mut headers, mut late, mut changed) = (BTreeMap::new(), BTreeMap::new(), 0);
    for operation in log {
        let Operation::Write { area: Area::Segment(segment), offset, bytes } = operation else { continue };
        if *offset == 0 && SegmentHeader::decode(bytes).is_some() {
            let whole = bytes.clone();
            if let Some(before) = headers.insert(*segment, whole[..HEADER_END].to_vec()) {
                bytes[..HEADER_END].copy_from_slice(&before);
                late.insert(*segment, whole);
                changed += 1;
            }
        } else if let Some(mut first) = late.remove(segment).filter(|first| *offset <= first.len() as u64) {
            first.truncate(*offset as usize);
            first.extend_from_slice(bytes);
            (*offset, *bytes) = (0, first);
        }
    }
    changed
}

#[test]
fn canary_a_writer_whose_headers_come_late_is_caught() {
    let volume = formatted(SEGMENTS);
    let (start, _) = (Medium::image(&volume), volume.take_log());
    let mut run = run(volume);
    assert!(with_late_headers(&mut run.log) > 3);
    let error = explore(&run, &start, 0).unwrap_err();
    assert!(error.contains("acknowledged and is gone"), "{error}");
}

/// What another program finds that walks the segment being written, as long as nothing is being written: the packets of this
/// turn of the ring, then a sector of zeros where the data ends.
fn foreign_programs_stop_where_the_data_ends(log: &[Operation]) -> Result<u32, String> {
    let volume = formatted(SEGMENTS);
    let (mut image, mut seen) = (SimVolume::image(&volume), 0);
    for operation in log {
        let Operation::Write { area: Area::Segment(segment), offset, bytes } = operation else {
            image.apply(operation, SECTOR, || true);
            continue;
        };
        image.apply(operation, SECTOR, || true);
        let ends = Commit::at_end_of(&bytes[..bytes.len() / PAGE * PAGE]);
        let Some(end) = ends.map(|commit| (commit.offset + commit.bytes) as usize) else { continue };
        let stored = &image.segments[*segment as usize];
        let walked = Blocks::new(stored).take_while(|block| block.offset < end).count();
        let behind = stored.get(end..end + SECTOR).ok_or("the data goes on to the summary")?;
        if walked == 0 || behind.iter().any(|byte| *byte != 0) {
            return Err(format!(
                "segment {segment}: what was there before follows the data that ends at {end}, written at {offset}"
            ));
        }
        seen += 1;
    }
    Ok(seen)
}

#[test]
fn behind_every_batch_other_programs_find_its_end() {
    let volume = formatted(SEGMENTS);
    drop(volume.take_log());
    let seen = foreign_programs_stop_where_the_data_ends(&run(volume).log).unwrap();
    assert!(seen > 60, "{seen}");
}

#[test]
fn canary_a_writer_that_leaves_a_stale_tail_is_caught() {
    let volume = formatted(SEGMENTS);
    drop(volume.take_log());
    let mut log = run(volume).log;
    for operation in &mut log {
        if let Operation::Write { area: Area::Segment(_), bytes, .. } = operation {
            bytes.truncate((bytes.len() / PAGE * PAGE).max(SECTOR));
        }
    }
    let error = foreign_programs_stop_where_the_data_ends(&log).unwrap_err();
    assert!(error.contains("what was there before"), "{error}");
}

/// Recovery that takes the latest time for the newest segment.
#[test]
fn canary_a_ring_ordered_by_the_clock_is_caught() {
    let volume = formatted(SEGMENTS);
    let (start, _) = (Medium::image(&volume), volume.take_log());
    let run = run_with_clock_steps(volume);
    order_by_clock(true);
    let caught = explore(&run, &start, 0);
    order_by_clock(false);
    let error = caught.unwrap_err();
    assert!(error.contains("acknowledged packets went with resuming"), "{error}");
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
