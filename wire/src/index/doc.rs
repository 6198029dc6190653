//! The encoded index as a whole: a header with a directory, and eleven sections, each under its own CRC-32. The sections
//! follow each other without gaps, so that every byte is covered.
//!
//! | bytes | meaning |
//! |---|---|
//! | 8 | magic `HCINDEX1` |
//! | 4 | bytes of the whole index |
//! | 4 | segment bytes |
//! | 11 x 12 | per section: offset, bytes, CRC-32 |
//! | 4 | CRC-32 over the header before this field |

use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use super::flows::{FlowParts, FlowWriter};
use super::limits::{IndexLimits, QUARTERS};
use super::overflow::Overflow;
use super::tables::{self, BatchEntry, MacEntry, PageEntry};
use super::varint::{Cursor, put};
use super::{Flows, HostTable, PageSet};
use crate::limits::{CHUNK_BYTES, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
use crate::net::{IpNet, MacAddr};
use crate::packet::Interface;
use crate::true_time::TrueTime;

const MAGIC: &[u8; 8] = b"HCINDEX1";
const SECTIONS: usize = 11;
const HEADER_BYTES: usize = 16 + SECTIONS * 12 + 4;

/// Sections, in their order in the file.
#[derive(Clone, Copy)]
enum Section {
    Pages,
    Batches,
    Events,
    Interfaces,
    Unclassified,
    Macs,
    HostsV4,
    HostsV6,
    Flows,
    Truncated,
    Overflow,
}

impl Section {
    const NAMES: [&'static str; SECTIONS] = [
        "page table",
        "batch table",
        "events",
        "interfaces",
        "unclassified pages",
        "MAC table",
        "IPv4 hosts",
        "IPv6 hosts",
        "flow records",
        "truncated flows",
        "overflow filters",
    ];
}

/// Why bytes are not an index. The index is then rebuilt from the packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IndexError {
    /// Fewer or more bytes than the header says, or than a header takes.
    Truncated {
        /// Bytes present.
        bytes: usize,
    },
    /// Another magic: not an index, or one of another format version.
    Unsupported,
    /// A checksum does not agree.
    Damaged {
        /// Which part.
        part: &'static str,
    },
    /// The checksum agrees but the content contradicts itself or the limits.
    Malformed {
        /// Which part.
        part: &'static str,
    },
}

impl fmt::Display for IndexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { bytes } => write!(f, "the index is cut: {bytes} bytes"),
            Self::Unsupported => f.write_str("not an index of a known version"),
            Self::Damaged { part } => write!(f, "the index's {part} fails its checksum"),
            Self::Malformed { part } => write!(f, "the index's {part} contradicts itself"),
        }
    }
}

impl core::error::Error for IndexError {}

/// An index that passed every check, over its own bytes. Flow records are read as they are iterated over.
#[derive(Debug)]
pub struct IndexDoc {
    bytes: Vec<u8>,
    sections: [Range<usize>; SECTIONS],
    limits: IndexLimits,
    batches: Vec<BatchEntry>,
    interfaces: Vec<Interface>,
    packets: u64,
    unclassified_packets: u64,
    unclassified: PageSet,
    macs: Vec<MacEntry>,
    macs_complete: bool,
    flows: usize,
    lost_events: u64,
    overflow: Overflow,
    true_time: TrueTime,
}

