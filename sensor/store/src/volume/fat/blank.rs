//! Formatting with nobody there to ask: only a device that nobody uses.

use super::error::{FatError, dev_error};
use super::format::{self, FormatOptions};
use super::layout::Layout;
use super::probe::{self, Content, Finding};
use crate::volume::aligned::AlignedBuf;
use crate::volume::block::{BlockDev, SECTOR_BYTES};

/// How much of a device must hold nothing, for it to count as one that nobody uses: every file system and partition table
/// writes there, and programs that put data onto a bare device begin at its start. 8 MiB.
pub const BLANK_BYTES: u64 = 8 << 20;
const STEP: usize = 1 << 20;

/// What [`format_blank`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// It is an empty store now.
    Formatted(Layout),
    /// Nothing, for it is in use: with what, or `None` when it is a Hindcap card.
    Left(Option<Content>),
}

/// As [`super::format()`], but touches only a device whose first [`BLANK_BYTES`] are all zero or all 0xFF, or whose
/// formatting a power cut ended; in every other case nothing is written.
///
/// # Errors
/// As [`super::format()`].
pub fn format_blank(dev: &mut impl BlockDev, options: &FormatOptions) -> Result<Done, FatError> {
    match probe::find(dev)? {
        Finding::Ring(located) => {
            // The cut came between the ring sectors and the very last ones: all that they describe is there.
            if !probe::is_unfinished(&probe::sector(dev, 0)?) {
                return Ok(Done::Left(None));
            }
            format::repair(dev, &located)?;
            Ok(Done::Formatted(located.layout))
        }
        Finding::Other(Content::Unfinished) => format::format(dev, options).map(Done::Formatted),
        Finding::Other(Content::Blank) if is_blank(dev)? => format::format(dev, options).map(Done::Formatted),
        Finding::Other(Content::Blank) => Ok(Done::Left(Some(Content::Unknown))),
        Finding::Other(content) => Ok(Done::Left(Some(content))),
    }
}

fn is_blank(dev: &impl BlockDev) -> Result<bool, FatError> {
    let mut buf = AlignedBuf::new(STEP);
    let sectors = dev.geometry().sectors.min(BLANK_BYTES / SECTOR_BYTES as u64);
    let mut erased = None;
    for at in (0..sectors).step_by(STEP / SECTOR_BYTES) {
        let bytes = (sectors - at).min((STEP / SECTOR_BYTES) as u64) as usize * SECTOR_BYTES;
        dev.read(at, &mut buf[..bytes]).map_err(dev_error("read", dev.name()))?;
        let erased = *erased.get_or_insert(buf[0]);
        if !matches!(erased, 0 | 0xFF) || buf[..bytes].iter().any(|byte| *byte != erased) {
            return Ok(false);
        }
    }
    Ok(true)
}
