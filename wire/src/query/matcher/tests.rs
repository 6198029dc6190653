//! Frames built by hand, dissected, and asked; the same questions against tcpdump stand in the extract crate.

use alloc::vec::Vec;

use super::*;
use crate::packet::fragments::FragmentCache;
use crate::packet::{LinkType, dissect};

const TCP: u8 = 6;
const UDP: u8 = 17;

/// An Ethernet frame from 02::1 to 02::2 with `tags`, then `ethertype` and `payload`.
fn ethernet(tags: &[u16], ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame: Vec<u8> = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1].to_vec();
    for tag in tags {
        frame.extend([0x81, 0]);
        frame.extend(tag.to_be_bytes());
    }
    frame.extend(ethertype.to_be_bytes());
    frame.extend(payload);
    frame
}

/// An IPv4 packet 10.0.0.`src` -> 10.0.0.`dst`; `fragment` is the field of flags and offset.
fn ipv4(src: u8, dst: u8, proto: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
    let total = u16::try_from(20 + payload.len()).unwrap().to_be_bytes();
    let fragment = fragment.to_be_bytes();
    let mut packet: Vec<u8> = [0x45, 0, total[0], total[1], 0, 9, fragment[0], fragment[1]].to_vec();
    packet.extend([64, proto, 0, 0, 10, 0, 0, src, 10, 0, 0, dst]);
    packet.extend(payload);
    packet
}

/// A TCP header, or the first bytes of a UDP one.
fn ports(src: u16, dst: u16) -> Vec<u8> {
    let mut header: Vec<u8> = src.to_be_bytes().to_vec();
    header.extend(dst.to_be_bytes());
    header.extend([0; 8]);
    header.extend([0x50, 0x10, 0, 0, 0, 0, 0, 0]);
    header
}

fn dissected(frame: &[u8]) -> Dissection {
    let mut dissection = Dissection::default();
    dissect(LinkType::ETHERNET, frame, u32::try_from(frame.len()).unwrap(), &mut dissection);
    dissection
}

