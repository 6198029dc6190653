//! The thread that copies.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use hindcap_extract::priority;
use hindcap_store::volume::any::AnyVolume;
use hindcap_store::{BackEnd, RecorderOptions, Store};

use super::{Copier, Pins, pass, reading};
use crate::exit::Failure;
use crate::query::open;

/// How often an idle worker looks at the list by itself; a new pin wakes it.
const IDLE: Duration = Duration::from_secs(60);
/// Shortest time between two passes.
const PASS_MIN: Duration = Duration::from_secs(1);

/// What the worker works with.
#[derive(Debug)]
pub struct Work {
    /// The store, whose general ring is read.
    pub store: PathBuf,
    /// Its event ring, held for writing.
    pub events: Store<AnyVolume>,
    /// How often the general ring is written.
    pub flush_interval: Duration,
    /// Whether segments of the event ring are hashed and chained.
    pub hash_chain: bool,
}

impl Work {
    /// Recovers the event ring, for writing.
    pub(super) fn copier(self) -> Result<Copier, Failure> {
        let options = RecorderOptions {
            back_end: BackEnd::Inline,
            hash_chain: self.hash_chain,
            ..RecorderOptions::inline()
        };
        let recorder = self.events.recorder(options, reading())?;
        let flush_nanos = u64::try_from(self.flush_interval.as_nanos()).unwrap_or(u64::MAX);
        Ok(Copier::new(recorder, flush_nanos))
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
    /// Starts the thread. It takes memory and writes only while there are pins.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub fn start(pins: Arc<Pins>, work: Work) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, flag) = (Arc::clone(&pins), Arc::clone(&stop));
        let thread =
            std::thread::Builder::new().name("pins".to_owned()).spawn(move || run(&shared, work, &flag))?;
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

fn run(pins: &Pins, work: Work, stop: &AtomicBool) {
    if let Err(error) = priority::idle() {
        log::debug!("no idle priority for pins: {error}");
    }
    let interval = work.flush_interval.max(PASS_MIN);
    let path = work.store.clone();
    while pins.active().is_empty() {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        pins.wait(IDLE);
    }
    let mut copier = match work.copier() {
        Ok(copier) => copier,
        Err(failure) => {
            log::error!("the event ring cannot be written, pins wait for the next start: {failure}");
            return;
        }
    };
    let mut reader = None;
    while !stop.load(Ordering::Relaxed) {
        if pins.active().is_empty() {
            reader = None;
            pins.wait(IDLE);
            continue;
        }
        if reader.is_none() {
            match open(&path) {
                Ok(opened) => reader = Some(opened),
                Err(failure) => log::warn!("pins wait: {failure}"),
            }
        }
        if let Some(reader) = &mut reader {
            pass(pins, &mut copier, reader, stop);
        }
        pins.wait(interval);
    }
    if let Err(error) = copier.close() {
        log::error!("event ring: {error}");
    }
}
