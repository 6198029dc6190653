//! Flow records and the host tables they refer to (docs/FORMAT.md, "Flow records").

use alloc::vec::Vec;

use super::varint::{Cursor, put, put_delta};
use super::{PageSet, Postings};
use crate::flow::{AddrBytes, FlowKey, proto};
use crate::net::IpNet;
use crate::time::Timestamp;
use crate::true_time::TrueTime;

/// In `shape`: bits 0..2 the protocol (0 named in a byte of its own, 1 TCP, 2 UDP, 3 the version's ICMP), then flags.
const SHAPE_V6: u8 = 0x04;
const SHAPE_A_FIRST: u8 = 0x08;
const SHAPE_STACKED: u8 = 0x10;
const SHAPE_OPEN_END: u8 = 0x20;
const SHAPE_VLAN: u8 = 0x40;
const SHAPE_TCP_FLAGS: u8 = 0x80;

/// One flow of one segment.
#[derive(Clone, Debug)]
pub struct FlowRecord<'a> {
    /// Which flow.
    pub key: FlowKey,
    /// Whether the first packet seen here travelled from end `a` to end `b`.
    pub a_sent_first: bool,
    /// Whether some packet had more than one VLAN tag: `key.vlan` is then only the outermost.
    pub stacked_vlans: bool,
    /// Earliest timestamp.
    pub first: Timestamp,
    /// Latest timestamp.
    pub last: Timestamp,
    /// Packets.
    pub packets: u32,
    /// Sum of the lengths on the wire (`orig_len`).
    pub bytes: u64,
    /// All TCP flags seen, in either direction.
    pub tcp_flags: u8,
    /// Whether some packet was recorded with fewer bytes than it had on the wire.
    pub truncated: bool,
    /// Pages in which its packets start; a superset when the memory for postings was full.
    pub postings: Postings<'a>,
}

/// One flow as its builder keeps it: ends are numbers in the host table of its IP version.
#[derive(Clone, Copy, Debug, Default)]
pub struct FlowParts {
    /// IP version, 4 or 6.
    pub version: u8,
    /// End `a`.
    pub a: u16,
    /// End `b`.
    pub b: u16,
    /// Port of `a`.
    pub a_port: u16,
    /// Port of `b`.
    pub b_port: u16,
    /// Outermost VLAN or [`FlowKey::NO_VLAN`].
    pub vlan: u16,
    /// IP protocol.
    pub proto: u8,
    /// As in [`FlowRecord`].
    pub tcp_flags: u8,
    /// As in [`FlowRecord`].
    pub a_sent_first: bool,
    /// As in [`FlowRecord`].
    pub stacked_vlans: bool,
    /// The postings go on to the end of the segment.
    pub open_end: bool,
    /// As in [`FlowRecord`].
    pub truncated: bool,
    /// Earliest timestamp.
    pub first: u64,
    /// Latest timestamp.
    pub last: u64,
    /// Packets.
    pub packets: u32,
    /// Sum of `orig_len`.
    pub bytes: u64,
    /// First page.
    pub first_page: u16,
}

impl FlowParts {
    /// Bytes that a record may take more once its time span reaches 2^35 ns, its packets 2^7 or its bytes 2^14.
    pub const GROWN_BYTES: u32 = 1 + 1 + 1;
    /// Bytes that a record may take more than that at the very most: 10-byte times (its own and the next record's
    /// reference to it), 5-byte packets, 10-byte bytes, 2-byte length of the postings.
    pub const WIDE_BYTES: u32 = 9 + 9 + 4 + 3 + 7 + 1;

    /// Shape, ports, span up to 2^35 ns, packets, bytes, length of the postings.
    const FIXED_BYTES: u32 = 1 + 4 + 5 + 1 + 2 + 1;
    /// The least that [`FlowParts::bytes_when_new`] gives.
    pub const NEW_BYTES_MIN: u32 = Self::FIXED_BYTES + 1 + 1;

    /// Bytes of a new record beside its host numbers and tokens, after a record of `before` = (first time, first page).
    #[must_use]
    pub const fn bytes_when_new(&self, before: (u64, u16)) -> u32 {
        let named = if self.proto_code() == 0 { 1 } else { 0 };
        let vlan = if self.vlan == FlowKey::NO_VLAN { 0 } else { 2 };
        let flags = if self.proto == proto::TCP { 1 } else { 0 };
        Self::FIXED_BYTES
            + named
            + vlan
            + flags
            + delta_bytes(before.0, self.first)
            + delta_bytes(before.1 as u64, self.first_page as u64)
    }

