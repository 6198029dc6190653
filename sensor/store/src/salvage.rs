//! Both state slots are damaged, but every used segment says in its header which store it is of and how long segments
//! are: the state is made anew from them, if all of them agree.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use hindcap_wire::ledger::{HEADER_END, SegmentHeader};

use crate::StoreError;
use crate::layout::SEGMENTS_MIN;
use crate::resize::numbers;
use crate::state::State;
use crate::volume::Area;
use crate::volume::dir::{area_path, io_error};

/// The state of the store in directory `path`, told by its segments. The odometer begins
/// with what the ring's generations tell.
///
/// # Errors
/// No segment tells, or they do not agree, or the system failed.
pub(crate) fn state_of(path: &Path) -> Result<State, StoreError> {
    let lost = |reason: String| StoreError::StateLost { path: path.to_path_buf(), reason };
    let present = numbers(path)?;
    let Some(highest) = present.last().copied().filter(|_| present.len() >= SEGMENTS_MIN as usize) else {
        return Err(lost(String::from("there are fewer than two segments")));
    };
    let mut state: Option<State> = None;
    for number in present {
        let file = area_path(path, Area::Segment(number));
        let length = fs::metadata(&file).map_err(io_error("inspect", &file))?.len();
        let Some(header) = header(&file) else { continue };
        let found = State {
            epoch: header.epoch.max(state.as_ref().map_or(0, |state| state.epoch)),
            clean: false,
            ..State::new(header.store, header.segment_bytes, highest + 1)
        };
        let agrees = state.is_none_or(|state| State { epoch: found.epoch, ..state } == found);
        if !agrees || length != u64::from(header.segment_bytes) {
            return Err(lost(format!(
                "segments/{number:06}.pcapng is of another store or size than the ones before; move what does not \
                 belong here to another place"
            )));
        }
        state = Some(found);
    }
    state.ok_or_else(|| lost(String::from("no segment holds anything that tells what store this was")))
}

/// Whether any segment below `path` says that it is of a store.
pub(crate) fn has_segments(path: &Path) -> bool {
    let used = |number: &u32| header(&area_path(path, Area::Segment(*number))).is_some();
    numbers(path).is_ok_and(|numbers| numbers.iter().any(used))
}

fn header(file: &Path) -> Option<SegmentHeader> {
    let mut start = [0; HEADER_END];
    File::open(file).and_then(|file| file.read_exact_at(&mut start, 0)).ok()?;
    SegmentHeader::decode(&start)
}
