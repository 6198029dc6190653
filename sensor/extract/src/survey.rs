//! What was recorded in a window, and what is missing: coverage, gaps, drops, clock states, and why there is nothing.
//!
//! Segments come in the order of their generation. Live batches say when they were committed, so that the silence
//! between two packets counts as recorded; batches of an import only cover the times of their packets.

mod steps;
mod why;

use hindcap_store::reader::{ClockRemark, SegmentInfo, SegmentState};
use hindcap_wire::drops::{DropCause, DropCounts};
use hindcap_wire::index::{BatchEntry, IndexDoc};
use hindcap_wire::ledger::{Event, EventKind, SAME_SETTING_NANOS};
use hindcap_wire::message::answer::{Answer, ClockSpan, Gap, GapCause, LIST_MAX, PolicySpan, Thinned};
use hindcap_wire::policy::{LeftOut, Policy};
use hindcap_wire::time::{ClockState, TimeRange, Timestamp};

use crate::clock;
use crate::limits::IMPORT_SILENCE_NANOS;
use steps::Steps;

/// A stretch of recorded time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stretch {
    range: TimeRange,
    live: bool,
}

/// What the segments tell about a window.
#[derive(Clone, Debug, Default)]
pub(crate) struct Survey {
    window: TimeRange,
    stretches: Vec<Stretch>,
    gaps: Vec<Gap>,
    drops: DropCounts,
    thinned: Thinned,
    clock: Vec<ClockSpan>,
    /// Commit before the next live batch, when nothing came in between.
    committed: Option<Timestamp>,
    link_down: Option<Timestamp>,
    /// Oldest and newest instant that the store knows anything of.
    oldest: Option<Timestamp>,
    newest: Option<Timestamp>,
    /// When the recorder stopped, if nothing was recorded since.
    stopped: Option<Timestamp>,
    pruned: bool,
    /// What is older is not given out.
    horizon: Option<Timestamp>,
    /// Clocks that were not set when something was recorded.
    clocks: Vec<ClockRemark>,
    /// Stretches between segments that are kept, from which what was recorded has been pruned.
    pruned_between: Vec<TimeRange>,
}

/// A range that covers `first` and `last`.
const fn through(first: Timestamp, last: Timestamp) -> TimeRange {
    TimeRange::new(first, last.plus_nanos(1))
}

fn overlap(one: TimeRange, other: TimeRange) -> Option<TimeRange> {
    let both = TimeRange::new(one.start.max(other.start), one.end.min(other.end));
    (!both.is_empty()).then_some(both)
}

/// A held segment outlives its neighbours: where generations are missing between two segments, what was recorded between
/// them has been pruned.
fn pruned_between(segments: &[SegmentInfo]) -> Vec<TimeRange> {
    let with_packets: Vec<&SegmentInfo> = segments.iter().filter(|segment| segment.packets > 0).collect();
    with_packets
        .windows(2)
        .filter(|pair| pair[1].generation > pair[0].generation + 1 && pair[1].first > pair[0].last)
        .map(|pair| TimeRange::new(pair[0].last.plus_nanos(1), pair[1].first))
        .collect()
}

impl Survey {
    /// Of `window`, in a store with these `segments`.
    pub fn new(window: TimeRange, segments: &[SegmentInfo], horizon: Option<Timestamp>) -> Self {
        let with_packets = || segments.iter().filter(|segment| segment.packets > 0);
        Self {
            window,
            oldest: with_packets().map(|segment| segment.first).min(),
            newest: with_packets().map(|segment| segment.last).max(),
            pruned: segments.first().is_some_and(|segment| segment.generation > 1),
            pruned_between: pruned_between(segments),
            horizon,
            ..Self::default()
        }
    }

