//! Addresses, ports and protocols in the forms that logs write them. Every value keeps the slice it was read from.

use std::net::{IpAddr, Ipv6Addr};

use hindcap_wire::flow::proto;

/// An address and where it stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Host<'a> {
    pub(crate) addr: IpAddr,
    pub(crate) text: &'a str,
}

/// A port and where it stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Port<'a> {
    pub(crate) number: u16,
    pub(crate) text: &'a str,
}

/// One end of a session, as far as the line has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct End<'a> {
    pub(crate) host: Option<Host<'a>>,
    pub(crate) port: Option<Port<'a>>,
}

impl<'a> End<'a> {
    pub(crate) const fn new(host: Host<'a>, port: Option<Port<'a>>) -> Self {
        Self { host: Some(host), port }
    }

    pub(crate) const fn without_port(self) -> Self {
        Self { port: None, ..self }
    }
}

/// An IPv4 or IPv6 address and nothing else. A zone identifier (`fe80::1%eth0`) is passed over, `[ ]` too; an IPv4
/// address in IPv6 form is an IPv4 address, as on the wire. The unspecified address is nobody's.
pub(crate) fn host(text: &str) -> Option<Host<'_>> {
    let bare = text.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(text);
    let bare = match bare.split_once('%') {
        Some((addr, zone)) if !zone.is_empty() && addr.contains(':') => addr,
        _ => bare,
    };
    if bare.len() > 45 {
        return None;
    }
    let addr: IpAddr = bare.parse().ok()?;
    let addr = addr.to_canonical();
    (!addr.is_unspecified()).then_some(Host { addr, text: bare })
}

/// A port number and nothing else.
pub(crate) fn port(text: &str) -> Option<Port<'_>> {
    let digits = (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok().map(|number| Port { number, text }) } else { None }
}

/// `1.2.3.4`, `1.2.3.4:80`, `1.2.3.4:`, `[2001:db8::1]:80`, `2001:db8::1` and, when `ports`, `2001:db8::1:80`, where the
/// last group is the port: Snort and Suricata write no brackets. Eight groups without `::` are an address alone.
pub(crate) fn end_colon(text: &str, ports: bool) -> Option<End<'_>> {
    if let Some(inner) = text.strip_prefix('[') {
        let (addr, after) = inner.split_once(']')?;
        let addr = host(addr)?;
        return match after.strip_prefix(':') {
            Some(number) => Some(End::new(addr, Some(port(number)?))),
            None if after.is_empty() => Some(End::new(addr, None)),
            None => None,
        };
    }
    let split = || -> Option<End<'_>> {
        let (addr, number) = text.rsplit_once(':')?;
        let addr = host(addr)?;
        if number.is_empty() && addr.addr.is_ipv4() {
            return Some(End::new(addr, None));
        }
        Some(End::new(addr, Some(port(number)?)))
    };
    let whole = || host(text).map(|addr| End::new(addr, None));
    let full = text.split(':').count() == 8 && !text.contains("::");
    if ports && !full { split().or_else(whole) } else { whole().or_else(split) }
}

/// `192.0.2.1.22` and `2001:db8::1.22`: the port after the last dot, as tcpdump and pf write it.
pub(crate) fn end_dot(text: &str) -> Option<End<'_>> {
    if let Some((addr, number)) = text.rsplit_once('.') {
        if let (Some(addr), Some(port)) = (host(addr), port(number)) {
            return Some(End::new(addr, Some(port)));
        }
    }
    host(text).map(|addr| End::new(addr, None))
}

/// Names of protocols in logs; letter case does not count.
const NAMES: [(&str, u8); 25] = [
    ("tcp", proto::TCP),
    ("tcp6", proto::TCP),
    ("udp", proto::UDP),
    ("udp6", proto::UDP),
    ("icmp", proto::ICMP),
    ("icmp4", proto::ICMP),
    ("icmpv4", proto::ICMP),
    ("icmp6", proto::ICMPV6),
    ("icmpv6", proto::ICMPV6),
    ("ipv6-icmp", proto::ICMPV6),
    ("icmp-ipv6", proto::ICMPV6),
    ("sctp", proto::SCTP),
    ("igmp", 2),
    ("ipip", 4),
    ("ip-in-ip", 4),
    ("igrp", 9),
    ("ipv6", 41),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("eigrp", 88),
    ("ospf", 89),
    ("pim", 103),
    ("vrrp", 112),
    ("udplite", 136),
];

/// A protocol by name, by number, or as `PROTO:254`.
pub(crate) fn protocol(text: &str) -> Option<u8> {
    let text = text.strip_prefix("PROTO:").unwrap_or(text);
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return if text.len() <= 3 { text.parse().ok() } else { None };
    }
    NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, number)| *number)
}

