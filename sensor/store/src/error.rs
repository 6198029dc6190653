//! What can go wrong with a store as a whole. Trouble while recording is not an error: it is counted and shown in
//! [`crate::Health`], because recording goes on.

use std::fmt;
use std::path::PathBuf;

use hindcap_wire::counted::Counted;

use crate::volume::VolumeError;
use crate::volume::block::OpenError;
use crate::volume::fat::FatError;

/// Why a store could not be made, opened or used.
#[derive(Debug)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process writes to it.
    InUse {
        /// The store.
        path: PathBuf,
        /// The holder, as far as it can be read.
        pid: Option<u32>,
    },
    /// There is no store here.
    NotAStore {
        /// Where.
        path: PathBuf,
    },
    /// The directory holds other files; a store is only made in an empty or new directory.
    Foreign {
        /// The directory.
        path: PathBuf,
        /// One of the files.
        found: String,
    },
    /// Made by another version of the format.
    Version {
        /// The store.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// Neither state slot is whole and the segments do not tell what was in it.
    StateLost {
        /// The store.
        path: PathBuf,
        /// Why the segments do not tell, and what to do.
        reason: String,
    },
    /// Not even two segments fit.
    TooSmall {
        /// The store.
        path: PathBuf,
        /// Bytes that two segments and everything around them need.
        needed_bytes: u64,
        /// Bytes that there are.
        available_bytes: u64,
    },
    /// The event ring would have to go, and what is in it with it.
    EventRingInUse {
        /// The store.
        path: PathBuf,
        /// Segments of the event ring that hold packets.
        segments: u32,
        /// Bytes that the store needs to keep it.
        needed_bytes: u64,
    },
    /// An option with a value that makes no sense.
    Option {
        /// Which and why.
        what: &'static str,
    },
    /// More different interfaces than a store numbers.
    TooManyInterfaces,
    /// Recording ended while storage failed.
    NotDurable {
        /// Packets lost to storage errors since the recorder was made.
        packets: u64,
        /// What storage said last.
        message: String,
    },
    /// The writer's thread could not be started.
    Thread(std::io::Error),
    /// The volume failed.
    Volume(VolumeError),
    /// The card, partition or image cannot be used.
    Fat(FatError),
    /// What was written cannot be read back.
    Unreadable(String),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse { path, pid: Some(pid) } => {
                write!(f, "{}: store in use by pid {pid}", path.display())
            }
            Self::InUse { path, pid: None } => {
                write!(f, "{}: store in use by another process", path.display())
            }
            Self::NotAStore { path } => write!(f, "{}: no Hindcap store here", path.display()),
            Self::Foreign { path, found } => {
                write!(
                    f,
                    "{}: holds other files ({found}); a store needs an empty or new directory",
                    path.display()
                )
            }
            Self::Version { path, found } => write!(
                f,
                "{}: store format {found}, but this program knows only {}",
                path.display(),
                crate::state::FORMAT_VERSION
            ),
            Self::StateLost { path, reason } => write!(
                f,
                "{}: hindcap.state is damaged or missing, and the segments do not replace it: {reason}. Nothing was \
                 changed; every segment is a savefile that other programs open",
                path.display()
            ),
            Self::TooSmall { path, needed_bytes, available_bytes } => write!(
                f,
                "{}: two segments need {needed_bytes} bytes, but there are {available_bytes}",
                path.display()
            ),
            Self::EventRingInUse { path, segments, needed_bytes } => write!(
                f,
                "{}: made that small, the store would lose its event ring, with {} of pinned sessions and the list of pins. \
                 Nothing was changed. It needs {} MiB (--store-size, or a larger --event-share); to take the event ring away \
                 with all that is in it, extract what is needed and say --event-share 0%",
                path.display(),
                Counted((*segments).into(), "segment"),
                needed_bytes.div_ceil(1 << 20)
            ),
            Self::Option { what } => f.write_str(what),
            Self::TooManyInterfaces => f.write_str("too many different interfaces for one store"),
            Self::NotDurable { packets, message } => {
                write!(f, "{} lost because storage failed: {message}", Counted(*packets, "packet"))
            }
            Self::Thread(error) => write!(f, "cannot start the writer's thread: {error}"),
            Self::Volume(error) => error.fmt(f),
            Self::Fat(error) => error.fmt(f),
            Self::Unreadable(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Volume(error) => error.source(),
            Self::Fat(error) => error.source(),
            Self::Thread(error) => Some(error),
            _ => None,
        }
    }
}

impl From<VolumeError> for StoreError {
    fn from(error: VolumeError) -> Self {
        Self::Volume(error)
    }
}

impl From<FatError> for StoreError {
    fn from(error: FatError) -> Self {
        Self::Fat(error)
    }
}

impl From<OpenError> for StoreError {
    fn from(error: OpenError) -> Self {
        Self::Fat(error.into())
    }
}
