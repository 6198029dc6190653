//! Holds in a recorder at work: the mailbox, holds that end, holds that take what is sealed.
//!
//! One change at a time: it counts for the ring at once, the writer makes it durable, and only then is it answered. A change
//! that cannot be written is taken back. What cannot be sent at once waits for the next tick.

use std::sync::mpsc::Sender;

use hindcap_wire::message::{Held, Released};
use hindcap_wire::time::Timestamp;

use super::Recorder;
use crate::Reading;
use crate::holds::keeper::{self, Steadiness};
use crate::holds::{Command, HoldControl, HoldError, Keep, Mailbox};
use crate::ring::Ring;
use crate::writer::Job;
use crate::writer::notes::Note;

/// How often holds are looked at for their end.
const LOOK_NANOS: u64 = 1_000_000_000;

/// What the recorder knows of holds.
#[derive(Debug)]
pub(super) struct Keeping {
    /// As the ring sees it.
    keep: Keep,
    /// Whether it is to be written, because a hold took a segment or a clock.
    changed: bool,
    /// What is being written.
    pending: Option<Pending>,
    mailbox: Mailbox,
    steadiness: Steadiness,
    looked: u64,
    segment_bytes: u32,
}

/// A change on its way to the medium.
#[derive(Debug)]
struct Pending {
    /// What was before, should it fail.
    before: Keep,
    answer: Answer,
}

#[derive(Debug)]
enum Answer {
    Held(Box<Held>, Sender<Result<Held, HoldError>>),
    Released(Released, Sender<Result<Released, HoldError>>),
    Nobody,
}

impl Keeping {
    /// Of no store yet.
    pub(super) fn new(now: Reading) -> Self {
        Self {
            keep: Keep::default(),
            changed: false,
            pending: None,
            mailbox: Mailbox::new(),
            steadiness: Steadiness::new(now),
            looked: 0,
            segment_bytes: 0,
        }
    }

    /// A store was mounted.
    pub(super) fn mounted(&mut self, keep: Keep, segment_bytes: u32) {
        (self.keep, self.segment_bytes, self.changed, self.pending) = (keep, segment_bytes, false, None);
    }

    /// Holds that follow take what the last recorder sealed and could not note.
    pub(super) fn catch_up(&mut self, ring: &mut Ring, notes: &[Note]) {
        for note in notes {
            let (generation, times) = (note.generation, note.times);
            if let Some(after) = keeper::sealed(&self.keep, ring, generation, times, self.segment_bytes) {
                (self.keep, self.changed) = (after, true);
            }
        }
        ring.set_keep(&self.keep);
    }

    /// What the last recorder was emptying: unused by now, or still of the generation that had passed its age.
    pub(super) fn emptying(&self, ring: &Ring) -> Option<u32> {
        let (number, generation) = self.keep.emptying?;
        let still = ring.number_of(generation) == Some(number) && !self.keep.is_held(generation);
        (still || ring.is_unused(number)).then_some(number)
    }

    pub(super) fn stepped(&mut self, now: Reading) {
        self.steadiness.stepped(now);
    }
}

impl Recorder {
    /// Reaches this recorder from other threads, to hold and to release.
    #[must_use]
    pub fn hold_control(&self) -> HoldControl {
        self.keeping.mailbox.control()
    }

    /// The canary: a recorder that knows of holds and overwrites them all the same.
    #[cfg(test)]
    pub(crate) fn ignore_holds(&mut self) {
        self.ring.ignore_holds = true;
    }

    pub(super) const fn kept_now(&self) -> &Keep {
        &self.keeping.keep
    }

    /// Whether the state does not say yet what is known here.
    pub(super) const fn keeping_busy(&self) -> bool {
        self.keeping.changed || self.keeping.pending.is_some()
    }

    /// The state is to say which segment is being emptied.
    pub(super) fn note_emptying(&mut self, segment: Option<(u32, u64)>) {
        self.keeping.keep.emptying = segment;
        self.keeping.changed = true;
    }

