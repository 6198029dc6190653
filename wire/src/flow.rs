//! Flows: the directed five-tuple of one packet and the key that both directions share.
//!
//! Addresses are held as 16 bytes, IPv4 in the mapped form of RFC 4291 section 2.5.5.2, with the version beside it, so
//! that keys compare and hash as plain bytes on the hot path.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// IP protocol numbers (IANA) that Hindcap names.
pub mod proto {
    /// ICMP, RFC 792.
    pub const ICMP: u8 = 1;
    /// TCP, RFC 9293.
    pub const TCP: u8 = 6;
    /// UDP, RFC 768.
    pub const UDP: u8 = 17;
    /// ICMPv6, RFC 4443.
    pub const ICMPV6: u8 = 58;
    /// SCTP, RFC 9260.
    pub const SCTP: u8 = 132;
}

/// An IP address as 16 bytes: IPv6 as it is, IPv4 mapped (`::ffff:a.b.c.d`).
pub type AddrBytes = [u8; 16];

/// The 16-byte form of `addr`.
#[must_use]
pub const fn addr_bytes(addr: IpAddr) -> AddrBytes {
    match addr {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// The address behind 16 bytes taken from a packet of IP version `version` (4 or 6).
#[must_use]
pub const fn addr_from_bytes(bytes: AddrBytes, version: u8) -> IpAddr {
    if version == 4 {
        IpAddr::V4(Ipv4Addr::new(bytes[12], bytes[13], bytes[14], bytes[15]))
    } else {
        IpAddr::V6(Ipv6Addr::from_bits(u128::from_be_bytes(bytes)))
    }
}

/// What one packet says about its flow, in the direction it travelled.
///
/// For ICMP and ICMPv6 `src_port` is the type and `dst_port` the code, as the packet has them. Protocols without
/// ports, and IP fragments after the first, have 0 and 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FiveTuple {
    /// Source address, 16-byte form.
    pub src: AddrBytes,
    /// Destination address, 16-byte form.
    pub dst: AddrBytes,
    /// Source port, or ICMP type, or 0.
    pub src_port: u16,
    /// Destination port, or ICMP code, or 0.
    pub dst_port: u16,
    /// IP protocol number (of the upper layer, after IPv6 extension headers).
    pub proto: u8,
    /// IP version, 4 or 6.
    pub version: u8,
}

impl FiveTuple {
    /// Source address.
    #[must_use]
    pub const fn src_addr(&self) -> IpAddr {
        addr_from_bytes(self.src, self.version)
    }

    /// Destination address.
    #[must_use]
    pub const fn dst_addr(&self) -> IpAddr {
        addr_from_bytes(self.dst, self.version)
    }

    /// The same tuple seen from the other end.
    #[must_use]
    pub const fn reversed(&self) -> Self {
        Self { src: self.dst, dst: self.src, src_port: self.dst_port, dst_port: self.src_port, ..*self }
    }
}

/// Identity of a flow: both directions, the same key. `a` is the end whose (address, port) sorts first bytewise.
///
/// ICMP and ICMPv6 follow Community ID v1: where a type has a counterpart (echo request and reply), the type is the
/// port of the sender and the counterpart that of the receiver, so that both directions meet. Any other message is a
/// flow of its own kind: `a` is the sender, whatever the addresses, and the ports are type and code. So the Community
/// ID is a function of the key alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FlowKey {
    /// Address of end `a`, 16-byte form.
    pub a: AddrBytes,
    /// Address of end `b`, 16-byte form.
    pub b: AddrBytes,
    /// Port of end `a`, 0 where there is none.
    pub a_port: u16,
    /// Port of end `b`, 0 where there is none.
    pub b_port: u16,
    /// Outermost VLAN identifier, [`FlowKey::NO_VLAN`] when untagged.
    pub vlan: u16,
    /// IP protocol number.
    pub proto: u8,
    /// IP version, 4 or 6.
    pub version: u8,
}

const _: () = assert!(size_of::<FlowKey>() == 40, "a key is five words: see FlowKey::words");

impl FlowKey {
    /// Marks an untagged flow; not a valid 12-bit identifier.
    pub const NO_VLAN: u16 = u16::MAX;

    /// The key of `tuple` on `vlan`, and whether the packet travelled from `a` to `b`.
    #[must_use]
    #[inline]
    pub fn of(tuple: &FiveTuple, vlan: Option<u16>) -> (Self, bool) {
        let mut ports = (tuple.src_port, tuple.dst_port);
        let mut forward = None;
        if matches!(tuple.proto, proto::ICMP | proto::ICMPV6) {
            match icmp_counterpart(tuple.proto, tuple.src_port) {
                Some(counterpart) => ports.1 = counterpart,
                None => forward = Some(true),
            }
        }
        let forward = forward.unwrap_or_else(|| ends_in_order(tuple, ports));
        let (a, b, a_port, b_port) = if forward {
            (tuple.src, tuple.dst, ports.0, ports.1)
        } else {
            (tuple.dst, tuple.src, ports.1, ports.0)
        };
        let vlan = vlan.unwrap_or(Self::NO_VLAN);
        (Self { a, b, a_port, b_port, vlan, proto: tuple.proto, version: tuple.version }, forward)
    }