    /// Takes a segment of which the catalog says that nothing happened in it but packets. What it lost or left out
    /// counts whole: it lies in the window, or there is nothing to count.
    pub fn add_eventless(&mut self, segment: &SegmentInfo) {
        if segment.packets == 0 {
            return;
        }
        self.missing(&segment.drops, &segment.left_out);
        let live = segment.clock != ClockState::Unknown;
        let range = through(segment.first, segment.last);
        if live {
            let start = self.committed.map_or(range.start, |committed| committed.min(range.start));
            self.stretches.push(Stretch { range: TimeRange::new(start, range.end), live });
        } else {
            self.imported(range);
        }
        self.clock_state(range, segment.clock);
        self.policy(range, segment.step.map(|step| (step.since, step.policy)));
        self.committed = live.then_some(segment.last);
        self.stopped = None;
    }

    /// Takes what there is to say of clocks that were not set.
    pub fn set_clocks(&mut self, remarks: Vec<ClockRemark>) {
        self.clocks = remarks;
    }

    /// Takes a segment that is not in the window's neighbourhood: continuity is lost.
    pub fn skip(&mut self) {
        self.committed = None;
    }

    /// Takes a segment by its index.
    pub fn add(&mut self, segment: &SegmentInfo, doc: &IndexDoc) {
        let events = true_events(doc);
        let steps = Steps::of(&events);
        let starts: Vec<Timestamp> = events
            .iter()
            .filter(|event| matches!(event.kind, EventKind::RecorderStart { .. }))
            .map(|event| event.at)
            .collect();
        if !doc.batches().is_empty() {
            self.stopped = None;
        }
        for batch in doc.batches() {
            self.batch(batch, &starts, &steps);
        }
        for event in &events {
            self.event(event);
        }
        if segment.state == SegmentState::Damaged {
            self.gap(through(segment.first, segment.last), GapCause::Damage, 0);
        }
    }

    fn batch(&mut self, batch: &BatchEntry, starts: &[Timestamp], steps: &Steps) {
        let state = ClockState::from_code(batch.clock.into()).unwrap_or_default();
        if state == ClockState::Unknown {
            self.imported_batch(batch, steps);
            return;
        }
        let restarted = starts.iter().rev().find(|start| {
            **start <= batch.committed && self.committed.is_none_or(|committed| committed <= **start)
        });
        let first = batch.first.min(batch.committed);
        let start = restarted.copied().or(self.committed).map_or(first, |start| start.min(first));
        let range = through(start.min(batch.committed), batch.committed);
        self.stretches.push(Stretch { range, live: true });
        self.clock_state(range, state);
        self.newest = self.newest.max(Some(batch.committed));
        if overlap(range, self.window).is_some() {
            self.missing(&batch.drops, &batch.left_out);
        }
        self.policy(range, steps.in_force(batch.committed));
        self.committed = Some(batch.committed);
    }

    fn imported_batch(&mut self, batch: &BatchEntry, steps: &Steps) {
        self.committed = None;
        if batch.packets == 0 {
            return;
        }
        let range = through(batch.first, batch.last);
        self.imported(range);
        self.clock_state(range, ClockState::Unknown);
        if self.window.touches(batch.first, batch.last) {
            self.missing(&batch.drops, &batch.left_out);
        }
        self.policy(range, steps.in_force(batch.committed));
    }

    /// Counts what is missing in the window.
    fn missing(&mut self, drops: &DropCounts, left_out: &LeftOut) {
        self.drops = self.drops.plus(drops);
        self.thinned.left_out = self.thinned.left_out.plus(left_out);
    }

    /// Notes the policy that a batch was recorded under.
    fn policy(&mut self, range: TimeRange, in_force: Option<(Timestamp, Policy)>) {
        let Some((since, policy)) = in_force.filter(|(_, policy)| !policy.is_everything()) else { return };
        let Some(range) = overlap(range, self.window) else { return };
        match self.thinned.policies.last_mut() {
            // The same step: times that were corrected are as exact as two readings of a clock are.
            Some(last) if last.policy == policy && last.since.0.abs_diff(since.0) <= SAME_SETTING_NANOS => {
                last.range.start = last.range.start.min(range.start);
                last.range.end = last.range.end.max(range.end);
            }
            _ => self.thinned.policies.push(PolicySpan { range, since, policy }),
        }
    }

