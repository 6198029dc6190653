//! Packets in packets.

use super::*;

const OUTER: &str = "10.0.0.1:0>10.0.0.2:0";

/// The layers of [`IPV4_TCP`] inside IPv4 of `protocol`, behind `header`.
#[track_caller]
fn assert_inside(protocol: u8, header: &str) {
    let packet = ipv4(protocol, &[header, IPV4_TCP].concat());
    assert_complete(LinkType::IPV4, &[&packet], &[&alloc::format!("{protocol} {OUTER}"), TCP_LAYER]);
}

/// The layers of [`IPV4_TCP`] inside UDP to `port`, behind `header`.
#[track_caller]
fn assert_inside_udp(port: u16, header: &str) {
    let packet = ipv4(17, &udp(50_000, port, &[header, IPV4_TCP].concat()));
    assert_complete(
        LinkType::IPV4,
        &[&packet],
        &[&alloc::format!("17 10.0.0.1:50000>10.0.0.2:{port}"), TCP_LAYER],
    );
}

fn frame() -> String {
    [MACS, "0800"].concat()
}

#[test]
fn ip_in_ip() {
    assert_inside(4, "");
    assert_complete(LinkType::IPV4, &[&ipv4(41, IPV6_UDP)], &[&["41 ", OUTER].concat(), UDP_LAYER]);
    let four_in_six = "6000 0000 0028 0440 20010db8000000000000000000000001 20010db8000000000000000000000002";
    assert_complete(LinkType::IPV6, &[four_in_six, IPV4_TCP], &["4 2001:db8::1:0>2001:db8::2:0", TCP_LAYER]);
    assert_inside(143, &frame());
    assert_inside(137, "00065140");
    assert_inside(103, "2100 0000 0000 0000");
    let null_register = ipv4(103, &["2100 0000 4000 0000", IPV4_TCP].concat());
    assert_complete(LinkType::IPV4, &[&null_register], &[&["103 ", OUTER].concat()]);
}

#[test]
fn gre_with_every_optional_field() {
    for header in [
        "0000 0800",
        "8000 0800 00000000",
        "2000 0800 00000007",
        "1000 0800 00000001",
        "b000 0800 00000000 00000007 00000001",
        "3081 880b 00300001 00000001 00000000 ff03 0021",
        "0001 880b 0021",
        "0080 0800",
        "0000 883e",
        "0000 883e 00000000",
    ] {
        assert_inside(47, header);
    }
    assert_inside(47, &["2000 6558 00006400", &frame()].concat());
    let bare_acknowledgment = ipv4(47, "2081 880b 00000001 00000001");
    assert_complete(LinkType::IPV4, &[&bare_acknowledgment], &[&["47 ", OUTER].concat()]);
    for (header, outcome) in [("4000 0800 00000000", Outcome::Unsupported), ("0002 0800", Outcome::Malformed)]
    {
        assert_eq!(dissected(LinkType::IPV4, &[&ipv4(47, header)]).outcome, outcome);
    }
}

#[test]
fn erspan_of_all_types() {
    assert_inside(47, &["0000 88be", &frame()].concat());
    assert_inside(47, &["1000 88be 00000001 10640000 00000000", &frame()].concat());
    assert_inside(47, &["1000 22eb 00000001 20640000 00000000 0000 0000", &frame()].concat());
    assert_inside(
        47,
        &["1000 22eb 00000001 20640000 00000000 0000 0001 0000000000000000", &frame()].concat(),
    );
    assert_inside(47, "1000 22eb 00000001 20640000 00000000 0000 0800");
    let wrong_version = ipv4(47, &["1000 88be 00000001 30640000 00000000", &frame(), IPV4_TCP].concat());
    assert_eq!(dissected(LinkType::IPV4, &[&wrong_version]).outcome, Outcome::Malformed);
}