impl IndexDoc {
    /// Checks `bytes` from the first to the last.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, IndexError> {
        let (segment_bytes, sections) = header(&bytes)?;
        let limits = IndexLimits::for_segment(segment_bytes);
        let parts = Parts { bytes: &bytes, sections: &sections };
        parts.read(Section::Pages, |part| table_of(part, PageEntry::BYTES, limits.pages))?;
        parts.read(Section::HostsV4, |part| table_of(part, 4, limits.hosts_v4))?;
        parts.read(Section::HostsV6, |part| table_of(part, 16, limits.hosts_v6))?;
        let (packets, unclassified_packets, unclassified) =
            parts.read(Section::Unclassified, |part| unclassified_of(part, &limits))?;
        let (macs, macs_complete) = parts.read(Section::Macs, tables::decode_macs)?;
        let mut doc = Self {
            limits,
            batches: parts.read(Section::Batches, |part| tables::decode_batches(part, &limits))?,
            interfaces: parts.read(Section::Interfaces, tables::decode_interfaces)?,
            packets,
            unclassified_packets,
            unclassified,
            macs,
            macs_complete,
            flows: 0,
            lost_events: parts.read(Section::Events, lost_events_of)?,
            overflow: parts.read(Section::Overflow, |part| overflow_of(part, &limits))?,
            true_time: TrueTime::default(),
            sections,
            bytes,
        };
        let parts = Parts { bytes: &doc.bytes, sections: &doc.sections };
        parts.read(Section::Truncated, |_| Some(()))?;
        doc.flows = parts.read(Section::Flows, |_| doc.flows().check())?;
        Ok(doc)
    }

    /// The same index, whose batches and flow records from now on tell true times. Events are left as they are.
    #[must_use]
    pub fn with_true_time(mut self, true_time: TrueTime) -> Self {
        let mut next = 0;
        for batch in self.batches.iter_mut().filter(|_| !true_time.is_plain()) {
            let pages = (next, batch.last_page);
            next = batch.last_page.saturating_add(1);
            (batch.first, batch.last) = true_time.span(pages, batch.first, batch.last);
            batch.committed = true_time.at(batch.last_page, batch.committed);
        }
        self.true_time = true_time;
        self
    }

    /// What the times that stand in the segment mean.
    #[must_use]
    pub const fn true_time(&self) -> &TrueTime {
        &self.true_time
    }

    fn section(&self, section: Section) -> &[u8] {
        &self.bytes[self.sections[section as usize].clone()]
    }

    /// The bounds of the segment that this index is for.
    #[must_use]
    pub const fn limits(&self) -> &IndexLimits {
        &self.limits
    }

    /// Encoded size, bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Packets in the segment.
    #[must_use]
    pub const fn packets(&self) -> u64 {
        self.packets
    }

    /// Number of data pages.
    #[must_use]
    pub fn pages(&self) -> u32 {
        (self.section(Section::Pages).len() / PageEntry::BYTES) as u32
    }

    /// What is known of `page`.
    #[must_use]
    pub fn page(&self, page: u16) -> Option<PageEntry> {
        let table = self.section(Section::Pages);
        PageEntry::decode(&mut Cursor(table.get(usize::from(page) * PageEntry::BYTES..)?))
    }

    /// Batches, in order; neighbours may be joined.
    #[must_use]
    pub fn batches(&self) -> &[BatchEntry] {
        &self.batches
    }

    /// Copies of event blocks' bodies, in order.
    pub fn events(&self) -> impl Iterator<Item = &[u8]> {
        let mut cursor = Cursor(self.section(Section::Events));
        let _ = cursor.varint();
        core::iter::from_fn(move || {
            let length = cursor.varint()?;
            cursor.bytes(usize::try_from(length).ok()?)
        })
    }

    /// Events for which there was no room; they are in the packets' pages all the same.
    #[must_use]
    pub const fn lost_events(&self) -> u64 {
        self.lost_events
    }

    /// Interfaces, by their number in the segment; names may be cut.
    #[must_use]
    pub fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// Hosts of IP `version`, 4 or 6.
    #[must_use]
    pub fn hosts(&self, version: u8) -> HostTable<'_> {
        let section = if version == 4 { Section::HostsV4 } else { Section::HostsV6 };
        HostTable::new(self.section(section), if version == 4 { 4 } else { 6 })
    }

    /// Whether a packet of the segment may have an end in `net`.
    #[must_use]
    pub fn may_have_host_in(&self, net: &IpNet) -> bool {
        let version = if net.addr().is_ipv4() { 4 } else { 6 };
        self.hosts(version).any_in(net) || !(self.overflow.is_empty() || self.overflow.hosts_complete)
    }

    /// Flow records, in the order in which the flows were first seen.
    #[must_use]
    pub fn flows(&self) -> Flows<'_> {
        let times = Some(&self.true_time).filter(|times| !times.is_plain());
        let hosts = [self.hosts(4), self.hosts(6)];
        let truncated = self.section(Section::Truncated);
        Flows::new(self.section(Section::Flows), hosts, truncated, self.limits.pages, times)
    }

    /// Number of flow records.
    #[must_use]
    pub const fn flow_count(&self) -> usize {
        self.flows
    }

    /// Pages with packets that have no IP or ARP layer.
    #[must_use]
    pub const fn unclassified(&self) -> &PageSet {
        &self.unclassified
    }

    /// Packets that have no IP or ARP layer.
    #[must_use]
    pub const fn unclassified_packets(&self) -> u64 {
        self.unclassified_packets
    }

    /// Pages that may hold a frame from or to `mac`.
    #[must_use]
    pub fn mac_pages(&self, mac: &MacAddr) -> PageSet {
        if !self.macs_complete && !self.macs.iter().any(|entry| entry.mac == *mac) {
            return PageSet::range(0, self.pages());
        }
        let parts = self.macs.iter().find(|entry| entry.mac == *mac).map_or(0, |entry| entry.parts);
        (0..self.pages() as u16).filter(|page| parts >> self.limits.mac_part(*page) & 1 == 1).collect()
    }

    /// Flows without a record: a scan, a flood, or simply more than fit.
    #[must_use]
    pub const fn overflow(&self) -> &Overflow {
        &self.overflow
    }

    /// Pages of the quarters that may hold a packet without flow record that has all of `keys`
    /// ([`super::keys::host_key`], [`super::keys::overflow_flow_key`]); without keys, of all quarters with overflow.
    #[must_use]
    pub fn overflow_pages(&self, keys: &[u64]) -> PageSet {
        let mut set = PageSet::new();
        for quarter in (0..QUARTERS).filter(|quarter| self.overflow.may_contain(*quarter, keys)) {
            let (start, end) = self.limits.quarter_pages(quarter);
            set.insert_range(start, end.min(self.pages()));
        }
        set
    }
}

