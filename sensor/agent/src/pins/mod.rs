//! Pins: sessions that somebody wants kept, copied into the event ring by a thread of its own.
//!
//! [`Pins`] is the list, shared by whoever asks ([`Pins::pin`], [`Pins::unpin`], [`Pins::list`]) and the worker; every
//! change is on the medium before it is answered. A medium may be away for a while: pins then wait, and go on when it is back.
//! [`Worker`] copies, at idle priority, through a reader as any query has
//! and a recorder of the event ring's own: the capture thread and its store are not touched.

mod beside;
pub mod command;
mod copy;
mod times;
mod watch;
mod worker;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hindcap_store::events::pins::PinsFile;
use hindcap_store::wear::Totals;
use hindcap_store::{Reading, Shelf};
use hindcap_wire::limits::{PIN_SECS_DEFAULT, PINS_MAX};
use hindcap_wire::message::{EventsStatus, Pin, PinId, PinInfo, PinList, PinState};
use hindcap_wire::time::{ClockState, NANOS_PER_SEC, Timestamp};

pub use beside::Beside;
use copy::{Copier, Now, pass};
pub use watch::PinsWatch;
pub use worker::{Work, Worker};

use crate::clock::{Clock, monotonic_nanos, wall};

/// The clocks for the event ring. As in an import, times are those of the packets: the ring covers no other.
fn reading() -> Reading {
    Reading { wall: wall(), monotonic_nanos: monotonic_nanos(), ..Reading::default() }
}

/// The list. See the module.
#[derive(Debug)]
pub struct Pins {
    inner: Mutex<Inner>,
    wake: Condvar,
    /// The store, for messages.
    store: PathBuf,
    /// What this process knows of the open segment.
    pub shelf: Shelf,
}

#[derive(Debug)]
struct Inner {
    list: Vec<PinInfo>,
    home: Home,
    /// The event ring that the list belongs to.
    ring: Option<[u8; 16]>,
    /// Since when and why copies that are too old cannot be removed from it.
    emptying_fails: Option<(Timestamp, String)>,
    asked: bool,
}

/// Where the list is kept.
#[derive(Debug)]
enum Home {
    /// Beside the event ring, which takes so many bytes.
    Ring { file: PinsFile, capacity: u64 },
    /// The store that is there has no event ring.
    Without,
    /// Its medium is away, or the event ring cannot be used: why.
    Away(String),
}

