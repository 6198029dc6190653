//! Appends little-endian blocks at the start of a slice. Every function gives the number of bytes written, a multiple
//! of 4, or `None` and an untouched slice when the block does not fit.

use alloc::string::String;

use super::{
    BYTE_ORDER_MAGIC, ENHANCED_PACKET, ENHANCED_PACKET_OVERHEAD, FRAMING_BYTES, INTERFACE_DESCRIPTION,
    INTERFACE_STATISTICS, SECTION_HEADER, padded,
};
use crate::limits::{CAPLEN_MAX, INTERFACE_NAME_BYTES_MAX, PCAPNG_BLOCK_BYTES_MAX};
use crate::packet::{Interface, Packet};
use crate::text::beginning;
use crate::time::Timestamp;

/// Option code of a comment, in any block.
pub const OPT_COMMENT: u16 = 1;
/// Section header: the application that wrote it.
pub const SHB_USERAPPL: u16 = 4;
/// Interface: its name.
pub const IF_NAME: u16 = 2;
/// Interface: resolution of its times.
pub const IF_TSRESOL: u16 = 9;
/// Interface: seconds to add to its times.
pub const IF_TSOFFSET: u16 = 14;
/// Statistics: packets received by the interface.
pub const ISB_IFRECV: u16 = 4;
/// Statistics: packets dropped by the interface.
pub const ISB_IFDROP: u16 = 5;
/// Statistics: packets dropped by the operating system.
pub const ISB_OSDROP: u16 = 7;

/// One option of a block: code and value, at most 65,535 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockOption<'a> {
    /// Its code, see the constants.
    pub code: u16,
    /// Its value without padding.
    pub value: &'a [u8],
}

impl<'a> BlockOption<'a> {
    /// A text option. Longer text than an option can hold is cut at a character boundary.
    #[must_use]
    pub fn text(code: u16, text: &'a str) -> Self {
        Self::text_up_to(code, text, usize::from(u16::MAX))
    }

    fn text_up_to(code: u16, text: &'a str, bytes_max: usize) -> Self {
        Self { code, value: beginning(text, bytes_max).as_bytes() }
    }
}

/// Bytes of an Enhanced Packet Block without options around `caplen` bytes.
#[must_use]
#[inline]
pub const fn packet_block_len(caplen: usize) -> usize {
    padded(caplen).saturating_add(ENHANCED_PACKET_OVERHEAD)
}

/// Appends an Enhanced Packet Block for an interface with `if_tsresol` 9. The hot path: one copy, no branch beside the
/// check that it fits. `packet.interface` is not used; `interface` is the section's own number.
#[inline]
pub fn packet(out: &mut [u8], interface: u32, packet: &Packet<'_>) -> Option<usize> {
    let caplen = packet.bytes.len();
    let total = packet_block_len(caplen);
    let block = out.get_mut(..total)?;
    let total_u32 = u32::try_from(total).ok()?;
    // The last word of the packet is zeroed first, so that what the copy leaves of it is the padding. With no packet
    // bytes at all the word belongs to the header, which therefore comes after.
    block.last_chunk_mut::<8>()?.copy_from_slice(&(u64::from(total_u32) << 32).to_le_bytes());
    let (head, data) = block.split_first_chunk_mut::<28>()?;
    let [high, low] = halves(packet.timestamp.0);
    let fields = [ENHANCED_PACKET, total_u32, interface, high, low, total_caplen(caplen), packet.orig_len];
    for (word, field) in head.chunks_exact_mut(4).zip(fields) {
        word.copy_from_slice(&field.to_le_bytes());
    }
    data.get_mut(..caplen)?.copy_from_slice(packet.bytes);
    Some(total)
}

