//! Which header follows which: the tables of link types, EtherTypes and IP protocols.

use core::ops::ControlFlow;

use super::walk::Walk;
use super::{LinkType, Outcome};
use super::{
    arp, cooked, erspan, ethernet, geneve, gre, gtp, icmp, ieee80211, ipv4, ipv6, llc, loopback, mpls,
};
use super::{ppp, pppoe, radiotap, sctp, shim, tcp, teredo, udp, vlan, vxlan};
use crate::flow::proto;

/// The header that comes next.
#[derive(Clone, Copy)]
pub(super) enum Step {
    Arp,
    Erspan2,
    Erspan3,
    Ethernet,
    EtherTag,
    FabricPath,
    Geneve,
    Gre,
    GtpExtension,
    Gtp,
    Icmp,
    /// IPv4 or IPv6, as its first nibble says.
    Ip,
    Ipv4,
    Ipv6,
    /// What an IPv6 header or extension header announced.
    NextHeader(u8),
    /// An authentication header behind IPv4.
    Authentication,
    Ieee80211,
    ITag,
    Llc,
    Macsec,
    Mpls,
    Nsh,
    Pim,
    Ppp,
    Pppoe,
    Radiotap,
    Sctp,
    Tcp,
    Teredo,
    Udp,
    Vlan,
    VnTag,
    Vxlan,
}

/// What a step answers: the next one, or how the walk ended.
pub(super) type Next = ControlFlow<Outcome, Step>;

/// Takes the first header, by link type.
#[inline]
pub(super) fn first(walk: &mut Walk<'_, '_>, link_type: LinkType) -> Next {
    match link_type {
        LinkType::ETHERNET => ethernet::outermost(walk),
        LinkType::NULL | LinkType::LOOP => loopback::step(walk),
        LinkType::PPP | LinkType::PPP_HDLC | LinkType::C_HDLC => ppp::framed(walk),
        LinkType::PPP_ETHER => pppoe::step(walk),
        LinkType::RAW | LinkType::RAW_BSD | LinkType::RAW_OPENBSD => ip(walk),
        LinkType::IPV4 => ipv4::step(walk),
        LinkType::IPV6 => ipv6::step(walk),
        LinkType::IEEE802_11 => ieee80211::step(walk),
        LinkType::IEEE802_11_RADIOTAP => radiotap::step(walk),
        LinkType::LINUX_SLL => cooked::version1(walk),
        LinkType::LINUX_SLL2 => cooked::version2(walk),
        _ => ControlFlow::Break(Outcome::Unsupported),
    }
}

/// Takes the header of `step`.
#[inline]
pub(super) fn run(walk: &mut Walk<'_, '_>, step: Step) -> Next {
    match step {
        Step::Arp => arp::step(walk),
        Step::Authentication => ipv6::authentication(walk),
        Step::EtherTag => shim::e_tag(walk),
        Step::Erspan2 => erspan::type2(walk),
        Step::Erspan3 => erspan::type3(walk),
        Step::Ethernet => ethernet::step(walk),
        Step::Geneve => geneve::step(walk),
        Step::FabricPath => shim::fabric_path(walk),
        Step::Gre => gre::step(walk),
        Step::Gtp => gtp::step(walk),
        Step::GtpExtension => gtp::extension(walk),
        Step::Icmp => icmp::step(walk),
        Step::Ieee80211 => ieee80211::step(walk),
        Step::Ip => ip(walk),
        Step::Ipv4 => ipv4::step(walk),
        Step::Ipv6 => ipv6::step(walk),
        Step::ITag => shim::i_tag(walk),
        Step::Llc => llc::step(walk),
        Step::Macsec => shim::macsec(walk),
        Step::Mpls => mpls::step(walk),
        Step::NextHeader(next_header) => ipv6::next_step(walk, next_header),
        Step::Nsh => shim::nsh(walk),
        Step::Pim => shim::pim(walk),
        Step::Ppp => ppp::step(walk),
        Step::Pppoe => pppoe::step(walk),
        Step::Radiotap => radiotap::step(walk),
        Step::Sctp => sctp::step(walk),
        Step::Tcp => tcp::step(walk),
        Step::Teredo => teredo::step(walk),
        Step::Udp => udp::step(walk),
        Step::Vlan => vlan::step(walk),
        Step::VnTag => shim::vn_tag(walk),
        Step::Vxlan => vxlan::step(walk),
    }
}

