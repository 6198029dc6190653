//! Snort 3: `alert_json` and `alert_csv`.
//!
//! Source: snort3/src/loggers/alert_json.cc and alert_csv.cc. Which fields there are, and in CSV their order, is the
//! site's choice; CSV has no header, so other columns than the default ones are read with the settings of the source.

use crate::context::Context;
use crate::draft::{Draft, Lack, Outcome};
use crate::fields::{self, End};
use crate::formats::Format;
use crate::line::Line;
use crate::reading::{Direction, Kind, Meaning, carries_ports};
use crate::scan::Scan;
use crate::stamp::{self, Stamp};

/// `{ "timestamp" : "05/14-09:01:49.390801", "pkt_num" : 3, "proto" : "TCP", ..., "src_ap" : "10.1.2.3:4444", ... }`
pub(crate) const JSON: Format = Format {
    name: "snort3-json",
    title: "Snort 3 alert_json",
    time: "the packet; `seconds` goes before `timestamp`, which has no zone; from the flow's start when it is there",
    fallback: false,
    read: json,
};

/// `05/14-09:01:49.390801, 3, TCP, raw, 98, C2S, 10.1.2.3:4444, 10.9.8.7:80, 1:1000001:1, allow`
pub(crate) const CSV: Format = Format {
    name: "snort3-csv",
    title: "Snort 3 alert_csv",
    time: "the packet; `seconds` goes before `timestamp`, which has no zone; from the flow's start when it is there",
    fallback: false,
    read: csv,
};

/// The columns of alert_csv when the site chose none.
const DEFAULT: [&str; 10] =
    ["timestamp", "pkt_num", "proto", "pkt_gen", "pkt_len", "dir", "src_ap", "dst_ap", "rule", "action"];

fn json<'a>(line: &Line<'a>, _: &Context) -> Option<Outcome<'a>> {
    let json = line.json?;
    let ends = json.has("src_ap") || json.has("dst_ap") || (json.has("src_addr") && json.has("dst_addr"));
    let own = ["pkt_num", "rule", "pkt_gen", "gid", "sid", "seconds"].iter().any(|key| json.has(key));
    (ends && own).then_some(())?;
    let keys =
        ["seconds", "timestamp", "src_ap", "dst_ap", "src_addr", "dst_addr", "src_port", "dst_port", "proto"];
    if let Some(key) = json.twice(&keys) {
        return Some(Err(Lack::new(format!("{key} stands twice in the object: one of them is forged"))));
    }
    Some(record(&|key| json.get(key)))
}

fn csv<'a>(line: &Line<'a>, context: &Context) -> Option<Outcome<'a>> {
    let columns = columns(line.text)?;
    let default: Vec<String> = DEFAULT.iter().map(|&name| name.to_owned()).collect();
    let mut read: Vec<Draft<'a>> = Vec::new();
    let own = line.host.and_then(|host| context.source(host)).map(|source| &source.csv_fields);
    let all = context.sources.iter().map(|source| &source.csv_fields);
    for names in own.into_iter().chain(all.filter(|_| line.host.is_none())).chain([&default]) {
        let known = names.len() == columns.len() && !names.is_empty();
        let get =
            |key: &str| names.iter().position(|name| name == key).and_then(|at| columns.get(at)).copied();
        if !known || !fits(&get) {
            continue;
        }
        let Ok(draft) = record(&get) else { continue };
        let same = |other: &Draft<'_>| (&other.views, &other.stamps) == (&draft.views, &draft.stamps);
        if !read.iter().any(same) {
            read.push(draft);
        }
    }
    if read.len() > 1 {
        return Some(Err(Lack::new(
            "the columns fit the settings of several sources: give the flags instead",
        )));
    }
    read.pop().map(Ok)
}

/// Whether the columns hold what their names say.
fn fits<'a>(get: &dyn Fn(&str) -> Option<&'a str>) -> bool {
    let when = |key| get(key).is_none_or(|text| time(text).is_some());
    let way = get("dir").is_none_or(|dir| matches!(dir, "C2S" | "S2C" | "UNK"));
    let number = get("pkt_num").is_none_or(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let any = get("timestamp").is_some() || get("seconds").is_some();
    any && when("timestamp")
        && when("seconds")
        && way
        && number
        && get("proto").is_none_or(|text| fields::protocol(text).is_some())
}

/// Columns between `, `, `,` or tabs; quoted ones may hold the separator.
fn columns(text: &str) -> Option<Vec<&str>> {
    let mut columns = Vec::new();
    let (mut quoted, mut start) = (false, 0);
    for (at, c) in text.char_indices() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => {
                columns.push(text.get(start..at)?.trim());
                start = at + 1;
            }
            _ => {}
        }
        if columns.len() > 64 {
            return None;
        }
    }
    columns.push(text.get(start..)?.trim());
    (columns.len() >= 4 && !quoted).then_some(columns)
}

fn time(text: &str) -> Option<Vec<Stamp<'_>>> {
    let mut scan = Scan::new(text);
    let alert = stamp::alert(&mut scan).filter(|_| scan.is_done());
    alert.or_else(|| stamp::epoch(text).map(|stamp| vec![stamp]))
}

/// `address:port`; the last colon always leads to the port, ICMP has `:0`.
fn joined(text: &str) -> Option<End<'_>> {
    let (host, port) = text.rsplit_once(':')?;
    Some(End::new(fields::host(host)?, Some(fields::port(port)?)))
}

fn record<'a>(get: &dyn Fn(&str) -> Option<&'a str>) -> Outcome<'a> {
    let end = |joint: &str, addr: &str, port: &str| -> Option<End<'a>> {
        get(joint)
            .and_then(joined)
            .or_else(|| Some(End::new(fields::host(get(addr)?)?, get(port).and_then(fields::port))))
    };
    let ends = (end("src_ap", "src_addr", "src_port"), end("dst_ap", "dst_addr", "dst_port"));
    let (Some(src), Some(dst)) = ends else {
        return Err(Lack::new(
            "the alert has no src_ap and dst_ap (or src_addr and dst_addr) that are addresses",
        ));
    };
    let proto_text = get("proto").unwrap_or_default();
    let number = fields::protocol(proto_text);
    let ports = |end: End<'a>| if number.is_none_or(carries_ports) { end } else { end.without_port() };
    let seconds = get("seconds").and_then(stamp::epoch);
    let start = get("flowstart_time").and_then(stamp::epoch);
    let mut draft = match (start, seconds) {
        (Some(start), seconds) => Draft::new(Meaning::Interval).at_from(start, [seconds]),
        (None, Some(seconds)) => Draft::new(Meaning::Packet).at(seconds),
        (None, None) => {
            Draft::new(Meaning::Packet).at_one_of(get("timestamp").and_then(time).unwrap_or_default())
        }
    };
    draft = draft.proto(number, proto_text).vlan(get("vlan"));
    if number.is_none() {
        draft.assume(Kind::Protocol, "no protocol is in the alert");
    }
    Ok(match get("dir") {
        Some("C2S") => draft.ends(ports(src), ports(dst)).direction(Direction::Opener),
        Some("S2C") => draft.ends(ports(dst), ports(src)).direction(Direction::Opener),
        _ => draft.ends(ports(src), ports(dst)).direction(Direction::Packet),
    })
}
