//! Link types, and what stands between them and IP.

use super::*;
use crate::flow::FiveTuple;
use crate::net::MacAddr;

const SRC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const DST: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

#[test]
fn ethernet_ipv4_tcp() {
    let out = dissected(LinkType::ETHERNET, &[MACS, "0800", IPV4_TCP]);
    let tuple = FiveTuple {
        src: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1],
        dst: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 198, 51, 100, 7],
        src_port: 40_000,
        dst_port: 443,
        proto: 6,
        version: 4,
    };
    assert_eq!(out.layers, [FlowLayer { tuple, vlan: None, tcp_flags: 0x12, fragment: None }]);
    assert_eq!((out.macs, out.outcome, out.vlans.len()), (Some((SRC, DST)), Outcome::Complete, 0));
}

#[test]
fn padding_is_no_payload() {
    // A TCP header that ends where IPv4 says is not continued in the padding.
    let short = "4500 0018 1234 0000 4006 0000 c0000201 c6336407 9c40 01bb";
    let padding = "0000 0000 0000 0000 0000 0000 0000 0000 5012 0000 0000";
    let out = dissected(LinkType::ETHERNET, &[MACS, "0800", short, padding]);
    assert_eq!((layers(&out)[0].as_str(), out.outcome), (TCP_LAYER, Outcome::Malformed));
    assert_eq!(out.layers[0].tcp_flags, 0);
}

#[test]
fn vlan_tags_of_any_depth() {
    let tags = "88a8 0064 9100 2000 8100 e00a 8100 0001 8100 0002 0800";
    let out = dissected(LinkType::ETHERNET, &[MACS, tags, IPV4_TCP]);
    assert_eq!(out.vlans, [100, 0, 10, 1]);
    assert_eq!(layers(&out), [[TCP_LAYER, " vlan 100"].concat()]);
    assert_eq!(out.outcome, Outcome::Complete);
}

#[test]
fn priority_tag_is_no_vlan() {
    let out = dissected(LinkType::ETHERNET, &[MACS, "8100 e000 86dd", IPV6_UDP]);
    assert_eq!((layers(&out), &out.vlans[..]), ([UDP_LAYER.to_string()].into(), &[0][..]));
}

#[test]
fn llc_and_snap() {
    let with_len = |llc: &str| [&alloc::format!("{:04x}", 40 + hex(llc).len()), llc, IPV4_TCP].concat();
    for llc in ["aaaa03 000000 0800", "aaaa03 0000f8 0800", "060603"] {
        assert_complete(LinkType::ETHERNET, &[MACS, &with_len(llc), "0000"], &[TCP_LAYER]);
    }
    let too_short = dissected(LinkType::ETHERNET, &[MACS, "002f aaaa03 000000 0800", IPV4_TCP]);
    assert_eq!((layers(&too_short)[0].as_str(), too_short.outcome), (TCP_LAYER, Outcome::Malformed));
    for other in ["424203 0000", "aaaa03 00000c 2000", "ffff 0022"] {
        let out = dissected(LinkType::ETHERNET, &[MACS, &with_len(other)]);
        assert_eq!((out.layers.len(), out.outcome), (0, Outcome::Unsupported), "{other}");
    }
}

#[test]
fn arp_gives_sender_and_target() {
    let arp = "0001 0800 06 04 0001 020000000001 c0000201 000000000000 c0000202";
    for ethertype in ["0806", "8035"] {
        assert_complete(LinkType::ETHERNET, &[MACS, ethertype, arp], &["0 192.0.2.1:0>192.0.2.2:0"]);
    }
    let wrong_len = "0001 0800 06 06 0001 020000000001 c0000201 000000000000 c0000202";
    assert_eq!(dissected(LinkType::ETHERNET, &[MACS, "0806", wrong_len]).outcome, Outcome::Malformed);
    let other = "0001 809b 06 04 0001 020000000001 c0000201 000000000000 c0000202";
    assert_eq!(dissected(LinkType::ETHERNET, &[MACS, "0806", other]).outcome, Outcome::Unsupported);
}

#[test]
fn switch_tags_and_macsec() {
    let inner = [MACS, "0800", IPV4_TCP].concat();
    let headers = ["893f 0000 0000 0000 0800", "8926 0000 0000 0800", "88e5 00 00 00000001 0800"];
    for header in headers.into_iter().chain(["88e5 20 00 00000001 0200000000010001 0800"]) {
        assert_complete(LinkType::ETHERNET, &[MACS, header, IPV4_TCP], &[TCP_LAYER]);
    }
    for header in ["8903 0040", "88e7 00000064"] {
        assert_complete(LinkType::ETHERNET, &[MACS, header, &inner], &[TCP_LAYER]);
    }
    let encrypted = dissected(LinkType::ETHERNET, &[MACS, "88e5 0c 00 00000001 0800", IPV4_TCP]);
    assert_eq!((encrypted.layers.len(), encrypted.outcome), (0, Outcome::Unsupported));
}

