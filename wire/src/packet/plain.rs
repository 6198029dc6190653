//! Plain packets, nearly all of most traffic, read in one go: Ethernet with at most one 802.1Q tag, IPv4 without options
//! or IPv6 without extension headers, no fragment, then TCP, or UDP that opens no tunnel, with headers and lengths that
//! agree.
//!
//! [`Plain::read`] takes only what the [general walk](super::dissect_generally) follows to its end without finding a
//! flaw, and then says the same (held against each other by `tests/plain.rs` and over real savefiles). In doubt it
//! answers `None`, and the walk decides.

use super::step::udp_tunnel;
use super::{Dissection, FlowLayer, LinkType, Outcome};
use crate::flow::{AddrBytes, FiveTuple, FlowKey, proto};
use crate::net::MacAddr;

const TAGGED: u16 = 0x8100;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

/// Source and destination address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends<'a> {
    /// IPv4, as numbers in the order of their bytes.
    V4(u32, u32),
    /// IPv6.
    V6(&'a AddrBytes, &'a AddrBytes),
}

/// What a plain packet says, in its direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plain<'a> {
    /// Destination and source MAC, as they stand in the frame.
    pub macs: &'a [u8; 12],
    /// VLAN identifier of the tag, if there is one; 0 is a priority tag.
    pub tag: Option<u16>,
    /// Addresses.
    pub ends: Ends<'a>,
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// [`proto::TCP`] or [`proto::UDP`].
    pub proto: u8,
    /// TCP flags, 0 for UDP.
    pub tcp_flags: u8,
}

/// Ports, protocol and flags.
struct Transport(u16, u16, u8, u8);

impl<'a> Plain<'a> {
    /// Reads a packet if it is plain. Inlined always: the hot path keeps the fields in registers.
    #[must_use]
    #[inline(always)]
    pub fn read(link_type: LinkType, bytes: &'a [u8], orig_len: u32) -> Option<Self> {
        if link_type != LinkType::ETHERNET {
            return None;
        }
        let (macs, rest) = bytes.split_first_chunk::<12>()?;
        let (&[t0, t1], mut rest) = rest.split_first_chunk()?;
        let (mut ethertype, mut tag) = (u16::from_be_bytes([t0, t1]), None);
        if ethertype == TAGGED {
            let (&[c0, c1, t0, t1], behind) = rest.split_first_chunk()?;
            tag = Some(u16::from_be_bytes([c0, c1]) & 0x0fff);
            (ethertype, rest) = (u16::from_be_bytes([t0, t1]), behind);
        }
        // Only a capture that was cut may lack bytes that a length counts.
        let whole = bytes.len() as u64 >= u64::from(orig_len);
        let (ends, Transport(src_port, dst_port, proto, tcp_flags)) = match ethertype {
            IPV4 => ipv4(rest, whole)?,
            IPV6 => ipv6(rest, whole)?,
            _ => return None,
        };
        Some(Self { macs, tag, ends, src_port, dst_port, proto, tcp_flags })
    }

    /// VLAN identifier as a [`FlowKey`] has it.
    #[must_use]
    #[inline]
    pub fn vlan(&self) -> u16 {
        self.tag.filter(|tag| *tag != 0).unwrap_or(FlowKey::NO_VLAN)
    }

    /// The only layer.
    #[must_use]
    #[inline]
    pub fn layer(&self) -> FlowLayer {
        let ((src, dst), version) = match self.ends {
            Ends::V4(src, dst) => ((mapped(src), mapped(dst)), 4),
            Ends::V6(src, dst) => ((*src, *dst), 6),
        };
        let Self { src_port, dst_port, proto, tcp_flags, tag, .. } = *self;
        let tuple = FiveTuple { src, dst, src_port, dst_port, proto, version };
        FlowLayer { tuple, vlan: tag.filter(|tag| *tag != 0), tcp_flags, fragment: None }
    }

    /// Fills `out` with the same.
    #[inline]
    pub fn dissection(&self, out: &mut Dissection) {
        out.clear();
        let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5] = *self.macs;
        out.macs = Some((MacAddr([s0, s1, s2, s3, s4, s5]), MacAddr([d0, d1, d2, d3, d4, d5])));
        // Both lists are empty, so that one entry fits.
        if let Some(tag) = self.tag {
            let _ = out.vlans.push(tag);
        }
        let _ = out.layers.push(self.layer());
        out.outcome = Outcome::Complete;
    }
}

/// The 16-byte form of an IPv4 address.
#[must_use]
#[inline]
pub const fn mapped(addr: u32) -> AddrBytes {
    (0xffff_0000_0000 | addr as u128).to_be_bytes()
}

#[inline(always)]
fn ipv4(rest: &[u8], whole: bool) -> Option<(Ends<'_>, Transport)> {
    let (ip, behind) = rest.split_first_chunk::<20>()?;
    let &[0x45, _, l0, l1, _, _, f0, f1, _, protocol, _, _, s0, s1, s2, s3, d0, d1, d2, d3] = ip else {
        return None;
    };
    let declared = usize::from(u16::from_be_bytes([l0, l1])).checked_sub(20)?;
    // The flag that says "do not fragment", and the reserved one, change nothing.
    if u16::from_be_bytes([f0, f1]) & 0x3fff != 0 {
        return None;
    }
    let ends = Ends::V4(u32::from_be_bytes([s0, s1, s2, s3]), u32::from_be_bytes([d0, d1, d2, d3]));
    Some((ends, transport(behind, declared, whole, protocol)?))
}

#[inline(always)]
fn ipv6(rest: &[u8], whole: bool) -> Option<(Ends<'_>, Transport)> {
    let (&[v, _, _, _, l0, l1, next_header, _], behind) = rest.split_first_chunk()?;
    let (src, behind) = behind.split_first_chunk()?;
    let (dst, behind) = behind.split_first_chunk()?;
    // A length of 0 stands for a jumbogram, or for what segmentation offload left out.
    let declared = usize::from(u16::from_be_bytes([l0, l1]));
    if v >> 4 != 6 || declared == 0 {
        return None;
    }
    let ends = Ends::V6(src, dst);
    Some((ends, transport(behind, declared, whole, next_header)?))
}

/// Ports and flags behind an IP header that declares `declared` bytes of payload.
#[inline(always)]
fn transport(behind: &[u8], declared: usize, whole: bool, protocol: u8) -> Option<Transport> {
    if whole && declared > behind.len() {
        return None;
    }
    let payload = &behind[..declared.min(behind.len())];
    match protocol {
        proto::TCP => {
            let &[s0, s1, d0, d1, _, _, _, _, _, _, _, _, offset, flags, _, _, _, _, _, _] =
                payload.first_chunk()?;
            let header_len = usize::from(offset >> 4) * 4;
            let fits = (20..=payload.len()).contains(&header_len);
            let ports = (u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1]));
            fits.then_some(Transport(ports.0, ports.1, proto::TCP, flags))
        }
        proto::UDP => {
            let &[s0, s1, d0, d1, l0, l1, _, _] = payload.first_chunk()?;
            let fits = (8..=declared).contains(&usize::from(u16::from_be_bytes([l0, l1])));
            let ports = (u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1]));
            let plain = fits && udp_tunnel(ports.0, ports.1).is_break();
            plain.then_some(Transport(ports.0, ports.1, proto::UDP, 0))
        }
        _ => None,
    }
}