    /// One step: what waits to be written, a hold whose time is over, or the next command.
    pub(super) fn look_after_holds(&mut self) {
        let now = self.clock.now;
        let trusted = self.keeping.steadiness.trusts(now);
        if self.keeping.pending.is_some() {
            return;
        }
        if now.monotonic_nanos.saturating_sub(self.keeping.looked) >= LOOK_NANOS {
            self.keeping.looked = now.monotonic_nanos;
            if let Some(after) = keeper::pass(&self.keeping.keep, now, trusted) {
                self.keeping.keep = after;
                self.keeping.changed = true;
            }
        }
        if std::mem::take(&mut self.keeping.changed) {
            let keep = self.keeping.keep.clone();
            self.write_keep(keep, Answer::Nobody);
        } else if let Ok(command) = self.keeping.mailbox.inbox.try_recv() {
            self.obey(command);
        }
    }

    /// While the medium is away nothing can be held or released.
    pub(super) fn refuse_holds(&mut self) {
        let away = || HoldError::Storage(String::from("the medium is not there"));
        while let Ok(command) = self.keeping.mailbox.inbox.try_recv() {
            match command {
                Command::Hold(_, reply) => drop(reply.send(Err(away()))),
                Command::Release(_, reply) => drop(reply.send(Err(away()))),
            }
        }
    }

    fn obey(&mut self, command: Command) {
        let Keeping { keep, segment_bytes, .. } = &self.keeping;
        match command {
            Command::Hold(order, reply) => {
                match keeper::hold(keep, &self.ring, &order, self.clock.now, *segment_bytes) {
                    // Made before, by the same order: that is durable.
                    Ok((after, held)) if after == *keep => drop(reply.send(Ok(held))),
                    Ok((after, held)) => self.write_keep(after, Answer::Held(Box::new(held), reply)),
                    Err(error) => drop(reply.send(Err(error))),
                }
            }
            Command::Release(id, reply) => match keeper::release(keep, &self.ring, id, *segment_bytes) {
                Ok((after, released)) => self.write_keep(after, Answer::Released(released, reply)),
                Err(error) => drop(reply.send(Err(error))),
            },
        }
    }

    /// Has the writer make `after` durable. Until that has happened the ring keeps what either of both names.
    fn write_keep(&mut self, mut after: Keep, answer: Answer) {
        after.generation = self.ring.highest();
        let before = std::mem::replace(&mut self.keeping.keep, after.clone());
        let mut both = after.clone();
        both.holds.extend(before.holds.iter().cloned());
        self.ring.set_keep(&both);
        self.keeping.pending = Some(Pending { before, answer });
        if !self.link.send(Job::Keep(Box::new(after))) {
            self.kept(Err(String::from("the writer is gone")));
        }
        self.collect();
    }

    /// The writer is done with a change.
    pub(super) fn kept(&mut self, written: Result<(), String>) {
        let Some(Pending { before, answer }) = self.keeping.pending.take() else { return };
        if let Err(message) = &written {
            log::warn!("holds could not be written: {message}");
            match answer {
                Answer::Nobody => self.keeping.changed = true, // tried again
                _ => self.keeping.keep = before,
            }
        }
        self.ring.set_keep(&self.keeping.keep);
        let result = written.map_err(HoldError::Storage);
        match answer {
            Answer::Held(held, reply) => drop(reply.send(result.map(|()| *held))),
            Answer::Released(released, reply) => drop(reply.send(result.map(|()| released))),
            Answer::Nobody => {}
        }
    }

    /// A segment is sealed: holds that follow its time take it.
    pub(super) fn hold_sealed(&mut self, generation: u64, times: (Timestamp, Timestamp)) {
        let segment_bytes = self.keeping.segment_bytes;
        if let Some(after) = keeper::sealed(&self.keeping.keep, &self.ring, generation, times, segment_bytes)
        {
            self.keeping.keep = after;
            self.keeping.changed = true;
            // While a change is being written the ring keeps what was before as well; then it looks here again.
            if self.keeping.pending.is_none() {
                self.ring.set_keep(&self.keeping.keep);
            }
        }
    }
}
