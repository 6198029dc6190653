//! Sourcefire and its heirs, three generations: a row of the Defense Center's event table as pasted from the browser
//! (4.9), the Defense Center's syslog alert, and Firepower's `%FTD-n-43000x` messages.
//!
//! Sources: OpenFPC's SF49IPS parser with its samples; Cisco, "Secure Firewall Threat Defense Syslog Messages", messages
//! 430001 to 430005. Fields that are empty are left out of those, and values may hold commas.

use hindcap_wire::time::NANOS_PER_SEC;

use crate::context::Context;
use crate::draft::{Draft, Lack, Outcome, lack};
use crate::fields::{self, End, Port};
use crate::formats::{Format, snort};
use crate::line::Line;
use crate::reading::{Direction, Field, Kind, Meaning, View, carries_ports};
use crate::scan::Scan;
use crate::stamp;

/// `2010-03-31 13:24:36 high ... tcp 192.168.4.248 207.46.108.86 ... 3044/tcp 1863/tcp ...`
pub(crate) const TABLE: Format = Format {
    name: "sourcefire-table",
    title: "Defense Center table row",
    time: "the packet; in the zone that the console shows",
    fallback: false,
    read: table,
};

/// `... SFIMS: [1:540:3] "CHAT MSN message" [Impact: 3] From "sensor" at Wed Mar 31 13:24:36 2010 UTC ... {tcp} a:1->b:2`
pub(crate) const SYSLOG: Format = Format {
    name: "sourcefire-syslog",
    title: "Defense Center syslog alert",
    time: "the packet, by the stamp inside the alert, which has year and zone",
    fallback: false,
    read: syslog,
};

/// `%FTD-6-430003: EventPriority: Low, ..., FirstPacketSecond: 2022-01-24T08:48:23Z, ..., SrcIP: 10.0.0.1, ...`
pub(crate) const FTD: Format = Format {
    name: "firepower",
    title: "Firepower connection or intrusion event",
    time: "first packet (FirstPacketSecond), and the last one by ConnectionDuration; else when the line was written",
    fallback: false,
    read: firepower,
};

/// Ports in the table: `3044/tcp`, `80 (http)/tcp`.
fn table<'a>(line: &Line<'a>, _: &Context) -> Option<Outcome<'a>> {
    let mut scan = Scan::new(line.text);
    let stamp = stamp::iso(&mut scan)?;
    scan.blanks().then_some(())?;
    let priority = scan.token()?;
    ["high", "medium", "low"].iter().any(|word| word.eq_ignore_ascii_case(priority)).then_some(())?;
    let words: Vec<&str> = scan.rest().split_ascii_whitespace().take(256).collect();
    let at = words.windows(3).position(|three| {
        matches!(three, [proto, src, dst] if fields::protocol(proto).is_some()
            && fields::host(src).is_some() && fields::host(dst).is_some())
    })?;
    let [proto_text, src, dst] = words.get(at..at + 3)?.try_into().ok()?;
    let number = fields::protocol(proto_text);
    let mut ports = ports(words.get(at + 3..)?, proto_text);
    let mut end = |text| -> Option<End<'a>> { Some(End::new(fields::host(text)?, ports.next())) };
    let (src, dst) = (end(src)?, end(dst)?);
    let draft = Draft::new(Meaning::Packet).at(stamp).proto(number, proto_text).ends(src, dst);
    Some(Ok(draft.direction(Direction::Packet)))
}

/// The two ports; none when the protocol has none or not both are there.
fn ports<'a>(words: &[&'a str], proto_text: &str) -> impl Iterator<Item = Port<'a>> + use<'a> {
    let suffix =
        |word: &'a str| word.rsplit_once('/').filter(|(_, proto)| proto.eq_ignore_ascii_case(proto_text));
    let mut found: Vec<Port<'a>> = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let Some((port, _)) = suffix(word) else { continue };
        let before = at.checked_sub(1).and_then(|at| words.get(at)).copied();
        let port = if port.starts_with('(') { before } else { Some(port) };
        found.extend(port.and_then(fields::port));
        if found.len() == 2 {
            break;
        }
    }
    if found.len() < 2 || !fields::protocol(proto_text).is_some_and(carries_ports) {
        found.clear();
    }
    found.into_iter()
}

/// Whether a text is the Defense Center's alert, which begins as Snort's does.
pub(crate) fn is_alert(text: &str) -> bool {
    text.starts_with('[') && text.rsplit_once(" From ").is_some_and(|(_, rest)| rest.contains(" at "))
}

fn syslog<'a>(line: &Line<'a>, _: &Context) -> Option<Outcome<'a>> {
    let text = line.text;
    let mut scan = Scan::new(text);
    snort::signature(&mut scan)?;
    is_alert(text).then_some(())?;
    // The rule's text may hold " From " too: the sensor's stands last.
    let (_, from) = scan.rest().rsplit_once(" From ")?;
    let (sensor, at) = from.split_once(" at ")?;
    let mut scan = Scan::new(at);
    scan.while_fits(|c| c.is_ascii_alphabetic())?;
    scan.blanks();
    let Some(stamp) = stamp::syslog(&mut scan) else {
        return lack("the time inside the alert, after \"at\", cannot be read");
    };
    let Some(flow) = snort::last_flow(scan.rest()) else {
        return lack("no addresses stand in the alert: ask by time");
    };
    let mut draft = flow.draft(Meaning::Packet).at(stamp);
    draft.sensor = Some(sensor.trim_matches('"'));
    Some(Ok(draft))
}

