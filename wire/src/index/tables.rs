//! The small tables of an index: pages, batches, interfaces, MAC addresses.

use alloc::string::String;
use alloc::vec::Vec;

use super::limits::{INTERFACE_NAME_MAX, IndexLimits};
use super::varint::{Cursor, put, put_delta};
use crate::drops::{DropCause, DropCounts};
use crate::limits::INTERFACES_MAX;
use crate::net::MacAddr;
use crate::packet::{Interface, LinkType};
use crate::policy::LeftOut;
use crate::text::beginning;
use crate::time::Timestamp;

/// What a reader needs to use one page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageEntry {
    /// CRC-32 (IEEE) of the page.
    pub crc32: u32,
    /// Offset in the page of the first packet block that starts there, in units of 4 bytes; [`PageEntry::NO_BLOCK`] if
    /// none does.
    pub first_block: u16,
}

impl PageEntry {
    /// No packet block starts in the page.
    pub const NO_BLOCK: u16 = u16::MAX;
    /// Encoded size.
    pub const BYTES: usize = 6;

    pub(super) fn encode(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.crc32.to_le_bytes());
        out.extend_from_slice(&self.first_block.to_le_bytes());
    }

    pub(super) fn decode(cursor: &mut Cursor<'_>) -> Option<Self> {
        Some(Self { crc32: cursor.u32()?, first_block: cursor.u16()? })
    }
}

/// A batch as its commit block told it, or several neighbouring batches taken together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchEntry {
    /// Its last page; it starts after the last page of the entry before.
    pub last_page: u16,
    /// Earliest timestamp, [`Timestamp::MAX`] when there is no packet.
    pub first: Timestamp,
    /// Latest timestamp, [`Timestamp::MIN`] when there is no packet.
    pub last: Timestamp,
    /// Packets.
    pub packets: u32,
    /// Drops since the batch before.
    pub drops: DropCounts,
    /// Left out by policy since the batch before.
    pub left_out: LeftOut,
    /// Wall clock at the commit.
    pub committed: Timestamp,
    /// Clock state as on the disk: 0 unknown, 1 not synchronised, 2 synchronised; the worse of those taken together.
    pub clock: u8,
}

impl BatchEntry {
    /// Both entries as one; `next` follows `self`.
    #[must_use]
    pub fn joined(&self, next: &Self) -> Self {
        Self {
            last_page: next.last_page,
            first: self.first.min(next.first),
            last: self.last.max(next.last),
            packets: self.packets.saturating_add(next.packets),
            drops: self.drops.plus(&next.drops),
            left_out: self.left_out.plus(&next.left_out),
            committed: next.committed,
            clock: self.clock.min(next.clock),
        }
    }

    /// Joins neighbours pairwise: half the entries, twice as coarse.
    pub fn halve(entries: &mut Vec<Self>) {
        let pairs = entries.len().div_ceil(2);
        for pair in 0..pairs {
            let one = entries[2 * pair];
            entries[pair] = entries.get(2 * pair + 1).map_or(one, |next| one.joined(next));
        }
        entries.truncate(pairs);
    }
}

/// In `shape`: bits 0..2 the clock state, bit 2 no packets, bit 3 drops follow, bit 4 what policy left out
/// follows.
const SHAPE_EMPTY: u8 = 4;
const SHAPE_DROPS: u8 = 8;
const SHAPE_LEFT_OUT: u8 = 16;

fn encode_batches_once(entries: &[BatchEntry]) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out, entries.len() as u64);
    let (mut page, mut time) = (0, 0);
    for entry in entries {
        let (empty, dropped) = (entry.packets == 0, entry.drops != DropCounts::default());
        let left_out = !entry.left_out.is_none();
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        let shape = (entry.clock & 3)
            | flag(empty, SHAPE_EMPTY)
            | flag(dropped, SHAPE_DROPS)
            | flag(left_out, SHAPE_LEFT_OUT);
        out.push(shape);
        put(&mut out, u64::from(entry.last_page.wrapping_sub(page)));
        put_delta(&mut out, time, entry.committed.0);
        if !empty {
            put_delta(&mut out, entry.committed.0, entry.last.0);
            put(&mut out, entry.last.0.wrapping_sub(entry.first.0));
            put(&mut out, entry.packets.into());
        }
        if dropped {
            entry.drops.0.iter().for_each(|count| put(&mut out, *count));
        }
        if left_out {
            entry.left_out.counts().iter().for_each(|count| put(&mut out, *count));
        }
        (page, time) = (entry.last_page, entry.committed.0);
    }
    out
}

