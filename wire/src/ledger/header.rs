//! The header block of a segment: whose it is and which turn of the ring.

use super::{Blocks, ClockAt, Cursor, SHB_BYTES, block_type, u32_at, u64_at};
use crate::time::{ClockState, Timestamp};

/// Where the header block starts: right after the section header.
pub const HEADER_OFFSET: usize = SHB_BYTES;
/// Length of the header block, framing included.
pub const HEADER_BYTES: usize = 116;
/// Where it ends; within the first sector, so that it is written whole or not at all.
pub const HEADER_END: usize = HEADER_OFFSET + HEADER_BYTES;

const MAGIC: [u8; 8] = *b"HCSEGMT1";
const CRC_AT: usize = 100;
const _: () = assert!(HEADER_END <= 512 && HEADER_BYTES == super::BLOCK_OVERHEAD_BYTES + CRC_AT + 4);

/// What a segment says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The store it belongs to.
    pub store: [u8; 16],
    /// From 1; each segment written gets the next.
    pub generation: u64,
    /// Bytes of the whole segment.
    pub segment_bytes: u32,
    /// Mount in which it was begun.
    pub epoch: u32,
    /// When it was begun: both clocks at the commit of its first batch.
    pub begun: ClockAt,
    /// Chain value of the segment before, zeros when unknown.
    pub chain_before: [u8; 32],
}

impl SegmentHeader {
    /// Writes section header and header block to the front of `out`; returns [`HEADER_END`].
    pub fn encode(&self, out: &mut [u8]) -> usize {
        let at = super::put_shb(out);
        let block = &mut out[at..at + HEADER_BYTES];
        let mut cursor = Cursor::new(block);
        cursor
            .u32(block_type::HEADER)
            .u32(HEADER_BYTES as u32)
            .put(&MAGIC)
            .put(&self.store)
            .u64(self.generation);
        cursor.u32(self.segment_bytes).u32(self.epoch).u64(self.begun.wall.0).put(&self.chain_before);
        cursor.u64(self.begun.boot).u64(self.begun.monotonic_nanos).u32(self.begun.clock.code().into());
        let crc = crc32fast::hash(&block[8..8 + CRC_AT]);
        Cursor::new(&mut block[8 + CRC_AT..]).u32(crc).u32(HEADER_BYTES as u32);
        HEADER_END
    }

    /// Reads it from the first bytes of a segment (at least [`HEADER_END`]). `None` when there is no whole header: the
    /// segment was never used, or its first sector is damaged.
    #[must_use]
    pub fn decode(segment_start: &[u8]) -> Option<Self> {
        // The section header before it says nothing that is needed here.
        let block = segment_start.get(HEADER_OFFSET..HEADER_END)?;
        let header = Blocks::new(block).next().filter(|block| block.block_type == block_type::HEADER)?;
        let body = header.body;
        if body.get(..8)? != MAGIC || u32_at(body, CRC_AT)? != crc32fast::hash(body.get(..CRC_AT)?) {
            return None;
        }
        Some(Self {
            store: body[8..24].try_into().ok()?,
            generation: u64_at(body, 24)?,
            segment_bytes: u32_at(body, 32)?,
            epoch: u32_at(body, 36)?,
            chain_before: body[48..80].try_into().ok()?,
            begun: ClockAt {
                boot: u64_at(body, 80)?,
                wall: Timestamp(u64_at(body, 40)?),
                monotonic_nanos: u64_at(body, 88)?,
                clock: ClockState::from_code(u16::try_from(u32_at(body, 96)?).ok()?)?,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn header() -> SegmentHeader {
        SegmentHeader {
            store: *b"0123456789abcdef",
            generation: 7,
            segment_bytes: 64 << 20,
            epoch: 3,
            begun: ClockAt {
                boot: 5,
                wall: Timestamp(1_700_000_000_000_000_001),
                monotonic_nanos: 6,
                clock: ClockState::Synchronised,
            },
            chain_before: [9; 32],
        }
    }

    #[test]
    fn header_comes_back_and_any_flipped_bit_is_seen() {
        let mut bytes = [0; 512];
        assert_eq!(header().encode(&mut bytes), HEADER_END);
        assert_eq!(SegmentHeader::decode(&bytes), Some(header()));
        assert_eq!(&bytes[36..44], b"HCSEGMT1", "FORMAT.md: magic at offset 36 of the segment");
        for bit in HEADER_OFFSET * 8..HEADER_END * 8 {
            let mut broken = bytes;
            broken[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::decode(&broken), None, "bit {bit}");
        }
        assert_eq!(SegmentHeader::decode(&[0; 512]), None);
        assert_eq!(SegmentHeader::decode(&bytes[..100]), None);
    }
}