/// The sections of an index that is being checked.
struct Parts<'a> {
    bytes: &'a [u8],
    sections: &'a [Range<usize>; SECTIONS],
}

impl Parts<'_> {
    /// What `read` makes of `section`, once its checksum agrees.
    fn read<T>(&self, section: Section, read: impl FnOnce(&[u8]) -> Option<T>) -> Result<T, IndexError> {
        let (number, part) = (section as usize, Section::NAMES[section as usize]);
        let bytes = &self.bytes[self.sections[number].clone()];
        let told = Cursor(&self.bytes[16 + 12 * number + 8..]).u32();
        if told != Some(crc32fast::hash(bytes)) {
            return Err(IndexError::Damaged { part });
        }
        read(bytes).ok_or(IndexError::Malformed { part })
    }
}

/// Whether `part` is a table of at most `entries_max` entries of `width` bytes.
fn table_of(part: &[u8], width: usize, entries_max: u32) -> Option<()> {
    (part.len() % width == 0 && part.len() / width <= entries_max as usize).then_some(())
}

fn unclassified_of(part: &[u8], limits: &IndexLimits) -> Option<(u64, u64, PageSet)> {
    let mut cursor = Cursor(part);
    let (packets, unclassified) = (cursor.varint()?, cursor.varint()?);
    let bitmap = cursor.0;
    (bitmap.len() <= limits.pages.div_ceil(8) as usize)
        .then(|| (packets, unclassified, PageSet::from_bytes(bitmap)))
}

fn overflow_of(part: &[u8], limits: &IndexLimits) -> Option<Overflow> {
    let mut cursor = Cursor(part);
    let (packets, flows, flags) = (cursor.varint()?, cursor.varint()?, cursor.u8()?);
    let mut filters = [const { Vec::new() }; QUARTERS];
    for (quarter, filter) in filters.iter_mut().enumerate() {
        if flags >> quarter & 1 == 1 {
            *filter = cursor.bytes(limits.overflow_bytes as usize)?.to_vec();
        }
    }
    let overflow = Overflow { packets, flows, hosts_complete: flags & 0x80 != 0, filters };
    cursor.0.is_empty().then_some(overflow)
}

/// Segment size and section ranges, after the header's own checks.
fn header(bytes: &[u8]) -> Result<(u32, [Range<usize>; SECTIONS]), IndexError> {
    const PART: &str = "header";
    let truncated = IndexError::Truncated { bytes: bytes.len() };
    let head: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or(truncated)?;
    let mut cursor = Cursor(head);
    let mut number = || cursor.u32().unwrap_or(0);
    if head[..8] != MAGIC[..] {
        return Err(IndexError::Unsupported);
    }
    let (_, _, total, segment_bytes) = (number(), number(), number(), number());
    let mut sections = [const { 0..0 }; SECTIONS];
    let mut reached = HEADER_BYTES;
    let mut sound = true;
    for section in &mut sections {
        let (offset, length, _) = (number() as usize, number() as usize, number());
        sound &= offset == reached && length <= bytes.len();
        reached = reached.saturating_add(length);
        *section = offset..reached;
    }
    if number() != crc32fast::hash(&head[..HEADER_BYTES - 4]) {
        return Err(IndexError::Damaged { part: PART });
    }
    if total as usize != bytes.len() {
        return Err(truncated);
    }
    let possible =
        (SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&segment_bytes) && segment_bytes % CHUNK_BYTES == 0;
    if !sound || reached != bytes.len() || !possible {
        return Err(IndexError::Malformed { part: PART });
    }
    Ok((segment_bytes, sections))
}

fn lost_events_of(part: &[u8]) -> Option<u64> {
    let mut cursor = Cursor(part);
    let lost = cursor.varint()?;
    while !cursor.0.is_empty() {
        let length = cursor.varint()?;
        cursor.bytes(usize::try_from(length).ok()?)?;
    }
    Some(lost)
}

