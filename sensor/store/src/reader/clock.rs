//! True times for what was recorded before the clock was set (docs/FORMAT.md, "Clock").
//!
//! Segments tell by which settings of the clock they were recorded: the header by which it was begun, and where that is not
//! all, the summary or the batches. Once a setting of a boot was vouched for, all of that boot is known. Where nobody ever
//! vouched for the clock, a step of a day or more forward is taken for the setting of an unset clock; nothing else is, for
//! nobody knows which of two clocks was right. Order is that of the segments, never that of their times.

use std::collections::HashMap;

use hindcap_wire::ledger::{ClockAt, ClockLine, is_near};
use hindcap_wire::limits::PAGE_BYTES;
use hindcap_wire::time::{ClockState, NANOS_PER_SEC, TimeRange, Timestamp};
use hindcap_wire::true_time::{Stretch, TrueTime};

use super::info::{SegmentInfo, SegmentState};
use super::survey::{Known, summary};
use crate::volume::VolumeRead;

/// A step forward of so much is the setting of a clock that had not been set since the machine started.
const FIRST_SETTING_NANOS: i64 = 86_400 * NANOS_PER_SEC as i64;
/// A clock that shows an earlier time was never set: 2025, before anything was recorded with this format.
const UNSET_BEFORE: Timestamp = Timestamp::from_parts(1_735_689_600, 0);

/// What is known of the clock of a segment.
#[derive(Clone, Debug, Default)]
pub(super) struct Clock {
    /// As summary or batches tell; looked up where the headers do not tell all.
    told: Option<Vec<ClockLine>>,
    pub lines: Vec<ClockLine>,
    /// Whether these are all; else there may be others among them.
    pub exact: bool,
}

impl Clock {
    /// Takes what the batches of a segment tell that will not change any more.
    pub(super) fn set_exact(&mut self, lines: &[ClockLine]) {
        (self.told, self.lines, self.exact) = (Some(lines.to_vec()), lines.to_vec(), true);
    }
}

/// Finds out how the clock of each segment was set; they are in the order of their generations.
pub(super) fn look(volume: &impl VolumeRead, known: &mut [Known]) {
    for at in 0..known.len() {
        let next = known.get(at + 1).map(|next| next.header.begun);
        let segment = &mut known[at];
        let (begun, end) = (segment.header.begun, next.or(segment.last_commit));
        if let Some(said) = &segment.provisional {
            (segment.clock.lines, segment.clock.exact) = (said.clock_lines.clone(), true);
            continue;
        }
        if begun.boot != 0 && end.is_some_and(|end| begun.is_set_as(&end)) {
            let to = end.map_or(0, |end| end.monotonic_nanos).max(begun.monotonic_nanos);
            segment.clock.lines = vec![ClockLine { to, ..ClockLine::of(0, &begun) }];
            segment.clock.exact = true;
            continue;
        }
        if segment.info.state == SegmentState::Sealed && segment.clock.told.is_none() {
            // A summary that cannot be read is no failure: then only the headers tell.
            let page = summary(volume, segment.info.number).ok().flatten();
            let page = page.filter(|page| page.generation == segment.info.generation);
            segment.clock.told = page.map(|page| page.summary.clock_lines);
        }
        segment.clock.exact = segment.clock.told.is_some();
        segment.clock.lines =
            segment.clock.told.clone().unwrap_or_else(|| ends(&begun, segment.last_commit, &segment.info));
    }
}

/// The first setting of a segment and its last one.
fn ends(begun: &ClockAt, last: Option<ClockAt>, info: &SegmentInfo) -> Vec<ClockLine> {
    let last_page = (info.data_bytes / PAGE_BYTES).saturating_sub(1) as u16;
    let first = (begun.boot != 0).then(|| ClockLine::of(0, begun));
    first.into_iter().chain(last.map(|last| ClockLine::of(last_page, &last))).collect()
}

/// By what the true time of a boot is known.
#[derive(Clone, Debug, Default)]
pub(super) struct Anchors {
    /// Per boot the bases that were vouched for, each with the place where it begins.
    vouched: HashMap<u64, Vec<(Place, u64)>>,
    /// Where nobody vouched: place and base of the last setting that looks like a first one.
    stepped: HashMap<u64, (Place, u64)>,
}

/// Generation and page.
type Place = (u64, u16);

/// All settings, in their order; those of the segment of `instead` are given.
fn lines<'a>(
    known: &'a [Known],
    instead: Option<(u64, &'a [ClockLine])>,
) -> impl Iterator<Item = (u64, &'a ClockLine)> {
    known.iter().flat_map(move |known| {
        let generation = known.info.generation;
        let other = instead.filter(|(of, _)| *of == generation);
        let lines = other.map_or(known.clock.lines.as_slice(), |(_, lines)| lines);
        lines.iter().filter(|line| !line.is_unknown()).map(move |line| (generation, line))
    })
}

