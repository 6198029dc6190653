//! pcapng blocks over slices: the format of the store's segments and of many savefiles.
//!
//! [`write`] appends blocks little-endian into memory that the caller owns; nothing here allocates on that path.
//! [`read`] takes block bodies of either byte order apart. [`Blocks`] walks the blocks of a slice. A length is never
//! believed: each is checked against the bytes that are there before anything is touched.
//!
//! Source: draft-ietf-opsawg-pcapng-03. What it does not do: name resolution, secrets, decryption and journal blocks
//! are skipped; option lists are read only where a time or a name depends on them.
//!
//! | offset | bytes | meaning of every block |
//! |---|---|---|
//! | 0 | 4 | block type |
//! | 4 | 4 | total length, a multiple of 4, framing (12 bytes) included |
//! | 8 | n | body, padded to a multiple of 4 |
//! | 8 + n | 4 | total length again |

pub mod read;
pub mod write;

#[cfg(test)]
mod tests;

use core::fmt;

use crate::limits::PCAPNG_BLOCK_BYTES_MAX;

/// Section Header Block; the same in both byte orders.
pub const SECTION_HEADER: u32 = 0x0A0D_0D0A;
/// Interface Description Block.
pub const INTERFACE_DESCRIPTION: u32 = 1;
/// Packet Block, obsolete, still read.
pub const PACKET: u32 = 2;
/// Simple Packet Block: no time, first interface.
pub const SIMPLE_PACKET: u32 = 3;
/// Interface Statistics Block.
pub const INTERFACE_STATISTICS: u32 = 5;
/// Enhanced Packet Block.
pub const ENHANCED_PACKET: u32 = 6;

/// Byte-order magic of a section header, as its own section reads it.
pub const BYTE_ORDER_MAGIC: u32 = 0x1A2B_3C4D;

/// Bytes of framing around each body: type, length, length again.
pub const FRAMING_BYTES: usize = 12;
/// Bytes of an Enhanced Packet Block beside its padded packet, without options.
pub const ENHANCED_PACKET_OVERHEAD: usize = 32;

/// Byte order of a section or of a classic savefile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ByteOrder {
    /// Least significant byte first; the store always.
    #[default]
    Little,
    /// Most significant byte first.
    Big,
}

impl ByteOrder {
    /// The 16-bit integer in `bytes`.
    #[must_use]
    #[inline]
    pub const fn u16(self, bytes: [u8; 2]) -> u16 {
        match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        }
    }

    /// The 32-bit integer in `bytes`.
    #[must_use]
    #[inline]
    pub const fn u32(self, bytes: [u8; 4]) -> u32 {
        match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        }
    }

    /// The 64-bit integer in `bytes`.
    #[must_use]
    #[inline]
    pub const fn u64(self, bytes: [u8; 8]) -> u64 {
        match self {
            Self::Little => u64::from_le_bytes(bytes),
            Self::Big => u64::from_be_bytes(bytes),
        }
    }
}

/// `len` rounded up to a multiple of 4.
#[must_use]
#[inline]
pub const fn padded(len: usize) -> usize {
    len.saturating_add(3) & !3
}

/// Why a block could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockError {
    /// The slice ends inside the block; from the block's start it needs at least `needed` bytes.
    Truncated {
        /// Bytes needed from the start of the block.
        needed: usize,
    },
    /// The block contradicts itself.
    Malformed(&'static str),
}

impl fmt::Display for BlockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { needed } => write!(f, "block cut short, needs {needed} bytes"),
            Self::Malformed(reason) => f.write_str(reason),
        }
    }
}

impl core::error::Error for BlockError {}

/// The first eight bytes of a block, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockHeader {
    /// One of the constants above, a local-use type, or one we do not know.
    pub block_type: u32,
    /// Length of the whole block: a multiple of 4, at least 12, at most [`PCAPNG_BLOCK_BYTES_MAX`].
    pub total_len: usize,
}

impl BlockHeader {
    /// Reads the header at the start of `bytes`.
    ///
    /// # Errors
    /// Truncated when there are less than 8 bytes, malformed when the length cannot be one.
    #[inline]
    pub fn parse(bytes: &[u8], order: ByteOrder) -> Result<Self, BlockError> {
        let Some(head) = bytes.first_chunk::<8>() else { return Err(BlockError::Truncated { needed: 8 }) };
        let [t0, t1, t2, t3, l0, l1, l2, l3] = *head;
        let total_len = order.u32([l0, l1, l2, l3]);
        if total_len > PCAPNG_BLOCK_BYTES_MAX {
            return Err(BlockError::Malformed("block length over 16 MiB"));
        }
        if total_len % 4 != 0 || (total_len as usize) < FRAMING_BYTES {
            return Err(BlockError::Malformed("block length is not a multiple of 4 of at least 12"));
        }
        Ok(Self { block_type: order.u32([t0, t1, t2, t3]), total_len: total_len as usize })
    }
}

/// A whole block whose two lengths agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block<'a> {
    /// Where it starts in the slice that was walked.
    pub offset: usize,
    /// Its type.
    pub block_type: u32,
    /// What lies between the framing.
    pub body: &'a [u8],
}

impl<'a> Block<'a> {
    /// The block at the start of `bytes`.
    ///
    /// # Errors
    /// Truncated when `bytes` ends inside it, malformed when its lengths cannot be or disagree.
    #[inline]
    pub fn parse(bytes: &'a [u8], order: ByteOrder) -> Result<Self, BlockError> {
        let BlockHeader { block_type, total_len } = BlockHeader::parse(bytes, order)?;
        let Some(block) = bytes.get(..total_len) else {
            return Err(BlockError::Truncated { needed: total_len });
        };
        let (head, trailer) = block.split_at(total_len - 4);
        if trailer != &head[4..8] {
            return Err(BlockError::Malformed("the two lengths of a block differ"));
        }
        Ok(Self { offset: 0, block_type, body: &head[8..] })
    }

    /// Length of the whole block in the slice.
    #[must_use]
    pub const fn total_len(&self) -> usize {
        self.body.len() + FRAMING_BYTES
    }
}

/// Walks the little-endian blocks of a slice of a segment, from a block boundary. After an error it ends.
#[derive(Clone, Debug)]
pub struct Blocks<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Blocks<'a> {
    /// Starts at the first byte of `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }

    /// Where the next block starts; after an error, where the bad one does.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.offset
    }
}

impl<'a> Iterator for Blocks<'a> {
    type Item = Result<Block<'a>, BlockError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.bytes.get(self.offset..).filter(|rest| !rest.is_empty())?;
        match Block::parse(rest, ByteOrder::Little) {
            Ok(block) => {
                let offset = self.offset;
                self.offset += block.total_len();
                Some(Ok(Block { offset, ..block }))
            }
            Err(error) => {
                self.bytes = &self.bytes[..self.offset];
                Some(Err(error))
            }
        }
    }
}
