//! The thread that copies.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use hindcap_extract::priority;
use hindcap_store::events::EventsDoor;
use hindcap_store::events::pins::PINS_BYTES;
use hindcap_store::holds::KeepPolicy;
use hindcap_store::volume::any::{AnyReader, AnyVolume};
use hindcap_store::wear::Beside;
use hindcap_store::{
    BackEnd, Health, Reader, ReaderOptions, RecorderOptions, Store, StoreError, layout, open_events_reader,
};

use hindcap_wire::time::NANOS_PER_SEC;

use super::command::no_event_ring;
use super::times::Times;
use super::{Copier, Now, Pins, pass, reading};
use crate::clock::Clock;
use crate::exit::Failure;
use crate::query::open_to_follow;

/// How often an idle worker looks whether the event ring is still there; a new pin wakes it.
const IDLE: Duration = Duration::from_secs(5);
/// How often copies are looked at for their age.
const AGES_EVERY_NANOS: u64 = 600 * NANOS_PER_SEC;
/// An event ring that is away is looked for at once, after this, after twice as long, and so on.
const BACK_OFF_MIN: Duration = Duration::from_secs(1);
/// At most so long: it is to be in use within 30 s of its medium's return, as the general ring.
const BACK_OFF_MAX: Duration = Duration::from_secs(16);
/// Shortest time between two passes.
const PASS_MIN: Duration = Duration::from_secs(1);

/// What the worker works with.
#[derive(Debug)]
pub struct Work {
    /// The store, whose general ring is read.
    pub store: PathBuf,
    /// The way to its event ring.
    pub door: EventsDoor,
    /// How often the general ring is written.
    pub flush_interval: Duration,
    /// Whether segments of the event ring are hashed and chained.
    pub hash_chain: bool,
    /// Of whoever records into the general ring, and counts what the medium is written.
    pub health: Option<Arc<Health>>,
    /// Age from which on copies are removed, seconds, 0 for none; `None`: as the event ring has it.
    pub max_age_secs: Option<u64>,
}

impl Work {
    /// Looks for the event ring and tells `pins`; gives it when it is there, held for writing.
    pub(super) fn arrive(&self, pins: &Pins) -> Option<Store<AnyVolume>> {
        let knew = pins.has_no_ring();
        let found = self.open(pins).unwrap_or_else(|error| {
            pins.leave(error.to_string());
            None
        });
        if pins.has_no_ring() && !knew {
            log::info!("{}", no_event_ring(&self.store));
        }
        found
    }

    /// As [`Work::arrive`].
    ///
    /// # Errors
    /// The event ring cannot be opened.
    pub(super) fn open(&self, pins: &Pins) -> Result<Option<Store<AnyVolume>>, StoreError> {
        let events = self.door.open()?;
        let list = self.door.open_pins()?;
        let (Some(events), Some((file, bytes))) = (events, list) else {
            pins.arrive_without();
            return Ok(None);
        };
        let shape = events.geometry();
        let capacity = layout::store_bytes(shape.segment_bytes, shape.segments) + PINS_BYTES;
        pins.arrive((file, &bytes), events.state().uuid, capacity);
        Ok(Some(events))
    }

    /// Recovers the event ring, for writing.
    pub(super) fn copier(&self, events: Store<AnyVolume>) -> Result<Copier, Failure> {
        let policy = |max_age_secs| KeepPolicy { max_age_secs, ..events.state().keep.policy };
        let options = RecorderOptions {
            back_end: BackEnd::Inline,
            hash_chain: self.hash_chain,
            keep: self.max_age_secs.map(policy),
            ..RecorderOptions::inline()
        };
        let ring = events.state().uuid;
        let max_age_secs = self.max_age_secs.unwrap_or(events.state().keep.policy.max_age_secs);
        let recorder = events.recorder(options, reading())?;
        let flush_nanos = u64::try_from(self.flush_interval.as_nanos()).unwrap_or(u64::MAX);
        Ok(Copier::new(recorder, ring, flush_nanos, max_age_secs))
    }
}

/// A running worker.
#[derive(Debug)]
pub struct Worker {
    thread: JoinHandle<()>,
    stop: Arc<AtomicBool>,
    /// The list it works off.
    pub pins: Arc<Pins>,
}

