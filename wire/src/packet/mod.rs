//! Dissection: from frame bytes to the flows inside, by checked views, one protocol per file.
//!
//! Nothing is copied and nothing is allocated: [`dissect`] fills a [`Dissection`] that the caller keeps and reuses.
//! A packet that cannot be followed to its end is still noted as far as it was understood, so that it stays
//! retrievable by time and by its outer layers.
//!
//! How it goes: each protocol has one file with one `step` function. It checks the length of its header once, reads it
//! through a fixed-size array (so no accessor can panic), notes what it found and names the next step. The loop in
//! `walk.rs` runs the steps, at most [`HEADERS_MAX`](crate::limits::HEADERS_MAX) of them.
//!
//! What is no flow layer: the packets quoted inside ICMP errors, which never travelled themselves.

mod arp;
mod cooked;
mod erspan;
mod ethernet;
pub mod fragments;
mod geneve;
mod gre;
mod gtp;
mod icmp;
mod ieee80211;
mod ipv4;
mod ipv6;
mod llc;
mod loopback;
mod mpls;
pub mod plain;
mod ppp;
mod pppoe;
mod radiotap;
mod sctp;
mod shim;
mod step;
mod tcp;
mod teredo;
mod udp;
mod vlan;
mod vxlan;
mod walk;

use alloc::string::String;
use core::fmt;

use heapless::Vec;

use crate::flow::FiveTuple;
use crate::limits::{FLOW_LAYERS_MAX, VLAN_TAGS_MAX};
use crate::net::MacAddr;
use crate::time::Timestamp;
use plain::Plain;

/// A LINKTYPE_ value (tcpdump.org/linktypes.html).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct LinkType(pub u16);

impl LinkType {
    /// BSD loopback: a host-endian address family before the IP header.
    pub const NULL: Self = Self(0);
    /// Ethernet, 802.3 and 802.1Q.
    pub const ETHERNET: Self = Self(1);
    /// PPP, RFC 1661.
    pub const PPP: Self = Self(9);
    /// PPP with Cisco HDLC or RFC 1662 framing.
    pub const PPP_HDLC: Self = Self(50);
    /// Raw IP on the BSDs, as some savefiles still number it.
    pub const RAW_BSD: Self = Self(12);
    /// Raw IP on OpenBSD.
    pub const RAW_OPENBSD: Self = Self(14);
    /// PPP over Ethernet, from the PPPoE header on.
    pub const PPP_ETHER: Self = Self(51);
    /// Raw IP, version in the first nibble.
    pub const RAW: Self = Self(101);
    /// Cisco HDLC.
    pub const C_HDLC: Self = Self(104);
    /// 802.11 without radio header.
    pub const IEEE802_11: Self = Self(105);
    /// OpenBSD loopback: a big-endian address family before the IP header.
    pub const LOOP: Self = Self(108);
    /// Linux cooked capture v1.
    pub const LINUX_SLL: Self = Self(113);
    /// 802.11 behind a radiotap header.
    pub const IEEE802_11_RADIOTAP: Self = Self(127);
    /// Raw IPv4.
    pub const IPV4: Self = Self(228);
    /// Raw IPv6.
    pub const IPV6: Self = Self(229);
    /// Linux cooked capture v2.
    pub const LINUX_SLL2: Self = Self(276);
}

/// One captured packet, borrowed from wherever it lies. `caplen` is `bytes.len()`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// When it was captured.
    pub timestamp: Timestamp,
    /// Which interface it came from; an index into the interfaces announced by the source or the segment.
    pub interface: u32,
    /// Length on the wire, bytes; at least `bytes.len()` unless the savefile says otherwise.
    pub orig_len: u32,
    /// The captured bytes.
    pub bytes: &'a [u8],
}

/// Lengths only: payload never reaches a log.
impl fmt::Debug for Packet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (caplen, orig_len) = (self.bytes.len(), self.orig_len);
        write!(f, "Packet({} if{} caplen {caplen} orig_len {orig_len})", self.timestamp, self.interface)
    }
}

/// Where packets come from: a port, or one interface of a savefile.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Interface {
    /// Link type of its packets.
    pub link_type: LinkType,
    /// Bytes kept of each packet, at most [`crate::limits::CAPLEN_MAX`]; 0 means no limit (as in an IDB).
    pub snaplen: u32,
    /// Name for people, such as `eth1`; may be empty.
    pub name: String,
}