#[test]
fn cooked_captures() {
    let v1 = dissected(LinkType::LINUX_SLL, &["0000 0001 0006 020000000001 0000 0800", IPV4_TCP]);
    let v2 = "86dd 0000 00000003 0001 00 06 020000000001 0000";
    let v2 = dissected(LinkType::LINUX_SLL2, &[v2, IPV6_UDP]);
    assert_eq!((layers(&v1)[0].as_str(), layers(&v2)[0].as_str()), (TCP_LAYER, UDP_LAYER));
    let sender_only = Some((SRC, MacAddr([0; 6])));
    assert_eq!((v1.macs, v2.macs), (sender_only, sender_only));
    let tagged = ["0000 0001 0006 020000000001 0000 8100 0007 0800", IPV4_TCP];
    assert_eq!(dissected(LinkType::LINUX_SLL, &tagged).vlans, [7]);
    let ppp = dissected(LinkType::LINUX_SLL, &["0004 0200 0000 000000000000 0000 0800", IPV4_TCP]);
    assert_eq!((ppp.macs, layers(&ppp)[0].as_str()), (None, TCP_LAYER));
    let netlink = dissected(LinkType::LINUX_SLL, &["0004 0338 0000 000000000000 0000 0800", IPV4_TCP]);
    assert_eq!((netlink.layers.len(), netlink.outcome), (0, Outcome::Unsupported));
}

#[test]
fn raw_ip_and_loopback() {
    for link_type in [101, 12, 14] {
        assert_complete(LinkType(link_type), &[IPV4_TCP], &[TCP_LAYER]);
        assert_complete(LinkType(link_type), &[IPV6_UDP], &[UDP_LAYER]);
    }
    assert_complete(LinkType::IPV4, &[IPV4_TCP], &[TCP_LAYER]);
    assert_complete(LinkType::IPV6, &[IPV6_UDP], &[UDP_LAYER]);
    assert_eq!(dissected(LinkType::IPV4, &[IPV6_UDP]).outcome, Outcome::Malformed);
    for family in ["00000002", "02000000"] {
        assert_complete(LinkType::NULL, &[family, IPV4_TCP], &[TCP_LAYER]);
        assert_complete(LinkType::LOOP, &[family, IPV4_TCP], &[TCP_LAYER]);
    }
    for family in ["18000000", "1c000000", "0000001e", "0000000a"] {
        assert_complete(LinkType::NULL, &[family, IPV6_UDP], &[UDP_LAYER]);
    }
    assert_eq!(dissected(LinkType::NULL, &["00000007", IPV4_TCP]).outcome, Outcome::Unsupported);
}

#[test]
fn ppp_pppoe_and_hdlc() {
    for link_type in [LinkType::PPP, LinkType::PPP_HDLC] {
        for protocol in ["0021", "21", "ff03 0021"] {
            assert_complete(link_type, &[protocol, IPV4_TCP], &[TCP_LAYER]);
        }
        assert_complete(link_type, &["0057", IPV6_UDP], &[UDP_LAYER]);
        assert_eq!(dissected(link_type, &["c021", IPV4_TCP]).outcome, Outcome::Unsupported);
    }
    assert_complete(LinkType::PPP_HDLC, &["0f00 0800", IPV4_TCP], &[TCP_LAYER]);
    assert_complete(LinkType::C_HDLC, &["8f00 86dd", IPV6_UDP], &[UDP_LAYER]);
    assert_complete(LinkType::ETHERNET, &[MACS, "8864 1100 0001 002a 0021", IPV4_TCP, "0000"], &[TCP_LAYER]);
    assert_complete(LinkType::PPP_ETHER, &["1100 0001 0032 0057", IPV6_UDP], &[UDP_LAYER]);
    let not_a_session = dissected(LinkType::PPP_ETHER, &["1109 0001 002a 0021", IPV4_TCP]);
    assert_eq!((not_a_session.layers.len(), not_a_session.outcome), (0, Outcome::Unsupported));
    let too_short = dissected(LinkType::PPP_ETHER, &["1100 0001 0029 0021", IPV4_TCP]);
    assert_eq!((layers(&too_short)[0].as_str(), too_short.outcome), (TCP_LAYER, Outcome::Malformed));
    assert_eq!(dissected(LinkType::ETHERNET, &[MACS, "8863 1109 0000 0000"]).outcome, Outcome::Unsupported);
}

