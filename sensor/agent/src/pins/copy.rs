//! One pass over all pins: each copies what is new into the event ring.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use hindcap_extract::pin::{Copied, Follower, PinSink};
use hindcap_extract::{ExtractError, Options};
use hindcap_store::volume::any::AnyReader;
use hindcap_store::wear::Wear;
use hindcap_store::{Class, Reader, Reading, Recorder, StoreError};
use hindcap_wire::counted::Counted;
use hindcap_wire::drops::DropCounts;
use hindcap_wire::ledger::EventKind;
use hindcap_wire::message::answer::Span;
use hindcap_wire::message::{PinId, PinInfo, PinState};
use hindcap_wire::packet::{Interface, Packet};
use hindcap_wire::time::{NANOS_PER_SEC, Timestamp};

use super::{Pins, reading};

/// The clocks of one pass.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// What they say.
    pub reading: Reading,
    /// Whether the wall clock may end a pin.
    pub trusted: bool,
    /// Whether packets come with times of their own, which then tell what is silent.
    pub imports: bool,
}

/// How far behind the wall clock the medium may be, beside the flush interval.
const SLACK_NANOS: u64 = 10 * NANOS_PER_SEC;
/// Of a segment that has passed the age, so many MiB are emptied at once.
const CHUNKS_A_PASS: u32 = 16;
/// Packets between two looks at the clock.
const TICK_EVERY: u64 = 1024;

/// What copies: the event ring's recorder, and how far each pin is.
#[derive(Debug)]
pub struct Copier {
    recorder: Recorder,
    /// Identity of the event ring.
    ring: [u8; 16],
    followers: HashMap<PinId, Follower>,
    flush_nanos: u64,
    /// Age from which on copies are removed, seconds; 0 for none.
    max_age_secs: u64,
}

impl Copier {
    /// Through `recorder`, into the event ring `ring`, beside a general ring that is written every `flush_nanos`.
    #[must_use]
    pub fn new(recorder: Recorder, ring: [u8; 16], flush_nanos: u64, max_age_secs: u64) -> Self {
        Self { recorder, ring, followers: HashMap::new(), flush_nanos, max_age_secs }
    }

    /// Writes what there is and lets go of the event ring.
    ///
    /// # Errors
    /// The last batches are not durable.
    pub fn close(self) -> Result<(), StoreError> {
        self.recorder.close(reading())
    }

    /// Removes some of what has passed the age, by a clock that may.
    fn look_after_ages(&mut self, now: Now) {
        if self.max_age_secs == 0 {
            return;
        }
        self.recorder.judge_ages_by(now.trusted.then_some(now.reading.wall));
        for _ in 0..CHUNKS_A_PASS {
            self.recorder.tick(reading(), DropCounts::default());
        }
    }

    /// The instant before which nothing is copied: it would not be given out.
    fn not_before(&self, now: Now) -> Timestamp {
        let age = self.max_age_secs.saturating_mul(NANOS_PER_SEC);
        if age == 0 { Timestamp::MIN } else { now.reading.wall.minus_nanos(age) }
    }

    /// The event ring, and what has gone to it.
    pub(super) fn wear(&self) -> ([u8; 16], Wear) {
        (self.ring, self.recorder.health().snapshot().wear)
    }

    /// Since when, and why, copies that are too old cannot be removed.
    fn emptying_fails(&self) -> Option<(Timestamp, String)> {
        self.recorder.health().snapshot().emptying_fails
    }

    /// Packets that the event ring could not keep.
    fn lost(&self) -> u64 {
        self.recorder.drops().total()
    }

    /// Why the event ring's medium cannot be written; `None` while it can.
    fn away(&self) -> Option<String> {
        self.recorder
            .health()
            .snapshot()
            .medium
            .map(|medium| format!("{}: {}", medium.trouble, medium.detail))
    }

    /// Packets and captured bytes that are durable.
    fn durable(&self) -> (u64, u64) {
        let health = self.recorder.health().snapshot();
        (health.packets_acked, health.captured_bytes_acked)
    }
}

/// Lets every pin that is at work copy what is new.
///
/// # Errors
/// The medium is away: why. Every pin is to be begun again with what comes back, and then copies what is missing.
pub fn pass(
    pins: &Pins,
    copier: &mut Copier,
    reader: &mut Reader<AnyReader>,
    now: Now,
    stop: &AtomicBool,
) -> Result<(), String> {
    pins.date(now.reading);
    copier.look_after_ages(now);
    pins.set_emptying(copier.emptying_fails());
    let active = pins.active();
    copier.followers.retain(|id, _| active.iter().any(|pin| pin.id == *id));
    for pin in active {
        if stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        one(pins, copier, reader, (now, stop), &pin)?;
    }
    let events = reader.segments().iter().filter(|segment| segment.class == Class::Event);
    if let Some(oldest) = events.map(|segment| segment.generation).min() {
        pins.overwritten(oldest);
    }
    Ok(())
}