/// Puts an index together; call the methods in their order here, then [`Encoder::finish`].
#[derive(Debug)]
pub struct Encoder<'l> {
    out: Vec<u8>,
    limits: &'l IndexLimits,
    ends: [usize; SECTIONS],
    flows: FlowWriter,
}

impl<'l> Encoder<'l> {
    /// An index within `limits`, written into `out`, whose memory is reused.
    #[must_use]
    pub fn new(limits: &'l IndexLimits, mut out: Vec<u8>) -> Self {
        out.clear();
        out.resize(HEADER_BYTES, 0);
        Self { out, limits, ends: [HEADER_BYTES; SECTIONS], flows: FlowWriter::default() }
    }

    fn end(&mut self, section: Section) {
        let end = self.out.len();
        self.ends[section as usize..].fill(end);
    }

    fn section(&mut self, section: Section, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
        self.end(section);
    }

    /// Writes everything but hosts, flows and overflow. `events` are bodies, each behind its length as a varint.
    pub fn tables(&mut self, tables: &Tables<'_>) {
        tables.pages.iter().for_each(|page| page.encode(&mut self.out));
        self.end(Section::Pages);
        self.section(Section::Batches, &tables::encode_batches(tables.batches, self.limits));
        put(&mut self.out, tables.lost_events);
        self.section(Section::Events, tables.events);
        self.section(Section::Interfaces, &tables::encode_interfaces(tables.interfaces));
        put(&mut self.out, tables.packets);
        put(&mut self.out, tables.unclassified_packets);
        let bitmap = tables.unclassified.to_bytes(self.limits.pages);
        let used = if tables.unclassified_packets == 0 { 0 } else { bitmap.len() };
        self.section(Section::Unclassified, &bitmap[..used]);
        self.section(Section::Macs, &tables::encode_macs(tables.macs, tables.macs_complete));
    }

    /// Writes the host tables.
    pub fn hosts(&mut self, v4: impl Iterator<Item = [u8; 4]>, v6: impl Iterator<Item = [u8; 16]>) {
        v4.for_each(|addr| self.out.extend_from_slice(&addr));
        self.end(Section::HostsV4);
        v6.for_each(|addr| self.out.extend_from_slice(&addr));
        self.end(Section::HostsV6);
    }

    /// Writes one flow record; `tokens` are its postings after the first page.
    pub fn flow<'t>(&mut self, flow: &FlowParts, tokens: impl Iterator<Item = &'t [u8]> + Clone) {
        self.flows.put(&mut self.out, flow, tokens);
    }

    /// Writes what is left of flows without a record; quarters without any are given as empty slices.
    pub fn overflow(&mut self, packets: u64, flows: u64, hosts_complete: bool, filters: [&[u8]; QUARTERS]) {
        self.end(Section::Flows);
        self.out.extend_from_slice(self.flows.truncated());
        self.end(Section::Truncated);
        put(&mut self.out, packets);
        put(&mut self.out, flows);
        let present = (0..QUARTERS).fold(0, |mask, q| mask | u8::from(!filters[q].is_empty()) << q);
        self.out.push(present | u8::from(hosts_complete) << 7);
        filters.iter().for_each(|filter| self.out.extend_from_slice(filter));
        self.end(Section::Overflow);
    }

    /// The index, with directory and checksums.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        let mut head = Vec::with_capacity(HEADER_BYTES);
        head.extend_from_slice(MAGIC);
        head.extend_from_slice(&(self.out.len() as u32).to_le_bytes());
        head.extend_from_slice(&self.limits.segment_bytes.to_le_bytes());
        let mut start = HEADER_BYTES;
        for end in self.ends {
            let crc = crc32fast::hash(&self.out[start..end]);
            for number in [start as u32, (end - start) as u32, crc] {
                head.extend_from_slice(&number.to_le_bytes());
            }
            start = end;
        }
        let crc = crc32fast::hash(&head);
        head.extend_from_slice(&crc.to_le_bytes());
        self.out[..HEADER_BYTES].copy_from_slice(&head);
        self.out
    }
}

/// What [`Encoder::tables`] writes.
#[derive(Debug)]
pub struct Tables<'a> {
    /// Page table.
    pub pages: &'a [PageEntry],
    /// Batch table.
    pub batches: &'a [BatchEntry],
    /// Event bodies, each behind its length as a varint.
    pub events: &'a [u8],
    /// Events without room.
    pub lost_events: u64,
    /// Interfaces.
    pub interfaces: &'a [Interface],
    /// Packets in all.
    pub packets: u64,
    /// Packets without layers.
    pub unclassified_packets: u64,
    /// Pages of these.
    pub unclassified: &'a PageSet,
    /// MAC table.
    pub macs: &'a [MacEntry],
    /// Whether it names every address.
    pub macs_complete: bool,
}