/// The batch table in at most `limits.batch_bytes`; neighbours are joined until it fits.
pub(super) fn encode_batches(entries: &[BatchEntry], limits: &IndexLimits) -> Vec<u8> {
    let mut entries = entries.to_vec();
    loop {
        let out = encode_batches_once(&entries);
        if out.len() <= limits.batch_bytes as usize || entries.len() <= 1 {
            return out;
        }
        BatchEntry::halve(&mut entries);
    }
}

pub(super) fn decode_batches(bytes: &[u8], limits: &IndexLimits) -> Option<Vec<BatchEntry>> {
    let mut cursor = Cursor(bytes);
    let count = cursor.varint_to::<u32>().filter(|count| *count <= limits.batches)?;
    let mut entries = Vec::with_capacity(count as usize);
    let (mut page, mut time) = (0_u16, 0);
    for _ in 0..count {
        let shape = cursor.u8()?;
        page = page.checked_add(cursor.varint_to()?).filter(|page| u32::from(*page) < limits.pages)?;
        time = cursor.delta(time)?;
        let (mut first, mut last, mut packets) = (Timestamp::MAX, Timestamp::MIN, 0);
        if shape & SHAPE_EMPTY == 0 {
            last = Timestamp(cursor.delta(time)?);
            first = Timestamp(last.0.checked_sub(cursor.varint()?)?);
            packets = cursor.varint_to()?;
        }
        let mut drops = DropCounts::default();
        if shape & SHAPE_DROPS != 0 {
            for count in &mut drops.0 {
                *count = cursor.varint()?;
            }
        }
        let mut left_out = [0; 3];
        if shape & SHAPE_LEFT_OUT != 0 {
            for count in &mut left_out {
                *count = cursor.varint()?;
            }
        }
        let left_out = LeftOut::of(left_out);
        let committed = Timestamp(time);
        entries.push(BatchEntry {
            last_page: page,
            first,
            last,
            packets,
            drops,
            left_out,
            committed,
            clock: shape & 3,
        });
    }
    cursor.0.is_empty().then_some(entries)
}

const _: () = assert!(DropCause::COUNT == 6, "the batch table encodes six causes");

pub(super) fn encode_interfaces(interfaces: &[Interface]) -> Vec<u8> {
    let mut out = Vec::new();
    for interface in interfaces.iter().take(INTERFACES_MAX) {
        out.extend_from_slice(&interface.link_type.0.to_le_bytes());
        put(&mut out, interface.snaplen.into());
        let name = beginning(&interface.name, INTERFACE_NAME_MAX);
        out.push(name.len() as u8);
        out.extend_from_slice(name.as_bytes());
    }
    out
}

pub(super) fn decode_interfaces(bytes: &[u8]) -> Option<Vec<Interface>> {
    let (mut cursor, mut interfaces) = (Cursor(bytes), Vec::new());
    while !cursor.0.is_empty() {
        let (link_type, snaplen) = (LinkType(cursor.u16()?), cursor.varint_to()?);
        let length = cursor.u8()?.into();
        let name = String::from(core::str::from_utf8(cursor.bytes(length)?).ok()?);
        interfaces.push(Interface { link_type, snaplen, name });
    }
    (interfaces.len() <= INTERFACES_MAX).then_some(interfaces)
}

/// A link-layer address of an outermost frame and the parts of the segment, of 64 equal ones, that it is seen in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MacEntry {
    /// The address.
    pub mac: MacAddr,
    /// Bit *i*: seen in part *i* ([`IndexLimits::mac_part`]).
    pub parts: u64,
}

