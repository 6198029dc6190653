//! How large each part of an index may become. Everything follows from the size of the segment, so that the same
//! packets always give the same index, wherever and by whomever it is built.
//!
//! For the default segment of 64 MiB the parts are: 20,480 flows, 20,480 IPv4 and 10,240 IPv6 hosts, 16,384 nodes of
//! postings, 1,024 batches, 512 MACs, four Bloom filters of 32 KiB; index, catalog slot and summary page together stay
//! under 1 % of the segment.

use serde::{Deserialize, Serialize};

use crate::limits::SEGMENT_BYTES_MIN;
use crate::limits::{CHUNK_BYTES, INTERFACES_MAX, PAGE_BYTES, SEGMENT_BYTES_DEFAULT, SEGMENT_BYTES_MAX};

/// Quarters of a segment, each with its own overflow filter.
pub const QUARTERS: usize = 4;
/// Bytes of an interface name kept in the index; longer names are cut.
pub const INTERFACE_NAME_MAX: usize = 24;
/// Encoded bytes of one interface: link type, snaplen, name length, name.
const INTERFACE_BYTES_MAX: usize = 2 + 5 + 1 + INTERFACE_NAME_MAX;
/// Encoded bytes reserved per batch entry; if the entries need more on average, neighbours are merged.
const BATCH_BYTES_MEAN: u32 = 32;
/// Encoded bytes of one MAC entry.
pub const MAC_BYTES: usize = 14;
/// Header, section directory and the small fixed fields of the sections.
const FRAME_BYTES: u32 = 512;
/// An entry of the catalog.
const CATALOG_ENTRY_BYTES: u32 = 128;
/// Alignment of filter slots: the largest sector.
const SLOT_ALIGN: u32 = 4096;

/// The bounds of one segment's index. Make it with [`IndexLimits::for_segment`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexLimits {
    /// Bytes of the segment.
    pub segment_bytes: u32,
    /// Pages of the segment.
    pub pages: u32,
    /// Encoded bytes of the whole index, at most.
    pub index_bytes: u32,
    /// Of these, what flows, hosts, postings and overflow filters share; the rest is reserved for the other sections.
    pub flow_bytes: u32,
    /// Flow records.
    pub flows: u32,
    /// IPv4 hosts.
    pub hosts_v4: u32,
    /// IPv6 hosts.
    pub hosts_v6: u32,
    /// Nodes of 16 bytes for postings that do not fit into a flow record.
    pub posting_nodes: u32,
    /// Batch entries before neighbours are merged.
    pub batches: u32,
    /// Encoded bytes of the batch table.
    pub batch_bytes: u32,
    /// Bytes of copied event blocks.
    pub event_bytes: u32,
    /// MAC addresses.
    pub macs: u32,
    /// Bytes of each of the four overflow filters.
    pub overflow_bytes: u32,
    /// Bytes of the segment's filter slot in the catalog.
    pub slot_bytes: u32,
}

impl IndexLimits {
    /// The bounds for segments of `segment_bytes`. Above 64 MiB the tables stay as they are for 64 MiB, so that memory
    /// stays bounded; such segments overflow earlier.
    #[must_use]
    pub const fn for_segment(segment_bytes: u32) -> Self {
        let pages = segment_bytes / PAGE_BYTES;
        // Tables scale with the chunks up to the default size.
        let chunks =
            if segment_bytes < SEGMENT_BYTES_DEFAULT { segment_bytes } else { SEGMENT_BYTES_DEFAULT }
                / CHUNK_BYTES;
        let slot_bytes = (chunks * 768).div_ceil(SLOT_ALIGN) * SLOT_ALIGN;
        // Room for the summary page and for rounding the tail to pages; small segments have less of both.
        let tail = if segment_bytes / 512 < 2 * PAGE_BYTES { segment_bytes / 512 } else { 2 * PAGE_BYTES };
        let index_bytes = segment_bytes / 100 - slot_bytes - CATALOG_ENTRY_BYTES - tail;
        let (flows, batches, event_bytes, macs) = (chunks * 320, chunks * 16, chunks * 256, chunks * 8);
        let batch_bytes = batches * BATCH_BYTES_MEAN;
        let fixed = FRAME_BYTES
            + pages * 6
            + batch_bytes
            + event_bytes
            + (INTERFACES_MAX * INTERFACE_BYTES_MAX) as u32
            + macs * MAC_BYTES as u32
            + pages.div_ceil(8)
            + flows.div_ceil(8);
        Self {
            segment_bytes,
            pages,
            index_bytes,
            flow_bytes: index_bytes - fixed,
            flows,
            hosts_v4: chunks * 320,
            hosts_v6: chunks * 160,
            posting_nodes: chunks * 256,
            batches,
            batch_bytes,
            event_bytes,
            macs,
            overflow_bytes: chunks * 512,
            slot_bytes,
        }
    }

    /// The quarter of the segment that `page` lies in.
    #[must_use]
    pub const fn quarter(&self, page: u16) -> usize {
        let quarter = page as usize * QUARTERS / self.pages as usize;
        if quarter < QUARTERS { quarter } else { QUARTERS - 1 }
    }

    /// Pages of `quarter`, `[start, end)`.
    #[must_use]
    pub const fn quarter_pages(&self, quarter: usize) -> (u32, u32) {
        let (pages, quarter) = (self.pages, quarter as u32);
        ((quarter * pages).div_ceil(QUARTERS as u32), ((quarter + 1) * pages).div_ceil(QUARTERS as u32))
    }

    /// The bit of a MAC entry that stands for `page`: the segment in 64 equal parts.
    #[must_use]
    pub const fn mac_part(&self, page: u16) -> u32 {
        let part = page as u32 * 64 / self.pages;
        if part < 64 { part } else { 63 }
    }
}

const _: () = {
    let mut segment_bytes = SEGMENT_BYTES_MIN;
    while segment_bytes <= SEGMENT_BYTES_MAX {
        let limits = IndexLimits::for_segment(segment_bytes);
        // `index_bytes - fixed` did not underflow, and one flow per quarter fits beside all four overflow filters.
        assert!(limits.flow_bytes < limits.index_bytes);
        assert!(limits.overflow_bytes * (QUARTERS as u32) + 8192 < limits.flow_bytes);
        assert!(limits.flows < u16::MAX as u32 && limits.posting_nodes < u16::MAX as u32);
        segment_bytes += CHUNK_BYTES;
    }
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quarters_and_parts_cover_every_page_once() {
        for segment_bytes in [4, 5, 7, 64, 512].map(|chunks| chunks * CHUNK_BYTES) {
            let limits = IndexLimits::for_segment(segment_bytes);
            for page in 0..limits.pages as u16 {
                let (start, end) = limits.quarter_pages(limits.quarter(page));
                assert!((start..end).contains(&page.into()), "{page} of {}", limits.pages);
                assert!(limits.mac_part(page) < 64);
            }
            assert_eq!(limits.quarter_pages(QUARTERS - 1).1, limits.pages);
        }
    }

    #[test]
    fn all_that_describes_a_segment_fits_into_one_percent() {
        let limits = IndexLimits::for_segment(SEGMENT_BYTES_DEFAULT);
        assert!(
            limits.index_bytes + limits.slot_bytes + CATALOG_ENTRY_BYTES + 2 * PAGE_BYTES
                <= SEGMENT_BYTES_DEFAULT / 100
        );
        assert_eq!((limits.slot_bytes, limits.flows), (48 * 1024, 20_480));
    }
}