impl Worker {
    /// Starts the thread, with the event ring if it is there. It takes memory and writes only while there are pins.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub fn start(
        pins: Arc<Pins>,
        work: Work,
        events: Option<Store<AnyVolume>>,
        clock: Clock,
    ) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, flag) = (Arc::clone(&pins), Arc::clone(&stop));
        let running = Running { work, events, copier: None, reader: None, failures: 0, aged: None };
        let run = move || running.run(&shared, clock, &flag);
        let thread = std::thread::Builder::new().name("pins".to_owned()).spawn(run)?;
        Ok(Self { thread, stop, pins })
    }

    /// Ends the thread; what was copied is durable.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.pins.wake();
        if self.thread.join().is_err() {
            log::error!("the worker of the pins ended unexpectedly");
        }
    }
}

struct Running {
    work: Work,
    /// The event ring, until there is something to copy.
    events: Option<Store<AnyVolume>>,
    copier: Option<Copier>,
    reader: Option<Reader<AnyReader>>,
    /// Looks for an event ring in a row that found none.
    failures: u32,
    /// When it was looked for copies that have passed their age, monotonic, and whether there were any.
    aged: Option<(u64, bool)>,
}

/// How long to wait before the next look; counts it.
fn back_off(failures: &mut u32) -> Duration {
    let wait = BACK_OFF_MIN.saturating_mul(2_u32.saturating_pow(*failures)).min(BACK_OFF_MAX);
    *failures = failures.saturating_add(1);
    wait
}

impl Running {
    fn run(mut self, pins: &Pins, clock: Clock, stop: &AtomicBool) {
        if let Err(error) = priority::idle() {
            log::debug!("no idle priority for pins: {error}");
        }
        let interval = self.work.flush_interval.max(PASS_MIN);
        let mut times = Times::new(clock);
        while !stop.load(Ordering::Relaxed) {
            if !pins.is_there() {
                self.let_go(pins);
                self.events = self.work.arrive(pins);
                self.tell_wear(pins);
                if pins.trouble().is_some() {
                    pins.wait(back_off(&mut self.failures));
                    continue;
                }
            }
            let now = times.now();
            let idle = pins.active().is_empty() && !self.has_aged(now);
            if self.events.is_none() && self.copier.is_none() || idle {
                (self.reader, self.failures) = (None, 0);
                pins.shelf.clear();
                pins.wait(IDLE);
                continue;
            }
            match self.pass(pins, now, stop) {
                Ok(()) => {
                    self.tell_wear(pins);
                    self.failures = 0;
                    pins.wait(interval);
                }
                Err(why) => {
                    pins.leave(why);
                    self.let_go(pins);
                    pins.wait(back_off(&mut self.failures));
                }
            }
        }
        if let Some(Err(error)) = self.copier.map(Copier::close) {
            log::error!("event ring: {error}");
        }
    }

    /// Nothing of a medium that was away is trusted: what it has when it comes back is looked at anew, and what is missing
    /// is copied again.
    fn let_go(&mut self, pins: &Pins) {
        (self.events, self.copier, self.reader) = (None, None, None);
        pins.shelf.clear();
        if let Some(health) = &self.work.health {
            health.set_beside(None);
        }
    }

    /// The general ring counts the wear of the medium, also by what is written here.
    fn tell_wear(&self, pins: &Pins) {
        let Some(health) = &self.work.health else { return };
        health.wrote_beside(pins.take_written());
        let held = self.events.as_ref().map(|events| (events.state().uuid, events.state().wear));
        if let Some((ring, wear)) = held.or_else(|| self.copier.as_ref().map(Copier::wear)) {
            health.set_beside(Some(Beside::of(ring, &wear.odometer)));
        }
    }

    /// Whether the event ring has to be opened for the age of its copies alone: to tell it the age, or to remove some.
    fn has_aged(&mut self, now: Now) -> bool {
        let Some(max_age_secs) = self.work.max_age_secs else { return false };
        if let Some(events) = &self.events {
            if events.state().keep.policy.max_age_secs != max_age_secs {
                return true;
            }
        }
        if max_age_secs == 0 || !now.trusted {
            return false;
        }
        let monotonic = now.reading.monotonic_nanos;
        if let Some((_, found)) = self.aged.filter(|(at, _)| monotonic.saturating_sub(*at) < AGES_EVERY_NANOS)
        {
            return found;
        }
        let horizon = now.reading.wall.minus_nanos(max_age_secs.saturating_mul(NANOS_PER_SEC));
        let found = open_events_reader(&self.work.store)
            .ok()
            .flatten()
            .and_then(|(volume, _)| Reader::open(volume, ReaderOptions::default()).ok())
            .is_some_and(|reader| reader.segments().iter().any(|segment| segment.first < horizon));
        self.aged = Some((monotonic, found));
        found
    }

