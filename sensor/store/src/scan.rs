//! Finding the batches of a segment: for recovery, verification, reindexing.
//!
//! A batch counts when [`Commit::check`] says so, nothing else does. Batches are found by walking blocks from one batch
//! end to the next; behind damage, by the commit blocks that lie at page ends and name where their batch starts. Every
//! chunk that was filled ends with a commit block, which tells how far to look.

use std::ops::Range;

use hindcap_wire::ledger::{Blocks, COMMIT_BYTES, Commit, SegmentHeader, block_type};
use hindcap_wire::limits::{CHUNK_BYTES, PAGE_BYTES};

use crate::volume::{Area, VolumeRead};

const CHUNK: usize = CHUNK_BYTES as usize;
const PAGE: usize = PAGE_BYTES as usize;

/// What a walk over a segment found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scan {
    /// End of the last whole batch, bytes from the start of the segment; 0 when there is none.
    pub end: u32,
    /// Whole batches.
    pub batches: u32,
    /// Ranges before `end` that belong to no whole batch.
    pub damaged: Vec<Range<u32>>,
}

/// Walks the batches of segment `number` and hands each to `visit`, in order. `chunk` is the caller's buffer of one chunk.
pub(crate) fn scan_batches(
    volume: &impl VolumeRead,
    number: u32,
    header: &SegmentHeader,
    chunk: &mut [u8],
    mut visit: impl FnMut(&Commit, &[u8]),
) -> Scan {
    let mut scan = Scan::default();
    let chunks = header.segment_bytes / CHUNK_BYTES;
    let mut full = full_chunks(volume, number, header, 0..chunks);
    let mut next = 0;
    while next < chunks && next <= full {
        read_chunk(volume, number, next, chunk);
        let base = next * CHUNK_BYTES;
        let mut at = 0;
        while at < CHUNK {
            let Some((start, commit)) = next_batch(header, base, at, chunk) else { break };
            let (from, bytes) = (base + start as u32, commit.bytes as usize);
            if scan.end < from {
                scan.damaged.push(scan.end..from);
            }
            visit(&commit, &chunk[start..start + bytes]);
            at = start + bytes;
            scan.end = base + at as u32;
            scan.batches += 1;
        }
        next += 1;
        // A chunk can end in a batch although its last commit could not be read at first.
        if scan.end == next * CHUNK_BYTES {
            full = full.max(next);
        }
    }
    scan
}

/// How many chunks from the start up to the last one that ends with a commit block of this generation.
fn full_chunks(volume: &impl VolumeRead, number: u32, header: &SegmentHeader, chunks: Range<u32>) -> u32 {
    let ends_with_commit = |chunk: &u32| {
        let mut block = [0; COMMIT_BYTES];
        let at = u64::from(chunk + 1) * u64::from(CHUNK_BYTES) - COMMIT_BYTES as u64;
        let read = volume.read(Area::Segment(number), at, &mut block);
        read.is_ok() && Commit::decode(&block).is_some_and(|commit| commit.generation == header.generation)
    };
    chunks.rev().find(ends_with_commit).map_or(0, |last| last + 1)
}

/// Reads a chunk; what cannot be read becomes zeros, page by page.
fn read_chunk(volume: &impl VolumeRead, number: u32, index: u32, chunk: &mut [u8]) {
    let area = Area::Segment(number);
    let base = u64::from(index) * u64::from(CHUNK_BYTES);
    if volume.read(area, base, chunk).is_ok() {
        return;
    }
    for (page, bytes) in chunk.chunks_exact_mut(PAGE).enumerate() {
        if volume.read(area, base + (page * PAGE) as u64, bytes).is_err() {
            bytes.fill(0);
        }
    }
}

/// The first whole batch that starts at or behind `at` in the chunk at `base`: where it starts, and its commit.
fn next_batch(header: &SegmentHeader, base: u32, at: usize, chunk: &[u8]) -> Option<(usize, Commit)> {
    let check = |start: usize, end: usize| {
        Commit::check(&header.store, header.generation, base + start as u32, chunk.get(start..end)?)
    };
    // As it should be: the blocks lead from here to a commit.
    let mut blocks = Blocks::new(&chunk[at..]);
    if blocks.any(|block| block.block_type == block_type::COMMIT) {
        if let Some(commit) = check(at, at + blocks.position()) {
            return Some((at, commit));
        }
    }
    // Behind damage: what commit blocks at page ends say about themselves.
    (at / PAGE + 1..=chunk.len() / PAGE).map(|page| page * PAGE).find_map(|end| {
        let claim = Commit::at_end_of(&chunk[..end])?;
        let start = claim.offset.checked_sub(base)? as usize;
        (start >= at).then(|| check(start, end).map(|commit| (start, commit)))?
    })
}

/// A buffer for [`scan_batches`].
pub(crate) fn chunk_buffer() -> Vec<u8> {
    vec![0; CHUNK]
}