    /// Takes times that savefiles cover; what follows closely goes on with the stretch before.
    fn imported(&mut self, range: TimeRange) {
        match self.stretches.last_mut().filter(|before| !before.live) {
            Some(before)
                if before.range.start <= range.start
                    && range.start <= before.range.end.plus_nanos(IMPORT_SILENCE_NANOS) =>
            {
                before.range.end = before.range.end.max(range.end);
            }
            _ => self.stretches.push(Stretch { range, live: false }),
        }
    }

    fn event(&mut self, event: &Event) {
        match event.kind {
            EventKind::RecorderStop => self.stopped = Some(event.at),
            EventKind::RecorderStart { .. } => self.stopped = None,
            EventKind::LinkDown { .. } => self.link_down = self.link_down.or(Some(event.at)),
            EventKind::LinkUp { .. } => {
                if let Some(since) = self.link_down.take() {
                    self.gap(TimeRange::new(since, event.at), GapCause::LinkDown, 0);
                }
            }
            EventKind::Gap { start, end, cause, .. } => {
                let cause =
                    if cause == DropCause::LinkDown { GapCause::LinkDown } else { GapCause::NotStored };
                self.gap(TimeRange::new(start, end), cause, 0);
            }
            EventKind::ClockStep { .. }
            | EventKind::Policy { .. }
            | EventKind::Pin { .. }
            | EventKind::Other { .. } => {}
        }
    }

    /// Notes something missing, as far as it lies in the window.
    pub fn gap(&mut self, range: TimeRange, cause: GapCause, bytes: u64) {
        if let Some(range) = overlap(range, self.window) {
            self.gaps.push(Gap { range, cause, bytes });
        }
    }

    fn clock_state(&mut self, range: TimeRange, state: ClockState) {
        let Some(range) = overlap(range, self.window) else { return };
        match self.clock.last_mut() {
            Some(last) if last.state == state => {
                last.range.start = last.range.start.min(range.start);
                last.range.end = last.range.end.max(range.end);
            }
            _ => self.clock.push(ClockSpan { range, state }),
        }
    }

    /// Recorded stretches, joined, unclipped.
    fn joined(&self) -> Vec<Stretch> {
        let mut stretches = self.stretches.clone();
        stretches.sort_by_key(|stretch| stretch.range.start);
        let mut joined: Vec<Stretch> = Vec::new();
        for stretch in stretches {
            match joined.last_mut() {
                Some(last) if stretch.range.start <= last.range.end => {
                    last.range.end = last.range.end.max(stretch.range.end);
                    last.live |= stretch.live;
                }
                _ => joined.push(stretch),
            }
        }
        joined
    }

    /// Fills in what the segments tell: coverage, gaps, drops, clock.
    pub fn tell(&self, answer: &mut Answer) {
        let joined = self.joined();
        let mut gaps = self.gaps.clone();
        if let Some(since) = self.link_down {
            // It is still down, as far as the store knows.
            let known = self.newest.map_or(since, |newest| newest.max(since)).plus_nanos(1);
            let range = overlap(TimeRange::new(since, known), self.window);
            gaps.extend(range.map(|range| Gap { range, cause: GapCause::LinkDown, bytes: 0 }));
        }
        for pair in joined.windows(2) {
            let between = TimeRange::new(pair[0].range.end, pair[1].range.start);
            if let Some(range) = overlap(between, self.window).filter(|_| pair[0].live && pair[1].live) {
                gaps.push(Gap { range, cause: GapCause::RecorderDown, bytes: 0 });
            }
        }
        gaps.sort_by_key(|gap| (gap.range.start, gap.range.end));
        let coverage = joined.iter().filter_map(|stretch| overlap(stretch.range, self.window)).collect();
        answer.window = self.window;
        answer.coverage = shortened(coverage, "recorded intervals", &mut answer.notes);
        answer.gaps = shortened(gaps, "gaps", &mut answer.notes);
        answer.clock = shortened(self.clock.clone(), "clock states", &mut answer.notes);
        answer.drops = self.drops;
        let policies = shortened(self.thinned.policies.clone(), "policies", &mut answer.notes);
        answer.thinned = Thinned { policies, left_out: self.thinned.left_out };
        self.notes(&mut answer.notes);
    }