    /// The whole key as five words, for hashing; equal keys and only those have equal words.
    #[must_use]
    #[inline]
    pub const fn words(&self) -> [u64; 5] {
        let (a, b) = (u128::from_be_bytes(self.a), u128::from_be_bytes(self.b));
        let ports = (self.a_port as u64) << 48 | (self.b_port as u64) << 32;
        let rest = (self.vlan as u64) << 16 | (self.proto as u64) << 8 | self.version as u64;
        [(a >> 64) as u64, a as u64, (b >> 64) as u64, b as u64, ports | rest]
    }
}

/// Whether the source end sorts before the destination end.
#[inline]
fn ends_in_order(tuple: &FiveTuple, (src_port, dst_port): (u16, u16)) -> bool {
    (u128::from_be_bytes(tuple.src), src_port) <= (u128::from_be_bytes(tuple.dst), dst_port)
}

/// The type that answers an ICMP or ICMPv6 type, or that it answers, as Community ID v1 lists them.
const fn icmp_counterpart(protocol: u8, icmp_type: u16) -> Option<u16> {
    Some(match (protocol, icmp_type) {
        // Echo, router discovery, timestamp, information, address mask.
        (proto::ICMP, 0) => 8,
        (proto::ICMP, 8) => 0,
        (proto::ICMP, 9) => 10,
        (proto::ICMP, 10) => 9,
        (proto::ICMP, 13) => 14,
        (proto::ICMP, 14) => 13,
        (proto::ICMP, 15) => 16,
        (proto::ICMP, 16) => 15,
        (proto::ICMP, 17) => 18,
        (proto::ICMP, 18) => 17,
        // Echo, listener, router, neighbour, node information, home agent discovery.
        (proto::ICMPV6, 128) => 129,
        (proto::ICMPV6, 129) => 128,
        (proto::ICMPV6, 130) => 131,
        (proto::ICMPV6, 131) => 130,
        (proto::ICMPV6, 133) => 134,
        (proto::ICMPV6, 134) => 133,
        (proto::ICMPV6, 135) => 136,
        (proto::ICMPV6, 136) => 135,
        (proto::ICMPV6, 139) => 140,
        (proto::ICMPV6, 140) => 139,
        (proto::ICMPV6, 144) => 145,
        (proto::ICMPV6, 145) => 144,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuple() -> FiveTuple {
        FiveTuple {
            src: addr_bytes(IpAddr::from([192, 0, 2, 9])),
            dst: addr_bytes(IpAddr::from([192, 0, 2, 1])),
            src_port: 40_000,
            dst_port: 443,
            proto: proto::TCP,
            version: 4,
        }
    }

    #[test]
    fn both_directions_share_one_key() {
        let (there, forward) = FlowKey::of(&tuple(), Some(7));
        let (back, backward) = FlowKey::of(&tuple().reversed(), Some(7));
        assert_eq!(there, back);
        assert_ne!(forward, backward);
        assert_ne!(there, FlowKey::of(&tuple(), None).0);
        assert_eq!(there.a_port, 443);
    }

    #[test]
    fn icmp_request_and_reply_are_one_flow() {
        let ping = FiveTuple { src_port: 8, dst_port: 0, proto: proto::ICMP, ..tuple() };
        let pong = FiveTuple { src_port: 0, ..ping.reversed() };
        assert_eq!(FlowKey::of(&ping, None).0, FlowKey::of(&pong, None).0);
        let other_way = FlowKey::of(&FiveTuple { src_port: 8, ..ping.reversed() }, None).0;
        assert_ne!(FlowKey::of(&ping, None).0, other_way, "a ping in the other direction is another flow");
    }

    #[test]
    fn icmp_without_counterpart_keeps_its_direction() {
        let unreachable = FiveTuple { src_port: 3, dst_port: 1, proto: proto::ICMP, ..tuple() };
        let (key, forward) = FlowKey::of(&unreachable, None);
        assert!(forward && key.a == unreachable.src && (key.a_port, key.b_port) == (3, 1));
        let back = FiveTuple { src: unreachable.dst, dst: unreachable.src, ..unreachable };
        assert_ne!(FlowKey::of(&back, None).0, key);
    }

    #[test]
    fn words_tell_every_field_apart() {
        let key = FlowKey::of(&tuple(), Some(7)).0;
        let others = [
            FlowKey { a: [9; 16], ..key },
            FlowKey { b: [9; 16], ..key },
            FlowKey { a_port: 1, ..key },
            FlowKey { b_port: 1, ..key },
            FlowKey { vlan: 8, ..key },
            FlowKey { proto: 17, ..key },
            FlowKey { version: 6, ..key },
        ];
        for other in others {
            assert_ne!(other.words(), key.words(), "{other:?}");
        }
    }
}
