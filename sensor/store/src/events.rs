//! The event ring: a second, small, complete store that keeps what was pinned while the general ring goes on wrapping.
//!
//! In a directory it is the store `events/` inside the store, with its own state, catalog, segments and lock, so that every
//! tool that reads a store reads it too. It counts against the size of the store around it ([`EventShare`]). On a card it is
//! a second run of segments, made by formatting, whose files have the same names. Pins are kept beside it ([`pins`]). Nothing
//! that goes wrong with it keeps the general ring from recording.

pub mod pins;

use std::fs;
use std::path::{Path, PathBuf};

use hindcap_wire::counted::Counted;
use hindcap_wire::limits::SEGMENT_BYTES_MIN;

use pins::PinsFile;

use crate::layout::{SEGMENTS_MIN, segments_within, store_bytes};
use crate::place::store_on;
use crate::store::load_from;
use crate::volume::any::{Absent, AnyReader, AnyVolume, Place};
use crate::volume::block::{Access, FileDev};
use crate::volume::dir::{self, STATE_FILE, io_error};
use crate::volume::fat::FatVolume;
use crate::{EventShare, Health, State, Store, StoreError, StoreOptions, StoreSize};

/// The event ring of a `dir` store.
pub const EVENTS_DIR: &str = "events";
/// Largest segment of an event ring: what wraps is lost for a case, so it wraps in small steps; and index and tail of the
/// second recorder stay small in memory.
pub const EVENT_SEGMENT_BYTES_MAX: u32 = 16 << 20;
/// Most of a store that an event ring may take, percent.
pub const SHARE_MAX: u8 = 50;
/// Segments that an event ring gets at least, by smaller segments.
const SEGMENTS_WANTED: u64 = 8;

/// Bytes of a segment of an event ring of at most `quota` bytes, beside a ring with segments of `general`.
#[must_use]
pub fn event_segment_bytes(quota: u64, general: u32) -> u32 {
    let mut bytes = general.min(EVENT_SEGMENT_BYTES_MAX);
    while bytes / 2 >= SEGMENT_BYTES_MIN && quota / u64::from(bytes) < SEGMENTS_WANTED {
        bytes /= 2;
    }
    bytes
}

/// What becomes of the event ring when a store in a directory is made or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// There is none, and none is wanted.
    Without,
    /// It stays as it is, with so many bytes.
    Keep(u64),
    /// It is to have this shape.
    Shape { segment_bytes: u32, segments: u32 },
    /// It goes.
    Remove,
    /// There is no room for it any more, unless the store gets this size.
    NoRoom(u64),
    /// It was asked for, but the store is too small.
    TooSmall,
}

impl Plan {
    /// Bytes that the event ring takes of the store's.
    pub(crate) fn bytes(self) -> u64 {
        match self {
            Self::Keep(bytes) => bytes,
            Self::Shape { segment_bytes, segments } => ring_bytes(segment_bytes, segments),
            Self::Without | Self::Remove | Self::NoRoom(_) | Self::TooSmall => 0,
        }
    }
}

/// Bytes of an event ring with everything that belongs to it.
fn ring_bytes(segment_bytes: u32, segments: u32) -> u64 {
    store_bytes(segment_bytes, segments) + pins::PINS_BYTES
}

/// Plans the event ring of a store of `quota` bytes (`None`: as it is) at `path`.
pub(crate) fn plan(path: &Path, general: u32, quota: Option<u64>, share: EventShare) -> Plan {
    let present = shape_of(&path.join(EVENTS_DIR));
    let now = present.map(|(segment_bytes, segments)| ring_bytes(segment_bytes, segments));
    let wanted = match (share, quota, now) {
        (EventShare::Keep, _, None) => return Plan::Without,
        (share, _, None) if share.is_none() => return Plan::Without,
        (share, _, Some(_)) if share.is_none() => return Plan::Remove,
        (EventShare::Keep, None, Some(now)) => return Plan::Keep(now),
        // It keeps its size unless that would leave the general ring less than half.
        (EventShare::Keep, Some(quota), Some(now)) if now <= quota / 2 => return Plan::Keep(now),
        (EventShare::Keep, Some(quota), Some(_)) => quota / 10,
        (share, Some(quota), _) => share.of(quota),
        // The size stays, so the event ring can only stay as well.
        (_, None, Some(now)) => return Plan::Keep(now),
        (_, None, None) => return Plan::Without,
    };
    let room = wanted.saturating_sub(pins::PINS_BYTES);
    let segment_bytes =
        present.map_or_else(|| event_segment_bytes(room, general), |(segment_bytes, _)| segment_bytes);
    match segments_within(segment_bytes, room) {
        segments if segments >= SEGMENTS_MIN => Plan::Shape { segment_bytes, segments },
        _ if present.is_none() => Plan::TooSmall,
        _ => {
            let least = ring_bytes(segment_bytes, SEGMENTS_MIN);
            Plan::NoRoom(match share {
                EventShare::Percent(percent) => (least * 100).div_ceil(percent.clamp(1, SHARE_MAX).into()),
                EventShare::Keep | EventShare::Bytes(_) => least * 2,
            })
        }
    }
}

