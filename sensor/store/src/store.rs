//! A store as a whole: made, opened for writing, resized, opened for reading.

use std::fs;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::events;
use crate::layout::{SEGMENTS_MIN, catalog_bytes, segments_within, store_bytes};
use crate::resize;
use crate::salvage;
use crate::state::{SLOT_BYTES, STATE_BYTES, Slots, State};
use crate::volume::dir::{self, CATALOG_FILE, DirReader, DirVolume, LOCK_FILE, Lock, STATE_FILE, io_error};
use crate::volume::{Area, Geometry, VolumeRead, VolumeWrite};
use crate::{Health, StoreError, StoreOptions, StoreSize};

/// A store that this process holds for writing.
#[derive(Debug)]
pub struct Store<V> {
    pub(crate) volume: V,
    pub(crate) state: State,
    pub(crate) health: Arc<Health>,
}

impl Store<DirVolume> {
    /// Opens the store at `options.path`, or makes it when there is none.
    ///
    /// # Errors
    /// See [`Store::create`] and [`Store::open`].
    pub fn open_or_create(options: &StoreOptions) -> Result<Self, StoreError> {
        if options.path.join(STATE_FILE).exists() { Self::open(options) } else { Self::create(options) }
    }

    /// Makes a store: all its files, allocated and empty. What an interrupted attempt left is used.
    ///
    /// # Errors
    /// The directory holds other files, another process is at it, not even two segments fit, or the system failed.
    pub fn create(options: &StoreOptions) -> Result<Self, StoreError> {
        if !options.segment_bytes_valid() {
            return Err(StoreError::Option {
                what: "segment size: a whole number of MiB from 4MiB to 512MiB",
            });
        }
        let path = &options.path;
        let segments_dir = path.join(dir::SEGMENTS_DIR);
        if path.exists() {
            refuse_foreign(path)?;
            if salvage::has_segments(path) {
                let reason = String::from(
                    "hindcap.state is missing although there are packets; put it back, or make an empty file of \
                     that name to have it made from the segments",
                );
                return Err(StoreError::StateLost { path: path.clone(), reason });
            }
        }
        fs::create_dir_all(&segments_dir).map_err(io_error("create", &segments_dir))?;
        let lock = lock(path)?;
        let quota = quota_bytes(options)?.ok_or(StoreError::NotAStore { path: path.clone() })?;
        let uuid = options.uuid.map_or_else(draw_uuid, Ok)?;
        let health = Arc::new(Health::default());
        // The event ring first, as long as there is room for sure.
        note_too_much(options, Some(quota), &health);
        let event_plan = events::plan(path, options.segment_bytes, Some(quota), options.event_share);
        let event_plan = events::unless_in_use(path, event_plan)?;
        events::make_room(path, event_plan, &health);
        events::settle(path, event_plan, &health);
        let quota = quota.saturating_sub(event_plan.bytes());
        let segments = resize::allocate_ring(path, options.segment_bytes, quota, &health)?;
        dir::allocate(&path.join(CATALOG_FILE), catalog_bytes(options.segment_bytes, segments))?;
        dir::allocate(&path.join(STATE_FILE), STATE_BYTES)?;
        let mut volume = DirVolume::new(path.clone(), options.segment_bytes, segments, lock);
        let segment_bytes = options.segment_bytes;
        let mut state = State::new(uuid, segment_bytes, segments);
        // The state comes last: a store without one is not finished.
        state.store(&mut volume)?;
        dir::sync_dir(path)?;
        Ok(Self { volume, state, health })
    }

