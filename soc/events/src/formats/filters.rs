//! Packet filters other than the kernel's of Linux: pf (filterlog of pfSense and OPNsense, OpenBSD's pflog as text) and the
//! Windows firewall.
//!
//! Sources: Netgate docs "Raw Filter Log Format", OpenBSD pflogd(8) and tcpdump's print-pflog.c, Microsoft "Interpreting
//! the Windows Firewall log". In filterlog the columns of IPv4 and IPv6 differ: protocol and its number swap places.

use crate::context::Context;
use crate::draft::{Draft, Lack, Outcome, lack};
use crate::fields::{self, End};
use crate::formats::Format;
use crate::line::Line;
use crate::reading::{Direction, Field, Meaning, carries_ports};
use crate::scan::Scan;
use crate::stamp;

/// `filterlog[9]: 5,,,1000000103,em0,match,block,in,4,0x0,,64,1,0,DF,6,tcp,60,203.0.113.9,192.0.2.1,51234,22,0,S,...`
pub(crate) const FILTERLOG: Format = Format {
    name: "pf-filterlog",
    title: "pf filterlog",
    time: "the packet, by syslog's stamp; in the firewall's zone, often without a year",
    fallback: false,
    read: filterlog,
};

/// `rule 3/0(match): block in on em0: 203.0.113.9.51234 > 192.0.2.1.22: S`
pub(crate) const PFLOG: Format = Format {
    name: "pf-text",
    title: "pflog as text",
    time: "the packet, by the stamp before it",
    fallback: false,
    read: pflog,
};

/// `2005-11-20 11:43:41 DROP TCP 192.168.0.7 192.168.0.6 1172 3389 48 S 1640769051 0 65535 - - - RECEIVE`
pub(crate) const WINDOWS: Format = Format {
    name: "windows-firewall",
    title: "Windows firewall log",
    time: "the packet; local time of the machine, never with a zone",
    fallback: false,
    read: windows,
};

fn filterlog<'a>(line: &Line<'a>, _: &Context) -> Option<Outcome<'a>> {
    let columns: Vec<&str> = line.text.splitn(40, ',').collect();
    let column = |at: usize| columns.get(at).copied().unwrap_or_default();
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let known = digits(column(0)) && matches!(column(7), "in" | "out") && matches!(column(8), "4" | "6");
    (known && matches!(column(6), "block" | "pass" | "reject" | "match" | "rdr" | "nat" | "binat" | "scrub"))
        .then_some(())?;
    let (number, src) = if column(8) == "4" { (15, 18) } else { (13, 15) };
    Some(packet(line, column(number), column(src), column(src + 1), (column(src + 2), column(src + 3))))
}

fn packet<'a>(
    line: &Line<'a>,
    number: &'a str,
    src: &'a str,
    dst: &'a str,
    ports: (&'a str, &'a str),
) -> Outcome<'a> {
    let lacking = || Lack::new("addresses and protocol are not in their columns: is the line whole?");
    let proto = fields::protocol(number)
        .filter(|_| number.bytes().all(|byte| byte.is_ascii_digit()))
        .ok_or_else(lacking)?;
    let end = |addr: &'a str, port: &'a str| -> Option<End<'a>> {
        let host = fields::host(addr)?;
        Some(if carries_ports(proto) { End::new(host, fields::port(port)) } else { End::new(host, None) })
    };
    let (src, dst) = end(src, ports.0).zip(end(dst, ports.1)).ok_or_else(lacking)?;
    let draft = Draft::new(Meaning::Packet).at_maybe(line.stamp).proto(Some(proto), number);
    Ok(draft.ends(src, dst).direction(Direction::Packet))
}

fn pflog<'a>(line: &Line<'a>, _: &Context) -> Option<Outcome<'a>> {
    let (before, rest) = line.text.split_once("rule ")?;
    (before.len() <= 64).then_some(())?;
    let mut scan = Scan::new(rest);
    scan.until(": ").filter(|rule| rule.ends_with(')') && rule.contains('('))?;
    let verdict = scan.token()?;
    matches!(verdict, "block" | "pass" | "match" | "rdr" | "nat" | "scrub").then_some(())?;
    scan.blanks();
    let way = scan.token()?;
    scan.word(" on ")?;
    matches!(way, "in" | "out").then_some(())?;
    scan.until(": ")?;
    let (Some(src), Some(())) = (scan.token().and_then(fields::end_dot), scan.word(" > ")) else {
        return lack("no addresses stand behind the interface: the line was cut off");
    };
    // IPv6 has colons of its own: the one before the blank ends the address.
    let Some(dst) = scan.token().and_then(|word| fields::end_dot(word.strip_suffix(':')?)) else {
        return lack("the second address is not whole: the line was cut off");
    };
    let flags = scan.rest().trim_start();
    let draft = Draft::new(Meaning::Packet).at_maybe(line.stamp).ends(src, dst).direction(Direction::Packet);
    let (number, text) = protocol_of(flags);
    Some(Ok(if text.is_empty() { draft } else { draft.proto(number, text) }))
}

/// tcpdump prints flags for TCP, `udp` or a DNS summary for UDP, `icmp:` for ICMP.
fn protocol_of(rest: &str) -> (Option<u8>, &str) {
    let first = rest.split([' ', ':', ',']).next().unwrap_or_default();
    match first {
        "udp" | "UDP" => (Some(17), first),
        "icmp" | "ICMP" => (Some(1), first),
        "icmp6" | "ICMP6" => (Some(58), first),
        "Flags" => (Some(6), first),
        _ if !first.is_empty() && first.bytes().all(|byte| b"SFRPWE.".contains(&byte)) => (Some(6), first),
        _ => (None, ""),
    }
}

fn windows<'a>(line: &Line<'a>, _: &Context) -> Option<Outcome<'a>> {
    let words: Vec<&str> = line.text.split_ascii_whitespace().take(24).collect();
    let [date, time, action, number, src, dst, src_port, dst_port, ..] = words.as_slice() else {
        return None;
    };
    let stamp = stamp::parts(date, time)?;
    let known = ["OPEN", "OPEN-INBOUND", "CLOSE", "DROP", "ALLOW", "INFO-EVENTS-LOST"];
    known.contains(action).then_some(())?;
    let (Some(src), Some(dst)) = (fields::host(src), fields::host(dst)) else {
        return lack("the entry names no two addresses (events lost, or cut off)");
    };
    let proto = fields::protocol(number);
    let ports = proto.is_none_or(carries_ports);
    let port = |text: &'a str| fields::port(text).filter(|_| ports);
    let draft = Draft::new(Meaning::Packet).at(stamp).proto(proto, number).uses(Field::Time, date);
    let direction =
        if matches!(*action, "OPEN" | "OPEN-INBOUND") { Direction::Opener } else { Direction::Packet };
    Some(Ok(draft.ends(End::new(src, port(src_port)), End::new(dst, port(dst_port))).direction(direction)))
}