    fn notes(&self, notes: &mut Vec<String>) {
        if let Some(oldest) = self.oldest.filter(|oldest| self.pruned && self.begins_before(*oldest)) {
            notes.push(format!("packets before {oldest} have been pruned"));
        }
        if let Some(horizon) = self.horizon.filter(|horizon| self.window.start < *horizon) {
            notes.push(format!(
                "packets older than {horizon} are not given out any more, by policy, unless they are held"
            ));
        }
        clock::notes(&self.clocks, self.window, notes);
        for pruned in self.pruned_between.iter().filter_map(|pruned| overlap(*pruned, self.window)).take(4) {
            notes.push(format!("packets from {} to {} have been pruned", pruned.start, pruned.end));
        }
        if let Some(newest) = self.newest.filter(|newest| self.ends_after(*newest)) {
            notes.push(format!("packets after {newest} are not flushed yet"));
        }
    }

    /// Whether the window was given a start, and it lies before `at`.
    fn begins_before(&self, at: Timestamp) -> bool {
        self.window.start != Timestamp::MIN && self.window.start < at
    }

    /// Whether the window was given an end, and it lies after `at` though the recorder runs.
    fn ends_after(&self, at: Timestamp) -> bool {
        self.window.end != Timestamp::MAX
            && self.window.end > at.plus_nanos(1)
            && self.stopped.is_none()
            && self.is_live()
    }

    fn is_live(&self) -> bool {
        self.stretches.last().is_some_and(|stretch| stretch.live)
    }
}

/// The events of a segment, with true times.
fn true_events(doc: &IndexDoc) -> Vec<Event> {
    let mut times = doc.true_time().events();
    let truly = |mut event: Event| {
        let offset = times.offset(&event);
        let shift = |at: Timestamp| Timestamp(at.0.saturating_add_signed(offset));
        event.at = shift(event.at);
        if let EventKind::Gap { start, end, .. } = &mut event.kind {
            (*start, *end) = (shift(*start), shift(*end));
        }
        event
    };
    doc.events().filter_map(Event::decode).map(truly).collect()
}

/// The list cut to [`LIST_MAX`], with a note about the rest.
fn shortened<T>(mut list: Vec<T>, what: &str, notes: &mut Vec<String>) -> Vec<T> {
    if list.len() > LIST_MAX {
        notes.push(format!("{} more {what} are not listed", list.len() - LIST_MAX));
        list.truncate(LIST_MAX);
    }
    list
}

#[cfg(test)]
mod tests {
    use hindcap_store::Class;

    use super::*;

    fn imported(number: u32, first: u64, last: u64) -> SegmentInfo {
        SegmentInfo {
            class: Class::General,
            number,
            generation: u64::from(number) + 1,
            state: SegmentState::Sealed,
            first: Timestamp(first),
            last: Timestamp(last),
            packets: 1,
            bytes: 60,
            data_bytes: 0,
            drops: DropCounts::default(),
            left_out: LeftOut::NONE,
            step: None,
            eventful: false,
            has_flows: true,
            created: Timestamp(0),
            clock: ClockState::Unknown,
        }
    }

    #[test]
    fn segments_of_one_import_are_one_recorded_interval() {
        let far = 10 + 2 * IMPORT_SILENCE_NANOS;
        let segments = [imported(0, 0, 10), imported(1, 12, 20), imported(2, far, far + 9)];
        let mut survey = Survey::new(TimeRange::ALL, &segments, None);
        for segment in &segments {
            survey.add_eventless(segment);
        }
        let mut answer = Answer::default();
        survey.tell(&mut answer);
        let expected = [
            TimeRange::new(Timestamp(0), Timestamp(21)),
            TimeRange::new(Timestamp(far), Timestamp(far + 10)),
        ];
        assert_eq!(answer.coverage, expected);
    }
}
