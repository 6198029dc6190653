//! The commit block: the last bytes of every batch, and the only proof that a batch exists.

use super::{ClockAt, Cursor, block_type, u16_at, u32_at, u64_at};
use crate::drops::{DropCause, DropCounts};
use crate::limits::{CHUNK_BYTES, PAGE_BYTES};
use crate::policy::LeftOut;
use crate::time::{ClockState, Timestamp};

/// Length of a commit block, framing included.
pub const COMMIT_BYTES: usize = 196;

const MAGIC: [u8; 4] = *b"HCCM";
/// Bytes after the CRC's coverage: the CRC itself and the block trailer.
const UNCOVERED_BYTES: usize = 8;

/// What a batch says about itself and about its segment so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Position of the batch in the segment, from 0.
    pub sequence: u32,
    /// The segment's generation.
    pub generation: u64,
    /// Mount in which it was written.
    pub epoch: u32,
    /// Offset of the batch in the segment, bytes.
    pub offset: u32,
    /// Bytes of the batch, this block included.
    pub bytes: u32,
    /// Packets in the batch.
    pub packets: u32,
    /// Earliest and latest timestamp in the batch; (MAX, MIN) when it has no packets.
    pub times: (Timestamp, Timestamp),
    /// Earliest and latest timestamp in the segment so far.
    pub segment_times: (Timestamp, Timestamp),
    /// Packets in the segment so far.
    pub segment_packets: u64,
    /// Captured bytes (sum of caplen) in the segment so far.
    pub segment_captured_bytes: u64,
    /// Drops since the commit before.
    pub drops: DropCounts,
    /// Left out by policy since the commit before.
    pub left_out: LeftOut,
    /// Wall clock at the commit.
    pub wall: Timestamp,
    /// Monotonic clock at the commit, nanoseconds since boot.
    pub monotonic_nanos: u64,
    /// Number of the boot that it counts from; 0 when nobody knows.
    pub boot: u64,
    /// Whether the wall clock could be trusted.
    pub clock: ClockState,
    /// Interfaces announced in the segment so far, those of this batch included.
    pub interfaces: u16,
}

/// The CRC that every batch of a store starts from. It is keyed with the uuid so that no packet from the wire can carry
/// a batch that this store would believe.
#[must_use]
pub fn batch_crc_start(store: &[u8; 16]) -> crc32fast::Hasher {
    let mut crc = crc32fast::Hasher::new();
    crc.update(store);
    crc
}

impl Commit {
    /// Bytes of the batch that the CRC covers, counted from its start.
    #[must_use]
    pub const fn covered_bytes(batch_bytes: usize) -> usize {
        batch_bytes - UNCOVERED_BYTES
    }

    /// Writes the block to `out` (exactly [`COMMIT_BYTES`]), with a CRC field of zero: see [`Commit::seal`].
    pub fn encode(&self, out: &mut [u8]) {
        let mut cursor = Cursor::new(out);
        cursor
            .u32(block_type::COMMIT)
            .u32(COMMIT_BYTES as u32)
            .put(&MAGIC)
            .u32(self.sequence)
            .u64(self.generation);
        cursor.u32(self.epoch).u32(self.offset).u32(self.bytes).u32(self.packets);
        for time in [self.times.0, self.times.1, self.segment_times.0, self.segment_times.1] {
            cursor.u64(time.0);
        }
        cursor.u64(self.segment_packets).u64(self.segment_captured_bytes);
        for count in self.drops.0.into_iter().chain(self.left_out.counts()) {
            cursor.u64(count);
        }
        cursor
            .u64(self.wall.0)
            .u64(self.monotonic_nanos)
            .u64(self.boot)
            .u16(self.clock.code())
            .u16(self.interfaces)
            .u32(0)
            .u32(COMMIT_BYTES as u32);
        debug_assert_eq!(cursor.at, COMMIT_BYTES);
    }

    /// Sets the CRC field of a batch whose covered bytes have `crc`.
    pub fn seal(batch: &mut [u8], crc: u32) {
        let at = Self::covered_bytes(batch.len());
        batch[at..at + 4].copy_from_slice(&crc.to_le_bytes());
    }

    /// Reads a commit block, framing included, and checks that what it says is possible. The CRC is not looked at.
    #[must_use]
    pub fn decode(block: &[u8]) -> Option<Self> {
        let block = block.get(..COMMIT_BYTES)?;
        let framed = u32_at(block, 0)? == block_type::COMMIT
            && u32_at(block, 4)? as usize == COMMIT_BYTES
            && u32_at(block, COMMIT_BYTES - 4)? as usize == COMMIT_BYTES
            && block[8..12] == MAGIC;
        let mut drops = DropCounts::default();
        for (slot, at) in drops.0.iter_mut().zip((88..).step_by(8)) {
            *slot = u64_at(block, at)?;
        }
        let at = 88 + 8 * DropCause::COUNT;
        let left_out = LeftOut::of([u64_at(block, at)?, u64_at(block, at + 8)?, u64_at(block, at + 16)?]);
        let at = at + 24;
        let commit = Self {
            sequence: u32_at(block, 12)?,
            generation: u64_at(block, 16)?,
            epoch: u32_at(block, 24)?,
            offset: u32_at(block, 28)?,
            bytes: u32_at(block, 32)?,
            packets: u32_at(block, 36)?,
            times: (Timestamp(u64_at(block, 40)?), Timestamp(u64_at(block, 48)?)),
            segment_times: (Timestamp(u64_at(block, 56)?), Timestamp(u64_at(block, 64)?)),
            segment_packets: u64_at(block, 72)?,
            segment_captured_bytes: u64_at(block, 80)?,
            drops,
            left_out,
            wall: Timestamp(u64_at(block, at)?),
            monotonic_nanos: u64_at(block, at + 8)?,
            boot: u64_at(block, at + 16)?,
            clock: ClockState::from_code(u16_at(block, at + 24)?)?,
            interfaces: u16_at(block, at + 26)?,
        };
        (framed && commit.is_possible()).then_some(commit)
    }

