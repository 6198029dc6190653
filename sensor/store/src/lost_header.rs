//! A segment whose first sector is damaged: its batches and its summary tell what the header said.
//!
//! Every batch names its generation under a CRC that is keyed with the store's identity, so the newest whole batch tells
//! which turn of the ring the segment holds. Only looked for where most of the sector still reads like a header of ours,
//! or a summary of this store stands at the end: a card that held something else before is not read through at mount.

use hindcap_wire::ledger::{
    ClockAt, Commit, HEADER_END, HEADER_OFFSET, NO_CHAIN, SegmentHeader, Summary, SummaryPage,
};
use hindcap_wire::limits::{CHUNK_BYTES, PAGE_BYTES};

use crate::volume::{Area, VolumeRead};

/// Section header, and of the header block its type, length, magic and the store's identity: the same in every segment.
const FIXED: usize = HEADER_OFFSET + 8 + 8 + 16;

/// What the header of segment `number` must have said, made from its newest batch or its summary. `start` is what stands
/// in its place. Reads the whole segment.
pub(crate) fn find(
    volume: &impl VolumeRead,
    store: &[u8; 16],
    number: u32,
    start: &[u8; HEADER_END],
) -> Option<SegmentHeader> {
    let summary = summary(volume, store, number);
    if summary.is_none() && !resembles(start, store) {
        return None;
    }
    let batches = newest(volume, store, number);
    let segment_bytes = volume.geometry().segment_bytes;
    match (summary, batches) {
        // A segment that was being written over again still has the summary of the turn before.
        (Some(page), batches) if batches.is_none_or(|found| found.generation <= page.generation) => {
            Some(SegmentHeader {
                store: *store,
                generation: page.generation,
                segment_bytes,
                epoch: batches.map_or(0, |found| found.epoch),
                begun: begun(&page.summary),
                chain_before: page.summary.chain_before,
            })
        }
        (_, Some(Newest { generation, epoch, begun })) => Some(SegmentHeader {
            store: *store,
            generation,
            segment_bytes,
            epoch,
            begun,
            chain_before: NO_CHAIN,
        }),
        (_, None) => None,
    }
}

/// Whether half of what is the same in every header still stands there.
fn resembles(start: &[u8; HEADER_END], store: &[u8; 16]) -> bool {
    let mut like = [0; HEADER_END];
    let header = SegmentHeader {
        store: *store,
        generation: 0,
        segment_bytes: 0,
        epoch: 0,
        begun: ClockAt::default(),
        chain_before: NO_CHAIN,
    };
    header.encode(&mut like);
    start.iter().zip(&like).take(FIXED).filter(|(is, was)| is == was).count() * 2 >= FIXED
}

fn summary(volume: &impl VolumeRead, store: &[u8; 16], number: u32) -> Option<SummaryPage> {
    let mut page = vec![0; SummaryPage::BYTES];
    let at = u64::from(volume.geometry().segment_bytes) - SummaryPage::BYTES as u64;
    volume.read(Area::Segment(number), at, &mut page).ok()?;
    SummaryPage::decode(&page).filter(|page| page.summary.store == *store)
}

/// What the header of a segment with this summary must have said of the clocks; the time since boot is lost with it, and
/// whoever needs that asks the summary.
pub(crate) const fn begun(summary: &Summary) -> ClockAt {
    ClockAt { boot: 0, wall: summary.created, monotonic_nanos: 0, clock: summary.clock }
}

/// What the batches of the highest generation say.
#[derive(Clone, Copy)]
struct Newest {
    generation: u64,
    /// Of the first of them.
    epoch: u32,
    begun: ClockAt,
}

fn newest(volume: &impl VolumeRead, store: &[u8; 16], number: u32) -> Option<Newest> {
    let (mut newest, mut chunk): (Option<Newest>, _) = (None, vec![0; CHUNK_BYTES as usize]);
    for at in (0..volume.geometry().segment_bytes).step_by(CHUNK_BYTES as usize) {
        if volume.read(Area::Segment(number), at.into(), &mut chunk).is_err() {
            continue;
        }
        for end in (PAGE_BYTES..=CHUNK_BYTES).step_by(PAGE_BYTES as usize) {
            let Some(commit) = batch_that_ends(store, at, &chunk[..end as usize]) else { continue };
            if newest.is_none_or(|newest| newest.generation < commit.generation) {
                let (generation, epoch, begun) = (commit.generation, commit.epoch, commit.clock_at());
                newest = Some(Newest { generation, epoch, begun });
            }
        }
    }
    newest
}

/// The commit of the whole batch that ends at the end of `bytes`, which start at `base` in the segment.
fn batch_that_ends(store: &[u8; 16], base: u32, bytes: &[u8]) -> Option<Commit> {
    let claim = Commit::at_end_of(bytes)?;
    let start = claim.offset.checked_sub(base)? as usize;
    Commit::check(store, claim.generation, claim.offset, bytes.get(start..)?)
}