    /// Bytes of a host's number `host` when `next` is the first number not yet named.
    #[must_use]
    pub const fn host_bytes(host: u16, next: u32) -> u32 {
        match host as u32 {
            host if host == next || host < 0x7f => 1,
            0..0x3fff => 2,
            _ => 3,
        }
    }

    const fn proto_code(&self) -> u8 {
        match (self.proto, self.version) {
            (proto::TCP, _) => 1,
            (proto::UDP, _) => 2,
            (proto::ICMP, 4) | (proto::ICMPV6, 6) => 3,
            _ => 0,
        }
    }

    fn shape(&self) -> u8 {
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        self.proto_code()
            | flag(self.version == 6, SHAPE_V6)
            | flag(self.a_sent_first, SHAPE_A_FIRST)
            | flag(self.stacked_vlans, SHAPE_STACKED)
            | flag(self.open_end, SHAPE_OPEN_END)
            | flag(self.vlan != FlowKey::NO_VLAN, SHAPE_VLAN)
            | flag(self.tcp_flags != 0, SHAPE_TCP_FLAGS)
    }
}

/// Bytes of the difference `to - from` in zigzag form.
const fn delta_bytes(from: u64, to: u64) -> u32 {
    let delta = to.wrapping_sub(from) as i64;
    let zigzag = ((delta << 1) ^ (delta >> 63)) as u64;
    (64 - (zigzag | 1).leading_zeros()).div_ceil(7)
}

/// What one record's encoding takes from those before it: the same in writer and reader.
#[derive(Clone, Copy, Debug, Default)]
struct Context {
    first: u64,
    page: u16,
    /// First host number not yet named, for IPv4 and IPv6.
    next_host: [u32; 2],
}

/// Writes flow records, in the order in which the flows were first seen.
#[derive(Debug, Default)]
pub(super) struct FlowWriter {
    context: Context,
    count: usize,
    /// One bit per record, lowest first, as far as the last one that is set.
    truncated: Vec<u8>,
}

impl FlowWriter {
    /// Which records are of flows with truncated packets: as far as the last of them.
    pub(super) fn truncated(&self) -> &[u8] {
        &self.truncated
    }

    pub(super) fn put<'t>(
        &mut self,
        out: &mut Vec<u8>,
        flow: &FlowParts,
        tokens: impl Iterator<Item = &'t [u8]> + Clone,
    ) {
        if flow.truncated {
            self.truncated.resize(self.count / 8 + 1, 0);
            self.truncated[self.count / 8] |= 1 << (self.count % 8);
        }
        self.count += 1;
        out.push(flow.shape());
        if flow.proto_code() == 0 {
            out.push(flow.proto);
        }
        let next = &mut self.context.next_host[usize::from(flow.version == 6)];
        for host in [flow.a, flow.b].map(u32::from) {
            put(out, if host == *next { 0 } else { u64::from(host) + 1 });
            *next = (*next).max(host + 1);
        }
        out.extend_from_slice(&flow.a_port.to_le_bytes());
        out.extend_from_slice(&flow.b_port.to_le_bytes());
        if flow.vlan != FlowKey::NO_VLAN {
            out.extend_from_slice(&flow.vlan.to_le_bytes());
        }
        if flow.tcp_flags != 0 {
            out.push(flow.tcp_flags);
        }
        put_delta(out, self.context.first, flow.first);
        put(out, flow.last.wrapping_sub(flow.first));
        put(out, flow.packets.into());
        put(out, flow.bytes);
        put_delta(out, self.context.page.into(), flow.first_page.into());
        put(out, tokens.clone().map(|part| part.len() as u64).sum());
        tokens.for_each(|part| out.extend_from_slice(part));
        (self.context.first, self.context.page) = (flow.first, flow.first_page);
    }
}

/// The hosts of one IP version, numbered in the order in which they were first seen.
#[derive(Clone, Copy, Debug)]
pub struct HostTable<'a> {
    bytes: &'a [u8],
    version: u8,
}

impl<'a> HostTable<'a> {
    pub(super) const fn new(bytes: &'a [u8], version: u8) -> Self {
        Self { bytes, version }
    }

    const fn width(&self) -> usize {
        if self.version == 4 { 4 } else { 16 }
    }

    /// Number of hosts.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.bytes.len() / self.width()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Host number `index`, in its 16-byte form.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<AddrBytes> {
        let width = self.width();
        let bytes = self.bytes.get(index.checked_mul(width)?..)?.get(..width)?;
        let mut addr =
            if width == 4 { [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0] } else { [0; 16] };
        addr[16 - width..].copy_from_slice(bytes);
        Some(addr)
    }

    /// All hosts, in order.
    pub fn iter(self) -> impl Iterator<Item = AddrBytes> + 'a {
        (0..self.len()).filter_map(move |index| self.get(index))
    }

    /// Whether a host lies in `net`.
    #[must_use]
    pub fn any_in(&self, net: &IpNet) -> bool {
        self.iter().any(|addr| net.contains(addr, self.version))
    }
}