#[test]
fn tunnels_over_udp() {
    assert_inside_udp(4789, &["08000000 00006400", &frame()].concat());
    assert_inside_udp(8472, &["08000000 00006400", &frame()].concat());
    assert_inside_udp(6081, "0000 0800 00006400");
    assert_inside_udp(6081, &["0240 6558 00006400 0102800100000000", &frame()].concat());
    assert_inside_udp(2152, "30ff 0028 00000001");
    assert_inside_udp(2152, "32ff 002c 00000001 0001 00 00");
    assert_inside_udp(2152, "34ff 0034 00000001 0000 00 85 01 1000 85 01 0000 00");
    assert_inside_udp(2152, "34ff 002c 00000001 0000 00 00");
    assert_inside_udp(4754, "0000 0800");
    assert_inside_udp(6635, "00065140");
    let too_short = ipv4(17, &udp(50_000, 2152, &["30ff 0027 00000001", IPV4_TCP].concat()));
    assert_eq!(dissected(LinkType::IPV4, &[&too_short]).outcome, Outcome::Malformed);
    let gtp_answer = ipv4(17, &udp(2152, 50_000, &["30ff 0028 00000001", IPV4_TCP].concat()));
    assert_eq!(dissected(LinkType::IPV4, &[&gtp_answer]).layers.len(), 2);
}

#[test]
fn teredo_with_its_indications() {
    let authentication = "0001 02 03 0102 030405 0000000000000000 00";
    for indication in
        ["", "0000 1234 0a000001", authentication, &[authentication, "0000 1234 0a000001"].concat()]
    {
        let packet = ipv4(17, &udp(3544, 50_000, &[indication, IPV6_UDP].concat()));
        assert_complete(LinkType::IPV4, &[&packet], &["17 10.0.0.1:3544>10.0.0.2:50000", UDP_LAYER]);
    }
}

#[test]
fn what_only_uses_the_port_of_a_tunnel() {
    for (port, payload) in [
        (4789, "00000000 00000000 0102"),
        (6081, "4000 0800 00000000"),
        (6081, "0080 0800 00000000"),
        (2152, "3001 0004 00000000 00000000"),
        (2152, "4800 0000 00000000"),
        (3544, "0a0b 0c0d"),
        (3544, ""),
    ] {
        let packet = ipv4(17, &udp(50_000, port, payload));
        assert_complete(LinkType::IPV4, &[&packet], &[&alloc::format!("17 10.0.0.1:50000>10.0.0.2:{port}")]);
    }
    let answer = ipv4(17, &udp(4789, 50_000, &["08000000 00006400", &frame(), IPV4_TCP].concat()));
    assert_eq!(dissected(LinkType::IPV4, &[&answer]).layers.len(), 1);
}

#[test]
fn vlan_of_a_tunnelled_frame_is_its_own() {
    let tagged = [MACS, "8100 0014 0800", IPV4_TCP].concat();
    let packet = ipv4(17, &udp(50_000, 4789, &["08000000 00006400", &tagged].concat()));
    let out = dissected(LinkType::ETHERNET, &[MACS, "8100 000a 0800", &packet]);
    let expected = ["17 10.0.0.1:50000>10.0.0.2:4789 vlan 10", &[TCP_LAYER, " vlan 20"].concat()];
    assert_eq!((layers(&out), &out.vlans[..]), (expected.map(String::from).into(), &[10][..]));
    let untagged = ipv4(17, &udp(50_000, 4789, &["08000000 00006400", &frame(), IPV4_TCP].concat()));
    let out = dissected(LinkType::ETHERNET, &[MACS, "8100 000a 0800", &untagged]);
    assert_eq!(layers(&out)[1], TCP_LAYER);
    let in_ip = dissected(LinkType::ETHERNET, &[MACS, "8100 000a 0800", &ipv4(4, IPV4_TCP)]);
    assert_eq!(layers(&in_ip)[1], [TCP_LAYER, " vlan 10"].concat());
}

#[test]
fn network_service_headers() {
    let inner = [MACS, "0800", IPV4_TCP].concat();
    let packet = [MACS, "894f", "0006 01 03 00000100", &"00".repeat(16), &inner].concat();
    assert_complete(LinkType::ETHERNET, &[&packet], &[TCP_LAYER]);
    let too_short = [MACS, "894f", "0000 01 03 00000100", &inner].concat();
    assert_eq!(dissected(LinkType::ETHERNET, &[&too_short]).outcome, Outcome::Malformed);
}