    /// The clocks at the commit.
    #[must_use]
    pub const fn clock_at(&self) -> ClockAt {
        let Self { boot, wall, monotonic_nanos, clock, .. } = *self;
        ClockAt { boot, wall, monotonic_nanos, clock }
    }

    /// The commit that ends at the end of `page_end`, if the bytes there are one.
    #[must_use]
    pub fn at_end_of(page_end: &[u8]) -> Option<Self> {
        Self::decode(page_end.get(page_end.len().checked_sub(COMMIT_BYTES)?..)?)
    }

    /// Whole pages, inside one chunk.
    fn is_possible(&self) -> bool {
        let Some(end) = self.offset.checked_add(self.bytes) else { return false };
        self.bytes > 0
            && self.offset % PAGE_BYTES == 0
            && self.bytes % PAGE_BYTES == 0
            && self.offset / CHUNK_BYTES == (end - 1) / CHUNK_BYTES
    }

    /// Whether `batch` is a batch of this generation at this offset: its commit, when everything agrees.
    #[must_use]
    pub fn check(store: &[u8; 16], generation: u64, offset: u32, batch: &[u8]) -> Option<Self> {
        let commit = Self::at_end_of(batch)?;
        if commit.generation != generation || commit.offset != offset || commit.bytes as usize != batch.len()
        {
            return None;
        }
        let covered = Self::covered_bytes(batch.len());
        let mut crc = batch_crc_start(store);
        crc.update(&batch[..covered]);
        (u32_at(batch, covered)? == crc.finalize()).then_some(commit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORE: [u8; 16] = *b"0123456789abcdef";

    fn commit() -> Commit {
        Commit {
            sequence: 5,
            generation: 7,
            epoch: 2,
            offset: 3 * PAGE_BYTES,
            bytes: PAGE_BYTES,
            packets: 11,
            times: (Timestamp(1), Timestamp(2)),
            segment_times: (Timestamp(0), Timestamp(3)),
            segment_packets: 99,
            segment_captured_bytes: 12_345,
            drops: DropCounts([1, 2, 3, 4, 5, 6]),
            left_out: LeftOut { packets: 7, truncated: 8, bytes: 9 },
            wall: Timestamp(77),
            monotonic_nanos: 88,
            boot: 99,
            clock: ClockState::Synchronised,
            interfaces: 3,
        }
    }

    fn batch() -> Vec<u8> {
        let mut batch: Vec<u8> = (0..PAGE_BYTES).map(|i| (i % 251) as u8).collect();
        let at = batch.len() - COMMIT_BYTES;
        commit().encode(&mut batch[at..]);
        let mut crc = batch_crc_start(&STORE);
        crc.update(&batch[..Commit::covered_bytes(PAGE_BYTES as usize)]);
        Commit::seal(&mut batch, crc.finalize());
        batch
    }

    #[test]
    fn a_whole_batch_is_believed_and_nothing_else() {
        let good = batch();
        assert_eq!(Commit::check(&STORE, 7, 3 * PAGE_BYTES, &good), Some(commit()));
        assert_eq!(Commit::check(&STORE, 8, 3 * PAGE_BYTES, &good), None, "another generation");
        assert_eq!(Commit::check(&STORE, 7, 2 * PAGE_BYTES, &good), None, "another place");
        assert_eq!(Commit::check(&[0; 16], 7, 3 * PAGE_BYTES, &good), None, "another store");
        for bit in (0..good.len() * 8).step_by(97).chain((good.len() - COMMIT_BYTES) * 8..good.len() * 8) {
            let mut broken = good.clone();
            broken[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Commit::check(&STORE, 7, 3 * PAGE_BYTES, &broken), None, "bit {bit}");
        }
    }

    #[test]
    fn impossible_places_are_refused() {
        let mut block = [0; COMMIT_BYTES];
        for (offset, bytes) in
            [(0, 0), (1, PAGE_BYTES), (0, 100), (CHUNK_BYTES - PAGE_BYTES, 2 * PAGE_BYTES), (u32::MAX, 1)]
        {
            Commit { offset, bytes, ..commit() }.encode(&mut block);
            assert_eq!(Commit::decode(&block), None, "{bytes} bytes at {offset}");
        }
        Commit { offset: CHUNK_BYTES - PAGE_BYTES, ..commit() }.encode(&mut block);
        assert!(Commit::decode(&block).is_some());
    }
}
