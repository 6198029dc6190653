//! Cisco ASA (and PIX, and the ASA part of FTD): connections built and torn down, denied packets, access-list hits.
//!
//! Source: "Cisco Secure Firewall ASA Series Syslog Messages": 302013 to 302016, 302020, 302021, 106001, 106006, 106007,
//! 106010, 106014, 106015, 106023, 106100, 710002, 710003, 710005. For `outbound` the *first* end is the destination; the address
//! in parentheses is the one that the other side sees. Interface names may hold blanks.

use hindcap_wire::flow::proto;
use hindcap_wire::time::NANOS_PER_SEC;

use crate::context::Context;
use crate::draft::{Draft, Lack, Outcome};
use crate::fields::{self, End};
use crate::formats::Format;
use crate::line::Line;
use crate::reading::{Direction, Field, Kind, Meaning, View, carries_ports};
use crate::scan::Scan;
use crate::stamp;

/// `%ASA-6-302013: Built outbound TCP connection 9 for outside:10.1.2.1/22 (10.1.2.1/22) to inside:10.1.1.2/53496 (...)`
pub(crate) const ASA: Format = Format {
    name: "cisco-asa",
    title: "Cisco ASA message",
    time: "built and denied: the packet; torn down: the end, and the start by the duration in the line",
    fallback: false,
    read: asa,
};

fn asa<'a>(line: &Line<'a>, _: &Context) -> Option<Outcome<'a>> {
    let mut scan = Scan::new(line.text);
    scan.word("%")?;
    let known = ["ASA-", "PIX-", "FTD-", "FWSM-"].iter().any(|name| scan.maybe(name));
    known.then_some(())?;
    // `%ASA-session-6-302013`: the class may stand before the severity.
    let mut ahead = scan;
    if ahead.while_fits(|c| c.is_ascii_alphabetic()).is_some() && ahead.maybe("-") {
        scan = ahead;
    }
    scan.number(1, 1)?;
    scan.word("-")?;
    let number = scan.number(6, 6)?;
    scan.word(":")?;
    scan.blanks();
    let draft = match number {
        302_013 | 302_015 => built(&mut scan),
        302_014 | 302_016 => torn_down(&mut scan),
        302_020 | 302_021 => icmp(&mut scan, number == 302_021),
        106_010 | 106_014 | 106_023 => denied_by_rule(&mut scan),
        106_100 => access_list(&mut scan),
        106_001 | 106_006 | 106_007 | 106_015 | 710_002 | 710_003 | 710_005 => from_to(&scan),
        // Another message: its addresses are only a guess.
        _ => return None,
    };
    let lack = || Lack::new(format!("the addresses of message {number} cannot be read: is the line whole?"));
    Some(draft.ok_or_else(lack).map(|draft| draft.at_maybe(line.stamp)))
}

/// The two addresses of one end.
struct Nat<'a> {
    real: End<'a>,
    mapped: End<'a>,
}

/// `interface:` up to the first colon.
fn interface(scan: &mut Scan<'_>) -> Option<()> {
    scan.until(":").filter(|name| !name.is_empty() && name.len() <= 64).map(drop)
}

/// `address/port`.
fn slashed<'a>(scan: &mut Scan<'a>) -> Option<End<'a>> {
    let host = fields::host(scan.until("/")?)?;
    Some(End::new(host, Some(fields::port(scan.digits(1, 5)?)?)))
}

/// `interface:address/port (address/port)(user)`.
fn end<'a>(scan: &mut Scan<'a>) -> Option<Nat<'a>> {
    interface(scan)?;
    let real = slashed(scan)?;
    let mut mapped = real;
    let mut ahead = *scan;
    if ahead.maybe(" (") {
        mapped = slashed(&mut ahead)?;
        ahead.word(")")?;
        *scan = ahead;
    }
    user(scan);
    Some(Nat { real, mapped })
}

