//! Exact bytes in, exact layers out.

use alloc::vec::Vec;

use super::*;

mod fragments;
mod hostile;
mod ip;
mod link;
mod plain;
mod tunnels;

/// Addresses and EtherType position of a frame from 02:..:01 to 02:..:02.
const MACS: &str = "020000000002 020000000001";
/// IPv4 with TCP, 40 bytes: 192.0.2.1:40000 to 198.51.100.7:443, SYN and ACK.
const IPV4_TCP: &str =
    "4500 0028 1234 0000 4006 0000 c0000201 c6336407 9c40 01bb 00000001 00000002 5012 ffff 0000 0000";
/// What [`IPV4_TCP`] is, in the words of [`layers`].
const TCP_LAYER: &str = "6 192.0.2.1:40000>198.51.100.7:443";
/// IPv6 with UDP, 48 bytes: 2001:db8::1 port 5353 to 2001:db8::2 port 53.
const IPV6_UDP: &str = "6000 0000 0008 1140 20010db8000000000000000000000001 20010db8000000000000000000000002 14e9 0035 0008 0000";
/// What [`IPV6_UDP`] is.
const UDP_LAYER: &str = "17 2001:db8::1:5353>2001:db8::2:53";

/// Bytes from hexadecimal text; white space does not count.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap()).collect()
}

/// Dissects a packet of which nothing was cut off.
fn dissected(link_type: LinkType, parts: &[&str]) -> Dissection {
    let bytes = hex(&parts.concat());
    cut(link_type, &bytes, bytes.len())
}

/// Dissects the first `caplen` bytes of a packet.
fn cut(link_type: LinkType, bytes: &[u8], caplen: usize) -> Dissection {
    let mut out = Dissection::new();
    dissect(link_type, &bytes[..caplen], bytes.len() as u32, &mut out);
    out
}

/// Layers as text: protocol, ends, VLAN.
fn layers(out: &Dissection) -> Vec<String> {
    let text = |layer: &FlowLayer| {
        let t = &layer.tuple;
        let vlan = layer.vlan.map_or(String::new(), |vlan| alloc::format!(" vlan {vlan}"));
        alloc::format!("{} {}:{}>{}:{}{vlan}", t.proto, t.src_addr(), t.src_port, t.dst_addr(), t.dst_port)
    };
    out.layers.iter().map(text).collect()
}

/// IPv4 from 10.0.0.1 to 10.0.0.2 around `payload`.
fn ipv4(protocol: u8, payload: &str) -> String {
    let total_len = 20 + hex(payload).len();
    alloc::format!("4500{total_len:04x} 0001 0000 40{protocol:02x} 0000 0a000001 0a000002 {payload}")
}

/// UDP around `payload`.
fn udp(src_port: u16, dst_port: u16, payload: &str) -> String {
    let len = 8 + hex(payload).len();
    alloc::format!("{src_port:04x} {dst_port:04x} {len:04x} 0000 {payload}")
}

/// Asserts the layers of a packet that is understood to its end.
#[track_caller]
fn assert_complete(link_type: LinkType, parts: &[&str], expected: &[&str]) {
    let out = dissected(link_type, parts);
    assert_eq!(layers(&out), expected, "{out:?}");
    assert_eq!(out.outcome, Outcome::Complete, "{out:?}");
}
