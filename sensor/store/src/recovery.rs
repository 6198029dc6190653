//! What a new recorder finds: the ring, the segment that was open, and whether the last recorder ended in order.
//!
//! Nothing is believed but commit blocks. The open segment is walked once; its index, page table and hash come out as if
//! it had never been closed, and recording goes on behind its last whole batch, with the next epoch.
//!
//! Why bytes of a torn batch can never be taken for new ones: at a crash, at most the batches since the last flush are
//! torn. They lie behind the last whole batch or between whole ones, and recording goes on behind the last. The first batch
//! written there starts at the torn batch's own offset and names the new epoch, so the torn batch's CRC can never come to
//! agree again, and a commit is believed only together with the offset and length of its own batch.

use hindcap_wire::drops::DropCause;
use hindcap_wire::index::IndexLimits;
use hindcap_wire::ledger::{Blocks, Commit, EventKind, NO_CHAIN, SegmentHeader, block_type};
use hindcap_wire::limits::{CHUNK_BYTES, PAGE_BYTES};
use hindcap_wire::time::Timestamp;

use crate::catalog;
use crate::index::Indexer;
use crate::mend::{MENDED_MAX, mend};
use crate::provisional::claimed_end;
use crate::ring::{Ring, read_header};
use crate::scan::{chunk_buffer, scan_batches};
use crate::state::State;
use crate::volume::{Area, VolumeRead, VolumeWrite};
use crate::writer::notes::{Kept, Note};
use crate::writer::tables::SegmentTables;
use crate::writer::{ring_bytes, tail};

/// See the module.
#[derive(Debug)]
pub(crate) struct Found {
    pub ring: Ring,
    /// The open segment, with its number.
    pub open: Option<(u32, SegmentTables)>,
    /// Sequence of its next batch.
    pub sequence: u32,
    /// Chain value of the newest segment, when it is sealed.
    pub chain: [u8; 32],
    /// The other segments, for the notes.
    pub notes: Vec<Note>,
    /// Highest mount epoch seen on the volume.
    pub epoch: u32,
    /// The end of the open segment is gone, although its recorder ended in order.
    pub lost: Option<EventKind>,
    /// Generation of the newest segment that was open, and its last whole batch.
    pub newest: Option<(u64, Newest)>,
    /// How far the ring has come, bytes since the store was made.
    pub ring_bytes: u64,
}

/// Looks at the whole volume. `indexer` comes back with what is known of the open segment.
pub(crate) fn recover<V: VolumeWrite>(
    volume: &mut V,
    state: &State,
    hash: bool,
    indexer: &mut Indexer,
) -> Found {
    let mut ring = Ring::scan(volume, &state.uuid);
    ring.set_keep(&state.keep);
    let mut found = Found {
        ring: Ring::default(),
        open: None,
        sequence: 0,
        chain: NO_CHAIN,
        notes: Vec::new(),
        epoch: state.epoch,
        lost: None,
        newest: None,
        ring_bytes: 0,
    };
    while let Some(number) = ring.newest() {
        let Some(header) = read_header(volume, &state.uuid, number) else {
            ring.forget(number);
            continue;
        };
        found.epoch = found.epoch.max(header.epoch);
        if let Some(page) = tail::read_summary(volume, number, header.generation) {
            if !tail::blocks_whole(volume, number, &page) {
                let repaired = tail::repair_skips(volume, number, &page);
                log::warn!(
                    "segment {number}: the end of sealing was cut off; repaired: {}",
                    repaired.is_ok()
                );
            }
            found.chain = page.summary.chain;
            found.ring_bytes = header.generation * u64::from(header.segment_bytes);
            break;
        }
        let (tables, newest) = rebuild(volume, number, header, hash, indexer);
        found.ring_bytes = found.ring_bytes.max(ring_bytes(&tables));
        if let Some(newest) = newest {
            found.epoch = found.epoch.max(newest.epoch);
            found.lost = lost_end(volume, number, &header, state.epoch, &tables);
            found.newest = Some((header.generation, newest));
            if !tables.damaged.is_empty() || found.lost.is_some() {
                // The medium loses what it had said to be durable: a new place is safer than this one.
                log::warn!(
                    "segment {number}: a batch before its end is damaged; recording goes on in the next one"
                );
                indexer.reset();
                break;
            }
            found.sequence = newest.sequence + 1;
            found.open = Some((number, tables));
            break;
        }
        // Its very first batch was torn: there is nothing in it.
        indexer.reset();
        ring.forget(number);
    }
    mend_catalog(volume, &ring);
    let open = found.open.as_ref().map(|(number, _)| *number);
    found.notes = notes(volume, &ring, open);
    found.ring = ring;
    found
}

