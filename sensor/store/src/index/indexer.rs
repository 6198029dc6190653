//! A builder together with what it needs to see flows: dissection, fragments, link types.

use hindcap_wire::ledger::{Blocks, COMMIT_BYTES, Commit, block_type, interfaces_lost};
use hindcap_wire::limits::{INTERFACES_MAX, PAGE_BYTES};
use hindcap_wire::packet::fragments::FragmentCache;
use hindcap_wire::packet::plain::Plain;
use hindcap_wire::packet::{Dissection, Interface, LinkType, Packet, dissect_generally};

use super::Builder;
use hindcap_wire::index::{BatchEntry, IndexLimits};

/// Datagrams whose fragments are matched at one time; 512 of about 250 bytes.
const FRAGMENTS: usize = 512;

/// Sees the packets of a segment in their order and builds its index.
#[derive(Debug)]
pub struct Indexer {
    builder: Builder,
    fragments: FragmentCache,
    found: Dissection,
    link_types: heapless::Vec<LinkType, INTERFACES_MAX>,
}

/// What [`Indexer::batch`] met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Walked {
    /// Packets.
    pub packets: u32,
    /// Captured bytes.
    pub captured_bytes: u64,
}

impl Indexer {
    /// An indexer for segments of these limits; see [`Builder::new`] for `seed`.
    #[must_use]
    pub fn new(limits: IndexLimits, seed: u64) -> Self {
        Self {
            builder: Builder::new(limits, seed),
            fragments: FragmentCache::new(FRAGMENTS),
            found: Dissection::default(),
            link_types: heapless::Vec::new(),
        }
    }

    /// The tables, with all that was seen in them.
    pub fn builder(&mut self) -> &mut Builder {
        self.builder.settle();
        &mut self.builder
    }

    /// Forgets everything, for the next segment: nothing is carried over, because each segment is indexed from its own
    /// packets alone.
    pub fn reset(&mut self) {
        self.builder.reset();
        self.fragments.clear();
        self.link_types.clear();
    }

    /// The same, for an indexer that is not used for a while; see [`Builder::rest`].
    pub fn rest(&mut self) {
        self.builder.rest();
        self.fragments.clear();
        self.link_types.clear();
    }

    /// A batch that lies on the disk comes next. When batches before it are lost and with them interfaces, their numbers
    /// are taken: their packets are damage rather than packets of a wrong link type.
    pub fn begin_batch(&mut self, commit: &Commit, bytes: &[u8]) {
        for _ in 0..interfaces_lost(commit, bytes, self.link_types.len()) {
            self.interface(&Interface::lost());
        }
    }

    /// The interfaces of the segment so far, told once more.
    pub fn repeated(&mut self, told: impl Iterator<Item = Interface>) {
        if self.builder.learn_interfaces(told) {
            for (link_type, interface) in self.link_types.iter_mut().zip(self.builder.interfaces()) {
                *link_type = interface.link_type;
            }
        }
    }

    /// The segment's next interface.
    pub fn interface(&mut self, interface: &Interface) {
        self.builder.interface(interface);
        // As many as the builder takes.
        let _ = self.link_types.push(interface.link_type);
    }

    /// Takes note of a packet whose block starts in `page`; its interface was announced.
    pub fn packet(&mut self, page: u16, packet: &Packet<'_>) {
        let link_type = self.link_types.get(packet.interface as usize);
        let plain = link_type.and_then(|link| Plain::read(*link, packet.bytes, packet.orig_len));
        self.read_packet(page, packet.interface, packet, plain.as_ref());
    }

    /// The same for one that was read already: `plain` is what [`Plain::read`] gave for the bytes that are recorded and
    /// the link type of `interface`, the number in the segment, which counts instead of the packet's.
    #[inline(always)]
    pub fn read_packet(&mut self, page: u16, interface: u32, packet: &Packet<'_>, plain: Option<&Plain<'_>>) {
        match plain {
            Some(plain) if (interface as usize) < self.link_types.len() => {
                self.builder.observe_plain(page, plain, packet);
            }
            _ => self.general(page, interface, packet),
        }
    }

