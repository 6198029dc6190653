//! From pages to packets: coalesced reads, every page checked, blocks that cross pages completed.

use std::ops::{ControlFlow, Range};

use hindcap_wire::index::{IndexDoc, PageEntry, PageSet};
use hindcap_wire::ledger::{BLOCK_OVERHEAD_BYTES, Blocks, block_type};
use hindcap_wire::limits::{CHUNK_BYTES, PAGE_BYTES};
use hindcap_wire::packet::Packet;
use hindcap_wire::time::Timestamp;

use super::error::{Damage, Served};
use super::{PacketAt, ReadError, Visitor};
use crate::volume::{Area, VolumeRead};

const PAGE: usize = PAGE_BYTES as usize;
const CHUNK_PAGES: u32 = CHUNK_BYTES / PAGE_BYTES;
/// Unwanted pages that are read through rather than skipped. A card would gain from up to 128 KiB (as long as a new
/// read takes); a disk with a command queue, which is told ahead what comes, loses by every page.
const GAP_PAGES_MAX: u32 = 2;
/// Windows announced to the volume before they are read: keeps a disk with a command queue busy, and bounds the page
/// cache that an answer takes (at most so many MiB).
const WINDOWS_AHEAD: usize = 16;

/// What became of a page of the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    Unknown,
    Right,
    Wrong,
}

/// Pages of one chunk in memory. No batch, so no packet, crosses a chunk.
struct Window<'a> {
    segment: u32,
    doc: &'a IndexDoc,
    /// Number of the first page in `bytes`.
    first: u32,
    bytes: &'a mut Vec<u8>,
    checks: [Check; CHUNK_PAGES as usize],
}

/// Serves the packets of one segment.
pub(super) struct Pages<'a, V> {
    pub volume: &'a V,
    pub segment: u32,
    pub doc: &'a IndexDoc,
    pub buffer: &'a mut Vec<u8>,
}

