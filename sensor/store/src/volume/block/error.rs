//! Why there is no device.

use std::path::PathBuf;
use std::{fmt, io};

/// Why a device cannot be opened.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// The system refused.
    Io {
        /// What was attempted.
        operation: &'static str,
        /// The device.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Neither a block device nor a regular file.
    NoDevice {
        /// What it was taken for.
        path: PathBuf,
    },
    /// The device, or a partition of it, is mounted.
    Mounted {
        /// The device.
        path: PathBuf,
        /// Where.
        at: String,
    },
    /// Another process writes to it.
    InUse {
        /// The device.
        path: PathBuf,
    },
    /// Its sectors are not of 512 bytes.
    Sectors {
        /// The device.
        path: PathBuf,
        /// Their size.
        bytes: u32,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { operation, path, source } => write!(f, "{operation} {}: {source}", path.display()),
            Self::NoDevice { path } => {
                write!(f, "{}: neither a block device nor an image file", path.display())
            }
            Self::Mounted { path, at } => {
                write!(f, "{}: mounted at {at}; unmount it first (umount {at})", path.display())
            }
            Self::InUse { path } => write!(f, "{}: in use by another process", path.display()),
            Self::Sectors { path, bytes } => {
                write!(f, "{}: sectors of {bytes} bytes; only 512 are supported", path.display())
            }
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
