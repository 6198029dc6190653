//! Pins: sessions that somebody wants kept, copied into the event ring by a thread of its own.
//!
//! [`Pins`] is the list, shared by whoever asks ([`Pins::pin`], [`Pins::unpin`], [`Pins::list`]) and the worker; every
//! change is on the medium before it is answered. [`Worker`] copies, at idle priority, through a reader as any query has
//! and a recorder of the event ring's own: the capture thread and its store are not touched.

pub mod command;
mod copy;
mod worker;

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hindcap_store::events::pins::PinsFile;
use hindcap_store::volume::any::AnyVolume;
use hindcap_store::{Reading, Store, StoreError};
use hindcap_wire::limits::{PIN_SECS_DEFAULT, PINS_MAX};
use hindcap_wire::message::{EventsStatus, Pin, PinId, PinInfo, PinList, PinState};
use hindcap_wire::time::{NANOS_PER_SEC, Timestamp};

use copy::{Copier, pass};
pub use worker::{Work, Worker};

use crate::clock::{monotonic_nanos, wall};
use crate::exit::Failure;

/// The clocks for the event ring. As in an import, times are those of the packets: the ring covers no other.
fn reading() -> Reading {
    Reading { wall: wall(), monotonic_nanos: monotonic_nanos(), ..Reading::default() }
}

/// The list. See the module.
#[derive(Debug)]
pub struct Pins {
    inner: Mutex<Inner>,
    wake: Condvar,
    /// Bytes of the event ring.
    capacity: u64,
}

#[derive(Debug)]
struct Inner {
    list: Vec<PinInfo>,
    file: PinsFile,
    asked: bool,
}

/// Starts the worker of a store that is about to be recorded into. Without an event ring, or with one that cannot be used,
/// recording goes on without pins.
#[must_use]
pub fn begin(
    path: &Path,
    events: Result<Option<Store<AnyVolume>>, StoreError>,
    flush_interval: Duration,
    hash_chain: bool,
) -> Option<Worker> {
    let started = events.map_err(Failure::from).and_then(|events| {
        let Some(events) = events else { return Ok(None) };
        let pins = Arc::new(command::list_of(path, &events.geometry())?);
        let work = Work { store: path.to_owned(), events, flush_interval, hash_chain };
        Ok(Some(Worker::start(pins, work)?))
    });
    started.unwrap_or_else(|failure| {
        log::error!("the event ring cannot be used, so no session can be pinned: {failure}");
        None
    })
}

/// Reads the list as it lies on the medium; an unreadable one counts as empty.
#[must_use]
pub fn decode(bytes: &[u8]) -> Vec<PinInfo> {
    if bytes.is_empty() {
        return Vec::new();
    }
    postcard::from_bytes(bytes).unwrap_or_else(|error| {
        log::error!("the list of pins cannot be read and begins anew: {error}");
        Vec::new()
    })
}

