//! What a segment without a summary holds: found by its commit blocks, believed by their CRC-32.

use std::ops::Range;

use hindcap_wire::index::{IndexDoc, IndexLimits};
use hindcap_wire::ledger::{
    Blocks, COMMIT_BYTES, ClockLine, Commit, Event, block_type, note_clock, note_step,
};
use hindcap_wire::limits::{CHUNK_BYTES, PAGE_BYTES};

use super::ReadError;
use super::info::SegmentInfo;
use crate::index::Indexer;
use crate::volume::{Area, VolumeError, VolumeRead};

/// Whose batches, and of which turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    pub store: [u8; 16],
    pub segment: u32,
    pub generation: u64,
}

impl Turn {
    pub(super) const fn of(info: &SegmentInfo, store: [u8; 16]) -> Self {
        Self { store, segment: info.number, generation: info.generation }
    }

    /// The commit block that may end at `end`; only its framing and generation are checked.
    fn candidate(&self, volume: &impl VolumeRead, end: u32) -> Result<Option<Commit>, VolumeError> {
        let mut block = [0; COMMIT_BYTES];
        volume.read(Area::Segment(self.segment), u64::from(end) - COMMIT_BYTES as u64, &mut block)?;
        Ok(Commit::decode(&block).filter(|commit| self.fits(commit, end)))
    }

    fn fits(&self, commit: &Commit, end: u32) -> bool {
        commit.generation == self.generation && commit.offset + commit.bytes == end
    }

    /// Chunks, from `from` on, that may hold batches: those with a commit block at their end, and the one after.
    pub(super) fn chunks(&self, volume: &impl VolumeRead, from: u32) -> Result<Range<u32>, VolumeError> {
        let (first, all) = (from / CHUNK_BYTES, volume.geometry().segment_bytes / CHUNK_BYTES);
        let mut end = first;
        for chunk in first..all {
            if self.candidate(volume, (chunk + 1) * CHUNK_BYTES)?.is_some() {
                end = chunk + 1;
            }
        }
        Ok(first..all.min(end + 1))
    }

    /// The batches in `bytes`, which start at `offset` and end at the end of their chunk; each with its place in `bytes`.
    pub(super) fn batches<'b>(
        &'b self,
        offset: u32,
        bytes: &'b [u8],
    ) -> impl Iterator<Item = (Range<usize>, Commit)> + 'b {
        let page = PAGE_BYTES as usize;
        let (mut start, mut at) = (0, 0);
        std::iter::from_fn(move || {
            while at + page <= bytes.len() {
                at += page;
                // A packet may look like a commit block; no packet knows the CRC, which covers the store's identity.
                let end = offset + at as u32;
                let claimed = Commit::at_end_of(&bytes[..at]).filter(|commit| self.fits(commit, end));
                let Some(begin) = claimed.and_then(|claimed| claimed.offset.checked_sub(offset)) else {
                    continue;
                };
                let place = begin as usize..at;
                if place.start < start {
                    continue;
                }
                if let Some(commit) =
                    Commit::check(&self.store, self.generation, offset + begin, &bytes[place.clone()])
                {
                    start = at;
                    return Some((place, commit));
                }
            }
            None
        })
    }

    /// The last whole batch, if any.
    pub(super) fn last(&self, volume: &impl VolumeRead, from: u32) -> Result<Option<Commit>, VolumeError> {
        let mut bytes = vec![0; CHUNK_BYTES as usize];
        for chunk in self.chunks(volume, from)?.rev() {
            let offset = chunk * CHUNK_BYTES;
            volume.read(Area::Segment(self.segment), offset.into(), &mut bytes)?;
            if let Some((_, commit)) = self.batches(offset, &bytes).last() {
                return Ok(Some(commit));
            }
        }
        Ok(None)
    }
}

/// An index that grows with its segment.
#[derive(Debug)]
pub(super) struct Scan {
    pub turn: Turn,
    indexer: Indexer,
    /// Everything before this was looked at.
    reached: u32,
    /// Stretches before `reached` that hold no whole batch, though a later one does: bytes.
    damage: Vec<Range<u32>>,
    /// How its clock was set.
    clock_lines: Vec<ClockLine>,
}

impl Scan {
    pub(super) fn new(turn: Turn, limits: IndexLimits, seed: u64) -> Self {
        Self {
            turn,
            indexer: Indexer::new(limits, seed),
            reached: 0,
            damage: Vec::new(),
            clock_lines: Vec::new(),
        }
    }

    /// The index so far.
    pub(super) fn doc(&mut self) -> Result<IndexDoc, ReadError> {
        let mut bytes = self.indexer.builder().encode(Vec::new());
        bytes.shrink_to_fit();
        IndexDoc::parse(bytes).map_err(ReadError::Index)
    }

    /// End of the last whole batch.
    pub(super) const fn reached(&self) -> u32 {
        self.reached
    }

    pub(super) fn clock_lines(&self) -> &[ClockLine] {
        &self.clock_lines
    }

    pub(super) fn damage(&self) -> &[Range<u32>] {
        &self.damage
    }

    fn note_clock(&mut self, start: u32, batch: &[u8], commit: &Commit) {
        let first_page = (start / PAGE_BYTES) as u16;
        let events = Blocks::new(batch).filter(|block| block.block_type == block_type::EVENT);
        for event in events.filter_map(|block| Event::decode(block.body)) {
            note_step(&mut self.clock_lines, first_page, commit.boot, &event);
        }
        note_clock(&mut self.clock_lines, first_page, &commit.clock_at());
    }

    /// Takes in what was committed since the last call; whether there was anything.
    pub(super) fn proceed(&mut self, volume: &impl VolumeRead) -> Result<bool, VolumeError> {
        let before = self.reached;
        let mut bytes = vec![0; CHUNK_BYTES as usize];
        for chunk in self.turn.chunks(volume, before)? {
            let end = (chunk + 1) * CHUNK_BYTES;
            let offset = before.max(chunk * CHUNK_BYTES);
            let bytes = &mut bytes[..(end - offset) as usize];
            volume.read(Area::Segment(self.turn.segment), offset.into(), bytes)?;
            let turn = self.turn;
            for (place, commit) in turn.batches(offset, bytes) {
                let (start, end) = (offset + place.start as u32, offset + place.end as u32);
                if start > self.reached {
                    self.damage.push(self.reached..start);
                }
                self.note_clock(start, &bytes[place.clone()], &commit);
                self.indexer.batch(start, &bytes[place], &commit);
                self.reached = end;
            }
        }
        Ok(self.reached != before)
    }
}