fn tcp(src: u8, dst: u8, src_port: u16, dst_port: u16) -> Dissection {
    dissected(&ethernet(&[], 0x0800, &ipv4(src, dst, TCP, 0, &ports(src_port, dst_port))))
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn asks(query: &Query, dissection: &Dissection) -> bool {
    Matcher::new(query).unwrap().matches(Timestamp(5), dissection)
}

/// A query with these fields.
macro_rules! query {
    ($($field:ident: $value:expr),* $(,)?) => { Query { $($field: $value.into(),)* ..Query::default() } };
}

#[test]
fn hosts_and_networks_match_either_end_and_two_name_both() {
    let packet = tcp(1, 2, 1000, 80);
    for (nets, found) in [
        (Vec::from([net("10.0.0.1")]), true),
        (Vec::from([net("10.0.0.2")]), true),
        (Vec::from([net("10.0.0.3")]), false),
        (Vec::from([net("10.0.0.0/30")]), true),
        (Vec::from([net("::/0")]), false),
        (Vec::from([net("10.0.0.1"), net("10.0.0.2")]), true),
        (Vec::from([net("10.0.0.2"), net("10.0.0.1")]), true),
        (Vec::from([net("10.0.0.1"), net("10.0.0.1")]), false),
        (Vec::from([net("10.0.0.0/24"), net("10.0.0.2")]), true),
        (Vec::from([net("10.0.0.1"), net("10.0.0.3")]), false),
    ] {
        assert_eq!(asks(&query! { nets: nets.clone() }, &packet), found, "{nets:?}");
    }
}

#[test]
fn ports_and_directed_ends() {
    let packet = tcp(1, 2, 1000, 80);
    let end = |addr: Option<&str>, port: Option<u16>| End { net: addr.map(net), port };
    for (query, found) in [
        (query! { ports: [80] }, true),
        (query! { ports: [1000, 80] }, true),
        (query! { ports: [80, 80] }, false),
        (query! { ports: [81] }, false),
        (query! { src: end(Some("10.0.0.1"), None) }, true),
        (query! { src: end(Some("10.0.0.2"), None) }, false),
        (query! { dst: end(Some("10.0.0.2"), Some(80)) }, true),
        (query! { dst: end(None, Some(1000)) }, false),
        (query! { src: end(None, Some(1000)), dst: end(None, Some(80)), proto: 6 }, true),
        (query! { proto: 17 }, false),
        // Contradictions match nothing.
        (query! { nets: [net("10.0.0.1")], src: end(Some("10.0.0.9"), None) }, false),
    ] {
        assert_eq!(asks(&query, &packet), found, "{query:?}");
    }
}

#[test]
fn ports_are_of_tcp_udp_and_sctp_only() {
    let echo = dissected(&ethernet(&[], 0x0800, &ipv4(1, 2, 1, 0, &[8, 0, 0, 0, 0, 8, 0, 8])));
    assert!(!asks(&query! { ports: [8] }, &echo) && !asks(&query! { ports: [0] }, &echo));
    assert!(asks(&query! { proto: 1, nets: [net("10.0.0.1")] }, &echo));
    for proto in [TCP, UDP, 132] {
        let packet = dissected(&ethernet(&[], 0x0800, &ipv4(1, 2, proto, 0, &ports(7, 8))));
        assert!(asks(&query! { ports: [8] }, &packet), "{proto}");
    }
    let cut = dissected(&ethernet(&[], 0x0800, &ipv4(1, 2, TCP, 0, &[])));
    assert!(!asks(&query! { ports: [0] }, &cut), "no port was read");
    assert!(asks(&query! { ports: [0] }, &tcp(1, 2, 0, 80)));
}

#[test]
fn tags_and_macs_are_of_the_frame() {
    let packet = dissected(&ethernet(&[7, 0xf0_08], 0x0800, &ipv4(1, 2, TCP, 0, &ports(7, 8))));
    assert!(asks(&query! { vlan: 7 }, &packet) && asks(&query! { vlan: 8, ports: [8] }, &packet));
    assert!(!asks(&query! { vlan: 9 }, &packet) && !asks(&query! { vlan: 7 }, &tcp(1, 2, 7, 8)));
    let mac = |last: u8| MacAddr([2, 0, 0, 0, 0, last]);
    assert!(asks(&query! { mac: mac(1) }, &packet) && asks(&query! { mac: mac(2) }, &packet));
    assert!(!asks(&query! { mac: mac(3) }, &packet));
    // A frame that nobody understands is found by its frame and by time alone.
    let unknown = dissected(&ethernet(&[7], 0x1234, &[0; 40]));
    assert!(asks(&query! { vlan: 7, mac: mac(1) }, &unknown) && asks(&Query::default(), &unknown));
    assert!(!asks(&query! { nets: [net("0.0.0.0/0")] }, &unknown));
}

#[test]
fn one_layer_meets_all_conditions() {
    let layer = |src: u8, dst: u8, port: u16| FlowLayer {
        tuple: FiveTuple {
            src: crate::flow::addr_bytes([10, 0, 0, src].into()),
            dst: crate::flow::addr_bytes([10, 0, 0, dst].into()),
            src_port: port,
            dst_port: 9,
            proto: UDP,
            version: 4,
        },
        vlan: None,
        tcp_flags: 0,
        fragment: None,
    };
    let mut tunnel = Dissection::default();
    tunnel.layers.extend([layer(1, 2, 4789), layer(3, 4, 53)]);
    assert!(
        asks(&query! { nets: [net("10.0.0.1")] }, &tunnel)
            && asks(&query! { nets: [net("10.0.0.4")] }, &tunnel)
    );
    assert!(asks(&query! { nets: [net("10.0.0.3")], ports: [53] }, &tunnel));
    assert!(!asks(&query! { nets: [net("10.0.0.1")], ports: [53] }, &tunnel), "two layers");
    assert!(!asks(&query! { nets: [net("10.0.0.1"), net("10.0.0.4")] }, &tunnel), "two layers");
}

#[test]
fn time_is_half_open() {
    let packet = tcp(1, 2, 1000, 80);
    for (start, end, found) in [(5, 6, true), (0, 5, false), (6, 9, false)] {
        let query = query! { time: TimeRange::new(Timestamp(start), Timestamp(end)) };
        assert_eq!(asks(&query, &packet), found, "{start}..{end}");
    }
}

#[test]
fn community_ids_name_flows() {
    // The specification's first TCP baseline: 128.232.110.120:34855 -> 66.35.250.204:80.
    let id = "1:LQU9qZlK+B5F3KDmev6m5PMibrg=";
    let mut packet = ipv4(0, 0, TCP, 0, &ports(34_855, 80));
    packet[12..20].copy_from_slice(&[128, 232, 110, 120, 66, 35, 250, 204]);
    let packet = dissected(&ethernet(&[7], 0x0800, &packet));
    assert!(asks(&query! { community_id: String::from(id) }, &packet));
    assert!(!asks(&query! { community_id: String::from(id), ports: [81] }, &packet));
    assert!(!asks(&query! { community_id: String::from(id) }, &tcp(1, 2, 34_855, 80)));
}

#[test]
fn later_fragments_match_through_the_first() {
    let query = query! { ports: [53], nets: [net("10.0.0.1")] };
    let first = ethernet(&[], 0x0800, &ipv4(1, 2, UDP, 0x2000, &ports(1000, 53)));
    let later = ethernet(&[], 0x0800, &ipv4(1, 2, UDP, 0x0003, &[0xaa; 24]));
    let mut cache = FragmentCache::new(4);
    let mut dissection = dissected(&later);
    cache.resolve(&mut dissection, Timestamp(5));
    assert!(
        !asks(&query, &dissection) && !asks(&query! { ports: [0] }, &dissection),
        "the first is not seen yet"
    );
    assert!(Matcher::new(&query).unwrap().without_ports().matches(Timestamp(5), &dissection));
    cache.resolve(&mut dissected(&first), Timestamp(5));
    cache.resolve(&mut dissection, Timestamp(5));
    assert!(asks(&query, &dissection));
}

#[test]
fn arp_is_found_by_its_addresses() {
    let mut arp: Vec<u8> = [0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 10, 0, 0, 1].to_vec();
    arp.extend([0, 0, 0, 0, 0, 0, 10, 0, 0, 2]);
    let arp = dissected(&ethernet(&[], 0x0806, &arp));
    assert!(
        asks(&query! { nets: [net("10.0.0.1"), net("10.0.0.2")] }, &arp) && asks(&query! { proto: 0 }, &arp)
    );
    assert!(
        !asks(&query! { nets: [net("10.0.0.1")], proto: 6 }, &arp) && !asks(&query! { ports: [0] }, &arp)
    );
}

#[test]
fn flow_keys_rule_out_only_what_is_certain() {
    let may = |query: &Query, packet: &Dissection| {
        let layer = packet.layers.first().unwrap();
        Matcher::new(query).unwrap().may_match_flow(&FlowKey::of(&layer.tuple, layer.vlan).0)
    };
    let packet = tcp(1, 2, 1000, 80);
    let dst = |addr: &str, port: u16| End { net: Some(net(addr)), port: Some(port) };
    for (query, possible) in [
        (query! { nets: [net("10.0.0.2")], ports: [80] }, true),
        (query! { ports: [81] }, false),
        (query! { dst: dst("10.0.0.2", 80) }, true),
        // The key knows no direction: the answer goes the other way.
        (query! { dst: dst("10.0.0.1", 1000) }, true),
        (query! { dst: dst("10.0.0.1", 80) }, false),
        (query! { proto: 17 }, false),
        (query! { vlan: 9 }, true),
    ] {
        assert_eq!(may(&query, &packet), possible, "{query:?}");
    }
    let orphan = dissected(&ethernet(&[], 0x0800, &ipv4(1, 2, UDP, 0x0003, &[0xaa; 24])));
    assert!(may(
        &query! { ports: [53], community_id: String::from("1:LQU9qZlK+B5F3KDmev6m5PMibrg=") },
        &orphan
    ));
    assert!(!may(&query! { ports: [53], nets: [net("10.0.0.3")] }, &orphan));
}

#[test]
fn any_of_several_ends_will_do() {
    let ends = |addr: &str, port| Ends { nets: [net(addr)].into(), ports: [port].into(), ..Ends::default() };
    let query =
        Query { or: [ends("10.0.0.5", 5000)].into(), ..query!(nets: [net("10.0.0.1")], ports: [1000_u16]) };
    for (packet, found) in [
        (tcp(1, 2, 1000, 80), true),
        (tcp(2, 5, 80, 5000), true),
        // All conditions of one, not some of each.
        (tcp(1, 2, 5000, 80), false),
        (tcp(5, 2, 1000, 80), false),
    ] {
        assert_eq!(asks(&query, &packet), found, "{packet:?}");
        let key = FlowKey::of(&packet.layers[0].tuple, None).0;
        assert_eq!(Matcher::new(&query).unwrap().may_match_flow(&key), found, "{packet:?}");
    }
    let udp_only = Query { proto: Some(UDP), ..query };
    assert!(!asks(&udp_only, &tcp(1, 2, 1000, 80)), "what the ends share still holds");
}