/// As [`packet`], with options; for results, where comments travel with packets.
pub fn packet_with_options(
    out: &mut [u8],
    interface: u32,
    packet: &Packet<'_>,
    options: &[BlockOption<'_>],
) -> Option<usize> {
    let [high, low] = halves(packet.timestamp.0);
    let fixed = words([interface, high, low, total_caplen(packet.bytes.len()), packet.orig_len]);
    block(out, ENHANCED_PACKET, &[&fixed, packet.bytes], options)
}

/// Appends a Section Header Block, version 1.0, of unknown section length.
pub fn section_header(out: &mut [u8], options: &[BlockOption<'_>]) -> Option<usize> {
    let fixed = words([BYTE_ORDER_MAGIC, 1, u32::MAX, u32::MAX]);
    block(out, SECTION_HEADER, &[&fixed], options)
}

/// The interface as it stands in what we write and as it is read back: libpcap refuses a file whose interfaces differ
/// in snaplen, so all have the largest, and long names are cut.
#[must_use]
pub fn stored(interface: &Interface) -> Interface {
    let name = BlockOption::text_up_to(IF_NAME, &interface.name, INTERFACE_NAME_BYTES_MAX);
    let name = String::from_utf8_lossy(name.value).into_owned();
    Interface { link_type: interface.link_type, snaplen: CAPLEN_MAX, name }
}

/// Appends an Interface Description Block with nanosecond times and, unless empty, the name; the interface is written
/// as [`stored`] gives it.
pub fn interface(out: &mut [u8], interface: &Interface) -> Option<usize> {
    let fixed = words([u32::from(interface.link_type.0), CAPLEN_MAX]);
    let resolution = BlockOption { code: IF_TSRESOL, value: &[9] };
    let name = BlockOption::text_up_to(IF_NAME, &interface.name, INTERFACE_NAME_BYTES_MAX);
    let named = [name, resolution];
    let options = if interface.name.is_empty() { &named[1..] } else { &named[..] };
    block(out, INTERFACE_DESCRIPTION, &[&fixed], options)
}

/// Appends an Interface Statistics Block as of `at`; the counters come as options.
pub fn interface_statistics(
    out: &mut [u8],
    interface: u32,
    at: Timestamp,
    options: &[BlockOption<'_>],
) -> Option<usize> {
    let [high, low] = halves(at.0);
    block(out, INTERFACE_STATISTICS, &[&words([interface, high, low])], options)
}

/// Appends a block of any type, a local-use one above all, around `body`.
pub fn local_block(out: &mut [u8], block_type: u32, body: &[u8]) -> Option<usize> {
    block(out, block_type, &[body], &[])
}

/// Makes the first `total` bytes of `out` one block by writing only its framing; the body stays as it is. So a skip
/// block of any size costs 12 bytes. `total` must be a multiple of 4 from 12 to [`PCAPNG_BLOCK_BYTES_MAX`].
#[inline]
pub fn frame(out: &mut [u8], block_type: u32, total: usize) -> Option<usize> {
    let total_u32 = u32::try_from(total).ok()?;
    if total % 4 != 0 || total < FRAMING_BYTES || total_u32 > PCAPNG_BLOCK_BYTES_MAX {
        return None;
    }
    let block = out.get_mut(..total)?;
    block[..4].copy_from_slice(&block_type.to_le_bytes());
    block[4..8].copy_from_slice(&total_u32.to_le_bytes());
    block[total - 4..].copy_from_slice(&total_u32.to_le_bytes());
    Some(total)
}

/// Bytes that a block of these parts and options needs.
#[must_use]
pub fn block_len(parts: &[&[u8]], options: &[BlockOption<'_>]) -> usize {
    let body = padded(parts.iter().fold(0_usize, |sum, part| sum.saturating_add(part.len())));
    let options_len = options.iter().map(|option| 4 + padded(option.value.len())).sum::<usize>();
    body.saturating_add(FRAMING_BYTES + options_len + if options.is_empty() { 0 } else { 4 })
}

/// Appends a block whose body is `parts` one after the other, padded once, then the options.
pub fn block(out: &mut [u8], block_type: u32, parts: &[&[u8]], options: &[BlockOption<'_>]) -> Option<usize> {
    let total = block_len(parts, options);
    frame(out, block_type, total)?;
    let mut cursor = Cursor { out: out.get_mut(8..total - 4)?, at: 0 };
    for part in parts {
        cursor.put(part)?;
    }
    cursor.pad()?;
    for option in options {
        cursor.put(&option.code.to_le_bytes())?;
        cursor.put(&u16::try_from(option.value.len()).ok()?.to_le_bytes())?;
        cursor.put(option.value)?;
        cursor.pad()?;
    }
    if !options.is_empty() {
        cursor.put(&[0; 4])?; // opt_endofopt
    }
    Some(total)
}

struct Cursor<'a> {
    out: &'a mut [u8],
    at: usize,
}

impl Cursor<'_> {
    fn put(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.at.checked_add(bytes.len())?;
        self.out.get_mut(self.at..end)?.copy_from_slice(bytes);
        self.at = end;
        Some(())
    }

    fn pad(&mut self) -> Option<()> {
        let missing = padded(self.at) - self.at;
        self.put(&[0; 3][..missing])
    }
}

/// High and low word, the order of pcapng times.
const fn halves(nanos: u64) -> [u32; 2] {
    [(nanos >> 32) as u32, (nanos & 0xFFFF_FFFF) as u32]
}

/// The captured length as the block's field; the block's total length was checked, or is checked after, to fit a u32.
const fn total_caplen(caplen: usize) -> u32 {
    caplen as u32
}

fn words<const N: usize>(words: [u32; N]) -> heapless::Vec<u8, 32> {
    let mut bytes = heapless::Vec::new();
    for word in words {
        // At most eight words are ever given, which is what fits.
        let _ = bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes
}