impl Anchors {
    pub(super) fn of(known: &[Known], instead: Option<(u64, &[ClockLine])>) -> Self {
        let mut anchors = Self::default();
        let unsure = |(_, line): (u64, &ClockLine)| line.clock == ClockState::NotSynchronised;
        if !lines(known, instead).any(unsure) {
            return anchors;
        }
        let mut before: Option<&ClockLine> = None;
        for (generation, line) in lines(known, instead) {
            match line.clock {
                ClockState::Synchronised => {
                    let bases = anchors.vouched.entry(line.boot).or_default();
                    if bases.last().is_none_or(|(_, base)| !is_near(*base, line.base)) {
                        bases.push(((generation, line.first_page), line.base));
                    }
                }
                ClockState::NotSynchronised => {
                    let before = before.filter(|before| before.boot == line.boot);
                    if before.is_some_and(|before| apart(before.base, line.base) >= FIRST_SETTING_NANOS) {
                        anchors.stepped.insert(line.boot, ((generation, line.first_page), line.base));
                    }
                }
                ClockState::Unknown => {}
            }
            before = Some(line);
        }
        anchors
    }

    /// What must be added to the times of a setting that begins at `place`; `None` when nobody knows.
    fn offset(&self, place: Place, line: &ClockLine) -> Option<i64> {
        if line.clock != ClockState::NotSynchronised || line.is_unknown() {
            return Some(0);
        }
        if let Some(bases) = self.vouched.get(&line.boot) {
            let next = bases.iter().find(|(at, _)| *at >= place).or(bases.last());
            let base = next.map_or(line.base, |(_, base)| *base);
            return Some(if is_near(line.base, base) { 0 } else { apart(line.base, base) });
        }
        let (set, base) = *self.stepped.get(&line.boot)?;
        let offset = apart(line.base, base);
        Some(if place <= set && offset >= FIRST_SETTING_NANOS { offset } else { 0 })
    }

    /// What the times of a segment with these settings mean.
    pub(super) fn true_time(&self, generation: u64, lines: &[ClockLine]) -> TrueTime {
        let stretch = |line: &ClockLine| {
            let offset = self.offset((generation, line.first_page), line).unwrap_or(0);
            Stretch { line: *line, offset }
        };
        TrueTime::new(lines.iter().map(stretch).collect())
    }

    /// The true times of `segment`, whose clock is `clock`: no less than they are.
    pub(super) fn times(&self, segment: &SegmentInfo, clock: &Clock) -> (Timestamp, Timestamp) {
        let (first, last) = (segment.first, segment.last);
        // An import and the event ring have no clock: what they hold bears times of its own.
        if first > last || clock.lines.iter().all(|line| line.clock != ClockState::NotSynchronised) {
            return (first, last);
        }
        let times = self.true_time(segment.generation, &clock.lines);
        let (from, to) = times.span((0, u16::MAX), first, last);
        if clock.exact {
            return (from, to);
        }
        // What lies between the first setting and the last is known by neither.
        let ends = clock.lines.iter().map(|line| times.at(line.first_page, line.wall_at(line.to)));
        ends.fold((from.min(first), to.max(last)), |(from, to), end| (from.min(end), to.max(end)))
    }
}

/// `to - from`, of bases.
const fn apart(from: u64, to: u64) -> i64 {
    to.wrapping_sub(from) as i64
}

/// What a reader should know of a clock that was not set when something was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockRemark {
    /// Number of the boot.
    pub boot: u64,
    /// The times that were recorded.
    pub recorded: TimeRange,
    /// What was added to them, nanoseconds; `None`: the clock was never set in that boot, and nobody knows.
    pub offset: Option<i64>,
    /// When it truly was; without an offset as far as what was recorded before and behind tells.
    pub truly: TimeRange,
}

/// Remarks on all settings of which there is something to say, neighbours of one boot and offset as one.
pub(super) fn remarks(known: &[Known], instead: Option<(u64, &[ClockLine])>) -> Vec<ClockRemark> {
    let anchors = Anchors::of(known, instead);
    let mut remarks: Vec<ClockRemark> = Vec::new();
    let mut reached = Timestamp::MIN;
    for (generation, line) in lines(known, instead) {
        let recorded = TimeRange::new(line.wall_at(line.from), line.wall_at(line.to).plus_nanos(1));
        let offset = anchors.offset((generation, line.first_page), line);
        let shift = |at: Timestamp| Timestamp(at.0.saturating_add_signed(offset.unwrap_or(0)));
        let truly = TimeRange::new(shift(recorded.start), shift(recorded.end));
        let behind = truly.end.plus_nanos(FIRST_SETTING_NANOS as u64) < reached;
        if offset.is_none() && (truly.end < UNSET_BEFORE || behind) {
            let truly = TimeRange::new(reached, Timestamp::MAX);
            join(&mut remarks, ClockRemark { boot: line.boot, recorded, offset, truly });
            continue;
        }
        for open in remarks.iter_mut().filter(|remark| remark.truly.end == Timestamp::MAX) {
            open.truly.end = truly.start.max(open.truly.start);
        }
        if offset.is_some_and(|offset| offset != 0) {
            join(&mut remarks, ClockRemark { boot: line.boot, recorded, offset, truly });
        }
        reached = reached.max(truly.end);
    }
    remarks
}

fn join(remarks: &mut Vec<ClockRemark>, remark: ClockRemark) {
    match remarks.last_mut().filter(|last| (last.boot, last.offset) == (remark.boot, remark.offset)) {
        Some(last) => {
            last.recorded.end = last.recorded.end.max(remark.recorded.end);
            last.truly.end = last.truly.end.max(remark.truly.end);
        }
        None => remarks.push(remark),
    }
}

#[cfg(test)]
mod tests;