impl Pins {
    /// The list in `file`, which holds `bytes`, of an event ring of `capacity` bytes.
    #[must_use]
    pub fn new(file: PinsFile, bytes: &[u8], capacity: u64) -> Self {
        let inner = Inner { list: decode(bytes), file, asked: true };
        Self { inner: Mutex::new(inner), wake: Condvar::new(), capacity }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Pins the sessions of a query. The same `id` again has no second effect.
    ///
    /// # Errors
    /// Why not, for a person.
    pub fn pin(&self, id: PinId, pin: &Pin, why: &str, now: Timestamp) -> Result<PinInfo, String> {
        pin.query.validate().map_err(|error| error.to_string())?;
        let mut inner = self.lock();
        if let Some(known) = inner.list.iter().find(|known| known.id == id) {
            return Ok(known.clone());
        }
        if inner.list.len() >= PINS_MAX {
            let Some(over) = inner.list.iter().position(|pin| !pin.state.is_active()) else {
                return Err(format!("{PINS_MAX} pins are at work already; end one (unpin), or wait"));
            };
            inner.list.remove(over);
        }
        let most = self.capacity / 2;
        let secs = pin.for_secs.unwrap_or(PIN_SECS_DEFAULT);
        inner.list.push(PinInfo {
            id,
            query: pin.query.clone(),
            who: pin.who.clone().unwrap_or_default(),
            why: why.to_owned(),
            created: now,
            expires: now.plus_nanos(secs.saturating_mul(NANOS_PER_SEC)),
            max_bytes: pin.max_bytes.map_or(most, |bytes| bytes.min(most)),
            state: PinState::Copying,
            detail: String::new(),
            packets: 0,
            bytes: 0,
            span: None,
            segments_missed: 0,
            first_generation: 0,
            overwritten: false,
        });
        if let Err(error) = inner.store() {
            inner.list.pop();
            return Err(error);
        }
        inner.asked = true;
        self.wake.notify_all();
        Ok(inner.list.last().cloned().expect("just pushed"))
    }

    /// Ends a pin; what was copied stays.
    ///
    /// # Errors
    /// There is no such pin, or the list cannot be written.
    pub fn unpin(&self, id: PinId) -> Result<PinInfo, String> {
        let mut inner = self.lock();
        let Some(pin) = inner.list.iter_mut().find(|pin| pin.id == id) else {
            return Err(format!("there is no pin {id}; 'pins' lists them"));
        };
        if pin.state.is_active() {
            pin.state = PinState::Released;
        }
        let pin = pin.clone();
        inner.store()?;
        Ok(pin)
    }

    /// All pins that are remembered.
    #[must_use]
    pub fn list(&self) -> PinList {
        PinList { pins: self.lock().list.clone() }
    }

    /// Pins at work.
    fn active(&self) -> Vec<PinInfo> {
        self.lock().list.iter().filter(|pin| pin.state.is_active()).cloned().collect()
    }

    /// Changes a pin, unless it has been ended meanwhile; `durable` writes the list.
    fn update(&self, id: PinId, durable: bool, change: impl FnOnce(&mut PinInfo)) {
        let mut inner = self.lock();
        let Some(pin) = inner.list.iter_mut().find(|pin| pin.id == id) else { return };
        let before = pin.state;
        change(pin);
        if !before.is_active() {
            pin.state = before;
        }
        if durable || pin.state != before {
            if let Err(error) = inner.store() {
                log::warn!("{error}");
            }
        }
    }

    /// Marks the pins whose first copies the event ring has overwritten: `oldest` is its oldest generation.
    fn overwritten(&self, oldest: u64) {
        let mut inner = self.lock();
        let mut changed = false;
        for pin in inner.list.iter_mut().filter(|pin| !pin.overwritten) {
            if pin.first_generation > 0 && pin.first_generation < oldest {
                pin.overwritten = true;
                changed = true;
                log::warn!("pin {}: the event ring came round and overwrites its oldest packets", pin.id);
            }
        }
        if changed {
            if let Err(error) = inner.store() {
                log::warn!("{error}");
            }
        }
    }

    /// Waits until there is a new pin, or for `most`.
    fn wait(&self, most: Duration) {
        let mut inner = self.lock();
        if !inner.asked {
            inner = self
                .wake
                .wait_timeout(inner, most)
                .map_or_else(|error| error.into_inner().0, |woken| woken.0);
        }
        inner.asked = false;
    }

    fn wake(&self) {
        self.lock().asked = true;
        self.wake.notify_all();
    }
}

/// Adds what the pins say to the status of the event ring.
pub fn sum_up(status: &mut EventsStatus, pins: &[PinInfo]) {
    status.pins_active =
        u32::try_from(pins.iter().filter(|pin| pin.state.is_active()).count()).unwrap_or(u32::MAX);
    status.packets_copied = pins.iter().map(|pin| pin.packets).sum();
    status.bytes_copied = pins.iter().map(|pin| pin.bytes).sum();
    status.segments_missed = pins.iter().map(|pin| pin.segments_missed).sum();
}

impl Inner {
    fn store(&mut self) -> Result<(), String> {
        let bytes = postcard::to_allocvec(&self.list).map_err(|error| error.to_string())?;
        self.file.store(&bytes).map_err(|error| format!("the list of pins cannot be kept: {error}"))
    }
}

#[cfg(test)]
mod tests;