impl<V: VolumeRead> Pages<'_, V> {
    pub(super) fn serve(
        &mut self,
        pages: &PageSet,
        served: &mut Served,
        visitor: &mut dyn Visitor,
    ) -> Result<(), ReadError> {
        let mut wanted = pages.clone();
        wanted.truncate(self.doc.pages());
        let windows = windows(&wanted);
        for (at, window) in windows.iter().enumerate() {
            // The first announces a whole group, each of the others one more.
            let group = if at == 0 { 1..WINDOWS_AHEAD } else { at + WINDOWS_AHEAD - 1..at + WINDOWS_AHEAD };
            for ahead in windows.iter().skip(group.start).take(group.len()) {
                self.announce(ahead, visitor.is_choosy());
            }
            if self.window(window.clone(), &wanted, served, visitor)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn announce(&self, window: &Range<u32>, choosy: bool) {
        let bytes = window.len() * PAGE + if choosy { 0 } else { PAGE };
        let offset = u64::from(window.start) * u64::from(PAGE_BYTES);
        self.volume.will_read(Area::Segment(self.segment), offset, bytes);
    }

    fn window(
        &mut self,
        window: Range<u32>,
        wanted: &PageSet,
        served: &mut Served,
        visitor: &mut dyn Visitor,
    ) -> Result<ControlFlow<()>, ReadError> {
        let mut read = Window {
            segment: self.segment,
            doc: self.doc,
            first: window.start,
            bytes: self.buffer,
            checks: [Check::Unknown; CHUNK_PAGES as usize],
        };
        read.bytes.clear();
        // The last block of a page mostly goes on in the next one, which is not worth its reading for one in many.
        let behind = u32::from(!visitor.is_choosy());
        read.extend(self.volume, (window.end + behind).min(read.limit()), served)?;
        for page in window.filter(|page| wanted.contains(*page as u16)) {
            if read.page(self.volume, page, served, visitor)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// Runs of pages to read at once: gaps are read through while that is cheaper, and none crosses a chunk.
fn windows(wanted: &PageSet) -> Vec<Range<u32>> {
    let mut windows: Vec<Range<u32>> = Vec::new();
    for (mut start, end) in wanted.runs() {
        while start < end {
            let stop = end.min((start / CHUNK_PAGES + 1) * CHUNK_PAGES);
            match windows.last_mut() {
                Some(last)
                    if start - last.end <= GAP_PAGES_MAX
                        && last.start / CHUNK_PAGES == start / CHUNK_PAGES =>
                {
                    last.end = stop;
                }
                _ => windows.push(start..stop),
            }
            start = stop;
        }
    }
    windows
}

impl Window<'_> {
    /// First page that cannot belong to the window: the end of the chunk or of the data.
    fn limit(&self) -> u32 {
        ((self.first / CHUNK_PAGES + 1) * CHUNK_PAGES).min(self.doc.pages())
    }

    /// Reads on, up to page `end`.
    fn extend(&mut self, volume: &impl VolumeRead, end: u32, served: &mut Served) -> Result<(), ReadError> {
        let (have, want) = (self.bytes.len(), (end - self.first) as usize * PAGE);
        if want > have {
            // Exactly: a growing buffer would take twice as much.
            self.bytes.reserve_exact(want - have);
            self.bytes.resize(want, 0);
            let offset = u64::from(self.first) * u64::from(PAGE_BYTES) + have as u64;
            volume.read(Area::Segment(self.segment), offset, &mut self.bytes[have..])?;
            served.bytes_read += (want - have) as u64;
        }
        Ok(())
    }

    /// Whether `page` is in memory and has the content that the index vouches for.
    fn is_right(&mut self, page: u32) -> bool {
        let at = (page - self.first) as usize;
        let Some(bytes) = self.bytes.get(at * PAGE..(at + 1) * PAGE) else { return false };
        if self.checks[at] == Check::Unknown {
            let told = self.doc.page(page as u16).map(|entry| entry.crc32);
            let is_right = told == Some(crc32fast::hash(bytes));
            #[cfg(test)]
            let is_right = is_right || TRUSTED.get();
            self.checks[at] = if is_right { Check::Right } else { Check::Wrong };
        }
        self.checks[at] == Check::Right
    }

    /// Serves the packets whose blocks start in `page`.
    fn page(
        &mut self,
        volume: &impl VolumeRead,
        page: u32,
        served: &mut Served,
        visitor: &mut dyn Visitor,
    ) -> Result<ControlFlow<()>, ReadError> {
        if !self.is_right(page) {
            damaged(self.doc, page..page + 1, served);
            return Ok(ControlFlow::Continue(()));
        }
        let start = (page - self.first) as usize * PAGE;
        let first_block = self.doc.page(page as u16).map_or(PageEntry::NO_BLOCK, |entry| entry.first_block);
        if first_block == PageEntry::NO_BLOCK {
            return Ok(ControlFlow::Continue(()));
        }
        let mut at = start + usize::from(first_block) * 4;
        while at < start + PAGE {
            if at + 8 > self.bytes.len() {
                self.extend(volume, (page + 2).min(self.limit()), served)?;
            }
            let Some((kind, length)) = self.head(at) else {
                damaged(self.doc, page..page + 1, served);
                break;
            };
            if kind == block_type::PACKET {
                let last = self.first + ((at + length - 1) / PAGE) as u32;
                if last >= self.limit() {
                    damaged(self.doc, page..page + 1, served);
                    break;
                }
                if last > page && visitor.is_choosy() && !self.may_be_wanted(at, start + PAGE, visitor) {
                    break; // It is the last of its page.
                }
                self.extend(volume, last + 1, served)?;
                match (page + 1..=last).find(|page| !self.is_right(*page)) {
                    Some(wrong) => damaged(self.doc, wrong..wrong + 1, served),
                    None => {
                        if self.packet(at, length, page, served, visitor).is_break() {
                            return Ok(ControlFlow::Break(()));
                        }
                    }
                }
            }
            at += length;
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Type and length of the block at `at`, if it can be one. Its first eight bytes lie in one page: pages and blocks
    /// are multiples of four, so a length may lie in the page after; that page was read, or the block is the last of
    /// the data and is none of ours.
    fn head(&self, at: usize) -> Option<(u32, usize)> {
        let word =
            |at: usize| self.bytes.get(at..at + 4)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
        let (kind, length) = (word(at)?, word(at + 4)? as usize);
        let possible = length >= BLOCK_OVERHEAD_BYTES && length % 4 == 0 && length <= CHUNK_BYTES as usize;
        possible.then_some((kind, length))
    }

    /// Whether the packet block at `at`, which goes on behind `end`, may be wanted as far as it lies before.
    fn may_be_wanted(&self, at: usize, end: usize, visitor: &mut dyn Visitor) -> bool {
        let Some(head) = self.bytes.get(at..end).and_then(packet_head) else { return true };
        match self.doc.interfaces().get(head.interface as usize) {
            Some(interface) if !interface.is_lost() => {
                visitor.may_want(interface.link_type, head.bytes, head.orig_len)
            }
            _ => true,
        }
    }

    fn packet(
        &self,
        at: usize,
        length: usize,
        page: u32,
        served: &mut Served,
        visitor: &mut dyn Visitor,
    ) -> ControlFlow<()> {
        let block = self.bytes.get(at..at + length).and_then(|bytes| Blocks::new(bytes).next());
        let packet = block.and_then(|block| block.packet());
        let interface = packet.and_then(|packet| self.doc.interfaces().get(packet.interface as usize));
        // One that was announced in a lost batch has no link type: its packets are damage.
        let interface = interface.filter(|interface| !interface.is_lost());
        let (Some(packet), Some(interface)) = (packet, interface) else {
            damaged(self.doc, page..page + 1, served);
            return ControlFlow::Continue(());
        };
        served.packets += 1;
        let offset = self.first * PAGE_BYTES + at as u32;
        visitor.packet(PacketAt { packet, link_type: interface.link_type, page: page as u16, offset })
    }
}

/// The front of a packet block: what of the packet lies in it. `None` when not even its lengths do.
fn packet_head(block: &[u8]) -> Option<Packet<'_>> {
    let (head, data) = block.split_first_chunk::<28>()?;
    let word = |at: usize| head[at..].first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
    let (interface, high, low) = (word(8)?, word(12)?, word(16)?);
    let (caplen, orig_len) = (word(20)? as usize, word(24)?);
    let timestamp = Timestamp(u64::from(high) << 32 | u64::from(low));
    Some(Packet { timestamp, interface, orig_len, bytes: data.get(..caplen).unwrap_or(data) })
}

/// Notes that `pages` cannot be served, with the times that the batch table has for them.
pub(super) fn damaged(doc: &IndexDoc, pages: Range<u32>, served: &mut Served) {
    if let Some(last) = served.damage.last_mut() {
        if last.pages.0 <= pages.start && pages.end <= last.pages.1 {
            return;
        }
        if last.pages.1 == pages.start {
            last.pages.1 = pages.end;
            last.times = times_around(doc, last.pages.0..last.pages.1);
            return;
        }
    }
    served.damage.push(Damage { pages: (pages.start, pages.end), times: times_around(doc, pages) });
}

/// As [`times_of`]; for pages of a lost batch, of which the batch table knows nothing, from the batch before them to the one
/// behind.
fn times_around(doc: &IndexDoc, pages: Range<u32>) -> (Timestamp, Timestamp) {
    let is_lost = |page: u32| {
        let entry = doc.page(page as u16);
        entry.is_some_and(|entry| entry.crc32 == 0 && entry.first_block == PageEntry::NO_BLOCK)
    };
    if pages.clone().any(is_lost) {
        return times_of(doc, pages.start.saturating_sub(1)..pages.end + 1);
    }
    times_of(doc, pages)
}

/// Earliest and latest time of the batches that touch `pages`; for pages outside any batch, of their neighbours.
pub(super) fn times_of(doc: &IndexDoc, pages: Range<u32>) -> (Timestamp, Timestamp) {
    let batches = doc.batches();
    let first = batches.partition_point(|batch| u32::from(batch.last_page) < pages.start);
    let after = batches.partition_point(|batch| u32::from(batch.last_page) + 1 < pages.end);
    let touched = &batches[first..(after + 1).min(batches.len())];
    let (mut earliest, mut latest) = (Timestamp::MAX, Timestamp::MIN);
    for batch in touched.iter().filter(|batch| batch.packets > 0) {
        (earliest, latest) = (earliest.min(batch.first), latest.max(batch.last));
    }
    (earliest, latest)
}

#[cfg(test)]
thread_local! {
    /// A broken reader, for the canary of the bit flips: pages are believed unseen.
    static TRUSTED: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Switches the comparison of pages off in this thread.
#[cfg(test)]
pub(crate) fn pages_are_trusted(trusted: bool) {
    TRUSTED.set(trusted);
}
