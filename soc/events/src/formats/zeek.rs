//! Zeek: conn.log as JSON and as tab-separated columns, and every other log that has `id.orig_h` and the like.
//!
//! Source: docs.zeek.org, "conn.log" (base/protocols/conn/main.zeek) and "Log Formats" (ASCII writer). `ts` is the first
//! packet, `duration` leads to the last one; the record is written at the end, for long connections hours later.
//! Columns are named by `#fields`; without it the order of Zeek's default conn.log is taken, whose tail has grown.

use hindcap_wire::time::NANOS_PER_SEC;

use crate::context::Context;
use crate::draft::{Draft, Lack, Outcome};
use crate::fields::{self, End};
use crate::formats::Format;
use crate::line::Line;
use crate::reading::{Direction, Field, Kind, Meaning, carries_ports};
use crate::scan::Scan;
use crate::stamp::{self, Stamp};

/// `{"ts":1522836617.11,"uid":"C7fqm...","id.orig_h":"1.1.1.6","id.orig_p":57005,...}`
pub(crate) const JSON: Format = Format {
    name: "zeek-json",
    title: "Zeek log, JSON",
    time: "conn.log: first packet, and the last one by the duration; other logs: somewhere in the connection",
    fallback: false,
    read: json,
};

/// `1522836617.110000 C7fqm... 1.1.1.6 57005 ...`
pub(crate) const TSV: Format = Format {
    name: "zeek-tsv",
    title: "Zeek log, columns",
    time: "conn.log: first packet, and the last one by the duration; other logs: somewhere in the connection",
    fallback: false,
    read: tsv,
};

/// The columns of the default conn.log that matter, all in its stable first part.
const DEFAULT: [&str; 18] = [
    "ts",
    "uid",
    "id.orig_h",
    "id.orig_p",
    "id.resp_h",
    "id.resp_p",
    "proto",
    "service",
    "duration",
    "orig_bytes",
    "resp_bytes",
    "conn_state",
    "local_orig",
    "local_resp",
    "missed_bytes",
    "history",
    "orig_pkts",
    "orig_ip_bytes",
];

/// All values of `conn_state`.
const STATES: [&str; 13] =
    ["S0", "S1", "SF", "REJ", "S2", "S3", "RSTO", "RSTR", "RSTOS0", "RSTRH", "SH", "SHR", "OTH"];

fn json<'a>(line: &Line<'a>, _: &Context) -> Option<Outcome<'a>> {
    let json = line.json?;
    let inner = json.below("_source");
    let json = if inner.has("id.orig_h") { &inner } else { json };
    (json.has("id.orig_h") && json.has("id.resp_h")).then_some(())?;
    if let Some(key) = json.twice(&["ts", "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p", "proto"]) {
        return Some(Err(Lack::new(format!("{key} stands twice in the object: one of them is forged"))));
    }
    Some(record(&|key| json.get(key)))
}

fn tsv<'a>(line: &Line<'a>, _: &Context) -> Option<Outcome<'a>> {
    if line.stamp.is_some() || line.json.is_some() {
        return None;
    }
    let columns: Vec<&str> = if line.text.contains('\t') {
        line.text.split('\t').take(256).collect()
    } else {
        line.text.split_ascii_whitespace().take(256).collect()
    };
    let named: Option<Vec<&str>> = line
        .headers
        .iter()
        .find_map(|header| header.strip_prefix("#fields"))
        .map(|names| names.split_ascii_whitespace().collect());
    let names = match &named {
        Some(names) if names.contains(&"id.orig_h") => names.as_slice(),
        Some(_) => return None,
        None => default_names(&columns)?,
    };
    let get = |key: &str| {
        let at = names.iter().position(|name| *name == key)?;
        columns.get(at).copied().filter(|value| !matches!(*value, "-" | "(empty)" | ""))
    };
    Some(record(&get))
}

