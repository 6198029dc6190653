//! A store's place as people name it: a directory, or `fat:` and a card, partition or image; and a volume that is either.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use hindcap_wire::limits::SEGMENT_BYTES_MIN;

use super::block::{Access, BlockDev as _, FileDev};
use super::dir::{DirReader, DirVolume};
use super::fat::FatVolume;
use super::{Area, Geometry, VolumeError, VolumeRead, VolumeWrite};
use crate::place::card_store;
use crate::{Store, StoreError, StoreOptions, StoreSize};

/// Where a store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a directory.
    Dir(PathBuf),
    /// On a FAT ring volume: a block device, a partition or an image file.
    Fat(PathBuf),
}

impl Place {
    /// Reads `fat:PATH`, `dir:PATH`, or a plain path, which is a directory.
    #[must_use]
    pub fn parse(text: &Path) -> Self {
        let strip = |prefix: &str| text.to_str().and_then(|text| text.strip_prefix(prefix));
        if let Some(path) = strip("fat:") {
            return Self::Fat(PathBuf::from(path));
        }
        Self::Dir(strip("dir:").map_or_else(|| text.to_path_buf(), PathBuf::from))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dir(path) => write!(f, "{}", path.display()),
            Self::Fat(path) => write!(f, "fat:{}", path.display()),
        }
    }
}

/// The writing side of either.
#[derive(Debug)]
#[non_exhaustive]
pub enum AnyVolume {
    /// A directory.
    Dir(DirVolume),
    /// A card.
    Fat(Box<FatVolume<FileDev>>),
    /// Nothing that can be used, yet or any more: every operation fails until it is opened again.
    Absent(Absent),
}

/// What is to be opened when it comes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Absent {
    /// A directory.
    Dir(PathBuf),
    /// A card.
    Fat(FileDev),
}

impl Absent {
    pub(crate) fn of(place: &Place) -> Self {
        match place {
            Place::Dir(path) => Self::Dir(path.clone()),
            Place::Fat(path) => Self::Fat(FileDev::absent(path, Access::Write)),
        }
    }

    fn absent<T>(&self, operation: &'static str) -> Result<T, VolumeError> {
        let path = match self {
            Self::Dir(path) => path,
            Self::Fat(dev) => dev.path(),
        };
        let source = io::Error::new(io::ErrorKind::NotFound, "the medium is not there");
        Err(VolumeError::Io { operation, path: path.to_path_buf(), source })
    }
}

/// Shape of a volume that is not there.
const NO_GEOMETRY: Geometry = Geometry { segment_bytes: SEGMENT_BYTES_MIN, segments: 0, sector_bytes: 512 };

/// The reading side of either.
#[derive(Debug)]
#[non_exhaustive]
pub enum AnyReader {
    /// A directory.
    Dir(DirReader),
    /// A card.
    Fat(Box<FatVolume<FileDev>>),
}

macro_rules! delegate {
    ($name:ident $(, $absent:ident)?) => {
        impl VolumeRead for $name {
            fn geometry(&self) -> Geometry {
                match self {
                    Self::Dir(volume) => volume.geometry(),
                    Self::Fat(volume) => volume.geometry(),
                    $(Self::$absent(_) => NO_GEOMETRY,)?
                }
            }

            fn read(&self, area: Area, offset: u64, buf: &mut [u8]) -> Result<(), VolumeError> {
                match self {
                    Self::Dir(volume) => volume.read(area, offset, buf),
                    Self::Fat(volume) => volume.read(area, offset, buf),
                    $(Self::$absent(place) => place.absent("read"),)?
                }
            }

            fn will_read(&self, area: Area, offset: u64, bytes: usize) {
                match self {
                    Self::Dir(volume) => volume.will_read(area, offset, bytes),
                    Self::Fat(volume) => volume.will_read(area, offset, bytes),
                    $(Self::$absent(_) => {})?
                }
            }

            fn is_usable(&self, segment: u32) -> bool {
                match self {
                    Self::Dir(volume) => volume.is_usable(segment),
                    Self::Fat(volume) => volume.is_usable(segment),
                    $(Self::$absent(_) => false,)?
                }
            }

            fn identity(&self) -> Option<[u8; 16]> {
                match self {
                    Self::Dir(volume) => volume.identity(),
                    Self::Fat(volume) => volume.identity(),
                    $(Self::$absent(_) => None,)?
                }
            }
        }
    };
}