/// Takes the header behind an EtherType at once where that is IP, as in nearly every frame: no way through the loop.
#[inline]
pub(super) fn behind_ethertype(walk: &mut Walk<'_, '_>, number: u16) -> Next {
    match number {
        0x0800 => ipv4::step(walk),
        0x86dd => ipv6::step(walk),
        _ => ethertype(number),
    }
}

/// Takes the header behind an IP protocol number at once where that is TCP or UDP.
#[inline(always)]
pub(super) fn behind_ip(walk: &mut Walk<'_, '_>, protocol: u8) -> Next {
    match protocol {
        proto::TCP => tcp::step(walk),
        proto::UDP => udp::step(walk),
        _ => ip_protocol(protocol),
    }
}

fn ip(walk: &mut Walk<'_, '_>) -> Next {
    match walk.rest.first().map(|first| first >> 4) {
        Some(4) => ipv4::step(walk),
        Some(6) => ipv6::step(walk),
        Some(_) => ControlFlow::Break(Outcome::Malformed),
        None => ControlFlow::Break(walk.ends_early()),
    }
}

/// The step for an EtherType. Not inlined, so that the tests for IP before it stay what they are.
#[inline(never)]
pub(super) fn ethertype(ethertype: u16) -> Next {
    ControlFlow::Continue(match ethertype {
        0x0800 => Step::Ipv4,
        0x86dd => Step::Ipv6,
        0x8100 | 0x88a8 | 0x9100 => Step::Vlan,
        0x0806 | 0x8035 => Step::Arp,
        0x6558 => Step::Ethernet,
        0x8847 | 0x8848 => Step::Mpls,
        0x8864 => Step::Pppoe,
        0x880b => Step::Ppp,
        0x8903 => Step::FabricPath,
        0x88e5 => Step::Macsec,
        0x88e7 => Step::ITag,
        0x8926 => Step::VnTag,
        0x893f => Step::EtherTag,
        0x894f => Step::Nsh,
        _ => return ControlFlow::Break(Outcome::Unsupported),
    })
}

/// The step for an IP protocol number, the same behind both versions.
#[inline(never)]
fn ip_protocol(protocol: u8) -> Next {
    ControlFlow::Continue(match protocol {
        proto::TCP => Step::Tcp,
        proto::UDP => Step::Udp,
        proto::ICMP | proto::ICMPV6 => Step::Icmp,
        proto::SCTP => Step::Sctp,
        4 => Step::Ipv4,
        41 => Step::Ipv6,
        47 => Step::Gre,
        51 => Step::Authentication,
        103 => Step::Pim,
        // MPLS in IP (RFC 4023), Ethernet (RFC 8986).
        137 => Step::Mpls,
        143 => Step::Ethernet,
        _ => return ControlFlow::Break(Outcome::Unsupported),
    })
}

/// The tunnel behind a UDP header. VXLAN, GENEVE, GRE (RFC 8086) and MPLS (RFC 7510) send to their port from any;
/// GTP-U and Teredo answer from theirs too.
#[inline]
pub(super) fn udp_tunnel(src_port: u16, dst_port: u16) -> Next {
    ControlFlow::Continue(match (src_port, dst_port) {
        // 8472 is the port that Linux had before the assignment.
        (_, 4789 | 8472) => Step::Vxlan,
        (_, 6081) => Step::Geneve,
        (_, 2152) | (2152, _) => Step::Gtp,
        (_, 3544) | (3544, _) => Step::Teredo,
        (_, 4754) => Step::Gre,
        (_, 6635) => Step::Mpls,
        _ => return ControlFlow::Break(Outcome::Complete),
    })
}
