//! What an answer says of packets that were recorded before the clock was set.

use hindcap_store::reader::ClockRemark;
use hindcap_wire::time::{NANOS_PER_SEC, TimeRange};

/// So many remarks are told one by one.
const TOLD_MAX: usize = 4;

/// Adds to `notes` what of `remarks` touches `window`.
pub(crate) fn notes(remarks: &[ClockRemark], window: TimeRange, notes: &mut Vec<String>) {
    let touches = |range: TimeRange| range.start < window.end && window.start < range.end;
    let touched = remarks
        .iter()
        .filter(|remark| touches(remark.truly) || (remark.offset.is_none() && touches(remark.recorded)));
    let (told, more) = (touched.clone().take(TOLD_MAX), touched.count().saturating_sub(TOLD_MAX));
    notes.extend(told.map(text));
    if more > 0 {
        notes.push(format!("{more} more stretches were recorded before the clock was set"));
    }
}

fn text(remark: &ClockRemark) -> String {
    let ClockRemark { boot, recorded, truly, .. } = remark;
    let Some(offset) = remark.offset else {
        return format!(
            "recorded with an unset clock (boot {boot:016x}): packets with times from {} to {} are truly from some time \
             between {} and {}; nobody knows when, so only the times that they bear find them",
            recorded.start, recorded.end, truly.start, truly.end
        );
    };
    // Whole seconds are what a person compares; the times themselves are exact.
    let (sign, secs) = (if offset < 0 { '-' } else { '+' }, offset.unsigned_abs() / NANOS_PER_SEC);
    format!(
        "times from {} to {} are corrected by {sign}{secs} s: recorded before the clock was set (boot {boot:016x}, \
         recorded as {} to {})",
        truly.start, truly.end, recorded.start, recorded.end
    )
}