/// The Community ID v1 of a session of which both ends are known; ICMP has none here, its types are not kept.
pub(crate) fn community_id(src: (IpAddr, u16), dst: (IpAddr, u16), number: u8) -> String {
    use hindcap_wire::community_id::CommunityId;
    use hindcap_wire::flow::{FiveTuple, FlowKey, addr_bytes};
    let tuple = FiveTuple {
        src: addr_bytes(src.0),
        dst: addr_bytes(dst.0),
        src_port: src.1,
        dst_port: dst.1,
        proto: number,
        version: if src.0.is_ipv4() { 4 } else { 6 },
    };
    CommunityId::of(&FlowKey::of(&tuple, None).0).to_string()
}

/// Every address that stands free in `text`, in order, with the port of `address:port`. An address inside a longer word
/// or number (`1.2.3.4.5`, `v1.2.3.4`) is none. Linear: each byte belongs to one token.
pub(crate) fn addresses(text: &str) -> impl Iterator<Item = End<'_>> {
    let part =
        |c: char| c.is_alphanumeric() || matches!(c, '.' | ':' | '[' | ']' | '%' | '_' | '-' | '\u{fffd}');
    text.split(move |c| !part(c)).filter_map(free_address)
}

/// The address that a token is, without the punctuation of sentences.
fn free_address(token: &str) -> Option<End<'_>> {
    if !(2..=64).contains(&token.len()) {
        return None;
    }
    let token = token.trim_end_matches(['.', ',', '-']).trim_start_matches(['-', '.']);
    let token = if token.ends_with(':') && !token.ends_with("::") { token.strip_suffix(':')? } else { token };
    let found = end_colon(token, false)?;
    match found.host?.addr {
        IpAddr::V6(Ipv6Addr::LOCALHOST) => None,
        // `12:34:56` and the like never parse; `::` and short hex words that do are no addresses people mean.
        IpAddr::V6(_) if token.len() < 6 => None,
        _ => Some(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(end: Option<End<'_>>) -> String {
        let Some(End { host: Some(host), port }) = end else { return "-".into() };
        format!("{} {}", host.addr, port.map_or("-".into(), |port| port.number.to_string()))
    }

    #[test]
    fn addresses_are_strict() {
        for text in [
            "999.1.1.1",
            "1.2.3",
            "01.2.3.4",
            "1.2.3.4 ",
            "",
            "0.0.0.0",
            "::",
            "1.2.3.4%eth0",
            "host",
            "[1.2.3.4",
        ] {
            assert!(host(text).is_none(), "{text}");
        }
        for (text, addr) in [
            ("1.2.3.4", "1.2.3.4"),
            ("[1.2.3.4]", "1.2.3.4"),
            ("fe80::1%eth0", "fe80::1"),
            ("::ffff:1.2.3.4", "1.2.3.4"),
            ("2001:DB8::A", "2001:db8::a"),
        ] {
            assert_eq!(host(text).unwrap().addr.to_string(), addr);
        }
    }

    #[test]
    fn ports_after_colons() {
        for (text, ports, expected) in [
            ("1.2.3.4:80", true, "1.2.3.4 80"),
            ("1.2.3.4:", true, "1.2.3.4 -"),
            ("1.2.3.4", true, "1.2.3.4 -"),
            ("1.2.3.4:65536", true, "-"),
            ("[2001:db8::1]:80", false, "2001:db8::1 80"),
            ("2001:db8::1:80", true, "2001:db8::1 80"),
            ("2001:db8::1:80", false, "2001:db8::1:80 -"),
            ("2001:0db8:0000:0000:0000:0000:0000:0001:443", true, "2001:db8::1 443"),
            ("2001:0db8:0000:0000:0000:0000:0000:0001", true, "2001:db8::1 -"),
            ("2001:db8::1", true, "2001:db8::1 -"),
        ] {
            assert_eq!(show(end_colon(text, ports)), expected, "{text}");
        }
    }

    #[test]
    fn ports_after_dots() {
        assert_eq!(show(end_dot("203.0.113.9.51234")), "203.0.113.9 51234");
        assert_eq!(show(end_dot("203.0.113.9")), "203.0.113.9 -");
        assert_eq!(show(end_dot("2001:db8::1.22")), "2001:db8::1 22");
    }

    #[test]
    fn protocols() {
        for (text, number) in [("TCP", 6), ("17", 17), ("PROTO:254", 254), ("IPv6-ICMP", 58)] {
            assert_eq!(protocol(text), Some(number));
        }
        for text in ["", "256", "http", "0006"] {
            assert_eq!(protocol(text), None, "{text}");
        }
    }

    #[test]
    fn free_addresses_are_whole_tokens() {
        let text = "a 1.2.3.4, v1.2.3.4 1.2.3.4.5 (5.6.7.8:90) 12:30:45 x=[2001:db8::7]:22; 1.2\u{fffd}.3.4 9.9.9.9.";
        let found: Vec<String> = addresses(text).map(|end| show(Some(end))).collect();
        assert_eq!(found, ["1.2.3.4 -", "5.6.7.8 90", "2001:db8::7 22", "9.9.9.9 -"]);
    }
}
