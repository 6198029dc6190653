//! Which flow a packet belongs to, and where its payload lies.

use hindcap_wire::flow::{FlowKey, proto};
use hindcap_wire::index::keys::fold;
use hindcap_wire::packet::plain::Plain;
use hindcap_wire::packet::{Dissection, LinkType, Outcome, Packet, dissect_generally};

/// Ports of name services: DNS, multicast DNS, LLMNR. What they say is the key to all other traffic.
const NAME_PORTS: [u16; 3] = [53, 5353, 5355];
/// Encapsulations that [`network`] steps over.
const TAGS_MAX: usize = 4;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look<'a> {
    /// The flow.
    pub key: FlowKey,
    /// Of the flow, the same in both directions; never 0.
    pub hash: u64,
    /// Whether the packet travels from the end that sorts first.
    pub forward: bool,
    pub tcp_flags: u8,
    pub proto: u8,
    /// A name service.
    pub names: bool,
    /// Read the short way; otherwise the dissection has it.
    pub plain: bool,
    pub transport: Option<Transport<'a>>,
}

/// A TCP or UDP header, and what is behind it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Transport<'a> {
    /// Where the payload begins in the frame.
    pub headers_end: usize,
    /// The captured part of it.
    pub payload: &'a [u8],
    /// Its length on the wire.
    pub payload_bytes: u32,
    /// TCP sequence number, 0 for UDP.
    pub sequence: u32,
}

/// Looks at a packet; `None` when nothing of it may be left out: it has no IP layer, or contradicts itself. Tunnelled
/// packets belong to their innermost flow.
#[inline]
pub(super) fn look<'a>(
    link_type: LinkType,
    packet: &Packet<'a>,
    found: &mut Dissection,
    seed: &[u64; 4],
) -> Option<Look<'a>> {
    let bytes = packet.bytes;
    let (mut layer, plain, single) = match Plain::read(link_type, bytes, packet.orig_len) {
        Some(plain) => (plain.layer(), true, true),
        None => {
            dissect_generally(link_type, bytes, packet.orig_len, found);
            let layer = *found.layers.last()?;
            (layer, false, found.layers.len() == 1)
        }
    };
    if layer.tuple.proto == 0 || (!plain && found.outcome == Outcome::Malformed) {
        return None;
    }
    if layer.fragment.is_some() {
        // All fragments between two hosts are one flow: only the first has ports, and they stay or go together.
        (layer.tuple.src_port, layer.tuple.dst_port, layer.tcp_flags) = (0, 0, 0);
    }
    let (key, forward) = FlowKey::of(&layer.tuple, layer.vlan);
    let [w0, w1, w2, w3, w4] = key.words();
    let [s0, s1, s2, s3] = *seed;
    let hash = fold(fold(w0 ^ s0, w1 ^ s1) ^ fold(w2 ^ s2, w3 ^ s3), w4 ^ s0);
    let with_ports = matches!(layer.tuple.proto, proto::TCP | proto::UDP);
    let is_name = |port| NAME_PORTS.contains(&port);
    let transport = (single && with_ports && layer.fragment.is_none())
        .then(|| network(link_type, bytes).and_then(|at| transport(bytes, at)))
        .flatten();
    Some(Look {
        key,
        hash: hash.max(1),
        forward,
        tcp_flags: layer.tcp_flags,
        proto: layer.tuple.proto,
        names: with_ports && (is_name(layer.tuple.src_port) || is_name(layer.tuple.dst_port)),
        plain,
        transport,
    })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.first_chunk().copied().map(u16::from_be_bytes)
}

/// Where the IP header begins behind link layer, VLAN tags and PPPoE.
#[inline]
fn network(link_type: LinkType, bytes: &[u8]) -> Option<usize> {
    let mut at = match link_type {
        LinkType::ETHERNET => 12,
        LinkType::LINUX_SLL => 14,
        LinkType::RAW | LinkType::IPV4 | LinkType::IPV6 => return Some(0),
        _ => return None,
    };
    for _ in 0..=TAGS_MAX {
        match u16_at(bytes, at)? {
            0x0800 | 0x86dd => return Some(at + 2),
            0x8100 | 0x88a8 | 0x9100 => at += 4,
            // PPPoE session: six bytes of its own, then the PPP protocol.
            0x8864 => return matches!(u16_at(bytes, at + 8)?, 0x0021 | 0x0057).then_some(at + 10),
            _ => return None,
        }
    }
    None
}

/// The transport header of the IP packet that begins at `at`.
#[inline]
fn transport(bytes: &[u8], at: usize) -> Option<Transport<'_>> {
    let ip = bytes.get(at..)?;
    let (header, declared, protocol) = match ip.first()? >> 4 {
        4 => (usize::from(ip[0] & 15) * 4, u16_at(ip, 2)?.into(), *ip.get(9)?),
        6 => (40, usize::from(u16_at(ip, 4)?) + 40, *ip.get(6)?),
        _ => return None,
    };
    let captured = ip.get(..declared.min(ip.len()))?;
    let behind = captured.get(header..)?;
    let (own, sequence) = match protocol {
        proto::TCP => {
            let sequence = behind.get(4..8)?.first_chunk().copied().map(u32::from_be_bytes)?;
            (usize::from(behind.get(12)? >> 4) * 4, sequence)
        }
        proto::UDP => (8, 0),
        _ => return None,
    };
    let payload = behind.get(own..)?;
    let payload_bytes = declared.checked_sub(header + own)?;
    Some(Transport { headers_end: at + header + own, payload, payload_bytes: payload_bytes as u32, sequence })
}
