//! Making a segment unreadable: first as a whole, then chunk by chunk.

use hindcap_wire::limits::{CHUNK_BYTES, PAGE_BYTES};

use crate::StoreError;
use crate::volume::aligned::AlignedBuf;
use crate::volume::{Area, VolumeError, VolumeWrite};

/// Empties chunk `chunk` of a segment and reads what is left. With the first go summary and header, each durable before the
/// next: without its summary the segment still reads whole by its batches, without its header it counts as unused.
pub(super) fn empty_chunk(volume: &mut impl VolumeWrite, segment: u32, chunk: u32) -> Result<(), StoreError> {
    let area = Area::Segment(segment);
    let zeros = AlignedBuf::new(CHUNK_BYTES as usize);
    if chunk == 0 {
        let page = PAGE_BYTES as usize;
        // One sector changes, which is written whole or not at all: a page that is torn is as before, or without its header.
        let mut first = AlignedBuf::new(page);
        volume.read(area, 0, &mut first)?;
        first[..volume.geometry().sector_bytes as usize].fill(0);
        let summary = (u64::from(volume.geometry().segment_bytes - PAGE_BYTES), &zeros[..page]);
        let header = (0, &first[..page]);
        let order = [summary, header];
        #[cfg(test)]
        let order = if HEADER_FIRST.get() { [header, summary] } else { order };
        for (at, bytes) in order {
            volume.write(area, at, bytes)?;
            volume.flush(area)?;
        }
    }
    let at = u64::from(chunk) * u64::from(CHUNK_BYTES);
    let mut read = AlignedBuf::new(CHUNK_BYTES as usize);
    if is_empty(volume, area, at, &mut read)? {
        return Ok(());
    }
    let erased = volume.erase(area, at, CHUNK_BYTES.into())?;
    volume.flush(area)?;
    if erased && is_empty(volume, area, at, &mut read)? {
        return Ok(());
    }
    volume.write(area, at, &zeros)?;
    volume.flush(area)?;
    if is_empty(volume, area, at, &mut read)? {
        return Ok(());
    }
    Err(StoreError::Unreadable(format!(
        "chunk {chunk} of segment {segment} does not read as zeros after it was erased"
    )))
}

#[cfg(test)]
thread_local! {
    /// A broken ager, for the canary: the header goes while the summary still stands.
    static HEADER_FIRST: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Makes the ager of this thread begin with the header.
#[cfg(test)]
pub(crate) fn header_goes_first(first: bool) {
    HEADER_FIRST.set(first);
}

fn is_empty(
    volume: &impl VolumeWrite,
    area: Area,
    at: u64,
    buf: &mut AlignedBuf,
) -> Result<bool, VolumeError> {
    volume.read(area, at, buf)?;
    Ok(buf.iter().all(|byte| *byte == 0))
}
