//! Lines of servers about their clients: web servers, Postfix, OpenSSH. The server's own address is not in them; it comes
//! from the settings of the source.
//!
//! Sources: Apache mod_log_config ("%t": the time the request was received), nginx ngx_http_log_module (written at the
//! end of the request), postfix/src/smtpd (`namaddr`), DEBUG_README, openssh auth.c (`auth_log`) and packet.c.
//! User names, requests and mail addresses are the client's: they are never searched for addresses.

use hindcap_wire::flow::proto;
use hindcap_wire::time::NANOS_PER_SEC;

use crate::context::Context;
use crate::draft::{Draft, Outcome, OwnEnd, lack};
use crate::fields::{self, End, Port};
use crate::formats::Format;
use crate::line::Line;
use crate::reading::{Direction, Field, Kind, Meaning, View};
use crate::scan::Scan;
use crate::stamp;

/// `203.0.113.9 - bob [21/Nov/2026:09:30:00 +0100] "GET / HTTP/1.1" 200 512 "-" "curl"`
pub(crate) const WEB: Format = Format {
    name: "web-access",
    title: "nginx or Apache access log",
    time: "Apache: the request's start; nginx: its end; a minute on either side is searched",
    fallback: false,
    read: web,
};

/// `postfix/smtpd[812]: connect from mail.b[192.0.2.7]:40000`
pub(crate) const POSTFIX: Format = Format {
    name: "postfix",
    title: "Postfix log",
    time: "when the line was written; the connection by `delays=` for deliveries, else up to 5 minutes before",
    fallback: false,
    read: postfix,
};

/// `sshd[812]: Failed password for invalid user bob from 203.0.113.9 port 51234 ssh2`
pub(crate) const SSHD: Format = Format {
    name: "sshd",
    title: "OpenSSH log",
    time: "when the line was written, within the session",
    fallback: false,
    read: sshd,
};

const MINUTE: u64 = 60 * NANOS_PER_SEC;

fn own_port(text: &'static str) -> End<'static> {
    End { host: None, port: fields::port(text) }
}

/// A session of a client with this server on one of `ports`.
pub(super) fn client<'a>(mut draft: Draft<'a>, client: End<'a>, ports: &[&'static str]) -> Draft<'a> {
    draft = draft.proto(Some(proto::TCP), "").direction(Direction::Opener);
    draft.own_end = Some(OwnEnd::Dst);
    for port in ports {
        draft = draft.view(View::AsLogged, client, own_port(port));
    }
    draft
}

fn web<'a>(line: &Line<'a>, _: &Context) -> Option<Outcome<'a>> {
    let mut scan = Scan::new(line.text);
    let first = scan.token()?;
    scan.blanks();
    // `vhost:port` may stand first; the client's address is next.
    let (host, vhost_port) = match fields::host(first) {
        Some(host) => (host, None),
        None => {
            let (name, port) = first.rsplit_once(':')?;
            let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
            let port = fields::port(port).filter(|_| is_name)?;
            let host = fields::host(scan.token()?)?;
            scan.blanks();
            (host, Some(port))
        }
    };
    scan.token()?;
    scan.blanks();
    // The user is the client's word and may hold blanks; the stamp is the first bracket that reads as one.
    let stamp = loop {
        scan.until("[")?;
        let mut ahead = scan;
        if let Some(stamp) = stamp::web(&mut ahead).filter(|_| ahead.maybe("] ")) {
            scan = ahead;
            break stamp;
        }
    };
    scan.word("\"")?;
    let mut draft = Draft::new(Meaning::During).at(stamp);
    (draft.before_nanos, draft.after_nanos) = (MINUTE, MINUTE);
    draft.assume(
        Kind::Length,
        "nginx stamps the end of a request and Apache its start: a minute on either side is searched",
    );
    draft.assume(
        Kind::Forgeable,
        "behind a proxy the first address may be what the client wrote (X-Forwarded-For)",
    );
    let client_end = End::new(host, None);
    Some(Ok(if let Some(port) = vhost_port {
        draft = draft.proto(Some(proto::TCP), "").direction(Direction::Opener);
        draft.own_end = Some(OwnEnd::Dst);
        draft.ends(client_end, End { host: None, port: Some(port) })
    } else {
        draft.assume(Kind::Port, "ports 80 and 443 are asked for: the line has none");
        client(draft, client_end, &["80", "443"])
    }))
}