/// Keys whose values the other side of a connection writes.
const FORGEABLE: [&str; 9] = [
    "UserAgent",
    "URL",
    "HTTPReferer",
    "ReferencedHost",
    "DNSQuery",
    "FileName",
    "ClientVersion",
    "User",
    "SSLServerName",
];
/// Keys that are read; a line that has one twice holds a forged one.
const KEYS: [&str; 14] = [
    "SrcIP",
    "DstIP",
    "SrcPort",
    "DstPort",
    "Protocol",
    "VLAN_ID",
    "FirstPacketSecond",
    "ConnectionDuration",
    "NAT_InitiatorIP",
    "NAT_InitiatorPort",
    "NAT_ResponderIP",
    "NAT_ResponderPort",
    "DeviceUUID",
    "DNS_Sinkhole",
];

fn firepower<'a>(line: &Line<'a>, _: &Context) -> Option<Outcome<'a>> {
    let mut scan = Scan::new(line.text);
    scan.word("%")?;
    let _ = scan.maybe("FTD-") || scan.maybe("NGIPS-");
    scan.number(1, 1)?;
    scan.word("-43000")?;
    let kind = scan.number(1, 1)?;
    scan.word(":")?;
    Some(event(line, kind, scan.rest()))
}

/// `Key: value, Key: value`; a comma ends a value only before the next key.
fn pairs(text: &str) -> Vec<(&str, &str)> {
    let mut found: Vec<(&str, usize, usize)> = Vec::new();
    let mut at = 0;
    for piece in text.split(", ") {
        let inner = piece.trim_start();
        if let Some((key, value)) = inner.split_once(':') {
            let is_key = key.starts_with(|c: char| c.is_ascii_uppercase())
                && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ' ');
            if is_key && (value.starts_with(' ') || value.is_empty()) {
                found.push((key, at, at + piece.len() - value.len()));
            }
        }
        at += piece.len() + 2;
    }
    let ends: Vec<usize> =
        found.iter().skip(1).map(|(_, start, _)| start.saturating_sub(2)).chain([text.len()]).collect();
    let value = |from: usize, to: usize| text.get(from..to.max(from)).unwrap_or_default().trim();
    found.into_iter().zip(ends).map(|((key, _, from), to)| (key, value(from, to))).collect()
}

fn event<'a>(line: &Line<'a>, kind: u64, text: &'a str) -> Outcome<'a> {
    let pairs = pairs(text);
    for key in KEYS {
        if pairs.iter().filter(|(name, _)| *name == key).count() > 1 {
            return Err(Lack::new(format!("{key} stands twice in the line: one of them is forged")));
        }
    }
    let get = |key: &str| pairs.iter().find(|(name, _)| *name == key).map(|(_, value)| *value);
    let trusted = pairs.iter().position(|(name, _)| FORGEABLE.contains(name)).unwrap_or(pairs.len());
    let early =
        |key: &str| pairs.iter().take(trusted).find(|(name, _)| *name == key).map(|(_, value)| *value);
    let end = |addr: &str, port: &str| -> Option<End<'a>> {
        Some(End::new(fields::host(get(addr)?)?, get(port).and_then(fields::port)))
    };
    let (Some(src), Some(dst)) = (end("SrcIP", "SrcPort"), end("DstIP", "DstPort")) else {
        return Err(Lack::new("the event has no SrcIP and DstIP that are addresses"));
    };
    let proto_text = get("Protocol").unwrap_or_default();
    let mut draft = times(line, kind, get("FirstPacketSecond"), get("ConnectionDuration"));
    draft = draft
        .proto(fields::protocol(proto_text), proto_text)
        .direction(Direction::Opener)
        .vlan(early("VLAN_ID"));
    let initiator = end("NAT_InitiatorIP", "NAT_InitiatorPort");
    let responder = end("NAT_ResponderIP", "NAT_ResponderPort");
    if initiator.is_none() && responder.is_none() {
        return Ok(draft.ends(src, dst));
    }
    let after = (initiator.unwrap_or(src), responder.unwrap_or(dst));
    Ok(draft.view(View::BeforeNat, src, dst).view(View::AfterNat, after.0, after.1))
}

fn times<'a>(line: &Line<'a>, kind: u64, first: Option<&'a str>, duration: Option<&'a str>) -> Draft<'a> {
    let first = first.and_then(|text| {
        let mut scan = Scan::new(text);
        stamp::iso(&mut scan).filter(|_| scan.is_done()).or_else(|| stamp::epoch(text))
    });
    let Some(first) = first else {
        return Draft::new(if kind == 3 { Meaning::End } else { Meaning::Written }).at_maybe(line.stamp);
    };
    let length = duration.filter(|_| kind == 3).and_then(|text| Some((text, stamp::seconds(text)?)));
    let mut draft = Draft::new(Meaning::Start).at(first);
    let Some((text, nanos)) = length else {
        return draft.assuming(Kind::Length, "the line has no duration: the session may have gone on");
    };
    // Whole seconds: the last one is not over.
    draft.after_nanos = nanos + NANOS_PER_SEC;
    draft.uses(Field::Duration, text)
}
