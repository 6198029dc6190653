//! pcapng blocks as the recorder writes them (draft-ietf-opsawg-pcapng-02, sections 4.1 to 4.3), little-endian.
//!
//! Only what a segment needs: one section header, interfaces with name and nanosecond resolution, enhanced packets
//! without options (both written by `pcapng::write`), and skip blocks.

use alloc::string::String;

use super::{BLOCK_OVERHEAD_BYTES, Commit, Cursor, SKIP_BYTES_MAX, block_type, u16_at, u32_at};
use crate::limits::{CAPLEN_MAX, INTERFACE_NAME_BYTES_MAX};
use crate::packet::{Interface, LinkType, Packet};
use crate::pcapng::write;
use crate::time::Timestamp;

/// A section header without options.
pub const SHB_BYTES: usize = 28;
/// Bytes of an enhanced packet block beside the packet and its padding.
pub const EPB_OVERHEAD_BYTES: usize = 32;
/// The longest packet block.
pub const EPB_BYTES_MAX: usize = EPB_OVERHEAD_BYTES + CAPLEN_MAX as usize;
/// The longest interface block: framing, fixed part, name, resolution, end of options.
pub const IDB_BYTES_MAX: usize = BLOCK_OVERHEAD_BYTES + 8 + 4 + INTERFACE_NAME_BYTES_MAX + 8 + 4;

const BYTE_ORDER_MAGIC: u32 = 0x1A2B_3C4D;
const OPT_END: u16 = 0;
const OPT_IF_NAME: u16 = 2;

/// `len` rounded up to the 32-bit grid of pcapng.
const fn padded(len: usize) -> usize {
    (len + 3) & !3
}

/// Bytes of the block of a packet with `caplen` captured bytes.
#[must_use]
pub const fn epb_bytes(caplen: usize) -> usize {
    EPB_OVERHEAD_BYTES + padded(caplen)
}

/// Writes the section header to the front of `out`; returns its length.
pub fn put_shb(out: &mut [u8]) -> usize {
    let mut cursor = Cursor::new(out);
    cursor.u32(block_type::SECTION).u32(SHB_BYTES as u32).u32(BYTE_ORDER_MAGIC);
    cursor.u16(1).u16(0).u64(u64::MAX).u32(SHB_BYTES as u32);
    cursor.at
}

/// Writes an interface block to the front of `out` (at least [`IDB_BYTES_MAX`] long); returns its length. The interface
/// is written as [`write::stored`] gives it.
pub fn put_idb(out: &mut [u8], interface: &Interface) -> usize {
    write::interface(out, interface).unwrap_or(0)
}

/// Writes a packet block to the front of `out`, which must be at least [`epb_bytes`] long; returns its length.
/// `interface` is the number inside the segment.
#[inline]
pub fn put_epb(out: &mut [u8], interface: u32, packet: &Packet<'_>) -> usize {
    write::packet(out, interface, packet).unwrap_or(0)
}

/// Writes a block that tells the interfaces so far once more to the front of `out`; returns its length, 0 when it does not
/// fit. Its body is their blocks.
pub fn put_interfaces<'a>(out: &mut [u8], interfaces: impl Iterator<Item = &'a Interface>) -> usize {
    let mut at = 8;
    for interface in interfaces {
        let Some(rest) = out.get_mut(at..) else { return 0 };
        match write::interface(rest, interface) {
            Some(bytes) => at += bytes,
            None => return 0,
        }
    }
    let total = at + 4;
    if out.len() < total {
        return 0;
    }
    out[..4].copy_from_slice(&block_type::INTERFACES.to_le_bytes());
    out[4..8].copy_from_slice(&(total as u32).to_le_bytes());
    out[at..total].copy_from_slice(&(total as u32).to_le_bytes());
    total
}

/// How many interfaces were announced by batches that are lost: those that the commit of `batch` counts, less the `known`
/// ones and those that the batch announces itself.
#[must_use]
pub fn interfaces_lost(commit: &Commit, batch: &[u8], known: usize) -> usize {
    match usize::from(commit.interfaces).saturating_sub(known) {
        0 => 0,
        missing => {
            let own = Blocks::new(batch).filter(|block| block.block_type == block_type::INTERFACE).count();
            missing.saturating_sub(own)
        }
    }
}

/// Makes all of `out` one skip block: 12 to [`SKIP_BYTES_MAX`] bytes, a multiple of 4. The payload becomes zeros.
pub fn put_skip(out: &mut [u8]) {
    let total = out.len();
    debug_assert!(
        (BLOCK_OVERHEAD_BYTES..=SKIP_BYTES_MAX).contains(&total) && total % 4 == 0,
        "skip of {total}"
    );
    out[8..total - 4].fill(0);
    out[..4].copy_from_slice(&block_type::SKIP.to_le_bytes());
    out[4..8].copy_from_slice(&(total as u32).to_le_bytes());
    out[total - 4..].copy_from_slice(&(total as u32).to_le_bytes());
}

/// A block as it lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawBlock<'a> {
    /// Where it starts in the walked bytes.
    pub offset: usize,
    /// Its type.
    pub block_type: u32,
    /// Framing included.
    pub bytes: &'a [u8],
    /// Between the framing.
    pub body: &'a [u8],
}