delegate!(AnyVolume, Absent);
delegate!(AnyReader);

impl AnyReader {
    /// The name that computers show for a card; `None` for a directory.
    #[must_use]
    pub fn label(&self) -> Option<String> {
        match self {
            Self::Dir(_) => None,
            Self::Fat(volume) => volume.label(),
        }
    }
}

impl VolumeWrite for AnyVolume {
    fn write(&mut self, area: Area, offset: u64, bytes: &[u8]) -> Result<(), VolumeError> {
        match self {
            Self::Dir(volume) => volume.write(area, offset, bytes),
            Self::Fat(volume) => volume.write(area, offset, bytes),
            Self::Absent(place) => place.absent("write"),
        }
    }

    fn flush(&mut self, area: Area) -> Result<(), VolumeError> {
        match self {
            Self::Dir(volume) => volume.flush(area),
            Self::Fat(volume) => volume.flush(area),
            Self::Absent(place) => place.absent("flush"),
        }
    }

    fn erase(&mut self, area: Area, offset: u64, bytes: u64) -> Result<bool, VolumeError> {
        match self {
            Self::Dir(volume) => volume.erase(area, offset, bytes),
            Self::Fat(volume) => volume.erase(area, offset, bytes),
            Self::Absent(_) => Ok(false),
        }
    }

    fn request_bytes(&self, area: Area, bytes: usize) -> u64 {
        match self {
            Self::Dir(volume) => volume.request_bytes(area, bytes),
            Self::Fat(volume) => volume.request_bytes(area, bytes),
            Self::Absent(_) => bytes as u64,
        }
    }

    fn note_contents(&mut self, text: &str) -> u64 {
        match self {
            Self::Dir(volume) => volume.note_contents(text),
            Self::Fat(volume) => volume.note_contents(text),
            Self::Absent(_) => 0,
        }
    }

    fn is_there(&self, thorough: bool) -> Result<(), VolumeError> {
        match self {
            Self::Dir(volume) => volume.is_there(thorough),
            Self::Fat(volume) => volume.is_there(thorough),
            Self::Absent(place) => place.absent("open"),
        }
    }

    /// A store that is not there is never made: a person does that.
    fn reopen(&mut self) -> Result<(), StoreError> {
        let mut place = match self {
            Self::Fat(volume) => return volume.reopen(),
            Self::Absent(place) => place.clone(),
            Self::Dir(volume) => Absent::Dir(volume.path().to_path_buf()),
        };
        // Its lock goes with what was open.
        *self = Self::Absent(place.clone());
        *self = match &mut place {
            Absent::Dir(path) => {
                Self::Dir(Store::open(&StoreOptions::new(path.clone(), StoreSize::Keep))?.volume)
            }
            Absent::Fat(dev) => {
                dev.reopen()?;
                let opened = card_store(dev.clone());
                if opened.is_err() {
                    // Whoever wants to look at it, or format it, can.
                    dev.close();
                }
                Self::Fat(Box::new(opened?.volume))
            }
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_named_by_a_prefix() {
        let parse = |text: &str| Place::parse(Path::new(text));
        assert_eq!(parse("fat:/dev/mmcblk0"), Place::Fat("/dev/mmcblk0".into()));
        assert_eq!(parse("dir:/var/lib/hindcap"), Place::Dir("/var/lib/hindcap".into()));
        assert_eq!(parse("store"), Place::Dir("store".into()));
        assert_eq!(parse("fat:card.img").to_string(), "fat:card.img");
    }
}
