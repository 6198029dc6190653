//! How large the areas of a store are.

use hindcap_wire::limits::PAGE_BYTES;

use crate::catalog::Layout;
use crate::state::STATE_BYTES;
use crate::volume::Geometry;

/// What a store takes beside its areas: directories, `LOCK`, and the notes for people.
const OVERHEAD_BYTES: u64 = 64 * 1024;
/// Notes for people, per segment.
const NOTES_BYTES: u64 = 128;

/// Bytes of the catalog area, a whole number of pages.
#[must_use]
pub const fn catalog_bytes(segment_bytes: u32, segments: u32) -> u64 {
    let geometry = Geometry { segment_bytes, segments, sector_bytes: 512 };
    Layout::of(&geometry).area_bytes().div_ceil(PAGE_BYTES as u64) * PAGE_BYTES as u64
}

/// Bytes of a whole store.
#[must_use]
pub const fn store_bytes(segment_bytes: u32, segments: u32) -> u64 {
    let notes = segments as u64 * NOTES_BYTES * 2; // twice: while they are replaced
    segments as u64 * segment_bytes as u64
        + catalog_bytes(segment_bytes, segments)
        + STATE_BYTES
        + OVERHEAD_BYTES
        + notes
}

/// Segments that a store of at most `quota` bytes can have.
#[must_use]
pub fn segments_within(segment_bytes: u32, quota: u64) -> u32 {
    let mut segments = u32::try_from(quota / u64::from(segment_bytes)).unwrap_or(u32::MAX).min(SEGMENTS_MAX);
    while segments > 0 && store_bytes(segment_bytes, segments) > quota {
        segments -= 1;
    }
    segments
}

/// Most segments of a store: six digits in their names, and a generation table of 8 MiB.
pub const SEGMENTS_MAX: u32 = 999_999;
/// Fewest: one is written while the other still holds what came before.
pub const SEGMENTS_MIN: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quota_includes_everything() {
        for segment_bytes in [4 << 20, 64 << 20] {
            for quota in [0, 8 << 20, 130 << 20, 2 << 30, 64_000_000_000] {
                let segments = segments_within(segment_bytes, quota);
                assert!(segments == 0 || store_bytes(segment_bytes, segments) <= quota);
                assert!(store_bytes(segment_bytes, segments + 1) > quota, "one more would not fit");
            }
        }
        assert_eq!(segments_within(64 << 20, 2 << 30), 31);
    }
}
