//! Suricata's eve.json, whatever the event type. fast.log is read with Snort's alerts.
//!
//! Source: doc/userguide/output/eve/eve-json-format.rst, src/output-json.c (`CreateJSONHeader`, `EveAddCommonOptions`),
//! src/output-json-flow.c. Stamps are `%Y-%m-%dT%H:%M:%S.%06d%z`, the offset without a colon.

use crate::context::Context;
use crate::draft::{Draft, Outcome, lack};
use crate::fields::{self, End};
use crate::formats::Format;
use crate::json::Object;
use crate::line::Line;
use crate::reading::{Direction, Kind, Meaning, carries_ports};
use crate::scan::Scan;
use crate::stamp::{self, Stamp};

/// `{"timestamp":"2017-04-07T22:24:37.251547+0100","flow_id":586497171462735,"event_type":"alert","src_ip":...}`
pub(crate) const EVE: Format = Format {
    name: "suricata-eve",
    title: "Suricata eve.json",
    time: "from the flow's start to its end or the event, whichever is later; without a flow, the event's packet",
    fallback: false,
    read: eve,
};

/// Event types that are logged in the direction of the flow: `src` is the client.
const BY_FLOW: [&str; 8] = ["flow", "http", "tls", "ssh", "smtp", "ftp", "rdp", "rfb"];

fn eve<'a>(line: &Line<'a>, _: &Context) -> Option<Outcome<'a>> {
    let json = line.json?;
    let inner = json.below("_source");
    let json = if inner.has("event_type") { &inner } else { json };
    let event_type = json.get("event_type")?;
    // ECS has no `event_type`, and Suricata none without one of these.
    (json.has("timestamp") && (json.has("src_ip") || json.has("flow_id") || event_type == "stats"))
        .then_some(())?;
    if let Some(key) = json.twice(&["timestamp", "src_ip", "src_port", "dest_ip", "dest_port", "proto"]) {
        return lack(format!("{key} stands twice in the object: one of them is forged"));
    }
    let (Some(src), Some(dst)) = (end(json, "src_ip", "src_port"), end(json, "dest_ip", "dest_port")) else {
        return lack(format!("events of the type {event_type} without src_ip and dest_ip name no session"));
    };
    let proto_text = json.get("proto").unwrap_or_default();
    let mut draft = times(json, event_type)?;
    let (direction, turned) = direction(json, event_type, &src, &dst);
    let ports = |end: End<'a>| {
        if fields::protocol(proto_text).is_none_or(carries_ports) { end } else { end.without_port() }
    };
    draft = if turned { draft.ends(ports(dst), ports(src)) } else { draft.ends(ports(src), ports(dst)) };
    draft = draft.direction(direction).proto(fields::protocol(proto_text), proto_text).vlan(json.get("vlan"));
    draft.community_id = json.get("community_id");
    draft.sensor = json.get("host").or_else(|| json.get("sensor_name"));
    if json.has("tunnel") {
        draft.assume(Kind::Tunnel, "the packet was inside a tunnel: the inner addresses are asked for");
    }
    Some(Ok(draft))
}

fn end<'a>(json: &Object<'a>, addr: &str, port: &str) -> Option<End<'a>> {
    Some(End::new(fields::host(json.get(addr)?)?, json.get(port).and_then(fields::port)))
}

fn time<'a>(json: &Object<'a>, key: &str) -> Option<Stamp<'a>> {
    let mut scan = Scan::new(json.get(key)?);
    stamp::iso(&mut scan).filter(|_| scan.is_done())
}

/// From the start of the flow to its end, or to the event when that is later.
fn times<'a>(json: &Object<'a>, event_type: &str) -> Option<Draft<'a>> {
    let event = time(json, "timestamp")?;
    let first = time(json, "flow.start").or_else(|| time(json, "netflow.start"));
    let last = time(json, "flow.end").or_else(|| time(json, "netflow.end"));
    let of_packet = matches!(event_type, "alert" | "packet" | "drop" | "anomaly" | "dns");
    let Some(first) = first else {
        return Some(Draft::new(if of_packet { Meaning::Packet } else { Meaning::During }).at(event));
    };
    Some(Draft::new(Meaning::Interval).at_from(first, [Some(event), last]))
}

/// What the order of the ends means, and whether they stand the other way round in the flow.
fn direction(json: &Object<'_>, event_type: &str, src: &End<'_>, dst: &End<'_>) -> (Direction, bool) {
    let same = |one: &End<'_>, other: &End<'_>| {
        let key = |end: &End<'_>| (end.host.map(|host| host.addr), end.port.map(|port| port.number));
        key(one) == key(other)
    };
    if let Some(opener) = end(json, "flow.src_ip", "flow.src_port") {
        if same(&opener, dst) && !same(src, dst) {
            return (Direction::Opener, true);
        }
        if same(&opener, src) {
            return (Direction::Opener, false);
        }
    }
    match json.get("direction") {
        Some("to_server") => (Direction::Opener, false),
        Some("to_client") => (Direction::Opener, true),
        _ if BY_FLOW.contains(&event_type) => (Direction::Opener, false),
        _ => (Direction::Packet, false),
    }
}