/// Passes `(user)`, with or without a blank before it.
fn user(scan: &mut Scan<'_>) {
    let mut ahead = *scan;
    ahead.maybe(" ");
    if ahead.maybe("(") && ahead.until(")").is_some() {
        *scan = ahead;
    }
}

/// `TCP`, and its number.
fn transport<'a>(scan: &mut Scan<'a>) -> Option<(u8, &'a str)> {
    let text = scan.token()?;
    Some((fields::protocol(text)?, text))
}

/// ` connection 1234 for outside:192.0.2.43/443 (...) to inside:10.0.0.5/1234 (...)`.
fn between<'a>(scan: &mut Scan<'a>) -> Option<(Nat<'a>, Nat<'a>)> {
    scan.word(" connection ")?;
    scan.digits(1, 20)?;
    scan.word(" for ")?;
    let first = end(scan)?;
    scan.word(" to ")?;
    Some((first, end(scan)?))
}

fn built<'a>(scan: &mut Scan<'a>) -> Option<Draft<'a>> {
    scan.word("Built ")?;
    let way = scan.token()?;
    let inbound = match way {
        "inbound" => true,
        "outbound" => false,
        _ => return None,
    };
    scan.blanks();
    let (number, text) = transport(scan)?;
    let (first, second) = between(scan)?;
    let (src, dst) = if inbound { (first, second) } else { (second, first) };
    // Each side of the firewall sees its own host as it is and the other one as it is mapped.
    Some(
        Draft::new(Meaning::Start)
            .proto(Some(number), text)
            .view(View::BeforeNat, src.real, dst.mapped)
            .view(View::AfterNat, src.mapped, dst.real)
            .direction(Direction::Opener)
            .uses(Field::Direction, way)
            .assuming(Kind::Length, "the line is of the start: how long the session took is not in it"),
    )
}

fn torn_down<'a>(scan: &mut Scan<'a>) -> Option<Draft<'a>> {
    scan.word("Teardown ")?;
    let (number, text) = transport(scan)?;
    let (first, second) = between(scan)?;
    scan.word(" duration ")?;
    let duration = scan.while_fits(|c| c.is_ascii_digit() || c == ':')?;
    let mut draft = Draft::new(Meaning::End)
        .proto(Some(number), text)
        .ends(first.real, second.real)
        .uses(Field::Duration, duration)
        .assuming(
            Kind::Quality,
            "the line has real addresses only: where they are translated, the line of the start (302013, 302015) has both",
        );
    // Whole seconds: the first one had begun.
    draft.before_nanos = stamp::length(duration)? + NANOS_PER_SEC;
    Some(draft)
}

/// `ICMP connection for faddr 1.2.3.4/0 gaddr 5.6.7.8/0 laddr 10.0.0.1/0`.
fn icmp<'a>(scan: &mut Scan<'a>, end: bool) -> Option<Draft<'a>> {
    let way = if end {
        scan.word("Teardown ")?;
        None
    } else {
        scan.word("Built ")?;
        let way = scan.token()?;
        scan.blanks();
        Some(way)
    };
    let text = scan.token()?;
    scan.word(" connection for faddr ")?;
    let part = |scan: &mut Scan<'a>| -> Option<End<'a>> {
        let found = slashed(scan)?.without_port();
        user(scan);
        Some(found)
    };
    let foreign = part(scan)?;
    scan.word(" gaddr ")?;
    let global = part(scan)?;
    scan.word(" laddr ")?;
    let local = slashed(scan)?.without_port();
    let draft = Draft::new(if end { Meaning::End } else { Meaning::Start }).proto(Some(proto::ICMP), text);
    Some(match way {
        Some("inbound") => draft
            .view(View::BeforeNat, foreign, global)
            .view(View::AfterNat, foreign, local)
            .direction(Direction::Opener)
            .uses(Field::Direction, "inbound"),
        Some("outbound") => draft
            .view(View::BeforeNat, local, foreign)
            .view(View::AfterNat, global, foreign)
            .direction(Direction::Opener)
            .uses(Field::Direction, "outbound"),
        Some(_) => return None,
        None => draft.view(View::BeforeNat, local, foreign).view(View::AfterNat, global, foreign),
    })
}