/// What is left of a plan that has no room for the event ring: it goes if nothing is in it.
///
/// # Errors
/// Something is.
pub(crate) fn unless_in_use(path: &Path, plan: Plan) -> Result<Plan, StoreError> {
    let Plan::NoRoom(needed_bytes) = plan else { return Ok(plan) };
    match segments_in_use(&path.join(EVENTS_DIR)) {
        0 => Ok(Plan::Remove),
        segments => Err(StoreError::EventRingInUse { path: path.to_path_buf(), segments, needed_bytes }),
    }
}

/// Segments of the event ring at `events` that hold something.
fn segments_in_use(events: &Path) -> u32 {
    let numbers = crate::resize::numbers(events).unwrap_or_default();
    let used = numbers.iter().filter(|number| crate::resize::generation(events, **number) > 0).count();
    u32::try_from(used).unwrap_or(u32::MAX)
}

/// Segment size and number of the store at `path`, when there is one.
fn shape_of(path: &Path) -> Option<(u32, u32)> {
    if !path.join(STATE_FILE).exists() {
        return None;
    }
    crate::store::open_dir_reader(path).ok().map(|(_, state)| (state.segment_bytes, state.segments))
}

/// The part of `plan` that makes room: done before the general ring grows.
pub(crate) fn make_room(path: &Path, plan: Plan, health: &Health) {
    let events = path.join(EVENTS_DIR);
    let done = match plan {
        Plan::Remove => {
            let used = Counted(segments_in_use(&events).into(), "segment");
            let what = format!("{used} of pinned sessions, and the list of pins");
            health.warn(format!("{}: the event ring is removed as asked for, with {what}", events.display()));
            fs::remove_dir_all(&events).map_err(|error| io_error("remove", &events)(error).into())
        }
        Plan::Shape { segments, .. } if shape_of(&events).is_some_and(|(_, now)| segments < now) => {
            let lost = segments_in_use(&events).saturating_sub(segments);
            if lost > 0 {
                let lost = Counted(lost.into(), "segment");
                health.warn(format!(
                    "{}: the event ring is made smaller; its oldest {lost} lost",
                    events.display()
                ));
            }
            make(&events, plan)
        }
        _ => Ok(()),
    };
    tell(&events, done, health);
}

/// The rest of `plan`: done when the general ring has its size.
pub(crate) fn settle(path: &Path, plan: Plan, health: &Health) {
    let events = path.join(EVENTS_DIR);
    match plan {
        Plan::Shape { .. } => tell(&events, make(&events, plan), health),
        // The status says so too; a person who makes a small store for a look at a savefile need not hear of it.
        Plan::TooSmall => log::debug!(
            "{}: too small for an event ring of two segments; sessions cannot be pinned here",
            path.display()
        ),
        Plan::Without | Plan::Keep(_) | Plan::Remove | Plan::NoRoom(_) => {}
    }
}

fn tell(events: &Path, done: Result<(), StoreError>, health: &Health) {
    if let Err(error) = done {
        health.warn(format!("{}: no event ring, pins are refused: {error}", events.display()));
    }
}

/// Makes the event ring, or gives it its size.
fn make(events: &Path, plan: Plan) -> Result<(), StoreError> {
    let Plan::Shape { segment_bytes, segments } = plan else { return Ok(()) };
    let size = StoreSize::Bytes(store_bytes(segment_bytes, segments));
    let options = StoreOptions { segment_bytes, ..StoreOptions::new(events, size) };
    drop(Store::open_or_create(&options)?);
    dir::allocate(&pins::pins_path(events), pins::PINS_BYTES)?;
    Ok(dir::sync_dir(events)?)
}

/// The event ring in the directory of a store, when there is one.
fn events_dir(path: &Path) -> Option<PathBuf> {
    Some(path.join(EVENTS_DIR)).filter(|events| events.join(STATE_FILE).exists())
}

/// Opens the event ring of the store at `path` for reading, beside whoever writes. `None`: it has none.
///
/// # Errors
/// It has one that cannot be opened.
pub fn open_events_reader(path: &Path) -> Result<Option<(AnyReader, State)>, StoreError> {
    match Place::parse(path) {
        Place::Dir(path) => events_dir(&path).map(|events| crate::open_reader(&events)).transpose(),
        Place::Fat(path) => {
            let Some(volume) = FatVolume::open_events(FileDev::open(&path, Access::Read)?)? else {
                return Ok(None);
            };
            let (state, _) = load_from(&volume, &path)?;
            Ok(Some((AnyReader::Fat(Box::new(volume)), state)))
        }
    }
}