/// `name[address]` or `name[address]:port`, where the name is what DNS says and never holds a bracket.
fn named(text: &str) -> Option<(End<'_>, &str)> {
    let (name, rest) = text.split_once('[')?;
    let is_name =
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
    let (addr, rest) = rest.split_once(']')?;
    let host = fields::host(addr).filter(|_| is_name)?;
    let port_text = rest.strip_prefix(':').and_then(|rest| Scan::new(rest).digits(1, 5));
    Some((End::new(host, port_text.and_then(fields::port)), rest))
}

fn postfix<'a>(line: &Line<'a>, _: &Context) -> Option<Outcome<'a>> {
    let tag = line.tag.filter(|tag| tag.starts_with("postfix"))?;
    let text = line.text;
    let incoming = ["connect from ", "disconnect from ", "lost connection after ", "timeout after "];
    let submission = tag.contains("submission") || tag.contains("smtps");
    let ports: &[&str] = match (tag.contains("smtps"), submission) {
        (true, _) => &["465"],
        (false, true) => &["587"],
        (false, false) => &["25", "465", "587"],
    };
    let from = if incoming.iter().any(|start| text.starts_with(start)) {
        // `lost connection after RCPT from name[...]`: what is before `from` is Postfix's own.
        text.split_once("from ").map(|(_, from)| from)
    } else if let Some((_, rejected)) = text.split_once("reject: ") {
        rejected.split_once(" from ").map(|(_, from)| from)
    } else {
        queue_id(text).and_then(|rest| rest.strip_prefix("client="))
    };
    if let Some((end, _)) = from.and_then(named) {
        let mut draft = Draft::new(Meaning::During).at_maybe(line.stamp);
        if !text.starts_with("connect from ") {
            draft.before_nanos = 5 * MINUTE;
            draft.assume(Kind::Length, "the connection began before the line: up to 5 minutes are searched");
        }
        draft.assume(Kind::Port, "our port is not in the line");
        return Some(Ok(client(draft, end, ports)));
    }
    let Some(rest) = queue_id(text) else {
        return if text.contains('[') {
            lack("the line names no host in a place that Postfix itself writes")
        } else {
            None
        };
    };
    relay(line, rest)
}

/// What follows `4F2Q1x0abc: `.
fn queue_id(text: &str) -> Option<&str> {
    let (id, rest) = text.split_once(": ")?;
    let is_id = (6..=20).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    (is_id || id == "NOQUEUE").then_some(rest)
}

/// `to=<...>, relay=name[address]:port, delay=4.2, delays=0.1/0/2/2.1, dsn=2.0.0, status=sent (...)`.
fn relay<'a>(line: &Line<'a>, rest: &'a str) -> Option<Outcome<'a>> {
    // What follows the status is the other side's; an address in quotes may hold anything, see below.
    let (before, _) = rest.split_once(", status=")?;
    let (_, relay) = before.rsplit_once(", relay=")?;
    if before.contains('"') {
        return lack(
            "an address in quotes is in the line, in which anything may stand: ask by flags (--host, --at)",
        );
    }
    let Some((server, _)) = named(relay) else {
        return lack("the relay is not another host: a local delivery");
    };
    let delays =
        before.rsplit_once(", delays=").map(|(_, delays)| delays.split(',').next().unwrap_or_default());
    let parts: Vec<u64> = delays.unwrap_or_default().split('/').filter_map(stamp::seconds).collect();
    let mut draft = Draft::new(Meaning::End).at_maybe(line.stamp).direction(Direction::Opener);
    draft = draft.proto(Some(proto::TCP), "");
    if let ([_, _, connect, send], Some(text)) = (parts.as_slice(), delays) {
        draft.before_nanos = connect + send + NANOS_PER_SEC;
        draft = draft.uses(Field::Duration, text);
    } else {
        draft.before_nanos = 5 * MINUTE;
        draft.assume(Kind::Length, "the connection began before the line: up to 5 minutes are searched");
    }
    draft.own_end = Some(OwnEnd::Src);
    let mut server = server;
    if server.port.is_none() {
        server.port = Some(Port { number: 25, text: "" });
        draft.assume(Kind::Port, "port 25 taken: the line has none");
    }
    Some(Ok(draft.ends(End::default(), server)))
}

