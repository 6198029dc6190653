//! Pins while savefiles are imported: what is at work is followed as it is beside a recorder, in the same thread.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use hindcap_store::events::EventsDoor;
use hindcap_store::volume::any::{AnyReader, AnyVolume};
use hindcap_store::{Reader, Store, StoreError};
use hindcap_wire::counted::Counted;
use hindcap_wire::time::ClockState;

use super::worker::Work;
use super::{Copier, Now, Pins, pass};
use crate::capture::reading;
use crate::clock::{Clock, SYNCHRONISED_MARKER};
use crate::exit::Failure;
use crate::query::open_to_follow;

/// See the module.
pub struct Beside {
    pins: Pins,
    copier: Copier,
    reader: Reader<AnyReader>,
    clock: Clock,
}

impl Beside {
    /// Follows the pins of the store at `path`; `None` when there is nothing to follow, or somebody else follows it. An event
    /// ring that cannot be used is told, and does not keep anything from being imported.
    #[must_use]
    pub fn start(path: &Path, door: EventsDoor, hash_chain: bool) -> Option<Self> {
        let work = Work {
            store: path.to_owned(),
            door,
            // What is followed has been flushed.
            flush_interval: Duration::ZERO,
            hash_chain,
            health: None,
            max_age_secs: None,
        };
        let pins = Pins::new(path);
        let begun = match work.open(&pins) {
            Ok(Some(events)) if !pins.active().is_empty() => Self::begin(&work, pins, events),
            Ok(_) => return None,
            Err(StoreError::InUse { .. }) => {
                log::debug!("pinned sessions are followed by whoever has the event ring");
                return None;
            }
            Err(error) => Err(error.into()),
        };
        begun.inspect_err(|failure| log::warn!("pinned sessions are not followed: {failure}")).ok()
    }

    fn begin(work: &Work, pins: Pins, events: Store<AnyVolume>) -> Result<Self, Failure> {
        let copier = work.copier(events)?;
        let clock = Clock::new(SYNCHRONISED_MARKER.into());
        let mut beside = Self { pins, copier, reader: open_to_follow(&work.store)?, clock };
        // What is overwritten from now on has been looked at.
        beside.follow();
        Ok(beside)
    }

    /// Copies what is new on the medium.
    pub fn follow(&mut self) {
        let reading = reading(&mut self.clock);
        let now = Now { reading, trusted: reading.clock == ClockState::Synchronised, imports: true };
        let done = pass(&self.pins, &mut self.copier, &mut self.reader, now, &AtomicBool::new(false));
        if let Err(why) = done {
            log::warn!("pinned sessions wait: {why}");
        }
    }

    /// Copies the rest.
    ///
    /// # Errors
    /// The last copies are not durable.
    pub fn finish(mut self) -> Result<(), Failure> {
        self.follow();
        let list = self.pins.list().pins;
        let packets = list.iter().map(|pin| pin.packets).sum();
        log::info!("pins: {} copied so far", Counted(packets, "packet"));
        for pin in list.iter().filter(|pin| pin.segments_missed > 0) {
            let missed = Counted(pin.segments_missed, "segment");
            log::warn!(
                "pin {}: {missed} overwritten before anything was copied; a larger store, or smaller savefiles, leave time for it",
                pin.id
            );
        }
        Ok(self.copier.close()?)
    }
}
