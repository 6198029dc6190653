//! Whether the medium is there: what its errors mean, and what a person is told.
//!
//! An operation fails in one of two ways. The medium may be there and refuse (a bad block, full, read-only, the end of its
//! life): the segment is given up and another is tried. Or the medium is not there any more, which only opening it again
//! can end. Which of the two it is, the error says (`ENODEV`), or the medium itself, when it is asked for something else.

use std::fmt;
use std::io;

use hindcap_wire::time::Timestamp;
use rustix::io::Errno;

use crate::StoreError;
use crate::volume::VolumeError;
use crate::volume::block::OpenError;
use crate::volume::fat::FatError;

/// What keeps a medium from being recorded to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing is at its place: no card in the slot, not plugged in, not mounted.
    Missing,
    /// What is there is no store of ours. It is never touched.
    Foreign,
    /// It can be read but not written: write protection, or the end of its life.
    ReadOnly,
    /// The sensor's user may not open it: `EACCES`, as after a device was made anew with another owner.
    Denied,
    /// Somebody else holds it: mounted, or another process.
    Busy,
    /// It answers with errors.
    Failing,
}

impl Trouble {
    /// Stable name, as in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Foreign => "foreign",
            Self::ReadOnly => "read_only",
            Self::Denied => "denied",
            Self::Busy => "busy",
            Self::Failing => "failing",
        }
    }

    /// What a person should do.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Missing => "put the card in, or connect or mount the medium; recording goes on by itself",
            Self::Foreign => {
                "this card is not a Hindcap ring: put in one that is, or, if nothing on it is needed, format it with \
                 'hindcapd format'; recording then begins by itself"
            }
            Self::ReadOnly => {
                "the medium is write-protected or at its end of life: extract what is needed (it can still be read) and \
                 replace it"
            }
            Self::Denied => {
                "give the user that hindcapd runs as the right to read and write it (chown); recording goes on by itself"
            }
            Self::Busy => "let go of it (umount, or end the other process); recording goes on by itself",
            Self::Failing => "look at the medium and its slot; if this does not end by itself, replace it",
        }
    }

    /// What an error of a volume means, as far as it tells by itself.
    pub(crate) fn of_volume(error: &VolumeError) -> Self {
        match error {
            VolumeError::Io { source, .. } => Self::of_io(source),
            VolumeError::OutOfRange { .. } => Self::Failing,
        }
    }

    fn of_io(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::NotFound || is_gone(error) {
            return Self::Missing;
        }
        if error.raw_os_error() == Some(Errno::ACCESS.raw_os_error()) {
            return Self::Denied;
        }
        // A block device that was made read-only turns writes down with EPERM (Linux, block/fops.c).
        let read_only = [Errno::ROFS, Errno::PERM].map(Errno::raw_os_error);
        if error.raw_os_error().is_some_and(|errno| read_only.contains(&errno)) {
            return Self::ReadOnly;
        }
        Self::Failing
    }

    fn of_open(error: &OpenError) -> Self {
        match error {
            OpenError::Io { source, .. } => Self::of_io(source),
            OpenError::NoDevice { .. } | OpenError::Sectors { .. } => Self::Foreign,
            OpenError::Mounted { .. } | OpenError::InUse { .. } => Self::Busy,
        }
    }

    /// Why a store cannot be opened.
    #[must_use]
    pub fn of(error: &StoreError) -> Self {
        match error {
            StoreError::InUse { .. } => Self::Busy,
            // An empty mount point.
            StoreError::NotAStore { .. } => Self::Missing,
            StoreError::Volume(error) => Self::of_volume(error),
            StoreError::Fat(FatError::Open(error)) => Self::of_open(error),
            StoreError::Fat(FatError::Io { source, .. }) => Self::of_io(source),
            StoreError::Fat(_)
            | StoreError::Foreign { .. }
            | StoreError::Version { .. }
            | StoreError::StateLost { .. }
            | StoreError::TooSmall { .. } => Self::Foreign,
            _ => Self::Failing,
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "the medium is not there",
            Self::Foreign => "what is there is no Hindcap store",
            Self::ReadOnly => "the medium cannot be written",
            Self::Denied => "the medium may not be opened",
            Self::Busy => "the medium is held by somebody else",
            Self::Failing => "the medium fails",
        })
    }
}

/// Whether the error says that the medium itself is away. A plain `EIO` does not: a bad block gives the same.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    let gone = [Errno::NXIO, Errno::NODEV, Errno::NOMEDIUM, Errno::STALE, Errno::NOTCONN];
    error.raw_os_error().is_some_and(|errno| gone.map(Errno::raw_os_error).contains(&errno))
}

/// Whether a write was turned down before it began.
pub(crate) fn is_refused(error: &VolumeError) -> bool {
    let refused = [Errno::ROFS, Errno::PERM, Errno::ACCESS, Errno::NOSPC, Errno::DQUOT];
    matches!(error, VolumeError::Io { operation: "write" | "open", source, .. }
        if source.raw_os_error().is_some_and(|errno| refused.map(Errno::raw_os_error).contains(&errno)))
}

/// As [`is_gone`].
pub(crate) fn has_gone(error: &VolumeError) -> bool {
    matches!(error, VolumeError::Io { source, .. } if is_gone(source))
}

/// A medium that is not recorded to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediumTrouble {
    /// What keeps it from being recorded to.
    pub trouble: Trouble,
    /// Since when nothing is recorded to it.
    pub since: Timestamp,
    /// What the system or the volume said.
    pub detail: String,
}

/// Another card was put in while recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swapped {
    /// When it was taken into use.
    pub at: Timestamp,
    /// Identity of the store before.
    pub before: [u8; 16],
    /// Identity of the store in use.
    pub now: [u8; 16],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_what_is_the_matter() {
        let of = |errno: Errno| Trouble::of_io(&io::Error::from_raw_os_error(errno.raw_os_error()));
        for (errno, trouble) in [
            (Errno::NODEV, Trouble::Missing),
            (Errno::NOMEDIUM, Trouble::Missing),
            (Errno::NOENT, Trouble::Missing),
            (Errno::ROFS, Trouble::ReadOnly),
            (Errno::PERM, Trouble::ReadOnly),
            (Errno::ACCESS, Trouble::Denied),
            (Errno::IO, Trouble::Failing),
            (Errno::NOSPC, Trouble::Failing),
        ] {
            assert_eq!(of(errno), trouble, "{errno:?}");
        }
        assert!(!is_gone(&io::Error::from_raw_os_error(Errno::IO.raw_os_error())), "it must be asked");
        let removed = io::Error::new(io::ErrorKind::NotFound, "the segment was removed");
        assert!(!is_gone(&removed), "a removed file is not a removed card");
    }
}
