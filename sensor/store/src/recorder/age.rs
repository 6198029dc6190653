//! Emptying segments that have passed the maximum age, while recording goes on.
//!
//! One segment at a time, a chunk per tick. The state says first which segment it is, and with it the highest generation, so
//! that none is used twice; then its summary goes, then its header, then the rest, each durable before the next. A crash
//! in between leaves a segment that reads whole by its batches, or one that counts as unused; the next recorder goes on.
//!
//! By the wall clock, and only while that is synchronised, has been so for ten minutes and not stepped for half an hour. The
//! recorder of an event ring has no clock of its own, because what it records covers no time: whoever feeds it tells it a
//! time that has proved itself ([`Recorder::judge_ages_by`]). Copies come in any order, so an open segment is sealed when its
//! oldest packet has passed the age, not when it spans a part of it.

use hindcap_wire::limits::CHUNK_BYTES;
use hindcap_wire::time::Timestamp;

use super::Recorder;
use crate::Reading;
use crate::age::{Ages, has_passed, spans_enough};
use crate::holds::keeper::Steadiness;
use crate::writer::Job;
use crate::writer::notes::Note;

/// How often segments are looked at for their age.
const LOOK_NANOS: u64 = 60_000_000_000;
const STEADY_NANOS: u64 = 600_000_000_000;
const STEPPED_NANOS: u64 = 1_800_000_000_000;

/// See the module.
#[derive(Debug)]
pub(super) struct Aging {
    ages: Ages,
    steadiness: Steadiness,
    looked: Option<u64>,
    emptying: Option<Emptying>,
    chunks: u32,
    judge: Judge,
    /// Segments that could not be emptied and have not been recorded over since, and why; each once.
    failed: Vec<(u32, String)>,
}

/// By which clock ages are judged.
#[derive(Clone, Copy, Debug)]
enum Judge {
    /// The recorder's own.
    Own,
    /// A time that somebody vouches for, if anybody does.
    Told(Option<Timestamp>),
}

#[derive(Clone, Copy, Debug)]
struct Emptying {
    number: u32,
    chunk: u32,
    /// The writer has it.
    sent: bool,
}

impl Aging {
    pub(super) fn new(now: Reading) -> Self {
        Self {
            ages: Ages::default(),
            steadiness: Steadiness::with(now, STEADY_NANOS, STEPPED_NANOS),
            looked: None,
            emptying: None,
            chunks: 0,
            judge: Judge::Own,
            failed: Vec::new(),
        }
    }

    /// A store was mounted: what its segments hold.
    pub(super) fn mounted(&mut self, notes: &[Note], segment_bytes: u32) {
        (self.ages, self.emptying, self.looked) = (Ages::default(), None, None);
        // They are found again by what they hold.
        self.failed.clear();
        self.chunks = segment_bytes / CHUNK_BYTES;
        notes.iter().for_each(|note| self.ages.note(note.generation, note.times));
    }

    pub(super) fn note(&mut self, generation: u64, times: (Timestamp, Timestamp)) {
        self.ages.note(generation, times);
    }

    pub(super) fn stepped(&mut self, now: Reading) {
        self.steadiness.stepped(now);
    }

    /// Goes on with what the last recorder was emptying.
    pub(super) fn resume(&mut self, number: u32) {
        self.emptying = Some(Emptying { number, chunk: 0, sent: false });
    }
}

impl Recorder {
    /// Judges ages by `wall` from here on, instead of the recorder's own clock; `None` while nobody vouches for a time.
    pub fn judge_ages_by(&mut self, wall: Option<Timestamp>) {
        self.aging.judge = Judge::Told(wall);
    }

    /// One step.
    pub(super) fn look_after_ages(&mut self) {
        let now = self.clock.now;
        let own = self.aging.steadiness.trusts(now);
        let (wall, trusted) = match self.aging.judge {
            Judge::Own => (now.wall, own),
            Judge::Told(wall) => (wall.unwrap_or(now.wall), wall.is_some()),
        };
        if let Some(emptying) = self.aging.emptying {
            self.empty_on(emptying);
            return;
        }
        let due = self.aging.looked.is_none_or(|at| now.monotonic_nanos.saturating_sub(at) >= LOOK_NANOS);
        if self.kept_now().policy.max_age_secs == 0 || !trusted || !due || self.keeping_busy() {
            return;
        }
        self.aging.looked = Some(now.monotonic_nanos);
        let first = self.open.and_then(|open| open.first());
        let enough = match self.aging.judge {
            Judge::Own => spans_enough,
            Judge::Told(_) => has_passed,
        };
        if first.is_some_and(|first| enough(self.kept_now(), first, wall)) {
            self.rotate();
        }
        self.aging.ages.keep_only(&self.ring.generations_used());
        let Some(generation) = self.aging.ages.expired(self.kept_now(), wall) else { return };
        let Some(number) = self.ring.number_of(generation) else { return };
        log::info!("segment {number} has passed the maximum age and is emptied");
        self.ring.set_aside(number);
        self.aging.emptying = Some(Emptying { number, chunk: 0, sent: false });
        self.note_emptying(Some((number, generation)));
        // The next one follows at once.
        self.aging.looked = None;
    }

    /// Hands the next chunk to the writer, once the state says which segment it is.
    fn empty_on(&mut self, mut emptying: Emptying) {
        if emptying.sent || self.keeping_busy() {
            return;
        }
        emptying.sent = true;
        self.aging.emptying = Some(emptying);
        let Emptying { number, chunk, .. } = emptying;
        if !self.link.send(Job::Empty { segment: number, chunk }) {
            self.emptied(Err(String::from("the writer is gone")));
        }
        self.collect();
    }

    /// The writer is done with a chunk.
    pub(super) fn emptied(&mut self, result: Result<(), String>) {
        let Some(mut emptying) = self.aging.emptying.take() else { return };
        match result {
            Ok(()) => emptying.chunk += 1,
            Err(error) => {
                // What cannot be emptied may be recorded over; the next look finds others.
                let number = emptying.number;
                let why =
                    format!("segment {number} has passed the maximum age and cannot be emptied: {error}");
                log::error!("{why}");
                self.aging.failed.retain(|(other, _)| *other != number);
                self.aging.failed.push((number, why));
                emptying.chunk = self.aging.chunks;
            }
        }
        emptying.sent = false;
        if emptying.chunk < self.aging.chunks {
            self.aging.emptying = Some(emptying);
            return;
        }
        self.tell_failed();
        self.ring.forget(emptying.number);
        self.note_emptying(None);
    }

    /// The segment begins anew: nothing old in it can be read any more.
    pub(super) fn recorded_over(&mut self, number: u32) {
        let before = self.aging.failed.len();
        self.aging.failed.retain(|(other, _)| *other != number);
        if self.aging.failed.len() != before {
            self.tell_failed();
        }
    }

    /// What could not be emptied stands until it is recorded over, whatever else can be emptied.
    pub(super) fn tell_failed(&mut self) {
        let failed = self.aging.failed.first().map(|(_, why)| match self.aging.failed.len() {
            1 => why.clone(),
            all => format!("{why}; {} more as well", all - 1),
        });
        self.health.emptied(self.clock.now.wall, failed);
    }
}