    fn pass(&mut self, pins: &Pins, now: Now, stop: &AtomicBool) -> Result<(), String> {
        if let Some(events) = self.events.take() {
            self.copier = Some(self.work.copier(events).map_err(|failure| failure.to_string())?);
        }
        if self.reader.is_none() {
            match open_to_follow(&self.work.store) {
                Ok(opened) => self.reader = Some(opened.with_shelf(pins.shelf.clone())),
                Err(failure) => log::warn!("pins wait: {failure}"),
            }
        }
        match (&mut self.copier, &mut self.reader) {
            (Some(copier), Some(reader)) => {
                let done = pass(pins, copier, reader, now, stop);
                reader.rest();
                done
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use hindcap_store::{Recorder, StoreOptions, StoreSize};
    use hindcap_wire::message::{Pin, PinId};
    use hindcap_wire::packet::{Interface, LinkType, Packet};

    use super::super::tests::{an_hour, with_copies};
    use super::*;

    fn running(work: Work, events: Store<AnyVolume>) -> Running {
        Running { work, events: Some(events), copier: None, reader: None, failures: 0, aged: None }
    }

    fn now(trusted: bool) -> Now {
        Now { reading: reading(), trusted, imports: false }
    }

    #[test]
    fn copies_are_looked_at_for_their_age_although_nothing_is_pinned() {
        for (age_secs, found) in [(7_200, true), (10, false)] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("store");
            let work = an_hour(&path, with_copies(&path, 1, age_secs));
            let pins = Pins::new(&path);
            let events = work.open(&pins).unwrap().unwrap();
            let mut running = running(work, events);
            assert!(running.has_aged(now(false)), "the event ring has not been told the age");
            running.pass(&pins, now(false), &AtomicBool::new(false)).unwrap();
            assert!(!running.has_aged(now(false)), "by a clock that nobody vouches for");
            assert_eq!(running.has_aged(now(true)), found);
        }
    }

    /// A batch of one packet; what has gone to the medium then, as the store tells it.
    fn written(recorder: &mut Recorder) -> u64 {
        let raw = Interface { link_type: LinkType::RAW, snaplen: 0, name: "eth1".into() };
        let interface = recorder.interface(&raw).unwrap();
        let timestamp = reading().wall;
        recorder.push(&Packet { timestamp, interface, orig_len: 28, bytes: &[0x45; 28] });
        recorder.flush();
        recorder.health().snapshot().wear.odometer.written_bytes
    }

    #[test]
    fn the_store_counts_what_the_event_ring_and_the_list_of_pins_write() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store");
        let door = with_copies(&path, 1, 10);
        let store = Store::open_any(&StoreOptions::new(&path, StoreSize::Keep)).unwrap();
        let mut recorder = store.recorder(RecorderOptions::inline(), reading()).unwrap();
        let work = Work { health: Some(recorder.health()), ..an_hour(&path, door) };
        let pins = Pins::new(&path);
        let events = work.open(&pins).unwrap().unwrap();
        let mut running = running(work, events);
        running.tell_wear(&pins);
        let first = written(&mut recorder);
        let second = written(&mut recorder);
        let batch = second - first;
        pins.pin(PinId::new(1), &Pin::default(), "", reading()).unwrap();
        running.tell_wear(&pins);
        let third = written(&mut recorder);
        assert_eq!(third - second, batch + 16_384, "the list of pins");
        running.pass(&pins, now(true), &AtomicBool::new(false)).unwrap();
        pins.take_written();
        running.tell_wear(&pins);
        assert!(written(&mut recorder) - third > batch + 16_384, "the event ring");
    }

    #[test]
    fn an_event_ring_that_is_away_is_looked_for_ever_less_often_but_often_enough() {
        let mut failures = 0;
        let waits: Vec<u64> = (0..8).map(|_| back_off(&mut failures).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 16, 16, 16]);
        failures = u32::MAX;
        assert_eq!(back_off(&mut failures), BACK_OFF_MAX);
        assert!(BACK_OFF_MAX + IDLE < Duration::from_secs(30), "what RELIABILITY.md promises");
    }
}
