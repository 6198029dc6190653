//! What has arrived of a result. The receiver drives the transfer: the sensor sends what an acknowledgement lacks, never
//! more than a window ahead.

use alloc::vec;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::blob::Blob;
use super::ulid::Ulid;
use crate::limits::ACK_BITMAP_BYTES_MAX;

/// Which chunks of a result have arrived: all below `complete_below`, and those after it whose bit is set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ack {
    /// [`super::SCHEMA`].
    pub schema: u16,
    /// The job: the request's identifier.
    pub job: Ulid,
    /// Chunks 0 to `complete_below` - 1 have arrived.
    pub complete_below: u32,
    /// Bit `n` (byte `n / 8`, least significant bit first): chunk `complete_below + n` has arrived.
    #[serde(default)]
    pub bitmap: Blob,
    /// The receiver has waited in vain: whatever it lacks was lost and is to be sent again.
    #[serde(default)]
    pub resend: bool,
}

impl Ack {
    /// Whether chunk `index` has arrived.
    #[must_use]
    pub fn has(&self, index: u32) -> bool {
        let Some(offset) = index.checked_sub(self.complete_below) else { return true };
        let byte = self.bitmap.0.get(offset as usize / 8).copied().unwrap_or(0);
        byte >> (offset % 8) & 1 == 1
    }
}

/// The chunks of a result that are there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkSet {
    words: Vec<u64>,
    total: u32,
    complete_below: u32,
    count: u32,
}

impl ChunkSet {
    /// None of `total` chunks.
    #[must_use]
    pub fn new(total: u32) -> Self {
        Self { words: vec![0; total.div_ceil(64) as usize], total, complete_below: 0, count: 0 }
    }

    /// Number of chunks there will be.
    #[must_use]
    pub const fn total(&self) -> u32 {
        self.total
    }

    /// Number of chunks that are there.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// All chunks below this one are there.
    #[must_use]
    pub const fn complete_below(&self) -> u32 {
        self.complete_below
    }

    /// Whether all chunks are there.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.count == self.total
    }

    /// Whether chunk `index` is there.
    #[must_use]
    pub fn has(&self, index: u32) -> bool {
        self.words.get(index as usize / 64).is_some_and(|word| word >> (index % 64) & 1 == 1)
    }

    /// Notes chunk `index`; whether it is new. Indexes beyond the total are ignored.
    pub fn insert(&mut self, index: u32) -> bool {
        if index >= self.total || self.has(index) {
            return false;
        }
        self.words[index as usize / 64] |= 1 << (index % 64);
        self.count += 1;
        while self.complete_below < self.total && self.has(self.complete_below) {
            self.complete_below += 1;
        }
        true
    }

    /// Notes everything that `ack` names; how many are new.
    pub fn merge(&mut self, ack: &Ack) -> u32 {
        let before = self.count;
        let complete = self.complete_below..ack.complete_below.min(self.total);
        let bits = u32::try_from(ack.bitmap.0.len().min(ACK_BITMAP_BYTES_MAX) * 8).unwrap_or(0);
        let named =
            (0..bits).filter_map(|bit| ack.complete_below.checked_add(bit)).filter(|index| ack.has(*index));
        for index in complete.chain(named) {
            self.insert(index);
        }
        self.count - before
    }

    /// The acknowledgement of what is there.
    #[must_use]
    pub fn ack(&self, job: Ulid, resend: bool) -> Ack {
        let base = self.complete_below;
        let mut bitmap = vec![0_u8; ACK_BITMAP_BYTES_MAX];
        for (byte, first) in bitmap.iter_mut().zip((base..).step_by(8)) {
            *byte = (0..8).fold(0, |bits, bit| bits | u8::from(self.has(first.saturating_add(bit))) << bit);
        }
        let used = bitmap.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        bitmap.truncate(used);
        Ack { schema: super::SCHEMA, job, complete_below: base, bitmap: Blob(bitmap), resend }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: Ulid = Ulid(7);

    #[test]
    fn an_ack_tells_what_is_there() {
        let mut there = ChunkSet::new(200);
        for index in [0, 1, 2, 5, 64, 130] {
            assert!(there.insert(index) && !there.insert(index));
        }
        assert!(!there.insert(200) && !there.insert(u32::MAX));
        let ack = there.ack(JOB, false);
        assert_eq!((ack.complete_below, ack.bitmap.0.len()), (3, 16));
        for index in 0..200 {
            assert_eq!(ack.has(index), there.has(index), "{index}");
        }
        let mut known = ChunkSet::new(200);
        assert_eq!(known.merge(&ack), 6);
        assert_eq!((known.merge(&ack), known), (0, there));
    }

    #[test]
    fn the_last_chunk_completes() {
        let mut there = ChunkSet::new(65);
        (0..65).rev().for_each(|index| assert!(there.insert(index)));
        assert!(there.is_complete());
        assert!(there.ack(JOB, false).bitmap.0.is_empty());
        assert!(ChunkSet::new(0).is_complete());
    }

    #[test]
    fn absurd_acks_are_harmless() {
        let mut known = ChunkSet::new(10);
        let absurd = Ack {
            schema: 1,
            job: JOB,
            complete_below: u32::MAX - 1,
            bitmap: Blob(vec![0xff; 4096]),
            resend: true,
        };
        assert_eq!(known.merge(&absurd), 10);
        assert!(known.is_complete());
    }
}
