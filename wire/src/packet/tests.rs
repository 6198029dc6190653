//! Exact bytes in, exact layers out.

use alloc::vec::Vec;
use core::net::IpAddr;

use super::*;
use crate::flow::{addr_bytes, proto};

/// Bytes from hexadecimal text; white space does not count.
pub(super) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap()).collect()
}

/// Dissects a whole packet.
pub(super) fn dissected(link_type: LinkType, bytes: &[u8]) -> Dissection {
    let mut out = Dissection::new();
    dissect(link_type, bytes, bytes.len() as u32, &mut out);
    out
}

/// A layer as text: `version proto src:port>dst:port vlan`.
pub(super) fn layers(out: &Dissection) -> Vec<String> {
    let text = |layer: &FlowLayer| {
        let t = &layer.tuple;
        let vlan = layer.vlan.map_or(String::new(), |vlan| alloc::format!(" vlan {vlan}"));
        alloc::format!("{} {}:{}>{}:{}{vlan}", t.proto, t.src_addr(), t.src_port, t.dst_addr(), t.dst_port)
    };
    out.layers.iter().map(text).collect()
}

const IPV4_TCP: &str = "4500 0028 1234 0000 4006 0000 c0000201 c6336407
    9c40 01bb 00000001 00000002 5012 ffff 0000 0000";
const ETHERNET: &str = "020000000002 020000000001";

#[test]
fn ethernet_ipv4_tcp() {
    let out = dissected(LinkType::ETHERNET, &hex(&[ETHERNET, "0800", IPV4_TCP].concat()));
    let macs = (MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2]));
    assert_eq!(out.macs, Some(macs));
    let tuple = FiveTuple {
        src: addr_bytes(IpAddr::from([192, 0, 2, 1])),
        dst: addr_bytes(IpAddr::from([198, 51, 100, 7])),
        src_port: 40_000,
        dst_port: 443,
        proto: proto::TCP,
        version: 4,
    };
    assert_eq!(out.layers, [FlowLayer { tuple, vlan: None, tcp_flags: 0x12, fragment: None }]);
    assert_eq!((out.outcome, out.vlans.len()), (Outcome::Complete, 0));
}

#[test]
fn vlan_tags_of_any_depth() {
    let tags = "88a8 0064 9100 2000 8100 e00a 8100 0001 8100 0002 0800";
    let out = dissected(LinkType::ETHERNET, &hex(&[ETHERNET, tags, IPV4_TCP].concat()));
    assert_eq!(out.vlans, [100, 0, 10, 1]);
    assert_eq!(layers(&out), ["6 192.0.2.1:40000>198.51.100.7:443 vlan 100"]);
    assert_eq!(out.outcome, Outcome::Complete);
}
