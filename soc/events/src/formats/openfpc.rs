//! OpenFPC's own events and the lines of the tools around it: ofpc-v1, passive DNS, prads, nftracker, and rows pasted back
//! from session searches.
//!
//! Sources: OpenFPC's Parse.pm (OFPC1Event, pdnsparse, prads, nftracker, ofpccxsearch, ofpc_search), prads'
//! doc/prads-asset-report, gamelinux/passivedns README, nftracker README.

use hindcap_wire::time::NANOS_PER_SEC;

use crate::context::Context;
use crate::draft::{Draft, Lack, Outcome, lack};
use crate::fields::{self, End};
use crate::formats::Format;
use crate::line::Line;
use crate::reading::{Direction, Field, Kind, Meaning};
use crate::scan::Scan;
use crate::stamp;

/// `ofpc-v1 type:event sip:192.168.222.1 dip:192.168.222.130 dpt:22 proto:tcp timestamp:1274864808 msg:text`
pub(crate) const EVENT: Format = Format {
    name: "ofpc-v1",
    title: "OpenFPC event",
    time: "event: somewhere in the session; search: from stime to etime; seconds since 1970",
    fallback: false,
    read: event,
};

/// `1410118731.439740||192.168.1.1||192.168.1.53||IN||id.l.google.com.||A||7.15.23.88||259||1`
pub(crate) const PASSIVE_DNS: Format = Format {
    name: "passivedns",
    title: "Passive DNS answer",
    time: "the answer; the session to the address follows within its time to live (an hour at most is searched)",
    fallback: false,
    read: passive_dns,
};

/// `192.168.42.5,0,22,6,SERVER,[ssh:OpenSSH 5.3p1],0,1290888581`
pub(crate) const PRADS: Format = Format {
    name: "prads",
    title: "PRADS asset",
    time: "the packet by which the asset was discovered",
    fallback: false,
    read: prads,
};

/// `1291893772,6,85.19.221.54,42696,217.147.81.2,80,exe`
pub(crate) const NFTRACKER: Format = Format {
    name: "nftracker",
    title: "nftracker file",
    time: "the packet in which the file was seen",
    fallback: false,
    read: nftracker,
};

/// `2013-12-30 14:13:40  192.168.42.107:46619  ->  192.168.42.1:53  ( 17)  [-|-]`
pub(crate) const CXSEARCH: Format = Format {
    name: "ofpc-cxsearch",
    title: "OpenFPC session row (cxsearch)",
    time: "the start of the session; in the zone that the search showed",
    fallback: false,
    read: cxsearch,
};

/// `2 2014-01-10 12:00:00 192.168.42.1 1900 239.255.255.250 1900 udp 0 0`
pub(crate) const SEARCH: Format = Format {
    name: "ofpc-search",
    title: "OpenFPC search row",
    time: "the start of the session; in the zone that the search showed",
    fallback: false,
    read: search,
};

/// How long after a DNS answer the session to the address is searched at most.
const TTL_MAX: u64 = 3_600;

fn end<'a>(host: &'a str, port: Option<&'a str>) -> Option<End<'a>> {
    Some(End::new(fields::host(host)?, port.and_then(fields::port)))
}

fn event<'a>(line: &Line<'a>, _: &Context) -> Option<Outcome<'a>> {
    let mut scan = Scan::new(line.text);
    scan.word("ofpc-v1 ")?;
    // What follows msg: is free text.
    let keys = scan.rest().split_once("msg:").map_or(scan.rest(), |(keys, _)| keys);
    let pairs: Vec<(&str, &str)> =
        keys.split_ascii_whitespace().take(64).filter_map(|word| word.split_once(':')).collect();
    Some(event_of(&pairs))
}

fn event_of<'a>(pairs: &[(&'a str, &'a str)]) -> Outcome<'a> {
    let twice = |pair: &&(&str, &str)| pairs.iter().filter(|other| other.0 == pair.0).count() > 1;
    if let Some((key, _)) = pairs.iter().find(twice) {
        return Err(Lack::new(format!("{key}: stands twice in the line")));
    }
    let get = |key: &str| pairs.iter().find(|(name, _)| *name == key).map(|(_, value)| *value);
    let time = |key: &str| get(key).and_then(stamp::epoch);
    let mut draft = match (get("type"), time("timestamp"), time("stime"), time("etime")) {
        (Some("event"), Some(stamp), ..) => Draft::new(Meaning::During).at(stamp),
        (Some("search"), _, Some(first), Some(last)) => {
            Draft::new(Meaning::Interval).at_from(first, [Some(last)])
        }
        _ => {
            return Err(Lack::new(
                "the event needs type:event with timestamp:, or type:search with stime: and etime:, in seconds since 1970",
            ));
        }
    };
    let one = |addr: &str, port: &str| -> Option<End<'a>> {
        let number = get(port).map(fields::port);
        if number.is_some_and(|number| number.is_none()) {
            return None;
        }
        let host = match get(addr) {
            Some(text) => Some(fields::host(text)?),
            None => None,
        };
        Some(End { host, port: number.flatten().filter(|port| port.number != 0) })
    };
    let (Some(src), Some(dst)) = (one("sip", "spt"), one("dip", "dpt")) else {
        return Err(Lack::new("sip:, dip:, spt: or dpt: is no address or port"));
    };
    if let Some(text) = get("proto") {
        let Some(number) = fields::protocol(text) else {
            return Err(Lack::new(format!("proto:{text} is no protocol")));
        };
        draft = draft.proto(Some(number), text);
    }
    Ok(draft.ends(src, dst))
}