#[test]
fn mpls_guesses_by_the_first_nibble() {
    let labels = "8847 00064 0 40 00065 1 40";
    assert_complete(LinkType::ETHERNET, &[MACS, labels, IPV4_TCP], &[TCP_LAYER]);
    assert_complete(LinkType::ETHERNET, &[MACS, labels, IPV6_UDP], &[UDP_LAYER]);
    let frame = [MACS, "8100 0009 0800", IPV4_TCP].concat();
    let tagged = [TCP_LAYER, " vlan 9"].concat();
    let pseudowire = dissected(LinkType::ETHERNET, &[MACS, labels, "00000000", &frame]);
    assert_eq!((layers(&pseudowire), pseudowire.vlans.len()), ([tagged].into(), 0));
    // No control word, and a MAC address that looks like IPv4 until its lengths are read.
    let frame = ["40ff00000002 020000000001 0800", IPV4_TCP].concat();
    assert_complete(LinkType::ETHERNET, &[MACS, labels, &frame], &[TCP_LAYER]);
    let channel = dissected(LinkType::ETHERNET, &[MACS, labels, "100000000002 020000000001 0800", IPV4_TCP]);
    assert_eq!((channel.layers.len(), channel.outcome), (0, Outcome::Unsupported));
}

#[test]
fn ieee80211_by_direction() {
    let addrs = "020000000001 020000000002 020000000003";
    let (one, two, three) = (SRC, DST, MacAddr([2, 0, 0, 0, 0, 3]));
    let llc = "aaaa03 000000 0800";
    for (control, src, dst) in [("0800", two, one), ("0801", two, three), ("0802", three, one)] {
        let out = dissected(LinkType::IEEE802_11, &[control, "0000", addrs, "0000", llc, IPV4_TCP]);
        assert_eq!((layers(&out)[0].as_str(), out.macs), (TCP_LAYER, Some((src, dst))), "{control}");
    }
    let four = ["0803 0000", addrs, "0000 020000000004", llc, IPV4_TCP];
    assert_eq!(dissected(LinkType::IEEE802_11, &four).macs, Some((MacAddr([2, 0, 0, 0, 0, 4]), three)));
    let qos = ["8801 0000", addrs, "0000 0000", llc, IPV4_TCP];
    assert_complete(LinkType::IEEE802_11, &qos, &[TCP_LAYER]);
    let ordered = ["8881 0000", addrs, "0000 0000 00000000", llc, IPV4_TCP];
    assert_complete(LinkType::IEEE802_11, &ordered, &[TCP_LAYER]);
    let aggregated = ["8801 0000", addrs, "0000 8000", MACS, "0030", llc, IPV4_TCP, "ffff"];
    assert_complete(LinkType::IEEE802_11, &aggregated, &[TCP_LAYER]);
    for (control, outcome) in [("0841", Outcome::Unsupported), ("4801", Outcome::Complete)] {
        let out = dissected(LinkType::IEEE802_11, &[control, "0000", addrs, "0000", llc, IPV4_TCP]);
        assert_eq!((out.layers.len(), out.outcome), (0, outcome), "{control}");
    }
}

#[test]
fn radiotap_with_padding() {
    let frame = ["8801 0000 020000000001 020000000002 020000000003 0000 0000"].concat();
    let body = ["aaaa03 000000 0800", IPV4_TCP].concat();
    // Length 8, nothing present.
    assert_complete(LinkType::IEEE802_11_RADIOTAP, &["0000 0800 00000000", &frame, &body], &[TCP_LAYER]);
    // Two presence words, timestamp aligned to 16, flags say that the 26 bytes of header are padded to 28.
    let header = "0000 1900 03000080 00000000 00000000 0000000000000000 20";
    assert_complete(LinkType::IEEE802_11_RADIOTAP, &[header, &frame, "0000", &body], &[TCP_LAYER]);
    let too_short = ["0000 0400 00000000", &frame, &body];
    assert_eq!(dissected(LinkType::IEEE802_11_RADIOTAP, &too_short).outcome, Outcome::Malformed);
}

#[test]
fn other_link_types_are_unsupported() {
    let out = dissected(LinkType(147), &[IPV4_TCP]);
    assert_eq!((out.layers.len(), out.outcome), (0, Outcome::Unsupported));
}
