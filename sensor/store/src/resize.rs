//! Making the ring as large as it should be: growing allocates files, shrinking removes the oldest segments and moves
//! the newest into their names. Every step leaves a store that opens, and the next open goes on from wherever a crash
//! left it, because the ring is what files there are, not what the state says.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use hindcap_wire::counted::Counted;
use hindcap_wire::ledger::{HEADER_END, SegmentHeader};

use crate::holds::Keep;
use crate::layout::{SEGMENTS_MIN, catalog_bytes, segments_within, store_bytes};
use crate::state::State;
use crate::volume::dir::{self, CATALOG_FILE, SEGMENTS_DIR, area_path, io_error};
use crate::volume::{Area, VolumeError};
use crate::{Health, StoreError};

/// Holds the room for the state and the notes while the ring is made.
const RESERVE_FILE: &str = "reserve";
const RESERVE_BYTES: u64 = 64 * 1024;

/// Makes the files of a new ring of at most `quota` bytes; returns how many segments it has.
pub(crate) fn allocate_ring(
    path: &Path,
    segment_bytes: u32,
    quota: u64,
    health: &Health,
) -> Result<u32, StoreError> {
    let wanted = segments_within(segment_bytes, quota);
    if wanted < SEGMENTS_MIN {
        let needed_bytes = store_bytes(segment_bytes, SEGMENTS_MIN);
        return Err(StoreError::TooSmall { path: path.to_path_buf(), needed_bytes, available_bytes: quota });
    }
    // Small files first, so that the ring does not take their room.
    dir::allocate(&path.join(CATALOG_FILE), catalog_bytes(segment_bytes, wanted))?;
    grow(path, segment_bytes, wanted, &Keep::default(), health)
}

/// Gives an existing ring `wanted` segments; returns how many it has then. Held segments stay, and half of the ring with
/// them: for their sake the ring stays larger than asked for, and says so.
pub(crate) fn resize(path: &Path, state: &State, wanted: u32, health: &Health) -> Result<u32, StoreError> {
    let present = numbers(path)?;
    let held = present.iter().filter(|number| state.keep.is_held(generation(path, **number))).count();
    let least = u32::try_from(present.len().min((2 * held).max(held + 2))).unwrap_or(u32::MAX);
    let wanted = if held > 0 && wanted < least {
        health.warn(format!(
            "{}: {} asked for, but {held} held: the store keeps {least}; release holds and start again to make it smaller",
            path.display(),
            Counted(wanted.into(), "segment")
        ));
        least
    } else {
        wanted
    };
    if present.iter().any(|number| *number >= wanted) {
        shrink(path, &present, wanted, &state.keep)?;
    }
    let segments = grow(path, state.segment_bytes, wanted, &state.keep, health)?;
    dir::allocate(&path.join(CATALOG_FILE), catalog_bytes(state.segment_bytes, segments))?;
    Ok(segments)
}

/// Allocates what is missing of segments `0..wanted`, as far as there is room.
fn grow(
    path: &Path,
    segment_bytes: u32,
    wanted: u32,
    keep: &Keep,
    health: &Health,
) -> Result<u32, StoreError> {
    let missing = numbers(path)?.len() < wanted as usize;
    if !missing {
        return allocate_segments(path, segment_bytes, wanted, keep, health);
    }
    // What is written beside the ring must find room on a full file system.
    let reserve = path.join(SEGMENTS_DIR).join(RESERVE_FILE);
    let reserved = dir::allocate(&reserve, RESERVE_BYTES);
    let segments = match reserved {
        Err(error) if !matches!(&error, VolumeError::Io { source, .. } if is_full(source)) => {
            Err(error.into())
        }
        _ => allocate_segments(path, segment_bytes, wanted, keep, health),
    };
    fs::remove_file(&reserve).map_err(io_error("remove", &reserve))?;
    segments
}

fn allocate_segments(
    path: &Path,
    segment_bytes: u32,
    wanted: u32,
    keep: &Keep,
    health: &Health,
) -> Result<u32, StoreError> {
    for number in 0..wanted {
        let file = area_path(path, Area::Segment(number));
        let Err(error) = dir::allocate(&file, segment_bytes.into()) else { continue };
        let full = matches!(&error, VolumeError::Io { source, .. } if is_full(source));
        if !full {
            return Err(error.into());
        }
        fs::remove_file(&file).map_err(io_error("remove", &file))?;
        if number < SEGMENTS_MIN {
            let needed_bytes = store_bytes(segment_bytes, SEGMENTS_MIN);
            let available_bytes = u64::from(number) * u64::from(segment_bytes);
            return Err(StoreError::TooSmall { path: path.to_path_buf(), needed_bytes, available_bytes });
        }
        health.warn(format!(
            "{}: room for {number} of {wanted} segments only; the store is smaller than asked for",
            path.display()
        ));
        shrink(path, &numbers(path)?, number, keep)?;
        dir::sync_dir(&path.join(SEGMENTS_DIR))?;
        return Ok(number);
    }
    dir::sync_dir(&path.join(SEGMENTS_DIR))?;
    Ok(wanted)
}

/// No space, or over a quota of the file system.
fn is_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
}

/// Keeps the held and then the newest segments of those `present`, `wanted` in all, named `0..wanted`.
fn shrink(path: &Path, present: &[u32], wanted: u32, keep: &Keep) -> Result<(), StoreError> {
    let mut by_age = Vec::with_capacity(present.len());
    for &number in present {
        by_age.push((generation(path, number), number));
    }
    // Held ones, then newest first; of two without content the lower number stays.
    by_age.sort_by_key(|(generation, number)| {
        (!keep.is_held(*generation), std::cmp::Reverse(*generation), *number)
    });
    let (kept, dropped) = by_age.split_at(by_age.len().min(wanted as usize));
    for &(_, number) in dropped {
        let file = area_path(path, Area::Segment(number));
        fs::remove_file(&file).map_err(io_error("remove", &file))?;
    }
    let mut free = (0..wanted).filter(|number| !kept.iter().any(|(_, kept)| kept == number));
    for &(_, number) in kept.iter().filter(|(_, number)| *number >= wanted) {
        let Some(place) = free.next() else { break };
        let (from, to) = (area_path(path, Area::Segment(number)), area_path(path, Area::Segment(place)));
        fs::rename(&from, &to).map_err(io_error("rename", &from))?;
    }
    dir::sync_dir(&path.join(SEGMENTS_DIR))?;
    Ok(())
}

/// Generation of a segment, 0 when it holds nothing that can be read.
pub(crate) fn generation(path: &Path, number: u32) -> u64 {
    let mut start = [0; HEADER_END];
    let read =
        File::open(area_path(path, Area::Segment(number))).and_then(|file| file.read_exact_at(&mut start, 0));
    read.ok().and_then(|()| SegmentHeader::decode(&start)).map_or(0, |header| header.generation)
}

/// Numbers of the segments that exist, ascending.
pub(crate) fn numbers(path: &Path) -> Result<Vec<u32>, StoreError> {
    let path = path.join(SEGMENTS_DIR);
    let mut numbers = Vec::new();
    for entry in fs::read_dir(&path).map_err(io_error("list", &path))? {
        let name = entry.map_err(io_error("list", &path))?.file_name();
        let number =
            name.to_str().and_then(|name| name.strip_suffix(".pcapng")).filter(|stem| stem.len() == 6);
        numbers.extend(number.and_then(|stem| stem.parse::<u32>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}