impl<'a> RawBlock<'a> {
    /// The packet of an enhanced packet block.
    #[must_use]
    pub fn packet(&self) -> Option<Packet<'a>> {
        let (interface, high, low) = (u32_at(self.body, 0)?, u32_at(self.body, 4)?, u32_at(self.body, 8)?);
        let (caplen, orig_len) = (u32_at(self.body, 12)?, u32_at(self.body, 16)?);
        let bytes = self.body.get(20..20usize.checked_add(caplen as usize)?)?;
        let timestamp = Timestamp(u64::from(high) << 32 | u64::from(low));
        Some(Packet { timestamp, interface, orig_len, bytes })
    }

    /// The interface of an interface description block.
    #[must_use]
    pub fn interface(&self) -> Option<Interface> {
        let (link_type, snaplen) = (LinkType(u16_at(self.body, 0)?), u32_at(self.body, 4)?);
        let mut options = self.body.get(8..)?;
        let mut name = String::new();
        while let (Some(code), Some(len)) = (u16_at(options, 0), u16_at(options, 2)) {
            let value = options.get(4..4 + usize::from(len))?;
            match code {
                OPT_END => break,
                OPT_IF_NAME => name = String::from_utf8_lossy(value).into_owned(),
                _ => {}
            }
            options = options.get(4 + padded(usize::from(len))..).unwrap_or_default();
        }
        Some(Interface { link_type, snaplen, name })
    }
}

impl<'a> RawBlock<'a> {
    /// The interfaces that a block of [`put_interfaces`] tells, in the order of their numbers.
    pub fn interfaces(&self) -> impl Iterator<Item = Interface> + 'a {
        Blocks::new(self.body).map_while(|block| block.interface())
    }
}

/// Walks a chain of blocks; ends at the first bytes that are not a whole block.
#[derive(Clone, Debug)]
pub struct Blocks<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Blocks<'a> {
    /// Walks `bytes`, which start at a block.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Where the next block would start.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.at
    }
}

impl<'a> Iterator for Blocks<'a> {
    type Item = RawBlock<'a>;

    fn next(&mut self) -> Option<RawBlock<'a>> {
        let rest = &self.bytes[self.at..];
        let (block_type, total) = (u32_at(rest, 0)?, u32_at(rest, 4)? as usize);
        if total < BLOCK_OVERHEAD_BYTES || total % 4 != 0 {
            return None;
        }
        let bytes = rest.get(..total)?;
        if u32_at(bytes, total - 4)? as usize != total {
            return None;
        }
        let block = RawBlock { offset: self.at, block_type, bytes, body: &bytes[8..total - 4] };
        self.at += total;
        Some(block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_interfaces_and_skips_come_back() {
        let interface = Interface { link_type: LinkType::RAW, snaplen: 96, name: String::from("tun0") };
        let packet = Packet {
            timestamp: Timestamp(0x0123_4567_89AB_CDEF),
            interface: 0,
            orig_len: 1500,
            bytes: b"hello",
        };
        let mut bytes = [0xAA; 512];
        let mut at = put_shb(&mut bytes);
        at += put_idb(&mut bytes[at..], &interface);
        at += put_epb(&mut bytes[at..], 0, &packet);
        let repeated = put_interfaces(&mut bytes[at..], [&interface, &interface].into_iter());
        let block = Blocks::new(&bytes[at..]).next().unwrap();
        assert_eq!((block.block_type, block.bytes.len()), (block_type::INTERFACES, repeated));
        assert!(block.interfaces().eq([write::stored(&interface), write::stored(&interface)]));
        assert_eq!(put_interfaces(&mut [0; 70], [&interface, &interface].into_iter()), 0, "it does not fit");
        put_skip(&mut bytes[at..at + 12]);
        let blocks: Vec<_> = Blocks::new(&bytes[..at + 12]).collect();
        assert_eq!(blocks.len(), 4);
        assert_eq!(blocks[1].interface(), Some(write::stored(&interface)));
        assert_eq!(blocks[2].packet(), Some(packet));
        assert_eq!(blocks[2].bytes.len(), epb_bytes(5));
        assert_eq!(blocks[3].block_type, block_type::SKIP);
    }

    #[test]
    fn padding_is_zero_for_every_length() {
        for caplen in 0..9 {
            let packet =
                Packet { timestamp: Timestamp(1), interface: 3, orig_len: 9, bytes: &[0x55; 9][..caplen] };
            let mut bytes = [0xAA; 64];
            let total = put_epb(&mut bytes, 3, &packet);
            let block = Blocks::new(&bytes[..total]).next().unwrap();
            assert_eq!(block.packet(), Some(packet));
            assert!(block.body[20 + caplen..].iter().all(|byte| *byte == 0) && bytes[total] == 0xAA);
        }
    }

    #[test]
    fn broken_framing_ends_the_walk() {
        let mut bytes = [0; 64];
        assert_eq!(Blocks::new(&bytes).next(), None, "a terminator of zeros is no block");
        put_skip(&mut bytes);
        for (at, value) in [(4, 63), (4, 65), (4, 8), (60, 0), (7, 0xFF)] {
            let mut broken = bytes;
            broken[at] = value;
            assert_eq!(Blocks::new(&broken).next(), None, "byte {at} = {value}");
        }
        assert!(Blocks::new(&bytes).next().is_some() && Blocks::new(&bytes[..63]).next().is_none());
    }

    #[test]
    fn long_names_are_cut_at_a_character() {
        let name: String = core::iter::repeat_n('ü', 40).collect();
        let mut bytes = [0; IDB_BYTES_MAX];
        let total = put_idb(&mut bytes, &Interface { link_type: LinkType::ETHERNET, snaplen: 0, name });
        let back = Blocks::new(&bytes[..total]).next().unwrap().interface().unwrap();
        assert_eq!(back.name.chars().count(), INTERFACE_NAME_BYTES_MAX / 2);
    }
}
