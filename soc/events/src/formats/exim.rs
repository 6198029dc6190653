//! Exim 4 main log.
//!
//! Source: the Exim specification, chapter "Log files" (sections "Logging message reception", "Logging deliveries", "Log
//! selectors"), which says of `H=`: "only the final address can be relied upon": the name in parentheses is what the
//! other side said in HELO. So exactly one address in brackets may stand free behind `H=`; a line with more is refused.

use hindcap_wire::flow::proto;
use hindcap_wire::time::NANOS_PER_SEC;

use crate::context::Context;
use crate::draft::{Draft, Lack, Outcome, OwnEnd};
use crate::fields::{self, End, Port};
use crate::formats::Format;
use crate::line::Line;
use crate::reading::{Direction, Kind, Meaning, View};
use crate::scan::Scan;
use crate::stamp;

/// `2010-04-05 10:23:12 1NyiWV-0002IK-QJ <= a@b.com H=(host.in) [122.169.149.117]:41522 I=[192.0.2.1]:25 P=esmtp ...`
pub(crate) const MAINLOG: Format = Format {
    name: "exim",
    title: "Exim main log",
    time: "when the message was complete; the session began up to minutes before (5 are searched)",
    fallback: false,
    read: mainlog,
};

/// How long before the stamp the session can have begun: Exim's own time-out for a message is 5 minutes.
const BEFORE_NANOS: u64 = 300 * NANOS_PER_SEC;
/// Ports on which mail comes in.
const PORTS: [&str; 3] = ["25", "465", "587"];
/// Lines without a message, about a connection that came in.
const CONNECTIONS: [&str; 5] = [
    "SMTP connection from ",
    "unexpected disconnection while reading SMTP command from ",
    "SMTP command timeout on connection from ",
    "SMTP command timeout on TLS connection from ",
    "TLS error on connection from ",
];

fn mainlog<'a>(line: &Line<'a>, _: &Context) -> Option<Outcome<'a>> {
    let mut scan = Scan::new(line.text);
    let stamp = stamp::iso(&mut scan)?;
    scan.word(" ")?;
    process(&mut scan);
    let message = message_id(&mut scan);
    let inbound = kind(&scan, message)?;
    let draft = Draft::new(Meaning::End).at(stamp).direction(Direction::Opener);
    let Some(other) = other_end(scan.rest()) else {
        return Some(Err(Lack::new(
            "the line names no other host (a local message), or more than one address stands where only one can be \
             trusted: the name in parentheses is what the other side said of itself",
        )));
    };
    Some(Ok(session(draft, inbound, &other)))
}

/// Passes `[pid] `.
fn process(scan: &mut Scan<'_>) {
    let mut ahead = *scan;
    if ahead.maybe("[") && ahead.digits(1, 10).is_some() && ahead.maybe("] ") {
        *scan = ahead;
    }
}

/// Passes a message id, `6-6-2` or `6-11-4` characters; `false` when there is none.
fn message_id(scan: &mut Scan<'_>) -> bool {
    let mut ahead = *scan;
    let Some(id) = ahead.token() else { return false };
    let lengths: Vec<usize> = id.split('-').map(str::len).take(4).collect();
    let fits = matches!(lengths.as_slice(), [6, 6, 2] | [6, 11, 4]);
    let fits = fits && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if fits && ahead.maybe(" ") {
        *scan = ahead;
    }
    fits
}

/// Whether the other host came to us. `None`: not a line of Exim's.
fn kind(scan: &Scan<'_>, message: bool) -> Option<bool> {
    let rest = scan.rest();
    if message {
        let flag = rest.split(' ').next()?;
        return match flag {
            "<=" => Some(true),
            "=>" | "->" | ">>" | "*>" | "**" | "==" => Some(false),
            "Completed" | "Frozen" => Some(true),
            _ if flag.starts_with("H=") => Some(rest.contains(" rejected ")),
            _ => None,
        };
    }
    let connection = CONNECTIONS.iter().any(|start| rest.starts_with(start));
    (connection || (rest.starts_with("H=") && rest.contains(" rejected "))).then_some(true)
}

/// The host at the other end, and what the line says of our end.
struct Other<'a> {
    end: End<'a>,
    own: End<'a>,
    reused: bool,
    proxy: bool,
}

/// The one address in brackets that stands free, and `I=`. `None` when there is none, or more than one.
fn other_end(text: &str) -> Option<Other<'_>> {
    let behind = tokens(text).skip_while(|token| !is_start(token));
    let (mut found, mut own, mut proxy) = (Vec::new(), Vec::new(), false);
    for token in behind {
        let bare = token.strip_prefix("H=").unwrap_or(token);
        if bare.starts_with('[') && bare.contains(']') {
            found.push(bare);
        }
        own.extend(token.strip_prefix("I="));
        proxy |= token.starts_with("PRX=");
    }
    let ([token], true) = (found.as_slice(), own.len() <= 1) else { return None };
    let reused = token.ends_with('*');
    let token = token.trim_end_matches('*').trim_end_matches([':', ',']);
    let end = fields::end_colon(token, true)?;
    let own = match own.first() {
        Some(own) => fields::end_colon(own, true)?,
        None => End::default(),
    };
    Some(Other { end, own, reused, proxy })
}

/// Where the part of the line begins that Exim itself writes about the other host.
fn is_start(token: &str) -> bool {
    token.starts_with("H=") || token == "from" || token == "connection"
}

/// Words between blanks; quotes and angle brackets keep blanks together, as in local parts and subjects.
fn tokens(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches(' ');
        if rest.is_empty() {
            return None;
        }
        let (mut quoted, mut escaped) = (false, false);
        let end = rest.find(|c: char| match c {
            _ if escaped => {
                escaped = false;
                false
            }
            '\\' if quoted => {
                escaped = true;
                false
            }
            '"' => {
                quoted = !quoted;
                false
            }
            c => c == ' ' && !quoted,
        });
        let (token, after) = rest.split_at(end.unwrap_or(rest.len()));
        rest = after;
        Some(token)
    })
}

fn session<'a>(mut draft: Draft<'a>, inbound: bool, other: &Other<'a>) -> Draft<'a> {
    draft = draft.proto(Some(proto::TCP), "");
    draft.before_nanos = BEFORE_NANOS;
    draft.assume(
        Kind::Length,
        "the line is written when the message is done: up to 5 minutes before it are searched",
    );
    if other.reused {
        draft.assume(Kind::Length, "the connection was used for messages before (*): its start lies earlier");
    }
    if other.proxy {
        draft.assume(
            Kind::Quality,
            "the connection came through a proxy (PRX=): on the wire the proxy is the client",
        );
    }
    draft.own_end = Some(if inbound { OwnEnd::Dst } else { OwnEnd::Src });
    if !inbound {
        let mut server = other.end;
        if server.port.is_none() {
            server.port = Some(Port { number: 25, text: "" });
            draft.assume(Kind::Port, "port 25 taken: the line has none");
        }
        return draft.ends(other.own, server);
    }
    if other.own.port.is_some() {
        return draft.ends(other.end, other.own);
    }
    draft.assume(Kind::Port, "ports 25, 465 and 587 are asked for: the line does not tell which one");
    for port in PORTS.iter().filter_map(|text| fields::port(text)) {
        draft = draft.view(View::AsLogged, other.end, End { port: Some(port), ..other.own });
    }
    draft
}
