//! The classic savefile: one header, then records. Either byte order, micro- or nanoseconds, and Kuznetzov's longer
//! records are read; nanoseconds, little-endian, are written.
//!
//! Source: draft-ietf-opsawg-pcap-04 and libpcap 1.10 `sf-pcap.c`. Microseconds of a million and more, which some
//! programs write, are taken as what they say.
//!
//! | offset | bytes | file header |
//! |---|---|---|
//! | 0 | 4 | magic: a1b2c3d4 microseconds, a1b23c4d nanoseconds, a1b2cd34 Kuznetzov |
//! | 4 | 2, 2 | version 2, 4 |
//! | 8 | 8 | zero |
//! | 16 | 4 | snaplen |
//! | 20 | 4 | link type in the low 16 bits; bits 26 and 28..32 tell of a frame check sequence |
//!
//! | offset | bytes | record header |
//! |---|---|---|
//! | 0 | 4, 4 | seconds, fraction |
//! | 8 | 4, 4 | caplen, orig_len |
//! | 16 | 8 | Kuznetzov only: interface, protocol, packet type |

use core::fmt;

use crate::limits::CAPLEN_MAX;
use crate::packet::{LinkType, Packet};
use crate::pcapng::ByteOrder;
use crate::time::Timestamp;

/// Bytes of the file header.
pub const FILE_HEADER_BYTES: usize = 24;
/// Bytes of a record header as it is written.
pub const RECORD_HEADER_BYTES: usize = 16;

const MAGIC_MICROS: u32 = 0xA1B2_C3D4;
const MAGIC_NANOS: u32 = 0xA1B2_3C4D;
const MAGIC_KUZNETZOV: u32 = 0xA1B2_CD34;

/// How a record orders its two lengths; it changed in the format's early days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LengthOrder {
    CaplenFirst,
    OrigLenFirst,
    SmallerIsCaplen,
}

/// What the file header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileHeader {
    /// Link type of every packet.
    pub link_type: LinkType,
    /// Bytes kept of each packet.
    pub snaplen: u32,
    order: ByteOrder,
    nanos_per_fraction: u32,
    record_bytes: usize,
    lengths: LengthOrder,
}

/// Why a file header cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileHeaderError {
    /// The magic is not one of a classic savefile.
    NotPcap,
    /// A version other than 2.0 to 2.4.
    Version(u16, u16),
}

impl fmt::Display for FileHeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPcap => f.write_str("no pcap magic"),
            Self::Version(major, minor) => write!(f, "pcap version {major}.{minor}"),
        }
    }
}

impl core::error::Error for FileHeaderError {}

impl FileHeader {
    /// Whether `bytes` begin as a classic savefile does.
    #[must_use]
    pub fn recognise(bytes: [u8; 4]) -> bool {
        Self::magic(bytes).is_some()
    }

    fn magic(bytes: [u8; 4]) -> Option<(ByteOrder, u32)> {
        [ByteOrder::Little, ByteOrder::Big]
            .map(|order| (order, order.u32(bytes)))
            .into_iter()
            .find(|(_, magic)| matches!(*magic, MAGIC_MICROS | MAGIC_NANOS | MAGIC_KUZNETZOV))
    }