    /// Opens a store for writing and gives it the size that `options` ask for.
    ///
    /// # Errors
    /// No store there, in use, another version, its state lost, less room than two segments, or the system failed.
    pub fn open(options: &StoreOptions) -> Result<Self, StoreError> {
        let path = &options.path;
        let (mut state, lost) = load_state(path)?;
        let lock = lock(path)?;
        let health = Arc::new(Health::default());
        if lost {
            health.warn(lost_state(path));
            health.lose_holds();
            dir::allocate(&path.join(STATE_FILE), STATE_BYTES)?;
        }
        let quota = quota_bytes(options)?;
        note_too_much(options, quota, &health);
        let event_plan = events::plan(path, state.segment_bytes, quota, options.event_share);
        let event_plan = events::unless_in_use(path, event_plan)?;
        let quota = quota.map(|quota| quota.saturating_sub(event_plan.bytes()));
        let wanted = match quota {
            Some(quota) => segments_within(state.segment_bytes, quota),
            None => state.segments,
        };
        if wanted < SEGMENTS_MIN {
            let needed_bytes = store_bytes(state.segment_bytes, SEGMENTS_MIN);
            let available_bytes = quota.unwrap_or(0);
            return Err(StoreError::TooSmall { path: path.clone(), needed_bytes, available_bytes });
        }
        events::make_room(path, event_plan, &health);
        let segments = resize::resize(path, &state, wanted, &health)?;
        events::settle(path, event_plan, &health);
        let mut volume = DirVolume::new(path.clone(), state.segment_bytes, segments, lock);
        if lost || segments != state.segments {
            state.segments = segments;
            state.store(&mut volume)?;
        }
        Ok(Self { volume, state, health })
    }
}

/// A store that is smaller than whoever set the event ring's size thought records all the same.
fn note_too_much(options: &StoreOptions, quota: Option<u64>, health: &Health) {
    if let Some(quota) = quota.filter(|quota| options.event_share.is_too_much(*quota)) {
        health.warn(format!(
            "{}: {} of {} MiB are too much for the event ring; it gets half of the store",
            options.path.display(),
            options.event_share,
            quota >> 20
        ));
    }
}

impl<V: VolumeWrite> Store<V> {
    /// Makes a store on a volume that is all zeros: simulations, block devices.
    ///
    /// # Errors
    /// The volume failed.
    pub fn format(mut volume: V, uuid: [u8; 16]) -> Result<Self, StoreError> {
        let Geometry { segment_bytes, segments, .. } = volume.geometry();
        let mut state = State::new(uuid, segment_bytes, segments);
        state.store(&mut volume)?;
        Ok(Self { volume, state, health: Arc::default() })
    }

    /// Opens the store on `volume`.
    ///
    /// # Errors
    /// The volume failed, holds another version, or its state is lost.
    pub fn mount(volume: V) -> Result<Self, StoreError> {
        let (state, _) = load_from(&volume, Path::new(""))?;
        Ok(Self { volume, state, health: Arc::default() })
    }

    /// What the store knows about itself.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// Shape of the ring.
    #[must_use]
    pub fn geometry(&self) -> Geometry {
        self.volume.geometry()
    }

    /// Counters and warnings; outlives the store.
    #[must_use]
    pub fn health(&self) -> Arc<Health> {
        Arc::clone(&self.health)
    }
}

/// The state of the store on `volume`. Where the volume knows its identity, a lost state is begun anew (and the second
/// value is true): the segments tell the rest.
pub(crate) fn load_from(volume: &impl VolumeRead, path: &Path) -> Result<(State, bool), StoreError> {
    let Geometry { segment_bytes, segments, .. } = volume.geometry();
    let path = path.to_path_buf();
    match (State::load(volume)?, volume.identity()) {
        (Slots::Version(found), _) => Err(StoreError::Version { path, found }),
        (Slots::Whole(state), identity) if identity.is_none_or(|uuid| uuid == state.uuid) => {
            Ok((State { segment_bytes, segments, ..state }, false))
        }
        (_, Some(uuid)) => {
            let anew = State { clean: false, ..State::new(uuid, segment_bytes, segments) };
            Ok((anew, true))
        }
        (_, None) => {
            Err(StoreError::StateLost { path, reason: String::from("nothing else tells the identity") })
        }
    }
}

