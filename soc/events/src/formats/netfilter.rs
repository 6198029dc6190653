//! The kernel's packet log: iptables and nftables LOG, ufw, firewalld.
//!
//! Source: net/netfilter/nf_log_syslog.c (`nf_log_ip_packet`, `dump_ipv4_packet`, `dump_ipv6_packet`). The prefix is the
//! administrator's; everything from `IN=` on is the kernel's. What stands in brackets behind an ICMP error is the packet
//! that it complains about. `[12345.678]` is the time since boot, and no stamp.

use crate::context::Context;
use crate::draft::{Draft, Lack, Outcome};
use crate::fields::{self, End};
use crate::formats::Format;
use crate::line::Line;
use crate::reading::{Direction, Kind, Meaning};

/// `kernel: [UFW BLOCK] IN=eth0 OUT= MAC=... SRC=192.0.2.7 DST=10.0.0.1 LEN=60 ... PROTO=TCP SPT=40000 DPT=22 ...`
pub(crate) const LOG: Format = Format {
    name: "netfilter",
    title: "iptables or nftables LOG",
    time: "the packet, by syslog's stamp; in the host's zone, often without a year",
    fallback: false,
    read: log,
};

/// Tokens of a log line that are looked at; the kernel writes about thirty.
const TOKENS_MAX: usize = 128;

fn log<'a>(line: &Line<'a>, _: &Context) -> Option<Outcome<'a>> {
    if line.json.is_some() {
        return None;
    }
    let (_, rest) = line.text.split_once("IN=")?;
    let start = line.text.get(line.text.len() - rest.len() - 3..)?;
    let outer = start.split_once(" [").map_or(start, |(outer, _)| outer);
    let pairs: Vec<(&str, &str)> =
        outer.split_ascii_whitespace().take(TOKENS_MAX).filter_map(|token| token.split_once('=')).collect();
    let get = |key: &str| pairs.iter().find(|(name, _)| *name == key).map(|(_, value)| *value);
    (get("OUT").is_some() && (get("SRC").is_some() || get("PROTO").is_some() || get("LEN").is_some()))
        .then_some(())?;
    let twice = |key: &str| pairs.iter().filter(|(name, _)| *name == key).count() > 1;
    let end = |addr: &str, port: &str| -> Option<End<'a>> {
        Some(End::new(fields::host(get(addr)?)?, get(port).and_then(fields::port)))
    };
    let ends = (end("SRC", "SPT"), end("DST", "DPT"));
    let ((Some(src), Some(dst)), Some(proto_text)) = (ends, get("PROTO")) else {
        return Some(Err(Lack::new(
            "SRC=, DST= or PROTO= is missing: the line was cut off, or is of no IP packet",
        )));
    };
    if twice("SRC") || twice("DST") {
        return Some(Err(Lack::new("SRC= or DST= stands twice: two lines ran together")));
    }
    let mut draft = Draft::new(Meaning::Packet)
        .at_maybe(line.stamp)
        .proto(fields::protocol(proto_text), proto_text)
        .ends(src, dst)
        .direction(Direction::Packet)
        .vlan(get("VID"));
    if start.contains(" [SRC=") {
        draft.assume(
            Kind::Tunnel,
            "an ICMP error: it was taken, not the packet in brackets that it complains about",
        );
    }
    Some(Ok(draft))
}
