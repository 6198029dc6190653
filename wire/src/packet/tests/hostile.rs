//! Packets made to hurt.

use super::*;
use crate::limits::{FLOW_LAYERS_MAX, HEADERS_MAX};

/// A fixed sequence of words (xorshift), so that a failure can be repeated.
struct Words(u64);

impl Words {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

#[test]
fn endless_headers_are_malformed() {
    let tags = ["81000001"; HEADERS_MAX + 4].concat();
    assert_eq!(dissected(LinkType::ETHERNET, &[MACS, &tags, "0800", IPV4_TCP]).outcome, Outcome::Malformed);
    let labels = ["00064040"; 10_000].concat();
    assert_eq!(dissected(LinkType::ETHERNET, &[MACS, "8847", &labels]).outcome, Outcome::Malformed);
    let options = ["3c00000000000000"; HEADERS_MAX + 4].concat();
    let ipv6 = "6000 0000 ffff 3c40 20010db8000000000000000000000001 20010db8000000000000000000000002";
    let out = dissected(LinkType::IPV6, &[ipv6, &options]);
    assert_eq!((out.layers.len(), out.outcome), (1, Outcome::Malformed));
    // As many as are allowed still lead to the ports.
    let tags = ["81000001"; HEADERS_MAX - 1].concat();
    assert_eq!(layers(&dissected(LinkType::ETHERNET, &[MACS, &tags, "0800", IPV4_TCP])).len(), 1);
}

#[test]
fn deeper_layers_than_are_noted() {
    let mut packet = IPV4_TCP.to_string();
    for _ in 0..FLOW_LAYERS_MAX {
        packet = ipv4(4, &packet);
    }
    let out = dissected(LinkType::IPV4, &[&packet]);
    assert_eq!((out.layers.len(), out.outcome), (FLOW_LAYERS_MAX, Outcome::Unsupported));
    assert_eq!(layers(&out)[0], "4 10.0.0.1:0>10.0.0.2:0");
}

#[test]
fn versions_and_header_lengths_that_lie() {
    let malformed = |packet: &str| dissected(LinkType::ETHERNET, &[MACS, packet]);
    assert_eq!(malformed(&["0800", &IPV4_TCP.replacen('4', "5", 1)].concat()).outcome, Outcome::Malformed);
    assert_eq!(malformed(&["86dd", &IPV6_UDP.replacen('6', "4", 1)].concat()).outcome, Outcome::Malformed);
    let short_header = malformed(&["0800", &IPV4_TCP.replacen("45", "44", 1)].concat());
    assert_eq!((short_header.layers.len(), short_header.outcome), (1, Outcome::Malformed));
    // Options that reach past the total length.
    let long_header = malformed(&["0800", &IPV4_TCP.replacen("45", "4f", 1)].concat());
    assert_eq!((long_header.layers.len(), long_header.outcome), (1, Outcome::Truncated));
}

#[test]
fn an_inner_length_beyond_the_outer_is_malformed() {
    let packet = ipv4(4, &IPV4_TCP.replacen("0028", "0029", 1));
    let out = dissected(LinkType::IPV4, &[&packet]);
    assert_eq!((layers(&out)[1].as_str(), out.outcome), (TCP_LAYER, Outcome::Malformed));
}

#[test]
fn nothing_is_left_from_the_packet_before() {
    let mut out = dissected(LinkType::ETHERNET, &[MACS, "8100 0005 0800", IPV4_TCP]);
    dissect(LinkType::IPV4, &[], 0, &mut out);
    assert_eq!(out, Dissection { outcome: Outcome::Truncated, ..Dissection::new() });
}

/// Damaged packets of every kind: no panic, and outcomes of every kind.
#[test]
fn random_damage() {
    let vxlan =
        [MACS, "0800", &ipv4(17, &udp(9, 4789, &["0800000000006400", MACS, "0800", IPV4_TCP].concat()))]
            .concat();
    let gre = [
        MACS,
        "86dd 6000 0000 0030 2f40",
        &"20".repeat(32),
        "b000 86dd 00000000 00000007 00000001",
        IPV6_UDP,
    ]
    .concat();
    let mpls =
        [MACS, "8100 0001 8847 00065140 00000000", MACS, "8864 1100 0001 002a 0021", IPV4_TCP].concat();
    let packets = [hex(&vxlan), hex(&gre), hex(&mpls)];
    let (mut words, mut out, mut seen) = (Words(0x5eed), Dissection::new(), [0; 4]);
    for _ in 0..100_000 {
        let mut bytes = packets[(words.next() % 3) as usize].clone();
        for _ in 0..words.next() % 6 {
            let at = words.next() as usize % bytes.len();
            bytes[at] = words.next() as u8;
        }
        bytes.truncate(words.next() as usize % (bytes.len() * 2));
        let link_types = [0, 1, 1, 1, 9, 12, 50, 51, 101, 104, 105, 108, 113, 127, 228, 229, 276];
        let link_type = LinkType(link_types[words.next() as usize % link_types.len()]);
        dissect(link_type, &bytes, bytes.len() as u32 + (words.next() % 2) as u32, &mut out);
        seen[out.outcome as usize] += 1;
    }
    assert!(seen.iter().all(|count| *count > 500), "{seen:?}");
}