fn passive_dns<'a>(line: &Line<'a>, _: &Context) -> Option<Outcome<'a>> {
    let columns: Vec<&str> = line.text.splitn(16, "||").collect();
    let [time, client, server, _, _, kind, answer, rest @ ..] = columns.as_slice() else { return None };
    let stamp = stamp::epoch(time)?;
    let (client, _) = (end(client, None)?, end(server, None)?);
    if !matches!(*kind, "A" | "AAAA") {
        return lack(format!(
            "the answer is of the type {kind}, not an address: ask for the name server's session by flags"
        ));
    }
    let Some(answer) = end(answer, None) else { return lack("the answer in the line is no address") };
    let mut draft = Draft::new(Meaning::Start).at(stamp).ends(client, answer).direction(Direction::Opener);
    let ttl =
        rest.first().filter(|ttl| ttl.len() <= 10).and_then(|ttl| Some((*ttl, ttl.parse::<u64>().ok()?)));
    if let Some((text, seconds)) = ttl {
        draft.after_nanos = seconds.min(TTL_MAX) * NANOS_PER_SEC;
        draft = draft.uses(Field::Duration, text);
    }
    Some(Ok(draft.assuming(
        Kind::Length,
        "the line is of the DNS answer: the session to the address is searched within its time to live, an hour at most",
    )))
}

fn prads<'a>(line: &Line<'a>, _: &Context) -> Option<Outcome<'a>> {
    let text = line.text.strip_prefix('@').unwrap_or(line.text);
    // The banner in brackets is the other side's and may hold commas: from the left up to it, from the right behind it.
    let (head, banner) = text.split_once(",[")?;
    let (_, tail) = banner.rsplit_once("],")?;
    let head: Vec<&str> = head.splitn(8, ',').collect();
    let tail: Vec<&str> = tail.splitn(4, ',').collect();
    let ([asset, vlan, port, number, role], [distance, discovered]) = (head.as_slice(), tail.as_slice())
    else {
        return None;
    };
    let digits =
        |text: &str| !text.is_empty() && text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    (digits(vlan) && digits(distance) && digits(number)).then_some(())?;
    let (asset, port) = (fields::host(asset)?, fields::port(port)?);
    let stamp = stamp::epoch(discovered)?;
    let draft =
        Draft::new(Meaning::Packet).at(stamp).proto(fields::protocol(number), number).vlan(Some(vlan));
    let service = End { host: None, port: Some(port) };
    match *role {
        "SERVER" => {
            Some(Ok(draft.ends(End::default(), End::new(asset, Some(port))).direction(Direction::Opener)))
        }
        "CLIENT" => Some(Ok(draft.ends(End::new(asset, None), service).direction(Direction::Opener))),
        role if role.bytes().all(|byte| byte.is_ascii_uppercase()) => lack(format!(
            "a {role} line is of the system of one host, not of a session: ask by flags (--host, --at)"
        )),
        _ => None,
    }
}

fn nftracker<'a>(line: &Line<'a>, _: &Context) -> Option<Outcome<'a>> {
    let columns: Vec<&str> = line.text.splitn(9, ',').collect();
    let [time, number, src, src_port, dst, dst_port, kind] = columns.as_slice() else { return None };
    let stamp = stamp::epoch(time)?;
    let number_of = fields::protocol(number).filter(|_| number.bytes().all(|byte| byte.is_ascii_digit()))?;
    let is_kind =
        !kind.is_empty() && kind.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    is_kind.then_some(())?;
    let end = |host: &'a str, port: &'a str| Some(End::new(fields::host(host)?, Some(fields::port(port)?)));
    let draft = Draft::new(Meaning::During).at(stamp).proto(Some(number_of), number);
    Some(Ok(draft.ends(end(src, src_port)?, end(dst, dst_port)?)))
}

fn cxsearch<'a>(line: &Line<'a>, _: &Context) -> Option<Outcome<'a>> {
    let mut scan = Scan::new(line.text);
    let stamp = stamp::iso(&mut scan)?;
    scan.blanks();
    let src = fields::end_colon(scan.token()?, true)?;
    scan.blanks();
    scan.word("->")?;
    scan.blanks();
    let dst = fields::end_colon(scan.token()?, true)?;
    scan.blanks();
    scan.word("(")?;
    scan.blanks();
    let number = scan.digits(1, 3)?;
    scan.blanks();
    scan.word(")")?;
    Some(Ok(row(stamp, number, src, dst)))
}

fn search<'a>(line: &Line<'a>, _: &Context) -> Option<Outcome<'a>> {
    let mut scan = Scan::new(line.text);
    scan.digits(1, 9)?;
    scan.blanks().then_some(())?;
    let stamp = stamp::iso(&mut scan)?;
    let words: Vec<&str> = scan.rest().split_ascii_whitespace().take(6).collect();
    let [src, src_port, dst, dst_port, number, ..] = words.as_slice() else { return None };
    fields::protocol(number)?;
    let end = |host: &'a str, port: &'a str| Some(End::new(fields::host(host)?, Some(fields::port(port)?)));
    Some(Ok(row(stamp, number, end(src, src_port)?, end(dst, dst_port)?)))
}

fn row<'a>(stamp: stamp::Stamp<'a>, number: &'a str, src: End<'a>, dst: End<'a>) -> Draft<'a> {
    let draft = Draft::new(Meaning::Start)
        .at(stamp)
        .proto(fields::protocol(number), number)
        .ends(src, dst)
        .direction(Direction::Opener);
    draft.assuming(Kind::Length, "the row is of the start: how long the session took is not in it")
}
