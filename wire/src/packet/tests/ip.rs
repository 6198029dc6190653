//! IP and what it carries directly.

use super::*;

const ADDRS6: &str = "20010db8000000000000000000000001 20010db8000000000000000000000002";

/// IPv6 around `payload`.
fn ipv6(next_header: u8, payload: &str) -> String {
    let len = hex(payload).len();
    alloc::format!("6000 0000 {len:04x} {next_header:02x}40 {ADDRS6} {payload}")
}

#[test]
fn ipv4_options_are_stepped_over() {
    let packet = "4700 0030 1234 0000 4006 0000 c0000201 c6336407 9404 0000 0101 0100
        9c40 01bb 00000001 00000002 5012 ffff 0000 0000";
    assert_complete(LinkType::IPV4, &[packet], &[TCP_LAYER]);
}

#[test]
fn ipv4_total_length() {
    // Longer than what was captured, and the capture is cut: fine.
    let long = hex(&IPV4_TCP.replacen("0028", "05dc", 1));
    let mut out = Dissection::new();
    dissect(LinkType::IPV4, &long, 1500, &mut out);
    assert_eq!((layers(&out)[0].as_str(), out.outcome), (TCP_LAYER, Outcome::Complete));
    // Longer than what was on the wire: the frame is too short.
    dissect(LinkType::IPV4, &long, 40, &mut out);
    assert_eq!((layers(&out)[0].as_str(), out.outcome), (TCP_LAYER, Outcome::Truncated));
    // Shorter than its own header, though ports are there to be found.
    let short = dissected(LinkType::IPV4, &[&IPV4_TCP.replacen("0028", "0013", 1)]);
    assert_eq!((layers(&short)[0].as_str(), short.outcome), (TCP_LAYER, Outcome::Malformed));
    // 0 stands for a length that the card fills in.
    assert_complete(LinkType::IPV4, &[&IPV4_TCP.replacen("0028", "0000", 1)], &[TCP_LAYER]);
}

#[test]
fn ipv6_payload_length() {
    let short = dissected(LinkType::IPV6, &[&IPV6_UDP.replacen("0008", "0007", 1)]);
    assert_eq!((layers(&short)[0].as_str(), short.outcome), (UDP_LAYER, Outcome::Malformed));
    assert_complete(LinkType::IPV6, &[&IPV6_UDP.replacen("0008", "0000", 1)], &[UDP_LAYER]);
}

#[test]
fn ports_are_found_before_the_cut() {
    let bytes = hex(&[MACS, "0800", IPV4_TCP].concat());
    for caplen in 14..54 {
        let out = cut(LinkType::ETHERNET, &bytes, caplen);
        let expected: &[&str] = match caplen {
            ..34 => &[],
            34..38 => &["6 192.0.2.1:0>198.51.100.7:0"],
            _ => &[TCP_LAYER],
        };
        assert_eq!(layers(&out), expected, "{caplen}");
        assert_eq!(out.outcome, Outcome::Truncated, "{caplen}");
        let flags = out.layers.first().map_or(0, |layer| layer.tcp_flags);
        assert_eq!(flags, if caplen >= 48 { 0x12 } else { 0 }, "{caplen}");
    }
}

#[test]
fn ipv6_extension_headers() {
    let udp = udp(5353, 53, "");
    // Hop-by-hop, routing, destination options, authentication (its length counts words of four bytes).
    let chain = [
        "2b00 0000 00000000",
        "3c00 0000 00000000",
        "3300 0000 00000000",
        "1101 0000 00000000 00000000",
        &udp,
    ];
    assert_complete(LinkType::IPV6, &[&ipv6(0, &chain.concat())], &[UDP_LAYER]);
    assert_complete(LinkType::IPV6, &[&ipv6(59, "0000")], &["59 2001:db8::1:0>2001:db8::2:0"]);
    let esp = dissected(LinkType::IPV6, &[&ipv6(50, "00000001 00000001")]);
    assert_eq!(
        (layers(&esp)[0].as_str(), esp.outcome),
        ("50 2001:db8::1:0>2001:db8::2:0", Outcome::Unsupported)
    );
}

#[test]
fn ipv4_authentication_header() {
    let payload = ["1104 0000 00000001 00000001", &"00".repeat(12), &udp(1, 2, "")].concat();
    assert_complete(LinkType::IPV4, &[&ipv4(51, &payload)], &["17 10.0.0.1:1>10.0.0.2:2"]);
}

#[test]
fn icmp_type_and_code_stand_for_ports() {
    assert_complete(LinkType::IPV4, &[&ipv4(1, "0800 0000 0001 0001")], &["1 10.0.0.1:8>10.0.0.2:0"]);
    assert_complete(
        LinkType::IPV6,
        &[&ipv6(58, "8700 0000 00000000")],
        &["58 2001:db8::1:135>2001:db8::2:0"],
    );
    assert_eq!(dissected(LinkType::IPV4, &[&ipv4(1, "0800 00")]).outcome, Outcome::Malformed);
    // The packet quoted in an error is no layer.
    let error = ipv4(1, &["0301 0000 00000000", IPV4_TCP].concat());
    assert_complete(LinkType::IPV4, &[&error], &["1 10.0.0.1:3>10.0.0.2:1"]);
}

#[test]
fn sctp_ports() {
    let sctp = "0007 0bd0 00000000 00000000 0300 0010";
    assert_complete(LinkType::IPV4, &[&ipv4(132, sctp)], &["132 10.0.0.1:7>10.0.0.2:3024"]);
}

#[test]
fn other_protocols_are_unsupported_and_keep_their_number() {
    for protocol in [2, 50, 89, 136] {
        let out = dissected(LinkType::IPV4, &[&ipv4(protocol, "0102 0304 0506 0708")]);
        assert_eq!(layers(&out), [alloc::format!("{protocol} 10.0.0.1:0>10.0.0.2:0")]);
        assert_eq!(out.outcome, Outcome::Unsupported);
    }
}

#[test]
fn bad_lengths_in_transport_headers() {
    for (protocol, header) in [
        (6, "9c40 01bb 00000001 00000002 4012 ffff 0000 0000"),
        (6, "9c40 01bb 00000001 00000002 6012 ffff 0000 0000"),
        (17, "9c40 01bb 0007 0000"),
        (17, "9c40 01bb 0009 0000"),
        (132, "9c40 01bb 0000 0000"),
    ] {
        let out = dissected(LinkType::IPV4, &[&ipv4(protocol, header)]);
        assert_eq!(layers(&out), [alloc::format!("{protocol} 10.0.0.1:40000>10.0.0.2:443")], "{header}");
        assert_eq!(out.outcome, Outcome::Malformed, "{header}");
    }
}