/// Beginnings of sshd's lines that name the client.
const SSHD_LINES: [&str; 14] = [
    "Accepted ",
    "Failed ",
    "Connection from ",
    "Connection closed by ",
    "Connection reset by ",
    "Disconnected from ",
    "Received disconnect from ",
    "Invalid user ",
    "Postponed ",
    "Disconnecting ",
    "Did not receive identification",
    "banner exchange: Connection from ",
    "Unable to negotiate with ",
    "error: maximum authentication attempts exceeded for ",
];

fn sshd<'a>(line: &Line<'a>, _: &Context) -> Option<Outcome<'a>> {
    let tag = line.tag?;
    matches!(tag, "sshd" | "sshd-session" | "sshd-auth").then_some(())?;
    SSHD_LINES.iter().any(|start| line.text.starts_with(start)).then_some(())?;
    // User names are the client's and may hold ` from 1.2.3.4 port 22`: only the last ` port ` is sshd's own.
    let Some((before, after)) = line.text.rsplit_once(" port ") else {
        return lack(
            "no \"port\" is in the line: it was cut off, or is of a version that does not name the client",
        );
    };
    let mut tail = Scan::new(after);
    let (port, addr) =
        (tail.digits(1, 5).and_then(fields::port), before.rsplit(' ').next().and_then(fields::host));
    let (Some(port), Some(host)) = (port, addr) else {
        return lack("what stands before \"port\" is no address: the line was cut off");
    };
    if !is_tail(line.text, tail.rest()) {
        return lack(
            "what stands behind the port is not sshd's: the line may be forged by a user name, or was cut off",
        );
    }
    let mut draft = Draft::new(Meaning::During).at_maybe(line.stamp);
    if line.text.starts_with("Connection from ") && before.contains(" port ") {
        // `Connection from A port P on B port 22`: both ends.
        return connection(line, draft, End::new(host, Some(port)));
    }
    draft.assume(Kind::Port, "port 22 taken for the server: the line has only the client's");
    Some(Ok(client(draft, End::new(host, Some(port)), &["22"])))
}

fn connection<'a>(line: &Line<'a>, draft: Draft<'a>, server: End<'a>) -> Option<Outcome<'a>> {
    let mut scan = Scan::new(line.text);
    scan.word("Connection from ")?;
    let host = fields::host(scan.token()?)?;
    scan.word(" port ")?;
    let port = fields::port(scan.digits(1, 5)?)?;
    scan.word(" on ")?;
    let draft = draft.proto(Some(proto::TCP), "").direction(Direction::Opener);
    Some(Ok(draft.ends(End::new(host, Some(port)), server)))
}

/// What sshd writes behind a port: the protocol and the key, the phase, a reason, the routing domain. Lines about a login
/// always have the protocol, so that one that was cut off inside a user name is told.
fn is_tail(text: &str, rest: &str) -> bool {
    let protocol = rest == " ssh2" || rest.starts_with(" ssh2: ") || rest.starts_with(" ssh2 [");
    let login = ["Accepted ", "Failed ", "Postponed "].iter().any(|start| text.starts_with(start));
    let others = rest.is_empty() || [" [", ":", " rdomain"].iter().any(|start| rest.starts_with(start));
    protocol || (!login && others)
}