    /// Reads a file header.
    ///
    /// # Errors
    /// When the magic is unknown or the version is.
    pub fn parse(bytes: &[u8; FILE_HEADER_BYTES]) -> Result<Self, FileHeaderError> {
        let word = |at: usize| [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
        let (order, magic) = Self::magic(word(0)).ok_or(FileHeaderError::NotPcap)?;
        let [major, minor] = [[bytes[4], bytes[5]], [bytes[6], bytes[7]]].map(|pair| order.u16(pair));
        let lengths = match (major, minor) {
            (2, 0..=2) | (543, 0) => LengthOrder::OrigLenFirst,
            (2, 3) => LengthOrder::SmallerIsCaplen,
            (2, 4) => LengthOrder::CaplenFirst,
            _ => return Err(FileHeaderError::Version(major, minor)),
        };
        let lengths = if major == 543 { LengthOrder::CaplenFirst } else { lengths };
        let [_, _, low, high] = order.u32(word(20)).to_be_bytes();
        Ok(Self {
            link_type: canonical(LinkType(u16::from_be_bytes([low, high]))),
            snaplen: order.u32(word(16)),
            order,
            nanos_per_fraction: if magic == MAGIC_NANOS { 1 } else { 1000 },
            record_bytes: RECORD_HEADER_BYTES + if magic == MAGIC_KUZNETZOV { 8 } else { 0 },
            lengths,
        })
    }

    /// Bytes of each record header in this file.
    #[must_use]
    pub const fn record_bytes(&self) -> usize {
        self.record_bytes
    }

    /// The record at the start of `input`: the packet and how many bytes it took, or how many are needed.
    ///
    /// # Errors
    /// When the captured length cannot be.
    #[inline]
    pub fn record<'a>(&self, input: &'a [u8]) -> Result<Record<'a>, &'static str> {
        let Some(head) = input.first_chunk::<RECORD_HEADER_BYTES>() else {
            return Ok(Record::Need(self.record_bytes));
        };
        let words =
            [0, 4, 8, 12].map(|at| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]));
        let words = if self.order == ByteOrder::Little { words } else { words.map(u32::swap_bytes) };
        let [secs, fraction, first, second] = words;
        let (caplen, orig_len) = self.lengths(first, second);
        if caplen > CAPLEN_MAX {
            return Err("captured length over 262144");
        }
        let end = self.record_bytes + caplen as usize;
        let Some(bytes) = input.get(self.record_bytes..end) else { return Ok(Record::Need(end)) };
        let nanos = u64::from(fraction) * u64::from(self.nanos_per_fraction);
        let timestamp = Timestamp::from_parts(u64::from(secs), 0).plus_nanos(nanos);
        Ok(Record::Packet(end, Packet { timestamp, interface: 0, orig_len, bytes }))
    }

    #[inline]
    fn lengths(&self, first: u32, second: u32) -> (u32, u32) {
        match self.lengths {
            LengthOrder::CaplenFirst => (first, second),
            LengthOrder::OrigLenFirst => (second, first),
            LengthOrder::SmallerIsCaplen => (first.min(second), first.max(second)),
        }
    }
}

/// The start of some bytes, read as a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// A packet and the bytes its record takes.
    Packet(usize, Packet<'a>),
    /// The record needs so many bytes.
    Need(usize),
}

/// The LINKTYPE_ value for what some programs write instead, their system's own DLT_ value.
#[must_use]
pub const fn canonical(link_type: LinkType) -> LinkType {
    match link_type.0 {
        11 => LinkType(100), // DLT_ATM_RFC1483
        12 => LinkType::RAW, // DLT_RAW
        _ => link_type,
    }
}

/// The file header of a nanosecond savefile.
#[must_use]
pub fn file_header(link_type: LinkType, snaplen: u32) -> [u8; FILE_HEADER_BYTES] {
    let mut bytes = [0; FILE_HEADER_BYTES];
    bytes[..4].copy_from_slice(&MAGIC_NANOS.to_le_bytes());
    bytes[4..8].copy_from_slice(&[2, 0, 4, 0]);
    bytes[16..20].copy_from_slice(&snaplen.to_le_bytes());
    bytes[20..22].copy_from_slice(&link_type.0.to_le_bytes());
    bytes
}