/// Opens the store in the directory `path` for reading, beside whoever writes.
///
/// # Errors
/// No store there, another version, or its state is lost.
pub(crate) fn open_dir_reader(path: &Path) -> Result<(DirReader, State), StoreError> {
    let (state, lost) = load_state(path)?;
    if lost {
        log::warn!("{}", lost_state(path));
    }
    let State { segment_bytes, segments, .. } = state;
    Ok((DirReader::new(path.to_path_buf(), Geometry { segment_bytes, segments, sector_bytes: 512 }), state))
}

/// The state, and whether it was lost and made from the segments.
fn load_state(path: &Path) -> Result<(State, bool), StoreError> {
    let file = path.join(STATE_FILE);
    let bytes = match read_slots(&file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(StoreError::NotAStore { path: path.to_path_buf() });
        }
        Err(error) => return Err(io_error("read", &file)(error).into()),
    };
    match State::choose(&bytes) {
        Slots::Whole(state) => Ok((state, false)),
        Slots::Version(found) => Err(StoreError::Version { path: path.to_path_buf(), found }),
        Slots::Damaged => salvage::state_of(path).map(|state| (state, true)),
    }
}

fn lost_state(path: &Path) -> String {
    format!(
        "{}: both state slots were damaged; identity and size come from the segments, holds are lost: what was held is overwritten in its turn",
        path.display()
    )
}

/// The two slots: at the beginning and in the middle of the file, which on a card is larger than they are.
fn read_slots(file: &Path) -> std::io::Result<Vec<u8>> {
    let file = fs::File::open(file)?;
    let middle = file.metadata()?.len() / 2;
    let mut bytes = vec![0; 2 * SLOT_BYTES];
    for (slot, at) in bytes.chunks_exact_mut(SLOT_BYTES).zip([0, middle]) {
        // What cannot be read is no slot.
        let _ = file.read_exact_at(slot, at);
    }
    Ok(bytes)
}

fn lock(path: &Path) -> Result<Lock, StoreError> {
    Lock::take(path)?.map_err(|pid| StoreError::InUse { path: path.to_path_buf(), pid })
}

/// Bytes that the store may take; `None` to keep its size.
fn quota_bytes(options: &StoreOptions) -> Result<Option<u64>, StoreError> {
    match options.size {
        StoreSize::Bytes(bytes) => Ok(Some(bytes)),
        StoreSize::Keep => Ok(None),
        StoreSize::Percent(share @ 1..=100) => {
            let path = &options.path;
            let stat = rustix::fs::statvfs(path).map_err(|error| io_error("inspect", path)(error.into()))?;
            Ok(Some((u128::from(stat.f_blocks) * u128::from(stat.f_frsize) * u128::from(share) / 100) as u64))
        }
        StoreSize::Percent(_) => Err(StoreError::Option { what: "store size: a share is from 1% to 100%" }),
    }
}

/// A store is only made where nothing else is.
fn refuse_foreign(path: &Path) -> Result<(), StoreError> {
    let ours = [
        dir::SEGMENTS_DIR,
        events::EVENTS_DIR,
        events::pins::PINS_FILE,
        CATALOG_FILE,
        STATE_FILE,
        LOCK_FILE,
        dir::CONTENTS_FILE,
        "lost+found",
    ];
    for entry in fs::read_dir(path).map_err(io_error("list", path))? {
        let name = entry.map_err(io_error("list", path))?.file_name().to_string_lossy().into_owned();
        if !ours.contains(&name.as_str()) {
            return Err(StoreError::Foreign { path: path.to_path_buf(), found: name });
        }
    }
    Ok(())
}

fn draw_uuid() -> Result<[u8; 16], StoreError> {
    let (mut uuid, source) = ([0; 16], Path::new("/dev/urandom"));
    fs::File::open(source)
        .and_then(|mut file| file.read_exact(&mut uuid))
        .map_err(io_error("read", source))?;
    Ok(uuid)
}

/// Where a segment lies in a `dir` volume.
#[must_use]
pub fn segment_path(store: &Path, number: u32) -> PathBuf {
    dir::area_path(store, Area::Segment(number))
}

#[cfg(test)]
mod tests;