/// Iterates over the flow records of an index, in the order in which the flows were first seen.
#[derive(Clone, Debug)]
pub struct Flows<'a> {
    cursor: Cursor<'a>,
    hosts: [HostTable<'a>; 2],
    truncated: &'a [u8],
    /// Records so far.
    count: usize,
    pages: u32,
    context: Context,
    true_time: Option<&'a TrueTime>,
}

impl<'a> Flows<'a> {
    /// `hosts` are those of IPv4 and of IPv6; records tell the times of `true_time`, if there is any.
    pub(super) const fn new(
        bytes: &'a [u8],
        hosts: [HostTable<'a>; 2],
        truncated: &'a [u8],
        pages: u32,
        true_time: Option<&'a TrueTime>,
    ) -> Self {
        let context = Context { first: 0, page: 0, next_host: [0; 2] };
        Self { cursor: Cursor(bytes), hosts, truncated, count: 0, pages, context, true_time }
    }

    /// Whether every record is whole and consistent; the number of records.
    pub(super) fn check(mut self) -> Option<usize> {
        while !self.cursor.0.is_empty() {
            if !self.record()?.postings.is_sound() {
                return None;
            }
        }
        let marked = self.truncated.len() <= self.count.div_ceil(8);
        marked.then_some(self.count)
    }

    fn host(&mut self, version: usize) -> Option<AddrBytes> {
        let next = self.context.next_host[version];
        let host = match self.cursor.varint_to::<u32>()? {
            0 => next,
            code => code - 1,
        };
        let addr = self.hosts[version].get(host as usize)?;
        self.context.next_host[version] = next.max(host + 1);
        Some(addr)
    }

    fn record(&mut self) -> Option<FlowRecord<'a>> {
        let shape = self.cursor.u8()?;
        let version = if shape & SHAPE_V6 == 0 { 4 } else { 6 };
        let proto = match (shape & 3, version) {
            (0, _) => self.cursor.u8()?,
            (1, _) => proto::TCP,
            (2, _) => proto::UDP,
            (_, 4) => proto::ICMP,
            _ => proto::ICMPV6,
        };
        let (a, b) = (self.host((version == 6).into())?, self.host((version == 6).into())?);
        let (a_port, b_port) = (self.cursor.u16()?, self.cursor.u16()?);
        let vlan = if shape & SHAPE_VLAN == 0 { FlowKey::NO_VLAN } else { self.cursor.u16()? };
        let tcp_flags = if shape & SHAPE_TCP_FLAGS == 0 { 0 } else { self.cursor.u8()? };
        let first = self.cursor.delta(self.context.first)?;
        let last = first.checked_add(self.cursor.varint()?)?;
        let (packets, bytes) = (self.cursor.varint_to()?, self.cursor.varint()?);
        let page = u16::try_from(self.cursor.delta(self.context.page.into())?).ok()?;
        let length = self.cursor.varint_to::<u32>()?;
        let tokens = self.cursor.bytes(length as usize)?;
        (self.context.first, self.context.page) = (first, page);
        let postings = Postings::new(page, tokens, self.pages, shape & SHAPE_OPEN_END != 0);
        let (first, last) = match self.true_time {
            Some(times) => {
                let end = postings.clone().last().unwrap_or(page);
                times.span((page, end), Timestamp(first), Timestamp(last))
            }
            None => (Timestamp(first), Timestamp(last)),
        };
        let truncated =
            self.truncated.get(self.count / 8).is_some_and(|bits| bits >> (self.count % 8) & 1 == 1);
        self.count += 1;
        Some(FlowRecord {
            key: FlowKey { a, b, a_port, b_port, vlan, proto, version },
            a_sent_first: shape & SHAPE_A_FIRST != 0,
            stacked_vlans: shape & SHAPE_STACKED != 0,
            first,
            last,
            packets,
            bytes,
            tcp_flags,
            truncated,
            postings,
        })
    }

    /// The pages of all records that `wanted` accepts.
    #[must_use]
    pub fn pages_where(self, mut wanted: impl FnMut(&FlowRecord<'a>) -> bool) -> PageSet {
        let mut set = PageSet::new();
        for flow in self.filter(|flow| wanted(flow)) {
            flow.postings.add_to(&mut set);
        }
        set
    }
}

impl<'a> Iterator for Flows<'a> {
    type Item = FlowRecord<'a>;

    fn next(&mut self) -> Option<FlowRecord<'a>> {
        if self.cursor.0.is_empty() { None } else { self.record() }
    }
}