/// Starts the worker of a store that somebody records into, or serves. Without an event ring, or with one that cannot be
/// used, recording goes on without pins.
#[must_use]
pub fn begin(work: Work, clock: Clock) -> Option<Worker> {
    let pins = Arc::new(Pins::new(&work.store));
    let events = work.arrive(&pins);
    if pins.has_none() && !work.door.may_change() {
        return None;
    }
    Worker::start(pins, work, events, clock)
        .inspect_err(|error| log::error!("no session can be pinned: {error}"))
        .ok()
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
    /// The list of the store at `store`, whose event ring has not been found yet.
    #[must_use]
    pub fn new(store: &Path) -> Self {
        let home = Home::Away(String::from("it has not been looked at yet"));
        let inner = Inner { list: Vec::new(), home, ring: None, emptying_fails: None, asked: true };
        let shelf = Shelf::default();
        Self { inner: Mutex::new(inner), wake: Condvar::new(), store: store.to_owned(), shelf }
    }

    /// The event ring `ring` is there, of `capacity` bytes, with a list in `file` that holds `bytes`. When it is the one that
    /// was there before, what was changed meanwhile is kept.
    pub fn arrive(&self, (file, bytes): (PinsFile, &[u8]), ring: [u8; 16], capacity: u64) {
        let mut inner = self.lock();
        let same = inner.ring.replace(ring) == Some(ring);
        inner.home = Home::Ring { file, capacity };
        if !same {
            inner.emptying_fails = None;
            inner.list = decode(bytes);
        } else if let Err(error) = inner.store() {
            log::warn!("{error}");
        }
        inner.asked = true;
    }

    /// Whether the store that is there is known to have no event ring.
    fn has_no_ring(&self) -> bool {
        matches!(self.lock().home, Home::Without)
    }

    /// The store that is there has no event ring.
    fn arrive_without(&self) {
        let mut inner = self.lock();
        (inner.home, inner.ring, inner.emptying_fails) = (Home::Without, None, None);
        inner.list.clear();
    }

    /// The event ring cannot be used for the time being.
    fn leave(&self, why: String) {
        let mut inner = self.lock();
        if matches!(inner.home, Home::Ring { .. }) {
            log::warn!("the event ring is away, pins wait: {why}");
        }
        inner.home = Home::Away(why);
    }

    /// Tells why copies that are too old cannot be removed, and since when.
    fn set_emptying(&self, fails: Option<(Timestamp, String)>) {
        self.lock().emptying_fails = fails;
    }

    /// Since when, and why, copies that are too old cannot be removed; `None` while they can.
    #[must_use]
    pub fn emptying_fails(&self) -> Option<(Timestamp, String)> {
        self.lock().emptying_fails.clone()
    }

    /// Whether the event ring is there, as far as a look tells.
    fn is_there(&self) -> bool {
        let gone = match &self.lock().home {
            Home::Ring { file, .. } => match file.is_there() {
                Ok(()) => return true,
                Err(error) => error.to_string(),
            },
            Home::Without | Home::Away(_) => return false,
        };
        self.leave(gone);
        false
    }

    /// Whether the store has no event ring.
    fn has_none(&self) -> bool {
        matches!(self.lock().home, Home::Without)
    }

    /// What was written to the list since the last call.
    fn take_written(&self) -> Totals {
        match &mut self.lock().home {
            Home::Ring { file, .. } => file.take_written(),
            Home::Without | Home::Away(_) => Totals::default(),
        }
    }

    /// Why the event ring cannot be used; `None` while it can, and where there is none.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        match &self.lock().home {
            Home::Away(why) => Some(why.clone()),
            Home::Ring { .. } | Home::Without => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Pins the sessions of a query. The same `id` again has no second effect.
    ///
    /// # Errors
    /// Why not, for a person.
    pub fn pin(&self, id: PinId, pin: &Pin, why: &str, now: Reading) -> Result<PinInfo, String> {
        pin.query.validate().map_err(|error| error.to_string())?;
        let mut inner = self.lock();
        let most = match &inner.home {
            Home::Ring { capacity, .. } => capacity / 2,
            Home::Without => return Err(command::no_event_ring(&self.store)),
            Home::Away(why) => {
                return Err(format!(
                    "the event ring is away, so no session can be pinned for the time being: {why}"
                ));
            }
        };
        if let Some(known) = inner.list.iter().find(|known| known.id == id) {
            return Ok(known.clone());
        }
        if inner.list.len() >= PINS_MAX {
            let Some(over) = inner.list.iter().position(|pin| !pin.state.is_active()) else {
                return Err(format!("{PINS_MAX} pins are at work already; end one (unpin), or wait"));
            };
            inner.list.remove(over);
        }
        let lasts_secs = pin.for_secs.unwrap_or(PIN_SECS_DEFAULT);
        inner.list.push(PinInfo {
            id,
            query: pin.query.clone(),
            who: pin.who.clone().unwrap_or_default(),
            why: why.to_owned(),
            created: now.wall,
            lasts_secs,
            expires: None,
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
        date(&mut inner.list, now);
        if let Err(error) = inner.store() {
            inner.list.pop();
            return Err(error);
        }
        inner.asked = true;
        self.wake.notify_all();
        Ok(inner.list.last().cloned().expect("just pushed"))
    }

    /// Dates the pins that were made before the clock was synchronised, once it is.
    fn date(&self, now: Reading) {
        let mut inner = self.lock();
        if date(&mut inner.list, now) {
            if let Err(error) = inner.store() {
                log::warn!("{error}");
            }
        }
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

/// Gives every pin without an end its own, when `now` is synchronised; says whether there was any.
fn date(list: &mut [PinInfo], now: Reading) -> bool {
    let undated =
        list.iter_mut().filter(|pin| pin.expires.is_none() && now.clock == ClockState::Synchronised);
    let nanos = |secs: u64| secs.saturating_mul(NANOS_PER_SEC);
    undated.map(|pin| pin.expires = Some(now.wall.plus_nanos(nanos(pin.lasts_secs)))).count() > 0
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
        match &mut self.home {
            Home::Ring { file, .. } => {
                file.store(&bytes).map_err(|error| format!("the list of pins cannot be kept: {error}"))
            }
            Home::Without | Home::Away(_) => Err(String::from("the list of pins waits for its medium")),
        }
    }
}

#[cfg(test)]
mod tests;