/// The header of `packet`'s record in a nanosecond savefile; its bytes follow as they are. Seconds end at
/// 2106-02-07, later times are written as that.
#[must_use]
#[inline]
pub fn record_header(packet: &Packet<'_>) -> [u8; RECORD_HEADER_BYTES] {
    let secs = u32::try_from(packet.timestamp.secs()).unwrap_or(u32::MAX);
    let caplen = u32::try_from(packet.bytes.len()).unwrap_or(u32::MAX);
    let mut bytes = [0; RECORD_HEADER_BYTES];
    let fields = [secs, packet.timestamp.subsec_nanos(), caplen, packet.orig_len];
    for (word, field) in bytes.chunks_exact_mut(4).zip(fields) {
        word.copy_from_slice(&field.to_le_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file header in `order` with these fields.
    fn header(magic: u32, order: fn(u32) -> [u8; 4], version: [u8; 4], network: u32) -> [u8; 24] {
        let mut bytes = [0; 24];
        bytes[..4].copy_from_slice(&order(magic));
        bytes[4..8].copy_from_slice(&version);
        bytes[16..20].copy_from_slice(&order(65_535));
        bytes[20..].copy_from_slice(&order(network));
        bytes
    }

    #[test]
    fn every_magic_in_both_orders() {
        for big in [false, true] {
            let order = if big { u32::to_be_bytes } else { u32::to_le_bytes };
            let version = if big { [0, 2, 0, 4] } else { [2, 0, 4, 0] };
            for (magic, nanos, record_bytes) in
                [(MAGIC_MICROS, 5_000, 16), (MAGIC_NANOS, 5, 16), (MAGIC_KUZNETZOV, 5_000, 24)]
            {
                let file = FileHeader::parse(&header(magic, order, version, 0xF400_0001)).unwrap();
                assert_eq!((file.link_type, file.snaplen), (LinkType::ETHERNET, 65_535));
                let mut record = [7, 5, 2, 60].map(order).concat();
                record.resize(record_bytes, 0xEE);
                assert_eq!(file.record(&record[..15]), Ok(Record::Need(record_bytes)));
                assert_eq!(file.record(&record), Ok(Record::Need(record_bytes + 2)));
                record.extend([0xAA, 0xBB, 0xCC]);
                let timestamp = Timestamp::from_parts(7, nanos);
                let packet = Packet { timestamp, interface: 0, orig_len: 60, bytes: &[0xAA, 0xBB] };
                assert_eq!(file.record(&record), Ok(Record::Packet(record_bytes + 2, packet)));
            }
        }
    }

    #[test]
    fn old_versions_swap_their_lengths() {
        for (version, expected) in
            [([2, 0, 2, 0], (60, 40)), ([2, 0, 3, 0], (40, 60)), ([2, 0, 4, 0], (40, 60))]
        {
            let file = FileHeader::parse(&header(MAGIC_MICROS, u32::to_le_bytes, version, 1)).unwrap();
            assert_eq!(file.lengths(40, 60), expected, "{version:?}");
        }
        let future = header(MAGIC_MICROS, u32::to_le_bytes, [2, 0, 5, 0], 1);
        assert_eq!(FileHeader::parse(&future), Err(FileHeaderError::Version(2, 5)));
    }

    #[test]
    fn fractions_of_a_second_and_more_are_added() {
        let file = FileHeader::parse(&header(MAGIC_MICROS, u32::to_le_bytes, [2, 0, 4, 0], 1)).unwrap();
        let record = [u32::MAX, 2_500_000, 0, 0].map(u32::to_le_bytes).concat();
        let Ok(Record::Packet(16, packet)) = file.record(&record) else {
            panic!("{:?}", file.record(&record))
        };
        assert_eq!(packet.timestamp, Timestamp::from_parts(u64::from(u32::MAX) + 2, 500_000_000));
    }

    #[test]
    fn absurd_caplen_is_malformed() {
        let file = FileHeader::parse(&header(MAGIC_MICROS, u32::to_le_bytes, [2, 0, 4, 0], 1)).unwrap();
        for caplen in [CAPLEN_MAX + 1, u32::MAX] {
            assert!(file.record(&[0, 0, caplen, caplen].map(u32::to_le_bytes).concat()).is_err());
        }
        let largest = [0, 0, CAPLEN_MAX, 0].map(u32::to_le_bytes).concat();
        assert_eq!(file.record(&largest), Ok(Record::Need(16 + 262_144)));
    }

    #[test]
    fn written_headers_have_these_bytes() {
        #[rustfmt::skip]
        let expected = [
            0x4D, 0x3C, 0xB2, 0xA1,  2, 0, 4, 0,  0, 0, 0, 0,  0, 0, 0, 0,  0, 0, 4, 0,  113, 0, 0, 0,
        ];
        assert_eq!(file_header(LinkType::LINUX_SLL, CAPLEN_MAX), expected);
        let timestamp = Timestamp::from_parts(258, 999_999_999);
        let packet = Packet { timestamp, interface: 3, orig_len: 1514, bytes: &[0; 5] };
        assert_eq!(record_header(&packet), [2, 1, 0, 0, 0xFF, 0xC9, 0x9A, 0x3B, 5, 0, 0, 0, 0xEA, 5, 0, 0]);
    }
}