    /// Takes note of a packet that is not plain, or whose interface got lost.
    #[inline(never)]
    fn general(&mut self, page: u16, interface: u32, packet: &Packet<'_>) {
        match self.link_types.get(interface as usize) {
            Some(link_type) => {
                dissect_generally(*link_type, packet.bytes, packet.orig_len, &mut self.found);
            }
            None => self.found.clear(),
        }
        self.fragments.resolve(&mut self.found, packet.timestamp);
        self.builder.observe(page, packet, &self.found);
    }

    /// Takes note of a whole committed batch that starts at `offset` in its segment: packets, interfaces, events, page
    /// table and batch table.
    pub fn batch(&mut self, offset: u32, bytes: &[u8], commit: &Commit) -> Walked {
        let mut walked = Walked::default();
        let mut first_blocks = FirstBlocks::default();
        self.begin_batch(commit, bytes);
        for block in Blocks::new(bytes) {
            match block.block_type {
                block_type::PACKET => {
                    let at = offset + block.offset as u32;
                    if let Some(packet) = block.packet() {
                        first_blocks.note(at);
                        walked.packets += 1;
                        walked.captured_bytes += packet.bytes.len() as u64;
                        self.packet((at / PAGE_BYTES) as u16, &packet);
                    }
                }
                block_type::INTERFACE => {
                    if let Some(interface) = block.interface() {
                        self.interface(&interface);
                    }
                }
                block_type::INTERFACES => self.repeated(block.interfaces()),
                block_type::EVENT => self.builder.event(block.body),
                _ => {}
            }
        }
        self.pages(offset, bytes, &first_blocks);
        self.commit(commit);
        walked
    }

    /// Enters a batch into the batch table.
    pub fn commit(&mut self, commit: &Commit) {
        self.builder.batch_done(BatchEntry {
            last_page: ((commit.offset + commit.bytes) / PAGE_BYTES - 1) as u16,
            first: commit.times.0,
            last: commit.times.1,
            packets: commit.packets,
            drops: commit.drops,
            left_out: commit.left_out,
            committed: commit.wall,
            clock: commit.clock.code() as u8,
        });
    }

    /// Enters the pages of a batch into the page table.
    pub fn pages(&mut self, offset: u32, bytes: &[u8], first_blocks: &FirstBlocks) {
        for (at, page) in bytes.chunks(PAGE_BYTES as usize).enumerate() {
            let number = offset / PAGE_BYTES + at as u32;
            self.builder.page_done(number as u16, crc32fast::hash(page), first_blocks.of(number));
        }
    }
}

/// Where the first packet block starts in each page of one batch.
#[derive(Clone, Debug, Default)]
pub struct FirstBlocks {
    /// Offsets in the segment, ascending, one per page that has any.
    offsets: heapless::Vec<u32, 64>,
}

impl FirstBlocks {
    /// Takes note of a packet block at `offset` in the segment.
    #[inline]
    pub fn note(&mut self, offset: u32) {
        if self.offsets.last().is_none_or(|last| last / PAGE_BYTES != offset / PAGE_BYTES) {
            // A batch has at most 64 pages.
            let _ = self.offsets.push(offset);
        }
    }

    /// Forgets everything, for the next batch.
    pub fn clear(&mut self) {
        self.offsets.clear();
    }

    fn of(&self, page: u32) -> Option<u32> {
        self.offsets.iter().find(|offset| **offset / PAGE_BYTES == page).map(|offset| offset % PAGE_BYTES)
    }
}

const _: () = assert!(hindcap_wire::limits::CHUNK_BYTES / PAGE_BYTES <= 64 && COMMIT_BYTES > 0);