pub(super) fn encode_macs(macs: &[MacEntry], complete: bool) -> Vec<u8> {
    let mut out = Vec::new();
    out.push(complete.into());
    for entry in macs {
        out.extend_from_slice(&entry.mac.0);
        out.extend_from_slice(&entry.parts.to_le_bytes());
    }
    out
}

/// The entries, and whether every address of the segment is among them.
pub(super) fn decode_macs(bytes: &[u8]) -> Option<(Vec<MacEntry>, bool)> {
    let mut cursor = Cursor(bytes);
    let complete = match cursor.u8()? {
        0 => false,
        1 => true,
        _ => return None,
    };
    let mut macs = Vec::new();
    while !cursor.0.is_empty() {
        macs.push(MacEntry { mac: MacAddr(cursor.array()?), parts: cursor.u64()? });
    }
    Some((macs, complete))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::SEGMENT_BYTES_DEFAULT;

    fn batch(n: u16, drops: u64) -> BatchEntry {
        let at = 1_700_000_000_000_000_000 + u64::from(n) * 5_000_000_000;
        let mut counts = DropCounts::default();
        DropCause::ALL.iter().take(3).for_each(|cause| counts.add(*cause, drops));
        BatchEntry {
            last_page: n,
            first: Timestamp(at - 4_999_999_999),
            last: Timestamp(at - 1),
            packets: 17,
            drops: counts,
            left_out: LeftOut::of([drops, 2 * drops, 3 * drops]),
            committed: Timestamp(at),
            clock: 2,
        }
    }

    #[test]
    fn batches_round_trip_with_drops_and_without_packets() {
        let limits = IndexLimits::for_segment(SEGMENT_BYTES_DEFAULT);
        let mut entries: Vec<_> = (0..300).map(|n| batch(n, (n % 3).into())).collect();
        entries[7] =
            BatchEntry { first: Timestamp::MAX, last: Timestamp::MIN, packets: 0, clock: 0, ..entries[7] };
        let bytes = encode_batches(&entries, &limits);
        assert_eq!(decode_batches(&bytes, &limits).unwrap(), entries);
        for cut in 0..bytes.len() {
            assert_eq!(decode_batches(&bytes[..cut], &limits), None);
        }
    }

    #[test]
    fn a_batch_table_that_would_be_too_long_is_made_coarser() {
        let limits = IndexLimits::for_segment(SEGMENT_BYTES_DEFAULT);
        let entries: Vec<_> = (0..1024).map(|n| batch(n, u64::MAX / 5000)).collect();
        let bytes = encode_batches(&entries, &limits);
        assert!(bytes.len() <= limits.batch_bytes as usize);
        let joined = decode_batches(&bytes, &limits).unwrap();
        assert!(joined.len() < entries.len() && joined.len() >= 256, "{}", joined.len());
        assert_eq!((joined[0].first, joined.last().unwrap().last), (entries[0].first, entries[1023].last));
        assert_eq!(joined.iter().map(|entry| entry.packets).sum::<u32>(), 17 * 1024);
        let sum = joined.iter().fold(0, |sum, entry| sum + entry.drops.total());
        assert_eq!(sum, 3 * 1024 * (u64::MAX / 5000));
    }

    #[test]
    fn interfaces_and_macs_round_trip_and_long_names_are_cut_between_characters() {
        let long = Interface { link_type: LinkType(1), snaplen: 262_144, name: "ä".repeat(40) };
        let short = Interface { link_type: LinkType(276), snaplen: 0, name: String::new() };
        let decoded = decode_interfaces(&encode_interfaces(&[long, short.clone()])).unwrap();
        assert_eq!((decoded[0].name.as_str(), &decoded[1]), ("ä".repeat(12).as_str(), &short));
        let macs = [MacEntry { mac: MacAddr([2, 0, 0, 0, 0, 1]), parts: 1 << 63 | 5 }];
        assert_eq!(decode_macs(&encode_macs(&macs, true)), Some((macs.to_vec(), true)));
        assert_eq!(decode_macs(&[2]), None);
        assert_eq!(decode_macs(&[1, 0, 0]), None);
    }
}