/// What an orderly recorder had at the end of segment `number` and is no longer there.
fn lost_end(
    volume: &impl VolumeRead,
    number: u32,
    header: &SegmentHeader,
    epoch: u32,
    tables: &SegmentTables,
) -> Option<EventKind> {
    let (_, entry) = claimed_end(volume, number, header, epoch).filter(|(end, _)| *end > tables.end)?;
    let start = if tables.packets == 0 { entry.first } else { tables.times.1 };
    let packets = entry.packets.saturating_sub(tables.packets);
    Some(EventKind::Gap { start, end: entry.last.max(start), cause: DropCause::StorageError, packets })
}

/// Gives the catalog what a crash took from it. Not urgent: queries find it in the tails.
fn mend_catalog(volume: &mut impl VolumeWrite, ring: &Ring) {
    match mend(volume, ring, MENDED_MAX) {
        Ok((0, _)) => {}
        Ok((mended, 0)) => log::info!("catalog: {mended} entries made from the segments' tails"),
        Ok((mended, left)) => log::warn!(
            "catalog: {mended} entries made from the segments' tails, {left} left for the next start (or reindex)"
        ),
        Err(error) => log::warn!("the catalog waits for the next start: {error}"),
    }
}

/// What all segments but the open one hold: from the catalog, or from their tails.
fn notes(volume: &impl VolumeRead, ring: &Ring, open: Option<u32>) -> Vec<Note> {
    let entries = catalog::entries(volume).unwrap_or_default();
    let note = |(segment, generation): (u32, u64)| {
        let entry = entries.get(segment as usize).copied().flatten();
        if let Some(entry) = entry.filter(|entry| entry.generation == generation) {
            let (times, packets) = ((entry.first, entry.last), entry.packets);
            return Note { segment, generation, times, packets, kept: Kept::Sealed };
        }
        match tail::read_summary(volume, segment, generation).map(|page| page.summary) {
            Some(summary) => {
                let (times, packets) = (summary.times, summary.packets);
                Note { segment, generation, times, packets, kept: Kept::Sealed }
            }
            // How much is in it, a walk would tell; a start does not take the time.
            None => {
                let times = (Timestamp::MAX, Timestamp::MIN);
                Note { segment, generation, times, packets: 0, kept: Kept::NotSealed }
            }
        }
    };
    ring.used().filter(|(number, _)| Some(*number) != open).map(note).collect()
}

/// What the last whole batch of a segment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Newest {
    pub epoch: u32,
    pub sequence: u32,
}

/// Reads a segment's batches and makes tables and index of them, from packets alone. `indexer` must be fresh.
pub(crate) fn rebuild(
    volume: &impl VolumeRead,
    number: u32,
    header: SegmentHeader,
    hash: bool,
    indexer: &mut Indexer,
) -> (SegmentTables, Option<Newest>) {
    let mut tables = SegmentTables::new(header, hash);
    let mut newest = None;
    scan_batches(volume, number, &header, &mut chunk_buffer(), |commit, batch| {
        while tables.end < commit.offset {
            absorb_damaged(volume, number, &mut tables, commit.offset);
        }
        tables.absorb(commit, batch);
        index_batch(indexer, commit, batch);
        newest = Some(Newest { epoch: commit.epoch, sequence: commit.sequence });
    });
    (tables, newest)
}

/// Takes in what lies between two whole batches, up to `until` or the end of the chunk.
fn absorb_damaged(volume: &impl VolumeRead, number: u32, tables: &mut SegmentTables, until: u32) {
    let chunk_end = (tables.end / CHUNK_BYTES + 1) * CHUNK_BYTES;
    let mut bytes = vec![0; (until.min(chunk_end) - tables.end) as usize];
    for (page, bytes) in bytes.chunks_exact_mut(PAGE_BYTES as usize).enumerate() {
        let at = u64::from(tables.end) + page as u64 * u64::from(PAGE_BYTES);
        if volume.read(Area::Segment(number), at, bytes).is_err() {
            bytes.fill(0);
        }
    }
    tables.absorb_damaged(&bytes);
}

/// Lets the index see interfaces and packets of a batch.
fn index_batch(indexer: &mut Indexer, commit: &Commit, batch: &[u8]) {
    indexer.begin_batch(commit, batch);
    for block in Blocks::new(batch) {
        match block.block_type {
            block_type::PACKET => {
                if let Some(packet) = block.packet() {
                    let page = (commit.offset + block.offset as u32) / PAGE_BYTES;
                    indexer.packet(page as u16, &packet);
                }
            }
            block_type::INTERFACE => {
                block.interface().iter().for_each(|interface| indexer.interface(interface))
            }
            block_type::INTERFACES => indexer.repeated(block.interfaces()),
            _ => {}
        }
    }
}

/// A fresh index for the segments of a volume.
pub(crate) fn new_indexer(volume: &impl VolumeRead, state: &State) -> Box<Indexer> {
    let seed = u64::from_le_bytes(std::array::from_fn(|i| state.uuid[i])) ^ u64::from(state.epoch);
    Box::new(Indexer::new(IndexLimits::for_segment(volume.geometry().segment_bytes), seed))
}
