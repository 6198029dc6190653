//! Opening stores wherever they are: in a directory or on a card.

use std::path::Path;
use std::sync::Arc;

use hindcap_wire::time::Timestamp;

use crate::state::State;
use crate::store::{load_from, open_dir_reader};
use crate::volume::any::{Absent, AnyReader, AnyVolume, Place};
use crate::volume::block::{Access, BlockDev, FileDev};
use crate::volume::fat::FatVolume;
use crate::volume::{VolumeRead, VolumeWrite};
use crate::{Health, Store, StoreError, StoreOptions, Trouble};

/// Opens the store at `path` (a directory, or `fat:` and a card) for reading, beside whoever writes.
///
/// # Errors
/// No store there, another version, or its state is lost.
pub fn open_reader(path: &Path) -> Result<(AnyReader, State), StoreError> {
    match Place::parse(path) {
        Place::Dir(path) => {
            let (reader, state) = open_dir_reader(&path)?;
            Ok((AnyReader::Dir(reader), state))
        }
        Place::Fat(path) => {
            let volume = FatVolume::open(FileDev::open(&path, Access::Read)?)?;
            let (state, _) = load_from(&volume, &path)?;
            Ok((AnyReader::Fat(Box::new(volume)), state))
        }
    }
}

impl Store<AnyVolume> {
    /// Opens the store at `options.path`. A card keeps the size it was formatted with.
    ///
    /// # Errors
    /// As [`Store::open`]; what is on the card is no ring, or it is mounted, in use or damaged.
    pub fn open_any(options: &StoreOptions) -> Result<Self, StoreError> {
        match Place::parse(&options.path) {
            Place::Dir(path) => {
                Ok(Store::open(&StoreOptions { path, ..options.clone() })?.map(AnyVolume::Dir))
            }
            Place::Fat(path) => Ok(open_card(&path)?.map(|volume| AnyVolume::Fat(Box::new(volume)))),
        }
    }

    /// A store whose medium is not there, or cannot be used yet: a recorder keeps in memory what its buffers hold and
    /// begins to write when the medium comes.
    #[must_use]
    pub fn absent(path: &Path, error: &StoreError, since: Timestamp) -> Self {
        let state = State::new([0; 16], 0, 0);
        let health = Arc::new(Health::default());
        health.medium_fails(Trouble::of(error), since, error);
        Self { volume: AnyVolume::Absent(Absent::of(&Place::parse(path))), state, health }
    }

    /// Makes a store in a directory. Cards are formatted, which asks first.
    ///
    /// # Errors
    /// As [`Store::create`]; a card is opened instead, with the errors of [`Store::open_any`].
    pub fn create_any(options: &StoreOptions) -> Result<Self, StoreError> {
        match Place::parse(&options.path) {
            Place::Dir(path) => {
                Ok(Store::create(&StoreOptions { path, ..options.clone() })?.map(AnyVolume::Dir))
            }
            Place::Fat(_) => Self::open_any(options),
        }
    }
}

/// Opens the store on a card for writing and says what happened to it.
///
/// # Errors
/// See [`Store::open_any`].
pub fn open_card(path: &Path) -> Result<Store<FatVolume<FileDev>>, StoreError> {
    card_store(FileDev::open(path, Access::Write)?)
}

/// As [`open_card`], on a device that is open.
pub(crate) fn card_store(dev: FileDev) -> Result<Store<FatVolume<FileDev>>, StoreError> {
    let path = dev.path().to_path_buf();
    store_on(FatVolume::open(dev)?, &path)
}

/// The store on the volume at `path`.
pub(crate) fn store_on<D: BlockDev>(
    volume: FatVolume<D>,
    path: &Path,
) -> Result<Store<FatVolume<D>>, StoreError> {
    let (state, lost) = load_from(&volume, path)?;
    let health = Arc::new(Health::default());
    let mut warnings: Vec<String> = volume.warnings().collect();
    if lost {
        warnings.push(format!("{}: the state is damaged; begun anew, holds are lost", path.display()));
    }
    if lost {
        health.lose_holds();
    }
    warnings.into_iter().for_each(|warning| health.warn(warning));
    Ok(Store { volume, state, health })
}

impl<V> Store<V> {
    /// The same store, its volume seen as something else.
    pub(crate) fn map<W: VolumeRead + VolumeWrite>(self, volume: impl FnOnce(V) -> W) -> Store<W> {
        Store { volume: volume(self.volume), state: self.state, health: self.health }
    }
}