/// The names of columns without a header: stamp, uid and both ends must stand where every Zeek log has them.
fn default_names(columns: &[&str]) -> Option<&'static [&'static str]> {
    let column = |at: usize| columns.get(at).copied();
    stamp::epoch(column(0)?)?;
    let uid = column(1)?;
    let is_uid = uid.starts_with('C')
        && (13..=24).contains(&uid.len())
        && uid.bytes().all(|byte| byte.is_ascii_alphanumeric());
    fields::host(column(2)?)?;
    fields::port(column(3)?)?;
    fields::host(column(4)?)?;
    fields::port(column(5)?)?;
    let state = column(11).is_some_and(|state| STATES.contains(&state));
    let proto = column(6).is_some_and(|proto| matches!(proto, "tcp" | "udp" | "icmp" | "unknown_transport"));
    match (is_uid, state && proto, proto) {
        (true, true, _) => Some(&DEFAULT),
        // Another log: dns.log and some more have the protocol next.
        (true, false, true) => DEFAULT.get(..7),
        (true, false, false) => DEFAULT.get(..6),
        (false, ..) => None,
    }
}

/// Seconds since 1970, or ISO 8601 by `LogAscii::json_timestamps`.
fn time(text: &str) -> Option<Stamp<'_>> {
    let mut scan = Scan::new(text);
    stamp::epoch(text).or_else(|| stamp::iso(&mut scan).filter(|_| scan.is_done()))
}

fn record<'a>(get: &dyn Fn(&str) -> Option<&'a str>) -> Outcome<'a> {
    let end = |addr: &str, port: &str| -> Option<End<'a>> {
        Some(End::new(fields::host(get(addr)?)?, get(port).and_then(fields::port)))
    };
    let (Some(src), Some(dst)) = (end("id.orig_h", "id.orig_p"), end("id.resp_h", "id.resp_p")) else {
        return Err(Lack::new("the record has no id.orig_h and id.resp_h that are addresses"));
    };
    let proto_text = get("proto").unwrap_or_default();
    let proto = fields::protocol(proto_text).or_else(|| get("ip_proto").and_then(fields::protocol));
    let ports = |end: End<'a>| if proto.is_none_or(carries_ports) { end } else { end.without_port() };
    let conn = get("conn_state").is_some() || get("history").is_some();
    let mut draft = Draft::new(if conn { Meaning::Start } else { Meaning::During })
        .at_maybe(get("ts").and_then(time))
        .ends(ports(src), ports(dst))
        .direction(Direction::Opener)
        .proto(proto, proto_text)
        .vlan(get("vlan"));
    draft.community_id = get("community_id");
    if conn {
        draft = length(draft, get("duration"));
        quality(&mut draft, get);
    }
    Ok(draft)
}

fn length<'a>(mut draft: Draft<'a>, duration: Option<&'a str>) -> Draft<'a> {
    let Some((text, nanos)) = duration.and_then(|text| Some((text, stamp::seconds(text)?))) else {
        return draft.assuming(Kind::Length, "the record has no duration: the session may have gone on");
    };
    draft.after_nanos = nanos;
    if nanos >= 60 * NANOS_PER_SEC {
        draft.assume(
            Kind::Length,
            format!("the session took {} s: the answer can be large", nanos / NANOS_PER_SEC),
        );
    }
    draft.uses(Field::Duration, text)
}

fn quality<'a>(draft: &mut Draft<'a>, get: &dyn Fn(&str) -> Option<&'a str>) {
    if get("history").is_some_and(|history| history.starts_with('^')) {
        draft.assume(Kind::Direction, "Zeek saw the answer first and turned the direction round");
    }
    if get("missed_bytes").is_some_and(|missed| missed != "0") {
        draft.assume(Kind::Quality, "Zeek itself missed bytes of this session");
    }
    if matches!(get("conn_state"), Some("OTH")) {
        draft.assume(Kind::Quality, "Zeek saw this session neither begin nor end: it may be longer");
    }
}