/// `Deny tcp src outside:1.2.3.4/5678 dst inside:10.0.0.1/80 by access-group ...`, ICMP without ports, `protocol 47`.
fn denied_by_rule<'a>(scan: &mut Scan<'a>) -> Option<Draft<'a>> {
    scan.word("Deny ")?;
    scan.maybe("inbound ");
    scan.maybe("protocol ");
    let (number, text) = transport(scan)?;
    let has_ports = carries_ports(number);
    let mut one = |word: &str| -> Option<End<'a>> {
        scan.word(word)?;
        interface(scan)?;
        let token = scan.token()?;
        user(scan);
        match token.split_once('/') {
            Some((host, port)) => Some(End::new(fields::host(host)?, Some(fields::port(port)?))),
            None => Some(End::new(fields::host(token)?, None)),
        }
    };
    let (src, dst) = (one(" src ")?, one(" dst ")?);
    let fits = (src.port.is_some() && dst.port.is_some()) == has_ports;
    fits.then(|| {
        Draft::new(Meaning::Packet).proto(Some(number), text).ends(src, dst).direction(Direction::Packet)
    })
}

/// `access-list acl permitted tcp inside/10.1.1.2(1234) -> outside/1.2.3.4(80) hit-cnt 1 first hit [...]`.
fn access_list<'a>(scan: &mut Scan<'a>) -> Option<Draft<'a>> {
    scan.word("access-list ")?;
    scan.token()?;
    scan.blanks();
    let verdict = scan.token()?;
    matches!(verdict, "permitted" | "denied" | "est-allowed").then_some(())?;
    scan.blanks();
    let (number, text) = transport(scan)?;
    let one = |scan: &mut Scan<'a>| -> Option<End<'a>> {
        scan.until("/")?;
        let host = fields::host(scan.until("(")?)?;
        let port = fields::port(scan.until(")")?)?;
        user(scan);
        Some(End::new(host, Some(port).filter(|_| carries_ports(number))))
    };
    scan.word(" ")?;
    let src = one(scan)?;
    scan.word(" -> ")?;
    let dst = one(scan)?;
    scan.blanks();
    let mut draft =
        Draft::new(Meaning::Packet).proto(Some(number), text).ends(src, dst).direction(Direction::Packet);
    scan.word("hit-cnt ")?;
    let hits = scan.number(1, 10)?;
    scan.blanks();
    let interval =
        scan.until("-second interval").and_then(|text| text.parse::<u64>().ok()).filter(|_| hits > 0);
    if let Some(seconds) = interval.filter(|seconds| *seconds <= 86_400) {
        // One line for all hits of an interval, at its end.
        draft.meaning = Meaning::Interval;
        draft.before_nanos = seconds * NANOS_PER_SEC;
        draft.assume(Kind::Length, format!("{hits} packets within {seconds} s before the line"));
    }
    Some(draft)
}

/// `... TCP ... from 1.2.3.4/5 to [interface:]6.7.8.9/80 ...`.
fn from_to<'a>(scan: &Scan<'a>) -> Option<Draft<'a>> {
    let (before, rest) = scan.rest().split_once(" from ")?;
    let text = before.split(' ').find(|word| matches!(*word, "TCP" | "UDP"))?;
    let mut scan = Scan::new(rest);
    let src = slashed(&mut scan)?;
    scan.word(" to ")?;
    let token = scan.token()?;
    let behind = |token: &'a str| slashed(&mut Scan::new(token));
    let dst = behind(token).or_else(|| behind(token.split_once(':')?.1))?;
    let draft = Draft::new(Meaning::Packet).proto(fields::protocol(text), text).ends(src, dst);
    Some(draft.direction(Direction::Packet))
}