/// Opens the list of pins of the store at `path`: the list, and what it holds. `None` without an event ring. Reading it
/// needs no lock; [`EventsDoor::open_pins`] opens it for whoever holds the event ring and writes it.
///
/// # Errors
/// It cannot be read.
pub fn open_pins(path: &Path) -> Result<Option<(PinsFile, Vec<u8>)>, StoreError> {
    match Place::parse(path) {
        Place::Dir(path) => pins_in(&path),
        Place::Fat(path) => pins_on(FileDev::open(&path, Access::Read)?),
    }
}

fn pins_in(path: &Path) -> Result<Option<(PinsFile, Vec<u8>)>, StoreError> {
    events_dir(path).map(|events| PinsFile::open(pins::pins_path(&events))).transpose()
}

fn pins_on(dev: FileDev) -> Result<Option<(PinsFile, Vec<u8>)>, StoreError> {
    FatVolume::open_events(dev)?.map(PinsFile::open_card).transpose()
}

/// The way to the event ring of a store that somebody records into, for as long as that goes on: now, and again whenever
/// the medium was away, be it the same or another one.
///
/// In a directory the event ring has a lock of its own. On a card both rings are written through one device, which belongs
/// to whoever holds the store.
#[derive(Clone, Debug)]
pub struct EventsDoor(Door);

#[derive(Clone, Debug)]
enum Door {
    Dir(PathBuf),
    Card(FileDev),
}

impl EventsDoor {
    /// To the event ring of the store in the directory `path`, whoever has the store.
    #[must_use]
    pub fn of_dir(path: &Path) -> Self {
        Self(Door::Dir(path.to_path_buf()))
    }

    /// Whether another medium, with or without an event ring, may come to this place.
    #[must_use]
    pub const fn may_change(&self) -> bool {
        matches!(self.0, Door::Card(_))
    }

    /// Opens the event ring for writing. `None`: what is there now has none.
    ///
    /// # Errors
    /// The medium is away, or the event ring cannot be opened, or is in use.
    pub fn open(&self) -> Result<Option<Store<AnyVolume>>, StoreError> {
        match &self.0 {
            Door::Dir(path) => {
                let Some(events) = events_dir(path) else { return Self::none_at(path) };
                Store::open_any(&StoreOptions::new(events, StoreSize::Keep)).map(Some)
            }
            Door::Card(dev) => {
                let Some(volume) = FatVolume::open_events(Self::joined(dev)?)? else { return Ok(None) };
                let store = store_on(volume, dev.path())?;
                Ok(Some(store.map(|volume| AnyVolume::Fat(Box::new(volume)))))
            }
        }
    }

    /// Opens the list of pins for writing, and gives what it holds. `None`: as [`EventsDoor::open`].
    ///
    /// # Errors
    /// The medium is away, or the list cannot be read.
    pub fn open_pins(&self) -> Result<Option<(PinsFile, Vec<u8>)>, StoreError> {
        match &self.0 {
            Door::Dir(path) => match pins_in(path)? {
                None => Self::none_at(path),
                found => Ok(found),
            },
            Door::Card(dev) => pins_on(Self::joined(dev)?),
        }
    }

    /// A store without event ring, or nothing there at all.
    fn none_at<T>(path: &Path) -> Result<Option<T>, StoreError> {
        if path.join(STATE_FILE).exists() {
            return Ok(None);
        }
        Err(StoreError::NotAStore { path: path.to_path_buf() })
    }

    fn joined(dev: &FileDev) -> Result<FileDev, StoreError> {
        dev.joined().map_err(|error| io_error("open", dev.path())(error).into())
    }
}

impl Store<AnyVolume> {
    /// The way to this store's event ring. Whoever holds a store is the one to open its event ring, which may outlive the
    /// store.
    #[must_use]
    pub fn events_door(&self) -> EventsDoor {
        EventsDoor(match &self.volume {
            AnyVolume::Dir(volume) => Door::Dir(volume.path().to_path_buf()),
            AnyVolume::Fat(volume) => Door::Card(volume.device().clone()),
            AnyVolume::Absent(Absent::Dir(path)) => Door::Dir(path.clone()),
            AnyVolume::Absent(Absent::Fat(dev)) => Door::Card(dev.clone()),
        })
    }

    /// Opens the event ring of this store for writing. `None`: it has none.
    ///
    /// # Errors
    /// As [`EventsDoor::open`].
    pub fn open_events(&self) -> Result<Option<Self>, StoreError> {
        self.events_door().open()
    }
}

#[cfg(test)]
mod tests;