fn one(
    pins: &Pins,
    copier: &mut Copier,
    reader: &mut Reader<AnyReader>,
    (now, stop): (Now, &AtomicBool),
    pin: &PinInfo,
) -> Result<(), String> {
    let not_before = copier.not_before(now);
    let Now { reading: Reading { wall: now, .. }, trusted, imports } = now;
    let before = copier.durable();
    let began = !copier.followers.contains_key(&pin.id);
    let mut follower = copier.followers.remove(&pin.id).unwrap_or_else(|| Follower::new(&pin.query));
    let lost = copier.lost();
    let mut sink = Sink {
        recorder: &mut copier.recorder,
        left: pin.max_bytes.saturating_sub(pin.bytes),
        taken: 0,
        refused: None,
        not_before,
        passed_over: (0, 0),
    };
    if began {
        sink.mark(pin.id, true);
    }
    let generation = sink.recorder.health().snapshot().acked.0;
    let options = Options { cancelled: Some(stop), ..Options::default() };
    let done = follower.step(reader, &options, (!imports).then_some(now), &mut sink);
    let (refused, passed_over) = (sink.refused.take(), sink.passed_over);
    let done = done.map(|copied| Copied {
        packets: copied.packets.saturating_sub(passed_over.0),
        bytes: copied.bytes.saturating_sub(passed_over.1),
        ..copied
    });
    let recorded = now.minus_nanos(copier.flush_nanos.saturating_mul(2).saturating_add(SLACK_NANOS));
    let over = follower.is_over(Some(recorded).filter(|_| trusted || pin.query.time.end <= pin.created));
    if let Some(why) = copier.away() {
        let after = copier.durable();
        let copied = Copied { packets: after.0 - before.0, bytes: after.1 - before.1, ..Copied::default() };
        pins.update(pin.id, false, |pin| account(pin, &copied, 0, generation));
        return Err(why);
    }
    let lost = copier.lost() - lost;
    let (state, detail) = match (&done, refused) {
        (Err(error), _) => (PinState::Failed, failed(error)),
        // It is repeated from the beginning, which copies only what is missing.
        _ if lost > 0 => (
            pin.state,
            format!("the event ring cannot be written; to be copied again: {}", Counted(lost, "packet")),
        ),
        (_, Some(Refused::Full)) => (
            PinState::Full,
            format!("it may copy {} bytes and has; what came later is not in the event ring", pin.max_bytes),
        ),
        (_, Some(Refused::Interface(error))) => (PinState::Failed, error),
        (Ok(copied), None) if copied.unfinished => (pin.state, pin.detail.clone()),
        (Ok(copied), None) if over && pin.packets + copied.packets == 0 => (
            PinState::Ended,
            String::from("nothing to copy: no such session, or the event ring has it already"),
        ),
        (Ok(_), None) if over => (PinState::Ended, String::new()),
        (Ok(_), None) if trusted && pin.expires.is_some_and(|expires| now >= expires) => {
            (PinState::Expired, String::new())
        }
        (Ok(_), None) => {
            (PinState::Following, format!("{} may go on", Counted(follower.live() as u64, "session")))
        }
    };
    if !state.is_active() {
        let mut sink = Sink {
            recorder: &mut copier.recorder,
            left: 0,
            taken: 0,
            refused: None,
            not_before,
            passed_over: (0, 0),
        };
        sink.mark(pin.id, false);
        log::info!("pin {}: {}", pin.id, state.name());
    }
    let finished = done.as_ref().is_ok_and(|copied| !copied.unfinished) && lost == 0;
    if finished && state.is_active() {
        copier.followers.insert(pin.id, follower);
    }
    let copied = done.unwrap_or_default();
    pins.update(pin.id, copied.packets > 0 || copied.segments_missed > 0, |pin| {
        account(pin, &copied, lost, generation);
        (pin.state, pin.detail) = (state, detail);
    });
    Ok(())
}

fn account(pin: &mut PinInfo, copied: &Copied, lost: u64, generation: u64) {
    pin.segments_missed += copied.segments_missed;
    let kept = copied.packets.saturating_sub(lost);
    if kept == 0 {
        return;
    }
    if pin.first_generation == 0 {
        pin.first_generation = generation.max(1);
    }
    pin.packets += kept;
    pin.bytes += copied.bytes;
    pin.span = match (pin.span, copied.span) {
        (Some(one), Some(two)) => {
            Some(Span { first: one.first.min(two.first), last: one.last.max(two.last) })
        }
        (one, two) => one.or(two),
    };
}

fn failed(error: &ExtractError) -> String {
    error.to_string()
}

enum Refused {
    Full,
    Interface(String),
}

struct Sink<'a> {
    recorder: &'a mut Recorder,
    left: u64,
    taken: u64,
    refused: Option<Refused>,
    /// What is older is not copied.
    not_before: Timestamp,
    /// Packets and bytes that were not.
    passed_over: (u64, u64),
}

impl Sink<'_> {
    fn tick(&mut self) {
        self.recorder.tick(reading(), DropCounts::default());
    }

    /// Notes in the event ring that copying for a pin begins or ends.
    fn mark(&mut self, id: PinId, begins: bool) {
        self.tick();
        self.recorder.event(EventKind::Pin { pin: id.number(), begins });
        self.recorder.flush();
    }
}

impl PinSink for Sink<'_> {
    fn packet(&mut self, interface: &Interface, packet: &Packet<'_>) -> bool {
        let bytes = packet.bytes.len() as u64;
        if packet.timestamp < self.not_before {
            self.passed_over = (self.passed_over.0 + 1, self.passed_over.1 + bytes);
            return true;
        }
        if bytes > self.left {
            self.refused = Some(Refused::Full);
            return false;
        }
        if self.taken % TICK_EVERY == 0 {
            self.tick();
        }
        match self.recorder.interface(interface) {
            Ok(number) => self.recorder.push(&Packet { interface: number, ..*packet }),
            Err(error) => {
                self.refused = Some(Refused::Interface(error.to_string()));
                return false;
            }
        }
        self.left -= bytes;
        self.taken += 1;
        true
    }

    fn flush(&mut self) {
        self.tick();
        if self.taken > 0 {
            self.recorder.flush();
        }
    }
}
