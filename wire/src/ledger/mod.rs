//! The ledger: the blocks by which a segment says what it holds (docs/FORMAT.md, "Segment").
//!
//! A segment is a pcapng savefile whose own data lies in blocks of local-use types. This module encodes and decodes
//! those blocks and walks a batch. It owns no bytes, reads no clock, and never panics on what a disk returns: bytes that
//! are not what they should be give `None` or an item that ends the walk.
//!
//! The one rule of trust: a batch exists when its [`Commit`] is whole, names the segment's generation, and the CRC over
//! the store's uuid and the batch agrees ([`Commit::check`]). Nothing else on the disk is believed, except the header
//! (own CRC) and the summary page (own CRC).

mod blocks;
mod clock;
mod commit;
mod event;
mod happened;
mod header;
mod summary;

pub use blocks::{
    Blocks, EPB_BYTES_MAX, EPB_OVERHEAD_BYTES, IDB_BYTES_MAX, RawBlock, SHB_BYTES, epb_bytes,
    interfaces_lost, put_epb, put_idb, put_interfaces, put_shb, put_skip,
};
pub use clock::{CLOCK_LINES_MAX, ClockAt, ClockLine, SAME_SETTING_NANOS, is_near, note_clock, note_step};
pub use commit::{COMMIT_BYTES, Commit, batch_crc_start};
pub use event::{EVENT_BYTES, Event, EventKind};
pub use happened::Happened;
pub use header::{HEADER_BYTES, HEADER_END, HEADER_OFFSET, SegmentHeader};
pub use summary::{NO_CHAIN, Summary, SummaryPage};

use crate::packet::{Interface, Packet};

/// Block types of pcapng and ours.
pub mod block_type {
    /// Section header.
    pub const SECTION: u32 = 0x0A0D_0D0A;
    /// Interface description.
    pub const INTERFACE: u32 = 1;
    /// Enhanced packet.
    pub const PACKET: u32 = 6;
    /// Segment header.
    pub const HEADER: u32 = 0x8048_4301;
    /// Commit: the end of a batch.
    pub const COMMIT: u32 = 0x8048_4302;
    /// Padding.
    pub const SKIP: u32 = 0x8048_4303;
    /// Something that happened to the recorder.
    pub const EVENT: u32 = 0x8048_4304;
    /// The index in the tail.
    pub const INDEX: u32 = 0x8048_4305;
    /// The last page of a sealed segment.
    pub const SUMMARY: u32 = 0x8048_4306;
    /// The interfaces so far, once more.
    pub const INTERFACES: u32 = 0x8048_4307;
}

/// Framing of every pcapng block: type, length, length again.
pub const BLOCK_OVERHEAD_BYTES: usize = 12;

/// The longest skip block: tcpdump refuses blocks above 16 MiB.
pub const SKIP_BYTES_MAX: usize = 8 * 1024 * 1024;

/// One thing in a batch, in stream order.
#[derive(Clone, Debug, PartialEq)]
pub enum BatchItem<'a> {
    /// An interface; numbered from 0 in the order of their appearance in the segment.
    Interface(Interface),
    /// A packet; `offset` is where its block starts, from the start of the batch.
    Packet {
        /// Offset of the block in the batch, bytes.
        offset: usize,
        /// The packet; `interface` is the number inside the segment.
        packet: Packet<'a>,
    },
    /// An event.
    Event(Event),
    /// The commit block: the last item of a whole batch.
    Commit(Commit),
}

/// Walks the blocks of one batch; blocks without meaning here (section header, header, skip) are passed over.
///
/// The walk ends after the commit block, or early when the bytes are not a chain of blocks: a caller that has checked
/// the CRC sees [`BatchItem::Commit`] last.
#[derive(Clone, Debug)]
pub struct BatchItems<'a> {
    blocks: Blocks<'a>,
    done: bool,
}

impl<'a> BatchItems<'a> {
    /// Walks `batch`, which starts at a batch start.
    #[must_use]
    pub const fn new(batch: &'a [u8]) -> Self {
        Self { blocks: Blocks::new(batch), done: false }
    }

    /// Walks from a block boundary inside a batch (a reader's page table points at one); `bytes` need not reach the commit.
    #[must_use]
    pub const fn within(bytes: &'a [u8]) -> Self {
        Self::new(bytes)
    }
}

impl<'a> Iterator for BatchItems<'a> {
    type Item = BatchItem<'a>;

    fn next(&mut self) -> Option<BatchItem<'a>> {
        while !self.done {
            let block = self.blocks.next()?;
            let item = match block.block_type {
                block_type::PACKET => {
                    block.packet().map(|packet| BatchItem::Packet { offset: block.offset, packet })
                }
                block_type::INTERFACE => block.interface().map(BatchItem::Interface),
                block_type::EVENT => Event::decode(block.body).map(BatchItem::Event),
                block_type::COMMIT => {
                    self.done = true;
                    Commit::decode(block.bytes).map(BatchItem::Commit)
                }
                _ => continue,
            };
            match item {
                Some(item) => return Some(item),
                None => self.done = true,
            }
        }
        None
    }
}

/// Reads a little-endian field; the caller has checked the length.
fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes)
}

/// Writes fields one after the other into a slice that is known to be long enough.
struct Cursor<'a> {
    bytes: &'a mut [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    const fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn put(&mut self, field: &[u8]) -> &mut Self {
        self.bytes[self.at..self.at + field.len()].copy_from_slice(field);
        self.at += field.len();
        self
    }

    fn u16(&mut self, value: u16) -> &mut Self {
        self.put(&value.to_le_bytes())
    }

    fn u32(&mut self, value: u32) -> &mut Self {
        self.put(&value.to_le_bytes())
    }

    fn u64(&mut self, value: u64) -> &mut Self {
        self.put(&value.to_le_bytes())
    }
}