impl Interface {
    /// Stands for one whose announcement is lost. No stored interface is like it: their snaplen is never 0.
    #[must_use]
    pub const fn lost() -> Self {
        Self { link_type: LinkType(u16::MAX), snaplen: 0, name: String::new() }
    }

    /// Whether this stands for one whose announcement is lost.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        *self == Self::lost()
    }

    /// Fills the places of lost ones in `list` from what a repeat tells; whether there was any.
    pub fn learn(list: &mut [Self], told: impl Iterator<Item = Self>) -> bool {
        let mut learned = false;
        for (known, told) in list.iter_mut().zip(told).filter(|(known, _)| known.is_lost()) {
            (*known, learned) = (told, true);
        }
        learned
    }
}

/// How far a packet could be followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// To the end of every header we know.
    #[default]
    Complete,
    /// The captured bytes end inside a header (`caplen < orig_len`, or a frame that is too short).
    Truncated,
    /// A header contradicts itself: bad length, bad version, too many headers.
    Malformed,
    /// A link type, EtherType or IP protocol that Hindcap does not look into, or more IP layers than are noted.
    Unsupported,
}

/// Where an IP fragment belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fragment {
    /// IP identification (16 bits for IPv4, 32 for IPv6).
    pub id: u32,
    /// Offset of the payload in the original datagram, bytes. 0 marks the first fragment, which has the ports.
    pub offset: u32,
    /// Whether more fragments follow.
    pub more: bool,
}

/// One IP layer of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowLayer {
    /// Addresses, ports and protocol, in the packet's direction.
    pub tuple: FiveTuple,
    /// Outermost VLAN identifier in force at this layer: of the frame it lies in, so tags around a tunnelled frame do
    /// not count for what is inside. A priority tag (identifier 0) is no VLAN.
    pub vlan: Option<u16>,
    /// TCP flags (low 8 bits: FIN 0x01 SYN 0x02 RST 0x04 PSH 0x08 ACK 0x10), 0 for others.
    pub tcp_flags: u8,
    /// Set when the layer is an IP fragment; not for atomic fragments (RFC 6946), which are whole datagrams.
    pub fragment: Option<Fragment>,
}

/// What [`dissect`] found. Reuse one value: filling it allocates nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dissection {
    /// Source and destination MAC of the outermost frame, where the link type has them. Cooked captures have the
    /// source only; the destination is then all zeros.
    pub macs: Option<(MacAddr, MacAddr)>,
    /// VLAN identifiers of the outermost frame, outermost first.
    pub vlans: Vec<u16, VLAN_TAGS_MAX>,
    /// IP layers, outermost first. ARP gives one layer too: sender and target address with `proto` 0 (RFC 826).
    pub layers: Vec<FlowLayer, FLOW_LAYERS_MAX>,
    /// How far it went.
    pub outcome: Outcome,
}

impl Dissection {
    /// An empty one, to be reused for every packet.
    #[must_use]
    pub const fn new() -> Self {
        Self { macs: None, vlans: Vec::new(), layers: Vec::new(), outcome: Outcome::Complete }
    }

    /// Forgets the packet before; touches lengths only.
    #[inline]
    pub fn clear(&mut self) {
        self.macs = None;
        self.vlans.clear();
        self.layers.clear();
        self.outcome = Outcome::Complete;
    }
}

/// Dissects one packet into `out`, whatever `out` held before.
///
/// `bytes` are the captured bytes, `orig_len` the length on the wire. Neither allocates nor panics.
#[inline]
pub fn dissect(link_type: LinkType, bytes: &[u8], orig_len: u32, out: &mut Dissection) {
    match Plain::read(link_type, bytes, orig_len) {
        Some(plain) => plain.dissection(out),
        None => dissect_generally(link_type, bytes, orig_len, out),
    }
}

/// As [`dissect`], without its shorter way for plain packets.
#[inline(never)]
pub fn dissect_generally(link_type: LinkType, bytes: &[u8], orig_len: u32, out: &mut Dissection) {
    out.clear();
    walk::run(link_type, bytes, orig_len, out);
}

#[cfg(test)]
mod tests;
