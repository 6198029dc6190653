//! The summary page: the last 16 KiB of a sealed segment. Whoever reads it knows what the segment holds and where its
//! index lies, without reading anything else.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::{ClockLine, Cursor, block_type, u32_at, u64_at};
use crate::drops::DropCounts;
use crate::limits::PAGE_BYTES;
use crate::packet::Interface;
use crate::policy::{LeftOut, PolicyStep};
use crate::time::{ClockState, Timestamp};

const MAGIC: [u8; 8] = *b"HCSUM001";
const DOC_AT: usize = 44;
const CRC_AT: usize = PAGE_BYTES as usize - 8;

/// Stands for "no hash was kept".
pub const NO_CHAIN: [u8; 32] = [0; 32];

/// What a sealed segment holds (postcard: append fields only with a new magic).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// The store it belongs to.
    pub store: [u8; 16],
    /// When it was begun and sealed, wall clock.
    pub created: Timestamp,
    /// See `created`.
    pub sealed: Timestamp,
    /// Earliest and latest timestamp; (MAX, MIN) without packets.
    pub times: (Timestamp, Timestamp),
    /// Packets.
    pub packets: u64,
    /// Captured bytes (sum of caplen).
    pub captured_bytes: u64,
    /// Batches, damaged ones not counted.
    pub batches: u32,
    /// Drops while it was open.
    pub drops: DropCounts,
    /// Left out by policy while it was open.
    pub left_out: LeftOut,
    /// The last policy step, see [`Happened`](super::Happened).
    pub step: Option<PolicyStep>,
    /// Whether anything happened in it, see [`Happened`](super::Happened).
    pub eventful: bool,
    /// Clock state of its last commit.
    pub clock: ClockState,
    /// How its clock was set, [`super::CLOCK_LINES_MAX`] at most; none in an import.
    pub clock_lines: Vec<ClockLine>,
    /// False when no flow records could be built while it was written; `reindex` builds them.
    pub has_flows: bool,
    /// Interfaces in the order of their numbers.
    pub interfaces: Vec<Interface>,
    /// BLAKE3 of bytes `[0, data bytes)`; zeros when the chain is off.
    pub hash: [u8; 32],
    /// Chain value of the segment before, zeros when unknown.
    pub chain_before: [u8; 32],
    /// Chain value of this segment; zeros when the chain is off.
    pub chain: [u8; 32],
}

/// The whole page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SummaryPage {
    /// The segment's generation: a page of another turn of the ring is no summary.
    pub generation: u64,
    /// End of the last batch, bytes from the start of the segment.
    pub data_bytes: u32,
    /// Where the index block starts (its first encoded byte lies 8 bytes later).
    pub index_offset: u32,
    /// Bytes of the encoded index.
    pub index_bytes: u32,
    /// CRC-32 of the encoded index.
    pub index_crc: u32,
    /// The rest.
    pub summary: Summary,
}

impl SummaryPage {
    /// Bytes of the page.
    pub const BYTES: usize = PAGE_BYTES as usize;

    /// Writes the page to `out`, which is exactly one page. `None` when the document does not fit (it always does with
    /// names and interfaces inside their limits).
    #[must_use]
    pub fn encode(&self, out: &mut [u8]) -> Option<()> {
        let doc = postcard::to_allocvec(&self.summary).ok()?;
        if doc.len() > CRC_AT - DOC_AT || out.len() != Self::BYTES {
            return None;
        }
        out.fill(0);
        let mut cursor = Cursor::new(out);
        cursor.u32(block_type::SUMMARY).u32(PAGE_BYTES).put(&MAGIC).u64(self.generation).u32(self.data_bytes);
        cursor
            .u32(self.index_offset)
            .u32(self.index_bytes)
            .u32(self.index_crc)
            .u32(doc.len() as u32)
            .put(&doc);
        let crc = crc32fast::hash(&out[..CRC_AT]);
        Cursor::new(&mut out[CRC_AT..]).u32(crc).u32(PAGE_BYTES);
        Some(())
    }

    /// Reads a page; `None` when the bytes are no whole summary page.
    #[must_use]
    pub fn decode(page: &[u8]) -> Option<Self> {
        if page.len() != Self::BYTES
            || u32_at(page, 0)? != block_type::SUMMARY
            || u32_at(page, 4)? != PAGE_BYTES
            || page[8..16] != MAGIC
            || u32_at(page, CRC_AT)? != crc32fast::hash(&page[..CRC_AT])
        {
            return None;
        }
        let doc_bytes = u32_at(page, 40)? as usize;
        Some(Self {
            generation: u64_at(page, 16)?,
            data_bytes: u32_at(page, 24)?,
            index_offset: u32_at(page, 28)?,
            index_bytes: u32_at(page, 32)?,
            index_crc: u32_at(page, 36)?,
            summary: postcard::from_bytes(page.get(DOC_AT..DOC_AT.checked_add(doc_bytes)?)?).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use super::super::CLOCK_LINES_MAX;
    use super::*;
    use crate::limits::{INTERFACE_NAME_BYTES_MAX, INTERFACES_MAX};
    use crate::packet::LinkType;
    use crate::policy::Policy;

    fn page() -> SummaryPage {
        let name: String = core::iter::repeat_n('x', INTERFACE_NAME_BYTES_MAX).collect();
        let interface = Interface { link_type: LinkType(u16::MAX), snaplen: u32::MAX, name };
        let most = Timestamp(u64::MAX);
        let line = ClockLine {
            first_page: u16::MAX,
            boot: u64::MAX,
            base: u64::MAX,
            from: u64::MAX,
            to: u64::MAX,
            clock: ClockState::Unknown,
        };
        SummaryPage {
            generation: u64::MAX,
            data_bytes: u32::MAX,
            index_offset: 1,
            index_bytes: 2,
            index_crc: 3,
            summary: Summary {
                store: [1; 16],
                created: most,
                sealed: most,
                times: (most, most),
                packets: u64::MAX,
                captured_bytes: u64::MAX,
                batches: u32::MAX,
                drops: DropCounts([u64::MAX; 6]),
                left_out: LeftOut::of([u64::MAX; 3]),
                step: Some(PolicyStep { since: most, policy: Policy::of([u64::MAX, !0xff | 2]).unwrap() }),
                eventful: true,
                clock: ClockState::Unknown,
                clock_lines: core::iter::repeat_n(line, CLOCK_LINES_MAX).collect(),
                has_flows: true,
                interfaces: core::iter::repeat_n(interface, INTERFACES_MAX).collect(),
                hash: [2; 32],
                chain_before: [3; 32],
                chain: [4; 32],
            },
        }
    }

    #[test]
    fn the_largest_summary_fits_and_comes_back() {
        let mut bytes = alloc::vec![0xAA; SummaryPage::BYTES];
        page().encode(&mut bytes).unwrap();
        assert_eq!(SummaryPage::decode(&bytes), Some(page()));
        for bit in (0..bytes.len() * 8).step_by(61) {
            let mut broken = bytes.clone();
            broken[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SummaryPage::decode(&broken), None, "bit {bit}");
        }
    }
}
