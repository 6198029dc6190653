//! The state area: two slots of 4 KiB, written in turn, each with a CRC (docs/FORMAT.md, "State slot").

use serde::{Deserialize, Serialize};

use crate::holds::Keep;
use crate::volume::{Area, VolumeError, VolumeRead, VolumeWrite};
use crate::wear::Wear;

/// The version of the format that this program writes and reads.
pub const FORMAT_VERSION: u32 = 1;
/// Bytes of a slot.
pub const SLOT_BYTES: usize = 4096;
/// Bytes of the area.
pub const STATE_BYTES: u64 = 2 * SLOT_BYTES as u64;

const MAGIC: [u8; 8] = *b"HINDCAP\0";
const DOC_AT: usize = 16;
const CRC_AT: usize = SLOT_BYTES - 4;

/// What a store knows about itself beside its segments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Identity, in every header and summary.
    pub uuid: [u8; 16],
    /// Rises with every write of the state; the higher slot counts.
    pub writes: u64,
    /// Bytes of a segment.
    pub segment_bytes: u32,
    /// Segments in the ring.
    pub segments: u32,
    /// Rises with every mount for writing.
    pub epoch: u32,
    /// What has gone to the medium since the store was made, and what follows from it.
    pub wear: Wear,
    /// Whether the last recorder ended in order.
    pub clean: bool,
    /// What is kept, and for how long.
    pub keep: Keep,
}

/// What the two slots say.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // one at a time, on its way through a function
pub enum Slots {
    /// The newer whole slot.
    Whole(State),
    /// A whole slot of another version of the format.
    Version(u32),
    /// Neither slot is whole.
    Damaged,
}

impl State {
    /// The state of a new store.
    #[must_use]
    pub fn new(uuid: [u8; 16], segment_bytes: u32, segments: u32) -> Self {
        Self {
            uuid,
            writes: 0,
            segment_bytes,
            segments,
            epoch: 0,
            wear: Wear::default(),
            clean: true,
            keep: Keep::default(),
        }
    }

    /// The bytes of a slot.
    #[must_use]
    pub fn encode(&self) -> [u8; SLOT_BYTES] {
        let mut slot = [0; SLOT_BYTES];
        slot[..8].copy_from_slice(&MAGIC);
        slot[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        let length = postcard::to_slice(self, &mut slot[DOC_AT..CRC_AT]).map_or(0, |doc| doc.len());
        slot[12..16].copy_from_slice(&(length as u32).to_le_bytes());
        let crc = crc32fast::hash(&slot[..CRC_AT]);
        slot[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        slot
    }

    /// Reads a slot; the error is the version of a whole slot that is not ours.
    fn decode(slot: &[u8]) -> Option<Result<Self, u32>> {
        let u32_at = |at: usize| slot.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
        if slot.get(..8)? != MAGIC || u32_at(CRC_AT)? != crc32fast::hash(&slot[..CRC_AT]) {
            return None;
        }
        if u32_at(8)? != FORMAT_VERSION {
            return Some(Err(u32_at(8)?));
        }
        let doc = slot.get(DOC_AT..DOC_AT.checked_add(u32_at(12)? as usize)?)?;
        postcard::from_bytes(doc).ok().map(Ok)
    }

    /// Reads both slots.
    ///
    /// # Errors
    /// The volume cannot be read.
    pub fn load(volume: &impl VolumeRead) -> Result<Slots, VolumeError> {
        let mut bytes = [0; 2 * SLOT_BYTES];
        volume.read(Area::State, 0, &mut bytes)?;
        Ok(Self::choose(&bytes))
    }

    /// Chooses between the two slots in `bytes`.
    #[must_use]
    pub fn choose(bytes: &[u8]) -> Slots {
        let slots = bytes.chunks_exact(SLOT_BYTES).filter_map(Self::decode);
        let (mut newest, mut other): (Option<Self>, Option<u32>) = (None, None);
        for slot in slots {
            match slot {
                Ok(state) if newest.as_ref().is_none_or(|best| best.writes < state.writes) => {
                    newest = Some(state)
                }
                Ok(_) => {}
                Err(version) => other = Some(version),
            }
        }
        match (newest, other) {
            (_, Some(version)) => Slots::Version(version),
            (Some(state), None) => Slots::Whole(state),
            (None, None) => Slots::Damaged,
        }
    }

    /// Writes the next state into the slot that does not hold the present one, durably.
    ///
    /// # Errors
    /// The volume failed; the slot before still counts.
    pub fn store(&mut self, volume: &mut impl VolumeWrite) -> Result<(), VolumeError> {
        self.writes += 1;
        let slot = self.writes % 2 * SLOT_BYTES as u64;
        volume.write(Area::State, slot, &self.encode())?;
        volume.flush(Area::State)
    }

    /// Writes the state into both slots, one after the other, each durable before the next: what must not depend on a
    /// single slot, such as a hold.
    ///
    /// # Errors
    /// The volume failed. After the first slot the state counts, after neither the one before does.
    pub fn store_twice(&mut self, volume: &mut impl VolumeWrite) -> Result<(), VolumeError> {
        self.store(volume)?;
        self.store(volume)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(writes: u64, epoch: u32) -> State {
        State { writes, epoch, clean: true, ..State::new([7; 16], 64 << 20, 30) }
    }

    #[test]
    fn the_newer_whole_slot_counts() {
        let (old, new) = (state(4, 2), state(5, 3));
        let mut bytes = [old.encode(), new.encode()].concat();
        assert_eq!(State::choose(&bytes), Slots::Whole(new.clone()));
        bytes[SLOT_BYTES + 100] ^= 1;
        assert_eq!(State::choose(&bytes), Slots::Whole(old), "the torn slot does not count");
        bytes[20] ^= 1;
        assert_eq!(State::choose(&bytes), Slots::Damaged);
        assert_eq!(State::choose(&[]), Slots::Damaged);
    }

    #[test]
    fn another_version_is_told_apart_from_damage() {
        let mut slot = state(4, 2).encode();
        slot[8] = 2;
        let crc = crc32fast::hash(&slot[..CRC_AT]);
        slot[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(State::choose(&slot), Slots::Version(2));
    }
}
